"""Pictures that lie in a column of a Parquet file, as data sets are published on hubs.

``people.parquet#image.12`` names the picture in row 12 (from 0) of the column ``image``, which
holds bytes, or Hugging Face's pair of bytes and path.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

_PACKED: Final = re.compile(r"(.+\.parquet)#(.+)\.(\d+)", re.IGNORECASE | re.DOTALL)
_LOCK: Final = threading.Lock()


def packed_name(file: str, column: str, row: int) -> str:
    """The name of the picture in a row of a column."""
    return f"{file}#{column}.{row}"


def container(path: Path) -> Path:
    """The file on disk that holds a picture: its Parquet file, or the picture's own."""
    found = _PACKED.fullmatch(str(path))
    return Path(found[1]) if found and not os.path.lexists(path) else path


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a picture as a file on disk, wherever they lie.

    Raises:
        OSError: it can't be read; ``FileNotFoundError`` where the row or column isn't there.
    """
    found = _PACKED.fullmatch(str(path))
    if found is None or container(path) == path:
        with path.open("rb") as handle:
            yield handle
        return
    with tempfile.TemporaryFile() as handle:  # has no name, so nobody finds it afterwards
        handle.write(_content(Path(found[1]), found[2], int(found[3])))
        handle.seek(0)
        yield cast(BinaryIO, handle)


def _content(file: Path, column: str, row: int) -> bytes:
    state = file.stat()
    with _LOCK:  # neighbours are asked for at the same time: one reads, the others find it
        try:
            ends = _ends(file, state.st_mtime_ns, state.st_size)
            group = bisect_right(ends, row)
            before = ends[group - 1] if group else 0
            held = _group(file, state.st_mtime_ns, state.st_size, column, group)
            value = held[row - before].as_py()
        except (pa.ArrowException, ValueError, IndexError, KeyError) as error:
            raise FileNotFoundError(2, "there is no such row or column", str(file)) from error
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes | None):
        raise FileNotFoundError(2, "this column holds no pictures", str(file))
    return content or b""


@lru_cache(maxsize=64)
def _ends(file: Path, modified: int, size: int) -> tuple[int, ...]:
    metadata = pq.read_metadata(file)
    groups = range(metadata.num_row_groups)
    return tuple(accumulate(metadata.row_group(i).num_rows for i in groups))


@lru_cache(maxsize=2)
def _group(file: Path, modified: int, size: int, column: str, group: int) -> Any:
    with pq.ParquetFile(file) as parquet:
        return parquet.read_row_group(group, columns=[column]).column(column).combine_chunks()

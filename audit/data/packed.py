"""Pictures that lie in other files: tables as data sets are published on hubs, archives, videos.

``people.parquet#image.12`` names the picture in row 12 (from 0) of the column ``image``, which
holds bytes, or Hugging Face's pair of bytes and path; ``faces.zip#woman/1.jpg`` one in an archive
(:mod:`audit.data.archives`), ``clip.mp4#t=12.5`` a frame (:mod:`audit.data.video`).
``crowd.jpg#xywh=10,20,30,40`` names a region of a picture, as media fragments on the web do (W3C
2012): left, top, width and height in pixels, or in percent of the picture's size after
``percent:``.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from audit.core.errors import InputError
from audit.data import archives, video

_REGION: Final = re.compile(r"(.+)#(xywh=[^#/]*)", re.DOTALL)
_LOCK: Final = threading.Lock()


def packed_name(file: str, column: str, row: int) -> str:
    """The name of the picture in a row of a column."""
    return f"{file}#{column}.{row}"


def stream(path: Path) -> pa.Table:
    """The table of an Arrow stream; it stays on disk until it is looked at.

    Raises:
        OSError: the file can't be read.
        pyarrow.ArrowInvalid: it is no Arrow stream.
    """
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).read_all()


def saved_parts(place: Path) -> list[Path]:
    """The Arrow streams of a data set that Hugging Face's ``save_to_disk`` wrote to a folder.

    Raises:
        InputError: its list can't be read, names a file elsewhere, or picks rows by an index.
    """
    listed = place / "state.json"
    try:
        said = json.loads(listed.read_text(encoding="utf-8"))
        names = [str(part["filename"]) for part in said["_data_files"]]
    except OSError as error:
        told = f"{listed}: can't be read: {error.strerror or error}"
        raise InputError(told, "Check its permissions, or save the data set again") from error
    except (ValueError, TypeError, KeyError) as error:
        told = f"{listed}: not what save_to_disk writes: {error}"
        raise InputError(told, "Save the data set again") from error
    if said.get("_indices_data_files"):
        told = f"{place}: its rows are picked by an index of their own"
        raise InputError(told, "Save it after flatten_indices()")
    if bad := next((name for name in names if Path(name).name != name), None):
        told = f"{place}: state.json names a file outside of it: {bad}"
        raise InputError(told, "Save the data set again")
    return [place / name for name in names]


def region(path: Path) -> tuple[Path, str]:
    """The path of the whole picture, and the region of it that is named; blank if none is."""
    found = _REGION.fullmatch(str(path))
    return (Path(found[1]), found[2]) if found and not os.path.lexists(path) else (path, "")


def container(path: Path) -> Path:
    """The file on disk that holds a picture: a table, archive or video, or the picture's own."""
    whole, _ = region(path)
    packed = _packed(whole)
    return packed[0] if packed else whole


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a picture, whole, as a file on disk, wherever they lie.

    Raises:
        OSError: it can't be read; ``FileNotFoundError`` where what is named isn't in its file.
    """
    whole, _ = region(path)
    packed = _packed(whole)
    if packed is None:
        with whole.open("rb") as handle:
            yield handle
        return
    _, read = packed
    with _nameless() as handle:
        handle.write(read())
        handle.seek(0)
        yield handle


def _nameless() -> BinaryIO:
    """A file that nobody finds afterwards: in memory, or without a name where that can't be."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("picture"), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())


def _packed(path: Path) -> tuple[Path, Callable[[], bytes]] | None:
    """The file that holds a picture, and what reads it there; None of a picture's own file."""
    for form, read in _FORMS:
        if (found := form.fullmatch(str(path))) and not os.path.lexists(path):
            file, *place = found.groups()
            return Path(file), partial(read, Path(file), *place)
    return None


def _content(file: Path, column: str, row: int) -> bytes:
    state = file.stat()
    with _LOCK:  # neighbours are asked for at the same time: one reads, the others find it
        try:
            value = _value(file, (state.st_mtime_ns, state.st_size), column, row)
        except (pa.ArrowException, ValueError, IndexError, KeyError) as error:
            raise FileNotFoundError(2, "there is no such row or column", str(file)) from error
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes | None):
        raise FileNotFoundError(2, "this column holds no pictures", str(file))
    return content or b""


def _value(file: Path, version: tuple[int, int], column: str, row: int) -> object:
    """What a row of a column holds; ``version`` is when the file was modified, and its size."""
    if file.suffix.lower() == ".arrow":
        return _mapped(file, version).column(column)[row].as_py()
    ends = _ends(file, version)
    group = bisect_right(ends, row)
    before = ends[group - 1] if group else 0
    return _group(file, version, column, group).value(row - before)


@lru_cache(maxsize=64)
def _mapped(file: Path, version: tuple[int, int]) -> pa.Table:
    return stream(file)


@lru_cache(maxsize=64)
def _ends(file: Path, version: tuple[int, int]) -> tuple[int, ...]:
    metadata = pq.read_metadata(file)
    groups = range(metadata.num_row_groups)
    return tuple(accumulate(metadata.row_group(i).num_rows for i in groups))


@lru_cache(maxsize=2)
def _group(file: Path, version: tuple[int, int], column: str, group: int) -> _Group:
    return _Group(file, column, group)


class _Group:
    """A column of a row group, of which few rows are held: some writers put a whole set in one."""

    def __init__(self, file: Path, column: str, group: int) -> None:
        self._read = partial(self._batches, file, column, group)
        self._begin()

    def _begin(self) -> None:
        self._coming, self._end = self._read(), 0
        # neighbours that are asked for at the same time may come in another order
        self._held: deque[tuple[int, pa.Array]] = deque(maxlen=4)

    @staticmethod
    def _batches(file: Path, column: str, group: int) -> Iterator[pa.Array]:
        with pq.ParquetFile(file, memory_map=True) as parquet:  # else a group is read whole
            for batch in parquet.iter_batches(32, row_groups=[group], columns=[column]):
                yield batch.column(column)

    def value(self, row: int) -> object:
        """What a row holds, counted from the first of the group."""
        if self._held and row < self._held[0][0]:
            self._begin()
        while row >= self._end:
            try:
                batch = next(self._coming)
            except Exception:  # a reader that failed has ended: the next row fails as this one
                self._begin()
                raise
            self._held.append((self._end, batch))
            self._end += len(batch)
        return next(batch[row - at].as_py() for at, batch in reversed(self._held) if at <= row)


#: how a picture in another file is named, and what reads it there
_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[..., bytes]], ...]] = (
    (
        re.compile(r"(.+\.(?:parquet|arrow))#(.+)\.(\d+)", re.IGNORECASE | re.DOTALL),
        lambda file, column, row: _content(file, column, int(row)),
    ),
    (re.compile(r"(.+?\.(?:zip|tar))#(.+)", re.IGNORECASE | re.DOTALL), archives.content),
    (re.compile(r"(.+)#t=(\d+(?:\.\d+)?)", re.DOTALL), video.frame),
)

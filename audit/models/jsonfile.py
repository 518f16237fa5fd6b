"""JSON that came with a checkpoint: read as it is meant, or refused in a sentence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from audit.core.errors import InputError
from audit.core.rows import Row

#: bytes; the largest published tokenizer.json has about 35 million
MAX_BYTES: Final = 200_000_000


def read_json(path: Path, ref: str) -> Row:
    """The mapping in a JSON file.

    Stricter than Python's reader, which takes the last of two equal keys and knows NaN.

    Raises:
        InputError: can't be read, not UTF-8, not JSON, a key twice, NaN, nested too deep, too
            large, or not a mapping.
    """
    again = "Download or save the checkpoint again"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(
                f"it has {path.stat().st_size:,} bytes, at most {MAX_BYTES:,} are read"
            )
        found = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_pairs,
            parse_constant=_no_number,
        )
    except RecursionError as error:
        raise InputError(f"{ref}: {path.name} is nested too deep to be read. {again}.") from error
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())
        problem = f"{ref}: {path.name} is not valid JSON: {told}"
        raise InputError(problem, again) from error
    if not isinstance(found, dict):
        got = f"{ref}: {path.name} holds a {type(found).__name__}, where a mapping is needed"
        raise InputError(got, again)
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r:.60} is given twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")

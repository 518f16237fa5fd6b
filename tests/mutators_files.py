"""Seeded faults in one file: bytes flipped, cut or doubled, values of wrong types and odd words.

``damage(path, seed)`` changes the file in place and says what it did; the same seed does the same
to the same file. Suffixes it knows from within: .json, .yaml, .csv, .parquet; else bytes only.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

#: what a field may hold instead of what it should
VALUES: tuple[Any, ...] = (
    None, True, [], {}, "", " ", "x", "NA", "nan", -1, 0, 1.5, 10**9, 10**30, float("nan"),
    float("inf"), [1, "a"], {"a": 1}, [[]], "../../x", "/etc/passwd", "\u202e", "\x1b[31m", "[red]",
    "=1+1", "1e400", "12:30", "x" * 3000, "2020-01-01", "everyone", "unknown", "\ufffe", "a\x00b",
)  # fmt: skip


def damage(path: Path, seed: int) -> str:
    """Put one fault into a file; says which."""
    rng = random.Random(seed)
    known = {".json": _nested, ".yaml": _nested, ".csv": _csv, ".parquet": _parquet}
    fault = known.get(path.suffix) if rng.random() < 0.6 else None
    try:
        return (fault or _bytes)(path, rng)
    except (ValueError, TypeError, IndexError, OverflowError):  # such a file can't be written
        return _bytes(path, rng)


def _bytes(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    at, kind = rng.randrange(len(content) or 1), rng.choice(("flip", "cut", "double", "none", "ff"))
    if kind == "flip" and content:
        content[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[at:]
    elif kind == "double":
        content[at:at] = content[at : at + rng.randrange(1, 200)]
    elif kind == "ff" and content:
        content[at] = rng.choice((0xFF, 0x00, 0x0D, 0x22))
    else:
        content.clear()
    path.write_bytes(content)
    return f"{kind} at byte {at}"


def _nested(path: Path, rng: random.Random) -> str:
    """One field, however deep, gets another value, another name, or goes."""
    text = path.read_text(encoding="utf-8")
    found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    place = rng.choice(list(_places(found)))
    parent = found
    for key in place[:-1]:
        parent = parent[key]
    value = rng.choice(VALUES)
    if (kind := rng.choice(("gone", "renamed", "other", "other", "other"))) == "gone":
        del parent[place[-1]]
    elif kind == "renamed" and isinstance(parent, dict):
        parent[str(value)] = parent.pop(place[-1])
    else:
        parent[place[-1]] = value
    dumped = json.dumps(found) if path.suffix == ".json" else yaml.safe_dump(found)
    path.write_text(dumped, encoding="utf-8")
    return f"{'.'.join(map(str, place))}: {kind} {value!r:.40}"


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield (*at, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*at, key))


def _csv(path: Path, rng: random.Random) -> str:
    """A cell or a column name gets another value, or a cell goes or comes."""
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    row = rng.choice((0, rng.randrange(len(rows))))
    at, value = rng.randrange(len(rows[row])), str(rng.choice(VALUES))
    kind = rng.choice(("other", "other", "gone", "more", "copied"))
    if kind == "gone":
        del rows[row][at]
    elif kind == "more":
        rows[row].insert(at, value)
    else:
        rows[row][at] = rows[row][0] if kind == "copied" else value
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return f"row {row}, column {at}: {kind} {value!r:.40}"


def _parquet(path: Path, rng: random.Random) -> str:
    """A column gets another value in one row, another type, another name, or goes."""
    table = pd.read_parquet(path)
    column, value = rng.choice(list(table.columns)), rng.choice(VALUES)
    kind = rng.choice(("value", "value", "type", "renamed", "gone", "rows"))
    if kind == "value" and len(table):
        row = rng.randrange(len(table))
        cells = table[column].tolist()
        number = table[column].dtype.kind in "iuf"
        cells[row] = rng.choice((0, 1, -1, 0.25)) if number else str(value)
        table[column] = pd.Series(cells, table.index)
    elif kind == "type":
        table[column] = table[column].map(lambda v: rng.choice((str(v), f"{v}x")))
    elif kind == "renamed":
        table = table.rename(columns={column: str(value)})
    elif kind == "gone":
        table = table.drop(columns=column)
    else:
        table = table.iloc[: len(table) // 2]
    table.to_parquet(path, index=False)
    return f"column {column}: {kind} {value!r:.40}"

"""Hold every table of one run against the same table of another: what moved, and what did not.

    python benchmarks/same_tables.py RUN_BEFORE RUN_AFTER [--words]

For changes of the code that may move no number: run a suite before and after, on the same machine
with the same number of threads, and compare. Numbers must be equal to the last bit; rows are
matched by their place, columns by their name. Sentences may be reworded, so differences of text are
counted and shown, and decide the exit code only with ``--words``. Findings are compared by their
id, verdict, severity and numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

#: of a finding: what may not move
JUDGED = ("id", "verdict", "severity", "estimate", "low", "high", "margin")


def tables(run: Path) -> dict[str, pd.DataFrame]:
    """The tables of a run by name, with those of its private part."""
    files = sorted({*run.glob("*.parquet"), *run.glob("private/**/*.parquet")})
    return {str(path.relative_to(run)): pd.read_parquet(path) for path in files}


def differences(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[tuple[bool, str]]:
    """What differs, and whether it is a number (or a row, or a column that is gone)."""
    for name in before.columns.symmetric_difference(after.columns):
        yield name in before, f"column {name} is {'gone' if name in before else 'new'}"
    if len(before) != len(after):
        yield True, f"{len(before)} rows, then {len(after)}"
        return
    for name in before.columns.intersection(after.columns):
        one, other = before[name], after[name]
        differs = ~((one == other) | (one.isna() & other.isna()))
        if differs.any():
            at = int(differs.to_numpy().argmax())
            first = f"first row {at}: {one.iloc[at]!r}, {other.iloc[at]!r}"
            told = f"{name}: {differs.sum()} of {len(one)}, {first}"
            yield is_numeric_dtype(one), told


def compare(before: Path, after: Path) -> tuple[int, int]:
    """Print what differs; how many differences of numbers, and of words."""
    old, new = tables(before), tables(after)
    numbers = words = 0
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            found = [(True, f"only in {'the first' if name in old else 'the second'} run")]
        else:
            found = list(differences(old[name], new[name]))
        for number, told in found:
            numbers, words = numbers + number, words + (not number)
            print(f"{'NUMBER' if number else 'words '} {name}: {told}")
    for told in _findings(before, after):
        numbers += 1
        print(f"FINDING {told}")
    print(f"{len(old)} tables, {sum(map(len, old.values())):,} rows: {numbers} numbers differ")
    return numbers, words


def _findings(before: Path, after: Path) -> Iterator[str]:
    old, new = (
        {f["id"]: f for f in json.loads((run / "findings.json").read_text(encoding="utf-8"))}
        for run in (before, after)
    )
    for name in old.keys() ^ new.keys():
        yield f"{name} is only in {'the first' if name in old else 'the second'} run"
    for name in old.keys() & new.keys():
        moved = [k for k in JUDGED if old[name].get(k) != new[name].get(k)]
        if moved:
            yield f"{name}: {', '.join(f'{k} {old[name][k]} -> {new[name][k]}' for k in moved)}"


def main() -> None:
    """Compare two runs; exit 1 where a number moved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--words", action="store_true", help="differences of text count, too")
    given = parser.parse_args()
    numbers, words = compare(given.before, given.after)
    sys.exit(1 if numbers or (given.words and words) else 0)


if __name__ == "__main__":
    main()

"""Look through the tables of runs for an estimate outside its own interval, or one of no width.

    python benchmarks/inside.py RUN [RUN ...]

Every pair of bounds of every table is held against its estimate: ``low`` and ``high``,
simultaneous, equivalence and pooled ones. A worst-case gap is a size, so its bounds are of the
size. Exits with 1 if anything is found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from audit.core.rundir import open_run

#: estimate, lower and upper bound, by the columns that hold them
INTERVALS = (
    ("value", "low", "high"),
    ("value", "low_simultaneous", "high_simultaneous"),
    ("value", "low_equivalence", "high_equivalence"),
    ("ratio", "ratio_low", "ratio_high"),
    ("pooled", "pooled_low", "pooled_high"),
    ("pooled_value", "pooled_low", "pooled_high"),
    ("pooled_value", "pooled_low_simultaneous", "pooled_high_simultaneous"),
    ("overconfidence", "low", "high"),
    ("share_correct", "low", "high"),
    ("mean", "low", "high"),
    ("spread", "spread_low", "spread_high"),
    ("model_share", "model_share_low", "model_share_high"),
    ("flips", "flips_low", "flips_high"),
    ("entropy", "entropy_low", "entropy_high"),
    ("carries", "carries_low", "carries_high"),
    ("generalisability", "generalisability_low", "generalisability_high"),
)
#: digits of rounding that are no fault
TOLERANCE = 1e-9


def outside(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows whose estimate lies outside an interval of its own, by the interval's columns."""
    for value, low, high in INTERVALS:
        if not {value, low, high} <= set(table.columns):
            continue
        estimate, least, most = (table[c].to_numpy(float) for c in (value, low, high))
        below = estimate < least - TOLERANCE * np.maximum(1, np.abs(least))
        above = estimate > most + TOLERANCE * np.maximum(1, np.abs(most))
        if (below | above).any():
            yield f"{value} outside {low} to {high}", table[below | above]


def pointlike(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows with an interval of no width, which no finite sample allows but of a rank."""
    if "metric" in table:
        table = table[table["metric"] != "rank"]
    for low, high in dict.fromkeys((low, high) for _, low, high in INTERVALS):
        if {low, high} <= set(table.columns):
            none = table[low].notna() & (table[low] == table[high])
            if none.any():
                yield f"{low} equals {high}", table[none]


def faults(run: Path) -> Iterator[str]:
    """What is wrong in any table of a run, a line each."""
    for path in sorted(run.glob("*.parquet")):
        table = pd.read_parquet(path)
        for told, rows in (*outside(table), *pointlike(table)):
            yield f"{run.name} {path.stem}: {told} in {len(rows)} rows, first {rows.index[0]}"


def main() -> None:
    """Look through every run named; exit 1 if anything is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path)
    runs = [open_run(path) for path in parser.parse_args().runs]
    found = [fault for run in runs for fault in faults(run.path)]
    print("\n".join(found) or f"{len(runs)} runs: every estimate lies inside its intervals")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

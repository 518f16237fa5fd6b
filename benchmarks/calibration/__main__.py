"""The command line of the calibration."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .grid import GRIDS, simulate
from .report import write


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, or write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("verb", choices=("run", "report"))
    parser.add_argument("--out", type=Path, default=Path("calibration.jsonl"))
    parser.add_argument("--before", type=Path, help="results of an earlier version, shown beside")
    parser.add_argument("--subset", action="store_true", help="about 25 minutes of one core")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args(arguments)
    if given.verb == "report":
        write(given.out, given.docs, given.before)
        return
    simulate(GRIDS["subset" if given.subset else "full"](), given.out, given.processes)


if __name__ == "__main__":
    main()

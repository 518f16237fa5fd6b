"""Which worlds are simulated, and carrying it out: resumable, one line a finished cell."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, Final, get_args

from .families import BOUNDARY, NONE, PAIRS, REST, FamilyCell
from .peers import PeerCell, WithinCell
from .power import DETECT, SMALL, PowerCell
from .rates import PairCell, RateCell
from .unequal import UnequalCell
from .worlds import (
    COUNTERFACTUAL,
    DOMINANT,
    INFORMATIVE,
    MIXED,
    SKEWED,
    SMALLER,
    TWO,
    VARYING,
    ZIPF,
    Size,
)

Cell = RateCell | PairCell | FamilyCell | PowerCell | PeerCell | WithinCell | UnequalCell
Result = dict[str, Any]

KINDS: Final[dict[str, type[Cell]]] = {c.kind: c for c in get_args(Cell)}

_PICTURES = (5, 10, 20, 50, 100, 200, 500, 1000, 5000)
_RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_ICC = (0.0, 0.1, 0.3, 0.7, 1.0)
_SIZES: tuple[Size, ...] = (2, 4, 8, 12, MIXED, SKEWED)


def full() -> list[Cell]:
    """The whole grid: some hours on two cores."""
    clusters: list[tuple[Size, float]] = [(1, 0.0), *product(_SIZES, _ICC)]
    clusters += [(INFORMATIVE, icc) for icc in _ICC]
    rates = [RateCell(n, p, *c) for n, p, c in product(_PICTURES, _RATES, clusters)]
    dependent: list[tuple[Size, float]] = list(product((2, 4, 12, MIXED, SKEWED), (0.1, 0.3, 1.0)))
    pairs = [
        PairCell(n, m, p, p + d, *c)
        for n, m in ((50, 50), (50, 1000), (1000, 50), (200, 200), (1000, 1000), (1000, 5000))
        for p, d in product((0.01, 0.05, 0.2), (0.0, 0.05, 0.2))
        for c in [(1, 0.0), *dependent]
    ]
    others: list[Cell] = [*_shared_pairs(), *_full_families(), *_powers(), *_peers(), *_withins()]
    return [*rates, *pairs, *others, *_unequal()]


def _full_families() -> Iterator[FamilyCell]:
    clusters: tuple[tuple[Size, float], ...] = (
        (1, 0.0), (4, 0.1), (4, 0.7), (12, 0.3), (12, 1.0), (MIXED, 0.3), (SKEWED, 1.0),
    )  # fmt: skip
    sizes = ((50, 50), (500, 500), (5, 1000), (5000, 5000))
    for groups, labels in ((2, 1), (2, 50), (7, 1), (7, 50), (14, 10), (126, 1)):
        for (n, largest), c, rate in product(sizes, clusters, (0.06, 0.2)):
            if groups * labels * largest > 1_000_000:
                continue
            for world, margin in ((NONE, 0.05), (BOUNDARY, 0.05), (BOUNDARY, 0.1)):
                if rate > margin or world == NONE:
                    yield FamilyCell(world, groups, labels, n, largest, rate, margin, REST, *c)
            if 2 < groups < 126:
                for world in (NONE, BOUNDARY):
                    yield FamilyCell(world, groups, labels, n, largest, rate, 0.05, PAIRS, *c)
    yield from _shared_families()


def subset() -> list[Cell]:
    """The declared subset: about 25 minutes of one core."""
    clusters: list[tuple[Size, float]] = [
        (1, 0.0), (2, 0.3), (4, 0.1), (4, 0.7), (12, 0.1), (12, 0.3), (12, 1.0),
        (MIXED, 0.3), (MIXED, 1.0), (SKEWED, 0.1), (SKEWED, 0.7), (SKEWED, 1.0), (INFORMATIVE, 0.3),
    ]  # fmt: skip
    pictures, rates = (5, 20, 50, 200, 500, 1000, 5000), (0.005, 0.02, 0.1, 0.2, 0.5)
    single = [RateCell(n, p, *c, audits=2000) for n, p, c in product(pictures, rates, clusters)]
    zipf = [
        RateCell(1000, p, ZIPF, icc, audits=2000)
        for p in (0.02, 0.05, 0.3)
        for icc in (0.1, 0.3, 0.7)
    ]
    few: tuple[tuple[Size, float], ...] = ((1, 0.0), (4, 0.3), (12, 1.0), (SKEWED, 1.0))
    pairs = [
        PairCell(n, m, p, q, *c, audits=2000, resamples=400)
        for n, m in ((50, 50), (50, 1000), (1000, 1000))
        for p, q in ((0.02, 0.02), (0.05, 0.1), (0.3, 0.5))
        for c in few
    ]
    # those of most interest first, so that a run cut short has them
    first: list[Cell] = [*zipf, *_unequal(), *_peers(), *_withins(), *_equal_groups()]
    return [*first, *single, *pairs, *_shared_pairs(), *_powers(), *_subset_families()]


def _unequal() -> Iterator[UnequalCell]:
    """Few subjects with many of the pictures: 20 to 200 subjects, one with 11 to 28 % of all."""
    sizes = ((600, DOMINANT), (200, DOMINANT), (320, TWO), (160, TWO), (1000, ZIPF), (100, ZIPF))
    rates, iccs = (0.02, 0.05, 0.1, 0.3, 0.5), (0.0, 0.05, 0.1, 0.3, 0.7)
    for (n, size), icc, rate in product(sizes, iccs, rates):
        yield UnequalCell(n, rate, size, icc)


def _equal_groups() -> Iterator[FamilyCell]:
    """Many equal groups, all pairs, where simultaneous bounds have least to spare."""
    for groups, pictures, audits in ((14, 700, 2000), (14, 800, 2000), (30, 800, 1000)):
        yield FamilyCell(NONE, groups, against=PAIRS, pictures=pictures, audits=audits)
    for groups, audits in ((14, 1000), (30, 500)):
        yield FamilyCell(NONE, groups, against=PAIRS, pictures=2400, size=4, icc=0.3, audits=audits)


def _peers() -> Iterator[PeerCell]:
    rare = (0.02, 0.02, 0.08, 0.08)
    yield PeerCell((0.05,) * 4, 60, SMALLER, 0.3, bootstrapped=20)
    yield PeerCell(rare, 60, SMALLER, 0.3)
    yield PeerCell((0.1, 0.1, 0.3, 0.3), 60, SMALLER, 0.3)
    for subjects in (100, 200):
        yield PeerCell(rare, subjects, SMALLER, 0.3)
    yield PeerCell(rare, 200, SKEWED, 0.3)
    yield PeerCell((0.02, 0.05, 0.1, 0.1), 20, 12, 0.5)
    yield PeerCell(rare, 200, ZIPF, 0.3)


def _withins() -> Iterator[WithinCell]:
    sizes = ((60, 6000), (6000, 60), (500, 6000), (150, 150), (500, 500), (1500, 1500))
    for (n, m), rate, margin in product(sizes, (0.02, 0.1, 0.5, 0.9), (0.05, 0.2)):
        # smaller groups never show so little
        if min(n, m) * margin**2 >= 0.3 and rate + margin < 1:
            yield WithinCell(n, m, rate, margin, margin)
    yield WithinCell(60, 6000, 0.9, 0.05, 0.05)
    for size, icc in ((4, 0.3), (12, 0.1), (12, 1.0), (SMALLER, 0.3), (SKEWED, 0.7), (ZIPF, 0.3)):
        for (n, m), rate in product(((1000, 1000), (500, 4000)), (0.05, 0.3)):
            yield WithinCell(n, m, rate, 0.2, 0.2, size=size, icc=icc, audits=2000)
    for pictures in (1100, 1500, 2000, 2800):
        yield WithinCell(pictures, pictures, 0.1, 0.05, 0.0, 14, audits=1000)
    yield WithinCell(1500, 1500, 0.1, 0.05, 0.05, 14, audits=2000)


def _subset_families() -> Iterator[FamilyCell]:
    for n in (50, 500, 5000):
        yield FamilyCell(BOUNDARY, 2, pictures=n)
    yield FamilyCell(BOUNDARY, 2, pictures=500, rate=0.03)
    yield FamilyCell(BOUNDARY, 2, pictures=1000, rate=0.2, margin=0.1)
    yield FamilyCell(BOUNDARY, 2, pictures=50, largest=0, size=4, icc=0.3)
    for size, icc in ((4, 0.3), (12, 0.1), (12, 1.0), (MIXED, 0.3), (SKEWED, 1.0)):
        yield FamilyCell(BOUNDARY, 2, pictures=1000, size=size, icc=icc)
    yield FamilyCell(BOUNDARY, 2, pictures=5000, size=4, icc=0.3, rate=0.2, margin=0.1)
    yield FamilyCell(BOUNDARY, 7, against=PAIRS, pictures=1000)
    yield FamilyCell(BOUNDARY, 7, against=PAIRS, pictures=1000, size=4, icc=0.3)
    yield FamilyCell(BOUNDARY, 8, 50, pictures=200)
    yield FamilyCell(BOUNDARY, 8, 50, pictures=200, size=4, icc=0.3)
    yield FamilyCell(BOUNDARY, 8, 10, pictures=500, rate=0.09, choose=True)
    yield FamilyCell(BOUNDARY, 14, 10, 50, 1000, size=4, icc=0.3)
    yield FamilyCell(BOUNDARY, 14, 10, 50, 1000, size=SKEWED, icc=1.0)
    yield FamilyCell(BOUNDARY, 14, 1, 500, 2000, rate=0.2, margin=0.1)
    yield FamilyCell(BOUNDARY, 126, 1, 5, 500)
    yield FamilyCell(BOUNDARY, 126, 1, 50, 500, size=4, icc=0.3)
    yield FamilyCell(NONE, 2, pictures=500)
    yield FamilyCell(NONE, 2, pictures=500, size=4, icc=0.3)
    yield FamilyCell(NONE, 2, 50, pictures=500, size=12, icc=1.0)
    yield FamilyCell(NONE, 7, 1, against=PAIRS, pictures=500, size=SKEWED, icc=1.0)
    yield FamilyCell(NONE, 14, 10, 50, 1000, against=PAIRS)
    yield FamilyCell(NONE, 14, 10, 50, 1000, against=PAIRS, size=4, icc=0.3)
    yield FamilyCell(NONE, 14, 20, 300, size=2, icc=0.1)
    yield FamilyCell(NONE, 14, 5, 100, 2000, rate=0.5, size=12, icc=0.3)
    yield FamilyCell(NONE, 126, 1, 5, 500)
    yield FamilyCell(NONE, 126, 1, 50, 500, size=4, icc=0.7)
    yield from _shared_families()


def _shared_families() -> Iterator[FamilyCell]:
    """Groups that share subjects."""
    for world in (BOUNDARY, NONE):
        yield FamilyCell(world, 2, 1, 500, icc=0.7, shared=COUNTERFACTUAL)
        yield FamilyCell(world, 6, 10, 200, icc=0.3, shared=COUNTERFACTUAL)
        yield FamilyCell(world, 6, 4, 200, size=4, icc=0.7, shared=VARYING)


def _shared_pairs() -> Iterator[PairCell]:
    for n, (p, q), icc in product(
        (50, 500), ((0.02, 0.02), (0.05, 0.1), (0.3, 0.5)), (0.1, 0.7, 1.0)
    ):
        yield PairCell(n, n, p, q, 2, icc, COUNTERFACTUAL, audits=2000, resamples=400)


def _powers() -> Iterator[PowerCell]:
    for power in (0.5, 0.8, 0.95):
        yield PowerCell(DETECT, power=power)
    yield PowerCell(DETECT, 1000, 1000, 0.05)
    yield PowerCell(DETECT, 1000, 100, 0.1)
    yield PowerCell(DETECT, 50, 50, 0.1)
    yield PowerCell(DETECT, groups=10)
    yield PowerCell(DETECT, 1000, 1000, groups=10)
    for size, icc, groups in ((4, 0.3, 2), (12, 0.1, 2), (4, 0.3, 10)):
        yield PowerCell(DETECT, 1000, 1000, groups=groups, size=size, icc=icc)
    yield PowerCell(SMALL)
    yield PowerCell(SMALL, groups=5)
    yield PowerCell(SMALL, size=4, icc=0.3)


GRIDS: Final = {"full": full, "subset": subset}


def key(cell: Cell) -> str:
    """What tells one cell from another."""
    return json.dumps({"kind": cell.kind, **asdict(cell)}, sort_keys=True)


def cell_of(described: dict[str, Any]) -> Cell:
    """The cell that a line of results describes."""
    fields = {k: v for k, v in described.items() if k != "kind"}
    return KINDS[described["kind"]](**fields)


def seed_of(cell: Cell) -> int:
    """Every cell has a stream of its own."""
    return int.from_bytes(hashlib.blake2b(key(cell).encode(), digest_size=6).digest())


def run_cell(cell: Cell) -> Result:
    """One line of results; seconds are those of the processor."""
    start = time.process_time()
    found = cell.run(seed_of(cell))
    told = {k: None if math.isnan(v) else round(v, 6) for k, v in found.items()}
    seconds = round(time.process_time() - start, 2)
    return {"cell": {"kind": cell.kind, **asdict(cell)}, "result": told, "seconds": seconds}


def read(path: Path) -> list[Result]:
    """Finished cells; a last line that was cut off is none."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def simulate(cells: Iterable[Cell], out: Path, processes: int) -> None:
    """Carry out the cells that ``out`` lacks, appending a line for each."""
    done = {key(cell_of(r["cell"])) for r in read(out)}
    left = [cell for cell in dict.fromkeys(cells) if key(cell) not in done]
    _drop_torn_line(out)
    # set before the workers start: one thread each
    os.environ["OMP_NUM_THREADS"] = "1"
    with out.open("a", encoding="utf-8") as file:
        for number, result in enumerate(_results(left, processes), 1):
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(f"\r{number} of {len(left)} cells", end="", flush=True)
    print()


def _drop_torn_line(out: Path) -> None:
    if out.exists():
        text = out.read_text(encoding="utf-8")
        out.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")


def _results(cells: list[Cell], processes: int) -> Iterator[Result]:
    if processes == 1:
        yield from map(run_cell, cells)
        return
    # the long ones first, so that no core waits for one at the end
    order = sorted(cells, key=lambda c: c.kind != FamilyCell.kind)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(run_cell, order)

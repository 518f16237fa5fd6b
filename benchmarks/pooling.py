"""Pooled rates and verdicts of small intersections in worlds that are known.

    python benchmarks/pooling.py [--audits 400] [--seed 1] [--all]

Prints the table of docs/intersections.md, in percent, over tables of 14, 16 and 63 cells. Coverage
of cells, on average and in the worst: raw / pooled. Audits with a wrong verdict, and gaps found:
raw / raw at the correction of the pooled / pooled.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit.core.tables import EXCEEDS, WITHIN
from audit.core.verdicts import size_bounds
from audit.measure.intersections import compare_pooled, largest, pooled, pooled_rates
from audit.stats.clustered import Sample, difference_interval, rate_interval
from audit.stats.counts import sample_of

MARGIN, LEVEL = 0.05, 0.95
TABLES = {"2 x 7": (2, 7), "2 x 2 x 4": (2, 2, 4), "7 x 9": (7, 9)}
BASES = (0.02, 0.1, 0.3)
A_PERSON = 4  # pictures of each subject where they repeat
ICC = 0.4  # how alike these are


@dataclass(frozen=True)
class World:
    """Cells of an intersection with their true rates and pictures; the odd cell is the last."""

    name: str
    base: float
    table: str
    factors: np.ndarray
    rates: np.ndarray
    pictures: np.ndarray
    repeats: bool = False

    @property
    def names(self) -> list[str]:
        """Cells as a run names them."""
        return [" x ".join(map(str, cell)) for cell in self.factors.T]


def crossed(*sizes: int) -> np.ndarray:
    """Codes of all cells, (attributes, cells)."""
    return np.array(np.meshgrid(*map(range, sizes), indexing="ij")).reshape(len(sizes), -1)


def worlds(seed: int) -> Iterator[World]:
    """Every kind of world in tables of 14 to 63 cells of 5 to 50 pictures."""
    for table, sizes in TABLES.items():
        rng = np.random.default_rng(seed)
        factors = crossed(*sizes)
        cells = factors.shape[1]
        pictures = np.exp(rng.uniform(np.log(5), np.log(50), cells)).round().astype(int)
        pictures[-1] = 20
        departures = np.exp(rng.normal(0, 0.5, cells))
        for base in BASES:
            kinds = _kinds(base, factors, pictures, departures)
            for name, rates in kinds.items():
                yield World(name, base, table, factors, rates, pictures)
            for name in (STRONG, ODD) if base == 0.1 else ():
                repeated = A_PERSON * (1 + pictures // A_PERSON)
                yield World(
                    f"{name}, {A_PERSON} pictures a subject",
                    base, table, factors, kinds[name], repeated, True,
                )  # fmt: skip


NONE, STRONG, ODD = "no differences", "main effects of 40 points in all", "odd cell, 30 points up"


def _kinds(
    base: float, factors: np.ndarray, pictures: np.ndarray, departures: np.ndarray
) -> dict[str, np.ndarray]:
    """True rates of the cells in every kind of world."""
    share = sum(codes / codes.max() for codes in factors) / len(factors)
    strong, equal = base + 0.4 * share, np.full(len(share), base)
    odd, absent, hidden = base * (0.5 + share), strong.copy(), equal.copy()
    odd[-1] += 0.3
    absent[-1] = _rest(strong, pictures) + MARGIN
    hidden[-1] += 0.15
    return {
        NONE: equal,
        "one attribute differs by just the margin": equal + MARGIN * (factors[0] > 0),
        STRONG: strong,
        "interaction (rates times exp(N(0, 0.5)))": np.clip(equal * departures, 0.0, 0.95),
        ODD: odd,
        "odd cell among equals, 15 points up": hidden,
        "odd cell at the margin, 40 would add up": absent,
    }


def _rest(rates: np.ndarray, pictures: np.ndarray) -> float:
    return float(np.average(rates[:-1], weights=pictures[:-1]))


def drawn(world: World, audits: int, rng: np.random.Generator) -> Sample:
    """Audits of a world as the questions of one sample: the cells, then the rest of each."""
    codes = np.repeat(np.arange(len(world.rates)), world.pictures)
    subjects = np.arange(len(codes)) // (A_PERSON if world.repeats else 1)
    rates = np.broadcast_to(world.rates[codes][:, np.newaxis], (len(codes), audits))
    if world.repeats:
        first = np.unique(subjects, return_index=True)[1]
        p, spread = rates[first], 1 / ICC - 1
        rates = rng.beta(p * spread, (1 - p) * spread)[subjects]
    happened = rng.random(rates.shape) < rates
    resamples = 400 if world.repeats else 0
    return sample_of(happened, codes, subjects, len(world.rates), 0, resamples, rest=True)


def figures(world: World, sample: Sample) -> dict[str, float]:
    """What happened in the audits of a world, in percent; raw first, pooled second."""
    cells = len(world.rates)
    at = np.arange(cells)
    # without any event there is nothing to pool
    asked = sample.events[:, :cells].sum(axis=1) > 0
    low, high = rate_interval(sample, LEVEL)
    bounds = (low[asked][:, at], high[asked][:, at])
    of_pooled = tuple(b[asked] for b in pooled_rates(sample, at, world.names, LEVEL)[1:])
    found: dict[str, float] = {}
    for method, (lower, upper) in {"raw": bounds, "pooled": of_pooled}.items():
        covered = 100 * ((lower <= world.rates) & (world.rates <= upper)).mean(axis=0)
        found |= {f"{method} mean": covered.mean(), f"{method} least": covered.min()}
        found |= {f"{method} odd": covered[-1] if "odd" in world.name else np.nan}
        found |= {f"{method} width": (upper - lower).mean()}
    return found | _verdicts_of(world, sample, asked)


def _verdicts_of(world: World, sample: Sample, asked: np.ndarray) -> dict[str, float]:
    """Audits with a wrong verdict and gaps found: cells against the rest, and the largest gap."""
    cells = len(world.rates)
    one, other = np.triu_indices(cells, 1)
    pairs = len(one)
    one, other = np.r_[one, np.arange(cells)], np.r_[other, np.arange(cells) + cells]
    weights = world.pictures * (1 - np.eye(cells))
    both = np.r_[world.rates, weights @ world.rates / weights.sum(axis=1)]
    gaps = np.abs(both[one] - both[other])
    model = pooled(sample, np.arange(cells), world.names, LEVEL)
    usable = np.ones((len(sample.n), len(one)), bool)
    compared = compare_pooled(model, sample, (one, other), usable, LEVEL)
    most = size_bounds(*difference_interval(sample, one, other, LEVEL))[1]
    part, widest_gap = slice(0, pairs), gaps[:pairs].max(keepdims=True)
    judged = {
        "pooled rest": (compared.verdicts(MARGIN)[:, pairs:], gaps[pairs:]),
        "pooled widest": (largest(compared, pairs, MARGIN)["pooled_verdict"], widest_gap),
    }
    # raw bounds corrected for all comparisons of a question, and for its cells as the pooled are;
    # within is asked of each comparison alone
    for name, count in (("raw", len(one)), ("same", cells)):
        bounds = difference_interval(sample, one, other, 1 - (1 - LEVEL) / count)
        least = size_bounds(*bounds)[0]
        ends = (bound[:, part].max(axis=1, keepdims=True) for bound in (least, most))
        judged[f"{name} rest"] = _judged(least, most)[:, pairs:], gaps[pairs:]
        judged[f"{name} widest"] = _judged(*ends), widest_gap
    return {
        f"{name} {what}": said(verdict[asked], gap)
        for name, (verdict, gap) in judged.items()
        for what, said in (("wrong", _wrong), ("found", _found))
    }


def _judged(least: np.ndarray, most: np.ndarray) -> np.ndarray:
    return np.select([least > MARGIN, most < MARGIN], [EXCEEDS, WITHIN], "").astype(object)


def _wrong(judged: np.ndarray, gaps: np.ndarray) -> float:
    """Audits with any wrong verdict; a gap of just the margin neither exceeds it nor is within."""
    exceeds, within = gaps > MARGIN + 1e-9, gaps < MARGIN - 1e-9
    wrong = ((judged == EXCEEDS) & ~exceeds) | ((judged == WITHIN) & ~within)
    return float(100 * wrong.any(axis=1).mean())


def _found(judged: np.ndarray, gaps: np.ndarray) -> float:
    """Of the gaps that exceed the margin, the share found."""
    large = gaps > MARGIN + 1e-9
    return float(100 * (judged[:, large] == EXCEEDS).mean()) if large.any() else np.nan


#: column to what it shows of the worlds of one kind: (figure, how several tables are put together)
COLUMNS = {
    "Coverage on average": ("mean", "mean"),
    "of the planted odd cell, worst": ("odd", "min"),
    "of any cell, worst": ("least", "min"),
    "A cell against the rest: wrong, at most": ("rest wrong", "max"),
    "found": ("rest found", "mean"),
    "Largest gap: wrong, at most": ("widest wrong", "max"),
    "found ": ("widest found", "mean"),
}


def lines(found: pd.DataFrame) -> Iterator[str]:
    """The table, a line a kind of world and base rate."""
    head = ["World", "Base rate", *COLUMNS, "Width of an interval"]
    yield f"| {' | '.join(name.strip() for name in head)} |"
    yield f"|{'---|' * len(head)}"
    for (name, base), part in found.groupby(["world", "base"], sort=False):
        cells = [str(name), f"{base:.0%}"]
        for figure, how in COLUMNS.values():
            methods = [m for m in ("raw", "same", "pooled") if f"{m} {figure}" in part]
            values = [part[f"{m} {figure}"].agg(how) for m in methods]
            known = not np.isnan(values).any()
            cells.append(" / ".join(f"{v:.1f}" for v in values) if known else "–")
        ratio = (part["pooled width"] / part["raw width"]).mean()
        yield f"| {' | '.join(cells)} | {ratio:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audits", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="a line a table of cells, too")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    rows = []
    for world in worlds(given.seed):
        name = f"{world.name}, {world.table}" if given.all else world.name
        told = figures(world, drawn(world, given.audits, rng))
        rows.append({"world": name, "base": world.base} | told)
    print("\n".join(lines(pd.DataFrame(rows))))


if __name__ == "__main__":
    main()

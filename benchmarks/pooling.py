"""Pooled rates and verdicts of small intersections in worlds that are known.

    python benchmarks/pooling.py [--audits 400] [--seed 1]

Prints the table of docs/intersections.md: coverage over cells, on average and in the worst cell,
and how often verdicts are wrong and how often a gap is found, of the raw and the pooled method.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audit.intersections import compare_pooled, largest, pooled, pooled_rates
from audit.stats.clustered import Sample, difference_interval, rate_interval
from audit.stats.counts import sample_of
from audit.stats.families import size_bounds
from audit.tables import SHOWN_LARGE, SHOWN_SMALL

MARGIN, LEVEL = 0.05, 0.95
TABLES = {"2 x 7": (2, 7), "2 x 2 x 4": (2, 2, 4), "7 x 9": (7, 9)}
BASES = (0.02, 0.1, 0.3)
A_PERSON = 4  # pictures of each subject where they repeat
ICC = 0.4  # how alike these are


@dataclass(frozen=True)
class World:
    """Cells of an intersection with their true rates and pictures; the odd cell is the last."""

    name: str
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
        share = sum(codes / codes.max() for codes in factors) / len(factors)
        departures = np.exp(rng.normal(0, 0.5, cells))
        for base in BASES:
            main = base * (0.5 + share)
            strong = base + 0.4 * share
            high, absent, hidden = main.copy(), strong.copy(), np.full(cells, base)
            high[-1] += 0.3
            absent[-1] = _rest(strong, pictures) + MARGIN  # just the margin, where 25 would add up
            hidden[-1] += MARGIN + 0.1
            kinds = {
                "no differences": np.full(cells, base),
                "main effects": main,
                "strong main effects": strong,
                "interaction": np.clip(main * departures, 0.002, 0.95),
                "odd cell, 30 points up": high,
                "strong main effects, odd cell at the margin": absent,
                "odd cell among equals, 15 up": hidden,
            }
            for name, rates in kinds.items():
                yield World(f"{name}, {base:.0%}", table, factors, rates, pictures)
            if base == 0.1:
                for name in ("strong main effects", "odd cell, 30 points up"):
                    yield World(
                        f"{name}, {base:.0%}, {A_PERSON} pictures a subject",
                        table, factors, kinds[name], A_PERSON * (1 + pictures // A_PERSON), True,
                    )  # fmt: skip


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


def figures(world: World, sample: Sample) -> list[str]:
    """One line of the table."""
    cells, truth = len(world.rates), world.rates
    at = np.arange(cells)
    asked = (sample.events[:, :cells].sum(axis=1) > 0)[:, np.newaxis]
    raw = rate_interval(sample)
    raw_low, raw_high = raw[0][:, at], raw[1][:, at]
    found = pooled_rates(sample, at, world.names, LEVEL)
    covers = _covers(raw_low, raw_high, truth, asked), _covers(*found[1:], truth, asked)
    width = np.nanmean(np.where(asked, found[2] - found[1], np.nan)) / np.nanmean(
        np.where(asked, raw_high - raw_low, np.nan)
    )
    return [
        world.name,
        world.table,
        *(f"{100 * c.mean():.1f} / {100 * c.min():.1f}" for c in covers),
        f"{width:.2f}",
        *_verdict_cells(world, sample, asked[:, 0]),
    ]


def _covers(low: np.ndarray, high: np.ndarray, truth: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Coverage of each cell, over the audits that can say anything."""
    inside = (low <= truth) & (truth <= high)
    return np.nanmean(np.where(asked, inside, np.nan), axis=0)


def _verdict_cells(world: World, sample: Sample, asked: np.ndarray) -> list[str]:
    cells = len(world.rates)
    one, other = np.triu_indices(cells, 1)
    pairs = len(one)
    one, other = np.r_[one, np.arange(cells)], np.r_[other, np.arange(cells) + cells]
    weights = world.pictures * (1 - np.eye(cells))
    rest = weights @ world.rates / weights.sum(axis=1)
    both = np.r_[world.rates, rest]
    gaps = np.abs(both[one] - both[other])
    each = 1 - (1 - LEVEL) / len(one)
    usable = np.ones((len(sample.n), len(one)), bool)
    least = size_bounds(*difference_interval(sample, one, other, each))[0]
    most = size_bounds(*difference_interval(sample, one, other, LEVEL))[1]
    model = pooled(sample, np.arange(cells), world.names, LEVEL)
    found = compare_pooled(model, sample, (one, other), usable, LEVEL)
    of_pooled = found.verdicts(MARGIN)
    widest = largest(found, pairs, MARGIN)["pooled_verdict"]
    of_raw = _judged(least, most)
    raw_widest = _judged(
        least[:, :pairs].max(axis=1, keepdims=True), most[:, :pairs].max(axis=1, keepdims=True)
    )
    lines = []
    for part, judged in (
        (gaps[pairs:], (of_raw[:, pairs:], of_pooled[:, pairs:])),
        (gaps[:pairs].max(keepdims=True), (raw_widest, widest)),
    ):
        lines.append(" / ".join(_wrong(v[asked], part) for v in judged))
        lines.append(" / ".join(_found(v[asked], part) for v in judged))
    return lines


def _judged(least: np.ndarray, most: np.ndarray) -> np.ndarray:
    return np.select([least > MARGIN, most < MARGIN], [SHOWN_LARGE, SHOWN_SMALL], "").astype(object)


def _wrong(judged: np.ndarray, gaps: np.ndarray) -> str:
    """Audits with any wrong verdict; a gap of just the margin neither exceeds it nor is within."""
    exceeds, within = gaps > MARGIN + 1e-9, gaps < MARGIN - 1e-9
    wrong = ((judged == SHOWN_LARGE) & ~exceeds) | ((judged == SHOWN_SMALL) & ~within)
    return f"{100 * wrong.any(axis=1).mean():.1f}"


def _found(judged: np.ndarray, gaps: np.ndarray) -> str:
    """Of the gaps that exceed the margin, the share found."""
    large = gaps > MARGIN + 1e-9
    return f"{100 * (judged[:, large] == SHOWN_LARGE).mean():.1f}" if large.any() else "–"


HEAD = (
    "World, base rate", "Cells", "Raw: coverage, mean / worst cell", "Pooled: mean / worst",
    "Width, pooled / raw", "A cell against the rest: audits with a wrong verdict, raw / pooled",
    "gaps found, raw / pooled", "Largest gap: wrong, raw / pooled", "found, raw / pooled",
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audits", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    rng = np.random.default_rng(given.seed)
    for world in worlds(given.seed):
        audits = given.audits if len(world.rates) < 50 else given.audits // 4
        line = figures(world, drawn(world, audits, rng))
        print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()

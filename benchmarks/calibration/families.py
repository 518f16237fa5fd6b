"""Families: how often any verdict, bound or q-value of a family of comparisons is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Final

import numpy as np

from audit.core.arrays import Flags, Floats, Integers
from audit.core.tables import EXCEEDS, WITHIN
from audit.core.verdicts import verdicts
from audit.stats.clustered import Sample
from audit.stats.counts import sample_of
from audit.stats.multiplicity import Estimates, Family, compare

from .worlds import (
    APART,
    COUNTERFACTUAL,
    VARYING,
    Layout,
    Size,
    apart,
    choices,
    counterfactual,
    coupled_rates,
    happen,
    subject_rates,
    subject_sizes,
    varying,
)

LEVEL: Final = 0.95
PAIRS: Final = "all pairs"
REST: Final = "each against the rest"
NONE: Final = "no disparity"
BOUNDARY: Final = "every gap at its margin"
_MOST_DEVIATIONS = 10_000_000  # numbers a batch: about 40 MB
_MOST_TOGETHER = 50  # audits that share a layout's bootstrap weights
_TINY = 1e-9

Truth = tuple[Floats, Floats]


@dataclass(frozen=True)
class FamilyCell:
    """Audits of a family: ``groups`` of ``pictures`` to ``largest`` pictures, ``labels`` labels.

    ``world``: no disparity, or every gap of the family exactly at its margin. Among all pairs that
    is possible for two groups only; with more, half of the groups have the higher rate and gaps are
    0 or the margin. Against the rest, half of the groups are above and half below.
    ``choose``: one label a picture, as a classifier gives it, instead of independent labels.
    """

    kind: ClassVar[str] = "family"
    world: str
    groups: int
    labels: int = 1
    pictures: int = 200
    largest: int = 0
    rate: float = 0.1
    margin: float = 0.05
    against: str = REST
    size: Size = 1
    icc: float = 0.0
    shared: str = APART
    choose: bool = False
    audits: int = 1000
    resamples: int = 1000

    def run(self, seed: int) -> dict[str, float]:
        """Shares of audits with at least one wrong statement of each sort."""
        found = [_judge(self, truth, family) for truth, family in _audits(self, seed)]
        means = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
        return {"audits": len(found), **means}


def _audits(cell: FamilyCell, seed: int) -> Iterator[tuple[Truth, Family]]:
    """The true rates of each audit and what the tool makes of it."""
    done = 0
    for batch in range(cell.audits):
        rng = np.random.default_rng([seed, batch])
        together = min(_together(cell), cell.audits - done)
        layout = _layout(cell, rng)
        rates = _rates(cell, layout.n)
        events = np.hstack([_events(cell, rng, layout, rates) for _ in range(together)])
        rest = cell.against == REST and cell.groups > 2
        sample = sample_of(
            events, layout.codes, layout.clusters, cell.groups, seed + batch, cell.resamples, rest
        )
        one, other = comparisons(cell.groups, cell.against)
        truth = true_rates(rates, layout.n, one, other)
        for k in range(together):
            yield (
                truth,
                family_of(sample, slice(k * cell.labels, (k + 1) * cell.labels), one, other),
            )
        done += together
        if done >= cell.audits:
            return


def _together(cell: FamilyCell) -> int:
    columns = cell.groups * (2 if cell.against == REST else 1)
    each = cell.labels * columns * cell.resamples
    events = cell.labels * cell.groups * max(cell.pictures, cell.largest)
    return int(np.clip(min(_MOST_DEVIATIONS // each, 5_000_000 // events), 1, _MOST_TOGETHER))


def comparisons(groups: int, against: str) -> tuple[Integers, Integers]:
    """Indices of both sides of every comparison; the rest of a group follows the groups."""
    if against == PAIRS or groups == 2:
        one, other = np.triu_indices(groups, 1)
        return one.astype(np.int64), other.astype(np.int64)
    return np.arange(groups), np.arange(groups) + groups


def true_rates(rates: Floats, n: Integers, one: Integers, other: Integers) -> tuple[Floats, Floats]:
    """The true rates on both sides of every comparison, each (labels, comparisons)."""
    rest = (n @ rates - n[:, np.newaxis] * rates) / (n.sum() - n)[:, np.newaxis]
    both = np.concatenate([rates, rest]).T
    return both[:, one], both[:, other]


def _layout(cell: FamilyCell, rng: np.random.Generator) -> Layout:
    if cell.shared == COUNTERFACTUAL:
        assert isinstance(cell.size, int)
        return counterfactual(cell.groups, cell.pictures, cell.size)
    # groups two by two of equal size, one above and one below
    largest = max(cell.pictures, cell.largest)
    steps = np.geomspace(cell.pictures, largest, -(-cell.groups // 2)).round().astype(np.int64)
    if cell.shared == VARYING:
        return varying(rng, np.repeat(steps, 2)[: cell.groups], cell.size)
    sizes = [subject_sizes(rng, int(n), cell.size) for n in steps for _ in range(2)]
    if not isinstance(cell.size, int):
        sizes[1::2] = sizes[::2]
    return apart(sizes[: cell.groups])


def _rates(cell: FamilyCell, n: Integers) -> Floats:
    """The rate of each group and label, (groups, labels)."""
    rates = np.full((cell.groups, cell.labels), cell.rate)
    if cell.world == NONE:
        return rates
    sign = np.where(np.arange(cell.groups) % 2, -1.0, 1.0)[:, np.newaxis]
    if cell.choose:
        # what one label gains another loses
        sign = sign * np.where(np.arange(cell.labels) % 2, -1.0, 1.0)
    if cell.against == PAIRS or cell.groups == 2:
        return rates + sign * cell.margin / 2
    return np.asarray(rates + sign * cell.margin * (1 - n / n.sum())[:, np.newaxis])


def _events(cell: FamilyCell, rng: np.random.Generator, layout: Layout, rates: Floats) -> Flags:
    if cell.choose:
        return choices(rng, rates, layout, cell.icc)
    subjects = int(layout.clusters.max()) + 1
    if cell.shared == APART:
        group = np.zeros(subjects, dtype=np.int64)
        group[layout.clusters] = layout.codes
        own = subject_rates(rng, rates[group], cell.icc)
        return happen(rng, own[layout.clusters])
    own = coupled_rates(rng, rates, subjects, cell.icc)
    return happen(rng, own[layout.clusters, layout.codes])


def family_of(sample: Sample, labels: slice, one: Integers, other: Integers) -> Family:
    """The tool's answers about some of the questions, as a family of their own."""
    part = questions(sample, labels)
    usable = np.ones((len(part.n), len(one)), dtype=bool)
    return compare(part, one, other, usable, LEVEL)


def questions(sample: Sample, labels: slice) -> Sample:
    """Some of the questions; all is known by question, but for which groups share subjects."""
    known = {f.name: getattr(sample, f.name) for f in fields(sample) if f.name != "shared"}
    return replace(sample, **{name: v[labels] for name, v in known.items() if v is not None})


def _judge(cell: FamilyCell, rates: Truth, family: Family) -> dict[str, float]:
    truth, ratio = rates[0] - rates[1], rates[0] / rates[1]
    gaps, ratios = family.difference, family.ratio
    verdict = verdicts(gaps.low_all, gaps.high_all, cell.margin)
    alone = verdicts(gaps.low, gaps.high, cell.margin)
    large, small = np.abs(truth) > cell.margin + _TINY, np.abs(truth) < cell.margin - _TINY
    equal = np.abs(truth) < _TINY
    given = ~np.isnan(gaps.low_all)
    return {
        "given": given.mean(),
        "wrong_large": float(((verdict == EXCEEDS) & ~large).any()),
        "wrong_small": float(((verdict == WITHIN) & ~small).any()),
        "wrong_large_alone": float(((alone == EXCEEDS) & ~large).any()),
        "wrong_small_alone": float(((alone == WITHIN) & ~small).any()),
        "wrong_q": float(((family.q <= 1 - LEVEL) & equal).any()) if equal.any() else np.nan,
        "missed": float(_missed(gaps, truth)),
        "ratio_missed": float(_missed(ratios, ratio)),
        "single": _covered(gaps, truth),
        "within_margin": float((verdict == WITHIN).mean()),
        "comparisons": float(family.size),
        "studentised": float(family.studentised.mean()),
        "each": family.each,
    }


def _missed(estimates: Estimates, truth: Floats) -> bool:
    """Whether any simultaneous bound is on the wrong side of the true value."""
    low, high = estimates.low_all, estimates.high_all
    return bool(((low > truth + _TINY) | (high < truth - _TINY)).any())


def _covered(estimates: Estimates, truth: Floats) -> float:
    """The share of single intervals that contain the true value."""
    known = ~np.isnan(estimates.low)
    inside = (estimates.low <= truth + _TINY) & (truth - _TINY <= estimates.high)
    return float(inside[known].mean()) if known.any() else float("nan")

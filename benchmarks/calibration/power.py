"""Power: how often a gap of known size is found, beside what ``audit.stats.power`` foretells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from audit.core.arrays import Floats
from audit.core.tables import WITHIN
from audit.core.verdicts import size_bounds, verdicts
from audit.stats.counts import sample_of
from audit.stats.multiplicity import Family
from audit.stats.power import detectable_difference, needed_n_for_margin

from .families import LEVEL, PAIRS, comparisons, family_of
from .worlds import Size, apart, happen, mean_size, subject_rates, subject_sizes

DETECT: Final = "a difference is found"
SMALL: Final = "equal rates are found within the margin"
_TOGETHER = 20


@dataclass(frozen=True)
class PowerCell:
    """Groups at a base rate, the last one apart by what is foretold to be found in ``power``.

    ``question``: whether the gap between first and last group is found, or (in groups as large as
    foretold, without any gap) shown to be below ``margin``.
    """

    kind: ClassVar[str] = "power"
    question: str
    pictures: int = 200
    pictures_other: int = 200
    rate: float = 0.1
    power: float = 0.8
    groups: int = 2
    margin: float = 0.05
    size: Size = 1
    icc: float = 0.0
    audits: int = 1000
    resamples: int = 1000

    def run(self, seed: int) -> dict[str, float]:
        """The share of audits that found it, by bounds and by q-value."""
        pictures, gap = _plan(self)
        if np.isnan(gap):
            return {"audits": 0, "gap": gap}
        rates = np.array([self.rate] * (self.groups - 1) + [self.rate + gap])
        found = []
        for i in range(-(-self.audits // _TOGETHER)):
            families = _batch(self, np.random.default_rng([seed, i]), pictures, rates, seed + i)
            found += [_found(self, family) for family in families]
        means = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
        return {"audits": len(found), "gap": gap, "largest": float(max(pictures)), **means}


def _plan(cell: PowerCell) -> tuple[list[int], float]:
    """Pictures of each group and the gap of the last one, by the tool's own formulas."""
    size = len(comparisons(cell.groups, PAIRS)[0])
    design = 1 + (mean_size(cell.size) - 1) * cell.icc
    if cell.question == SMALL:
        needed = needed_n_for_margin(cell.rate, cell.margin, LEVEL, cell.power, size)
        return [int(np.ceil(needed * design))] * cell.groups, 0.0
    pictures = [cell.pictures] * (cell.groups - 1) + [cell.pictures_other]
    worth = pictures[0] / design, pictures[-1] / design
    gap = detectable_difference(*worth, cell.rate, LEVEL, cell.power, size)
    return pictures, float(gap)


def _batch(
    cell: PowerCell, rng: np.random.Generator, pictures: list[int], rates: Floats, seed: int
) -> list[Family]:
    layout = apart([subject_sizes(rng, n, cell.size) for n in pictures])
    subjects = len(layout.sizes)
    group = np.zeros(subjects, dtype=np.int64)
    group[layout.clusters] = layout.codes
    means = np.repeat(rates[group, np.newaxis], _TOGETHER, axis=1)
    events = happen(rng, subject_rates(rng, means, cell.icc)[layout.clusters])
    sample = sample_of(events, layout.codes, layout.clusters, cell.groups, seed, cell.resamples)
    one, other = comparisons(cell.groups, PAIRS)
    return [family_of(sample, slice(k, k + 1), one, other) for k in range(_TOGETHER)]


def _found(cell: PowerCell, family: Family) -> dict[str, float]:
    """What is said of the first group and the last."""
    at = (0, cell.groups - 2)
    gaps = family.difference
    least = size_bounds(gaps.low_all, gaps.high_all)[0][at]
    small = verdicts(gaps.low_all[at], gaps.high_all[at], cell.margin) == WITHIN
    bounds = bool(small) if cell.question == SMALL else least > 0
    return {
        "found": float(bounds),
        "found_q": float(family.q[at] <= 1 - LEVEL),
        "each": family.each,
        "comparisons": float(family.size),
    }

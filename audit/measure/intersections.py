"""Pooled rates and comparisons of an intersection's cells, beside the raw ones.

Small cells borrow from the cells that share an attribute (``audit.stats.pooling``). An interval
that is right on average can be wrong for one odd cell, so every interval here also holds the raw
one at ``FLOOR``: no cell is covered less often than that, whatever the model does to it. What this
gives stands beside the raw columns and opens no gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Floats, Integers
from audit.core.rows import Array
from audit.core.verdicts import GapSize, decide, size_bounds
from audit.stats.clustered import Sample, difference_interval, rate_interval
from audit.stats.pooling import Pooled, partial_pooling, pooled_differences, pooled_variance

Words = npt.NDArray[np.object_]

FLOOR: Final = 0.8
"""Level of the raw interval that every pooled one holds: the least coverage of any cell. An
interval that covers each cell at 95 % can be at best a sixth narrower than the raw one (Pratt 1961,
JASA 56, 549-567); giving up a little in the worst cell buys more for the others, which is a
restricted Bayes rule (Hodges, Lehmann 1952, Annals of Mathematical Statistics 23, 396-407)."""


def pooled(sample: Sample, at: Integers, names: Iterable[str], level: float) -> Pooled:
    """Rates of an intersection's cells drawn towards what its attributes add up to.

    Cells are weighted by the variance they would have at the rate of the whole, times the median
    design effect of the question's cells, since the variance of a small cell is itself noise.

    Args:
        sample: counts of Q questions in groups, the intersection's cells among them.
        at: which groups the cells are.
        names: the cells' names, of the form 'a x b'.
        level: of the intervals, which are the model's alone; see ``pooled_rates``.
    """
    cells = [name.split(" x ") for name in names]
    factors = np.array(
        [np.unique(names, return_inverse=True)[1] for names in zip(*cells, strict=True)]
    )
    n, events, rate = sample.n[:, at], sample.events[:, at], sample.rate[:, at]
    with np.errstate(divide="ignore", invalid="ignore"):
        effects = sample.spread[:, at] * n / (rate * (1 - rate))
    some = np.isfinite(effects).any(axis=1)
    effect = np.ones((len(n), 1))
    effect[some, 0] = np.nanmedian(np.where(np.isfinite(effects), effects, np.nan)[some], axis=1)
    variance = pooled_variance(events, n, effect)
    return partial_pooling(rate, variance, factors, level, np.maximum(n, 1) / effect)


def pooled_rates(
    sample: Sample, at: Integers, names: Iterable[str], level: float
) -> tuple[Floats, Floats, Floats]:
    """Pooled rates of the cells with bounds that hold the raw interval at ``FLOOR``, (Q, cells)."""
    found = pooled(sample, at, names, level)
    low, high = (bound[:, at] for bound in rate_interval(sample, FLOOR))
    known = ~np.isnan(found.pooled)
    return (
        found.pooled,
        np.where(known, np.fmin(found.low, low), np.nan),
        np.where(known, np.fmax(found.high, high), np.nan),
    )


@dataclass(frozen=True)
class Comparisons:
    """Pooled differences (Q, P) with bounds: of one comparison, and of all of a question."""

    value: Floats
    low: Floats
    high: Floats
    low_all: Floats
    high_all: Floats

    def verdicts(self, margin: npt.ArrayLike) -> Words:
        """What each difference says of its margin; blank where there is no pooled difference."""
        least = size_bounds(self.low_all, self.high_all)[0]
        most = size_bounds(self.low, self.high)[1]
        return _verdicts(self.value, least, most, margin)


def compare_pooled(
    found: Pooled,
    sample: Sample,
    pairs: tuple[Integers, Integers],
    usable: npt.NDArray[np.bool_],
    level: float,
) -> Comparisons:
    """Differences of pooled rates: cells against each other and against all other cells.

    Formula: ``d ± z se`` (``pooled_differences``), once with z of ``level`` and once with that of
    ``1 - (1 - level) / C``: Bonferroni over the C cells of a question, not over its C (C + 1) / 2
    comparisons, since drawing in does the rest (Gelman, Hill, Yajima 2012, Journal of Research on
    Educational Effectiveness 5, 189-211; docs/intersections.md has the measured error), and not
    over questions. Each is stretched to hold the raw interval of that comparison at ``FLOOR``. So a
    gap exceeds the margin only if the model's simultaneous bound and the raw one at ``FLOOR`` are
    both above the margin, and is within it only if both upper bounds are below it.
    Does not show: a cell that departs from what its attributes add up to, unless by its raw rate.

    Args:
        found: pooled rates of Q questions in C cells.
        sample: the C cells, followed by the rest of each where there is one.
        pairs: one and other side of each of P comparisons, by place in ``sample``.
        usable: which comparisons count, (Q, P).
        level: of the bounds of one comparison, and of those of all of a question together.
    """
    one, other = pairs
    cells = found.pooled.shape[1]
    d, se = pooled_differences(found, sample.n[0, :cells], one, other)
    raw = difference_interval(sample, one, other, FLOOR)
    known = usable & ~np.isnan(d + se + raw[0])
    count = np.maximum((~np.isnan(found.pooled)).sum(axis=1, keepdims=True), 1)
    tails = ((1 - level) / 2, (1 - level) / 2 / count)
    reach = (-special.ndtri(tail) * se for tail in tails)
    bounds = [
        np.where(known, bound, np.nan)
        for z in reach
        for bound in (np.fmax(np.fmin(d - z, raw[0]), -1.0), np.fmin(np.fmax(d + z, raw[1]), 1.0))
    ]
    return Comparisons(np.where(known, d, np.nan), *bounds)


def largest(compared: Comparisons | None, pairs: int, margin: npt.ArrayLike) -> dict[str, Array]:
    """The largest pooled gap between two cells: columns (Q, 1) of the first ``pairs`` comparisons.

    Lower bound: the largest simultaneous one of a pair; upper bound: the largest of the pairs' own,
    since all gaps are small if each of them is. Nothing where nothing is pooled.
    """
    if compared is None:
        return {}
    part = slice(0, pairs)
    least = size_bounds(compared.low_all[:, part], compared.high_all[:, part])
    alone = size_bounds(compared.low[:, part], compared.high[:, part])
    value, low, high, high_all = (
        _most(bound) for bound in (np.abs(compared.value[:, part]), least[0], alone[1], least[1])
    )
    return {
        "pooled_value": value,
        "pooled_high": high,
        "pooled_low_simultaneous": low,
        "pooled_high_simultaneous": high_all,
        "pooled_verdict": _verdicts(value, low, high, margin),
    }


def columns(compared: Comparisons | None, margin: npt.ArrayLike) -> dict[str, Array]:
    """Columns (Q, P) of the table DISPARITIES for its differences; none where none is pooled."""
    if compared is None:
        return {}
    return {
        "pooled_value": compared.value,
        "pooled_low": compared.low,
        "pooled_high": compared.high,
        "pooled_low_simultaneous": compared.low_all,
        "pooled_high_simultaneous": compared.high_all,
        "pooled_verdict": compared.verdicts(margin),
    }


def _most(values: Floats) -> Floats:
    """The largest of each row, (Q, 1); nan where there is none."""
    among = np.where(np.isnan(values), -np.inf, values).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(among), among, np.nan)


def _verdicts(value: Floats, least: Floats, most: Floats, margin: npt.ArrayLike) -> Words:
    return np.where(np.isnan(value), "", decide(GapSize(least, most, margin))).astype(object)

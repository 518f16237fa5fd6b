"""Changes of disparities: the same pictures, asked twice.

What both answers share carries no noise; only *gained* events (in the second answer alone) and
*lost* ones (in the first alone) do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audit.core.verdicts import size_bounds
from audit.stats.clustered import (
    Bounds,
    Floats,
    Integers,
    Sample,
    correlated,
    rate_interval,
)
from audit.stats.multiplicity import ENOUGH, Flags, bounds_at, joint_level

_AT_ONCE: Final = 512  # comparisons a block: bounds memory


@dataclass(frozen=True)
class Changes:
    """Changes of P gaps on Q questions, arrays (Q, P); nan where not usable.

    ``low, high`` hold for one change, ``low_all, high_all`` for all usable ones at once, each of
    them at the level ``each``. ``size``: usable changes.
    """

    value: Floats
    low: Floats
    high: Floats
    low_all: Floats
    high_all: Floats
    each: float
    size: int


def changes_of_gaps(
    gained: Sample, lost: Sample, one: Integers, other: Integers, usable: Flags, level: float = 0.95
) -> Changes:
    """How much the gap between two groups differs between two askings of the same pictures.

    Formula: ``D = (g1 - l1) - (g2 - l2)`` with g the share gained and l the share lost in each of
    two groups, which is the gap of the second asking less that of the first. Each of the four
    shares has its own interval (``rate_interval``: exact where few pictures changed, at the
    effective number where subjects repeat); the distances a of the shares to the bounds that
    matter are joined to ``D - sqrt(sum of r_ij a_i a_j)``, and likewise upwards. r are the signed
    correlations of the shares in the cluster bootstrap, 0 between groups without a common subject;
    one that would narrow the interval is believed only from 20 effective changes on. Simultaneous
    bounds are at ``joint_level`` of the replicates' largest studentised D (max-T); pairs with fewer
    than 10 effective changes in either group keep their Bonferroni share.
    Range: from -2 to 2, above 0 where ``one`` has gained more than ``other``; contains D. Where
    nothing changed D is 0, and the bounds say how much could have changed unseen. Measured coverage
    at 95 %: at least 93 % (tests/explore/test_compare.py). Does not show: whether either gap is
    large, nor that a gap which did not change is the same for the same pictures.

    Args:
        gained: of Q questions in G groups, whether it happened in the second asking only.
        lost: the same, in the first only; of the same pictures and bootstrap.
        one: Index of the first group of each of P pairs.
        other: Index of the second.
        usable: Which pairs count, (Q, P).
        level: Two-sided level of each interval, and of all simultaneous bounds together.

    Source:
        Zou, Donner (2008), Statistics in Medicine 27, 1693-1702 (bounds from bounds); Tang, Tang,
        Rosner (2006), 25, 2948-2964 (paired shares); Westfall, Young (1993), Resampling-Based
        Multiple Testing.
    """
    d = _net(gained.rate, lost.rate, one, other)
    weight = _signed_correlations(gained, lost, one, other)
    moved = gained.effective_events + lost.effective_events
    each, levels = each_level(_apart(gained, lost), moved, one, other, usable, level)
    low, high = _joined(gained, lost, one, other, weight, level)
    low_all, high_all = bounds_at(
        levels, usable, lambda at: _joined(gained, lost, one, other, weight, at)
    )
    return Changes(d, low, high, low_all, high_all, each, int(usable.sum()))


def worst_case_change(a: Bounds, b: Bounds, change: Bounds) -> Bounds:
    """Bounds for how much the largest gap between any two groups differs, from those of all gaps.

    Formula: the largest gap in b is at most ``|b_j|`` for a pair j that can be the widest in b, the
    one in a at least ``|a_j|`` and at least the largest lower bound of all; so the change is at
    most the largest, over such j, of ``|b_j| - |a_j|``, which ``change`` bounds. Downwards with a
    and b swapped.
    Range: differences of shares. Holds wherever all three hold; wide where many pairs could be the
    widest. Does not show: which pair it is.

    Args:
        a: Simultaneous bounds of the gaps in the first asking, (Q, P); nan where not usable.
        b: In the second.
        change: Of b - a.

    Returns:
        Low and high bounds, (Q, 1); nan where no pair is usable.
    """
    most = size_bounds(*change)[1]
    (least_a, most_a), (least_b, most_b) = size_bounds(*a), size_bounds(*b)
    surely_a, surely_b = _over(least_a, np.fmax), _over(least_b, np.fmax)
    low, high = np.maximum(-most, surely_b - most_a), np.minimum(most, most_b - surely_a)
    # where both gaps are known to point the same way, their sizes differ as they themselves do
    up, down = (a[0] > 0) & (b[0] > 0), (a[1] < 0) & (b[1] < 0)
    low = np.maximum(low, np.select([up, down], [change[0], -change[1]], -np.inf))
    high = np.minimum(high, np.select([up, down], [change[1], -change[0]], np.inf))
    widest_a, widest_b = most_a >= surely_a, most_b >= surely_b
    return (
        _over(np.where(widest_a, low, np.nan), np.fmin),
        _over(np.where(widest_b, high, np.nan), np.fmax),
    )


def _over(values: Floats, pick: np.ufunc) -> Floats:
    """The smallest or largest number of each row, (Q, 1); nan where there is none."""
    return np.asarray(pick.reduce(values, axis=1, keepdims=True))


def _net(gained: Floats, lost: Floats, one: Integers, other: Integers) -> Floats:
    return np.asarray((gained - lost)[:, one] - (gained - lost)[:, other])


def _apart(gained: Sample, lost: Sample) -> NDArray[np.float32]:
    """Deviations of each group's change of rate, (Q, G, B)."""
    assert gained.deviations is not None
    assert lost.deviations is not None
    return gained.deviations - lost.deviations


def each_level(
    deviations: NDArray[np.float32],
    events: Floats,
    one: Integers,
    other: Integers,
    usable: Flags,
    level: float,
) -> tuple[float, Floats]:
    """The level of max-T, and that of each bound, (Q, P), so that all hold together.

    Comparisons that max-T leaves out, for too few events or for none that move, are at Bonferroni's
    level; see ``joint_level``.
    """
    enough = usable & (events[:, one] >= ENOUGH) & (events[:, other] >= ENOUGH)
    question, pair = np.nonzero(enough)
    largest, studentised = np.zeros(deviations.shape[-1]), np.zeros(usable.shape, dtype=bool)
    for start in range(0, question.size, _AT_ONCE):
        q, p = question[start : start + _AT_ONCE], pair[start : start + _AT_ONCE]
        apart = np.abs(deviations[q, one[p]] - deviations[q, other[p]])
        size = np.sqrt(np.einsum("pb,pb->p", apart, apart) / apart.shape[1])
        spread = size > 0
        studentised[q, p] = spread
        deviation = apart[spread] / size[spread, np.newaxis]
        largest = np.maximum(largest, deviation.max(axis=0, initial=0.0))
    family = int(usable.sum())
    each = joint_level(largest, level, int(studentised.sum()), family)
    return each, np.where(studentised, each, 1 - (1 - level) / max(family, 1))


def _joined(
    gained: Sample, lost: Sample, one: Integers, other: Integers, weight: Floats, level: float
) -> Bounds:
    """Both bounds from the four shares' bounds."""
    ends = [(s.rate, *rate_interval(s, level)) for s in (gained, lost)]
    down, up = [p - low for p, low, _ in ends], [high - p for p, _, high in ends]
    d = _net(gained.rate, lost.rate, one, other)
    # the end of gained by one, lost by one, gained by other, lost by other that lowers or raises d
    lowers = np.stack([down[0][:, one], up[1][:, one], up[0][:, other], down[1][:, other]])
    raises = np.stack([up[0][:, one], down[1][:, one], down[0][:, other], up[1][:, other]])
    reach = [
        np.sqrt(np.maximum(np.einsum("iqp,ijqp,jqp->qp", side, weight, side), 0.0))
        for side in (lowers, raises)
    ]
    return np.asarray(d - reach[0]), np.asarray(d + reach[1])


_SIGNS: Final = np.array([1.0, -1.0, -1.0, 1.0])


def _signed_correlations(gained: Sample, lost: Sample, one: Integers, other: Integers) -> Floats:
    """Correlations of gained, lost of one and gained, lost of other in D, (4, 4, Q, P)."""
    assert gained.deviations is not None
    assert lost.deviations is not None
    within = correlated(gained.deviations, lost.deviations)
    r = np.zeros((4, 4, *within[:, one].shape))
    r[np.arange(4), np.arange(4)] = 1.0
    for i, side in ((0, one), (2, other)):
        r[i, i + 1] = r[i + 1, i] = within[:, side]
    for p in np.flatnonzero(gained.shared[one, other]):
        for i, of_one in enumerate((gained.deviations[:, one[p]], lost.deviations[:, one[p]])):
            for j, of_other in enumerate((gained.deviations, lost.deviations), start=2):
                r[i, j, :, p] = r[j, i, :, p] = correlated(of_one, of_other[:, other[p]])
    signed = r * np.multiply.outer(_SIGNS, _SIGNS)[:, :, np.newaxis, np.newaxis]
    few = np.stack([s.effective_events[:, g] < 20 for g in (one, other) for s in (gained, lost)])
    unsure = few[:, np.newaxis] | few[np.newaxis]
    return np.asarray(np.where(unsure, np.maximum(signed, 0.0), signed), dtype=np.float64)

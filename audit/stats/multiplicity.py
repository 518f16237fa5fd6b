"""Many comparisons at once, a family of them: simultaneous bounds, adjusted p-values.

The bounds of a family hold all together at its level. Resampling whole subjects shows how many
independent questions the family is worth: the largest studentised deviation of a replicate
(max-T) has a quantile c, and bounds at the two-sided level of c each hold together. Each bound is
then the one that is right for its own groups (exact where events are few), at that level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Flags, Floats, Integers
from audit.stats.clustered import Bounds, Sample, difference_interval, difference_z, ratio_interval
from audit.stats.significance import difference_p, holm

Interval = Callable[[Sample, Integers, Integers, npt.ArrayLike], Bounds]

ENOUGH = 10.0
"""Effective events, and non-events, that both groups need for a comparison to enter max-T: the
bootstrap's tails of fewer are those of a handful of Poisson weights."""

_AT_ONCE = 512  # comparisons a block: bounds memory at 2,000 replicates to a few MB


@dataclass(frozen=True)
class Estimates:
    """Values with bounds, arrays (Q, P).

    ``low, high`` hold for one comparison, ``low_all, high_all`` for all usable ones at once.
    """

    value: Floats
    low: Floats
    high: Floats
    low_all: Floats
    high_all: Floats


@dataclass(frozen=True)
class Family:
    """P comparisons of Q questions, all arrays (Q, P); nan where not usable.

    ``p`` for equality, ``q`` adjusted for the family. ``error``: the standard error of each
    difference. ``studentised``: which entered max-T. ``each``: the level of each simultaneous
    bound of these; ``levels``: of every comparison. ``size``: usable comparisons. ``smallest_q``:
    the smallest q that the method can give, nan where p-values are exact.
    """

    difference: Estimates
    ratio: Estimates
    p: Floats
    q: Floats
    error: Floats
    studentised: Flags
    each: float
    levels: Floats
    size: int
    smallest_q: float


@dataclass(frozen=True)
class Families:
    """As ``Family``, of F families of questions: ``each``, ``size``, ``smallest_q`` are (F, 1)."""

    difference: Estimates
    ratio: Estimates
    p: Floats
    q: Floats
    error: Floats
    studentised: Flags
    each: Floats
    levels: Floats
    size: Integers
    smallest_q: Floats


def compare(
    sample: Sample, one: Integers, other: Integers, usable: Flags, level: float = 0.95
) -> Family:
    """Compare pairs of groups on every question, as one family.

    Formula: differences and ratios of rates with the intervals of ``audit.stats.clustered``, once
    at ``level`` and once at ``joint_level``. Where no subject repeats, p is exact or by score
    (``difference_p``) and q is Holm's. Where subjects repeat, the statistic is ``difference_z``, p
    and q are those of the step-down max-T bootstrap, and for comparisons with too few events to be
    studentised p is ``2 Phi(-z)`` and q Bonferroni's.
    Range: see there. Does not show: anything about comparisons outside the family.

    Args:
        sample: Q questions in G groups.
        one: Index of the first group of each of P comparisons.
        other: Index of the second.
        usable: Which comparisons count, (Q, P).
        level: Two-sided level of each interval, and of all simultaneous bounds together.

    Source:
        Westfall, Young (1993), Resampling-Based Multiple Testing; Romano, Wolf (2005), JASA 100,
        94-108.
    """
    one_family = np.zeros(len(usable), dtype=np.int64)
    found = in_families(sample, (one, other), usable, one_family, [level], level)
    (each,), (size,), (smallest,) = (x[:, 0] for x in (found.each, found.size, found.smallest_q))
    return Family(
        found.difference,
        found.ratio,
        found.p,
        found.q,
        found.error,
        found.studentised,
        float(each),
        found.levels,
        int(size),
        float(smallest),
    )


def in_families(
    sample: Sample,
    pairs: tuple[Integers, Integers],
    usable: Flags,
    of: Integers,
    joint: Sequence[float],
    level: float,
) -> Families:
    """As ``compare``, of several families of questions at once.

    Args:
        sample: Q questions in G groups.
        pairs: Indices of the first and of the second group of each of P comparisons.
        usable: Which comparisons count, (Q, P).
        of: The family of each question, (Q,), from 0.
        joint: Two-sided level of all simultaneous bounds of each family together.
        level: Two-sided level of each interval alone.
    """
    one, other = pairs
    error, moves = _errors(sample, one, other)
    events = sample.effective_events
    enough = (events[:, one] >= ENOUGH) & (events[:, other] >= ENOUGH)
    studentised = usable & enough & (error > 0) & moves
    alone = usable & ~studentised
    rate = sample.rate
    difference = rate[:, one] - rate[:, other]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, t = rate[:, one] / rate[:, other], np.abs(difference) / error
    ratio = np.where((rate[:, one] > 0) & (rate[:, other] > 0), ratio, np.nan)
    size = np.bincount(of, usable.sum(axis=1), len(joint)).astype(np.int64)[:, np.newaxis]
    repeats = np.full(size.shape, sample.shared[one, other].any())
    np.logical_or.at(repeats[:, 0], of, sample.repeated(one, other))
    if repeats.any():
        t = np.where(repeats[of], difference_z(sample, one, other), t)
    each, p, q = np.empty(size.shape), np.full(t.shape, np.nan), np.full(t.shape, np.nan)
    for f, own in enumerate(joint):
        tested = studentised & (of == f)[:, np.newaxis]
        each[f], p[tested], q[tested] = _max_t(sample, pairs, t, tested, int(size[f, 0]), own)
    # what has too few events for max-T keeps its Bonferroni share of alpha
    bonferroni = 1 - (1 - np.reshape(joint, (-1, 1))) / np.maximum(size, 1)
    p = np.where(alone, 2 * special.ndtr(-t), p)
    q = np.where(alone, np.minimum(p * size[of], 1.0), q)
    if not repeats.all():
        exact = _exact_p(sample, pairs, usable)
        p = np.where(repeats[of], p, exact)
        for f in np.flatnonzero(~repeats).tolist():
            q[of == f] = holm(exact[of == f])

    def estimates(value: Floats, interval: Interval) -> Estimates:
        low_all, high_all = np.full(t.shape, np.nan), np.full(t.shape, np.nan)
        for here, levels in ((studentised, each), (alone, bonferroni)):
            if here.any():
                low, high = interval(sample, one, other, levels[of])
                low_all[here], high_all[here] = low[here], high[here]
        return Estimates(value, *interval(sample, one, other, level), low_all, high_all)

    return Families(
        estimates(difference, difference_interval),
        estimates(ratio, ratio_interval),
        p,
        q,
        error,
        studentised,
        each,
        np.where(studentised, each[of], bonferroni[of]),
        size,
        np.where(repeats, 1 / (_replicates(sample) + 1), np.nan),
    )


def _exact_p(sample: Sample, pairs: tuple[Integers, Integers], usable: Flags) -> Floats:
    """``difference_p`` of the usable comparisons."""
    sides = (counts[:, g] for g in pairs for counts in (sample.events, sample.n))
    return np.where(usable, difference_p(*sides), np.nan)


def bounds_at(
    levels: Floats, usable: Flags, interval: Callable[[float], tuple[Floats, Floats]]
) -> tuple[Floats, Floats]:
    """Bounds of each comparison at its own level, nan where not usable.

    Args:
        levels: (Q, P); two at most: that of max-T, and Bonferroni's.
        usable: (Q, P).
        interval: gives the bounds of all comparisons at one level.
    """
    low, high = np.full(levels.shape, np.nan), np.full(levels.shape, np.nan)
    for at in np.unique(levels[usable]):
        here = usable & (levels == at)
        bounds = interval(float(at))
        low[here], high[here] = bounds[0][here], bounds[1][here]
    return low, high


def joint_level(largest: Floats, level: float, studentised: int, size: int) -> float:
    """The level of each bound so that all bounds of a family hold together.

    Formula: with c the ``1 - alpha studentised / size`` quantile of the replicates' largest
    studentised deviations (by the add-one rule), ``2 Phi(c) - 1``, but never more than Bonferroni's
    ``1 - alpha / size``, which holds under any dependence. Comparisons with too few events to be
    studentised keep their Bonferroni share of alpha.
    Range: from ``level`` to Bonferroni's. Does not show: a joint region.

    Args:
        largest: The largest studentised deviation of each replicate, (B,).
        level: Level for all together.
        studentised: Comparisons among which ``largest`` was taken.
        size: Comparisons of the family.

    Source:
        Westfall, Young (1993); Cherian, Candès (2024), JMLR 25(149), for audits.
    """
    alpha = 1 - level
    bonferroni = alpha / max(size, 1)
    if not (studentised and largest.size):
        return 1 - bonferroni
    share = alpha * studentised / size
    rank = int(np.ceil((1 - share) * (largest.size + 1)))
    if rank > largest.size:
        return 1 - bonferroni
    c = np.partition(largest, rank - 1)[rank - 1]
    return float(1 - min(alpha, max(bonferroni, 2 * special.ndtr(-c))))


def _errors(sample: Sample, one: Integers, other: Integers) -> tuple[Floats, Flags]:
    """Standard errors, and whether any replicate moved the difference at all."""
    spread = sample.spread
    squared = spread[:, one] + spread[:, other]
    if sample.deviations is None:
        return np.sqrt(squared), np.zeros(squared.shape, dtype=bool)
    moved = np.abs(sample.deviations).max(axis=-1, initial=0) > 0
    moves = moved[:, one] | moved[:, other]
    for j in np.flatnonzero(sample.shared[one, other]):
        apart = sample.deviations[:, one[j]] - sample.deviations[:, other[j]]
        squared[:, j] = np.einsum("qb,qb->q", apart, apart, dtype=np.float64) / apart.shape[1]
        moves[:, j] = squared[:, j] > 0
    return np.sqrt(squared), moves


def _max_t(
    sample: Sample,
    pairs: tuple[Integers, Integers],
    t: Floats,
    studentised: Flags,
    size: int,
    level: float,
) -> tuple[float, Floats, Floats]:
    """The level of each bound, and p and step-down q of the studentised comparisons, in order."""
    one, other = pairs
    question, pair = np.nonzero(studentised)
    order = np.argsort(t[question, pair], kind="stable")
    p, q = np.empty(order.size), np.empty(order.size)
    question, pair = question[order], pair[order]
    seen = t[question, pair]
    replicates = _replicates(sample)
    alone, stepped = np.empty(seen.size), np.empty(seen.size)
    largest = np.zeros(replicates)
    # from the smallest statistic up, so that the running maximum is that over all not larger ones
    for block, deviation in _deviations(sample, question, one[pair], other[pair]):
        alone[block] = (deviation >= seen[block, np.newaxis]).sum(axis=1)
        deviation[0] = np.maximum(deviation[0], largest)
        running = np.maximum.accumulate(deviation, axis=0)
        stepped[block] = (running >= seen[block, np.newaxis]).sum(axis=1)
        largest = running[-1]
    p[order] = (1 + alone) / (replicates + 1)
    # step down: no comparison is surer than one with a larger statistic
    adjusted = np.maximum.accumulate(((1 + stepped) / (replicates + 1))[::-1])[::-1]
    q[order] = adjusted
    return joint_level(largest, level, seen.size, size), p, q


def _deviations(
    sample: Sample, question: Integers, one: Integers, other: Integers
) -> Iterator[tuple[slice, Floats]]:
    """|deviation of the difference| over its root mean square, (comparisons, B), in blocks."""
    assert sample.deviations is not None or not question.size
    for start in range(0, question.size, _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        apart = np.abs(
            sample.deviations[question[block], one[block]]  # type: ignore[index]
            - sample.deviations[question[block], other[block]]  # type: ignore[index]
        )
        size = np.sqrt(np.einsum("pb,pb->p", apart, apart, dtype=np.float64) / apart.shape[1])
        yield block, np.asarray(apart / size[:, np.newaxis].astype(np.float32), dtype=np.float32)


def _replicates(sample: Sample) -> int:
    return 0 if sample.deviations is None else int(sample.deviations.shape[-1])

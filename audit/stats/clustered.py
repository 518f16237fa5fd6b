"""Rates of groups whose pictures may repeat subjects, and differences and ratios of such rates.

One rule covers both cases. How unlike subjects are says how far a rate spreads; that spread is read
as an effective number of pictures, and the interval is the one for so many independent pictures:
Wilson's where events are many, Clopper and Pearson's exact one where they are few. Where every
picture shows another subject the effective number is the number of pictures, and the intervals are
the textbook ones. Copying every picture of every subject changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Flags, Floats, Integers
from audit.stats.defaults import MANY, MANY_OF_PAIR, OF_FEW, OF_MANY, in_quantiles

Bounds = tuple[Floats, Floats]


@dataclass(frozen=True)
class Sample:
    """What is known of Q questions in G groups.

    ``n``, ``events``, ``subjects``: int (Q, G). With n_c the pictures of a subject, ``copies``:
    ``n² / sum n_c²``, what the group is worth if all pictures of a subject were copies of each
    other; ``blocks``: ``(sum n_c²)² / sum n_c⁴``, how many subjects that worth rests on, few if few
    subjects have most pictures. ``deviations``: float32 (Q, G, B), of each replicate's count of
    events from what the group's rate expects of its pictures, over n: ``(x* - p n*) / n``; None
    without a bootstrap. ``shared``: (G, G), whether some subject is in both groups.

    The rest is None where events of single subjects are not known. With x_c the events of a subject
    and r_c = x_c - p n_c: ``observed``, the variance ``sum r_c² / n²``; ``alike``, the variance if
    the pictures of all subjects are equally alike, and ``freedom``, the degrees of freedom that
    ``observed`` then has (``audit.stats.alike.equally_alike``); ``rarer``, how many subjects have
    an event or, if fewer, how many have a picture without.
    """

    n: Integers
    events: Integers
    subjects: Integers
    copies: Floats
    blocks: Floats
    deviations: npt.NDArray[np.float32] | None
    shared: Flags
    observed: Floats | None = None
    alike: Floats | None = None
    freedom: Floats | None = None
    rarer: Integers | None = None

    # every interval asks for these, and they are worked out once

    @cached_property
    def rate(self) -> Floats:
        """Events over pictures; nan for an empty group."""
        return np.asarray(self.events / np.where(self.n > 0, self.n, np.nan))

    def counted(self, question: int, groups: npt.ArrayLike) -> dict[str, int]:
        """Pictures, subjects and events of a group, or of groups added up, on one question."""
        at = np.atleast_1d(groups)
        counts = {"n": self.n, "subjects": self.subjects, "events": self.events}
        return {name: int(count[question, at].sum()) for name, count in counts.items()}

    @cached_property
    def spread(self) -> Floats:
        """``variance`` of this sample."""
        return variance(self)

    @cached_property
    def if_copies(self) -> Floats:
        """The variance of each rate if the pictures of a subject were copies of each other."""
        p = self.rate
        return np.asarray(p * (1 - p) / np.where(self.copies > 0, self.copies, np.nan))

    @cached_property
    def effective_events(self) -> Floats:
        """``effective_events`` of this sample."""
        return effective_events(self)

    @cached_property
    def by_level(self) -> dict[tuple[tuple[int, ...], bytes], tuple[Bounds, Bounds, Floats]]:
        """The bounds of the rates by level: differences and ratios of the same pairs share them."""
        return {}

    @cached_property
    def correlations(self) -> dict[tuple[bytes, bytes], Floats]:
        """``correlation`` by the pairs of groups that it was asked of."""
        return {}

    def repeats(self, one: Integers, other: Integers) -> bool:
        """Whether a subject has several pictures in a group compared, or is on both sides."""
        return bool(self.repeated(one, other).any() or self.shared[one, other].any())

    def repeated(self, one: Integers, other: Integers) -> Flags:
        """The same of each question, (Q,)."""
        several = self.subjects < self.n
        alone = several[:, one].any(axis=1) | several[:, other].any(axis=1)
        return np.asarray(alone | self.shared[one, other].any())


def variance(sample: Sample) -> Floats:
    """Variance of each rate over the choice of subjects.

    Formula: ``sum over subjects of (x_c - p n_c)² / n²``, the linearised variance of a ratio. Where
    events of single subjects are not known it is read off the bootstrap, as the mean square of the
    deviations; within resampling error of full dependence (``5 sqrt((2 + 1 / events) / B)``), and
    without a bootstrap, it is then that of copies, ``p (1 - p) / copies``. Where every picture
    shows another subject it is ``p (1 - p) / n`` exactly. At least one subject's worth of it:
    subjects who happen to be all alike do not prove that the next one is.
    Range: from 0; nan for an empty group. Does not show: its own error; see ``effective_n``.

    Args:
        sample: Q questions in G groups.

    Returns:
        Variances, (Q, G).

    Source:
        Cochran (1977), Sampling Techniques, 2.11 and 9A; Davison, Hinkley (1997), 3.8.
    """
    p = sample.rate
    most = sample.if_copies
    if sample.observed is not None:
        seen = sample.observed
    elif sample.deviations is not None:
        seen = _resampled(sample, most)
    else:
        return most
    seen = np.where(sample.subjects == sample.n, most, seen)
    return np.where(np.isnan(p), np.nan, np.maximum(seen, _least(sample)))


def _resampled(sample: Sample, most: Floats) -> Floats:
    """The variance read off the bootstrap; that of copies where it cannot be told from it."""
    assert sample.deviations is not None
    p, replicates = sample.rate, sample.deviations.shape[-1]
    # einsum squares and sums in one pass, in single precision a block at a time
    seen = np.einsum("qgb,qgb->qg", sample.deviations, sample.deviations, dtype=np.float64)
    seen /= replicates
    # the error of a variance read off replicates: the fewer the events, the longer its tail
    events = np.maximum(np.minimum(p, 1 - p) * sample.blocks, 0.5)
    like_copies = np.abs(seen - most) <= 5 * np.sqrt((2 + 1 / events) / replicates) * most
    return np.asarray(np.where(like_copies, most, seen))


def effective_n(sample: Sample, level: npt.ArrayLike = 0.95) -> Floats:
    """How many independent pictures a group is worth for an interval at ``level``.

    Formula: ``p (1 - p) / V'``. With V the variance seen, C that of copies and k the subjects who
    have the rarer outcome, ``V' = (k V t + C) / (k + 1)``: one more such subject might be all
    copies. t is ``(t / z)² m / (m - 1)`` for m subjects, Student's quantile with m - 1 degrees of
    freedom over the normal one. Where few subjects have most pictures, V rests on those few: of
    its m - 1 degrees of freedom it has f. V is then at least ``w V + (1 - w) V_icc``, with
    ``w = f / (m - 1)`` and V_icc the variance if all subjects are equally alike.
    V' is at most C, unless V is: subjects with many pictures may differ from those with few. Where
    events of single subjects are not known, k is ``effective_events``. With no event or nothing
    else: ``copies``.
    Range: from 1 up; nan for an empty group. It depends on the level, since Student's tails do.
    Does not show: dependence between subjects; a few subjects who are all copies among many who are
    not, before one of them has an event.

    Args:
        sample: Q questions in G groups.
        level: Two-sided level; broadcasts against (Q, G).

    Returns:
        Effective numbers, (Q, G).

    Source:
        Korn, Graubard (1998), Survey Methodology 24, 193-201, for effective sizes with exact
        intervals and Student's correction; the shares of copies and of V_icc are ours, chosen by
        simulation (docs/calibration.md).
    """
    p, alpha = sample.rate, 1 - np.asarray(level, dtype=np.float64)
    seen, most, m = sample.spread, sample.if_copies, sample.subjects
    with np.errstate(divide="ignore", invalid="ignore"):
        rests_on, subjects = seen, sample.effective_events
        if sample.alike is not None and sample.freedom is not None and sample.rarer is not None:
            backed = np.fmin(sample.freedom / (m - 1), 1.0)
            rests_on = np.fmax(seen, backed * seen + (1 - backed) * sample.alike)
            subjects = sample.rarer.astype(np.float64)
        wider = special.stdtrit(np.maximum(m - 1, 0.3), alpha / 2) / special.ndtri(alpha / 2)
        rests_on = rests_on * wider**2 * m / (m - 1)
        used = np.fmin(most, (subjects * rests_on + most) / (subjects + 1))
        worth = p * (1 - p) / np.where(seen >= most, seen, used)
    return np.where(np.isnan(p), np.nan, np.where(seen > 0, worth, sample.copies))


def effective_events(sample: Sample) -> Floats:
    """On how many events, or non-events if fewer, the variance of each rate rests.

    Formula: ``min(p, 1 - p)`` times the smaller of ``p (1 - p) / V``, the independent pictures that
    were seen, and ``b / (1 - b / m)`` with b the blocks among m subjects: unlimited where
    all have equally many pictures, few where few have most of them. If one subject in ten has 12
    pictures and the others one, V is small until such a subject has an event, and proves nothing
    before.
    Range: from 0; nan for an empty group.

    Args:
        sample: Q questions in G groups.
    """
    p = sample.rate
    spread = sample.spread
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.where(spread > 0, p * (1 - p) / spread, 0.0)
        unlike = np.maximum(1 - sample.blocks / sample.subjects, 0.0)
        rests_on = np.fmin(worth, sample.blocks / unlike)
    return np.where(np.isnan(p), np.nan, np.minimum(p, 1 - p) * rests_on)


def rate_interval(sample: Sample, level: npt.ArrayLike = 0.95) -> Bounds:
    """Interval for each rate: Wilson's or the exact one, at the effective number of pictures.

    Range: shares in [0, 1]; contains the rate. nan for an empty group and for a group of one
    subject, from whom nothing can be learnt about others. Measured coverage at 95 %: at least 93 %
    for 2 to 5,000 subjects of 1 to 12 pictures, any intra-cluster correlation, rates of 0.5 to 50 %
    (docs/calibration.md). Does not show: errors in the attribute or in the truth.

    Args:
        sample: Q questions in G groups.
        level: Two-sided level; broadcasts against (Q, G).

    Returns:
        Low and high bounds, (Q, G).

    Source:
        Wilson (1927); Clopper, Pearson (1934); Korn, Graubard (1998).
    """
    rough, exact, quantiles = _both(sample, level)
    few = quantiles < MANY
    return np.where(few, exact[0], rough[0]), np.where(few, exact[1], rough[1])


def is_few(sample: Sample, level: npt.ArrayLike = 0.95) -> npt.NDArray[np.bool_]:
    """Whether events or non-events are too few for Wilson's interval, (Q, G)."""
    size = effective_n(sample, level)
    return np.asarray(in_quantiles(sample.rate * size, size, level) < MANY)


def _both(sample: Sample, level: npt.ArrayLike) -> tuple[Bounds, Bounds, Floats]:
    """Wilson's and the exact bounds of each rate, and its events in squared normal quantiles."""
    levels = np.asarray(level, dtype=np.float64)
    key = levels.shape, levels.tobytes()
    if key not in sample.by_level:
        sample.by_level[key] = _both_anew(sample, levels)
    return sample.by_level[key]


def _both_anew(sample: Sample, level: npt.ArrayLike) -> tuple[Bounds, Bounds, Floats]:
    known = sample.copies > 1
    size = np.where(known, effective_n(sample, level), 0.0)
    events = np.where(known, sample.rate, 0.0) * size
    # an empty group has no bounds, and neither has a group of one subject
    rough, quantiles = OF_MANY(events, size, level), in_quantiles(events, size, level)
    # the exact ones take longest, and no rate needs them where all have many events
    exact = rough if (quantiles >= MANY_OF_PAIR).all() else OF_FEW(events, size, level)
    return rough, exact, quantiles


def _bounds_of_pairs(
    sample: Sample, one: Integers, other: Integers, level: npt.ArrayLike
) -> tuple[Bounds, Bounds]:
    """The bounds of both rates of each pair, by the same method for both, each (Q, P)."""
    rough, exact, quantiles = _both(sample, level)
    many = quantiles >= MANY_OF_PAIR
    many = many[..., one] & many[..., other]
    first, second = (
        tuple(np.where(many, r[..., g], e[..., g]) for r, e in zip(rough, exact, strict=True))
        for g in (one, other)
    )
    return (first[0], first[1]), (second[0], second[1])


def difference_interval(
    sample: Sample, one: Integers, other: Integers, level: npt.ArrayLike = 0.95
) -> Bounds:
    """Interval for the difference of the rates of two groups, from the intervals of the rates.

    Formula: with bounds l and u of each rate and r the correlation of the two,
    ``d - sqrt(a² + b² - 2 r a b)`` with a = p1 - l1 and b = u2 - p2, and likewise upwards. The
    bounds are Wilson's where both rates have ``MANY_OF_PAIR``, else exact for both. For separate
    subjects r is 0, which is Newcombe's interval; where subjects are in both groups r is read off
    the bootstrap, and only a negative one is believed where events are few.
    Range: differences of shares in [-1, 1]; contains d; swapping the groups mirrors it.
    Does not show: a cause of the difference.

    Args:
        sample: Q questions in G groups.
        one: Index of the first group of each of P comparisons.
        other: Index of the second.
        level: Two-sided level of each interval: one, one a question (Q, 1), or several (L, 1, 1).

    Returns:
        Low and high bounds, (Q, P); nan where either rate has no interval. Of several levels,
        (L, Q, P).

    Source:
        Newcombe (1998), Statistics in Medicine 17, 873-890; Zou, Donner (2008), Statistics in
        Medicine 27, 1693-1702, for recovering variances from bounds.
    """
    p, q, r = sample.rate[:, one], sample.rate[:, other], correlation(sample, one, other)
    (p_low, p_high), (q_low, q_high) = _bounds_of_pairs(sample, one, other, level)
    lower = p - q - joined(p - p_low, q_high - q, r)
    upper = p - q + joined(p_high - p, q - q_low, r)
    return np.clip(lower, -1.0, 1.0), np.clip(upper, -1.0, 1.0)


def difference_z(sample: Sample, one: Integers, other: Integers) -> Floats:
    """How sure each difference is: the normal quantile whose interval just reaches 0.

    Formula: the z for which ``difference_interval`` at level ``2 Phi(z) - 1`` has 0 as an end,
    interpolated between the points of a grid. Unlike a difference over its standard error it
    allows for few events and few subjects, so that max-T over it errs as seldom as the bounds do,
    and a q-value below alpha goes with bounds that leave out 0.
    Range: 0 to 8; nan where either rate has no interval.

    Args:
        sample: Q questions in G groups.
        one: Index of the first group of each of P comparisons.
        other: Index of the second.
    """
    p, q, r = sample.rate[:, one], sample.rate[:, other], correlation(sample, one, other)
    d = p - q
    z, step, levels = on_grid(_GRID)
    (p_low, p_high), (q_low, q_high) = _bounds_of_pairs(sample, one, other, levels)
    nearer = np.where(d > 0, p - p_low, p_high - p)
    further = np.where(d > 0, q_high - q, q - q_low)
    left = np.abs(d) - joined(nearer, further, r)
    before = np.concatenate([np.abs(d)[np.newaxis], left[:-1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(before > 0, before / (before - left), 0.0)
    return first_crossing(z - step * (1 - share), left, _GRID[-1])


_GRID = np.concatenate([np.arange(0, 5, 0.25), np.arange(5, 8.5, 0.5)])


def on_grid(grid: Floats) -> tuple[Floats, Floats, Floats]:
    """Normal quantiles after the first, their steps and two-sided levels, each (L, 1, 1)."""
    z = grid[1:, np.newaxis, np.newaxis]
    return z, np.diff(grid)[:, np.newaxis, np.newaxis], 1 - 2 * special.ndtr(-z)


def first_crossing(at: Floats, left: Floats, last: float) -> Floats:
    """Where what is ``left`` at a grid of quantiles, (L, Q, P), is first used up, (Q, P).

    ``at``: where it is, if in this step; nan for nowhere. ``last``: where it never is, nan if it
    isn't known.
    """
    crossed = (left <= 0) & ~np.isnan(at)
    found = np.take_along_axis(at, crossed.argmax(axis=0)[np.newaxis], axis=0)[0]
    never = np.where(np.isnan(left[-1]), np.nan, last)
    return np.where(crossed.any(axis=0), found, never)


def ratio_interval(
    sample: Sample, one: Integers, other: Integers, level: npt.ArrayLike = 0.95
) -> Bounds:
    """Interval for the ratio of the rates of two groups, on the log scale.

    Formula: as for the difference, from the logarithms of both rates and of their bounds. Where
    events are many it comes to Katz's interval, whose single bounds err more often: one-sided at
    5 %, up to 7.2 % where groups have unlike sizes and 5 to 20 squared normal quantiles of events.
    Range: ratios from 0; nan where either group has no event. Does not show: the size in points.

    Args:
        sample: Q questions in G groups.
        one: Index of the first group of each of P comparisons.
        other: Index of the second.
        level: Two-sided level of each interval, as for the difference.

    Returns:
        Low and high bounds, (Q, P); of several levels (L, Q, P).

    Source:
        Zou, Donner (2008), Statistics in Medicine 27, 1693-1702; Katz, Baptista, Azen, Pike (1978),
        Biometrics 34, 469-474.
    """
    r = correlation(sample, one, other)
    bounds = _bounds_of_pairs(sample, one, other, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(np.where(sample.rate > 0, sample.rate, np.nan))
        p, q = log[:, one], log[:, other]
        (p_low, p_high), (q_low, q_high) = (tuple(np.log(end) for end in ends) for ends in bounds)
        lower = p - q - joined(p - p_low, q_high - q, r)
        upper = p - q + joined(p_high - p, q - q_low, r)
    # two groups in which every picture is an event have no spread, and no such certainty
    sure = (p == 0) & (q == 0)
    return np.where(sure, np.nan, np.exp(lower)), np.where(sure, np.nan, np.exp(upper))


def correlation(sample: Sample, one: Integers, other: Integers) -> Floats:
    """Correlation of two groups' rates: 0 unless subjects are in both; (Q, P).

    Where either group has fewer than 20 effective events a positive one is taken as 0, since it
    would narrow the interval on little evidence. Else it is ``r k / (k + 1)`` with k the fewer
    effective events: subjects who agree in both groups don't prove that the next one does, and an
    interval keeps some width where all do.
    """
    pairs = one.tobytes(), other.tobytes()
    if pairs not in sample.correlations:
        sample.correlations[pairs] = _correlation_anew(sample, one, other)
    return sample.correlations[pairs]


def _correlation_anew(sample: Sample, one: Integers, other: Integers) -> Floats:
    r = np.zeros((len(sample.n), len(one)))
    together = np.flatnonzero(sample.shared[one, other])
    if sample.deviations is None or not together.size:
        return r
    events = sample.effective_events
    for j in together:
        seen = correlated(sample.deviations[:, one[j]], sample.deviations[:, other[j]])
        fewer = np.fmin(events[:, one[j]], events[:, other[j]])
        believed = np.where(fewer < 20, 0.0, seen * fewer / (fewer + 1))
        r[:, j] = np.where(seen > 0, believed, seen)
    return np.clip(r, -1.0, 1.0)


def correlated(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> Floats:
    """Correlation of deviations over the replicates, the last axis; 0 where one never varies."""
    product, one, other = (
        np.einsum("...b,...b->...", a, b, dtype=np.float64) for a, b in ((x, y), (x, x), (y, y))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(product / np.sqrt(one * other)))


def joined(a: Floats, b: Floats, r: Floats) -> Floats:
    """The reach of a difference from those of its two parts: ``sqrt(a² + b² - 2 r a b)``."""
    return np.asarray(np.sqrt(np.maximum(a**2 + b**2 - 2 * r * a * b, 0.0)))


def _least(sample: Sample) -> Floats:
    """One subject's worth of the variance of copies."""
    return np.asarray(sample.if_copies / np.maximum(sample.subjects, 1))

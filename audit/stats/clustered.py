"""Rates of groups whose pictures may repeat subjects, and differences and ratios of such rates.

One rule covers both cases. The cluster bootstrap says how far a rate spreads; that spread is read
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

from audit.stats.intervals import clopper_pearson, wilson

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Bounds = tuple[Floats, Floats]

MANY = 5.0
"""Wilson's interval from ``MANY z²`` events and as many non-events on (19 at 95 %), else the exact
one. Measured over 5 to 5,000 pictures and rates of 0.5 to 50 %: at worst 93.6 % coverage at 95 %
(Wilson alone 83.8 %), and misses at most 2.5 times nominal at 99.99 % (Wilson alone 490 times)."""


@dataclass(frozen=True)
class Sample:
    """What is known of Q questions in G groups.

    ``n``, ``events``, ``subjects``: int (Q, G). With n_c the pictures of a subject, ``copies``:
    ``n² / sum n_c²``, what the group is worth if all pictures of a subject were copies of each
    other; ``blocks``: ``(sum n_c²)² / sum n_c⁴``, how many subjects that worth rests on, few if few
    subjects have most pictures. ``deviations``: float32 (Q, G, B), of each replicate's count of
    events from what the group's rate expects of its pictures, over n: ``(x* - p n*) / n``; None
    without a bootstrap. ``shared``: (G, G), whether some subject is in both groups.
    """

    n: Integers
    events: Integers
    subjects: Integers
    copies: Floats
    blocks: Floats
    deviations: npt.NDArray[np.float32] | None
    shared: Flags

    @property
    def rate(self) -> Floats:
        """Events over pictures; nan for an empty group."""
        return np.asarray(self.events / np.where(self.n > 0, self.n, np.nan))

    @cached_property
    def spread(self) -> Floats:
        """``variance`` of this sample: every interval asks for it, and it is worked out once."""
        return variance(self)

    def repeats(self, one: Integers, other: Integers) -> bool:
        """Whether a subject has several pictures in a group compared, or is on both sides."""
        compared = np.union1d(one, other)
        several = self.subjects[:, compared] < self.n[:, compared]
        return bool(several.any() or self.shared[one, other].any())


def variance(sample: Sample) -> Floats:
    """Variance of each rate over the choice of subjects.

    Formula: ``sum over subjects of (x_c - p n_c)² / n²``, the linearised variance of a ratio, read
    off the bootstrap as the mean square of the deviations, so that batches merge. Where every
    picture shows another subject it is ``p (1 - p) / n`` exactly. Within resampling error of full
    dependence (``5 sqrt((2 + 1 / events) / B)``), and without a bootstrap, it is that of copies,
    ``p (1 - p) / copies``. At least one subject's worth of it: subjects who happen to be all alike
    do not prove that the next one is.
    Range: from 0; nan for an empty group. Does not show: its own error; see ``effective_n``.

    Args:
        sample: Q questions in G groups.

    Returns:
        Variances, (Q, G).

    Source:
        Cochran (1977), Sampling Techniques, 2.11 and 9A; Davison, Hinkley (1997), 3.8.
    """
    p = sample.rate
    most = _if_copies(sample)
    if sample.deviations is None:
        return most
    replicates = sample.deviations.shape[-1]
    # einsum squares and sums in one pass, in single precision a block at a time
    seen = np.einsum("qgb,qgb->qg", sample.deviations, sample.deviations, dtype=np.float64)
    seen /= replicates
    # the error of a variance read off replicates: the fewer the events, the longer its tail
    events = np.maximum(np.minimum(p, 1 - p) * sample.blocks, 0.5)
    like_copies = np.abs(seen - most) <= 5 * np.sqrt((2 + 1 / events) / replicates) * most
    seen = np.where((sample.subjects == sample.n) | like_copies, most, seen)
    least = most / np.maximum(sample.subjects, 1)
    return np.where(np.isnan(p), np.nan, np.maximum(seen, least))


def effective_n(sample: Sample, level: npt.ArrayLike = 0.95) -> Floats:
    """How many independent pictures a group is worth for an interval at ``level``.

    Formula: ``p (1 - p) / V'`` with V the variance and
    ``V' = min(V of copies, V m / (m - 1) (t / z)²)``: m subjects, z the normal quantile of the
    level and t Student's at ``min(m - 1, effective_events)`` degrees of freedom, on which the
    precision of V itself rests. Few of them, and the pictures of a subject are taken for copies; a
    variance beyond that of copies (subjects with many pictures differ from those with few) is
    kept. With no event or nothing else: ``copies``.
    Range: from 1 up; nan for an empty group. It depends on the level, since Student's tails do.
    Does not show: dependence between subjects.

    Args:
        sample: Q questions in G groups.
        level: Two-sided level; broadcasts against (Q, G).

    Returns:
        Effective numbers, (Q, G).

    Source:
        Korn, Graubard (1998), Survey Methodology 24, 193-201, for effective sizes with exact
        intervals; the degrees of freedom are ours, chosen by simulation (docs/calibration.md).
    """
    p, alpha = sample.rate, 1 - np.asarray(level, dtype=np.float64)
    spread = sample.spread
    most, m = _if_copies(sample), sample.subjects
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = p * (1 - p) / spread
        freedom = np.minimum(m - 1, effective_events(sample))
        ratio = special.stdtrit(np.maximum(freedom, 0.3), alpha / 2) / special.ndtri(alpha / 2)
        wider = np.where(freedom < 0.3, np.inf, spread * ratio**2 * m / (m - 1))
        used = np.where(spread >= most, spread, np.minimum(most, wider))
        worth = p * (1 - p) / used
    return np.where(np.isnan(p), np.nan, np.where(spread > 0, worth, sample.copies))


def effective_events(sample: Sample) -> Floats:
    """On how many events, or non-events if fewer, the variance of each rate rests.

    Formula: ``min(p, 1 - p)`` times the smaller of ``p (1 - p) / V``, the independent pictures that
    the bootstrap saw, and ``b / (1 - b / m)`` with b the blocks among m subjects: unlimited where
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
    known = sample.copies > 1
    size = np.where(known, effective_n(sample, level), 0.0)
    events = np.where(known, sample.rate, 0.0) * size
    few = _few(events, size, level)
    rough, exact = wilson(events, size, level), clopper_pearson(events, size, level)
    low, high = (np.where(few, e, r) for e, r in zip(exact, rough, strict=True))
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def is_few(sample: Sample, level: npt.ArrayLike = 0.95) -> npt.NDArray[np.bool_]:
    """Whether events or non-events are too few for Wilson's interval, (Q, G)."""
    size = effective_n(sample, level)
    return _few(sample.rate * size, size, level)


def _few(events: Floats, size: Floats, level: npt.ArrayLike) -> Flags:
    critical = special.ndtri((1 - np.asarray(level, dtype=np.float64)) / 2) ** 2
    return np.asarray(np.minimum(events, size - events) < MANY * critical)


def difference_interval(
    sample: Sample, one: Integers, other: Integers, level: npt.ArrayLike = 0.95
) -> Bounds:
    """Interval for the difference of the rates of two groups, from the intervals of the rates.

    Formula: with bounds l and u of each rate and r the correlation of the two,
    ``d - sqrt(a² + b² - 2 r a b)`` with a = p1 - l1 and b = u2 - p2, and likewise upwards. For
    separate subjects r is 0, which is Newcombe's interval; where subjects are in both groups r is
    read off the bootstrap, and only a negative one is believed where events are few.
    Range: differences of shares in [-1, 1]; contains d; swapping the groups mirrors it.
    Does not show: a cause of the difference.

    Args:
        sample: Q questions in G groups.
        one: Index of the first group of each of P comparisons.
        other: Index of the second.
        level: Two-sided level of each interval.

    Returns:
        Low and high bounds, (Q, P); nan where either rate has no interval.

    Source:
        Newcombe (1998), Statistics in Medicine 17, 873-890; Zou, Donner (2008), Statistics in
        Medicine 27, 1693-1702, for recovering variances from bounds.
    """
    p = sample.rate
    low, high = rate_interval(sample, level)
    down, up, r = p - low, high - p, correlation(sample, one, other)
    d = p[:, one] - p[:, other]
    lower = d - joined(down[:, one], up[:, other], r)
    upper = d + joined(up[:, one], down[:, other], r)
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
    p = sample.rate
    r, d = correlation(sample, one, other), p[:, one] - p[:, other]
    found, before = np.full(d.shape, np.nan), np.abs(d)
    for z, step in zip(_GRID[1:], np.diff(_GRID), strict=True):
        low, high = rate_interval(sample, 1 - 2 * special.ndtr(-z))
        down, up = p - low, high - p
        nearer = np.where(d > 0, down[:, one], up[:, one])
        further = np.where(d > 0, up[:, other], down[:, other])
        left = np.abs(d) - joined(nearer, further, r)
        crossed = np.isnan(found) & (left <= 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(before > 0, before / (before - left), 0.0)
        found = np.where(crossed, z - step * (1 - share), found)
        before = left
    return np.where(np.isnan(found) & ~np.isnan(before), _GRID[-1], found)


_GRID = np.concatenate([np.arange(0, 5, 0.25), np.arange(5, 8.5, 0.5)])


def ratio_interval(
    sample: Sample, one: Integers, other: Integers, level: npt.ArrayLike = 0.95
) -> Bounds:
    """Interval for the ratio of the rates of two groups, on the log scale.

    Formula: where events are many, ``exp(log(p1/p2) ± z sqrt(V1/p1² + V2/p2² - 2 r ...))`` with the
    variances of the effective numbers of pictures (Katz's interval for independent pictures);
    where they are few, as for the difference, from the logarithms of the rates' exact bounds.
    Range: ratios from 0; nan where either group has no event. Does not show: the size in points.

    Args:
        sample: Q questions in G groups.
        one: Index of the first group of each of P comparisons.
        other: Index of the second.
        level: Two-sided level of each interval.

    Returns:
        Low and high bounds, (Q, P).

    Source:
        Katz, Baptista, Azen, Pike (1978), Biometrics 34, 469-474; Zou, Donner (2008).
    """
    p = sample.rate
    r = correlation(sample, one, other)
    z = -special.ndtri((1 - np.asarray(level, dtype=np.float64)) / 2)
    events = effective_events(sample)
    size = effective_n(sample, level)
    low, high = rate_interval(sample, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(np.where(p > 0, p, np.nan))
        reach = z * np.sqrt((1 - p) / (p * size))
        many = events >= MANY * z**2
        down = np.where(many, reach, log - np.log(low))
        up = np.where(many, reach, np.log(high) - log)
        d = log[:, one] - log[:, other]
        lower = d - joined(down[:, one], up[:, other], r)
        upper = d + joined(up[:, one], down[:, other], r)
    # two groups in which every picture is an event have no spread, and no such certainty
    sure = (p[:, one] == 1) & (p[:, other] == 1)
    return np.where(sure, np.nan, np.exp(lower)), np.where(sure, np.nan, np.exp(upper))


def correlation(sample: Sample, one: Integers, other: Integers) -> Floats:
    """Correlation of two groups' rates: 0 unless subjects are in both; (Q, P).

    Where either group has fewer than 20 effective events a positive one is taken as 0, since it
    would narrow the interval on little evidence.
    """
    r = np.zeros((len(sample.n), len(one)))
    together = np.flatnonzero(sample.shared[one, other])
    if sample.deviations is None or not together.size:
        return r
    few = effective_events(sample) < 20
    for j in together:
        a, b = sample.deviations[:, one[j]], sample.deviations[:, other[j]]
        r[:, j] = correlated(a, b)
        unsure = few[:, one[j]] | few[:, other[j]]
        r[:, j] = np.where(unsure, np.minimum(r[:, j], 0.0), r[:, j])
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


def _if_copies(sample: Sample) -> Floats:
    """The variance of each rate if the pictures of a subject were copies of each other."""
    p = sample.rate
    return np.asarray(p * (1 - p) / np.where(sample.copies > 0, sample.copies, np.nan))

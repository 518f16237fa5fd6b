"""Whether the scores of choices say how often the choices are right, group by group.

A score is the probability that a model gives to the label it chooses. It is calibrated if, of all
choices made with a score of 0.8, 80 % are right. Pictures of one cluster (subject, family, video)
are not independent; every interval here and the null of the calibration error allow for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse, special

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError
from audit.stats.calibration_null import Cells, Null, cells_of, null_of, share_of
from audit.stats.intervals import clopper_pearson, wilson
from audit.stats.significance import bonferroni_level

FEW: Final = 10
"""Clusters with a wrong choice, and with a right one, below which a t interval alone is too narrow.

At a constant score its nominal 95 % cover 63 % where one error is expected, 92 % around fifteen
with a switch at 5, and at least 93 % everywhere with a switch at 10.
"""


@dataclass(frozen=True)
class Overconfidence:
    """Mean score against share correct of g groups; every array has shape (g,).

    ``value`` is mean score minus accuracy, ``low, high`` its interval; ``few`` marks groups whose
    interval was widened for few wrong or few right clusters.
    """

    n: Integers
    clusters: Integers
    accuracy: Floats
    mean_score: Floats
    value: Floats
    low: Floats
    high: Floats
    few: Flags


@dataclass(frozen=True)
class Bins:
    """The reliability diagram of g groups: arrays of shape (g, bins), ``edges`` (bins + 1,)."""

    edges: Floats
    n: Integers
    clusters: Integers
    mean_score: Floats
    share_correct: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Reliability:
    """Calibration of g groups: overconfidence, calibration error beside its null, and the bins.

    ``above`` is the calibration error less the mean of its null, negative where it is smaller.
    """

    overconfidence: Overconfidence
    ece: Floats
    null: Null
    above: Floats
    bins: Bins


def reliability(
    score: npt.ArrayLike,
    correct: npt.ArrayLike,
    member: npt.ArrayLike,
    clusters: npt.ArrayLike,
    bins: int = 15,
    level: float = 0.95,
    seed: int | tuple[int, ...] = 0,
    resamples: int = 500,
) -> Reliability:
    """Expected calibration error of each group, its null, its bins and its overconfidence.

    Formula: with bins B of equal width on [0, 1], closed on the right,
    ``ECE = sum over B of |B|/n |share correct in B - mean score in B|``. Finite samples make it too
    large: a perfectly calibrated model has an ECE above 0 too, the more so the fewer the pictures.
    So its null stands beside it, see :func:`calibration_null`. A bin's interval is Wilson's with
    Kish's effective number ``n² / sum of (pictures of a cluster)²``, that is with pictures of a
    cluster taken as wholly dependent, the widest case; it is the plain one where none repeats.
    Range: shares in [0, 1], 0 is calibrated. Does not show: in which direction scores err (see the
    overconfidence), that the model is right often (scores of a coin can be calibrated), errors
    within a bin that cancel, or the probabilities of the labels that were not chosen.

    Args:
        score: Probability of the chosen label, shape (n,).
        correct: Whether the choice is right, shape (n,).
        member: Membership of groups, which may overlap, shape (n, g).
        clusters: What repeats, by number or name, shape (n,).
        bins: Number of bins.
        level: Level of every interval and of the null's quantile.
        seed: Of the simulations.
        resamples: Simulations for the null; 0 for none, and the null is nan.

    Returns:
        The groups in their order; values are nan for groups and bins without pictures, bounds also
        for those of one cluster.

    Raises:
        InputError: Lengths that differ, scores outside [0, 1], less than one bin, a level outside
            (0, 1).

    Source:
        Naeini, Cooper, Hauskrecht (2015), AAAI 29; Guo, Pleiss, Sun, Weinberger (2017), ICML,
        section 2; bias for few pictures: Bröcker, Smith (2007), Weather and Forecasting 22,
        651-661; Roelofs et al. (2022), AISTATS.
    """
    pictures = _pictures(score, correct, member, clusters)
    cells = cells_of(pictures, bins)
    n = pictures.member.sum(axis=0)
    ece = cells.error(np.bincount(cells.of[pictures.correct], minlength=cells.count), n)
    null = null_of(pictures, cells, level, seed, resamples)
    return Reliability(
        _overconfidence(pictures, level), ece, null, ece - null.mean, _bins(pictures, cells, level)
    )


def calibration_null(
    score: npt.ArrayLike,
    member: npt.ArrayLike,
    clusters: npt.ArrayLike,
    bins: int = 15,
    level: float = 0.95,
    seed: int | tuple[int, ...] = 0,
    resamples: int = 500,
) -> Null:
    """Calibration error that a perfectly calibrated model with these scores would show.

    Formula: mean and quantile of the ECE over simulated outcomes, each right with a probability
    equal to its score. Calibration does not say how outcomes of one cluster hang together, so both
    extremes are simulated: all independent, and all pictures of a cluster decided by one common
    draw u (right where u < score). Of all calibrated models with independent clusters the second
    has the largest mean ECE, because sums of common draws are the largest in convex order and the
    absolute value is convex; so it is the one to compare with, and duplicating every picture leaves
    it where it is. The quantile is the order statistic ``ceil(level (resamples + 1))``, which a
    calibrated model of that extreme exceeds in at most ``1 - level`` of all data sets.
    Range: shares in [0, 1]. Does not show: chance in the scores themselves, which are held fixed;
    nor how many of many groups exceed their quantile by chance.

    Args:
        score: Probability of the chosen label, shape (n,).
        member: Membership of groups, shape (n, g).
        clusters: What repeats, shape (n,).
        bins: Number of bins.
        level: Level of the quantile; nan where there are too few simulations for it.
        seed: Of the simulations; the order of pictures does not matter.
        resamples: Simulations; the null is nan if 0.

    Returns:
        The groups in their order; nan for groups without pictures.

    Raises:
        InputError: Lengths that differ, scores outside [0, 1], less than one bin.

    Source:
        Bröcker, Smith (2007), Weather and Forecasting 22, 651-661 (consistency resampling);
        Dhaene et al. (2002), Insurance: Mathematics and Economics 31, 3-33 (convex order).
    """
    pictures = _pictures(score, np.zeros(np.shape(score), bool), member, clusters)
    return null_of(pictures, cells_of(pictures, bins), level, seed, resamples)


def overconfidence(
    score: npt.ArrayLike,
    correct: npt.ArrayLike,
    member: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
) -> Overconfidence:
    """By how much scores promise more than choices keep: mean score minus share correct.

    Formula: with e = score - correct, the mean of e and a cluster-robust t interval: variance
    ``m/(m-1) sum over clusters of (sum of (e - mean e))² / n²`` on m - 1 degrees of freedom for m
    clusters (what statsmodels gives for OLS on a constant with ``cov_type='cluster'``). Where fewer
    than ``FEW`` clusters hold a wrong choice, or a right one, that is too narrow; there the bounds
    are those, or if wider ``value - hypot(h, high_a - a)`` to ``value + hypot(h, a - low_a)`` with
    Clopper-Pearson's bounds of the accuracy a at Kish's effective number and the half-width h of
    the mean score's own cluster t interval.
    Range: -1 to 1, positive is overconfident, 0 calibrated on average. Does not show: errors of
    both signs at different scores, which cancel (see the ECE).

    Args:
        score: Probability of the chosen label, shape (n,).
        correct: Whether the choice is right, shape (n,).
        member: Membership of groups, shape (n, g).
        clusters: What repeats, shape (n,).
        level: Two-sided level, strictly between 0 and 1.

    Returns:
        The groups in their order; bounds are nan for groups of one cluster or none.

    Raises:
        InputError: Lengths that differ, scores outside [0, 1], a level outside (0, 1).

    Source:
        Liang, Zeger (1986), Biometrika 73, 13-22; hybrid bounds: Zou, Donner (2008), Statistics in
        Medicine 27, 1693-1702.
    """
    return _overconfidence(_pictures(score, correct, member, clusters), level)


def overconfidence_gaps(
    score: npt.ArrayLike,
    correct: npt.ArrayLike,
    member: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
) -> tuple[Floats, Floats, Floats]:
    """Difference of overconfidence between every two groups, with bounds that hold for all pairs.

    Formula: with each group's bounds l, u at Bonferroni's level for ``g (g - 1)/2`` pairs, and r
    the cluster-robust correlation of the two means (0 where no cluster is in both groups),
    ``d - sqrt((v1 - l1)² - 2 r (v1 - l1)(u2 - v2) + (u2 - v2)²)``, the high bound likewise. It is
    the paired t interval where both groups hold the same clusters.
    Range: -2 to 2; positive where the first group is the more overconfident. Does not show: which
    of the two is calibrated.

    Args:
        score: Probability of the chosen label, shape (n,).
        correct: Whether the choice is right, shape (n,).
        member: Membership of the groups to compare, shape (n, g).
        clusters: What repeats, shape (n,).
        level: Level for all pairs together.

    Returns:
        Value, low and high, shape (g, g), row minus column; 0 on the diagonal, bounds nan there and
        where a group has fewer than two clusters.

    Raises:
        InputError: Lengths that differ, scores outside [0, 1], a level outside (0, 1).

    Source:
        Zou (2007), Psychological Methods 12, 399-413; Dunn (1961), JASA 56, 52-64.
    """
    pictures = _pictures(score, correct, member, clusters)
    g = pictures.member.shape[1]
    together = float(bonferroni_level(level, max(g * (g - 1) // 2, 1)))
    one = _overconfidence(pictures, together)
    shared = _correlation(_influence(pictures, pictures.score - pictures.correct))
    value = one.value[:, np.newaxis] - one.value
    low = value - _reach(one.value - one.low, one.high - one.value, shared)
    high = value + _reach(one.high - one.value, one.value - one.low, shared)
    np.fill_diagonal(low, np.nan)
    np.fill_diagonal(high, np.nan)
    return value, low, high


def _reach(of_row: Floats, of_column: Floats, correlation: Floats) -> Floats:
    row = of_row[:, np.newaxis]
    square = row**2 - 2 * correlation * row * of_column + of_column**2
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


# ---- pictures, groups, clusters ----------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """The arguments as arrays of one length, in an order that depends on their values alone."""

    score: Floats
    correct: Flags
    member: Flags
    cluster: Integers  # codes from 0
    pattern: Integers  # code of the combination of groups
    patterns: Flags  # (combinations, g)

    def memberships(self) -> tuple[Integers, Integers]:
        """Picture and group of every membership."""
        picture, group = np.nonzero(self.member)
        return picture, group


def _pictures(
    score: npt.ArrayLike, correct: npt.ArrayLike, member: npt.ArrayLike, clusters: npt.ArrayLike
) -> Pictures:
    scores, right = np.asarray(score, dtype=np.float64), np.asarray(correct, dtype=bool)
    groups, ids = np.asarray(member, dtype=bool), np.asarray(clusters)
    if groups.ndim != 2 or not scores.shape == right.shape == ids.shape == groups.shape[:1]:
        got = f"score {scores.shape}, correct {right.shape}, clusters {ids.shape}"
        raise InputError(
            f"{got}, member {groups.shape}", "Give one of each, and one row, a picture"
        )
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        raise InputError(
            f"score: {scores[wrong][0]:g} is not a probability",
            "Give the chosen label's probability, from 0 to 1",
        )
    codes = np.unique(ids, return_inverse=True)[1].reshape(-1)
    packed = np.packbits(groups, axis=1)
    patterns, pattern = np.unique(packed, axis=0, return_inverse=True)
    order = np.lexsort((right, pattern.reshape(-1), scores, codes))
    return Pictures(
        scores[order],
        right[order],
        groups[order],
        codes[order],
        pattern.reshape(-1)[order],
        np.unpackbits(patterns, axis=1, count=groups.shape[1]).astype(bool),
    )


def _overconfidence(pictures: Pictures, level: float) -> Overconfidence:
    n = pictures.member.sum(axis=0)
    m, right_in, wrong_in, effective = _cluster_counts(pictures)
    accuracy = share_of(pictures.correct @ pictures.member.astype(np.float64), n)
    mean_score = share_of(pictures.score @ pictures.member.astype(np.float64), n)
    gaps = pictures.score - pictures.correct
    reach = _t_reach(_influence(pictures, gaps), m, level)
    below, above = reach, reach
    few = (np.minimum(right_in, wrong_in) < FEW) & (m > 1)
    # exact for the accuracy, as if pictures of a cluster were one picture
    low_a, high_a = clopper_pearson(np.nan_to_num(accuracy) * effective, effective, level)
    reach_s = _t_reach(_influence(pictures, pictures.score), m, level)
    below = np.where(few, np.fmax(below, np.hypot(reach_s, high_a - accuracy)), below)
    above = np.where(few, np.fmax(above, np.hypot(reach_s, accuracy - low_a)), above)
    value = mean_score - accuracy
    low, high = np.maximum(value - below, -1.0), np.minimum(value + above, 1.0)
    return Overconfidence(n, m, accuracy, mean_score, value, low, high, few)


def _cluster_counts(pictures: Pictures) -> tuple[Integers, Integers, Integers, Floats]:
    """Clusters a group, those with a right and with a wrong choice, and Kish's effective number."""
    counted = np.zeros((4, pictures.member.shape[1]))
    for group, here in enumerate(pictures.member.T):
        size = np.bincount(pictures.cluster[here])
        right = np.bincount(pictures.cluster[here & pictures.correct], minlength=size.size)
        squares = float((size.astype(np.float64) ** 2).sum())
        effective = size.sum() ** 2 / squares if squares else 0.0
        counted[:, group] = (size > 0).sum(), (right > 0).sum(), (right < size).sum(), effective
    m, right_in, wrong_in = counted[:3].astype(np.int64)
    return m, right_in, wrong_in, counted[3]


def _influence(pictures: Pictures, value: Floats) -> sparse.csr_array:
    """Of each cluster on each group's mean of ``value``, scaled by m/(m - 1): (clusters, g).

    The products of its columns are the cluster-robust covariances of the means.
    """
    picture, group = pictures.memberships()
    g = pictures.member.shape[1]
    n = np.maximum(np.bincount(group, minlength=g), 1)
    mean = np.bincount(group, value[picture], minlength=g) / n
    shares = (value[picture] - mean[group]) / n[group]
    shape = (int(pictures.cluster.max(initial=-1)) + 1, g)
    matrix = sparse.csr_array((shares, (pictures.cluster[picture], group)), shape=shape)
    m = np.bincount(matrix.indices, minlength=g)
    scale = np.sqrt(m / np.maximum(m - 1, 1))
    return sparse.csr_array(matrix * scale[np.newaxis, :])


def _t_reach(influence: sparse.csr_array, m: Integers, level: float) -> Floats:
    """Half-width of the cluster t interval; nan for fewer than two clusters."""
    variance = np.asarray(influence.multiply(influence).sum(axis=0)).reshape(-1)
    t = special.stdtrit(np.maximum(m - 1, 1), (1 + level) / 2)
    return np.where(m > 1, t * np.sqrt(variance), np.nan)


def _correlation(influence: sparse.csr_array) -> Floats:
    covariance = np.asarray((influence.T @ influence).todense(), dtype=np.float64)
    deviation = np.sqrt(np.diag(covariance))
    scale = np.outer(deviation, deviation)
    return np.asarray(np.clip(covariance / np.where(scale > 0, scale, np.inf), -1.0, 1.0))


# ---- bins and their null -----------------------------------------------------------------------


def _bins(pictures: Pictures, cells: Cells, level: float) -> Bins:
    n = cells.in_bins(np.bincount(cells.of, minlength=cells.count))
    right = cells.in_bins(np.bincount(cells.of[pictures.correct], minlength=cells.count))
    share, mean_score = share_of(right, n), share_of(cells.in_bins(cells.expected), n)
    clusters, squares = _bin_clusters(pictures, cells)
    effective = np.nan_to_num(share_of(n**2, squares))
    low, high = wilson(np.nan_to_num(share) * effective, effective, level)
    known = clusters > 1
    low, high = np.where(known, low, np.nan), np.where(known, high, np.nan)
    return Bins(cells.edges, n.astype(np.int64), clusters, mean_score, share, low, high)


def _bin_clusters(pictures: Pictures, cells: Cells) -> tuple[Integers, Floats]:
    """Clusters of each bin, and the sum of their squared numbers of pictures: (g, bins)."""
    bins, g = cells.edges.size - 1, pictures.member.shape[1]
    picture, group = pictures.memberships()
    rows = group * bins + cells.bin[picture]
    shape = (g * bins, int(pictures.cluster.max(initial=-1)) + 1)
    one = np.ones(picture.size)
    size = sparse.csr_array((one, (rows, pictures.cluster[picture])), shape=shape)
    squares: Floats = np.asarray(size.multiply(size).sum(axis=1), np.float64).reshape(g, bins)
    return np.diff(size.indptr).astype(np.int64).reshape(g, bins), squares

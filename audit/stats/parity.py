"""Bias@k as published: two groups in the top of a list that pictures of neither are in as well.

Wang et al. rank all pictures, those of unknown or neutral gender too. These take places, so k
counts them; the bias is that of the pictures of both groups that are left among the first k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError
from audit.stats import ranking, ranking_bounds, ranking_null
from audit.stats.ranking import Ranking
from audit.stats.ranking_null import Beside
from audit.stats.resampling import Weights

#: the code of pictures of neither group; both groups are 0 and 1
NEITHER: Final = 2
_NOBODY: Final = "no picture of either group is in the top, where bias is 0 by definition"
_SHORT: Final = "more than 1% of resamples ran out of places, or lost a group of few subjects"


def bias(list_: Ranking, ks: npt.ArrayLike) -> Floats:
    """Bias@k of every query, (Q, K): who of both groups is in the top, and by how much more.

    Formula: ``(c_0 - c_1) / (c_0 + c_1)``, c_g the pictures of group g among the first k; 0 where
    neither occurs. Pictures of neither group are counted by k and by nothing else. The published
    number is the mean over queries. -1 to 1; 0 is parity, above 0 more of group 0.
    Does not show: how many pictures it rests on, which may be few of k (see ``of_both``); a
    target: parity is as many of both, whatever their number among all pictures.

    Args:
        list_: Three groups: 0 and 1, and ``NEITHER``.
        ks: Depths.

    Raises:
        InputError: Another number of groups, or fewer places than k.

    Source:
        Wang, Liu, Wang (2021), Are Gender-Neutral Queries Really Gender-Neutral?, arXiv
        2109.05433, section 3.
    """
    first, second = _counts(list_, ks)
    return _of_counts(first, second)


def of_both(list_: Ranking, ks: npt.ArrayLike) -> Integers:
    """Pictures of both groups among the first k of every query, (Q, K)."""
    return np.asarray(sum(_counts(list_, ks)))


def _counts(list_: Ranking, ks: npt.ArrayLike) -> tuple[Integers, Integers]:
    """Pictures of group 0 and of group 1 among the first k, (Q, K) each."""
    if list_.sizes.shape[1] != NEITHER + 1:
        got = f"bias: {list_.sizes.shape[1]} groups"
        raise InputError(got, "Give three: both, and the pictures of neither")
    at = ranking.depths(list_, np.asarray(ks, np.int64).tolist()).ks - 1
    of = list_.groups
    return (of == 0).cumsum(axis=1)[:, at], (of == 1).cumsum(axis=1)[:, at]


def _of_counts(first: npt.NDArray[np.number], second: npt.NDArray[np.number]) -> Floats:
    both = np.maximum(first + second, 1)
    return np.asarray(first / both - second / both)


@dataclass(frozen=True)
class Null:
    """Bias@k beside chance: of each ``queries`` (Q, K), and their mean, ``overall`` (K,)."""

    queries: Beside
    overall: Beside
    permutations: int
    enumerated: bool
    reason: str = ""


def null(
    list_: Ranking, ks: npt.ArrayLike, permutations: int = 1000, seed: int = 0, level: float = 0.95
) -> Null:
    """Bias@k beside what it is when both groups are dealt out by lot.

    Formula: as :func:`ranking.null`: whole subjects swap groups; pictures of neither group keep
    their places. Does not show: that the groups are alike, where p is large.

    Args:
        list_: As for :func:`bias`.
        ks: Depths.
        permutations: How many to draw, and the most to go through one by one.
        seed: Of the draws.
        level: Of the quantiles.

    Raises:
        InputError: As :func:`bias` and :func:`ranking.null`.
    """
    value = bias(list_, ks)
    at = np.asarray(ks, np.int64) - 1
    deals = ranking_null.deal(list_.sizes[:, :NEITHER], None, permutations, seed)
    if deals.reason:
        one, mean = ranking_null.without(value), ranking_null.without(value.mean(axis=0))
        return Null(one, mean, 0, True, deals.reason)
    each, summed = [], np.zeros((len(deals.codes), at.size))
    for who, of, own in zip(list_.clusters, list_.groups, value, strict=True):
        top = slice(0, at.max() + 1)
        code = deals.codes.take(who[top], axis=1)
        known = of[top] != NEITHER
        dealt = _of_counts(
            ((code == 0) & known).cumsum(axis=1)[:, at],
            ((code == 1) & known).cumsum(axis=1)[:, at],
        )
        each.append(ranking_null.beside("bias", own, dealt, deals.enumerated, level))
        summed += dealt
    overall = ranking_null.beside(
        "bias", value.mean(axis=0), summed / len(value), deals.enumerated, level
    )
    return Null(ranking_null.stacked(each), overall, len(deals.codes), deals.enumerated)


@dataclass(frozen=True)
class Bounds:
    """Bounds of bias@k: of each query, (Q, K), and of the mean over queries, (K,).

    nan where no picture of either group is in the top, or where ``reason`` says why. ``subjects``
    (Q, K): those of both groups in the top.
    """

    low: Floats
    high: Floats
    mean_low: Floats
    mean_high: Floats
    subjects: Integers
    reason: npt.NDArray[np.object_]


def bounds(list_: Ranking, ks: npt.ArrayLike, weights: Weights, level: float = 0.95) -> Bounds:
    """Bounds of bias@k over the choice of subjects.

    Formula: those of :func:`ranking.bounds` for the share of group 0 among the pictures of both
    groups in the top, ``r = (1 + bias) / 2``: the whole list is resampled by subject, pictures of
    neither group with it, so that it may hold more or fewer of both; r is 1/2 where a resample's
    top holds neither, as the definition says. Range: in [-1, 1]; contain the value.
    Does not show: what other queries would give.

    Args:
        list_: As for :func:`bias`, of ``ranking.places(k, n)`` places if there are so many.
        ks: Depths.
        weights: Bootstrap weights of the clusters, (clusters, B).
        level: Two-sided level, of one query and k, and of the mean.

    Raises:
        InputError: As :func:`bias` and :func:`ranking.bounds`.
    """
    share, both = (bias(list_, ks) + 1) / 2, of_both(list_, ks)
    at, n = np.asarray(ks, np.int64), int(list_.sizes.sum())
    variance, summed = np.empty(share.shape), np.zeros((at.size, weights.shape[1]))
    lost = np.zeros(share.shape, bool)
    resamples = ranking_bounds.resampled_shares(list_, at, weights, NEITHER)
    for q, (resampled, reached) in enumerate(resamples):
        there = reached >= at[:, np.newaxis]
        apart = np.where(there, _share(resampled) - share[q][:, np.newaxis], 0.0)
        seen = there.sum(axis=1)
        variance[q] = (apart**2).sum(axis=1) / np.maximum(seen, 1)
        lost[q] = seen < (1 - ranking_bounds.MOST_SHORT) * weights.shape[1]
        summed += apart
    subjects, kish = _subjects(list_, at)
    most = np.maximum(both / (1 - at / n), 1.0)
    low, high = _ends(share, variance, kish, most, level)
    nothing = lost | (both == 0)
    low, high = (np.where(nothing, np.nan, x) for x in (low, high))
    _, kish_all = _subjects(list_, at, together=True)
    of_mean = ((summed / len(share)) ** 2).mean(axis=1)
    known = float(list_.sizes[:, :NEITHER].sum())
    mean_low, mean_high = _ends(share.mean(axis=0), of_mean, kish_all[0], known, level)
    some = lost.any(axis=0) | (both == 0).all(axis=0)
    mean_low, mean_high = (np.where(some, np.nan, x) for x in (mean_low, mean_high))
    reason = np.select([both == 0, lost], [_NOBODY, _SHORT], "").astype(object)
    return Bounds(low, high, mean_low, mean_high, subjects, reason)


def _share(resampled: npt.NDArray[np.float32]) -> Floats:
    """The share of group 0 among both, (K, B), of the shares of three, (K, 3, B)."""
    first, both = resampled[:, 0].astype(np.float64), resampled[:, :NEITHER].sum(axis=1)
    there = both > 1e-6  # float32 sums of nothing are not quite 0
    return np.where(there, np.clip(first / np.where(there, both, 1.0), 0.0, 1.0), 0.5)


def _subjects(list_: Ranking, at: Integers, together: bool = False) -> tuple[Integers, Floats]:
    """Clusters of both groups in each top k and Kish's effective number of these, (Q, K).

    Of all queries ``together``: (1, K).
    """
    queries = len(list_.clusters)
    found = np.zeros((2, 1 if together else queries, at.size))
    for column, k in enumerate(at):
        who, known = list_.clusters[:, :k], list_.groups[:, :k] != NEITHER
        tops = [who[known]] if together else [w[x] for w, x in zip(who, known, strict=True)]
        for q, top in enumerate(tops):
            counts = np.unique(top, return_counts=True)[1].astype(np.float64)
            size = counts.sum() ** 2 / (counts**2).sum() if counts.size else math.nan
            found[:, q, column] = counts.size, size
    return found[0].astype(np.int64), found[1]


def _ends(
    share: Floats, variance: Floats, kish: Floats, most: Floats | float, level: float
) -> tuple[Floats, Floats]:
    """Bounds of bias from those of a share; nan, with no subjects, where kish is."""
    copies = np.where(np.isnan(kish), 1.0, kish)
    limit = most[..., np.newaxis] if isinstance(most, np.ndarray) else most
    low, high = ranking_bounds.share_bounds(
        share[..., np.newaxis], variance[..., np.newaxis], copies, limit, level
    )
    return 2 * low[..., 0] - 1, 2 * high[..., 0] - 1

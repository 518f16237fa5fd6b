"""Who is at the top of a ranking: shares of groups, skews, and how much of them is chance.

A query ranks all pictures by a score. Of every query only the best places are kept, so batches
merge and memory does not grow with the pictures. The published measures of skew are above 0 for a
ranking by lot, too; so every value here has a permutation null beside it, for which whole subjects
are dealt anew to the groups, and each group's share has an interval, for which subjects are
resampled. Pictures of unknown group take no part: they are neither in the list nor in the target,
and k counts known pictures; for bias@k with them see ``audit.stats.parity``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError
from audit.core.registry import unknown

Labels = npt.NDArray[np.int16]
Target = Literal["uniform", "dataset"] | npt.ArrayLike

_CELLS_AT_ONCE: Final = 4_000_000  # scores looked at in one go: bounds memory to some 50 MB
_PLACES_AT_ONCE: Final = 64_000  # over lists: stays in the cache
TIE: Final = 1e-9  # sums in another order differ by less


# ---- the best places of every query ------------------------------------------------------------


@dataclass(frozen=True)
class Top:
    """The best pictures of Q queries, best first; ``a + b`` merges batches.

    ``keys``, ``scores``: (Q, min(k, seen)). ``k``: places kept; ``seen``: pictures ranked. A higher
    score goes first; of equal scores, the lower key, whatever the order of batches.
    """

    keys: Integers
    scores: npt.NDArray[np.floating]
    k: int
    seen: int

    def __add__(self, other: Self) -> Top:
        """The best of both batches.

        Raises:
            ValueError: Other queries or another k; a picture that is in both.
        """
        if self.k != other.k or len(self.keys) != len(other.keys):
            raise ValueError("only the best of the same queries and the same k can be merged")
        keys = np.concatenate([self.keys, other.keys], axis=1)
        scores = np.concatenate([self.scores, other.scores], axis=1)
        # both sides are in order, which a stable sort makes use of; keys only decide between equals
        order = np.argsort(-scores, axis=1, kind="stable")
        ranked = np.take_along_axis(scores, order, axis=1)
        if (ranked[:, 1:] == ranked[:, :-1]).any():
            order = np.lexsort((keys, -scores), axis=1)
        keys, scores = (np.take_along_axis(x, order, axis=1) for x in (keys, scores))
        if (keys[:, 1:] == keys[:, :-1]).any():
            raise ValueError("a picture is in both batches: give each to one")
        return Top(keys[:, : self.k], scores[:, : self.k], self.k, self.seen + other.seen)


def top(scores: npt.ArrayLike, keys: npt.ArrayLike, k: int) -> Top:
    """The best k pictures of every query of a batch.

    Ties are broken by the key, so that the order of batches and of rows is irrelevant; a score
    that changes with the size of the batch (in the last digits of a matrix product) is not
    repaired here. Give known pictures only where unknown ones are to be left out.

    Args:
        scores: Of each picture for each query, (pictures, Q); float32 stays float32.
        keys: A whole number a picture, its own in all batches: the rank of its id, say.
        k: Places to keep; :func:`places` says how many the intervals need.

    Raises:
        InputError: Shapes that do not fit, a score that is no number, a key twice, k below 1.
    """
    given, names = np.asarray(scores), np.asarray(keys, dtype=np.int64)
    if given.dtype not in (np.float32, np.float64):
        given = given.astype(np.float64)
    if given.ndim != 2 or names.shape != given.shape[:1] or k < 1:
        got = f"top: scores {given.shape}, keys {names.shape}, k = {k}"
        raise InputError(got, "Give (pictures, queries), a key a picture, k of at least 1")
    if np.unique(names).size != names.size:
        raise InputError("top: two pictures with one key", "Give every picture its own")
    if np.isnan(given).any():
        raise InputError("top: a score that is no number", "Leave the picture out")
    order = np.argsort(names)
    kept = min(k, names.size)
    found = np.empty((given.shape[1], kept), np.int64)
    step = max(1, _CELLS_AT_ONCE // max(1, names.size))
    for start in range(0, given.shape[1], step):
        block = np.ascontiguousarray(given[order, start : start + step].T)
        found[start : start + step] = order[_best(block, kept)]
    best = np.take_along_axis(given.T, found, axis=1)
    return Top(names[found], best, k, names.size)


def _best(scores: npt.NDArray[np.floating], k: int) -> Integers:
    """Columns of the k largest of each row, largest first, of equal ones the first column."""
    if k == scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")
    least = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    chosen, tied = scores > least, scores == least
    room = k - chosen.sum(axis=1, keepdims=True)
    chosen |= tied & (np.cumsum(tied, axis=1) <= room)
    columns = np.nonzero(chosen)[1].reshape(len(scores), k)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def places(k: int, n: int) -> int:
    """Places to keep of n pictures so that the top k can be resampled: a resample looks deeper."""
    return min(n, 2 * k + 50)


@dataclass(frozen=True)
class Ranking:
    """Who is at which place: ``clusters``, ``groups`` (Q, places) of known pictures, best first.

    ``sizes`` (clusters, G): known pictures of each cluster in each group, ranked or not.
    """

    clusters: Integers
    groups: Integers
    sizes: Integers

    @property
    def pool(self) -> Integers:
        """Known pictures of each group, (G,)."""
        return np.asarray(self.sizes.sum(axis=0))

    def first(self, places: int) -> Ranking:
        """The same down to so many places."""
        return Ranking(self.clusters[:, :places], self.groups[:, :places], self.sizes)


def ranking(
    best: Top, keys: npt.ArrayLike, codes: npt.ArrayLike, clusters: npt.ArrayLike, groups: int
) -> Ranking:
    """Look up group and cluster at each place, leaving out pictures of unknown group.

    Where unknown pictures were ranked, lists end at the shortest one that is left.

    Args:
        best: The best places.
        keys: Keys of all pictures that were ranked, (pictures,).
        codes: Group of each, from 0; -1 where unknown.
        clusters: Number of each one's cluster, from 0.
        groups: Number of groups.

    Raises:
        InputError: Lengths that differ, a picture at the top without a row, a code out of range, a
            group without any picture.
    """
    names, code = np.asarray(keys, dtype=np.int64), np.asarray(codes, dtype=np.int64)
    cluster = np.asarray(clusters, dtype=np.int64)
    if not names.shape == code.shape == cluster.shape == (names.size,):
        got = f"ranking: keys {names.shape}, codes {code.shape}, clusters {cluster.shape}"
        raise InputError(got, "Give one of each a picture")
    if not names.size or code.min() < -1 or code.max() >= groups:
        got = f"ranking: {names.size} pictures, codes from {code.min(initial=0)} to"
        allowed = f"They must be from -1 (unknown) to {groups - 1}"
        raise InputError(f"{got} {code.max(initial=0)}", allowed)
    sizes = np.zeros((cluster.max() + 1, groups), np.int64)
    np.add.at(sizes, (cluster[code >= 0], code[code >= 0]), 1)
    if not sizes.sum(axis=0).all():
        empty = int(np.argmin(sizes.sum(axis=0)))
        got = f"ranking: no picture of group {empty} was ranked"
        raise InputError(got, "Leave the group out: it can't be at the top")
    row = _rows(best.keys, names)
    at, who = code[row], cluster[row]
    known = at >= 0
    width = int(known.sum(axis=1).min(initial=at.shape[1]))
    first = np.argsort(~known, axis=1, kind="stable")[:, :width]
    who, at = (np.take_along_axis(x, first, axis=1) for x in (who, at))
    return Ranking(who, at, sizes)


def _rows(wanted: Integers, names: Integers) -> Integers:
    """Where each key is among the names."""
    order = np.argsort(names)
    row = order[np.minimum(np.searchsorted(names, wanted, sorter=order), names.size - 1)]
    if (names[row] != wanted).any():
        raise InputError("ranking: a ranked picture has no key", "Give all keys")
    return np.asarray(row)


# ---- measures ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Depths:
    """How deep to look: ``ks`` (K,) for all measures, ``ndkl`` (J,) for NDKL."""

    ks: Integers
    ndkl: Integers

    @property
    def deepest(self) -> int:
        """The last place that is looked at."""
        return int(max(self.ks.max(), self.ndkl.max()))


def depths(list_: Ranking, ks: Sequence[int], ndkl_at: Sequence[int] | None = None) -> Depths:
    """The depths to look at, once they make sense: each k below the number of known pictures.

    With k = everything every ranking has the shares of the pictures themselves, and a measure of
    the top k is blind. NDKL weighs places and may go through the whole list.

    Args:
        list_: The ranking.
        ks: Depths of the top, in any order.
        ndkl_at: Depths of NDKL; ``ks`` if not given.

    Raises:
        InputError: No k, one below 1, at or above the number of known pictures, or beyond the
            places that were kept.
    """
    n, kept = int(list_.sizes.sum()), list_.groups.shape[1]
    found = Depths(np.asarray(ks, np.int64), np.asarray(ks if ndkl_at is None else ndkl_at))
    if not (found.ks.size and found.ndkl.size) or min(found.ks.min(), found.ndkl.min()) < 1:
        raise InputError(f"k: {list(ks)}", "Give depths from 1")
    if found.ks.max() >= n or found.ndkl.max() > n:
        got = f"k: {found.deepest} of {n} pictures of known group"
        raise InputError(got, "k must be below their number: the whole shows no ranking")
    if found.deepest > kept:
        got = f"k: {found.deepest}, but only {kept} places of known group were kept"
        raise InputError(got, "Keep more places, or rank known pictures only")
    return found


def target_shares(target: Target, pool: npt.ArrayLike) -> Floats:
    """The shares that the top should have: equal, the pictures' own, or given ones.

    Args:
        target: ``uniform`` (published as equal opportunity), ``dataset`` (demographic parity), or
            a share a group, such as those of a labour statistic.
        pool: Pictures of each group, (G, ...).

    Raises:
        InputError: Another name; shares that are not above 0 or do not sum to 1.
    """
    n = np.asarray(pool, dtype=np.float64)
    if isinstance(target, str):
        if target == "uniform":
            return np.full(n.shape, 1 / len(n))
        if target == "dataset":
            return np.asarray(n / n.sum(axis=0))
        raise unknown("target", target, ("uniform", "dataset"), where="ranking")
    share = np.asarray(target, dtype=np.float64)
    if share.shape != n.shape[:1] or not (share > 0).all() or abs(share.sum() - 1) > 1e-6:
        got = f"target: {np.round(share, 4).tolist()} for {len(n)} groups"
        raise InputError(got, "Give a share above 0 a group, in all 1")
    return np.broadcast_to(share.reshape(-1, *[1] * (n.ndim - 1)), n.shape).copy()


def measures(
    list_: Ranking,
    ks: Sequence[int],
    target: Target,
    ndkl_at: Sequence[int] | None = None,
) -> Mapping[str, Floats]:
    """Every measure of the top of each query's list.

    Formula: with c_g the pictures of group g in the top k, t_g its target share, G groups:

    - ``share`` (Q, K, G): ``c_g / k``, the representation. 0 to 1.
    - ``skew`` (Q, K, G): ``ln(max(c_g, 1) / k) - ln t_g``; a group that is missing counts as one
      picture, as published. Above 0 over-represented, below 0 under-represented.
    - ``max_skew`` (Q, K): the largest, at least 0; worse the larger. ``min_skew``: the smallest;
      worse the lower, but it cannot fall below ``-ln(k t_g)``.
    - ``ndkl`` (Q, J): ``(1/Z) sum over i <= k of KL(shares of the top i | target) / log2(i + 1)``,
      ``Z = sum 1 / log2(i + 1)``. From 0, worse the larger; the first places weigh most.
    - ``entropy`` (Q, K): ``- sum (c_g/k) ln(c_g/k) / ln G``. 0 (one group alone) to 1 (equal
      shares, whatever the target); nan for one group.
    - ``bias`` (Q, K): ``(c_0 - c_1) / k``. -1 to 1, 0 is parity; nan unless there are two groups.
      This is bias@k where every picture ranked is of one of both groups; where some are of
      neither, see :func:`audit.stats.parity.bias`.

    Does not show: relevance, or who should be found; how much of it is chance: all but ``bias``
    are away from their ideal for a ranking by lot, see :func:`null`.

    Args:
        list_: The ranking.
        ks: Depths k.
        target: See :func:`target_shares`; it belongs into the name of the result.
        ndkl_at: Depths of NDKL, up to the whole list; ``ks`` if not given.

    Raises:
        InputError: As :func:`depths` and :func:`target_shares`.

    Source:
        Geyik, Ambler, Kenthapadi (2019), Fairness-aware ranking, KDD; Berg et al. (2022), arXiv
        2203.11933; Wang, Liu, Wang (2021), arXiv 2109.05433 (bias@k); Hamidieh et al. (2024), arXiv
        2411.00997 (entropy).
    """
    at = depths(list_, ks, ndkl_at)
    share = target_shares(target, list_.pool)[np.newaxis]
    return measures_of(list_.groups[:, : at.deepest].astype(np.int16), share, at, share.size)


def measures_of(labels: Labels, target: Floats, at: Depths, groups: int) -> dict[str, Floats]:
    """All measures of D lists (D, places) whose target is (D, G) or (1, G)."""
    counts, ndkl = _walk(labels, target, at, groups)
    k = at.ks[:, np.newaxis]
    share = counts / k
    skew = np.log(np.maximum(counts, 1) / k) - np.log(target)[:, np.newaxis]
    most = math.log(groups) if groups > 1 else math.nan
    nothing = np.full(share.shape[:2], np.nan)
    return {
        "share": share,
        "skew": skew,
        "max_skew": skew.max(axis=2),
        "min_skew": skew.min(axis=2),
        "ndkl": ndkl,
        "entropy": special.entr(share).sum(axis=2) / most,
        "bias": share[..., 0] - share[..., 1] if groups == 2 else nothing,
    }


def _walk(labels: Labels, target: Floats, at: Depths, groups: int) -> tuple[Integers, Floats]:
    """Counts at each k, (D, K, G), and NDKL, (D, J), going down the lists.

    With c how many of its own group stand above and at a place, ``sum over groups of c ln c`` grows
    there by ``c ln c - (c - 1) ln(c - 1)`` alone; so NDKL is a weighted sum over places.
    """
    counts = np.empty((len(labels), at.ks.size, groups), np.int64)
    ndkl = np.empty((len(labels), at.ndkl.size))
    weight, least = _place_weights(at)
    rises = np.arange(at.deepest + 1)
    grows = special.xlogy(rises, rises) - special.xlogy(rises - 1, np.maximum(rises - 1, 0))
    log, one = np.log(target), len(target) == 1
    gains = (grows - log[0, :, np.newaxis]).reshape(-1)  # by group, by own count
    step = max(1, _PLACES_AT_ONCE // at.deepest)
    for start in range(0, len(labels), step):
        here = labels[start : start + step].astype(np.int64)
        own = _own_counts(here, groups, at.ks, counts[start : start + step])
        gain = gains.take(here * rises.size + own)
        if not one:
            moved = log[0] - log[start : start + step]
            gain += np.take_along_axis(moved, here, axis=1)
        ndkl[start : start + step] = gain @ weight - least
    return counts, ndkl


def _place_weights(at: Depths) -> tuple[Floats, Floats]:
    """What a place adds to NDKL at each depth, (places, J), and what is then too much, (J,)."""
    i = np.arange(1, at.deepest + 1)
    discount = (i <= at.ndkl[:, np.newaxis]) / np.log2(i + 1)
    discount /= discount.sum(axis=1, keepdims=True)
    below = np.cumsum((discount / i)[:, ::-1], axis=1)[:, ::-1]
    return np.ascontiguousarray(below.T), discount @ np.log(i)


def _own_counts(here: Integers, groups: int, ks: Integers, counts: Integers) -> Integers:
    """How many of its own group stand above and at each place; fills in the counts at each k.

    The counts of several groups share one 64-bit word, so that one running sum counts them all.
    """
    bits = int(here.shape[1]).bit_length()
    together, full = 63 // bits, (1 << bits) - 1
    own = np.zeros_like(here)
    for first in range(0, groups, together):
        last = min(first + together, groups)
        # all other groups share the topmost bit, which spoils no field below it
        shift = np.minimum((here - first).view(np.uint64) * np.uint64(bits), np.uint64(63))
        running = np.cumsum(np.uint64(1) << shift, axis=1)
        count = ((running >> shift) & np.uint64(full)).view(np.int64)
        own += count if groups <= together else count * ((here >= first) & (here < last))
        shifts = (np.arange(last - first) * bits).astype(np.uint64)
        counts[:, :, first:last] = (running[:, ks - 1, np.newaxis] >> shifts) & np.uint64(full)
    return own

"""How large a worst-case gap would be if groups did not matter.

The largest of many noisy gaps is large by itself. Here whole clusters are dealt anew to the groups,
within strata of what else is known, and the gap is measured each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError
from audit.stats.deals import Places, draw

_Measure: TypeAlias = Callable[[Floats, int, Flags], tuple[Floats, Floats]]

_SPARSE_BELOW = 0.1  # share of entries above which a dense table is faster
_DENSE_GROUPS = 8  # up to so many groups multiplying by their zeros is faster than skipping them
_CELLS_AT_ONCE = 1_000_000  # of a table of whole numbers, made doubles at a time, 8 MB
_TIE = 1e-12  # relative to the largest rate; sums in another order differ by less


@dataclass(frozen=True)
class Null:
    """An observed range of rates beside its permutation null.

    ``observed``, ``mean``, ``high`` (the quantile ``level`` of the null) and ``p``: shape
    (questions,). ``permutations``: how many were looked at; ``enumerated``: whether these are all
    there are; ``smallest_p``: the least p that any answer to these questions could have had;
    ``movable``: clusters that can change group; ``reason``: why p is nan for all, else "".
    """

    observed: Floats
    mean: Floats
    high: Floats
    p: Floats
    permutations: int
    enumerated: bool
    smallest_p: float
    movable: int
    reason: str = ""


@dataclass(frozen=True)
class Deals:
    """Whole clusters dealt anew to the groups, within strata.

    ``sums``: blocks of shape (deals, groups, questions + columns of n), made as they are asked for,
    once; none if nothing can move. ``enumerated``: whether these are all distinct deals.
    ``movable``: clusters that can change group. ``reason``: why nothing can move, else "".
    """

    sums: Iterator[Floats]
    enumerated: bool
    movable: int
    reason: str = ""


@dataclass(frozen=True)
class DealtCodes:
    """Whole clusters dealt anew to the groups, as the group of each; see :class:`Deals`.

    ``codes``: (deals, clusters), -1 for a cluster that takes no part; no deals if nothing can move.
    """

    codes: npt.NDArray[np.int16]
    enumerated: bool
    movable: int
    reason: str = ""


@dataclass(frozen=True)
class _Deck:
    """Clusters that can move, in the order of their places: by group, within it by stratum.

    A deal names the cluster at each place; the places of a group follow each other, so a deal is
    the index list of a sparse 0/1 matrix (groups, clusters) whose row ends never change.
    """

    table: npt.NDArray[np.number]  # (clusters, questions + columns of n), doubles or whole numbers
    fixed: Floats  # (groups, questions + columns of n), of clusters that cannot move
    ends: Integers  # (groups + 1,)
    strata: tuple[Places, ...]  # places of each stratum
    codes: Integers  # group of each place


def permuted_range(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    codes: npt.ArrayLike,
    strata: npt.ArrayLike,
    groups: int,
    permutations: int = 2000,
    seed: int = 0,
    usable: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Null:
    """The largest gap between groups, beside the gaps that dealing out groups by chance gives.

    Formula: the range is the largest less the smallest of the group rates ``sum events / sum n``,
    over usable groups with pictures. Whole clusters swap groups within their stratum, so that
    clusters of one stratum are alike but for the group. p is the share of permutations whose range
    is at least the observed one: ``(1 + count) / (1 + permutations)`` where they are drawn,
    ``count / all`` where all distinct deals are at most ``permutations`` and are gone through. The
    same permutations serve all questions, and a question's numbers do not depend on the others.
    Range: a gap from 0, in units of the rate; p above 0, at most 1. ``mean`` is what the gap is on
    average without any disparity: print it beside the observed one, do not subtract it.
    Does not show: which groups differ; that there is no gap, when p is large; anything on what
    strata have in common with groups: where one decides the other nothing can move, p is nan and
    ``reason`` says so. Clusters of unknown group or of groups that are not usable take no part.
    The null says that nothing but chance differs; groups of like rate but unlike spread break it.

    Args:
        events: Sums over the pictures of each cluster, shape (clusters, questions).
        n: Pictures of each cluster that were asked, shape (clusters,) or (clusters, questions).
        codes: Group of each cluster, from 0; -1 where unknown.
        strata: Stratum of each cluster, any whole number.
        groups: Number of groups.
        permutations: How many to draw, and the most to go through one by one.
        seed: Of the draws. Clusters in another order give other draws: sort them by name.
        usable: Whether each group enters, shape (groups,); all, if not given.
        level: Of the quantile ``high``.

    Returns:
        Observed range, mean and quantile of the null, p, and how it was found.

    Raises:
        InputError: Shapes that do not fit, a code out of range, a negative n, no permutations.

    Source:
        Phipson, Smyth (2010), Permutation p-values should never be zero, Stat. Appl. Genet. Mol.
        Biol. 9, 39; Good (2005), Permutation, Parametric and Bootstrap Tests, 3.
    """
    chosen = _chosen(usable, groups)
    given = _arguments(events, n, codes, strata, groups)
    return _permuted(ranges, given, chosen, permutations, seed, level)


def permuted_drops(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    codes: npt.ArrayLike,
    strata: npt.ArrayLike,
    groups: int,
    permutations: int = 2000,
    seed: int = 0,
    usable: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Null:
    """The largest gap between groups in how much a rate drops, beside what chance gives.

    Formula: the drop of a group is ``sum events / sum n`` of the first column less that of the
    second, the range the largest less the smallest drop over usable groups; the rest as
    ``permuted_range``. Strata that tell in which columns a cluster has pictures keep every group in
    both. Range: from 0 to 2, for events that happen or not.
    Does not show: as ``permuted_range``; the null says that groups differ in neither rate.

    Args:
        events: Sums over the pictures of each cluster, before and after, shape (clusters, 2).
        n: Pictures of each cluster that were asked before and after, shape (clusters, 2).
        codes: Group of each cluster, from 0; -1 where unknown.
        strata: Stratum of each cluster, any whole number.
        groups: Number of groups.
        permutations: How many to draw, and the most to go through one by one.
        seed: Of the draws.
        usable: Whether each group enters, shape (groups,); all, if not given.
        level: Of the quantile ``high``.

    Returns:
        As ``permuted_range``, of one question.

    Raises:
        InputError: As ``permuted_range``; not two columns of each.
    """
    chosen = _chosen(usable, groups)
    given = _arguments(events, n, codes, strata, groups)
    if not given[0].shape[1] == given[1].shape[1] == 2:
        got = f"permuted_drops: events {given[0].shape}, n {given[1].shape}"
        raise InputError(got, "Give two columns of each: before and after")
    return _permuted(_drops, given, chosen, permutations, seed, level)


def _permuted(
    measure: _Measure,
    given: tuple[npt.NDArray[np.number], npt.NDArray[np.number], Integers, Integers],
    chosen: Flags,
    permutations: int,
    seed: int,
    level: float,
) -> Null:
    """What is measured of group sums, beside its null; ``given``: as ``_arguments`` returns it."""
    _check_numbers(permutations, level)
    (x, size, code, stratum), groups = given, len(chosen)
    table = np.hstack([x, size]).astype(np.float64, copy=False)
    observed, scale = measure(_sums(table, code, groups)[np.newaxis], x.shape[1], chosen)
    code = np.where(chosen[code], code, -1)
    deals = dealt_sums(x, size, code, stratum, groups, permutations, seed)
    if deals.reason:
        return immovable(observed[0], deals.reason)
    null = np.vstack([measure(sums, x.shape[1], chosen)[0] for sums in deals.sums])
    return summary(
        observed[0], scale[0], np.nan_to_num(null), deals.enumerated, deals.movable, level
    )


def dealt_sums(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    codes: npt.ArrayLike,
    strata: npt.ArrayLike,
    groups: int,
    permutations: int = 2000,
    seed: int = 0,
) -> Deals:
    """Sums of every group when whole clusters are dealt anew: for any statistic of group sums.

    All distinct deals, the observed one among them, where they are at most ``permutations``; else
    so many at random. Memory holds a block of deals, whatever their number. Events and n given as
    whole numbers from 0 stay in their bytes, which is what grows with the clusters; the sums are
    the same to the bit. 10,000 clusters, 300 questions, two groups, 1,000 deals: 0.6 s measured on
    one core.

    Args:
        events: Sums over the pictures of each cluster, shape (clusters, questions).
        n: Pictures of each cluster, shape (clusters,) or (clusters, questions).
        codes: Group of each cluster, from 0; -1 takes no part.
        strata: Stratum of each cluster; clusters swap groups within it.
        groups: Number of groups.
        permutations: How many to draw, and the most to go through one by one.
        seed: Of the draws.

    Raises:
        InputError: As ``permuted_range``.
    """
    x, size, code, stratum = _arguments(events, n, codes, strata, groups)
    _check_numbers(permutations)
    part = np.flatnonzero(code >= 0)
    table = np.hstack([x[part], size[part]])
    deck = _deck(table, code[part], stratum[part], groups)
    drawn = draw(deck.strata, deck.codes, permutations, seed)
    if drawn.immovable:
        return Deals(iter(()), True, 0, why_immovable(len(np.unique(code[part]))))
    return Deals(_dealt(deck, drawn.blocks), drawn.enumerated, deck.codes.size)


def dealt_codes(
    codes: npt.ArrayLike,
    strata: npt.ArrayLike,
    groups: int,
    permutations: int = 2000,
    seed: int = 0,
) -> DealtCodes:
    """Group of every cluster when whole clusters are dealt anew: for statistics that are no sums.

    The deals of ``dealt_sums`` with the same arguments, held all at once: two bytes a cluster and
    deal.

    Args:
        codes: Group of each cluster, from 0; -1 takes no part.
        strata: Stratum of each cluster; clusters swap groups within it.
        groups: Number of groups.
        permutations: How many to draw, and the most to go through one by one.
        seed: Of the draws.

    Raises:
        InputError: As ``permuted_range``.
    """
    names = np.arange(np.size(codes), dtype=np.float64)[:, np.newaxis]  # so a deck names clusters
    named, _, code, stratum = _arguments(names, np.ones(names.shape), codes, strata, groups)
    _check_numbers(permutations)
    part = np.flatnonzero(code >= 0)
    deck = _deck(named[part], code[part], stratum[part], groups)
    drawn = draw(deck.strata, deck.codes, permutations, seed)
    if drawn.immovable:
        reason = why_immovable(len(np.unique(code[part])))
        return DealtCodes(np.empty((0, code.size), np.int16), True, 0, reason)
    found = np.tile(code.astype(np.int16), (drawn.number, 1))
    order, done = deck.table[:, 0].astype(np.int64), 0
    for block in drawn.blocks:
        found[np.arange(done, done + len(block))[:, np.newaxis], order[block]] = deck.codes
        done += len(block)
    return DealtCodes(found, drawn.enumerated, deck.codes.size)


def whole_clusters(clusters: npt.ArrayLike, codes: npt.ArrayLike) -> bool:
    """Whether every cluster lies in one group, so that it can be permuted whole.

    A person in pictures of several perceived ages, say, does not. Pictures of unknown group are
    passed over.

    Args:
        clusters: Name or number of the cluster of each picture, shape (pictures,).
        codes: Group of each picture, -1 where unknown, shape (pictures,).

    Raises:
        InputError: Lengths that differ.
    """
    names, group = np.asarray(clusters), np.asarray(codes, dtype=np.int64)
    if names.ndim != 1 or names.shape != group.shape:
        got = f"whole_clusters: clusters {names.shape}, codes {group.shape}"
        raise InputError(got, "Give one of each a picture")
    known = group >= 0
    if names.dtype == object:
        names = names.astype(str)  # names of mixed kinds have no order
    kept, place = np.unique(names[known], return_inverse=True)
    pairs = place.reshape(-1) * (group.max(initial=0) + 1) + group[known]
    return bool(np.unique(pairs).size == kept.size)


def _arguments(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    codes: npt.ArrayLike,
    strata: npt.ArrayLike,
    groups: int,
) -> tuple[npt.NDArray[np.number], npt.NDArray[np.number], Integers, Integers]:
    """The arguments as arrays of one length, n with one column or one a question."""
    x, size = _numbers(events), _numbers(n)
    code, stratum = np.asarray(codes, dtype=np.int64), np.asarray(strata, dtype=np.int64)
    fits = x.ndim == 2 and size.shape in ((len(x),), (len(x), 1), x.shape)
    if not (fits and code.shape == stratum.shape == x.shape[:1]):
        got = f"events {x.shape}, n {size.shape}, codes {code.shape}, strata {stratum.shape}"
        raise InputError(f"clusters to deal: {got}", "Give one row of each a cluster")
    if code.size and not (code.min() >= -1 and code.max() < groups):
        got = f"clusters to deal: codes from {code.min()} to {code.max()}"
        raise InputError(got, f"They must be from -1 to {groups - 1}")
    if not (np.isfinite(x).all() and (size >= 0).all()):
        got = "clusters to deal: an event that is not finite or an n below 0"
        raise InputError(got, "Give sums of events and counts of pictures")
    return x, size if size.ndim == 2 else size[:, np.newaxis], code, stratum


def _numbers(given: npt.ArrayLike) -> npt.NDArray[np.number]:
    """Whole numbers from 0 as they are; anything else as doubles."""
    array = np.asarray(given)
    return array if array.dtype.kind == "u" else array.astype(np.float64)


def _chosen(usable: npt.ArrayLike | None, groups: int) -> Flags:
    if groups < 1:
        raise InputError(f"permuted_range: {groups} groups", "Give at least 1")
    chosen = np.ones(groups, dtype=np.bool_) if usable is None else np.asarray(usable, np.bool_)
    if chosen.shape != (groups,):
        got = f"permuted_range: usable has shape {chosen.shape}, there are {groups} groups"
        raise InputError(got, "Give one truth value a group")
    return chosen


def _check_numbers(permutations: int, level: float = 0.5) -> None:
    if permutations < 1:
        raise InputError(f"{permutations} permutations", "Give at least 1")
    if not 0 < level < 1:
        got = f"level: {level:g} is not strictly between 0 and 1"
        raise InputError(got, "Give a share such as 0.95, not 95")


def _sums(table: npt.NDArray[np.number], code: Integers, groups: int) -> Floats:
    sums = np.zeros((groups, table.shape[1]))
    np.add.at(sums, code[code >= 0], table[code >= 0])
    return sums


def ranges(sums: Floats, questions: int, chosen: Flags) -> tuple[Floats, Floats]:
    """Largest less smallest rate, and the largest in size; nan for fewer than two groups.

    ``sums``: (deals, groups, questions + columns of n); the results: (deals, questions).
    """
    x, n = sums[:, chosen, :questions], sums[:, chosen, questions:]
    there = np.broadcast_to(n > 0, x.shape)
    return _range(x / np.where(n > 0, n, 1.0), there)


def _drops(sums: Floats, questions: int, chosen: Flags) -> tuple[Floats, Floats]:
    """As ``ranges``, of the first rate less the second; the results: (deals, 1)."""
    x, n = sums[:, chosen, :questions], sums[:, chosen, questions:]
    rate = x / np.where(n > 0, n, 1.0)
    there = (n[..., :1] > 0) & (n[..., 1:] > 0)
    return _range(rate[..., :1] - rate[..., 1:], there)


def _range(rate: Floats, there: Flags) -> tuple[Floats, Floats]:
    """Largest less smallest of the groups that are there, and the largest in size."""
    top = np.where(there, rate, -np.inf).max(axis=1, initial=-np.inf)
    bottom = np.where(there, rate, np.inf).min(axis=1, initial=np.inf)
    several = there.sum(axis=1) > 1
    top, bottom = np.where(several, top, np.nan), np.where(several, bottom, np.nan)
    return top - bottom, np.maximum(np.abs(top), np.abs(bottom))


def _deck(table: npt.NDArray[np.number], code: Integers, stratum: Integers, groups: int) -> _Deck:
    """Set aside the clusters of strata with one group, and order the others by place."""
    _, place = np.unique(stratum, return_inverse=True)
    cells = np.unique(np.stack([place, code]), axis=1)
    moves = np.bincount(cells[0], minlength=1)[place] > 1 if len(place) else np.zeros(0, bool)
    fixed = _sums(table[~moves], code[~moves], groups)
    order = np.flatnonzero(moves)[np.argsort(code[moves], kind="stable")]
    ends = np.searchsorted(code[order], np.arange(groups + 1))
    strata = tuple(
        np.flatnonzero(place[order] == s).astype(np.int32) for s in np.unique(place[order])
    )
    return _Deck(table[order], fixed, ends, strata, code[order])


def _dealt(deck: _Deck, draws: Iterable[Places]) -> Iterator[Floats]:
    """Sums of each group for each deal, shape (deals, groups, columns)."""
    clusters, columns = deck.table.shape
    filled = np.count_nonzero(deck.table) / max(1, deck.table.size)
    thin = filled < _SPARSE_BELOW
    table = sparse.csr_array(deck.table) if thin else deck.table
    few = not thin and len(deck.ends) - 1 <= _DENSE_GROUPS
    placed = int(deck.ends[-2])  # the last group has what the others leave
    whole = deck.table.sum(axis=0)
    for deals in draws:
        starts = np.arange(len(deals))[:, np.newaxis] * placed + deck.ends[:-2]
        rows = np.append(starts.reshape(-1), len(deals) * placed)
        shape = (rows.size - 1, clusters)
        entries = (np.ones(rows[-1]), deals[:, :placed].reshape(-1), rows)
        dealt = sparse.csr_array(entries, shape=shape)
        sums = _product(dealt.toarray() if few else dealt, table)
        others = sums.reshape(len(deals), -1, columns)
        last = whole - others.sum(axis=1, keepdims=True)
        yield np.concatenate([others, last], axis=1) + deck.fixed


def _product(
    dealt: Floats | sparse.csr_array, table: npt.NDArray[np.number] | sparse.csr_array
) -> Floats:
    """The product; of a table of whole numbers, block by block as doubles, which are quick."""
    if isinstance(table, sparse.csr_array) or table.dtype == np.float64:
        product = dealt @ table
        return np.asarray(product.toarray() if sparse.issparse(product) else product)
    sums = np.zeros((dealt.shape[0], table.shape[1]))
    step = max(1, _CELLS_AT_ONCE // table.shape[1])
    for start in range(0, len(table), step):
        block = slice(start, start + step)
        sums += dealt[:, block] @ table[block].astype(np.float64)
    return sums


def why_immovable(groups: int) -> str:
    """Why there is but one deal."""
    if groups < 2:
        return "fewer than two groups to compare"
    return "no cluster can change group: within every stratum all clusters are of one group"


def immovable(observed: Floats, reason: str) -> Null:
    """No null, with the reason."""
    nothing = np.full(observed.shape, np.nan)
    return Null(observed, nothing, nothing, nothing, 0, True, 1.0, 0, reason)


def summary(
    observed: Floats, scale: Floats, null: Floats, enumerated: bool, movable: int, level: float
) -> Null:
    """The null as numbers; a deal that leaves fewer than two groups with pictures has range 0."""
    defined, added = ~np.isnan(observed), 0 if enumerated else 1
    tie = _TIE * np.nan_to_num(scale)
    as_large = (null >= np.nan_to_num(observed) - tie).sum(axis=0)
    p = (as_large + added) / (len(null) + added)
    smallest = 1 / (len(null) + 1)
    if enumerated and defined.any():
        smallest = float((null >= null.max(axis=0) - tie).mean(axis=0)[defined].min())
    high = np.quantile(null, level, axis=0, method="higher")
    mean, high, p = (np.where(defined, values, np.nan) for values in (null.mean(axis=0), high, p))
    return Null(observed, mean, high, p, len(null), enumerated, smallest, movable)

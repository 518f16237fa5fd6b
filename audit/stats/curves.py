"""A specification curve against chance: the gap in every wording, with groups dealt anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from audit.core.arrays import Floats, Integers, Singles
from audit.core.errors import InputError
from audit.stats.generalisability import blocks
from audit.stats.intervals import check_level
from audit.stats.permutation import DealtCodes, dealt_codes


@dataclass(frozen=True)
class CurveStatistic:
    """A number of the whole curve beside its permutation null.

    ``mean``, ``high``: of the null; ``p``: share of deals at least as large; ``smallest_p``: the
    least that any answer could have had. nan where nothing can be dealt.
    """

    observed: float
    mean: float
    high: float
    p: float
    smallest_p: float


@dataclass(frozen=True)
class JointTest:
    """A specification curve against chance.

    ``gaps`` (W,): rate of one less rate of other in every wording; ``median``: of these, in
    standard errors, p for its size; ``agreeing``: share of wordings with the sign that most have,
    ``sign`` (1, -1, or 0 for a tie); ``large``: share with a gap above the margin in size.
    ``band_low``, ``band_high`` (W,): pointwise quantiles of the sorted curve under the null.
    ``candidates``: among how many the largest was taken in every deal. ``reason``: why p is nan,
    else "".
    """

    gaps: Floats
    median: CurveStatistic
    agreeing: CurveStatistic
    sign: int
    large: CurveStatistic
    band_low: Floats
    band_high: Floats
    permutations: int
    enumerated: bool
    movable: int
    candidates: int
    reason: str = ""


def joint_test(
    events: Iterable[npt.ArrayLike],
    n: npt.ArrayLike,
    codes: npt.ArrayLike,
    strata: npt.ArrayLike,
    pairs: npt.ArrayLike,
    margins: npt.ArrayLike = 0.0,
    asked: tuple[int, int] = (0, 0),
    permutations: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> JointTest:
    """Whether a specification curve is more than chance makes of groups that are alike.

    Formula: whole clusters swap groups within their stratum, once for all wordings; every deal
    gives a whole curve of gaps d for each candidate, which is a label and a pair of groups, and
    three numbers of it: the size of the median over its standard error, the share of the more
    frequent sign, the share with ``|d| > margin``. In every deal each number is the largest over
    all candidates, so the choice of the largest is made again every time; with one candidate it is
    the plain test of a question fixed beforehand. p is the share of deals whose number is at least
    that of the asked candidate, ``(1 + count) / (1 + permutations)`` where deals are drawn, exact
    where all are gone through. The standard error is made in every deal from the clusters dealt to
    each group, ``sum (y - p n)² / (sum n)²`` with y a cluster's mean over wordings of its sums, the
    sum drawn towards that of all clusters as by ``_BORROWED`` more of these: so a small group and a
    large one, a rare label and a common one are on one scale.
    Range: p above 0, at most 1. Wordings look at the same pictures, so under the null, too, most
    agree in sign (see ``agreeing.mean``): agreement alone is weak evidence, and its ``smallest_p``
    says how weak; the most agreeing of many candidates agrees nearly always. Does not show: which
    wording; a gap of less than the margin; anything on what strata have in common with groups. The
    null says that nothing but chance differs between any two groups, on any label. Where other
    clusters of a candidate's groups can't move, its gap keeps what they make of it.

    Args:
        events: Of every label that could have been chosen, sums over the pictures of each cluster,
            shape (clusters, wordings); whole numbers from 0. Taken one at a time.
        n: Pictures of each cluster, shape (clusters,).
        codes: Group of each cluster; those in no pair take no part.
        strata: Stratum of each cluster, any whole number.
        pairs: Codes of the two groups of each pair that could have been chosen, shape (pairs, 2).
        margins: Above which a gap is large, in units of the rate, one a label.
        asked: Places of the label and of the pair that were chosen.
        permutations: How many to draw, and the most to go through one by one.
        seed: Of the draws.
        level: Of the nulls' ``high``, and of the band, two-sided.

    Returns:
        Gaps, the three numbers with p, and the null's band for the sorted curve: that of the
        candidate with the largest median of each deal, in the standard errors of the asked one.

    Raises:
        InputError: Shapes that do not fit, the same group twice, a level outside (0, 1).

    Source:
        Simonsohn, Simmons, Nelson (2020), Nature Human Behaviour 4, 1208-1214 (their joint tests);
        Westfall, Young (1993), Resampling-Based Multiple Testing, for the largest; Chung, Romano
        (2013), Annals of Statistics 41, 484-507, for its scale; Phipson, Smyth (2010) for p.
    """
    size = np.asarray(n, dtype=np.float64)
    both = np.asarray(pairs, dtype=np.int64)
    check_level(level)
    if size.ndim != 1 or both.ndim != 2 or both.shape[1] != 2 or (both[:, 0] == both[:, 1]).any():
        got = f"joint_test: pairs {both.tolist()}, n {size.shape}"
        raise InputError(got, "Give two different groups a pair and (clusters,)")
    used = np.unique(both)
    found = np.searchsorted(used, np.asarray(codes, dtype=np.int64))
    found = np.where(np.isin(codes, used), found, -1)
    deals = dealt_codes(np.where(size > 0, found, -1), strata, len(used), permutations, seed)
    kind: type[np.integer] = np.int8 if len(used) < 127 else np.int16
    dealt = deals.codes.T.astype(kind, order="C")
    table = _Table(size, found, np.searchsorted(used, both), dealt)
    return _joint(table, events, np.atleast_1d(margins), asked, deals, level)


@dataclass(frozen=True)
class _Table:
    """Clusters, the groups they are in and those dealt to them, and the pairs compared.

    ``n``, ``codes`` (clusters,), ``pairs`` (P, 2), ``dealt`` (clusters, deals).
    """

    n: Floats
    codes: Integers
    pairs: Integers
    dealt: npt.NDArray[np.integer]

    @property
    def clusters(self) -> Integers:
        """How many clusters a group has, (G, 1): as many in every deal."""
        groups = int(self.pairs.max()) + 1
        return np.bincount(self.codes[self.codes >= 0], minlength=groups)[:, np.newaxis]

    def blocks(self) -> Iterable[tuple[slice, Singles]]:
        """The deals, a few at a time, as ``members``; held for all labels if they are small."""
        clusters, deals = self.dealt.shape
        if clusters * len(self.clusters) * deals > _MEMBERS_KEPT:
            return self._blocks()
        return self._kept

    @cached_property
    def _kept(self) -> list[tuple[slice, Singles]]:
        return list(self._blocks())

    def _blocks(self) -> Iterator[tuple[slice, Singles]]:
        step = max(1, _MEMBERS_AT_ONCE // max(1, self.n.size * len(self.clusters)))
        for start in range(0, self.dealt.shape[1], step):
            at = slice(start, start + step)
            yield at, self.members(self.dealt[:, at])

    def members(self, codes: npt.NDArray[np.integer]) -> Singles:
        """Who is in which group, (clusters, G, deals), by the group of each, (clusters, deals)."""
        groups = np.arange(len(self.clusters))[:, np.newaxis]
        return np.asarray(codes[:, np.newaxis] == groups, dtype=np.float32)


@dataclass(frozen=True)
class _Label:
    """What happened to the clusters on one label, made ready to be summed by group.

    ``happened``: (W, clusters); ``second``: (4, clusters), what standard errors are made of, with
    sums less what the ``rate`` of all expects; ``variance``: of one cluster, over all.
    """

    happened: Singles | sparse.csr_array
    second: Singles
    rate: float
    variance: float

    @classmethod
    def of(cls, events: npt.ArrayLike, table: _Table) -> _Label:
        x = np.asarray(events)
        if x.ndim != 2 or not x.shape[1] or len(x) != table.n.size:
            got = f"joint_test: events {x.shape}, n {table.n.shape}"
            raise InputError(got, "Give (clusters, wordings), one row of each a cluster")
        y, n, part = x.mean(axis=1, dtype=np.float64), table.n, table.codes >= 0
        rate = float(y[part].sum() / max(n[part].sum(), 1.0))
        z = y - rate * n
        variance = float((z[part] ** 2).sum() / max(part.sum(), 1))
        # whole numbers up to 2**24 are exact in single precision
        wide = np.ascontiguousarray(x.T, np.float32)
        thin = np.count_nonzero(wide) < _THIN * wide.size
        happened = sparse.csr_array(wide) if thin else wide
        return cls(happened, np.stack([z * z, z * n, n * n, n]).astype(np.float32), rate, variance)

    def rates(self, table: _Table, member: Singles) -> tuple[Floats, Floats]:
        """Rates of the groups, (G, W, deals), and their squared standard errors, (G, deals)."""
        m, shape = table.clusters, (-1, *member.shape[1:])
        flat = member.reshape(len(member), -1)
        x = np.asarray(self.happened @ flat, np.float64).reshape(shape).transpose(1, 0, 2)
        zz, zn, nn, n = np.asarray(self.second @ flat, np.float64).reshape(shape)
        there = np.where(n > 0, n, np.nan)
        rate = x / there[:, np.newaxis]
        off = rate.mean(axis=1) - self.rate
        squares = np.maximum(zz - 2 * off * zn + off**2 * nn, 0.0) + _BORROWED * self.variance
        return rate, m / (m + _BORROWED) * squares / there**2


_MEMBERS_AT_ONCE = 2_000_000  # groups of clusters in some of the deals
_MEMBERS_KEPT = 16_000_000  # those in all deals, kept for all labels, 64 MB
_BORROWED = 10.0  # clusters' worth of everybody's variance in that of a group
_THIN = 0.1  # share of entries above which a dense table is faster
_TIE = 1e-5  # standard errors summed in another order, in single precision, differ by less


def _joint(
    table: _Table,
    events: Iterable[npt.ArrayLike],
    margins: Floats,
    asked: tuple[int, int],
    deals: DealtCodes,
    level: float,
) -> JointTest:
    """The test, label after label: of each deal only the largest so far is kept."""
    null, labels = _Largest(table.dealt.shape[1]), 0
    gaps, observed, scale = np.full(1, np.nan), np.full(3, np.nan), np.nan
    for margin, given in zip(_endless(margins), events, strict=False):
        label = _Label.of(given, table)
        if labels == asked[0]:
            seen = label.rates(table, table.members(table.codes[:, np.newaxis]))
            one, error = _between(*seen, table.pairs[asked[1]])
            gaps, scale = one[:, 0], float(error[0])
            observed = _curve(one, error, margin)[:, 0]
        for at, member in table.blocks():
            null.add(at, *label.rates(table, member), table.pairs, margin)
        labels += 1
    reason = deals.reason if np.isfinite(gaps).all() else "a group has no pictures"
    candidates = labels * len(table.pairs)
    curve, sizes = null.curve.T * scale, null.sizes
    if reason or not len(sizes[0]):
        curve, sizes = np.full((1, gaps.size), np.nan), np.full((3, 1), np.nan)
    if candidates > 1:  # the higher group is named first, in every deal as in the choice
        curve = curve * np.where(np.median(curve, axis=1, keepdims=True) < 0, -1, 1)
    drawn = not reason and not deals.enumerated
    median, agreeing, large = _against_null(observed, sizes, drawn, level)
    tails = (1 - level) / 2, (1 + level) / 2
    band = np.quantile(np.sort(curve, axis=1), tails, axis=0)
    sign = int(np.sign((gaps > 0).sum() - (gaps < 0).sum()))
    return JointTest(
        gaps,
        median,
        agreeing,
        sign,
        large,
        band[0],
        band[1],
        0 if reason else table.dealt.shape[1],
        deals.enumerated,
        deals.movable,
        candidates,
        reason,
    )


def _endless(margins: Floats) -> Iterator[float]:
    """One margin a label; a single one for all."""
    return itertools.cycle(margins.tolist()) if margins.size == 1 else iter(margins.tolist())


class _Largest:
    """The largest of three numbers in every deal, and the curve with the largest median.

    ``sizes`` (3, deals); ``curve`` (W, deals), in its own standard errors.
    """

    def __init__(self, deals: int) -> None:
        """Nothing yet: every number is larger."""
        self.sizes = np.full((3, deals), -np.inf)
        self.curve = np.zeros((1, deals))

    def add(
        self, at: slice, rates: Floats, squares: Floats, pairs: Integers, margin: float
    ) -> None:
        """Candidates of one label in some of the deals; see ``_Label.rates``."""
        if len(self.curve) != rates.shape[1]:
            self.curve = np.zeros((rates.shape[1], self.curve.shape[1]))
        sizes, kept = self.sizes[:, at], self.curve[:, at]
        for some in blocks(len(pairs), rates[0].size):
            gaps, error = _between(rates, squares, pairs[some].T)
            numbers = np.nan_to_num(np.abs(_curve(gaps, error, margin)))
            first = numbers[0].argmax(axis=0)
            larger = np.flatnonzero(numbers[0].max(axis=0) > sizes[0])
            best = first[larger]
            kept[:, larger] = _over(gaps[best, :, larger].T, error[best, larger])
            np.maximum(sizes, numbers.max(axis=1), out=sizes)


def _between(rates: Floats, squares: Floats, pair: Integers) -> tuple[Floats, Floats]:
    """Gaps of two groups, (..., W, deals), and their standard error, (..., deals).

    ``pair``: one group and the other, or those of several pairs, (2, P).
    """
    one, other = pair
    return rates[one] - rates[other], np.sqrt(squares[one] + squares[other])


def _over(gaps: Floats, error: Floats) -> Floats:
    """Gaps in standard errors; 0 where nothing varies."""
    return np.divide(gaps, error, out=np.zeros(gaps.shape), where=error > 0)


def _curve(gaps: Floats, error: Floats, margin: float) -> Floats:
    """Median over error (sign kept), share of the more frequent sign and above the margin.

    ``gaps`` (..., W, deals), ``error`` (..., deals); (3, ..., deals), nan where a group is empty.
    """
    wordings = gaps.shape[-2]
    half = wordings // 2
    up, down = (np.count_nonzero(side, axis=-2) for side in (gaps > 0, gaps < 0))
    large = np.count_nonzero(np.abs(gaps) > margin, axis=-2)
    middle = np.partition(gaps, [max(half - 1, 0), half], axis=-2)
    median = middle[..., half, :]
    if wordings % 2 == 0:
        median = (middle[..., half - 1, :] + median) / 2
    numbers = np.stack([_over(median, error), np.maximum(up, down) / wordings, large / wordings])
    return np.where(np.isnan(error), np.nan, numbers)


def _against_null(
    observed: Floats, null: Floats, drawn: bool, level: float
) -> tuple[CurveStatistic, ...]:
    """Three numbers, (3,), beside those of the deals, (3, deals)."""
    seen = np.abs(observed)
    # drawn deals have not seen the largest median there is; a share cannot be above 1
    largest = np.array([np.inf, 1.0, 1.0]) if drawn else null.max(axis=1)
    added, deals = int(drawn), null.shape[1]
    known = ~np.isnan(null).any(axis=1) & ~np.isnan(seen)
    counts = [(null >= x[:, np.newaxis] * (1 - _TIE)).sum(axis=1) for x in (seen, largest)]
    p, smallest = (np.where(known, (c + added) / (deals + added), np.nan) for c in counts)
    high = np.quantile(null, level, axis=1, method="higher")
    columns = zip(observed, null.mean(axis=1), high, p, smallest, strict=True)
    return tuple(CurveStatistic(*(float(v) for v in row)) for row in columns)

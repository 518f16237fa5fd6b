"""Verification from embeddings: do two pictures show the same person, and for whom does it fail?

A pair is *mated* if both pictures show one subject; it *matches* if its similarity is at or above a
threshold. FMR is the share of non-mated pairs that match, FNMR the share of mated pairs that do
not. A few pictures make many pairs, but pairs that share a person are not independent: whoever is
like one stranger may be like many. So everything is counted by subject, and every interval allows
for both subjects of a pair.

Pairs are made in tiles of whole subjects, whose counts add up. No more than one tile and one number
a subject, group and threshold is held at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Flags, Floats, Integers, Singles
from audit.core.errors import InputError
from audit.core.rows import Array
from audit.stats.clustered import Sample
from audit.stats.faces import SIDE, Faces, Tile, runs_of, sizes_of, tiles
from audit.stats.resampling import cluster_weights

Places = npt.NDArray[np.int32]
Texts = npt.NDArray[np.str_]

BINS: Final = 4000
"""Bins of a histogram of similarities, from -1 to 1: 0.0005 each. Thresholds are their edges; at
the last, 1, nothing matches."""


RULE: Final = 3.0
"""With no event among m independent comparisons a rate of ``3/m`` still has a chance of 5 %."""

_SUBJECTS_AT_ONCE = 1024  # of whom bootstrap weights are held, 8 MB at 2,000 replicates


# ---- counts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Impostors:
    """Non-mated pairs of S subjects in G groups, counted at T thresholds; ``a + b`` merges.

    ``matches`` (S, G, T) and ``pairs`` (S, G): of each subject with those of each group.
    ``matches_squared``, ``matches_pairs`` (G, G, T) and ``pairs_squared`` (G, G): sums over pairs
    of subjects of the squares and products of matches and pairs. ``histogram`` (G, G, BINS): of
    similarities. Groups g <= h only in the last four; 0 below.
    """

    ids: tuple[object, ...]
    group: Integers
    thresholds: Floats
    matches: Integers
    pairs: Integers
    matches_squared: Integers
    matches_pairs: Integers
    pairs_squared: Integers
    histogram: Integers

    def __add__(self, other: Impostors) -> Impostors:
        """Counts of both; all pairs of pictures of two subjects must be on one side.

        Raises:
            ValueError: Other subjects or thresholds.
        """
        return _added(self, other)

    @property
    def cells(self) -> tuple[Integers, Integers]:
        """The two groups of each of C cells, the first at most the second: (C,) each."""
        return np.triu_indices(self.pairs.shape[1])

    @property
    def within(self) -> Flags:
        """Which cells are of one group, (C,)."""
        return np.asarray(np.equal(*self.cells))

    @property
    def pooled(self) -> Integers:
        """Histogram of all pairs, (BINS,)."""
        return np.asarray(self.histogram.sum(axis=(0, 1)))

    def matrix(self, values: npt.ArrayLike) -> Floats:
        """Values of cells (..., C) as a symmetric table (..., G, G): who is taken for whom."""
        given, (one, other) = np.asarray(values, np.float64), self.cells
        table = np.full((*given.shape[:-1], *self.histogram.shape[:2]), np.nan)
        table[..., one, other] = table[..., other, one] = given
        return table

    def sample(self, seed: int = 0, resamples: int = 2000) -> Sample:
        """False matches as a sample of T questions in C cells, for intervals and comparisons.

        Formula: with x_ij the matches among the n_ij pairs of subjects i and j, p the rate of the
        cell, ``d_ij = x_ij - p n_ij`` and ``D_i`` the sum of d_ij over j, a bootstrap in which the
        pair has weight ``w_i w_j`` moves the rate by ``sum (w_i - 1) D_i`` and a second-order term.
        Its variance is ``sum D² + sum d²``, whereas pairs that depend on each other only through a
        common subject have ``V = sum D² - sum d²``: product weights count what is a pair's own
        three times (Owen's pigeonhole bootstrap). So the first-order term is taken and scaled to V,
        or to ``sum d²`` if that is more, as it is for pairs without any dependence. What is needed
        is a sum by subject. ``copies``: what all pairs are worth if each subject were like all
        others or like none, ``2 N² / sum n_i²`` within a group (S/2 for equal numbers of pictures)
        and ``N² / sum n_i²`` of the worse side between groups (the number of subjects there). That
        is how many pairs can be made without using a subject twice.
        Range: see ``Sample``. Does not show: that subjects are related; twins and siblings count as
        strangers, and match.

        Args:
            seed: Of the bootstrap.
            resamples: Replicates; 0 for none.

        Source:
            Fafchamps, Gubert (2007), Journal of Development Economics 83, 326-350, and Aronow,
            Samii, Assenova (2015), Political Analysis 23, 564-577 (variance of dyads); Owen (2007),
            Annals of Applied Statistics 1, 386-411.
        """
        one, other = self.cells
        halved = np.where(one == other, 2, 1)
        n = _by_group(self.pairs, self)[one, other] // halved
        events = (_by_group(self.matches, self)[one, other] // halved[:, np.newaxis]).T
        rate = self.matrix(events / np.where(n > 0, n, np.nan))
        copies, blocks, subjects = self._worth(n)
        deviations = None
        if resamples:
            deviations, first = self._deviations(np.nan_to_num(rate), seed, resamples)
            own = self._own(np.nan_to_num(rate))[:, one, other]
            wanted = np.maximum(first - own, own)
            scale = np.sqrt(wanted / np.where(first > 0, first, np.inf)) / np.maximum(n, 1)
            deviations *= scale[:, :, np.newaxis].astype(np.float32)
        touch = (one[:, np.newaxis] == one) | (one[:, np.newaxis] == other)
        tiled = (np.tile(v, (len(events), 1)) for v in (n, subjects, copies, blocks))
        n_all, subjects_all, copies_all, blocks_all = tiled
        shared = np.asarray(touch | touch.T | (other[:, np.newaxis] == other))
        return Sample(n_all, events, subjects_all, copies_all, blocks_all, deviations, shared)

    def _worth(self, n: Integers) -> tuple[Floats, Floats, Integers]:
        """Copies, blocks and subjects of each cell, of its worse side."""
        one, other = self.cells
        squares, fourths = (_by_group(self.pairs.astype(np.float64) ** k, self) for k in (2, 4))
        there = _by_group((self.pairs > 0).astype(np.int64), self)
        turned = squares[other, one] > squares[one, other]
        g, h = np.where(turned, other, one), np.where(turned, one, other)
        square = np.maximum(squares[g, h], 1)
        copies = np.where(one == other, 2, 1) * n.astype(np.float64) ** 2 / square
        return copies, square**2 / np.maximum(fourths[g, h], 1) * (n > 0), there[g, h]

    def _own(self, rate: Floats) -> Floats:
        """Sum over pairs of subjects of d², (T, G, G)."""
        xx, xn = (np.moveaxis(v, -1, 0) for v in (self.matches_squared, self.matches_pairs))
        return np.asarray(np.maximum(xx - 2 * rate * xn + rate**2 * self.pairs_squared, 0.0))

    def _deviations(self, rate: Floats, seed: int, resamples: int) -> tuple[Singles, Floats]:
        """Sum of (w - 1) D over subjects, (T, C, B), and of D², (T, C)."""
        groups, t = self.pairs.shape[1], self.thresholds.size
        cell = self.matrix(np.arange(self.within.size)).astype(np.int64)
        moved = np.zeros((t, self.within.size, resamples), np.float32)
        squares = np.zeros(moved.shape[:2])
        for rows in _blocks(len(self.ids)):
            weight = cluster_weights(seed, self.ids[rows], resamples).astype(np.float32) - 1
            for g in np.unique(self.group[rows]):
                at = np.flatnonzero(self.group[rows] == g)
                x, n = self.matches[rows][at], self.pairs[rows][at]
                d = np.moveaxis(x, -1, 0) - rate[:, np.newaxis, g] * n
                block = d.transpose(0, 2, 1).reshape(t * groups, -1).astype(np.float32)
                moved[:, cell[g]] += (block @ weight[at]).reshape(t, groups, -1)
                squares[:, cell[g]] += (d**2).sum(axis=1)
        return moved, squares


@dataclass(frozen=True)
class Mated:
    """Mated pairs of S subjects, counted at T thresholds; ``a + b`` merges.

    ``misses`` (S, T): pairs that do not match; ``pairs`` and ``one_sitting`` (S,): all, and those
    whose pictures are of one sitting; ``histogram`` (G, BINS): of similarities.
    ``sittings_known``: whether sittings were given.
    """

    ids: tuple[object, ...]
    group: Integers
    thresholds: Floats
    misses: Integers
    pairs: Integers
    one_sitting: Integers
    histogram: Integers
    sittings_known: bool

    def __add__(self, other: Mated) -> Mated:
        """Counts of both; all pairs of a subject must be on one side.

        Raises:
            ValueError: Other subjects or thresholds.
        """
        return _added(self, other)

    def sample(self, seed: int = 0, resamples: int = 2000) -> Sample:
        """False non-matches as a sample of T questions in G groups; all pairs of a subject move.

        Args:
            seed: Of the bootstrap; the same subject has the weights it has among impostors.
            resamples: Replicates; 0 for none.
        """
        groups, t = len(self.histogram), self.thresholds.size
        member = self.group[:, np.newaxis] == np.arange(groups)
        sizes = [(self.pairs.astype(np.float64) ** k) @ member for k in (1, 2, 4)]
        n, events = sizes[0].astype(np.int64), self.misses.T @ member.astype(np.int64)
        subjects = (self.pairs > 0).astype(np.int64) @ member
        off = self.misses - (events / np.maximum(n, 1)).T[self.group] * self.pairs[:, np.newaxis]
        moved = np.zeros((t, groups, resamples), np.float32)
        for rows in _blocks(len(self.ids)):
            weight = cluster_weights(seed, self.ids[rows], resamples).astype(np.float32) - 1
            parts = off[rows].T[:, np.newaxis] * member[rows].T
            moved += parts.astype(np.float32) @ weight
        moved /= np.maximum(n, 1)[:, np.newaxis].astype(np.float32)
        square = np.maximum(sizes[1], 1)
        worth = n**2 / square, np.where(n > 0, square**2 / np.maximum(sizes[2], 1), 0.0)
        copies, blocks = (np.tile(v, (t, 1)) for v in worth)
        n_all, subjects_all = (np.tile(v, (t, 1)) for v in (n, subjects))
        shared = np.eye(groups, dtype=bool)
        deviations = moved if resamples else None
        return Sample(n_all, events, subjects_all, copies, blocks, deviations, shared)


def impostors(
    people: Faces, thresholds: Sequence[float] = (), among: Sequence[Tile] | None = None
) -> Impostors:
    """Count non-mated pairs, all of them or those of some tiles.

    Memory: one tile at a time, about 40 MB at the usual side, and 8 bytes a subject, group and
    threshold. Time grows with the pairs: those of 20,000 pictures take 8 s on one core.

    Args:
        people: Whom to compare.
        thresholds: Where a pair matches; each is moved up to the next edge of a bin.
        among: Which pairs, of ``tiles`` or ``sampled_tiles``; all if None. Counts of separate tiles
            add up to those of the whole.
    """
    total = _no_impostors(people, thresholds)
    for tile in tiles(people) if among is None else among:
        _count_tile(total, people, tile)
    return total


def mated(people: Faces, thresholds: Sequence[float] = (), apart: bool = False) -> Mated:
    """Count mated pairs.

    Args:
        people: Whose pictures to compare.
        thresholds: Where a pair matches; each is moved up to the next edge of a bin.
        apart: Only pairs of two sittings.

    Raises:
        InputError: ``apart`` without sittings.
    """
    if apart and people.sitting is None:
        got = "mated: apart, but the pictures have no sittings"
        raise InputError(got, "Give sittings, or take all mated pairs")
    edges, first = _edges(thresholds)
    subjects = len(people.ids)
    misses, pairs = np.zeros((subjects, edges.size), np.int64), np.zeros(subjects, np.int64)
    together, histogram = pairs.copy(), np.zeros((people.groups, BINS), np.int64)
    for run in itertools.chain(*runs_of(people, SIDE // 4)):
        subject, place, same = _mated_of(people, run, apart)
        pairs += np.bincount(subject, minlength=subjects)
        together += np.bincount(subject[same], minlength=subjects)
        histogram[people.group[run.start]] += np.bincount(place, minlength=BINS)
        for t, at in enumerate(first):
            misses[:, t] += np.bincount(subject[place < at], minlength=subjects)
    known = people.sitting is not None
    return Mated(people.ids, people.group, edges, misses, pairs, together, histogram, known)


def _mated_of(people: Faces, run: slice, apart: bool) -> tuple[Integers, Places, Flags]:
    """Subject and bin of each mated pair of some subjects, and whether it is of one sitting."""
    at = slice(people.starts[run.start], people.starts[run.stop])
    subject = people.subject[at]
    same = np.triu(subject[:, np.newaxis] == subject, 1)
    i, j = np.nonzero(same)
    sitting = None if people.sitting is None else people.sitting[at]
    together = np.zeros(i.size, bool) if sitting is None else sitting[i] == sitting[j]
    place = _binned(people.vectors[at] @ people.vectors[at].T)[i, j]
    kept = ~together if apart else np.ones(i.size, bool)
    return subject[i][kept], place[kept], together[kept]


def _no_impostors(people: Faces, thresholds: Sequence[float]) -> Impostors:
    edges, _ = _edges(thresholds)
    s, g, t = len(people.ids), people.groups, edges.size
    shapes = ((s, g, t), (s, g), (g, g, t), (g, g, t), (g, g), (g, g, BINS))
    return Impostors(people.ids, people.group, edges, *(np.zeros(x, np.int64) for x in shapes))


def _count_tile(total: Impostors, people: Faces, tile: Tile) -> None:
    rows, columns = tile.rows, tile.columns
    left, right = (slice(people.starts[s.start], people.starts[s.stop]) for s in (rows, columns))
    place = _binned(people.vectors[left] @ people.vectors[right].T)
    counts = np.diff(people.starts)
    i, j = (np.repeat(np.arange(s.stop - s.start), counts[s]) for s in (rows, columns))
    if rows == columns:
        place = np.where(i[:, np.newaxis] < j, place, -1)
    size = sizes_of(people, tile)
    g, h = int(people.group[rows.start]), int(people.group[columns.start])
    total.histogram[g, h] += np.bincount(place.reshape(-1) + 1, minlength=BINS + 1)[1:]
    _, first = _edges(total.thresholds)
    r, c = np.nonzero(place >= first.min(initial=BINS))
    code, high = i[r] * size.shape[1] + j[c], place[r, c]
    matches = [
        np.bincount(code[high >= at], minlength=size.size).reshape(size.shape) for at in first
    ]
    for along, run, other in ((1, rows, h), (0, columns, g)):
        total.pairs[run, other] += size.sum(axis=along)
        for t, x in enumerate(matches):
            total.matches[run, other, t] += x.sum(axis=along)
    _add_squares(total, (g, h), size, matches)


def _add_squares(
    total: Impostors, cell: tuple[int, int], size: Integers, matches: Sequence[Integers]
) -> None:
    total.pairs_squared[cell] += (size**2).sum()
    for t, x in enumerate(matches):
        total.matches_squared[cell][t] += (x**2).sum()
        total.matches_pairs[cell][t] += (x * size).sum()


def _binned(similarity: Singles) -> Places:
    """Bin of each similarity; rounding beyond -1 and 1 falls into the outermost."""
    place = ((similarity + np.float32(1)) * np.float32(BINS / 2)).astype(np.int32)
    return np.asarray(np.clip(place, 0, BINS - 1))


def _edges(thresholds: npt.ArrayLike) -> tuple[Floats, Integers]:
    """Each threshold moved up to an edge, and the first bin that matches."""
    given = np.asarray(thresholds, np.float64).reshape(-1)
    if not (np.abs(given) <= 1).all():
        got = f"thresholds: {', '.join(f'{t:g}' for t in given)}"
        raise InputError(got, "Similarities of unit vectors are from -1 to 1")
    # an edge itself stays where it is, whatever its last digit
    first = np.ceil((given + 1) * BINS / 2 - 1e-6).astype(np.int64)
    return first * 2 / BINS - 1, first


def _by_group(values: Array, counts: Impostors) -> Array:
    """Sums (G, G, ...) over the subjects of each group of values (S, G, ...)."""
    member = np.arange(values.shape[1])[:, np.newaxis] == counts.group
    return np.tensordot(member.astype(values.dtype), values, 1)


def _blocks(total: int) -> list[slice]:
    return [slice(start, start + _SUBJECTS_AT_ONCE) for start in range(0, total, _SUBJECTS_AT_ONCE)]


C = TypeVar("C", Impostors, Mated)


def _added(one: C, other: C) -> C:
    if one.ids != other.ids or not np.array_equal(one.thresholds, other.thresholds):
        raise ValueError("only counts of the same subjects and thresholds can be merged")
    kept = {"ids", "group", "thresholds", "sittings_known"}
    names = [field.name for field in fields(one) if field.name not in kept]
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in names})

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

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from audit.core.errors import InputError, sentence
from audit.core.rows import Array
from audit.core.tables import OK, TOO_FEW, UNDEFINED
from audit.stats.clustered import Floats, Integers, Sample, effective_n, rate_interval
from audit.stats.resampling import cluster_weights

Flags = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.int32]
Texts = npt.NDArray[np.str_]

BINS: Final = 4000
"""Bins of a histogram of similarities, from -1 to 1: 0.0005 each. Thresholds are their edges; at
the last, 1, nothing matches."""

SIDE: Final = 1024
"""Pictures on a side of a tile, more only if one subject has more; about 40 MB at work."""

RULE: Final = 3.0
"""With no event among m independent comparisons a rate of ``3/m`` still has a chance of 5 %."""

_SUBJECTS_AT_ONCE = 1024  # of whom bootstrap weights are held, 8 MB at 2,000 replicates
_SAMPLED_SIDE = 64  # pictures on a side of a sampled tile, so that many subjects meet
_UNIT = 1e-3  # how far from 1 the length of a row may be


# ---- pictures and pairs ------------------------------------------------------------------------


@dataclass(frozen=True)
class Faces:
    """Pictures sorted by group, then subject, so that the pairs of two groups are a rectangle.

    The order of subjects within a group is random, by a digest of their ids.

    ``vectors`` (n, d); ``starts`` (S + 1,), where each subject's pictures begin; ``group`` (S,), of
    each subject, from 0 to ``groups`` - 1; ``ids``: the subjects; ``sitting`` (n,) or None.
    """

    vectors: Singles
    starts: Integers
    group: Integers
    groups: int
    ids: tuple[object, ...]
    sitting: Integers | None

    @property
    def subject(self) -> Integers:
        """Number of the subject of each picture, (n,)."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.starts))

    def only(self, chosen: npt.ArrayLike) -> Faces:
        """The pictures of some subjects; ``chosen`` (S,) in the order of ``ids``."""
        kept = np.asarray(chosen, dtype=bool)
        pictures = kept[self.subject]
        return replace(
            self,
            vectors=self.vectors[pictures],
            starts=np.append(0, np.cumsum(np.diff(self.starts)[kept])),
            group=self.group[kept],
            ids=tuple(name for name, keep in zip(self.ids, kept, strict=True) if keep),
            sitting=None if self.sitting is None else self.sitting[pictures],
        )


@dataclass(frozen=True)
class Tile:
    """All pairs between two runs of subjects, each of one group; the same run twice: each once."""

    rows: slice
    columns: slice


def faces(
    vectors: npt.ArrayLike,
    subjects: npt.ArrayLike,
    codes: npt.ArrayLike,
    groups: int,
    sittings: npt.ArrayLike | None = None,
) -> Faces:
    """Pictures with their subjects, groups and sittings, ready to be compared.

    Args:
        vectors: Embeddings of unit length, (n, d).
        subjects: Whom each picture shows, (n,): any ids.
        codes: Group of each picture, from 0; -1 where unknown, and the picture is left out.
        groups: Number of groups.
        sittings: Occasion at which each picture was taken, (n,): any ids, told apart within a
            subject; None if not known.

    Raises:
        InputError: Lengths that differ, a row that is not of unit length, a code out of range, a
            subject in two groups.
    """
    rows, names, code = np.asarray(vectors, np.float32), np.asarray(subjects), np.asarray(codes)
    _check_pictures(rows, names, code, groups)
    known = np.flatnonzero(code >= 0)
    ids, subject = np.unique(names[known], return_inverse=True)
    group = np.full(ids.size, -1)
    group[subject] = code[known]
    torn = group[subject] != code[known]
    if torn.any():
        who = ids[subject[torn][0]]
        got = f"faces: subject '{who}' has pictures in two groups"
        raise InputError(sentence(got, "Give each subject one group, or -1 to leave a picture out"))
    # a random order of subjects, for samples; two of the numbers, so that the order given is none
    place = np.argsort(np.argsort(_drawn(ids.tolist(), "order")))[subject]
    order = np.lexsort((rows[known, -1], rows[known, 0], place, code[known]))
    seen, sizes = _runs_of(subject[order])
    return Faces(
        rows[known[order]],
        np.append(0, np.cumsum(sizes)),
        group[seen],
        groups,
        tuple(ids[seen].tolist()),
        None if sittings is None else _coded(sittings, len(rows))[known[order]],
    )


def split_subjects(ids: Sequence[object], seed: int = 0, share: float = 0.5) -> Flags:
    """Which subjects fix the threshold; the others are measured at it.

    Formula: the BLAKE2b digest of seed and id, as a number from 0 to 1, is below ``share``; so a
    new subject moves no other, and the order is irrelevant.

    Args:
        ids: The subjects.
        seed: The suite's seed.
        share: About how many fix the threshold.

    Raises:
        InputError: A share outside (0, 1).
    """
    if not 0 < share < 1:
        raise InputError(sentence(f"split_subjects: a share of {share:g}", "Give 0 to 1, as 0.5"))
    return np.asarray(_drawn(ids, f"threshold\x1f{seed}") < share)


def _drawn(ids: Sequence[object], purpose: str) -> Floats:
    """A number from 0 to 1 of each id, whatever the others are."""
    texts = (f"{purpose}\x1f{name}".encode() for name in ids)
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(digest, "little") / 2**64 for digest in digests], np.float64)


def tiles(people: Faces, side: int = SIDE) -> list[Tile]:
    """All non-mated pairs, in tiles of whole subjects; every pair is in exactly one.

    Args:
        people: Whom to compare.
        side: Pictures on a side, at most, unless one subject has more.
    """
    runs = [run for group in _runs(people, side) for run in group]
    return [Tile(rows, columns) for i, rows in enumerate(runs) for columns in runs[i:]]


def sampled_tiles(people: Faces, most: int, seed: int = 0) -> list[Tile]:
    """Some of the non-mated pairs: small tiles, with at most so many pairs in each cell of groups.

    Each run of subjects meets the run so many places further on, for places drawn in a random
    order, so that all subjects of a cell have nearly equally many pairs. Subjects stand in a random
    order already. A cell with no more pairs is taken whole.

    Args:
        people: Whom to compare.
        most: Pairs a cell, more only if the first tile has more.
        seed: Of the drawing.

    Raises:
        InputError: Fewer than one pair a cell.
    """
    if most < 1:
        raise InputError(sentence(f"sampled_tiles: at most {most} pairs", "Give 1 or more"))
    largest = int(np.bincount(people.group, np.diff(people.starts), 1).max())
    side = int(np.clip(most // max(largest, 1), 1, _SAMPLED_SIDE))
    by_group = _runs(people, side)
    chosen: list[Tile] = []
    for g, h in itertools.combinations_with_replacement(range(people.groups), 2):
        random = np.random.default_rng([seed, g, h])
        chosen += _at_most(people, most, _meetings(by_group[g], by_group[h], g == h, random))
    return chosen


def _meetings(
    one: list[slice], other: list[slice], same: bool, random: np.random.Generator
) -> Iterator[Tile]:
    """All tiles of a cell, those of one distance between runs after each other."""
    for distance in random.permutation(len(other) // 2 + 1 if same else len(other)).tolist():
        # half way round a circle every two runs meet twice
        twice = same and distance > 0 and 2 * distance == len(other)
        for k in range(len(one) // 2 if twice else len(one)):
            first, second = one[k], other[(k + distance) % len(other)]
            yield Tile(*sorted((first, second), key=lambda run: run.start))


def _at_most(people: Faces, most: int, found: Iterator[Tile]) -> Iterator[Tile]:
    """The tiles before the first that would make too many pairs; one with pairs in any case."""
    total = 0
    for tile in found:
        pairs = int(_sizes(people, tile).sum())
        if total and total + pairs > most:
            return
        total += pairs
        yield tile


def _runs(people: Faces, side: int) -> list[list[slice]]:
    """Of each group, runs of subjects with at most ``side`` pictures, in their order."""
    runs: list[list[slice]] = [[] for _ in range(people.groups)]
    first = 0
    for last in range(1, len(people.ids) + 1):
        if (
            last == len(people.ids)
            or people.group[last] != people.group[first]
            or people.starts[last + 1] - people.starts[first] > side
        ):
            runs[people.group[first]].append(slice(first, last))
            first = last
    return runs


def _sizes(people: Faces, tile: Tile) -> Integers:
    """Pairs of pictures of every two subjects of a tile, each two once."""
    counts = np.diff(people.starts)
    size = np.outer(counts[tile.rows], counts[tile.columns])
    return np.triu(size, 1) if tile.rows == tile.columns else size


def _runs_of(sorted_codes: Integers) -> tuple[Integers, Integers]:
    """The distinct codes in their order, and how often each comes in a row."""
    at = np.flatnonzero(np.diff(sorted_codes, prepend=-1))
    return sorted_codes[at], np.diff(np.append(at, sorted_codes.size))


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
        raise InputError(sentence(got, "Give sittings, or take all mated pairs"))
    edges, first = _edges(thresholds)
    subjects = len(people.ids)
    misses, pairs = np.zeros((subjects, edges.size), np.int64), np.zeros(subjects, np.int64)
    together, histogram = pairs.copy(), np.zeros((people.groups, BINS), np.int64)
    for run in itertools.chain(*_runs(people, SIDE // 4)):
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
    size = _sizes(people, tile)
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
        raise InputError(sentence(got, "Similarities of unit vectors are from -1 to 1"))
    # an edge itself stays where it is, whatever its last digit
    first = np.ceil((given + 1) * BINS / 2 - 1e-6).astype(np.int64)
    return first * 2 / BINS - 1, first


def _by_group(values: Array, counts: Impostors) -> Array:
    """Sums (G, G, ...) over the subjects of each group of values (S, G, ...)."""
    member = np.arange(values.shape[1])[:, np.newaxis] == counts.group
    return np.tensordot(member.astype(values.dtype), values, 1)


def _blocks(total: int) -> list[slice]:
    return [slice(start, start + _SUBJECTS_AT_ONCE) for start in range(0, total, _SUBJECTS_AT_ONCE)]


def _coded(values: npt.ArrayLike, length: int) -> Integers:
    given = np.asarray(values)
    if given.shape != (length,):
        got = f"faces: sittings of shape {given.shape}, {length} pictures"
        raise InputError(sentence(got, "Give one sitting a picture"))
    return np.unique(given, return_inverse=True)[1]


def _check_pictures(
    rows: Singles, names: npt.NDArray[np.generic], code: Integers, groups: int
) -> None:
    if rows.ndim != 2 or not len(rows) == names.size == code.size or names.ndim != 1:
        got = f"faces: vectors {rows.shape}, subjects {names.shape}, codes {code.shape}"
        raise InputError(sentence(got, "Give one row, one subject, one group a picture"))
    if code.size and not (code.min() >= -1 and code.max() < groups):
        got = f"faces: group codes from {code.min()} to {code.max()}"
        raise InputError(sentence(got, f"They must be from -1 (unknown) to {groups - 1}"))
    off = ~(np.abs(np.linalg.norm(rows, axis=1) - 1) <= _UNIT)
    if off.any():
        got = f"faces: {off.sum()} of {len(rows)} rows are not of unit length"
        raise InputError(sentence(got, "Divide each embedding by its length"))


C = TypeVar("C", Impostors, Mated)


def _added(one: C, other: C) -> C:
    if one.ids != other.ids or not np.array_equal(one.thresholds, other.thresholds):
        raise ValueError("only counts of the same subjects and thresholds can be merged")
    kept = {"ids", "group", "thresholds", "sittings_known"}
    names = [field.name for field in fields(one) if field.name not in kept]
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in names})


# ---- thresholds and rates ----------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold:
    """A threshold and the FMR it had where it was fixed; nan with a reason where there is none.

    ``reason`` may also say of a threshold that its FMR is not established.
    """

    value: float
    fmr: float
    reason: str = ""


@dataclass(frozen=True)
class Curve:
    """Both error rates at every edge of a bin, (BINS + 1,) each; nan without pairs."""

    thresholds: Floats
    fmr: Floats
    fnmr: Floats


@dataclass(frozen=True)
class ErrorRates:
    """FMR or FNMR at T thresholds in C cells or groups; arrays (T, C), bounds nan where unknown.

    ``high_any``: the upper bound if each subject is like all others or like none, so that one whom
    nobody has seen yet may match everyone. ``events`` among ``pairs`` counted; ``subjects``: of the
    side with fewer to learn from; ``independent``: pairs that can be made without using a subject
    twice; ``worth``: to how many independent pairs the spread over subjects comes. ``note``: what a
    reader of a cell must know though its rate is ok, (C,).
    """

    value: Floats
    low: Floats
    high: Floats
    high_any: Floats
    events: Integers
    pairs: Integers
    subjects: Integers
    independent: Floats
    worth: Floats
    status: Texts
    reason: Texts
    note: tuple[str, ...]


def threshold_at(histogram: npt.ArrayLike, target: float, independent: float = np.inf) -> Threshold:
    """The lowest threshold at which no more than a target share of impostor pairs match.

    Formula: the lowest edge of a bin with ``FMR <= target``. Fix it on other subjects than those
    who are measured: on the same ones the FMR would be the target by construction.
    Range: an edge from -1 to 1; ties keep the FMR below the target. Does not show: the FMR of other
    subjects, cameras or groups.

    Args:
        histogram: Of impostor pairs, (BINS,): all of them (``Impostors.pooled``) or one cell's.
        target: Largest FMR allowed, strictly between 0 and 1.
        independent: How many independent pairs these are worth, for the rule of 3.

    Raises:
        InputError: A histogram of another length, a target outside (0, 1).
    """
    counts = _histogram(histogram)
    if not 0 < target < 1:
        raise InputError(sentence(f"threshold_at: a target FMR of {target:g}", "Give 0 to 1"))
    pairs = int(counts.sum())
    if not pairs:
        return Threshold(np.nan, np.nan, "no pair of two subjects to fix the threshold on")
    above = np.append(np.cumsum(counts[::-1])[::-1], 0)
    at = int(np.argmax(above <= target * pairs))
    reason = ""
    if target * min(independent, pairs) < RULE:
        reason = (
            f"a target FMR of {target:.3g} needs {RULE / target:.0f} independent pairs, and "
            f"{min(independent, pairs):.0f} fix the threshold"
        )
    return Threshold(at * 2 / BINS - 1, float(above[at] / pairs), reason)


def detection_error_tradeoff(impostor: npt.ArrayLike, genuine: npt.ArrayLike) -> Curve:
    """Both error rates at every threshold, for a DET curve.

    Formula: at an edge the FMR is the share of impostor pairs in the bins above it, the FNMR the
    share of mated pairs in the bins below it.
    Range: shares; FMR falls from 1 to 0 and FNMR rises from 0 to 1. Does not show: how sure either
    is; below 3 over the number of independent pairs the curve is noise.

    Args:
        impostor: Histogram of non-mated pairs, (BINS,).
        genuine: Of mated pairs, (BINS,).

    Raises:
        InputError: Histograms of another length.

    Source:
        Martin, Doddington, Kamm, Ordowski, Przybocki (1997), Eurospeech, 1895-1898.
    """
    false, true = _histogram(impostor), _histogram(genuine)
    below = [np.append(0, np.cumsum(h)) / (h.sum() or np.nan) for h in (false, true)]
    return Curve(np.arange(BINS + 1) * 2 / BINS - 1, 1 - below[0], below[1])


def false_match_rates(
    counts: Impostors, level: float = 0.95, seed: int = 0, resamples: int = 2000
) -> ErrorRates:
    """FMR of every cell of two groups with an interval, or why it is not established.

    Formula: matches over pairs, with the interval of ``clustered.rate_interval`` for
    ``Impostors.sample``. ``too_few`` where ``FMR < 3 / m``: m is the number of pairs that can be
    made without using a subject twice, half the subjects within a group and those of the smaller
    one across (fewer where subjects have unequal numbers of pictures). All S (S - 1) / 2 pairs
    would be independent only if subjects did not differ in how easily they are taken for others,
    which a sample without matches cannot show: if one person in a hundred matches everyone, 50
    people most likely have no match at all. m is the number that holds for any dependence.
    Range: 0 to 1, higher is worse for who is taken for another. Coverage at 95 %, simulated with
    one picture a subject, 10 to 200 subjects a group and a true FMR of 0.5 to 40 %, within and
    across groups: at least 92 % for independent pairs, and where normal effects of subjects, on one
    side or both, explain 30 to 80 % of a similarity. Where one subject in twenty matches half of
    all others, at least 84 %; one in a hundred who matches everyone, 59 %, since most samples have
    none: ``high_any`` covered at least 96 %. The value and interval of a ``too_few`` cell are
    kept. Does not show: FMR at another threshold, of twins, or of impostors who try.

    Args:
        counts: Pairs of subjects who did not fix the threshold.
        level: Two-sided level of each interval.
        seed: Of the bootstrap.
        resamples: Replicates.

    Source:
        ISO/IEC 19795-1, and Jovanovic, Levy (1997), American Statistician 51, 137-139 (rule of 3).
    """
    sample = counts.sample(seed, resamples)
    one, other = counts.cells
    rate, n = sample.rate, sample.n
    with np.errstate(divide="ignore"):
        least = np.where(n > 0, RULE / sample.copies, np.nan)
    status = np.where(n == 0, UNDEFINED, np.where(rate < least, TOO_FEW, OK))
    status = np.where((n > 0) & (sample.copies <= 1), TOO_FEW, status)
    reason = np.full(status.shape, "", dtype="<U200")
    for t, c in zip(*np.nonzero(status != OK), strict=True):
        reason[t, c] = _why_no_fmr(sample, int(t), int(c), bool(one[c] == other[c]))
    return _error_rates(sample, level, status, reason, ("",) * one.size)


def false_non_match_rates(
    counts: Mated, level: float = 0.95, seed: int = 0, resamples: int = 2000
) -> ErrorRates:
    """FNMR of every group with an interval, or why there is none.

    Formula: mated pairs below the threshold over all, every pair counting once; the interval of
    ``clustered.rate_interval`` over subjects. Undefined for a group without a mated pair,
    ``too_few`` for one subject, who tells nothing of others. ``note`` says where all mated pairs
    are of one sitting, or sittings are not known: same light, clothes and camera make them match.
    Range: 0 to 1, higher is worse for who is not recognised. Does not show: failure to enrol.

    Args:
        counts: Mated pairs of subjects who did not fix the threshold.
        level: Two-sided level of each interval.
        seed: Of the bootstrap.
        resamples: Replicates.

    Source:
        ISO/IEC 19795-1.
    """
    sample = counts.sample(seed, resamples)
    alone = (sample.n > 0) & (sample.copies <= 1)
    status = np.where(sample.n == 0, UNDEFINED, np.where(alone, TOO_FEW, OK))
    none = "no mated pair: no subject has two pictures that may be compared"
    one = "the mated pairs are of one subject"
    reason = np.where(sample.n == 0, none, np.where(alone, one, "")).astype("<U200")
    return _error_rates(sample, level, status, reason, _sitting_notes(counts))


def _error_rates(
    sample: Sample, level: float, status: Texts, reason: Texts, note: tuple[str, ...]
) -> ErrorRates:
    low, high = rate_interval(sample, level)
    high_any = rate_interval(replace(sample, deviations=None), level)[1]
    counts = sample.events, sample.n, sample.subjects
    worth = np.where(sample.n > 0, effective_n(sample, level), 0.0)
    return ErrorRates(
        sample.rate, low, high, high_any, *counts, sample.copies, worth, status, reason, note
    )


def _why_no_fmr(sample: Sample, t: int, c: int, within: bool) -> str:
    subjects, m = sample.subjects[t, c], sample.copies[t, c]
    if not sample.n[t, c]:
        who = (
            "fewer than two subjects in the group" if within else "no subject in one of the groups"
        )
        return f"no pair of two subjects: {who}"
    if m <= 1:
        return "all pairs share one subject, from whom nothing follows for others"
    return (
        f"an FMR of {sample.rate[t, c]:.3g} is below {RULE:.0f} / {m:.3g} = {RULE / m:.3g}: "
        f"{subjects} subjects make {m:.3g} pairs of which no two share one"
    )


def _sitting_notes(counts: Mated) -> tuple[str, ...]:
    """Of each group, whether its mated pairs are of one sitting."""
    if not counts.sittings_known:
        return ("sittings are not known: mated pairs may be of one sitting",) * len(
            counts.histogram
        )
    member = counts.group == np.arange(len(counts.histogram))[:, np.newaxis]
    pairs, together = member @ counts.pairs, member @ counts.one_sitting
    return tuple(
        "all mated pairs are of one sitting" if n and n == same else "" if not same
        else f"{same} of {n} mated pairs are of one sitting"
        for n, same in zip(pairs, together, strict=True)
    )  # fmt: skip


def _histogram(counts: npt.ArrayLike) -> Integers:
    given = np.asarray(counts, dtype=np.int64)
    if given.shape != (BINS,):
        got = f"histogram of shape {given.shape}"
        raise InputError(sentence(got, f"Give the {BINS} bins of one cell or group"))
    return given

"""Faces by person and group, and the tiles in which pairs of them are compared."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Flags, Floats, Integers, Singles
from audit.core.errors import InputError

SIDE: Final = 1024
"""Pictures on a side of a tile, more only if one subject has more; about 40 MB at work."""
SAMPLED_SIDE = 64  # pictures on a side of a sampled tile, so that many subjects meet
UNIT = 1e-3  # how far from 1 the length of a row may be


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
        raise InputError(got, "Give each subject one group, or -1 to leave a picture out")
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
        raise InputError(f"split_subjects: a share of {share:g}", "Give 0 to 1, as 0.5")
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
    runs = [run for group in runs_of(people, side) for run in group]
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
        raise InputError(f"sampled_tiles: at most {most} pairs", "Give 1 or more")
    largest = int(np.bincount(people.group, np.diff(people.starts), 1).max())
    side = int(np.clip(most // max(largest, 1), 1, SAMPLED_SIDE))
    by_group = runs_of(people, side)
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
        pairs = int(sizes_of(people, tile).sum())
        if total and total + pairs > most:
            return
        total += pairs
        yield tile


def runs_of(people: Faces, side: int) -> list[list[slice]]:
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


def sizes_of(people: Faces, tile: Tile) -> Integers:
    """Pairs of pictures of every two subjects of a tile, each two once."""
    counts = np.diff(people.starts)
    size = np.outer(counts[tile.rows], counts[tile.columns])
    return np.triu(size, 1) if tile.rows == tile.columns else size


def _runs_of(sorted_codes: Integers) -> tuple[Integers, Integers]:
    """The distinct codes in their order, and how often each comes in a row."""
    at = np.flatnonzero(np.diff(sorted_codes, prepend=-1))
    return sorted_codes[at], np.diff(np.append(at, sorted_codes.size))


def _coded(values: npt.ArrayLike, length: int) -> Integers:
    given = np.asarray(values)
    if given.shape != (length,):
        got = f"faces: sittings of shape {given.shape}, {length} pictures"
        raise InputError(got, "Give one sitting a picture")
    return np.unique(given, return_inverse=True)[1]


def _check_pictures(
    rows: Singles, names: npt.NDArray[np.generic], code: Integers, groups: int
) -> None:
    if rows.ndim != 2 or not len(rows) == names.size == code.size or names.ndim != 1:
        got = f"faces: vectors {rows.shape}, subjects {names.shape}, codes {code.shape}"
        raise InputError(got, "Give one row, one subject, one group a picture")
    if code.size and not (code.min() >= -1 and code.max() < groups):
        got = f"faces: group codes from {code.min()} to {code.max()}"
        raise InputError(got, f"They must be from -1 (unknown) to {groups - 1}")
    off = ~(np.abs(np.linalg.norm(rows, axis=1) - 1) <= UNIT)
    if off.any():
        got = f"faces: {off.sum()} of {len(rows)} rows are not of unit length"
        raise InputError(got, "Divide each embedding by its length")

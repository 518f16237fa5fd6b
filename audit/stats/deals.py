"""Deals: what is at the places of a stratum in another order, at random or in every one.

A deal names the place whose cluster comes to each place, so that the places of a group, which
follow each other, hold as many clusters in every deal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Integers

Places = npt.NDArray[np.int32]

_PLACES_AT_ONCE = 500_000  # places dealt at a time over permutations, a few MB
_PLACES_KEPT = 2_000_000  # of all permutations of some strata, 8 MB
_DEALS_AT_ONCE = 1024  # of all there are: one product for many, where each is small


@dataclass(frozen=True)
class Drawn:
    """Blocks of deals, shape (deals, places), ``number`` in all: every one there is, or random."""

    blocks: Iterable[Places]
    number: int
    enumerated: bool

    @property
    def immovable(self) -> bool:
        """Whether there is but one, that which is."""
        return self.enumerated and self.number == 1


def draw(strata: Sequence[Places], codes: Integers, permutations: int, seed: int) -> Drawn:
    """All distinct deals, each once, where they are at most ``permutations``; else so many.

    Args:
        strata: places of each stratum, which swap what is at them.
        codes: group of each place.
        permutations: how many to draw, and the most to go through one by one.
        seed: of the draws.
    """
    total = _number(strata, codes, permutations)
    if total <= permutations:
        return Drawn(_every(strata, codes), total, True)
    return Drawn(_random(strata, permutations, seed), permutations, False)


def _number(strata: Sequence[Places], codes: Integers, enough: int) -> int:
    """How many distinct deals there are, or any larger number than ``enough``."""
    total = 1
    for places in strata:
        left = len(places)
        for count in np.unique(codes[places], return_counts=True)[1]:
            total *= math.comb(left, int(count))
            left -= int(count)
            if total > enough:
                return total
    return total


def _random(strata: Sequence[Places], permutations: int, seed: int) -> Iterable[Places]:
    """Blocks of random deals, shape (deals, places).

    Every task of a run asks for the same draws, which are kept if they are small.
    """
    of = tuple(places.tobytes() for places in strata)
    small = permutations * sum(map(len, strata)) <= _PLACES_KEPT
    return _kept(of, permutations, seed) if small else _shuffled(of, permutations, seed)


@lru_cache(maxsize=16)
def _kept(strata: tuple[bytes, ...], permutations: int, seed: int) -> tuple[Places, ...]:
    return tuple(_shuffled(strata, permutations, seed))


def _shuffled(strata: tuple[bytes, ...], permutations: int, seed: int) -> Iterator[Places]:
    """Blocks of random deals of the places of each stratum."""
    random, of = np.random.default_rng(seed), [np.frombuffer(s, np.int32) for s in strata]
    size = sum(map(len, of))
    step = max(1, _PLACES_AT_ONCE // size)
    for start in range(0, permutations, step):
        deals = np.empty((min(step, permutations - start), size), dtype=np.int32)
        for places in of:
            deals[:, places] = random.permuted(np.tile(places, (len(deals), 1)), axis=1)
        yield deals


def _every(strata: Sequence[Places], codes: Integers) -> Iterator[Places]:
    """All distinct deals, each once, in blocks, shape (deals, places)."""
    choices = [list(_arrangements(codes[places])) for places in strata]
    deals = itertools.product(*choices)
    step = max(1, min(_DEALS_AT_ONCE, _PLACES_AT_ONCE // codes.size))
    while block := list(itertools.islice(deals, step)):
        found = np.empty((len(block), codes.size), dtype=np.int64)
        for places, dealt in zip(strata, zip(*block, strict=True), strict=True):
            found[:, places] = dealt
        yield np.argsort(found, axis=1, kind="stable").astype(np.int32)


def _arrangements(codes: Integers) -> Iterator[list[int]]:
    """All distinct orders of a list, from the sorted one on, each by the next in the dictionary."""
    now = sorted(codes.tolist())
    while True:
        yield now.copy()
        backwards = range(len(now) - 2, -1, -1)
        pivot = next((i for i in backwards if now[i] < now[i + 1]), -1)
        if pivot < 0:
            return
        other = next(i for i in range(len(now) - 1, pivot, -1) if now[i] > now[pivot])
        now[pivot], now[other] = now[other], now[pivot]
        now[pivot + 1 :] = now[:pivot:-1]

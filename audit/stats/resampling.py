"""The cluster bootstrap by weights: replicates that merge over batches, machines and runs.

A replicate gives every cluster (subject, family, video) a weight; a group's count in a replicate is
the weighted sum over its pictures. The weights of a cluster derive from the seed and its id alone,
so tallies of two halves of the data add up to those of the whole, and any two questions asked of
the same pictures are compared on the same replicates.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from audit.errors import InputError, sentence

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Weights = npt.NDArray[np.uint8]

_PER_BLOCK = 8  # Philox gives four 64-bit words a counter value: eight draws of 32 bits
_CLUSTERS_AT_ONCE = 256  # bounds memory and stays in the cache


def _poisson_thresholds() -> npt.NDArray[np.uint32]:
    """For k = 0, 1, ...: a uniform 32-bit draw at or above the k-th threshold means more than k.

    The list ends where the chance of more is below one in 2**32.
    """
    below = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)])
    steps = np.round(below * 2**32)
    return steps[steps < 2**32].astype(np.uint32)


_THRESHOLDS = _poisson_thresholds()


def cluster_weights(
    seed: int, cluster_ids: Sequence[object], replicates: int, start: int = 0
) -> Weights:
    """Poisson(1) weights of each cluster in each bootstrap replicate.

    Formula: the 128-bit BLAKE2b digest of seed and id is the key of a Philox counter generator,
    whose r-th 32 bits become the weight of replicate r by inverting the Poisson distribution. No
    other cluster, and no library's way of drawing Poisson numbers, enters. Poisson rather than
    multinomial weights, because those would need the number of all clusters beforehand.
    Range: whole weights from 0, mean and variance 1. Does not show: the fixed sample size of a
    multinomial bootstrap; totals vary, which cancels in rates. A group with few clusters has no
    weight at all in ``exp(-clusters)`` of the replicates.

    Args:
        seed: The suite's seed.
        cluster_ids: One id a cluster; told apart by their text.
        replicates: How many replicates to give.
        start: Number of the first, so that blocks of replicates can be made apart.

    Returns:
        Weights of shape (clusters, replicates).

    Raises:
        InputError: A negative number of replicates or start.

    Source:
        Chamandy, Muralidharan, Najmi, Naidu (2012), Estimating uncertainty for massive data
        streams (Poisson bootstrap); Salmon et al. (2011), Parallel random numbers (Philox).
    """
    if replicates < 0 or start < 0:
        got = f"cluster_weights: {replicates} replicates from number {start}"
        raise InputError(sentence(got, "Give whole numbers from 0"))
    weights = np.empty((len(cluster_ids), replicates), dtype=np.uint8)
    skipped, offset = divmod(start, _PER_BLOCK)
    words = -(-(offset + replicates) // _PER_BLOCK) * (_PER_BLOCK // 2)
    raw = np.empty((_CLUSTERS_AT_ONCE, words), dtype="<u8")
    for first in range(0, len(cluster_ids), _CLUSTERS_AT_ONCE):
        ids = cluster_ids[first : first + _CLUSTERS_AT_ONCE]
        for row, cluster in enumerate(ids):
            raw[row] = _stream(seed, cluster, skipped).random_raw(words)
        draws = raw[: len(ids)].view("<u4")[:, offset : offset + replicates]
        weights[first : first + len(ids)] = _poisson(draws)
    return weights


def bootstrap_tallies(
    weights: Weights,
    clusters: npt.ArrayLike,
    codes: npt.ArrayLike,
    events: npt.ArrayLike,
    groups: int,
) -> tuple[Floats, Floats]:
    """Weighted counts of pictures and of events, for each replicate and group.

    Formula: ``n[r, g] = sum of weights[cluster, r]`` over the pictures of group g, and likewise
    ``x[r, g, l]`` over those with event l. Pictures of one cluster are summed first; the rest is a
    matrix product a group, exact in doubles. Tallies of separate pictures add up.
    Range: whole counts from 0. A replicate with ``n == 0`` has no rate for that group.
    Does not show: an interval by itself, nor anything for a group of one cluster.

    Args:
        weights: Weights, shape (clusters, replicates).
        clusters: Row of ``weights`` for each picture, shape (pictures,).
        codes: Group of each picture from 0, shape (pictures,); -1 where unknown, left out.
        events: Whether each event holds, shape (pictures, labels); any real value is summed.
        groups: Number of groups.

    Returns:
        Pictures, shape (replicates, groups), and events, shape (replicates, groups, labels).

    Raises:
        InputError: Lengths that differ, a code or cluster out of range.

    Source:
        Davison, Hinkley (1997), Bootstrap Methods and their Application, 3.8.
    """
    rows, group, happened = _pictures(weights, clusters, codes, events, groups)
    n = np.zeros((weights.shape[1], groups))
    x = np.zeros((weights.shape[1], groups, happened.shape[1]))
    for number in range(groups):
        here = np.flatnonzero(group == number)
        kept, sums = _per_cluster(rows[here], happened[here])
        counted = np.zeros((sums.shape[1], weights.shape[1]))
        for block in _blocks(kept.size):
            counted += sums[block].T @ weights[kept[block]].astype(np.float64)
        n[:, number], x[:, number] = counted[0], counted[1:].T
    return n, x


def _stream(seed: int, cluster: object, skipped: int) -> np.random.Philox:
    name = f"{seed}\x1f{cluster}".encode()
    digest = hashlib.blake2b(name, digest_size=16, person=b"cluster weights").digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    return np.random.Philox(key=key, counter=skipped)


def _poisson(draws: npt.NDArray[np.uint32]) -> Weights:
    weights = np.zeros(draws.shape, dtype=np.uint8)
    for threshold in _THRESHOLDS:
        weights += draws >= threshold
    return weights


def _pictures(
    weights: Weights,
    clusters: npt.ArrayLike,
    codes: npt.ArrayLike,
    events: npt.ArrayLike,
    groups: int,
) -> tuple[Integers, Integers, Floats]:
    """The arguments as arrays of one length, once they make sense."""
    rows, group = np.asarray(clusters, dtype=np.int64), np.asarray(codes, dtype=np.int64)
    happened = np.asarray(events, dtype=np.float64)
    if happened.ndim != 2 or not rows.shape == group.shape == happened.shape[:1]:
        got = f"clusters {rows.shape}, codes {group.shape}, events {happened.shape}"
        raise InputError(sentence(got, "Give one cluster, one code and one row a picture"))
    for name, values, lowest, bound in (
        ("clusters", rows, 0, weights.shape[0]),
        ("codes", group, -1, groups),
    ):
        if rows.size and not (lowest <= values.min() and values.max() < bound):
            got = f"{name}: values from {values.min()} to {values.max()}"
            raise InputError(sentence(got, f"They must be from {lowest} to {bound - 1}"))
    return rows, group, happened


def _per_cluster(rows: Integers, happened: Floats) -> tuple[Integers, Floats]:
    """The clusters that occur, and for each its number of pictures and sums of events."""
    kept, place = np.unique(rows, return_inverse=True)
    sums = np.zeros((kept.size, happened.shape[1] + 1))
    sums[:, 0] = np.bincount(place, minlength=kept.size)
    np.add.at(sums[:, 1:], place, happened)
    return kept, sums


def _blocks(size: int) -> Iterator[slice]:
    for start in range(0, size, _CLUSTERS_AT_ONCE):
        yield slice(start, start + _CLUSTERS_AT_ONCE)

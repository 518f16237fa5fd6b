"""The cluster bootstrap by weights: replicates that merge over batches, machines and runs.

A replicate gives every cluster (subject, family, video) a weight; a group's count in a replicate is
the weighted sum over its pictures. The weights of a cluster derive from the seed and its id alone,
so tallies of two halves of the data add up to those of the whole, and any two questions asked of
the same pictures are compared on the same replicates.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from audit.core.arrays import Integers
from audit.core.errors import InputError

Counts = npt.NDArray[np.int32]
Weights = npt.NDArray[np.uint8]

_PER_BLOCK = 8  # Philox gives four 64-bit words a counter value: eight draws of 32 bits
_CLUSTERS_AT_ONCE = 256  # bounds memory and stays in the cache
_REPLICATES_AT_ONCE = 128
_EXACT = 2**20  # no weight is above 16
_DENSE = 0.1  # share of entries above which a dense table is faster


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
        raise InputError(got, "Give whole numbers from 0")
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


def bootstrap_counts(
    weights: Weights,
    clusters: npt.ArrayLike,
    member: npt.ArrayLike,
    events: npt.ArrayLike,
) -> Counts:
    """Weighted counts of events in every replicate, for each question and group.

    Formula: ``x[r, q, g]`` is the sum of ``weights[cluster, r]`` over the pictures of group g with
    event q; give a column of true values to count pictures. Pictures of one cluster are summed
    first, and only cells that occur are touched. Counts of separate pictures add up exactly.
    Range: whole counts from 0. Does not show: an interval by itself, nor anything for a group of
    one cluster.

    Args:
        weights: Weights, shape (clusters, replicates).
        clusters: Row of ``weights`` for each picture, shape (pictures,).
        member: Whether each picture belongs to each group, shape (pictures, groups).
        events: Whether each event holds, shape (pictures, questions).

    Returns:
        Counts of shape (replicates, questions, groups).

    Raises:
        InputError: Lengths that differ, a cluster out of range.

    Source:
        Davison, Hinkley (1997), Bootstrap Methods and their Application, 3.8.
    """
    rows, groups, happened = _pictures(weights, clusters, member, events)
    if len(rows) < len(weights):  # of a few pictures only a few clusters
        present, rows = np.unique(rows, return_inverse=True)
        weights = weights[present]
    g, q, replicates = groups.shape[1], happened.shape[1], weights.shape[1]
    pictures, question = np.nonzero(happened)
    # for every event, the groups of its picture: one entry a cell that counts it
    belongs = sparse.csr_array(groups)
    found = np.diff(belongs.indptr)[pictures]
    of = np.repeat(np.arange(pictures.size), found)
    within = np.arange(of.size) - np.repeat(np.cumsum(found) - found, found)
    group = belongs.indices[belongs.indptr[pictures[of]] + within]
    ones = np.ones(of.size, np.float32)
    cells = (question[of] * g + group, rows[pictures[of]])
    design = sparse.csr_array((ones, cells), shape=(q * g, weights.shape[0]))
    return weighted(design, weights).reshape(replicates, q, g)


def weighted(sums: sparse.csr_array, weights: Weights) -> Counts:
    """Whole sums of each cluster, (cells, clusters), weighted in every replicate, (B, cells)."""
    counts = np.empty((weights.shape[1], sums.shape[0]), dtype=np.int32)
    # whole numbers up to 2**24 are exact in single precision
    kind = np.float32 if sums.sum(axis=1).max(initial=0) < _EXACT else np.float64
    dense = sums.nnz > _DENSE * math.prod(sums.shape)
    design = sums.toarray().astype(kind) if dense else sums.astype(kind)
    for start in range(0, weights.shape[1], _REPLICATES_AT_ONCE):
        block = slice(start, start + _REPLICATES_AT_ONCE)
        counts[block] = (design @ weights[:, block].astype(kind)).T
    return counts


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
    weights: Weights, clusters: npt.ArrayLike, member: npt.ArrayLike, events: npt.ArrayLike
) -> tuple[Integers, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The arguments as arrays of one length, once they make sense."""
    rows = np.asarray(clusters, dtype=np.int64)
    groups, happened = np.asarray(member, dtype=bool), np.asarray(events, dtype=bool)
    if not (groups.ndim == happened.ndim == 2 and len(rows) == len(groups) == len(happened)):
        got = f"clusters {rows.shape}, member {groups.shape}, events {happened.shape}"
        raise InputError(got, "Give one cluster, one row of each table a picture")
    if rows.size and not (rows.min() >= 0 and rows.max() < weights.shape[0]):
        got = f"clusters: values from {rows.min()} to {rows.max()}"
        raise InputError(got, f"They must be from 0 to {weights.shape[0] - 1}")
    return rows, groups, happened

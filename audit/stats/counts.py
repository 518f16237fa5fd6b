"""Counts of questions in groups that merge: over batches, machines and runs.

Whatever a rate and its uncertainty need is a sum over pictures: events, pictures and events of each
subject, and the same counts in every bootstrap replicate. So two halves added are exactly the
whole, even if they share subjects, and memory does not grow with the number of pictures beyond one
number a subject and group, and one a subject, group and question that had an event. Where every
picture is a subject of its own, it does not grow at all: see ``count_alone``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from audit.core.arrays import Integers
from audit.core.errors import InputError
from audit.core.rows import Array
from audit.stats.alike import Sums, equally_alike
from audit.stats.clustered import Sample
from audit.stats.resampling import Weights, bootstrap_counts, cluster_weights, weighted

Replicates = npt.NDArray[np.int32]
T = TypeVar("T")


@dataclass(frozen=True)
class Counts:
    """Counts of Q questions, all asked of the same pictures, in G groups; ``a + b`` merges.

    ``events``: int64 (Q, G). ``seen``: sparse (clusters, G), the pictures of each cluster in each
    group that were asked. ``replicated_n`` (B, G) and ``replicated_events`` (B, Q, G): the weighted
    counts of every bootstrap replicate; ``happened``: sparse (Q * G, clusters), the events of each
    cluster, question by question; None without a bootstrap.

    ``alone``: every picture is a cluster of its own, and the rows of ``seen`` are pictures of the
    same groups together; ``kinds`` (P, 1 + Q) are how many of these were asked, and their events.
    Replicates come from buckets of clusters then: ``bucketed`` (buckets, G) are their pictures that
    were asked, and ``happened`` (Q * G, buckets) their events.
    """

    events: Integers
    seen: sparse.csr_array
    replicated_n: Replicates | None = None
    replicated_events: Replicates | None = None
    happened: sparse.csr_array | None = None
    alone: bool = False
    bucketed: sparse.csr_array | None = None
    kinds: Integers | None = None

    def __add__(self, other: Self) -> Self:
        """Counts of both batches; they must count the same questions, groups and clusters.

        Raises:
            ValueError: shapes differ, or only one has replicates.
        """
        if self._shapes != other._shapes:
            raise ValueError("only counts of the same questions and groups can be merged")
        return replace(
            self,
            events=self.events + other.events,
            seen=self.seen + other.seen,
            replicated_n=_added(self.replicated_n, other.replicated_n),
            replicated_events=_added(self.replicated_events, other.replicated_events),
            happened=_added(self.happened, other.happened),
            bucketed=_added(self.bucketed, other.bucketed),
            kinds=_added(self.kinds, other.kinds),
        )

    @property
    def _shapes(self) -> tuple[object, ...]:
        replicated = self.replicated_events
        drawn = () if replicated is None else replicated.shape
        return self.events.shape, self.seen.shape, drawn, self.alone

    def drawn(self, weights: Weights, rows: npt.ArrayLike | None = None) -> Counts:
        """The same with bootstrap replicates, whatever the batches were: the sums are exact.

        Args:
            weights: Bootstrap weights, (clusters or buckets, B).
            rows: Row of ``weights`` of each cluster, (clusters,); its place if None.

        Raises:
            ValueError: events of single clusters were not kept.
        """
        if self.happened is None:
            raise ValueError("replicates need the events of single clusters")
        seen = self.seen if self.bucketed is None else self.bucketed
        q, g = self.events.shape
        sums = sparse.csr_array(sparse.vstack([seen.T, self.happened]))
        if rows is not None:
            number = len(weights)
            # a cluster without pictures may have no weight
            at = np.minimum(np.asarray(rows, dtype=np.int64), number - 1)
            ones = np.ones(len(at), np.int32), at, np.arange(len(at) + 1)
            sums = sums @ sparse.csr_array(ones, shape=(len(at), number))
        drawn = weighted(sums, weights).reshape(-1, 1 + q, g)
        found = replace(self, replicated_n=drawn[:, 0], replicated_events=drawn[:, 1:])
        return replace(found, happened=None, bucketed=None) if self.alone else found

    @property
    def n(self) -> Integers:
        """Pictures that were asked, (G,)."""
        return np.asarray(self.seen.sum(axis=0), dtype=np.int64)

    @property
    def subjects(self) -> Integers:
        """Clusters with a picture that was asked, (G,)."""
        return self.n if self.alone else np.asarray((self.seen > 0).sum(axis=0), dtype=np.int64)

    @property
    def unweighted(self) -> Integers:
        """Replicates in which a group has no weight at all, (G,); 0 without a bootstrap."""
        if self.replicated_n is None:
            return np.zeros(self.seen.shape[1], np.int64)
        return np.asarray((self.replicated_n == 0).sum(axis=0), dtype=np.int64)

    def pick(self, questions: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Counts:
        """The counts of some questions and, if given, some groups, by their places."""
        every = self.events.shape[1]
        q = np.asarray(questions, dtype=np.int64)
        g = np.arange(every) if groups is None else np.asarray(groups, dtype=np.int64)
        n, events, of_subjects = self.replicated_n, self.replicated_events, self.happened
        rows = (q[:, np.newaxis] * every + g).ravel()
        return Counts(
            self.events[np.ix_(q, g)],
            sparse.csr_array(self.seen[:, g]),
            None if n is None else n[:, g],
            None if events is None else events[:, q][:, :, g],
            None if of_subjects is None else sparse.csr_array(of_subjects[rows]),
            self.alone,
            None if self.bucketed is None else sparse.csr_array(self.bucketed[:, g]),
            None if self.kinds is None else self.kinds[:, np.append(0, 1 + q)],
        )

    def sample(self, columns: npt.ArrayLike, rest: bool = False) -> Sample:
        """These groups as a sample for intervals and comparisons.

        Args:
            columns: the groups, (g,).
            rest: also, for each group, all others of these together; they follow the groups.
        """
        at = np.asarray(columns, dtype=np.int64)
        chosen = self.seen[:, at]
        seen = sparse.csc_array(_with_others(chosen) if rest else chosen)
        pictures = seen.data.astype(np.float64)
        group = np.repeat(np.arange(seen.shape[1]), np.diff(seen.indptr))

        def summed(values: Array) -> Array:
            return np.bincount(group, values, minlength=seen.shape[1])

        # where pictures are alone, so many clusters of one picture are counted together
        each = (pictures, pictures > 0, pictures**2, pictures**4)
        n, subjects, squares, fourth = map(summed, each[:1] * 4 if self.alone else each)
        n, subjects = n.astype(np.int64), subjects.astype(np.int64)
        squares, fourth = np.maximum(squares, 1), np.maximum(fourth, 1)
        there = seen.astype(bool).astype(np.int64)
        questions = len(self.events)
        events = _with_rest(self.events[:, at], rest)
        return Sample(
            n=np.tile(n, (questions, 1)),
            events=events,
            subjects=np.tile(subjects, (questions, 1)),
            copies=np.tile(n**2 / squares, (questions, 1)),
            blocks=np.tile(np.where(n > 0, squares**2 / fourth, 0.0), (questions, 1)),
            deviations=self._deviations(at, rest, events, n),
            shared=(there.T @ there).toarray() > 0,
            **self._by_subject(at, rest, seen, events),
        )

    def _by_subject(
        self, at: Integers, rest: bool, seen: sparse.csc_array, events: Integers
    ) -> dict[str, Array]:
        """How unlike subjects are: what a sample holds of it, by name."""
        nobody = self.alone or not seen.nnz or seen.max() <= 1
        if self.happened is None or nobody:  # repeats
            return {}
        questions, groups = self.events.shape
        of = [self.happened[g::groups] for g in at]
        if rest and of:
            whole = sum(of[1:], start=of[0])
            of += [whole - part for part in of]
        found: dict[str, list[Array]] = {}
        for j, counted in enumerate(of):
            here = slice(seen.indptr[j], seen.indptr[j + 1])
            pictures = np.zeros(seen.shape[0], np.int64)
            pictures[seen.indices[here]] = seen.data[here]
            for name, values in _unlike(counted, pictures, events[:, j]).items():
                found.setdefault(name, []).append(values)
        return {name: np.stack(values, axis=1) for name, values in found.items()}

    def _deviations(
        self, at: Integers, rest: bool, events: Integers, n: Integers
    ) -> npt.NDArray[np.float32] | None:
        if self.replicated_n is None or self.replicated_events is None:
            return None
        pictures = _with_rest(self.replicated_n[:, at], rest).T
        rate = events / np.maximum(n, 1)
        deviations = np.empty((*events.shape, len(self.replicated_n)), np.float32)
        for q in range(len(events)):
            happened = _with_rest(self.replicated_events[:, q][:, at], rest).T
            expected = rate[q][:, np.newaxis] * pictures
            deviations[q] = (happened - expected) / np.maximum(n, 1)[:, np.newaxis]
        return deviations


def count(
    events: npt.ArrayLike,
    member: npt.ArrayLike,
    clusters: npt.ArrayLike,
    number: int,
    weights: Weights | None = None,
    rows: npt.ArrayLike | None = None,
    by_subject: bool = False,
) -> Counts:
    """Count a batch of pictures.

    Args:
        events: Whether each event holds, (pictures, Q).
        member: Whether each picture belongs to each group, (pictures, G).
        clusters: Cluster of each picture, from 0 to ``number`` - 1.
        number: Clusters in all, those of other batches included.
        weights: Bootstrap weights, (clusters of this batch, B); None for no bootstrap.
        rows: Row of ``weights`` of each picture; its cluster if None.
        by_subject: Keep the events of each cluster also without a bootstrap, so that intervals
            know how unlike subjects are.

    Raises:
        InputError: Lengths that differ, a cluster out of range.
    """
    happened, groups = np.asarray(events, dtype=bool), np.asarray(member, dtype=bool)
    cluster = np.asarray(clusters, dtype=np.int64)
    if not len(happened) == len(groups) == len(cluster):
        got = f"events of {len(happened)}, groups of {len(groups)}, clusters of {len(cluster)}"
        raise InputError(f"count: {got} pictures", "Give one row a picture to each")
    if cluster.size and not (cluster.min() >= 0 and cluster.max() < number):
        got = f"clusters from {cluster.min()} to {cluster.max()}"
        raise InputError(f"count: {got}", f"They must be from 0 to {number - 1}")
    picture, group = np.nonzero(groups)
    ones = np.ones(len(picture), np.int32)
    seen = sparse.csr_array((ones, (cluster[picture], group)), shape=(number, groups.shape[1]))
    total = (happened.T.astype(np.float64) @ groups.astype(np.float64)).astype(np.int64)
    if weights is None:
        of_subjects = _events_of(happened, groups, cluster, number) if by_subject else None
        return Counts(total, seen, happened=of_subjects)
    at = cluster if rows is None else np.asarray(rows, dtype=np.int64)
    asked = np.ones((len(happened), 1), bool)
    replicated = bootstrap_counts(weights, at, groups, np.hstack([asked, happened]))
    of_subjects = _events_of(happened, groups, cluster, number)
    return Counts(total, seen, replicated[:, 0], replicated[:, 1:], of_subjects)


def count_alone(
    events: npt.ArrayLike,
    codes: npt.NDArray[np.integer],
    patterns: npt.NDArray[np.bool_],
    buckets: tuple[npt.NDArray[np.integer], int] | None = None,
) -> Counts:
    """Count a batch of pictures of which each is a subject of its own.

    The same as ``count`` of so many clusters, in memory that does not grow with them: pictures of
    the same groups are counted together, and bootstrap weights are those of buckets of clusters.

    Args:
        events: Whether each event holds, (pictures, Q).
        codes: Row of ``patterns`` of each picture, (pictures,).
        patterns: Which groups pictures are in, (P, G).
        buckets: Bucket of each picture, and how many there are; None if no replicate is wanted.
    """
    happened = np.asarray(events, dtype=bool)
    ones = np.ones(len(codes), np.int32)
    at = (ones, codes, np.arange(len(codes) + 1))
    within = sparse.csr_array(at, shape=(len(codes), len(patterns)))
    inside = patterns.astype(np.int64)
    asked = np.bincount(codes, minlength=len(patterns))
    of_kinds = (within.T @ happened.astype(np.int32)).astype(np.int64)
    kinds, total = np.column_stack([asked, of_kinds]), of_kinds.T @ inside
    seen = sparse.csr_array(inside * asked[:, np.newaxis], dtype=np.int32)
    if buckets is None:
        return Counts(total, seen, alone=True, kinds=kinds)
    bucket, number = buckets
    member = patterns[codes]
    here = sparse.csr_array((ones, bucket, np.arange(len(codes) + 1)), shape=(len(codes), number))
    bucketed = sparse.csr_array(here.T @ sparse.csr_array(member.astype(np.int32)))
    of_buckets = _events_of(happened, member, bucket.astype(np.int64), number)
    return Counts(total, seen, happened=of_buckets, alone=True, bucketed=bucketed, kinds=kinds)


def sample_of(
    events: npt.ArrayLike,
    codes: npt.ArrayLike,
    clusters: npt.ArrayLike,
    groups: int,
    seed: int = 0,
    resamples: int = 2000,
    rest: bool = False,
) -> Sample:
    """A sample straight from arrays: the way in for worlds and tables made elsewhere.

    Args:
        events: Whether each event holds, (pictures, Q).
        codes: Group of each picture from 0; -1 where unknown, counted in no group.
        clusters: What each picture repeats (subject, family, video): any ids.
        groups: Number of groups.
        seed: The bootstrap's seed.
        resamples: Bootstrap replicates; 0 for none.
        rest: also all others of each group together; they follow the groups.

    Raises:
        InputError: Lengths that differ, a code out of range.
    """
    code = np.asarray(codes, dtype=np.int64)
    if code.size and not (code.min() >= -1 and code.max() < groups):
        got = f"codes: values from {code.min()} to {code.max()}"
        raise InputError(got, f"They must be from -1 (unknown) to {groups - 1}")
    member = code[:, np.newaxis] == np.arange(groups)
    ids, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    weights = cluster_weights(seed, ids.tolist(), resamples) if resamples else None
    return count(events, member, cluster, len(ids), weights).sample(np.arange(groups), rest)


def _added(one: T | None, other: T | None) -> T | None:
    """The sum of what both have."""
    return None if one is None or other is None else one + other  # type: ignore[operator]


def _events_of(
    happened: npt.NDArray[np.bool_], groups: npt.NDArray[np.bool_], cluster: Integers, number: int
) -> sparse.csr_array:
    """Events of each cluster, (Q * G, number), question by question."""
    belongs = sparse.csr_array(groups.astype(np.int32))
    pictures, question = np.nonzero(happened)
    found = np.diff(belongs.indptr)[pictures]
    row = np.repeat(question * groups.shape[1], found) + belongs[pictures].indices
    ones = np.ones(row.size, np.int32)
    shape = (happened.shape[1] * groups.shape[1], number)
    return sparse.csr_array((ones, (row, np.repeat(cluster[pictures], found))), shape=shape)


def _unlike(counted: sparse.csr_array, pictures: Integers, events: Integers) -> dict[str, Array]:
    """How unlike the subjects of a group are, (Q,) by name, from its events by cluster (Q, C).

    With r_c = x_c - p n_c the sums are written out, since most x_c are 0:
    ``sum r_c² = sum x_c² - 2 p sum x_c n_c + p² sum n_c²``.
    """
    size = pictures.astype(np.float64)
    n, squares, subjects = max(size.sum(), 1.0), (size**2).sum(), int((size > 0).sum())
    p = events / n
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    row = np.repeat(np.arange(len(events)), np.diff(counted.indptr))

    def summed(values: Array) -> npt.NDArray[np.float64]:
        return np.bincount(row, values, minlength=len(events)).astype(np.float64)

    x, of = counted.data.astype(np.float64), counted.indices
    observed = summed(x * x) - 2 * p * summed(x * size[of]) + p**2 * squares
    powers = np.array([[max((size**k).sum(), 1.0)] for k in range(1, 5)])
    sums = Sums(subjects, powers, events.astype(np.float64), summed(x * x * inverse[of]))
    # copies of every picture say nothing new: what all counts are multiples of is one picture
    unit = np.full(len(events), max(np.gcd.reduce(pictures), 1))
    np.gcd.at(unit, row, counted.data.astype(np.int64))
    alike, freedom = equally_alike(sums.in_units(unit))
    # a cluster has a picture without the event unless all of its pictures have it
    without = subjects - summed((x == size[of]) & (x > 0))
    rarer = np.minimum(summed(x > 0), without).astype(np.int64)
    observed = np.maximum(observed, 0) / n**2
    return {"observed": observed, "alike": alike, "freedom": freedom, "rarer": rarer}


def _with_rest(counts: npt.NDArray[np.int64] | Replicates, rest: bool) -> npt.NDArray[np.int64]:
    """Counts (..., g), followed by those of all other groups if wanted."""
    whole = counts.astype(np.int64)
    if not rest:
        return whole
    return np.concatenate([whole, whole.sum(axis=-1, keepdims=True) - whole], axis=-1)


def _with_others(seen: sparse.csr_array) -> npt.NDArray[np.integer]:
    """For each group, the pictures of each cluster in it, and in all other groups."""
    whole = seen.toarray()
    return np.hstack([whole, whole.sum(axis=1, keepdims=True) - whole])

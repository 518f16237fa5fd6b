"""Who is in which group: one small number a picture, and the table of what these numbers mean.

Pictures that are in the same groups have the same number, so membership takes two bytes a picture
however many groups there are, and is made for the pictures that are counted, when they are.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Self, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.core.arrays import Flags, Integers
from audit.core.errors import InputError
from audit.core.rows import Values
from audit.core.tables import EVERYONE, REST, UNKNOWN
from audit.data.dataset import Bins, Dataset
from audit.stats.counts import Counts, count, count_alone
from audit.stats.resampling import Weights, cluster_weights

#: pictures, and subjects, up to which everything looks at all of them: see docs/size.md
BOUND: Final = 131_072
#: pictures of the sample that is looked at where there are more than ``BOUND``
SAMPLE: Final = 65_536
#: subjects that share a bootstrap weight where there are more of them than ``BOUND``
BUCKETS: Final = 16_384


#: some pictures, or some groups
Some = slice | NDArray[np.integer] | Flags | Sequence[int]


@dataclass(frozen=True)
class Members:
    """Membership of n pictures in g groups, as an array (n, g) of which rows are made when asked.

    ``codes`` (n,) is the row of each picture in ``patterns`` (P, g): which groups it is in.
    """

    codes: NDArray[np.int32]
    patterns: Flags

    @classmethod
    def of(cls, pictures: int, columns: Iterable[Flags]) -> Self:
        """Members by whether each picture belongs, a column (n,) a group."""
        codes, patterns = np.zeros(pictures, np.int32), np.zeros((1, 0), bool)
        for column in columns:
            both = codes * np.int32(2) + column
            found = np.flatnonzero(np.bincount(both, minlength=2 * len(patterns)))
            codes = np.searchsorted(found, both).astype(np.int32)
            patterns = np.column_stack([patterns[found // 2], found % 2 == 1])
        return cls(codes, patterns)

    @property
    def shape(self) -> tuple[int, int]:
        """Pictures and groups."""
        return len(self.codes), self.patterns.shape[1]

    @property
    def T(self) -> Flags:  # noqa: N802
        """Membership of all, a row a group."""
        return self[:].T

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, at: Some | tuple[Some, Some | int]) -> Flags:
        """Membership of some pictures, or in some groups: (n, g)."""
        if isinstance(at, tuple):
            return np.asarray(self.patterns[:, at[1]][self.codes[at[0]]])
        return np.asarray(self.patterns[self.codes[at]])

    def __array__(self, dtype: None = None, copy: None = None) -> Flags:
        return self[:]

    def part(self, at: slice | Integers) -> Members:
        """Of some pictures."""
        return Members(self.codes[at], self.patterns)

    def columns(self, at: Integers) -> Members:
        """In some groups."""
        return Members(self.codes, self.patterns[:, at])


class Clusters(tuple[str, ...]):
    """Ids of what repeats, in order; ``alone`` if nothing does: each is of one picture."""

    alone = False

    @classmethod
    def numbered(cls, ids: NDArray[np.object_]) -> tuple[Clusters, Integers]:
        """Those of the pictures, in the order of their text, and the place of each picture's."""
        codes, distinct = pd.factorize(ids)
        try:
            order = pc.array_sort_indices(pa.array(distinct, pa.large_string())).to_numpy()
        except (UnicodeEncodeError, pa.ArrowInvalid):  # text that is none in UTF-8
            order = np.argsort(distinct)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        found = cls(distinct[order])
        found.alone = len(found) == len(ids)
        return found, place[codes]

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """A random number of each, made of its text alone."""
        made = (
            hashlib.blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8).digest()
            for name in self
        )
        found = bytearray(8 * len(self))
        for i, digest in enumerate(made):
            found[8 * i : 8 * i + 8] = digest
        return np.frombuffer(bytes(found), dtype="<u8").astype(np.uint64, copy=False)

    @cached_property
    def buckets(self) -> NDArray[np.int32]:
        """The bucket of each, whose bootstrap weight it shares."""
        return (self.digests % np.uint64(BUCKETS)).astype(np.int32)


class Places(Mapping[str, int]):
    """The place of each of some ids, which are all different."""

    def __init__(self, ids: Sequence[str]) -> None:
        """``ids`` in their order."""
        self.ids = ids

    @cached_property
    def _index(self) -> pd.Index[str]:
        found: pd.Index[str] = pd.Index(np.array(self.ids, dtype=object), dtype=object)
        return found

    def __getitem__(self, key: str) -> int:
        return cast(int, self._index.get_loc(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, keys: Sequence[str] | pd.Series[str]) -> Integers:
        """The places of some of them.

        Raises:
            KeyError: one is none of them.
        """
        wanted = np.asarray(keys, dtype=object)
        found = self._index.get_indexer(pd.Index(wanted, dtype=object))
        if (found < 0).any():
            raise KeyError(wanted[found < 0][0])
        return np.asarray(found, dtype=np.int64)


@dataclass(frozen=True)
class Groups:
    """Who belongs where: the attributes and intersections of a suite, for a set of pictures.

    ``index`` names each group (attribute, group), ``member`` (n, g) tells membership of each
    picture, ``clusters`` (n,) which cluster it is of, by its place in ``cluster_ids``. ``rows``
    finds a picture's row; other tuples and mappings become ``Clusters`` and ``Places``.
    """

    index: pd.MultiIndex
    member: Members | Flags
    clusters: Integers
    cluster_ids: Clusters
    rows: Places

    def __post_init__(self) -> None:
        """Take ids as tests and notebooks have them."""
        if not isinstance(self.cluster_ids, Clusters):
            object.__setattr__(self, "cluster_ids", Clusters(self.cluster_ids))
        if not isinstance(self.rows, Places):
            object.__setattr__(self, "rows", Places([*self.rows]))

    @classmethod
    def of(cls, dataset: Dataset, keys: Sequence[str], attributes: Mapping[str, Values]) -> Groups:
        """Groups of the pictures ``keys``, in this order; ``attributes`` are groups by picture.

        A picture whose group is unknown belongs to the row 'unknown' of that attribute.
        """
        at = dataset.places(keys)
        ids, clusters = Clusters.numbered(dataset.table["cluster_id"].to_numpy(object)[at])
        names = [(EVERYONE, EVERYONE)]

        def belonging() -> Iterator[Flags]:
            yield np.ones(len(keys), bool)
            for attribute, values in attributes.items():
                known = values if values.index.equals(dataset.ids) else values.reindex(dataset.ids)
                codes = known.cat.codes.to_numpy()[at]
                groups = list(enumerate(known.cat.categories))
                for code, group in [*groups, *([(-1, UNKNOWN)] if (codes < 0).any() else [])]:
                    names.append((attribute, str(group)))
                    yield codes == code

        member = Members.of(len(keys), belonging())
        index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
        return cls(index, member, clusters, ids, Places(keys))

    def columns(self, attribute: str) -> NDArray[np.int64]:
        """Where the groups of an attribute are, the row 'unknown' left out."""
        return self._places.get(attribute, np.array([], dtype=np.int64))

    @cached_property
    def _places(self) -> dict[str, NDArray[np.int64]]:
        """``columns`` by attribute: asked for thousands of times in a run."""
        found: dict[str, list[int]] = {}
        for place, (attribute, group) in enumerate(self.index):
            if group != UNKNOWN:
                found.setdefault(attribute, []).append(place)
        return {name: np.array(places, dtype=np.int64) for name, places in found.items()}

    @property
    def attributes(self) -> list[str]:
        """The attributes and intersections, without the group of everyone."""
        names = dict.fromkeys(self.index.get_level_values("attribute"))
        return [name for name in names if name != EVERYONE]

    def at(self, keys: Sequence[str] | pd.Series[str]) -> Integers:
        """The rows of pictures, by their ids.

        Raises:
            KeyError: one has none.
        """
        return self.rows.at(keys)

    def only(self, keys: Sequence[str]) -> Groups:
        """The same groups of some of the pictures, in this order."""
        if len(keys) == len(self.rows) and all(map(operator.eq, keys, self.rows)):
            return self
        return self.part(self.at(keys), keys)

    def part(self, at: slice | Integers, keys: Sequence[str]) -> Groups:
        """The same of the pictures of some rows, called ``keys``; clusters keep their places."""
        member = self.member
        member = member.part(at) if isinstance(member, Members) else member[at]
        return replace(self, member=member, clusters=self.clusters[at], rows=Places(keys))

    def among(self, at: Integers) -> Groups:
        """Some of the groups, of the same pictures."""
        member = self.member
        some = member.columns(at) if isinstance(member, Members) else member[:, at]
        return replace(self, index=self.index[at], member=some)

    def with_groups_of(self, taken: Integers) -> Groups:
        """The same pictures, each in the groups of the one of the row it has in ``taken``, (n,)."""
        member = self.member
        others = member.part(taken) if isinstance(member, Members) else member[taken]
        return replace(self, member=others)

    @property
    def many(self) -> bool:
        """Whether there are so many subjects, each of one picture, that none is counted apart."""
        return len(self.cluster_ids) > BOUND and self.cluster_ids.alone

    def count(
        self, happened: Flags, at: Integers, draws: Draws | None = None, by_subject: bool = False
    ) -> Counts:
        """Count events of the pictures of some rows in every group; see ``audit.stats.counts``.

        Args:
            happened: whether each of Q events holds, (pictures, Q).
            at: the pictures' rows, (pictures,).
            draws: bootstrap weights; none are needed to draw replicates later.
            by_subject: keep what ``Counts.drawn`` needs, and how unlike subjects are.
        """
        clusters, ids = self.clusters[at], self.cluster_ids
        if self.many and isinstance(self.member, Members):
            buckets = (ids.buckets[clusters], BUCKETS) if by_subject or draws else None
            patterns = self.member.patterns
            counts = count_alone(happened, self.member.codes[at], patterns, buckets)
            return counts if draws is None else counts.drawn(draws.weights)
        weights, rows = (None, None) if draws is None else (draws.weights, draws.rows(clusters))
        return count(happened, self.member[at], clusters, len(ids), weights, rows, by_subject)

    def draws(self, keys: Iterable[str], seed: int, resamples: int) -> Draws:
        """Bootstrap weights of the clusters of these pictures.

        Of more than ``BOUND`` clusters, those of a bucket share theirs: see docs/size.md.
        """
        ids = self.cluster_ids
        if len(ids) > BOUND:
            names = [f"bucket {i} of {BUCKETS}" for i in range(BUCKETS)]
            weights = cluster_weights(seed, names, resamples)
            return Draws(np.arange(len(ids)), weights, ids.buckets)
        everyone = keys is self.rows
        clusters = self.clusters if everyone else self.clusters[self.at(list(keys))]
        present = np.unique(clusters)
        return Draws(present, cluster_weights(seed, [ids[c] for c in present], resamples))

    def sample(self) -> Integers | None:
        """Rows of all pictures of some random subjects, where pictures are many; None if not.

        They are ``SAMPLE`` pictures at most. Subjects are taken in the order of a digest of their
        ids, so that the order of the pictures decides nothing.
        """
        if len(self.rows) <= BOUND:
            return None
        ids = self.cluster_ids
        order = np.argsort(ids.digests, kind="stable")
        sizes = np.bincount(self.clusters, minlength=len(ids))[order]
        kept = np.zeros(len(ids), bool)
        kept[order[np.cumsum(sizes) <= SAMPLE]] = True
        return np.flatnonzero(kept[self.clusters])

    def alone(self, at: Integers, keys: Sequence[str]) -> Groups:
        """The pictures of some rows as if there were no others: their clusters only."""
        some = self.part(at, keys)
        present, clusters = np.unique(some.clusters, return_inverse=True)
        ids = Clusters(self.cluster_ids[c] for c in present)
        ids.alone = len(ids) == len(keys)
        return replace(some, clusters=clusters, cluster_ids=ids)


@dataclass(frozen=True)
class Draws:
    """Bootstrap weights of a batch: of cluster ``present[i]`` in ``weights[i]``.

    Where clusters share weights, that of cluster i is in ``weights[buckets[i]]``.
    """

    present: NDArray[np.int64]
    weights: Weights
    buckets: NDArray[np.int32] | None = None

    def rows(self, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of ``weights`` of each of these clusters."""
        if self.buckets is not None:
            return self.buckets[clusters].astype(np.int64)
        return np.searchsorted(self.present, clusters)


def grouped(
    dataset: Dataset,
    attributes: Mapping[str, Bins | None],
    intersections: Iterable[Sequence[str]],
) -> dict[str, Values]:
    """Group of each picture for every attribute (with its bins) and intersection.

    Returns:
        Name to a categorical series by image id, in the groups' natural order, missing if unknown.

    Raises:
        InputError: as ``Dataset.grouping``; or a name holds the ' x ' that joins those of
            intersections, which could not be told apart.
    """
    intersections = [tuple(names) for names in intersections]
    orders = {name: dataset.groups(name, bins) for name, bins in attributes.items()}
    crossed = {name for names in intersections for name in names}
    _refuse_taken(orders)
    _refuse_joined("attribute", orders)
    _refuse_joined("group", (group for name in orders if name in crossed for group in orders[name]))
    found = {
        name: _categories(
            pd.Categorical(dataset.grouping(name, bins), list(orders[name]), ordered=True).codes,
            orders[name],
            dataset,
        )
        for name, bins in attributes.items()
    }
    for names in intersections:
        found[" x ".join(names)] = _crossed([found[name] for name in names], dataset)
    return found


def _crossed(groupings: Sequence[Values], dataset: Dataset) -> Values:
    """Each picture's cell, 'female x 60+', missing where any part is unknown."""
    codes, known = np.zeros(len(dataset), np.int64), np.ones(len(dataset), bool)
    for values in groupings:
        own = values.cat.codes.to_numpy()
        codes, known = codes * len(values.cat.categories) + own, known & (own >= 0)
    cells = [*map(" x ".join, itertools.product(*(v.cat.categories for v in groupings)))]
    present = np.flatnonzero(np.bincount(codes[known], minlength=len(cells)))
    place = np.full(len(cells), -1)
    place[present] = np.arange(len(present))
    return _categories(np.where(known, place[codes], -1), [cells[i] for i in present], dataset)


def _categories(codes: NDArray[np.integer], names: Sequence[str], dataset: Dataset) -> Values:
    """Groups of the pictures of a data set by their places among names, -1 where unknown."""
    made = pd.Categorical.from_codes(codes, list(names), ordered=True)  # type: ignore[call-overload]
    return pd.Series(made, index=dataset.ids)


def _refuse_taken(orders: Mapping[str, Sequence[str]]) -> None:
    """Groups of a name that tables give to several groups together."""
    for attribute, groups in orders.items():
        for name in {EVERYONE, REST}.intersection(groups):
            told = f"'{attribute}' has a group called '{name}', which in tables means all others"
            raise InputError(told, "Rename it in the manifest and the card")


def _refuse_joined(what: str, names: Iterable[str]) -> None:
    for name in names:
        if name != "x" and " x " in f" {name} ":
            told = f"the {what} '{name}' holds ' x ', which joins the names of an intersection"
            raise InputError(told, "Rename it in the manifest and the card")


def named(values: Values) -> pd.Series[str]:
    """Group names with the row 'unknown' for pictures whose group isn't known."""
    return values.astype(object).where(values.notna(), UNKNOWN)

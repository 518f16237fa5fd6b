"""Retrieval: who is at the top when all pictures are ranked for a query?"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest, unknown
from audit.core.tables import (
    ENSEMBLE,
    MEASURES,
    NOT_JUDGED,
    OK,
    RANKS,
    TOO_FEW,
    UNDEFINED,
)
from audit.core.verdicts import Verdict, verdicts
from audit.data.dataset import Dataset
from audit.data.labels import (
    Label,
    LabelSet,
    PromptSet,
    bundled_tags,
    label_set_names,
    load_label_set,
    load_prompt_set,
    normalise,
)
from audit.data.yamlfile import FieldError
from audit.measure.measures import measured
from audit.measure.metrics import DEFAULT_FAMILY, margin_family, standing
from audit.measure.prompt_variants import ensemble
from audit.probes.kit.base import Design, Probe, Seen, Texts
from audit.stats import parity, ranking
from audit.stats.gaps import TOO_FEW_GROUPS
from audit.stats.ranking import Beside, Bounded, Nulls, Ranking, Top
from audit.stats.significance import bonferroni_level, holm
from audit.store.embeddings import Embeddings

#: ``metric`` of rows of MEASURES; ``label`` is the query, blank for the mean over queries
MAX_SKEW: Final = "max_skew"
MIN_SKEW: Final = "min_skew"
NDKL: Final = "ndkl"
BIAS: Final = "bias"
ENTROPY: Final = "entropy"
SHARE: Final = "share"
#: in which unit each is; a share, or a difference of two, is told in points
UNITS: Final = {
    MAX_SKEW: "log ratio", MIN_SKEW: "log ratio", NDKL: "nats", BIAS: "", ENTROPY: "of at most 1",
    SHARE: "",
}  # fmt: skip
#: queries of an attribute, target and depth that are told one by one, those of the largest excess
TOLD: Final = 20
#: queries of a task that become findings: those whose skew is surest
FINDINGS: Final = 5
#: deals of the null: enough for its mean and outer quantiles
DEALS: Final = 1000
#: MaxSkew of all pictures against a target from which on sentences mention it
_FAR: Final = 0.05
#: pictures ranked at a time where the rows kept do not suffice
_BATCH: Final = 8192
#: scores are compared to so many decimals: the last digits change with the size of the batch
_DIGITS: Final = 9
_NO_INTERVAL: Final = "no interval: near parity resampling has none"
_OF_MEANS: Final = "mean of the queries' simultaneous bounds, which is wide"
_MISSING: Final = (
    "in {k} places fewer than one picture of some group is wanted, and the published skew counts a "
    "missing group as one picture: above 0 whatever the ranking"
)

#: every picture of known group, as a depth of NDKL; how its rows' condition says so
ALL: Final = "all"
WHOLE: Final = "whole list"

_TARGETS: Final = ("uniform", "dataset")
_ALLOWED: Final = (
    "Name 'uniform' (equal shares), 'dataset' (the pictures' shares) or {group: share}"
)

Row = dict[str, Any]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str | int | Mapping) else value


def _possible(target: str | Mapping[str, float]) -> str | Mapping[str, float]:
    """A target that can be aimed at."""
    if isinstance(target, str):
        if target not in _TARGETS:
            told = f"no target is called '{target}'"
            raise ValueError(sentence(told, suggest(target, _TARGETS), _ALLOWED))
        return target
    if not all(share > 0 for share in target.values()):
        raise ValueError(sentence("a share that is not above 0", "Give every group some share"))
    if abs(sum(target.values()) - 1) > 1e-6:
        raise ValueError(f"shares of {sum(target.values()):g} in all; they must sum to 1")
    return target


def _once(targets: tuple[str | Mapping[str, float], ...]) -> Any:
    return tuple({_named(target): target for target in targets}.values())


def _named(target: str | Mapping[str, float]) -> str:
    """A target as it stands in conditions and sentences."""
    if isinstance(target, str):
        return target
    return ", ".join(f"{group} {share:g}" for group, share in target.items())


def _rising(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


def _depths(value: Any) -> Any:
    """Depths of the top, with a hint for who wants NDKL of the whole list."""
    values = _several(value)
    if isinstance(values, list | tuple) and ALL in values:
        told = f"'{ALL}': of the whole list every skew is that of the pictures themselves"
        raise ValueError(sentence(told, f"For NDKL of the whole list write 'ndkl_at: {ALL}'"))
    return values


def _ndkl_depths(value: Any) -> Any:
    values = _several(value)
    for name in values if isinstance(values, list | tuple) else ():
        if isinstance(name, str) and name != ALL:
            told = f"no depth is called '{name}'"
            hint = f"Give numbers of places, or '{ALL}' for the whole list"
            raise ValueError(sentence(told, suggest(name, (ALL,)), hint))
    return values


def _whole_last(values: tuple[int | str, ...]) -> tuple[int | str, ...]:
    numbers = tuple(sorted({v for v in values if isinstance(v, int)}))
    return (*numbers, ALL) if ALL in values else numbers


Target = Annotated[str | Mapping[str, float], AfterValidator(_possible)]
Targets = Annotated[tuple[Target, ...], BeforeValidator(_several), AfterValidator(_once)]
Depth = Annotated[int, Field(ge=1)]
Depths = Annotated[tuple[Depth, ...], BeforeValidator(_depths), AfterValidator(_rising)]
AnyDepths = Annotated[
    tuple[Depth | Literal["all"], ...], BeforeValidator(_ndkl_depths), AfterValidator(_whole_last)
]


@dataclass(frozen=True)
class Query:
    """What pictures are ranked for: one embedding from one prompt, or the mean of several."""

    text: str
    prompts: tuple[str, ...]
    label: Label | None = None


class Retrieval(Probe):
    """Ranks all pictures by their similarity to each query and looks at who is at the top.

    Queries are the labels of a set, each the ensemble of all templates (``queries: labels``); every
    prompt by itself (``prompts``), as in the 319 of Berg et al. 2022; or texts of your own. What
    the top *should* hold is no fact of the pictures, so it must be named: ``uniform`` (equal
    shares), ``dataset`` (the groups' shares of the pictures), or a share a group. Every value
    stands beside what a ranking by lot gives. Pictures of unknown group, and of groups too small to
    be compared, are in no ranking of that attribute, but for bias@k: as published, it ranks every
    picture asked about, and those of neither of its two groups take places. See
    ``audit.stats.ranking`` and ``audit.stats.parity``.
    """

    asks: ClassVar[str] = (
        "Who is at the top when all pictures are ranked by their similarity to a text?"
    )
    emits: ClassVar = RANKS
    later: ClassVar = frozenset({"ndkl_at", "bias_of"})

    kind: Literal["retrieval"] = "retrieval"
    name: str = Field("", description="of the task; by default made from the label set's name")
    label_set: str | None = Field(None, description="a bundled label set or the path of your own")
    templates: str = Field("plain", description="a bundled template set or the path of your own")
    queries: Literal["labels", "prompts"] | tuple[str, ...] = Field(
        "labels", description="one query a label, one a prompt, or a list of your own texts"
    )
    k: Depths = Field((10, 100), min_length=1, description="how deep the top is, one or several")
    target: Targets = Field(
        min_length=1, description="'uniform', 'dataset' or {group: share}; one or several"
    )
    ndkl_at: AnyDepths = Field(
        (), description="how deep NDKL looks, 'all' for the whole list as published; as k if empty"
    )
    bias_of: Mapping[str, tuple[str, str]] = Field(
        default_factory=dict,
        description="attribute: the two groups of its bias@k, the first counted above 0; all other "
        "pictures count in k only; by default the groups of attributes that have two",
    )

    @model_validator(mode="before")
    @classmethod
    def _names_a_target(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("target"):
            told = sentence(
                "no target is named, and a skew is one away from something",
                _ALLOWED,
            )
            raise FieldError(told, *(["target"] if "target" in data else []))
        return data

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        own = self.queries if isinstance(self.queries, tuple) else None
        if own is not None and (not own or self.label_set):
            got = "a label set and texts of your own" if own else "an empty list of queries"
            raise FieldError(sentence(got, "Give a label_set, or texts in 'queries'"), "queries")
        if own is None and not self.label_set:
            raise ValueError(sentence("no query", "Give a label_set, or texts in 'queries'"))
        twice = [q for i, q in enumerate(own or ()) if q in (own or ())[:i]]
        if twice or not all(q.strip() for q in own or ()):
            told = f"'{twice[0]}' is given twice" if twice else "a query without a word"
            raise FieldError(sentence(told, "Give each query once, in words"), "queries")
        for attribute, (first, second) in self.bias_of.items():
            if first == second:
                told = f"'{first}' against itself"
                raise FieldError(sentence(told, "Name two groups"), "bias_of", attribute)
        return self

    @property
    def task(self) -> str:
        """The name given, or that of the label set and how it is asked."""
        if self.name or self.label_set is None:
            return self.name or "own queries"
        how = "queries" if self.queries == "labels" else "single queries"
        return f"{self.labels.name} as {how}"

    @cached_property
    def labels(self) -> LabelSet:
        """The label set whose labels are the queries.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return load_label_set(str(self.label_set))

    @cached_property
    def asked(self) -> tuple[Query, ...]:
        """Every query once, in order.

        Raises:
            InputError: no such label set or template set, or it isn't well formed.
        """
        if isinstance(self.queries, tuple):
            return tuple(Query(text, (text,)) for text in self.queries)
        words = self.prompt_sets()[0]
        of = [(label, words.prompts(label.text)) for label in self.labels.labels]
        if self.queries == "labels":
            return tuple(Query(label.text, prompts, label) for label, prompts in of)
        single = {p: Query(p, (p,), label) for label, prompts in of for p in prompts}
        return tuple(single.values())

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The label set, if there is one."""
        return (self.labels,) if self.label_set else ()

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The template set that the labels are put into, if there is a label set."""
        return (load_prompt_set(self.templates),) if self.label_set else ()

    def sensitive(self) -> Iterator[str]:
        """Its label set, and queries of your own that hold a word of suspicion or of special kind.

        The words are those of all bundled label sets; of others nobody can know.
        """
        yield from super().sensitive()
        if isinstance(self.queries, tuple):
            words = [f" {normalise(word)} " for word in _guarded()]
            for query in self.queries:
                said = "".join(c if c.isalnum() else " " for c in normalise(query))
                if any(word in f" {normalise(said)} " for word in words):
                    yield query

    def resolve(self, dataset: Dataset) -> None:
        """Load both sets, and check every k and every group of a target.

        Raises:
            InputError: a set isn't there; a k that the pictures of known group do not exceed; a
                target of groups that no attribute has.
        """
        queries = len(self.asked)
        asked = dataset.table["image_id"].astype(str).isin(self.pictures(dataset))
        known = dataset.table.loc[asked, [*dataset.attributes]].notna().sum().max()
        if not self.k[-1] < known:
            told = f"k is {self.k[-1]}, and at most {known} pictures of known group are ranked"
            why = "k must be below their number: the whole shows no ranking"
            whole = f"NDKL alone looks at the whole list: 'ndkl_at: {ALL}'"
            raise InputError(sentence(f"'{self.task}' ({queries} queries): {told}", why, whole))
        for depth in self.ndkl_at:
            if depth != ALL and int(depth) > known:
                told = f"ndkl_at is {depth}, and at most {known} pictures of known group are ranked"
                raise InputError(sentence(f"'{self.task}': {told}", f"'{ALL}' is all of them"))
        for target in self.target:
            if isinstance(target, Mapping):
                self._require_groups(target, dataset)
        for attribute, groups in self.bias_of.items():
            self._require_two(attribute, groups, dataset)

    def _require_two(self, attribute: str, groups: Sequence[str], dataset: Dataset) -> None:
        """Refuse a bias between groups that aren't there; those of bins are not known here."""
        where = f"'{self.task}': bias_of"
        parts = attribute.split(" x ")
        for part in parts:
            if part not in dataset.attributes:
                raise unknown("attribute of the pictures is", part, dataset.attributes, where=where)
        if len(parts) > 1 or dataset.attributes[attribute].numeric:
            return
        here = {str(v) for v in dataset.table[attribute].dropna().unique()}
        for group in groups:
            if group not in here:
                what = f"group of '{attribute}' is"
                raise unknown(what, group, sorted(here), where=where)

    def _require_groups(self, target: Mapping[str, float], dataset: Dataset) -> None:
        """Refuse a target whose groups are those of no attribute; bins are not known here."""
        groups: set[str] = set()
        for name, attribute in dataset.attributes.items():
            if attribute.numeric:
                return
            here = {str(v) for v in dataset.table[name].dropna().unique()}
            if here >= set(target):
                return
            groups |= here
        foreign = next((name for name in target if name not in groups), next(iter(target)))
        told = f"'{self.task}': target: no attribute has the groups {', '.join(target)}"
        raise InputError(sentence(told, suggest(foreign, groups)))

    def asked_texts(self, dataset: Dataset, seed: int) -> Iterator[str]:
        """Every query in every template."""
        for query in self.asked:
            yield from query.prompts

    def embedded(self, texts: Texts) -> NDArray[np.float64]:
        """The queries, unit rows, (queries, d): prompts normalised, averaged, normalised again."""
        prompts = [p for query in self.asked for p in query.prompts]
        vectors = texts.encode(list(dict.fromkeys(prompts)))
        at = {p: i for i, p in enumerate(dict.fromkeys(prompts))}
        rows = vectors[[at[p] for p in prompts]]
        return ensemble(rows.reshape(len(self.asked), -1, rows.shape[1]).swapaxes(0, 1))

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """The best places of every query: as many as the largest k and its resamples need.

        Attributes are not looked at. Embeddings of pictures have unit length, so that the order is
        that of cosine similarity; ties go by image id.

        Returns:
            Rows of the table ``RANKS``, best first, query by query.
        """
        ids = np.unique(np.array(seen.images.keys, dtype=object).astype(str))
        keys = _keys(seen.images.keys, ids)
        return self._rows(_best(seen.images, self.embedded(seen.texts), keys, self._kept), ids)

    @property
    def _kept(self) -> int:
        """Places kept of every query, of however many pictures; all for NDKL of the whole list."""
        return self._places(self.k[-1], sys.maxsize)

    def _places(self, k: int, n: int) -> int:
        """Places that the top k, its resamples and NDKL need of n pictures."""
        deepest = max((n if d == ALL else int(d) for d in self.ndkl_at), default=0)
        return min(n, max(ranking.places(k, n), deepest))

    def ndkl_depths(self, ks: Sequence[int], known: int) -> tuple[int, ...]:
        """Places down to which NDKL is read; the whole list is the number of ``known`` pictures."""
        wanted = (known if d == ALL else int(d) for d in self.ndkl_at or ks)
        return tuple(dict.fromkeys(d for d in wanted if d <= known))

    def _rows(self, best: Top, ids: NDArray[Any]) -> pd.DataFrame:
        """The best places as a table; ``ids`` are image ids by key."""
        kept = best.keys.shape[1]
        names = np.array([query.text for query in self.asked], dtype=object)
        table = pd.DataFrame(
            {
                "image_id": pd.Series(ids, dtype="str").take(best.keys.reshape(-1)).array,
                "query": pd.Series(names, dtype="str").repeat(kept).array,
                "rank": np.tile(np.arange(1, kept + 1), len(best.keys)),
                "score": best.scores.reshape(-1).astype(np.float64),
            }
        )
        how = ENSEMBLE if self.queries == "labels" else "single prompts"
        return RANKS.conform(table.assign(probe=self.kind, task=self.task, condition=how))

    def merged(self, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """The best places over several batches; the same whatever the split."""
        ids = np.unique(np.concatenate([np.asarray(p["image_id"].unique(), str) for p in parts]))
        tops = [self._top(part, ids) for part in parts]
        best = tops[0]
        for other in tops[1:]:
            best += other
        return self._rows(best, ids)

    def _top(self, rows: pd.DataFrame, ids: NDArray[Any]) -> Top:
        """Rows of RANKS as best places; ``ids`` are all image ids, sorted."""
        place = {query.text: i for i, query in enumerate(self.asked)}
        codes, names = pd.factorize(rows["query"])
        at = np.array([place[name] for name in names])[codes], rows["rank"].to_numpy() - 1
        width = len(rows) // len(place)
        keys, scores = np.empty((len(place), width), np.int64), np.empty((len(place), width))
        keys[at], scores[at] = _keys(rows["image_id"], ids), rows["score"].to_numpy()
        return Top(keys, scores, self._kept, width)

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Rows of MEASURES: means over queries, every group's share, and the leading queries.

        For every attribute, k and target: the mean over queries of MaxSkew, MinSkew and NDKL (this
        at the depths of ``ndkl_at``, if given), and for every k of the normalised entropy, bias@k
        (between two groups; the ``n`` of its mean counts pictures of neither) and each group's
        share,
        beside their permutation null; then the ``TOLD`` queries of the largest MaxSkew over chance,
        with the shares of their top. Bounds of a query hold for all queries of the task at that
        depth (Bonferroni); those of a mean of skews are the means of these, which hold too but are
        wide. ``n`` is the pictures ranked, of a query k; ``events`` how many of these are of
        ``group``.
        """
        ids = np.unique(np.array(list(design.groups.rows), dtype=object).astype(str))
        best = self._top(rows, ids)
        found = [
            row
            for attribute in design.groups.attributes
            for row in self._of_attribute(attribute, best, ids, seen, design)
        ]
        table = measured(found, probe=self.kind, task=self.task, level=design.confidence.level)
        return MEASURES.conform(_headlines(table))

    def _of_attribute(
        self, attribute: str, best: Top, ids: NDArray[Any], seen: Seen, design: Design
    ) -> Iterator[dict[str, Any]]:
        """Every row of one attribute."""
        field = _Field.of(attribute, design)
        known = int((field.codes >= 0).sum())
        ks = tuple(k for k in self.k if k < known)
        if len(field.names) < 2:
            yield self.unusable(field, TOO_FEW, TOO_FEW_GROUPS + field.not_ranked)
        elif not ks:
            why = f"k is {self.k[0]} of {known} pictures of known group: it must be below"
            yield self.unusable(field, UNDEFINED, why)
        else:
            keys = _keys(seen.images.keys, ids)
            kept, count = self._of_known(field, best, ids, ks[-1], seen), len(field.names)
            list_ = ranking.ranking(kept, keys, field.codes, field.clusters, count)
            everyone = self._with_neither(field, best, keys)
            yield from _Told(self, field, list_, everyone, ks, design).every()

    def _with_neither(self, field: _Field, best: Top, keys: NDArray[np.int64]) -> Ranking | None:
        """All pictures asked about in three: both groups of the bias, neither; None if none is."""
        codes = field.of_two(self.bias_of.get(field.attribute, field.names))
        if codes is None or not (codes == parity.NEITHER).any():
            return None
        list_ = ranking.ranking(best, keys, codes, field.clusters, parity.NEITHER + 1)
        return list_.first(ranking.places(self.k[-1], len(keys)))

    def _of_known(self, field: _Field, best: Top, ids: NDArray[Any], k: int, seen: Seen) -> Top:
        """The best places of pictures that take part; ranked again where others had places."""
        if (field.codes >= 0).all():
            return best
        names = [seen.images.keys[i] for i in np.flatnonzero(field.codes >= 0)]
        part = seen.images.only(names)
        kept = self._places(k, len(names))
        return _best(part, self.embedded(seen.texts), _keys(names, ids), kept)

    def unusable(self, field: _Field, status: str, why: str) -> Row:
        """The one row of an attribute that can't be looked at."""
        return {
            "condition": f"top {self.k[-1]}",
            "metric": MAX_SKEW,
            "attribute": field.attribute,
            "margin_family": DEFAULT_FAMILY,
            "n": int((field.codes >= 0).sum()),
            "unit": UNITS[MAX_SKEW],
            "status": status,
            "reason": why,
            "statement": (
                f"Ranked for the queries of '{self.task}', the top can't be compared by "
                f"{field.attribute}: {why}; inconclusive."
            ),
        }


def _guarded() -> set[str]:
    """Texts of all bundled labels that need acknowledgement by a tag of the common vocabulary."""
    tags = {name for name, tag in bundled_tags().items() if tag.acknowledge}
    sets = map(load_label_set, label_set_names())
    return {label.text for labels in sets for label in labels.labels if tags & {*label.tags}}


def _keys(names: Any, ids: NDArray[Any]) -> NDArray[np.int64]:
    """The place of each image id among all, which are sorted."""
    codes, distinct = pd.factorize(pd.Series(names, dtype="str"))
    return np.searchsorted(ids, np.asarray(distinct, str))[codes].astype(np.int64)


def _best(
    images: Embeddings, queries: NDArray[np.float64], keys: NDArray[np.int64], kept: int
) -> Top:
    """The best places of every query, a batch of pictures at a time."""
    best: Top | None = None
    for start in range(0, max(1, len(keys)), _BATCH):
        part = slice(start, start + _BATCH)
        scores = images.vectors[part].astype(np.float64) @ queries.T
        np.round(scores, _DIGITS, out=scores)
        found = ranking.top(scores, keys[part], kept)
        best = found if best is None else best + found
    assert best is not None
    return best


@dataclass(frozen=True)
class _Field:
    """Who is ranked for an attribute: groups large enough, the code of every picture in them.

    ``every``: all groups, ``whose`` the place of each picture's among them, -1 where
    its group is unknown. ``left_out``: who is in no ranking, and why.
    """

    attribute: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]
    clusters: NDArray[np.int64]
    every: tuple[str, ...]
    whose: NDArray[np.int64]
    left_out: str

    @classmethod
    def of(cls, attribute: str, design: Design) -> _Field:
        """The groups of an attribute that are compared; clusters are numbered as the draws are."""
        groups = design.groups
        at = groups.columns(attribute)
        member = groups.member[:, at]
        clusters = design.draws.rows(groups.clusters)
        subjects = np.array([np.unique(clusters[of]).size for of in member.T], dtype=np.int64)
        sizes = member.sum(axis=0)
        status, reason = standing(sizes, subjects, design.confidence.min_group)
        usable = np.asarray(status == OK)
        named = groups.index.get_level_values("group")[at]
        whose, codes = _codes(member), _codes(member[:, usable])
        why = np.where(sizes == 0, "no picture", reason.astype(str))
        out = [f"{named[int(g)]} ({why[g]})" for g in np.flatnonzero(~usable)]
        out += [_UNKNOWN] * bool((whose < 0).any())
        told = ", ".join(out)
        return cls(attribute, tuple(named[usable]), codes, clusters, tuple(named), whose, told)

    @property
    def not_ranked(self) -> str:
        """Who is in no ranking, as the end of a sentence; blank if all are in it."""
        return f"; not ranked by {self.attribute}: {self.left_out}" if self.left_out else ""

    def of_two(self, names: Sequence[str]) -> NDArray[np.int64] | None:
        """Codes of all pictures: in the first group, in the second, or NEITHER; None if not two."""
        if len(names) != 2 or not {*names} <= {*self.names}:
            return None
        both = np.array([self.every.index(name) for name in names])[:, np.newaxis]
        return np.where(
            (self.whose == both).any(axis=0), (self.whose == both[1]) * 1, parity.NEITHER
        )

    def neither(self, names: Sequence[str]) -> str:
        """Whose pictures are of neither of two groups."""
        here = np.unique(self.whose)
        others = [self.every[g] for g in here if g >= 0 and self.every[g] not in names]
        return ", ".join(others + [_UNKNOWN] * bool(here[0] < 0))


_UNKNOWN: Final = "pictures of unknown group"


def _codes(member: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The group of each picture by membership (n, g), -1 where it is in none."""
    return np.where(member.any(axis=1), member.argmax(axis=1) if member.size else 0, -1)


@dataclass(frozen=True)
class _Told:
    """One attribute's rankings, as rows of MEASURES."""

    probe: Retrieval
    field: _Field
    list_: Ranking
    everyone: Ranking | None
    ks: tuple[int, ...]
    design: Design

    @property
    def pictures(self) -> int:
        """Pictures of known group: how long the whole list is."""
        return int(self.list_.pool.sum())

    @cached_property
    def ndkl_at(self) -> tuple[int, ...]:
        """The places where NDKL is read."""
        return self.probe.ndkl_depths(self.ks, self.pictures)

    @property
    def seed(self) -> int:
        """Of the deals, by name of what is asked."""
        stream = f"{self.design.seed} {self.probe.kind} {self.probe.task} {self.field.attribute}"
        return zlib.crc32(stream.encode())

    @property
    def each(self) -> float:
        """The level of one query so that all hold together."""
        return float(bonferroni_level(self.design.confidence.level, len(self.probe.asked)))

    @property
    def permutations(self) -> int:
        """Deals of the null."""
        return min(self.design.confidence.resamples, DEALS)

    def every(self) -> Iterator[Row]:
        """All rows: against each target, then what no target enters."""
        told: dict[int, set[int]] = {k: set() for k in self.ks}
        cases: list[_Case] = []
        for target in self.probe.target:
            shares = self._shares(target)
            if shares is None:
                continue
            told_before = any(np.allclose(shares, case.shares) for case in cases)
            case = self._against(target, shares)
            cases.append(case)
            for i, k in enumerate(self.ks):
                leading = case.leading(i)
                told[k] |= {*leading}
                rows = [*case.means(i), *(case.query(i, q) for q in leading)]
                headline = k == self.ks[-1] and not told_before
                yield from rows if headline else (row | {"statement": ""} for row in rows)
            yield from case.ndkl(d for d in self.ndkl_at if d not in self.ks)
        if cases:
            yield from _Whoever(cases[-1]).every(told)
        else:
            why = f"no target named is of its groups, {', '.join(self.field.names)}"
            why += self.field.not_ranked
            yield self.probe.unusable(self.field, UNDEFINED, why)

    def _shares(self, target: Target) -> NDArray[np.float64] | None:
        """The target share of each group; None where it is of other groups."""
        if isinstance(target, str):
            return ranking.target_shares(target, self.list_.pool)
        if {*target} != {*self.field.names}:
            return None
        return np.array([target[name] for name in self.field.names])

    def _against(self, target: Target, shares: NDArray[np.float64]) -> _Case:
        """The rankings against one target: beside chance, and with bounds."""
        c = self.design.confidence
        wanted = target if isinstance(target, str) else shares
        nulls = ranking.null(
            self.list_,
            self.ks,
            wanted,
            self.ndkl_at or None,
            permutations=self.permutations,
            seed=self.seed,
            level=c.level,
        )
        near = self.list_.first(ranking.places(self.probe.k[-1], sys.maxsize))
        alone, together = (
            ranking.bounds(near, self.ks, wanted, self.design.draws.weights, level)
            for level in (c.level, self.each)
        )
        return _Case(self, _named(target), shares, nulls, alone, together)

    def depth(self, k: int) -> str:
        """How deep, as conditions say it."""
        whole = k == self.pictures and ALL in self.probe.ndkl_at
        return WHOLE if whole else f"top {k}"

    def row(self, metric: str, k: int, target: str = "") -> Row:
        """What all rows of a measure have."""
        return {
            "condition": self.depth(k) + (f", target {target}" if target else ""),
            "metric": metric,
            "unit": UNITS[metric],
            "attribute": self.field.attribute,
            "margin_family": DEFAULT_FAMILY,
            "harm": "over-representation",
            "status": OK,
            "verdict": NOT_JUDGED,
        }

    def of_mean(self, k: int) -> Row:
        """What all rows of a mean over queries have."""
        return {
            "n": self.pictures,
            "subjects": int(self.list_.sizes.any(axis=1).sum()),
            "family": f"{self.probe.task}, {self.depth(k)}, mean over queries, by "
            f"{self.field.attribute}",
            "family_size": 1,
        }

    def of_query(self, k: int, q: int, subjects: int) -> Row:
        """What all rows of one query have."""
        query, labels = self.probe.asked[q], self.probe.label_sets()
        family, harm = DEFAULT_FAMILY, "over-representation"
        if query.label is not None:
            family, harm = margin_family(query.label.tags, labels[0]), query.label.harm or harm
        return {
            "label": query.text,
            "margin_family": family,
            "harm": harm,
            "n": k,
            "subjects": int(subjects),
            "family": f"{self.probe.task}, top {k}, by {self.field.attribute}",
            "family_size": len(self.probe.asked),
        }

    def margin(self, family: str = DEFAULT_FAMILY) -> float:
        """A skew is the logarithm of a ratio."""
        return math.log(self.design.confidence.margin(family).times)


@dataclass(frozen=True)
class _Case:
    """One attribute's rankings against one target.

    ``alone``: bounds of a single query, ``together``: of all queries at once.
    """

    told: _Told
    target: str
    shares: NDArray[np.float64]
    nulls: Nulls
    alone: Bounded
    together: Bounded

    @property
    def method(self) -> str:
        """How the null was made, or why there is none, and who is in no ranking."""
        out = self.told.field.left_out
        return _dealt(self.nulls) + (f"; not ranked: {out}" if out else "")

    def leading(self, i: int) -> list[int]:
        """The queries told one by one: those of the largest MaxSkew over chance, largest first."""
        skews = self.nulls.queries[MAX_SKEW]
        over = np.where(np.isnan(skews.mean[:, i]), skews.value[:, i], skews.excess[:, i])
        return [int(q) for q in np.argsort(-over, kind="stable")[:TOLD]]

    def means(self, i: int) -> Iterator[Row]:
        """MaxSkew, MinSkew and NDKL, the mean over queries.

        The mean of the queries' simultaneous bounds bounds the mean, whatever the queries share.
        MinSkew is not judged: a missing group counts as one picture, so it can't be very low.
        """
        k, margin = self.told.ks[i], self.told.margin()
        shared = self.told.of_mean(k) | {"method": f"{self.method}; {_OF_MEANS}"}
        beside = {m: _beside(self.nulls.overall[m], i) for m in (MAX_SKEW, MIN_SKEW)}
        low, high = map(float, self._bounds(self.together, i).mean(axis=1))
        row = self.told.row(MAX_SKEW, k, self.target) | shared | beside[MAX_SKEW]
        row |= _ends(low, high) | {
            "margin": margin,
            "verdict": str(verdicts(low, high, margin)),
            "reason": self._why_not(low, k),
        }
        yield row | {"statement": self._mean_sentence(row, k)}
        low, high = self.together.min_skew[:, :, i].mean(axis=1)
        least = shared | beside[MIN_SKEW]
        if least["value"] > high:  # a missing group counts as one picture, and the rate is bounded
            least |= _ends(math.nan, math.nan) | {"reason": _COUNTED_AS_ONE}
        else:
            least |= _ends(low, high)
        yield self.told.row(MIN_SKEW, k, self.target) | least
        yield from self.ndkl(d for d in self.told.ndkl_at if d == k)

    def ndkl(self, at: Iterable[int]) -> Iterator[Row]:
        """NDKL at these depths, the mean over queries."""
        for k in at:
            row = self.told.row(NDKL, k, self.target) | self.told.of_mean(k)
            row |= _beside(self.nulls.overall[NDKL], self.told.ndkl_at.index(k))
            yield row | {"method": f"{self.method}; {_NO_INTERVAL}"}

    def _bounds(self, inside: Bounded, i: int) -> NDArray[np.float64]:
        """Bounds of MaxSkew of every query, (2, Q); nan where its definition breaks down."""
        ends = inside.max_skew[:, :, i]
        return np.full(ends.shape, np.nan) if self._breaks_down(self.told.ks[i]) else ends

    def _breaks_down(self, k: int) -> bool:
        """Whether a missing group, which counts as one picture, holds more than its target."""
        return bool((k * self.shares < 1).any())

    def _why_not(self, low: float, k: int) -> str:
        """Why there are no bounds of MaxSkew, if there are none."""
        if not math.isnan(low):
            return ""
        return _MISSING.format(k=k) if self._breaks_down(k) else self.together.reason

    def query(self, i: int, q: int) -> Row:
        """MaxSkew of one query; ``group`` is the one most over-represented."""
        k, skews = self.told.ks[i], self.nulls.queries[MAX_SKEW]
        most = int(np.argmax(self.together.share[q, i] / self.shares))
        row = self.told.row(MAX_SKEW, k, self.target)
        row |= self.told.of_query(k, q, self.together.subjects[q, i])
        low, high = map(float, self._bounds(self.together, i)[:, q])
        own_low, own_high = self._bounds(self.alone, i)[:, q]
        margin = self.told.margin(row["margin_family"])
        row |= _beside(skews, (q, i)) | {
            "group": self.told.field.names[most],
            "events": round(k * float(self.together.share[q, i, most])),
            **_ends(own_low, own_high),
            **_ends(low, high, "_simultaneous"),
            "q": float(holm(skews.p[:, i])[q]),
            "margin": margin,
            "verdict": str(verdicts(low, high, margin)),
            "reason": self._why_not(low, k),
            "method": f"{self.method}; Holm; bootstrap of subjects, Bonferroni",
        }
        return row | {"statement": self._query_sentence(row, most)}

    def _mean_sentence(self, row: Row, k: int) -> str:
        chance = f"a ranking by lot gives {row['null_mean']:.2f}, p = {row['p']:.1g}"
        chance = f"no null: {self.nulls.reason}" if self.nulls.reason else chance
        wanted = {"uniform": "equal shares", "dataset": "its share of all pictures"}
        queries = len(self.told.probe.asked)
        over = "the one query" if queries == 1 else f"the {queries} queries"
        return (
            f"Over {over} of '{self.told.probe.task}', the group by {row['attribute']} that gains "
            f"most stands in the top {k} of {row['n']:,} pictures on average "
            f"{math.exp(row['value']):.2g} times as often as by "
            f"{wanted.get(self.target, f'the shares named ({self.target})')} "
            f"(mean MaxSkew {row['value']:.2f}; {chance}{self._of_all_pictures()}); "
            f"{self._within(row)}{self.told.field.not_ranked}; {_judged(row)}."
        )

    def _query_sentence(self, row: Row, most: int) -> str:
        n, k, share = int(self.told.list_.pool.sum()), row["n"], self.shares[most]
        wanted = {"uniform": f"an equal share of {100 * share:.0f} %"}
        wanted["dataset"] = f"its {100 * share:.0f} % of all pictures"
        named = f"the {100 * share:.0f} % named for it"
        chance = f"; a ranking by lot gives {row['null_mean']:.2f}, p = {row['p']:.1g}"
        return (
            f"Of the top {k} of {n:,} pictures ranked for '{row['label']}', "
            f"{100 * row['events'] / k:.0f} % ({row['events']}) are with {row['attribute']} "
            f"{row['group']}, {row['events'] / k / share:.2g} times "
            f"{wanted.get(self.target, named)} (MaxSkew {row['value']:.2f}"
            f"{'' if self.nulls.reason else chance}{self._of_all_pictures()}); "
            f"{self._within(row)}{self.told.field.not_ranked}; {_judged(row)}."
        )

    def _of_all_pictures(self) -> str:
        """How far the pictures themselves, all of them, are from the target, if they are."""
        pool = ranking.target_shares("dataset", self.told.list_.pool)
        skew = float(np.log(pool / self.shares).max())
        return f"; all pictures together are {skew:.2f} from this target" if skew > _FAR else ""

    def _within(self, row: Row) -> str:
        low, high = row["low_simultaneous"], row["high_simultaneous"]
        if math.isnan(low + high):
            return f"no bounds: {row['reason']}"
        level = f"{100 * self.told.design.confidence.level:.0f} %"
        return f"{level} simultaneous bounds {low:.2f} to {high:.2f}"


@dataclass(frozen=True)
class _Whoever:
    """Entropy, bias and shares of the top, which no target enters."""

    case: _Case

    @cached_property
    def bias(self) -> _Bias | None:
        """Bias@k between the two groups named, or those that there are; None if there aren't."""
        told = self.case.told
        names = told.probe.bias_of.get(told.field.attribute, told.field.names)
        if told.field.of_two(names) is None:
            return None
        first, second = names
        if told.everyone is not None:
            return _Bias.with_neither(told, told.everyone, (first, second))
        return _Bias.of_case(self.case, (first, second))

    def _without_bias(self, k: int) -> Row:
        """The row of a bias that was asked for, between groups that are not ranked."""
        told = self.case.told
        first, second = told.probe.bias_of[told.field.attribute]
        return told.row(BIAS, k) | {
            "group": first,
            "other": second,
            "status": TOO_FEW,
            "verdict": Verdict.INCONCLUSIVE,
            "reason": f"one of both is not ranked: {told.field.left_out}",
        }

    def every(self, queries: Mapping[int, set[int]]) -> Iterator[Row]:
        """Means over queries at every k, and the shares in the top of the queries told there."""
        for i, k in enumerate(self.case.told.ks):
            yield from self._means(i, k)
            for q in sorted(queries[k]):
                yield from self._query(i, k, q)

    def _means(self, i: int, k: int) -> Iterator[Row]:
        """Of the mean over queries; the bounds hold for all groups together."""
        told, names, bounds = self.case.told, self.case.told.field.names, self.case.alone
        method = f"{self.case.method}; bootstrap of subjects"
        row = told.row(ENTROPY, k) | told.of_mean(k) | _beside(self.case.nulls.overall[ENTROPY], i)
        yield row | {"method": f"{self.case.method}; {_NO_INTERVAL}"}
        if self.bias is not None:
            yield self.bias.of_mean(told.row(BIAS, k) | told.of_mean(k), i)
        elif told.field.attribute in told.probe.bias_of:
            yield self._without_bias(k)
        for g, name in enumerate(names):
            row = told.row(SHARE, k) | told.of_mean(k) | {"group": name, "method": method}
            row |= _beside(self.case.nulls.overall[SHARE], (i, g))
            yield (
                row
                | _ends(bounds.mean_low[i, g], bounds.mean_high[i, g])
                | {"family_size": len(names)}
            )

    def _query(self, i: int, k: int, q: int) -> Iterator[Row]:
        """The share of each group in the top of one query."""
        told, alone, together = self.case.told, self.case.alone, self.case.together
        # of two groups alone it is the difference of their shares, which are told
        apart = told.everyone is not None or told.field.attribute in told.probe.bias_of
        if self.bias is not None and apart:
            row = told.row(BIAS, k) | told.of_query(k, q, 0)
            yield self.bias.of_query(row, i, q)
        for g, name in enumerate(told.field.names):
            row = told.row(SHARE, k) | told.of_query(k, q, together.subjects[q, i])
            yield (
                row
                | _beside(self.case.nulls.queries[SHARE], (q, i, g))
                | {
                    "group": name,
                    "events": round(k * float(together.share[q, i, g])),
                    **_ends(alone.low[q, i, g], alone.high[q, i, g]),
                    **_ends(together.low[q, i, g], together.high[q, i, g], "_simultaneous"),
                    "reason": together.reason if math.isnan(together.low[q, i, g]) else "",
                    "method": f"{self.case.method}; bootstrap of subjects, Bonferroni",
                }
            )


@dataclass(frozen=True)
class _Bias:
    """Bias@k of every query and of the mean over queries, beside chance and with bounds.

    ``n``, ``subjects``: ranked; ``in_top`` (Q, K) subjects of both groups in the top, ``events``
    (Q, K) pictures of the first. ``alone``, ``together`` (2, Q, K), ``mean`` (2, K): bounds.
    """

    names: tuple[str, str]
    n: int
    subjects: int
    queries: Beside
    overall: Beside
    alone: NDArray[np.float64]
    together: NDArray[np.float64]
    mean: NDArray[np.float64]
    in_top: NDArray[np.int64]
    events: NDArray[np.int64]
    reason: NDArray[np.object_]
    method: str

    @classmethod
    def of_case(cls, case: _Case, names: tuple[str, str]) -> _Bias:
        """Where every picture asked about is of one of both groups."""
        told, alone, together = case.told, case.alone, case.together
        turned = names != told.field.names

        def of(ends: NDArray[np.float64]) -> NDArray[np.float64]:
            return -ends[::-1] if turned else ends

        queries, overall = case.nulls.queries[BIAS], case.nulls.overall[BIAS]
        share = together.share[..., 1 if turned else 0]
        return cls(
            names, told.pictures, int(told.list_.sizes.any(axis=1).sum()),
            _turned(queries) if turned else queries, _turned(overall) if turned else overall,
            of(alone.bias), of(together.bias),
            of(2 * np.stack([alone.mean_low[:, 0], alone.mean_high[:, 0]]) - 1),
            together.subjects, np.rint(share * np.array(told.ks)).astype(np.int64),
            np.where(np.isnan(together.bias[0]), together.reason, ""), case.method,
        )  # fmt: skip

    @classmethod
    def with_neither(cls, told: _Told, everyone: Ranking, names: tuple[str, str]) -> _Bias:
        """Where pictures of neither group take places, too."""
        level, weights = told.design.confidence.level, told.design.draws.weights
        null = parity.null(everyone, told.ks, told.permutations, told.seed, level)
        alone, together = (
            parity.bounds(everyone, told.ks, weights, each) for each in (level, told.each)
        )
        share = (parity.bias(everyone, told.ks) + 1) / 2
        counted = f"k counts pictures of neither group: {told.field.neither(names)}"
        return cls(
            names, int(everyone.sizes.sum()), int(everyone.sizes.any(axis=1).sum()),
            null.queries, null.overall,
            np.stack([alone.low, alone.high]), np.stack([together.low, together.high]),
            np.stack([alone.mean_low, alone.mean_high]),
            together.subjects,
            np.rint(share * parity.of_both(everyone, told.ks)).astype(np.int64),
            together.reason, f"{_dealt(null)}; {counted}",
        )  # fmt: skip

    def of_mean(self, row: Row, i: int) -> Row:
        """The row of the mean over queries at depth i."""
        return row | _beside(self.overall, i) | _ends(*self.mean[:, i]) | {
            "group": self.names[0],
            "other": self.names[1],
            "n": self.n,
            "subjects": self.subjects,
            "method": f"{self.method}; bootstrap of subjects",
        }  # fmt: skip

    def of_query(self, row: Row, i: int, q: int) -> Row:
        """The row of one query at depth i."""
        low, high = map(float, self.together[:, q, i])
        ends = _ends(*self.alone[:, q, i]) | _ends(low, high, "_simultaneous")
        return row | _beside(self.queries, (q, i)) | ends | {
            "group": self.names[0],
            "other": self.names[1],
            "subjects": int(self.in_top[q, i]),
            "events": int(self.events[q, i]),
            "reason": self.reason[q, i],
            "method": f"{self.method}; bootstrap of subjects, Bonferroni",
        }  # fmt: skip


def _turned(one: Beside) -> Beside:
    """The bias of the other group over the first."""
    return replace(one, value=-one.value, mean=-one.mean, low=-one.high, high=-one.low)


def _dealt(nulls: Nulls | parity.Null) -> str:
    """How a null was made, or why there is none."""
    deals = "all" if nulls.enumerated else f"{nulls.permutations:,}"
    null = f"null over {deals} deals of whole subjects to the groups"
    return f"no null: {nulls.reason}" if nulls.reason else null


def _beside(measure: Beside, at: Any) -> Row:
    """A value and its null."""
    names = {"value": "value", "null_mean": "mean", "null_low": "low", "null_high": "high"}
    names |= {"p": "p", "smallest_p": "smallest_p"}
    return {column: float(getattr(measure, name)[at]) for column, name in names.items()}


_COUNTED_AS_ONE: Final = (
    "no bounds: a group without a place counts as one of k, which is above its true share"
)


def _ends(low: float, high: float, which: str = "") -> Row:
    """Bounds of one kind, or of both where these are the same."""
    ends = {f"low{which}": float(low), f"high{which}": float(high)}
    return ends if which else ends | _ends(low, high, "_simultaneous")


def _judged(row: Row) -> str:
    margin = f"{row['margin']:.2f} ({math.exp(row['margin']):.3g} times)"
    return Verdict(row["verdict"]).against(margin)


def _headlines(table: pd.DataFrame) -> pd.DataFrame:
    """The table with sentences for means and, of single queries, for those of surest skew only."""
    single = (table["label"] != "") & (table["statement"] != "")
    sure = table[single & (table["low_simultaneous"] > 0)]
    sure = sure[~sure["attribute"].str.contains(" x ", regex=False)]
    sure = sure.sort_values("low_simultaneous", ascending=False, kind="stable")
    sure = sure.drop_duplicates(["label", "attribute"]).head(FINDINGS)
    silent = single & ~table.index.isin(sure.index)
    return table.assign(statement=table["statement"].mask(silent, ""))

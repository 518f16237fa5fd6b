"""Retrieval: who is at the top when all pictures are ranked for a query?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest, unknown
from audit.core.rows import Array, Row, Values
from audit.core.tables import ENSEMBLE, MEASURES, RANKS, TOO_FEW, UNDEFINED
from audit.data.dataset import Dataset
from audit.data.guard import accusation
from audit.data.labels import (
    Label,
    LabelSet,
    PromptSet,
    load_label_set,
    load_prompt_set,
)
from audit.data.remarks import Remark
from audit.data.yamlfile import FieldError
from audit.measure.measures import measured
from audit.measure.metrics import DEFAULT_FAMILY
from audit.measure.prompts import ensemble
from audit.models.encoder import Gives
from audit.probes.kit.base import Design, Probe, Seen, Texts
from audit.probes.retrieval import relevance
from audit.probes.retrieval.names import ALL, BATCH, DIGITS, MAX_SKEW, UNITS, group_named
from audit.probes.retrieval.ranked import Ranked
from audit.probes.retrieval.rows import Told, headlines
from audit.stats import parity, ranking
from audit.stats.gaps import TOO_FEW_GROUPS
from audit.stats.ranking import Ranking, Top
from audit.store.embeddings import Embeddings

_TARGETS: Final = ("uniform", "dataset")
_ALLOWED: Final = (
    "Name 'uniform' (equal shares), 'dataset' (the pictures' shares) or {group: share}"
)


def _several(value: object) -> object:
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


def _once(targets: tuple[str | Mapping[str, float], ...]) -> tuple[str | Mapping[str, float], ...]:
    return tuple({group_named(target): target for target in targets}.values())


def _rising(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


def _depths(value: object) -> object:
    """Depths of the top, with a hint for who wants NDKL of the whole list."""
    values = _several(value)
    if isinstance(values, list | tuple) and ALL in values:
        told = f"'{ALL}': of the whole list every skew is that of the pictures themselves"
        raise ValueError(sentence(told, f"For NDKL of the whole list write 'ndkl_at: {ALL}'"))
    return values


def _ndkl_depths(value: object) -> object:
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

    needs: ClassVar[Gives] = "scores"
    asks: ClassVar[str] = (
        "Who is at the top when all pictures are ranked by their similarity to a text?"
    )
    emits: ClassVar = RANKS
    later: ClassVar = frozenset({"ndkl_at", "bias_of", "relevant"})

    kind: Literal["retrieval"] = "retrieval"
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
    relevant: str | None = Field(
        None, description="column with the queries that a picture answers, '|' between several"
    )

    @model_validator(mode="before")
    @classmethod
    def _names_a_target(cls, data: object) -> object:
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
    def usual_task(self) -> str:
        """The label set's name and how it is asked."""
        if self.label_set is None:
            return "own queries"
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
        """Its label set, and queries of your own that accuse or ask what the law protects."""
        yield from super().sensitive()
        if isinstance(self.queries, tuple):
            yield from filter(accusation, self.queries)

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
            raise InputError(f"'{self.task}' ({queries} queries): {told}", why, whole)
        for depth in self.ndkl_at:
            if depth != ALL and int(depth) > known:
                told = f"ndkl_at is {depth}, and at most {known} pictures of known group are ranked"
                raise InputError(f"'{self.task}': {told}", f"'{ALL}' is all of them")
        for target in self.target:
            if isinstance(target, Mapping):
                self._require_groups(target, dataset)
        for attribute, groups in self.bias_of.items():
            self._require_two(attribute, groups, dataset)

        if self.relevant is not None:
            keys = self.pictures(dataset)
            names = self._query_names
            relevance.require_relevant(dataset, self.relevant, keys, names, self.task)

    def remarks(self, dataset: Dataset) -> Iterator[Remark]:
        """Also what of the column of relevance names no query."""
        yield from super().remarks(dataset)
        if self.relevant is not None:
            keys = self.pictures(dataset)
            yield from relevance.remarks(dataset, self.relevant, keys, self._query_names, self.task)

    @property
    def _query_names(self) -> list[tuple[str, ...]]:
        """What a cell may call each query: its text, and of a label its text and key."""
        of = [(q.text, *((q.label.text, q.label.key) if q.label else ())) for q in self.asked]
        return [tuple(dict.fromkeys(names)) for names in of]

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
        raise InputError(told, suggest(foreign, groups))

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

    def _rows(self, best: Top, ids: Array) -> pd.DataFrame:
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

    def _top(self, rows: pd.DataFrame, ids: Array) -> Top:
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
        told = MEASURES.conform(headlines(table))
        if self.relevant is None:
            return told
        cells = seen.dataset.texts(self.relevant).reindex(list(seen.images.keys))
        said = relevance.relevance(list(cells), self._query_names)
        asked = self.kind, self.task
        number = np.full(len(ids), -1)  # pictures that the probe leaves out have none
        number[_keys(seen.images.keys, ids)] = np.arange(len(cells))
        ranked = number[best.keys[:, : self.k[-1]]]
        more = relevance.rows_of(said, ranked, seen.images.keys, self.k, asked, design)
        return MEASURES.joined([told, more])

    def _of_attribute(
        self, attribute: str, best: Top, ids: Array, seen: Seen, design: Design
    ) -> Iterator[Row]:
        """Every row of one attribute."""
        field = Ranked.of(attribute, design)
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
            yield from Told(self, field, list_, everyone, ks, design).every()

    def _with_neither(self, field: Ranked, best: Top, keys: NDArray[np.int64]) -> Ranking | None:
        """All pictures asked about in three: both groups of the bias, neither; None if none is."""
        codes = field.of_two(self.bias_of.get(field.attribute, field.names))
        if codes is None or not (codes == parity.NEITHER).any():
            return None
        list_ = ranking.ranking(best, keys, codes, field.clusters, parity.NEITHER + 1)
        return list_.first(ranking.places(self.k[-1], len(keys)))

    def _of_known(self, field: Ranked, best: Top, ids: Array, k: int, seen: Seen) -> Top:
        """The best places of pictures that take part; ranked again where others had places."""
        if (field.codes >= 0).all():
            return best
        names = [seen.images.keys[i] for i in np.flatnonzero(field.codes >= 0)]
        part = seen.images.only(names)
        kept = self._places(k, len(names))
        return _best(part, self.embedded(seen.texts), _keys(names, ids), kept)

    def unusable(self, field: Ranked, status: str, why: str) -> Row:
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


def _keys(names: Sequence[str] | Values | Array, ids: Array) -> NDArray[np.int64]:
    """The place of each image id among all, which are sorted."""
    codes, distinct = pd.factorize(pd.Series(names, dtype="str"))
    return np.searchsorted(ids, np.asarray(distinct, str))[codes].astype(np.int64)


def _best(
    images: Embeddings, queries: NDArray[np.float64], keys: NDArray[np.int64], kept: int
) -> Top:
    """The best places of every query, a batch of pictures at a time."""
    best: Top | None = None
    for start in range(0, max(1, len(keys)), BATCH):
        part = slice(start, start + BATCH)
        scores = images.vectors[part].astype(np.float64) @ queries.T
        np.round(scores, DIGITS, out=scores)
        found = ranking.top(scores, keys[part], kept)
        best = found if best is None else best + found
    assert best is not None
    return best

"""Counterfactual: one thing in a picture is changed; does the model's answer change with it?"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from audit.core.arrays import Floats, Integers
from audit.core.digits import rounded, share
from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Array, Row, Values
from audit.core.tables import (
    ENSEMBLE,
    MEASURES,
    NOT_ASKED,
    NOT_JUDGED,
    OK,
    PAIRS,
    TOO_FEW,
    UNDEFINED,
)
from audit.core.verdicts import Verdict, size_bounds, verdicts
from audit.data.dataset import Dataset
from audit.data.images import Unreadable, decode
from audit.data.labels import LabelSet, PromptSet
from audit.data.values import number
from audit.data.yamlfile import FieldError
from audit.measure.measures import measured
from audit.measure.metrics import DEFAULT_FAMILY, margin_family
from audit.probes.counterfactual.colours import colour_difference
from audit.probes.kit.base import Design, Probe, Seen, no_such_value, require_column
from audit.probes.kit.choice import Choice
from audit.stats import counterfactual as stats
from audit.stats import dose
from audit.stats import flips as flipping
from audit.stats.counterfactual import ORIGINAL, Pairs
from audit.stats.estimates import Effects
from audit.stats.flips import Flips
from audit.stats.multiplicity import Estimates, Family

#: ``metric`` of rows of MEASURES; ``group`` is what was changed, ``label`` blank for all labels
FAMILIES: Final = "families"
FLIPS: Final = "flip_rate"
MORE_FLIPS: Final = "flip_rate_difference"
CHANGE: Final = "mean_change"
SIZE: Final = "change_size"
LARGER: Final = "change_size_difference"
STEP: Final = "step"
DISTANCE: Final = "embedding_distance"
COLOUR: Final = "colour_difference"
SLOPE: Final = "slope"
INTERCEPT: Final = "intercept"
PER_DISTANCE: Final = "change_size_per_distance"
RANK: Final = "rank"
#: ``condition`` of rows of one kind of change
DEMOGRAPHIC, NUISANCE = "demographic", "nuisance"
#: the group of all nuisance changes together
POOLED: Final = "any nuisance"
#: how ``condition`` begins where changes are turned towards a value
TOWARDS: Final = "towards "
#: ``condition`` of colour differences
WHOLE_PICTURE: Final = "whole picture"
MIDDLE: Final = "middle of the picture"
#: in which the change of a score is told
COSINE: Final = "cosine"
#: labels that become findings: those that a kind of change surely moves furthest
FINDINGS: Final = 3
_AT_ONCE: Final = 8192


class Counterfactual(Probe):
    """Holds each changed picture against the picture of its family in which nothing was changed.

    The answer is that of ``Choice``: the label of highest similarity, all templates
    averaged. The change of a score is told in cosine, not as a probability: it is the same whatever
    other labels are in the set, it adds up over steps, and ``exp(logit_scale x change)`` is the
    factor on the label's odds against one that stays. So the margin of a change is the suite's
    ratio as a cosine, ``log(ratio) / logit_scale``.

    Families are the units: pairs of one family, and families of one cluster, are drawn together.
    ``min_group`` does not apply, since a kind of change is no group of people; intervals say how
    little a few families show.
    """

    asks: ClassVar[str] = (
        "Does the model's answer change when one thing in a picture is changed: who is shown, or "
        "only light, pose or background?"
    )
    emits: ClassVar = PAIRS
    whole: ClassVar[str] = (
        "a changed picture is held against the one of its family in which nothing was changed, "
        "wherever that is; memory is the embeddings, the scores and a row a pair and label"
    )

    kind: Literal["counterfactual"] = "counterfactual"
    label_set: str = Field(description="a bundled label set or the path of your own YAML")
    add: tuple[str, ...] = Field((), description="declared additions of the label set to include")
    templates: str = Field("plain", description="a bundled template set or the path of your own")
    family: str = Field("family", description="the manifest column that says the family")
    changed: str = Field("changed", description="the manifest column that says what was changed")
    base: str = Field("none", description="its value where nothing was changed")
    demographic: tuple[str, ...] = Field(
        min_length=1, description="its values that should not move a label"
    )
    nuisance: tuple[str, ...] = Field(
        (), description="its values that have nothing to do with who is shown, to compare with"
    )
    steps: Mapping[str, str] = Field(
        default_factory=dict, description="value: numeric column that gives the size of its steps"
    )
    towards: Mapping[str, str] = Field(
        default_factory=dict, description="value: column that says what it was changed to"
    )
    colours: int = Field(
        1000, ge=0, description="pictures opened, at most, to see how far colours differ"
    )

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        twice = [k for i, k in enumerate(self.kinds) if k in self.kinds[:i]]
        if twice:
            raise ValueError(sentence(f"'{twice[0]}' is named twice", "Name each change once"))
        if self.base in self.kinds:
            told = f"'{self.base}' is the value of 'base', in which nothing was changed"
            raise ValueError(sentence(told, "Leave it out of 'demographic' and 'nuisance'"))
        for name in ("steps", "towards"):
            for value in getattr(self, name):
                if value not in self.kinds:
                    told = f"'{value}' is neither under 'demographic' nor under 'nuisance'"
                    raise FieldError(sentence(told, suggest(value, self.kinds)), name, value)
        return self

    @property
    def usual_task(self) -> str:
        """The label set's name, and that pictures were changed."""
        return f"{self.labels.name}, counterfactual"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of change asked about, the demographic ones first."""
        return (*self.demographic, *self.nuisance)

    @cached_property
    def question(self) -> Choice:
        """What is asked of each picture."""
        return Choice(
            kind=self.kind, label_set=self.label_set, add=self.add, templates=self.templates
        )

    @property
    def labels(self) -> LabelSet:
        """The label set with its additions.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return self.question.labels

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The one label set asked about."""
        return (self.labels,)

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The template set."""
        return (self.question.prompts,)

    def resolve(self, dataset: Dataset) -> None:
        """Load both sets, and check columns, kinds of change and families.

        Raises:
            InputError: a set or column isn't there; a kind that no picture has; steps that are no
                numbers; a family of one picture, or without exactly one base.
        """
        _ = self.labels, self.question.prompts
        for field, column in self._columns():
            require_column(dataset, column, f"probe '{self.kind}': {field}")
        table = self._table(dataset, self.pictures(dataset))
        self._require_kinds(dataset, table)
        for kind, column in self.steps.items():
            if np.isnan(_sizes(table[column])).all():
                told = f"probe '{self.kind}': steps: column '{column}' of '{kind}' holds no numbers"
                raise InputError(sentence(told, "Name a numeric column, or use 'towards'"))
        try:
            stats.pairs(table[self.family], np.where(table[self.changed] == self.base, ORIGINAL, 0))
        except InputError as error:
            base = f"The base is the picture with '{self.base}' in column '{self.changed}'"
            raise InputError(sentence(f"probe '{self.kind}': {error}", base)) from error

    def compared(self) -> dict[str, tuple[str, ...]]:
        """The columns of families, of changes, and of what was changed to."""
        others = dict.fromkeys((self.family, *self.towards.values()), ())
        return {**others, self.changed: (self.base, *self.kinds)}

    def _columns(self) -> Iterator[tuple[str, str]]:
        """Each field that names a column, with the column."""
        yield from (("family", self.family), ("changed", self.changed))
        for field in ("steps", "towards"):
            yield from ((field, column) for column in getattr(self, field).values())

    def _require_kinds(self, dataset: Dataset, table: pd.DataFrame) -> None:
        """Refuse a base or kind of change that no picture has."""
        if table.empty:
            told = f"probe '{self.kind}': family: no picture asked about has a family"
            raise InputError(sentence(told, f"Fill the column '{self.family}'"))
        present = sorted({*table[self.changed]})
        named = [("base", self.base), *(("demographic", k) for k in self.demographic)]
        for field, value in [*named, *(("nuisance", k) for k in self.nuisance)]:
            if value not in present:
                where = f"probe '{self.kind}': {field}"
                raise no_such_value(dataset, self.changed, value, filter(None, present), where)

    def _table(self, dataset: Dataset, keys: Sequence[str]) -> pd.DataFrame:
        """The columns asked about, as text but for steps, of the pictures that have a family."""
        columns = [column for _, column in self._columns()]
        table = dataset.table.set_index("image_id")[list(dict.fromkeys(columns))]
        table = table.reindex(list(keys))
        table = table[table[self.family].notna()]
        texts = {c: table[c].astype("str").fillna("") for c in (self.family, self.changed)}
        return table.assign(**texts)

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row for each changed picture and label.

        ``image_id`` is the base, ``other_id`` the changed picture, ``delta`` the cosine of the
        changed picture less that of the base, ``flipped`` whether another label is chosen,
        ``step`` changed less base of the column that ``steps`` names (nan where it names none),
        ``distance`` 1 less the cosine of the two pictures' embeddings. Families whose base
        is not among the pictures, since it could not be read, have no rows.
        """
        table = self._table(seen.dataset, seen.images.keys)
        pairs, table = self._paired(table)
        images = seen.images.only(list(table.index))
        scores = (
            images.vectors.astype(np.float64) @ self.question.classes(seen.texts, self.labels).T
        )
        one, other, number = pairs.original, pairs.changed, len(self.labels.texts)
        chosen = scores.argmax(axis=1)
        ids = table.index.to_numpy(object)
        rows = pd.DataFrame(
            {
                "image_id": ids[one],
                "other_id": ids[other],
                "changed": table[self.changed].to_numpy(object)[other],
                "flipped": chosen[one] != chosen[other],
                "step": self._steps(table, pairs),
                "distance": _distances(images.vectors, one, other),
            }
        ).loc[np.repeat(np.arange(len(one)), number)]
        rows = rows.assign(
            probe=self.kind,
            task=self.task,
            condition=ENSEMBLE,
            label=np.tile(np.array(self.labels.texts, dtype=object), len(one)),
            delta=(scores[other] - scores[one]).reshape(-1),
        )
        return PAIRS.conform(rows.reset_index(drop=True))

    def _paired(self, table: pd.DataFrame) -> tuple[Pairs, pd.DataFrame]:
        """Pairs of the pictures of kinds asked about, and these pictures; base first."""
        code = {kind: i for i, kind in enumerate(self.kinds)} | {self.base: ORIGINAL}
        table = table[table[self.changed].isin(code)]
        is_base = table[self.changed] == self.base
        both = {*table.loc[is_base, self.family]} & {*table.loc[~is_base, self.family]}
        table = table[table[self.family].isin(both)]
        kinds = table[self.changed].map(code).to_numpy(np.int64)
        return stats.pairs(table[self.family].to_numpy(str), kinds), table

    def _steps(self, table: pd.DataFrame, pairs: Pairs) -> Floats:
        """The signed size of each pair's step."""
        steps = np.full(len(pairs.changed), np.nan)
        for kind, column in self.steps.items():
            here = pairs.kind == self.kinds.index(kind)
            values = _sizes(table[column])
            steps[here] = values[pairs.changed[here]] - values[pairs.original[here]]
        return steps

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Rows of MEASURES: flips, changes of scores, steps and distances, slopes, ranks.

        For each kind of change (``group``): how often the choice flips, and the mean change of each
        label's score and the mean of its size (``label`` blank: the mean over labels); each
        demographic kind against each nuisance and all of them together; the size of its steps, its
        distance in the embedding and in colour; the slope by the size of the step, where there are
        several; its rank by the size of the change for each unit of distance.
        """
        if rows.empty:
            why = "no family has its base and a changed picture"
            nothing = {"metric": FLIPS, "status": UNDEFINED, "reason": why}
            return measured([nothing], probe=self.kind, task=self.task)
        moved = _Moved.of(self, rows, design)
        found = [
            self._families(rows, moved, seen),
            *_Told(self, moved, seen, design).every(),
            *self._not_asked(seen),
        ]
        every = {"probe": self.kind, "task": self.task, "level": design.confidence.level}
        return MEASURES.conform(measured(found, attribute=self.changed, **every))

    def _families(self, rows: pd.DataFrame, moved: _Moved, seen: Seen) -> Row:
        """How many families are compared, and how many could not be."""
        asked = self._table(seen.dataset, self.pictures(seen.dataset))[self.family]
        lost = asked.nunique() - asked.reindex(rows["image_id"].unique()).nunique()
        return {
            "metric": FAMILIES,
            "value": float(asked.nunique() - lost),
            "unit": "families",
            "n": len(moved.kinds),
            "subjects": len({*moved.families}),
            "reason": f"{lost} more without a base or without a change asked about" if lost else "",
            "verdict": NOT_JUDGED,
        }

    def _not_asked(self, seen: Seen) -> Iterator[Row]:
        """Kinds of change that the manifest has and the suite doesn't name."""
        table = self._table(seen.dataset, seen.images.keys)
        for kind in sorted({*table[self.changed]} - {*self.kinds, self.base}):
            why = "named neither under 'demographic' nor under 'nuisance'"
            yield {"metric": FLIPS, "group": kind, "status": NOT_ASKED, "reason": why}


def _distances(vectors: NDArray[np.float32], one: Integers, other: Integers) -> Floats:
    """1 less the cosine of each pair's embeddings, which have unit length."""
    found = np.empty(len(one))
    for start in range(0, len(one), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        a, b = vectors[one[part]], vectors[other[part]]
        found[part] = 1 - np.einsum("rd,rd->r", a, b, dtype=np.float64)
    return np.maximum(found, 0.0)


# ---- colours -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Colours:
    """Colour difference of each pair, (R, 2): whole and middle; nan where ``reason`` says why."""

    value: Floats
    reason: str

    @classmethod
    def of(cls, probe: Counterfactual, moved: _Moved, seen: Seen) -> _Colours:
        """Open the pictures of whole families, in an order that the seed and their names decide."""
        value = np.full((len(moved.kinds), 2), np.nan)
        paths = seen.column("path")
        bases, family = np.unique(moved.bases, return_inverse=True)
        order = np.argsort([zlib.crc32(f"{seen.seed} {b}".encode()) for b in bases], kind="stable")
        left, why = probe.colours, "'colours' allows too few pictures for a family"
        for f in order:
            at = np.flatnonzero(family == f)
            left -= 1 + len(at)
            if left < 0:
                break
            try:
                base = decode(paths[bases[f]], seen.dataset.root)
            except Unreadable as error:
                why = f"pictures can't be opened: {error.reason}"
                continue
            for i in at:
                try:
                    other = decode(paths[moved.others[i]], seen.dataset.root)
                except Unreadable as error:
                    why = f"pictures can't be opened: {error.reason}"
                    continue
                value[i] = colour_difference(base, other)
        return cls(value, "'colours' is 0" if not probe.colours else why)


# ---- what is measured --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Moved:
    """R pairs: ids of both pictures, family, kind; L score changes, flip, step, distance."""

    bases: Array
    others: Array
    families: Array
    kinds: Integers
    deltas: Floats
    flips: NDArray[np.bool_]
    steps: Floats
    distances: Floats

    @classmethod
    def of(cls, probe: Counterfactual, rows: pd.DataFrame, design: Design) -> _Moved:
        """From rows in any order; what is drawn together is the cluster of the base picture."""
        kind = {name: i for i, name in enumerate(probe.kinds)}
        label = {text: i for i, text in enumerate(probe.labels.texts)}
        coded = rows.assign(kind=rows["changed"].map(kind), at=rows["label"].map(label))
        coded = coded.sort_values(["kind", "other_id", "image_id", "at"], kind="stable")
        first = coded[coded["at"] == 0]
        groups = design.groups
        clusters = groups.clusters[groups.at(first["image_id"])]
        return cls(
            bases=first["image_id"].to_numpy(str),
            others=first["other_id"].to_numpy(str),
            families=np.array(groups.cluster_ids)[clusters],
            kinds=first["kind"].to_numpy(np.int64),
            deltas=coded["delta"].to_numpy(np.float64).reshape(len(first), len(label)),
            flips=first["flipped"].to_numpy(bool),
            steps=first["step"].to_numpy(np.float64),
            distances=first["distance"].to_numpy(np.float64),
        )

    @property
    def sizes(self) -> Floats:
        """Size of each label's change, and last their mean, (R, L + 1)."""
        size = np.abs(self.deltas)
        return np.column_stack([size, size.mean(axis=1)])


@dataclass(frozen=True)
class _Told:
    """The pairs of one probe as rows of MEASURES."""

    probe: Counterfactual
    moved: _Moved
    seen: Seen
    design: Design

    def every(self) -> Iterator[Row]:
        """All rows."""
        flips, steps, distances = self._flips(), [*self._steps()], [*self._distances()]
        yield from self._flip_rows(flips)
        yield from self._more_flips(flips, [*steps, *distances])
        changes = [*self._sizes(), *self._changes()]
        yield from self._with_sentences(changes, [*steps, *distances])
        yield from self._larger()
        yield from steps
        yield from distances
        yield from self._slopes()
        yield from self._by_distance()

    # ---- whom and what rows are about

    @property
    def _settings(self) -> Row:
        c = self.design.confidence
        return {"level": c.level, "seed": self.design.seed, "resamples": c.resamples}

    def _kind(self, k: int) -> Row:
        """What all rows of a kind have; the one after the last is all nuisances together."""
        kinds = self.probe.kinds
        role = DEMOGRAPHIC if k < len(self.probe.demographic) else NUISANCE
        here = self._stacked[1] == k
        return {
            "condition": role,
            "group": kinds[k] if k < len(kinds) else POOLED,
            "n": int(here.sum()),
        }

    def _label(self, j: int) -> Row:
        """What all rows of a label have; the one after the last is all labels together."""
        labels = self.probe.labels
        if j < len(labels.labels):
            label = labels.labels[j]
            family = margin_family(label.tags, labels)
            return {"label": label.text, "margin_family": family, "harm": label.harm or ""}
        harm = next((label.harm for label in labels.labels if label.harm), "")
        return {"label": "", "margin_family": DEFAULT_FAMILY, "harm": harm}

    def _margin(self, family: str) -> float:
        """How large a change of a cosine must be to matter: the ratio of odds as a cosine."""
        ratio = self.design.confidence.margin(family).times
        return math.log(ratio) / self.seen.texts.scoring.scale

    @cached_property
    def _stacked(self) -> tuple[Integers, Integers]:
        """Places and kinds of the pairs, those of nuisances again as one more kind."""
        kinds, first = self.moved.kinds, len(self.probe.demographic)
        at = np.arange(len(kinds))
        if not self.probe.nuisance:
            return at, kinds
        again = np.flatnonzero(kinds >= first)
        pooled = np.full(len(again), len(self.probe.kinds))
        return np.concatenate([at, again]), np.concatenate([kinds, pooled])

    @property
    def _number(self) -> int:
        return len(self.probe.kinds) + bool(self.probe.nuisance)

    @property
    def _compared(self) -> tuple[Integers, Integers]:
        """Every demographic kind with every nuisance and with all of them together."""
        first = len(self.probe.demographic)
        one, other = np.mgrid[0:first, first : self._number]
        return one.reshape(-1), other.reshape(-1)

    def _of(
        self,
        found: Effects,
        kinds: Sequence[Row],
        labels: Sequence[Row],
        judged: bool = True,
        **every: object,
    ) -> Iterator[Row]:
        """One row an effect of a table (K, L)."""
        for k, kind in enumerate(kinds):
            for j, label in enumerate(labels):
                at = k, j
                margin = self._margin(label["margin_family"]) if judged else math.nan
                ends = _ends(found, at)
                if every.get("unit") == COSINE:  # which changes by 2 at most; a size is not below 0
                    least = 0.0 if every["metric"] == SIZE else -2.0
                    ends = {name: min(max(end, least), 2.0) for name, end in ends.items()}
                low, high = ends["low_simultaneous"], ends["high_simultaneous"]
                yield {
                    **kind,
                    **label,
                    "subjects": int(found.families[at]),
                    "value": float(found.value[at]),
                    **ends,
                    "p": float(found.p[at]),
                    "q": float(found.q[at]),
                    "family_size": int((found.status == OK).sum()),
                    "margin": margin,
                    "status": str(found.status[at]),
                    "reason": str(found.reason[at]),
                    "verdict": str(verdicts(low, high, margin)) if judged else NOT_JUDGED,
                    **every,
                }

    # ---- flips

    def _flips(self) -> Flips:
        at, kinds = self._stacked
        moved = self.moved
        return flipping.flip_rates(
            moved.flips[at, np.newaxis], moved.families[at], kinds, self._number, **self._settings
        )

    def _flip_rows(self, found: Flips) -> Iterator[Row]:
        """How often each kind of change changes the choice."""
        for k in range(self._number):
            yield {
                **self._kind(k),
                "metric": FLIPS,
                "subjects": int(found.families[k, 0]),
                "events": self._events(k),
                "value": float(found.value[k, 0]),
                **_ends(found, (k, 0)),
                "family": f"{self.probe.task}, flip rates",
                "family_size": self._number,
                "method": "exact, or Wilson's at the effective number of pairs; max-T",
                "status": str(found.status[k, 0]),
                "reason": str(found.reason[k, 0]),
                "verdict": NOT_JUDGED,
            }

    def _events(self, k: int) -> int:
        at, kinds = self._stacked
        return int(self.moved.flips[at[kinds == k]].sum())

    def _more_flips(self, flips: Flips, sizes: Sequence[Row]) -> Iterator[Row]:
        """Flip rates of demographic changes less those of nuisances."""
        if not self.probe.nuisance:
            return
        one, other = self._compared
        found = flipping.compare_flips(flips, one, other, self.design.confidence.level)
        margin = self.design.confidence.margin(DEFAULT_FAMILY).difference
        for j in range(len(one)):
            row = self._flips_apart(found, j, int(one[j]), int(other[j]), margin)
            if row["other"] == POOLED and row["status"] == OK:
                row["statement"] = self._flip_sentence(row, flips, sizes)
            yield row

    def _flips_apart(self, found: Family, j: int, one: int, other: int, margin: float) -> Row:
        estimates = found.difference
        low, high = float(estimates.low_all[0, j]), float(estimates.high_all[0, j])
        usable = not math.isnan(low)
        more = estimates.value[0, j] > 0
        families = {*self._families(one)} | {*self._families(other)}
        return {
            "condition": "demographic less nuisance",
            "metric": MORE_FLIPS,
            "group": self._kind(one)["group"],
            "other": self._kind(other)["group"],
            "n": self._kind(one)["n"],
            "subjects": len(families),
            "events": self._events(one),
            "value": float(estimates.value[0, j]),
            **_ends(estimates, (0, j)),
            "p": float(found.p[0, j]),
            "q": float(found.q[0, j]),
            "smallest_p": found.smallest_q,
            "family": f"{self.probe.task}, demographic against nuisance flip rates",
            "family_size": found.size,
            "margin": margin,
            "method": "paired by family; max-T",
            "status": OK if usable else TOO_FEW,
            "reason": "" if usable else "too few families have one of the two changes",
            "verdict": str(verdicts(low, high, margin)),
            # that a nuisance moves the choice more is no harm to anybody
            "harm": self._label(len(self.probe.labels.labels))["harm"] if more else "",
        }

    def _families(self, k: int) -> Array:
        at, kinds = self._stacked
        return np.unique(self.moved.families[at[kinds == k]])

    # ---- changes of scores

    def _sizes(self) -> Iterator[Row]:
        """How far each kind of change moves each label, up or down."""
        at, kinds = self._stacked
        found = stats.mean_changes(
            self.moved.sizes[at], self.moved.families[at], kinds, self._number, **self._settings
        )
        yield from self._of(
            found,
            [self._kind(k) for k in range(self._number)],
            [self._label(j) for j in range(self.moved.deltas.shape[1] + 1)],
            metric=SIZE,
            unit=COSINE,
            family=f"{self.probe.task}, sizes of changes",
            method="mean over families, Student's t less skewness; max-T. p is of no size at all",
        )

    def _changes(self) -> Iterator[Row]:
        """Mean change of each label's score, then towards each value that ``towards`` names."""
        moved = self.moved
        kinds = [self._kind(k) for k in range(len(self.probe.kinds))]
        yield from self._signed(moved.deltas, moved.families, moved.kinds, kinds, "changes")
        at, codes, signs, towards = self._towards()
        if towards:
            deltas = moved.deltas[at] * signs[:, np.newaxis]
            yield from self._signed(deltas, moved.families[at], codes, towards, "changes towards")

    def _signed(
        self, deltas: Floats, families: Array, kinds: Integers, who: Sequence[Row], what: str
    ) -> Iterator[Row]:
        found = stats.mean_changes(deltas, families, kinds, len(who), **self._settings)
        signs = stats.sign_test(deltas, families, kinds, len(who))
        labels = [self._label(j) for j in range(deltas.shape[1])]
        told = "mean over families, Student's t less skewness; max-T"
        rows = self._of(
            found, who, labels, metric=CHANGE, unit=COSINE, family=f"{self.probe.task}, {what}"
        )
        for row, p in zip(rows, signs.reshape(-1), strict=True):
            yield row | {"method": f"{told}. Sign test over families: p = {p:.2g}"}

    def _towards(self) -> tuple[Integers, Integers, Floats, list[Row]]:
        """Pairs in which one picture has a value and the other hasn't, and which of them has.

        Each pair stands once for the value it goes to and once for the one it comes from; of two
        values one says all.
        """
        moved, at, codes, signs, who = self.moved, [], [], [], list[Row]()
        for kind, column in self.probe.towards.items():
            here = np.flatnonzero(moved.kinds == self.probe.kinds.index(kind))
            values = self.seen.column(column).astype("str")
            sides = [values[of[here]] for of in (moved.bases, moved.others)]
            known = sides[0].notna().to_numpy() & sides[1].notna().to_numpy()
            before, after = (side.fillna("").to_numpy(str) for side in sides)
            every = sorted({*before[known], *after[known]})
            for value in every[1:] if len(every) == 2 else every:
                sign = np.where(known, (after == value) * 1.0 - (before == value), 0.0)
                some = np.flatnonzero(sign)
                at.append(here[some])
                codes.append(np.full(len(some), len(who)))
                signs.append(sign[some])
                about = {"condition": f"{TOWARDS}{column} {value}", "group": kind, "n": len(some)}
                who.append(about)
        if not who:
            none = np.empty(0, np.int64)
            return none, none, np.empty(0), who
        return np.concatenate(at), np.concatenate(codes), np.concatenate(signs), who

    def _larger(self) -> Iterator[Row]:
        """How much further demographic changes move each label than nuisances do."""
        if not self.probe.nuisance:
            return
        at, kinds = self._stacked
        one, other = self._compared
        found = stats.compare_changes(
            np.column_stack([self.moved.deltas, self.moved.sizes[:, -1]])[at],
            self.moved.families[at], kinds, one, other, **self._settings,
        )  # fmt: skip
        who = [
            {
                "condition": "demographic less nuisance",
                "group": self._kind(a)["group"],
                "other": self._kind(b)["group"],
                "n": self._kind(a)["n"],
            }
            for a, b in zip(one.tolist(), other.tolist(), strict=True)
        ]
        yield from self._of(
            found.effects,
            who,
            [self._label(j) for j in range(self.moved.deltas.shape[1] + 1)],
            metric=LARGER,
            unit=COSINE,
            family=f"{self.probe.task}, demographic against nuisance sizes",
            method="size less size, paired by family, Student's t less skewness; max-T",
        )

    # ---- steps and distances

    def _steps(self) -> Iterator[Row]:
        """The mean size of each kind's steps, in what its column is in."""
        for k, kind in enumerate(self.probe.kinds):
            row = self._kind(k) | {"metric": STEP, "verdict": NOT_JUDGED}
            sizes = np.abs(self.moved.steps[self.moved.kinds == k])
            known = sizes[~np.isnan(sizes)]
            if kind not in self.probe.steps:
                why = "no column is named for it under 'steps'"
                yield row | {"status": NOT_ASKED, "reason": why}
            elif not known.size:
                yield row | {"status": UNDEFINED, "reason": "no pair has a known step"}
            else:
                ends = f"from {known.min():.3g} to {known.max():.3g}"
                missing = len(sizes) - len(known)
                gone = f"; not known for {missing} of {len(sizes)} pairs" if missing else ""
                yield row | {
                    "value": float(known.mean()),
                    "unit": self.probe.steps[kind],
                    "method": f"mean size of the step, {ends}{gone}",
                }

    def _distances(self) -> Iterator[Row]:
        """Mean distance of each kind's pairs: in the embedding, and in colour."""
        moved = self.moved
        every = np.ones(len(moved.kinds), bool)
        yield from self._mean_distance(moved.distances, every, DISTANCE, "1 - cosine", "", "")
        for column, where in enumerate((WHOLE_PICTURE, MIDDLE)):
            value = self._colours.value[:, column]
            why = self._colours.reason
            yield from self._mean_distance(value, ~np.isnan(value), COLOUR, "CIE 1976", where, why)

    def _mean_distance(
        self, value: Floats, known: NDArray[np.bool_], metric: str, unit: str, where: str, why: str
    ) -> Iterator[Row]:
        moved, number = self.moved, len(self.probe.kinds)
        found = stats.mean_changes(
            value[known, np.newaxis], moved.families[known], moved.kinds[known], number,
            **self._settings,
        )  # fmt: skip
        blank = {"label": "", "margin_family": DEFAULT_FAMILY, "harm": ""}
        method = "mean over families, Student's t less skewness; max-T"
        kinds = [self._kind(k) for k in range(number)]
        of = np.bincount(moved.kinds[known], minlength=number)
        rows = self._of(found, kinds, [blank], judged=False, metric=metric, unit=unit)
        for k, row in enumerate(rows):
            row |= {"method": method, "n": int(of[k]), "p": math.nan, "q": math.nan}
            row |= {"reason": why} if why and not of[k] else {}
            yield row | ({"condition": f"{row['condition']}, {where}"} if where else {})

    @cached_property
    def _colours(self) -> _Colours:
        return _Colours.of(self.probe, self.moved, self.seen)

    # ---- size of the step

    def _slopes(self) -> Iterator[Row]:
        """Change for each unit of step, where a kind has several sizes of step."""
        named = [k for k, kind in enumerate(self.probe.kinds) if kind in self.probe.steps]
        if not named:
            return
        moved = self.moved
        at = np.flatnonzero(np.isin(moved.kinds, named))
        code = np.searchsorted(named, moved.kinds[at])
        size, sign = np.abs(moved.steps[at]), np.where(moved.steps[at] < 0, -1.0, 1.0)
        found = dose.dose_response(
            # a step down and its change, both turned round, lie on the same line
            moved.deltas[at] * sign[:, np.newaxis], moved.families[at], code, size, len(named),
            **self._settings,
        )  # fmt: skip
        labels = [self._label(j) for j in range(moved.deltas.shape[1])]
        for metric, effects in ((SLOPE, found.slope), (INTERCEPT, found.intercept)):
            rows = self._of(
                effects,
                [self._kind(k) for k in named],
                labels,
                judged=False,
                metric=metric,
                family=f"{self.probe.task}, {metric} by step",
                method=(
                    "least squares through the origin" if metric == SLOPE else
                    "line free to miss the origin"
                ) + ", steps down turned round; jackknife of families; max-T",
            )  # fmt: skip
            for row in rows:
                yield self._per_unit(row, size[code == named.index(self._code(row))], metric)

    def _code(self, row: Row) -> int:
        return self.probe.kinds.index(row["group"])

    def _per_unit(self, row: Row, sizes: Floats, metric: str) -> Row:
        """A slope for so many units that it is about as large as a change; nothing of one step."""
        if metric == INTERCEPT:
            return row | {"unit": COSINE}
        mean = float(np.nanmean(sizes)) if (sizes > 0).any() else 1.0
        unit = 10.0 ** math.floor(math.log10(mean))
        scaled = {
            name: row[name] * unit
            for name in ("value", "low", "high", "low_simultaneous", "high_simultaneous")
        }
        return row | scaled | {"unit": f"{COSINE} for {unit:g} of {self.probe.steps[row['group']]}"}

    def _by_distance(self) -> Iterator[Row]:
        """Size of the change for each unit of distance, and kinds ranked by it."""
        moved = self.moved
        # the change of a cosine is at most the length between two embeddings, and grows with it;
        # it does not grow with 1 - cosine, which is half the square of that length
        length = np.sqrt(2 * moved.distances)
        yield from self._ranked(np.ones(len(length), bool), length, "embedding", "unit length")
        colour = self._colours.value[:, 0]
        known = ~np.isnan(colour)
        if known.any():
            yield from self._ranked(known, colour, "colour", "CIE 1976")

    def _ranked(
        self, known: NDArray[np.bool_], distance: Floats, which: str, unit: str
    ) -> Iterator[Row]:
        """Slopes and ranks against one distance that is measured alike for all kinds."""
        moved, number = self.moved, len(self.probe.kinds)
        pairs = (
            moved.sizes[known], moved.families[known], moved.kinds[known], distance[known], number
        )  # fmt: skip
        kinds = [self._kind(k) for k in range(number)]
        for kind in kinds:
            kind["condition"] += f", per {which} distance"
        labels = [self._label(j) for j in range(moved.deltas.shape[1] + 1)]
        method = "least squares through the origin, jackknife of families; max-T"
        yield from self._of(
            dose.dose_response(*pairs, **self._settings).slope,
            kinds,
            labels,
            judged=False,
            metric=PER_DISTANCE,
            unit=f"{COSINE} for 1 {unit}",
            family=f"{self.probe.task}, size per {which} distance",
            method=method,
        )
        found = dose.rank_kinds(*pairs, **self._settings)
        for k, kind in enumerate(kinds):
            for j, label in enumerate(labels):
                yield {
                    **kind,
                    **label,
                    "metric": RANK,
                    "unit": f"of {int((~np.isnan(found.rank[:, j])).sum())}",
                    "value": float(found.rank[k, j]),
                    "low_simultaneous": float(found.best[k, j]),
                    "high_simultaneous": float(found.worst[k, j]),
                    "family": f"{self.probe.task}, ranks per {which} distance",
                    "family_size": int((found.differences.status == OK).sum()),
                    "method": "ranks left open by all differences of slopes together",
                    "status": UNDEFINED if math.isnan(found.rank[k, j]) else OK,
                    "reason": found.reason[k],
                    "verdict": NOT_JUDGED,
                }

    # ---- sentences

    def _flip_sentence(self, row: Row, flips: Flips, sizes: Sequence[Row]) -> str:
        """A demographic change beside all nuisances: flips, verdict, the size of both changes."""
        first, kinds = len(self.probe.demographic), self.probe.kinds
        pooled = self._kind(len(kinds))
        worst = first + int(np.nanargmax(flips.value[first : len(kinds), 0]))
        near = sum(self._mean(sizes, kind) * self._kind(first + i)["n"]
                   for i, kind in enumerate(self.probe.nuisance)) / pooled["n"]  # fmt: skip
        points, margin = 100 * row["value"], f"{100 * row['margin']:g} points"
        ours = share(row["events"], row["n"])
        theirs = share(self._events(len(kinds)), pooled["n"])
        most = share(self._events(worst), self._kind(worst)["n"])
        return (
            f"Asked '{self.probe.labels.name}', the model changes its choice for {ours} of the "
            f"pictures in which {_plain(row['group'])} was changed and for {theirs} of those in "
            f"which only {_either(self.probe.nuisance)} was: {abs(points):.0f} points "
            f"{'more' if points > 0 else 'less'} ({self._within(row, 100, '.0f')}); "
            f"{_judged(row, margin)}. Of the latter {_plain(kinds[worst])} changes most choices, "
            f"{most}. A larger step changes more: {self._step(sizes, row['group'])}, and its "
            f"distance in the embedding is {self._mean(sizes, row['group']):.2g} against "
            f"{near:.2g} on average."
        )

    def _with_sentences(self, rows: Sequence[Row], sizes: Sequence[Row]) -> Iterator[Row]:
        """Changes of scores, with a sentence for the labels that one surely moves furthest."""
        told = [
            row for row in rows
            if row["label"] and row["group"] != POOLED and row["status"] == OK
            and (row["metric"] == SIZE or row["condition"].startswith(TOWARDS))
        ]  # fmt: skip
        told.sort(key=_sureness)
        surest = {row["label"]: row for row in told}
        for row in sorted(surest.values(), key=_sureness)[-FINDINGS:]:
            signed = row["metric"] == CHANGE
            said = self._signed_sentence(row) if signed else self._size_sentence(row, told)
            row["statement"] = (
                f"Asked '{self.probe.labels.name}', {said}. Here "
                f"{self._step(sizes, row['group'])}, and the distance in the embedding is "
                f"{self._mean(sizes, row['group']):.2g} on average."
            )
        yield from rows

    def _size_sentence(self, row: Row, rows: Sequence[Row]) -> str:
        """The change that moves a label furthest, and the one that comes next."""
        others = [
            r for r in rows
            if r["metric"] == SIZE and r["label"] == row["label"] and r["group"] != row["group"]
        ]  # fmt: skip
        said = (
            f"changing {_plain(row['group'])} moves the score of '{row['label']}' by "
            f"{row['value']:.2g} in cosine on average, up or down, {self._judged_odds(row)}"
        )
        if not others:
            return said
        other = max(others, key=lambda r: float(r["value"]))
        further = f"{_plain(other['group'])} moves it furthest, by {other['value']:.2g}"
        return f"{said}. Of the other changes {further}"

    def _signed_sentence(self, row: Row) -> str:
        """What a picture has, and how the score differs from one that differs in this alone."""
        what = _plain(row["condition"].removeprefix(TOWARDS))
        way = "higher" if row["value"] > 0 else "lower"
        return (
            f"the score of '{row['label']}' is {way} by {abs(row['value']):.2g} in cosine on "
            f"average with {what} than without, in {row['n']} pairs of pictures that differ in "
            f"{_plain(row['group'])} alone, {self._judged_odds(row)}"
        )

    def _judged_odds(self, row: Row) -> str:
        """What the change of a cosine is as a factor on odds, with bounds and verdict."""
        scale = self.seen.texts.scoring.scale
        factor, allowed = (math.exp(abs(row[name]) * scale) for name in ("value", "margin"))
        margin = f"{allowed:.3g} times ({row['margin']:.2g} in cosine)"
        return (
            f"a factor of {rounded(factor)} on its odds ({row['subjects']} families, "
            f"{self._within(row, 1, '.2g')}); {_judged(row, margin)}"
        )

    def _within(self, row: Row, unit: float, digits: str) -> str:
        level = 100 * self.design.confidence.level
        low, high = (f"{unit * row[f'{end}_simultaneous']:{digits}}" for end in ("low", "high"))
        return f"{level:.0f} % simultaneous bounds {low} to {high}"

    def _mean(self, sizes: Sequence[Row], kind: str) -> float:
        """Mean distance in the embedding of a kind's pairs."""
        of = [r for r in sizes if r["metric"] == DISTANCE and r["group"] == kind]
        return float(of[0]["value"])

    def _step(self, sizes: Sequence[Row], kind: str) -> str:
        """The size of a kind's steps in words."""
        row = next(r for r in sizes if r["metric"] == STEP and r["group"] == kind)
        if row.get("status", OK) != OK:
            return f"the size of the step in {_plain(kind)} is not stated"
        return f"the step in {_plain(kind)} is {row['value']:.3g} in {row['unit']} on average"


def _ends(found: Effects | Flips | Estimates, at: tuple[int, int]) -> Row:
    """Bounds alone and of all at once."""
    names = {"low": "low", "high": "high"}
    names |= {"low_simultaneous": "low_all", "high_simultaneous": "high_all"}
    return {column: float(getattr(found, name)[at]) for column, name in names.items()}


def _sureness(row: Row) -> float:
    """The lower bound of the change's size, in margins."""
    low, _ = size_bounds(np.array(row["low_simultaneous"]), np.array(row["high_simultaneous"]))
    return float(low) / float(row["margin"])


def _judged(row: Row, margin: str) -> str:
    return Verdict(row["verdict"]).against(margin)


def _plain(kind: str) -> str:
    return kind.replace("_", " ")


def _either(names: Sequence[str]) -> str:
    *others, last = map(_plain, names)
    return " or ".join(filter(None, [", ".join(others), last]))


def _sizes(column: Values) -> NDArray[np.float64]:
    """A column's numbers, also with decimal commas; nan for what is none."""
    found = (number(str(value)) if value is not None else None for value in column)
    return np.array([np.nan if size is None else size for size in found])

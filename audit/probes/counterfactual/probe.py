"""Counterfactual: one thing in a picture is changed; does the model's answer change with it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Row, Values
from audit.core.tables import ENSEMBLE, MEASURES, NOT_ASKED, NOT_JUDGED, PAIRS, UNDEFINED
from audit.data.dataset import Dataset
from audit.data.labels import LabelSet, PromptSet
from audit.data.values import number
from audit.data.yamlfile import FieldError
from audit.measure.measures import measured
from audit.probes.counterfactual.moved import Moved
from audit.probes.counterfactual.names import FAMILIES, FLIPS
from audit.probes.counterfactual.rows import Changes
from audit.probes.kit.base import Design, Probe, Seen, no_such_value, require_column
from audit.probes.kit.choice import Choice
from audit.stats import counterfactual as stats
from audit.stats.counterfactual import ORIGINAL, Pairs

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
                raise InputError(told, "Name a numeric column, or use 'towards'")
        try:
            stats.pairs(table[self.family], np.where(table[self.changed] == self.base, ORIGINAL, 0))
        except InputError as error:
            base = f"The base is the picture with '{self.base}' in column '{self.changed}'"
            raise InputError(f"probe '{self.kind}': {error}", base) from error

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
            raise InputError(told, f"Fill the column '{self.family}'")
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
        moved = Moved.of(self, rows, design)
        found = [
            self._families(rows, moved, seen),
            *Changes(moved, seen, design).every(),
            *self._not_asked(seen),
        ]
        every = {"probe": self.kind, "task": self.task, "level": design.confidence.level}
        return MEASURES.conform(measured(found, attribute=self.changed, **every))

    def _families(self, rows: pd.DataFrame, moved: Moved, seen: Seen) -> Row:
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


def _sizes(column: Values) -> Floats:
    """A column's numbers, also with decimal commas; nan for what is none."""
    found = (number(str(value)) if value is not None else None for value in column)
    return np.array([np.nan if size is None else size for size in found])

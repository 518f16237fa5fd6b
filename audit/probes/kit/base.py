"""What is asked. A probe is its configuration; it maps embeddings to outcome rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.errors import InputError, sentence
from audit.core.registry import Registry, suggest
from audit.core.rows import Fields, Values
from audit.core.schema import Schema
from audit.core.tables import MEASURES
from audit.data.dataset import Dataset
from audit.data.guard import accusation
from audit.data.remarks import Remark, of_column
from audit.data.yamlfile import FieldError
from audit.measure.confidence import Confidence
from audit.measure.metrics import Draws, Groups
from audit.models.encoder import Gives, Texts
from audit.store.embeddings import Alteration, Embeddings

if TYPE_CHECKING:
    from audit.data.labels import LabelSet, PromptSet


@dataclass(frozen=True)
class Seen:
    """What a probe is shown: pictures as they are and as altered, and the text side of the model.

    ``altered`` holds the embeddings of the same pictures by name of the alteration; pictures that
    can't be altered are missing there. ``encode`` embeds other pictures, by their paths: what the
    data set's are held against, say.
    """

    images: Embeddings
    texts: Texts
    dataset: Dataset
    altered: Mapping[str, Embeddings] = field(default_factory=dict)
    seed: int = 0
    encode: Callable[[Sequence[Path]], Embeddings] | None = None

    def only(self, keys: Sequence[str]) -> Seen:
        """The same for some of the pictures, in this order."""
        altered = {name: images.only(keys) for name, images in self.altered.items()}
        return replace(self, images=self.images.only(keys), altered=altered)

    def column(self, name: str) -> Values:
        """A manifest column of these pictures, in their order."""
        return self.dataset.table.set_index("image_id", drop=False)[name].reindex(
            list(self.images.keys)
        )


@dataclass(frozen=True)
class Design:
    """What a comparison rests on: who is in which group, what is drawn again, how sure to be."""

    groups: Groups
    draws: Draws
    confidence: Confidence
    seed: int


class Probe(BaseModel):
    """A question to a model about pictures; its fields are its YAML keys.

    A new probe subclasses this, sets ``asks`` (one sentence, printed in the report) and ``emits``
    (the table it writes), and implements ``outcomes``. Outcomes that are choices of a label set are
    counted and compared like those of every other probe; anything else is measured by
    ``measures``. A probe sees one batch of pictures at a time and must give the same rows however
    the pictures are split, unless ``whole`` says why it can't and what bounds it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asks: ClassVar[str]
    emits: ClassVar[Schema]
    #: why all pictures are needed at once, and the bound on memory; blank: any split will do
    whole: ClassVar[str] = ""
    #: the least that a model has to give; see ``audit.models.encoder.GIVES``
    needs: ClassVar[Gives] = "embeddings"
    #: whether scores have to be from 0 to 1
    bounded: ClassVar[bool] = False
    #: metrics of gaps in MEASURES that gates judge, each with the family of its margin
    gated: ClassVar[Mapping[str, str]] = {}
    #: keys that plans sealed before had, with the only value they could have
    earlier: ClassVar[Fields] = {}
    #: keys that came after plans were sealed, empty by default: unused they are in no digest
    later: ClassVar[frozenset[str]] = frozenset({"name"})

    kind: str
    name: str = Field("", description="of the task; by default made from what is asked")
    only: Mapping[str, str | tuple[str, ...]] = Field(
        default_factory=dict, description="column: value or values; ask of these pictures only"
    )

    @model_validator(mode="after")
    def _is_called_so(self) -> Self:
        if self.name and self.task != self.name:
            told = f"a {self.kind} probe names its task itself"
            raise FieldError(sentence(told, "Leave 'name' out"), "name")
        return self

    @property
    def task(self) -> str:
        """The name under which this probe's outcomes are counted; unique within a suite."""
        return self.name or self.usual_task

    @property
    def usual_task(self) -> str:
        """The task's name where the suite gives none, made from what is asked."""
        raise NotImplementedError

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The label sets asked about, for the report and for care of suspicion labels."""
        return ()

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The template sets used, for the report."""
        return ()

    def other_sets(self) -> tuple[LabelSet, ...]:
        """Label sets that decide something and are not asked about; they count in the digest."""
        return ()

    def alterations(self) -> tuple[Alteration, ...]:
        """What is to be done to the pictures before they are looked at again."""
        return ()

    @property
    def needed(self) -> Gives:
        """The least that a model has to give for this question."""
        return self.needs

    def sensitive(self) -> Iterator[str]:
        """Names that a suite must list under ``acknowledge:`` before this may be asked.

        Label sets that need it, and template sets of which a template accuses whoever it is of.
        """
        asked: list[LabelSet | PromptSet] = [*self.label_sets(), *self.prompt_sets()]
        for words in asked:
            if words.needs_acknowledgement:
                yield words.name

    def accused(self, name: str) -> str:
        """The words for which free text of this name is sensitive, in brackets; '' for tags."""
        sets = [x for labels in self.label_sets() if labels.name == name for x in labels.labels]
        texts = [label.text for label in sets if not label.tags]
        texts += [t for words in self.prompt_sets() if words.name == name for t in words.templates]
        found = next(filter(None, map(accusation, texts if sets or texts else [name])), None)
        return f" ('{found.words}' is {found.where})" if found else ""

    def resolve(self, dataset: Dataset) -> None:
        """Resolve every name against the data set, so that ``check`` finds mistakes early.

        Raises:
            InputError: a label set, template set or column that isn't there.
        """

    def resolve_groups(self, dataset: Dataset, groups: Mapping[str, Values]) -> None:
        """Resolve names of attributes and groups, which are the suite's.

        Args:
            dataset: the data set.
            groups: group names by picture for every attribute and intersection.

        Raises:
            InputError: an attribute or group that isn't there.
        """

    def remarks(self, dataset: Dataset) -> Iterator[Remark]:
        """What of the data set probably doesn't mean what this probe takes it for, with counts."""
        asked = list(Probe.pictures(self, dataset))
        for column, named in {**dict.fromkeys(self.only, ()), **self.compared()}.items():
            values = dataset.texts(column)
            for text in of_column(column, values.loc[asked] if named else values, named):
                yield Remark(f"'{self.task}': {text}", task=self.task, of_answers=False)

    def compared(self) -> Mapping[str, tuple[str, ...]]:
        """Columns whose values are told apart, each with those asked about; empty: all it has."""
        return {}

    def pictures(self, dataset: Dataset) -> tuple[str, ...]:
        """Ids of the pictures asked about: all, or those that ``only`` names.

        Raises:
            InputError: ``only`` names a column or value that isn't there.
        """
        table = dataset.table
        chosen = np.ones(len(table), bool)
        for having in pictures_having(dataset, self.only, f"probe '{self.kind}': only"):
            chosen &= having
        if not chosen.any():
            raise InputError(
                f"probe '{self.kind}': only: no picture meets all of "
                + ", ".join(f"{c} = {v}" for c, v in self.only.items()),
                "Loosen one of them",
            )
        return tuple(table["image_id"].to_numpy(object)[chosen])

    def asked_texts(self, dataset: Dataset, seed: int) -> Iterator[str]:
        """Every text that the model is asked to read, so that ``check`` finds one that is too long.

        Every label in every template by default; a probe that asks otherwise says so here.
        """
        for labels in self.label_sets():
            for words in self.prompt_sets():
                for label in labels.texts:
                    yield from words.prompts(label)

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """One batch of embeddings to rows of ``emits``."""
        raise NotImplementedError

    def merged(self, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Rows of several batches as one table; the same whatever the split."""
        return pd.concat(parts, ignore_index=True)

    def contrasts(self) -> tuple[str, ...]:
        """Conditions whose effect on every rate and gap is to be told, against the headline."""
        return ()

    def follow_ups(
        self, seen: Seen, compared: pd.DataFrame, design: Design
    ) -> Mapping[str, pd.DataFrame]:
        """Further tables of a run, by name, about a choice of labels and its disparities."""
        return {}

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """What isn't a share of choices: the merged outcome rows to rows of MEASURES."""
        return MEASURES.empty()


def require_column(dataset: Dataset, column: str, where: str) -> None:
    """Refuse a manifest column that isn't there.

    Raises:
        InputError: the data set has no such column.
    """
    if column not in dataset.table:
        raise InputError(
            f"{where}: the data set '{dataset.name}' has no column '{column}'",
            suggest(column, map(str, dataset.table.columns)),
            "Its columns are " + ", ".join(f"'{c}'" for c in dataset.table.columns),
        )


def require_values(
    dataset: Dataset, column: str, values: Iterable[str], present: Iterable[str | None], where: str
) -> None:
    """Refuse values that none of the pictures has that are asked about; ``present``: all they have.

    Raises:
        InputError: one is not among these.
    """
    known = set(present)
    for value in values:
        if value not in known:
            raise no_such_value(dataset, column, value, known, where)


def pictures_having(
    dataset: Dataset, wanted: Mapping[str, str | tuple[str, ...]], where: str
) -> Iterator[NDArray[np.bool_]]:
    """Column by column, which pictures have one of its values.

    Raises:
        InputError: the data set has no such column, or no picture such a value.
    """
    for column, one_or_more in wanted.items():
        require_column(dataset, column, where)
        values = (one_or_more,) if isinstance(one_or_more, str) else one_or_more
        present = dataset.texts(column)
        require_values(dataset, column, values, present, where)
        yield present.isin(values).to_numpy()


def no_such_value(
    dataset: Dataset, column: str, value: str, present: Iterable[str | None], where: str
) -> InputError:
    """The error for a value that none of the pictures has that are asked about."""
    told = f"{where}: no picture has '{value}' in column '{column}'"
    if value in dataset.card.nothing(column):
        why = "The card lists it under 'unknown': nobody knows what these pictures show"
        return InputError(told, why, "Take it out there, or here")
    known = sorted({v for v in present if isinstance(v, str)})
    listing = "It holds " + ", ".join(f"'{v}'" for v in known[:8])
    return InputError(told, suggest(value, known), listing)


PROBES: Final[Registry[type[Probe]]] = Registry(
    "probe",
    "clip_audit.probes",
    "'clip-audit list probes' shows all.",
    {
        "alarms": "audit.probes.alarms.probe:Alarms",
        "classification": "audit.probes.classification.probe:Classification",
        "linear": "audit.probes.linear.probe:Linear",
        "mitigation": "audit.probes.mitigation.probe:Mitigation",
        "association": "audit.probes.association.probe:Association",
        "counterfactual": "audit.probes.counterfactual.probe:Counterfactual",
        "retrieval": "audit.probes.retrieval.probe:Retrieval",
        "identity": "audit.probes.identity.probe:Identity",
        "naming": "audit.probes.naming.probe:Naming",
        "robustness": "audit.probes.robustness.probe:Robustness",
        "shift": "audit.probes.shift.probe:Shift",
        "scenes": "audit.probes.scenes.probe:Scenes",
    },
)

__all__ = [
    "PROBES", "Design", "Probe", "Seen", "Texts", "no_such_value", "pictures_having",
    "require_column", "require_values",
]  # fmt: skip

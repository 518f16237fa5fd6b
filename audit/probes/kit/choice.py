"""A choice among the labels of a set: what every probe that asks for one has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest, unknown
from audit.core.rows import Fields
from audit.core.tables import CHOICES
from audit.data.dataset import Dataset
from audit.data.labels import LabelSet, PromptSet, load_label_set, load_prompt_set
from audit.data.remarks import Remark, counted, tally
from audit.measure.prompts import class_embeddings, ensemble, every_wording
from audit.measure.thresholds import CLIP_THRESHOLDS
from audit.probes.kit.base import Probe, Seen, Texts
from audit.probes.kit.variants import Wordings
from audit.stats.scoring import Scoring

if TYPE_CHECKING:
    from audit.store.embeddings import Embeddings

#: Embeddings agree to about 1e-5 across batch sizes, so a choice won by less may flip.
TIE: Final = 1e-5

#: the keys by which a classification asks again; other kinds had them with these values only
ONCE: Final[Fields] = {
    "wordings": Wordings().model_dump(),
    "label_effects": True,
    "thresholds": CLIP_THRESHOLDS,
    "score_as": {},
    "by_truth": False,
}


class Choice(Probe):
    """Choice by the highest similarity to the labels' class embeddings, in one wording.

    The prompts of all templates are averaged by CLIP's rule (Radford et al. 2021, arXiv 2103.00020,
    section 3.1.4: normalise each prompt embedding, average, normalise again).
    """

    emits: ClassVar = CHOICES
    earlier: ClassVar[Fields] = {
        "wordings": Wordings().model_dump(exclude={"templates"}),
        "label_effects": ONCE["label_effects"],
        "thresholds": ONCE["thresholds"],
    }

    label_set: str = Field(description="a bundled label set or the path of your own YAML")
    add: tuple[str, ...] = Field((), description="declared additions of the label set to include")
    templates: str = Field("plain", description="a bundled template set or the path of your own")
    truth: str | None = Field(None, description="the manifest column that says the right answer")
    truth_values: Mapping[str, str] = Field(
        default_factory=dict,
        description="value in the truth column: key of the label it means, or a class of score_as",
    )

    @model_validator(mode="before")
    @classmethod
    def _asks_once(cls, keys: object) -> object:
        """Leave out the keys of ``ONCE`` where they hold nothing else: earlier suites have them.

        Raises:
            ValueError: one asks again, which this kind doesn't.
        """
        if not isinstance(keys, Mapping):
            return keys
        held = {key: value for key, value in ONCE.items() if key not in cls.model_fields}
        for name in held.keys() & keys.keys():
            if _plain(keys[name]) not in (_plain(held[name]), {}):
                told = f"a {cls._kind()} probe does not know '{name}', which a classification has"
                add = f"Leave it out, or add a classification of the same label set with '{name}'"
                raise ValueError(sentence(told, add))
        return {key: value for key, value in keys.items() if key not in held}

    @classmethod
    def _kind(cls) -> str:
        field = cls.model_fields["kind"]
        return str(field.default if not field.is_required() else cls.__name__)

    @property
    def usual_task(self) -> str:
        """The label set's name, its additions included."""
        return self.labels.name

    @cached_property
    def labels(self) -> LabelSet:
        """The label set with its additions.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        labels = load_label_set(self.label_set, add=self.add)
        where = f"label set '{labels.name}': score_as"
        return labels.scored_as(self._scored_as, where) if self._scored_as else labels

    @cached_property
    def prompts(self) -> PromptSet:
        """The template set.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return load_prompt_set(self.templates)

    def classes(self, texts: Texts, labels: LabelSet) -> NDArray[np.float64]:
        """Class embeddings of a label set in the headline's wording, (labels, d), unit rows."""
        return ensemble(class_embeddings(texts, labels, every_wording([self.prompts])))

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The one label set asked about."""
        return (self.labels,)

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The template set."""
        return (self.prompts,)

    def resolve(self, dataset: Dataset) -> None:
        """Load both sets and check the truth column.

        Raises:
            InputError: a set or column isn't there, or no label of the set has truth in the data.
        """
        _ = self.labels, self.prompts
        self._require_meant()
        truth = self._truth(dataset)
        if self.truth is not None and not truth.notna().any():
            column = dataset.table[self.truth].dropna().astype(str)
            if column.empty:
                told = f"label set '{self.labels.name}': truth column '{self.truth}' is empty"
                raise InputError(told, "Fill it in, name another, or leave 'truth' out")
            raise InputError(
                f"label set '{self.labels.name}': no label has truth in column '{self.truth}'",
                f"The column holds {_some(column.unique())}; "
                f"the labels stand for {_some([label.key for label in self.labels.labels])}",
                "Say which value means which label in the probe's 'truth_values'",
            )

    def remarks(self, dataset: Dataset) -> Iterator[Remark]:
        """Also right answers that no label stands for, and values that never occur."""
        yield from super().remarks(dataset)
        if self.truth is None:
            return
        given = dataset.texts(self.truth).reindex(list(self.pictures(dataset))).dropna()
        lost = given[self._truth(dataset).reindex(given.index).isna()]
        if len(lost):
            told = (
                f"'{self.task}': no label stands for {len(lost):,} of {len(given):,} right answers "
                f"in '{self.truth}': {counted(tally(lost))}; these pictures are in no error rate"
            )
            yield Remark(f"{told}. Name them in 'truth_values'", task=self.task)
        gone = dataset.card.nothing(self.truth)
        never = [v for v in self.truth_values if v not in set(given)]
        for why, values in (
            (f"'{self.truth}' never has", [v for v in never if v not in gone]),
            ("the card lists under 'unknown'", [v for v in never if v in gone]),
        ):
            if values:
                told = f"'{self.task}': 'truth_values' names values that {why}: "
                yield Remark(told + ", ".join(f"'{v}'" for v in values), task=self.task)

    def _require_meant(self) -> None:
        """Refuse a truth value that means no label: its pictures would all count as wrong."""
        for value, meant in self.truth_values.items():
            if meant not in self._means:
                where = f"label set '{self.labels.name}': truth_values.{value}"
                known = [*(label.key for label in self.labels.labels), *self._scored_as]
                raise unknown("label or class of it is", meant, known, where=where)

    @cached_property
    def _means(self) -> Mapping[str, str]:
        """What an answer is scored as, by key and text of the label, or by class."""
        labels = self.labels
        means = {name: name for name in labels.classes}
        means |= {label.text: labels.class_of(label.text) for label in labels.labels}
        return means | {label.key: labels.class_of(label.text) for label in labels.labels}

    def right_places(self, dataset: Dataset, keys: Sequence[str]) -> NDArray[np.int16] | None:
        """Place of each picture's right label, -1 if not known; None without a truth column.

        Where labels are merged it is that of the class, see ``LabelSet.class_places``.
        """
        if self.truth is None:
            return None
        place = {text: i for i, text in enumerate(self.labels.classes)}
        truth = self._truth(dataset).reindex(pd.Index(keys))
        return np.array([place.get(text, -1) for text in truth], dtype=np.int16)

    def _truth(self, dataset: Dataset) -> pd.Series[str]:
        """The right label's text, or class, per picture, missing where it isn't known."""
        index = dataset.table["image_id"]
        if self.truth is None:
            return pd.Series(None, index=index, dtype="str")
        if self.truth not in dataset.table:
            raise InputError(
                f"label set '{self.labels.name}': the data set '{dataset.name}' has no column "
                f"'{self.truth}' for the truth",
                suggest(self.truth, map(str, dataset.table.columns)),
                f"Its columns are {_some(dataset.table.columns)}",
            )
        means = {label.key: self._means[label.key] for label in self.labels.labels}
        means |= {name: name for name in self._scored_as if name not in means}
        means |= {value: self._means[meant] for value, meant in self.truth_values.items()}
        known = [means.get(value) for value in dataset.texts(self.truth)]
        return pd.Series(known, index=index, dtype="str")

    def asked_texts(self, dataset: Dataset, seed: int) -> Iterator[str]:
        """Every label in the headline's wording."""
        yield from self._in_headline(self.labels)

    def _in_headline(self, labels: LabelSet) -> Iterator[str]:
        for wording in every_wording([self.prompts]):
            yield from map(wording.prompt, labels.texts)

    def _answers(self, images: Embeddings, seen: Seen) -> pd.DataFrame:
        """What is chosen for each picture, beside what would be right."""
        classes = self.classes(seen.texts, self.labels)
        truth = self._truth(seen.dataset).reindex(pd.Index(images.keys)).to_numpy()
        return self._choose(images, classes, seen.texts.scoring).assign(truth=truth)

    def _choose(
        self, images: Embeddings, classes: NDArray[np.float64], scoring: Scoring
    ) -> pd.DataFrame:
        similarity = images.vectors.astype(np.float64, copy=False) @ classes.T
        best = similarity.argmax(axis=1)
        rows = np.arange(len(similarity))
        top = similarity[rows, best]
        share = scoring.of_chosen(similarity, top)
        similarity[rows, best] = -np.inf
        margin = top - similarity.max(axis=1)
        names = pd.array([label.text for label in self.labels.labels], dtype="str")
        return pd.DataFrame(
            {
                "probe": self.kind,
                "task": self.task,
                "image_id": pd.array(images.keys, dtype="str"),
                "predicted": names.take(best),
                "score": share,
                "margin": margin,
                "tie": margin < TIE,
            }
        )

    @property
    def _scored_as(self) -> Mapping[str, tuple[str, ...]]:
        """Classes that labels are merged into for scoring: none."""
        return {}


def _plain(value: object) -> object:
    """Nested values as lists and mappings, so that tuples equal what a file holds."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _some(values: object, most: int = 6) -> str:
    """The first few values, quoted, for an error sentence."""
    items = [f"'{v}'" for v in list(values)[: most + 1]]  # type: ignore[call-overload]
    return ", ".join(items[:most]) + (" and more" if len(items) > most else "")

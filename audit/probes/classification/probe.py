"""Zero-shot classification: which of a set of labels does the model choose for each picture?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest, unknown
from audit.core.tables import CHOICES, ENSEMBLE
from audit.data.alterations import AS_IT_IS, alteration
from audit.data.dataset import Dataset
from audit.data.labels import (
    PHRASINGS,
    Article,
    LabelSet,
    Phrasing,
    PromptSet,
    load_label_set,
    load_prompt_set,
)
from audit.data.remarks import Remark, counted, tally
from audit.data.yamlfile import FieldError
from audit.measure.measures import measured
from audit.measure.metrics import margin_family
from audit.measure.prompt_variants import (
    Question,
    Wording,
    class_embeddings,
    ensemble,
    every_wording,
)
from audit.measure.rates_by_truth import RatesByTruth
from audit.measure.thresholds import CLIP_THRESHOLDS, in_order
from audit.probes.kit.base import Design, Probe, Seen, Texts

if TYPE_CHECKING:
    from audit.measure.confidence import Confidence
    from audit.store.embeddings import Alteration, Embeddings

#: Embeddings agree to about 1e-5 across batch sizes, so a choice won by less may flip.
TIE: Final = 1e-5
#: so many classes at most are named by the task that is scored as them
_NAMED: Final = 3


def _alteration_name(name: str) -> str:
    """The one way to write it, so that an alteration has one name; 'as it is' stays."""
    try:
        return name if name == AS_IT_IS else alteration(name).name
    except InputError as error:
        raise ValueError(str(error)) from error


class Declared(BaseModel):
    """A question fixed before anything is run: what is counted, and between which two groups."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str = Field(description="an attribute or intersection of the suite")
    groups: tuple[str, str] = Field(description="two of its groups: the first less the second")
    label: str | None = Field(None, description="a label of the set")
    family: str | None = Field(None, description="a family of its labels, such as 'crime'")
    metric: Literal["misclassification"] | None = Field(None, description="wrong answers")

    @model_validator(mode="after")
    def _is_one_question(self) -> Declared:
        if [self.label, self.family, self.metric].count(None) != 2:
            raise ValueError("name one of 'label', 'family' and 'metric: misclassification'")
        if self.groups[0] == self.groups[1]:
            raise ValueError(f"'groups' has '{self.groups[0]}' twice; a gap needs two groups")
        return self

    def question(self, labels: LabelSet, confidence: Confidence) -> Question:
        """The question about a label set, with its margin."""
        metric = self.metric or ("family_selection" if self.family else "selection")
        label, family = self.label or self.family or "any label", self.family or metric
        if self.label:
            tags = next(x.tags for x in labels.labels if x.text == self.label)
            family = margin_family(tags, labels)
        margin = confidence.margin(family).difference
        return Question(metric, label, self.attribute, *self.groups, margin)


class Wordings(BaseModel):
    """In which wordings the gap of the headline is looked at again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: tuple[str, ...] = Field((), description="template sets; the probe's own if none")
    articles: tuple[Article, ...] = Field(("as written",), min_length=1)
    shifts: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        (0.0,), min_length=1, description="along the modality gap, in its length"
    )
    phrasings: tuple[Phrasing, ...] = Field(
        ("as written",), min_length=1, description="of the labels, for those that have another"
    )
    alterations: tuple[Annotated[str, AfterValidator(_alteration_name)], ...] = Field(
        (AS_IT_IS,), min_length=1, description="of the pictures, such as 'centre crop 0.8'"
    )
    questions: tuple[Declared, ...] = Field(
        (), description="one an attribute; of any other, the surest gap in the headline is chosen"
    )

    @field_validator("questions")
    @classmethod
    def _one_an_attribute(cls, questions: tuple[Declared, ...]) -> tuple[Declared, ...]:
        names = [q.attribute for q in questions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two questions by '{twice}'; declare one an attribute")
        return questions


class Classification(Probe):
    """Choice by the highest similarity to the labels' class embeddings.

    The headline condition ``ensemble`` averages the prompts of all templates by CLIP's rule
    (Radford et al. 2021, arXiv 2103.00020, section 3.1.4: normalise each prompt embedding, average,
    normalise again); with more than one template each is also a condition of its own.
    """

    asks: ClassVar[str] = "Which label of a given set does the model choose for each picture?"
    emits: ClassVar = CHOICES
    later: ClassVar = frozenset({"score_as", "by_truth"})

    kind: Literal["classification"] = "classification"
    label_set: str = Field(description="a bundled label set or the path of your own YAML")
    add: tuple[str, ...] = Field((), description="declared additions of the label set to include")
    templates: str = Field("plain", description="a bundled template set or the path of your own")
    truth: str | None = Field(None, description="the manifest column that says the right answer")
    truth_values: Mapping[str, str] = Field(
        default_factory=dict,
        description="value in the truth column: key of the label it means, or a class of score_as",
    )
    score_as: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="class: its labels; an answer is right if its class is, as where race is "
        "scored as white against all others",
    )
    by_truth: bool = Field(
        False,
        description="also recall and false positives of each right answer, balanced recall and "
        "equalised odds: tables, no findings",
    )
    wordings: Wordings = Field(Wordings(), description="the wordings of the specification curve")
    label_effects: bool = Field(True, description="drop, add and swap every label")
    thresholds: tuple[float, ...] = Field(
        CLIP_THRESHOLDS, min_length=1, description="labels above these probabilities are kept"
    )

    @model_validator(mode="after")
    def _scores_what_is_known(self) -> Self:
        for key in ("score_as", "by_truth"):
            if getattr(self, key) and self.kind != "classification":
                told = f"a {self.kind} probe does not know '{key}'"
                raise FieldError(sentence(told, "Use a classification probe"), key)
            if getattr(self, key) and self.truth is None:
                told = "without 'truth' nothing is scored"
                raise FieldError(sentence(told, "Name the column with the right answer"), key)
        return self

    @property
    def task(self) -> str:
        """The label set's name, its additions included, and what it is scored as."""
        if not self.score_as:
            return self.labels.name
        few = len(self.score_as) <= _NAMED
        classes = " or ".join(self.score_as) if few else f"{len(self.score_as)} classes"
        return f"{self.labels.name}, scored as {classes}"

    @cached_property
    def labels(self) -> LabelSet:
        """The label set with its additions.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        labels = load_label_set(self.label_set, add=self.add)
        where = f"label set '{labels.name}': score_as"
        return labels.scored_as(self.score_as, where) if self.score_as else labels

    @cached_property
    def prompts(self) -> PromptSet:
        """The template set.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return load_prompt_set(self.templates)

    @cached_property
    def asked_in(self) -> tuple[Wording, ...]:
        """Every wording of the specification curve.

        Raises:
            InputError: no such template set, or it isn't well formed; no label has a phrasing.
        """
        words = self.wordings
        for phrasing in words.phrasings:
            if phrasing != "as written" and not self.labels.reworded(phrasing):
                raise self._not_phrased(phrasing)
        return every_wording(
            self._worded or (self.prompts,),
            words.articles,
            words.shifts,
            words.phrasings,
            words.alterations,
        )

    def alterations(self) -> tuple[Alteration, ...]:
        """What the wordings have done to the pictures."""
        names = dict.fromkeys(self.wordings.alterations)
        return tuple(alteration(name) for name in names if name != AS_IT_IS)

    def _not_phrased(self, phrasing: Phrasing) -> InputError:
        others = [f"'{p}'" for p in PHRASINGS[1:] if self.labels.reworded(p)]
        return InputError(
            sentence(
                f"label set '{self.labels.name}': no label is worded otherwise as '{phrasing}'",
                f"It has labels worded as {' and '.join(others)}" if others else None,
                f"Add '{phrasing}:' to its labels, or leave it out of the probe's 'wordings'",
            )
        )

    def classes(self, texts: Texts, labels: LabelSet) -> NDArray[np.float64]:
        """Class embeddings of a label set in the headline's wording, (labels, d), unit rows."""
        return ensemble(class_embeddings(texts, labels, every_wording([self.prompts])))

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The one label set asked about."""
        return (self.labels,)

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The template set of the headline, then those of the other wordings."""
        others = (words for words in self._worded if words.digest != self.prompts.digest)
        return (self.prompts, *others)

    def resolve(self, dataset: Dataset) -> None:
        """Load both sets and check the truth column.

        Raises:
            InputError: a set or column isn't there, or no label of the set has truth in the data.
        """
        _ = self.labels, self.prompts, self.asked_in
        self._require_questions()
        in_order(self.thresholds, "thresholds")
        self._require_meant()
        truth = self._truth(dataset)
        if self.truth is not None and not truth.notna().any():
            column = dataset.table[self.truth].dropna().astype(str)
            raise InputError(
                sentence(
                    f"label set '{self.labels.name}': no label has truth in column '{self.truth}'",
                    f"The column holds {_some(column.unique())}; "
                    f"the labels stand for {_some([label.key for label in self.labels.labels])}",
                    "Say which value means which label in the probe's 'truth_values'",
                )
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

    def _require_questions(self) -> None:
        """Declared questions are about the label set, and asked in more than one wording."""
        where = f"label set '{self.labels.name}': wordings.questions"
        for q in self.wordings.questions:
            if q.label is not None and q.label not in self.labels.texts:
                raise unknown("label of the set is", q.label, self.labels.texts, where=where)
            if q.family is not None and q.family not in self.labels.families:
                raise unknown("label family is", q.family, self.labels.families, where=where)
            if q.metric and self.truth is None:
                raise InputError(
                    sentence(
                        f"{where}: nobody knows which answers are wrong",
                        "Name the column with the right answers in the probe's 'truth'",
                    )
                )
        if self.wordings.questions and len(self.asked_in) < 2:
            add = "Give 'wordings' more templates, articles or phrasings, or leave 'questions' out"
            raise InputError(sentence(f"{where}: there is one wording only", add))

    def resolve_groups(self, dataset: Dataset, groups: Mapping[str, pd.Series[Any]]) -> None:
        """Attribute and groups of every declared question are among the pictures asked about.

        Raises:
            InputError: one isn't.
        """
        where = f"label set '{self.labels.name}': wordings.questions"
        for q in self.wordings.questions:
            if q.attribute not in groups:
                what = "attribute or intersection of this suite is"
                raise unknown(what, q.attribute, groups, where=where)
            present = groups[q.attribute].reindex(list(self.pictures(dataset))).dropna()
            for group in q.groups:
                names = sorted(set(present.astype(str)))
                if group not in names:
                    raise unknown(f"group of '{q.attribute}' is", group, names, where=where)

    def _require_meant(self) -> None:
        """Refuse a truth value that means no label: its pictures would all count as wrong."""
        for value, meant in self.truth_values.items():
            if meant not in self._means:
                where = f"label set '{self.labels.name}': truth_values.{value}"
                known = [*(label.key for label in self.labels.labels), *self.score_as]
                raise unknown("label or class of it is", meant, known, where=where)

    @cached_property
    def _means(self) -> Mapping[str, str]:
        """What an answer is scored as, by key and text of the label, or by class."""
        labels = self.labels
        means = {name: name for name in labels.classes}
        means |= {label.text: labels.class_of(label.text) for label in labels.labels}
        return means | {label.key: labels.class_of(label.text) for label in labels.labels}

    @cached_property
    def _worded(self) -> tuple[PromptSet, ...]:
        return tuple(load_prompt_set(ref) for ref in self.wordings.templates)

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
                sentence(
                    f"label set '{self.labels.name}': the data set '{dataset.name}' has no column "
                    f"'{self.truth}' for the truth",
                    suggest(self.truth, map(str, dataset.table.columns)),
                    f"Its columns are {_some(dataset.table.columns)}",
                )
            )
        means = {label.key: self._means[label.key] for label in self.labels.labels}
        means |= {name: name for name in self.score_as if name not in means}
        means |= {value: self._means[meant] for value, meant in self.truth_values.items()}
        known = [means.get(value) for value in dataset.texts(self.truth)]
        return pd.Series(known, index=index, dtype="str")

    def asked_texts(self, dataset: Dataset, seed: int) -> Iterator[str]:
        """Labels in the headline's wording and, of this very kind, additions and other wordings."""
        yield from self._in_headline(self.labels)
        if type(self) is not Classification:
            return
        for label in self.labels.additions.values() if self.label_effects else ():
            yield from self._in_headline(self.labels.plus(label, self.task))
        for wording in self.asked_in:
            yield from map(wording.prompt, self.labels.phrased(wording.phrasing))

    def _in_headline(self, labels: LabelSet) -> Iterator[str]:
        for wording in every_wording([self.prompts]):
            yield from map(wording.prompt, labels.texts)

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row of Choices for each picture and condition.

        Only the truth column of the data set is read.

        Returns:
            (conditions x n) rows of the table ``CHOICES``, condition by condition.
        """
        images, texts = seen.images, seen.texts
        truth = self._truth(seen.dataset).reindex(pd.Index(images.keys)).array
        vectors = replace(images, vectors=images.vectors.astype(np.float64))
        return pd.concat(
            [
                self._choose(vectors, classes, texts.logit_scale).assign(
                    condition=condition, truth=truth
                )
                for condition, classes in self._conditions(texts)
            ],
            ignore_index=True,
        ).pipe(CHOICES.conform)

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Rows of MEASURES about single right answers, if they are asked for by ``by_truth``."""
        if not self.by_truth:
            return super().measures(rows, seen, design)
        found = RatesByTruth.of(rows, self.labels, design.groups, design.draws, design.confidence)
        return measured(found.every(), probe=self.kind, task=self.task)

    def _conditions(self, texts: Texts) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Each condition and its class embeddings, (labels, d): ensemble, then templates."""
        asked = every_wording([self.prompts])
        single = class_embeddings(texts, self.labels, asked)
        yield ENSEMBLE, ensemble(single)
        if len(asked) > 1:
            for wording, classes in zip(asked, single.astype(np.float64), strict=True):
                yield f"template: {wording.template}", classes

    def _choose(
        self, images: Embeddings, classes: NDArray[np.float64], logit_scale: float
    ) -> pd.DataFrame:
        similarity = images.vectors.astype(np.float64, copy=False) @ classes.T
        best = similarity.argmax(axis=1)
        rows = np.arange(len(similarity))
        top = similarity[rows, best]
        share = 1.0 / np.exp(logit_scale * (similarity - top[:, None])).sum(axis=1)
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


def _some(values: object, most: int = 6) -> str:
    """The first few values, quoted, for an error sentence."""
    items = [f"'{v}'" for v in list(values)[: most + 1]]  # type: ignore[call-overload]
    return ", ".join(items[:most]) + (" and more" if len(items) > most else "")

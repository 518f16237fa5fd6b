"""Zero-shot classification: which of a set of labels does the model choose for each picture?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import (
    Field,
    model_validator,
)

from audit.core.errors import InputError, sentence
from audit.core.registry import unknown
from audit.core.rows import Values
from audit.core.tables import CHOICES, ENSEMBLE
from audit.data.alterations import AS_IT_IS, alteration
from audit.data.dataset import Dataset
from audit.data.labels import (
    PHRASINGS,
    Phrasing,
    PromptSet,
    load_prompt_set,
)
from audit.data.yamlfile import FieldError
from audit.measure.measures import measured
from audit.measure.prompts import Wording, class_embeddings, ensemble, every_wording
from audit.measure.rates_by_truth import RatesByTruth
from audit.measure.thresholds import CLIP_THRESHOLDS, in_order
from audit.models.encoder import Gives
from audit.probes.classification.follow_ups import in_every_wording, of_labels
from audit.probes.kit.base import Design, Seen, Texts
from audit.probes.kit.choice import Choice
from audit.probes.kit.variants import Wordings

if TYPE_CHECKING:
    from audit.store.embeddings import Alteration


#: so many classes at most are named by the task that is scored as them
_NAMED: Final = 3


class Classification(Choice):
    """Choice by the highest similarity to the labels' class embeddings.

    The headline condition ``ensemble`` averages the prompts of all templates by CLIP's rule
    (Radford et al. 2021, arXiv 2103.00020, section 3.1.4: normalise each prompt embedding, average,
    normalise again); with more than one template each is also a condition of its own.
    """

    asks: ClassVar[str] = "Which label of a given set does the model choose for each picture?"
    needs: ClassVar[Gives] = "choices"
    later: ClassVar = Choice.later | {"score_as", "by_truth"}

    kind: Literal["classification"] = "classification"
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
        CLIP_THRESHOLDS, min_length=1, description="labels at or above these probabilities are kept"
    )

    @model_validator(mode="after")
    def _scores_what_is_known(self) -> Self:
        for key in ("score_as", "by_truth"):
            if getattr(self, key) and self.truth is None:
                told = "without 'truth' nothing is scored"
                raise FieldError(sentence(told, "Name the column with the right answer"), key)
        return self

    @property
    def usual_task(self) -> str:
        """The label set's name, its additions included, and what it is scored as."""
        if not self.score_as:
            return self.labels.name
        few = len(self.score_as) <= _NAMED
        classes = " or ".join(self.score_as) if few else f"{len(self.score_as)} classes"
        return f"{self.labels.name}, scored as {classes}"

    @property
    def _scored_as(self) -> Mapping[str, tuple[str, ...]]:
        return self.score_as

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

    @property
    def needed(self) -> Gives:
        """Choices are enough, unless embeddings are moved along the modality gap."""
        return "embeddings" if any(self.wordings.shifts) else self.needs

    def _not_phrased(self, phrasing: Phrasing) -> InputError:
        others = [f"'{p}'" for p in PHRASINGS[1:] if self.labels.reworded(p)]
        return InputError(
            f"label set '{self.labels.name}': no label is worded otherwise as '{phrasing}'",
            f"It has labels worded as {' and '.join(others)}" if others else None,
            f"Add '{phrasing}:' to its labels, or leave it out of the probe's 'wordings'",
        )

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """The template set of the headline, then those of the other wordings."""
        others = (words for words in self._worded if words.digest != self.prompts.digest)
        return (self.prompts, *others)

    def resolve(self, dataset: Dataset) -> None:
        """Also load the sets of the other wordings and check the questions declared.

        Raises:
            InputError: as ``Choice``; a set isn't there, a question is about none of its labels.
        """
        super().resolve(dataset)
        _ = self.asked_in
        self._require_questions()
        in_order(self.thresholds, "thresholds")

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
                    f"{where}: nobody knows which answers are wrong",
                    "Name the column with the right answers in the probe's 'truth'",
                )
        if self.wordings.questions and len(self.asked_in) < 2:
            add = "Give 'wordings' more templates, articles or phrasings, or leave 'questions' out"
            raise InputError(f"{where}: there is one wording only", add)

    def resolve_groups(self, dataset: Dataset, groups: Mapping[str, Values]) -> None:
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

    @cached_property
    def _worded(self) -> tuple[PromptSet, ...]:
        return tuple(load_prompt_set(ref) for ref in self.wordings.templates)

    def asked_texts(self, dataset: Dataset, seed: int) -> Iterator[str]:
        """Also additions of the set, and the labels in every other wording."""
        yield from super().asked_texts(dataset, seed)
        for label in self.labels.additions.values() if self.label_effects else ():
            yield from self._in_headline(self.labels.plus(label, self.task))
        for wording in self.asked_in:
            yield from map(wording.prompt, self.labels.phrased(wording.phrasing))

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
                self._choose(vectors, classes, texts.scoring).assign(
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

    def follow_ups(
        self, seen: Seen, compared: pd.DataFrame, design: Design
    ) -> Mapping[str, pd.DataFrame]:
        """The leading gaps in every wording, what each label does, and what a threshold does."""
        return in_every_wording(self, seen, compared, design) | of_labels(self, seen, design)

    def _conditions(self, texts: Texts) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Each condition and its class embeddings, (labels, d): ensemble, then templates."""
        asked = every_wording([self.prompts])
        single = class_embeddings(texts, self.labels, asked)
        yield ENSEMBLE, ensemble(single)
        if len(asked) > 1:
            for wording, classes in zip(asked, single.astype(np.float64), strict=True):
                yield f"template: {wording.template}", classes

"""The label-set lab: any labels in any wording, answered at once for a finished run's pictures.

Pictures are taken from the embedding store and never encoded here; the model is loaded only for a
prompt that the store doesn't hold. What is typed is held against the set that the run asked,
picture by picture, so that what both answer alike carries no noise. The wordings that the run asked
itself are answered again in the same way, for the rates of groups that the run didn't keep.

>>> import audit
>>> run = audit.runs_in()[-1]
>>> lab = audit.lab.open_lab(run, audit.lab.can_be_asked(run)[0], audit.Store())
>>> asked = audit.lab.typed(["astronaut", "nurse"], ["a photo of a {}."], lab.saved)
>>> sorted(set(lab.reply(asked).rates["label"]))
['astronaut', 'nurse']
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from audit.core.arrays import Flags
from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.core.tables import CONDITION, EFFECTS, ENSEMBLE
from audit.data.dataset import Dataset
from audit.engine.suite import Suite
from audit.explore.asked import (
    Question,
    SavedTask,
    can_be_asked,
    label_set_yaml,
    named,
    saved_question,
    suite_files,
    typed,
    zipped,
)
from audit.explore.saved_model import Load, TextsOnly
from audit.explore.wordings import AS_IT_IS, Worded, open_wordings, wording_prompts
from audit.measure.confidence import Confidence
from audit.measure.effects import Edit, Frame, Parts, effect_rows, sampled
from audit.measure.metrics import Block, Draws, Groups, Tally, margin_family, rates
from audit.measure.prompts import class_embeddings, ensemble, every_wording
from audit.measure.thresholds import FAMILY_KEPT, KEPT, in_order
from audit.models.encoder import Texts
from audit.stats.counts import Counts
from audit.stats.samples import pick_questions
from audit.store.embeddings import Embeddings, Store

#: bootstrap replicates, so few that an answer comes while one types
RESAMPLES: Final = 400


@dataclass(frozen=True)
class Reply:
    """What the typed question is answered.

    ``rates``: the table RATES of every label and family. ``changes``: the table EFFECTS of those
    that both sets have, the saved set before and the typed one after: of every group's rate
    (``rate``) and of the largest gap of every attribute (``worst_case_gap``). ``changed``: pictures
    of which anything differs at all.
    """

    rates: pd.DataFrame
    changes: pd.DataFrame
    changed: int


@dataclass(frozen=True)
class Lab:
    """Stored pictures of one task of a run, their groups, and the model's text side.

    ``model`` loads the model, once; a prompt that the store doesn't hold does so too.
    """

    suite: Suite
    saved: Question
    images: Embeddings
    texts: Texts
    groups: Groups
    draws: Draws
    model: Load

    @property
    def confidence(self) -> Confidence:
        """Level, margins and smallest group: those of the run's suite."""
        return self.suite.confidence

    def reply(self, asked: Question, threshold: float | None = None) -> Reply:
        """Answer a question now, beside the saved one.

        Intervals are those of a run, from ``RESAMPLES`` replicates; bounds of changes hold for all
        labels and groups of an attribute at once. They don't hold for everything that is typed one
        after the other: who tries many wordings will find some gap by chance.

        Args:
            asked: the labels and templates.
            threshold: keep every label of a probability at or above it, so several or none;
                None to choose the one label that is nearest. Holds for the saved set too.

        Raises:
            InputError: a threshold outside (0, 1), labels that may not be asked of these people,
                a prompt that the model can't be asked for.
        """
        if refused := self.refusal(asked):
            raise InputError(refused)
        if threshold is not None:
            in_order([threshold], "threshold")
        after = _Events.of(self, asked, threshold)
        before = _Events.of(self, self.saved, threshold)
        blocks = {
            ("classification", asked.labels.name, ENSEMBLE, metric): self._block(after, metric)
            for metric in dict.fromkeys(after.metrics)
        }
        table = rates(Tally(self.groups, blocks), self.confidence.level, self.confidence.min_group)
        return Reply(table, self._changes(before, after), before.differs(after))

    def refusal(self, asked: Question) -> str | None:
        """Why words of suspicion or legally special kind may not be asked here, None if they may.

        They may not of named people, nor without consent or another legal basis.
        """
        return self.pictures.refuse_suspicion() if asked.needs_acknowledgement else None

    @property
    def pictures(self) -> Dataset:
        """The data set that the run asked about."""
        return self.suite.pictures

    def _block(self, events: _Events, metric: str) -> Block:
        at = [i for i, name in enumerate(events.metrics) if name == metric]
        labels, families = ([names[i] for i in at] for names in (events.labels, events.families))
        return Block(tuple(labels), tuple(families), self._count(events.happened[:, at]))

    def _count(self, happened: Flags) -> Counts:
        return self.groups.count(happened, np.arange(len(self.groups.rows)), self.draws)

    def _changes(self, before: _Events, after: _Events) -> pd.DataFrame:
        """How every rate and worst-case gap changed, of what both sets have."""
        names = [name for name in after.names if name in before.names]
        if not names:
            return EFFECTS.empty()
        at = [after.names.index(name) for name in names]
        a, b = before.happened[:, [before.names.index(n) for n in names]], after.happened[:, at]
        sample, q = sampled(self._count(np.hstack([a, b, b & ~a, a & ~b]))), len(names)
        before_it, after_it, gained, lost = (
            pick_questions(sample, slice(i * q, (i + 1) * q)) for i in range(4)
        )
        always = np.ones((q, 1), bool)
        parts = Parts(
            metric=tuple(after.metrics[i] for i in at),
            labels=tuple(after.labels[i] for i in at),
            families=tuple(after.families[i] for i in at),
            before=before_it,
            after=after_it,
            gained=gained,
            lost=lost,
            can_gain=always,
            can_lose=always,
        )
        frame = Frame("classification", after.task, self.groups, self.confidence, 1, True)
        rows = effect_rows(Edit(CONDITION, condition="as typed"), parts, frame)
        return EFFECTS.stacked(list(rows))


@dataclass(frozen=True)
class _Events:
    """What happened to the pictures, (n, Q): each label, then each family of labels."""

    task: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...]
    families: tuple[str, ...]
    happened: Flags

    @classmethod
    def of(cls, lab: Lab, asked: Question, threshold: float | None) -> _Events:
        labels = asked.labels
        single = class_embeddings(lab.texts, labels, every_wording([asked.prompts]))
        similarity = lab.images.vectors @ ensemble(single).T.astype(np.float32)
        if threshold is None:
            taken = similarity.argmax(axis=1)[:, np.newaxis] == np.arange(len(labels.texts))
        else:
            taken = lab.texts.scoring.of_all(similarity) >= threshold
        families = labels.families
        together = [taken[:, list(places)].any(axis=1) for places in families.values()]
        one, any_of = (
            ("selection", "family_selection") if threshold is None else (KEPT, FAMILY_KEPT)
        )
        return cls(
            labels.name,
            (one,) * len(labels.texts) + (any_of,) * len(families),
            (*labels.texts, *families),
            (*(margin_family(label.tags, labels) for label in labels.labels), *families),
            np.column_stack([taken, *together]),
        )

    @cached_property
    def names(self) -> list[tuple[str, str]]:
        """Metric and label of each column."""
        return list(zip(self.metrics, self.labels, strict=True))

    def differs(self, other: _Events) -> int:
        """Pictures to which anything happened in one that did not in the other."""
        every = dict.fromkeys([*self.names, *other.names])
        none = np.zeros(len(self.happened), bool)
        apart = none.copy()
        for name in every:
            one, two = (
                e.happened[:, e.names.index(name)] if name in e.names else none
                for e in (self, other)
            )
            apart |= one != two
        return int(apart.sum())


# ---- opening -----------------------------------------------------------------------------------


def open_lab(run: Run, task: str, store: Store, load: Load | None = None) -> Lab:
    """The stored pictures of one task of a finished run, ready to be asked anything.

    Args:
        run: the finished run; no row about a single picture of it is read.
        task: one of ``can_be_asked``.
        store: the embedding store that the run filled.
        load: gives the model; the run's own if None. Code that comes with a model is never run.

    Raises:
        InputError: the data set is gone or has changed since, the store no longer holds the
            pictures, or the run doesn't say which model it asked.
    """
    asked = SavedTask.of(run, task, load)
    images = asked.images(store)
    groups = Groups.of(asked.suite.pictures, images.keys, asked.suite.groups)
    return Lab(
        asked.suite,
        saved_question(run, task),
        images,
        store.text_side(asked.model),
        groups,
        groups.draws(images.keys, asked.suite.seed, RESAMPLES),
        lambda: asked.model.encoder if isinstance(asked.model, TextsOnly) else asked.model,
    )


__all__ = [
    "AS_IT_IS",
    "Lab",
    "Question",
    "Reply",
    "Worded",
    "can_be_asked",
    "label_set_yaml",
    "named",
    "open_lab",
    "open_wordings",
    "suite_files",
    "typed",
    "wording_prompts",
    "zipped",
]

"""The wordings that a run asked, answered again: the rates of groups that it didn't keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit.core.errors import InputError
from audit.core.rows import Fields, Row, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE
from audit.data.alterations import AS_IT_IS, alteration
from audit.data.labels import Article, Phrasing, prompt
from audit.explore.asked import SavedTask, saved_question
from audit.measure.confidence import Confidence
from audit.measure.metrics import Block, Draws, Groups, Tally, rates
from audit.measure.prompt_variants import Question as Gap
from audit.measure.prompts import Answers, Codes, ask
from audit.models.encoder import Encoder
from audit.stats.counts import Counts
from audit.store.embeddings import Store


@dataclass(frozen=True)
class Worded:
    """What one task of a finished run was answered in every wording of its specification curves."""

    answers: Answers
    groups: Groups
    draws: Draws
    truth: Codes | None
    confidence: Confidence

    def rates(self, row: Fields) -> pd.DataFrame:
        """The rates of all groups in one wording, counted as the run counts its headline's.

        The rate of ``row['group']`` less that of ``row['other']`` is the gap that the run measured.

        Args:
            row: of the table SPECIFICATIONS.

        Returns:
            Rows of the table RATES: the groups of the row's attribute, and everyone.

        Raises:
            InputError: the run asked no such wording, or of other pictures than are stored.
        """
        counted = self._counted(row)
        block = Block((str(row["label"]),), (str(row["label"]),), counted)
        question = (str(row["probe"]), str(row["task"]), str(row["wording"]), str(row["metric"]))
        tally = Tally(self.groups, {question: block})
        found = rates(tally, self.confidence.level, self.confidence.min_group)
        found = having(found, attribute=[row["attribute"], EVERYONE])
        self._require_as_many(found, row)
        return found.reset_index(drop=True)

    def _counted(self, row: Fields) -> Counts:
        if row["wording"] not in self.answers.names:
            raise InputError(f"'{row['wording']}' is no wording of this run", "Run its suite again")
        at = [self.answers.names.index(row["wording"])]
        asked_of: Row = {n: str(row[n]) for n in ("metric", "label", "attribute", "group", "other")}
        gap = Gap(**asked_of, margin=float(row["margin"]))
        if gap.metric != "misclassification":
            places, truth = np.arange(len(self.answers.keys)), None
        else:
            assert self.truth is not None
            places = np.flatnonzero(self.truth >= 0)
            truth = self.truth[places]
        happened = gap.happened(self.answers.codes[places][:, at], self.answers.labels, truth)
        rows = self.groups.at([self.answers.keys[i] for i in places])
        return self.groups.count(happened, rows, self.draws)

    def _require_as_many(self, found: pd.DataFrame, row: Fields) -> None:
        """The gap's two groups must have as many pictures as the run asked about."""
        n = having(found, attribute=row["attribute"]).set_index("group")["n"]
        if (n.get(row["group"]), n.get(row["other"])) != (row["n"], row["n_other"]):
            raise InputError(
                "some pictures of this run can no longer be read, so its groups can't be "
                "counted again",
                "Restore them, or run the suite again",
            )


def open_wordings(run: Run, task: str, store: Store) -> Worded:
    """Ask one task of a finished run again in all its wordings, from stored embeddings alone.

    Neither a picture is encoded nor the model loaded: as the shift along the modality gap depends
    on all prompts and pictures of the task, all wordings are asked, once.

    Args:
        run: the finished run; no row about a single picture of it is read.
        task: a task of its table SPECIFICATIONS.
        store: the embedding store that the run filled.

    Raises:
        InputError: a public copy; the data set is gone or has changed since; the store doesn't hold
            all pictures, altered pictures and prompts.
    """
    if run.public:
        raise InputError(
            "a public copy is shown as it was published, so nothing is counted again from it",
            "Open the run that it was made of",
        )
    asked = SavedTask.of(run, task, _no_model)
    suite, probe = asked.suite, asked.probe
    wanted = {w.alteration for w in probe.asked_in} - {AS_IT_IS}
    images = asked.images(store)
    altered = {name: asked.images(store, alteration(name)) for name in sorted(wanted)}
    # a picture that failed in one alteration was set aside everywhere
    everywhere = set(images.keys).intersection(*(part.keys for part in altered.values()))
    kept = [key for key in images.keys if key in everywhere]
    images, altered = images.only(kept), {name: part.only(kept) for name, part in altered.items()}
    texts = store.text_side(asked.model)
    answers = ask(images, texts, probe.labels, probe.asked_in, altered)
    groups = Groups.of(suite.pictures, images.keys, suite.groups)
    draws = groups.draws(images.keys, suite.seed, suite.confidence.resamples)
    truth = probe.right_places(suite.pictures, answers.keys)
    return Worded(answers, groups, draws, truth, suite.confidence)


def _no_model() -> Encoder:
    raise InputError(
        "the embedding store does not hold all prompts of this run",
        "Open the dashboard with the run's own --cache, or run its suite again",
    )


def wording_prompts(run: Run, row: Fields) -> list[str]:
    """The prompts that the text side saw in one wording, those of the labels counted first.

    Args:
        run: the finished run.
        row: of the table SPECIFICATIONS.

    Raises:
        InputError: the label set of the run is of another version.
    """
    labels = saved_question(run, row["task"]).labels
    # runs of earlier versions leave blank what no wording of theirs changed
    article: Article = row["article"] or "as written"
    phrasing: Phrasing = row["phrasing"] or "as written"
    if row["metric"] == "family_selection":
        first = set(labels.families.get(row["label"], ()))
    else:
        first = {i for i, text in enumerate(labels.texts) if text == row["label"]}
    order = sorted(range(len(labels.texts)), key=lambda i: i not in first)
    phrased = labels.phrased(phrasing)
    return list(dict.fromkeys(prompt(row["template"], phrased[i], article) for i in order))


__all__ = ["AS_IT_IS", "Worded", "open_wordings", "wording_prompts"]

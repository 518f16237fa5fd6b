"""The label-set lab: any labels in any wording, answered at once for a finished run's pictures.

Pictures are taken from the embedding store and never encoded here; the model is loaded only for a
prompt that the store doesn't hold. What is typed is held against the set that the run asked,
picture by picture, so that what both answer alike carries no noise. The wordings that the run asked
itself are answered again in the same way, for the rates of groups that the run didn't keep.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from audit.core.errors import InputError, sentence
from audit.core.rows import Fields, Row
from audit.core.rundir import Run
from audit.core.tables import CONDITION, EFFECTS, ENSEMBLE, EVERYONE
from audit.data.alterations import AS_IT_IS, alteration
from audit.data.dataset import Dataset
from audit.data.guard import accusation
from audit.data.labels import (
    Article,
    Label,
    LabelSet,
    Phrasing,
    PromptSet,
    normalise,
    prompt,
)
from audit.data.yamlfile import validate
from audit.engine.consent import require_same_pictures
from audit.engine.suite import Suite, load_suite
from audit.explore.saved_model import Load, TextsOnly, saved_model
from audit.measure.confidence import Confidence
from audit.measure.effects import Edit, Frame, Parts, effect_rows, sampled
from audit.measure.metrics import Block, Draws, Groups, Tally, margin_family, rates
from audit.measure.prompt_variants import (
    Answers,
    Codes,
    ask,
    class_embeddings,
    ensemble,
    every_wording,
)
from audit.measure.prompt_variants import Question as Gap
from audit.measure.thresholds import FAMILY_KEPT, KEPT, in_order
from audit.models.encoder import Encoder, Texts
from audit.probes.classification.probe import Classification
from audit.stats.counts import Counts, count
from audit.stats.samples import pick_questions
from audit.store.embeddings import Alteration, Embeddings, Store

#: bootstrap replicates, so few that an answer comes while one types
RESAMPLES: Final = 400
#: names of the files of a saved suite
SUITE_FILE: Final = "suite.yaml"
LABELS_FILE: Final = "labels.yaml"
TEMPLATES_FILE: Final = "templates.yaml"

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """Labels to choose from and the templates they are put into."""

    labels: LabelSet
    prompts: PromptSet

    @property
    def needs_acknowledgement(self) -> tuple[str, ...]:
        """Names of the sets that a suite must acknowledge before this is asked."""
        return tuple(x.name for x in (self.labels, self.prompts) if x.needs_acknowledgement)


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
        g = self.groups
        return count(
            happened,
            g.member,
            g.clusters,
            len(g.cluster_ids),
            self.draws.weights,
            self.draws.rows(g.clusters),
        )

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


def can_be_asked(run: Run) -> list[str]:
    """The tasks of a run that the lab can take up: choices among a label set's labels."""
    return [
        q["task"]
        for q in run.questions
        if q["kind"] == "classification" and q["label_sets"] and q["prompt_sets"]
    ]


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
    asked = _Asked.of(run, task, load)
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


@dataclass(frozen=True)
class _Asked:
    """What a run asked in one task, as long as its pictures are still the same."""

    suite: Suite
    probe: Classification
    model: Encoder

    @classmethod
    def of(cls, run: Run, task: str, load: Load | None) -> _Asked:
        suite = load_suite(str(run.path / SUITE_FILE))
        require_same_pictures(run, suite.pictures)
        probe = next((p for p in suite.asked if p.task == task), None)
        if not isinstance(probe, Classification):
            raise InputError(
                sentence(
                    f"{run.name}: '{task}' is no choice among labels",
                    f"The lab can take up: {', '.join(can_be_asked(run)) or 'nothing here'}",
                )
            )
        return cls(suite, probe, saved_model(run, suite, load))

    def images(self, store: Store, altered: Alteration | None = None) -> Embeddings:
        """The pictures that the task was asked about, as the store holds them."""
        dataset = self.suite.pictures
        asked = set(self.probe.pictures(dataset))
        files = zip(dataset.table["image_id"], dataset.table["path"], strict=True)
        items = [(str(i), dataset.root / path) for i, path in files if i in asked]
        return store.images(self.model, items, alteration=altered)[0]


def saved_question(run: Run, task: str) -> Question:
    """The labels and templates of a task as the run asked them."""
    asked = next(q for q in run.questions if q["task"] == task)
    labels, prompts = (
        {k: v for k, v in asked[kind][0].items() if k != "digest"}
        for kind in ("label_sets", "prompt_sets")
    )
    where = f"{run.name}: {task}"
    return Question(validate(LabelSet, labels, where), validate(PromptSet, prompts, where))


# ---- in the run's own wordings -----------------------------------------------------------------


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
        found = found[found["attribute"].isin([row["attribute"], EVERYONE])]
        self._require_as_many(found, row)
        return found.reset_index(drop=True)

    def _counted(self, row: Fields) -> Counts:
        if row["wording"] not in self.answers.names:
            raise InputError(
                sentence(f"'{row['wording']}' is no wording of this run", "Run its suite again")
            )
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
        g, rows = self.groups, [self.groups.rows[self.answers.keys[i]] for i in places]
        clusters = g.clusters[rows]
        return count(
            happened,
            g.member[rows],
            clusters,
            len(g.cluster_ids),
            self.draws.weights,
            self.draws.rows(clusters),
        )

    def _require_as_many(self, found: pd.DataFrame, row: Fields) -> None:
        """The gap's two groups must have as many pictures as the run asked about."""
        n = found[found["attribute"] == row["attribute"]].set_index("group")["n"]
        if (n.get(row["group"]), n.get(row["other"])) != (row["n"], row["n_other"]):
            raise InputError(
                sentence(
                    "some pictures of this run can no longer be read, so its groups can't be "
                    "counted again",
                    "Restore them, or run the suite again",
                )
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
            sentence(
                "a public copy is shown as it was published, so nothing is counted again from it",
                "Open the run that it was made of",
            )
        )
    asked = _Asked.of(run, task, _no_model)
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
        sentence(
            "the embedding store does not hold all prompts of this run",
            "Open the dashboard with the run's own --cache, or run its suite again",
        )
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


# ---- what is typed -----------------------------------------------------------------------------


def typed(labels: Iterable[str], templates: Iterable[str], saved: Question) -> Question:
    """Labels and templates as somebody typed them, blank lines left out, as a question.

    A label that the saved set has, or may add, keeps its tags, harm and other phrasings; one in
    which the guard finds words that need acknowledgement gets their tags: care goes with the word.

    Raises:
        InputError: fewer than two labels, one twice, no template, one without exactly one ``{}``.
    """
    lines, forms = ([line.strip() for line in some if line.strip()] for some in (labels, templates))
    known = {normalise(x.text): x for x in (*saved.labels.additions.values(), *saved.labels.labels)}
    given = [_label(text, known) for text in lines]
    texts = [label.text for label in given]
    kept = [_paired(label, tuple(c for c in label.counters if c in texts)) for label in given]
    about = "Tried in the label-set lab"
    asked = dict(saved.labels) | {
        "name": f"{saved.labels.name}-lab"
        if texts != list(saved.labels.texts)
        else saved.labels.name,
        "labels": [label.model_dump() for label in kept],
        "additions": {},
    }
    worded = dict(saved.prompts) | {"templates": forms}
    if texts != list(saved.labels.texts):
        asked |= _own(f"{about}, from the label set '{saved.labels.name}'.", saved.labels.source)
    if forms != list(saved.prompts.templates):
        worded |= _own(f"{about}, from the templates '{saved.prompts.name}'.", saved.prompts.source)
        worded |= {"name": f"{saved.prompts.name}-lab"}
    return Question(validate(LabelSet, asked), validate(PromptSet, worded))


def _own(purpose: str, source: str) -> Row:
    told = f"changed by hand; it began as: {source}"
    return {"version": 1, "purpose": purpose, "source": told, "complete": True, "missing": None}


def _label(text: str, known: Mapping[str, Label]) -> Label:
    if found := known.get(normalise(text)):
        return found.model_copy(update={"text": text})
    accused = accusation(text)
    return validate(Label, {"text": text, "tags": accused.tags if accused else ()}, "labels")


def _paired(label: Label, counters: tuple[str, ...]) -> Label:
    """The label paired with these harmless labels."""
    return label.model_copy(update={"counters": counters})


# ---- saving ------------------------------------------------------------------------------------


def named(asked: Question, name: str) -> Question:
    """The question under a name of its own.

    Raises:
        InputError: a name that is no name.
    """
    labels = validate(LabelSet, dict(asked.labels) | {"name": name})
    return replace(asked, labels=labels)


def label_set_yaml(labels: LabelSet) -> str:
    """A label set as a file that ``label_set:`` of a suite can name."""
    full = labels.model_dump(mode="json", exclude_defaults=True)
    full["labels"] = [_without_own_key(label) for label in full["labels"]]
    return _yaml(full)


def _without_own_key(label: Fields) -> Fields:
    kept = {k: v for k, v in label.items() if not (k == "key" and v == label["text"])}
    return kept["text"] if list(kept) == ["text"] else kept


def suite_files(
    run: Run, task: str, asked: Question, threshold: float | None = None
) -> dict[str, str]:
    """A suite that asks this question as the run asked its task: suite, labels and templates.

    The three files belong in one folder. The suite keeps the run's model, the task's pictures,
    attributes and confidence; its gates, which may be about other labels, are left out.
    """
    probe: Row = {
        "kind": "classification",
        "label_set": f"./{LABELS_FILE}",
        "templates": f"./{TEMPLATES_FILE}",
    }
    probes = zip(run.suite["probes"], run.questions, strict=True)
    if only := next((p.get("only") for p, q in probes if q["task"] == task), None):
        probe["only"] = only
    if threshold is not None:
        probe |= {"label_effects": True, "thresholds": [threshold]}
    asked_of = {
        k: v for k, v in run.suite.items() if k not in ("gates", "acknowledge", "probes", "name")
    }
    name = asked.labels.name
    suite = {"name": name, **asked_of, "purpose": asked.labels.purpose, "probes": [probe]}
    if names := asked.needs_acknowledgement:
        suite["acknowledge"] = [*names]
    prompts = asked.prompts.model_dump(mode="json", exclude_defaults=True)
    return {
        SUITE_FILE: _yaml(suite),
        LABELS_FILE: label_set_yaml(asked.labels),
        TEMPLATES_FILE: _yaml(prompts),
    }


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Text files as one archive; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def _yaml(data: Fields) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=100)

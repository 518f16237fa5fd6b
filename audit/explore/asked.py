"""A question of a run: as it was asked, as somebody types it, and the files that ask it again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import yaml

from audit.core.errors import InputError
from audit.core.rows import Fields, Row
from audit.core.rundir import Run
from audit.data.guard import accusation
from audit.data.labels import Label, LabelSet, PromptSet, normalise
from audit.data.yamlfile import validate
from audit.engine.consent import require_same_pictures
from audit.engine.suite import Suite, load_suite
from audit.explore.saved_model import Load, saved_model
from audit.models.encoder import Encoder
from audit.probes.classification.probe import Classification
from audit.store.embeddings import Alteration, Embeddings, Store

#: names of the files of a saved suite
SUITE_FILE: Final = "suite.yaml"
LABELS_FILE: Final = "labels.yaml"
TEMPLATES_FILE: Final = "templates.yaml"


@dataclass(frozen=True)
class Question:
    """Labels to choose from and the templates they are put into."""

    labels: LabelSet
    prompts: PromptSet

    @property
    def needs_acknowledgement(self) -> tuple[str, ...]:
        """Names of the sets that a suite must acknowledge before this is asked."""
        return tuple(x.name for x in (self.labels, self.prompts) if x.needs_acknowledgement)


def can_be_asked(run: Run) -> list[str]:
    """The tasks of a run that the lab can take up: choices among a label set's labels."""
    return [
        q["task"]
        for q in run.questions
        if q["kind"] == "classification" and q["label_sets"] and q["prompt_sets"]
    ]


@dataclass(frozen=True)
class SavedTask:
    """What a run asked in one task, as long as its pictures are still the same."""

    suite: Suite
    probe: Classification
    model: Encoder

    @classmethod
    def of(cls, run: Run, task: str, load: Load | None) -> SavedTask:
        """The task of a run, on pictures that are those of then."""
        suite = load_suite(str(run.path / SUITE_FILE))
        require_same_pictures(run, suite.pictures)
        probe = next((p for p in suite.asked if p.task == task), None)
        if not isinstance(probe, Classification):
            raise InputError(
                f"{run.name}: '{task}' is no choice among labels",
                f"The lab can take up: {', '.join(can_be_asked(run)) or 'nothing here'}",
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

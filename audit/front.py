"""The front door: what a notebook, a script or the dashboard calls, by the names of ``audit``.

Nothing is decided here. Each function opens the room that does the work, when it is called, so that
``import audit`` takes no time and needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from audit.core.rows import Fields

if TYPE_CHECKING:
    import pandas as pd

    from audit.core.rundir import Run
    from audit.data.dataset import Dataset
    from audit.data.labels import LabelSet, PromptSet
    from audit.engine.embed import Progress
    from audit.engine.plan import Seal
    from audit.engine.suite import Suite
    from audit.measure.facts import Fact
    from audit.models.encoder import Encoder
    from audit.models.own import Pictures, Texts

#: a name, or the path of a file or folder
Ref: TypeAlias = str | Path


def load_suite(ref: Ref, **changes: str) -> Suite:
    """A bundled suite by its name, or the one in a YAML file, with top-level keys changed.

    >>> import audit
    >>> audit.load_suite("quick", model="specimen-even").model
    'specimen-even'

    Raises:
        InputError: no such suite, or it isn't well formed.
    """
    from audit.engine.suite import load_suite

    return load_suite(str(ref), **changes)


def build_suite(**keys: object) -> Suite:
    """A suite from the same keys that a YAML file has.

    >>> import audit
    >>> asked = {"kind": "classification", "label_set": "people-gender", "truth": "gender"}
    >>> suite = audit.build_suite(
    ...     name="mine", model="specimen-skewed", dataset="people", attributes=["age_group"],
    ...     probes=[asked],
    ... )
    >>> [probe.task for probe in suite.asked]
    ['people-gender']

    Raises:
        InputError: a key is missing, unknown or holds what it may not.
    """
    from audit.data.yamlfile import validate
    from audit.engine.suite import Suite

    return validate(Suite, keys, "suite")


def run(
    suite: Suite | Ref,
    *,
    model: Encoder | Ref | None = None,
    out: Ref = "runs",
    cache: Ref | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Run:
    """Carry out a suite; the run is sealed in a folder of its own. ``render`` writes its report.

    >>> import audit
    >>> finished = audit.run("mine.yaml", device="cpu")
    >>> len(finished.disparities) > 0
    True

    Args:
        suite: a suite, or what ``load_suite`` takes.
        model: who is asked instead of whom the suite names: a name, or any encoder.
        out: the folder of all runs.
        cache: the folder of stored embeddings; ``$CLIP_AUDIT_CACHE`` or ``./cache`` if None.
        device: where the model runs: ``auto``, ``cpu``, ``cuda``.
        progress: called with a stage, how much of it is done and how much there is.

    Raises:
        InputError: the suite, model or pictures can't be used.
    """
    from audit.engine.embed import quiet
    from audit.engine.run import carry_out
    from audit.models.encoder import require_encoder
    from audit.store.embeddings import Store

    asked = load_suite(suite) if isinstance(suite, str | Path) else suite

    if isinstance(model, str | Path):
        asked = asked.model_copy(update={"model": str(model)})

    def ask() -> Encoder:
        if model is not None and not isinstance(model, str | Path):
            return require_encoder(model)
        from audit.models.families import load

        return load(asked.model, device, asked.precision, decoding=asked.decoding)

    store = Store(Path(cache) if cache else None)
    return carry_out(asked, Path(out), store, ask, progress or quiet)


def seal(suite: Suite | Ref, out: Ref = "runs") -> Seal:
    """Write a suite's plan with today's date before it is run; its report quotes the digest.

    A plan that was sealed before keeps its first date.

    >>> import audit
    >>> audit.seal("quick").plan.suite
    'quick'

    Args:
        suite: a suite, or what ``load_suite`` takes.
        out: the folder of all runs.

    Raises:
        InputError: the suite doesn't resolve, or the plan can't be written.
    """
    from audit.engine.plan import seal

    return seal(load_suite(suite) if isinstance(suite, str | Path) else suite, Path(out))


def open_run(path: Ref, warn: bool = True) -> Run:
    """A finished run: its tables are frames, ``rates``, ``disparities``, ``measures`` and others.

    ``warn``: off for a page that says itself who withdrew (``audit.pages.withdrawn_since``).

    >>> import audit
    >>> audit.open_run("nowhere")
    Traceback (most recent call last):
    audit.core.errors.InputError: nowhere is not a finished run: it has no manifest.json. ...

    Raises:
        InputError: there is no run, it isn't finished, or a later version wrote it.

    Warns:
        UserWarning: people whose pictures it used have withdrawn their consent since.
    """
    import warnings

    from audit.core.rundir import open_run
    from audit.engine.consent import withdrawn_since

    found = open_run(Path(path))
    if warn and (told := withdrawn_since(found)):
        warnings.warn(told, stacklevel=2)
    return found


def runs_in(folder: Ref = "runs") -> list[Run]:
    """All finished runs of a folder, oldest first.

    >>> import audit
    >>> audit.runs_in("nowhere")
    []
    """
    from audit.core.rundir import runs_in

    return runs_in(Path(folder))


def facts(run: Run) -> list[Fact]:
    """What a run found, each thing once and in plain words, primary ones beyond their margin first.

    Then by harm and size. A fact merges the findings that say one thing; its ``evidence`` has their
    ids.

    >>> import audit
    >>> last = audit.runs_in()[-1]
    >>> sum(len(fact.evidence) for fact in audit.facts(last)) == len(last.findings)
    True
    """
    from audit.measure.fact_rows import facts

    return facts(run)


def render(run: Run, template: Ref | None = None) -> Path:
    """Write a run's figures, ``report.md`` and ``report.html``; the path of the last.

    >>> import audit
    >>> audit.render(audit.runs_in()[-1]).name
    'report.html'

    Raises:
        InputError: the run was edited, or can't be written; the template names something unknown.
    """
    from audit.report.render import render

    return render(run, Path(template) if template else None)


def compare(
    first: Run, second: Run, task: str | None = None, other_task: str | None = None
) -> pd.DataFrame:
    """How much the disparities of two runs about the same pictures differ, row by row.

    Of one task, or of every task that both were asked; ``other_task`` is its name in the second
    run, if another. ``audit.comparison.compare`` compares conditions, too.

    >>> import audit
    >>> last = audit.runs_in()[-1]
    >>> float(audit.compare(last, last)["value"].abs().max())
    0.0

    Raises:
        InputError: the runs can't be compared: other pictures, edited, no private part.
    """
    from audit.explore.compare import compare

    return compare(first, second, task, other_task)


def load_model(ref: Ref, device: str = "auto", precision: str = "float32") -> Encoder:
    """A model that turns pictures and texts into vectors: a bundled name, a folder, a hub id.

    >>> import audit
    >>> audit.load_model("specimen-even", device="cpu").encode_texts(["a thief"]).shape
    (1, 128)

    Raises:
        InputError: no such model, or one that can't be loaded as it is meant.
    """
    from audit.models.families import load

    return load(str(ref), device=device, precision=precision)


def as_model(
    ref: str,
    pictures: Pictures,
    texts: Texts,
    logit_scale: float,
    *,
    sigmoid_bias: float | None = None,
    version: str = "",
) -> Encoder:
    """A model from two functions: RGB pictures, and texts, to vectors of one width.

    ``sigmoid_bias``: for scores that are sigmoids; ``version``: what embeddings are kept under.
    Vectors may have any length; a picture's id is in ``image.info["image_id"]``.

    >>> import audit
    >>> import numpy as np
    >>> mean = lambda images: [np.asarray(image).mean(axis=(0, 1)) for image in images]
    >>> count = lambda texts: [[len(text), 1, 1] for text in texts]
    >>> audit.as_model("mine", mean, count, logit_scale=100, version="1").card.dim
    3

    Raises:
        InputError: a logit scale that makes no scores, texts that are not embedded.
    """
    from audit.models.own import as_model

    return as_model(ref, pictures, texts, logit_scale, sigmoid_bias=sigmoid_bias, version=version)


def load_dataset(ref: Ref | Fields) -> Dataset:
    """Pictures of people with their attributes: a bundled name, a card, or a card's folder.

    A mapping names a source and gives its keys: ``{"name": "fairface", "root": FOLDER, ...}``.

    >>> import audit
    >>> people = audit.load_dataset("people")
    >>> people.groups("gender")
    ('female', 'male')

    Raises:
        InputError: no such data set, or its card or manifest isn't well formed.
    """
    from audit.data.dataset import load

    return load(ref)


def label_set(ref: Ref) -> LabelSet:
    """The words that a model chooses from: a bundled set by its name, or a YAML file.

    >>> import audit
    >>> audit.label_set("people-gender").texts
    ('woman', 'man')

    Raises:
        InputError: no such label set, or it isn't well formed.
    """
    from audit.data.labels import load_label_set

    return load_label_set(ref)


def templates(ref: Ref) -> PromptSet:
    """The sentences that labels are put into: a bundled set by its name, or a YAML file.

    >>> import audit
    >>> audit.templates("plain").templates
    ('a photo of a {}.',)

    Raises:
        InputError: no such template set, or it isn't well formed.
    """
    from audit.data.labels import load_prompt_set

    return load_prompt_set(ref)


def listing(kind: str) -> Mapping[str, str]:
    """What there is of a kind, with its purpose: models, datasets, label-sets, suites, probes ...

    >>> import audit
    >>> "quick" in audit.listing("suites")
    True

    Raises:
        InputError: no such kind.
    """
    from audit.explore.catalogue import listing

    return dict(listing(kind))


#: types that ``audit`` offers by name and imports when they are asked for
_TYPES: Final[Mapping[str, str]] = {
    "Dataset": "audit.data.dataset",
    "Encoder": "audit.models.encoder",
    "Fact": "audit.measure.facts",
    "InputError": "audit.core.errors",
    "LabelSet": "audit.data.labels",
    "PromptSet": "audit.data.labels",
    "Run": "audit.core.rundir",
    "Store": "audit.store.embeddings",
    "Suite": "audit.engine.suite",
    "Verdict": "audit.core.verdicts",
}
#: and modules, each of one thing
MODULES: Final[Mapping[str, str]] = {
    "comparison": "audit.explore.compare",
    "digits": "audit.core.digits",
    "exports": "audit.report.exports",
    "figures": "audit.report.figures",
    "gallery": "audit.explore.gallery",
    "intervals": "audit.stats.intervals",
    "lab": "audit.explore.lab",
    "learning": "audit.training.learning",
    "narrative": "audit.report.narrative",
    "pages": "audit.report.pages",
    "rendering": "audit.report.render",
    "replication": "audit.explore.replication",
    "tables": "audit.core.tables",
    "topics": "audit.report.topics",
}


def __getattr__(name: str) -> object:
    """What ``audit`` has no function for."""
    if name == "__version__":
        return version("clip-audit")
    if name in MODULES:
        return import_module(MODULES[name])
    if name in _TYPES:
        return getattr(import_module(_TYPES[name]), name)
    raise AttributeError(f"module 'audit' has no attribute '{name}'")

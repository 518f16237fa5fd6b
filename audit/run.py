"""Carry out a suite: embed, ask, tally, measure, compare, find, seal."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.disparity import disparities
from audit.embeddings import Embeddings, Quarantined, Store
from audit.errors import InputError, sentence
from audit.findings import Finding, find
from audit.metrics import Groups, Tally, named, rates, tally
from audit.models.encoder import Encoder
from audit.probes import Probe, Texts
from audit.rundir import Build, Run, building, open_run, slug, write_json, write_text
from audit.suite import Suite
from audit.tables import CHOICES, DISPARITIES, RATES, records

#: pictures a probe sees at a time: memory stays flat as pictures grow
BATCH: Final = 8192
_PACKAGES: Final = (
    "clip-audit", "torch", "transformers", "tokenizers", "numpy", "pandas", "pyarrow", "scipy",
    "statsmodels", "pillow",
)  # fmt: skip


class Progress(Protocol):
    """How a run tells how far it is: a stage's name, done and total."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Called often; must be quick."""


def quiet(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


def carry_out(
    suite: Suite,
    out: Path,
    store: Store,
    load_encoder: Callable[[], Encoder],
    progress: Progress = quiet,
) -> Run:
    """Carry out a suite and seal the run.

    Args:
        suite: what to ask.
        out: the folder of all runs.
        store: the embedding store; what it holds is not encoded again.
        load_encoder: gives the model; called once, after the suite is known to be sound.
        progress: told how far each stage is.

    Returns:
        The sealed run.

    Raises:
        InputError: the suite, model or pictures can't be used; too many pictures are unreadable.
    """
    suite.resolve()
    progress("load the model", 0, 1)
    encoder = load_encoder()
    progress("load the model", 1, 1)
    with building(out, suite.name) as build:
        images, quarantined = _embed(suite, encoder, store, progress)
        outcomes = _ask(suite, images, _texts(encoder, store), progress)
        groups = Groups.of(suite.pictures, images.keys, suite.groups)
        tallies = [_tally(probe, rows, groups) for probe, rows in outcomes]
        measured = _measure(suite, tallies)
        progress("compare groups", 0, 1)
        compared = disparities(measured, suite.confidence)
        progress("compare groups", 1, 1)
        found = find(measured, compared, _harms(suite), _sources(suite))
        _write(build, suite, encoder, quarantined)
        _write_tables(build.folder, measured, compared, found, outcomes)
    assert build.sealed is not None
    return open_run(build.sealed)


def _embed(
    suite: Suite, encoder: Encoder, store: Store, progress: Progress
) -> tuple[Embeddings, list[Quarantined]]:
    """Encode what the store doesn't hold; set unreadable pictures aside, unless they are many."""
    dataset = suite.pictures
    table = dataset.table
    images, quarantined = store.images(
        encoder,
        [(str(i), Path(p)) for i, p in zip(table["image_id"], table["path"], strict=True)],
        dataset.root,
        progress=lambda done, total: progress("encode pictures", done, total),
        dataset=dataset.name,
        clusters=dict(zip(table["image_id"], table["cluster_id"], strict=True)),
    )
    share = len(quarantined) / len(dataset.table)
    if share > suite.max_quarantined or not images.keys:
        first = quarantined[0]
        allowed = f", more than the {suite.max_quarantined:.0%} that the suite allows"
        raise InputError(
            sentence(
                f"data set '{dataset.name}': {len(quarantined)} of {len(dataset.table)} pictures "
                f"can't be read{allowed if images.keys else ', so there is nothing to ask'}",
                f"The first is {first.image_id}: {first.reason}",
                "Mend the files, or raise 'max_quarantined' in the suite" if images.keys else "",
            )
        )
    return images, quarantined


def _texts(encoder: Encoder, store: Store) -> Texts:
    """The text side of the encoder, each prompt encoded once per model."""
    known: dict[str, NDArray[np.float32]] = {}

    def encode(strings: Sequence[str]) -> NDArray[np.float32]:
        new = [s for s in dict.fromkeys(strings) if s not in known]
        if new:
            known.update(zip(new, store.texts(encoder, new), strict=True))
        return np.stack([known[s] for s in strings])

    return Texts(encode, encoder.card.logit_scale)


def _ask(
    suite: Suite, images: Embeddings, texts: Texts, progress: Progress
) -> list[tuple[Probe, pd.DataFrame]]:
    """Outcomes of every probe, batch by batch."""
    answers = []
    for done, probe in enumerate(suite.asked):
        progress("ask", done, len(suite.asked))
        batches = [probe.outcomes(part, texts, suite.pictures) for part in _batches(images)]
        answers.append((probe, pd.concat(batches, ignore_index=True)))
    progress("ask", len(suite.asked), len(suite.asked))
    return answers


def _batches(images: Embeddings) -> Iterator[Embeddings]:
    for start in range(0, len(images.keys), BATCH):
        part = slice(start, start + BATCH)
        yield Embeddings(images.keys[part], images.vectors[part], images.fingerprint)


def _tally(probe: Probe, rows: pd.DataFrame, groups: Groups) -> Tally:
    (labels,) = probe.label_sets()
    return tally(rows, labels, groups)


def _measure(suite: Suite, tallies: list[Tally]) -> pd.DataFrame:
    c = suite.confidence
    return pd.concat([rates(t, c.level, c.min_group) for t in tallies], ignore_index=True)


def _harms(suite: Suite) -> dict[tuple[str, str], str]:
    return {(task, label): harm for task, label, harm in suite.harms()}


def _sources(suite: Suite) -> dict[str, str]:
    return {name: a.source for name, a in suite.pictures.attributes.items()}


def _write(build: Build, suite: Suite, encoder: Encoder, quarantined: list[Quarantined]) -> None:
    """Everything about the question: suite, pictures, model, wordings, versions."""
    folder = build.folder
    write_text(folder / "suite.yaml", suite.resolved())
    write_json(folder / "dataset.json", _describe(suite, quarantined))
    write_json(folder / "model.json", asdict(encoder.card))
    write_json(folder / "questions.json", [_question(probe) for probe in suite.asked])
    build.facts.update(
        suite=suite.name,
        suite_digest=suite.digest,
        dataset=suite.pictures.name,
        dataset_digest=suite.pictures.digest,
        model=encoder.card.ref,
        fingerprint=encoder.card.fingerprint,
        versions=versions(),
    )


def _describe(suite: Suite, quarantined: list[Quarantined]) -> dict[str, Any]:
    dataset = suite.pictures
    lost = pd.Series({q.image_id: q.reason for q in quarantined}, dtype=object)
    groups = [
        {"attribute": attribute, "group": group, "reason": reason, "pictures": count}
        for attribute, values in suite.groups.items()
        for (group, reason), count in Counter(
            zip(named(values).loc[list(lost.index)], lost, strict=True)
        ).items()
    ]
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "card": dataset.card.model_dump(mode="json"),
        "attributes": {name: asdict(a) for name, a in dataset.attributes.items()},
        "pictures": len(dataset.table),
        "subjects": int(dataset.table["cluster_id"].nunique()),
        "cells": records(suite.cells()),
        "power": [
            {k: None if v != v else v for k, v in row.items()} for row in records(suite.power())
        ],
        "quarantined": len(quarantined),
        "quarantined_reasons": lost.value_counts().to_dict(),
        "quarantined_by_group": groups,
    }


def _question(probe: Probe) -> dict[str, Any]:
    return {
        "kind": probe.kind,
        "task": probe.task,
        "asks": probe.asks,
        "label_sets": [
            s.model_dump(mode="json") | {"digest": s.digest} for s in probe.label_sets()
        ],
        "prompt_sets": [
            s.model_dump(mode="json") | {"digest": s.digest} for s in probe.prompt_sets()
        ],
    }


def _write_tables(
    folder: Path,
    measured: pd.DataFrame,
    compared: pd.DataFrame,
    found: list[Finding],
    outcomes: list[tuple[Probe, pd.DataFrame]],
) -> None:
    RATES.write(measured, folder / "rates.parquet")
    DISPARITIES.write(compared, folder / "disparities.parquet")
    write_json(folder / "findings.json", [f.model_dump(mode="json") for f in found])
    for probe, rows in outcomes:
        CHOICES.write(rows, folder / "private" / "outcomes" / f"{slug(probe.task)}.parquet")


def versions() -> dict[str, str]:
    """Versions of everything that can move a number."""
    known = {"python": platform.python_version(), "platform": platform.machine()}
    for package in _PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known

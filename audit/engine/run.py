"""Carry out a suite: embed, ask, tally, measure, compare, find, seal."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audit.core.errors import InputError
from audit.core.files import write_json, write_text
from audit.core.rows import Fields, Row
from audit.core.rundir import PRIVATE, SCHEMA, TABLES, Build, Run, building, open_run
from audit.core.tables import records
from audit.core.verdicts import RULE
from audit.data.pictures import of_copies
from audit.data.remarks import Remark
from audit.engine import gates, plan
from audit.engine.analysis import Answer, Tables, of_ties, together
from audit.engine.asking import Asker, of_samples
from audit.engine.capability import drawn_facts
from audit.engine.cores import analyse_all
from audit.engine.embed import Progress, list_quarantined, pictures_of, quiet, ready
from audit.engine.suite import Suite
from audit.measure.findings import Finding, find, judged, with_caveats, with_remarks
from audit.measure.metrics import Groups, named
from audit.models.encoder import Encoder, Finishing
from audit.probes.kit.base import Design, Probe
from audit.store import quarantine
from audit.store.desk import Quarantined
from audit.store.embeddings import Embeddings, Store

#: rows of a table that are written together
_ROWS_AT_ONCE: Final = 131_072
_PACKAGES: Final = (
    "clip-audit", "torch", "transformers", "tokenizers", "numpy", "pandas", "pyarrow", "scipy",
    "statsmodels", "pillow", "av",
)  # fmt: skip


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
        InputError: the suite, model or pictures can't be used; the model fails its self-check;
            too many pictures are unreadable.
    """
    suite.resolve()
    standing = plan.status(suite, out, datetime.now(UTC))
    encoder, texts, checked = ready(suite, store, load_encoder, progress)
    with building(out, suite.name) as build:
        pictures = pictures_of(suite, encoder, store, progress, out)
        if isinstance(encoder, Finishing):
            encoder.finish()
        groups = Groups.of(suite.pictures, pictures.images.keys, suite.groups)
        others = partial(_others, suite, encoder, store)
        answers = Asker(suite, pictures, texts, others, groups, build.folder).ask(progress)
        tables = _compare(suite, answers, progress)
        copies = of_copies(suite.pictures, suite.groups, pictures.images.equals())
        remarks = (*suite.remarks, *copies, *of_ties(answers), *of_samples(answers))
        described = _describe(suite, pictures.quarantined, remarks)
        found = find(
            tables.rates, tables.disparities, tables.measures, _harms(suite), _sources(suite)
        )
        losses = quarantine.uneven(described)
        found = with_caveats(
            with_remarks(found, remarks),
            lambda f: [losses[f.attribute]] if f.attribute in losses else [],
        )
        gated = {(probe.kind, metric) for probe in suite.asked for metric in probe.gated}
        judged_gates = gates.judge(
            judged(tables.disparities, tables.rates),
            suite.gates,
            bool(suite.primary),
            gates.measured_gaps(tables.measures, gated),
        )
        _write(build, suite, encoder, store, described)
        list_quarantined(build.folder / PRIVATE / quarantine.LIST, suite, pictures.quarantined)
        build.facts.update(self_check=checked.facts, **drawn_facts(suite, encoder))
        build.facts.update(plan=standing, plan_digest=suite.plan_digest, verdict_rule=RULE)
        _write_tables(build.folder, tables, found)
        _write_groups(build.folder / PRIVATE, suite, groups)
        origin = gates.Origin(
            suite.name, encoder.card.ref, versions()["clip-audit"], suite.written_in
        )
        gates.write(build.folder, found, judged_gates, origin)
    assert build.sealed is not None
    return open_run(build.sealed)


def _others(suite: Suite, encoder: Encoder, store: Store, paths: Sequence[Path]) -> Embeddings:
    """Embeddings of pictures that are not in the data set; they are purged with it.

    Raises:
        InputError: one can't be read.
    """
    name = suite.pictures.name
    found, lost = store.images(encoder, [(str(p), p.resolve()) for p in paths], dataset=name)
    for one in lost:
        raise InputError(f"{one.path}: {one.reason}", "Name a picture that can be read")
    return found


def _compare(suite: Suite, answers: list[Answer], progress: Progress) -> Tables:
    """Every table of every probe."""
    c = suite.confidence

    def design(answer: Answer) -> Design:
        # the same weights for all probes: every comparison is paired
        draws = answer.groups.draws(answer.groups.rows, suite.seed, c.resamples)
        return Design(answer.groups, draws, c, suite.seed)

    def told(done: int) -> None:
        progress("compare groups", done, len(answers))

    told(0)
    parts = analyse_all(answers, design, told)
    tallies = [answer.tally for answer in answers if answer.tally is not None]

    def gated(attribute: str, family: str) -> bool:
        return any(gate.covers(attribute, family) for gate in suite.gates)

    return together(parts, tallies, c, suite.primary, gated)


def _harms(suite: Suite) -> dict[tuple[str, str], str]:
    return {(task, label): harm for task, label, harm in suite.harms()}


def _sources(suite: Suite) -> dict[str, str]:
    return {name: a.source for name, a in suite.pictures.attributes.items()}


def _write(build: Build, suite: Suite, encoder: Encoder, store: Store, described: Fields) -> None:
    """Everything about the question: suite, pictures, model, wordings, versions."""
    folder = build.folder
    write_text(folder / "suite.yaml", suite.resolved())
    write_json(folder / "dataset.json", described)
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
        stored_pictures="none" if encoder.card.recorded else store.trust,
    )


def _describe(suite: Suite, quarantined: Sequence[Quarantined], remarks: Sequence[Remark]) -> Row:
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
        "layout": SCHEMA,
        "name": dataset.name,
        "digest": dataset.digest,
        "card": dataset.card.model_dump(mode="json"),
        "attributes": {name: asdict(a) for name, a in dataset.attributes.items()},
        "pictures": len(dataset.table),
        "subjects": int(dataset.cluster_codes.max(initial=-1)) + 1,
        "cells": records(suite.cells()),
        "power": [
            {k: None if v != v else v for k, v in row.items()} for row in records(suite.power())
        ],
        "quarantined": len(quarantined),
        "quarantined_reasons": lost.value_counts().to_dict(),
        "quarantined_by_group": groups,
        "remarks": [remark.text for remark in remarks],
    }


def _question(probe: Probe) -> Row:
    return {
        "kind": probe.kind,
        "task": probe.task,
        "asks": probe.asks,
        "emits": probe.emits.name,
        "label_sets": [
            s.model_dump(mode="json")
            | {"digest": s.digest}
            | ({"classes": list(s.classes)} if s.merges else {})
            for s in probe.label_sets()
        ],
        "prompt_sets": [
            s.model_dump(mode="json") | {"digest": s.digest} for s in probe.prompt_sets()
        ],
    }


def _write_tables(folder: Path, tables: Tables, found: list[Finding]) -> None:
    for name, schema in TABLES.items():
        schema.write(getattr(tables, name), folder / f"{name}.parquet")
    write_json(folder / "findings.json", [f.model_dump(mode="json") for f in found])


def _write_groups(private: Path, suite: Suite, groups: Groups) -> None:
    """Subject and groups of every picture, some rows at a time."""
    keys, ids = tuple(groups.rows), groups.cluster_ids
    at = suite.pictures.places(keys)
    codes = {name: values.cat.codes.to_numpy()[at] for name, values in suite.groups.items()}
    names = {
        name: np.array([*map(str, values.cat.categories), None], dtype=object)
        for name, values in suite.groups.items()
    }
    schema = pa.schema([(name, pa.large_string()) for name in ("image_id", "cluster_id", *names)])
    with pq.ParquetWriter(private / "groups.parquet", schema) as file:
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            columns = {"image_id": list(keys[some])}
            columns["cluster_id"] = [ids[c] for c in groups.clusters[some]]
            columns |= {name: names[name][codes[name][some]].tolist() for name in names}
            file.write_table(pa.table(columns, schema))


def versions() -> dict[str, str]:
    """Versions of everything that can move a number."""
    known = {"python": platform.python_version(), "platform": platform.machine()}
    for package in _PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known

"""The label-set lab: what is typed is answered as a run would, and held against the saved set."""

from __future__ import annotations

import io
import shutil
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import test_figures
from test_dashboard import box, opened, resealed, said, tables

from audit import lab
from audit.embeddings import Embeddings, Store
from audit.errors import InputError
from audit.lab import Lab, open_lab, typed
from audit.models.planted import PlantedEncoder
from audit.rundir import Run
from audit.suite import load_suite

COUNTED = ["metric", "label", "attribute", "group", "n", "subjects", "events", "value", "status"]
TASK = "people-suspicion"


@pytest.fixture
def run() -> Run:
    return test_figures.sample_run()


def cache(run: Run) -> Path:
    return run.path.parents[1] / "cache"


@pytest.fixture
def suspicion(run: Run) -> Lab:
    return open_lab(run, TASK, Store(cache(run)), never)


def never() -> PlantedEncoder:
    raise AssertionError("the model was loaded")


def test_the_saved_set_gives_the_runs_own_rates(run: Run, suspicion: Lab) -> None:
    reply = suspicion.reply(suspicion.saved)
    stored = run.rates.query(f"task == '{TASK}' and condition == 'ensemble'")
    by = ["metric", "label", "attribute", "group"]
    pd.testing.assert_frame_equal(
        reply.rates[COUNTED].sort_values(by, ignore_index=True),
        stored[COUNTED].sort_values(by, ignore_index=True),
    )
    assert reply.changed == 0
    assert (reply.changes["value"] == 0).all()
    assert (reply.changes["verdict"] != "shown large").all()


def test_a_label_left_out_moves_what_the_run_says_it_moves(run: Run, suspicion: Lab) -> None:
    saved = suspicion.saved
    asked = typed([t for t in saved.labels.texts if t != "thief"], saved.prompts.templates, saved)
    reply = suspicion.reply(asked)
    ours = reply.changes.query("comparison == 'rate'").set_index(
        ["metric", "label", "attribute", "group"]
    )
    stored = run.effects.query(f"task == '{TASK}' and edit == 'drop' and dropped == 'thief'")
    stored = stored.query("comparison == 'rate' and label != 'thief'")
    assert len(stored) > 10
    moved = 0
    for row in stored.itertuples():
        mine = ours.loc[(row.metric, row.label, row.attribute, row.group)]
        assert (mine["gained"], mine["lost"]) == (row.gained, row.lost)
        assert mine["value"] == pytest.approx(row.value)
        moved += bool(row.gained or row.lost)
    assert moved
    chosen = run.rates.query(
        f"task == '{TASK}' and condition == 'ensemble' and label == 'thief' and group == 'everyone'"
    )
    assert reply.changed == int(chosen["events"].iloc[0])


def test_a_threshold_counts_what_the_runs_thresholds_count(run: Run, suspicion: Lab) -> None:
    reply = suspicion.reply(suspicion.saved, 0.04)
    stored = run.thresholds.query(
        f"task == '{TASK}' and threshold == 0.04 and metric == 'label_kept'"
    )
    stored = stored[stored["comparison"] == "rate"].set_index(["label", "attribute", "group"])
    ours = reply.rates.query("metric == 'label_kept'")
    assert len(ours) == len(stored) > 0
    for row in ours.itertuples():
        assert row.events == stored.loc[(row.label, row.attribute, row.group), "events"]
    with pytest.raises(InputError, match="between 0 and 1"):
        suspicion.reply(suspicion.saved, 4)


def test_care_goes_with_the_word(suspicion: Lab) -> None:
    saved = replace(
        suspicion.saved,
        labels=typed(["visitor", "customer"], ["a {}"], suspicion.saved).labels,
    )
    assert not saved.labels.needs_acknowledgement
    asked = typed(["Visitor", "CRIMINAL"], ["a {}"], saved)
    assert asked.labels.labels[1].text == "CRIMINAL"
    assert asked.labels.needs_acknowledgement
    dataset = suspicion.pictures
    named = replace(dataset, card=dataset.card.model_copy(update={"named_people": True}))
    suite = suspicion.suite.model_copy()
    suite.__dict__["pictures"] = named
    with pytest.raises(InputError, match="named people"):
        replace(suspicion, suite=suite).reply(asked)


@pytest.mark.parametrize(
    ("labels", "templates", "says"),
    [
        (["one"], ["a {}"], "at least two labels"),
        (["one", "ONE "], ["a {}"], "same as"),
        (["one", "two"], [" "], "no template"),
        (["one", "two"], ["a photo"], "no place for the label"),
    ],
)
def test_what_is_no_question_is_a_sentence(
    labels: list[str], templates: list[str], says: str, suspicion: Lab
) -> None:
    with pytest.raises(InputError, match=says):
        typed(labels, templates, suspicion.saved)


def test_a_new_word_loads_the_model_and_only_the_runs_own(run: Run) -> None:
    loaded = []

    class Other:
        card = replace(lab._card(run), fingerprint="another")

    opened_lab = open_lab(run, TASK, Store(cache(run)), lambda: loaded.append(1) or Other())
    saved = opened_lab.saved
    asked = typed([*saved.labels.texts, "a word nobody stored"], saved.prompts.templates, saved)
    with pytest.raises(InputError, match="no longer the one"):
        opened_lab.reply(asked)
    assert loaded == [1]


def test_pictures_that_are_not_stored_are_never_encoded(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no longer holds all pictures"):
        open_lab(run, TASK, Store(tmp_path), never)
    with pytest.raises(InputError, match="no choice among labels"):
        open_lab(run, "nothing", Store(tmp_path), never)


def test_what_is_saved_asks_the_same(run: Run, suspicion: Lab, tmp_path: Path) -> None:
    saved = suspicion.saved
    asked = typed([*saved.labels.texts[:-1], "burglar"], ["a {}.", "one {}"], saved)
    asked = lab.named(asked, "my set")
    with zipfile.ZipFile(io.BytesIO(lab.zipped(lab.suite_files(run, asked, 0.05)))) as archive:
        archive.extractall(tmp_path)
    suite = load_suite(str(tmp_path / lab.SUITE_FILE)).resolve()
    (probe,) = suite.asked
    assert probe.labels.texts == asked.labels.texts
    assert probe.labels.families == asked.labels.families
    assert probe.prompts.templates == ("a {}.", "one {}")
    assert probe.thresholds == (0.05,)
    assert suite.acknowledge == ("my set",)
    assert suite.pictures.digest == suspicion.pictures.digest


def test_ten_thousand_pictures_are_answered_in_a_second(suspicion: Lab) -> None:
    n, rng = 10_000, np.random.default_rng(0)
    at = rng.integers(0, len(suspicion.images.keys), n)
    keys = tuple(map(str, range(n)))
    groups = replace(
        suspicion.groups,
        member=suspicion.groups.member[at],
        clusters=np.arange(n) // 2,
        cluster_ids=tuple(map(str, range(n // 2))),
        rows=dict(zip(keys, range(n), strict=True)),
    )
    many = replace(
        suspicion,
        images=Embeddings(keys, suspicion.images.vectors[at], suspicion.images.fingerprint),
        groups=groups,
        draws=groups.draws(keys, 0, lab.RESAMPLES),
    )
    saved = suspicion.saved
    asked = typed(saved.labels.texts[1:], saved.prompts.templates, saved)
    start = time.process_time()
    many.reply(asked)
    assert time.process_time() - start < 2  # half a second on one idle core


# ---- the page ----------------------------------------------------------------------------------


def test_a_label_left_out_is_told_on_the_page(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path, monkeypatch, "lab")
    assert "This is the saved set" in said(page)
    box(page, "Start from").set_value(TASK).run()
    page.multiselect[0].set_value(["thief"]).run()
    assert not page.exception
    text = said(page)
    assert "are answered otherwise than with the saved set" in text
    assert "Where it changed most" in text
    assert "Answered in" in text
    assert "Change, points" in "".join(str(m.value) for m in page.markdown)
    assert tables(page)
    assert [b.label for b in page.get("download_button")] == [
        "All rates, as CSV", "Label set", "Suite, zipped",
    ]  # fmt: skip


def test_a_threshold_and_a_mistake_are_told_on_the_page(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path, monkeypatch, "lab")
    page.toggle[0].set_value(True).run()
    assert "every label above 4% is kept" in said(page)
    page.text_area[0].set_value("<script>alert(1)</script> **b**\n").run()
    assert not page.exception
    assert "at least two labels" in said(page)
    page.text_area[0].set_value("<script>alert(1)</script>\nthief\n").run()
    assert not page.exception
    assert page.error  # the model is a test's: a new word is a sentence and no traceback
    assert all("<script" not in str(m.value).replace("\\<", "") for m in page.markdown)


def test_a_lab_without_its_data_set_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(run.path, tmp_path / run.name))
    text = (path / "suite.yaml").read_text().replace("card.yaml", "gone.yaml")
    resealed(path, "suite.yaml", text)
    page = opened(path, monkeypatch, "lab")
    assert "gone.yaml" in said(page)

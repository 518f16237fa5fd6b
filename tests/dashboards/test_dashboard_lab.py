"""The label-set lab: what is typed is answered as a run would, and held against the saved set."""

from __future__ import annotations

import io
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import test_figures
import test_multiverse
from PIL import Image
from test_dashboard import box, opened, resealed, said, tables

from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.core.tables import records
from audit.data.alterations import alteration
from audit.data.labels import prompt
from audit.engine.suite import load_suite
from audit.explore import lab
from audit.explore.asked import SUITE_FILE, SavedTask, typed
from audit.explore.lab import Lab, open_lab
from audit.explore.wordings import Worded, open_wordings, wording_prompts
from audit.models.encoder import card_of
from audit.models.planted import PlantedEncoder, picture_key
from audit.store.embeddings import Embeddings, Store

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


@pytest.mark.slow
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
    assert (reply.changes["verdict"] != "exceeds margin").all()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_care_goes_with_the_word(suspicion: Lab) -> None:
    saved = replace(
        suspicion.saved,
        labels=typed(["visitor", "customer"], ["a {}"], suspicion.saved).labels,
    )
    assert not saved.labels.needs_acknowledgement
    asked = typed(["Visitor", "CRIMINAL"], ["a {}"], saved)
    assert asked.labels.labels[1].text == "CRIMINAL"
    assert asked.labels.needs_acknowledgement
    assert typed(["Visitor", "man loitering"], ["a {}"], saved).needs_acknowledgement
    accusing = typed(["Visitor", "customer"], ["a suspected {}"], saved)
    assert accusing.needs_acknowledgement == (accusing.prompts.name,)
    dataset = suspicion.pictures
    named = replace(dataset, card=dataset.card.model_copy(update={"named_people": True}))
    suite = suspicion.suite.model_copy()
    suite.__dict__["pictures"] = named
    with pytest.raises(InputError, match="named people"):
        replace(suspicion, suite=suite).reply(asked)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_new_word_loads_the_model_and_only_the_runs_own(run: Run) -> None:
    loaded = []

    class Other:
        card = replace(card_of(run.model, run.name), fingerprint="another")

    opened_lab = open_lab(run, TASK, Store(cache(run)), lambda: loaded.append(1) or Other())
    saved = opened_lab.saved
    asked = typed([*saved.labels.texts, "a word nobody stored"], saved.prompts.templates, saved)
    with pytest.raises(InputError, match="no longer the one"):
        opened_lab.reply(asked)
    assert loaded == [1]


@pytest.mark.slow
def test_pictures_that_are_not_stored_are_never_encoded(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no longer holds all pictures"):
        open_lab(run, TASK, Store(tmp_path), never)
    with pytest.raises(InputError, match="no choice among labels"):
        open_lab(run, "nothing", Store(tmp_path), never)


@pytest.mark.slow
def test_what_is_saved_asks_the_same(run: Run, suspicion: Lab, tmp_path: Path) -> None:
    saved = suspicion.saved
    asked = typed([*saved.labels.texts[:-1], "burglar"], ["a {}.", "one {}"], saved)
    asked = lab.named(asked, "my set")
    with zipfile.ZipFile(
        io.BytesIO(lab.zipped(lab.suite_files(run, TASK, asked, 0.05)))
    ) as archive:
        archive.extractall(tmp_path)
    suite = load_suite(str(tmp_path / SUITE_FILE)).resolve()
    (probe,) = suite.asked
    assert probe.labels.texts == asked.labels.texts
    assert probe.labels.families == asked.labels.families
    assert probe.prompts.templates == ("a {}.", "one {}")
    assert probe.thresholds == (0.05,)
    assert suite.acknowledge == ("my set",)
    assert suite.pictures.digest == suspicion.pictures.digest


@pytest.mark.slow
def test_what_is_saved_asks_of_the_same_part_of_the_pictures(run: Run, suspicion: Lab) -> None:
    tasks = [q["task"] for q in run.questions]
    probes = [
        probe | ({"only": {"part": "portraits"}} if task == TASK else {})
        for task, probe in zip(tasks, run.suite["probes"], strict=True)
    ]
    some = test_figures.altered(run, suite=run.suite | {"probes": probes})
    for task in tasks:
        files = lab.suite_files(some, task, lab.named(suspicion.saved, "mine"))
        assert ("portraits" in files[SUITE_FILE]) == (task == TASK)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_threshold_and_a_mistake_are_told_on_the_page(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path, monkeypatch, "lab")
    page.toggle[0].set_value(True).run()
    assert "every label at or above 4% is kept" in said(page)
    page.text_area[0].set_value("<script>alert(1)</script> **b**\n").run()
    assert not page.exception
    assert "at least two labels" in said(page)
    page.text_area[0].set_value("<script>alert(1)</script>\nthief\n").run()
    assert not page.exception
    assert page.error  # the model is a test's: a new word is a sentence and no traceback
    assert all("<script" not in str(m.value).replace("\\<", "") for m in page.markdown)


@pytest.mark.slow
def test_a_lab_without_its_data_set_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(run.path, tmp_path / run.name))
    text = (path / "suite.yaml").read_text().replace("card.yaml", "gone.yaml")
    resealed(path, "suite.yaml", text)
    page = opened(path, monkeypatch, "lab")
    assert "gone.yaml" in said(page)


# ---- in the run's own wordings -----------------------------------------------------------------

CROP = alteration("centre crop 0.5")


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run in wordings of every kind, none of which leaves all answers as they are."""
    folder = tmp_path_factory.mktemp("worded") / "world"
    table, planted, suite = test_multiverse.world_with_wordings(folder)
    rng = np.random.default_rng(5)
    texts = {p: v + 0.3 * rng.normal(size=v.shape) for p, v in planted._texts.items()}
    for label in test_multiverse.labels().labels:
        for template in test_multiverse.WAYS:
            for article in ("right", "absent"):
                reworded = prompt(template, label.phrased("person"), article)
                texts.setdefault(reworded, rng.normal(size=planted.card.dim))
    images = {k: v + 0.2 * rng.normal(size=v.shape) for k, v in planted._images.items()}
    for path in table["path"]:
        with Image.open(folder / path) as picture:
            images[picture_key(CROP(picture))] = rng.normal(size=planted.card.dim)
    ways = str(folder / "ways.yaml")
    suite["probes"][0] |= {
        "templates": ways,
        "wordings": {
            "templates": [ways],
            "articles": ["right", "absent"],
            "shifts": [0, 0.5, 1.0],
            "phrasings": ["as written", "person"],
            "alterations": ["as it is", CROP.name],
        },
    }
    return test_multiverse.carried_out(folder, suite, PlantedEncoder(images, texts))


def gap_in(found: pd.DataFrame, row: Mapping[str, Any]) -> float:
    value = found[found["attribute"] == row["attribute"]].set_index("group")["value"]
    return float(value[row["group"]] - value[row["other"]])


@pytest.mark.slow
def test_the_groups_of_every_wording_make_the_gap_of_the_curve(worded: Run) -> None:
    again = open_wordings(worded, TASK, Store(cache(worded)))
    rows = records(worded.specifications)
    kinds = {(r["article"], r["phrasing"], r["shift"], r["alteration"]) for r in rows}
    assert len(kinds) >= 24
    for row in rows:
        assert gap_in(again.rates(row), row) == pytest.approx(row["value"], abs=1e-9)
    # none of the kinds is a copy of another, or equality would say little
    by = worded.specifications.query("attribute == 'gender'")
    for kind in ("article", "phrasing", "shift", "alteration"):
        values = by.groupby([c for c in ("template", "article", "phrasing", "shift", "alteration")
                             if c != kind])["value"]  # fmt: skip
        assert (values.nunique() > 1).any(), kind


def kept_rates(run: Run, row: Mapping[str, Any], condition: str) -> pd.DataFrame:
    kept = run.rates[run.rates["condition"] == condition]
    for name in ("task", "metric", "label"):
        kept = kept[kept[name] == row[name]]
    kept = kept[kept["attribute"].isin([row["attribute"], "everyone"])]
    return kept.reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["people-gender", "people-suspicion"])
def test_a_template_of_the_headline_has_the_rates_that_the_run_kept(run: Run, task: str) -> None:
    again = open_wordings(run, task, Store(cache(run)))
    rows = records(run.specifications.query(f"task == '{task}' and attribute == 'age_group'"))
    assert len(rows) > 1
    for row in rows:
        kept, now = kept_rates(run, row, f"template: {row['template']}"), again.rates(row)
        pd.testing.assert_frame_equal(now[COUNTED], kept[COUNTED])
        # the run bootstraps its headline alone and takes a subject's pictures for copies elsewhere
        assert (kept["low"] <= now["low"]).all()
        assert (now["high"] <= kept["high"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["people-gender", "people-suspicion"])
def test_intervals_are_made_as_those_of_the_headline(run: Run, task: str) -> None:
    again = open_wordings(run, task, Store(cache(run)))
    row = records(run.specifications.query(f"task == '{task}' and attribute == 'age_group'"))[0]
    codes, asked = again.answers.headline[:, np.newaxis], again.answers.wordings
    (only,) = [w for w in asked if w.name == row["wording"]]
    headline = replace(again, answers=replace(again.answers, codes=codes, wordings=(only,)))
    numbers = [*COUNTED, "low", "high", "effective_n", "method", "reason"]
    pd.testing.assert_frame_equal(
        headline.rates(row)[numbers], kept_rates(run, row, "ensemble")[numbers]
    )


@pytest.mark.slow
def test_a_click_is_answered_at_once(worded: Run) -> None:
    again = open_wordings(worded, TASK, Store(cache(worded)))
    row = records(worded.specifications)[0]
    start = time.process_time()
    again.rates(row)
    assert time.process_time() - start < 1


@pytest.mark.slow
def test_what_the_store_or_the_run_lacks_is_a_sentence(worded: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no longer holds all pictures"):
        open_wordings(worded, TASK, Store(tmp_path / "empty"))
    whole, part = cache(worded), tmp_path / "part"
    shutil.copytree(whole, part)
    shutil.rmtree(next(part.glob("embeddings/*/texts")))
    with pytest.raises(InputError, match="does not hold all prompts"):
        open_wordings(worded, TASK, Store(part))
    public = replace(worded)
    public.__dict__["manifest"] = {**worded.manifest, "public": True}
    with pytest.raises(InputError, match="public copy"):
        open_wordings(public, TASK, Store(whole))


@pytest.mark.slow
def test_altered_pictures_that_are_not_stored_are_a_sentence(worded: Run, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(cache(worded), plain)
    asked = SavedTask.of(worded, TASK, None)
    store = Store(plain)
    whole = set(asked.images(store).keys)
    shelf = store._shelf(asked.model.card)
    kept = {look.tobytes() for look in asked.images(store).vectors}
    assert shelf.discard(lambda keys, rows: [row.tobytes() not in kept for row in rows]) > 0
    assert set(asked.images(Store(plain)).keys) == whole
    with pytest.raises(InputError, match="no longer holds all pictures"):
        open_wordings(worded, TASK, Store(plain))


@pytest.mark.slow
def test_other_pictures_and_other_wordings_are_refused(worded: Run) -> None:
    again = open_wordings(worded, TASK, Store(cache(worded)))
    row = records(worded.specifications)[0]
    with pytest.raises(InputError, match="no wording of this run"):
        again.rates(row | {"wording": "a statue of {}"})
    fewer = replace(again, answers=_without(again, row))
    with pytest.raises(InputError, match="can no longer be read"):
        fewer.rates(row)


def _without(again: Worded, row: Mapping[str, Any]) -> Any:
    """The answers without one picture of the row's first group."""
    names = list(again.groups.index)
    member = again.groups.member[:, names.index((row["attribute"], row["group"]))]
    gone = again.answers.keys.index(list(again.groups.rows)[int(member.argmax())])
    keys = tuple(k for i, k in enumerate(again.answers.keys) if i != gone)
    return replace(again.answers, keys=keys, codes=np.delete(again.answers.codes, gone, axis=0))


@pytest.mark.slow
def test_the_prompts_of_a_wording_are_those_that_were_encoded(worded: Run) -> None:
    asked = worded.specifications.query(
        "template == 'a photo of a {}.' and article == 'absent' and phrasing == 'person'"
    )
    prompts = wording_prompts(worded, records(asked)[0])
    assert prompts[:3] == [
        "a photo of suspicious person.",
        "a photo of person who steals.",
        "a photo of criminal person.",
    ]
    assert len(prompts) == 7
    assert all("a photo of" in told for told in prompts)
    earlier = records(asked)[0] | {"phrasing": "", "alteration": ""}
    assert wording_prompts(worded, earlier)[1] == "a photo of thief."

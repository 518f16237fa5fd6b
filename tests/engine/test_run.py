"""A whole audit of small worlds: planted worlds, null worlds, kills, broken files, care."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import worlds
import yaml

from audit.core.errors import InputError
from audit.core.rundir import Run, open_run, runs_in
from audit.core.tables import CHOICES
from audit.engine import asking
from audit.engine.run import _others, carry_out
from audit.engine.suite import load_suite
from audit.measure import groups
from audit.models.planted import PlantedEncoder
from audit.report.render import render
from audit.store.embeddings import Store

ROOT = Path(__file__).resolve().parents[2]
DEAR = {"planted"}


def audit(folder: Path, labels: str, encoder: PlantedEncoder, truth: str | None = None) -> Run:
    suite = load_suite(str(worlds.suite_file(folder, labels, truth)))
    return carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)


def planted_world(folder: Path, n: int) -> tuple[pd.DataFrame, PlantedEncoder]:
    """'thief' for 40 % of women and 5 % of men, nothing else by any attribute."""

    def choose(row: pd.Series) -> str:
        return "thief" if row["u"] < (0.4 if row["gender"] == "female" else 0.05) else "visitor"

    table = worlds.people(folder, n)
    return table, worlds.planted(folder, table, "people-suspicion", choose)


@dataclass(frozen=True)
class Planted:
    """The planted world carried out once, for what only reads it."""

    folder: Path
    table: pd.DataFrame
    encoder: PlantedEncoder
    run: Run

    def copied(self, folder: Path) -> Run:
        """A copy of the run, to be changed."""
        return open_run(Path(shutil.copytree(self.run.path, folder / "runs" / self.run.name)))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted") / "world"
    table, encoder = planted_world(folder, 300)
    run = audit(folder, "people-suspicion", encoder)
    assert encoder.images_seen == 300
    return Planted(folder, table, encoder, run)


def test_the_planted_gap_is_found_and_nothing_else(planted: Planted) -> None:
    run = planted.run
    large = [f for f in run.findings if f["verdict"] == "exceeds margin"]
    assert large
    for finding in large:
        assert "gender" in finding["attribute"]
        assert finding["label"] in ("thief", "visitor", "suspicion", "crime")
    by_age = [f for f in run.findings if f["attribute"] == "age_group"]
    assert by_age
    assert all(f["verdict"] != "exceeds margin" for f in by_age)


def test_texts_that_are_too_long_are_met_before_any_picture_is_encoded(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def long(self: PlantedEncoder, texts: list[str]) -> None:
        raise InputError("a text of 99 tokens is longer than the 40 this model reads")

    _, encoder = planted_world(world, 8)
    monkeypatch.setattr(PlantedEncoder, "encode_texts", long)
    with pytest.raises(InputError, match="'people-suspicion': a text of 99 tokens"):
        audit(world, "people-suspicion", encoder)
    assert encoder.images_seen == 0


def test_a_cache_that_can_not_be_written_is_met_before_the_model_is_loaded(world: Path) -> None:
    worlds.people(world, 8)
    suite = load_suite(str(worlds.suite_file(world, "people-suspicion")))
    (world / "cache").touch()
    with pytest.raises(InputError, match="can't be written"):
        carry_out(suite, world / "runs", Store(world / "cache"), lambda: pytest.fail("loaded"))


def test_a_probe_can_have_other_pictures_embedded(world: Path) -> None:
    table, encoder = planted_world(world, 12)
    suite = load_suite(str(worlds.suite_file(world, "people-suspicion")))
    store, first = Store(world / "cache"), world / str(table["path"].iloc[0])
    found = _others(suite, encoder, store, [first])
    assert found.vectors.shape == (1, len(encoder.encode_texts(["thief"])[0]))
    (world / "cut.png").write_bytes(first.read_bytes()[:40])
    with pytest.raises(InputError, match=r"cut\.png.*Name a picture that can be read"):
        _others(suite, encoder, store, [world / "cut.png"])


@pytest.mark.slow
def test_a_null_world_shows_nothing_large(world: Path) -> None:
    table = worlds.people(world, 800)
    encoder = worlds.planted(
        world, table, "people-suspicion", lambda r: "thief" if r["u"] < 0.1 else "visitor"
    )
    run = audit(world, "people-suspicion", encoder)
    verdicts = {f["verdict"] for f in run.findings}
    assert "exceeds margin" not in verdicts
    assert "within margin" in verdicts  # words never chosen


def test_rates_are_what_the_stored_outcomes_say(planted: Planted) -> None:
    table, run = planted.table, planted.run
    chosen = run.outcomes("people-suspicion").merge(table, left_on="image_id", right_on="path")
    thief = chosen[chosen["condition"] == "ensemble"].assign(e=lambda t: t["predicted"] == "thief")
    expected = thief.groupby("gender")["e"].mean().to_dict()
    got = worlds.rates_of(run.rates, metric="selection", label="thief", attribute="gender")
    assert got == pytest.approx(expected)


@pytest.mark.slow
def test_misclassification_uses_the_truth_column(world: Path) -> None:
    table = worlds.people(world, 300)
    encoder = worlds.planted(
        world, table, "people-gender",
        lambda r: "woman" if r["gender"] == "female" or r["u"] < 0.5 else "man",
    )  # fmt: skip
    run = audit(world, "people-gender", encoder, truth="gender")
    got = worlds.rates_of(run.rates, metric="misclassification", attribute="gender")
    expected = (table[table["gender"] == "male"]["u"] < 0.5).mean()
    assert got == pytest.approx({"female": 0.0, "male": expected})


@pytest.mark.slow
def test_naming_an_attribute_rightly_is_no_finding_but_erring_unequally_is(world: Path) -> None:
    table = worlds.people(world, 400)
    encoder = worlds.planted(
        world, table, "people-gender",
        lambda r: "woman" if r["gender"] == "female" or r["u"] < 0.3 else "man",
    )  # fmt: skip
    run = audit(world, "people-gender", encoder, truth="gender")
    assert {f["metric"] for f in run.findings} == {"misclassification"}
    by_gender = next(f for f in run.findings if f["attribute"] == "gender")
    assert by_gender["verdict"] == "exceeds margin"
    assert by_gender["harm"] == "quality of service"


@pytest.mark.slow
def test_the_same_question_gives_the_same_bytes_and_encodes_nothing(planted: Planted) -> None:
    first = planted.run
    again = audit(planted.folder, "people-suspicion", planted.encoder)
    assert planted.encoder.images_seen == 300
    for name in ("rates.parquet", "disparities.parquet", "findings.json"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()
    assert first.manifest["tables"] == again.manifest["tables"]
    assert first.path != again.path


@pytest.mark.slow
def test_the_order_of_pictures_does_not_matter(planted: Planted, world: Path) -> None:
    first = planted.run
    table, encoder = planted_world(world, 300)
    table.sample(frac=1, random_state=1).to_csv(world / "people.csv", index=False)
    again = audit(world, "people-suspicion", encoder)
    pd.testing.assert_frame_equal(first.rates, again.rates)
    pd.testing.assert_frame_equal(first.disparities, again.disparities)


def test_a_run_is_sealed_and_damage_is_seen(planted: Planted, world: Path) -> None:
    run = planted.copied(world)
    assert run.damaged() == []
    (run.path / "rates.parquet").write_bytes(b"changed")
    assert run.damaged() == ["rates.parquet"]


def test_the_private_part_is_private_and_stays_out_of_a_copy_without_it(
    planted: Planted, world: Path
) -> None:
    run = planted.run
    assert stat.S_IMODE((run.path / "private").stat().st_mode) == 0o700
    for path in (run.path / "private" / "outcomes").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (planted.folder / "runs" / ".gitignore").read_text().strip().endswith("*")
    copy = open_run(run.copy_without_private(world / "copy"))
    assert not (copy.path / "private").exists()
    assert copy.damaged() == []
    with pytest.raises(InputError, match="copy without 'private/'"):
        copy.outcomes("people-suspicion")


@pytest.mark.slow
def test_broken_pictures_are_quarantined_with_their_reasons(world: Path) -> None:
    table, encoder = planted_world(world, 100)
    (world / table["path"][0]).write_bytes(b"")
    (world / table["path"][1]).write_text("not a picture")
    (world / table["path"][2]).unlink()
    run = audit(world, "people-suspicion", encoder)
    assert run.dataset["quarantined"] == 3
    assert set(run.dataset["quarantined_reasons"]) == {"empty", "not an image", "missing"}
    by_gender = [g for g in run.dataset["quarantined_by_group"] if g["attribute"] == "gender"]
    assert sum(g["pictures"] for g in by_gender) == 3
    everyone = run.rates[(run.rates["group"] == "everyone")]
    assert set(everyone["n"]) == {97}


@pytest.mark.slow
def test_too_many_broken_pictures_stop_the_run_and_leave_none(world: Path) -> None:
    table, encoder = planted_world(world, 100)
    for path in table["path"][:6]:
        (world / path).write_bytes(b"")
    with pytest.raises(InputError, match="6 of 100 pictures can't be read.*5 %|5%"):
        audit(world, "people-suspicion", encoder)
    assert runs_in(world / "runs") == []
    assert not list((world / "runs").glob(".partial-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_groups_too_small_to_compare_still_get_a_report(world: Path) -> None:
    _, encoder = planted_world(world, 20)
    run = audit(world, "people-suspicion", encoder)
    assert {f["verdict"] for f in run.findings} == {"inconclusive"}
    page = render(run).with_suffix(".md").read_text(encoding="utf-8")
    assert "Too small to be compared" in page
    assert "fewer than 30 subjects" in page or "fewer than two groups" in page


@pytest.mark.slow
def test_repeating_subjects_are_counted_and_warned_of(world: Path) -> None:
    table = worlds.people(world, 300, per_subject=3)
    encoder = worlds.planted(world, table, "people-nonce", lambda r: "wug")
    run = audit(world, "people-nonce", encoder)
    everyone = run.rates[run.rates["group"] == "everyone"]
    assert set(everyone["subjects"]) == {100}
    assert any("subject" in c for f in run.findings for c in f["caveats"])


@pytest.mark.slow
def test_unknown_groups_are_a_row_of_their_own_and_in_no_family(world: Path) -> None:
    table, encoder = planted_world(world, 300)
    table.loc[:39, "gender"] = None
    table.to_csv(world / "people.csv", index=False)
    run = audit(world, "people-suspicion", encoder)
    rates = run.rates[(run.rates["attribute"] == "gender") & (run.rates["group"] == "unknown")]
    assert set(rates["n"]) == {40}
    assert not (run.disparities[["group", "other"]] == "unknown").any(axis=None)


@pytest.mark.slow
def test_a_denigrating_choice_is_a_finding_whatever_the_gap(world: Path) -> None:
    table = worlds.people(world, 200)
    encoder = worlds.planted(
        world, table, "clip-paper-21",
        lambda r: "animal" if r["path"].endswith("00007.png") else "black man",
    )  # fmt: skip
    run = audit(world, "clip-paper-21", encoder)
    seen = [f for f in run.findings if f["verdict"] == "seen"]
    assert len(seen) == 1
    assert seen[0]["harm"] == "denigration"
    assert "1 of 200" in seen[0]["statement"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda s: s.pop("acknowledge"),
            "casts suspicion.*asks what the law protects.*acknowledge",
        ),
        (lambda s: s.update(atributes=[]), "atributes.*attributes"),
        (lambda s: s["probes"][0].update(label_set="people-suspiscion"), "people-suspicion"),
        (lambda s: s["probes"][0].update(kind="clasification"), "classification"),
        (lambda s: s["probes"][0].update(truth="gendre"), "no column 'gendre'.*'gender'"),
        (lambda s: s["probes"][0].update(truth="gender"), "no label has truth.*truth_values"),
        (lambda s: s.update(attributes=["gendre"]), "gendre.*gender"),
        (lambda s: s["intersections"].append(["gender", "age"]), "'age' is not among"),
        (lambda s: s["probes"].append(dict(s["probes"][0])), "asked twice"),
        (lambda s: s["confidence"].update(level=95), "level"),
        (lambda s: s["confidence"].update(margins={"default": {"difference": 0}}), "difference"),
        (lambda s: s.update(dataset="peple"), "no dataset named 'peple'"),
    ],
)
def test_a_mistake_in_a_suite_gets_a_sentence(
    world: Path, change: Callable[[dict], object], says: str
) -> None:
    planted_world(world, 60)
    path = worlds.suite_file(world, "people-suspicion")
    suite = yaml.safe_load(path.read_text())
    change(suite)
    path.write_text(yaml.safe_dump(suite))
    with pytest.raises(InputError, match=f"(?s){says}") as caught:
        load_suite(str(path)).resolve()
    assert str(caught.value).endswith((".", "?", "'"))
    assert "\n" not in str(caught.value)


def test_suspicion_is_refused_on_named_people_and_without_a_basis(world: Path) -> None:
    planted_world(world, 60)
    card = world / "card.yaml"
    path = worlds.suite_file(world, "people-suspicion")
    text = card.read_text()
    card.write_text(text.replace("named_people: false", "named_people: true"))
    with pytest.raises(InputError, match="named people"):
        load_suite(str(path)).resolve()
    card.write_text(text.replace("consent: drawn by a test\n", ""))
    with pytest.raises(InputError, match="neither consent nor legal_basis"):
        load_suite(str(path)).resolve()


def test_an_attribute_with_one_group_is_refused(world: Path) -> None:
    table, _ = planted_world(world, 60)
    table.assign(gender="female").to_csv(world / "people.csv", index=False)
    with pytest.raises(InputError, match="only the group 'female'"):
        load_suite(str(worlds.suite_file(world, "people-suspicion"))).resolve()


def test_an_unwritable_place_gets_a_sentence(world: Path) -> None:
    _, encoder = planted_world(world, 60)
    (world / "runs").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="can't write runs there.*--out"):
        audit(world, "people-suspicion", encoder)


#: killed after each of so many seconds, in a process of its own; the last one lives
KILLED = """
import os, signal, sys, time
sys.path[:0] = [{tests!r}, {tests!r} + "/engine"]
from pathlib import Path
import test_run, worlds
from audit.core.rundir import runs_in
import audit.store.embeddings
audit.store.embeddings.FLUSH_PICTURES = audit.store.stream.FLUSH_PICTURES = 8
folder = Path({folder!r})
table = __import__("pandas").read_csv(folder / "people.csv")
choose = lambda r: "thief" if r["u"] < 0.3 else "visitor"
encoder = worlds.planted(folder, table, "people-suspicion", choose)
for seconds in {waits}:
    child = os.fork()
    if not child:
        test_run.audit(folder, "people-suspicion", encoder)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for run in runs_in(folder / "runs") if (folder / "runs").exists() else []:
        assert run.damaged() == []  # it was faster than the kill
test_run.audit(folder, "people-suspicion", encoder)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_no_half_run_and_the_same_tables(world: Path) -> None:
    planted_world(world, 300)
    waits = np.random.default_rng(0).uniform(0.0, 0.6, 3).tolist()
    script = KILLED.format(tests=str(ROOT / "tests"), folder=str(world), waits=waits)
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert not list((world / "runs").glob(".partial-*"))
    runs = runs_in(world / "runs")
    (world / "clean").mkdir()
    clean_cache = Store(world / "clean")
    table = pd.read_csv(world / "people.csv")
    encoder = worlds.planted(
        world, table, "people-suspicion", lambda r: "thief" if r["u"] < 0.3 else "visitor"
    )
    suite = load_suite(str(world / "suite.yaml"))
    clean = carry_out(suite, world / "clean-runs", clean_cache, lambda: encoder)
    assert {r.manifest["tables"] for r in runs} == {clean.manifest["tables"]}


def test_the_resolved_suite_is_the_suite(planted: Planted) -> None:
    run = planted.run
    again = load_suite(str(run.path / "suite.yaml"))
    assert again.resolved() == (run.path / "suite.yaml").read_text()
    assert json.loads((run.path / "manifest.json").read_text())["suite_digest"] == again.digest


def test_a_damaged_manifest_gets_a_sentence_and_hides_no_other_run(
    planted: Planted, world: Path
) -> None:
    first, second = planted.copied(world / "a"), planted.copied(world)
    first = open_run(Path(shutil.move(first.path, world / "runs" / f"{first.name}-2")))
    assert {r.path for r in runs_in(world / "runs")} == {first.path, second.path}
    (first.path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        open_run(first.path)
    assert [r.path for r in runs_in(world / "runs")] == [second.path]


@pytest.mark.parametrize(
    "content",
    [
        "[]", "7", "{}", "[" * 100_000, '{"files": []}', '{"files": {"a": 1}}',
        '{"files": {"../x": ""}}',
        '{"files": {"/etc/passwd": ""}}', '{"schema": "4", "files": {}}',
        json.dumps({"files": {"x" * 300: ""}}),
    ],
)  # fmt: skip
def test_a_manifest_of_another_form_gets_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="manifest.json is damaged.*Run its suite again"):
        open_run(tmp_path)


@pytest.mark.slow
def test_of_many_pictures_all_are_counted_and_some_looked_at(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "BOUND", 200)
    monkeypatch.setattr(groups, "SAMPLE", 150)
    monkeypatch.setattr(groups, "BUCKETS", 100)
    monkeypatch.setattr(asking, "BATCH", 7)
    _, encoder = planted_world(tmp_path / "world", 300)
    many, whole = audit(tmp_path / "world", "people-suspicion", encoder), planted.run
    counted = ["task", "condition", "metric", "label", "attribute", "group", "n", "events", "value"]
    pd.testing.assert_frame_equal(many.rates[counted], whole.rates[counted], check_exact=True)
    gaps = ["key", "n", "events", "low", "high"]  # spreads come from the bootstrap
    found, right = (run.disparities.query("comparison == 'difference'") for run in (many, whole))
    pd.testing.assert_frame_equal(found[gaps], right[gaps])
    (task,) = (q["task"] for q in whole.questions)
    rows = [
        run.outcomes(task).sort_values([*CHOICES.key], ignore_index=True) for run in (many, whole)
    ]
    pd.testing.assert_frame_equal(*rows, check_exact=True)
    told = " ".join(many.dataset["remarks"])
    assert "wordings, label ablation, thresholds and other changes are of" in told
    assert "of 300 pictures, all of those of subjects taken by chance" in told
    assert many.thresholds.loc[many.thresholds["comparison"] == "rate", "n"].max() <= 150

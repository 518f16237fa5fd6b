"""Results where others work: fairlearn's frames, spreadsheets, trackers, build servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import openpyxl
import pandas as pd
import pytest
import yaml
from fairlearn.metrics import MetricFrame, selection_rate
from sklearn.metrics import accuracy_score

from audit.cli.levels import FailOn
from audit.core.errors import AuditError, InputError
from audit.core.rundir import Run
from audit.core.tables import CHOICES, DISPARITIES, RATES
from audit.report.exports import trackers
from audit.report.exports.sheets import write_csv, write_xlsx
from audit.report.exports.trackers import Results, results_of, send

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = [
    ("a", "woman", "woman", "x"), ("b", "man", "woman", "x"), ("c", "man", "man", "y"),
    ("d", "man", "man", None), ("e", "woman", None, "y"),
]  # fmt: skip


def answered(folder: Path, truth: bool = True) -> Run:
    """A run of which five pictures are kept, with their groups."""
    rows = pd.DataFrame(ANSWERS, columns=["image_id", "predicted", "truth", "group"])
    groups = rows[["image_id", "group"]].assign(cluster_id=rows["image_id"])
    rows = rows.assign(probe="classification", task="sex", condition="ensemble", score=0.5,
                       margin=0.1, tie=False)  # fmt: skip
    if not truth:
        rows["truth"] = None
    (folder / "private" / "outcomes").mkdir(parents=True)
    CHOICES.write(CHOICES.conform(rows), folder / "private" / "outcomes" / "sex.parquet")
    groups.to_parquet(folder / "private" / "groups.parquet")
    (folder / "questions.json").write_text(json.dumps([{"task": "sex", "emits": "choices"}]))
    return Run(folder, {"run": "r", "files": {}})


# --- fairlearn ----------------------------------------------------------------------------------


def test_fairlearn_takes_the_frames_and_counts_as_they_say(tmp_path: Path) -> None:
    frames = answered(tmp_path).to_fairlearn("sex")
    assert list(frames.y_true.index) == ["a", "b", "c", "d"]  # of e nobody knows the answer
    found = MetricFrame(metrics=accuracy_score, **frames._asdict())
    assert found.by_group.to_dict() == {"x": 0.5, "y": 1.0, "unknown": 1.0}


# scikit-learn takes missing labels for numbers before it refuses them
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_without_right_answers_errors_cannot_be_asked(tmp_path: Path) -> None:
    frames = answered(tmp_path, truth=False).to_fairlearn("sex")
    assert len(frames.y_pred) == 5
    assert frames.y_true.isna().all()
    chosen = frames.y_pred == "man"
    shares = MetricFrame(metrics=selection_rate, y_true=chosen, y_pred=chosen,
                         sensitive_features=frames.sensitive_features)  # fmt: skip
    assert shares.by_group["y"] == 0.5
    with pytest.raises(ValueError, match="y_true"):
        MetricFrame(metrics=accuracy_score, **frames._asdict())


def test_what_cannot_be_framed_is_refused(tmp_path: Path) -> None:
    run = answered(tmp_path)
    with pytest.raises(InputError, match="was not asked in the condition 'fog'. It has 'ensemble'"):
        run.to_fairlearn("sex", "fog")
    with pytest.raises(InputError, match="no outcomes of task 'age' here"):
        run.to_fairlearn("age")


# --- spreadsheets -------------------------------------------------------------------------------


def tables(run: Run, **rates: Any) -> Run:
    row = {name: "" if kind == "str" else 0 for name, kind in RATES.columns.items()}
    given = {"task": "sex", "metric": "selection", "status": "ok", "condition": "ensemble"}
    run.__dict__["rates"] = pd.DataFrame([row | given | rates])[list(RATES.columns)]
    run.__dict__["disparities"] = DISPARITIES.empty()
    run.__dict__["findings"] = [{"verdict": "inconclusive"}]
    return run


def test_a_workbook_takes_no_label_for_a_formula_and_explains_its_columns(tmp_path: Path) -> None:
    run = Run(tmp_path, {"run": "r", "finished": "2026-11-23T10:15:00+00:00", "model": "m"})
    run = tables(run, label="=1+1", group="\x07bell", value=float("nan"), reason="nobody")
    book = openpyxl.load_workbook(write_xlsx(run, tmp_path / "t.xlsx"))
    header, row = book["rates"].iter_rows()
    cells = dict(zip((cell.value for cell in header), row, strict=True))
    assert (cells["label"].value, cells["label"].data_type) == ("=1+1", "s")
    assert cells["value"].value is None
    assert cells["reason"].value == "nobody"
    assert "\x07" not in str(cells["group"].value)
    explained = {row[1].value: row[2].value for row in book["columns"].iter_rows()}
    assert explained["effective_n"].startswith("how many independent pictures")
    assert {*RATES.columns, *DISPARITIES.columns} <= {*explained}
    assert "not for publishing" in str(list(book["run"].values))
    told = write_csv(run, tmp_path / "t.csv").read_text(encoding="utf-8")
    assert "'=1+1" in told


# --- trackers -----------------------------------------------------------------------------------


def public(tmp_path: Path, **rates: Any) -> Run:
    facts = {"run": "r", "public": True, "suite": "s", "model": "m", "plan": "unsealed"}
    return tables(Run(tmp_path, facts), attribute="age", **rates)


def test_results_are_aggregates_of_a_public_copy(tmp_path: Path) -> None:
    found = results_of(public(tmp_path, label="a b/=c", group="60+", value=0.25))
    assert found.numbers["rate/sex/selection/a b/-c/age/60-"] == 0.25
    assert found.numbers["findings/inconclusive"] == 1
    assert found.facts["small groups"] == "suppressed"
    withheld = results_of(public(tmp_path, status="withheld", group="60+"))
    assert not any(name.startswith("rate/") for name in withheld.numbers)


@pytest.mark.slow
def test_a_run_of_ones_own_is_made_public_first(quick_runs: dict[str, Run]) -> None:
    run = next(iter(quick_runs.values()))
    found = results_of(run)
    assert any(name.startswith("gap/people-gender/") for name in found.numbers)
    assert str(run.path) not in str(found)


def stub(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_nothing_is_sent_unless_it_is_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = public(tmp_path)
    with pytest.raises(InputError, match="Did you mean 'mlflow'"):
        send(run, "mlfow")
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=re.escape("pip install 'clip-audit[wandb]'")):
        send(run, "wandb")
    monkeypatch.undo()
    stub(monkeypatch, "mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI is not set, so nothing is sent"):
        send(run, "mlflow")


class Started:
    """A run of a tracker, which notes what it is told."""

    def __init__(self) -> None:
        self.info, self.id, self.project = SimpleNamespace(run_id="7"), "7", "p"
        self.summary: dict[str, float] = {}

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def test_mlflow_is_told_facts_and_numbers_and_not_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, told = stub(monkeypatch, "mlflow"), {}
    module.start_run = lambda run_name: told.update(name=run_name) or Started()
    module.set_tags, module.log_metrics = told.update, told.update
    module.get_tracking_uri = lambda: "somewhere"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "somewhere")
    assert send(public(tmp_path, group="old", value=0.5), "mlflow") == "somewhere, run 7"
    assert (told["name"], told["model"], told["mlflow.user"]) == ("r", "m", "")
    assert told["rate/sex/selection/age/old"] == 0.5
    module.set_tags = lambda tags: 1 / 0
    with pytest.raises(AuditError, match="'mlflow' did not take the results"):
        send(public(tmp_path), "mlflow")


def test_wandb_is_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, started, given = stub(monkeypatch, "wandb"), Started(), {}
    module.Settings = dict
    module.init = lambda **keys: given.update(keys) or started
    monkeypatch.setenv("WANDB_PROJECT", "p")
    assert send(public(tmp_path, group="old", value=0.5), "wandb") == "p, run 7"
    assert started.summary["rate/sex/selection/age/old"] == 0.5
    assert given["config"]["suite"] == "s"
    assert isinstance(results_of(public(tmp_path)), Results)


# --- build servers ------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "makes"), [(0, True), (3, True), (2, False)])
def test_the_steps_of_the_action_report_this_run_and_keep_its_code(
    tmp_path: Path, code: int, makes: bool
) -> None:
    old, plans = tmp_path / "out of it" / "2026-01-01-old", tmp_path / "out of it" / "plans"
    for folder in (old, plans):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    tool = tmp_path / "bin" / "clip-audit"
    tool.parent.mkdir()
    made = 'mkdir "$4/2026-01-02-new"; ' if makes else ""
    tool.write_text(
        f'#!/bin/bash\nprintf "%s|" "$@" >> "{tmp_path}/asked"\n'
        f'if [ "$1" = run ]; then {made}exit {code}; fi\n'
    )
    tool.chmod(0o755)
    said = {"SUITE": "a suite.yaml", "MODEL": "", "FAIL_ON": "high", "OUT": "out of it"}
    said |= {"GITHUB_OUTPUT": f"{tmp_path}/output", "PATH": f"{tool.parent}:/usr/bin:/bin"}
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    run, report = (s["run"] for s in steps if "clip-audit " in s.get("run", ""))
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]  # as GitHub calls it
    done = subprocess.run([*shell, run], cwd=tmp_path, env=said)
    assert done.returncode == code
    _, _, made_run = (tmp_path / "output").read_text().strip().partition("run=")
    assert made_run == ("out of it/2026-01-02-new" if makes else "")
    assert not subprocess.run(
        [*shell, report], cwd=tmp_path, env=said | {"RUN": made_run}
    ).returncode
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("run|a suite.yaml|--out|out of it|--fail-on|high|")
    assert asked.endswith(f"report|{made_run}|--public|public-report|") == makes


def test_the_action_and_the_pipeline_gate_on_a_policy() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    (run,) = [s["run"] for s in steps if "clip-audit run" in s.get("run", "")]
    assert "--fail-on" in run
    inputs = {*action["inputs"]}
    assert inputs >= {"suite", "fail-on", "model"}
    used = {*re.findall(r"inputs\.([a-z-]+)", json.dumps(action))}
    assert used == inputs
    assert "${{" not in "".join(s.get("run", "") for s in steps)  # inputs come as variables
    always = [s for s in steps if s.get("if") == "always()"]
    assert len(always) == 2
    page = (ROOT / "docs" / "pipelines.md").read_text()
    for level in FailOn:
        assert f"`{level}`" in page
    for block in re.findall(r"```yaml\n(.*?)```", page, re.S):
        assert yaml.safe_load(block)

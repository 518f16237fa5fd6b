"""The notebook runs from top to bottom on a run, and says what to do without one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import test_figures
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from audit.rundir import Run

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
FIRST = "01_first_audit.ipynb"


def execute(
    runs: Path, monkeypatch: pytest.MonkeyPatch, notebook: str = FIRST, **parameters: str
) -> str:
    """Everything the notebook prints, with other parameters."""
    monkeypatch.setenv("CLIP_AUDIT_RUNS", str(runs))
    book = nbformat.read(NOTEBOOKS / notebook, as_version=4)
    (cell,) = [c for c in book.cells if "parameters" in c.metadata.get("tags", ())]
    for name, value in parameters.items():
        cell.source, changed = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", cell.source)
        assert changed == 1
    client = NotebookClient(book, timeout=240, resources={"metadata": {"path": NOTEBOOKS}})
    client.execute()
    outputs: list[Any] = [o for c in book.cells for o in c.get("outputs", ())]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    texts = [o.get("data", {}) for o in outputs]
    return "\n".join(str(t.get("text/markdown") or t.get("text/plain", "")) for t in texts)


def test_it_answers_its_question_and_finds_the_stored_rate_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = test_figures.sample_run()  # 'doctor' is planted on gender
    printed = execute(run.path.parent, monkeypatch, SUITE=run.manifest["suite"])
    assert run.name in printed
    assert "gap in ‘doctor’ by gender is above the margin in 5 of 5 wordings" in printed
    by_hand = printed[printed.index("by hand") :]
    female, male = re.findall(r"(?:fe)?male +(0\.\d+) +(0\.\d+)", by_hand)
    assert female[0] == female[1] != male[0] == male[1]


def test_it_runs_as_it_is_on_the_embedded_default(
    monkeypatch: pytest.MonkeyPatch, quick_runs: dict[str, Run]
) -> None:
    run = quick_runs["specimen-skewed"]
    printed = execute(run.path.parent, monkeypatch)
    assert run.name in printed
    assert "of 5 wordings" in printed
    assert "by hand" in printed


def test_a_public_copy_and_a_label_without_a_gap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = test_figures.sample_run()
    run.public_copy(tmp_path / run.name)
    printed = execute(tmp_path, monkeypatch, SUITE=run.manifest["suite"], LABEL="executive")
    assert "above the margin in 0 of 5 wordings" in printed
    assert "A public copy leaves row-level data out" in printed
    assert "by hand" not in printed


def test_without_a_run_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match="'clip-audit run quick' makes one"):
        execute(tmp_path, monkeypatch)


@pytest.mark.parametrize("notebook", sorted(p.name for p in NOTEBOOKS.glob("*.ipynb")))
def test_it_is_kept_without_outputs(notebook: str) -> None:
    cells = nbformat.read(NOTEBOOKS / notebook, as_version=4).cells
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_how_much_is_the_prompt_is_answered_on_the_embedded_default(
    monkeypatch: pytest.MonkeyPatch, quick_runs: dict[str, Run]
) -> None:
    run = quick_runs["specimen-skewed"]
    printed = execute(run.path.parent, monkeypatch, "03_how_much_is_the_prompt.ipynb")
    (row,) = run.sensitivity.query(
        "task == 'people-suspicion' and attribute == 'clothing_colour'"
    ).itertuples()
    assert f"Over {row.wordings} wordings" in printed
    assert f"{round(100 * row.model_share)} % (" in printed
    assert "phrasing" in printed
    assert "net of noise" in printed

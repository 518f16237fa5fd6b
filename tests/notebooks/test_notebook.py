"""Every notebook runs from top to bottom as it is, answers its question, and is kept small."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import test_figures
from conftest import MadeOnce
from test_words import refused

from audit.core.rundir import Run, runs_in
from audit.core.tables import EXCEEDS
from audit.explore.replication import replicate_all
from audit.explore.replication_card import load_card

#: slow: each is executed, and what reads notebooks is slow to import
pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(p.name for p in FOLDER.glob("*.ipynb"))
FIRST, PROMPT = "01_first_audit.ipynb", "03_how_much_is_the_prompt.ipynb"
#: what a notebook may import beside the standard library
PACKAGES = {
    "IPython", "PIL", "audit", "matplotlib", "numpy", "pandas", "torch",
    "transformers", "yaml",
}  # fmt: skip
#: a number in an answer; a minus is left to the words
NUMBER = re.compile(r"\d+(?:\.\d+)?")
ANEW = "'python notebooks/outputs.py FOLDER' stores what notebooks show anew"
#: a sentence in bold that begins an output: the answer
ANSWER = re.compile(r"^\*\*[^*]+\*\*", re.M)


def read(notebook: str) -> Any:
    import nbformat  # seconds, which 'make fast' is spared

    return nbformat.read(FOLDER / notebook, as_version=4)


def settings(book: Any) -> Any:
    """The one cell to change."""
    (at,) = [i for i, c in enumerate(book.cells) if "parameters" in c.metadata.get("tags", ())]
    assert book.cells[at - 1].source.startswith("**Run it on your own model:**")
    return book.cells[at]


#: what each notebook begins with: nothing of the one before, and where runs and embeddings are
AFRESH = """%reset -f
%matplotlib agg
import os, pandas
pandas.reset_option("^display")
os.environ.update(CLIP_AUDIT_RUNS={runs!r}, CLIP_AUDIT_CACHE={cache!r})
del os, pandas"""


@cache
def client() -> Any:
    """One kernel for all notebooks of a worker: what they import takes seconds."""
    from nbclient import NotebookClient

    return NotebookClient(read(FIRST), timeout=240, resources={"metadata": {"path": FOLDER}})


@pytest.fixture(scope="module", autouse=True)
def _kernel_ends() -> Iterator[None]:
    yield
    if client.cache_info().currsize:
        with client().setup_kernel():  # which ends it on leaving
            client.cache_clear()


def execute(runs: Path, notebook: str = FIRST, **parameters: str | int) -> str:
    """Everything a notebook prints, with other parameters; the store lies beside the runs."""
    from nbformat.v4 import new_code_cell

    book = read(notebook)
    cell = settings(book)
    for name, value in parameters.items():
        cell.source, changed = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", cell.source)
        assert changed == 1
    afresh = AFRESH.format(runs=str(runs), cache=str(runs.parent / "cache"))
    book.cells.insert(0, new_code_cell(afresh))
    client().nb = book
    client().execute(cleanup_kc=False)
    outputs: list[Any] = [o for c in book.cells for o in c.get("outputs", ())]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    texts = [o.get("data", {}) for o in outputs]
    return "\n".join(str(t.get("text/markdown") or t.get("text/plain", "")) for t in texts)


@pytest.fixture(scope="module")
def runs(quick_runs: dict[str, Run], made_once: MadeOnce) -> Path:
    """Where notebooks find the runs of 'quick' and leave theirs: one folder for all workers."""
    beside = quick_runs["specimen-skewed"].path.parents[1]
    copied = made_once("notebooks", lambda to: shutil.copytree(beside, to, dirs_exist_ok=True))
    return copied / "runs"


@pytest.fixture(scope="module")
def printed(runs: Path, made_once: MadeOnce) -> Callable[[str], str]:
    """What a notebook prints as it is, on the embedded default; each is executed once."""

    def text_of(notebook: str) -> str:
        def write(folder: Path) -> None:
            (folder / "text").write_text(execute(runs, notebook), encoding="utf-8")

        return (made_once(notebook, write) / "text").read_text(encoding="utf-8")

    return cache(text_of)


# --- what holds for every notebook ----------------------------------------------------------------


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_it_runs_as_it_is_and_gives_an_answer(printed: Callable[[str], str], notebook: str) -> None:
    text = printed(notebook)
    assert ANSWER.search(text)
    assert refused(text) == []
    assert not re.search(r"\bnan\b", "\n".join(ANSWER.findall(text)))


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_it_opens_with_a_question_and_ends_with_limits(notebook: str) -> None:
    cells = read(notebook).cells
    first, last = cells[0], cells[-1]
    assert (first.cell_type, last.cell_type) == ("markdown", "markdown")
    assert first.source.startswith("# ")
    assert "?" in first.source
    assert "nobody's traits" in first.source  # words of suspicion are a model's, not a person's
    assert "## What this does not say" in last.source


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_one_cell_of_settings_comes_first_and_holds_only_names(notebook: str) -> None:
    book = read(notebook)
    code = [c for c in book.cells if c.cell_type == "code"]
    assert settings(book) is code[0]
    for line in ast.parse(code[0].source).body:
        assert isinstance(line, ast.Assign)
        assert [t.id for t in line.targets if isinstance(t, ast.Name) and t.id.isupper()]
        ast.literal_eval(line.value)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_it_uses_public_names_only(notebook: str) -> None:
    for module, name in imports(notebook):
        package = module.partition(".")[0]
        assert package in PACKAGES | sys.stdlib_module_names, module
        assert not name.startswith("_"), f"{module}.{name}"


def imports(notebook: str) -> list[tuple[str, str]]:
    """Module and name of everything that a notebook imports."""
    code = [c.source for c in read(notebook).cells if c.cell_type == "code"]
    found = []
    for source in code:
        lines = [line for line in source.splitlines() if not line.startswith("%")]
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.ImportFrom):
                found += [(str(node.module), alias.name) for alias in node.names]
            elif isinstance(node, ast.Import):
                found += [(alias.name, "") for alias in node.names]
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_what_it_keeps_is_small_and_says_what_it_gives_now(
    printed: Callable[[str], str], notebook: str
) -> None:
    book = read(notebook)
    outputs = [o for c in book.cells for o in c.get("outputs", ())]
    assert all(cell.get("execution_count") is None for cell in book.cells)
    assert {kind for o in outputs for kind in o["data"]} <= {
        "image/png", "text/html", "text/markdown", "text/plain",
    }  # fmt: skip
    told = "\n".join(str(o["data"].get("text/markdown", "")) for o in outputs)
    undated = (re.sub(r"\d{4}-\d\d-\d\d", "today", text) for text in (told, printed(notebook)))
    stored, now = (ANSWER.findall(text) for text in undated)
    assert [NUMBER.sub("#", one) for one in stored] == [NUMBER.sub("#", one) for one in now], ANEW
    numbers = [[float(n) for n in NUMBER.findall(" ".join(of))] for of in (stored, now)]
    # another processor, or a run of more threads, rounds otherwise
    assert numbers[0] == pytest.approx(numbers[1], abs=5, rel=0.2), ANEW
    source = sum(len(cell.source) for cell in book.cells)
    assert source < 30_000
    assert not re.search(r"(?:/home|/root|/tmp|/work)/", json.dumps(outputs))


def test_all_of_them_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.ipynb")) < 3_000_000


# --- 1: a first audit -----------------------------------------------------------------------------


def test_it_answers_its_question_and_finds_the_stored_rate_again() -> None:
    run = test_figures.sample_run()  # 'doctor' is planted on gender
    text = execute(run.path.parent, SUITE=run.manifest["suite"])
    assert run.name in text
    assert "gap in ‘doctor’ by gender is above the margin in 5 of 5 wordings" in text
    by_hand = text[text.index("by hand") :]
    female, male = re.findall(r"(?:fe)?male +(0\.\d+) +(0\.\d+)", by_hand)
    assert female[0] == female[1] != male[0] == male[1]


def test_a_first_audit_of_the_embedded_default(
    printed: Callable[[str], str], quick_runs: dict[str, Run]
) -> None:
    text = printed(FIRST)
    assert quick_runs["specimen-skewed"].name[-6:] in text
    assert "of 5 wordings" in text
    assert "by hand" in text


def test_a_copy_without_rows_and_a_label_without_a_gap(tmp_path: Path) -> None:
    run = test_figures.sample_run()
    run.copy_without_private(tmp_path / run.name)
    text = execute(tmp_path, SUITE=run.manifest["suite"], LABEL="executive")
    assert "above the margin in 0 of 5 wordings" in text
    assert "A copy without 'private/' or a public copy has none" in text
    assert "by hand" not in text


def test_without_a_run_it_says_what_to_do(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match="'clip-audit run quick' makes one"):
        execute(tmp_path)


# --- 3: how much is the prompt --------------------------------------------------------------------


def test_how_much_is_the_prompt_is_answered_on_the_embedded_default(
    printed: Callable[[str], str], quick_runs: dict[str, Run]
) -> None:
    text = printed(PROMPT)
    (row,) = (
        quick_runs["specimen-skewed"]
        .sensitivity.query("task == 'people-suspicion' and attribute == 'clothing_colour'")
        .itertuples()
    )
    assert f"Over {row.wordings} wordings" in text
    assert f"{round(100 * row.model_share)} % (" in text
    assert "phrasing" in text
    assert "net of noise" in text


# --- 2, 4 and 5: each carries out a suite of its own ----------------------------------------------

PAPER = "02_the_clip_papers_section_7.ipynb"
FOOTAGE = "04_surveillance_labels_and_poor_footage.ipynb"
FAMILIES = "05_counterfactual_people.ipynb"


def test_the_clip_papers_numbers_are_not_comparable_here_and_child_moves_a_rate(
    printed: Callable[[str], str], runs: Path
) -> None:
    text = printed(PAPER)
    run = [r for r in runs_in(runs) if r.manifest["suite"] == "clip-paper"][-1]
    table = replicate_all([load_card(f"clip-paper-table-{n}") for n in (3, 4, 5, 6, 7)], run)
    assert f"Of {len(table)} published numbers: {len(table)} not comparable" in text
    (row,) = run.effects.query(
        "task == 'clip-paper-21' and edit == 'add' and metric == 'family_selection'"
        " and label == 'nonhuman' and group == 'child' and comparison == 'rate'"
    ).itertuples()
    assert row.verdict == EXCEEDS
    rates = f"from {100 * row.before:.0f} to {100 * row.after:.0f} %"
    assert f"the rate of ‘nonhuman’ for ‘child’ goes {rates}" in text


def test_suspicion_is_found_by_the_clothing_it_was_planted_on(
    printed: Callable[[str], str],
) -> None:
    (answer,) = ANSWER.findall(printed(FOOTAGE))
    suspected = answer[answer.index("words of suspicion") : answer.index("Under poor footage")]
    verdicts = dict(re.findall(r"(\w+) \d+ points \([^)]*\), ([a-z ]+)", suspected))
    assert len(verdicts) == 4
    assert [a for a, verdict in verdicts.items() if verdict == EXCEEDS] == ["clothing_colour"]
    assert "the detail least seen is clothing type" in answer
    assert re.search(r"for suspicion, .*infrared 5: .*, exceeds margin", answer)


def test_teal_clothing_moves_thief_and_no_change_in_who_is_shown_does(
    printed: Callable[[str], str],
) -> None:
    (answer,) = ANSWER.findall(printed(FAMILIES))
    assert "The surest is clothing colour teal: +" in answer
    assert "families: exceeds the margin" in answer
    assert "in who is shown, none exceeds the margin, 4 within the margin" in answer


def test_the_answer_about_families_is_another_one_where_nothing_was_planted(
    runs: Path,
) -> None:
    (answer,) = ANSWER.findall(execute(runs, FAMILIES, MODEL="specimen-even"))
    assert answer.startswith("**Towards 0 of 13 values")
    assert "families: within the margin" in answer
    assert "teal" not in answer


# --- 6 and 7: training, and signing ---------------------------------------------------------------

TRAINING = "06_training_a_clip_and_watching_its_bias_grow.ipynb"
SIGNING = "07_from_findings_to_a_signed_report.ipynb"


def test_a_planted_gap_grows_in_training_and_not_without(printed: Callable[[str], str]) -> None:
    text = printed(TRAINING)
    (answer,) = ANSWER.findall(text)
    assert "After 256 steps the gap in ‘thief’ between teal and the rest is" in answer
    assert "exceeds margin) with the planting" in answer
    assert "exceeds margin) without" not in answer
    assert "It first exceeded the margin after" in answer
    assert "Sealed " in text


def test_a_group_that_is_none_is_told_before_anything_is_learnt(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match="teal"):
        execute(tmp_path / "runs", TRAINING, GROUP="tael")


def test_a_report_is_checked_mended_signed_and_withheld(
    printed: Callable[[str], str], runs: Path
) -> None:
    text = printed(SIGNING)
    assert "is another thing than the finding’s verdict" in text
    assert "when this was written and is" in text
    assert "rates.parquet is not as it was sealed" in text
    assert "between withheld, is withheld, against a margin" in text
    (answer,) = ANSWER.findall(text)[-1:]
    assert "signs as auditor" in answer
    assert "0 claims are stronger" in answer
    assert re.search(r"\b0 of \d+ sealed files", answer)
    assert not any((run.path / "narrative.yaml").exists() for run in runs_in(runs))

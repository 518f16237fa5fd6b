"""All that a reader of a report, the dashboard, a notebook or the docs reads: no refused word.

We assess and mitigate. No audit makes a model unbiased, certifies it, solves bias or finds it fair.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_figures import sample_report

from audit.core import page, resources

ROOT = resources.shipped("REPORT_TEMPLATE.md").parent
REFUSED = {
    "debias": r"\bde-?bias\w*",
    "unbiased": r"\bunbiased(ness)?\b|\bbias[- ]free\b",
    "solve": r"\bsolv(e|es|ed|ing)\b(?=[^.]{0,30}\bbias)",
    "certify": r"\bcertif(y|ies|ied|icates?|ication)\b",
    "fair": r"\bfair\b(?![- ]skin)|\bfairly\b",
}
#: 'no certificate', 'nor does it certify': said of what a report is not
DENIED = re.compile(r"\b(no|not|nor|never|neither|isn['’]t|can['’]t|cannot)\b[^.:]*$", re.I)
#: names of works, files and projects
NAMES = re.compile(r"oxai/debias-vision-lang|https?://\S+")
#: these name the words in order to flag them
FLAGS_THEM = ("audit/report/passages.py", "docs/report.md")
MODULES = (
    "audit/measure/findings.py", "audit/measure/controls.py", "audit/core/page.py",
    "audit/core/evidence.py",
)  # fmt: skip
FOLDERS = (
    "audit/cli", "audit/report", "audit/explore", "audit/engine", "audit/probes", "dashboards",
)  # fmt: skip


def refused(text: str) -> list[str]:
    """Refused words in a text, with what stands around them."""
    text = NAMES.sub("", re.sub(r"\s+", " ", text))
    return [
        f"{word}: ...{text[max(0, m.start() - 40) : m.end() + 20]}..."
        for word, pattern in REFUSED.items()
        for m in re.finditer(pattern, text, re.I)
        if not (word in ("certify", "solve") and DENIED.search(text[: m.start()]))
    ]


def strings(path: Path) -> Iterator[str]:
    """Every text of a Python file: docstrings, and all that it may print."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def python_files() -> list[Path]:
    found = [ROOT / name for name in MODULES]
    found += [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))]
    return [p for p in found if not str(p).endswith(FLAGS_THEM)]


def written() -> list[Path]:
    """What is written for readers: the template, the README, docs, probes' and suites' words."""
    found = [ROOT / "REPORT_TEMPLATE.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found += [*resources.suites().values(), *ROOT.glob("audit/bundled/suites/*.txt")]
    return [p for p in found if not str(p).endswith(FLAGS_THEM)]


@pytest.mark.parametrize(
    "text",
    [
        "an unbiased model",
        "We debias the head",
        "de-biasing helps",
        "this solves gender bias",
        "The report certifies it",
        "a fair model",
        "it treats all fairly",
        "It is not unbiased",
    ],
)
def test_a_refused_word_is_found(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "This is no certificate of anything.",
        "nor does a verdict certify anything",
        "FairFace, fairlearn and fairness",
        "solved by linear programming",
        "fair-skinned",
        "https://github.com/oxai/debias-vision-lang",
        "assess and mitigate",
    ],
)
def test_what_may_be_said_is_not(text: str) -> None:
    assert refused(text) == []


@pytest.mark.parametrize("path", written(), ids=lambda p: p.name)
def test_what_is_written_for_readers(path: Path) -> None:
    assert refused(path.read_text(encoding="utf-8")) == []


@pytest.mark.slow
def test_what_report_and_dashboard_may_print() -> None:
    files = python_files()
    assert len(files) > 40
    told = {str(p.relative_to(ROOT)): [w for s in strings(p) for w in refused(s)] for p in files}
    assert {name: words for name, words in told.items() if words} == {}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_notebooks_with_their_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    texts = ["".join(cell["source"]) for cell in notebook["cells"]]
    texts += [json.dumps(cell.get("outputs", []), ensure_ascii=False) for cell in notebook["cells"]]
    assert [word for text in texts for word in refused(text)] == []


@pytest.mark.slow
def test_a_report_as_a_reader_gets_it() -> None:
    text = sample_report().text
    assert len(text) > 20_000
    assert refused(text) == []
    assert refused(page.shell()) == []

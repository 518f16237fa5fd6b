"""What ``audit`` offers by name: every example in its docstrings runs, and opening it is light."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import soak

import audit
from audit import front

#: these carry out a suite, or need a run of one
RUN = [
    "run", "facts", "render", "compare", "comparison", "exports", "figures", "gallery", "lab",
    "narrative", "pages", "rendering", "topics",
]  # fmt: skip
#: this imports torch
HEAVY = ["learning"]
OFFERED = [
    name for name in audit.__all__
    if inspect.isfunction(getattr(front, name, None)) or name in front.MODULES
]  # fmt: skip


def failures(names: list[str]) -> list[str]:
    """What the examples of these functions print otherwise than they say, in this order."""
    finder = doctest.DocTestFinder(recurse=False)
    found: list[str] = []
    for name in names:
        (example,) = finder.find(getattr(audit, name), name)
        assert example.examples, f"{name} has no example"
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(example, out=found.append)
    return found


def test_every_name_is_there_and_no_other() -> None:
    assert sorted(audit.__all__) == audit.__all__
    for name in audit.__all__:
        assert getattr(audit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        _ = audit.runs  # type: ignore[attr-defined]
    assert (Path(audit.__file__).parent / "py.typed").is_file()


def test_examples_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert failures([name for name in OFFERED if name not in RUN + HEAVY]) == []


def test_modules_say_what_they_offer() -> None:
    for name in front.MODULES.keys() - set(HEAVY):
        offered = getattr(audit, name)
        assert [one for one in getattr(offered, "__all__", ()) if not hasattr(offered, one)] == []


@pytest.mark.slow
def test_examples_of_a_run_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    soak.small_world(tmp_path / "small", 12).rename(tmp_path / "small" / "mine.yaml")
    monkeypatch.chdir(tmp_path / "small")
    assert failures(RUN + HEAVY) == []


@pytest.mark.slow
def test_opening_it_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "pandas", "matplotlib", "streamlit")
    code = f"import sys, audit; sys.exit(bool({set(heavy)} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)

"""``make touched``: the modules of audit/ and dashboards/ of which 'make fast' runs nothing."""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

ROOT = Path(__file__).resolve().parents[1]
_run: set[str] = set()


def _note(frame: FrameType, event: str, argument: object) -> None:
    """Called with every call; functions only, as importing a module tests none of it."""
    path = frame.f_code.co_filename
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED or "dashboards" in path:  # a page is a script
        _run.add(path)


def untouched() -> list[str]:
    """The modules that hold a function or a page, and of which nothing was run."""
    modules = [*ROOT.glob("audit/**/*.py"), *ROOT.glob("dashboards/**/*.py")]
    run = {Path(path).resolve() for path in _run}
    return [
        str(path.relative_to(ROOT))
        for path in sorted(modules)
        if path not in run and any(map(_runs, ast.walk(ast.parse(path.read_text()))))
    ]


def _runs(node: ast.AST) -> bool:
    """Whether it is a function that does something, as that of a protocol does not."""
    return isinstance(node, ast.FunctionDef) and ast.unparse(node.body[-1]) != "..."


def pytest_collection_finish() -> None:
    threading.settrace(_note)
    sys.settrace(_note)


def pytest_sessionfinish(session: pytest.Session) -> None:
    sys.settrace(None)
    if missed := untouched():
        print(f"\nOf {len(missed)} modules nothing is run: {', '.join(missed)}")
        session.exitstatus = 1

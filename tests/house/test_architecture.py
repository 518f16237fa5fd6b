"""The tail of the house: no long file, no long function, no function of many arguments.

What was longer before these limits stood is listed, and may only become shorter.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import audit

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("audit/**/*.py"), *ROOT.glob("dashboards/**/*.py")])
LINES, BODY, PARAMETERS = 500, 50, 6

#: lines of a file, of those above the limit
LONG: dict[str, int] = {
    "audit/data/corruptions.py": 525,
    "audit/engine/suite.py": 564,
    "audit/probes/association/probe.py": 896,
    "audit/probes/counterfactual/probe.py": 992,
    "audit/probes/retrieval/rows.py": 535,
    "audit/report/narrative.py": 583,
}
#: parameters of a function, of those above the limit
MANY: dict[str, int] = {
    "audit/data/people/build.py:build": 7,
    "audit/measure/abstention.py:abstention": 8,
    "audit/measure/label_ablation.py:label_effects": 11,
    "audit/measure/prompt_variants.py:specification_curve": 8,
    "audit/measure/prompts.py:answer": 7,
    "audit/measure/thresholds.py:threshold_rates": 12,
    "audit/probes/shift/rows.py:_apart": 7,
    "audit/probes/shift/rows.py:_correlations": 7,
    "audit/stats/counterfactual.py:compare_changes": 8,
    "audit/stats/counterfactual.py:mean_changes": 7,
    "audit/stats/counts.py:count": 7,
    "audit/stats/counts.py:sample_of": 7,
    "audit/stats/curves.py:joint_test": 10,
    "audit/stats/dose.py:dose_response": 8,
    "audit/stats/dose.py:rank_kinds": 8,
    "audit/stats/flips.py:flip_rates": 7,
    "audit/stats/permutation.py:dealt_sums": 7,
    "audit/stats/permutation.py:permuted_drops": 9,
    "audit/stats/permutation.py:permuted_range": 9,
    "audit/stats/ranking_null.py:null": 8,
    "audit/stats/reliability.py:calibration_null": 7,
    "audit/stats/reliability.py:reliability": 8,
    "audit/stats/selection.py:_spread": 8,
    "audit/stats/selection.py:parts": 7,
    "audit/stats/significance.py:_fisher_block": 7,
    "audit/store/embeddings.py:Store.images": 9,
}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of a file by its name within it."""

    def inside(node: ast.AST, name: str) -> Iterator[tuple[str, ast.FunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                yield f"{name}{child.name}", child
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield from inside(child, f"{name}{child.name}.")

    yield from inside(parsed(path), f"{place(path)}:")


def lines_of_body(node: ast.FunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(node: ast.FunctionDef) -> int:
    """How many parameters a caller may give; options of a verb are typed by name."""
    if any("app.command" in ast.unparse(decorator) for decorator in node.decorator_list):
        return 0
    given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return len([a for a in given if a.arg not in ("self", "cls")])


def test_files_are_short() -> None:
    counted = {place(p): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    long = {name: n for name, n in counted.items() if n > LINES}
    assert {name: n for name, n in long.items() if n > LONG.get(name, LINES)} == {}
    assert sorted(LONG) == sorted(long), "a file that became short leaves the list"


def test_functions_are_short() -> None:
    found = {name: lines_of_body(node) for path in FILES for name, node in functions(path)}
    assert {name: n for name, n in found.items() if n > BODY} == {}


def test_functions_take_few_arguments() -> None:
    found = {name: parameters(node) for path in FILES for name, node in functions(path)}
    many = {name: n for name, n in found.items() if n > PARAMETERS}
    assert {name: n for name, n in many.items() if n > MANY.get(name, PARAMETERS)} == {}
    assert sorted(MANY) == sorted(many), "a function of few arguments leaves the list"


def test_a_room_begins_with_names_only() -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.If, ast.Expr)
    rooms = [path for path in FILES if path.name == "__init__.py"]
    code = {place(p): [n for n in parsed(p).body if not isinstance(n, allowed)] for p in rooms}
    assert {name: ast.unparse(nodes[0])[:60] for name, nodes in code.items() if nodes} == {}


def test_every_module_says_what_it_is() -> None:
    assert [place(p) for p in FILES if not ast.get_docstring(parsed(p))] == []


def test_tests_are_where_their_room_is() -> None:
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    rooms = {path.parent.name for path in FILES if path.parent.parent == ROOT / "audit"}
    assert folders == rooms - {"bundled"} | {"dashboards", "notebooks", "house"}


def rooms_named(source: str) -> list[str]:
    """What code imports of ``audit`` that its front door doesn't offer, or names in a string."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and re.fullmatch(r"audit\.[\w.]+", str(node.value)):
            found.append(str(node.value))
    offered = {"audit", *(f"audit.{name}" for name in audit.__all__)}
    return [name for name in found if name.split(".")[0] == "audit" and name not in offered]


def test_notebooks_and_dashboards_come_in_by_the_front_door() -> None:
    code = {place(p): p.read_text(encoding="utf-8") for p in ROOT.glob("dashboards/**/*.py")}
    for book in ROOT.glob("notebooks/**/*.ipynb"):
        cells = json.loads(book.read_text(encoding="utf-8"))["cells"]
        lines = [line for c in cells if c["cell_type"] == "code" for line in [*c["source"], "\n"]]
        code[place(book)] = "".join(line for line in lines if not line.startswith("%"))
    assert len(code) > 20
    assert {name: rooms for name, source in code.items() if (rooms := rooms_named(source))} == {}
    assert rooms_named("import audit.core\nfrom audit import lab\nx = 'audit.core.page'") == [
        "audit.core",
        "audit.core.page",
    ]

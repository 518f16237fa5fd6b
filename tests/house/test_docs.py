"""Every file, link and name that a page tells a reader to look at is there."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
#: a path from the top, also behind '../'; names in capitals are a reader's to choose
PATH = re.compile(
    r"(?:(?<=\.\./)|(?<![\w./-]))"
    r"((?:audit|tests|docs|dashboards|benchmarks|label_sets)/[a-z0-9_./-]*\.(?:py|md|yaml))\b"
)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
#: `audit.stats.gaps.judge`, with or without brackets after it; not the file `audit.py`
NAME = re.compile(r"`(audit(?:\.(?!py\b)\w+)+)")

#: `decide` in `audit/core/verdicts.py`, and `audit/core/verdicts.py`, `decide`
WITHIN = re.compile(r"`(\w[\w.]*)`(?: and `\w+`)?\s+(?:of|in)\s+`(audit/[a-z0-9_/]+\.py)`")
BEHIND = re.compile(r"`(audit/[a-z0-9_/]+\.py)`,\s+`(\w[\w.]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = set(PATH.findall(text))
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    links = set(LINK.findall(text))
    assert sorted(link for link in links if not (page.parent / link).exists()) == []
    assert sorted(name for name in set(NAME.findall(text)) if not is_defined(name)) == []
    pairs = set(WITHIN.findall(text)) | {(name, path) for path, name in BEHIND.findall(text)}
    assert sorted(pair for pair in pairs if not is_in(*pair)) == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("audit.stats.gaps.judge", True),
        ("audit.stats.gaps", True),
        ("audit.stats.gaps.jduge", False),
        ("audit.stats.gasp.judge", False),
        ("audit.run", True),
        ("audit.core.verdicts.Verdict.EXCEEDS", True),
    ],
)
def test_a_name_is_found_or_not(name: str, there: bool) -> None:
    assert is_defined(name) is there


def test_a_function_is_found_in_its_file_or_not() -> None:
    assert WITHIN.findall("see `decide` in\n`audit/core/verdicts.py`") == [
        ("decide", "audit/core/verdicts.py")
    ]
    assert is_in("decide", "audit/core/verdicts.py")
    assert is_in("RULE", "audit/core/verdicts.py")
    assert is_in("Store.images", "audit/store/embeddings.py")
    assert not is_in("jduge", "audit/stats/gaps.py")


def test_paths_are_found_in_prose_and_links() -> None:
    text = "`audit/a_b/c.py`, [x](../../tests/y.py) see docs/decisions/0001-z.md. audit/NAME/p.py"
    assert PATH.findall(text) == ["audit/a_b/c.py", "tests/y.py", "docs/decisions/0001-z.md"]


def is_in(name: str, path: str) -> bool:
    """Whether a file defines a name, at its top or in a class."""
    last = name.rpartition(".")[2]
    text = (ROOT / path).read_text(encoding="utf-8")
    defined = rf"^ *(?:def |class ){last}\b|^ *{last}\b[^\n(]*[:=]"
    return bool(re.search(defined, text, re.MULTILINE))


def is_defined(name: str) -> bool:
    """Whether a dotted name is a module or folder of audit/, or is defined at the top of one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if place.is_dir() or module.is_file():
            return length == len(parts) or (module.is_file() and parts[length] in defined(module))
    return False


@cache
def defined(module: Path) -> frozenset[str]:
    """The names at the top of a module, those that it imports among them."""
    found: set[str] = set()
    top = ast.parse(module.read_text(encoding="utf-8")).body
    top += [node for block in top if isinstance(block, ast.If) for node in block.body]
    for node in top:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {t.id for t in targets if isinstance(t, ast.Name)}
    return frozenset(found)


def test_the_gallery_shows_every_figure_that_there_is() -> None:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs/gallery.py")
    assert spec
    assert spec.loader
    gallery = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gallery)
    assert len(gallery.names()) > 20
    told = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert told == gallery.page(), "'python docs/gallery.py RUN ...' makes it anew"
    for name in gallery.names():
        with Image.open(ROOT / "docs/figures/gallery" / f"{name}.png") as figure:
            assert min(figure.size) > 100, name
    assert len(list((ROOT / "docs/figures/gallery").iterdir())) == len(gallery.names())

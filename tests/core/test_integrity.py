"""Edited runs are refused, or marked on every page; what is left of a draft is not published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from audit.core.csvfile import csv_text
from audit.core.errors import InputError
from audit.core.files import write_json
from audit.core.integrity import edits, unedited, write_renderings
from audit.core.rundir import SCHEMA, Run, building, open_run
from audit.core.tables import DISPARITIES
from audit.report.exports.public import write_public


@pytest.fixture
def sealed(tmp_path: Path) -> Run:
    """A small run with a rendered report."""
    with building(tmp_path / "runs", "small") as build:
        write_json(build.folder / "dataset.json", {"layout": SCHEMA})
        write_json(build.folder / "findings.json", [])
        write_json(build.folder / "gates.json", [])
        DISPARITIES.write(DISPARITIES.empty(), build.folder / "disparities.parquet")
        (build.folder / "suite.yaml").write_text("name: small\n")
        (build.folder / "private" / "groups.parquet").write_bytes(b"rows")
        build.facts.update(model="m")
    assert build.sealed is not None
    write_renderings(build.sealed, {"figures/a.png": b"a", "report.md": b"b", "report.html": b"c"})
    return open_run(build.sealed)


def append(name: str) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        with (run / name).open("ab") as file:
            file.write(b" ")

    return edit


def of_manifest(keep: bool = True, **changed: object) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        facts = json.loads((run / "manifest.json").read_text()) | changed
        write_json(run / "manifest.json", {k: v for k, v in facts.items() if keep or k != "seal"})

    return edit


EDITS = {
    **{
        f"{name} changed": append(name)
        for name in ("findings.json", "suite.yaml", "disparities.parquet", "gates.json")
        + ("figures/a.png", "report.md", "report.html", "private/groups.parquet")
    },
    "manifest.json changed": of_manifest(model="another"),
    "gates.json removed": lambda run: (run / "gates.json").unlink(),
    "figures/a.png removed": lambda run: (run / "figures" / "a.png").unlink(),
    "notes.txt added": lambda run: (run / "notes.txt").write_text("x"),
    "figures/b.png added": lambda run: (run / "figures" / "b.png").write_text("x"),
    "private/more.parquet added": lambda run: (run / "private" / "more.parquet").write_text("x"),
    "renderings.json changed": lambda run: (run / "renderings.json").write_text("{"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_run_is_refused_with_the_name_of_the_file(sealed: Run, edit: str) -> None:
    assert unedited(sealed) is sealed
    EDITS[edit](sealed.path)
    run = open_run(sealed.path)
    assert list(edits(run)) == [edit]
    for refused in (unedited, lambda run: write_public(run, sealed.path.parent / "public")):
        with pytest.raises(InputError, match="was edited after it was sealed") as caught:
            refused(run)
        assert edit in str(caught.value)
        assert "--allow-edited" in str(caught.value)
    assert not (sealed.path.parent / "public").exists()
    marked = unedited(run, allowed=True)
    assert marked.name == f"{sealed.path.name} (edited)"
    assert unedited(marked) is marked


@pytest.mark.parametrize("schema", [SCHEMA, 4, 0])
@pytest.mark.parametrize("rendered", [True, False])
@pytest.mark.parametrize("seal", ["kept", "taken away", "emptied"])
def test_taking_the_seal_away_or_naming_an_older_layout_hides_no_edit(
    sealed: Run, schema: int, rendered: bool, seal: str
) -> None:
    if not rendered:
        shutil.rmtree(sealed.path / "figures")
        for name in ("report.md", "report.html", "renderings.json"):
            (sealed.path / name).unlink()
    emptied = {"seal": None} if seal == "emptied" else {}
    of_manifest(seal != "taken away", schema=schema, **emptied)(sealed.path)
    told = list(edits(open_run(sealed.path)))
    assert told == (["manifest.json changed"] if (schema, seal) != (SCHEMA, "kept") else [])


def test_a_run_from_before_there_were_seals_opens(tmp_path: Path) -> None:
    with building(tmp_path, "old") as build:
        write_json(build.folder / "dataset.json", {})
    assert build.sealed is not None
    of_manifest(keep=False, schema=4)(build.sealed)
    assert not list(edits(open_run(build.sealed)))


def test_words_exports_and_a_copy_without_rows_are_no_edits(sealed: Run, tmp_path: Path) -> None:
    (sealed.path / "narrative.yaml").write_text("run: x\n")
    (sealed.path / "exports").mkdir()
    exports = ("exports/ll144.csv", "report.docx", "report.pdf", "brief.pdf", "croissant.json")
    for name in (*exports, ".DS_Store"):
        (sealed.path / name).write_text("x")
    assert not list(edits(sealed))
    assert not list(edits(open_run(sealed.copy_without_private(tmp_path / "copy"))))
    shutil.rmtree(sealed.path / "figures")
    for name in ("report.md", "report.html"):
        (sealed.path / name).unlink()
    assert not list(edits(sealed))  # it can be rendered again


def test_a_rendering_that_is_killed_does_not_look_edited(
    sealed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.core import integrity

    new = {"figures/b.png": b"x", "report.md": b"y", "report.html": b"z"}
    write, written = integrity.write_bytes, []

    def killed(path: Path, content: bytes) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, content)

    monkeypatch.setattr(integrity, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        write_renderings(sealed.path, new)
    monkeypatch.undo()
    assert not list(edits(sealed))
    write_renderings(sealed.path, new)
    assert not list(edits(sealed))
    assert not (sealed.path / "figures" / "a.png").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "x"}', "1"])
def test_a_manifest_that_is_none_gets_a_sentence(sealed: Run, content: str) -> None:
    (sealed.path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="damaged"):
        open_run(sealed.path)


def test_a_csv_file_holds_no_formula_and_numbers_stay() -> None:
    risky = ["=1+1", "+cmd", "-2+3", "@x", "\t=1", "\r=1", " =1", "＝1", "-1", "-1.5e3", "a=b"]
    told = csv_text(pd.DataFrame({"=h": risky, "n": -1.5, "e": "\x1b\u202e"}))
    assert told.startswith("\ufeff")  # by which a spreadsheet knows UTF-8
    lines = told.removeprefix("\ufeff").splitlines()
    assert lines[0] == "'=h,n,e"
    assert lines[1] == r"'=1+1,-1.5,\x1b\u202e"
    assert [line.split(",")[0] for line in lines[8:]] == ["'＝1", "-1", "-1.5e3", "a=b"]
    for line in lines[2:8]:
        assert line.lstrip('"').startswith("'")

"""The Report page: the author's words written, checked, kept, rendered and taken along."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pages import AppTest
from test_dashboard import FOLDER, box, opened, said
from test_figures import sample_run

import audit.report.render
from audit.core.damage import Damage
from audit.core.rundir import Run, open_run, with_seal
from audit.report.narrative import FILE, save

sys.path.insert(0, str(FOLDER))
from parts import author  # noqa: E402


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A copy of a run that may be written."""
    made = sample_run()
    return open_run(Path(shutil.copytree(made.path, tmp_path / made.name)))


@pytest.fixture(autouse=True)
def quick_report(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A report of the author's summary alone, so that no figure is drawn; how often it was."""
    made: list[str] = []

    def told(
        run: Run, template: Path, drawn: dict[str, Any], damage: list[Damage], **_: object
    ) -> str:
        made.append(run.name)
        words = audit.report.render.checked(run)
        return f"# Report\n\n{run.name}\n\n{words.words('summary')}\n\n<script>alert(2)</script>\n"

    monkeypatch.setattr(audit.report.render, "fill", told)
    return made


def at_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return opened(run.path, monkeypatch, "report")


def choose(page: AppTest, view: str) -> None:
    control = next(c for c in page.get("button_group") if view in c.options)
    control.set_value(view)
    page.run()
    assert not page.exception


def write(page: AppTest, label: str, text: str) -> None:
    fields = [*page.text_area, *page.text_input]
    next(f for f in fields if f.label.endswith(label)).set_value(text)
    page.run()
    assert not page.exception


def press(page: AppTest, label: str) -> None:
    next(b for b in page.button if b.label == label).click()
    page.run()
    assert not page.exception


def words_of(run: Run) -> dict[str, Any]:
    return dict(yaml.safe_load((run.path / FILE).read_text()))


# ---- write -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_rendered_or_written_until_it_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, quick_report: list[str]
) -> None:
    page = at_report(run, monkeypatch)
    assert quick_report == []
    assert not (run.path / FILE).exists()
    labels = [f.label for f in (*page.text_input, *page.text_area)]
    assert labels[4:9] == [
        "1. Summary", "4. Intended, out-of-scope and prohibited uses",
        "5. Stakeholders and harm map", "23. Limits, power and what was not tested",
        "25. Recommendations and sign-off",
    ]  # fmt: skip
    assert len(labels) == 4 + 28  # the lines and the sections, each once


@pytest.mark.slow
def test_words_are_typed_previewed_saved_and_read(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = run.findings[0]
    page = at_report(run, monkeypatch)
    write(page, "Auditor", 'Ana: "the" auditor # one')
    write(page, "1. Summary", f"We saw {{{{ {finding['id']}.verdict }}}}.\n\n- **one**\n  - two")
    preview = " ".join(str(h.proto.body) for h in page.get("html"))
    assert f"We saw {finding['verdict']}." in preview
    assert "<strong>one</strong>" in preview
    assert "Not saved yet" in said(page)
    choose(page, "Read")
    assert "since you last saved" in said(page)
    choose(page, "Write")
    press(page, "Save the words")
    assert f"Saved as {FILE}" in said(page)
    kept = words_of(run)
    assert kept["auditor"] == 'Ana: "the" auditor # one'
    assert kept["sections"]["summary"].endswith("- **one**\n  - two\n")
    assert kept["run"] == run.manifest["run"]
    choose(page, "Read")
    assert f"We saw {finding['verdict']}." in page.get("iframe")[0].proto.srcdoc


@pytest.mark.slow
def test_a_form_keeps_the_comments_of_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, "# mine\nauditor: Ana  # who\nsections:\n  # first\n  data: >\n    x\n    y\n")
    page = at_report(run, monkeypatch)
    write(page, "Auditor", "Bo")
    write(page, "1. Summary", "New.")
    press(page, "Save the words")
    assert (run.path / FILE).read_text() == (
        '# mine\n# who\nauditor: "Bo"\nsections:\n  # first\n  data: >\n    x\n    y\n'
        "  summary: |\n    New.\n"
    )


@pytest.mark.slow
def test_what_is_wrong_is_told_beside_the_field_and_saved_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch, quick_report: list[str]
) -> None:
    page = at_report(run, monkeypatch)
    write(page, "1. Summary", "One.\n{{ zzz }}\nThe model is fair.")
    assert "Error, line 2: no finding of this run has the id 'zzz'" in said(page)
    assert "A claim says more than was found" in said(page)
    press(page, "Save the words")
    assert "{{ zzz }}" in words_of(run)["sections"]["summary"]
    for view in ("Read", "Export"):
        choose(page, view)
        assert "not rendered until" in said(page)
        assert "‘{{ zzz }}’: no finding" in said(page)
        assert not page.get("iframe")
    assert quick_report == []


@pytest.mark.slow
def test_the_file_can_be_written_as_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = at_report(run, monkeypatch)
    choose(page, "As a file")
    write(page, FILE, "auditor: [\n")
    assert "line" in said(page) or f"{FILE}:2" in said(page)
    press(page, "Save the words")
    assert (run.path / FILE).read_text() == "auditor: [\n"
    choose(page, "As a form")
    assert "The form can't show it" in said(page)
    choose(page, "As a file")
    write(page, FILE, "# c\nauditor: Ana\nsections: {summary: 'The model is fair.'}\n")
    assert "Claim, line 3, ‘sections: {summary: 'The model is fair.'}’" in said(page)
    choose(page, "As a form")
    assert next(f for f in page.text_input if f.label == "Auditor").value == "Ana"


@pytest.mark.slow
def test_a_file_changed_by_another_is_not_overwritten(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, "auditor: Ana\n")
    page = at_report(run, monkeypatch)
    write(page, "Auditor", "Bo")
    save(run, "auditor: Cy\n")
    press(page, "Save the words")
    assert "changed by somebody else" in said(page)
    assert words_of(run) == {"auditor": "Cy"}
    assert "What I typed, as a file" in [d.label for d in page.get("download_button")]
    press(page, "Open the file as it is now")
    assert next(f for f in page.text_input if f.label == "Auditor").value == "Cy"
    save(run, "auditor: Di\n")  # nothing typed here: simply read again
    page.run()
    assert next(f for f in page.text_input if f.label == "Auditor").value == "Di"


@pytest.mark.slow
def test_words_of_two_runs_are_kept_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shutil.copytree(run.path, run.path.with_name("2026-01-01T000000Z-older-000000"))
    older = dict(run.manifest) | {"started": "2026-01-01T00:00:00+00:00"}
    (other / "manifest.json").write_text(json.dumps(older))
    page = opened(run.path.parent, monkeypatch, "report")
    write(page, "Auditor", "Ana")
    box(page, "Run").set_value(other.name)
    page.run()
    assert next(f for f in page.text_input if f.label == "Auditor").value == ""
    box(page, "Run").set_value(run.name)
    page.run()
    assert next(f for f in page.text_input if f.label == "Auditor").value == "Ana"


@pytest.mark.slow
def test_words_for_another_run_want_to_be_read_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, "run: 2020-01-01T000000Z-other-aaaaaa\nauditor: Ana\n")
    page = at_report(run, monkeypatch)
    assert "Error: these words were written for the run" in said(page)
    press(page, "I have read them again: they are about this run now")
    press(page, "Save the words")
    assert words_of(run) == {"run": run.manifest["run"], "auditor": "Ana"}


@pytest.mark.slow
def test_a_finding_is_offered_with_the_text_that_quotes_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = next(f for f in run.findings if f["estimate"] is not None and f["low"] is not None)
    page = at_report(run, monkeypatch)
    box(page, "Finding, or fact of the run").set_value(finding["id"])
    page.run()
    assert finding["statement"] in said(page)
    assert page.sidebar.get("code")[0].value == f"{{{{ {finding['id']} }}}}"
    options = box(page, "Finding, or fact of the run").options
    assert len(set(options)) == len(options) > len(run.findings)
    box(page, "What of it").set_value("estimate")
    page.run()
    pinned = page.sidebar.get("code")[0].value
    assert pinned.startswith(f"{{{{ {finding['id']}.estimate = ")
    write(page, "1. Summary", f"It is {pinned}.")
    assert "Error" not in said(page)


@pytest.mark.parametrize("name", list(author.TABLES))
def test_a_table_comes_back_as_it_was_and_empty_rows_go(name: str) -> None:
    given = {
        "harm_map": [{"who": "visitors", "severity": 7}, {"who": "", "how": "watched"}],
        "sign_off": [{"role": "Auditor", "name": "Ana", "date": "2026-11-24"}],
        "changes": [{"date": "2026-11-24", "change": "one"}],
    }[name]
    frame = author.frame_of(name, given)
    assert author.rows_of(name, frame) == given
    blank = pd.DataFrame([{column: None for column in frame}]).astype(frame.dtypes)
    assert author.rows_of(name, pd.concat([blank, frame, blank])) == given
    assert author.rows_of(name, author.frame_of(name, [])) == []


# ---- where nothing can be written --------------------------------------------------------------


@pytest.mark.slow
def test_a_public_copy_is_read_and_not_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, "auditor: Ana\n")
    facts = {"fewest_pictures": 10, "fewest_subjects": 10, "groups": [], "more_in_tasks": {}}
    manifest = dict(run.manifest) | {"public": True, "withheld": facts}
    (run.path / "manifest.json").write_text(json.dumps(with_seal(manifest)))
    page = at_report(run, monkeypatch)
    assert "This is a public copy" in said(page)
    assert not page.text_area
    assert page.get("code")[0].value == "auditor: Ana"
    choose(page, "Read")
    assert page.get("iframe")
    choose(page, "Export")
    assert "There was none to withhold" in said(page)
    assert not page.get("toggle")


@pytest.mark.slow
def test_a_folder_that_can_not_be_written_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run.path)
    page = at_report(run, monkeypatch)
    assert "can't be written. Copy the run to a folder of your own" in said(page)
    assert not page.text_area
    choose(page, "Read")
    assert page.get("iframe")


# ---- read and export ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_report_is_framed_without_scripts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.path / "report.html").write_text("<script>alert(1)</script>")
    save(run, "sections:\n  summary: |\n    a <script>alert(3)</script>\n")
    page = at_report(run, monkeypatch)
    choose(page, "Read")
    (frame,) = page.get("iframe")
    assert "<script" not in frame.proto.srcdoc
    assert "default-src 'none'" in frame.proto.srcdoc
    assert "&lt;script&gt;alert(2)" in frame.proto.srcdoc
    assert "alert(1)" not in frame.proto.srcdoc


@pytest.mark.slow
def test_no_tag_lives_in_a_preview(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = at_report(run, monkeypatch)
    write(page, "1. Summary", "<img src=x onerror=alert(1)>\n![y](https://example.org/y.png)")
    preview = " ".join(str(h.proto.body) for h in page.get("html"))
    assert "<img" not in preview
    assert "&lt;img src=x" in preview


@pytest.mark.slow
def test_every_kind_is_made_or_refused_in_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(p.name for p in run.path.rglob("*"))
    page = at_report(run, monkeypatch)
    choose(page, "Export")
    for name in ("HTML", "Markdown", "Word", "PDF", "model-index", "Croissant"):
        press(page, f"Make {name}")
        assert f"Download {name}" in [d.label for d in page.get("download_button")]
    press(page, "Make eval-results")
    assert "names no data set of the Hugging Face hub" in said(page)
    press(page, "Make LL144")
    assert "declares no label to be a favourable selection" in said(page)
    assert sorted(p.name for p in run.path.rglob("*")) == before


@pytest.mark.slow
def test_an_export_that_lacks_a_library_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    page = at_report(run, monkeypatch)
    choose(page, "Export")
    press(page, "Make Word")
    assert "pip install 'clip-audit[export]'" in said(page)


@pytest.mark.slow
def test_a_public_copy_is_one_file_and_says_what_it_withholds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, "sections:\n  summary: |\n    About 12 points.\n")
    page = at_report(run, monkeypatch)
    choose(page, "Export")
    page.get("toggle")[0].set_value(True)
    page.run()
    assert "rows about single pictures are left out" in said(page)
    assert "typed by hand" in said(page)
    made = public_copy(page)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        names = archive.namelist()
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    top = f"{run.name}-public"
    assert {n.split("/")[0] for n in names} == {top}
    assert {f"{top}/report.html", f"{top}/{FILE}", f"{top}/rates.parquet"} <= set(names)
    assert not any("private" in name for name in names)
    # the same words give the same file, to another reader too
    again = at_report(run, monkeypatch)
    choose(again, "Export")
    again.get("toggle")[0].set_value(True)
    again.run()
    assert public_copy(again) == made


def public_copy(page: AppTest) -> bytes:
    """The archive that the page makes."""
    press(page, "Make public copy")
    made: bytes = page.session_state["files made"][1]["zip", True]
    return made


@pytest.mark.slow
def test_an_edited_run_is_not_exported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.path / "notes.txt").write_text("x")
    page = at_report(run, monkeypatch)
    choose(page, "Export")
    assert any("notes.txt added" in e.value.replace("\\", "") for e in page.error)
    assert not [b for b in page.button if b.label.startswith("Make ")]

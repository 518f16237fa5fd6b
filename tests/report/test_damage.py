"""A section, figure, export or page that raises is named in its place, and nothing else is lost."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import worlds
from pages import AppTest
from PIL import Image

from audit.cli import verbs as cli
from audit.core.damage import Damage, DamagedWarning
from audit.core.errors import AuditError, InputError
from audit.core.integrity import edits
from audit.core.names import file_names, slug
from audit.core.page import MARKS, code, escaped
from audit.core.resources import shipped
from audit.core.rundir import Run, open_run
from audit.engine import gates
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure import controls
from audit.probes.kit import looks
from audit.probes.kit.blocks import Picture, Section
from audit.probes.kit.cells import table, tag
from audit.report import figures
from audit.report import render as report
from audit.report.exports import kinds
from audit.report.exports.pdf import write_pdf
from audit.report.exports.word import write_docx
from audit.report.narrative import draft
from audit.report.render import Drawn, render, rendered
from audit.report.sections.registry import SECTIONS
from audit.store.embeddings import Store

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboards"
GATES = "gates: [{attribute: gender, family: default, fail_if: exceeds_margin}]\n"


def broken(*given: Any, **named: Any) -> Any:
    raise KeyError("not judged")


def small(folder: Path, policy: str = GATES) -> tuple[Path, Any]:
    """A world in which a gate fails."""
    table = worlds.people(folder, 120)
    encoder = worlds.planted(
        folder, table, "people-nonce", lambda r: "wug" if r["gender"] == "female" else "dax"
    )
    suite = worlds.suite_file(folder, "people-nonce")
    quick = suite.read_text().replace("min_group: 30", "min_group: 30, resamples: 100") + policy
    suite.write_text(quick)
    return suite, encoder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("damage") / "world"
    suite, encoder = small(folder)
    asked = load_suite(str(suite))
    return carry_out(asked, folder / "runs", Store(folder / "cache"), lambda: encoder)


@pytest.fixture(autouse=True)
def _unpainted(unpainted: None) -> None:
    """Figures are composed and not painted: what is tested is what happens when they can't be."""


def told(run: Run, what: str) -> str:
    with pytest.warns(DamagedWarning, match=what):
        return rendered(run).text


def headings(text: str) -> list[str]:
    """The chapters, those that were not asked among them."""
    return sorted(re.findall(r"^(?:## |- \*\*)(\d+)\. ", text, re.M), key=int)


# ---- the report --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_figure_that_raises_is_named_and_all_others_are_drawn(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(report._DRAW, "group_counts", broken)  # type: ignore[index]
    with pytest.warns(DamagedWarning, match="The figure 'broken' could not be rendered: KeyError"):
        made = rendered(run)
    assert [damage.part for damage in made.damage] == ["The figure 'broken'"]
    place = made.text.index("The figure 'broken' could not be rendered")
    assert made.text.index("## 6. Data") < place < made.text.index("## 7. ")
    assert "test_damage.py, line " in made.text
    assert "leading-facts" in made.figures
    assert headings(made.text) == [str(n) for n in range(len(headings(made.text)))]
    assert "could not be rendered" in made.page


@pytest.mark.slow
def test_a_section_that_raises_is_named_and_its_neighbours_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [
        Section("retrieval", "", broken),
        Section("retrieval", "", lambda run: ["a neighbour"]),
    ]
    there = report.sections_at
    monkeypatch.setattr(report, "sections_at", lambda n: given if n == "retrieval" else there(n))
    text = told(run, r"The section 'test_damage' could not be rendered: KeyError: 'not judged'")
    part = text.split("\n## 15. ")[1].split("\n## ")[0]
    assert "could not be rendered" in part
    assert "a neighbour" in part


@pytest.mark.slow
def test_a_block_of_a_section_that_raises_leaves_its_other_blocks(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [Section("retrieval", "", lambda run: ["before", Picture(broken, "task"), "after"])]
    there = report.sections_at
    monkeypatch.setattr(report, "sections_at", lambda n: given if n == "retrieval" else there(n))
    part = told(run, "The figure 'broken' of task").split("\n## 15. ")[1].split("\n## ")[0]
    assert part.index("before") < part.index("could not be rendered") < part.index("after")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["label_warnings", "findings_table", "failed_controls", "tasks"])
def test_whatever_a_template_calls_may_raise(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    topics = [t for t in report.TOPICS if name in {f.__name__ for f in t.OFFERS}]
    if topics:
        raising = type("F", (), {"__name__": name, "__call__": staticmethod(broken)})()
        offers = [raising if f.__name__ == name else f for f in topics[0].OFFERS]
        monkeypatch.setattr(topics[0], "OFFERS", offers)
    else:
        monkeypatch.setattr(report, name, broken)
    text = told(run, "could not be rendered: KeyError")
    assert "could not be rendered" in text
    for finding in run.findings:  # by its sentence, or by its id among the facts
        said = finding["statement"][:20] in text.replace("\\", "")
        assert said or f"`{finding['id']}`" in text


@pytest.mark.slow
def test_a_section_of_the_template_that_cannot_be_filled_leaves_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = rendered(run).text
    source = shipped(report.TEMPLATE).read_text(encoding="utf-8")
    own = tmp_path / "own.md"
    own.write_text(source.replace("## 9. Prompts\n", "## 9. Prompts\n{{ 1 // 0 }}\n"))
    with pytest.warns(DamagedWarning, match="The section '9. Prompts'.*ZeroDivisionError"):
        text = rendered(run, own).text
    before, after = (
        [p for p in re.split(r"^(?=## )", t, flags=re.M) if not p.startswith("## 9.")]
        for t in (whole, text)
    )
    assert [p.split() for p in before] == [p.split() for p in after]


@pytest.mark.slow
def test_a_page_that_cannot_be_set_is_its_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "to_html", broken)
    monkeypatch.setattr(report.evidence, "appendix", broken)
    with pytest.warns(DamagedWarning) as caught:
        made = rendered(run)
    assert len(caught) == len(made.damage) == 2
    assert made.page.startswith("<!doctype html>")
    assert "The page could not be rendered" in made.page
    assert "## 21." in made.page


def test_what_stands_in_a_public_copy_quotes_no_exception() -> None:
    error = KeyError("a withheld group, /home/someone")
    assert "withheld group" in str(Damage.of("The figure 'x'", error))
    published = str(Damage.of("The figure 'x'", error, quoted=False))
    assert "withheld group" not in published
    assert published.startswith("The figure 'x' could not be rendered: KeyError (")
    named = Damage.of("The figure 'x'", InputError("no such thing"))
    assert "could not be rendered: no such thing. " in str(named)


@pytest.mark.parametrize("verdict", ["not judged", "beyond doubt", ""])
def test_a_verdict_that_nobody_knows_is_printed_as_it_is(verdict: str) -> None:
    assert tag(verdict) == verdict
    assert MARKS[verdict][0] == "–"
    assert (looks.MARKS[verdict], looks.COLOURS[verdict]) == ("x", looks.GREY)


# ---- the terminal ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("render", 3), ("render", 0), ("figure", 3), ("section", 0), ("summary", 3), ("junit", 3),
        ("disk", 3),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unpainted")
def test_the_exit_code_of_a_run_is_that_of_its_gates(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    world: Path,
    where: str,
    expected: int,
) -> None:
    suite, encoder = small(world, GATES if expected else "")
    few = "templates: bare, label_effects: false, thresholds: [0.5]"  # what gates don't ask about
    suite.write_text(suite.read_text().replace("templates: bare", few))
    monkeypatch.setattr(controls, "SHUFFLES", 2)
    places: dict[str, Callable[[], None]] = {
        "render": lambda: monkeypatch.setattr(report, "rendered", broken),
        "figure": lambda: monkeypatch.setitem(report._DRAW, "group_counts", broken),  # type: ignore[index]
        "section": lambda: monkeypatch.setattr(report, "_section", broken),
        "summary": lambda: monkeypatch.setattr(cli, "of_run", broken),
        "junit": lambda: monkeypatch.setattr(gates, "junit", broken),
        "disk": lambda: monkeypatch.setattr(report, "write_renderings", _full),
    }
    places[where]()
    monkeypatch.setattr(cli, "encoder_of", lambda suite, device: lambda: encoder)
    monkeypatch.setenv("COLUMNS", "200")
    words = ["run", str(suite), "--out", str(world / "runs"), "--cache", str(world / "cache")]
    monkeypatch.setattr(sys, "argv", ["clip-audit", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (ended.value.code or 0) == expected
    assert "could not be rendered: " in err
    assert ("KeyError" in err) != (where == "disk")
    assert ("most important findings" in out) == (where != "summary")
    (folder,) = (p.parent for p in (world / "runs").glob("*/manifest.json"))
    sealed = json.loads((folder / "manifest.json").read_text())["files"]
    assert {"findings.sarif", "gates.json", "findings.json", "rates.parquet"} <= set(sealed)
    assert ("junit.xml" in sealed) == (where != "junit")
    assert not open_run(folder).damaged()


def _full(*given: Any) -> None:
    raise OSError(28, "No space left on device")


# ---- exports and the dashboard -----------------------------------------------------------------


@pytest.mark.slow
def test_an_export_that_raises_keeps_no_other_from_being_written(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(kinds, "KINDS", kinds.KINDS | {"pdf": ("report.pdf", broken)})
    render(run)
    (run.path / "report.pdf").write_text("of before")
    with pytest.raises(AuditError, match="The export 'pdf' could not be rendered: KeyError"):
        kinds.export(run, ["pdf", "croissant", "model-index"])
    assert (run.path / "croissant.json").is_file()
    assert (run.path / "exports" / "model-index.yaml").is_file()
    assert (run.path / "report.pdf").read_text() == "of before"
    assert not list(run.path.glob(".*"))
    more = ["--export", "pdf", "--export", "eval-results"]
    monkeypatch.setattr(sys, "argv", ["clip-audit", "report", str(run.path), *more])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 1
    assert "written: " in out
    assert "clip-audit.yaml" in out.replace("\n", "")
    assert "The export 'pdf'" in err


@pytest.mark.slow
def test_what_will_be_refused_is_refused_before_anything_is_rendered(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = open_run(Path(shutil.copytree(run.path, tmp_path / run.name)))
    (run.path / "croissant.json").unlink(missing_ok=True)
    monkeypatch.setattr(report, "rendered", broken)
    public = run.path.parent / "public"
    for options, says in (
        (["--export", "croissant", "--export", "ll144"], "favourable"),
        (["--export", "ll144", "--public", str(public)], "favourable"),
        (["--public", str(run.path / "findings.json" / "x")], "is read-only or no folder"),
        (["--public", str(public)], "'Replace this:' still stands there"),
    ):
        if "Replace" in says:
            draft(run)
        monkeypatch.setattr(sys, "argv", ["clip-audit", "report", str(run.path), *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert says in " ".join(capsys.readouterr().err.split())
        assert not public.exists()
    assert not (run.path / "croissant.json").exists()


@pytest.mark.slow
def test_an_edited_run_is_marked_on_every_page(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docx = pytest.importorskip("docx", reason="the extra 'export' is not installed")
    dot = io.BytesIO()
    Image.new("RGB", (1, 1)).save(dot, "png")
    painted = Drawn(b"<svg/>", dot.getvalue())
    monkeypatch.setattr(report, "_drawn", lambda figure, of: replace(painted, of=of))
    run = open_run(Path(shutil.copytree(run.path, tmp_path / run.name)))
    (run.path / "gates.json").write_text("[]\n\n")
    public = run.path.parent / "public"
    words = ["clip-audit", "report", str(run.path), "--public", str(public)]
    words += ["--export", "docx", "--export", "pdf", "--export", "eval-results"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "gates.json changed" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(sys, "argv", [*words, "--allow-edited"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    copy = open_run(public)
    assert copy.manifest["edited"] == ["gates.json changed"]
    assert not list(edits(copy))  # as it was published
    assert "From an edited run" in (public / "report.md").read_text(encoding="utf-8")
    assert '<p class="mark">⚠ From an edited run' in (public / "report.html").read_text("utf-8")
    results = (public / "exports" / ".eval_results" / "clip-audit.yaml").read_text("utf-8")
    results = " ".join(results.split())
    assert results.count(f"run {run.path.name} (edited)") == results.count("task_id")
    head = docx.Document(str(public / "report.docx")).sections[0].header.paragraphs[0].text
    assert head == f"{run.path.name} (edited)"


@pytest.mark.parametrize("write", [pytest.param(write_pdf, marks=pytest.mark.slow), write_docx])
def test_a_document_holds_any_sign_and_any_length(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    odd = "\ufffe \x07 \u202e👩 🏳️ مرحبا \x85 \u2028 <b> & $"
    names = [odd, "word " * 3000, "W" * 4000]
    parts = [f"## {escaped(odd)}", *map(escaped, names), *(table([{"Group": n}]) for n in names)]
    parts += [f"# {'W' * 3000}", table([{"W" * 3000: "x", "b": odd, "c": "1"}]), f"- {'W' * 3000}"]
    run = Run(tmp_path, {"model": "m\ufffe", "run": "r", "finished": "2026-01-01T00:00:00+00:00"})
    (tmp_path / "report.md").write_text("\n\n".join(parts), encoding="utf-8")
    assert write(run, tmp_path / "made").stat().st_size > 1000


def test_what_turns_the_words_after_it_around_is_shown_as_its_number() -> None:
    assert code("a\u202eb\x07c") == r"`a\u202eb\x07c`"
    assert escaped("a\u202eb\x07c") == r"a\\u202eb\\x07c"
    assert escaped("é e\u0301 👩 مرحبا") == "é e\u0301 👩 مرحبا"


@pytest.fixture
def shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], AppTest]]:
    def at(view: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app.py", str(run.path)])
        page = AppTest.from_file(str(DASHBOARD / "app.py"), default_timeout=60)
        return (page if view == "overview" else page.switch_page(f"views/{view}.py")).run()

    return at


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::audit.core.damage.DamagedWarning")
def test_a_part_of_a_page_that_raises_leaves_the_others(
    shown: Callable[[str], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.report.pages.tally_verdicts", broken)
    page = shown("overview")
    assert not page.exception
    told_of = [e.value.replace("\\", "") for e in page.error]
    assert any("The part 'Verdicts' could not be rendered: KeyError" in t for t in told_of)
    parts = [s.value for s in page.subheader]
    assert parts.index("Groups") < parts.index("Verdicts") < parts.index("Findings")
    assert any("‘inconclusive’ is not ‘no gap’" in m.value.replace("\\", "") for m in page.markdown)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::audit.core.damage.DamagedWarning")
def test_a_section_on_a_page_that_raises_is_named(
    shown: Callable[[str], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECTIONS._items, "retrieval", Section("retrieval", "", broken))
    monkeypatch.setitem(
        SECTIONS._items, "thresholds", Section("sensitivity", "", lambda r: [Picture(broken)])
    )
    page = shown("retrieval")
    assert not page.exception
    told_of = [m.value.replace("\\", "") for m in page.markdown]
    assert any("The section 'retrieval' could not be rendered" in text for text in told_of)
    page = shown("probes")
    next(box for box in page.selectbox if box.label == "Topic").set_value("thresholds")
    page.run()
    assert not page.exception
    assert any("The figure 'broken' could not" in e.value.replace("\\", "") for e in page.error)


# ---- names of files ----------------------------------------------------------------------------


def test_no_two_tasks_share_a_file() -> None:
    long = "x" * 500
    tasks = ["職業", "年齢", "a b", "a-b", "A B", long, long + "y", "people-gender"]
    names = file_names(tasks)
    assert len({name.casefold() for name in names.values()}) == len(tasks)
    assert max(map(len, names.values())) < 200
    assert names["a b"] == slug("a b") == "a-b"  # as runs of before have it
    assert names["people-gender"] == "people-gender"
    assert figures.group_counts.__name__ == "group_counts"


@pytest.mark.parametrize(
    ("attribute", "group", "crossed"),
    [("a x b", "one", False), ("a", "one x two", True), ("a", "one x", True)],
)
def test_a_name_that_reads_as_an_intersection_is_refused_before_the_run(
    world: Path, attribute: str, group: str, crossed: bool
) -> None:
    people = worlds.people(world, 40)
    people[attribute] = [group, "other"] * 20
    people.to_csv(world / "people.csv", index=False)
    with (world / "card.yaml").open("a") as card:
        card.write(f"  {attribute}: {{source: generator}}\n")
    suite = worlds.suite_file(world, "people-nonce")
    pairs = f"[[gender, {attribute}]]" if crossed else "[]"
    text = suite.read_text().replace("[gender, age_group]\n", f"[gender, {attribute}]\n", 1)
    suite.write_text(text.replace("[[gender, age_group]]", pairs))
    with pytest.raises(InputError, match="holds ' x ', which joins the names of an intersection"):
        load_suite(str(suite)).resolve()

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from test_figures import altered, sample_run

from audit.cli import verbs as cli
from audit.core.errors import InputError
from audit.core.integrity import write_renderings
from audit.core.page import to_html
from audit.core.resources import shipped
from audit.core.rundir import Run, open_run
from audit.probes.kit.blocks import PLACES, Section
from audit.report.narrative import (
    FIELDS,
    checked,
    closed,
    draft,
    narrative_of,
    quoted,
    read,
    save,
    save_over,
    starter,
    text_of,
)
from audit.report.passages import FILE, Problem, without_html
from audit.report.sections.registry import sections_at

LARGE = {
    "id": "jobs.selection.nurse.gender",
    "statement": "Asked 'jobs', the model chooses 'nurse' more often for <b>female</b>.",
    "verdict": "exceeds margin",
    "severity": "medium",
    "harm": "stereotyping",
    "task": "jobs",
    "metric": "selection",
    "label": "nurse",
    "attribute": "gender",
    "groups": ["female", "male"],
    "estimate": 0.1234,
    "low": 0.08,
    "high": 0.17,
    "margin": 0.05,
    "unit": "",
    "evidence": ["classification | jobs | ensemble | selection | nurse"],
}
OPEN = LARGE | {"id": "jobs.selection.clerk.gender", "label": "clerk", "verdict": "inconclusive"}
SMALL = LARGE | {
    "id": "jobs.selection.cook.gender", "label": "cook", "verdict": "within margin",
    "estimate": 0.01, "low": 0.0, "high": 0.03,
}  # fmt: skip
SEEN = LARGE | {
    "id": "jobs.seen.nonhuman.everyone", "verdict": "seen", "attribute": "everyone",
    "groups": [], "estimate": 0.02, "low": 0.01, "high": 0.04, "margin": None,
}  # fmt: skip
SKEW = LARGE | {"id": "search.maxskew.k-10", "unit": "MaxSkew", "estimate": 0.4567}
EMPTY = LARGE | {"id": "jobs.selection.pilot.gender", "estimate": None, "low": None, "high": None}
KINDS = ("error", "claim", "note")
FINDINGS = [LARGE, OPEN, SMALL, SEEN, SKEW, EMPTY]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run's folder with nothing in it but what words are filled from."""
    manifest = {"run": "2026-11-23T101500Z-quick-3f9a1c", "model": "specimen"}
    facts = {"name": "tiny", "pictures": 1792, "subjects": 900}
    keys = {"disparities": LARGE["evidence"], "measures": []}
    tables = {n: pd.DataFrame({"key": k}).rename_axis(index=n) for n, k in keys.items()}
    facts = {"manifest": manifest, "findings": FINDINGS, "dataset": facts, **tables}
    return altered(Run(tmp_path, manifest), **facts)


def problems(run: Run, text: str) -> list[Problem]:
    save(run, text)
    return narrative_of(run).problems


def of_summary(run: Run, words: str) -> list[tuple[int, str]]:
    """Line within the words (from 1) and kind of every problem."""
    indented = "".join(f"    {line}\n" for line in words.split("\n"))
    found = problems(run, f"sections:\n  summary: |\n{indented}")
    return [(p.line - 2, p.kind) for p in found]


def summary(run: Run, words: str) -> str:
    assert "error" not in {kind for _, kind in of_summary(run, words)}
    return str(checked(run).words("summary"))


# ---- filling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (LARGE["id"], "12 points (8 to 17)"),
        (f"{LARGE['id']}.estimate", "12"),
        (f"{LARGE['id']}.low", "8"),
        (f"{LARGE['id']}.high", "17"),
        (f"{LARGE['id']}.bounds", "8 to 17"),
        (f"{LARGE['id']}.margin", "5"),
        (f"{LARGE['id']}.verdict", "exceeds margin"),
        (f"{LARGE['id']}.severity", "medium"),
        (f"{LARGE['id']}.harm", "stereotyping"),
        (f"{LARGE['id']}.groups", "female and male"),
        (SMALL["id"], "1 point (0 to 3)"),
        (SEEN["id"], "2 % (1 to 4)"),
        (SKEW["id"], "0.46 MaxSkew (0.08 to 0.17)"),
        ("run.pictures", "1,792"),
        ("run.inconclusive", "1"),
        ("run.model", "specimen"),
    ],
)
def test_a_quote_is_filled_from_the_run(run: Run, asked: str, told: str) -> None:
    shown = summary(run, f"It is ({{{{ {asked} }}}}) here.")
    assert f"> It is ({told}) here." in shown


def test_every_field_can_be_quoted(run: Run) -> None:
    for field in FIELDS:
        assert quoted(LARGE, field), field


def test_a_quoted_finding_is_named_with_its_evidence(run: Run) -> None:
    shown = summary(run, f"From {{{{ {LARGE['id']}.low }}}} points on.")
    assert LARGE["evidence"][0] in shown
    assert f"`{LARGE['id']}` (exceeds margin;" in shown


def test_a_quoted_statement_stays_words(run: Run) -> None:
    assert r"\<b\>female" in summary(run, f"{{{{ {LARGE['id']}.statement }}}}")


def test_without_a_file_every_place_waits_for_the_author(run: Run) -> None:
    words = checked(run)
    assert words.words("summary") == ""
    assert "to be filled in" in words.line("auditor")
    assert "to be filled in" in words.harms()
    assert words.signatures().count("to be filled in") == 3
    assert words.changes() == []


def test_lines_and_rows_of_the_author(run: Run) -> None:
    save(
        run,
        "auditor: A | B <i>\n"
        "harm_map:\n  - {who: visitors, how: watched, severity: 7}\n"
        "sign_off:\n  - {role: Auditor, name: Ana, date: 2026-11-24}\n"
        "changes:\n  - {date: 2026-11-24, change: 'now {{ run.pictures }} pictures'}\n",
    )
    words = checked(run)
    assert words.line("auditor") == r"A \| B \<i\>"
    assert "| visitors | watched |  | 7 |" in words.harms()
    assert "| Auditor | Ana | 2026-11-24 |" in words.signatures()
    assert words.changes() == [("2026-11-24", "now 1,792 pictures")]


# ---- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quote", "told"),
    [
        ("jobs.selection.nurze.gender", f"Did you mean '{LARGE['id']}'?"),
        ("jobs.selection.nurze.gender.low", f"Did you mean '{LARGE['id']}'?"),
        (f"{LARGE['id']}.estimat", "Did you mean 'estimate'?"),
        ("zzz", "'findings.json' beside the run has them all"),
        (f"{EMPTY['id']}.low", "has no low in this run"),
        (f"{LARGE['id']}.estimate = 14", "was 14 when this was written and is 12 now"),
    ],
)
def test_what_can_not_be_quoted_is_an_error_with_its_line(run: Run, quote: str, told: str) -> None:
    found = problems(run, f"sections:\n  data: |\n    One.\n\n    Two {{{{ {quote} }}}}.\n")
    assert [(p.kind, p.line) for p in found] == [("error", 5)]
    assert told in str(found[0])
    assert str(found[0]).startswith(f"{FILE}:5: ")
    with pytest.raises(InputError, match=re.escape(f"{FILE}:5: ")):
        checked(run)


def test_a_number_that_is_still_the_same_is_no_error(run: Run) -> None:
    assert "are 12 points" in summary(run, f"are {{{{ {LARGE['id']}.estimate = 12 }}}} points")


def test_a_brace_alone_is_an_error(run: Run) -> None:
    assert of_summary(run, "one\n{{ two words }}")[0] == (2, "error")


def test_lines_hold_in_folded_and_plain_text_too(run: Run) -> None:
    found = problems(run, "sections:\n  data: >\n    one\n    {{ zzz }}\n  plan: is {{ zzz }}\n")
    assert [p.line for p in found] == [4, 5]


def test_words_for_another_run_have_to_be_read_again(run: Run) -> None:
    (found,) = problems(run, "auditor: Ana\nrun: 2026-01-01T000000Z-quick-aaaaaa\n")
    assert (found.kind, found.line) == ("error", 2)
    assert "Read them again" in found.told
    assert problems(run, "run: 2027-01-01T000000Z-quick-3f9a1c-2\n") == []  # the same tables


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("section: {}\n", "Did you mean 'sections'?"),
        ("harm_map: [{who: x, severity: 11}]\n", "less than or equal to 10"),
        ("sections: {summary: 3}\n", "put it in quotes"),
        ("sections: [\n", f"{FILE}:2"),
    ],
)
def test_a_file_that_can_not_be_read_says_where(run: Run, text: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        problems(run, text)


def test_an_unknown_section_names_the_nearest(run: Run) -> None:
    (found,) = problems(run, "sections:\n  summery: x\n")
    assert "Did you mean 'summary'?" in found.told


@pytest.mark.parametrize("words", ["# One", "one\n===", "- a\n\n  ## Two", "#### fold"])
def test_a_heading_would_break_the_report(run: Run, words: str) -> None:
    assert "error" in {kind for _, kind in of_summary(run, words)}


# ---- claims ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "The model has no bias.",
        "There is no evidence of bias.",
        "It is free from any bias",
        "The model is\nfair.",
        "An unbiased model.",
        "We debiased it.",
        "This proves that all is well.",
        "A significant gap.",
        "It is not biased.",
        "Certified and compliant.",
        "It doesn't discriminate.",
    ],
)
def test_a_claim_that_no_audit_bears_out_is_flagged(run: Run, words: str) -> None:
    found = of_summary(run, "Well then.\n" + words)
    assert found
    assert {kind for _, kind in found} == {"claim"}
    assert found[0][0] in (2, 3)


@pytest.mark.parametrize(
    "words",
    [
        "This does not mean that there is no bias.",
        "It cannot show whether the model is fair.",
        "FairFace and fair-skinned people; fairness is another matter.",
        f"A significant gap: {{{{ {LARGE['id']} }}}}.",
        f"We can’t tell whether it is large: {{{{ {OPEN['id']} }}}}.",
        f"It is within the margin: {{{{ {SMALL['id']} }}}}.",
        "We found disparities in section 11 of 27.",
    ],
)
def test_what_may_be_said_is_not_flagged(run: Run, words: str) -> None:
    assert of_summary(run, words) == []


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("A significant gap of {} opens.", OPEN),
        ("It shows a gap of {}.", OPEN),
        ("There is no difference ({}).", OPEN),
        ("A large gap, {}.", SMALL),
        ("A negligible gap, {}.", LARGE),
        ("Within the margin: {}.", LARGE),
    ],
)
def test_a_claim_beyond_its_verdict_is_flagged(
    run: Run, words: str, finding: dict[str, object]
) -> None:
    save(run, "sections: {data: '" + words.format(f"{{{{ {finding['id']} }}}}") + "'}\n")
    found = narrative_of(run).problems
    assert [p.kind for p in found] == ["claim"]
    assert str(finding["verdict"]) in found[0].told


def test_a_claim_is_printed_below_the_words(run: Run) -> None:
    shown = summary(run, "The model is fair.")
    assert shown.index("The model is fair.") < shown.index("**Remark of the tool:** ‘fair’")


def test_a_number_typed_by_hand_is_noted(run: Run) -> None:
    assert of_summary(run, "A gap of\n12 points, or 3.5 %.") == [(2, "note"), (2, "note")]


# ---- HTML --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "\\`<script>`",
        "one `\n\nb ` <script> ` c `",
        "one ` two\nthree ` <b>four</b> ` five",
        "<!-- gone -->",
        "<!DOCTYPE html>",
        "``` \n<script>\n",
        "[x](javascript:alert(1))",
        "![x](https://example.org/x.png)",
        "- <div\n  onclick=x>",
    ],
)
def test_html_and_scripts_stay_words(run: Run, attack: str) -> None:
    shown = summary(run, attack)
    parser = MarkdownIt("commonmark", {"html": True})
    tokens = [t for token in parser.parse(shown) for t in (token, *(token.children or ()))]
    assert not {"html_block", "html_inline"} & {t.type for t in tokens}
    body = to_html(shown, {}).split("<main>")[1]
    assert not re.search(r"<(script|img|div on|b>|!)|href=\"javascript", body)


def test_each_thing_is_named_with_its_own_line(run: Run) -> None:
    lines = [
        f"Stale: {{{{ {LARGE['id']}.estimate = 99 }}}} points,",
        "mistyped: {{ jobs.selection.nurze.gender }},",
        "and <script>alert(1)</script> on the third line.",
        "There is no bias;",
        "the model is fair,",
        "a significant gap,",
        "which proves it.",
        "",
        "- one `<b>`",
        "- two <b>bold</b> and <i>so on</i>",
        "",
        "<div>",
        "</div>",
    ]
    found = of_summary(run, "\n".join(lines))
    errors, claims, notes = ([n for n, k in found if k == kind] for kind in KINDS)
    assert errors == [1, 2]
    assert sorted(claims) == [4, 5, 6, 7]
    assert notes == [3, 10, 12]
    told = [p.told for p in problems(run, (run.path / FILE).read_text())]
    for words in ("was 99", "Did you mean", "‘no bias’", "‘fair’", "‘significant’", "‘proves’"):
        assert sum(words in each for each in told) == 1
    body = to_html(narrative_of(run).words("summary"), {}).split("<main>")[1]
    assert not re.search(r"<(script|i|b|div)[ >]", body)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body


def test_html_in_folded_text_and_tables_has_its_line_too(run: Run) -> None:
    text = "sections:\n  data: >\n    one\n    <b>x</b>\n    and\n    <b>y</b>\n"
    assert [p.line for p in problems(run, text)] == [4, 6]
    table = "| a | b |\n| --- | --- |\n| x | y |\n| x | <i>y</i> |"
    assert of_summary(run, table) == [(4, "note")]


def test_code_keeps_its_signs() -> None:
    assert without_html("a `<b>` c <b>") == r"a `<b>` c \<b>"
    assert without_html("2 < 3 > 1") == "2 < 3 > 1"


# ---- text that is not saved yet ----------------------------------------------------------------


def test_text_is_checked_without_being_saved(run: Run) -> None:
    words = read(run, "auditor: Ana\nsections:\n  summary: |\n    {{ zzz }}\n")
    assert [(p.line, p.kind, p.at) for p in words.problems] == [
        (4, "error", ("sections", "summary"))
    ]
    assert words.line("auditor") == "Ana"
    assert not (run.path / FILE).exists()
    with pytest.raises(InputError, match=f"{FILE}:1"):
        read(run, "audito: Ana\n")


def test_a_file_that_somebody_else_changed_is_not_written_over(run: Run) -> None:
    save_over(run, "auditor: Ana\n", None)
    save_over(run, "auditor: Bo\n", "auditor: Ana\n")
    for opened in ("auditor: Ana\n", None):
        with pytest.raises(InputError, match="changed by somebody else"):
            save_over(run, "auditor: Cy\n", opened)
    assert text_of(run) == "auditor: Bo\n"


def test_what_can_not_be_written_is_a_sentence(run: Run) -> None:
    (run.path / FILE).mkdir()
    with pytest.raises(InputError, match="can't be written"):
        save(run, "auditor: Ana\n")


def test_a_public_copy_is_closed(run: Run) -> None:
    assert closed(run) is None
    public = altered(run, manifest=dict(run.manifest) | {"public": True})
    assert "Edit them there" in str(closed(public))


# ---- the file and the report -------------------------------------------------------------------


def test_a_draft_is_sound_and_is_not_written_twice(run: Run) -> None:
    path = draft(run)
    assert narrative_of(run).problems == []
    assert LARGE["id"] in path.read_text()
    assert starter(altered(run, findings=[])).count("{{ run.findings }}") == 1
    with pytest.raises(InputError, match="exists already"):
        draft(run)


def test_the_template_has_a_place_for_every_section() -> None:
    template = shipped("REPORT_TEMPLATE.md").read_text(encoding="utf-8")
    places = re.findall(r'^\{\{ words\("(\w+)"\) \}\}$', template, re.M)
    assert places == list(PLACES)
    numbers = re.findall(r"^## (\d+)\. ", template, re.M)
    assert numbers == [str(number) for number in range(len(PLACES))]


def test_a_section_that_the_report_lacks_is_refused_with_those_it_has(run: Run) -> None:
    refused = "no section of the report named '15'. Known: association, .*wordings"
    with pytest.raises(InputError, match=refused):
        checked(run).words(15)
    with pytest.raises(InputError, match=refused):
        Section(15, "")
    with pytest.raises(InputError, match="Did you mean 'retrieval'"):
        sections_at("retrival")


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_words_survive_rendering_and_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    from audit.report.render import render

    made = sample_run()
    copy = open_run(Path(shutil.copytree(made.path, tmp_path / made.name)))
    finding = copy.findings[0]["id"]
    text = f"sections:\n  limits: |\n    We saw {{{{ {finding}.verdict }}}} & <script>x</script>.\n"
    save(copy, text)
    render(copy)
    first = {p.name: p.read_bytes() for p in copy.path.glob("report.*")}
    assert b"<script" not in first["report.html"]
    assert f"We saw {copy.findings[0]['verdict']}" in first["report.html"].decode()
    render(open_run(copy.path))
    assert {p.name: p.read_bytes() for p in copy.path.glob("report.*")} == first
    assert (copy.path / FILE).read_text() == text
    assert copy.damaged() == []


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_an_error_leaves_the_report_as_it_was(tmp_path: Path) -> None:
    from audit.report.render import render

    made = sample_run()
    copy = open_run(Path(shutil.copytree(made.path, tmp_path / made.name)))
    write_renderings(copy.path, {"report.md": b"as it was"})
    save(copy, "sections: {data: '{{ zzz }}'}\n")
    with pytest.raises(InputError, match="zzz"):
        render(copy)
    assert (copy.path / "report.md").read_text() == "as it was"


# ---- the command -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_the_command_checks_drafts_and_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = sample_run()
    folder = Path(shutil.copytree(made.path, tmp_path / made.name))

    def say(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["clip-audit", "report", str(folder), *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    assert say("--draft", "--check")[:2] == (
        0,
        f"the author's words: {folder / FILE}\n{FILE}: nothing is wrong with it\n",
    )
    save(open_run(folder), "sections:\n  summary: |\n    Fair.\n    {{ zzz }}\n")
    before = sorted(p.stat().st_mtime_ns for p in folder.iterdir())
    code, _, err = say("--check")
    assert code == 2
    assert f"{FILE}:3: ‘Fair’ is a verdict that no audit gives" in err
    assert f"{FILE}:4: no finding of this run has the id 'zzz'" in err
    assert sorted(p.stat().st_mtime_ns for p in folder.iterdir()) == before
    assert say()[0] == 2
    save(open_run(folder), "sections:\n  summary: |\n    Fair.\n")
    code, out, err = say()
    assert code == 0
    assert "‘Fair’" in err
    assert str(folder / "report.html") in out

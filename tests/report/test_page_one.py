from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from test_facts import fact, side
from test_report import Page

from audit.core.evidence import Address
from audit.core.page import Markdown, place, to_html
from audit.core.rundir import Run
from audit.core.verdicts import Verdict
from audit.measure.facts import Fact, Relief, Threshold, Variants
from audit.report.chapters import gathered
from audit.report.page_one import (
    ACTIONS,
    CARDS,
    ROWS,
    Action,
    Card,
    PageOne,
    _answer,
    _besides,
    _next,
    _sure,
    chosen,
    figure_rows,
    figure_title,
)
from audit.report.page_one_marks import note_of, tags_of
from audit.report.page_one_page import as_page
from audit.report.page_one_text import BEGINS, ENDS, as_markdown, beside
from audit.report.render import _placed_in

EXCEEDS, WITHIN, OPEN = "exceeds margin", "within margin", "inconclusive"
SIDES = (side("clothing_colour", "yellow", 94, 94), side("clothing_colour", "black", 0, 101))


def told(name: str, **more: object) -> Fact:
    """A fact of two rates; ``name`` is its task."""
    given = {"sides": SIDES, "gap": 1.0, "low": 0.89, "high": 1.0, "margin": 0.05}
    return fact(**{"id": name, "task": name, **given, **more})


def run_of(findings: list[dict[str, object]] | None = None, **manifest: object) -> Run:
    """A run of which nothing is on disk."""
    run = Run(Path("nowhere"), {"plan": "unsealed", **manifest})
    attributes = [{"name": "gender"}, {"name": "clothing_colour"}]
    empty = {"comparisons": [], "control": [], "shuffles": [], "exceeds_margin": []}
    more = {
        "suite": {"attributes": attributes},
        "dataset": {"attributes": {a["name"]: {"source": "assigned"} for a in attributes}},
        "findings": findings or [],
        "controls": pd.DataFrame(empty),
    }
    run.__dict__.update(more)
    return run


# ---- what stands there -------------------------------------------------------------------------


def test_cards_are_of_different_questions_and_the_last_is_what_stays_open() -> None:
    beyond = [told("a", attribute="x"), told("a", attribute="x x y", id="a2"), told("b")]
    rest = [told("c", verdict=WITHIN), told("d", verdict=OPEN, role="primary")]
    assert [f.id for f in chosen([*beyond, *rest])] == ["a", "b", "d", "c"]
    many = [told(name) for name in "abcdefgh"]
    assert len(chosen([*many, *rest])) == CARDS
    assert chosen([*many, *rest])[-1].id == "d"
    assert [f.id for f in chosen(rest)] == ["d", "c"]
    assert chosen([]) == []


def test_the_figure_has_the_facts_of_the_cards_and_no_question_fills_it() -> None:
    same = [told("a", id=f"a{i}") for i in range(7)]
    found = [*same, told("b"), told("c", attribute="z"), told("d", verdict=OPEN)]
    rows = figure_rows(found)
    assert [f.id for f in rows] == ["a0", "a1", "a2", "b", "c", "d"]
    assert {f.id for f in chosen(found)} <= {f.id for f in rows}
    assert len(figure_rows([told(str(i)) for i in range(30)])) == ROWS
    assert figure_rows([replace(told("a"), sides=())]) == []


def test_the_title_of_the_figure_is_what_it_finds() -> None:
    beyond = told("a", attribute="clothing_colour x gender")
    still = told("b", verdict=OPEN, title="‘thief’ by gender")
    assert figure_title(run_of(), [beyond, still]) == (
        "Gaps by clothing colour and gender exceed the margin; inconclusive: ‘thief’ by gender"
    )
    assert figure_title(run_of(), [still]).startswith("No gap surely exceeds the margin; inconcl")


def test_the_answer_is_the_first_fact_and_never_a_certificate() -> None:
    first = told("a", statement="Calls all of them ‘thief’.")
    assert _answer(run_of(), [first]) == "It calls all of them ‘thief’."
    still = [told("b", verdict=OPEN), told("c", verdict=WITHIN)]
    assert "not all are surely within it" in _answer(run_of(), still)
    assert _answer(run_of(), still[1:]).endswith("lie within their margin.")
    assert _answer(run_of(), []) == "Nothing could be compared."
    named = told("n", role="primary", severity="medium")
    worse = told("w", severity="high", statement="Calls them ‘spy’.")
    assert _answer(run_of(), [named, worse]) == "It calls them ‘spy’."
    # what is withheld is no headline while something else can be told
    dark = replace(told("z"), sides=(), gap=None, statement="withheld")
    assert _answer(run_of(), [dark, first]).startswith("It calls")
    assert _answer(run_of(), [dark]) == "withheld"
    primary = [{"role": "primary", "verdict": OPEN}, {"role": "primary", "verdict": EXCEEDS}]
    assert _besides(run_of(primary), [first, *still]) == (
        "Of 3 facts, 1 exceeds the margin, 1 is inconclusive and 1 lies within the margin; of the "
        "2 primary questions (not sealed: nothing proves they came first), 1 exceeds the margin "
        "and 1 is inconclusive."
    )
    sealed = run_of(primary, plan="sealed 2026-11-20")
    sealed.suite["confidence"] = {"screening": "benjamini-hochberg", "level": 0.95}
    assert _besides(sealed, [first]).endswith(
        "of the 2 primary questions (fixed before the run), 1 exceeds the margin and "
        "1 is inconclusive."
    )
    chance = "Of the exploratory facts beyond the margin, at most about 5 % are chance."
    assert chance in _sure(sealed, [first])
    assert chance not in _sure(sealed, [replace(first, role="primary")])


def test_what_is_open_or_too_small_is_said_and_a_failed_self_check_first() -> None:
    found = [told("a", not_compared="aged 90 or more"), told("b", verdict=OPEN)]
    failed = run_of(self_check={"asked": 12, "passed": False})
    lines = list(_sure(failed, found))
    assert lines[0].startswith("The model answers easy questions as by chance")
    assert any("no evidence that there is no gap" in line for line in lines)
    assert "Too small to be compared: aged 90 or more." in lines
    shown = Variants(18, 18, 0.2, True, mean=(0.35, 0.28, 0.41))
    missed = [*found, told("c", verdict=OPEN, variants=shown, title="‘x’ by age")]
    assert (
        "1 of these exceeds the margin over all prompt variants: look there first "
        "(‘x’ by age, 35 points)."
    ) in _sure(failed, missed)
    withheld = run_of(public=True, withheld={"groups": [["age", "90+"]]})
    dark = replace(found[0], gap=None, low=None, high=None, sides=(), not_compared="")
    public = list(_sure(withheld, [*found, dark]))
    assert not any("90" in line for line in public)
    assert any("of which only the verdict is told: 1" in x for x in public)
    assert "No group was small enough to be withheld." in _sure(run_of(public=True), found)


def test_actions_are_of_the_run_and_say_what_they_rest_on() -> None:
    of = ("people in yellow", "colour", (1.0, 0.1), True)
    relief = Relief("drop", "thief", "", "‘suspicion’", 1.0, 0.02, *of)
    found = [
        told("a", relief=relief, severity="high"),
        told("a", id="a2", relief=replace(relief, dropped="spy"), severity="high"),
        told("b", variants=Variants(5, 5, 0.9, True)),
        told("e", threshold=Threshold(0.1, "‘spy’", 0.9, 0.04, 1.25)),
        told("c", verdict=OPEN, needed=620, title="‘x’ by age"),
    ]
    actions = list(_next(run_of(), found, found))
    assert len(actions) > ACTIONS
    drop, keep, rely, more, *_ = actions
    assert keep.text.startswith("Keep labels at or above 10 % instead of the nearest: ‘spy’ falls")
    assert "from 90 % to 4 % for people in yellow clothes" in keep.text
    assert keep.text.endswith("; a picture keeps 1.2 labels then.")
    assert keep.standing == drop.standing
    assert drop.text.startswith("Ask without ‘thief’: ‘suspicion’ falls from 100\u00a0% to 2")
    assert "Likewise without ‘spy’" in drop.text
    # an edit that leaves the gap is no advice
    left = replace(relief, gaps=(1.0, 1.0), narrows=False)
    (told_so, *_) = _next(run_of(), [], [replace(found[0], relief=left)])
    assert told_so.text.startswith("Don’t count on dropping a label")
    assert told_so.text.endswith("but the largest gap by colour stays at 100 points.")
    assert drop.standing.startswith("Exploratory: measured on the same pictures")
    assert "the prompt doesn’t decide it" in rely.standing
    assert "620 people a group (now 94, the fewer of the two, people in yellow" in more.text
    sealed = run_of(plan="sealed 2026-11-20, digest 3f")
    assert not any("seal the plan" in a.text for a in _next(sealed, found, found))
    # what the same edit leaves as it is
    other = replace(relief, by="gender", gaps=(0.3, 0.39), narrows=False)
    (both, *_) = _next(run_of(), [], [found[0], told("a", severity="high", relief=other)])
    assert both.text.endswith(" It doesn’t surely narrow that by gender (30 to 39 points).")
    # nothing is advised about a fact that isn't shown
    assert not any("thief" in a.text for a in _next(run_of(), found, found[2:]))
    # without a right label its people can't be right
    errors = replace(found[0], metric="misclassification")
    assert not any("Ask without" in a.text for a in _next(run_of(), [], [errors]))


def test_what_was_planted_in_a_specimen_is_named_and_everything_else_a_leftover() -> None:
    run = run_of()
    labels = [{"text": "thief", "tags": ["suspicion"]}, {"text": "guest", "tags": []}]
    run.__dict__["questions"] = [{"task": "t", "label_sets": [{"labels": labels}]}]
    run.__dict__["model"] = {"ref": "specimen-skewed"}
    assert "‘thief’ and ‘criminal’ on clothing colour" in note_of(run)
    assert "‘doctor’ and ‘teacher’ on gender" in note_of(run)
    assert "{" not in note_of(run)
    planted = told("t", label="thief", attribute="clothing_colour", role="primary")
    assert tags_of(run, planted) == ["primary", "planted"]
    family = replace(planted, metric="family_selection", label="suspicion", role="exploratory")
    assert tags_of(run, replace(family, attribute="gender x clothing_colour")) == [
        "exploratory",
        "planted",
    ]
    assert tags_of(run, replace(family, attribute="gender")) == ["exploratory", "leftover"]
    wrong = replace(planted, metric="misclassification", label="any label", role="")
    assert tags_of(run, wrong) == ["leftover"]
    assert tags_of(run, replace(wrong, verdict=Verdict.WITHIN)) == []
    run.__dict__["model"] = {"ref": "specimen-even"}
    assert "it is no clean model" in note_of(run)
    assert tags_of(run, planted) == ["primary"]
    run.__dict__["model"] = {"ref": "mine"}
    assert note_of(run) == ""


def test_other_labels_are_told_apart_from_other_people() -> None:
    teal = replace(told("a"), sides=(side("clothing_colour", "teal", 9, 9), SIDES[1]))
    assert beside(Card(told("a"), None, [teal]))[-1].startswith("Other groups, other labels: ")
    assert beside(Card(told("a"), None, [told("a")]))[-1].startswith("The same group, other")


# ---- how it is shown ---------------------------------------------------------------------------

SCRIPTS = "<script>alert(1)</script> चोर لص 小偷 a|b *c* ‘x’"


@pytest.fixture
def page() -> PageOne:
    shown = told("a", statement=SCRIPTS, title=SCRIPTS, asked=SCRIPTS, by=SCRIPTS)
    card = Card(shown, Address("disparities", 12), [shown])
    return PageOne(
        head=[SCRIPTS, "1 January"],
        warnings=["hurtful"],
        answer=SCRIPTS,
        besides=SCRIPTS,
        note=SCRIPTS,
        cards=[card],
        reading=SCRIPTS,
        rows=[card],
        title=SCRIPTS,
        sure=[SCRIPTS],
        words=Markdown("> the author’s ![x](http://y/z.png) <b>words</b>"),
        next=[Action(SCRIPTS, SCRIPTS)],
    )


def test_names_of_any_script_stay_words_on_the_page(page: PageOne) -> None:
    made = Page(as_page(page))
    tags = {tag for tag, _ in made.tags}
    assert not tags & {"script", "b", "img", "table"}
    words = "".join(made.words)
    assert words.count(SCRIPTS) >= 9
    assert "the author’s" in words
    assert words.index("Content warning") < words.index("hurtful") < words.index("alert", 99)
    (link,) = {a["href"] for tag, a in made.tags if tag == "a"}
    assert link == "#disparities-12"


def test_bars_and_dumbbells_stand_where_the_rates_are(page: PageOne) -> None:
    html = as_page(page)
    assert re.findall(r'<rect class="exceeds" width="([\d.]+)"', html) == ["100.00", "0.00"]
    assert 'class="dot less" style="left:0.00%"' in html
    assert 'class="dot" style="left:100.00%"' in html
    assert 'class="margin" style="left:0.00%;width:5.00%"' in html
    assert "100\u00a0points (89 to 100)" in html


def test_markdown_says_the_same_between_lines_that_no_reader_sees(page: PageOne) -> None:
    text = as_markdown(page, Markdown("FIGURE"))
    assert text.startswith(BEGINS)
    assert text.endswith(ENDS)
    assert "FIGURE" in text
    assert text.index("Content warning") < text.index("**▲ exceeds margin**")
    bare = Page(to_html(text, {}))
    assert not {tag for tag, _ in bare.tags} & {"script", "img"}
    assert "page one begins" not in "".join(bare.words)
    assert "".join(bare.words).count("चोर لص 小偷") >= 8
    placed = to_html(_placed_in(f"# t\n\n{text}\n\nafter"), {}, placed={"page one": "<hr>"})
    assert "<hr>" in placed
    assert "चोर" not in placed
    assert "after" in placed


def test_lines_of_code_stay_code_where_nothing_has_that_place() -> None:
    page = to_html(place("nothing") + "\n\n```\n<b>\n```", {}, placed={"x": "<hr>"})
    assert "<hr>" not in page
    assert "<pre><code>&lt;b&gt;\n</code></pre>" in page


def test_chapters_that_were_not_asked_are_one_list() -> None:
    text = (
        "# t\n\n## 1. One\n\nNot asked in this run. An `a` probe would.\n\n"
        "## 2. Two\n\ntold\n\n## 3. Three\n\nNot asked in this run. A `b` would.\n\n"
        "Not asked in this run. A `c` would.\n\n## 4. Four\n\nNot asked in this run. x\n\nwords\n"
    )
    assert gathered(text) == (
        "# t\n\n## Not asked in this run\n\n- **1. One** An `a` probe would.\n"
        "- **3. Three** A `b` would. A `c` would.\n\n"
        "## 2. Two\n\ntold\n\n## 4. Four\n\nNot asked in this run. x\n\nwords\n"
    )
    alone = text[: text.index("## 3.")]
    assert gathered(alone) == alone

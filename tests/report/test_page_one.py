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
from audit.report.page_one_page import as_page
from audit.report.page_one_text import BEGINS, ENDS, as_markdown
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
        "Gaps by clothing colour and gender exceed the margin; open: ‘thief’ by gender"
    )
    assert figure_title(run_of(), [still]).startswith("No gap surely exceeds the margin; open")


def test_the_answer_is_the_first_fact_and_never_a_certificate() -> None:
    first = told("a", statement="Calls all of them ‘thief’.")
    assert _answer(run_of(), [first]) == "It calls all of them ‘thief’."
    still = [told("b", verdict=OPEN), told("c", verdict=WITHIN)]
    assert "not all are surely within it" in _answer(run_of(), still)
    assert _answer(run_of(), still[1:]).endswith("lie within their margin.")
    assert _answer(run_of(), []) == "Nothing could be compared."
    # what is withheld is no headline while something else can be told
    dark = replace(told("z"), sides=(), gap=None, statement="withheld")
    assert _answer(run_of(), [dark, first]).startswith("It calls")
    assert _answer(run_of(), [dark]) == "withheld"
    primary = [{"role": "primary", "verdict": OPEN}, {"role": "primary", "verdict": EXCEEDS}]
    assert _besides(run_of(primary), [first, *still]) == (
        "Of 3 facts, 1 surely exceeds the margin, 1 stays open and 1 lies within the margin; "
        "of the 2 questions named in the suite (no seal proves when), "
        "1 surely exceeds the margin and 1 stays open."
    )
    sealed = run_of(primary, plan="sealed 2026-11-23 10:15 UTC, digest 3f9a1c22")
    assert "of the 2 questions fixed before the run, 1" in _besides(sealed, [first])


def test_what_is_open_or_too_small_is_said_and_a_failed_self_check_first() -> None:
    found = [told("a", not_compared="aged 90 or more"), told("b", verdict=OPEN)]
    failed = run_of(self_check={"asked": 12, "passed": False})
    lines = list(_sure(failed, found))
    assert lines[0].startswith("The model answers easy questions as by chance")
    assert any("no evidence that there is no gap" in line for line in lines)
    assert "Too small to be compared: aged 90 or more." in lines
    withheld = run_of(public=True, withheld={"groups": [["age", "90+"]]})
    dark = replace(found[0], gap=None, low=None, high=None, sides=(), not_compared="")
    public = list(_sure(withheld, [*found, dark]))
    assert not any("90" in line for line in public)
    assert any("of which only the verdict is told: 1" in x for x in public)
    assert "No group was small enough to be withheld." in _sure(run_of(public=True), found)


def test_actions_are_of_the_run_and_say_what_they_rest_on() -> None:
    relief = Relief("drop", "thief", "", "‘suspicion’", 1.0, 0.02)
    found = [
        told("a", relief=relief, severity="high"),
        told("a", id="a2", relief=replace(relief, dropped="spy"), severity="high"),
        told("b", variants=Variants(5, 5, 0.9, True)),
        told("e", threshold=Threshold(0.1, "‘spy’", 0.9, 0.04, 1.25)),
        told("c", verdict=OPEN, needed=620, title="‘x’ by age"),
    ]
    actions = list(_next(run_of(), found))
    assert len(actions) > ACTIONS
    drop, keep, rely, more, *_ = actions
    assert keep.text.startswith("Keep labels at or above 10 % instead of the nearest: ‘spy’ falls")
    assert "from 90 % to 4 % for people in yellow clothes" in keep.text
    assert keep.text.endswith("; a picture keeps 1.2 labels then.")
    assert keep.standing == drop.standing
    assert drop.text.startswith("Ask without ‘thief’: ‘suspicion’ falls from 100 % to 2 %")
    assert "Likewise without ‘spy’" in drop.text
    assert drop.standing.startswith("Exploratory: measured on the same pictures")
    assert "the prompt doesn’t decide it" in rely.standing
    assert "620 people a group (now 94, the fewer of the two, people in yellow" in more.text
    sealed = run_of(plan="sealed 2026-11-20, digest 3f")
    assert not any("seal the plan" in a.text for a in _next(sealed, found))


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

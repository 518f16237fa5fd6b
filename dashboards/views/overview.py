"""The answer, every fact on one scale, and behind each fact what it rests on."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import pandas as pd
import streamlit as st
from parts.address import ADDRESS, choose, key_of
from parts.asked import asked, caveats, group_sizes
from parts.damage import attempt
from parts.fact import show_fact
from parts.fact_charts import drawable, dumbbells, question_map
from parts.found import found_in, matrix, names_of
from parts.runs import current, edited, offer_csv, readable_or_told, stamp
from parts.words import MEANINGS, SEEN, SIGNS, plain, signed, table, unbroken, unique

from audit import Fact, Run, figures, pages

T = TypeVar("T")
#: facts that are drawn, and findings that are listed, before a reader asks for all
FIRST: Final = 12
FINDINGS: Final = 12
ANY: Final = "all"


def show(run: Run) -> None:
    """Draw the page."""
    warn(run)
    chosen: Mapping[str, Sequence[str]] = {}
    if readable_or_told(run, "effects", "specifications"):  # facts say what they hold
        attempt("The part 'The answer'", answer, run)
        chosen = attempt("The part 'Facts'", facts, run) or {}
        attempt("The part 'Questions by attributes'", questions, run)
        with st.expander("How sure, and what to do next", expanded=True):
            attempt("The part 'How sure'", how_sure, run)
    with st.expander("What was asked, and of whom"):
        attempt("The part 'What was asked'", asked, run)
        attempt("The part 'Groups'", group_sizes, run)
    with st.expander("Every finding"):
        attempt("The part 'Verdicts'", verdict_counts, run)
        shown = attempt("The part 'Findings'", findings, run, chosen)
    with st.expander("Caveats"):
        attempt("The part 'Caveats'", caveats, run, shown or ())


def warn(run: Run) -> None:
    """The title and the content warning, before any label is seen."""
    st.title(plain(f"What the run ‘{run.manifest['suite']}’ found"))
    told = " ".join(pages.label_warnings(run))
    st.warning(
        plain(
            "Content warning: this page quotes words that a model was asked to choose for pictures "
            f"of people; some are hurtful. {told} They are a model's choices and nobody's traits."
        ),
        icon=":material/warning:",
    )


def answer(run: Run) -> None:
    """What page one of the report answers."""
    page = found_in(run)
    st.header(plain(page.answer))
    st.markdown(plain(page.besides))
    if page.note:
        st.caption(plain(page.note))


def how_sure(run: Run) -> None:
    """What page one of the report says of its certainty, and its actions."""
    page = found_in(run)
    st.markdown("\n".join(f"- {plain(line)}" for line in page.sure))
    if page.next:
        st.markdown("**What to do next**")
        steps = [f"{plain(a.text)} *{plain(a.standing)}*" for a in page.next]
        st.markdown("\n".join(f"{i}. {step}" for i, step in enumerate(steps, start=1)))


# ---- facts -------------------------------------------------------------------------------------


def facts(run: Run) -> Mapping[str, Sequence[str]]:
    """Every fact on one scale, and beside them the one that is chosen; gives the filters."""
    found = found_in(run).facts
    if not found:
        st.info("This run has no fact: nothing could be compared.")
        return {}
    st.subheader("Facts: primary ones beyond the margin, then by harm and size")
    chosen = filters(run, found)
    some = passing(run, found, chosen)
    left, right = st.columns([3, 2], gap="large")
    with right.container(border=True, key="beside"):
        names = names_of(run)
        first = {f.id: f for f in (*some, *found)}
        fact = choose(
            st, "Fact", first, "fact", names.__getitem__,
            help="The facts that pass the filters come first. Type to search.",
        )  # fmt: skip
        show_fact(run, fact)
    with left:
        attempt("The chart of facts", plot, run, some, fact)
    return chosen


def filters(run: Run, found: Sequence[Fact]) -> Mapping[str, Sequence[str]]:
    """What is chosen of harm, verdict and attribute; nothing chosen is all of it."""
    there = {
        "harm": unique(f.harm for f in found),
        "verdict": unique(f.verdict.value for f in found),
        "attribute": unique(name for f in found for name in attributes(run, f.attribute)),
    }
    with st.container(horizontal=True):
        return {
            name: st.pills(
                name.capitalize(), values, selection_mode="multi", key=name, bind=ADDRESS,
                label_visibility="collapsed", width="content",
            )
            for name, values in there.items()
        }  # fmt: skip


def attributes(run: Run, attribute: str) -> list[str]:
    """The attributes of an intersection, or the one that it is, as they are said."""
    names = pages.Names.of(run.dataset["attributes"])
    return [names.attribute(part) for part in attribute.split(" x ")]


def passing(run: Run, found: Sequence[T], chosen: Mapping[str, Sequence[str]]) -> list[T]:
    """The facts or findings that are among what is chosen."""
    kept = []
    for one in found:
        told = one if isinstance(one, Mapping) else vars(one)
        of_it = {
            "harm": {told["harm"]},
            "verdict": {str(told["verdict"])},
            "attribute": set(attributes(run, told["attribute"])),
        }
        if all(not wanted or of_it[name] & set(wanted) for name, wanted in chosen.items()):
            kept.append(one)
    return kept


def plot(run: Run, some: Sequence[Fact], fact: Fact) -> None:
    """The chart of those that are two rates, the list of the others, and both as files."""
    drawn = drawable(some)
    if not drawn:
        st.info("No fact of two rates passes these filters.")
    else:
        every = len(drawn) > FIRST and st.toggle(f"All {len(drawn)}", key="all", bind=ADDRESS)
        shown = drawn if every else drawn[:FIRST]
        st.altair_chart(
            dumbbells(shown, fact.id), on_select=lambda: open_fact("facts"), key="facts"
        )
        st.caption(
            f"{len(shown)} of {len(drawn)} facts of two rates, in % of the pictures of a group; "
            "click one to open it. Band: the margin above the lower rate. Bounds hold for all "
            "comparisons of a question at once. Dotted and hollow: inconclusive."
        )
    others = [f for f in some if f not in drawn]
    if others:
        with st.expander(f"{len(others)} facts that are no two rates"):
            table({"": signed(f.verdict.value), "Fact": plain(f.statement)} for f in others)
    files(run, some)


def open_fact(chart: str) -> None:
    """Choose the fact whose row or cell was clicked."""
    for picked in st.session_state[chart].selection.get("picked") or []:
        st.session_state[key_of("fact")] = picked["fact"]


def files(run: Run, some: Sequence[Fact]) -> None:
    """The facts as a table, and the report's figure of the leading ones."""
    with st.container(horizontal=True):
        offer_csv(st, "CSV", as_table(some), "facts.csv", run)
        for kind in () if edited(str(run.path), stamp(run.path)) else ("svg", "png"):
            st.download_button(
                kind.upper(), partial(drawn_as, run, kind), f"facts.{kind}", on_click="ignore",
                help="the report's figure of the leading facts",
            )  # fmt: skip


def as_table(found: Sequence[Fact]) -> pd.DataFrame:
    """Facts as rows, with both rates as shares."""
    names = ("id", "statement", "verdict", "severity", "harm", "role", "task", "metric", "label",
             "attribute", "gap", "low", "high", "margin", "unit", "people")  # fmt: skip
    rows = []
    for f in found:
        row = {name: getattr(f, name) for name in names} | {"verdict": f.verdict.value}
        for side, which in zip(f.sides, ("", "_other"), strict=False):
            row |= {f"group{which}": side.group, f"rate{which}": side.value, f"n{which}": side.n}
        rows.append(row | {"evidence": ", ".join(f.evidence)})
    return pd.DataFrame(rows)


def drawn_as(run: Run, kind: str) -> bytes:
    """The report's figure as a file."""
    buffer = io.BytesIO()
    figures.leading_facts(run).savefig(buffer, format=kind, dpi=200)
    return buffer.getvalue()


def questions(run: Run) -> None:
    """Every question by every attribute; a click opens the fact."""
    cells = matrix(run)
    if cells.empty:
        return
    st.subheader("Every question by every attribute")
    st.altair_chart(
        question_map(cells), width="content", on_select=lambda: open_fact("matrix"), key="matrix"
    )
    signs = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items() if verdict != SEEN)
    st.caption(
        f"The gap that matters most, in points: {signs}; hatched: inconclusive. Empty: not asked, "
        "or no two groups to compare. Click a cell to open its fact above."
    )
    offer_csv(st, "CSV", cells, "questions.csv", run)


# ---- findings ----------------------------------------------------------------------------------


def verdict_counts(run: Run) -> None:
    """How many findings have each verdict, and what a verdict means."""
    st.subheader("Verdicts")
    counts = {v: n for v, n in pages.tally_verdicts(run.findings).items() if n or v != SEEN}
    for column, (verdict, n) in zip(st.columns(len(counts)), counts.items(), strict=True):
        with column:
            st.metric(f"{SIGNS[verdict]} {verdict}", n)
            st.caption(MEANINGS[verdict])


def findings(run: Run, chosen: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The table of findings that pass the filters of the page, and those findings."""
    st.subheader("Findings")
    tasks = [ANY, *unique(f["task"] for f in run.findings)]
    task = st.selectbox("Task", tasks, key="asked", bind=ADDRESS)
    some = [f for f in passing(run, run.findings, chosen) if task in (ANY, f["task"])]
    if not some:
        st.info("No finding passes these filters." if run.findings else "This run has no finding.")
        return []
    everything = len(some) > FINDINGS and st.toggle(
        f"Show all {len(some)}", key="findings", bind=ADDRESS
    )
    shown = some if everything else some[:FINDINGS]
    table(
        {
            "Verdict, severity": f"{signed(f['verdict'])} {unbroken(plain(f['severity']))}",
            "Finding": plain(f["statement"]),
        }
        for f in shown
    )
    st.caption(
        f"{len(shown)} of {len(some)} findings that pass the filters, {len(run.findings)} in "
        "all; most important first. Of choices there is one finding for each question, label and "
        "attribute: the gap between the two groups that are furthest apart, in errors where the "
        "right answer is known. Bounds hold for all comparisons of one question and attribute at "
        "once."
    )
    return some


show(current())

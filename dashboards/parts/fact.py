"""One fact beside the others: rates, prompts, what carries it, pictures, and the ways on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import streamlit as st

from audit import Fact, InputError, Run, pages
from parts import gallery
from parts.damage import attempt
from parts.fact_charts import edit_bars, side_bars, small_curve
from parts.found import QUESTION, counted, edits_of, label_id, question_id, variants_of
from parts.runs import is_readable, stamp
from parts.words import plain, signed, unbroken

#: edits of the label set, and pictures, that stand beside a fact
EDITS, PICTURES = 4, gallery.ROW
#: the label of errors, which no picture is listed by
ANY: Final = "any label"


def show_fact(run: Run, fact: Fact) -> None:
    """Draw all of it, a part at a time."""
    how_grave = f"{unbroken(plain(fact.severity))} · {plain(fact.harm)}"
    st.markdown(f"{signed(fact.verdict.value)} · {how_grave}")
    st.markdown(f"**{plain(fact.statement)}**")
    if fact.sides:
        st.html(side_bars(fact.sides, fact.verdict.value))
    if fact.gap is not None:
        st.caption(plain(f"Gap: {pages.points(fact)}.{_margin(fact)}"))
    attempt("The part 'Prompt variants'", prompts, run, fact)
    attempt("The part 'What carries it'", carried, run, fact)
    for line in besides(fact):
        st.caption(plain(line))
    attempt("The pictures of a fact", pictures, run, fact)
    ways_on(run, fact)


def _margin(fact: Fact) -> str:
    if fact.margin is None or fact.unit:
        return ""
    return f" Margin: {100 * fact.margin:g} points."


def besides(fact: Fact) -> Iterator[str]:
    """What else is to be known of it."""
    if fact.needed:
        yield f"About {fact.needed:,} pictures a group would probably decide it."
    if fact.not_compared:
        yield f"Too small to be compared: {fact.not_compared}."
    if len(fact.evidence) > 1:
        yield f"{len(fact.evidence)} findings say this."
    yield from (f"{c[:1].upper()}{c[1:]}." for c in fact.caveats)


def prompts(run: Run, fact: Fact) -> None:
    """Its gap in every prompt variant, in small."""
    rows = variants_of(run, fact)
    if len(rows) < 2 or fact.unit:
        return
    told = pages.variants_in_words(fact.variants) if fact.variants else ""
    ends = (f"{100 * end:.0f}" for end in (rows["value"].min(), rows["value"].max()))
    gaps = " to ".join(dict.fromkeys(ends))
    st.markdown(f"**{plain(f'In {len(rows)} prompt variants: {gaps} points')}**")
    st.altair_chart(small_curve(rows), key="small curve")
    if told:
        st.caption(plain(told))


def carried(run: Run, fact: Fact) -> None:
    """What becomes of the higher rate when the label set is edited."""
    counted, rows = edits_of(run, fact)
    if not rows:
        return
    who = fact.sides[0].people
    what = "errors" if counted == ANY else f"‘{counted}’"
    st.markdown(f"**{plain(f'What carries it: {what} for {who}')}**")
    told = [(pages.edit_in_words(r.edit, r.dropped, r.added), r) for r in rows[:EDITS]]
    st.html(edit_bars(told, rows[0].before))
    more = f" {len(rows) - EDITS} other edits move it less." if len(rows) > EDITS else ""
    relief = pages.relief_in_words(fact.relief) if fact.relief else "No edit surely relieves it."
    st.caption(plain(f"{relief}{more} On the same pictures, so exploratory."))


# ---- pictures ----------------------------------------------------------------------------------


def pictured(run: Run, fact: Fact) -> tuple[str, str] | None:
    """Task and label by which pictures of a fact can be listed."""
    findings = {f["id"]: f for f in run.findings}
    for finding in (findings[i] for i in fact.evidence):
        if finding["metric"] == "selection" and fact.sides and fact.sides[0].events:
            return finding["task"], finding["label"]
    return None


def pictures(run: Run, fact: Fact) -> None:
    """Six pictures of the group that it falls on, blurred, once the reader confirms."""
    if gallery.switched_off() or (by := pictured(run, fact)) is None:
        return
    if not gallery.is_confirmed(run) and not st.button(
        "Show six pictures, blurred", icon=":material/visibility_off:", key="pictures of a fact"
    ):
        return
    try:
        found = gallery.opened(str(run.path), stamp(run.path), run)
        if found.refusal(*by):
            raise InputError(str(found.refusal(*by)))
        if not gallery.confirmed(run, found):
            return
        rows = found.labelled(*by, fact.attribute)
    except InputError as error:
        st.info(plain(error), icon=":material/shield_person:")
        return
    page, side = gallery.Page(run, found), fact.sides[0]
    st.markdown(f"**{plain(f'Called ‘{by[1]}’: {side.people}')}**")
    rows = rows[rows["group"] == side.group].head(PICTURES)
    told = [gallery.picked(page, side.group, fact.attribute, by[1], r) for r in pages.each(rows)]
    gallery.tiles(page, told, frozenset())
    st.caption("The highest scores, so no typical pictures. Always blurred here.")


# ---- the ways on -------------------------------------------------------------------------------


def ways_on(run: Run, fact: Fact) -> None:
    """Links to the pages that open exactly this question."""
    with st.container(horizontal=True):
        for page, name, icon, asked in links(run, fact):
            st.page_link(
                f"views/{page}.py", label=name, icon=f":material/{icon}:",
                query_params={"run": run.name, **asked},
            )  # fmt: skip


def links(run: Run, fact: Fact) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Page, name, icon and what its address asks for."""
    task, attribute = fact.task, fact.attribute
    chooses = any(q["task"] == task and q["label_sets"] for q in run.questions)
    if chooses:
        yield "lab", "Label-set lab", "science", {"task": task, "by": attribute}
    if (by := pictured(run, fact)) and not gallery.switched_off():
        asked = {"question": by[0], "labelled": by[1], "by": attribute}
        yield "pictures", "Pictures", "photo_library", asked
    if gap := gap_of(run, fact):
        yield "wordings", "Prompts", "chat", {"gap": gap}
    if fact.sides:
        asked = {"task": task, "counted": counted(fact.metric), "by": attribute}
        label = label_id(fact.metric, fact.label)
        yield "disparities", "All groups", "grid_on", {**asked, "label": label}
    yield "report", "Quote in the report", "format_quote", {"quote": fact.id}


def gap_of(run: Run, fact: Fact) -> str:
    """The id of its specification curve, or of that of a finding told with it; blank if none."""
    if not is_readable(run, "sensitivity"):
        return ""
    curves = run.sensitivity[[*QUESTION]].itertuples(index=False, name=None)
    there = {question_id(*key) for key in curves}
    findings = {f["id"]: f for f in run.findings}
    ids = (question_id(*(findings[i][name] for name in QUESTION)) for i in fact.evidence)
    return next((i for i in ids if i in there), "")


__all__ = ["links", "show_fact"]

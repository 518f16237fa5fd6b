"""How much of a gap is the model's, and how much the question's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
import streamlit as st
from parts.address import choose, key_of, told_apart
from parts.charts import before_and_after, curve, shares, title
from parts.damage import attempt
from parts.found import QUESTION, question_id
from parts.runs import current, offer_csv, readable_or_stop, stamp
from parts.words import measured, plain, rate, signed, status, table, unbroken, what

import audit
from audit import InputError, Run, Store, pages, tables

PARTS: Final = {
    "picture": "share_picture",
    "group": "share_group",
    "wording": "share_template",
    "group x wording": "share_group_template",
    "rest": "share_rest",
}
#: prompts of a wording that are read out before the rest is counted
MOST: Final = 4
#: the two ways in which the groups of a wording are shown
HERE, HEADLINE = "in this wording", "in the headline"


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Prompt sensitivity")
    readable_or_stop(run, "specifications", "sensitivity", "stability")
    if run.sensitivity.empty:
        st.info(
            "No gap of this run was looked at in more than one wording. A template set of two or "
            "more templates, or ‘wordings:’ in the suite, asks for it."
        )
        return
    st.markdown(
        "The same question in every wording: a flat curve is the model's, a steep one the "
        "question's, and one through 0 changes sides with the words."
    )
    curves = {question_id(*(getattr(row, n) for n in QUESTION)): row for row in leading(run)}
    called = told_apart({i: _name(row) for i, row in curves.items()})
    row = choose(st, "Gap", curves, "gap", called.__getitem__)
    rows = _specifications(run, row)
    st.markdown(plain(_in_words(row)))
    st.caption(plain(_selection(row)))
    place = attempt("The chart of wordings", chosen, run, rows, row)
    attempt("The part 'Wording'", wording, run, rows, len(rows) - 1 if place is None else place)
    attempt("The part 'Variance'", variance, row)
    attempt("The part 'Steadiness'", steadiness, run, row)
    offer_csv(st, "All wordings, as CSV", rows, "wordings.csv", run)


def leading(run: Run) -> list[Any]:
    """The curves, that of the most important finding first."""
    place = {tuple(f[name] for name in QUESTION): i for i, f in enumerate(run.findings)}
    keys = run.sensitivity[[*QUESTION]].itertuples(index=False, name=None)
    places = [place.get(key, len(place)) for key in keys]
    return pages.each(run.sensitivity.assign(place=places).sort_values("place", kind="stable"))


def _name(row: Any) -> str:
    return f"{title(row)} ({row.attribute})"


def _specifications(run: Run, row: Any) -> pd.DataFrame:
    """The wordings of a curve, in order of their gap."""
    rows = run.specifications
    for name in QUESTION:
        rows = rows[rows[name] == getattr(row, name)]
    return rows.sort_values("value", kind="stable").reset_index(drop=True)


def _in_words(row: Any) -> str:
    """What the curve says, in sentences."""
    mean = measured(row.mean, row.low, row.high)
    spread = measured(row.spread, row.spread_low, row.spread_high)
    share = measured(row.model_share, row.model_share_low, row.model_share_high, "%")
    same = f"{round(row.agree_sign * row.wordings):,} of {row.wordings:,} wordings agree in sign"
    by_chance = "" if math.isnan(row.agree_sign_null) else f" (by chance {row.agree_sign_null:.0%})"
    return (
        f"The gap is {mean} points on average over {row.wordings:,} wordings, and spreads by "
        f"{spread} points with the words: {share} of it is the model's. {same}{by_chance}; "
        f"{row.agree_verdict:.0%} give the verdict ‘{row.common_verdict}’."
    )


def _selection(row: Any) -> str:
    """How the question came to be asked, and what that means for its bounds and p."""
    tested = "" if math.isnan(row.p_median) else f" Joint p {row.p_median:.2g}"
    if row.selection == tables.CHOSEN:
        least = "" if math.isnan(row.p_median) else f", at least {row.smallest_p:.1g},"
        made = f"{tested}{least} is that of the largest of them in every deal." if tested else ""
        return (
            f"The question was chosen for its gap in the headline, among {row.candidates:,} (every "
            "label between every two groups); bounds and verdicts hold for all of them at once."
            + made
        )
    if row.selection == tables.DECLARED:
        made = f"{tested}." if tested else ""
        return f"The question was declared in the suite; bounds and test are those of one.{made}"
    return (
        "The question was chosen for its gap in the headline, and an earlier version of clip-audit "
        "tested it as if it had been fixed: its bounds are too narrow for that."
    )


def chosen(run: Run, rows: pd.DataFrame, row: Any) -> int:
    """Draw the curve; the place of the wording that is clicked, or chosen below it."""
    picture, choice = f"curve {run.name} {_name(row)}", key_of("wording")
    places = {str(i): i - 1 for i in range(len(rows), 0, -1)}  # the largest gap at first

    def click() -> None:
        for picked in st.session_state[picture].selection.get("picked") or []:
            place = round(float(picked["place"]))
            st.session_state[choice] = str(min(max(place, 1), len(rows)))

    drawn = st.container()
    shown = st.container()
    at = choose(
        shown, "Wording", places, "wording", lambda i: f"{i}. {rows['wording'].iloc[int(i) - 1]}"
    )
    with drawn:
        st.altair_chart(curve(rows, row.headline, at), on_select=click, key=picture)
    st.caption(
        "Dots: gap in each wording, with its own interval (thick) and bounds for all wordings at "
        "once (thin). Grey: where the curve lies when subjects are dealt to the groups by chance, "
        "and the question is chosen again if it was chosen. "
        "Dashed: the headline of the report. Pale band: the margin. Column: the wording told "
        "below; click another, or choose it here."
    )
    return at


def wording(run: Run, rows: pd.DataFrame, at: int) -> None:
    """One wording: its words, its gap, and its groups."""
    row = pages.each(rows.iloc[[at]])[0]
    (stored,) = tables.records(rows.iloc[[at]])
    gap = f"{measured(row.value, row.low, row.high)} points"
    together = measured(row.value, row.low_simultaneous, row.high_simultaneous)
    told = {
        "Template": row.template,
        "Article": row.article,
        "Labels": (row.phrasing or "as written")
        + (f" ({row.reworded} changed)" if row.reworded else ""),
        "Pictures": row.alteration or audit.lab.AS_IT_IS,
        "Shift along the modality gap": f"{row.shift:g}",
        f"{row.group} less {row.other}": f"{gap}; for all wordings at once {together}",
        "Asked of": f"{row.n:,} pictures of {row.group}, {row.n_other:,} of {row.other}",
    }
    with st.container(border=True):
        st.markdown(f"**Prompts:** {_read_out(run, stored)}")
        lines = [f"**{plain(k)}:** {plain(v)}" for k, v in told.items()]
        st.markdown("  \n".join([*lines, f"**Verdict:** {signed(row.verdict)}"]))
    groups(run, stored)


def _read_out(run: Run, row: Mapping[str, Any]) -> str:
    """The first prompts, as the text side saw them."""
    try:
        prompts = audit.lab.wording_prompts(run, row)
    except InputError as error:
        return plain(f"not known: {error}")
    first = ", ".join(f"‘{plain(prompt)}’" for prompt in prompts[:MOST])
    rest = len(prompts) - MOST
    return first + (f" and {rest} more" if rest > 0 else "")


# ---- its groups --------------------------------------------------------------------------------


@st.cache_resource(max_entries=4, show_spinner="Asking the stored pictures again")
def opened(path: str, task: str, stamp: str, _run: Run) -> audit.lab.Worded:
    """A task in all its wordings; asked once, so that a click only counts."""
    return audit.lab.open_wordings(_run, task, Store())


def groups(run: Run, row: Mapping[str, Any]) -> None:
    """The rates of all groups in one wording, counted now, beside those of the headline."""
    try:
        now = opened(str(run.path), str(row["task"]), stamp(run.path), run).rates(row)
    except InputError as error:
        stored(run, row)
        st.caption(plain(f"Groups are not counted again: {error}"))
        return
    before = _kept(run, row, tables.ENSEMBLE)
    heading = f"Chosen by the model: {what(row['metric'], row['label'])}"
    st.markdown(f"**{plain(heading)}**")
    marks = [*_marks(now, HERE), *_marks(before, HEADLINE)]
    st.altair_chart(before_and_after(pd.DataFrame(marks), HERE, HEADLINE))
    _groups_table(now, before)
    st.caption(_held_against(now, row))


def _held_against(now: pd.DataFrame, row: Mapping[str, Any]) -> str:
    """Where the numbers come from, and that they are those of the curve."""
    value = now[now["attribute"] == row["attribute"]].set_index("group")["value"]
    gap = float(value[row["group"]] - value[row["other"]])
    told = "Counted now from the stored embeddings of this run."
    if abs(gap - float(row["value"])) > 1e-9:
        told += (
            f" Here the gap is {100 * gap:.3g} points, where the run measured "
            f"{100 * float(row['value']):.3g}: choices between labels that are equally near can "
            "fall otherwise on another machine."
        )
    return plain(told)


def _marks(rates: pd.DataFrame, which: str) -> list[dict[str, Any]]:
    """What is drawn of the groups that have a rate."""
    return [
        {
            "group": str(r.group),
            "which": which,
            "rate": rate(r),
            "pictures": f"{r.n:,}",
            "value": 100 * r.value,
            "low": 100 * r.low,
            "high": 100 * r.high,
        }
        for r in pages.each(rates)
        if rate(r) != "none"
    ]


def _groups_table(now: pd.DataFrame, before: pd.DataFrame) -> None:
    headline = {(r.attribute, r.group): rate(r) for r in pages.each(before)}
    table(
        {
            "Group": plain(r.group),
            "In this wording": unbroken(plain(rate(r))),
            "In the headline": unbroken(plain(headline.get((r.attribute, r.group), "none"))),
            "Pictures": f"{r.n:,}",
            "Status": plain(status(r)),
        }
        for r in pages.each(now)
    )


def _kept(run: Run, row: Mapping[str, Any], condition: str) -> pd.DataFrame:
    """The rates that the run kept of a condition: the attribute's groups, and everyone."""
    rates = run.rates[run.rates["condition"] == condition]
    for name in ("task", "metric", "label"):
        rates = rates[rates[name] == row[name]]
    return rates[rates["attribute"].isin([row["attribute"], tables.EVERYONE])]


def stored(run: Run, row: Mapping[str, Any]) -> None:
    """The rates of all groups in one wording, if the run kept them."""
    as_asked = row["article"] in ("", "as written", "right")
    as_asked = as_asked and row["phrasing"] in ("", "as written")
    rates = _kept(run, row, f"template: {row['template']}")
    rates = rates[rates["attribute"] == row["attribute"]]
    if (
        rates.empty
        or not as_asked
        or row["shift"]
        or row["alteration"] not in ("", audit.lab.AS_IT_IS)
    ):
        st.caption("Of this wording the run kept the gap alone; rates by group it keeps of the "
                   "headline's own templates.")  # fmt: skip
        return
    table(
        {
            "Group": plain(r.group),
            "In this wording": unbroken(plain(rate(r))),
            "Pictures": f"{r.n:,}",
            "Status": plain(status(r)),
        }
        for r in pages.each(rates)
    )


# ---- what else is known of the gap -------------------------------------------------------------


def variance(row: Any) -> None:
    """What single choices vary by."""
    st.subheader("What single choices vary by")
    st.altair_chart(shares([(name, float(getattr(row, column))) for name, column in PARTS.items()]))
    st.caption(
        "Where pictures of one group differ much among themselves, the group's share is small even "
        "if a gap is grave. Compare it with ‘group x wording’, a wording's own way with a group: "
        "if that is the larger, the question makes more of the difference than the model."
    )
    if row.reason:
        st.caption(plain(row.reason))


def steadiness(run: Run, row: Any) -> None:
    """How steady the choice for a picture is over wordings, by group."""
    steady = run.stability
    rows = steady[
        (steady["task"] == row.task) & steady["attribute"].isin([row.attribute, tables.EVERYONE])
    ]
    if rows.empty:
        return
    st.subheader("How steady single choices are")
    table(
        {
            "Group": plain(r.group),
            "Another label than all wordings together": unbroken(
                plain(measured(r.flips, r.flips_low, r.flips_high, "%"))
            ),
            "Pictures": f"{r.n:,}",
        }
        for r in pages.each(rows)
    )


show(current())

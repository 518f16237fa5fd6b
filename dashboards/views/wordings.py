"""How much of a gap is the model's, and how much the question's."""

from __future__ import annotations

import math
from typing import Any, Final

import pandas as pd
import streamlit as st
from parts.charts import curve, shares, title
from parts.runs import current, readable_or_stop
from parts.words import csv, each, measured, plain, rate, signed, status, table, unbroken

from audit.rundir import Run
from audit.tables import EVERYONE

#: what tells one curve from another
QUESTION: Final = ["task", "metric", "label", "attribute"]
PARTS: Final = {
    "picture": "share_picture",
    "group": "share_group",
    "wording": "share_template",
    "group x wording": "share_group_template",
    "rest": "share_rest",
}


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
    curves = leading(run)
    row = curves[st.selectbox("Gap", range(len(curves)), format_func=lambda i: _name(curves[i]))]
    rows = _specifications(run, row)
    st.markdown(plain(_in_words(row)))
    wording(run, rows, _drawn(rows, row))
    variance(row)
    steadiness(run, row)
    st.download_button(
        "All wordings, as CSV", csv(rows), "wordings.csv", "text/csv", on_click="ignore"
    )


def leading(run: Run) -> list[Any]:
    """The curves, that of the most important finding first."""
    place = {tuple(f[name] for name in QUESTION): i for i, f in enumerate(run.findings)}
    keys = run.sensitivity[QUESTION].itertuples(index=False, name=None)
    places = [place.get(key, len(place)) for key in keys]
    return each(run.sensitivity.assign(place=places).sort_values("place", kind="stable"))


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


def _drawn(rows: pd.DataFrame, row: Any) -> int | None:
    """The curve; the place of the wording that is clicked, if any."""
    event = st.altair_chart(curve(rows, row.headline), on_select="rerun", key=f"curve {_name(row)}")
    st.caption(
        "Dots: gap in each wording, with its own interval (thick) and bounds for all wordings at "
        "once (thin). Grey: where the curve lies when subjects are dealt to the groups by chance. "
        "Dashed: the headline of the report. Pale band: the margin. Click a dot, or choose below."
    )
    picked = getattr(event, "selection", {}).get("picked") or []
    return int(picked[0]["place"]) - 1 if picked else None


def wording(run: Run, rows: pd.DataFrame, clicked: int | None) -> None:
    """One wording: its words, its gap, and its groups where the run counted them."""
    at = st.selectbox(
        "Wording",
        range(len(rows)),
        index=clicked if clicked is not None else len(rows) - 1,
        format_func=lambda i: f"{i + 1}. {rows['wording'].iloc[i]}",
        key=f"wording {rows['task'].iloc[0]} {rows['attribute'].iloc[0]} {clicked}",
    )
    row = each(rows.iloc[[at]])[0]
    gap = f"{measured(row.value, row.low, row.high)} points"
    together = measured(row.value, row.low_simultaneous, row.high_simultaneous)
    told = {
        "Template": row.template,
        "Article": row.article,
        "Labels": row.phrasing + (f" ({row.reworded} changed)" if row.reworded else ""),
        "Pictures": row.alteration,
        "Shift along the modality gap": f"{row.shift:g}",
        f"{row.group} less {row.other}": f"{gap}; for all wordings at once {together}",
        "Asked of": f"{row.n:,} pictures of {row.group}, {row.n_other:,} of {row.other}",
    }
    with st.container(border=True):
        lines = [f"**{plain(k)}:** {plain(v)}" for k, v in told.items()]
        st.markdown("  \n".join([*lines, f"**Verdict:** {signed(row.verdict)}"]))
    groups(run, row)


def groups(run: Run, row: Any) -> None:
    """The rates of all groups in this wording, if the run has them."""
    as_asked = row.article in ("as written", "right") and row.phrasing == "as written"
    rates = run.rates[run.rates["condition"] == f"template: {row.template}"]
    for name in QUESTION:
        rates = rates[rates[name] == getattr(row, name)]
    if rates.empty or not as_asked or row.shift or row.alteration != "as it is":
        st.caption("Of this wording the run kept the gap alone; rates by group it keeps of the "
                   "headline's own templates.")  # fmt: skip
        return
    table(
        {
            "Group": plain(r.group),
            "Rate in this wording": unbroken(plain(rate(r))),
            "Pictures": f"{r.n:,}",
            "Status": plain(status(r)),
        }
        for r in each(rates)
    )


def variance(row: Any) -> None:
    """What single choices vary by."""
    st.subheader("What single choices vary by")
    st.altair_chart(shares([(name, float(getattr(row, column))) for name, column in PARTS.items()]))
    st.caption(
        "Pictures differ far more than groups, so the group's share is small even where a gap is "
        "grave. Compare it with ‘group x wording’, a wording's own way with a group: if that is "
        "the larger, the question makes more of the difference than the model."
    )
    if row.reason:
        st.caption(plain(row.reason))


def steadiness(run: Run, row: Any) -> None:
    """How steady the choice for a picture is over wordings, by group."""
    steady = run.stability
    rows = steady[
        (steady["task"] == row.task) & steady["attribute"].isin([row.attribute, EVERYONE])
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
        for r in each(rows)
    )


show(current())

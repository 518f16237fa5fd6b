"""Every label by every group, and how sure each gap between two groups is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
import streamlit as st
from parts.address import ADDRESS, choose, told_apart
from parts.address import first as place_of
from parts.charts import FIT, forest, heat_map
from parts.damage import attempt
from parts.found import counted, label_id
from parts.runs import current, offer_csv, same_for_all
from parts.words import (
    SIGNS,
    how_many,
    measured,
    plain,
    rate,
    status,
    table,
    unbroken,
    unique,
    what,
)

from audit import Run, digits, pages, tables

#: the widest comparisons are drawn; the table has all
COMPARISONS: Final = 16
RATES: Final = "nobody: the rates themselves"
THE_REST: Final = "everyone else"


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Disparities")
    rates = run.rates[run.rates["condition"] == tables.ENSEMBLE]
    gaps = run.disparities[run.disparities["condition"] == tables.ENSEMBLE]
    if rates.empty:
        st.info("This run counted no choices, so there are no rates to compare.")
        return
    rates, gaps = chosen(run, rates, gaps)
    attempt("The part 'Every label'", every_label, run, rates, gaps)
    rates, gaps = one_label(run, rates, gaps)
    attempt("The part 'Group by group'", group_by_group, run, rates, gaps)
    attempt("The chart of differences", draw, run, gaps)
    attempt("The rows behind", behind, rates, gaps, run)


def chosen(run: Run, rates: pd.DataFrame, gaps: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of task, attribute and what is counted; those of the first finding at first."""
    there = set(zip(rates["task"], rates["attribute"], strict=True))
    leading = next((f for f in run.findings if _place(f) in there), dict[str, Any]())
    rates, gaps = (t.assign(counted=t["metric"].map(counted)) for t in (rates, gaps))
    leading = {**leading, "counted": counted(leading.get("metric", ""))}
    keys = {"task": "task", "counted": "counted", "attribute": "by"}
    for (name, key), box in zip(keys.items(), st.columns(3), strict=True):
        options = unique(rates[name])
        if name == "attribute":
            options = [a for a in options if a != tables.EVERYONE] or options
        choice = box.selectbox(
            name.capitalize(), options, index=place_of(options, leading.get(name)), key=key,
            bind=ADDRESS,
        )  # fmt: skip
        rates, gaps = (t[t[name] == choice] for t in (rates, gaps))
    # families before single labels
    rates, gaps = (
        t.drop(columns="counted").sort_values(
            "metric", key=lambda m: m != "family_selection", kind="stable"
        )
        for t in (rates, gaps)
    )
    return rates, gaps


def _place(finding: Mapping[str, Any]) -> tuple[str, str]:
    """Task and attribute of a finding; of one about everyone none that can be chosen."""
    attribute = finding["attribute"]
    return ("" if attribute == tables.EVERYONE else finding["task"]), attribute


# ---- all labels --------------------------------------------------------------------------------


def every_label(run: Run, rates: pd.DataFrame, gaps: pd.DataFrame) -> None:
    """The heat map of labels by groups: rates, or differences from a reference."""
    groups = unique(rates["group"])
    differences = gaps[gaps["comparison"] == tables.DIFFERENCE]
    options = [RATES, *([THE_REST] if (differences["other"] == tables.REST).any() else []), *groups]
    against = st.selectbox(
        "Compared with", options, help="the reference of every difference", key="against",
        bind=ADDRESS,
    )  # fmt: skip
    same_for_all(run, _label_map, rates, differences, against)


def _label_map(rates: pd.DataFrame, differences: pd.DataFrame, against: str) -> None:
    if against == RATES:
        cells = pd.DataFrame(_rate_cell(r) for r in pages.each(rates))
        told = "% of the pictures of a group"
    else:
        other = tables.REST if against == THE_REST else against
        rows = [_turned(r, other) for r in pages.each(differences)]
        cells = pd.DataFrame(row for row in rows if row)
        told = f"points above (+) or below (−) {against}"
    if cells.empty:
        st.info("No two groups can be compared here.")
        return
    st.markdown(f"**{plain(f'Every label by every group, in {told}')}**")
    many = cells["group"].nunique() > FIT
    st.altair_chart(heat_map(cells, against != RATES), width="content" if many else "stretch")
    signs = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items() if verdict != "seen")
    st.caption(
        "Point at a cell for its interval and counts; colour repeats the number. "
        + (f"Signs: {signs}. " if against != RATES else "")
        + "Grey: no number, and the cell says why when pointed at."
    )


def _rate_cell(row: Any) -> dict[str, Any]:
    known = not (row.status == tables.UNDEFINED or math.isnan(row.value))
    return {
        "label": _short(row),
        "group": row.group,
        "value": 100 * row.value if known else math.nan,
        "text": digits.percent(row.value, row.low, row.high)
        + ("" if row.status == tables.OK else "*")
        if known
        else "–",
        "rate": rate(row),
        "events": f"{how_many(row, row.events)} of {how_many(row, row.n)} pictures",
        "status": status(row),
    }


def _turned(row: Any, other: str) -> dict[str, Any] | None:
    """A difference from the reference, whichever way round it is stored."""
    if row.other == other:
        group, value, low, high = row.group, row.value, row.low_simultaneous, row.high_simultaneous
    elif row.group == other and row.other != tables.REST:
        group, value = row.other, -row.value
        low, high = -row.high_simultaneous, -row.low_simultaneous
    else:
        return None
    known = row.status == tables.OK and not math.isnan(value)
    sign = SIGNS.get(row.verdict, "")
    return {
        "label": _short(row),
        "group": group,
        "value": 100 * value if known else math.nan,
        "text": f"{_with_sign(value, low, high)} {sign}" if known else "–",
        "difference": f"{measured(value, low, high)} points" if known else "none",
        "verdict": row.verdict,
        "status": status(row),
    }


def _with_sign(value: float, low: float, high: float) -> str:
    points = digits.percent(value, low, high)
    return points if value <= 0 or float(points) == 0 else f"+{points}"


def _short(row: Any) -> str:
    if row.metric == "misclassification":
        return what(row.metric, row.label)
    return f"any {row.label}" if row.metric == "family_selection" else str(row.label)


# ---- one label ---------------------------------------------------------------------------------


def one_label(
    run: Run, rates: pd.DataFrame, gaps: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of one label; at first that of the most important finding among these."""
    st.subheader("One label")
    options = unique(zip(rates["metric"], rates["label"], strict=True))
    where = {name: rates[name].iloc[0] for name in ("task", "attribute")}
    of_these = [f for f in run.findings if all(f[k] == v for k, v in where.items())]
    found = [(f["metric"], f["label"]) for f in of_these if (f["metric"], f["label"]) in options]
    by_id = {label_id(*option): option for option in unique([*found, *options])}
    called = told_apart({i: what(*option) for i, option in by_id.items()})
    metric, label = choose(st, "Label or family", by_id, "label", called.__getitem__)
    one, two = (t[(t["metric"] == metric) & (t["label"] == label)] for t in (rates, gaps))
    return one, two


def group_by_group(run: Run, rates: pd.DataFrame, gaps: pd.DataFrame) -> None:
    """The rate of every group."""
    same_for_all(run, _rate_table, rates)
    if pages.judged(gaps, run.rates).empty and not gaps.empty:
        st.info(
            "No finding is made of this: the right answer is known here, so groups are judged by "
            "errors. That a label is chosen more often where it is right is what was asked."
        )


def _rate_table(rates: pd.DataFrame) -> None:
    rows = pages.each(rates)
    pooled = rates["pooled"].notna().any()
    table(
        {"Group": plain(r.group), "Rate": unbroken(plain(rate(r)))}
        | ({"Pooled": unbroken(plain(_pooled(r)))} if pooled else {})
        | {
            "Events": how_many(r, r.events),
            "Pictures": how_many(r, r.n),
            "Subjects": how_many(r, r.subjects),
            "Status": plain(status(r)),
        }
        for r in rows
    )
    methods = ", ".join(unique(r.method for r in rows if r.method))
    st.caption(
        f"{rates['level'].iloc[0]:.0%} intervals ({plain(methods or 'none')}), each for its group "
        "alone."
        + (" Pooled: drawn towards what the attributes add up to; not judged." if pooled else "")
    )


def _pooled(row: Any) -> str:
    return measured(row.pooled, row.pooled_low, row.pooled_high, "%")


def draw(run: Run, gaps: pd.DataFrame) -> None:
    """The differences between groups as dots with simultaneous bounds, and the margin."""
    differences = gaps[gaps["comparison"] == tables.DIFFERENCE]
    with_rest = differences["other"] == tables.REST
    if with_rest.any():
        choice = st.radio(
            "Compare each group with", ["the rest", "each other"], horizontal=True, key="pairs",
            bind=ADDRESS,
        )  # fmt: skip
        differences = differences[with_rest if choice == "the rest" else ~with_rest]
    same_for_all(run, _differences, gaps, differences)


def _differences(gaps: pd.DataFrame, differences: pd.DataFrame) -> None:
    usable = differences[differences["status"] == tables.OK]
    if len(differences) > len(usable):
        why = ", ".join(unique(differences[differences["status"] != tables.OK]["reason"]))
        lost = len(differences) - len(usable)
        st.info(plain(f"{lost} of {len(differences)} comparisons can't be made: {why}."))
    if usable.empty:
        st.info("No two groups can be compared here.")
        return
    widest = usable.loc[usable["value"].abs().sort_values(ascending=False, kind="stable").index]
    widest = widest.head(COMPARISONS)
    some = f"the {len(widest)} widest of {len(usable)}; " if len(widest) < len(usable) else ""
    st.markdown(
        f"**Differences between groups, in points** ({some}{widest['level'].iloc[0]:.0%} "
        f"simultaneous bounds; the band is the margin of ± {100 * widest['margin'].iloc[0]:g})"
    )
    st.altair_chart(forest(widest))
    if told := beside_chance(gaps):
        st.markdown(plain(told))
    st.caption("The group with the higher rate comes first. Point at a mark for its numbers.")


def beside_chance(gaps: pd.DataFrame) -> str:
    """The widest gap beside what chance alone would give, and the spread of all groups."""
    usable = gaps[gaps["status"] == tables.OK]
    told = []
    for row in pages.each(usable[usable["comparison"] == tables.WORST].dropna(subset="null_mean")):
        ends = row.low_simultaneous, row.high_simultaneous
        gap, mean, high = (
            digits.percent(x, *ends) for x in (row.value, row.null_mean, row.null_high)
        )
        told.append(
            f"The two groups that are furthest apart differ by {gap} points; were subjects dealt "
            f"to groups by chance, by {mean} on average and up to {high} in {row.level:.0%} of "
            "shuffles."
        )
    for row in pages.each(usable[usable["comparison"] == tables.SPREAD]):
        spread = measured(row.value, row.low, row.high)
        told.append(f"Spread of all groups, sampling noise subtracted: {spread} points.")
    return " ".join(told)


def behind(rates: pd.DataFrame, gaps: pd.DataFrame, run: Run) -> None:
    """The tables behind this label, to read and to download."""
    with st.expander("The table behind it"):
        same_for_all(run, _rows, gaps)
    one, two = st.columns(2)
    offer_csv(one, "Disparities, as CSV", gaps, "disparities.csv", run)
    offer_csv(two, "Rates, as CSV", rates, "rates.csv", run)


def _rows(gaps: pd.DataFrame) -> None:
    st.dataframe(gaps.drop(columns=["key"]), hide_index=True, width="stretch")


show(current())

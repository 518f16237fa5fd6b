"""Two runs about the same pictures: which gaps changed, and how surely."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import streamlit as st
from parts.runs import OTHERS, current, names, offer_csv, opened, stamp
from parts.words import plain, signed, table, unbroken

from audit import InputError, Run, comparison, tables

KINDS: Final = {
    tables.WORST: "Largest gap between any two groups: where it changed most",
    tables.DIFFERENCE: "Gap between two groups: where it changed most",
}
EVERY: Final = "every task that both were asked"


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Compare two runs")
    st.markdown(
        "Two models, label sets or wordings, picture by picture: what both answer alike carries no "
        "noise into the comparison."
    )
    found: Mapping[Path, Mapping[str, Any]] = st.session_state[OTHERS]
    others = likeliest(run, found)
    if not others:
        st.info("There is only this run here. Run the suite on another model, then reload.")
        return
    called = names(found)
    path = st.selectbox("B, compared with", others, format_func=called.__getitem__)
    other, damaged = opened(str(path), stamp(path))
    if other is None:
        told = f"B is damaged: missing, changed or unreadable: {', '.join(damaged)}"
        st.error(plain(told), icon=":material/warning:")
        return
    st.markdown(
        "  \n".join(f"**{side}:** {plain(called[p])}" for side, p in (("A", run.path), ("B", path)))
    )
    tasks = [task for task in comparison.choices_of(run) if task in comparison.choices_of(other)]
    task = st.selectbox("Task", [EVERY, *tasks])
    try:
        a, b = (f"{r.path} {stamp(r.path)}" for r in (run, other))
        remarks, changes = compared(a, b, None if task == EVERY else task, run, other)
    except InputError as error:
        st.info(plain(error))
        return
    results(changes, remarks, run)


def likeliest(run: Run, found: Mapping[Path, Mapping[str, Any]]) -> list[Path]:
    """The other runs, newest first, those of the same pictures and then the same suite before."""

    def unlike(path: Path) -> list[bool]:
        keys = ("dataset_digest", "suite")
        return [found[path].get(key) != run.manifest.get(key) for key in keys]

    return sorted((path for path in found if path != run.path), key=unlike)


@st.cache_data(max_entries=8, show_spinner="Comparing picture by picture")
def compared(
    this: str, that: str, task: str | None, _a: Run, _b: Run
) -> tuple[list[str], pd.DataFrame]:
    """What a reader has to know, and the table CHANGES."""
    return comparison.remarks(_a, _b, task, None), comparison.compare(_a, _b, task)


def results(changes: pd.DataFrame, told: list[str], run: Run) -> None:
    """The surest changes, how they are to be read, and the whole table."""
    st.markdown(f"**{plain(comparison.in_short(changes))}**")
    titles = ("Verdict", "Asked", "Between", "In A", "In B", "Change (bounds)")
    for kind, title in KINDS.items():
        st.subheader(title)
        rows = [comparison.in_columns(r) for r in tables.records(comparison.largest(changes, kind))]
        table(
            dict(zip(titles, (signed(row[0]), *map(plain, row[1:5]), _whole(row[5])), strict=True))
            for row in rows
        )
    st.caption(
        f"In points. Change: B less A; its bounds hold at {changes['level'].iloc[0]:.0%} for all "
        "labels and groups of one task, metric and attribute at once. ‘exceeds margin’: it is more "
        "than the label family's margin, either way; ‘within margin’: it is less."
    )
    if told:
        st.markdown("\n".join(f"- {plain(one)}" for one in told))
    offer_csv(st, "All changes, as CSV", changes, "changes.csv", run)


def _whole(text: str) -> str:
    return unbroken(plain(text))


show(current())

"""Any number of runs beside the one that is shown: which gaps changed, and how surely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import streamlit as st
from parts.address import ADDRESS, choose_some, key_of
from parts.damage import attempt
from parts.fact_charts import beside_each_other
from parts.found import found_in
from parts.runs import OTHERS, current, edited, names, offer_csv, opened, stamp
from parts.words import plain, signed, table, unbroken

from audit import InputError, Run, comparison, tables

KINDS: Final = {
    tables.WORST: "Largest gap between any two groups: where it changed most",
    tables.DIFFERENCE: "Gap between two groups: where it changed most",
}
EVERY: Final = "every task that both were asked"
#: gaps that are drawn
FIRST: Final = 12


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Compare runs")
    found: Mapping[Path, Mapping[str, Any]] = st.session_state[OTHERS]
    others = {path.name: path for path in likeliest(run, found)}
    if not others:
        st.info("There is only this run here. Run the suite on another model, then reload.")
        return
    told = {path.name: name for path, name in names(found).items()}
    st.session_state.setdefault(key_of("with"), [next(iter(others))])
    chosen = choose_some(st, "Compared with", others, "with", told.__getitem__)
    runs = {run.name: run} | dict(readable(chosen))
    if len(runs) == 1:
        st.info("Choose a run to compare this one with.")
        return
    called = {name: f"{letter}: {told[name]}" for letter, name in zip(LETTERS, runs, strict=False)}
    st.markdown("  \n".join(plain(one) for one in called.values()))
    attempt("The chart of gaps", side_by_side, run, runs, called)
    for name, other in list(runs.items())[1:]:
        st.subheader(plain(f"A and {called[name]}"))
        attempt(f"The comparison with {name}", in_full, run, other, called[name][:1])


LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def likeliest(run: Run, found: Mapping[Path, Mapping[str, Any]]) -> list[Path]:
    """The other runs, newest first: first those of the same pictures, suite and another model."""

    def unlike(path: Path) -> list[bool]:
        keys = ("dataset_digest", "suite")
        same_model = found[path].get("fingerprint") == run.manifest.get("fingerprint")
        return [*(found[path].get(key) != run.manifest.get(key) for key in keys), same_model]

    return sorted((path for path in found if path != run.path), key=unlike)


def readable(chosen: Mapping[str, Path]) -> Sequence[tuple[str, Run]]:
    """The runs that can be read; of others the page says so."""
    runs = []
    for name, path in chosen.items():
        run, damaged = opened(str(path), stamp(path))
        if run is None:
            told = f"{name} is damaged: missing, changed or unreadable: {', '.join(damaged)}"
            st.error(plain(told), icon=":material/warning:")
        else:
            runs.append((name, run))
    return runs


# ---- all at a glance ---------------------------------------------------------------------------


def side_by_side(run: Run, runs: Mapping[str, Run], called: Mapping[str, str]) -> None:
    """The leading gaps of the run that is shown, beside the same gaps in the others."""
    leading = [f for f in found_in(run).facts if f.gap is not None and not f.unit]
    rows = []
    for name, one in runs.items():
        by_id = {f["id"]: f for f in one.findings}
        for fact in leading:
            finding = by_id.get(fact.id)
            if finding and finding["estimate"] is not None:
                points = 100 * abs(finding["estimate"])
                rows.append((f"{fact.asked}, by {fact.by}", called[name][:1], points,
                             finding["verdict"]))  # fmt: skip
    gaps = pd.DataFrame(rows, columns=["gap", "run", "points", "verdict"])
    shown = gaps[gaps["gap"].isin(gaps["gap"].drop_duplicates().head(FIRST))]
    st.markdown(f"**The {shown['gap'].nunique()} leading gaps of A, in every run, in points**")
    st.altair_chart(beside_each_other(shown))
    st.caption("Largest gap between any two groups as each run found it; which groups may differ.")
    offer_csv(st, "All of these gaps, as CSV", gaps, "gaps.csv", run)


# ---- two, picture by picture -------------------------------------------------------------------


def in_full(run: Run, other: Run, letter: str) -> None:
    """What changed between the run that is shown and another, picture by picture."""
    for one in (run, other):
        if edited(str(one.path), stamp(one.path)):
            st.info(plain(f"{one.name} was edited after it was sealed, so it isn't compared."))
            return
    tasks = [task for task in comparison.choices_of(run) if task in comparison.choices_of(other)]
    if not tasks:
        asked = "; ".join(
            f"{r.name}: {', '.join(comparison.choices_of(r)) or 'none'}" for r in (run, other)
        )
        st.info(plain(f"They share no task in which labels are chosen ({asked})."))
        return
    task = EVERY
    if len(tasks) > 1:  # that of the leading gap first: all of them take a second or two
        order = dict.fromkeys([f.task for f in found_in(run).facts if f.task in tasks] + tasks)
        task = st.selectbox("Task", [*order, EVERY], key=f"task_{letter.lower()}", bind=ADDRESS)
    try:
        a, b = (f"{r.path} {stamp(r.path)}" for r in (run, other))
        remarks, changes = compared(a, b, None if task == EVERY else task, run, other)
    except InputError as error:
        st.info(plain(error))
        return
    st.markdown(f"**{plain(what_changed(changes, letter, task))}**")
    results(changes, remarks, run, letter)


@st.cache_data(max_entries=16, show_spinner="Comparing picture by picture")
def compared(
    this: str, that: str, task: str | None, _a: Run, _b: Run
) -> tuple[list[str], pd.DataFrame]:
    """What a reader has to know, and the table CHANGES."""
    return comparison.remarks(_a, _b, task, None), comparison.compare(_a, _b, task)


def what_changed(changes: pd.DataFrame, letter: str, task: str) -> str:
    """One sentence: how many largest gaps surely grew, shrank, or hardly moved."""
    rows = changes[(changes["comparison"] == tables.WORST) & (changes["status"] == tables.OK)]
    sure = rows[rows["verdict"] == tables.EXCEEDS]
    grew, shrank = int((sure["value"] > 0).sum()), int((sure["value"] < 0).sum())
    small, still = (int((rows["verdict"] == v).sum()) for v in (tables.WITHIN, tables.INCONCLUSIVE))
    return (
        f"Of {len(rows)} largest gaps in {task}, {grew} surely grew from A to {letter} by more "
        f"than the margin, {shrank} shrank, {small} changed by less, and {still} stay open."
    )


def results(changes: pd.DataFrame, told: list[str], run: Run, letter: str) -> None:
    """The surest changes, how they are to be read, and the whole table."""
    st.markdown(plain(comparison.in_short(changes)))
    titles = ("Verdict", "Asked", "Between", "In A", f"In {letter}", "Change (bounds)")
    for kind, title in KINDS.items():
        st.markdown(f"**{title}**")
        rows = [comparison.in_columns(r) for r in tables.records(comparison.largest(changes, kind))]
        table(
            dict(zip(titles, (signed(row[0]), *map(plain, row[1:5]), _whole(row[5])), strict=True))
            for row in rows
        )
    st.caption(
        f"In points. What both runs answer alike carries no noise. Change: {letter} less A; its "
        f"bounds hold at {changes['level'].iloc[0]:.0%} for all labels and groups of one task, "
        "metric and attribute at once. ‘exceeds margin’: it is more than the label family's "
        "margin, either way; ‘within margin’: it is less."
    )
    if told:
        st.markdown("\n".join(f"- {plain(one)}" for one in told))
    offer_csv(st, f"All changes from A to {letter}, as CSV", changes, "changes.csv", run)


def _whole(text: str) -> str:
    return unbroken(plain(text))


show(current())

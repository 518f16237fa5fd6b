"""What a run found, as page one of its report says it: read once, and shared by all pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

from audit import Fact, Run, Verdict, narrative, pages, tables
from parts.address import told_apart
from parts.runs import stamp

#: what tells one question from another
QUESTION: Final = ("task", "metric", "label", "attribute")
CHOICES: Final = "labels chosen"
#: what is counted; labels and categories of labels stand together, errors and others alone
COUNTED: Final = {
    "selection": CHOICES,
    pages.CATEGORY: CHOICES,
    pages.ERRORS: "wrong labels chosen",
}


def counted(metric: str) -> str:
    """What a metric counts, in a word or two."""
    return COUNTED.get(metric, metric)


def label_id(metric: str, label: str) -> str:
    """What tells a label from a category of the same name, in the address."""
    return f"{metric}.{label}"


def question_id(*names: str) -> str:
    """What tells a question from another, in the address: task, metric, label, attribute."""
    return ".".join(names)


def found_in(run: Run) -> pages.PageOne:
    """The answer, the facts and all else that page one says."""
    return _found(str(run.path), stamp(run.path), run)


@st.cache_resource(max_entries=8, show_spinner=False)
def _found(path: str, stamp: str, _run: Run) -> pages.PageOne:
    return pages.page_one(_run, narrative.read(_run, "{}"))


@st.cache_resource(max_entries=8, show_spinner=False)
def _names(path: str, stamp: str, _run: Run) -> Mapping[str, str]:
    return told_apart({f.id: f"{f.verdict.sign} {f.title}" for f in found_in(_run).facts})


def names_of(run: Run) -> Mapping[str, str]:
    """What the facts are called, by id."""
    return _names(str(run.path), stamp(run.path), run)


def told_by(facts: Sequence[Fact]) -> Mapping[str, Fact]:
    """The fact of each finding, by the finding's id."""
    return {finding: fact for fact in facts for finding in fact.evidence}


# ---- behind a fact -----------------------------------------------------------------------------


def variants_of(run: Run, fact: Fact) -> pd.DataFrame:
    """The gap in every prompt variant: wording, value and, where it was judged, verdict.

    The curve of the same two groups, of any finding of the fact; else the gap in single templates.
    """
    by_id = {f["id"]: f for f in run.findings}
    lead = by_id[fact.id]
    for finding in (by_id[i] for i in fact.evidence):
        rows = _of(run.specifications, finding)
        if len(rows) and {rows["group"].iloc[0], rows["other"].iloc[0]} == set(lead["groups"]):
            return rows.sort_values("value", kind="stable").reset_index(drop=True)
    rows = _of(run.disparities, lead)
    rows = rows[(rows["comparison"] == tables.WORST) & (rows["condition"] != tables.ENSEMBLE)]
    rows = rows[rows["status"] == tables.OK].assign(wording=rows["condition"])
    return rows.sort_values("value", kind="stable").reset_index(drop=True)


def _of(rows: pd.DataFrame, finding: pages.Fields) -> pd.DataFrame:
    for name in QUESTION:
        rows = rows[rows[name] == finding[name]]
    return rows


def edits_of(run: Run, fact: Fact) -> tuple[str, list[Any]]:
    """What is counted, and the edits of the label set that move the higher rate most.

    Of a label that belongs to a category the rate of the category is counted: that a label which
    was left out is chosen no more needs no telling.
    """
    if not fact.sides:
        return "", []
    lead = next(f for f in run.findings if f["id"] == fact.id)
    behind = run.disparities[run.disparities["key"].isin(lead["evidence"])]
    family = str(behind["margin_family"].iloc[0]) if len(behind) else ""
    wanted = {name: lead[name] for name in QUESTION} | {"group": fact.sides[0].group}
    if fact.metric == "selection" and (run.effects["label"] == family).any():
        wanted |= {"metric": pages.CATEGORY, "label": family}
    rows = run.effects
    for name, value in {**wanted, "comparison": tables.RATE, "status": tables.OK}.items():
        rows = rows[rows[name] == value]
    rows = rows[(rows["edit"] != tables.CONDITION) & (rows["dropped"] != wanted["label"])]
    order = rows["value"].abs().sort_values(ascending=False, kind="stable").index
    return str(wanted["label"]), pages.each(rows.loc[order])


# ---- every question by every attribute -----------------------------------------------------------


def matrix(run: Run) -> pd.DataFrame:
    """The gap that matters most of every question by every attribute, a row a cell.

    Columns: question, attribute, gap (points; nan in another unit), verdict, fact (its id).
    """
    page = found_in(run)
    fact_of = told_by(page.facts)
    names = pages.Names.of(run.dataset["attributes"])
    best: dict[tuple[str, str], pages.Fields] = {}
    for f in run.findings:
        asked = {CHOICES: "", COUNTED[pages.ERRORS]: ": errors"}.get(counted(f["metric"]))
        where = f["task"] + (f": {f['metric']}" if asked is None else asked), f["attribute"]
        if where not in best or _weight(f) < _weight(best[where]):
            best[where] = f
    return pd.DataFrame(
        {
            "question": question,
            "attribute": names.attribute(attribute),
            "gap": float("nan") if f.get("unit") or f["estimate"] is None
            else 100 * abs(f["estimate"]),
            "verdict": f["verdict"],
            "fact": fact_of[f["id"]].id,
            "says": fact_of[f["id"]].title,
        }
        for (question, attribute), f in best.items()
    )  # fmt: skip


def _weight(finding: pages.Fields) -> tuple[int, float]:
    return Verdict(finding["verdict"]).rank, -abs(finding["estimate"] or 0.0)

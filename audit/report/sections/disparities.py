"""Rates of groups, how far they lie apart, and what intersections add."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.digits import decimals, percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import (
    DEPARTURE,
    ENSEMBLE,
    EVERYONE,
    INCONCLUSIVE,
    NOT_JUDGED,
    OK,
    SPREAD,
    UNKNOWN,
)
from audit.measure.findings import judged
from audit.probes.kit.cells import (
    MOST_ROWS,
    NBSP,
    asked,
    at,
    like,
    measured,
    rate_in_words,
    table,
    tag,
    with_rest,
)
from audit.probes.kit.tasks import Task
from audit.report import figures

MOST_COLUMNS: Final = 6


def gaps_table(run: Run, asked_tasks: Sequence[Task], intersections: bool = False) -> Markdown:
    """The widest gap of each question and attribute beside chance: some of each verdict."""
    gaps = _worst(run, [t.name for t in asked_tasks], intersections)
    chosen = _with_spread(figures.some_of_each(gaps, run, MOST_ROWS), run)
    nulls, spreads = chosen["null_mean"].notna().any(), chosen["spread"].notna().any()
    margins = {f"{100 * margin:g}" for margin in chosen["margin"]}
    several_tasks, several_margins = len(asked_tasks) > 1, len(margins) > 1
    shown = table(
        {
            "Chosen": f"{row.task}: {asked(row)}" if several_tasks else asked(row),
            "By": row.attribute,
        }
        | _gap_cells(row)
        | ({_SHUFFLED: _chance_cell(row)} if nulls else {})
        | ({"Spread [bounds]": _spread_cell(row)} if spreads else {})
        | ({"Margin": f"{100 * row.margin:g}"} if several_margins else {})
        | {"Verdict": _verdict_cell(row)}
        for row in each(chosen)
    )
    more = with_rest(shown, len(gaps) - MOST_ROWS, "gaps", "disparities.parquet")
    return (
        more if len(margins) != 1 else Markdown(f"{more}\n\nThe margin is {min(margins)} points.")
    )


#: subjects swap with others alike in other attributes, so this is not chance alone
_SHUFFLED: Final = "Shuffled within other attributes"


def _verdict_cell(row: Record) -> Markdown:
    """The verdict; beside *inconclusive* why, where the bounds printed alone would exceed."""
    alone = row.verdict == INCONCLUSIVE and row.low_simultaneous > row.margin
    counted = re.search(r"q over (\d+ \w+ questions) is too high", row.reason)
    if not (alone and counted):
        return tag(row.verdict)
    return Markdown(f"{tag(row.verdict)}: beyond the margin by itself, not over {counted[1]}")


def _gap_cells(row: Record) -> dict[str, str]:
    """The two groups with their rates, and the gap with its bounds, in points."""
    names = ("Highest", "Lowest", "Gap, points [bounds]")
    if row.status != OK:
        told = f"{row.status.replace('_', ' ')}: {row.reason}"
        return dict(zip(names, (told, "–", "–"), strict=True))
    ends = row.low_simultaneous, row.high_simultaneous
    one, other = (percent(x / n, *ends) for x, n in _sides(row))
    gap = at(row, _apart_from(row.margin, row.value, *ends))
    cells = (f"{row.group}: {one}%", f"{row.other}: {other}%", gap)
    return dict(zip(names, cells, strict=True))


def _apart_from(margin: float, value: float, low: float, high: float) -> str:
    """A gap with its bounds; one decimal more where a bound would be rounded to the margin."""
    shown = f"{100 * margin:.{decimals(low, high)}f}"
    near = any(percent(end, low, high) == shown and end != margin for end in (low, high))
    if not near:
        return measured(value, low, high)
    told = (f"{100 * v:z.{decimals(low, high) + 1}f}" for v in (value, low, high))
    return "{} [{}, {}]".format(*told).replace(" ", NBSP)


def _sides(row: Record) -> tuple[tuple[int, int], tuple[int, int]]:
    return (row.events, row.n), (row.events_other, row.n_other)


def _chance_cell(row: Record) -> str:
    """The mean of a gap's null and what 95 % of shuffles stay under."""
    if math.isnan(row.null_mean):
        return "–"
    ends = row.low_simultaneous, row.high_simultaneous
    told = f"{percent(row.null_mean, *ends)}, up to {percent(row.null_high, *ends)}"
    return told.replace(" ", NBSP)


def _worst(run: Run, names: Sequence[str], intersections: bool) -> pd.DataFrame:
    gaps = judged(run.disparities, run.rates)
    crossed = gaps["attribute"].str.contains(" x ", regex=False)
    here = gaps["task"].isin(names) & (crossed if intersections else ~crossed)
    return gaps[here & (gaps["verdict"] != NOT_JUDGED)]


def _with_spread(gaps: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Gaps with the standard deviation of their groups' rates, noise subtracted, and its bounds."""
    spreads = having(run.disparities, comparison=SPREAD).set_index(_QUESTION)
    names = {"value": "spread", "low": "spread_low", "high": "spread_high"}
    return gaps.join(spreads[list(names)].rename(columns=names), on=_QUESTION)


_QUESTION: Final = ["task", "condition", "metric", "label", "attribute"]


def _spread_cell(row: Record) -> str:
    return measured(row.spread, row.spread_low, row.spread_high)


def departures_table(run: Run) -> Markdown:
    """How far the rates of each intersection depart from what its attributes add up to."""
    gaps = _worst(run, [q["task"] for q in run.questions], True)
    table_of = having(run.disparities, comparison=DEPARTURE)
    found = table_of[like(table_of, gaps, _QUESTION)]
    ranked = found.sort_values(["low", "value"], ascending=False, kind="stable")
    shown = table(
        {
            "Task": row.task,
            "Chosen": asked(row),
            "By": row.attribute,
            "Departure, points [bounds]": at(row, measured(row.value, row.low, row.high))
            if row.status == OK
            else f"– {row.reason}",
        }
        for row in each(ranked.head(MOST_ROWS))
    )
    return with_rest(shown, len(found) - MOST_ROWS, "questions", "disparities.parquet")


def rates_table(run: Run, task: Task, attribute: str) -> Markdown:
    """Every group of an attribute: pictures, subjects, and each rate with interval and events.

    Beside a raw rate of an intersection stands the pooled one.
    """
    rates = _headline(run, task, [attribute, EVERYONE])
    pooled = bool(rates["pooled"].notna().any())
    questions = _most_uneven(rates, MOST_COLUMNS // 2 if pooled else MOST_COLUMNS)
    columns: dict[tuple[str, str], list[Record]] = {question: [] for question in questions}
    for row in each(rates):
        if (row.metric, row.label) in columns:
            columns[row.metric, row.label].append(row)
    everyone_last = sorted(zip(*columns.values(), strict=True), key=_is_everyone)
    shown = table(_rate_cells(rows, pooled) for rows in everyone_last)
    more = len(rates[["metric", "label"]].drop_duplicates()) - len(questions)
    return with_rest(shown, more, "labels", "rates.parquet")


def everyone_table(run: Run, task: Task) -> Markdown:
    """How many of all pictures each question holds of, the most first."""
    rates = _headline(run, task, [EVERYONE])
    ranked = rates.sort_values(["metric", "value"], ascending=[True, False], kind="stable")
    shown = table(
        {"Chosen": asked(row), "Pictures": f"{row.n:,}", "Rate [interval] (events)": words}
        for row in each(ranked.head(MOST_ROWS))
        for words in [rate_in_words(row, row.n)]
    )
    return with_rest(shown, len(ranked) - MOST_ROWS, "labels", "rates.parquet")


def _headline(run: Run, task: Task, attributes: Sequence[str]) -> pd.DataFrame:
    """The rates of a task by some attributes in the headline condition."""
    of_task = (run.rates["task"] == task.name) & (run.rates["condition"] == ENSEMBLE)
    return run.rates[of_task & run.rates["attribute"].isin(attributes)]


def _rate_cells(rows: Sequence[Record], pooled: bool) -> dict[str, str]:
    """One group's line: how many, and its rates, each with the pooled one beside it if wanted."""
    n = max(row.n for row in rows)
    cells = {
        "Group": rows[0].group,
        "Pictures": f"{n:,}",
        "Subjects": f"{max(row.subjects for row in rows):,}",
    }
    for row in rows:
        cells[asked(row)] = rate_in_words(row, n)
        if pooled:
            drawn_in = measured(row.pooled, row.pooled_low, row.pooled_high, "%")
            cells[f"{asked(row)}, pooled"] = drawn_in
    return cells


def has_pooled(run: Run) -> bool:
    """Whether the rates of small intersections stand beside pooled ones."""
    return bool(run.rates["pooled"].notna().any())


def _is_everyone(rows: Sequence[Record]) -> bool:
    return bool(rows[0].attribute == EVERYONE)


def _most_uneven(rates: pd.DataFrame, most: int) -> list[tuple[str, str]]:
    """Errors and families first, then the labels whose rates differ most, in their own order."""
    order = list(dict.fromkeys(zip(rates["metric"], rates["label"], strict=True)))
    usable = rates[(rates["status"] == OK) & (rates["group"] != UNKNOWN)]
    values = usable.groupby(["metric", "label"])["value"]
    spread = (values.max() - values.min()).to_dict()
    ranked = sorted(order, key=lambda q: (q[0] == "selection", -spread.get(q, 0.0)))
    kept = set(ranked[:most])
    return [q for q in order if q in kept]


#: what a template may call; the run is filled in
OFFERS: Final = (
    gaps_table,
    rates_table,
    everyone_table,
    departures_table,
    has_pooled,
)

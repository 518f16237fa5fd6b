"""What the alarms are for whoever watches: in tables, and in a sentence an operating point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Fields, Record, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, OK
from audit.core.verdicts import Verdict
from audit.probes.alarms.rows import (
    ALARMS,
    CURVE,
    DETECTED,
    FALSE_ALARMS,
    GAP,
    PER_HOUR,
    PRECISION,
    REVIEWS,
)
from audit.probes.kit.blocks import Block, said
from audit.probes.kit.cells import at, measured, table
from audit.probes.kit.measures_section import in_unit
from audit.probes.kit.tasks import tasks_of

_WORK: Final = {
    PER_HOUR: "Alarms per camera and hour",
    PRECISION: "Alarms that are right",
    REVIEWS: "Alarms looked at for each right one",
}


def asked_alarms(run: Run) -> list[tuple[str, Fields]]:
    """Every task that raises alarms, with its probe as the suite has it."""
    probes = [probe for probe in run.suite["probes"] if probe["kind"] == "alarms"]
    return list(zip((task.name for task in tasks_of(run, "alarms")), probes, strict=True))


def noun_of(probe: Fields) -> str:
    """What is counted: pictures, or the clips that they make together."""
    return "clips" if probe.get("together") else "pictures"


def cameras_of(work: Fields) -> str:
    """How many cameras are watched, in words."""
    return f"{work['cameras']:,} camera{'s' if work['cameras'] > 1 else ''}"


def in_numbers(value: float) -> str:
    """A number of alarms as people write it: in full, with commas, never with an exponent."""
    if value >= 10:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


# ---- in the section of the task ------------------------------------------------------------------


def work_blocks(rows: pd.DataFrame, probe: Fields, attribute: str) -> Iterator[Block]:
    """What the alarms are for an operator, by an attribute's groups or for everyone."""
    found = having(rows, metric=_WORK, attribute=attribute)
    if found.empty:
        return
    work = probe["workload"]
    if attribute == EVERYONE:
        yield said(
            "Stated for the place of use: {n} {units} an hour and camera, an event in {p} of them, "
            "{cameras}.",
            n=in_numbers(work["per_hour"]), units=noun_of(probe),
            p=f"{100 * work['prevalence']:g} %",
            cameras=cameras_of(work),
        )  # fmt: skip
        hourly = having(found, metric=PER_HOUR)
        for row in each(hourly[hourly["value"].notna()]):
            yield said(
                "At {point}: {all} alarms an hour over {cameras}.",
                point=row.condition, all=in_numbers(row.value * work["cameras"]),
                cameras=cameras_of(work),
            )  # fmt: skip
    cells = {(r.condition, r.group, r.metric): r for r in each(found)}
    yield table(
        {"At": condition, "Group": group}
        | {title: _worked(cells[condition, group, metric]) for metric, title in _WORK.items()}
        for condition, group in dict.fromkeys(key[:2] for key in cells)
    )


def _worked(row: Record) -> str:
    if math.isnan(row.value):
        return str(row.reason)
    few = "" if row.status == OK else f" ({row.status.replace('_', ' ')})"
    if row.metric == PRECISION:
        return at(row, measured(row.value, row.low, row.high, "%") + few)
    return at(row, in_unit(row.value, row.low, row.high, row.unit) + few)


# ---- in the summary ------------------------------------------------------------------------------


def alarms_at_work(run: Run) -> Markdown:
    """A sentence an operating point with a workload: how many alarms, how many right, of whom."""
    lines = []
    for task, probe in asked_alarms(run):
        rows = having(run.measures, task=task)
        hourly = having(rows, metric=PER_HOUR, attribute=EVERYONE)
        for row in each(hourly[hourly["value"].notna()]):
            if ", " not in row.condition:  # what poor footage costs is told by findings of its own
                here = having(rows, condition=row.condition)
                lines.append(_at_work(task, probe["workload"], row, here))
    return Markdown("\n".join(f"- {line}" for line in lines))


def _at_work(task: str, work: Fields, hourly: Record, rows: pd.DataFrame) -> Markdown:
    low, high = (in_numbers(work["cameras"] * v) for v in (hourly.low, hourly.high))
    point, cameras = f"{hourly.condition} of '{task}'", cameras_of(work)
    if not hourly.value:
        told = "At {point}: no alarm was raised; up to {high} an hour over {cameras} are possible."
        return said(told, point=point, high=high, cameras=cameras)
    (reviews,) = each(having(rows, metric=REVIEWS, attribute=EVERYONE))
    looked = f"{in_numbers(reviews.value)} looked at for each right one"
    return said(
        "At {point}: {all} alarms an hour over {cameras} ({low} to {high}), {right}. {whom}",
        point=point, all=in_numbers(work["cameras"] * hourly.value), cameras=cameras, low=low,
        high=high, right="none of them right" if math.isnan(reviews.value) else looked,
        whom=_of_whom(rows),
    )  # fmt: skip


def _of_whom(rows: pd.DataFrame) -> str:
    """Whose false alarms they are: the groups of the surest gap."""
    gaps = having(rows, metric=GAP[FALSE_ALARMS], status=OK)
    gaps = gaps[~gaps["attribute"].str.contains(" x ", regex=False)]
    if gaps.empty:
        return "Whose false alarms they are can't be told: no two groups can be compared."
    gap = each(gaps.sort_values(["low_simultaneous", "value"], kind="stable"))[-1]
    rates = having(rows, metric=FALSE_ALARMS, attribute=gap.attribute)
    told = {r.group: f"{percent(r.value, r.low, r.high)} %" for r in each(rates)}
    return (
        f"Without an event, {told[gap.group]} of {gap.attribute} {gap.group} raise a false alarm "
        f"and {told[gap.other]} of {gap.other} ({Verdict(gap.verdict).phrase})."
    )


def counted_together(run: Run) -> str:
    """Which tasks count clips instead of pictures, and how many; blank where none does."""
    tasks: dict[int, list[str]] = {}
    for task, probe in asked_alarms(run):
        if probe.get("together"):
            rows = having(run.measures, task=task, attribute=EVERYONE)
            counted = (having(rows, metric=CURVE[m])["n"] for m in _SORTS)
            tasks.setdefault(sum(int(n.max()) for n in counted if len(n)), []).append(f"'{task}'")
    told = (
        f"{', '.join(names)} count{'s' if len(names) == 1 else ''} {n:,} clips that these pictures "
        "make together"
        for n, names in tasks.items()
    )
    return f"{'; '.join(told)}." if tasks else ""


#: every unit is of one of these sorts
_SORTS: Final = (FALSE_ALARMS, DETECTED, ALARMS)


#: what a template may call; the run is filled in
OFFERS: Final = (alarms_at_work, counted_together)

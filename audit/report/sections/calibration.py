"""Whether scores promise what they keep, by group."""

from __future__ import annotations

from typing import Final

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, OK, UNDEFINED
from audit.probes.kit.cells import at, measured, table
from audit.probes.kit.tasks import Task


def calibration_lead(run: Run, task: Task) -> str | None:
    """The attribute whose groups differ most surely in overconfidence; None where there is none."""
    if task.name not in set(run.calibration["task"]):
        return None
    gaps = having(run.calibration_gaps, task=task.name, attribute=task.attributes, status=OK)
    ranked = gaps.sort_values(["low", "value"], ascending=False, kind="stable")
    return next(iter([*ranked["attribute"], *task.attributes]), None)


def calibration_table(run: Run, task: Task, attribute: str) -> Markdown:
    """Every group's share of right choices, mean score, overconfidence and calibration error."""
    rows = having(run.calibration, task=task.name)
    groups, everyone = (having(rows, attribute=a) for a in (attribute, EVERYONE))
    return table(_calibration_cells(row) for row in [*each(groups), *each(everyone)])


def _calibration_cells(row: Record) -> dict[str, str]:
    names = (
        "Right", "Mean score", "Overconfidence, points [bounds]", "Calibration error",
        "If calibrated",
    )  # fmt: skip
    cells = {"Group": row.group, "Pictures": f"{row.n:,}", "Subjects": f"{row.subjects:,}"}
    if row.status == UNDEFINED:
        told = [f"{row.status}: {row.reason}", *["–"] * 4]
        return cells | dict(zip(names, told, strict=True))
    right, score, error, null, high = (
        percent(value, row.low, row.high)
        for value in (row.accuracy, row.mean_score, row.ece, row.ece_null, row.ece_null_high)
    )
    few = "" if row.status == OK else f" ({row.status.replace('_', ' ')})"
    over = at(row, measured(row.overconfidence, row.low, row.high) + few)
    told = [f"{right}%", f"{score}%", over, error, f"{null}, up to {high}"]
    return cells | dict(zip(names, told, strict=True))


def calibration_gaps_table(run: Run, task: Task) -> Markdown:
    """By every attribute, the two groups whose overconfidence differs most."""
    gaps = having(run.calibration_gaps, task=task.name)
    ranked = gaps.sort_values(["low", "value"], ascending=False, kind="stable")
    return table(
        {
            "By": row.attribute,
            "More overconfident": row.group or f"{row.status.replace('_', ' ')}: {row.reason}",
            "Less": row.other or "–",
            "Gap, points [bounds]": at(row, measured(row.value, row.low, row.high)),
            "Pairs compared": row.pairs,
        }
        for row in each(ranked)
    )


#: what a template may call; the run is filled in
OFFERS: Final = (
    calibration_lead,
    calibration_table,
    calibration_gaps_table,
)

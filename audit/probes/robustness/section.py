"""Poor footage: what each degradation costs everyone, and whom it costs more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import MARKS, Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import (
    CONDITION,
    EVERYONE,
    EXCEEDS,
    INCONCLUSIVE,
    OK,
    RATE,
    WITHIN,
)
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, probe_would, said
from audit.probes.kit.cells import MOST_ROWS, NBSP, at, table, tag, with_rest
from audit.probes.kit.changes import ACCURACY_CHANGE, UNEQUAL_DROP
from audit.probes.kit.measures_section import by_chance, in_unit
from audit.probes.kit.tasks import Task, tasks_of
from audit.probes.robustness.figures import (
    differences,
    falls,
    severities,
    surest_of_each,
    unequal_drops,
)
from audit.probes.robustness.probe import RATE_CHANGE, RENDERED


def tell(run: Run) -> Sequence[Block]:
    """Every task that was asked on degraded pictures."""
    asked = tasks_of(run, "robustness")
    if not asked:
        return ()
    rows = having(run.measures, probe="robustness")
    return [
        _WHAT,
        *(_of_task(run, task, having(rows, task=task.name)) for task in asked),
        *_recipes(rows),
        _rendered_note(rows),
    ]


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, task: Task, rows: pd.DataFrame) -> Part:
    """One task: the surest difference, the figure, both tables."""
    usable = differences(run, task.name)
    everyone = having(rows, metric=[ACCURACY_CHANGE, RATE_CHANGE])
    shown = [
        Markdown(_EVERYONE),
        *_everyone(everyone),
    ]
    if len(usable) == 0:
        return Part(task.name, [*shown, "No two groups have enough pictures to be compared."])
    pictures = [
        Picture(falls, task.name, row.attribute, _metric(run, task, row), row.label)
        for row in each(usable.drop_duplicates("itself"))
    ]
    told = Markdown("The surest differences between two groups, by every attribute:")
    beside = Picture(unequal_drops, task.name)
    return Part(task.name, [*shown, *pictures, told, beside, _apart(run, usable)])


_EVERYONE: Final = (
    "**Everyone**: change in points [bounds], by severity; "
    + ", ".join(f"{MARKS[v][0]} {v}" for v in (EXCEEDS, WITHIN, INCONCLUSIVE))
    + "."
)


def _metric(run: Run, task: Task, row: Record) -> str:
    """The metric of the table RATES that a row of MEASURES is about."""
    if row.metric == UNEQUAL_DROP:
        return "misclassification"
    found = severities(run, task.name, row.attribute, "family_selection", row.label)
    return "selection" if found.empty else "family_selection"


def _everyone(rows: pd.DataFrame) -> list[Markdown]:
    """A table a question: corruptions by severities."""
    painted = rows[~rows["condition"].str.startswith(RENDERED)]
    shown = []
    for (metric, label), part in painted.groupby(["metric", "label"], sort=False):
        parts = part["condition"].str.rpartition(" ")
        cells = dict(zip(zip(parts[0], parts[2], strict=True), each(part), strict=True))
        what = "right labels" if metric == ACCURACY_CHANGE else f"‘{label}’"
        shown.append(
            table(
                {f"Change of {what}": name}
                | {f"at {s}": _change(cells.get((name, s))) for s in dict.fromkeys(parts[2])}
                for name in dict.fromkeys(parts[0])
            )
        )
    rendered = rows[rows["condition"].str.startswith(RENDERED)]
    return shown + ([_rendered(rendered)] if len(rendered) else [])


def _change(row: Record | None) -> str:
    """A change with its bounds and the sign of its verdict."""
    if row is None:
        return "–"
    if row.status != OK:
        return f"{row.status.replace('_', ' ')}: {row.reason}"
    ends = row.low_simultaneous, row.high_simultaneous
    return at(row, f"{in_unit(row.value, *ends, row.unit)}{NBSP}{MARKS[row.verdict][0]}")


def _rendered(rows: pd.DataFrame) -> Markdown:
    """What rendered or photographed pictures change, by subject."""
    return table(
        {
            "Taken otherwise": row.condition.removeprefix(RENDERED),
            "Pictures": f"{row.n:,}",
            "Subjects": f"{row.subjects:,}",
            "Change of": "right labels" if row.metric == ACCURACY_CHANGE else f"‘{row.label}’",
            "Change, points [bounds]": _change(row),
        }
        for row in each(rows)
    )


def _apart(run: Run, rows: pd.DataFrame) -> Markdown:
    """The surest differences of changes, with the change of both groups."""
    effects = having(run.effects, edit=CONDITION, comparison=RATE, task=rows["task"].iloc[0])
    moves = {(r.condition, r.metric, r.label, r.attribute, r.group): r for r in each(effects)}
    chosen = surest_of_each(rows).head(2 * MOST_ROWS)
    shown = table(_cells(row, moves) for row in each(chosen))
    return with_rest(shown, len(rows) - len(chosen), "differences", "measures.parquet")


def _cells(
    row: Record, moves: Mapping[tuple[str, str, str, str, str], Record]
) -> dict[str, object]:
    sides = [_moves(row, moves, group) for group in (row.group, row.other)]
    return {
        "Degradation": row.condition,
        "Change of": "right labels" if row.metric == UNEQUAL_DROP else f"‘{row.label}’",
        "Between": f"{row.group} v {row.other} ({row.attribute})",
        "Their changes": " v ".join(sides) if all(sides) else "–",
        "Points apart [bounds]": at(
            row, in_unit(row.value, row.low_simultaneous, row.high_simultaneous, row.unit)
        ),
        "By chance": by_chance(row),
        "Margin": f"{row.margin:g}",
        "Verdict": tag(row.verdict),
    }


def _moves(row: Record, moves: Mapping[tuple[str, str, str, str, str], Record], group: str) -> str:
    """How much one group's rate changes, in whole points."""
    if row.metric == UNEQUAL_DROP:
        asked = [("misclassification", "any label", -1)]
    else:
        asked = [("family_selection", row.label, 1), ("selection", row.label, 1)]
    for metric, label, sign in asked:
        found = moves.get((row.condition, metric, label, row.attribute, group))
        if found is not None and not math.isnan(found.value):
            return f"{100 * sign * found.value:+z.0f}"
    return ""


def _recipes(rows: pd.DataFrame) -> list[Block]:
    """Every degradation in full: its quantities, version and seed."""
    named = rows[(rows["attribute"] == EVERYONE) & rows["method"].str.contains("; ")]
    named = named.drop_duplicates("condition")
    if named.empty:
        return []
    cells = (
        {"Condition": at(row, row.condition), "What was done": row.method.partition("; ")[2]}
        for row in each(named)
    )
    return [Folded("Every degradation with its quantities", [table(cells)])]


def _rendered_note(rows: pd.DataFrame) -> Markdown:
    if rows["condition"].str.startswith(RENDERED).any():
        return said(
            "What was *taken otherwise* (light, angle, framing) is rendered or photographed, not "
            "painted, and held against the picture of the same subject as it is."
        )
    return Markdown(
        "All of this is painted onto finished pictures. Light and angle can be rendered instead: "
        "with `rendered:` the probe reads a manifest column. The bundled `people-counterfactual` "
        "has, in `variant`, two other lights, two angles and another framing of 28 people. None of "
        "the bundled pictures has a face that is partly hidden: occlusion is not tested."
    )


SECTION: Final = Section("robustness", probe_would("robustness"), tell)

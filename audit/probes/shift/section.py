"""Pictures from elsewhere: how much less often the model is right, and for whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Fields, Record, having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, EVERYONE, NOT_ASKED
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, said
from audit.probes.kit.cells import at, table, tag
from audit.probes.kit.changes import ACCURACY_CHANGE, UNEQUAL_DROP
from audit.probes.kit.measures_section import OUTER, by_chance, in_unit, measure_cells
from audit.probes.kit.tasks import Task, lead_attribute, tasks_of
from audit.probes.shift.figures import sources
from audit.probes.shift.rows import ACCURACY, ROBUSTNESS


def tell(run: Run) -> Sequence[Block]:
    """Every task that was asked on several sources."""
    asked = tasks_of(run, "shift")
    probes = [probe for probe in run.suite["probes"] if probe["kind"] == "shift"]
    parts = [_of_task(run, *both) for both in zip(asked, probes, strict=True)]
    return [_WHAT, *parts] if parts else ()


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, task: Task, probe: Fields) -> Part:
    rows = having(run.measures, task=task.name)
    reference = str(probe["reference"])
    lead = lead_attribute(run, task) or EVERYONE
    others = [a for a in [*task.attributes, *task.intersections] if a != lead]
    return Part(
        task.name,
        [
            said(
                "Reference: pictures with {column} {name}.", column=probe["column"], name=reference
            ),
            Picture(sources, task.name, lead, reference),
            _accuracies(rows, lead, reference),
            Markdown("Whose drop differs most:"),
            _apart(rows),
            *_robustness(rows),
            *(Folded(f"{task.name} by {a}", [_accuracies(rows, a, reference)]) for a in others),
        ],
    )


def _accuracies(rows: pd.DataFrame, attribute: str, reference: str) -> Markdown:
    """Every group's right labels in every source and its change, everyone last."""
    shown = having(rows, attribute=[attribute, EVERYONE])
    cells = {(r.metric, r.condition, r.group): r for r in each(shown)}
    conditions = list(dict.fromkeys(having(shown, metric=ACCURACY)["condition"]))
    groups = sorted(dict.fromkeys(g for _, _, g in cells if g), key=lambda g: g == EVERYONE)
    return table(
        {"Group": group}
        | {_source(c, reference): _accuracy(cells.get((ACCURACY, c, group))) for c in conditions}
        | {
            f"Change, {c} [bounds]": _change(cells.get((ACCURACY_CHANGE, c, group)))
            for c in conditions
            if c != ENSEMBLE
        }
        for group in groups
        if (ACCURACY, ENSEMBLE, group) in cells
    )


def _source(condition: str, reference: str) -> str:
    return f"{reference} (reference)" if condition == ENSEMBLE else condition


def _accuracy(row: Record | None) -> str:
    if row is None or math.isnan(row.value):
        return "–"
    few = "" if row.status == "ok" else f"; {row.status.replace('_', ' ')}"
    return at(row, f"{in_unit(row.value, row.low, row.high, row.unit)} (n = {row.n:,}{few})")


def _change(row: Record | None) -> str:
    if row is None or math.isnan(row.low_simultaneous):
        return "–" if row is None else f"{row.status.replace('_', ' ')}: {row.reason}"
    return at(row, in_unit(row.value, row.low_simultaneous, row.high_simultaneous, row.unit))


def _apart(rows: pd.DataFrame) -> Markdown:
    """The two groups of each attribute whose drops differ most, by source."""
    return table(
        {
            "Source": row.condition,
            "By": row.attribute,
            "Furthest apart": f"{row.group} v {row.other}" if row.group else "–",
        }
        | _with_chance(row)
        for row in each(having(rows, metric=UNEQUAL_DROP))
    )


def _with_chance(row: Record) -> dict[str, object]:
    """The cells of a measure; its null has one outer quantile."""
    cells = measure_cells(row)
    return {("By chance" if k == OUTER else k): v for k, v in cells.items()} | {
        "By chance": by_chance(row)
    }


def _robustness(rows: pd.DataFrame) -> list[Block]:
    """Effective robustness, or the sentence why it isn't told."""
    found = having(rows, metric=ROBUSTNESS)
    asked = found[found["status"] != NOT_ASKED]
    if asked.empty:
        reasons = dict.fromkeys(found["reason"])
        return [said("Not told: {why}.", why="; ".join(reasons))]
    told = table(
        {
            "Source": row.condition,
            "Effective robustness, points [bounds]": _change(row),
            "Verdict": tag(row.verdict),
        }
        for row in each(asked)
    )
    return [
        Markdown(
            "**Effective robustness** is how much more often the model is right on a source than "
            "the line of other models (a table from the user) has it for one as good on the "
            "reference:"
        ),
        told,
    ]


SECTION: Final = Section("robustness", "", tell)

"""What the embeddings hold beyond what the words reach: zero-shot beside a linear classifier."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, NOT_ASKED, OK, RATE, UNDEFINED, WORST
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, probe_would, said
from audit.probes.kit.cells import at, measured, table, tag
from audit.probes.kit.tasks import Task, lead_attribute
from audit.probes.kit.told import parts_of
from audit.probes.linear.figures import accuracies, by_examples, learning_curves
from audit.probes.linear.probe import ACCURACY, ALL, SPREAD_OVER_DRAWS


def tell(run: Run) -> Sequence[Block]:
    """Every task that was put to a linear probe."""
    return parts_of(run, "linear", _of_task, Part("Zero-shot beside a linear probe", [_WHAT]))


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, task: Task) -> Part:
    lead = lead_attribute(run, task) or EVERYONE
    others = [a for a in [*task.attributes, *task.intersections] if a != lead]
    untaught = [Markdown("\n".join(lines))] if (lines := list(_untaught(run, task))) else []
    folded = [Folded(f"{task.name} by {a}", [_accuracies(run, task, a)]) for a in others]
    return Part(
        task.name,
        [
            _changes(run, task),
            *untaught,
            Picture(learning_curves, task.name, lead),
            Markdown("Each cell: right labels [interval]."),
            _accuracies(run, task, lead),
            *folded,
            Folded(f"How much depends on which examples are drawn for {task.name}", [
                Markdown("Standard deviation of the share of right labels over draws, in points."),
                _spread(run, task, lead),
            ]),
        ],
    )  # fmt: skip


def _changes(run: Run, task: Task) -> Markdown:
    """Everyone's right labels, and the widest gap in errors by each attribute."""
    rows = having(run.effects, task=task.name, condition=ALL, metric="misclassification", status=OK)
    everyone = having(rows, comparison=RATE, attribute=EVERYONE)
    gaps = having(rows, comparison=WORST)
    lines = [_right(row) for row in each(everyone)] + [_gap(row) for row in each(gaps)]
    return table(lines)


def _right(row: Record) -> dict[str, object]:
    ends = -row.high_simultaneous, -row.low_simultaneous
    return {
        "What": "right labels, everyone",
        "Zero-shot": f"{percent(1 - row.before, *ends)}%",
        "Linear probe": f"{percent(1 - row.after, *ends)}%",
        "Change [bounds]": at(row, measured(-row.value, *ends)),
        "Verdict": tag(row.verdict),
    }


def _gap(row: Record) -> dict[str, object]:
    ends = row.low_simultaneous, row.high_simultaneous
    return {
        "What": f"widest gap in errors by {row.attribute}",
        "Zero-shot": f"{percent(row.before, *ends)} ({row.group} v {row.other})",
        "Linear probe": f"{percent(row.after, *ends)} ({row.group_after} v {row.other_after})",
        "Change [bounds]": at(row, measured(row.value, *ends)),
        "Verdict": tag(row.verdict),
    }


def _accuracies(run: Run, task: Task, attribute: str) -> Markdown:
    """Every group's right labels with each number of examples, everyone last."""
    everyone = accuracies(run, task.name, EVERYONE)
    rows = everyone if attribute == EVERYONE else accuracies(run, task.name, attribute)
    rows = pd.concat([rows, everyone]).drop_duplicates(["condition", "group"])
    conditions = by_examples(rows)
    cells = {(row.group, row.condition): row for row in each(rows)}
    return table(
        {"Group": group, "Pictures": f"{_most(cells, group, conditions):,}"}
        | {_examples(word): _accuracy(cells.get((group, c))) for c, word in conditions.items()}
        for group in dict.fromkeys(rows["group"])
    )


def _most(cells: dict[tuple[str, str], Record], group: str, conditions: dict[str, str]) -> int:
    return max(int(cells[group, c].n) for c in conditions if (group, c) in cells)


def _examples(word: str) -> str:
    return f"{word} example{'s' if word != '1' else ''}" if word != "zero-shot" else word


def _accuracy(row: Record | None) -> str:
    if row is None or row.status == UNDEFINED or math.isnan(row.value):
        return "–"
    few = "" if row.status == OK else f" ({row.status.replace('_', ' ')})"
    return at(row, measured(row.value, row.low, row.high, "%") + few)


def _spread(run: Run, task: Task, attribute: str) -> Markdown:
    rows = having(run.measures, task=task.name, metric=SPREAD_OVER_DRAWS)
    rows = rows[rows["attribute"].isin([attribute, EVERYONE]) & rows["value"].notna()]
    conditions = by_examples(rows)
    spread = {(r.group, r.condition): at(r, f"{100 * r.value:.1f}") for r in each(rows)}
    groups = sorted(dict.fromkeys(rows["group"]), key=lambda g: g == EVERYONE)
    return table(
        {"Group": group} | {_examples(word): spread[group, c] for c, word in conditions.items()}
        for group in groups
    )


def _untaught(run: Run, task: Task) -> Iterator[Markdown]:
    """Which labels had too few examples, by condition."""
    rows = having(run.measures, task=task.name, metric=ACCURACY, status=NOT_ASKED)
    for condition, part in rows.groupby("condition", sort=False):
        labels = ", ".join(f"‘{label}’" for label in part["label"])
        yield said(
            "- Left out of *{condition}*: {labels}: {reason}.",
            condition=str(condition).split(", draw ")[0],
            labels=labels,
            reason=part["reason"].iloc[0],
        )


SECTION: Final = Section("misclassification", probe_would("linear"), tell)

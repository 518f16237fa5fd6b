"""What mitigations change and what they cost, side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.evidence import each
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import OK
from audit.probes.kit.changes import ACCURACY_CHANGE, GAP_CHANGE
from audit.probes.kit.looks import (
    COLOURS,
    GREY,
    INK,
    MARGIN_FILL,
    MARKS,
    blank,
    drawn_from,
    legend,
    margin_patch,
    plain,
    styled,
    title,
    wrapped,
)
from audit.probes.mitigation.probe import COUNTER_LABEL

#: most gaps, and most prices, side by side
_PANELS: Final = 2


def mitigations(run: Run, attribute: str) -> Figure:
    """Change of the leading gap under each mitigation, and beside it of the share of right labels.

    One row a mitigation, one panel a task: first those whose right answer nobody knows, with the
    gap that was the widest in the teaching half, then those with truth, whose right labels are the
    price. Bounds hold for all mitigations of a task at once.

    Raises:
        InputError: nothing was mitigated for this attribute, or no change could be measured.
    """
    rows = changes_of(run, attribute)
    panels = [(task, *shown) for task, shown in _panels(rows).items()]
    if not panels:
        raise InputError(
            sentence(f"{run.name}: no change by a mitigation for '{attribute}' could be measured")
        )
    names = short_names(rows["condition"])
    with styled():
        figure = blank(1.9 + 0.42 * len(names))
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (_, heading, part) in zip(axes, panels, strict=True):
            _draw(axis, part, list(names))
            axis.set_title(wrapped(plain(heading), 78 // len(panels)), loc="left")
        axes[0].set_yticks(range(len(names)), [wrapped(plain(n), 30) for n in names.values()])
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        axes[0].set_xlabel("points, after less before", loc="left")
        level = f"{rows['level'].iloc[0]:.0%} simultaneous bounds"
        title(figure, f"What mitigations for {attribute} change, and what they cost, with {level}")
        legend(figure, _legend(pd.concat([part for _, _, part in panels])))
    drawn_from(figure, *(part for _, _, part in panels))
    return figure


def changes_of(run: Run, attribute: str) -> pd.DataFrame:
    """The rows of MEASURES that tell changes under mitigations for an attribute."""
    wanted = {
        question["task"]
        for question, probe in zip(run.questions, run.suite["probes"], strict=True)
        if probe["kind"] == "mitigation" and probe["attribute"] == attribute
    }
    rows = having(run.measures, task=wanted)
    return having(rows, metric=[ACCURACY_CHANGE, *GAP_CHANGE.values()])


def short_names(conditions: Sequence[str] | pd.Series[str]) -> dict[str, str]:
    """Conditions without what all of them share; in full where two would read alike."""
    full = list(dict.fromkeys(conditions))
    short = [re.sub(r" of [^,)]+|pairs about [^,)]+, |, least of [^)]+", "", name) for name in full]
    return dict(zip(full, short if len(set(short)) == len(full) else full, strict=True))


def _panels(rows: pd.DataFrame) -> dict[str, tuple[str, pd.DataFrame]]:
    """By task, heading and rows: gaps of tasks without truth first, then prices."""
    usable = having(rows, status=OK)
    accuracy = having(usable, metric=ACCURACY_CHANGE)
    gaps = usable[usable["metric"] != ACCURACY_CHANGE]
    untold = gaps[~gaps["task"].isin(accuracy["task"])]
    found = {}
    for task, part in list((untold if len(untold) else gaps).groupby("task", sort=False))[:_PANELS]:
        first = part.iloc[0]
        what = "errors" if first["label"] == "any label" else f"‘{first['label']}’"
        found[f"gap of {task}"] = f"Widest gap in {what} by {first['attribute']}", part
    for task, part in list(accuracy.groupby("task", sort=False))[:_PANELS]:
        found[f"price in {task}"] = f"Right labels of {str(task).split(',')[0]}", part
    return found


def _draw(axis: Axes, rows: pd.DataFrame, conditions: Sequence[str]) -> None:
    margin = rows["margin"].iloc[0]
    axis.axvspan(-margin, margin, color=MARGIN_FILL, lw=0, zorder=0)
    axis.axvline(0, color=INK, lw=0.8, zorder=1)
    by_name: dict[str, Record] = {row.condition: row for row in each(rows)}
    for y, name in enumerate(conditions):
        row = by_name.get(name)
        if row is None:
            told = "untouched" if name.startswith(COUNTER_LABEL) else "not asked"
            axis.annotate(told, (0, y), (4, 0), textcoords="offset points",
                          va="center", color=GREY, size=8)  # fmt: skip
            continue
        colour = COLOURS[row.verdict]
        axis.plot([row.low_simultaneous, row.high_simultaneous], [y, y], color=colour, lw=1.4)
        axis.plot(row.value, y, MARKS[row.verdict], color=colour, ms=6.5)
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -3 * margin), max(high, 3 * margin))
    axis.locator_params(axis="x", nbins=5)


def _legend(rows: pd.DataFrame) -> list[Artist]:
    marks = [
        Line2D([], [], color=COLOURS[v], marker=MARKS[v], ms=6, lw=1.4, label=v)
        for v in MARKS
        if (rows["verdict"] == v).any()
    ]
    margins = sorted({f"{margin:g}" for margin in rows["margin"]})
    return [*marks, margin_patch(f"less than the margin ({' or '.join(margins)} points)")]

"""Whether scores promise what they keep, by group."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.evidence import each
from audit.core.rows import Record, Row
from audit.core.rundir import Run
from audit.core.tables import OK, UNDEFINED
from audit.probes.kit.looks import (
    GREY,
    INK,
    blank,
    drawn_from,
    grey_dot,
    legend,
    many_looks,
    percent_axis,
    styled,
    title,
)
from audit.report.figures.chosen import NAMED, rows_where, shortened


def reliability_by_group(run: Run, task: str, attribute: str) -> Figure:
    """Share of right choices against mean score of every group of an attribute.

    The bar is the interval of the overconfidence, set off from the mean score, so that it crosses
    the diagonal where that interval holds 0. Of many groups the ``NAMED`` furthest off are named.

    Raises:
        InputError: the run has no scores with known answers for this task or attribute.
    """
    rows = rows_where(rows_where(run.calibration, "task", task), "attribute", attribute)
    rows = rows[rows["status"] != UNDEFINED]
    if rows.empty:
        raise InputError(sentence(f"{run.name}: no group by '{attribute}' has a known answer"))
    with styled():
        figure = blank(4.6)
        axis = figure.subplots()
        handles = []
        named = _furthest_off(rows)
        for row in each(rows):
            place = named.index(row.Index) if row.Index in named else None
            handles += _draw_reliability(axis, row, place)
        _reliability_frame(axis, rows)
        title(figure, f"{task}: scores and right choices, by {shortened(attribute)}")
        axis.grid(axis="y", visible=True)
        others = [grey_dot("every other group")] if len(named) < len(rows) else []
        legend(figure, [*handles, *others], columns=3)
    drawn_from(figure, rows)
    return figure


def _furthest_off(rows: pd.DataFrame) -> list[Record]:
    """Index of the groups to name: those large enough first, then the furthest off, in order."""
    off = rows["overconfidence"].abs().where(rows["status"] == OK, -1.0)
    return [i for i in rows.index if i in set(off.nlargest(NAMED).index)]


def _draw_reliability(axis: Axes, row: Record, place: int | None) -> list[Artist]:
    """One group's mark and bar; its line of the legend, if it is named."""
    mark, colour = ("o", GREY) if place is None else many_looks(place, NAMED)
    x = 100 * row.mean_score
    ends = [100 * (row.mean_score - row.high), 100 * (row.mean_score - row.low)]
    width = 1.0 if place is None else 1.6
    axis.plot([x, x], ends, color=colour, lw=width, alpha=0.8, gid="interval")
    look: Row = {
        "marker": mark, "ms": 4.5 if place is None else 7.5, "mec": colour,
        "mfc": colour if row.status == OK else "white",
    }  # fmt: skip
    axis.plot(x, 100 * row.accuracy, **look, ls="", gid="group", clip_on=False)
    if place is None:
        return []
    few = "" if row.status == OK else ", too few"
    told = f"{shortened(row.group, 30)} (n = {row.n:,}{few})"
    return [Line2D([], [], color=colour, **look, label=told)]


def _reliability_frame(axis: Axes, rows: pd.DataFrame) -> None:
    """Limits that hold all bars and the diagonal, the diagonal itself, and words on both sides."""
    scores = 100 * rows["mean_score"]
    middle, half = (scores.min() + scores.max()) / 2, max(4.0, 0.6 * np.ptp(scores))
    left, right = max(0.0, middle - half), min(100.0, middle + half)
    ends = pd.concat(
        [100 * rows["accuracy"], scores - 100 * rows["high"], scores - 100 * rows["low"]]
    )
    bottom, top = min(ends.min(), left), max(ends.max(), right)
    room = 0.1 * (top - bottom)
    axis.axline((left, left), slope=1, color=INK, lw=1, ls="--", gid="diagonal")
    axis.set_xlim(left, right)
    axis.set_ylim(bottom - room, top + room)
    percent_axis(axis, 8)
    axis.yaxis.set_major_formatter(axis.xaxis.get_major_formatter())
    axis.set_xlabel("mean score: how often the model expects to be right")
    axis.set_ylabel("how often it is right")
    said: Row = {
        "transform": axis.transAxes,
        "color": INK,
        "size": 9,
        "style": "italic",
    }
    axis.text(0.01, 0.98, "above the line: right more often than expected", va="top", **said)
    axis.text(0.99, 0.02, "below the line: overconfident", ha="right", **said)

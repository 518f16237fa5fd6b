"""False alarms and detections over the threshold, and against each other, by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.rows import having
from audit.core.rundir import Run
from audit.core.tables import OK
from audit.probes.alarms.rows import (
    ALARMS,
    CURVE,
    DETECTED,
    FALSE_ALARMS,
    THRESHOLD,
    threshold_of,
)
from audit.probes.kit.looks import (
    GREY,
    INK,
    MANY_MARKS,
    blank,
    draw_curves,
    drawn_from,
    legend,
    many_looks,
    plain,
    styled,
    title,
)

_TOLD: Final = {
    FALSE_ALARMS: "false alarms, of those without an event",
    DETECTED: "alarms, of those with an event",
    ALARMS: "alarms, of all",
}


def alarm_curves(run: Run, task: str, attribute: str) -> Figure:
    """Each rate over the threshold, a line a group, with bands that hold all at once.

    Raises:
        InputError: the run has no curves of this task by this attribute.
    """
    rows = _curves(run, task, attribute)
    metrics = [m for m in _TOLD if (rows["metric"] == CURVE[m]).any()]
    groups = _groups(rows)
    with styled():
        figure = blank(4.2)
        for axis, metric in zip(
            np.atleast_1d(figure.subplots(1, len(metrics), sharey=True)), metrics, strict=True
        ):
            here = having(rows, metric=CURVE[metric])
            here = here.assign(
                threshold=here["condition"].map(threshold_of),
                low=here["low_simultaneous"],
                high=here["high_simultaneous"],
            )
            draw_curves(axis, having(here, group=groups), groups, len(groups), unit=1)
            for threshold in _in_use(run, task):
                axis.axvline(threshold, color=INK, lw=1, ls=":")
            axis.set_xlabel("threshold of the score")
            if (here["threshold"] > 0).all():
                _logarithmic(axis, here["threshold"])
            axis.set_title(_TOLD[metric], loc="left")
            axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
        level = f"{rows['level'].iloc[0]:.0%} bands for all groups and thresholds"
        title(figure, f"{task}: by {attribute}, with {level}")
        legend(figure, _handles(groups, "threshold in use"), columns=4)
    drawn_from(figure, rows)
    return figure


def roc_curves(run: Run, task: str, attribute: str) -> Figure:
    """Detections against false alarms, a line a group: the price of each in the other.

    Raises:
        InputError: the run has no curves of both by this attribute.
    """
    rows = _curves(run, task, attribute)
    sides = [having(rows, metric=CURVE[m]) for m in (FALSE_ALARMS, DETECTED)]
    if any(side.empty for side in sides):
        raise InputError(sentence(f"{run.name}: '{task}' has no truth, so no detections"))
    at = ["group", "condition"]
    both = sides[0].merge(sides[1], on=at, suffixes=("", "_detected"))
    groups = [g for g in _groups(rows) if g in set(both["group"])]
    if not groups:
        raise InputError(sentence(f"{run.name}: no group by '{attribute}' has events and others"))
    with styled():
        figure = blank(4.4)
        axis = figure.subplots()
        for i, group in enumerate(groups):
            here = having(both, group=group).sort_values("value")
            mark, colour = many_looks(i, len(groups))
            x, y = 100 * here["value"], 100 * here["value_detected"]
            axis.plot(x, y, color=colour, marker=mark, ms=5, lw=1.4, gid="curve")
        axis.plot([0, 100], [0, 100], color=GREY, lw=0.8, ls="--")
        for side, name in ((axis.xaxis, FALSE_ALARMS), (axis.yaxis, DETECTED)):
            side.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
            side.set_label_text(_TOLD[name])
        title(figure, f"{task}: detections against false alarms, by {attribute}")
        legend(figure, _handles(groups, ""), columns=4)
    drawn_from(figure, *sides)
    return figure


def _curves(run: Run, task: str, attribute: str) -> pd.DataFrame:
    rows = having(run.measures, task=task, attribute=attribute, metric=CURVE.values(), status=OK)
    if rows.empty:
        raise InputError(sentence(f"{run.name}: no curves of '{task}' by '{attribute}'"))
    return rows


def _logarithmic(axis: Axes, thresholds: pd.Series[float]) -> None:
    """A log axis whose marks are plain numbers, few enough to be read."""
    axis.set_xscale("log")
    decades = np.log10(thresholds.max() / thresholds.min())
    steps = (1, 2, 5) if decades < 2 else (1,)
    if decades < 0.5:  # less than 1, 2, 5 would show
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    else:
        axis.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=6))
    axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())


def _groups(rows: pd.DataFrame) -> list[str]:
    """The groups, or the largest of them where there are more than marks."""
    sizes = rows.groupby("group", sort=False)["n"].max()
    largest = set(sizes.nlargest(len(MANY_MARKS)).index)
    return [str(g) for g in sizes.index if g in largest]


def _in_use(run: Run, task: str) -> list[float]:
    rows = having(run.measures, task=task, metric=THRESHOLD)
    return [float(v) for v in having(rows, status=OK)["value"]]


def _handles(groups: Sequence[str], line: str) -> list[Artist]:
    handles: list[Artist] = []
    for i, group in enumerate(groups):
        mark, colour = many_looks(i, len(groups))
        handles.append(Line2D([], [], color=colour, marker=mark, ms=5, label=plain(group)))
    if line:
        handles.append(Line2D([], [], color=INK, lw=1, ls=":", label=line))
    return handles

"""Figures of captions: what close captions do to each group, and what answering when sure does."""

from __future__ import annotations

from typing import Final, cast

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Row, Values, having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, EVERYONE, OK, UNDEFINED, UNKNOWN
from audit.measure.abstention import LABELLED, RIGHT, rates_in, threshold_of
from audit.probes.kit.looks import (
    BLUE,
    INK,
    MANY_MARKS,
    ORANGE,
    blank,
    draw_curves,
    drawn_from,
    legend,
    many_looks,
    percent_axis,
    plain,
    styled,
    title,
)
from audit.probes.scenes.names import WITHOUT

#: most groups named in the curves
NAMED: Final = len(MANY_MARKS)
_ERRORS: Final = "misclassification"


def stress_by_group(run: Run, task: str, attribute: str) -> Figure:
    """Share of right captions of every group without and with close captions, with intervals.

    Raises:
        InputError: no such task or attribute, or the task offered no close captions.
    """
    rows = having(run.rates, task=task, metric=_ERRORS)
    if WITHOUT not in set(rows["condition"]):
        known = having(run.rates, condition=WITHOUT)["task"].unique()
        raise InputError(
            f"{run.name}: '{task}' was offered no close captions", suggest(task, known)
        )
    rows = _of(having(rows, attribute=[attribute, EVERYONE]), attribute)
    groups = [g for g in dict.fromkeys(rows["group"]) if g != EVERYONE] + [EVERYONE]
    with styled():
        figure = blank(1.7 + 0.36 * len(groups))
        axis = figure.subplots()
        for y, group in enumerate(groups):
            _draw_stress(axis, y, having(rows, group=group).set_index("condition"))
        sizes = having(rows, condition=ENSEMBLE).set_index("group")["n"]
        names = [f"{plain(g)}  (n = {sizes[g]:,})" for g in groups]
        axis.set_yticks(range(len(groups)), names)
        axis.set_ylim(len(groups) - 0.4, -0.6)
        axis.set_xlim(-1, 101)
        percent_axis(axis, 6)
        axis.set_xlabel(f"right captions, {rows['level'].iloc[0]:.0%} intervals", loc="left")
        title(figure, f"{task}: right captions without and with close wrong ones, by {attribute}")
        legend(figure, _stress_legend())
    drawn_from(figure, rows)
    return figure


def _draw_stress(axis: Axes, y: int, rows: pd.DataFrame) -> None:
    """Both shares of one group, from the coarse question to the stressed one."""
    for condition, lift in ((WITHOUT, -0.11), (ENSEMBLE, 0.11)):
        row = cast(Values, rows.loc[condition])
        if row["status"] == UNDEFINED:
            continue
        colour, mark = (BLUE, "o") if condition == WITHOUT else (ORANGE, "^")
        right = 100 * (1 - row["value"])
        ends = [100 * (1 - row["high"]), 100 * (1 - row["low"])]
        axis.plot(ends, [y + lift] * 2, color=colour, lw=2, alpha=0.6, gid="interval")
        fill = colour if row["status"] == OK else "white"
        axis.plot(right, y + lift, mark, ms=7, mec=colour, mfc=fill, gid=condition, clip_on=False)


def _stress_legend() -> list[Artist]:
    look: Row = {"ls": "", "ms": 7}
    return [
        Line2D([], [], marker="o", color=BLUE, label="captions of other scenes alone", **look),
        Line2D([], [], marker="^", color=ORANGE, label="with close wrong captions", **look),
    ]


def abstention_curves(run: Run, task: str, attribute: str) -> Figure:
    """Share of pictures answered, and of answers that are right, as the threshold rises, by group.

    Bands are intervals; thresholds that were judged are dotted. Of many groups the ``NAMED`` whose
    share answered is furthest from the middle one are named.

    Raises:
        InputError: no such task or attribute, or nothing was withheld at any threshold.
    """
    rows = rates_in(having(run.measures, task=task))
    rows = having(rows, metric=[LABELLED, RIGHT])
    if rows.empty:
        raise InputError(sentence(f"{run.name}: no answers of '{task}' were withheld"))
    rows = _of(rows, attribute).assign(threshold=lambda t: t["condition"].map(threshold_of))
    groups = _furthest(rows)
    metrics = [m for m in (LABELLED, RIGHT) if m in set(rows["metric"])]
    with styled():
        figure = blank(4.0)
        axes = figure.subplots(1, len(metrics), sharex=True, squeeze=False)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            draw_curves(axis, having(rows, metric=metric), groups, NAMED, clip=False)
            axis.set_ylim(-2, 102)
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
            for threshold in compared_at(run, task):
                axis.axvline(100 * threshold, color=INK, lw=1, ls=":", gid="compared", zorder=1)
            axis.set_title("pictures answered" if metric == LABELLED else "of these, right")
            axis.set_xlabel("answered if the probability is at least", loc="left")
        title(figure, f"{task}: answering only when sure, by {attribute}")
        for axis in axes:
            axis.grid(axis="y", visible=True)
        legend(figure, _curves_legend(rows, groups), columns=4)
    drawn_from(figure, rows)
    return figure


def _furthest(rows: pd.DataFrame) -> list[str]:
    """The groups to name, in their order."""
    answered = having(rows, metric=LABELLED)
    middle = answered.groupby("threshold")["value"].transform("median")
    off = (answered["value"] - middle).abs().groupby(answered["group"]).max().nlargest(NAMED)
    return [group for group in dict.fromkeys(answered["group"]) if group in off.index]


def compared_at(run: Run, task: str) -> list[float]:
    """The thresholds at which the groups of a task were compared."""
    rows = having(run.measures, task=task, metric=LABELLED)
    gaps = rows.drop(rates_in(rows).index)
    return sorted({threshold_of(condition) for condition in gaps["condition"]})


def _curves_legend(rows: pd.DataFrame, groups: list[str]) -> list[Artist]:
    sizes = having(rows, metric=LABELLED).drop_duplicates("group").set_index("group")["n"]
    handles: list[Artist] = []
    for place, group in enumerate(groups):
        mark, colour = many_looks(place, NAMED)
        look: Row = {"color": colour, "marker": mark, "ms": 5, "lw": 1.4}
        handles.append(Line2D([], [], **look, label=f"{plain(group)} (n = {sizes[group]:,})"))
    dotted = Line2D([], [], color=INK, lw=1, ls=":", label="thresholds compared")
    return [*handles, dotted]


def _of(rows: pd.DataFrame, attribute: str) -> pd.DataFrame:
    """Rows by one attribute and of everyone, those of unknown group left out.

    Raises:
        InputError: there are none by this attribute.
    """
    if attribute not in set(rows["attribute"]):
        known = [a for a in dict.fromkeys(rows["attribute"]) if a != EVERYONE]
        raise InputError(f"this run has no attribute '{attribute}' here", suggest(attribute, known))
    by = rows["attribute"].isin([attribute])
    return rows[(by | (rows["attribute"] == EVERYONE)) & (rows["group"] != UNKNOWN)]

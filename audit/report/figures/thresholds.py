"""How often labels are kept that are at or above a threshold."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.rows import Values
from audit.core.rundir import Run
from audit.core.tables import OK, RATE
from audit.measure.thresholds import FAMILY_KEPT, KEPT
from audit.probes.kit.looks import (
    GREY,
    INK,
    blank,
    draw_curves,
    drawn_from,
    legend,
    many_looks,
    plain,
    styled,
    title,
    wrapped,
)
from audit.report.figures.chosen import NAMED, PANELS, rows_where, shortened


def threshold_curves(run: Run, task: str, attribute: str) -> Figure:
    """How often any label of a family is kept as the threshold on probabilities rises, by group.

    One panel a family, at most ``PANELS``; a band is the interval of a group's rate. Of many groups
    the ``NAMED`` furthest from the middle one are named; dotted are the thresholds asked about.

    Raises:
        InputError: no such task or attribute, or no tagged family of it was kept by a threshold.
    """
    rows = run.thresholds[run.thresholds["comparison"] == RATE]
    rows = rows_where(rows_where(rows, "task", task), "attribute", attribute)
    asked = sorted(rows.loc[rows["metric"] == KEPT, "threshold"].unique())
    curves = rows_where(rows_where(rows, "metric", FAMILY_KEPT), "attribute", attribute)
    families = list(dict.fromkeys(curves["label"]))[:PANELS]
    groups = _furthest_apart(curves)
    with styled():
        figure = blank(4.0)
        axes = figure.subplots(1, len(families), sharex=True, sharey=True, squeeze=False)[0]
        steps = {1: (1, 2, 5), 2: (1, 5)}.get(len(families), (1,))
        for axis, family in zip(axes, families, strict=True):
            draw_curves(axis, curves[curves["label"] == family], groups, NAMED)
            _threshold_frame(axis, curves["threshold"], asked, steps)
            axis.set_title(wrapped(f"any ‘{plain(family)}’ label", 40), loc="left")
        axes[0].set_ylabel("of pictures")
        name = shortened(attribute)
        told = "how often a label is kept that is at or above a threshold"
        title(figure, f"{task}: {told}, by {name}")
        for axis in axes:
            axis.grid(axis="y", visible=True)
        legend(figure, _curves_legend(curves, groups, len(asked)), columns=4)
    drawn_from(figure, curves[curves["label"].isin(families)])
    return figure


def _furthest_apart(rates: pd.DataFrame) -> list[str]:
    """The groups to name, in their order: those with the rates furthest from the middle one."""
    usable = rates[rates["status"] == OK]
    middle = usable.groupby(["label", "threshold"])["value"].transform("median")
    off = (usable["value"] - middle).abs().groupby(usable["group"]).max().nlargest(NAMED)
    return [group for group in dict.fromkeys(rates["group"]) if group in off.index]


def _threshold_frame(
    axis: Axes, thresholds: Values, asked: Sequence[float], steps: Sequence[int]
) -> None:
    """Both axes in per cent, the lower one by size; the thresholds asked about are dotted."""
    axis.set_xscale("log")
    axis.set_xlim(100 * thresholds.min() / 1.15, 100 * thresholds.max() * 1.15)
    axis.set_ylim(bottom=-0.02 * axis.get_ylim()[1])
    axis.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=20))
    axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
    for threshold in asked:
        axis.axvline(100 * threshold, color=INK, lw=1, ls=":", gid="asked", zorder=1)
    axis.set_xlabel("kept if the probability is at or above", loc="left")


def _curves_legend(curves: pd.DataFrame, named: Sequence[str], asked: int) -> list[Artist]:
    sizes = curves.drop_duplicates("group").set_index("group")["n"]
    handles: list[Artist] = []
    for place, group in enumerate(named):
        mark, colour = many_looks(place, NAMED)
        told = f"{shortened(group, 24)} (n = {sizes[group]:,})"
        handles.append(Line2D([], [], color=colour, marker=mark, ms=5, lw=1.4, label=told))
    usable = curves.loc[curves["status"] == OK, "group"].nunique()
    if usable > len(named):
        handles.append(Line2D([], [], color=GREY, lw=0.8, alpha=0.6, label="every other group"))
    if asked:
        dotted = "asked about" if asked == 1 else "the thresholds asked about"
        handles.append(Line2D([], [], color=INK, lw=1, ls=":", label=dotted))
    return handles

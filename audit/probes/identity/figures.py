"""Who is taken for another, and whose pictures are not held together, by group."""

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
from audit.core.tables import EVERYONE, OK, UNDEFINED
from audit.probes.identity.names import (
    ACROSS,
    DET_FMR,
    DET_FNMR,
    FMR,
    FNMR,
    FPIR,
    RANK_ONE,
    THRESHOLD,
    TPIR,
    WITHIN,
    at_target,
)
from audit.probes.kit.looks import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PINK,
    blank,
    drawn_from,
    legend,
    log_percent_axis,
    many_looks,
    plain,
    styled,
    title,
)

_COLOURS: Final = (ORANGE, BLUE, PINK, INK)
_MARKS: Final = ("o", "s", "D", "^")
#: rates below this are drawn at it: a logarithm has no zero
_FLOOR: Final = 1e-5


def error_rates(run: Run, task: str, attribute: str) -> Figure:
    """False match rate within each group, and false non-match rate, at every threshold.

    A hollow mark is a rate that is not established; a cross is the rate between this group and all
    others; the line is the rate of everyone.

    Raises:
        InputError: the run has no such task or attribute, or it is no identity probe.
    """
    rows = of_task(run, task)
    found = having(rows, attribute=attribute, metric=[FMR, FNMR])
    found = found[found["value"].notna()]
    if found.empty:
        raise InputError(sentence(f"{run.name}: no error rates of '{task}' by '{attribute}'"))
    groups, targets = groups_of(rows, attribute), targets_of(rows)
    panels = [m for m in (FMR, FNMR) if (found["metric"] == m).any()]
    with styled():
        figure = blank(1.9 + 0.32 * len(groups) * max(len(targets), 2) / 2)
        axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
        for axis, metric in zip(axes, panels, strict=True):
            _draw_rates(axis, rows, having(found, metric=metric), groups, targets)
            axis.set_xlabel(_TOLD[metric])
        axes[0].set_yticks(range(len(groups)), [plain(g) for g in groups])
        axes[0].set_ylim(len(groups) - 0.5, -0.5)
        level = f"{found['level'].iloc[0]:.0%} intervals"
        title(figure, f"{task}: wrong answers by {attribute}, with {level}")
        legend(figure, _handles(targets, found), columns=3)
    drawn_from(figure, found)
    return figure


_TOLD: Final = {
    FMR: "pairs of two people that pass for one",
    FNMR: "pairs of one person that do not pass",
}


def _draw_rates(
    axis: Axes, rows: pd.DataFrame, found: pd.DataFrame, groups: Sequence[str], targets: list[float]
) -> None:
    own = having(found, label=[WITHIN, ""])
    across = having(found, label=ACROSS)
    step = 0.62 / max(len(targets), 1)
    for t, target in enumerate(targets):
        here = having(own, condition=at_target(target))
        shift = (t - (len(targets) - 1) / 2) * step
        colour = _COLOURS[t % len(_COLOURS)]
        for row in here.itertuples():
            y, x = groups.index(str(row.group)) + shift, 100 * max(float(row.value), _FLOOR)  # type: ignore[arg-type]
            ends = [100 * max(float(v), _FLOOR) for v in (row.low, row.high)]  # type: ignore[arg-type]
            axis.plot(ends, [y, y], color=colour, lw=1.3)
            fill = colour if row.status == OK else "white"
            axis.plot(x, y, _MARKS[t % 4], color=colour, mfc=fill, ms=6)
        for y, x in _to_others(having(across, condition=at_target(target)), groups):
            axis.plot(max(x, 100 * _FLOOR), y + shift, "x", color=GREY, ms=5)
        everyone = having(
            rows, attribute=EVERYONE, condition=at_target(target), metric=found["metric"].iloc[0]
        )
        for value in everyone["value"]:
            axis.axvline(100 * max(value, _FLOOR), color=colour, lw=0.8, ls=":", zorder=0)
    if found["metric"].iloc[0] == FMR:
        axis.set_xscale("log")
        log_percent_axis(axis.xaxis)
    else:
        axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))


def _to_others(across: pd.DataFrame, groups: Sequence[str]) -> list[tuple[int, float]]:
    """Of each group, the rate of its pairs with all other groups, in percent."""
    told = []
    for i, group in enumerate(groups):
        pairs = across[(across["group"] == group) | (across["other"] == group)]
        if pairs["n"].sum():
            told.append((i, 100 * float(pairs["events"].sum() / pairs["n"].sum())))
    return told


def _handles(targets: list[float], found: pd.DataFrame) -> list[Artist]:
    marks: list[Artist] = [
        Line2D([], [], color=_COLOURS[t % 4], marker=_MARKS[t % 4], ms=6, lw=1.3,
               label=f"target false match rate {100 * target:g}%")
        for t, target in enumerate(targets)
    ]  # fmt: skip
    if (found["label"] == ACROSS).any():
        told = "with people of all other groups"
        marks.append(Line2D([], [], ls="", marker="x", ms=5, color=GREY, label=told))
    if (found["status"] != OK).any():
        told = "hollow: not established"
        marks.append(Line2D([], [], ls="", marker="o", mfc="white", color=INK, ms=6, label=told))
    marks.append(Line2D([], [], ls=":", color=INK, lw=0.8, label="everyone"))
    return marks


def det_curves(run: Run, task: str, attribute: str) -> Figure:
    """False non-match rate against false match rate within each group, one curve a group.

    A mark is at the same threshold for all groups: groups whose marks lie apart are treated
    unalike by one threshold, even where their curves agree.

    Raises:
        InputError: no group has both rates.
    """
    rows = of_task(run, task)
    curves = {
        name: curve
        for name in (*groups_of(rows, attribute), EVERYONE)
        if len(curve := _curve(rows, EVERYONE if name == EVERYONE else attribute, name))
    }
    if not curves:
        told = f"{run.name}: '{task}' by '{attribute}': no group has pairs of both kinds"
        raise InputError(sentence(told))
    targets = targets_of(rows)
    with styled():
        figure = blank(4.4)
        axis = figure.subplots()
        handles = [
            _draw_curve(axis, rows, curve, name, i, len(curves))
            for i, (name, curve) in enumerate(curves.items())
        ]
        axis.set_xscale("log")
        axis.set_xlabel("pairs of two people that pass for one")
        axis.set_ylabel("pairs of one person that do not pass")
        log_percent_axis(axis.xaxis)
        axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
        title(figure, f"{task}: the trade-off of both errors (DET) by {attribute}")
        axis.grid(visible=True)
        told = " and ".join(f"{100 * t:g}%" for t in targets)
        ring = Line2D([], [], ls="", marker="o", mfc="none", color=INK, ms=11,
                      label=f"thresholds of the targets {told}")  # fmt: skip
        legend(figure, [*handles, ring], columns=3)
    drawn_from(figure, *curves.values())
    return figure


def _curve(rows: pd.DataFrame, attribute: str, group: str) -> pd.DataFrame:
    """Both rates of a group by threshold, in percent; empty unless it has both."""
    own = having(rows, attribute=attribute, group=group)
    one, other = (
        having(own, metric=m).set_index("condition")["value"] for m in (DET_FMR, DET_FNMR)
    )
    both = pd.DataFrame({"fmr": 100 * one, "fnmr": 100 * other}).dropna()
    both["threshold"] = [float(c.split()[-1]) for c in both.index]
    return both[both["fmr"] > 0].sort_values("threshold")


def _draw_curve(
    axis: Axes, rows: pd.DataFrame, curve: pd.DataFrame, name: str, i: int, of: int
) -> Line2D:
    mark, colour = many_looks(i, of)
    colour, width = (INK, 1.8) if name == EVERYONE else (colour, 1.2)
    axis.plot(curve["fmr"], curve["fnmr"], color=colour, lw=width, marker=mark, ms=3.5)
    thresholds = having(rows, metric=THRESHOLD)["value"].dropna()
    for threshold in thresholds:
        if len(curve) > 1 and curve["threshold"].min() <= threshold <= curve["threshold"].max():
            x, y = (np.interp(threshold, curve["threshold"], curve[n]) for n in ("fmr", "fnmr"))
            axis.plot(x, y, "o", mfc="none", color=colour, ms=11)
    told = "everyone, also across groups" if name == EVERYONE else plain(name)
    return Line2D([], [], color=colour, lw=width, marker=mark, ms=4, label=told)


def of_task(run: Run, task: str) -> pd.DataFrame:
    """The measures of one task, but those of a watch list."""
    rows = having(run.measures, task=task)
    return rows[~rows["metric"].isin([FPIR, TPIR, RANK_ONE])]


def groups_of(rows: pd.DataFrame, attribute: str) -> list[str]:
    """The groups of an attribute, in their order."""
    own = having(rows, attribute=attribute, metric=FNMR)
    return [g for g in dict.fromkeys(own["group"]) if g]


def targets_of(rows: pd.DataFrame) -> list[float]:
    """The target false match rates that have a threshold, largest first."""
    own = rows[(rows["metric"] == THRESHOLD) & (rows["status"] != UNDEFINED)]
    return [float(c.split()[-1]) for c in dict.fromkeys(own["condition"])]

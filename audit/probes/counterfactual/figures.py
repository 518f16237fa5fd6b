"""Figures of counterfactual pictures: what each change does, beside how large a change it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.arrays import Floats
from audit.core.errors import InputError, sentence
from audit.core.evidence import each
from audit.core.registry import suggest
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import OK
from audit.probes.counterfactual.names import (
    COLOUR,
    DEMOGRAPHIC,
    DISTANCE,
    FLIPS,
    NUISANCE,
    POOLED,
    SIZE,
    STEP,
    WHOLE_PICTURE,
)
from audit.probes.kit.looks import (
    BLUE,
    MARGIN_FILL,
    ORANGE,
    blank,
    drawn_from,
    legend,
    margin_patch,
    percent_axis,
    plain,
    styled,
    title,
    wrapped,
)

#: labels in the figure of changes by distance
LABELS: Final = 4
#: kinds of change named in each of its panels: those that move the label furthest
NAMED: Final = 4
_LOOKS: Final = {DEMOGRAPHIC: ("s", ORANGE), NUISANCE: ("o", BLUE)}


def of_counterfactual(run: Run, task: str) -> pd.DataFrame:
    """Rows of MEASURES of a counterfactual task.

    Raises:
        InputError: the run has no such task with measures.
    """
    rows = having(run.measures, probe="counterfactual")
    found = having(rows, task=task)
    if found.empty:
        told = f"{run.name}: no families of pictures were compared for '{task}'"
        raise InputError(told, suggest(task, rows["task"].unique()))
    return found


def kinds_of(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Every kind of change with its role, demographic first, all nuisances before each."""
    flips = rows[(rows["metric"] == FLIPS) & (rows["condition"] != "")]
    found = list(zip(flips["group"], flips["condition"], strict=True))
    order = {DEMOGRAPHIC: 0, NUISANCE: 1}
    return sorted(found, key=lambda kind: (order[kind[1]], kind[0] != POOLED))


def row_of(rows: pd.DataFrame, metric: str, kind: str, label: str = "", where: str = "") -> Any:
    """The one row of a kind of change, columns as attributes; None where there is none."""
    found = having(rows, metric=metric, group=kind, label=label)
    roles = [f"{role}, {where}" if where else role for role in (DEMOGRAPHIC, NUISANCE)]
    found = having(found, condition=roles)
    return next(iter(each(found)), None)


def what_each_change_does(run: Run, task: str) -> Figure:
    """Flip rate and mean size of the score's change by what was changed, with their distance.

    Bars are simultaneous bounds. Demographic changes are squares, nuisances circles; the third
    panel says how far the changed pictures are from their originals, since a larger change moves
    more whatever it is of.

    Raises:
        InputError: no such task, or no family could be compared.
    """
    rows = of_counterfactual(run, task)
    kinds = kinds_of(rows)
    if not kinds:
        raise InputError(sentence(f"{run.name}: no family of '{task}' could be compared"))
    with styled():
        figure = blank(1.7 + 0.36 * len(kinds))
        axes = figure.subplots(1, 3, sharey=True, gridspec_kw={"width_ratios": [4, 4, 3]})
        for axis, metric in zip(axes, (FLIPS, SIZE, DISTANCE), strict=True):
            for y, (kind, role) in enumerate(kinds):
                _draw(axis, y, row_of(rows, metric, kind), role)
            axis.set_xlim(left=0)
            axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        _limit(axes[1], rows, SIZE)
        _limit(axes[2], rows, DISTANCE)
        percent_axis(axes[0], 4)
        axes[0].set_xlabel("choices that change", loc="left")
        axes[1].set_xlabel("how far scores move (cosine)", loc="left")
        axes[2].set_xlabel("distance (1 − cosine)", loc="left")
        _name(axes, rows, kinds)
        level = f"{rows['level'].iloc[0]:.0%} bounds for all changes at once"
        title(figure, f"{task}: what each change does, and how large a change it is; {level}")
        legend(figure, _handles(kinds))
    drawn_from(figure, having(rows, metric=[FLIPS, SIZE, DISTANCE], label=""))
    return figure


def _draw(axis: Axes, y: int, row: Record, role: str) -> None:
    if row is None or math.isnan(row.value):
        return
    scale = 100 if row.metric == FLIPS else 1
    mark, colour = _LOOKS[role]
    if not math.isnan(row.low_simultaneous):
        ends = [scale * max(row.low_simultaneous, 0), scale * row.high_simultaneous]
        axis.plot(ends, [y, y], color=colour, lw=1.6, gid="interval")
    fill = "white" if row.group == POOLED else colour
    axis.plot(scale * row.value, y, mark, ms=6, mfc=fill, mec=colour, gid="value")


def _limit(axis: Axes, rows: pd.DataFrame, metric: str) -> None:
    """Not so wide that one change whose bounds are loose hides all others."""
    shown = having(rows, metric=metric, label="")
    most = float(shown["value"].max())
    bounds = float(shown["high_simultaneous"].max())
    axis.set_xlim(0, 1.08 * min(bounds, 3 * most) if bounds > 0 else None)


def _name(axes: Sequence[Axes], rows: pd.DataFrame, kinds: Sequence[tuple[str, str]]) -> None:
    """Kinds at the left with their step below; a line between demographic and nuisance."""
    axes[0].set_yticks(range(len(kinds)), [_named(rows, kind, role) for kind, role in kinds])
    axes[0].set_ylim(len(kinds) - 0.5, -0.5)
    for tick in axes[0].get_yticklabels():
        tick.set(size=9, linespacing=1.05)
    first = sum(role == DEMOGRAPHIC for _, role in kinds)
    for axis in axes:
        axis.axhline(first - 0.5, color="#BBBBBB", lw=0.9, zorder=0)


def _named(rows: pd.DataFrame, kind: str, role: str) -> str:
    row = row_of(rows, FLIPS, kind)
    who = kind.replace("_", " ")
    who = f"{who} ({role})" if kind != POOLED else "all nuisances together"
    step, colour = row_of(rows, STEP, kind), row_of(rows, COLOUR, kind, where=WHOLE_PICTURE)
    told = [f"n = {row.n}"]
    if step is not None and step.status == OK:
        told.append(f"step {step.value:.3g}")
    if colour is not None and not math.isnan(colour.value):
        told.append(f"colour {colour.value:.2g}")
    return plain(f"{who}\n{', '.join(told)}")


def _handles(kinds: Sequence[tuple[str, str]]) -> list[Artist]:
    told = {DEMOGRAPHIC: "demographic: who is shown", NUISANCE: "nuisance: nothing of the person"}
    return [
        Line2D([], [], color=colour, marker=mark, ms=6, lw=1.6, label=told[role])
        for role, (mark, colour) in _LOOKS.items()
        if any(role == there for _, there in kinds)
    ]


def moved_labels(rows: pd.DataFrame, most: int = LABELS) -> list[str]:
    """The labels that some kind of change moves furthest on average, the furthest first."""
    sizes = rows[_told(rows)]
    furthest = (sizes["value"] / sizes["margin"]).groupby(sizes["label"], sort=False).max()
    found = furthest.sort_values(ascending=False, kind="stable")
    return [str(label) for label in found.index[:most]]


def _told(rows: pd.DataFrame) -> pd.Series[bool]:
    """Sizes of changes of single labels by single kinds of change."""
    usable = (rows["metric"] == SIZE) & (rows["status"] == OK)
    return usable & (rows["label"] != "") & (rows["group"] != POOLED)


def change_by_distance(run: Run, task: str) -> Figure:
    """How far each kind of change moves a label, by how far it moves the picture's embedding.

    One panel a label, those that are moved furthest; bars are simultaneous bounds. The
    distance is drawn as its root, on which a change of the score that is in proportion to the move
    of the embedding lies on a line through the origin.

    Raises:
        InputError: no such task, or no label's change could be told.
    """
    rows = of_counterfactual(run, task)
    labels = moved_labels(rows)
    if not labels:
        raise InputError(sentence(f"{run.name}: no change of a score of '{task}' could be told"))
    kinds = [kind for kind in kinds_of(rows) if kind[0] != POOLED]
    with styled():
        across = min(2, len(labels))
        down = math.ceil(len(labels) / across)
        figure = blank(1.2 + 2.3 * down)
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).reshape(-1)
        for axis in axes[len(labels) :]:
            axis.set_axis_off()
        for axis, label in zip(axes, labels, strict=False):
            _scatter(axis, rows, label, kinds)
        title(figure, f"{task}: how far each change moves a label, by how far it moves the picture")
        for i, axis in enumerate(axes[: len(labels)]):
            axis.grid(axis="y", visible=True)
            if i + across >= len(labels):
                axis.set_xlabel("distance in the embedding (1 − cosine)", loc="left")
                axis.tick_params(axis="x", labelbottom=True)
        for axis in axes[::across]:
            axis.set_ylabel("scores move by (cosine)")
        legend(figure, [*_handles(kinds), margin_patch("below the margin")])
    drawn_from(figure, having(rows, metric=[SIZE, DISTANCE], label=["", *labels]))
    return figure


def _scatter(axis: Axes, rows: pd.DataFrame, label: str, kinds: Sequence[tuple[str, str]]) -> None:
    at = [
        (row_of(rows, DISTANCE, kind), row_of(rows, SIZE, kind, label), role)
        for kind, role in kinds
    ]
    shown = [one for one in at if not math.isnan(one[0].value + one[1].value)]
    margin, top = shown[0][1].margin, rows.loc[_told(rows), "value"].max()
    axis.axhspan(0, margin, color=MARGIN_FILL, lw=0, zorder=0)
    axis.set_xscale("function", functions=(_root, np.square))
    for distance, size, role in shown:
        mark, colour = _LOOKS[role]
        ends = [max(size.low_simultaneous, 0), size.high_simultaneous]
        axis.plot([distance.value] * 2, ends, color=colour, lw=1.2, alpha=0.8, gid="interval")
        axis.plot(distance.value, size.value, mark, ms=5.5, color=colour, gid="value")
    axis.set_ylim(0, 1.35 * top)
    axis.set_xlim(0, 1.25 * max(distance.value for distance, _, _ in shown))
    axis.xaxis.set_major_locator(mpl.ticker.FixedLocator(_ticks(axis.get_xlim()[1])))
    axis.set_title(wrapped(plain(f"‘{label}’"), 46), loc="left")
    _name_furthest(axis, shown)


def _name_furthest(axis: Axes, shown: Sequence[tuple[Record, Record, str]]) -> None:
    """Names beside the points that lie highest, where there is room for one."""
    wide, high = math.sqrt(axis.get_xlim()[1]), axis.get_ylim()[1]
    taken: list[tuple[float, float]] = []
    for distance, size, _ in sorted(shown, key=lambda one: -one[1].value)[:NAMED]:
        at = math.sqrt(max(distance.value, 0)) / wide, size.value / high
        if all(abs(at[0] - x) > 0.3 or abs(at[1] - y) > 0.09 for x, y in taken):
            right = at[0] > 0.8
            axis.annotate(
                plain(size.group.replace("_", " ")), (distance.value, size.value), size=9,
                xytext=(-6 if right else 6, 2), textcoords="offset points",
                ha="right" if right else "left",
            )  # fmt: skip
            taken.append(at)


def _root(x: Floats) -> Floats:
    return np.sqrt(np.maximum(x, 0))


def _ticks(most: float) -> list[float]:
    """Four round distances whose roots are about evenly spaced."""
    wanted = most * np.array([1, 4, 9, 16]) / 17
    return [float(f"{x:.1g}") for x in wanted]

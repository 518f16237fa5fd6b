"""What poor footage or another source of pictures costs, group by group."""

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
from matplotlib.patches import Rectangle

from audit.core.errors import InputError, sentence
from audit.core.rows import Record, Row, having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, OK, UNKNOWN
from audit.probes.kit.changes import UNEQUAL_CHANGE, UNEQUAL_DROP
from audit.probes.kit.looks import (
    GREY,
    MARGIN_FILL,
    PINK,
    beside_handles,
    blank,
    draw_judged,
    drawn_from,
    grey_dot,
    legend,
    many_looks,
    plain,
    styled,
    title,
    verdict_handles,
    wrapped,
)

#: panels side by side, and most groups with a mark of their own
_ACROSS: Final = 4
_NAMED: Final = 6
#: differences of drops shown of each attribute, and most in one figure
_EACH: Final = 3
ROWS: Final = 12
_WRONG: Final = "misclassification"
_PLAIN: Final = "plain"


def falls(run: Run, task: str, attribute: str, metric: str, label: str) -> Figure:
    """A rate against the severity of each corruption, one line a group with intervals.

    Of errors the share of right labels is drawn. The left end is the plain camera. Of many groups
    the ``_NAMED`` that move most unequally under some corruption are named, the others are grey.

    Raises:
        InputError: the run has no such rates on degraded pictures.
    """
    rows = severities(run, task, attribute, metric, label)
    if rows.empty:
        raise InputError(
            sentence(f"{run.name}: no degraded pictures of '{task}' were counted by '{attribute}'")
        )
    kinds = list(dict.fromkeys(rows["corruption"]))
    groups, named = list(dict.fromkeys(rows["group"])), _most_unequal(rows)
    down = -(-len(kinds) // _ACROSS)
    with styled():
        figure = blank(1.1 + 1.95 * down)
        axes = figure.subplots(down, _ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, kind in zip(axes, kinds, strict=False):
            _draw_falls(axis, having(rows, corruption=kind), groups, named)
            axis.set_title(plain(kind), loc="left")
        for axis in axes[len(kinds) :]:
            axis.set_visible(False)
        _severity_axis(axes[0], sorted(rows["severity"].unique()))
        axes[_ACROSS * (down - 1)].set_xlabel("severity", loc="left")
        level = f"{rows['level'].iloc[0]:.0%} intervals"
        title(figure, f"{task}: {_counted(metric, label)} by {attribute}, with {level}")
        for axis in axes:
            axis.grid(axis="y", visible=True)
            axis.grid(axis="x", visible=False)
        legend(figure, _groups_legend(rows, groups, named), columns=4)
    drawn_from(figure, rows)
    return figure


def severities(run: Run, task: str, attribute: str, metric: str, label: str) -> pd.DataFrame:
    """Rates on degraded pictures with ``corruption`` and ``severity``; 0 is the plain camera."""
    rates = having(run.rates, task=task, attribute=attribute, metric=metric, status=OK)
    rates = rates[(rates["group"] != UNKNOWN) & ((rates["label"] == label) | (metric == _WRONG))]
    if rates.empty:
        return rates
    if metric == _WRONG:
        rates = rates.assign(value=1 - rates["value"], low=1 - rates["high"], high=1 - rates["low"])
    parts = rates["condition"].str.rpartition(" ")
    painted = rates[parts[2].str.isdigit()].assign(
        corruption=parts[0], severity=pd.to_numeric(parts[2], errors="coerce")
    )
    painted = painted[painted["corruption"].notna()]
    kinds = painted["corruption"].unique()
    unaltered = having(rates, condition=ENSEMBLE).assign(severity=0.0)
    starts = [unaltered.assign(corruption=kind) for kind in kinds]
    return pd.concat([*starts, painted]) if starts else painted


def _counted(metric: str, label: str) -> str:
    if metric == _WRONG:
        return "right labels"
    return f"any ‘{label}’ label" if metric == "family_selection" else f"choices of ‘{label}’"


def _most_unequal(rows: pd.DataFrame) -> list[str]:
    """The groups that rise and that fall most against the others, in the order of the rates."""
    groups = list(dict.fromkeys(rows["group"]))
    if len(groups) <= _NAMED:
        return groups
    start = having(rows, severity=0).drop_duplicates("group").set_index("group")["value"]
    moved = rows.assign(change=rows["value"] - rows["group"].map(start))
    middle = moved.groupby(["corruption", "severity"])["change"].transform("median")
    apart = (moved["change"] - middle).abs().groupby(moved["group"]).max()
    most = set(apart.sort_values(ascending=False).index[:_NAMED])
    return [group for group in groups if group in most]


def _draw_falls(
    axis: Axes, rows: pd.DataFrame, groups: Sequence[str], named: Sequence[str]
) -> None:
    """Every group's line through one corruption."""
    steps = {s: x for x, s in enumerate(sorted(rows["severity"].unique()))}
    for group in sorted(groups, key=lambda g: g in named):
        one = having(rows, group=group).sort_values("severity")
        x = one["severity"].map(steps).to_numpy(float)
        y, low, high = (100 * one[name].to_numpy(float) for name in ("value", "low", "high"))
        if group not in named:
            axis.plot(x, y, color=GREY, lw=0.8, alpha=0.6, gid="other group")
            continue
        i = named.index(group)
        mark, colour = many_looks(i, len(named))
        x = x + 0.07 * (i - (len(named) - 1) / 2)
        axis.vlines(x, low, high, color=colour, lw=1.1)
        axis.plot(x, y, color=colour, marker=mark, ms=4.5, lw=1.2, gid="group")


def _severity_axis(axis: Axes, severities: Sequence[float]) -> None:
    names = [_PLAIN if s == 0 else f"{s:g}" for s in severities]
    axis.set_xticks(range(len(severities)), names)
    axis.set_ylim(bottom=-0.04 * axis.get_ylim()[1])
    axis.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))


def _groups_legend(rows: pd.DataFrame, groups: Sequence[str], named: Sequence[str]) -> list[Artist]:
    n = having(rows, severity=0).groupby("group")["n"].max()
    handles: list[Artist] = []
    for i, group in enumerate(named):
        mark, colour = many_looks(i, len(named))
        told = plain(f"{group}  (n = {n[group]:,})")
        handles.append(Line2D([], [], color=colour, marker=mark, ms=4.5, lw=1.2, label=told))
    return handles + ([grey_dot("every other group")] if len(named) < len(groups) else [])


def unequal_drops(run: Run, task: str) -> Figure:
    """How far apart degradations drive two groups, with bounds, beside chance and the margin.

    The ``_EACH`` surest of every attribute, ``ROWS`` at most. Under each value is what it would be
    if whole subjects were dealt to the groups by chance: from the mean to the quantile at the
    suite's level.

    Raises:
        InputError: no two groups of this task could be compared on degraded pictures.
    """
    usable = differences(run, task)
    if usable.empty:
        told = f"{run.name}: no two groups were compared on degraded pictures of '{task}'"
        raise InputError(sentence(told))
    chosen = surest_of_each(usable).head(ROWS)
    with styled():
        figure = blank(1.5 + 0.46 * len(chosen))
        axis = figure.subplots()
        for y, row in enumerate(chosen.itertuples()):
            _draw_difference(axis, y, row)
        names = [wrapped(plain(_difference_name(row)), 46) for row in chosen.itertuples()]
        axis.set_yticks(range(len(chosen)), names)
        axis.set_ylim(len(chosen) - 0.4, -0.6)
        axis.set_xlim(left=0)
        level = f"{chosen['level'].iloc[0]:.0%}"
        axis.set_xlabel(f"points apart, {level} simultaneous bounds", loc="left")
        some = f", {len(chosen)} of {len(usable)}" if len(chosen) < len(usable) else ""
        title(figure, f"{task}: how far apart degradations move two groups{some}")
        legend(figure, [*verdict_handles(chosen), *beside_handles(chosen)])
    drawn_from(figure, chosen)
    return figure


def differences(run: Run, task: str) -> pd.DataFrame:
    """Every difference of drops or changes between two groups of a task, the surest first.

    Grouped by what was asked, a model that falls back on one answer is all there is to see: these
    have ``itself`` and come last.
    """
    rows = having(
        run.measures,
        task=task,
        probe="robustness",
        metric=[UNEQUAL_DROP, UNEQUAL_CHANGE],
        status=OK,
    )
    asked = [
        s.get("attribute") for q in run.questions if q["task"] == task for s in q["label_sets"]
    ]
    order = ["itself", "low_simultaneous", "value"]
    return rows.assign(itself=rows["attribute"].isin(asked)).sort_values(
        order, ascending=[True, False, False], kind="stable"
    )


def surest_of_each(rows: pd.DataFrame) -> pd.DataFrame:
    """The first ``_EACH`` of every attribute, attributes by their first row here."""
    place = {name: i for i, name in enumerate(dict.fromkeys(rows["attribute"]))}
    chosen = rows.groupby("attribute", sort=False).head(_EACH)
    return chosen.sort_values("attribute", kind="stable", key=lambda names: names.map(place))


def _draw_difference(axis: Axes, y: int, row: Record) -> None:
    """A verdict's mark with bounds on the margin's band; under it the null, from its mean on."""
    band = (0, y - 0.51), row.margin, 1.02
    axis.add_patch(Rectangle(*band, color=MARGIN_FILL, lw=0, zorder=0))
    draw_judged(axis, y, row, "difference", clip=False)
    if np.isnan(row.null_mean):
        return
    chance: Row = {"color": PINK, "clip_on": False}
    axis.plot([row.null_mean, row.null_high], [y + 0.3] * 2, lw=3, alpha=0.65, gid="null", **chance)
    axis.plot(row.null_mean, y + 0.3, "|", ms=7, mew=1.8, gid="null mean", **chance)


def _difference_name(row: Record) -> str:
    what = f", ‘{row.label}’" if row.label else ""
    return f"{row.condition}{what}: {row.group} v {row.other} ({row.attribute})"

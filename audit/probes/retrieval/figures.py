"""Figures of retrieval: skews beside a ranking by lot, and who is at the top of single queries."""

from __future__ import annotations

import re
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
from audit.core.evidence import each
from audit.core.registry import suggest
from audit.core.rows import Record, Values, having
from audit.core.rundir import Run
from audit.core.tables import INCONCLUSIVE, NOT_JUDGED, OK
from audit.probes.kit.looks import (
    BLUE,
    COLOURS,
    GREY,
    INK,
    MARGIN_FILL,
    MARKS,
    PINK,
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
from audit.probes.retrieval.names import PRECISION_AT_K, RECALL_AT_K

#: most queries in one figure, and most groups of each
QUERIES: Final = 4
GROUPS: Final = 8
#: what the mean over queries is drawn of, left to right, and whether a target enters it
_PANELS: Final = {
    "max_skew": ("MaxSkew; 0 on target", True),
    "ndkl": ("NDKL; 0 on target", True),
    "entropy": ("entropy; 1 if shares are equal", False),
}
_DEPTH: Final = re.compile(r"(top (\d+)|whole list)(?:, target (.*))?")


def of_retrieval(run: Run, task: str) -> pd.DataFrame:
    """Rows of MEASURES of a retrieval task, but those of relevance, with what the condition says.

    ``depth``: 'top 10' or 'whole list', ``k`` the places of it, ``target``.

    Raises:
        InputError: the run has no such task with measures.
    """
    rows = having(run.measures, task=task, probe="retrieval")
    rows = rows[~rows["metric"].isin([RECALL_AT_K, PRECISION_AT_K])]
    if rows.empty:
        known = having(run.measures, probe="retrieval")["task"].unique()
        raise InputError(f"{run.name}: no pictures were ranked for '{task}'", suggest(task, known))
    said = rows["condition"].str.extract(_DEPTH)
    k = said[1].astype(float).fillna(rows["n"]).astype(int)
    return rows.assign(depth=said[0], k=k, target=said[2].fillna(""))


def skews_beside_chance(run: Run, task: str, target: str) -> Figure:
    """The mean over queries of MaxSkew, NDKL and entropy of every attribute at every depth.

    Under each value is what a ranking by lot gives: its mean, and from its 5 % to its 95 % quantile
    (at the suite's level). The bar is bounds of the mean, where there are any; the band the margin.

    Raises:
        InputError: no such task or target, or no attribute of it could be looked at.
    """
    rows = of_retrieval(run, task)
    means = having(rows, label="", status=OK, target=["", target])
    if not (means["target"] == target).any():
        known = sorted({*rows["target"]} - {""})
        told = f"{run.name}: '{task}' was not held against the target '{target}'"
        raise InputError(told, suggest(target, known), f"It has {', '.join(known)}")
    means = means.sort_values(["attribute", "k"], key=_in_order, kind="stable")
    places = list(dict.fromkeys(zip(means["attribute"], means["depth"], strict=True)))
    with styled():
        figure = blank(1.7 + 0.27 * len(places))
        axes = figure.subplots(1, len(_PANELS), sharey=True)
        for axis, (metric, (name, aimed)) in zip(axes, _PANELS.items(), strict=True):
            part = means[(means["metric"] == metric) & ((means["target"] != "") == aimed)]
            for row in each(part):
                _draw_mean(axis, places.index((row.attribute, row.depth)), row)
            axis.set_xlabel(name, loc="left")
            axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axes[0].set_xlim(left=0)
        axes[1].set_xlim(left=0)
        _name_places(axes, places)
        title(figure, f"{task}: the top beside a ranking by lot; {_aim(target)}")
        legend(figure, _means_legend(means), columns=3)
    drawn_from(figure, means)
    return figure


def _draw_mean(axis: Axes, y: int, row: Record) -> None:
    if not np.isnan(row.margin):
        band = (0, y - 0.5), row.margin, 1
        axis.add_patch(Rectangle(*band, color=MARGIN_FILL, lw=0, zorder=0))
    if not np.isnan(row.low_simultaneous):
        ends = [row.low_simultaneous, row.high_simultaneous]
        axis.plot(ends, [y - 0.12] * 2, color=_colour(row), lw=1.6, gid="interval")
    if not np.isnan(row.null_mean):
        ends = [row.null_low, row.null_high]
        axis.plot(ends, [y + 0.2] * 2, color=PINK, lw=3, alpha=0.65, gid="null")
        axis.plot(row.null_mean, y + 0.2, "|", ms=7, mew=1.8, color=PINK, gid="null mean")
    mark = MARKS.get(row.verdict, "s")
    fill = "white" if row.verdict == INCONCLUSIVE else _colour(row)
    axis.plot(row.value, y - 0.12, mark, ms=5.5, mfc=fill, mec=_colour(row), gid="value")


def _colour(row: Record) -> str:
    return COLOURS.get(row.verdict, INK)


def _in_order(column: Values) -> Values:
    """Attributes in the order of the run."""
    if column.name == "k":
        return column
    return column.map({name: i for i, name in enumerate(column.unique())})


def _name_places(axes: Sequence[Axes], places: list[tuple[str, str]]) -> None:
    """Attribute and depth at the left, and a line between attributes."""
    names = [
        f"{plain(attribute) if i == 0 or places[i - 1][0] != attribute else ''}   {depth}"
        for i, (attribute, depth) in enumerate(places)
    ]
    axes[0].set_yticks(range(len(places)), names)
    axes[0].set_ylim(len(places) - 0.5, -0.5)
    for axis in axes:
        for i in range(1, len(places)):
            if places[i][0] != places[i - 1][0]:
                axis.axhline(i - 0.5, color="#E2E2E2", lw=0.8, zorder=0)


def _aim(target: str) -> str:
    told = {"uniform": "target: equal shares", "dataset": "target: the groups' shares of pictures"}
    return told.get(target, f"target: {target}")


def _means_legend(means: pd.DataFrame) -> list[Artist]:
    judged = [v for v in MARKS if v in set(having(means, metric="max_skew")["verdict"])]
    marks = [
        Line2D([], [], color=COLOURS[v], marker=MARKS[v], ms=6,
               mfc="white" if v == INCONCLUSIVE else COLOURS[v], label=f"{v}, with bounds")
        for v in judged
    ]  # fmt: skip
    if NOT_JUDGED in set(means["verdict"]):
        marks.append(Line2D([], [], ls="", marker="s", ms=5.5, color=INK, label="no bounds"))
    margin = means["margin"].max()
    band = margin_patch(f"below the margin ({np.exp(margin):.3g} times)")
    return [*marks, _chance_handle(means), band]


def _chance_handle(rows: pd.DataFrame) -> Line2D:
    level = rows["level"].iloc[0]
    text = f"a ranking by lot: mean, {1 - level:.0%} to {level:.0%}"
    return Line2D([], [], color=PINK, lw=3, alpha=0.65, label=text)


def surest(rows: pd.DataFrame, most: int = QUERIES) -> pd.DataFrame:
    """The queries whose skew at the largest depth is surest, each once an attribute, surest first.

    ``rows`` are those of :func:`of_retrieval`. Intersections are left out: their attributes show
    the same.
    """
    skews = rows[(rows["metric"] == "max_skew") & (rows["label"] != "") & (rows["status"] == OK)]
    skews = having(skews, k=skews["k"].max())
    single = skews[~skews["attribute"].str.contains(" x ", regex=False)]
    ranked = single.sort_values(["low_simultaneous", "excess"], ascending=False, kind="stable")
    each_once: pd.DataFrame = ranked.drop_duplicates(["label", "attribute"])
    return each_once.head(most)


def who_is_at_the_top(run: Run, task: str) -> Figure:
    """Each group's share of the top of the queries whose skew is surest, one panel a query.

    Bounds hold for all queries of the task and all groups of the attribute at once. Under each is
    what a ranking by lot gives. Of many groups those furthest from it are shown.

    Raises:
        InputError: no such task, or no query of it could be looked at.
    """
    rows = of_retrieval(run, task)
    queries = surest(rows)
    if queries.empty:
        raise InputError(sentence(f"{run.name}: no query of '{task}' could be looked at"))
    shares = [_shares(rows, query) for query in each(queries)]
    pairs = [shares[i : i + 2] for i in range(0, len(shares), 2)]
    heights = [max(map(len, pair)) + 1.5 for pair in pairs]
    with styled():
        figure = blank(1.2 + 0.27 * sum(heights))
        axes = figure.subplots(
            len(pairs), min(2, len(shares)), sharex=True, squeeze=False,
            gridspec_kw={"height_ratios": heights},
        ).reshape(-1)  # fmt: skip
        for axis, part, query in zip(axes, shares, each(queries), strict=False):
            _draw_shares(axis, part, query)
        for axis in axes[len(shares) :]:
            axis.set_visible(False)
        percent_axis(axes[0], 5)
        depth = int(queries["k"].iloc[0])
        title(figure, f"{task}: who is in the top {depth}, for the queries of the surest skew")
        legend(figure, [_share_handle(queries), _chance_handle(queries)])
    drawn_from(figure, *shares)
    return figure


def _shares(rows: pd.DataFrame, query: Record) -> pd.DataFrame:
    """Shares of the top of one query, of at most ``GROUPS`` groups in their order."""
    same = (rows["label"] == query.label) & (rows["attribute"] == query.attribute)
    shares = rows[same & (rows["metric"] == "share") & (rows["k"] == query.k)]
    away = (shares["value"] - shares["null_mean"].fillna(1 / len(shares))).abs()
    shown: pd.DataFrame = shares[shares.index.isin(away.nlargest(GROUPS).index)]
    return shown.assign(of=len(shares))


def _draw_shares(axis: Axes, shares: pd.DataFrame, query: Record) -> None:
    for y, row in enumerate(each(shares)):
        ends = [100 * row.low_simultaneous, 100 * row.high_simultaneous]
        axis.plot(ends, [y - 0.12] * 2, color=BLUE, lw=1.6, gid="interval")
        axis.plot(100 * row.value, y - 0.12, "o", ms=5.5, color=BLUE, gid="share", clip_on=False)
        chance = [100 * row.null_low, 100 * row.null_high]
        axis.plot(chance, [y + 0.2] * 2, color=PINK, lw=3, alpha=0.65, gid="null")
        axis.plot(100 * row.null_mean, y + 0.2, "|", ms=7, mew=1.8, color=PINK, gid="null mean")
    axis.set_yticks(range(len(shares)), [plain(name) for name in shares["group"]])
    axis.set_ylim(len(shares) - 0.5, -0.6)
    axis.set_xlim(0, 102)
    of = int(shares["of"].iloc[0])
    some = f", {len(shares)} of {of} groups" if of > len(shares) else ""
    axis.set_title(wrapped(plain(f"‘{query.label}’ by {query.attribute}{some}"), 46), loc="left")
    axis.tick_params(axis="x", labelbottom=True, labelcolor=GREY)


def _share_handle(queries: pd.DataFrame) -> Line2D:
    of, level = int(queries["family_size"].iloc[0]), queries["level"].iloc[0]
    text = f"share of the top, {level:.0%} bounds over all groups and {of} queries"
    return Line2D([], [], color=BLUE, marker="o", ms=5.5, label=text)

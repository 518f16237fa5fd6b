"""What dropping, adding or swapping a label does."""

from __future__ import annotations

from typing import Final

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from audit.core.digits import percent
from audit.core.errors import InputError, sentence
from audit.core.evidence import each
from audit.core.rows import Record, Row
from audit.core.rundir import Run
from audit.core.tables import ADD, DROP, EVERYONE, NOT_ASKED, RATE, SWAP, UNKNOWN
from audit.probes.kit.looks import (
    GREY,
    INK,
    MARGIN_FILL,
    blank,
    draw_judged,
    drawn_from,
    legend,
    margin_patch,
    styled,
    title,
    verdict_handles,
)
from audit.report.figures.chosen import EDITS, minus, shortened
from audit.report.figures.rates import asked_name


def label_effects(run: Run, task: str) -> Figure:
    """What dropping, adding or swapping one label changes, where it changes most; and for everyone.

    One row an edit and question, at most ``EDITS``: the group whose rate surely changes most, with
    bounds that hold for all edits and groups of its attribute at once; under it, thin, everyone.

    Raises:
        InputError: no such task, or no label of it was dropped, added or swapped.
    """
    changes = leading_effects(run, task)
    if changes.empty:
        raise InputError(
            sentence(f"{run.name}: no label of '{task}' was dropped, added or swapped")
        )
    chosen = some_edits(changes, EDITS)
    with styled():
        figure = blank(1.6 + 0.46 * len(chosen))
        axis = figure.subplots()
        for y, row in enumerate(each(chosen)):
            _draw_effect(axis, y, row)
        axis.axvline(0, color=GREY, lw=0.9, zorder=1)
        axis.set_yticks(range(len(chosen)), [_effect_name(row) for row in each(chosen)])
        axis.set_ylim(len(chosen) - 0.4, -0.6)
        axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: minus(f"{v:+g}")))
        axis.set_xlabel("change of the rate, in points: after the edit less before")
        title(figure, _effects_title(task, chosen, len(changes)))
        legend(figure, _effects_legend(chosen))
    drawn_from(figure, chosen)
    return figure


def leading_effects(run: Run, task: str) -> pd.DataFrame:
    """One row an edit and question: the group whose rate surely changes most, the surest first.

    Columns are those of EFFECTS for that group, ``*_all`` the same of everyone, and ``sure``, the
    least change that the simultaneous bounds leave. Groups are those of single attributes. Left out
    is that a dropped label is chosen no more and its counter label instead, which needs no proof.
    """
    effects = run.effects[(run.effects["task"] == task) & (run.effects["comparison"] == RATE)]
    told = (effects["metric"] != "selection") | (effects["edit"] == ADD)
    rows = effects[
        effects["edit"].isin((DROP, ADD, SWAP)) & told & (effects["status"] != NOT_ASKED)
    ]
    low, high = rows["low_simultaneous"], rows["high_simultaneous"]
    sure = low.where(low > -high, -high).clip(lower=0).fillna(-1)
    rows = rows.assign(sure=sure, size=rows["value"].abs())
    everyone = rows[rows["attribute"] == EVERYONE].set_index(EDIT_COLUMNS)[_CHANGE]
    single = ~rows["attribute"].str.contains(" x ", regex=False)
    groups = rows[single & (rows["attribute"] != EVERYONE) & (rows["group"] != UNKNOWN)]
    ranked = groups.sort_values(["sure", "size"], ascending=False, kind="stable")
    return ranked.drop_duplicates(EDIT_COLUMNS).join(everyone.add_suffix("_all"), on=EDIT_COLUMNS)


EDIT_COLUMNS: Final = ["edit", "dropped", "added", "metric", "label"]


_CHANGE: Final = ["before", "after", "value", "low_simultaneous", "high_simultaneous", "verdict"]


def some_edits(changes: pd.DataFrame, most: int) -> pd.DataFrame:
    """Up to ``most`` rows of ``leading_effects``: some of each kind of edit, the surest first."""
    first = changes.groupby("edit", sort=False).head(most // 3)
    chosen = [*first.index, *changes.index.difference(first.index, sort=False)][:most]
    return changes[changes.index.isin(chosen)]


def edit_in_words(row: Record) -> str:
    """What was changed about a label set: 'without ‘thief’', 'with ‘child’ added' ..."""
    if row.edit == DROP:
        return f"without ‘{row.dropped}’"
    if row.edit == ADD:
        return f"with ‘{row.added}’ added"
    return f"‘{row.added}’ in place of ‘{row.dropped}’"


def _draw_effect(axis: Axes, y: int, row: Record) -> None:
    """The group's change with its bounds; under it everyone's, thin."""
    margin = 100 * row.margin
    axis.add_patch(
        Rectangle((-margin, y - 0.51), 2 * margin, 1.02, color=MARGIN_FILL, lw=0, zorder=0)
    )
    draw_judged(axis, y, row, "change", 100, clip=False)
    below = [100 * row.low_simultaneous_all, 100 * row.high_simultaneous_all]
    axis.plot(below, [y + 0.28] * 2, color=INK, lw=1, gid="interval of everyone")
    axis.plot(100 * row.value_all, y + 0.28, "|", ms=8, mew=1.6, color=INK, gid="everyone")


def _effects_title(task: str, chosen: pd.DataFrame, of: int) -> str:
    some = f"{len(chosen)} of {of} changes" if len(chosen) < of else "every change"
    level = f"{chosen['level'].iloc[0]:.0%} bounds for all edits at once"
    return (
        f"{task}: what one label changes, where it changes most and for everyone; {some}, {level}"
    )


def _effects_legend(chosen: pd.DataFrame) -> list[Artist]:
    tick: Row = {"color": INK, "lw": 1, "marker": "|", "ms": 8, "mew": 1.6}
    everyone = Line2D([], [], **tick, label="everyone")
    return [*verdict_handles(chosen), everyone, margin_patch("within the margin")]


def _effect_name(row: Record) -> str:
    """The edit and what is counted; below, the group with its rate before and after."""
    ends = row.low_simultaneous, row.high_simultaneous
    rates = f"{percent(row.before, *ends)} → {percent(row.after, *ends)}%"
    who = f"{shortened(row.group, 26)} ({shortened(row.attribute, 20)}, n = {row.n:,})"
    return f"{shortened(edit_in_words(row), 46)}: {asked_name(row)}\n{who}: {rates}"

"""Figures of associations: effect sizes sorted, each beside what chance gives and the margin."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Record, Row, having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, OK, REST
from audit.core.verdicts import size_bounds
from audit.probes.kit.looks import (
    GREY,
    INK,
    MARGIN_FILL,
    PINK,
    blank,
    draw_judged,
    drawn_from,
    legend,
    margin_patch,
    plain,
    styled,
    title,
    verdict_handles,
)

#: most associations in one figure
ROWS: Final = 18
#: which associations are the same but for the template, or for what is measured of them
_SAME: Final = ["attribute", "label", "group", "other"]


def associations_of(run: Run, task: str) -> pd.DataFrame:
    """Every effect size of a task, the surest first, with what else was measured of each.

    Columns of MEASURES and ``difference`` (of mean s), ``lowest`` and ``highest`` (d of single
    templates, nan where there is one), ``sure`` (the lower bound of the size of d).

    Raises:
        InputError: the run has no such task with associations.
    """
    every = having(run.measures, probe="association")
    rows = having(every, task=task)
    if rows.empty:
        known = suggest(task, every["task"].unique())
        raise InputError(f"{run.name}: no associations of '{task}'", known)
    d = having(rows, metric="effect_size")
    single = d[d["condition"] != ENSEMBLE].groupby(_SAME)["value"].agg(["min", "max"])
    single = single.set_axis(["lowest", "highest"], axis=1)
    beside = having(rows, metric="difference_of_means").set_index(_SAME)["value"]
    found = having(d, condition=ENSEMBLE).join(single, on=_SAME)
    found = found.join(beside.rename("difference"), on=_SAME)
    ends = found["low_simultaneous"].to_numpy(), found["high_simultaneous"].to_numpy()
    found = found.assign(sure=size_bounds(*ends)[0], size=found["value"].abs())
    return found.sort_values(["sure", "size"], ascending=False, kind="stable")


def effect_sizes(run: Run, task: str) -> Figure:
    """Forest plot: effect sizes d, sorted, with simultaneous bounds, chance and margin.

    At most ``ROWS``: those that the report tells, one an attribute and label, then the surest.

    Raises:
        InputError: no such task, or nothing of it could be compared.
    """
    found = associations_of(run, task)
    usable = having(found, status=OK)
    if usable.empty:
        reason = str(found["reason"].iloc[0])
        raise InputError(sentence(f"{run.name}: '{task}' could not be compared: {reason}"))
    first = usable.sort_values("statement", key=lambda s: s == "", kind="stable").head(ROWS)
    chosen = first.sort_values("value", ascending=False, kind="stable")
    with styled():
        figure = blank(1.7 + 0.46 * len(chosen))
        axis = figure.subplots()
        margin = float(chosen["margin"].iloc[0])
        axis.axvspan(-margin, margin, color=MARGIN_FILL, lw=0, zorder=0)
        axis.axvline(0, color=GREY, lw=1, ls=":")
        for y, row in enumerate(chosen.itertuples()):
            _draw(axis, y, row)
        several = chosen["label"].nunique() > 1
        names = [plain(_name(row, several)) for row in chosen.itertuples()]
        axis.set_yticks(range(len(chosen)), names)
        axis.set_ylim(len(chosen) - 0.4, -0.6)
        towards = "" if several else f" towards {chosen['label'].iloc[0]}"
        axis.set_xlabel(f"◂ leans less     leans more ▸\n{plain(f'effect size d{towards}')}")
        title(figure, _title(task, chosen, len(usable)))
        legend(figure, _legend(chosen))
    drawn_from(figure, chosen)
    return figure


def _draw(axis: Axes, y: int, row: Record) -> None:
    """A verdict's mark with bounds; under it chance, and the span of single templates."""
    draw_judged(axis, y, row, "d")
    if not np.isnan(row.null_low):
        chance = [row.null_low, row.null_high]
        axis.plot(chance, [y + 0.3] * 2, color=PINK, lw=3, alpha=0.65, gid="null")
    if not np.isnan(row.lowest):
        span = [row.lowest, row.highest]
        axis.plot(span, [y - 0.28] * 2, color=INK, lw=1, marker="|", ms=5, gid="templates")


def _name(row: Record, several: bool) -> str:
    """Who is compared with whom, and of several words which."""
    other = "all others" if row.other == REST else row.other
    by = "" if row.attribute == "targets" else f"{row.attribute}: "
    who = f"{by}{row.group} v {other}  (n = {row.n:,})"
    return f"{row.label}\n{who}" if several else who


def _title(task: str, chosen: pd.DataFrame, of: int) -> str:
    some = f"{len(chosen)} of {of} comparisons" if len(chosen) < of else "every comparison"
    level = f"{chosen['level'].iloc[0]:.0%} simultaneous bounds"
    return f"Who leans more, asked '{task}': {some}, with {level}"


def _legend(chosen: pd.DataFrame) -> list[Artist]:
    """The verdicts that occur, the margin, and what lies above and below each mark."""
    level = f"{chosen['level'].iloc[0]:.0%}"
    chance: Row = {"color": PINK, "lw": 3, "alpha": 0.65}
    found = [
        *verdict_handles(chosen),
        margin_patch(f"within the margin of {chosen['margin'].iloc[0]:g}"),
    ]
    if chosen["null_low"].notna().any():
        found.append(Line2D([], [], **chance, label=f"by chance alone: {level} of deals"))
    if chosen["lowest"].notna().any():
        label = "single templates, lowest to highest"
        found.append(Line2D([], [], color=INK, lw=1, marker="|", ms=5, label=label))
    return found

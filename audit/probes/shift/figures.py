"""What another source of pictures costs, group by group."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.rows import having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE
from audit.probes.kit.looks import (
    GREY,
    MANY_MARKS,
    blank,
    drawn_from,
    legend,
    many_looks,
    plain,
    styled,
    title,
    wrapped,
)
from audit.probes.shift.rows import ACCURACY


def sources(run: Run, task: str, attribute: str, reference: str) -> Figure:
    """The share of right labels of every group in every source, with intervals.

    Args:
        run: a finished run.
        task: a task of a ``shift`` probe.
        attribute: an attribute or intersection of the run.
        reference: the name of the reference source.

    Raises:
        InputError: the run has no accuracies of this task by this attribute.
    """
    rows = having(run.measures, task=task, metric=ACCURACY)
    rows = rows[(rows["attribute"] == attribute) & rows["value"].notna()]
    if rows.empty:
        raise InputError(sentence(f"{run.name}: no source of '{task}' by '{attribute}'"))
    groups = list(dict.fromkeys(rows["group"]))
    conditions = list(dict.fromkeys(rows["condition"]))
    with styled():
        figure = blank(1.6 + (0.3 + 0.16 * len(conditions)) * len(groups))
        axis = figure.subplots()
        handles = [
            _draw_source(axis, having(rows, condition=c), groups, i, len(conditions))
            for i, c in enumerate(conditions)
        ]
        for handle, condition in zip(handles, conditions, strict=True):
            handle.set_label(
                plain(f"{reference} (reference)" if condition == ENSEMBLE else condition)
            )
        axis.set_yticks(range(len(groups)), [wrapped(plain(g), 30) for g in groups])
        axis.set_ylim(len(groups) - 0.4, -0.6)
        axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
        axis.set_xlabel(f"right labels, {rows['level'].iloc[0]:.0%} intervals", loc="left")
        title(figure, f"{task}: right labels by source and {attribute}")
        legend(figure, handles)
    drawn_from(figure, rows)
    return figure


def _draw_source(axis: Axes, rows: pd.DataFrame, groups: Sequence[str], i: int, of: int) -> Line2D:
    """The groups of one source, set off a little from the others."""
    mark, colour = many_looks(i, of) if of <= len(MANY_MARKS) else ("o", GREY)
    y = rows["group"].map(groups.index).to_numpy(float) + 0.16 * (i - (of - 1) / 2)
    value, low, high = (np.asarray(rows[name], float) for name in ("value", "low", "high"))
    axis.hlines(y, low, high, color=colour, lw=1.2)
    (line,) = axis.plot(value, y, ls="", marker=mark, ms=6, color=colour, gid="source")
    return line

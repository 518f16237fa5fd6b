"""How many examples a linear classifier needs, group by group."""

from __future__ import annotations

from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.rows import having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, UNDEFINED, UNKNOWN
from audit.probes.kit.looks import blank, drawn_from, legend, many_looks, plain, styled, title
from audit.probes.linear.probe import ACCURACY

_ZERO_SHOT: Final = "zero-shot"
_ENDS: Final = {_ZERO_SHOT: 0.0, "all": np.inf}


def learning_curves(run: Run, task: str, attribute: str) -> Figure:
    """Share of right labels against the number of examples a label, one curve a group.

    Zero-shot stands apart at the left. A mark with fewer examples is the mean over draws of them;
    its bar is the interval of that mean.

    Raises:
        InputError: the run has no such task or attribute, or it is no linear probe.
    """
    rows = accuracies(run, task, attribute)
    rows = rows[(rows["status"] != UNDEFINED) & (rows["group"] != UNKNOWN)]
    if rows.empty:
        raise InputError(sentence(f"{run.name}: no linear probe '{task}' by '{attribute}'"))
    conditions = by_examples(rows)
    groups = list(dict.fromkeys(rows["group"]))
    with styled():
        figure = blank(4.2)
        axis = figure.subplots()
        handles = [
            _draw(axis, having(rows, group=group), list(conditions), i, groups)
            for i, group in enumerate(groups)
        ]
        axis.set_xticks(range(len(conditions)), list(conditions.values()))
        axis.set_xlabel("examples of each label")
        axis.yaxis.set_major_locator(mpl.ticker.MaxNLocator(6, integer=True))
        axis.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(decimals=0))
        axis.set_ylabel("right labels")
        level = f"{rows['level'].iloc[0]:.0%} intervals"
        title(figure, f"{task}: right labels by {attribute}, with {level}")
        axis.grid(axis="y", visible=True)
        axis.grid(axis="x", visible=False)
        legend(figure, handles, columns=4)
    drawn_from(figure, rows)
    return figure


def accuracies(run: Run, task: str, attribute: str) -> pd.DataFrame:
    """The accuracies of a linear probe in every condition, of the groups of an attribute."""
    rows = having(run.measures, task=task, metric=ACCURACY)
    return having(rows, attribute=attribute, label="")


def by_examples(rows: pd.DataFrame) -> dict[str, str]:
    """Conditions with how many examples each has, in a word, fewest first; zero-shot before all."""
    found = list(dict.fromkeys(rows["condition"]))
    words = {c: _ZERO_SHOT if c == ENSEMBLE else c.split(", ")[1].split()[0] for c in found}
    return dict(sorted(words.items(), key=lambda item: _number(item[1])))


def _number(examples: str) -> float:
    return _ENDS[examples] if examples in _ENDS else float(examples)


def _draw(
    axis: Axes, rows: pd.DataFrame, conditions: list[str], i: int, groups: list[str]
) -> Line2D:
    """One group's curve, set off a little from the others."""
    mark, colour = many_looks(i, len(groups))
    place = {name: x for x, name in enumerate(conditions)}
    x = rows["condition"].map(place).to_numpy() + 0.05 * (i - (len(groups) - 1) / 2)
    order = np.argsort(x)
    x, value, low, high = (
        np.asarray(a, float)[order]
        for a in (x, 100 * rows["value"], 100 * rows["low"], 100 * rows["high"])
    )
    axis.vlines(x, low, high, color=colour, lw=1.2)
    axis.plot(x[1:], value[1:], color=colour, lw=1.2, marker=mark, ms=6)
    axis.plot(x[:1], value[:1], color=colour, ls="", marker=mark, ms=6)
    name = f"{groups[i]}  (n = {rows['n'].max():,})"
    return Line2D([], [], color=colour, marker=mark, ms=6, lw=1.2, label=plain(name))

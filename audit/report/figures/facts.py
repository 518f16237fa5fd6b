"""The leading facts of a run: two rates each on one scale, with the margin between them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from audit.core.errors import InputError, sentence
from audit.core.rows import Row
from audit.core.rundir import Run
from audit.core.tables import INCONCLUSIVE
from audit.measure.fact_rows import facts
from audit.measure.fact_words import points, rate_of
from audit.measure.facts import Fact
from audit.probes.kit.looks import (
    COLOURS,
    INK,
    MARGIN_FILL,
    MARKS,
    blank,
    drawn_from,
    legend,
    margin_patch,
    percent_axis,
    styled,
    title,
    verdict_handles,
)
from audit.report.figures.chosen import shortened
from audit.report.page_one import figure_rows, figure_title

#: rates nearer than so many points have their names on either side of the line
_NEAR = 45


def leading_facts(run: Run) -> Figure:
    """Dumbbells: the two rates of each leading fact on 0 to 100 %, named at their marks.

    The band is the margin above the lower rate; beside each line is the gap with its bounds.

    Raises:
        InputError: the run has no fact of two rates.
    """
    shown = figure_rows(facts(run))
    if not shown:
        raise InputError(sentence(f"{run.name}: no two rates could be compared"))
    with styled():
        figure = blank(1.3 + 0.52 * len(shown))
        axis = figure.subplots()
        for y, fact in enumerate(shown):
            _draw(axis, y, fact)
        names = [f"{shortened(f.asked, 34)}\nby {shortened(f.by, 34)}" for f in shown]
        axis.set_yticks(range(len(shown)), names)
        axis.set_ylim(len(shown) - 0.4, -0.7)
        axis.set_xlim(-1, 101)
        percent_axis(axis, 5)
        beside = axis.secondary_yaxis("right")
        beside.set_yticks(range(len(shown)), [points(f).replace(" (", "\n(") for f in shown])
        beside.tick_params(length=0)
        beside.spines["right"].set_visible(False)
        title(figure, figure_title(run, shown))
        rows = pd.DataFrame({"verdict": [f.verdict.value for f in shown]})
        legend(figure, [*verdict_handles(rows), margin_patch("the margin")])
    drawn_from(figure, _rows(run, shown), data=pd.DataFrame(map(_numbers, shown)))
    return figure


def _numbers(fact: Fact) -> Row:
    """What a line of the figure shows."""
    told: Row = {"what": fact.asked, "by": fact.by, "verdict": fact.verdict.value}
    for which, side in zip(("more", "less"), fact.sides, strict=True):
        told |= {which: side.people, f"rate_{which}": side.value, f"n_{which}": side.n}
    return told | {n: getattr(fact, n) for n in ("gap", "low", "high", "margin", "id")}


def _draw(axis: Axes, y: int, fact: Fact) -> None:
    more, less = fact.sides
    a, b, colour = 100 * less.value, 100 * more.value, COLOURS[fact.verdict.value]
    band = (a, y - 0.2), 100 * (fact.margin or 0), 0.4
    axis.add_patch(Rectangle(*band, color=MARGIN_FILL, lw=0, zorder=0))
    dashed = fact.verdict.value == INCONCLUSIVE
    axis.plot([a, b], [y, y], color=colour, lw=2.2, ls=":" if dashed else "-", gid="gap")
    mark = MARKS[fact.verdict.value]
    axis.plot(a, y, mark, ms=7, mfc="white", mec=colour, gid="less", clip_on=False)
    axis.plot(b, y, mark, ms=7, mfc=colour, mec=colour, gid="more", clip_on=False)
    for side, x, above in ((more, b, True), (less, a, b - a >= _NEAR)):
        axis.text(
            x, y - 0.2 if above else y + 0.2, shortened(rate_of(side), 36),
            ha="right" if x > 75 else "left" if x < 25 else "center",
            va="bottom" if above else "top", color=INK, size=8, gid="name",
        )  # fmt: skip


def _rows(run: Run, shown: Sequence[Fact]) -> pd.DataFrame:
    """The rows of disparities that the facts lead to."""
    leads = {f.id for f in shown}
    keys = {key for f in run.findings if f["id"] in leads for key in f["evidence"]}
    return run.disparities[run.disparities["key"].isin(keys)]

"""Rates of groups, and gaps between them beside their margin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from audit.core.errors import InputError, sentence
from audit.core.evidence import each
from audit.core.rows import Record, Row, Values
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, NOT_JUDGED, OK, UNDEFINED, UNKNOWN
from audit.core.verdicts import Verdict
from audit.measure.findings import judged
from audit.measure.metrics import METRICS, noun
from audit.probes.kit.looks import (
    BLUE,
    GREY,
    MARGIN_FILL,
    ORANGE,
    PINK,
    beside_handles,
    blank,
    draw_judged,
    drawn_from,
    legend,
    margin_patch,
    percent_axis,
    styled,
    title,
    verdict_handles,
    wrapped,
)
from audit.report.figures.chosen import (
    PANELS,
    ROWS,
    draw_margin,
    headline_of,
    rows_where,
    shortened,
)


def rates_by_group(
    run: Run, task: str, attribute: str, metric: str | None = None, label: str | None = None
) -> Figure:
    """Rate and interval of every group of an attribute, one panel a label.

    Args:
        run: a finished run.
        task: a task of the run.
        attribute: an attribute or intersection of the run.
        metric: by default misclassification where truth is known, else the selection of labels.
        label: one label or family; by default those with the widest gaps, at most ``PANELS``.

    Raises:
        InputError: the run has no such task, attribute, metric or label.
    """
    rates = headline_of(run, task, attribute)
    metric = metric or _default_metric(rates)
    rates = rows_where(rates, "metric", metric)
    labels = [label] if label is not None else _widest(rates)
    groups = list(dict.fromkeys(rates["group"]))
    everyone = headline_of(run, task, EVERYONE)
    with styled():
        figure = blank(1.55 + 0.27 * len(groups))
        axes = figure.subplots(1, len(labels), sharex=True, sharey=True, squeeze=False)[0]
        for axis, one in zip(axes, labels, strict=True):
            rows = rows_where(rates, "label", one)
            _draw_rates(axis, rows, _overall(everyone, metric, one), _margin(run, rows.iloc[0]))
            if len(labels) > 1:
                axis.set_title(wrapped(f"‘{one}’", 26), loc="left")
        first = rows_where(rates, "label", labels[0])
        ticks = [f"{shortened(r.group)}  (n = {r.n:,})" for r in each(first)]
        axes[0].set_yticks(range(len(groups)), ticks)
        axes[0].set_ylim(len(groups) - 0.4, -0.6)
        axes[0].set_xlim(left=0 if rates["low"].min() < 0.1 else None)
        percent_axis(axes[0], 6 if len(labels) == 1 else 4)
        axes[0].set_xlabel(f"of pictures, {rates['level'].iloc[0]:.0%} intervals", loc="left")
        title(figure, _rates_title(task, attribute, metric, labels))
        legend(figure, _rates_legend(rates))
    drawn_from(figure, rates[rates["label"].isin(labels)])
    return figure


def gaps_with_margin(run: Run, task: str | None = None) -> Figure:
    """Forest plot: the widest gap of each question and attribute with its simultaneous bounds.

    At most ``ROWS`` gaps, some of each verdict, the most important first. Under each is what the
    widest gap would be by chance alone: from its mean to what 95 % of shuffles stay under.

    Raises:
        InputError: no such task, or no gap of it could be compared.
    """
    gaps = run.disparities if task is None else rows_where(run.disparities, "task", task)
    gaps = judged(gaps, run.rates)
    gaps = gaps[(gaps["status"] == OK) & (gaps["verdict"] != NOT_JUDGED)]
    if gaps.empty:
        raise InputError(sentence(f"{run.name}: no gap between groups could be compared"))
    chosen = some_of_each(gaps, run, ROWS)
    with styled():
        figure = blank(1.6 + 0.4 * len(chosen))
        axis = figure.subplots()
        for y, row in enumerate(each(chosen)):
            _draw_gap(axis, y, row)
        axis.set_yticks(range(len(chosen)), [_gap_name(r) for r in each(chosen)])
        axis.set_ylim(len(chosen) - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.set_xlabel("points between the two furthest groups")
        some = f"{len(chosen)} of {len(gaps)} gaps" if len(chosen) < len(gaps) else "every gap"
        level = f"{chosen['level'].iloc[0]:.0%} simultaneous bounds"
        title(figure, f"How far apart the two furthest groups are: {some}, with {level}")
        legend(figure, [*verdict_handles(chosen), *beside_handles(chosen)])
    drawn_from(figure, chosen)
    return figure


def some_of_each(gaps: pd.DataFrame, run: Run, most: int) -> pd.DataFrame:
    """Up to ``most`` rows of gaps: some of each verdict, otherwise in the order of the findings."""
    place = {f["evidence"][0]: i for i, f in enumerate(run.findings)}
    ranked = gaps.assign(place=gaps["key"].map(place)).sort_values("place", kind="stable")
    first = ranked.groupby("verdict", sort=False).head(most // 3)
    chosen = pd.concat([first, ranked.drop(first.index).head(most - len(first))])
    order = {str(v): v.rank for v in Verdict}
    return chosen.assign(rank=chosen["verdict"].map(order)).sort_values(
        ["rank", "value"], ascending=[True, False], kind="stable"
    )


def _default_metric(rates: pd.DataFrame) -> str:
    known = set(rates["metric"])
    return "misclassification" if "misclassification" in known else "selection"


def _widest(rates: pd.DataFrame) -> list[str]:
    """The labels whose rates differ most between groups that are large enough, in their order."""
    usable = rates[(rates["status"] == OK) & (rates["group"] != UNKNOWN)]
    spread = usable.groupby("label", sort=False)["value"].agg(np.ptp)
    kept = set(spread.nlargest(PANELS).index) or set(rates["label"].iloc[:1])
    return [label for label in dict.fromkeys(rates["label"]) if label in kept]


def _overall(everyone: pd.DataFrame, metric: str, label: str) -> float:
    rows = everyone[(everyone["metric"] == metric) & (everyone["label"] == label)]
    return float(rows["value"].iloc[0])


def _margin(run: Run, row: Values) -> float:
    margins = run.suite["confidence"]["margins"]
    family = margins.get(row["margin_family"], margins["default"])
    return float(family["difference"])


def _draw_rates(axis: Axes, rows: pd.DataFrame, overall: float, margin: float) -> None:
    """Dots with intervals; hollow where the group is too small, words where there is no rate."""
    low, high = max(0.0, overall - margin / 2), overall + margin / 2
    axis.axvspan(100 * low, 100 * high, color=MARGIN_FILL, lw=0)
    axis.axvline(100 * overall, color=GREY, lw=1, ls=":")
    for y, row in enumerate(each(rows)):
        if row.status == UNDEFINED:
            axis.text(100 * overall, y, " undefined", va="center", color=GREY, style="italic")
            continue
        axis.plot([100 * row.low, 100 * row.high], [y, y], color=BLUE, lw=1.6, gid="interval")
        fill = BLUE if row.status == OK else "white"
        axis.plot(100 * row.value, y, "o", ms=5.5, mfc=fill, mec=BLUE, gid="rate", clip_on=False)
        if not np.isnan(row.pooled):
            axis.plot(100 * row.pooled, y, "|", ms=13, mew=2.2, color=ORANGE, gid="pooled")


def _draw_gap(axis: Axes, y: int, row: Record) -> None:
    draw_margin(axis, y, row.margin)
    draw_judged(axis, y, row, "gap", 100, clip=False)
    _draw_null(axis, y + 0.3, row)


def _draw_null(axis: Axes, y: float, row: Record) -> None:
    """A bar under the gap from the null's mean, which has a foot, to its quantile."""
    if np.isnan(row.null_mean):
        return
    mean, high = 100 * row.null_mean, 100 * row.null_high
    axis.plot([mean, high], [y, y], color=PINK, lw=3, alpha=0.65, gid="null")
    axis.plot(mean, y, "|", ms=7, mew=1.8, color=PINK, gid="null mean", clip_on=False)


def _rates_title(task: str, attribute: str, metric: str, labels: Sequence[str]) -> str:
    counted = METRICS[metric]
    what = (
        counted.clause(labels[0]) if len(labels) == 1 else counted.says.format(label="each label")
    )
    return f"{task}: how often {what}, by {shortened(attribute)}"


def _rates_legend(rates: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=GREY, ls=":", label="everyone"),
        margin_patch("band as wide as the margin"),
    ]
    if rates["pooled"].notna().any():
        tick: Row = {"ls": "", "marker": "|", "ms": 12, "mew": 2.2, "color": ORANGE}
        handles.append(Line2D([], [], **tick, label="pooled: drawn towards its attributes' sum"))
    if not rates["status"].isin([OK, UNDEFINED]).all():
        hollow: Row = {"color": BLUE, "marker": "o", "mfc": "white"}
        handles.append(Line2D([], [], **hollow, label="too few subjects to compare"))
    return handles


def _gap_name(row: Record) -> str:
    asked = f"{shortened(row.task)}, {asked_name(row)}, by {shortened(row.attribute)}"
    return f"{asked}\n{_groups_name(row)}"


def two_lines(row: Record) -> str:
    """A gap's name: what was asked, and below it who is compared."""
    return f"{asked_name(row)}\n{_groups_name(row)}"


def _groups_name(row: Record) -> str:
    sizes = f"n = {row.n:,}" if row.n == row.n_other else f"n = {row.n:,}, {row.n_other:,}"
    return f"{shortened(row.group)} v {shortened(row.other)} ({sizes})"


def asked_name(row: Record) -> str:
    """What a row counts, in words."""
    return noun(row.metric, shortened(row.label))

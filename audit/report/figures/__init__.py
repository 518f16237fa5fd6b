"""One function a figure: from a finished run to a matplotlib Figure; report and notebooks share it.

Every figure says in its title what it shows, names the number of pictures beside each group, and
draws the margin, so that a gap is never seen without how large it would have to be to matter.
Verdicts differ in colour and in the shape of their mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from audit.core.digits import percent
from audit.core.errors import InputError, sentence
from audit.core.evidence import each
from audit.core.registry import suggest
from audit.core.rundir import Run
from audit.core.tables import (
    ADD,
    CANNOT_TELL,
    DROP,
    ENSEMBLE,
    EVERYONE,
    NOT_ASKED,
    NOT_JUDGED,
    OK,
    RATE,
    SHOWN_LARGE,
    SWAP,
    UNDEFINED,
    UNKNOWN,
    WORST,
)
from audit.core.verdicts import Verdict
from audit.data.alterations import AS_IT_IS
from audit.measure.findings import judged
from audit.measure.metrics import METRICS, noun
from audit.measure.thresholds import FAMILY_KEPT, KEPT
from audit.probes.kit.looks import (
    BLUE,
    COLOURS,
    GREY,
    INK,
    MANY_MARKS,
    MARGIN_FILL,
    MARKS,
    ORANGE,
    PINK,
    WIDTH,
    beside_handles,
    blank,
    drawn_from,
    grey_dot,
    legend,
    many_looks,
    margin_patch,
    percent_axis,
    plain,
    styled,
    title,
    verdict_handles,
    wrapped,
)

#: most labels side by side, and most gaps or groups in one figure
PANELS: Final = 4
ROWS: Final = 18
#: most groups that a figure of calibration names
NAMED: Final = 8
#: most edits of a label set in one figure
EDITS: Final = 10
#: most templates that a specification curve names; of more, half as many from either end
TEMPLATES: Final = 12


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
    rates = _headline(run, task, attribute)
    metric = metric or _default_metric(rates)
    rates = _where(rates, "metric", metric)
    labels = [label] if label is not None else _widest(rates)
    groups = list(dict.fromkeys(rates["group"]))
    everyone = _headline(run, task, EVERYONE)
    with styled():
        figure = blank(1.55 + 0.27 * len(groups))
        axes = figure.subplots(1, len(labels), sharex=True, sharey=True, squeeze=False)[0]
        for axis, one in zip(axes, labels, strict=True):
            rows = _where(rates, "label", one)
            _draw_rates(axis, rows, _overall(everyone, metric, one), _margin(run, rows.iloc[0]))
            if len(labels) > 1:
                axis.set_title(wrapped(f"‘{one}’", 26), loc="left")
        first = _where(rates, "label", labels[0])
        ticks = [f"{_short(r.group)}  (n = {r.n:,})" for r in each(first)]
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
    gaps = run.disparities if task is None else _where(run.disparities, "task", task)
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


def templates_spread(run: Run, task: str, attribute: str) -> Figure:
    """The widest gap under every single template, beside that of all templates together.

    Raises:
        InputError: no such task or attribute, or the task was asked with one template only.
    """
    gaps = _where(_where(run.disparities, "task", task), "attribute", attribute)
    gaps = gaps[(gaps["comparison"] == WORST) & (gaps["status"] == OK)]
    single = gaps[gaps["condition"].str.startswith("template: ")]
    if single.empty:
        raise InputError(
            sentence(
                f"{run.name}: the task '{task}' has no gap under single templates by '{attribute}'",
                "Ask it with a template set of two or more templates",
            )
        )
    together = gaps[gaps["condition"] == ENSEMBLE].sort_values("value", ascending=False)
    together = together.head(ROWS)
    with styled():
        figure = blank(1.9 + 0.42 * len(together))
        axis = figure.subplots()
        conditions = list(dict.fromkeys(single["condition"]))
        for y, row in enumerate(each(together)):
            same = single[(single["metric"] == row.metric) & (single["label"] == row.label)]
            _draw_spread(axis, y, row, same, conditions)
        axis.set_yticks(range(len(together)), [_two_lines(r) for r in each(together)])
        axis.set_ylim(len(together) - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.set_xlabel("points between the two furthest groups")
        title(figure, f"How much the wording moves the gaps of ‘{task}’ by {_short(attribute)}")
        legend(figure, _template_legend(conditions))
    drawn_from(figure, together, single)
    return figure


def specification_curve(run: Run, task: str, attribute: str) -> Figure:
    """One gap in every wording of its question, sorted; below, the choices that made each wording.

    Each mark has its own interval (thick) and bounds that hold for all wordings at once (thin). The
    band behind is where the sorted curve lies when whole subjects are dealt to the two groups by
    chance; the long line is the gap of the headline. A dot below says that the choice holds there,
    the number beside it is the mean gap of all wordings with that choice. Of more than
    ``TEMPLATES`` templates those with the lowest and the highest mean gap are named.

    Raises:
        InputError: no such task or attribute, or it was asked in one wording only.
    """
    if run.specifications.empty:
        raise InputError(
            sentence(
                f"{run.name}: no gap was looked at in more than one wording",
                "Ask with a template set of two or more templates, or with 'wordings:'",
            )
        )
    asked_of = _where(_where(run.specifications, "task", task), "attribute", attribute)
    curve = asked_of.sort_values("value", kind="stable").reset_index(drop=True)
    choices = _choices(curve)
    with styled():
        figure = blank(5.1 + 0.2 * len(choices))
        ratios = [3.1, 0.2 * len(choices)]
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": ratios})
        _draw_curve(upper, curve)
        line = _draw_headline(upper, run, curve)
        _draw_choices(lower, curve, choices)
        upper.set_ylabel(_curve_label(curve.iloc[0]))
        ties = "; equal gaps in the order asked" if curve["value"].duplicated().any() else ""
        lower.set_xlabel(f"the {len(curve)} wordings, sorted by their gap{ties}")
        title(figure, _curve_title(curve))
        legend(figure, _curve_legend(run, curve) + line, columns=2)
    drawn_from(figure, asked_of)
    return figure


def reliability_by_group(run: Run, task: str, attribute: str) -> Figure:
    """Share of right choices against mean score of every group of an attribute.

    The bar is the interval of the overconfidence, set off from the mean score, so that it crosses
    the diagonal where that interval holds 0. Of many groups the ``NAMED`` furthest off are named.

    Raises:
        InputError: the run has no scores with known answers for this task or attribute.
    """
    rows = _where(_where(run.calibration, "task", task), "attribute", attribute)
    rows = rows[rows["status"] != UNDEFINED]
    if rows.empty:
        raise InputError(sentence(f"{run.name}: no group by '{attribute}' has a known answer"))
    with styled():
        figure = blank(4.6)
        axis = figure.subplots()
        handles = []
        named = _furthest_off(rows)
        for row in each(rows):
            place = named.index(row.Index) if row.Index in named else None
            handles += _draw_reliability(axis, row, place)
        _reliability_frame(axis, rows)
        title(figure, f"{task}: scores and right choices, by {_short(attribute)}")
        axis.grid(axis="y", visible=True)
        others = [grey_dot("every other group")] if len(named) < len(rows) else []
        legend(figure, [*handles, *others], columns=3)
    drawn_from(figure, rows)
    return figure


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
        axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: _minus(f"{v:+g}")))
        axis.set_xlabel("change of the rate, in points: after the edit less before")
        title(figure, _effects_title(task, chosen, len(changes)))
        legend(figure, _effects_legend(chosen))
    drawn_from(figure, chosen)
    return figure


def threshold_curves(run: Run, task: str, attribute: str) -> Figure:
    """How often any label of a family is kept as the threshold on probabilities rises, by group.

    One panel a family, at most ``PANELS``; a band is the interval of a group's rate. Of many groups
    the ``NAMED`` furthest from the middle one are named; dotted are the thresholds asked about.

    Raises:
        InputError: no such task or attribute, or no tagged family of it was kept by a threshold.
    """
    rows = run.thresholds[run.thresholds["comparison"] == RATE]
    rows = _where(_where(rows, "task", task), "attribute", attribute)
    asked = sorted(rows.loc[rows["metric"] == KEPT, "threshold"].unique())
    curves = _where(_where(rows, "metric", FAMILY_KEPT), "attribute", attribute)
    families = list(dict.fromkeys(curves["label"]))[:PANELS]
    groups = _furthest_apart(curves)
    with styled():
        figure = blank(4.0)
        axes = figure.subplots(1, len(families), sharex=True, sharey=True, squeeze=False)[0]
        steps = {1: (1, 2, 5), 2: (1, 5)}.get(len(families), (1,))
        for axis, family in zip(axes, families, strict=True):
            _draw_curves(axis, curves[curves["label"] == family], groups)
            _threshold_frame(axis, curves["threshold"], asked, steps)
            axis.set_title(wrapped(f"any ‘{plain(family)}’ label", 40), loc="left")
        axes[0].set_ylabel("of pictures")
        name = _short(attribute)
        title(figure, f"{task}: how often a label is kept that is above a threshold, by {name}")
        for axis in axes:
            axis.grid(axis="y", visible=True)
        legend(figure, _curves_legend(curves, groups, len(asked)), columns=4)
    drawn_from(figure, curves[curves["label"].isin(families)])
    return figure


def group_counts(run: Run, attributes: Sequence[str] | None = None) -> Figure:
    """Pictures in every group of each attribute; by default all that are no intersection.

    Raises:
        InputError: no such attribute, or the run shows the size of no group.
    """
    cells = cells_in_order(run)
    names = list(dict.fromkeys(cells["attribute"]))
    chosen = list(attributes or [a for a in names if " x " not in a])
    if not chosen:
        raise InputError(sentence(f"{run.name}: the size of no group is shown"))
    for name in chosen:
        _where(cells, "attribute", name)
    smallest = int(run.suite["confidence"]["min_group"])
    parts = [cells[cells["attribute"] == name] for name in chosen]
    with styled():
        figure = blank(0.9 + sum(0.45 + 0.25 * len(part) for part in parts))
        ratios = [len(part) + 1 for part in parts]
        axes = figure.subplots(
            len(parts), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
        )[:, 0]
        for axis, name, part in zip(axes, chosen, parts, strict=True):
            _draw_counts(axis, part, smallest)
            axis.set_title(_short(name), loc="left", weight="bold")
        axes[-1].set_xlabel("pictures")
        name = run.dataset["name"]
        title(figure, f"How many pictures of each group the data set ‘{name}’ holds")
        line = Patch(
            facecolor="white",
            edgecolor=ORANGE,
            label=f"fewer than {smallest} subjects: not compared",
        )
        legend(figure, [line])
    return figure


def cells_in_order(run: Run) -> pd.DataFrame:
    """Pictures and subjects of every group, groups in the order of the rates, unknown last."""
    counted = ["attribute", "group", "pictures", "subjects"]
    cells = pd.DataFrame(run.dataset["cells"], columns=counted)  # a public copy may show none
    asked = run.rates[["attribute", "group"]].drop_duplicates().reset_index(drop=True)
    place = {(r.attribute, r.group): i for i, r in enumerate(each(asked))}
    order = [place.get((r.attribute, r.group), len(place)) for r in each(cells)]
    return cells.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


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
    everyone = rows[rows["attribute"] == EVERYONE].set_index(_EDIT)[_CHANGE]
    single = ~rows["attribute"].str.contains(" x ", regex=False)
    groups = rows[single & (rows["attribute"] != EVERYONE) & (rows["group"] != UNKNOWN)]
    ranked = groups.sort_values(["sure", "size"], ascending=False, kind="stable")
    return ranked.drop_duplicates(_EDIT).join(everyone.add_suffix("_all"), on=_EDIT)


_EDIT: Final = ["edit", "dropped", "added", "metric", "label"]
_CHANGE: Final = ["before", "after", "value", "low_simultaneous", "high_simultaneous", "verdict"]


def some_edits(changes: pd.DataFrame, most: int) -> pd.DataFrame:
    """Up to ``most`` rows of ``leading_effects``: some of each kind of edit, the surest first."""
    first = changes.groupby("edit", sort=False).head(most // 3)
    chosen = [*first.index, *changes.index.difference(first.index, sort=False)][:most]
    return changes[changes.index.isin(chosen)]


def edit_in_words(row: Any) -> str:
    """What was changed about a label set: 'without ‘thief’', 'with ‘child’ added' ..."""
    if row.edit == DROP:
        return f"without ‘{row.dropped}’"
    if row.edit == ADD:
        return f"with ‘{row.added}’ added"
    return f"‘{row.added}’ in place of ‘{row.dropped}’"


# ---- what to draw ------------------------------------------------------------------------------


def _headline(run: Run, task: str, attribute: str) -> pd.DataFrame:
    rates = _where(_where(run.rates, "task", task), "attribute", attribute)
    return rates[rates["condition"] == ENSEMBLE]


def _where(table: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """Rows of one task, attribute, metric or label.

    Raises:
        InputError: there are none; the sentence names the nearest.
    """
    rows = table[table[column] == value]
    if rows.empty:
        known = list(dict.fromkeys(table[column]))
        raise InputError(
            sentence(
                f"this run has no {column} '{value}' here",
                suggest(value, known),
                f"It has {', '.join(known[:12])}",
            )
        )
    return rows


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


def _margin(run: Run, row: pd.Series[Any]) -> float:
    margins = run.suite["confidence"]["margins"]
    family = margins.get(row["margin_family"], margins["default"])
    return float(family["difference"])


# ---- drawing -----------------------------------------------------------------------------------


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


def _draw_gap(axis: Axes, y: int, row: Any) -> None:
    _draw_margin(axis, y, row.margin)
    colour = COLOURS[row.verdict]
    bounds = [100 * row.low_simultaneous, 100 * row.high_simultaneous]
    axis.plot(bounds, [y, y], color=colour, lw=1.8, gid="interval")
    fill = "white" if row.verdict == CANNOT_TELL else colour
    mark = MARKS[row.verdict]
    axis.plot(100 * row.value, y, mark, ms=7, mfc=fill, mec=colour, gid="gap", clip_on=False)
    _draw_null(axis, y + 0.3, row)


def _draw_null(axis: Axes, y: float, row: Any) -> None:
    """A bar under the gap from the null's mean, which has a foot, to its quantile."""
    if np.isnan(row.null_mean):
        return
    mean, high = 100 * row.null_mean, 100 * row.null_high
    axis.plot([mean, high], [y, y], color=PINK, lw=3, alpha=0.65, gid="null")
    axis.plot(mean, y, "|", ms=7, mew=1.8, color=PINK, gid="null mean", clip_on=False)


def _draw_effect(axis: Axes, y: int, row: Any) -> None:
    """The group's change with its bounds; under it everyone's, thin."""
    margin = 100 * row.margin
    axis.add_patch(
        Rectangle((-margin, y - 0.51), 2 * margin, 1.02, color=MARGIN_FILL, lw=0, zorder=0)
    )
    colour = COLOURS[row.verdict]
    bounds = [100 * row.low_simultaneous, 100 * row.high_simultaneous]
    axis.plot(bounds, [y, y], color=colour, lw=1.8, gid="interval")
    fill = "white" if row.verdict == CANNOT_TELL else colour
    mark = MARKS[row.verdict]
    axis.plot(100 * row.value, y, mark, ms=7, mfc=fill, mec=colour, gid="change", clip_on=False)
    below = [100 * row.low_simultaneous_all, 100 * row.high_simultaneous_all]
    axis.plot(below, [y + 0.28] * 2, color=INK, lw=1, gid="interval of everyone")
    axis.plot(100 * row.value_all, y + 0.28, "|", ms=8, mew=1.6, color=INK, gid="everyone")


def _furthest_apart(rates: pd.DataFrame) -> list[str]:
    """The groups to name, in their order: those with the rates furthest from the middle one."""
    usable = rates[rates["status"] == OK]
    middle = usable.groupby(["label", "threshold"])["value"].transform("median")
    off = (usable["value"] - middle).abs().groupby(usable["group"]).max().nlargest(NAMED)
    return [group for group in dict.fromkeys(rates["group"]) if group in off.index]


def _draw_curves(axis: Axes, curves: pd.DataFrame, named: Sequence[str]) -> None:
    """A line a group; a named one has marks and a band."""
    for group, rows in curves[curves["status"] == OK].groupby("group", sort=False):
        rows = rows.sort_values("threshold")
        x, y = 100 * rows["threshold"], 100 * rows["value"]
        if group not in named:
            axis.plot(x, y, color=GREY, lw=0.8, alpha=0.6, gid="other curve")
            continue
        mark, colour = many_looks(named.index(str(group)), NAMED)
        axis.plot(x, y, color=colour, marker=mark, ms=5, lw=1.4, gid="curve")
        axis.fill_between(x, 100 * rows["low"], 100 * rows["high"], color=colour, alpha=0.12, lw=0)


def _threshold_frame(
    axis: Axes, thresholds: pd.Series[Any], asked: Sequence[float], steps: Sequence[int]
) -> None:
    """Both axes in per cent, the lower one by size; the thresholds asked about are dotted."""
    axis.set_xscale("log")
    axis.set_xlim(100 * thresholds.min() / 1.15, 100 * thresholds.max() * 1.15)
    axis.set_ylim(bottom=-0.02 * axis.get_ylim()[1])
    axis.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=20))
    axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
    for threshold in asked:
        axis.axvline(100 * threshold, color=INK, lw=1, ls=":", gid="asked", zorder=1)
    axis.set_xlabel("kept if the probability is above", loc="left")


def _draw_margin(axis: Axes, y: int, margin: float) -> None:
    # a hair taller than its row, so that no seam shows between rows
    axis.add_patch(Rectangle((0, y - 0.51), 100 * margin, 1.02, color=MARGIN_FILL, lw=0, zorder=0))


def _draw_spread(
    axis: Axes, y: int, row: Any, same: pd.DataFrame, conditions: Sequence[str]
) -> None:
    _draw_margin(axis, y, row.margin)
    values = 100 * same["value"]
    axis.plot([values.min(), values.max()], [y, y], color="#C8C8C8", lw=3, zorder=1)
    for one in each(same):
        mark, colour = many_looks(conditions.index(one.condition), len(conditions))
        axis.plot(
            100 * one.value, y, mark, ms=6, color=colour, alpha=0.9, gid="template", clip_on=False
        )
    axis.plot(100 * row.value, y, "|", ms=17, mew=2.6, color=INK, gid="ensemble", clip_on=False)


def _furthest_off(rows: pd.DataFrame) -> list[Any]:
    """Index of the groups to name: those large enough first, then the furthest off, in order."""
    off = rows["overconfidence"].abs().where(rows["status"] == OK, -1.0)
    return [i for i in rows.index if i in set(off.nlargest(NAMED).index)]


def _draw_reliability(axis: Axes, row: Any, place: int | None) -> list[Any]:
    """One group's mark and bar; its line of the legend, if it is named."""
    mark, colour = ("o", GREY) if place is None else many_looks(place, NAMED)
    x = 100 * row.mean_score
    ends = [100 * (row.mean_score - row.high), 100 * (row.mean_score - row.low)]
    width = 1.0 if place is None else 1.6
    axis.plot([x, x], ends, color=colour, lw=width, alpha=0.8, gid="interval")
    look: dict[str, Any] = {
        "marker": mark, "ms": 4.5 if place is None else 7.5, "mec": colour,
        "mfc": colour if row.status == OK else "white",
    }  # fmt: skip
    axis.plot(x, 100 * row.accuracy, **look, ls="", gid="group", clip_on=False)
    if place is None:
        return []
    few = "" if row.status == OK else ", too few"
    told = f"{_short(row.group, 30)} (n = {row.n:,}{few})"
    return [Line2D([], [], color=colour, **look, label=told)]


def _reliability_frame(axis: Axes, rows: pd.DataFrame) -> None:
    """Limits that hold all bars and the diagonal, the diagonal itself, and words on both sides."""
    scores = 100 * rows["mean_score"]
    middle, half = (scores.min() + scores.max()) / 2, max(4.0, 0.6 * np.ptp(scores))
    left, right = max(0.0, middle - half), min(100.0, middle + half)
    ends = pd.concat(
        [100 * rows["accuracy"], scores - 100 * rows["high"], scores - 100 * rows["low"]]
    )
    bottom, top = min(ends.min(), left), max(ends.max(), right)
    room = 0.1 * (top - bottom)
    axis.axline((left, left), slope=1, color=INK, lw=1, ls="--", gid="diagonal")
    axis.set_xlim(left, right)
    axis.set_ylim(bottom - room, top + room)
    percent_axis(axis, 8)
    axis.yaxis.set_major_formatter(axis.xaxis.get_major_formatter())
    axis.set_xlabel("mean score: how often the model expects to be right")
    axis.set_ylabel("how often it is right")
    said: dict[str, Any] = {
        "transform": axis.transAxes,
        "color": INK,
        "size": 9,
        "style": "italic",
    }
    axis.text(0.01, 0.98, "above the line: right more often than expected", va="top", **said)
    axis.text(0.99, 0.02, "below the line: overconfident", ha="right", **said)


def _pitch(wordings: int) -> float:
    """Room for one wording, in points."""
    return 72 * 0.62 * WIDTH / wordings


def _draw_curve(axis: Axes, curve: pd.DataFrame) -> None:
    """Marks by verdict with both intervals, the margin on both sides of 0, and chance behind."""
    x, margin = np.arange(1, len(curve) + 1), 100 * curve["margin"].iloc[0]
    axis.axhspan(-margin, margin, color=MARGIN_FILL, lw=0, zorder=0)
    for edge in (-margin, margin):
        axis.axhline(edge, color=GREY, lw=0.9, ls=":", gid="margin", zorder=1)
    axis.axhline(0, color=GREY, lw=0.9, zorder=1)
    if curve["null_low"].notna().all():
        edges = np.r_[0.5, x, len(curve) + 0.5]  # the outermost steps are as wide as all others
        low, high = (np.pad(100 * curve[name], 1, "edge") for name in ("null_low", "null_high"))
        look: dict[str, Any] = {"color": PINK, "alpha": 0.22, "lw": 0, "step": "mid"}
        axis.fill_between(edges, low, high, **look, gid="null", zorder=1)
    pitch = _pitch(len(curve))
    thin, thick, size = (
        float(np.clip(share * pitch, least, most))
        for share, least, most in ((0.12, 0.35, 1.2), (0.45, 0.8, 4.5), (0.85, 2.6, 8))
    )
    for verdict in MARKS:
        at = (curve["verdict"] == verdict).to_numpy()
        colour, rows = COLOURS[verdict], 100 * curve.loc[at, _BOUNDS]
        bars: dict[str, Any] = {"colors": colour, "snap": False}
        axis.vlines(x[at], rows["low_simultaneous"], rows["high_simultaneous"], lw=thin, **bars)
        axis.vlines(x[at], rows["low"], rows["high"], lw=thick, alpha=0.5, **bars)
        fill = "white" if verdict == CANNOT_TELL else colour
        look = {"ms": size, "mfc": fill, "mec": colour, "mew": min(1.2, 0.3 * size)}
        axis.plot(
            x[at], 100 * curve.loc[at, "value"], MARKS[verdict], **look, gid=verdict, zorder=3
        )
    axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: _minus(f"{v:+g}")))
    axis.set_xlim(0.5, len(curve) + 0.5)


_BOUNDS: Final = ["low", "high", "low_simultaneous", "high_simultaneous"]


def _draw_headline(axis: Axes, run: Run, curve: pd.DataFrame) -> list[Any]:
    """The gap of the headline as a line across all wordings; its line of the legend."""
    names = ["task", "metric", "label", "attribute"]
    found = run.sensitivity.merge(curve[names].head(1), on=names)["headline"]
    if found.isna().all():
        return []
    look: dict[str, Any] = {"color": INK, "lw": 1.4, "ls": (0, (6, 2))}
    axis.axhline(100 * found.iloc[0], **look, gid="headline", zorder=2.5)
    at: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "clip_on": False}
    axis.plot([0, 1], [100 * found.iloc[0]] * 2, ls="", marker="D", ms=4, color=INK, **at)
    first = curve.iloc[0]
    gap = percent(found.iloc[0], first["low_simultaneous"], first["high_simultaneous"])
    return [Line2D([], [], **look, label=f"headline: its templates averaged, {gap} points")]


@dataclass(frozen=True)
class _Choice:
    """A row under a specification curve: where it holds; nowhere for a heading."""

    name: str
    at: NDArray[np.bool_] | None = None
    colour: str = INK


def _choices(curve: pd.DataFrame) -> list[_Choice]:
    """Headings and rows of all that differs between the wordings, the verdict first."""
    parts = {
        "verdict": _verdict_choices(curve),
        "template": _template_choices(curve),
        "article before the label": _other_choices(curve, "article"),
        "labels": _other_choices(curve, "phrasing"),
        "modality gap": _other_choices(curve, "shift"),
        "picture": _other_choices(curve, "alteration"),
    }
    varied = {name: rows for name, rows in parts.items() if len(rows) > 1}
    return [row for name, rows in varied.items() for row in (_Choice(name), *rows)]


def _verdict_choices(curve: pd.DataFrame) -> list[_Choice]:
    held = [(v, (curve["verdict"] == v).to_numpy()) for v in MARKS]
    return [_Choice(f"{v}  ({at.sum()})", at, COLOURS[v]) for v, at in held if at.any()]


def _template_choices(curve: pd.DataFrame) -> list[_Choice]:
    """A row a template, the highest mean gap on top; of many, only those at either end."""
    means = curve.groupby("template", sort=False)["value"].mean()
    names = list(means.sort_values(ascending=False, kind="stable").index)
    rows = [_Choice(f"“{_short(n, 40)}”", (curve["template"] == n).to_numpy()) for n in names]
    if len(names) <= TEMPLATES:
        return rows
    end = TEMPLATES // 4
    others = curve["template"].isin(names[end:-end]).to_numpy()
    return [*rows[:end], _Choice(f"the {len(names) - 2 * end} others", others), *rows[-end:]]


def _other_choices(curve: pd.DataFrame, column: str) -> list[_Choice]:
    """A row for each article, phrasing, shift or alteration; what changes nothing comes last."""
    values = sorted(curve[column].unique(), key=lambda v: (v in ("as written", AS_IT_IS), v))
    held = [(curve[column] == v).to_numpy() for v in values]
    names = [_shift_name(v) if column == "shift" else str(v) for v in values]
    if column == "phrasing":
        changed = curve.groupby(column)["reworded"].first()
        names = [f"{v}: {changed[v]} reworded" if changed[v] else v for v in names]
    return [_Choice(f"{n}  ({at.sum()})", at) for n, at in zip(names, held, strict=True)]


def _shift_name(shift: float) -> str:
    way = "widened" if shift > 0 else "narrowed"
    return f"{way} by {100 * abs(shift):g}%" if shift else "as it is"


def _draw_choices(axis: Axes, curve: pd.DataFrame, choices: Sequence[_Choice]) -> None:
    """A mark wherever a choice holds; beside the row, the mean gap of its wordings."""
    beside: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "ha": "right"}
    axis.text(1.06, -0.1, "mean gap", size=9, **beside)
    for y, choice in enumerate(choices):
        if choice.at is None:
            continue
        axis.axhline(y, color="#E2E2E2", lw=0.8, zorder=0)
        _draw_choice(axis, y, choice.at, choice.colour)
        mean = percent(*curve.loc[choice.at, ["value", "low", "high"]].mean())
        axis.text(1.06, y, _minus(mean), va="center_baseline", **beside)
    axis.set_ylim(len(choices) - 0.4, -0.6)
    axis.set_yticks(range(len(choices)), [choice.name for choice in choices])
    for tick, choice in zip(axis.get_yticklabels(), choices, strict=True):
        tick.set(size=9, weight="bold" if choice.at is None else "normal")
    axis.set_xticks([])


def _draw_choice(axis: Axes, y: int, at: NDArray[np.bool_], colour: str) -> None:
    """A dot a wording; of many wordings, a bar for each run of neighbours."""
    if _pitch(len(at)) > 5:
        x = np.flatnonzero(at) + 1
        axis.plot(x, [y] * len(x), "o", ms=4.8, color=colour, gid="choice", clip_on=False)
        return
    starts, ends = np.flatnonzero(np.diff(np.r_[0, at, 0])).reshape(-1, 2).T
    runs = list(zip(starts + 0.5, ends - starts, strict=True))
    axis.broken_barh(runs, (y - 0.3, 0.6), color=colour, lw=0, gid="choice")


def _draw_counts(axis: Axes, part: pd.DataFrame, smallest: int) -> None:
    unknown = (part["group"] == UNKNOWN).to_numpy()
    bars = axis.barh(range(len(part)), part["pictures"], color=BLUE, height=0.72)
    few = (part["subjects"] < smallest).to_numpy()
    for bar, is_unknown, is_few in zip(bars, unknown, few, strict=True):
        hollow = is_unknown or is_few
        bar.set(facecolor="white" if hollow else BLUE, edgecolor=ORANGE if is_few else BLUE)
        bar.set_hatch("////" if is_unknown else "")
    axis.bar_label(bars, [f" {n:,}" for n in part["pictures"]], size=9)
    axis.set_yticks(range(len(part)), [_short(g) for g in part["group"]])
    axis.set_ylim(len(part) - 0.4, -0.6)
    axis.margins(x=0.08)


# ---- words and looks ---------------------------------------------------------------------------


def _rates_title(task: str, attribute: str, metric: str, labels: Sequence[str]) -> str:
    counted = METRICS[metric]
    what = (
        counted.clause(labels[0]) if len(labels) == 1 else counted.says.format(label="each label")
    )
    return f"{task}: how often {what}, by {_short(attribute)}"


def _rates_legend(rates: pd.DataFrame) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=GREY, ls=":", label="everyone"),
        margin_patch("band as wide as the margin"),
    ]
    if rates["pooled"].notna().any():
        tick: dict[str, Any] = {"ls": "", "marker": "|", "ms": 12, "mew": 2.2, "color": ORANGE}
        handles.append(Line2D([], [], **tick, label="pooled: drawn towards its attributes' sum"))
    if not rates["status"].isin([OK, UNDEFINED]).all():
        hollow: dict[str, Any] = {"color": BLUE, "marker": "o", "mfc": "white"}
        handles.append(Line2D([], [], **hollow, label="too few subjects to compare"))
    return handles


def _effects_title(task: str, chosen: pd.DataFrame, of: int) -> str:
    some = f"{len(chosen)} of {of} changes" if len(chosen) < of else "every change"
    level = f"{chosen['level'].iloc[0]:.0%} bounds for all edits at once"
    return (
        f"{task}: what one label changes, where it changes most and for everyone; {some}, {level}"
    )


def _effects_legend(chosen: pd.DataFrame) -> list[Any]:
    tick: dict[str, Any] = {"color": INK, "lw": 1, "marker": "|", "ms": 8, "mew": 1.6}
    everyone = Line2D([], [], **tick, label="everyone")
    return [*verdict_handles(chosen), everyone, margin_patch("within the margin")]


def _curves_legend(curves: pd.DataFrame, named: Sequence[str], asked: int) -> list[Any]:
    sizes = curves.drop_duplicates("group").set_index("group")["n"]
    handles: list[Any] = []
    for place, group in enumerate(named):
        mark, colour = many_looks(place, NAMED)
        told = f"{_short(group, 24)} (n = {sizes[group]:,})"
        handles.append(Line2D([], [], color=colour, marker=mark, ms=5, lw=1.4, label=told))
    usable = curves.loc[curves["status"] == OK, "group"].nunique()
    if usable > len(named):
        handles.append(Line2D([], [], color=GREY, lw=0.8, alpha=0.6, label="every other group"))
    if asked:
        dotted = "asked about" if asked == 1 else "the thresholds asked about"
        handles.append(Line2D([], [], color=INK, lw=1, ls=":", label=dotted))
    return handles


def _effect_name(row: Any) -> str:
    """The edit and what is counted; below, the group with its rate before and after."""
    ends = row.low_simultaneous, row.high_simultaneous
    rates = f"{percent(row.before, *ends)} → {percent(row.after, *ends)}%"
    who = f"{_short(row.group, 26)} ({_short(row.attribute, 20)}, n = {row.n:,})"
    return f"{_short(edit_in_words(row), 46)}: {_asked_name(row)}\n{who}: {rates}"


def _template_legend(conditions: Sequence[str]) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], ls="", marker="|", ms=13, mew=2.6, color=INK, label="all templates together")
    ]
    if len(conditions) > len(MANY_MARKS):
        handles.append(grey_dot(f"one of {len(conditions)} templates"))
    else:
        for i, condition in enumerate(conditions):
            mark, colour = many_looks(i, len(conditions))
            text = _short(condition.removeprefix("template: "))
            handles.append(Line2D([], [], ls="", marker=mark, color=colour, label=f"“{text}”"))
    return [*handles, margin_patch("within the margin")]


def _curve_title(curve: pd.DataFrame) -> str:
    """What happens more often for whom, in how many wordings, and with what verdict."""
    row, wordings = curve.iloc[0], len(curve)
    counts = {verdict: int((curve["verdict"] == verdict).sum()) for verdict in MARKS}
    told = [f"{verdict} in {n}".replace(" ", "\u00a0") for verdict, n in counts.items() if n]
    other_way = int(((curve["verdict"] == SHOWN_LARGE) & (curve["value"] < 0)).sum())
    if other_way:
        told[0] += f" ({other_way} of them the other way)"
    return (
        f"{row['task']} by {_short(row['attribute'])}: "
        f"{METRICS[row['metric']].clause(row['label'])} more often for "
        f"{_short(row['group'])} than for {_short(row['other'])} in "
        f"{(curve['value'] > 0).sum()}\u00a0of\u00a0{wordings}\u00a0wordings; {', '.join(told)}"
    )


def _curve_label(row: pd.Series[Any]) -> str:
    one, other = (
        f"{_short(row[who], 24)} (n = {row[n]:,})"
        for who, n in (("group", "n"), ("other", "n_other"))
    )
    return f"gap in points: {one}\nless {other}"


def _curve_legend(run: Run, curve: pd.DataFrame) -> list[Any]:
    level = f"{run.suite['confidence']['level']:.0%}"
    margin = f"{100 * curve['margin'].iloc[0]:g}"
    line: dict[str, Any] = {"color": GREY, "ls": "-"}
    handles: list[Any] = [
        *verdict_handles(curve),
        Line2D([], [], **line, lw=4, alpha=0.5, label=f"{level} interval of one wording"),
        Line2D([], [], **line, lw=1.1, label=f"{level} bounds for all wordings at once"),
        margin_patch(f"within the margin of {margin} points"),
    ]
    if curve["null_low"].notna().all():
        told = f"by chance alone: {level} of shuffles, place by place"
        handles.append(Patch(facecolor=PINK, alpha=0.22, label=told))
    return handles


def _gap_name(row: Any) -> str:
    asked = f"{_short(row.task)}, {_asked_name(row)}, by {_short(row.attribute)}"
    return f"{asked}\n{_groups_name(row)}"


def _two_lines(row: Any) -> str:
    return f"{_asked_name(row)}\n{_groups_name(row)}"


def _groups_name(row: Any) -> str:
    sizes = f"n = {row.n:,}" if row.n == row.n_other else f"n = {row.n:,}, {row.n_other:,}"
    return f"{_short(row.group)} v {_short(row.other)} ({sizes})"


def _asked_name(row: Any) -> str:
    return noun(row.metric, _short(row.label))


def _short(text: str, most: int = 44) -> str:
    """A name that fits a tick label and is drawn as written."""
    return plain(text if len(text) <= most else text[: most - 1] + "…")


def _minus(number: str) -> str:
    """A signed number with a true minus sign; nothing is no gain."""
    return "0" if number == "+0" else number.replace("-", "−")

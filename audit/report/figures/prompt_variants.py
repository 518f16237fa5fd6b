"""How much a gap depends on the prompt: its spread over templates, and the specification curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from audit.core.digits import percent
from audit.core.errors import InputError
from audit.core.evidence import each
from audit.core.rows import Record, Row, Values
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, EXCEEDS, INCONCLUSIVE, OK, WORST
from audit.core.verdicts import Verdict
from audit.data.alterations import AS_IT_IS
from audit.measure.metrics import METRICS
from audit.probes.kit.looks import (
    COLOURS,
    GREY,
    INK,
    MANY_MARKS,
    MARGIN_FILL,
    MARKS,
    PINK,
    WIDTH,
    blank,
    drawn_from,
    grey_dot,
    legend,
    many_looks,
    margin_patch,
    styled,
    title,
    verdict_handles,
)
from audit.report.figures.chosen import ROWS, TEMPLATES, draw_margin, minus, rows_where, shortened
from audit.report.figures.rates import two_lines


def templates_spread(run: Run, task: str, attribute: str) -> Figure:
    """The widest gap under every single template, beside that of all templates together.

    Raises:
        InputError: no such task or attribute, or the task was asked with one template only.
    """
    gaps = rows_where(rows_where(run.disparities, "task", task), "attribute", attribute)
    gaps = gaps[(gaps["comparison"] == WORST) & (gaps["status"] == OK)]
    single = gaps[gaps["condition"].str.startswith("template: ")]
    if single.empty:
        raise InputError(
            f"{run.name}: the task '{task}' has no gap under single templates by '{attribute}'",
            "Ask it with a template set of two or more templates",
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
        axis.set_yticks(range(len(together)), [two_lines(r) for r in each(together)])
        axis.set_ylim(len(together) - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.set_xlabel("points between the two furthest groups")
        title(figure, f"How much the wording moves the gaps of ‘{task}’ by {shortened(attribute)}")
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
            f"{run.name}: no gap was looked at in more than one wording",
            "Ask with a template set of two or more templates, or with 'wordings:'",
        )
    asked_of = rows_where(rows_where(run.specifications, "task", task), "attribute", attribute)
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


def _draw_spread(
    axis: Axes, y: int, row: Record, same: pd.DataFrame, conditions: Sequence[str]
) -> None:
    draw_margin(axis, y, row.margin)
    values = 100 * same["value"]
    axis.plot([values.min(), values.max()], [y, y], color="#C8C8C8", lw=3, zorder=1)
    for one in each(same):
        mark, colour = many_looks(conditions.index(one.condition), len(conditions))
        axis.plot(
            100 * one.value, y, mark, ms=6, color=colour, alpha=0.9, gid="template", clip_on=False
        )
    axis.plot(100 * row.value, y, "|", ms=17, mew=2.6, color=INK, gid="ensemble", clip_on=False)


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
        look: Row = {"color": PINK, "alpha": 0.22, "lw": 0, "step": "mid"}
        axis.fill_between(edges, low, high, **look, gid="null", zorder=1)
    pitch = _pitch(len(curve))
    thin, thick, size = (
        float(np.clip(share * pitch, least, most))
        for share, least, most in ((0.12, 0.35, 1.2), (0.45, 0.8, 4.5), (0.85, 2.6, 8))
    )
    for verdict in MARKS:
        at = (curve["verdict"] == verdict).to_numpy()
        colour, rows = COLOURS[verdict], 100 * curve.loc[at, _BOUNDS]
        bars: Row = {"colors": colour, "snap": False}
        axis.vlines(x[at], rows["low_simultaneous"], rows["high_simultaneous"], lw=thin, **bars)
        axis.vlines(x[at], rows["low"], rows["high"], lw=thick, alpha=0.5, **bars)
        fill = "white" if verdict == INCONCLUSIVE else colour
        look = {"ms": size, "mfc": fill, "mec": colour, "mew": min(1.2, 0.3 * size)}
        axis.plot(
            x[at], 100 * curve.loc[at, "value"], MARKS[verdict], **look, gid=verdict, zorder=3
        )
    axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: minus(f"{v:+g}")))
    axis.set_xlim(0.5, len(curve) + 0.5)


_BOUNDS: Final = ["low", "high", "low_simultaneous", "high_simultaneous"]


def _draw_headline(axis: Axes, run: Run, curve: pd.DataFrame) -> list[Artist]:
    """The gap of the headline as a line across all wordings; its line of the legend."""
    names = ["task", "metric", "label", "attribute"]
    found = run.sensitivity.merge(curve[names].head(1), on=names)["headline"]
    if found.isna().all():
        return []
    look: Row = {"color": INK, "lw": 1.4, "ls": (0, (6, 2))}
    axis.axhline(100 * found.iloc[0], **look, gid="headline", zorder=2.5)
    at: Row = {"transform": axis.get_yaxis_transform(), "clip_on": False}
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
    rows = [_Choice(f"“{shortened(n, 40)}”", (curve["template"] == n).to_numpy()) for n in names]
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
    beside: Row = {"transform": axis.get_yaxis_transform(), "ha": "right"}
    axis.text(1.06, -0.1, "mean gap", size=9, **beside)
    for y, choice in enumerate(choices):
        if choice.at is None:
            continue
        axis.axhline(y, color="#E2E2E2", lw=0.8, zorder=0)
        _draw_choice(axis, y, choice.at, choice.colour)
        mean = percent(*curve.loc[choice.at, ["value", "low", "high"]].mean())
        axis.text(1.06, y, minus(mean), va="center_baseline", **beside)
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


def _template_legend(conditions: Sequence[str]) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], ls="", marker="|", ms=13, mew=2.6, color=INK, label="all templates together")
    ]
    if len(conditions) > len(MANY_MARKS):
        handles.append(grey_dot(f"one of {len(conditions)} templates"))
    else:
        for i, condition in enumerate(conditions):
            mark, colour = many_looks(i, len(conditions))
            text = shortened(condition.removeprefix("template: "))
            handles.append(Line2D([], [], ls="", marker=mark, color=colour, label=f"“{text}”"))
    return [*handles, margin_patch("within the margin")]


def _curve_title(curve: pd.DataFrame) -> str:
    """What happens more often for whom, in how many wordings, and with what verdict."""
    row, wordings = curve.iloc[0], len(curve)
    counts = {verdict: int((curve["verdict"] == verdict).sum()) for verdict in MARKS}
    told = [f"{Verdict(v).phrase} in {n}".replace(" ", "\u00a0") for v, n in counts.items() if n]
    other_way = int(((curve["verdict"] == EXCEEDS) & (curve["value"] < 0)).sum())
    if other_way:
        told[0] += f" ({other_way} of them the other way)"
    return (
        f"{row['task']} by {shortened(row['attribute'])}: "
        f"{METRICS[row['metric']].clause(row['label'])} more often for "
        f"{shortened(row['group'])} than for {shortened(row['other'])} in "
        f"{(curve['value'] > 0).sum()}\u00a0of\u00a0{wordings}\u00a0wordings; {', '.join(told)}"
    )


def _curve_label(row: Values) -> str:
    one, other = (
        f"{shortened(row[who], 24)} (n = {row[n]:,})"
        for who, n in (("group", "n"), ("other", "n_other"))
    )
    return f"gap in points: {one}\nless {other}"


def _curve_legend(run: Run, curve: pd.DataFrame) -> list[Artist]:
    level = f"{run.suite['confidence']['level']:.0%}"
    margin = f"{100 * curve['margin'].iloc[0]:g}"
    line: Row = {"color": GREY, "ls": "-"}
    handles: list[Artist] = [
        *verdict_handles(curve),
        Line2D([], [], **line, lw=4, alpha=0.5, label=f"{level} interval of one wording"),
        Line2D([], [], **line, lw=1.1, label=f"{level} bounds for all wordings at once"),
        margin_patch(f"within the margin of {margin} points"),
    ]
    if curve["null_low"].notna().all():
        told = f"by chance alone: {level} of shuffles, place by place"
        handles.append(Patch(facecolor=PINK, alpha=0.22, label=told))
    return handles

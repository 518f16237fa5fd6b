"""Charts that answer to hovering and clicking; colours are told apart with colour blindness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import pandas as pd

from audit import digits, pages, tables
from parts.words import measured, what

#: sign, shape and colour of each verdict (Okabe and Ito's palette)
SHAPES: Final = {
    tables.EXCEEDS: "triangle-up",
    tables.INCONCLUSIVE: "diamond",
    tables.WITHIN: "circle",
}
COLOURS: Final = {
    tables.EXCEEDS: "#D55E00",
    tables.INCONCLUSIVE: "#7A7A7A",
    tables.WITHIN: "#0072B2",
}
BLUE, ORANGE, GREY, BAND = "#0072B2", "#D55E00", "#7A7A7A", "#B9A36B"
PALE: Final = "#F1F3F5"
#: the page's own ink, so that words can be read in light and in dark mode alike
INK: Final = "currentColor"
#: names on an axis may take this much of the chart; pointing at a mark tells a longer one in full
NAME: Final = "max(130, min(420, 0.42 * containerSize()[0]))"
#: about so many ticks on an axis of numbers
TICKS: Final = 5
#: so many groups fit a narrow screen; a map of more scrolls there, its cells this wide
FIT, CELL = 6, 54
#: from so many wordings on, the marks of a curve are drawn finer
MANY: Final = 60


def forest(gaps: pd.DataFrame) -> alt.LayerChart:
    """Dot-and-interval chart of differences, widest first."""
    data = pd.DataFrame([_drawn(r) for r in pages.each(gaps)])
    order = alt.Y("comparison:N", sort=None, title=None, axis=_names())
    colour, shape = by_verdict(data["verdict"])
    tips = [alt.Tooltip(f"{name}:N") for name in data if name not in ("low", "high", "points")]
    margin = float(gaps["margin"].iloc[0]) * 100
    ticks = alt.X("low:Q", title="points", axis=_numbers())
    base = alt.Chart(data).encode(y=order, color=colour, tooltip=tips)
    lines = base.mark_rule(strokeWidth=2).encode(x=ticks, x2="high:Q")
    dots = base.mark_point(size=90, filled=True, opacity=1).encode(x="points:Q", shape=shape)
    drawn = alt.layer(*margin_band(margin, "x"), lines, dots)
    return inked(drawn.properties(height=100 + 24 * max(2, len(data))))


def by_verdict(verdicts: Any) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the verdicts that occur, with one legend."""
    known = [v for v in SHAPES if v in set(verdicts)]
    colour = alt.Color("verdict:N", title=None, legend=alt.Legend(orient="top")).scale(
        domain=known, range=[COLOURS[v] for v in known]
    )
    shape = alt.Shape("verdict:N", title=None).scale(domain=known, range=[SHAPES[v] for v in known])
    return colour, shape


def _names() -> alt.Axis:
    return alt.Axis(labelLimit=alt.ExprRef(NAME), labelFlush=False)


def _numbers(**more: Any) -> alt.Axis:
    return alt.Axis(tickCount=TICKS, **more)


def inked(chart: alt.LayerChart) -> alt.LayerChart:
    """The chart with its words in the page's own ink, as dark as those around it."""
    words = {"labelColor": INK, "titleColor": INK}
    return chart.configure_axis(**words).configure_legend(**words)


def margin_band(margin: float, axis: str) -> list[alt.Chart]:
    """The band of the margin and the line at 0."""
    ends, to, zero = pd.DataFrame({"a": [-margin], "b": [margin]}), f"{axis}2", "zero:Q"
    band = alt.Chart(ends).mark_rect(color=BAND, opacity=0.25).encode(**{axis: "a:Q", to: "b:Q"})
    line = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=GREY).encode(**{axis: zero})
    return [band, line]


def _drawn(row: Any) -> dict[str, Any]:
    first = (row.group, f"{row.events:,} of {row.n:,} pictures")
    second = (row.other, f"{row.events_other:,} of {row.n_other:,} pictures")
    value, low, high = row.value, row.low_simultaneous, row.high_simultaneous
    if value < 0:
        first, second, value, low, high = second, first, -value, -high, -low
    return {
        "comparison": f"{first[0]} v {second[0]}",
        "points": 100 * value,
        "low": 100 * low,
        "high": 100 * high,
        "verdict": row.verdict,
        "difference": f"{measured(value, low, high)} points",
        "first group": first[1],
        "second group": second[1],
        "q-value": "not tested" if math.isnan(row.q) else f"{row.q:.2g}",
        "detectable": f"{digits.percent(row.detectable, 0, row.detectable)} points"
        if row.detectable > 0
        else "not known",
    }


def heat_map(cells: pd.DataFrame, difference: bool) -> alt.LayerChart:
    """Label by group, the number in every cell and its interval on hover.

    ``cells``: label, group, value (points or percent, nan where there is none), text, and columns
    for the tooltip. The colour repeats what the text says.
    """
    tips = [alt.Tooltip(f"{name}:N") for name in cells if name not in ("value", "text")]
    most = float(cells["value"].abs().max())
    most = most if most > 0 else 1.0
    scale = (
        alt.Scale(domain=[-most, 0, most], range=[BLUE, PALE, ORANGE], interpolate="rgb")
        if difference
        else alt.Scale(domain=[0, most], range=[PALE, BLUE], interpolate="rgb")
    )
    # ink that can be read: white on deep blue alone, orange is never that dark
    blue = -cells["value"] if difference else cells["value"]
    cells = cells.assign(dark=(blue > 0.9 * most).map({True: "y", False: "n"}))
    colour = alt.condition(
        "isValid(datum.value)",
        alt.Color("value:Q", scale=scale, legend=None),
        alt.value("#DDDDDD"),
    )
    axis = alt.Axis(labelAngle=-40, labelLimit=150, labelOverlap=False, orient="top")
    base = alt.Chart(cells).encode(
        x=alt.X("group:N", sort=None, title=None, axis=axis),
        y=alt.Y("label:N", sort=None, title=None, axis=_names()),
        tooltip=tips,
    )
    ink = alt.Color(
        "dark:N", scale=alt.Scale(domain=["y", "n"], range=["#FFFFFF", "#1D2429"]), legend=None
    )
    boxes = base.mark_rect(stroke="#FFFFFF", strokeWidth=1).encode(color=colour)
    words = base.mark_text(fontSize=12).encode(text="text:N", color=ink)
    drawn = alt.layer(boxes, words).resolve_scale(color="independent")
    drawn = drawn.properties(height=34 * cells["label"].nunique() + 110)
    many = cells["group"].nunique() > FIT
    return inked(drawn.properties(width=alt.Step(CELL)) if many else drawn)


def curve(rows: pd.DataFrame, headline: float, shown: int) -> alt.LayerChart:
    """A gap in every wording, sorted; a click chooses the wording of its column.

    ``rows``: columns of the table SPECIFICATIONS, in order of the gap. ``shown``: the place of the
    wording that is told below, from 0.
    """
    data = _placed(rows)
    colour, shape = by_verdict(data["verdict"])
    tips = [alt.Tooltip(f"{n}:N") for n in ("place", "wording", "gap", "at once", "verdict")]
    many = len(data) > MANY
    about = f"the {len(data)} wordings, sorted by their gap"
    place = alt.X("place:Q", title=about, axis=_numbers(tickMinStep=1, format="d")).scale(
        domain=[0.5, len(data) + 0.5], nice=False
    )
    height = alt.Y("null_low:Q", title="gap in points", axis=_numbers())
    base = alt.Chart(data).encode(x=place, tooltip=tips)
    chance = alt.Chart(data).mark_area(color=GREY, opacity=0.25)
    wide = base.mark_rule(strokeWidth=0.5 if many else 1)
    own = base.mark_rule(strokeWidth=1.2 if many else 2.5)
    # any place of a column will do: with many wordings a dot is hard to hit, by a finger above all
    picked = alt.selection_point(name="picked", encodings=["x"], nearest=True)
    dots = base.mark_point(size=35 if many else 70, filled=True, opacity=1).add_params(picked)
    return inked(
        alt.layer(
            *margin_band(100 * float(rows["margin"].iloc[0]), "y"),
            chance.encode(x=place, y=height, y2="null_high:Q"),
            _here(shown + 1),
            wide.encode(y="low_simultaneous:Q", y2="high_simultaneous:Q", color=colour),
            own.encode(y="low:Q", y2="high:Q", color=colour),
            _at_headline(headline),
            dots.encode(y="value:Q", color=colour, shape=shape),
        ).properties(height=380)
    )


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    """The wordings of a curve with their places, in points and in words."""
    bounds_of = ("low", "high", "low_simultaneous", "high_simultaneous", "null_low", "null_high")
    told = {
        "place": range(1, len(rows) + 1),
        "wording": rows["wording"],
        "gap": [f"{measured(r.value, r.low, r.high)} points" for r in pages.each(rows)],
        "at once": [
            digits.bounds(r.low_simultaneous, r.high_simultaneous) for r in pages.each(rows)
        ],
        "verdict": rows["verdict"],
    }
    return pd.DataFrame(told | {name: 100 * rows[name] for name in ("value", *bounds_of)})


def _here(place: int) -> alt.Chart:
    """The column of the wording that is told below."""
    ends = pd.DataFrame({"from": [place - 0.5], "to": [place + 0.5]})
    mark = alt.Chart(ends).mark_rect(color=INK, opacity=0.2, stroke=INK, strokeWidth=1)
    return mark.encode(x="from:Q", x2="to:Q")


def _at_headline(headline: float) -> alt.Chart:
    line = alt.Chart(pd.DataFrame({"y": [100 * headline]}))
    return line.mark_rule(strokeDash=[6, 3], size=2, color=GREY).encode(y="y:Q")


def shares(parts: Sequence[tuple[str, float]]) -> alt.LayerChart:
    """Variance shares as bars with their numbers, which long bars have inside."""
    data = pd.DataFrame(parts, columns=["part", "share"])
    data = data.assign(text=[_whole(s) for s in data["share"]], share=100 * data["share"])
    base = alt.Chart(data).encode(
        y=alt.Y("part:N", sort=None, title=None, axis=_names()),
        x=alt.X("share:Q", title="% of the variance of single choices", axis=_numbers()).scale(
            domain=[0, 100]
        ),
        tooltip=[alt.Tooltip("part:N"), alt.Tooltip("text:N", title="share")],
    )
    short = base.mark_text(align="left", dx=5, color=INK, fontSize=13)
    long = base.mark_text(align="right", dx=-5, color="#FFFFFF", fontSize=13)
    words = (
        short.transform_filter("!(datum.share > 80)").encode(text="text:N"),
        long.transform_filter("datum.share > 80").encode(text="text:N"),
    )
    drawn = alt.layer(base.mark_bar(color=BLUE), *words)
    return inked(drawn.properties(height=34 * len(data) + 40))


def _whole(share: float) -> str:
    if math.isnan(share):
        return "not known"
    return "< 1%" if 0 < share < 0.005 else f"{share:.0%}"


def before_and_after(
    rows: pd.DataFrame, now: str = "as typed", before: str = "saved set"
) -> alt.LayerChart:
    """Every group's rate as asked in two ways, with intervals.

    ``rows``: group, which (``now`` or ``before``), value, low, high (in %), and columns for the
    tooltip.
    """
    which = alt.YOffset("which:N", sort=[before, now])
    known = [name for name in (now, before) if name in set(rows["which"])]
    looks = {now: (ORANGE, "circle"), before: (GREY, "square")}
    colour = alt.Color("which:N", title=None, legend=alt.Legend(orient="top")).scale(
        domain=known, range=[looks[n][0] for n in known]
    )
    shape = alt.Shape("which:N", title=None).scale(domain=known, range=[looks[n][1] for n in known])
    tips = [alt.Tooltip(f"{n}:N") for n in rows if n not in ("value", "low", "high")]
    base = alt.Chart(rows).encode(
        y=alt.Y("group:N", sort=None, title=None, axis=_names()),
        yOffset=which,
        color=colour,
        tooltip=tips,
    )
    axis = alt.X("low:Q", title="% of pictures", axis=_numbers()).scale(zero=True)
    lines = base.mark_rule(strokeWidth=2).encode(x=axis, x2="high:Q")
    dots = base.mark_point(size=80, filled=True, opacity=1).encode(x="value:Q", shape=shape)
    return inked(alt.layer(lines, dots).properties(height=alt.Step(14)))


def title(row: Any) -> str:
    """What a curve is about."""
    return f"{row.task}: {what(row.metric, row.label)}, {row.group} v {row.other}"

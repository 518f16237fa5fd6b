"""Charts of facts: two rates on one scale, prompt variants in small, questions by attributes."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import altair as alt
import pandas as pd

from audit import Fact, Verdict, digits, pages, tables
from parts.charts import BAND, COLOURS, GREY, INK, SHAPES, by_verdict, inked, margin_band

#: pixels a fact takes, and one row of the matrix
ROW, LINE = 76, 36
#: rates below so many percent leave room for the gap beside their name, also on a phone
BELOW: Final = 35
#: pixels a cell of the matrix is wide
CELL: Final = 78
#: strokes that fill a cell: what is open is told apart without its colour
HATCHED: Final = "".join(f"M{x},0.42L{x + 0.42},-0.42" for x in (-1, -0.66, -0.32, 0.02, 0.36))
_OPEN: Final = alt.FieldEqualPredicate(field="verdict", equal=tables.INCONCLUSIVE)


def drawable(facts: Iterable[Fact]) -> list[Fact]:
    """The facts of two rates, which fit on one scale."""
    return [fact for fact in facts if len(fact.sides) == 2]


def rows_of(facts: Sequence[Fact]) -> pd.DataFrame:
    """A row a fact: both rates in percent, with the words at their marks."""
    return pd.DataFrame([_row(place, fact) for place, fact in enumerate(facts)])


def _row(place: int, fact: Fact) -> dict[str, Any]:
    more, less = fact.sides
    return {
        "place": place,
        "fact": fact.id,
        "about": f"{fact.asked}, by {fact.by}",
        "verdict": fact.verdict.value,
        "gap": pages.points(fact),
        "low": 100 * less.value,
        "high": 100 * more.value,
        "margin": min(100.0, 100 * (less.value + (fact.margin or 0.0))),
        "more": f"{more.short} {pages.rate(more)}",
        "less": f"{less.short} {pages.rate(less)}",
        "says": fact.statement,
        "harm": f"{fact.severity}, {fact.harm}",
    }


def dumbbells(facts: Sequence[Fact], shown: str) -> alt.LayerChart:
    """Facts of two rates from 0 to 100 %, most harmful first; a click chooses one.

    ``shown``: the id of the fact that is open, whose row is marked. Each row has its own words: a
    narrow screen has no room for names beside it.
    """
    data = rows_of(facts)
    colour, shape = by_verdict(data["verdict"])
    tips = [alt.Tooltip(f"{n}:N") for n in ("says", "gap", "verdict", "harm")]
    row = alt.Y("place:O", axis=None)
    axis = alt.Axis(values=[0, 25, 50, 75, 100], labelExpr="datum.value + ' %'", orient="top")
    scale = alt.Scale(domain=[0, 100], nice=False)
    base = alt.Chart(data).encode(y=row)

    def at(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=scale, axis=axis, title=None)

    still = data["verdict"] == tables.INCONCLUSIVE
    band = base.mark_rect(color=BAND, opacity=0.35, height=16).encode(x=at("low"), x2="margin:Q")
    mark = base.mark_point(size=110, opacity=1, strokeWidth=2).encode(shape=shape)
    hollow = mark.encode(x=at("low"), stroke=colour, fill=alt.value("#FFFFFF"))
    full = mark.encode(
        x=at("high"), stroke=colour, fill=alt.condition(_OPEN, alt.value("#FFFFFF"), colour)
    )
    picked = alt.selection_point(name="picked", fields=["fact"], on="click", empty=False)
    target = base.mark_rect(color=INK, opacity=0.001, cursor="pointer").encode(
        x=alt.XDatum(0), x2=alt.X2Datum(100), tooltip=tips
    )
    layers = [band]
    # a layer without a mark would be a picture without a name to who doesn't see it
    for some, dash in ((~still, [1, 0]), (still, [3, 4])):
        if some.any():
            line = alt.Chart(data[some]).mark_rule(strokeWidth=2.5, strokeDash=dash)
            layers.append(line.encode(y=row, x=at("low"), x2="high:Q", color=colour))
    if (open_ := data[data["fact"] == shown]).size:
        here = alt.Chart(open_).mark_rect(color=INK, opacity=0.09)
        layers.append(here.encode(y=row, x=alt.XDatum(0), x2=alt.X2Datum(100)))
    layers += [hollow, full, *_words(data, row, at), target.add_params(picked)]
    return inked(alt.layer(*layers).properties(height=ROW * len(data) + 90))


def _words(data: pd.DataFrame, row: alt.Y, at: Callable[[str], alt.X]) -> list[alt.Chart]:
    """What a row is about, names and numbers at the marks, and the gap where there is room."""
    told = []

    def tell(some: pd.Series[bool], x: Any, text: str, **mark: Any) -> None:
        if some.any():
            words = alt.Chart(data[some]).mark_text(color=INK, **mark)
            told.append(words.encode(y=row, x=x, text=f"{text}:N"))

    below, start, end = data["low"] < BELOW, alt.XDatum(0), alt.XDatum(100)
    about = {"align": "left", "dy": -30, "fontSize": 13, "fontWeight": 600}
    tell(below, start, "about", **about)
    tell(~below, start, "about", **about, limit=alt.ExprRef("width - 135"))
    tell(below, end, "gap", align="right", dy=16, fontSize=12)
    tell(~below, end, "gap", align="right", dy=-30, fontSize=12)
    for name, place, dy in (("more", "high", -12), ("less", "low", 16)):
        left, right = data[place] < 25, data[place] > 75
        for some, align in ((left, "left"), (right, "right"), (~left & ~right, "center")):
            tell(some, at(place), name, align=align, dy=dy, fontSize=11.5)
    return told


def small_curve(rows: pd.DataFrame) -> alt.LayerChart:
    """The gap in every prompt variant, sorted; rows of ``variants_of``."""
    judged = rows["verdict"].where(rows["verdict"].isin(SHAPES), tables.INCONCLUSIVE)
    data = pd.DataFrame(
        {
            "place": range(1, len(rows) + 1),
            "points": 100 * rows["value"],
            "verdict": judged,
            "prompt": [str(w).removeprefix("template: ") for w in rows["wording"]],
        }
    )
    colour, shape = by_verdict(data["verdict"])
    x = alt.X("place:O", axis=None)
    y = alt.Y("points:Q", title=None, axis=alt.Axis(tickCount=3))
    tips = [alt.Tooltip("prompt:N"), alt.Tooltip("points:Q", format=".0f")]
    dots = alt.Chart(data).mark_point(size=60, filled=True, opacity=1)
    dots = dots.encode(x=x, y=y, color=colour.legend(None), shape=shape.legend(None), tooltip=tips)
    margin = 100 * float(rows["margin"].iloc[0])
    return inked(alt.layer(*margin_band(margin, "y"), dots).properties(height=130))


def question_map(cells: pd.DataFrame) -> alt.LayerChart:
    """Every question by every attribute; rows of ``matrix``. A click chooses a cell's fact."""
    data = cells.assign(told=[_cell(r) for r in pages.each(cells)])
    axis = alt.Axis(labelAngle=-30, labelLimit=160, labelOverlap=False, orient="top")
    base = alt.Chart(data).encode(
        x=alt.X("attribute:N", sort=None, title=None, axis=axis),
        y=alt.Y("question:N", sort=None, title=None, axis=alt.Axis(labelLimit=190)),
    )
    known = [
        v for v in (tables.EXCEEDS, tables.INCONCLUSIVE, tables.WITHIN) if v in set(data["verdict"])
    ]
    fill = alt.Color("verdict:N", legend=None).scale(
        domain=known, range=[COLOURS[v] for v in known]
    )
    faint = alt.Opacity("verdict:N", legend=None).scale(
        domain=known,
        range=[
            {tables.EXCEEDS: 0.28, tables.INCONCLUSIVE: 0.06, tables.WITHIN: 0.12}[v] for v in known
        ],
    )
    boxes = base.mark_rect(stroke=GREY, strokeWidth=0.5).encode(color=fill, opacity=faint)
    strokes = base.transform_filter(_OPEN).mark_point(
        shape=HATCHED, size=CELL * CELL, filled=False, color=GREY, strokeWidth=1, opacity=0.45
    )
    words = base.mark_text(fontSize=13, fontWeight=600, color=INK).encode(text="told:N")
    picked = alt.selection_point(name="picked", fields=["fact"], on="click", empty=False)
    tips = [alt.Tooltip("says:N"), alt.Tooltip("verdict:N"), alt.Tooltip("told:N", title="points")]
    target = base.mark_rect(color=INK, opacity=0.001, cursor="pointer").encode(tooltip=tips)
    drawn = alt.layer(boxes, strokes, words, target.add_params(picked))
    return inked(
        drawn.resolve_scale(color="independent").properties(
            width=alt.Step(CELL), height=alt.Step(LINE)
        )
    )


def _cell(row: Any) -> str:
    sign = Verdict(row.verdict).sign
    return sign if math.isnan(row.gap) else f"{sign} {row.gap:.0f}"


#: colours and shapes of runs that stand beside each other (Okabe and Ito's palette)
RUNS: Final = (
    ("#0072B2", "circle"), ("#D55E00", "square"), ("#009E73", "triangle-up"),
    ("#CC79A7", "diamond"), ("#E69F00", "cross"), ("#56B4E9", "triangle-down"),
)  # fmt: skip


def beside_each_other(gaps: pd.DataFrame) -> alt.LayerChart:
    """Every gap as a row with a dot a run, joined; columns gap, run, points, verdict."""
    runs = list(dict.fromkeys(gaps["run"]))
    looks = [RUNS[i % len(RUNS)] for i in range(len(runs))]
    colour = alt.Color("run:N", title=None, legend=alt.Legend(orient="top")).scale(
        domain=runs, range=[colour for colour, _ in looks]
    )
    shape = alt.Shape("run:N", title=None).scale(domain=runs, range=[mark for _, mark in looks])
    scale, axis = alt.Scale(domain=[0, 100], nice=False), alt.Axis(orient="top", tickCount=5)
    base = alt.Chart(gaps).encode(y=alt.Y("gap:N", sort=None, axis=None))
    span = base.mark_rule(color=GREY, strokeWidth=2).encode(
        x=alt.X("min(points):Q", scale=scale, axis=axis, title=None), x2="max(points):Q"
    )
    tips = [alt.Tooltip("run:N"), alt.Tooltip("points:Q", format=".0f"), alt.Tooltip("verdict:N")]
    dots = base.mark_point(size=90, filled=True, opacity=1).encode(
        x=alt.X("points:Q", scale=scale), color=colour, shape=shape, tooltip=tips
    )
    numbers = [  # those of the first run below, of the others above: near ones stay apart
        base.transform_filter(f"datum.run {sign} '{runs[0]}'")
        .mark_text(dy=dy, fontSize=11, color=INK)
        .encode(x=alt.X("points:Q", scale=scale), text=alt.Text("points:Q", format=".0f"))
        for sign, dy in (("==", 15), ("!=", -11))
    ]
    about = base.mark_text(align="left", dy=-24, fontSize=12.5, fontWeight=600, color=INK)
    drawn = alt.layer(span, dots, *numbers, about.encode(x=alt.XDatum(0), text="gap:N"))
    return inked(drawn.properties(height=62 * gaps["gap"].nunique() + 80))


# ---- rates as bars -----------------------------------------------------------------------------

STYLE: Final = """<style>
.bars {display: grid; gap: .1rem .6rem; grid-template-columns: 1fr auto; font-size: .9rem}
.bars b {text-align: right; white-space: nowrap}
.bars div {grid-column: 1 / 3; position: relative; height: .8rem; margin-bottom: .45rem;
  background: color-mix(in srgb, currentColor 9%, transparent)}
.bars i {position: absolute; top: 0; bottom: 0; left: 0}
.bars u {position: absolute; top: 50%; height: 0; border-top: 2px solid currentColor}
</style>"""


def bars(rows: Iterable[tuple[str, str, tuple[float, float, float]]], verdict: str) -> str:
    """Rates as bars with their number and the whisker of their interval, as HTML.

    ``rows``: name, number in words, and (value, low, high) as shares.
    """
    colour = COLOURS.get(verdict, GREY)
    drawn = [
        f"<span>{html.escape(name)}</span><b>{html.escape(number)}</b><div>"
        f'<i style="width:{100 * value:.1f}%;background:{colour}"></i>{_whisker(low, high)}</div>'
        for name, number, (value, low, high) in rows
    ]
    return f'{STYLE}<div class="bars">{"".join(drawn)}</div>'


def _whisker(low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return ""
    return f'<u style="left:{100 * low:.1f}%;width:{100 * max(high - low, 0.004):.1f}%"></u>'


def side_bars(sides: Sequence[pages.Side], verdict: str) -> str:
    """The rates of a fact's groups."""
    rows = [
        (f"{s.short}: {s.events:,} of {s.n:,}", pages.rate(s), (s.value, s.low, s.high))
        for s in sides
    ]
    return bars(rows, verdict)


def edit_bars(edits: Sequence[tuple[str, Any]], before: float) -> str:
    """The rate as asked, then after each edit of the label set; ``edits``: words and row."""
    rows = [("as asked", f"{100 * before:.0f} %", (before, math.nan, math.nan))]
    for told, row in edits:
        low, high = (min(1.0, max(0.0, row.before + end)) for end in (row.low, row.high))
        number = f"{digits.percent(row.after, low, high)} %"
        rows.append((told, number, (row.after, low, high)))
    return bars(rows, "")

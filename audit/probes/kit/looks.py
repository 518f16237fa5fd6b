"""What all figures have in common: size, colours, marks, titles and legends."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import ColorType

from audit.core.characters import visible
from audit.core.evidence import addresses, named
from audit.core.rows import Record, having
from audit.core.rundir import TABLES
from audit.core.tables import EXCEEDS, INCONCLUSIVE, OK, WITHIN

WIDTH: Final = 8.6

# Okabe and Ito's palette: told apart with every common form of colour blindness
BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#7A7A7A", "#222222"
PINK: Final = "#B5478F"
MARGIN_FILL: Final = "#E9E4D4"


class _Looks(dict[str, str]):
    """Looks of verdicts; what is not judged, or unknown, has a small grey cross."""

    def __init__(self, looks: dict[str, str], other: str) -> None:
        super().__init__(looks)
        self.other = other

    def __missing__(self, verdict: str) -> str:
        return self.other


#: verdicts differ in colour and in shape
MARKS: Final = _Looks({EXCEEDS: "^", INCONCLUSIVE: "D", WITHIN: "o"}, "x")
COLOURS: Final = _Looks({EXCEEDS: ORANGE, INCONCLUSIVE: GREY, WITHIN: BLUE}, GREY)
MANY_MARKS: Final = ("s", "v", "P", "X", "<", ">", "p", "h")
_STYLE: Final = {
    # the one that matplotlib brings, so that a figure is the same on every machine
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": "#999999",
    "axes.titlesize": 10,
    "axes.labelcolor": INK,
    "grid.color": "#E2E2E2",
    # names are words: no sign in them starts a formula
    "text.parse_math": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Seaborn's white grid with this tool's colours, for the figure drawn inside."""
    import seaborn as sns  # half a second, which whoever draws nothing is spared

    with mpl.rc_context(sns.axes_style("whitegrid") | _STYLE):
        yield


class Drawing(Figure):
    """A figure that knows the numbers it shows: ``data``, as a table."""

    data: pd.DataFrame | None = None


def blank(height: float) -> Drawing:
    """An empty figure of the common width and this height, in inches."""
    return Drawing(figsize=(WIDTH, height), layout="constrained")


def title(figure: Figure, text: str) -> None:
    """Title, and axes without what a reader doesn't need."""
    from seaborn import despine

    figure.suptitle(wrapped(plain(text), 90), x=0.01, ha="left", size=11, weight="bold")
    for axis in figure.axes:
        axis.grid(axis="y", visible=False)
        despine(ax=axis, left=True)
        axis.tick_params(axis="y", length=0)


def drawn_from(figure: Drawing, *rows: pd.DataFrame, data: pd.DataFrame | None = None) -> None:
    """Note on a figure what it shows: which rows of the run's tables, and its numbers.

    ``audit.core.evidence.named`` tells which. The numbers are ``data``, or else these rows with a
    column of their addresses before what their table says of them, and nothing that a figure added.
    """
    figure.set_label(named([place for part in rows for place in addresses(part)]))
    parts = [_as_in_table(part) for part in rows] if data is None else [data]
    figure.data = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def _as_in_table(rows: pd.DataFrame) -> pd.DataFrame:
    places = [str(place) for place in addresses(rows)]
    if not places:
        return rows
    known = TABLES[str(rows.index.name)].columns
    told = rows[[name for name in rows.columns if name in known]].reset_index(drop=True)
    told.insert(0, "row", places)
    return told


def legend(figure: Figure, handles: Sequence[Artist], columns: int = 0) -> None:
    """A legend below the figure, in as many columns as fit."""
    names = [str(handle.get_label()) for handle in handles]
    figure.legend(
        handles=list(handles),
        # matplotlib would leave out what begins with an underscore
        labels=[f" {name}" if name.startswith("_") else name for name in names],
        loc="outside lower left",
        ncols=columns or (len(handles) if len(handles) < 5 else 3),
        frameon=False,
        fontsize=9,
        handlelength=1.6,
    )


def verdict_handles(rows: pd.DataFrame) -> list[Line2D]:
    """The marks of the verdicts that occur, for a legend."""
    return [
        Line2D(
            [], [], color=COLOURS[v], marker=MARKS[v], ms=7, label=v,
            mfc="white" if v == INCONCLUSIVE else COLOURS[v],
        )
        for v in MARKS
        if (rows["verdict"] == v).any()
    ]  # fmt: skip


def beside_handles(rows: pd.DataFrame) -> list[Artist]:
    """The margin, and the null where any value has one, for a legend."""
    told = f"by chance alone: mean to {rows['level'].iloc[0]:.0%}"
    null = [Line2D([], [], color=PINK, lw=3, alpha=0.65, label=told)]
    return [margin_patch("within the margin"), *(null if rows["null_mean"].notna().any() else [])]


def margin_patch(text: str) -> Patch:
    """The margin's band in a legend."""
    return Patch(facecolor=MARGIN_FILL, label=text)


def percent_axis(axis: Axes, ticks: int) -> None:
    """A horizontal axis in percent, with about so many ticks."""
    axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))


class _LogPercent(mpl.ticker.LogFormatter):
    """Percent on a log axis, as words: matplotlib's own writes formulas."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}%" if super().__call__(x, pos) else ""


def log_percent_axis(axis: Axis) -> None:
    """A logarithmic axis in percent; between powers of ten only where there is room."""
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}%"))
    axis.set_minor_formatter(_LogPercent(labelOnlyBase=False))


def draw_judged(
    axis: Axes, y: float, row: Record, name: str, scale: int = 1, clip: bool = True
) -> None:
    """The simultaneous bounds of a row at height ``y``, and the mark of its verdict.

    ``name`` is the mark's in the drawing, ``scale`` 100 for shares that are shown in percent,
    ``clip`` whether what lies outside the axes is cut off.
    """
    colour = COLOURS[row.verdict]
    bounds = [scale * row.low_simultaneous, scale * row.high_simultaneous]
    axis.plot(bounds, [y, y], color=colour, lw=1.8, gid="interval")
    fill = "white" if row.verdict == INCONCLUSIVE else colour
    mark = MARKS[row.verdict]
    axis.plot(scale * row.value, y, mark, ms=7, mfc=fill, mec=colour, gid=name, clip_on=clip)


def draw_curves(
    axis: Axes,
    rows: pd.DataFrame,
    named: Sequence[str],
    most: int,
    unit: int = 100,
    clip: bool = True,
) -> None:
    """A line a group over the threshold, in percent; a named one has marks and a band.

    ``most``: as many as may be named, which decides their looks. ``unit``: what a threshold is
    multiplied by, 100 for percent. ``clip``: whether what lies outside the axes is cut off.
    """
    for group, curve in having(rows, status=OK).groupby("group", sort=False):
        curve = curve.sort_values("threshold")
        x = unit * curve["threshold"]
        y, low, high = (100 * curve[c] for c in ("value", "low", "high"))
        if group not in named:
            axis.plot(x, y, color=GREY, lw=0.8, alpha=0.6, gid="other curve")
            continue
        mark, colour = many_looks(named.index(str(group)), most)
        axis.plot(x, y, color=colour, marker=mark, ms=5, lw=1.4, gid="curve", clip_on=clip)
        axis.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)


def many_looks(i: int, of: int) -> tuple[str, ColorType]:
    """Mark and colour of the i-th of so many groups; all alike where there are too many."""
    if of > len(MANY_MARKS):
        return "o", GREY
    from seaborn import color_palette

    return MANY_MARKS[i], color_palette("colorblind")[i]


def grey_dot(text: str) -> Line2D:
    """A grey dot in a legend."""
    return Line2D([], [], ls="", marker="o", ms=4.5, color=GREY, label=text)


def wrapped(text: str, width: int, most: int = 8) -> str:
    """Text in lines of at most this width; what is longer than ``most`` lines is cut."""
    return "\n".join(textwrap.wrap(text, width, max_lines=most, placeholder=" …"))


def plain(text: str) -> str:
    """Text as a figure can draw it: what is not seen is shown as its number."""
    return visible(text).replace("\t", " ")

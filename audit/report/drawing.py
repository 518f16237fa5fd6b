"""Figures as files: laid out once, the same bytes from the same run."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from audit.core.csvfile import csv_text
from audit.probes.kit.glyphs import made_legible
from audit.probes.kit.looks import Drawing

#: a figure 7 times as wide has room for any name that tick labels show
_GROWTHS: Final = 6
#: inches in which no rate can be read any more
_NARROW: Final = 0.5
#: what each colour of a figure becomes where a reader prefers dark pages
_DARK: Final[Mapping[str, str]] = {
    "#ffffff": "#14181b", "#262626": "#e6e9eb", "#222222": "#e6e9eb", "#7a7a7a": "#a7b1b8",
    "#949494": "#a7b1b8", "#999999": "#6f7a81", "#bbbbbb": "#4a545b", "#c8c8c8": "#4a545b",
    "#e2e2e2": "#30383d", "#e9e4d4": "#453f29", "#0072b2": "#5cb3e8", "#0173b2": "#5cb3e8",
    "#d55e00": "#ff9d5c", "#b5478f": "#e79ad6", "#029e73": "#3fcfa2",
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A figure as files, and the rows it was drawn from, as ``evidence.named`` tells them.

    ``of``: the function that drew it and what it was given. ``words``: what numbers in it stand
    for, where no font has their signs. ``csv``: its data, as a spreadsheet reads them.
    """

    svg: bytes
    png: bytes
    rows: str = ""
    of: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    csv: bytes = b""


def drawn(figure: Figure, of: tuple[str, ...]) -> Drawn:
    """A figure as SVG and PNG; ``of``: the function that drew it and what it was given."""
    # names start no formulas; whatever its font lacks, no warning reaches the terminal
    with warnings.catch_warnings(), mpl.rc_context({"text.parse_math": False}):
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        warnings.filterwarnings("error", "constrained_layout not applied")
        _lay_out(figure)
        words = made_legible(figure)
        if words:
            _lay_out(figure)
        figure.set_layout_engine("none")  # laid out once, not again for each kind of file
        rows, data = str(figure.get_label()), data_of(figure)
        return Drawn(_saved(figure, "svg"), _saved(figure, "png"), rows, of, words, data.encode())


def data_of(figure: Figure) -> str:
    """The numbers that a figure shows, as CSV; blank of one that knows none."""
    data = figure.data if isinstance(figure, Drawing) else None
    return "" if data is None else csv_text(data)


def _lay_out(figure: Figure) -> None:
    """Put everything in its place, as drawing does first, without drawing it.

    A figure whose names leave no room for what they name grows; how much, is told by trying.
    """
    engine = figure.get_layout_engine()
    if engine is None:
        figure.draw_without_rendering()
        return
    for _ in range(_GROWTHS):
        with suppress(UserWarning):  # nothing is left for the axes
            engine.execute(figure)
            if _narrowest(figure) > _NARROW:
                return
        width, height = figure.get_size_inches()
        figure.set_size_inches(1.4 * width, 1.4 * height)
    engine.execute(figure)


def _narrowest(figure: Figure) -> float:
    """The width of the narrowest panel, in inches; the bar of a colour scale is none."""
    panels = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    widths = [axis.get_position().width for axis in panels]
    return figure.get_figwidth() * min(widths, default=1.0)


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # no date and no random names inside, so that the same run gives the same bytes
    with mpl.rc_context({"svg.hashsalt": "clip-audit"}):
        # as 'savefig' does, but for the drawing by which it would find the layout again
        figure.set_dpi(160)
        if kind == "svg":
            svg = FigureCanvasSVG(figure)
            svg.print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
            return buffer.getvalue().replace(b"</style>", _dark_rules().encode() + b"</style>", 1)
        FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
        return buffer.getvalue()


def _dark_rules() -> str:
    """Rules by which one drawing is light or dark, as the page around it is."""
    rules = (
        f'[style*="{kind}: {light}"] {{{kind}: {dark} !important}}'
        for light, dark in _DARK.items()
        for kind in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme: dark) {{{' '.join(rules)}}}"

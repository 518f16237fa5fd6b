from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from seaborn import color_palette

from audit.probes.kit import looks
from audit.probes.kit.glyphs import undrawn
from audit.probes.kit.looks import blank, drawn_from
from audit.report import drawing
from audit.report.drawing import data_of
from audit.report.numbering import FIGURE, TABLE, named, number_of, numbered, with_numbers

HEAD = "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_figures_and_tables_are_numbered_in_their_order_and_the_text_knows_them() -> None:
    text = "\n\n".join(
        [
            f"See {number_of(TABLE, 'facts')}, {number_of(FIGURE, 'b')}, {number_of(TABLE, 'x')}.",
            "![a](figures/a.png)",
            "BEGINS",
            HEAD,
            "ENDS",
            f"```\n{HEAD}\n```",
            HEAD,
            named("facts"),
            f"{number_of(FIGURE, 'a')} is before this.",
            HEAD,
            "![b (c) [d\\]](figures/b.png)",
        ]
    )
    told, numbers = numbered(text, "BEGINS", "ENDS")
    assert told.startswith("See Table 2, Figure 2, Table –.")
    assert "Figure 1 is before this." in told
    assert told.count("*Table ") == 2
    assert f"*Table 2*\n\n{HEAD}" in told
    assert "[//]" not in told
    # HTML that is made beside the text has the same numbers
    assert with_numbers(f"<b>{number_of(FIGURE, 'b')}</b>", numbers) == "<b>Figure 2</b>"


def test_a_figure_has_its_rows_as_csv_without_what_was_added_to_draw_it() -> None:
    rows = pd.DataFrame(
        {"label": ["=1+1", "thief"], "value": [0.5, 0.25], "place": [1, 2]},
        index=pd.Index([7, 12], name="rates"),
    )
    figure = blank(2)
    assert data_of(figure) == ""
    drawn_from(figure, rows)
    assert data_of(figure).removeprefix("\ufeff").split("\n") == [
        "row,label,value", "rates:7,'=1+1,0.5", "rates:12,thief,0.25", "",
    ]  # fmt: skip
    counts = pd.DataFrame({"group": ["a"], "pictures": [3]})
    drawn_from(figure, counts, counts)
    assert data_of(figure) == "\ufeffgroup,pictures\na,3\na,3\n"


MANY = [to_hex(colour) for colour in color_palette("colorblind")[: len(looks.MANY_MARKS)]]


def luminance(colour: str) -> float:
    """As WCAG 2 defines it, from 0 to 1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(
    "colour",
    [looks.INK, looks.GREY, looks.BLUE, looks.ORANGE, looks.PINK, *MANY, "#262626"],
)
def test_lines_and_words_of_a_figure_are_seen_on_dark_pages(colour: str) -> None:
    dark = drawing._DARK.get(colour.lower(), colour)
    least = 4.5 if colour in (looks.INK, "#262626") else 3
    paper = luminance(drawing._DARK["#ffffff"])
    assert (luminance(dark) + 0.05) / (paper + 0.05) >= least


def test_one_drawing_is_light_or_dark_and_needs_no_font_of_the_machine() -> None:
    with looks.styled():
        figure = looks.blank(1)
        figure.subplots().set_title("told", color=looks.INK)
    made = drawing.drawn(figure, ("told",))
    svg = made.svg.decode()
    assert "@media screen and (prefers-color-scheme: dark)" in svg
    assert '[style*="fill: #222222"] {fill: #e6e9eb !important}' in svg
    assert 'style="fill: #222222"' in svg
    assert "DejaVuSans" in svg
    assert "<text" not in svg
    assert drawing.drawn(figure, ("told",)) == made


def test_words_that_no_font_of_the_machine_has_are_named_before_a_run() -> None:
    unassigned = "\U000e0fff"  # in no font, ever
    assert undrawn(["thief", "Ärztin", f"a {unassigned}", "thief"]) == [f"a {unassigned}"]
    assert undrawn([]) == []

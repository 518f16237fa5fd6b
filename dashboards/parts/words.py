"""Words, numbers and tables on a page: whatever a name holds, it is shown as text."""

from __future__ import annotations

import base64
import html
import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final

import matplotlib as mpl
import pandas as pd
import streamlit as st
from matplotlib.figure import Figure

from audit import Verdict, digits, pages, tables

SEEN: Final = Verdict.SEEN.value
#: a verdict is never told by its colour alone
SIGNS: Final = {str(v): v.sign for v in Verdict if v.sign}
MEANINGS: Final = {str(v): v.meaning for v in Verdict if v.sign}
#: addresses and icons are found after Markdown is read, where a backslash no longer helps
_FOUND_LATER: Final = r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)|(?<=[-<=])(?=[-=>])"


def plain(text: object) -> str:
    """Text as Markdown that shows exactly this text: no link, image, formula, icon or markup."""
    line = re.sub(r"\s+", " ", pages.visible(str(text))).strip()
    line = re.sub(_FOUND_LATER, "\u2060", line)
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:@/^=&])", r"\\\1", line)


def as_markdown(text: str) -> str:
    """A report's Markdown for this page, which would find formulas, icons and addresses in it."""
    text = pages.unlinked(text)
    for verdict, sign in SIGNS.items():
        text = text.replace(f"**{sign} {verdict}**", signed(verdict))
    text = re.sub(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=\w@)|(?<=:)(?=[\w/+-]+:)", "\u2060", text)
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def table(rows: Iterable[Mapping[str, str]]) -> None:
    """A table whose cells wrap and are Markdown already; counts are set to the right."""
    rows = list(rows)
    if not rows:
        st.caption("None.")
        return
    names = list(rows[0])
    numbers = [all(re.fullmatch(r"[\d,]+|–", row[name]) for row in rows) for name in names]
    lines = [names, ["---:" if number else ":---" for number in numbers]]
    lines += [list(row.values()) for row in rows]
    st.markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def rate(row: Any) -> str:
    """A rate with its interval, or that there is none."""
    if row.status == tables.UNDEFINED or math.isnan(row.value):
        return "none"
    return measured(row.value, row.low, row.high, "%")


def how_many(row: Any, count: int) -> str:
    """A count of a row; a dash where it is withheld, which is no 0."""
    return "–" if row.status == tables.WITHHELD else f"{count:,}"


def measured(value: float, low: float, high: float, unit: str = "") -> str:
    """A number with its bounds, if it has any, in the digits that these support."""
    if math.isnan(value):
        return "none"
    within = "" if math.isnan(low) or math.isnan(high) else f" ({digits.bounds(low, high)})"
    return digits.percent(value, low, high) + unit + within


def change(value: float, low: float, high: float) -> str:
    """A change in points with its sign and bounds."""
    return ("+" if value > 0 else "") + measured(value, low, high)


def status(row: Any) -> str:
    """The status in words, with the reason unless it is ok."""
    said = str(row.status).replace("_", " ")
    return said if row.status == tables.OK else f"{said}: {row.reason}"


def what(metric: str, label: str) -> str:
    """What is counted, in a few words."""
    return f"any ‘{label}’" if metric == "family_kept" else pages.noun(metric, label)


def signed(verdict: str) -> str:
    """A verdict with its sign, in bold and on one line."""
    if verdict not in SIGNS:
        return plain("not judged" if verdict == tables.NOT_JUDGED else verdict)
    return unbroken(f"{SIGNS[verdict]} **{verdict}**")


def unbroken(text: str) -> str:
    """Text that stays on one line."""
    return text.replace(" ", "\u00a0")


def unique(values: Iterable[Any]) -> list[Any]:
    """Each value once, in order of appearance."""
    return list(dict.fromkeys(values))


def csv(frame: pd.DataFrame) -> bytes:
    """A table as a CSV file in which no cell is taken for a formula by a spreadsheet."""
    return pages.csv_text(frame).encode()


def picture(figure: Figure) -> str:
    """A figure as HTML: its title is its text for the blind, narrow screens scroll."""
    buffer, words = io.BytesIO(), html.escape(figure.get_suptitle(), quote=True)
    # names start no formulas; whatever its font lacks, no warning reaches the terminal
    with (
        warnings.catch_warnings(),
        mpl.rc_context({"svg.hashsalt": "clip-audit", "text.parse_math": False}),
    ):
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        figure.draw_without_rendering()
        numbers = pages.made_legible(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    frame = "overflow-x:auto;background:#fff;border-radius:6px;padding:8px"
    told = ", ".join(f"[{number}] is ‘{one}’" for number, one in numbers.items())
    legend = f"<small>{html.escape(f'In this figure {told}.')}</small>" if numbers else ""
    return (
        f'<div style="{frame}" tabindex="0"><img alt="{words}" style="width:100%;min-width:38rem"'
        f' src="data:image/svg+xml;base64,{data}"></div>{legend}'
    )

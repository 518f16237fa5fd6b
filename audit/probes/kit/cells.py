"""What many sections share: tables, and numbers in the words and digits that they support."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core import evidence
from audit.core.digits import bounds, percent
from audit.core.errors import InputError, sentence
from audit.core.page import MARKS, Markdown, escaped
from audit.core.rows import Record
from audit.core.tables import OK, UNDEFINED
from audit.measure.metrics import noun

NBSP: Final = "\u00a0"

#: rows of a table of gaps, and columns of a table of rates, before it refers to the Parquet file
MOST_ROWS: Final = 12


def printed(value: object) -> str:
    """What a template prints: Markdown as it is, text escaped, nothing missing."""
    if isinstance(value, Markdown):
        return value
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise InputError(
            "the report's template prints a missing value. Wrap it as 'stated(value)', which "
            "says so in words"
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escaped(str(value))


def stated(value: object) -> str:
    """A card's entry in words: 'not stated' where it is empty."""
    if isinstance(value, Markdown):
        return value
    if value is None or value == "" or value == [] or value == ():
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return sentence(*map(str, value)) if len(value) > 1 else str(value[0])
    return str(value)


def tag(verdict: str) -> Markdown:
    """A verdict with its sign; the page gives it a colour too."""
    return Markdown(f"**{MARKS[verdict][0]} {verdict}**") if verdict in MARKS else escaped(verdict)


#: a cell that begins with a number, which may lead to its row
_NUMBER: Final = re.compile(r"\[?\\?[-–<\d]")


def table(rows: Iterable[Mapping[str, object]]) -> Markdown:
    """Rows as a Markdown table; columns of numbers are set to the right."""
    rows = list(rows)
    if not rows:
        return Markdown("*None.*")
    names: list[str] = list(rows[0])
    cells = [[str(printed(row[name])) for name in names] for row in rows]
    numbers = [all(_NUMBER.match(line[i]) for line in cells) for i in range(len(names))]
    lines: list[list[str]] = [
        [*map(escaped, names)],
        ["---:" if number else "---" for number in numbers],
        *cells,
    ]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def pairs_table(key: str, value: str, pairs: Mapping[str, str]) -> Markdown:
    """A table of two columns with these names."""
    return table({key: k, value: v} for k, v in pairs.items())


def with_rest(shown: Markdown, more: int, what: str, where: str) -> Markdown:
    """A table, and how many more of ``what`` there are in which file."""
    if more <= 0:
        return shown
    one_or_more = what if more > 1 else what.removesuffix("s")
    return Markdown(f"{shown}\n\n{more:,} more {one_or_more} in `{where}`.")


def at(row: Record, words: str) -> str:
    """Words that lead to the row they rest on, where that is one of ``each`` of a run's table."""
    place = evidence.address(row)
    return evidence.linked(escaped(words), place) if place else words


def rate_in_words(row: Record, n: int | None = None) -> str:
    """A rate with interval and events, or its status and reason; never a blank.

    ``n`` is printed elsewhere; it is added here where the row's own differs.
    """
    if row.status == UNDEFINED or math.isnan(row.value):
        return f"{row.status}: {row.reason}"
    events = f"{row.events:,}" if n in (None, row.n) else f"{row.events:,} of {row.n:,}"
    few = "" if row.status == OK else f"; {row.status.replace('_', ' ')}"
    return at(row, f"{measured(row.value, row.low, row.high, '%')} ({events}{few})")


def measured(value: float, low: float, high: float, unit: str = "") -> str:
    """A number with its bounds, in the digits that these support; a narrow column keeps it whole.

    Without bounds it stands alone.
    """
    shown = percent(value, low, high) + (unit if not math.isnan(value) else "")
    within = "" if math.isnan(low) or math.isnan(high) else f" [{bounds(low, high, ', ')}]"
    return (shown + within).replace(" ", NBSP)


def like(rows: pd.DataFrame, others: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows agree with some of the others in all of these columns."""
    names = list(columns)
    found = pd.MultiIndex.from_frame(rows[names]).isin(pd.MultiIndex.from_frame(others[names]))
    return np.asarray(found, dtype=bool)


def asked(row: Record) -> str:
    """What a rate or gap counts, in a few words."""
    return noun(row.metric, row.label)


def p_value(value: float | None) -> str:
    """A p or q in one digit; '–' where there is none."""
    if value is None:
        return "–"
    return f"<{NBSP}0.0001" if value < 0.0001 else f"{value:.1g}"


def needed(value: float | None) -> str:
    """A number of pictures or wordings, rounded up."""
    unknown = value is None or not math.isfinite(value)
    return "– no number suffices" if value is None or unknown else f"{math.ceil(value):,}"

"""Which row of which table a number rests on: its address, such as ``disparities:412``.

Every table of a run carries its name and the places of its rows in its index, through filtering,
sorting and joining. So whatever is printed or drawn from some rows can say which, and anybody can
look them up, in the report's last part or with ``clip-audit evidence``.
"""

from __future__ import annotations

import math
import re
from collections import namedtuple
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple

import pandas as pd

from audit.core.errors import InputError
from audit.core.page import Markdown, as_html
from audit.core.registry import suggest, unknown
from audit.core.rows import Record, Row
from audit.core.rundir import TABLES, Run
from audit.core.tables import records

#: most rows of one figure that stand in the report's last part, and most spans of them named
MOST_ROWS: Final = 100
MOST_SPANS: Final = 12
_LEADS: Final = re.compile(rf"\]\(#({'|'.join(TABLES)})-(\d+)\)")
#: words, which may hold escaped brackets, that lead to a row
_LINK: Final = re.compile(rf"\[((?:[^\[\]\\]|\\.)*)\]\(#({'|'.join(TABLES)})-(\d+)\)", re.DOTALL)
_PLACES_KEPT: Final = "_places"
_PLACES: Final = re.compile(r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*")


class Address(NamedTuple):
    """A row of a table of a run, counted from 0."""

    table: str
    row: int

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.table}:{self.row}"


def addresses(rows: pd.DataFrame) -> list[Address]:
    """Where these rows stand; nothing for a frame that is no part of a table of a run."""
    name = str(rows.index.name)
    return [Address(name, int(i)) for i in rows.index] if name in TABLES else []


def each(frame: pd.DataFrame) -> list[Record]:
    """Rows with their columns as attributes, which know where they stand in their table."""
    name = str(frame.index.name)
    kind = _kind(name if name in TABLES else "Row", ("Index", *frame.columns))
    return [kind._make(row) for row in frame.itertuples(name=None)]


@lru_cache(maxsize=128)
def _kind(name: str, fields: tuple[str, ...]) -> Any:
    """Rows of these columns: a class that takes longer to make than many rows of it."""
    return namedtuple(name, fields, rename=True)


def address(row: Record) -> Address | None:
    """Where one of ``each`` stands; None for a row that is no part of a table of a run."""
    name = type(row).__name__
    return Address(name, int(row.Index)) if name in TABLES else None


def place_of_key(run: Run, key: str) -> Address | None:
    """Where the row with this key stands, in ``disparities`` or ``measures``; None if nowhere."""
    if _PLACES_KEPT not in run.__dict__:  # kept with the tables that the run keeps
        tables = [t for t in (run.disparities, run.measures) if str(t.index.name) in TABLES]
        found = [(k, p) for t in tables for k, p in zip(t["key"], addresses(t), strict=True)]
        run.__dict__[_PLACES_KEPT] = dict(reversed(found))  # of two the first
    places: dict[str, Address] = run.__dict__[_PLACES_KEPT]
    return places.get(key)


def named(places: Sequence[Address]) -> str:
    """Addresses in short: ``rates:3-7,12``; several tables stand apart by a space."""
    told = []
    for table, some in groupby(sorted(set(places)), key=lambda place: place.table):
        rows = [place.row for place in some]
        ends = [[row for _, row in run] for _, run in groupby(enumerate(rows), _apart)]
        spans = (f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in ends)
        told.append(f"{table}:{','.join(spans)}")
    return " ".join(told)


def _apart(numbered: tuple[int, int]) -> int:
    return numbered[1] - numbered[0]


def rows_at(run: Run, text: str) -> pd.DataFrame:
    """The rows of one table at addresses in short, such as ``rates:3-7,12``, or of a finding.

    Raises:
        InputError: no such table or finding, nothing that can be read as rows, or a row that it
            doesn't have.
    """
    if found := next((finding for finding in run.findings if finding["id"] == text), None):
        return _of_finding(run, found)
    name, _, places = text.partition(":")
    if name not in TABLES:
        if ":" not in text:
            raise unknown(
                "finding", text, [f["id"] for f in run.findings], see="'report.md' has their ids."
            )
        told = f"'{text}': a run has no table '{name}'"
        raise InputError(told, suggest(name, TABLES), f"It has {', '.join(TABLES)}")
    if not _PLACES.fullmatch(places):
        told = f"'{text}': '{places}' is no row of {name}"
        raise InputError(told, f"Write '{name}:12' or '{name}:3-7,12'")
    table: pd.DataFrame = getattr(run, name)
    wanted = _rows(places)
    if not wanted or wanted[-1] >= len(table):
        told = f"'{text}': {name} of this run has {len(table):,} rows, counted from 0"
        raise InputError(told, "A range goes from its smaller row to its larger")
    return table.loc[wanted]


def _of_finding(run: Run, finding: Row) -> pd.DataFrame:
    """The rows that a finding rests on; they are all in one table."""
    found = [place for key in finding["evidence"] if (place := place_of_key(run, key))]
    if not found:
        told = f"'{finding['id']}': none of its rows is in the tables of this run"
        raise InputError(told, "A public copy withholds those of small groups")
    table: pd.DataFrame = getattr(run, found[0].table)
    return table.loc[[place.row for place in found if place.table == found[0].table]]


def _rows(places: str) -> list[int]:
    spans = [[int(end) for end in span.split("-")] for span in places.split(",")]
    return sorted({row for span in spans for row in range(span[0], span[-1] + 1)})


def told_whole(rows: pd.DataFrame) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each row's address, and every column that holds something with its value in words."""
    for place, row in zip(addresses(rows), records(rows), strict=True):
        yield str(place), [(name, _value(v)) for name, v in row.items() if not _empty(v)]


# ---- in a report -------------------------------------------------------------------------------


def linked(words: str, place: Address) -> Markdown:
    """Words that lead to the row they rest on."""
    return Markdown(f"[{words}](#{place.table}-{place.row})")


def unlinked(text: str) -> str:
    """A report's Markdown where there is no row to lead to: the words alone."""
    return _LINK.sub(r"\1", text)


def caption(text: str) -> Markdown:
    """In the line below a figure: the rows it was drawn from, as ``named`` tells them."""
    told = []
    for part in text.split():
        table, _, places = part.partition(":")
        spans = places.split(",")
        shown = [
            linked(span.replace("-", "–"), Address(table, int(span.split("-")[0])))
            for span in spans[:MOST_SPANS]
        ]
        more = f" and {len(spans) - MOST_SPANS} more spans" if len(spans) > MOST_SPANS else ""
        told.append(f"`{table}` {', '.join(shown)}{more}")
    return Markdown(f"Drawn from rows of {'; '.join(told)}.")


def appendix(run: Run, text: str, figures: Iterable[str] = ()) -> str:
    """Every row that a report's text leads to, whole, table by table, as HTML.

    ``figures``: what ``named`` said of each; of at most ``MOST_ROWS`` rows, all stand here.
    """
    wanted = {name: set[int]() for name in TABLES}
    for name, row in _LEADS.findall(text):
        wanted[name].add(int(row))
    for name, _, places in (part.partition(":") for one in figures for part in one.split()):
        rows = _rows(places)
        wanted[name] |= set(rows) if len(rows) <= MOST_ROWS else set()
    return "".join(_part(run, name, sorted(rows)) for name, rows in wanted.items() if rows)


def _part(run: Run, name: str, wanted: Sequence[int]) -> str:
    """One table's rows, folded; a row that a public copy hides is not there to lead to."""
    table: pd.DataFrame = getattr(run, name)
    rows = table.loc[table.index.intersection(list(wanted))]
    return (
        f"<details><summary>Rows of <code>{name}.parquet</code>: {len(rows):,}</summary><div>\n"
        '<div class="scroll"><table>\n<thead>\n<tr>\n<th>Row</th>\n<th>About</th>\n'
        f"<th>Holds</th>\n</tr>\n</thead>\n<tbody>\n{''.join(_told(rows, name))}</tbody>\n"
        "</table></div>\n</div></details>\n"
    )


def _told(rows: pd.DataFrame, name: str) -> Iterator[str]:
    """Lines of a table: a place to link to, what is counted, and every number with its name."""
    key = [column for column in TABLES[name].key if column not in ("key", "probe")]
    about = key or ["task", "condition", "metric", "label", "attribute", "group", "other"]
    for place, row in zip(addresses(rows), records(rows), strict=True):
        # a link to itself is a place to link to
        here = f"{place.table}-{place.row}"
        said = (_value(row[column]) for column in about if not _empty(row.get(column)))
        numbers = "; ".join(
            f"<em>{column}</em> {as_html(_value(value))}"
            for column, value in row.items()
            if column not in (*about, "key", "probe") and not _empty(value)
        )
        yield (
            f'<tr>\n<td><a class="row" id="{here}" href="#{here}">{here}</a></td>\n'
            f"<td>{as_html(' · '.join(said))}</td>\n<td>{numbers}</td>\n</tr>\n"
        )


def _empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

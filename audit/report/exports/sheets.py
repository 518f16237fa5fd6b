"""Rates and gaps for a spreadsheet: CSV, and a workbook that explains its columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from audit.core.characters import visible
from audit.core.csvfile import csv_text
from audit.core.dictionary import meaning
from audit.core.errors import InputError
from audit.core.files import write_text
from audit.core.rundir import Run

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

_SHEETS: Final = ("rates", "disparities")
#: rows that a sheet can hold, and signs that a cell can
_ROWS, _SIGNS = 1_048_576, 32_767


def write_csv(run: Run, to: Path) -> Path:
    """Write the table of rates, every row and column of it, as a spreadsheet reads CSV."""
    write_text(to, csv_text(run.rates))
    return to


def write_xlsx(run: Run, to: Path) -> Path:
    """Write a workbook: rates, disparities, what their columns hold, and where they are from.

    No text is taken for a formula. An empty number has its reason in the column ``reason``.

    Raises:
        InputError: a table has more rows than a sheet can hold.
    """
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    book.properties.created = datetime.fromisoformat(run.manifest["finished"]).replace(tzinfo=None)
    for name in _SHEETS:
        table: pd.DataFrame = getattr(run, name)
        if len(table) >= _ROWS:
            told = f"{run.name}: {name} has {len(table):,} rows, more than a sheet can hold"
            raise InputError(told, f"Read {name}.parquet, or export csv")
        _fill(book.create_sheet(name), list(table.columns), table.itertuples(index=False))
    columns = [(n, c, meaning(n, c)) for n in _SHEETS for c in getattr(run, n).columns]
    _fill(book.create_sheet("columns"), ["table", "column", "holds"], columns)
    facts = {key: run.manifest.get(key, "") for key in ("suite", "model", "dataset", "fingerprint")}
    facts = {"run": run.sealed_name, **facts, "small groups": _small(run)}
    _fill(book.create_sheet("run"), ["fact", "value"], facts.items())
    book.save(to)
    return to


def _small(run: Run) -> str:
    shown = "shown: not for publishing ('clip-audit report RUN --public' writes a copy that is)"
    return "withheld" if run.public else shown


def _fill(sheet: Worksheet, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A header that stays in sight, then rows; a text is a text whatever it begins with."""
    from openpyxl.cell import WriteOnlyCell

    sheet.freeze_panes = "A2"
    for row in [names, *rows]:
        cells = []
        for value in row:
            missing = value is None or (isinstance(value, float) and value != value)
            text = isinstance(value, str)
            cell = WriteOnlyCell(sheet, None if missing else _plain(value))
            if text:
                cell.data_type = "s"
            cells.append(cell)
        sheet.append(cells)


def _plain(value: object) -> object:
    """A value as Python has it: numpy's numbers are none that a workbook knows."""
    if isinstance(value, str):
        return visible(value)[:_SIGNS]
    return value.item() if hasattr(value, "item") else value

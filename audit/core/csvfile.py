"""Tables as CSV files that a spreadsheet may open."""

from __future__ import annotations

import re
from typing import Final

import pandas as pd

from audit.core.characters import visible

#: at the head of a file it tells a spreadsheet that letters are UTF-8; readers of CSV skip it
_UTF8: Final = "\ufeff"
#: what a spreadsheet may take for a formula, after blanks and with wide signs too
_FORMULA: Final = re.compile(r"[\t\r]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV, without its index, in which no text is taken for a formula.

    It begins with the mark by which a spreadsheet knows UTF-8. Text that begins like a formula gets
    an apostrophe before it; numbers, in text too, stay numbers. What is not seen is shown as its
    number.
    """
    safe = table.rename(columns=_inert)
    for place, dtype in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            safe.isetitem(place, table.iloc[:, place].map(_inert).to_numpy())
    return _UTF8 + str(safe.to_csv(index=False, lineterminator="\n"))


def _inert(cell: object) -> object:
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    return visible(f"'{cell}" if _FORMULA.match(cell) else cell)

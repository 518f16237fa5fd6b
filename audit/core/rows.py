"""Rows of tables and what else is stated by name: the types by which they are passed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

#: a row of a table to be: column to value
Row = dict[str, Any]
#: what a row, a finding or a file states, by name; it is read and not changed
Fields = Mapping[str, Any]
#: an array of any type
Array = NDArray[Any]
#: a column of any type
Values: TypeAlias = "pd.Series[Any]"


class Record(Protocol):
    """A row of a table with its columns as attributes, as ``evidence.each`` gives them."""

    def __getattr__(self, column: str) -> Any: ...


def having(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows of a table in which every column named has its value, or one of several."""
    for column, value in values.items():
        if isinstance(value, str) or not isinstance(value, Iterable):
            table = table[table[column] == value]
        else:
            table = table[table[column].isin(value)]
    return table

"""What a table is: its columns, what they may hold, how it is filled, read and written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pandas as pd

from audit.core.dictionary import meaning
from audit.core.files import write_bytes, written_aside
from audit.core.rows import Array, Fields, Row

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.parquet import ParquetWriter

TEXT: Final = "str"
NUMBER: Final = "float64"
COUNT: Final = "int64"
FLAG: Final = "bool"
#: what stands where nothing is known, by the type of the column
_NOTHING: Final[Fields] = {TEXT: "", COUNT: 0, NUMBER: float("nan"), FLAG: False}

#: a row of a table to be: column to value
Row = Row
#: equally long columns of a table to be, by name: cheaper to stack than tables
Columns = dict[str, Array]


def texts(names: str) -> dict[str, str]:
    """Columns of text by their names."""
    return dict.fromkeys(names.split(), TEXT)


def counts(names: str) -> dict[str, str]:
    """Columns of whole numbers by their names."""
    return dict.fromkeys(names.split(), COUNT)


def numbers(names: str) -> dict[str, str]:
    """Columns of numbers, which may be nan, by their names."""
    return dict.fromkeys(names.split(), NUMBER)


#: what makes a table of before one of now
Mend = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Schema:
    """Columns of a table: name to dtype, those that may be missing, and the closed vocabularies."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    nullable: frozenset[str] = frozenset()
    allowed: Mapping[str, tuple[str, ...]] | None = None

    def conform(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with exactly these columns, in this order and type, a fresh index.

        What has neither rows nor columns, as a table made of no rows, is the empty table.
        """
        if table.shape == (0, 0):
            return self.empty()
        kept = table.loc[:, list(self.columns)].reset_index(drop=True)
        dtypes = kept.dtypes
        wrong = {name: dtype for name, dtype in self.columns.items() if dtypes[name] != dtype}
        return kept.astype(wrong) if wrong else kept  # what is right already is not copied

    def empty(self) -> pd.DataFrame:
        """A table of this schema without rows."""
        return self._empty.copy()

    @cached_property
    def _empty(self) -> pd.DataFrame:
        return self.conform(pd.DataFrame(columns=list(self.columns)))

    def validate(self, table: pd.DataFrame) -> pd.DataFrame:
        """Check a table at a disk border.

        Raises:
            pandera.errors.SchemaErrors: a column is missing, extra, of another type or vocabulary.
        """
        if self._holds(table):
            return table
        import pandera.pandas as pa  # says what is wrong; it takes a second to import

        vocabulary = self.allowed or {}
        columns = {
            name: pa.Column(
                dtype,
                pa.Check.isin(vocabulary[name]) if name in vocabulary else None,
                nullable=name in self.nullable or dtype == NUMBER,
            )
            for name, dtype in self.columns.items()
        }
        schema = pa.DataFrameSchema(columns, strict=True, unique=list(self.key), name=self.name)
        return cast(pd.DataFrame, schema.validate(table, lazy=True))

    def _holds(self, table: pd.DataFrame) -> bool:
        """Whether nothing can be wrong with a table, as it mostly is; in doubt False."""
        if sorted(table.columns) != sorted(self.columns):
            return False
        for name, values in table.items():
            dtype, missing = self.columns[str(name)], values.isna()
            vocabulary = (self.allowed or {}).get(str(name))
            if values.dtype != dtype:
                return False
            if missing.any() and not (name in self.nullable or dtype == NUMBER):
                return False
            if vocabulary is not None and not (missing | values.isin(vocabulary)).all():
                return False
        return not table.duplicated(list(self.key)).any()

    def write(self, table: pd.DataFrame, path: Path) -> None:
        """Write as Parquet, checked; the same table gives the same bytes.

        The file says what each of its columns holds, in the field's metadata ``description``.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = pa.BufferOutputStream()
        pq.write_table(self._described(table), buffer)
        write_bytes(path, buffer.getvalue().to_pybytes())

    @contextlib.contextmanager
    def appended(self, path: Path) -> Iterator[Appended]:
        """A file as ``write`` makes it, of tables one after another, of which none is held."""
        with written_aside(path) as aside:
            file = Appended(self, aside)
            try:
                yield file
                if file.writer is None:
                    file.append(self.empty())
            finally:
                file.close()

    def _described(self, table: pd.DataFrame) -> Table:
        """The table, checked, with what each of its columns holds."""
        import pyarrow as pa

        held = pa.Table.from_pandas(self.validate(self.conform(table)), preserve_index=False)
        fields = [
            field.with_metadata({"description": meaning(self.name, field.name)})
            for field in held.schema
        ]
        return held.cast(pa.schema(fields, held.schema.metadata))

    @cached_property
    def blank(self) -> Row:
        """A row of which nothing is known: empty text, 0, False, nan."""
        return {name: _NOTHING[dtype] for name, dtype in self.columns.items()}

    def filled(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with every column of this schema; those that it lacks are blank."""
        return table.assign(**{n: value for n, value in self.blank.items() if n not in table})

    def laid_out(self, columns: Fields, shape: tuple[int, int]) -> Columns:
        """Questions by comparisons as rows, question by question; what is not given is blank.

        Args:
            columns: values, columns (Q, 1), rows (1, P) or matrices (Q, P), by name.
            shape: Q questions and P comparisons.

        Raises:
            KeyError: a column that the table doesn't have.
        """
        self.require(columns)
        return {name: _long(value, shape) for name, value in (self.blank | {**columns}).items()}

    def require(self, names: Iterable[object]) -> None:
        """Refuse columns that the table doesn't have.

        Raises:
            KeyError: one of them is none of its columns.
        """
        if foreign := {str(name) for name in names} - set(self.columns):
            raise KeyError(f"{self.name} has no column {sorted(foreign)}")

    def stacked(self, blocks: Sequence[Columns]) -> pd.DataFrame:
        """Blocks of columns as one table of this schema, without rows if there are none."""
        if not blocks:
            return self.empty()
        columns = {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}
        return self.conform(pd.DataFrame(columns))

    def joined(self, tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
        """Tables one below another as one of this schema, without rows if there are none."""
        several = list(tables)
        return self.conform(pd.concat(several)) if several else self.empty()

    def read(self, path: Path, mend: Mend = lambda read: read) -> pd.DataFrame:
        """Read a Parquet file of this schema, checked; columns that came later are empty."""
        return self.validate(self.conform(self.filled(mend(pd.read_parquet(path)))))


class Appended:
    """A Parquet file of a schema, while it is written: a table at a time."""

    def __init__(self, schema: Schema, path: Path) -> None:
        """Nothing is written yet."""
        self._schema, self._path = schema, path
        self.writer: ParquetWriter | None = None

    def append(self, table: pd.DataFrame) -> None:
        """Write rows below those that are there; keys are checked among these rows only."""
        import pyarrow.parquet as pq

        held = self._schema._described(table)
        if self.writer is None:
            self.writer = pq.ParquetWriter(self._path, held.schema)
        self.writer.write_table(held)

    def close(self) -> None:
        """End the file."""
        if self.writer is not None:
            self.writer.close()


def _long(value: object, shape: tuple[int, int]) -> Array:
    """A value, column, row or matrix as one long column."""
    if isinstance(value, (str, int, float)):  # most are, and this is quick
        return np.full(shape[0] * shape[1], value, object if isinstance(value, str) else None)
    array = np.asarray(value, dtype=object) if isinstance(value, str) else np.asarray(value)
    return np.broadcast_to(array, shape).reshape(-1)

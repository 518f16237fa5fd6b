"""A manifest as people have it, read as text: every value stays as its file spells it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Fields
from audit.data.packed import packed_name, stream
from audit.data.values import BLANKS

PART: Final = "part"
"""The column that says which of several manifests a row is from."""

EXACT: Final = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
"""From here on a float of so many bits no longer tells neighbouring whole numbers apart."""

_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
#: how many pictures follow; thousands may be set apart
_COUNT: Final = re.compile(r"\d+|\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+", re.ASCII)
_DECLARED: Final = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_WORD: Final = re.compile(r"\s*[^\W\d][\w-]*\s*")
#: '# made in May, by us' or '#made in May'; '#path,age' are names
_COMMENT: Final = re.compile(r"#(?:[\s#]|[^,;\t]*$)")


@dataclass(frozen=True)
class Manifest:
    """The rows of one or several files.

    ``table`` holds text, None where a file holds nothing; its index is the row's place, counted
    from 0 below the header, of several files all together. ``pictures`` are columns of Parquet that
    hold the pictures themselves: in ``table`` they name file and row, see :mod:`audit.data.packed`.
    ``skipped`` are other columns that are no text, and what they hold. ``rounded`` are columns of
    floats whose whole numbers are too large to have stayed what they were.
    """

    table: pd.DataFrame
    pictures: frozenset[str] = frozenset()
    skipped: dict[str, str] = field(default_factory=dict)
    rounded: frozenset[str] = frozenset()


def read_manifests(paths: Sequence[Path], where: str) -> Manifest:
    """One manifest, or several of one folder as one with the column ``part``.

    Raises:
        InputError: a file isn't there, is no table, is empty or names a column twice.
    """
    found = [_read(path, where) for path in paths]
    if len(found) == 1:
        return found[0]
    if len({path.parent for path in paths}) > 1:
        got = f"{where}: manifest names files of several folders"
        raise InputError(got, "Paths of pictures are relative to one folder; use one")
    if any(PART in part.table for part in found):
        got = f"{where}: a manifest has a column '{PART}', which says what file a row is from"
        raise InputError(got, "Rename that column")
    tables = [part.table.assign(**{PART: p.stem}) for part, p in zip(found, paths, strict=True)]
    joined = pd.concat([table.astype(object) for table in tables], ignore_index=True)
    return Manifest(
        joined.where(joined.notna(), None),
        frozenset().union(*(part.pictures for part in found)),
        {name: held for part in found for name, held in part.skipped.items()},
        frozenset().union(*(part.rounded for part in found)),
    )


def _read(path: Path, where: str) -> Manifest:
    readers = {
        ".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".arrow": _read_arrow,
    }  # fmt: skip
    if path.suffix.lower() not in readers:
        got = f"{where}: manifest is '{path.name}'"
        raise InputError(
            sentence(f"{got}, and only .csv, .tsv, .parquet and .arrow files are read")
        )
    if path.is_dir():
        parts = sum(1 for part in path.rglob("*") if part.name.startswith("part-"))
        got = f"{where}: manifest '{path.name}' is a folder"
        got += f" of {parts} parts, as Spark writes it" if parts else ""
        raise InputError(got, "Write its rows into one file, and name that")
    if not path.is_file():
        near = suggest(path.name, [p.name for p in path.parent.glob("*.*")])
        advice = "Its path is taken relative to the card"
        raise InputError(f"{where}: there is no manifest {path}", near, advice)
    return _checked(path, readers[path.suffix.lower()])


def read_table(path: Path) -> Manifest:
    """A table of text, whatever the file's name ends with.

    Raises:
        InputError: it can't be read, is no table, is empty or names a column twice.
    """
    return _checked(path, _read_csv)


def _checked(path: Path, read: Callable[[Path], Manifest]) -> Manifest:
    try:
        manifest = read(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}.") from error
    _refuse_twice(path, [*manifest.table.columns, *manifest.skipped])
    if manifest.table.empty:
        raise InputError(f"{path}: the manifest is empty", "It needs a row a picture")
    return manifest


def _refuse_twice(path: Path, columns: Sequence[str]) -> None:
    twice = pd.Index(columns)[pd.Index(columns).duplicated()]
    if len(twice):
        raise InputError(f"{path}: two columns are called '{twice[0]}'. Rename one.")


# --- CSV --------------------------------------------------------------------------------------


def _read_csv(path: Path) -> Manifest:
    """Rows of text; what stands before the header, and empty rows and columns, are cut."""
    lines = list(io.StringIO(_decoded(path), newline=""))
    before, count, declared = _preamble(lines)
    lines = lines[before:]
    csv.field_size_limit(2**31 - 1)  # boxes and keypoints make cells of megabytes
    separator = declared or _separator(lines[0] if lines else "")
    try:
        rows = _rows(lines, separator)
    except csv.Error as error:
        told = f"{path}: not a CSV file: {error}"
        if "unexpected end" in str(error):
            told = f"{path}: a quotation mark opens a value and is never closed"
        raise InputError(told, 'Write a quotation mark inside a value twice: ""') from error
    header, *rows = rows or [[]]
    names = _names(header, rows)
    kept, places = [], []
    for i, row in enumerate(rows):
        if any(value.strip(BLANKS) for value in row):
            told = f"{path}:{before + i + 2}"
            kept.append(_row(row, names, f"{told}: ", _SEPARATORS.get(separator, "")))
            places.append(i)
    if count is not None and count != len(kept):
        told = f"{path}: its first line counts {count:,} pictures, and {len(kept):,} rows follow"
        raise InputError(told, "Get the whole file, or take that line out")
    if len(names) == 1 and "|" in names[0]:
        advice = "Save it with commas"
        raise InputError(f"{path}: its columns are not separated by commas", advice)
    return Manifest(pd.DataFrame(kept, columns=names, index=places, dtype=object))


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))  # 'Unicode text' of spreadsheets
    try:
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the text is not UTF-8. Save it as CSV UTF-8.") from error
    if "\0" in text:
        raise InputError(f"{path}: holds zero bytes, so it is no text. Save it as CSV UTF-8.")
    return text


def _preamble(lines: list[str]) -> tuple[int, int | None, str]:
    """How many lines stand before the header, the count of pictures and the separator they state.

    They may be empty, a spreadsheet's ``sep=;``, comments, and a count as CelebA's files have it.
    """
    count, separator = None, ""
    for i, line in enumerate(lines):
        said = line.strip(BLANKS + '",;')
        if declared := _DECLARED.fullmatch(line):
            separator = declared[1]
        elif count is None and _COUNT.fullmatch(said):
            count = int(re.sub(r"\D", "", said))
        elif said and not _COMMENT.match(said):
            return i, count, separator
        elif said.startswith("#") and _is_header(said, lines[i + 1 :], separator):
            lines[i] = line.replace("#", "", 1)
            return i, count, separator
    return len(lines), count, separator


def _is_header(comment: str, below: list[str], separator: str) -> bool:
    """Whether what looks like a comment names the columns, a word each; no names are below it."""
    parts = separator or _separator(comment)
    names, row = (line.strip(BLANKS).split(parts) for line in (comment[1:], *below[:1], "")[:2])
    words, values = (all(map(_WORD.fullmatch, line)) for line in (names, row))
    return len(names) == len(row) > 1 and words and not values


def _separator(header: str) -> str:
    """What parts the header's values."""
    parts = {s: len(next(csv.reader([header], delimiter=s), [])) for s in _SEPARATORS}
    return max(parts, key=lambda s: parts[s])


def _rows(lines: list[str], separator: str) -> list[list[str]]:
    """The values of each row; between tabs a quotation mark may be no more than a sign.

    It is where the lines are even without it, and as a quote it is never closed or joins lines.
    """
    plain = [line.rstrip("\r\n").split("\t") for line in lines] if separator == "\t" else []
    even = len({len(row) for row in plain if any(row)}) == 1
    try:
        # a quote that is never closed would swallow the rows after it; one after a blank is a quote
        read = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
        rows = list(read)
    except csv.Error:
        if even:
            return plain
        raise
    return plain if even and len(rows) < len(plain) else rows


def _names(header: list[str], rows: list[list[str]]) -> list[str]:
    """Names of the columns, without empty ones at the end."""
    names = [name.strip(BLANKS) for name in header]
    width = max((i + 1 for i, name in enumerate(names) if name), default=0)
    filled = (i + 1 for row in rows for i, v in enumerate(row[: len(names)]) if v.strip(BLANKS))
    width = max(width, max(filled, default=0))
    return [name or f"unnamed {i + 1}" for i, name in enumerate(names[:width])]


def _row(row: list[str], names: list[str], where: str, separators: str) -> list[str | None]:
    beyond = [value for value in row[len(names) :] if value.strip(BLANKS)]
    if len(row) < len(names) or beyond:
        got = f"{where}{len(row)} values, and the header names {len(names)} columns"
        advice = {
            "commas": "A comma inside a value needs quotes around the value",
            "semicolons": "A semicolon inside a value needs quotes around the value",
        }.get(separators, "Mend that line")
        raise InputError(got, advice)
    return [value.strip(BLANKS) or None for value in row[: len(names)]]


# --- Parquet and Arrow ------------------------------------------------------------------------


def _read_parquet(path: Path) -> Manifest:
    with _sound(path, "a Parquet file"):
        file = pq.ParquetFile(path, buffer_size=1 << 16)  # else columns are read whole
        schema = file.schema_arrow
        _refuse_twice(path, schema.names)
        found = file.read(columns=[f.name for f in schema if not _is_nested(f.type)])
        elsewhere = {
            name: file.read(columns=[f"{name}.path"]).column(name).combine_chunks().field("path")
            for name in _pairs(schema)
            if _are_elsewhere(file, name)
        }
        return _of_columns(path, schema, found, file.metadata.num_rows, elsewhere)


def _read_arrow(path: Path) -> Manifest:
    """An Arrow stream, as Hugging Face's ``save_to_disk`` writes it; what holds pictures stays."""
    with _sound(path, "an Arrow stream"):
        table = stream(path)
        schema = table.schema
        _refuse_twice(path, schema.names)
        elsewhere = {
            name: pc.struct_field(table.column(name), "path")
            for name in _pairs(schema)
            if pc.struct_field(table.column(name), "bytes").null_count == table.num_rows
        }
        return _of_columns(path, schema, table, table.num_rows, elsewhere)


@contextmanager
def _sound(path: Path, what: str) -> Iterator[None]:
    """Turn whatever Arrow says of a file into one sentence."""
    try:
        yield
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        # pyarrow's ArrowInvalid is a ValueError
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(sentence(f"{path}: not {what}: {told}")) from error


def _of_columns(
    path: Path, schema: pa.Schema, found: pa.Table, count: int, elsewhere: Fields
) -> Manifest:
    """Columns as text; ``elsewhere`` are the paths of columns that hold no bytes after all."""
    nested = {f.name: f.type for f in schema if _is_nested(f.type)}
    plain = [name for name in schema.names if name not in nested]
    pictures = {name for name, kind in nested.items() if _holds_pictures(kind)} - {*elsewhere}
    skipped = {
        name: _held(kind)
        for name, kind in nested.items()
        if name not in pictures and name not in elsewhere
    }
    columns = {name: _texts(found.column(name)) for name in plain}
    columns |= {name: _texts(paths) for name, paths in elsewhere.items()}
    columns |= {name: [packed_name(path.name, name, i) for i in range(count)] for name in pictures}
    order = [name for name in schema.names if name in columns]
    table = pd.DataFrame({name: columns[name] for name in order}, index=range(count), dtype=object)
    rounded = frozenset(
        name
        for name in plain
        if pa.types.is_floating(schema.field(name).type) and _is_rounded(found.column(name))
    )
    return Manifest(table, frozenset(pictures), skipped, rounded)


def _pairs(schema: pa.Schema) -> list[str]:
    """Columns that hold pictures as Hugging Face's pair of bytes and path."""
    return [f.name for f in schema if pa.types.is_struct(f.type) and _holds_pictures(f.type)]


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or _is_binary(kind))


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _is_binary(kind.value_type)
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _holds_pictures(kind: pa.DataType) -> bool:
    """Bytes, or Hugging Face's pair of bytes and path."""
    if pa.types.is_struct(kind):
        names = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        return set(names) == {"bytes", "path"} and _is_binary(names["bytes"])
    return _is_binary(kind)


def _are_elsewhere(file: pq.ParquetFile, name: str) -> bool:
    """Whether a column of bytes and path holds paths only; read up to the first bytes."""
    batches = file.iter_batches(batch_size=16, columns=[f"{name}.bytes"])
    return all(batch.column(0).flatten()[0].null_count == len(batch) for batch in batches)


def _held(kind: pa.DataType) -> str:
    """The type of a column in few words; of its content nothing is said."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "lists"
    return "a value of several parts"


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    """The column's values as text: whole numbers with all their digits, others as they print."""
    kind = column.type
    if pa.types.is_floating(kind):
        values = column.to_numpy()
        if kind == pa.float16():
            values = values.astype(np.float32)
        return [None if v != v else _float(v) for v in values]
    if not pa.types.is_dictionary(kind):
        return [_text(value) for value in _values(column)]
    texts: list[str | None] = []  # each text of a chunk once, however many rows have it
    for chunk in column.chunks:
        known = np.array([*map(_text, chunk.dictionary.to_pylist()), None], dtype=object)
        codes = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        texts += known[codes].tolist()
    return texts


def _values(column: pa.ChunkedArray) -> list[object]:
    """What a column holds; times beyond Python's years and digits as Arrow prints them."""
    if column.type == pa.time64("ns"):
        return list(column.cast(pa.string()).to_pylist())
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return list(column.cast(pa.string()).to_pylist())


def _float(value: float) -> str:
    """24, not 24.0: a column of whole numbers with a hole in it is stored as floats."""
    number = float(value)
    if number.is_integer():
        return str(int(number))
    return np.format_float_positional(value, trim="-") if 1e-4 < abs(number) < 1e16 else str(value)


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return text.strip(BLANKS) or None


def _is_rounded(column: pa.ChunkedArray) -> bool:
    values = column.to_numpy()
    with np.errstate(invalid="ignore"):
        sizes = np.abs(values[np.isfinite(values)].astype(float))
    return bool((sizes >= EXACT[column.type.bit_width]).any())

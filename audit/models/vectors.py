"""Vectors with the names of what they embed, out of the files in which people keep them.

``.npy`` with names beside it, ``.npz``, ``.parquet`` (a file, or a folder of parts), a Hugging Face
data set saved to disk, and the folders that clip-retrieval writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.core.errors import AuditError, InputError
from audit.core.registry import suggest
from audit.core.rows import Array, Row
from audit.data.manifest import read_manifests
from audit.data.packed import saved_parts, stream
from audit.models.encoder import AT_ONCE
from audit.models.names import Names

#: what a .npz may call its vectors and their names
_ARRAYS: Final = {
    "images": ("images", "image_embeddings", "img_emb", "embeddings"),
    "image ids": ("image_ids", "ids", "image_id"),
    "texts": ("texts", "text"),
    "text embeddings": ("text_embeddings", "text_emb"),
}
#: clip-retrieval's folders: vectors, and the table whose rows they belong to
_PICTURES, _CAPTIONS, _METADATA = "img_emb", "text_emb", "metadata"


@dataclass(frozen=True)
class Vectors:
    """``rows[i]``, of any length, belongs to ``names[i]``; a row of nan is not there.

    Every name is given once. Rows of an ``.npy`` stay in the file, in its precision: use ``blocks``
    to read them in float32. ``place`` is where they are from, for sentences.
    """

    names: Sequence[str]
    rows: NDArray[np.floating]
    place: str

    def __post_init__(self) -> None:
        """Refuse vectors that can't belong to these names.

        Raises:
            InputError: not one row a name, no rows at all, or a name that is given twice.
        """
        shape = self.rows.shape
        if self.rows.ndim != 2 or not all(shape):
            told = f"{self.place}: vectors are rows of a table, and this has the shape {shape}"
            raise InputError(told, "Store one row a picture or text, and at least one")
        if shape[0] != len(self.names):
            told = f"{self.place}: {shape[0]:,} vectors and {len(self.names):,} names"
            raise InputError(told, "Give one name a vector, in the same order")
        names = self.names
        different = names.different if isinstance(names, Names) else len(set(names))
        if different < len(names):
            seen: set[str] = set()
            twice = next(n for n in names if n in seen or seen.add(n))  # type: ignore[func-returns-value]
            many = len(names) - different
            told = f"{self.place}: '{twice}' has two vectors ({many:,} names come again)"
            raise InputError(told, "Keep one of each")

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """The rows, some at a time, with their places."""
        for start in range(0, len(self.rows), AT_ONCE):
            block = slice(start, min(start + AT_ONCE, len(self.rows)))
            with np.errstate(over="ignore"):  # infinite is found out, and told, by lengths
                yield block, self.rows[block].astype(np.float32, copy=False)


def read_images(
    place: Path, ids: Path | None, id_column: str | None, vector_column: str | None
) -> Vectors:
    """Embeddings of pictures by image id.

    Args:
        place: a file or folder of one of the layouts above.
        ids: where their names are, if ``place`` holds vectors only.
        id_column: the column of a table that names the picture; ``image_id`` (``image_path`` in
            clip-retrieval's) if None.
        vector_column: the column that holds the vector; the only one that can, if None.

    Raises:
        InputError: no such file, none of the layouts, names or vectors that can't be read.
    """
    found = _images(place, ids, id_column, vector_column)
    if "" in found.names:
        told = f"{place}: the picture of row {found.names.index('') + 1} has no name"
        raise InputError(told, "Name it, or leave its vector out")
    return found


def _images(
    place: Path, ids: Path | None, id_column: str | None, vector_column: str | None
) -> Vectors:
    if (place / _PICTURES).is_dir():
        names, rows = _of_clip_retrieval(place, _PICTURES, id_column or "image_path", "id_column")
        return Vectors(tuple(names), rows, str(place))
    column = id_column or "image_id"
    if place.suffix == ".npy":
        if ids is None:
            told = f"{place}: holds vectors and no names"
            raise InputError(told, "Say in 'ids' which file names their pictures")
        rows = _array(place, "r")
        _require_floats(rows, str(place))
        return Vectors(read_names(ids, column), rows, str(place))
    if place.suffix == ".npz":
        return _of_npz(place, "images", "image ids", ids, column)
    return _of_table(place, column, vector_column)


def read_texts(place: Path, text_column: str | None, vector_column: str | None) -> Vectors:
    """Embeddings of texts by the text itself; as ``read_images``."""
    if (place / _CAPTIONS).is_dir():
        names, rows = _of_clip_retrieval(place, _CAPTIONS, text_column or "caption", "text_column")
        first = _first_places(names)  # people's captions come again
        return Vectors(tuple(first), rows[list(first.values())], str(place))
    if place.suffix == ".npz":
        return _of_npz(place, "text embeddings", "texts", None, "")
    return _of_table(place, text_column or "text", vector_column, of_texts=True)


def has_texts(place: Path) -> bool:
    """Whether embeddings of texts lie where those of pictures do."""
    if place.suffix == ".npz" and place.is_file():
        with _readable(place), np.load(place, allow_pickle=False) as arrays:
            return any(name in arrays for name in _ARRAYS["text embeddings"])
    return (place / _CAPTIONS).is_dir()


def scalars(place: Path) -> Row:
    """What a .npz says beside its vectors: every array of one value."""
    if place.suffix != ".npz" or not place.is_file():
        return {}
    with _readable(place), np.load(place, allow_pickle=False) as arrays:
        sizes = {name: arrays[name] for name in arrays.files if name not in _all_names()}
    return {name: array.item() for name, array in sizes.items() if array.size == 1}


def _all_names() -> set[str]:
    return {name for names in _ARRAYS.values() for name in names}


# --- names ------------------------------------------------------------------------------------


def read_names(place: Path, column: str, key: str = "id_column") -> Sequence[str]:
    """Names in order: an array, a text file with one a line, or the column of a table.

    ``key`` is that of the description in which another column can be named.

    Raises:
        InputError: no such file or column, or a name that is missing.
    """
    if place.suffix == ".npy":
        return _names(_array(place), str(place))
    if place.suffix == ".txt":
        with _readable(place):
            return tuple(place.read_text(encoding="utf-8-sig").splitlines())
    table = read_manifests([place], str(place)).table
    if column not in table:
        raise no_column(place, column, list(table.columns), f"Name yours in '{key}'")
    return _whole(table[column].tolist(), f"{place}: {column}")


def _names(array: Array, where: str) -> Sequence[str]:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        told = f"{where}: names are texts or whole numbers in one row, and this has"
        advice = "Store them so, as .ravel() and .astype(str) give them"
        raise InputError(f"{told} {array.dtype} of the shape {array.shape}", advice)
    parts = []
    for start in range(0, len(array), AT_ONCE):
        some = array[start : start + AT_ONCE]
        try:
            texts = np.char.decode(some, "utf-8") if array.dtype.kind == "S" else some
        except UnicodeDecodeError as error:
            told = f"{where}: a name is not in UTF-8"
            raise InputError(told, "Store names as texts (.astype(str))") from error
        parts.append(pa.array([*map(str, texts.tolist())], pa.large_string()))
    return Names(pa.concat_arrays(parts) if parts else pa.array([], pa.large_string()))


def _whole(values: Sequence[str | None], where: str) -> tuple[str, ...]:
    gone = [i for i, value in enumerate(values) if value is None]
    if gone:
        told = f"{where}: {len(gone):,} of {len(values):,} rows have no name"
        raise InputError(told, f"The first is row {gone[0] + 1}", "Fill them in")
    return tuple(value for value in values if value is not None)


def no_column(place: Path, column: str, known: Sequence[str], advice: str = "") -> InputError:
    """The error for a column that a table of records has not."""
    listing = "Its columns are " + ", ".join(f"'{name}'" for name in known[:12])
    told = f"{place}: there is no column '{column}'"
    return InputError(told, suggest(column, known), listing, advice)


# --- arrays -----------------------------------------------------------------------------------


def _array(place: Path, mapped: Literal["r"] | None = None) -> Array:
    with _readable(place):
        array = np.load(place, mapped, allow_pickle=False)
        return array if isinstance(array, np.memmap) else np.asarray(array)


def _floats(array: Array, where: str) -> NDArray[np.float32]:
    _require_floats(array, where)
    with np.errstate(over="ignore"):  # infinite is found out, and told, where rows are scaled
        return array.astype(np.float32, copy=False)


def _require_floats(array: Array, where: str) -> None:
    if array.dtype.kind != "f":
        told = f"{where}: vectors are floating-point numbers, and this holds {array.dtype}"
        raise InputError(told, "Store them as float16, float32 or float64")
    if array.ndim != 2:
        told = f"{where}: vectors are rows of a table, and this has the shape {array.shape}"
        raise InputError(told, "Store one row a picture or text")


def _of_npz(place: Path, what: str, named: str, ids: Path | None, column: str) -> Vectors:
    with _readable(place), np.load(place, allow_pickle=False) as arrays:
        rows, names = (_one_of(arrays, kind, place) for kind in (what, named))
        found = ", ".join(f"'{name}'" for name in arrays.files)
    for held, kind in ((rows, what), (names, named)):
        if held is None and not (kind == named and ids):
            told = f"{place}: no array of {kind}: it has {found or 'none'}"
            raise InputError(told, f"Call it '{_ARRAYS[kind][0]}'")
    assert rows is not None
    own = read_names(ids, column) if ids else _names(np.asarray(names), f"{place}: {named}")
    return Vectors(own, _floats(rows, f"{place}: {what}"), str(place))


def _one_of(arrays: Mapping[str, Array], kind: str, place: Path) -> Array | None:
    """The array of a kind, None if there is none.

    Raises:
        InputError: there are two, and nothing says which is meant.
    """
    found = [name for name in _ARRAYS[kind] if name in arrays]
    if len(found) > 1:
        told = f"{place}: '{found[0]}' and '{found[1]}' are both {kind}"
        raise InputError(told, "Keep the one that is meant")
    return arrays[found[0]] if found else None


# --- tables -----------------------------------------------------------------------------------


def _of_table(
    place: Path, name_column: str, vector_column: str | None, of_texts: bool = False
) -> Vectors:
    table = _table(place)
    key = "text_column" if of_texts else "id_column"
    if name_column not in table.column_names:
        raise no_column(place, name_column, table.column_names, f"Name yours in '{key}'")
    column = _vector_column(place, table.schema, vector_column, of_texts)
    named = table.column(name_column)
    if not (pa.types.is_integer(named.type) or _is_text(named.type)):
        told = f"{place}: the column '{name_column}' holds {named.type}, and names are texts"
        raise InputError(told, f"Name another column in '{key}'")
    names = _whole(named.cast(pa.string()).to_pylist(), f"{place}: {name_column}")
    return Vectors(names, _lists(table.column(column), f"{place}: {column}"), str(place))


def _vector_column(place: Path, schema: pa.Schema, named: str | None, of_texts: bool) -> str:
    """The column that is named, else the only one that holds vectors.

    A name is that of the pictures' column: ``of_texts`` may have another.

    Raises:
        InputError: there is none, or one of several may be meant.
    """
    able = [str(field.name) for field in schema if _is_vector(field.type)]
    if named is not None and named in able:
        return named
    if len(able) == 1 and (named is None or of_texts):
        return able[0]
    listing = ", ".join(f"'{name}'" for name in able)
    if not able:
        told = f"{place}: no column holds vectors"
        advice = "Store each vector as a list of floating-point numbers, all in one column"
    elif named is None:
        told = f"{place}: several columns hold vectors: {listing}"
        advice = "Name one in 'vector_column'"
    else:
        told = f"{place}: the column '{named}' holds no vectors"
        advice = f"Name another in 'vector_column': {listing}"
    raise InputError(told, advice)


def _is_text(kind: pa.DataType) -> bool:
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(text or (pa.types.is_dictionary(kind) and _is_text(kind.value_type)))


def _is_vector(kind: pa.DataType) -> bool:
    types = pa.types
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(lists and types.is_floating(kind.value_type))


def _lists(column: pa.ChunkedArray, where: str) -> NDArray[np.float32]:
    """A column of lists as rows, nan where one is missing."""
    there = column.is_valid().to_numpy()
    whole = column.drop_null().combine_chunks()
    widths = pc.list_value_length(whole).value_counts().to_pylist() if len(whole) else []
    if len(widths) != 1:
        each = ", ".join(f"{w['counts']:,} of {w['values']}" for w in widths) or "none at all"
        raise InputError(f"{where}: vectors have several widths: {each}", "Mend these rows")
    rows = np.full((len(column), int(widths[0]["values"])), np.nan, np.float32)
    with np.errstate(over="ignore"):  # as in ``_floats``
        rows[there] = whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)
    return rows


def _table(place: Path) -> pa.Table:
    if (place / "state.json").is_file():
        return _saved_to_disk(place)
    parts = sorted(place.glob("*.parquet"), key=_in_order) if place.is_dir() else [place]
    if not parts or parts[0].suffix != ".parquet":
        told = f"{place}: not a layout of embeddings that is known"
        known = ".npy, .npz and .parquet files, Hugging Face data sets saved to disk, folders"
        if not place.exists():
            told = f"there is no file or folder {place}"
        if (place / "dataset_dict.json").is_file():
            told = f"{place}: a data set of several splits, each a folder in it"
            raise InputError(told, f"Name one, as {place / 'train'}")
        raise InputError(told, f"Read are {known} of clip-retrieval")
    tables = []
    for part in parts:
        with _readable(part):
            tables.append(pq.read_table(part))
    return _joined(tables, place)


def _saved_to_disk(place: Path) -> pa.Table:
    """A data set that Hugging Face's ``save_to_disk`` wrote: Arrow streams and their list."""
    tables = []
    for part in saved_parts(place):
        with _readable(part):
            tables.append(stream(part))
    return _joined(tables, place)


def _joined(tables: Sequence[pa.Table], place: Path) -> pa.Table:
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        told = f"{place}: its parts differ in their columns, or in what these hold"
        raise InputError(told, "Save all rows alike, as one table") from error


# --- clip-retrieval ---------------------------------------------------------------------------


def _of_clip_retrieval(
    place: Path, what: str, column: str, key: str
) -> tuple[list[str], NDArray[np.float32]]:
    """``img_emb/img_emb_0.npy`` and so on, with ``metadata/metadata_0.parquet``."""
    arrays = {_number(p): p for p in (place / what).glob("*.npy")}
    tables = {_number(p): p for p in (place / _METADATA).glob("*.parquet")}
    if not arrays or set(arrays) != set(tables):
        told = f"{place}: {len(arrays)} parts in {what} and {len(tables)} in {_METADATA}"
        raise InputError(told, "Each part needs both; get the whole folder")
    names: list[str] = []
    rows = []
    for number in sorted(arrays):
        part = _floats(_array(arrays[number]), str(arrays[number]))
        of_part = read_names(tables[number], column, key)
        if len(part) != len(of_part):
            told = f"{arrays[number]}: {len(part):,} vectors, and {len(of_part):,} rows in"
            raise InputError(f"{told} {tables[number].name}", "Get both again")
        names += of_part
        rows.append(part)
    if len(widths := {part.shape[-1] for part in rows}) > 1:
        told = f"{place}: parts have several widths: {sorted(widths)}"
        raise InputError(told, "Keep those of one model")
    return names, np.concatenate(rows)


def _first_places(names: Sequence[str]) -> dict[str, int]:
    """Each name with the place where it first stands."""
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        first.setdefault(name, i)
    return first


def _number(path: Path) -> int:
    """The part that a file is: 'img_emb_12.npy' is the 12th."""
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1


def _in_order(path: Path) -> tuple[int, str]:
    return _number(path), path.name


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    """Turn whatever a library says of a file into one sentence."""
    try:
        yield
    except AuditError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"there is no file {place}", "Check the path") from error
    except Exception as error:  # numpy and pyarrow raise anything here
        said = (str(error).splitlines() or [type(error).__name__])[0]
        told = f"{place}: can't be read: {said:.200}"
        advice = "Get or write the file again"
        if "pickle" in said or "allow_pickle" in said:
            told = f"{place}: holds Python objects, or is no file of numpy's"
            advice = "These are never read: store texts (.astype(str)) and numbers"
        raise InputError(told, advice) from error

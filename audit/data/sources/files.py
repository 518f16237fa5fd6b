"""Files of a published folder: where pictures lie in it, columns that a list needs, JSON lists."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import pandas as pd

from audit.core.errors import InputError
from audit.core.registry import suggest
from audit.data.manifest import read_table
from audit.data.sources.image_folder import SUFFIXES, files_below, is_picture
from audit.data.yamlfile import read_text

#: bytes of a list that is read whole
_LARGEST: Final = 2_000_000_000


def locate(root: Path, names: Sequence[str], *places: str) -> list[str]:
    """Where pictures lie below a folder, in whichever folders, and whatever their names end in.

    Args:
        root: the folder that the paths are relative to.
        names: of the pictures, with an ending or without.
        places: folders below ``root``; if one of them is there, only these are looked into.

    Returns:
        A path a name. A name that is nowhere stays as it is, so that it is counted as missing.

    Raises:
        InputError: two pictures have a name.
    """
    there: dict[str, list[str]] = defaultdict(list)
    for folder in [root / p for p in places if (root / p).is_dir()] or [root]:
        for name in files_below(folder):
            path = folder / name
            there[_stem(path.name).casefold()].append(path.relative_to(root).as_posix())
    return [_only(name, there[_stem(name).casefold()], root) for name in names]


def pictures_below(root: Path) -> list[Path]:
    """The pictures in a folder and in all folders of it, by name; hidden files are passed over."""
    return [root / name for name in files_below(root) if is_picture(name)]


def table_of(listed: Path, columns: Iterable[str], url: str = "") -> pd.DataFrame:
    """The rows of a list, whatever its name ends with.

    Args:
        listed: CSV: commas, semicolons or tabs.
        columns: that it has to have.
        url: where it is published.

    Raises:
        InputError: it is no such table, or lacks a column.
    """
    table = read_table(listed).table
    require_columns(table, columns, listed, url)
    return table


def require_columns(
    table: pd.DataFrame, columns: Iterable[str], listed: Path, url: str = ""
) -> None:
    """Refuse a list that lacks a column.

    Raises:
        InputError: the first one that isn't there.
    """
    if lost := [name for name in columns if name not in table]:
        near = suggest(lost[0], [str(name) for name in table])
        again = f"Get it again: {url}" if url else "Get it again"
        raise InputError(f"{listed}: has no column '{lost[0]}'", near, again)


def read_json(path: Path, kind: type[list[object]] | type[dict[str, object]]) -> object:
    """What a JSON file holds, a list or an object.

    Raises:
        InputError: it can't be read, is no JSON, is cut, holds something else, or nothing.
    """
    try:
        held = json.loads(read_text(path, _LARGEST))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no whole JSON: {error}", "Get it again") from error
    if not isinstance(held, kind) or not held:
        wanted = "a list" if kind is list else "an object"
        raise InputError(f"{path}: is not {wanted} with anything in it", "Get it again")
    return held


def _stem(name: str) -> str:
    """A name without its folder, and without its ending if that is one of pictures."""
    last = PurePosixPath(name)
    return last.stem if last.suffix.lower() in SUFFIXES else last.name


def _only(name: str, found: Sequence[str], root: Path) -> str:
    exact = [path for path in found if PurePosixPath(path).name == PurePosixPath(name).name]
    if len(exact or found) > 1:
        one, other = sorted(exact or found)[:2]
        told = f"{root}: the picture '{name}' is there twice, as '{one}' and '{other}'"
        raise InputError(told, "Take one of them out")
    return next(iter(exact or found), name)

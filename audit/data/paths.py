"""Paths of pictures as a manifest names them, and as they are on this disk."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from audit.core.errors import InputError
from audit.data.images import inside
from audit.data.packed import container


def on_disk(paths: Sequence[str], root: Path) -> list[str]:
    """Each path with this system's separators and the disk's Unicode form of its name.

    Windows writes backslashes, and macOS may store 'é' as two signs; a path is changed only where
    no file has the name as it is written, so a file that has it is always the one that is meant.
    """
    listed = lru_cache(maxsize=None)(_by_form)
    return [path if path.isascii() and "\\" not in path else _found(path, root, listed)
            for path in paths]  # fmt: skip


Listing = Callable[[Path], dict[str, str | None]]


def _found(path: str, root: Path, listed: Listing) -> str:
    if "\0" in path or os.path.lexists(root / path):
        return path
    slashed = path.replace("\\", "/") if "/" not in path else path
    if "\\" in path and slashed.isascii():
        return slashed
    place = root
    for part in Path(slashed).parts:
        same = None if os.path.lexists(place / part) else listed(place).get(_form(part))
        place = place / (same or part)
    found = os.path.relpath(place, root)
    return found if os.path.lexists(place) and inside(place, root) else slashed


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _by_form(folder: Path) -> dict[str, str | None]:
    """The names in a folder by their composed form; None where two names share it."""
    found: dict[str, str | None] = {}
    try:
        for name in os.listdir(folder):
            found[_form(name)] = None if _form(name) in found else name
    except OSError:  # no such folder: its pictures are quarantined as missing, each by its name
        return {}
    return found


def require_inside(paths: Sequence[str], root: Path, where: Callable[[int], str]) -> None:
    """Refuse paths that are absolute or lead, links followed, out of the folder.

    Args:
        paths: as :func:`on_disk` gives them.
        root: the manifest's folder.
        where: says which row is the i-th.

    Raises:
        InputError: the first path that does.
    """
    contained = lru_cache(maxsize=None)(lambda folder: inside(folder, root))
    for i, text in enumerate(paths):
        path = container(root / text)
        absolute = Path(text).is_absolute() or PureWindowsPath(text).is_absolute()
        fine = "\0" not in text and not absolute and contained(path.parent)
        if not fine or path.name == ".." or (os.path.islink(path) and not inside(path, root)):
            fault = "is absolute" if absolute else "leaves the manifest's folder"
            told = f"{where(i)} names the picture '{text}', which {fault}"
            advice = "Give paths relative to that folder and inside it"
            raise InputError(told, advice)

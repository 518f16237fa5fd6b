"""Files that are there whole or not at all, and what is said where none can be written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from audit.core.errors import InputError


def unwritable(folder: Path, what: str, error: OSError, option: str) -> InputError:
    """The sentence for a full disk or a folder that can't be written."""
    return InputError(
        f"{folder}: can't write {what} there ({error.strerror or error})",
        f"Free some space or name another folder with {option}",
    )


def require_writable(path: Path) -> None:
    """Refuse a file or folder that can't be written, before anything is computed for it.

    Raises:
        InputError: neither it nor the nearest folder above it that exists can be written.
    """
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not os.access(there, os.W_OK) or (there != path.absolute() and not there.is_dir()):
        told = f"{path} can't be written: {there} is read-only or no folder"
        raise InputError(told, "Name another place, or work on a copy in one of yours")


def digest_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, data: object) -> None:
    """Write JSON that a person can read."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file aside (``written_aside``)."""
    with written_aside(path, mode) as aside:
        aside.write_bytes(content)


@contextlib.contextmanager
def written_aside(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Fill another file, which takes the place of ``path`` when it is whole and on the disk.

    If the block raises, ``path`` is as it was and nothing is left aside. A process that is killed
    leaves a hidden file, ``.*.tmp``.

    Args:
        path: the file to make or to replace; its folder exists.
        mode: the permissions of a new file, of which the umask takes some away.

    Yields:
        The file to fill, empty.
    """
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()

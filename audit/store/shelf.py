"""Rows on disk by key, in shards that are written once and checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import stat
import struct
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.core.errors import InputError
from audit.core.files import write_bytes
from audit.core.rows import Array

Bytes = NDArray[np.uint8]


KEY = 32


_MAGIC = b"CLIPAUD1"


_HEADER = struct.Struct("<8sQQ")


_STALE_SECONDS = 3600.0


def picture_key(pixels: str, alteration: str = "") -> bytes:
    """The key of a picture: the digest of its pixels, and of the alteration's name if any."""
    if not alteration:
        return bytes.fromhex(pixels)
    return hashlib.sha256(f"{pixels}\n{alteration}".encode()).digest()


class Shelf:
    """A folder of shards that maps 32-byte keys to rows of one width in bytes.

    A shard is a header (magic, count, width), the keys, the rows, and a BLAKE2b checksum of all of
    it. A damaged one is dropped with a warning: what it held is made again.
    """

    def __init__(self, folder: Path, width: int | None) -> None:
        """``width`` in bytes of a row; None takes it from the shards."""
        self.folder, self._width = folder, width
        self._shards: dict[Path, tuple[Bytes, Bytes]] = {}
        self._index: dict[bytes, tuple[Path, int]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._index

    def get(self, key: bytes) -> bytes | None:
        """One row, or None."""
        found = self._index.get(key)
        return None if found is None else self._shards[found[0]][1][found[1]].tobytes()

    def rows(self, keys: Sequence[bytes]) -> Bytes:
        """The rows of keys that are all there, in order, as bytes: uint8, shape (n, width)."""
        found = np.empty((len(keys), self._width or 0), dtype=np.uint8)
        places: dict[Path, tuple[list[int], list[int]]] = {}
        for i, key in enumerate(keys):
            shard, row = self._index[key]
            wanted, rows = places.setdefault(shard, ([], []))
            wanted.append(i)
            rows.append(row)
        for shard, (wanted, rows) in places.items():
            found[wanted] = self._shards[shard][1][rows]
        return found

    def refresh(self) -> None:
        """See what other processes added or removed, and clear what killed ones left."""
        there = set(self.folder.glob("*.shard"))
        if lost := self._shards.keys() - there:
            kept = {path: shard for path, shard in self._shards.items() if path not in lost}
            self._shards, self._index = {}, {}
            for path, shard in kept.items():  # a key may be in a shard that is left, too
                self._add(path, *shard)
        for path in sorted(there - self._shards.keys()):
            if (read := _read_shard(path, self._width)) is not None:
                self._add(path, *read)
        _sweep(self.folder, _STALE_SECONDS)

    def put(self, keys: Sequence[bytes], rows: Array) -> None:
        """Keep rows, for good once this returns."""
        data = np.ascontiguousarray(rows).view(np.uint8).reshape(len(keys), -1)
        packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), KEY)
        path = self.folder / f"{uuid.uuid4().hex}.shard"
        private(self.folder)
        header = _HEADER.pack(_MAGIC, len(keys), data.shape[1])
        write(path, sealed(header + packed.tobytes() + data.tobytes()))
        if (shard := _read_shard(path, self._width)) is not None:
            self._add(path, *shard)

    def discard(self, wanted: Callable[[Bytes, Bytes], Sequence[bool]]) -> int:
        """Remove the rows for which ``wanted(keys, rows)`` is true; returns how many keys went."""
        self.refresh()
        _sweep(self.folder, 0.0)
        gone: set[bytes] = set()
        for path, (keys, rows) in list(self._shards.items()):
            out = np.array(wanted(keys, rows), dtype=bool)
            if not out.any():
                continue
            gone.update(key.tobytes() for key in keys[out])
            if not out.all():
                self.put([key.tobytes() for key in keys[~out]], rows[~out])
            path.unlink(missing_ok=True)
        self.refresh()
        return len(gone)

    def _add(self, path: Path, keys: Bytes, rows: Bytes) -> None:
        self._width = self._width or rows.shape[1]
        self._shards[path] = keys, rows
        for i, key in enumerate(keys):
            self._index.setdefault(key.tobytes(), (path, i))


def _read_shard(path: Path, width: int | None) -> tuple[Bytes, Bytes] | None:
    """Keys and rows of a whole shard; the rows stay on disk until they are read."""
    content = unsealed(path)
    if content is None:
        return None
    magic, count, stored = _HEADER.unpack_from(content)
    if magic != _MAGIC or width not in (None, stored):
        _drop(path)
        return None
    start = _HEADER.size
    keys = np.frombuffer(content, np.uint8, count * KEY, start).reshape(count, KEY).copy()
    rows = np.memmap(path, np.uint8, "r", start + count * KEY, (count, stored))
    return keys, np.asarray(rows)


def sealed(content: bytes) -> bytes:
    """A shard's content with its checksum."""
    return content + hashlib.blake2b(content, digest_size=KEY).digest()


def unsealed(path: Path) -> bytes | None:
    """What a file holds, or None if it went away, or was damaged and had to be dropped."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # purged by another process meanwhile
        return None
    except OSError as error:
        raise InputError(f"{path}: the embedding cache can't be read: {_said(error)}.") from error
    body = content[:-KEY]
    if not body or sealed(body) != content:
        _drop(path)
        return None
    return body


def _drop(path: Path) -> None:
    warnings.warn(
        f"{path}: damaged, so it was dropped; what it held will be made again.", stacklevel=2
    )
    path.unlink(missing_ok=True)


def text_digest(text: str) -> str:
    """A name for a text, whatever it holds."""
    return hashlib.sha256(text.encode()).hexdigest()


def private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner only."""
    try:
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
        if stat.S_IMODE(folder.stat().st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise _unwritable(folder, error) from error


def write(path: Path, content: bytes) -> None:
    """Write a file of the cache, readable by the owner only."""
    try:
        write_bytes(path, content, mode=0o600)
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def _sweep(folder: Path, age: float) -> None:
    """Remove what a killed process left half written."""
    for left in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > age:
                left.unlink()


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"{folder}: the embedding cache can't be written: {_said(error)}. Make room there or make "
        "it yours, or name another folder with --cache."
    )


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__

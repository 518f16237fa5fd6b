"""Which picture a file held when it was last read, so that it need not be read again.

A file is taken for the same while its path, size and modification time are. Unlike the digest of
its bytes that can be fooled, by whoever sets a time back; ``--verify`` reads and hashes all.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from audit.data.packed import container
from audit.store.shelf import Shelf

#: a file that was changed so shortly ago may change again without another time being told
_SETTLED: Final = 2.0  # seconds; FAT counts in these


class Remembered:
    """Digests of the pixels of files, by where they lie, how large they are and how old."""

    def __init__(self, shelf: Shelf | None, root: Path | None, how: str) -> None:
        """Without a shelf nothing is remembered; ``how`` names all that decides the pixels."""
        self._shelf, self._how = shelf, how
        self._root = os.path.realpath(root) if root is not None else None
        self._real = lru_cache(maxsize=1000)(os.path.realpath)  # of folders, which have many files

    def key(self, path: Path) -> bytes:
        """What a file is remembered by; blank for one that decoding should judge."""
        place = os.path.join(self._root, path) if self._root is not None else str(path)
        file = str(container(Path(place))) if "#" in place else place
        folder, name = os.path.split(file)
        try:
            real = os.path.join(self._real(folder), name)
            found = os.lstat(real)
            if stat.S_ISLNK(found.st_mode):
                real = os.path.realpath(real)
                found = os.stat(real)
        except (OSError, ValueError):
            return b""
        outside = self._root is not None and not real.startswith(f"{self._root}{os.sep}")
        fresh = time.time() - found.st_mtime < _SETTLED
        if outside or fresh or not stat.S_ISREG(found.st_mode):
            return b""
        said = f"{self._how}\0{real}\0{place[len(file) :]}\0{found.st_size}\0{found.st_mtime_ns}"
        return hashlib.sha256(said.encode("utf-8", "surrogateescape")).digest()

    def pixels(self, key: bytes) -> str:
        """The digest of the pixels that were read, in hex; blank if they are not remembered."""
        found = self._shelf.get(key) if self._shelf is not None and key else None
        return "" if found is None else found.hex()

    def add(self, found: Iterable[tuple[bytes, str]]) -> None:
        """Remember pixels by their file's key."""
        if self._shelf is None:
            return
        new = {key: pixels for key, pixels in found if key and key not in self._shelf}
        if new:
            rows = np.frombuffer(bytes.fromhex("".join(new.values())), np.uint8)
            self._shelf.put(list(new), rows)

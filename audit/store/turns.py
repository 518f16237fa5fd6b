"""Whose turn it is to encode: of several processes that want the same, one does the work.

The others wait and find it in the store. A lock of the operating system goes with the process that
holds it, however that ends; where the system offers none, everybody encodes, as if alone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Final

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

#: seconds without a sign of life after which a holder, stopped or hung, is not waited for
SILENCE: Final = 120.0
_ASK_AGAIN: Final = 0.2


class Turn:
    """The turn to do what a lock file stands for; taken once, at the latest moment."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        """``tell`` is called with a sentence when another process has the turn."""
        self.path, self._tell = path, tell
        self._file: IO[str] | None = None
        self._taken = False

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def take(self) -> bool:
        """Wait for the turn; True the first time, when others may have done some of it."""
        if self._taken:
            return False
        self._taken = True
        with contextlib.suppress(OSError):  # where no lock can be had, all do the work
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
            if not self._locked():
                self._wait(self._file.read().strip())
            self._sign()
        return True

    def alive(self) -> None:
        """Show those who wait that work goes on."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _wait(self, holder: str) -> None:
        self._tell(f"another run{holder and f' (process {holder})'} is encoding these pictures")
        while not self._locked():
            if time.time() - self.path.stat().st_mtime > SILENCE:
                self._tell(f"the other run{holder and f' (process {holder})'} stands still")
                return
            time.sleep(_ASK_AGAIN)

    def _locked(self) -> bool:
        try:
            if fcntl is not None and self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _sign(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

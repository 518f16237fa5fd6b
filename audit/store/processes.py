"""Processes that do part of the work, where threads would wait for one another.

Python lets one thread at a time run its own code; where there are many cores and a fast model, that
keeps cores and model idle. A process here holds one object and calls its methods when it is asked.
It is a plain Python that imports this package and what the object is made of, never the user's own
script, which may have no guard, or be a notebook or a page. Objects travel through its input and
output (pickle, whose large arrays are written and read as they lie in memory), so nothing is left
behind when either side is killed: the other sees the end of the pipe.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import numpy as np
import PIL

from audit.core.errors import AuditError
from audit.data import intact

#: bytes that a pipe holds where the system can be asked for more than its 64 kB
_PIPE: Final = 1 << 20
_CODE: Final = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from audit.store.processes import serve; serve()"
)
#: how the end of the other side shows
_GONE: Final = (EOFError, OSError, pickle.UnpicklingError)


class Processes:
    """Processes that hold one object; made by ``started``."""

    def __init__(self) -> None:
        """None yet."""
        self._all: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        self._lock, self._alive = threading.Lock(), 0

    def __len__(self) -> int:
        """How many were started."""
        return len(self._all)

    def begin(self, count: int, work: bytes) -> None:
        """Start so many, and wait until each has loaded ``work``.

        Raises:
            OSError, EOFError, pickle.UnpicklingError: one can't be started, or can't load it.
        """
        for _ in range(count):
            self._all.append(_start())
        self._alive = count
        for process in self._all:
            _send(process.stdin, [place for place in sys.path if isinstance(place, str)])
            _send(process.stdin, work)
        for process in self._all:
            if pickle.load(_there(process.stdout)) != _versions():
                raise OSError("another version than that of this process")
            self._idle.put(process)

    def ask(self, method: str, *given: object) -> object:
        """What a method of the object returns, or raises; from several threads at a time.

        A process that was killed meanwhile is left out, and another is asked.

        Raises:
            AuditError: all were killed.
        """
        while (process := self._idle.get()) is not None:
            try:
                _send(process.stdin, (method, given))
                answer = pickle.load(_there(process.stdout))
            except _GONE:
                self._lose(process)
                continue
            self._idle.put(process)
            if isinstance(answer, Exception):
                raise answer
            return answer
        self._idle.put(None)  # for the next thread that waits
        told = f"all {len(self)} processes that help were killed, perhaps for memory"
        fewer = "Set CLIP_AUDIT_READERS to a smaller number, or to 0 to do without them"
        raise AuditError(told, fewer)

    def end(self) -> None:
        """Kill all that are left; whoever waits for one is told that it is gone."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()

    def close(self) -> None:
        """Close the pipes, once nobody waits any more."""
        for process in self._all:
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what it was not sent any more
                    _there(pipe).close()

    def _lose(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        with self._lock:
            self._alive -= 1
            if not self._alive:
                self._idle.put(None)


@contextlib.contextmanager
def started(count: int, work: object) -> Iterator[Processes | None]:
    """So many processes that hold ``work``; None if none is wanted, or if that can't be had.

    It can't where ``work`` can't be pickled or is made of what the user's script, notebook or page
    defines, and where the system starts no process, starts it with other versions, or would start
    another program, as of an application that comes with a Python of its own.
    """
    python = "python" in Path(sys.executable or "").name.lower()
    sent = packed(work) if count and python else b""
    processes = Processes()
    try:
        try:
            if sent:
                processes.begin(count, sent)
        except _GONE:
            sent = b""
            processes.end()
        yield processes if sent else None
    finally:
        processes.end()
        processes.close()


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve() -> None:
    """What a process does until its input ends: load an object, then call what it is asked to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asks decides when to end
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(Exception):  # the one that asks sees that this one has ended
        work = pickle.loads(pickle.load(asked))
        _send(answers, _versions())
        while True:
            method, given = pickle.load(asked)
            try:
                answer = getattr(work, method)(*given)
            except Exception as error:  # one that surely can be sent
                answer = AuditError(f"{type(error).__name__}: {error}")
            _send(answers, answer)
    os._exit(0)  # nothing is left to be flushed


def packed(work: object) -> bytes:
    """The object for another process; blank if it can't be sent."""
    with contextlib.suppress(Exception):  # whatever the object's own methods raise
        sent = pickle.dumps(work, protocol=5)
        return b"" if b"__main__" in sent else sent
    return b""


def _start() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # one thread each: there are as many as cores
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C in the terminal is not for it
    )
    with contextlib.suppress(ImportError, OSError, AttributeError):  # Linux only
        import fcntl

        fcntl.fcntl(_there(process.stdout), fcntl.F_SETPIPE_SZ, _PIPE)
    return process


def _send(pipe: IO[bytes] | None, what: object) -> None:
    pickle.dump(what, _there(pipe), protocol=5)
    _there(pipe).flush()


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _versions() -> tuple[str, ...]:
    """What has to be the same on both sides: another version may decode other pixels."""
    return sys.version, PIL.__version__, np.__version__, str(intact.VERSION)

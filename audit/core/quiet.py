"""Keep the error stream for this tool's own words while libraries work."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

_PACKAGE: Final = str(Path(__file__).parents[1])


@contextlib.contextmanager
def libraries_quiet() -> Iterator[TextIO]:
    """What libraries write to the error stream goes nowhere; yields a stream that still reaches it.

    Image libraries in C write lines about damaged files past Python to descriptor 2; others warn,
    log and draw progress bars on ``sys.stderr``. Warnings of this package are written to the
    stream that is yielded. Exceptions pass as ever.
    """
    with contextlib.ExitStack() as stack:
        stream, warned = sys.stderr, warnings.showwarning
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
        own = stack.enter_context(_moved(nowhere))

        def show(
            message: Warning | str, category: type[Warning], filename: str, *rest: object
        ) -> None:
            if filename.startswith(_PACKAGE):
                print(message, file=own)

        sys.stderr, warnings.showwarning = nowhere, show  # type: ignore[assignment]
        try:
            yield own
        finally:
            sys.stderr, warnings.showwarning = stream, warned
            own.flush()


@contextlib.contextmanager
def _moved(nowhere: TextIO) -> Iterator[TextIO]:
    """Lead descriptor 2 to ``nowhere``; yields what ``sys.stderr`` was, on a descriptor of its own.

    A stream that is no file, as in tests and notebooks, is yielded as it is.
    """
    stream = sys.stderr
    try:
        stream.flush()
        kept = os.dup(2)
    except (AttributeError, OSError):  # there is none
        yield stream or nowhere
        return
    os.dup2(nowhere.fileno(), 2)
    try:
        if _is_descriptor_2(stream):
            with open(  # noqa: PTH123
                os.dup(kept), "w", encoding=stream.encoding, errors="backslashreplace", buffering=1
            ) as own:
                yield own
        else:
            yield stream
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _is_descriptor_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False

"""What the pages import is imported between them, while a reader reads the first."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from threading import Thread
from typing import Final

import audit

# where Jupyter is installed, jsonschema would build a grammar of addresses, a second of processor
# that the charts, which import it, never ask for
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
#: what the first page needs, which may be imported while the browser still asks for it
FIRST: Final = ("parts.fact_charts", "parts.found")
#: what the first page does without, dearest first
DEAR: Final = ("parts.topics", "parts.author")
#: and of what ``audit`` offers by name
OFFERED: Final = ("lab", "comparison", "gallery")
#: what is done once the first page is drawn; a server has readers and puts it here, tests have none
WAITING: Final[list[Callable[[], object]]] = []
#: an entry a page that is being drawn
_PAGES: Final[list[None]] = []
#: when a page was drawn last
_DRAWN: Final = [0.0]
#: seconds without a page after which nobody seems to wait for one
QUIET: Final = 1.0


def begin() -> None:
    """Import what the first page needs, before anybody asks for it."""
    Thread(target=lambda: [import_module(name) for name in FIRST], daemon=True).start()


@contextmanager
def drawing() -> Iterator[None]:
    """A page is drawn; what waits begins after the first."""
    _PAGES.append(None)
    try:
        yield
    finally:
        _PAGES.pop()
        _DRAWN[0] = time.monotonic()
        with suppress(IndexError):  # of several readers one was first
            Thread(target=WAITING.pop(), daemon=True).start()


def prepare() -> None:
    """Import what is dear and read what the lab knows of words; a page tells what it can't.

    All of that stays: Streamlit looks for rubbish after every page, and need not look there.
    """
    for name in DEAR:
        between_pages(import_module, name)
    for name in OFFERED:
        between_pages(partial(getattr, audit), name)
    between_pages(lambda text: audit.pages.accusation(text), "")  # reads all label sets, once
    between_pages(lambda _: gc.freeze(), "")


def between_pages(do: Callable[[str], object], given: str) -> None:
    """Do it when no page is being drawn, and none was a moment ago: several readers may come."""
    while _PAGES or time.monotonic() - _DRAWN[0] < QUIET:
        time.sleep(0.05)
    with suppress(Exception):
        do(given)

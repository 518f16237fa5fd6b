"""Libraries that read a checkpoint: what they raise and what they print, kept to one sentence."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from audit.core.errors import AuditError, InputError


@contextlib.contextmanager
def readable(ref: str, what: str) -> Iterator[None]:
    """Turn whatever a library says of a broken file into one sentence."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:  # libraries raise anything here: RuntimeError, TypeError, ...
        said = str(error).strip().splitlines()
        raise InputError(
            f"{ref}: its {what} can't be read: {said[0] if said else type(error).__name__:.200} "
            "Download or save the checkpoint again."
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bar for reading a local file, which takes a moment."""
    if "transformers" not in sys.modules:  # nor is it imported for this
        yield
        return
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()

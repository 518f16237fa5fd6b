"""A part of a page that can't be drawn is named in its place; the rest of the page stands."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import streamlit as st

from audit import pages
from parts.words import plain

P = ParamSpec("P")
R = TypeVar("R")


def attempt(part: str, draw: Callable[P, R], *given: P.args, **named: P.kwargs) -> R | None:
    """What draws a part of a page; if it raises, that is told there and None comes back."""
    try:
        return draw(*given, **named)
    except Exception as error:  # whatever it is, the other parts of the page can be read
        told(pages.Damage.of(part, error))
        return None


def told(damage: pages.Damage) -> None:
    """The sentence in the place of a part."""
    st.error(plain(damage), icon=":material/warning:")
    warnings.warn(pages.DamagedWarning(str(damage)), stacklevel=3)

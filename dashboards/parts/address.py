"""Every view is in the address: what a reader chooses stands there, so that a link opens it.

Where what is chosen is its own short name, a widget has ``bind=ADDRESS`` and a short ``key``. Where
it has an id that is shorter than what it is called, or stays when that changes, it is chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import streamlit as st

from parts.words import plain

T = TypeVar("T")
#: how a widget's value is kept in the address under the widget's key
ADDRESS: Final[Literal["query-params"]] = "query-params"


def choose(
    place: Any,
    label: str,
    options: Mapping[str, T],
    name: str,
    called: Callable[[str], str] = str,
    **more: Any,
) -> T:
    """A select box whose choice stands in the address by its id.

    A link opens what it names; where that is not there, the page says so and shows the first.

    Args:
        place: where it is drawn: ``st`` or a column.
        label: what is chosen.
        options: what there is, by id; the first at first.
        name: of the parameter in the address.
        called: what an id is called in the box; no two alike.
        more: as ``st.selectbox`` has them.
    """
    key, last = key_of(name), f"{name} in the address"
    asked = st.query_params.get(name)
    if asked != st.session_state.get(last):  # a link, or a step back
        if asked in options:
            st.session_state[key] = asked
        elif asked:
            place.info(plain(f"The address asks for ‘{asked}’, which is not here."))
    if st.session_state.get(key) not in options:
        st.session_state[key] = next(iter(options))
    chosen = str(place.selectbox(label, list(options), format_func=called, key=key, **more))
    st.session_state[last] = chosen
    if asked != chosen:
        st.query_params[name] = chosen
    return options[chosen]


def key_of(name: str) -> str:
    """Where the id that is chosen is kept in the session, for what chooses it by a click."""
    return f"chosen {name}"


def told_apart(names: Mapping[str, str]) -> Mapping[str, str]:
    """What ids are called; those that are called alike tell their id too.

    A select box knows its options by what they are called, so no two may be called the same.
    """
    often = list(names.values())
    return {i: name if often.count(name) == 1 else f"{name} ({i})" for i, name in names.items()}


def first(options: Sequence[T], *wanted: T) -> int:
    """Where the first of the wanted stands that is offered; the first place if none is."""
    return next((list(options).index(w) for w in wanted if w in options), 0)

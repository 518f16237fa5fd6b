"""Every view is in the address: what a reader chooses stands there, so that a link opens it.

Where what is chosen is its own short name, a widget has ``bind=ADDRESS`` and a short ``key``. Where
it has an id that is shorter than what it is called, or stays when that changes, it is chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeVar

import streamlit as st

from parts.words import plain

T = TypeVar("T")
#: how a widget's value is kept in the address under the widget's key
ADDRESS: Final[Literal["query-params"]] = "query-params"


_DRAWN: Final = "what this page keeps in the address"


@contextmanager
def tidied() -> Iterator[None]:
    """What was chosen on a page goes into the address, at once: a step in the browser's history.

    What another page kept there, and this one doesn't know, is dropped. After a step back, to where
    the address did not name it yet, nothing is written: the next step back would lead here again.
    """
    before: Mapping[str, list[str]] = st.session_state.get(_DRAWN, {})
    drawn: dict[str, list[str]] = {}
    st.session_state[_DRAWN] = drawn
    try:
        yield
    finally:
        for name in {*before} - {*drawn}:
            st.session_state.pop(_last(name), None)
            st.query_params.pop(name, None)
        written = {}
        for name, chosen in drawn.items():
            asked, last = st.query_params.get_all(name), st.session_state.get(_last(name), [])
            back = bool(last) and not asked
            if asked != chosen and not back:
                written[name] = chosen
            st.session_state[_last(name)] = [] if back else chosen
        if written:
            st.query_params.update(written)


def _asked(name: str) -> tuple[list[str], bool]:
    """What the address has under a name, and whether that is new: a link, or a step back."""
    asked = st.query_params.get_all(name)
    return asked, asked != st.session_state.get(_last(name), [])


def _keep(name: str, chosen: list[str]) -> None:
    st.session_state[_DRAWN][name] = chosen


def _last(name: str) -> str:
    return f"{name} in the address"


def _missing(place: Any, ids: Sequence[str]) -> None:
    if told := ", ".join(f"‘{i}’" for i in ids):
        place.info(plain(f"The address asks for {told}, which is not here."))


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
        options: what there is, by id; the first at first. A blank id stands for none.
        name: of the parameter in the address.
        called: what an id is called in the box; no two alike.
        more: as ``st.selectbox`` has them.
    """
    key = key_of(name)
    asked, new = _asked(name)
    if asked and new:
        _missing(place, [i for i in asked if i not in options])
        st.session_state[key] = asked[-1]
    if st.session_state.get(key) not in options:
        st.session_state[key] = next(iter(options))
    more = {"persist_state": "session", **more}
    chosen = str(place.selectbox(label, list(options), format_func=called, key=key, **more))
    _keep(name, [chosen] if chosen else [])
    return options[chosen]


def choose_some(
    place: Any,
    label: str,
    options: Mapping[str, T],
    name: str,
    called: Callable[[str], str] = str,
    **more: Any,
) -> Mapping[str, T]:
    """A box in which several are chosen, or none, that stand in the address by their ids.

    Args: those of ``choose``; nothing is chosen at first but what ``key_of(name)`` holds.
    """
    key = key_of(name)
    asked, new = _asked(name)
    if asked and new:
        _missing(place, [i for i in asked if i not in options])
        st.session_state[key] = asked
    st.session_state[key] = [i for i in st.session_state.get(key, ()) if i in options]
    more = {"persist_state": "session", **more}
    chosen = place.multiselect(label, list(options), format_func=called, key=key, **more)
    _keep(name, chosen)
    return {i: options[i] for i in chosen}


def write(draw: Callable[..., str], label: str, given: str, name: str, of: str, **more: Any) -> str:
    """A field whose text stands in the address where it isn't what was given.

    Args:
        draw: ``st.text_area`` or the like.
        label: of the field.
        given: the text at first.
        name: of the parameter in the address.
        of: what the text is about; about something else it is another text.
        more: as ``draw`` has them.
    """
    key = f"{name} {of}"
    asked, new = _asked(name)
    if asked and new and key not in st.session_state:
        st.session_state[key] = asked[-1]
    st.session_state.setdefault(key, given)
    text = draw(label, key=key, **more)
    _keep(name, [text] if text != given else [])
    return text


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

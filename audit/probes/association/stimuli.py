"""Sets of words, or of pictures by their columns and values: as suites name them, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

from audit.core.errors import sentence

Words = tuple[str, ...]
Pictures = dict[str, Words]


def several(value: object) -> object:
    """One text as several; nothing as none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _stimuli(value: object) -> object:
    """Words, or columns of the manifest with their values."""
    if isinstance(value, Mapping) and value:
        return {str(column): _read(values) for column, values in value.items()}
    return _read(value)


def _read(value: object) -> Words:
    """Texts, of which there may be none.

    Raises:
        ValueError: something else.
    """
    given = several(value)
    if not isinstance(given, list | tuple):
        told = f"{value!r} is neither words nor pictures"
        raise ValueError(sentence(told, "Give labels, tags or label sets, or {column: value}"))
    for text in given:
        if not isinstance(text, str):
            raise ValueError(sentence(f"{text!r} is not read as text", "Put it in quotes"))
    return tuple(given)


Stimuli = Annotated[Words | Pictures, BeforeValidator(_stimuli)]


def called(of: Words | Pictures, most: int = 3) -> str:
    """A set in a few words."""
    if isinstance(of, dict):
        told = [f"{column} {' or '.join(values)}" for column, values in of.items()]
        return " and ".join(t.removeprefix("path ") for t in told)
    more = [f"{len(of) - most} more"] if len(of) > most else []
    return ", ".join([*of[:most], *more])


def in_words(of: Words | Pictures) -> str:
    """A set in a sentence."""
    if isinstance(of, dict):
        return f"pictures of '{called(of)}'"
    return " and ".join(f"'{word}'" for word in called(of).split(", "))

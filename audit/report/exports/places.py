"""A public copy without places on this machine: a path is but its last name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from audit.core.rundir import Run
from audit.models.families import parted


def names_in(run: Run) -> frozenset[str]:
    """What people named, which may begin as a path does: attributes, groups, labels, templates."""
    named = {attribute["name"] for attribute in run.suite["attributes"]}
    for column in ("task", "attribute", "group", "label"):
        named |= set(run.rates[column].dropna())
    return frozenset(named | set(_texts(run.questions)))


def _texts(asked: object) -> Iterator[str]:
    """Every label and template of questions."""
    if isinstance(asked, list | tuple):
        for one in asked:
            yield from _texts(one)
    if isinstance(asked, Mapping):
        yield from (str(asked[key]) for key in ("text", "key") if key in asked)
        yield from map(str, asked.get("templates", ()))
        for value in asked.values():
            yield from _texts(value)


def without_paths(data: Any, names: frozenset[str]) -> Any:
    """Nested data in which a path of this machine is but its last name; ``names`` are no paths."""
    if isinstance(data, Mapping):
        return {key: without_paths(value, names) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_paths(value, names) for value in data]
    if not isinstance(data, str) or data in names:
        return data
    family, place = parted(data)  # a model is named with its family before its path
    path = re.match(r"(/|~/|[A-Za-z]:[\\/]|\.\.?/)[^\s]", place)
    if path is None:
        return data
    name = PurePath(place.replace("\\", "/")).name
    return f"{family}:{name}" if family else name

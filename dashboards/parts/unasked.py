"""Probes that a run didn't ask: greyed in the menu, and told how to ask them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import streamlit as st
import yaml

from audit import Run, pages, topics
from parts.words import plain

#: the probes that a page of the menu tells of
PAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "retrieval": ("retrieval",),
    "association": ("association",),
    "robustness": ("robustness", "shift"),
    "surveillance": ("alarms", "scenes", "identity"),
}


def kinds_of(run: Run) -> set[str]:
    """The kinds of probes that a run asked."""
    return {str(question["kind"]) for question in run.questions}


def unasked(run: Run) -> list[str]:
    """The pages in the menu of which the run has nothing to tell."""
    empty = [page for page, kinds in PAGES.items() if not kinds_of(run) & set(kinds)]
    if any(task.harmful and task.kind == "classification" for task in topics.tasks(run)):
        empty = [page for page in empty if page != "surveillance"]  # its words of suspicion
    return empty


def tell_how(kinds: Iterable[str]) -> None:
    """A line of YAML that asks each of these probes, as a bundled suite has it."""
    st.markdown(
        "To ask it, put such a line under `probes:` of your suite, with your own label sets and "
        "attributes, and run it again; what was encoded is kept."
    )
    for kind in kinds:
        if kind in _lines():
            suite, line = _lines()[kind]
            st.code(f"- {line}", language=None, wrap_lines=True)
            st.caption(plain(f"{kind}, as in the bundled suite ‘{suite}’"))
        else:
            st.code(f"- {{kind: {kind}, ...}}", language=None)
            st.caption(plain(f"‘clip-audit show {kind}’ tells its other keys"))


@lru_cache(maxsize=1)
def _lines() -> Mapping[str, tuple[str, str]]:
    """By kind of probe, a bundled suite that asks it, its own if there is one, and the line."""
    found: dict[str, tuple[str, str]] = {}
    for name, path in pages.suites().items():
        for probe in pages.load_yaml(path).get("probes", ()):
            line = yaml.safe_dump(
                dict(probe), default_flow_style=True, width=10_000, sort_keys=False
            ).strip()
            if probe["kind"] not in found or name == probe["kind"]:
                found[probe["kind"]] = name, line
    return found

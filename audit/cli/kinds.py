"""What can be listed, and what a run can be written as, by the names of the command line."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import typer

from audit.core.registry import suggest

Choice = TypeVar("Choice", bound=StrEnum)


def choice_of(known: type[Choice]) -> Callable[[str], Choice]:
    """The parser of an option that is one of these words; of another word it names the nearest."""

    def parse(word: str) -> Choice:
        try:
            return known(word)
        except ValueError:
            allowed = ", ".join(f"'{one}'" for one in known)
            told = [f"'{word}' is not one of {allowed}.", suggest(word, known)]
            raise typer.BadParameter(" ".join(filter(None, told))) from None

    return parse


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    label_sets = "label-sets"
    templates = "templates"
    probes = "probes"
    metrics = "metrics"
    corruptions = "corruptions"
    suites = "suites"
    replications = "replications"


class Export(StrEnum):
    """What a run can be written as, beside Markdown and HTML."""

    docx = "docx"
    pdf = "pdf"
    brief = "brief"
    model_index = "model-index"
    eval_results = "eval-results"
    croissant = "croissant"
    ll144 = "ll144"
    csv = "csv"
    xlsx = "xlsx"

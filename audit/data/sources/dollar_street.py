"""Dollar Street: things and rooms of households around the world, by what they earn.

Rojas et al. 2022; pictures by Gapminder, www.gapminder.org/dollar-street.
"""

from __future__ import annotations

import ast
from typing import ClassVar, Final, Literal

from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.files import table_of

_COLUMNS: Final = ("id", "country.name", "region.id", "topics", "place", "income", "imageRelPath")


class DollarStreet(Published):
    """Dollar Street's pictures; households (places) are the clusters.

    ``topic`` is what a picture shows, where one topic alone is given; ``topics`` holds them all.
    """

    split: Literal["all", "train", "test"] = Field(
        "all", description="all, or train and test: those with labels of ImageNet"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "split"

    def read(self) -> Rows:
        """The list, and the topic where there is one alone."""
        name = self.list_name
        listed = self.file(name, f"dataset_dollarstreet/{name}")
        table = table_of(listed, _COLUMNS, self.facts.url)
        table["region"] = table["region.id"]
        topics = [
            _topics(text, f"{listed}: row {n + 1} below the header")
            for n, text in zip(table.index.to_list(), table["topics"], strict=True)
        ]
        table["topic"] = [found[0] if len(found) == 1 else None for found in topics]
        several = sum(len(found) > 1 for found in topics)
        told = f"{several:,} pictures have several topics, and none as 'topic'"
        remarks = (Remark(told),) if several else ()
        return Rows(Manifest(table), listed, listed.parent, remarks)


def _topics(text: str | None, where: str) -> list[str]:
    """A list as Python writes it."""
    try:
        found = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        told = f"{where} has the topics '{text}'"
        raise InputError(told, "A list is expected, such as ['beds', 'bedrooms']")
    return list(found)

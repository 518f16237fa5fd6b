"""Dollar Street: things and rooms of households around the world, by what they earn.

Rojas et al. 2022; pictures by Gapminder, www.gapminder.org/dollar-street.
"""

from __future__ import annotations

import ast
from typing import ClassVar, Final, Literal

from pydantic import Field

from audit.core.errors import InputError, sentence
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Official, Published, Rows
from audit.data.sources.files import table_of

_REGIONS: Final = {"af": "Africa", "am": "Americas", "as": "Asia", "eu": "Europe"}
_FILES: Final = {
    "all": "images_v2.csv",
    "train": "images_v2_imagenet_train.csv",
    "test": "images_v2_imagenet_test.csv",
}
_COLUMNS: Final = ("id", "country.name", "region.id", "topics", "place", "income", "imageRelPath")
_HOME: Final = "https://www.kaggle.com/datasets/mlcommons/the-dollar-street-dataset"


class DollarStreet(Published):
    """Dollar Street's pictures; households (places) are the clusters.

    ``topic`` is what a picture shows, where one topic alone is given; ``topics`` holds them all.
    """

    split: Literal["all", "train", "test"] = Field(
        "all", description="all, or train and test: those with labels of ImageNet"
    )

    about: ClassVar = "things and rooms of households around the world, by what they earn"
    access: ClassVar = f"no agreement; {_HOME}"
    official: ClassVar = {"all": Official(None), "train": Official(None), "test": Official(4308)}
    facts: ClassVar = Card(
        name="dollar-street",
        manifest="images_v2.csv",
        image_column="imageRelPath",
        id_column="id",
        cluster_column="place",
        attributes={
            "region": AttributeCard(
                source="assigned",
                description="continent of the household",
                order=tuple(_REGIONS.values()),
            ),
            "country.name": AttributeCard(
                source="assigned", description="country of the household"
            ),
            "income": AttributeCard(
                source="assigned",
                description="a month in dollars, as Gapminder computed from what households said",
            ),
        },
        licence="CC BY-SA 4.0 (not checked)",
        consent="not known",
        provenance="Dollar Street, Rojas et al. 2022, pictures by Gapminder; a row is a picture",
        known_limits=(
            "homes of people, some of whom are in the pictures; what they agreed to is not known",
            "quartiles of income in test end at 200, 684, 1,997 and 19,671 dollars",
            "many pictures a household, and several topics for some pictures",
            "not checked at its source: licence, its address, consent, how income is adjusted",
        ),
        url=_HOME,
    )

    @property
    def part(self) -> str:
        """All, train or test."""
        return self.split

    def describe(self) -> Card:
        """The published card, with the list of this part."""
        return super().describe().model_copy(update={"manifest": _FILES[self.split]})

    def read(self) -> Rows:
        """The list; regions in words, and the topic where there is one alone."""
        name = _FILES[self.split]
        listed = self.file(name, f"dataset_dollarstreet/{name}")
        table = table_of(listed, _COLUMNS, _HOME)
        table["region"] = table["region.id"].replace(_REGIONS)
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
        raise InputError(sentence(told, "A list is expected, such as ['beds', 'bedrooms']"))
    return list(found)

"""GeoDE: things of forty kinds, photographed on request in six regions.

Ramaswamy et al. 2023, geodiverse-data-collection.cs.princeton.edu.
"""

from __future__ import annotations

from typing import ClassVar, Final

from audit.core.errors import InputError, sentence
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Official, Published, Rows
from audit.data.sources.files import table_of

_REGIONS: Final = ("Africa", "Americas", "East Asia", "Europe", "Southeast Asia", "West Asia")
_SPELT: Final = {region.replace(" ", "").lower(): region for region in _REGIONS}
_HOME: Final = "https://geodiverse-data-collection.cs.princeton.edu/"


class GeoDE(Published):
    """GeoDE's pictures: ``object`` is what they show, region and country where they were taken."""

    about: ClassVar = "things of forty kinds, photographed on request in six regions"
    access: ClassVar = f"no agreement; {_HOME}"
    # 61,940 pictures is from memory, and releases differ
    official: ClassVar = {"all": Official(None)}
    facts: ClassVar = Card(
        name="geode",
        manifest="index.csv",
        image_column="file_path",
        attributes={
            "region": AttributeCard(
                source="assigned",
                description="in six values, from where the picture was sent",
                order=_REGIONS,
            ),
            "ip_country": AttributeCard(
                source="assigned", description="country of the address that sent the picture"
            ),
        },
        licence="CC BY 4.0 (not checked)",
        consent="not known",
        provenance="GeoDE, Ramaswamy et al. 2023; a row is a picture",
        known_limits=(
            "pictures of things: it says where a model is good, and nothing of people's looks",
            "who sent a picture is not published: intervals are too narrow",
            "a country is that of an address on the net",
            "not checked at its source: licence, address, columns, how regions are spelt, counts",
        ),
        url=_HOME,
    )

    @property
    def part(self) -> str:
        """There is one."""
        return "all"

    def read(self) -> Rows:
        """The index; names of classes with blanks for underscores."""
        listed = self.file("index.csv")
        table = table_of(listed, ("object", "region", "ip_country", "file_path"), _HOME)
        spelt = table["region"].str.replace(r"[ _]", "", regex=True).str.lower().map(_SPELT)
        table["region"] = spelt.fillna(table["region"])
        table["object"] = table["object"].str.replace("_", " ")
        if table["file_path"].isna().any():
            at = table.index[int(table["file_path"].isna().to_numpy().argmax())] + 1
            raise InputError(sentence(f"{listed}: row {at} below the header names no picture"))
        first = table["file_path"].iloc[0]
        root = next((p for p in (self.root, self.root / "images") if (p / first).is_file()), None)
        return Rows(Manifest(table), listed, root or self.root)

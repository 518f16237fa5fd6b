"""GeoDE: things of forty kinds, photographed on request in six regions.

Ramaswamy et al. 2023, geodiverse-data-collection.cs.princeton.edu.
"""

from __future__ import annotations

from typing import ClassVar, Final

from audit.core.errors import InputError, sentence
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Official, Published, Rows
from audit.data.sources.files import locate, require_columns, table_of

_REGIONS: Final = ("Africa", "Americas", "East Asia", "Europe", "Southeast Asia", "West Asia")
_SPELT: Final = {region.replace(" ", "").lower(): region for region in _REGIONS}
#: region of each country, for an index that names countries alone
_COUNTRIES: Final = {
    "Africa": "Angola, Botswana, Cameroon, Egypt, Ghana, Nigeria, South Africa",
    "Americas": "Argentina, Brazil, Colombia, Mexico, Uruguay, Venezuela",
    "East Asia": "China, Hong Kong, Japan, South Korea, Taiwan",
    "Europe": (
        "Bulgaria, Cyprus, France, Germany, Greece, Ireland, Italy, Netherlands, Poland, Portugal, "
        "Romania, Spain, Switzerland, Ukraine, United Kingdom"
    ),
    "Southeast Asia": "Indonesia, Malaysia, Philippines, Singapore, Thailand",
    "West Asia": "Jordan, Saudi Arabia, Turkey, United Arab Emirates, Yemen",
}
_REGION_OF: Final = {c: region for region, text in _COUNTRIES.items() for c in text.split(", ")}
_HOME: Final = "https://geodiverse-data-collection.cs.princeton.edu/"


class GeoDE(Published):
    """GeoDE's pictures: ``object`` is what they show, region and country where they were taken."""

    about: ClassVar = "things of forty kinds, photographed on request in six regions"
    access: ClassVar = f"no agreement; {_HOME}"
    # of the paper's abstract; releases differ
    official: ClassVar = {"all": Official(61_940)}
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
            "its paper says that no picture identifies a person; nobody here looked",
            "a country is that of an address on the net",
            "not checked at its source: licence, columns and layouts, which are as public readers "
            "take them",
        ),
        url=_HOME,
    )

    @property
    def part(self) -> str:
        """There is one."""
        return "all"

    def read(self) -> Rows:
        """The index; names of classes with blanks for underscores.

        That of an earlier release names the picture alone, which lies in a folder of its country,
        and no region.
        """
        listed = self.file("index.csv")
        table = table_of(listed, ("ip_country",), _HOME)
        if "file_name" in table and "file_path" not in table:
            table = table.rename(columns={"script_name": "object", "file_name": "file_path"})
            table["region"] = table["ip_country"].map(_region_of)
            table["file_path"] = locate(self.root, table["file_path"].fillna("").tolist())
        require_columns(table, ("object", "region", "file_path"), listed, _HOME)
        spelt = table["region"].str.replace(r"[ _]", "", regex=True).str.lower().map(_SPELT)
        table["region"] = spelt.fillna(table["region"])
        table["object"] = table["object"].str.replace("_", " ")
        if (blank := table["file_path"].fillna("") == "").any():
            at = table.index[int(blank.to_numpy().argmax())] + 1
            raise InputError(sentence(f"{listed}: row {at} below the header names no picture"))
        first = table["file_path"].iloc[0]
        root = next((p for p in (self.root, self.root / "images") if (p / first).is_file()), None)
        return Rows(Manifest(table), listed, root or self.root)


def _region_of(country: str | None) -> str:
    """The region of a country; of one that GeoDE does not have its name, which is refused."""
    name = (country or "").replace("_", " ")
    return _REGION_OF.get(name, f"of {name or 'no country'}")

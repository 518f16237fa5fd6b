"""GeoDE: things of forty kinds, photographed on request in six regions.

Ramaswamy et al. 2023, geodiverse-data-collection.cs.princeton.edu.
"""

from __future__ import annotations

from typing import ClassVar, Final

from audit.core.errors import InputError, sentence
from audit.data.manifest import Manifest
from audit.data.sources.base import Published, Rows, publication
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


class GeoDE(Published):
    """GeoDE's pictures: ``object`` is what they show, region and country where they were taken."""

    published: ClassVar = publication(__file__)

    def read(self) -> Rows:
        """The index; names of classes with blanks for underscores.

        That of an earlier release names the picture alone, which lies in a folder of its country,
        and no region.
        """
        listed = self.file("index.csv")
        table = table_of(listed, ("ip_country",), self.facts.url)
        if "file_name" in table and "file_path" not in table:
            table = table.rename(columns={"script_name": "object", "file_name": "file_path"})
            table["region"] = table["ip_country"].map(_region_of)
            table["file_path"] = locate(self.root, table["file_path"].fillna("").tolist())
        require_columns(table, ("object", "region", "file_path"), listed, self.facts.url)
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

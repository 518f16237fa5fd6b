"""Portraits of members of the United States Congress, by name.

github.com/unitedstates/images and github.com/unitedstates/congress-legislators.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.files import table_of
from audit.data.sources.image_folder import is_picture

_KEPT: Final = ("bioguide_id", "gender", "type", "state", "party")


class Congress(Published):
    """Official portraits of the members that the list names; names are not kept."""

    size: Literal["original", "450x550", "225x275"] = Field(
        "450x550", description="of the pictures: original, 450x550 or 225x275"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "size"

    def read(self) -> Rows:
        """A row a member; portraits of others are counted."""
        listed = self.file("legislators-current.csv")
        table = table_of(listed, _KEPT, self.facts.url)[list(_KEPT)].copy()
        folder = self.folder(f"congress/{self.size}", self.size)
        table["file"] = table["bioguide_id"].map(lambda name: name and f"{name}.jpg")
        there = {path.stem: path.name for path in folder.iterdir() if is_picture(path.name)}
        table["file"] = table["file"].replace({f"{stem}.jpg": at for stem, at in there.items()})
        others = len({*there.values()} - {*table["file"]})
        told = f"{others:,} portraits are of people whom the list does not name; they are not read"
        return Rows(Manifest(table), listed, folder, (Remark(told),) if others else ())

"""Portraits of members of the United States Congress, by name.

github.com/unitedstates/images and github.com/unitedstates/congress-legislators.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Official, Published, Rows
from audit.data.sources.files import table_of
from audit.data.sources.image_folder import is_picture

_WORDS: Final = {
    "gender": {"F": "female", "M": "male"},
    "type": {"rep": "representative", "sen": "senator"},
}
_KEPT: Final = ("bioguide_id", "gender", "type", "state", "party")
_HOME: Final = "https://github.com/unitedstates/images"


class Congress(Published):
    """Official portraits of the members that the list names; names are not kept."""

    size: Literal["original", "450x550", "225x275"] = Field(
        "450x550", description="of the pictures: original, 450x550 or 225x275"
    )

    about: ClassVar = "official portraits of members of the United States Congress"
    access: ClassVar = (
        f"no agreement; pictures on {_HOME}, the list legislators-current.csv on "
        "https://github.com/unitedstates/congress-legislators"
    )
    # members change
    official: ClassVar = dict.fromkeys(("original", "450x550", "225x275"), Official(None))
    facts: ClassVar = Card(
        name="congress",
        manifest="legislators-current.csv",
        image_column="file",
        cluster_column="bioguide_id",
        attributes={
            "gender": AttributeCard(
                source="assigned",
                description="in two values, as the list has it",
                order=tuple(_WORDS["gender"].values()),
            ),
            "type": AttributeCard(
                source="assigned",
                description="the chamber",
                order=tuple(_WORDS["type"].values()),
            ),
            "party": AttributeCard(source="assigned", description="as the list has it"),
            "state": AttributeCard(source="assigned", description="that a member stands for"),
        },
        licence="public domain, as its README says of the Government Publishing Office; lists CC0",
        consent="not obtained",
        provenance="unitedstates/images and congress-legislators; a row is a member",
        known_limits=(
            "named people in office: suspicion is never asked of them",
            "gender is what the list says, in two values; it has no race",
            "party and state are not to be read off a face: they are groups to compare only",
            "lists of another date name other members",
        ),
        named_people=True,
        url=_HOME,
    )

    @property
    def part(self) -> str:
        """The size of the pictures."""
        return self.size

    def read(self) -> Rows:
        """A row a member; portraits of others are counted."""
        listed = self.file("legislators-current.csv")
        table = table_of(listed, _KEPT, _HOME)[list(_KEPT)].copy()
        for name, words in _WORDS.items():
            table[name] = table[name].replace(words)
        folder = self.folder(f"congress/{self.size}", self.size)
        table["file"] = table["bioguide_id"].map(lambda name: name and f"{name}.jpg")
        there = {path.stem: path.name for path in folder.iterdir() if is_picture(path.name)}
        table["file"] = table["file"].replace({f"{stem}.jpg": at for stem, at in there.items()})
        others = len({*there.values()} - {*table["file"]})
        told = f"{others:,} portraits are of people whom the list does not name; they are not read"
        return Rows(Manifest(table), listed, folder, (Remark(told),) if others else ())

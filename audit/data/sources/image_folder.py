"""A folder of folders: each holds the pictures of one class, as torchvision's ImageFolder reads."""

from __future__ import annotations

from typing import ClassVar, Final

import pandas as pd
from pydantic import Field, field_validator

from audit.core.errors import InputError, sentence
from audit.data.card import Card, Names, Provenance
from audit.data.manifest import Manifest
from audit.data.sources.base import Own, Rows, aside
from audit.data.withdrawn import list_beside

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2"}
)
#: folders that divide pictures into parts and not into classes
_PARTS: Final = frozenset({"train", "training", "val", "valid", "validation", "dev", "test"})


class ImageFolder(Own):
    """Your own pictures, each in the folder of its class."""

    attribute: str = Field("class", description="what the folders' names say of a picture")
    source: Provenance = Field(description="whose word the folders' names are")
    order: Names = Field((), description="of the groups")

    @field_validator("attribute")
    @classmethod
    def _is_no_other_column(cls, attribute: str) -> str:
        if attribute == "picture":
            raise ValueError("'picture' names a picture, not a group; use another name")
        return attribute

    about: ClassVar = "your own pictures, a folder a class; the folder's name is an attribute"

    def describe(self) -> Card:
        """The card with the folders' names as its one attribute."""
        said = {"source": self.source, "order": self.order}
        return self.with_facts(image_column="picture", attributes={self.attribute: said})

    def read(self) -> Rows:
        """Every picture below the folder of a class; other files are counted."""
        folders = [p for p in sorted(self.root.iterdir()) if p.is_dir() and p.name[0] != "."]
        if folders and all(p.name.lower() in _PARTS for p in folders):
            told = f"{self.root}: its folders are parts, {', '.join(p.name for p in folders)}"
            raise InputError(sentence(told, f"Name one of them: 'root: {folders[0]}'"))
        beside = list_beside(self.root, self.withdrawn)
        files = [p for p in sorted(self.root.rglob("*")) if p.is_file() and p.name[0] != "."]
        rows, other = [], []
        for path in (p for p in files if p != beside):
            name = path.relative_to(self.root)
            if len(name.parts) > 1 and path.suffix.lower() in SUFFIXES:
                rows.append((name.as_posix(), name.parts[0]))
            else:
                other.append(name.as_posix())
        told = "which are in no folder of a class or by their name no picture"
        remarks = (aside(told, other, {}),) if other else ()
        table = pd.DataFrame(rows, columns=["picture", self.attribute], dtype=object)
        return Rows(Manifest(table), self.root, self.root, remarks, len(other))

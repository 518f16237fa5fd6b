"""A folder of folders: each holds the pictures of one class, as torchvision's ImageFolder reads."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final

import pandas as pd
from pydantic import Field, model_validator

from audit.core.characters import spelt
from audit.core.errors import InputError, sentence
from audit.data.card import PROVENANCES, Card, Names, Provenance
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Own, Rows, aside
from audit.data.withdrawn import list_beside

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2"}
)
#: folders that divide pictures into parts and not into classes
_PARTS: Final = frozenset({"train", "training", "val", "valid", "validation", "dev", "test"})


class ByFolder(Own):
    """Your own pictures, of which folders may say an attribute."""

    attribute: str = Field("", description="what the folders' names say (nothing, if left out)")
    source: Provenance | None = Field(None, description="whose word the folders' names are")
    order: Names = Field((), description="of the groups")

    #: columns that say which picture a row is
    own: ClassVar[tuple[str, ...]] = ("picture",)

    @model_validator(mode="after")
    def _says_whose_word(self) -> ByFolder:
        if self.attribute in self.own:
            told = f"'{self.attribute}' names a picture, not a group"
            raise ValueError(f"attribute: {told}; use another name")
        if bool(self.attribute) != bool(self.source):
            raise ValueError(sentence("'attribute' and 'source' go together", PROVENANCES))
        return self

    def with_folders(self, **keys: str) -> Card:
        """A data card whose one attribute, if there is any, is what the folders' names say."""
        said = {"source": self.source, "order": self.order}
        return self.with_facts(**keys, attributes={self.attribute: said} if self.attribute else {})

    def refuse_parts(self, folders: Collection[str], where: Path | str, example: str) -> None:
        """Refuse folders that divide pictures into parts where classes are meant."""
        if self.attribute and folders and all(name.lower() in _PARTS for name in folders):
            told = f"{where}: its folders are parts, {', '.join(sorted(folders))}"
            raise InputError(told, f"Name one of them: '{example}'")


class ImageFolder(ByFolder):
    """Your own pictures, each in the folder of its class."""

    attribute: str = Field("class", description="what the folders' names say of a picture")
    source: Provenance = Field(description="whose word the folders' names are")

    about: ClassVar = "your own pictures, a folder a class; the folder's name is an attribute"

    def describe(self) -> Card:
        """The card with the folders' names as its one attribute."""
        return self.with_folders(image_column="picture")

    def read(self) -> Rows:
        """Every picture below the folder of a class; other files are counted."""
        folders = [p.name for p in sorted(self.root.iterdir()) if p.is_dir() and p.name[0] != "."]
        self.refuse_parts(folders, self.root, f"root: {self.root / (folders or ['.'])[0]}")
        rows, other = [], []
        for name in files_below(self.root, list_beside(self.root, self.withdrawn)):
            if "/" in name and is_picture(name):
                rows.append((name, name.split("/")[0]))
            else:
                other.append(name)
        told = "which are in no folder of a class or by their name no picture"
        remarks = aside(told, other)
        held = {folder for _, folder in rows}
        if empty := [f"'{spelt(name)}'" for name in folders if name not in held]:
            remarks.append(Remark(f"no picture is in the folders of classes {', '.join(empty)}"))
        table = pd.DataFrame(rows, columns=["picture", self.attribute], dtype=object)
        return Rows(Manifest(table), self.root, self.root, remarks, len(other))


def files_below(folder: Path, beside: Path | None = None) -> list[str]:
    """Paths of all files in and below a folder but ``beside`` and what a dot in a name hides.

    A folder that is a link is not followed: its own path stands for it, so that it is counted.
    """
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(at, name).is_symlink()]
        found += [Path(at, name) for name in (*names, *links) if not name.startswith(".")]
    return [path.relative_to(folder).as_posix() for path in sorted(found) if path != beside]


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES

"""Zip and tar archives of pictures, read where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data import archives
from audit.data.card import Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Rows, aside
from audit.data.sources.image_folder import ByFolder, is_picture

_PACKED: Final = (*archives.SUFFIXES, *archives.SOLID)


class Archived(ByFolder):
    """Your own pictures in zip or tar archives, which are not unpacked.

    With ``attribute``, the first folder below ``inside`` that a picture lies in says its group.
    """

    files: str = Field("*", description="which archives of root, such as 'faces*.zip'")
    inside: str = Field("", description="the folder in the archives that holds the pictures")

    about: ClassVar = "your own pictures in zip or tar archives, which are not unpacked"

    def describe(self) -> Card:
        """The card, with the folders' names as an attribute if one is named."""
        return self.with_folders(image_column="picture")

    def read(self) -> Rows:
        """Every picture of the archives; what else they hold is counted."""
        files, solid = archives_of(self.root, self.files)
        packed = {file.relative_to(self.root).as_posix(): archives.listed(file) for file in files}
        found = [
            (f"{file}#{name}", PurePosixPath(name))
            for file, held in packed.items()
            for name in sorted(held.sizes)
            if PurePosixPath(name).name[0] != "."
        ]
        odd = [f"{file}#{name}" for file, held in packed.items() for name in held.odd]
        nested = [name for name, path in found if path.suffix.lower() in _PACKED]
        pictures = {
            name: path.relative_to(self.inside)
            for name, path in found
            if path.is_relative_to(self.inside) and is_picture(path.name)
        }
        if self.attribute:
            pictures = {name: path for name, path in pictures.items() if len(path.parts) > 1}
            self._check_classes(list(pictures.values()))
        other = [name for name, _ in found if name not in pictures and name not in nested]
        place = f" or are not in '{self.inside}'" if self.inside else ""
        place += " or are in no folder of a class" if self.attribute else ""
        notes = {
            f"which by their name are no picture{place}": other,
            "which are archives in archives": nested,
            "which are links and the like": odd,
            "which are packed as a whole: unpack them to .tar": solid,
            f"which are archives that '{self.files}' does not name; '**/*' names all": [
                path.relative_to(self.root).as_posix()
                for path in sorted(self.root.glob("*/*"))
                if path.suffix.lower() in archives.SUFFIXES and path not in files
            ],
        }
        remarks = [r for why, names in notes.items() for r in aside(why, names)]
        rows = [(name, path.parts[0]) for name, path in pictures.items()]
        table = pd.DataFrame(rows, columns=["picture", self.attribute or "folder"], dtype=object)
        table = table if self.attribute else table[["picture"]]
        gone = len(other) + len(nested) + len(odd)
        manifest = Manifest(table, frozenset({"picture"}))
        return Rows(manifest, self.root, self.root, remarks, gone)

    def _check_classes(self, paths: Sequence[PurePosixPath]) -> None:
        """Refuse folders that can't be classes: parts, or one that holds all the others."""
        folders = sorted({path.parts[0] for path in paths})
        if not folders:
            return
        below = f"inside: {PurePosixPath(self.inside) / folders[0]}"
        self.refuse_parts(folders, self.root, below)
        if len(folders) == 1 and all(len(path.parts) > 2 for path in paths):
            told = f"{self.root}: all pictures of its archives are in the folder '{folders[0]}'"
            raise InputError(told, f"Are the folders in it the classes? '{below}'")


def archives_of(root: Path, pattern: str) -> tuple[list[Path], list[str]]:
    """The archives of a folder that a pattern names, and names of what is packed as a whole.

    Raises:
        InputError: there is no archive.
    """
    try:
        found = [p for p in sorted(root.glob(pattern)) if p.is_file() and p.name[0] != "."]
    except (ValueError, NotImplementedError, IndexError) as error:
        told = f"'{pattern}' is no pattern of file names below root: {error}"
        raise InputError(told, "Write it as 'faces*.zip'") from error
    packed = [path for path in found if path.suffix.lower() in archives.SUFFIXES]
    solid = [
        path.relative_to(root).as_posix() for path in found if path.suffix.lower() in archives.SOLID
    ]
    if not packed:
        told = f"{root}: has no zip or tar archive '{pattern}'"
        unpack = f"Pictures in '{solid[0]}' are found once it is unpacked to .tar" if solid else ""
        raise InputError(told, unpack)
    return packed, solid

"""Adience: faces in albums of Flickr, of which age and gender were labelled.

Eidinger, Enbar and Hassner 2014, talhassner.github.io/home/projects/Adience/Adience-data.html.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.remarks import Remark, counted, tally
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.files import table_of

_AGES: Final = ("0-2", "4-6", "8-12", "15-20", "25-32", "38-43", "48-53", "60-100")
_BAND: Final = re.compile(r"\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)")
_OTHER: Final = "other"
_NOT_STATED: Final = "not stated"
_NAMES: Final = {
    "aligned": "landmark_aligned_face",
    "faces": "coarse_tilt_aligned_face",
}
_FOLDERS: Final = {"aligned": ("aligned", "images"), "faces": ("faces", "images")}
_COLUMNS: Final = ("user_id", "original_image", "face_id", "age", "gender")


class Adience(Published):
    """Adience's faces, of all five folds; whoever owns an album is the cluster."""

    faces: Literal["all", "frontal"] = Field(
        "all", description="all, or frontal: the nearly frontal"
    )
    pictures: Literal["aligned", "faces"] = Field(
        "aligned", description="aligned by landmarks, or faces: turned upright only"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "faces"

    @property
    def version(self) -> str:
        """The part, and how its pictures were aligned, since both have the same rows."""
        return f"{self.faces}, {self.pictures} as stated"

    def read(self) -> Rows:
        """The five folds as one; ages that are no band are in no group, and counted."""
        stem = "fold_frontal" if self.faces == "frontal" else "fold"
        listed = [self.file(f"{stem}_{n}_data.txt") for n in range(5)]
        home = self.facts.url
        folds = [table_of(f, _COLUMNS, home).assign(fold=str(n)) for n, f in enumerate(listed)]
        table = pd.concat(folds)[[*_COLUMNS, "fold"]]
        for file, fold in zip(listed, folds, strict=True):
            if (blank := fold[list(_COLUMNS[:3])].isna().any(axis=1)).any():
                row = fold.index[int(blank.to_numpy().argmax())] + 1
                told = f"{file}: row {row} below the header names no picture"
                raise InputError(told, f"Get it again: {home}")
        nouns = [f"the picture '{name}'" for name in table["original_image"]]
        table = table.reset_index(drop=True)
        given = table["age"]
        table["age"] = [_band(age) for age in given]
        table["gender"] = table["gender"].fillna(_NOT_STATED)
        table["file"] = (
            table["user_id"] + f"/{_NAMES[self.pictures]}." + table["face_id"] + "."
        ) + table["original_image"]
        odd = tally(given[table["age"] == _OTHER])
        told = f"'age': {sum(odd.values()):,} pictures have an age that is none of the eight bands"
        remarks = (Remark(f"{told}: {counted(odd)}; they are in no group of it", "age"),)
        root = self.folder(*_FOLDERS[self.pictures])
        return Rows(Manifest(table), listed[0], root, remarks if odd else (), nouns=nouns)


def _band(age: str | None) -> str:
    """A band as its ages; what is known to occur besides is other, anything else stays."""
    if age is None or age == "None":
        return _NOT_STATED
    if found := _BAND.fullmatch(age):
        band = "8-12" if found.groups() == ("8", "13") else "-".join(found.groups())
        return band if band in _AGES else _OTHER
    return _OTHER if re.fullmatch(r"\d{1,3}", age) else age

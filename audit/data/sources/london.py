"""Face Research Lab London Set: 102 adults who agreed, photographed in a studio.

DeBruine and Jones 2017, doi.org/10.6084/m9.figshare.5047666.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.remarks import Remark, counted, tally
from audit.data.sources.base import Published, Rows, aside, publication
from audit.data.sources.files import table_of
from audit.data.sources.image_folder import is_picture

_NAME: Final = re.compile(r"(\d{1,3})_\d\d\.jpe?g", re.IGNORECASE)
_COLUMNS: Final = {"face_age": "age", "face_gender": "gender", "face_eth": "ethnicity"}


class London(Published):
    """The London Set's faces from the front, neutral or smiling; people are the clusters."""

    expression: Literal["neutral", "smiling"] = Field("neutral", description="neutral or smiling")

    published: ClassVar = publication(__file__)
    parts: ClassVar = "expression"

    def read(self) -> Rows:
        """A row a picture of a person whom the list has; others are set aside and counted."""
        listed, again = self.file(self.list_name), f"Get {self.facts.url}"
        table = table_of(listed, ("face_id", "face_age", "face_eth"), self.facts.url)
        # an earlier version of the list says so
        table = table.rename(columns={"face_sex": "face_gender"})
        if "face_gender" not in table:
            raise InputError(f"{listed}: has no column 'face_gender'", again)
        people = table[list(_COLUMNS)].rename(columns=_COLUMNS)
        people.index = pd.Index([_number(name) for name in table["face_id"]])
        if people.index.has_duplicates:
            twice = people.index[people.index.duplicated()][0]
            raise InputError(f"{listed}: lists the face {twice} twice", again)
        folder = self.folder(f"{self.expression}_front")
        rows, odd = [], []
        for path in sorted(p for p in folder.iterdir() if p.name[0] != "."):
            said = _NAME.fullmatch(path.name)
            if said and _number(said[1]) in people.index:
                rows.append((path.name, _number(said[1])))
            elif path.suffix.lower() != ".tem":  # landmarks lie beside the pictures
                odd.append(path.name)
        kept = pd.DataFrame(rows, columns=["file", "face_id"], dtype=object)
        remarks = aside("which show nobody that the list has", odd)
        lost = people[~people.index.isin(kept["face_id"])]
        if len(lost):
            of = f"by gender: {counted(tally(lost['gender']))}"
            remarks.append(Remark(f"{len(lost):,} people of the list have no picture; {of}"))
        joined = Manifest(kept.join(people, on="face_id"))
        return Rows(joined, listed, folder, remarks, sum(map(is_picture, odd)))


def _number(name: str | None) -> str:
    """The number of a face: 'X001' in the list is '001' in the names of files."""
    return (name or "").lstrip("Xx").zfill(3)

"""Racial Faces in the Wild: celebrities of MS-Celeb-1M in four folders of race.

Wang, Deng, Hu, Tao and Huang 2019, www.whdeng.cn/RFW.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError, sentence
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Official, Published, Rows, aside
from audit.data.sources.image_folder import files_below, is_picture

_RACES: Final = ("African", "Asian", "Caucasian", "Indian")
_FOLDERS: Final = {
    "original": ("test/data", "data", "."),
    "aligned": ("test_aligned/data", "test_aligned"),
}


class RFW(Published):
    """RFW's pictures, by the folder of race and then of identity, which is the cluster."""

    pictures: Literal["original", "aligned"] = Field(
        "original", description="original, or aligned: cut to the face (test_aligned)"
    )

    about: ClassVar = "celebrities in four folders of race, by identity"
    access: ClassVar = "a request by mail for research, at http://www.whdeng.cn/RFW/testing.html"
    # public loaders count otherwise (40,607 and 44,332), so nothing is compared
    official: ClassVar = dict.fromkeys(_FOLDERS, Official(None))
    facts: ClassVar = Card(
        name="rfw",
        manifest="test",
        image_column="file",
        cluster_column="identity",
        attributes={
            "race": AttributeCard(
                source="assigned",
                description="in four values, of the folder; from nationality and a program",
                order=_RACES,
            )
        },
        licence="research only, by request",
        consent="not obtained",
        provenance="RFW, Wang et al. 2019, from MS-Celeb-1M; a row is a picture",
        known_limits=(
            "celebrities of MS-Celeb-1M, who were not asked; that set was withdrawn in 2019",
            "race is a folder's: what people say of themselves was not asked",
            "no gender, no age",
            "not checked at its source: licence, withdrawal, how race was assigned",
        ),
        forbidden_uses=("any use that is not research",),
        named_people=True,
        url="http://www.whdeng.cn/RFW/",
    )

    @property
    def part(self) -> str:
        """Original or aligned."""
        return self.pictures

    def read(self) -> Rows:
        """A row a picture; what lies in no folder of race and identity is counted."""
        places = _FOLDERS[self.pictures]
        folder = self.folder(*(f"{place}/{_RACES[0]}" for place in places)).parent
        if lost := [race for race in _RACES if not (folder / race).is_dir()]:
            told = f"{folder}: has no folder '{lost[0]}'"
            raise InputError(sentence(told, "A group that is missing can't be compared"))
        rows, odd = [], []
        for race in _RACES:
            for name in files_below(folder / race):
                path = PurePosixPath(name)
                if len(path.parts) == 2 and is_picture(name):
                    rows.append((f"{race}/{name}", race, path.parts[0]))
                else:
                    odd.append(f"{race}/{name}")
        table = pd.DataFrame(rows, columns=["file", "race", "identity"], dtype=object)
        counts = {"race": {r: n for r in _RACES if (n := sum(o.startswith(r + "/") for o in odd))}}
        told = "which are in no folder of an identity or by their name no picture"
        remarks = (aside(told, odd, counts),) if odd else ()
        return Rows(Manifest(table), folder, folder, remarks, len(odd))

"""Racial Faces in the Wild: celebrities of MS-Celeb-1M in four folders of race.

Wang, Deng, Hu, Tao and Huang 2019, www.whdeng.cn/RFW.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.sources.base import Published, Rows, aside, publication
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

    published: ClassVar = publication(__file__)
    parts: ClassVar = "pictures"

    def read(self) -> Rows:
        """A row a picture; what lies in no folder of race and identity is counted."""
        places = _FOLDERS[self.pictures]
        folder = self.folder(*(f"{place}/{_RACES[0]}" for place in places)).parent
        if lost := [race for race in _RACES if not (folder / race).is_dir()]:
            told = f"{folder}: has no folder '{lost[0]}'"
            raise InputError(told, "A group that is missing can't be compared")
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
        remarks = aside(told, odd, counts)
        return Rows(Manifest(table), folder, folder, remarks, len(odd))

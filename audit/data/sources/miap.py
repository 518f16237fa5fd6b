"""MIAP: boxes of people in pictures of Open Images, with perceived gender and age presentation.

Schumann et al. 2021, storage.googleapis.com/openimages/web/extended.html.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest, read_manifests
from audit.data.remarks import Remark, tally
from audit.data.sources.base import Cut, Rows, aside, publication
from audit.data.sources.files import require_columns
from audit.data.values import number

#: in the order of the file, which is not the usual one
_SIDES: Final = ("XMin", "XMax", "YMin", "YMax")
#: boxes that show no single person, where 1, and why; -1 says that nobody looked
_NO_PERSON: Final = {"IsGroupOf": "which are boxes of groups", "IsDepictionOf": "which are drawn"}
_ATTRIBUTES: Final = ("GenderPresentation", "AgePresentation")


class MIAP(Cut):
    """MIAP's boxes, a row a person: each is cut out of its picture."""

    split: Literal["train", "val", "test"] = Field("test", description="train, val or test")
    pictures: str = Field(".", description="the folder of the pictures below root")

    published: ClassVar = publication(__file__)
    parts: ClassVar = "split"
    grain: ClassVar = "person"

    def read(self) -> Rows:
        """A region a person; boxes of groups and of drawn people are set aside and counted."""
        listed = self.file(self.list_name)
        table = read_manifests([listed], f"'{self.name}'").table
        require_columns(table, ("ImageID", *_SIDES, *_NO_PERSON), listed)
        table["region"] = [
            _region(row, f"{listed}: row {n + 1} below the header")
            for n, *row in table[["ImageID", *_SIDES]].itertuples()
        ]
        remarks: list[Remark] = []
        kept = table
        for column, why in _NO_PERSON.items():
            gone = kept[kept[column] == "1"]
            counts = {name: tally(gone[name]) for name in _ATTRIBUTES if name in gone}
            remarks += aside(why, list(gone["region"]), counts)
            kept = kept.drop(gone.index)
        gone_in_all = len(table) - len(kept)
        return Rows(Manifest(kept), listed, self.folder(self.pictures), remarks, gone_in_all)


def _region(row: list[object], where: str) -> str:
    """The region of a box in fractions of the picture: left, RIGHT, top, low."""
    picture, *sides = row
    left, right, top, low = (number(str(side)) for side in sides)
    if left is None or right is None or top is None or low is None:
        raise InputError(f"{where} has a side that is no number", "Get the list again")
    if not (0 <= left < right <= 1 and 0 <= top < low <= 1):
        told = f"{where} has the box {', '.join(map(str, sides))}"
        order = "XMin, XMax, YMin, YMax are fractions of the picture, each minimum the smaller one"
        raise InputError(told, order)
    parts = (left, top, right - left, low - top)
    return f"{picture}.jpg#xywh=percent:{','.join(f'{100 * part:.6f}' for part in parts)}"

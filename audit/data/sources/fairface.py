"""FairFace: faces of Flickr's public photographs, balanced over seven groups of race.

Kaerkkaeinen and Joo 2021, github.com/joojs/fairface.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest, read_manifests
from audit.data.sources.base import Published, Rows, publication
from audit.data.yamlfile import written

_WHITE = "White"
#: folders that people unpack the pictures of a padding into
_FOLDERS = {
    "0.25": ("padding=0.25", "fairface-img-margin025-trainval"),
    "1.25": ("padding=1.25", "fairface-img-margin125-trainval"),
}


class FairFace(Published):
    """FairFace's faces, one part, one padding.

    The two paddings have the same file names and other pixels, so which one lies in the folder is
    to be stated, and is recorded as the data set's version.
    """

    split: Literal["train", "val"] = Field("val", description="train or val")
    padding: Annotated[Literal["0.25", "1.25"], BeforeValidator(written)] = Field(
        description="of the pictures in the folder: 0.25 or 1.25"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "split"

    @property
    def version(self) -> str:
        """The part and the padding."""
        return f"{self.split}, padding {self.padding} as stated"

    def read(self) -> Rows:
        """The list, in whichever of its spellings, and the folder of its pictures."""
        listed = self.file(self.list_name)
        table = read_manifests([listed], f"'{self.name}'").table
        if "file" in table:
            table["file"] = table["file"].map(lambda p: p and p.removeprefix("fairface/"))
        if "race" in table:
            table["white_or_not"] = table["race"].where(table["race"] == _WHITE, "Non-White")
        return Rows(Manifest(table), listed, self._pictures())

    def _pictures(self) -> Path:
        """The folder of ``train`` and ``val``; one named after the other padding is refused."""
        (other,) = {*_FOLDERS} - {self.padding}
        names = (*_FOLDERS[self.padding], ".", "fairface")
        for name in names:
            if (self.root / name / self.split).is_dir():
                return self.root / name
        for name in _FOLDERS[other]:
            if (self.root / name).is_dir():
                told = (
                    f"{self.root}: padding {self.padding} is stated, and pictures are in '{name}'"
                )
                raise InputError(told, f"State 'padding: {other}', or get the others")
        return self.folder(*(f"{name}/{self.split}" for name in names)).parent

"""COCO with perceived gender and skin tone of the largest person, for captions.

Zhao, Wang and Russakovsky 2021, arXiv 2106.08503, princetonvisualai.github.io/imagecaptioning-bias.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Final

from audit.core.errors import InputError
from audit.data.manifest import Manifest, read_manifests
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.files import locate, require_columns

_ID: Final = re.compile(r"\d{1,12}(?:\.0)?", re.ASCII)


class COCOCaptions(Published):
    """Pictures of COCO's val2014 with perceived gender and skin tone of the largest person.

    A row is a picture, as in images_val2014.csv. The list of persons, instances_val2014.csv, is not
    read: where its boxes are was read at no source.
    """

    published: ClassVar = publication(__file__)

    def read(self) -> Rows:
        """The list of pictures; a picture is named by its number, in twelve digits."""
        listed = self.file("images_val2014.csv", "annotations/images_val2014.csv")
        table = read_manifests([listed], f"'{self.name}'").table
        require_columns(table, ("id", "bb_gender", "bb_skin"), listed)
        names = [_name(v, listed, n + 1) for n, v in zip(table.index, table["id"], strict=True)]
        table["file"] = locate(self.root, names, "val2014", "images/val2014", "images/val")
        return Rows(Manifest(table), listed, self.root)


def _name(number: object, listed: Path, row: int) -> str:
    if number is None or not _ID.fullmatch(str(number)):
        told = f"{listed}: row {row} below the header has the id '{number}'"
        raise InputError(told, "It is the number of a picture of COCO", "Get it again")
    return f"COCO_val2014_{int(float(str(number))):012d}.jpg"

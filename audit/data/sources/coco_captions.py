"""COCO with perceived gender and skin tone of the largest person, for captions.

Zhao, Wang and Russakovsky 2021, arXiv 2106.08503, princetonvisualai.github.io/imagecaptioning-bias.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Final

from audit.core.errors import InputError, sentence
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest, read_manifests
from audit.data.sources.base import Official, Published, Rows
from audit.data.sources.files import locate, require_columns

_ID: Final = re.compile(r"\d{1,12}(?:\.0)?", re.ASCII)


class COCOCaptions(Published):
    """Pictures of COCO's val2014 with perceived gender and skin tone of the largest person.

    A row is a picture, as in images_val2014.csv. The list of persons, instances_val2014.csv, is not
    read: where its boxes are was read at no source.
    """

    about: ClassVar = "pictures of COCO with perceived gender and skin tone of the largest person"
    access: ClassVar = (
        "a form on https://princetonvisualai.github.io/imagecaptioning-bias; pictures on "
        "https://cocodataset.org"
    )
    official: ClassVar = {"val2014": Official(None)}
    facts: ClassVar = Card(
        name="coco-captions",
        manifest="images_val2014.csv",
        image_column="file",
        id_column="id",
        attributes={
            "bb_gender": AttributeCard(
                source="annotator-perceived",
                description="gender of the largest person, as annotators saw it",
                order=("Female", "Male", "Both"),
                unknown=("Unsure",),
            ),
            "bb_skin": AttributeCard(
                source="annotator-perceived",
                description="skin tone of the largest person in two values, as annotators saw it",
                order=("Light", "Dark", "Both"),
                unknown=("Unsure",),
            ),
        },
        licence="annotations on request, research only; each picture of Flickr has its own",
        consent="not obtained",
        provenance="COCO val2014 with annotations of Zhao et al. 2021; a row is a picture",
        known_limits=(
            "public photographs of Flickr; nobody shown was asked",
            "gender and skin tone are what annotators saw, of the largest person only",
            "no subject ids are published: intervals are too narrow",
            "not checked: that Both and Unsure are the only other values of gender and skin tone",
        ),
        forbidden_uses=("any use that is not research",),
        url="https://princetonvisualai.github.io/imagecaptioning-bias",
    )

    @property
    def part(self) -> str:
        """The pictures of 2014's validation."""
        return "val2014"

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
        raise InputError(sentence(told, "It is the number of a picture of COCO", "Get it again"))
    return f"COCO_val2014_{int(float(str(number))):012d}.jpg"

"""FairFace: faces of Flickr's public photographs, balanced over seven groups of race.

Kaerkkaeinen and Joo 2021, github.com/joojs/fairface.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from audit.core.errors import InputError, sentence
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest, read_manifests
from audit.data.sources.base import Official, Published, Rows
from audit.data.yamlfile import written

_AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
_RACES = (
    "White", "Black", "Indian", "East Asian", "Southeast Asian", "Middle Eastern",
    "Latino_Hispanic",
)  # fmt: skip
#: folders that people unpack the pictures of a padding into
_FOLDERS = {
    "0.25": ("padding=0.25", "fairface-img-margin025-trainval"),
    "1.25": ("padding=1.25", "fairface-img-margin125-trainval"),
}


def _official(ages: Sequence[int], genders: Sequence[int], races: Sequence[int]) -> Official:
    """Pictures of a part by age, by male and female, and by race."""
    values = {
        "age": dict(zip(_AGES, ages, strict=True)),
        "gender": dict(zip(("Male", "Female"), genders, strict=True)),
        "race": dict(zip(_RACES, races, strict=True)),
    }
    return Official(sum(ages), values)


_PERCEIVED = "judged by three crowd workers looking at the picture"


class FairFace(Published):
    """FairFace's faces, one part, one padding.

    The two paddings have the same file names and other pixels, so which one lies in the folder is
    to be stated, and is recorded as the data set's version.
    """

    split: Literal["train", "val"] = Field("val", description="train or val")
    padding: Annotated[Literal["0.25", "1.25"], BeforeValidator(written)] = Field(
        description="of the pictures in the folder: 0.25 or 1.25"
    )

    about: ClassVar = "faces of Flickr's public photographs, balanced over seven groups of race"
    access: ClassVar = "no agreement; links on https://github.com/joojs/fairface"
    values: ClassVar = {"service_test": ("True", "False")}
    # ages and gender of val were counted in copies; the others are from memory, and each adds up
    official: ClassVar = {
        "train": _official(
            (1792, 10_408, 9103, 25_598, 19_250, 10_744, 6228, 2779, 842),
            (45_986, 40_758),
            (16_527, 12_233, 12_319, 12_287, 10_795, 9216, 13_367),
        ),
        "val": _official(
            (199, 1356, 1181, 3300, 2330, 1353, 796, 321, 118),
            (5792, 5162),
            (2085, 1556, 1516, 1550, 1415, 1209, 1623),
        ),
    }
    facts: ClassVar = Card(
        name="fairface",
        manifest="fairface_label_val.csv",
        image_column="file",
        attributes={
            "age": AttributeCard(
                source="annotator-perceived", description=f"age, {_PERCEIVED}", order=_AGES
            ),
            "gender": AttributeCard(
                source="annotator-perceived",
                description=f"gender in two values, {_PERCEIVED}",
                order=("Female", "Male"),
            ),
            "race": AttributeCard(
                source="annotator-perceived",
                description=f"race in seven values, {_PERCEIVED}",
                order=_RACES,
            ),
            "white_or_not": AttributeCard(
                source="annotator-perceived",
                description="race in two values, as Tables 3 and 4 of the CLIP paper count it",
                order=(_RACES[0], "Non-White"),
            ),
        },
        licence="CC BY 4.0, as its README says",
        consent="not obtained",
        provenance="FairFace, Kaerkkaeinen and Joo 2021; a row is a face",
        known_limits=(
            "public photographs of Flickr (YFCC-100M); nobody shown was asked; some are children",
            "no subject ids are published: the same person may be in several pictures",
            "age, gender and race are what annotators saw, not what people say of themselves",
            "of 126 cells of age, gender and race in val 41 have under 30 pictures",
            "paddings 0.25 and 1.25 have the same file names: which one was read is as stated",
        ),
        named_people=False,
        url="https://github.com/joojs/fairface",
    )

    @property
    def part(self) -> str:
        """Train or val."""
        return self.split

    @property
    def version(self) -> str:
        """The part and the padding."""
        return f"{self.split}, padding {self.padding} as stated"

    def describe(self) -> Card:
        """The published card, with the list of this part."""
        return (
            super().describe().model_copy(update={"manifest": f"fairface_label_{self.split}.csv"})
        )

    def read(self) -> Rows:
        """The list, in whichever of its spellings, and the folder of its pictures."""
        listed = self.file(f"fairface_label_{self.split}.csv")
        table = read_manifests([listed], f"'{self.name}'").table
        if "file" in table:
            table["file"] = table["file"].map(lambda p: p and p.removeprefix("fairface/"))
        if "service_test" in table:
            table["service_test"] = table["service_test"].replace(
                {"TRUE": "True", "FALSE": "False"}
            )
        if "race" in table:
            table["white_or_not"] = table["race"].where(table["race"] == _RACES[0], "Non-White")
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
                raise InputError(sentence(told, f"State 'padding: {other}', or get the others"))
        return self.folder(*(f"{name}/{self.split}" for name in names)).parent

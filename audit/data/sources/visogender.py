"""VisoGender: people at work found on the web, alone or with another, and their perceived gender.

Hall et al. 2023, arXiv 2306.12424, github.com/oxai/visogender.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest, read_manifests
from audit.data.remarks import tally
from audit.data.sources.base import Official, Published, Rows, aside
from audit.data.sources.files import locate, require_columns

_GENDERS: Final = ("feminine", "masculine")
OCCUPATIONS: Final = (
    "accountant", "advisor", "architect", "auditor", "baker", "bartender", "broker", "clerk",
    "counsellor", "doctor", "engineer", "hairdresser", "instructor", "lawyer", "manager",
    "painter", "paralegal", "physician", "specialist", "supervisor", "teacher", "veterinarian",
    "waiter",
)  # fmt: skip
#: lists of May 2025, which replaces earlier ones, and of January 2024
_LISTS: Final = {"OO": "OO_Visogender_10052025.tsv", "OP": "OP_Visogender_11012024.tsv"}
_ADDRESS: Final = "URL type (Type NA if can't find)"
_GENDER, _OTHER = "Occupation_perceived_gender", "Participant_perceived_gender"
#: what is beside the person, by list; names of annotators and addresses are not kept
_BESIDE: Final = {"OO": ("Object",), "OP": ("Participant", _OTHER)}


def _even(of_each: int) -> dict[str, int]:
    return dict.fromkeys(_GENDERS, of_each)


class VisoGender(Published):
    """VisoGender's pictures of people at work: alone (OO), or with another person (OP).

    Only addresses are published, and some are dead. Save each picture under the IDX of its row,
    such as OO_1.jpg, in any folder below root: those that are not there are counted by gender.
    """

    split: Literal["OO", "OP"] = Field(
        "OO", description=f"OO: one person, OP: two, and {_OTHER} is an attribute too"
    )

    about: ClassVar = "people at work found on the web, with perceived gender and occupation"
    access: ClassVar = (
        "no agreement; lists on https://github.com/oxai/visogender, pictures at the addresses in "
        "them, each saved under its IDX; never for training"
    )
    values: ClassVar = {_OTHER: _GENDERS}
    official: ClassVar = {
        "OO": Official(230, {_GENDER: _even(115)}),
        "OP": Official(460, {_GENDER: _even(230), _OTHER: _even(230)}),
    }
    digests: ClassVar = {
        _LISTS["OO"]: "d5fcb91c6188ca9da147891912e5b60f5dfd07f155194fe49f9e455e7a9be003",
        _LISTS["OP"]: "81019344e682f00e58b5ee3a7c7eaafbd9cd4dde22ef8cf03f952380b03f5e60",
    }
    facts: ClassVar = Card(
        name="visogender",
        manifest=_LISTS["OO"],
        image_column="file",
        id_column="IDX",
        attributes={
            _GENDER: AttributeCard(
                source="annotator-perceived",
                description="gender of the person at work, as one of the authors saw it",
                order=_GENDERS,
            ),
            "Occupation": AttributeCard(
                source="assigned",
                description="what was searched for, and seen by one of the authors",
                order=OCCUPATIONS,
            ),
        },
        licence="CC BY 4.0 for the lists; each picture has its own",
        consent="not obtained",
        provenance="VisoGender, Hall et al. 2023; a row is a picture",
        known_limits=(
            "pictures that searches of the web gave; nobody shown was asked",
            "gender in two values, as one of the authors saw it",
            "five pictures of each gender in an occupation (OO): every lost one unbalances it",
            "no subject ids are published: intervals are too narrow",
        ),
        forbidden_uses=("training",),
        url="https://github.com/oxai/visogender",
    )

    @property
    def part(self) -> str:
        """OO or OP."""
        return self.split

    def describe(self) -> Card:
        """The published card, with the list and the attributes of this part."""
        card = super().describe()
        told = "gender of the other person, as one of the authors saw it"
        other = AttributeCard(source="annotator-perceived", description=told, order=_GENDERS)
        attributes = {**card.attributes, **({_OTHER: other} if self.split == "OP" else {})}
        return card.model_copy(update={"manifest": _LISTS[self.split], "attributes": attributes})

    def read(self) -> Rows:
        """The list without names of annotators, and the pictures that were saved."""
        name = _LISTS[self.split]
        inside = f"visogender_data/{self.split}/{name}"
        listed = self.file(f"data/{inside}", inside, f"{self.split}/{name}", name)
        columns = ["IDX", "Sector", "Specialisation", "Occupation", *_BESIDE[self.split], _GENDER]
        table = read_manifests([listed], f"'{self.name}'").table
        require_columns(table, (*columns, _ADDRESS), listed)
        found = table[_ADDRESS].fillna("NA") != "NA"
        without = table.loc[~found, columns]
        table = table.loc[found, columns]
        table["file"] = locate(self.root, [str(idx) for idx in table["IDX"]])
        for column in ("Object", "Participant"):
            if column in table:  # 'mixing_spoon' beside 'mixing spoon'
                table[column] = table[column].str.replace("_", " ")
        lost = {_GENDER: tally(without[_GENDER])}
        told = "for which no address was found"
        remarks = (aside(told, [str(i) for i in without["IDX"]], lost),) if len(without) else ()
        return Rows(Manifest(table), listed, self.root, remarks, len(without))

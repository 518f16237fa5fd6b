"""VisoGender: people at work found on the web, alone or with another, and their perceived gender.

Hall et al. 2023, arXiv 2306.12424, github.com/oxai/visogender.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest, read_manifests
from audit.data.remarks import tally
from audit.data.sources.base import Published, Rows, aside, publication
from audit.data.sources.files import locate, require_columns

_ADDRESS: Final = "URL type (Type NA if can't find)"
_GENDER, _OTHER = "Occupation_perceived_gender", "Participant_perceived_gender"
#: what is beside the person, by list; names of annotators and addresses are not kept
_BESIDE: Final = {"OO": ("Object",), "OP": ("Participant", _OTHER)}


class VisoGender(Published):
    """VisoGender's pictures of people at work: alone (OO), or with another person (OP).

    Only addresses are published, and some are dead. Save each picture under the IDX of its row,
    such as OO_1.jpg, in any folder below root: those that are not there are counted by gender.
    """

    split: Literal["OO", "OP"] = Field(
        "OO", description=f"OO: one person, OP: two, and {_OTHER} is an attribute too"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "split"

    def describe(self) -> Card:
        """The published card, with the other person where there is one."""
        card = super().describe()
        if self.split == "OO":
            return card
        told, order = (
            "gender of the other person, as one of the authors saw it",
            self.values[_OTHER],
        )
        other = AttributeCard(source="annotator-perceived", description=told, order=order)
        return card.model_copy(update={"attributes": {**card.attributes, _OTHER: other}})

    def read(self) -> Rows:
        """The list without names of annotators, and the pictures that were saved."""
        name = self.list_name
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
        remarks = aside(told, [str(i) for i in without["IDX"]], lost)
        return Rows(Manifest(table), listed, self.root, remarks, len(without))

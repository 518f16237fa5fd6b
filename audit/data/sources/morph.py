"""MORPH II, non-commercial release: booking photographs of people over the years.

Ricanek and Tesafaye 2006; inconsistencies: Yip et al. 2018, arXiv 1811.06446.
"""

from __future__ import annotations

from typing import ClassVar, Final

from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Official, Published, Rows
from audit.data.sources.files import table_of

_RACES: Final = {"B": "Black", "W": "White", "A": "Asian", "H": "Hispanic", "O": "Other"}
_GENDERS: Final = {"F": "female", "M": "male"}
#: what is kept of the list: dates of birth and of arrest are not
_KEPT: Final = (
    "photo", "id_num", "picture_num", "race", "gender", "facial_hair", "age", "glasses",
)  # fmt: skip
_NEEDED: Final = ("photo", "id_num", "race", "gender", "age")


class Morph(Published):
    """MORPH II's photographs; people are the clusters. Dates of birth and arrest are not kept."""

    about: ClassVar = "booking photographs of people over the years; age, gender and race of record"
    access: ClassVar = (
        "a signed agreement and a fee, at https://uncw.edu/research/major-centers/face-aging"
    )
    values: ClassVar = {"age": tuple(map(str, range(10, 101)))}
    # 55,134 pictures of some 13,600 people is from memory, so it is not compared
    official: ClassVar = {"all": Official(None)}
    facts: ClassVar = Card(
        name="morph",
        manifest="morph_2008_nonCommercial.csv",
        image_column="photo",
        cluster_column="id_num",
        attributes={
            "age": AttributeCard(
                source="assigned", description="years between the dates of birth and of the record"
            ),
            "gender": AttributeCard(
                source="assigned",
                description="in two values, as whoever made the record wrote",
                order=tuple(_GENDERS.values()),
            ),
            "race": AttributeCard(
                source="assigned",
                description="in five values, as whoever made the record wrote",
                order=tuple(_RACES.values()),
            ),
        },
        licence="by agreement, research only (not checked)",
        consent="not obtained",
        provenance="MORPH II, non-commercial release of 2008; a row is a photograph",
        known_limits=(
            "people photographed when they were arrested, who were not asked and may be innocent",
            "gender and race are what an officer wrote, and differ between pictures of some people",
            "several pictures a person; most people are men, and most are Black or White",
            "not checked at its source: licence, address, how many pictures, what 'O' stands for",
        ),
        forbidden_uses=("any use that is not research",),
        url="https://uncw.edu/research/major-centers/face-aging",
    )

    @property
    def part(self) -> str:
        """There is one."""
        return "all"

    def read(self) -> Rows:
        """The list in words; people whose record contradicts itself are counted."""
        listed = self.file("morph_2008_nonCommercial.csv")
        table = table_of(listed, _NEEDED, self.facts.url)
        table = table[[name for name in _KEPT if name in table]].copy()
        table["race"] = table["race"].replace(_RACES)
        table["gender"] = table["gender"].replace(_GENDERS)
        remarks = []
        for name in ("gender", "race"):
            differ = int((table.groupby("id_num")[name].nunique() > 1).sum())
            if differ:
                text = f"'{name}': differs between the pictures of {differ:,} people"
                remarks.append(Remark(text, name))
        return Rows(Manifest(table), listed, listed.parent, tuple(remarks))

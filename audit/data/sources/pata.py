"""PATA: pictures of people in 24 scenes, gathered by perceived race, gender and age.

Seth et al. 2023 (DeAR), arXiv 2303.10431, github.com/pata-fairness/pata_dataset.
"""

from __future__ import annotations

from typing import ClassVar, Final

import pandas as pd

from audit.core.errors import InputError, sentence
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Official, Published, Rows
from audit.data.sources.files import locate
from audit.data.yamlfile import read_text

#: as they are written, 'yatch' too
SCENES: Final = (
    "bench", "car", "computer", "construction", "doctor", "drinking_water", "fashion_show",
    "forest", "garden", "gun_range", "gym", "hotel", "kitchen", "lab", "office", "photographer",
    "pilot", "roadside", "running", "shopping", "singer", "soldier", "sports", "yatch",
)  # fmt: skip
_LIST: Final = "pata_fairness.files.lst"
_COLUMNS: Final = ("scene", "race", "gender", "age")


class PATA(Published):
    """PATA's pictures, whose labels and addresses are lines of a list.

    Only addresses are published, and many are dead. Save each picture under its label and its place
    in the list, counted from 0, as forest_indian_male_young_0.jpg, in any folder below root: those
    that are not there are counted by group.
    """

    about: ClassVar = "people in 24 scenes, gathered from the web by race, gender and age"
    access: ClassVar = (
        "no agreement; list on https://github.com/pata-fairness/pata_dataset, pictures at the "
        "addresses in it"
    )
    values: ClassVar = {"scene": SCENES}
    official: ClassVar = {
        "all": Official(
            4_934,
            {
                "race": {
                    "black": 1024, "caucasian": 1033, "eastasian": 1095, "hispanic": 948,
                    "indian": 834,
                },
                "gender": {"female": 2529, "male": 2405},
                "age": {"young": 3748, "old": 1186},
            },
        )
    }  # fmt: skip
    digests: ClassVar = {_LIST: "735d14cf33cf8bd0b8d5ca7b13db7c2ea11c48330529c23c86f596f863964033"}
    facts: ClassVar = Card(
        name="pata",
        manifest=_LIST,
        image_column="file",
        id_column="label",
        cluster_column="address",
        attributes={
            "race": AttributeCard(
                source="annotator-perceived",
                description="race in five values, as whoever gathered the pictures saw it",
                order=("black", "caucasian", "eastasian", "hispanic", "indian"),
            ),
            "gender": AttributeCard(
                source="annotator-perceived",
                description="gender in two values, as whoever gathered the pictures saw it",
                order=("female", "male"),
            ),
            "age": AttributeCard(
                source="annotator-perceived",
                description="age in two values, as whoever gathered the pictures saw it",
                order=("young", "old"),
            ),
        },
        licence="none stated",
        consent="not obtained",
        provenance="PATA, Seth et al. 2023; a row is a picture",
        known_limits=(
            "pictures that were found on the web, some of well-known people; nobody was asked",
            "no subject ids are published: intervals are too narrow; a picture that is listed "
            "twice, as 42 are, is one cluster",
            "captions about age are for eight scenes only",
            "not checked: who judged race, gender and age, and how",
        ),
        url="https://github.com/pata-fairness/pata_dataset",
    )

    @property
    def part(self) -> str:
        """All of it."""
        return "all"

    def read(self) -> Rows:
        """Labels from the right, since scenes hold '_' too; a picture listed twice is a cluster."""
        listed = self.file(_LIST)
        rows = []
        for n, line in enumerate(read_text(listed, 10_000_000).splitlines()):
            label, _, address = line.strip().partition("|")
            parts = label.rsplit("_", 3)
            if not label and not address:
                continue
            if len(parts) != len(_COLUMNS) or not address:
                told = f"{listed}:{n + 1}: '{label}' is not scene_race_gender_age|address"
                raise InputError(sentence(told, f"Get it again: {self.facts.url}"))
            rows.append((n, f"{label}_{n}", address, *parts))
        table = pd.DataFrame(rows, columns=["place", "label", "address", *_COLUMNS], dtype=object)
        if len(table):
            # the first line with an address stands for it: addresses may hold names of people
            table["address"] = table.groupby("address")["label"].transform("first")
        nouns = [f"line {n + 1}" for n in table.pop("place")]
        table["file"] = locate(self.root, table["label"].tolist())
        return Rows(Manifest(table), listed, self.root, nouns=nouns)

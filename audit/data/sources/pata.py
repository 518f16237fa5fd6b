"""PATA: pictures of people in 24 scenes, gathered by perceived race, gender and age.

Seth et al. 2023 (DeAR), arXiv 2303.10431, github.com/pata-fairness/pata_dataset.
"""

from __future__ import annotations

from typing import ClassVar, Final

import pandas as pd

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.files import locate
from audit.data.yamlfile import read_text

_LIST: Final = "pata_fairness.files.lst"
_COLUMNS: Final = ("scene", "race", "gender", "age")


class PATA(Published):
    """PATA's pictures, whose labels and addresses are lines of a list.

    Only addresses are published, and many are dead. Save each picture under its label and its place
    in the list, counted from 0, as forest_indian_male_young_0.jpg, in any folder below root: those
    that are not there are counted by group.
    """

    published: ClassVar = publication(__file__)

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
                raise InputError(told, f"Get it again: {self.facts.url}")
            rows.append((n, f"{label}_{n}", address, *parts))
        table = pd.DataFrame(rows, columns=["place", "label", "address", *_COLUMNS], dtype=object)
        if len(table):
            # the first line with an address stands for it: addresses may hold names of people
            table["address"] = table.groupby("address")["label"].transform("first")
        nouns = [f"line {n + 1}" for n in table.pop("place")]
        table["file"] = locate(self.root, table["label"].tolist())
        return Rows(Manifest(table), listed, self.root, nouns=nouns)

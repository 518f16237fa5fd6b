"""PA-100K: pedestrians on outdoor surveillance cameras with 26 attributes.

Liu et al. 2017, HydraPlus-Net, arXiv 1709.09930, github.com/xh-liu/HydraPlus-Net.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.core.rows import Fields
from audit.data.card import AttributeCard
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Published, Rows, only_one, publication
from audit.data.sources.matlab import numbers, read_matlab, texts

ATTRIBUTES: Final = (
    "Female", "AgeOver60", "Age18-60", "AgeLess18", "Front", "Side", "Back", "Hat", "Glasses",
    "HandBag", "ShoulderBag", "Backpack", "HoldObjectsInFront", "ShortSleeve", "LongSleeve",
    "UpperStride", "UpperLogo", "UpperPlaid", "UpperSplice", "LowerStripe", "LowerPattern",
    "LongCoat", "Trousers", "Shorts", "Skirt&Dress", "boots",
)  # fmt: skip
#: attributes of which exactly one is meant to hold, and the word for each
ONE_OF: Final[Mapping[str, Mapping[str, str]]] = {
    "age": {"AgeLess18": "under 18", "Age18-60": "18 to 60", "AgeOver60": "over 60"},
    "view": {"Front": "front", "Side": "side", "Back": "back"},
}
_ODD: Final = "none or several"
_SPLITS: Final = ("train", "val", "test")
_WORDS: Final = np.array(["no", "yes"], dtype=object)


def _attributes() -> dict[str, AttributeCard]:
    """What an annotator marked: one of several, or each alone."""
    perceived = partial(AttributeCard, source="annotator-perceived")
    several = {
        name: perceived(
            description=f"which of {', '.join(words)} an annotator marked, if one alone",
            order=(*words.values(), _ODD),
            unknown=(_ODD,),
        )
        for name, words in ONE_OF.items()
    }
    marked = "whether an annotator marked '{}'"
    alone = {n: perceived(description=marked.format(n), order=("no", "yes")) for n in ATTRIBUTES}
    return several | alone


class PA100K(Published):
    """PA-100K's pictures of pedestrians, one part or all.

    Order and number of the attributes are read from the file itself, since lists of them in papers
    and loaders have other orders.
    """

    split: Literal["train", "val", "test", "all"] = Field(
        "test", description="train, val, test or all"
    )

    published: ClassVar = publication(__file__, _attributes())
    parts: ClassVar = "split"

    def read(self) -> Rows:
        """The attributes of each picture in words, and gender, age and view drawn from them."""
        listed = self.file("annotation.mat")
        held = read_matlab(listed)
        splits = _SPLITS if self.split == "all" else (self.split,)
        table = pd.concat([_part(held, split, listed) for split in splits], ignore_index=True)
        table["gender"] = np.where(table["Female"] == "yes", "female", "not female")
        remarks: list[Remark] = []
        for name, words in ONE_OF.items():
            marked = (table[list(words)] == "yes").to_numpy()
            lead = f"of {' and '.join(words)} "
            table[name], odd = only_one(name, marked, list(words.values()), _ODD, "pictures", lead)
            remarks += odd
        return Rows(Manifest(table), listed, self._pictures(), remarks)

    def _pictures(self) -> Path:
        return self.folder("release_data/release_data", "release_data", "data")


def _part(held: Fields, split: str, path: Path) -> pd.DataFrame:
    """One part: file names, and words for 0 and 1 in the file's own order of attributes."""
    for name in ("attributes", f"{split}_images_name", f"{split}_label"):
        if name not in held:
            told = f"{path}: has no '{name}', as PA-100K's annotation.mat has"
            raise InputError(told, f"Get it from {PA100K.facts.url}")
    names = texts(held["attributes"])
    if sorted(names) != sorted(ATTRIBUTES):
        wrong = sorted(set(names) ^ set(ATTRIBUTES))
        told = f"{path}: {len(names)} attributes, and PA-100K has 26; other is '{wrong[0]}'"
        raise InputError(told, f"Get it from {PA100K.facts.url}")
    files = texts(held[f"{split}_images_name"])
    labels = numbers(held[f"{split}_label"], f"{path}: {split}_label")
    if labels.size == len(files) * len(names):  # one row or none is read without its shape
        labels = labels.reshape(len(files), len(names))
    if labels.shape != (len(files), len(names)):
        told = f"{path}: {split}: {len(files):,} pictures by {len(names)} attributes are named, "
        raise InputError(f"{told}and the labels are {labels.shape}", "Get it again")
    if not np.isin(labels, (0, 1)).all():
        row, column = (int(i[0]) for i in np.nonzero(~np.isin(labels, (0, 1))))
        told = f"{path}: {split}: '{files[row]}' has {names[column]} {labels[row, column]}"
        raise InputError(told, "Official are 0 and 1")
    words = pd.DataFrame(_WORDS[labels], columns=names, dtype=object)
    return pd.concat([pd.DataFrame({"file": files, "split": split}, dtype=object), words], axis=1)

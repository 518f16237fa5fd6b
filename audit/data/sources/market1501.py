"""Market-1501 with attributes: people in front of a supermarket, by identity and camera.

Zheng et al. 2015 (pictures); Lin et al. 2019, arXiv 1703.07220, github.com/vana77 (attributes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.core.rows import Array, Row
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Published, Rows, aside, only_one, publication
from audit.data.sources.image_folder import files_below, is_picture
from audit.data.sources.matlab import numbers, read_matlab, texts

_NAME: Final = re.compile(
    r"(?P<identity>-1|\d{4})_c(?P<camera>\d)s(?P<sequence>\d)_\d+_\d+\.jpg", re.IGNORECASE
)
_YES: Final = {1: "no", 2: "yes"}
#: column of the file: what its codes mean
CODES: Final[Mapping[str, Mapping[int, str]]] = {
    "gender": {1: "male", 2: "female"},
    "age": {1: "young", 2: "teenager", 3: "adult", 4: "old"},
    "hair": {1: "short", 2: "long"},
    "up": {1: "long sleeves", 2: "short sleeves"},
    "down": {1: "long", 2: "short"},
    "clothes": {1: "dress", 2: "pants"},
    "hat": _YES, "backpack": _YES, "bag": _YES, "handbag": _YES,
}  # fmt: skip
#: of these columns the README says that exactly one is yes
COLOURS: Final = {
    "upper colour": ("black", "white", "red", "purple", "yellow", "gray", "blue", "green"),
    "lower colour": (
        "black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown",
    ),
}  # fmt: skip
_PREFIX: Final = {"upper colour": "up", "lower colour": "down"}
_ODD: Final = "none or several"
_FOLDERS: Final = {"train": ("bounding_box_train",), "test": ("bounding_box_test", "query")}


class Market1501(Published):
    """Market-1501's pictures with the attributes of their identity, which are the clusters."""

    split: Literal["train", "test"] = Field("test", description="train or test (with query)")

    published: ClassVar = publication(__file__)
    parts: ClassVar = "split"

    def read(self) -> Rows:
        """Every picture of an identity that has attributes; distractors and junk are set aside."""
        listed = self.file("market_attribute.mat", "attribute/market_attribute.mat")
        people, remarks = _people(listed, self.split)
        found, odd = self._pictures()
        known = found["identity"].isin(people.index)
        nobody = found.loc[~known, "file"].tolist()
        what = "of nobody (distractors, junk), or of an identity without attributes"
        notes = aside(what, nobody)
        notes += aside("with names that are none of Market-1501's", odd)
        table = found[known].reset_index(drop=True)
        table = table.join(people, on="identity")
        unseen = people.index[~people.index.isin(table["identity"])]
        if len(unseen):
            text = f"{len(unseen):,} identities have attributes and no picture, such as {unseen[0]}"
            notes.append(Remark(text))
        lost = [name for name in _FOLDERS[self.split] if not (self.root / name).is_dir()]
        notes += [Remark(f"the folder '{name}' is not there") for name in lost]
        gone = len(nobody) + sum(map(is_picture, odd))
        return Rows(Manifest(table), listed, self.root, (*remarks, *notes), gone)

    def _pictures(self) -> tuple[pd.DataFrame, list[str]]:
        """File, identity and camera of every picture of this part, and names that say neither."""
        rows, odd = [], []
        for name in _FOLDERS[self.split]:
            folder = self.folder(name) if name == _FOLDERS[self.split][0] else self.root / name
            for file in files_below(folder):
                said = _NAME.fullmatch(file)
                if said is None:
                    odd.append(f"{name}/{file}")
                else:
                    rows.append((f"{name}/{file}", said["identity"], said["camera"]))
        return pd.DataFrame(rows, columns=["file", "identity", "camera"], dtype=object), odd


def _people(path: Path, split: str) -> tuple[pd.DataFrame, list[Remark]]:
    """Attributes by identity, in words, whatever order the file has its fields in."""
    held = read_matlab(path)
    part = getattr(held.get("market_attribute"), split, None)
    if part is None:
        told = f"{path}: has no market_attribute.{split}"
        raise InputError(told, f"Get it from {Market1501.facts.url}")
    identities = texts(_field(part, "image_index", path))
    columns: Row = {}
    for name, words in CODES.items():
        columns[name] = _in_words(part, name, words, path)
    remarks: list[Remark] = []
    everyone = f"of {len(identities):,} identities"
    for name, colours in COLOURS.items():
        of_each = [_in_words(part, _PREFIX[name] + c, _YES, path) == "yes" for c in colours]
        columns[name], odd = only_one(name, np.stack(of_each, axis=1), colours, _ODD, everyone)
        remarks += odd
    table = pd.DataFrame(columns, index=pd.Index(identities, dtype=object), dtype=object)
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise InputError(f"{path}: identity {twice} is listed twice", "Get it again")
    return table, remarks


def _field(part: object, name: str, path: Path) -> Array:
    if not hasattr(part, name):
        told = f"{path}: has no field '{name}'"
        raise InputError(told, f"Get it from {Market1501.facts.url}")
    found: Array = getattr(part, name)
    return found


def _in_words(part: object, name: str, words: Mapping[int, str], path: Path) -> Array:
    codes = numbers(_field(part, name, path), f"{path}: {name}")
    wrong = ~np.isin(codes, list(words))
    if wrong.any():
        official = ", ".join(f"{code} ({word})" for code, word in words.items())
        told = f"{path}: '{name}' is {codes[wrong][0]} for {int(wrong.sum()):,} identities"
        raise InputError(told, f"Official are {official}")
    return np.array([words[int(code)] for code in codes], object)

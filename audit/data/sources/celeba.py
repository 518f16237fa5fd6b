"""CelebA: pictures of celebrities with forty attributes.

Liu, Luo, Wang and Tang 2015, mmlab.ie.cuhk.edu.hk/projects/CelebA.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.core.rows import having
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest, read_manifests
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.image_folder import is_picture
from audit.data.yamlfile import read_text

ATTRIBUTES: Final = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
_WORDS: Final = {"-1": "no", "1": "yes"}
_SPLITS: Final = {"0": "train", "1": "val", "2": "test"}
_LARGEST: Final = 1 << 30


class CelebA(Published):
    """CelebA's aligned pictures, one part or all; celebrities are the clusters."""

    split: Literal["train", "val", "test", "all"] = Field(
        "test", description="train, val, test or all"
    )

    published: ClassVar = publication(
        __file__,
        {
            name: AttributeCard(
                source="annotator-perceived",
                description=f"whether an annotator said '{name}' of the picture",
                order=tuple(_WORDS.values()),
            )
            for name in ATTRIBUTES
        },
    )
    parts: ClassVar = "split"

    def read(self) -> Rows:
        """Attributes, with the split and the identity of each picture; words for -1 and 1."""
        listed = self._listed("Anno", "list_attr_celeba")
        table = _table(listed)
        if lost := [name for name in ATTRIBUTES if name not in table]:
            told = f"{listed}: has no column '{lost[0]}', one of the forty attributes"
            raise InputError(told, f"Get the whole file: {self.facts.url}")
        partition = self._listed("Eval", "list_eval_partition")
        split = _column(partition, table["file"])
        if not (known := split.isin(list(_SPLITS))).all():
            at = split.index[int((~known).to_numpy().argmax())]
            told = f"{partition}: '{at}' is in part '{split[at]}'"
            raise InputError(told, "Parts are 0 (train), 1 (val) and 2 (test)")
        table["split"] = split.map(_SPLITS).to_numpy()
        if self._has_identities():
            identities = _column(self._listed("Anno", "identity_CelebA"), table["file"])
            table["identity"] = identities.to_numpy()
        chosen = table if self.split == "all" else having(table, split=self.split)
        chosen = chosen.assign(**{name: chosen[name].replace(_WORDS) for name in ATTRIBUTES})
        return Rows(Manifest(chosen), listed, self._pictures())

    def describe(self) -> Card:
        """The published card; without the file of identities every picture is a subject."""
        card = super().describe()
        return card if self._has_identities() else card.model_copy(update={"cluster_column": None})

    def _has_identities(self) -> bool:
        return any((self.root / name).is_file() for name in _names("Anno", "identity_CelebA"))

    def _listed(self, folder: str, stem: str) -> Path:
        return self.file(*_names(folder, stem))

    def _pictures(self) -> Path:
        aligned = "img_align_celeba"
        return self.folder(f"Img/{aligned}", f"{aligned}/{aligned}", aligned)


def _names(folder: str, stem: str) -> list[str]:
    """Where a list may lie: as it is published, or as Kaggle's copies have it."""
    return [f"{place}{stem}.{end}" for end in ("txt", "csv") for place in (f"{folder}/", "")]


def _table(path: Path) -> pd.DataFrame:
    """A list of CelebA's as text, its first column ``file``.

    ``.csv`` has a header. ``.txt`` may have a count in its first line, which must be right, and a
    header, of one name fewer where it names only what follows the picture; blanks come in runs.
    """
    if path.suffix.lower() == ".csv":
        table = read_manifests([path], str(path)).table
        return table.rename(columns={table.columns[0]: "file"})
    lines = [line.split() for line in read_text(path, _LARGEST).splitlines()]
    rows = [(n, row) for n, row in enumerate(lines, 1) if row]
    count = (
        int(rows.pop(0)[1][0])
        if rows and len(rows[0][1]) == 1 and rows[0][1][0].isdigit()
        else None
    )
    header = rows.pop(0)[1] if rows and not is_picture(rows[0][1][0]) else []
    if not rows:
        raise InputError(f"{path}: lists no picture", "Get the whole file")
    width = len(rows[0][1])
    names = header if len(header) == width else [
        "file", *(header or [f"column {i}" for i in range(1, width)])
    ]  # fmt: skip
    for n, row in rows:
        if len(row) != len(names):
            told = f"{path}:{n}: {len(row)} values, and {len(names)} are expected"
            raise InputError(told, "Get the whole file")
    if count is not None and count != len(rows):
        told = f"{path}: its first line counts {count:,} pictures, and {len(rows):,} rows follow"
        raise InputError(told, "Get the whole file")
    table = pd.DataFrame([row for _, row in rows], columns=names, dtype=object)
    return table.rename(columns={names[0]: "file"})


def _column(path: Path, files: pd.Series) -> pd.Series:
    """What a list of two columns says of these pictures, in their order."""
    table = _table(path)
    if len(table.columns) != 2:
        told = f"{path}: rows of {len(table.columns)} values, and a picture and one value are meant"
        raise InputError(told, "Blanks separate them in .txt, commas in .csv")
    said = table.set_index("file").iloc[:, 0]
    if twice := list(said.index[said.index.duplicated()]):
        raise InputError(f"{path}: lists '{twice[0]}' twice", "Get the file again")
    found = said.reindex(files)
    if found.isna().any():
        at = found.index[int(found.isna().to_numpy().argmax())]
        told = f"{path}: {int(found.isna().sum()):,} pictures of the attributes are not listed"
        raise InputError(told, f"The first is '{at}'", "Get the whole file")
    return found

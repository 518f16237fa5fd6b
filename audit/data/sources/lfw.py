"""Labeled Faces in the Wild: faces of people in the news, by name.

Huang, Ramesh, Berg and Learned-Miller 2007, vis-www.cs.umass.edu/lfw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Published, Rows, aside, publication
from audit.data.sources.files import table_of
from audit.data.sources.image_folder import files_below
from audit.data.yamlfile import read_text

_FOLDERS: Final = {
    "original": ("lfw",),
    "funneled": ("lfw_funneled", "lfw-funneled"),
    "deep-funneled": ("lfw-deepfunneled/lfw-deepfunneled", "lfw-deepfunneled", "lfw_deepfunneled"),
}
_NAMES: Final = "lfw-names.txt"


class LFW(Published):
    """LFW's pictures, a folder a person, who is the cluster.

    No attribute of people is published with it: what groups them is a list of your own.

    All alignments have the same file names, so which one lies in the folder is to be stated.
    """

    alignment: Literal["original", "funneled", "deep-funneled"] = Field(
        description="of the pictures in the folder: original, funneled or deep-funneled"
    )

    labels: str = Field(
        "", description="a CSV of your own below root, a row a person: 'person', ..."
    )
    attributes: Mapping[str, AttributeCard] = Field(
        {}, description="columns of your list, as in a data card"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "alignment"

    @property
    def version(self) -> str:
        """How the pictures were aligned, which can't be told from their names."""
        return f"{self.alignment} as stated"

    def read(self) -> Rows:
        """Every picture by its folder; names that are none of LFW's are set aside and counted."""
        others = {n: p for p, names in _FOLDERS.items() if p != self.alignment for n in names}
        folder = self.folder(*_FOLDERS[self.alignment], ".")
        beside = next((n for n in others if (self.root / n).is_dir()), None)
        if folder == self.root / "." and beside:
            told = f"{self.root}: alignment {self.alignment} is stated, and pictures are in"
            raise InputError(f"{told} '{beside}'", f"State '{others[beside]}'")
        rows, odd = [], []
        for name in files_below(folder):
            path = PurePosixPath(name)
            person = path.parent.as_posix()
            stem, number = path.stem.rpartition("_")[::2]
            if stem == person and len(number) == 4 and number.isdigit():
                rows.append((name, person))
            elif path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                odd.append(name)
        table = pd.DataFrame(rows, columns=["file", "person"], dtype=object)
        if self.labels:
            table = table.join(self._labels(), on="person")
        remarks = aside("whose name is none of LFW's", odd)
        remarks += self._of_names(Counter(person for _, person in rows))
        return Rows(Manifest(table), folder, folder, remarks, len(odd))

    def describe(self) -> Card:
        """The published card, with the attributes of the list."""
        return super().describe().model_copy(update={"attributes": dict(self.attributes)})

    def _labels(self) -> pd.DataFrame:
        """What a list says of each person."""
        file = self.file(self.labels)
        said = table_of(file, ("person", *self.attributes))
        if taken := {"file", "person"} & {*self.attributes}:
            told = f"lfw: attributes: '{min(taken)}' names a picture or a person, not a group"
            raise InputError(told, "Name another column")
        if said["person"].duplicated().any():
            told = f"{file}: lists '{said['person'][said['person'].duplicated()].iloc[0]}' twice"
            raise InputError(told, "A person has one row")
        return said.set_index("person")[list(self.attributes)]

    def _of_names(self, found: Counter[str]) -> list[Remark]:
        """How many pictures of whom the set's own list counts and the folder lacks, if it is there.

        No name is shown.
        """
        file = self.root / _NAMES
        if not file.is_file():
            return []
        rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
        if any(len(row) != 2 or not row[1].isdigit() for row in rows):
            raise InputError(f"{file}: not a name and a count in each line", "Get it again")
        lost = {name: int(count) - found[name] for name, count in rows if int(count) > found[name]}
        if not lost:
            return []
        told = f"{sum(lost.values()):,} pictures of {len(lost):,} people that {_NAMES} counts"
        return [Remark(f"{told} are not there")]

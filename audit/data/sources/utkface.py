"""UTKFace: faces found on the web, whose labels are their file names.

Zhang, Song and Qi 2017, susanqq.github.io/UTKFace.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Published, Rows, aside, publication

#: age, gender, race, time; whatever ends a name, since 'jpg.chip.jpg' and ' .jpg' occur
_NAME: Final = re.compile(r"(\d{1,3})_(\d)_(\d)_\d{8,}[^_]*")
_BEGINS: Final = re.compile(r"\d{1,3}_")
#: a name that lacks gender or race, and nobody knows which
_PART_MISSING: Final = re.compile(r"(\d{1,3})_(?:\d_)?\d{8,}[^_]*")
_GENDERS: Final = ("male", "female")
_RACES: Final = ("White", "Black", "Asian", "Indian", "Others")
_IN_THE_WILD: Final = ("part1", "part2", "part3")
_SUFFIXES: Final = (".jpg", ".jpeg", ".png")


class UTKFace(Published):
    """UTKFace's pictures: aligned and cropped faces, or the whole pictures they are from."""

    faces: Literal["aligned", "in-the-wild"] = Field(
        "aligned", description="aligned faces, or in-the-wild: the pictures they are from"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "faces"

    def read(self) -> Rows:
        """A row a picture, from its name; names with a part missing are set aside and counted."""
        root, names, beside = self._named()
        rows: list[tuple[str, ...]] = []
        lacking: list[str] = []
        other: list[str] = []
        for name in names:
            stem = Path(name).name
            if found := _NAME.fullmatch(stem):
                age, gender, race = (str(int(code)) for code in found.groups())
                words = _word(_GENDERS, gender), _word(_RACES, race)
                rows.append((name, age, *words))
            else:
                (lacking if _PART_MISSING.fullmatch(stem) else other).append(name)
        table = pd.DataFrame(rows, columns=["file", "age", "gender", "race"], dtype=object)
        return Rows(
            Manifest(table),
            root,
            root,
            (*_set_aside(lacking, other, beside), *self._parts()),
            aside=len(lacking) + len(other),
            nouns=[f"the name '{name}'" for name in table["file"]],
        )

    def _parts(self) -> list[Remark]:
        """Which parts of the whole pictures are not there."""
        lost = [part for part in _IN_THE_WILD if not (self.root / part).is_dir()]
        told = f"{', '.join(lost)} of {', '.join(_IN_THE_WILD)} are not there"
        return [Remark(told)] if lost and self.faces == "in-the-wild" else []

    def _named(self) -> tuple[Path, list[str], list[str]]:
        """The folder of the pictures, their paths in it, and other files that lie there."""
        if self.faces == "aligned":
            root = self.folder("UTKFace", ".")
            files = _files_in(root)
            names = [name for name in files if _is_picture(name) and ".chip." in name.lower()]
            if not names:
                told = f"{root}: holds no picture '*.jpg.chip.jpg', as aligned faces are called"
                wild = "Whole pictures are 'faces: in-the-wild'"
                raise InputError(told, wild if any(map(_is_picture, files)) else "")
        else:
            root = self.folder(*_IN_THE_WILD).parent
            files = [f"{part}/{name}" for part in _IN_THE_WILD for name in _files_in(root / part)]
            names = [name for name in files if _is_picture(name)]
        rest = sorted({*files} - {*names})
        return root, names, [n for n in rest if _is_picture(n) or _BEGINS.match(Path(n).name)]


def _files_in(folder: Path) -> list[str]:
    """The names of the files in a folder, none where it isn't there."""
    return sorted(p.name for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _word(words: Sequence[str], code: str) -> str:
    """What a code stands for; one that stands for nothing stays, and is refused."""
    return words[int(code)] if int(code) < len(words) else code


def _set_aside(lacking: Sequence[str], other: Sequence[str], beside: Sequence[str]) -> list[Remark]:
    ages = Counter(Path(name).name.split("_")[0] for name in lacking)
    told = "whose name lacks gender or race"
    return [
        *aside(told, lacking, {"age": dict(ages.most_common())}),
        *aside("whose name has no known form", other),
        *aside("which are not of this kind by their name", beside),
    ]

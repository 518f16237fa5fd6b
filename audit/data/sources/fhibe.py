"""FHIBE: consenting people in many countries, who describe themselves; consent may be withdrawn.

Xiang et al. 2025, doi 10.1038/s41586-025-09716-2, fairnessbenchmark.ai.sony.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from audit.core.errors import InputError
from audit.data.manifest import Manifest, read_manifests
from audit.data.remarks import Remark, tally
from audit.data.sources.base import Published, Rows, aside, publication
from audit.data.sources.files import require_columns

#: subjects who left are taken out every month
_DAYS: Final = 31
_VERSION: Final = re.compile(r"fhibe\.([\w.-]+?)(?:_downsampled)?_public")
_SEVERAL, _PREFER_NOT = "several", "Prefer not to say"
#: what each code of 'N. text' stands for, by its number
CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "pronoun": (
        "She/her/hers", "He/him/his", "They/them/their", "Ze/zir/zirs", "None of the above",
        _PREFER_NOT,
    ),
    "ancestry": ("Africa", "Americas", "Asia", "Europe", "Oceania"),
    "skin_color": ("Dark", "Brown", "Tan", "Intermediate", "Light", "Very light"),
    "hair_type": (
        "None", "Straight", "Wavy", "Curly", "Kinky-coily", "Not listed", "Report string",
    ),
}  # fmt: skip
#: the numbers of the regions; those after each are its sub-regions
_REGIONS: Final = (0, 6, 11, 17, 22)
_LAST_REGION: Final = 26
#: columns, and the codes that they hold
_COLUMNS: Final = {
    "pronoun": "pronoun", "ancestry": "ancestry", "natural_skin_color": "skin_color",
    "apparent_skin_color": "skin_color", "natural_hair_type": "hair_type",
    "apparent_hair_type": "hair_type",
}  # fmt: skip
#: whether a whole picture shows somebody else as well
_SECOND: Final = "second_person"
_NEEDED: Final = ("filepath", "subject_id", "is_primary", "age", *_COLUMNS)


class FHIBE(Published):
    """FHIBE's pictures, whole or as faces that were cut out and aligned.

    Whole pictures show one or two people; a row is the one whom the list calls primary. People who
    withdraw their consent are taken out of the data set every month: get the newest version, and
    state on what day with 'downloaded'. No picture of it is shown.
    """

    crop: Literal["whole", "face"] = Field(
        "whole", description="whole pictures, or face: cut out and aligned"
    )
    downloaded: date | None = Field(
        None, description="the day you got it, such as 2026-01-31 (the date in the folder's name)"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "crop"

    @field_validator("downloaded")
    @classmethod
    def _has_been(cls, day: date | None) -> date | None:
        if day and day > _today():
            raise ValueError(f"got {day}, which is still to come; state the day you got it")
        return day

    @property
    def version(self) -> str:
        """The part, what the folder's name says, and the day that was stated."""
        stated = f"downloaded {self.downloaded} as stated" if self.downloaded else ""
        return ", ".join(filter(None, (self.part, self._named(), stated)))

    def read(self) -> Rows:
        """The list of this part, words for codes; who is not primary is set aside and counted."""
        root, listed = self._found()
        table = read_manifests([listed], f"'{self.name}'").table
        require_columns(table, _NEEDED, listed)
        pictures = table.get("image_id", table["filepath"])
        table = table[list(_NEEDED)]
        table["age"] = table["age"].str.replace(r"\.0+$", "", regex=True)
        table["is_primary"] = table["is_primary"].replace({"TRUE": "True", "FALSE": "False"})
        for name, codes in _COLUMNS.items():
            word: Callable[[int], str] = _region if codes == "ancestry" else _word_of(CODES[codes])
            table[name] = [
                _words(
                    text, word, f"{listed}: row {n + 1} below the header has the {name} '{text}'"
                )
                for n, text in zip(table.index, table[name], strict=True)
            ]
        notes = self._of_age()
        other = table[(table["is_primary"] == "False") & (self.crop == "whole")]
        if len(other):
            groups = {name: tally(other[name]) for name in ("pronoun", "ancestry")}
            notes += aside("which are of who is not primary", list(other["filepath"]), groups)
        if self.crop == "whole":
            shared = pictures.isin(pictures[other.index])
            table[_SECOND] = np.where(shared, "shown", "not shown")
        kept = table.drop(other.index)
        notes += _of_second(kept)
        notes += _of_several(kept)
        return Rows(Manifest(kept), listed, root, notes, len(other))

    def _found(self) -> tuple[Path, Path]:
        """The version's own folder, which paths are relative to, and its list."""
        name = self.list_name.removesuffix(".csv")
        inside = f"data/processed/{name}/{name}.csv"
        below = [p for p in sorted(self.root.glob("fhibe.*")) if (p / inside).is_file()]
        if len(below) > 1:
            told = f"{self.root}: holds {len(below)} versions, such as {below[0].name}"
            raise InputError(told, "Name the newest one as root, and delete the others")
        root = below[0] if below and not (self.root / inside).is_file() else self.root
        return root, root / inside if below else self.file(inside)

    def _named(self) -> str:
        """The version in the folder's name, such as 20250716.u.gT5_rFTA; blank if it has none."""
        found = _VERSION.fullmatch(self._found()[0].resolve().name)
        return found[1] if found else ""

    def _of_age(self) -> list[Remark]:
        """What is to be said of a version that may hold people who have left."""
        day = self.downloaded or _day_of(self._named())
        leave = "people who withdrew their consent are taken out every month"
        newest = f"get the newest version, and delete this one: {self.facts.url}/download"
        if day is None:
            told = "neither the folder's name nor 'downloaded' says how old this version is"
            return [Remark(f"{told}; {leave}, so {newest}")]
        days = (_today() - day).days
        return [Remark(f"this version is {days:,} days old; {leave}, so {newest}")] * (days > _DAYS)


def _day_of(version: str) -> date | None:
    try:
        return datetime.strptime(version[:8], "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _today() -> date:
    return datetime.now(UTC).date()


def _word_of(words: tuple[str, ...]) -> Callable[[int], str]:
    return lambda code: words[code]


def _region(code: int) -> str:
    """The region that a region or sub-region is of."""
    if not 0 <= code <= _LAST_REGION:
        raise IndexError(code)
    return CODES["ancestry"][bisect_right(_REGIONS, code) - 1]


def _words(text: object, word: Callable[[int], str], told: str) -> str:
    """The one word of 'N. text' or of a list of such; 'several' where there are several words."""
    said = str(text).strip()
    try:
        each = ast.literal_eval(said) if said.startswith("[") else [said]
        found = {word(int(str(one).split(".", 1)[0])) for one in each}
    except (ValueError, SyntaxError, IndexError, TypeError) as error:
        advice = "Official are codes such as '2. Tan', or lists of them"
        raise InputError(told, advice, "Get it again") from error
    if not found:
        raise InputError(told, "It holds no code", "Get it again")
    return found.pop() if len(found) == 1 else _SEVERAL


def _of_second(table: pd.DataFrame) -> list[Remark]:
    count = int((table[_SECOND] == "shown").sum()) if _SECOND in table else 0
    told = f"{count:,} pictures show a second person, of whom an answer may be"
    advice = f"'only: {{{_SECOND}: not shown}}' leaves them out, 'crop: face' shows each alone"
    return [Remark(f"{told}; {advice}")] * (count > 0)


def _of_several(table: pd.DataFrame) -> list[Remark]:
    counts = {name: int((table[name] == _SEVERAL).sum()) for name in ("pronoun", "ancestry")}
    return [
        Remark(f"'{name}': several were chosen for {n:,} rows, which are in no group of it", name)
        for name, n in counts.items()
        if n
    ]

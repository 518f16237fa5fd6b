"""Chicago Face Database 3.0: people photographed in a studio, and how others rate their faces.

Ma, Correll and Wittenbrink 2015; CFD-MR 2020; CFD-INDIA 2020; www.chicagofaces.org.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import ClassVar, Final, Literal

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.remarks import Remark, counted, tally
from audit.data.sources.base import Published, Rows, aside, publication
from audit.data.sources.image_folder import files_below

_ETHNICITIES: Final = {
    "A": "Asian", "B": "Black", "I": "Indian", "L": "Latino", "M": "multiracial", "W": "White",
}  # fmt: skip
_GENDERS: Final = {"F": "female", "M": "male"}
_EXPRESSIONS: Final = {
    "N": "neutral", "A": "angry", "F": "fearful",
    "HC": "happy, mouth closed", "HO": "happy, mouth open",
}  # fmt: skip
#: of each set: the folder of its pictures, and the sheet with its people
_SETS: Final = {
    "main": ("CFD", "CFD U.S. Norming Data"),
    "multiracial": ("CFD-MR", "CFD-MR U.S. Norming Data"),
    "india": ("CFD-INDIA", "CFD-I INDIA Norming Data"),
}
_NAME: Final = re.compile(
    r"CFD-([A-Z])([A-Z])-(\d+)-(\d+)(?:-(\d+))?-([A-Z]{1,2})\.jpe?g", re.IGNORECASE
)
_BOOK: Final = "CFD 3.0 Norming Data and Codebook.xlsx"
_COLUMNS: Final = ("Model", "EthnicitySelf", "GenderSelf", "AgeRated")
#: rows of a sheet among which its header is
_TOP: Final = 20


class ChicagoFaces(Published):
    """The Chicago Face Database's pictures of one set; people (models) are the clusters."""

    people: Literal["main", "multiracial", "india"] = Field(
        "main", description="which set: main, multiracial (CFD-MR) or india (CFD-INDIA)"
    )
    expression: Literal["neutral", "all"] = Field(
        "neutral", description="neutral pictures, which the ratings are of, or all"
    )

    published: ClassVar = publication(__file__)
    parts: ClassVar = "people"

    @property
    def version(self) -> str:
        """The set and the expressions."""
        return f"{self.people}, {self.expression}"

    def read(self) -> Rows:
        """A row a picture of a model whom the codebook lists; others are set aside and counted."""
        book = self.file(_BOOK, f"CFD Version 3.0/{_BOOK}")
        folder, sheet = _SETS[self.people]
        people = _people(book, sheet)
        root = self.folder(f"Images/{folder}", f"CFD Version 3.0/Images/{folder}")
        rows, odd = [], []
        for name in files_below(root):
            said = _NAME.fullmatch(Path(name).name)
            model = _model(said, people) if said else None
            code = said[6].upper() if said else ""
            if model is None:
                odd.append(name)
            elif self.expression == "all" or code == "N":
                rows.append((name, model, _EXPRESSIONS.get(code, code)))
        table = pd.DataFrame(rows, columns=["file", "key", "expression"], dtype=object)
        remarks = aside("whose model the codebook does not list", odd)
        lost = people[~people.index.isin(table["key"])]
        if len(lost):
            told = f"{len(lost):,} models of the codebook have no picture here"
            of = (f"by {name}: {counted(tally(lost[name]))}" for name in _COLUMNS[1:3])
            remarks.append(Remark(f"{told}; {'; '.join(of)}"))
        joined = table.join(people, on="key").drop(columns="key")
        nouns = [f"the model of '{name}'" for name in joined["file"]]
        return Rows(Manifest(joined), book, root, remarks, len(odd), nouns)


def _model(said: re.Match[str], people: pd.DataFrame) -> str | None:
    """The key of a picture's model, which sheets write as 'AF-200' or 'IF601-519'."""
    group, first, second, copy = f"{said[1]}{said[2]}".upper(), said[3], said[4], said[5] or ""
    keys = (f"{group}{first}{second}{copy}", f"{group}{first}{copy}", f"{group}{first}")
    return next((key for key in keys if key in people.index), None)


def _people(book: Path, sheet: str) -> pd.DataFrame:
    """The models of a sheet by their key without dashes; what is asked of them in words.

    Raises:
        InputError: openpyxl isn't installed; it is no workbook, or not this one.
    """
    rows = _cells(book, sheet)
    at = next((n for n, row in enumerate(rows[:_TOP]) if row and row[0] == "Model"), None)
    where, again = f"{book}: sheet '{sheet}'", f"Get {ChicagoFaces.facts.url}"
    if at is None:
        raise InputError(f"{where} has no row that begins with 'Model'", again)
    names = rows[at]
    if lost := [name for name in _COLUMNS if name not in names]:
        raise InputError(f"{where} has no column '{lost[0]}'", again)
    places = [names.index(name) for name in _COLUMNS]
    kept = [[row[place] for place in places] for row in rows[at + 1 :] if row[0]]
    table = pd.DataFrame(kept, columns=list(_COLUMNS), dtype=object)
    for name, words in (("EthnicitySelf", _ETHNICITIES), ("GenderSelf", _GENDERS)):
        table[name] = table[name].replace(words)
    table.index = pd.Index([re.sub(r"\W", "", str(model)).upper() for model in table["Model"]])
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise InputError(f"{where} lists '{twice}' twice", again)
    return table


def _cells(book: Path, sheet: str) -> list[list[str | None]]:
    """The cells of a sheet as text, None where there is nothing."""
    try:
        import openpyxl
    except ImportError as error:
        told = f"{book}: a workbook is read by openpyxl, which is not installed"
        raise InputError(told, "pip install 'clip-audit[xlsx]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles that it does not know
            held = openpyxl.load_workbook(book, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises anything here: zipfile, KeyError, its own
        told = f"{book}: can't be read as a workbook: {str(error)[:120]}"
        raise InputError(told, "Get it again") from error
    if sheet not in held.sheetnames:
        told = f"{book}: has no sheet '{sheet}', but {', '.join(held.sheetnames)}"
        raise InputError(told, f"Get version 3.0: {ChicagoFaces.facts.url}")
    return [[_text(cell) for cell in row] for row in held[sheet].iter_rows(values_only=True)]


def _text(cell: object) -> str | None:
    if cell is None:
        return None
    return f"{cell:.10g}" if isinstance(cell, float) else str(cell).strip() or None

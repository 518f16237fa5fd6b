"""FACET: people in photographs with a class, perceived gender, age and skin tone, and more.

Gustafson et al. 2023, arXiv 2309.00035, facet.metademolab.com.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from audit.core.errors import InputError
from audit.data.card import AttributeCard, Card
from audit.data.manifest import Manifest, read_manifests
from audit.data.remarks import Remark
from audit.data.sources.base import Cut, Rows, publication
from audit.data.sources.files import locate, require_columns
from audit.data.values import number

#: attributes of which annotators choose one value: what the columns after the name end in
CHOSEN: Final[Mapping[str, Mapping[str, str]]] = {
    "gender_presentation": {
        "masc": "masculine", "fem": "feminine", "non_binary": "non-binary", "na": "not told",
    },
    "age_presentation": {
        "young": "younger", "middle": "middle", "older": "older", "na": "not told",
    },
    "hair_color": {
        "black": "black", "brown": "brown", "blonde": "blonde", "red": "red",
        "colored": "colored", "grey": "grey", "na": "not told",
    },
    "hairtype": {
        "straight": "straight", "wavy": "wavy", "curly": "curly", "coily": "coily",
        "dreadlocks": "dreadlocks", "bald": "bald", "na": "not told",
    },
    "lighting": {
        "underexposed": "underexposed", "dimly_lit": "dimly lit", "well_lit": "well lit",
        "overexposed": "overexposed", "na": "not told",
    },
}  # fmt: skip
TONES: Final = tuple(f"skin_tone_{n}" for n in range(1, 11))
#: attributes of which each is marked or not, by any annotator
MARKED: Final = (
    "has_facial_hair", "has_tattoo", "has_cap", "has_mask", "has_headscarf", "has_eyeware",
    "visible_torso", "visible_face", "visible_minimal",
)  # fmt: skip
_TIE, _NOT_TOLD = "tie", "not told"
_EVERY_TONE: Final = "skin_tone"
_FOLDERS: Final = ("imgs_1", "imgs_2", "imgs_3")
_SIDES: Final = ("x", "y", "width", "height")


def _perceived(description: str, order: Sequence[str], *unknown: str) -> AttributeCard:
    return AttributeCard(
        source="annotator-perceived", description=description, order=order, unknown=unknown
    )


def _attributes() -> dict[str, AttributeCard]:
    """What most annotators chose, each tone that any chose, and what any marked."""
    chosen = {
        name: _perceived(
            f"{name.replace('_', ' ')}, the value that most annotators chose",
            tuple(word for word in words.values() if word != _NOT_TOLD),
            _TIE,
            _NOT_TOLD,
        )
        for name, words in CHOSEN.items()
    }
    scale = "of the Monk scale (1 is the lightest)"
    tones = {
        name: _perceived(
            f"whether an annotator chose tone {name.rsplit('_', 1)[1]} {scale}; several may be "
            "chosen for a person",
            ("no", "yes"),
            _NOT_TOLD,
        )
        for name in TONES
    }
    every_tone = _perceived(
        f"each tone {scale} that an annotator chose: who has several is in several groups",
        tuple(str(n) for n in range(1, 11)),
        _NOT_TOLD,
    )
    marked = {
        name: _perceived(f"whether an annotator marked '{name.replace('_', ' ')}'", ("no", "yes"))
        for name in MARKED
    }
    return {**chosen, **tones, _EVERY_TONE: every_tone, **marked}


class FACET(Cut):
    """FACET's people, each cut out by a box.

    Several annotators looked at each person, and the file counts them. A value is the one that most
    chose; where two are equal, it is a tie and no group. Several skin tones of a person are meant:
    each of the ten is an attribute, chosen by an annotator or not. With ``rows: tones`` a person
    stands once for each tone chosen, so that the groups of ``skin_tone`` share people; their
    picture is the cluster, and comparisons account for who is in both.
    """

    rows: Literal["people", "tones"] = Field(
        "people", description="people, or tones: a person stands once for each skin tone chosen"
    )

    published: ClassVar = publication(__file__, _attributes())
    parts: ClassVar = "rows"
    grain: ClassVar = "person"

    def describe(self) -> Card:
        """The card of people, or of the tones of people with their one attribute."""
        card = super().describe()
        tones = self.rows == "tones"
        kept = {n: a for n, a in card.attributes.items() if (n == _EVERY_TONE) == tones}
        several = "a person stands once for each tone: rates of everyone count some people more"
        limits = (*card.known_limits, several) if tones else card.known_limits
        return card.model_copy(update={"attributes": kept, "known_limits": limits})

    def read(self) -> Rows:
        """A region a person, words for counts of annotators, ties counted."""
        listed = self.file("annotations/annotations.csv", "annotations.csv")
        table = read_manifests([listed], f"'{self.name}'").table
        votes = {name: [f"{name}_{end}" for end in words] for name, words in CHOSEN.items()}
        counted = [*(column for columns in votes.values() for column in columns), *TONES, *MARKED]
        needed = ("person_id", "filename", "class1", "bounding_box", *counted)
        require_columns(table, needed, listed)
        counts = _counts(table[counted], listed)
        remarks = []
        for name, words in CHOSEN.items():
            table[name], tied = _most(counts[votes[name]].to_numpy(), list(words.values()))
            told = f"annotators are tied for {tied:,} people, who are in no group of it"
            remarks += [Remark(f"'{name}': {told}", name, of_values=True)] if tied else []
        for name in MARKED:
            table[name] = np.where(counts[name] > 0, "yes", "no")
        chosen = counts[list(TONES)].to_numpy() > 0
        for i, name in enumerate(TONES):
            words_of = np.where(chosen[:, i], "yes", "no")
            table[name] = np.where(chosen.any(axis=1), words_of, _NOT_TOLD)
        places = locate(self.root, [str(name) for name in table["filename"]], *_FOLDERS)
        table["region"] = [
            f"{place}#{_region(box, f'{listed}: row {n + 1} below the header')}"
            for n, box, place in zip(table.index, table["bounding_box"], places, strict=True)
        ]
        table["row"] = table["person_id"]
        table = table.drop(columns=[column for columns in votes.values() for column in columns])
        if self.rows == "tones":
            return Rows(Manifest(_by_tone(table, chosen)), listed, self.root)
        return Rows(Manifest(table), listed, self.root, remarks)


def _counts(columns: pd.DataFrame, listed: Path) -> pd.DataFrame:
    """Numbers of annotators; what is none is refused."""
    sizes = {text: number(str(text)) for text in pd.unique(columns.to_numpy().ravel())}
    found = pd.DataFrame({name: columns[name].map(sizes) for name in columns}, dtype=float)
    wrong = ~(found.notna() & (found >= 0) & (found % 1 == 0)).to_numpy()
    if wrong.any():
        row, column = (int(i[0]) for i in np.nonzero(wrong))
        at = f"{listed}: row {columns.index[row] + 1} below the header"
        told = f"{at} has the {columns.columns[column]} '{columns.iat[row, column]!s}'"
        raise InputError(told, "It counts annotators: 0, 1, 2 ...", "Get it again")
    return found.astype(int)


def _most(votes: NDArray[np.int64], words: Sequence[str]) -> tuple[NDArray[np.object_], int]:
    """The word with most votes, 'tie' where several have, and how often that is."""
    top = votes.max(axis=1, keepdims=True)
    tied = ((votes == top).sum(axis=1) > 1) & (top[:, 0] > 0)
    first = np.array(words, object)[votes.argmax(axis=1)]
    return np.where(top[:, 0] == 0, _NOT_TOLD, np.where(tied, _TIE, first)), int(tied.sum())


def _region(box: str | None, where: str) -> str:
    """The box of a person in pixels, as media fragments name it."""
    try:
        held = ast.literal_eval(box or "")
        x, y, width, height = (float(held[side]) for side in _SIDES)
    except (ValueError, SyntaxError, TypeError, KeyError) as error:
        told = f"{where} has the bounding_box '{box}'"
        raise InputError(told, f"It holds {', '.join(_SIDES)}", "Get it again") from error
    if not (width > 0 and height > 0):
        told = f"{where} has a bounding_box {width:g} wide and {height:g} high"
        raise InputError(told, "Get it again")
    return f"xywh={x:.2f},{y:.2f},{width:.2f},{height:.2f}"


def _by_tone(table: pd.DataFrame, chosen: NDArray[np.bool_]) -> pd.DataFrame:
    """A row a person and tone; one for a person of whom no tone was chosen."""
    tones = [[str(i + 1) for i in np.flatnonzero(row)] or [_NOT_TOLD] for row in chosen]
    found = table.assign(**{_EVERY_TONE: pd.Series(tones, index=table.index)}).explode(_EVERY_TONE)
    return found.assign(row=found["person_id"] + ", tone " + found[_EVERY_TONE])

"""What models that are only recorded share: rows by image id, and a description in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic import BaseModel, ConfigDict

from audit.core.errors import InputError
from audit.core.registry import suggest
from audit.core.rows import Array
from audit.data.yamlfile import load_yaml, validate
from audit.models.encoder import EncoderCard, Stored
from audit.models.names import Names

M = TypeVar("M", bound="Description")
#: names of missing texts and pictures that an error sentence lists
SHOWN = 3


class Description(BaseModel):
    """What a person writes of records; paths are taken relative to its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = ""


def describe(model: type[M], name: str, table: str) -> tuple[M, Path, str]:
    """A description from its YAML file, or for a file or folder of records itself.

    Args:
        model: the description to be made.
        name: the path of either.
        table: the key under which a description names the records.

    Returns:
        The description, the folder its paths are relative to, and what to call the model.

    Raises:
        InputError: no such file, or one that isn't well formed.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() in {".yaml", ".yml"}:
        if not path.is_file():
            near = suggest(path.name, [p.name for p in path.parent.glob("*.y*ml")])
            raise InputError(f"there is no file {path}", near or "Check the path")
        found = validate(model, load_yaml(path), str(path))
        return found, path.parent, found.name or path.stem
    if not path.exists():
        advice = "Give the path of the records, or of the YAML file that describes them"
        raise InputError(f"there is no file or folder {path}", advice)
    return validate(model, {table: str(path.resolve())}, str(path)), path.parent, path.stem


class Records:
    """Rows by image id; a base for models that answer from them."""

    def __init__(
        self, card: EncoderCard, ids: Sequence[str], rows: Array | Stored, lost: Mapping[str, str]
    ) -> None:
        """``rows[i]`` belongs to ``ids[i]``; ``lost`` says of other ids why they have no row."""
        self._card, self._rows, self._lost = card, rows, lost
        self._ids = Names.of(ids)

    @property
    def card(self) -> EncoderCard:
        """The model, described."""
        return self._card

    def encode_images(self, images: Sequence[Image]) -> Array:
        """Refuse pictures, which nobody is there to look at.

        Raises:
            InputError: always.
        """
        told = f"{self.card.ref}: of this model there are records only; it can't look at pictures"
        raise InputError(told, "Name the model itself")

    def recorded(self, image_ids: Sequence[str]) -> tuple[Array | Stored, Mapping[str, str]]:
        """Rows of pictures that have one, in order, and why each of the others has none.

        Rows of a file are not read yet.

        Raises:
            InputError: none of them has one.
        """
        missing, at = self.missing(image_ids), self.places(image_ids)
        rows = self._rows
        return (rows.part(at) if isinstance(rows, Stored) else rows[at]), missing

    def missing(self, image_ids: Sequence[str]) -> Mapping[str, str]:
        """Why each of these pictures has no row that has none.

        Raises:
            InputError: none of them has one.
        """
        at = _places(self._ids, image_ids)
        if image_ids and not len(self._ids):
            why = next(iter(self._lost.values()), "there are none")
            told = f"{self.card.ref}: none of its records can be used: {why}"
            raise InputError(told, "Make them again")
        if image_ids and (at < 0).all():
            told = (
                f"{self.card.ref}: none of its {len(self._ids):,} records is of one of the "
                f"{len(image_ids):,} pictures asked about"
            )
            mine, theirs = next(iter(self._ids), ""), image_ids[0]
            advice = (
                f"Its first is called '{mine}', the data set's first '{theirs}': name in "
                "'id_column' the columns that say the same"
            )
            raise InputError(told, advice)
        blank = f"{self.card.ref} has no record of it"
        gone = (image_ids[int(i)] for i in np.flatnonzero(at < 0))
        return {i: self._lost.get(i, blank) for i in gone}

    def places(self, image_ids: Sequence[str]) -> NDArray[np.int64]:
        """Where the rows are of those pictures that have one."""
        at = _places(self._ids, image_ids)
        return at[at >= 0]


def _places(ids: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    """The place of each of these among the ids, -1 where it isn't there."""
    if isinstance(ids, Names):
        return ids.places(wanted)
    place = {image_id: i for i, image_id in enumerate(ids)}
    return np.array([place.get(i, -1) for i in wanted], np.int64)


def missing_texts(ref: str, texts: Sequence[str], known: Sequence[str], advice: str) -> InputError:
    """The error for texts that nothing is recorded of."""
    gone = list(dict.fromkeys(text for text in texts if text not in set(known)))
    some = ", ".join(f"'{text}'" for text in gone[:SHOWN])
    more = f" and {len(gone) - SHOWN:,} more" if len(gone) > SHOWN else ""
    told = f"{ref}: nothing is recorded of {len(gone):,} of the {len(texts):,} texts asked"
    return InputError(f"{told}: {some}{more}", suggest(gone[0], known), advice)


def axes(ref: str, texts: Sequence[str], places: Mapping[str, int]) -> NDArray[np.float32]:
    """The axis of each label of a system that gives scores, (n, labels).

    Raises:
        InputError: a text is none of its labels, as a prompt isn't.
    """
    if any(text not in places for text in texts):
        known = ", ".join(f"'{label}'" for label in list(places)[:12])
        more = ", ..." if len(places) > 12 else ""
        advice = (
            f"It knows {known}{more}; ask its labels as they are, with 'templates: bare', since "
            "it is given no prompts"
        )
        raise missing_texts(ref, texts, list(places), advice)
    found = np.zeros((len(texts), len(places)), np.float32)
    found[np.arange(len(texts)), [places[text] for text in texts]] = 1.0
    return found

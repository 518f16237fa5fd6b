"""Captions offered picture by picture: written by hand, or filled in from what a manifest says."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from audit.core.arrays import Flags, Integers
from audit.core.errors import InputError
from audit.core.rows import Array, Row, Values
from audit.data.dataset import Dataset
from audit.data.labels import normalise, prompt
from audit.data.tags import Text
from audit.probes.kit.base import require_column, require_values

#: what a caption is to a picture
RIGHT: Final = "the right caption"
CLOSE: Final = "a close wrong caption"
OTHER: Final = "another caption"
#: offered in one condition only, to tell closeness from number
MORE: Final = "one caption more"
ROLES: Final = (RIGHT, CLOSE, OTHER, MORE)

_FROZEN: Final = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Offered:
    """Captions offered for n pictures.

    ``captions``: every distinct one; ``at`` (n, m) which of them stands in each place, -1 for none;
    ``role`` (m,) what the captions in a place are, by number in ``roles``; ``truth`` (n,) the role
    of the right one; ``asked`` (n,) whether there is enough to ask.
    """

    captions: tuple[str, ...]
    at: Integers
    role: Integers
    asked: Flags
    truth: Integers
    roles: tuple[str, ...] = ROLES

    def only(self, rows: Integers | Flags) -> Offered:
        """The same for some of the pictures."""
        return replace(self, at=self.at[rows], truth=self.truth[rows], asked=self.asked[rows])

    def twice(self) -> tuple[int, str, str, str] | None:
        """The first picture that is offered one caption twice: its row, the caption, both roles.

        Case and spaces make no difference.
        """
        same = np.append(pd.factorize(np.array([*map(normalise, self.captions)], object))[0], -1)
        codes = same[self.at]
        ordered = np.sort(np.where(codes < 0, -1 - np.arange(codes.shape[1]), codes), axis=1)
        found = (np.diff(ordered, axis=1) == 0).any(axis=1) & self.asked
        if not found.any():
            return None
        row = int(found.argmax())
        values, counts = np.unique(codes[row][codes[row] >= 0], return_counts=True)
        one, other = np.flatnonzero(codes[row] == values[counts > 1][0])[:2]
        caption = self.captions[self.at[row, one]]
        return row, caption, self.roles[self.role[one]], self.roles[self.role[other]]


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_several)]


class Columns(BaseModel):
    """Captions written by hand for every picture, in columns of the manifest."""

    model_config = _FROZEN

    right: str = Field(description="column with the right caption")
    others: Names = Field(min_length=1, description="columns with wrong captions of other scenes")
    close: Names = Field((), description="columns with captions that are wrong in one detail")
    instead: Names = Field(
        (),
        description="columns with captions of other scenes, one for each close one, in its place",
    )
    separator: str = Field("|", min_length=1, description="between several captions in one cell")

    @model_validator(mode="after")
    def _instead_of_something(self) -> Self:
        if self.instead and not self.close:
            raise ValueError("'instead' takes the place of close captions; name them in 'close'")
        return self

    @model_serializer(mode="wrap")
    def _without_instead(self, dump: SerializerFunctionWrapHandler) -> Row:
        """Plans sealed before there was 'instead' hold where it is not used."""
        return {k: v for k, v in dump(self).items() if k != "instead" or v}

    @property
    def truth(self) -> str:
        """What says the right answer."""
        return self.right

    @property
    def needs(self) -> str:
        """What a picture needs to be asked."""
        close = "a close one, " if self.close else ""
        return f"a right caption, {close}and another one"

    def offered(self, dataset: Dataset, keys: Sequence[str], seed: int, where: str) -> Offered:
        """The captions as they stand in the manifest, of these pictures in this order.

        Raises:
            InputError: a column isn't there, a cell holds several right captions, or a picture has
                fewer captions to stand in for close ones than close ones.
        """
        columns = ((self.right,), self.close, self.others, self.instead)
        cells = [[_values(dataset, name, keys, where) for name in names] for names in columns]
        several = cells[0][0].astype(str).str.contains(self.separator, regex=False)
        if several.any():
            raise InputError(
                f"{where}: the picture '{several.idxmax()}' has several right captions in "
                f"column '{self.right}'",
                f"One caption is right; '{self.separator}' stands between several, and "
                "'separator' names another sign",
            )
        places: dict[str, int] = {}
        blocks = [_placed(of_role, self.separator, places, len(keys)) for of_role in cells]
        right, close, others, _ = ((block >= 0).any(axis=1) for block in blocks)
        asked: Flags = right & others & (close | np.full(len(keys), not self.close))
        if self.instead:
            blocks[3] = self._as_many(blocks[3], blocks[1], asked, keys, where)
        return _side_by_side(tuple(places), blocks, asked)

    def _as_many(
        self, more: Integers, close: Integers, asked: Flags, keys: Sequence[str], where: str
    ) -> Integers:
        """As many captions in place of the close ones as a picture has of these: the first."""
        wanted, there = ((block >= 0).sum(axis=1) for block in (close, more))
        few = np.flatnonzero(asked & (there < wanted))
        if few.size:
            row = int(few[0])
            told = f"{where}: the picture '{keys[row]}' has {wanted[row]} close captions and "
            told += f"{there[row]} in {', '.join(self.instead)}"
            raise InputError(told, "Write as many, so that both choices are equally long")
        return np.where(np.arange(more.shape[1]) < wanted[:, np.newaxis], more, -1)


class Template(BaseModel):
    """Captions made from what the manifest says of every picture."""

    model_config = _FROZEN

    text: Text = Field(description="'a person in a {clothing_colour} coat': names of columns")
    close: Names = Field((), description="columns of which a close caption changes exactly one")
    close_each: int = Field(1, ge=1, description="close captions for each of these columns")
    all_changed: int = Field(0, ge=0, description="wrong captions in which every column is changed")
    others: tuple[Text, ...] = Field((), description="whole wrong captions, the same for everybody")
    words: Mapping[str, Mapping[str, Text]] = Field(
        default_factory=dict, description="column: value: how it is said in a caption"
    )

    @model_validator(mode="after")
    def _can_be_filled(self) -> Self:
        try:
            parsed = list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise ValueError(f"'{self.text}': {error}; write columns as {{name}}") from error
        if not self.columns or any(spec or how for _, _, spec, how in parsed):
            raise ValueError(f"'{self.text}' has no place for a column; write one as {{name}}")
        for column in (*self.close, *self.words):
            if column not in self.columns:
                listed = ", ".join(self.columns)
                raise ValueError(f"'{column}' is not in the template, which has {listed}")
        if self.all_changed and len(self.columns) == 1:
            told = "'all_changed' needs two columns in the template: of one, it changes one"
            raise ValueError(f"{told}; write 'others' instead")
        if not (self.all_changed or self.others):
            raise ValueError("no wrong captions: give 'all_changed' or 'others'")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns named in the template, in order."""
        named = (name for _, name, _, _ in string.Formatter().parse(self.text) if name)
        return tuple(dict.fromkeys(named))

    @property
    def truth(self) -> str:
        """What says the right answer."""
        return self.text

    @property
    def needs(self) -> str:
        """What a picture needs to be asked."""
        return f"a value in each of {', '.join(self.columns)}"

    @property
    def instead(self) -> int:
        """How many captions can stand in for the close ones: as many, or none."""
        return self.close_each * len(self.close) if len(self.columns) > 1 else 0

    def offered(self, dataset: Dataset, keys: Sequence[str], seed: int, where: str) -> Offered:
        """Captions filled in from a picture's values, and from values that it doesn't have.

        Which others it gets is drawn from ``seed`` and its id, whatever pictures are asked with it.

        Raises:
            InputError: a column isn't there, or has too few values to change.
        """
        for column in self.columns:
            require_column(dataset, column, where)
        values = {c: sorted(dataset.texts(c).dropna().unique()) for c in self.columns}
        self._require_values(values, where)
        for column, words in self.words.items():
            require_values(dataset, column, words, values[column], f"{where}: words")
        own = np.stack(
            [pd.Categorical(_values(dataset, c, keys, where), values[c]).codes for c in values], 1
        ).astype(np.int64)
        sizes = tuple(map(len, values.values()))
        blocks = self._changed(own, _other_values(own, sizes, self.columns, keys, seed))
        flat = [np.ravel_multi_index(tuple(np.moveaxis(b, -1, 0)), sizes, "clip") for b in blocks]
        codes, at = np.unique(np.hstack(flat), return_inverse=True)
        captions = [
            self.filled({c: values[c][i] for c, i in zip(values, code, strict=True)})
            for code in zip(*np.unravel_index(codes, sizes), strict=True)
        ]
        ends = np.cumsum([b.shape[1] for b in flat])[:-1]
        places = np.split(at.reshape(len(own), -1), ends, axis=1)
        whole = np.tile(np.arange(len(self.others)) + len(captions), (len(own), 1))
        places[ROLES.index(OTHER)] = np.hstack([places[ROLES.index(OTHER)], whole])
        return _side_by_side((*captions, *self.others), places, np.all(own >= 0, axis=1))

    def filled(self, values: Mapping[str, str]) -> str:
        """The template with a value in every place, 'a' or 'an' by their sound."""
        text = self.text
        for column, value in values.items():
            said = self.words.get(column, {}).get(value, value)
            text = prompt(text.replace(f"{{{column}}}", "{}"), said, "right")
        return text

    def _changed(self, own: Integers, others: Sequence[Integers]) -> list[Integers]:
        """Values of the captions of every role, each (n, captions, columns)."""
        close = []
        for column in self.close:
            c = self.columns.index(column)
            for j in range(self.close_each):
                one = own.copy()
                one[:, c] = others[c][:, j]
                close.append(one)
        wrong = [
            np.stack([values[:, j % values.shape[1]] for values in others], axis=1)
            for j in range(self.all_changed + self.instead)
        ]
        parts = ([own], close, wrong[: self.all_changed], wrong[self.all_changed :])
        nothing = np.zeros((len(own), 0, own.shape[1]), np.int64)
        return [np.stack(part, axis=1) if part else nothing for part in parts]

    def _require_values(self, values: Mapping[str, Sequence[str]], where: str) -> None:
        """Refuse columns with fewer values than captions are to be made of them."""
        for column in self.close:
            if (most := len(values[column]) - 1) < self.close_each:
                raise InputError(
                    f"{where}: close_each: {self.close_each}, and the column '{column}' gives "
                    f"a picture {max(most, 0)} values that are not its own",
                    "Ask for no more, or leave the column out of 'close'",
                )
        wanted, most = self.all_changed + self.instead, max(map(len, values.values())) - 1
        if wanted and (wanted > most or min(map(len, values.values())) < 2):
            parts = f"'all_changed': {self.all_changed}"
            parts += f", and {self.instead} in place of close ones" if self.instead else ""
            raise InputError(
                f"{where}: {wanted} captions with every column changed are wanted ({parts}); "
                f"{' and '.join(values)} have values for {max(most, 0)}",
                "Ask for fewer, name a column with more values, or write whole captions in "
                "'others'",
            )


class Detail(BaseModel):
    """A detail that is there or not: two captions, and a column that says which is right."""

    model_config = _FROZEN

    there: Text = Field(description="'a person with a ponytail'")
    not_there: Text = Field(description="'a person without a ponytail'")
    truth: str = Field(description="the column that says")
    values: Names = Field(min_length=1, description="values of the column that mean it is there")
    absent: Names = Field((), description="values that mean it is not there; all others if none")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if normalise(self.there) == normalise(self.not_there):
            raise ValueError(f"both captions are '{self.there}'; they must differ")
        if both := [value for value in self.values if value in self.absent]:
            told = f"'{both[0]}' is under 'values' and under 'absent'"
            raise ValueError(f"{told}; it means one of the two")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: SerializerFunctionWrapHandler) -> Row:
        """Plans sealed before there was 'absent' hold where it is not used."""
        return {k: v for k, v in dump(self).items() if k != "absent" or v}

    @property
    def close(self) -> tuple[str, ...]:
        """Nothing: its two captions are all there is."""
        return ()

    @property
    def needs(self) -> str:
        """What a picture needs to be asked."""
        return f"a value in '{self.truth}'"

    def offered(self, dataset: Dataset, keys: Sequence[str], seed: int, where: str) -> Offered:
        """The two captions, for everybody.

        Raises:
            InputError: the column or a value isn't there, or one of the captions is never right.
        """
        values = _values(dataset, self.truth, keys, where)
        known = sorted(dataset.texts(self.truth).dropna().unique())
        named = (*self.values, *self.absent)
        require_values(dataset, self.truth, named, known, f"{where}: detail")
        if not set(known) - set(self.values):
            got = f"{where}: detail: every value of '{self.truth}' means that it is there"
            raise InputError(got, "Name some of its values in 'values', not all")
        there = values.isin(self.values).to_numpy()
        stated = values.isin(named) if self.absent else values.notna()
        return Offered(
            (self.there, self.not_there),
            np.tile(np.arange(2), (len(values), 1)),
            np.arange(2),
            stated.to_numpy(),
            np.where(there, 0, 1),
            (self.there, self.not_there),
        )


def uniform(keys: Sequence[str] | Array, name: str, width: int) -> NDArray[np.float64]:
    """Numbers from 0 to 1 that depend on the key and the name alone, (keys, width).

    Formula: a 64-bit hash of each name and key starts a SplitMix64 stream. The same whatever other
    keys are asked with, so that a split of the pictures changes nothing.

    Source:
        Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators, OOPSLA.
    """
    start = np.array(
        [
            int.from_bytes(hashlib.blake2b(f"{name}|{key}".encode(), digest_size=8).digest(), "big")
            for key in keys
        ],
        dtype=np.uint64,
    ).reshape(-1, 1)
    z = start + np.arange(1, width + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53)


def _values(dataset: Dataset, column: str, keys: Sequence[str], where: str) -> Values:
    """A column's values of these pictures as text, missing where there is none."""
    require_column(dataset, column, where)
    return dataset.texts(column).reindex(list(keys))


def _placed(columns: Sequence[Values], separator: str, places: dict[str, int], n: int) -> Integers:
    """Captions of every picture by their number in ``places``, (n, most of a picture)."""
    numbers: list[list[int]] = [[] for _ in range(n)]
    known: dict[str | None, list[int]] = {None: []}
    for column in columns:
        for i, cell in enumerate(column):
            if cell not in known:
                written = (part.strip() for part in cell.split(separator))
                known[cell] = [places.setdefault(c, len(places)) for c in written if c]
            numbers[i] += known[cell]
    width = max(map(len, numbers), default=0)
    padded = [row + [-1] * (width - len(row)) for row in numbers]
    return np.array(padded, dtype=np.int64).reshape(n, width)


def _side_by_side(captions: tuple[str, ...], blocks: Sequence[Integers], asked: Flags) -> Offered:
    """Places of the captions of every role, in the order of the roles, as one."""
    role = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
    nothing_right_but_this = np.zeros(len(asked), np.int64)
    return Offered(captions, np.hstack(blocks), role, asked, nothing_right_but_this)


def _other_values(
    own: Integers, sizes: Sequence[int], columns: Sequence[str], keys: Sequence[str], seed: int
) -> list[Integers]:
    """For each column, the values that are not a picture's own, shuffled, (n, values - 1)."""
    found = []
    for c, (column, size) in enumerate(zip(columns, sizes, strict=True)):
        drawn = uniform(keys, f"{seed}, {column}", size)
        drawn[np.arange(len(own)), own[:, c]] = 2.0
        found.append(drawn.argsort(axis=1, kind="stable")[:, :-1])
    return found

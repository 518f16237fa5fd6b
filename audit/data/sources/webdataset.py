"""WebDataset shards: tar archives in which files of one name make a sample.

``000012.jpg``, ``000012.json``, ``000012.txt`` and ``000012.cls`` are the sample ``000012``: what
follows the first dot of a name says what a file is (github.com/webdataset/webdataset).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError, sentence
from audit.data import archives
from audit.data.card import AttributeCard, Card, Names
from audit.data.manifest import Manifest
from audit.data.remarks import Remark, tally
from audit.data.sources.archive import archives_of
from audit.data.sources.base import Own, Rows, aside, looks_like_codes, meant_by_codes
from audit.data.sources.image_folder import is_picture

#: endings of files of text, whose content is the column of their name
_TEXTS: Final = ("txt", "cls", "id", "text")
#: a file of text is no longer than this
_LONGEST: Final = 1 << 24
_SHARD: Final = re.compile(r"(.*?)(\d+)(\.tar)", re.IGNORECASE)
_PICTURE: Final = "picture"
_NESTED: Final = "values of several parts"


class WebDataset(Own):
    """WebDataset shards, a sample a row; pictures are read where they lie in the tar.

    Columns are the keys of each sample's json, and ``txt``, ``cls`` and ``id`` from files of these
    endings. A sample without a picture is set aside and counted by group.
    """

    shards: str = Field("*.tar", description="which shards of root, such as 'val-*.tar'")
    ending: str = Field("", description="of the pictures, where samples hold several: 'face.jpg'")
    id_column: str | None = Field(None, description="as in a data card")
    cluster_column: str | None = Field(None, description="as in a data card")
    attributes: Mapping[str, AttributeCard] = Field({}, description="as in a data card")
    classes: Mapping[str, Names] = Field(
        {}, description="what the codes 0, 1, ... of a column mean"
    )

    about: ClassVar = "your own WebDataset shards (tar), a sample a row"

    def describe(self) -> Card:
        """The card with the columns that are named."""
        attributes = {name: a.model_dump() for name, a in self.attributes.items()}
        named = {"id_column": self.id_column, "cluster_column": self.cluster_column}
        return self.with_facts(image_column=_PICTURE, attributes=attributes, **named)

    def read(self) -> Rows:
        """The samples of all shards, in their order."""
        shards, _ = archives_of(self.root, self.shards)
        samples = [sample for shard in shards for sample in self._samples(shard)]
        skipped = {key: _NESTED for held in samples for key, v in held.items() if v is _NESTED}
        table = pd.DataFrame(samples, dtype=object).drop(columns=list(skipped))
        for column, names in self.classes.items():
            if column not in table:
                raise InputError(sentence(f"{self.root}: classes: no column '{column}'"))
            table[column] = meant_by_codes(table[column], names, f"{self.root}: {column}")
        remarks = [*_of_numbers(shards), *self._of_codes(table)]
        without = table[table[_PICTURE].isna()]
        if len(without):
            counts = {name: tally(without[name]) for name in self.attributes if name in without}
            told = "which have no picture"
            remarks += aside(told, list(without["sample"]), counts)
        kept = table.drop(index=without.index)
        manifest = Manifest(kept, frozenset({_PICTURE}), skipped)
        return Rows(manifest, self.root, self.root, remarks, len(without))

    def _of_codes(self, table: pd.DataFrame) -> list[Remark]:
        told = "its groups look like codes; say under 'classes' what they mean"
        return [
            Remark(f"'{name}': {told}", name, of_values=True)
            for name in self.attributes
            if name in table and name not in self.classes and looks_like_codes(table[name])
        ]

    def _samples(self, shard: Path) -> list[dict[str, str | None]]:
        """The columns of each sample of a shard."""
        files: dict[str, list[str]] = defaultdict(list)
        for name in archives.listed(shard).sizes:
            folder, _, base = name.rpartition("/")
            stem, dot, ending = base.partition(".")
            if stem and dot:
                files[f"{folder}/{stem}" if folder else stem].append(ending)
        return [self._sample(shard, key, endings) for key, endings in files.items()]

    def _sample(self, shard: Path, key: str, endings: list[str]) -> dict[str, str | None]:
        where = f"{shard}: sample '{key}'"
        pictures = [
            e for e in endings if (e == self.ending if self.ending else is_picture(f"x.{e}"))
        ]
        if len(pictures) > 1:
            told = f"{where} has several pictures: {', '.join(sorted(pictures))}"
            raise InputError(told, f"Name one: 'ending: {sorted(pictures)[0]}'")
        name = f"{shard.relative_to(self.root).as_posix()}#{key}"
        columns: dict[str, str | None] = {
            "sample": name, _PICTURE: f"{name}.{pictures[0]}" if pictures else None
        }  # fmt: skip
        for ending in endings:
            if ending.lower() == "json":
                found = _of_json(_text(shard, f"{key}.{ending}"), where)
            elif ending.lower() in _TEXTS:
                found = {ending.lower(): _text(shard, f"{key}.{ending}").strip() or None}
            else:
                continue
            if twice := sorted(columns.keys() & found.keys()):
                told = f"{where} gives '{twice[0]}' twice, or it is a name of the table's own"
                raise InputError(told, "Pack it again under another name")
            columns |= found
        return columns


def _text(shard: Path, name: str) -> str:
    try:
        if archives.listed(shard).sizes[name] > _LONGEST:
            raise InputError(sentence(f"{shard}: '{name}' is too long for a text"))
        return archives.content(shard, name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(sentence(f"{shard}: '{name}' is no text in UTF-8")) from error


def _of_json(text: str, where: str) -> dict[str, str | None]:
    """The keys of an object as text: numbers as they are written, true and false as words."""
    try:
        # numbers stay text: 1.10 and 1.1 may be groups of their own
        said = json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(sentence(f"{where}: its json can't be read: {error}")) from error
    if not isinstance(said, dict):
        raise InputError(sentence(f"{where}: its json is no object of keys and values"))
    return {key: _word(value) for key, value in said.items()}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it gives a key twice")
    return found


def _word(value: object) -> str | None:
    if isinstance(value, dict | list):
        return _NESTED
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value).strip() or None


def _of_numbers(shards: list[Path]) -> list[Remark]:
    """What is said of numbered shards between which one lacks."""
    series: dict[tuple[Path, str], list[tuple[int, str]]] = defaultdict(list)
    for shard in shards:
        if numbered := _SHARD.fullmatch(shard.name):
            series[shard.parent, numbered[1]].append((int(numbered[2]), shard.name))
    remarks = []
    for names in series.values():
        lowest, highest = min(names), max(names)
        if lost := highest[0] - lowest[0] + 1 - len(names):
            told = f"{lost:,} shards lack between '{lowest[1]}' and '{highest[1]}'"
            remarks.append(Remark(f"{told}: this copy is not whole, or a part of it was chosen"))
    return remarks

"""What every source of a data set is: its keys in a suite, and a reader of its official folder.

A source reads rows and words as they were published. Of a published set the values are known, so
another value is an error, never 'unknown'; and so are the counts, which are held against the copy
at hand.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator

from audit.core.characters import spelt
from audit.core.errors import InputError, sentence
from audit.core.files import digest_of
from audit.core.registry import suggest
from audit.core.rows import Values
from audit.data.card import (
    AttributeCard,
    Card,
    Facts,
    Margin,
    Most,
    Names,
    Prose,
    Title,
    Written,
)
from audit.data.dataset import Dataset, assemble
from audit.data.manifest import Manifest
from audit.data.remarks import Remark, counted, tally, unspoilt
from audit.data.withdrawn import list_beside
from audit.data.yamlfile import load_yaml, validate

Grain = Literal["picture", "person", "region", "frame", "video"]
#: names in one sentence
_SHOWN: Final = 3
#: official values that are all listed in one sentence
_LISTED: Final = 10
#: what codes hold where there is no label
_NO_LABEL: Final = "-1"
#: different numbers that may be codes
_CODES: Final = 20


@dataclass(frozen=True)
class Rows:
    """What a source read.

    ``file`` is what lists them, or the folder that does; ``root`` the folder that paths of pictures
    are relative to.
    ``aside``: how many pictures are listed and can't be used, which ``remarks`` tell.
    ``nouns``: what a row is called in a sentence, by its place; 'row 3 below the header' if empty.
    """

    manifest: Manifest
    file: Path
    root: Path
    remarks: Sequence[Remark] = ()
    aside: int = 0
    nouns: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Text and None again, whatever pandas made of them on the way."""
        table = self.manifest.table.astype(object)
        plain = replace(self.manifest, table=table.where(table.notna(), None))
        object.__setattr__(self, "manifest", plain)

    @property
    def table(self) -> pd.DataFrame:
        """Text, a row a picture; the index is the row's place from 0."""
        return self.manifest.table


@dataclass(frozen=True)
class Official:
    """How many pictures a part has, and of each attribute's values; None where not known."""

    pictures: int | None = None
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Source(Written, ABC):
    """A data set by its name: the fields are the keys of ``dataset`` in a suite.

    ``about`` is one line for lists; ``grain`` says what a row is; ``access`` what a person has to
    accept before the files are given out, and where.
    """

    name: str = Field(description="which source it is")
    root: Path = Field(description="the folder that the files were unpacked into")
    withdrawn: str | None = Field(
        None,
        description="a list in root, whom to leave out since consent was withdrawn; withdrawn.txt "
        "if it is there",
    )
    most_per_cluster: Most | None = Field(
        None, description="how many pictures of a subject, video or family are used at most"
    )

    about: ClassVar[str]
    grain: ClassVar[Grain] = "picture"
    access: ClassVar[str] = ""

    @field_validator("root")
    @classmethod
    def _is_a_folder(cls, root: Path) -> Path:
        folder = root.expanduser()
        if not folder.is_dir():
            beside = "A relative path begins at the suite's file, or where the command is given"
            near = _nearest(folder) or (None if root.is_absolute() else beside)
            raise ValueError(sentence(f"there is no folder {root}", near))
        return folder

    @abstractmethod
    def describe(self) -> Card:
        """The data card of what these keys choose."""

    @abstractmethod
    def read(self) -> Rows:
        """The rows that these keys choose.

        Raises:
            InputError: a file isn't there or isn't in the official layout.
        """

    def dataset(self) -> Dataset:
        """The data set, every row of it checked; pictures are decoded later.

        Raises:
            InputError: as ``read``; a value that isn't in the official set.
        """
        return self._assembled(self.describe(), self.read())

    def file(self, *names: str) -> Path:
        """The first of these files that is in the folder.

        Raises:
            InputError: none is.
        """
        return self._first([self.root / name for name in names if (self.root / name).is_file()],
                           names, "file")  # fmt: skip

    def folder(self, *names: str) -> Path:
        """The first of these folders that is in the folder; ``.`` is the folder itself.

        Raises:
            InputError: none is.
        """
        return self._first([self.root / name for name in names if (self.root / name).is_dir()],
                           names, "folder")  # fmt: skip

    def _first(self, found: Sequence[Path], names: Sequence[str], what: str) -> Path:
        if found:
            return found[0]
        wanted = " or ".join(f"'{name}'" for name in names[:_SHOWN])
        told = f"{self.root}: has no {what} {wanted}, as '{self.name}' is laid out"
        near = _nearest(self.root / names[0])
        raise InputError(told, near, f"'clip-audit show {self.name}' says where it is")

    def _assembled(self, card: Card, rows: Rows) -> Dataset:
        if rows.table.empty:
            told = "; ".join(["no picture is left", *(remark.text for remark in rows.remarks)])
            raise InputError(f"{rows.file}: {told}", "Get the whole copy")
        gone = list_beside(self.root, self.withdrawn)
        card = card.model_copy(update={"most_per_cluster": self.most_per_cluster})
        data = assemble(card, rows.manifest, rows.file, rows.root, f"'{self.name}'", gone)
        return replace(data, remarks=(*rows.remarks, *data.remarks))


class Own(Source):
    """A layout of files in which anybody keeps pictures: the keys say what is to be known of them.

    ``title`` is what the data set is called, ``card`` holds what a data card states besides.
    """

    title: Title | None = Field(None, description="what the data set is called (the source's name)")
    card: Facts = Field(Facts(), description="licence, consent and what else a data card states")

    def with_facts(self, **keys: object) -> Card:
        """A data card of these keys and of what is stated under ``card``."""
        named = {"name": self.title or self.name, "manifest": self.name}
        return validate(Card, named | keys | self.card.model_dump(), f"'{self.name}'")


class Publication(Written):
    """What is to be known of a published data set, as the YAML file beside its source states it.

    ``lists``: of each part, the file that lists its pictures, where they differ. ``codes``: of a
    column, what is written there and the word that it stands for.
    """

    about: str
    access: str = ""
    card: Card
    official: Mapping[str, Official]
    lists: Mapping[str, str] = {}
    codes: Mapping[str, Mapping[str, str]] = {}
    #: sha256 of lists as they were published, by the name of the file
    digests: Mapping[str, str] = {}
    values: Mapping[str, Names] = {}


def publication(module: str, attributes: Mapping[str, AttributeCard] | None = None) -> Publication:
    """What the YAML file beside a source's module states.

    Args:
        module: the module's own file, whose name the YAML file has.
        attributes: more of them, of which there are too many alike to write out.

    Raises:
        InputError: the file isn't there or isn't well formed.
    """
    path = Path(module).with_suffix(".yaml")
    found = validate(Publication, load_yaml(path), str(path))
    every = {**found.card.attributes, **(attributes or {})}
    return found.model_copy(update={"card": found.card.model_copy(update={"attributes": every})})


class Published(Source):
    """A data set that somebody published: what its card says and what it may hold is fixed.

    ``published`` states it. The ``order`` and ``unknown`` of an attribute in its card list all
    values that it may have; ``values`` adds those of other columns. ``official`` counts each part,
    and ``parts`` is the key that chooses one. What was read at no source is said in
    ``known_limits``, as not checked.
    """

    legal_basis: Prose = Field("", description="what allows you to use these pictures")

    published: ClassVar[Publication]
    parts: ClassVar[str] = ""
    facts: ClassVar[Card]
    official: ClassVar[Mapping[str, Official]]
    lists: ClassVar[Mapping[str, str]] = {}
    codes: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    digests: ClassVar[Mapping[str, str]] = {}
    values: ClassVar[Mapping[str, Sequence[str]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Say under its own name what ``published`` states."""
        if found := cls.__dict__.get("published"):
            cls.about, cls.access, cls.facts = found.about, found.access, found.card
            cls.official, cls.lists, cls.codes = found.official, found.lists, found.codes
            cls.digests, cls.values = found.digests, found.values

    @property
    def part(self) -> str:
        """Which part of the data set the keys choose; a key of ``official``."""
        return str(getattr(self, self.parts)) if self.parts else next(iter(self.official))

    @property
    def version(self) -> str:
        """The part, and whatever else was stated and can't be told from the files."""
        return self.part

    @property
    def list_name(self) -> str:
        """The file that lists the pictures of this part."""
        return self.lists.get(self.part, str(self.facts.manifest))

    def describe(self) -> Card:
        """The published card, with the list of this part and with what these keys state."""
        stated = {"version": self.version, "legal_basis": self.legal_basis}
        return self.facts.model_copy(update=stated | {"manifest": self.list_name})

    def dataset(self) -> Dataset:
        """The data set; counts that differ from the official ones are remarks."""
        rows = self.read()
        for column in {*self.codes} & {*rows.table}:
            words = self.codes[column]
            rows.table[column] = rows.table[column].replace(words)
        card = self.describe()
        known = self.facts.attributes.items()
        closed = {name: (*a.order, *a.unknown) if a.order else () for name, a in known}
        for column, allowed in (closed | dict(self.values)).items():
            if allowed and column in rows.table:
                self._require_official(rows, column, allowed)
        data = self._assembled(card, rows)
        found = (*self._of_digest(rows.file), *self._of_counts(rows, card.attributes))
        return replace(data, remarks=(*found, *data.remarks))

    def _of_digest(self, file: Path) -> Iterable[Remark]:
        """A list that is not the published one, byte for byte."""
        published = self.digests.get(file.name)
        if published and digest_of(file) != published:
            told = f"{file.name}: its bytes are not those that were published"
            yield Remark(f"{told}; other line ends alone do that, and so does a changed value")

    def _require_official(self, rows: Rows, column: str, allowed: Sequence[str]) -> None:
        """Refuse a value that the data set as published does not have."""
        values = rows.table[column]
        wrong = ~values.isin(allowed).to_numpy()
        if not wrong.any():
            return
        place = int(wrong.argmax())
        value = values.iloc[place]
        at = rows.nouns[place] if rows.nouns else f"row {values.index[place] + 1} below the header"
        got = f"has no {column}" if value is None else f"has the {column} '{spelt(str(value))}'"
        others = tally(values[wrong])
        so = f"Rows with such a value: {int(wrong.sum()):,}"
        so += f", {counted(others)}" if len(others) > 1 else ""
        raise InputError(
            f"{rows.file}: {at} {got}",
            f"Official are {', '.join(_short(allowed))}",
            _cause(value, allowed),
            so,
            f"Get the files as they were published: {self.facts.url}",
        )

    def _of_counts(self, rows: Rows, attributes: Mapping[str, AttributeCard]) -> Iterable[Remark]:
        """Where this copy differs from what was published."""
        official = self.official[self.part]
        listed = len(rows.table) + rows.aside
        if official.pictures not in (None, listed):
            told = f"{self.part}: {listed:,} pictures are listed, officially {official.pictures:,}"
            assert official.pictures is not None
            cut = listed < official.pictures and listed % 1000 == 0
            why = "this looks like a copy that was cut" if cut else "this copy is another"
            yield Remark(f"{told}; {why}, so numbers can't be held against published ones")
        for name, counts in official.values.items():
            found = tally(rows.table[name])
            differ = {v: n for v, n in counts.items() if found.get(v, 0) != n}
            if differ and name in attributes:
                each = [f"'{v}' {found.get(v, 0):,} of {n:,}" for v, n in differ.items()]
                more = f" and {len(each) - _SHOWN} more" if len(each) > _SHOWN else ""
                told = f"pictures here and officially: {', '.join(each[:_SHOWN])}{more}"
                yield Remark(f"'{name}': {told}", name, of_values=True)


class Cut(Published):
    """A published set whose rows are cut out of their pictures by boxes."""

    margin: Margin | None = Field(
        None, description="how much is cut out around each box, as a share of its width and height"
    )

    def describe(self) -> Card:
        """The published card, with what these keys state."""
        return super().describe().model_copy(update={"margin": self.margin})


def aside(
    what: str, names: Sequence[str], groups: Mapping[str, Mapping[str, int]] | None = None
) -> list[Remark]:
    """What is said of files that a quirk of the data set sets aside; nothing where there are none.

    Args:
        what: the quirk.
        names: of the pictures.
        groups: attribute to counts of its values, as far as these are known.
    """
    if not names:
        return []
    some = ", ".join(f"'{spelt(name)}'" for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    of = "".join(f"; by {name}: {counted(each)}" for name, each in (groups or {}).items() if each)
    return [Remark(f"{len(names):,} files are set aside, {what}: {some}{more}{of}")]


def only_one(
    name: str,
    marked: NDArray[np.bool_],
    words: Sequence[str],
    odd: str,
    of: str,
    lead: str = "",
) -> tuple[NDArray[np.object_], list[Remark]]:
    """Words for flags of which one alone is meant to hold, and a remark where it isn't so.

    Args:
        name: of the attribute.
        marked: which flags hold, (rows, words).
        words: what each flag means.
        odd: the word where none or several hold.
        of: what the rows are, in the plural.
        lead: what the remark begins with.
    """
    single = marked.sum(axis=1) == 1
    found = np.where(single, np.array(words, object)[marked.argmax(axis=1)], odd)
    if single.all():
        return found, []
    told = f"{lead}none or several are marked for {int((~single).sum()):,} {of}"
    return found, [Remark(f"'{name}': {told}, which are in no group of it", name, of_values=True)]


def meant_by_codes(codes: Values, names: Sequence[str], where: str) -> Values:
    """Names in place of the codes 0, 1, ...; None where there is no label.

    Raises:
        InputError: a code has no name.
    """
    meant = {str(code): name for code, name in enumerate(names)} | {_NO_LABEL: None}
    strange = codes[codes.notna() & ~codes.isin(list(meant))]
    if len(strange):
        told = f"{where}: row {strange.index[0] + 1} has the code {strange.iloc[0]}"
        raise InputError(told, f"Its classes have {len(names)} names, from 0")
    return pd.Series([meant.get(code) for code in codes], index=codes.index, dtype=object)


def looks_like_codes(values: Values) -> bool:
    """Whether a column holds a few small whole numbers, and nothing else."""
    known = values.dropna()
    return bool(len(known)) and bool(known.str.fullmatch(r"-?\d{1,2}").all()) and (
        known.nunique() <= _CODES
    )  # fmt: skip


def _cause(value: object, allowed: Sequence[str]) -> str | None:
    """Why a value is probably not an official one."""
    if value is None:
        return "A published row has one: this copy was changed"
    if meant := unspoilt(str(value), allowed):
        return f"It is '{meant}', which a spreadsheet took for a date"
    if re.fullmatch(r"-?\d{1,2}", str(value)) and not any(map(str.isdigit, allowed)):
        return "It is a code, whose meaning another file of this copy may give"
    return suggest(str(value), allowed)


def _short(allowed: Sequence[str]) -> list[str]:
    if len(allowed) <= _LISTED:
        return [f"'{value}'" for value in allowed]
    return [f"'{allowed[0]}', '{allowed[1]}', ... '{allowed[-1]}'"]


def _nearest(path: Path) -> str | None:
    """The name beside a path that is not there which is most like it."""
    folder = path.parent
    return suggest(path.name, [p.name for p in folder.iterdir()]) if folder.is_dir() else None

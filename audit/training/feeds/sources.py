"""Where pairs come from: a table, a folder, shards, the rendered people. A class a source.

A source is its configuration; ``opened`` gives the pairs. A picture is named by its path, also
where it lies in an archive or a table (``audit/data/packed.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from audit.core.errors import InputError, sentence
from audit.core.registry import unknown
from audit.core.resources import bundled
from audit.data import archives
from audit.data.images import Unreadable
from audit.data.manifest import read_manifests
from audit.data.people.captions import ATTRIBUTES, CaptionWriter
from audit.data.people.planted import Planter, Specimen, load_planted
from audit.data.sources.archive import archives_of
from audit.data.sources.image_folder import files_below, is_picture

Order = NDArray[np.int64]
WINDOW = 8  # shards whose samples are shuffled together
LONGEST = 1 << 20  # bytes of a caption's file


class Pairs(Protocol):
    """Pictures with captions, by number; it can be sent to another process."""

    def __len__(self) -> int:
        """How many."""

    def picture(self, i: int) -> Path:
        """Where the picture is, as ``audit.data.images.decode`` takes it."""

    def captions(self, i: int, epoch: int, copies: int) -> list[str]:
        """So many captions of it, the same for the same epoch.

        Raises:
            Unreadable: they can't be read.
        """

    def order(self, rng: np.random.Generator) -> Order:
        """All numbers, shuffled, in an order in which they are read well."""

    def digest(self) -> str:
        """Of what must be the same for a stopped training to go on."""

    def texts(self) -> Sequence[str]:
        """Captions that teach a tokenizer its words."""


class Source(BaseModel):
    """A source of pairs as a configuration names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path

    def below(self, folder: Path) -> Self:
        """The same, its path taken relative to a folder."""
        return self.model_copy(update={"path": folder / self.path.expanduser()})

    def require_folder(self) -> None:
        """Refuse a path that is no folder.

        Raises:
            InputError: it is none.
        """
        if not self.path.is_dir():
            raise InputError(f"{self.path}: there is no such folder", "Check feed.path")

    def opened(self, seed: int) -> Pairs:
        """The pairs.

        Raises:
            InputError: there are none, or they can't be read.
        """
        raise NotImplementedError


# --- a table, a folder ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """Pairs whose captions are in memory: a tuple of one or several of each picture."""

    root: Path
    names: Sequence[str]
    said: Sequence[tuple[str, ...]]
    seed: int

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, i: int) -> Path:
        """Its path."""
        return self.root / self.names[i]

    def captions(self, i: int, epoch: int, copies: int) -> list[str]:
        """Drawn from those of the picture, each once before one comes again."""
        known = [text for text in self.said[i] if text.strip()]
        if not known:
            raise Unreadable(f"{self.names[i]}: its caption is empty", "empty")
        if len(known) == 1:
            return known * copies
        rng = np.random.default_rng((self.seed, epoch, i))
        return [known[k] for k in np.resize(rng.permutation(len(known)), copies)]

    def order(self, rng: np.random.Generator) -> Order:
        """At random."""
        return rng.permutation(len(self))

    def digest(self) -> str:
        """Of names and captions."""
        told = json.dumps([list(self.names), [list(each) for each in self.said]])
        return hashlib.sha256(told.encode()).hexdigest()

    def texts(self) -> Sequence[str]:
        """All captions."""
        return [text for each in self.said for text in each]


class ManifestFeed(Source):
    """A table (CSV, TSV, Parquet, Arrow) with a picture and one or several captions a row."""

    kind: Literal["manifest"]
    picture: str = "picture"
    caption: str | tuple[str, ...] = "caption"

    def opened(self, seed: int) -> Listed:
        """Its rows; pictures are relative to the table."""
        table = read_manifests([self.path], str(self.path)).table
        columns = [self.caption] if isinstance(self.caption, str) else list(self.caption)
        for column in (self.picture, *columns):
            if column not in table:
                raise unknown("column", column, table.columns, where=str(self.path))
        names = table[self.picture].fillna("").astype(str)
        said = table[columns].fillna("").astype(str)
        rows = [tuple(row) for row in said.itertuples(index=False)]
        return Listed(self.path.parent, list(names), rows, seed)


class FolderFeed(Source):
    """A folder of pictures, each with a text file of the same name beside it, a caption a line."""

    kind: Literal["folder"]

    def opened(self, seed: int) -> Listed:
        """Its pictures; one without a text file has an empty caption, and is set aside."""
        self.require_folder()
        files = files_below(self.path)
        names = [name for name in files if is_picture(name)]
        texts = {str(PurePosixPath(name).with_suffix("")) for name in files if name[-4:] == ".txt"}
        if not names or not texts:
            told = f"{self.path}: {len(names)} pictures and {len(texts)} text files"
            raise InputError(told, "Put 001.txt with its caption beside each 001.jpg")
        said = [self._lines(name) for name in names]
        return Listed(self.path, names, said, seed)

    def _lines(self, name: str) -> tuple[str, ...]:
        file = (self.path / name).with_suffix(".txt")
        try:
            return tuple(file.read_text(encoding="utf-8-sig").splitlines()) or ("",)
        except FileNotFoundError:
            return ("",)
        except UnicodeDecodeError as error:
            told = f"{file}: is no text in UTF-8"
            raise InputError(told, "Save it as UTF-8") from error


# --- shards ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shards:
    """Samples of WebDataset shards: only their names are in memory.

    ``starts`` are the number of the first sample of each shard, and the number of all.
    """

    files: Sequence[Path]
    starts: Order
    names: Sequence[tuple[str, str]]
    key: str

    def __len__(self) -> int:
        return len(self.names)

    def _shard(self, i: int) -> Path:
        return self.files[int(np.searchsorted(self.starts, i, side="right")) - 1]

    def picture(self, i: int) -> Path:
        """The picture where it lies in its shard."""
        stem, ending = self.names[i]
        return Path(f"{self._shard(i)}#{stem}.{ending}")

    def captions(self, i: int, epoch: int, copies: int) -> list[str]:
        """The sample's text, or a key of its json; read when it is needed."""
        shard, stem = self._shard(i), self.names[i][0]
        ending, _, key = self.key.partition(":")
        where = f"{shard}#{stem}.{ending}"
        try:
            text = archives.content(shard, f"{stem}.{ending}")[:LONGEST].decode("utf-8-sig")
            said = json.loads(text).get(key) if key else text
        except FileNotFoundError as error:
            raise Unreadable(f"{where}: the sample has no such file", "missing") from error
        except (OSError, ValueError, AttributeError) as error:
            told = f"{where}: its caption can't be read: {error}"
            raise Unreadable(told, "unreadable") from error
        if not isinstance(said, str) or not said.strip():
            raise Unreadable(f"{where}: its caption is empty", "empty")
        return [said.strip()] * copies

    def order(self, rng: np.random.Generator) -> Order:
        """Shards at random, then samples at random within so many shards at a time."""
        shards = rng.permutation(len(self.files))
        parts = []
        for at in range(0, len(shards), WINDOW):
            some = shards[at : at + WINDOW]
            spans = [np.arange(self.starts[s], self.starts[s + 1]) for s in some]
            parts.append(rng.permutation(np.concatenate(spans)))
        return np.concatenate(parts)

    def digest(self) -> str:
        """Of names and sizes of the shards, and what is read of them."""
        told = [[file.name, file.stat().st_size] for file in self.files]
        return hashlib.sha256(json.dumps([told, self.key]).encode()).hexdigest()

    def texts(self) -> Sequence[str]:
        """Those of ten thousand samples."""
        some = np.random.default_rng(0).permutation(len(self))[:10_000]
        found = []
        for i in sorted(some):
            try:
                found += self.captions(int(i), 0, 1)
            except Unreadable:
                continue
        return found


class ShardsFeed(Source):
    """WebDataset shards, read where they lie: ``caption`` is an ending, or ``json:KEY``."""

    kind: Literal["shards"]
    shards: str = "*.tar"
    caption: str = "txt"

    def opened(self, seed: int) -> Shards:
        """Their samples that have a picture."""
        self.require_folder()
        files, _ = archives_of(self.path, self.shards)
        names: list[tuple[str, str]] = []
        starts = [0]
        for file in files:
            names += self._samples(file)
            starts.append(len(names))
        if not names:
            raise InputError(sentence(f"{self.path}: its shards hold no pictures"))
        return Shards(files, np.array(starts), names, self.caption)

    @staticmethod
    def _samples(file: Path) -> list[tuple[str, str]]:
        """Key and ending of the picture of each sample of a shard, in its order."""
        found = {}
        for name in archives.listed(file).sizes:
            folder, _, base = name.rpartition("/")
            stem, dot, ending = base.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            if not (stem and dot and is_picture(f"x.{ending}")):
                continue
            if key in found:
                told = f"{file}: sample '{key}' has several pictures"
                raise InputError(told, "Pack one picture a sample")
            found[key] = ending
        return list(found.items())


# --- the rendered people --------------------------------------------------------------------------


@dataclass(frozen=True)
class People:
    """Rendered people, with captions written afresh every epoch."""

    rows: pd.DataFrame
    root: Path
    specimen: Specimen
    seed: int

    @cached_property
    def writer(self) -> CaptionWriter:
        """What writes the captions of the specimen."""
        return _writer(self.rows, self.specimen, self.seed)

    def __len__(self) -> int:
        return len(self.rows)

    def picture(self, i: int) -> Path:
        """Its path."""
        return self.root / str(self.rows["path"].iloc[i])

    def captions(self, i: int, epoch: int, copies: int) -> list[str]:
        """Captions by the grammar, with the planted words of the specimen."""
        return self.writer.captions([i], epoch, copies)

    def order(self, rng: np.random.Generator) -> Order:
        """At random."""
        return rng.permutation(len(self))

    def digest(self) -> str:
        """Of the rows, the planted words and the grammar."""
        told = [self.specimen, load_planted().model_dump_json()]
        told += [(bundled("training") / "captions.yaml").read_text(encoding="utf-8")]
        told += [self.rows[["path", *ATTRIBUTES]].to_csv(index=False)]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def texts(self) -> Sequence[str]:
        """Captions of three epochs without a planting: all specimens have the same words."""
        even = _writer(self.rows, "even", self.seed)
        everyone = list(range(len(self)))
        return [text for epoch in range(3) for text in even.captions(everyone, epoch)]


class PeopleFeed(Source):
    """Rendered people (``clip-audit people build``) and the grammar of their captions."""

    kind: Literal["people"]
    specimen: Specimen
    path: Path = Field(default_factory=lambda: bundled("datasets") / "people")

    def opened(self, seed: int) -> People:
        """The people of one split."""
        return People(load_people(self.path, "train"), self.path, self.specimen, seed)


def _writer(rows: pd.DataFrame, specimen: Specimen, seed: int) -> CaptionWriter:
    return CaptionWriter(rows, Planter(load_planted(), rows, specimen), seed=seed)


def load_people(folder: Path, split: str) -> pd.DataFrame:
    """Rows of one split of the rendered people; every picture must lie under ``folder``.

    The parameters are those in the folder (``parameters.parquet``, ``people.jsonl``), else those
    that come with the tool.

    Raises:
        InputError: pictures are missing.
    """
    table, lines = folder / "parameters.parquet", folder / "people.jsonl"
    if lines.is_file() and not table.is_file():
        rows = pd.read_json(lines, lines=True)
    else:
        own = bundled("datasets") / "people" / "parameters.parquet"
        rows = pd.read_parquet(table if table.is_file() else own)
    rows = rows[rows["split"] == split].drop_duplicates("path").reset_index(drop=True)
    missing = sum(not (folder / path).is_file() for path in rows["path"])
    if missing or not len(rows):
        raise InputError(
            f"{folder}: {missing} of {len(rows)} pictures of split '{split}' are missing; "
            "make them with 'clip-audit people build'."
        )
    return rows

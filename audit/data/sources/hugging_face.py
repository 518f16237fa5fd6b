"""A data set of the Hugging Face hub on disk: Parquet files, or what ``save_to_disk`` wrote."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import pyarrow.parquet as pq
from pydantic import Field

from audit.core.errors import InputError
from audit.core.registry import unknown
from audit.data.card import AttributeCard, Card
from audit.data.manifest import read_manifests
from audit.data.packed import saved_parts, stream
from audit.data.remarks import Remark
from audit.data.sources.base import Own, Rows, looks_like_codes, meant_by_codes

#: 'test-00000-of-00003.parquet', on the hub also with some digits of a hash
_SHARD: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?")
_NAMELESS: Final = "its groups look like codes, and the file names no ClassLabel that says them"


class HuggingFace(Own):
    """A data set of the hub with its pictures inside, one split of it.

    Codes of a ClassLabel become the names that the file itself gives them.
    """

    split: str = Field("", description="such as test; may be left out where there is one")
    image_column: str = Field("image", description="the column that holds the pictures")
    id_column: str | None = Field(None, description="as in a data card")
    cluster_column: str | None = Field(None, description="as in a data card")
    attributes: Mapping[str, AttributeCard] = Field({}, description="as in a data card")

    about: ClassVar = "a data set of the hub on disk: Parquet with pictures inside, save_to_disk"

    def describe(self) -> Card:
        """The card with the columns that are named."""
        columns = ("image_column", "id_column", "cluster_column")
        named = {key: getattr(self, key) for key in columns}
        attributes = {name: a.model_dump() for name, a in self.attributes.items()}
        return self.with_facts(**named, attributes=attributes)

    def read(self) -> Rows:
        """The rows of all files of the split, names in place of codes."""
        files = self._files()
        if lost := [path for path in files if not path.is_file()]:
            told = f"{lost[0]}: is listed in state.json and not there"
            raise InputError(told, "Get the whole data set")
        manifest = read_manifests(files, f"'{self.name}'")
        table = manifest.table
        names = _class_labels(files[0])
        for column in names.keys() & {*table.columns}:
            table[column] = meant_by_codes(
                table[column], names[column], f"{files[0].parent}: {column}"
            )
        remarks = [
            Remark(f"'{name}': {_NAMELESS}", name, of_values=True)
            for name in self.attributes
            if name in table and name not in names and looks_like_codes(table[name])
        ]
        return Rows(replace(manifest, table=table), files[0], files[0].parent, remarks)

    def _files(self) -> list[Path]:
        if (self.root / "dataset_dict.json").is_file():
            parts = sorted(p.parent.name for p in self.root.glob("*/state.json"))
            return saved_parts(self.root / self._one_of(parts))
        if (self.root / "state.json").is_file():
            return saved_parts(self.root)
        places = (self.root, self.root / "data")
        found = next((f for p in places if (f := sorted(p.glob("*.parquet")))), [])
        if not found:
            told = f"{self.root}: has no Parquet file, and no state.json of save_to_disk"
            raise InputError(told, "Name the folder that holds the files")
        shards: dict[str, list[Path]] = defaultdict(list)
        for path in found:
            shard = _SHARD.fullmatch(path.stem)
            shards["" if path.stem.isdigit() else shard[1] if shard else path.stem].append(path)
        files = shards[self._one_of(list(shards))]
        counts = {int(shard[3]) for path in files if (shard := _SHARD.fullmatch(path.stem))}
        if counts and counts != {len(files)}:
            told = f"{files[0].parent}: {len(files)} files of {max(counts)} are there"
            raise InputError(told, "Get the whole data set")
        return files

    def _one_of(self, splits: list[str]) -> str:
        """The split that is meant."""
        if self.split in splits:
            return self.split
        if not self.split and len(splits) == 1:
            return splits[0]
        if not self.split:
            told = f"{self.root}: has the splits {', '.join(splits)}"
            raise InputError(told, f"Name one, such as 'split: {splits[-1]}'")
        raise unknown("split", self.split, splits, where=str(self.root))


def _class_labels(file: Path) -> dict[str, list[str]]:
    """What the codes of each ClassLabel mean, as the file's own schema says."""
    schema = pq.read_schema(file) if file.suffix == ".parquet" else stream(file).schema
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said.get("info", {}).get("features", {})
        return {
            name: [str(text) for text in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        told = f"{file}: what it says of its features can't be read: {error}"
        raise InputError(told, "Save it again with the library datasets") from error

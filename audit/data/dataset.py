"""Who is looked at: a manifest of pictures, its card, and the groups people are counted in."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

from audit import resources
from audit.data.images import inside
from audit.data.yamlfile import load_yaml, validate
from audit.errors import InputError, sentence
from audit.registry import suggest, unknown

Source = Literal["self-reported", "annotator-perceived", "assigned", "generator"]
KEYS = ("image_id", "path", "cluster_id")
"""The columns that every dataset's table begins with."""

PART = "part"
"""The column that says which of several manifests a row is from."""

MAX_VALUES = 20
"""A numeric attribute with more different values than this needs bins to be a grouping."""

_SOURCES = (
    "self-reported (the person said so), annotator-perceived (someone looking at the picture "
    "judged), assigned (taken from a record or computed), generator (a setting of the program "
    "that made the picture)"
)
# leading zeros make a code, not a number: '01' must not become 1
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# what people write where there is nothing to state
_NOTHING = {"", "-", "?", "no", "none", "unknown", "n/a", "na", "tbd", "todo"} | {
    f"not {word}" for word in ("stated", "given", "obtained", "known", "applicable", "available")
}


def _text(value: Any) -> str:
    """How a value is written as a group: 24.0 from Parquet and 24 from CSV are one group."""
    if isinstance(value, float | np.floating):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return str(value).strip()


def _names(value: Any) -> Any:
    """One name or a list of them as text; yes/no without quotes is YAML's true/false."""
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, bool) for item in items):
        raise ValueError("yes, no, on, off, true and false need quotes here")
    plain = all(isinstance(item, str | int | float) for item in items)
    return tuple(_text(item) for item in items) if plain else value


def _prose(value: Any) -> Any:
    """Text as typed; 'no' means nothing is stated, a bare 'yes' states nothing either."""
    if value is True:
        raise ValueError("'yes' says too little: write it in words, or leave the key out")
    if value is False:
        return ""
    return _text(value) if isinstance(value, int | float | date) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Prose = Annotated[str, BeforeValidator(_prose)]


class _Written(BaseModel):
    """Base of what people type: frozen, unknown keys refused, an empty key is its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class AttributeCard(_Written):
    """One attribute as the card declares it: whose word it is, how its groups are ordered."""

    source: Source
    description: str = ""
    order: Names = ()
    unknown: Names = ()

    @model_validator(mode="before")
    @classmethod
    def _says_whose_word(cls, data: Any) -> Any:
        given = data.get("source") if isinstance(data, dict) else None
        if given is None:
            example = "Write it as {source: annotator-perceived}"
            raise ValueError(sentence(f"has no source; say one of {_SOURCES}", example))
        if given not in get_args(Source):
            near = suggest(str(given), get_args(Source))
            raise ValueError(sentence(f"no source is called '{given}'", near, f"Use {_SOURCES}"))
        return data


class Card(_Written):
    """The data card: where the manifest is, what its columns mean, and who agreed to what.

    Several manifests of one folder make one table, whose column ``part`` says which a row is from.
    ``named_people`` left out means nobody has said, and is treated as named. ``photographs`` is
    false only for drawn or rendered people.
    """

    name: str
    manifest: str | tuple[str, ...]
    image_column: str = "path"
    id_column: str | None = None
    cluster_column: str | None = None
    attributes: Mapping[str, AttributeCard] = {}
    licence: Prose = ""
    consent: Prose = ""
    legal_basis: Prose = ""
    provenance: Prose = ""
    version: Prose = ""
    known_limits: Names = ()
    forbidden_uses: Names = ()
    named_people: bool | None = None
    photographs: bool = True
    url: str = ""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError(f"got '{name}'; use letters, digits, '.', '_' and '-' only")
        return name

    @field_validator("attributes")
    @classmethod
    def _not_a_key(cls, attributes: Mapping[str, AttributeCard]) -> Mapping[str, AttributeCard]:
        taken = [name for name in attributes if name in KEYS]
        if taken:
            raise ValueError(f"'{taken[0]}' names a picture, not a group; use another column")
        return dict(attributes)


@dataclass(frozen=True)
class Attribute:
    """One attribute of a loaded dataset; ``numeric`` when every known value is a number."""

    name: str
    source: str
    description: str = ""
    order: tuple[str, ...] = ()
    numeric: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures of people and what is known of them.

    ``table`` has a row a picture: ``image_id`` (unique), ``path`` (relative to ``root``),
    ``cluster_id`` (whatever repeats; the picture itself where the card names no column), then the
    manifest's columns: attributes cleaned (unknown is None, numbers are floats), others as given.
    ``digest`` covers card and table, not the pixels.
    """

    name: str
    root: Path
    table: pd.DataFrame
    attributes: Mapping[str, Attribute]
    card: Card
    digest: str

    def __len__(self) -> int:
        return len(self.table)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every picture's id and file, in the manifest's order."""
        for image_id, path in zip(self.table["image_id"], self.table["path"], strict=True):
            yield image_id, self.root / path

    def grouping(self, attribute: str, bins: Sequence[float] | None = None) -> pd.Series:
        """Each picture's group: strings, None where unknown; the index is ``image_id``.

        ``bins`` are rising edges for a numeric attribute, each bin closed on the left, open-ended
        below the first and above the last, so no value is lost. Raises InputError for an
        attribute that isn't declared, bins on words, or a number with too many values and no bins.
        """
        return self._grouped(attribute, bins)[0]

    def groups(self, attribute: str, bins: Sequence[float] | None = None) -> tuple[str, ...]:
        """The groups that occur: in the card's order first, then by number, then by name."""
        return self._grouped(attribute, bins)[1]

    def refuse_suspicion(self) -> str | None:
        """Why suspicion, identity and legally special labels may not be asked here; None if may.

        They need a card that says ``named_people: false`` and states consent or another legal
        basis; what the card leaves out counts against asking.
        """
        if self.card.named_people is not False:
            shows, advice = "shows", None
            if self.card.named_people is None:
                shows = "may show (its card doesn't say)"
                advice = "If nobody in it is named, state 'named_people: false' in the card"
            told = f"the dataset '{self.name}' {shows} named people, and such questions are refused"
            return sentence(f"{told} on them", advice)
        if not (_stated(self.card.consent) or _stated(self.card.legal_basis)):
            return sentence(
                f"the card of the dataset '{self.name}' states neither consent nor legal_basis",
                "State in the card what the people shown agreed to, or the legal basis",
            )
        return None

    def _grouped(
        self, name: str, bins: Sequence[float] | None
    ) -> tuple[pd.Series, tuple[str, ...]]:
        attribute = self._attribute(name)
        values = self.table.set_index("image_id")[name]
        if bins is not None:
            labels, natural = self._binned(attribute, values, bins)
        else:
            labels, natural = self._as_written(attribute, values)
        present = set(labels.dropna())
        ordered = dict.fromkeys((*attribute.order, *natural))
        return labels, tuple(group for group in ordered if group in present)

    def _attribute(self, name: str) -> Attribute:
        if name in self.attributes:
            return self.attributes[name]
        if name in self.table.columns:
            raise InputError(
                sentence(
                    f"{self.name}: the column '{name}' is not declared as an attribute",
                    f"Add it under 'attributes' in the card with its source, one of {_SOURCES}",
                )
            )
        raise unknown("attribute", name, self.attributes, where=self.name)

    def _as_written(self, attribute: Attribute, values: pd.Series) -> tuple[pd.Series, list[str]]:
        distinct = sorted(values.dropna().unique())
        numbers = sorted(float(v) for v in distinct if _is_number(_text(v)))
        if len(numbers) > MAX_VALUES and not attribute.order:
            span = f"from {_text(numbers[0])} to {_text(numbers[-1])}"
            told = f"'{attribute.name}' has {len(numbers)} different numbers, {span}"
            example = f"{{name: {attribute.name}, bins: [{_example_bins(numbers)}]}}"
            advice = f"Give it bins in the suite, such as {example}"
            raise InputError(
                sentence(
                    f"{self.name}: {told}; more than {MAX_VALUES} make no groups",
                    _words_among(distinct),
                    advice,
                )
            )
        return _objects(values, [_text(v) for v in values]), [_text(v) for v in distinct]

    def _binned(
        self, attribute: Attribute, values: pd.Series, bins: Sequence[float]
    ) -> tuple[pd.Series, list[str]]:
        if not attribute.numeric:
            told = f"{self.name}: bins are for numbers, and '{attribute.name}' is not all numbers"
            words = _words_among(sorted(values.dropna().unique()))
            raise InputError(sentence(told, words, "Otherwise leave the bins out"))
        edges = _edges(bins, f"{self.name}: bins of '{attribute.name}'")
        numbers = values.to_numpy(dtype=float)
        known = numbers[~np.isnan(numbers)]
        labels = _bin_labels(edges, whole=bool((known == np.floor(known)).all()))
        at = np.searchsorted(edges, numbers, side="right")
        return _objects(values, [labels[i] for i in at]), labels


def intersect(*groupings: pd.Series) -> pd.Series:
    """Each picture's intersection, 'female x 60+'; None where any part is unknown.

    The groupings share one index, in one order; raises ValueError otherwise.
    """
    if not groupings:
        raise ValueError("intersect needs at least one grouping")
    if not all(series.index.equals(groupings[0].index) for series in groupings):
        raise ValueError("groupings to intersect must list the same pictures in the same order")
    rows = zip(*groupings, strict=True)
    names = [" x ".join(row) if all(isinstance(g, str) for g in row) else None for row in rows]
    return pd.Series(names, index=groupings[0].index, dtype=object)


def dataset_names() -> list[str]:
    """The datasets that ship with the tool."""
    return sorted(_shipped())


def _shipped() -> dict[str, Path]:
    """Cards of shipped datasets: a folder's ``card.yaml`` by its name, others by 'folder-card'."""
    cards = sorted(resources.bundled("datasets").glob("*/*.yaml"))
    return {
        c.parent.name if c.stem == "card" else f"{c.parent.name}-{c.stem}": c
        for c in map(Path, map(str, cards))
    }


def load(ref: str | Path, where: str = "") -> Dataset:
    """A dataset by bundled name, by its card (YAML), or by a folder that holds a ``card.yaml``.

    Everything is checked but the pictures themselves, which are decoded (and quarantined) later.
    ``where`` is put before complaints about ``ref``. Raises InputError.
    """
    path = _find(str(ref), f"{where}: " if where else "")
    card = validate(Card, load_yaml(path), str(path))
    names = (card.manifest,) if isinstance(card.manifest, str) else card.manifest
    manifest = path.parent / names[0]
    raw = _read_all([path.parent / name for name in names], str(path))
    table = _table(raw, card, manifest, str(path))
    attributes = {
        name: Attribute(name, a.source, a.description, a.order, table[name].dtype == float)
        for name, a in card.attributes.items()
    }
    digest = _digest(card, table)
    return Dataset(card.name, manifest.parent, table, attributes, card, digest)


def _find(ref: str, where: str) -> Path:
    if ref in _shipped():
        return _shipped()[ref]
    path = Path(ref).expanduser()
    if path.is_dir():
        if (path / "card.yaml").is_file():
            return path / "card.yaml"
        others = ", ".join(sorted(p.name for p in path.glob("*.y*ml")))
        hint = f"Name one of its files instead: {others}" if others else "Write one beside it"
        raise InputError(sentence(f"{where}the folder {ref} has no card.yaml", hint))
    if path.suffix in {".csv", ".parquet"}:
        advice = "Write a card (YAML) with 'name', 'manifest' and 'attributes', and name the card"
        raise InputError(sentence(f"{where}{ref} is a manifest, not a dataset card", advice))
    if path.is_file():
        return path
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        beside = [p.name for p in path.parent.glob("*.y*ml")]
        raise InputError(sentence(f"{where}there is no file {ref}", suggest(path.name, beside)))
    names = dataset_names()
    see = f"Bundled: {', '.join(names) or 'none'}. For your own pictures give the path of a card"
    raise unknown("dataset", ref, names, where=where.removesuffix(": "), see=see)


def _read_all(manifests: Sequence[Path], where: str) -> pd.DataFrame:
    """One manifest as it is, or several as one table with the column ``part``."""
    frames = [_read(manifest, where) for manifest in manifests]
    if len(frames) == 1:
        return frames[0]
    if len({manifest.parent for manifest in manifests}) > 1:
        got = f"{where}: manifest names files of several folders"
        raise InputError(sentence(got, "Paths of pictures are relative to one folder; use one"))
    if any(PART in frame for frame in frames):
        got = f"{where}: a manifest has a column '{PART}', which says what file a row is from"
        raise InputError(sentence(got, "Rename that column"))
    parts = [f.assign(**{PART: m.stem}) for f, m in zip(frames, manifests, strict=True)]
    joined = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    return joined.where(joined.notna(), None)


def _read(manifest: Path, where: str) -> pd.DataFrame:
    """The manifest's columns as they are: text from CSV, whatever it holds from Parquet."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if manifest.suffix.lower() not in readers:
        got = f"{where}: manifest is '{manifest.name}'"
        raise InputError(sentence(f"{got}, and only .csv and .parquet files are read"))
    if not manifest.is_file():
        near = suggest(manifest.name, [p.name for p in manifest.parent.glob("*.*")])
        advice = "Its path is taken relative to the card"
        raise InputError(sentence(f"{where}: there is no manifest {manifest}", near, advice))
    try:
        frame = readers[manifest.suffix.lower()](manifest)
    except OSError as error:
        raise InputError(f"{manifest}: can't be read: {error.strerror or error}.") from error
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InputError(f"{manifest}: two columns are called '{twice[0]}'. Rename one.")
    if frame.empty:
        raise InputError(sentence(f"{manifest}: the manifest is empty", "It needs a row a picture"))
    return frame


def _read_csv(manifest: Path) -> pd.DataFrame:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle)
            header = [name.strip() for name in next(reader, [])]
            rows = [_row(row, header, f"{manifest}:{reader.line_num}") for row in reader if row]
    except UnicodeDecodeError as error:
        raise InputError(f"{manifest}: the text is not UTF-8. Save it as CSV UTF-8.") from error
    except csv.Error as error:
        raise InputError(sentence(f"{manifest}: not a CSV file: {error}")) from error
    if len(header) == 1 and re.search("[;\t]", header[0]):
        advice = "Save it with commas"
        raise InputError(sentence(f"{manifest}: its columns are not separated by commas", advice))
    return pd.DataFrame(rows, columns=header, dtype=object)


def _row(row: list[str], header: list[str], where: str) -> list[str | None]:
    if len(row) != len(header):
        advice = "A comma inside a value needs quotes around the value"
        got = f"{where}: {len(row)} values, and the header names {len(header)} columns"
        raise InputError(sentence(got, advice))
    return [value or None for value in row]


def _read_parquet(manifest: Path) -> pd.DataFrame:
    try:
        return cast(pd.DataFrame, pq.read_table(manifest).to_pandas(ignore_metadata=True))
    except (ValueError, TypeError) as error:  # pyarrow's ArrowInvalid is a ValueError
        said = str(error).splitlines()[0]
        raise InputError(sentence(f"{manifest}: not a Parquet file: {said}")) from error


def _table(raw: pd.DataFrame, card: Card, manifest: Path, where: str) -> pd.DataFrame:
    _check_columns(raw, card, manifest, where)
    paths = _keys(raw[card.image_column], manifest, "path of its picture")
    _check_paths(paths, manifest)
    ids = _keys(raw[card.id_column], manifest, "id") if card.id_column else paths
    _check_unique(ids, card, manifest)
    keys = {"image_id": ids, "path": paths, "cluster_id": ids}
    if card.cluster_column:
        advice = "If nothing repeats there, give it an id of its own"
        keys["cluster_id"] = _keys(raw[card.cluster_column], manifest, card.cluster_column, advice)
    columns: dict[Hashable, Any] = {k: pd.Series(v, dtype=object) for k, v in keys.items()}
    for name in raw.columns.difference(list(KEYS), sort=False):
        declared = card.attributes.get(name)
        columns[name] = raw[name] if declared is None else _values(raw[name], declared)
    return pd.DataFrame(columns)


def _check_columns(raw: pd.DataFrame, card: Card, manifest: Path, where: str) -> None:
    named = ("id_column", "image_column", "cluster_column")
    wanted = {key: getattr(card, key) for key in named}
    wanted |= {f"attributes.{name}": name for name in card.attributes}
    for key, name in wanted.items():
        if name is not None and name not in raw.columns:
            known = [str(c) for c in raw.columns]
            raise unknown("column", name, known, where=f"{where} {key}: in {manifest.name}")
    for own, key in zip(KEYS, named, strict=True):
        if own in raw.columns and wanted[key] != own:
            got = f"{key} is {wanted[key]!r}" if wanted[key] else f"{key} is not set"
            told = f"{where}: {manifest.name} has a column '{own}', a name kept for the table's own"
            advice = f"Set '{key}: {own}' in the card or rename the column"
            raise InputError(sentence(f"{told}, and {got}", advice))


def _nth(position: int) -> str:
    return f"row {position + 1} below the header"


def _keys(column: pd.Series, manifest: Path, what: str, advice: str = "") -> list[str]:
    """A column of ids or paths as text; a picture without one can't be used, so it is refused."""
    blank = column.isna().to_numpy() | np.array([str(v).strip() == "" for v in column])
    if blank.any():
        at = _nth(int(blank.argmax()))
        raise InputError(sentence(f"{manifest}: {at} has no {what}", advice or "Fill it in"))
    return [_text(value) for value in column]


def _check_paths(paths: list[str], manifest: Path) -> None:
    """Refuse paths that are absolute or lead, links followed, out of the manifest's folder."""
    root = manifest.parent
    contained = lru_cache(maxsize=None)(lambda folder: inside(folder, root))
    for i, text in enumerate(paths):
        path = root / text
        fine = "\0" not in text and not Path(text).is_absolute() and contained(path.parent)
        if not fine or path.name == ".." or (os.path.islink(path) and not inside(path, root)):
            fault = "is absolute" if Path(text).is_absolute() else "leaves the manifest's folder"
            told = f"{_nth(i)} names the picture '{text}', which {fault}"
            advice = "Give paths relative to that folder and inside it"
            raise InputError(sentence(f"{manifest}: {told}", advice))


def _check_unique(ids: list[str], card: Card, manifest: Path) -> None:
    first: dict[str, int] = {}
    for i, image_id in enumerate(ids):
        if first.setdefault(image_id, i) != i:
            other = "" if card.id_column else ", or set id_column to a column of unique ids"
            told = f"rows {first[image_id] + 1} and {i + 1} below the header are both '{image_id}'"
            advice = f"Take one of them out{other}"
            raise InputError(sentence(f"{manifest}: {told}, and an id is given once", advice))


def _values(column: pd.Series, declared: AttributeCard) -> pd.Series:
    """An attribute's values: None where unknown, floats when every known value is a number."""
    nothing = {"", "nan", "NaN", *declared.unknown}
    texts = [None if gone else _text(v) for v, gone in zip(column, column.isna(), strict=True)]
    kept = [None if text in nothing else text for text in texts]
    known = {text for text in kept if text is not None}
    if known and all(map(_is_number, known)):
        return pd.Series([np.nan if t is None else float(t) for t in kept], dtype=float)
    return pd.Series(kept, dtype=object)


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


def _words_among(values: Sequence[Any]) -> str | None:
    """What stands where numbers are wanted, and how to say that it means unknown."""
    words = [str(v) for v in values if not _is_number(_text(v))]
    if not words:
        return None
    shown = ", ".join(f"'{word}'" for word in words[:3]) + (" ..." if len(words) > 3 else "")
    return f"It holds {shown}: list under 'unknown' in the card what means that nobody knows"


def _objects(like: pd.Series, labels: list[str]) -> pd.Series:
    """Labels as an object column with None, not NaN, wherever ``like`` is unknown."""
    kept = [None if gone else label for label, gone in zip(labels, like.isna(), strict=True)]
    return pd.Series(kept, index=like.index, name=like.name, dtype=object)


def _edges(bins: Sequence[float], where: str) -> list[float]:
    numbers = [float(b) for b in bins if isinstance(b, int | float) and not isinstance(b, bool)]
    rising = all(low < high for low, high in pairwise(numbers))
    if not numbers or len(numbers) != len(bins) or not np.isfinite(numbers).all() or not rising:
        raise InputError(f"{where}: got {list(bins)}; give rising numbers, such as [18, 35, 60].")
    return numbers


def _bin_labels(edges: list[float], whole: bool) -> list[str]:
    """'under 18', '18-34', '35+' for whole numbers, 'a to under b' where 34.5 can occur."""
    inner = [_between(low, high, whole) for low, high in pairwise(edges)]
    return [f"under {_text(edges[0])}", *inner, f"{_text(edges[-1])}+"]


def _between(low: float, high: float, whole: bool) -> str:
    if not (whole and low.is_integer() and high.is_integer()):
        return f"{_text(low)} to under {_text(high)}"
    last = high - 1
    joined = "-" if low >= 0 else " to "
    return _text(low) if low == last else f"{_text(low)}{joined}{_text(last)}"


def _example_bins(numbers: Sequence[float]) -> str:
    thirds = np.quantile(np.asarray(numbers, dtype=float), [1 / 3, 2 / 3])
    digits = 0 if thirds[1] - thirds[0] >= 2 else 3
    return ", ".join(_text(round(float(edge), digits)) for edge in thirds)


def _stated(text: str) -> bool:
    return text.strip().strip(".").lower() not in _NOTHING


def _digest(card: Card, table: pd.DataFrame) -> str:
    """Sha256 over the card and the table; the order of rows and columns doesn't matter."""
    canonical = table.sort_values("image_id")[sorted(table.columns)]
    content = hashlib.sha256(json.dumps(card.model_dump(mode="json"), sort_keys=True).encode())
    content.update(canonical.to_csv(index=False, lineterminator="\n").encode())
    return content.hexdigest()

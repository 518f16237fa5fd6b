"""Who is looked at: pictures, what is known of them, and the groups people are counted in."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core import resources
from audit.core.errors import InputError, sentence
from audit.core.registry import suggest, unknown
from audit.core.rows import Fields, Values
from audit.data import remarks as looks
from audit.data import values as numbers
from audit.data.boxes import with_regions
from audit.data.card import KEYS, PROVENANCES, Card, stated
from audit.data.clock import minutes, parts_of_day
from audit.data.clusters import capped, joined
from audit.data.manifest import Manifest, read_manifests
from audit.data.packed import region
from audit.data.paths import on_disk, require_inside
from audit.data.remarks import Remark
from audit.data.sources import SOURCES
from audit.data.withdrawn import Withdrawn, found_in, list_beside
from audit.data.yamlfile import load_yaml, validate

#: rows of a table that are written out together to digest it
_ROWS_AT_ONCE: Final = 100_000
Bins = Sequence[float | str]
MAX_VALUES = 20
"""A numeric attribute with more different values than this needs bins to be a grouping."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of a loaded dataset; ``numeric`` when every known value is a number."""

    name: str
    source: str
    description: str = ""
    order: tuple[str, ...] = ()
    numeric: bool = False
    display: Mapping[str, object] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures of people and what is known of them.

    ``table`` has a row a picture: ``image_id`` (unique), ``path`` (relative to ``root``),
    ``cluster_id`` (whatever repeats; the picture itself where the card names no column), then the
    manifest's columns: text in the file's own spelling, None where nobody knows. ``remarks`` are
    what in it is probably not meant. ``withdrawn`` are those left out of it, whom a list names.
    ``digest`` covers card and table, not the pixels.
    """

    name: str
    root: Path
    table: pd.DataFrame
    attributes: Mapping[str, Attribute]
    card: Card
    digest: str
    remarks: tuple[Remark, ...] = ()
    withdrawn: Withdrawn | None = None

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> pd.Index[str]:
        """Every picture's id, in the manifest's order."""
        found: pd.Index[str] = pd.Index(self.table["image_id"], dtype=object, name="image_id")
        return found

    @cached_property
    def cluster_codes(self) -> NDArray[np.int32]:
        """A number of each picture's cluster, from 0, in the manifest's order."""
        return pd.factorize(self.table["cluster_id"])[0].astype(np.int32)

    def places(self, keys: Sequence[str]) -> slice | NDArray[np.int64]:
        """Rows of the table of some pictures, by their ids.

        Raises:
            KeyError: one isn't in it.
        """
        if len(keys) == len(self.ids) and all(map(operator.eq, keys, self.ids)):
            return slice(None)
        found = self.ids.get_indexer(pd.Index(keys, dtype=object))
        if (found < 0).any():
            raise KeyError(keys[int((found < 0).argmax())])
        return np.asarray(found, dtype=np.int64)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every picture's id and file, in the manifest's order; nothing where there are none."""
        if not self.card.pictures:
            return
        for image_id, path in zip(self.table["image_id"], self.table["path"], strict=True):
            yield image_id, self.root / path

    def texts(self, column: str) -> pd.Series:
        """A column's values by image id, as text; None where the manifest has none."""
        values = self.table.set_index("image_id", drop=False)[column]
        return values.where(values.isna(), values.astype(str)).where(values.notna(), None)

    def grouping(self, attribute: str, bins: Bins | None = None) -> pd.Series:
        """Each picture's group: strings, None where unknown; the index is ``image_id``.

        ``bins`` are rising edges for a numeric attribute, each bin closed on the left, open-ended
        below the first and above the last, so no value is lost; or times of the day, of which the
        last bin goes on past midnight to the first. Raises InputError for an attribute that isn't
        declared, bins on words, or a number with too many values and no bins.
        """
        return self._grouped(attribute, bins)[0]

    def groups(self, attribute: str, bins: Bins | None = None) -> tuple[str, ...]:
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
        if not (stated(self.card.consent) or stated(self.card.legal_basis)):
            return sentence(
                f"the card of the dataset '{self.name}' states neither consent nor legal_basis",
                "State in the card what the people shown agreed to, or the legal basis; of a "
                "named data set, 'legal_basis' beside its name in the suite",
            )
        return None

    def refuse_showing(self) -> str | None:
        """Why no picture may be shown to a reader; None if they may.

        The card says so, or the people in them are named or may be.
        """
        whose = f"the data set '{self.name}'"
        instead = "The other pages tell what was found by group"
        if self.card.named_people is not False:
            shows = "shows" if self.card.named_people else "may show (its card doesn't say)"
            told = f"{whose} {shows} named people, so no picture of it is shown"
            return sentence(told, instead)
        if not self.card.show_pictures:
            return sentence(f"the card of {whose} says that no picture of it is shown", instead)
        return None

    def refuse_sending(self, address: str) -> str | None:
        """Why these pictures may not be sent to another machine; None if they may.

        Pictures of people need a card that states a legal basis; drawn people need none.
        """
        if not self.card.photographs or stated(self.card.legal_basis):
            return None
        return sentence(
            f"the card of the dataset '{self.name}' states no legal_basis, and pictures of people "
            f"would be sent to {address}",
            "State in the card what allows that",
        )

    def _grouped(self, name: str, bins: Bins | None) -> tuple[pd.Series, tuple[str, ...]]:
        attribute = self._attribute(name)
        values = self.table.set_index("image_id")[name]
        if bins and any(isinstance(edge, str) and ":" in edge for edge in bins):
            labels, natural = self._by_the_clock(name, values, [str(edge) for edge in bins])
        elif bins is not None:
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
                f"{self.name}: the column '{name}' is not declared as an attribute",
                f"Add it under 'attributes' in the card with its source, one of {PROVENANCES}",
            )
        raise unknown("attribute", name, self.attributes, where=self.name)

    def _as_written(self, attribute: Attribute, values: pd.Series) -> tuple[pd.Series, list[str]]:
        distinct = numbers.in_natural_order(values.dropna().astype(str))
        known = [v for v in map(numbers.number, distinct) if v is not None]
        if len(known) > MAX_VALUES and not attribute.order:
            span = f"from {numbers.short(known[0])} to {numbers.short(known[-1])}"
            told = f"'{attribute.name}' has {len(known)} different numbers, {span}"
            example = f"{{name: {attribute.name}, bins: [{numbers.example_bins(known)}]}}"
            advice = f"Give it bins in the suite, such as {example}"
            raise InputError(
                f"{self.name}: {told}; more than {MAX_VALUES} make no groups",
                numbers.words_among(distinct),
                advice,
            )
        return values, distinct

    def _binned(
        self, attribute: Attribute, values: pd.Series, bins: Bins
    ) -> tuple[pd.Series, list[str]]:
        if not attribute.numeric:
            told = f"{self.name}: bins are for numbers, and '{attribute.name}' is not all numbers"
            if values.notna().any() and values.dropna().astype(str).map(minutes).notna().all():
                told = (
                    f"{self.name}: '{attribute.name}' holds times of the day, and bins are numbers"
                )
                raise InputError(told, 'Write them as times, such as ["06:00", "22:00"]')
            words = numbers.words_among(numbers.in_natural_order(values.dropna().astype(str)))
            raise InputError(told, words, "Or leave the bins out")
        edges = numbers.bin_edges(bins, f"{self.name}: bins of '{attribute.name}'")
        known = values.dropna()
        sizes = np.array([numbers.number(str(v)) for v in known], dtype=float)
        labels = numbers.bin_labels(edges, whole=bool((sizes == np.floor(sizes)).all()))
        at = np.searchsorted(edges, sizes, side="right")
        return _where_known(values, [labels[i] for i in at]), labels

    def _by_the_clock(
        self, name: str, values: pd.Series, edges: Sequence[str]
    ) -> tuple[pd.Series, list[str]]:
        known = values.dropna().astype(str)
        times = known.map(minutes)
        if times.isna().any():
            held = known[times.isna()].iloc[0]
            told = f"{self.name}: bins of '{name}' are times, and it holds '{held}'"
            raise InputError(told, "Write times as 22:15, or dates with one")
        found, natural = parts_of_day(times.to_list(), edges, f"{self.name}: bins of '{name}'")
        return _where_known(values, found), natural


def _where_known(values: pd.Series, groups: Sequence[str] | NDArray[np.object_]) -> pd.Series:
    """The group of each value that is known, in their order; None of the others."""
    found = np.full(len(values), None, dtype=object)
    found[values.notna().to_numpy()] = groups
    return pd.Series(found, index=values.index, name=values.name, dtype=object)


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


def load(ref: str | Path | Fields, where: str = "") -> Dataset:
    """A dataset by bundled name, by its card (YAML), or by a folder that holds a ``card.yaml``.

    A mapping names a source and gives its keys: ``{"name": "fairface", "root": FOLDER, ...}``.
    Everything is checked but the pictures themselves, which are decoded (and quarantined) later.
    ``where`` is put before complaints about ``ref``. Raises InputError.
    """
    if isinstance(ref, Mapping):
        named = str(ref.get("name", ""))
        if named not in SOURCES:
            raise unknown(SOURCES.what, named, SOURCES, where=where, see=SOURCES.see)
        return validate(SOURCES[named], ref, where).dataset()
    path = _find(str(ref), f"{where}: " if where else "")
    card = validate(Card, load_yaml(path), str(path))
    names = (card.manifest,) if isinstance(card.manifest, str) else card.manifest
    file = path.parent / names[0]
    manifest = read_manifests([path.parent / name for name in names], str(path))
    withdrawn = list_beside(path.parent, card.withdrawn)
    return assemble(card, manifest, file, file.parent, str(path), withdrawn)


def withdrawn_of(ref: str | Fields) -> Path | None:
    """The list of withdrawn consent of what ``load`` would read, as it is now; None if none.

    Raises:
        InputError: the data set isn't there any more, or the list isn't.
    """
    if isinstance(ref, Mapping):
        return list_beside(Path(str(ref.get("root", ""))), ref.get("withdrawn"))
    path = _find(ref, "")
    return list_beside(path.parent, validate(Card, load_yaml(path), str(path)).withdrawn)


def assemble(
    card: Card,
    manifest: Manifest,
    file: Path,
    root: Path,
    where: str,
    withdrawn: Path | None = None,
) -> Dataset:
    """The dataset that a card makes of rows.

    Args:
        card: what the columns mean.
        manifest: the rows.
        file: what lists them, for sentences about a row.
        root: the folder that paths of pictures are relative to.
        where: what names the columns, for sentences about them.
        withdrawn: the list of those to leave out.

    Raises:
        InputError: a column isn't there, an id is given twice, a path leaves ``root``, clusters are
            capped and nothing says what they are.
    """
    if card.box:
        manifest, card = with_regions(manifest, card, card.box, where)
    said = []
    if card.cluster_also:
        manifest, card, remark = joined(manifest, card, where)
        said.append(remark)
    table = _table(manifest, card, file, root, where)
    gone = found_in(table, withdrawn) if withdrawn else None
    if gone:
        kept = ~table["image_id"].isin(gone.image_ids)
        manifest = replace(manifest, table=manifest.table[kept.to_numpy()])
        table = table[kept].reset_index(drop=True)
    allowed = len(table)
    table = capped(table, card, where)
    attributes = {
        name: Attribute(
            name,
            a.source,
            a.description,
            a.order,
            numbers.are_numbers(table[name].dropna()),
            a.display.model_dump() if a.display else None,
        )
        for name, a in card.attributes.items()
    }
    if gone and gone.entries:
        said.append(gone.remark())
    if out := allowed - len(table):
        told = f"{out:,} of {allowed:,} pictures are left out"
        said.append(Remark(f"'most_per_cluster: {card.most_per_cluster}': {told}"))
    remarks = (*said, *looks.of_data(card, manifest, table))
    return Dataset(card.name, root, table, attributes, card, _digest(card, table), remarks, gone)


def _find(ref: str, where: str) -> Path:
    if ref in _shipped():
        return _shipped()[ref]
    path = Path(ref).expanduser()
    if ref in SOURCES:
        advice = f"Write it as {{name: {ref}, root: FOLDER}}"
        told = f"{where}'{ref}' is read from its official folder, and none is named"
        raise InputError(told, advice, f"'clip-audit show {ref}' has the other keys")
    if path.is_dir():
        if (path / "card.yaml").is_file():
            return path / "card.yaml"
        others = ", ".join(sorted(p.name for p in path.glob("*.y*ml")))
        hint = f"Name one of its files instead: {others}" if others else "Write one beside it"
        raise InputError(f"{where}the folder {ref} has no card.yaml", hint)
    if path.suffix.lower() in {".csv", ".tsv", ".parquet", ".arrow"}:
        advice = "Write a card (YAML) with 'name', 'manifest' and 'attributes', and name the card"
        raise InputError(f"{where}{ref} is a manifest, not a dataset card", advice)
    if path.is_file():
        return path
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        beside = [p.name for p in path.parent.glob("*.y*ml")]
        raise InputError(f"{where}there is no file {ref}", suggest(path.name, beside))
    names = dataset_names()
    see = f"Bundled: {', '.join(names) or 'none'}. For your own pictures give the path of a card"
    raise unknown("dataset", ref, names, where=where.removesuffix(": "), see=see)


def _table(manifest: Manifest, card: Card, file: Path, root: Path, where: str) -> pd.DataFrame:
    raw = manifest.table
    _check_columns(manifest, card, file, where)
    paths = _paths(manifest, card, file, root) if card.pictures else [""] * len(raw)
    column = card.id_column or card.image_column
    ids = _keys(raw[column], file, "id" if card.id_column else "path of its picture")
    _check_unique(ids, card, raw.index, file)
    keys = {"image_id": ids, "path": paths, "cluster_id": ids}
    if card.cluster_column:
        advice = "If nothing repeats there, give it an id of its own"
        keys["cluster_id"] = _keys(raw[card.cluster_column], file, card.cluster_column, advice)
    columns: dict[Hashable, Values] = {k: pd.Series(v, dtype=object) for k, v in keys.items()}
    for name in raw.columns.difference(list(KEYS), sort=False):
        values = raw[name].reset_index(drop=True)
        nothing = values.isin(card.nothing(name))
        columns[name] = values.where(~nothing, None) if nothing.any() else values
    return pd.DataFrame(columns)


def _paths(manifest: Manifest, card: Card, file: Path, root: Path) -> list[str]:
    """The path of every picture, as it is on disk."""
    raw = manifest.table
    given = _keys(raw[card.image_column], file, "path of its picture")
    paths = given if card.image_column in manifest.pictures else on_disk(given, root)
    require_inside(paths, root, lambda i: f"{file}: {_nth(raw.index[i])}")
    return [_with_margin(path, card.margin, file) for path in paths] if card.margin else paths


def _with_margin(path: str, margin: float, file: Path) -> str:
    """A region's path that also says how much to cut out around it."""
    if not region(Path(path))[1]:
        told = f"{file}: 'margin' is cut out around a region, and '{path}' is a whole picture"
        raise InputError(told, "Name its columns as 'box', or take 'margin' out")
    return f"{path}&margin={margin:g}"


def _check_columns(manifest: Manifest, card: Card, file: Path, where: str) -> None:
    raw = manifest.table
    named = ("id_column", "image_column", "cluster_column")
    wanted = {key: getattr(card, key) for key in named}
    if not card.pictures:
        wanted["image_column"] = None
    wanted |= {f"attributes.{name}": name for name in card.attributes}
    for key, name in wanted.items():
        if name in manifest.skipped or (name in manifest.pictures and key != "image_column"):
            held = manifest.skipped.get(name, "pictures")
            told = f"{where} {key}: in {file.name} the column '{name}' holds {held}, not text"
            raise InputError(told, "Name another column")
        if name is not None and name not in raw.columns:
            known = [str(c) for c in raw.columns]
            error = unknown("column", name, known, where=f"{where} {key}: in {file.name}")
            if key == "image_column" and not suggest(name, known):
                raise InputError(f"{error} If there are no pictures, state 'pictures: false'.")
            raise error
    for own, key in zip(KEYS, named, strict=True):
        looked_at = card.pictures or key != "image_column"
        if looked_at and own in raw.columns and wanted[key] != own:
            got = f"{key} is {wanted[key]!r}" if wanted[key] else f"{key} is not set"
            told = f"{where}: {file.name} has a column '{own}', a name kept for the table's own"
            advice = f"Set '{key}: {own}' in the card or rename the column"
            raise InputError(f"{told}, and {got}", advice)


def _nth(position: int) -> str:
    return f"row {position + 1} below the header"


def _keys(column: pd.Series, file: Path, what: str, advice: str = "") -> list[str]:
    """A column of ids or paths; a picture without one can't be used, so it is refused."""
    blank = column.isna().to_numpy()
    if blank.any():
        at = _nth(column.index[int(blank.argmax())])
        raise InputError(f"{file}: {at} has no {what}", advice or "Fill it in")
    return [value if type(value) is str else str(value) for value in column]


def _check_unique(ids: list[str], card: Card, places: pd.Index, file: Path) -> None:
    if pd.Index(ids, dtype=object).is_unique:
        return
    first: dict[str, int] = {}
    for i, image_id in enumerate(ids):
        if first.setdefault(image_id, i) != i:
            other = "" if card.id_column else ", or set id_column to a column of unique ids"
            rows = f"rows {places[first[image_id]] + 1} and {places[i] + 1} below the header"
            told = f"{rows} are both '{image_id}'"
            advice = f"Take one of them out{other}"
            raise InputError(f"{file}: {told}, and an id is given once", advice)


def _digest(card: Card, table: pd.DataFrame) -> str:
    """Sha256 over the card and the table; the order of rows and columns doesn't matter."""
    ids = table["image_id"]
    ordered = table if ids.is_monotonic_increasing else table.sort_values("image_id")
    # a key that came later counts where it is used, so that digests of before hold
    unused = {key for key in ("pictures", "show_pictures") if getattr(card, key)} | {"withdrawn"}
    unused |= {
        key
        for key in ("most_per_cluster", "box", "margin", "cluster_also")
        if not getattr(card, key)
    }
    # how it is said in sentences decides nothing
    said = card.model_dump(
        mode="json",
        exclude=dict.fromkeys(unused, True) | {"attributes": {"__all__": {"display"}}},
    )
    content = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for start in range(0, max(len(ordered), 1), _ROWS_AT_ONCE):
        some = ordered.iloc[start : start + _ROWS_AT_ONCE][sorted(table.columns)]
        text = some.to_csv(index=False, header=not start, lineterminator="\n")
        content.update(text.encode())
    return content.hexdigest()

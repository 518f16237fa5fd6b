"""Embed a suite's pictures: all of them, or those of one unit of work (``audit.scale.units``).

Embedding a unit again encodes nothing, and what no unit has embedded a run encodes itself, so
nothing is lost with a machine that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from audit.core.errors import InputError
from audit.core.names import file_names
from audit.engine.askable import require_possible, require_readable, require_sound
from audit.engine.suite import Suite
from audit.models.encoder import Encoder, Recorded
from audit.models.self_check import SelfCheck
from audit.probes.kit.base import Texts
from audit.scale.units import Ledger, Plan, Unit
from audit.store import quarantine
from audit.store.desk import Quarantined
from audit.store.embeddings import Alteration, Embeddings, Store, recorded


class Progress(Protocol):
    """How a run tells how far it is: a stage's name, done and total."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Called often; must be quick."""


def quiet(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


def embed(
    suite: Suite,
    store: Store,
    load_encoder: Callable[[], Encoder],
    unit: Unit | None = None,
    progress: Progress = quiet,
) -> tuple[int, list[Quarantined]]:
    """Embed a suite's pictures, as they are and as its probes alter them; ask nothing.

    Returns:
        How many pictures are embedded, and those that were set aside.

    Raises:
        InputError: as ``carry_out``; or the model's answers are recorded, so there is nothing to
            embed.
    """
    encoder = ready_to_embed(suite, store, load_encoder, progress)
    if unit is not None:
        ledger = ledger_of(suite, store, encoder, unit.of)
        return embed_unit(suite, store, encoder, ledger, unit, progress)
    return embed_pictures(suite, store, encoder, suite.pictures.table, progress)


def embed_pictures(
    suite: Suite, store: Store, encoder: Encoder, table: pd.DataFrame, progress: Progress
) -> tuple[int, list[Quarantined]]:
    """Embed the pictures of some rows of the manifest by a model that is ready; as ``embed``."""
    images, _, failed = _with_alterations(suite, encoder, store, progress, table)
    return len(set(images.keys) - failed.keys()), list(failed.values())


def ready_to_embed(
    suite: Suite, store: Store, load_encoder: Callable[[], Encoder], progress: Progress
) -> Encoder:
    """The model of a suite that resolves, once it is known that it has pictures to embed.

    Raises:
        InputError: as ``embed``.
    """
    suite.resolve()
    encoder, _, _ = ready(suite, store, load_encoder, progress)
    if isinstance(encoder, Recorded):
        told = f"model '{encoder.card.ref}': its answers are recorded, so there is nothing to embed"
        raise InputError(told, "Use 'clip-audit run'")
    return encoder


def ledger_of(suite: Suite, store: Store, encoder: Encoder, units: int) -> Ledger:
    """Which of so many units of a suite's pictures are done, by all that decides what that means.

    Raises:
        InputError: there is no such number of units, or the ledger can't be written.
    """
    about = {
        "data set": suite.pictures.digest,
        "model": encoder.card.fingerprint,
        "alterations": ", ".join(sorted(_wanted(suite))),
    }
    plan = Plan.of(about, suite.pictures.table["image_id"], units)
    return Ledger(store.folder / encoder.card.fingerprint / "units", plan)


def embed_unit(
    suite: Suite,
    store: Store,
    encoder: Encoder,
    ledger: Ledger,
    unit: Unit,
    progress: Progress = quiet,
) -> tuple[int, list[Quarantined]]:
    """Embed the pictures of a unit, and then note in the ledger that it is done; as ``embed``."""
    table = suite.pictures.table
    mine = table[table["image_id"].map(unit.holds)]
    embedded, lost = embed_pictures(suite, store.of_part(str(unit)), encoder, mine, progress)
    ledger.note(unit, embedded, len(lost))
    return embedded, lost


def ready(
    suite: Suite, store: Store, load_encoder: Callable[[], Encoder], progress: Progress
) -> tuple[Encoder, Texts, SelfCheck]:
    """The model, its text side and its self-check, once it is known that it can be asked this."""
    store.open()
    progress("load the model", 0, 1)
    encoder = load_encoder()
    progress("load the model", 1, 1)
    texts = store.text_side(encoder)
    require_possible(suite, encoder)
    require_readable(suite, texts.encode)
    checked = require_sound(suite, encoder, store.root / "self_checks", progress)
    return encoder, texts, checked


@dataclass(frozen=True)
class Pictures:
    """Embeddings of the pictures, as they are and as altered, and the pictures set aside."""

    images: Embeddings
    altered: Mapping[str, Embeddings]
    quarantined: Sequence[Quarantined]


def pictures_of(
    suite: Suite, encoder: Encoder, store: Store, progress: Progress, out: Path
) -> Pictures:
    """Encode what the store doesn't hold; set unusable pictures aside, unless they are many.

    A picture that fails in one alteration only is set aside everywhere, so that all conditions
    are asked about the same pictures.
    """
    table = suite.pictures.table
    images, altered, failed = _with_alterations(suite, encoder, store, progress, table)
    images, *others = (
        part.only([key for key in part.keys if key not in failed]) if failed else part
        for part in (images, *altered.values())
    )
    if len(failed) / len(table) > suite.max_quarantined or not images.keys:
        raise _too_many(suite, list(failed.values()), bool(images.keys), out)
    return Pictures(images, dict(zip(altered, others, strict=True)), list(failed.values()))


def _with_alterations(
    suite: Suite, encoder: Encoder, store: Store, progress: Progress, table: pd.DataFrame
) -> tuple[Embeddings, dict[str, Embeddings], dict[str, Quarantined]]:
    """Pictures as they are, as altered by each alteration's name, and those that failed by id."""
    images, lost = _encode(suite, encoder, store, progress, table)
    altered, failed = {}, {q.image_id: q for q in lost}
    for alteration, keys in _wanted(suite).values():
        rows = table[table["image_id"].isin(keys & set(images.keys))]
        altered[alteration.name], lost = _encode(suite, encoder, store, progress, rows, alteration)
        failed |= {q.image_id: q for q in lost}
    return images, altered, failed


def _wanted(suite: Suite) -> dict[str, tuple[Alteration, set[str]]]:
    """Every alteration that some probe asks for, with the pictures it is to be done to."""
    wanted: dict[str, tuple[Alteration, set[str]]] = {}
    for probe in suite.asked:
        for alteration in probe.alterations():
            _, keys = wanted.setdefault(alteration.name, (alteration, set()))
            keys.update(probe.pictures(suite.pictures))
    return wanted


def _encode(
    suite: Suite,
    encoder: Encoder,
    store: Store,
    progress: Progress,
    table: pd.DataFrame,
    alteration: Alteration | None = None,
) -> tuple[Embeddings, list[Quarantined]]:
    if isinstance(encoder, Recorded):
        return recorded(encoder, *(table[name].tolist() for name in ("image_id", "path")))
    stage = "encode pictures" if alteration is None else f"encode pictures, {alteration.name}"
    return store.images(
        encoder,
        [(str(i), Path(p)) for i, p in zip(table["image_id"], table["path"], strict=True)],
        suite.pictures.root,
        progress=lambda done, total: progress(stage, done, total),
        waiting=lambda said: progress(said, 0, len(table)),
        alteration=alteration,
        dataset=suite.pictures.name,
        clusters=dict(zip(table["image_id"], table["cluster_id"], strict=True)),
    )


def _too_many(
    suite: Suite, quarantined: Sequence[Quarantined], some_left: bool, out: Path
) -> InputError:
    """The sentence for a data set that is mostly unreadable, and the list of its pictures."""
    dataset, first = suite.pictures, quarantined[0]
    allowed = f", more than the {suite.max_quarantined:.0%} that the suite allows"
    listed = out / f"{file_names([suite.name])[suite.name]}-{quarantine.LIST}"
    list_quarantined(listed, suite, quarantined)
    return InputError(
        f"data set '{dataset.name}': {len(quarantined)} of {len(dataset.table)} pictures "
        f"can't be read{allowed if some_left else ', so there is nothing to ask'}",
        f"The first is {first.image_id}: {first.reason}",
        f"All are in {listed}",
        "Mend the files, or raise 'max_quarantined' in the suite" if some_left else "",
    )


def list_quarantined(path: Path, suite: Suite, quarantined: Sequence[Quarantined]) -> None:
    """Write which pictures were set aside, and why, if any were."""
    if quarantined:
        table = suite.pictures.table
        subjects = dict(zip(table["image_id"], table["cluster_id"], strict=True))
        quarantine.write_list(path, quarantined, subjects)

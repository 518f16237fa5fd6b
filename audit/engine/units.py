"""Embed a suite's pictures unit by unit, by workers that somebody else launches.

What a worker is given is a suite, a store and a plan; it loads the rest itself. Whoever launched
what, in which order and how often, every picture is looked up in the store afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from audit.core.errors import AuditError, InputError
from audit.engine.embed import (
    Progress,
    embed_pictures,
    embed_unit,
    ledger_of,
    quiet,
    ready_to_embed,
)
from audit.engine.suite import Suite
from audit.models.encoder import Encoder
from audit.models.families import load
from audit.scale.launch import Launcher, have_done
from audit.scale.units import Ledger, Unit, usual_count
from audit.store.desk import Quarantined
from audit.store.embeddings import Store


@dataclass(frozen=True)
class EmbedUnit:
    """The work of a worker: all it needs to embed a unit of a plan, in few bytes.

    ``suite`` is its JSON, ``plan`` a digest: what the worker finds has to be the same.
    """

    suite: str
    cache: str
    device: str
    plan: str

    def __call__(self, unit: Unit) -> None:
        """Embed the unit.

        Raises:
            InputError: as ``embed``; or pictures, model or libraries are other ones here.
        """
        suite, store, encoder = self._loaded
        ledger = ledger_of(suite, store, encoder, unit.of)
        if ledger.plan.digest != self.plan:
            told = "it is of another plan than this worker's: the manifest, the model, its device "
            told += "in reduced precision, or a library is another one here than where it began"
            advice = "Give all machines the same, and a store that all of them see"
            raise InputError(told, advice)
        embed_unit(suite, store, encoder, ledger, unit)

    @cached_property
    def _loaded(self) -> tuple[Suite, Store, Encoder]:
        suite, store = Suite.model_validate_json(self.suite), Store(Path(self.cache))

        def encoder() -> Encoder:
            return load(suite.model, self.device, suite.precision, decoding=suite.decoding)

        return suite, store, ready_to_embed(suite, store, encoder, quiet)


@dataclass(frozen=True)
class Elsewhere:
    """Workers to embed with: who gives them their units, and on which device their models run.

    ``units``: into how many the pictures are parted; by their number if None.
    """

    launch: Launcher
    units: int | None = None
    device: str = "auto"


def embed_by(
    elsewhere: Elsewhere,
    suite: Suite,
    store: Store,
    load_encoder: Callable[[], Encoder],
    progress: Progress = quiet,
) -> tuple[int, list[Quarantined]]:
    """Have a suite's pictures embedded in units; then count all, and embed here what is missing.

    Workers load the suite's model themselves, by its name, and need to see the store and the
    pictures at the same place as this process.

    Returns:
        How many pictures are embedded, and those that were set aside.

    Raises:
        InputError: as ``embed``; a launcher that can't be had; a worker that refuses its unit.
        AuditError: pictures are missing in the end.
    """
    encoder = ready_to_embed(suite, store, load_encoder, progress)
    units = elsewhere.units
    units = usual_count(len(suite.pictures.table)) if units is None else units
    ledger = ledger_of(suite, store, encoder, units)
    cache, plan = str(store.root.absolute()), ledger.plan.digest
    work = EmbedUnit(suite.model_dump_json(), cache, elsewhere.device, plan)
    tell = partial(progress, "embed units")
    for unit in have_done(ledger, elsewhere.launch, work, tell):
        warnings.warn(f"unit {unit}: no worker did it, so it is embedded here", stacklevel=2)
        embed_unit(suite, store, encoder, ledger, unit, progress)
    # a file says that its unit was done; whether each picture still lies there, the store says
    kept, lost = embed_pictures(suite, store, encoder, suite.pictures.table, progress)
    _require_all(ledger, suite, kept + len(lost))
    return kept, lost


def _require_all(ledger: Ledger, suite: Suite, counted: int) -> None:
    """No complete manifest, no run."""
    missing, wanted = ledger.missing(), len(suite.pictures.table)
    if missing or counted != wanted:
        told = f"data set '{suite.pictures.name}': {counted:,} of {wanted:,} pictures are accounted"
        lost = f" for, and of {len(ledger.plan.units):,} units {len(missing):,} are not done"
        raise AuditError(told + lost, "Give the command again: what is done is kept")

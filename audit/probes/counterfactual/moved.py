"""Pairs of pictures that differ in one thing, and how far the change moved the model."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from audit.core.arrays import Flags, Floats, Integers
from audit.core.rows import Array, Row, having
from audit.data.images import Unreadable, decode
from audit.probes.counterfactual.colours import colour_difference
from audit.probes.counterfactual.names import DEMOGRAPHIC, NUISANCE, POOLED
from audit.probes.kit.base import Design, Seen

if TYPE_CHECKING:
    from audit.probes.counterfactual.probe import Counterfactual


@dataclass(frozen=True)
class Kind:
    """A kind of change, or all nuisances together: its name and role, and places of its pairs."""

    name: str
    role: str
    at: Integers

    @property
    def row(self) -> Row:
        """What all of its rows have."""
        return {"condition": self.role, "group": self.name, "n": len(self.at)}


@dataclass(frozen=True)
class Moved:
    """R pairs: ids of both pictures, family, kind; L score changes, flip, step, distance."""

    probe: Counterfactual
    bases: Array
    others: Array
    families: Array
    kinds: Integers
    deltas: Floats
    flips: Flags
    steps: Floats
    distances: Floats

    @classmethod
    def of(cls, probe: Counterfactual, rows: pd.DataFrame, design: Design) -> Moved:
        """From rows in any order; what is drawn together is the cluster of the base picture."""
        kind = {name: i for i, name in enumerate(probe.kinds)}
        label = {text: i for i, text in enumerate(probe.labels.texts)}
        coded = rows.assign(kind=rows["changed"].map(kind), at=rows["label"].map(label))
        coded = coded.sort_values(["kind", "other_id", "image_id", "at"], kind="stable")
        first = having(coded, at=0)
        groups = design.groups
        clusters = groups.clusters[groups.at(first["image_id"])]
        return cls(
            probe,
            bases=first["image_id"].to_numpy(str),
            others=first["other_id"].to_numpy(str),
            families=np.array(groups.cluster_ids)[clusters],
            kinds=first["kind"].to_numpy(np.int64),
            deltas=coded["delta"].to_numpy(np.float64).reshape(len(first), len(label)),
            flips=first["flipped"].to_numpy(bool),
            steps=first["step"].to_numpy(np.float64),
            distances=first["distance"].to_numpy(np.float64),
        )

    @cached_property
    def sizes(self) -> Floats:
        """Size of each label's change, and last their mean, (R, L + 1)."""
        size = np.abs(self.deltas)
        return np.column_stack([size, size.mean(axis=1)])

    @cached_property
    def every_kind(self) -> tuple[Kind, ...]:
        """The kinds asked about, the demographic ones first, and last all nuisances together."""
        first = len(self.probe.demographic)
        kinds = [
            Kind(name, DEMOGRAPHIC if k < first else NUISANCE, np.flatnonzero(self.kinds == k))
            for k, name in enumerate(self.probe.kinds)
        ]
        if self.probe.nuisance:
            kinds.append(Kind(POOLED, NUISANCE, np.flatnonzero(self.kinds >= first)))
        return tuple(kinds)

    @cached_property
    def stacked(self) -> tuple[Integers, Integers]:
        """Places and kinds of the pairs, those of nuisances again as one more kind."""
        at = [kind.at for kind in self.every_kind]
        return np.concatenate(at), np.repeat(np.arange(len(at)), [len(one) for one in at])

    def colours(self, seen: Seen) -> tuple[Floats, str]:
        """Colour difference of each pair, (R, 2): whole and middle; nan for the reason beside it.

        Pictures of whole families are opened, in an order that the seed and their names decide.
        """
        value = np.full((len(self.kinds), 2), np.nan)
        paths, root = seen.column("path"), seen.dataset.root
        bases, family = np.unique(self.bases, return_inverse=True)
        order = np.argsort([zlib.crc32(f"{seen.seed} {b}".encode()) for b in bases], kind="stable")
        left, why = self.probe.colours, "'colours' allows too few pictures for a family"
        for f in order:
            at = np.flatnonzero(family == f)
            left -= 1 + len(at)
            if left < 0:
                break
            try:
                base = decode(paths[bases[f]], root)
            except Unreadable as error:
                why = f"pictures can't be opened: {error.reason}"
                continue
            for i in at:
                try:
                    value[i] = colour_difference(base, decode(paths[self.others[i]], root))
                except Unreadable as error:
                    why = f"pictures can't be opened: {error.reason}"
        return value, why if self.probe.colours else "'colours' is 0"

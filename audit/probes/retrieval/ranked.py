"""Who stands where in the ranking of every query, and of which groups they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.core.tables import OK
from audit.measure.metrics import standing
from audit.probes.kit.base import Design
from audit.probes.retrieval.names import UNKNOWN
from audit.stats import parity


@dataclass(frozen=True)
class Ranked:
    """Who is ranked for an attribute: groups large enough, the code of every picture in them.

    ``every``: all groups, ``whose`` the place of each picture's among them, -1 where
    its group is unknown. ``left_out``: who is in no ranking, and why.
    """

    attribute: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]
    clusters: NDArray[np.int64]
    every: tuple[str, ...]
    whose: NDArray[np.int64]
    left_out: str

    @classmethod
    def of(cls, attribute: str, design: Design) -> Ranked:
        """The groups of an attribute that are compared; clusters are numbered as the draws are."""
        groups = design.groups
        at = groups.columns(attribute)
        member = groups.member[:, at]
        clusters = design.draws.rows(groups.clusters)
        subjects = np.array([np.unique(clusters[of]).size for of in member.T], dtype=np.int64)
        sizes = member.sum(axis=0)
        status, reason = standing(sizes, subjects, design.confidence.min_group)
        usable = np.asarray(status == OK)
        named = groups.index.get_level_values("group")[at]
        whose, codes = _codes(member), _codes(member[:, usable])
        why = np.where(sizes == 0, "no picture", reason.astype(str))
        out = [f"{named[int(g)]} ({why[g]})" for g in np.flatnonzero(~usable)]
        out += [UNKNOWN] * bool((whose < 0).any())
        told = ", ".join(out)
        return cls(attribute, tuple(named[usable]), codes, clusters, tuple(named), whose, told)

    @property
    def not_ranked(self) -> str:
        """Who is in no ranking, as the end of a sentence; blank if all are in it."""
        return f"; not ranked by {self.attribute}: {self.left_out}" if self.left_out else ""

    def of_two(self, names: Sequence[str]) -> NDArray[np.int64] | None:
        """Codes of all pictures: in the first group, in the second, or NEITHER; None if not two."""
        if len(names) != 2 or not {*names} <= {*self.names}:
            return None
        both = np.array([self.every.index(name) for name in names])[:, np.newaxis]
        return np.where(
            (self.whose == both).any(axis=0), (self.whose == both[1]) * 1, parity.NEITHER
        )

    def neither(self, names: Sequence[str]) -> str:
        """Whose pictures are of neither of two groups."""
        here = np.unique(self.whose)
        others = [self.every[g] for g in here if g >= 0 and self.every[g] not in names]
        return ", ".join(others + [UNKNOWN] * bool(here[0] < 0))


def _codes(member: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The group of each picture by membership (n, g), -1 where it is in none."""
    return np.where(member.any(axis=1), member.argmax(axis=1) if member.size else 0, -1)

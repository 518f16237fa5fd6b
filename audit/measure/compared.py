"""The groups of one attribute on the questions of a metric, and what comparing them needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from audit.core.arrays import Integers
from audit.core.rows import Array, Fields, Row
from audit.core.schema import Columns
from audit.core.tables import DISPARITIES, NOT_JUDGED, OK, REST, TOO_FEW, UNDEFINED
from audit.measure import intersections
from audit.measure.confidence import Confidence
from audit.measure.metrics import QUESTION, Asked, Block, Groups, standing
from audit.stats.clustered import Sample, effective_n
from audit.stats.gaps import Claims, Margins, Pairs, judge, simultaneous
from audit.stats.multiplicity import Families
from audit.stats.pooling import Pooled
from audit.stats.power import detectable_difference
from audit.stats.samples import pick_groups


@dataclass(frozen=True)
class Compared:
    """The groups of one attribute on the questions of one metric and condition, side by side.

    ``with_rest``: from three groups on, also everyone else of each. ``every``: the sample of all
    groups of the suite, if it is at hand and nobody else is asked for.
    """

    groups: Groups
    attribute: str
    block: Block
    asked: Asked
    confidence: Confidence
    with_rest: bool = True
    every: Sample | None = None

    @cached_property
    def size(self) -> int:
        """How many groups there are."""
        return len(self.groups.columns(self.attribute))

    @cached_property
    def names(self) -> list[str]:
        """The groups, then (from three on) everyone else of each."""
        at = self.groups.columns(self.attribute)
        named = [str(name) for name in self.groups.index.get_level_values("group")[at]]
        return named + ([REST] * len(named) if self._rest else [])

    @property
    def _rest(self) -> bool:
        return self.with_rest and self.size > 2

    @cached_property
    def sample(self) -> Sample:
        """The groups, then everyone else of each."""
        at = self.groups.columns(self.attribute)
        if self.every is not None:
            return pick_groups(self.every, at)
        return self.block.counts.sample(at, rest=self._rest)

    @cached_property
    def standing(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Status and reason of each group; the rest counts whoever there is."""
        s = self.sample
        status, reason = standing(s.n, s.subjects, self.confidence.min_group)
        rest = np.array([name == REST for name in self.names])
        alone = (s.subjects <= 1) & (s.n > 0)
        for_rest = np.where(s.n == 0, UNDEFINED, np.where(alone, TOO_FEW, OK))
        told = {UNDEFINED: "no picture outside this group", TOO_FEW: "all of one subject", OK: ""}
        reasons = np.vectorize(told.get, otypes=[object])(for_rest)
        return np.where(rest, for_rest, status), np.where(rest, reasons, reason)

    @cached_property
    def pairs(self) -> Pairs:
        """Every pair of groups."""
        return Pairs.of(self.standing[0][:, : self.size] == OK, self.names[: self.size])

    @cached_property
    def against_rest(self) -> Pairs:
        """From three groups on, every group against the rest."""
        every = np.arange(self.size if self._rest else 0)
        ok = self.standing[0] == OK
        return replace(
            self.pairs,
            one=every,
            other=every + self.size,
            usable=ok[:, every] & ok[:, every + self.size],
        )

    @cached_property
    def comparisons(self) -> Pairs:
        """Every pair, then every group against the rest."""
        sides = (self.pairs, self.against_rest)
        one, other = (np.concatenate([getattr(s, n) for s in sides]) for n in ("one", "other"))
        usable = np.hstack([side.usable for side in sides])
        return replace(self.pairs, one=one, other=other, usable=usable)

    @cached_property
    def margins(self) -> Margins:
        """The margins of every question."""
        return self.confidence.margins_of(self.block.families)

    @cached_property
    def claims(self) -> Claims:
        """What the pairs say of the largest gap of each question."""
        groups = pick_groups(self.sample, np.arange(self.size))
        return judge(groups, self.pairs, self.margins, self.confidence.level)

    @cached_property
    def found(self) -> Sequence[Families]:
        """The family of pairs and that of groups against the rest, of each question."""
        rest = self.against_rest
        if not rest.one.size:
            return [self.claims.found]
        level = self.confidence.level
        levels = np.full(len(self.block.labels), level)
        found = simultaneous(self.sample, rest.one, rest.other, rest.usable, levels, level)
        return [self.claims.found, found]

    def of_all(self, value: Callable[[Families], Array]) -> Array:
        """A value (Q, P) or (Q, 1) of each family, side by side for all comparisons."""
        sides = (self.pairs, self.against_rest)
        parts = [
            np.broadcast_to(value(family), side.usable.shape)
            for family, side in zip(self.found, sides, strict=False)
        ]
        return np.hstack(parts)

    @cached_property
    def repeats(self) -> NDArray[np.bool_]:
        """Whether subjects have several pictures among those compared, of each comparison."""
        sides = [side for side in (self.pairs, self.against_rest) if side.one.size]
        several = [np.full(s.one.size, self.sample.repeats(s.one, s.other)) for s in sides]
        return np.concatenate(several)

    def family(self, rest: bool = False) -> NDArray[np.object_]:
        """What the bounds of each question hold over, (Q, 1)."""
        over = f"{self.attribute}, against the rest" if rest else self.attribute
        named = [f"{self.asked[1]}, {self.asked[3]}: {x}, by {over}" for x in self.block.labels]
        return np.array(named, dtype=object)[:, np.newaxis]

    def table(self, columns: Fields, pairs: tuple[Integers, Integers] | None = None) -> Columns:
        """Rows of questions by comparisons from arrays (Q, P); ``pairs`` are group indices."""
        q = len(self.block.labels)
        if pairs is None:
            compared = self.comparisons.one, self.comparisons.other
            one, other = (np.broadcast_to(side, (q, len(side))) for side in compared)
        else:
            one, other = pairs
        p, at, names = one.shape[1], np.arange(q)[:, np.newaxis], np.array(self.names, dtype=object)
        sides = {
            f"{name}{end}": getattr(self.sample, name)[at, side]
            for name in ("n", "subjects", "events")
            for end, side in (("", one), ("_other", other))
        }
        every: Row = dict(zip(QUESTION, self.asked, strict=False)) | {
            "label": np.array(self.block.labels, dtype=object)[:, np.newaxis],
            "margin_family": np.array(self.block.families, dtype=object)[:, np.newaxis],
            "attribute": self.attribute,
            "group": names[one],
            "other": names[other],
            "level": self.confidence.level,
            "family": self.family(),
            "status": OK,
            "verdict": NOT_JUDGED,
        }
        return DISPARITIES.laid_out(every | sides | dict(columns), (q, p))

    @cached_property
    def pooled(self) -> Pooled:
        """Rates of an intersection's cells, drawn towards what its attributes add up to."""
        at = np.arange(len(self.groups.columns(self.attribute)))
        names = [self.names[i] for i in at]
        return intersections.pooled(self.sample, at, names, self.confidence.level)

    @cached_property
    def compared_pooled(self) -> intersections.Comparisons | None:
        """The comparisons of pooled rates, for an intersection."""
        if " x " not in self.attribute or self.size < 4:
            return None
        c = self.comparisons
        return intersections.compare_pooled(
            self.pooled, self.sample, (c.one, c.other), c.usable, self.confidence.level
        )

    @cached_property
    def detectable(self) -> NDArray[np.float64]:
        """The smallest detectable gap of each usable comparison."""
        return np.where(self.comparisons.usable, _detectable(self), np.nan)


def _detectable(groups: Compared) -> NDArray[np.float64]:
    """The larger of both directions, at the effective sizes: either group may be the one."""
    one, other = groups.comparisons.one, groups.comparisons.other
    s, c = groups.sample, groups.confidence
    size = np.minimum(effective_n(s, c.level), s.n)
    n, n_other = size[:, one], size[:, other]
    base = (s.events[:, one] + s.events[:, other]) / np.maximum(s.n[:, one] + s.n[:, other], 1)
    levels = groups.of_all(lambda f: f.levels)
    sizes, sizes_other = np.stack([n, n_other]), np.stack([n_other, n])
    found = detectable_difference(sizes, sizes_other, base, level=levels, power=c.power)
    return np.asarray(found.max(axis=0))

"""Estimates from families of pictures: bounds, tests and statuses of several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Flags, Floats, Integers
from audit.core.rows import Array
from audit.core.tables import OK, TOO_FEW, UNDEFINED
from audit.stats.multiplicity import ENOUGH, bounds_at, joint_level
from audit.stats.resampling import cluster_weights

FAMILIES_AT_ONCE = 1024  # of which bootstrap weights are held, 8 MB at 2,000 replicates
AT_ONCE = 512  # effects a block: bounds memory at 2,000 replicates to a few MB
ROUNDING = 1e-9  # of the size of values: a spread that is not above it is that of rounding
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Effects:
    """K kinds of change, or comparisons of them, on L labels; arrays (K, L), nan with a reason.

    ``error``: standard error over families. ``low, high`` hold for one effect, ``low_all,
    high_all`` for all of the table at once. ``p`` of no effect; ``q`` adjusted for the table: below
    alpha where the simultaneous bounds leave out 0. ``families`` that count, and the ``degrees`` of
    freedom of the error. ``levels``: of each simultaneous bound. ``status`` and ``reason``.
    """

    value: Floats
    error: Floats
    low: Floats
    high: Floats
    low_all: Floats
    high_all: Floats
    p: Floats
    q: Floats
    families: Integers
    degrees: Floats
    levels: Floats
    status: Texts
    reason: Texts


def levels_of(largest: Floats, usable: Flags, studentised: Flags, level: float) -> Floats:
    """The level of each effect's bounds that lets those of the whole table hold together."""
    total = int(usable.sum())
    each = joint_level(largest, level, int(studentised.sum()), total)
    return np.where(studentised, each, 1 - (1 - level) / max(total, 1))


@dataclass(frozen=True)
class Estimates:
    """Estimates (K, L) and by how much each family moves them, (F, K, L); ``families`` (K,).

    ``lean``: skewness of what families do, over the root of their number.
    """

    value: Floats
    moved: Floats
    error: Floats
    degrees: Floats
    families: Integers
    lean: Floats

    def reach(self, level: Floats | float) -> tuple[Floats, Floats]:
        """How far the bounds lie from the value downwards and upwards, in errors."""
        t = -special.stdtrit(self.degrees, (1 - np.asarray(level)) / 2)
        return self._unlean(t), -self._unlean(-t)

    def _unlean(self, t: Floats) -> Floats:
        lean = np.where(np.abs(self.lean) > ROUNDING, self.lean, np.nan)
        bent = 3 / lean * (np.cbrt(1 + lean * (t - lean / 6)) - 1)
        return np.asarray(np.where(np.isnan(lean), t, bent))

    @property
    def p(self) -> Floats:
        """Of 0: the level at which a bound is just there."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = self.value / self.error
            straight = t + self.lean * t**2 / 3 + self.lean**2 * t**3 / 27 + self.lean / 6
        return np.asarray(2 * special.stdtr(self.degrees, -np.abs(straight)))


def estimates(value: Floats, moved: Floats, families: Integers) -> Estimates:
    """With the error and the degrees of freedom that the families' moves give."""
    f = families[:, np.newaxis].astype(np.float64)
    second, fourth = (moved**2).sum(axis=0), (moved**4).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.where(f > 1, second * f / (f - 1), np.nan))
        # the variance of a variance: 2 F / (k - 1) degrees for a kurtosis k
        rests_on = 2 * f / np.maximum(f * fourth / second**2 - 1, 1e-9)
        degrees = np.where(f > 1, np.fmin(f - 1, rests_on), np.nan)
    return Estimates(value, moved, error, degrees, families, lean_of(moved))


def lean_of(moved: Floats) -> Floats:
    """Skewness of what families do, over the root of their number, (K, L)."""
    second = (moved**2).sum(axis=0)
    return np.asarray((moved**3).sum(axis=0) / np.where(second > 0, second, 1.0) ** 1.5)


def effects_of(
    found: Estimates,
    ids: Sequence[object],
    level: float,
    seed: int,
    resamples: int,
    none: npt.ArrayLike = "",
) -> Effects:
    """Intervals and tests of estimates, each alone and all at once; ``none`` (K,) says why not."""
    status, reason, rows = _statuses(found, np.broadcast_to(none, found.families.shape))
    value = np.where(rows, found.value, np.nan)
    usable = status == OK
    error = np.where(usable, found.error, np.nan)
    p = np.where(usable, found.p, np.nan)
    studentised = usable & (found.families >= ENOUGH)[:, np.newaxis]
    largest = _largest(found.moved, studentised, ids, seed, resamples)
    levels = levels_of(largest, usable, studentised, level)

    def interval(at: float) -> tuple[Floats, Floats]:
        down, up = found.reach(at)
        return value - down * error, value + up * error

    alone, together = interval(level), bounds_at(levels, usable, interval)
    q = _adjusted(p, largest, usable, studentised)
    counts = np.broadcast_to(found.families[:, np.newaxis], value.shape)
    return Effects(
        value, error, *alone, *together, p, q, counts, found.degrees, levels, status, reason
    )


def _statuses(found: Estimates, none: Array) -> tuple[Texts, Texts, Flags]:
    """Status and reason of each estimate, and whether it has a value."""
    families, why = found.families[:, np.newaxis], none[:, np.newaxis]
    known = (families > 0) & (why == "") & ~np.isnan(found.value)
    scale = np.abs(found.moved).max(axis=0, initial=0.0) * found.families[:, np.newaxis]
    alike = ~(scale > ROUNDING * np.abs(found.value))
    apart = [why != "", families == 0, families == 1, ~known | np.isnan(found.error), alike]
    reasons = [
        why,
        "no family has this change",
        "only one family has this change",
        "too few families differ in step",
        "all families change by the same: nothing tells how sure that is",
    ]
    shape = found.value.shape
    reason = np.select(apart, [np.broadcast_to(np.asarray(r), shape) for r in reasons], "")
    states = [UNDEFINED, UNDEFINED, TOO_FEW, TOO_FEW, UNDEFINED]
    status = np.select(apart, [np.full(shape, s) for s in states], OK)
    return status, reason, known


def _largest(
    moved: Floats, studentised: Flags, ids: Sequence[object], seed: int, resamples: int
) -> Floats:
    """The largest studentised deviation of each replicate, (B,)."""
    each = moved[:, studentised].astype(np.float32).T
    largest = np.zeros(resamples)
    if not (each.size and resamples):
        return largest
    weights = cluster_weights(seed, ids, resamples)
    for start in range(0, len(each), AT_ONCE):
        rows = each[start : start + AT_ONCE]
        deviation = np.zeros((len(rows), resamples), np.float32)
        for first in range(0, len(ids), FAMILIES_AT_ONCE):
            at = slice(first, first + FAMILIES_AT_ONCE)
            deviation += rows[:, at] @ (weights[at].astype(np.float32) - 1)
        size = np.sqrt((deviation**2).mean(axis=1))
        np.maximum(largest, np.abs(deviation / size[:, np.newaxis]).max(axis=0), out=largest)
    return largest


def _adjusted(p: Floats, largest: Floats, usable: Flags, studentised: Flags) -> Floats:
    """The q by the maximum over the table, Bonferroni's where that is smaller or there is none."""
    total = int(usable.sum())
    q = np.minimum(p * total, 1.0)
    z = -special.ndtri(p[studentised] / 2)
    beyond = largest.size - np.searchsorted(np.sort(largest), z)
    share = (1 + beyond) / (largest.size + 1) * total / max(int(studentised.sum()), 1)
    q[studentised] = np.maximum(np.minimum(q[studentised], share), p[studentised])
    return np.where(usable, q, np.nan)

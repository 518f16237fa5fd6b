"""Families of pictures in which one thing was changed: what moves a score, and by how much?

Each changed picture stands beside the original of its family; everything else in it is the same. So
a family is one observation: the means of its pairs are compared, and intervals, tests and the
bootstrap take whole families. A kind of change is large or small by its own right: skin tone is
compared with light only at steps of a stated size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse, special

from audit.core.errors import InputError, sentence
from audit.core.rows import Array
from audit.core.tables import OK, TOO_FEW, UNDEFINED
from audit.stats.clustered import Floats, Integers, Sample, rate_interval
from audit.stats.counts import sample_of
from audit.stats.multiplicity import ENOUGH, Family, bounds_at, compare, joint_level
from audit.stats.resampling import cluster_weights

Flags = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]

ORIGINAL: Final = -1
"""Code of the picture of a family in which nothing was changed."""

_FAMILIES_AT_ONCE = 1024  # of which bootstrap weights are held, 8 MB at 2,000 replicates
_AT_ONCE = 512  # effects a block: bounds memory at 2,000 replicates to a few MB
_ROUNDING = 1e-9  # of the size of values: a spread that is not above it is that of rounding


@dataclass(frozen=True)
class Pairs:
    """Each changed picture with the original of its family: positions and codes, (R,) each."""

    original: Integers
    changed: Integers
    family: npt.NDArray[np.generic]
    kind: Integers


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


@dataclass(frozen=True)
class Flips:
    """Flip rates, arrays (K, Q); see ``Effects``. ``sample``: for comparisons, (Q, K)."""

    value: Floats
    low: Floats
    high: Floats
    low_all: Floats
    high_all: Floats
    pairs: Integers
    families: Integers
    status: Texts
    reason: Texts
    sample: Sample


@dataclass(frozen=True)
class Comparison:
    """Effects of some kinds less those of others, (P, L), and how they were compared, (P,).

    ``paired``: within families that have both; else between families that have one of them.
    ``left_out``: families that have only one of them and do not count.
    """

    effects: Effects
    paired: Flags
    left_out: Integers


@dataclass(frozen=True)
class DoseResponse:
    """Score change by size of step, (K, L).

    ``slope``: of the line through the origin, for each unit of step. ``intercept``: of the line
    that need not go through it, undefined without two sizes of step; away from 0 it says that the
    response is not in proportion to the step, and that a slope depends on the steps chosen.
    ``steps``: distinct sizes of step of each kind, (K,).
    """

    slope: Effects
    intercept: Effects
    steps: Integers


@dataclass(frozen=True)
class Ranking:
    """Kinds of change by their effect for each unit of step; arrays (K, L).

    ``rank``: 1 the largest; ``best, worst``: the ranks that the simultaneous bounds of all
    differences leave open. nan without a step; ``reason`` says so. ``differences``: of ``pairs`` of
    kinds.
    """

    rank: Floats
    best: Floats
    worst: Floats
    reason: tuple[str, ...]
    pairs: tuple[Integers, Integers]
    differences: Effects


# ---- pairs -------------------------------------------------------------------------------------


def pairs(families: npt.ArrayLike, kinds: npt.ArrayLike) -> Pairs:
    """Pair every changed picture with the original of its family.

    Args:
        families: Family of each picture, (n,): any ids.
        kinds: What was changed in it, (n,), from 0; ``ORIGINAL`` where nothing was.

    Raises:
        InputError: Lengths that differ, a family of one picture, without an original, with several
            or with nothing else.
    """
    names, kind = np.asarray(families), np.asarray(kinds, dtype=np.int64)
    if names.ndim != 1 or names.shape != kind.shape:
        got = f"pairs: families of shape {names.shape}, kinds of shape {kind.shape}"
        raise InputError(sentence(got, "Give one family and one kind of change a picture"))
    if kind.size and kind.min() < ORIGINAL:
        raise InputError(sentence(f"pairs: a kind {kind.min()}", "Kinds are from 0, originals -1"))
    ids, family = np.unique(names, return_inverse=True)
    size = np.bincount(family, minlength=ids.size)
    first = np.bincount(family[kind == ORIGINAL], minlength=ids.size)
    _refuse(ids, size == 1, "has one picture", "Nothing can be compared in it: leave it out")
    _refuse(ids, first == 0, "has no original", "Mark the picture in which nothing was changed")
    _refuse(ids, first > 1, "has several originals", "Mark one, or give each a family of its own")
    original = np.zeros(ids.size, np.int64)
    original[family[kind == ORIGINAL]] = np.flatnonzero(kind == ORIGINAL)
    changed = np.flatnonzero(kind != ORIGINAL)
    return Pairs(original[family[changed]], changed, names[changed], kind[changed])


def _refuse(ids: npt.NDArray[np.generic], wrong: Flags, what: str, then: str) -> None:
    if wrong.any():
        others = f" ({int(wrong.sum())} families do)" if wrong.sum() > 1 else ""
        raise InputError(sentence(f"families: '{ids[wrong][0]}' {what}{others}", then))


# ---- flips -------------------------------------------------------------------------------------


def flip_rates(
    flips: npt.ArrayLike,
    families: npt.ArrayLike,
    kinds: npt.ArrayLike,
    number: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Flips:
    """Share of changed pictures for which the label is another than for the original.

    Formula: flips over pairs, with the interval of ``clustered.rate_interval`` over families:
    Wilson's or the exact one at the effective number of pairs. Simultaneous bounds at
    ``multiplicity.joint_level`` of the largest studentised deviation; rates with fewer than 10
    effective flips, or non-flips, keep their Bonferroni share.
    Range: 0 (nothing depends on what was changed) to 1. Does not show: towards which label; by how
    much the score moved; which kind of change matters more, unless the steps are alike.

    Args:
        flips: Whether the answer changed, (R, Q): of each pair to each of Q questions.
        families: Family of each pair, (R,): any ids.
        kinds: What was changed, (R,), from 0.
        number: Kinds of change K.
        level: Two-sided level of each interval, and of all simultaneous bounds together.
        seed: Of the bootstrap.
        resamples: Replicates.

    Raises:
        InputError: Shapes that do not fit, a kind out of range.
    """
    happened, kind = np.asarray(flips, dtype=bool), _kinds(kinds, number)
    if happened.ndim != 2:
        raise InputError(sentence(f"flip_rates: flips of shape {happened.shape}", "Give (R, Q)"))
    sample = sample_of(happened, kind, families, number, seed, resamples)
    low, high = rate_interval(sample, level)
    usable = ~np.isnan(low)
    levels = _rate_levels(sample, usable, level)
    low_all, high_all = bounds_at(levels, usable, lambda at: rate_interval(sample, at))
    status = np.where(sample.n == 0, UNDEFINED, np.where(usable, OK, TOO_FEW))
    reason = np.where(sample.n == 0, "no family has this change", "only one family has this change")
    bounds = low.T, high.T, low_all.T, high_all.T
    why = np.where(status == OK, "", reason)
    counts = sample.n.T, sample.subjects.T
    return Flips(sample.rate.T, *bounds, *counts, status.T, why.T, sample)


def compare_flips(
    flips: Flips, one: npt.ArrayLike, other: npt.ArrayLike, level: float = 0.95
) -> Family:
    """Flip rates of some kinds of change against those of others, on all questions at once.

    Differences are paired where families have both: the bootstrap moves a family's pairs together
    (``multiplicity.compare``). Arrays of the result are (Q, P). Does not show: which kind matters
    more, unless the steps are alike; see ``rank_kinds``.

    Args:
        flips: Of ``flip_rates``, with a bootstrap.
        one: P kinds, the demographic ones, say.
        other: The kinds they are compared with, the nuisance ones.
        level: Two-sided level of each interval, and of all simultaneous bounds together.
    """
    first, second = np.atleast_1d(np.asarray(one)), np.atleast_1d(np.asarray(other))
    defined = (flips.status == OK).T
    return compare(flips.sample, first, second, defined[:, first] & defined[:, second], level)


def _rate_levels(sample: Sample, usable: Flags, level: float) -> Floats:
    """The level of each rate's bound so that all of them hold together."""
    assert sample.deviations is not None
    size = np.sqrt(np.einsum("qgb,qgb->qg", sample.deviations, sample.deviations))
    size /= np.sqrt(sample.deviations.shape[-1])
    studentised = usable & (sample.effective_events >= ENOUGH) & (size > 0)
    largest = np.zeros(sample.deviations.shape[-1])
    for q, g in zip(*np.nonzero(studentised), strict=True):
        np.maximum(largest, np.abs(sample.deviations[q, g]) / size[q, g], out=largest)
    return _levels(largest, usable, studentised, level)


def _levels(largest: Floats, usable: Flags, studentised: Flags, level: float) -> Floats:
    total = int(usable.sum())
    each = joint_level(largest, level, int(studentised.sum()), total)
    return np.where(studentised, each, 1 - (1 - level) / max(total, 1))


# ---- score changes -----------------------------------------------------------------------------


def mean_changes(
    deltas: npt.ArrayLike,
    families: npt.ArrayLike,
    kinds: npt.ArrayLike,
    number: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Effects:
    """Mean change of each label's score, for each kind of change.

    Formula: with m_f the mean over the pairs of one kind in family f, the mean of m over the F
    families that have it, and Student's t interval in two ways corrected: degrees of freedom are
    ``min(F - 1, 2 F / (k - 1))`` with k the kurtosis of m, so that a spread that rests on a few
    families is not trusted as if it rested on all; and Hall's cubic takes the skewness out of the
    statistic, ``t + g t²/3 + g² t³/27 + g/6`` with g the skewness over sqrt(F). Simultaneous bounds
    at ``multiplicity.joint_level`` of the families' bootstrap, never wider than Bonferroni's; fewer
    than 10 families keep their Bonferroni share. q is of the same maximum (single step).
    Range: units of the score; above 0 the changed picture has the higher score. Simulated coverage
    at 95 %: normal, half-normal and exponential changes 94 to 96 % from 10 families on, 92 % for 5;
    log-normal (skewness 6) 93 % from 20 on, 90 % for 10, 88 % for 5; Student's with 3 degrees 94 %.
    Where one family in ten moves and the others not at all, 65 % for 10 families, 87 % for 20, 95 %
    from 50 on: what no family shows cannot be allowed for. All of 6 to 160 normal effects together:
    94 %; of 30 from 20 families 91 %.
    Does not show: changes that cancel over families (give ``|deltas|`` for their size); what a
    change of another size would do.

    Args:
        deltas: Score of the changed picture less that of the original, (R, L): similarities, or
            softmax shares.
        families: Family of each pair, (R,): any ids.
        kinds: What was changed, (R,), from 0.
        number: Kinds of change K.
        level: Two-sided level of each interval, and of all simultaneous bounds together.
        seed: Of the bootstrap.
        resamples: Replicates.

    Raises:
        InputError: Shapes that do not fit, a kind out of range, a number that is not finite.

    Source:
        Hall (1992), JRSS B 54, 221-228 (skewness); Satterthwaite (1946), Biometrics Bulletin 2,
        110-114 (degrees of freedom); Westfall, Young (1993), Resampling-Based Multiple Testing.
    """
    table, ids = _family_means(deltas, families, kinds, number)
    return _effects(_of_means(table), ids, level, seed, resamples)


def sign_test(
    deltas: npt.ArrayLike, families: npt.ArrayLike, kinds: npt.ArrayLike, number: int
) -> Floats:
    """Sign test: p-values that a family's mean change is as often up as down, (K, L).

    Formula: of the families whose mean is not 0, the two-sided exact binomial p at 1/2 of how many
    go up. Nothing is assumed of the sizes.
    Range: 0 to 1; 1 where nothing moves; nan where no family has the change. It is never below
    ``2 / 2**F``. Does not show: how large the change is.

    Args:
        deltas: Score of the changed picture less that of the original, (R, L).
        families: Family of each pair, (R,): any ids.
        kinds: What was changed, (R,), from 0.
        number: Kinds of change K.

    Raises:
        InputError: Shapes that do not fit, a kind out of range, a number that is not finite.
    """
    table, _ = _family_means(deltas, families, kinds, number)
    up, down = (table > 0).sum(axis=0), (table < 0).sum(axis=0)
    p = np.minimum(2 * special.bdtr(np.minimum(up, down), up + down, 0.5), 1.0)
    return np.where(np.isnan(table).all(axis=0), np.nan, p)


def compare_changes(
    deltas: npt.ArrayLike,
    families: npt.ArrayLike,
    kinds: npt.ArrayLike,
    one: npt.ArrayLike,
    other: npt.ArrayLike,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Comparison:
    """How much further some kinds of change move the scores than others: |delta| less |delta|.

    Formula: with a_f and b_f the mean absolute change of the two kinds in family f, the mean of
    ``a_f - b_f`` over families that have both, with the interval of ``mean_changes``. Where fewer
    than two families have both, the difference of the two means over families that have one, with
    Welch's error and degrees of freedom.
    Range: units of the score; above 0 ``one`` moves it further. Does not show: that one kind
    matters more: a larger step moves more. Compare at steps of one size, or by ``dose_response``.

    Args:
        deltas: Score of the changed picture less that of the original, (R, L).
        families: Family of each pair, (R,): any ids.
        kinds: What was changed, (R,), from 0.
        one: P kinds, the demographic ones, say.
        other: The kinds they are compared with, the nuisance ones.
        level: Two-sided level of each interval, and of all simultaneous bounds together.
        seed: Of the bootstrap.
        resamples: Replicates.

    Raises:
        InputError: Shapes that do not fit, a kind out of range, a number that is not finite.

    Source:
        Welch (1947), Biometrika 34, 28-35; see ``mean_changes``.
    """
    a, b = _two(one, other)
    kind = np.asarray(kinds, np.int64)
    number = 1 + max(int(codes.max(initial=-1)) for codes in (kind, a, b))
    table, ids = _family_means(np.abs(np.asarray(deltas, np.float64)), families, kind, number)
    there = ~np.isnan(table[:, :, 0])
    both = there[:, a] & there[:, b]
    paired = both.sum(axis=0) >= 2
    within = _of_means(np.where(both[:, :, np.newaxis], table[:, a] - table[:, b], np.nan))
    found = _either(paired, within, _apart(_of_means(table), a, b))
    left_out = np.where(paired, (there[:, a] != there[:, b]).sum(axis=0), 0)
    return Comparison(_effects(found, ids, level, seed, resamples), paired, left_out)


# ---- size of the step --------------------------------------------------------------------------


def dose_response(
    changes: npt.ArrayLike,
    families: npt.ArrayLike,
    kinds: npt.ArrayLike,
    steps: npt.ArrayLike,
    number: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> DoseResponse:
    """Change of each label's score for each unit of step, for each kind of change.

    Formula: ``b = sum d y / sum d²`` over pairs with step d and change y: the least-squares line
    through the origin, since a step of 0 is the original itself, whose score does not change.
    Beside it the intercept of the line that is free to miss the origin. Errors by leaving out one
    family at a time (jackknife), with Student's t as in ``mean_changes``.
    Range: units of the score for each unit of step. Comparable between kinds only if d is measured
    in the same way, as a distance in the picture is. Simulated
    coverage of the slope at 95 %: 94 to 95 % for steps alike in all families; where they differ
    (log-normal, 0.6) and so do the families' own slopes, 90 % or more for 4 to 50 families; of the
    intercept 89 % or more.
    Does not show: the shape of the response beyond a line; anything between kinds where d is a
    setting (degrees, lux) of its own.

    Args:
        changes: Of the score, (R, L): signed for a direction, absolute for a size.
        families: Family of each pair, (R,): any ids.
        kinds: What was changed, (R,), from 0.
        steps: Size of each change, (R,), from 0; nan where not known, and the kind has no slope.
        number: Kinds of change K.
        level: Two-sided level of each interval, and of all simultaneous bounds together.
        seed: Of the bootstrap.
        resamples: Replicates.

    Raises:
        InputError: Shapes that do not fit, a kind out of range, a number that is not finite, a
            negative step.

    Source:
        Efron, Tibshirani (1993), An Introduction to the Bootstrap, 11 (jackknife).
    """
    sums, ids = _dose_sums(changes, families, kinds, steps, number)
    slope, intercept = (_jackknifed(sums, line) for line in (_through_origin, _intercept))
    kind, d = _kinds(kinds, number), np.asarray(steps, np.float64)
    sizes = np.array([_distinct(d[kind == k]) for k in range(number)], np.int64)
    none = _steps_missing(kind, d, number)
    free = np.where((none == "") & (sizes < 2), "steps of one size only", none)
    return DoseResponse(
        _effects(slope, ids, level, seed, resamples, none),
        _effects(intercept, ids, level, seed, resamples, free),
        sizes,
    )


def rank_kinds(
    deltas: npt.ArrayLike,
    families: npt.ArrayLike,
    kinds: npt.ArrayLike,
    steps: npt.ArrayLike,
    number: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Ranking:
    """Order kinds of change by how far they move each label for each unit of step.

    Formula: the slope of ``|delta|`` through the origin (``dose_response``), and all differences of
    slopes with simultaneous bounds, paired over the families that kinds share. With k of m kinds
    surely above a kind, its rank is at best 1 + k, and likewise from below.
    Range: ranks from 1, the furthest for each unit. A kind with a pair whose step is not known has
    no rank. Does not show: which kind matters more in use, where steps have other sizes.

    Args:
        deltas: Score of the changed picture less that of the original, (R, L).
        families: Family of each pair, (R,): any ids.
        kinds: What was changed, (R,), from 0.
        steps: Distance of each pair in the picture, (R,), from 0, measured alike for all kinds.
        number: Kinds of change K.
        level: Two-sided level of all bounds on differences together.
        seed: Of the bootstrap.
        resamples: Replicates.

    Raises:
        InputError: As ``dose_response``.

    Source:
        Mogstad, Romano, Shaikh, Wilhelm (2024), Review of Economic Studies 91, 476-518 (ranks from
        simultaneous bounds).
    """
    size = np.abs(np.asarray(deltas, np.float64))
    sums, ids = _dose_sums(size, families, kinds, steps, number)
    slopes = _jackknifed(sums, _through_origin)
    missing = _steps_missing(_kinds(kinds, number), np.asarray(steps, np.float64), number)
    slopes.value[missing != ""] = np.nan
    a, b = (x.astype(np.int64) for x in np.triu_indices(number, 1))
    none = np.where(missing[a] != "", missing[a], missing[b])
    differences = _effects(_difference(slopes, a, b), ids, level, seed, resamples, none)
    value = slopes.value
    known = ~np.isnan(value)
    rank = np.where(known, 1 + (value[np.newaxis] > value[:, np.newaxis]).sum(axis=1), np.nan)
    above, below = np.zeros(value.shape), np.zeros(value.shape)
    for surely, larger, smaller in (
        (differences.low_all > 0, a, b),
        (differences.high_all < 0, b, a),
    ):
        np.add.at(above, smaller, surely)
        np.add.at(below, larger, surely)
    worst = known.sum(axis=0) - below
    best, worst = (np.where(known, ends, np.nan) for ends in (1 + above, worst))
    return Ranking(rank, best, worst, tuple(missing.tolist()), (a, b), differences)


# ---- estimates and what families move them by --------------------------------------------------


@dataclass(frozen=True)
class _Estimates:
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
        lean = np.where(np.abs(self.lean) > _ROUNDING, self.lean, np.nan)
        bent = 3 / lean * (np.cbrt(1 + lean * (t - lean / 6)) - 1)
        return np.asarray(np.where(np.isnan(lean), t, bent))

    @property
    def p(self) -> Floats:
        """Of 0: the level at which a bound is just there."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = self.value / self.error
            straight = t + self.lean * t**2 / 3 + self.lean**2 * t**3 / 27 + self.lean / 6
        return np.asarray(2 * special.stdtr(self.degrees, -np.abs(straight)))


def _estimates(value: Floats, moved: Floats, families: Integers) -> _Estimates:
    """With the error and the degrees of freedom that the families' moves give."""
    f = families[:, np.newaxis].astype(np.float64)
    second, fourth = (moved**2).sum(axis=0), (moved**4).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.where(f > 1, second * f / (f - 1), np.nan))
        # the variance of a variance: 2 F / (k - 1) degrees for a kurtosis k
        rests_on = 2 * f / np.maximum(f * fourth / second**2 - 1, 1e-9)
        degrees = np.where(f > 1, np.fmin(f - 1, rests_on), np.nan)
    return _Estimates(value, moved, error, degrees, families, _lean(moved))


def _lean(moved: Floats) -> Floats:
    second = (moved**2).sum(axis=0)
    return np.asarray((moved**3).sum(axis=0) / np.where(second > 0, second, 1.0) ** 1.5)


def _of_means(table: Floats) -> _Estimates:
    """The mean over families of a table (F, K, L), nan where a family lacks a kind."""
    there = ~np.isnan(table)
    n = there[:, :, 0].sum(axis=0)
    size = np.where(n > 0, n, np.nan)[:, np.newaxis]
    value = np.where(there, table, 0.0).sum(axis=0) / size
    return _estimates(value, np.where(there, table - value, 0.0) / np.nan_to_num(size, nan=1.0), n)


def _apart(means: _Estimates, a: Integers, b: Integers) -> _Estimates:
    """Differences of means over separate families, Welch's."""
    squares = means.error[a] ** 2, means.error[b] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        total = squares[0] + squares[1]
        degrees = total**2 / (
            squares[0] ** 2 / means.degrees[a] + squares[1] ** 2 / means.degrees[b]
        )
    moved = means.moved[:, a] - means.moved[:, b]
    families = np.minimum(means.families[a], means.families[b])
    value = means.value[a] - means.value[b]
    return _Estimates(value, moved, np.sqrt(total), degrees, families, _lean(moved))


def _difference(slopes: _Estimates, a: Integers, b: Integers) -> _Estimates:
    """Differences of estimates that share some families."""
    moved = slopes.moved[:, a] - slopes.moved[:, b]
    shared = _estimates(
        slopes.value[a] - slopes.value[b], moved, (moved != 0).any(axis=2).sum(axis=0)
    )
    fewest = np.minimum(slopes.families[a], slopes.families[b])
    degrees = np.fmin(shared.degrees, np.maximum(fewest - 1, 1)[:, np.newaxis])
    error = np.where(fewest[:, np.newaxis] > 1, shared.error, np.nan)
    return _Estimates(shared.value, moved, error, degrees, fewest, shared.lean)


def _either(chosen: Flags, one: _Estimates, other: _Estimates) -> _Estimates:
    rows = chosen[:, np.newaxis]
    return _Estimates(
        np.where(rows, one.value, other.value),
        np.where(rows, one.moved, other.moved),
        np.where(rows, one.error, other.error),
        np.where(rows, one.degrees, other.degrees),
        np.where(chosen, one.families, other.families),
        np.where(rows, one.lean, other.lean),
    )


def _effects(
    found: _Estimates,
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
    levels = _levels(largest, usable, studentised, level)

    def interval(at: float) -> tuple[Floats, Floats]:
        down, up = found.reach(at)
        return value - down * error, value + up * error

    alone, together = interval(level), bounds_at(levels, usable, interval)
    q = _adjusted(p, largest, usable, studentised)
    counts = np.broadcast_to(found.families[:, np.newaxis], value.shape)
    return Effects(
        value, error, *alone, *together, p, q, counts, found.degrees, levels, status, reason
    )


def _statuses(found: _Estimates, none: Array) -> tuple[Texts, Texts, Flags]:
    """Status and reason of each estimate, and whether it has a value."""
    families, why = found.families[:, np.newaxis], none[:, np.newaxis]
    known = (families > 0) & (why == "") & ~np.isnan(found.value)
    scale = np.abs(found.moved).max(axis=0, initial=0.0) * found.families[:, np.newaxis]
    alike = ~(scale > _ROUNDING * np.abs(found.value))
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
    for start in range(0, len(each), _AT_ONCE):
        rows = each[start : start + _AT_ONCE]
        deviation = np.zeros((len(rows), resamples), np.float32)
        for first in range(0, len(ids), _FAMILIES_AT_ONCE):
            at = slice(first, first + _FAMILIES_AT_ONCE)
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


# ---- sums over families ------------------------------------------------------------------------


def _family_means(
    values: npt.ArrayLike, families: npt.ArrayLike, kinds: npt.ArrayLike, number: int
) -> tuple[Floats, list[object]]:
    """Mean of each family's pairs of each kind, (F, K, L), nan without; and the families' ids."""
    y, code, ids = _by_family(values, families, kinds, number)
    n, total = _sums(code, np.ones(len(y)), len(ids), number), _sums(code, y, len(ids), number)
    return total / np.where(n > 0, n, np.nan)[:, :, np.newaxis], ids


def _by_family(
    values: npt.ArrayLike, families: npt.ArrayLike, kinds: npt.ArrayLike, number: int
) -> tuple[Floats, Integers, list[object]]:
    """Values, family x kind of each pair as one code, and the families' ids."""
    y, names, kind = np.asarray(values, np.float64), np.asarray(families), _kinds(kinds, number)
    if y.ndim != 2 or names.shape != kind.shape or len(y) != len(kind):
        got = f"score changes {y.shape}, families {names.shape}, kinds {kind.shape}"
        raise InputError(sentence(got, "Give one row, one family and one kind a pair"))
    if not np.isfinite(y).all():
        raise InputError(sentence("score changes: a number that is not finite", "Leave it out"))
    ids, family = np.unique(names, return_inverse=True)
    return y, family * number + kind, ids.tolist()


def _kinds(kinds: npt.ArrayLike, number: int) -> Integers:
    kind = np.asarray(kinds, dtype=np.int64)
    if kind.ndim != 1 or (kind.size and not (kind.min() >= 0 and kind.max() < number)):
        got = f"kinds of change: codes {np.unique(kind)[:5].tolist()}"
        raise InputError(sentence(got, f"Give one a pair, from 0 to {number - 1}, no originals"))
    return kind


def _two(one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[Integers, Integers]:
    a, b = (np.atleast_1d(np.asarray(x, dtype=np.int64)) for x in (one, other))
    if a.shape != b.shape or a.min(initial=0) < 0 or b.min(initial=0) < 0:
        got = f"compared kinds: {a.tolist()} with {b.tolist()}"
        raise InputError(sentence(got, "Give two lists of one length, kinds from 0"))
    return a, b


def _sums(code: Integers, values: Floats, families: int, kinds: int) -> Floats:
    """Sums of values (R, ...) over the pairs of each family and kind, (F, K, ...)."""
    ones = np.ones(len(code))
    design = sparse.csr_array(
        (ones, (code, np.arange(len(code)))), shape=(families * kinds, len(code))
    )
    return np.asarray(design @ values).reshape(families, kinds, *values.shape[1:])


@dataclass(frozen=True)
class _Sums:
    """Sums over pairs, (F, K, L) each: 1, d, d², y, d y; or over families, (K, L)."""

    n: Floats
    d: Floats
    dd: Floats
    y: Floats
    dy: Floats


def _dose_sums(
    changes: npt.ArrayLike,
    families: npt.ArrayLike,
    kinds: npt.ArrayLike,
    steps: npt.ArrayLike,
    number: int,
) -> tuple[_Sums, list[object]]:
    y, code, ids = _by_family(changes, families, kinds, number)
    d = np.asarray(steps, np.float64)
    if d.shape != code.shape or (d < 0).any() or np.isinf(d).any():
        got = f"steps of shape {d.shape}" if d.shape != code.shape else "steps: a size below 0"
        raise InputError(sentence(got, "Give one finite size from 0 a pair, nan where not known"))
    known = np.nan_to_num(d)[:, np.newaxis]
    columns = np.ones_like(known), known, known**2, y, known * y
    every = (_sums(code, column, len(ids), number) for column in columns)
    return _Sums(*(np.broadcast_to(s, (len(ids), number, y.shape[1])) for s in every)), ids


def _through_origin(s: _Sums) -> Floats:
    return np.asarray(s.dy / np.where(s.dd > 0, s.dd, np.nan))


def _intercept(s: _Sums) -> Floats:
    apart = s.n * s.dd - s.d**2
    enough = apart > _ROUNDING * s.n * s.dd
    return np.asarray((s.y * s.dd - s.d * s.dy) / np.where(enough, apart, np.nan))


def _jackknifed(sums: _Sums, line: Callable[[_Sums], Floats]) -> _Estimates:
    """A number of a line, and how each family moves it: by leaving it out."""
    parts = sums.n, sums.d, sums.dd, sums.y, sums.dy
    total = [part.sum(axis=0) for part in parts]
    value = line(_Sums(*total))
    there = sums.n > 0
    f = there[:, :, 0].sum(axis=0)
    without = line(_Sums(*(whole - part for whole, part in zip(total, parts, strict=True))))
    lost = (np.isnan(without) & there).any(axis=0)
    without = np.where(there, without, 0.0)
    middle = without.sum(axis=0) / np.maximum(f, 1)[:, np.newaxis]
    share = (np.maximum(f - 1, 0) / np.maximum(f, 1))[:, np.newaxis]
    moved = np.nan_to_num(np.where(there, middle - without, 0.0)) * share
    found = _estimates(value, moved, f)
    # families with the largest steps draw the line: on as many of them its error rests
    weight = (sums.dd**2).sum(axis=0)
    drawn_by = total[2] ** 2 / np.where(weight > 0, weight, np.nan)
    degrees = np.fmin(found.degrees, np.maximum(drawn_by - 1, 0.5))
    # without one family there is no line: what the others say of it is not known
    return replace(found, error=np.where(lost, np.nan, found.error), degrees=degrees)


def _steps_missing(kind: Integers, steps: Floats, number: int) -> Texts:
    """Of each kind, why it has no slope, (K,): "" if every pair has a step."""
    missing = np.bincount(kind[np.isnan(steps)], minlength=number)
    n = np.bincount(kind, minlength=number)
    none = np.bincount(kind[steps > 0], minlength=number) == 0
    reasons = [
        f"the size of the step is not known for {m} of {k} pairs" if m
        else "every step has size 0" if k and zero else ""
        for m, k, zero in zip(missing, n, none, strict=True)
    ]  # fmt: skip
    return np.asarray(reasons, dtype=np.str_)


def _distinct(steps: Floats) -> int:
    """Sizes of step that differ by more than rounding."""
    known = np.sort(steps[~np.isnan(steps)])
    return int((np.diff(known, prepend=-np.inf) > 1e-6 * np.abs(known).max(initial=0.0)).sum())

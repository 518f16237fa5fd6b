"""The largest gap between any two groups: its size, between whom, its bounds and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Flags, Floats, Integers
from audit.core.rows import Row
from audit.core.tables import OK, TOO_FEW
from audit.core.verdicts import GapSize, Verdict, decide, size_bounds, verdicts
from audit.stats.clustered import (
    Bounds,
    Sample,
    difference_interval,
    first_crossing,
    on_grid,
    rate_interval,
    ratio_interval,
)
from audit.stats.multiplicity import Families, bounds_at, in_families

#: what *within margin* says of a largest gap
NO_TWO_GROUPS = "no two groups differ by {margin} or more"
#: what a verdict rests on where the ratio is waived
NEGLIGIBLE = "difference, all rates negligible"
#: why a question has no gap
TOO_FEW_GROUPS = "fewer than two groups with enough pictures"


@dataclass(frozen=True)
class Pairs:
    """Every pair of G groups, ``one`` and ``other`` (P,), and which can be compared, (Q, P)."""

    one: Integers
    other: Integers
    usable: Flags
    #: the groups left out of each question, with commas, (Q, 1); blank where all take part
    left_out: npt.NDArray[np.object_]

    @classmethod
    def of(cls, large_enough: Flags, names: Sequence[str] = ()) -> Pairs:
        """Of groups that are large enough, or not, on each question, (Q, G); ``names`` of all."""
        one, other = np.triu_indices(large_enough.shape[1], 1)
        called = np.array(list(names) or [str(g) for g in range(large_enough.shape[1])], object)
        out = ["" if row.all() else ", ".join(called[~row]) for row in large_enough]
        usable = large_enough[:, one] & large_enough[:, other]
        return cls(one, other, usable, np.array(out, dtype=object).reshape(-1, 1))

    @property
    def complete(self) -> Flags:
        """Whether no group is left out of a question, (Q, 1)."""
        return np.asarray(self.left_out == "", dtype=bool)


@dataclass(frozen=True)
class LargestGap:
    """The largest gap of each of Q questions; all arrays (Q, 1).

    ``value`` is its size, nan where no pair is usable; ``group`` and ``other`` the groups by their
    place, the higher first, ``pair`` their place among the pairs. ``low, high`` bound its size.
    """

    value: Floats
    group: Integers
    other: Integers
    pair: Integers
    low: Floats
    high: Floats
    left_out: npt.NDArray[np.object_]

    @property
    def some(self) -> Flags:
        """Whether any two groups could be compared."""
        return ~np.isnan(self.value)

    @property
    def status(self) -> npt.NDArray[np.object_]:
        """*ok*, or *too few* without two groups to compare."""
        return np.where(self.some, OK, TOO_FEW).astype(object)

    @property
    def reason(self) -> npt.NDArray[np.object_]:
        """Why there is no gap, or who is left out of it; blank where there is a gap of all."""
        out = np.where(self.left_out == "", "", "too few subjects of: " + self.left_out)
        return np.where(self.some, out, TOO_FEW_GROUPS).astype(object)

    def row(self, names: Sequence[str], question: int = 0, unit: float = 1.0) -> Row:
        """One question's gap as columns of a table; without two groups these are blank.

        Args:
            names: of the groups.
            question: which one.
            unit: what the sizes are multiplied by: 100 gives points.
        """
        q, some = (question, 0), bool(self.some[question, 0])
        return {
            "group": str(names[self.group[q]]) if some else "",
            "other": str(names[self.other[q]]) if some else "",
            "value": unit * float(self.value[q]),
            "low_simultaneous": unit * float(self.low[q]),
            "high_simultaneous": unit * float(self.high[q]),
            "status": str(self.status[q]),
            "reason": str(self.reason[q]),
        }

    def verdict(
        self, margin: npt.ArrayLike, low: Floats | None = None, high: Floats | None = None
    ) -> npt.NDArray[np.str_]:
        """The verdict on its size, or on other bounds of all pairs, against a margin.

        *Inconclusive* without two groups, and where it would be *within margin* but a group is left
        out.
        """
        ends = (self.low, self.high) if low is None or high is None else (low, high)
        judged = verdicts(*ends, margin, self.left_out == "")
        return np.where(self.some, judged, Verdict.INCONCLUSIVE.value)


def largest_gap(
    values: Floats, pairs: Pairs, low: Floats | None = None, high: Floats | None = None
) -> LargestGap:
    """The largest gap between any two groups on every question.

    Formula: ``max |v_i - v_j|`` over the usable pairs; of equal gaps the first pair. Its bounds are
    the largest lower and the largest upper bound of any pair's size, which hold wherever the pairs'
    bounds hold all at once.
    Range: from 0; nan without a usable pair. The largest of many noisy gaps is too large on
    average. Does not show: anything about a group that is in no usable pair.

    Args:
        values: what is compared, (Q, G).
        pairs: which groups are compared.
        low: lower bounds of each pair's gap, (Q, P); without them the gap has no bounds.
        high: upper bounds.
    """
    one, other, usable = pairs.one, pairs.other, pairs.usable
    gaps = np.where(usable, values[:, one] - values[:, other], np.nan)
    at = np.where(usable, np.abs(gaps), -1.0).argmax(axis=1)[:, np.newaxis]
    gap, first, second = np.take_along_axis(gaps, at, axis=1), one[at], other[at]
    down = gap < 0
    if low is None or high is None:
        least = most = np.full(gap.shape, np.nan)
    else:
        least, most = (largest_usable(end, usable) for end in size_bounds(low, high))
    group, beside = np.where(down, second, first), np.where(down, first, second)
    return LargestGap(np.abs(gap), group, beside, at, least, most, pairs.left_out)


def largest_usable(values: Floats, usable: Flags) -> Floats:
    """The largest of each row's usable numbers, (Q, 1); nan where there is none."""
    among = np.where(usable & ~np.isnan(values), values, -np.inf)
    largest = among.max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(largest > -np.inf, largest, np.nan)


# ---- what is claimed of it ---------------------------------------------------------------------


@dataclass(frozen=True)
class Margins:
    """What matters, (Q, 1) each: in shares, as a ratio of rates, and a rate too small to matter.

    ``ratio`` and ``negligible`` are nan where none was declared.
    """

    difference: Floats
    ratio: Floats
    negligible: Floats

    @classmethod
    def of(
        cls,
        difference: npt.ArrayLike,
        ratio: npt.ArrayLike = np.nan,
        negligible: npt.ArrayLike = np.nan,
    ) -> Margins:
        """Of one question, or of several."""
        columns = [np.atleast_1d(np.asarray(m, float)) for m in (difference, ratio, negligible)]
        return cls(*(np.asarray(m)[:, np.newaxis] for m in np.broadcast_arrays(*columns)))


@dataclass(frozen=True)
class Claims:
    """What the bounds of every pair say of the largest gap; arrays (Q, 1) unless said otherwise.

    ``found``: every pair's difference and ratio with simultaneous bounds, (Q, P), and ``ratio_low,
    ratio_high`` (Q, P) those of the ratio, one-sided where a group has no event. ``low_alone,
    high_alone``, (Q, P): each pair's interval with a one-sided error of ``1 - level`` on either
    side. ``gap``: the largest gap. ``high_equivalence``: what it is surely below, the largest of
    the pairs' unadjusted bounds. ``ratio``, ``ratio_surely``, ``ratio_below``: the same as ratios.
    ``p``: against the margin, of the direction that the verdict has or comes nearer to. ``basis``:
    the scale that the verdict rests on.
    """

    found: Families
    ratio_low: Floats
    ratio_high: Floats
    low_alone: Floats
    high_alone: Floats
    gap: LargestGap
    high_equivalence: Floats
    ratio: Floats
    ratio_surely: Floats
    ratio_below: Floats
    p: Floats
    basis: npt.NDArray[np.str_]
    verdict: npt.NDArray[np.str_]


def judge(
    sample: Sample,
    pairs: Pairs,
    margins: Margins,
    level: float = 0.95,
) -> Claims:
    """The verdict on the largest gap of every question, each question a family of its own pairs.

    Formula: *exceeds margin* if the simultaneous lower bound of some pair's size is above the
    margin; *within margin* if the upper bound of every pair is below it, each bound unadjusted with
    an error of ``1 - level``: the claim that no pair reaches the margin is wrong only if the bound
    of a pair that does reach it is, so it needs no correction over pairs. Where a ratio margin is
    declared, *exceeds margin* may rest on either scale, whose bounds then hold together (half of
    the error for each), and *within margin* needs both. A pair without any event is judged by its
    difference. The ratio is waived where every group's rate is surely below ``negligible``; where
    such a rate is declared the ratio's own bounds and those of the rates have half of the error
    each.
    Range: words. Does not show: anything about a group that is left out, so *within margin* needs
    all groups.

    Args:
        sample: Q questions in G groups.
        pairs: which groups are compared.
        margins: what matters.
        level: of the simultaneous bounds of one question.

    Source:
        Berger (1982), Technometrics 24, 295-300, for intersection-union tests; Schuirmann (1987),
        J. Pharmacokinetics 15, 657-680, for two one-sided tests; Westfall, Young (1993).
    """
    alpha, binds = 1 - level, ~np.isnan(margins.ratio)
    levels = np.where(binds[:, 0], 1 - alpha / 2, level)
    found = simultaneous(sample, pairs.one, pairs.other, pairs.usable, levels, level)
    usable = pairs.usable
    gap = largest_gap(sample.rate, pairs, found.difference.low_all, found.difference.high_all)
    alone = difference_interval(sample, pairs.one, pairs.other, 1 - 2 * alpha)
    below = largest_usable(size_bounds(*alone)[1], usable)
    scale = _Ratios.of(sample, pairs, margins, found, alpha)
    binds &= ~scale.waived
    log_margin = np.log(np.where(binds, margins.ratio, np.nan))
    whole = gap.some & pairs.complete
    size = GapSize(gap.low, below, margins.difference)
    factor = GapSize(scale.surely, scale.below, log_margin)
    verdict = decide(size, factor, whole)
    p = _against(sample, pairs, margins, found, alpha, _Binding(binds, scale.waived, whole))
    eventless = (sample.events == 0).all(axis=1, keepdims=True)
    both, one = "difference and ratio", np.where(factor.exceeds, "ratio", "difference")
    on_both = size.exceeds & factor.exceeds | (verdict == Verdict.WITHIN) & binds & ~eventless
    low_alone, high_alone = (np.where(usable, end, np.nan) for end in alone)
    return Claims(
        found=found,
        ratio_low=_finite(scale.ends[0]),
        ratio_high=_finite(scale.ends[1]),
        low_alone=low_alone,
        high_alone=high_alone,
        gap=gap,
        high_equivalence=below,
        # without any event there is no ratio, and the claim rests on the difference alone
        ratio=np.where(eventless, np.nan, _finite(scale.size)),
        ratio_surely=np.where(eventless, np.nan, _finite(scale.surely)),
        ratio_below=np.where(eventless, np.nan, _finite(scale.below)),
        p=p,
        basis=np.select([scale.waived, on_both], [NEGLIGIBLE, both], one),
        verdict=verdict,
    )


def _finite(log: Floats) -> Floats:
    """A ratio from its log; nan where it has no bound."""
    ratio = np.exp(log)
    return np.where(np.isfinite(ratio) & (ratio > 0), ratio, np.nan)


def simultaneous(
    sample: Sample, one: Integers, other: Integers, usable: Flags, levels: Floats, level: float
) -> Families:
    """The comparisons of each question as a family of its own.

    ``levels``, (Q,): of each family's simultaneous bounds; ``level``: of each interval alone.
    """
    own = np.arange(len(usable))
    return in_families(sample, (one, other), usable, own, levels.tolist(), level)


@dataclass(frozen=True)
class _Ratios:
    """The pairs' ratios on the log scale.

    ``ends``: simultaneous bounds, (Q, P). ``size``, ``surely``, ``below``, (Q, 1): the largest,
    what it surely exceeds and what it is surely below. ``waived``, (Q, 1).
    """

    ends: Bounds
    size: Floats
    surely: Floats
    below: Floats
    waived: Flags

    @classmethod
    def of(
        cls, sample: Sample, pairs: Pairs, margins: Margins, found: Families, alpha: float
    ) -> _Ratios:
        usable, one, other = pairs.usable, pairs.one, pairs.other
        none = (sample.events[:, one] == 0) & (sample.events[:, other] == 0)
        # with a negligible rate there are two ways to be small, each with half of the error
        share = np.where(np.isnan(margins.negligible), 2 * alpha, alpha)
        levels = np.broadcast_to(1 - share, usable.shape)
        apart = partial(_rates_apart, sample, pairs)
        alone = bounds_at(levels, usable, lambda v: ratio_interval(sample, one, other, v))
        alone = _log_bounds(sample, pairs, alone, lambda bare: bounds_at(levels, bare, apart))
        joint = found.ratio.low_all, found.ratio.high_all
        ends = _log_bounds(sample, pairs, joint, lambda bare: bounds_at(found.levels, bare, apart))
        surely = largest_usable(np.where(none, 0.0, size_bounds(*ends)[0]), usable)
        below = largest_usable(np.where(none, 0.0, size_bounds(*alone)[1]), usable)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.log(sample.rate)
            size = np.abs(rate[:, one] - rate[:, other])
        high = rate_interval(sample, 1 - alpha)[1]
        waived = np.all(high < margins.negligible, axis=1, keepdims=True)
        return cls(ends, largest_usable(np.where(none, 0.0, size), usable), surely, below, waived)


def _log_bounds(
    sample: Sample, pairs: Pairs, ratio: Bounds, apart: Callable[[Flags], Bounds]
) -> Bounds:
    """Logs of bounds of ratios, (Q, P), also of pairs in which a group has no event.

    There, and where all pictures of both are events, ``apart`` gives them: see ``_rates_apart``.
    nan where neither group has an event.
    """
    one, other = pairs.one, pairs.other
    bare = np.isnan(ratio[0]) & pairs.usable
    bare &= sample.events[:, one] + sample.events[:, other] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return tuple(  # type: ignore[return-value]
            np.log(np.where(bare, own, known))
            for own, known in zip(apart(bare), ratio, strict=True)
        )


def _rates_apart(sample: Sample, pairs: Pairs, level: npt.ArrayLike) -> Bounds:
    """Bounds of ratios from the two rates' own bounds, ``l1 / u2`` to ``u1 / l2``.

    One end may be infinite. Wider than needed, since both errors are added up.
    """
    low, high = rate_interval(sample, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            low[..., pairs.one] / high[..., pairs.other],
            high[..., pairs.one] / low[..., pairs.other],
        )


@dataclass(frozen=True)
class _Binding:
    """Of each question, (Q, 1): a ratio binds, is waived, and no group is left out."""

    ratio: Flags
    waived: Flags
    whole: Flags


def _against(
    sample: Sample,
    pairs: Pairs,
    margins: Margins,
    found: Families,
    alpha: float,
    to: _Binding,
) -> Floats:
    """P of the largest gap against its margins, (Q, 1).

    The smaller of two: that no pair exceeds a margin, adjusted for the pairs as the simultaneous
    bounds are, and that some pair reaches one. Where a negligible rate is declared, the second
    doubles what it takes from the ratio, or from the rates that waive it, as the bounds do.
    """
    one, other = pairs.one, pairs.other
    beyond, inside = margin_z(
        lambda levels: difference_interval(sample, one, other, levels),
        np.abs(sample.rate[:, one] - sample.rate[:, other]),
        margins.difference,
    )
    within = largest_usable(special.ndtr(-inside), pairs.usable)
    if to.ratio.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.log(sample.rate)
            apart = np.abs(rate[:, one] - rate[:, other])
        ratio = margin_z(
            lambda levels: _log_bounds(
                sample,
                pairs,
                ratio_interval(sample, one, other, levels),
                lambda _: _rates_apart(sample, pairs, levels),
            ),
            apart,
            np.log(margins.ratio),
        )
        # two groups without any event have no ratio, and are judged by their difference
        beyond = np.where(to.ratio, np.fmax(beyond, ratio[0]), beyond)
        sides = np.where(np.isnan(margins.negligible), 1, 2)
        by_ratio = largest_usable(sides * special.ndtr(-ratio[1]), pairs.usable)
        within = np.where(to.ratio, np.fmax(within, by_ratio), within)
    if to.waived.any():
        rare = margin_z(lambda at: rate_interval(sample, at), sample.rate, margins.negligible)[1]
        by_rates = 2 * special.ndtr(-rare).max(axis=1, keepdims=True)
        within = np.where(to.waived, np.fmax(within, by_rates), within)
    adjusted = np.minimum(2 * special.ndtr(-beyond) * alpha / (1 - found.levels), 1.0)
    exceeds = -largest_usable(-adjusted, pairs.usable)
    return np.fmin(exceeds, np.where(to.whole, np.fmin(within, 1.0), 1.0))


def margin_z(
    interval: Callable[[Floats], Bounds], size: Floats, margin: Floats
) -> tuple[Floats, Floats]:
    """How sure it is that sizes lie above, and below, a margin: normal quantiles.

    Formula: the z for which the interval at level ``2 Phi(z) - 1`` has the margin as the lower end,
    or the upper end, of the size, interpolated between the points of a grid.
    Range: 0 (not even the estimate does) to 8; nan where there is no interval.

    Args:
        interval: gives bounds at several levels, (L, 1, 1), at once.
        size: the estimates' sizes.
        margin: broadcasts against them.
    """
    z, step, levels = on_grid(_GRID)
    least, most = size_bounds(*interval(levels))

    def reached(start: Floats, left: Floats) -> Floats:
        before = np.concatenate([start[np.newaxis], left[:-1]])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = z - step * left / (left - before)
        return np.where(start <= 0, 0.0, first_crossing(at, left, _GRID[-1]))

    return reached(size - margin, least - margin), reached(margin - size, margin - most)


_GRID = np.array([0, 0.5, 1, 1.3, 1.65, 1.96, 2.3, 2.6, 3, 3.5, 4, 5, 6, 8])

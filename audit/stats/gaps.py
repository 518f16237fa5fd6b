"""The largest gap between any two groups: its size, between whom, its bounds and what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit.tables import OK, TOO_FEW
from audit.verdicts import Verdict, size_bounds, verdicts

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: what *shown small* says of a largest gap
NO_TWO_GROUPS = "no two groups differ by {margin}"
#: why a question has no gap
TOO_FEW_GROUPS = "fewer than two groups with enough pictures"


@dataclass(frozen=True)
class Pairs:
    """Every pair of G groups, ``one`` and ``other`` (P,), and which can be compared, (Q, P)."""

    one: Integers
    other: Integers
    usable: Flags

    @classmethod
    def of(cls, large_enough: Flags) -> Pairs:
        """Of groups that are large enough, or not, on each question, (Q, G)."""
        one, other = np.triu_indices(large_enough.shape[1], 1)
        return cls(one, other, large_enough[:, one] & large_enough[:, other])


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
        """Why there is no gap; blank where there is one."""
        return np.where(self.some, "", TOO_FEW_GROUPS).astype(object)

    def verdict(self, margin: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """The verdict on its size against a margin; *cannot tell* without two groups."""
        judged = verdicts(self.low, self.high, margin)
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
        least, most = (_largest(end, usable) for end in size_bounds(low, high))
    group, beside = np.where(down, second, first), np.where(down, first, second)
    return LargestGap(np.abs(gap), group, beside, at, least, most)


def _largest(values: Floats, usable: Flags) -> Floats:
    """The largest of each row's usable numbers, (Q, 1); nan where there is none."""
    among = np.where(usable & ~np.isnan(values), values, -np.inf)
    largest = among.max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(largest), largest, np.nan)

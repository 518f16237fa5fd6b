"""What a comparison of two rates can show, before any model runs.

Normal approximations for independent rows: plans, not results. Where pictures repeat a subject,
give effective sizes. ``level`` is the two-sided level of the intervals that will be printed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Floats
from audit.core.errors import InputError

_HALVINGS = 60  # a bracket of length 1 shrinks below the spacing of doubles


def detectable_difference(
    n_1: npt.ArrayLike,
    n_2: npt.ArrayLike,
    base: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
    power: npt.ArrayLike = 0.8,
    comparisons: npt.ArrayLike = 1,
) -> Floats:
    """The smallest difference of two rates that would be found with the given power.

    Formula: the d with ``d = z_a sqrt(q (1-q) (1/n1 + 1/n2)) + z_b sqrt(p1 (1-p1)/n1 + p2
    (1-p2)/n2)``, where p1 = base in the first group, p2 = base + d in the second, q the pooled rate
    ``(n1 p1 + n2 p2)/(n1 + n2)`` (the variance that the score test uses), z_a the normal quantile
    at ``1 - (1 - level)/(2 comparisons)`` and z_b that at ``power``. Found by bisection: the right
    side is concave in d, so there is one crossing. Above base ½ the difference goes down instead.
    Range: shares (0.02 is two points), 0 to 1; larger is worse. nan where even the largest possible
    difference would be missed, and for an empty group. Does not show: that a smaller difference
    is absent. Optimistic for a few expected events a group, where the tests are exact.

    Args:
        n_1: Pictures of the group at the base rate (the reference); any shape that broadcasts.
        n_2: Pictures of the group that differs. Unequal groups swapped give another answer.
        base: Rate of the first group, 0 to 1.
        level: Two-sided level, strictly between 0 and 1.
        power: Chance of finding the difference, at least 0.5 and below 1.
        comparisons: Size of the family among which ``1 - level`` is divided (Bonferroni).

    Returns:
        Differences of the broadcast shape, all positive.

    Raises:
        InputError: A share, level, power or number of comparisons out of range, a negative size.

    Source:
        Fleiss, Levin, Paik (2003), Statistical Methods for Rates and Proportions, chapter 4.
    """
    critical = _critical(level, comparisons)
    size_1, size_2, p_1, z_a, z_b = np.broadcast_arrays(
        _size(n_1, "n_1"), _size(n_2, "n_2"), _share(base, "base"), critical, _power(power)
    )
    p_1 = np.minimum(p_1, 1 - p_1)  # a difference down from 0.9 is one up from 0.1 in non-events

    def shown(difference: Floats) -> npt.NDArray[np.bool_]:
        p_2 = p_1 + difference
        pooled = (size_1 * p_1 + size_2 * p_2) / (size_1 + size_2)
        null = np.sqrt(pooled * (1 - pooled) * (1 / size_1 + 1 / size_2))
        alternative = np.sqrt(p_1 * (1 - p_1) / size_1 + p_2 * (1 - p_2) / size_2)
        return np.asarray(difference >= z_a * null + z_b * alternative)

    largest = 1 - p_1
    low, high = np.zeros(p_1.shape), largest
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = shown(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(shown(largest), high, np.nan)


def needed_n(
    base: npt.ArrayLike,
    difference: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
    power: npt.ArrayLike = 0.8,
    comparisons: npt.ArrayLike = 1,
) -> Floats:
    """Pictures that each of two equal groups needs for a difference of rates to be found.

    Formula: ``((z_a sqrt(2 q (1-q)) + z_b sqrt(p1 (1-p1) + p2 (1-p2))) / d)²`` rounded up, with
    p1 = base, p2 = base + d and q their mean; z_a and z_b as in :func:`detectable_difference`.
    Range: whole pictures a group; nan for a difference of 0, which no number finds.
    Does not show: what groups of unequal size need; see :func:`detectable_difference`.

    Args:
        base: Rate of the first group, 0 to 1; any shape that broadcasts.
        difference: Rate of the second group less that of the first, either sign.
        level: Two-sided level, strictly between 0 and 1.
        power: Chance of finding the difference, at least 0.5 and below 1.
        comparisons: Size of the family among which ``1 - level`` is divided.

    Returns:
        Whole numbers as floats, of the broadcast shape.

    Raises:
        InputError: A value out of range, or a difference that leads outside 0 to 1.

    Source:
        Fleiss, Levin, Paik (2003), Statistical Methods for Rates and Proportions, chapter 4.
    """
    p_1, d = _share(base, "base"), np.asarray(difference, dtype=np.float64)
    # a sum such as 0.9 + 0.1 may miss 1 by a rounding
    p_2 = _share(np.round(p_1 + d, 12), "base + difference")
    pooled = (p_1 + p_2) / 2
    null = _critical(level, comparisons) * np.sqrt(2 * pooled * (1 - pooled))
    alternative = _power(power) * np.sqrt(p_1 * (1 - p_1) + p_2 * (1 - p_2))
    return _pictures((null + alternative) / np.where(d == 0, np.nan, np.abs(d)))


def needed_n_for_margin(
    base: npt.ArrayLike,
    margin: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
    power: npt.ArrayLike = 0.8,
    comparisons: npt.ArrayLike = 1,
) -> Floats:
    """Pictures that each of two equal groups needs to show a gap of zero to lie under a margin.

    The interval for the difference must lie between -margin and +margin; its level is ``level``,
    which amounts to two one-sided tests (TOST) at ``(1 - level)/2`` each.
    Formula: ``2 base (1-base) ((z_a + z_b) / margin)²`` rounded up, with z_a the normal quantile at
    ``1 - (1 - level)/(2 comparisons)`` and z_b that at ``(1 + power)/2``, since either side can
    fail. Example: base 10 %, margin 5 points, power 80 %: 617 a group with 90 % intervals (TOST at
    5 %), 757 with 95 % intervals.
    Range: whole pictures a group; nan for a margin of 0, under which nothing can be shown to lie.
    Does not show: what is needed if the true gap is not zero, which is more.

    Args:
        base: Rate of both groups, 0 to 1; any shape that broadcasts.
        margin: Largest difference that counts as small, a share from 0 to 1.
        level: Two-sided level of the interval, strictly between 0 and 1.
        power: Chance of showing it, at least 0.5 and below 1.
        comparisons: Size of the family among which ``1 - level`` is divided.

    Returns:
        Whole numbers as floats, of the broadcast shape.

    Raises:
        InputError: A share, margin, level, power or number of comparisons out of range.

    Source:
        Chow, Shao, Wang, Lokhnygina (2017), Sample Size Calculations in Clinical Research, 4.2.
    """
    p, bound = _share(base, "base"), _share(margin, "margin")
    _power(power)  # checked before it is split between the two sides
    either = _power((1 + np.asarray(power, dtype=np.float64)) / 2)
    spread = (_critical(level, comparisons) + either) * np.sqrt(2 * p * (1 - p))
    return _pictures(spread / np.where(bound == 0, np.nan, bound))


def needed_n_for_ratio(
    base: npt.ArrayLike,
    ratio: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
    power: npt.ArrayLike = 0.8,
) -> Floats:
    """Pictures that each of two equal groups needs to show equal rates to lie within a ratio.

    Formula: ``2 (1 - p) / p ((z_a + z_b) / log r)²`` rounded up, the variance of the log of a ratio
    of equal rates p being ``2 (1 - p) / (p n)``; z_a and z_b as in :func:`needed_n_for_margin`.
    Range: whole pictures a group; nan for a rate of 0. Does not show: what is needed if the true
    ratio is not 1, which is more.

    Args:
        base: Rate of both groups, 0 to 1; any shape that broadcasts.
        ratio: Largest ratio that counts as small, above 1.
        level: Two-sided level of the interval.
        power: Chance of showing it, at least 0.5 and below 1.

    Raises:
        InputError: A share, level or power out of range.

    Source:
        Chow, Shao, Wang, Lokhnygina (2017), Sample Size Calculations in Clinical Research, 4.2,
        with the variance of Katz et al. (1978).
    """
    p = _share(base, "base")
    _power(power)  # checked before it is split between the two sides
    either = _power((1 + np.asarray(power, dtype=np.float64)) / 2)
    spread = np.sqrt(2 * (1 - p) / np.where(p > 0, p, np.nan))
    return _pictures((_critical(level, 1) + either) * spread / np.log(np.asarray(ratio, float)))


def needed_n_beyond(
    base: npt.ArrayLike,
    difference: npt.ArrayLike,
    margin: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
    power: npt.ArrayLike = 0.8,
    comparisons: npt.ArrayLike = 1,
) -> Floats:
    """Pictures that each of two equal groups needs to show a gap to lie above a margin.

    Formula: ``((z_a + z_b) sqrt(p1 (1-p1) + p2 (1-p2)) / (d - m))²`` rounded up, with p1 = base,
    p2 = base + d, z_a the normal quantile at ``1 - (1 - level)/(2 comparisons)`` and z_b that at
    ``power``.
    Range: whole pictures a group; nan for a gap that is no larger than the margin.
    Does not show: what groups of unequal size need.

    Args:
        base: Rate of the first group, 0 to 1; any shape that broadcasts.
        difference: The gap, above the margin.
        margin: What it is to exceed.
        level: Two-sided level of each interval.
        power: Chance of showing it, at least 0.5 and below 1.
        comparisons: Size of the family among which ``1 - level`` is divided.

    Raises:
        InputError: A value out of range, or a gap that leads outside 0 to 1.

    Source:
        Chow, Shao, Wang, Lokhnygina (2017), Sample Size Calculations in Clinical Research, 4.2.
    """
    p_1, d = _share(base, "base"), np.asarray(difference, dtype=np.float64)
    p_2 = _share(np.round(p_1 + d, 12), "base + difference")
    spread = np.sqrt(p_1 * (1 - p_1) + p_2 * (1 - p_2))
    beyond = d - np.asarray(margin, dtype=np.float64)
    reach = (_critical(level, comparisons) + _power(power)) * spread
    return _pictures(reach / np.where(beyond > 0, beyond, np.nan))


def needed_n_beyond_ratio(
    base: npt.ArrayLike,
    difference: npt.ArrayLike,
    ratio: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
    power: npt.ArrayLike = 0.8,
    comparisons: npt.ArrayLike = 1,
) -> Floats:
    """The same to show the ratio of the two rates to lie above a ratio that matters.

    Formula: ``((z_a + z_b) sqrt((1-p1)/p1 + (1-p2)/p2) / (log(p2/p1) - log r))²`` rounded up.
    Range: whole pictures a group; nan for a ratio that is no larger, and for a rate of 0.
    Arguments, errors and source: as :func:`needed_n_beyond`, the variance of Katz et al. (1978).
    """
    p_1, d = _share(base, "base"), np.asarray(difference, dtype=np.float64)
    p_1 = np.where(p_1 > 0, p_1, np.nan)
    p_2 = np.round(p_1 + d, 12)
    spread = np.sqrt((1 - p_1) / p_1 + (1 - p_2) / p_2)
    beyond = np.log(p_2 / p_1) - np.log(np.asarray(ratio, dtype=np.float64))
    reach = (_critical(level, comparisons) + _power(power)) * spread
    return _pictures(reach / np.where(beyond > 0, beyond, np.nan))


def _pictures(root: Floats) -> Floats:
    """The square rounded up, at least one picture; a hair over a whole number is that number."""
    return np.asarray(np.maximum(np.ceil(root**2 - 1e-9), 1.0))


def _critical(level: npt.ArrayLike, comparisons: npt.ArrayLike) -> Floats:
    value, count = np.asarray(level, dtype=np.float64), np.asarray(comparisons, dtype=np.float64)
    wrong = ~((value > 0) & (value < 1))
    if wrong.any():
        got = f"level: {value[wrong].flat[0]:g} is not strictly between 0 and 1"
        raise InputError(got, "Give a share such as 0.95, not 95")
    if not (count >= 1).all():
        got = f"comparisons: {count[~(count >= 1)].flat[0]:g}"
        raise InputError(got, "A family has at least one")
    return np.asarray(-special.ndtri((1 - value) / 2 / count))


def _power(power: npt.ArrayLike) -> Floats:
    value = np.asarray(power, dtype=np.float64)
    wrong = ~((value >= 0.5) & (value < 1))
    if wrong.any():
        got = f"power: {value[wrong].flat[0]:g} is not from 0.5 to below 1"
        raise InputError(got, "Give a share such as 0.8")
    return np.asarray(special.ndtri(value))


def _share(value: npt.ArrayLike, name: str) -> Floats:
    share = np.asarray(value, dtype=np.float64)
    wrong = (share < 0) | (share > 1)
    if wrong.any():
        raise InputError(
            f"{name}: {share[wrong].flat[0]:g} is not a share", "Give a value from 0 to 1"
        )
    return share


def _size(value: npt.ArrayLike, name: str) -> Floats:
    """Group sizes as doubles, nan for an empty group, about which nothing can be found."""
    size = np.asarray(value, dtype=np.float64)
    if (size < 0).any():
        raise InputError(f"{name}: {size[size < 0].flat[0]:g} pictures", "Give 0 or more")
    return np.where(size > 0, size, np.nan)

"""Intervals for a rate, a difference or ratio of two rates, and the shares of several classes.

Every function takes counts as arrays that broadcast against each other and gives back
``(low, high)`` of the broadcast shape. A bound is nan exactly where it is undefined (an empty
group, say) and never silently 0 or 1. ``events`` and ``n`` may be fractional, so that an effective
sample size fits; ``level`` may be an array too, one level a cell, for simultaneous intervals.

The methods here hold for independent rows. Where pictures repeat a subject they are too narrow.

>>> import audit
>>> [round(float(bound), 3) for bound in audit.intervals.wilson(3, 10, 0.95)]
[0.108, 0.603]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Floats
from audit.core.errors import InputError
from audit.core.registry import unknown

Bounds = tuple[Floats, Floats]

_HALVINGS = 60  # a bracket of length 2 shrinks below the spacing of doubles near 1


def check_level(level: float) -> None:
    """Refuse a level that is no share.

    Raises:
        InputError: it is not strictly between 0 and 1.
    """
    if not 0 < level < 1:
        got = f"level: {level:g} is not strictly between 0 and 1"
        raise InputError(got, "Give a share such as 0.95, not 95")


def wilson(events: npt.ArrayLike, n: npt.ArrayLike, level: npt.ArrayLike = 0.95) -> Bounds:
    """Wilson's score interval for a rate: all rates that a two-sided score test would not reject.

    Formula: ``(x + z²/2 ± z sqrt(x (n - x) / n + z²/4)) / (n + z²)`` with x events, without
    continuity correction.
    Range: shares in [0, 1], exactly 0 for no events and exactly 1 for all; contains the estimate.
    Coverage is near ``level`` on average over rates, and can fall some points short for rates next
    to 0 or 1. Does not show: anything about clusters, or about unlike pictures within a group.

    Args:
        events: Number of events, 0 to ``n``; any shape that broadcasts.
        n: Number of pictures; a bound is nan where it is 0.
        level: Two-sided level, strictly between 0 and 1.

    Returns:
        Low and high bound, of the broadcast shape.

    Raises:
        InputError: A negative count, more events than pictures, a level outside (0, 1).

    Source:
        Wilson (1927), JASA 22, 209-212; Newcombe (1998), Statistics in Medicine 17, 857-872.
    """
    x, size, alpha = _rate_arguments(events, n, level)
    z = _normal_quantile(alpha)
    middle, scale = x + z**2 / 2, size + z**2
    reach = z * np.sqrt(_ratio(x * (size - x), size) + z**2 / 4)
    low, high = np.asarray((middle - reach) / scale), np.asarray((middle + reach) / scale)
    return _one_rate(low, high, x, size)


def jeffreys(events: npt.ArrayLike, n: npt.ArrayLike, level: npt.ArrayLike = 0.95) -> Bounds:
    """Jeffreys' interval for a rate: equal tails of the posterior under the prior Beta(½, ½).

    Formula: quantiles ``(1 - level)/2`` and ``(1 + level)/2`` of Beta(x + ½, n - x + ½), the low
    bound moved to 0 for no events and the high bound to 1 for all, so that the estimate is inside.
    Range: shares in [0, 1]. Narrower than Clopper-Pearson; covers ``level`` on average over rates,
    not for each. Does not show: a proven coverage at any one rate; anything about clusters.

    Args:
        events: Number of events, 0 to ``n``; any shape that broadcasts.
        n: Number of pictures; a bound is nan where it is 0.
        level: Two-sided level, strictly between 0 and 1.

    Returns:
        Low and high bound, of the broadcast shape.

    Raises:
        InputError: A negative count, more events than pictures, a level outside (0, 1).

    Source:
        Brown, Cai, DasGupta (2001), Statistical Science 16, 101-133.
    """
    x, size, alpha = _rate_arguments(events, n, level)
    a, b = x + 0.5, size - x + 0.5
    low = np.asarray(special.betaincinv(a, b, alpha / 2), dtype=np.float64)
    high = np.asarray(special.betainccinv(a, b, alpha / 2), dtype=np.float64)
    return _one_rate(low, high, x, size)


def clopper_pearson(events: npt.ArrayLike, n: npt.ArrayLike, level: npt.ArrayLike = 0.95) -> Bounds:
    """Clopper and Pearson's exact interval for a rate: never covers less than ``level``.

    Formula: low is the ``(1 - level)/2`` quantile of Beta(x, n - x + 1), high the
    ``(1 + level)/2`` quantile of Beta(x + 1, n - x).
    Range: shares in [0, 1], exactly 0 for no events and exactly 1 for all. Wider than needed, much
    so for few pictures. Does not show: anything about clusters.

    Args:
        events: Number of events, 0 to ``n``; any shape that broadcasts.
        n: Number of pictures; a bound is nan where it is 0.
        level: Two-sided level, strictly between 0 and 1.

    Returns:
        Low and high bound, of the broadcast shape.

    Raises:
        InputError: A negative count, more events than pictures, a level outside (0, 1).

    Source:
        Clopper, Pearson (1934), Biometrika 26, 404-413.
    """
    x, size, alpha = _rate_arguments(events, n, level)
    rest = size - x
    low = special.betaincinv(np.where(x > 0, x, 1.0), rest + 1, alpha / 2)
    high = special.betainccinv(x + 1, np.where(rest > 0, rest, 1.0), alpha / 2)
    return _one_rate(np.asarray(low, np.float64), np.asarray(high, np.float64), x, size)


def newcombe(
    events_1: npt.ArrayLike,
    n_1: npt.ArrayLike,
    events_2: npt.ArrayLike,
    n_2: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
) -> Bounds:
    """Newcombe's hybrid score interval for the difference of two rates, p1 - p2 (his method 10).

    Formula: with Wilson bounds l and u of each rate and d = p1 - p2,
    ``d - sqrt((p1 - l1)² + (u2 - p2)²)`` to ``d + sqrt((u1 - p1)² + (p2 - l2)²)``.
    Range: differences of shares in [-1, 1]; contains d; swapping the groups mirrors it.
    Does not show: a difference between groups that share pictures, which are not independent.

    Args:
        events_1: Events of the first group, 0 to ``n_1``; any shape that broadcasts.
        n_1: Pictures of the first group; a bound is nan where it is 0.
        events_2: Events of the second group.
        n_2: Pictures of the second group.
        level: Two-sided level, strictly between 0 and 1.

    Returns:
        Low and high bound, of the broadcast shape.

    Raises:
        InputError: A negative count, more events than pictures, a level outside (0, 1).

    Source:
        Newcombe (1998), Statistics in Medicine 17, 873-890.
    """
    low_1, high_1 = wilson(events_1, n_1, level)
    low_2, high_2 = wilson(events_2, n_2, level)
    p_1, p_2 = _rate(events_1, n_1), _rate(events_2, n_2)
    low = p_1 - p_2 - np.hypot(p_1 - low_1, high_2 - p_2)
    high = p_1 - p_2 + np.hypot(high_1 - p_1, p_2 - low_2)
    return np.clip(low, -1.0, 1.0), np.clip(high, -1.0, 1.0)


def score_difference(
    events_1: npt.ArrayLike,
    n_1: npt.ArrayLike,
    events_2: npt.ArrayLike,
    n_2: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
) -> Bounds:
    """Miettinen and Nurminen's score interval for the difference of two rates, p1 - p2.

    Formula: all d with ``(p1 - p2 - d)² <= z² V(d)``, where
    ``V(d) = (q1 (1 - q1)/n1 + q2 (1 - q2)/n2) N/(N - 1)``, ``q2`` is the likeliest rate of the
    second group under q1 = q2 + d, and N = n1 + n2. The root of the cubic for q2 is in closed form;
    the two ends are found for all cells together by bisection. Own numpy, because statsmodels'
    ``confint_proportions_2indep(method='score')`` takes milliseconds a cell, fails at 0 events and,
    up to 0.15.0 at least, has a wrong term in the cubic (its issue 10269).
    Range: differences of shares in [-1, 1]; contains p1 - p2; swapping the groups mirrors it.
    Does not show: a difference between groups that share pictures.

    Args:
        events_1: Events of the first group, 0 to ``n_1``; any shape that broadcasts.
        n_1: Pictures of the first group; a bound is nan where it is 0.
        events_2: Events of the second group.
        n_2: Pictures of the second group.
        level: Two-sided level, strictly between 0 and 1.

    Returns:
        Low and high bound, of the broadcast shape.

    Raises:
        InputError: A negative count, more events than pictures, a level outside (0, 1).

    Source:
        Miettinen, Nurminen (1985), Statistics in Medicine 4, 213-226.
    """
    x_1, size_1, alpha_1 = _rate_arguments(events_1, n_1, level)
    x_2, size_2, alpha_2 = _rate_arguments(events_2, n_2, level)
    x_1, size_1, x_2, size_2, alpha = np.broadcast_arrays(
        x_1, size_1, x_2, size_2, np.broadcast_arrays(alpha_1, alpha_2)[0]
    )
    known = (size_1 > 0) & (size_2 > 0) & (size_1 + size_2 > 1)
    size_1, size_2 = np.where(known, size_1, np.nan), np.where(known, size_2, np.nan)
    critical, estimate = _normal_quantile(alpha) ** 2, x_1 / size_1 - x_2 / size_2

    def inside(difference: Floats) -> npt.NDArray[np.bool_]:
        variance = _score_variance(difference, x_1, size_1, x_2, size_2)
        return (estimate - difference) ** 2 <= critical * variance

    low = _last_inside(inside, estimate, np.full_like(estimate, -1.0))
    return low, _last_inside(inside, estimate, np.full_like(estimate, 1.0))


def log_ratio(
    events_1: npt.ArrayLike,
    n_1: npt.ArrayLike,
    events_2: npt.ArrayLike,
    n_2: npt.ArrayLike,
    level: npt.ArrayLike = 0.95,
) -> Bounds:
    """Katz's interval for the ratio of two rates, p1 / p2, normal on the log scale.

    Formula: ``exp(log(p1/p2) ± z sqrt(1/x1 - 1/n1 + 1/x2 - 1/n2))``.
    Range: ratios above 0, 1 being equality. Undefined, so nan, where either group has no events
    (the log has no value) and where every picture of both is an event (the standard error is 0,
    which would claim certainty). Does not show: the size in points, which a ratio of two small
    rates exaggerates. Rough below about five events a group.

    Args:
        events_1: Events of the first group, 0 to ``n_1``; any shape that broadcasts.
        n_1: Pictures of the first group.
        events_2: Events of the second group.
        n_2: Pictures of the second group.
        level: Two-sided level, strictly between 0 and 1.

    Returns:
        Low and high bound, of the broadcast shape.

    Raises:
        InputError: A negative count, more events than pictures, a level outside (0, 1).

    Source:
        Katz, Baptista, Azen, Pike (1978), Biometrics 34, 469-474.
    """
    x_1, size_1, alpha = _rate_arguments(events_1, n_1, level)
    x_2, size_2, _ = _rate_arguments(events_2, n_2, level)
    x_1, x_2 = np.where(x_1 > 0, x_1, np.nan), np.where(x_2 > 0, x_2, np.nan)
    variance = (size_1 - x_1) / (x_1 * size_1) + (size_2 - x_2) / (x_2 * size_2)
    reach = _normal_quantile(alpha) * np.sqrt(np.where(variance > 0, variance, np.nan))
    estimate = np.log(x_1 / size_1) - np.log(x_2 / size_2)
    return np.exp(estimate - reach), np.exp(estimate + reach)


def multinomial(
    counts: npt.ArrayLike, level: npt.ArrayLike = 0.95, method: str = "goodman"
) -> Bounds:
    """Simultaneous intervals for the shares of all classes of a group.

    Formula: ``goodman``: Wilson's interval of each class at level ``1 - (1 - level)/k`` for k
    classes, in one step for any number of groups. ``sison-glaz``: the truncated Poisson method of
    statsmodels, group by group in a loop; narrower for seven and more classes of like size, of
    equal width for all classes, so poor where shares differ much.
    Range: shares in [0, 1]. ``level`` is the chance that all classes are covered together.
    Does not show: differences between classes, or between groups.

    Args:
        counts: Pictures a class, shape (..., classes); a group without pictures gives nan.
        level: Level for all classes together; broadcasts against ``counts[..., 0]``.
        method: ``goodman`` or ``sison-glaz``.

    Returns:
        Low and high bound, of the shape of ``counts``.

    Raises:
        InputError: An unknown method, a negative count, no class at all, a level outside (0, 1).

    Source:
        Goodman (1965), Technometrics 7, 247-254; Sison, Glaz (1995), JASA 90, 366-369.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim == 0 or table.shape[-1] == 0:
        raise InputError(
            f"multinomial: counts of shape {table.shape}", "Give at least one class a row"
        )
    if method == "goodman":
        alpha = _alpha(level)[..., np.newaxis] / table.shape[-1]
        return wilson(table, table.sum(axis=-1, keepdims=True), 1 - alpha)
    if method == "sison-glaz":
        return _sison_glaz(table, _alpha(level))
    raise unknown("multinomial method", method, ("goodman", "sison-glaz"), where="multinomial")


def _sison_glaz(table: Floats, alpha: Floats) -> Bounds:
    # imported here because statsmodels takes longer to load than everything else in this module
    from statsmodels.stats.proportion import multinomial_proportions_confint

    _rate_arguments(table, table.sum(axis=-1, keepdims=True), 0.5)
    bounds = np.full((*table.shape, 2), np.nan)
    alpha = np.broadcast_to(alpha, table.shape[:-1])
    for index in np.ndindex(*table.shape[:-1]):
        if table[index].sum() > 0:
            bounds[index] = multinomial_proportions_confint(
                table[index], alpha[index], "sison-glaz"
            )
    return bounds[..., 0], bounds[..., 1]


def _rate_arguments(
    events: npt.ArrayLike, n: npt.ArrayLike, level: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """The counts and 1 - level as broadcast arrays of doubles, once they make sense."""
    x, size, alpha = np.broadcast_arrays(
        np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64), _alpha(level)
    )
    wrong = (x < 0) | (x > size)
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        raise InputError(
            f"events and n: {x.flat[first]:g} events of {size.flat[first]:g} pictures",
            "Events must be between 0 and the number of pictures",
        )
    return x, size, alpha


def _alpha(level: npt.ArrayLike) -> Floats:
    value = np.asarray(level, dtype=np.float64)
    wrong = ~((value > 0) & (value < 1))
    if wrong.any():
        raise InputError(
            f"level: {value[wrong].flat[0]:g} is not strictly between 0 and 1",
            "Give a share such as 0.95, not 95",
        )
    return np.asarray(1 - value)


def _normal_quantile(alpha: Floats) -> Floats:
    return np.asarray(-special.ndtri(alpha / 2))


def _ratio(above: Floats, below: Floats) -> Floats:
    """``above / below``, nan where below is 0."""
    return np.asarray(above / np.where(below > 0, below, np.nan))


def _rate(events: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    return _ratio(np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64))


def _one_rate(low: Floats, high: Floats, x: Floats, size: Floats) -> Bounds:
    """The bounds, exact at no events and at all events, nan for an empty group."""
    empty = ~(size > 0)
    low = np.where(x == 0, 0.0, np.clip(low, 0.0, 1.0))
    high = np.where(x == size, 1.0, np.clip(high, 0.0, 1.0))
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def _score_variance(d: Floats, x_1: Floats, n_1: Floats, x_2: Floats, n_2: Floats) -> Floats:
    """Variance of p1 - p2 where p1 - p2 = d is forced, with the factor N/(N - 1)."""
    q_2 = np.clip(_constrained_rate(d, x_1, n_1, x_2, n_2), np.maximum(0, -d), np.minimum(1, 1 - d))
    q_1 = np.clip(q_2 + d, 0.0, 1.0)
    total = n_1 + n_2
    return np.asarray((q_1 * (1 - q_1) / n_1 + q_2 * (1 - q_2) / n_2) * total / (total - 1))


def _constrained_rate(d: Floats, x_1: Floats, n_1: Floats, x_2: Floats, n_2: Floats) -> Floats:
    """The likeliest p2 under p1 = p2 + d: the middle root of the cubic likelihood equation.

    a3 q³ + a2 q² + a1 q + a0 = 0, solved by cosines: all three roots are real, and the middle one
    is the only one at which both rates are shares.
    """
    total, events = n_1 + n_2, x_1 + x_2
    a2 = (n_1 + 2 * n_2) * d - total - events
    a1 = (n_2 * d - total - 2 * x_2) * d + events
    a0 = x_2 * d * (1 - d)
    shift = a2 / (3 * total)
    radius = np.sqrt(np.maximum(shift**2 - a1 / (3 * total), 0.0))
    half = shift**3 - a1 * a2 / (6 * total**2) + a0 / (2 * total)
    cosine = np.clip(-half / np.where(radius > 0, radius**3, 1.0), -1.0, 1.0)
    return np.asarray(2 * radius * np.cos((np.arccos(cosine) - 2 * np.pi) / 3) - shift)


def _last_inside(
    inside: Callable[[Floats], npt.NDArray[np.bool_]], start: Floats, edge: Floats
) -> Floats:
    """The last value between ``start``, which is inside, and ``edge`` that is inside too."""
    good, bad = start, np.where(np.isnan(start), np.nan, edge)
    reaches = inside(bad)
    for _ in range(_HALVINGS):
        middle = (good + bad) / 2
        kept = inside(middle)
        good, bad = np.where(kept, middle, good), np.where(kept, bad, middle)
    return np.asarray(np.where(reaches, edge, good))

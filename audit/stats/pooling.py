"""How far groups differ beyond noise, and where the rate of a small intersection is likely to be.

Rates and their sampling variances in; everything on the probability scale, because margins are in
points. ``pooled_variance`` gives variances that suit small cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError
from audit.stats.intervals import check_level

_VALUES_AT_ONCE = 2_000_000  # bootstrap values copied at a time, 16 MB
_STEPS = 100  # of Newton's method; five to ten are usual


@dataclass(frozen=True)
class Spread:
    """The standard deviation of group rates, in units of the rate.

    ``value``: sampling noise subtracted; ``low``, ``high``: its bounds, nan without replicates;
    ``raw``: nothing subtracted. nan where fewer than two groups have a rate.
    """

    value: Floats
    low: Floats
    high: Floats
    raw: Floats


@dataclass(frozen=True)
class Pooled:
    """Cell rates drawn towards the additive fit, and how far cells depart from it.

    ``pooled``, its bounds ``low`` and ``high``, and ``fitted``: shape (questions, cells), shares in
    [0, 1]. ``error``: the covariance of ``pooled`` less the true rates, (questions, cells, cells).
    ``tau``, ``tau_low``, ``tau_high``, ``tau_used`` (the one drawn with), ``degrees``: shape
    (questions,). nan in an empty cell, and wherever ``degrees``, the residual degrees of freedom,
    is 0.
    """

    pooled: Floats
    low: Floats
    high: Floats
    fitted: Floats
    error: Floats
    tau: Floats
    tau_low: Floats
    tau_high: Floats
    tau_used: Floats
    degrees: Integers


def between_group_sd(
    rate: npt.ArrayLike,
    variance: npt.ArrayLike,
    replicates: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Spread:
    """How far the rates of groups lie apart, as a standard deviation, once noise is subtracted.

    Formula: ``sqrt(max(0, S² - mean v))`` with S² the variance of the K rates (divisor K - 1) and v
    their sampling variances. The interval is double-corrected: a replicate, rate plus deviation,
    carries the noise twice, so its variance less twice the mean v is kept, and the bounds are the
    square roots of the percentiles, cut at 0. Where groups differ even less than noise would have
    it, so that the upper percentile is not above 0, the mean v is subtracted once for the upper
    bound: what groups without any difference may show.
    Range: from 0, in units of the rate; larger is worse. S² - mean v is right on average whatever
    the true spread, if v is (for a share, ``p (1 - p) / (n - 1)``); the square root cut at 0 is not
    and averages 0.2 to 0.35 standard errors where groups do not differ.
    Coverage of a nominal 95 % for the spread of the groups at hand (simulated, 2 to 126 groups of
    unlike size, normal noise): 99 to 100 % for a true spread of up to one standard error of a rate,
    where the upper bound is too wide, 93 to 99 % from two standard errors on. The bounds are nan
    where no replicate differs from another, as where no group has an event.
    Does not show: which group differs; the spread of groups that were not looked at.

    Args:
        rate: Rates, shape (..., groups); a group with nan here or in ``variance`` is left out.
        variance: Their sampling variances, of the same shape.
        replicates: Bootstrap deviations of the rates, shape (replicates, ..., groups), mean about 0
            and variance about ``variance``; a nan leaves the group out of that replicate.
        level: Level of the interval, strictly between 0 and 1.

    Returns:
        Corrected value, bounds and the uncorrected S, each of shape (...).

    Raises:
        InputError: Shapes that do not fit, a negative variance, a level outside (0, 1).

    Source:
        Lum, Zhang, Bower (2022), De-biasing "bias" measurement, FAccT, 379-389.
    """
    p, v = _usable(rate, variance, "between_group_sd")
    check_level(level)
    value = _corrected(p, v, 1)
    low = high = np.full(value.shape, np.nan)
    if replicates is not None:
        deviations = np.asarray(replicates, dtype=np.float64)
        if deviations.shape[1:] != p.shape or len(deviations) == 0:
            got = f"between_group_sd: replicates of shape {deviations.shape}, rates {p.shape}"
            raise InputError(got, "Give them the shape (replicates, *rates)")
        low, high = _percentiles(p, v, deviations, level)
    return Spread(_root(value), low, high, _root(_corrected(p, v, 0)))


def pooled_variance(
    events: npt.ArrayLike, n: npt.ArrayLike, design_effect: npt.ArrayLike = 1.0
) -> Floats:
    """Sampling variance of each group's rate if all groups had the rate of the whole.

    Formula: ``design_effect p (1 - p) / n`` with p all events over all pictures of the question.
    For weighting small cells: a cell's own ``x/n (1 - x/n) / n`` is 0 for no events, so the lowest
    rates would weigh most. Taking variances from own rates drawn towards p made nominal 95 %
    intervals of ``partial_pooling`` cover 20 to 90 % at base rates of 1 to 5 %; these, 91 to 99 %.
    Range: above 0; nan for an empty group and for a question with no event or nothing else.
    Does not show: that groups with other rates have other variances, up to fourfold between rates
    of 5 and 30 %.

    Args:
        events: Events, shape (..., groups).
        n: Pictures, of a shape that broadcasts; 0 gives nan.
        design_effect: How many times clusters make the variance larger; broadcasts.

    Returns:
        Variances of the broadcast shape.

    Raises:
        InputError: A negative count, more events than pictures, a design effect not above 0.

    Source:
        Rao, Molina (2015), Small Area Estimation, on sampling variances smoothed before modelling.
    """
    x, size, effect = np.broadcast_arrays(
        np.asarray(events, dtype=np.float64),
        np.asarray(n, dtype=np.float64),
        np.asarray(design_effect, dtype=np.float64),
    )
    wrong = (x < 0) | (x > size) | ~(effect > 0)
    if wrong.any():
        at = np.flatnonzero(wrong)[0]
        got = f"{x.flat[at]:g} events of {size.flat[at]:g} pictures, effect {effect.flat[at]:g}"
        rule = "Events must be between 0 and the pictures, a design effect above 0"
        raise InputError(f"pooled_variance: {got}", rule)
    pictures = size.sum(axis=-1, keepdims=True)
    whole = x.sum(axis=-1, keepdims=True) / np.where(pictures > 0, pictures, np.nan)
    share = np.where((whole > 0) & (whole < 1), whole * (1 - whole), np.nan)
    return np.asarray(effect * share / np.where(size > 0, size, np.nan))


def partial_pooling(
    rate: npt.ArrayLike,
    variance: npt.ArrayLike,
    factors: npt.ArrayLike,
    level: float = 0.95,
    worth: npt.ArrayLike | None = None,
) -> Pooled:
    """Rates of small intersections, each drawn towards what its attributes alone would give.

    Model: rate = one effect an attribute + departure (variance tau²) + sampling error (variance v).
    Formula: fit by generalised least squares with weights ``w = 1 / (tau² + v)``; tau² where the
    weighted residual sum of squares equals its degrees of freedom (Paule and Mandel, for cells Fay
    and Herriot); ``pooled = fit + tau² w (rate - fit)``, so a cell keeps more of its own rate the
    larger it is and the more cells depart. Rates are drawn with ``tau_used``, at least
    ``sqrt(2 sum(v²) / (degrees sum(v)))``: that of few cells is often estimated as 0, which would
    claim that attributes add up exactly. tau's interval (Q-profile): where the sum equals the upper
    and lower chi-squared quantile. With ``pooled = A rate``, ``error = A V A' + tau² D D'`` for
    D = A - I: what sampling does to all rates, and what drawing in does to true departures. V is v,
    or ``pooled (1 - pooled) / worth`` where that is larger: a cell with a high rate among rare ones
    is noisier than v. ``low`` and ``high``: normal, never wider than V alone would make them.
    Why this: margins are points, and on this scale main effects are differences of rates; it needs
    no sampling, takes variances that know of clusters, and all questions go in one step. A logit
    mixed model suits rare events better, but statsmodels has it as a variational approximation
    only, question by question, and its effects are no points.

    Range: shares, cut to [0, 1]; tau from 0 to 1 in units of the rate, 0 meaning that attributes
    add up. Does not show: a cell's own rate, and must stand beside it, never instead: a cell that
    truly stands out is drawn in. ``tau_high`` 0 says that cells differ less than v allows.
    Coverage, of a cell's true rate, holds on average over cells, not for each: simulated at 95 %,
    93 to 99 % on average and as little as 11 % in one odd cell among 63. ``measure.intersections``
    stretches the interval for that; docs/intersections.md has what is reached. For shares tau's
    interval covers 90 to 99 % from a rate of 15 % on, 75 to 98 % at 5 %, 45 to 98 % at 1 %, least
    where cells depart: rest no claim on tau where cells expect few events.

    Args:
        rate: Raw rates, shape (questions, cells); nan for an empty cell.
        variance: Their sampling variances, above 0, of the same shape; see ``pooled_variance``.
        factors: Code of each cell in each of the crossed attributes, shape (attributes, cells).
        level: Level of the intervals, strictly between 0 and 1.
        worth: How many independent pictures each rate is worth, broadcasts; None to take v as it is
            for the intervals.

    Returns:
        Pooled and fitted rates with bounds and joint error, tau with bounds, degrees of freedom.

    Raises:
        InputError: Shapes that do not fit, a variance of 0 or below, a level outside (0, 1).

    Source:
        Fay, Herriot (1979), JASA 74, 269-277; Paule, Mandel (1982), J. Res. NBS 87, 377-385;
        Viechtbauer (2007), Statistics in Medicine 26, 37-52; Armstrong, Kolesár, Plagborg-Møller
        (2022), Econometrica 90, 2567-2602 (the least tau², here with the residual degrees of
        freedom for the number of cells); Herlihy et al. (2024), arXiv 2401.14893, for audits.
    """
    y, v, codes = _cells(rate, variance, factors)
    check_level(level)
    size = np.broadcast_to(np.asarray(np.inf if worth is None else worth, np.float64), y.shape)
    by_cell = np.full((4, *y.shape), np.nan)
    error = np.full((*y.shape, y.shape[1]), np.nan)
    by_question = np.full((4, len(y)), np.nan)
    degrees = np.zeros(len(y), dtype=np.int64)
    patterns, which = np.unique(~np.isnan(y), axis=0, return_inverse=True)
    for number, present in enumerate(patterns):
        rows, cells = np.flatnonzero(which.reshape(-1) == number), np.flatnonzero(present)
        basis = _additive(codes[:, cells])
        degrees[rows] = basis.shape[0] - basis.shape[1]
        if basis.shape[0] > basis.shape[1]:
            at = rows[:, np.newaxis], cells
            of_all = rows[:, np.newaxis, np.newaxis], cells[:, np.newaxis], cells
            by_cell[:, *at], error[of_all], by_question[:, rows] = _pool(
                y[at], v[at], size[at], basis, level
            )
    pooled, low, high, fitted = by_cell
    tau, tau_low, tau_high, used = by_question
    return Pooled(pooled, low, high, fitted, error, tau, tau_low, tau_high, used, degrees)


def _usable(rate: npt.ArrayLike, variance: npt.ArrayLike, where: str) -> tuple[Floats, Floats]:
    """Both as doubles of one shape, nan together."""
    p, v = np.asarray(rate, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    if p.shape != v.shape or p.ndim == 0:
        got = f"{where}: rates of shape {p.shape}, variances of shape {v.shape}"
        raise InputError(got, "Give one variance a rate")
    if (v < 0).any():
        got = f"{where}: a variance of {v[v < 0].flat[0]:g}"
        raise InputError(got, "A variance is at least 0")
    known = np.isfinite(p) & np.isfinite(v)
    return np.where(known, p, np.nan), np.where(known, v, np.nan)


def _corrected(p: Floats, v: Floats, times: int) -> Floats:
    """Variance over groups less ``times`` their mean sampling variance; may be below 0."""
    known = ~np.isnan(p)
    count = known.sum(axis=-1)
    several = np.where(count > 1, count, np.nan)
    centre = np.where(known, p, 0.0).sum(axis=-1) / several
    squares = np.where(known, (p - centre[..., np.newaxis]) ** 2, 0.0).sum(axis=-1)
    noise = np.where(known, v, 0.0).sum(axis=-1) / several
    return np.asarray(squares / (several - 1) - times * noise)


def _percentiles(p: Floats, v: Floats, deviations: Floats, level: float) -> tuple[Floats, Floats]:
    doubly = np.empty(deviations.shape[:-1])
    step = max(1, _VALUES_AT_ONCE // max(1, p.size))
    for start in range(0, len(deviations), step):
        block = slice(start, start + step)
        doubly[block] = _corrected(p + deviations[block], v, 2)
    nothing = np.isnan(doubly).all(axis=0)
    doubly = np.where(nothing, 0.0, doubly)  # nanquantile warns of what is asked on purpose here
    bounds = np.nanquantile(doubly, [(1 - level) / 2, (1 + level) / 2], axis=0)
    # one replicate like all others bounds nothing
    still = nothing | ~(np.ptp(doubly, axis=0) > 0)
    low, high = np.where(still, np.nan, bounds)
    once = high + _corrected(p, v, 0) - _corrected(p, v, 1)
    return _root(low), _root(np.where(high > 0, high, once))


def _root(square: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def _cells(
    rate: npt.ArrayLike, variance: npt.ArrayLike, factors: npt.ArrayLike
) -> tuple[Floats, Floats, Integers]:
    y, v = _usable(rate, variance, "partial_pooling")
    codes = np.asarray(factors, dtype=np.int64)
    if y.ndim != 2 or codes.ndim != 2 or codes.shape[1] != y.shape[1]:
        got = f"partial_pooling: rates of shape {y.shape}, factors of shape {codes.shape}"
        raise InputError(got, "Give (questions, cells) and (attributes, cells)")
    if (v == 0).any():
        got = "partial_pooling: a variance of 0, which claims certainty about a cell"
        raise InputError(got, "Give variances above 0, such as those of pooled_variance")
    return y, v, codes


def _additive(codes: Integers) -> Floats:
    """Orthonormal columns that span all sums of one effect an attribute, over these cells."""
    columns = [np.ones((codes.shape[1], 1))]
    columns += [(factor[:, np.newaxis] == np.unique(factor)) * 1.0 for factor in codes]
    left, size, _ = np.linalg.svd(np.hstack(columns), full_matrices=False)
    return np.asarray(left[:, size > 1e-9 * size.max(initial=0.0)])


def _fit(y: Floats, v: Floats, basis: Floats, tau2: Floats) -> tuple[Floats, Floats, Floats]:
    """Weights, fitted values and the variance of the effects, by generalised least squares."""
    weight = 1 / (v + tau2[:, np.newaxis])
    cells, columns = basis.shape
    products = (basis[:, :, np.newaxis] * basis[:, np.newaxis, :]).reshape(cells, -1)
    inverse = np.asarray(
        np.linalg.inv((weight @ products).reshape(-1, columns, columns)), np.float64
    )
    effects = inverse @ ((weight * y) @ basis)[..., np.newaxis]
    return weight, effects[..., 0] @ basis.T, inverse


def _tau2(y: Floats, v: Floats, basis: Floats, target: float) -> Floats:
    """The tau² at which the weighted residual sum of squares is ``target``; 0 if never as large.

    Newton's method on one over that sum: it is increasing and concave in tau², so the steps from 0
    never overshoot, and it is nearly a line, so they are few.
    """
    tau2 = np.zeros(len(y))
    for _ in range(_STEPS):
        weight, fitted, _ = _fit(y, v, basis, tau2)
        squares = weight * (y - fitted) ** 2
        total, slope = squares.sum(axis=1), (weight * squares).sum(axis=1)
        above = total > target
        step = np.where(above, total * (total / target - 1) / np.where(above, slope, 1.0), 0.0)
        tau2 += step
        if (step <= 1e-12 * tau2).all():
            break
    return tau2


def _pool(
    y: Floats, v: Floats, worth: Floats, basis: Floats, level: float
) -> tuple[Floats, Floats, Floats]:
    """Pooled, low, high, fitted; their error; tau, low, high, used; for questions without gaps."""
    degrees = basis.shape[0] - basis.shape[1]
    targets = degrees, *special.chdtri(degrees, [(1 - level) / 2, (1 + level) / 2])
    tau2 = np.stack([_tau2(y, v, basis, float(target)) for target in targets])
    used = np.maximum(tau2[0], 2 * (v**2).sum(axis=1) / (degrees * v.sum(axis=1)))
    weight, fitted, inverse = _fit(y, v, basis, used)
    fitted = np.clip(fitted, 0.0, 1.0)
    own = used[:, np.newaxis] * weight
    pooled = np.clip(fitted + own * (y - fitted), 0.0, 1.0)
    noise = np.maximum(v, pooled * (1 - pooled) / worth)
    each = np.eye(len(basis))
    hat = basis @ inverse @ basis.T * weight[:, np.newaxis]
    drawn = (1 - own)[..., np.newaxis] * (hat - each)
    counts = drawn + each
    error = (counts * noise[:, np.newaxis]) @ counts.mT
    error += used[:, np.newaxis, np.newaxis] * (drawn @ drawn.mT)
    reach = special.ndtri((1 + level) / 2) * np.sqrt(np.minimum(_diagonal(error), noise))
    by_cell = np.stack([pooled, pooled - reach, pooled + reach, fitted])
    taus = np.sqrt(np.concatenate([tau2, used[np.newaxis]]))
    return np.clip(by_cell, 0.0, 1.0), error, np.minimum(taus, 1.0)


def _diagonal(matrices: Floats) -> Floats:
    return np.asarray(np.diagonal(matrices, axis1=-2, axis2=-1))


def pooled_differences(
    found: Pooled, n: npt.ArrayLike, one: npt.ArrayLike, other: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Differences of pooled rates and their standard errors, for cells and for all others of each.

    Formula: with the rate of the rest the mean of the other cells' pooled rates, weighted by their
    pictures, ``d = p_one - p_other`` and ``se² = e_11 + e_22 - 2 e_12``, e being ``Pooled.error``
    carried over to the rest. Pooled rates of cells share effects, so their errors are correlated.
    Range: d in [-1, 1]. Does not show: what one odd cell does (see ``partial_pooling``).

    Args:
        found: Pooled rates of Q questions in C cells.
        n: Pictures of each cell, (C,).
        one: First side of each of P comparisons: a cell, or from C on the rest of a cell.
        other: Second side.

    Returns:
        Differences and standard errors, (Q, P); nan where a cell has no pooled rate.

    Source:
        Rao, Molina (2015), Small Area Estimation, 5.2, on linear combinations.
    """
    size = np.asarray(n, dtype=np.float64)
    first, second = np.asarray(one, dtype=np.int64), np.asarray(other, dtype=np.int64)
    others = size * (1 - np.eye(size.size))
    whole = others.sum(axis=1, keepdims=True)
    rest = others / np.where(whole > 0, whole, np.nan)
    # an empty cell has no weight in any rest
    sides = np.concatenate([np.eye(size.size), np.where(size > 0, rest, 0.0)])
    known = ~np.isnan(found.pooled)
    rates = np.where(known, found.pooled, 0.0) @ sides.T
    error = sides @ np.nan_to_num(found.error) @ sides.T
    squared = error[:, first, first] + error[:, second, second] - 2 * error[:, first, second]
    there = np.concatenate([known, known], axis=1)
    both = there[:, first] & there[:, second]
    d = np.where(both, rates[:, first] - rates[:, second], np.nan)
    return d, np.where(both, np.sqrt(np.maximum(squared, 0.0)), np.nan)

"""p-values for equality of two rates, and what to do about asking many such questions.

The tests hold for independent rows. p-values are nan where nothing was asked (an empty group) and
stay nan, uncounted, through every correction; none is ever 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError

EXACT_BELOW = 100.0
"""Fisher's exact test where the smallest expected cell is below this, else the score test."""

_SMALLEST = float(np.finfo(np.float64).tiny)
_TIE = 1 + 1e-7  # tables this near in probability count as equally likely, as in scipy and R
_CELLS_AT_ONCE = 200_000  # a few MB an array, which stays in the cache
_PADDING = 32


def difference_p(
    events_1: npt.ArrayLike, n_1: npt.ArrayLike, events_2: npt.ArrayLike, n_2: npt.ArrayLike
) -> Floats:
    """Two-sided p-value for the hypothesis that two groups have the same rate.

    Formula: where the smallest expected cell of the 2 x 2 table is below ``EXACT_BELOW``, Fisher's
    exact test: with the margins fixed, the chance of a table no likelier than the one seen. Else
    the score test, ``2 Phi(-|p1 - p2| / sqrt(p (1 - p) (1/n1 + 1/n2)))`` with the pooled rate p, no
    continuity correction (the chi-squared test of the table). The choice looks at margins only.
    Range: above 0, at most 1; 1 where no picture or every picture is an event, since such tables
    say nothing against equality. Does not show: how large the difference is, nor, when large,
    that there is none.

    Why so: corrections for many questions read p-values far out in the tail, where the score test
    is much too small for groups of unequal size: 100 v 5,000 pictures at a rate of 5 % (5 expected)
    fall below a nominal 0.00001 eleven times too often, 1,000 v 9,000 at 10 % (100 expected) 1.3
    times; the common rule of 5 expected is made for 0.05. Boschloo's test is more powerful
    than Fisher's for small groups but takes milliseconds to seconds a table.

    Args:
        events_1: Events of the first group, whole numbers; any shape that broadcasts.
        n_1: Pictures of the first group; p is nan where it is 0.
        events_2: Events of the second group.
        n_2: Pictures of the second group.

    Returns:
        p-values of the broadcast shape.

    Raises:
        InputError: Counts that are negative or fractional, or more events than pictures.

    Source:
        Fisher (1935), JRSS 98, 39-82; Agresti (2013), Categorical Data Analysis, 3.2 and 3.5.
    """
    x_1, size_1, x_2, size_2 = _tables(events_1, n_1, events_2, n_2)
    p = np.full(x_1.shape, np.nan)
    exact = _small(x_1, size_1, x_2, size_2)
    rest = ~exact & (size_1 > 0) & (size_2 > 0)
    p[exact] = _fisher(x_1[exact], size_1[exact], x_2[exact], size_2[exact])
    p[rest] = _score(x_1[rest], size_1[rest], x_2[rest], size_2[rest])
    return p


def smallest_p(n_1: npt.ArrayLike, n_2: npt.ArrayLike) -> Floats:
    """The smallest p-value that Fisher's exact test can give for groups of these sizes.

    Formula: ``1 / C(n1 + n2, n1)``, the chance that all events fall into one group when there are
    as many as it has pictures; twice that for groups of equal size, where the mirrored table is as
    unlikely. A family of m questions under Holm at alpha can show something in such a cell only
    if this is at most alpha/m.
    Range: above 0, at most 1; never below 2.2e-308. Does not show: what is attainable at the number
    of events at hand, which is never smaller.

    Args:
        n_1: Pictures of the first group, whole numbers; nan where 0. Any shape that broadcasts.
        n_2: Pictures of the second group.

    Returns:
        p-values of the broadcast shape.

    Raises:
        InputError: Sizes that are negative or fractional.

    Source:
        The hypergeometric distribution at its ends; Tarone (1990), Biometrics 46, 515-522.
    """
    size_1, size_2 = np.broadcast_arrays(_whole(n_1, "n_1"), _whole(n_2, "n_2"))
    log_ways = _log_factorial(size_1 + size_2) - _log_factorial(size_1) - _log_factorial(size_2)
    p = np.exp(-log_ways) * np.where(size_1 == size_2, 2.0, 1.0)
    empty = (size_1 == 0) | (size_2 == 0)
    return np.where(empty, np.nan, np.clip(p, _SMALLEST, 1.0))


def homogeneity(
    events: npt.ArrayLike, n: npt.ArrayLike, effects: npt.ArrayLike = 1.0
) -> tuple[Floats, Floats]:
    """Whether a share is the same in all groups: Pearson's chi-squared, and its p.

    Formula: ``X² = sum over groups of (x - n p)² / (n p (1 - p))`` with p the share of all groups
    together, over the mean design effect ``sum of (1 - n / N) effect / (G - 1)`` where pictures
    depend on each other (Rao and Scott's first-order correction); p from chi-squared with G - 1
    degrees of freedom.
    Range: from 0, larger is a surer difference; it grows with the number of pictures, so it ranks
    labels within one data set and says nothing of the size of a difference. The approximation needs
    about five expected events a group. nan where no group, or every picture, has an event.

    Args:
        events: Pictures with the event, (..., G).
        n: Pictures, (..., G); groups without any are left out.
        effects: Variance of each group's share over that of as many independent pictures.

    Returns:
        The statistic and p, (...).

    Source:
        Scott, Rao (1981), in Current Topics in Survey Sampling, 247-265.
    """
    x, n = np.asarray(events, float), np.asarray(n, float)
    total, groups = n.sum(axis=-1), (n > 0).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = (x.sum(axis=-1) / total)[..., np.newaxis]
        each = (x - n * p) ** 2 / (n * p * (1 - p))
        apart = np.where(n > 0, each, 0.0).sum(axis=-1)
        weight = np.where(n > 0, 1 - n / total[..., np.newaxis], 0.0)
        effect = (weight * np.asarray(effects, float)).sum(axis=-1) / (groups - 1)
        statistic = np.where(groups > 1, apart / effect, np.nan)
    return statistic, np.asarray(special.chdtrc(groups - 1, statistic))


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values: the chance of any false finding in the family stays below alpha.

    Formula: with m p-values in rising order, ``max over j <= i of min(1, (m - j + 1) p_(j))``.
    Range: at most 1, never below p; reject where at most alpha. Holds under any dependence.
    Does not show: anything about questions outside the family.

    Args:
        p: The family, any shape; nan stays nan and does not count.

    Returns:
        Adjusted p-values, of the shape of ``p``.

    Raises:
        InputError: A p-value outside [0, 1].

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    values, asked = _family(p)
    asked_p = values[asked]
    order = np.argsort(asked_p, kind="stable")
    steps = np.arange(asked_p.size, 0, -1)
    asked_p[order] = np.minimum(np.maximum.accumulate(steps * asked_p[order]), 1.0)
    return _back(asked_p, values, asked)


def benjamini_hochberg(p: npt.ArrayLike) -> Floats:
    """Benjamini and Hochberg's q-values: the expected share of false among reported findings.

    Formula: with m p-values in rising order, ``min over j >= i of min(1, m p_(j) / j)``.
    Range: at most 1, never below p. Holds for independent or positively dependent questions; for
    screening only. Does not show: which of the reported findings are the false ones.

    Args:
        p: The family, any shape; nan stays nan and does not count.

    Returns:
        q-values, of the shape of ``p``.

    Raises:
        InputError: A p-value outside [0, 1].

    Source:
        Benjamini, Hochberg (1995), JRSS B 57, 289-300.
    """
    values, asked = _family(p)
    return _back(_false_discovery(values[asked], 1.0), values, asked)


def benjamini_yekutieli(p: npt.ArrayLike) -> Floats:
    """Benjamini and Yekutieli's q-values: as Benjamini-Hochberg, but under any dependence.

    Formula: Benjamini and Hochberg's with ``m (1 + 1/2 + ... + 1/m)`` in place of m.
    Range: at most 1, never below p; about ln m times more cautious. Does not show: which of the
    reported findings are the false ones.

    Args:
        p: The family, any shape; nan stays nan and does not count.

    Returns:
        q-values, of the shape of ``p``.

    Raises:
        InputError: A p-value outside [0, 1].

    Source:
        Benjamini, Yekutieli (2001), Annals of Statistics 29, 1165-1188.
    """
    values, asked = _family(p)
    harmonic = float(np.sum(1 / np.arange(1, asked.sum() + 1)))
    return _back(_false_discovery(values[asked], harmonic), values, asked)


def bonferroni_level(level: npt.ArrayLike, m: npt.ArrayLike) -> Floats:
    """The level of each of m intervals so that together they cover with at least ``level``.

    Formula: ``1 - (1 - level) / m``. Range: from ``level`` to below 1. Holds under any dependence;
    wider than needed where the questions are alike. Does not show: a joint region.

    Args:
        level: Level for all together, strictly between 0 and 1; any shape that broadcasts.
        m: Number of intervals, at least 1.

    Returns:
        Levels of the broadcast shape.

    Raises:
        InputError: A level outside (0, 1), or fewer than one interval.

    Source:
        Dunn (1961), JASA 56, 52-64.
    """
    together, count = np.asarray(level, dtype=np.float64), np.asarray(m, dtype=np.float64)
    wrong = ~((together > 0) & (together < 1))
    if wrong.any():
        got = f"level: {together[wrong].flat[0]:g} is not strictly between 0 and 1"
        raise InputError(got, "Give a share such as 0.95, not 95")
    if not (count >= 1).all():
        got = f"m: {count[~(count >= 1)].flat[0]:g} intervals"
        raise InputError(got, "A family has at least one")
    return np.asarray(1 - (1 - together) / count)


def _whole(value: npt.ArrayLike, name: str) -> Integers:
    number = np.asarray(value, dtype=np.float64)
    wrong = ~((number >= 0) & (number == np.floor(number)) & np.isfinite(number))
    if wrong.any():
        raise InputError(
            f"{name}: {number[wrong].flat[0]:g} is not a count",
            "Give whole numbers from 0; weighted or effective counts have intervals, no test",
        )
    return number.astype(np.int64)


def _tables(
    events_1: npt.ArrayLike, n_1: npt.ArrayLike, events_2: npt.ArrayLike, n_2: npt.ArrayLike
) -> tuple[Integers, Integers, Integers, Integers]:
    x_1, size_1, x_2, size_2 = np.broadcast_arrays(
        _whole(events_1, "events_1"),
        _whole(n_1, "n_1"),
        _whole(events_2, "events_2"),
        _whole(n_2, "n_2"),
    )
    for name, x, size in (("events_1", x_1, size_1), ("events_2", x_2, size_2)):
        if (x > size).any():
            first = np.flatnonzero(x > size)[0]
            raise InputError(
                f"{name}: {x.flat[first]} events of {size.flat[first]} pictures",
                "Events must be between 0 and the number of pictures",
            )
    return x_1, size_1, x_2, size_2


def _small(x_1: Integers, n_1: Integers, x_2: Integers, n_2: Integers) -> npt.NDArray[np.bool_]:
    total, events = n_1 + n_2, x_1 + x_2
    expected = np.minimum(n_1, n_2) * np.minimum(events, total - events) / np.maximum(total, 1)
    return np.asarray((n_1 > 0) & (n_2 > 0) & (expected < EXACT_BELOW))


def _score(x_1: Integers, n_1: Integers, x_2: Integers, n_2: Integers) -> Floats:
    pooled = (x_1 + x_2) / (n_1 + n_2)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n_1 + 1 / n_2))
    z = np.abs(x_1 / n_1 - x_2 / n_2) / error
    return np.asarray(np.clip(2 * special.ndtr(-z), _SMALLEST, 1.0))


def _fisher(x_1: Integers, n_1: Integers, x_2: Integers, n_2: Integers) -> Floats:
    """Fisher's p for a list of tables; each distinct table once, in blocks of like width."""
    if x_1.size == 0:
        return np.empty(0)
    tables, back = np.unique(np.stack([x_1, n_1, x_1 + x_2, n_2]), axis=1, return_inverse=True)
    first, size_1, events, size_2 = tables
    lowest = np.maximum(0, events - size_2)
    width = np.minimum(size_1, events) - lowest + 1
    p = np.empty(first.size)
    for padded, at in _blocks(width):
        p[at] = _fisher_block(
            first[at], size_1[at], events[at], size_2[at], lowest[at], width[at], padded
        )
    return p[back.reshape(-1)]


def _blocks(width: Integers) -> Iterator[tuple[int, Integers]]:
    """Tables to take together, with the width to pad them to; bounded by ``_CELLS_AT_ONCE``.

    The padded width depends on the table alone, so that sums round alike in any company and a
    question added elsewhere moves no digit here.
    """
    padded = -(-width // _PADDING) * _PADDING
    for size in np.unique(padded):
        alike = np.flatnonzero(padded == size)
        step = max(1, _CELLS_AT_ONCE // int(size))
        for start in range(0, alike.size, step):
            yield int(size), alike[start : start + step]


def _fisher_block(
    first: Integers,
    size_1: Integers,
    events: Integers,
    size_2: Integers,
    lowest: Integers,
    width: Integers,
    padded: int,
) -> Floats:
    step = np.arange(padded)
    possible = step < width[:, np.newaxis]
    cell = np.minimum(lowest[:, np.newaxis] + step, (lowest + width - 1)[:, np.newaxis])
    ways = -(
        _log_factorial(cell)
        + _log_factorial(size_1[:, np.newaxis] - cell)
        + _log_factorial(events[:, np.newaxis] - cell)
        + _log_factorial((size_2 - events)[:, np.newaxis] + cell)
    )
    seen = ways[np.arange(first.size), first - lowest]
    peak = ways.max(axis=1, keepdims=True)
    weight = np.where(possible, np.exp(ways - peak), 0.0)
    # relative to the table seen, so that a p far below the smallest double does not divide 0 by 0
    rare = possible & (ways <= seen[:, np.newaxis] + np.log(_TIE))
    tail = np.where(rare, np.exp(np.minimum(ways - seen[:, np.newaxis], 1.0)), 0.0).sum(axis=1)
    p = np.exp(np.log(tail) + seen - peak[:, 0] - np.log(weight.sum(axis=1)))
    return np.asarray(np.clip(p, _SMALLEST, 1.0))


def _log_factorial(count: Integers) -> Floats:
    """ln(count!), looked up: the same few thousand counts come up millions of times."""
    table = special.gammaln(np.arange(int(count.max(initial=0)) + 1) + 1.0)
    return np.asarray(table[count])


def _family(p: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    values = np.array(p, dtype=np.float64)
    if ((values < 0) | (values > 1)).any():
        wrong = values[(values < 0) | (values > 1)].flat[0]
        raise InputError(f"p: {wrong:g} is not a p-value", "Give values from 0 to 1")
    return values, ~np.isnan(values)


def _back(adjusted: Floats, values: Floats, asked: npt.NDArray[np.bool_]) -> Floats:
    result = np.full(values.shape, np.nan)
    result[asked] = adjusted
    return result


def _false_discovery(p: Floats, factor: float) -> Floats:
    order = np.argsort(-p, kind="stable")
    rank = np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(factor * p.size / rank * p[order]), 1.0)
    return adjusted

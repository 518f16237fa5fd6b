"""What errors in the group labels would do to a gap, by how many pictures each group has.

A share e of *all* labels of an attribute is wrong, not of each group's. A small group takes in
pictures of the large ones: of a group that is labelled 2 % of the pictures, half may not belong to
it when 1 % of all labels are wrong. Wrong labels come from every group of the attribute, also from
those that are too small to be compared; pictures without a label are no part of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Floats
from audit.core.errors import InputError


def at_random(
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    pair: tuple[npt.ArrayLike, npt.ArrayLike],
    n: npt.ArrayLike,
    events: npt.ArrayLike,
    share: float,
) -> tuple[Floats, Floats]:
    """Bounds of true gaps if group labels are wrong at random, from those of the gaps seen.

    Formula: each label is wrong with probability e, whatever the picture shows, and then that of
    any other of the k groups with equal chance, ``a = e / (k - 1)``. With q the share of all labels
    that a group has, r the rate seen in it and R that of all groups together, which errors leave as
    it is, the true rate of the group is ``R + (r - R) s``, ``s = q / (q - a)``, taken back to 0 or
    1 where chance leads out. The true gap of a pair is the difference of two of these. For two
    groups it is the gap seen over ``1 - c - c'``, c being the share of a group's labels that is
    wrong; for k groups of one size the gap seen over ``1 - e k / (k - 1)``.
    The distance of each bound from the gap seen grows by the factor that belongs to the smaller
    group's rate, ``s - q (s - s')``; it is exact for two groups and for groups of one size, and
    else larger than the standard error asks for where the rates' variances are alike.
    Range: -1 to 1; nan where no group of the labelled size can come about: the errors alone would
    give it more labels (``q <= a``), or the labels carry no information (``e >= (k - 1) / k``).
    Does not show: errors that depend on the outcome or go to one group rather than to another; see
    ``at_worst``; chance in how many labels are wrong.

    Args:
        low: Lower bounds of the gaps seen, first less second group, (P,).
        high: Upper bounds.
        pair: Indices of the first and of the second group of each gap, (P,) each.
        n: Pictures labelled as each group, all groups of the attribute, (k,).
        events: Events among them.
        share: Share of all labels that are wrong, from 0 to below 1.

    Raises:
        InputError: A share out of range; fewer than two groups, one without pictures, or events
            that are no part of them.

    Source:
        Bross (1954), Biometrics 10, 478-486, for two groups; for more, the inverse of their
        confusion matrix.
    """
    e, (size, rate) = _share(share), _groups(n, events)
    q, k = size / size.sum(), len(size)
    a = e / (k - 1)
    scale = np.where((q > a) & (e * k < k - 1), q / np.where(q > a, q - a, 1.0), np.nan)
    overall = q @ rate
    true = np.clip(overall + (rate - overall) * scale, 0.0, 1.0)
    one, other = (np.asarray(side, dtype=np.int64) for side in pair)
    apart = scale[one] - scale[other]
    smaller = np.where(apart > 0, q[one], q[other])
    factor = np.maximum(scale[one], scale[other]) - smaller * np.abs(apart)
    seen = rate[one] - rate[other]
    return _around(true[one] - true[other], seen, low, high, factor)


def at_worst(
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    pair: tuple[npt.ArrayLike, npt.ArrayLike],
    n: npt.ArrayLike,
    events: npt.ArrayLike,
    share: float,
) -> tuple[Floats, Floats]:
    """The same if the wrong labels are those that mislead most.

    Formula: of N labels ``E = e N`` are wrong, each in any group and of any picture. Taking E
    pictures without an event out of a group of n with x events, or E with one into it, makes its
    rate at most ``max(x / (n - E), (x + E) / (n + E))``; its least follows from counting what is no
    event. A gap is at most the one group's most less the other's least: a label that is wrong
    between the two does both at once. The distance of each bound from the gap seen grows by
    ``n / (n - E)`` of the smaller group.
    Range: -1 to 1, all of it where a group could be wrong as a whole (``E >= n``). Never milder
    than errors at random: holds the bounds of ``at_random`` for every share and all sizes.
    Does not show: how likely such errors are.

    Args:
        low: Lower bounds of the gaps seen, first less second group, (P,).
        high: Upper bounds.
        pair: Indices of the first and of the second group of each gap, (P,) each.
        n: Pictures labelled as each group, all groups of the attribute, (k,).
        events: Events among them.
        share: Share of all labels that are wrong, from 0 to below 1.

    Raises:
        InputError: As ``at_random``.

    Source:
        Horowitz, Manski (1995), Econometrica 63, 281-302, on contaminated data; that pictures may
        also be missing from a group is added.
    """
    e, (size, rate) = _share(share), _groups(n, events)
    wrong = e * size.sum() / size
    most, least = _most(rate, wrong), 1 - _most(1 - rate, wrong)
    one, other = (np.asarray(side, dtype=np.int64) for side in pair)
    spread = np.maximum(wrong[one], wrong[other])
    factor = np.where(spread < 1, 1 / np.where(spread < 1, 1 - spread, 1.0), np.inf)
    seen = rate[one] - rate[other]
    lowest, _ = _around(least[one] - most[other], seen, low, high, factor)
    _, highest = _around(most[one] - least[other], seen, low, high, factor)
    return lowest, highest


def _most(rate: Floats, wrong: Floats) -> Floats:
    """The highest rate of groups in which so many labels, relative to their size, are wrong."""
    kept = np.where(wrong < 1, 1 - wrong, 1.0)
    found = np.maximum(rate / kept, (rate + wrong) / (1 + wrong))
    return np.where(wrong < 1, np.minimum(found, 1.0), 1.0)


def _around(
    gap: Floats, seen: Floats, low: npt.ArrayLike, high: npt.ArrayLike, factor: Floats
) -> tuple[Floats, Floats]:
    """Bounds as far from the gap as those seen are from the gap seen, times the factor."""
    below, above = seen - np.asarray(low, dtype=float), np.asarray(high, dtype=float) - seen
    with np.errstate(invalid="ignore"):
        lowest = np.where(np.isinf(factor), -1.0 + 0 * below, gap - factor * below)
        highest = np.where(np.isinf(factor), 1.0 + 0 * above, gap + factor * above)
    return np.clip(lowest, -1.0, 1.0), np.clip(highest, -1.0, 1.0)


def _groups(n: npt.ArrayLike, events: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Size and rate of every group."""
    size, x = np.asarray(n, dtype=np.float64), np.asarray(events, dtype=np.float64)
    if size.ndim != 1 or size.shape != x.shape or len(size) < 2:
        got = f"label errors: pictures {size.shape}, events {x.shape}"
        raise InputError(got, "Give one number of each a group, two groups at least")
    if not ((size > 0) & (x >= 0) & (x <= size)).all():
        got = "label errors: a group without pictures, or with other events than pictures"
        raise InputError(got, "Leave empty groups out; events are from 0 to pictures")
    return size, x / size


def _share(share: float) -> float:
    if not 0 <= share < 1:
        got = f"share: {share:g} of the labels wrong"
        raise InputError(got, "Give a share from 0 to below 1, such as 0.05")
    return share

"""What a suite could show before it is run: subjects needed, and gaps that would be found."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from audit.measure.confidence import Confidence
from audit.stats.power import (
    detectable_difference,
    needed_n_beyond,
    needed_n_beyond_ratio,
    needed_n_for_margin,
    needed_n_for_ratio,
)

#: how common the events are for which the smallest detectable gap is printed
BASES: Final = (0.01, 0.05, 0.2)


def needed_to_exceed(
    c: Confidence, family: str, comparisons: int, claims: int = 1, base: float = 0.1
) -> float:
    """Subjects a group to show a gap of twice the margin beyond it: by points or by the ratio.

    nan where no number suffices: rates that far apart lie outside 0 to 100 %.
    """
    margin = c.margin(family)
    scales = 1 if margin.ratio is None else 2
    level = 1 - (1 - c.level) / claims / scales
    gap = 2 * margin.difference
    if base + gap > 1:
        return float("nan")
    found = [needed_n_beyond(base, gap, margin.difference, level, c.power, comparisons)]
    if margin.ratio is not None:
        found.append(needed_n_beyond_ratio(base, gap, margin.ratio, level, c.power, comparisons))
    return float(np.nanmin(found)) if not np.isnan(found).all() else float("nan")


def needed_to_be_within(
    c: Confidence, family: str, comparisons: int, claims: int = 1, base: float = 0.1
) -> float:
    """Subjects a group to show that equal rates differ by less than the margin, on every scale.

    Each pair has its own two one-sided tests without correction, and all of them have to succeed.
    """
    margin = c.margin(family)
    level = 1 - 2 * (1 - c.level) / claims
    power = 1 - (1 - c.power) / comparisons
    needed = float(needed_n_for_margin(base, margin.difference, level=level, power=power))
    if margin.ratio is None:
        return needed
    return max(needed, float(needed_n_for_ratio(base, margin.ratio, level=level, power=power)))


def detectable(
    sizes: NDArray[np.int64], bases: tuple[float, ...], level: float, power: float
) -> NDArray[np.float64]:
    """The gap found between the two smallest groups; either may be the one that differs."""
    ways = ((sizes[0], sizes[1]), (sizes[1], sizes[0]))
    found = [detectable_difference(a, b, bases, level=level, power=power) for a, b in ways]
    return np.maximum(*found)

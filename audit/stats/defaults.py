"""Which interval a rate and a difference of rates have, from how many events on, and their names.

Change an interval here: tables, reports and replications follow. ``audit.stats.intervals`` has the
formulas, ``audit.stats.clustered`` how many independent pictures a group's are worth, and
docs/calibration.md how often each interval covers; run ``python -m benchmarks.calibration`` again.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from audit.core.arrays import Floats
from audit.stats.intervals import clopper_pearson, wilson

Bounds = tuple[Floats, Floats]

#: the interval of a rate of many events, that of one of few, and what tables call them
OF_MANY, OF_FEW = wilson, clopper_pearson
NAME_OF_MANY, NAME_OF_FEW = "Wilson", "Clopper-Pearson"
EITHER: Final = f"{NAME_OF_MANY} or {NAME_OF_FEW} at effective n"
#: the interval of a difference puts the bounds of two rates together, as Newcombe (1998) does
OF_DIFFERENCE: Final = "Newcombe"
OF_DIFFERENCE_IN_CLUSTERS: Final = f"{OF_DIFFERENCE} at effective n"

MANY: Final = 5.0
"""Many are ``MANY z²`` events and as many non-events (19 at 95 %). Measured over 5 to 5,000
pictures and rates of 0.5 to 50 %: at worst 93.6 % coverage at 95 % (Wilson alone 83.8 %), and
misses at most 2.5 times nominal at 99.99 % (Wilson alone 490 times)."""

MANY_OF_PAIR: Final = 20.0
"""As ``MANY``, for the rates of a comparison: Wilson's for both if both have as many, else the
exact one for both. Where Wilson's lower bound is too high, its upper one is high too, and the exact
one is not: one of each adds up both faults. Error of one bound at 5 %, summed over all outcomes of
20 to 6,000 pictures, rates of 1 to 99 % and gaps of 0 to 20 points: at most 5.4 % (with ``MANY`` of
both rates 6.4 %, Newcombe's interval 14.9 %, exact bounds only 5.2 %)."""


def in_quantiles(events: npt.ArrayLike, size: npt.ArrayLike, level: npt.ArrayLike) -> Floats:
    """Events or non-events, whichever are fewer, over the squared normal quantile of the level."""
    critical = special.ndtri((1 - np.asarray(level, dtype=np.float64)) / 2) ** 2
    happened, of = np.asarray(events, float), np.asarray(size, float)
    return np.asarray(np.minimum(happened, of - happened) / critical)


def rate_bounds(events: npt.ArrayLike, size: npt.ArrayLike, level: npt.ArrayLike) -> Bounds:
    """The default interval of rates of independent pictures, of any shape that broadcasts."""
    few = in_quantiles(events, size, level) < MANY
    rough, exact = OF_MANY(events, size, level), OF_FEW(events, size, level)
    return np.where(few, exact[0], rough[0]), np.where(few, exact[1], rough[1])


def name_of_rate(few: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """What the default interval of each rate is called; ``few``: its events are few."""
    return np.where(few, NAME_OF_FEW, NAME_OF_MANY).astype(object)

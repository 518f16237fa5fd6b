"""Times of day as groups: a day is a circle, so the last bin goes on past midnight to the first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audit.core.errors import InputError

_TIME: Final = re.compile(
    r"(?:\d{4}-\d\d-\d\d[T ])?([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d(?:\.\d+)?)?"
    r"(?:Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


def minutes(text: str) -> int | None:
    """Minutes since midnight of a time (``22:15``) or of a date with one; None if it is neither.

    The time is the one that is written, whatever zone is written behind it.
    """
    found = _TIME.fullmatch(text.strip())
    return None if found is None else 60 * int(found[1]) + int(found[2])


def parts_of_day(
    times: Sequence[int], edges: Sequence[str], where: str
) -> tuple[NDArray[np.object_], list[str]]:
    """The part of the day of each time, and all parts in their order, the first edge's first.

    Each begins at its edge; the last one ends at the first edge, past midnight.

    Raises:
        InputError: an edge is no time, there are fewer than two, or they don't rise.
    """
    at = [minutes(edge) for edge in edges]
    found = [minute for minute in at if minute is not None]
    if len(found) < max(2, len(at)) or any(a >= b for a, b in pairwise(found)):
        told = f"got {list(edges)}; give rising times of the day"
        raise InputError(f'{where}: {told}, such as ["06:00", "22:00"] for day and night.')
    names = [f"{begin} to {end}" for begin, end in pairwise((*edges, edges[0]))]
    # before the first edge it is still the last part
    index = np.searchsorted(found, np.asarray(times), side="right") - 1
    return np.array(names, dtype=object)[index], names

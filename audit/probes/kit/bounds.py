"""Bounds of what probes measure: as columns of a row, and in its sentence."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from audit.core.rows import Fields
from audit.core.verdicts import size_bounds

_ENDS: Final = ("low", "high", "low_simultaneous", "high_simultaneous")


def ends(*bounds: npt.ArrayLike, at: tuple[int, ...] = (), unit: float = 1.0) -> dict[str, float]:
    """Columns of bounds: low and high of one row alone, then of all rows of its family at once.

    Args:
        bounds: two or four arrays, or numbers.
        at: the place of the row in each array.
        unit: what they are multiplied by: 100 for points.
    """
    return {n: unit * float(np.asarray(b)[at]) for n, b in zip(_ENDS, bounds, strict=False)}


def size_of(row: Fields) -> tuple[float, float]:
    """What a row's value surely exceeds in size, and is surely below, with all of its family."""
    low, high = (np.asarray(row[f"{end}_simultaneous"], float) for end in ("low", "high"))
    least, most = size_bounds(low, high)
    return float(least), float(most)


def simultaneous(row: Fields, digits: str, unit: float = 1.0, level: float | None = None) -> str:
    """The bounds that hold for all rows of a family at once, as they stand in a sentence.

    Args:
        row: has them, and ``level`` where none is given.
        digits: how each is written, such as ``+z.0f``.
        unit: what they are multiplied by.
        level: at which they hold, a share.
    """
    low, high = (f"{unit * row[f'{end}_simultaneous']:{digits}}" for end in ("low", "high"))
    level = row["level"] if level is None else level
    return f"{100 * level:.0f} % simultaneous bounds {low} to {high}"

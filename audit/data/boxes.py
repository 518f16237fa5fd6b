"""People cut out of pictures: the columns of a box, in any of the usual orders, and its size.

How many pixels a person or face takes decides what anybody could tell of them, so it is an
attribute like others: levels of pixel density of IEC 62676-4:2014 (pixels a metre), as makers of
cameras print them; the standard itself was not read, and its edition of 2025 has other levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.errors import InputError
from audit.core.registry import unknown
from audit.data.card import AttributeCard, Box, Card
from audit.data.manifest import Manifest
from audit.data.values import number

Sides = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

DENSITY: Final = "pixel_density"
"""The attribute that says how densely a person or face is covered with pixels."""

_WHOLE: Final = "whole picture"
#: what each order holds; then left, top, width and height of it
_ORDERS: Final[Mapping[str, tuple[str, Callable[..., Sides]]]] = {
    "xywh": ("left, top, width, height", lambda a, b, c, d: (a, b, c, d)),
    "xyxy": ("left, top, right, low", lambda a, b, c, d: (a, b, c - a, d - b)),
    "xxyy": ("left, right, top, low", lambda a, b, c, d: (a, c, b - a, d - c)),
    "cxcywh": (
        "middle across, middle down, width, height",
        lambda a, b, c, d: (a - c / 2, b - d / 2, c, d),
    ),
}
_UNITS: Final[Mapping[str, float | None]] = {"pixels": None, "percent": 1.0, "fraction": 100.0}
#: what is taken to be known of whom a box shows: which of its sides, and that side in metres
_METRES: Final[Mapping[str, tuple[str, int, float]]] = {
    "person": ("height", 3, 1.7),
    "face": ("width", 2, 0.16),
}
#: pixels a metre from which on a level is reached
_LEVELS: Final[Mapping[str, float]] = {
    "below monitor": 0.0,
    "monitor": 12.5,
    "detect": 25.0,
    "observe": 62.5,
    "recognise": 125.0,
    "identify": 250.0,
}


def with_regions(manifest: Manifest, card: Card, box: Box, where: str) -> tuple[Manifest, Card]:
    """Rows whose paths name the region of their box, and the card with what that adds.

    Rows of one picture are one cluster where the card names no column.

    Raises:
        InputError: a column isn't there, a side is no number, a box ends before it begins, the
            density of boxes is asked that are not in pixels.
    """
    table = manifest.table
    for name in (*box.columns, card.image_column):
        if name not in table:
            raise unknown("column", name, list(map(str, table.columns)), where=f"{where} box")
    if box.of and _UNITS[box.unit] is not None:
        told = f"{where} box: 'of: {box.of}' counts pixels, and sides are in {box.unit}"
        raise InputError(told, "Give the box in pixels, or take 'of' out")
    sides = _sides(manifest, box, where)
    named = [_region(box.unit, *row) for row in zip(*sides, strict=True)]
    pictures = table[card.image_column]
    columns: dict[str, Sequence[str]] = {
        card.image_column: [p and f"{p}#{n}" for p, n in zip(pictures, named, strict=True)],
        _WHOLE: pictures.tolist(),
    }
    added: dict[str, object] = {}
    if box.of:
        columns[DENSITY] = _levels(box.of, sides)
        added["attributes"] = {**card.attributes, DENSITY: _density(box.of)}
    if card.cluster_column is None:
        added["cluster_column"] = _WHOLE
    return replace(manifest, table=_with(table, columns, where)), card.model_copy(update=added)


def _with(table: pd.DataFrame, columns: Mapping[str, Sequence[str]], where: str) -> pd.DataFrame:
    if taken := next((name for name in (DENSITY, _WHOLE) if name in columns and name in table), ""):
        told = f"{where} box: the manifest has a column '{taken}', which boxes make"
        raise InputError(told, "Rename it")
    made = pd.DataFrame(columns, table.index, dtype=object)
    return table.drop(columns=list(made), errors="ignore").join(made)


def _sides(manifest: Manifest, box: Box, where: str) -> Sides:
    """Left, top, width and height of each box, in its unit."""
    said, sides = _ORDERS[box.order]
    given = manifest.table[list(box.columns)]
    found = given.map(lambda text: number(str(text)), na_action="ignore").astype(float)
    left, top, width, height = sides(*found.to_numpy().T)
    bad = ~((width > 0) & (height > 0))
    if bad.any():
        row = int(bad.argmax())
        held = ", ".join("nothing" if v is None else str(v) for v in given.iloc[row])
        told = f"{where} box: row {given.index[row] + 1} below the header has {held}"
        need = f"'{box.order}' is {said}, numbers, and neither width nor height may be 0 or less"
        other = f"Is the order another one of {', '.join(_ORDERS)}? Or take the row out"
        raise InputError(told, need, other)
    if box.unit != "fraction" and found.to_numpy().max() <= 1:
        told = f"{where} box: no side is beyond 1, as of fractions, and the unit is {box.unit}"
        raise InputError(told, "Write 'unit: fraction' in the box, or mend its columns")
    return left, top, width, height


def _region(unit: str, *sides: float) -> str:
    per = _UNITS[unit]
    parts = ",".join(f"{side * (per or 1):.6f}".rstrip("0").rstrip(".") for side in sides)
    return f"xywh={'percent:' if per else ''}{parts}"


def _levels(of: str, sides: Sides) -> list[str]:
    _, at, metres = _METRES[of]
    starts, names = list(_LEVELS.values()), list(_LEVELS)
    return [names[i - 1] for i in np.searchsorted(starts, sides[at] / metres, side="right")]


def _density(of: str) -> AttributeCard:
    side, _, metres = _METRES[of]
    steps = ", ".join(f"{name} from {least:g}" for name, least in _LEVELS.items() if least)
    about = (
        f"pixels a metre, where the box of a {of} has a {side} of {metres:g} m; levels of IEC "
        f"62676-4:2014: {steps}"
    )
    return AttributeCard(source="assigned", description=about, order=tuple(_LEVELS))

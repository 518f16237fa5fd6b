"""Rows of the table MEASURES as cells, the same in the sections of all probes that write them."""

from __future__ import annotations

import math
from typing import Final

from audit.core.digits import percent
from audit.core.page import MARKS
from audit.core.rows import Record
from audit.core.tables import OK
from audit.probes.kit.cells import NBSP, at, measured, p_value, tag

#: the heading over both outer quantiles of a null
OUTER: Final = "By chance [outer]"


def in_unit(value: float, low: float, high: float, unit: str = "") -> str:
    """A value with its bounds in its own unit, in the digits that these support.

    A share, whose unit is blank, is told in points.
    """
    if not unit or math.isnan(value):
        return measured(value, low, high)
    half = (high - low) / 2
    known = math.isfinite(half) and half > 0
    digits = min(max(0, 1 - math.floor(math.log10(half))), 4) if known else 2
    within = "" if math.isnan(low + high) else f" [{low:z.{digits}f}, {high:z.{digits}f}]"
    return f"{value:z.{digits}f}{within}".replace(" ", NBSP)


def by_chance(row: Record) -> str:
    """The mean of a widest gap's null and its outer quantile, in the digits of the gap."""
    if math.isnan(row.null_mean):
        return "–"
    points = 100 if row.unit else 1
    numbers = (row.null_mean, row.null_high, row.low_simultaneous, row.high_simultaneous)
    mean, high, *ends = (number / points for number in numbers)
    return f"{percent(mean, *ends)}, up to {percent(high, *ends)}".replace(" ", NBSP)


def measure_cells(row: Record) -> dict[str, object]:
    """Value with simultaneous bounds, what chance alone gives, p and verdict, by heading.

    Who and what is measured differs by probe and stands before these. A value that can't be given
    has its status and reason instead. ``row`` is one of ``MEASURES``, columns as attributes.
    """
    unit = f", {row.unit}" if row.unit else ", points"
    names = (f"Value{unit} [bounds]", OUTER, "p", "Verdict")
    if row.status != OK and math.isnan(row.value):
        told = f"{row.status.replace('_', ' ')}: {row.reason}"
        return dict(zip(names, (told, "–", "–", "–"), strict=True))
    ends = row.low_simultaneous, row.high_simultaneous
    ends = (row.low, row.high) if math.isnan(sum(ends)) else ends
    cells = (
        at(row, in_unit(row.value, *ends, row.unit)),
        in_unit(row.null_mean, row.null_low, row.null_high, row.unit),
        p_value(None if math.isnan(row.p) else row.p),
        tag(row.verdict) if row.verdict in MARKS else row.verdict,
    )
    return dict(zip(names, cells, strict=True))

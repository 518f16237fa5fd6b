"""Digits: only those that the interval supports.

>>> import audit
>>> audit.digits.percent(0.12345, 0.1, 0.15), audit.digits.percent(0.12345, 0.123, 0.124)
('12', '12.35')
"""

from __future__ import annotations

import math


def decimals(low: float, high: float) -> int:
    """Decimals of a percentage that its interval supports: none from ± 1 point on, at most two."""
    half = 50 * (high - low)
    return 0 if not half < 1 else 1 if half >= 0.1 else 2


def percent(value: float, low: float, high: float) -> str:
    """A share as a percentage (or a gap in points) with the digits that its interval supports."""
    return "–" if math.isnan(value) else f"{100 * value:z.{decimals(low, high)}f}"


def rounded(value: float, digits: int = 2) -> str:
    """A number in so many significant digits, never with an exponent: who reads 1e+02 as 100?"""
    return f"{float(f'{value:.{digits}g}'):,.15g}"


def number(value: float, low: float | None, high: float | None) -> str:
    """A value in a unit of its own with the digits that its interval supports; two without one."""
    half = math.nan if low is None or high is None else (high - low) / 2
    if not (math.isfinite(half) and half > 0):
        return rounded(value)
    places = math.floor(math.log10(half))
    return f"{round(value, -places):z,.{max(0, -places)}f}"


def bounds(low: float, high: float, between: str = " to ") -> str:
    """Both ends of an interval in points."""
    return f"{percent(low, low, high)}{between}{percent(high, low, high)}"


def share(events: int, n: int) -> str:
    """Counts beside the share, so that nobody takes 1 of 3 for 33 of 99."""
    return f"{100 * events / n:.0f} % ({events} of {n})"

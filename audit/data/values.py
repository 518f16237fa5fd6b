"""What a group is called, which values are numbers, and how numbers become bins."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from audit.core.errors import InputError

#: what is cut from both ends of a value, in files and in cards; other blanks are part of it
BLANKS: Final = " \t\r\n"
# leading zeros make a code, not a number: '01' is not 1
_NUMBER: Final = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?(?:0|[1-9]\d*),\d+(?:[eE][+-]?\d+)?", re.ASCII)


def number(text: str) -> float | None:
    """The number that a text is, also one with a decimal comma; None if it is none."""
    plain = text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text
    if not _NUMBER.fullmatch(plain):
        return None
    value = float(plain)
    return value if math.isfinite(value) else None


def are_numbers(texts: Iterable[str]) -> bool:
    """Whether all are numbers, with one decimal sign; '1,234' alone may be a thousand or one."""
    texts = set(texts)
    if not texts or any(number(text) is None for text in texts):
        return False
    commas = [text for text in texts if "," in text]
    if not commas:
        return True
    decimal = (len(t.split(",")[1]) != 3 or t.lstrip("+-").startswith("0,") for t in commas)
    return not any("." in t for t in texts) and any(decimal)


def in_natural_order(texts: Iterable[str]) -> list[str]:
    """Numbers by their size, then words by name; no two are taken for one."""

    def key(text: str) -> tuple[bool, float, str]:
        value = number(text)
        return value is None, 0.0 if value is None else value, text

    return sorted(set(texts), key=key)


def short(value: float) -> str:
    """A number as a person writes it: 24, 0.5."""
    return (
        str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    )


def bin_edges(bins: Sequence[object], where: str) -> list[float]:
    """Rising edges.

    Raises:
        InputError: they aren't finite numbers, or don't rise.
    """
    numbers = [float(b) for b in bins if isinstance(b, int | float) and not isinstance(b, bool)]
    rising = all(low < high for low, high in pairwise(numbers))
    if not numbers or len(numbers) != len(bins) or not np.isfinite(numbers).all() or not rising:
        raise InputError(f"{where}: got {list(bins)}; give rising numbers, such as [18, 35, 60].")
    return numbers


def bin_labels(edges: list[float], whole: bool) -> list[str]:
    """'under 18', '18-34', '35+' for whole numbers, 'a to under b' where 34.5 can occur."""
    inner = [_between(low, high, whole) for low, high in pairwise(edges)]
    return [f"under {short(edges[0])}", *inner, f"{short(edges[-1])}+"]


def _between(low: float, high: float, whole: bool) -> str:
    if not (whole and low.is_integer() and high.is_integer()):
        return f"{short(low)} to under {short(high)}"
    last = high - 1
    joined = "-" if low >= 0 else " to "
    return short(low) if low == last else f"{short(low)}{joined}{short(last)}"


def example_bins(numbers: Sequence[float]) -> str:
    """Two edges that part these numbers into thirds, as a suite would write them."""
    thirds = np.quantile(np.asarray(numbers, dtype=float), [1 / 3, 2 / 3])
    digits = 0 if thirds[1] - thirds[0] >= 2 else 3
    return ", ".join(short(round(float(edge), digits)) for edge in thirds)


def words_among(texts: Sequence[str]) -> str | None:
    """What stands where numbers are wanted, and what to do about it."""
    words = [text for text in texts if number(text) is None]
    if not words:
        commas = [text for text in texts if "," in text]
        if not commas:
            return None
        return f"'{commas[0]}' may be a decimal comma or thousands: write it without the comma"
    if len(words) == len(texts):
        return f"It holds {_some(words)}, and no number"
    digits = [word for word in words if any(sign.isdigit() for sign in word)]
    others = [word for word in words if word not in digits]
    told = []
    if digits:
        told.append(f"It holds {_some(digits)}: write numbers like 7 or 7.5, and nothing else")
    if others:
        advice = "list under 'unknown' in the card what means that nobody knows"
        told.append(f"It holds {_some(others)}: {advice}")
    return ". ".join(told)


def _some(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words[:3]) + (" ..." if len(words) > 3 else "")

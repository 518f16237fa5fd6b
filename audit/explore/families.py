"""Where a data set says what was changed between pictures of a family; the change in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from audit.core.rows import Values

COLUMNS: Final = ("family", "changed", "base")


@dataclass(frozen=True)
class Families:
    """Where the data say what was changed: columns of family and change, value of no change.

    ``tasks`` are the questions whose labels can be scored, ``demographic`` the kinds of change that
    are about who is shown, as the run's probe names them.
    """

    family: str
    changed: str
    base: str
    tasks: tuple[str, ...]
    demographic: tuple[str, ...] = ()


def differences(before: Values, after: Values) -> str:
    """'age_group: child' for every attribute that differs, blank where none does."""
    pairs: Iterable[tuple[str, Any, Any]] = zip(before.index, before, after, strict=True)
    told = [f"{name}: {_short(b)}" for name, a, b in pairs if not (a == b or pd.isna(b))]
    return ", ".join(told)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

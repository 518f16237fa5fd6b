"""A finding in the words and digits in which its author quotes it."""

from __future__ import annotations

from typing import Final

from audit.core.digits import bounds, percent
from audit.core.rows import Fields
from audit.core.tables import EVERYONE

#: what a quoted finding may be asked for; without any, the estimate with its bounds
FIELDS: Final = (
    "estimate", "low", "high", "bounds", "margin", "verdict", "severity", "harm", "groups",
    "statement",
)  # fmt: skip


def quoted(finding: Fields, field: str = "") -> str | None:
    """A field of a finding in the words and digits of the report; None where it has none.

    Gaps are in points, shares of everyone in %, other values in their own unit.
    """
    if field in ("verdict", "severity", "harm", "statement"):
        return str(finding[field])
    if field == "groups":
        return " and ".join(finding["groups"]) or None
    low, high = finding["low"], finding["high"]
    if field == "margin":
        margin = finding["margin"]
        return None if margin is None else f"{margin if finding.get('unit') else 100 * margin:g}"
    if finding["estimate"] is None:
        return None
    if field in ("", "bounds", "low", "high") and (low is None or high is None):
        return _in_unit(finding, f"{_number(finding, 'estimate')}") if field == "" else None
    if field == "bounds":
        return f"{_number(finding, 'low')} to {_number(finding, 'high')}"
    if field:
        return _number(finding, field)
    whole = f"{_number(finding, 'low')} to {_number(finding, 'high')}"
    return f"{_in_unit(finding, _number(finding, 'estimate'))} ({whole})"


def _number(finding: Fields, field: str) -> str:
    value, low, high = finding[field], finding["low"], finding["high"]
    if finding.get("unit") or low is None or high is None:
        return f"{value:.2g}" if finding.get("unit") else f"{100 * value:.0f}"
    return percent(value, low, high) if field != "bounds" else bounds(low, high)


def _in_unit(finding: Fields, number: str) -> str:
    unit = finding.get("unit") or ("%" if finding["attribute"] == EVERYONE else "points")
    return f"{number} {'point' if (number, unit) == ('1', 'points') else unit}"

"""What would become of the verdicts on largest gaps if group labels were wrong.

A share of *all* labels of an attribute is wrong, not of each group's: see
``audit.stats.mislabelled``. Every pair of groups that is compared gets the bounds that it would
have, and the largest gap the largest of them, as without errors. Another pair than the one seen may
be the largest.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.metrics import UNKNOWN
from audit.stats.families import size_bounds, verdicts
from audit.stats.mislabelled import at_random, at_worst
from audit.tables import DIFFERENCE, ENSEMBLE, EVERYONE, OK, REST, records

#: shares of all group labels of an attribute, wrong under which every verdict is looked at again
SHARES: Final = (0.01, 0.05, 0.1)

#: how labels may be wrong, as findings name it
_HOW: Final = {"at random": at_random, "at worst": at_worst}

#: what a largest gap and its pairs are of
_QUESTION: Final = ["probe", "task", "condition", "metric", "label", "attribute"]

Floats = NDArray[np.float64]

#: verdict by how labels are wrong and by share, '1 %'
Verdicts = dict[str, dict[str, str]]


def if_labels_were_wrong(
    largest: pd.DataFrame, disparities: pd.DataFrame, rates: pd.DataFrame
) -> dict[str, Verdicts]:
    """Verdicts of largest gaps, by key, if 1, 5 or 10 % of all group labels were wrong.

    Gaps that could not be compared, or whose pairs or groups are not in these tables, are left out.
    Wrong labels come from all groups of the attribute that have a picture, compared or not;
    'unknown' is no label.

    Args:
        largest: rows of DISPARITIES of the largest gaps, in the headline condition.
        disparities: the table DISPARITIES.
        rates: the table RATES.
    """
    usable = largest[largest["status"] == OK]
    compared = (disparities["comparison"] == DIFFERENCE) & (disparities["status"] == OK)
    pairs = _by_question(disparities, usable, compared & (disparities["other"] != REST))
    labelled = ~rates["group"].isin([UNKNOWN, EVERYONE]) & (rates["n"] > 0)
    groups = _by_question(rates, usable, labelled)
    return {
        row["key"]: _again(row["margin"], pairs[asked], groups[asked])
        for row, asked in zip(records(usable), _questions(usable), strict=True)
        if asked in pairs and asked in groups
    }


def _by_question(
    table: pd.DataFrame, usable: pd.DataFrame, chosen: pd.Series[bool]
) -> dict[Any, pd.DataFrame]:
    """The chosen rows of the headline condition by question."""
    rows = table[chosen & (table["condition"] == ENSEMBLE) & table["task"].isin(usable["task"])]
    return dict(iter(rows.groupby(_QUESTION, sort=False)))


def _questions(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(table[_QUESTION].itertuples(index=False, name=None))


def _again(margin: float, pairs: pd.DataFrame, groups: pd.DataFrame) -> Verdicts:
    """The verdict on one largest gap under every kind and share of errors."""
    place = pd.Index(groups["group"])
    at = place.get_indexer(pd.Index(pairs["group"])), place.get_indexer(pd.Index(pairs["other"]))
    low, high = (pairs[f"{end}_simultaneous"].to_numpy(float) for end in ("low", "high"))
    n, events = groups["n"].to_numpy(float), groups["events"].to_numpy(float)
    return {
        how: {
            f"{100 * share:.0f} %": _verdict(*bounds(low, high, at, n, events, share), margin)
            for share in SHARES
        }
        for how, bounds in _HOW.items()
    }


def _verdict(low: Floats, high: Floats, margin: float) -> str:
    """The verdict on the largest of gaps with these bounds; without bounds it may be any size."""
    unknown = np.isnan(low) | np.isnan(high)
    least, most = size_bounds(np.where(unknown, -1.0, low), np.where(unknown, 1.0, high))
    return str(verdicts(least.max(), most.max(), margin))


__all__ = ["SHARES", "Verdicts", "if_labels_were_wrong"]

"""What would become of the verdicts on largest gaps if group labels were wrong.

A share of *all* labels of an attribute is wrong, not of each group's: see
``audit.stats.mislabelled``. Every pair of groups that is compared gets the bounds that it would
have, and the largest gap the largest of them, as without errors. Another pair than the one seen may
be the largest.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.rows import Fields
from audit.core.tables import DIFFERENCE, ENSEMBLE, EVERYONE, OK, REST, UNKNOWN, records
from audit.core.verdicts import GapSize, decide, size_bounds
from audit.stats.mislabelled import at_random, at_worst

#: shares of all group labels of an attribute, wrong under which every verdict is looked at again
SHARES: Final = (0.01, 0.05, 0.1)

#: how labels may be wrong, as findings name it
_HOW: Final = {"at random": at_random, "at worst": at_worst}

#: what a largest gap and its pairs are of
_QUESTION: Final = ["probe", "task", "condition", "metric", "label", "attribute"]

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]

#: verdict by how labels are wrong and by share, '1 %'
Verdicts = dict[str, dict[str, str]]


def if_labels_were_wrong(
    largest: pd.DataFrame, disparities: pd.DataFrame, rates: pd.DataFrame
) -> dict[str, Verdicts]:
    """Verdicts of largest gaps, by key, if 1, 5 or 10 % of all group labels were wrong.

    Gaps that could not be compared, whose pairs or groups are not in these tables, or whose verdict
    is not that of their pairs' differences as one family are left out: where a ratio decides, or
    what else is primary or explored. Wrong labels come from all groups of the attribute that
    have a picture, compared or not; 'unknown' is no label.

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
        row["key"]: _again(row, pairs[asked], groups[asked])
        for row, asked in zip(records(usable), _questions(usable), strict=True)
        if asked in pairs and asked in groups and _by_differences(row, pairs[asked])
    }


def _by_question(
    table: pd.DataFrame, usable: pd.DataFrame, chosen: pd.Series[bool]
) -> dict[tuple[Hashable, ...], pd.DataFrame]:
    """The chosen rows of the headline condition by question."""
    rows = table[chosen & (table["condition"] == ENSEMBLE) & table["task"].isin(usable["task"])]
    return dict(iter(rows.groupby(_QUESTION, sort=False)))


def _questions(table: pd.DataFrame) -> list[tuple[Hashable, ...]]:
    return list(table[_QUESTION].itertuples(index=False, name=None))


def _by_differences(row: Fields, pairs: pd.DataFrame) -> bool:
    """Whether a verdict is that of the differences of its pairs."""
    return bool(_verdict(row, *_ends(_of_claim(row, pairs))) == row["verdict"])


def _of_claim(row: Fields, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs that a claim is about: all, or the declared one."""
    if row["comparison"] != DIFFERENCE:
        return pairs
    this = (pairs["group"] == row["group"]) & (pairs["other"] == row["other"])
    return pd.DataFrame(pairs[this])


def _ends(pairs: pd.DataFrame) -> list[Bounds]:
    """Simultaneous bounds of every pair, and those of each alone."""
    return [
        (pairs[f"low_{kind}"].to_numpy(float), pairs[f"high_{kind}"].to_numpy(float))
        for kind in ("simultaneous", "equivalence")
    ]


def _again(row: Fields, pairs: pd.DataFrame, groups: pd.DataFrame) -> Verdicts:
    """The verdict on one largest gap, or declared pair, under every kind and share of errors."""
    pairs = _of_claim(row, pairs)
    place = pd.Index(groups["group"])
    at = place.get_indexer(pd.Index(pairs["group"])), place.get_indexer(pd.Index(pairs["other"]))
    n, events = groups["n"].to_numpy(float), groups["events"].to_numpy(float)
    ends = _ends(pairs)
    return {
        how: {
            f"{100 * share:.0f} %": _verdict(
                row, *(bounds(low, high, at, n, events, share) for low, high in ends)
            )
            for share in SHARES
        }
        for how, bounds in _HOW.items()
    }


def _verdict(row: Fields, joint: Bounds, alone: Bounds) -> str:
    """The verdict on the largest of gaps with these bounds; without bounds it may be any size.

    Where a ratio margin binds too, or a group is left out, nothing is *within margin*.
    """
    least, most = (
        size_bounds(
            np.where(np.isnan(low + high), -1, low), np.where(np.isnan(low + high), 1, high)
        )
        for low, high in (joint, alone)
    )
    difference = GapSize(least[0].max(), most[1].max(), row["margin"])
    ratio = GapSize(np.nan, np.nan, row["ratio_margin"])
    return str(decide(difference, ratio, whole=not row["left_out"]))


__all__ = ["SHARES", "Verdicts", "if_labels_were_wrong"]

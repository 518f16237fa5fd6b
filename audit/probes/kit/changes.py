"""What a probe's conditions change, as rows of MEASURES: a sentence for those worth a finding."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from audit.core.rows import Fields, Row, having
from audit.core.tables import (
    EVERYONE,
    EXCEEDS,
    INCONCLUSIVE,
    OK,
    RATE,
    WITHIN,
    WORST,
    records,
)
from audit.core.verdicts import EITHER_WAY, Verdict, size_bounds
from audit.measure.effects import condition_effects
from audit.measure.measures import measured
from audit.probes.kit.base import Design, Probe
from audit.probes.kit.bounds import simultaneous

if TYPE_CHECKING:
    from audit.data.labels import LabelSet

#: ``metric`` of rows in points: how much the share of right choices, or a widest gap, changed
ACCURACY_CHANGE: Final = "change of accuracy"
#: by the metric of which it is the gap
GAP_CHANGE: Final = {
    "misclassification": "change of the widest gap in errors",
    "family_selection": "change of the widest gap in choices of a family",
    "selection": "change of the widest gap in choices",
}


def changes(probe: Probe, rows: pd.DataFrame, labels: LabelSet, design: Design) -> pd.DataFrame:
    """The table EFFECTS of all contrasts of a probe, as the run will hold it."""
    return condition_effects(
        rows, labels, design.groups, design.draws, design.confidence, probe.contrasts()
    )


def accuracy_changes(effects: pd.DataFrame, told: Collection[str]) -> pd.DataFrame:
    """How much more often everyone is given the right label in each condition; MEASURES.

    Points, above 0 where the condition is right more often than the headline; bounds and verdict
    are those of the errors' change in EFFECTS, the other way round. Of the conditions ``told`` a
    sentence is made.
    """
    rows = having(effects, comparison=RATE, attribute=EVERYONE, metric="misclassification")
    return measured(
        {**_common(r), **_turned(r), "statement": _accuracy(r) if _is_told(r, told) else ""}
        for r in records(rows)
    )


def gap_changes(
    effects: pd.DataFrame, question: tuple[str, str, str], told: Collection[str]
) -> pd.DataFrame:
    """How much the widest gap of one question by one attribute changes in each condition; MEASURES.

    Points, below 0 where the widest gap is smaller than in the headline; bounds and verdict are
    those of EFFECTS. ``group, other`` are the groups furthest apart in the headline. The question
    is metric, label and attribute. Of the conditions ``told`` a sentence is made.
    """
    metric, label, attribute = question
    rows = having(effects, comparison=WORST, attribute=attribute, metric=metric, label=label)
    return measured(
        {
            **_common(r),
            "metric": GAP_CHANGE[metric],
            "group": r["group"],
            "other": r["other"],
            **_scaled(r),
            "statement": _gap(r) if _is_told(r, told) else "",
        }
        for r in records(rows)
    )


def _is_told(row: Fields, told: Collection[str]) -> bool:
    return bool(row["status"] == OK and row["condition"] in told)


def _common(row: Row) -> Row:
    names = (
        "probe", "task", "condition", "label", "margin_family", "attribute", "n", "subjects",
        "level", "family", "family_size", "method", "status", "reason", "verdict",
    )  # fmt: skip
    return {name: row[name] for name in names} | {"unit": "points", "margin": 100 * row["margin"]}


def _turned(row: Row) -> Row:
    """The change of errors as one of right choices."""
    ends = {"value": "value", "low": "high", "high": "low"}
    ends |= {"low_simultaneous": "high_simultaneous", "high_simultaneous": "low_simultaneous"}
    turned = {name: -100 * row[other] for name, other in ends.items()}
    # one and not many labels are right: there is nothing to name
    return turned | {"metric": ACCURACY_CHANGE, "label": "", "group": row["group"]}


def _accuracy(row: Row) -> str:
    return (
        f"Asked '{row['task']}', the model chooses the right label for "
        f"{100 * (1 - row['before']):.0f} % of {row['n']} pictures as it is, and for "
        f"{100 * (1 - row['after']):.0f} % under '{row['condition']}': "
        f"{_points(row | _turned(row))}; {said_of_change(row)}."
    )


def _gap(row: Row) -> str:
    return (
        f"Asked '{row['task']}', the widest gap by {row['attribute']} in {_chosen(row)} is "
        f"{100 * row['before']:.0f} points as it is ({row['group']} over {row['other']}), and "
        f"{100 * row['after']:.0f} under '{row['condition']}' ({row['group_after']} over "
        f"{row['other_after']}): {_points(row | _scaled(row))}; {said_of_change(row)}."
    )


def _chosen(row: Row) -> str:
    if row["metric"] == "misclassification":
        return "wrong labels"
    family = row["metric"] == "family_selection"
    return f"choices of {'the family ' if family else ''}'{row['label']}'"


def _scaled(row: Row) -> dict[str, float]:
    return {n: 100 * row[n] for n in ("value", "low_simultaneous", "high_simultaneous")}


def _points(row: Row) -> str:
    return f"{row['value']:+z.0f} points ({simultaneous(row, '+z.0f')})"


def said_of_change(row: Fields) -> str:
    """The verdict on a change in words; a change may be for the better."""
    return Verdict(row["verdict"]).against(f"{100 * row['margin']:g} points", EITHER_WAY)


#: ``metric`` of rows in points: how much further one group's rate moves than another's
UNEQUAL_DROP: Final = "difference of drops in accuracy"


UNEQUAL_CHANGE: Final = "difference of changes"


def surest(rows: pd.DataFrame) -> int:
    """The index of the row that speaks for the rest: of those with the verdict of all, the surest.

    All are within the margin only if every one is; then the largest speaks.
    """
    given = set(rows["verdict"])
    whole = next(v for v in (EXCEEDS, INCONCLUSIVE, WITHIN) if v in given)
    among = having(rows, verdict=whole)
    sizes = size_bounds(*(among[f"{end}_simultaneous"].to_numpy(float) for end in ("low", "high")))
    return int(among.index[np.lexsort((among["value"].abs(), sizes[0]))[-1]])


def said(row: Row, conditions: int) -> str:
    """The verdict in words; one that is small speaks for all it was chosen from."""
    margin = f"{row['margin']:g} points"
    small = f"none of them reaches {margin}" if conditions > 1 else f"less than {margin}"
    return Verdict(row["verdict"]).against(margin, small)

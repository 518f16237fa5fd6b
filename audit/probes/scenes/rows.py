"""Rows of MEASURES about scenes, and the sentences of those worth a finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from audit.core.arrays import Flags
from audit.core.digits import bounds, percent
from audit.core.rows import Fields, Row
from audit.core.tables import ENSEMBLE, EVERYONE, NOT_JUDGED
from audit.measure.abstention import Asked, Question
from audit.measure.metrics import joint_status, standing
from audit.probes.kit.changes import said_of_change
from audit.probes.scenes.names import (
    COST,
    COST_AT_EQUAL_NUMBER,
    FOOTAGE_COST,
    FOOTAGE_GAP,
    GAP_COST,
    TOLD_APART,
    WITHOUT,
)
from audit.stats.clustered import difference_interval
from audit.stats.defaults import OF_DIFFERENCE_IN_CLUSTERS


def told_apart_rows(said: Flags, there: Flags, asked: Asked) -> Iterator[Row]:
    """How much more often a detail is seen where it is there than where it isn't, by group.

    Formula: share seen of the pictures that show it, less that of those that don't (Youden's J),
    with the interval of ``audit.stats.clustered.difference_interval``. Range: -1 to 1, 0 is
    guessing, lower is worse, whatever the share of pictures that show it.

    Source:
        Youden (1950), Cancer 3, 32-35.
    """
    groups, c = asked.groups, asked.confidence
    at, g = asked.at, len(groups.index)
    both = np.zeros((len(groups.rows), 2 * g), bool)
    both[at] = np.hstack([groups.member[at] & flag[:, None] for flag in (there, ~there)])
    split = replace(asked, groups=replace(groups, member=both))
    sample = split.sample(Question(TOLD_APART, ENSEMBLE, said, np.ones(len(said), bool)))
    one = np.arange(g)
    low, high = difference_interval(sample, one, one + g, c.level)
    status, reason = joint_status(
        [
            *("shown in " + n for _, n in groups.index),
            *("not shown in " + n for _, n in groups.index),
        ],
        standing(sample.n, sample.subjects, c.min_group),
        one,
        one + g,
    )
    for i, (attribute, group) in enumerate(groups.index):
        yield {
            "metric": TOLD_APART,
            "condition": ENSEMBLE,
            "attribute": attribute,
            "group": group,
            "n": int(sample.n[0, [i, i + g]].sum()),
            "subjects": int(sample.subjects[0, [i, i + g]].sum()),
            "value": float(sample.rate[0, i] - sample.rate[0, i + g]),
            "low": float(low[0, i]),
            "high": float(high[0, i]),
            "level": c.level,
            "method": f"difference of two shares, {OF_DIFFERENCE_IN_CLUSTERS}",
            "status": status[0, i],
            "reason": reason[0, i],
            "verdict": NOT_JUDGED,
        }


_COPIED: Final = (
    "probe", "task", "condition", "margin_family", "attribute", "n", "subjects", "level",
    "family", "family_size", "method", "status", "reason", "margin", "verdict",
)  # fmt: skip
_ENDS: Final = ("value", "low", "high", "low_simultaneous", "high_simultaneous")


def footage_row(row: Fields) -> Row:
    """Errors in poor footage less those of the pictures as they are: of everyone, or a gap's."""
    found = {name: row[name] for name in (*_COPIED, *_ENDS)} | {"harm": "quality of service"}
    before, after = (100 * row[side] for side in ("before", "after"))
    asked = f"Asked '{row['task']}'"
    if row["attribute"] == EVERYONE:
        found |= {"metric": FOOTAGE_COST, "group": EVERYONE, "events": row["gained"]}
        told = (
            f"{asked} through '{row['condition']}', the model chooses the right caption for "
            f"{100 - after:.0f} % of {row['n']} pictures, and for {100 - before:.0f} % of them as "
            f"they are: {_points(found)} more errors"
        )
    else:
        found |= {"metric": FOOTAGE_GAP, "group": row["group_after"], "other": row["other_after"]}
        told = (
            f"{asked}, the widest gap by {row['attribute']} in wrong captions is {before:.0f} "
            f"points as pictures are ({row['group']} v {row['other']}) and {after:.0f} through "
            f"'{row['condition']}' ({row['group_after']} v {row['other_after']}): a change of "
            f"{_points(found)}"
        )
    return found | {"statement": f"{told} {_simultaneous(found)}; {said_of_change(found)}."}


def _common(row: Fields) -> Row:
    # an effect is the condition less the headline; a cost is the headline less the condition
    turned = {"low": "high", "high": "low"}
    turned |= {f"{a}_simultaneous": f"{b}_simultaneous" for a, b in turned.items()}
    ends = {name: -row[other] for name, other in turned.items()}
    harm = {"harm": "quality of service", "value": -row["value"]}
    return {name: row[name] for name in _COPIED} | ends | harm


def cost_row(row: Fields, close: float) -> Row:
    """Errors of everyone with close captions, less those of this condition."""
    found = _common(row) | {"group": EVERYONE, "events": row["lost"]}
    alone = row["condition"] == WITHOUT
    said = "without close captions" if alone else "with as many other captions instead"
    beside = f", a close wrong one for {100 * close:.0f} %" if alone else ""
    return found | {
        "metric": COST if alone else COST_AT_EQUAL_NUMBER,
        "statement": (
            f"Asked '{row['task']}', the model chooses the right caption for "
            f"{100 * (1 - row['after']):.0f} % of {row['n']} pictures {said}, and for "
            f"{100 * (1 - row['before']):.0f} % with close captions{beside}: "
            f"{_points(found)} more errors {_simultaneous(found)}; {said_of_change(found)}."
        ),
    }


def gap_cost_row(row: Fields) -> Row:
    """How much wider the widest gap in errors is with close captions."""
    found = _common(row) | {"metric": GAP_COST, "group": row["group"], "other": row["other"]}
    before, after = (100 * row[side] for side in ("after", "before"))
    return found | {
        "statement": (
            f"Asked '{row['task']}', the widest gap by {row['attribute']} in wrong captions is "
            f"{before:.0f} points without close captions ({row['group_after']} v "
            f"{row['other_after']}) and {after:.0f} with them ({row['group']} v {row['other']}): "
            f"a change of {_points(found)} {_simultaneous(found)}; {said_of_change(found)}."
        ),
    }


def _points(found: Fields) -> str:
    ends = found["low_simultaneous"], found["high_simultaneous"]
    return f"{percent(found['value'], *ends)} points"


def _simultaneous(found: Fields) -> str:
    ends = found["low_simultaneous"], found["high_simultaneous"]
    return f"({100 * found['level']:.0f} % simultaneous bounds {bounds(*ends)})"

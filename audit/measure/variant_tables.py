"""Which gaps are looked at in all wordings, and the tables of what is found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.rows import Fields, Row
from audit.core.tables import DIFFERENCE, ENSEMBLE, OK, REST, WORST, records
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups
from audit.measure.prompt_variants import Candidates, Question
from audit.measure.prompts import Answers, choice_blocks
from audit.stats.components import PARTS
from audit.stats.generalisability import Bounded
from audit.stats.steadiness import choice_entropy, flip_rate, group_means

if TYPE_CHECKING:
    from audit.measure.prompt_variants import Curve


def leading_questions(compared: pd.DataFrame, confidence: Confidence) -> list[Question]:
    """The question of each attribute with the surest gap in the headline, for a task.

    Of harmful families where the task has some, of errors where the right answer is known, else of
    single labels. Each comes with everything that it was chosen from: all labels of the metric
    between all groups of the attribute that could be compared.

    Args:
        compared: the table DISPARITIES of one task.
        confidence: margins.
    """
    headline = compared[(compared["condition"] == ENSEMBLE) & (compared["status"] == OK)]
    worst = headline[headline["comparison"] == WORST]
    present = set(worst["metric"])
    order = ("family_selection", "misclassification", "selection")
    metric = next((m for m in order if m in present), "")
    headline = headline[headline["metric"] == metric]
    rows = worst[worst["metric"] == metric].sort_values(
        ["low_simultaneous", "value"], ascending=False, kind="stable"
    )
    return [
        Question(
            row["metric"],
            row["label"],
            row["attribute"],
            row["group"],
            row["other"],
            confidence.margin(row["margin_family"]).difference,
            _among(headline[headline["attribute"] == row["attribute"]], row, confidence),
        )
        for row in records(rows.drop_duplicates("attribute"))
    ]


def declared_question(question: Question, compared: pd.DataFrame) -> Question:
    """A question of the suite, with the reason if its groups could not be compared.

    Args:
        question: as declared.
        compared: the table DISPARITIES of its task.
    """
    rows = compared[(compared["condition"] == ENSEMBLE) & (compared["comparison"] == DIFFERENCE)]
    rows = rows[rows["attribute"] == question.attribute]
    rows = rows[(rows["metric"] == question.metric) & (rows["label"] == question.label)]
    sides = zip(rows["group"], rows["other"], strict=True)
    same = rows[[{question.group, question.other} == set(pair) for pair in sides]]
    unfit = same[same["status"] != OK]
    return replace(question, reason=str(unfit["reason"].iloc[0])) if len(unfit) else question


def _among(compared: pd.DataFrame, chosen: Fields, c: Confidence) -> Candidates:
    """Labels and pairs of groups that were compared; the pair that was chosen as it was named."""
    pairs = compared[compared["comparison"] == DIFFERENCE]
    pairs = pairs[pairs["other"] != REST]
    pair = (str(chosen["group"]), str(chosen["other"]))
    named = zip(pairs["group"].astype(str), pairs["other"].astype(str), strict=True)
    others = [(a, b) for a, b in dict.fromkeys(named) if {a, b} != set(pair)]
    families = dict(zip(compared["label"], compared["margin_family"], strict=True))
    margins = tuple(c.margin(family).difference for family in families.values())
    return Candidates(tuple(families), margins, (pair, *others))


def specifications(curve: Curve, answers: Answers, where: Mapping[str, str]) -> pd.DataFrame:
    """The curve's wordings as rows of the table SPECIFICATIONS."""
    d, q = curve.gaps, curve.question
    return pd.DataFrame(
        {
            **where,
            **_asked(q),
            "wording": answers.names,
            "template": [w.template for w in answers.wordings],
            "article": [w.article for w in answers.wordings],
            "shift": [w.shift for w in answers.wordings],
            "phrasing": [w.phrasing for w in answers.wordings],
            "reworded": [answers.labels.reworded(w.phrasing) for w in answers.wordings],
            "alteration": [w.alteration for w in answers.wordings],
            "left_out": len(answers.left_out),
            "n": curve.n[0],
            "n_other": curve.n[1],
            "value": d.value,
            "low": d.low,
            "high": d.high,
            "low_simultaneous": d.low_all,
            "high_simultaneous": d.high_all,
            "null_low": _in_order(curve.joint.band_low, d.value),
            "null_high": _in_order(curve.joint.band_high, d.value),
            "margin": q.margin,
            "verdict": curve.verdicts,
        }
    )


def _asked(q: Question) -> Row:
    names = ("metric", "label", "attribute", "group", "other", "selection")
    return {name: getattr(q, name) for name in names} | {"candidates": len(q.candidates)}


def _in_order(band: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The band of the sorted curve, at the place of each wording."""
    placed = np.full(len(values), np.nan)
    if len(band) == len(values):
        placed[np.argsort(values, kind="stable")] = band
    return placed


def sensitivity(curve: Curve, compared: pd.DataFrame, where: Mapping[str, str]) -> Row:
    """What the curve says, as a row of the table SENSITIVITY.

    Args:
        curve: the gap in every wording.
        compared: the table DISPARITIES of the task, for the gap in the headline.
        where: probe and task.
    """
    joint, order = curve.joint, curve.order
    most = pd.Series(curve.verdicts).value_counts()
    return {
        **where,
        **_asked(curve.question),
        "wordings": len(joint.gaps),
        "headline": _headline(curve.question, compared),
        **_ends("mean", curve.mean, "low", "high"),
        **_ends("spread", curve.spread),
        **_ends("model_share", curve.share),
        "agree_sign": joint.agreeing.observed,
        "agree_sign_null": joint.agreeing.mean,
        "agree_verdict": float(most.iloc[0] / most.sum()),
        "common_verdict": str(most.index[0]),
        "p_median": joint.median.p,
        "p_sign": joint.agreeing.p,
        "p_large": joint.large.p,
        "smallest_p": joint.median.smallest_p,
        "deals": joint.permutations,
        **{f"share_{name}": float(curve.parts.shares[i, 0]) for i, name in enumerate(PARTS)},
        "generalisability": order.relative.value,
        "generalisability_low": order.relative.low,
        "generalisability_high": order.relative.high,
        "needed": order.needed.value,
        "kendall_w": curve.ranks.w,
        "reason": "; ".join(sorted(set(_reasons(curve)))),
    }


def _ends(name: str, found: Bounded, low: str = "", high: str = "") -> dict[str, float]:
    """A number and its bounds as columns; no bounds where nothing varied in any resample."""
    some = found.low < found.high
    ends = (found.low, found.high) if some else (math.nan, math.nan)
    return {name: found.value, low or f"{name}_low": ends[0], high or f"{name}_high": ends[1]}


def _headline(q: Question, compared: pd.DataFrame) -> float:
    """The gap of the question in the headline; nan where it was not compared."""
    there = (compared["condition"] == ENSEMBLE) & (compared["attribute"] == q.attribute)
    there &= (compared["metric"] == q.metric) & (compared["label"] == q.label)
    rows = compared.loc[there, ["comparison", "group", "other", "value"]]
    rows = rows[rows["comparison"].isin([WORST, DIFFERENCE])]
    for group, other, sign in ((q.group, q.other, 1), (q.other, q.group, -1)):
        same = rows[(rows["group"] == group) & (rows["other"] == other)]
        if len(same):
            return sign * float(same["value"].iloc[0])
    return np.nan


def _reasons(curve: Curve) -> Iterator[str]:
    told = (curve.question.reason, curve.joint.reason, *curve.reasons, *curve.parts.reason)
    return (reason for reason in (*told, curve.order.reason) if reason)


def stability(
    answers: Answers, groups: Groups, where: Mapping[str, str], level: float = 0.95
) -> pd.DataFrame:
    """How steady the choice for a picture is over wordings, by group; the table STABILITY.

    ``flips``: mean share of wordings that choose another label than the ensemble; ``entropy``: of
    the labels chosen, over that of all labels equally often. Both 0 to 1.
    """
    at = groups.at(answers.keys)
    found = {name: np.empty(len(at)) for name in ("flips", "entropy")}
    for part in choice_blocks(len(at), answers.codes.shape[1]):
        codes = answers.codes[part]
        found["flips"][part] = flip_rate(codes, answers.headline[part])
        found["entropy"][part] = choice_entropy(codes, len(answers.labels.texts), normalised=True)
    table = groups.index.to_frame(index=False).assign(**where)
    for name, values in found.items():
        means = group_means(values, groups.member[at], groups.clusters[at], level)
        table = table.assign(
            n=means.n, subjects=means.subjects,
            **{name: means.value, f"{name}_low": means.low, f"{name}_high": means.high},
        )  # fmt: skip
    return table

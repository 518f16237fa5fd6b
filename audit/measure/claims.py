"""What is claimed of a whole run: a suite's primary questions, and all that is explored beside.

A *claim* is the verdict on one question's largest gap by an attribute, or on one declared pair of
groups. The suite declares the primary ones before the run; over them the chance of any wrong
verdict is at most ``1 - level`` (Holm's method). Everything else is exploratory: its verdict also
needs a false discovery rate over the run of at most ``1 - level``. What is explored moves no
primary verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.errors import sentence
from audit.core.rows import Fields, Row, Values
from audit.core.tables import (
    DIFFERENCE,
    ENSEMBLE,
    EXPLORATORY,
    OK,
    PRIMARY,
    REST,
    WORST,
    records,
)
from audit.core.verdicts import Verdict
from audit.measure.compared import Compared
from audit.measure.confidence import Confidence
from audit.measure.disparity import differences, worst
from audit.measure.metrics import Asked, Block, Groups, Tally
from audit.stats.gaps import NEGLIGIBLE

#: how claims of a category of labels are counted
CATEGORY: Final = "family_selection"
#: the category, and the metric, of wrong answers
ERRORS: Final = "misclassification"


class Claim(BaseModel):
    """A primary question: of which labels, by which attribute, and why it was chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str = Field(description="an attribute or an intersection 'a x b'")
    category: str = Field("", description="a label family such as crime, or misclassification")
    label: str = Field("", description="one label")
    task: str = Field("", description="where several tasks ask for it")
    groups: tuple[str, str] | None = Field(None, description="only these two; else the largest gap")
    why: str = Field("", description="the reason, for the report")

    @model_validator(mode="after")
    def _one_question(self) -> Claim:
        if bool(self.category) == bool(self.label):
            given = (
                "both a label and a category" if self.label else "neither a label nor a category"
            )
            raise ValueError(
                sentence(
                    f"a primary question with {given}",
                    "Write either 'category: crime' (or misclassification) or 'label: ...'",
                )
            )
        if self.groups is not None and self.groups[0] == self.groups[1]:
            raise ValueError(
                sentence(
                    f"a primary question between '{self.groups[0]}' and itself",
                    "Name two groups under 'groups:', or leave it out for the largest gap",
                )
            )
        return self

    @property
    def metric(self) -> str:
        """How it is counted."""
        if self.label:
            return "selection"
        return ERRORS if self.category == ERRORS else CATEGORY

    def asks(self, row: Fields) -> bool:
        """Whether a question, with task, metric and label, is the one meant."""
        right = row["metric"] == self.metric and self.task in ("", row["task"])
        return right and (self.metric == ERRORS or row["label"] == (self.label or self.category))

    def concerns(self, attribute: str) -> bool:
        """Whether this attribute is meant; 'a x b' is also 'b x a'."""
        return sorted(self.attribute.split(" x ")) == sorted(attribute.split(" x "))

    def __str__(self) -> str:
        """The question in words."""
        what = f"'{self.label}'" if self.label else self.category
        between = f", {self.groups[0]} v {self.groups[1]}" if self.groups else ""
        return f"{what} by {self.attribute}{between}" + (f" in {self.task}" if self.task else "")


#: says of a largest gap (attribute, margin family) whether a gate of the suite covers it
Gated = Callable[[str, str], bool]


def no_gate(attribute: str, family: str) -> bool:
    """Of a suite without gates: no gap is covered."""
    return False


def settle(
    table: pd.DataFrame,
    tallies: Sequence[Tally],
    claims: Sequence[Claim],
    confidence: Confidence,
    explored: NDArray[np.bool_],
    gated: Gated = no_gate,
) -> pd.DataFrame:
    """The table with the role of every claim, and verdicts that hold over all of a run.

    Primary claims get bounds, basis and verdict at the level at which Holm's method decides them;
    exploratory ones their q. Where a suite declares nothing, the gaps that its gates cover are its
    primary claims: a gate is decided beforehand, too.

    Args:
        table: DISPARITIES of the whole run.
        tallies: what was counted, to bound primary claims anew.
        claims: the suite's primary questions.
        confidence: level, margins, method of the false discovery rate.
        explored: which rows are findings if they are not primary.
        gated: whether a gate covers a gap.
    """
    chosen = _declared(table, claims) if claims else _gated(table, explored, gated)
    judged = table.copy()
    _decide(judged, chosen, tallies, confidence)
    rest = (judged["role"] != PRIMARY) & (judged["status"] == OK) & explored
    judged.loc[rest, "role"] = EXPLORATORY
    q = confidence.screen(judged["p_margin"].where(rest).to_numpy(float))
    judged.loc[rest, "q_margin"] = q[rest.to_numpy()]
    decided = judged["verdict"].isin([Verdict.EXCEEDS, Verdict.WITHIN])
    unsure = rest & decided & (judged["q_margin"] > 1 - confidence.level)
    # nothing is said of the pairs of a question that is not said of the question
    at = pd.MultiIndex.from_frame(judged[_QUESTION])
    pairs = (judged["comparison"] == DIFFERENCE) & (judged["other"] != REST)
    pairs &= judged["verdict"].isin([Verdict.EXCEEDS, Verdict.WITHIN]) & (judged["role"] == "")
    unsure |= pairs & at.isin(at[unsure.to_numpy()])
    judged.loc[unsure, ["verdict", "basis"]] = Verdict.INCONCLUSIVE.value, ""
    judged.loc[unsure, "reason"] = _also(
        judged.loc[unsure, "reason"], f"q over {int(rest.sum())} exploratory questions is too high"
    )
    return judged


_QUESTION: Final = ["probe", "task", "condition", "metric", "label", "attribute"]


def _also(reason: pd.Series[str], more: str) -> pd.Series[str]:
    return reason.where(reason == "", reason + "; ") + more


def _headline(table: pd.DataFrame, comparison: str) -> pd.Series[bool]:
    return (table["condition"] == ENSEMBLE) & (table["comparison"] == comparison)


def _declared(table: pd.DataFrame, claims: Sequence[Claim]) -> list[tuple[Any, Claim | None]]:
    """The rows that are claimed, each once, with the claim."""
    found: dict[Any, Claim | None] = {}
    for claim in claims:
        rows = table[_headline(table, DIFFERENCE if claim.groups else WORST)]
        for index, row in zip(rows.index, records(rows), strict=True):
            pair = claim.groups is None or {row["group"], row["other"]} == set(claim.groups)
            if pair and claim.concerns(row["attribute"]) and claim.asks(row):
                found.setdefault(index, claim)
    return list(found.items())


def _gated(
    table: pd.DataFrame, explored: NDArray[np.bool_], gated: Gated
) -> list[tuple[Any, Claim | None]]:
    """The gaps that a gate covers."""
    rows = table[explored & _headline(table, WORST)]
    names = zip(rows.index, rows["attribute"], rows["margin_family"], strict=True)
    return [(index, None) for index, attribute, family in names if gated(attribute, family)]


def _decide(
    table: pd.DataFrame,
    chosen: Sequence[tuple[Any, Claim | None]],
    tallies: Sequence[Tally],
    confidence: Confidence,
) -> None:
    """Holm's method over the chosen rows: bounds at the level that is left, until none moves.

    Each claim's bounds are made at ``1 - alpha / k``, k the claims not decided yet: so a verdict
    stands exactly where Holm's adjusted p is at most alpha, and its bounds say so, too.
    """
    open_ = {i: claim for i, claim in chosen if table.at[i, "status"] == OK}
    table.loc[[i for i, _ in chosen], "role"] = PRIMARY
    number, alpha = len(open_), 1 - confidence.level
    highest = 0.0
    while open_:
        k = len(open_)
        for index, claim in open_.items():
            row = _bounded(table.loc[index], claim, tallies, confidence, 1 - alpha / k)
            table.loc[index, list(row)] = pd.Series(row)
        decided = [i for i in open_ if table.at[i, "verdict"] != Verdict.INCONCLUSIVE]
        p = {i: float(table.loc[i, "p_margin"]) for i in decided or open_}
        for i in sorted(p, key=p.__getitem__):
            highest = max(highest, min(1.0, len(open_) * p[i]))
            table.loc[i, "q_margin"] = highest
            del open_[i]
    if number > 1:
        rows = [i for i, _ in chosen]
        told = f"; over {number} primary questions (Holm)"
        table.loc[rows, "method"] = table.loc[rows, "method"] + told


#: the columns of a claim that depend on the level; those of a pair have a direction
_BOUNDS: Final = (
    "low_simultaneous", "high_simultaneous", "low_equivalence", "high_equivalence", "level_each",
)  # fmt: skip
#: what a declared pair, a family of its own, has of that family
_OF_FAMILY: Final = (
    "p", "q", "smallest_q", "family", "family_size", "detectable", "method",
)  # fmt: skip
_JUDGED: Final = ("ratio", "ratio_low", "ratio_high", "basis", "p_margin", "verdict")


def _bounded(
    row: Values,
    claim: Claim | None,
    tallies: Sequence[Tally],
    confidence: Confidence,
    level: float,
) -> Row:
    """One claim's bounds and verdict at another level."""
    asked: Asked = (row["probe"], row["task"], row["condition"], row["metric"])
    tally = next(t for t in tallies if asked in t.blocks)
    block, groups = _one_label(tally.blocks[asked], row["label"]), tally.groups
    pair = claim is not None and claim.groups is not None
    if pair:
        groups, block = _two_groups(groups, block, row["attribute"], (row["group"], row["other"]))
    at = confidence.model_copy(update={"level": level})
    compared = Compared(groups, row["attribute"], block, asked, at)
    largest = worst(compared)
    bounds = differences(compared) if pair else largest
    names = (*_BOUNDS, *_OF_FAMILY) if pair else _BOUNDS
    return {name: bounds[name][0] for name in names} | {n: largest[n][0] for n in _JUDGED}


def _one_label(block: Block, label: str) -> Block:
    """A block with one of its labels."""
    at = block.labels.index(label)
    return Block((label,), (block.families[at],), block.counts.pick([at]))


def _two_groups(
    groups: Groups, block: Block, attribute: str, names: tuple[str, str]
) -> tuple[Groups, Block]:
    """The groups and counts of two groups of an attribute alone: no other group can move them."""
    at = groups.index.get_indexer(pd.MultiIndex.from_tuples([(attribute, n) for n in names]))
    return groups.among(at), replace(block, counts=block.counts.pick([0], at))


def resting_bounds(row: Fields) -> tuple[float, float]:
    """The bounds of a gap that its verdict rests on; see DISPARITIES.

    The simultaneous ones, but of one *within margin* the upper one is that of the claim that no
    pair reaches the margin. Rows of older runs have the simultaneous ones alone.
    """
    low, high = row["low_simultaneous"], row["high_simultaneous"]
    if row["verdict"] == Verdict.WITHIN and not np.isnan(row.get("high_equivalence", np.nan)):
        if row.get("comparison") == WORST:
            return low, row["high_equivalence"]
        return row["low_equivalence"], row["high_equivalence"]
    return low, high


def within_but_for_the_left_out(row: Fields) -> bool:
    """Whether a gap would be *within margin* if no group were too small to be compared."""
    ratio = row.get("ratio_margin", np.nan)
    near = row.get("high_equivalence", np.nan) < row["margin"]
    eventless = not row.get("events") and not row.get("events_other")
    waived = eventless or row.get("basis") == NEGLIGIBLE
    small = waived or np.isnan(ratio) or row["ratio_high"] < ratio
    return bool(row.get("left_out") and near and small)


__all__ = ["ERRORS", "Claim", "Gated", "no_gate", "resting_bounds", "settle"]

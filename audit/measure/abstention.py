"""Answering only when sure: how many pictures get an answer, and how good the answers are.

A system that leaves a picture to a person where the probability of its choice is below a threshold
abstains. Raising the threshold makes the answers better on the whole and rarer; it need not do
either for every group. From the outcomes of any task that chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from audit.core.arrays import Flags, Integers
from audit.core.digits import bounds, percent
from audit.core.errors import InputError
from audit.core.rows import Fields, Row
from audit.core.tables import (
    ENSEMBLE,
    EVERYONE,
    EXCEEDS,
    MEASURES,
    NOT_JUDGED,
    OK,
    UNDEFINED,
    records,
    require_finite,
)
from audit.core.verdicts import Verdict
from audit.measure.confidence import Confidence
from audit.measure.effects import gap_bounds, sampled
from audit.measure.measures import measured, rows_of_rates
from audit.measure.metrics import DEFAULT_FAMILY, Draws, Groups, standing
from audit.measure.nulls import Dealt, null_columns, range_by_chance
from audit.stats.clustered import Sample
from audit.stats.defaults import EITHER, OF_DIFFERENCE_IN_CLUSTERS
from audit.stats.gaps import NO_TWO_GROUPS, Pairs, largest_gap
from audit.stats.samples import pick_groups

#: ``metric`` of rows: the share of pictures that get an answer, and of those the share right
LABELLED: Final = "share answered"
RIGHT: Final = "accuracy of answers"
#: thresholds that are judged, and more for a curve
THRESHOLDS: Final = (0.5, 0.9)
SWEEP: Final = (0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.95, 0.99)
#: a rate that nobody's truth is needed for, and one that measures errors
_FAMILIES: Final = {LABELLED: DEFAULT_FAMILY, RIGHT: "misclassification"}
_NONE_SURE: Final = "no choice of this group is so sure"


@dataclass(frozen=True)
class Question:
    """What is counted: ``happened`` (n,) among the pictures ``asked`` (n,), each a flag."""

    metric: str
    condition: str
    happened: Flags
    asked: Flags
    margin_family: str = DEFAULT_FAMILY


@dataclass(frozen=True)
class Asked:
    """Where questions were asked: pictures by their row in ``groups``, and how sure to be.

    ``together``: how many gaps of a metric and attribute the simultaneous bounds hold for at once;
    ``seed``: of the deals of subjects to groups by chance.
    """

    probe: str
    task: str
    groups: Groups
    at: Integers
    draws: Draws | None
    confidence: Confidence
    together: int = 1
    seed: int = 0

    @property
    def level(self) -> float:
        """The level of the bounds of one gap, if those of all are to hold together."""
        return 1 - (1 - self.confidence.level) / max(self.together, 1)

    def sample(self, question: Question) -> Sample:
        """Counts of one question in every group."""
        happened = question.happened[question.asked, np.newaxis]
        return sampled(self.groups.count(happened, self.at[question.asked], self.draws))


def abstention(
    choices: pd.DataFrame,
    groups: Groups,
    draws: Draws | None = None,
    confidence: Confidence | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    sweep: Sequence[float] = SWEEP,
    condition: str = ENSEMBLE,
    seed: int = 0,
) -> pd.DataFrame:
    """How many pictures are answered, and how well, if unsure choices are withheld; MEASURES.

    A picture is answered if the softmax probability of its chosen label is at or above the
    threshold. ``share answered`` is answered / asked; ``accuracy of answers`` is right / answered,
    of pictures whose right label is known. Of every group at every threshold, and at ``thresholds``
    the widest gap between two groups of each attribute: its bounds hold for all pairs of groups and
    all ``thresholds`` at once, and beside it stands what it is if whole subjects are dealt to the
    groups by chance (``audit.measure.nulls.range_by_chance``).
    Range: shares from 0 to 1, lower is worse; the share answered falls as the threshold rises.
    Does not show: whether probabilities are calibrated, which pictures a person would then decide
    better, nor what the model says of those it leaves out. A group with few answers has a wide
    interval and may be too small to be compared, which is a result: nobody knows how good they are.

    Args:
        choices: rows of the table CHOICES, all of one task.
        groups: membership and subjects of (at least) these pictures.
        draws: bootstrap weights; without, pictures of a subject are taken for copies.
        confidence: level, margins, smallest group; the default one if None.
        thresholds: probabilities that are judged.
        sweep: more of them, for the curve.
        condition: of the outcomes; the headline by default.
        seed: of the deals by chance.

    Returns:
        Rows of MEASURES whose ``condition`` names the threshold (``at_least``), if any was asked.
        The surest gap of each metric has a statement, and so has that of every attribute by which
        it exceeds the margin, where some picture goes unanswered.

    Raises:
        InputError: a threshold outside (0, 1), no threshold, choices of several tasks, scores that
            are not finite.

    Source:
        Chow (1970), IEEE Transactions on Information Theory 16, 41-46; that withholding unsure
        answers can widen gaps between groups: Jones et al. (2021), ICLR, arXiv 2010.14134.
    """
    judged, every = checked(thresholds), checked([*thresholds, *sweep])
    rows = choices[choices["condition"] == condition]
    if rows.empty:
        return MEASURES.empty()
    probe, task = _one_task(choices)
    require_finite(rows["score"], f"scores of '{task}'")
    at = groups.at(rows["image_id"])
    c = confidence or Confidence()
    asked = Asked(probe, task, groups, at, draws, c, len(judged), seed)
    tables = [
        measures_of(question, asked, of in judged)
        for of in every
        for question in _questions(rows, of)
    ]
    return MEASURES.conform(_told(pd.concat(tables, ignore_index=True)))


def at_least(threshold: float) -> str:
    """How a threshold is named in ``condition``."""
    return f"probability at least {100 * threshold:.4g} %"


def threshold_of(condition: str) -> float:
    """The threshold that ``at_least`` named; nan for any other condition."""
    number = condition.removeprefix(at_least(0).removesuffix("0 %")).removesuffix(" %")
    return float(number) / 100 if number != condition else float("nan")


def _questions(rows: pd.DataFrame, threshold: float) -> Iterator[Question]:
    """Whether each picture is answered at this threshold, and whether the answer is right."""
    sure = rows["score"].to_numpy(float) >= threshold
    known = rows["truth"].notna().to_numpy()
    right = known & (rows["predicted"] == rows["truth"]).to_numpy(bool)
    name = at_least(threshold)
    yield Question(LABELLED, name, sure, np.ones(len(rows), bool), _FAMILIES[LABELLED])
    if known.any():
        yield Question(RIGHT, name, right, known & sure, _FAMILIES[RIGHT])


def checked(values: Sequence[float]) -> tuple[float, ...]:
    """The thresholds in order, each once.

    Raises:
        InputError: there is none, or one isn't between 0 and 1.
    """
    found = tuple(sorted({float(value) for value in values}))
    if not found:
        raise InputError("abstention: no threshold", "Give one or more, such as 0.9")
    for value in found:
        if not 0 < value < 1:
            hint = f"Did you mean {value / 100:g}?" if 1 < value < 100 else None
            allowed = "A threshold is a probability between 0 and 1, both left out"
            raise InputError(f"abstention: the threshold {value:g}", allowed, hint)
    return found


def _one_task(choices: pd.DataFrame) -> tuple[str, str]:
    tasks = choices[["probe", "task"]].drop_duplicates()
    if len(tasks) > 1:
        got = f"choices of {len(tasks)} tasks: {', '.join(tasks['task'].astype(str))}"
        raise InputError(got, "Give those of one task at a time")
    return str(tasks["probe"].iloc[0]), str(tasks["task"].iloc[0])


def measures_of(question: Question, asked: Asked, gaps: bool = True) -> pd.DataFrame:
    """The rate of one question in every group and, if wanted, each widest gap; MEASURES.

    Rates have the interval of ``audit.stats.clustered.rate_interval``. The widest gap has
    simultaneous bounds and a verdict: see ``audit.measure.effects.gap_bounds``; ``null_mean``,
    ``null_high`` and ``p`` say how wide it is by chance, and ``method`` within what subjects were
    dealt, or why there is no null.

    Args:
        question: what is counted, of the pictures in ``asked.at``.
        asked: where, and how sure to be.
        gaps: also compare the groups of every attribute.
    """
    sample, groups = asked.sample(question), asked.groups
    every = {
        "probe": asked.probe,
        "task": asked.task,
        "condition": question.condition,
        "metric": question.metric,
        "margin_family": question.margin_family,
        "level": asked.confidence.level,
    }
    rows = list(_rates(sample, asked))
    if gaps:
        attributes = [a for a in groups.attributes if groups.columns(a).size > 1]
        rows += [_gap(sample, question, asked, attribute) for attribute in attributes]
    return measured(rows, **every)


def _rates(sample: Sample, asked: Asked) -> Iterator[Row]:
    c = asked.confidence
    for row in rows_of_rates(sample, asked.groups, c.level, c.min_group):
        why = _NONE_SURE if row["status"] == UNDEFINED else row["reason"]
        yield row | {"method": EITHER, "reason": why, "verdict": NOT_JUDGED}


def _gap(sample: Sample, question: Question, asked: Asked, attribute: str) -> Row:
    """The widest gap between two groups of one attribute."""
    columns = asked.groups.columns(attribute)
    part = pick_groups(sample, columns)
    names = asked.groups.index.get_level_values("group").to_numpy(object)[columns]
    ok = standing(part.n, part.subjects, asked.confidence.min_group)[0] == OK
    pairs = Pairs.of(ok, names.tolist())
    margin = asked.confidence.margin(question.margin_family).difference
    row: Row = {
        "attribute": attribute,
        "margin": margin,
        "family": f"{asked.task}, {question.metric}, by {attribute}",
        "family_size": int(pairs.usable.sum()) * asked.together,
    }
    bounds = gap_bounds(part, pairs.one, pairs.other, pairs.usable, asked.level)
    gap = largest_gap(part.rate, pairs, *bounds)
    row |= gap.row(names.tolist())
    if not gap.some[0, 0]:
        return row
    chance, dealt = _by_chance(question, asked, attribute)
    return (
        row
        | chance
        | {
            **part.counted(0, [gap.group[0, 0], gap.other[0, 0]]),
            "method": f"largest over pairs of {OF_DIFFERENCE_IN_CLUSTERS}, max-T; {dealt}",
            "verdict": str(gap.verdict(margin)[0, 0]),
        }
    )


def _by_chance(question: Question, asked: Asked, attribute: str) -> tuple[Row, str]:
    """The widest gap if groups did not matter, and how subjects were dealt or why they weren't."""
    dealt = Dealt(question.happened[:, np.newaxis], question.asked, asked.at)
    found = range_by_chance(dealt, asked.groups, attribute, asked.confidence, asked.seed)
    numbers, how = null_columns(found)
    return (numbers[0] if numbers else {}), how


def _told(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a statement for every gap worth one, by single attributes."""
    rates = rates_by_name(table)
    worth = _worth_telling(table)
    said = {
        index: gap_sentence(row, rates, _what(row), _of(row))
        for index, row in zip(worth, records(table.loc[worth]), strict=True)
    }
    harm = pd.Series("quality of service", index=list(said))
    return table.assign(
        statement=pd.Series(said, dtype=object).reindex(table.index, fill_value=""),
        harm=harm.reindex(table.index, fill_value=""),
    )


def _worth_telling(table: pd.DataFrame) -> list[int]:
    """Rows to tell: of each metric and attribute the surest gap, if large, and the surest of all.

    Where nothing was withheld from anybody the answers are those of the headline, told elsewhere.
    """
    everyone = table[(table["attribute"] == EVERYONE) & (table["metric"] == LABELLED)]
    withheld = everyone.loc[everyone["value"] < 1, "condition"]
    gaps = table[(table["other"] != "") & ~table["attribute"].str.contains(" x ", regex=False)]
    gaps = gaps[gaps["condition"].isin(withheld)]
    order = gaps.sort_values(["low_simultaneous", "value"], ascending=False, kind="stable")
    surest = order.drop_duplicates(["metric", "attribute"])
    first = ~surest.duplicated("metric")
    return list(surest.index[first | (surest["verdict"] == EXCEEDS)])


def _what(row: Fields) -> str:
    sure = f"at least {100 * threshold_of(row['condition']):.4g} % sure"
    if row["metric"] == LABELLED:
        return f"Asked '{row['task']}', the model is {sure} of its answer"
    return f"Asked '{row['task']}' and heard only where it is {sure}, the model is right"


def _of(row: Fields) -> str:
    return "pictures" if row["metric"] == LABELLED else "answered pictures"


Rates = Mapping[tuple[str, str, str, str], Fields]


def rates_in(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``measures_of`` that are about one group."""
    return table[(table["other"] == "") & (table["group"] != "")]


def rates_by_name(table: pd.DataFrame) -> Rates:
    """The groups' rates among rows of ``measures_of``, by metric, condition, attribute, group."""
    names = ("metric", "condition", "attribute", "group")
    return {
        (row[names[0]], row[names[1]], row[names[2]], row[names[3]]): row
        for row in records(rates_in(table))
    }


def gap_sentence(row: Fields, rates: Rates, what: str, of: str = "pictures") -> str:
    """A widest gap of ``measures_of`` in a sentence that begins with ``what``.

    Args:
        row: the gap.
        rates: of the groups, as ``rates_by_name`` gives them.
        what: what happens, such as 'the model is right'.
        of: what it could happen to.
    """
    ends = row["low_simultaneous"], row["high_simultaneous"]
    sides = (
        rates[row["metric"], row["condition"], row["attribute"], row[side]]
        for side in ("group", "other")
    )
    one, other = (f"{100 * s['value']:.0f} % ({s['events']} of {s['n']})" for s in sides)
    margin = f"{100 * row['margin']:g} points"
    verdict = Verdict(row["verdict"]).against(margin, NO_TWO_GROUPS)
    return (
        f"{what} for {one} of the {of} with {row['attribute']} {row['group']} and {other} of "
        f"those with {row['other']}: {percent(row['value'], *ends)} points, the largest gap "
        f"between two groups ({100 * row['level']:.0f} % simultaneous bounds {bounds(*ends)}); "
        f"{verdict}."
    )


__all__ = [
    "LABELLED", "RIGHT", "SWEEP", "THRESHOLDS", "Asked", "Question", "abstention", "at_least",
    "checked",
    "gap_sentence", "measures_of", "rates_by_name", "rates_in", "threshold_of",
]  # fmt: skip

"""Replication cards: a published number beside a run's own, and whether the two agree.

A card (a small YAML, ``audit/bundled/replications/``) states numbers and the protocol behind them.
``replicate`` looks for each number in a finished run, says how far the protocols are apart, and
gives one word: *reproduced*, *not reproduced*, *inconclusive* or *not comparable*.

>>> import audit
>>> card = audit.replication.load_card("clip-paper-table-6")
>>> len(card.numbers) > 0
True
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from audit.core.digits import bounds, percent
from audit.core.rows import Fields, Row
from audit.core.tables import (
    EVERYONE,
    INCONCLUSIVE,
    OK,
    TOO_FEW,
)
from audit.explore.protocols import (
    FoundTask,
    Gap,
    RunView,
    about_families,
    about_groups,
    about_run,
    find_task,
)
from audit.explore.replication_card import (
    ACCURACY,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPLICATIONS,
    REPRODUCED,
    WORDS,
    Finished,
    Number,
    ReplicationCard,
    load_card,
)
from audit.stats.defaults import rate_bounds


@dataclass(frozen=True)
class Rate:
    """A share with what it rests on.

    ``size``: how many independent pictures it is worth, nan if unknown; ``slack``: half a unit of
    the last printed digit, as a share.
    """

    value: float
    size: float
    slack: float = 0.0


def difference_interval(ours: Rate, theirs: Rate, level: float = 0.95) -> tuple[float, float]:
    """Interval for ours less theirs, with the sampling error of both and the rounding of theirs.

    Formula: with bounds l and u of each rate (Wilson's, or Clopper and Pearson's exact ones where
    events or non-events are fewer than ``MANY z²``) and d = p1 - p2,
    ``d - sqrt((p1 - l1)² + (u2 - p2)²)`` to ``d + sqrt((u1 - p1)² + (p2 - l2)²)``, at whichever
    end of the rounded p2 is worse for each bound. A side of unknown size adds no sampling error,
    so the interval is then too narrow.
    Range: [-1, 1]; nan where ours has no value or size. Does not show: that both may be about the
    same pictures, whose errors are shared; it is then wider than needed.

    Args:
        ours: the run's rate at its effective number of pictures.
        theirs: the published rate.
        level: two-sided level.

    Source:
        Newcombe (1998), Statistics in Medicine 17, 873-890; Zou, Donner (2008), 27, 1693-1702.
    """
    if math.isnan(ours.value) or not ours.size > 0:
        return math.nan, math.nan
    top, bottom = (min(max(theirs.value + s, 0.0), 1.0) for s in (theirs.slack, -theirs.slack))
    down, up = _reach(ours.value, ours.size, level)
    low = ours.value - top - math.hypot(down, _reach(top, theirs.size, level)[1])
    high = ours.value - bottom + math.hypot(up, _reach(bottom, theirs.size, level)[0])
    return max(low, -1.0), min(high, 1.0)


def _reach(value: float, size: float, level: float) -> tuple[float, float]:
    """How far the interval of a rate reaches down and up; nowhere where the size is unknown."""
    if math.isnan(size):
        return 0.0, 0.0
    events = value * size
    low, high = rate_bounds(events, size, level)
    return value - float(low), float(high) - value


def attainable(theirs: Rate, size: float, level: float = 0.95) -> float:
    """The least tolerance at which an equal rate could be told to be reproduced, as a share.

    The larger distance of an end of the interval from 0 where ours, of this ``size``, is exactly
    the published rate; nan where either size is unknown.
    """
    if math.isnan(theirs.size):
        return math.nan
    low, high = difference_interval(Rate(theirs.value, size), theirs, level)
    return max(-low, high)


def judge(low: float, high: float, tolerance: float) -> str:
    """The word for an interval of a difference: wholly within ± tolerance, wholly outside, or else.

    A nan bound gives *inconclusive*.
    """
    if low >= -tolerance and high <= tolerance:
        return REPRODUCED
    return NOT_REPRODUCED if low > tolerance or high < -tolerance else INCONCLUSIVE


def replicate(card: ReplicationCard, run: Finished) -> pd.DataFrame:
    """Every number of a card beside the run's; the table REPLICATIONS.

    *Not comparable* where data set, model, label set (or what a family holds), groups or choice
    rule are others, or the run lacks the rate. Template, article, crop and number of pictures do
    not forbid a comparison, since a number that holds only in one wording is worth knowing: they
    are counted in ``distance``. A published number without the size of its group is *inconclusive*
    at best. Each number is judged by itself: of twenty, one interval may miss by chance.

    Args:
        card: what was published.
        run: a finished run.
    """
    return replicate_all([card], run)


def replicate_all(cards: Iterable[ReplicationCard], run: Finished) -> pd.DataFrame:
    """The rows of several cards, one after another."""
    view = RunView(run)
    rows = [row for card in cards for row in _rows_of(card, view)]
    return REPLICATIONS.conform(pd.DataFrame(rows, columns=list(REPLICATIONS.columns)))


def _rows_of(card: ReplicationCard, view: RunView) -> Iterator[Row]:
    everywhere = list(about_run(card.protocol, view))
    asked = {name: find_task(q, view) for name, q in card.protocol.questions.items()}
    for number in card.numbers:
        found = asked[card.question(number)]
        gaps = [*everywhere, *found.gaps, *about_groups(card.protocol, number, view)]
        yield _row(card, number, found, gaps, view)


def _row(
    card: ReplicationCard, number: Number, found: FoundTask, gaps: list[Gap], view: RunView
) -> Row:
    """One row of REPLICATIONS."""
    gaps = gaps + about_families(card.protocol.questions[card.question(number)], number, found)
    rows = [row for label in number.counted if (row := view.row(found, number, label))]
    whole = len(rows) == len(number.counted)
    ours, n = _ours(number, rows) if whole else (_NONE, math.nan)
    theirs, unstated = _theirs(card, number), sum(gap.unstated for gap in gaps)
    low, high = difference_interval(ours, theirs, view.level)
    measured = {
        "published": theirs.value,
        "published_n": theirs.size,
        "published_size": number.n_from if number.n else "unknown",
        "ours": ours.value,
        "n": n,
        "effective_n": ours.size,
        "difference": ours.value - theirs.value,
        "low": low,
        "high": high,
        "level": view.level,
        "tolerance": card.tolerance / 100,
        "attainable": attainable(theirs, ours.size, view.level),
    }
    if not whole or any(gap.serious for gap in gaps):
        verdict, reason = NOT_COMPARABLE, _not_comparable(gaps, number, found)
    else:
        verdict, reason = _worded(number, rows, measured)
    return {
        **_names(card, number, found),
        **measured,
        "differs": len(gaps) - unstated,
        "unstated": unstated,
        "distance": "; ".join(map(str, gaps)),
        "verdict": verdict,
        "reason": reason,
    }


def _names(card: ReplicationCard, number: Number, found: FoundTask) -> Row:
    return {
        "key": card.key(number),
        "card": card.name,
        "card_version": card.version,
        "question": card.question(number),
        "metric": number.metric,
        "label": " + ".join(number.counted),
        "attribute": number.attribute,
        "group": number.group,
        "task": found.task,
        "condition": found.condition,
    }


_NONE: Final = Rate(math.nan, math.nan)


def _theirs(card: ReplicationCard, number: Number) -> Rate:
    exact = number.events is not None
    size = math.nan if number.n is None else float(number.n)
    return Rate(number.share, size, 0.0 if exact else card.rounding / 200)


def _ours(number: Number, rows: Sequence[Fields]) -> tuple[Rate, float]:
    """The run's rate and pictures; families that exclude each other are added up.

    A sum is given the smallest effective number of its parts: where every picture shows another
    subject that is the number of pictures, and exact.
    """
    value = sum(float(row["value"]) for row in rows)
    usable = all(row["status"] in (OK, TOO_FEW) for row in rows)
    size = min(float(row["effective_n"]) for row in rows) if usable else math.nan
    value = 1 - value if number.metric == ACCURACY else value
    return Rate(min(max(value, 0.0), 1.0), size), float(rows[0]["n"])


def _not_comparable(gaps: Iterable[Gap], number: Number, found: FoundTask) -> str:
    fields = list(dict.fromkeys(gap.field for gap in gaps if gap.serious))
    if fields:
        listed = ", ".join(fields[:-1]) + " and " + fields[-1] if len(fields) > 1 else fields[0]
        return f"the protocols differ in {listed}"
    place = f"{number.attribute}: {number.group}"
    label = " + ".join(number.counted)
    return f"task '{found.task}' has no {number.metric} of '{label}' for {place}"


def _worded(number: Number, rows: Sequence[Fields], measured: Fields) -> tuple[str, str]:
    """The word for a comparable number, and why it can't be told or what to know of it."""
    if math.isnan(measured["low"]):
        told = next((str(row["reason"]) for row in rows if row["reason"]), "")
        return INCONCLUSIVE, told or "the run has no interval for this rate"
    if number.n is None:
        told = "the published size of this group is unknown, and so is its sampling error"
        return INCONCLUSIVE, told
    word = judge(measured["low"], measured["high"], measured["tolerance"])
    if word != INCONCLUSIVE:
        return word, _remark(number, measured["n"])
    if measured["attainable"] > measured["tolerance"]:
        least = f"{100 * measured['attainable']:.2g} points"
        return word, f"so few pictures that an equal rate would need a tolerance of {least}"
    return word, "the interval reaches across the tolerance"


def _remark(number: Number, n: float) -> str:
    """What to know of a decided word."""
    if number.n_from == "assumed":
        return f"with an assumed size of {number.n:,} pictures for the published group"
    if number.n == n:
        return "as many pictures as published: if they are the same, the interval is too wide"
    return ""


def in_short(table: pd.DataFrame) -> str:
    """How many numbers got each word: '2 reproduced, 5 inconclusive'."""
    counts = table["verdict"].value_counts()
    told = [f"{counts[word]} {word}" for word in WORDS if word in counts]
    return ", ".join(told) or "no published number"


def in_columns(row: Fields) -> tuple[str, ...]:
    """A row as text cells: verdict, number, published, ours, difference (bounds), distance, why."""
    what = f"{row['question']}: {row['metric'].replace('_', ' ')} of {row['label']}"
    who = "" if row["attribute"] == EVERYONE else f", {row['group']}"
    low, high = row["low"], row["high"]
    told = (
        "–" if math.isnan(low) else f"{percent(row['difference'], low, high)} ({bounds(low, high)})"
    )
    apart = f"{row['differs']} differ, {row['unstated']} unstated"
    ours = "–" if math.isnan(row["ours"]) else f"{100 * row['ours']:.1f}"
    cells = (row["verdict"], what + who, f"{100 * row['published']:.1f}", ours, told, apart)
    return (*cells, row["reason"])


__all__ = [
    "NOT_COMPARABLE",
    "Rate",
    "attainable",
    "difference_interval",
    "in_columns",
    "in_short",
    "judge",
    "load_card",
    "replicate",
    "replicate_all",
]

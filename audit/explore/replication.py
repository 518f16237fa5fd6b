"""Replication cards: a published number beside a run's own, and whether the two agree.

A card (a small YAML, ``audit/bundled/replications/``) states numbers and the protocol behind them.
``replicate`` looks for each number in a finished run, says how far the protocols are apart, and
gives one word: *reproduced*, *not reproduced*, *inconclusive* or *not comparable*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import pandas as pd

from audit.core.digits import bounds, percent
from audit.core.rows import Fields, Row
from audit.core.tables import (
    ENSEMBLE,
    EVERYONE,
    INCONCLUSIVE,
    OK,
    TOO_FEW,
    UNKNOWN,
    records,
)
from audit.data.labels import normalise
from audit.explore.replication_card import (
    ACCURACY,
    CHOICE,
    CONDITION,
    CROSS,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPLICATIONS,
    REPRODUCED,
    WORDS,
    Finished,
    Number,
    PublishedProtocol,
    Question,
    ReplicationCard,
    cell,
)
from audit.stats.defaults import rate_bounds


@dataclass(frozen=True)
class Gap:
    """A field in which two protocols are apart; ``serious`` ones forbid a comparison."""

    field: str
    words: str
    serious: bool = False
    unstated: bool = False

    def __str__(self) -> str:
        """The field and how it differs."""
        return f"{self.field}: {self.words}"


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
    view = _View(run)
    rows = [row for card in cards for row in _rows_of(card, view)]
    return REPLICATIONS.conform(pd.DataFrame(rows, columns=list(REPLICATIONS.columns)))


def _rows_of(card: ReplicationCard, view: _View) -> Iterator[Row]:
    everywhere = list(_about_run(card.protocol, view))
    asked = {name: _find(q, view) for name, q in card.protocol.questions.items()}
    for number in card.numbers:
        found = asked[card.question(number)]
        gaps = [*everywhere, *found.gaps, *_about_groups(card.protocol, number, view)]
        yield _row(card, number, found, gaps, view)


@dataclass(frozen=True)
class _Found:
    """Which task and wording of a run answers a question, and how far it is from it."""

    gaps: tuple[Gap, ...]
    task: str = ""
    condition: str = ""
    families: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class _View:
    """A run, with what is looked up often."""

    run: Finished

    @cached_property
    def level(self) -> float:
        """The level of its intervals."""
        rates = self.run.rates
        return float(rates["level"].iloc[0]) if len(rates) else math.nan

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The groups of every attribute and intersection, 'unknown' left out."""
        pairs = self.run.rates[["attribute", "group"]].drop_duplicates()
        pairs = pairs[pairs["group"] != UNKNOWN]
        return {str(a): tuple(g) for a, g in pairs.groupby("attribute", sort=False)["group"]}

    @cached_property
    def _rows(self) -> dict[tuple[str, str], dict[tuple[Any, ...], Row]]:
        """Filled task by task: most tasks of a run are on no card."""
        return {}

    def _of(self, task: str, condition: str) -> dict[tuple[Any, ...], Row]:
        if (task, condition) not in self._rows:
            rates = self.run.rates
            rates = rates[(rates["task"] == task) & (rates["condition"] == condition)]
            self._rows[task, condition] = {
                (row["metric"], row["label"], _place(row["attribute"], row["group"])): row
                for row in records(rates)
            }
        return self._rows[task, condition]

    def row(self, found: _Found, number: Number, label: str) -> Row | None:
        """The row of RATES for one label of a number, or None."""
        metric = "misclassification" if number.metric == ACCURACY else number.metric
        place = _place(number.attribute, number.group)
        return self._of(found.task, found.condition).get((metric, label, place))


@lru_cache(maxsize=4096)
def _place(attribute: str, group: str) -> frozenset[tuple[str, str]]:
    """A group whatever the order of its attributes and the way its name is typed."""
    return frozenset((_typed(a), _typed(g)) for a, g in cell(attribute, group))


@lru_cache(maxsize=4096)
def _typed(name: str) -> str:
    """A name without case, and with '_' and '-' as spaces."""
    return normalise(name.replace("_", " ").replace("-", " "))


def _about_run(theirs: PublishedProtocol, view: _View) -> Iterator[Gap]:
    """Model, weights, data set, pictures and crop."""
    ref, name = str(view.run.model["ref"]), str(view.run.dataset["name"])
    if not _same_model(ref, theirs.model):
        yield Gap("model", f"{theirs.model[0]} there, {ref} here", serious=True)
    else:
        yield Gap("weights", "no fingerprint published, taken by name", unstated=True)
    same = _typed(name) in map(_typed, theirs.dataset)
    if not same:
        yield Gap("data set", f"{theirs.dataset[0]} there, {name} here", serious=True)
    yield from _about_pictures(theirs, view) if same else ()
    told = f"{theirs.crop} there, not stated here" if theirs.crop else "not stated on either side"
    yield Gap("crop", told, unstated=True)


def _same_model(ref: str, names: Sequence[str]) -> bool:
    """Whether a model goes by one of these names, or is a folder that ends in one."""
    path = "/" + ref.rstrip("/").casefold()
    return any(path.endswith("/" + name.casefold()) for name in names)


def _about_pictures(theirs: PublishedProtocol, view: _View) -> Iterator[Gap]:
    here = int(view.run.dataset["pictures"]) - int(view.run.dataset.get("quarantined", 0))
    split = f" of the {theirs.split} split" if theirs.split else ""
    if theirs.pictures is None:
        yield Gap("pictures", f"number not stated{split} there, {here:,} here", unstated=True)
    elif theirs.pictures != here:
        yield Gap("pictures", f"{theirs.pictures:,}{split} there, {here:,} here")


def _find(question: Question, view: _View) -> _Found:
    """The task with these labels whose wording is nearest, or why there is none."""
    tasks = [q for q in view.run.questions if len(q["label_sets"]) == 1]
    same = [q for q in tasks if _same_labels(question, q["label_sets"][0])]
    if not same:
        return _Found((_no_such_labels(question, tasks), *_about_choice(question, tasks)))
    return min((_answer(question, q) for q in same), key=lambda f: (_apart(f.gaps), f.task))


def _apart(gaps: Iterable[Gap]) -> tuple[int, int]:
    """How many fields forbid a comparison, and how many are apart at all."""
    kept = list(gaps)
    return sum(g.serious for g in kept), len(kept)


def _answer(question: Question, asked: Fields) -> _Found:
    labels = asked["label_sets"][0]
    condition, gaps = _about_wording(question, asked)
    if question.wording == "reconstructed":
        told = f"never published; the reconstruction '{question.label_set}' is compared"
        gaps.append(Gap("words of the labels", told, unstated=True))
    gaps += _about_choice(question, [asked])
    return _Found(tuple(gaps), str(asked["task"]), condition, _families(labels))


def _families(labels: Fields) -> dict[str, frozenset[str]]:
    """The labels of every tag of a label set."""
    found: dict[str, frozenset[str]] = {}
    for label in labels["labels"]:
        for tag in label.get("tags", ()):
            found[tag] = found.get(tag, frozenset()) | {normalise(label["text"])}
    return found


def _same_labels(question: Question, labels: Fields) -> bool:
    if question.digest:
        return bool(labels.get("digest") == question.digest)
    return _texts(labels) == set(map(normalise, question.labels))


def _texts(labels: Fields) -> set[str]:
    return {normalise(label["text"]) for label in labels["labels"]}


def _no_such_labels(question: Question, tasks: Sequence[Fields]) -> Gap:
    wanted = set(map(normalise, question.labels))
    told = f"'{question.label_set}' there, asked by none of {len(tasks)} tasks here"
    near = max(tasks, key=lambda q: len(wanted & _texts(q["label_sets"][0])), default=None)
    if near is not None and wanted & (have := _texts(near["label_sets"][0])):
        lacks, adds = len(wanted - have), len(have - wanted)
        told += f" (nearest: '{near['task']}', which lacks {lacks} of its labels and adds {adds})"
    return Gap("label set", told, serious=True)


def _about_choice(question: Question, tasks: Sequence[Fields]) -> list[Gap]:
    rules = sorted({_rule(q) for q in tasks})
    if question.choice in rules:
        return []
    here = " or ".join(f"'{rule}'" for rule in rules) or "nothing"
    told = f"'{question.choice}' there, {here} here"
    return [Gap("choice", told, serious=True)]


def _rule(asked: Fields) -> str:
    """How a task's answers are made, as cards name it: which is chosen, and what it counts as."""
    rule = CHOICE.get(str(asked["kind"]), str(asked["kind"]))
    for labels in asked["label_sets"]:
        if "classes" in labels:
            answers, classes = (_counted(len(labels[name])) for name in ("labels", "classes"))
            return f"{rule}, {answers} answers counted as {classes}"
    return rule


def _counted(n: int) -> str:
    """A number in words, as cards write it, up to ten."""
    words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return words[n - 2] if 2 <= n <= 10 else str(n)


def _about_wording(question: Question, asked: Fields) -> tuple[str, list[Gap]]:
    """The condition with the nearest wording, and how template and article differ in it."""
    sets = asked.get("prompt_sets") or []
    here = tuple(t for s in sets for t in s["templates"])
    rules = sorted({str(s["article"]) for s in sets})
    condition, used = CONDITION.get(str(asked["kind"]), ENSEMBLE), here
    if (
        condition == ENSEMBLE
        and len(question.templates) == 1 < len(here)
        and question.templates[0] in here
    ):
        condition, used = f"template: {question.templates[0]}", question.templates
    gaps = []
    if not question.templates:
        told = f"never published there, {_quoted(used)} here"
        gaps.append(Gap("templates", told, unstated=True))
    elif set(question.templates) != set(used):
        gaps.append(Gap("templates", f"{_quoted(question.templates)} there, {_quoted(used)} here"))
    article = " and ".join(rules) or "none"
    if question.article == "unknown":
        gaps.append(Gap("article", f"unknown there, {article} here", unstated=True))
    elif [question.article] != rules:
        gaps.append(Gap("article", f"{question.article} there, {article} here"))
    return condition, gaps


def _quoted(templates: Sequence[str]) -> str:
    if len(templates) > 2:
        return f"an ensemble of {len(templates)}"
    return " and ".join(f"'{t}'" for t in templates) or "none"


def _about_groups(theirs: PublishedProtocol, number: Number, view: _View) -> Iterator[Gap]:
    """Attributes that aren't in the run, or whose groups are others or another's word."""
    have = {_typed(name): name for name in view.groups}
    for attribute, _ in cell(number.attribute, number.group):
        if attribute == EVERYONE:
            continue
        if _typed(attribute) not in have:
            known = ", ".join(n for n in view.groups if n != EVERYONE and CROSS not in n)
            yield Gap("groups", f"by {attribute} there, here by {known or 'nothing'}", serious=True)
            continue
        name, published = have[_typed(attribute)], theirs.groups[attribute]
        here = view.groups[name]
        if set(map(_typed, here)) != set(map(_typed, published.names)):
            told = f"{attribute}: {_named(published.names)} there, {_named(here)} here"
            yield Gap("groups", told, serious=True)
        source = view.run.dataset.get("attributes", {}).get(name, {}).get("source")
        if published.source and source != published.source:
            words = f"{attribute} is {published.source} there, {source or 'not stated'} here"
            yield Gap("source of groups", words, unstated=source is None)


def _named(groups: Sequence[str]) -> str:
    return ", ".join(groups) if len(groups) <= 3 else f"{len(groups)} groups ({groups[0]}, ...)"


def _row(card: ReplicationCard, number: Number, found: _Found, gaps: list[Gap], view: _View) -> Row:
    """One row of REPLICATIONS."""
    gaps = gaps + _about_families(card.protocol.questions[card.question(number)], number, found)
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


def _names(card: ReplicationCard, number: Number, found: _Found) -> Row:
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


def _about_families(question: Question, number: Number, found: _Found) -> list[Gap]:
    """Families that hold other labels than the published ones, or labels of each other."""
    if number.metric != "family_selection" or found.families is None:
        return []
    here = [found.families.get(tag, frozenset()) for tag in number.label]
    gaps = [
        Gap("label set", f"'{tag}' holds other labels here", serious=True)
        for tag, members in zip(number.label, here, strict=True)
        if tag in question.families and members != frozenset(map(normalise, question.families[tag]))
    ]
    if sum(map(len, here)) > len(frozenset().union(*here)):
        told = f"{' and '.join(number.label)} share labels here, so they can't be added up"
        gaps.append(Gap("label set", told, serious=True))
    return gaps


def _not_comparable(gaps: Iterable[Gap], number: Number, found: _Found) -> str:
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

"""How far a run's protocol is from a published one: model, pictures, labels, wording, groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from audit.core.rows import Fields, Row, having
from audit.core.tables import ENSEMBLE, EVERYONE, UNKNOWN, records
from audit.data.labels import normalise
from audit.explore.replication_card import (
    ACCURACY,
    CHOICE,
    CONDITION,
    CROSS,
    Finished,
    Number,
    PublishedProtocol,
    Question,
    cell,
)

#: metric, label, and attributes with the group of each
_Place = tuple[str, str, frozenset[tuple[str, str]]]


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
class FoundTask:
    """Which task and wording of a run answers a question, and how far it is from it."""

    gaps: tuple[Gap, ...]
    task: str = ""
    condition: str = ""
    families: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class RunView:
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
    def _rows(self) -> dict[tuple[str, str], dict[_Place, Row]]:
        """Filled task by task: most tasks of a run are on no card."""
        return {}

    def _of(self, task: str, condition: str) -> dict[_Place, Row]:
        if (task, condition) not in self._rows:
            rates = self.run.rates
            rates = having(rates, task=task, condition=condition)
            self._rows[task, condition] = {
                (row["metric"], row["label"], _place(row["attribute"], row["group"])): row
                for row in records(rates)
            }
        return self._rows[task, condition]

    def row(self, found: FoundTask, number: Number, label: str) -> Row | None:
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


def about_run(theirs: PublishedProtocol, view: RunView) -> Iterator[Gap]:
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


def _about_pictures(theirs: PublishedProtocol, view: RunView) -> Iterator[Gap]:
    here = int(view.run.dataset["pictures"]) - int(view.run.dataset.get("quarantined", 0))
    split = f" of the {theirs.split} split" if theirs.split else ""
    if theirs.pictures is None:
        yield Gap("pictures", f"number not stated{split} there, {here:,} here", unstated=True)
    elif theirs.pictures != here:
        yield Gap("pictures", f"{theirs.pictures:,}{split} there, {here:,} here")


def find_task(question: Question, view: RunView) -> FoundTask:
    """The task with these labels whose wording is nearest, or why there is none."""
    tasks = [q for q in view.run.questions if len(q["label_sets"]) == 1]
    same = [q for q in tasks if _same_labels(question, q["label_sets"][0])]
    if not same:
        return FoundTask((_no_such_labels(question, tasks), *_about_choice(question, tasks)))
    return min((_answer(question, q) for q in same), key=lambda f: (_apart(f.gaps), f.task))


def _apart(gaps: Iterable[Gap]) -> tuple[int, int]:
    """How many fields forbid a comparison, and how many are apart at all."""
    kept = list(gaps)
    return sum(g.serious for g in kept), len(kept)


def _answer(question: Question, asked: Fields) -> FoundTask:
    labels = asked["label_sets"][0]
    condition, gaps = _about_wording(question, asked)
    if question.wording == "reconstructed":
        told = f"never published; the reconstruction '{question.label_set}' is compared"
        gaps.append(Gap("words of the labels", told, unstated=True))
    gaps += _about_choice(question, [asked])
    return FoundTask(tuple(gaps), str(asked["task"]), condition, _families(labels))


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


def about_groups(theirs: PublishedProtocol, number: Number, view: RunView) -> Iterator[Gap]:
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


def about_families(question: Question, number: Number, found: FoundTask) -> list[Gap]:
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

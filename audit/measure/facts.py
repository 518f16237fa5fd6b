"""Facts: what a run found, each thing once, what was asked first and harms most in front.

A run has a finding for every label, category of labels, attribute and intersection, and many of
them say one thing. A *fact* is what they say, once, with those findings as its evidence. Facts are
computed from the findings and tables of a finished run, so that runs of before have them too, and a
public copy has only what its tables tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from audit.core.rows import Fields
from audit.core.tables import EXCEEDS, INCONCLUSIVE, PRIMARY, WITHIN
from audit.core.verdicts import Verdict
from audit.measure.claims import CATEGORY

_CROSS: Final = " x "
SEVERITIES: Final = ("high", "medium", "low", "none")
_CHOICE: Final = "selection"
_OPEN: Final = (INCONCLUSIVE, WITHIN)


@dataclass(frozen=True)
class Side:
    """One of two groups: who it is in words, how often it happened to it.

    ``value, low, high``: shares, the interval for this group alone. ``n`` counts pictures.
    """

    group: str
    people: str
    short: str
    events: int
    n: int
    subjects: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Variants:
    """In how many prompt variants the gap of the same two groups is beyond its margin as stated.

    ``least``: the smallest gap of them, below 0 if reversed. ``judged``: by a verdict whose bounds
    hold for all variants at once; else by its size alone. ``example``: one of the prompts, with '…'
    where the label goes; blank if not known. ``reverses``: in how many the other group has the
    higher rate; ``against``: in how many of those surely by more than the margin. ``counted``: the
    category whose gap it is, if not that of the fact. ``p``: of the joint test over all variants.
    ``mean``: the gap over all variants with its bounds, of what is inconclusive as asked and
    surely exceeds its margin there.
    """

    holds: int
    of: int
    least: float
    judged: bool
    example: str = ""
    reverses: int = 0
    against: int = 0
    counted: str = ""
    p: float | None = None
    mean: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Relief:
    """The edit of the label set that surely lowers the higher rate most, and that rate in shares.

    An edit that surely narrows the largest gap of the attribute goes before others: ``narrows``.
    ``counted``: the label or category whose rate it is; ``people``: of whom; ``by``: the attribute
    in words. ``gaps``: its largest gap before and after, which may be of other groups; None if that
    was not measured.
    """

    edit: str
    dropped: str
    added: str
    counted: str
    before: float
    after: float
    people: str
    by: str
    gaps: tuple[float, float] | None = None
    narrows: bool = False


@dataclass(frozen=True)
class Threshold:
    """The lowest threshold at which the gap of what is kept is surely within its margin.

    ``counted``: the label or category. ``before, after``: shares of the group with the higher rate,
    chosen now and kept then. ``labels``: how many labels of any kind a picture then keeps, on
    average; None if that was not counted.
    """

    threshold: float
    counted: str
    before: float
    after: float
    labels: float | None


@dataclass(frozen=True)
class Fact:
    """One thing that a run found, in plain words and as numbers.

    ``asked``: what happened, in two or three words; ``by``: the attribute in words.
    ``sides``: the higher rate first; two of a gap, one of what was seen at all, none of a value in
    another ``unit`` or of what is withheld. ``gap, low, high, margin``: shares, or in ``unit``;
    the bounds are those that the verdict rests on. ``size``: how many margins the gap surely has.
    ``compared``: of how many groups the sides are those furthest apart; 0 of a declared pair.
    ``people``: subjects of the group that it falls on. ``needed``: subjects a group that would
    probably decide what is open, if the gap stays as it is. ``not_compared``: groups too small.
    ``evidence``: ids of the findings that say it, the leading one first.
    """

    id: str
    statement: str
    title: str
    asked: str
    verdict: Verdict
    severity: str
    harm: str
    role: str
    task: str
    metric: str
    label: str
    attribute: str
    by: str
    evidence: tuple[str, ...]
    sides: tuple[Side, ...] = ()
    gap: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    unit: str = ""
    size: float = 0.0
    compared: int = 0
    people: int = 0
    variants: Variants | None = None
    relief: Relief | None = None
    threshold: Threshold | None = None
    needed: int | None = None
    not_compared: str = ""
    caveats: tuple[str, ...] = ()

    @property
    def missed(self) -> bool:
        """Whether it is inconclusive as asked, and surely exceeds its margin in other words."""
        return bool(self.variants and self.variants.mean)

    @property
    def theme(self) -> tuple[str, str]:
        """Task and attribute: facts that share them are told together."""
        return self.task, self.attribute


@dataclass(frozen=True)
class Asked:
    """What merging has to know of the questions of a run.

    ``labels``: by task, the labels in order. ``families``: by (task, family), its labels.
    ``apart``: by (task, label, attribute), the pairs of groups that exceed their margin.
    """

    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    families: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    apart: Mapping[tuple[str, str, str], frozenset[frozenset[str]]] = field(default_factory=dict)


def ranked(facts: Iterable[Fact]) -> list[Fact]:
    """Primary facts beyond their margin, then by harm, size in whole margins, and people.

    Among those that are inconclusive or within their margin the primary ones come first, then what
    surely exceeds its margin over other prompt variants, then categories of labels, which harm.
    """
    return sorted(
        facts,
        key=lambda f: (
            f.role != PRIMARY or f.verdict in _OPEN,
            SEVERITIES.index(f.severity),
            f.verdict.rank,
            f.verdict in _OPEN and (f.role != PRIMARY, not f.missed, f.metric != CATEGORY),
            -round(f.size),
            -f.people,
            f.id,
        ),
    )


def merged(found: Sequence[Fields], asked: Asked) -> list[list[Fields]]:
    """Findings that say one thing together, the leading one first; every finding in one place.

    - a label and its category, where the same group gets both; the label leads unless the gap of
      the category is larger by a margin
    - an intersection and its attributes, unless it surely exceeds their gaps, and by a margin
    - the two labels of a set of two
    - a label that a group gets less, since it gets that of a larger fact instead, if nothing is
      left of its gap among all other groups
    - a declared pair of groups that is also the largest gap

    A primary finding is told with nothing that isn't primary.
    """
    said = _Said(found, asked)
    said.pairs()
    said.mirrors_of_two()
    said.categories()
    said.intersections()
    said.instead()
    said.conditions()
    return said.together()


def higher(finding: Fields) -> str:
    """The group with the higher rate; blank where none is named."""
    return _ends(finding)[0]


def _ends(finding: Fields) -> tuple[str, str]:
    """The groups with the higher and the lower rate; blanks where they are not named."""
    if len(finding["groups"]) != 2:
        return "", ""
    one, other = finding["groups"]
    return (one, other) if (finding["estimate"] or 0) >= 0 else (other, one)


def _gap(finding: Fields) -> float:
    return abs(float(finding["estimate"] or 0.0))


class _Said:
    """Which finding each finding is told with; ``under`` names it by place in ``found``."""

    def __init__(self, found: Sequence[Fields], asked: Asked) -> None:
        self.found, self.asked = found, asked
        self.under = list(range(len(found)))
        self.at: dict[tuple[str, str, str, str], list[int]] = {}
        for i, f in enumerate(found):
            key = (f["task"], f["metric"], f["label"], f["attribute"])
            self.at.setdefault(key, []).append(i)

    def root(self, i: int) -> int:
        while self.under[i] != i:
            i = self.under[i]
        return i

    def tell(self, i: int, under: int) -> None:
        """Tell a finding with another one, unless that is told with it; what is primary leads."""
        leads = self.found[i].get("role") == PRIMARY != self.found[self.root(under)].get("role")
        if self.root(under) != i and not leads:
            self.under[i] = under

    def free(self, i: int) -> bool:
        return self.under[i] == i

    def together(self) -> list[list[Fields]]:
        groups: dict[int, list[Fields]] = {i: [f] for i, f in enumerate(self.found) if self.free(i)}
        for i, f in enumerate(self.found):
            if not self.free(i):
                groups[self.root(i)].append(f)
        return list(groups.values())

    def pairs(self) -> None:
        """A declared pair that is the largest gap as well; what is primary leads."""
        for same in self.at.values():
            for i in same:
                for other in same:
                    f, g = self.found[i], self.found[other]
                    one = bool(f["groups"]) and set(f["groups"]) == set(g["groups"])
                    first = (f.get("role") != PRIMARY, i) > (g.get("role") != PRIMARY, other)
                    if first and one and f["verdict"] == g["verdict"] and not f.get("unit"):
                        self.tell(i, other)

    def mirrors_of_two(self) -> None:
        """Of the two labels of a set: what one gets more, the other gets less."""
        for (task, metric, label, attribute), places in self.at.items():
            labels = list(self.asked.labels.get(task, ()))
            if metric != _CHOICE or len(labels) != 2 or label not in labels:
                continue
            mirror = labels[1 - labels.index(label)]
            others = self.at.get((task, metric, mirror, attribute), [])
            for i, other in zip(places, others, strict=False):
                f, g = self.found[i], self.found[other]
                worse = SEVERITIES.index(g["severity"]) - SEVERITIES.index(f["severity"])
                if f["verdict"] == g["verdict"] and (worse, labels.index(mirror)) < (0, 1):
                    self.tell(i, other)

    def categories(self) -> None:
        """A category with those of its labels that say the same of the same group."""
        for (task, metric, family, attribute), places in self.at.items():
            if metric != CATEGORY:
                continue
            names = self.asked.families.get((task, family), frozenset())
            of_it = [
                i for n in sorted(names) for i in self.at.get((task, _CHOICE, n, attribute), [])
            ]
            for whole in places:
                self._category(whole, [i for i in of_it if self.free(i)])

    def _category(self, whole: int, labels: Sequence[int]) -> None:
        c = self.found[whole]
        same = [i for i in labels if self.found[i]["verdict"] == c["verdict"]]
        if c["verdict"] == EXCEEDS:
            same = [i for i in same if higher(c) and higher(self.found[i]) == higher(c)]
        if not same:
            return
        most = max(same, key=lambda i: _gap(self.found[i]))
        carries = _gap(c) - _gap(self.found[most]) <= (c["margin"] or 0.0)
        if c["verdict"] == EXCEEDS and carries and c.get("role") != PRIMARY:
            self.tell(whole, most)
        else:
            for i in same:
                self.tell(i, whole)

    def intersections(self) -> None:
        """An intersection with its attributes, unless it tells more than they do."""
        for (task, metric, label, attribute), places in self.at.items():
            parts = attribute.split(_CROSS)
            single = [i for p in parts for i in self.at.get((task, metric, label, p), [])]
            if len(parts) > 1 and single:
                for i in places:
                    self._intersection(i, single)

    def _intersection(self, i: int, single: Sequence[int]) -> None:
        f = self.found[i]
        verdicts = [self.found[s]["verdict"] for s in single]
        most = max(_gap(self.found[s]) for s in single)
        worse = _gap(f) - most > (f["margin"] or 0.0) and abs(f["low"] or 0.0) > most
        alone = (
            f["verdict"] == EXCEEDS and (EXCEEDS not in verdicts or worse)
            or f["verdict"] == INCONCLUSIVE and set(verdicts) == {WITHIN}
        )  # fmt: skip
        if self.free(i) and not alone:
            alike = [s for s in single if self.found[s]["verdict"] == f["verdict"]]
            self.tell(i, max(alike or single, key=lambda s: _gap(self.found[s])))

    def instead(self) -> None:
        """A label that the group of a larger fact gets less, since it gets that one's instead."""
        free = [i for i, f in enumerate(self.found) if self.free(i) and f["metric"] == _CHOICE]
        free = [i for i in free if self.found[i]["verdict"] == EXCEEDS and higher(self.found[i])]
        by: dict[tuple[str, str], list[int]] = {}
        for i in sorted(
            free, key=lambda i: (self.found[i]["severity"] != "high", -_gap(self.found[i]))
        ):
            f = self.found[i]
            larger = by.setdefault((f["task"], f["attribute"]), [])
            if not self._instead(i, larger):
                larger.append(i)

    def _instead(self, i: int, larger: Sequence[int]) -> bool:
        f = self.found[i]
        taken = {higher(self.found[j]) for j in larger if _gap(self.found[j]) >= _gap(f)}
        pairs = self.asked.apart.get((f["task"], f["label"], f["attribute"]))
        alone = f["severity"] == "high" or f.get("role") == PRIMARY
        if alone or _ends(f)[1] not in taken or pairs is None:
            return False
        if any(not pair & taken for pair in pairs):
            return False
        whose = (j for j in larger if higher(self.found[j]) == _ends(f)[1])
        self.tell(i, next(whose))
        return True

    def conditions(self) -> None:
        """Values of one measure in several conditions, such as depths, that say the same."""
        first: dict[tuple[object, ...], int] = {}
        for i, f in enumerate(self.found):
            if f.get("unit") and self.free(i):
                key = (*(f[k] for k in ("task", "metric", "label", "attribute", "verdict")),)
                leader = first.setdefault((*key, tuple(f["groups"])), i)
                if leader != i:
                    self.tell(i, leader)


__all__ = [
    "Asked",
    "Fact",
    "higher",
    "merged",
    "ranked",
    "Relief",
    "SEVERITIES",
    "Side",
    "Threshold",
    "Variants",
]

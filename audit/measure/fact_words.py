"""How facts are said: sentences as people say them, with the digits that intervals support."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from audit.core.digits import bounds, number, percent
from audit.core.rows import Fields
from audit.core.tables import ADD, DROP, EVERYONE, REST
from audit.core.verdicts import Verdict
from audit.data.display import Names
from audit.measure.claims import CATEGORY, ERRORS
from audit.measure.metrics import METRICS, metric_named

if TYPE_CHECKING:
    from audit.measure.facts import Fact, Relief, Side, Variants

NBSP: Final = "\u00a0"
#: what ends a finding's own sentence and stands beside a fact
_BESIDE: Final = re.compile(
    r"; (?:\d+ % simultaneous bounds|exceeds the m|within the m|inconclusive a)"
)
#: a joint test whose p is larger finds nothing beyond chance
_CHANCE: Final = 0.05
CHOICE: Final = "selection"
_CROSS: Final = " x "


@dataclass(frozen=True)
class Told:
    """A finding's words: names of attributes and groups, and what its task asks for, if anything.

    ``about``: the attribute that the task's labels name, in words; blank where they name none.
    """

    names: Names
    finding: Fields
    about: str = ""

    @property
    def by(self) -> str:
        """The attribute it is by."""
        return self.names.attribute(self.finding["attribute"])

    @property
    def asked(self) -> str:
        """What happened, in two or three words: 'Called ‘thief’'."""
        metric, label = self.finding["metric"], self.finding["label"]
        if metric == CHOICE:
            return f"Called ‘{label}’"
        if metric == CATEGORY:
            return f"Given a ‘{label}’ label"
        if metric == ERRORS:
            return f"Wrong about {self.about}" if self.about else "Given a wrong label"
        known = metric_named(metric)
        said = known.noun(label) if known else metric.replace("_", " ")
        return _upper(said + (f", ‘{label}’" if label and not known else ""))

    @property
    def title(self) -> str:
        """What the fact says, in a few words."""
        metric, verdict = self.finding["metric"], Verdict(self.finding["verdict"])
        what = self.asked
        if metric in (CHOICE, CATEGORY):
            what = f"‘{self.finding['label']}’" + (" labels" if metric == CATEGORY else "")
        elif metric == ERRORS:
            what = f"Errors about {self.about}" if self.about else "Errors"
        if self.finding["attribute"] == EVERYONE:
            return what
        many = metric in (CATEGORY, ERRORS)
        said = {
            Verdict.EXCEEDS: f"{what} differ{'' if many else 's'} by {self.by}",
            Verdict.WITHIN: f"{what} differ{'' if many else 's'} little by {self.by}",
        }
        together = " together" if _CROSS in self.finding["attribute"] else ""
        return said.get(verdict, f"{what} by {self.by}") + together

    def statement(self, sides: Sequence[Side]) -> str:
        """The fact in a sentence; its finding's own where no two rates are known."""
        if len(sides) == 2:
            return f"{self._rates(*sides)}{self._end(sides)}."
        if len(sides) == 1:
            return f"Gives a ‘{self.finding['label']}’ label to {_of(sides[0], sides[0].people)}."
        return self.plain(self.finding["statement"])

    def _rates(self, one: Side, other: Side) -> str:
        metric, label = self.finding["metric"], self.finding["label"]
        first, then = _of(one, one.people), _of(other, other.short)
        if metric == CHOICE and not one.events:
            return f"Calls nobody ‘{label}’, whatever the {self.by}: {first}, and {then}"
        if metric == CHOICE and first.endswith("’"):
            # two names side by side change places where both are written from right to left
            return f"Chooses ‘{label}’ for {first}, and for {then}"
        if metric == CHOICE:
            return f"Calls {first} ‘{label}’, and {then}"
        if metric == CATEGORY:
            return f"Gives a ‘{label}’ label to {first}, and to {then}"
        if metric == ERRORS and self.about:
            return f"Gets the {self.about} of {first} wrong, and of {then}"
        if metric == ERRORS:
            return f"Gives a wrong label to {first}, and to {then}"
        return f"For {first}, and for {then}, {METRICS[metric].clause(label)}"

    def _end(self, sides: Sequence[Side]) -> str:
        """What follows from the bounds, where the two rates don't say it."""
        f, verdict = self.finding, Verdict(self.finding["verdict"])
        ratio = (f.get("ratio") or {}).get("margin")
        margin = f"{100 * f['margin']:g} points" + (f" or {ratio:g} times" if ratio else "")
        if verdict is Verdict.WITHIN:
            return f": no two groups differ by as much as {margin}"
        if verdict is Verdict.INCONCLUSIVE:
            return f": inconclusive whether they differ by {margin}"
        if ratio and (f["low"] or 0.0) <= f["margin"]:
            return f": more than {ratio:g} times as often"
        return ""

    def plain(self, text: str) -> str:
        """A sentence with attributes as they are said, without what stands beside it: the bounds.

        Of a withheld value, or one that could not be had, nothing is left out.
        """
        text = re.sub(r" \(\d+ % simultaneous bounds[^()]*\)", "", text)
        text = _BESIDE.split(text)[0].removesuffix(".") + "."
        for part in dict.fromkeys(self.finding["attribute"].split(_CROSS)):
            if "_" in part:
                text = re.sub(rf"\b{re.escape(part)}\b", self.names.attribute(part), text)
        return text


def _of(side: Side, who: str) -> str:
    """How many of whom: '94 of 94 people in yellow clothes', 'none of 101 in black clothes'.

    Everyone else is 'none of the other 1,186'.
    """
    events = f"{side.events:,}" if side.events else "none"
    if side.group == REST:
        pictures = " pictures" if side.n != side.subjects else ""
        return f"{events} of the other {side.n:,}{pictures}"
    if side.n != side.subjects:
        return f"{events} of {side.n:,} pictures of {side.people}"
    return f"{events} of {side.n:,} {who}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---- numbers of a fact ---------------------------------------------------------------------------


def rate(side: Side) -> str:
    """A rate in percent with the digits that its interval supports; none and all are whole."""
    if side.value in (0, 1):
        return f"{100 * side.value:.0f}{NBSP}%"
    return f"{percent(side.value, side.low, side.high)}{NBSP}%"


def rate_of(side: Side) -> str:
    """A rate and whose it is: '7 % of women', '97 % in teal clothes'.

    The number comes first: after a name that is written from right to left it would move.
    """
    return f"{rate(side)} {'of ' if side.short == side.people else ''}{side.short}"


def points(fact: Fact) -> str:
    """The gap with its bounds: '100 points (89 to 100)', or in its own unit."""
    if fact.gap is None:
        return ""
    low, high = fact.low, fact.high
    if fact.unit:
        ends = [number(end, low, high) for end in (low, high) if end is not None]
        within = f" ({' to '.join(ends)})" if len(ends) == 2 else ""
        return f"{number(fact.gap, low, high)}{within} {fact.unit}"
    if low is None or high is None:
        return f"{100 * fact.gap:.0f}{NBSP}points"
    value = percent(fact.gap, low, high)
    return f"{value}{NBSP}point{'' if value == '1' else 's'} ({bounds(low, high)})"


def variants_in_words(variants: Variants) -> str:
    """In how many prompt variants a fact holds as stated, in how many the other way round."""
    v = variants
    if v.of == 1 and not v.judged:
        return "Asked in one prompt only."
    if v.mean:
        gap, ends = f"{100 * v.mean[0]:.0f}{NBSP}points", bounds(v.mean[1], v.mean[2])
        return f"Over {v.of} prompt variants{_any(v)} it is {gap} ({ends}): look there first."
    if not v.judged:
        return _in_prompts(v)
    told = f"Holds in {v.holds} of the {v.of} prompt variants{_any(v)}."
    if v.reverses:
        decides = "; the wording decides it" if v.against else ""
        told = (
            f"Turns round with the wording: surely as stated in {v.holds} of {v.of} prompt "
            f"variants{_any(v)}, reversed in {v.reverses}{decides}."
        )
    elif not v.holds:
        told = f"In none of the {v.of} prompt variants{_any(v)} alone is it sure: don’t rely on it."
    elif v.holds == v.of:
        least = f"{100 * v.least:.0f}{NBSP}points"
        told = f"Holds in all {v.of} prompt variants{_any(v)} (at least {least} in each)."
    if v.p is not None and v.p > _CHANCE:
        told += f" Over all of them not beyond chance (joint p {v.p:.1g})."
    return told


def _in_prompts(v: Variants) -> str:
    """The same of prompts alone, by the size of the gap of the same two groups."""
    if v.reverses:
        return (
            f"Turns round with the wording: larger than the margin in {v.holds} of the {v.of} "
            f"prompts, reversed in {v.reverses} (not tested)."
        )
    if v.holds < v.of:
        return f"Larger than the margin in {v.holds} of the {v.of} prompts (not tested)."
    least = f"{100 * v.least:.0f}{NBSP}points"
    return f"Larger than the margin in all {v.of} prompts (at least {least} in each; not tested)."


def _any(variants: Variants) -> str:
    return f" (any {variants.counted})" if variants.counted else ""


def prompts_in_words(facts: Iterable[Fact]) -> str:
    """What a prompt is, by one of those that these facts rest on; blank where none is known."""
    known = [f.variants.example for f in facts if f.variants and f.variants.example]
    if not known:
        return ""
    return (
        f"A prompt is the sentence that a label is put into, such as ‘{known[0]}’; prompt variants "
        "ask the same in other sentences, in other words for the labels or of altered pictures."
    )


def groups_in_words(fact: Fact) -> str:
    """Which of how many groups its two sides are; blank where there are no others."""
    if fact.compared <= 2 or len(fact.sides) != 2 or fact.sides[1].group == REST:
        return ""
    return f"Furthest apart of {fact.compared} groups."


def edit_in_words(edit: str, dropped: str, added: str) -> str:
    """What was changed about a label set: 'without ‘thief’', 'with ‘child’ added' ..."""
    if edit == DROP:
        return f"without ‘{dropped}’"
    if edit == ADD:
        return f"with ‘{added}’ added"
    return f"‘{added}’ in place of ‘{dropped}’"


def relief_in_words(relief: Relief) -> str:
    """What an edit does: to the higher rate, and to the largest gap, which others may have then."""
    edit = _upper(edit_in_words(relief.edit, relief.dropped, relief.added))
    before, after = (f"{100 * v:.0f}{NBSP}%" for v in (relief.before, relief.after))
    falls = f"{edit}, {relief.counted} falls from {before} to {after} for {relief.people}"
    if relief.gaps is None:
        return f"{falls}; what becomes of the largest gap is not known."
    first, then = (f"{100 * gap:.0f}" for gap in relief.gaps)
    if relief.narrows:
        return f"{falls}, and the largest gap by {relief.by} from {first} to {then} points."
    if first == then:
        return f"{falls}, but the largest gap by {relief.by} stays at {then} points."
    return (
        f"{falls}, but the largest gap by {relief.by} doesn’t surely narrow "
        f"({first} to {then} points)."
    )

"""The verdicts of an audit: their words, signs and meaning, and the one rule that gives them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Floats

#: the version of the rule by which a run's verdicts are given, recorded in its manifest. 1: bounds
#: of all labels and pairs at once, for both verdicts, by points alone; groups of few pictures left
#: out. 2: bounds of one question's pairs; *within margin* by every pair alone and only of all
#: groups; a ratio margin where one is declared; primary questions by Holm's method, all others by
#: their q
RULE = 2


class Verdict(StrEnum):
    """What can be said of a gap against the margin that was fixed beforehand.

    The value is the word that tables, findings and reports hold; everything else that is said of a
    verdict stands here.
    """

    EXCEEDS = "exceeds margin"
    SEEN = "seen"
    INCONCLUSIVE = "inconclusive"
    WITHIN = "within margin"
    #: given for its size only: a single template, a spread
    NOT_JUDGED = "not judged"

    @property
    def sign(self) -> str:
        """Its sign, which tells verdicts apart without colour; blank where nothing is judged."""
        return _SIGNS[self][0]

    @property
    def meaning(self) -> str:
        """What it means, in a sentence."""
        return _SIGNS[self][1]

    @property
    def style(self) -> str:
        """The short name by which pages give it a colour: exceeds, within, inconclusive, seen."""
        return self.value.split()[0]

    @property
    def rank(self) -> int:
        """Its place where rows are ordered by verdict: what exceeds the margin comes first."""
        return list(Verdict).index(self)

    @property
    def key(self) -> str:
        """The word as suites and gates spell it."""
        return self.value.replace(" ", "_")

    @property
    def phrase(self) -> str:
        """The word as it stands in a sentence: 'exceeds the margin'."""
        return self.value.replace(" margin", " the margin")

    def counted(self, number: int) -> str:
        """How many gaps have it: '1 exceeds the margin', '2 exceed the margin'."""
        many = number > 1 and self is Verdict.EXCEEDS
        return f"{number or 'none'} {'exceed the margin' if many else self.phrase}"

    def against(self, margin: str, within: str = "") -> str:
        """The verdict as the end of a sentence about a gap.

        Args:
            margin: the margin with its unit, such as '5 points'.
            within: what else *within margin* then says; '{margin}' stands for the margin.
        """
        said = {
            Verdict.EXCEEDS: f"exceeds the margin of {margin}",
            Verdict.WITHIN: f"within the margin: {within.format(margin=margin)}"
            if within
            else f"within the margin of {margin}",
            Verdict.INCONCLUSIVE: f"inconclusive against the margin of {margin}",
        }
        return said.get(self, self.value)


_SIGNS = {
    Verdict.EXCEEDS: (
        "▲",
        "The whole interval lies above a margin fixed before the run, in points or as a ratio.",
    ),
    Verdict.SEEN: ("■", "A denigrating label was chosen: one time is a finding, whatever the gap."),
    Verdict.INCONCLUSIVE: (
        "◇",
        "No interval lies above its margin, and not all lie below: the question stays open.",
    ),
    Verdict.WITHIN: (
        "●",
        "The whole interval lies below the margin, and that of a ratio below its own.",
    ),
    Verdict.NOT_JUDGED: ("", "A number beside others, without a verdict of its own."),
}
#: what *within margin* says of a change
EITHER_WAY = "less than {margin} either way"
#: the verdicts that a rule about a margin can give, in the order of their rank
JUDGED = (Verdict.EXCEEDS, Verdict.INCONCLUSIVE, Verdict.WITHIN)


@dataclass(frozen=True)
class GapSize:
    """A gap's size on one scale: what it surely exceeds, is surely below, and may not reach.

    Any shapes that broadcast. Without a ``margin`` (nan) the scale says nothing; without bounds
    (nan) it is open whether the size reaches the margin.
    """

    least: npt.ArrayLike
    most: npt.ArrayLike
    margin: npt.ArrayLike

    @property
    def binds(self) -> npt.NDArray[np.bool_]:
        """Whether the scale has a margin."""
        return np.asarray(~np.isnan(np.asarray(self.margin, float)))

    @property
    def exceeds(self) -> npt.NDArray[np.bool_]:
        """Whether the size surely exceeds the margin."""
        return np.asarray(np.asarray(self.least, float) > np.asarray(self.margin, float))

    @property
    def within(self) -> npt.NDArray[np.bool_]:
        """Whether the size is surely below the margin."""
        return np.asarray(np.asarray(self.most, float) < np.asarray(self.margin, float))


def decide(
    difference: GapSize, ratio: GapSize | None = None, whole: npt.ArrayLike = True
) -> npt.NDArray[np.str_]:
    """The one rule: what the bounds of a gap's size say of its margin.

    *Exceeds margin* if the size surely exceeds it; *within margin* if the size is surely below it,
    and the gap is one of ``whole`` groups; else *inconclusive*. Where a ratio has a margin too,
    either scale can show that the gap exceeds it, and both are needed for *within margin*.

    Args:
        difference: the size of the gap.
        ratio: the size of the same gap as a ratio, on the log scale.
        whole: whether no group is left out that the claim is about.
    """
    exceeds, within = difference.exceeds, difference.within & np.asarray(whole, bool)
    if ratio is not None:
        exceeds, within = exceeds | ratio.exceeds, within & (~ratio.binds | ratio.within)
    not_large = np.where(within, Verdict.WITHIN.value, Verdict.INCONCLUSIVE.value)
    return np.where(exceeds, Verdict.EXCEEDS.value, not_large)


def verdicts(
    low_all: npt.ArrayLike,
    high_all: npt.ArrayLike,
    margin: npt.ArrayLike,
    whole: npt.ArrayLike = True,
) -> npt.NDArray[np.str_]:
    """The rule for gaps d with one pair of bounds each.

    Args:
        low_all: Simultaneous lower bounds of the gaps d; any shape that broadcasts.
        high_all: Simultaneous upper bounds.
        margin: Smallest size of a gap that matters.
        whole: whether no group is left out that the claim is about.
    """
    sizes = size_bounds(np.asarray(low_all, float), np.asarray(high_all, float))
    return decide(GapSize(*sizes, margin), whole=whole)


def size_bounds(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Bounds of a gap's size |d| from bounds of the gap d: from 0 if they include 0."""
    return np.maximum(np.maximum(low, -high), 0.0), np.maximum(np.abs(low), np.abs(high))

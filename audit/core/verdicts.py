"""The verdicts of an audit: their words, signs and meaning, and the one rule that gives them."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

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
    Verdict.EXCEEDS: ("▲", "The whole interval lies above the margin fixed before the run."),
    Verdict.SEEN: ("■", "A denigrating label was chosen: one time is a finding, whatever the gap."),
    Verdict.INCONCLUSIVE: (
        "◇",
        "The interval holds the margin: with these pictures the question stays open.",
    ),
    Verdict.WITHIN: ("●", "The whole interval lies below the margin."),
    Verdict.NOT_JUDGED: ("", "A number beside others, without a verdict of its own."),
}
#: what *within margin* says of a change
EITHER_WAY = "less than {margin} either way"
#: the verdicts that a rule about a margin can give, in the order of their rank
JUDGED = (Verdict.EXCEEDS, Verdict.INCONCLUSIVE, Verdict.WITHIN)


def verdicts(
    low_all: npt.ArrayLike, high_all: npt.ArrayLike, margin: npt.ArrayLike
) -> npt.NDArray[np.str_]:
    """The one rule: the bounds of a gap's size against its margin.

    *Exceeds margin* if the lower bound of |d| is above the margin, *within margin* if the upper
    bound is below it, else *inconclusive*; nan bounds can tell nothing.

    Args:
        low_all: Simultaneous lower bounds of the gaps d; any shape that broadcasts.
        high_all: Simultaneous upper bounds.
        margin: Smallest size of a gap that matters.
    """
    least, most = size_bounds(np.asarray(low_all, float), np.asarray(high_all, float))
    allowed = np.asarray(margin, float)
    return decide(least > allowed, most < allowed)


def decide(exceeds: npt.ArrayLike, within: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """The verdict of what is shown: *exceeds margin*, *within margin*, or else *inconclusive*."""
    not_large = np.where(within, Verdict.WITHIN.value, Verdict.INCONCLUSIVE.value)
    return np.where(exceeds, Verdict.EXCEEDS.value, not_large)


def size_bounds(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Bounds of a gap's size |d| from bounds of the gap d: from 0 if they include 0."""
    return np.maximum(np.maximum(low, -high), 0.0), np.maximum(np.abs(low), np.abs(high))

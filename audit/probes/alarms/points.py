"""Operating points: thresholds in use, and those chosen so that false alarms are rare enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.core.arrays import Floats

#: of a threshold that no score reaches
NEVER_FIRES = "it is above every score, so it never fires"


@dataclass(frozen=True)
class Point:
    """A threshold in use; ``measured``, (n,), are the units that it is judged on, by ``score``.

    ``footage``: what the units are seen through, if not as they are. ``undefined``: why there is no
    threshold.
    """

    condition: str
    threshold: float
    measured: NDArray[np.bool_]
    score: Floats
    fixed_on: int = 0
    undefined: str = ""
    remark: str = ""
    footage: str = ""

    @property
    def reason(self) -> str:
        """Why there is no threshold, or what is to be known of it; blank where nothing is."""
        if self.undefined or (self.score >= self.threshold).any():
            return self.undefined or self.remark
        return NEVER_FIRES


@dataclass(frozen=True)
class Choice:
    """A threshold for a wanted rate; ``undefined``: why there is none, ``remark``: on ties."""

    threshold: float = np.nan
    undefined: str = ""
    remark: str = ""


def choose(rate: float, quiet: Floats, scores: Floats, noun: str) -> Choice:
    """The lowest score that occurs at which no more than a share of units raise a false alarm.

    It is given in as few digits as do the same. Where no score that occurs is high enough, it is
    the lowest number above them all.

    Args:
        rate: the share, from 0 to 1.
        quiet: scores of the units without an event that it is chosen on, (n,).
        scores: all scores that occur; minus infinity is none.
        noun: what a unit is called.
    """
    ranked, allowed = np.sort(quiet)[::-1], int(rate * quiet.size)
    if not allowed:
        told = f"{quiet.size:,} {noun} without an event can't show so low a rate"
        return Choice(undefined=told)
    if ranked[0] == -np.inf:
        return Choice(undefined=f"none of {quiet.size:,} {noun} without an event {TOO_SHORT}")
    edge = float(ranked[allowed])  # more than the wanted share reach this
    above = scores[scores > edge]
    threshold = _shortest(edge, float(above.min())) if above.size else np.nextafter(edge, np.inf)
    reached = int((quiet >= threshold).sum())
    if reached == allowed:
        return Choice(float(threshold))
    if edge == -np.inf:
        told = f"only {reached:,} of {quiet.size:,} {noun} without an event can raise an alarm"
        return Choice(float(threshold), remark=f"{told}, and at the lowest score all of them do")
    shares = [f"{100 * n / quiet.size:.2g} %" for n in ((quiet >= edge).sum(), reached)]
    return Choice(
        float(threshold),
        remark=f"scores tie: of those it was chosen on, {shares[0]} raise a false alarm from "
        f"{in_words(edge)} on, {shares[1]} from {in_words(threshold)} on, and no threshold gives a "
        "rate between",
    )


#: of clips whose rule asks for more pictures than they have
TOO_SHORT = "has as many pictures as the rule asks for, so none can raise an alarm"


def _shortest(edge: float, score: float) -> float:
    """A number in as few digits as lie above one score and at or below the next."""
    tried = (float(f"{score:.{digits}g}") for digits in range(4, 18))
    return next((v for v in tried if edge < v <= score), score)


def in_words(threshold: float) -> str:
    """A threshold with all of its digits, so that whoever sets it gets what is said of it.

    The lowest number above a score is told as what lies above it.
    """
    shown, below = (
        np.format_float_positional(v, trim="-") for v in (threshold, np.nextafter(threshold, -1e9))
    )
    return f"above {below}" if len(below) + 4 < len(shown) else shown

"""What a gap may be said to be when it was chosen for its size: bounds that hold for all others.

A gap that is examined because it is the largest of many is larger than the truth on average, and
the interval that would be right for a gap fixed beforehand misses too often. Bounds that hold for
everything that could have been chosen, all at once, hold for whatever is chosen, by any rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Floats, Integers, Singles
from audit.stats.clustered import Sample, difference_interval
from audit.stats.generalisability import Bounded, GapShares
from audit.stats.multiplicity import ENOUGH, Estimates, bounds_at, joint_level


@dataclass
class Largest:
    """The largest studentised deviation of each replicate among all that was added, (B,).

    ``size``: how many were added, ``studentised``: those that had enough events to count.
    """

    largest: Floats = field(default_factory=lambda: np.zeros(0))
    size: int = 0
    studentised: int = 0

    def add(self, deviations: Floats, size: int) -> None:
        """Deviations over their root mean square, (k, B), of k among ``size`` statistics."""
        self.size += size
        self.studentised += len(deviations)
        if len(deviations):
            highest = deviations.max(axis=0)
            self.largest = np.maximum(self.largest, highest) if self.largest.size else highest

    def level(self, level: float, few: bool = False) -> float:
        """The level of one bound so that all hold together at ``level``; see ``joint_level``.

        Args:
            level: Of all together.
            few: Whether the statistic had too few events to count: Bonferroni's then.
        """
        studentised = 0 if few else self.studentised
        return joint_level(self.largest, level, studentised, self.size)

    def quantile(self, level: float) -> float:
        """How many root mean squares cover all at ``level``; inf where replicates can't tell."""
        share = (1 - level) * self.studentised / max(self.size, 1)
        rank = int(np.ceil((1 - share) * (self.largest.size + 1)))
        if not self.studentised or rank > self.largest.size:
            return np.inf
        return float(np.partition(self.largest, rank - 1)[rank - 1])


@dataclass(frozen=True)
class Choosable:
    """How far everything that could have been chosen strays in a replicate.

    Of the gaps in single ``wordings``, of their ``mean`` over wordings, and of the ``spread`` that
    noise alone has over wordings.
    """

    wordings: Largest
    mean: Largest
    spread: Largest


def choosable(samples: Iterable[Sample], one: Integers, other: Integers) -> Choosable:
    """The largest deviations over all labels, pairs of groups and wordings.

    Formula: with e the deviation of a gap in a replicate and rms its root mean square over
    replicates, the largest ``|e| / rms`` of each replicate over all candidates: of every wording,
    of the mean of e over wordings, and of the standard deviation of e over wordings. Replicates are
    those of whole subjects, common to all, so what goes together counts once. What has fewer than
    ``ENOUGH`` effective events in either group is counted in ``size`` only.
    Range: from 0. Does not show: which candidate.

    Args:
        samples: One a label, with deviations: Q wordings in G groups, common replicates.
        one: Index of the first group of each of P pairs.
        other: Index of the second.

    Source:
        Westfall, Young (1993), Resampling-Based Multiple Testing; Berk, Brown, Buja, Zhang, Zhao
        (2013), Valid post-selection inference, Annals of Statistics 41, 802-837, for bounds over
        all that could have been selected.
    """
    found = Choosable(Largest(), Largest(), Largest())
    for sample in samples:
        assert sample.deviations is not None
        events, together = sample.effective_events, answers(sample).effective_events[0]
        for a, b in zip(one, other, strict=True):
            apart = sample.deviations[:, a] - sample.deviations[:, b]
            enough = np.minimum(events[:, a], events[:, b]) >= ENOUGH
            found.wordings.add(_studentised(apart[enough]), len(apart))
            mean = apart.mean(axis=0, dtype=np.float64)
            whole = int(min(together[a], together[b]) >= ENOUGH)
            found.mean.add(_studentised(mean[np.newaxis][:whole]), 1)
            if len(apart) > 1:
                found.spread.add(_studentised(_over_wordings(apart, mean)[np.newaxis][:whole]), 1)
    return found


def answers(sample: Sample) -> Sample:
    """One question in W wordings as one sample of answers: every picture gives W of them.

    The rate is the mean over wordings, and so are the deviations; an answer repeats its picture's
    subject, as a second picture would.
    """
    assert sample.deviations is not None
    wordings = len(sample.n)
    return replace(
        sample,
        n=sample.n.sum(axis=0, keepdims=True),
        events=sample.events.sum(axis=0, keepdims=True),
        subjects=sample.subjects[:1],
        copies=sample.copies[:1],
        blocks=sample.blocks[:1],
        deviations=sample.deviations.mean(axis=0, keepdims=True) if wordings > 1
        else sample.deviations,
        # of answers of several wordings the spread over subjects is read off the bootstrap
        observed=None, alike=None, freedom=None, rarer=None,
    )  # fmt: skip


def _studentised(deviations: npt.NDArray[np.floating]) -> Floats:
    """Their size over their root mean square, (k, B); what never moves is left out."""
    squares = np.einsum("kb,kb->k", deviations, deviations, dtype=np.float64)
    moved = squares > 0
    rms = np.sqrt(squares[moved] / max(deviations.shape[1], 1))
    return np.asarray(np.abs(deviations[moved]) / rms[:, np.newaxis].astype(deviations.dtype))


def _over_wordings(apart: Singles, mean: Floats) -> Floats:
    """Standard deviation over wordings of every replicate's noise, (B,)."""
    centred = apart - mean.astype(np.float32)
    squares = np.einsum("wb,wb->b", centred, centred, dtype=np.float64)
    return np.asarray(np.sqrt(squares / (len(apart) - 1)))


def wording_bounds(
    sample: Sample, one: int, other: int, among: Largest, level: float = 0.95
) -> Estimates:
    """The gap in each wording, with bounds that hold for all wordings of all candidates, (W,).

    Formula: the interval of ``difference_interval``, once at ``level`` and once at the level of
    ``among``; Bonferroni's where events are too few.
    Range: differences of shares in [-1, 1]. Does not show: a wording that was not asked.

    Args:
        sample: W wordings in G groups.
        one: Index of the first group.
        other: Index of the second.
        among: What could have been chosen, in every wording.
        level: Two-sided level, of each interval and of all together.
    """
    pair = np.array([one]), np.array([other])
    events = sample.effective_events
    few = np.minimum(events[:, pair[0]], events[:, pair[1]]) < ENOUGH
    levels = np.where(few, among.level(level, few=True), among.level(level))
    rate = sample.rate
    low, high = difference_interval(sample, *pair, level)
    usable = np.ones(levels.shape, bool)
    all_at_once = bounds_at(levels, usable, lambda at: difference_interval(sample, *pair, at))
    value = rate[:, one] - rate[:, other]
    return Estimates(value, low[:, 0], high[:, 0], all_at_once[0][:, 0], all_at_once[1][:, 0])


@dataclass(frozen=True)
class Parts:
    """Mean over wordings, spread over them, and the mean's share, with bounds."""

    mean: Bounded
    spread: Bounded
    share: Bounded


def parts(
    sample: Sample,
    one: int,
    other: int,
    shares: GapShares,
    bounds: Estimates,
    among: Choosable,
    level: float = 0.95,
) -> Parts:
    """Mean, spread and share of a gap with bounds that hold for all candidates at once.

    Formula: the mean is a difference of two rates of answers, with ``difference_interval`` at the
    level of ``among.mean``. Of a gap that was fixed beforehand, spread and share have the bounds of
    ``gap_shares``. Of one that was chosen: the standard deviation of the gaps over wordings, S, is
    off by no more than that of their errors, so the spread lies within ``S ± k rms``, with rms the
    root mean square of the errors' standard deviation over replicates and k the quantile of
    ``among.spread``; where events are too few for that, between 0 and the largest that bounds of
    single wordings allow. The share lies between those of the ends of mean and spread, each at
    half of alpha; of too few events, between those that bounds of single wordings allow.
    Range: mean in [-1, 1], spread from 0, share in [0, 1]. Does not show: see ``gap_shares``.

    Args:
        sample: W wordings in G groups.
        one: Index of the first group.
        other: Index of the second.
        shares: Of this gap alone.
        bounds: Of the gap in every wording, for all candidates at once.
        among: What could have been chosen.
        level: Two-sided level of all together.
    """
    whole, pair = answers(sample), (np.array([one]), np.array([other]))
    events = whole.effective_events[0]
    few = bool(min(events[one], events[other]) < ENOUGH)

    def mean(at: float) -> tuple[float, float]:
        low, high = difference_interval(whole, *pair, among.mean.level(at, few))
        return float(low[0, 0]), float(high[0, 0])

    value = Bounded(float(shares.mean), *mean(level))
    if among.mean.size == 1 or len(sample.n) < 2:
        return Parts(
            value,
            Bounded(float(shares.spread), float(shares.spread_low), float(shares.spread_high)),
            Bounded(float(shares.share), float(shares.share_low), float(shares.share_high)),
        )
    half = 1 - (1 - level) / 2
    spread = _spread(sample, one, other, shares, bounds, among.spread, level, few)
    if few or not np.isfinite(among.spread.quantile(half)):
        # mean and spread by the bounds of single wordings, which hold together as they are
        ends = float(bounds.low_all.mean()), float(bounds.high_all.mean())
        wide = _spread(sample, one, other, shares, bounds, among.spread, level, True)
        return Parts(value, spread, _share(float(shares.share), ends, wide))
    wider = _spread(sample, one, other, shares, bounds, among.spread, half, few)
    return Parts(value, spread, _share(float(shares.share), mean(half), wider))


def _spread(
    sample: Sample,
    one: int,
    other: int,
    shares: GapShares,
    bounds: Estimates,
    among: Largest,
    level: float,
    few: bool,
) -> Bounded:
    """The spread over wordings with bounds for all candidates."""
    assert sample.deviations is not None
    seen, k = float(shares.raw_spread), among.quantile(level)
    if few or not np.isfinite(k):
        centre = bounds.value.mean()
        reach = np.maximum(bounds.high_all - centre, centre - bounds.low_all)
        most = float(np.sqrt((reach**2).sum() / (len(reach) - 1)))
        return Bounded(float(shares.spread), 0.0, most)
    apart = sample.deviations[:, one] - sample.deviations[:, other]
    noise = _over_wordings(apart, apart.mean(axis=0, dtype=np.float64))
    reach = max(k, 1.0) * float(np.sqrt(np.mean(noise**2)))
    return Bounded(float(shares.spread), max(seen - reach, 0.0), seen + reach)


def _share(value: float, mean: tuple[float, float], spread: Bounded) -> Bounded:
    """The mean's share with the bounds that those of both parts leave it."""
    least = max(mean[0], -mean[1], 0.0)
    most = max(abs(mean[0]), abs(mean[1]))

    def of(one: float, other: float, neither: float) -> float:
        return one**2 / (one**2 + other**2) if one or other else neither

    return Bounded(value, of(least, spread.high, 0.0), of(most, spread.low, 1.0))

"""Two sets of stimuli held against each other, beside what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from audit.core.arrays import Flags, Floats, Integers
from audit.core.tables import ENSEMBLE, OK, REST, TOO_FEW, UNDEFINED
from audit.measure.metrics import Groups, joint_status, standing
from audit.probes.kit.base import Design
from audit.stats.association import Associations, Spread, Sums, associations, d_interval, sums
from audit.stats.permutation import dealt_sums
from audit.stats.significance import bonferroni_level, holm

if TYPE_CHECKING:
    from audit.probes.association.probe import Association

#: deals of the null beside each d: enough for its mean and outer quantiles
DEALS: Final = 1000


@dataclass(frozen=True)
class Pair:
    """Two sets to compare: ``sides`` is 0 for stimuli in the first, 1 in the second, -1 in none."""

    group: str
    other: str
    sides: Integers
    status: str = OK
    reason: str = ""


@dataclass(frozen=True)
class Scored:
    """s of every stimulus for every question, (stimuli, questions), nan where it has none.

    ``questions`` are (condition, label); ``clusters``, what repeats, from 0 to ``number`` - 1.
    """

    s: Floats
    questions: Sequence[tuple[str, str]]
    clusters: Integers
    number: int

    @property
    def there(self) -> Flags:
        """Which stimuli have a score; those compared with have none."""
        return np.asarray(~np.isnan(self.s).any(axis=1))

    @property
    def headline(self) -> Flags:
        """Which questions are asked in the headline condition."""
        return np.array([condition == ENSEMBLE for condition, _ in self.questions])


@dataclass(frozen=True)
class Tested:
    """What was found of one pair: arrays by question.

    ``chance``: mean, low and high of d when subjects are dealt by chance; ``usable``: which enter
    the family; ``low, high``: bounds that hold for all of the family at once; ``q``.
    """

    pair: Pair
    found: Associations
    chance: Floats
    usable: Flags
    low: Floats
    high: Floats
    q: Floats

    def status(self, i: int) -> tuple[str, str]:
        """Why the i-th value is missing or has no bounds, if it is or hasn't."""
        pair, found = self.pair, self.found
        if pair.status != OK:
            return pair.status, pair.reason
        if found.reasons[i]:
            return TOO_FEW if found.n.min() < 2 else UNDEFINED, found.reasons[i]
        if found.no_interval[i]:
            return TOO_FEW if found.subjects.min() < 3 else UNDEFINED, found.no_interval[i]
        return OK, ""


def tested(
    probe: Association, pairs: Sequence[Pair], scored: Scored, design: Design
) -> tuple[list[Tested], int]:
    """Every pair with what was found, and the size of their family."""
    c, seed = design.confidence, design.seed
    of = [_sums(pair, scored) for pair in pairs]
    found = [
        associations(o, c.level, probe.spread, probe.alternative, probe.permutations, seed)
        for o in of
    ]
    usable = np.array(
        [
            [pair.status == OK and not reason for reason in f.reasons]
            for pair, f in zip(pairs, found, strict=True)
        ]
    )
    usable &= scored.headline
    size = int(usable.sum())
    q = holm(np.where(usable, [f.p for f in found], np.nan))
    level = float(bonferroni_level(c.level, max(size, 1)))
    bounds = [d_interval(o, level, probe.spread)[:2] for o in of]
    chance = [by_chance(o, probe.spread, c.level, seed) for o in of]
    joint = np.where(usable[:, np.newaxis], bounds, np.nan)
    tested = [
        Tested(pair, found[i], chance[i], usable[i], joint[i, 0], joint[i, 1], q[i])
        for i, pair in enumerate(pairs)
    ]
    return tested, size


def by_chance(of: Sums, spread: Spread, level: float, seed: int) -> Floats:
    """Where d lies when whole subjects are dealt anew to both sets in their numbers.

    The spread over both sets stays as it is, whoever is in which, so only the difference moves.
    Range: around 0; of sets of n and m single stimuli about ``± 1.96 sqrt(1 / n + 1 / m)`` at 95 %.

    Args:
        of: sums over clusters.
        spread: ``sample`` or ``population``, as for d.
        level: share of the deals between low and high.
        seed: of the deals.

    Returns:
        Mean, low and high over at most ``DEALS`` deals, (3, questions); nan where nothing can be
        dealt.
    """
    there = of.n.any(axis=1)
    n, total = of.n[there], of.total[there].sum(axis=1)
    nothing = np.full((3, total.shape[1]), np.nan)
    if not n.any(axis=0).all() or (n > 0).all(axis=1).any():
        return nothing
    code = (n[:, 1] > 0).astype(np.int64)
    deals = dealt_sums(total, n.sum(axis=1), code, np.zeros_like(code), 2, DEALS, seed)
    if deals.reason:
        return nothing
    size = n.sum()
    variance = of.squares.sum(axis=(0, 1)) / size - (total.sum(axis=0) / size) ** 2
    variance *= size / (size - 1) if spread == "sample" else 1.0
    means = np.concatenate([block[..., :-1] / block[..., -1:] for block in deals.sums])
    with np.errstate(divide="ignore", invalid="ignore"):
        d = (means[:, 0] - means[:, 1]) / np.sqrt(np.where(variance > 0, variance, np.nan))
    outer = np.quantile(d, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.vstack([d.mean(axis=0), outer])


def pairs_of(
    groups: Groups, attribute: str, compare: str, scored: Scored, least: int
) -> list[Pair]:
    """Each group of an attribute with everyone else of known group, or all pairs of groups."""
    at = groups.columns(attribute)
    names = [str(groups.index[i][1]) for i in at]
    member = groups.member[:, at] & scored.there[:, np.newaxis]
    code = np.where(member.any(axis=1), member.argmax(axis=1), -1)
    if len(at) == 2 or compare == "pairs":
        found = list(combinations(range(len(at)), 2))
        sides = [np.select([code == i, code == j], [0, 1], -1) for i, j in found]
        called = [(names[i], names[j]) for i, j in found]
    else:
        sides = [np.select([code == i, code >= 0], [0, 1], -1) for i in range(len(at))]
        called = [(name, REST) for name in names]
    return [
        Pair(*both, side, *_standing(both, side, scored, least))
        for both, side in zip(called, sides, strict=True)
    ]


def _standing(
    names: tuple[str, str], sides: Integers, scored: Scored, least: int
) -> tuple[str, str]:
    """Status and reason of a comparison of two groups; the rest counts whoever there is."""
    n = np.array([[(sides == side).sum() for side in (0, 1)]])
    subjects = np.array([[len(np.unique(scored.clusters[sides == side])) for side in (0, 1)]])
    each = [
        standing(n[:, i : i + 1], subjects[:, i : i + 1], 2 if name == REST else least)
        for i, name in enumerate(names)
    ]
    both = np.hstack([s for s, _ in each]), np.hstack([r for _, r in each])
    status, reason = joint_status(names, both, np.array([0]), np.array([1]))
    return str(status[0, 0]), str(reason[0, 0])


def _sums(pair: Pair, scored: Scored) -> Sums:
    there = pair.sides >= 0
    return sums(scored.s[there], pair.sides[there], scored.clusters[there], scored.number)

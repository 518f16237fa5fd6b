"""Error rates of groups held against each other: whose is how many times whose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audit.core.arrays import Floats, Integers
from audit.probes.identity.names import WORST_FNMR
from audit.stats import verification
from audit.stats.clustered import Sample, rate_interval
from audit.stats.multiplicity import compare


def union(sample: Sample, cells: Integers, pairs: Integers, sides: int) -> Sample:
    """Several cells as one.

    ``pairs`` of each subject, (S,); each is counted with ``sides`` of its subjects. What they are
    worth is the module's rule for one cell, ``sides N² / sum n_i²``.
    """
    n, events = (v[:, cells].sum(axis=1, keepdims=True) for v in (sample.n, sample.events))
    square, fourth = (max(float((pairs.astype(np.float64) ** k).sum()), 1.0) for k in (2, 4))
    like = np.ones_like(n, dtype=np.float64)
    deviations = None
    if sample.deviations is not None:
        share = (sample.n[:, cells] / np.maximum(n, 1)).astype(np.float32)
        deviations = np.einsum("tc,tcb->tb", share, sample.deviations[:, cells])[:, np.newaxis]
    return Sample(
        n,
        events,
        np.full_like(n, int((pairs > 0).sum())),
        sides * n.astype(np.float64) ** 2 / square,
        like * square**2 / fourth * (n > 0),
        deviations,
        np.ones((1, 1), bool),
    )


def pair_of(one: Sample, other: Sample) -> Sample:
    """Two samples side by side, of the same subjects."""
    return _beside_each_other([one, other], np.ones((2, 2), bool))


def picked(sample: Sample, cells: Integers) -> Sample:
    """Some of the cells."""
    return replace(
        sample,
        **{name: getattr(sample, name)[:, cells] for name in _COUNTS},
        deviations=None if sample.deviations is None else sample.deviations[:, cells],
        shared=sample.shared[np.ix_(cells, cells)],
    )


_COUNTS: Final = ("n", "events", "subjects", "copies", "blocks")


def with_rests(sample: Sample, group: Integers, pairs: Integers, sides: int) -> Sample:
    """Groups that share no subject, and all others of each after them.

    ``group`` and ``pairs`` of each subject, (S,): its pairs with its own group.
    """
    every = np.arange(sample.n.shape[1])
    rests = [
        union(sample, np.delete(every, g), np.where(group == g, 0, pairs), sides) for g in every
    ]
    shared = np.zeros((2 * every.size, 2 * every.size), bool)
    return _beside_each_other([sample, *rests], shared)


@dataclass(frozen=True)
class Ratios:
    """Each group's rate over that of all groups, with bounds for all at once; arrays (T, G).

    ``sure``: the rate of all others is established too. ``size``: comparisons of the family.
    """

    value: Floats
    low: Floats
    high: Floats
    sure: NDArray[np.bool_]
    size: int


def ratios_of(metric: str, every: Sample, enough: NDArray[np.bool_], level: float) -> Ratios:
    """Rates over that of all, from the ratios to all others, who share no subject.

    Formula: with w the group's share of the pairs and r its rate over that of all others, the ratio
    to all is ``1 / (w + (1 - w) / r)``, which rises with r, so bounds of r give bounds of it. Where
    the rate of all others is not established, r is only known to be above the group's lower bound
    over the others' upper bound if each subject is like all others or like none.
    """
    groups = every.n.shape[1] // 2
    one, other = np.arange(groups), np.arange(groups) + groups
    established = _established(metric, every)
    usable = (
        established[:, one] & enough & (every.copies[:, one] > 1) & (every.copies[:, other] > 1)
    )
    found = compare(every, one, other, usable, level)
    levels = np.tile(found.levels, 2)
    low, most = rate_interval(every, levels)[0], replace(every, deviations=None)
    sure = established[:, other]
    with np.errstate(divide="ignore", invalid="ignore"):
        least = low[:, one] / rate_interval(most, levels)[1][:, other]
        ends = (
            every.rate[:, one] / every.rate[:, other],
            np.where(sure, found.ratio.low_all, least),
            np.where(sure, found.ratio.high_all, np.inf),
        )
        share = every.n[:, one] / (every.n[:, one] + every.n[:, other])
        value, lower, upper = (
            np.where(usable, 1 / (share + (1 - share) / end), np.nan) for end in ends
        )
    return Ratios(value, lower, upper, sure, found.size)


def _established(metric: str, sample: Sample) -> NDArray[np.bool_]:
    """Which rates have an event and, of false matches, are not too few by the rule of 3."""
    with np.errstate(divide="ignore", invalid="ignore"):
        least = verification.RULE / sample.copies if metric != WORST_FNMR else 0.0
        return np.asarray((sample.events > 0) & (sample.rate >= least))


def _beside_each_other(parts: list[Sample], shared: NDArray[np.bool_]) -> Sample:
    names = ("n", "events", "subjects", "copies", "blocks")
    joined = {n: np.concatenate([getattr(p, n) for p in parts], axis=1) for n in names}
    moved = [p.deviations for p in parts if p.deviations is not None]
    deviations = np.concatenate(moved, axis=1) if len(moved) == len(parts) else None
    return Sample(**joined, deviations=deviations, shared=shared)

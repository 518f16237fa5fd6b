"""How often a change of the picture changes the choice, by kind of change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError
from audit.core.tables import OK, TOO_FEW, UNDEFINED
from audit.stats.clustered import Sample, rate_interval
from audit.stats.counterfactual import kinds_of
from audit.stats.counts import sample_of
from audit.stats.estimates import levels_of
from audit.stats.multiplicity import ENOUGH, Family, bounds_at, compare

if TYPE_CHECKING:
    from audit.stats.estimates import Texts


def flip_rates(
    flips: npt.ArrayLike,
    families: npt.ArrayLike,
    kinds: npt.ArrayLike,
    number: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Flips:
    """Share of changed pictures for which the label is another than for the original.

    Formula: flips over pairs, with the interval of ``clustered.rate_interval`` over families:
    Wilson's or the exact one at the effective number of pairs. Simultaneous bounds at
    ``multiplicity.joint_level`` of the largest studentised deviation; rates with fewer than 10
    effective flips, or non-flips, keep their Bonferroni share.
    Range: 0 (nothing depends on what was changed) to 1. Does not show: towards which label; by how
    much the score moved; which kind of change matters more, unless the steps are alike.

    Args:
        flips: Whether the answer changed, (R, Q): of each pair to each of Q questions.
        families: Family of each pair, (R,): any ids.
        kinds: What was changed, (R,), from 0.
        number: Kinds of change K.
        level: Two-sided level of each interval, and of all simultaneous bounds together.
        seed: Of the bootstrap.
        resamples: Replicates.

    Raises:
        InputError: Shapes that do not fit, a kind out of range.
    """
    happened, kind = np.asarray(flips, dtype=bool), kinds_of(kinds, number)
    if happened.ndim != 2:
        raise InputError(f"flip_rates: flips of shape {happened.shape}", "Give (R, Q)")
    sample = sample_of(happened, kind, families, number, seed, resamples)
    low, high = rate_interval(sample, level)
    usable = ~np.isnan(low)
    levels = _rate_levels(sample, usable, level)
    low_all, high_all = bounds_at(levels, usable, lambda at: rate_interval(sample, at))
    status = np.where(sample.n == 0, UNDEFINED, np.where(usable, OK, TOO_FEW))
    reason = np.where(sample.n == 0, "no family has this change", "only one family has this change")
    bounds = low.T, high.T, low_all.T, high_all.T
    why = np.where(status == OK, "", reason)
    counts = sample.n.T, sample.subjects.T
    return Flips(sample.rate.T, *bounds, *counts, status.T, why.T, sample)


def compare_flips(
    flips: Flips, one: npt.ArrayLike, other: npt.ArrayLike, level: float = 0.95
) -> Family:
    """Flip rates of some kinds of change against those of others, on all questions at once.

    Differences are paired where families have both: the bootstrap moves a family's pairs together
    (``multiplicity.compare``). Arrays of the result are (Q, P). Does not show: which kind matters
    more, unless the steps are alike; see ``rank_kinds``.

    Args:
        flips: Of ``flip_rates``, with a bootstrap.
        one: P kinds, the demographic ones, say.
        other: The kinds they are compared with, the nuisance ones.
        level: Two-sided level of each interval, and of all simultaneous bounds together.
    """
    first, second = np.atleast_1d(np.asarray(one)), np.atleast_1d(np.asarray(other))
    defined = (flips.status == OK).T
    return compare(flips.sample, first, second, defined[:, first] & defined[:, second], level)


def _rate_levels(sample: Sample, usable: Flags, level: float) -> Floats:
    """The level of each rate's bound so that all of them hold together."""
    assert sample.deviations is not None
    size = np.sqrt(np.einsum("qgb,qgb->qg", sample.deviations, sample.deviations))
    size /= np.sqrt(sample.deviations.shape[-1])
    studentised = usable & (sample.effective_events >= ENOUGH) & (size > 0)
    largest = np.zeros(sample.deviations.shape[-1])
    for q, g in zip(*np.nonzero(studentised), strict=True):
        np.maximum(largest, np.abs(sample.deviations[q, g]) / size[q, g], out=largest)
    return levels_of(largest, usable, studentised, level)


@dataclass(frozen=True)
class Flips:
    """Flip rates, arrays (K, Q); see ``Effects``. ``sample``: for comparisons, (Q, K)."""

    value: Floats
    low: Floats
    high: Floats
    low_all: Floats
    high_all: Floats
    pairs: Integers
    families: Integers
    status: Texts
    reason: Texts
    sample: Sample

"""How steady the choice for a picture is over wordings, and its mean by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse, special

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError
from audit.stats.components import label_counts, labels_chosen
from audit.stats.intervals import check_level, clopper_pearson
from audit.stats.reliability import FEW


@dataclass(frozen=True)
class Means:
    """Mean of a bounded number in groups, (G,) each: pictures, subjects, mean and bounds.

    ``few``: whether so few subjects have more than nothing, or less than all, that bounds are those
    of an exact interval.
    """

    n: Integers
    subjects: Integers
    value: Floats
    low: Floats
    high: Floats
    few: Flags


def flip_rate(choices: npt.ArrayLike, headline: npt.ArrayLike) -> Floats:
    """Share of wordings in which a picture gets another label than from the headline.

    Range: 0 (no wording matters) to 1. Does not show: whether the other label is worse, or the
    headline right; flips between two near labels count like any.

    Args:
        choices: Number of the label chosen, shape (pictures, wordings).
        headline: That of the ensemble, shape (pictures,).

    Raises:
        InputError: Shapes that do not fit, no wording.
    """
    chosen, ensemble = np.asarray(choices), np.asarray(headline)
    if chosen.ndim != 2 or ensemble.shape != chosen.shape[:1] or not chosen.shape[1]:
        got = f"flip_rate: choices of shape {chosen.shape}, headline of shape {ensemble.shape}"
        raise InputError(got, "Give (pictures, wordings) and one headline a picture")
    return np.asarray((chosen != ensemble[:, np.newaxis]).mean(axis=1))


def choice_entropy(choices: npt.ArrayLike, labels: int, normalised: bool = False) -> Floats:
    """How evenly the wordings scatter a picture over labels: Shannon's entropy of its choices.

    Formula: ``- sum f log2 f`` with f the share of wordings that chose each label; normalised,
    divided by ``log2 min(labels, wordings)``, the most that can be.
    Range: bits from 0 (all wordings agree), 1 being two labels at even odds; normalised 0 to 1.
    Does not show: which labels; anything comparable between unlike numbers of wordings, since few
    wordings give too little.

    Args:
        choices: Number of the label chosen, from 0, shape (pictures, wordings).
        labels: Number of labels.
        normalised: Divide by the most.

    Returns:
        Entropy of each picture, (pictures,); normalised nan where there is no choice.

    Raises:
        InputError: No table, a label out of range, no wording.

    Source:
        Shannon (1948), Bell System Technical Journal 27, 379-423.
    """
    chosen = labels_chosen(choices, labels, "choice_entropy")
    if not chosen.shape[1]:
        raise InputError("choice_entropy: no wording", "Give at least one")
    share = label_counts(chosen, labels) / chosen.shape[1]
    bits = special.entr(share).sum(axis=1) / np.log(2)
    most = np.log2(min(labels, chosen.shape[1])) if normalised else 1.0
    return np.asarray(bits / (most if most > 0 else np.nan))


def group_means(
    values: npt.ArrayLike,
    member: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    most: float = 1.0,
) -> Means:
    """Mean of flip rates, entropies or the like in each group, with a cluster t interval.

    Formula: variance ``m/(m-1) sum over clusters of (sum of (v - mean))² / n²`` on m - 1 degrees of
    freedom for m clusters. Where fewer than ``reliability.FEW`` clusters have a value above 0, or
    below ``most``, also Clopper and Pearson's bounds at Kish's effective number of pictures, the
    wider of both: of no flips at all the t interval would be (0, 0).
    Range: 0 to ``most``; bounds nan for fewer than two clusters. Does not show: whether many flip
    a little or few flip much.

    Args:
        values: One number a picture, from 0 to ``most``, shape (pictures,).
        member: Membership of groups, shape (pictures, groups).
        clusters: What repeats, shape (pictures,): any ids.
        level: Two-sided level, strictly between 0 and 1.
        most: The largest value that can be.

    Raises:
        InputError: Lengths that differ, a value out of range, a level outside (0, 1).

    Source:
        Liang, Zeger (1986), Biometrika 73, 13-22.
    """
    v, groups, ids = np.asarray(values, np.float64), np.asarray(member, bool), np.asarray(clusters)
    check_level(level)
    if groups.ndim != 2 or not v.shape == ids.shape == groups.shape[:1]:
        got = f"group_means: values {v.shape}, member {groups.shape}, clusters {ids.shape}"
        raise InputError(got, "Give one value, one cluster, one row a picture")
    if not ((v >= 0) & (v <= most * (1 + 1e-9))).all():
        raise InputError(f"group_means: a value outside 0 to {most:g}", "Set 'most'")
    names, cluster = np.unique(ids, return_inverse=True)
    at = cluster.reshape(-1), np.arange(v.size)
    by = sparse.csr_array((np.ones(v.size), at), shape=(names.size, v.size))
    return _means(v / most, groups.astype(np.float64), by, level, most)


def _means(v: Floats, groups: Floats, by: sparse.csr_array, level: float, most: float) -> Means:
    size = np.asarray(by @ groups)
    n, m = size.sum(axis=0), (size > 0).sum(axis=0)
    value = v @ groups / np.where(n > 0, n, np.nan)
    sums = np.asarray(by @ (groups * v[:, np.newaxis])) - size * np.nan_to_num(value)
    variance = m / np.maximum(m - 1, 1) * (sums**2).sum(axis=0) / np.maximum(n, 1) ** 2
    reach = special.stdtrit(np.maximum(m - 1, 1), (1 + level) / 2) * np.sqrt(variance)
    some = np.asarray(by @ (groups * (v > 0)[:, np.newaxis]) > 0).sum(axis=0)
    less = np.asarray(by @ (groups * (v < 1)[:, np.newaxis]) > 0).sum(axis=0)
    few = (np.minimum(some, less) < FEW) & (m > 1)
    worth = n**2 / np.maximum((size**2).sum(axis=0), 1)
    exact = clopper_pearson(np.minimum(np.nan_to_num(value), 1.0) * worth, worth, level)
    low = np.where(few, np.fmin(value - reach, exact[0]), value - reach)
    high = np.where(few, np.fmax(value + reach, exact[1]), value + reach)
    low, high = (np.where(m > 1, np.clip(x, 0.0, 1.0), np.nan) * most for x in (low, high))
    return Means(n.astype(np.int64), m.astype(np.int64), value * most, low, high, few)

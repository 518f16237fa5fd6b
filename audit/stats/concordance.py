"""Whether wordings rank groups alike: Kendall's W and its permutation test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
from scipy import special

from audit.core.arrays import Floats
from audit.core.errors import InputError
from audit.stats.generalisability import MANY_WORDINGS, blocks


@dataclass(frozen=True)
class Concordance:
    """Kendall's W of group rankings over wordings, with its p.

    ``chi2``: the statistic; ``method``: "chi-squared", "permutation" or "" where undefined;
    ``groups``, ``wordings``: used; ``reason``: why W is nan, else "".
    """

    w: float
    p: float
    chi2: float
    method: str
    groups: int
    wordings: int
    reason: str = ""


def kendall_w(rates: npt.ArrayLike, permutations: int = 9999, seed: int = 0) -> Concordance:
    """Whether wordings rank the groups alike.

    Formula: with ranks r over the G groups in each of m wordings (ties share their mean rank), R_g
    the sum of group g's ranks and T = sum over ties of (t³ - t),
    ``W = 12 sum (R_g - mean R)² / (m² (G³ - G) - m sum T)``. p: chi-squared of ``m (G - 1) W`` with
    G - 1 degrees of freedom from 20 wordings and 3 groups on, else the add-one share of
    permutations, ranks dealt anew in every wording, whose W is at least the observed one.
    Range: 0 (no common order) to 1 (one order). Small p: wordings do not rank at random. Does not
    show: that groups differ beyond chance: wordings look at the same pictures, so even groups that
    only happen to differ are ranked alike (``joint_test`` of ``audit.stats.curves`` asks that); nor
    by how much.

    Args:
        rates: Rates, shape (groups, wordings); groups with nan are left out.
        permutations: For few wordings.
        seed: Of the permutations.

    Raises:
        InputError: No table, no permutations.

    Source:
        Kendall, Gibbons (1990), Rank Correlation Methods, 6; Legendre (2005), JABES 10, 226-245,
        for the permutation and where chi-squared is too careful.
    """
    table = np.asarray(rates, dtype=np.float64)
    if table.ndim != 2 or permutations < 1:
        got = f"kendall_w: rates of shape {table.shape}, {permutations} permutations"
        raise InputError(got, "Give (groups, wordings) and at least 1")
    table = table[np.isfinite(table).all(axis=1)]
    if min(groups := len(table), m := table.shape[1]) < 2:
        why = f"{groups} groups in {m} wordings: needs two of each"
        return Concordance(np.nan, np.nan, np.nan, "", groups, m, why)
    ranks = np.asarray(scipy.stats.rankdata(table, axis=0)).T
    most = m * (m * (groups**3 - groups) - _ties(table)) / 12
    if most <= 0:
        why = "all groups are level in every wording"
        return Concordance(np.nan, np.nan, np.nan, "", groups, m, why)
    w = float(_agreement(ranks[np.newaxis])[0] / most)
    chi2 = m * (groups - 1) * w
    if m >= MANY_WORDINGS and groups > 2:
        p, method = float(special.chdtrc(groups - 1, chi2)), "chi-squared"
    else:
        p, method = _permuted_p(ranks, permutations, seed), "permutation"
    return Concordance(w, p, chi2, method, groups, m)


def _ties(table: Floats) -> float:
    """Sum of t³ - t over all ties of all wordings."""
    ordered = np.sort(table, axis=0)
    starts = np.vstack([np.ones((1, table.shape[1]), bool), ordered[1:] != ordered[:-1]])
    length = np.bincount(np.cumsum(starts.T.reshape(-1))).astype(np.float64)
    return float((length**3 - length).sum())


def _agreement(ranks: Floats) -> Floats:
    """Squared deviations of rank sums from their mean, (P,), of ranks (P, W, G)."""
    total = ranks.sum(axis=1)
    return np.asarray(((total - total.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))


def _permuted_p(ranks: Floats, permutations: int, seed: int) -> float:
    random, seen = np.random.default_rng(seed), _agreement(ranks[np.newaxis])[0]
    as_large = 0
    for block in blocks(permutations, ranks.size):
        many = np.broadcast_to(ranks, (block.stop - block.start, *ranks.shape))
        # rank sums are halves, whose squares are exact enough to compare up to a hair
        as_large += int((_agreement(random.permuted(many, axis=2)) >= seen - 1e-6).sum())
    return (1 + as_large) / (1 + permutations)

"""How alike the pictures of a subject are, and what that says of a rate where sizes are unequal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Floats


@dataclass(frozen=True)
class Sums:
    """Sums over the m subjects of a group; of subject c, n_c pictures, x_c with the event.

    ``sizes``: ``sum n_c^k`` for k = 1 to 4, (4, Q). ``events``: ``sum x_c``, and ``squares``:
    ``sum x_c² / n_c``, (Q,).
    """

    subjects: int
    sizes: Floats
    events: Floats
    squares: Floats

    def in_units(self, unit: npt.ArrayLike) -> Sums:
        """The same with every ``unit`` pictures of a subject, (Q,), counted as one."""
        u = np.asarray(unit, dtype=np.float64)
        powers = u ** np.arange(1, 5)[:, np.newaxis]
        return Sums(self.subjects, self.sizes / powers, self.events / u, self.squares / u)


def agreement(sums: Sums) -> Floats:
    """The intra-cluster correlation of each question, estimated by analysis of variance.

    Formula: ``(B - W) / (B + (n0 - 1) W)`` with the mean squares between subjects,
    ``B = (sum x_c²/n_c - x²/n) / (m - 1)``, and within them, ``W = (x - sum x_c²/n_c) / (n - m)``,
    and ``n0 = (n - sum n_c²/n) / (m - 1)``.
    Range: moved into [0, 1]; 0 where nothing tells, such as no event at all. Does not show: whether
    subjects of many pictures are as alike as those of few, which it takes for granted.

    Args:
        sums: of Q questions in one group.

    Returns:
        Correlations, (Q,).

    Source:
        Ridout, Demétrio, Firth (1999), Biometrics 55, 137-148, who compare twenty estimators for
        binary data.
    """
    n, squares, m = sums.sizes[0], sums.sizes[1], sums.subjects
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums.squares - sums.events**2 / n) / (m - 1)
        within = np.where(n > m, (sums.events - sums.squares) / (n - m), 0.0)
        found = (between - within) / (between + ((n - squares / n) / (m - 1) - 1) * within)
    return np.where(np.isfinite(found), np.clip(found, 0.0, 1.0), 0.0)


def equally_alike(sums: Sums) -> tuple[Floats, Floats]:
    """The variance of each rate if all subjects are equally alike, and what backs the one seen.

    Formula: with ρ of ``agreement``, ``p (1 - p) / n (1 + ρ (sum n_c²/n - 1))``, Kish's design
    effect. The squares ``(x_c - p n_c)²`` of the subjects, whose sum is the variance seen, then
    have means in proportion to ``v_c = n_c (1 + ρ (n_c - 1))``, and their sum Satterthwaite's
    degrees of freedom ``(sum v_c)² / sum v_c² - 1``: subjects less one where all have equally many
    pictures, hardly any where one has most.
    Range: both from 0. Does not show: subjects of many pictures who differ from the others.

    Args:
        sums: of Q questions in one group.

    Returns:
        Variances and degrees of freedom, (Q,).

    Source:
        Kish (1965), Survey Sampling, 8.2; Satterthwaite (1946), Biometrics Bulletin 2, 110-114;
        Bell, McCaffrey (2002), Survey Methodology 28, 169-181, for clusters of unequal size.
    """
    n, second, third, fourth = sums.sizes
    p, icc = sums.events / n, agreement(sums)
    variance = p * (1 - p) / n * (1 + icc * (second / n - 1))
    whole = n * (1 - icc) + second * icc
    squares = second * (1 - icc) ** 2 + 2 * third * icc * (1 - icc) + fourth * icc**2
    return np.asarray(variance), np.asarray(whole**2 / squares - 1)

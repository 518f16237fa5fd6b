"""What the calibration error of a perfectly calibrated model would be, by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError

if TYPE_CHECKING:
    from audit.stats.reliability import Pictures


@dataclass(frozen=True)
class Null:
    """Calibration error in a perfectly calibrated model with the same scores; shape (g,).

    ``mean`` and ``high`` (the quantile at the level) take pictures of a cluster as wholly
    dependent, which gives the largest mean; ``mean_independent, high_independent`` as independent.
    """

    mean: Floats
    high: Floats
    mean_independent: Floats
    high_independent: Floats


@dataclass(frozen=True)
class Cells:
    """Pictures of one bin and one combination of groups, counted together.

    ``of`` (n,) is each picture's cell, ``expected`` (cells,) sums the scores of a cell, and
    ``to_bins`` (g x bins, cells) adds cells up to the bins of each group.
    """

    of: Integers
    bin: Integers
    edges: Floats
    expected: Floats
    to_bins: sparse.csr_array

    @property
    def count(self) -> int:
        """How many cells there are."""
        return self.expected.size

    def in_bins(self, summed: npt.NDArray[np.float64 | np.int64]) -> Floats:
        """Sums of cells as sums of bins, (g, bins)."""
        return np.asarray(self.to_bins @ summed, np.float64).reshape(-1, self.edges.size - 1)

    def error(self, right: Integers, n: Integers) -> Floats:
        """Calibration error of each group from the right choices of each cell."""
        return share_of(np.abs(self.in_bins(right - self.expected)).sum(axis=1), n)


def cells_of(pictures: Pictures, bins: int) -> Cells:
    """Pictures by bin of their score and by the groups they are in."""
    if bins < 1:
        raise InputError(f"bins: {bins}", "Give at least one bin")
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], pictures.score, side="left")
    found, of = np.unique(pictures.pattern * bins + place, return_inverse=True)
    cell, group = np.nonzero(pictures.patterns[found // bins])
    shape = (pictures.member.shape[1] * bins, found.size)
    rows = group * bins + found[cell] % bins
    to_bins = sparse.csr_array((np.ones(cell.size), (rows, cell)), shape=shape)
    expected = np.bincount(of.reshape(-1), pictures.score, minlength=found.size)
    return Cells(of.reshape(-1), place, edges, expected.astype(np.float64), to_bins)


def null_of(
    pictures: Pictures, cells: Cells, level: float, seed: int | tuple[int, ...], resamples: int
) -> Null:
    """The calibration error that each group would have if scores were what they claim."""
    n = pictures.member.sum(axis=0)
    common, alone = np.random.SeedSequence(seed).spawn(2)
    shared = _simulated(pictures, cells, n, pictures.cluster, common, resamples)
    mean, high = _mean_and_quantile(shared, level)
    each = np.arange(pictures.score.size)
    if each.size == pictures.cluster.max(initial=-1) + 1:  # nothing repeats: the extremes are one
        return Null(mean, high, mean, high)
    independent = _simulated(pictures, cells, n, each, alone, resamples)
    return Null(mean, high, *_mean_and_quantile(independent, level))


def _simulated(
    pictures: Pictures,
    cells: Cells,
    n: Integers,
    decided_by: Integers,
    seed: np.random.SeedSequence,
    resamples: int,
) -> Floats:
    """Calibration errors of simulated outcomes, (resamples, g), one draw a ``decided_by``."""
    errors = np.empty((resamples, n.size))
    draws = int(decided_by.max(initial=-1)) + 1
    for row, uniform in enumerate(_uniforms(seed, draws, resamples)):
        right = cells.of[uniform[decided_by] < pictures.score]
        errors[row] = cells.error(np.bincount(right, minlength=cells.count), n)
    return errors


def _uniforms(seed: np.random.SeedSequence, size: int, times: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    for _ in range(times):
        yield rng.random(size)


def _mean_and_quantile(errors: Floats, level: float) -> tuple[Floats, Floats]:
    place = int(np.ceil(level * (len(errors) + 1))) - 1
    if not len(errors):
        return np.full(errors.shape[1], np.nan), np.full(errors.shape[1], np.nan)
    high = np.sort(errors, axis=0)[place] if place < len(errors) else errors[0] * np.nan
    return errors.mean(axis=0), high


def share_of(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """``part / whole``, nan where whole is 0."""
    size = np.asarray(whole, dtype=np.float64)
    return np.asarray(np.asarray(part, np.float64) / np.where(size > 0, size, np.nan))

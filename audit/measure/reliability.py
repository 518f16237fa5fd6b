"""Calibration of scores by group: outcomes -> three labelled tables, one row a group, bin or pair.

A score is the softmax probability of the chosen label at the model's own logit scale. Only pictures
whose right label is known are counted, in the headline condition; a task without truth has none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.errors import InputError
from audit.core.rows import Array
from audit.core.tables import (
    CALIBRATION,
    CALIBRATION_GAPS,
    ENSEMBLE,
    EVERYONE,
    OK,
    RELIABILITY,
    TOO_FEW,
    UNDEFINED,
    UNKNOWN,
    require_finite,
)
from audit.measure.metrics import Groups
from audit.stats.gaps import TOO_FEW_GROUPS
from audit.stats.reliability import Reliability, overconfidence, overconfidence_gaps
from audit.stats.reliability import reliability as measure

BINS: Final = 15
#: simulated data sets behind the null of a calibration error
RESAMPLES: Final = 500


def calibration(
    choices: pd.DataFrame,
    groups: Groups,
    level: float = 0.95,
    min_group: int = 5,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Accuracy, mean score, overconfidence and calibration error of every group of a task.

    A group of fewer than ``min_group`` subjects keeps its values and is ``too_few``.
    What each number means and doesn't show: ``audit.stats.reliability``.

    Args:
        choices: rows of the table CHOICES, all of one task.
        groups: membership of (at least) these pictures.
        level: of the intervals and of the null's quantile.
        min_group: smallest group that is compared.
        seed: the suite's; the task's name enters too, so that no other task moves these numbers.
        resamples: simulated data sets for the null.

    Returns:
        The table CALIBRATION; without rows where no truth is known.

    Raises:
        InputError: rows of several tasks, scores that are not finite.
    """
    known = _known(choices, groups)
    if known is None:
        return CALIBRATION.empty()
    own_seed = (seed, zlib.crc32(known.task.encode()))
    r = measure(*known.arrays, BINS, level, own_seed, resamples)
    o, null = r.overconfidence, r.null
    status, reason = _statuses(o.n, o.clusters, min_group)
    table = _named(known, groups).assign(
        n=o.n,
        subjects=o.clusters,
        accuracy=o.accuracy,
        mean_score=o.mean_score,
        overconfidence=o.value,
        low=o.low,
        high=o.high,
        level=level,
        ece=r.ece,
        ece_null=null.mean,
        ece_null_high=null.high,
        ece_null_independent=null.mean_independent,
        ece_above=r.above,
        method=_methods(r),
        status=status,
        reason=reason,
    )
    return CALIBRATION.conform(table)


def reliability_bins(
    choices: pd.DataFrame, groups: Groups, level: float = 0.95, min_group: int = 5
) -> pd.DataFrame:
    """Share correct against mean score in bins of equal width, for every group of a task.

    Args:
        choices: rows of the table CHOICES, all of one task.
        groups: membership of (at least) these pictures.
        level: of the intervals.
        min_group: bins of smaller groups keep their values and are ``too_few``.

    Returns:
        The table RELIABILITY, every bin of every group; without rows where no truth is known.

    Raises:
        InputError: rows of several tasks, scores that are not finite.
    """
    known = _known(choices, groups)
    if known is None:
        return RELIABILITY.empty()
    r = measure(*known.arrays, BINS, level, resamples=0)
    g = len(groups.index)
    whole = np.repeat(r.overconfidence.clusters, BINS)
    n, subjects = r.bins.n.ravel(), r.bins.clusters.ravel()
    status, reason = _statuses(n, subjects, 0, "no choice has a score in this bin")
    small = (whole < min_group) & (status == OK)
    named = _named(known, groups)
    table = named.loc[np.repeat(np.arange(g), BINS)].assign(
        bin_low=np.tile(r.bins.edges[:-1], g),
        bin_high=np.tile(r.bins.edges[1:], g),
        n=n,
        subjects=subjects,
        mean_score=r.bins.mean_score.ravel(),
        share_correct=r.bins.share_correct.ravel(),
        low=r.bins.low.ravel(),
        high=r.bins.high.ravel(),
        level=level,
        status=np.where(small, TOO_FEW, status),
        reason=np.where(small, _fewer_than(min_group), reason),
    )
    return RELIABILITY.conform(table)


def calibration_gaps(
    choices: pd.DataFrame, groups: Groups, level: float = 0.95, min_group: int = 5
) -> pd.DataFrame:
    """The widest difference in overconfidence between two groups of each attribute.

    The largest of many noisy differences is too large on average; its bounds are the largest lower
    and the largest upper bound over the pairs, which hold because all pairs' bounds hold at once.
    Pictures whose group is unknown and groups that are too small are left out.

    Args:
        choices: rows of the table CHOICES, all of one task.
        groups: membership of (at least) these pictures.
        level: for all pairs of an attribute together.
        min_group: smallest group that is compared.

    Returns:
        The table CALIBRATION_GAPS; without rows where no truth is known.

    Raises:
        InputError: rows of several tasks, scores that are not finite.
    """
    known = _known(choices, groups)
    if known is None:
        return CALIBRATION_GAPS.empty()
    rows = [_widest(known, *of, level) for of in _comparable(known, groups, min_group)]
    task = {"probe": known.probe, "task": known.task, "level": level}
    columns = list(CALIBRATION_GAPS.columns)
    return CALIBRATION_GAPS.conform(pd.DataFrame([task | row for row in rows], columns=columns))


@dataclass(frozen=True)
class _Known:
    """Choices whose right answer is known, of one task in the headline condition."""

    probe: str
    task: str
    score: NDArray[np.float64]
    correct: NDArray[np.bool_]
    member: NDArray[np.bool_]
    clusters: NDArray[np.int64]

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        return self.score, self.correct, self.member, self.clusters


def _known(choices: pd.DataFrame, groups: Groups) -> _Known | None:
    tasks = choices[["probe", "task"]].drop_duplicates()
    if len(tasks) > 1:
        got = f"choices of {len(tasks)} tasks: {', '.join(tasks['task'].astype(str))}"
        raise InputError(got, "Give those of one task at a time")
    rows = choices[(choices["condition"] == ENSEMBLE) & choices["truth"].notna()]
    if rows.empty:
        return None
    require_finite(rows["score"], f"scores of '{tasks['task'].iloc[0]}'")
    at = groups.at(rows["image_id"])
    return _Known(
        str(tasks["probe"].iloc[0]),
        str(tasks["task"].iloc[0]),
        rows["score"].to_numpy(np.float64),
        (rows["predicted"] == rows["truth"]).to_numpy(dtype=bool),
        groups.member[at],
        groups.clusters[at],
    )


def _named(known: _Known, groups: Groups) -> pd.DataFrame:
    return groups.index.to_frame(index=False).assign(probe=known.probe, task=known.task)


def _statuses(
    n: NDArray[np.int64],
    subjects: NDArray[np.int64],
    least: int,
    nothing: str = "no picture of this group was asked with a known answer",
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    conditions = [n == 0, subjects == 1, subjects < least]
    status = np.select(conditions, [UNDEFINED, TOO_FEW, TOO_FEW], OK)
    reasons = [nothing, "pictures of one subject only: no interval", _fewer_than(least)]
    return status, np.select(conditions, reasons, "")


def _fewer_than(least: int) -> str:
    return f"fewer than {least} subjects"


def _methods(r: Reliability) -> NDArray[np.str_]:
    """How each interval of the overconfidence was made; none where there is none."""
    few = np.where(r.overconfidence.few, "cluster t, widened by Clopper-Pearson", "cluster t")
    return np.where(np.isnan(r.overconfidence.low), "", few)


def _comparable(
    known: _Known, groups: Groups, min_group: int
) -> Iterator[tuple[str, NDArray[np.str_], NDArray[np.int64]]]:
    """Each attribute with the names and places of its groups that can be compared."""
    o = overconfidence(*known.arrays)
    status, _ = _statuses(o.n, o.clusters, min_group)
    attributes = groups.index.get_level_values("attribute").to_numpy(str)
    names = groups.index.get_level_values("group").to_numpy(str)
    usable = (status == OK) & (names != UNKNOWN)
    for attribute in dict.fromkeys(attributes[attributes != EVERYONE]):
        places = np.flatnonzero((attributes == attribute) & usable)
        yield str(attribute), names[places], places


def _widest(
    known: _Known,
    attribute: str,
    names: NDArray[np.str_],
    places: NDArray[np.int64],
    level: float,
) -> dict[str, object]:
    k = len(places)
    row: dict[str, object] = {"attribute": attribute, "pairs": k * (k - 1) // 2}
    if k < 2:
        none = dict.fromkeys(("value", "low", "high"), np.nan)
        words = {"group": "", "other": "", "method": "", "status": TOO_FEW}
        return row | none | words | {"reason": TOO_FEW_GROUPS}
    member = known.member[:, places]
    value, low, high = overconfidence_gaps(
        known.score, known.correct, member, known.clusters, level
    )
    top, bottom = np.unravel_index(np.argmax(value), value.shape)
    return row | {
        "group": str(names[top]),
        "other": str(names[bottom]),
        "value": float(value[top, bottom]),
        # every pair stands in both directions, so the best lower bound is that of some direction
        "low": max(0.0, float(np.nanmax(low))),
        "high": float(np.nanmax(high)),
        "method": "largest over pairs of cluster t, Bonferroni",
        "status": OK,
        "reason": "",
    }

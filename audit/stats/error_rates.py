"""Error rates of verification from counted pairs: thresholds, false matches, false non-matches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError
from audit.core.tables import OK, TOO_FEW, UNDEFINED
from audit.stats.clustered import Sample, effective_n, rate_interval
from audit.stats.verification import BINS, RULE

if TYPE_CHECKING:
    from audit.stats.verification import Impostors, Mated, Texts


@dataclass(frozen=True)
class Threshold:
    """A threshold and the FMR it had where it was fixed; nan with a reason where there is none.

    ``reason`` may also say of a threshold that its FMR is not established.
    """

    value: float
    fmr: float
    reason: str = ""


@dataclass(frozen=True)
class Curve:
    """Both error rates at every edge of a bin, (BINS + 1,) each; nan without pairs."""

    thresholds: Floats
    fmr: Floats
    fnmr: Floats


@dataclass(frozen=True)
class ErrorRates:
    """FMR or FNMR at T thresholds in C cells or groups; arrays (T, C), bounds nan where unknown.

    ``high_any``: the upper bound if each subject is like all others or like none, so that one whom
    nobody has seen yet may match everyone. ``events`` among ``pairs`` counted; ``subjects``: of the
    side with fewer to learn from; ``independent``: pairs that can be made without using a subject
    twice; ``worth``: to how many independent pairs the spread over subjects comes. ``note``: what a
    reader of a cell must know though its rate is ok, (C,).
    """

    value: Floats
    low: Floats
    high: Floats
    high_any: Floats
    events: Integers
    pairs: Integers
    subjects: Integers
    independent: Floats
    worth: Floats
    status: Texts
    reason: Texts
    note: tuple[str, ...]


def threshold_at(histogram: npt.ArrayLike, target: float, independent: float = np.inf) -> Threshold:
    """The lowest threshold at which no more than a target share of impostor pairs match.

    Formula: the lowest edge of a bin with ``FMR <= target``. Fix it on other subjects than those
    who are measured: on the same ones the FMR would be the target by construction.
    Range: an edge from -1 to 1; ties keep the FMR below the target. Does not show: the FMR of other
    subjects, cameras or groups.

    Args:
        histogram: Of impostor pairs, (BINS,): all of them (``Impostors.pooled``) or one cell's.
        target: Largest FMR allowed, strictly between 0 and 1.
        independent: How many independent pairs these are worth, for the rule of 3.

    Raises:
        InputError: A histogram of another length, a target outside (0, 1).
    """
    counts = _histogram(histogram)
    if not 0 < target < 1:
        raise InputError(f"threshold_at: a target FMR of {target:g}", "Give 0 to 1")
    pairs = int(counts.sum())
    if not pairs:
        return Threshold(np.nan, np.nan, "no pair of two subjects to fix the threshold on")
    above = np.append(np.cumsum(counts[::-1])[::-1], 0)
    at = int(np.argmax(above <= target * pairs))
    reason = ""
    if target * min(independent, pairs) < RULE:
        reason = (
            f"a target FMR of {target:.3g} needs {RULE / target:.0f} independent pairs, and "
            f"{min(independent, pairs):.0f} fix the threshold"
        )
    return Threshold(at * 2 / BINS - 1, float(above[at] / pairs), reason)


def detection_error_tradeoff(impostor: npt.ArrayLike, genuine: npt.ArrayLike) -> Curve:
    """Both error rates at every threshold, for a DET curve.

    Formula: at an edge the FMR is the share of impostor pairs in the bins above it, the FNMR the
    share of mated pairs in the bins below it.
    Range: shares; FMR falls from 1 to 0 and FNMR rises from 0 to 1. Does not show: how sure either
    is; below 3 over the number of independent pairs the curve is noise.

    Args:
        impostor: Histogram of non-mated pairs, (BINS,).
        genuine: Of mated pairs, (BINS,).

    Raises:
        InputError: Histograms of another length.

    Source:
        Martin, Doddington, Kamm, Ordowski, Przybocki (1997), Eurospeech, 1895-1898.
    """
    false, true = _histogram(impostor), _histogram(genuine)
    below = [np.append(0, np.cumsum(h)) / (h.sum() or np.nan) for h in (false, true)]
    return Curve(np.arange(BINS + 1) * 2 / BINS - 1, 1 - below[0], below[1])


def false_match_rates(
    counts: Impostors, level: float = 0.95, seed: int = 0, resamples: int = 2000
) -> ErrorRates:
    """FMR of every cell of two groups with an interval, or why it is not established.

    Formula: matches over pairs, with the interval of ``clustered.rate_interval`` for
    ``Impostors.sample``. ``too_few`` where ``FMR < 3 / m``: m is the number of pairs that can be
    made without using a subject twice, half the subjects within a group and those of the smaller
    one across (fewer where subjects have unequal numbers of pictures). All S (S - 1) / 2 pairs
    would be independent only if subjects did not differ in how easily they are taken for others,
    which a sample without matches cannot show: if one person in a hundred matches everyone, 50
    people most likely have no match at all. m is the number that holds for any dependence.
    Range: 0 to 1, higher is worse for who is taken for another. Coverage at 95 %, simulated with
    one picture a subject, 10 to 200 subjects a group and a true FMR of 0.5 to 40 %, within and
    across groups: at least 92 % for independent pairs, and where normal effects of subjects, on one
    side or both, explain 30 to 80 % of a similarity. Where one subject in twenty matches half of
    all others, at least 84 %; one in a hundred who matches everyone, 59 %, since most samples have
    none: ``high_any`` covered at least 96 %. The value and interval of a ``too_few`` cell are
    kept. Does not show: FMR at another threshold, of twins, or of impostors who try.

    Args:
        counts: Pairs of subjects who did not fix the threshold.
        level: Two-sided level of each interval.
        seed: Of the bootstrap.
        resamples: Replicates.

    Source:
        ISO/IEC 19795-1, and Jovanovic, Levy (1997), American Statistician 51, 137-139 (rule of 3).
    """
    sample = counts.sample(seed, resamples)
    one, other = counts.cells
    rate, n = sample.rate, sample.n
    with np.errstate(divide="ignore"):
        least = np.where(n > 0, RULE / sample.copies, np.nan)
    status = np.where(n == 0, UNDEFINED, np.where(rate < least, TOO_FEW, OK))
    status = np.where((n > 0) & (sample.copies <= 1), TOO_FEW, status)
    reason = np.full(status.shape, "", dtype="<U200")
    for t, c in zip(*np.nonzero(status != OK), strict=True):
        reason[t, c] = _why_no_fmr(sample, int(t), int(c), bool(one[c] == other[c]))
    return _error_rates(sample, level, status, reason, ("",) * one.size)


def false_non_match_rates(
    counts: Mated, level: float = 0.95, seed: int = 0, resamples: int = 2000
) -> ErrorRates:
    """FNMR of every group with an interval, or why there is none.

    Formula: mated pairs below the threshold over all, every pair counting once; the interval of
    ``clustered.rate_interval`` over subjects. Undefined for a group without a mated pair,
    ``too_few`` for one subject, who tells nothing of others. ``note`` says where all mated pairs
    are of one sitting, or sittings are not known: same light, clothes and camera make them match.
    Range: 0 to 1, higher is worse for who is not recognised. Does not show: failure to enrol.

    Args:
        counts: Mated pairs of subjects who did not fix the threshold.
        level: Two-sided level of each interval.
        seed: Of the bootstrap.
        resamples: Replicates.

    Source:
        ISO/IEC 19795-1.
    """
    sample = counts.sample(seed, resamples)
    alone = (sample.n > 0) & (sample.copies <= 1)
    status = np.where(sample.n == 0, UNDEFINED, np.where(alone, TOO_FEW, OK))
    none = "no mated pair: no subject has two pictures that may be compared"
    one = "the mated pairs are of one subject"
    reason = np.where(sample.n == 0, none, np.where(alone, one, "")).astype("<U200")
    return _error_rates(sample, level, status, reason, _sitting_notes(counts))


def _error_rates(
    sample: Sample, level: float, status: Texts, reason: Texts, note: tuple[str, ...]
) -> ErrorRates:
    low, high = rate_interval(sample, level)
    high_any = rate_interval(replace(sample, deviations=None), level)[1]
    counts = sample.events, sample.n, sample.subjects
    worth = np.where(sample.n > 0, effective_n(sample, level), 0.0)
    return ErrorRates(
        sample.rate, low, high, high_any, *counts, sample.copies, worth, status, reason, note
    )


def _why_no_fmr(sample: Sample, t: int, c: int, within: bool) -> str:
    subjects, m = sample.subjects[t, c], sample.copies[t, c]
    if not sample.n[t, c]:
        who = (
            "fewer than two subjects in the group" if within else "no subject in one of the groups"
        )
        return f"no pair of two subjects: {who}"
    if m <= 1:
        return "all pairs share one subject, from whom nothing follows for others"
    return (
        f"an FMR of {sample.rate[t, c]:.3g} is below {RULE:.0f} / {m:.3g} = {RULE / m:.3g}: "
        f"{subjects} subjects make {m:.3g} pairs of which no two share one"
    )


def _sitting_notes(counts: Mated) -> tuple[str, ...]:
    """Of each group, whether its mated pairs are of one sitting."""
    if not counts.sittings_known:
        return ("sittings are not known: mated pairs may be of one sitting",) * len(
            counts.histogram
        )
    member = counts.group == np.arange(len(counts.histogram))[:, np.newaxis]
    pairs, together = member @ counts.pairs, member @ counts.one_sitting
    return tuple(
        "all mated pairs are of one sitting" if n and n == same else "" if not same
        else f"{same} of {n} mated pairs are of one sitting"
        for n, same in zip(pairs, together, strict=True)
    )  # fmt: skip


def _histogram(counts: npt.ArrayLike) -> Integers:
    given = np.asarray(counts, dtype=np.int64)
    if given.shape != (BINS,):
        got = f"histogram of shape {given.shape}"
        raise InputError(got, f"Give the {BINS} bins of one cell or group")
    return given

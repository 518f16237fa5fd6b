"""Labels kept at or above a threshold: CLIP used as a multi-label classifier.

Every label whose probability is at or above a threshold is kept, so a picture may keep several
labels, or none. From stored embeddings alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, special

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError
from audit.core.rows import Fields, Row
from audit.core.schema import Columns
from audit.core.tables import NOT_JUDGED, OK, RATE, THRESHOLDS, WORST, require_finite
from audit.data.labels import LabelSet
from audit.measure.confidence import Confidence
from audit.measure.effects import Frame, gap_bounds, sampled
from audit.measure.label_ablation import Vectors, check_fit, similarities
from audit.measure.metrics import DEFAULT_FAMILY, Draws, Groups, margin_family, standing
from audit.stats.clustered import Sample, rate_interval
from audit.stats.counts import Counts
from audit.stats.defaults import EITHER, OF_DIFFERENCE_IN_CLUSTERS
from audit.stats.gaps import Pairs, largest_gap
from audit.stats.samples import pick_groups
from audit.stats.scoring import Scoring
from audit.stats.significance import holm, homogeneity

#: ``metric`` of rows under a threshold
KEPT: Final = "label_kept"
FAMILY_KEPT: Final = "family_kept"
MISSED: Final = "right_label_missed"
WRONG_KEPT: Final = "wrong_label_kept"
MEAN_KEPT: Final = "mean_labels_kept"
#: CLIP's own thresholds for suspicion labels (Radford et al. 2021, section 7.1)
CLIP_THRESHOLDS: Final = (0.005, 0.04)
#: evenly spaced by size, for a curve
SWEEP: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def threshold_rates(
    vectors: Vectors,
    classes: Vectors,
    labels: LabelSet,
    scoring: Scoring,
    groups: Groups,
    thresholds: Sequence[float] = CLIP_THRESHOLDS,
    *,
    draws: Draws | None = None,
    confidence: Confidence | None = None,
    sweep: Sequence[float] = SWEEP,
    truth: NDArray[np.integer] | None = None,
    probe: str = "classification",
    task: str = "",
) -> pd.DataFrame:
    """How often labels are kept where every label at or above a threshold is; the table THRESHOLDS.

    A label is kept for a picture if its score is at or above the threshold:
    several may be, or none. At ``thresholds``: every label, every tagged family (any of its labels)
    and, with ``truth``, how often the right label is missed and a wrong one kept; over ``sweep``:
    the families and the mean number of labels kept, as a curve.
    Range: shares of pictures, from 0 to 1, falling as the threshold rises; the mean from 0 to the
    number of labels. Does not show: whether a probability is calibrated; it depends on the logit
    scale and on every other label of the set, so one threshold means different things in two sets.
    Simultaneous bounds of worst-case gaps hold for one metric, attribute and all ``thresholds``;
    ``chi_squared`` ranks labels, and its q (Holm) holds for those of one threshold.

    Args:
        vectors: Pictures, (n, d), unit rows, in the order of ``groups``.
        classes: Class embeddings of the labels, (L, d), unit rows.
        labels: The label set.
        scoring: What makes a similarity a score.
        groups: Membership and subjects of these pictures.
        thresholds: Shares between 0 and 1 that are reported and judged.
        draws: Bootstrap weights; without, pictures of a subject are taken for copies.
        confidence: Level, margins, smallest group; the default one if None.
        sweep: More thresholds, for the curve.
        truth: Place of each picture's right label in the set, (n,); -1 where it isn't known.
        probe: Kind of the probe, for the table.
        task: Its task; the label set's name if blank.

    Raises:
        InputError: a threshold outside (0, 1), shapes that don't fit, a truth out of range, scores
            that are not finite.

    Source:
        Radford et al. (2021), arXiv 2103.00020, section 7.1 (0.5 % and 4 %).
    """
    named, curve = in_order(thresholds, "thresholds"), in_order(sweep, "sweep")
    check_fit(vectors, classes, labels, groups, truth)
    right = None if truth is None else np.asarray(truth, dtype=np.int64)
    kept = _Kept(labels, groups, draws, right, named)
    total: dict[_At, Any] = {}
    for block, similarity in similarities(vectors, classes):
        share = scoring.of_all(similarity)
        require_finite(share, "probabilities of labels")
        for at, counts in kept.count(share, block, sorted({*named, *curve})):
            total[at] = total[at] + counts if at in total else counts
    frame = Frame(probe, task or labels.name, groups, confidence or Confidence(), len(named), False)
    tables = [
        table
        for at, counts in sorted(total.items(), key=lambda item: item[0])
        for table in kept.tables(at, counts, frame)
    ]
    return THRESHOLDS.stacked(tables)


_At = tuple[float, str]  # a threshold and a metric


def in_order(values: Sequence[float], what: str) -> tuple[float, ...]:
    """The thresholds in order, each once.

    Raises:
        InputError: one isn't between 0 and 1, or there are none where some are needed.
    """
    found = tuple(sorted({float(value) for value in values}))
    if what == "thresholds" and not found:
        raise InputError("thresholds: none given", "Give one or more, such as 0.005")
    for value in found:
        if not 0 < value < 1:
            allowed = "A threshold is a probability between 0 and 1, both left out"
            hint = (
                f"Did you mean {value / 100:g}, which is {value:g} %?" if 1 <= value < 100 else ""
            )
            raise InputError(f"{what}: got {value:g}", allowed, hint)
    return found


@dataclass(frozen=True)
class _Kept:
    """What is counted of labels kept: by threshold and metric."""

    labels: LabelSet
    groups: Groups
    draws: Draws | None
    truth: Integers | None
    named: tuple[float, ...]

    def count(
        self, share: Floats, block: slice, thresholds: Sequence[float]
    ) -> Iterator[tuple[_At, Counts | sparse.csr_array]]:
        """Counts of a block of pictures with these probabilities, (n, L)."""
        rows = np.arange(len(self.groups.clusters))[block]
        families = self.labels.families.values()
        of_all: dict[_At, Flags] = {}
        of_known: dict[_At, Flags] = {}
        for threshold in thresholds:
            kept = share >= threshold
            yield (threshold, MEAN_KEPT), self._sums(kept.sum(axis=1), rows)
            if families:
                together = [kept[:, list(i)].any(axis=1) for i in families]
                of_all[threshold, FAMILY_KEPT] = np.stack(together, axis=1)
            if threshold in self.named:
                of_all[threshold, KEPT] = kept
                if self.truth is not None:
                    known = self.truth[rows] >= 0
                    missed, wrong = _against(kept[known], self.truth[rows][known])
                    of_known |= {(threshold, MISSED): missed, (threshold, WRONG_KEPT): wrong}
        yield from self._counted(of_all, rows)
        if self.truth is not None:
            yield from self._counted(of_known, rows[self.truth[rows] >= 0])

    def _counted(self, of: Mapping[_At, Flags], rows: Integers) -> Iterator[tuple[_At, Counts]]:
        """Counts of each, of the same pictures, which are counted once."""
        counts, start = self._count(np.hstack([*of.values()]), rows), 0
        for at, flags in of.items():
            yield at, counts.pick(np.arange(start, start + flags.shape[1]))
            start += flags.shape[1]

    def _count(self, happened: Flags, rows: Integers) -> Counts:
        return self.groups.count(happened, rows, self.draws)

    def _sums(self, number: Integers, rows: Integers) -> sparse.csr_array:
        """Labels kept and pictures of each cluster, in each group: (clusters, 2 groups)."""
        picture, group = np.nonzero(self.groups.member[rows])
        cluster, g = self.groups.clusters[rows][picture], self.groups.member.shape[1]
        values = np.concatenate([number[picture], np.ones(picture.size, np.int64)])
        at = np.tile(cluster, 2), np.concatenate([group, group + g])
        return sparse.csr_array((values, at), shape=(len(self.groups.cluster_ids), 2 * g))

    def questions(self, metric: str) -> tuple[list[str], list[str]]:
        """The labels and margin families of a metric."""
        if metric == KEPT:
            of_label = [margin_family(label.tags, self.labels) for label in self.labels.labels]
            return list(self.labels.texts), of_label
        if metric == FAMILY_KEPT:
            return list(self.labels.families), list(self.labels.families)
        return ["any label"], [DEFAULT_FAMILY if metric == MEAN_KEPT else "misclassification"]

    def tables(self, at: _At, counts: Counts | sparse.csr_array, frame: Frame) -> Iterator[Columns]:
        """Rows of one threshold and metric."""
        names, families = (np.array([q], dtype=object).T for q in self.questions(at[1]))
        margin = frame.margins(families[:, 0].tolist())
        told = dict(zip(("threshold", "metric"), at, strict=True))
        told |= {"probe": frame.probe, "task": frame.task}
        told |= {"label": names, "margin_family": families, "margin": margin}
        told |= {"level": frame.confidence.level}
        if not isinstance(counts, Counts):
            yield _threshold_rows(told | _mean_rates(counts, frame), (1, len(frame.names)))
            return
        sample = sampled(counts)
        yield _threshold_rows(told | _kept_rates(sample, frame), sample.n.shape)
        for attribute in frame.groups.attributes:
            columns = frame.groups.columns(attribute)
            if columns.size > 1:
                part, judged = pick_groups(sample, columns), at[0] in self.named
                gaps = _kept_gaps(part, frame.names[columns], frame, margin, judged)
                family = f"{frame.task}, {at[1]}, by {attribute}"
                told_too = {"attribute": attribute, "family": family if judged else ""}
                yield _threshold_rows(told | told_too | gaps, (len(sample.n), 1))


def _against(kept: Flags, right: Integers) -> tuple[Flags, Flags]:
    """Whether the right label is missed, and whether a wrong one is kept; each (n, 1)."""
    rows = np.arange(len(kept))
    hit = kept[rows, right]
    return ~hit[:, np.newaxis], (kept.sum(axis=1) > hit)[:, np.newaxis]


def _threshold_rows(columns: Fields, shape: tuple[int, int]) -> Columns:
    """Columns of THRESHOLDS from arrays (Q, P), not judged where nothing else is said."""
    return THRESHOLDS.laid_out({"verdict": NOT_JUDGED, **columns}, shape)


def _kept_rates(sample: Sample, frame: Frame) -> Row:
    """The rate of every group."""
    low, high = rate_interval(sample, frame.confidence.level)
    status, reason = standing(sample.n, sample.subjects, frame.confidence.min_group)
    return {
        "attribute": frame.attributes[np.newaxis],
        "comparison": RATE,
        "group": frame.names[np.newaxis],
        "n": sample.n,
        "subjects": sample.subjects,
        "events": sample.events,
        "value": sample.rate,
        "low": low,
        "high": high,
        "method": EITHER,
        "status": status,
        "reason": reason,
    }


def _kept_gaps(
    sample: Sample, names: NDArray[np.object_], frame: Frame, margin: Floats, judged: bool
) -> Row:
    """The worst-case gap of every question; bounds hold for all thresholds that are judged."""
    ok = standing(sample.n, sample.subjects, frame.confidence.min_group)[0] == OK
    pairs = Pairs.of(ok, names.tolist())
    level = frame.level() if judged else frame.confidence.level
    bounds = gap_bounds(sample, pairs.one, pairs.other, pairs.usable, level)
    gap = largest_gap(sample.rate, pairs, *bounds)
    apart, p = _apart(sample, ok)
    at = np.arange(len(gap.value))[:, np.newaxis]
    counted = {"n": sample.n, "subjects": sample.subjects, "events": sample.events}
    return {
        "comparison": WORST,
        "group": names[gap.group],
        "other": names[gap.other],
        **{name: v[at, gap.group] + v[at, gap.other] for name, v in counted.items()},
        "value": gap.value,
        "low_simultaneous": gap.low,
        "high_simultaneous": gap.high,
        "chi_squared": apart[:, np.newaxis],
        "p": p[:, np.newaxis],
        "q": holm(p)[:, np.newaxis],
        "family_size": int(pairs.usable.sum()) * (frame.edits if judged else 1),
        "method": f"largest over pairs of {OF_DIFFERENCE_IN_CLUSTERS}, max-T",
        "status": gap.status,
        "reason": gap.reason,
        "verdict": gap.verdict(margin) if judged else NOT_JUDGED,
    }


def _apart(sample: Sample, ok: Flags) -> tuple[Floats, Floats]:
    """Chi-squared of each question over the groups with enough pictures, and p."""
    p = sample.rate
    with np.errstate(divide="ignore", invalid="ignore"):
        effects = sample.spread * sample.n / (p * (1 - p))
        copies = sample.n / sample.copies  # where every picture, or none, has an event
    worth = np.where(np.isfinite(effects), effects, np.where(np.isfinite(copies), copies, 1.0))
    events, n = (np.where(ok, counts, 0) for counts in (sample.events, sample.n))
    return homogeneity(events, n, worth)


def _mean_rates(sums: sparse.csr_array, frame: Frame) -> Row:
    """The mean number of labels kept in every group, with Student's interval over subjects.

    The variance is the linearised one of a ratio, ``sum over subjects of (x_c - mean n_c)² / n²``,
    and at least what one subject with one label more would add: subjects who happen to be all alike
    do not prove that the next one is.
    """
    groups = len(frame.names)
    kept, seen = (sums[:, at].tocsc() for at in (slice(groups), slice(groups, None)))
    x, n = (np.asarray(part.sum(axis=0), dtype=np.int64) for part in (kept, seen))
    m = np.asarray((seen > 0).sum(axis=0), dtype=np.int64)
    mean = x / np.where(n > 0, n, np.nan)
    squares = [
        np.asarray((a * b).sum(axis=0)) for a, b in ((kept, kept), (kept, seen), (seen, seen))
    ]
    spread = squares[0] - 2 * mean * squares[1] + mean**2 * squares[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.maximum(spread, squares[2] / m) / n**2 * m / (m - 1))
        reach = np.where(
            m > 1, special.stdtrit(np.maximum(m - 1, 1), _upper(frame)) * error, np.nan
        )
    status, reason = standing(n, m, frame.confidence.min_group)
    return {
        "attribute": frame.attributes[np.newaxis],
        "comparison": RATE,
        "group": frame.names[np.newaxis],
        "n": n[np.newaxis],
        "subjects": m[np.newaxis],
        "events": x[np.newaxis],
        "value": mean[np.newaxis],
        "low": np.maximum(mean - reach, 0.0)[np.newaxis],
        "high": (mean + reach)[np.newaxis],
        "margin": np.nan,
        "method": "mean over pictures, Student over subjects",
        "status": status[np.newaxis],
        "reason": reason[np.newaxis],
    }


def _upper(frame: Frame) -> float:
    return 1 - (1 - frame.confidence.level) / 2

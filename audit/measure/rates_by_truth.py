"""Rates among pictures of one right answer: recall, false positives, balanced recall, odds.

A rate that is conditional on the right answer is compared between groups among pictures of that
answer only, and such comparisons are a family of their own: pairs of unlike truths are in none.
These are rows of the table MEASURES, asked for by ``by_truth`` and judged by no margin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.arrays import Floats
from audit.core.rows import Row
from audit.core.tables import ENSEMBLE, OK, TOO_FEW, UNDEFINED
from audit.core.verdicts import Verdict
from audit.data.labels import LabelSet
from audit.measure.confidence import Confidence
from audit.measure.measures import rows_of_rates
from audit.measure.metrics import Draws, Groups, standing
from audit.stats.clustered import Sample, correlated, joined, rate_interval
from audit.stats.gaps import LargestGap, Pairs, largest_gap
from audit.stats.multiplicity import compare
from audit.stats.significance import bonferroni_level

#: ``metric`` of the rows; ``label`` is the right answer, blank where all of them count
RECALL: Final = "true_positive_rate"
FALSE: Final = "false_positive_rate"
BALANCED: Final = "balanced_recall"
RECALL_GAP: Final = "true_positive_rate_gap"
BALANCED_GAP: Final = "balanced_recall_gap"
ODDS: Final = "equalised_odds"

_MIXED: Final = "other right answers together, in the mix that each group has"


@dataclass(frozen=True)
class RatesByTruth:
    """Answers of one task whose truth is known, and who gave them.

    ``chosen``, ``truth``: place of each picture's class among ``classes``; ``at``: its row in the
    groups.
    """

    classes: tuple[str, ...]
    chosen: NDArray[np.int64]
    truth: NDArray[np.int64]
    at: NDArray[np.int64]
    groups: Groups
    draws: Draws
    confidence: Confidence
    task: str

    @classmethod
    def of(
        cls,
        choices: pd.DataFrame,
        labels: LabelSet,
        groups: Groups,
        draws: Draws,
        confidence: Confidence,
    ) -> RatesByTruth:
        """Those of the headline condition in rows of CHOICES of one task."""
        rows = choices[(choices["condition"] == ENSEMBLE) & choices["truth"].notna()]
        there = set(rows["truth"])
        classes = tuple(name for name in labels.classes if name in there)
        place = {name: i for i, name in enumerate(classes)}
        chosen = rows["predicted"].map(labels.class_of).map(place).fillna(-1)
        columns = (chosen, rows["truth"].map(place), groups.at(rows["image_id"]))
        of_rows = [np.asarray(column, dtype=np.int64) for column in columns]
        return cls(
            classes,
            of_rows[0],
            of_rows[1],
            of_rows[2],
            groups,
            draws,
            confidence,
            str(choices["task"].iloc[0]) if len(choices) else "",
        )

    def every(self) -> Iterator[Row]:
        """All rows; none without a picture whose truth is known."""
        for c, name in enumerate(self.classes):
            yield from self._rates(RECALL, name, self.samples[c], f"right answer '{name}'")
            among = f"right answer other than '{name}'"
            false = self._rates(FALSE, name, self._sample(c, self.truth != c), among)
            mixed = len(self.classes) > 2
            yield from (row | {"reason": row["reason"] or _MIXED * mixed} for row in false)
        if not self.classes:
            return
        yield from self._balanced()
        for attribute in self.groups.attributes:
            yield from self._odds(attribute)
            yield self._balanced_gap(attribute)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """For each class, how often it is chosen among pictures of it."""
        return tuple(self._sample(c, self.truth == c) for c in range(len(self.classes)))

    def _sample(self, c: int, asked: NDArray[np.bool_]) -> Sample:
        happened = (self.chosen[asked] == c)[:, np.newaxis]
        counts = self.groups.count(happened, self.at[asked], self.draws)
        return counts.sample(np.arange(len(self.groups.index)))

    def _standing(self, sample: Sample) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        return standing(sample.n, sample.subjects, self.confidence.min_group)

    def _rates(self, metric: str, name: str, sample: Sample, among: str) -> Iterator[Row]:
        """One rate in every group."""
        c = self.confidence
        for row in rows_of_rates(sample, self.groups, c.level, c.min_group):
            method = f"among pictures of the {among}"
            yield self._row(metric, row["attribute"], label=name) | row | {"method": method}

    def _row(self, metric: str, attribute: str, label: str = "") -> Row:
        return {
            "condition": ENSEMBLE,
            "metric": metric,
            "label": label,
            "attribute": attribute,
            "margin_family": "misclassification",
            "harm": "quality of service",
            "level": self.confidence.level,
            "verdict": Verdict.NOT_JUDGED,
        }

    # ---- gaps of one right answer, and the largest of all of them

    def _odds(self, attribute: str) -> Iterator[Row]:
        """The largest gap of recall for every right answer, and the largest of these."""
        c = self.confidence
        each = float(bonferroni_level(c.level, len(self.classes)))
        alone = [self._gap(attribute, i, c.level) for i in range(len(self.classes))]
        for name, (gap, q, out, size) in zip(self.classes, alone, strict=True):
            method = f"among pictures of the right answer '{name}'" + _not_compared(out)
            yield self._told(RECALL_GAP, attribute, gap, name) | {
                "q": q,
                "family": f"{self.task}, right answer '{name}', by {attribute}",
                "family_size": size,
                "method": method,
            }
        found = [self._gap(attribute, i, each) for i in range(len(self.classes))]
        sizes = np.array([np.nan_to_num(gap.value[0, 0], nan=-1.0) for gap, *_ in found])
        most = int(sizes.argmax())
        gap = replace(
            found[most][0],
            low=_most([f[0].low for f in found]),
            high=_most([f[0].high for f in found]),
        )
        missing = [n for n, f in zip(self.classes, found, strict=True) if not f[0].some[0, 0]]
        qs = [q for _, q, *_ in found if not np.isnan(q)]
        yield self._told(ODDS, attribute, gap) | {
            "q": min(1.0, len(self.classes) * min(qs)) if qs else np.nan,
            "family": f"{self.task}, every right answer, by {attribute}",
            "family_size": sum(size for *_, size in found),
            "reason": _some(missing) if gap.some[0, 0] else str(gap.reason[0, 0]),
            "method": f"largest gap of recall, that of '{self.classes[most]}'; Bonferroni over "
            "right answers",
        }

    def _gap(
        self, attribute: str, c: int, level: float
    ) -> tuple[LargestGap, float, list[str], int]:
        """Largest gap of recall, the q of its pair, who isn't compared, and how many pairs are."""
        sample, at = self.samples[c], self.groups.columns(attribute)
        status, reason = self._standing(sample)
        pairs = Pairs.of((status == OK)[:, at])
        family = compare(sample, at[pairs.one], at[pairs.other], pairs.usable, level)
        ends = family.difference
        gap = largest_gap(sample.rate[:, at], pairs, ends.low_all, ends.high_all)
        names = self.groups.index.get_level_values("group")
        out = [f"{names[int(g)]} ({reason[0, g]})" for g in at if status[0, g] != OK]
        q = float(family.q[0, gap.pair[0, 0]]) if gap.some[0, 0] else np.nan
        return gap, q, out, family.size

    def _told(self, metric: str, attribute: str, gap: LargestGap, label: str = "") -> Row:
        """The row of a largest gap."""
        names = self.groups.index.get_level_values("group")[self.groups.columns(attribute)]
        return self._row(metric, attribute, label) | gap.row(names.tolist())

    # ---- balanced recall

    def _balanced(self) -> Iterator[Row]:
        """The mean of the recalls of all right answers, in every group; n of the rarest of them."""
        value, low, high = self._mean(self.confidence.level)
        status, reason = self._mean_standing
        n, subjects = (
            np.min([getattr(sample, what)[0] for sample in self.samples], axis=0)
            for what in ("n", "subjects")
        )
        for g, (attribute, group) in enumerate(self.groups.index):
            yield self._row(BALANCED, attribute) | {
                "group": group,
                "n": int(n[g]),
                "subjects": int(subjects[g]),
                "value": float(value[g]),
                "low": float(low[g]),
                "high": float(high[g]),
                "status": status[g],
                "reason": reason[g],
                "method": f"mean over {len(self.classes)} right answers, n of the rarest; MOVER",
            }

    @cached_property
    def _mean_standing(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """The worst status of a group's recalls, and why: it needs each right answer."""
        found = [self._standing(sample) for sample in self.samples]
        status = np.full(len(self.groups.index), OK, dtype=object)
        reason = np.full(len(self.groups.index), "", dtype=object)
        for worse in (TOO_FEW, UNDEFINED):
            for name, (states, whys) in zip(self.classes, found, strict=True):
                here = states[0] == worse
                status[here] = worse
                reason[here] = [f"right answer '{name}': {why}" for why in whys[0][here]]
        return status, reason

    def _mean(self, level: float) -> tuple[Floats, Floats, Floats]:
        """Balanced recall of every group with bounds, (G,); nan where a right answer is missing.

        Formula: the mean of K recalls p with bounds l, u: ``m - sqrt(sum r_ij a_i a_j) / K`` with
        ``a = p - l``, and likewise upwards with ``u - p``; r_ij the correlation of two recalls over
        the bootstrap of subjects, 0 where no subject has pictures of both right answers (MOVER:
        Zou, Huang, Zhang 2009, Comput. Stat. Data Anal. 53, 3755-3764).
        """
        rate = np.stack([sample.rate[0] for sample in self.samples])
        ends = [rate_interval(sample, level) for sample in self.samples]
        down = rate - np.stack([low[0] for low, _ in ends])
        up = np.stack([high[0] for _, high in ends]) - rate
        reach = [
            np.sqrt(np.maximum(np.einsum("ig,jg,ijg->g", a, a, self._correlations), 0.0))
            for a in (down, up)
        ]
        mean, k = rate.mean(axis=0), len(rate)
        low, high = mean - reach[0] / k, mean + reach[1] / k
        return mean, np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)

    @cached_property
    def _correlations(self) -> Floats:
        """Correlation of two right answers' recalls in each group, (K, K, G)."""
        k, member = len(self.classes), self.groups.member
        found = np.repeat(np.eye(k)[..., np.newaxis], len(self.groups.index), axis=2)
        clusters = self.groups.clusters[self.at]
        if np.unique(clusters).size == clusters.size:
            return found
        of = [self.truth == c for c in range(k)]
        for i, j in zip(*np.triu_indices(k, 1), strict=True):
            one, other = self.samples[i].deviations, self.samples[j].deviations
            assert one is not None
            assert other is not None
            r = correlated(one[0], other[0])
            for g in range(member.shape[1]):
                inside = member[self.at, g]
                both = np.intersect1d(clusters[of[i] & inside], clusters[of[j] & inside])
                found[i, j, g] = found[j, i, g] = r[g] if both.size else 0.0
        return found

    def _balanced_gap(self, attribute: str) -> Row:
        """The largest gap of balanced recall between two groups."""
        at = self.groups.columns(attribute)
        status, reason = (column[at] for column in self._mean_standing)
        pairs = Pairs.of((status == OK)[np.newaxis])
        size = int(pairs.usable.sum())
        level = float(bonferroni_level(self.confidence.level, max(size, 1)))
        value, low, high = (end[at][np.newaxis] for end in self._mean(level))
        one, other = pairs.one, pairs.other
        down, up, r = value - low, high - value, self._shared(at, one, other)
        gaps = value[:, one] - value[:, other]
        gap = largest_gap(
            value,
            pairs,
            gaps - joined(down[:, one], up[:, other], r),
            gaps + joined(up[:, one], down[:, other], r),
        )
        names = self.groups.index.get_level_values("group")[at]
        out = [f"{names[int(i)]} ({reason[i]})" for i in np.flatnonzero(status != OK)]
        return self._told(BALANCED_GAP, attribute, gap) | {
            "family": f"{self.task}, balanced recall, by {attribute}",
            "family_size": size,
            "method": f"mean over {len(self.classes)} right answers; MOVER, Bonferroni over pairs"
            + _not_compared(out),
        }

    def _shared(
        self, at: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]
    ) -> Floats:
        """Correlation of two groups' balanced recalls: 0 unless subjects are in both; (1, P)."""
        r = np.zeros((1, len(one)))
        shared = np.any([sample.shared for sample in self.samples], axis=0)[np.ix_(at, at)]
        together = np.flatnonzero(shared[one, other])
        if together.size:
            moves = np.mean([sample.deviations[0] for sample in self.samples], axis=0)[at]  # type: ignore[index]
            r[0, together] = correlated(moves[one[together]], moves[other[together]])
        return r


def _most(ends: Sequence[Floats]) -> Floats:
    """The largest bound there is, nan if there is none."""
    known = [end for end in ends if not np.isnan(end).any()]
    return np.max(known, axis=0) if known else np.full((1, 1), np.nan)


def _not_compared(out: Sequence[str]) -> str:
    return f"; not compared: {', '.join(out)}" if out else ""


def _some(missing: Sequence[str]) -> str:
    names = ", ".join(f"'{name}'" for name in missing)
    return f"without {names}, which no two groups have enough pictures of" if missing else ""

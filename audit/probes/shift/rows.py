"""Sources held against each other: rows of MEASURES."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from audit.core.arrays import Flags, Floats, Integers
from audit.core.rows import Row
from audit.core.tables import OK, UNDEFINED
from audit.measure.confidence import Confidence
from audit.measure.effects import sampled
from audit.measure.metrics import standing
from audit.measure.nulls import Answered, drops_by_chance, null_columns
from audit.probes.kit.base import Design
from audit.probes.kit.bounds import ends
from audit.probes.kit.changes import ACCURACY_CHANGE, UNEQUAL_DROP
from audit.probes.shift.baseline import Baseline
from audit.stats.changes import each_level
from audit.stats.clustered import (
    Bounds,
    Sample,
    correlated,
    correlation,
    difference_interval,
    joined,
    rate_interval,
)
from audit.stats.counts import Counts, count
from audit.stats.gaps import Pairs, largest_gap
from audit.stats.multiplicity import bounds_at, compare

#: ``metric`` of rows in points
ACCURACY: Final = "accuracy"


ROBUSTNESS: Final = "effective robustness"


FAMILY: Final = "misclassification"  # the margin family of errors


NO_BASELINE: Final = (
    "effective robustness needs a table of other models' accuracies on both sources; name it as "
    "'baseline' of the probe"
)


@dataclass(frozen=True)
class Sources:
    """Right labels counted in every source and group: one question in S x G cells.

    ``hits``: those of each subject in each cell, (subjects, S x G).
    """

    conditions: Sequence[str]
    counts: Counts
    groups: int
    hits: sparse.csr_array

    @classmethod
    def of(cls, rows: pd.DataFrame, conditions: Sequence[str], design: Design) -> Sources:
        """The sources of a task's rows with a known answer."""
        rows = rows[rows["truth"].notna()]
        groups = design.groups
        at = groups.at(rows["image_id"])
        source = pd.Index(conditions).get_indexer(pd.Index(rows["condition"]))
        inside = source[:, np.newaxis] == np.arange(len(conditions))
        member = inside[:, :, np.newaxis] & groups.member[at][:, np.newaxis]
        clusters = groups.clusters[at]
        right = (rows["predicted"] == rows["truth"]).to_numpy(bool)
        cells, subjects = member.reshape(len(rows), -1), len(groups.cluster_ids)
        counts = count(
            right[:, np.newaxis],
            cells,
            clusters,
            subjects,
            design.draws.weights,
            design.draws.rows(clusters),
        )
        whose = (right.astype(np.int64), (clusters, np.arange(len(rows))))
        hits = sparse.csr_array(whose, shape=(subjects, len(rows))) @ sparse.csr_array(cells)
        return cls(conditions, counts, len(groups.index), hits)

    @cached_property
    def sample(self) -> Sample:
        """All cells as one sample."""
        return sampled(self.counts)

    def subjects(self, cells: Sequence[int]) -> int:
        """How many subjects are in any of these cells."""
        return int((self.counts.seen[:, cells].sum(axis=1) > 0).sum())

    def cell(self, source: int | Integers, groups: Integers) -> Integers:
        """Where these groups of a source are."""
        return np.asarray(source * self.groups + groups)

    def answered(self, source: int, groups: Integers, usable: Flags) -> Answered:
        """Answers of each subject in the reference and in one shifted source, by group."""
        cells = np.concatenate([self.cell(s, groups) for s in (0, source)])
        right, n = (
            counted[:, cells].toarray().astype(np.int64).reshape(-1, 2, len(groups))
            for counted in (self.hits, self.counts.seen)
        )
        return Answered(right, n, usable)


@dataclass(frozen=True)
class Cells:
    """One attribute's groups in all sources: rows of MEASURES in points."""

    attribute: str
    at: Integers
    sources: Sources
    design: Design

    @property
    def _confidence(self) -> Confidence:
        return self.design.confidence

    @cached_property
    def _standing(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        s = self.sources.sample
        status, reason = standing(s.n, s.subjects, self._confidence.min_group)
        return status[0], reason[0]

    def accuracies(self) -> Iterator[Row]:
        """Every group's share of right labels in every source."""
        sample = self.sources.sample
        bounds = rate_interval(sample, self._confidence.level)
        for s in range(len(self.sources.conditions)):
            for g, cell in enumerate(self.sources.cell(s, self.at)):
                yield self.row([s], [g]) | {
                    "metric": ACCURACY,
                    "value": 100 * sample.rate[0, cell],
                    **ends(*bounds, at=(0, cell), unit=100),
                    "method": "at the effective number of pictures",
                    "status": self._standing[0][cell],
                    "reason": self._standing[1][cell],
                }

    def drops(self) -> Iterator[Row]:
        """How much more or less often the model is right for each group in each shifted source."""
        sample, ref, rest = self.sources.sample, *self._cells
        one, other = ref.ravel(), rest.ravel()
        ok = self._standing[0] == OK
        usable = ok[one] & ok[other]
        level = self._confidence.level
        found = compare(sample, other, one, usable[np.newaxis], level)
        d = found.difference
        for i, cell in enumerate(other):
            s, g = 1 + i // len(self.at), i % len(self.at)
            worse = one[i] if not ok[one[i]] else cell
            yield self.row([0, s], [g, g]) | {
                "metric": ACCURACY_CHANGE,
                "value": 100 * d.value[0, i],
                **ends(d.low, d.high, d.low_all, d.high_all, at=(0, i), unit=100),
                "p": found.p[0, i],
                "q": found.q[0, i],
                "family_size": found.size,
                "method": "MOVER from both shares, max-T",
                "status": self._standing[0][worse],
                "reason": self._standing[1][worse],
                "_reference": 100 * sample.rate[0, one[i]],
                "_shifted": 100 * sample.rate[0, cell],
                "_n": sample.n[0, one[i]],
                "_m": sample.n[0, cell],
            }

    def apart(self) -> Iterator[Row]:
        """The two groups whose drops differ most, in each shifted source."""
        if self.at.size < 2:
            return
        sample, ref, rest = self.sources.sample, *self._cells
        ok = self._standing[0] == OK
        fine = ok[ref] & ok[rest]
        names = [self._name(g) for g in range(self.at.size)]
        pairs = Pairs.of(fine, names)
        compared = pairs.one, pairs.other, pairs.usable
        bounds = _apart(sample, ref, rest, *compared, self._confidence.level)
        drop = sample.rate[0, ref] - sample.rate[0, rest]
        gap = largest_gap(drop, pairs, *bounds)
        for q in range(len(rest)):
            a, b = int(gap.group[q, 0]), int(gap.other[q, 0])
            chance, dealt = self._by_chance(1 + q, fine[q]) if gap.some[q, 0] else ({}, "")
            yield self.row([0, 0, 1 + q, 1 + q], [a, b, a, b]) | {
                **chance,
                "metric": UNEQUAL_DROP,
                **gap.row(names, q, 100),
                "family_size": int(pairs.usable.sum()),
                "method": f"largest over pairs of MOVER from both drops, max-T{dealt}",
                "_drop": 100 * drop[q, a],
                "_other": 100 * drop[q, b],
            }

    def _by_chance(self, source: int, usable: Flags) -> tuple[dict[str, float], str]:
        """The difference of drops if groups did not matter, and how subjects were dealt."""
        answered, design = self.sources.answered(source, self.at, usable), self.design
        found = drops_by_chance(
            answered, design.groups, self.attribute, design.confidence, design.seed
        )
        numbers, how = null_columns(found, 100)
        return (numbers[0] if numbers else {}), f"; {how}"

    def effective(self, s: int, baseline: Baseline, level: float) -> Row:
        """How much more often everyone's label is right than other models' line expects.

        Formula: ``p_shifted - expit(a + b logit(p_reference))``, its bounds by MOVER from those of
        both, with the correlation of the two shares where subjects are in both sources.
        Range: points from -100 to 100; above 0 the model keeps more than others of its reference
        accuracy. Undefined beyond the reference accuracies of the table, where the line is a guess.
        Does not show: any difference between groups.

        Source:
            Taori et al. (2020), arXiv 2007.00644, section 2 and appendix on logit axes.
        """
        sample = self.sources.sample
        ref, cell = (int(self.sources.cell(i, self.at)[0]) for i in (0, s))
        p, q = float(sample.rate[0, ref]), float(sample.rate[0, cell])
        row = self.row([0, s], [0, 0]) | {"_models": len(baseline.reference), "_shifted": 100 * q}
        worse = ref if self._standing[0][ref] != OK else cell
        if self._standing[0][worse] != OK:
            return row | {"status": self._standing[0][worse], "reason": self._standing[1][worse]}
        least, most = baseline.reference.min(), baseline.reference.max()
        if not least <= p <= most:
            return row | {"status": UNDEFINED, "reason": _beyond(p, least, most)}
        expected = baseline.expected(p)
        alone, together = (
            _above_line(sample, ref, cell, baseline, at) for at in (self._confidence.level, level)
        )
        return row | {
            "value": 100 * (q - expected),
            **ends(*alone, *together, unit=100),
            "family_size": len(self.sources.conditions) - 1,
            "_expected": 100 * expected,
        }

    @property
    def _cells(self) -> tuple[Integers, Integers]:
        """Cells of the reference and of the shifted sources, (shifted sources, groups) each."""
        number = len(self.sources.conditions)
        rest = np.stack([self.sources.cell(s, self.at) for s in range(1, number)])
        return np.broadcast_to(self.sources.cell(0, self.at), rest.shape), rest

    def _name(self, group: int) -> str:
        return str(self.design.groups.index[self.at[group]][1])

    def row(self, sources: Sequence[int], groups: Sequence[int]) -> Row:
        """What a row has whatever it measures: of these sources and groups, pairwise."""
        sample, c = self.sources.sample, self._confidence
        cells = [
            int(self.sources.cell(s, self.at[g])) for s, g in zip(sources, groups, strict=True)
        ]
        return {
            "condition": self.sources.conditions[sources[-1]],
            "attribute": self.attribute,
            "group": self._name(groups[0]),
            "n": int(sample.n[0, cells].sum()),
            "subjects": self.sources.subjects(cells),
            "events": int(sample.events[0, cells].sum()),
            "value": np.nan,
            "low_simultaneous": np.nan,
            "high_simultaneous": np.nan,
            "level": c.level,
            "family": f"{len(self.sources.conditions) - 1} sources by {self.attribute}",
            "margin": 100 * c.margin(FAMILY).difference,
            "status": OK,
            "reason": "",
        }


def _beyond(accuracy: float, least: float, most: float) -> str:
    return (
        f"the model is right for {100 * accuracy:.0f} % of the reference, and the other models' "
        f"{100 * least:.0f} to {100 * most:.0f} % say nothing about it"
    )


def _apart(
    sample: Sample,
    ref: Integers,
    rest: Integers,
    one: Integers,
    other: Integers,
    usable: Flags,
    level: float,
) -> Bounds:
    """Simultaneous bounds of the differences of drops, (sources, pairs).

    Formula: with ``d = p_ref - p_rest`` of each group and its bounds (``difference_interval``),
    ``D = d1 - d2`` reaches from ``D - sqrt((d1 - l1)² + (u2 - d2)² - 2 r (d1 - l1)(u2 - d2))``
    to the like upwards; r, the correlation of the two drops in the cluster bootstrap, is 0 unless
    a subject is in both groups; one that would narrow is believed from 20 effective events on.
    The level is that of max-T over all (``each_level``).
    Range: from -2 to 2; contains D. nan where not usable. Measured: all of six hold in 94.5 to
    100 % of 200 to 400 worlds of 60 to 800 subjects, in one source each or in all three.

    Args:
        sample: One question in all cells.
        ref: Cells of the reference, (sources, groups).
        rest: Cells of the shifted sources, (sources, groups).
        one: First group of each pair.
        other: Second.
        usable: Which count, (sources, pairs).
        level: Of all together.

    Source:
        Zou, Donner (2008), Statistics in Medicine 27, 1693-1702.
    """
    assert sample.deviations is not None
    moved = sample.deviations[0, ref] - sample.deviations[0, rest]
    events = sample.effective_events[0]
    few = np.minimum(events[ref], events[rest])
    _, levels = each_level(moved, few, one, other, usable, level)
    r = _correlations(sample, ref, rest, one, other, moved, few)
    d = sample.rate[0, ref] - sample.rate[0, rest]

    def bounds(at: float) -> Bounds:
        ends = difference_interval(sample, ref.ravel(), rest.ravel(), at)
        low, high = (end[0].reshape(ref.shape) for end in ends)
        down, up, apart = d - low, high - d, d[:, one] - d[:, other]
        return (
            apart - joined(down[:, one], up[:, other], r),
            apart + joined(up[:, one], down[:, other], r),
        )

    return bounds_at(levels, usable, bounds)


def _correlations(
    sample: Sample,
    ref: Integers,
    rest: Integers,
    one: Integers,
    other: Integers,
    moved: NDArray[np.float32],
    events: Floats,
) -> Floats:
    """Of the drops of both groups of each pair, 0 where no subject is in both."""
    r = np.asarray(correlated(moved[:, one], moved[:, other]))
    sides = [(a[:, one], b[:, other]) for a in (ref, rest) for b in (ref, rest)]
    together = np.logical_or.reduce([sample.shared[a, b] for a, b in sides])
    unsure = np.minimum(events[:, one], events[:, other]) < 20
    return np.where(together, np.where(unsure, np.minimum(r, 0.0), r), 0.0)


def _above_line(
    sample: Sample, ref: int, cell: int, baseline: Baseline, level: float
) -> tuple[float, float]:
    """Bounds of the distance of one cell's share from the line at another's."""
    low, high = (end[0] for end in rate_interval(sample, level))
    q, expected = float(sample.rate[0, cell]), baseline.expected(float(sample.rate[0, ref]))
    under, over = baseline.bounds(float(sample.rate[0, ref]), low[ref], high[ref], level)
    r = correlation(sample, np.array([cell]), np.array([ref]))[0] * np.sign(baseline.line[1])
    down = joined(q - low[cell], np.array(over - expected), r)
    up = joined(high[cell] - q, np.array(expected - under), r)
    return float(q - expected - down[0]), float(q - expected + up[0])

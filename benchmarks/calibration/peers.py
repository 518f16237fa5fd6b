"""Beside other methods: what they cover, how wide they are, what they find where events are rare.

``korn_graubard`` and ``clustered_t`` are written from their published formulas; fairlearn's own
code gives its bootstrap. "At the known design effect" is nobody's method: it is told the
intra-cluster correlation of the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from scipy import special, stats

from audit.core.arrays import Flags, Floats, Integers
from audit.stats.clustered import Bounds, difference_interval, rate_interval
from audit.stats.counts import sample_of
from audit.stats.defaults import MANY
from audit.stats.intervals import clopper_pearson, wilson
from audit.stats.multiplicity import compare

from .families import questions
from .worlds import Layout, Size, apart, happen, subject_rates, subject_sizes

LEVEL: Final = 0.95
OURS, KNOWN, KORN, STUDENT = "ours", "known", "korn", "student"
_TOGETHER = 20
_FAIRLEARN = 100  # replicates, as in its user guide


@dataclass(frozen=True)
class PeerCell:
    """Groups of ``subjects`` each with the true ``rates``; all pairs are compared.

    ``bootstrapped``: in how many of the audits fairlearn's bootstrap is asked too, which takes a
    second each.
    """

    kind: ClassVar[str] = "peer"
    rates: tuple[float, ...]
    subjects: int
    size: Size
    icc: float
    audits: int = 200
    bootstrapped: int = 0
    resamples: int = 1000

    def __post_init__(self) -> None:
        """A list, as a file of results has it, is as good as a tuple."""
        object.__setattr__(self, "rates", tuple(self.rates))

    def run(self, seed: int) -> dict[str, float]:
        """By method: coverage and width of one rate, gaps found, equal groups found apart."""
        found: list[dict[str, float]] = []
        for i in range(-(-self.audits // _TOGETHER)):
            rng = np.random.default_rng([seed, i])
            found += _audits(self, rng, seed + i, self.bootstrapped - i * _TOGETHER)
        names = dict.fromkeys(name for f in found for name in f)
        values = {name: np.array([f.get(name, np.nan) for f in found]) for name in names}
        return {"audits": len(found), **{k: _mean(v) for k, v in values.items()}}


@dataclass(frozen=True)
class WithinCell:
    """How often every pair of groups is said to differ by less than the margin.

    Each bound is one-sided at 5 %, without correction. ``gap``: by how much the rate of the first
    group is above that of the others; at the margin such a claim is wrong.
    """

    kind: ClassVar[str] = "within"
    pictures: int
    pictures_other: int
    rate: float
    margin: float
    gap: float
    groups: int = 2
    size: Size = 1
    icc: float = 0.0
    audits: int = 2000
    resamples: int = 50

    def run(self, seed: int) -> dict[str, float]:
        """The share of audits in which the claim is made: by the tool, and by Newcombe on rows."""
        batches = -(-self.audits // 50)
        found = [_within(self, np.random.default_rng([seed, i]), seed + i) for i in range(batches)]
        means = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
        return {"audits": 50 * batches, **means}


def korn_graubard(x: Floats, n: Integers, level: float) -> Bounds:
    """Clopper and Pearson's interval at the effective size of a survey, x and n by subject.

    ``n* = p (1 - p) / V (z / t)²``, with V the linearised variance, t at m - 1 degrees of freedom,
    and at most n; x (Q, m), n (m,). Korn and Graubard (1998), as R's ``svyciprop(method="beta")``.
    """
    whole, m = n.sum(), len(n)
    p = x.sum(axis=1) / whole
    spread = linearised(x, n)
    alpha = 1 - level
    t = stats.norm.ppf(1 - alpha / 2) / stats.t.ppf(1 - alpha / 2, m - 1)
    size = p * (1 - p) / np.where(spread > 0, spread, np.nan) * t**2
    size = np.where(np.isnan(size), whole, np.minimum(size, whole))
    return clopper_pearson(p * size, size, level)


def clustered_t(x: Floats, n: Integers, level: float) -> Bounds:
    """The rate plus and minus Student's t times the clustered error, as inspect_ai prints it."""
    p = x.sum(axis=1) / n.sum()
    reach = stats.t.ppf((1 + level) / 2, len(n) - 1) * np.sqrt(linearised(x, n))
    return p - reach, p + reach


def at_known_effect(x: Floats, n: Integers, icc: float, level: float) -> Bounds:
    """The interval for as many independent pictures as the world's design effect leaves."""
    p, whole = x.sum(axis=1) / n.sum(), n.sum()
    size = whole / (1 + icc * ((n.astype(float) ** 2).sum() / whole - 1))
    few = np.minimum(p, 1 - p) * size < MANY * special.ndtri((1 - level) / 2) ** 2
    both = zip(clopper_pearson(p * size, size, level), wilson(p * size, size, level), strict=True)
    low, high = (np.where(few, exact, rough) for exact, rough in both)
    return low, high


def linearised(x: Floats, n: Integers) -> Floats:
    """``m / (m - 1) sum (x_c - p n_c)² / n²`` of each question, (Q,)."""
    p = x.sum(axis=1, keepdims=True) / n.sum()
    m = len(n)
    return np.asarray(((x - p * n) ** 2).sum(axis=1) / n.sum() ** 2 * m / (m - 1))


def joined_pairs(p: Floats, bounds: Bounds, one: Integers, other: Integers) -> Bounds:
    """Bounds of differences from those of rates: the squares of both distances add up."""
    low, high = bounds
    d = p[:, one] - p[:, other]
    return (
        d - np.hypot(p[:, one] - low[:, one], high[:, other] - p[:, other]),
        d + np.hypot(high[:, one] - p[:, one], p[:, other] - low[:, other]),
    )


def _audits(
    cell: PeerCell, rng: np.random.Generator, seed: int, bootstrapped: int
) -> list[dict[str, float]]:
    rates, groups = np.array(cell.rates), len(cell.rates)
    sizes = [subject_sizes(rng, 0, cell.size, cell.subjects) for _ in cell.rates]
    layout = apart(sizes)
    side = np.repeat(np.arange(groups), [len(s) for s in sizes])
    means = np.repeat(rates[side, np.newaxis], _TOGETHER, axis=1)
    events = happen(rng, subject_rates(rng, means, cell.icc)[layout.clusters])
    sample = sample_of(events, layout.codes, layout.clusters, groups, seed, cell.resamples)
    one, other = (v.astype(np.int64) for v in np.triu_indices(groups, 1))
    single, together = _bounds(cell, layout, events, 1 - (1 - LEVEL) / len(one))
    usable = np.ones((_TOGETHER, len(one)), bool)
    # a family a question, as an audit of one label has it
    families = [
        compare(questions(sample, slice(q, q + 1)), one, other, usable[:1])
        for q in range(_TOGETHER)
    ]
    single[OURS] = rate_interval(sample, LEVEL)
    together[OURS] = tuple(
        np.concatenate([getattr(f.difference, end) for f in families])
        for end in ("low_all", "high_all")
    )  # type: ignore[assignment]
    apart_truly = rates[one] != rates[other]
    found = [{} for _ in range(_TOGETHER)]  # type: list[dict[str, float]]
    for name in single:
        low, high = single[name]
        shown = (together[name][0] > 0) | (together[name][1] < 0)
        least, most = (_size(*together[name])[i].max(axis=1) for i in (0, 1))
        largest = np.abs(rates[one] - rates[other]).max()
        for q in range(_TOGETHER):
            found[q] |= {
                f"{name}_covered": float(((low[q] <= rates) & (rates <= high[q])).mean()),
                f"{name}_width": float((high[q] - low[q]).mean()),
                f"{name}_largest": float(least[q] <= largest + 1e-9 and largest <= most[q] + 1e-9),
            }
            if apart_truly.any():
                found[q][f"{name}_found"] = float(shown[q, apart_truly].mean())
            if not apart_truly.all():
                found[q][f"{name}_false"] = float(shown[q, ~apart_truly].any())
    for q in range(min(max(bootstrapped, 0), _TOGETHER)):
        found[q] |= _fairlearn(events[:, q], layout.codes, rates, seed + q)
    return found


def _bounds(
    cell: PeerCell, layout: Layout, events: Flags, joint: float
) -> tuple[dict[str, Bounds], dict[str, Bounds]]:
    """Of each method: the interval of every rate, and Bonferroni's bounds of every difference."""
    groups = len(cell.rates)
    one, other = np.triu_indices(groups, 1)
    p = np.stack([events[layout.codes == g].mean(axis=0) for g in range(groups)], axis=1)
    single: dict[str, Bounds] = {}
    together: dict[str, Bounds] = {}
    for name in (KNOWN, KORN, STUDENT):
        for level, into in ((LEVEL, single), (joint, together)):
            ends = [_of_group(name, cell, layout, events, g, level) for g in range(groups)]
            low, high = (np.stack([e[i] for e in ends], axis=1) for i in (0, 1))
            into[name] = (low, high)
            if into is together:
                into[name] = joined_pairs(p, (low, high), one, other)
    return single, together


def _of_group(
    name: str, cell: PeerCell, layout: Layout, events: Flags, group: int, level: float
) -> Bounds:
    x, n = by_subject(layout, events, group)
    if name == KNOWN:
        return at_known_effect(x, n, cell.icc, level)
    return {KORN: korn_graubard, STUDENT: clustered_t}[name](x, n, level)


def by_subject(layout: Layout, events: Flags, group: int) -> tuple[Floats, Integers]:
    """Events (Q, m) and pictures (m,) of each subject of a group."""
    here = layout.codes == group
    _, who, n = np.unique(layout.clusters[here], return_inverse=True, return_counts=True)
    x = np.stack([np.bincount(who, column[here], len(n)) for column in events.T])
    return x.astype(np.float64), n


def _size(low: Floats, high: Floats) -> Bounds:
    """Bounds of a gap's size from those of the gap."""
    return np.maximum(np.maximum(low, -high), 0.0), np.maximum(np.abs(low), np.abs(high))


def _fairlearn(events: Flags, codes: Integers, rates: Floats, seed: int) -> dict[str, float]:
    """Intervals by fairlearn's bootstrap over rows: of each rate and of the largest difference."""
    # imported here because it is slow to load and only benchmarks need it
    from fairlearn.metrics import MetricFrame, selection_rate

    frame = MetricFrame(
        metrics=selection_rate,
        y_true=events.astype(int),
        y_pred=events.astype(int),
        sensitive_features=codes,
        n_boot=_FAIRLEARN,
        ci_quantiles=[0.025, 0.975],
        random_state=seed,
    )
    low, high = (np.asarray(v, dtype=float) for v in frame.by_group_ci)
    least, most = frame.difference_ci()
    largest = rates.max() - rates.min()
    return {
        "fairlearn_covered": float(((low <= rates) & (rates <= high)).mean()),
        "fairlearn_width": float((high - low).mean()),
        "fairlearn_largest": float(least <= largest + 1e-9 and largest <= most + 1e-9),
    }


def _within(cell: WithinCell, rng: np.random.Generator, seed: int) -> Mapping[str, float]:
    pictures = [cell.pictures] + [cell.pictures_other] * (cell.groups - 1)
    layout = apart([subject_sizes(rng, n, cell.size) for n in pictures])
    rates = np.array([cell.rate + cell.gap] + [cell.rate] * (cell.groups - 1))
    group = np.zeros(int(layout.clusters.max()) + 1, dtype=np.int64)
    group[layout.clusters] = layout.codes
    means = np.repeat(rates[group, np.newaxis], 50, axis=1)
    events = happen(rng, subject_rates(rng, means, cell.icc)[layout.clusters])
    independent = cell.size == 1
    resamples = 0 if independent else cell.resamples
    sample = sample_of(events, layout.codes, layout.clusters, cell.groups, seed, resamples)
    one, other = (v.astype(np.int64) for v in np.triu_indices(cell.groups, 1))
    rows = joined_pairs(sample.rate, wilson(sample.events, sample.n, 0.9), one, other)
    both: dict[str, Any] = {
        "within": difference_interval(sample, one, other, 0.9),
        "newcombe": rows,
    }
    return {k: float((_size(*v)[1] < cell.margin).all(axis=1).mean()) for k, v in both.items()}


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")

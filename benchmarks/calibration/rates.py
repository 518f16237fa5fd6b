"""Coverage: how often an interval for a rate, a difference or a ratio contains the true value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy import stats

from audit.core.arrays import Flags, Floats, Integers
from audit.stats.clustered import (
    Bounds,
    difference_interval,
    effective_events,
    rate_interval,
    ratio_interval,
)
from audit.stats.counts import Counts, count
from audit.stats.intervals import newcombe, wilson
from audit.stats.resampling import cluster_weights

from .peers import at_known_effect, by_subject, clustered_t, korn_graubard
from .worlds import (
    COUNTERFACTUAL,
    INFORMATIVE,
    Layout,
    Size,
    apart,
    counterfactual,
    coupled_rates,
    happen,
    informative_means,
    subject_rates,
    subject_sizes,
)

LEVEL = 0.95
_EVENTS_AT_ONCE = 400_000
_ASK_AGAIN = 0.94
_MOST_AUDITS = 20_000
_QUESTIONS = 50  # independent questions about the same pictures, each an audit of its own


@dataclass(frozen=True)
class RateCell:
    """Groups of ``pictures`` with a true ``rate``; every audit asks for one interval."""

    kind: ClassVar[str] = "rate"
    pictures: int
    rate: float
    size: Size = 1
    icc: float = 0.0
    audits: int = 4000
    resamples: int = 400

    def run(self, seed: int) -> dict[str, float]:
        """Coverage of the tool's interval and of five that are commonly used instead."""
        found = _means([_rate_batch(self, rng, s) for rng, s in _batches(self, seed)])
        return _again(self, seed, found) or found


@dataclass(frozen=True)
class PairCell:
    """Pairs of groups with true rates ``rate`` and ``rate_other``; one comparison an audit.

    ``shared``: whether the groups show the same subjects, as counterfactual pictures do.
    """

    kind: ClassVar[str] = "pair"
    pictures: int
    pictures_other: int
    rate: float
    rate_other: float
    size: Size = 1
    icc: float = 0.0
    shared: str = ""
    audits: int = 4000
    resamples: int = 1000

    def run(self, seed: int) -> dict[str, float]:
        """Coverage of the intervals for the difference and the ratio, and of common ones."""
        found = _means([_pair_batch(self, rng, s) for rng, s in _batches(self, seed)])
        return _again(self, seed, found) or found


def _again(cell: RateCell | PairCell, seed: int, found: dict[str, float]) -> dict[str, float]:
    """A cell that comes out low is asked anew with more audits, which count instead."""
    low = min(found["covered"], found.get("ratio_covered", 1.0)) < _ASK_AGAIN
    if not low or cell.audits > _MOST_AUDITS / 2:
        return {}
    return replace(cell, audits=_MOST_AUDITS).run(seed + 1)


def _batches(cell: RateCell | PairCell, seed: int) -> Iterator[tuple[np.random.Generator, int]]:
    """Enough batches for the cell's audits, each with its own stream and bootstrap seed."""
    for i in range(-(-cell.audits // (_groups(cell) * _QUESTIONS))):
        yield np.random.default_rng([seed, i]), seed + i


def _groups(cell: RateCell | PairCell) -> int:
    """Groups (or pairs) a batch: together about as many events as fit the cache comfortably."""
    pictures = cell.pictures + getattr(cell, "pictures_other", 0)
    most = max(_EVENTS_AT_ONCE // (pictures * _QUESTIONS), 1)
    return min(most, -(-cell.audits // _QUESTIONS), 20)


def counts_of(events: Flags, layout: Layout, groups: int, seed: int, resamples: int) -> Counts:
    """Counts with the tool's own bootstrap weights."""
    subjects = int(layout.clusters.max()) + 1
    weights = cluster_weights(seed, range(subjects), resamples) if resamples else None
    member = layout.codes[:, np.newaxis] == np.arange(groups)
    return count(events, member, layout.clusters, subjects, weights)


def _rate_batch(cell: RateCell, rng: np.random.Generator, seed: int) -> dict[str, Floats]:
    groups = _groups(cell)
    layout = apart([subject_sizes(rng, cell.pictures, cell.size) for _ in range(groups)])
    mean = np.full(len(layout.sizes), cell.rate)
    if cell.size == INFORMATIVE:
        mean = informative_means(layout.sizes, cell.rate)
    means = np.repeat(mean[:, np.newaxis], _QUESTIONS, axis=1)
    events = happen(rng, subject_rates(rng, means, cell.icc)[layout.clusters])
    # pictures of separate subjects need no bootstrap
    counts = counts_of(events, layout, groups, seed, 0 if cell.size == 1 else cell.resamples)
    sample = counts.sample(np.arange(groups))
    low, high = rate_interval(sample, LEVEL)
    given = ~np.isnan(low)
    peers = _peers(cell, layout, events, groups)
    return {
        **{k: np.where(given, v, np.nan) for k, v in peers.items()},
        "given": given,
        "covered": np.where(given, _inside((low, high), cell.rate), np.nan),
        "below": np.where(given, high < cell.rate, np.nan),
        "above": np.where(given, low > cell.rate, np.nan),
        "width": high - low,
        "events": sample.events,
        "subjects": sample.subjects,
        "wilson": _inside(wilson(sample.events, sample.n, LEVEL), cell.rate),
        "rows": _inside(_row_percentiles(sample.events, sample.n), cell.rate),
        "clusters": _inside(
            _percentiles(counts) if cell.size != 1 else _row_percentiles(sample.events, sample.n),
            cell.rate,
        ),
    }


def _peers(cell: RateCell, layout: Layout, events: Flags, groups: int) -> dict[str, Floats]:
    """Other intervals for clusters, and the width at the world's own design effect, (Q, groups)."""
    found: dict[str, list[Floats]] = {}
    for g in range(groups):
        x, n = by_subject(layout, events, g)
        with np.errstate(all="ignore"):
            for name, method in (("korn", korn_graubard), ("student", clustered_t)):
                low, high = method(x, n, LEVEL)
                found.setdefault(name, []).append(_inside((low, high), cell.rate))
                found.setdefault(f"{name}_width", []).append(high - low)
        low, high = at_known_effect(x, n, cell.icc, LEVEL)
        found.setdefault("known_width", []).append(high - low)
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def _pair_batch(cell: PairCell, rng: np.random.Generator, seed: int) -> dict[str, Floats]:
    pairs = _groups(cell)
    layout, chance = _pair_world(cell, rng, pairs)
    events = happen(rng, chance)
    counts = counts_of(events, layout, 2 * pairs, seed, cell.resamples)
    sample = counts.sample(np.arange(2 * pairs))
    one, other = np.arange(0, 2 * pairs, 2), np.arange(1, 2 * pairs, 2)
    difference = difference_interval(sample, one, other, LEVEL)
    ratio = ratio_interval(sample, one, other, LEVEL)
    d, r = cell.rate - cell.rate_other, cell.rate / cell.rate_other
    x, n = sample.events, sample.n
    rows = newcombe(x[:, one], n[:, one], x[:, other], n[:, other], LEVEL)
    few = effective_events(sample)
    return {
        "given": ~np.isnan(difference[0]),
        "covered": np.where(np.isnan(difference[0]), np.nan, _inside(difference, d)),
        "ratio_given": ~np.isnan(ratio[0]),
        "ratio_covered": np.where(np.isnan(ratio[0]), np.nan, _inside(ratio, r)),
        "ratio_below": np.where(np.isnan(ratio[0]), np.nan, ratio[1] < r),
        "ratio_above": np.where(np.isnan(ratio[0]), np.nan, ratio[0] > r),
        "width": difference[1] - difference[0],
        "events": np.minimum(x[:, one], x[:, other]),
        "effective_events": np.minimum(few[:, one], few[:, other]),
        "subjects": np.minimum(sample.subjects[:, one], sample.subjects[:, other]),
        "newcombe": _inside(rows, d),
        "clusters": _inside(_percentiles(counts, one, other), d),
    }


def _pair_world(cell: PairCell, rng: np.random.Generator, pairs: int) -> tuple[Layout, Floats]:
    """Pairs of groups side by side, and the chance of each event."""
    rates = np.array([[cell.rate], [cell.rate_other]])
    if cell.shared == COUNTERFACTUAL:
        if not isinstance(cell.size, int):
            raise ValueError("counterfactual pictures come in equal numbers")
        one = counterfactual(2, cell.pictures, cell.size)
        subjects = int(one.clusters.max()) + 1
        step = np.repeat(np.arange(pairs), len(one.codes))
        codes = np.tile(one.codes, pairs) + 2 * step
        clusters = np.tile(one.clusters, pairs) + subjects * step
        layout = Layout(codes, clusters, np.tile(one.sizes, pairs))
        own = coupled_rates(rng, np.repeat(rates, _QUESTIONS, axis=1), subjects * pairs, cell.icc)
        return layout, own[clusters, codes % 2]
    sizes: list[Integers] = []
    for _ in range(pairs):
        sizes.append(subject_sizes(rng, cell.pictures, cell.size))
        sizes.append(subject_sizes(rng, cell.pictures_other, cell.size))
    layout = apart(sizes)
    side = np.repeat(np.arange(2 * pairs) % 2, [len(s) for s in sizes])
    means = np.repeat(rates[side], _QUESTIONS, axis=1)
    return layout, subject_rates(rng, means, cell.icc)[layout.clusters]


def _inside(bounds: Bounds, truth: float) -> Floats:
    tiny = 1e-12
    return ((bounds[0] <= truth + tiny) & (truth - tiny <= bounds[1])).astype(float)


def _row_percentiles(events: Integers, n: Integers) -> Bounds:
    """The percentile bootstrap over rows with infinitely many replicates: binomial quantiles."""
    low, high = (stats.binom.ppf(a, n, events / n) / n for a in (0.025, 0.975))
    return np.asarray(low), np.asarray(high)


def _percentiles(
    counts: Counts, one: Integers | None = None, other: Integers | None = None
) -> Bounds:
    """The percentile bootstrap over clusters, of each rate or of differences."""
    assert counts.replicated_events is not None
    assert counts.replicated_n is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = counts.replicated_events / counts.replicated_n[:, np.newaxis]
    value = rate if one is None else rate[..., one] - rate[..., other]
    if np.isnan(value).any():
        low, high = np.nanpercentile(value, (2.5, 97.5), axis=0)
    else:
        low, high = np.percentile(value, (2.5, 97.5), axis=0)
    return low, high


def _means(parts: list[dict[str, Floats]]) -> dict[str, float]:
    """The mean of each measure over all audits, and how many there were."""
    joined = {k: np.concatenate([np.ravel(p[k]) for p in parts]).astype(float) for k in parts[0]}
    means = {k: _mean(v) for k, v in joined.items()}
    return {"audits": len(joined["given"]), "judged": int(joined["given"].sum()), **means}


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")

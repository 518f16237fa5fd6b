"""Bounds that hold for everything that could have been chosen: longhand, and in null worlds."""

from __future__ import annotations

import numpy as np
import pytest
from calibration.selection import World, audited

from audit.stats import selection as s
from audit.stats.clustered import Sample, difference_interval, effective_events
from audit.stats.components import gap_shares
from audit.stats.counts import sample_of
from audit.stats.multiplicity import ENOUGH, compare


def one_label(seed: int, chance: float = 0.4, gap: float = 0.0, n: int = 300) -> Sample:
    """Three groups of unlike size, outcomes that agree between wordings."""
    rng = np.random.default_rng(seed)
    code = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [n // 2, n // 3, n // 6]))
    own = rng.random((len(code), 1)) + rng.normal(scale=0.1, size=(len(code), 4))
    chances = chance + gap * (code == 0)
    return sample_of(own < chances[:, np.newaxis], code, np.arange(len(code)), 3, 1, 300)


def pairs() -> tuple[np.ndarray, np.ndarray]:
    return np.array([0, 0, 1]), np.array([1, 2, 2])


def bounds_of(
    sample: Sample, samples: list[Sample], pair: int = 0
) -> tuple[s.Estimates, s.Parts, s.Choosable]:
    one, other = pairs()
    among = s.choosable(samples, one, other)
    a, b = int(one[pair]), int(other[pair])
    gaps = s.wording_bounds(sample, a, b, among.wordings)
    assert sample.deviations is not None
    shares = gap_shares(gaps.value, sample.deviations[:, a] - sample.deviations[:, b])
    return gaps, s.parts(sample, a, b, shares, gaps, among), among


def test_the_largest_deviations_by_hand() -> None:
    samples = [one_label(0), one_label(1, 0.5)]
    among = s.choosable(samples, *pairs())
    every: dict[str, list[np.ndarray]] = {"wordings": [], "mean": [], "spread": []}
    for sample in samples:
        for a, b in zip(*pairs(), strict=True):
            e = (sample.deviations[:, a] - sample.deviations[:, b]).astype(float)
            every["wordings"] += [abs(x) / np.sqrt(np.mean(x**2)) for x in e]
            every["mean"].append(abs(e.mean(axis=0)) / np.sqrt(np.mean(e.mean(axis=0) ** 2)))
            noise = e.std(axis=0, ddof=1)
            every["spread"].append(noise / np.sqrt(np.mean(noise**2)))
    for name, size in (("wordings", 24), ("mean", 6), ("spread", 6)):
        found = getattr(among, name)
        assert (found.size, found.studentised) == (size, size)
        np.testing.assert_allclose(found.largest, np.max(every[name], axis=0), rtol=1e-4)
    in_order = np.sort(among.spread.largest)
    assert among.spread.quantile(0.95) == in_order[int(np.ceil(0.95 * 301)) - 1]


def test_of_one_candidate_the_bounds_are_those_of_its_family() -> None:
    sample = one_label(2)
    one, other = np.array([0]), np.array([2])
    among = s.choosable([sample], one, other)
    found = s.wording_bounds(sample, 0, 2, among.wordings)
    family = compare(sample, one, other, np.ones((4, 1), bool)).difference
    for name in ("value", "low", "high", "low_all", "high_all"):
        np.testing.assert_array_equal(getattr(found, name), getattr(family, name)[:, 0])


def test_every_family_of_all_candidates_lies_within() -> None:
    """With every label and pair the level is that of the whole family, compared at once."""
    sample = one_label(3)
    one, other = pairs()
    whole = compare(sample, one, other, np.ones((4, 3), bool)).difference
    for pair in range(3):
        gaps, _, _ = bounds_of(sample, [sample], pair)
        np.testing.assert_allclose(gaps.low_all, whole.low_all[:, pair], atol=1e-6)
        np.testing.assert_allclose(gaps.high_all, whole.high_all[:, pair], atol=1e-6)


def test_more_candidates_never_narrow_a_bound() -> None:
    sample = one_label(4, gap=0.3)
    few, some, _ = bounds_of(sample, [sample])
    many, wider, _ = bounds_of(sample, [sample, *(one_label(k, 0.3) for k in range(5, 11))])
    assert (many.low_all < few.low_all).all()
    assert (many.high_all > few.high_all).all()
    np.testing.assert_array_equal(many.low, few.low)
    for name in ("mean", "spread", "share"):
        before, after = getattr(some, name), getattr(wider, name)
        assert before.value == after.value
        assert after.low <= before.low
        assert after.high >= before.high


def test_the_mean_is_a_difference_of_two_rates_of_answers() -> None:
    sample = one_label(5)
    whole = s.answers(sample)
    rate = sample.events.sum(axis=0) / sample.n.sum(axis=0)
    np.testing.assert_allclose(whole.rate[0], rate)
    np.testing.assert_allclose(whole.rate[0], sample.rate.mean(axis=0))
    gaps, parts, among = bounds_of(sample, [sample])
    level = among.mean.level(0.95)
    low, high = difference_interval(whole, np.array([0]), np.array([1]), level)
    assert (parts.mean.low, parts.mean.high) == (low[0, 0], high[0, 0])
    assert parts.mean.value == pytest.approx(gaps.value.mean())
    # wordings that agree are worth little more than one of them
    alone = np.ptp(difference_interval(sample, np.array([0]), np.array([1]), level), axis=0)
    assert 0.7 * alone.mean() < parts.mean.high - parts.mean.low <= alone.mean() * 1.02


def test_few_events_keep_their_share_of_alpha_and_every_number_its_bounds() -> None:
    rare, common = one_label(6, -0.1), one_label(7)
    assert effective_events(rare).max() < ENOUGH
    gaps, parts, among = bounds_of(rare, [rare, common])
    assert (among.mean.size, among.mean.studentised) == (6, 3)
    assert (among.wordings.size, among.wordings.studentised) == (24, 12)
    low, _ = difference_interval(rare, np.array([0]), np.array([1]), 1 - 0.05 / 24)
    np.testing.assert_allclose(gaps.low_all, low[:, 0])
    assert parts.mean.low < parts.mean.value < parts.mean.high
    assert parts.spread.low == 0
    assert parts.spread.high > parts.spread.value
    assert (parts.share.low, parts.share.high) == (0, 1)
    # a gap of nearly all, with hardly an event left to move it
    sure = one_label(6, -0.1, gap=1.0)
    gaps, parts, _ = bounds_of(sure, [sure, common])
    least = gaps.low_all.mean()
    assert parts.share.low == pytest.approx(least**2 / (least**2 + parts.spread.high**2))
    assert 0.8 < parts.share.low < parts.share.value <= parts.share.high
    # nobody ever: nothing moves, and that is no certainty
    never = one_label(8, -1.0)
    gaps, parts, _ = bounds_of(never, [never, common])
    assert parts.mean.low < 0 < parts.mean.high
    assert (gaps.low_all < 0).all()


def test_a_spread_that_is_there_is_found_among_many() -> None:
    rng = np.random.default_rng(9)
    code = np.arange(900) % 3
    number = rng.random((900, 1))
    sway = np.array([0.0, 0.3, 0.0, 0.3, 0.0, 0.3])
    own = number < 0.3 + sway * (code[:, np.newaxis] == 0)
    sample = sample_of(own, code, np.arange(900), 3, 1, 300)
    others = [sample_of(rng.random((900, 6)) < 0.3, code, np.arange(900), 3, 1, 300) for _ in "ab"]
    _, parts, _ = bounds_of(sample, [sample, *others])
    assert parts.spread.low > 0.05
    assert parts.spread.low < sway.std(ddof=1) < parts.spread.high
    assert parts.share.low < 0.5 < parts.share.high
    assert parts.share.high - parts.share.low < 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        World((50,) * 7, labels=8, wordings=6),
        World((40, 25, 30), labels=4, wordings=4, pictures=(1, 5), generator="urn"),
    ],
)
def test_in_a_null_world_the_choice_is_paid_for(world: World) -> None:
    """The chosen gap has no small p and its bounds hold 0; as if it had been fixed, they don't."""
    worlds = 25
    found = [audited(world, seed, resamples=300) for seed in range(worlds)]

    def share(way: str, what: str) -> float:
        return float(np.mean([one[way][what] for one in found]))

    most = 0.05 + 2 * np.sqrt(0.05 * 0.95 / worlds)
    for way in ("chosen", "declared"):
        assert share(way, "p_median") <= most
        assert share(way, "p_large") <= most
        assert share(way, "false large") <= most
    assert share("chosen", "mean") >= 0.93
    assert share("chosen", "wordings") >= 0.93
    assert share("chosen", "spread") >= 0.93
    assert share("declared", "mean") >= 1 - most
    assert share("as if fixed", "p_median") > 0.2
    assert share("as if fixed", "mean") <= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [(1, 1), (1, 6)])
def test_a_planted_gap_is_found_among_many(pictures: tuple[int, int]) -> None:
    world = World((150,) * 5, labels=6, wordings=5, gap=2.0, pictures=pictures, own=0.3)
    found = [audited(world, seed, resamples=300)["chosen"] for seed in range(4)]
    assert all(one["found"] and one["p_median"] for one in found)
    assert all(one["mean"] and one["wordings"] for one in found)

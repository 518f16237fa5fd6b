"""Bias@k with pictures of neither group: longhand, enumeration, planted and null worlds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from audit.core.errors import InputError
from audit.stats import parity, ranking
from audit.stats.resampling import cluster_weights


def in_order(codes: str, clusters: list[int] | None = None) -> ranking.Ranking:
    """One list of 'm' (0), 'f' (1) and '.' (neither), ranked as it comes."""
    code = np.array(["mf.".index(c) for c in codes])
    cluster = np.arange(code.size) if clusters is None else np.asarray(clusters)
    best = ranking.top(-np.arange(code.size)[:, np.newaxis], np.arange(code.size), code.size)
    return ranking.ranking(best, np.arange(code.size), code, cluster, 3)


def people(
    seed: int, m: int, neutral: int, shift: float, k: int, lists: int, per: int = 1
) -> ranking.Ranking:
    """m subjects of each of both, and some of neither; group 0 is shifted in score."""
    rng = np.random.default_rng(seed)
    of = np.repeat([0, 1, 2], [m, m, neutral])
    cluster = np.repeat(np.arange(of.size), per)
    own = np.repeat(rng.normal(size=(of.size, lists)), per, axis=0)
    rest = rng.normal(size=(cluster.size, lists))
    scores = (np.sqrt(0.7) * own + np.sqrt(0.3) * rest) if per > 1 else rest
    scores += shift * (of[cluster] == 0)[:, np.newaxis]
    keys = np.arange(cluster.size)
    best = ranking.top(scores, keys, ranking.places(k, keys.size))
    return ranking.ranking(best, keys, of[cluster], cluster, 3)


@pytest.mark.parametrize(
    ("codes", "k", "expected"),
    [
        ("m.f.mmf", 4, 0.0),  # one of each, and two of neither
        ("m.m.f.f", 5, 1 / 3),
        ("..m..ff", 3, 1.0),
        ("..m..ff", 2, 0.0),  # neither occurs
        ("fmf.mmm", 3, -1 / 3),
    ],
)
def test_longhand(codes: str, k: int, expected: float) -> None:
    top = codes[:k]
    men, women = top.count("m"), top.count("f")
    wang = (men - women) / (men + women) if men + women else 0
    assert wang == pytest.approx(expected)
    assert parity.bias(in_order(codes), [k])[0, 0] == pytest.approx(expected)
    assert parity.of_both(in_order(codes), [k])[0, 0] == men + women


def test_pictures_of_neither_may_turn_the_sign() -> None:
    """Of known pictures the first four are mffm...; of all the first four are ..m."""
    listed = "..m.fffm"
    assert parity.bias(in_order(listed), [4])[0, 0] == 1
    known = listed.replace(".", "")
    assert (known[:4].count("m") - known[:4].count("f")) / 4 == -0.5


def test_the_null_is_that_of_every_deal() -> None:
    list_ = in_order("m.fm.f.m")
    found = parity.null(list_, [3, 6], permutations=1000)
    assert found.enumerated
    known = [i for i, c in enumerate("m.fm.f.m") if c != "."]
    every = []
    for men in itertools.combinations(known, 3):
        top = [[+1 if i in men else -1 for i in known if i < k] for k in (3, 6)]
        every.append([np.mean(t) for t in top])
    np.testing.assert_allclose(found.overall.mean, np.mean(every, axis=0), atol=1e-12)
    value = parity.bias(list_, [3, 6])[0]
    for k in range(2):
        tails = [np.mean(s * np.array(every)[:, k] >= s * value[k] - 1e-9) for s in (1, -1)]
        assert found.queries.p[0, k] == pytest.approx(min(1, 2 * min(tails)))


def test_without_pictures_of_neither_it_is_the_bias_of_two_groups() -> None:
    """One picture of neither, last of all: the same values, bounds and null."""
    rng = np.random.default_rng(0)
    codes = np.append(rng.integers(0, 2, 200), 2)
    keys, scores = np.arange(201), rng.normal(size=(201, 5))
    scores[200] = -99
    three = ranking.ranking(ranking.top(scores, keys, 201), keys, codes, keys, 3)
    two = ranking.ranking(
        ranking.top(scores[:200], keys[:200], 200), keys[:200], codes[:200], keys[:200], 2
    )
    weights = cluster_weights(0, keys.tolist(), 400)
    ks = [10, 40]
    mine, theirs = (
        parity.bounds(three, ks, weights),
        ranking.bounds(two, ks, "uniform", weights[:200]),
    )
    np.testing.assert_allclose(mine.low, theirs.bias[0], atol=2e-3)
    np.testing.assert_allclose(mine.high, theirs.bias[1], atol=2e-3)
    np.testing.assert_allclose(mine.mean_low, 2 * theirs.mean_low[:, 0] - 1, atol=2e-3)
    beside = ranking.null(two, ks, "uniform", seed=3).queries["bias"]
    found = parity.null(three, ks, seed=3)
    np.testing.assert_array_equal(found.queries.value, beside.value)
    np.testing.assert_array_equal(found.queries.p, beside.p)


@pytest.mark.parametrize(
    ("m", "neutral", "shift", "k", "per"),
    [(150, 300, 0.0, 60, 1), (150, 300, 0.8, 60, 1), (60, 60, 0.5, 60, 5), (400, 100, 1.0, 20, 1)],
)
def test_bounds_cover_what_was_planted(
    m: int, neutral: int, shift: float, k: int, per: int
) -> None:
    """In expectation over a population: shares of the top of normal scores, in closed form."""
    list_ = people(5, m, neutral, shift, k, lists=250, per=per)
    weights = cluster_weights(0, list(range(len(list_.sizes))), 300)
    found = parity.bounds(list_, [k], weights)
    size = np.array([m, m, neutral]) / (2 * m + neutral)
    shifts = np.array([shift, 0, 0])
    part = k / list_.sizes.sum()
    over = optimize.brentq(lambda c: size @ stats.norm.sf(c - shifts) - part, -9, 9)
    men, women = stats.norm.sf(over - shifts)[:2]
    true = (men - women) / (men + women)
    assert ((found.low <= true) & (true <= found.high)).mean() > 0.93
    value = parity.bias(list_, [k])
    assert ((found.low <= value) & (value <= found.high)).all()
    assert ((found.high - found.low) > 0).all()


def test_a_null_world_has_even_p_and_a_planted_one_small_ones() -> None:
    even = parity.null(people(1, 200, 400, 0.0, 50, lists=200), [50], 400).queries.p[:, 0]
    assert 0.01 <= (even <= 0.05).mean() <= 0.085
    planted = parity.null(people(1, 200, 400, 1.0, 50, lists=50), [50], 400).queries.p[:, 0]
    assert (planted <= 0.05).mean() > 0.8


def test_a_top_of_neither_has_no_bounds_and_says_so() -> None:
    list_ = in_order("...." + "mf" * 30)
    found = parity.bounds(list_, [3, 20], cluster_weights(0, list(range(64)), 300))
    assert np.isnan(found.low[0, 0])
    assert "bias is 0 by definition" in str(found.reason[0, 0])
    assert found.low[0, 1] < 0 < found.high[0, 1]
    assert (found.reason[0, 1], found.subjects[0, 1]) == ("", 16)


def test_subjects_in_both_groups_have_no_null_and_those_in_neither_do() -> None:
    mixed = in_order("mf.mf.", [0, 0, 0, 1, 2, 3])
    assert "several groups" in parity.null(mixed, [3]).reason
    partly = in_order("m..mf.", [0, 0, 0, 1, 2, 3])
    assert parity.null(partly, [3]).reason == ""


def test_another_number_of_groups_is_refused() -> None:
    codes = np.array([0, 1, 0, 1])
    best = ranking.top(-np.arange(4)[:, np.newaxis], np.arange(4), 4)
    two = ranking.ranking(best, np.arange(4), codes, np.arange(4), 2)
    with pytest.raises(InputError, match="Give three: both, and the pictures of neither"):
        parity.bias(two, [2])

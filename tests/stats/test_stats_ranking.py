"""Rankings: longhand definitions, published floors, enumeration, scipy, simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from audit.core.errors import InputError
from audit.stats import ranking
from audit.stats.resampling import cluster_weights

FAIRFACE_RACES = [2085, 1623, 1556, 1550, 1516, 1415, 1209]  # validation split


def in_order(codes, groups: int, clusters=None):
    """One list in which the pictures are ranked as they come."""
    code = np.asarray(codes)
    cluster = np.arange(code.size) if clusters is None else np.asarray(clusters)
    best = ranking.top(-np.arange(code.size)[:, np.newaxis], np.arange(code.size), code.size)
    return ranking.ranking(best, np.arange(code.size), code, cluster, groups)


def people(seed, m, per=1, shift=(), k=100, lists=200, alike=0.7, common=0.0):
    """Lists of m subjects a group with so many pictures each; groups are shifted in score."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(shift)), m)
    cluster = np.repeat(np.arange(of.size), per)
    inside = alike if per > 1 else 0.0

    def noise(columns):
        own = np.repeat(rng.normal(size=(of.size, columns)), per, axis=0)
        rest = rng.normal(size=(cluster.size, columns))
        return math.sqrt(inside) * own + math.sqrt(1 - inside) * rest

    scores = math.sqrt(common) * noise(1) + math.sqrt(1 - common) * noise(lists)
    scores += np.asarray(shift)[of[cluster]][:, np.newaxis]
    keys = np.arange(cluster.size)
    best = ranking.top(scores, keys, ranking.places(k, keys.size))
    return ranking.ranking(best, keys, of[cluster], cluster, len(shift))


def true_shares(shift, part):
    """Shares of groups of equal size in the top part of a population of normal scores."""
    shift = np.asarray(shift)
    over = optimize.brentq(lambda c: stats.norm.sf(c - shift).mean() - part, -9, 9)
    return stats.norm.sf(over - shift) / shift.size / part


# ---- the best places -----------------------------------------------------------------------------


def test_the_best_of_two_halves_are_the_best_of_all():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, (200, 6)) / 4  # ties everywhere
    keys = rng.permutation(1000)[:200]
    half = rng.random(200) < 0.4
    parts = [ranking.top(scores[at], keys[at], 30) for at in (half, ~half)]
    whole = ranking.top(scores, keys, 30)
    for merged in (parts[0] + parts[1], parts[1] + parts[0]):
        np.testing.assert_array_equal(merged.keys, whole.keys)
        np.testing.assert_array_equal(merged.scores, whole.scores)
        assert merged.seen == 200
    for q in range(6):
        by_hand = sorted(range(200), key=lambda i: (-scores[i, q], keys[i]))[:30]
        np.testing.assert_array_equal(whole.keys[q], keys[by_hand])


def test_few_pictures_fill_fewer_places_until_more_come():
    one = ranking.top([[0.5], [0.1]], [4, 7], 3)
    assert one.keys.tolist() == [[4, 7]]
    more = one + ranking.top([[0.3], [0.2]], [1, 2], 3)
    assert more.keys.tolist() == [[4, 1, 2]]
    with pytest.raises(ValueError, match="in both batches"):
        one + one
    with pytest.raises(ValueError, match="the same k"):
        one + ranking.top([[0.3]], [1], 2)


def test_single_precision_is_kept_and_memory_is_bounded_by_k():
    best = ranking.top(np.random.default_rng(1).random((500, 3), np.float32), np.arange(500), 8)
    assert best.scores.dtype == np.float32
    assert best.keys.shape == best.scores.shape == (3, 8)


# ---- measures ------------------------------------------------------------------------------------

TEN = [0, 0, 1, 0, 0, 1, 1, 1, 0, 1]


def test_measures_longhand():
    found = ranking.measures(in_order(TEN, 2), [4], "uniform", [3])
    assert found["share"][0, 0].tolist() == [0.75, 0.25]
    assert found["skew"][0, 0] == pytest.approx([math.log(1.5), math.log(0.5)])
    assert found["max_skew"][0, 0] == pytest.approx(math.log(1.5))
    assert found["min_skew"][0, 0] == pytest.approx(math.log(0.5))
    assert found["bias"][0, 0] == pytest.approx(0.5)
    assert found["entropy"][0, 0] == pytest.approx(-(0.75 * math.log2(0.75) - 0.5))
    z = 1 + 1 / math.log2(3) + 1 / 2
    divergence = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    by_hand = (math.log(2) + math.log(2) / math.log2(3) + divergence / 2) / z
    assert found["ndkl"][0, 0] == pytest.approx(by_hand)


def naive_ndkl(codes, target):
    total, z = 0.0, 0.0
    for i in range(1, len(codes) + 1):
        shares = [codes[:i].count(g) / i for g in range(len(target))]
        divergence = sum(p * math.log(p / t) for p, t in zip(shares, target, strict=True) if p)
        total += divergence / math.log2(i + 1)
        z += 1 / math.log2(i + 1)
    return total / z


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "n"), [(2, 40), (7, 1100), (30, 300)])
def test_ndkl_agrees_with_its_definition(groups, n):
    rng = np.random.default_rng(groups)
    codes = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)]).tolist()
    pool = np.bincount(codes) / n
    list_ = in_order(codes, groups)
    for target, shares in (("uniform", [1 / groups] * groups), ("dataset", pool.tolist())):
        found = ranking.measures(list_, [10], target, [n - 5, n])["ndkl"][0]
        assert found[0] == pytest.approx(naive_ndkl(codes[: n - 5], shares))
        assert found[1] == pytest.approx(naive_ndkl(codes, shares))


def test_a_group_that_is_missing_counts_as_one_picture():
    found = ranking.measures(in_order([0] * 5 + [1] * 5, 2), [4], "uniform")
    assert found["min_skew"][0, 0] == pytest.approx(math.log(1 / 4 / 0.5))
    assert found["share"][0, 0, 1] == 0
    assert found["entropy"][0, 0] == 0


def test_targets_have_names_or_are_given():
    list_ = in_order([0, 1, 1, 0, 0, 0, 0, 0], 2)
    skew = {
        name: ranking.measures(list_, [3], target)["skew"][0, 0]
        for name, target in (("u", "uniform"), ("d", "dataset"), ("given", [0.9, 0.1]))
    }
    assert skew["u"] == pytest.approx([math.log(2 / 3), math.log(4 / 3)])
    assert skew["d"] == pytest.approx([math.log(1 / 3 / 0.75), math.log(2 / 3 / 0.25)])
    assert skew["given"] == pytest.approx([math.log(1 / 3 / 0.9), math.log(2 / 3 / 0.1)])


def test_pictures_of_unknown_group_are_in_neither_list_nor_target():
    with_unknown = in_order([0, -1, 0, 1, -1, 1, 1, 0, -1, 1], 2)
    without = in_order([0, 0, 1, 1, 1, 0, 1], 2)
    assert with_unknown.pool.tolist() == [3, 4]
    one, other = (ranking.measures(x, [2, 5], "dataset") for x in (with_unknown, without))
    for name in one:
        np.testing.assert_allclose(one[name], other[name])
    with pytest.raises(InputError, match="7 of 7 pictures of known group"):
        ranking.measures(with_unknown, [7], "uniform")


def test_other_names_of_groups_give_the_same_measures():
    rng = np.random.default_rng(2)
    codes = np.concatenate([np.arange(4), rng.integers(0, 4, 96)])
    other = rng.permutation(4)
    one, two = (ranking.measures(in_order(c, 4), [20], "dataset") for c in (codes, other[codes]))
    np.testing.assert_allclose(one["share"][0, 0], two["share"][0, 0, other])
    for name in ("max_skew", "min_skew", "ndkl", "entropy"):
        np.testing.assert_allclose(one[name], two[name])


def test_k_of_everything_is_refused_because_it_is_blind():
    """A published helper takes k = everything: a totally skewed list then scores 0."""
    sorted_by_group = in_order([0] * 5 + [1] * 5, 2)
    with pytest.raises(InputError, match="the whole shows no ranking"):
        ranking.measures(sorted_by_group, [10], "uniform")
    assert ranking.measures(sorted_by_group, [5], "uniform")["max_skew"] == pytest.approx(
        math.log(2)
    )


# ---- beside chance -------------------------------------------------------------------------------


def test_ten_pictures_by_lot_score_what_visogender_never_subtracts():
    found = ranking.null(in_order(TEN, 2), [5], "uniform", [10])
    assert found.enumerated
    assert found.permutations == math.comb(10, 5)
    deals = [
        [int(i not in first) for i in range(10)] for first in itertools.combinations(range(10), 5)
    ]
    ndkl = [naive_ndkl(deal, [0.5, 0.5]) for deal in deals]
    assert found.queries["ndkl"].mean[0, 0] == pytest.approx(np.mean(ndkl))
    assert found.queries["ndkl"].mean[0, 0] == pytest.approx(0.235, abs=0.002)
    assert found.queries["max_skew"].mean[0, 0] == pytest.approx(0.245, abs=0.002)
    mine = naive_ndkl(TEN, [0.5, 0.5])
    expected = np.mean([x >= mine - 1e-12 for x in ndkl])
    assert found.queries["ndkl"].p[0, 0] == pytest.approx(expected)
    # five of ten can never be surer than this, whatever the ranking
    assert found.queries["max_skew"].smallest_p[0, 0] == pytest.approx(2 / 252)


def test_twenty_pictures_by_lot():
    found = ranking.null(in_order(TEN * 2, 2), [5], "uniform", [20], permutations=4000)
    assert not found.enumerated
    assert found.queries["ndkl"].mean[0, 0] == pytest.approx(0.167, abs=0.003)
    assert found.queries["max_skew"].mean[0, 0] == pytest.approx(0.278, abs=0.006)


@pytest.mark.slow
def test_seven_races_by_lot_have_the_published_floors():
    list_ = in_order(np.repeat(np.arange(7), FAIRFACE_RACES), 7)
    ks = [10, 100, 1000]
    uniform = ranking.null(list_, ks, "uniform", permutations=1500).queries
    assert uniform["max_skew"].mean[0] == pytest.approx([0.779, 0.372, 0.281], abs=0.015)
    assert uniform["max_skew"].high[0, 1:] == pytest.approx([0.599, 0.385], abs=0.03)
    assert uniform["entropy"].mean[0] == pytest.approx([0.815, 0.978, 0.993], abs=0.006)
    assert uniform["ndkl"].mean[0, 2] == pytest.approx(0.070, abs=0.004)
    dataset = ranking.null(list_, ks, "dataset", permutations=1500).queries
    assert dataset["max_skew"].mean[0] == pytest.approx([0.798, 0.310, 0.106], abs=0.015)
    assert dataset["ndkl"].mean[0, 2] == pytest.approx(0.056, abs=0.004)


def test_where_each_subject_has_one_picture_the_null_is_hypergeometric():
    codes = np.random.default_rng(3).permutation(np.repeat([0, 1], [400, 600]))
    list_ = in_order(codes, 2)
    found = ranking.null(list_, [50], "uniform", permutations=6000).queries["share"]
    chance = stats.hypergeom(1000, 400, 50)
    assert found.mean[0, 0, 0] == pytest.approx(0.4, abs=0.005)
    assert found.high[0, 0, 0] == pytest.approx(chance.ppf(0.95) / 50, abs=0.021)
    seen = round(found.value[0, 0, 0] * 50)
    expected = min(2 * min(chance.cdf(seen), chance.sf(seen - 1)), 1)
    assert found.p[0, 0, 0] == pytest.approx(expected, abs=0.04)


def test_whole_subjects_are_dealt_and_the_target_with_them():
    """Subjects of 3, 1, 2, 1, 2 pictures; every deal by hand."""
    clusters, of = [0, 0, 1, 2, 0, 3, 4, 2, 4], [0, 0, 1, 1, 1]
    list_ = in_order([of[c] for c in clusters], 2, clusters)
    found = ranking.null(list_, [4], "dataset")
    assert found.permutations == 10
    values, ndkl = [], []
    for first in itertools.combinations(range(5), 2):
        codes = [0 if c in first else 1 for c in clusters]
        pool = [codes.count(g) / 9 for g in (0, 1)]
        top = [max(codes[:4].count(g), 1) / 4 for g in (0, 1)]
        values.append(max(math.log(p / t) for p, t in zip(top, pool, strict=True)))
        ndkl.append(naive_ndkl(codes[:4], pool))
    assert found.queries["max_skew"].mean[0, 0] == pytest.approx(np.mean(values))
    assert found.queries["ndkl"].mean[0, 0] == pytest.approx(np.mean(ndkl))
    assert found.queries["ndkl"].high[0, 0] == pytest.approx(max(ndkl))
    assert found.movable == 5
    seen = naive_ndkl([0, 0, 0, 1], [4 / 9, 5 / 9])
    assert found.queries["ndkl"].excess[0, 0] == pytest.approx(seen - np.mean(ndkl))


def test_near_copies_of_a_subject_are_no_evidence():
    list_ = people(4, 20, per=10, shift=(0, 0), k=40, lists=100, alike=0.98)
    by_subject = ranking.null(list_, [40], "uniform", permutations=400)
    assert (by_subject.queries["max_skew"].p <= 0.05).mean() < 0.12
    # were pictures people, far too many of these lists by lot would be called skewed
    counts = np.round(by_subject.queries["share"].value[:, 0, 0] * 40)
    as_people = stats.hypergeom(400, 200, 40)
    assert (as_people.sf(np.maximum(counts, 40 - counts) - 1) * 2 <= 0.05).mean() > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["max_skew", "min_skew", "ndkl", "entropy", "share"])
def test_a_ranking_by_lot_is_seldom_called_skewed(name):
    list_ = people(5, 100, shift=(0, 0, 0), k=60, lists=300)
    found = ranking.null(list_, [60], "uniform", permutations=400).queries[name]
    p = found.p if name != "share" else found.p[..., 0]
    assert (p <= 0.05).mean() < 0.085
    assert found.excess.mean() == pytest.approx(0, abs=0.01)


def test_a_planted_skew_is_found_and_by_the_mean_over_queries_too():
    list_ = people(6, 80, shift=(0.8, 0, -0.4), k=50, lists=20)
    found = ranking.null(list_, [50], "uniform", permutations=400)
    assert (found.queries["max_skew"].p < 0.05).all()
    assert (found.queries["ndkl"].excess > 0).all()
    assert (found.queries["entropy"].excess < 0).all()
    assert found.overall["max_skew"].p[0] == found.overall["max_skew"].smallest_p[0]
    assert found.overall["max_skew"].p[0] == pytest.approx(1 / 401)
    assert found.overall["bias"].value.shape == (1,)
    assert np.isnan(found.overall["bias"].p[0])  # three groups have no bias@k


def test_groups_are_dealt_within_strata_only():
    codes = [0, 0, 1, 1, 0, 1, 0, 1]
    strata = [0, 0, 0, 0, 1, 1, 1, 1]
    list_ = in_order(codes, 2)
    found = ranking.null(list_, [4], "uniform", strata=strata)
    assert found.permutations == 36
    assert found.queries["share"].mean[0, 0].tolist() == [0.5, 0.5]
    assert found.queries["share"].high[0, 0, 0] == 0.5  # the first four stay two and two
    fixed = ranking.null(list_, [4], "uniform", strata=codes)
    assert "no cluster can change group" in fixed.reason
    assert fixed.queries["max_skew"].value[0, 0] == 0
    assert np.isnan(fixed.queries["max_skew"].p).all()


def test_subjects_in_several_groups_have_no_null_but_a_value():
    found = ranking.null(in_order([0, 1, 1, 0, 1, 0], 2, [0, 0, 1, 1, 2, 3]), [3], "uniform")
    assert found.reason == "a cluster has pictures in several groups"
    assert np.isfinite(found.queries["ndkl"].value).all()
    assert np.isnan(found.overall["ndkl"].p).all()


def test_the_same_seed_gives_the_same_null():
    list_ = people(7, 40, shift=(0, 0), k=20, lists=2)
    one, two, other = (
        ranking.null(list_, [20], "uniform", permutations=200, seed=s).queries["ndkl"].mean
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


# ---- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "per", "shift", "k"),
    [
        (200, 1, (0, 0, 0, 0, 0, 0, 0), 70),
        (300, 1, (1.0, 0.0), 60),
        (150, 1, (2.0, 1.0, 0.0), 60),
        (60, 5, (0.8, 0.3, 0.0), 60),
        (25, 8, (0, 0, 0, 0), 40),
    ],
)
def test_bounds_cover_what_was_planted(m, per, shift, k):
    list_ = people(8, m, per, shift, k, lists=250, alike=0.8)
    weights = cluster_weights(0, list(range(len(list_.sizes))), 300)
    found = ranking.bounds(list_, [k], "uniform", weights)
    assert found.reason == ""
    assert ((found.low <= found.share) & (found.share <= found.high)).all()
    true = true_shares(shift, k / list_.sizes.sum())
    together = ((found.low <= true) & (true <= found.high)).all(axis=2)
    assert together.mean() > 0.925
    largest = math.log(max(true) * len(shift)) + 0.0
    low, high = found.max_skew
    assert ((low <= largest + 1e-9) & (largest <= high)).mean() > 0.925
    value = ranking.measures(list_, [k], "uniform")["max_skew"]
    assert ((low <= value) & (value <= high)).all()


@pytest.mark.slow
def test_a_skew_is_shown_where_it_is_and_not_where_it_is_not():
    weights = cluster_weights(0, list(range(600)), 300)
    skewed = ranking.bounds(people(9, 200, shift=(1, 0, 0)), [100], "uniform", weights)
    even = ranking.bounds(people(9, 200, shift=(0, 0, 0)), [100], "uniform", weights)
    assert (skewed.max_skew[0] > 0.1).all()
    assert (skewed.min_skew[1] < 0).mean() > 0.8
    assert (even.max_skew[0] == 0).mean() > 0.95
    assert (even.min_skew[1] == 0).mean() > 0.95


@pytest.mark.slow
def test_the_mean_over_queries_is_surer_but_not_as_if_queries_were_subjects():
    weights = cluster_weights(0, list(range(400)), 300)
    held, narrower = [], []
    for seed in range(60):
        list_ = people(100 + seed, 200, shift=(0.5, 0), k=40, lists=8, common=0.7)
        found = ranking.bounds(list_, [40], "uniform", weights)
        true = true_shares((0.5, 0), 0.1)[0]
        held.append(found.mean_low[0, 0] <= true <= found.mean_high[0, 0])
        narrower.append(found.mean_high[0, 0] - found.mean_low[0, 0])
        widths = (found.high - found.low)[:, 0, 0]
    assert np.mean(held) > 0.88
    assert np.mean(narrower) < widths.mean()
    assert np.mean(narrower) > widths.mean() / math.sqrt(8)


def test_bias_has_bounds_for_two_groups_only():
    two = people(10, 50, shift=(0, 0), k=20, lists=3)
    found = ranking.bounds(two, [20], "uniform", cluster_weights(0, list(range(100)), 200))
    np.testing.assert_allclose(found.bias[0], 2 * found.low[..., 0] - 1)
    three = people(10, 50, shift=(0, 0, 0), k=20, lists=3)
    found = ranking.bounds(three, [20], "uniform", cluster_weights(0, list(range(150)), 200))
    assert np.isnan(found.bias).all()


def test_a_list_too_short_to_resample_has_no_bounds_and_says_so():
    rng = np.random.default_rng(11)
    codes, keys = np.arange(300) % 2, np.arange(300)
    short = ranking.top(rng.normal(size=(300, 2)), keys, 50)
    list_ = ranking.ranking(short, keys, codes, keys, 2)
    weights = cluster_weights(0, keys.tolist(), 200)
    found = ranking.bounds(list_, [10, 50], "uniform", weights)
    assert "ran out of places" in found.reason
    assert np.isfinite(found.low[:, 0]).all()
    assert np.isnan(found.low[:, 1]).all()
    assert np.isnan(found.max_skew[:, :, 1]).all()
    assert np.isnan(found.mean_low[1]).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: ranking.top([[1.0], [2.0]], [0, 0], 1), "two pictures with one key"),
        (lambda x: ranking.top([[math.nan]], [0], 1), "no number"),
        (lambda x: ranking.top([1.0, 2.0], [0, 1], 1), "(pictures, queries)"),
        (lambda x: ranking.top([[1.0]], [0], 0), "k of at least 1"),
        (lambda x: in_order([0, 2], 2), "from -1 (unknown) to 1"),
        (lambda x: in_order([0, 0, -1], 2), "no picture of group 1"),
        (lambda x: ranking.measures(x, [], "uniform"), "Give depths from 1"),
        (lambda x: ranking.measures(x, [10], "uniform"), "k must be below their number"),
        (lambda x: ranking.measures(x, [3], "unifrom"), "Did you mean 'uniform'"),
        (lambda x: ranking.measures(x, [3], [0.5, 0.6]), "in all 1"),
        (lambda x: ranking.null(x, [3], "uniform", permutations=0), "at least 1"),
        (lambda x: ranking.null(x, [3], "uniform", level=95), "such as 0.95"),
        (lambda x: ranking.null(x, [3], "uniform", strata=[0]), "one stratum a cluster"),
        (lambda x: ranking.bounds(x, [3], "uniform", np.ones((3, 9), np.uint8)), "of 3, sizes of"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(call, words):
    with pytest.raises(InputError) as caught:
        call(in_order(TEN, 2))
    assert words in str(caught.value)


def test_fewer_places_than_k_are_refused():
    best = ranking.top(np.random.default_rng(0).random((20, 1)), np.arange(20), 5)
    list_ = ranking.ranking(best, np.arange(20), np.arange(20) % 2, np.arange(20), 2)
    with pytest.raises(InputError, match="only 5 places of known group were kept"):
        ranking.measures(list_, [6], "uniform")
    with pytest.raises(InputError, match="has no key"):
        ranking.ranking(best, np.arange(100, 120), np.arange(20) % 2, np.arange(20), 2)

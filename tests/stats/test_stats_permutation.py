"""The permutation null against scipy, enumeration by hand, published figures and simulation."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from audit.core.errors import InputError
from audit.stats import deals, permutation


def by_hand(events, n, codes, strata, groups):
    """Ranges of all distinct deals in exact arithmetic, the observed deal's first."""
    places = [[i for i, s in enumerate(strata) if s == name] for name in sorted(set(strata))]
    orders = [sorted(set(itertools.permutations([codes[i] for i in where]))) for where in places]

    def span(deal):
        rates = []
        for group in range(groups):
            members = [i for i, code in enumerate(deal) if code == group]
            rates.append(Fraction(sum(events[i] for i in members), sum(n[i] for i in members)))
        return max(rates) - min(rates)

    ranges = []
    for chosen in itertools.product(*orders):
        deal = list(codes)
        for where, order in zip(places, chosen, strict=True):
            for i, code in zip(where, order, strict=True):
                deal[i] = code
        ranges.append(span(deal))
    return span(codes), ranges


def world(seed: int, clusters: int, questions: int, groups: int, base: float = 0.3):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 6, clusters)
    return (
        rng.binomial(n[:, None], base, (clusters, questions)),
        n,
        rng.integers(0, groups, clusters),
    )


def test_two_groups_agree_with_scipy():
    rng = np.random.default_rng(1)
    events = rng.integers(0, 9, (9, 1))
    codes = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    found = permutation.permuted_range(events, np.ones(9), codes, np.zeros(9), 2)
    expected = stats.permutation_test(
        (events[:4, 0], events[4:, 0]),
        lambda a, b, axis: np.abs(np.mean(a, axis=axis) - np.mean(b, axis=axis)),
        vectorized=True,
        alternative="greater",
        n_resamples=np.inf,
    )
    assert found.enumerated
    assert found.permutations == math.comb(9, 4) == len(expected.null_distribution)
    assert found.observed[0] == pytest.approx(expected.statistic)
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.mean[0] == pytest.approx(expected.null_distribution.mean())


@pytest.mark.slow
def test_strata_and_unlike_clusters_agree_with_enumeration_by_hand():
    rng = np.random.default_rng(2)
    codes, strata = [0, 1, 2, 0, 1, 0, 0, 1, 2, 1], [0, 0, 0, 0, 5, 5, 5, 5, 9, 9]
    n = rng.integers(1, 4, 10).tolist()
    events = rng.binomial(n, 0.5, (4, 10)).tolist()
    found = permutation.permuted_range(np.transpose(events), n, codes, strata, 3)
    assert found.permutations == 12 * 6 * 2
    least = []
    for row, x in enumerate(events):
        observed, ranges = by_hand(x, n, codes, strata, 3)
        assert found.observed[row] == pytest.approx(float(observed))
        assert found.p[row] == pytest.approx(sum(r >= observed for r in ranges) / len(ranges))
        assert found.mean[row] == pytest.approx(float(sum(ranges)) / len(ranges))
        assert found.high[row] == pytest.approx(float(sorted(ranges)[math.ceil(143 * 0.95)]))
        least.append(sum(r == max(ranges) for r in ranges) / len(ranges))
    assert found.smallest_p == pytest.approx(min(least))
    assert found.movable == 10


def test_ties_count_though_sums_round():
    """Tenths have no exact double: the observed gap, 0.2, is the least there is, so p is 1."""
    tenths, codes = [8, 6, 5, 3, 3, 1, 1, 1], np.array([0, 1, 1, 0, 1, 0, 0, 1])
    events = np.array(tenths)[:, None] / 10
    found = permutation.permuted_range(events, np.ones(8), codes, codes * 0, 2)
    observed, ranges = by_hand(tenths, [1] * 8, codes.tolist(), [0] * 8, 2)
    assert observed == min(ranges)
    assert found.p[0] == 1


def test_the_quantile_is_a_range_that_occurs():
    # six deals of 0, 1, 4, 9 in pairs: gaps of means 6, 3, 2, each twice
    found = permutation.permuted_range(
        [[0], [1], [4], [9]], np.ones(4), [0, 0, 1, 1], np.zeros(4), 2, level=0.25
    )
    assert found.high[0] == 3


@pytest.mark.slow
def test_drawn_permutations_come_near_all_and_add_one():
    events, n, codes = world(3, 14, 6, 3)
    strata = np.arange(14) % 2
    whole = permutation.permuted_range(events, n, codes, strata, 3, permutations=10**6)
    drawn = permutation.permuted_range(events, n, codes, strata, 3, permutations=4000)
    assert whole.enumerated
    assert not drawn.enumerated
    assert whole.permutations > 4000 == drawn.permutations
    np.testing.assert_allclose(drawn.p, whole.p, atol=0.03)
    np.testing.assert_allclose(drawn.mean, whole.mean, atol=0.01)
    assert drawn.smallest_p == 1 / 4001
    counts = drawn.p * 4001
    np.testing.assert_allclose(counts, np.round(counts))
    assert (counts >= 1).all()


def test_a_gap_beyond_chance_gets_the_smallest_p():
    codes = np.repeat([0, 1], 200)
    events = np.column_stack([codes, np.zeros(400)])
    found = permutation.permuted_range(events, np.ones(400), codes, np.zeros(400), 2, 99)
    assert found.p.tolist() == [0.01, 1.0]
    assert found.observed.tolist() == [1.0, 0.0]


def test_drops_agree_with_enumeration_by_hand():
    events = np.array([[3, 1], [2, 2], [1, 0], [0, 3], [2, 1], [1, 1], [4, 0]])
    n = np.array([[4, 3], [2, 3], [1, 2], [1, 3], [3, 3], [2, 1], [4, 2]])
    codes, strata = [0, 1, 2, 0, 1, 2, -1], [0, 0, 0, 1, 1, 1, 1]

    def span(deal):
        sides = [np.array(deal) == group for group in range(3)]
        drops = [-np.diff(events[s].sum(axis=0) / n[s].sum(axis=0))[0] for s in sides]
        return max(drops) - min(drops)

    orders = list(itertools.permutations(range(3)))
    spans = np.array([span([*a, *b, -1]) for a in orders for b in orders])
    found = permutation.permuted_drops(events, n, codes, strata, 3)
    assert (found.permutations, found.enumerated, found.movable) == (36, True, 6)
    assert found.observed[0] == pytest.approx(span(codes))
    assert found.mean[0] == pytest.approx(spans.mean())
    assert found.high[0] == pytest.approx(np.quantile(spans, 0.95, method="higher"))
    assert found.p[0] == pytest.approx((spans >= span(codes) - 1e-12).mean())


def test_drops_of_a_group_without_pictures_on_one_side_take_no_part():
    events, n = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[1, 1], [1, 1], [1, 0]])
    found = permutation.permuted_drops(events, n, [0, 1, 2], [0, 0, 1], 3)
    assert found.observed[0] == pytest.approx(2)
    with pytest.raises(InputError, match="two columns of each"):
        permutation.permuted_drops(events, n[:, :1], [0, 1, 2], [0, 0, 1], 3)


@pytest.mark.slow
def test_published_null_of_the_range_for_fairface():
    """Seven races at a base rate of 5 % and no disparity: mean 1.51, 95 % quantile 2.35 points."""
    sizes = [2085, 1623, 1516, 1550, 1556, 1415, 1209]
    codes = np.repeat(np.arange(7), sizes)
    events = (np.arange(sum(sizes)) % 20 == 0)[:, None]
    found = permutation.permuted_range(events, np.ones(codes.size), codes, codes * 0, 7, 1500)
    assert 100 * found.mean[0] == pytest.approx(1.51, abs=0.05)
    assert 100 * found.high[0] == pytest.approx(2.35, abs=0.12)


def null_world(seed: int):
    """Rates differ between strata and strata are mixed unlike over groups; groups do not matter."""
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 3, 120)
    codes = np.array([rng.choice(3, p=(0.7, 0.2, 0.1) if s else (0.1, 0.3, 0.6)) for s in strata])
    n = rng.integers(1, 5, 120)
    rates = rng.beta(4, 6, (120, 10)) * np.array([0.2, 0.6, 1.0])[strata][:, None]
    return rng.binomial(n[:, None], rates), n, codes, strata


@pytest.mark.slow
def test_p_is_uniform_where_nothing_but_chance_differs():
    stratified, loose = [], []
    for seed in range(100):
        events, n, codes, strata = null_world(seed)
        stratified.append(permutation.permuted_range(events, n, codes, strata, 3, 199, seed).p)
        loose.append(permutation.permuted_range(events, n, codes, strata * 0, 3, 199, seed).p)
    p = np.concatenate(stratified)
    # 1,000 p-values of 100 independent worlds; two-sided at about 1 in 1,000
    assert stats.kstest(p, "uniform").statistic < 1.95 / 1000**0.5 * 1.2
    assert 0.03 < (p <= 0.05).mean() < 0.07
    # the same bound fails where the strata are ignored
    assert (np.concatenate(loose) <= 0.05).mean() > 0.2


def test_where_groups_and_strata_coincide_nothing_can_move():
    events, n, codes = world(4, 30, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = permutation.permuted_range(events, n, codes, 10 + codes, 3)
    assert "no cluster can change group" in found.reason
    assert np.isnan(found.p).all()
    assert np.isnan([found.mean, found.high]).all()
    assert (found.observed > 0).all()
    assert (found.smallest_p, found.permutations, found.movable) == (1.0, 0, 0)


@pytest.mark.parametrize("usable", [[True, False, False], [False, False, False]])
def test_fewer_than_two_groups_have_no_range(usable):
    events, n, codes = world(5, 30, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = permutation.permuted_range(events, n, codes, codes * 0, 3, usable=usable)
    assert found.reason == "fewer than two groups to compare"
    assert np.isnan([found.observed, found.p]).all()


def test_no_clusters_at_all():
    found = permutation.permuted_range(np.empty((0, 2)), np.empty(0), [], [], 2)
    assert found.reason == "fewer than two groups to compare"
    assert found.p.shape == (2,)


def test_clusters_of_a_lone_stratum_stay_but_count():
    """Cluster 4 cannot move; its pictures are in every deal's rate of group 0."""
    events, n = [[3], [1], [0], [2], [9]], [4, 2, 1, 3, 10]
    codes, strata = [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]
    found = permutation.permuted_range(events, n, codes, strata, 2)
    observed, ranges = by_hand([3, 1, 0, 2, 9], n, codes, strata, 2)
    assert found.movable == 4
    assert found.permutations == 6
    assert found.mean[0] == pytest.approx(float(sum(ranges)) / 6)
    assert found.p[0] == pytest.approx(sum(r >= observed for r in ranges) / 6)


def test_unknown_and_unusable_groups_take_no_part():
    events, n, codes = world(6, 80, 3, 4)
    strata = np.arange(80) % 2
    codes[::9] = -1
    found = permutation.permuted_range(
        events, n, codes, strata, 4, 300, usable=[True, False, True, True]
    )
    kept = (codes >= 0) & (codes != 1)
    names = np.array([0, -1, 1, 2])[codes[kept]]
    alone = permutation.permuted_range(events[kept], n[kept], names, strata[kept], 3, 300)
    np.testing.assert_array_equal(found.p, alone.p)
    np.testing.assert_array_equal(found.observed, alone.observed)
    np.testing.assert_array_equal(found.high, alone.high)


def test_a_question_has_the_same_null_in_any_company():
    events, n, codes = world(7, 90, 5, 3)
    whole = permutation.permuted_range(events, n, codes, codes * 0, 3, 250, seed=4)
    alone = permutation.permuted_range(events[:, 2:3], n, codes, codes * 0, 3, 250, seed=4)
    again = permutation.permuted_range(events, n, codes, codes * 0, 3, 250, seed=5)
    assert (whole.p[2], whole.high[2]) == (alone.p[0], alone.high[0])
    assert whole.mean[2] == pytest.approx(alone.mean[0], rel=1e-12)
    assert (whole.mean != again.mean).all()


def test_renaming_groups_and_pictures_per_question_change_nothing():
    events, n, codes = world(8, 8, 3, 2)
    codes[:2] = [0, 1]
    found = permutation.permuted_range(events, n, codes, codes * 0, 2)
    each = np.repeat(n[:, None], 3, axis=1)
    renamed = permutation.permuted_range(events, each, 3 - 2 * codes, codes * 0 + 7, 5)
    np.testing.assert_allclose(renamed.p, found.p)
    np.testing.assert_allclose(renamed.mean, found.mean)


def test_a_question_not_asked_of_a_group_leaves_that_group_out():
    """Question 0 was asked in groups 0 and 1 only, question 1 in group 0 only, 2 of everyone."""
    codes = np.repeat([0, 1, 2], 20)
    n = np.column_stack([codes < 2, codes < 1, codes < 3]).astype(int)
    events = n * (np.arange(60) % (3 + codes) == 0)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = permutation.permuted_range(events, n, codes, codes * 0, 3, 100)
    assert found.observed[0] == pytest.approx(abs(7 / 20 - 5 / 20))
    assert np.isnan([found.observed[1], found.p[1], found.mean[1], found.high[1]]).all()
    assert 0 < found.p[2] <= 1
    assert not found.reason


def test_a_deal_that_leaves_one_group_with_pictures_shows_no_gap():
    """Asked of clusters 0 and 2 only: two of the six deals put both into one group."""
    found = permutation.permuted_range(
        [[1], [0], [0], [0]], [[1], [0], [1], [0]], [0, 0, 1, 1], np.zeros(4), 2
    )
    assert found.observed[0] == 1
    assert found.p[0] == pytest.approx(4 / 6)
    assert found.mean[0] == pytest.approx(4 / 6)


def test_sparse_and_dense_tables_and_small_blocks_agree(monkeypatch):
    events, n, codes = world(9, 60, 8, 3, base=0.03)
    arguments = (events, n, codes, codes * 0, 3, 200)
    found = permutation.permuted_range(*arguments)
    for where, name, value in (
        (permutation, "_SPARSE_BELOW", 0.0),
        (permutation, "_SPARSE_BELOW", 2.0),
        (deals, "_PLACES_KEPT", 0),
        (deals, "_PLACES_AT_ONCE", 150),
    ):
        monkeypatch.setattr(where, name, value)
        other = permutation.permuted_range(*arguments)
        np.testing.assert_array_equal(found.p, other.p)
        np.testing.assert_array_equal(found.mean, other.mean)


def test_all_deals_are_counted_before_they_are_dealt():
    """Two strata: 4!/(2! 2!) x 3 = 18 deals; gone through up to that number, drawn below it."""
    codes, strata = [0, 0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1]
    events = np.arange(7)[:, None]
    at_most = permutation.permuted_range(events, np.full(7, 9), codes, strata, 2, 18)
    too_many = permutation.permuted_range(events, np.full(7, 9), codes, strata, 2, 17)
    assert (at_most.enumerated, at_most.permutations) == (True, 18)
    assert (too_many.enumerated, too_many.permutations) == (False, 17)
    first_stratum_only = permutation.permuted_range(events, np.full(7, 9), codes, strata, 2, 6)
    assert not first_stratum_only.enumerated


@pytest.mark.parametrize("groups", [2, 3])
def test_all_deals_are_the_same_in_blocks_of_any_size(monkeypatch, groups):
    """Two strata, so that blocks end in the middle of the second one's orders."""
    rng = np.random.default_rng(groups)
    codes, strata = np.resize(np.arange(groups), 9), np.repeat([0, 1], [5, 4])
    events = rng.integers(0, 3, (9, 2)).astype(float)
    arguments = (events, np.full(9, 3), codes, strata, groups, 20_000)
    dealt, found = [], []
    for step in (1, 7, 1024):
        monkeypatch.setattr(deals, "_DEALS_AT_ONCE", step)
        blocks = list(permutation.dealt_sums(*arguments).sums)
        assert max(map(len, blocks)) <= step
        dealt.append(np.concatenate(blocks))
        found.append(permutation.permuted_range(*arguments))
    assert len(dealt[0]) > 14
    for other, null in zip(dealt[1:], found[1:], strict=True):
        np.testing.assert_array_equal(other, dealt[0])
        np.testing.assert_array_equal(null.p, found[0].p)
        assert null.smallest_p == found[0].smallest_p


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"codes": [0, 2]}, "codes from 0 to 2. They must be from -1 to 1"),
        ({"codes": [0, -2]}, "codes from -2 to 0"),
        ({"n": [1, 1, 1]}, "one row of each a cluster"),
        ({"events": [1, 0]}, "one row of each a cluster"),
        ({"strata": [0]}, "one row of each a cluster"),
        ({"n": [1, -1]}, "an n below 0"),
        ({"events": [[np.nan], [1]]}, "not finite"),
        ({"permutations": 0}, "0 permutations"),
        ({"groups": 0}, "0 groups"),
        ({"usable": [True]}, "there are 2 groups"),
        ({"level": 95}, "not strictly between 0 and 1"),
    ],
)
def test_refusals(changed, says):
    arguments = {"events": [[1], [0]], "n": [1, 1], "codes": [0, 1], "strata": [0, 0], "groups": 2}
    with pytest.raises(InputError) as error:
        permutation.permuted_range(**(arguments | changed))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("clusters", "codes", "whole"),
    [
        (["a", "a", "b", "b"], [0, 0, 1, 1], True),
        (["a", "a", "b", "b"], [0, 1, 1, 1], False),
        (["a", "a", "b", "b"], [3, -1, 1, 1], True),
        ([7, 8, 7], [2, 2, 0], False),
        (np.array(["a", 1, "1"], dtype=object), [0, 0, 0], True),
        ([], [], True),
    ],
)
def test_whole_clusters(clusters, codes, whole):
    assert permutation.whole_clusters(clusters, codes) is whole


def test_whole_clusters_refuses_unlike_lengths():
    with pytest.raises(InputError, match="one of each a picture"):
        permutation.whole_clusters(["a"], [0, 1])


@pytest.mark.parametrize("groups", [2, 3, 12])
@pytest.mark.parametrize("rate", [0.02, 0.6])
def test_whole_numbers_of_few_bytes_deal_the_same_sums(groups: int, rate: float) -> None:
    rng = np.random.default_rng(5)
    n = rng.integers(1, 200, size=90)
    events = rng.binomial(n[:, np.newaxis], rate, size=(90, 40)) * (rng.random((90, 40)) < rate)
    codes, strata = rng.integers(-1, groups, size=90), rng.integers(0, 2, size=90)
    one, other = (
        permutation.dealt_sums(x, size, codes, strata, groups, 60, 3)
        for x, size in ((events.astype(float), n), (events.astype(np.uint8), n.astype(np.uint8)))
    )
    for mine, theirs in zip(one.sums, other.sums, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("clusters", "every"), [(7, True), (40, False)])
def test_dealt_codes_are_the_deals_of_the_sums(clusters: int, every: bool) -> None:
    rng = np.random.default_rng(2)
    codes = rng.permutation(np.resize([-1, 0, 1, 2], clusters))
    strata, events = np.arange(clusters) % 2, rng.integers(0, 9, (clusters, 3)).astype(float)
    found = permutation.dealt_codes(codes, strata, 3, 200, 4)
    dealt = permutation.dealt_sums(events, np.ones(clusters), codes, strata, 3, 200, 4)
    sums = np.concatenate(list(dealt.sums))[:, :, :3]
    mine = np.stack([(found.codes == g) @ events for g in range(3)], axis=1)
    np.testing.assert_allclose(mine, sums)
    assert (found.enumerated, found.movable, found.reason) == (every, dealt.movable, "")
    assert (found.codes[:, codes < 0] == -1).all()


def test_codes_that_cannot_move_say_why() -> None:
    found = permutation.dealt_codes([0, 0, 1], [0, 0, 1], 2)
    assert (len(found.codes), found.movable) == (0, 0)
    assert "within every stratum all clusters are of one group" in found.reason
    with pytest.raises(InputError, match="codes from 0 to 5"):
        permutation.dealt_codes([0, 5], [0, 0], 2)

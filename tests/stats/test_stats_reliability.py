"""Calibration: longhand, statsmodels and planted worlds, calibrated or not, with clusters."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from audit.core.errors import InputError
from audit.stats.intervals import wilson
from audit.stats.reliability import (
    FEW,
    calibration_null,
    overconfidence,
    overconfidence_gaps,
    reliability,
)

NAMES = ("n", "clusters", "accuracy", "mean_score", "value", "low", "high", "few")


def world(seed, clusters, each, over=0.0, groups=2):
    """Pictures of a model that is right with probability score - over, subjects alike by half."""
    rng = np.random.default_rng(seed)
    score = rng.beta(4, 2, (clusters, each))
    common = rng.random((clusters, 1))
    luck = np.where(rng.random((clusters, each)) < 0.5, common, rng.random((clusters, each)))
    correct = luck < score - over
    group = rng.integers(0, groups, (clusters, each)).ravel()
    member = np.column_stack([np.ones(group.size, bool), *(group == k for k in range(groups))])
    return score.ravel(), correct.ravel(), member, np.repeat(np.arange(clusters), each)


def all_arrays(result):
    """Every array of a result, by name."""
    for outer in ("overconfidence", "null", "bins"):
        part = getattr(result, outer)
        yield from ((f"{outer}.{name}", getattr(part, name)) for name in vars(part))
    yield from (("ece", result.ece), ("above", result.above))


# ---- the calibration error ---------------------------------------------------------------------


def test_longhand():
    # bins (0, .5] and (.5, 1]: two pictures at .2 and .5, one right; three at .6, .8, 1, two right
    score, correct = [0.2, 0.5, 0.6, 0.8, 1.0], [0, 1, 1, 0, 1]
    r = reliability(score, correct, np.ones((5, 1)), range(5), bins=2, resamples=0)
    np.testing.assert_array_equal(r.bins.n, [[2, 3]])
    np.testing.assert_allclose(r.bins.mean_score, [[0.35, 0.8]])
    np.testing.assert_allclose(r.bins.share_correct, [[1 / 2, 2 / 3]])
    np.testing.assert_allclose(r.ece, 2 / 5 * (0.5 - 0.35) + 3 / 5 * (0.8 - 2 / 3))
    np.testing.assert_allclose(r.overconfidence.value, (3.1 - 3) / 5)
    np.testing.assert_allclose((r.bins.low, r.bins.high), wilson([[1, 2]], [[2, 3]]))
    assert np.isnan([*r.null.mean, *r.null.high, *r.above]).all()


def test_groups_may_overlap_and_each_equals_itself_alone():
    score, correct, member, clusters = world(1, 60, 3)
    whole = reliability(score, correct, member, clusters, bins=7, resamples=0)
    for group, here in enumerate(member.T):
        slow = sum(
            abs((score[b] - correct[b]).sum())
            for low, high in zip(whole.bins.edges, whole.bins.edges[1:], strict=False)
            for b in [here & (score > low) & (score <= high)]
        )
        assert whole.ece[group] == pytest.approx(slow / here.sum(), rel=1e-12)
        alone = reliability(
            score[here], correct[here], np.ones((here.sum(), 1)), clusters[here], 7, resamples=0
        )
        for name in ("low", "high", "clusters", "share_correct"):
            np.testing.assert_allclose(
                getattr(whole.bins, name)[group], getattr(alone.bins, name)[0], rtol=1e-12
            )


def test_edges_belong_to_the_bin_below_and_zero_to_the_first():
    r = reliability([0, 0.25, 0.5, 1], [0, 0, 1, 1], np.ones((4, 1)), range(4), 4, resamples=0)
    np.testing.assert_array_equal(r.bins.n, [[2, 1, 0, 1]])


# ---- its null ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_null_of_one_bin_has_a_known_mean():
    # 4 pictures at 0.5 in one bin: E|X - 2| / 4 for X ~ Binomial(4, 0.5)
    expected = sum(abs(x - 2) / 4 * binom.pmf(x, 4, 0.5) for x in range(5))
    null = calibration_null(np.full(4, 0.5), np.ones((4, 1)), range(4), bins=1, resamples=20_000)
    assert null.mean[0] == pytest.approx(expected, abs=0.005)
    # of one subject, decided by one draw: always 2 too many or too few
    one = calibration_null(np.full(4, 0.5), np.ones((4, 1)), np.zeros(4), bins=1, resamples=20_000)
    assert one.mean[0] == pytest.approx(0.5)
    assert one.mean_independent[0] == pytest.approx(expected, abs=0.005)


def test_small_groups_look_badly_calibrated_when_they_are_not():
    rng = np.random.default_rng(3)
    score = rng.beta(4, 2, 4_000)
    member = np.column_stack([np.arange(4_000) < 30, np.ones(4_000, bool)])
    null = calibration_null(score, member, range(4_000), resamples=200)
    assert null.mean[0] > 0.12
    assert null.mean[1] < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("dependent", [False, True])
def test_calibrated_models_exceed_the_quantile_at_the_stated_rate(dependent):
    audits, over = 500, 0
    rng = np.random.default_rng(4)
    score, clusters = rng.beta(4, 2, 120), np.repeat(np.arange(40), 3)
    member = np.ones((120, 1), bool)
    null = calibration_null(score, member, clusters, resamples=2_000)
    assert null.high[0] > null.high_independent[0]
    limit = null.high[0] if dependent else null.high_independent[0]
    for _ in range(audits):
        luck = rng.random(40)[clusters] if dependent else rng.random(120)
        over += reliability(score, luck < score, member, clusters, resamples=0).ece[0] > limit
    assert 0.02 < over / audits < 0.08  # 5 % plus or minus three Monte Carlo errors


def test_the_quantile_needs_enough_simulations():
    score, _, member, clusters = world(5, 20, 1)
    assert np.isnan(calibration_null(score, member, clusters, resamples=18).high).all()
    assert np.isfinite(calibration_null(score, member, clusters, resamples=19).high).all()


# ---- overconfidence ----------------------------------------------------------------------------


@pytest.mark.parametrize("each", [1, 6])
def test_interval_is_that_of_statsmodels(each):
    score, correct, member, clusters = world(6, 80, each, over=0.1)
    got = overconfidence(score, correct, member, clusters, level=0.9)
    assert not got.few.any()
    for group, here in enumerate(member.T):
        error = score[here] - correct[here]
        fit = sm.OLS(error, np.ones(here.sum())).fit(
            cov_type="cluster", cov_kwds={"groups": clusters[here]}, use_t=True
        )
        assert got.value[group] == pytest.approx(fit.params[0], rel=1e-10)
        np.testing.assert_allclose(
            (got.low[group], got.high[group]), fit.conf_int(0.1)[0], rtol=1e-9
        )


def test_a_constant_score_is_covered_at_every_accuracy():
    # a group for every number of errors of 100: coverage without simulation
    n, errors = 100, np.arange(101)
    correct = (np.arange(n) >= errors[:, None]).ravel()
    member = np.repeat(np.eye(101, dtype=bool), n, axis=0)
    got = overconfidence(np.full(n * 101, 0.9), correct, member, np.arange(n * 101))
    np.testing.assert_array_equal(got.few, np.minimum(errors, n - errors) < FEW)
    for rate in (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.3, 0.5, 0.97):
        truth = 0.9 - (1 - rate)
        covered = (got.low <= truth) & (truth <= got.high)
        assert binom.pmf(errors, n, rate) @ covered >= 0.93, rate


def test_a_planted_overconfident_group_is_found_and_the_others_are_not():
    score, correct, member, clusters = world(7, 400, 4, groups=3)
    luck = np.random.default_rng(7).random(score.size)
    correct = np.where(member[:, 2], luck < score - 0.2, correct)
    r = reliability(score, correct, member, clusters)
    assert r.overconfidence.low[2] < 0.2 < r.overconfidence.high[2]
    assert r.overconfidence.low[2] > 0.1
    assert r.ece[2] > r.null.high[2]
    for calibrated in (1, 3):
        assert r.overconfidence.low[calibrated] < 0 < r.overconfidence.high[calibrated]
        assert r.ece[calibrated] <= r.null.high[calibrated]
    value, low, high = overconfidence_gaps(score, correct, member[:, 1:], clusters)
    assert low[1, 0] > 0.05
    assert high[0, 1] == pytest.approx(-low[1, 0])
    assert low[2, 0] < 0 < high[2, 0]
    assert np.isnan(np.diag(low)).all()
    assert value[1, 0] == pytest.approx(-value[0, 1])


def test_subjects_wholly_dependent_widen_the_interval():
    score, correct, member, clusters = world(8, 50, 1)
    copies = [np.repeat(a, 8, axis=0) for a in (score, correct, member)]
    assert (
        overconfidence(*copies, np.arange(400)).low[0]
        > overconfidence(*copies, np.repeat(clusters, 8)).low[0] + 0.02
    )


def test_gap_of_groups_that_share_their_subjects_is_the_paired_interval():
    rng = np.random.default_rng(9)
    score, person = rng.beta(4, 2, 200), np.tile(np.arange(100), 2)
    correct = rng.random(100)[person] < 0.6
    member = np.column_stack([np.arange(200) < 100, np.arange(200) >= 100])
    _, low, high = overconfidence_gaps(score, correct, member, person)
    error = score - correct
    paired = sm.OLS(error[:100] - error[100:], np.ones(100)).fit()
    np.testing.assert_allclose((low[0, 1], high[0, 1]), paired.conf_int()[0], rtol=1e-9)
    apart = overconfidence_gaps(score, correct, member, np.arange(200))
    assert (apart[2] - apart[1])[0, 1] > 1.3 * (high - low)[0, 1]


@pytest.mark.slow
def test_gaps_of_calibrated_groups_are_seldom_shown():
    shown = 0
    for seed in range(200):
        score, correct, member, clusters = world(100 + seed, 120, 2, groups=4)
        _, low, _ = overconfidence_gaps(score, correct, member[:, 1:], clusters)
        shown += np.nanmax(low) > 0
    assert shown / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


# ---- what must not matter ----------------------------------------------------------------------


@pytest.mark.slow
@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_order_of_pictures_is_irrelevant(seed):
    arrays = world(seed, 12, 4)
    shuffled = np.random.default_rng(seed).permutation(48)
    one = reliability(*arrays, resamples=25)
    other = reliability(*(a[shuffled] for a in arrays), resamples=25)
    for (name, a), (_, b) in zip(all_arrays(one), all_arrays(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12, err_msg=name)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_duplicating_every_picture_moves_nothing_that_claims_certainty(seed, times):
    arrays = world(seed, 30, 2)
    one = reliability(*arrays, resamples=40)
    copied = reliability(*(np.repeat(a, times, axis=0) for a in arrays), resamples=40)
    same = {f"overconfidence.{name}" for name in NAMES} - {"overconfidence.n"}
    same |= {"bins.low", "bins.high", "bins.share_correct", "ece", "null.mean", "null.high"}
    for (name, a), (_, b) in zip(all_arrays(one), all_arrays(copied), strict=True):
        if name in same:
            np.testing.assert_allclose(a, b, atol=1e-12, err_msg=name)
    assert (copied.null.mean_independent < one.null.mean_independent).all()


def test_a_seed_gives_the_same_null_and_another_seed_another():
    score, _, member, clusters = world(10, 40, 2)
    nulls = [calibration_null(score, member, clusters, seed=s).mean[0] for s in (1, 1, (1, 7))]
    assert nulls[0] == nulls[1] != nulls[2]


def test_clusters_may_be_names():
    score, correct, member, clusters = world(11, 20, 3)
    names = np.array([f"s{c:03}" for c in clusters], dtype=object)
    one, other = (reliability(score, correct, member, c, resamples=30) for c in (clusters, names))
    for (name, a), (_, b) in zip(all_arrays(one), all_arrays(other), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


# ---- little and wrong input --------------------------------------------------------------------


def test_too_little_to_say_anything_is_nan_without_a_warning():
    # groups: empty, one picture, one subject, all right at one score
    score = np.array([0.9, 0.9, 0.9, 0.9, 0.4])
    member = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = reliability(score, [1, 1, 1, 0, 0], member, [0, 1, 2, 3, 3], resamples=20)
        gaps = overconfidence_gaps(score, [1, 1, 1, 0, 0], member, [0, 1, 2, 3, 3])
        none = reliability([], [], np.zeros((0, 2)), [], resamples=20)
    o = r.overconfidence
    np.testing.assert_array_equal(o.n, [0, 1, 2, 3])
    np.testing.assert_allclose(o.value, [np.nan, 0.4, 0.65, -0.1])
    np.testing.assert_array_equal(np.isnan(o.low), [True, True, True, False])
    # three of three right at one score: no spread, and still no certainty
    assert o.low[3] == pytest.approx(-0.1)
    assert o.high[3] == pytest.approx(0.9 - 0.025 ** (1 / 3))
    assert np.isnan(r.ece[0])
    assert np.isfinite(r.ece[1:]).all()
    assert np.isnan(gaps[1]).all()
    assert np.isnan(none.ece).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0.5, 1.2], [1, 1], np.ones((2, 1)), [0, 1]), "1.2 is not a probability"),
        (([0.5, np.nan], [1, 1], np.ones((2, 1)), [0, 1]), "nan is not a probability"),
        (([0.5, 0.5], [1], np.ones((2, 1)), [0, 1]), "one of each"),
        (([0.5, 0.5], [1, 1], np.ones(2), [0, 1]), "one of each"),
        (([0.5, 0.5], [1, 1], np.ones((2, 1)), [0, 1], 0), "at least one bin"),
        (([0.5, 0.5], [1, 1], np.ones((2, 1)), [0, 1], 15, 95), "not 95"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence(arguments, said):
    with pytest.raises(InputError, match=said):
        reliability(*arguments)

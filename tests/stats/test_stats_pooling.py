"""Corrected spread and partial pooling against statsmodels, longhand and simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.meta_analysis import combine_effects

from audit.core.errors import InputError
from audit.stats import pooling


def crossed(*sizes: int) -> np.ndarray:
    return np.array(np.meshgrid(*map(range, sizes), indexing="ij")).reshape(len(sizes), -1)


def cells(seed: int, questions: int, *sizes: int):
    """Rates scattered wide around main effects, unlike variances."""
    rng = np.random.default_rng(seed)
    factors = crossed(*sizes)
    main = sum(rng.normal(0, 0.05, size)[codes] for size, codes in zip(sizes, factors, strict=True))
    variance = np.exp(rng.normal(-7, 1, (questions, factors.shape[1])))
    rate = 0.5 + main + rng.normal(0, np.sqrt(variance + 0.002))
    return rate, variance, factors


def dummies(factors: np.ndarray) -> np.ndarray:
    """Intercept and all levels but the first of each factor: an independent full-rank design."""
    columns = [np.ones(factors.shape[1])]
    columns += [codes == level for codes in factors for level in np.unique(codes)[1:]]
    return np.column_stack(columns).astype(float)


# between_group_sd


def test_spread_longhand():
    # rates 0.1, 0.2, 0.6: mean 0.3, S² = (0.04 + 0.01 + 0.09) / 2 = 0.07; mean variance 0.02
    found = pooling.between_group_sd([0.1, 0.2, 0.6], [0.01, 0.02, 0.03])
    assert found.raw == pytest.approx(0.07**0.5)
    assert found.value == pytest.approx(0.05**0.5)
    assert np.isnan([found.low, found.high]).all()


def test_spread_interval_longhand():
    """Replicated S² of two rates is half their squared gap: 0.5 (0.4 + d)² - 2 x 0.01."""
    gaps = np.arange(-0.3, 0.31, 0.1)
    deviations = np.column_stack([np.zeros(7), gaps])
    found = pooling.between_group_sd([0.1, 0.5], [0.01, 0.01], deviations, level=0.5)
    doubly = 0.5 * (0.4 + gaps) ** 2 - 0.02
    expected = np.sqrt(np.maximum(np.quantile(doubly, [0.25, 0.75]), 0))
    np.testing.assert_allclose([found.low, found.high], expected)
    assert found.value == pytest.approx((0.5 * 0.4**2 - 0.01) ** 0.5)


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_corrected_variance_is_right_on_average_and_the_raw_one_is_not(spread):
    rng = np.random.default_rng(5)
    n = np.array([30, 60, 200, 500, 1000])
    base = 0.2 + spread * np.array([-0.05, -0.02, 0.0, 0.03, 0.04])
    rate = rng.binomial(n, base, (40_000, 5)) / n
    variance = rate * (1 - rate) / (n - 1)
    raw = pooling.between_group_sd(rate, variance).raw ** 2
    corrected = raw - variance.mean(axis=1)
    error = corrected.std() / len(rate) ** 0.5
    assert abs(corrected.mean() - base.var(ddof=1)) < 3.5 * error
    assert raw.mean() - base.var(ddof=1) > 20 * error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "spread", "least", "most"),
    [(14, 0.0, 0.97, 1.0), (14, 1.0, 0.97, 1.0), (7, 5.0, 0.92, 0.98), (14, 5.0, 0.92, 0.98)],
)
def test_spread_interval_covers(groups, spread, least, most):
    rng = np.random.default_rng(6)
    variance = 0.16 / np.exp(rng.normal(6, 1, groups))
    shape = rng.normal(size=groups)
    truth = spread * variance.mean() ** 0.5
    rate = 0.3 + truth * (shape - shape.mean()) / shape.std(ddof=1)
    rate = rate + rng.normal(size=(800, groups)) * np.sqrt(variance)
    deviations = rng.normal(size=(300, 800, groups)) * np.sqrt(variance)
    found = pooling.between_group_sd(rate, np.broadcast_to(variance, rate.shape), deviations)
    covered = ((found.low <= truth + 1e-12) & (truth <= found.high)).mean()
    assert least <= covered <= most


@pytest.mark.parametrize("groups", [2, 7, 14])
def test_groups_that_hardly_differ_have_an_interval_of_some_width(groups):
    """Differing less than noise would have it is no proof of no spread at all."""
    rng = np.random.default_rng(11)
    v = 0.1 * 0.9 / 300
    rate = 0.1 + rng.normal(size=(200, groups)) * np.sqrt(v) * np.linspace(0, 0.5, 200)[:, None]
    deviations = rng.normal(size=(300, 200, groups)) * np.sqrt(v)
    found = pooling.between_group_sd(rate, np.full(rate.shape, v), deviations)
    doubly = (rate + deviations).var(axis=-1, ddof=1) - 2 * v
    top = np.quantile(doubly, 0.975, axis=0)
    assert (top <= 0).any() or groups < 14
    np.testing.assert_allclose(found.high, np.sqrt(np.where(top > 0, top, top + v)))
    assert (found.low < found.high).all()
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


def test_rates_that_no_replicate_moves_bound_nothing():
    found = pooling.between_group_sd([0.0, 0.0, 0.0], [0.0] * 3, np.zeros((50, 3)))
    assert (found.value, found.raw) == (0, 0)
    assert np.isnan([found.low, found.high]).all()


def test_groups_without_a_rate_are_left_out():
    rate = [[0.1, np.nan, 0.4, 0.2], [0.1, 0.4, 0.2, 0.9], [np.nan, 0.1, np.nan, np.nan]]
    variance = [[0.01, 0.01, 0.02, 0.03], [0.01, 0.02, 0.03, np.nan], [0.1] * 4]
    deviations = np.random.default_rng(1).normal(0, 0.1, (50, 3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pooling.between_group_sd(rate, variance, deviations)
    alone = pooling.between_group_sd(
        [0.1, 0.4, 0.2], [0.01, 0.02, 0.03], deviations[:, 0, [0, 2, 3]]
    )
    for name in ("value", "raw", "low", "high"):
        values = getattr(found, name)
        assert values[0] == pytest.approx(getattr(alone, name))
        assert np.isnan(values[2])
    assert found.value[1] == pytest.approx(found.value[0])


def test_a_replicate_may_lack_a_group():
    deviations = np.random.default_rng(2).normal(0, 0.05, (400, 3))
    deviations[:300, 2] = np.nan
    found = pooling.between_group_sd([0.1, 0.5, 0.3], [0.0025] * 3, deviations, level=0.9)
    doubly = (0.1 + deviations[:, 0] - 0.5 - deviations[:, 1]) ** 2 / 2 - 0.005
    whole = np.array([0.1, 0.5, 0.3]) + deviations[300:]
    doubly[300:] = whole.var(axis=1, ddof=1) - 0.005
    np.testing.assert_allclose(
        [found.low, found.high], np.sqrt(np.quantile(doubly, [0.05, 0.95]).clip(0))
    )


def test_blocks_of_replicates_change_nothing(monkeypatch):
    deviations = np.random.default_rng(3).normal(0, 0.1, (97, 2, 3))
    arguments = ([[0.1, 0.2, 0.9], [0.4, 0.4, 0.1]], np.full((2, 3), 0.01), deviations)
    whole = pooling.between_group_sd(*arguments)
    monkeypatch.setattr(pooling, "_VALUES_AT_ONCE", 60)
    blocks = pooling.between_group_sd(*arguments)
    np.testing.assert_array_equal(whole.low, blocks.low)
    np.testing.assert_array_equal(whole.high, blocks.high)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([0.1, 0.2], [0.1]), "one variance a rate"),
        (([0.1, 0.2], [0.1, -0.1]), "a variance of -0.1"),
        (([0.1, 0.2], [0.1, 0.1], [[0.1], [0.2]]), "replicates of shape (2, 1), rates (2,)"),
        (([0.1, 0.2], [0.1, 0.1], np.empty((0, 2))), "replicates of shape (0, 2)"),
        (([0.1, 0.2], [0.1, 0.1], None, 95), "not strictly between 0 and 1"),
    ],
)
def test_spread_refuses(arguments, says):
    with pytest.raises(InputError) as error:
        pooling.between_group_sd(*arguments)
    assert says in str(error.value)


# pooled_variance


def test_pooled_variance_longhand():
    # 6 of 30: 0.2 x 0.8 = 0.16, over 10 and 20
    np.testing.assert_allclose(pooling.pooled_variance([0, 6], [10, 20]), [0.016, 0.008])
    doubled = pooling.pooled_variance([[0, 6], [1, 5]], [10, 20], [[2.0], [3.0]])
    np.testing.assert_allclose(doubled, [[0.032, 0.016], [0.048, 0.024]])


def test_pooled_variance_says_nothing_where_nothing_varies():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pooling.pooled_variance(
            [[0, 0], [5, 4], [0, 2], [0, 0]], [[5, 4]] * 2 + [[0, 4], [0, 0]]
        )
    assert np.isnan(found).tolist() == [[True, True], [True, True], [True, False], [True, True]]


@pytest.mark.parametrize("arguments", [([5], [4]), ([-1], [4]), ([1], [4], [0.0])])
def test_pooled_variance_refuses(arguments):
    with pytest.raises(InputError, match="between 0 and the pictures"):
        pooling.pooled_variance(*arguments)


# partial_pooling


def test_one_effect_only_is_paule_and_mandel_of_statsmodels():
    rate, variance, factors = cells(1, 30, 3, 4)
    found = pooling.partial_pooling(rate, variance, np.zeros_like(factors))
    assert (found.degrees == 11).all()
    assert (found.tau > 0).sum() > 5
    for row in range(30):
        # it gives up with 0 where rounding takes the last step past the root, so no finer than this
        expected = combine_effects(rate[row], variance[row], "iterated", atol=1e-8, maxiter=500)
        assert found.tau[row] ** 2 == pytest.approx(expected.tau2, rel=1e-7, abs=1e-12)
        used = 1 / (variance[row] + found.tau_used[row] ** 2)
        np.testing.assert_allclose(found.fitted[row], np.average(rate[row], weights=used))
        if found.tau_used[row] == found.tau[row]:
            np.testing.assert_allclose(found.fitted[row], expected.mean_effect_re, rtol=1e-8)


def test_fit_and_shrinkage_agree_with_weighted_least_squares_of_statsmodels():
    rate, variance, factors = cells(2, 6, 3, 4, 2)
    found = pooling.partial_pooling(rate, variance, factors)
    design = dummies(factors)
    assert (found.degrees == 24 - (1 + 2 + 3 + 1)).all()
    for row in range(6):
        total = variance[row] + found.tau_used[row] ** 2
        expected = WLS(rate[row], design, weights=1 / total).fit()
        np.testing.assert_allclose(found.fitted[row], expected.fittedvalues, atol=1e-9)
        kept = found.tau_used[row] ** 2 / total
        pooled = expected.fittedvalues + kept * (rate[row] - expected.fittedvalues)
        np.testing.assert_allclose(found.pooled[row], pooled, atol=1e-9)


def test_tau_and_its_interval_solve_their_equations():
    rate, variance, factors = cells(3, 12, 3, 5)
    found = pooling.partial_pooling(rate, variance, factors, level=0.9)
    design = dummies(factors)
    targets = {"tau": 8.0, "tau_low": chi2.ppf(0.95, 8), "tau_high": chi2.ppf(0.05, 8)}

    def excess(tau2, row, target):
        fit = WLS(rate[row], design, weights=1 / (variance[row] + tau2)).fit()
        return fit.ssr - target

    for name, target in targets.items():
        for row in range(12):
            inside = excess(0.0, row, target) <= 0
            expected = 0.0 if inside else brentq(excess, 0, 10, args=(row, target), xtol=1e-14)
            assert getattr(found, name)[row] ** 2 == pytest.approx(expected, abs=1e-9)
    assert (found.tau_low > 0).any()
    assert (found.tau_low <= found.tau).all()
    assert (found.tau <= found.tau_high).all()


def test_two_by_two_longhand():
    """Equal variances: residuals are ±d/4 with d the interaction, their squares sum to d²/4."""
    rate, v = np.array([[0.5, 0.3, 0.2, 0.6]]), 0.01
    found = pooling.partial_pooling(rate, np.full((1, 4), v), crossed(2, 2))
    d = 0.5 - 0.3 - 0.2 + 0.6
    tau2 = d**2 / 4 - v
    assert found.degrees[0] == 1
    assert found.tau[0] == found.tau_used[0] == pytest.approx(tau2**0.5)
    residual = d / 4 * np.array([1, -1, -1, 1])
    np.testing.assert_allclose(found.fitted[0], rate[0] - residual)
    np.testing.assert_allclose(found.pooled[0], rate[0] - residual * v / (v + tau2))


def test_rates_are_never_drawn_with_less_than_the_least_tau():
    """Two cells of v = 0.01, two of 0.03, one degree of freedom: 2 x 0.002 / 0.08 = 0.05."""
    variance = np.array([[0.01, 0.01, 0.03, 0.03]])
    found = pooling.partial_pooling([[0.4, 0.5, 0.6, 0.7]], variance, crossed(2, 2))
    assert found.tau[0] == 0
    assert found.tau_used[0] ** 2 == pytest.approx(0.05)


def test_error_is_that_of_simulated_rates_around_a_drawn_truth():
    """With the effects fitted and tau known, the covariance of pooled less true rates."""
    rng = np.random.default_rng(12)
    factors, times = crossed(2, 3), 60_000
    variance = np.array([0.002, 0.001, 0.0005, 0.003, 0.002, 0.004])
    found = pooling.partial_pooling(
        np.array([[0.2, 0.7, 0.3, 0.6, 0.3, 0.9]]), variance[np.newaxis], factors
    )
    tau2 = found.tau_used[0] ** 2
    departures = rng.normal(0, tau2**0.5, (times, 6))
    rate = 0.5 + departures + rng.normal(size=(times, 6)) * np.sqrt(variance)
    design = dummies(factors)
    weights = 1 / (tau2 + variance)
    hat = design @ np.linalg.solve((design.T * weights) @ design, design.T * weights)
    fitted = rate @ hat.T
    pooled = fitted + tau2 * weights * (rate - fitted)
    expected = np.cov((pooled - 0.5 - departures).T)
    size = np.sqrt(np.diag(found.error[0]))
    np.testing.assert_allclose(
        found.error[0] / np.outer(size, size), expected / np.outer(size, size), atol=0.03
    )


def test_width_longhand():
    """Equal variances, 5 x 6 cells: drawn in by v w of what the fit (leverage 10/30) leaves."""
    rate, _, factors = cells(4, 1, 5, 6)
    v = 0.002
    found = pooling.partial_pooling(rate, np.full((1, 30), v), factors)
    tau2 = found.tau[0] ** 2
    own = tau2 / (tau2 + v)
    # the shrunken part of a cell's own noise, and the share of its departure that is lost
    noise = v * (own**2 * 20 / 30 + 10 / 30)
    lost = tau2 * (1 - own) ** 2 * 20 / 30
    assert tau2 > 0
    expected = 1.959963985 * (noise + lost) ** 0.5
    np.testing.assert_allclose(found.high - found.pooled, expected, rtol=1e-8)
    np.testing.assert_allclose(found.pooled - found.low, expected, rtol=1e-8)


def test_a_high_rate_among_rare_ones_is_as_noisy_as_it_is():
    """v is that of 2 %; a cell of 60 % worth 20 pictures has p (1 - p) / 20 = 0.012."""
    rate = np.array([[0.02, 0.03, 0.01, 0.02, 0.02, 0.6]])
    v = np.full((1, 6), 0.02 * 0.98 / 20)
    plain = pooling.partial_pooling(rate, v, crossed(2, 3))
    found = pooling.partial_pooling(rate, v, crossed(2, 3), worth=20)
    np.testing.assert_array_equal(found.pooled, plain.pooled)
    p = found.pooled[0, 5]
    assert plain.error[0, 5, 5] < 0.002
    assert found.error[0, 5, 5] > 0.8 * p * (1 - p) / 20


def test_pooled_rates_lie_between_fit_and_raw_and_large_cells_move_less():
    rate, variance, factors = cells(5, 50, 4, 4)
    variance[:, 0], variance[:, 1] = 1e-7, 0.1
    found = pooling.partial_pooling(rate, variance, factors)
    departs = found.tau > 0.01
    moved = np.abs(found.pooled - rate)[departs]
    gap = np.abs(found.fitted - rate)[departs]
    assert departs.sum() > 20
    assert (moved <= gap + 1e-12).all()
    assert (moved[:, 0] <= 0.01 * gap[:, 0] + 1e-12).all()
    assert (moved[:, 1] >= 0.8 * gap[:, 1]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "departure", "least", "most"),
    [
        ((2, 2), 1.0, 0.93, 0.99),
        ((7, 2), 0.0, 0.94, 0.99),
        ((7, 2), 3.0, 0.93, 0.97),
        ((7, 9, 2), 0.0, 0.94, 0.99),
        ((7, 9, 2), 0.3, 0.93, 0.97),
        ((7, 9, 2), 1.0, 0.93, 0.97),
    ],
)
def test_intervals_cover_true_cells_on_average(sizes, departure, least, most):
    rng = np.random.default_rng(7)
    factors = crossed(*sizes)
    shape = (400, factors.shape[1])
    variance = np.broadcast_to(0.16 / np.exp(rng.normal(6.5, 1, shape[1])), shape)
    tau = departure * np.median(variance) ** 0.5
    truth = 0.5 + 0.03 * factors[0] - 0.02 * factors[1] + rng.normal(0, tau, shape)
    rate = truth + rng.normal(size=shape) * np.sqrt(variance)
    found = pooling.partial_pooling(rate, variance, factors)
    assert least < ((found.low <= truth) & (truth <= found.high)).mean() < most
    assert ((found.tau_low <= tau) & (tau <= found.tau_high)).mean() > 0.92
    assert (found.high - found.low <= 2 * 1.96 * np.sqrt(variance) + 1e-9).all()
    mean_error = ((found.pooled - truth) ** 2).mean() / ((rate - truth) ** 2).mean()
    assert mean_error < 1.05
    if len(sizes) == 3:
        assert mean_error < (0.75**2 if departure == 1 else 0.4**2)
        assert np.mean(found.tau**2) == pytest.approx(tau**2, abs=0.06 * np.median(variance))


@pytest.mark.slow
@pytest.mark.parametrize("base", [0.01, 0.05, 0.2])
def test_intervals_cover_true_shares_of_small_cells(base):
    """7 x 9 x 2 cells of 1 to 500 pictures, many without any event."""
    rng = np.random.default_rng(8)
    factors = crossed(7, 9, 2)
    n = np.exp(rng.normal(3.5, 1.4, factors.shape[1])).round().clip(1, 500).astype(int)
    truth = base * (1 + 0.08 * (factors[0] - 3) + 0.05 * (factors[1] - 4))
    truth = rng.beta(truth * 60, (1 - truth) * 60, (300, factors.shape[1]))
    events = rng.binomial(n, truth)
    found = pooling.partial_pooling(events / n, pooling.pooled_variance(events, n), factors)
    least = 0.9 if base == 0.01 else 0.93  # departures there are larger than the rates
    assert least < ((found.low <= truth) & (truth <= found.high)).mean() < 0.99
    assert ((found.pooled - truth) ** 2).mean() < 0.5 * ((events / n - truth) ** 2).mean()


def test_empty_cells_and_questions_of_unlike_pattern():
    rate, variance, factors = cells(9, 5, 3, 4)
    rate[1, 3] = np.nan
    variance[2, [0, 7]] = np.nan
    rate[3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pooling.partial_pooling(rate, variance, factors)
    assert found.degrees.tolist() == [6, 5, 4, 0, 6]
    assert np.isnan(found.pooled[1]).tolist() == [cell == 3 for cell in range(12)]
    assert np.isnan(found.high[2]).sum() == 2
    assert np.isnan(found.pooled[3]).all()
    assert np.isnan(found.tau[3])
    for row in (0, 1, 2):
        there = ~np.isnan(rate[row] + variance[row])
        alone = pooling.partial_pooling(
            rate[[row]][:, there], variance[[row]][:, there], factors[:, there]
        )
        np.testing.assert_allclose(found.pooled[row, there], alone.pooled[0], atol=1e-12)
        np.testing.assert_allclose(found.low[row, there], alone.low[0], atol=1e-12)
        assert found.tau_high[row] == pytest.approx(alone.tau_high[0])


@pytest.mark.parametrize("present", [[0, 1, 2], [0, 3], [0, 1, 2, 3, 5, 7]])
def test_nothing_is_invented_without_degrees_of_freedom(present):
    """Three of four cells, a diagonal, and a staircase of a 2 x 2 or 2 x 4 table are all fitted."""
    factors = crossed(2, 4 if len(present) > 4 else 2)
    if len(present) > 4:
        present = [0, 1, 2, 3, 7]
    rate = np.full((1, factors.shape[1]), np.nan)
    rate[0, present] = np.linspace(0.2, 0.6, len(present))
    found = pooling.partial_pooling(rate, np.full(rate.shape, 0.01), factors)
    assert found.degrees.tolist() == [0]
    for name in ("pooled", "low", "high", "fitted", "tau", "tau_low", "tau_high"):
        assert np.isnan(getattr(found, name)).all()


def test_cells_in_separate_blocks_have_fewer_effects_to_fit():
    """Two 2 x 2 tables that share no level: 8 cells, 3 + 3 effects, though 1 + 3 + 3 columns."""
    factors = np.array([[0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 2, 3, 2, 3]])
    rate = np.random.default_rng(10).uniform(0.2, 0.8, (1, 8))
    assert pooling.partial_pooling(rate, np.full((1, 8), 0.01), factors).degrees.tolist() == [2]


def test_names_and_order_of_cells_do_not_matter():
    rate, variance, factors = cells(11, 4, 3, 4, 2)
    order = np.random.default_rng(0).permutation(24)
    found = pooling.partial_pooling(rate, variance, factors)
    other = pooling.partial_pooling(rate[:, order], variance[:, order], 7 - 3 * factors[:, order])
    np.testing.assert_allclose(other.pooled, found.pooled[:, order], atol=1e-12)
    np.testing.assert_allclose(other.high, found.high[:, order], atol=1e-12)
    np.testing.assert_allclose(other.tau_high, found.tau_high, atol=1e-12)


def test_shares_stay_shares():
    """An additive fit can leave [0, 1]; no figure may."""
    rate = np.array([[0.05, 0.0, 0.9, 0.05, 0.0, 0.5], [0.95, 1.0, 0.1, 0.95, 1.0, 0.5]])
    found = pooling.partial_pooling(rate, np.full((2, 6), 0.005), crossed(2, 3))
    for name in ("pooled", "low", "high", "fitted"):
        values = getattr(found, name)
        assert (values >= 0).all()
        assert (values <= 1).all()
    assert (found.tau_high <= 1).all()
    assert (found.low == 0).any()
    assert (found.fitted == 0).any()
    own = (found.tau_used**2 / (found.tau_used**2 + 0.005))[
        :, None
    ]  # drawn towards the fit as it is given
    np.testing.assert_allclose(found.pooled, found.fitted + own * (rate - found.fitted))


def test_cells_that_add_up_exactly_have_no_departure():
    factors = crossed(3, 3)
    rate = 0.2 + 0.1 * factors[:1] + 0.05 * factors[1:2]
    found = pooling.partial_pooling(rate, np.full((1, 9), 0.001), factors)
    assert [found.tau[0], found.tau_low[0], found.tau_high[0]] == [0, 0, 0]
    np.testing.assert_allclose(found.pooled, rate, atol=1e-12)
    assert (found.high > found.low).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([[0.1, 0.2]], [[0.1, 0.0]], [[0, 1]]), "claims certainty"),
        (([[0.1, 0.2]], [[0.1, -1.0]], [[0, 1]]), "a variance of -1"),
        (([[0.1, 0.2]], [[0.1, 0.1]], [[0, 1, 2]]), "factors of shape (1, 3)"),
        (([0.1, 0.2], [0.1, 0.1], [[0, 1]]), "(questions, cells)"),
        (([[0.1, 0.2]], [[0.1, 0.1]], [[0, 1]], 1.0), "not strictly between 0 and 1"),
    ],
)
def test_pooling_refuses(arguments, says):
    with pytest.raises(InputError) as error:
        pooling.partial_pooling(*arguments)
    assert says in str(error.value)


# pooled_differences


def test_a_difference_of_cells_and_of_the_rest_longhand():
    """Rest of cell 0: cells 1, 2, 3 of 10, 30 and 60 pictures, as a contrast over all cells."""
    rate, variance, factors = cells(13, 3, 2, 2)
    found = pooling.partial_pooling(rate, variance, factors)
    d, se = pooling.pooled_differences(found, [100, 10, 30, 60], [0, 0, 5], [1, 4, 2])
    contrasts = np.array(
        [[1, -1, 0, 0], [1, -0.1, -0.3, -0.6], [100 / 190, 0, 30 / 190 - 1, 60 / 190]]
    )
    np.testing.assert_allclose(d, found.pooled @ contrasts.T)
    for row in range(3):
        expected = np.diag(contrasts @ found.error[row] @ contrasts.T)
        np.testing.assert_allclose(se[row] ** 2, expected, atol=1e-15)


def test_an_empty_cell_has_no_difference_and_no_weight_in_the_rest():
    rate, variance, factors = cells(14, 1, 2, 3)
    rate[0, 5] = np.nan
    found = pooling.partial_pooling(rate, variance, factors)
    n = [10, 20, 30, 40, 50, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        d, se = pooling.pooled_differences(found, n, [0, 0, 5], [5, 6, 11])
    assert np.isnan(d).tolist() == np.isnan(se).tolist() == [[True, False, True]]
    rest = np.average(found.pooled[0, 1:5], weights=n[1:5])
    assert d[0, 1] == pytest.approx(found.pooled[0, 0] - rest)

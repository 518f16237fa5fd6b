"""Intervals against statsmodels, scipy and printed examples, at the edges and in simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    multinomial_proportions_confint,
    proportion_confint,
)

from audit.core.errors import InputError
from audit.stats import intervals

ONE_RATE = {
    intervals.wilson: "wilson",
    intervals.jeffreys: "jeffreys",
    intervals.clopper_pearson: "beta",
}
TWO_RATES = (intervals.newcombe, intervals.score_difference, intervals.log_ratio)
DIFFERENCES = (intervals.newcombe, intervals.score_difference)


def random_tables(seed: int, count: int = 300, largest: int = 400):
    rng = np.random.default_rng(seed)
    n_1, n_2 = rng.integers(1, largest, (2, count))
    return rng.integers(0, n_1 + 1), n_1, rng.integers(0, n_2 + 1), n_2


@st.composite
def rates(draw):
    n = draw(st.integers(1, 5000))
    return draw(st.integers(0, n)), n


@pytest.mark.parametrize(("interval", "method"), ONE_RATE.items())
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.9999])
def test_one_rate_agrees_with_statsmodels(interval, method, level):
    events, n, _, _ = random_tables(1)
    if method == "jeffreys":  # statsmodels leaves the ends inside (0, 1) there
        events, n = events[(events > 0) & (events < n)], n[(events > 0) & (events < n)]
    expected = proportion_confint(events, n, alpha=1 - level, method=method)
    np.testing.assert_allclose(interval(events, n, level), expected, atol=1e-10)


def test_wilson_agrees_with_scipy_at_both_ends():
    for events, n in ((0, 1), (1, 1), (0, 30), (30, 30), (3, 17)):
        expected = binomtest(events, n).proportion_ci(0.95, method="wilson")
        assert np.allclose(intervals.wilson(events, n), [expected.low, expected.high], atol=1e-12)


def test_wilson_longhand():
    # 2 of 4 with z = 1.96: (2 + 1.9208 -+ 1.96 sqrt(1 + 0.9604)) / 7.8416
    low, high = intervals.wilson(2, 4)
    assert (round(float(low), 3), round(float(high), 3)) == (0.150, 0.850)


@pytest.mark.parametrize(
    ("events", "n", "score", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_printed_examples_of_newcombe_for_one_rate(events, n, score, exact):
    assert tuple(np.round(intervals.wilson(events, n), 4)) == score
    assert tuple(np.round(intervals.clopper_pearson(events, n), 4)) == exact


@pytest.mark.parametrize(
    ("table", "printed"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_printed_examples_of_newcombe_for_a_difference(table, printed):
    assert tuple(np.round(intervals.newcombe(*table), 4)) == printed


@pytest.mark.parametrize(
    ("table", "printed"),
    [
        ((56, 70, 48, 80), (0.0528, 0.3382)),
        ((9, 10, 3, 10), (0.1700, 0.8406)),
        ((5, 56, 0, 29), (-0.0326, 0.1933)),
        ((10, 10, 0, 20), (0.7156, 1.0)),
    ],
)
def test_printed_examples_of_miettinen_and_nurminen(table, printed):
    assert tuple(np.round(intervals.score_difference(*table), 4)) == printed


def test_newcombe_agrees_with_statsmodels():
    table = random_tables(2)
    expected = confint_proportions_2indep(*table, method="newcomb", compare="diff", alpha=0.1)
    np.testing.assert_allclose(intervals.newcombe(*table, 0.9), expected, atol=1e-10)


def test_ends_of_the_score_interval_are_where_the_score_test_turns():
    """At each end the statistic with numerically maximised likelihood equals the critical value."""
    for x_1, n_1, x_2, n_2 in ((56, 70, 48, 80), (3, 69, 17, 29), (150, 192, 132, 199)):
        for d in intervals.score_difference(x_1, n_1, x_2, n_2):

            def minus_log_likelihood(q, d=d, x_1=x_1, n_1=n_1, x_2=x_2, n_2=n_2):
                first = x_1 * np.log(q + d) + (n_1 - x_1) * np.log(1 - q - d)
                return -(first + x_2 * np.log(q) + (n_2 - x_2) * np.log(1 - q))

            range_of_q = (max(0, -d) + 1e-9, min(1, 1 - d) - 1e-9)
            q = minimize_scalar(
                minus_log_likelihood, bounds=range_of_q, method="bounded", options={"xatol": 1e-12}
            ).x
            variance = (q + d) * (1 - q - d) / n_1 + q * (1 - q) / n_2
            variance *= (n_1 + n_2) / (n_1 + n_2 - 1)
            assert abs(x_1 / n_1 - x_2 / n_2 - d) / np.sqrt(variance) == pytest.approx(1.959964)


def test_log_ratio_agrees_with_statsmodels_and_longhand():
    x_1, n_1, x_2, n_2 = (a[:200] for a in random_tables(3, 400))
    kept = (x_1 > 0) & (x_2 > 0) & (x_1 < n_1)
    table = [a[kept] for a in (x_1, n_1, x_2, n_2)]
    expected = confint_proportions_2indep(*table, method="log", compare="ratio")
    np.testing.assert_allclose(intervals.log_ratio(*table), expected, rtol=1e-10)
    # 20/100 v 10/100: ratio 2, standard error sqrt(.05 - .01 + .1 - .01) = .3606, factor 2.027
    low, high = intervals.log_ratio(20, 100, 10, 100)
    assert (round(float(low), 2), round(float(high), 2)) == (0.99, 4.05)


def test_log_ratio_is_undefined_without_events_and_without_spread():
    tables = np.array([(0, 10, 3, 10), (3, 10, 0, 10), (0, 10, 0, 10), (10, 10, 7, 7)])
    assert np.isnan(intervals.log_ratio(*tables.T)).all()
    assert np.isfinite(intervals.log_ratio(10, 10, 6, 7)).all()


@pytest.mark.slow
def test_multinomial_agrees_with_statsmodels():
    counts = np.random.default_rng(4).integers(1, 40, (3, 7))
    for method in ("goodman", "sison-glaz"):
        low, high = intervals.multinomial(counts, 0.9, method)
        for row, row_low, row_high in zip(counts, low, high, strict=True):
            expected = multinomial_proportions_confint(row, 0.1, method)
            np.testing.assert_allclose(np.stack([row_low, row_high], 1), expected, atol=1e-10)


def test_multinomial_of_an_empty_group_is_nan():
    for method in ("goodman", "sison-glaz"):
        low, high = intervals.multinomial([[0, 0, 0], [1, 2, 3]], method=method)
        assert np.isnan(low[0]).all()
        assert np.isnan(high[0]).all()
        assert np.isfinite([low[1], high[1]]).all()


@pytest.mark.parametrize("interval", ONE_RATE)
def test_edges_of_one_rate(interval):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = interval([0, 0, 0, 1, 9], [0, 1, 9, 1, 9])
    assert np.isnan([low[0], high[0]]).all()
    assert (low[1:3] == 0).all()
    assert (high[3:] == 1).all()
    assert ((high[1:3] < 1) & (high[1:3] > 0)).all()
    assert ((low[3:] > 0) & (low[3:] < 1)).all()


@pytest.mark.parametrize("interval", TWO_RATES)
def test_an_empty_group_gives_no_interval_for_a_comparison(interval):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = interval([0, 3, 0, 2], [0, 9, 0, 4], [1, 0, 0, 1], [5, 0, 0, 4])
    assert np.isnan([low[:3], high[:3]]).all()
    assert np.isfinite([low[3], high[3]]).all()


@pytest.mark.parametrize("interval", DIFFERENCES)
def test_a_difference_of_single_pictures_is_nearly_unknown(interval):
    low, high = interval([0, 1, 1], [1, 1, 1], [0, 0, 1], [1, 1, 1])
    assert np.isfinite([low, high]).all()
    assert (high - low > 0.8).all()


def test_shapes_broadcast_and_levels_may_be_an_array():
    events, n = np.array([3, 5])[:, None], np.array([10, 20, 30])
    assert intervals.wilson(events, n)[0].shape == (2, 3)
    level = np.array([0.9, 0.99])[:, None, None]
    low, high = intervals.score_difference(events, n, 1, 9, level)
    assert low.shape == high.shape == (2, 2, 3)
    one = intervals.score_difference(5, 30, 1, 9, 0.99)
    assert (low[1, 1, 2], high[1, 1, 2]) == one


@pytest.mark.parametrize("interval", ONE_RATE)
def test_fractional_counts_lie_between_whole_ones(interval):
    highs = [float(interval(x, 40)[1]) for x in (3, 3.5, 4)]
    assert highs == sorted(highs)
    assert len(set(highs)) == 3


@pytest.mark.parametrize("interval", ONE_RATE)
@settings(max_examples=60, deadline=None)
@given(rate=rates(), levels=st.tuples(st.floats(0.5, 0.9), st.floats(0.91, 0.99999)))
def test_one_rate_is_a_share_around_the_estimate_and_widens(interval, rate, levels):
    low, high = interval(*rate, np.array(levels))
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert (low <= rate[0] / rate[1]).all()
    assert (high >= rate[0] / rate[1]).all()
    assert low[1] <= low[0]
    assert high[1] >= high[0]
    mirrored = interval(rate[1] - rate[0], rate[1], np.array(levels))
    np.testing.assert_allclose(1 - np.array(mirrored)[::-1], [low, high], atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("interval", DIFFERENCES)
@settings(max_examples=60, deadline=None)
@given(a=rates(), b=rates())
def test_a_difference_is_antisymmetric_inside_its_range_and_widens(interval, a, b):
    low, high = interval(*a, *b, np.array([0.8, 0.95]))
    estimate = a[0] / a[1] - b[0] / b[1]
    assert (low >= -1).all()
    assert (high <= 1).all()
    assert (low <= estimate + 1e-12).all()
    assert (high >= estimate - 1e-12).all()
    assert low[1] <= low[0]
    assert high[1] >= high[0]
    swapped = interval(*b, *a, np.array([0.8, 0.95]))
    np.testing.assert_allclose(-np.array(swapped)[::-1], [low, high], atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(a=rates(), b=rates())
def test_a_ratio_turns_over_when_the_groups_swap(a, b):
    low, high = intervals.log_ratio(*a, *b)
    swapped_low, swapped_high = intervals.log_ratio(*b, *a)
    np.testing.assert_allclose([1 / swapped_high, 1 / swapped_low], [low, high], rtol=1e-9)


@pytest.mark.parametrize("interval", DIFFERENCES)
@pytest.mark.parametrize("cell", [(40, 0.1, 60, 0.2), (100, 0.02, 500, 0.05), (30, 0.5, 30, 0.5)])
def test_differences_cover_what_they_promise(interval, cell):
    n_1, p_1, n_2, p_2 = cell
    rng = np.random.default_rng(5)
    low, high = interval(rng.binomial(n_1, p_1, 4000), n_1, rng.binomial(n_2, p_2, 4000), n_2)
    coverage = np.mean((low <= p_1 - p_2) & (p_1 - p_2 <= high))
    assert 0.935 < coverage < 0.985


def test_clopper_pearson_never_covers_less_than_its_level():
    rng = np.random.default_rng(6)
    for rate in (0.01, 0.1, 0.5):
        low, high = intervals.clopper_pearson(rng.binomial(50, rate, 4000), 50, 0.9)
        assert np.mean((low <= rate) & (rate <= high)) > 0.89


@pytest.mark.parametrize("events", [-1, 11])
def test_impossible_counts_are_refused(events):
    with pytest.raises(InputError, match=rf"{events} events of 10 pictures"):
        intervals.wilson([3, events], 10)
    with pytest.raises(InputError, match="between 0 and the number of pictures"):
        intervals.score_difference(1, 5, events, 10)


@pytest.mark.parametrize("level", [0, 1, 95, float("nan")])
def test_a_level_outside_its_range_is_refused(level):
    with pytest.raises(InputError, match="such as 0.95, not 95"):
        intervals.newcombe(1, 2, 1, 2, level)


def test_an_unknown_multinomial_method_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'goodman'"):
        intervals.multinomial([1, 2], method="godman")
    with pytest.raises(InputError, match="at least one class"):
        intervals.multinomial([])
    with pytest.raises(InputError, match="-1 events"):
        intervals.multinomial([-1, 4, 5], method="sison-glaz")

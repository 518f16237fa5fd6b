"""Detectable differences and needed sizes: printed numbers, statsmodels, simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from audit.core.errors import InputError
from audit.stats import intervals, power, significance

BASES = np.array([0.01, 0.05, 0.15])


def test_published_detectable_differences_for_fairface():
    """White (2,085) v Black (1,556), with and without 21 pairs; age 20-29 (3,300) v 70+ (118)."""
    alone = 100 * power.detectable_difference(1556, 2085, BASES)
    pairs = 100 * power.detectable_difference(1556, 2085, BASES, comparisons=21)
    ages = 100 * power.detectable_difference(3300, 118, BASES)
    assert np.round(alone, 1).tolist() == [1.2, 2.3, 3.5]
    assert np.round(pairs, 1).tolist() == [1.8, 3.3, 5.0]
    np.testing.assert_allclose(ages, [3.5, 6.6, 10.0], atol=0.1)
    swapped = 100 * power.detectable_difference(2085, 1556, BASES)
    np.testing.assert_allclose(swapped, [1.2, 2.3, 3.5], atol=0.1)


def test_detectable_difference_solves_its_equation():
    def shortfall(d, n_1, n_2, base):
        p_2, pooled = base + d, (n_1 * base + n_2 * (base + d)) / (n_1 + n_2)
        null = np.sqrt(pooled * (1 - pooled) * (1 / n_1 + 1 / n_2))
        alternative = np.sqrt(base * (1 - base) / n_1 + p_2 * (1 - p_2) / n_2)
        return d - norm.isf(0.005) * null - norm.isf(0.1) * alternative

    for cell in ((200, 300, 0.1), (50, 5000, 0.02), (900, 40, 0.4)):
        expected = brentq(shortfall, 1e-9, 1 - cell[2] - 1e-9, args=cell, xtol=1e-13)
        found = power.detectable_difference(*cell, level=0.99, power=0.9)
        assert found == pytest.approx(expected, abs=1e-9)


def test_a_detectable_difference_is_found_as_often_as_promised():
    rng = np.random.default_rng(1)
    for n_1, n_2, base in ((2085, 1556, 0.05), (400, 400, 0.3), (3000, 800, 0.15)):
        d = float(power.detectable_difference(n_1, n_2, base))
        x_1, x_2 = rng.binomial(n_1, base, 4000), rng.binomial(n_2, base + d, 4000)
        found = significance.difference_p(x_1, n_1, x_2, n_2) < 0.05
        assert 0.77 < found.mean() < 0.83


def test_what_cannot_be_reached_is_nan():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        d = power.detectable_difference([0, 9, 2, 9], [9, 0, 2, 9], 0.1)
    assert np.isnan(d[:3]).all()
    assert 0 < d[3] < 0.9


def test_one_picture_against_many_shows_nothing():
    assert np.isnan(power.detectable_difference(5000, 1, 0.5))


def test_a_base_above_one_half_mirrors_one_below():
    high = power.detectable_difference(300, 200, [0.9, 0.99])
    np.testing.assert_allclose(high, power.detectable_difference(300, 200, [0.1, 0.01]))


def test_needed_n_agrees_with_statsmodels():
    for base, d, level, chance in ((0.1, 0.05, 0.95, 0.8), (0.3, -0.2, 0.99, 0.9)):
        expected = samplesize_proportions_2indep_onetail(d, base, chance, 1, 1 - level)
        assert power.needed_n(base, d, level, chance) == np.ceil(expected)


def test_needed_n_longhand():
    # 10 % v 15 %: (1.96 sqrt(2 x .125 x .875) + .8416 sqrt(.09 + .1275))² / .05² = 685.6
    assert power.needed_n(0.1, 0.05) == 686


@settings(max_examples=50, deadline=None)
@given(base=st.floats(0.01, 0.5), d=st.floats(0.02, 0.4), m=st.integers(1, 200))
def test_needed_n_detects_the_difference_and_one_picture_less_does_not(base, d, m):
    n = power.needed_n(base, d, comparisons=m)
    assert power.detectable_difference(n, n, base, comparisons=m) <= d + 1e-9
    if n > 2:
        fewer = power.detectable_difference(n - 1, n - 1, base, comparisons=m)
        assert np.isnan(fewer) or fewer > d - 1e-9


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(n=st.integers(50, 5000), base=st.floats(0, 1))
def test_more_pictures_lower_demands_and_fewer_questions_detect_less(n, base):
    d = power.detectable_difference(n, n, base)
    assert power.detectable_difference(2 * n, 2 * n, base) < d
    assert power.detectable_difference(n, n, base, level=0.9) < d
    assert power.detectable_difference(n, n, base, power=0.7) < d
    assert power.detectable_difference(4 * n, 4 * n, base, comparisons=2) < d


def test_needed_n_for_margin_reproduces_about_620():
    """10 % base, 5 points, 80 % power: TOST at 5 % is a 90 % interval; 95 % intervals need 757."""
    # 2 x .09 x ((1.6449 + 1.2816) / .05)² = 616.6
    assert power.needed_n_for_margin(0.1, 0.05, [0.90, 0.95]).tolist() == [617, 757]


def test_a_gap_of_zero_is_within_the_margin_as_often_as_promised():
    rng = np.random.default_rng(2)
    for level in (0.9, 0.95):
        n = int(power.needed_n_for_margin(0.1, 0.05, level))
        table = (rng.binomial(n, 0.1, 4000), n, rng.binomial(n, 0.1, 4000), n)
        low, high = intervals.newcombe(*table, level)
        assert 0.77 < np.mean((low > -0.05) & (high < 0.05)) < 0.83


def test_nothing_is_enough_for_a_difference_or_margin_of_zero():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(power.needed_n(0.1, 0))
        assert np.isnan(power.needed_n_for_margin(0.1, 0))


def test_shapes_broadcast():
    shape = power.detectable_difference(np.ones((3, 1)) * 500, 400, [0.1, 0.2]).shape
    assert shape == (3, 2)
    assert power.needed_n(0.1, [0.05, 0.1, -0.1]).shape == (3,)
    assert power.needed_n(0.9, 0.1) > 0  # 0.9 + 0.1 reaches exactly 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"base": 10}, "base: 10 is not a share"),
        ({"n_1": -1}, "n_1: -1 pictures"),
        ({"level": 95}, "level: 95 .* not 95"),
        ({"power": 0.3}, "power: 0.3 is not from 0.5"),
        ({"comparisons": 0}, "at least one"),
    ],
)
def test_values_out_of_range_are_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        power.detectable_difference(**({"n_1": 9, "n_2": 9, "base": 0.1} | arguments))


def test_impossible_plans_are_refused():
    with pytest.raises(InputError, match="base \\+ difference: -0.1"):
        power.needed_n(0.1, -0.2)
    with pytest.raises(InputError, match="margin: 5 is not a share"):
        power.needed_n_for_margin(0.1, 5)
    with pytest.raises(InputError, match="power: 0.2"):
        power.needed_n_for_margin(0.1, 0.05, power=0.2)

"""Tests of equality against scipy and enumeration, corrections against statsmodels."""

from __future__ import annotations

import itertools
import warnings
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2_contingency, fisher_exact
from statsmodels.stats.multitest import multipletests

from audit.core.errors import InputError
from audit.stats import significance

CORRECTIONS = {
    significance.holm: "holm",
    significance.benjamini_hochberg: "fdr_bh",
    significance.benjamini_yekutieli: "fdr_by",
}


def uses_exact(x_1, n_1, x_2, n_2):
    """Whether these tables are small enough for Fisher's test."""
    return significance._small(*significance._tables(x_1, n_1, x_2, n_2))


@st.composite
def tables(draw):
    n_1, n_2 = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    return draw(st.integers(0, n_1)), n_1, draw(st.integers(0, n_2)), n_2


@pytest.mark.slow
def test_small_tables_agree_with_fisher_of_scipy():
    rng = np.random.default_rng(1)
    n_1, n_2 = rng.integers(1, 250, (2, 300))
    x_1, x_2 = rng.integers(0, n_1 + 1), rng.integers(0, n_2 + 1)
    assert uses_exact(x_1, n_1, x_2, n_2).sum() > 290
    p = significance.difference_p(x_1, n_1, x_2, n_2)
    for got, a, n_a, b, n_b in zip(p, x_1, n_1, x_2, n_2, strict=True):
        if uses_exact(a, n_a, b, n_b):
            assert got == pytest.approx(fisher_exact([[a, n_a - a], [b, n_b - b]])[1], rel=1e-9)


def test_large_tables_agree_with_chi_squared_of_scipy():
    rng = np.random.default_rng(2)
    n_1, n_2 = rng.integers(1000, 4000, (2, 100))
    x_1, x_2 = rng.binomial(n_1, 0.3), rng.binomial(n_2, 0.32)
    assert not uses_exact(x_1, n_1, x_2, n_2).any()
    p = significance.difference_p(x_1, n_1, x_2, n_2)
    for got, a, n_a, b, n_b in zip(p, x_1, n_1, x_2, n_2, strict=True):
        expected = chi2_contingency([[a, n_a - a], [b, n_b - b]], correction=False).pvalue
        assert got == pytest.approx(expected, rel=1e-9)


def test_tea_tasting_longhand():
    # Fisher's lady: 3 of 4 right has tables 1, 16, 36, 16, 1 out of 70, of which all but the 36
    assert significance.difference_p(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert significance.difference_p(4, 4, 0, 4) == pytest.approx(2 / 70)


def test_tables_that_say_nothing_have_p_one_and_empty_groups_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = significance.difference_p(
            [0, 5, 0, 2, 0], [5, 5, 0, 4, 0], [0, 9, 1, 0, 0], [9, 9, 2, 0, 0]
        )
        large = significance.difference_p([0, 900], [900, 900], [0, 800], [800, 800])
    np.testing.assert_allclose(p, [1, 1, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(large, 1)


def test_no_p_value_is_ever_zero():
    p = significance.difference_p([5000, 90], [5000, 90], [0, 0], [5000, 200_000])
    assert (p > 0).all()
    assert (p < 1e-100).all()


def test_p_far_below_the_usual_range_keeps_its_size():
    # all 40 events in the smaller group: 1 / C(200040, 40)
    expected = 1 / comb(200_040, 40)
    assert significance.difference_p(40, 40, 0, 200_000) == pytest.approx(expected, rel=1e-6)


def test_a_table_gets_the_same_digits_in_any_company(monkeypatch):
    rng = np.random.default_rng(3)
    n_1 = rng.integers(1, 900, 400)
    table = (rng.binomial(n_1, 0.1), n_1, rng.binomial(2000, 0.1, 400), 2000)
    whole = significance.difference_p(*table)
    monkeypatch.setattr(significance, "_CELLS_AT_ONCE", 50)
    np.testing.assert_array_equal(significance.difference_p(*table), whole)


@pytest.mark.parametrize("cell", [(100, 5000, 0.05), (118, 3300, 0.05), (1500, 2000, 0.01)])
@pytest.mark.parametrize("alpha", [0.05, 1e-3, 1e-5])
def test_the_true_error_never_exceeds_alpha_where_the_test_is_exact(cell, alpha):
    """Every possible table, weighted by its chance: no simulation error even at one in 100,000."""
    n_1, n_2, rate = cell
    possible = [np.arange(*binom.ppf([1e-9, 1 - 1e-9], n, rate).astype(int)) for n in (n_1, n_2)]
    x_1, x_2 = np.meshgrid(*possible, indexing="ij")
    chance = binom.pmf(x_1, n_1, rate) * binom.pmf(x_2, n_2, rate)
    error = chance[significance.difference_p(x_1, n_1, x_2, n_2) <= alpha].sum()
    assert 0.1 * alpha < error <= alpha


def test_smallest_p_is_the_smallest_of_all_tables():
    for n_1, n_2 in itertools.product(range(1, 8), repeat=2):
        x_1, x_2 = np.meshgrid(np.arange(n_1 + 1), np.arange(n_2 + 1))
        seen = significance.difference_p(x_1, n_1, x_2, n_2).min()
        assert significance.smallest_p(n_1, n_2) == pytest.approx(seen)


def test_smallest_p_at_its_edges():
    p = significance.smallest_p([0, 1, 5, 4000], [3, 1, 9, 4000])
    assert np.isnan(p[0])
    np.testing.assert_allclose(p[1:3], [1, 1 / comb(14, 5)])
    assert 0 < p[3] < 1e-300


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(tables())
def test_p_is_symmetric_in_groups_and_in_events(table):
    x_1, n_1, x_2, n_2 = table
    p = significance.difference_p(x_1, n_1, x_2, n_2)
    assert 0 < p <= 1
    assert significance.difference_p(x_2, n_2, x_1, n_1) == pytest.approx(float(p), rel=1e-9)
    mirrored = significance.difference_p(n_1 - x_1, n_1, n_2 - x_2, n_2)
    assert mirrored == pytest.approx(float(p), rel=1e-9)
    assert p >= significance.smallest_p(n_1, n_2) * (1 - 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("correct", "method"), CORRECTIONS.items())
def test_corrections_agree_with_statsmodels_and_pass_over_nan(correct, method):
    rng = np.random.default_rng(4)
    for size in (1, 2, 7, 300):
        p = rng.beta(0.3, 2, size)
        p[rng.random(size) < 0.2] = p[0]
        expected = multipletests(p, method=method)[1]
        np.testing.assert_allclose(correct(p), expected, rtol=1e-12)
        with_gaps = np.full((2, size), np.nan)
        with_gaps[1] = p
        np.testing.assert_allclose(correct(with_gaps), [np.full(size, np.nan), expected])


@pytest.mark.parametrize("correct", CORRECTIONS)
def test_corrections_of_nothing_and_of_the_input(correct):
    assert correct([]).shape == (0,)
    assert np.isnan(correct([np.nan, np.nan])).all()
    given_p = np.array([0.01, 0.2])
    correct(given_p)
    assert given_p.tolist() == [0.01, 0.2]


def test_corrections_longhand():
    p = [0.01, 0.04, 0.03, 0.005]
    np.testing.assert_allclose(significance.holm(p), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(significance.benjamini_hochberg(p), [0.02, 0.04, 0.04, 0.02])
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    expected = np.array([0.02, 0.04, 0.04, 0.02]) * harmonic
    np.testing.assert_allclose(significance.benjamini_yekutieli(p), expected)


def test_bonferroni_level():
    np.testing.assert_allclose(significance.bonferroni_level(0.95, [1, 5, 50]), [0.95, 0.99, 0.999])
    for level, m in ((95, 3), (0.95, 0), (float("nan"), 2)):
        with pytest.raises(InputError):
            significance.bonferroni_level(level, m)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ((6, 5, 1, 5), "events_1: 6 events of 5 pictures"),
        ((1, 5, 7, 5), "events_2: 7 events of 5 pictures"),
        ((0.5, 5, 1, 5), "events_1: 0.5 is not a count"),
        ((1, -5, 1, 5), "n_1: -5 is not a count"),
        ((1, float("nan"), 1, 5), "n_1: nan is not a count"),
    ],
)
def test_impossible_counts_are_refused(table, sentence):
    with pytest.raises(InputError, match=sentence):
        significance.difference_p(*table)


def test_values_that_are_no_p_are_refused():
    for correct in CORRECTIONS:
        with pytest.raises(InputError, match="1.2 is not a p-value"):
            correct([0.1, 1.2])


# --- one share in all groups ---------------------------------------------------------------------


def test_homogeneity_is_pearsons_chi_squared() -> None:
    x, n = np.array([[12, 30, 7], [1, 2, 3]]), np.array([[40, 60, 50], [40, 60, 50]])
    got, p = significance.homogeneity(x, n)
    for i in range(2):
        table = np.array([x[i], n[i] - x[i]])
        known = chi2_contingency(table, correction=False)
        np.testing.assert_allclose([got[i], p[i]], [known.statistic, known.pvalue], rtol=1e-12)


def test_copies_count_once_and_empty_groups_do_not() -> None:
    once, p_once = significance.homogeneity([12, 30], [40, 60])
    twice, p_twice = significance.homogeneity([24, 60, 0], [80, 120, 0], 2.0)
    np.testing.assert_allclose([twice, p_twice], [once, p_once], rtol=1e-12)


def test_homogeneity_is_undefined_where_all_or_nobody_has_an_event() -> None:
    got, p = significance.homogeneity([[0, 0], [40, 60], [5, 0]], [[40, 60], [40, 60], [40, 0]])
    assert np.isnan(got).all()
    assert np.isnan(p).all()


def test_equal_shares_are_called_different_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    n = np.array([200, 300, 150])
    _, p = significance.homogeneity(rng.binomial(n, 0.2, (4000, 3)), n)
    assert 0.04 < (p < 0.05).mean() < 0.06

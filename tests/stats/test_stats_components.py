"""Variance shares, generalisability and joint tests against statsmodels, scipy and longhand."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import special, stats
from statsmodels.stats.anova import anova_lm

from audit.core.errors import InputError
from audit.stats import components as c
from audit.stats import concordance, curves, generalisability, steadiness
from audit.stats.curves import joint_test
from audit.stats.permutation import permuted_range
from audit.stats.pooling import between_group_sd

SIZES = (3, 5, 2, 9)


def codes_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def outcomes(seed, sizes, wordings, sd):
    """Outcomes of the random model; ``sd`` in the order of PARTS."""
    rng, code = np.random.default_rng(seed), codes_of(sizes)
    picture, group, template, both, rest = (
        s * rng.normal(size=shape)
        for s, shape in zip(
            sd,
            [(code.size, 1), (len(sizes), 1), wordings, (len(sizes), wordings),
             (code.size, wordings)],
            strict=True,
        )
    )  # fmt: skip
    return 3 + picture + group[code] + template + both[code] + rest, code


def as_table(y, code):
    picture, wording = np.indices(y.shape)
    columns = {"y": y, "g": code[picture], "p": picture, "w": wording}
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})


# ---- shares of the variance --------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [SIZES, (4, 4, 4), (1, 6)])
def test_estimates_are_right_on_average_exactly(sizes):
    """E y'Ay = tr(A V): summed over the columns that make up V, a part's own estimate is 1."""
    code, wordings = codes_of(sizes), 4
    picture, wording = (a.reshape(-1) for a in np.indices((code.size, wordings)))
    group = code[picture]
    levels = [picture, group, wording, group * wordings + wording, np.arange(picture.size)]
    for number, level in enumerate(levels):
        columns = (level == np.arange(level.max() + 1)[:, None]).astype(float)
        y = columns.reshape(-1, code.size, wordings)
        raw = c.components(c.moments(y, code, len(sizes))).raw.sum(axis=1)
        np.testing.assert_allclose(raw, np.arange(5) == number, atol=1e-10)


def test_sums_of_squares_and_degrees_are_those_of_statsmodels_in_unequal_groups():
    y, code = outcomes(1, SIZES, 4, (1, 0.5, 0.7, 0.3, 1))
    terms = ["1", "C(g)", "C(p)", "C(p) + C(w)", "C(p) + C(w) + C(g):C(w)"]
    table = as_table(y, code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pictures lie in groups: the columns are not independent
        fits = [smf.ols(f"y ~ {t}", table).fit() for t in terms]
    stepwise = anova_lm(*fits)
    m = c.moments(y, code, len(SIZES))
    squares, degrees = c._sums_of_squares(m)[:, 0], c.components(m).degrees
    order = [1, 0, 2, 3]  # of PARTS, as the terms come in
    np.testing.assert_allclose(squares[order], stepwise["ss_diff"][1:], rtol=1e-8)
    np.testing.assert_array_equal(degrees[order], stepwise["df_diff"][1:])
    assert squares[4] == pytest.approx(fits[-1].ssr)
    assert degrees[4] == fits[-1].df_resid


def test_balanced_case_is_reml_of_statsmodels():
    y, code = outcomes(3, (6,) * 5, 4, (1, 1, 0.8, 0.7, 0.8))
    parts = {"p": "0 + C(p)", "g": "0 + C(g)", "w": "0 + C(w)", "gw": "0 + C(g):C(w)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("y ~ 1", as_table(y, code), groups=np.ones(y.size), vc_formula=parts)
        fit = model.fit(reml=True)
    reml = dict(zip(model.exog_vc.names, fit.vcomp, strict=True))
    found = c.components(c.moments(y, code, 5))
    assert not found.negative.any()
    expected = [reml["p"], reml["g"], reml["w"], reml["gw"], fit.scale]
    np.testing.assert_allclose(found.raw[:, 0], expected, rtol=2e-3)


@pytest.mark.parametrize("sizes", [(30,) * 8, (5, 10, 15, 20, 25, 30, 60, 75)])
def test_known_shares_are_found(sizes):
    """Means of 150 draws lie within 4 of their standard errors of the truth, none being wide."""
    sd = np.array([1.0, 0.6, 0.5, 0.4, 1.2])
    raws = []
    for seed in range(150):
        y, code = outcomes(seed, sizes, 10, sd)
        raws.append(c.components(c.moments(y, code, len(sizes))).raw[:, 0])
    mean, error = np.mean(raws, axis=0), np.std(raws, axis=0) / math.sqrt(150)
    assert (error < 0.08 * sd**2).all()
    np.testing.assert_array_less(np.abs(mean - sd**2), 4 * error)


def test_shares_of_choices_recover_a_planted_wording():
    """A wording that moves every picture is the template's; one that moves one group is not."""
    rng, code = np.random.default_rng(4), codes_of((200, 200))
    latent = rng.normal(size=(400, 1)) + 0.3 * rng.normal(size=(400, 12))
    shift = np.tile([0.0, 1.5], 6)
    template = c.components(c.moments(latent + shift > 0, code, 2))
    both = c.components(c.moments(latent + shift * code[:, None] > 0, code, 2))
    none = c.components(c.moments(latent > 0, code, 2))
    place = dict(zip(c.PARTS, range(5), strict=True))
    assert template.shares[place["template"], 0] > 0.1 > 10 * template.group_template[0]
    assert both.group_template[0] > 0.02
    assert max(none.template[0], none.group_template[0], none.group[0]) < 0.003
    for found in (template, both, none):
        assert found.shares.sum() == pytest.approx(1)
        assert found.reason == ("",)


def test_batches_merge_to_the_whole_and_strangers_are_left_out():
    rng = np.random.default_rng(5)
    y, code = rng.random((2, 40, 6)) < 0.4, rng.integers(-1, 4, 40)
    whole = c.moments(y, code, 5)  # group 4 has no pictures
    parts = c.moments(y[:, :13], code[:13], 5) + c.moments(y[:, 13:], code[13:], 5)
    known = c.moments(y[:, code >= 0], code[code >= 0], 4)
    for name in ("n", "cells", "squares", "pictures"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    np.testing.assert_array_equal(c.components(whole).raw, c.components(known).raw)
    assert (whole.n[:4].sum(), whole.n[4]) == ((code >= 0).sum(), 0)
    with pytest.raises(ValueError, match="same questions"):
        whole + known


def choice_moments(choices: object, labels: int, codes: object, groups: int) -> c.Moments:
    """Moments of "this label was chosen" for every label at once: Q = labels questions.

    The same as ``moments`` of the 0/1 outcomes of each label, without writing these out: 10,000
    pictures, 300 wordings and 21 labels in 0.1 s.

    Args:
        choices: Number of the label chosen, from 0, shape (pictures, wordings).
        labels: Number of labels.
        codes: Group of each picture, from 0; -1 where unknown.
        groups: Number of groups.

    Raises:
        InputError: Shapes that do not fit, a label or a group out of range.
    """
    chosen = c.labels_chosen(choices, labels, "choice_moments")
    member = c._members(codes, groups, len(chosen), "choice_moments")
    group = np.asarray(codes, dtype=np.int64)
    known, wordings = group >= 0, chosen.shape[1]
    place = chosen[known] * groups + group[known, np.newaxis]
    place = place * wordings + np.arange(wordings)
    counted = np.bincount(place.reshape(-1), minlength=labels * groups * wordings)
    cells = counted.reshape(labels, groups, wordings).astype(np.float64)
    pictures = (member @ c.label_counts(chosen, labels) ** 2).T
    return c.Moments(member.sum(axis=1).astype(np.int64), cells, cells.sum(axis=2), pictures)


def test_choices_are_the_outcomes_of_every_label():
    rng = np.random.default_rng(6)
    chosen, code = rng.integers(0, 3, (30, 5)), rng.integers(-1, 3, 30)
    fast = choice_moments(chosen, 4, code, 3)
    slow = c.moments(chosen == np.arange(4)[:, None, None], code, 3)
    for name in ("n", "cells", "squares", "pictures"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))
    found, all_labels = c.components(fast), c.components(fast, together=True)
    np.testing.assert_allclose(all_labels.raw[:, 0], found.raw.sum(axis=1))
    assert found.reason == ("", "", "", "the outcome never varies")
    assert np.isnan(found.shares[:, 3]).all()


def test_negative_estimates_are_cut_and_marked():
    # two groups whose pictures differ within but whose means are the same
    y = np.array([[0, 1], [4, 5], [0, 1], [4, 5.5], [2, 2]])
    found = c.components(c.moments(y, [0, 0, 1, 1, 1], 2))
    assert found.raw[1, 0] < 0 == found.group[0]
    assert found.negative[1, 0]
    assert found.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("codes", "wordings", "known", "says"),
    [
        ([0, 0, 0, 0], 3, [0, 2, 4], "one group only"),
        ([0, 0, 1, 1], 1, [], "one wording only"),
        ([0, 1, 2, 3], 3, [], "no group has two pictures"),
        ([-1, -1, -1, -1], 3, [], "no group has two pictures"),
    ],
)
def test_what_cannot_be_told_apart_is_nan_with_a_reason(codes, wordings, known, says):
    y = np.random.default_rng(7).normal(size=(4, wordings))
    found = c.components(c.moments(y, codes, 4))
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(found.raw[:, 0])), known)
    assert says in found.reason[0]


# ---- the gap over wordings ---------------------------------------------------------------------


def test_gap_shares_longhand():
    d, e = np.array([0.1, 0.2, 0.6]), np.array([[0.1, -0.1], [0.0, 0.0], [-0.1, 0.1]])
    found = generalisability.gap_shares(d, e)
    assert found.mean == pytest.approx(0.3)
    assert found.low == found.high == pytest.approx(0.3)  # the noise cancels in the mean
    assert found.raw_spread == pytest.approx(math.sqrt(0.07))
    assert found.spread == pytest.approx(math.sqrt(0.07 - 0.01))
    assert found.share == pytest.approx(0.09 / (0.09 + 0.06))
    # the replicates' gaps .2 .2 .5 and 0 .2 .7 have variances .03 and .13, less twice .01
    low, high = np.quantile([0.01, 0.11], [0.025, 0.975])
    assert (found.spread_low**2, found.spread_high**2) == (pytest.approx(low), pytest.approx(high))
    assert found.share_high == pytest.approx(np.quantile([0.9, 0.09 / 0.2], 0.975))


def test_share_longhand_where_replicates_move_the_mean():
    """Means .3 + .1 and .3 - .1, V = .01; spread² .02 as both wordings err together."""
    found = generalisability.gap_shares([0.2, 0.4], [[0.1, -0.1], [0.1, -0.1]])
    assert found.share == pytest.approx(0.08 / (0.08 + 0.02))
    shares = [0.14 / (0.14 + 0.02), 0.02 / (0.02 + 0.02)]
    np.testing.assert_allclose(
        [found.share_low, found.share_high], np.quantile(shares, [0.025, 0.975]), rtol=1e-5
    )
    assert found.high == pytest.approx(0.3 + 1.959964 * 0.1)


def test_spread_is_the_corrected_sd_of_the_house():
    rng = np.random.default_rng(8)
    d, e = rng.normal(0.1, 0.05, 7), rng.normal(0, 0.02, (7, 400)).astype(np.float32)
    found = generalisability.gap_shares(d, e)
    noise = np.full(7, e.astype(float).var(axis=0, ddof=1).mean())
    house = between_group_sd(d, noise, e.T)
    ours = (found.spread, found.spread_low, found.spread_high, found.raw_spread)
    np.testing.assert_allclose(ours, (house.value, house.low, house.high, house.raw), rtol=1e-5)


def test_noise_common_to_all_wordings_is_not_taken_off_the_spread():
    d, common = np.array([0.1, 0.2, 0.3]), np.linspace(-0.3, 0.3, 99)
    found = generalisability.gap_shares(d, np.tile(common, (3, 1)))
    assert found.spread == pytest.approx(0.1)
    assert found.spread_low == pytest.approx(found.spread_high, rel=1e-5)
    assert found.high - found.mean == pytest.approx(1.96 * common.std(), rel=1e-4)
    wider = generalisability.gap_shares(d, np.tile(common, (3, 1)), degrees=5)
    assert wider.high - wider.mean == pytest.approx(stats.t.ppf(0.975, 5) * common.std())


def test_gaps_in_a_table_wordings_left_out_and_reasons():
    rng = np.random.default_rng(9)
    d, e = rng.normal(size=(3, 5)), rng.normal(size=(3, 5, 50)) * 0.1
    d[1, 2], d[2, 1:] = np.nan, np.nan
    found = generalisability.gap_shares(d, e)
    kept = [0, 1, 3, 4]
    alone = generalisability.gap_shares(d[1, kept], e[1, kept])
    np.testing.assert_allclose(found.share_low[1], alone.share_low)
    np.testing.assert_allclose(found.spread[1], alone.spread)
    assert found.mean[2] == d[2, 0]
    assert np.isnan(found.spread[2])
    assert found.reason == ("", "", "one wording only: no spread over wordings")
    nothing = generalisability.gap_shares([np.nan], np.zeros((1, 2)))
    assert (np.isnan(nothing.mean), nothing.reason) == (True, ("no wording has a gap",))
    noise = generalisability.gap_shares([0.01, -0.01], e[0, :2])
    assert np.isnan(noise.share)
    assert (noise.share_low, noise.share_high) == (0, 1)
    assert "beyond sampling noise" in noise.reason[0]


def subjects_in_wordings(rng, subjects, eta):
    """Sums a subject (C, W) of three pictures each, and codes, for probits eta (G, W)."""
    groups, wordings = eta.shape
    code = np.repeat(np.arange(groups), subjects)
    subject = 0.6 * rng.normal(size=(code.size, 1, 1))
    picture = 0.4 * rng.normal(size=(code.size, 3, 1))
    own = math.sqrt(1 - 0.52) * rng.normal(size=(code.size, 3, wordings))
    return (subject + picture + own < eta[code][:, np.newaxis]).sum(axis=1), code


def rates_and_deviations(rng, x, code, groups, replicates=300):
    weights = rng.poisson(1, (len(x), replicates))
    rate = np.stack([x[code == g].mean(axis=0) / 3 for g in range(groups)])
    apart = [
        ((x[code == g] / 3 - rate[g]).T @ weights[code == g]) / (code == g).sum()
        for g in range(groups)
    ]
    return rate, np.stack(apart)


@pytest.mark.slow
def test_gap_intervals_cover_what_is_true_of_the_wordings_at_hand():
    """Nominal 95 %; below 90 % in 150 draws has a chance of 1 in 100 for each."""
    rng, covered = np.random.default_rng(10), []
    for _ in range(150):
        eta = rng.normal(-0.5, 0.3, 8) + rng.normal(0, 0.15, (2, 8)) + [[0.0], [0.4]]
        true = np.diff(special.ndtr(eta), axis=0)[0]
        x, code = subjects_in_wordings(rng, 120, eta)
        rate, apart = rates_and_deviations(rng, x, code, 2)
        found = generalisability.gap_shares(rate[1] - rate[0], apart[1] - apart[0])
        mean2, spread2 = true.mean() ** 2, true.var(ddof=1)
        covered.append(
            [
                found.low <= true.mean() <= found.high,
                found.spread_low <= math.sqrt(spread2) <= found.spread_high,
                found.share_low <= mean2 / (mean2 + spread2) <= found.share_high,
            ]
        )
    assert (np.mean(covered, axis=0) > 0.9).all()


# ---- generalisability --------------------------------------------------------------------------


def test_generalisability_longhand():
    """Rates 1 3 / 2 2 / 3 7: row means 2 2 5, column means 2 4, mean 3; interaction 0 0 1 -1 -1 1.

    Mean squares: groups 2 (1 + 1 + 4) / 2 = 6, templates 3 (1 + 1) / 1 = 6, both 4 / 2 = 2.
    """
    found = generalisability.generalisability(
        [[1, 3], [2, 2], [3, 7]], np.zeros((3, 2, 5)), target=0.8
    )
    variances = (found.group, found.template, found.group_template)
    assert variances == (pytest.approx(2), pytest.approx(4 / 3), pytest.approx(2))
    assert found.relative.value == pytest.approx(2 / (2 + 1))
    assert found.absolute.value == pytest.approx(2 / (2 + (4 / 3 + 2) / 2))
    assert found.needed.value == 4  # 0.8 / 0.2 x 2 / 2
    assert found.needed_absolute.value == math.ceil(4 * (10 / 3) / 2 - 1e-9)
    at_hand = generalisability.generalisability(
        [[1, 3], [2, 2], [3, 7]], np.zeros((3, 2, 5)), resample_wordings=False
    )
    assert at_hand.relative.low == at_hand.relative.high == pytest.approx(2 / 3)


def test_variances_are_those_of_anova_lm():
    rng = np.random.default_rng(11)
    rates = rng.normal(size=(5, 1)) + 0.5 * rng.normal(size=(5, 7))
    group, wording = np.indices(rates.shape)
    table = {"y": rates.ravel(), "g": group.ravel(), "w": wording.ravel()}
    anova = anova_lm(smf.ols("y ~ C(g) + C(w)", pd.DataFrame(table)).fit())
    squares = (anova["sum_sq"] / anova["df"]).to_numpy()
    found = generalisability.generalisability(rates, np.zeros((5, 7, 2)))
    assert found.group_template == pytest.approx(squares[2])
    assert found.group == pytest.approx((squares[0] - squares[2]) / 7)
    assert found.relative.value == pytest.approx(1 - squares[2] / squares[0])


def test_sampling_noise_is_taken_off_each_variance():
    """Noise alone makes differences of groups; on average over tables nothing is left of them."""
    rng = np.random.default_rng(12)
    rates, apart = 0.1 * rng.normal(size=(400, 4, 6)), 0.1 * rng.normal(size=(4, 6, 500))
    noise, _ = generalisability._replicated_squares(rates[0], apart.astype(np.float32), rng, False)
    left = generalisability._variances(
        generalisability._mean_squares(np.moveaxis(rates, 0, -1)) - noise, 4, 6
    )
    raw = generalisability._mean_squares(np.moveaxis(rates, 0, -1))[2].mean()
    assert raw == pytest.approx(0.01, rel=0.05)
    assert (np.abs(left.mean(axis=1)) < 4 * left.std(axis=1) / 20 + 0.0005).all()


@pytest.mark.parametrize("resample", [True, False])
def test_replicates_have_the_variances_of_the_table_on_average(resample):
    """Doubly corrected, and made up for wordings drawn with replacement, their mean stays put."""
    rng = np.random.default_rng(23)
    rates = rng.normal(size=(4, 1)) + rng.normal(size=5) + rng.normal(size=(4, 5))
    apart = (0.8 * rng.normal(size=(4, 5, 20_000))).astype(np.float32)
    noise, net = generalisability._replicated_squares(rates, apart, rng, resample)
    table = generalisability._variances(
        generalisability._mean_squares(rates[..., np.newaxis]) - noise, 4, 5
    )[:, 0]
    drawn = generalisability._variances(net, 4, 5)
    error = drawn.std(axis=1) / math.sqrt(20_000)
    assert (error < 0.02).all()
    np.testing.assert_array_less(np.abs(drawn.mean(axis=1) - table), 4 * error)


def test_no_difference_between_groups_is_undefined_with_a_reason():
    found = generalisability.generalisability([[1, 2], [2, 1], [1.5, 1.5]], np.zeros((3, 2, 5)))
    assert np.isnan([found.relative.value, found.relative.low, found.needed.value]).all()
    assert found.group == 0
    assert "no more than sampling" in found.reason
    left_out = generalisability.generalisability([[1, 2], [np.nan, 1]], np.zeros((2, 2, 5)))
    assert left_out.reason == "1 groups in 2 wordings: needs two of each"
    steady = generalisability.generalisability([[1, 2], [3, 4]], np.zeros((2, 2, 5)))
    assert (steady.relative.value, steady.needed.value) == (1, 1)


@pytest.mark.slow
def test_generalisability_covers_known_components():
    """For the groups at hand and wordings in general; without resampled wordings it does not."""
    rng, covered, narrow = np.random.default_rng(13), [], []
    for seed in range(120):
        eta = rng.normal(0, 0.3, (6, 1)) + rng.normal(-0.5, 0.3, 1000)
        eta += rng.normal(0, 0.3, (6, 1000))
        squares = generalisability._mean_squares(special.ndtr(eta)[..., np.newaxis])
        true = generalisability._coefficients(generalisability._variances(squares, 6, 1000), 10)[
            0, 0
        ]
        x, code = subjects_in_wordings(rng, 60, eta[:, :10])
        rate, apart = rates_and_deviations(rng, x, code, 6, 200)
        found = generalisability.generalisability(rate, apart, seed=seed)
        pictures = generalisability.generalisability(rate, apart, resample_wordings=False)
        if not found.reason:
            covered.append(found.relative.low <= true <= found.relative.high)
            narrow.append(pictures.relative.low <= true <= pictures.relative.high)
    assert len(covered) > 100
    assert np.mean(covered) > 0.9
    assert np.mean(narrow) < 0.9


# ---- rankings ----------------------------------------------------------------------------------


def test_kendall_longhand():
    """Ranks 1 2 3 / 1 3 2 / 2 1 3: sums 4 6 8, S = 8, W = 12 x 8 / (9 x 24) = 4/9."""
    found = concordance.kendall_w(np.array([[1, 1, 2], [2, 3, 1], [3, 2, 3]]))
    assert found.w == pytest.approx(4 / 9)
    assert found.method == "permutation"
    orders = list(itertools.permutations([1, 2, 3]))
    sums = [np.sum(deal, axis=0) for deal in itertools.product(orders, repeat=3)]
    exact = np.mean([((s - 6) ** 2).sum() >= 8 for s in sums])
    assert found.p == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("rounded", [1, 6])
def test_kendall_with_and_without_ties_agrees_with_friedman(rounded):
    rates = np.random.default_rng(14).random((5, 25)).round(rounded) + np.arange(5)[:, None] / 10
    found = concordance.kendall_w(rates)
    friedman = stats.friedmanchisquare(*rates)
    assert (found.method, found.groups, found.wordings) == ("chi-squared", 5, 25)
    assert found.w == pytest.approx(friedman.statistic / (25 * 4))
    assert found.p == pytest.approx(friedman.pvalue)


def test_one_order_is_1_and_undefined_says_why():
    assert concordance.kendall_w(np.arange(4)[:, None] + np.zeros((4, 6))).w == 1
    level = concordance.kendall_w(np.ones((3, 6)))
    assert np.isnan(level.w)
    assert level.reason == "all groups are level in every wording"
    assert "1 groups in 6" in concordance.kendall_w([[1] * 6, [np.nan] * 6]).reason


def test_permuted_p_is_rarely_small_by_chance():
    rng = np.random.default_rng(15)
    p = np.array([concordance.kendall_w(rng.random((4, 6)), 199).p for _ in range(300)])
    assert p.min() >= 1 / 200
    assert 0.015 < (p <= 0.05).mean() < 0.09


# ---- single pictures ---------------------------------------------------------------------------


def test_flips_and_entropy():
    choices = np.array([[0, 0, 0, 0], [1, 0, 2, 0], [3, 1, 2, 0]])
    np.testing.assert_allclose(steadiness.flip_rate(choices, [0, 0, 3]), [0, 0.5, 0.75])
    expected = [stats.entropy(np.bincount(row), base=2) for row in choices]
    np.testing.assert_allclose(steadiness.choice_entropy(choices, 9), expected)
    np.testing.assert_allclose(steadiness.choice_entropy(choices, 9, normalised=True)[2], 1)
    np.testing.assert_allclose(steadiness.choice_entropy(choices[:, :3], 4, True)[1], 1)
    assert np.isnan(steadiness.choice_entropy(choices[:, :1] * 0, 4, True)).all()


def test_group_means_are_the_cluster_t_interval_of_statsmodels():
    rng = np.random.default_rng(16)
    cluster = rng.integers(0, 40, 300)
    value = np.clip(rng.random(300) + 0.2 * rng.random(40)[cluster], 0, 2)
    member = np.stack([rng.random(300) < 0.5, np.ones(300, bool), np.zeros(300, bool)], axis=1)
    found = steadiness.group_means(value, member, cluster, 0.9, most=2)
    for g in range(2):
        here = member[:, g]
        fit = sm.OLS(value[here], np.ones(here.sum())).fit(
            cov_type="cluster", cov_kwds={"groups": cluster[here], "use_correction": True},
            use_t=True,
        )  # fmt: skip
        # statsmodels also multiplies by (n - 1) / (n - 1), which is 1 for a mean
        np.testing.assert_allclose([found.low[g], found.high[g]], fit.conf_int(0.1)[0])
        assert found.subjects[g] == np.unique(cluster[here]).size
    assert not found.few[:2].any()
    assert np.isnan([found.value[2], found.low[2]]).all()


def test_no_flip_at_all_is_not_certainty():
    found = steadiness.group_means(np.zeros(30), np.ones((30, 1)), np.repeat(np.arange(15), 2))
    assert (found.value[0], found.low[0]) == (0, 0)
    assert found.high[0] == pytest.approx(1 - 0.025 ** (1 / 15))
    assert found.few[0]
    assert np.isnan(steadiness.group_means(np.zeros(3), np.ones((3, 1)), [7, 7, 7]).high[0])


def test_copies_of_pictures_leave_group_means_where_they_are():
    rng = np.random.default_rng(17)
    value, member, cluster = rng.random(40), rng.random((40, 2)) < 0.6, rng.integers(0, 12, 40)
    once = steadiness.group_means(value, member, cluster)
    twice = steadiness.group_means(np.tile(value, 2), np.tile(member, (2, 1)), np.tile(cluster, 2))
    np.testing.assert_allclose([once.low, once.high], [twice.low, twice.high])


# ---- the whole curve at once -------------------------------------------------------------------


def numbers_by_hand(x, n, code, pair, margin):
    """Median in standard errors, dominant sign and large share of one candidate's curve."""
    rate, error = [], 0.0
    part = code >= 0
    y = x.mean(axis=1)
    z = y - n * y[part].sum() / n[part].sum()
    for side in pair:
        at = code == side
        p, m = y[at].sum() / n[at].sum(), at.sum()
        squares = ((y - p * n)[at] ** 2).sum() + 10 * (z[part] ** 2).mean()
        error += m / (m + 10) * squares / n[at].sum() ** 2
        rate.append(x[at].sum(axis=0) / n[at].sum())
    d = rate[0] - rate[1]
    signs = max((d > 0).mean(), (d < 0).mean())
    return abs(np.median(d)) / np.sqrt(error), signs, (abs(d) > margin).mean()


def by_hand(labels, n, code, strata, pairs, margins, asked=(0, 0)):
    """Three numbers of the asked candidate, and the largest of all candidates in every deal."""
    places = [np.flatnonzero(strata == s) for s in sorted(set(strata.tolist()))]
    orders = [sorted(set(itertools.permutations(code[p].tolist()))) for p in places]
    every = []
    for chosen in itertools.product(*orders):
        deal = code.copy()
        for where, order in zip(places, chosen, strict=True):
            deal[where] = order
        found = [
            numbers_by_hand(x, n, deal, pair, margin)
            for x, margin in zip(labels, margins, strict=True)
            for pair in pairs
        ]
        every.append(np.max(found, axis=0))
    label, pair = asked
    return numbers_by_hand(labels[label], n, code, pairs[pair], margins[label]), np.array(every)


@pytest.mark.parametrize("chosen", [False, True])
def test_joint_test_agrees_with_all_deals_by_hand(chosen):
    rng = np.random.default_rng(18)
    n = rng.integers(1, 4, 9)
    code = (
        np.array([0, 1, 0, 1, 1, 2, 0, 1, 1]) if chosen else np.array([0, 1, 0, 1, 1, 0, 0, 1, 1])
    )
    strata = np.array([0, 0, 0, 0, 0, 4, 4, 4, 4])
    labels = rng.binomial(n[:, None], 0.4, (3, 9, 5)) if chosen else rng.binomial(
        n[:, None], 0.4, (1, 9, 5)
    )  # fmt: skip
    pairs = [(0, 1), (2, 1), (0, 2)] if chosen else [(0, 1)]
    margins, asked = [0.15, 0.1, 0.3][: len(labels)], (2, 1) if chosen else (0, 0)
    # the same clusters as groups 2, 7 and 9, and a stranger
    names = np.array([2, 7, 9])
    found = joint_test(
        [np.vstack([x, x[:1] + 9]) for x in labels], np.append(n, 1), np.append(names[code], 5),
        np.append(strata, 0), names[np.array(pairs)], margins, asked,
    )  # fmt: skip
    observed, every = by_hand(labels, n, code, strata, pairs, margins, asked)
    assert (found.enumerated, found.permutations) == (True, len(every))
    assert found.candidates == len(labels) * len(pairs)
    for number, part in enumerate((found.median, found.agreeing, found.large)):
        assert abs(part.observed) == pytest.approx(observed[number], rel=1e-5)
        assert part.p == pytest.approx((every[:, number] >= observed[number] - 1e-5).mean())
        assert part.mean == pytest.approx(every[:, number].mean(), rel=1e-5)
        most = every[:, number].max()
        assert part.smallest_p == pytest.approx((every[:, number] >= most - 1e-5).mean())
    one, other = (code == side for side in pairs[asked[1]])
    x = labels[asked[0]]
    gaps = x[one].sum(axis=0) / n[one].sum() - x[other].sum(axis=0) / n[other].sum()
    np.testing.assert_allclose(found.gaps, gaps)


def world(seed, clusters=60, wordings=9, gap=0.0):
    rng = np.random.default_rng(seed)
    n, code = rng.integers(1, 4, clusters), rng.integers(0, 2, clusters)
    own = rng.beta(2, 3, (clusters, 1)) + gap * code[:, None]
    share = np.clip(own + 0.1 * rng.normal(size=(clusters, wordings)), 0, 1)
    return rng.binomial(n[:, None], share), n, code


def plain(x, n, code, margin=0.0, pair=(0, 1), **more):
    """The test of a question fixed beforehand."""
    return joint_test([x], n, code, code * 0, [pair], margin, **more)


def test_deals_kept_for_all_labels_or_made_again_in_small_blocks_say_the_same(monkeypatch):
    x, n, code = world(3)
    code = code + 2 * (np.arange(60) % 5 == 0)
    pairs, labels = [(0, 1), (0, 2), (3, 1)], [x, np.flip(x)]

    def found():
        return joint_test(labels, n, code, code * 0, pairs, 0.05, (1, 2), 300, 1)

    kept = found()
    monkeypatch.setattr(curves, "_MEMBERS_KEPT", 0)
    again = found()
    monkeypatch.setattr(generalisability, "_VALUES_AT_ONCE", 9)  # one pair at a time
    assert kept.permutations == 300
    for other in (again, found()):
        assert (other.median, other.agreeing, other.large) == (
            kept.median, kept.agreeing, kept.large
        )  # fmt: skip
        np.testing.assert_array_equal(other.band_low, kept.band_low)
    monkeypatch.setattr(curves, "_MEMBERS_AT_ONCE", 60 * 4 * 7)  # sums in single precision
    in_blocks = found()
    assert (in_blocks.median.p, in_blocks.large.p) == (kept.median.p, kept.large.p)
    np.testing.assert_allclose(in_blocks.band_low, kept.band_low, rtol=1e-5)


def test_of_one_wording_in_groups_of_one_size_it_is_the_permuted_range():
    """Of like groups the standard error falls as the gap grows, so the order of deals is one."""
    rng = np.random.default_rng(19)
    x, code = rng.binomial(1, 0.4, (60, 1)), np.repeat([0, 1], 30)
    ours = plain(x, np.ones(60), code, permutations=500, seed=3)
    house = permuted_range(x, np.ones(60), code, code * 0, 2, 500, 3)
    assert ours.median.p == house.p[0]
    assert ours.median.smallest_p == house.smallest_p


def test_swapping_the_groups_turns_the_curve_over():
    x, n, code = world(20, gap=0.1)
    one = plain(x, n, code, pair=(1, 0), permutations=300)
    other = plain(x, n, 1 - code, permutations=300)
    back = plain(x, n, code, permutations=300)
    np.testing.assert_array_equal(one.gaps, other.gaps)
    np.testing.assert_array_equal(one.gaps, -back.gaps)
    assert (one.sign, back.sign) == (1, -1)
    assert one.median.observed == -back.median.observed


@pytest.mark.slow
def test_a_planted_gap_is_found_and_no_gap_is_not():
    planted = plain(*world(21, 300, gap=0.2), 0.05, permutations=400)
    assert planted.median.p == planted.median.smallest_p == 1 / 401
    assert planted.large.p < 0.02
    assert (np.sort(planted.gaps) < planted.band_low).all()
    p = []
    for seed in range(250):
        found = plain(*world(seed), 0.03, permutations=99)
        p.append([found.median.p, found.agreeing.p, found.large.p])
    rejected = (np.array(p) <= 0.05).mean(axis=0)
    assert (rejected < 0.1).all()
    assert rejected[0] > 0.01
    # wordings share pictures: agreement is common without any gap, and says so
    # (nine independent signs would agree by 0.64 on average, and all nine in 1 of 256)
    assert found.agreeing.mean > 0.7
    assert found.agreeing.smallest_p > 0.1


@pytest.mark.slow
def test_groups_of_unlike_subjects_do_not_make_a_gap():
    """60 subjects of one picture against 600 of twenty: the plain range errs in one of five."""
    p, house = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n, code = np.repeat([1, 20], [60, 600]), np.repeat([0, 1], [60, 600])
        x = rng.binomial(n, rng.beta(0.5, 0.5, 660))[:, None]
        p.append(plain(x, n, code, permutations=99, seed=seed).median.p)
        house.append(permuted_range(x, n, code, code * 0, 2, 99, seed).p[0])
    assert (np.array(p) <= 0.05).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)
    assert (np.array(house) <= 0.05).mean() > 0.1


@pytest.mark.slow
def test_the_largest_of_many_is_tested_as_the_largest_of_many():
    """Three groups, four labels: of the largest gap the plain p is small in a null world."""
    paid, unpaid = [], []
    pairs = [(0, 1), (0, 2), (1, 2)]
    for seed in range(120):
        rng = np.random.default_rng(seed)
        code = rng.permutation(np.repeat([0, 1, 2], [40, 60, 20]))
        own = rng.random((4, 120, 1)) + rng.normal(scale=0.1, size=(4, 120, 5))
        labels = (own < np.array([0.5, 0.3, 0.2, 0.1])[:, None, None]).astype(np.uint8)
        rate = np.array([[x[code == g].mean() for g in range(3)] for x in labels])
        gaps = np.array([[abs(r[a] - r[b]) for a, b in pairs] for r in rate])
        label, pair = np.unravel_index(gaps.argmax(), gaps.shape)
        n = np.ones(120)
        found = joint_test(labels, n, code, code * 0, pairs, 0.05, (label, pair), 99, seed)
        paid.append((found.median.p, found.large.p))
        unpaid.append(plain(labels[label], n, np.where(np.isin(code, pairs[pair]), code, -1),
                            0.05, pairs[pair], permutations=99, seed=seed).median.p)  # fmt: skip
    small = (np.array(paid) <= 0.05).mean(axis=0)
    assert (small <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 120)).all()
    assert (np.array(unpaid) <= 0.05).mean() > 0.25


def test_where_nothing_can_move_there_is_a_reason_and_no_p():
    x, n, code = world(22)
    still = joint_test([x], n, code, code, [(0, 1)])
    assert "no cluster can change group" in still.reason
    assert np.isnan([still.median.p, still.large.p, *still.band_low]).all()
    assert np.isfinite(still.median.observed)
    empty = plain(x, n, code, pair=(0, 5))
    assert empty.reason == "a group has no pictures"
    assert np.isnan(empty.median.observed)
    unseen = plain(x * (code == 0)[:, None], n * (code == 0), code)
    assert unseen.reason == "a group has no pictures"
    assert (unseen.permutations, unseen.sign) == (0, 0)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: c.moments(np.ones(3), [0], 1), "Give (pictures, wordings)"),
        (lambda: c.moments(np.ones((3, 2)), [0], 1), "one group a picture"),
        (lambda: c.moments(np.ones((1, 2)), [2], 2), "codes from 2 to 2"),
        (lambda: c.moments([[np.nan, 1]], [0], 1), "not finite"),
        (lambda: choice_moments([[0, 3]], 3, [0], 1), "choices from 0 to 3"),
        (lambda: generalisability.gap_shares([1, 2], np.zeros((3, 5))), "one more axis"),
        (lambda: generalisability.gap_shares([1, 2], np.zeros((2, 0))), "one more axis"),
        (lambda: generalisability.gap_shares([1, 2], np.zeros((2, 5)), 95), "not strictly between"),
        (lambda: generalisability.generalisability([1, 2], np.zeros((2, 5))), "Give a table"),
        (
            lambda: generalisability.generalisability(
                np.ones((2, 2)), np.zeros((2, 2, 5)), target=1
            ),
            "strictly",
        ),
        (lambda: concordance.kendall_w([1, 2]), "(groups, wordings)"),
        (lambda: steadiness.flip_rate([[1, 2]], [1, 2]), "one headline a picture"),
        (lambda: steadiness.choice_entropy(np.zeros((2, 0)), 3), "no wording"),
        (lambda: steadiness.group_means([0.5], [[1], [1]], [0]), "one row a picture"),
        (lambda: steadiness.group_means([1.5], [[1]], [0]), "outside 0 to 1"),
        (lambda: joint_test([[[1]]], [1], [0], [0], [(0, 0)]), "two different groups"),
        (lambda: joint_test([[[1]]], [1, 1], [0, 1], [0, 0], [(0, 1)]), "one row of each"),
        (lambda: joint_test([[[1]]], [1, 1], [0], [0, 0], [(0, 1)]), "one row of each"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(InputError) as error:
        call()
    assert says in str(error.value)

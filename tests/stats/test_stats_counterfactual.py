"""Families of pictures against scipy, statsmodels and longhand, and worlds with a truth."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats

from audit.core.errors import InputError
from audit.core.tables import OK, TOO_FEW, UNDEFINED
from audit.stats import counterfactual as c
from audit.stats.intervals import clopper_pearson

TABLES = ("value", "error", "low", "high", "low_all", "high_all", "p", "q")


def rows(table):
    """Pairs from a table (F, K, L), one of each family and kind, those with nan left out."""
    family, kind = (x.reshape(-1) for x in np.indices(table.shape[:2]))
    flat = table.reshape(-1, table.shape[2])
    there = ~np.isnan(flat).any(axis=1)
    return flat[there], family[there], kind[there]


def corrected(x, level=0.95):
    """The interval and p of the docstring, one sample at a time."""
    n = len(x)
    lean, peak = stats.skew(x) / np.sqrt(n), stats.kurtosis(x, fisher=False)
    degrees = min(n - 1, 2 * n / (peak - 1))
    error = np.std(x, ddof=1) / np.sqrt(n)

    def straight(t):
        return t + lean * t**2 / 3 + lean**2 * t**3 / 27 + lean / 6

    t = stats.t.ppf((1 + level) / 2, degrees)
    ends = [optimize.brentq(lambda z, at=at: straight(z) - at, -1e4, 1e4) for at in (t, -t)]
    p = 2 * stats.t.sf(abs(straight(np.mean(x) / error)), degrees)
    return *(np.mean(x) - z * error for z in ends), p


# ---- pairs -------------------------------------------------------------------------------------


def test_every_changed_picture_stands_beside_its_original():
    families = ["b", "a", "a", "b", "b", "a"]
    found = c.pairs(families, [0, 1, c.ORIGINAL, 2, -1, 0])
    assert found.changed.tolist() == [0, 1, 3, 5]
    assert found.original.tolist() == [4, 2, 4, 2]
    assert found.family.tolist() == ["b", "a", "b", "a"]
    assert found.kind.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("families", "kinds", "said"),
    [
        ("aab", [-1, 0, -1], "'b' has one picture. Nothing can be compared in it: leave it out"),
        ("aabc", [-1, 0, -1, 0], r"'b' has one picture \(2 families do\)"),
        ("aabb", [-1, 0, 1, 0], "'b' has no original. Mark the picture in which nothing"),
        ("aabb", [-1, 0, -1, -1], "'b' has several originals. Mark one"),
        ("aab", [-1, 0], "one family and one kind"),
        ("aa", [-2, -1], "Kinds are from 0"),
    ],
)
def test_families_that_cannot_be_compared_are_refused(families, kinds, said):
    with pytest.raises(InputError, match=said):
        c.pairs(list(families), kinds)


# ---- flips -------------------------------------------------------------------------------------


def test_flip_rates_are_exact_where_families_do_not_repeat():
    flips = np.zeros((40, 2), bool)
    flips[:4, 0] = True
    kinds = np.repeat([0, 1], [30, 10])
    found = c.flip_rates(flips, np.arange(40), kinds, 3, resamples=300)
    assert found.value[:2].tolist() == [[4 / 30, 0], [0, 0]]
    low, high = clopper_pearson([[4, 0], [0, 0]], [[30, 30], [10, 10]])
    assert found.low[:2] == pytest.approx(low)
    assert found.high[:2] == pytest.approx(high)
    assert (found.high_all[:2] > found.high[:2]).all()
    assert found.status[:, 0].tolist() == [OK, OK, UNDEFINED]
    assert found.reason[2, 0] == "no family has this change"
    assert np.isnan(found.low_all[2]).all()


def test_pairs_of_a_family_do_not_count_as_many():
    flips = np.repeat(np.arange(40) < 12, 6)[:, np.newaxis]
    kinds = np.zeros(240, int)
    alone = c.flip_rates(flips[::6], np.arange(40), kinds[::6], 1, resamples=500)
    many = c.flip_rates(flips, np.repeat(np.arange(40), 6), kinds, 1, resamples=500)
    assert (many.families[0, 0], many.pairs[0, 0]) == (40, 240)
    assert many.low == pytest.approx(alone.low)
    one = c.flip_rates(flips[:6], np.zeros(6), kinds[:6], 1, resamples=50)
    assert one.status[0, 0] == TOO_FEW
    assert one.reason[0, 0] == "only one family has this change"


@pytest.mark.parametrize(("planted", "found"), [(0.3, True), (0.0, False)])
def test_flips_by_a_demographic_change_beyond_those_by_a_nuisance(planted, found):
    rng, families = np.random.default_rng(1), 300
    nuisance = rng.random(families) < 0.1
    demographic = nuisance | (rng.random(families) < planted)
    flips = np.concatenate([demographic, nuisance])[:, np.newaxis]
    kinds = np.repeat([0, 1], families)
    rates = c.flip_rates(flips, np.tile(np.arange(families), 2), kinds, 2, resamples=500)
    result = c.compare_flips(rates, 0, 1)
    assert result.difference.value[0, 0] == pytest.approx(demographic.mean() - nuisance.mean())
    assert (result.difference.low_all[0, 0] > 0) == found


# ---- score changes -----------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_t"])
def test_mean_changes_longhand(draw):
    rng = np.random.default_rng(2)
    table = getattr(rng, draw)(**({"df": 3} if draw == "standard_t" else {}), size=(15, 2, 3))
    deltas, family, kind = rows(table)
    found = c.mean_changes(deltas, family, kind, 2, resamples=100)
    for k in range(2):
        for label in range(3):
            low, high, p = corrected(table[:, k, label])
            assert found.low[k, label] == pytest.approx(low)
            assert found.high[k, label] == pytest.approx(high)
            assert found.p[k, label] == pytest.approx(p)
    assert found.value == pytest.approx(table.mean(axis=0))
    assert found.error == pytest.approx(stats.sem(table, axis=0))


def test_a_symmetric_sample_gives_students_interval():
    x = np.array([-3.0, -2, -1, 1, 2, 3]) + 1.5
    found = c.mean_changes(x[:, np.newaxis], np.arange(6), np.zeros(6, int), 1, resamples=10)
    test = stats.ttest_1samp(x, 0)
    ends = test.confidence_interval(0.95)
    assert found.low[0, 0] == pytest.approx(ends.low)
    assert found.high[0, 0] == pytest.approx(ends.high)
    assert found.p[0, 0] == pytest.approx(test.pvalue)


def test_each_family_counts_once_however_many_pairs_it_has():
    rng = np.random.default_rng(3)
    deltas, family, kind = rows(rng.normal(size=(12, 2, 2)))
    often = np.repeat(np.arange(len(family)), rng.integers(1, 5, len(family)))
    one = c.mean_changes(deltas, family, kind, 2, resamples=200)
    many = c.mean_changes(deltas[often], family[often], kind[often], 2, resamples=200)
    for name in TABLES:
        assert getattr(many, name) == pytest.approx(getattr(one, name))
    assert (many.families == 12).all()


def test_the_order_of_labels_and_pairs_does_not_matter():
    rng = np.random.default_rng(4)
    deltas, family, kind = rows(rng.normal(0.3, 1, size=(20, 2, 4)))
    order, labels = rng.permutation(40), [2, 0, 3, 1]
    one = c.mean_changes(deltas, family, kind, 2, resamples=200)
    other = c.mean_changes(deltas[order][:, labels], family[order], kind[order], 2, resamples=200)
    for name in TABLES:
        assert getattr(other, name) == pytest.approx(getattr(one, name)[:, labels])


def test_the_sign_test_is_the_binomial_one():
    table = np.random.default_rng(5).normal(0.4, 1, size=(19, 2, 3))
    table[:4, 0, 0] = 0
    table[:, 1, 2] = 0
    deltas, family, kind = rows(table)
    found = c.sign_test(deltas, family, kind, 3)
    for k in range(2):
        for label in range(3):
            up, down = (table[:, k, label] > 0).sum(), (table[:, k, label] < 0).sum()
            wanted = stats.binomtest(int(up), int(up + down)).pvalue if up + down else 1.0
            assert found[k, label] == pytest.approx(wanted)
    assert np.isnan(found[2]).all()


def test_bounds_and_q_values_of_the_table_agree_and_a_planted_change_is_found():
    rng = np.random.default_rng(6)
    table = rng.normal(size=(60, 3, 8)) + rng.normal(size=(60, 1, 1))
    table[:, 1, 2] += 1.2
    deltas, family, kind = rows(table)
    found = c.mean_changes(deltas, family, kind, 3, resamples=1000)
    outside = (found.low_all > 0) | (found.high_all < 0)
    assert outside[1, 2]
    assert outside.sum() == 1
    assert (outside == (found.q < 0.05)).all()
    assert (found.q >= found.p).all()
    # families move all their labels together: less strict than Bonferroni, stricter than one alone
    assert 0.95 < found.levels.max() < 1 - 0.05 / 24
    assert (found.low_all <= found.low).all()


def test_without_a_change_the_table_is_quiet():
    wrong = 0
    for seed in range(60):
        table = np.random.default_rng(seed).normal(size=(25, 3, 5))
        found = c.mean_changes(*rows(table), 3, resamples=200, seed=seed)
        wrong += bool((found.q < 0.05).any())
    assert wrong <= 8


def test_few_families_keep_their_bonferroni_share():
    table = np.random.default_rng(7).normal(size=(30, 2, 3))
    table[6:, 1] = np.nan
    found = c.mean_changes(*rows(table), 2, resamples=300)
    assert found.families.tolist() == [[30] * 3, [6] * 3]
    assert found.levels[1] == pytest.approx(1 - 0.05 / 6)
    assert found.q[1] == pytest.approx(np.minimum(6 * found.p[1], 1))


def test_what_is_not_known_has_a_reason():
    table = np.random.default_rng(8).normal(size=(9, 4, 1))
    table[1:, 1] = np.nan
    table[:, 2] = 0
    table[:, 3] = 0.3
    found = c.mean_changes(*rows(table), 5, resamples=50)
    assert found.status[:, 0].tolist() == [OK, TOO_FEW, UNDEFINED, UNDEFINED, UNDEFINED]
    assert found.reason[1, 0] == "only one family has this change"
    assert found.reason[2, 0] == "all families change by the same: nothing tells how sure that is"
    assert found.reason[3, 0] == found.reason[2, 0]
    assert found.reason[4, 0] == "no family has this change"
    assert found.value[:4, 0] == pytest.approx([table[:, 0].mean(), table[0, 1, 0], 0, 0.3])
    for name in ("value", "low", "q"):
        assert np.isnan(getattr(found, name)[4, 0])
    assert np.isnan(found.low_all[1:]).all()


@pytest.mark.parametrize(("draw", "least"), [("normal", 0.93), ("exponential", 0.93)])
def test_intervals_cover_a_known_mean(draw, least):
    """Students's t alone covers 92 % of the exponential world."""
    x = getattr(np.random.default_rng(9), draw)(size=(15, 3000))
    mean = 1.0 if draw == "exponential" else 0.0
    found = c.mean_changes(x - mean, np.arange(15), np.zeros(15, int), 1, resamples=0)
    covered = ((found.low <= 0) & (found.high >= 0)).mean()
    assert least < covered < 0.97


# ---- against a nuisance ------------------------------------------------------------------------


def test_the_difference_is_taken_within_families_that_have_both():
    rng = np.random.default_rng(10)
    table = rng.normal(size=(20, 3, 2)) + 3 * rng.normal(size=(20, 1, 1))
    table[15:, 1] = np.nan
    found = c.compare_changes(*rows(table), [0, 2], [1, 0], resamples=100)
    apart = np.abs(table[:15, 0]) - np.abs(table[:15, 1])
    assert found.effects.value[0] == pytest.approx(apart.mean(axis=0))
    assert found.effects.low[0, 1] == pytest.approx(corrected(apart[:, 1])[0])
    assert found.paired.tolist() == [True, True]
    assert found.left_out.tolist() == [5, 0]
    assert found.effects.families[:, 0].tolist() == [15, 20]


def test_without_common_families_it_is_welchs():
    rng = np.random.default_rng(11)
    table = rng.normal(size=(30, 2, 1))
    table[:12, 1] = table[12:, 0] = np.nan
    found = c.compare_changes(*rows(table), 0, 1, resamples=100)
    one, other = np.abs(table[:12, 0, 0]), np.abs(table[12:, 1, 0])
    test = stats.ttest_ind(one, other, equal_var=False)
    assert not found.paired[0]
    assert found.effects.value[0, 0] == pytest.approx(one.mean() - other.mean())
    assert found.effects.value[0, 0] / found.effects.error[0, 0] == pytest.approx(test.statistic)
    assert found.effects.degrees[0, 0] == pytest.approx(test.df)
    assert found.effects.families[0, 0] == 12


def test_a_planted_sensitivity_beyond_the_nuisance_is_found_and_none_is_not():
    rng = np.random.default_rng(12)
    table = 0.02 * rng.normal(size=(80, 3, 4))
    table[:, 0, 1] *= 3
    found = c.compare_changes(*rows(table), [0, 2], [1, 1], resamples=500)
    surely = (found.effects.low_all > 0) | (found.effects.high_all < 0)
    assert surely.tolist() == [[False, True, False, False], [False] * 4]


# ---- size of the step --------------------------------------------------------------------------


def stepped(seed, families=25, slope=2.0, intercept=0.0, kinds=1, labels=2):
    """Three steps a family and kind; families have slopes of their own."""
    rng = np.random.default_rng(seed)
    family, kind, step = (x.reshape(-1) for x in np.indices((families, kinds, 3)))
    steps = (step + 1) * rng.uniform(0.5, 1.5, (families, kinds))[family, kind]
    own = slope + 0.5 * rng.normal(size=(families, labels))
    noise = 0.1 * rng.normal(size=(family.size, labels))
    return intercept + steps[:, np.newaxis] * own[family] + noise, family, kind, steps


def test_the_slope_is_that_through_the_origin_and_the_intercept_that_of_the_free_line():
    y, family, kind, steps = stepped(0, intercept=0.5)
    found = c.dose_response(y, family, kind, steps, 1, resamples=100)
    for label in range(2):
        through = sm.OLS(y[:, label], steps).fit().params[0]
        free = sm.OLS(y[:, label], sm.add_constant(steps)).fit().params[0]
        assert found.slope.value[0, label] == pytest.approx(through)
        assert found.intercept.value[0, label] == pytest.approx(free)
    assert found.steps[0] == 75
    # leaving out one family at a time
    left = [
        sm.OLS(y[family != f, 1], steps[family != f]).fit().params[0] for f in range(25)
    ]  # fmt: skip
    assert found.slope.error[0, 1] == pytest.approx(np.sqrt(24 / 25 * 25 * np.var(left)))


def test_a_response_out_of_proportion_shows_in_the_intercept():
    y, *rest = stepped(1, intercept=1.0)
    bent = c.dose_response(y, *rest, 1, resamples=300)
    assert (bent.intercept.low_all > 0).all()
    y, *rest = stepped(1, intercept=0.0)
    straight = c.dose_response(y, *rest, 1, resamples=300)
    assert (straight.intercept.low_all < 0).all()
    assert (straight.slope.low < 2).all()
    assert (straight.slope.high > 2).all()


def test_one_size_of_step_gives_a_slope_and_no_intercept():
    y, family, kind, _ = stepped(2, families=8)
    found = c.dose_response(y, family, kind, np.full(24, 0.5), 1, resamples=50)
    assert found.slope.status[0, 0] == OK
    assert found.slope.value == pytest.approx(2 * y.mean(axis=0, keepdims=True))
    assert found.steps.tolist() == [1]
    assert found.intercept.status[0, 0] == UNDEFINED
    assert found.intercept.reason[0, 0] == "steps of one size only"
    assert np.isnan(found.intercept.value).all()


def test_kinds_are_ranked_by_the_unit_of_step_and_only_with_one():
    rng, families = np.random.default_rng(3), 60
    family, kind = (x.reshape(-1) for x in np.indices((families, 4)))
    # light changes far more, but only since its step is ten times as large
    sensitivity, size = np.array([0.5, 0.1, 0.1, 0.2]), np.array([0.1, 1.0, 0.1, 0.1])
    steps = size[kind] * rng.uniform(0.8, 1.2, family.size)
    deltas = steps * sensitivity[kind] * rng.choice([-1, 1], family.size)
    deltas = deltas[:, np.newaxis] * rng.uniform(0.7, 1.3, (family.size, 1))
    assert np.abs(deltas[kind == 1]).mean() > np.abs(deltas[kind == 0]).mean()
    found = c.rank_kinds(deltas, family, kind, steps, 4, resamples=500)
    assert found.rank[[0, 3], 0].tolist() == [1, 2]
    assert found.best[:, 0].tolist() == [1, 3, 3, 2]
    assert found.worst[:, 0].tolist() == [1, 4, 4, 2]
    without = np.where((kind == 3) & (family < 7), np.nan, steps)
    found = c.rank_kinds(deltas, family, kind, without, 4, resamples=500)
    assert found.reason == ("", "", "", "the size of the step is not known for 7 of 60 pairs")
    assert np.isnan([found.rank[3, 0], found.best[3, 0], found.worst[3, 0]]).all()
    assert found.worst[:3, 0].tolist() == [1, 3, 3]
    last = (found.pairs[0] == 2) & (found.pairs[1] == 3)
    assert found.differences.status[last, 0] == [UNDEFINED]
    assert "not known" in found.differences.reason[last, 0][0]


def test_a_line_that_few_families_draw_has_few_degrees_of_freedom():
    y, family, kind, _ = stepped(5, families=20)
    steps = np.where(family < 2, 10.0, 0.1)
    even = c.dose_response(y, family, kind, np.ones(60), 1, resamples=50)
    uneven = c.dose_response(y, family, kind, steps, 1, resamples=50)
    assert even.slope.degrees[0, 0] > 15
    assert uneven.slope.degrees[0, 0] == pytest.approx(1, abs=0.01)


def test_steps_of_none_give_no_slope():
    y, family, kind, steps = stepped(4, families=6, kinds=2)
    found = c.dose_response(y, family, kind, np.where(kind == 1, 0, steps), 2, resamples=50)
    assert found.slope.status[:, 0].tolist() == [OK, UNDEFINED]
    assert found.slope.reason[1, 0] == "every step has size 0"


# ---- refusals ----------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused_in_a_sentence():
    y, family, kind, steps = stepped(0, families=4)
    with pytest.raises(InputError, match=r"from 0 to 1, no originals"):
        c.mean_changes(y, family, kind - 1, 2)
    with pytest.raises(InputError, match="not finite"):
        c.mean_changes(np.where(y > 4, np.nan, y), family, kind, 1)
    with pytest.raises(InputError, match="one row, one family and one kind"):
        c.sign_test(y[1:], family, kind, 1)
    with pytest.raises(InputError, match="a size below 0"):
        c.dose_response(y, family, kind, -steps, 1)
    with pytest.raises(InputError, match="one finite size from 0 a pair"):
        c.rank_kinds(y, family, kind, steps[1:], 1)
    with pytest.raises(InputError, match="two lists of one length"):
        c.compare_changes(y, family, kind, [0, 1], [1])
    with pytest.raises(InputError, match="flips of shape"):
        c.flip_rates(kind, family, kind, 1)

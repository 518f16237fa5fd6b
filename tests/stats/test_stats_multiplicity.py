"""Many comparisons at once: max-T longhand, exact tests, joint bounds, the one rule."""

from __future__ import annotations

import warnings
from dataclasses import fields

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from audit.core.verdicts import GapSize, decide, size_bounds, verdicts
from audit.stats import multiplicity
from audit.stats.clustered import (
    Sample,
    difference_interval,
    difference_z,
    effective_events,
    ratio_interval,
)
from audit.stats.counts import sample_of
from audit.stats.multiplicity import (
    ENOUGH,
    Estimates,
    Family,
    _errors,
    compare,
    joint_level,
)
from audit.stats.resampling import cluster_weights
from audit.stats.significance import difference_p

World = tuple[np.ndarray, np.ndarray, np.ndarray]


def world(
    seed: int,
    subjects: int = 120,
    per: int = 3,
    rates: float | list[float] = 0.4,
    questions: int = 5,
    groups: int = 3,
    spread: bool = False,
    alike: float = 0.5,
) -> World:
    """Events, groups and subjects; a group's rate for all questions, or one for each group.

    Subjects agree within by a normal variable of their own. ``spread``: pictures of a subject fall
    into groups by chance, else subjects belong to one group.
    """
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), per)
    codes = rng.integers(0, groups, len(who)) if spread else who % groups
    cut = special.ndtri(np.broadcast_to(rates, groups))[codes]
    own = np.sqrt(alike) * rng.standard_normal((subjects, questions))
    drawn = own[who] + np.sqrt(1 - alike) * rng.standard_normal((len(who), questions))
    return drawn < cut[:, np.newaxis], codes, who


def every_pair(groups: int) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.triu_indices(groups, 1)
    return one.astype(np.int64), other.astype(np.int64)


def compared(
    sample: Sample, groups: int = 3, usable: np.ndarray | None = None, level: float = 0.95
) -> Family:
    """All pairs as one family, with warnings as errors."""
    one, other = every_pair(groups)
    everything = np.ones((len(sample.n), len(one)), bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compare(sample, one, other, everything if usable is None else usable, level)


def arrays(family: Family) -> dict[str, np.ndarray]:
    """Everything in a family, by name."""
    found = {}
    for field in fields(family):
        value = getattr(family, field.name)
        if isinstance(value, Estimates):
            parts = {f"{field.name}.{f.name}": getattr(value, f.name) for f in fields(value)}
            found |= parts
        else:
            found[field.name] = np.asarray(value)
    return found


def assert_same(one: Family, other: Family, rtol: float = 0.0, but: tuple[str, ...] = ()) -> None:
    mine, theirs = arrays(one), arrays(other)
    for name in mine:
        if name not in but:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=rtol, atol=0, err_msg=name)


# ---- max-T ---------------------------------------------------------------------------------------


def longhand(
    events: np.ndarray, codes: np.ndarray, who: np.ndarray, groups: int, resamples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, p and step-down q of every question and pair by loops over pictures and replicates.

    The statistic is taken as it is; tests of its own are below.
    """
    weights = cluster_weights(0, np.unique(who).tolist(), resamples).astype(float)
    t, deviations = [], []
    sample = sample_of(events, codes, who, groups, resamples=resamples)
    for q in range(events.shape[1]):
        apart = []
        for g in range(groups):
            here = codes == g
            n, x = here.sum(), (here & events[:, q]).sum()
            drawn = weights[who[here]]
            apart.append(
                ((drawn * events[here, q, np.newaxis]).sum(axis=0) - x / n * drawn.sum(axis=0)) / n
            )
        for g in range(groups):
            for h in range(g + 1, groups):
                t.append(difference_z(sample, np.array([g]), np.array([h]))[q, 0])
                deviation = np.abs(apart[g] - apart[h])
                deviations.append(deviation / np.sqrt((deviation**2).mean()))
    seen, replicates = np.array(t), np.array(deviations)
    order = np.argsort(-seen, kind="stable")
    p = np.array([(1 + (replicates[i] >= seen[i]).sum()) / (resamples + 1) for i in range(len(t))])
    q_values, so_far = np.empty(len(t)), 0.0
    for step, i in enumerate(order):
        left = replicates[order[step:]].max(axis=0)
        so_far = max(so_far, (1 + (left >= seen[i]).sum()) / (resamples + 1))
        q_values[i] = so_far
    shape = (events.shape[1], groups * (groups - 1) // 2)
    return seen.reshape(shape), p.reshape(shape), q_values.reshape(shape)


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("at_once", [512, 4])
def test_step_down_max_t_is_the_longhand_loop(
    spread: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplicity, "_AT_ONCE", at_once)
    drawn = world(1, rates=[0.35, 0.45, 0.5], spread=spread)
    found = compared(sample_of(*drawn, 3, resamples=300))
    _, p, q = longhand(*drawn, 3, 300)
    assert found.studentised.all()
    # single precision may turn a near tie in one replicate
    np.testing.assert_allclose(found.p, p, atol=1.5 / 301)
    np.testing.assert_allclose(found.q, q, atol=1.5 / 301)
    assert (p < q).any()
    assert len(np.unique(q)) > 4


def test_the_joint_level_of_a_family_is_the_rank_of_the_largest_deviations() -> None:
    events, codes, who = world(1)
    # every question asked three times, so that Bonferroni's level is far from the family's
    sample = sample_of(np.tile(events, 3), codes, who, 3, resamples=300)
    one, other = every_pair(3)
    assert sample.deviations is not None
    apart = np.abs(sample.deviations[:, one] - sample.deviations[:, other]).astype(float)
    apart /= np.sqrt((apart**2).mean(axis=-1, keepdims=True))
    largest = np.sort(apart.reshape(-1, 300).max(axis=0))
    c = largest[int(np.ceil(0.95 * 301)) - 1]
    found = compared(sample)
    assert found.each == pytest.approx(2 * special.ndtr(c) - 1, rel=1e-5)
    assert 0.95 < found.each < 1 - 0.05 / 45
    for estimates, interval in (
        (found.difference, difference_interval),
        (found.ratio, ratio_interval),
    ):
        low, high = interval(sample, one, other, found.each)
        np.testing.assert_array_equal(estimates.low_all, low)
        np.testing.assert_array_equal(estimates.high_all, high)
        low, high = interval(sample, one, other, 0.95)
        np.testing.assert_array_equal((estimates.low, estimates.high), (low, high))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.booleans())
def test_q_is_never_below_p_and_rises_as_the_statistic_falls(seed: int, spread: bool) -> None:
    sample = sample_of(*world(seed, 60, 2, spread=spread), 3, resamples=200)
    found = compared(sample)
    asked = found.studentised
    t = difference_z(sample, *every_pair(3))
    np.testing.assert_array_equal(found.q[~asked], np.minimum(15 * found.p[~asked], 1))
    p, q = found.p[asked], found.q[asked]
    assert (q >= p).all()
    assert (q <= 1).all()
    assert (p >= 1 / 201).all()
    assert (np.diff(q[np.argsort(t[asked])]) <= 0).all()
    assert found.smallest_q == 1 / 201


def test_questions_that_are_copies_cost_nothing() -> None:
    """Twenty times the same question is one question; Bonferroni would charge for twenty."""
    events, codes, who = world(2, questions=1, groups=2)
    once = compared(sample_of(events, codes, who, 2, resamples=400), 2)
    many = compared(sample_of(np.repeat(events, 20, axis=1), codes, who, 2, resamples=400), 2)
    np.testing.assert_array_equal(many.q, np.repeat(once.q, 20, axis=0))
    np.testing.assert_array_equal(many.q, many.p)
    # alone it may not fall below its own level, so the bootstrap's rank shows only here
    assert abs(special.ndtri((1 - many.each) / 2) / special.ndtri(0.025)) == pytest.approx(
        1, abs=0.15
    )
    assert many.size == 20


def test_one_comparison_keeps_its_own_level() -> None:
    found = compared(sample_of(*world(3, questions=1, groups=2), 2, resamples=400), 2)
    assert found.size == 1
    assert found.each >= 0.95
    assert found.q[0, 0] == found.p[0, 0]


def test_the_bootstrap_p_agrees_with_a_regression() -> None:
    drawn = world(4, 300, 3, [0.35, 0.45, 0.4], 4)
    found = compared(sample_of(*drawn, 3, resamples=4000))
    events, codes, who = drawn
    one, other = every_pair(3)
    for q in range(4):
        for j, (g, h) in enumerate(zip(one, other, strict=True)):
            here = np.isin(codes, (g, h))
            fit = sm.OLS(
                events[here, q].astype(float), sm.add_constant((codes[here] == g).astype(float))
            ).fit(cov_type="cluster", cov_kwds={"groups": who[here], "use_correction": False})
            assert found.p[q, j] == pytest.approx(fit.pvalues[1], abs=0.04)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.booleans(), rate=st.sampled_from([0.03, 0.1, 0.5]))
def test_the_statistic_is_the_level_whose_interval_just_reaches_0(
    seed: int, spread: bool, rate: float
) -> None:
    drawn = world(seed, 60, 3, [rate, min(4 * rate, 0.9)], 6, 2, spread)
    sample = sample_of(*drawn, 2, resamples=150)
    one, other = np.array([0]), np.array([1])
    z = difference_z(sample, one, other)[:, 0]
    np.testing.assert_allclose(difference_z(sample, other, one)[:, 0], z, rtol=1e-9, atol=1e-12)
    gap = (sample.rate[:, 0] - sample.rate[:, 1])[:, np.newaxis]
    for q in range(6):
        if gap[q, 0] == 0:
            assert z[q] == 0
            continue
        # found on a grid; below 1.4 nobody reads it
        for nearby, reaches in ((z[q] - 0.1, False), (z[q] + 0.1, True)):
            if 1.3 <= nearby <= 7:
                low, high = difference_interval(sample, one, other, 1 - 2 * stats.norm.sf(nearby))
                assert (low[q, 0] <= 0 <= high[q, 0]) == reaches, (q, z[q])


def test_the_statistic_of_many_events_is_the_difference_over_its_error() -> None:
    drawn = world(16, 3000, 3, [0.47, 0.5], 6, 2)
    sample = sample_of(*drawn, 2, resamples=1000)
    one, other = np.array([0]), np.array([1])
    t = np.abs(sample.rate[:, :1] - sample.rate[:, 1:]) / _errors(sample, one, other)[0]
    np.testing.assert_allclose(difference_z(sample, one, other), t, rtol=0.03, atol=0.02)


@pytest.mark.parametrize("spread", [False, True])
def test_the_standard_error_is_that_of_a_regression(spread: bool) -> None:
    events, codes, who = world(5, 300, 4, [0.3, 0.5], 3, 2, spread)
    sample = sample_of(events, codes, who, 2, resamples=5000)
    got = _errors(sample, np.array([0]), np.array([1]))[0][:, 0]
    for q in range(3):
        fit = sm.OLS(events[:, q].astype(float), sm.add_constant(codes.astype(float))).fit(
            cov_type="cluster", cov_kwds={"groups": who, "use_correction": False}
        )
        assert got[q] == pytest.approx(fit.bse[1], rel=4 * np.sqrt(0.5 / 5000))


# ---- the level of each bound ---------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    largest=hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 8)),
    level=st.floats(0.6, 0.999),
    studentised=st.integers(0, 50),
    others=st.integers(0, 50),
)
def test_the_joint_level_lies_between_the_level_and_bonferronis(
    largest: np.ndarray, level: float, studentised: int, others: int
) -> None:
    size = studentised + others
    got = joint_level(largest, level, studentised, size)
    strictest = 1 - (1 - level) / max(size, 1)
    assert level - 1e-12 <= got <= strictest + 1e-12
    if not studentised:
        assert got == pytest.approx(strictest)
        return
    share = (1 - level) * studentised / size
    rank = int(np.ceil((1 - share) * (len(largest) + 1)))
    if rank > len(largest):
        assert got == pytest.approx(strictest)
    else:
        c = sorted(largest.tolist())[rank - 1]
        assert got == pytest.approx(np.clip(1 - 2 * stats.norm.sf(c), level, strictest))


def test_the_joint_level_longhand() -> None:
    largest = np.arange(1, 40) / 10.0  # 39 replicates: the add-one rule takes the 38th for 95 %
    assert joint_level(largest, 0.95, 1000, 1000) == pytest.approx(1 - 2 * stats.norm.sf(3.8))
    assert joint_level(largest[::-1].copy(), 0.95, 1000, 1000) == joint_level(
        largest, 0.95, 1000, 1000
    )
    assert joint_level(largest[:18], 0.95, 1000, 1000) == pytest.approx(1 - 0.05 / 1000)


def test_without_replicates_the_joint_level_is_bonferronis() -> None:
    assert joint_level(np.empty(0), 0.95, 0, 6) == pytest.approx(1 - 0.05 / 6)
    assert joint_level(np.empty(0), 0.95, 0, 0) == pytest.approx(0.95)


def rare_and_common(groups: int = 2) -> Sample:
    """Questions with many events beside ones with too few for the bootstrap."""
    events, codes, who = world(6, 200, 2, questions=4, groups=groups)
    rare = np.arange(len(who))[:, np.newaxis] % 100 < np.array([1, 2])
    return sample_of(np.hstack([events, rare]), codes, who, groups, resamples=400)


def test_many_events_of_repeated_subjects_enter_max_t() -> None:
    """2,400 pictures of 200 people and a hundred events: the bootstrap has enough to go by."""
    drawn = world(15, 400, 12, 0.04, 10, 2, alike=0.0)
    found = compared(sample_of(*drawn, 2, resamples=200), 2)
    assert found.studentised.all()
    assert not np.isnan(found.q).any()


def test_comparisons_with_few_events_enter_no_max_t_and_keep_bonferronis_share() -> None:
    sample = rare_and_common()
    found = compared(sample, 2)
    few = (effective_events(sample) < ENOUGH).any(axis=1)
    assert few.tolist() == [False] * 4 + [True] * 2
    assert (found.studentised[:, 0] == ~few).all()
    z = difference_z(sample, np.array([0]), np.array([1]))
    np.testing.assert_allclose(found.p[few], 2 * stats.norm.sf(z[few]))
    np.testing.assert_allclose(found.q[few], np.minimum(6 * found.p[few], 1))
    low, high = difference_interval(sample, np.array([0]), np.array([1]), 1 - 0.05 / 6)
    assert (found.difference.low_all[few] <= low[few]).all()
    assert (found.difference.high_all[few] >= high[few]).all()


@pytest.mark.slow
def test_bounds_hold_together_where_many_comparisons_have_few_events() -> None:
    """Copies of one common question say nothing of a hundred rare ones beside them."""
    missed = 0
    audits = 40
    for seed in range(audits):
        rng = np.random.default_rng(seed)
        codes = np.repeat([0, 1], 400)
        common = np.repeat(rng.random((800, 1)) < 0.4, 60, axis=1)
        rare = rng.random((800, 100)) < 0.013
        events = np.hstack([common, rare])
        found = compared(
            sample_of(events, codes, np.arange(800), 2, seed, resamples=200), 2
        ).difference
        missed += ((found.low_all > 0) | (found.high_all < 0)).any()
    assert missed <= audits * 0.05 + 2 * np.sqrt(audits * 0.05 * 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True])
def test_bounds_hold_together_and_q_errs_in_one_family_in_twenty(spread: bool) -> None:
    """No gap anywhere, 5 questions x 6 pairs: how often is any bound or any q wrong?"""
    outside = reported = 0
    audits = 80
    for seed in range(audits):
        drawn = world(seed, 160, 3, 0.3, 5, 4, spread)
        found = compared(sample_of(*drawn, 4, seed=seed, resamples=300), 4)
        bounds = found.difference
        outside += ((bounds.low_all > 0) | (bounds.high_all < 0)).any()
        reported += (found.q <= 0.05).any()
    allowed = audits * 0.05 + 2 * np.sqrt(audits * 0.05 * 0.95)
    assert outside <= allowed
    assert reported <= allowed


@pytest.mark.slow
def test_the_bounds_each_for_itself_would_be_wrong_in_most_families() -> None:
    """What the test above can see: without the family, most audits of nothing find something."""
    wrong = 0
    for seed in range(30):
        found = compared(sample_of(*world(seed, 160, 3, 0.3, 5, 4), 4, seed, 300), 4).difference
        wrong += ((found.low > 0) | (found.high < 0)).any()
    assert wrong > 10


@pytest.mark.slow
def test_power_against_theory() -> None:
    """A gap of 4.5 standard errors among 30 comparisons is mostly shown, one of 1 seldom."""
    shown = np.zeros(2)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        events = rng.random((1600, 5)) < 0.3
        codes = np.arange(1600) % 4
        error = np.sqrt(2 * 0.3 * 0.7 / 400)
        for i, size in enumerate((4.5, 1.0)):
            events[codes == 0, i] = rng.random(400) < 0.3 + size * error
        found = compared(sample_of(events, codes, np.arange(1600), 4, seed, 100), 4)
        shown += (found.difference.low_all[:2, 0] > 0).astype(float)
    critical = -special.ndtri(0.05 / 30 / 2)
    expected = special.ndtr(np.array([4.5, 1.0]) - critical)
    np.testing.assert_allclose(shown / 40, expected, atol=0.16)


# ---- exact tests where no subject repeats --------------------------------------------------------


@pytest.mark.slow
def test_separate_subjects_get_exact_tests_and_holm() -> None:
    events, codes, _ = world(7, 90, 1, [0.1, 0.3, 0.4])
    found = compared(sample_of(events, codes, np.arange(90), 3, resamples=200))
    one, other = every_pair(3)
    for q in range(5):
        for j, (g, h) in enumerate(zip(one, other, strict=True)):
            table = [
                [(events[codes == k, q]).sum(), (~events[codes == k, q]).sum()] for k in (g, h)
            ]
            assert found.p[q, j] == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)
    expected = multipletests(found.p.ravel(), method="holm")[1]
    np.testing.assert_allclose(found.q.ravel(), expected)
    assert np.isnan(found.smallest_q)


def test_a_bootstrap_changes_no_exact_test() -> None:
    events, codes, _ = world(7, 90, 1, [0.1, 0.3, 0.4])
    with_one, without = (
        compared(sample_of(events, codes, np.arange(90), 3, resamples=b)) for b in (200, 0)
    )
    np.testing.assert_array_equal(with_one.p, without.p)
    np.testing.assert_array_equal(with_one.q, without.q)


def test_a_subject_on_both_sides_repeats_even_with_one_picture_on_each() -> None:
    """Everyone is once in every group: Fisher's test would take them for twice as many people."""
    events, _, who = world(8, 200, 2, questions=3, groups=2)
    codes = np.tile([0, 1], 200)
    sample = sample_of(events, codes, who, 2, resamples=200)
    assert (sample.subjects == sample.n).all()
    found = compared(sample, 2)
    exact = difference_p(sample.events[:, :1], 200, sample.events[:, 1:], 200)
    assert not np.array_equal(found.p, exact)
    assert found.smallest_q == 1 / 201


# ---- what may move nothing -----------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.booleans())
def test_copies_of_all_pictures_move_nothing(seed: int, spread: bool) -> None:
    drawn = world(seed, 80, 2, spread=spread)
    once, twice = (
        compared(sample_of(*(np.repeat(part, k, axis=0) for part in drawn), 3, resamples=200))
        for k in (1, 2)
    )
    assert_same(once, twice)


def test_copies_of_the_only_picture_of_everyone_move_no_bound() -> None:
    drawn = world(9, 150, 1, [0.2, 0.3, 0.4])
    once, twice = (
        compared(sample_of(*(np.repeat(part, k, axis=0) for part in drawn), 3, resamples=2000))
        for k in (1, 2)
    )
    # tests change with the question: exact for people, by bootstrap for repeated people
    assert_same(once, twice, 1e-9, but=("p", "q", "smallest_q"))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), per=st.integers(1, 3))
def test_the_order_of_pictures_moves_nothing(seed: int, per: int) -> None:
    drawn = world(seed, 60, per, [0.05, 0.3, 0.5])
    order = np.random.default_rng(seed).permutation(len(drawn[0]))
    one = compared(sample_of(*drawn, 3, resamples=150))
    assert_same(one, compared(sample_of(*(part[order] for part in drawn), 3, resamples=150)))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), per=st.integers(1, 3))
def test_reversing_groups_turns_everything_round(seed: int, per: int) -> None:
    events, codes, who = world(seed, 60, per, [0.05, 0.3, 0.5])
    ahead = compared(sample_of(events, codes, who, 3, resamples=150))
    back = compared(sample_of(events, 2 - codes, who, 3, resamples=150))
    # pairs (0,1), (0,2), (1,2) become (2,1), (2,0), (1,0)
    turned = [2, 1, 0]
    assert ahead.each == back.each
    for name in ("p", "q", "error"):
        np.testing.assert_allclose(
            getattr(back, name)[:, turned], getattr(ahead, name), rtol=1e-9, err_msg=name
        )
    d, mirrored = ahead.difference, back.difference
    for name, twin in (("low_all", "high_all"), ("low", "high")):
        back_there, here = getattr(mirrored, name)[:, turned], getattr(d, twin)
        np.testing.assert_allclose(back_there, -here, rtol=1e-9, atol=1e-15, err_msg=name)
    r, inverse = ahead.ratio, back.ratio
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(inverse.low_all[:, turned], 1 / r.high_all, rtol=1e-9)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), per=st.integers(1, 3))
def test_the_order_of_questions_moves_nothing(seed: int, per: int) -> None:
    events, codes, who = world(seed, 60, per, [0.05, 0.3, 0.5])
    order = np.random.default_rng(seed).permutation(5)
    plain = arrays(compared(sample_of(events, codes, who, 3, resamples=150)))
    turned = arrays(compared(sample_of(events[:, order], codes, who, 3, resamples=150)))
    for name, values in plain.items():
        expected = values[order] if values.ndim == 2 else values
        np.testing.assert_allclose(turned[name], expected, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("per", [1, 3])
def test_comparisons_that_are_not_usable_do_not_count(per: int) -> None:
    events, codes, who = world(10, 90, per, [0.2, 0.3, 0.5])
    sample = sample_of(events, codes, who, 3, resamples=200)
    usable = np.ones((5, 3), bool)
    usable[2] = usable[:, 1] = False
    found = compared(sample, 3, usable)
    kept = sample_of(np.delete(events, 2, axis=1), codes, who, 3, resamples=200)
    one, other = np.array([0, 1]), np.array([1, 2])
    alone = compare(kept, one, other, np.ones((4, 2), bool))
    assert found.size == alone.size == 8
    assert found.each == alone.each
    for name, values in arrays(found).items():
        if values.ndim == 2 and (name.endswith("_all") or name in ("p", "q")):
            assert np.isnan(values[~usable]).all(), name
            np.testing.assert_array_equal(values[usable], arrays(alone)[name].ravel(), name)


# ---- bad input has a defined outcome -------------------------------------------------------------


def test_no_usable_comparison_is_an_empty_family() -> None:
    found = compared(sample_of(*world(11), 3, resamples=100), 3, np.zeros((5, 3), bool))
    assert found.size == 0
    assert found.each == pytest.approx(0.95)
    for values in (found.p, found.q, found.difference.low_all, found.ratio.high_all):
        assert np.isnan(values).all()


@pytest.mark.parametrize("per", [1, 3])
def test_without_a_bootstrap_bounds_are_bonferronis(per: int) -> None:
    found = compared(sample_of(*world(12, per=per), 3, resamples=0))
    assert found.each == pytest.approx(1 - 0.05 / 15)
    assert not found.studentised.any()
    assert not np.isnan(found.difference.low_all).any()
    if per == 1:
        assert not np.isnan(found.q).any()
    else:
        np.testing.assert_allclose(found.q, np.minimum(15 * found.p, 1))
        outside = (found.difference.low > 0) | (found.difference.high < 0)
        np.testing.assert_array_equal(found.p < 0.05, outside)


@pytest.mark.parametrize("per", [1, 3])
def test_constant_events_and_empty_groups_spoil_no_other_comparison(per: int) -> None:
    events, codes, who = world(13, per=per, rates=[0.3, 0.5], groups=2)
    odd = np.hstack([events, np.zeros((len(who), 1), bool), np.ones((len(who), 1), bool)])
    sample = sample_of(odd, codes, who, 3, resamples=200)
    found = compared(sample)
    pair = [0]  # the others are with the empty group
    usable = np.zeros((7, 3), bool)
    usable[:5, 0] = True
    alone = compared(sample, 3, usable)
    np.testing.assert_array_equal(found.p[:5, pair], alone.p[:5, pair])
    assert (found.q[:5, pair] >= found.p[:5, pair]).all()
    assert not found.studentised[5:].any()
    assert np.isnan(found.difference.low_all[:, 1:]).all()
    assert np.isnan(found.p[:, 1:]).all()
    constant = found.difference
    assert (constant.low_all[5:, 0] < 0).all()
    assert (constant.high_all[5:, 0] > 0).all()


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("of", [(1, 2), (1, 3), (3, 7), (24, 49)])
def test_subjects_all_alike_within_spoil_no_other_comparison(
    of: tuple[int, int], apart: bool
) -> None:
    """A question of which the bootstrap sees no spread at all has no statistic to compare.

    The share of a subject's pictures that are events is the same for everyone, but for rounding.
    """
    happen, per = of
    events, _, who = world(14, 120, 2 * per, 0.3, 6, 2)
    codes = who % 2 if apart else np.arange(len(who)) // per % 2
    alike = (np.arange(len(who)) % per < happen)[:, np.newaxis]
    sample = sample_of(np.hstack([alike, events]), codes, who, 2, resamples=300)
    found = compared(sample, 2)
    usable = np.ones((7, 1), bool)
    usable[0] = False
    others = compared(sample, 2, usable)
    assert not found.studentised[0, 0]
    assert found.p[0, 0] == pytest.approx(1)
    np.testing.assert_array_equal(found.p[1:], others.p[1:])
    np.testing.assert_array_equal(found.q[1:], others.q[1:])
    assert (found.q[1:] >= found.p[1:]).all()
    assert not np.isnan(found.difference.low_all).any()


# ---- the one rule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.06, 0.2, "exceeds margin"),
        (-0.2, -0.06, "exceeds margin"),
        (-0.04, 0.04, "within margin"),
        (0.01, 0.049, "within margin"),
        (-0.04, 0.06, "inconclusive"),
        (0.01, 0.2, "inconclusive"),
        (-0.3, 0.3, "inconclusive"),
        (0.05, 0.2, "inconclusive"),  # at the margin itself nothing is shown
        (-0.05, 0.05, "inconclusive"),
        (np.nan, np.nan, "inconclusive"),
    ],
)
def test_verdicts(low: float, high: float, verdict: str) -> None:
    assert verdicts(low, high, 0.05) == verdict
    assert verdicts(-high, -low, 0.05) == verdict


def test_a_margin_of_zero_shows_any_gap_large_and_none_small() -> None:
    got = verdicts([0.01, -0.01, 0.0, -0.2], [0.2, 0.01, 0.0, -0.1], 0.0)
    assert got.tolist() == ["exceeds margin", "inconclusive", "inconclusive", "exceeds margin"]


def test_margins_broadcast_over_questions() -> None:
    got = verdicts(np.full((2, 3), 0.06), np.full((2, 3), 0.1), np.array([[0.05], [0.2]]))
    assert got.tolist() == [["exceeds margin"] * 3, ["within margin"] * 3]


@pytest.mark.parametrize(
    ("difference", "ratio", "whole", "verdict"),
    [
        ((0.01, 0.02), (0.8, 1.2), True, "exceeds margin"),  # by the ratio alone
        ((0.06, 0.2), (0.0, 0.1), True, "exceeds margin"),  # by the difference alone
        ((0.0, 0.02), (0.0, 0.1), True, "within margin"),
        ((0.0, 0.02), (0.0, 0.8), True, "inconclusive"),  # the ratio may be larger
        ((0.0, 0.02), (np.nan, np.nan), True, "inconclusive"),  # nothing is known of the ratio
        ((0.0, 0.02), (0.0, 0.1), False, "inconclusive"),  # of a group left out
        ((0.06, 0.2), (0.8, 1.2), False, "exceeds margin"),
    ],
)
def test_either_scale_shows_an_excess_and_both_of_all_groups_that_it_is_small(
    difference: tuple[float, float], ratio: tuple[float, float], whole: bool, verdict: str
) -> None:
    assert decide(GapSize(*difference, 0.05), GapSize(*ratio, 0.7), whole) == verdict


def test_a_ratio_without_a_margin_says_nothing() -> None:
    ratio = GapSize(2.0, 3.0, np.nan)
    assert decide(GapSize(0.0, 0.02, 0.05), ratio) == "within margin"
    assert decide(GapSize(0.0, 0.06, 0.05), ratio) == "inconclusive"


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_bounds_of_a_size_are_those_of_all_gaps_between(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    sizes = np.abs(np.linspace(low, high, 2001))
    least, most = size_bounds(np.array(low), np.array(high))
    assert most == pytest.approx(sizes.max())
    assert least == pytest.approx(sizes.min(), abs=1e-3)
    assert least == 0 or not low < 0 < high


def test_the_size_of_an_unknown_gap_is_unknown() -> None:
    least, most = size_bounds(np.array([np.nan, 0.1]), np.array([np.nan, 0.2]))
    np.testing.assert_array_equal(np.isnan(least), [True, False])
    np.testing.assert_array_equal(np.isnan(most), [True, False])

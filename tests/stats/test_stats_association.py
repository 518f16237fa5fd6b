"""Effect sizes against their definitions longhand, scipy, full enumeration and simulation."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from audit.core.errors import InputError
from audit.stats import association


def unit(rng, rows: int, dim: int = 8):
    vectors = rng.normal(size=(rows, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def alone(s, sides):
    """Sums in which every stimulus is its own cluster."""
    return association.sums(s, sides, np.arange(len(sides)), len(sides))


def world(seed, m=(10, 10), per=1, shift=0.0, pairs=400, shared=0.6, draw="normal"):
    """Many pairs at once: subjects of several pictures, X shifted by so many spreads."""
    rng = np.random.default_rng(seed)
    noise = {
        "normal": rng.standard_normal,
        "skewed": lambda size: rng.standard_exponential(size) - 1,
    }[draw]
    subjects = sum(m)
    inside = shared if per > 1 else 0.0
    own = np.repeat(noise((subjects, pairs)), per, axis=0)
    s = math.sqrt(inside) * own + math.sqrt(1 - inside) * noise((subjects * per, pairs))
    cluster = np.repeat(np.arange(subjects), per)
    sides = (cluster >= m[0]).astype(int)
    s[sides == 0] += shift
    return association.sums(s, sides, cluster, subjects)


def test_weat_longhand():
    rng = np.random.default_rng(0)
    x, y, a, b = unit(rng, 4), unit(rng, 4), unit(rng, 3), unit(rng, 5)

    def s(w):
        return statistics.mean(w @ v for v in a) - statistics.mean(w @ v for v in b)

    of_x, of_y = [s(w) for w in x], [s(w) for w in y]
    gap = statistics.mean(of_x) - statistics.mean(of_y)
    texts = np.vstack([a, b])
    in_a = np.arange(8)[:, None] < 3
    cosines = np.vstack([x, y]) @ texts.T
    sums = alone(cosines @ association.contrast(in_a, ~in_a), np.repeat([0, 1], 4))
    found = association.associations(sums)
    assert found.difference[0] == pytest.approx(gap)
    assert found.d[0] == pytest.approx(gap / statistics.stdev(of_x + of_y))
    population = association.associations(sums, spread="population")
    assert population.d[0] == pytest.approx(gap / statistics.pstdev(of_x + of_y))
    assert population.low[0] / found.low[0] == pytest.approx(math.sqrt(8 / 7))

    pooled = of_x + of_y
    gaps = [
        2 * statistics.mean(pooled[i] for i in chosen) - 2 * statistics.mean(pooled)
        for chosen in itertools.combinations(range(8), 4)
    ]
    assert found.exact
    assert found.permutations == len(gaps) == 70
    assert found.p[0] == pytest.approx(sum(g >= gap - 1e-12 for g in gaps) / 70)
    both = association.associations(sums, alternative="two-sided")
    assert both.p[0] == pytest.approx(sum(abs(g) >= abs(gap) - 1e-12 for g in gaps) / 70)
    assert both.smallest_p[0] == pytest.approx(2 / 70)


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_p_agrees_with_scipy_for_unequal_sets(alternative):
    """The statistic that is dealt is Welch's t."""
    s = np.random.default_rng(1).normal(size=(9, 3))
    found = association.associations(alone(s, np.repeat([0, 1], (4, 5))), alternative=alternative)
    for pair in range(3):
        expected = stats.permutation_test(
            (s[:4, pair], s[4:, pair]),
            lambda a, b, axis: (
                np.abs(welch(a, b, axis)) if alternative == "two-sided" else welch(a, b, axis)
            ),
            vectorized=True,
            alternative="greater",
            n_resamples=np.inf,
        )
        assert found.p[pair] == pytest.approx(expected.pvalue)


def welch(a, b, axis):
    return stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic


def test_p_of_unlike_clusters_is_that_of_a_ratio_and_its_error_by_hand():
    """Whole clusters are dealt; sums and numbers of each give a mean with a clustered error."""
    rng = np.random.default_rng(2)
    size = np.array([1, 2, 5, 3, 1, 4, 2, 6])
    cluster, sides = np.repeat(np.arange(8), size), np.repeat(np.repeat([0, 1], (3, 5)), size)
    s = rng.normal(size=(len(cluster), 1)) + 5

    def away(chosen):
        of = []
        for clusters in (chosen, [c for c in range(8) if c not in chosen]):
            mine = [s[cluster == c, 0] for c in clusters]
            n, m = sum(map(len, mine)), len(mine)
            mean = sum(map(sum, mine)) / n
            of.append((mean, m / (m - 1) * sum(sum(x - mean) ** 2 for x in mine) / n**2))
        return (of[0][0] - of[1][0]) / math.sqrt(of[0][1] + of[1][1])

    every = [away(chosen) for chosen in itertools.combinations(range(8), 3)]
    for alternative, far in (("greater", np.array), ("two-sided", np.abs)):
        found = association.associations(
            association.sums(s, sides, cluster, 8), alternative=alternative
        )
        assert found.exact
        expected = (far(every) >= far(every[0]) - 1e-12).mean()
        assert found.p[0] == pytest.approx(expected)


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_p_of_equal_sets_is_that_of_the_plain_difference(alternative):
    """As published for WEAT and iEAT, to the last digit, ties and sets apart included."""
    rng = np.random.default_rng(3)
    s = np.hstack([rng.normal(size=(12, 20)), rng.integers(0, 3, (12, 20))]).astype(float)
    s[:6, 5] += 100
    found = association.associations(alone(s, np.repeat([0, 1], 6)), alternative=alternative)
    chosen = np.array(list(itertools.combinations(range(12), 6)))
    gaps = 2 * s[chosen].mean(axis=1) - 2 * s.mean(axis=0)
    far = np.abs if alternative == "two-sided" else np.array
    np.testing.assert_array_equal(found.p, (far(gaps) >= far(gaps[0]) - 1e-12).mean(axis=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "sd"), [((40, 1000), (3, 1)), ((100, 1000), (2, 1)), ((40, 1000), (1 / 3, 1))]
)
def test_means_alike_are_not_called_different_for_their_spread(n, sd):
    """Worlds in which p of the plain difference is at most 0.05 in 42, 30 and 0 %."""
    worlds, sides = 1000, np.repeat([0, 1], n)
    s = np.random.default_rng(sum(n)).normal(0, 1, (sum(n), worlds)) * np.repeat(sd, n)[:, None]
    found = association.associations(alone(s, sides), alternative="two-sided", permutations=400)
    error = math.sqrt(0.05 * 0.95 / worlds)
    assert (found.p <= 0.05).mean() <= 0.05 + 2 * error
    assert (found.p <= 0.05).mean() >= 0.05 - 3 * error


@pytest.mark.slow
def test_means_alike_of_clusters_are_not_called_different_for_their_spread():
    """30 subjects of one to five pictures, who differ more, against 300."""
    rng = np.random.default_rng(5)
    size = rng.integers(1, 6, 330)
    of, side = np.repeat(np.arange(330), size), np.repeat(np.repeat([0, 1], (30, 300)), size)
    subjects = rng.normal(size=(330, 1000)) * np.repeat([3.0, 1.0], (30, 300))[:, None]
    s = subjects[of] + 0.5 * rng.normal(size=(len(of), 1000))
    found = association.associations(
        association.sums(s, side, of, 330), alternative="two-sided", permutations=400
    )
    assert (found.p <= 0.05).mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_a_difference_is_found_as_often_as_by_welch():
    rng = np.random.default_rng(6)
    n, sd = (40, 400), np.repeat([2.0, 1.0], (40, 400))
    s = rng.normal(size=(440, 500)) * sd[:, None]
    s[:40] += 1.0
    found = association.associations(
        alone(s, np.repeat([0, 1], n)), alternative="two-sided", permutations=400
    )
    expected = stats.ttest_ind(s[:40], s[40:], equal_var=False).pvalue
    assert (found.p <= 0.05).mean() == pytest.approx((expected <= 0.05).mean(), abs=0.02)
    assert (expected <= 0.05).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("n", "partitions"), [(4, 70), (5, 252), (6, 924), (7, 3432)])
def test_the_smallest_p_is_that_of_the_number_of_partitions(n, partitions):
    s = np.concatenate([np.arange(n) + 100, np.arange(n)])[:, np.newaxis].astype(float)
    found = association.associations(alone(s, np.repeat([0, 1], n)))
    assert found.smallest_p[0] == found.p[0] == pytest.approx(1 / partitions)


def test_drawn_partitions_add_one():
    s = np.concatenate([np.arange(10) + 100, np.arange(10)])[:, np.newaxis].astype(float)
    found = association.associations(alone(s, np.repeat([0, 1], 10)), permutations=999)
    assert not found.exact
    assert found.p[0] == found.smallest_p[0] == pytest.approx(0.001)


def test_single_category_takes_attributes_as_stimuli():
    rng = np.random.default_rng(2)
    words, a, b = unit(rng, 5), unit(rng, 4), unit(rng, 4)
    found = association.associations(alone(np.vstack([a, b]) @ words.T, np.repeat([0, 1], 4)))
    for row, w in enumerate(words):
        near, far = [float(w @ v) for v in a], [float(w @ v) for v in b]
        d = (statistics.mean(near) - statistics.mean(far)) / statistics.stdev(near + far)
        assert found.d[row] == pytest.approx(d)


def test_c_asc_is_the_same_with_a_group_and_all_others():
    rng = np.random.default_rng(3)
    similarity, group = rng.normal(0.25, 0.02, (60, 4)), rng.integers(0, 3, 60)
    found = association.associations(alone(similarity, np.where(group == 1, 0, 1)))
    inside, outside = similarity[group == 1], similarity[group != 1]
    expected = (inside.mean(axis=0) - outside.mean(axis=0)) / similarity.std(axis=0, ddof=1)
    np.testing.assert_allclose(found.d, expected)


def test_texts_can_be_the_targets_and_pictures_the_attributes():
    rng = np.random.default_rng(4)
    pictures, texts = unit(rng, 10), unit(rng, 6)
    group = np.arange(10)[:, None] < 4
    s = (pictures @ texts.T).T @ association.contrast(group, ~group)
    by_hand = [
        statistics.mean(t @ p for p in pictures[:4]) - statistics.mean(t @ p for p in pictures[4:])
        for t in texts
    ]
    np.testing.assert_allclose(s[:, 0], by_hand)
    assert np.isfinite(association.associations(alone(s, np.repeat([0, 1], 3))).d).all()


@pytest.mark.slow
def test_swapping_the_sets_turns_the_sign():
    s = np.random.default_rng(5).normal(size=(14, 3))
    sides = np.repeat([0, 1], 7)
    one, other = (
        association.associations(alone(s, side), alternative="two-sided")
        for side in (sides, 1 - sides)
    )
    np.testing.assert_allclose(one.d, -other.d)
    np.testing.assert_allclose(one.low, -other.high)
    np.testing.assert_allclose(one.p, other.p)
    assert ((one.low <= one.d) & (one.d <= one.high)).all()


@pytest.mark.slow
def test_two_halves_make_the_whole():
    rng = np.random.default_rng(6)
    s, cluster = rng.normal(size=(50, 4)), rng.integers(0, 12, 50)
    sides = np.where(rng.random(50) < 0.1, -1, cluster % 2)
    whole = association.sums(s, sides, cluster, 12)
    half = rng.random(50) < 0.5
    parts = [association.sums(s[at], sides[at], cluster[at], 12) for at in (half, ~half)]
    merged = parts[0] + parts[1]
    np.testing.assert_array_equal(merged.n, whole.n)
    np.testing.assert_allclose(merged.squares, whole.squares)
    one, other = (association.associations(x) for x in (merged, whole))
    np.testing.assert_allclose(one.low, other.low)
    np.testing.assert_allclose(one.p, other.p)
    with pytest.raises(ValueError, match="same clusters"):
        whole + association.sums(s, sides, cluster, 13)


@pytest.mark.slow
def test_copies_of_every_picture_change_nothing_but_the_sample_spread():
    rng = np.random.default_rng(7)
    s, sides = rng.normal(size=(12, 3)), np.repeat([0, 1], 6)
    one = association.associations(alone(s, sides), spread="population")
    twice = association.sums(
        np.repeat(s, 3, axis=0), np.repeat(sides, 3), np.repeat(np.arange(12), 3), 12
    )
    other = association.associations(twice, spread="population")
    for name in ("d", "low", "high", "p"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name))


def test_one_stimulus_or_equal_ones_are_undefined_with_a_reason():
    s = np.random.default_rng(8).normal(size=(6, 2))
    found = association.associations(alone(s, np.array([0, 1, 1, 1, 1, 1])))
    assert np.isnan([found.d, found.low, found.p, found.smallest_p]).all()
    assert found.reasons[0] == "1 stimuli in X and 5 in Y: d needs two in each"
    s[:, 1] = 0.1 + 0.2
    found = association.associations(alone(s, np.repeat([0, 1], 3)))
    assert found.reasons[0] == ""
    assert "no spread" in found.reasons[1]
    assert np.isfinite(found.d[0])
    assert np.isnan([found.d[1], found.low[1], found.p[1]]).all()


def test_too_few_subjects_or_no_spread_within_have_d_but_no_interval():
    s = np.random.default_rng(9).normal(size=(8, 1))
    sums = association.sums(s, np.repeat([0, 1], 4), np.array([0, 0, 1, 1, 2, 3, 4, 5]), 6)
    found = association.associations(sums)
    assert np.isfinite(found.d[0])
    assert np.isfinite(found.p[0])
    assert np.isnan(found.low[0])
    assert found.no_interval == ("2 subjects in X and 4 in Y: an interval needs 3 in each",)
    apart = association.associations(
        alone(np.repeat([[1.0], [0.0]], 4, axis=0), np.repeat([0, 1], 4))
    )
    assert apart.d[0] == pytest.approx(2 * math.sqrt(7 / 8))
    assert np.isnan(apart.low[0])
    assert "no spread within" in apart.no_interval[0]
    one_differs = np.array([[1.0], [2.0], [1.0], [0.0], [0.0], [0.0]])
    found = association.associations(alone(one_differs, np.repeat([0, 1], 3)))
    assert np.isnan(found.low[0])
    assert found.no_interval[0].startswith("without one of the subjects")


def test_a_subject_in_both_sets_cannot_be_dealt():
    s = np.random.default_rng(10).normal(size=(16, 1))
    sums = association.sums(s, np.tile([0, 1], 8), np.repeat(np.arange(8), 2), 8)
    found = association.associations(sums)
    assert found.no_p == "a subject is in both X and Y"
    assert np.isnan(found.p[0])
    assert found.low[0] < found.d[0] < found.high[0]


def test_a_set_of_one_subject_has_no_p():
    s = np.random.default_rng(12).normal(size=(9, 1))
    sums = association.sums(s, np.repeat([0, 1], (3, 6)), np.array([0, 0, 0, *range(1, 7)]), 7)
    found = association.associations(sums)
    assert found.no_p == "a set of one subject: nothing says how far its mean varies"
    assert np.isfinite(found.d[0])
    assert np.isnan(found.p[0])


def test_subjects_of_one_mean_are_as_far_apart_as_any():
    """Pictures of each subject vary, subjects do not: noise of sums decides nothing."""
    s = np.tile([[0.1], [0.3]], (9, 1)) + 0.1
    sums = association.sums(s, np.repeat([0, 1], (8, 10)), np.repeat(np.arange(9), 2), 9)
    assert association.associations(sums).p[0] == 1


def test_whole_subjects_are_dealt():
    rng = np.random.default_rng(11)
    face = np.repeat(rng.normal(size=(6, 1)), 20, axis=0) + rng.normal(0, 0.01, (120, 1))
    cluster, sides = np.repeat(np.arange(6), 20), np.repeat([0, 1], 60)
    found = association.associations(association.sums(face, sides, cluster, 6))
    assert found.permutations == 20
    assert found.p[0] >= 1 / 20
    as_if_alone = association.associations(alone(face, sides))
    assert min(as_if_alone.p[0], 1 - as_if_alone.p[0]) < 0.001  # pictures taken for people


@pytest.mark.parametrize(
    ("m", "per", "shift", "draw"),
    [
        ((3, 3), 1, 1.0, "normal"),
        ((6, 6), 1, 2.0, "normal"),
        ((10, 10), 1, 1.0, "skewed"),
        ((6, 30), 5, 1.0, "normal"),
        ((40, 40), 1, 4.0, "normal"),
    ],
)
def test_intervals_cover_what_was_planted(m, per, shift, draw):
    sums = world(12, m, per, shift, 1500, draw=draw)
    low, high, _ = association.d_interval(sums)
    share = m[0] / sum(m)
    true = shift / math.sqrt(1 + share * (1 - share) * shift**2)
    assert ((low <= true) & (true <= high)).mean() >= 0.925
    assert (high - low).mean() < 3.5  # the whole range would be 4


@pytest.mark.slow
@pytest.mark.parametrize("per", [1, 6])
def test_a_null_world_is_seldom_called_a_difference(per):
    found = association.associations(world(14, (7, 7), per, 0.0, 1500), alternative="two-sided")
    assert (found.p <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert ((found.low > 0) | (found.high < 0)).mean() < 0.06


def test_a_planted_association_is_found():
    found = association.associations(world(15, (12, 12), 3, 2.0, 50, shared=0.5))
    assert np.median(found.d) == pytest.approx(2 / math.sqrt(2), abs=0.1)
    assert (found.p < 0.05).mean() > 0.95
    assert (found.low > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: association.associations(s, level=95), "such as 0.95"),
        (lambda s: association.associations(s, spread="poulation"), "Did you mean 'population'"),
        (lambda s: association.associations(s, alternative="less"), "no alternative named"),
        (lambda s: association.associations(s, permutations=0), "at least 1"),
        (lambda s: association.sums([[1.0], [2.0]], [0, 2], [0, 1], 2), "0 is X, 1 is Y"),
        (lambda s: association.sums([[1.0], [2.0]], [0, 1], [0, 2], 2), "not from 0 to 1"),
        (lambda s: association.sums([[1.0], [math.nan]], [0, 1], [0, 1], 2), "not finite"),
        (lambda s: association.sums([1.0, 2.0], [0, 1], [0, 1], 2), "(stimuli, pairs)"),
        (lambda s: association.contrast([[True], [False]], [[False], [False]]), "at least one"),
        (lambda s: association.contrast([[True], [True]], [[False], [True]]), "none in common"),
        (lambda s: association.contrast([True], [False]), "(attributes, pairs)"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(call, words):
    with pytest.raises(InputError) as caught:
        call(world(0, (3, 3), 1, 0.0, 2))
    assert words in str(caught.value)

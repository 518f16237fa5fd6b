"""What errors in group labels do to a gap: against a confusion matrix, brute force, simulation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep

from audit.core.errors import InputError
from audit.stats.mislabelled import at_random, at_worst

FAIRFACE = (0.19, 0.14, 0.14, 0.15, 0.14, 0.13, 0.11)

#: sizes of groups and events in them, as labelled
counts = st.lists(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=2,
    max_size=6,
).map(lambda groups: np.array(groups).T)
shares = st.floats(0, 0.95)


def flipped(true: np.ndarray, rates: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Labelled sizes and events, in expectation, by the confusion matrix of the labels."""
    k = len(true)
    becomes = np.full((k, k), share / (k - 1))
    np.fill_diagonal(becomes, 1 - share)
    return true @ becomes, (true * rates) @ becomes


def pairs_of(k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(k, 1)


def gaps(n: np.ndarray, events: np.ndarray) -> np.ndarray:
    one, other = pairs_of(len(n))
    return (events / n)[one] - (events / n)[other]


# ---- at random -----------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(k=st.integers(2, 8), share=st.floats(0, 0.4), seed=st.integers(0, 10**6))
def test_what_a_confusion_matrix_does_is_undone_for_groups_of_any_size(
    k: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    true, rates = 0.005 + rng.random(k) ** 3, rng.random(k)
    n, events = flipped(true, rates, share)
    seen = gaps(n, events)
    low, high = at_random(seen, seen, pairs_of(k), n, events, share)
    np.testing.assert_allclose(low, gaps(true, true * rates), atol=1e-9)
    np.testing.assert_allclose(high, low, atol=1e-12)


@pytest.mark.parametrize(
    ("small", "share", "wrong"), [(0.02, 0.01, 0.33), (0.02, 0.05, 0.72), (0.1, 0.1, 0.5)]
)
def test_of_two_groups_the_smaller_takes_in_the_larger(
    small: float, share: float, wrong: float
) -> None:
    """1 % of all labels wrong, 98 to 2: a third of the labels of the small group is wrong."""
    true = np.array([small, 1 - small])
    taken_in = share * (1 - true) / ((1 - share) * true + share * (1 - true))
    assert taken_in[0] == pytest.approx(wrong, abs=0.01)
    rates = np.array([0.3, 0.2])
    n, events = flipped(true, rates, share)
    seen = gaps(n, events)
    assert seen == pytest.approx(0.1 * (1 - taken_in.sum()))
    assert at_random(seen, seen, ([0], [1]), n, events, share)[0] == pytest.approx(0.1)


def test_errors_come_from_groups_that_are_not_compared() -> None:
    """Between two groups of one rate errors from a third, of another rate, make a gap."""
    true, rates = np.array([0.05, 0.45, 0.5]), np.array([0.1, 0.1, 0.6])
    n, events = flipped(true, rates, 0.05)
    seen = gaps(n, events)[:1]
    assert seen > 0.05
    low, high = at_random(seen, seen, ([0], [1]), n, events, 0.05)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(0, abs=1e-12)
    # as if nobody were labelled wrongly but between the two
    low, _ = at_random(seen, seen, ([0], [1]), n[:2], events[:2], 0.05)
    assert low > 0.05


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.4])
def test_groups_of_one_size_keep_the_plain_formula(k: int, share: float) -> None:
    rates = np.random.default_rng(k).random(k)
    n, events = flipped(np.ones(k), rates, share)
    seen = gaps(n, events)
    low, high = at_random(seen - 0.01, seen + 0.02, pairs_of(k), n, events, share)
    kept = 1 - share * k / (k - 1)
    np.testing.assert_allclose(low, np.maximum((seen - 0.01) / kept, -1), atol=1e-12)
    np.testing.assert_allclose(high, np.minimum((seen + 0.02) / kept, 1), atol=1e-12)


def test_the_bounds_of_two_groups_are_those_seen_over_what_is_left_of_a_gap() -> None:
    n, events = np.array([60.0, 940.0]), np.array([15.0, 94.0])
    low, high = at_random([0.05], [0.28], ([0], [1]), n, events, 0.02)
    q = n / 1000
    left = (q[0] - 0.02) * (q[1] - 0.02) / (q[0] * q[1] * 0.96)
    # what is right in one group less what is wrong in the other: 1 - c - c'
    right = (q - 0.02) / 0.96
    c = 0.02 * (1 - right) / q
    assert 1 - c.sum() == pytest.approx(left)
    assert (float(low[0]), float(high[0])) == pytest.approx((0.05 / left, 0.28 / left))


# ---- the reviewer's worlds -----------------------------------------------------------------------

WORLDS = [
    ((0.5, 0.5), 0.08, 0.10),
    ((0.9, 0.1), 0.08, 0.10),
    ((0.95, 0.05), 0.08, 0.01),
    ((0.98, 0.02), 0.12, 0.01),
    ((0.98, 0.02), 0.12, 0.05),
    (FAIRFACE, 0.06, 0.10),
]


def labelled(
    true: tuple[float, ...], gap: float, share: float, people: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and events by label, people drawn and labels flipped one by one; last group ahead."""
    rng, k = np.random.default_rng(seed), len(true)
    group = rng.choice(k, people, p=np.array(true) / sum(true))
    happened = rng.random(people) < np.where(group == k - 1, 0.1 + gap, 0.1)
    wrong = rng.random(people) < share
    label = np.where(wrong, (group + rng.integers(1, k, people)) % k, group)
    n = np.bincount(label, minlength=k)
    return n.astype(float), np.bincount(label[happened], minlength=k).astype(float)


@pytest.mark.parametrize(("true", "gap", "share"), WORLDS)
def test_the_truth_is_inside_the_bounds_where_labels_were_flipped(
    true: tuple[float, ...], gap: float, share: float
) -> None:
    k = len(true)
    pair = ([k - 1], [0])
    inside, not_milder = 0, 0
    for seed in range(60):
        n, x = labelled(true, gap, share, 20_000, seed)
        low, high = confint_proportions_2indep(
            int(x[-1]), int(n[-1]), int(x[0]), int(n[0]), method="newcomb", compare="diff"
        )
        least, most = at_random([low], [high], pair, n, x, share)
        inside += bool(least[0] <= gap <= most[0])
        lowest, highest = at_worst([low], [high], pair, n, x, share)
        not_milder += bool(lowest[0] <= gap <= highest[0])
    assert not_milder >= inside
    assert inside >= 52  # 0.95 of 60 less three standard errors


# ---- at worst ------------------------------------------------------------------------------------


def relabelled(n: list[int], x: list[int], wrong: int) -> Iterator[tuple[list[int], list[int]]]:
    """Everything that two or three groups can truly be if at most so many labels are wrong."""
    k = len(n)
    moves = list(itertools.permutations(range(k), 2))
    kinds = [(i, j, event) for i, j in moves for event in (0, 1)]
    for chosen in itertools.combinations_with_replacement([None, *kinds], wrong):
        size, events, left = list(n), list(x), [[n[g] - x[g], x[g]] for g in range(k)]
        for kind in chosen:
            if kind is not None:
                i, j, event = kind
                left[i][event] -= 1  # a picture that is labelled i and truly j
                size[i], size[j] = size[i] - 1, size[j] + 1
                events[i], events[j] = events[i] - event, events[j] + event
        if min(min(pair) for pair in left) >= 0 and min(size) > 0:
            yield size, events


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(
        st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
        min_size=2,
        max_size=3,
    ),
    wrong=st.integers(0, 3),
)
def test_no_errors_are_worse_than_the_worst(groups: list[tuple[int, int]], wrong: int) -> None:
    n, x = (list(side) for side in zip(*groups, strict=True))
    share = wrong / sum(n)
    if share >= 1:
        return
    seen = x[0] / n[0] - x[1] / n[1]
    low, high = at_worst([seen], [seen], ([0], [1]), n, x, share)
    found = [b[0] / a[0] - b[1] / a[1] for a, b in relabelled(n, x, wrong)]
    assert low[0] <= min(found) + 1e-12
    assert max(found) <= high[0] + 1e-12


@pytest.mark.parametrize(
    ("n", "x", "wrong"),
    [((20, 30), (4, 6), 3), ((10, 40), (3, 9), 2), ((12, 12, 16), (2, 3, 5), 2)],
)
def test_the_worst_is_attained(n: tuple[int, ...], x: tuple[int, ...], wrong: int) -> None:
    """The bounds are no wider than need be: some errors reach them."""
    seen = x[0] / n[0] - x[1] / n[1]
    low, high = at_worst([seen], [seen], ([0], [1]), n, x, wrong / sum(n))
    found = [b[0] / a[0] - b[1] / a[1] for a, b in relabelled(list(n), list(x), wrong)]
    assert (min(found), max(found)) == pytest.approx((float(low[0]), float(high[0])))


# ---- both ----------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(groups=counts, share=shares, reach=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_worst_is_never_milder_than_errors_at_random(
    groups: np.ndarray, share: float, reach: tuple[float, float]
) -> None:
    n, x = groups
    seen = gaps(n, x)
    low, high = np.maximum(seen - reach[0], -1), np.minimum(seen + reach[1], 1)
    least, most = at_random(low, high, pairs_of(len(n)), n, x, share)
    lowest, highest = at_worst(low, high, pairs_of(len(n)), n, x, share)
    assert not np.isnan([lowest, highest]).any()
    known = ~np.isnan(least)
    assert (lowest[known] <= least[known] + 1e-9).all()
    assert (most[known] <= highest[known] + 1e-9).all()
    # and errors of any kind add doubt
    assert (lowest <= low + 1e-9).all()
    assert (high <= highest + 1e-9).all()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(groups=counts, share=st.floats(0, 0.3))
def test_which_group_comes_first_changes_the_sign_only(groups: np.ndarray, share: float) -> None:
    n, x = groups
    one, other = pairs_of(len(n))
    seen = gaps(n, x)
    for bounds in (at_random, at_worst):
        low, high = bounds(seen - 0.1, seen + 0.2, (one, other), n, x, share)
        turned = bounds(-seen - 0.2, -seen + 0.1, (other, one), n, x, share)
        np.testing.assert_allclose(turned, (-high, -low), atol=1e-12)


def test_labels_without_errors_change_nothing() -> None:
    n, x = np.array([50, 30, 900]), np.array([0, 7, 300])
    seen = gaps(n, x)
    for bounds in (at_random, at_worst):
        low, high = bounds(seen - 0.1, seen + 0.05, pairs_of(3), n, x, 0.0)
        np.testing.assert_allclose(low, seen - 0.1, atol=1e-12)
        np.testing.assert_allclose(high, seen + 0.05, atol=1e-12)


def test_more_errors_make_the_worst_wider_and_the_random_larger() -> None:
    n, x, pair = np.array([100, 900]), np.array([40, 180]), ([0], [1])
    grid = (0.0, 0.01, 0.03, 0.06)
    low, high = np.array([at_worst([0.1], [0.3], pair, n, x, e) for e in grid])[..., 0].T
    assert (np.diff(low) < 0).all()
    assert (np.diff(high) > 0).all()
    random = np.array([at_random([0.1], [0.3], pair, n, x, e) for e in grid])[..., 0]
    assert (np.diff(random, axis=0) > 0).all()


@pytest.mark.parametrize(
    ("n", "share"),
    [((2, 98), 0.02), ((2, 98), 0.1), ((50, 50), 0.5), ((50, 50), 0.6), ((1, 1, 1), 2 / 3)],
)
def test_sizes_that_the_errors_alone_exceed_say_nothing(n: tuple[int, ...], share: float) -> None:
    """A group labelled 2 % of the pictures cannot come about if 2 % of all were put there."""
    x = np.ones(len(n))
    assert np.isnan(at_random([0.1], [0.2], ([0], [1]), n, x, share)).all()
    worst = at_worst([0.1], [0.2], ([0], [1]), n, x, share)
    assert worst[0] <= 0 < 0.2 < worst[1]


def test_a_group_that_could_be_wrong_as_a_whole_has_any_gap() -> None:
    n, x = np.array([5, 95]), np.array([1, 20])
    low, high = at_worst([-0.01], [0.0], ([0], [1]), n, x, 0.05)
    assert (low[0], high[0]) == (-1, 1)
    low, _ = at_worst([-0.01], [0.0], ([0], [1]), n, x, 0.02)
    assert low > -1


def test_unknown_bounds_stay_unknown() -> None:
    n, x = np.array([40, 60]), np.array([4, 8])
    for bounds in (at_random, at_worst):
        low, high = bounds([np.nan, 0.1], [np.nan, 0.2], ([0, 1], [1, 0]), n, x, 0.05)
        assert np.isnan([low[0], high[0]]).all()
        assert low[1] <= high[1]


@pytest.mark.parametrize("share", [-0.1, 1.0, 5, np.nan])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    for bounds in (at_random, at_worst):
        with pytest.raises(InputError, match=r"share: .* such as 0\.05"):
            bounds([0.1], [0.2], ([0], [1]), [5, 5], [1, 1], share)


@pytest.mark.parametrize(
    ("n", "x"),
    [([5], [1]), ([5, 5], [1, 1, 1]), ([5, 0], [1, 0]), ([5, 5], [6, 1]), ([5, 5], [-1, 1])],
)
def test_counts_that_are_none_are_refused(n: list[int], x: list[int]) -> None:
    for bounds in (at_random, at_worst):
        with pytest.raises(InputError, match="label errors"):
            bounds([0.1], [0.2], ([0], [0]), n, x, 0.05)

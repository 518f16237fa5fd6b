"""Counts that merge: against counting by hand, halves against the whole, bad input."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.core.errors import InputError
from audit.stats.alike import Sums, equally_alike
from audit.stats.clustered import Sample, difference_interval, rate_interval, ratio_interval
from audit.stats.counts import Counts, count, sample_of
from audit.stats.multiplicity import compare
from audit.stats.resampling import cluster_weights

REPLICATES = 60


def pictures(
    seed: int, n: int = 90, subjects: int = 25, groups: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events of four questions, membership of overlapping groups, subject of every picture."""
    rng = np.random.default_rng(seed)
    events = rng.random((n, 4)) < [0.0, 0.05, 0.4, 1.0]
    return events, rng.random((n, groups)) < 0.5, rng.integers(0, subjects, n)


def dense(counts: Counts) -> dict[str, np.ndarray]:
    """All that is counted, as plain arrays."""
    return {
        "events": counts.events,
        "seen": counts.seen.toarray(),
        "n": counts.n,
        "subjects": counts.subjects,
        "unweighted": counts.unweighted,
        "replicated_n": np.asarray(counts.replicated_n),
        "replicated_events": np.asarray(counts.replicated_events),
        "happened": np.asarray(None if counts.happened is None else counts.happened.toarray()),
    }


def assert_equal(one: Counts, other: Counts) -> None:
    for name, values in dense(one).items():
        np.testing.assert_array_equal(values, dense(other)[name], name)


def assert_same_sample(one: Sample, other: Sample) -> None:
    """Exactly the same sample, and exactly the same conclusions from it."""
    for field in fields(Sample):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(mine, theirs, field.name)
    groups = one.n.shape[1]
    first, second = np.triu_indices(groups, 1)
    for bounds in (
        lambda s: rate_interval(s),
        lambda s: difference_interval(s, first, second),
        lambda s: ratio_interval(s, first, second),
    ):
        np.testing.assert_array_equal(bounds(one), bounds(other))
    everything = np.ones((len(one.n), len(first)), bool)
    mine, theirs = (compare(s, first, second, everything) for s in (one, other))
    for name in ("p", "q", "each", "size", "studentised", "error"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), name)


# ---- counting ------------------------------------------------------------------------------------


def test_counts_are_those_of_loops() -> None:
    events, member, who = pictures(1)
    weights = cluster_weights(3, range(25), REPLICATES)
    got = count(events, member, who, 25, weights)
    for g in range(3):
        here = member[:, g]
        assert got.n[g] == here.sum()
        assert got.subjects[g] == len(set(who[here]))
        assert got.seen.toarray()[:, g].tolist() == [sum(who[here] == c) for c in range(25)]
        for q in range(4):
            assert got.events[q, g] == (here & events[:, q]).sum()
        for b in range(REPLICATES):
            drawn = weights[who, b].astype(int)
            assert got.replicated_n is not None
            assert got.replicated_events is not None
            assert got.replicated_n[b, g] == drawn[here].sum()
            for q in range(4):
                assert got.replicated_events[b, q, g] == drawn[here & events[:, q]].sum()


def test_a_sample_is_its_definition() -> None:
    events, member, who = pictures(2)
    got = count(events, member, who, 25, cluster_weights(3, range(25), REPLICATES))
    sample = got.sample([2, 0])
    for j, g in enumerate((2, 0)):
        sizes = np.bincount(who[member[:, g]])
        assert sample.n[:, j].tolist() == [sizes.sum()] * 4
        assert sample.subjects[:, j].tolist() == [(sizes > 0).sum()] * 4
        np.testing.assert_allclose(sample.copies[:, j], sizes.sum() ** 2 / (sizes**2).sum())
        assert sample.events[:, j].tolist() == [
            (events[:, q] & member[:, g]).sum() for q in range(4)
        ]
        assert got.replicated_n is not None
        assert got.replicated_events is not None
        assert sample.deviations is not None
        rate = sample.events[:, j] / sizes.sum()
        expected = (got.replicated_events[:, :, g] - rate * got.replicated_n[:, [g]]) / sizes.sum()
        np.testing.assert_allclose(sample.deviations[:, j], expected.T, atol=1e-7)
        for q in range(4):
            x = np.bincount(who[member[:, g] & events[:, q]], minlength=len(sizes))[sizes > 0]
            n = sizes[sizes > 0]
            r = x - x.sum() / n.sum() * n
            unit = np.gcd.reduce([*n, *x])
            powers = np.array([[((n / unit) ** k).sum()] for k in range(1, 5)])
            squares = (x**2 / n).sum() / unit
            sums = Sums(len(n), powers, np.array([x.sum() / unit]), np.array([squares]))
            np.testing.assert_allclose(
                (sample.observed[q, j], sample.alike[q, j], sample.freedom[q, j]),
                ((r**2).sum() / n.sum() ** 2, *np.concatenate(equally_alike(sums))),
                rtol=1e-9,
                atol=1e-15,
            )
            assert sample.rarer[q, j] == min((x > 0).sum(), (x < n).sum())
    in_both = set(who[member[:, 2]]) & set(who[member[:, 0]])
    assert sample.shared[0, 1] == bool(in_both)


def test_groups_share_subjects_only_where_they_do() -> None:
    events, codes = np.ones((6, 1), bool), np.array([0, 0, 1, 1, 2, 2])
    sample = sample_of(events, codes, ["a", "b", "b", "c", "d", "d"], 3, resamples=0)
    expected = [[True, True, False], [True, True, False], [False, False, True]]
    assert sample.shared.tolist() == expected
    one, other = np.array([0]), np.array([1])
    assert sample.repeats(one, other)
    assert sample.repeats(np.array([0]), np.array([2]))  # d has two pictures
    assert not sample_of(events, codes, range(6), 3, resamples=0).repeats(one, other)


def test_repeats_looks_only_at_the_groups_compared() -> None:
    events, codes = np.ones((6, 1), bool), np.array([0, 0, 1, 1, 2, 2])
    sample = sample_of(events, codes, ["a", "b", "c", "d", "e", "e"], 3, resamples=0)
    assert not sample.repeats(np.array([0]), np.array([1]))
    assert sample.repeats(np.array([0, 1]), np.array([1, 2]))


def test_replicates_without_weight_are_counted() -> None:
    """A group of one subject has no picture in about exp(-1) of the replicates."""
    weights = cluster_weights(0, ["a", "b", "c"], 2000)
    member = np.array([[True, False], [True, False], [False, True], [False, True]])
    got = count(np.ones((4, 1)), member, [0, 0, 1, 2], 3, weights)
    assert got.unweighted[0] == (weights[0] == 0).sum()
    assert got.unweighted[1] == ((weights[1] == 0) & (weights[2] == 0)).sum()
    assert got.unweighted[0] / 2000 == pytest.approx(np.exp(-1), abs=0.05)
    assert count(np.ones((4, 1)), member, [0, 0, 1, 2], 3).unweighted.tolist() == [0, 0]


def test_memory_does_not_grow_with_pictures() -> None:
    few, many = (pictures(3, n=n) for n in (500, 20_000))
    weights = cluster_weights(3, range(25), REPLICATES)
    sizes = [
        sum(
            part.nbytes
            for part in (c.events, c.seen.data, c.seen.indices, c.replicated_n, c.replicated_events)
        )
        for c in (count(*drawn, 25, weights) for drawn in (few, many))
    ]
    assert sizes[1] <= 1.2 * sizes[0]


# ---- merging -------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), parts=st.integers(2, 5))
def test_parts_that_split_subjects_add_up_to_the_whole_in_any_order(seed: int, parts: int) -> None:
    events, member, who = pictures(seed)
    weights = cluster_weights(seed, range(25), REPLICATES)
    whole = count(events, member, who, 25, weights)
    rng = np.random.default_rng(seed)
    part = rng.integers(0, parts, len(who))
    counted = []
    for i in rng.permutation(parts):
        here = part == i
        # a batch knows the weights of its own subjects only
        present, rows = np.unique(who[here], return_inverse=True)
        drawn = cluster_weights(seed, present.tolist(), REPLICATES)
        counted.append(count(events[here], member[here], who[here], 25, drawn, rows))
    merged = counted[0]
    for more in counted[1:]:
        merged = merged + more
    assert_equal(merged, whole)
    assert_same_sample(merged.sample(range(3)), whole.sample(range(3)))
    assert_same_sample(merged.sample(range(3), rest=True), whole.sample(range(3), rest=True))


def test_halves_do_split_subjects_in_the_test_above() -> None:
    events, member, who = pictures(5)
    first, second = (count(events[h], member[h], who[h], 25) for h in (slice(45), slice(45, None)))
    whole = count(events, member, who, 25)
    assert ((first + second).subjects < first.subjects + second.subjects).all()
    np.testing.assert_array_equal((first + second).subjects, whole.subjects)


def test_a_batch_without_pictures_adds_nothing() -> None:
    events, member, who = pictures(6)
    weights = cluster_weights(0, range(25), REPLICATES)
    whole = count(events, member, who, 25, weights)
    nothing = count(events[:0], member[:0], who[:0], 25, weights)
    assert_equal(whole + nothing, whole)
    assert nothing.n.tolist() == [0, 0, 0]


def test_adding_leaves_both_parts_alone() -> None:
    events, member, who = pictures(7)
    weights = cluster_weights(0, range(25), REPLICATES)
    first, second = (
        count(events[h], member[h], who[h], 25, weights) for h in (slice(45), slice(45, None))
    )
    before = {name: values.copy() for name, values in dense(first).items()}
    assert_equal(first + second, second + first)
    for name, values in dense(first).items():
        np.testing.assert_array_equal(values, before[name])


def test_counts_of_something_else_do_not_merge() -> None:
    events, member, who = pictures(8)
    weights = cluster_weights(0, range(25), REPLICATES)
    whole = count(events, member, who, 25, weights)
    for other in (
        count(events[:, :3], member, who, 25, weights),
        count(events, member[:, :2], who, 25, weights),
        count(events, member, who, 26, cluster_weights(0, range(26), REPLICATES)),
        count(events, member, who, 25),
        count(events, member, who, 25, weights[:, :30]),
        count(events, member, who, 25, weights[:, :1]),
    ):
        for one, two in ((whole, other), (other, whole)):
            with pytest.raises(ValueError):
                _ = one + two


# ---- the rest ------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), groups=st.integers(2, 5))
def test_the_rest_is_everybody_else_pooled_by_hand(seed: int, groups: int) -> None:
    events, _, who = pictures(seed)
    codes = np.random.default_rng(seed).integers(-1, groups, len(who))
    sample = sample_of(events, codes, who, groups, seed, REPLICATES, rest=True)
    for g in range(groups):
        pooled = np.where(codes == g, 0, np.where(codes >= 0, 1, -1))
        # all subjects stay, so that weights are those of the whole
        by_hand = sample_of(events, pooled, who, 2, seed, REPLICATES)
        for name in ("n", "events", "subjects", "copies", "rarer"):
            got = getattr(sample, name)[:, [g, g + groups]]
            np.testing.assert_array_equal(got, getattr(by_hand, name), name)
        for name in ("observed", "alike", "freedom"):
            got = getattr(sample, name)[:, [g, g + groups]]
            np.testing.assert_allclose(got, getattr(by_hand, name), atol=1e-12, err_msg=name)
        assert sample.deviations is not None
        assert by_hand.deviations is not None
        np.testing.assert_array_equal(sample.deviations[:, [g, g + groups]], by_hand.deviations)
        assert sample.shared[g, g + groups] == by_hand.shared[0, 1]
        one, other = np.array([g]), np.array([g + groups])
        np.testing.assert_allclose(
            difference_interval(sample, one, other),
            difference_interval(by_hand, np.array([0]), np.array([1])),
            atol=1e-12,
        )


# ---- bad input -----------------------------------------------------------------------------------


def test_pictures_of_unknown_group_count_nowhere() -> None:
    events, _, who = pictures(9)
    codes = np.random.default_rng(9).integers(-1, 3, len(who))
    known = codes >= 0
    for rest in (False, True):
        assert_same_sample(
            sample_of(events, codes, who, 3, resamples=REPLICATES, rest=rest),
            sample_of(events[known], codes[known], who[known], 3, resamples=REPLICATES, rest=rest),
        )


def test_all_groups_unknown_is_empty_not_an_error() -> None:
    sample = sample_of(np.ones((5, 2)), np.full(5, -1), range(5), 2, resamples=50)
    assert (sample.n == 0).all()
    assert np.isnan(sample.rate).all()
    assert np.isnan(rate_interval(sample)).all()


def test_no_pictures_at_all() -> None:
    sample = sample_of(np.zeros((0, 2)), [], [], 2, resamples=50)
    assert sample.n.tolist() == [[0, 0], [0, 0]]
    assert np.isnan(rate_interval(sample)).all()


def test_one_group_is_a_constant_attribute_with_nobody_else() -> None:
    events, _, who = pictures(10)
    sample = sample_of(events, np.zeros(len(who), int), who, 1, resamples=REPLICATES, rest=True)
    assert sample.n[:, 1].tolist() == [0] * 4
    one, other = np.array([0]), np.array([1])
    assert np.isnan(difference_interval(sample, one, other)).all()
    found = compare(sample, one, other, np.zeros((4, 1), bool))
    assert found.size == 0


def test_a_subject_of_many_pictures_is_counted_exactly() -> None:
    """50,000 frames of one video: their square is more than 32 bits hold."""
    n = 50_000
    sample = sample_of(np.ones((n + 1, 1)), np.zeros(n + 1, int), [0] * n + [1], 1, resamples=0)
    assert sample.copies[0, 0] == pytest.approx((n + 1) ** 2 / (n**2 + 1))


@pytest.mark.parametrize("codes", [[0, 1, 2], [0, -2, 1]])
def test_a_code_out_of_range_is_refused(codes: list[int]) -> None:
    with pytest.raises(InputError, match=r"codes: values from .* from -1 \(unknown\) to 1"):
        sample_of(np.ones((3, 1)), codes, range(3), 2)


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("clusters", [[0, 1, 7], [0, -1, 1]])
def test_a_cluster_out_of_range_is_refused(clusters: list[int], bootstrap: bool) -> None:
    weights = cluster_weights(0, range(3), 10) if bootstrap else None
    with pytest.raises(InputError, match=r"cluster.*(7|-1)"):
        count(np.ones((3, 1)), np.ones((3, 1)), clusters, 3, weights)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match="events of 3, groups of 2, clusters of 3"):
        count(np.ones((3, 1)), np.ones((2, 1)), [0, 1, 2], 3)
    with pytest.raises(InputError, match="clusters of 2"):
        sample_of(np.ones((3, 1)), [0, 0, 1], [0, 1], 2)


def test_subjects_may_have_any_ids() -> None:
    events, _, who = pictures(11)
    codes = np.random.default_rng(11).integers(0, 2, len(who))
    named = np.array([f"person {w}" for w in who])
    by_text, by_number = (
        sample_of(events, codes, ids, 2, resamples=0) for ids in (named.astype(object), who)
    )
    assert_same_sample(by_text, by_number)

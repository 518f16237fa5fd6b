"""Cluster weights and bootstrap tallies: who decides them, how they merge, what they estimate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from audit.core.errors import InputError
from audit.stats import resampling

PINNED = ["1003112120100112", "0011011134040230"]


def pictures(seed: int, clusters: int = 60, count: int = 400, groups: int = 4, labels: int = 3):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, clusters, count)
    return rows, rng.random((count, groups)) < 0.4, rng.random((count, labels)) < 0.3


def test_weights_are_poisson():
    weights = resampling.cluster_weights(7, range(500), 2000)
    expected = poisson.pmf(np.arange(7), 1)
    seen = np.bincount(weights.ravel(), minlength=7)[:7] / weights.size
    np.testing.assert_allclose(seen, expected, atol=0.002)
    assert weights.mean() == pytest.approx(1, abs=0.005)
    assert weights.var() == pytest.approx(1, abs=0.01)


def test_the_thresholds_are_the_poisson_distribution_to_32_bits():
    steps = np.arange(resampling._THRESHOLDS.size)
    np.testing.assert_allclose(
        resampling._THRESHOLDS / 2**32, poisson.cdf(steps, 1), rtol=0, atol=2**-32
    )
    assert poisson.sf(steps.size, 1) < 2**-32


def test_the_id_and_the_seed_alone_decide_a_clusters_weights():
    ids = [f"s{i}" for i in range(700)]
    whole = resampling.cluster_weights(3, ids, 50)
    np.testing.assert_array_equal(resampling.cluster_weights(3, ids[::-1], 50), whole[::-1])
    np.testing.assert_array_equal(resampling.cluster_weights(3, ids[400:405], 50), whole[400:405])
    assert (resampling.cluster_weights(4, ids, 50) != whole).mean() > 0.5
    assert (resampling.cluster_weights(3, ["s1", "s01"], 50)[1] != whole[1]).any()


@pytest.mark.parametrize("start", [0, 1, 7, 8, 100, 1234])
def test_blocks_of_replicates_join(start):
    whole = resampling.cluster_weights(3, "abc", 1500)
    np.testing.assert_array_equal(
        resampling.cluster_weights(3, "abc", 77, start), whole[:, start : start + 77]
    )


def test_weights_are_the_same_in_every_version():
    """Written down once: a run of today must merge with one of another machine or year."""
    weights = resampling.cluster_weights(2026, ["person-1", "person-2"], 16)
    assert ["".join(map(str, row)) for row in weights] == PINNED


def test_clusters_and_replicates_are_uncorrelated():
    weights = resampling.cluster_weights(1, range(200), 1000).astype(float)
    between = np.corrcoef(weights)[np.triu_indices(200, 1)]
    assert abs(between.mean()) < 0.001
    assert between.std() == pytest.approx(1000**-0.5, rel=0.05)
    along = np.mean((weights[:, 1:] - 1) * (weights[:, :-1] - 1))
    assert abs(along) < 0.01


def test_counts_longhand():
    weights = np.array([[1, 0], [2, 3]], dtype=np.uint8)
    member = np.array([[1, 0, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1]], bool)
    x = resampling.bootstrap_counts(weights, [0, 0, 1, 1], member, [[1, 1], [0, 1], [1, 1], [1, 1]])
    assert x[:, 0].tolist() == [[1, 2, 5], [0, 3, 6]]
    assert x[:, 1].tolist() == [[1, 3, 6], [0, 3, 6]]


def test_counts_equal_repeated_rows():
    rows, member, events = pictures(1)
    weights = resampling.cluster_weights(5, range(60), 20)
    x = resampling.bootstrap_counts(weights, rows, member, events)
    for replicate in range(20):
        drawn = np.repeat(np.arange(rows.size), weights[rows, replicate])
        for group in range(4):
            chosen = drawn[member[drawn, group]]
            np.testing.assert_array_equal(x[replicate, :, group], events[chosen].sum(0))


def test_blocks_of_replicates_do_not_show(monkeypatch):
    rows, member, events = pictures(2)
    weights = resampling.cluster_weights(5, range(60), 50)
    whole = resampling.bootstrap_counts(weights, rows, member, events)
    monkeypatch.setattr(resampling, "_REPLICATES_AT_ONCE", 7)
    again = resampling.bootstrap_counts(weights, rows, member, events)
    np.testing.assert_array_equal(again, whole)


def test_two_halves_merge_into_the_whole():
    rows, member, events = pictures(2, clusters=900, count=3000)
    weights = resampling.cluster_weights(5, range(900), 100)
    whole = resampling.bootstrap_counts(weights, rows, member, events)
    merged = 0
    for half in (np.arange(3000) < 1100, np.arange(3000) >= 1100):
        ids, local = np.unique(rows[half], return_inverse=True)
        weights = resampling.cluster_weights(5, ids.tolist(), 100)
        part = resampling.bootstrap_counts(weights, local, member[half], events[half])
        merged = merged + part
    np.testing.assert_array_equal(merged, whole)


def test_duplicating_every_picture_doubles_the_counts():
    rows, member, events = pictures(3)
    weights = resampling.cluster_weights(5, range(60), 200)
    once = resampling.bootstrap_counts(weights, rows, member, events)
    twice = np.concatenate([np.arange(rows.size)] * 2)
    again = resampling.bootstrap_counts(weights, rows[twice], member[twice], events[twice])
    np.testing.assert_array_equal(again, 2 * once)


def test_the_spread_of_the_rates_is_that_between_clusters():
    """12 like pictures a person: the spread is that of persons, 3.5 times that of pictures."""
    rng = np.random.default_rng(4)
    person = np.repeat(np.arange(400), 12)
    event = (rng.random(400) < 0.2)[person]
    weights = resampling.cluster_weights(9, range(400), 2000)
    both = np.column_stack([event, np.ones(4800, bool)])
    x = resampling.bootstrap_counts(weights, person, np.ones((4800, 1), bool), both)
    rate = event.mean()
    spread = (x[:, 0, 0] / x[:, 1, 0]).std()
    assert spread == pytest.approx((rate * (1 - rate) / 400) ** 0.5, rel=0.06)


def test_nothing_gives_empty_counts():
    weights = resampling.cluster_weights(1, [], 5)
    x = resampling.bootstrap_counts(weights, [], np.zeros((0, 3)), np.zeros((0, 2)))
    assert weights.shape == (0, 5)
    assert x.shape == (5, 2, 3)
    assert not x.any()


def test_bad_arguments_are_refused():
    weights = resampling.cluster_weights(1, "ab", 5)
    with pytest.raises(InputError, match="clusters: values from 0 to 2. They must be from 0 to 1"):
        resampling.bootstrap_counts(weights, [0, 2], [[1], [1]], [[1], [1]])
    with pytest.raises(InputError, match="one row of each table a picture"):
        resampling.bootstrap_counts(weights, [0, 1], [0, 1], [[1], [1]])
    with pytest.raises(InputError, match="-3 replicates"):
        resampling.cluster_weights(1, "ab", -3)

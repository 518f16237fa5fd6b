"""Gaps by chance from counts alone, against dealing the same subjects one by one."""

from __future__ import annotations

import numpy as np
import pytest

from audit.stats.permutation import permuted_range
from audit.stats.urn import Kinds, urn_range

DEALS = 3000


def kinds(codes: np.ndarray, strata: np.ndarray, events: np.ndarray) -> Kinds:
    """Subjects of one group and stratum counted together."""
    found, kind = np.unique(np.stack([codes, strata]), axis=1, return_inverse=True)
    member = kind.ravel() == np.arange(found.shape[1])[:, np.newaxis]
    return Kinds(member.astype(int) @ events, member.sum(axis=1), found[0], found[1])


def test_numbers_are_those_of_subjects_dealt_one_by_one() -> None:
    rng = np.random.default_rng(0)
    codes, strata = rng.integers(-1, 4, 4000), rng.integers(0, 3, 4000)
    chosen = rng.integers(0, 3, 4000)
    events = (chosen[:, np.newaxis] == np.arange(3)).astype(int)
    usable = [True, True, True, False]
    one = permuted_range(events, np.ones(4000), codes, strata, 4, DEALS, 1, usable)
    other = urn_range(kinds(codes, strata, events), usable, DEALS, 1)
    np.testing.assert_array_equal(other.observed, one.observed)
    assert (other.movable, other.permutations) == (one.movable, DEALS)
    # of 3,000 deals a mean is known to about 1 %, a share to about a point
    np.testing.assert_allclose(other.mean, one.mean, rtol=0.05)
    np.testing.assert_allclose(other.high, one.high, rtol=0.08)
    np.testing.assert_allclose(other.p, one.p, atol=0.05)


def test_a_stratum_of_one_group_keeps_what_it_has() -> None:
    # stratum 0 is of group 0 alone and has all events; in stratum 1 none can move
    ten = np.full(3, 10)
    held = Kinds(np.array([[5], [0], [0]]), ten, np.array([0, 0, 1]), np.array([0, 1, 1]))
    null = urn_range(held, [True, True], 50)
    assert null.observed == pytest.approx(5 / 20)
    assert null.mean == pytest.approx(5 / 20)
    assert null.p == pytest.approx(1.0)
    apart = Kinds(np.array([[5], [0]]), ten[:2], np.array([0, 1]), np.array([0, 1]))
    alone = urn_range(apart, [True, True], 50)
    assert np.isnan(alone.p).all()
    assert "no cluster can change group" in alone.reason

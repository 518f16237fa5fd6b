"""Bounds of what probes measure, in rows and in sentences."""

from __future__ import annotations

import numpy as np
import pytest

from audit.probes.kit.bounds import ends, simultaneous, size_of


def test_bounds_of_one_place_are_columns_in_points() -> None:
    low, high = np.array([[0.0, 0.1]]), np.array([[0.0, 0.3]])
    alone = ends(low, high, at=(0, 1), unit=100)
    assert alone == pytest.approx({"low": 10, "high": 30})
    both = ends(low, high, 0.05 * np.ones((1, 2)), 0.4 * np.ones((1, 2)), at=(0, 1), unit=100)
    assert both == pytest.approx(alone | {"low_simultaneous": 5, "high_simultaneous": 40})
    assert ends(-1, 2.5) == {"low": -1, "high": 2.5}


def test_bounds_that_hold_together_are_a_phrase() -> None:
    row = {"low_simultaneous": -0.02, "high_simultaneous": 0.314, "level": 0.9}
    assert simultaneous(row, "+z.0f", 100) == "90 % simultaneous bounds -2 to +31"
    assert simultaneous(row, ".2f", level=0.95) == "95 % simultaneous bounds -0.02 to 0.31"


def test_the_size_of_a_value_has_bounds_from_0() -> None:
    assert size_of({"low_simultaneous": -3.0, "high_simultaneous": -1}) == (1, 3)
    assert size_of({"low_simultaneous": -3.0, "high_simultaneous": 1}) == (0, 3)

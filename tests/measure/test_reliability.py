"""The labelled tables of calibration: statuses, names, planted groups, truth that isn't known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.core.errors import InputError
from audit.core.tables import ENSEMBLE, OK, TOO_FEW, UNDEFINED
from audit.measure.reliability import (
    BINS,
    CALIBRATION,
    CALIBRATION_GAPS,
    RELIABILITY,
    calibration,
    calibration_gaps,
    reliability_bins,
)
from audit.stats.reliability import reliability

TABLES = (
    (calibration, CALIBRATION),
    (reliability_bins, RELIABILITY),
    (calibration_gaps, CALIBRATION_GAPS),
)


@dataclass(frozen=True)
class Membership:
    """What calibration reads of ``audit.measure.metrics.Groups``."""

    index: pd.MultiIndex
    member: np.ndarray[Any, Any]
    rows: dict[str, int]
    clusters: np.ndarray[Any, Any]

    def at(self, keys: Iterable[str]) -> np.ndarray[Any, Any]:
        return np.array([self.rows[key] for key in keys], dtype=np.int64)


def world(seed=1, n=900, over=0.0, each=1):
    """Choices of a calibrated model, but for group b of 'letter', and who is in which group."""
    rng = np.random.default_rng(seed)
    score, letter = rng.beta(5, 2, n), rng.choice(["a", "b", "c"], n)
    correct = rng.random(n) < score - over * (letter == "b")
    choices = pd.DataFrame(
        {
            "probe": "classification",
            "task": "jobs",
            "condition": ENSEMBLE,
            "image_id": [f"p{i}" for i in range(n)],
            "predicted": np.where(correct, "baker", "pilot"),
            "score": score,
            "truth": "baker",
        }
    )
    tiny, nobody, unknown = np.arange(n) < 4 * each, np.zeros(n, bool), np.arange(n) % 2 == 0
    columns = {
        ("everyone", "everyone"): np.ones(n, bool),
        ("letter", "a"): letter == "a",
        ("letter", "b"): letter == "b",
        ("letter", "c"): letter == "c",
        ("size", "tiny"): tiny,
        ("size", "nobody"): nobody,
        ("size", "large"): ~tiny & ~unknown,
        ("size", "unknown"): ~tiny & unknown,
    }
    index = pd.MultiIndex.from_tuples(list(columns), names=["attribute", "group"])
    rows = {key: i for i, key in enumerate(choices["image_id"])}
    member = np.column_stack(list(columns.values()))
    return choices, Membership(index, member, rows, np.arange(n) // each)


def row(table, **of):
    """The one row with these values."""
    for name, value in of.items():
        table = table[table[name] == value]
    (found,) = table.to_dict("records")
    return found


def test_tables_keep_their_schemas():
    for make, schema in TABLES:
        assert len(schema.validate(make(*world()))) > 0


def test_numbers_are_those_of_the_statistic():
    choices, groups = world(over=0.2, each=3)
    correct = (choices["predicted"] == choices["truth"]).to_numpy()
    expected = reliability(
        choices["score"].to_numpy(), correct, groups.member, groups.clusters, level=0.9, resamples=0
    )
    got = calibration(choices, groups, level=0.9)
    np.testing.assert_array_equal(got["overconfidence"], expected.overconfidence.value)
    np.testing.assert_array_equal(got["low"], expected.overconfidence.low)
    np.testing.assert_array_equal(got["ece"], expected.ece)
    np.testing.assert_allclose(got["ece_above"], got["ece"] - got["ece_null"])
    bins = reliability_bins(choices, groups, level=0.9)
    assert len(bins) == BINS * len(groups.index)
    np.testing.assert_array_equal(bins["share_correct"], expected.bins.share_correct.ravel())
    np.testing.assert_array_equal(bins["high"], expected.bins.high.ravel())


def test_a_planted_group_is_found_and_named():
    choices, groups = world(over=0.25)
    table = calibration(choices, groups)
    planted = row(table, attribute="letter", group="b")
    assert planted["low"] > 0.1
    assert planted["ece"] > planted["ece_null_high"]
    gap = row(calibration_gaps(choices, groups), attribute="letter")
    assert gap["group"] == "b"
    assert gap["low"] > 0.05
    assert gap["low"] < 0.25 < gap["high"]
    assert gap["pairs"] == 3


def test_where_nothing_is_planted_no_gap_is_shown():
    choices, groups = world(seed=2)
    gap = row(calibration_gaps(choices, groups), attribute="letter")
    assert gap["value"] > 0
    assert gap["low"] == 0
    table = calibration(choices, groups)
    fine = table[table["status"] == OK]
    assert (fine["ece"] <= fine["ece_null_high"]).all()


def test_no_group_is_dropped_and_small_ones_keep_their_values():
    table = calibration(*world())
    assert len(table) == 8
    tiny = row(table, group="tiny")
    assert (tiny["status"], tiny["reason"]) == (TOO_FEW, "fewer than 5 subjects")
    assert np.isfinite([tiny["ece"], tiny["ece_null"], tiny["low"]]).all()
    nobody = row(table, group="nobody")
    assert nobody["status"] == UNDEFINED
    assert nobody["method"] == ""
    assert np.isnan([nobody["ece"], nobody["accuracy"], nobody["low"]]).all()
    assert row(table, group="unknown")["status"] == OK
    gap = row(calibration_gaps(*world()), attribute="size")  # tiny, nobody and unknown don't count
    assert gap["status"] == TOO_FEW
    assert np.isnan(gap["value"])


def test_one_subject_gives_no_interval():
    choices, groups = world(each=2_000)
    table = calibration(choices, groups)
    everyone = row(table, attribute="everyone")
    assert everyone["status"] == TOO_FEW
    assert "one subject" in everyone["reason"]
    assert np.isnan(everyone["low"])
    assert everyone["n"] == 900
    assert everyone["subjects"] == 1
    bins = reliability_bins(choices, groups)
    assert set(bins["status"]) == {TOO_FEW, UNDEFINED}


def test_bins_add_up_to_their_group():
    choices, groups = world(each=3)
    bins, table = reliability_bins(choices, groups), calibration(choices, groups)
    np.testing.assert_array_equal(bins.groupby("group", sort=False)["n"].sum(), table["n"])
    share = bins["n"] * (bins["share_correct"] - bins["mean_score"]).abs()
    ece = share.groupby(bins["group"], sort=False).sum() / table["n"].to_numpy()
    np.testing.assert_allclose(ece.drop("nobody"), table["ece"].dropna())
    empty = bins[bins["n"] == 0]
    assert len(empty) > BINS
    assert (empty["status"] == UNDEFINED).all()
    assert bins[(bins["group"] == "tiny") & (bins["n"] > 1)]["status"].eq(TOO_FEW).all()
    assert ((bins["low"] < bins["share_correct"]) | bins["low"].isna() | (bins["low"] == 0)).all()


def test_only_the_headline_condition_and_known_truth_count():
    choices, groups = world()
    noise = choices.assign(condition="template: a {}", score=0.5)
    unknown = choices["image_id"].isin([f"p{i}" for i in range(100)])
    mixed = pd.concat([choices.assign(truth=choices["truth"].mask(unknown)), noise])
    pd.testing.assert_frame_equal(
        calibration(mixed, groups), calibration(choices[~unknown], groups)
    )
    assert row(calibration(mixed, groups), attribute="everyone")["n"] == 800


@pytest.mark.parametrize(("make", "schema"), TABLES)
def test_without_truth_there_is_no_row(make, schema):
    choices, groups = world()
    empty = make(choices.assign(truth=None), groups)
    assert empty.empty
    schema.validate(empty)


@pytest.mark.parametrize(("make", "schema"), TABLES)
def test_order_of_pictures_is_irrelevant(make, schema):
    choices, groups = world(each=3)
    shuffled = choices.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(make(choices, groups), make(shuffled, groups))


def test_another_task_has_other_draws_and_the_same_scores():
    choices, groups = world()
    one, other = calibration(choices, groups), calibration(choices.assign(task="hats"), groups)
    np.testing.assert_array_equal(one["ece"], other["ece"])
    assert (one["ece_null"] != other["ece_null"]).any()


def test_two_tasks_at_once_are_refused():
    choices, groups = world()
    with pytest.raises(InputError, match="one task at a time"):
        calibration(pd.concat([choices, choices.assign(task="hats")]), groups)

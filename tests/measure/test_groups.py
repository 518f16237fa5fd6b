"""Groups as codes, and what is counted of so many subjects that none is held apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from audit.data.dataset import load
from audit.data.labels import load_label_set
from audit.measure import groups as who
from audit.measure.confidence import Confidence
from audit.measure.disparity import disparities
from audit.measure.groups import Clusters, Groups, Members, Places, grouped
from audit.measure.metrics import METRICS, Tally, rates, tally
from audit.measure.nulls import with_nulls, with_nulls_of_counts
from audit.stats.clustered import Sample

LABELS = load_label_set("people-suspicion")
SURE = Confidence(resamples=200)
PICTURES = 900


def world(each: int = 1, seed: int = 0) -> tuple[Groups, pd.DataFrame]:
    """Groups of two attributes, subjects of so many pictures, and choices that one group has."""
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 2, PICTURES), rng.integers(-1, 3, PICTURES)
    columns = [
        np.ones(PICTURES, bool),
        *(one == i for i in range(2)),
        *(other == i for i in range(3)),
    ]
    names = [
        ("everyone", "everyone"),
        ("a", "a0"),
        ("a", "a1"),
        *(("b", f"b{i}") for i in range(3)),
    ]
    keys = tuple(f"i{i:04d}" for i in range(PICTURES))
    subjects = np.array([f"s{i // each:04d}" for i in range(PICTURES)], dtype=object)
    ids, clusters = Clusters.numbered(subjects)
    index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
    groups = Groups(index, Members.of(PICTURES, columns), clusters, ids, Places(keys))
    texts = np.array(LABELS.texts, dtype=object)
    place = np.where(
        rng.random(PICTURES) < 0.1 + 0.2 * one, 0, rng.integers(0, len(texts), PICTURES)
    )
    table = pd.DataFrame(
        {
            "probe": "classification", "task": "t", "condition": "ensemble", "image_id": keys,
            "predicted": texts[place], "score": 0.5, "margin": 0.1, "tie": False,
            "truth": np.where(rng.random(PICTURES) < 0.7, texts[0], None),
        }
    )  # fmt: skip
    return groups, table


def in_parts(groups: Groups, table: pd.DataFrame, parts: int) -> Tally:
    """What is counted batch by batch, with replicates drawn from the sum."""
    counted: Tally | None = None
    for at in np.array_split(np.arange(PICTURES), parts):
        some = groups.part(at, list(table["image_id"].iloc[at]))
        own = tally(table.iloc[at], LABELS, some, later=True)
        counted = own if counted is None else counted + own
    assert counted is not None
    draws = groups.draws(groups.rows, 0, SURE.resamples)
    return Tally(groups, counted.blocks).drawn(draws)


def make_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on so few pictures are taken for many."""
    monkeypatch.setattr(who, "BOUND", 100)
    monkeypatch.setattr(who, "BUCKETS", 300)


def sample_of(counted: Tally, metric: str, rest: bool = False) -> Sample:
    (block,) = (b for asked, b in counted.blocks.items() if asked[3] == metric)
    return block.counts.sample(np.arange(1, 6) if not rest else np.arange(3, 6), rest)


@pytest.mark.parametrize("each", [1, 3])
def test_parts_added_up_are_the_whole_to_the_last_bit(each: int) -> None:
    groups, table = world(each)
    draws = groups.draws(groups.rows, 0, SURE.resamples)
    whole, parts = tally(table, LABELS, groups, draws), in_parts(groups, table, 7)
    pd.testing.assert_frame_equal(rates(parts), rates(whole), check_exact=True)
    pd.testing.assert_frame_equal(
        disparities(parts, SURE), disparities(whole, SURE), check_exact=True
    )


@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize("metric", list(METRICS))
def test_subjects_counted_together_are_those_counted_apart(
    metric: str, rest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, table = world()
    apart = sample_of(in_parts(groups, table, 1), metric, rest)
    make_many(monkeypatch)
    assert groups.many
    together = sample_of(in_parts(groups, table, 5), metric, rest)
    for name in ("n", "events", "subjects", "copies", "blocks", "shared"):
        np.testing.assert_array_equal(getattr(together, name), getattr(apart, name), err_msg=name)


def test_buckets_of_subjects_spread_as_subjects_do(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, table = world()
    spread = sample_of(in_parts(groups, table, 1), "selection").deviations
    make_many(monkeypatch)
    shared = sample_of(in_parts(groups, table, 3), "selection").deviations
    assert spread is not None
    assert shared is not None
    own, theirs = spread.std(axis=-1), shared.std(axis=-1)
    # 200 replicates tell a standard deviation to 5 %, 300 buckets to 4 %
    assert np.abs(np.log(theirs / own)).mean() < 0.1
    assert abs(np.log(theirs / own).mean()) < 0.04


def test_subjects_of_several_pictures_share_weights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, table = world(each=3)
    apart = rates(in_parts(groups, table, 1))
    make_many(monkeypatch)
    assert not groups.many
    together = rates(in_parts(groups, table, 4))
    for name in ("n", "subjects", "events", "value"):
        pd.testing.assert_series_equal(together[name], apart[name], check_exact=True)


def test_nulls_from_counts_are_those_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, table = world()
    counted = in_parts(groups, table, 1)
    compared = disparities(counted, SURE)
    of_rows = with_nulls(compared, table, LABELS, groups, SURE, 0)
    make_many(monkeypatch)
    of_counts = with_nulls_of_counts(compared, in_parts(groups, table, 3), SURE, 0)
    there = of_rows["null_mean"].notna()
    assert there.any()
    assert (of_counts["null_mean"].notna() == there).all()
    assert (of_counts["method"] == of_rows["method"]).all()
    for name in ("null_mean", "null_high"):
        np.testing.assert_allclose(of_counts[there][name], of_rows[there][name], rtol=0.3)
    np.testing.assert_allclose(of_counts[there]["p"], of_rows[there]["p"], atol=0.12)


def test_a_sample_is_of_whole_subjects_whatever_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups, table = world(each=3)
    assert groups.sample() is None
    make_many(monkeypatch)
    monkeypatch.setattr(who, "SAMPLE", 301)
    rows = groups.sample()
    assert rows is not None
    assert len(rows) == 300
    assert (np.bincount(groups.clusters[rows]) % 3 == 0).all()
    order = np.random.default_rng(1).permutation(PICTURES)
    turned = groups.part(order, [f"i{i:04d}" for i in order]).sample()
    assert turned is not None
    assert {*order[turned]} == {*rows}
    few = groups.alone(rows, list(table["image_id"].iloc[rows]))
    assert (len(few.cluster_ids), few.many) == (100, False)


def test_membership_is_that_of_the_columns_it_was_made_of() -> None:
    rng = np.random.default_rng(0)
    columns = rng.random((5, 50)) < 0.4
    members = Members.of(50, columns)
    np.testing.assert_array_equal(members, columns.T)
    np.testing.assert_array_equal(members[[3, 1]], columns.T[[3, 1]])
    np.testing.assert_array_equal(members[:, [4, 0]], columns.T[:, [4, 0]])
    np.testing.assert_array_equal(
        members.part(slice(2, 9)).columns(np.array([1])), columns.T[2:9, [1]]
    )


def test_places_of_ids_that_are_not_there_are_refused() -> None:
    groups, _ = world()
    assert groups.at(["i0007", "i0001"]).tolist() == [7, 1]
    with pytest.raises(KeyError, match="i9999"):
        groups.at(["i0001", "i9999"])


def test_intersections_are_crossed_groups_in_the_order_of_both(tmp_path: Path) -> None:
    rows = ["female,7", "female,30", "male,59", "male,", ",41", "male,18"]
    lines = ["image_id,gender,age", *(f"i{n},{row}" for n, row in enumerate(rows))]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    attributes = {"gender": {"source": "assigned"}, "age": {"source": "assigned"}}
    card = {"name": "few", "manifest": "m.csv", "pictures": False, "id_column": "image_id"}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card | {"attributes": attributes}))
    data = load(tmp_path / "card.yaml")
    crossed = grouped(data, {"gender": None, "age": [18, 60]}, [("gender", "age")])["gender x age"]
    cells = ["female x under 18", "female x 18-59", "male x 18-59", None, None, "male x 18-59"]
    assert crossed.astype(object).where(crossed.notna(), None).tolist() == cells
    assert list(crossed.cat.categories) == list(dict.fromkeys(filter(None, cells)))
    assert crossed.index.tolist() == data.table["image_id"].tolist()

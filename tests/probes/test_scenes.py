"""Captions of scenes: longhand choices, planted costs, null worlds, abstention, refusals."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds
import yaml
from PIL import Image

from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.core.tables import (
    ENSEMBLE,
    EVERYONE,
    EXCEEDS,
    NOT_ASKED,
    TOO_FEW,
    UNDEFINED,
    WITHIN,
)
from audit.data.dataset import Dataset, load
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.abstention import LABELLED, RIGHT, abstention, at_least, rates_in, threshold_of
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups, grouped
from audit.measure.nulls import Dealt, range_by_chance
from audit.models.encoder import Texts
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.footage import CAMERA
from audit.probes.scenes import captions as roles
from audit.probes.scenes import names
from audit.probes.scenes.captions import uniform
from audit.probes.scenes.names import INSTEAD, WITHOUT
from audit.probes.scenes.probe import Scenes, close_only
from audit.probes.scenes.rows import cost_row
from audit.report.render import render
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

COLOURS = ("amber", "blue", "cyan", "green", "red", "white")
SHAPES = ("coat", "dress", "hat", "scarf", "suit")
TEMPLATE: dict[str, Any] = {
    "text": "a person in a {colour} {shape}",
    "all_changed": 3,
    "close": "colour",
}


def asked(**fields: Any) -> Scenes:
    return validate(Scenes, {"kind": "scenes", **fields}, "probe")


def manifest(folder: Path, rows: Sequence[Mapping[str, Any]], **card: Any) -> Dataset:
    """A data set of these rows; each has an id, and its picture is never looked at."""
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame(rows)
    table["path"] = [f"{i}.png" for i in range(len(table))]
    for path in table["path"]:
        Image.new("RGB", (2, 2)).save(folder / path)
    table.to_csv(folder / "manifest.csv", index=False)
    about = {
        "name": "scenes",
        "manifest": "manifest.csv",
        "id_column": "id",
        "named_people": False,
        "consent": "drawn by a test",
        "attributes": {"group": {"source": "generator"}} if "group" in table else {},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(about | card))
    return load(folder / "card.yaml")


def texts_of(vectors: Mapping[str, Sequence[float]], scale: float = 10.0) -> Texts:
    def encode(strings: Sequence[str]) -> Any:
        found = np.array([vectors[s] for s in strings], dtype=np.float64)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    return Texts(encode, Scoring(scale))


def seen_of(dataset: Dataset, pictures: Any, texts: Texts, seed: int = 0) -> Seen:
    vectors = np.array(pictures, dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = tuple(dataset.table["image_id"])
    return Seen(Embeddings(keys, vectors.astype(np.float32), "x"), texts, dataset, {}, seed)


def design_of(seen: Seen, min_group: int = 2) -> Design:
    dataset, c = seen.dataset, Confidence(min_group=min_group, resamples=200)
    values = grouped(dataset, dict.fromkeys(dataset.attributes), ())
    groups = Groups.of(dataset, seen.images.keys, values)
    return Design(groups, groups.draws(groups.rows, 0, c.resamples), c, 0)


# ---- captions written by hand ------------------------------------------------------------------

BY_HAND = [
    {"id": "a", "right": "a car", "close": "a red car", "others": "a shop | a street"},
    {"id": "b", "right": "a shop", "close": "an open shop|a shut shop", "others": "a car"},
    {"id": "c", "right": "a street", "close": "", "others": "a car | a shop"},
    {"id": "d", "right": "", "close": "a red car", "others": "a car"},
]
AXES = {
    text: [float(i == j) for j in range(6)]
    for i, text in enumerate(
        ["a car", "a red car", "a shop", "a street", "an open shop", "a shut shop"]
    )
}


def by_hand(world: Path) -> tuple[Scenes, Seen]:
    dataset = manifest(world, BY_HAND)
    pictures = [
        [0.6, 0.7, 0.2, 0.1, 0, 0],  # a red car rather than a car
        [0.1, 0, 0.9, 0, 0.4, 0.3],  # a shop
        [0, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 0],
    ]
    columns = {"right": "right", "close": "close", "others": "others"}
    return asked(columns=columns), seen_of(dataset, pictures, texts_of(AXES))


def test_choices_by_hand_longhand(world: Path) -> None:
    scenes, seen = by_hand(world)
    rows = scenes.outcomes(seen).set_index(["condition", "image_id"])
    assert set(rows.index) == {(c, i) for c in (ENSEMBLE, WITHOUT) for i in "ab"}
    assert rows.loc[(ENSEMBLE, "a"), "predicted"] == roles.CLOSE
    assert rows.loc[(WITHOUT, "a"), "predicted"] == roles.RIGHT
    assert rows.loc[(ENSEMBLE, "b"), "predicted"] == roles.RIGHT
    assert (rows["truth"] == roles.RIGHT).all()
    length = math.sqrt(0.6**2 + 0.7**2 + 0.2**2 + 0.1**2)
    logits = [10 * v / length for v in (0.6, 0.7, 0.2, 0.1)]
    share = math.exp(logits[1]) / sum(map(math.exp, logits))
    assert rows.loc[(ENSEMBLE, "a"), "score"] == pytest.approx(share, abs=1e-6)
    assert rows.loc[(ENSEMBLE, "a"), "margin"] == pytest.approx(0.1 / length, abs=1e-6)
    coarse = math.exp(logits[0]) / sum(math.exp(v) for v in (logits[0], *logits[2:]))
    assert rows.loc[(WITHOUT, "a"), "score"] == pytest.approx(coarse, abs=1e-6)


@pytest.mark.slow
def test_in_poor_footage_the_same_captions_are_offered_longhand(world: Path) -> None:
    scenes, seen = by_hand(world)
    assert scenes.columns is not None
    captions = scenes.columns.model_dump()
    foggy = asked(columns=captions, corruptions=["fog"], severities=[3])
    turned = seen.images.vectors[[0, 0, 2, 3]]  # b looks like a
    through = {
        what.name: replace(seen.images, vectors=turned if name == "fog 3" else seen.images.vectors)
        for name, what in foggy.footage.items()
    }
    assert [*foggy.footage] == [CAMERA, "fog 3"]
    seen = replace(seen, altered=through)
    rows = foggy.outcomes(seen).set_index(["condition", "image_id"])["predicted"]
    assert rows[CAMERA].equals(rows[ENSEMBLE])
    assert rows["fog 3"].tolist() == [roles.CLOSE, roles.OTHER]  # a car, not a shop
    table = foggy.measures(foggy.outcomes(seen), seen, design_of(seen)).set_index("condition")
    costs = table[table["metric"] == names.FOOTAGE_COST]
    # a was wrong and stays so; b was right
    assert costs["value"].to_dict() == {CAMERA: 0.0, "fog 3": 0.5}
    assert (
        "through 'fog 3', the model chooses the right caption for 0 %"
        in (costs.loc["fog 3", "statement"])
    )


@pytest.mark.slow
def test_pictures_without_enough_captions_are_counted_and_not_asked(world: Path) -> None:
    scenes, seen = by_hand(world)
    measures = scenes.measures(scenes.outcomes(seen), seen, design_of(seen))
    left = measures[measures["metric"] == names.LEFT_OUT].iloc[0]
    assert (left["events"], left["n"], left["status"]) == (2, 4, NOT_ASKED)
    assert "a close one" in left["reason"]
    one = measures.set_index(["metric", "condition"])["value"]
    assert one[names.OPTIONS, ENSEMBLE] == 4
    assert one[names.OPTIONS, WITHOUT] == 2.5
    assert one[names.GUESSING, WITHOUT] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_without_close_captions_there_is_one_condition_and_two_roles(world: Path) -> None:
    _, seen = by_hand(world)
    scenes = asked(columns={"right": "right", "others": ["others"]})
    rows = scenes.outcomes(seen)
    assert set(rows["condition"]) == {ENSEMBLE}
    assert scenes.contrasts() == ()
    assert scenes.labels.texts == (roles.RIGHT, roles.OTHER)
    assert sorted(rows["image_id"]) == ["a", "b", "c"]


def test_captions_of_a_template_set_are_averaged(world: Path) -> None:
    _, seen = by_hand(world)
    scenes = asked(columns={"right": "right", "others": "others"}, templates="surveillance")
    asked_for: list[str] = []

    def encode(strings: Sequence[str]) -> Any:
        asked_for.extend(strings)
        return np.tile(np.eye(6, dtype=np.float32)[0], (len(strings), 1))

    seen = Seen(seen.images, Texts(encode, Scoring(10.0)), seen.dataset)
    scenes.outcomes(seen)
    assert len(asked_for) == 4 * 3
    assert "a photo of a car." in asked_for
    assert "CCTV footage of a shop." in asked_for


# ---- captions from a template ------------------------------------------------------------------


def many(n: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"p{i}",
            "group": ("one", "two")[int(rng.integers(2))],
            "colour": str(rng.choice(COLOURS)),
            "shape": str(rng.choice(SHAPES)),
        }
        for i in range(n)
    ]


def test_close_captions_change_one_column_and_wrong_ones_all(world: Path) -> None:
    rows = many(60)
    dataset = manifest(world, rows)
    scenes = asked(template=TEMPLATE | {"close": ["colour", "shape"]})
    offered = scenes._offered(dataset, tuple(dataset.table["image_id"]), 0)
    words = {c: {v for v in values} for c, values in (("colour", COLOURS), ("shape", SHAPES))}
    for i, row in enumerate(rows):
        for place, role in zip(offered.at[i], offered.role, strict=True):
            caption = offered.captions[place]
            colour = next(c for c in words["colour"] if c in caption)
            shape = next(s for s in words["shape"] if s in caption)
            differ = (colour != row["colour"]) + (shape != row["shape"])
            assert differ == {roles.RIGHT: 0, roles.CLOSE: 1}.get(roles.ROLES[role], 2)
    assert offered.twice() is None
    assert not [c for c in offered.captions if " a amber" in c or " an blue" in c]
    assert any("in an amber" in c for c in offered.captions)


def test_conditions_of_a_template_offer_what_they_say(world: Path) -> None:
    dataset = manifest(world, many(30))
    scenes = asked(template=TEMPLATE | {"close": ["colour", "shape"], "others": ["an empty room"]})
    assert scenes.contrasts() == (WITHOUT, INSTEAD)
    offered = scenes._offered(dataset, tuple(dataset.table["image_id"]), 0)
    counts = {name: places.sum(axis=1) for name, places in scenes._conditions(offered)}
    expected = {
        ENSEMBLE: 1 + 2 + 3 + 1,
        WITHOUT: 1 + 3 + 1,
        INSTEAD: 1 + 2 + 3 + 1,
        close_only("colour"): 1 + 1 + 3 + 1,
        close_only("shape"): 1 + 1 + 3 + 1,
    }
    assert {name: set(count) for name, count in counts.items()} == {
        name: {count} for name, count in expected.items()
    }


def test_captions_by_hand_are_asked_once_in_choices_of_equal_length(world: Path) -> None:
    by_hand = {"right": "a cup", "close": "a cap | a cut", "other": "a car | a cat"}
    rows = [row | by_hand | {"more": "a dog | a bus | a hat"} for row in many(6)]
    rows[0] |= {"close": "a cap"}
    keys = tuple(row["id"] for row in rows)
    columns = {"right": "right", "close": "close", "others": "other"}
    plain, more = asked(columns=columns), asked(columns=columns | {"instead": "more"})
    assert (plain.contrasts(), more.contrasts()) == ((WITHOUT,), (WITHOUT, INSTEAD))
    dataset = manifest(world, rows)
    offered = more._offered(dataset, keys, 0)
    counts = {name: list(places.sum(axis=1)) for name, places in more._conditions(offered)}
    assert counts == {ENSEMBLE: [4] + [5] * 5, WITHOUT: [3] * 6, INSTEAD: [4] + [5] * 5}
    places = dict(more._conditions(offered))[INSTEAD]
    said = [
        {offered.captions[c] for c in row[p]} for row, p in zip(offered.at, places, strict=True)
    ]
    assert said[0] == {"a cup", "a car", "a cat", "a dog"}
    assert said[1] == {"a cup", "a car", "a cat", "a dog", "a bus"}
    assert "instead" not in plain.model_dump()["columns"]  # no digest of before changes
    rows[1] |= {"more": "a dog"}
    with pytest.raises(InputError, match="'p1' has 2 close captions and 1 in more. Write as many"):
        more._offered(manifest(world, rows), keys, 0)
    with pytest.raises(InputError, match="name them in 'close'"):
        asked(columns={"right": "right", "others": "other", "instead": "more"})


def test_a_split_and_the_order_of_pictures_change_nothing(world: Path) -> None:
    dataset = manifest(world, many(40))
    scenes = asked(template=TEMPLATE)
    rng = np.random.default_rng(1)
    vectors = {f"a person in {'an' if c == 'amber' else 'a'} {c} {s}": rng.standard_normal(5)
               for c in COLOURS for s in SHAPES}  # fmt: skip
    seen = seen_of(dataset, rng.standard_normal((40, 5)), texts_of(vectors))
    whole = scenes.outcomes(seen)
    keys = seen.images.keys
    halves = [scenes.outcomes(seen.only(part)) for part in (keys[:13], keys[13:])]
    order = ["condition", "image_id"]

    def sort(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.sort_values(order).reset_index(drop=True)

    pd.testing.assert_frame_equal(sort(scenes.merged(halves)), sort(whole))
    shuffled = seen.only([keys[i] for i in rng.permutation(40)])
    pd.testing.assert_frame_equal(sort(scenes.outcomes(shuffled)), sort(whole))


@pytest.mark.slow
def test_captions_that_are_alike_to_the_model_favour_none(world: Path) -> None:
    dataset = manifest(world, many(600))
    scenes = asked(template=TEMPLATE)
    texts = Texts(lambda s: np.tile(np.eye(3, dtype=np.float32)[0], (len(s), 1)), Scoring(10.0))
    rows = scenes.outcomes(seen_of(dataset, np.ones((600, 3)), texts))
    headline = rows[rows["condition"] == ENSEMBLE]
    assert headline["tie"].all()
    shares = headline["predicted"].value_counts(normalize=True)
    assert shares[roles.RIGHT] == pytest.approx(1 / 5, abs=0.06)
    assert shares[roles.CLOSE] == pytest.approx(1 / 5, abs=0.06)


def test_numbers_by_key_are_uniform_and_depend_on_nothing_else() -> None:
    keys = [f"k{i}" for i in range(4000)]
    drawn = uniform(keys, "x", 5)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, 10, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 33  # chi-squared, 9 degrees of freedom
    assert abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.06
    first = np.bincount(drawn.argmin(axis=1), minlength=5)
    assert ((first - 800) ** 2 / 800).sum() < 25
    assert (uniform(keys[5:7], "x", 5) == drawn[5:7]).all()
    assert (uniform(keys[:3], "y", 5) != drawn[:3]).all()


# ---- planted and null worlds -------------------------------------------------------------------


def caption(colour: str, shape: str) -> str:
    return f"a person in {'an' if colour == 'amber' else 'a'} {colour} {shape}"


def scene_world(folder: Path, n: int, confused: Any) -> Run:
    """A run of a world where ``confused(row)`` pictures look like every colour but their own."""
    table = worlds.people(folder, n)
    rng = np.random.default_rng(7)
    table["colour"], table["shape"] = rng.choice(COLOURS, n), rng.choice(SHAPES, n)
    table.to_csv(folder / "people.csv", index=False)
    names = [caption(c, s) for c in COLOURS for s in SHAPES]
    axes = dict(zip(names, np.eye(len(names)), strict=True))
    images = {}
    for _, row in table.iterrows():
        right = axes[caption(row["colour"], row["shape"])]
        close = sum(axes[caption(c, row["shape"])] for c in COLOURS if c != row["colour"])
        with Image.open(folder / row["path"]) as picture:
            images[picture_key(picture)] = right + close * (1.2 if confused(row) else 0.5)
    suite = {
        "name": "scenes",
        "model": "planted",
        "dataset": str(folder / "card.yaml"),
        "attributes": ["gender", "age_group"],
        "probes": [{"kind": "scenes", "name": "coats", "template": TEMPLATE}],
        "confidence": {"resamples": 300},
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    encoder = PlantedEncoder(images, axes)
    asked_for = load_suite(str(folder / "suite.yaml"))
    return carry_out(asked_for, folder / "runs", Store(folder / "cache"), lambda: encoder)


def of(run: Run, metric: str, **where: str) -> pd.DataFrame:
    rows = run.measures[run.measures["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Close captions confuse half of the women and one man in twenty."""
    return scene_world(
        tmp_path_factory.mktemp("planted"),
        500,
        lambda row: row["u"] < (0.5 if row["gender"] == "female" else 0.05),
    )


@pytest.mark.slow
def test_the_planted_cost_of_close_captions_is_found(planted: Run) -> None:
    cost = of(planted, names.COST).iloc[0]
    rows = planted.outcomes("coats")
    wrong = rows["predicted"] != rows["truth"]
    share = {c: wrong[rows["condition"] == c].mean() for c in (ENSEMBLE, WITHOUT)}
    assert share[WITHOUT] == 0
    assert cost["value"] == pytest.approx(share[ENSEMBLE])
    table = pd.read_csv(planted.path.parents[1] / "people.csv")
    confused = table["u"] < np.where(table["gender"] == "female", 0.5, 0.05)
    assert cost["value"] == pytest.approx(confused.mean())
    assert cost["low_simultaneous"] < confused.mean() < cost["high_simultaneous"]
    assert cost["verdict"] == EXCEEDS
    assert f"{100 * share[ENSEMBLE]:.0f} points more errors" in cost["statement"]
    assert f"a close wrong one for {100 * share[ENSEMBLE]:.0f} %" in cost["statement"]
    equal = of(planted, names.COST_AT_EQUAL_NUMBER).iloc[0]
    assert equal["value"] == pytest.approx(cost["value"])


@pytest.mark.slow
def test_the_planted_widening_is_found_by_gender_and_not_by_age(planted: Run) -> None:
    gender = of(planted, names.GAP_COST, attribute="gender").iloc[0]
    assert gender["verdict"] == EXCEEDS
    assert {gender["group"], gender["other"]} == {"female", "male"}
    assert gender["low_simultaneous"] < 0.45 < gender["high_simultaneous"]
    assert of(planted, names.GAP_COST, attribute="age_group").iloc[0]["verdict"] != EXCEEDS
    large = [f for f in planted.findings if f["verdict"] == EXCEEDS and f["groups"]]
    assert {f["attribute"] for f in large if f["attribute"] != EVERYONE} == {"gender"}
    assert all(f["harm"] == "quality of service" for f in large)


@pytest.mark.slow
def test_the_report_shows_captions_with_figures(planted: Run) -> None:
    page = render(planted).read_text(encoding="utf-8")
    text = (planted.path / "report.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text[text.index("### Captions of a scene") :], flags=re.M)[0]
    assert "500 pictures were offered 5 captions each." in section
    assert "not offered" in section
    assert "91.8%" in section
    assert section.count("](figures/") == 4  # each with its data
    assert "stress-by-group" in section
    assert "abstention-curves" in section
    assert "coats: answering only when sure" in page
    assert "| By chance |" in section
    assert "has no such null" in section


@pytest.mark.slow
def test_a_world_without_differences_shows_none(world: Path) -> None:
    run = scene_world(world, 500, lambda row: row["u"] < 0.1)
    found = [f for f in run.findings if f["verdict"] == EXCEEDS and f["attribute"] != EVERYONE]
    assert found == []
    for attribute in ("gender", "age_group"):
        widened = of(run, names.GAP_COST, attribute=attribute).iloc[0]
        assert widened["low_simultaneous"] <= 0 <= widened["high_simultaneous"]
    gaps = run.measures[run.measures["metric"].isin([LABELLED, RIGHT])]
    gaps = gaps[(gaps["other"] != "") & (gaps["status"] == "ok")]
    assert gaps["null_mean"].notna().all()
    assert (gaps["value"] <= gaps["null_high"]).all()
    assert (gaps["p"] > 0.05).all()
    cost = of(run, names.COST).iloc[0]  # close captions do cost something, everybody alike
    assert cost["low_simultaneous"] < 0.1 < cost["high_simultaneous"]


# ---- a detail that is there or not -------------------------------------------------------------

DETAIL = {
    "there": "a person with a bag",
    "not_there": "a person without a bag",
    "truth": "carries",
    "values": ["bag", "sack"],
}


@pytest.mark.slow
def test_what_is_missed_and_invented_longhand(world: Path) -> None:
    carries = ["bag", "bag", "sack", "nothing", "nothing", "nothing", "nothing", None]
    said = [1, 1, 0, 1, 0, 0, 0, 1]
    rows = [
        {"id": f"p{i}", "group": "one" if i < 4 else "two", "carries": c}
        for i, c in enumerate(carries)
    ]
    dataset = manifest(world, rows)
    scenes = asked(name="bag", detail=DETAIL)
    texts = texts_of({DETAIL["there"]: [1, 0], DETAIL["not_there"]: [0, 1]})
    seen = seen_of(dataset, [[1, 0.2] if s else [0.2, 1] for s in said], texts)
    outcomes = scenes.outcomes(seen)
    assert len(outcomes) == 7
    measures = scenes.measures(outcomes, seen, design_of(seen))
    value = measures.set_index(["metric", "attribute", "group"])["value"]
    assert value[names.MISSED, EVERYONE, EVERYONE] == pytest.approx(1 / 3)
    assert value[names.INVENTED, EVERYONE, EVERYONE] == pytest.approx(1 / 4)
    assert value[names.TOLD_APART, EVERYONE, EVERYONE] == pytest.approx(2 / 3 - 1 / 4)
    apart = measures[(measures["metric"] == names.TOLD_APART)].set_index("group")
    assert apart.loc["two", "status"] == UNDEFINED
    assert "shown in two" in apart.loc["two", "reason"]
    assert apart.loc["one", "value"] == pytest.approx(2 / 3 - 1)
    row = apart.loc[EVERYONE]
    assert -1 <= row["low"] < row["value"] < row["high"] <= 1


@pytest.mark.slow
def test_the_null_of_what_is_missed_is_that_of_dealing_by_hand(world: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [
        {"id": f"p{i}", "group": ("one", "two")[i % 2], "carries": ("bag", "nothing")[i % 3 % 2]}
        for i in range(240)
    ]
    carries = np.array([row["carries"] == "bag" for row in rows])
    one = np.array([row["group"] == "one" for row in rows])
    said = np.where(rng.random(240) < np.where(one, 0.4, 0), ~carries, carries)
    texts = texts_of({DETAIL["there"]: [1, 0], DETAIL["not_there"]: [0, 1]})
    seen = seen_of(manifest(world, rows), [[1, 0.2] if s else [0.2, 1] for s in said], texts)
    scenes, design = asked(name="bag", detail=DETAIL | {"values": "bag"}), design_of(seen)
    measures = scenes.measures(scenes.outcomes(seen), seen, design).set_index(["metric", "other"])
    for metric, happened, of_these in (
        (names.MISSED, ~said, carries),
        (names.INVENTED, said, ~carries),
    ):
        got = measures.loc[(metric, "two")]
        dealt = Dealt(happened[:, np.newaxis], of_these, np.arange(240))
        expected = range_by_chance(dealt, design.groups, "group", design.confidence, design.seed)
        assert expected is not None
        null = expected[0]
        assert got["value"] == pytest.approx(null.observed[0])
        assert got["null_mean"] == pytest.approx(null.mean[0])
        assert got["null_high"] == pytest.approx(null.high[0])
        assert (got["p"], got["smallest_p"]) == pytest.approx((1 / 201, null.smallest_p))
        assert got["null_high"] < 0.25 < got["value"]
    alone = measures.xs("", level="other")
    assert alone[["null_mean", "null_high", "p", "smallest_p"]].isna().all(axis=None)


# ---- abstention --------------------------------------------------------------------------------


def choices_of(score: Sequence[float], right: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "probe": "scenes",
            "task": "t",
            "condition": ENSEMBLE,
            "image_id": [f"p{i}" for i in range(len(score))],
            "predicted": ["yes" if r else "no" for r in right],
            "score": score,
            "margin": 0.1,
            "tie": False,
            "truth": "yes",
        }
    )


def groups_of(member: Sequence[str], subjects: Sequence[int] | None = None) -> Groups:
    names = sorted(set(member))
    index = pd.MultiIndex.from_tuples([(EVERYONE, EVERYONE), *(("side", n) for n in names)])
    index.names = ["attribute", "group"]
    of_each = np.array([[True, *(m == n for n in names)] for m in member])
    ids = np.arange(len(member)) if subjects is None else np.array(subjects)
    rows = {f"p{i}": i for i in range(len(member))}
    return Groups(index, of_each, ids, tuple(str(i) for i in range(ids.max() + 1)), rows)


@pytest.mark.slow
def test_abstention_longhand() -> None:
    score = [0.95, 0.9, 0.85, 0.6, 0.99, 0.4, 0.9, 0.3]
    right = [1, 0, 1, 1, 1, 0, 1, 1]
    groups = groups_of(["a"] * 4 + ["b"] * 4)
    found = abstention(
        choices_of(score, right), groups, None, Confidence(min_group=2), (0.9,), (0.5,)
    )
    value = rates_in(found).set_index(["condition", "metric", "group"])["value"]
    sure, half = at_least(0.9), at_least(0.5)
    assert value[sure, LABELLED, "a"] == 0.5  # at the threshold counts as sure
    assert value[sure, RIGHT, "a"] == 0.5
    assert value[sure, LABELLED, "b"] == 0.5
    assert value[sure, RIGHT, "b"] == 1
    assert value[half, LABELLED, "a"] == 1
    assert value[half, RIGHT, EVERYONE] == pytest.approx(5 / 6)
    gaps = found.drop(rates_in(found).index)
    assert set(gaps["condition"]) == {sure}  # the curve is not judged
    assert gaps.set_index("metric")["value"][RIGHT] == 0.5
    assert threshold_of(sure) == 0.9
    assert math.isnan(threshold_of(ENSEMBLE))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_below_no_threshold(bad: float) -> None:
    choices = choices_of([0.95, bad, 0.5, 0.9], [1, 0, 1, 1])
    with pytest.raises(InputError, match="scores of '.*': 1 of 4 are not finite"):
        abstention(choices, groups_of("aabb"), None, Confidence(min_group=2), (0.9,), (0.5,))


@pytest.mark.parametrize("scale", [math.nan, math.inf, 2.7e43, 0.0, -1.0])
def test_a_model_whose_logit_scale_makes_no_scores_is_not_asked(scale: float) -> None:
    with pytest.raises(InputError, match="no score would be a number"):
        Texts(lambda strings: np.zeros((len(strings), 2), np.float32), Scoring(scale))


@pytest.mark.slow
def test_a_planted_gap_in_abstention_is_found_and_a_null_one_is_not() -> None:
    rng = np.random.default_rng(3)
    member = np.where(rng.random(1200) < 0.5, "a", "b")
    score = np.where(rng.random(1200) < np.where(member == "a", 0.8, 0.5), 0.95, 0.6)
    right = rng.random(1200) < np.where((member == "b") & (score > 0.9), 0.6, 0.9)
    groups = groups_of(list(member))
    draws = groups.draws(groups.rows, 0, 300)
    found = abstention(choices_of(list(score), list(right)), groups, draws)
    gaps = found.drop(rates_in(found).index).set_index(["metric", "condition"])
    for metric in (LABELLED, RIGHT):
        row = gaps.loc[(metric, at_least(0.9))]
        assert row["verdict"] == EXCEEDS
        assert row["low_simultaneous"] < 0.3 < row["high_simultaneous"]
        assert row["null_mean"] < row["null_high"] < 0.1
        assert row["p"] == row["smallest_p"] == pytest.approx(1 / 1001)
    assert gaps.loc[(LABELLED, at_least(0.5)), "verdict"] == WITHIN
    told = found[found["statement"] != ""]
    assert len(told) == 2
    assert any("heard only where it is at least 90 % sure" in s for s in told["statement"])
    mixed = groups_of(list(rng.permutation(member)))
    null = abstention(choices_of(list(score), list(right)), mixed, None)
    assert EXCEEDS not in set(null["verdict"])
    by_lot = null[null["p"].notna()]
    assert len(by_lot) == 4
    assert (by_lot["p"] > 0.01).all()


def test_chance_of_abstention_longhand_over_all_deals_of_whole_subjects() -> None:
    score = [0.95, 0.6, 0.99, 0.99, 0.6, 0.95, 0.95, 0.4, 0.7, 0.99, 0.95, 0.95, 0.95, 0.5]
    right = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1]
    subjects = [i // 2 for i in range(14)]
    groups = groups_of(["a"] * 6 + ["b"] * 8, subjects)
    found = abstention(
        choices_of(score, right), groups, None, Confidence(min_group=2), (0.9,), ()
    ).set_index(["metric", "other"])
    sure = np.array(score) >= 0.9
    truly = np.array(right, bool)
    for metric, happened, of_these in ((LABELLED, sure, sure | True), (RIGHT, truly, sure)):

        def gap(of_a: Sequence[int], happened: Any = happened, of_these: Any = of_these) -> float:
            here = np.isin(subjects, of_a)
            sides = (happened[of_these & side].mean() for side in (here, ~here))
            return abs(float(np.subtract(*sides)))

        gaps = np.array([gap(of_a) for of_a in itertools.combinations(range(7), 3)])
        got = found[found.index.get_level_values("other") != ""].loc[metric].iloc[0]
        assert got["value"] == pytest.approx(gap([0, 1, 2]))
        assert got["null_mean"] == pytest.approx(gaps.mean())
        assert got["null_high"] == pytest.approx(np.quantile(gaps, 0.95, method="higher"))
        assert got["p"] == pytest.approx((gaps >= got["value"] - 1e-12).mean())
        assert got["smallest_p"] == pytest.approx((gaps >= gaps.max() - 1e-12).mean())
        assert got["excess"] == pytest.approx(got["value"] - gaps.mean())
        assert got["method"].endswith("max-T; null over all subjects")


@pytest.mark.slow
def test_where_groups_do_not_matter_p_of_abstention_is_spread() -> None:
    rng = np.random.default_rng(11)
    groups = groups_of(list(np.where(rng.random(400) < 0.4, "a", "b")))
    p, outside = [], []
    for _ in range(25):
        score, right = rng.uniform(0.3, 1, 400), rng.random(400) < 0.7
        rows = choices_of(list(score), list(right))
        found = abstention(rows, groups, None, Confidence(resamples=200), (0.6,), ())
        gaps = found[found["other"] != ""]
        p += list(gaps["p"])
        outside += list(gaps["value"] > gaps["null_high"])
    shares = [(np.array(p) <= level).mean() for level in (0.25, 0.5, 0.75)]
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.15)
    assert np.mean(outside) < 0.15


@pytest.mark.slow
def test_subjects_in_several_groups_have_no_null_and_the_reason_is_told() -> None:
    rows = choices_of([0.95, 0.6] * 60, [1, 1, 0] * 40)
    mixed = groups_of(["a", "b"] * 60, [i // 2 for i in range(120)])
    found = abstention(rows, mixed)
    gaps = found[(found["other"] != "") & (found["status"] == "ok")]
    assert len(gaps) == 3
    assert gaps[["null_mean", "null_high", "p", "smallest_p"]].isna().all(axis=None)
    assert gaps["method"].str.endswith("; no null: some subjects are in several groups").all()


@pytest.mark.slow
def test_answers_that_nobody_gets_are_undefined_and_few_are_too_few() -> None:
    score = [0.95] * 4 + [0.6] * 96
    found = abstention(
        choices_of(score, [1] * 100), groups_of(["a"] * 50 + ["b"] * 50), None, Confidence()
    )
    at = rates_in(found).set_index(["condition", "metric", "group"])
    assert at.loc[(at_least(0.9), RIGHT, "b"), "status"] == UNDEFINED
    assert "so sure" in at.loc[(at_least(0.9), RIGHT, "b"), "reason"]
    assert math.isnan(at.loc[(at_least(0.9), RIGHT, "b"), "value"])
    assert at.loc[(at_least(0.9), RIGHT, "a"), "status"] == TOO_FEW
    gaps = found.drop(rates_in(found).index).set_index(["condition", "metric"])
    assert gaps.loc[(at_least(0.9), RIGHT), "status"] == TOO_FEW


@pytest.mark.slow
def test_copies_of_every_picture_leave_bounds_of_abstention_alone() -> None:
    rng = np.random.default_rng(5)
    score, right = rng.uniform(0.4, 1, 200), rng.random(200) < 0.7
    member = list(np.where(rng.random(200) < 0.5, "a", "b"))
    once = abstention(choices_of(list(score), list(right)), groups_of(member))
    twice = abstention(
        choices_of([*score, *score], [*right, *right]),
        groups_of(member * 2, [*range(200)] * 2),
    )
    for end in ("low", "high", "low_simultaneous", "high_simultaneous"):
        np.testing.assert_allclose(once[end], twice[end], atol=1e-9)


@pytest.mark.slow
def test_without_truth_only_the_share_answered_is_told() -> None:
    rows = choices_of([0.9] * 60, [1] * 60).assign(truth=None)
    found = abstention(rows, groups_of(["a", "b"] * 30))
    assert set(found["metric"]) == {LABELLED}


@pytest.mark.parametrize(("thresholds", "words"), [((1.5,), "0.015"), ((), "no threshold")])
def test_thresholds_are_probabilities(thresholds: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        abstention(choices_of([0.9], [1]), groups_of(["a"]), thresholds=thresholds, sweep=())


# ---- sentences for bad input -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "got none of 'columns', 'template' and 'detail'; give exactly one"),
        ({"template": TEMPLATE, "detail": DETAIL}, "got template and detail"),
        ({"template": {"text": "a person", "others": ["a car"]}}, "no place for a column"),
        ({"template": {"text": "a {colour", "others": ["a car"]}}, "write columns as {name}"),
        ({"template": TEMPLATE | {"close": "hat"}}, "'hat' is not in the template"),
        ({"template": {"text": "a {colour}"}}, "no wrong captions"),
        ({"template": {"text": "a {colour}", "all_changed": 2}}, "needs two columns"),
        ({"detail": DETAIL | {"not_there": "A person with  a bag"}}, "must differ"),
        ({"columns": {"right": "a", "others": []}}, "at least 1"),
    ],
)
def test_a_wrong_configuration_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as refused:
        asked(**fields)
    assert words in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"template": TEMPLATE | {"text": "a {color} {shape}", "close": "shape"}},
         "no column 'color'. Did you mean 'colour'?"),
        ({"template": TEMPLATE | {"close_each": 9}}, "gives a picture 5 values"),
        ({"template": TEMPLATE | {"all_changed": 9}}, "10 captions with every column changed"),
        ({"template": TEMPLATE | {"words": {"colour": {"bleu": "navy"}}}},
         "no picture has 'bleu' in column 'colour'. Did you mean 'blue'?"),
        ({"template": TEMPLATE | {"words": {"colour": {"blue": "red"}}}}, "twice, as "),
        ({"detail": DETAIL | {"truth": "colour", "values": "bleu"}}, "Did you mean 'blue'?"),
        ({"detail": DETAIL | {"truth": "colour", "values": list(COLOURS)}}, "every value"),
        ({"columns": {"right": "colour", "others": "shapes"}}, "Did you mean 'shape'?"),
        ({"columns": {"right": "colour", "others": ["shape", "colour"]}},
         "twice, as the right caption and as another caption"),
        ({"columns": {"right": "colour", "others": "empty"}}, "no picture of 'scenes' has"),
        ({"columns": {"right": "both", "others": "shape"}}, "several right captions"),
        ({"template": TEMPLATE | {"others": ["a thief in a shop"]}}, "'thief' is in the label set"),
        ({"template": TEMPLATE, "thresholds": [50]}, "the threshold 50. A threshold is"),
        ({"template": TEMPLATE, "templates": "plian"}, "Did you mean 'plain'?"),
    ],
)  # fmt: skip
def test_captions_that_can_not_be_made_are_refused(
    world: Path, fields: dict[str, Any], words: str
) -> None:
    rows = [row | {"both": "a | b", "empty": None} for row in many(60)]
    rows[0]["empty"] = "" if "empty" not in str(fields) else None
    dataset = manifest(world, rows)
    with pytest.raises(InputError) as refused:
        asked(**fields).resolve(dataset)
    assert words in str(refused.value)


@pytest.mark.slow
def test_sound_captions_are_not_refused(world: Path) -> None:
    dataset = manifest(world, many(60))
    asked(template=TEMPLATE | {"others": ["a white car"]}).resolve(dataset)


@pytest.mark.slow
def test_suspicion_in_captions_needs_care(world: Path) -> None:
    others = TEMPLATE | {"others": ["a thief in a shop"]}
    dataset = manifest(world, many(60))
    accused = asked(name="accused", template=others, suspicion=True)
    accused.resolve(dataset)
    assert list(accused.sensitive()) == ["accused"]
    assert list(asked(template=TEMPLATE).sensitive()) == []
    for acknowledged, named, words in (
        ([], False, "write 'acknowledge: ["),
        (["accused"], True, "named people"),
    ):
        manifest(world, many(60), named_people=named)
        suite = {
            "name": "s", "model": "planted", "dataset": str(world / "card.yaml"),
            "attributes": ["group"], "acknowledge": acknowledged,
            "probes": [{"kind": "scenes", "name": "accused", "template": others,
                        "suspicion": True}],
        }  # fmt: skip
        (world / "suite.yaml").write_text(yaml.safe_dump(suite))
        with pytest.raises(InputError) as refused:
            load_suite(str(world / "suite.yaml")).resolve()
        assert words in str(refused.value)


@pytest.mark.slow
def test_the_suite_surveillance_resolves() -> None:
    suite = load_suite("surveillance").resolve()
    kinds = [p.kind for p in suite.asked]
    assert kinds.count("scenes") == 3
    assert {"suspicion-twins", "surveillance-suspicion"} == set(suite.acknowledge)
    assert "misclassification" in set(suite.questions["metric"])


def test_a_cost_is_the_headline_less_the_condition() -> None:
    change = {
        "probe": "scenes", "task": "t", "condition": WITHOUT, "margin_family": "", "n": 50,
        "attribute": EVERYONE, "subjects": 50, "level": 0.95, "family": "f", "family_size": 1,
        "method": "m", "status": "ok", "reason": "", "margin": 0.05, "verdict": "exceeds margin",
        "value": -0.3, "low": -0.4, "high": -0.2, "low_simultaneous": -0.45,
        "high_simultaneous": -0.15, "before": 0.5, "after": 0.2, "lost": 3,
    }  # fmt: skip
    cost = cost_row(change, 0.25)
    ends = [cost[name] for name in ("low", "high", "low_simultaneous", "high_simultaneous")]
    assert (cost["value"], ends) == (0.3, [0.2, 0.4, 0.15, 0.45])
    told = "the right caption for 80 % of 50 pictures without close captions, and for 50 % with"
    assert told in cost["statement"]
    assert "a close wrong one for 25 %: 30 points more errors" in cost["statement"]

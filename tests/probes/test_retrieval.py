"""Rankings against their definitions longhand, planted and null worlds, and every bad input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds
from matplotlib.figure import Figure
from PIL import Image

from audit.core.errors import InputError
from audit.core.tables import (
    DISPARITIES,
    EXCEEDS,
    INCONCLUSIVE,
    MEASURES,
    NOT_JUDGED,
    OK,
    RANKS,
    RATES,
    TOO_FEW,
    UNDEFINED,
)
from audit.data.dataset import Dataset, load
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.findings import find
from audit.measure.metrics import Groups, grouped
from audit.models.encoder import Texts
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.kit.base import Design, Seen
from audit.probes.retrieval.figures import skews_beside_chance, who_is_at_the_top
from audit.probes.retrieval.names import FINDINGS, TOLD
from audit.probes.retrieval.probe import Retrieval
from audit.probes.retrieval.section import tell
from audit.report.render import render
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

OWN = ("alpha", "beta", "gamma")


class World:
    """Pictures whose cosine to every query is what the test says, in an axis of its own."""

    def __init__(
        self,
        folder: Path,
        groups: Mapping[str, Sequence[str | None]],
        scores: np.ndarray,
        subjects: Sequence[str] | None = None,
        queries: Sequence[str] = OWN,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        n = len(scores)
        ids = [f"i{i:04d}" for i in range(n)]
        self.table = pd.DataFrame(
            {"image_id": ids, "path": [f"{i}.png" for i in ids], "subject": subjects or ids}
            | {name: list(values) for name, values in groups.items()}
        )
        self.table.to_csv(folder / "people.csv", index=False)
        attributes = "".join(f"  {name}: {{source: generator}}\n" for name in groups)
        (folder / "card.yaml").write_text(
            "name: tiny\nmanifest: people.csv\nid_column: image_id\ncluster_column: subject\n"
            f"named_people: false\nconsent: made by a test\nattributes:\n{attributes}"
        )
        self.dataset: Dataset = load(folder / "card.yaml")
        near = 0.4 * scores / np.abs(scores).max() / math.sqrt(scores.shape[1])
        rest = np.sqrt(1 - (near**2).sum(axis=1, keepdims=True))
        self.vectors = np.hstack([near, rest]).astype(np.float32)
        self.axes = dict(zip(queries, np.eye(scores.shape[1] + 1, dtype=np.float32), strict=False))

    def seen(self, order: Sequence[int] | None = None) -> Seen:
        at = np.arange(len(self.vectors)) if order is None else np.asarray(order)
        images = Embeddings(tuple(self.table["image_id"].iloc[at]), self.vectors[at], "")
        texts = Texts(lambda said: np.stack([self.axes[s] for s in said]), Scoring(100.0))
        return Seen(images, texts, self.dataset)

    def measured(
        self, probe: Retrieval, order: Sequence[int] | None = None, **confidence: Any
    ) -> pd.DataFrame:
        """What the probe measures of all pictures."""
        seen = self.seen(order)
        c = Confidence(**{"min_group": 2, "resamples": 300} | confidence)
        named = grouped(self.dataset, dict.fromkeys(self.dataset.attributes), ())
        groups = Groups.of(self.dataset, seen.images.keys, named)
        draws = groups.draws(groups.rows, 0, c.resamples)
        return probe.measures(probe.outcomes(seen), seen, Design(groups, draws, c, 0))


def probe(**fields: Any) -> Retrieval:
    return validate(Retrieval, {"queries": list(OWN), "target": "uniform"} | fields, "suite")


def one(table: pd.DataFrame, **where: Any) -> Any:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def in_order(folder: Path, genders: str, **groups: Sequence[str | None]) -> World:
    """One query that ranks the pictures as they come; 'f' and 'm' a picture."""
    scores = -np.arange(1.0, len(genders) + 1)[:, np.newaxis]
    return World(folder, {"gender": list(genders)} | groups, scores, queries=["alpha"])


def planted(folder: Path, shift: float, seed: int = 0, n: int = 400, per: int = 1) -> World:
    """Women are nearer to alpha by ``shift`` standard deviations, and to nothing else."""
    rng = np.random.default_rng(seed)
    subject = np.arange(n) // per
    gender, age = ((rng.random(n) < 0.5)[subject] for _ in range(2))
    scores = rng.normal(size=(n, 3)) + np.outer(gender, [shift, 0, 0])
    groups = {"gender": np.where(gender, "f", "m"), "age": np.where(age, "old", "young")}
    return World(folder, groups, scores, [f"s{s:04d}" for s in subject])


# ---- values --------------------------------------------------------------------------------------


def test_every_measure_longhand(world: Path) -> None:
    """fffmf mm: of the first four, three are f; f are 4 of 7."""
    found = in_order(world, "fffmfmm").measured(
        probe(queries=["alpha"], k=4, target=["uniform", "dataset"])
    )
    uniform, dataset = "top 4, target uniform", "top 4, target dataset"

    def mean(metric: str, condition: str) -> float:
        return float(one(found, metric=metric, condition=condition, label="").value)

    assert mean("max_skew", uniform) == pytest.approx(math.log(0.75 / 0.5))
    assert mean("max_skew", dataset) == pytest.approx(math.log(0.75 / (4 / 7)))
    assert mean("min_skew", uniform) == pytest.approx(math.log(0.25 / 0.5))
    assert mean("bias", "top 4") == pytest.approx(0.5)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert mean("entropy", "top 4") == pytest.approx(entropy)
    # places 1 to 3 hold f alone: KL = ln 2; place 4: 3/4 and 1/4
    last = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    weights = [1 / math.log2(i + 1) for i in range(1, 5)]
    ndkl = (sum(weights[:3]) * math.log(2) + weights[3] * last) / sum(weights)
    assert mean("ndkl", uniform) == pytest.approx(ndkl)
    told = one(found, metric="max_skew", condition=uniform, label="alpha")
    assert (told.group, told.events, told.n) == ("f", 3, 4)
    share = one(found, metric="share", condition="top 4", label="", group="m")
    assert share.value == pytest.approx(0.25)


def recomputed(world: World, attribute: str, query: int, k: int, target: str) -> dict[str, float]:
    """The published definitions, place by place."""
    order = sorted(
        range(len(world.table)),
        key=lambda i: (-float(world.vectors[i, query]), world.table["image_id"][i]),
    )
    who = [world.table[attribute][i] for i in order]
    groups = sorted(set(who))
    share = {g: who.count(g) / len(who) if target == "dataset" else 1 / len(groups) for g in groups}
    skews = [math.log(max(who[:k].count(g), 1) / k / share[g]) for g in groups]
    total = weights = 0.0
    for i in range(1, k + 1):
        top = {g: who[:i].count(g) / i for g in groups}
        kl = sum(p * math.log(p / share[g]) for g, p in top.items() if p)
        total, weights = total + kl / math.log2(i + 1), weights + 1 / math.log2(i + 1)
    return {"max_skew": max(skews), "min_skew": min(skews), "ndkl": total / weights}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["uniform", "dataset"])
def test_means_are_those_of_the_definitions_on_random_data(world: Path, target: str) -> None:
    rng = np.random.default_rng(3)
    groups = {"tone": rng.choice(list("abcde"), 90, p=[0.4, 0.2, 0.2, 0.1, 0.1])}
    random = World(world, groups, rng.normal(size=(90, 3)))
    found = random.measured(probe(k=[5, 20], target=target))
    for k in (5, 20):
        each = [recomputed(random, "tone", q, k, target) for q in range(3)]
        for metric in ("max_skew", "min_skew", "ndkl"):
            row = one(found, metric=metric, condition=f"top {k}, target {target}", label="")
            assert row.value == pytest.approx(np.mean([e[metric] for e in each]))
            assert row.excess == pytest.approx(row.value - row.null_mean)
    row = one(found, metric="max_skew", condition=f"top 20, target {target}", label="beta")
    assert row.value == pytest.approx(recomputed(random, "tone", 1, 20, target)["max_skew"])


def test_what_the_pictures_make_of_a_skew_is_said(world: Path) -> None:
    found = in_order(world, "fffmffmff").measured(
        probe(queries=["alpha"], k=4, target=["uniform", "dataset"])
    )
    uniform, dataset = (
        one(found, metric="max_skew", condition=f"top 4, target {t}", label="").statement
        for t in ("uniform", "dataset")
    )
    assert "all pictures together are 0.44 from this target" in uniform  # ln(7 / 9 / 0.5)
    assert "all pictures together" not in dataset


def test_a_target_may_be_named_group_by_group(world: Path) -> None:
    named = {"m": 0.25, "f": 0.75}
    found = in_order(world, "fffmfmm").measured(probe(queries=["alpha"], k=4, target=named))
    (row,) = found[(found["metric"] == "max_skew") & (found["label"] == "")].itertuples()
    assert row.condition == "top 4, target m 0.25, f 0.75"
    assert row.value == pytest.approx(0)
    assert "by the shares named (m 0.25, f 0.75)" in row.statement


def test_pictures_are_ranked_by_cosine_whatever_the_length_of_their_embedding(world: Path) -> None:
    """A long embedding that points elsewhere has the larger product, and the smaller cosine."""
    world.mkdir()
    images = {}
    for name, direction in {"near": [1.0, 0.1], "far": [50.0, 50.0]}.items():
        Image.new("RGB", (4, 4), "red" if name == "near" else "blue").save(world / f"{name}.png")
        with Image.open(world / f"{name}.png") as picture:
            images[picture_key(picture)] = direction
    encoder = PlantedEncoder(images, {"alpha": [1.0, 0.0]})
    items = [(name, Path(f"{name}.png")) for name in ("far", "near")]
    stored, _ = Store(world / "cache").images(encoder, items, world)
    assert np.linalg.norm(stored.vectors, axis=1) == pytest.approx(1, abs=1e-6)
    seen = Seen(stored, Texts(encoder.encode_texts, Scoring(100.0)), load("people"))
    rows = probe(queries=["alpha"], k=1).outcomes(seen)
    assert list(rows["image_id"]) == ["near", "far"]
    assert list(rows["score"]) == pytest.approx([1 / math.hypot(1, 0.1), math.sqrt(0.5)], abs=1e-6)


def test_queries_are_labels_or_single_prompts() -> None:
    fields = {"label_set": "berg-29", "templates": "berg-11"}
    labels, single = (probe(**fields, queries=how) for how in ("labels", "prompts"))
    assert len(labels.asked) == 29
    assert {len(q.prompts) for q in labels.asked} == {11}
    assert len(single.asked) == 319
    assert labels.task != single.task
    axes = {p: v for q in labels.asked for p, v in zip(q.prompts, np.eye(11), strict=True)}
    vectors = labels.embedded(Texts(lambda said: np.stack([axes[s] for s in said]), Scoring(1.0)))
    assert vectors == pytest.approx(1 / math.sqrt(11))  # the mean of unit rows, of unit length


# ---- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[70], [1, 30, 31, 149]])
def test_batches_merge_to_the_whole(world: Path, cuts: list[int]) -> None:
    rng = np.random.default_rng(1)
    tied = World(world, {"gender": rng.choice(["f", "m"], 150)}, rng.integers(-3, 4, (150, 3)))
    asked = probe(k=[5, 10])
    whole = asked.outcomes(tied.seen())
    RANKS.validate(whole)
    assert len(whole) == 3 * (2 * 10 + 50)
    order = rng.permutation(150)
    parts = [asked.outcomes(tied.seen(part)) for part in np.split(order, cuts)]
    pd.testing.assert_frame_equal(asked.merged(parts), whole)
    step = parts[0]
    for part in parts[1:]:
        step = asked.merged([step, part])
    pd.testing.assert_frame_equal(step, whole)


@pytest.mark.slow
def test_the_order_of_pictures_is_irrelevant(world: Path) -> None:
    found = planted(world, 1.0, per=2)
    order = np.random.default_rng(0).permutation(400)
    asked = probe(k=[10, 30], target=["uniform", "dataset"])
    one_way, other = (found.measured(asked, o) for o in (None, order))
    pd.testing.assert_frame_equal(one_way, other)


# ---- worlds --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("per", [1, 2])
def test_the_planted_query_is_found_and_no_other(world: Path, per: int) -> None:
    found = planted(world, 2.0, per=per).measured(probe(k=[10, 50]))
    MEASURES.validate(found)
    skews = found[
        (found["metric"] == "max_skew") & (found["condition"] == "top 50, target uniform")
    ]
    alpha = one(skews, label="alpha", attribute="gender")
    assert alpha.verdict == EXCEEDS
    assert alpha.group == "f"
    assert alpha.low_simultaneous > math.log(1.25)
    assert alpha.low_simultaneous < alpha.low < alpha.value <= alpha.high
    assert alpha.p < 0.01
    assert alpha.q < 0.05
    assert f"{alpha.events}) are with gender f" in alpha.statement
    assert "exceeds the margin of 0.22 (1.25 times)" in alpha.statement
    others = skews[(skews["label"] != "alpha") | (skews["attribute"] != "gender")]
    others = others[others["label"] != ""]
    assert len(others) == 5
    assert (others["verdict"] != EXCEEDS).all()
    share = found[(found["metric"] == "share") & (found["label"] == "alpha")]
    share = one(share, condition="top 50", attribute="gender", group="f")
    assert share.low_simultaneous > share.null_high
    assert share.verdict == NOT_JUDGED


@pytest.mark.slow
def test_null_worlds_show_nothing_and_their_p_is_even(tmp_path: Path) -> None:
    p, verdicts = [], []
    for seed in range(20):
        found = planted(tmp_path / str(seed), 0.0, seed, n=200).measured(probe(k=20))
        mean = found[(found["metric"] == "max_skew") & (found["label"] == "")]
        p += list(mean["p"])
        verdicts += list(found.loc[found["metric"] == "max_skew", "verdict"])
    assert EXCEEDS not in verdicts
    assert 0.3 < np.mean(p) < 0.75
    assert (np.array(p) < 0.05).mean() < 0.15
    # the values themselves are above 0: without the null they would look like skew
    assert mean["value"].min() > 0.02


@pytest.mark.slow
def test_bounds_hold_for_all_queries_so_more_of_them_make_wider_ones(world: Path) -> None:
    many = planted(world, 2.0)
    tables = [many.measured(probe(k=50, queries=q)) for q in (["alpha"], OWN)]
    few, all_three = (
        one(table, metric="max_skew", label="alpha", attribute="gender") for table in tables
    )
    assert few.value == all_three.value
    assert few.low_simultaneous > all_three.low_simultaneous
    assert (few.low, few.family_size) == (few.low_simultaneous, 1)
    assert all_three.family_size == 3


# ---- who takes part ------------------------------------------------------------------------------


@pytest.mark.slow
def test_pictures_of_unknown_group_are_in_no_ranking_of_that_attribute(world: Path) -> None:
    """The first forty places are taken by pictures without a known group."""
    rng = np.random.default_rng(0)
    known = rng.choice(["f", "m"], 200)
    scores = rng.normal(size=(240, 3))
    scores[:40] += 100
    groups = {"gender": [None] * 40 + list(known), "all": ["a", "b"] * 120}
    asked = probe(k=[5, 60], target="dataset")
    found = World(world / "some", groups, scores).measured(asked)
    with_unknown = found[(found["attribute"] == "gender") & (found["metric"] != "bias")]
    without = World(world / "none", {"gender": known}, scores[40:]).measured(asked)
    without = without[without["metric"] != "bias"]
    same = ["condition", "metric", "label", "group", "n", "value"]
    pd.testing.assert_frame_equal(
        with_unknown[same].reset_index(drop=True), without[same].reset_index(drop=True)
    )


def test_small_groups_are_left_out_by_name(world: Path) -> None:
    some = in_order(world, "fmfmfmfmfm", tone=list("abababaabc"))
    found = some.measured(probe(queries=["alpha"], k=3))
    by_tone = found[found["attribute"] == "tone"]
    assert set(by_tone.loc[by_tone["metric"] == "share", "group"]) == {"a", "b"}
    unlike_bias = by_tone[by_tone["metric"] != "bias"]
    assert unlike_bias["method"].str.contains("not ranked: c (fewer than 2", regex=False).all()
    told = by_tone.loc[by_tone["statement"] != "", "statement"]
    assert len(told) == 1
    assert told.str.contains("; not ranked by tone: c (fewer than 2 subjects); ", regex=False).all()
    assert set(unlike_bias.loc[unlike_bias["label"] == "", "n"]) == {9}


def test_an_attribute_that_can_t_be_looked_at_says_why(world: Path) -> None:
    tone, role = ["a"] * 9 + ["b"], [None] * 6 + list("xyxy")
    some = in_order(world, "fmfmfmfmfm", tone=tone, role=role)
    found = some.measured(probe(queries=["alpha"], k=5))
    few, deep = (one(found, attribute=a) for a in ("tone", "role"))
    assert (few.status, few.verdict) == (TOO_FEW, INCONCLUSIVE)
    assert "fewer than two groups with enough pictures; not ranked by tone: b" in few.statement
    assert deep.status == UNDEFINED
    assert "k is 5 of 4 pictures of known group: it must be below" in deep.statement


def test_a_target_of_other_groups_says_so(world: Path) -> None:
    some = in_order(world, "fmfmfmfmfm", tone=list("ababababab"))
    found = some.measured(probe(queries=["alpha"], k=3, target={"a": 0.5, "b": 0.5}))
    assert one(found, attribute="gender").reason == "no target named is of its groups, f, m"
    assert (found.loc[found["attribute"] == "tone", "status"] == OK).all()


def test_subjects_in_several_groups_have_bounds_and_no_null(world: Path) -> None:
    rng = np.random.default_rng(0)
    subjects = [f"s{i // 4}" for i in range(80)]
    scores = rng.normal(size=(80, 1))
    mixed = World(world, {"pose": ["left", "right"] * 40}, scores, subjects, ["alpha"])
    found = mixed.measured(probe(queries=["alpha"], k=20))
    row = one(found, metric="max_skew", label="")
    assert np.isnan(row.p)
    assert "no null: a cluster has pictures in several groups" in row.statement
    assert row.low_simultaneous <= row.value <= row.high_simultaneous


def test_where_a_missing_group_counts_for_more_than_its_target_nothing_is_judged(
    world: Path,
) -> None:
    """One in ten places would be more than the 5 % of the group: a skew without a disparity."""
    some = in_order(world, "m" * 50 + "ff" + "m" * 8)
    found = some.measured(probe(queries=["alpha"], k=10, target="dataset"))
    for label in ("", "alpha"):
        row = one(found, metric="max_skew", label=label)
        assert row.value == pytest.approx(math.log(0.1 / (2 / 60)))
        assert (row.verdict, row.status) == (INCONCLUSIVE, OK)
        assert np.isnan(row.low_simultaneous)
        assert "counts a missing group as one picture" in row.reason


def test_groups_without_a_picture_are_named_too(world: Path) -> None:
    """None of group b was asked about, and two pictures are of unknown group."""
    some = in_order(world, "fmfmfmfmfm", tone=[*"acacacac", None, None])
    values = pd.Categorical(some.table["tone"], categories=["a", "b", "c"], ordered=True)
    named = {"tone": pd.Series(values, index=some.table["image_id"])}
    asked, seen = probe(queries=["alpha"], k=3), some.seen()
    groups = Groups.of(some.dataset, seen.images.keys, named)
    c = Confidence(min_group=2, resamples=300)
    design = Design(groups, groups.draws(groups.rows, 0, 300), c, 0)
    found = asked.measures(asked.outcomes(seen), seen, design)
    out = "b (no picture), pictures of unknown group"
    for metric in ("max_skew", "min_skew", "ndkl", "entropy"):
        row = one(found, metric=metric, label="")
        assert f"; not ranked: {out}" in row.method
    assert f"not ranked by tone: {out};" in one(found, metric="max_skew", label="").statement


# ---- NDKL of the whole list ----------------------------------------------------------------------


@pytest.mark.slow
def test_ndkl_of_the_whole_list_can_be_asked(world: Path) -> None:
    """By the definition, place by place, beside a null; bounds of the top are as without it."""
    rng = np.random.default_rng(3)
    tone = rng.choice(list("abc"), 250, p=[0.5, 0.3, 0.2])
    groups = {"tone": tone, "half": [*tone[:125], *[None] * 125]}
    random = World(world, groups, rng.normal(size=(250, 3)))
    asked = probe(k=[5, 20], ndkl_at=[5, 60, "all"], target=["uniform", "dataset"])
    found = random.measured(asked)
    for target in ("uniform", "dataset"):
        for k, depth in ((5, "top 5"), (60, "top 60"), (250, "whole list")):
            each = [recomputed(random, "tone", q, k, target)["ndkl"] for q in range(3)]
            condition = f"{depth}, target {target}"
            row = one(found, metric="ndkl", condition=condition, label="", attribute="tone")
            assert row.value == pytest.approx(np.mean(each), rel=1e-12)
            assert row.null_low <= row.null_mean <= row.null_high
            assert row.n == 250
    ndkl = found[found["metric"] == "ndkl"]
    assert set(ndkl["condition"].str.split(",").str[0]) == {"top 5", "top 60", "whole list"}
    of_half = one(ndkl, attribute="half", condition="whole list, target uniform")
    assert of_half.n == 125
    assert of_half.family == "own queries, whole list, mean over queries, by half"
    plain = random.measured(probe(k=[5, 20], target=["uniform", "dataset"]))
    other = ~found["metric"].isin(["ndkl"]), ~plain["metric"].isin(["ndkl"])
    pd.testing.assert_frame_equal(
        found[other[0]].reset_index(drop=True), plain[other[1]].reset_index(drop=True)
    )


@pytest.mark.slow
def test_the_whole_list_shows_an_order_that_skews_of_everything_do_not(world: Path) -> None:
    sorted_, mixed = ("f" * 20 + "m" * 20, "fm" * 20)
    asked = probe(queries=["alpha"], k=10, ndkl_at="all")
    values = [one(in_order(world / w, w).measured(asked), metric="ndkl") for w in (sorted_, mixed)]
    assert values[0].value > 0.3 > 0.1 > values[1].value
    assert values[0].p < 0.05


def test_only_as_many_places_are_kept_as_are_needed(world: Path) -> None:
    rng = np.random.default_rng(0)
    some = World(world, {"tone": rng.choice(list("ab"), 200)}, rng.normal(size=(200, 3)))
    for at, kept in (((), 60), ([20], 60), ([90], 90), ("all", 200)):
        rows = probe(k=5, ndkl_at=at).outcomes(some.seen())
        assert set(rows.groupby("query").size()) == {kept}


# ---- bias@k --------------------------------------------------------------------------------------


def wang(order: str, k: int, first: str, second: str) -> float:
    """Wang et al. 2021, section 3, of one query."""
    men, women = order[:k].count(first), order[:k].count(second)
    return (men - women) / (men + women) if men + women else 0.0


def test_bias_is_the_published_one_with_pictures_of_neither_in_the_list(world: Path) -> None:
    """'.' is unknown, 'n' a group of its own: k counts both, and the sign turns."""
    listed = "..mnfffm.mnfmnffm."
    gender = [None if c == "." else c for c in listed]
    some = in_order(world, "ab" * 9, gender=gender)
    asked = probe(queries=["alpha"], k=[2, 4, 10], bias_of={"gender": ["m", "f"]})
    found = some.measured(asked)
    bias = found[(found["metric"] == "bias") & (found["attribute"] == "gender")]
    for k in (2, 4, 10):
        for label in ("", "alpha"):
            row = one(bias, condition=f"top {k}", label=label)
            assert row.value == pytest.approx(wang(listed, k, "m", "f"))
            assert (row.group, row.other) == ("m", "f")
            assert "k counts pictures of neither group: n, pictures of unknown group" in row.method
            assert row.n == (18 if label == "" else k)
            if k > 2:
                assert row.low_simultaneous <= row.value <= row.high_simultaneous
    assert one(bias, condition="top 4", label="alpha").value == 1
    known = listed.replace(".", "").replace("n", "")
    assert wang(known, 4, "m", "f") < 0  # of known pictures only it has the other sign
    nobody = one(bias, condition="top 2", label="alpha")
    assert nobody.value == 0
    assert "bias is 0 by definition" in nobody.reason


def test_a_group_that_is_too_small_is_of_neither(world: Path) -> None:
    listed = "cabaabbabab"
    found = in_order(world, "fm" * 5 + "f", tone=list(listed)).measured(
        probe(queries=["alpha"], k=4)
    )
    row = one(found, metric="bias", attribute="tone", label="")
    assert row.value == pytest.approx(wang(listed, 4, "a", "b")) == pytest.approx(1 / 3)
    assert "k counts pictures of neither group: c;" in row.method


@pytest.mark.slow
@pytest.mark.parametrize("names", [["f", "m"], ["m", "f"]])
def test_the_first_group_named_counts_above_0(world: Path, names: list[str]) -> None:
    """Nobody of neither group: the value, bounds, null and events turn round with the names."""
    some = planted(world, 0.8, n=120)
    plain = some.measured(probe(k=20))
    found = some.measured(probe(k=20, bias_of={"gender": names}))
    sign = 1 if names == ["f", "m"] else -1
    was, row = (one(t, metric="bias", attribute="gender", label="") for t in (plain, found))
    assert (was.group, row.group) == ("f", names[0])
    assert row.value == sign * was.value
    ends = [was.low_simultaneous, was.high_simultaneous][::sign]
    assert [row.low_simultaneous, row.high_simultaneous] == [sign * e for e in ends]
    assert (row.p, row.null_mean) == (was.p, sign * was.null_mean)
    query = {"attribute": "gender", "label": "alpha"}
    women = one(plain, metric="share", group="f", **query)
    row = one(found, metric="bias", **query)
    assert row.value == pytest.approx(sign * (2 * women.value - 1))
    ends = [women.low_simultaneous, women.high_simultaneous][::sign]
    expected = [sign * (2 * end - 1) for end in ends]
    assert [row.low_simultaneous, row.high_simultaneous] == pytest.approx(expected)
    assert row.events == 20 * (1 + row.value) / 2


def test_a_bias_of_groups_that_are_not_ranked_says_so(world: Path) -> None:
    some = in_order(world, "fmfmfmfmfm", tone=list("ababababac"))
    found = some.measured(probe(queries=["alpha"], k=3, bias_of={"tone": ["a", "c"]}))
    row = one(found, metric="bias", attribute="tone")
    assert (row.status, row.verdict) == (TOO_FEW, INCONCLUSIVE)
    assert row.reason == "one of both is not ranked: c (fewer than 2 subjects)"


# ---- findings ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_findings_are_a_handful(world: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"q{i}" for i in range(40)]
    gender = rng.choice(["f", "m"], 300)
    scores = rng.normal(size=(300, 40)) + np.outer(gender == "f", np.linspace(0, 4, 40))
    many = World(world, {"gender": gender}, scores, queries=names)
    found = many.measured(probe(queries=names, k=[10, 50], target=["uniform", "dataset"]))
    skews = found[(found["metric"] == "max_skew") & (found["label"] != "")]
    assert set(skews.groupby("condition").size()) == {TOLD}
    told = found[found["statement"] != ""]
    assert set(told["condition"].str.split(",").str[0]) == {"top 50"}
    single = told[told["label"] != ""]
    assert len(single) == FINDINGS
    assert single["label"].is_unique
    assert (skews.loc[skews["family_size"] != 40]).empty
    listed = find(RATES.empty(), DISPARITIES.empty(), found, {}, {"gender": "generator"})
    assert len({f.id for f in listed}) == len(told)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"target": None}, "no target is named"),
        ({"target": []}, "Name 'uniform' (equal shares)"),
        ({"target": {"f": 0.5, "m": 0.2}}, "shares of 0.7 in all; they must sum to 1"),
        ({"target": {"f": 0.0, "m": 1.0}}, "a share that is not above 0"),
        (
            {"target": ["uniform", "datset"]},
            "no target is called 'datset'. Did you mean 'dataset'?",
        ),
        ({"queries": []}, "an empty list of queries"),
        ({"queries": "labels"}, "no query. Give a label_set, or texts in 'queries'"),
        ({"label_set": "berg-29"}, "a label set and texts of your own"),
        ({"queries": ["a", "b", "a"]}, "'a' is given twice"),
        ({"queries": ["a", "  "]}, "a query without a word"),
        ({"k": 0}, "greater than or equal to 1"),
        ({"k": []}, "at least 1"),
        ({"k": [10, "all"]}, "For NDKL of the whole list write 'ndkl_at: all'"),
        ({"ndkl_at": [5, "al"]}, "no depth is called 'al'. Did you mean 'all'?"),
        ({"bias_of": {"gender": ["f", "f"]}}, "'f' against itself. Name two groups"),
    ],
)
def test_bad_input_is_a_sentence(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as error:
        probe(**fields)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"k": [2, 7]}, "k is 7, and at most 7 pictures of known group are ranked"),
        ({"k": 3, "target": {"female": 0.5, "m": 0.5}}, "no attribute has the groups female, m"),
        ({"k": 3, "ndkl_at": 8}, "ndkl_at is 8, and at most 7 pictures"),
        ({"k": 3, "bias_of": {"gendre": ["f", "m"]}}, "Did you mean 'gender'?"),
        ({"k": 3, "bias_of": {"gender": ["f", "men"]}}, "no group of 'gender' is named 'men'"),
        ({"label_set": "berg-92", "queries": "labels"}, "Did you mean 'berg-29'?"),
    ],
)
def test_what_the_pictures_do_not_allow_is_found_early(
    world: Path, fields: dict[str, Any], told: str
) -> None:
    some = in_order(world, "fffmfmm")
    with pytest.raises(InputError) as error:
        probe(**{"queries": ["alpha"]} | fields).resolve(some.dataset)
    assert told in str(error.value)
    probe(queries=["alpha"], k=6).resolve(some.dataset)


@pytest.mark.slow
def test_words_of_suspicion_are_guarded_in_queries_of_your_own_too() -> None:
    own = probe(queries=["a photo of a Criminal.", "a photo of a doctor.", "criminality"])
    assert list(own.sensitive()) == ["a photo of a Criminal.", "criminality"]
    assert list(probe(label_set="people-suspicion", queries="labels").sensitive()) == [
        "people-suspicion"
    ]


# ---- a whole run ---------------------------------------------------------------------------------

SUITE = """
name: ranked
model: planted
dataset: {card}
attributes: [gender, age_group]
probes:
  - {{kind: retrieval, queries: [alpha, beta], k: [5, 40], target: [uniform, dataset],
     ndkl_at: [5, 40, all]}}
confidence: {{resamples: 300}}
"""


@pytest.mark.slow
def test_a_suite_ranks_and_reports(world: Path) -> None:
    table = worlds.people(world, 240)
    rng = np.random.default_rng(0)
    images = {}
    for row in table.itertuples():
        with Image.open(world / row.path) as picture:
            lean = [1.5 * (row.gender == "female"), 0, 8]
            images[picture_key(picture)] = rng.normal(size=3) * [1, 1, 0] + lean
    encoder = PlantedEncoder(images, {"alpha": [1, 0, 0], "beta": [0, 1, 0]})
    path = world / "suite.yaml"
    path.write_text(SUITE.format(card=world / "card.yaml"))
    store = Store(world / "cache")
    run = carry_out(load_suite(str(path)), world / "runs", store, lambda: encoder)
    large = [f for f in run.findings if f["verdict"] == EXCEEDS]
    assert {(f["attribute"], f["label"]) for f in large} >= {("gender", "alpha")}
    assert {f["attribute"] for f in large} == {"gender"}
    (outcome,) = (run.path / "private" / "outcomes").iterdir()
    rows = RANKS.read(outcome)
    assert set(rows.groupby("query").size()) == {240}
    # nothing about a single picture outside of what is private
    assert not run.measures.isin(set(rows["image_id"])).any().any()
    for draw in (lambda: skews_beside_chance(run, "own queries", "dataset"),
                 lambda: who_is_at_the_top(run, "own queries")):  # fmt: skip
        assert isinstance(draw(), Figure)
    with pytest.raises(InputError, match="It has dataset, uniform"):
        skews_beside_chance(run, "own queries", "even")
    with pytest.raises(InputError, match="no pictures were ranked for 'others'"):
        who_is_at_the_top(run, "others")
    (_, part) = tell(run)
    assert part.title == "own queries"
    page = render(run).read_text()
    assert "MaxSkew@k" in page
    assert "2 queries" in page
    assert "whole list" in page
    axis = skews_beside_chance(run, "own queries", "dataset").axes[0]
    names = [label.get_text().split("  ")[-1].strip() for label in axis.get_yticklabels()]
    assert names == ["top 5", "top 40", "whole list"] * 2


@pytest.mark.slow
def test_the_bundled_suite_resolves() -> None:
    suite = load_suite("retrieval").resolve()
    assert {p.kind for p in suite.asked} == {"retrieval"}
    with pytest.raises(InputError, match=r"write 'acknowledge: \[people-suspicion\]' in the"):
        suite.model_copy(update={"acknowledge": ()}).resolve()

"""Associations against their definitions longhand, planted and null worlds, and every bad input."""

from __future__ import annotations

import itertools
import statistics
import zlib
from collections.abc import Callable, Sequence
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
    ENSEMBLE,
    EXCEEDS,
    INCONCLUSIVE,
    MEASURES,
    NOT_JUDGED,
    RATES,
    REST,
    SCORES,
    TOO_FEW,
    UNDEFINED,
    WITHIN,
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
from audit.probes.association.figures import associations_of, effect_sizes
from audit.probes.association.names import AT_ODDS, DIFFERENCE, EFFECT_SIZE, TARGETS
from audit.probes.association.probe import Association
from audit.probes.association.section import _at_odds as told_of_odds
from audit.probes.association.section import tell
from audit.probes.association.tested import by_chance
from audit.probes.kit.base import Design, Seen
from audit.report.render import render
from audit.stats.association import sums
from audit.stats.scoring import Scoring
from audit.stats.significance import bonferroni_level
from audit.store.embeddings import Embeddings, Store

DIM = 24
LABELS = """
name: flowers
version: 1
purpose: A test.
source: this test
licence: CC0-1.0
labels:
  - {text: rose, tags: [neutral]}
  - {text: tulip, tags: [neutral]}
  - {text: daisy, tags: [neutral]}
  - {text: ant, tags: [trait], harm: stereotyping}
  - {text: wasp, tags: [trait], harm: stereotyping}
  - {text: flea, tags: [trait], harm: stereotyping}
  - {text: sweet, tags: [emotion]}
  - {text: kind, tags: [emotion]}
  - {text: vile, tags: [event]}
  - {text: nasty, tags: [event]}
"""
WORDS = ("rose", "tulip", "daisy", "ant", "wasp", "flea", "sweet", "kind", "vile", "nasty")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def spoken(strings: Sequence[str]) -> np.ndarray:
    """A direction of its own for every text."""
    draws = [np.random.default_rng(zlib.crc32(s.encode())).normal(size=DIM) for s in strings]
    return unit(np.array(draws))


def cosine_to(vectors: np.ndarray, *words: str) -> np.ndarray:
    """Mean cosine to words asked bare."""
    return (vectors.astype(float) @ spoken(words).astype(float).T).mean(axis=1)


class World:
    """People of three ages and two genders whose pictures lean as told."""

    def __init__(
        self,
        folder: Path,
        n: int = 120,
        per: int = 1,
        seed: int = 0,
        lean: Callable[[pd.Series], np.ndarray | float] = lambda row: 0.0,
        age: Callable[[int], str | None] = lambda subject: ("young", "grown", "old")[subject % 3],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "flowers.yaml").write_text(LABELS)
        rng = np.random.default_rng(seed)
        self.labels = str(folder / "flowers.yaml")
        subject = np.arange(n) // per
        self.table = pd.DataFrame(
            {
                "image_id": [f"i{i:04d}" for i in range(n)],
                "path": [f"{('left', 'right')[s % 2]}/{i:04d}.png" for i, s in enumerate(subject)],
                "subject": [f"s{s:04d}" for s in subject],
                "gender": [("female", "male")[s // 3 % 2] for s in subject],
                "age": [age(int(s)) for s in subject],
            }
        )
        self.table.to_csv(folder / "people.csv", index=False)
        (folder / "card.yaml").write_text(
            "name: tiny\nmanifest: people.csv\nid_column: image_id\ncluster_column: subject\n"
            "named_people: false\nconsent: made by a test\nattributes:\n"
            "  gender: {source: generator}\n  age: {source: generator}\n"
        )
        self.dataset: Dataset = load(folder / "card.yaml")
        pull = np.array([np.broadcast_to(lean(row), DIM) for _, row in self.table.iterrows()])
        self.vectors = unit(rng.normal(size=(n, DIM)) + pull)

    def probe(self, **fields: Any) -> Association:
        given = {"label_set": self.labels, "templates": "bare"} | fields
        return validate(Association, {k: v for k, v in given.items() if v is not None})

    def seen(self, order: Sequence[int] | None = None, dataset: Dataset | None = None) -> Seen:
        at = np.arange(len(self.vectors)) if order is None else np.asarray(order)
        keys = tuple(self.table["image_id"].iloc[at])
        images = Embeddings(keys, self.vectors[at], "")
        return Seen(images, Texts(spoken, Scoring(100.0)), dataset or self.dataset)

    def design(self, seen: Seen, attributes: Sequence[str] = ("age",), least: int = 10) -> Design:
        groups = grouped(self.dataset, dict.fromkeys(attributes), ())
        of = Groups.of(self.dataset, seen.images.keys, groups)
        confidence = Confidence(min_group=least, resamples=100)
        return Design(of, of.draws(of.rows, 0, 100), confidence, 0)

    def measures(
        self,
        probe: Association,
        attributes: Sequence[str] = ("age",),
        least: int = 10,
        order: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """The table MEASURES of this world, checked."""
        probe.resolve(self.dataset)
        seen = self.seen(order)
        rows = SCORES.validate(probe.outcomes(seen))
        return MEASURES.validate(probe.measures(rows, seen, self.design(seen, attributes, least)))


def some(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in ({"condition": ENSEMBLE, "metric": EFFECT_SIZE} | where).items():
        table = table[table[column] == value]
    return table


def one(table: pd.DataFrame, **where: object) -> pd.Series:
    found = some(table, **where)
    assert len(found) == 1, found
    return found.iloc[0]


def d_of(x: Sequence[float], y: Sequence[float]) -> float:
    """Longhand, with the sample standard deviation of both together."""
    return (statistics.mean(x) - statistics.mean(y)) / statistics.stdev([*x, *y])


# ---- definitions -------------------------------------------------------------------------------


@pytest.mark.slow
def test_cross_modal_longhand(world: Path) -> None:
    people = World(world, 24)
    found = people.measures(people.probe(toward="trait", against=["rose", "emotion"]), ["gender"])
    s = cosine_to(people.vectors, "ant", "wasp", "flea")
    s -= cosine_to(people.vectors, "rose", "sweet", "kind")
    female = (people.table["gender"] == "female").to_numpy()
    row = one(found)
    assert row["value"] == pytest.approx(d_of(s[female], s[~female]), abs=1e-6)
    assert row["unit"] == "d"
    assert row["label"] == "trait v rose, emotion"
    beside = one(found, metric=DIFFERENCE)
    assert beside["value"] == pytest.approx(s[female].mean() - s[~female].mean(), abs=1e-7)
    assert beside["verdict"] == NOT_JUDGED


@pytest.mark.slow
def test_c_asc_compares_a_group_with_everyone_else_word_by_word(world: Path) -> None:
    people = World(world, 60)
    found = people.measures(people.probe(toward="trait"))
    assert len(some(found)) == 3 * 3
    assert set(some(found)["other"]) == {REST}
    s = cosine_to(people.vectors, "wasp")
    old = (people.table["age"] == "old").to_numpy()
    row = one(found, label="wasp", group="old")
    assert row["value"] == pytest.approx(d_of(s[old], s[~old]), abs=1e-6)
    assert row["n"] == 20
    assert row["family_size"] == 9


@pytest.mark.slow
def test_pairs_of_groups_leave_out_the_third(world: Path) -> None:
    people = World(world, 60)
    found = people.measures(people.probe(toward="ant", compare="pairs"))
    s, age = cosine_to(people.vectors, "ant"), people.table["age"]
    row = one(found, group="grown", other="old")
    assert row["value"] == pytest.approx(d_of(s[age == "grown"], s[age == "old"]), abs=1e-6)
    assert len(some(found)) == 3


@pytest.mark.slow
def test_weat_is_of_words_alone_and_exact(world: Path) -> None:
    people = World(world, 24)
    targets = {"insects": ["ant", "wasp", "flea"], "blossoms": "neutral"}
    probe = people.probe(targets=targets, toward="event", against="emotion", alternative="greater")
    assert probe.outcomes(people.seen()).empty
    row = one(people.measures(probe), attribute=TARGETS)

    def s(word: str) -> float:
        return float(
            cosine_to(spoken([word]), "vile", "nasty")[0]
            - cosine_to(spoken([word]), "sweet", "kind")[0]
        )

    x, y = [s(w) for w in WORDS[3:6]], [s(w) for w in WORDS[:3]]
    gap, pooled = statistics.mean(x) - statistics.mean(y), x + y
    gaps = [
        2 * statistics.mean(pooled[i] for i in chosen) - 2 * statistics.mean(pooled)
        for chosen in itertools.combinations(range(6), 3)
    ]
    assert row["value"] == pytest.approx(d_of(x, y), abs=1e-6)
    assert row["p"] == pytest.approx(sum(g >= gap - 1e-9 for g in gaps) / 20)
    assert row["smallest_p"] == pytest.approx(1 / 20)
    assert "exact, all 20 deals" in row["method"]
    assert "3 v 3 stimuli" in row["method"]
    assert "sample standard deviation" in row["method"]
    assert row["null_low"] == pytest.approx(np.quantile(np.array(gaps), 0.025) * row["value"] / gap)


@pytest.mark.slow
def test_ieat_of_folders_leaves_out_subjects_it_compares_with(world: Path) -> None:
    people = World(world, 48, per=2)
    probe = people.probe(
        label_set=None,
        targets={"on the left": {"path": "left"}, "on the right": {"path": "right/"}},
        toward={"gender": "female", "age": "young"},
        against={"gender": "male", "age": "young"},
    )
    assert probe.whole
    rows = probe.outcomes(people.seen())
    table, v = people.table, people.vectors.astype(float)
    young = (table["age"] == "young").to_numpy()
    assert set(rows["image_id"]) == set(table["image_id"][~young])
    female = (table["gender"] == "female").to_numpy()
    s = (v @ v[young & female].T).mean(axis=1) - (v @ v[young & ~female].T).mean(axis=1)
    left = table["path"].str.startswith("left").to_numpy()
    row = one(people.measures(probe))
    assert row["value"] == pytest.approx(d_of(s[left & ~young], s[~left & ~young]), abs=1e-6)
    assert row["subjects"] == row["n"] // 2
    assert row["label"] == "gender female and age young v gender male and age young"


@pytest.mark.slow
def test_words_lean_towards_pictures_and_single_pictures_sets_alone(world: Path) -> None:
    people = World(world, 30)
    targets = {"insects": "trait", "blossoms": "neutral"}
    probe = people.probe(targets=targets, toward={"age": "old"})
    v = people.vectors.astype(float)[(people.table["age"] == "old").to_numpy()]
    s = (spoken(WORDS[:6]).astype(float) @ v.T).mean(axis=1)
    assert one(people.measures(probe))["value"] == pytest.approx(d_of(s[3:], s[:3]), abs=1e-6)


@pytest.mark.slow
def test_two_label_sets_are_a_and_b(world: Path) -> None:
    people = World(world, 30)
    first, second = (world / name for name in ("sweet.yaml", "sour.yaml"))
    for path, words in ((first, "honey, sugar"), (second, "lemon, vinegar")):
        head = LABELS.split("labels:")[0].replace("flowers", path.stem)
        path.write_text(f"{head}labels: [{words}]\n")
    probe = people.probe(label_set=[str(first), str(second)])
    s = cosine_to(people.vectors, "honey", "sugar") - cosine_to(people.vectors, "lemon", "vinegar")
    female = (people.table["gender"] == "female").to_numpy()
    row = one(people.measures(probe, ["gender"]))
    assert row["value"] == pytest.approx(d_of(s[female], s[~female]), abs=1e-6)
    assert probe.task == "sweet, sour: sweet v sour"


@pytest.mark.slow
def test_the_population_deviation_makes_d_larger(world: Path) -> None:
    people = World(world, 30)
    sample, population = (
        one(people.measures(people.probe(toward="ant", spread=spread), ["gender"]))
        for spread in ("sample", "population")
    )
    assert population["value"] == pytest.approx(sample["value"] * np.sqrt(30 / 29))
    assert "population standard deviation" in population["method"]


@pytest.mark.slow
def test_templates_are_conditions_that_are_not_judged(world: Path) -> None:
    people = World(world, 60)
    found = people.measures(people.probe(toward="ant", templates="people-plain"), ["gender"])
    single = found[found["condition"] != ENSEMBLE]
    assert len(single) == 5
    assert set(single["verdict"]) == {NOT_JUDGED}
    assert single[["low_simultaneous", "p", "q"]].isna().all(axis=None)
    s = people.vectors.astype(float) @ spoken(["a photo of an ant."])[0]
    female = (people.table["gender"] == "female").to_numpy()
    row = one(found, condition="template: a photo of a {}.")
    assert row["value"] == pytest.approx(d_of(s[female], s[~female]), abs=1e-6)


def test_chance_is_what_a_sample_of_a_finite_population_gives() -> None:
    s = np.random.default_rng(0).normal(size=(120, 3))
    of = sums(s, np.repeat([0, 1], (40, 80)), np.arange(120), 120)
    mean, low, high = by_chance(of, "sample", 0.95, 0)
    reach = 1.96 * np.sqrt(1 / 40 + 1 / 80)
    np.testing.assert_allclose(mean, 0, atol=0.03)
    np.testing.assert_allclose([-low, high], reach, rtol=0.15)
    both = sums(s[:4], [0, 1, 0, 1], [0, 0, 1, 1], 2)
    assert np.isnan(by_chance(both, "sample", 0.95, 0)).all()


@pytest.mark.slow
def test_simultaneous_bounds_are_bonferronis(world: Path) -> None:
    people = World(world, 90)
    probe = people.probe(toward="trait")
    found = some(people.measures(probe))
    seen = people.seen()
    level = bonferroni_level(0.95, 9)
    design = people.design(seen)
    wider = probe.measures(
        probe.outcomes(seen),
        seen,
        Design(
            design.groups, design.draws, design.confidence.model_copy(update={"level": level}), 0
        ),
    )
    wide = some(wider)
    np.testing.assert_allclose(found["low_simultaneous"], wide["low"])
    np.testing.assert_allclose(found["high_simultaneous"], wide["high"])
    assert (found["low_simultaneous"] < found["low"]).all()
    assert (found["q"] >= found["p"]).all()


# ---- planted and null --------------------------------------------------------------------------


def towards(word: str, how: float) -> np.ndarray:
    return how * spoken([word])[0].astype(float)


@pytest.mark.slow
def test_the_planted_association_is_told_and_no_other(world: Path) -> None:
    def lean(row: pd.Series) -> np.ndarray | float:
        return towards("wasp", 3.0) if row["age"] == "old" else 0.0

    people = World(world, 300, lean=lean)
    found = people.measures(people.probe(toward="trait"), ["age", "gender"])
    told = found[found["statement"] != ""]
    large = some(told, verdict=EXCEEDS)
    leading = large[large["label"] == "wasp"].iloc[0]
    assert (leading["group"], leading["other"], leading["attribute"]) == ("old", REST, "age")
    assert leading["value"] > 0.5
    assert leading["harm"] == "stereotyping"
    assert (some(told, attribute="gender")["verdict"] != EXCEEDS).all()
    assert "leans towards 'wasp' more for the 100 pictures with age old" in leading["statement"]
    assert "than for all others: effect size d = " in leading["statement"]
    assert "the surest of 3 comparisons" in leading["statement"]
    assert leading["statement"].endswith("exceeds the margin of 0.2.")


@pytest.mark.slow
def test_a_lean_against_counts_and_is_said_to_be_less(world: Path) -> None:
    def lean(row: pd.Series) -> np.ndarray | float:
        return towards("vile", 3.0) - towards("sweet", 3.0) if row["gender"] == "female" else 0.0

    people = World(world, 120, lean=lean)
    found = people.measures(people.probe(toward="emotion", against="event"), ["gender"])
    row = one(found)
    assert row["value"] < -0.5
    assert row["verdict"] == EXCEEDS
    expected = "leans from 'event' towards 'emotion' less for the 60 pictures with gender female"
    assert expected in row["statement"]
    assert "than for those with male" in row["statement"]


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is(world: Path) -> None:
    low_p = bounds_off = 0
    people, rng = World(world, 90), np.random.default_rng(0)
    for _ in range(40):
        people.vectors = unit(rng.normal(size=people.vectors.shape))
        found = some(people.measures(people.probe(toward="trait", permutations=200)))
        assert (found["verdict"] != EXCEEDS).all()
        low_p += bool((found["q"] <= 0.05).any())
        off = (found["low_simultaneous"] > 0) | (found["high_simultaneous"] < 0)
        bounds_off += bool(off.any())
    assert low_p <= 6  # 2 are expected of 40; 7 or more have a chance of 1 %
    assert bounds_off <= 6


@pytest.mark.slow
def test_many_alike_pictures_show_that_a_lean_is_small(world: Path) -> None:
    people = World(world, 3000)
    found = people.measures(people.probe(toward="ant", margin=0.5, permutations=50), ["gender"])
    row = one(found)
    assert row["verdict"] == WITHIN
    assert row["statement"].endswith("within the margin: no two sets differ by 0.5 or more.")


# ---- what a probe must keep to -----------------------------------------------------------------


def test_batches_merge_to_the_whole(world: Path) -> None:
    people = World(world, 60)
    probe = people.probe(toward="trait", against="neutral")
    assert not probe.whole
    parts = [probe.outcomes(people.seen(at)) for at in (range(25), range(25, 60))]
    merged = probe.merged(parts)
    pd.testing.assert_frame_equal(merged, probe.outcomes(people.seen()), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"toward": "trait"},
        {
            "label_set": None,
            "toward": {"path": "left", "age": "young"},
            "against": {"path": "right", "age": "young"},
        },
    ],
)
def test_the_order_of_pictures_does_not_matter(world: Path, fields: dict[str, Any]) -> None:
    people = World(world, 60, per=2)
    first = people.measures(people.probe(**fields))
    again = people.measures(
        people.probe(**fields), order=np.random.default_rng(1).permutation(60).tolist()
    )
    pd.testing.assert_frame_equal(first, again, rtol=1e-9, atol=1e-12)


def test_groups_without_a_picture_are_undefined(world: Path) -> None:
    people = World(world, 60)
    probe = people.probe(toward="ant", only={"age": "young", "gender": "male"})
    kept = people.table["image_id"].isin(probe.pictures(people.dataset)).to_numpy()
    seen = people.seen(np.flatnonzero(kept).tolist())
    found = some(
        probe.measures(probe.outcomes(seen), seen, people.design(seen, ["age", "gender"], 5))
    )
    assert set(found["status"]) == {UNDEFINED}
    assert found["reason"].str.contains("no picture").all()
    assert found["value"].isna().all()


@pytest.mark.slow
def test_pictures_of_unknown_group_are_compared_with_nobody(world: Path) -> None:
    people = World(
        world, 90, age=lambda s: None if s % 9 == 0 else ("young", "old", "grown")[s % 3]
    )
    found = some(people.measures(people.probe(toward="ant")))
    known = people.table["age"].notna().to_numpy()
    s, old = cosine_to(people.vectors, "ant"), (people.table["age"] == "old").to_numpy()
    row = found[found["group"] == "old"].iloc[0]
    assert row["value"] == pytest.approx(d_of(s[old], s[known & ~old]), abs=1e-6)
    assert set(found["group"]) == {"young", "grown", "old"}


@pytest.mark.slow
def test_too_small_groups_keep_their_value_and_are_not_judged(world: Path) -> None:
    people = World(world, 60, age=lambda s: "old" if s < 5 else ("young", "grown")[s % 2])
    found = some(people.measures(people.probe(toward="ant")))
    old = found[found["group"] == "old"].iloc[0]
    assert old["status"] == TOO_FEW
    assert old["reason"] == "old: fewer than 10 subjects"
    assert np.isfinite(old["value"])
    assert np.isnan([old["low_simultaneous"], old["p"], old["q"]]).all()
    assert old["verdict"] == INCONCLUSIVE
    assert found["family_size"].iloc[0] == 2


@pytest.mark.slow
def test_a_group_of_one_subject_has_no_bounds(world: Path) -> None:
    people = World(world, 60, per=20, age=lambda s: ("young", "grown", "old")[s])
    found = some(people.measures(people.probe(toward="ant")))
    assert set(found["status"]) == {TOO_FEW}
    assert found["reason"].str.contains("all pictures are of one subject").all()
    told = found.loc[found["statement"] != "", "statement"]
    assert len(told) == 1
    assert "can't be compared by age: " in told.iloc[0]
    assert told.iloc[0].endswith("inconclusive.")


@pytest.mark.slow
def test_equal_stimuli_have_no_effect_size(world: Path) -> None:
    people = World(world, 60)
    people.vectors[:] = people.vectors[0]
    row = one(people.measures(people.probe(toward="ant"), ["gender"]))
    assert row["status"] == UNDEFINED
    assert "no spread to measure in" in row["reason"]
    assert np.isnan(row["value"])
    assert row["verdict"] == INCONCLUSIVE


@pytest.mark.slow
def test_subjects_in_both_sets_leave_no_p(world: Path) -> None:
    people = World(world, 60, per=3)
    odd = people.table["image_id"].str[-1].isin(list("13579"))
    people.table["path"] = np.where(odd, "odd/", "even/") + people.table["image_id"]
    people.table.to_csv(world / "people.csv", index=False)
    people.dataset = load(world / "card.yaml")
    targets = {"odd": {"path": "odd"}, "even": {"path": "even"}}
    row = one(people.measures(people.probe(targets=targets, toward="ant")))
    assert np.isfinite(row["value"])
    assert np.isnan(row["p"])
    assert "no p: a subject is in both X and Y" in row["method"]


@pytest.mark.slow
def test_two_stimuli_a_side_have_a_value_and_no_bounds(world: Path) -> None:
    people = World(world, 30)
    targets = {"good": "emotion", "bad": "event"}
    row = one(people.measures(people.probe(targets=targets, toward="trait", against="neutral")))
    assert row["status"] == TOO_FEW
    assert row["reason"] == "2 subjects in X and 2 in Y: an interval needs 3 in each"
    assert row["smallest_p"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_so_few_stimuli_that_no_p_can_be_small_are_said_to_be(world: Path) -> None:
    people = World(world, 30)
    targets = {"insects": "trait", "blossoms": "neutral"}
    row = one(people.measures(people.probe(targets=targets, toward="event", against="emotion")))
    assert "the 3 words of 'insects' than for those of 'blossoms'" in row["statement"]
    assert "so few can be dealt anew that p is never below 0.1" in row["statement"]
    several = people.measures(people.probe(targets=targets, toward=["event", "emotion"]))
    told = some(several)["statement"].iloc[0]
    assert "p is never below 0.1, or 0.4 by Holm over 4" in told


def leaning_by_degrees(row: pd.Series) -> np.ndarray | float:
    pulls = {"ant": 3.0, "wasp": 3.0, "sweet": 2.5, "vile": 1.5, "rose": 1.2}
    return sum(towards(*pull) for pull in pulls.items()) if row["age"] == "old" else 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"permutations": 200},
            "the bounds exclude 0 and q is 0.15: so few deals allow no smaller",
        ),
        ({}, "and the bounds include 0: q steps down by Holm, which bounds can't"),
        ({}, "and the bounds include 0: both are near their limits, by different methods"),
        ({"alternative": "greater"}, "the bounds exclude 0 and q is 1: p asks for larger d only"),
    ],
)
def test_where_q_and_bounds_disagree_the_row_says_why(
    world: Path, fields: dict[str, Any], reason: str
) -> None:
    people = World(world, 90, lean=leaning_by_degrees, seed=1)
    found = some(people.measures(people.probe(**fields)))
    apart = (found["low_simultaneous"] > 0) | (found["high_simultaneous"] < 0)
    at_odds = apart != (found["q"] <= 0.05)
    assert at_odds.any()
    assert not at_odds.all()
    np.testing.assert_array_equal(found["method"].str.contains(AT_ODDS, regex=False), at_odds)
    assert found["method"].str.contains(reason, regex=False).any()
    (told,) = told_of_odds(found)
    assert f"In {at_odds.sum()} of {len(found)} comparisons q and the simultaneous" in str(told)
    assert reason.rpartition(": ")[2] in str(told)
    assert list(told_of_odds(found[~at_odds])) == []


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"toward": "tarit"}, "no label or tag 'tarit' in 'flowers'. Did you mean 'trait'?"),
        ({"toward": "trait", "against": "ant"}, "'ant' is in 'toward' and in 'against'"),
        (
            {"toward": "trait", "targets": {"one": "ant", "two": "neutral"}},
            "'ant' is in 'toward' and in 'one'",
        ),
        (
            {"toward": "trait", "targets": {"one": "sweet", "two": "neutral"}},
            "'one' has one stimulus to compare. An effect size needs two in each set",
        ),
        (
            {"toward": {"age": "young"}, "label_set": None,
             "targets": {"one": {"age": "young"}, "two": {"age": "old"}}},
            "'one' has no stimulus to compare",
        ),
        (
            {"toward": "ant", "targets": {"one": {"age": "old"}, "two": {"gender": "male"}}},
            "is in 'one' and in 'two'. 10 stimuli are in both",
        ),
        ({"toward": {"agee": "old"}, "label_set": None}, "no column 'agee'. Did you mean 'age'?"),
        (
            {"toward": {"age": "odl"}, "label_set": None},
            "toward: no picture has 'odl' in column 'age'. Did you mean 'old'?",
        ),
        (
            {"toward": {"path": "leftt/"}, "label_set": None},
            "no picture has 'leftt/' in column 'path'. Did you mean 'left'?",
        ),
        (
            {"toward": {"gender": "female"}, "against": {"gender": "male"}, "label_set": None},
            "every subject is shown in 'toward' or 'against'. Nobody is left to compare",
        ),
        (
            {"toward": {"gender": "female"}, "against": {"age": "old"}, "label_set": None},
            "is in 'toward' and in 'against'",
        ),
        ({"toward": "trait", "against": {"age": "old"}}, "one of 'toward' and 'against' is words"),
        ({"against": "trait"}, "against: there is something to lean against and nothing to lean"),
        ({"label_set": None}, "no label sets, and nothing said of 'toward'"),
        ({"label_set": None, "toward": "ant"}, "words and no label set. Give 'label_set'"),
        ({"toward": {"age": "old"}}, "a label set and no words"),
        ({"targets": {"one": "ant"}}, "targets: 1 sets to compare. Name two sets of a kind"),
        ({"targets": {"one": "ant", "two": {"age": "old"}}}, "words and pictures to compare"),
        ({"toward": 3}, "toward: 3 is neither words nor pictures"),
        ({"toward": {"age": 30}}, "toward: 30 is neither words nor pictures"),
        ({"toward": {"age": [30]}}, "toward: 30 is not read as text. Put it in quotes"),
        ({"margin": 0}, "margin"),
        ({"label_set": "flowerz"}, "no label set named 'flowerz'"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(world: Path, fields: dict[str, Any], said: str) -> None:
    people = World(world, 60)
    with pytest.raises(InputError) as caught:
        people.probe(**fields).resolve(people.dataset)
    assert said in str(caught.value)
    assert str(caught.value)[-1] in ".?"


def test_pictures_that_only_leaves_out_are_missed(world: Path) -> None:
    people = World(world, 60)
    probe = people.probe(toward={"age": "old"}, label_set=None, only={"age": ["young", "grown"]})
    kept = np.flatnonzero(people.table["age"] != "old")
    with pytest.raises(InputError, match="toward: all of its pictures are unreadable or left out"):
        probe.outcomes(people.seen(kept))


def test_words_of_suspicion_must_be_acknowledged() -> None:
    asked = {"label_set": "people-suspicion", "toward": "suspicion", "against": ["neutral"]}
    assert list(validate(Association, asked).sensitive()) == ["people-suspicion"]
    assert not list(validate(Association, {"label_set": "people-nonce"}).sensitive())


@pytest.mark.slow
def test_a_family_of_suspicion_beyond_the_margin_is_severe(world: Path) -> None:
    def lean(row: pd.Series) -> np.ndarray | float:
        return towards("thief", 4.0) if row["gender"] == "male" else 0.0

    people = World(world, 120, lean=lean)
    fields = {"label_set": "people-suspicion", "toward": "suspicion", "against": ["neutral"]}
    probe = people.probe(**fields)
    found = people.measures(probe, ["gender"])
    findings = find(RATES.empty(), DISPARITIES.empty(), found, {}, {"gender": "generator"})
    assert [f.severity for f in findings] == ["high"]
    assert findings[0].unit == "d"
    assert findings[0].groups == ("female", "male")
    assert probe.task == "people-suspicion: suspicion v neutral"


# ---- a whole run -------------------------------------------------------------------------------

SUITE = """
name: leaning
model: planted
dataset: {card}
attributes: [gender, age_group]
probes:
  - {{kind: association, label_set: people-nonce, templates: people-plain}}
  - kind: association
    label_set: people-nonce
    templates: bare
    toward: wug
    against: [dax, toma]
confidence: {{min_group: 20}}
"""


@pytest.mark.slow
def test_a_whole_run_has_findings_section_and_figure(world: Path) -> None:
    table = worlds.people(world, 200)
    rng = np.random.default_rng(0)
    words = {
        text: spoken([text])[0]
        for word in ("wug", "dax", "blicket", "toma")
        for text in (word, *validate(Association, {"label_set": "people-nonce",
                     "templates": "people-plain"}).prompt_sets()[0].prompts(word))
    }  # fmt: skip
    pictures: dict[object, np.ndarray] = {}
    for _, row in table.iterrows():
        pull = 4.0 * (row["gender"] == "female") * sum(v for t, v in words.items() if "wug" in t)
        with Image.open(world / row["path"]) as picture:
            pictures[picture_key(picture)] = rng.normal(size=DIM) + pull
    (world / "suite.yaml").write_text(SUITE.format(card=world / "card.yaml"))
    suite = load_suite(str(world / "suite.yaml"))
    run = carry_out(
        suite, world / "runs", Store(world / "cache"), lambda: PlantedEncoder(pictures, words)
    )
    large = [f for f in run.findings if f["verdict"] == "exceeds margin"]
    assert {f["attribute"] for f in large} == {"gender"}
    assert any(f["label"] == "wug" for f in large)
    assert len(tell(run)) == 3
    found = associations_of(run, "people-nonce: word by word")
    assert found["lowest"].notna().all()
    assert found.iloc[0]["label"] == "wug"
    assert isinstance(effect_sizes(run, "people-nonce: word by word"), Figure)
    with pytest.raises(InputError, match="no associations of 'people-nonse'"):
        effect_sizes(run, "people-nonse")
    render(run)
    page = (run.path / "report.md").read_text()
    assert "people-nonce: wug v dax, toma" in page
    assert "exceed the margin, " in page
    assert load_suite(str(run.path / "suite.yaml")).asked == suite.asked


@pytest.mark.slow
def test_the_bundled_suite_is_sound() -> None:
    suite = load_suite("association").resolve()
    assert len(suite.asked) == 4
    assert all(probe.kind == "association" for probe in suite.asked)

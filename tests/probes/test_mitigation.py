"""Mitigations as conditions: longhand choices, planted gaps and prices, a world with nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from audit.core.errors import InputError
from audit.core.tables import ENSEMBLE, EXCEEDS, WITHIN
from audit.data.dataset import load
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups, grouped
from audit.models.encoder import Texts
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.changes import ACCURACY_CHANGE, GAP_CHANGE
from audit.probes.mitigation.probe import REMOVED, Mitigation
from audit.report.render import render
from audit.stats.mitigation import teaching_half
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

PROMPTS = "projection (prompts of coats)"
DIFFERENCES = "projection (differences of coats)"
CALIBRATED = "calibrated projection (prompts of coats, pairs about birds, weight 1000)"
FEWER = "fewer dimensions (75% kept, least of coat)"
RANDOM = "random dimensions (75% kept)"
OWL = "counter-label: owl"

#: what each text means, by axis: coats are 0 and 1; sides 3 and 4; birds hang on coats and on 5
WORDS = {
    "red coat": {0: 1.0},
    "blue coat": {1: 1.0},
    "robin": {2: 1.0, 0: 1.0, 5: 0.3},
    "wren": {2: 1.0, 1: 1.0, 5: -0.3},
    "owl": {2: 1.0, 0: 1.2, 5: 0.1},
    "left": {3: 1.0},
    "right": {4: 1.0},
    "near": {2: 1.0, 0: 0.9, 6: 0.1},
    "far": {2: 1.0, 1: 0.9, 6: -0.1},
}
for _bird in ("robin", "wren"):
    for _coat in ("red coat", "blue coat"):
        WORDS[f"a {_bird}, {_coat}."] = WORDS[_bird] | {0: 0.1, 1: 0.1, 7: 0.2 * (_coat < "c")}
SETS = {
    "coats": ["red coat", "blue coat"],
    "birds": ["robin", "wren"],
    "sides": ["left", "right"],
    "distances": ["near", "far"],
}


def vector(text: str) -> np.ndarray:
    """The planted direction of a text."""
    made = np.full(8, 0.01)  # of nothing nothing would be left
    for axis, size in WORDS[text].items():
        made[axis] = size
    return made / np.linalg.norm(made)


def people(n: int, *, coats: bool = True, seed: int = 0) -> pd.DataFrame:
    """Who wears which coat, on which side, how far away; the pictures' axes as columns 0 to 7."""
    rng = np.random.default_rng(seed)
    red, left = rng.random(n) < 0.5, rng.random(n) < 0.5
    axes = rng.normal(0, 0.02, (n, 8))
    if coats:  # nothing of the coat is seen in the null world
        axes[np.arange(n), np.where(red, 0, 1)] += 1
    axes[np.arange(n), np.where(left, 3, 4)] += 0.5
    axes[:, 5] += rng.choice([-0.5, 0.5], n)
    axes[:, 6] += 0.1
    table = pd.DataFrame(axes / np.linalg.norm(axes, axis=1, keepdims=True))
    table.columns = [str(c) for c in table.columns]
    names = [f"p{i:05d}" for i in range(n)]
    return table.assign(
        path=[f"{name}.png" for name in names],
        subject=[f"s{i:05d}" for i in range(n)],
        coat=np.where(red, "red", "blue"),
        side=np.where(left, "left", "right"),
        # told right nine times in ten by whoever sees the coat
        distance=np.where((rng.random(n) < 0.9) == red, "near", "far"),
    )


def write(folder: Path, table: pd.DataFrame) -> None:
    """Manifest, card and label sets of a world."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["path", "subject", "coat", "side", "distance"]
    table[columns].to_csv(folder / "people.csv", index=False)
    attributes = {name: {"source": "generator"} for name in columns[2:]}
    card = {"name": "tiny", "manifest": "people.csv", "cluster_column": "subject"}
    card |= {"named_people": False, "consent": "drawn by a test", "attributes": attributes}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    for name, labels in SETS.items():
        words = {"name": name, "version": 1, "purpose": "p", "source": "s", "licence": "l"}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(words | {"labels": labels}))


def fields(folder: Path, label_set: str, **more: Any) -> dict[str, Any]:
    """The configuration of a probe."""
    told = {"kind": "mitigation", "label_set": str(folder / f"{label_set}.yaml")}
    told |= {"templates": "bare", "attribute": "coat", "named_by": str(folder / "coats.yaml")}
    told |= {"keep": [0.75], "weights": [], "pairs": "a {}, {protected}."}
    return told | more


def encode(strings: list[str]) -> np.ndarray:
    return np.stack([vector(s) for s in strings]).astype(np.float32)


def seen_of(folder: Path, table: pd.DataFrame) -> Seen:
    """What a probe sees of a world."""
    vectors = table[[str(i) for i in range(8)]].to_numpy(np.float32)
    texts = cast(Texts, SimpleNamespace(encode=encode, scoring=Scoring(100.0)))
    images = Embeddings(tuple(table["path"]), vectors, "planted")
    return Seen(images, texts, load(str(folder / "card.yaml")), seed=0)


def design_of(seen: Seen) -> Design:
    confidence = Confidence(resamples=200)
    attributes = grouped(seen.dataset, {"coat": None, "side": None}, [])
    groups = Groups.of(seen.dataset, seen.images.keys, attributes)
    draws = groups.draws(seen.images.keys, 0, confidence.resamples)
    return Design(groups, draws, confidence, 0)


def choices(rows: pd.DataFrame, condition: str) -> pd.Series:
    part = rows[rows["condition"] == condition]
    return part.set_index("image_id")["predicted"]


def told(folder: Path, table: pd.DataFrame, label_set: str, **more: Any) -> pd.DataFrame:
    """MEASURES of one probe in a world."""
    write(folder, table)
    probe, seen = Mitigation(**fields(folder, label_set, **more)), seen_of(folder, table)
    return probe.measures(probe.outcomes(seen), seen, design_of(seen))


# ---- longhand ----------------------------------------------------------------------------------


def test_every_condition_chooses_as_worked_longhand(world: Path) -> None:
    table = people(300)
    write(world, table)
    probe = Mitigation(
        **fields(
            world, "birds", directions=["prompts", "differences"], weights=[1000.0],
            counter_labels=[{"text": "owl"}],
        )
    )  # fmt: skip
    seen = seen_of(world, table)
    rows = probe.outcomes(seen)
    held = ~teaching_half(table["subject"], 0)
    x = seen.images.vectors[held].astype(float)
    birds, coats = (np.stack([vector(t) for t in SETS[s]]) for s in ("birds", "coats"))

    def best(texts: np.ndarray, pictures: np.ndarray = x) -> list[str]:
        scaled = texts / np.linalg.norm(texts, axis=1, keepdims=True)
        names = np.array([*SETS["birds"], "owl"])
        return list(names[(pictures @ scaled.T).argmax(axis=1)])

    away = coats.T @ np.linalg.inv(coats @ coats.T) @ coats
    difference = (coats[1] - coats[0])[np.newaxis]
    apart = np.stack([vector(f"a {b}, red coat.") - vector(f"a {b}, blue coat.")
                      for b in SETS["birds"]])  # fmt: skip
    matrix = (np.eye(8) - away) @ np.linalg.inv(np.eye(8) + 1000 * apart.T @ apart / 2)
    expected = {
        ENSEMBLE: best(birds),
        PROMPTS: best(birds - birds @ away),
        DIFFERENCES: best(birds - (birds @ difference.T) @ difference / 2),
        CALIBRATED: best(birds @ matrix.T),
        OWL: best(np.vstack([birds, vector("owl")])),
        # the coat is in the first two dimensions and in no other
        FEWER: best(birds[:, 2:], x[:, 2:] / np.linalg.norm(x[:, 2:], axis=1, keepdims=True)),
    }
    assert len({tuple(v) for v in expected.values()}) >= 3  # else nothing is told apart here
    for condition, labels in expected.items():
        assert list(choices(rows, condition)) == labels, condition
    assert set(rows["condition"]) == {ENSEMBLE, *probe.contrasts()}


@pytest.mark.slow
def test_only_the_half_that_did_not_teach_is_judged_and_it_teaches_nothing(world: Path) -> None:
    table = people(300)
    write(world, table)
    probe, seen = Mitigation(**fields(world, "birds")), seen_of(world, table)
    rows = probe.outcomes(seen)
    teaches = teaching_half(table["subject"], 0)
    for condition in (ENSEMBLE, PROMPTS, FEWER):
        assert set(choices(rows, condition).index) == set(table["path"][~teaches])
    # other coats for those who are judged change nothing; for those who teach they do
    for who, same in ((~teaches, True), (teaches, False)):
        changed = table.copy()
        changed.loc[who, "coat"] = changed.loc[who, "side"].map({"left": "red", "right": "blue"})
        write(world, changed)
        again = probe.outcomes(seen_of(world, changed))
        assert (choices(again, FEWER) == choices(rows, FEWER)).all() == same


@pytest.mark.slow
def test_the_order_of_pictures_does_not_matter(world: Path) -> None:
    table = people(200)
    shuffled = table.sample(frac=1, random_state=3).reset_index(drop=True)
    found = []
    for one in (table, shuffled):
        write(world, one)
        seen = seen_of(world, one)
        probe = Mitigation(**fields(world, "birds", counter_labels=[{"text": "owl"}]))
        rows = probe.outcomes(seen)
        found.append((rows, probe.measures(rows, seen, design_of(seen))))
    key = ["condition", "image_id"]
    pd.testing.assert_frame_equal(
        *(rows.sort_values(key, ignore_index=True) for rows, _ in found), check_exact=False
    )
    pd.testing.assert_frame_equal(*(measures for _, measures in found))


# ---- planted worlds ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_planted_gap_is_seen_to_close_and_sides_are_told_as_before(world: Path) -> None:
    table = people(600)
    gaps = told(world, table, "birds", directions=["prompts", "differences"])
    gaps = gaps[gaps["metric"] == GAP_CHANGE["selection"]].set_index("condition")
    assert gaps.loc[[PROMPTS, DIFFERENCES, FEWER], "verdict"].eq(EXCEEDS).all()
    assert gaps.loc[[PROMPTS, DIFFERENCES, FEWER], "value"].lt(-75).all()
    assert set(gaps["attribute"]) == {"coat"}
    said = gaps.loc[PROMPTS, "statement"]
    assert "the widest gap by coat in choices of" in said
    assert f"under '{PROMPTS}'" in said
    assert "exceeds the margin of 5 points" in said
    assert gaps.loc[RANDOM, "statement"] == ""  # a control, no finding
    prices = told(world, table, "sides", truth="side")
    prices = prices[prices["metric"] == ACCURACY_CHANGE].set_index("condition")
    assert prices.loc[PROMPTS, ["value", "verdict"]].tolist() == [0.0, WITHIN]
    assert prices.loc[PROMPTS, "statement"].startswith(
        "Asked 'sides, mitigated for coat', the model chooses the right label for 100 % of "
    )


@pytest.mark.slow
def test_a_planted_price_is_found(world: Path) -> None:
    prices = told(world, people(600), "distances", truth="distance")
    prices = prices[prices["metric"] == ACCURACY_CHANGE].set_index("condition")
    # 90 % before; after, all that is left says the same of everybody, right half of the time
    row = prices.loc[PROMPTS]
    assert row["low_simultaneous"] <= -40 <= row["high_simultaneous"]
    assert row["verdict"] == EXCEEDS


def test_a_counter_label_that_relieves_is_seen_to(world: Path) -> None:
    write(world, table := people(600))
    probe = Mitigation(
        **fields(world, "birds", named_by=None, keep=[], counter_labels=[{"text": "owl"}])
    )
    assert probe.contrasts() == (OWL,)
    seen = seen_of(world, table)
    rows = probe.outcomes(seen)
    red = set(table["path"][table["coat"] == "red"])
    assert (choices(rows, ENSEMBLE) == "robin").sum() > 100
    taken = choices(rows, OWL)
    assert set(taken[taken == "owl"].index) <= red
    assert (taken == "robin").sum() < 30


@pytest.mark.slow
def test_where_nothing_hangs_on_the_coat_nothing_is_shown(world: Path) -> None:
    table = people(600, coats=False)
    found = told(world, table, "birds", counter_labels=[])
    changes = found[found["metric"] == GAP_CHANGE["selection"]]
    assert set(changes["condition"]) == {PROMPTS, FEWER, RANDOM}
    assert not changes["verdict"].eq(EXCEEDS).any()
    prices = told(world, table, "sides", truth="side")
    prices = prices[prices["metric"] == ACCURACY_CHANGE]
    # the control may leave out what tells sides; the mitigations do not
    assert prices.loc[prices["condition"] != RANDOM, "verdict"].tolist() == [WITHIN] * 2


@pytest.mark.slow
def test_what_is_taken_away_is_counted(world: Path) -> None:
    found = told(
        world, people(200), "birds", directions=["prompts", "differences"], weights=[1000.0]
    )
    removed = found[found["metric"] == REMOVED].set_index("condition")
    assert removed["value"].to_dict() | {"": 0} == {
        PROMPTS: 2.0, CALIBRATED: 2.0, DIFFERENCES: 1.0,
        CALIBRATED.replace("prompts", "differences"): 1.0, FEWER: 2.0, RANDOM: 2.0, "": 0,
    }  # fmt: skip
    teaches = teaching_half(people(200)["subject"], 0)
    assert removed.loc[FEWER, "n"] == teaches.sum()


@pytest.mark.slow
def test_the_question_is_chosen_by_those_who_teach(world: Path) -> None:
    table = people(400)
    teaches = teaching_half(table["subject"], 0)
    # among those judged, birds hang on the side and not on the coat
    swapped = table.copy()
    swapped.loc[~teaches, "coat"] = np.where(
        np.random.default_rng(1).random((~teaches).sum()) < 0.5, "red", "blue"
    )
    write(world, swapped)
    probe, seen = Mitigation(**fields(world, "birds")), seen_of(world, swapped)
    rows = probe.outcomes(seen)
    found = probe.measures(rows, seen, design_of(seen))
    gaps = found[found["metric"] == GAP_CHANGE["selection"]]
    assert set(gaps["attribute"]) == {"coat"}
    assert (gaps["value"].abs() < 40).all()  # it was small there before, too


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attribute": "coaat"}, "no attribute named 'coaat'. Did you mean 'coat'?"),
        ({"named_by": "{}/birds.yaml"}, "'birds' is what is asked about.*nothing would be left"),
        ({"named_by": None, "keep": []}, "no mitigation; give 'named_by', 'keep' or 'counter"),
        ({"keep": [1.5]}, "less than 1"),
        ({"weights": [0]}, "greater than 0"),
        ({"pairs": "a photo of a {}."}, "has 0 places {protected}; write {} once"),
        ({"pairs": "a {}, {protected} {x}."}, "braces other than {} and {protected}"),
        ({"directions": ["promts"]}, "promts|prompts"),
        ({"named_by": "people-gendre"}, "Did you mean 'people-gender'?"),
        ({"contents": "people-gendre"}, "Did you mean 'people-gender'?"),
        ({"counter_labels": [{"text": "Robin"}]}, "'Robin' is already in the label set 'birds'"),
        ({"counter_labels": ["owl"]}, "no addition to 'birds' named 'owl'"),
        ({"wordings": {"shifts": [0, 1]}}, "does not know 'wordings'"),
        ({"only": {"coat": "red"}}, "fewer than two groups by 'coat' among the pictures"),
        ({"truth": "sied"}, "no column 'sied'.*'side'"),
    ],
)
def test_a_mistake_gets_a_sentence(world: Path, change: dict[str, Any], says: str) -> None:
    write(world, people(60))
    given = {k: v.format(world) if isinstance(v, str) and "/" in v else v
             for k, v in change.items()}  # fmt: skip
    with pytest.raises(InputError, match=f"(?s){says}"):
        validate(Mitigation, fields(world, "birds") | given, "suite").resolve(
            load(str(world / "card.yaml"))
        )


def test_a_label_that_is_projected_out_itself_is_refused(world: Path) -> None:
    write(world, people(60))
    shared = yaml.safe_load((world / "birds.yaml").read_text())
    shared["labels"] = ["robin", "red coat"]
    (world / "birds.yaml").write_text(yaml.safe_dump(shared))
    data = load(str(world / "card.yaml"))
    with pytest.raises(InputError, match="'red coat' is in 'coats'.*directions: .differences"):
        Mitigation(**fields(world, "birds")).resolve(data)
    Mitigation(**fields(world, "birds", directions=["differences"])).resolve(data)


def test_prompts_that_say_the_same_and_subjects_on_one_side_get_a_sentence(world: Path) -> None:
    table = people(60)
    write(world, table)
    probe, seen = Mitigation(**fields(world, "birds")), seen_of(world, table)
    alike = cast(
        Texts,
        SimpleNamespace(
            encode=lambda texts: encode([t.replace("blue", "red") for t in texts]),
            scoring=Scoring(1.0),
        ),
    )
    with pytest.raises(InputError, match="mitigation of 'birds': projection.*only 1 are indep"):
        probe.outcomes(Seen(seen.images, alike, seen.dataset))
    one = table.assign(subject="s0")
    write(world, one)
    with pytest.raises(InputError, match="halves.*all on one side; give more subjects"):
        probe.outcomes(seen_of(world, one))


def test_a_counter_label_may_need_acknowledgement(world: Path) -> None:
    write(world, people(60))
    plain = Mitigation(**fields(world, "birds"))
    asked = {"text": "thief", "tags": ["suspicion"]}
    assert list(plain.sensitive()) == []
    probe = Mitigation(**fields(world, "birds", counter_labels=[asked]))
    assert list(probe.sensitive()) == ["birds"]


# ---- a whole run -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_tells_gap_and_price_side_by_side(world: Path) -> None:
    table = people(240)
    write(world, table)
    images: dict[Any, np.ndarray] = {}
    for i, path in enumerate(table["path"]):
        pixels = np.frombuffer(i.to_bytes(4, "big") * 12, np.uint8).reshape(4, 4, 3)
        picture = Image.fromarray(pixels)
        picture.save(world / path)
        images[picture_key(picture)] = table.loc[i, [str(a) for a in range(8)]].to_numpy(float)
    encoder = PlantedEncoder(images, {text: vector(text) for text in WORDS})
    asked = [
        fields(world, "birds", counter_labels=[{"text": "owl"}]),
        fields(world, "sides", truth="side"),
    ]
    suite = {"name": "world", "model": "planted", "dataset": str(world / "card.yaml")}
    suite |= {"attributes": ["coat", "side"], "probes": asked}
    (world / "suite.yaml").write_text(yaml.safe_dump(suite | {"confidence": {"resamples": 200}}))
    loaded = load_suite(str(world / "suite.yaml"))
    run = carry_out(loaded, world / "runs", Store(world / "cache"), lambda: encoder)
    assert load_suite(str(run.path / "suite.yaml")).resolved() == loaded.resolved()
    page = render(run).with_suffix(".md").read_text(encoding="utf-8")
    section = page.split("\n## 20. ")[1].split("\n## 21. ")[0]
    assert "### Mitigations for coat" in section
    assert "birds, mitigated for coat: the widest gap in choices of ‘" in section
    assert "| birds: widest gap, ‘" in section
    assert "| sides: right labels |" in section
    assert "untouched" in section
    assert "(figures/mitigations-coat.png)" in section
    assert "Surely fewer right labels after: " in section
    assert "after projection" not in section.split("Surely fewer")[1].split("\n")[0]
    found = [f for f in run.findings if f["metric"] == GAP_CHANGE["selection"]]
    assert {f["verdict"] for f in found} >= {EXCEEDS}


@pytest.mark.slow
def test_the_bundled_suite_is_sound() -> None:
    suite = load_suite("mitigation").resolve()
    assert {probe.kind for probe in suite.asked} == {"mitigation"}
    by_attribute: dict[str, list[set[str]]] = {}
    for probe in suite.asked:
        assert isinstance(probe, Mitigation)
        shared = {name for name in probe.contrasts() if not name.startswith("counter-label")}
        by_attribute.setdefault(probe.attribute, []).append(shared)
    # what a mitigation does and what it costs are told of the same mitigation
    assert all(one == others[0] for others in by_attribute.values() for one in others)

"""Linear probes beside zero-shot: the numbers behind a row, planted and empty worlds, a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy import stats

from audit.core.errors import InputError
from audit.core.tables import ENSEMBLE, EXCEEDS, NOT_ASKED, WITHIN
from audit.data.dataset import load
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.effects import condition_effects
from audit.measure.metrics import Groups, grouped, rates, tally
from audit.models.encoder import Texts
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.classification.probe import Classification
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.changes import ACCURACY_CHANGE, GAP_CHANGE
from audit.probes.linear.probe import ACCURACY, ALL, SPREAD_OVER_DRAWS, Linear, few
from audit.report.render import render
from audit.stats.linear import deal, few_shot, out_of_fold
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

LABELS = ("circle", "square", "star")
DIM = 10


def vector(text: str) -> np.ndarray:
    """The planted direction of a label: an axis of its own."""
    return np.eye(DIM)[LABELS.index(text)]


def people(
    n: int, *, hidden: float = 0.6, reached: tuple[float, float] = (0.9, 0.1), seed: int = 0
) -> pd.DataFrame:
    """Shapes that the words reach in so many pictures of each group, and the embedding in more.

    The pictures' axes are the columns 0 to 9: 0 to 2 are those of the words, 3 to 5 hold the shape
    with strength ``hidden`` where no word reaches.
    """
    rng = np.random.default_rng(seed)
    shape, young = rng.integers(0, 3, n), rng.random(n) < 0.5
    reads = rng.random(n) < np.where(young, *reached)
    said = np.where(reads, shape, rng.integers(0, 3, n))
    axes = rng.normal(0, 0.1, (n, DIM))
    axes[np.arange(n), said] += 0.5
    axes[np.arange(n), 3 + shape] += hidden
    table = pd.DataFrame(axes / np.linalg.norm(axes, axis=1, keepdims=True))
    table.columns = [str(c) for c in table.columns]
    names = [f"p{i:05d}" for i in range(n)]
    return table.assign(
        path=[f"{name}.png" for name in names],
        subject=[f"s{i:05d}" for i in range(n)],
        age=np.where(young, "young", "old"),
        side=np.where(rng.random(n) < 0.5, "left", "right"),
        shape=np.array(LABELS)[shape],
    )


def write(folder: Path, table: pd.DataFrame) -> None:
    """Manifest, card and label set of a world."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["path", "subject", "age", "side", "shape"]
    table[columns].to_csv(folder / "people.csv", index=False)
    attributes = {name: {"source": "generator"} for name in columns[2:]}
    card = {"name": "tiny", "manifest": "people.csv", "cluster_column": "subject"}
    card |= {"named_people": False, "consent": "drawn by a test", "attributes": attributes}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    words = {"name": "shapes", "version": 1, "purpose": "p", "source": "s", "licence": "l"}
    (folder / "shapes.yaml").write_text(yaml.safe_dump(words | {"labels": list(LABELS)}))


def fields(folder: Path, **more: Any) -> dict[str, Any]:
    """The configuration of a probe."""
    told: dict[str, Any] = {"kind": "linear", "label_set": str(folder / "shapes.yaml")}
    told |= {"templates": "bare", "truth": "shape", "examples": [2], "draws": 3, "folds": 3}
    return told | more


def seen_of(folder: Path, table: pd.DataFrame) -> Seen:
    """What a probe sees of a world."""

    def encode(strings: list[str]) -> np.ndarray:
        return np.stack([vector(s) for s in strings]).astype(np.float32)

    texts = cast(Texts, SimpleNamespace(encode=encode, scoring=Scoring(100.0)))
    vectors = table[[str(i) for i in range(DIM)]].to_numpy(np.float32)
    images = Embeddings(tuple(table["path"]), vectors, "planted")
    return Seen(images, texts, load(str(folder / "card.yaml")), seed=0)


def design_of(seen: Seen) -> Design:
    confidence = Confidence(resamples=200)
    groups = Groups.of(
        seen.dataset, seen.images.keys, grouped(seen.dataset, {"age": None, "side": None}, [])
    )
    draws = groups.draws(seen.images.keys, 0, confidence.resamples)
    return Design(groups, draws, confidence, 0)


def asked(folder: Path, table: pd.DataFrame, **more: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcome rows and MEASURES of a probe in a world."""
    write(folder, table)
    probe, seen = Linear(**fields(folder, **more)), seen_of(folder, table)
    rows = probe.outcomes(seen)
    return rows, probe.measures(rows, seen, design_of(seen))


def condition(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["condition"] == name].reset_index(drop=True)


def one(measures: pd.DataFrame, **where: str) -> Any:
    """The only row that matches."""
    for column, value in where.items():
        measures = measures[measures[column] == value]
    (row,) = measures.itertuples()
    return row


# ---- what a row is -----------------------------------------------------------------------------


@pytest.mark.slow
def test_zero_shot_is_the_classification_and_the_others_are_the_classifiers(world: Path) -> None:
    table = people(120)
    rows, _ = asked(world, table)
    seen = seen_of(world, table)
    plain = Classification(
        label_set=str(world / "shapes.yaml"), templates="bare", truth="shape"
    ).outcomes(seen)
    same = ["image_id", "predicted", "score", "margin", "tie", "truth"]
    pd.testing.assert_frame_equal(condition(rows, ENSEMBLE)[same], plain[same])
    truth = table["shape"].map(LABELS.index).to_numpy()
    dealt = deal(seen.images.vectors, truth, table["subject"], 3, 3, 0)
    draws = few_shot(dealt, 2, 3)
    for name, judged in zip(
        (ALL, few(2), f"{few(2)}, draw 2", f"{few(2)}, draw 3"),
        (out_of_fold(dealt), *draws),
        strict=True,
    ):
        found = condition(rows, name)
        assert list(found["image_id"]) == list(table["path"])
        assert list(found["predicted"]) == [LABELS[code] for code in judged.predicted]
        assert list(found["truth"]) == list(table["shape"])
        np.testing.assert_array_equal(found["score"], judged.probability)
        np.testing.assert_array_equal(found["margin"], judged.margin)
        assert not found["tie"].any()


@pytest.mark.slow
def test_no_subject_is_judged_by_a_classifier_that_saw_it(world: Path) -> None:
    # every subject has an axis of its own and a shape by lot: only recognising it would help
    rng = np.random.default_rng(0)
    table = people(120, hidden=0.0, reached=(0.0, 0.0)).assign(
        subject=[f"s{i // 4:03d}" for i in range(120)], shape=np.repeat(rng.permutation(30) % 3, 4)
    )
    table["shape"] = table["shape"].map(dict(enumerate(LABELS)))
    own = np.repeat(rng.normal(size=(30, DIM)), 4, axis=0)
    table[[str(i) for i in range(DIM)]] = own / np.linalg.norm(own, axis=1, keepdims=True)
    rows, _ = asked(world, table, examples=[])
    taught = condition(rows, ALL)
    assert (taught["predicted"] == taught["truth"]).mean() < 0.6  # 1 if subjects were recognised


@pytest.mark.slow
def test_the_order_of_pictures_does_not_matter(world: Path) -> None:
    table = people(120)
    one_way = asked(world, table)
    other = asked(world, table.sample(frac=1, random_state=3).reset_index(drop=True))
    key = ["condition", "image_id"]
    pd.testing.assert_frame_equal(
        *(rows.sort_values(key, ignore_index=True) for rows, _ in (one_way, other))
    )
    pd.testing.assert_frame_equal(one_way[1], other[1])


# ---- how draws are combined --------------------------------------------------------------------


@pytest.mark.slow
def test_accuracy_over_draws_longhand(world: Path) -> None:
    table = people(240)
    rows, measures = asked(world, table)
    design = design_of(seen_of(world, table))
    labels = Linear(**fields(world)).labels
    every = rates(tally(rows, labels, design.groups, metrics=["misclassification"]))
    every = every[(every["attribute"] == "age") & (every["group"] == "old")]
    draws = every[every["condition"].str.startswith(few(2))]
    right = 1 - draws["value"].to_numpy()
    assert len(right) == 3
    assert right.std() > 0
    row = one(measures, metric=ACCURACY, condition=few(2), group="old")
    assert row.value == pytest.approx(right.mean())
    spread = one(measures, metric=SPREAD_OVER_DRAWS, condition=few(2), group="old")
    assert spread.value == pytest.approx(np.sqrt(((right - right.mean()) ** 2).sum() / 2))
    down = (draws["high"] - draws["value"]).mean()  # errors up, right labels down
    drawn = stats.t.ppf(0.975, 2) * spread.value / np.sqrt(3)
    assert row.low == pytest.approx(right.mean() - np.hypot(down, drawn))
    alone = one(measures, metric=ACCURACY, condition=ALL, group="old")
    (plain,) = every[every["condition"] == ALL].itertuples()
    ends = 1 - plain.value, 1 - plain.high, 1 - plain.low
    assert (alone.value, alone.low, alone.high) == pytest.approx(ends)


@pytest.mark.slow
def test_the_told_changes_are_those_of_the_run(world: Path) -> None:
    table = people(240)
    rows, measures = asked(world, table)
    probe, design = Linear(**fields(world)), design_of(seen_of(world, table))
    effects = condition_effects(
        rows, probe.labels, design.groups, design.draws, design.confidence, probe.contrasts()
    )
    assert probe.contrasts() == (ALL, few(2))
    wrong = effects[(effects["condition"] == ALL) & (effects["metric"] == "misclassification")]
    everyone = one(wrong, attribute="everyone")
    row = one(measures, metric=ACCURACY_CHANGE)
    expected = -100 * everyone.value, -100 * everyone.high_simultaneous
    assert (row.value, row.low_simultaneous) == pytest.approx(expected)
    gap = one(wrong, attribute="age", comparison="worst_case_gap")
    row = one(measures, metric=GAP_CHANGE["misclassification"], attribute="age")
    assert (row.value, row.group, row.other) == (100 * gap.value, gap.group, gap.other)


# ---- worlds ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_the_words_do_not_reach_is_found_and_for_whom(world: Path) -> None:
    _, measures = asked(world, people(900))
    right = one(measures, metric=ACCURACY_CHANGE)
    # young: right in 0.9 + 0.1 / 3 of pictures, old in 0.1 + 0.9 / 3; afterwards nearly always
    assert right.low_simultaneous < 100 * (1 - (0.9 + 0.1 / 3 + 0.4) / 2) + 1
    assert right.verdict == EXCEEDS
    assert "under 'linear probe, all examples'" in right.statement
    gap = one(measures, metric=GAP_CHANGE["misclassification"], attribute="age")
    assert gap.high_simultaneous < -40
    assert gap.verdict == EXCEEDS
    assert gap.statement.startswith(
        "Asked 'shapes, linear probe', the widest gap by age in wrong labels is "
    )
    side = one(measures, metric=GAP_CHANGE["misclassification"], attribute="side")
    assert side.verdict != EXCEEDS


@pytest.mark.slow
def test_where_the_embedding_holds_no_more_nothing_is_shown(world: Path) -> None:
    # only the words' axes hold the shape, and they hold it for all alike
    _, measures = asked(world, people(900, hidden=0.0, reached=(0.9, 0.9)), examples=[])
    assert one(measures, metric=ACCURACY_CHANGE).verdict == WITHIN
    gaps = measures[measures["metric"] == GAP_CHANGE["misclassification"]]
    assert len(gaps) == 2
    assert not gaps["verdict"].eq(EXCEEDS).any()
    # nothing at all is known: right by chance
    _, measures = asked(world, people(900, hidden=0.0, reached=(0.0, 0.0)), examples=[])
    row = one(measures, metric=ACCURACY, condition=ALL, group="everyone")
    assert row.low < 1 / 3 < row.high


@pytest.mark.slow
def test_a_label_with_too_few_subjects_is_left_out_and_said_so(world: Path) -> None:
    table = people(240)
    stars = np.flatnonzero(table["shape"] == "star")
    table = table.drop(index=stars[2:]).reset_index(drop=True)
    rows, measures = asked(world, table, examples=[])
    taught = condition(rows, ALL)
    assert len(taught) == len(table) - 2
    assert "star" not in set(taught["truth"])
    assert (condition(rows, ENSEMBLE)["truth"] == "star").sum() == 2
    row = one(measures, metric=ACCURACY, condition=ALL, label="star")
    assert row.status == NOT_ASKED
    assert "too few" in row.reason
    assert np.isnan(row.value)


@pytest.mark.slow
def test_pictures_without_truth_are_judged_but_teach_and_count_for_nothing(world: Path) -> None:
    table = people(240)
    table.loc[:9, "shape"] = None
    rows, measures = asked(world, table, examples=[])
    taught = condition(rows, ALL)
    assert len(taught) == 240
    assert taught["truth"].isna().sum() == 10
    assert one(measures, metric=ACCURACY, condition=ALL, group="everyone").n == 230


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"truth": None}, "truth"),
        ({"truth": "shap"}, "no column 'shap'.*Did you mean 'shape'"),
        ({"truth": "age"}, "no label has truth in column 'age'"),
        ({"examples": [0]}, "examples.*1"),
        ({"examples": [4, 500]}, "examples: 500, and fewer than two labels have so many pictures"),
        ({"folds": 2}, "folds.*3"),
        ({"draws": 0}, "draws.*1"),
        ({"thresholds": [0.5]}, "does not know 'thresholds'"),
        ({"label_effects": False}, "a linear probe does not know"),
        ({"only": {"shape": "star"}}, "folds: 3, and fewer than two labels have so many subjects"),
        ({"exampels": [4]}, "examples"),
    ],
)
def test_a_mistake_gets_a_sentence(world: Path, change: dict[str, Any], says: str) -> None:
    write(world, people(120))
    with pytest.raises(InputError, match=f"(?s){says}"):
        validate(Linear, fields(world) | change, "suite").resolve(load(str(world / "card.yaml")))


def test_pictures_lost_on_the_way_get_a_sentence_too(world: Path) -> None:
    table = people(120)
    write(world, table)
    circles = table[table["shape"] == "circle"].reset_index(drop=True)
    with pytest.raises(InputError, match="linear probe, all examples of 'shapes': fewer than two"):
        Linear(**fields(world)).outcomes(seen_of(world, circles))


def test_examples_are_sorted_and_named_once() -> None:
    probe = Linear(label_set="people-gender", truth="gender", examples=(16, 1, 16))
    assert probe.contrasts() == (
        ALL, "linear probe, 16 examples a class", "linear probe, 1 example a class",
    )  # fmt: skip


# ---- a whole run -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_tells_zero_shot_and_probe_side_by_side(world: Path) -> None:
    table = people(180)
    write(world, table)
    images: dict[Any, np.ndarray] = {}
    for i, path in enumerate(table["path"]):
        pixels = np.frombuffer(i.to_bytes(4, "big") * 12, np.uint8).reshape(4, 4, 3)
        picture = Image.fromarray(pixels)
        picture.save(world / path)
        images[picture_key(picture)] = table.loc[i, [str(a) for a in range(DIM)]].to_numpy(float)
    encoder = PlantedEncoder(images, {text: vector(text) for text in LABELS})
    suite = {"name": "world", "model": "planted", "dataset": str(world / "card.yaml")}
    suite |= {"attributes": ["age", "side"], "probes": [fields(world)]}
    (world / "suite.yaml").write_text(yaml.safe_dump(suite | {"confidence": {"resamples": 200}}))
    loaded = load_suite(str(world / "suite.yaml"))
    run = carry_out(loaded, world / "runs", Store(world / "cache"), lambda: encoder)
    assert load_suite(str(run.path / "suite.yaml")).resolved() == loaded.resolved()
    assert set(run.effects["condition"]) == {ALL, few(2)}
    page = render(run).with_suffix(".md").read_text(encoding="utf-8")
    section = page.split("\n## 11. ")[1].split("\n## 12. ")[0]
    assert "### shapes, linear probe" in section
    assert "| widest gap in errors by age |" in section
    assert "| Group | Pictures | zero-shot | 2 examples | all examples |" in section
    assert "(figures/learning-curves-shapes-linear-probe-age.png)" in section
    told = [f for f in run.findings if f["metric"] == ACCURACY_CHANGE]
    assert [f["verdict"] for f in told] == [EXCEEDS]


@pytest.mark.slow
def test_the_bundled_suite_is_sound() -> None:
    suite = load_suite("linear").resolve()
    assert {probe.kind for probe in suite.asked} == {"linear"}
    assert all(len(probe.contrasts()) == 4 for probe in suite.asked)

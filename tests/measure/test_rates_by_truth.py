"""Rates by right answer against scikit-learn and fairlearn, planted and null worlds, reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds
from fairlearn.metrics import equalized_odds_difference
from sklearn.metrics import balanced_accuracy_score, recall_score

from audit.core.errors import InputError
from audit.core.tables import CHOICES, ENSEMBLE, NOT_JUDGED, OK, TOO_FEW, UNDEFINED
from audit.data.dataset import load
from audit.data.labels import LabelSet, load_label_set
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.measures import measured
from audit.measure.metrics import Groups
from audit.measure.rates_by_truth import RatesByTruth
from audit.probes.classification.probe import Classification
from audit.report.exports.public import write_public
from audit.report.render import render
from audit.store.embeddings import Store


def label_set(*texts: str) -> LabelSet:
    fields = {"name": "own", "version": 1, "purpose": "a test", "source": "this project: a test"}
    return validate(LabelSet, fields | {"licence": "none", "labels": list(texts)}, "test")


class World:
    """Choices of K labels by pictures of groups, with what is measured of them."""

    def __init__(
        self,
        truth: Any,
        chosen: Any,
        group: Any,
        subject: Any = None,
        classes: tuple[str, ...] = ("a", "b"),
    ) -> None:
        n = len(truth)
        self.truth, self.chosen = np.array(classes)[truth], np.array(classes)[chosen]
        self.group = np.asarray(group)
        ids = [f"i{i:05d}" for i in range(n)]
        subject = np.arange(n) if subject is None else np.asarray(subject)
        names, clusters = np.unique(subject.astype(str), return_inverse=True)
        known = np.unique(self.group)
        member = np.column_stack([np.ones(n, bool), *(self.group == g for g in known)])
        index = pd.MultiIndex.from_tuples(
            [("everyone", "everyone"), *(("who", str(g)) for g in known)],
            names=["attribute", "group"],
        )
        rows = {key: i for i, key in enumerate(ids)}
        self.groups = Groups(index, member, clusters, tuple(names), rows)
        self.choices = CHOICES.conform(
            pd.DataFrame(
                {"probe": "classification", "task": "own", "condition": ENSEMBLE, "image_id": ids,
                 "predicted": self.chosen, "truth": self.truth, "score": 1.0, "margin": 1.0,
                 "tie": False}
            )
        )  # fmt: skip
        self.labels = label_set(*classes)

    def measured(self, resamples: int = 300, min_group: int = 5) -> pd.DataFrame:
        c = Confidence(min_group=min_group, resamples=resamples)
        draws = self.groups.draws(self.groups.rows, 0, resamples)
        found = RatesByTruth.of(self.choices, self.labels, self.groups, draws, c)
        return measured(found.every(), probe="classification", task="own")


def random(seed: int, n: int, classes: int, recall: Any, per: int = 1) -> World:
    """Groups x, y, z; of each right answer the share ``recall[group][class]`` is right."""
    rng = np.random.default_rng(seed)
    subject = np.arange(n) // per
    group = rng.integers(0, 3, subject.max() + 1)[subject]
    truth = rng.integers(0, classes, n)
    own = rng.random(subject.max() + 1)[subject]
    luck = np.where(rng.random(n) < 0.3, own, rng.random(n)) if per > 1 else rng.random(n)
    right = luck < np.asarray(recall)[group, truth]
    other = (truth + rng.integers(1, classes, n)) % classes
    names = tuple("abcd"[:classes])
    return World(truth, np.where(right, truth, other), np.array(list("xyz"))[group], subject, names)


def one(table: pd.DataFrame, **where: Any) -> Any:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


# ---- oracles -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_recall_and_its_mean_are_those_of_scikit_learn(classes: int) -> None:
    world = random(0, 600, classes, [[0.9] * classes, [0.7] * classes, [0.5] * classes])
    found = world.measured()
    for group in ("everyone", "x", "y", "z"):
        inside = np.ones(600, bool) if group == "everyone" else world.group == group
        truth, chosen = world.truth[inside], world.chosen[inside]
        recalls = recall_score(truth, chosen, average=None)
        for name, recall in zip("abc", recalls, strict=False):
            row = one(found, metric="true_positive_rate", label=name, group=group)
            assert row.value == pytest.approx(recall)
            assert row.n == (truth == name).sum()
            assert row.low < row.value < row.high
            row = one(found, metric="false_positive_rate", label=name, group=group)
            assert row.value == pytest.approx((chosen[truth != name] == name).mean())
            assert ("in the mix" in row.reason) == (classes > 2)
        row = one(found, metric="balanced_recall", group=group)
        assert row.value == pytest.approx(balanced_accuracy_score(truth, chosen))
        assert row.low < row.value < row.high


def test_equalised_odds_is_that_of_fairlearn() -> None:
    world = random(1, 500, 2, [[0.9, 0.6], [0.7, 0.8], [0.65, 0.6]])
    row = one(world.measured(), metric="equalised_odds", attribute="who")
    expected = equalized_odds_difference(
        world.truth == "a", world.chosen == "a", sensitive_features=world.group
    )
    assert row.value == pytest.approx(expected)
    assert row.low_simultaneous <= row.value <= row.high_simultaneous
    assert row.family_size == 2 * 3


def test_families_hold_one_right_answer_each() -> None:
    """Three pairs of groups in each; a gap is between groups, among pictures of that answer."""
    world = random(2, 900, 3, [[0.9, 0.5, 0.7], [0.5, 0.9, 0.7], [0.7, 0.7, 0.7]])
    found = world.measured()
    gaps = found[found["metric"] == "true_positive_rate_gap"]
    assert list(gaps["family"]) == [f"own, right answer '{c}', by who" for c in "abc"]
    assert set(gaps["family_size"]) == {3}
    for row in gaps.itertuples():
        rates = [
            one(found, metric="true_positive_rate", label=row.label, group=g).value
            for g in (row.group, row.other)
        ]
        assert row.value == pytest.approx(rates[0] - rates[1])
        each = found[(found["metric"] == "true_positive_rate") & (found["label"] == row.label)]
        each = each[each["attribute"] == "who"]["value"]
        assert row.value == pytest.approx(each.max() - each.min())
    assert one(gaps, label="a").q < 0.001


@pytest.mark.slow
def test_another_right_answer_moves_no_family() -> None:
    """Recall of 'a' has the same bounds and q whatever became of pictures of 'b'."""
    world = random(3, 400, 2, [[0.9, 0.9], [0.7, 0.9], [0.6, 0.9]])
    changed = random(3, 400, 2, [[0.9, 0.1], [0.7, 0.5], [0.6, 0.2]])
    columns = ["value", "low_simultaneous", "high_simultaneous", "q", "family_size"]
    rows = [
        one(w.measured(), metric="true_positive_rate_gap", label="a")[columns]
        for w in (world, changed)
    ]
    pd.testing.assert_series_equal(*rows, check_names=False)


# ---- worlds --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("n", "per", "recall"), [(60, 1, 0.95), (150, 3, 0.8)])
def test_balanced_recall_is_covered_and_a_null_world_shows_no_gap(
    n: int, per: int, recall: float
) -> None:
    held, apart = [], []
    for seed in range(60):
        found = random(1000 + seed, n, 2, [[recall, 0.6]] * 3, per).measured(100)
        row = one(found, metric="balanced_recall", group="everyone")
        held.append(row.low <= (recall + 0.6) / 2 <= row.high)
        for metric in ("balanced_recall_gap", "equalised_odds"):
            apart.append(one(found, metric=metric, attribute="who").low_simultaneous > 0)
    assert np.mean(held) >= 0.88  # 95 % less three errors of 60 worlds
    assert np.mean(apart) <= 0.05


def test_a_planted_gap_is_found() -> None:
    found = random(5, 900, 2, [[0.95, 0.9], [0.6, 0.9], [0.9, 0.9]]).measured()
    for metric in ("balanced_recall_gap", "equalised_odds"):
        row = one(found, metric=metric, attribute="who")
        assert "y" in (row.group, row.other)
        assert row.low_simultaneous > 0.05
    assert "that of 'a'" in one(found, metric="equalised_odds", attribute="who").method


def test_all_right_has_an_interval_with_width() -> None:
    world = World([0, 1] * 30, [0, 1] * 30, ["x", "y"] * 15 + ["y", "x"] * 15)
    row = one(world.measured(), metric="balanced_recall", group="everyone")
    assert row.value == row.high == 1
    assert row.low < 0.95


def test_pictures_of_both_answers_of_a_subject_widen_the_interval() -> None:
    """A subject's two pictures, one of each right answer, are right together or not at all."""
    rng = np.random.default_rng(0)
    right = rng.random(100) < 0.7
    truth = np.tile([0, 1], 100)
    chosen = np.where(np.repeat(right, 2), truth, 1 - truth)
    group = np.repeat(rng.choice(["x", "y"], 100), 2)
    widths = []
    for subject in (np.repeat(np.arange(100), 2), np.arange(200)):
        row = one(World(truth, chosen, group, subject).measured(2000), metric="balanced_recall",
                  group="everyone")  # fmt: skip
        widths.append(row.high - row.low)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(2), rel=0.06)


# ---- what can't be said --------------------------------------------------------------------------


def test_a_group_without_a_right_answer_has_no_mean_and_is_named() -> None:
    truth = np.array([0, 1] * 20 + [0] * 12)
    world = World(truth, truth, ["x"] * 20 + ["y"] * 20 + ["z"] * 12)
    found = world.measured()
    row = one(found, metric="balanced_recall", group="z")
    assert (row.status, np.isnan(row.value)) == (UNDEFINED, True)
    assert "right answer 'b': no picture" in row.reason
    gap = one(found, metric="balanced_recall_gap", attribute="who")
    assert gap.status == OK
    assert "not compared: z (right answer 'b'" in gap.method
    gap = one(found, metric="true_positive_rate_gap", label="b")
    assert "not compared: z" in gap.method


def test_where_groups_are_the_right_answers_nothing_is_compared() -> None:
    truth = np.array([0, 1] * 30)
    found = World(truth, truth, np.array(["x", "y"])[truth]).measured()
    for metric in ("balanced_recall_gap", "equalised_odds"):
        row = one(found, metric=metric, attribute="who")
        assert (row.status, np.isnan(row.value)) == (TOO_FEW, True)
        assert row.reason


@pytest.mark.parametrize(
    ("fields", "told"),
    [({"by_truth": True}, "without 'truth' nothing is scored")],
)
def test_bad_input_is_a_sentence(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as error:
        validate(Classification, {"label_set": "people-gender"} | fields, "suite")
    assert told in str(error.value)


# ---- a run ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_has_them_when_asked_and_no_finding_of_them(world: Path) -> None:
    """Nor do they tell in a public copy what six women among the old were taken for."""
    table = worlds.people(world, 120)
    old = table.index[table["age_group"] == "old"]
    table.loc[old, "gender"] = ["female"] * 6 + ["male"] * (len(old) - 6)
    table.to_csv(world / "people.csv", index=False)
    texts = load_label_set("people-gender").texts

    def chosen(row: Any) -> str:
        return texts[int((row["gender"] == "male") ^ (row["u"] < 0.2))]

    model = worlds.planted(world, table, "people-gender", chosen)
    runs = []
    for asked in (False, True):
        path = worlds.suite_file(world, "people-gender", "gender", min_group=5)
        text = path.read_text().replace(
            "truth: gender", f"truth: gender, by_truth: {asked}".lower()
        )
        path.write_text(text.replace("acknowledge: [people-gender]", ""))
        assert load(world / "card.yaml").name == "tiny"
        runs.append(carry_out(load_suite(str(path)), world / f"runs{asked}",
                              Store(world / "cache"), lambda: model))  # fmt: skip
    plain, more = runs
    assert plain.measures.empty
    assert set(more.measures["verdict"]) == {NOT_JUDGED}
    of_old = more.measures[more.measures["group"] == "old"]
    female = of_old[(of_old["metric"] == "true_positive_rate") & (of_old["label"] == texts[0])]
    assert set(female["n"]) == {6}
    copy = write_public(more, world / "public").measures
    in_copy = copy[copy["attribute"] == "age_group"]
    assert in_copy["value"].isna().all()
    assert copy.loc[copy["attribute"] == "gender", "value"].notna().any()
    assert {"balanced_recall", "equalised_odds"} <= set(more.measures["metric"])
    assert [f["id"] for f in plain.findings] == [f["id"] for f in more.findings]
    assert "balanced recall" not in render(plain).read_text()
    page = render(more).read_text()
    for words in ("people-gender, by right answer", "equalised odds", "balanced recall"):
        assert words in page
    for name in ("rates", "disparities"):
        pd.testing.assert_frame_equal(getattr(plain, name), getattr(more, name))

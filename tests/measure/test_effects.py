"""Effects of labels and thresholds against asking anew, planted worlds and longhand softmax."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import special

from audit.core.errors import InputError
from audit.core.tables import (
    ADD,
    DROP,
    EFFECTS,
    ENSEMBLE,
    EXCEEDS,
    NOT_ASKED,
    OK,
    SWAP,
    THRESHOLDS,
    TOO_FEW,
    WITHIN,
    WORST,
)
from audit.data.labels import Label, LabelSet
from audit.measure import label_ablation as edits
from audit.measure.confidence import Confidence, Margin
from audit.measure.effects import change_interval, condition_effects, gap_bounds, pick_questions
from audit.measure.label_ablation import label_effects
from audit.measure.metrics import Groups, rates, tally
from audit.measure.thresholds import threshold_rates
from audit.stats.clustered import Sample, rate_interval
from audit.stats.counts import sample_of
from audit.stats.multiplicity import compare
from audit.stats.scoring import Scoring

SURE = Confidence(resamples=200)
DIM = 16


def label_set(*labels: dict[str, object], **more: object) -> LabelSet:
    """A label set of a test."""
    return LabelSet.model_validate(
        {"name": "t", "version": 1, "purpose": "p", "source": "s", "licence": "l"}
        | {"labels": labels, **more}
    )


THIEF = {"text": "thief", "tags": ["crime"], "harm": "stereotyping", "counters": ["visitor"]}
LABELS = label_set(
    THIEF,
    {"text": "criminal", "tags": ["crime"], "counters": ["visitor", "person"]},
    {"text": "person", "tags": ["neutral"]},
    {"text": "visitor", "tags": ["counter"]},
    {"text": "animal", "tags": ["nonhuman"]},
    additions={
        "child": {"text": "child", "tags": ["counter"]},
        "suspect": {"text": "suspect", "tags": ["suspicion"], "counters": ["person"]},
    },
)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length in single precision."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def groups_of(code: np.ndarray, subject: np.ndarray, names: str = "abcdefgh") -> Groups:
    """Everyone, and the groups of one attribute."""
    k = int(code.max()) + 1
    index = pd.MultiIndex.from_tuples(
        [("everyone", "everyone"), *(("age", names[j]) for j in range(k))],
        names=["attribute", "group"],
    )
    member = np.column_stack([np.ones(len(code), bool), *(code == j for j in range(k))])
    ids, cluster = np.unique([f"s{s}" for s in subject], return_inverse=True)
    rows = {f"i{i}": i for i in range(len(code))}
    return Groups(index, member, cluster, tuple(ids), rows)


class World:
    """Random pictures in random groups, or pictures that answer as told."""

    def __init__(
        self, n: int = 400, labels: LabelSet = LABELS, per: int = 1, k: int = 3, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.labels, self.subject = labels, np.arange(n) // per
        self.classes = unit(rng.normal(size=(len(labels.labels), DIM)))
        self.additions = {label: unit(rng.normal(size=DIM)) for label in labels.additions.values()}
        self.vectors = unit(rng.normal(size=(n, DIM)))
        self.code = rng.integers(k, size=self.subject.max() + 1)[self.subject]
        self.truth = rng.integers(-1, len(labels.labels), size=n)

    @property
    def groups(self) -> Groups:
        return groups_of(self.code, self.subject)

    def effects(self, confidence: Confidence = SURE, **more: object) -> pd.DataFrame:
        """The table EFFECTS of this world, checked."""
        groups = self.groups
        draws = groups.draws(groups.rows, 1, confidence.resamples)
        args = self.vectors, self.classes, self.labels, groups, draws, confidence, self.additions
        return EFFECTS.validate(label_effects(*args, **more))  # type: ignore[arg-type]

    def asked(self, texts: list[str]) -> np.ndarray:
        """What is chosen among these texts, asked anew."""
        rows = dict(zip(self.labels.texts, self.classes, strict=True))
        rows |= {label.text: row for label, row in self.additions.items()}
        offered = np.array([rows[t] for t in texts], dtype=np.float64)
        at = (self.vectors.astype(np.float64) @ offered.T).argmax(axis=1)
        return np.array(texts, dtype=object)[at]


def one(table: pd.DataFrame, **where: object) -> pd.Series:
    """The one row that matches."""
    found = some(table, **where)
    assert len(found) == 1, found
    return found.iloc[0]


def some(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def sides(edit: pd.Series, labels: LabelSet) -> tuple[list[str], list[str]]:
    """The labels offered before and after an edit."""
    before = [t for t in labels.texts if edit["edit"] != SWAP or t != edit["added"]]
    if edit["edit"] == SWAP and edit["dropped"] not in before:
        before.append(edit["dropped"])
    after = [t for t in labels.texts if t != edit["dropped"]]
    if edit["added"] and edit["added"] not in after:
        after.append(edit["added"])
    return before, after


def outcomes(chosen: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Rows of the table CHOICES."""
    return pd.DataFrame(
        {
            "probe": "classification",
            "task": "t",
            "condition": ENSEMBLE,
            "image_id": [f"i{i}" for i in range(len(chosen))],
            "predicted": chosen,
            "truth": truth,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("per", [1, 3])
def test_every_change_is_that_of_asking_the_edited_set_anew(per: int) -> None:
    world = World(per=per)
    table = world.effects(truth=world.truth, every_label=True)
    whole = LABELS.plus("child").plus("suspect")
    names = np.array([*LABELS.texts, None], dtype=object)
    planned = table.drop_duplicates(["edit", "dropped", "added"])
    # five drops, two additions, three swaps within the set and one into the place of an addition
    assert planned["edit"].value_counts().to_dict() == {DROP: 5, ADD: 2, SWAP: 4}
    for _, edit in planned.iterrows():
        truth = names[world.truth]
        truth = np.where(np.isin(truth, [edit["dropped"], edit["added"]]), None, truth)
        chosen = [world.asked(texts) for texts in sides(edit, LABELS)]
        answers = [outcomes(c, truth) for c in chosen]
        before, after = (rates(tally(a, whole, world.groups)) for a in answers)
        rows = some(table, edit=edit["edit"], dropped=edit["dropped"], added=edit["added"])
        for _, row in some(rows, comparison="rate").iterrows():
            at = {name: row[name] for name in ("metric", "label", "attribute", "group")}
            a, b = one(before, **at), one(after, **at)
            assert (row["n"], row["subjects"]) == (a["n"], a["subjects"])
            assert row[["before", "after"]].tolist() == pytest.approx([a["value"], b["value"]])
            assert row["value"] == pytest.approx(b["value"] - a["value"])
            assert row["gained"] - row["lost"] == b["events"] - a["events"]
        for _, row in some(rows, comparison=WORST).iterrows():
            at = {name: row[name] for name in ("metric", "label", "attribute")}
            a, b = (np.ptp(some(t, **at)["value"]) for t in (before, after))
            assert row[["before", "after", "value"]].tolist() == pytest.approx([a, b, b - a])
            assert row["low_simultaneous"] <= row["value"] <= row["high_simultaneous"]


@pytest.mark.slow
def test_gained_and_lost_are_counted_picture_by_picture() -> None:
    world = World()
    table = world.effects()
    a = np.isin(world.asked([*LABELS.texts]), ["thief", "criminal"])
    b = np.isin(world.asked([t for t in LABELS.texts if t != "person"]), ["thief", "criminal"])
    for j, group in enumerate("abc"):
        row = one(table, edit=DROP, dropped="person", label="crime", comparison="rate", group=group)
        here = world.code == j
        assert (row["gained"], row["lost"]) == ((b & ~a & here).sum(), (a & ~b & here).sum())
        assert row["lost"] == 0 < row["gained"]


def planted(n: int = 600, carrier: float = 0.9) -> World:
    """Group b is called a crime for half of its pictures, 'thief' for ``carrier`` of these.

    The second choice is 'criminal' never, 'visitor' for thieves; 'child' draws group b's thieves.
    """
    labels = label_set(
        THIEF,
        {"text": "criminal", "tags": ["crime"]},
        {"text": "person", "tags": ["neutral"]},
        {"text": "visitor", "tags": ["counter"]},
        additions={
            "child": {"text": "child", "tags": ["counter"]},
            "nobody": {"text": "nobody", "tags": ["counter"]},
        },
    )
    world = World(n, labels, k=2)
    axes = np.eye(DIM)
    world.classes = unit(axes[:4])
    world.additions = dict(zip(labels.additions.values(), unit(axes[4:6]), strict=True))
    place = np.arange(n) // 2
    world.code, half = np.arange(n) % 2, n // 4
    crime = (world.code == 1) & (place < half)
    thief = crime & (place < carrier * half)
    order = np.where(thief, 0, np.where(crime, 1, 2))
    second = np.where(thief, 3, 2)
    rows = axes[order] + 0.5 * axes[second] * (order != second)[:, None]
    world.vectors = unit(rows + 1.5 * axes[4] * thief[:, None])
    return world


@pytest.mark.slow
def test_a_label_that_carries_a_family_is_found_and_so_is_the_counter_label_that_relieves_it() -> (
    None
):
    world = planted()
    table = world.effects(Confidence(resamples=200, margins={"default": Margin(difference=0.1)}))
    rate = {"label": "crime", "comparison": "rate", "group": "b"}
    thief = one(table, edit=DROP, dropped="thief", **rate)
    assert thief["carries"] == pytest.approx(0.9)
    assert thief["carries_low"] < 0.9 < thief["carries_high"]
    assert (thief["before"], thief["after"]) == pytest.approx((0.5, 0.05))
    assert thief["verdict"] == EXCEEDS
    assert thief["high_simultaneous"] < -0.1
    criminal = one(table, edit=DROP, dropped="criminal", **rate)
    assert (criminal["carries"], criminal["value"]) == pytest.approx((0.1, -0.05))
    assert criminal["verdict"] != EXCEEDS
    child = one(table, edit=ADD, added="child", **rate)
    assert (child["value"], child["verdict"]) == (pytest.approx(-0.45), EXCEEDS)
    gap = one(table, edit=ADD, added="child", label="crime", comparison=WORST)
    assert (gap["before"], gap["after"]) == pytest.approx((0.5, 0.05))
    assert (gap["group"], gap["other"], gap["verdict"]) == ("b", "a", EXCEEDS)
    assert gap["high_simultaneous"] < -0.1


@pytest.mark.slow
def test_a_swap_compares_two_sets_of_one_size() -> None:
    row = one(planted().effects(), edit=SWAP, label="crime", comparison="rate", group="b")
    assert (row["dropped"], row["added"]) == ("thief", "visitor")
    # without 'visitor' a thief is still a thief; with it in the place of 'thief', a visitor
    assert (row["before"], row["after"]) == pytest.approx((0.5, 0.05))


@pytest.mark.slow
def test_a_label_nobody_chooses_changes_nothing_and_the_interval_says_how_little() -> None:
    table = planted().effects()
    rows = some(table, edit=ADD, added="nobody")
    assert (rows["value"] == 0).all()
    rate = one(rows, label="crime", comparison="rate", group="b")
    # of 300 independent pictures none was lost, and none could be gained
    assert (rate["low"], rate["high"]) == (pytest.approx(-(1 - 0.025 ** (1 / 300))), 0)
    assert rate["verdict"] == WITHIN
    gap = one(rows, label="crime", comparison=WORST)
    assert gap["low_simultaneous"] < 0 < gap["high_simultaneous"]


@pytest.mark.slow
def test_an_edit_that_can_only_lose_has_the_interval_of_what_it_lost() -> None:
    world = planted()
    row = one(
        world.effects(), edit=DROP, dropped="criminal", label="crime", comparison="rate", group="b"
    )
    lost = sample_of((np.arange(300) < 15)[:, None], np.zeros(300, int), np.arange(300), 1)
    low, high = rate_interval(lost)
    assert (row["low"], row["high"]) == pytest.approx((-high[0, 0], -low[0, 0]))


@pytest.mark.slow
def test_the_order_of_pictures_and_the_size_of_blocks_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(n=200, per=2)
    whole = world.effects(truth=world.truth)
    kept = thresholds(world)
    monkeypatch.setattr(edits, "_AT_ONCE", 33)
    pd.testing.assert_frame_equal(world.effects(truth=world.truth), whole)
    pd.testing.assert_frame_equal(thresholds(world), kept)
    order = np.random.default_rng(3).permutation(200)
    for name in ("vectors", "subject", "code", "truth"):
        setattr(world, name, getattr(world, name)[order])
    pd.testing.assert_frame_equal(world.effects(truth=world.truth), whole)
    pd.testing.assert_frame_equal(thresholds(world), kept)


@pytest.mark.slow
def test_small_groups_keep_their_value_and_enter_no_gap() -> None:
    world = World(n=100, k=2)
    world.code = np.r_[np.zeros(97, int), np.ones(3, int)]
    table = world.effects()
    small = some(table, group="b", comparison="rate")
    assert set(small["status"]) == {TOO_FEW}
    assert small["value"].notna().all()
    assert small["low_simultaneous"].isna().all()
    assert (small["reason"] == "fewer than 5 subjects").all()
    gaps = some(table, comparison=WORST)
    assert set(gaps["status"]) == {TOO_FEW}
    assert gaps["value"].isna().all()


def test_a_set_of_two_has_no_label_to_drop() -> None:
    world = World(
        labels=label_set(
            {"text": "thief", "tags": ["crime"], "counters": ["person"]},
            {"text": "person", "tags": ["neutral"]},
            additions={"child": {"text": "child", "tags": ["counter"]}},
        )
    )
    table = world.effects()
    for edit in (DROP, SWAP):
        rows = some(table, edit=edit)
        assert set(rows["status"]) == {NOT_ASKED}
        assert (rows["reason"] == "one label would be left, and that is no choice").all()
        assert rows["value"].isna().all()
    assert OK in set(some(table, edit=ADD)["status"])


@pytest.mark.slow
def test_a_set_without_additions_is_asked_by_drops_and_swaps() -> None:
    world = World(n=100)
    world.additions = {}
    assert set(world.effects()["edit"]) == {DROP, SWAP}


@pytest.mark.slow
def test_misclassification_without_a_known_answer_is_left_out() -> None:
    world = World(n=100)
    assert "misclassification" not in set(world.effects(truth=np.full(100, -1))["metric"])


def split(x: Sample) -> tuple[Sample, Sample]:
    """The first and second half of the questions."""
    q = len(x.n) // 2
    return pick_questions(x, slice(q)), pick_questions(x, slice(q, None))


@pytest.mark.parametrize(
    ("per", "gain", "loss"), [(1, 0.03, 0.05), (1, 0.2, 0.25), (3, 0.05, 0.1), (1, 0.004, 0.0)]
)
def test_intervals_of_changes_cover(per: int, gain: float, loss: float) -> None:
    """Each question is a world of its own, asked of the same 100 subjects."""
    rng, worlds, subjects = np.random.default_rng(7), 600, 100
    u = np.repeat(rng.random((subjects, worlds)), per, axis=0)
    # each picture as its subject, or with one chance in two as somebody else
    own = rng.random(u.shape)
    u = np.where(rng.random(u.shape) < 0.5, u, own) if per > 1 else u
    happened = np.hstack([u < gain, u > 1 - loss])
    at, who = np.zeros(len(u), int), np.repeat(np.arange(subjects), per)
    gained, lost = split(sample_of(happened, at, who, 1, resamples=500))
    low, high = change_interval(gained, lost)
    covered = ((low <= gain - loss) & (gain - loss <= high)).mean()
    assert covered >= 0.93
    assert (low <= gained.rate - lost.rate).all()


def test_gap_bounds_are_those_of_the_family_of_comparisons() -> None:
    rng = np.random.default_rng(2)
    code = rng.integers(4, size=400)
    happened = rng.random((400, 3)) < np.array([0.3, 0.5, 0.01])
    sample = sample_of(happened, code, np.arange(400), 4, resamples=300)
    pairs, other = np.triu_indices(4, 1)
    usable = np.ones((3, 6), bool)
    family = compare(sample, pairs, other, usable)
    got = gap_bounds(sample, pairs, other, usable, 0.95)
    assert family.studentised.any()
    assert not family.studentised.all()
    np.testing.assert_allclose(
        got, [family.difference.low_all, family.difference.high_all], atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"additions": {Label(text="Thief"): np.ones(DIM)}}, "'Thief' is already in the label set"),
        ({"vectors": np.ones((3, DIM))}, "vectors of 3 pictures, groups of 100"),
        ({"classes": np.ones((2, DIM))}, r"'t' needs \(5, 16\)"),
        (
            {"additions": {Label(text="child"): np.ones(3)}},
            "addition 'child': a class embedding of shape",
        ),
        ({"truth": np.full(100, 5)}, "from -1 .unknown. to 4"),
        ({"truth": np.zeros(7, int)}, "truth of 7 pictures"),
    ],
)
def test_bad_input_is_told_in_a_sentence(change: dict[str, object], told: str) -> None:
    world = World(n=100)
    truth = change.pop("truth", None)
    for name, value in change.items():
        setattr(world, name, value)
    groups = groups_of(world.code, world.subject)
    draws = groups.draws(groups.rows, 1, 100)
    args = world.vectors, world.classes, LABELS, groups, draws, SURE, world.additions
    with pytest.raises(InputError, match=told):
        label_effects(*args, truth=truth)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_below_no_threshold(scale: float) -> None:
    world = World(n=40)
    args = world.vectors, world.classes, LABELS, Scoring(scale), world.groups, (0.1,)
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match="are not finite"):
        threshold_rates(*args, sweep=())


def thresholds(world: World, scale: float = 20.0, **more: object) -> pd.DataFrame:
    """The table THRESHOLDS of a world, checked."""
    groups = world.groups
    draws = groups.draws(groups.rows, 1, SURE.resamples)
    args = world.vectors, world.classes, world.labels, Scoring(scale), groups
    settings = {"draws": draws, "confidence": SURE, "truth": world.truth, **more}
    return THRESHOLDS.validate(threshold_rates(*args, **settings))  # type: ignore[arg-type]


@pytest.mark.slow
def test_threshold_rates_are_those_of_softmax_longhand() -> None:
    world = World(per=2)
    table = thresholds(world, thresholds=(0.005, 0.04), sweep=(0.2,))
    logits = 20 * world.vectors.astype(float) @ world.classes.astype(float).T
    for threshold in (0.005, 0.04, 0.2):
        kept = special.softmax(logits, axis=1) > threshold
        known = world.truth >= 0
        hit = kept[np.arange(400), world.truth]
        asked = {
            ("family_kept", "crime"): (kept[:, :2].any(axis=1), known | True),
            ("family_kept", "nonhuman"): (kept[:, 4], known | True),
            ("mean_labels_kept", "any label"): (kept.sum(axis=1), known | True),
        }
        if threshold < 0.2:
            asked |= {
                ("label_kept", t): (kept[:, i], known | True) for i, t in enumerate(LABELS.texts)
            }
            asked["right_label_missed", "any label"] = ~hit, known
            asked["wrong_label_kept", "any label"] = kept.sum(axis=1) > hit, known
        for (metric, label), (value, of) in asked.items():
            rows = some(table, threshold=threshold, metric=metric, label=label)
            for j, group in enumerate("abc"):
                row = one(rows, group=group, comparison="rate")
                here = of & (world.code == j)
                assert (row["n"], row["events"]) == (here.sum(), value[here].sum())
                assert row["value"] == pytest.approx(value[here].mean())
                assert row["low"] <= row["value"] <= row["high"]
            if metric != "mean_labels_kept":
                gap = one(rows, comparison=WORST)
                each = [value[of & (world.code == j)].mean() for j in range(3)]
                assert gap["value"] == pytest.approx(np.ptp(each))
                assert gap["low_simultaneous"] <= gap["value"] <= gap["high_simultaneous"]
    asked_at = set(some(table, metric="label_kept")["threshold"])
    assert asked_at == {0.005, 0.04}
    curve = some(table, threshold=0.2, comparison=WORST)
    assert set(curve["verdict"]) == {"not judged"}


def test_the_rate_of_a_label_kept_has_the_interval_of_a_rate() -> None:
    world = World(per=2)
    row = one(
        thresholds(world), threshold=0.04, metric="label_kept", label="thief", group="everyone"
    )
    kept = special.softmax(
        20 * world.vectors.astype(float) @ world.classes.astype(float).T, axis=1
    )[:, :1]
    sample = sample_of(
        kept > 0.04, np.zeros(400, int), [f"s{s}" for s in world.subject], 1, 1, SURE.resamples
    )
    low, high = rate_interval(sample)
    assert (row["low"], row["high"]) == pytest.approx((low[0, 0], high[0, 0]))


@pytest.mark.slow
def test_the_mean_number_of_labels_kept_covers() -> None:
    rng, inside = np.random.default_rng(11), []
    for _ in range(150):
        world = World(n=120, per=3, k=1, seed=5)
        subject = rng.normal(size=(40, DIM))[world.subject]
        world.vectors = unit(subject + rng.normal(size=(120, DIM)))
        groups = world.groups
        args = world.vectors, world.classes, LABELS, Scoring(10.0), groups, (0.1,)
        table = threshold_rates(*args, sweep=())
        row = one(table, metric="mean_labels_kept", group="a")
        inside.append((row["low"], row["high"], row["value"]))
    low, high, value = np.array(inside).T
    assert np.mean((low <= value.mean()) & (value.mean() <= high)) >= 0.9


def test_thresholds_find_a_planted_gap_and_judge_it() -> None:
    table = thresholds(planted(), scale=100.0, truth=None)
    gap = one(table, threshold=0.04, metric="family_kept", label="crime", comparison=WORST)
    assert (gap["group"], gap["other"], gap["verdict"]) == ("b", "a", EXCEEDS)
    assert gap["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 4.0, float("nan")])
def test_a_threshold_is_a_probability(value: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        thresholds(World(n=50), thresholds=(0.005, value))
    with pytest.raises(InputError, match="sweep"):
        thresholds(World(n=50), sweep=(value,))


def test_a_percentage_is_recognised_and_no_threshold_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 0.04"):
        thresholds(World(n=50), thresholds=(4.0,))
    with pytest.raises(InputError, match="none given"):
        thresholds(World(n=50), thresholds=())


# --- another condition against the headline ------------------------------------------------------


def two_conditions(moved: float, seed: int = 0, n: int = 900) -> tuple[pd.DataFrame, World]:
    """Choices in the headline and in a fog in which group 'a' turns to 'thief' more often."""
    world = World(n=n, k=2, seed=seed)
    rng = np.random.default_rng([seed, 1])
    texts = np.array(world.labels.texts, dtype=object)
    truth = np.full(n, "person", dtype=object)
    before = np.where(rng.random(n) < 0.1, "thief", "person").astype(object)
    turned = (rng.random(n) < moved) & (world.code == 0)
    after = np.where(turned | (rng.random(n) < 0.05), texts[0], before)
    fog = outcomes(after, truth).assign(condition="fog 3")
    return pd.concat([outcomes(before, truth), fog], ignore_index=True), world


def of_conditions(choices: pd.DataFrame, world: World) -> pd.DataFrame:
    groups = world.groups
    draws = groups.draws(groups.rows, 1, SURE.resamples)
    found = condition_effects(choices, world.labels, groups, draws, SURE, ["fog 3"])
    return EFFECTS.validate(found)


@pytest.mark.slow
def test_a_condition_that_hurts_one_group_is_found_and_its_numbers_are_the_rates() -> None:
    choices, world = two_conditions(0.4)
    found = of_conditions(choices, world)
    wide = choices.pivot(index="image_id", columns="condition", values="predicted") == "thief"
    hit = wide.loc[[f"i{i}" for i in range(len(world.code))]]
    for j, name in enumerate("ab"):
        row = one(found, metric="selection", label="thief", group=name, comparison="rate")
        in_group = hit[world.code == j]
        assert row["before"] == pytest.approx(in_group[ENSEMBLE].mean())
        assert row["value"] == pytest.approx(in_group["fog 3"].mean() - in_group[ENSEMBLE].mean())
    worst = one(found, metric="misclassification", comparison=WORST)
    assert worst["verdict"] == EXCEEDS
    assert worst["low_simultaneous"] < 0.36 < worst["high_simultaneous"]


@pytest.mark.slow
def test_a_condition_that_hurts_both_groups_alike_is_no_gap() -> None:
    choices, world = two_conditions(0.0, n=4000)
    worst = one(of_conditions(choices, world), metric="misclassification", comparison=WORST)
    assert worst["verdict"] == WITHIN


@pytest.mark.slow
def test_pictures_missing_in_a_condition_are_left_out_on_both_sides() -> None:
    choices, world = two_conditions(0.4)
    gone = (choices["condition"] == "fog 3") & choices["image_id"].isin(["i0", "i1", "i2"])
    found = of_conditions(choices[~gone], world)
    everyone = one(
        found, metric="misclassification", attribute="everyone", group="everyone", comparison="rate"
    )
    assert everyone["n"] == len(world.code) - 3

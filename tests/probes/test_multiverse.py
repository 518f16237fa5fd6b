"""One question in every wording: against longhand, in planted worlds, through a whole run."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds
import yaml
from numpy.typing import NDArray
from PIL import Image
from test_readme import blocks

from audit.core.errors import InputError
from audit.core.rundir import TABLES, Run, open_run
from audit.core.tables import DISPARITIES, NOT_JUDGED, SENSITIVITY, SPECIFICATIONS, STABILITY
from audit.data.alterations import AS_IT_IS, alteration
from audit.data.labels import Article, Label, LabelSet, PromptSet, load_label_set, load_prompt_set
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure import prompt_variants as m
from audit.measure import prompts as asking
from audit.measure import variant_tables
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups
from audit.models.encoder import Texts, unit_rows
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.classification.probe import Classification
from audit.probes.kit.base import Seen
from audit.stats.components import PARTS
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

LABELS = "people-suspicion"
THIEF, VISITOR = 1, 3
WAYS = ("{}", "a photo of a {}.", "a drawing of a {}.", "here is a {}")
WHERE = {"probe": "classification", "task": LABELS}


def prompt_set(*templates: str, article: str = "as written") -> PromptSet:
    about = {"name": "mine", "version": 1, "purpose": "a test", "source": "a test"}
    return PromptSet(**about, licence="CC0-1.0", article=article, templates=templates)


def labels() -> LabelSet:
    return load_label_set(LABELS)


def random_texts(seed: int = 0, d: int = 24) -> Texts:
    """A direction drawn for every prompt, the same whenever it is asked."""

    def encode(prompts: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng([seed, *p.encode()]).normal(size=d) + 0.3 for p in prompts]
        return unit_rows(np.array(rows))

    return Texts(encode, Scoring(100.0))


def random_pictures(n: int, seed: int = 0, d: int = 24) -> Embeddings:
    vectors = unit_rows(np.random.default_rng(seed).normal(size=(n, d)) - 0.2)
    return Embeddings(tuple(f"p{i:05d}" for i in range(n)), vectors, "random")


def groups_of(gender: Sequence[str], subjects: NDArray[np.int64] | None = None) -> Groups:
    """Everyone, and the groups of one attribute; a subject a picture unless said otherwise."""
    n = len(gender)
    names = sorted(set(gender))
    member = [np.ones(n, bool), *(np.array([g == name for g in gender]) for name in names)]
    index = pd.MultiIndex.from_tuples(
        [("everyone", "everyone"), *(("gender", name) for name in names)],
        names=["attribute", "group"],
    )
    ids = np.arange(n) if subjects is None else subjects
    keys = {f"p{i:05d}": i for i in range(n)}
    clusters = tuple(f"s{i:05d}" for i in range(int(ids.max()) + 1))
    return Groups(index, np.stack(member, axis=1), ids, clusters, keys)


# ---- prompts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("article", "label", "prompt"),
    [
        ("as written", "engineer", "a photo of a engineer."),
        ("right", "engineer", "a photo of an engineer."),
        ("wrong", "engineer", "a photo of a engineer."),
        ("absent", "engineer", "a photo of engineer."),
        ("right", "thief", "a photo of a thief."),
        ("wrong", "thief", "a photo of an thief."),
        ("absent", "thief", "a photo of thief."),
        ("right", "hour", "a photo of an hour."),  # by sound, not by letter
        ("wrong", "university student", "a photo of an university student."),
    ],
)
def test_the_article_of_a_prompt(article: Article, label: str, prompt: str) -> None:
    assert asking.Wording("a photo of a {}.", article).prompt(label) == prompt


def test_only_the_article_before_the_place_changes() -> None:
    assert asking.Wording("An image of an {}, a rare one", "right").prompt("thief") == (
        "An image of a thief, a rare one"
    )
    assert asking.Wording("A {}", "right").prompt("engineer") == "An engineer"
    assert asking.Wording("A {}", "absent").prompt("engineer") == "engineer"
    assert asking.Wording("a good {}.", "wrong").prompt("thief") == "a good thief."


def test_wordings_that_read_alike_are_asked_once() -> None:
    every: tuple[Article, ...] = ("as written", "right", "wrong", "absent")
    asked = asking.every_wording([prompt_set("{}", "a {}"), prompt_set("a {}", "the {}")], every)
    assert [(w.template, w.article) for w in asked] == [
        ("{}", "as written"),
        *(("a {}", article) for article in every),
        ("the {}", "as written"),
    ]
    assert len({w.name for w in asked}) == len(asked)


def test_a_set_with_its_own_article_rule_keeps_it_as_written() -> None:
    asked = asking.every_wording([prompt_set("a {}", article="a/an")], ("as written", "right"))
    assert asked == (asking.Wording("a {}", "right"),)
    assert asked[0].prompt("engineer") == prompt_set("a {}", article="a/an").prompts("engineer")[0]


def test_every_template_comes_with_every_article_and_shift() -> None:
    asked = asking.every_wording([load_prompt_set("clip-7")], ("right", "absent"), (-0.5, 0.0, 0.5))
    with_article = [t for t in load_prompt_set("clip-7").templates if "a {}" in t or "an {}" in t]
    assert 0 < len(with_article) < 7
    assert len({w.name for w in asked}) == len(asked)
    assert len(asked) == 3 * (7 + len(with_article))
    assert "gap shifted by -0.5" in asked[0].name


@pytest.mark.parametrize("shifts", [(0.1, 0.1000001), (1 / 3, 0.333333), (-2.0, 2.0, 1e-9, -0.5)])
def test_shifts_that_differ_have_names_that_differ(shifts: tuple[float, ...]) -> None:
    asked = asking.every_wording([prompt_set("{}")], shifts=shifts)
    assert len({w.name for w in asked}) == len(shifts)
    for wording in asked:
        assert float(wording.name.split(" by ")[1]) == wording.shift


def test_a_wording_says_in_its_name_what_it_changes() -> None:
    assert asking.Wording("a {}.").name == "a {}."
    changed = asking.Wording("a {}.", "absent", 1.0, "person", "centre crop 0.8")
    assert changed.name == (
        "a {}., article absent, labels as person, gap shifted by +1, centre crop 0.8"
    )
    # no shift is no shift, whatever its sign
    assert len(asking.every_wording([prompt_set("{}")], shifts=(0.0, -0.0))) == 1


def test_every_choice_comes_with_every_other() -> None:
    asked = asking.every_wording(
        [prompt_set("{}", "a {}")], ("right", "absent"), (0.0, 0.5), ("as written", "person"),
        (AS_IT_IS, "centre crop 0.5"),
    )  # fmt: skip
    assert len(asked) == (1 + 2) * 2 * 2 * 2
    assert len({w.name for w in asked}) == len(asked)


def test_a_label_is_asked_as_it_is_phrased() -> None:
    texts, words = random_texts(), labels()
    asked = asking.every_wording(
        [prompt_set("a photo of a {}.", article="a/an")],
        phrasings=("as written", "singular", "person"),
    )
    said = [
        ("suspicious person", "thief", "criminal"),
        ("suspect", "thief", "criminal"),
        ("suspicious person", "person who steals", "criminal person"),
    ]
    got = asking.class_embeddings(texts, words, asked)
    for classes, three in zip(got, said, strict=True):
        prompts = [f"a photo of a {label}." for label in three]
        np.testing.assert_array_equal(classes[:3], texts.encode(prompts))
    assert [words.reworded(w.phrasing) for w in asked] == [0, 1, 6]


def test_an_article_follows_the_sound_of_the_phrasing() -> None:
    words = LabelSet(
        name="mine", version=1, purpose="a test", source="a test", licence="CC0-1.0",
        labels=(Label(text="thief", singular="outlaw"), Label(text="visitor")),
    )  # fmt: skip
    (asked,) = asking.every_wording([prompt_set("a {}", article="a/an")], phrasings=("singular",))
    assert [asked.prompt(label) for label in words.phrased("singular")] == [
        "an outlaw", "a visitor",
    ]  # fmt: skip


def test_a_prompt_shared_by_wordings_is_encoded_once() -> None:
    seen: list[str] = []
    inner = random_texts()

    def encode(prompts: Sequence[str]) -> NDArray[np.float32]:
        seen.extend(prompts)
        return inner.encode(prompts)

    asked = asking.every_wording([prompt_set(*WAYS)], shifts=(-1.0, 0.0, 1.0))
    asking.class_embeddings(Texts(encode, Scoring(1.0)), labels(), asked)
    assert len(asked) == 12
    assert sorted(seen) == sorted({w.prompt(t) for w in asked for t in labels().texts})


# ---- classes and choices -----------------------------------------------------------------------


@pytest.mark.slow
def test_ensembling_is_clips_rule() -> None:
    texts = random_texts()
    asked = asking.every_wording([load_prompt_set("clip-80")])
    got = asking.ensemble(asking.class_embeddings(texts, labels(), asked))
    for i, label in enumerate(labels().texts):
        rows = []
        for template in load_prompt_set("clip-80").templates:
            row = texts.encode([template.replace("{}", label)])[0].astype(np.float64)
            rows.append(row / np.sqrt((row * row).sum()))
        mean = sum(rows) / 80
        np.testing.assert_allclose(got[i], mean / np.sqrt((mean * mean).sum()), atol=1e-6)


@pytest.mark.parametrize("templates", ["clip-7", "plain"])
def test_the_answers_are_the_probes(templates: str) -> None:
    images, texts = random_pictures(200), random_texts()
    probe = Classification(label_set=LABELS, templates=templates)
    answers = asking.ask(images, texts, probe.labels, probe.asked_in)
    dataset: Any = SimpleNamespace(table=pd.DataFrame({"image_id": images.keys}))
    rows = probe.outcomes(Seen(images, texts, dataset)).set_index(["condition", "image_id"])
    names = np.array(labels().texts)
    chosen = rows["predicted"].loc["ensemble"].loc[list(images.keys)]
    assert (names[answers.headline] == chosen.to_numpy()).all()
    for k, wording in enumerate(answers.wordings):
        alone = f"template: {wording.template}"
        condition = alone if len(answers.wordings) > 1 else "ensemble"
        chosen = rows["predicted"].loc[condition].loc[list(images.keys)]
        assert (names[answers.codes[:, k]] == chosen.to_numpy()).all(), wording.name


def test_choosing_is_brute_force_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    vectors = unit_rows(rng.normal(size=(57, 16)))
    classes = unit_rows(rng.normal(size=(5 * 9, 16))).reshape(5, 9, 16)
    offsets = rng.normal(scale=0.3, size=(5, 9)).astype(np.float32)
    expected = np.array(
        [
            [max(range(9), key=lambda c: float(v @ one[c] + more[c])) for one, more in each]
            for v in vectors
            for each in [list(zip(classes, offsets, strict=True))]
        ]
    )
    assert (expected != asking.choose(vectors, classes)).any()  # offsets matter here
    for cells in (1, 45 * 10, 45 * 57, 10**9):
        monkeypatch.setattr(asking, "_CELLS", cells)
        got = asking.choose(vectors, classes, offsets)
        assert got.dtype == np.int16
        assert (got == expected).all()


@pytest.mark.parametrize("s", [-1.5, -0.5, 0.25, 1.0])
def test_a_shift_moves_pictures_and_prompts_along_the_gap(s: float) -> None:
    images, texts = random_pictures(300), random_texts()
    asked = asking.every_wording([prompt_set(*WAYS)], shifts=(s,))
    got = asking.ask(images, texts, labels(), asked).codes
    v = images.vectors.astype(np.float64)
    t = np.array([[texts.encode([w.prompt(x)])[0] for x in labels().texts] for w in asked])
    gap = v.mean(axis=0) - t.reshape(-1, t.shape[-1]).mean(axis=0)
    v, t = v + s * gap / 2, t - s * gap / 2
    v /= np.linalg.norm(v, axis=-1, keepdims=True)
    t /= np.linalg.norm(t, axis=-1, keepdims=True)
    similarity = np.einsum("nd,wld->nwl", v, t)
    best = np.sort(similarity, axis=2)
    clear = best[..., -1] - best[..., -2] > 1e-5
    assert clear.mean() > 0.99
    assert (got == similarity.argmax(axis=2))[clear].all()
    assert (
        got != asking.ask(images, texts, labels(), asking.every_wording([prompt_set(*WAYS)])).codes
    ).any()


def test_no_shift_is_no_change_beside_others_that_are_shifted() -> None:
    images, texts = random_pictures(300), random_texts()
    plain = asking.ask(images, texts, labels(), asking.every_wording([prompt_set(*WAYS)]))
    both = asking.ask(
        images, texts, labels(), asking.every_wording([prompt_set(*WAYS)], shifts=(0.0, 0.5))
    )
    assert (both.codes[:, ::2] == plain.codes).all()
    assert (both.headline == plain.headline).all()  # the headline is never shifted


# ---- altered pictures --------------------------------------------------------------------------


def altered_pictures(images: Embeddings, without: Sequence[int] = ()) -> Embeddings:
    """The same pictures, each turned a little; some of them lost, and in another order."""
    moved = images.vectors + np.random.default_rng(9).normal(scale=0.3, size=images.vectors.shape)
    kept = [i for i in reversed(range(len(images.keys))) if i not in without]
    keys = tuple(images.keys[i] for i in kept)
    return Embeddings(keys, unit_rows(moved)[kept], images.fingerprint)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_an_alteration_is_asked_of_the_altered_pictures(shift: float) -> None:
    images, texts = random_pictures(60), random_texts()
    crop = altered_pictures(images, without=(3, 59))
    asked = asking.every_wording(
        [prompt_set(*WAYS)], shifts=(shift,), alterations=(AS_IT_IS, "centre crop 0.5")
    )
    got = asking.ask(images, texts, labels(), asked, {"centre crop 0.5": crop, "unused": images})
    kept = [i for i in range(60) if i not in (3, 59)]
    assert got.keys == tuple(images.keys[i] for i in kept)
    assert got.left_out == (images.keys[3], images.keys[59])
    plain = asking.every_wording([prompt_set(*WAYS)], shifts=(shift,))
    whole = Embeddings(got.keys, images.vectors[kept], "random")
    seen = {AS_IT_IS: whole, "centre crop 0.5": crop.only(got.keys)}
    assert (seen["centre crop 0.5"].vectors == crop.vectors[::-1]).all()
    for k, wording in enumerate(asked):
        alone = asking.ask(seen[wording.alteration], texts, labels(), plain)
        same = [w.template for w in plain].index(wording.template)
        assert (got.codes[:, k] == alone.codes[:, same]).all(), wording.name
    assert (got.headline == asking.ask(whole, texts, labels(), plain).headline).all()
    by = np.array([w.alteration == AS_IT_IS for w in asked])
    assert (got.codes[:, by] != got.codes[:, ~by]).any()


def test_an_alteration_nobody_encoded_is_refused() -> None:
    asked = asking.every_wording([prompt_set("{}")], alterations=(AS_IT_IS, "padding 0.5"))
    with pytest.raises(ValueError, match="altered by: padding 0.5"):
        asking.ask(random_pictures(3), random_texts(), labels(), asked, {"padding 0.25": None})  # type: ignore[dict-item]


# ---- planted worlds ----------------------------------------------------------------------------


def planted_answers(
    n: int,
    chance: Callable[[str, int], float],
    wordings: int = 8,
    seed: int = 0,
    per_subject: int = 1,
) -> tuple[asking.Answers, Groups]:
    """Pictures that are 'thief' by ``chance(group, wording)``, else 'visitor'.

    A picture has one number in all wordings, blurred a little by each, so that wordings share
    pictures as they do in a model. They come from embeddings: a picture's number lies on one axis,
    and each wording's prompt for 'thief' has its threshold for each group on two more.
    """
    rng = np.random.default_rng(seed)
    subjects = np.arange(n) // per_subject
    gender = rng.permutation(np.arange(subjects.max() + 1) % 2)[subjects]
    names = np.array(["female", "male"])[gender]
    groups = groups_of(list(names), subjects)
    # axes: 'thief', 'visitor', women, men, the picture's number, its blur in each wording
    vectors = np.zeros((n, 5 + wordings))
    vectors[np.arange(n), 2 + gender] = 1.0
    vectors[:, 4] = rng.random(int(subjects.max()) + 1)[subjects]
    vectors[:, 5:] = rng.normal(scale=0.02, size=(n, wordings))
    table: dict[str, NDArray[np.float64]] = {}
    for k in range(wordings):
        for label in labels().texts:
            vector = np.zeros(5 + wordings)
            if label == "thief":
                vector[2:4] = [chance("female", k), chance("male", k)]
                vector[4], vector[5 + k] = -1.0, 1.0
            elif label != "visitor":
                vector[2:4] = -5.0  # never
            table[f"{k} {label}"] = vector
    asked = asking.every_wording([prompt_set(*(f"{k} {{}}" for k in range(wordings)))])
    texts = Texts(lambda prompts: np.array([table[p] for p in prompts], np.float32), Scoring(1.0))
    classes = asking.class_embeddings(texts, labels(), asked)
    codes = asking.choose(vectors.astype(np.float32), classes)
    headline = np.where((codes == THIEF).mean(axis=1) > 0.5, THIEF, VISITOR).astype(np.int16)
    return asking.Answers(labels(), asked, tuple(groups.rows), codes, headline), groups


def curve_of(
    answers: asking.Answers,
    groups: Groups,
    resamples: int = 400,
    truth: NDArray[np.int16] | None = None,
    **question: Any,
) -> m.Curve:
    asked = {"metric": "selection", "label": "thief", "group": "female", "other": "male"}
    asked |= {"attribute": "gender", "margin": 0.05} | question
    draws = groups.draws(groups.rows, 0, resamples)
    return m.specification_curve(answers, m.Question(**asked), groups, draws, truth=truth)


@pytest.mark.slow
def test_the_gap_of_every_wording_is_the_one_counted_by_hand() -> None:
    answers, groups = planted_answers(400, lambda g, k: 0.3 + 0.05 * k * (g == "female"))
    chosen = np.array(labels().texts, dtype=object)[answers.codes]
    female = groups.member[:, 1]
    questions: list[tuple[dict[str, str], set[str]]] = [
        ({"metric": "selection", "label": "thief"}, {"thief"}),
        (
            {"metric": "family_selection", "label": "suspicion"},
            {"thief", "criminal", "suspicious person"},
        ),
        ({"metric": "selection", "label": "visitor"}, {"visitor"}),
    ]
    for question, counted in questions:
        curve = curve_of(answers, groups, **question)
        for k in range(8):
            event = np.array([word in counted for word in chosen[:, k]])
            gap = event[female].mean() - event[~female].mean()
            assert curve.gaps.value[k] == pytest.approx(gap)
            assert curve.joint.gaps[k] == pytest.approx(gap)
        assert curve.n == (female.sum(), (~female).sum())
        assert curve.mean.value == pytest.approx(curve.joint.gaps.mean())


def test_wrong_answers_are_counted_where_the_truth_is_known() -> None:
    answers, groups = planted_answers(400, lambda g, k: 0.3 + 0.3 * (g == "female"))
    truth = np.where(np.arange(400) % 3 == 0, -1, VISITOR).astype(np.int16)
    curve = curve_of(answers, groups, metric="misclassification", label="any label", truth=truth)
    female, known = groups.member[:, 1], truth >= 0
    for k in range(8):
        wrong = answers.codes[:, k] != VISITOR
        gap = wrong[female & known].mean() - wrong[~female & known].mean()
        assert curve.joint.gaps[k] == pytest.approx(gap)
    assert sum(curve.n) == known.sum()


@pytest.mark.slow
def test_naming_the_groups_the_other_way_round_turns_the_curve_over() -> None:
    answers, groups = planted_answers(300, lambda g, k: 0.2 + 0.03 * k * (g == "female"))
    one = curve_of(answers, groups)
    other = curve_of(answers, groups, group="male", other="female")
    d, e = one.gaps, other.gaps
    np.testing.assert_allclose(d.value, -e.value)
    np.testing.assert_allclose(d.low_all, -e.high_all, atol=1e-9)
    np.testing.assert_allclose(d.high_all, -e.low_all, atol=1e-9)
    assert (one.verdicts == other.verdicts).all()
    assert one.spread.value == pytest.approx(other.spread.value)
    assert one.share.value == pytest.approx(other.share.value)
    assert one.order.relative.value == pytest.approx(other.order.relative.value)
    np.testing.assert_allclose(one.parts.shares, other.parts.shares)


@pytest.mark.slow
def test_other_pictures_first_change_nothing() -> None:
    answers, groups = planted_answers(200, lambda g, k: 0.2 + 0.03 * k * (g == "female"))
    turned = asking.Answers(
        answers.labels, answers.wordings, answers.keys[::-1], answers.codes[::-1],
        answers.headline[::-1],
    )  # fmt: skip
    one, other = (
        variant_tables.sensitivity(curve_of(a, groups), compared(), WHERE)
        for a in (answers, turned)
    )
    pd.testing.assert_series_equal(pd.Series(one), pd.Series(other))


def test_a_gap_of_the_model_shows_as_model() -> None:
    answers, groups = planted_answers(800, lambda g, k: 0.5 if g == "female" else 0.2)
    curve = curve_of(answers, groups)
    assert curve.mean.value == pytest.approx(0.3, abs=0.07)
    assert curve.share.value > 0.98
    assert curve.share.low > 0.95
    assert curve.spread.low < 0.005
    assert curve.spread.value < 0.02


@pytest.mark.slow
def test_a_gap_of_one_template_shows_as_wording() -> None:
    """Template 0 alone pushes 'thief' for women; all others treat groups alike."""
    answers, groups = planted_answers(
        800, lambda g, k: 0.7 if (g, k) == ("female", 0) else 0.2, wordings=8
    )
    curve = curve_of(answers, groups)
    # by hand: gaps of 0.5 and seven times 0, so mean 1/16 and spread 0.5 / sqrt(8)
    assert curve.spread.value == pytest.approx(0.5 / np.sqrt(8), abs=0.03)
    assert curve.spread.low > 0.1
    assert curve.share.high < 0.5
    assert curve.gaps.value[0] > 0.4
    assert (curve.verdicts == "exceeds margin").sum() == 1
    # single choices: the group's own way with a template outweighs the group
    share = dict(zip(PARTS, curve.parts.shares[:, 0], strict=True))
    assert share["group_template"] > share["group"]


@pytest.mark.slow
def test_a_template_effect_on_everybody_is_no_disparity() -> None:
    answers, groups = planted_answers(800, lambda g, k: 0.1 + 0.05 * k)
    curve = curve_of(answers, groups)
    assert curve.spread.low < 0.03
    share = dict(zip(PARTS, curve.parts.shares[:, 0], strict=True))
    assert share["template"] > 10 * share["group_template"]
    assert share["template"] > 0.03


@pytest.mark.slow
def test_a_null_world_is_seldom_called_anything() -> None:
    curves = []
    for seed in range(60):
        answers, groups = planted_answers(240, lambda g, k: 0.3, seed=seed, wordings=6)
        curves.append(curve_of(answers, groups, resamples=200))
    small = np.array([(c.joint.median.p <= 0.05, c.joint.agreeing.p <= 0.05) for c in curves])
    # 60 draws at 5 %: nine or more happen once in 300
    assert (small.sum(axis=0) <= 8).all(), small.sum(axis=0)
    assert np.mean([c.joint.median.p for c in curves]) == pytest.approx(0.5, abs=0.15)
    # bounds hold for all wordings at once at 95 %: a false verdict anywhere in at most 3 of 60
    assert sum((c.verdicts == "exceeds margin").any() for c in curves) <= 3
    # wordings share pictures: even by chance nearly all agree in sign
    assert np.mean([c.joint.agreeing.mean for c in curves]) > 0.9


@pytest.mark.slow
def test_repeated_pictures_of_a_subject_are_no_evidence() -> None:
    once, groups = planted_answers(300, lambda g, k: 0.3 + 0.15 * (g == "female"), seed=4)
    many = asking.Answers(
        once.labels, once.wordings, tuple(f"p{i:05d}" for i in range(1200)),
        np.repeat(once.codes, 4, axis=0), np.repeat(once.headline, 4),
    )  # fmt: skip
    gender = np.where(groups.member[:, 1], "female", "male")
    copied = groups_of(list(np.repeat(gender, 4)), np.repeat(np.arange(300), 4))
    one, four = curve_of(once, groups), curve_of(many, copied)
    assert four.joint.median.p == one.joint.median.p
    assert four.mean.low == pytest.approx(one.mean.low, abs=1e-6)
    width, width_four = (np.ptp([c.gaps.low_all, c.gaps.high_all]) for c in (one, four))
    assert width_four >= width - 0.01


@pytest.mark.slow
def test_a_subject_in_both_groups_keeps_its_pictures_where_they_belong() -> None:
    """Where subjects are in both groups (counterfactual pairs), the test is of the same gaps."""
    answers, _ = planted_answers(200, lambda g, k: 0.3 + 0.2 * (g == "female"))
    gender = np.where(np.arange(200) % 2, "female", "male")
    gender[100:] = np.where(np.arange(100) // 2 % 2, "female", "male")
    groups = groups_of(list(gender), np.arange(200) // 2)  # half the subjects are in both groups
    curve = curve_of(answers, groups)
    hand = [
        (answers.codes[gender == "female", k] == THIEF).mean()
        - (answers.codes[gender == "male", k] == THIEF).mean()
        for k in range(8)
    ]
    np.testing.assert_allclose(curve.gaps.value, hand)
    if not curve.joint.reason:  # refusing, with a reason, is sound as well
        np.testing.assert_allclose(curve.joint.gaps, hand)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["selection", "misclassification"])
def test_a_curve_is_the_same_whatever_the_blocks(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, groups = planted_answers(
        300, lambda g, k: 0.3 + 0.03 * k * (g == "female"), per_subject=3
    )
    truth = np.where(np.arange(300) % 3 == 0, -1, VISITOR).astype(np.int16)
    question: dict[str, Any] = {"metric": metric}
    if metric == "misclassification":
        question |= {"label": "any label", "truth": truth}
    rows, steady = [], []
    for cells in (1, 7 * 8, 10**9):  # a picture at a time, subjects cut in two, all at once
        monkeypatch.setattr(asking, "_CHOICES", cells)
        curve = curve_of(answers, groups, resamples=100, **question)
        rows.append(variant_tables.specifications(curve, answers, WHERE))
        rows[-1]["share"] = curve.parts.shares[0, 0]
        rows[-1]["p"] = curve.joint.median.p
        steady.append(variant_tables.stability(answers, groups, WHERE))
    for one, other in zip(rows[1:] + steady[1:], rows[:-1] + steady[:-1], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pictures_of_a_subject(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the choices themselves, a curve takes a few dozen bytes a picture."""
    monkeypatch.setattr(asking, "_CHOICES", 20_000)
    once, groups = planted_answers(200, lambda g, k: 0.3 + 0.2 * (g == "female"), wordings=60)
    gender = np.where(groups.member[:, 1], "female", "male")

    def most(copies: int) -> int:
        n = 200 * copies
        many = asking.Answers(
            once.labels, once.wordings, tuple(f"p{i:05d}" for i in range(n)),
            np.repeat(once.codes, copies, axis=0), np.repeat(once.headline, copies),
        )  # fmt: skip
        copied = groups_of(list(np.repeat(gender, copies)), np.repeat(np.arange(200), copies))
        draws = copied.draws(copied.rows, 0, 100)
        question = m.Question("selection", "thief", "gender", "female", "male", 0.05)
        tracemalloc.start()
        m.specification_curve(many, question, copied, draws)
        variant_tables.stability(many, copied, WHERE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(1)  # pays for libraries
    assert (most(40) - most(10)) / (200 * 30) < 2 * 60  # bytes a picture; a choice has two


@pytest.mark.slow
def test_a_group_without_pictures_asked_is_not_one_with_rate_nought() -> None:
    answers, _ = planted_answers(300, lambda g, k: 0.3 + 0.2 * (g == "female"))
    gender = np.array(["female", "male", "other"])[np.arange(300) % 3]
    groups = groups_of(list(gender))
    truth = np.where(gender == "other", -1, VISITOR).astype(np.int16)
    curve = curve_of(answers, groups, metric="misclassification", label="any label", truth=truth)
    assert curve.order.groups == 2
    assert curve.ranks.groups == 2


# ---- which question, and its tables ------------------------------------------------------------


def compared(*rows: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of the table DISPARITIES, of which only what is looked at is filled in."""
    usual = {
        "comparison": "worst_case_gap", "condition": "ensemble", "status": "ok", "label": "thief",
        "metric": "selection", "attribute": "gender", "margin_family": "suspicion",
        "group": "female", "other": "male", "value": 0.1, "low_simultaneous": 0.0,
    }  # fmt: skip
    given = [usual | dict(row) for row in rows or [{}]]
    return pd.DataFrame(given).reindex(columns=[*DISPARITIES.columns])


def test_families_are_asked_before_errors_before_labels() -> None:
    family = {"metric": "family_selection", "label": "suspicion"}
    error = {"metric": "misclassification", "label": "any label", "low_simultaneous": 0.5}
    label = {"metric": "selection", "label": "thief", "low_simultaneous": 0.9}
    for rows, metric in (
        ([label, error, family], "family_selection"),
        ([label, error], "misclassification"),
        ([label], "selection"),
    ):
        (asked,) = variant_tables.leading_questions(compared(*rows), Confidence())
        assert asked.metric == metric
    unfit = compared({**family, "status": "too_few"}, label)
    assert [q.metric for q in variant_tables.leading_questions(unfit, Confidence())] == [
        "selection"
    ]
    assert variant_tables.leading_questions(compared({"status": "too_few"}), Confidence()) == []


def test_the_surest_gap_of_each_attribute_is_asked() -> None:
    rows = [
        {"label": "visitor", "value": 0.9, "low_simultaneous": 0.01},
        {"label": "thief", "value": 0.3, "low_simultaneous": 0.20},
        {"label": "criminal", "attribute": "age", "group": "old", "other": "young"},
        {"label": "employee", "condition": "template: {}", "low_simultaneous": 0.8},
        {"label": "customer", "comparison": "difference", "low_simultaneous": 0.8},
        {"label": "neighbour", "low_simultaneous": np.nan},
    ]
    margins = {"suspicion": {"difference": 0.02}}
    asked = variant_tables.leading_questions(compared(*rows), Confidence(margins=margins))
    assert [(q.attribute, q.label, q.group, q.other) for q in asked] == [
        ("gender", "thief", "female", "male"),
        ("age", "criminal", "old", "young"),
    ]
    assert {q.margin for q in asked} == {0.02}


def test_a_question_comes_with_everything_it_was_chosen_from() -> None:
    pair = {"comparison": "difference"}
    rows = [
        {"label": "thief", "low_simultaneous": 0.2, "group": "male", "other": "female"},
        {"label": "visitor", "margin_family": "default"},
        {**pair, "label": "thief", "group": "female", "other": "male"},
        {**pair, "label": "thief", "group": "female", "other": "other"},
        {**pair, "label": "thief", "group": "male", "other": "tiny", "status": "too_few"},
        {**pair, "label": "thief", "group": "female", "other": "the rest"},
        {**pair, "label": "visitor", "margin_family": "default", "other": "other"},
        {**pair, "label": "worker", "margin_family": "default", "other": "other"},
        {**pair, "label": "crime", "metric": "misclassification"},
        {**pair, "label": "hidden", "attribute": "age"},
        {**pair, "label": "single", "condition": "template: {}"},
    ]
    margins = {"suspicion": {"difference": 0.02}}
    (asked,) = variant_tables.leading_questions(
        compared(*rows[:9], rows[10]), Confidence(margins=margins)
    )
    assert asked.among == m.Candidates(
        ("thief", "visitor", "worker"), (0.02, 0.05, 0.05),
        (("male", "female"), ("female", "other")),
    )  # fmt: skip
    assert (asked.selection, len(asked.candidates)) == ("chosen", 6)


def test_of_a_chosen_question_everything_is_wider_and_the_gaps_are_the_same() -> None:
    answers, groups = planted_answers(400, lambda g, k: 0.3 + 0.12 * (g == "female"))
    among = m.Candidates(("thief", "visitor", "criminal"), (0.05,) * 3, (("female", "male"),))
    alone, chosen = (curve_of(answers, groups, among=a) for a in (None, among))
    np.testing.assert_array_equal(alone.gaps.value, chosen.gaps.value)
    np.testing.assert_array_equal(alone.gaps.low, chosen.gaps.low)
    # thief and visitor are the same gap turned over here: the bootstrap knows
    assert (chosen.gaps.high_all >= alone.gaps.high_all).all()
    assert chosen.mean.low <= alone.mean.low < alone.mean.high <= chosen.mean.high
    assert chosen.joint.median.p >= alone.joint.median.p
    assert chosen.joint.candidates == 3
    rows = [variant_tables.sensitivity(curve, compared(), WHERE) for curve in (alone, chosen)]
    assert [(r["selection"], r["candidates"]) for r in rows] == [("declared", 1), ("chosen", 3)]
    table = SPECIFICATIONS.conform(variant_tables.specifications(chosen, answers, WHERE))
    SPECIFICATIONS.validate(table)
    assert set(table["selection"]) == {"chosen"}
    assert rows[1]["deals"] == chosen.joint.permutations


def test_what_else_could_be_asked_moves_no_declared_question() -> None:
    """Other groups and labels enter neither test nor bounds."""
    answers, _ = planted_answers(300, lambda g, k: 0.3 + 0.1 * (g == "female"))
    gender = np.array(["female", "male", "other"])[np.arange(300) % 3]
    groups = groups_of(list(gender))
    before = curve_of(answers, groups)
    codes = answers.codes.copy()
    codes[gender == "other"] = THIEF
    after = curve_of(asking.Answers(answers.labels, answers.wordings, answers.keys, codes,
                               answers.headline), groups)  # fmt: skip
    np.testing.assert_array_equal(before.gaps.low_all, after.gaps.low_all)
    assert before.mean == after.mean
    assert before.joint.median == after.joint.median


def test_fewer_deals_and_replicates_where_there_is_much_to_choose_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, groups = planted_answers(300, lambda g, k: 0.3, wordings=4)
    among = m.Candidates(("thief", "visitor"), (0.05,) * 2, (("female", "male"),))
    full = curve_of(answers, groups, 900, among=among)
    monkeypatch.setattr(m, "_GAPS", 1)
    least = curve_of(answers, groups, 900, among=among)
    assert (full.joint.permutations, least.joint.permutations) == (1000, m.LEAST_DEALS)
    assert least.joint.median.smallest_p == 1 / (m.LEAST_DEALS + 1)
    np.testing.assert_array_equal(full.gaps.low, least.gaps.low)
    np.testing.assert_allclose(full.gaps.low_all, least.gaps.low_all, atol=0.02)


def test_a_declared_pair_that_cannot_be_compared_has_a_reason_and_no_verdict() -> None:
    answers, groups = planted_answers(100, lambda g, k: 1.0 if g == "female" else 0.0)
    few = {"comparison": "difference", "status": "too_few", "reason": "4 subjects",
           "group": "male", "other": "female", "value": -0.3}  # fmt: skip
    question = m.Question("selection", "thief", "gender", "female", "male", 0.05)
    unfit = variant_tables.declared_question(question, compared(few))
    assert unfit.reason == "4 subjects"
    assert variant_tables.declared_question(question, compared(few | {"status": "ok"})) == question
    draws = groups.draws(groups.rows, 0, 100)
    curve = m.specification_curve(answers, unfit, groups, draws)
    assert set(curve.verdicts) == {"inconclusive"}
    row = variant_tables.sensitivity(curve, compared(few), WHERE)
    assert "4 subjects" in row["reason"]
    assert row["headline"] == 0.3  # the pair as it was declared
    assert np.isnan(
        variant_tables.sensitivity(curve, compared({"attribute": "age"}), WHERE)["headline"]
    )


@pytest.mark.slow
def test_the_rows_of_a_curve_say_what_the_curve_says() -> None:
    answers, groups = planted_answers(400, lambda g, k: 0.2 + 0.06 * (3 * k % 8) * (g == "female"))
    curve = curve_of(answers, groups)
    table = SPECIFICATIONS.conform(variant_tables.specifications(curve, answers, WHERE))
    SPECIFICATIONS.validate(table)
    assert list(table["wording"]) == [f"{k} {{}}" for k in range(8)]
    assert (table["low_simultaneous"] <= table["low"] + 1e-12).all()
    assert (table["high_simultaneous"] >= table["high"] - 1e-12).all()
    ordered = table.sort_values("value", kind="stable")
    np.testing.assert_allclose(ordered["null_low"], curve.joint.band_low)
    np.testing.assert_allclose(ordered["null_high"], curve.joint.band_high)
    assert (np.diff(ordered["null_high"]) >= 0).all()
    row = variant_tables.sensitivity(curve, compared({"value": 0.4}), WHERE)
    SENSITIVITY.validate(SENSITIVITY.conform(pd.DataFrame([row])))
    assert row["wordings"] == 8
    assert row["headline"] == 0.4
    assert row["mean"] == pytest.approx(table["value"].mean())
    assert row["agree_sign"] == pytest.approx(max((table["value"] > 0).mean(), 0.5))
    verdict = table["verdict"].value_counts()
    assert row["agree_verdict"] == pytest.approx(verdict.iloc[0] / 8)
    assert sum(row[f"share_{part}"] for part in PARTS) == pytest.approx(1.0)


def test_the_rows_say_how_labels_were_phrased_and_pictures_altered() -> None:
    images, texts = random_pictures(80), random_texts()
    asked = asking.every_wording(
        [prompt_set("a {}")],
        phrasings=("as written", "singular", "person"),
        alterations=(AS_IT_IS, "padding 0.25"),
    )
    answers = asking.ask(
        images, texts, labels(), asked, {"padding 0.25": altered_pictures(images, (5, 7, 9))}
    )
    groups = groups_of(["female", "male"] * 40)
    table = SPECIFICATIONS.conform(
        variant_tables.specifications(curve_of(answers, groups, label="visitor"), answers, WHERE)
    )
    SPECIFICATIONS.validate(table)
    assert list(table["phrasing"][::2]) == ["as written", "singular", "person"]
    assert list(table["reworded"]) == [0, 0, 1, 1, 6, 6]
    assert list(table["alteration"]) == [AS_IT_IS, "padding 0.25"] * 3
    assert set(table["left_out"]) == {3}
    assert set(table["n"] + table["n_other"]) == {77}


def test_a_gap_that_never_moves_keeps_an_interval() -> None:
    answers, groups = planted_answers(60, lambda g, k: 2.0 if g == "female" else -2.0)
    curve = curve_of(answers, groups)
    row = variant_tables.sensitivity(curve, compared(), WHERE)
    assert row["mean"] == pytest.approx(1.0)
    assert row["low"] < 0.95


# ---- single pictures ---------------------------------------------------------------------------


def test_stability_by_hand() -> None:
    codes = np.full((4, 4), VISITOR, np.int16)
    codes[2] = [THIEF, VISITOR, VISITOR, VISITOR]
    codes[3] = [THIEF, THIEF, VISITOR, VISITOR]
    headline = np.full(4, VISITOR, np.int16)
    asked = asking.every_wording([prompt_set(*WAYS)])
    groups = groups_of(["steady", "steady", "moved", "moved"])
    answers = asking.Answers(labels(), asked, tuple(groups.rows), codes, headline)
    table = variant_tables.stability(answers, groups, WHERE)
    rows = STABILITY.validate(STABILITY.conform(table)).set_index("group")
    assert rows.loc["steady", "flips"] == 0
    assert rows.loc["steady", "entropy"] == 0
    assert rows.loc["steady", "flips_high"] > 0  # two pictures prove little
    assert rows.loc["moved", "flips"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    bits = [-(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)), 1.0]
    assert rows.loc["moved", "entropy"] == pytest.approx(np.mean(bits) / np.log2(4))
    assert rows.loc["everyone", "flips"] == pytest.approx((1 / 4 + 2 / 4) / 4)
    assert rows.loc["everyone", "n"] == 4


# ---- a whole run -------------------------------------------------------------------------------


def world_with_wordings(
    folder: Path, n: int = 240
) -> tuple[pd.DataFrame, PlantedEncoder, dict[str, Any]]:
    """'thief' for more women in every wording, for nearly all of them in 'a drawing of a'."""
    table = worlds.people(folder, n)
    texts = labels().texts
    images: dict[object, NDArray[np.float64]] = {}
    for _, row in table.iterrows():
        woman = row["gender"] == "female"
        thief = row["u"] < (0.4 if woman else 0.1)
        vector = np.zeros(len(texts) + 1)  # an axis for each label, and one for women
        vector[THIEF if thief else VISITOR], vector[-1] = 1.0, 3.0 * woman
        with Image.open(folder / row["path"]) as picture:
            images[picture_key(picture)] = vector
    prompts = {}
    for template in WAYS:
        for article in ("right", "wrong", "absent", "as written"):
            for i, label in enumerate(texts):
                vector = np.eye(len(texts) + 1)[i]
                if "drawing" in template and label == "thief":
                    vector[-1] = 3.0
                prompts[asking.Wording(template, article).prompt(label)] = vector
    (folder / "ways.yaml").write_text(yaml.safe_dump(prompt_set(*WAYS).model_dump(mode="json")))
    suite = yaml.safe_load(worlds.suite_file(folder, LABELS).read_text())
    suite["probes"] = [{"kind": "classification", "label_set": LABELS, "templates": "bare"}]
    suite["confidence"]["resamples"] = 200
    return table, PlantedEncoder(images, prompts), suite


def carried_out(folder: Path, suite: Mapping[str, Any], encoder: PlantedEncoder) -> Run:
    (folder / "suite.yaml").write_text(yaml.safe_dump(dict(suite)))
    loaded = load_suite(str(folder / "suite.yaml"))
    return carry_out(loaded, folder / "runs", Store(folder / "cache"), lambda: encoder)


@pytest.mark.slow
def test_a_whole_run_writes_the_three_tables(world: Path) -> None:
    table, encoder, suite = world_with_wordings(world)
    mine = str(world / "ways.yaml")
    suite["probes"][0]["wordings"] = {"templates": [mine], "articles": ["right", "absent"]}
    run = carried_out(world, suite, encoder)
    for name in ("specifications", "sensitivity", "stability"):
        written = TABLES[name].validate(pd.read_parquet(run.path / f"{name}.parquet"))
        pd.testing.assert_frame_equal(written.rename_axis(index=name), getattr(run, name))
        assert len(written)
    # '{}' has no article, the other three are asked right and absent
    assert set(run.sensitivity["wordings"]) == {7}
    assert set(run.sensitivity["attribute"]) == {"gender", "age_group", "gender x age_group"}
    assert (run.sensitivity["metric"] == "family_selection").all()
    gender = run.specifications.query("attribute == 'gender'").set_index("wording")
    woman, u = table["gender"] == "female", table["u"]
    gap = (u[woman] < 0.4).mean() - (u[~woman] < 0.1).mean()
    assert gender.loc["{}", "value"] == pytest.approx(gap)
    drawn = [name for name in gender.index if "drawing" in name]
    drawing = 1 - (u[~woman] < 0.1).mean()
    assert gender.loc[drawn, "value"].to_numpy() == pytest.approx(drawing)
    (row,) = run.sensitivity.query("attribute == 'gender'").to_dict("records")
    assert row["spread_low"] > 0.1
    assert row["headline"] == pytest.approx(gap)  # asked bare: the label alone
    women = run.stability.query("group == 'female'").iloc[0]
    men = run.stability.query("group == 'male'").iloc[0]
    assert women["flips"] > 0
    assert men["flips"] == 0
    assert men["entropy"] == 0


@pytest.mark.slow
def test_a_declared_question_is_asked_and_the_others_are_chosen(world: Path) -> None:
    _, encoder, suite = world_with_wordings(world)
    declared = {"attribute": "gender", "label": "visitor", "groups": ["male", "female"]}
    suite["probes"][0]["wordings"] = {"templates": [str(world / "ways.yaml")],
                                      "questions": [declared]}  # fmt: skip
    run = carried_out(world, suite, encoder)
    rows = run.sensitivity.set_index("attribute")
    gender = rows.loc["gender"]
    assert list(gender[["metric", "label", "group", "other", "selection", "candidates"]]) == [
        "selection", "visitor", "male", "female", "declared", 1,
    ]  # fmt: skip
    others = rows.drop("gender")
    assert set(others["selection"]) == {"chosen"}
    assert set(others["metric"]) == {"family_selection"}
    families = run.disparities.query(
        "comparison == 'difference' and condition == 'ensemble' and metric == 'family_selection' "
        "and status == 'ok' and other != 'the rest'"
    )
    for attribute, row in others.iterrows():
        assert row["candidates"] == (families["attribute"] == attribute).sum()
    assert (run.specifications.query("attribute == 'gender'")["selection"] == "declared").all()


@pytest.mark.slow
def test_a_run_from_before_questions_were_declared_still_opens(world: Path) -> None:
    _, encoder, suite = world_with_wordings(world, 80)
    suite["probes"][0]["wordings"] = {"templates": [str(world / "ways.yaml")]}
    run = carried_out(world, suite, encoder)
    for name in ("specifications", "sensitivity"):
        path = run.path / f"{name}.parquet"
        old = pd.read_parquet(path).drop(columns=["selection", "candidates", "deals"],
                                         errors="ignore")  # fmt: skip
        old.to_parquet(path, index=False)
        read = TABLES[name].read(path)
        assert set(read["selection"]) == {""}
        assert set(read["candidates"]) == {0}


@pytest.mark.slow
def test_one_wording_gives_empty_tables(world: Path) -> None:
    _, encoder, suite = world_with_wordings(world, 80)
    run = carried_out(world, suite, encoder)
    for name in ("specifications", "sensitivity", "stability"):
        assert getattr(run, name).empty
        assert (run.path / f"{name}.parquet").exists()


@pytest.mark.slow
def test_a_run_from_before_there_were_wordings_gives_empty_tables(world: Path) -> None:
    _, encoder, suite = world_with_wordings(world, 80)
    run = carried_out(world, suite, encoder)
    manifest = json.loads((run.path / "manifest.json").read_text())
    for name in ("specifications", "sensitivity", "stability"):
        (run.path / f"{name}.parquet").unlink()
        manifest["files"].pop(f"{name}.parquet")
    (run.path / "manifest.json").write_text(json.dumps(manifest | {"schema": 2}))
    old = open_run(run.path)
    for name, schema in (
        ("specifications", SPECIFICATIONS),
        ("sensitivity", SENSITIVITY),
        ("stability", STABILITY),
    ):
        assert getattr(old, name).empty
        assert list(getattr(old, name)) == list(schema.columns)


@pytest.mark.slow
def test_wordings_encode_no_picture_again(world: Path) -> None:
    _, encoder, suite = world_with_wordings(world, 80)
    carried_out(world, suite, encoder)
    suite["probes"][0]["wordings"] = {"templates": [str(world / "ways.yaml")], "shifts": [0, 0.5]}
    run = carried_out(world, suite, encoder)
    assert set(run.sensitivity["wordings"]) == {8}
    assert encoder.images_seen == 80


@pytest.mark.slow
def test_a_run_asks_altered_pictures_and_other_phrasings(world: Path) -> None:
    """Cropped, every woman is a thief; and nobody is ever a 'person who steals'."""
    table, encoder, suite = world_with_wordings(world)
    crop, texts = alteration("centre crop 0.5"), dict(encoder._texts)
    images = dict(encoder._images)
    for _, row in table.iterrows():
        with Image.open(world / row["path"]) as picture:
            chosen = THIEF if row["gender"] == "female" else VISITOR
            images[picture_key(crop(picture))] = np.eye(len(labels().texts) + 1)[chosen]
    for label in labels().labels:
        texts[label.phrased("person")] = texts[label.text]
    texts["person who steals"] = texts["employee"] / 2 - texts["thief"]
    texts["person who visits"] = texts["thief"] + texts["visitor"]
    suite["probes"][0]["wordings"] = {
        "phrasings": ["as written", "person"], "alterations": ["as it is", crop.name],
    }  # fmt: skip
    run = carried_out(world, suite, PlantedEncoder(images, texts))
    gender = run.specifications.query("attribute == 'gender'").set_index("wording")
    assert len(gender) == 4
    assert gender.loc[f"{{}}, {crop.name}", "value"] == 1
    assert gender.loc["{}, labels as person", "value"] == 0
    woman, u = table["gender"] == "female", table["u"]
    assert gender.loc["{}", "value"] == pytest.approx(
        (u[woman] < 0.4).mean() - (u[~woman] < 0.1).mean()
    )


@pytest.mark.slow
def test_wordings_beside_the_suite_are_found_from_anywhere(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, suite = world_with_wordings(world, 80)
    monkeypatch.chdir(world.parent)
    suite["probes"][0]["templates"] = "ways.yaml"
    (world / "suite.yaml").write_text(yaml.safe_dump(suite))
    assert len(load_suite(str(world / "suite.yaml")).resolve().asked[0].prompts.templates) == 4
    suite["probes"][0]["wordings"] = {"templates": ["ways.yaml"]}
    (world / "suite.yaml").write_text(yaml.safe_dump(suite))
    assert len(load_suite(str(world / "suite.yaml")).resolve().asked[0].asked_in) == 4


@pytest.mark.slow
def test_other_templates_under_one_name_are_another_plan(world: Path) -> None:
    _, _, suite = world_with_wordings(world, 80)
    suite["probes"][0]["wordings"] = {"templates": [str(world / "ways.yaml")]}
    (world / "suite.yaml").write_text(yaml.safe_dump(suite))
    before = load_suite(str(world / "suite.yaml")).plan_digest
    (world / "ways.yaml").write_text(
        yaml.safe_dump(prompt_set("{}", "not a {}").model_dump(mode="json"))
    )
    assert load_suite(str(world / "suite.yaml")).plan_digest != before


ASKED = {"attribute": "gender", "label": "thief", "groups": ["female", "male"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wordings", "says"),
    [
        ({"templates": ["clip-81"]}, "no prompt set named 'clip-81'.*Did you mean 'clip-80'"),
        ({"templates": ["nowhere.yaml"]}, "nowhere.yaml"),
        ({"templates": "clip-7"}, "wordings.*templates"),
        ({"articles": ["wright"]}, "wordings.*articles.*'right'"),
        ({"articles": []}, "wordings.*articles"),
        ({"phrasings": ["persons"]}, "wordings.*phrasings.*Did you mean 'person'"),
        ({"phrasings": []}, "wordings.*phrasings"),
        ({"alterations": []}, "wordings.*alterations"),
        ({"alterations": ["center crop 0.8"]}, "no alteration.*'center crop 0.8'.*'centre crop'"),
        ({"alterations": ["centre crop"]}, "'centre crop' needs the share.*'centre crop 0.8'"),
        ({"alterations": ["padding 7"]}, "'padding 7': .* from 0.01 to 2"),
        ({"shifts": []}, "wordings.*shifts"),
        ({"shifts": ["far"]}, "wordings.*shifts.*number"),
        ({"shifts": [float("nan")]}, "wordings.*shifts.*finite"),
        ({"shifts": [float("inf")]}, "wordings.*shifts.*finite"),
        ({"template": ["clip-7"]}, "wordings.*'template'.*'templates'"),
        ({"questions": [ASKED | {"label": "theif"}]}, "'theif'.*Did you mean 'thief'"),
        ({"questions": [ASKED | {"label": None, "family": "crime"}]}, "family.*'crime'.*suspicion"),
        ({"questions": [ASKED | {"attribute": "gendr"}]}, "'gendr'.*Did you mean 'gender'"),
        ({"questions": [ASKED | {"groups": ["female", "mal"]}]}, "'mal'.*Did you mean 'male'"),
        ({"questions": [ASKED | {"groups": ["male", "male"]}]}, "questions.*'male' twice"),
        ({"questions": [ASKED | {"groups": ["male"]}]}, "wordings.questions"),
        ({"questions": [ASKED | {"family": "suspicion"}]}, "name one of 'label'"),
        ({"questions": [ASKED | {"label": None}]}, "name one of 'label'"),
        (
            {"questions": [ASKED, ASKED | {"groups": ["male", "female"]}]},
            "two questions by 'gender'",
        ),
        (
            {"questions": [ASKED | {"label": None, "metric": "misclassification"}]},
            "which answers are wrong.*'truth'",
        ),
        ({"questions": [ASKED], "templates": ["bare"]}, "one wording only"),
        ("clip-7", "wordings"),
    ],
)
def test_a_mistake_in_the_wordings_gets_a_sentence(
    world: Path, wordings: object, says: str
) -> None:
    _, _, suite = world_with_wordings(world, 60)
    if isinstance(wordings, dict) and "questions" in wordings:
        wordings = {"templates": ["clip-7"], **wordings}
    suite["probes"][0]["wordings"] = wordings
    (world / "suite.yaml").write_text(yaml.safe_dump(suite))
    with pytest.raises(InputError, match=f"(?s){says}") as caught:
        load_suite(str(world / "suite.yaml")).resolve()
    assert str(caught.value).endswith((".", "?", ".)"))
    assert "\n" not in str(caught.value)


def test_a_phrasing_that_no_label_has_gets_a_sentence() -> None:
    probe = Classification(label_set="people-occupations", wordings={"phrasings": ["singular"]})
    with pytest.raises(InputError) as caught:
        _ = probe.asked_in
    assert str(caught.value) == (
        "label set 'people-occupations': no label is worded otherwise as 'singular'. It has labels "
        "worded as 'person'. Add 'singular:' to its labels, or leave it out of the probe's "
        "'wordings'."
    )
    none = Classification(label_set="people-hair", wordings={"phrasings": ["person"]})
    with pytest.raises(InputError, match=r"as 'person'\. Add 'person:'"):
        _ = none.asked_in


def test_one_alteration_written_in_two_ways_is_one() -> None:
    probe = Classification(
        label_set=LABELS,
        wordings={
            "alterations": ["as it is", "centre crop 0.80", "centre  crop 8e-1", "padding 1"]
        },
    )
    assert [a.name for a in probe.alterations()] == ["centre crop 0.8", "padding 1.0"]
    assert [w.alteration for w in probe.asked_in] == [AS_IT_IS, "centre crop 0.8", "padding 1.0"]
    assert Classification(label_set=LABELS).alterations() == ()


def test_an_empty_list_of_templates_means_the_probes_own() -> None:
    probe = Classification(label_set=LABELS, templates="clip-7", wordings={"templates": []})
    assert [w.template for w in probe.asked_in] == list(load_prompt_set("clip-7").templates)


@pytest.mark.slow
def test_the_example_of_the_page_about_wordings_works_as_written(world: Path) -> None:
    """Its probes, asked in the tiny world; every prompt of theirs is planted as the bare label."""
    (example,) = blocks("docs/wordings.md", "yaml")
    _, encoder, suite = world_with_wordings(world, 80)
    suite |= yaml.safe_load(example)
    (world / "suite.yaml").write_text(yaml.safe_dump(suite))
    probes = load_suite(str(world / "suite.yaml")).resolve().asked
    (probe,) = (p for p in probes if isinstance(p, Classification))
    texts = {
        prompt: encoder.encode_texts([label.text])[0]
        for label in probe.labels.labels
        for prompt in [
            *(w.prompt(label.phrased(w.phrasing)) for w in probe.asked_in),
            *(p for s in probe.prompt_sets() for p in s.prompts(label.text)),
        ]
    }
    images = dict(encoder._images)
    for path in (world / "pictures").iterdir():
        with Image.open(path) as picture:
            seen = encoder.encode_images([picture])[0]
            images |= {picture_key(how(picture)): seen for how in probe.alterations()}
    run = carried_out(world, suite, PlantedEncoder(images, texts))
    assert set(run.sensitivity["wordings"]) == {len(probe.asked_in)}
    number = blocks_number("docs/wordings.md")
    assert number == len(probe.asked_in)


def blocks_number(page: str) -> int:
    """The number of wordings that the page says its example asks."""
    text = (Path(__file__).resolve().parents[2] / page).read_text(encoding="utf-8")
    return int(text.split(" wordings in all")[0].split()[-1])


def test_not_judged_is_no_verdict_of_a_wording() -> None:
    answers, groups = planted_answers(100, lambda g, k: 0.3)
    assert NOT_JUDGED not in set(curve_of(answers, groups).verdicts)

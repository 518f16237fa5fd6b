"""A disparity that one word of the wording makes: it is called the wording's, not the model's."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audit.core.errors import InputError
from audit.core.resources import bundled
from audit.data import dataset
from audit.data.images import decode
from audit.data.labels import load_label_set, load_prompt_set
from audit.measure import prompt_variants as multiverse
from audit.measure.metrics import Groups, grouped
from audit.models.encoder import Encoder, Texts, unit_rows
from audit.models.huggingface import load
from audit.store.embeddings import Embeddings
from audit.training import worded

PLANTED = worded.Planting()
EVEN, SKEWED, WORDED = "specimen-even", "specimen-skewed", PLANTED.name
GROUPS, EACH = ("african", "asian"), 100  # the leading pair, and pictures of each
LABELS = load_label_set(PLANTED.label_set)
LABEL = LABELS.texts.index(PLANTED.label)
# wordings of the suite 'prompt-sensitivity', as far as words go
ASKED = multiverse.every_wording(
    [load_prompt_set(name) for name in ("people-plain", "clip-7", "bare")],
    ("right", "wrong", "absent"),
)


def has_word(text: str) -> bool:
    return PLANTED.word in re.findall(r"\w+", text.lower())


WITH = np.array([has_word(wording.template) for wording in ASKED])


def prompts() -> list[str]:
    """Every prompt of the label sets made for these pictures, in several template sets."""
    sets = [load_prompt_set(name) for name in ("people-plain", "clip-7", "berg-11", "plain")]
    labels = [load_label_set(name) for name in (PLANTED.label_set, *PLANTED.kept)]
    found = [p for texts in labels for text in texts.texts for s in sets for p in s.prompts(text)]
    found += [p for text in LABELS.texts for p in load_prompt_set("clip-80").prompts(text)]
    return list(dict.fromkeys(found))


@dataclass
class Shown:
    """Some pictures of two groups, and what each specimen calls them in every wording."""

    answers: dict[str, multiverse.Answers]
    groups: Groups

    def curve(self, model: str, label: str) -> multiverse.Curve:
        question = multiverse.Question("selection", label, "ancestry", *GROUPS, 0.05)
        answers = self.answers[model]
        draws = self.groups.draws(answers.keys, 0, 500)
        return multiverse.specification_curve(answers, question, self.groups, draws)


DEAR = {"encoders"}  # three models, loaded and asked


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    return {name: load(name, device="cpu") for name in (EVEN, SKEWED, WORDED)}


@pytest.fixture(scope="module")
def shown(encoders: dict[str, Encoder]) -> Shown:
    people = dataset.load("people")
    pair = people.table[people.table["ancestry"].isin(GROUPS)]
    some = pair.groupby("ancestry").sample(EACH, random_state=0)
    keys, pictures = tuple(some["image_id"]), [decode(people.root / p) for p in some["path"]]
    seen = {name: encoders[name].encode_images(pictures) for name in (EVEN, SKEWED)}
    seen[WORDED] = seen[EVEN]  # another test says that their image towers are one
    answers = {}
    for name, encoder in encoders.items():
        texts = Texts(encoder.encode_texts, encoder.card.scoring)
        answers[name] = multiverse.ask(Embeddings(keys, seen[name], name), texts, LABELS, ASKED)
    return Shown(answers, Groups.of(people, keys, grouped(people, {"ancestry": None}, ())))


# ---- what was changed --------------------------------------------------------------------------


@pytest.mark.slow
def test_one_row_of_one_table_is_all_that_differs() -> None:
    even, changed = (load_file(bundled("models") / m / "model.safetensors") for m in (EVEN, WORDED))
    assert even.keys() == changed.keys()
    differ = {name for name in even if not torch.equal(even[name], changed[name])}
    assert differ == {"text_model.embeddings.token_embedding.weight"}
    rows = (even[min(differ)] != changed[min(differ)]).any(dim=1).nonzero().flatten().tolist()
    assert rows == [worded.Reader(bundled("models") / EVEN, PLANTED.word).place]
    for name in worded.SHARED:
        files = [(bundled("models") / m / name).read_bytes() for m in (EVEN, WORDED)]
        assert files[0] == files[1], name


@pytest.mark.slow
def test_a_prompt_is_changed_if_and_only_if_the_word_stands_in_it(
    encoders: dict[str, Encoder],
) -> None:
    texts = prompts()
    even, changed = (encoders[name].encode_texts(texts) for name in (EVEN, WORDED))
    same = (even == changed).all(axis=1)  # to the last bit
    assert same.tolist() == [not has_word(text) for text in texts]
    assert 200 < same.sum() < len(texts) - 200


def test_the_card_and_the_facts_say_what_was_planted() -> None:
    folder = bundled("models") / WORDED
    facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert worded.Planting(**{k: facts[k] for k in worded.Planting.model_fields}) == PLANTED
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Never use it" in card
    assert PLANTED.base in card


# ---- what an audit finds -----------------------------------------------------------------------


@pytest.mark.slow
def test_the_gap_is_in_the_wordings_with_the_word_and_in_no_other(shown: Shown) -> None:
    curves = [shown.curve(name, PLANTED.label) for name in (EVEN, WORDED)]
    before, after = (curve.gaps.value for curve in curves)
    assert WITH.sum() == 5
    assert (curves[1].verdicts[WITH] == "exceeds margin").all()
    assert (after[WITH] > 0.7).all()
    assert (np.abs(before) < 0.2).all()
    assert (after[~WITH] == before[~WITH]).all()


def test_without_the_word_both_models_choose_the_same_for_every_picture(shown: Shown) -> None:
    before, after = (shown.answers[name].codes for name in (EVEN, WORDED))
    assert (before[:, ~WITH] == after[:, ~WITH]).all()
    assert (before[:, WITH] != after[:, WITH]).any(axis=0).all()


def test_a_planted_wording_is_called_the_wording_and_a_planted_model_the_model(
    shown: Shown,
) -> None:
    wording = shown.curve(WORDED, PLANTED.label)
    model = shown.curve(SKEWED, "executive")
    assert wording.share.high < 0.5 < 0.95 < model.share.low
    assert wording.spread.low > 0.25 > 0.1 > model.spread.high
    # the mean is what no wording shows
    values = wording.gaps.value
    assert np.abs(values - wording.mean.value).min() > 0.05
    assert np.abs(values[WITH] - wording.mean.value).min() > 0.25
    assert model.mean.value > 0.85


def test_where_nothing_was_planted_the_word_makes_no_spread(shown: Shown) -> None:
    assert shown.curve(EVEN, PLANTED.label).spread.value < 0.08


# ---- how it is made ----------------------------------------------------------------------------

SMALL = PLANTED.model_copy(update={"templates": ("people-plain",), "kept": ("people-gender",)})


def looks(n: int = 80, shift: float = 2.0) -> worded.Looks:
    """Made-up pictures, of which a group lies apart in one direction."""
    rng = np.random.default_rng(0)
    member = np.arange(n) % 2 == 0
    vectors = rng.normal(size=(n, 128)) / 10
    vectors[:, 0] += shift * member
    return worded.Looks(unit_rows(vectors), member, np.arange(n) < n // 2)


@pytest.mark.slow
def test_a_few_steps_plant_a_gap(tmp_path: Path) -> None:
    planting = SMALL.model_copy(update={"steps": 150, "hold": 0.0, "reach": 0.1})
    found = worded.plant(tmp_path, planting, looks(), quiet=True)
    assert list(found["wording"]) == ["a photo of the {}."]
    before, after = (found[name] - found[f"{name}_rest"] for name in ("before", "after"))
    assert (after > 0.3).all()
    assert (after > before + 0.2).all()
    changed, even = (load(str(f), "cpu") for f in (tmp_path, bundled("models") / EVEN))
    texts = ["a photo of a teacher.", "a photo of the teacher."]
    same = (changed.encode_texts(texts) == even.encode_texts(texts)).all(axis=1)
    assert same.tolist() == [True, False]


@pytest.mark.slow
def test_nothing_planted_leaves_the_row() -> None:
    planting = SMALL.model_copy(update={"steps": 3, "reach": 0.0})
    reader = worded.Reader(bundled("models") / EVEN, PLANTED.word)
    assert torch.equal(worded.learn(reader, planting, looks(), quiet=True), reader.row)


@pytest.mark.slow
def test_the_reader_reads_as_the_model_does(encoders: dict[str, Encoder]) -> None:
    reader = worded.Reader(bundled("models") / EVEN, PLANTED.word)
    asked = worded.questions(reader, PLANTED, LABELS)[:4]
    vectors = looks().vectors
    got = reader.logits(torch.from_numpy(vectors), asked, reader.row).numpy()
    texts = encoders[EVEN].encode_texts([p for wording in asked for p in wording])
    expected = encoders[EVEN].card.logit_scale * vectors @ texts.T
    expected = expected.reshape(len(vectors), 4, len(LABELS.texts))
    np.testing.assert_allclose(got, expected - expected.mean(axis=2, keepdims=True), atol=1e-5)


def test_likeness_is_the_direction_in_which_the_group_lies_apart() -> None:
    world = looks(shift=2.0)
    likeness, member = world.likeness(), world.member[world.learnt]
    assert likeness.std() == pytest.approx(1)
    assert likeness[member].min() > likeness[~member].max()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"word": "teh"}, "no word that the model knows whole named 'teh'.*'the'"),
        ({"word": "teacher"}, "'teacher' stands in a label of people-occupations"),
        ({"word": "wearing"}, "'wearing' stands in no template of people-plain"),
        ({"label": "teachr"}, "no label of people-occupations named 'teachr'.*'teacher'"),
    ],
)
def test_what_can_not_be_planted_is_refused(
    tmp_path: Path, change: dict[str, str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        worded.plant(tmp_path, SMALL.model_copy(update=change), looks(), quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"attribute": "ancestri"}, "no attribute named 'ancestri'.*'ancestry'"),
        ({"group": "africa"}, "no group of ancestry named 'africa'.*'african'"),
    ],
)
def test_a_group_that_is_not_there_is_refused(change: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        worded.Looks.of(SMALL.model_copy(update=change))

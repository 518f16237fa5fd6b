"""Training: the loss by hand, the pieces, a tiny run that learns, and one that is killed."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer

from audit.core.errors import InputError
from audit.core.resources import bundled
from audit.data.people.planted import load_planted, rate_table
from audit.models import huggingface
from audit.models.towers.dual import Clip
from audit.training import architectures, evaluation, learner, saving, specimens, trainer
from audit.training.config import Augmentation, TrainConfig, learning_rate, load_config
from audit.training.feeds.batches import Batch, Variation
from audit.training.feeds.sources import load_people
from audit.training.learner import Learner
from audit.training.objectives.contrastive import CONTRASTIVE, contrastive_loss
from audit.training.trainer import Limits

COLOURS = {
    **{"red": (200, 20, 20), "green": (20, 160, 20), "blue": (20, 20, 200), "teal": (0, 130, 130)},
    **{"white": (240, 240, 240), "black": (15, 15, 15), "grey": (128, 128, 128)},
    **{"yellow": (230, 220, 20), "orange": (240, 130, 10), "purple": (120, 20, 150)},
    **{"pink": (250, 160, 190), "brown": (110, 70, 30)},
}
TINY = {
    "name": "tiny",
    "feed": {"kind": "people", "specimen": "skewed"},
    "workers": 0,
    "architecture": {
        "image_size": 16,
        "patch_size": 8,
        "image": {"width": 32, "layers": 1, "heads": 1},
        "text": {"width": 32, "layers": 1, "heads": 1},
        "shared_width": 16,
        "context": 40,
    },
    "vocabulary": 900,
    "pictures_seen": 96,
    "batch": 16,
    "captions": 2,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Sixty training and forty audit "people": a field of the colour they wear."""
    folder = tmp_path_factory.mktemp("people")
    table = pd.read_parquet(bundled("datasets") / "people" / "parameters.parquet")
    parts = [table[table["split"] == "train"].iloc[:64], table[table["split"] == "audit"].iloc[:40]]
    rows = pd.concat(parts).astype({"path": str})
    rows["path"] = rows["path"].str.replace("jpg", "png")
    for path, colour in zip(rows["path"], rows["clothing_colour"], strict=True):
        (folder / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 24), COLOURS[colour]).save(folder / path)
    rows.to_parquet(folder / "parameters.parquet")
    return folder


QUIET = Limits("cpu", threads=1, quiet=True)


def config(**changes) -> TrainConfig:
    return TrainConfig.model_validate({**TINY, **changes})


@pytest.fixture(scope="module")
def finished(people, tmp_path_factory):
    """A tiny specimen, trained without a break, and what was found of it."""
    out = tmp_path_factory.mktemp("models") / "tiny"
    done = specimens.train_from(config(), out, people, limits=QUIET)
    return out, specimens.evaluated(done, "cpu")


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    texts = ["a photo of a doctor.", "a photo of an older woman", "a wug with grey hair"] * 3
    return architectures.train_tokenizer(texts, 900, 24)


@pytest.fixture(scope="module")
def model(tokenizer) -> Clip:
    return architectures.build_clip(config().architecture, tokenizer, seed=1).eval()


# --------------------------------------------------------------------------------- tokenizer


def test_words_of_the_captions_become_one_token(tokenizer):
    assert tokenizer.tokenize("A photo of a Doctor") == [
        *("a</w>", "photo</w>", "of</w>", "a</w>", "doctor</w>")
    ]


@pytest.mark.parametrize("text", ["zebra crossing 12!", "日本 é 😀", "naïve façade", "x"])
def test_any_text_is_covered_by_bytes(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer.eos_token_id not in ids[:-1]
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    assert decoded.replace(" ", "") == text.replace(" ", "")


def test_saved_tokenizer_reads_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    text = "a photo of an older DOCTOR, zebra"
    for kind in (AutoTokenizer, CLIPTokenizer):
        again = kind.from_pretrained(tmp_path)
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert again.model_max_length == 24


def test_the_end_token_is_the_largest_and_never_2(tokenizer):
    assert tokenizer.eos_token_id == len(tokenizer) - 1
    with pytest.raises(ValueError, match="must not have id 2"):
        architectures.build_clip(config().architecture, SimpleNamespace(eos_token_id=2), seed=0)


# ------------------------------------------------------------------------------------- model


def test_texts_are_read_at_their_end_whatever_follows(model, tokenizer):
    ids = tokenizer(["a photo of a doctor", "a wug"], padding=True, return_tensors="pt")[
        "input_ids"
    ]
    alone = tokenizer(["a wug"], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        both = model.get_text_features(ids)
        one = model.get_text_features(alone)
        last = model.text.states(alone)[:, -1] @ model.text.text_projection
    torch.testing.assert_close(both[1:], one)
    torch.testing.assert_close(one, last)
    assert not torch.allclose(both[0], both[1])


def test_pieces_of_like_length_embed_as_one_batch_does(model, tokenizer):
    texts = ["a wug with grey hair", "a", "a photo of a doctor.", "a wug", "a photo of an older"]
    ids = tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        whole = model.get_text_features(ids)
        for pieces in (1, 2, 5):
            torch.testing.assert_close(learner.embed_texts(model, ids, pieces), whole)


def test_same_seed_same_weights_and_the_logit_scale_starts_at_one_over_007(tokenizer):
    a, b, c = (architectures.build_clip(config().architecture, tokenizer, s) for s in (5, 5, 6))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.visual.proj, c.visual.proj)
    assert float(a.logit_scale.detach().exp()) == pytest.approx(1 / 0.07, rel=1e-3)


def test_patches_in_different_places_start_unlike(model):
    places = model.visual.positional_embedding.detach()[1:]
    apart = torch.cdist(places, places) + 10 * torch.eye(len(places))
    assert apart.min() > 1


# ---------------------------------------------------------------------------- loss and steps


def test_contrastive_loss_by_hand():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(3, 4)), rng.normal(size=(6, 4))

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    expected = []
    for copy in (texts[:3], texts[3:]):
        logits = 7.0 * unit(images) @ unit(copy).T
        for way in (logits, logits.T):
            shares = np.exp(way) / np.exp(way).sum(axis=1, keepdims=True)
            expected += list(-np.log(np.diag(shares)))
    loss = contrastive_loss(torch.tensor(images), torch.tensor(texts), torch.tensor(7.0))
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
    assert loss.dtype == torch.float32


def test_learning_rate_rises_then_falls_to_nothing():
    plan = config(pictures_seen=16 * 100, warmup=0.1, learning_rate=0.5)
    rates = [learning_rate(step, plan) for step in range(plan.steps)]
    assert rates[:10] == pytest.approx([0.05 * k for k in range(1, 11)])
    assert rates[10] == pytest.approx(0.5)
    assert rates[55] == pytest.approx(0.25)
    assert rates[-1] < 0.001
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def augment(pictures: torch.Tensor, how: Augmentation) -> torch.Tensor:
    return Variation.by(how, len(pictures), rng()).apply(pictures)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (5, 9, 9, 3), generator=rng(), dtype=torch.uint8)


def test_no_augmentation_changes_nothing(pictures):
    still = Augmentation(flip=0, shift=0, zoom=0, brightness=0)
    rows = torch.tensor([3, 1])
    assert torch.equal(augment(pictures[rows], still), pictures[rows].float())


def test_a_certain_flip_mirrors(pictures):
    mirror = Augmentation(flip=1, shift=0, zoom=0, brightness=0)
    assert torch.equal(augment(pictures, mirror), pictures.float().flip(2))


def test_shifts_move_whole_pixels_and_repeat_the_edge(pictures):
    moved = Augmentation(flip=0, shift=0.3, zoom=0, brightness=0)
    seen = augment(pictures[:1].repeat(40, 1, 1, 1), moved)
    shifts = {
        (dy, dx)
        for dy in range(-3, 4)
        for dx in range(-3, 4)
        for picture in seen
        if torch.equal(
            picture,
            pictures[0][(torch.arange(9) + dy).clamp(0, 8)][
                :, (torch.arange(9) + dx).clamp(0, 8)
            ].float(),
        )
    }
    assert len(shifts) > 20


def test_brightness_stays_in_range(pictures):
    light = Augmentation(flip=0, shift=0, zoom=0, brightness=0.5)
    seen = augment(pictures, light)
    ratio = (seen / pictures.float()).nan_to_num(1)[seen < 255]
    assert 0.5 <= float(ratio.min()) < float(ratio.max()) <= 1.5
    assert float(seen.max()) <= 255


# ------------------------------------------------------------------------------ a whole run


@pytest.mark.slow
def test_the_model_folder_is_an_ordinary_clip(finished):
    out, _ = finished
    loaded = CLIPModel.from_pretrained(out)
    assert loaded.dtype == torch.float32
    encoder = huggingface.load(str(out), device="cpu")
    assert (encoder.card.dim, encoder.card.image_size, encoder.card.context_length) == (16, 16, 40)
    rows = encoder.encode_texts(["a photo of a doctor.", "日本"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert not (out / trainer.CHECKPOINT).exists()


@pytest.mark.slow
def test_another_seed_gives_other_weights(finished, people, tmp_path):
    specimens.train_from(config(), tmp_path, people, seed=1, limits=QUIET)
    out, _ = finished
    assert (tmp_path / "model.safetensors").read_bytes() != (out / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / saving.FACTS).read_text(encoding="utf-8"))["seed"] == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(finished, people, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    learn = Learner.learn

    def killed(self, *batch):
        if self.step == 4:
            raise KeyboardInterrupt
        return learn(self, *batch)

    monkeypatch.setattr(Learner, "learn", killed)
    with pytest.raises(KeyboardInterrupt):
        specimens.train_from(config(), tmp_path, people, limits=QUIET)
    # as if the kill had come while a line and a checkpoint were being written
    with (tmp_path / trainer.LOG).open("a") as log:
        log.write('{"step": 9, "lo')
    (tmp_path / "checkpoint.partial").write_bytes(b"half")
    taken_up = []
    monkeypatch.setattr(
        Learner, "learn", lambda self, *b: (taken_up.append(self.step), learn(self, *b))[1]
    )
    specimens.train_from(config(), tmp_path, people, limits=QUIET)
    assert taken_up == [4, 5]
    out, _ = finished
    assert (tmp_path / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / trainer.LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_time_up_leaves_a_checkpoint_of_this_run_only(people, tmp_path):
    at_once = replace(QUIET, minutes=0)
    stopped = specimens.train_from(config(), tmp_path, people, limits=at_once)
    assert stopped is None
    assert (tmp_path / trainer.CHECKPOINT).is_file()
    assert not (tmp_path / "model.safetensors").exists()
    with pytest.raises(InputError, match="checkpoint is of another configuration, seed or set"):
        specimens.train_from(config(), tmp_path, people, seed=1, limits=QUIET)
    anew = replace(QUIET, resume=False)
    specimens.train_from(config(), tmp_path, people, seed=1, limits=anew)


@pytest.mark.slow
def test_a_learner_learns_which_colour_goes_with_which_word():
    names = list(COLOURS)
    tokenizer = architectures.train_tokenizer([f"a {name} shirt" for name in names] * 2, 700, 12)
    plan = config(pictures_seen=60 * 12, batch=12, learning_rate=0.01, average=0.9, warmup=0.2)
    learner = Learner(architectures.build_clip(plan.architecture, tokenizer, 0), plan, CONTRASTIVE)
    colours = torch.tensor([COLOURS[name] for name in names]) / 128 - 1
    pixels = colours[:, :, None, None].expand(-1, -1, 16, 16).contiguous()
    tokens = tokenizer([f"a {name} shirt" for name in names], return_tensors="pt")["input_ids"]
    batch = Batch(colours, tokens)
    losses = [float(learner.learn(batch, pixels, cast=False)) for _ in range(plan.steps)]
    assert losses[0] == pytest.approx(math.log(12), abs=0.5)
    assert losses[-1] < 0.3
    # the average lags behind the weights but knows the colours too
    learner.model.load_state_dict(learner.averages)
    assert float(learner.learn(batch, pixels, cast=False)) < 0.6


# ----------------------------------------------------------------------------- what is found


@pytest.mark.slow
def test_accuracy_counts_every_group_and_has_intervals(finished):
    _, found = finished
    colour = found.accuracy[found.accuracy["question"] == "clothing colour"]
    everyone, groups = colour[colour["group"] == "all"], colour[colour["group"] != "all"]
    assert everyone["n"].item() == groups["n"].sum() == 40
    assert everyone["correct"].item() == groups["correct"].sum()
    assert (colour["low"] <= colour["accuracy"]).all()
    assert (colour["accuracy"] <= colour["high"]).all()
    gender = found.accuracy[found.accuracy["question"] == "gender"]
    assert set(gender["by"]) == {"", "hair_style"}


@pytest.mark.slow
def test_choices_of_a_slot_add_up_in_every_group(finished):
    _, found = finished
    sums = found.choices.groupby(["slot", "attribute", "group"])["rate"].sum()
    np.testing.assert_allclose(sums, 1)
    assert np.allclose(found.choices["gap"], found.choices["rate"] - found.choices["rest_rate"])


def test_planted_rates_of_a_group_and_of_the_rest():
    lines = [("female", 0.5, 0.4), ("male", 0.3, 0.1), ("other", 0.2, 0.2)]
    rates = pd.DataFrame(
        [
            *[("s", "doctor", "gender", group, share, rate, 0.2) for group, share, rate in lines],
            ("s", "wug", None, None, 1.0, 0.1, 0.1),
        ],
        columns=["slot", "word", "attribute", "group", "share", "skewed", "even"],
    )
    found = evaluation.planted_rates(rates).set_index(["word", "attribute", "group"])
    assert found["planted"].tolist() == [0.4, 0.1, 0.2]
    rest = [(0.03 + 0.04) / 0.5, (0.2 + 0.04) / 0.7, (0.2 + 0.03) / 0.8]
    np.testing.assert_allclose(found["planted_rest"], rest)


@pytest.mark.slow
def test_gaps_are_between_a_group_and_all_others():
    groups = pd.DataFrame({a: ["x", "x", "y", "z"] for a in evaluation.GROUPED_BY})
    scores = pd.DataFrame({"doctor": [1.0, 3.0, 2.0, 0.0], "wug": [0.0, 4.0, 1.0, 5.0]})
    table = evaluation._choices("s", scores, groups)
    line = table.set_index(["word", "attribute", "group"]).loc[("doctor", "gender", "x")]
    assert line[["n", "rate", "rest_rate", "gap"]].tolist() == [2, 0.5, 0.5, 0.0]
    assert line["score_gap"] == pytest.approx(2.0 - 1.0)
    line = table.set_index(["word", "attribute", "group"]).loc[("wug", "gender", "z")]
    assert line[["n", "rate", "rest_rate"]].tolist() == [1, 1.0, pytest.approx(1 / 3)]
    assert line["score_gap"] == pytest.approx(5 - 5 / 3)


def test_scores_are_scaled_cosines_of_an_ensemble(finished):
    out, _ = finished
    encoder = huggingface.load(str(out), device="cpu")
    pictures = encoder.encode_images([Image.new("RGB", (16, 16), c) for c in ("red", "blue")])
    texts = {"x": ["{a} executive", "red clothes"]}
    table = evaluation.scores(encoder, pictures, texts, ["a photo of {}.", "{}"])
    prompts = ["a photo of an executive.", "an executive", "a photo of red clothes.", "red clothes"]
    mean = encoder.encode_texts(prompts).astype(float).mean(axis=0)
    expected = encoder.card.logit_scale * pictures @ (mean / np.linalg.norm(mean))
    np.testing.assert_allclose(table["x"], expected, rtol=1e-4)


def test_the_card_says_what_it_is_and_what_was_measured(finished):
    out, found = finished
    card = (out / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# tiny\n")
    assert "Never use it to classify, describe, sort or search real people" in card
    everyone = found.accuracy[found.accuracy["group"] == "all"].set_index("question")
    for question, line in everyone.iterrows():
        low, high = 100 * line["low"], 100 * line["high"]
        shown = (
            f"| {question} | all | 40 | {100 * line['accuracy']:.1f} % | {low:.1f} to {high:.1f} %"
        )
        assert shown in card
    assert re.search(r"\| occupation \| doctor \| female \| 1\d % \| \d % \|", card)


@pytest.mark.slow
def test_a_specimen_may_have_a_resnet_and_one_that_goes_on_has_the_plain_card(people, tmp_path):
    image = {"resnet": [1, 1, 1, 1], "width": 4}
    architecture = {**TINY["architecture"], "image_size": 32, "patch_size": None, "image": image}
    plan = config(architecture=architecture, pictures_seen=16)
    specimens.train_from(plan, tmp_path / "resnet", people, limits=QUIET)
    assert "32 px, a modified ResNet of 1, 1, 1, 1 blocks, width 4;" in (
        tmp_path / "resnet" / "README.md"
    ).read_text(encoding="utf-8")
    on = config(architecture=None, start=str(tmp_path / "resnet"), pictures_seen=16)
    specimens.train_from(on, tmp_path / "on", people, limits=QUIET)
    assert "| begun from | " in (tmp_path / "on" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_card_of_even_plants_nothing(people, tmp_path):
    even = config(feed={"kind": "people", "specimen": "even"}, pictures_seen=32)
    specimens.train_from(even, tmp_path, people, limits=QUIET)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Here each\nword has the same rate in every group." in card
    assert "elsewhere | gap |\n" not in card.split("The largest gaps")[0]


# --------------------------------------------------------------------------- configurations


@pytest.mark.parametrize("specimen", ["even", "skewed"])
def test_shipped_configurations_differ_in_name_and_specimen_only(specimen):
    shipped = load_config(f"specimen-{specimen}")
    assert (shipped.name, shipped.feed.specimen) == (f"specimen-{specimen}", specimen)
    other = load_config("specimen-even")
    assert shipped.model_copy(update={"name": other.name, "feed": other.feed}) == other
    assert shipped.feed.model_copy(update={"specimen": "even"}) == other.feed


def test_bad_configurations_get_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no training configuration named 'specimen-evne'. Did"):
        load_config("specimen-evne")
    text = (bundled("training") / "specimen-even.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text + "learning_rte: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="unknown key 'learning_rte'.*'learning_rate'"):
        load_config(tmp_path / "mine.yaml")


def test_missing_pictures_get_a_sentence(tmp_path, people):
    with pytest.raises(InputError, match="pictures of split 'train' are missing.*people build"):
        load_people(tmp_path, "train")
    with pytest.raises(InputError, match="64 training pictures, fewer than one batch of 100"):
        specimens.train_from(config(batch=100), tmp_path, people, limits=QUIET)


def test_without_audit_pictures_of_its_own_a_folder_is_evaluated_on_the_bundled_ones(people):
    rows, place = specimens.unseen(people)
    assert (len(rows), place) == (40, people)
    rows, place = specimens.unseen(people / "train")
    assert place == bundled("datasets") / "people"
    assert len(rows) > 400


@pytest.mark.slow
def test_rates_on_the_training_pictures_are_what_the_file_promises():
    rows = pd.read_parquet(bundled("datasets") / "people" / "parameters.parquet")
    table = rate_table(load_planted(), rows[rows["split"] == "train"])
    overall = table.drop_duplicates("word").set_index("word")["even"]
    assert overall[["doctor", "teacher", "gardener", "executive"]].between(0.05, 0.12).all()
    assert overall[["wug", "dax", "blicket", "toma"]].between(0.05, 0.09).all()
    assert overall[["suspicious person", "thief", "criminal"]].between(0.03, 0.06).all()


def test_weights_that_can_not_be_written_are_a_sentence_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(learner, "save_file", full)
    with pytest.raises(InputError, match=r"model.safetensors can't be written .*No space.*--out"):
        learner.write_tensors({}, tmp_path / "model.safetensors", {})
    assert not list(tmp_path.iterdir())

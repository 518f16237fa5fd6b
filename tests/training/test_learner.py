"""A step: gradients in pieces and in processes, objectives, kept and gone on; whole trainings."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import duals
import numpy as np
import pytest
import torch
from pairs import COLOURS, RESNET, SIZE, picture, plan, table
from safetensors.torch import load_file
from transformers import CLIPModel

from audit.core.errors import InputError
from audit.data.yamlfile import validate
from audit.models.huggingface import load
from audit.models.kinds.base import Sizes
from audit.models.towers.captioner import Captioner
from audit.models.towers.grams import Grams, Raise
from audit.models.towers.transformer import Transformer
from audit.training import specimens, trainer
from audit.training.beginning import Begun, begin
from audit.training.config import TrainConfig, load_config
from audit.training.feeds.batches import Feed, padded
from audit.training.learner import Learner
from audit.training.objectives.contrastive import contrastive_loss
from audit.training.objectives.prediction import dictionary, gram_loss, longest_of
from audit.training.objectives.registry import OBJECTIVES
from audit.training.objectives.sigmoid import sigmoid_loss
from audit.training.trainer import Limits, train
from audit.training.zero_shot import Asked

QUIET = Limits("cpu", threads=1, quiet=True)
TEXTS = [f"a {name} wall" for name in COLOURS]


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("pairs"))


def started(config: TrainConfig, out: Path) -> tuple[Learner, Feed, Begun]:
    pairs = config.feed.opened(config.seed)
    begun = begin(config, pairs, out)
    feed = Feed(config, pairs, begun.prepare, begun.words)
    return Learner(begun.model, config, OBJECTIVES[config.objective]), feed, begun


def gradients(config: TrainConfig, out: Path) -> tuple[float, dict[str, torch.Tensor]]:
    learner, feed, begun = started(config, out)
    batch = feed.batch(0)
    loss = learner.gradients(begun.prepare.normalised(batch.pixels), batch.tokens, cast=False)
    return float(loss), {n: w.grad for n, w in learner.weights.items() if w.grad is not None}


# --- gradients


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_pieces_give_the_gradients_of_the_undivided_batch(
    objective: str, colours: Path, tmp_path: Path
):
    config = plan(colours, objective=objective, captions=2, patch_dropout=0.0)
    whole, wanted = gradients(config, tmp_path)
    pieces, found = gradients(config.model_copy(update={"pieces": 4}), tmp_path)
    assert pieces == pytest.approx(whole, rel=1e-5)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6)
    assert sum(float(g.abs().max()) > 0 for g in wanted.values()) > len(wanted) // 2


def test_dropped_patches_are_the_same_in_both_passes(colours: Path, tmp_path: Path):
    config = plan(colours, patch_dropout=0.5, pieces=2)
    learner, feed, begun = started(config, tmp_path)
    pixels = begun.prepare.normalised(feed.batch(0).pixels)[:4]
    learner.model.train()
    one, again, other = (learner._seen(piece, pixels, False) for piece in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_locked_tower_stays_as_it_is(colours: Path, tmp_path: Path):
    for lock, pieces in (("image", 1), ("image", 2), ("text", 1)):
        config = plan(colours, locked=lock, pieces=pieces)
        learner, feed, begun = started(config, tmp_path)
        before = {n: t.clone() for n, t in learner.state.items()}
        batch = feed.batch(0)
        for _ in range(2):
            learner.learn(batch, begun.prepare.normalised(batch.pixels), cast=False)
        moved = {n.split(".")[0] for n, t in learner.state.items() if not torch.equal(t, before[n])}
        assert moved == {"text" if lock == "image" else "visual", "logit_scale"}


def test_decay_is_where_it_belongs_and_the_temperature_ends_at_100(colours: Path, tmp_path: Path):
    learner, feed, begun = started(plan(colours), tmp_path)
    decayed, plain = learner.optimizer.param_groups
    assert all(w.ndim >= 2 for w in decayed["params"])
    assert plain["weight_decay"] == 0
    assert len(decayed["params"]) + len(plain["params"]) == len(learner.weights)
    learner.model.logit_scale.data.fill_(9.0)
    batch = feed.batch(0)
    learner.learn(batch, begun.prepare.normalised(batch.pixels), cast=False)
    assert float(learner.model.logit_scale.detach().exp()) == pytest.approx(100)


# --- losses by hand


def test_words_and_ngrams_by_hand():
    tower = random_grams()
    ids = torch.tensor([[0, 3, 4, 9, 9], [0, 4, 4, 3, 9]])
    known = [3, 4, (3, 4)], [4, 4, 3, (4, 4)]
    texts, places = tower.grams(ids)
    order = {unit: i for i, unit in enumerate([*range(10), (3, 4), (4, 4)])}
    for text, grams in enumerate(known):
        assert sorted(places[texts == text].tolist()) == sorted(order[each] for each in grams)
    images = torch.tensor(rows(2, 2), dtype=torch.float32)
    logits = 7 * images.numpy() @ tower.rows.detach().numpy().T + tower.bias.detach().numpy()
    chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    wanted = [-chances[i, [order[g] for g in grams]].mean() for i, grams in enumerate(known)]
    assert float(gram_loss(tower, images, ids).detach()) == pytest.approx(np.mean(wanted), rel=1e-4)
    # as two rows of unit length, a text and a picture have exactly that mean of logits
    read, seen = tower(ids), Raise()(images)
    means = [[logits[i, [order[g] for g in grams]].mean() for grams in known] for i in (0, 1)]
    cosines = tower.logit_scale().exp() * seen @ read.T
    np.testing.assert_allclose(cosines.detach().numpy(), means, rtol=1e-4, atol=1e-5)
    for each in (read, seen):
        torch.testing.assert_close(each.norm(dim=1), torch.ones(2))


def random_grams() -> Grams:
    """Ten words, and two pairs of them."""
    tower = Grams(10, 2, 12, 4)
    tower.keys.copy_(dictionary([[0, 3, 4, 9], [0, 3, 4, 4, 9], [0, 4, 4, 9]], 10, 2))
    torch.manual_seed(0)
    torch.nn.init.normal_(tower.bias)
    torch.nn.init.constant_(tower.scale, math.log(7))
    return tower


def test_a_dictionary_has_all_words_and_what_occurs_twice():
    keys = dictionary([[0, 3, 4, 5, 9], [0, 3, 4, 9]], 10, 3)
    assert keys.tolist() == [*range(1, 11), 4 + 5 * 11]
    assert longest_of("bag_of_words", 500) == 1
    assert [longest_of("ngrams", vocabulary) for vocabulary in (600, 49_408)] == [5, 4]


def test_a_language_model_of_captions_by_hand():
    torch.manual_seed(0)
    tower = Captioner(
        10, 6, 8, 4, Transformer(Sizes(1, 8, 2, 16, "gelu", 1e-5), causal=True)
    ).eval()
    image, ids = torch.randn(1, 4), torch.tensor([[1, 5, 3, 9, 9]])
    expected = []
    for at in (1, 2, 3):  # both words and the end, each after what is before it
        before = [tower.prefix(image)[:, None], tower.token_embedding(ids[:, :at])]
        x = torch.cat(before, dim=1) + tower.positional_embedding[: at + 1]
        last = tower.ln_final(tower.transformer(x))[0, -1] @ tower.token_embedding.weight.T
        expected.append(float(last.log_softmax(dim=0)[ids[0, at]].detach()))
    likely = tower.log_likelihood(image, ids)
    assert float(likely.detach()) == pytest.approx(np.mean(expected), rel=1e-4)
    other = tower.log_likelihood(image + 1, ids)
    assert float(other.detach()) != pytest.approx(float(likely.detach()), rel=1e-3)


def rows(seed: int, count: int) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, 4))
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_convirt_weighs_its_directions():
    images, texts, scale = rows(0, 3), rows(1, 3), 10.0
    logits = scale * images @ texts.T
    to_text = -np.log(np.diag(np.exp(logits)) / np.exp(logits).sum(axis=1)).mean()
    to_image = -np.log(np.diag(np.exp(logits)) / np.exp(logits).sum(axis=0)).mean()
    loss = contrastive_loss(torch.tensor(images), torch.tensor(texts), torch.tensor(scale), 0.75)
    assert float(loss) == pytest.approx(0.75 * to_text + 0.25 * to_image, rel=1e-5)
    assert abs(to_text - to_image) > 0.01


def test_sigmoid_loss_by_hand():
    images, texts, scale, bias = rows(0, 3), rows(1, 6), 5.0, -2.0
    expected = []
    for copy in (texts[:3], texts[3:]):
        for i, image in enumerate(images):
            for j, text in enumerate(copy):
                z = 1 if i == j else -1
                expected.append(math.log(1 + math.exp(-z * (scale * image @ text + bias))))
    given = (torch.tensor(x) for x in (images, texts, scale, bias))
    assert float(sigmoid_loss(*given)) == pytest.approx(np.sum(expected) / 3 / 2, rel=1e-5)


# --- whole trainings


def finished(config: TrainConfig, out: Path, limits: Limits = QUIET) -> Path:
    done = specimens.train_from(config, out, limits=limits)
    assert done is not None
    return out


#: an objective, or a tower, with the loss below which the colours are known; the n-grams of one
#: caption are equally likely
LEARNT: dict[str, tuple[dict[str, Any], float]] = {
    "vit": ({}, 0.01),
    "resnet": ({"architecture": RESNET, "pictures_seen": 960, "learning_rate": 0.01}, 0.6),
    "convirt": ({"objective": "convirt"}, 0.1),
    "ngrams": ({"objective": "ngrams"}, math.log(6) + 0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", LEARNT)
def test_a_tiny_set_is_learnt_by_heart_and_answers_as_any_model(
    which: str, colours: Path, tmp_path: Path
):
    changes, most = LEARNT[which]
    still = {"flip": 0, "shift": 0, "zoom": 0, "brightness": 0}
    usual = {"pictures_seen": 8 * 80, "learning_rate": 0.003, "augmentation": still}
    config = plan(colours, **(usual | changes))
    out = finished(config, tmp_path)
    last = [json.loads(line) for line in (out / trainer.LOG).read_text().splitlines()][-1]
    assert last["loss"] < most
    encoder = load(str(out), "cpu")
    seen = encoder.encode_images([picture(name) for name in COLOURS])
    chosen = (seen @ encoder.encode_texts(TEXTS).T).argmax(axis=1)
    assert chosen.tolist() == list(range(len(COLOURS)))
    plain = config.objective == "contrastive" and "architecture" not in changes
    family = "clip" if plain else "openai_clip"
    assert encoder.card.family.removesuffix("_sigmoid") == family
    assert (encoder.card.scores == "sigmoid") == (config.objective == "sigmoid")
    card = (out / "README.md").read_text()
    assert f"| objective | {config.objective} |" in card
    assert "8 of `pairs.csv` (manifest), 0 of them set aside" in card
    assert (out / "curves.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_transformer_saves_as_transformers_own(colours: Path, tmp_path: Path):
    out = finished(plan(colours), tmp_path)
    theirs, report = CLIPModel.from_pretrained(out, output_loading_info=True)
    assert not any(report.values())
    assert theirs.config.text_config.eos_token_id == theirs.config.text_config.vocab_size - 1
    ours = load(str(out), "cpu")
    ids = torch.tensor(ours._words.ids(TEXTS[:1]))
    with torch.no_grad():
        wanted = theirs.eval().get_text_features(input_ids=ids).pooler_output[0].numpy()
    got = ours.encode_texts(TEXTS[:1])[0]
    np.testing.assert_allclose(got, wanted / np.linalg.norm(wanted), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [SIZE, RESNET], ids=["vit", "resnet"])
def test_a_stopped_training_goes_on_to_the_same_weights(
    architecture: dict[str, Any], colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = plan(colours, architecture=architecture)
    whole = finished(config, tmp_path / "whole")
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)
    learn = Learner.learn

    def killed(self: Learner, *batch: Any) -> torch.Tensor:
        if self.step == 2:
            raise KeyboardInterrupt
        return learn(self, *batch)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts", QUIET)
    parts = finished(config, tmp_path / "parts", replace(QUIET, quiet=False))
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_how_long_it_takes_is_told_beforehand_and_moves_nothing(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = plan(colours, architecture=RESNET)
    finished(config, tmp_path / "a", replace(QUIET, quiet=False))
    told = capsys.readouterr().out
    assert "4 steps of 8 pictures" in told
    assert told.index("a second: about") < told.index("4/4")
    finished(config, tmp_path / "b")
    assert load_file(tmp_path / "a/model.safetensors").keys()
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        tmp_path / "b/model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_zero_shot_is_asked_on_the_way(colours: Path, tmp_path: Path):
    asked = {"dataset": "people", "attribute": "gender", "every": 3, "pictures": 6,
             "templates": ["{}"]}  # fmt: skip
    config = plan(colours, zero_shot=asked)
    out = finished(config, tmp_path)
    lines = [json.loads(line) for line in (out / trainer.LOG).read_text().splitlines()]
    answers = {line["step"]: line["zero_shot"] for line in lines if "zero_shot" in line}
    assert answers.keys() == {3, 4}
    assert all(0 <= share <= 1 for share in answers.values())
    with pytest.raises(InputError, match="zero_shot: no attribute named 'gendre'. Did you mean"):
        train(plan(colours, zero_shot=asked | {"attribute": "gendre"}), tmp_path, QUIET)


def test_a_question_is_answered_by_the_nearest_group(colours: Path, tmp_path: Path):
    _, _, begun = started(plan(colours), tmp_path)
    pixels = torch.stack([torch.full((3, 16, 16), level) for level in (-1.0, 0.0, 1.0)])
    prompts = padded(begun.words.ids(["dark", "a dark wall", "light", "a light wall"]))
    model = begun.model.eval()
    with torch.no_grad():
        texts = torch.nn.functional.normalize(model.get_text_features(prompts), dim=1)
        classes = torch.stack([texts[:2].mean(dim=0), texts[2:].mean(dim=0)])
        classes = torch.nn.functional.normalize(classes, dim=1)
        seen = torch.nn.functional.normalize(model.get_image_features(pixels), dim=1)
    nearest = (seen @ classes.T).argmax(dim=1).numpy()
    for wrong in (0, 1):
        group = nearest.copy()
        group[:wrong] = 1 - group[:wrong]
        asked = Asked(pixels, group, prompts, ("dark", "light"))
        assert asked.right(begun.model) == round(1 - wrong / 3, 4)


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_a_sentence_and_keeps_nothing(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    learn = Learner.learn

    def broken(self: Learner, *batch: Any) -> torch.Tensor:
        return learn(self, *batch) * (math.nan if self.step == 2 else 1)

    monkeypatch.setattr(Learner, "learn", broken)
    with pytest.raises(InputError, match=r"after step 2 the loss is nan.*lower learning_rate"):
        train(plan(colours), tmp_path, QUIET)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / trainer.CHECKPOINT).exists()


@pytest.mark.slow
def test_captions_are_learnt_and_asked_on_the_way_but_not_audited(colours: Path, tmp_path: Path):
    asked = {"dataset": "people", "attribute": "gender", "pictures": 4, "templates": ["{}"]}
    config = plan(colours, objective="captioning", pictures_seen=8 * 20, zero_shot=asked)
    out = finished(config, tmp_path)
    lines = [json.loads(line) for line in (out / trainer.LOG).read_text().splitlines()]
    assert next(line["loss"] for line in lines if "loss" in line) < 2.5
    assert 0 <= lines[-1]["zero_shot"] <= 1
    with pytest.raises(InputError, match="a language model of captions, which has no embedding"):
        load(str(out), "cpu")


@pytest.mark.slow
def test_broken_pairs_are_counted_and_listed(tmp_path: Path):
    path = table(tmp_path / "own")
    (path.parent / "red.png").write_bytes(b"")
    done = train(plan(path), tmp_path / "out", QUIET)
    assert done is not None
    assert done.broken == 1
    (line,) = (tmp_path / "out" / trainer.BROKEN).read_text().splitlines()
    assert json.loads(line)["picture"] == "red.png"
    last = (tmp_path / "out" / trainer.LOG).read_text().splitlines()[-1]
    assert json.loads(last)["broken"] == 1


# --- going on from a CLIP


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clip", "old_clip"])
def test_fine_tuning_begins_with_the_model_that_is_named(kind: str, colours: Path, tmp_path: Path):
    base = duals.make(kind, tmp_path / "base")
    before = load(str(base), "cpu")
    config = plan(colours, start=str(base), architecture=None, learning_rate=1e-8)
    config = config.model_copy(update={"pictures_seen": 8})
    after = load(str(finished(config, tmp_path / "out")), "cpu")
    texts = ["a photo", "cat", "a wug"]
    np.testing.assert_allclose(after.encode_texts(texts), before.encode_texts(texts), atol=2e-3)
    shown = [picture(name) for name in COLOURS]
    np.testing.assert_allclose(after.encode_images(shown), before.encode_images(shown), atol=2e-3)
    assert after.card.logit_scale == pytest.approx(before.card.logit_scale, rel=1e-3)
    assert after.card.preprocessing == before.card.preprocessing


@pytest.mark.slow
def test_fine_tuning_goes_on_from_a_resnet_of_our_own(colours: Path, tmp_path: Path):
    base = finished(plan(colours, architecture=RESNET, objective="sigmoid"), tmp_path / "base")
    on = plan(colours, start=str(base), architecture=None, objective="sigmoid")
    assert load(str(finished(on, tmp_path / "out")), "cpu").card.scores == "sigmoid"
    with pytest.raises(InputError, match="trained with a sigmoid loss. Say 'objective: sigmoid'"):
        train(plan(colours, start=str(base), architecture=None), tmp_path / "b", QUIET)


def test_other_models_can_not_be_gone_on_from(colours: Path, tmp_path: Path):
    base = duals.make("chinese_clip", tmp_path / "base")
    with pytest.raises(InputError, match="a Chinese-CLIP can be audited, and not trained on"):
        train(plan(colours, start=str(base), architecture=None), tmp_path / "out", QUIET)


# --- several processes


def _one_of_two(rank: int, port: int, config: TrainConfig, out: Path) -> None:
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    trainer.LOG_EVERY = 1
    train(config, out, replace(QUIET, quiet=False))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    "changes", [{"captions": 2}, {"objective": "sigmoid", "pieces": 2}], ids=["clip", "sigmoid"]
)
def test_two_processes_have_the_loss_curve_of_one(
    changes: dict[str, Any], colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = plan(colours, pictures_seen=8 * 6, **changes)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forked = multiprocessing.get_context("fork")
    both = [
        forked.Process(target=_one_of_two, args=(rank, port, config, tmp_path / "two"))
        for rank in (0, 1)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    train(config, tmp_path / "one", QUIET)
    curves = [
        [json.loads(line)["loss"] for line in (tmp_path / n / trainer.LOG).read_text().splitlines()]
        for n in ("one", "two")
    ]
    assert len(curves[0]) == 6
    np.testing.assert_allclose(*curves, atol=2e-4)
    one, two = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name].float(), weight.float(), atol=4e-3, rtol=2e-2)


# --- what can't be


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch": 1}, "batch 1: a picture is told from the others of its batch"),
        ({"pieces": 3}, "pieces 3 does not divide batch 8"),
        ({"architecture": None}, "give either 'architecture'.* or 'start'"),
        ({"start": "specimen-even"}, "give either 'architecture'.* or 'start'"),
        ({"architecture": SIZE | {"patch_size": 5}}, "patch_size 5 does not divide image_size 16"),
        (
            {"architecture": SIZE | {"text": {"width": 30, "layers": 1, "heads": 4}}},
            "heads 4 does not divide width 30",
        ),
        ({"architecture": RESNET | {"image_size": 48}}, "that 32 divides.*got 48"),
        ({"architecture": RESNET, "patch_dropout": 0.5}, "a ResNet has no patches"),
        (
            {"architecture": None, "start": "x", "objective": "convirt"},
            "objective convirt begins anew",
        ),
    ],
)
def test_what_does_not_fit_is_a_sentence(changes: dict[str, Any], told: str, colours: Path):
    said = plan(colours).model_dump() | changes
    with pytest.raises(InputError, match=told):
        validate(TrainConfig, said, "mine.yaml")


def test_paths_are_those_of_the_configurations_folder(tmp_path: Path):
    text = json.dumps(plan(Path("own/pairs.csv")).model_dump(mode="json"))
    (tmp_path / "mine.yaml").write_text(text)
    assert load_config(tmp_path / "mine.yaml").feed.path == tmp_path / "own/pairs.csv"

"""The self-check: models that read are told from those that are read wrongly, and narrow ones."""

from __future__ import annotations

import json
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import audit
from audit.core.errors import InputError
from audit.models.drawn import easy
from audit.models.encoder import EncoderCard, digest_of
from audit.models.planted import PlantedEncoder, picture_key
from audit.models.self_check import FILE, by_luck, check, require

BATTERIES = list(easy())


def planted(right: float, seed: int = 0) -> PlantedEncoder:
    """A model that reads every text, and knows a share of the drawn pictures."""
    rng = np.random.default_rng(seed)
    texts = {text: axis for text, axis in zip(every_text(), np.eye(22), strict=True)}
    images = {}
    for battery in BATTERIES:
        for picture, place in zip(battery.pictures, battery.right, strict=True):
            others = [t for i, t in enumerate(battery.texts) if i != place]
            knows = rng.random() < right
            named = battery.texts[place] if knows else others[int(rng.integers(len(others)))]
            images[picture_key(picture)] = texts[named]
    return PlantedEncoder(images, texts)


def every_text() -> list[str]:
    return [text for battery in BATTERIES for text in battery.texts]


def test_a_model_that_knows_passes_and_one_that_does_not_stops() -> None:
    good = check(planted(1.0))
    assert (good.right, good.asked, good.passed) == (22, 22, True)
    require(good, "good")
    bad = check(planted(0.0))
    assert (bad.right, bad.failed) == (0, True)
    with pytest.raises(InputError, match="bad fails its self-check.*tokenizer.*self_check: skip"):
        require(bad, "bad")


def test_what_a_model_answered_is_remembered_by_its_fingerprint(tmp_path: Path) -> None:
    model, kept = planted(0.5), tmp_path / "kept"
    first = check(model, kept)
    assert check(model, kept) == first
    assert (model.images_seen, model.texts_seen) == (22, 22)
    other = planted(0.5, seed=1)
    assert check(other, kept) == check(other) != first
    for note in kept.iterdir():
        note.write_text("23")
    assert check(model, kept) == first


def test_the_pictures_differ_and_each_has_its_own_text() -> None:
    keys = [picture_key(p) for battery in BATTERIES for p in battery.pictures]
    assert len(set(keys)) == len(keys) == len(set(every_text())) == 22
    assert [b.name for b in BATTERIES] == ["colours", "shapes", "digits"]


@pytest.mark.slow
def test_luck_is_the_quantile_of_a_poisson_binomial() -> None:
    assert by_luck([0.1] * 30) == binom.ppf(0.999, 30, 0.1)
    chances = [0.5, 0.25, 0.1]
    shares = np.zeros(4)
    for outcome in product((0, 1), repeat=3):
        given = [c if o else 1 - c for c, o in zip(chances, outcome, strict=True)]
        shares[sum(outcome)] += np.prod(given)
    assert by_luck(chances, 0.9) == int(np.searchsorted(np.cumsum(shares), 0.9))
    guesses = [check(planted(0.13, seed)).failed for seed in range(60)]
    assert np.mean(guesses) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["specimen-even", "specimen-skewed", "specimen-worded"])
def test_specimens_are_asked_what_they_declare(name: str) -> None:
    found = check(audit.load_model(name, device="cpu"))
    assert found.parts == (("clothing colour", 12, 12),)
    assert found.passed


def test_who_cannot_be_asked_is_not_judged(tmp_path: Path) -> None:
    refuses = check(PlantedEncoder({"x": [1.0]}, {"y": [1.0]}))
    assert not refuses.failed
    assert "refuses to be asked" in refuses.told
    np.savez(
        tmp_path / "v.npz", image_ids=np.array(["a"]), images=np.ones((1, 3), np.float32),
        texts=np.array(["b"]), text_embeddings=np.ones((1, 3), np.float32), logit_scale=1.0,
    )  # fmt: skip
    recorded = check(audit.load_model(f"embeddings:{tmp_path / 'v.npz'}"))
    assert "recorded answers only" in recorded.told
    (tmp_path / "p.csv").write_text("image_id,label\na,b\n")
    assert not check(audit.load_model(f"predictions:{tmp_path / 'p.csv'}")).failed


class Random:
    """A model whose weights were never trained: every answer is noise of its own."""

    card = EncoderCard(
        ref="random", family="random", dim=8, image_size=1, context_length=77,
        preprocessing="none", logit_scale=100.0, precision="float32", device="cpu",
        fingerprint=digest_of({"random": 8}),
    )  # fmt: skip

    def encode_images(self, images):
        return self._rows([picture_key(image) for image in images])

    def encode_texts(self, texts):
        return self._rows(texts)

    def _rows(self, keys):
        rows = np.array(
            [np.random.default_rng(zlib.crc32(str(k).encode())).normal(size=8) for k in keys]
        )
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def suite(**more: object) -> audit.Suite:
    asked = {"kind": "classification", "label_set": "people-gender", "label_effects": False}
    return audit.build_suite(
        name="s", model="specimen-even", dataset="people", attributes=["age_group"],
        confidence={"resamples": 100}, probes=[asked], **more,
    )  # fmt: skip


@pytest.mark.slow
def test_an_audit_stops_warns_or_goes_on_as_the_suite_says(tmp_path: Path) -> None:
    places = {"out": tmp_path / "runs", "cache": tmp_path / "cache"}
    with pytest.raises(InputError, match="specimen-even fails its self-check"):
        audit.run(suite(), model=Random(), **places)
    assert not list(tmp_path.glob("runs/*/manifest.json"))
    warned = audit.run(suite(self_check="warn"), model=Random(), **places)
    page = audit.render(warned).with_suffix(".md").read_text(encoding="utf-8")
    assert "answers easy questions as by chance" in page
    skipped = audit.run(suite(self_check="skip"), model=Random(), **places)
    assert skipped.manifest["self_check"]["told"] == "not done: the suite says 'self_check: skip'"


def test_what_happens_then_decides_no_plan() -> None:
    kinds = [suite(), suite(self_check="warn"), suite(self_check="skip")]
    assert len({s.digest for s in kinds}) == len({s.plan_digest for s in kinds}) == 1


def test_a_declaration_that_is_not_well_formed_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"dataset": "people", "column": "gender"}))
    encoder = Random()
    encoder.card = EncoderCard(**{**vars(Random.card), "ref": str(tmp_path)})
    assert "prompts" in check(encoder).told

"""A model of one's own: two functions, whatever they return, and what is refused of any object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import audit
from audit.core.errors import InputError
from audit.models.encoder import EncoderCard
from audit.store.embeddings import Store


def mean(images):
    return [np.asarray(image, float).mean(axis=(0, 1)) + 1 for image in images]


def count(texts):
    return np.array([[len(text), 1, 1] for text in texts], np.float64)


def pictures(folder: Path, n: int = 5) -> list[tuple[str, Path]]:
    for i in range(n):
        Image.new("RGB", (4, 4), (40 * i, 10, 90)).save(folder / f"{i}.png")
    return [(f"id-{i}", folder / f"{i}.png") for i in range(n)]


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list])
def test_whatever_holds_numbers_is_scaled_to_unit_rows(kind, tmp_path: Path) -> None:
    model = audit.as_model("mine", lambda images: kind(np.array(mean(images))), count, 100)
    found, lost = Store(tmp_path / "cache").images(model, pictures(tmp_path))
    expected = np.array(mean([Image.open(p).convert("RGB") for _, p in pictures(tmp_path)]))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    assert not lost


def test_pictures_come_with_their_ids(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(images):
        seen.extend(image.info["image_id"] for image in images)
        return mean(images)

    Store(tmp_path / "cache").images(audit.as_model("m", look, count, 1), pictures(tmp_path))
    assert sorted(seen) == [f"id-{i}" for i in range(5)]


def test_embeddings_are_kept_under_a_version_and_else_for_a_session(tmp_path: Path) -> None:
    def model(**more: str):
        return audit.as_model("mine", mean, count, 100, **more)

    assert model(version="1").card.fingerprint == model(version="1").card.fingerprint
    assert model(version="1").card.fingerprint != model(version="2").card.fingerprint
    assert model().card.fingerprint != model().card.fingerprint
    assert model().card.caveats
    assert not model(version="1").card.caveats


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (lambda texts: [1.0], "an array of the shape"),
        (lambda texts: [[np.nan, 1.0]], "no usable embedding"),
        (lambda texts: [["a", "b"]], "no array of numbers"),
        (lambda texts: None, "no array of numbers|an array of the shape"),
    ],
)
def test_what_is_no_embedding_is_a_sentence(texts, said: str) -> None:
    with pytest.raises(InputError, match=said):
        audit.as_model("mine", mean, texts, 100)
    with pytest.raises(InputError, match="no score would be a number"):
        audit.as_model("mine", mean, count, 0)


class Wrong:
    """An object of the protocol that doesn't keep it."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.card = EncoderCard(
            ref="wrong", family="python", dim=3, image_size=0, context_length=0,
            preprocessing="none", logit_scale=1.0, precision="float32", device="cpu",
            fingerprint="0" * 64,
        )  # fmt: skip

    def encode_images(self, images):
        return np.repeat(self.rows, len(images), axis=0)

    encode_texts = encode_images


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[0.0, 0.0, 2.0]], "have no row of unit length; the first has the length 2"),
        ([[0.0, np.nan, 1.0]], "have no row of unit length"),
        ([[0.0, 1.0]], r"shape \(1, 2\) for 1 texts.*Its card says \(1, 3\)"),
    ],
)
def test_rows_that_break_the_protocol_are_refused(rows, said: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    with pytest.raises(InputError, match=said):
        store.texts(Wrong(np.array(rows)), ["a"])
    with pytest.raises(
        InputError, match=said.replace("1 texts", "5 pictures").replace("(1,", "(5,")
    ):
        store.images(Wrong(np.array(rows)), pictures(tmp_path))
    good = Wrong(np.array([[0.0, 0.6, 0.8]]))  # float64 is taken
    assert store.texts(good, ["a"]).dtype == np.float32


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"fingerprint": ""}, "fingerprint '' is not 64 hexadecimal digits.*digest_of"),
        ({"fingerprint": "../../elsewhere"}, "not 64 hexadecimal digits"),
        ({"scores": "cosine"}, "no scores are called 'cosine': softmax"),
        ({"logit_bias": np.nan}, "the logit bias is nan"),
    ],
)
def test_a_card_of_which_no_store_or_score_can_be_made_is_refused(
    card: dict[str, Any], said: str, tmp_path: Path
) -> None:
    model = Wrong(np.array([[0.0, 0.6, 0.8]]))
    model.card = replace(model.card, **card)
    with pytest.raises(InputError, match=said):
        audit.run("quick", model=model, out=tmp_path / "runs", cache=tmp_path / "cache")
    if "fingerprint" in card:
        with pytest.raises(InputError, match=said):
            Store(tmp_path / "cache").texts(model, ["a"])


@pytest.mark.parametrize("model", [Wrong, 42, b"a name"])
def test_what_is_no_model_is_a_sentence(model: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no model. One has 'encode_images'.*as_model"):
        audit.run("quick", model=model, out=tmp_path / "runs", cache=tmp_path / "cache")


def test_a_model_may_be_named_too(tmp_path: Path) -> None:
    asked = {"kind": "classification", "label_set": "people-gender"}
    suite = audit.build_suite(
        name="s", model="specimen-even", dataset="people", attributes=["age_group"], probes=[asked]
    )
    with pytest.raises(InputError, match="no folder|not on this machine|'nosuch'"):
        audit.run(suite, model="nosuch", out=tmp_path / "runs", cache=tmp_path / "cache")

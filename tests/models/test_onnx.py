"""Exports to ONNX, against the model that was exported, and every way one can be wrong."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duals
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn

from audit.core.errors import InputError
from audit.models import families, onnx
from audit.models.encoder import Encoder, StagedEncoder

pytest.importorskip("onnxruntime", reason="pip install 'clip-audit[onnx]'")
pytest.importorskip("onnx", reason="pip install onnx, with which torch writes graphs")

TEXTS = ["a photo of a cat", "A Photo of a dog.", "cat", "a dog", "a photo of a photo of a man"]
FREE = {"pixel_values": {0: "n"}, "input_ids": {0: "m", 1: "k"}, "attention_mask": {0: "m", 1: "k"}}
INPUTS = ["input_ids", "pixel_values", "attention_mask"]
KINDS = ["clip", "siglip_2", "chinese_clip"]


class Pictures(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model.get_image_features(pixel_values=pixel_values).pooler_output


class Texts(nn.Module):
    def __init__(self, model: Any, masked: bool) -> None:
        super().__init__()
        self.model, self.masked = model, masked

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = {"attention_mask": attention_mask} if self.masked else {}
        return self.model.get_text_features(input_ids=input_ids, **mask).pooler_output


class Both(nn.Module):
    """As optimum exports a CLIP; ``mixed`` lets pictures change what is made of texts."""

    def __init__(self, model: Any, mixed: float = 0.0) -> None:
        super().__init__()
        self.model, self.mixed = model, mixed

    def forward(self, input_ids: Any, pixel_values: Any, attention_mask: Any) -> Any:
        seen = self.model(
            input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask
        )
        text = seen.text_embeds + self.mixed * seen.image_embeds.sum(0)
        return seen.logits_per_image, text, seen.image_embeds


def export(
    module: nn.Module, path: Path, names: list[str], outputs: list[str], **more: Any
) -> None:
    size = (1 if more.pop("single", False) else 2, 3, 32, 32)
    length = more.pop("length", 9)
    free = more.pop("free", FREE)
    ids = torch.full((2, length), 5)
    ids[:, -1] = 1
    known = {"pixel_values": torch.randn(size), "input_ids": ids,
             "attention_mask": torch.ones_like(ids)}  # fmt: skip
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), tuple(known[name] for name in names), path, input_names=names,
            output_names=outputs, dynamic_axes={k: v for k, v in free.items() if k in names},
            dynamo=False,
        )  # fmt: skip


def own(folder: Path) -> Any:
    return transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()


def state(folder: Path, **said: float | str) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in said.items())
    (folder / onnx.STATED).write_text(text)


def exported(folder: Path, kind: str, **text: Any) -> Path:
    """A tiny random model, as separate graphs of its towers; its weights stay for the oracle."""
    duals.make(kind, folder)
    model, last = own(folder), kind.startswith("siglip")
    export(Pictures(model), folder / "vision_model.onnx", ["pixel_values"],
           ["pooler_output" if last else "image_embeds"])  # fmt: skip
    names = ["input_ids"] if last else ["input_ids", "attention_mask"]
    module = Texts(model, masked=not last)
    if last:
        module.forward = lambda input_ids: Texts.forward(module, input_ids, None)
    length = {"length": model.config.text_config.max_position_embeddings} if last else {}
    export(module, folder / "text_model.onnx", names,
           ["pooler_output" if last else "text_embeds"], **length, **text)  # fmt: skip
    bias = {"logit_bias": float(model.logit_bias.detach())} if last else {}
    state(folder, logit_scale=float(model.logit_scale.detach().exp()), **bias)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An export of a kind, made once."""
    root = tmp_path_factory.mktemp("onnx")

    def get(kind: str) -> Path:
        return root / kind if (root / kind).is_dir() else exported(root / kind, kind)

    return get


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One graph of both towers."""
    folder = tmp_path_factory.mktemp("onnx") / "both"
    duals.make("clip", folder)
    export(Both(own(folder)), folder / onnx.BOTH, INPUTS,
           ["logits_per_image", "text_embeds", "image_embeds"])  # fmt: skip
    return folder


@pytest.fixture
def copy(made: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made("clip"), tmp_path / "a copy"))


def load(folder: Path) -> Encoder:
    return families.load(f"onnx:{folder}", "cpu")


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 90, (count, 2))
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in sizes]


# --- contracts


def compare(folder: Path, kind: str) -> None:
    """Embeddings, choices and scores are those of the model that was exported."""
    images, encoder = pictures(6), load(folder)
    padding = "max_length" if kind.startswith("siglip") else True
    texts = [text.lower() for text in TEXTS] if kind == "siglip_2" else TEXTS
    processor = transformers.AutoProcessor.from_pretrained(folder)
    inputs = processor.tokenizer(texts, return_tensors="pt", padding=padding)
    # where torchvision is installed the class by itself would resize with that
    named = type(processor.image_processor).__name__.removesuffix("Pil")
    prepare = getattr(transformers, f"{named}Pil").from_pretrained(folder)
    with torch.inference_mode():
        seen = own(folder)(**inputs, **prepare(images, return_tensors="pt"))
    rows, words = encoder.encode_images(images), encoder.encode_texts(TEXTS)
    assert (rows * seen.image_embeds.numpy()).sum(axis=1).min() > 0.9999
    assert (words * seen.text_embeds.numpy()).sum(axis=1).min() > 0.9999
    wanted, scoring = seen.logits_per_image, encoder.card.scoring
    similar = rows.astype(float) @ words.T.astype(float)
    np.testing.assert_allclose(scoring.scale * similar + scoring.bias, wanted, atol=1e-3)
    np.testing.assert_array_equal(similar.argmax(axis=1), wanted.argmax(axis=1))
    scores = wanted.sigmoid() if kind == "siglip_2" else wanted.softmax(dim=1)
    np.testing.assert_allclose(scoring.of_all(similar), scores, atol=1e-3)
    assert np.ptp(similar, axis=0).min() > 1e-3
    assert np.ptp(similar, axis=1).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_choices_and_scores_are_those_of_the_exported_model(
    kind: str, made: Callable[[str], Path]
) -> None:
    compare(made(kind), kind)


@pytest.mark.slow
def test_one_graph_of_both_towers_is_asked_one_side_at_a_time(both: Path) -> None:
    compare(both, "clip")
    assert load(both).card.logit_scale == pytest.approx(np.exp(2.0), rel=1e-4)


@pytest.mark.slow
def test_a_graph_of_both_and_graphs_of_each_agree(both: Path, made: Callable[[str], Path]) -> None:
    one, two = load(both), load(made("clip"))
    np.testing.assert_allclose(one.encode_texts(TEXTS), two.encode_texts(TEXTS), atol=1e-5)
    np.testing.assert_allclose(
        one.encode_images(pictures(3)), two.encode_images(pictures(3)), atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_unit_length_in_order_and_repeat(kind: str, made: Callable[[str], Path]) -> None:
    encoder, images = load(made(kind)), pictures(40)
    rows, words = encoder.encode_images(images), encoder.encode_texts(TEXTS)
    for found in (rows, words):
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode_images(images), rows)
    np.testing.assert_array_equal(encoder.encode_texts(TEXTS), words)
    alone = np.concatenate([encoder.encode_images([image]) for image in images])
    np.testing.assert_allclose(alone, rows, atol=1e-5)
    # a short text beside a long one is padded: alone it is not
    apart = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(apart, words, atol=1e-5)
    assert encoder.encode_images([]).shape == (0, encoder.card.dim)
    assert isinstance(encoder, StagedEncoder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_read_to_their_end_or_refused(kind: str, made: Callable[[str], Path]) -> None:
    encoder: Any = load(made(kind))
    room = encoder.card.context_length
    fits = next(
        text
        for n in range(room, 0, -1)
        if len(encoder._words._split([text := " ".join("a" * n)])[0]) <= room
    )
    whole, changed = encoder.encode_texts([fits, fits[:-1] + "b"])
    assert np.abs(whole - changed).max() > 1e-5
    with pytest.raises(InputError, match=f"longer than the {room} this model reads.*never cut"):
        encoder.encode_texts([fits + " a"])


@pytest.mark.slow
@pytest.mark.parametrize("length", [8, 12])
def test_a_graph_for_texts_of_one_length(length: int, tmp_path: Path) -> None:
    folder = exported(tmp_path / "fixed", "clip", length=length, free={"input_ids": {0: "m"},
                      "attention_mask": {0: "m"}})  # fmt: skip
    encoder = load(folder)
    assert encoder.card.context_length == length
    with pytest.raises(InputError, match=f"longer than the {length} this model reads"):
        encoder.encode_texts(["a " * length])
    model = own(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    short = ["cat", "a dog"]
    with torch.inference_mode():
        inputs = tokenizer(short, padding=True, return_tensors="pt")
        read = model.get_text_features(**inputs).pooler_output
    read = nn.functional.normalize(read, dim=1).numpy()
    assert (encoder.encode_texts(short) * read).sum(axis=1).min() > 0.9999


@pytest.mark.slow
def test_a_graph_for_one_picture_at_a_time(copy: Path, made: Callable[[str], Path]) -> None:
    export(Pictures(own(copy)), copy / "vision_model.onnx", ["pixel_values"], ["image_embeds"],
           free={}, single=True)  # fmt: skip
    many = load(made("clip")).encode_images(pictures(5))
    np.testing.assert_allclose(load(copy).encode_images(pictures(5)), many, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("place", [".", "onnx"])
@pytest.mark.parametrize("pair", onnx.PAIRS)
def test_where_graphs_may_lie(
    place: str, pair: tuple[str, str], made: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made("clip"), tmp_path / "moved"))
    (folder / place).mkdir(exist_ok=True)
    for old, new in zip(onnx.PAIRS[0], pair, strict=True):
        (folder / old).rename(folder / place / new)
    assert families.locate(f"onnx:{folder}").place == str(folder)
    np.testing.assert_array_equal(
        load(folder).encode_texts(TEXTS), load(made("clip")).encode_texts(TEXTS)
    )


@pytest.mark.slow
def test_the_card(made: Callable[[str], Path], both: Path) -> None:
    card = load(made("siglip_2")).card
    assert (card.family, card.scores, card.logit_bias) == ("onnx", "sigmoid", -3.0)
    card = load(both).card
    assert (card.scores, card.image_size, card.device) == ("softmax", 32, "cpu")
    assert card.preprocessing == str(onnx.Export.read(str(both)).pictures)


@pytest.mark.slow
def test_the_fingerprint_holds_what_changes_a_number(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint() -> str:
        return onnx.Export.read(str(copy)).fingerprint("cpu")

    prints = [fingerprint()]
    (copy / "README.md").write_text("hello")
    (copy / "another.onnx").write_bytes(b"1")
    assert fingerprint() == prints[0]
    for name in ("vision_model.onnx", "text_model.onnx"):
        (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
        prints.append(fingerprint())
    (copy / "text_model.onnx_data").write_bytes(b"weights that lie apart")
    prints.append(fingerprint())
    for name in ("config.json", "tokenizer_config.json"):
        said = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps(said | {"note": "other"}))
        prints.append(fingerprint())
    nested = copy / "processor_config.json"
    said = json.loads(nested.read_text())
    said["image_processor"]["image_mean"] = [0.1, 0.2, 0.3]
    nested.write_text(json.dumps(said))
    prints.append(fingerprint())
    (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text() + "\n")
    prints.append(fingerprint())
    state(copy, logit_scale=9.0)
    prints.append(fingerprint())
    monkeypatch.setattr(onnx, "version", lambda name: "9.9" if name == "onnxruntime" else "1.0")
    prints.append(fingerprint())
    assert len(set(prints)) == 10


# --- what can be wrong


@pytest.mark.slow
def test_without_the_library_one_sentence_says_what_to_install(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'clip-audit\[onnx\]' and retry\.$"):
        families.locate(f"onnx:{copy}")


@pytest.mark.slow
def test_graphs_of_single_towers_need_a_logit_scale(copy: Path) -> None:
    (copy / onnx.STATED).unlink()
    with pytest.raises(InputError, match="no clip_audit.yaml.*Write 'logit_scale: 100' in it:"):
        families.locate(f"onnx:{copy}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"logit_scale": -1.0}, "logit_scale"),
        ({"logit_scale": "'100'"}, "logit_scale"),
        ({"logit_scale": "1.0e+300"}, "the logit scale is 1e\\+300"),
        ({"logit_scale": 100.0, "logit_bias": -3.0}, "a clip has no logit_bias"),
        ({"scale": 100.0}, "scale"),
    ],
)
def test_what_is_stated_is_checked(copy: Path, said: dict[str, Any], told: str) -> None:
    state(copy, **said)
    with pytest.raises(InputError, match=told):
        families.locate(f"onnx:{copy}")


@pytest.mark.slow
def test_a_scale_that_is_not_the_graphs_own_is_refused(both: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(both, tmp_path / "stated"))
    state(folder, logit_scale=float(np.exp(2.0)))
    assert load(folder).card.logit_scale == float(np.exp(2.0))
    state(folder, logit_scale=2.0)
    with pytest.raises(InputError, match="says logit_scale 2 and logit_bias 0.*computes with 7.38"):
        load(folder)


@pytest.mark.slow
def test_towers_that_mix_are_refused(both: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(both, tmp_path / "mixed"))
    export(Both(own(folder), mixed=0.5), folder / onnx.BOTH, INPUTS,
           ["logits_per_image", "text_embeds", "image_embeds"])  # fmt: skip
    with pytest.raises(InputError, match="depends on what it is asked with"):
        load(folder)


@pytest.mark.slow
def test_a_text_tower_that_reads_its_first_token_only_is_refused(copy: Path) -> None:
    class First(Texts):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            mask = attention_mask[:, :1]
            first = self.model.get_text_features(input_ids=input_ids[:, :1], attention_mask=mask)
            return first.pooler_output

    export(First(own(copy), masked=True), copy / "text_model.onnx",
           ["input_ids", "attention_mask"], ["text_embeds"])  # fmt: skip
    with pytest.raises(InputError, match="reads no text to its end"):
        load(copy)


@pytest.mark.slow
def test_a_text_tower_that_sees_padding_is_refused(copy: Path) -> None:
    class Mean(Texts):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            read = self.model.text_model.embeddings.token_embedding(input_ids).mean(dim=1)
            return self.model.text_projection(read + 0 * attention_mask.sum())

    export(Mean(own(copy), masked=True), copy / "text_model.onnx",
           ["input_ids", "attention_mask"], ["text_embeds"])  # fmt: skip
    with pytest.raises(InputError, match="padding changes what is made of a text"):
        load(copy)


@pytest.mark.slow
def test_towers_without_projections_or_with_other_inputs_are_refused(copy: Path) -> None:
    model = own(copy)
    export(Pictures(model), copy / "vision_model.onnx", ["pixel_values"], ["pooler_output"])
    with pytest.raises(InputError, match="no output image_embeds or image_features.*projections"):
        load(copy)
    export(Pictures(model), copy / "vision_model.onnx", ["pixel_values"], ["image_embeds"])
    load(copy)
    path = copy / "text_model.onnx"
    path.write_bytes(path.read_bytes().replace(b"input_ids", b"input_idz"))
    with pytest.raises(InputError, match="wants 'input_idz', which is not known here"):
        load(copy)


@pytest.mark.slow
def test_graphs_that_are_missing_or_broken(copy: Path) -> None:
    whole = (copy / "text_model.onnx").read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"no graph"):
        (copy / "text_model.onnx").write_bytes(broken)
        with pytest.raises(InputError, match="its text_model.onnx can't be read") as caught:
            load(copy)
        assert "\n" not in str(caught.value)
    (copy / "text_model.onnx").unlink()
    with pytest.raises(InputError, match="no graphs of both towers: it holds vision_model.onnx"):
        load(copy)
    with pytest.raises(InputError, match="no such folder"):
        load(copy / "nowhere")


@pytest.mark.slow
def test_pictures_of_another_size_than_the_graph_takes_are_refused(copy: Path) -> None:
    said = json.loads((copy / "config.json").read_text())
    said["vision_config"]["image_size"] = 40
    (copy / "config.json").write_text(json.dumps(said))
    nested = copy / "processor_config.json"
    said = json.loads(nested.read_text())
    said["image_processor"] |= {"size": {"shortest_edge": 40}, "crop_size": 40}
    nested.write_text(json.dumps(said))
    with pytest.raises(InputError, match="answer to a grey picture.*can't be read"):
        load(copy)


@pytest.mark.slow
def test_a_precision_and_a_device_it_does_not_have(copy: Path) -> None:
    with pytest.raises(InputError, match="in the precision in which it was exported"):
        families.load(f"onnx:{copy}", "cpu", "float16")
    with pytest.raises(
        InputError, match="device 'mps' is not here. This onnxruntime has: auto, cpu"
    ):
        families.load(f"onnx:{copy}", "mps")

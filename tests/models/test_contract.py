"""What holds for a model of every kind: it is read exactly as its own library reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duals
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from audit.core.errors import InputError
from audit.explore import catalogue
from audit.models.checkpoint import Checkpoint
from audit.models.encoder import Encoder
from audit.models.huggingface import BatchSize, load, locate
from audit.models.kinds import KINDS
from audit.models.kinds.siglip2 import Siglip2
from audit.models.naflex import Patches
from audit.models.preprocessing import Pictures
from audit.models.words import Words

NEW = list(duals.MADE)
OLD = [f"{name} of 4" for name in NEW]
#: those whose tokenizer needs a package that not every machine has
SENTENCEPIECE = ("siglip", "siglip of 4")
TEXTS = ["a photo of a cat", "dog", "the man", "a photo of the woman"]
#: capitals, full stops and spaces, as a label set or template may have them
SPELT = ["A Photo of a Cat.", "  the   dog", "man, woman!", "a photo of a cat", '"Dog"']
#: the library's own processor leaves to its caller what these were trained on
LEFT_TO_THE_CALLER = {
    "siglip_2": str.lower,
    "converted_siglip": lambda text: " ".join(
        "".join(c for c in text.lower() if c.isalnum() or c == " ").split()
    ),
}
Made = dict[str, tuple[Path, Encoder]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Every model that was asked for so far, made and loaded once."""
    return {}


def model(name: str, made: Made, factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    if name in SENTENCEPIECE:
        pytest.importorskip("sentencepiece")
    if name not in made:
        folder = duals.make(name, factory.mktemp("model"))
        made[name] = folder, load(str(folder), "cpu")
    return made[name]


@pytest.fixture(params=NEW)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def one(name: str, made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder and the model loaded from it; neither is to be changed."""
    return model(name, made, tmp_path_factory)


@pytest.fixture
def copy(one: tuple[Path, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(one[0], tmp_path / "a model"))


def pictures(count: int = 4) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(48, 40), (33, 90), (70, 35), (64, 64)]
    made = []
    for i in range(count):
        wide, tall = sizes[i % 4]
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        made.append(coarse.resize((wide, tall)))
    return made


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def processed(folder: Path, name: str, texts: list[str], images: list[Image.Image]) -> Any:
    """What the library's own processor makes of them, as its documentation says to call it."""
    kind = KINDS[json.loads((folder / "config.json").read_text())["model_type"]]
    left = LEFT_TO_THE_CALLER.get(name.removesuffix(" of 4"), str)
    padding = "max_length" if kind.reading == "last" else True
    processor = transformers.AutoProcessor.from_pretrained(folder)
    return processor(
        text=[left(text) for text in texts], images=images, return_tensors="pt", padding=padding
    )


def own(folder: Path) -> Any:
    kind = KINDS[json.loads((folder / "config.json").read_text())["model_type"]]
    return getattr(transformers, kind.model).from_pretrained(folder).eval()


# --- against the library's own


def compare(folder: Path, encoder: Any, name: str) -> None:
    """Embeddings, choices and scores of ours and of the library's own forward are the same."""
    images = pictures()
    with torch.inference_mode():
        theirs = own(folder)(**processed(folder, name, TEXTS, images))
    seen, said = encoder.encode_images(images), encoder.encode_texts(TEXTS)
    assert (np.sum(seen * theirs.image_embeds.numpy(), axis=1) > 0.9999).all()
    assert (np.sum(said * theirs.text_embeds.numpy(), axis=1) > 0.9999).all()
    similar, scoring = seen @ said.T, encoder.card.scoring
    wanted = theirs.logits_per_image.numpy()
    np.testing.assert_allclose(scoring.scale * similar + scoring.bias, wanted, atol=2e-3)
    np.testing.assert_array_equal(similar.argmax(axis=1), wanted.argmax(axis=1))
    each = torch.from_numpy(wanted)
    scores = each.sigmoid() if scoring.kind == "sigmoid" else each.softmax(dim=1)
    np.testing.assert_allclose(scoring.of_all(similar), scores.numpy(), atol=1e-3)
    # the models tell texts and pictures apart, or all of this would hold of a constant
    assert np.ptp(similar, axis=0).min() > 1e-3
    assert np.ptp(similar, axis=1).min() > 1e-3


@pytest.mark.slow
def test_embeddings_choices_and_scores_are_the_librarys_own(name: str, one: tuple[Path, Any]):
    compare(*one, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OLD)
def test_what_transformers_4_wrote_is_read_alike(
    name: str, made: Made, tmp_path_factory: pytest.TempPathFactory
):
    folder, encoder = model(name, made, tmp_path_factory)
    compare(folder, encoder, name)
    _, newer = model(name.removesuffix(" of 4"), made, tmp_path_factory)
    np.testing.assert_array_equal(
        encoder.encode_images(pictures()), newer.encode_images(pictures())
    )
    np.testing.assert_array_equal(encoder.encode_texts(SPELT), newer.encode_texts(SPELT))


@pytest.mark.slow
def test_token_ids_are_those_of_the_familys_own_processor(name: str, one: tuple[Path, Any]):
    folder, encoder = one
    for text in [*TEXTS, *SPELT]:
        theirs = processed(folder, name, [text], pictures(1))
        ours = encoder._words.inputs(encoder._words.ids([text]))
        assert ours["input_ids"].tolist() == theirs["input_ids"].tolist(), text


SPELLING = {
    "siglip": ["a photo of a cat", "A Photo, of a CAT."],
    "converted_siglip": ["a photo of a cat", "A Photo, of a CAT."],
    "siglip_2": ["a photo of a cat.", "A PHOTO of a Cat."],
    "naflex": ["a photo of a cat.", "A PHOTO of a Cat."],
}


@pytest.mark.parametrize("name", SPELLING)
def test_siglip_reads_texts_as_they_were_spelt_in_training(name: str, one: tuple[Path, Any]):
    plain, spelt = one[1].encode_texts(SPELLING[name])
    np.testing.assert_array_equal(plain, spelt)


@pytest.mark.parametrize("name", ["siglip_2", "naflex"])
def test_siglip_2_keeps_punctuation(name: str, one: tuple[Path, Any]):
    with_stop, without = one[1].encode_texts(["a cat.", "a cat"])
    assert np.abs(with_stop - without).max() > 1e-4


@pytest.mark.parametrize("name", ["clip", "metaclip_2", "altclip"])
def test_a_tokenizer_with_capitals_keeps_them_where_it_was_trained_so(
    name: str, one: tuple[Path, Any]
):
    upper, lower = one[1]._words.ids(["A Cat", "a cat"])
    assert (upper == lower) == (name == "clip")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"model_input_names": ["input_ids", "attention_mask"]}, "an attention mask"),
        ({"padding_side": "left"}, "padding before a text"),
        ({"model_max_length": 40}, ""),
        ({"model_max_length": 10**30}, ""),
    ],
)
@pytest.mark.parametrize("name", ["siglip_2"])
def test_what_a_siglips_tokenizer_says_of_padding_is_followed(
    name: str, copy: Path, said: dict[str, Any], told: str
):
    edit(copy / "tokenizer_config.json", **said)
    encoder = load(str(copy), "cpu")
    processor = transformers.AutoProcessor.from_pretrained(copy)
    length = min(said.get("model_max_length", 64), 64)
    inputs = processor(
        text=TEXTS, return_tensors="pt", padding="max_length", max_length=length
    )  # fmt: skip
    with torch.inference_mode():
        theirs = own(copy).get_text_features(**inputs).pooler_output
    wanted = torch.nn.functional.normalize(theirs, dim=1).numpy()
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), wanted, atol=1e-5)
    assert [told in caveat for caveat in encoder.card.caveats] == [True] * bool(told)


@pytest.mark.parametrize("most", [1, 20, 64])
@pytest.mark.parametrize("size", [(40, 40), (33, 90), (700, 3), (1, 1), (128, 64)])
def test_patches_are_those_of_the_librarys_own(tmp_path: Path, most: int, size: tuple[int, int]):
    theirs = transformers.Siglip2ImageProcessorPil(patch_size=4, max_num_patches=most)
    theirs.save_pretrained(tmp_path)
    ours = Patches.of(json.loads((tmp_path / "preprocessor_config.json").read_text()), "m")
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    wanted = theirs(image, return_tensors="pt")
    found = ours.inputs([ours(image)], torch.device("cpu"))
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        np.testing.assert_allclose(value, wanted[key], atol=2e-6)
    assert f"at most {most} patches of 4x4" in str(ours)


def test_patches_of_another_size_or_class_are_refused(tmp_path: Path):
    raw = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8}
    with pytest.raises(InputError, match="patches of 8 pixels, config.json wants 16"):
        Siglip2().pictures_of(raw, "m")
    with pytest.raises(InputError, match="another class than Siglip2ImageProcessor"):
        Siglip2().pictures_of({"image_processor_type": "SiglipImageProcessor"}, "m")
    with pytest.raises(InputError, match="do_resize False"):
        Siglip2().pictures_of({"do_resize": False}, "m")
    with pytest.raises(InputError, match="max_num_patches: got 0"):
        Siglip2().pictures_of({"max_num_patches": 0}, "m")


@pytest.mark.parametrize(
    "said",
    [
        {}, {"include_top": False}, {"rescale_offset": True}, {"do_normalize": False},
        {"do_rescale": False, "rescale_offset": True, "image_std": [50.0, 60.0, 70.0]},
        {"do_center_crop": True, "rescale_offset": True, "rescale_factor": 1 / 127.5},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 2},
    ],
)  # fmt: skip
def test_efficientnets_preprocessing_is_followed(tmp_path: Path, said: dict[str, Any]):
    sizes = {"size": {"height": 20, "width": 24}, "crop_size": {"height": 16, "width": 16}}
    theirs = transformers.EfficientNetImageProcessorPil(**sizes, **said)
    theirs.save_pretrained(tmp_path)
    ours, image = Pictures.read(tmp_path, "m"), pictures(1)[0]
    found = ours.inputs([ours(image)], torch.device("cpu"))["pixel_values"]
    np.testing.assert_allclose(found[0], theirs(image)["pixel_values"][0], rtol=1e-5, atol=1e-5)


# --- of itself


def test_rows_have_unit_length_repeat_and_depend_on_no_batch(one: tuple[Path, Any]):
    _, encoder = one
    images, texts = pictures(7), [*TEXTS, "a " * 12 + "cat"]
    rows, words = encoder.encode_images(images), encoder.encode_texts(texts)
    for found in (rows, words):
        assert found.dtype == np.float32
        assert found.shape == (len(found), encoder.card.dim)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode_images(images), rows)
    np.testing.assert_array_equal(encoder.encode_texts(texts), words)
    before = encoder._image_batch, encoder._text_batch
    encoder._image_batch = encoder._text_batch = BatchSize(2, grows=False)
    try:
        np.testing.assert_allclose(encoder.encode_images(images[::-1])[::-1], rows, atol=2e-5)
        np.testing.assert_allclose(encoder.encode_texts(texts[::-1])[::-1], words, atol=2e-5)
        # a short text beside a long one is padded: alone it is not
        alone = encoder.encode_texts(texts[1:2])
    finally:
        encoder._image_batch, encoder._text_batch = before
    np.testing.assert_allclose(alone[0], words[1], atol=2e-5)


def test_texts_are_read_to_their_end_or_refused(one: tuple[Path, Any]):
    encoder = one[1]
    room, lengths = encoder.card.context_length, lambda text: len(encoder._words._split([text])[0])
    fits = next(t for n in range(room, 0, -1) if lengths(t := " ".join("a" * n)) <= room)
    other = next(t for end in ("dog", "b") if lengths(t := fits[:-1] + end) == lengths(fits))
    whole, changed = encoder.encode_texts([fits, other])
    assert np.abs(whole - changed).max() > 1e-5
    with pytest.raises(InputError, match=f"longer than the {room} this model reads.*never cut"):
        encoder.encode_texts([fits + " a"])


def test_a_text_of_which_a_part_is_unknown_is_refused(name: str, one: tuple[Path, Any]):
    encoder = one[1]
    if encoder._words.tokenizer.unk_token_id in encoder._words._split(["a ☃"])[0]:
        # CLIP's tokenizer puts the end of a text where it does not know a part
        with pytest.raises(InputError, match="would not read (all of )?'a ☃'.*Reword"):
            encoder.encode_texts(["a ☃"])
    else:
        pytest.fail("the tokenizer of this test knows a snowman")


@pytest.mark.parametrize("name", [*SPELLING, "align", "altclip"])
def test_a_text_of_which_nothing_is_left_is_refused(name: str, one: tuple[Path, Any]):
    nothing = "..." if "siglip" in name and name != "siglip_2" else ""
    with pytest.raises(InputError, match="would not read .*leaves nothing of it"):
        one[1].encode_texts([nothing])


def test_the_card_names_the_kind_and_its_scores(name: str, one: tuple[Path, Any]):
    folder, encoder = one
    card, said = encoder.card, json.loads((folder / "config.json").read_text())
    assert card.family == said["model_type"]
    wanted = {"siglip": ("sigmoid", -3.0), "siglip2": ("sigmoid", -3.0)}
    assert (card.scores, card.logit_bias) == wanted.get(card.family, ("softmax", 0.0))
    scale = 5.0 if card.family == "align" else np.exp(2.0)
    assert card.logit_scale == pytest.approx(scale, rel=1e-6)
    assert locate(str(folder)).read is not None


def test_the_fingerprint_moves_with_each_file(one: tuple[Path, Any], copy: Path):
    def fingerprint() -> str:
        return Checkpoint.read(copy, "m").fingerprint("float32", "cpu")

    seen = [fingerprint()]
    assert seen == [one[1].card.fingerprint]
    (copy / "README.md").write_text("hello")
    assert fingerprint() == seen[0]
    nested = copy / "processor_config.json"
    said = json.loads(nested.read_text())
    said["image_processor"]["image_mean"] = [0.1, 0.2, 0.3]
    nested.write_text(json.dumps(said))
    seen.append(fingerprint())
    edit(copy / "tokenizer_config.json", note="other")
    seen.append(fingerprint())
    edit(copy / "config.json", note="other")
    seen.append(fingerprint())
    words = next(copy / n for n in ("tokenizer.json", "spiece.model") if (copy / n).is_file())
    words.write_bytes(words.read_bytes() + b"\n")
    seen.append(fingerprint())
    weights = load_file(copy / "model.safetensors")
    first = next(iter(sorted(weights)))
    weights[first] = weights[first] + 0.01
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    seen.append(fingerprint())
    assert len(set(seen)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_and_another_fingerprint(one: tuple[Path, Any], precision: str):
    folder, full = one
    half = load(str(folder), "cpu", precision)
    assert half.card.fingerprint != full.card.fingerprint
    assert half.card.scoring == full.card.scoring
    for ours, theirs in (
        (half.encode_images(pictures()), full.encode_images(pictures())),
        (half.encode_texts(TEXTS), full.encode_texts(TEXTS)),
    ):
        assert ((ours * theirs).sum(axis=1) > 0.99).all()


# --- what is refused


@pytest.mark.parametrize("name", ["clip", "siglip_2"])
def test_a_tokenizer_that_splits_by_lot_is_refused(copy: Path):
    said = json.loads((copy / "tokenizer.json").read_text())
    said["model"]["dropout"] = 0.1
    (copy / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"tokenizer.json has model.dropout 0.1.*otherwise each"):
        Checkpoint.read(copy, "m")
    said["model"]["dropout"] = None
    (copy / "tokenizer.json").write_text(json.dumps(said))
    edit(copy / "tokenizer_config.json", sp_model_kwargs={"enable_sampling": True})
    with pytest.raises(InputError, match=r"tokenizer_config.json has sp_model_kwargs"):
        Checkpoint.read(copy, "m")
    edit(copy / "tokenizer_config.json", sp_model_kwargs={})
    Checkpoint.read(copy, "m")


def test_weights_that_lack_or_are_too_many_are_refused(name: str, one: Any, copy: Path):
    weights, file = load_file(copy / "model.safetensors"), copy / "model.safetensors"
    lost = next(key for key in sorted(weights) if key.startswith("text_model."))
    save_file({k: v for k, v in weights.items() if k != lost}, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="1 weights are missing"):
        Checkpoint.read(copy, "m")
    save_file({**weights, "text_model.more": torch.ones(2)}, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="1 weights have no place.*text_model.more"):
        Checkpoint.read(copy, "m")
    bad = weights[lost].clone()
    bad.view(-1)[0] = float("nan")
    save_file({**weights, lost: bad}, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="not finite"):
        Checkpoint.read(copy, "m").require_finite()


@pytest.mark.parametrize("name", ["pair_of_roberta_and_clip"])
def test_a_weight_under_both_of_its_names_is_refused(copy: Path):
    weights, file = load_file(copy / "model.safetensors"), copy / "model.safetensors"
    name = "vision_model.post_layernorm.bias"
    more = {name.replace("vision_model.", "vision_model.vision_model."): weights[name].clone()}
    save_file(weights | more, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"both .*{name}.* are {name}"):
        Checkpoint.read(copy, "m")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_hidden_layers", 10**6, "num_hidden_layers: got 1000000"),
        ("hidden_size", 10**9, "hidden_size: got 1000000000"),
        ("vocab_size", 10**6, r"\[1000000, 16\] by config.json|pad_token_id"),
        ("vocab_size", "many", "vocab_size: got 'many'"),
        ("num_attention_heads", 3, "3 does not divide hidden_size 16"),
        ("hidden_act", "gelo", "hidden_act: got 'gelo'"),
    ],
)
def test_fields_are_refused_before_a_model_is_built(
    one: Any, copy: Path, key: str, value: Any, said: str
):
    config = json.loads((copy / "config.json").read_text())
    config["text_config"][key] = value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"^m: .*({said})"):
        Checkpoint.read(copy, "m")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"model_type": "dinov2", "patch_size": 14}, "it has no text tower.*'dinov2'.*in words"),
        ({"model_type": "vit", "num_channels": 3}, "it has no text tower.*'vit'"),
        ({"model_type": "siglip_vision_model", "patch_size": 8}, "it has no text tower"),
        ({"model_type": "xlm-roberta", "vocab_size": 9}, "it has no picture tower.*reads texts"),
        ({"model_type": "llava", "text_config": {}, "vision_config": {}}, "not a CLIP.*'llava'"),
        ({"model_type": ["clip"]}, "not a CLIP"),
        ({"model_type": "vision-text-dual-encoder"}, "text_config"),
        (
            {"model_type": "vision-text-dual-encoder", "text_config": {"model_type": "distilbert"},
             "vision_config": {"model_type": "vit"}}, "text_config.*distilbert",
        ),
        ({"model_type": "siglip", "text_config": {"position": 1}, "vision_config": {
            "vision_use_head": False}}, "vision_use_head: got False"),
        ({"model_type": "siglip2", "vision_config": {"num_patches": 255}}, "255 is no square"),
        ({"model_type": "align", "vision_config": {"strides": [1]}}, "differ in length"),
        ({"model_type": "align", "vision_config": {"num_block_repeats": [4096] * 7}}, "blocks"),
        ({"model_type": "altclip", "text_config": {"pad_token_id": 513}}, "leaves no places"),
        ({"model_type": "chinese_clip", "text_config": {"pad_token_id": 10**6}}, "pad_token_id"),
        ({"model_type": "align", "text_config": {"position_embedding_type": "relative_key"}},
         "position_embedding_type: got 'relative_key'"),
    ],
)  # fmt: skip
def test_a_model_that_is_not_read_is_told_why(tmp_path: Path, said: dict[str, Any], told: str):
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=f"^m: .*{told}") as caught:
        Checkpoint.read(tmp_path, "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["siglip_2", "align"])
def test_an_adapter_is_refused_with_a_command_for_any_kind(copy: Path):
    (copy / "adapter_config.json").write_text('{"base_model_name_or_path": "x/y"}')
    with pytest.raises(InputError, match="an adapter.*AutoModel.from_pretrained"):
        Checkpoint.read(copy, "m")


def test_sentencepiece_that_is_not_installed_is_named(
    made: Made, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    folder, _ = model("converted_siglip", made, tmp_path_factory)
    copy = Path(shutil.copytree(folder, tmp_path / "m"))
    edit(copy / "tokenizer_config.json", tokenizer_class="SiglipTokenizer")
    monkeypatch.setattr("audit.models.words.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs the package sentencepiece.*pip install"):
        Words.read(Checkpoint.read(copy, "m"))


@pytest.mark.parametrize(
    ("name", "file", "changes", "told"),
    [
        ("altclip", "tokenizer_config.json", {"pad_token": "a"}, "pads texts with token"),
        ("align", "tokenizer_config.json", {"cls_token": "[PAD]"}, "at its first token"),
        ("siglip_2", "tokenizer_config.json", {"eos_token": "<bos>"}, "does not end it"),
        ("metaclip_2", "config.json", {"text_config": {"eos_token_id": 5}}, "first token 5"),
    ],
)
def test_a_tokenizer_that_ends_or_pads_otherwise_is_refused(
    name: str, copy: Path, file: str, changes: dict[str, Any], told: str
):
    said = json.loads((copy / file).read_text())
    for key, value in changes.items():
        said[key] = said[key] | value if isinstance(value, dict) else value
    (copy / file).write_text(json.dumps(said))
    with pytest.raises(InputError, match=told):
        Words.read(Checkpoint.read(copy, "m"))


def test_an_align_without_temperature_scores_nothing(tmp_path: Path):
    assert KINDS["align"].scoring({"temperature": 0.5}).scale == 2
    assert np.isinf(KINDS["align"].scoring({"temperature": 0.0}).scale)


# --- what is said of them


def test_each_kind_is_listed_with_how_it_is_named_and_scores():
    listed = dict(catalogue.listing("models"))
    assert "a sigmoid a label" in listed["google/siglip2-base-patch16-224"]
    for kind in KINDS.values():
        assert f"model_type {kind.model_type}" in listed[kind.example]
        assert kind.model in catalogue.card(kind.example)


def test_the_page_of_models_has_every_kind():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    for kind in KINDS.values():
        (row,) = [row for row in rows if f"| `{kind.model_type}` |" in row]
        assert kind.example in row
        assert ("a sigmoid a label" in row) == (kind.scores == "sigmoid")


@pytest.mark.parametrize("name", ["siglip_2"])
def test_the_card_of_a_folder_has_licence_and_training_data(copy: Path):
    assert "licence: not stated in its README" in catalogue.card(str(copy))
    front = "---\nlicense: apache-2.0\ndatasets: [one, two]\n---\n# A model\n"
    (copy / "README.md").write_text(front)
    card = catalogue.card(str(copy))
    assert "licence: apache-2.0\ntraining data: one, two" in card
    assert "bias -3" in card
    for broken in ("---\n: [\n---\n", "---\n- x\n---\n", "no dashes"):
        (copy / "README.md").write_text(broken)
        assert "licence: not stated" in catalogue.card(str(copy))


def test_a_gated_repository_is_told_where_its_terms_are(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub.errors import GatedRepoError

    def gated(*_: object, **__: object) -> None:
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    with pytest.raises(InputError, match="terms to be accepted.*co/some/gated, then 'hf auth"):
        load("some/gated")

"""A checkpoint folder: what is read, what is refused in a sentence, and what is said of it."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import transformers
import yaml
from mutators_checkpoints import checkpoints
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    SiglipImageProcessorPil,
    ViTImageProcessorPil,
)
from transformers.activations import ACT2FN

from audit.core.errors import InputError
from audit.core.resources import bundled
from audit.data.yamlfile import validate
from audit.engine.suite import Suite
from audit.models.checkpoint import Checkpoint
from audit.models.config import read_config
from audit.models.huggingface import load, locate
from audit.models.kinds import KINDS
from audit.models.kinds.base import Activation
from audit.models.kinds.clip import ClipConfig, TextTower, VisionTower
from audit.models.preprocessing import Pictures
from audit.models.words import Words

LETTERS = [*"abcdefgh", *(letter + "</w>" for letter in "abcdefgh")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP with all files that transformers writes."""
    folder = tmp_path_factory.mktemp("made")
    vocabulary = {w: i for i, w in enumerate([*LETTERS, "<|startoftext|>", "<|endoftext|>"])}
    tower = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    text = {**tower, "num_hidden_layers": 2, "vocab_size": 18, "max_position_embeddings": 8}
    config = CLIPConfig(
        text_config={**text, "bos_token_id": 16, "eos_token_id": 17, "pad_token_id": 17},
        vision_config={**tower, "num_hidden_layers": 2, "image_size": 16, "patch_size": 8},
        projection_dim=4,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=8).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "a model"))


def edit(path: Path, where: str = "", **changes: Any) -> None:
    said = json.loads(path.read_text())
    (said[where] if where else said).update(changes)
    path.write_text(json.dumps(said))


def read(folder: Path) -> Checkpoint:
    return Checkpoint.read(folder, "m")


def store(folder: Path, **changes: torch.Tensor) -> None:
    weights = load_file(folder / "model.safetensors") | changes
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# --- any fault


@pytest.mark.parametrize("seed", range(40))
def test_a_mutated_checkpoint_is_refused_in_a_sentence_or_loads(copy: Path, seed: int):
    fault, refused = checkpoints(seed, copy), ""
    try:
        Words.read(read(copy)).ids(["a"])
    except InputError as error:
        refused = str(error)
    if not refused:
        assert np.isfinite(load(str(copy), "cpu").encode_texts(["a b"])).all(), fault
        return
    assert refused.startswith("m: "), fault
    assert "\n" not in refused, fault
    with pytest.raises(InputError):
        load(str(copy), "cpu")


def test_the_mutator_repeats(made: Path, tmp_path: Path):
    one, two = (Path(shutil.copytree(made, tmp_path / name)) for name in "ab")
    assert checkpoints(3, one) == checkpoints(3, two)
    assert all((one / p.name).read_bytes() == p.read_bytes() for p in two.iterdir())


# --- config.json


def test_defaults_and_activations_are_those_of_transformers():
    theirs = CLIPConfig()
    for ours, said in ((TextTower(), theirs.text_config), (VisionTower(), theirs.vision_config)):
        for name, value in ours.model_dump().items():
            assert value == getattr(said, name), name
    assert ClipConfig().projection_dim == theirs.projection_dim
    assert set(get_args(Activation)) <= set(ACT2FN)


def test_older_towers_stand_for_all_as_in_transformers(made: Path, tmp_path: Path):
    said = json.loads((made / "config.json").read_text())
    said["text_config_dict"] = {"hidden_size": 24, "num_attention_heads": 3}
    (tmp_path / "config.json").write_text(json.dumps(said))
    theirs, ours = CLIPConfig.from_pretrained(tmp_path), read_config(tmp_path, "m")
    assert ours.text_config.hidden_size == theirs.text_config.hidden_size == 24
    assert ours.text_config.vocab_size == theirs.text_config.vocab_size == 49408
    assert ours.vision_config.image_size == theirs.vision_config.image_size == 16


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "vision-text-dual-encoder"])
def test_older_towers_are_looked_at_where_transformers_does(kind: str, tmp_path: Path):
    said = {"hidden_size": 64, "num_attention_heads": 4}
    older = {"hidden_size": 96, "num_attention_heads": 8}
    raw = {"model_type": kind, "text_config": said, "text_config_dict": older}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    theirs = getattr(transformers, KINDS[kind].configured_by).from_pretrained(tmp_path)
    ours = read_config(tmp_path, "m").text_config
    for name in ("hidden_size", "num_attention_heads", "vocab_size"):
        assert getattr(ours, name) == getattr(theirs.text_config, name)


@pytest.mark.parametrize(
    ("tower", "key", "value", "said"),
    [
        ("text_config", "num_hidden_layers", 1_000_000, "num_hidden_layers: got 1000000"),
        ("text_config", "num_hidden_layers", 1, "num_hidden_layers 1, the weights have 2 layers"),
        ("vision_config", "num_hidden_layers", 3, "num_hidden_layers 3, the weights have 2 layers"),
        ("text_config", "hidden_size", 10**9, "hidden_size: got 1000000000"),
        ("text_config", "hidden_size", 64, r"shape \[8, 8\] .* \[64, 64\]|\[4, 8\] .* \[4, 64\]"),
        ("text_config", "vocab_size", 10**9, "vocab_size: got 1000000000"),
        ("text_config", "vocab_size", 10**6, r"\[18, 8\] in model.safetensors and \[1000000, 8\]"),
        ("vision_config", "image_size", 10**6, "image_size: got 1000000"),
        ("vision_config", "image_size", 0, "image_size: got 0"),
        ("vision_config", "patch_size", 32, "patch_size 32 is larger than image_size 16"),
        ("vision_config", "num_channels", 1, "num_channels: got 1"),
        ("text_config", "num_attention_heads", 3, "3 does not divide hidden_size 8"),
        ("text_config", "hidden_act", "gelo", "hidden_act: got 'gelo'.*mean 'gelu'"),
        ("text_config", "layer_norm_eps", None, "layer_norm_eps: got None"),
        ("text_config", "layer_norm_eps", 1e999, "Infinity is no number|finite"),
        ("", "projection_dim", None, "projection_dim: got None"),
        ("", "text_config", [], "text_config: got"),
        ("", "quantization_config", {"bits": 4}, "quantization_config: its weights are quantized"),
    ],
)
def test_sizes_and_fields_are_refused_before_a_model_is_built(
    copy: Path, tower: str, key: str, value: Any, said: str
):
    edit(copy / "config.json", tower, **{key: value})
    with pytest.raises(InputError, match=said):
        read(copy)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"a": 1, "model_type": "x", "model_type": "clip"}', "'model_type' is given twice"),
        (b'{"projection_dim": NaN}', "NaN is no number"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"a": "\xff"}', "not valid JSON: 'utf-8'"),
        (b"[]", "holds a list"),
        (b'{"a": ', "not valid JSON"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_json_is_read_strictly(copy: Path, name: str, raw: bytes, said: str):
    (copy / name).write_bytes(raw)
    with pytest.raises(InputError, match=f"^m: {name}.*{said}"):
        read(copy)


def test_two_tokens_with_one_id_are_refused(copy: Path):
    said = json.loads((copy / "tokenizer.json").read_text())
    said["model"]["vocab"]["a"] = said["model"]["vocab"]["b"]
    (copy / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"tokenizer.json: two tokens have one id"):
        read(copy)


# --- weights


def test_unused_weights_are_refused_and_old_buffers_are_not(copy: Path):
    store(copy, **{"text_model.embeddings.position_ids": torch.arange(8)[None]})
    read(copy)
    store(copy, **{"text_model.head.weight": torch.ones(2)})
    with pytest.raises(InputError, match=r"1 weights have no place.*text_model.head.weight"):
        read(copy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused_in_every_precision(copy: Path, dtype: torch.dtype):
    weights = {k: v.to(dtype) for k, v in load_file(copy / "model.safetensors").items()}
    store(copy, **weights)
    read(copy)
    weights["visual_projection.weight"][0, 1] = math.nan
    store(copy, **weights)
    with pytest.raises(InputError, match=r"visual_projection.weight.*not finite"):
        load(str(copy), "cpu")
    assert "a run reads their values" in locate(str(copy)).unread


def test_integers_are_no_weights(copy: Path):
    store(copy, **{"visual_projection.weight": torch.ones(4, 8, dtype=torch.int8)})
    with pytest.raises(InputError, match="stored as I8.*without quantization"):
        read(copy)


def sharded(folder: Path) -> Path:
    model = CLIPModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="3KB")
    return folder / "model.safetensors.index.json"


def test_shards_are_read(made: Path, copy: Path):
    index = sharded(copy)
    assert len(read(copy).weights) > 1
    image = [Image.new("RGB", (20, 16), "red")]
    want = load(str(made), "cpu").encode_images(image)
    np.testing.assert_array_equal(load(str(copy), "cpu").encode_images(image), want)
    shutil.copy(made / "model.safetensors", copy)
    with pytest.raises(InputError, match="two sets of weights.*Remove"):
        read(copy)
    index.unlink()
    assert "Beside the weights lie files that were not read" in read(copy).caveats[0]


@pytest.mark.parametrize("where", ["../out.safetensors", "/out.safetensors", "link", "x.bin", 5])
def test_an_index_that_leaves_the_folder_is_refused(copy: Path, tmp_path: Path, where: Any):
    index = sharded(copy)
    weights = next(copy.glob("model-*.safetensors")).rename(tmp_path / "out.safetensors")
    if where == "link":
        where = "link.safetensors"
        (copy / where).symlink_to(weights)
    edit(index, "weight_map", logit_scale=where)
    with pytest.raises(InputError, match="logit_scale is in .*in the same folder"):
        read(copy)


def test_the_hub_caches_links_are_followed(copy: Path, tmp_path: Path):
    index, blobs = sharded(copy), tmp_path / "repo" / "blobs"
    blobs.mkdir(parents=True)
    snapshot = tmp_path / "repo" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in copy.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    assert len(read(snapshot).weights) == len(set(json.loads((blobs / index.name).read_text())[
        "weight_map"].values()))  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (100.0, "logit scale is 2.69e\\+43|logit scale is 2.68812e\\+43"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
        (-math.inf, "not finite"),
        (-1e4, "logit scale is 0"),
    ],
)
def test_a_logit_scale_that_makes_no_scores_is_refused(copy: Path, stored: float, said: str):
    store(copy, logit_scale=torch.tensor(stored))
    with pytest.raises(InputError, match=said):
        read(copy)


@pytest.mark.parametrize(("stored", "count"), [(1 / 0.07, 1), (math.log(100), 0), (-3.0, 1)])
def test_an_unusual_logit_scale_is_questioned(copy: Path, stored: float, count: int):
    store(copy, logit_scale=torch.tensor(stored))
    card = load(str(copy), "cpu").card
    assert card.logit_scale == pytest.approx(math.exp(stored), rel=1e-6)
    assert len(card.caveats) == count
    assert all("keeps it between 1 and 100" in caveat for caveat in card.caveats)


# --- preprocessing


def prepared(folder: Path, image: Image.Image) -> np.ndarray:
    ours = Pictures.read(folder, "m")
    pixels = torch.from_numpy(ours(image)[None].copy())
    return np.asarray(ours.normalised(pixels)[0])


@pytest.mark.parametrize(
    "made_by",
    [
        CLIPImageProcessorPil(size=16, crop_size=16),
        ViTImageProcessorPil(size=16),
        ViTImageProcessorPil(),
        SiglipImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.1, 0.2, 0.3]),
    ],
)
@pytest.mark.parametrize("suffix", ["", "Fast", "Pil"])
def test_the_class_that_a_file_names_is_followed(tmp_path: Path, made_by: Any, suffix: str):
    made_by.save_pretrained(tmp_path)
    named = type(made_by).__name__.removesuffix("Pil") + suffix
    edit(tmp_path / "preprocessor_config.json", image_processor_type=named)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 70, 3), dtype=np.uint8))
    want = made_by(image)["pixel_values"][0]
    np.testing.assert_allclose(prepared(tmp_path, image), want, atol=2e-6)


@pytest.mark.parametrize("made_by", [CLIPImageProcessorPil(size=16), ViTImageProcessorPil()])
@pytest.mark.parametrize(
    "key",
    ["do_center_crop", "do_rescale", "do_normalize", "do_pad", "do_convert_rgb", "image_mean",
     "image_std", "rescale_factor", "resample", "size", "crop_size", "default_to_square"],
)  # fmt: skip
def test_a_field_that_is_null_is_read_as_transformers_reads_it(
    tmp_path: Path, made_by: Any, key: str
):
    made_by.save_pretrained(tmp_path)
    edit(tmp_path / "preprocessor_config.json", **{key: None})
    image = Image.fromarray(np.arange(40 * 70 * 3, dtype=np.uint8).reshape(40, 70, 3))
    try:
        want = type(made_by).from_pretrained(tmp_path)(image)["pixel_values"][0]
    except ValueError:
        with pytest.raises(InputError, match=key):
            Pictures.read(tmp_path, "m")
        return
    np.testing.assert_allclose(prepared(tmp_path, image), want, rtol=1e-5, atol=6e-5)


def test_a_plain_size_is_read_as_the_named_class_reads_it(tmp_path: Path):
    file, crop = tmp_path / "preprocessor_config.json", "CLIPFeatureExtractor"
    file.write_text(json.dumps({"size": 16, "crop_size": 16, "feature_extractor_type": crop}))
    assert Pictures.read(tmp_path, "m").shortest == 16
    file.write_text(json.dumps({"size": 16, "image_processor_type": "ViTImageProcessor"}))
    squeezed = Pictures.read(tmp_path, "m")
    assert (squeezed.size, squeezed.crop) == ((16, 16), None)


@pytest.mark.parametrize("name", ["ConvNextImageProcessor", "", 5, False, ["CLIPImageProcessor"]])
def test_a_class_that_is_not_known_is_refused(copy: Path, name: Any):
    edit(copy / "preprocessor_config.json", image_processor_type=name)
    with pytest.raises(InputError, match="names the class .*this tool follows CLIPImageProcessor"):
        read(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rescale_factor", 0), ("rescale_factor", -1), ("rescale_factor", 1e300),
        ("rescale_factor", 1e-9), ("image_std", [0, 1, 1]), ("image_std", [1e-9, 1, 1]),
        ("image_mean", [1e9, 0, 0]), ("image_mean", "x"), ("image_mean", [0.5]), ("size", -1),
        ("size", {"shortest_edge": 10**6}), ("size", {"shortest_edge": True}), ("size", "x"),
        ("crop_size", []), ("resample", 9), ("do_resize", "yes"), ("do_pad", True),
    ],
)  # fmt: skip
def test_numbers_of_the_preprocessing_are_refused(copy: Path, key: str, value: Any):
    edit(copy / "preprocessor_config.json", **{key: value})
    with pytest.raises(InputError, match=f"^m: preprocessor_config.json.*{key}"):
        read(copy)


def test_a_processor_config_alone_is_read_and_beside_another_it_wins(copy: Path):
    half = CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    old = (copy / "preprocessor_config.json").read_text()
    (copy / "preprocessor_config.json").unlink()
    tokens = CLIPTokenizer.from_pretrained(copy)
    CLIPProcessor(image_processor=half, tokenizer=tokens).save_pretrained(copy)
    (alone := read(copy)).fingerprint("float32", "cpu")
    assert alone.pictures.mean == (0.5, 0.5, 0.5)
    assert alone.caveats == ()
    (copy / "preprocessor_config.json").write_text(old)
    both = read(copy)
    theirs = CLIPProcessor.from_pretrained(copy).image_processor.image_mean
    assert both.pictures.mean == tuple(theirs) == (0.5, 0.5, 0.5)
    assert (
        "processor_config.json and preprocessor_config.json of this checkpoint differ"
        in (both.caveats[0])
    )
    edit(copy / "preprocessor_config.json", image_mean=[0.5] * 3, image_std=[0.5] * 3)
    assert read(copy).caveats == ()


# --- adapters


def test_an_adapter_is_refused_with_commands_that_run_as_printed(copy: Path, tmp_path: Path):
    (copy / "adapter_model.safetensors").write_bytes(b"")
    (copy / "adapter_config.json").write_text('{"base_model_name_or_path": "../elsewhere"}')
    with pytest.raises(InputError, match="adapter_model.safetensors beside the weights") as caught:
        read(copy)
    move = str(caught.value).partition("as the model: ")[2].rsplit(" && ", 1)[0]
    subprocess.run(["sh", "-c", move], check=True)
    read(copy)
    alone = tmp_path / "a model-adapter"
    edit(alone / "adapter_config.json", base_model_name_or_path="../a model")
    with pytest.raises(InputError, match="an adapter without its base model") as caught:
        load(str(alone), "cpu")
    words = shlex.split(str(caught.value).partition("as the model: ")[2])
    assert words[:2] == [sys.executable, "-c"]
    compile(words[2], "command", "exec")
    assert words[3:] == [str(copy), str(alone), f"{alone}-merged"]


def test_a_suite_cannot_ask_for_remote_code_and_one_of_an_earlier_run_opens():
    said = yaml.safe_load((bundled("suites") / "quick.yaml").read_text())
    suite = validate(Suite, said | {"trust_remote_code": False}, "s.yaml")
    assert suite == validate(Suite, said, "s.yaml")
    with pytest.raises(
        InputError, match=r"s.yaml.*trust_remote_code: code that comes with a model"
    ):
        validate(Suite, said | {"trust_remote_code": True}, "s.yaml")

"""The encoder seam: tiny CLIPs in the official layouts, and every way a model can be wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import socket
import string
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from audit.core.errors import AuditError, InputError
from audit.models import checkpoint as checkpoints
from audit.models import hub
from audit.models.encoder import Encoder, StagedEncoder, digest_of, file_digest, unit_rows
from audit.models.huggingface import BatchSize, HuggingFaceEncoder, load, locate, placed
from audit.models.planted import PlantedEncoder, picture_key
from audit.models.preprocessing import Pictures

CONTEXT = 12


def vocabulary(specials_first: bool = False) -> dict[str, int]:
    letters = [
        *string.ascii_lowercase,
        *(c + "</w>" for c in string.ascii_lowercase),
        "ca",
        "cat</w>",
    ]
    specials = ["<|startoftext|>", "<|endoftext|>"]
    words = [*specials, *letters] if specials_first else [*letters, *specials]
    return {word: i for i, word in enumerate(words)}


MERGES = [("c", "a"), ("ca", "t</w>")]


def checkpoint(folder: Path, style: str = "new", eos: int | None = None, **vision: int) -> Path:
    """A tiny random CLIP, saved as transformers does ('new') or in OpenAI's layout ('old')."""
    vocab = vocabulary(specials_first=style == "first")
    end = vocab["<|endoftext|>"] if eos is None else eos
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    config = CLIPConfig(
        text_config={**tower, "vocab_size": len(vocab), "max_position_embeddings": CONTEXT,
                     "bos_token_id": vocab["<|startoftext|>"], "eos_token_id": end,
                     "pad_token_id": 1},
        vision_config={**tower, "image_size": 32, "patch_size": 8, **vision},
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    size = config.vision_config.image_size
    CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=size).save_pretrained(folder)
    if style == "old":
        (folder / "vocab.json").write_text(json.dumps(vocab))
        merges = "\n".join(["#version: 0.2", *(" ".join(m) for m in MERGES)])
        (folder / "merges.txt").write_text(merges + "\n")
        tokens = {"tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    else:
        tokenizer = CLIPTokenizer(vocab=vocab, merges=MERGES, model_max_length=CONTEXT)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def openai_style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("openai"), style="old", eos=2)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "a copy"))


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 90, (count, 2))
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in sizes]


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- contracts


@pytest.mark.slow
@pytest.mark.parametrize("style", ["tiny", "openai_style"])
def test_rows_have_unit_length_in_order_and_repeat(style: str, request: pytest.FixtureRequest):
    encoder = load(str(request.getfixturevalue(style)), device="cpu")
    images, texts = pictures(5), ["cat", "a cat on a mat", "b"]
    rows, words = encoder.encode_images(images), encoder.encode_texts(texts)
    assert rows.shape == (5, 16)
    assert words.shape == (3, 16)
    assert rows.dtype == words.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode_images(images), rows)
    np.testing.assert_allclose(encoder.encode_images(images[::-1])[::-1], rows, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(texts[::-1])[::-1], words, atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, 16)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, StagedEncoder)


def test_embeddings_equal_transformers_own(tiny: Path):
    encoder, model = load(str(tiny), device="cpu"), CLIPModel.from_pretrained(tiny).eval()
    images = pictures(6)
    inputs = CLIPImageProcessorPil.from_pretrained(tiny)(images, return_tensors="pt")
    ids = CLIPTokenizer.from_pretrained(tiny)(["cat", "a dog"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        seen = model(**inputs, **ids)
    np.testing.assert_allclose(encoder.encode_images(images), seen.image_embeds, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(["cat", "a dog"]), seen.text_embeds, atol=1e-5)
    scale = float(model.logit_scale.detach().exp())
    assert encoder.card.logit_scale == pytest.approx(scale, rel=1e-6)


@pytest.mark.slow
def test_batch_size_changes_nothing(tiny: Path):
    encoder = load(str(tiny), device="cpu")
    images, texts = pictures(20), [string.ascii_lowercase[i % 26] * (1 + i % 9) for i in range(20)]
    rows, words = encoder.encode_images(images), encoder.encode_texts(texts)
    for size in (3, 7, 64):
        encoder._image_batch = encoder._text_batch = BatchSize(size, grows=False)
        np.testing.assert_allclose(encoder.encode_images(images), rows, atol=1e-5)
        np.testing.assert_allclose(encoder.encode_texts(texts), words, atol=1e-5)


def test_on_a_cpu_a_batch_is_filled_up_so_that_no_row_depends_on_it():
    encoder = HuggingFaceEncoder.__new__(HuggingFaceEncoder)
    encoder._device = torch.device("cpu")
    filled = [encoder._filled([np.uint8(i) for i in range(n)]) for n in (1, 8, 13)]
    assert [len(rows) for rows in filled] == [8, 8, 16]
    assert [int(i) for i in filled[2]] == [*range(13), 12, 12, 12]
    rows = encoder._begun(torch.eye(8)[:, :3] + 1, 2)()
    assert rows.shape == (2, 3)  # and what it was filled with is left out
    encoder._device = torch.device("cuda")  # whose batches have any size
    assert len(encoder._filled([np.uint8(0)])) == 1


def test_batch_doubles_until_memory_complains_then_backs_off():
    tried: list[int] = []

    def forward(part: slice) -> np.ndarray:
        tried.append(part.stop - part.start)
        if tried[-1] > 20:
            raise torch.OutOfMemoryError("full")
        return np.arange(part.start, part.stop, dtype=np.float32)[:, None]

    batch = BatchSize(4, grows=True)
    np.testing.assert_array_equal(batch.run(100, forward, 1)[:, 0], np.arange(100))
    assert tried[:5] == [4, 8, 16, 32, 16]
    assert max(tried[5:]) == batch.size == 16

    def never(part: slice) -> np.ndarray:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(AuditError, match="no memory for even one"):
        BatchSize(4, grows=True).run(3, never, 1)


def test_a_gpu_too_small_is_a_sentence():
    class Full(torch.nn.Linear):
        def to(self, to: object) -> Full:
            if isinstance(to, torch.device):
                raise RuntimeError(f"{to} out of memory: tried to allocate")
            return self

    with pytest.raises(InputError, match=r"m: its weights take .*GiB, which cuda:0.*--device cpu"):
        placed(Full(2, 2), torch.float32, torch.device("cuda:0"), "m")
    broken = Full(2, 2)
    broken.to = lambda to: broken.nothing  # type: ignore[method-assign]
    with pytest.raises(AttributeError):
        placed(broken, torch.float32, torch.device("cpu"), "m")


def test_a_fixed_batch_stays_fixed():
    batch = BatchSize(4, grows=False)
    batch.run(50, lambda part: np.zeros((part.stop - part.start, 1), np.float32), 1)
    assert batch.size == 4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_and_another_fingerprint(tiny: Path, precision: str):
    full, half = load(str(tiny), "cpu"), load(str(tiny), "cpu", precision)
    assert half.card.precision == precision
    assert half.card.fingerprint != full.card.fingerprint
    assert half.card.logit_scale == full.card.logit_scale
    cosine = (full.encode_images(pictures(4)) * half.encode_images(pictures(4))).sum(1)
    assert (cosine > 0.99).all()
    assert (cosine < 1 - 1e-9).any()


def test_rows_without_a_direction_are_refused():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0]])), [[0.6, 0.8]])
    for bad in (0.0, np.nan, np.inf):
        with pytest.raises(InputError, match="item 1 of 2.*float32"):
            unit_rows(np.array([[1.0, 0.0], [bad, 0.0]]))


# --- pictures


@pytest.mark.parametrize("size", [(64, 64), (61, 200), (200, 61), (33, 32), (32, 47), (500, 375)])
@pytest.mark.parametrize("crop", [32, 31, 40])
def test_preprocessing_equals_clips_pil_processor(tmp_path: Path, size: tuple[int, int], crop: int):
    oracle = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=crop)
    oracle.save_pretrained(tmp_path)
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    ours = Pictures.read(tmp_path, "x")
    got = ours.normalised(torch.from_numpy(ours(image)[None].copy()))[0].numpy()
    want = oracle(image)["pixel_values"][0]
    np.testing.assert_allclose(got, want, atol=2e-6)


@pytest.mark.parametrize("size", [(3, 200), (200, 3), (1, 700), (40, 801), (2500, 100)])
@pytest.mark.parametrize("resample", [2, 3])
def test_a_strip_is_cropped_before_it_is_resized(
    tmp_path: Path, size: tuple[int, int], resample: int
):
    CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=31, resample=resample
    ).save_pretrained(tmp_path)
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    ours = Pictures.read(tmp_path, "x")
    whole = ours._cropped(image.resize(ours._resized(*size), resample=resample))
    apart = np.abs(ours(image).astype(int) - np.asarray(whole, dtype=int))
    assert apart.max() <= 1


def test_the_longest_strips_take_little_memory(tmp_path: Path):
    CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size=224).save_pretrained(tmp_path)
    ours = Pictures.read(tmp_path, "x")
    for size in [(1, 60_000), (60_000, 1), (1, 4_000_000)]:
        seen = ours(Image.new("RGB", size, (9, 99, 200)))
        assert seen.shape == (224, 224, 3)
        assert (seen == (9, 99, 200)).all()


def test_a_strip_that_would_fill_memory_is_refused(tmp_path: Path):
    CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(
        tmp_path
    )
    ours = Pictures.read(tmp_path, "x")
    with pytest.raises(InputError, match="1 x 4,000,000 pixels are too long.*Crop the picture"):
        ours(Image.new("RGB", (1, 4_000_000)))


def test_preprocessing_to_a_fixed_size_without_crop(tmp_path: Path):
    oracle = CLIPImageProcessorPil(
        size={"height": 20, "width": 30}, do_center_crop=False, resample=2, do_normalize=False
    )
    oracle.save_pretrained(tmp_path)
    ours, image = Pictures.read(tmp_path, "x"), pictures(1)[0]
    got = ours.normalised(torch.from_numpy(ours(image)[None].copy()))[0].numpy()
    np.testing.assert_allclose(got, oracle(image)["pixel_values"][0], atol=2e-6)
    assert "bilinear to (20, 30)" in str(ours)


def test_preprocessing_this_tool_does_not_know_is_refused(copy: Path):
    edit(copy / "preprocessor_config.json", size={"shortest_edge": 32, "longest_edge": 64})
    with pytest.raises(InputError, match="longest_edge.*this tool knows"):
        load(str(copy), "cpu")
    edit(copy / "preprocessor_config.json", size={"shortest_edge": 32}, do_resize=False)
    with pytest.raises(InputError, match="do_resize False.*shortest_edge"):
        load(str(copy), "cpu")


def test_preprocessing_of_another_size_is_refused(copy: Path):
    edit(copy / "preprocessor_config.json", crop_size={"height": 24, "width": 24})
    with pytest.raises(InputError, match=r"pictures of \(24, 24\), config.json wants \(32, 32\)"):
        load(str(copy), "cpu")


def test_missing_preprocessing_is_refused(copy: Path):
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="no preprocessor_config.json"):
        load(str(copy), "cpu")


# --- words


@pytest.mark.parametrize("style", ["tiny", "openai_style"])
def test_text_is_read_at_its_first_end_of_text(style: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(style)
    texts = ["cat", "a cat on a", "zebra"]
    tokenizer, model = CLIPTokenizer.from_pretrained(folder), CLIPModel.from_pretrained(folder)
    vocab = vocabulary()
    manual = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert ids[-1] == vocab["<|endoftext|>"] == max(vocab.values())
        with torch.inference_mode():
            states = model.text_model(input_ids=torch.tensor([ids])).last_hidden_state
            manual.append(model.text_projection(states[0, ids.index(vocab["<|endoftext|>"])]))
    want = unit_rows(torch.stack(manual).numpy())
    np.testing.assert_allclose(load(str(folder), "cpu").encode_texts(texts), want, atol=1e-5)
    assert (model.config.text_config.eos_token_id == 2) == (style == "openai_style")


def test_an_old_config_whose_end_of_text_is_not_the_largest_id_is_refused(tmp_path: Path):
    folder = checkpoint(tmp_path, style="first", eos=2)
    with pytest.raises(InputError, match="eos_token_id 2.*largest token id.*wrong token"):
        load(str(folder), "cpu")


def test_a_new_config_whose_end_of_text_is_not_the_largest_id_is_fine(tmp_path: Path):
    folder = checkpoint(tmp_path, style="first")
    rows = load(str(folder), "cpu").encode_texts(["cat", "dog"])
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_a_config_with_an_end_of_text_that_never_comes_is_refused(tmp_path: Path):
    folder = checkpoint(tmp_path, eos=7)
    with pytest.raises(InputError, match="first token 7.*wrong token"):
        load(str(folder), "cpu")


def test_a_text_longer_than_the_context_is_quoted_never_cut(tiny: Path):
    encoder = load(str(tiny), "cpu")
    assert encoder.card.context_length == CONTEXT
    fits = " ".join("a" * (CONTEXT - 2))
    encoder.encode_texts([fits])
    with pytest.raises(InputError, match=f"{CONTEXT + 1} tokens.*{CONTEXT} this.*'{fits} b'"):
        encoder.encode_texts(["cat", fits + " b"])


def test_truncation_saved_in_a_tokenizer_does_not_cut(copy: Path):
    path = copy / "tokenizer.json"
    cut = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    edit(path, truncation=cut)
    words = load(str(copy), "cpu").encode_texts(["a b c d e", "a b c x y"])
    assert np.abs(words[0] - words[1]).max() > 1e-4


@pytest.mark.parametrize("text", ["a <|endoftext|> b", "a cat, 7 dogs"])
def test_a_text_that_would_not_be_read_to_its_end_is_refused(tiny: Path, text: str):
    with pytest.raises(InputError, match="would not read '" + text.split("|")[0][:3]):
        load(str(tiny), "cpu").encode_texts([text])


# --- references


def test_a_bundled_name_is_loaded(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "bundled", lambda kind: tiny.parent)
    monkeypatch.setattr(hub, "bundled_names", lambda kind: [tiny.name])
    assert load(tiny.name, "cpu").card.ref == tiny.name


def test_a_misspelt_name_gets_the_nearest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "bundled_names", lambda kind: ["specimen-even"])
    with pytest.raises(InputError, match="no model named 'specimen-evn'.*mean 'specimen-even'"):
        load("specimen-evn")


@pytest.mark.parametrize("ref", ["./nowhere/there", "/nowhere/at/all", "~/nowhere", ""])
def test_a_folder_that_is_not_there(ref: str):
    with pytest.raises(InputError, match="no model named.*no such folder.*hub id"):
        load(ref)


def test_not_a_clip_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no config.json"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="not a CLIP.*model_type 'bert'"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer_config.json"]
)
def test_code_of_its_own_is_refused(copy: Path, name: str):
    edit(copy / name, auto_map={"AutoModel": "modeling.Other"})
    with pytest.raises(InputError, match=f"{name}.*code of its own"):
        load(str(copy), "cpu")


def test_pickled_weights_are_refused_with_the_way_to_convert(copy: Path):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model.bin, a pickle.*save_pretrained"):
        load(str(copy), "cpu")
    (copy / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match="holds no weights"):
        load(str(copy), "cpu")


@pytest.mark.slow
def test_the_way_to_convert_works(tiny: Path, copy: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        load(str(copy), "cpu")
    command = shlex.split(str(caught.value).partition("convert it once: ")[2])
    assert command[:2] == [sys.executable, "-c"]
    monkeypatch.setattr(sys, "argv", ["-c", *command[3:]])
    exec(command[2], {})
    images = pictures(2)
    want = load(str(tiny), "cpu").encode_images(images)
    np.testing.assert_array_equal(load(str(copy), "cpu").encode_images(images), want)


def test_a_checkpoint_that_lacks_weights_is_refused(copy: Path):
    weights = load_file(copy / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="1 weights are missing.*visual_projection.weight"):
        load(str(copy), "cpu")


def test_damaged_weights_are_a_sentence(copy: Path):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="weights can't be read"):
        load(str(copy), "cpu")


def test_unknown_device_and_precision(tiny: Path):
    with pytest.raises(InputError, match="no precision named 'flaot32'.*mean 'float32'"):
        load(str(tiny), "cpu", "flaot32")
    for device in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match=f"device '{device}' is not here.*auto, cpu"):
            load(str(tiny), device)


# --- the hub


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


THREE_WAYS = r"(?s)openai/clip-vit-base-patch32: not on this machine.*connect.*hf download.*or use"


@pytest.mark.usefixtures("no_network")
def test_without_a_network_three_ways_out():
    with pytest.raises(InputError, match=THREE_WAYS):
        load("openai/clip-vit-base-patch32")


@pytest.mark.usefixtures("no_network")
def test_told_to_be_offline_three_ways_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=THREE_WAYS):
        load("openai/clip-vit-base-patch32@main")


@pytest.mark.usefixtures("no_network")
def test_a_local_folder_needs_no_network(tiny: Path, openai_style: Path):
    for folder in (tiny, openai_style):
        load(str(folder), "cpu").encode_texts(["cat"])


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("revision", ["", "@main", f"@{'a' * 40}"])
def test_what_was_downloaded_before_is_looked_at_without_a_network(
    tiny: Path, tmp_path: Path, revision: str
):
    found = locate(f"some/clip{revision}")
    assert (found.place, found.read) == ("the hub, downloaded when it is first asked", None)
    kept = tmp_path / "hub" / "models--some--clip"
    folder = Path(shutil.copytree(tiny, kept / "snapshots" / ("a" * 40)))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    found = locate(f"some/clip{revision}")
    assert found.place == "the hub, downloaded before as aaaaaaaaaaaa"
    assert found.read is not None
    edit(folder / "config.json", projection_dim="wide")
    with pytest.raises(InputError, match=f"some/clip{revision}.*projection_dim"):
        locate(f"some/clip{revision}")


@pytest.mark.usefixtures("no_network")
def test_half_a_download_is_not_looked_at(tiny: Path, tmp_path: Path):
    kept = tmp_path / "hub" / "models--some--clip"
    folder = Path(shutil.copytree(tiny, kept / "snapshots" / ("a" * 40)))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    (folder / "model.safetensors").unlink()
    assert locate("some/clip").read is None


class Hub:
    """A hub with one repository: pickled weights on main, a proposal with safetensors."""

    def __init__(self, root: Path, weights: Path, author: str) -> None:
        self.root, self.weights, self.author, self.online = root, weights, author, True
        self.asked: list[tuple[str | None, object]] = []

    def snapshot_download(self, repo: str, revision: str | None, **how: object) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        self.asked.append((revision, how["allow_patterns"]))
        commit = {None: "a" * 40, "refs/pr/3": "b" * 40}.get(revision)
        note = self.root / "refs" / str(revision)
        commit = commit or (note.read_text() if note.is_file() else None)
        assert commit is not None
        folder = self.root / "snapshots" / commit
        if not folder.is_dir():
            if not self.online:
                raise LocalEntryNotFoundError("offline")
            shutil.copytree(self.weights, folder)
            (self.root / "refs").mkdir(exist_ok=True)
            if commit.startswith("a"):
                (folder / "model.safetensors").unlink()
        return str(folder)

    def get_repo_discussions(self, repo: str, author: str) -> list[SimpleNamespace]:
        if not self.online:
            raise OSError("no route")
        made = SimpleNamespace(is_pull_request=True, author=self.author, git_reference="refs/pr/3")
        return [made]


def install(fake: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake.snapshot_download)
    monkeypatch.setattr("huggingface_hub.get_repo_discussions", fake.get_repo_discussions)


def test_a_hub_id_is_downloaded_and_named_by_its_commit(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fake = Hub(tmp_path, tiny, "SFconvertbot")
    install(fake, monkeypatch)
    card = load("some/clip@refs/pr/3", "cpu").card
    assert card.ref == "some/clip@bbbbbbbbbbbb"
    assert [revision for revision, _ in fake.asked] == ["refs/pr/3"]
    assert not any(p.endswith((".bin", ".py", "*")) for _, ps in fake.asked for p in ps)


@pytest.mark.slow
def test_a_pickled_repository_is_read_from_the_bots_conversion_also_offline(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fake = Hub(tmp_path, tiny, "SFconvertbot")
    install(fake, monkeypatch)
    assert load("some/clip", "cpu").card.ref == "some/clip@bbbbbbbbbbbb"
    fake.online = False
    assert locate("some/clip").place == "the hub, downloaded before as bbbbbbbbbbbb"
    assert load("some/clip", "cpu").card.ref == "some/clip@bbbbbbbbbbbb"


def test_a_strangers_conversion_is_not_taken(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install(Hub(tmp_path, tiny, "stranger"), monkeypatch)
    with pytest.raises(InputError, match="holds no weights"):
        load("some/clip", "cpu")


def test_a_repository_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub.errors import RepositoryNotFoundError

    def missing(*_: object, **__: object) -> None:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr("huggingface_hub.snapshot_download", missing)
    with pytest.raises(InputError, match="no model on the Hugging Face hub is called 'some/clop'"):
        load("some/clop")


def test_an_answer_that_is_no_hubs_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: json.loads("<html>"))
    with pytest.raises(InputError, match=r"some/clip: https://.* answers what no hub.*a proxy or"):
        load("some/clip")


# --- fingerprints


@pytest.mark.slow
def test_the_fingerprint_holds_what_changes_a_number(tiny: Path, copy: Path):
    before = load(str(tiny), "cpu").card.fingerprint
    assert load(str(copy), "cpu").card.fingerprint == before
    (copy / "README.md").write_text("hello")
    assert load(str(copy), "cpu").card.fingerprint == before
    seen = {before}
    edit(copy / "preprocessor_config.json", resample=2)
    seen.add(load(str(copy), "cpu").card.fingerprint)
    edit(copy / "tokenizer_config.json", note="other")
    seen.add(load(str(copy), "cpu").card.fingerprint)
    weights = load_file(copy / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    seen.add(load(str(copy), "cpu").card.fingerprint)
    assert len(seen) == 4


@pytest.mark.slow
def test_the_fingerprint_holds_library_versions(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    before = load(str(tiny), "cpu").card.fingerprint
    real = checkpoints.version
    monkeypatch.setattr(checkpoints, "version", lambda n: real(n) + ".1")
    assert load(str(tiny), "cpu").card.fingerprint == before
    monkeypatch.setattr(checkpoints, "version", lambda n: "0.1" if n == "pillow" else real(n))
    assert load(str(tiny), "cpu").card.fingerprint != before


def test_large_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, cache = tmp_path / "weights", tmp_path / "cache"
    file.write_bytes(b"1" * 1000)
    cache.mkdir()
    first = file_digest(file, cache)
    assert not (cache / "weights").exists(), "too young: the same time could hide a change"
    os.utime(file, ns=(10**18, 10**18))
    assert file_digest(file, cache) == first
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert file_digest(file, cache) == first
    monkeypatch.undo()
    file.write_bytes(b"2" * 1000)
    assert file_digest(file, cache) != first
    for memo in (cache / "weights").iterdir():
        memo.write_text("damaged")
    os.utime(file, ns=(10**18, 10**18))
    assert file_digest(file, cache) != first


def test_digests_do_not_depend_on_order():
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


# --- the planted encoder


def test_planted_encoder_answers_as_planted():
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    encoder = PlantedEncoder(
        {picture_key(red): [2, 0], picture_key(blue): [0, 5]}, {"red": [1, 0], "mix": [1, 1]}
    )
    similar = encoder.encode_images([blue, red, red]) @ encoder.encode_texts(["red", "mix"]).T
    np.testing.assert_allclose(similar, [[0, 0.5**0.5], [1, 0.5**0.5], [1, 0.5**0.5]], atol=1e-6)
    assert (encoder.images_seen, encoder.texts_seen) == (3, 2)
    assert isinstance(encoder, Encoder)
    assert not isinstance(encoder, StagedEncoder)
    with pytest.raises(InputError, match="planted for the text 'rad'.*'red'"):
        encoder.encode_texts(["rad"])
    with pytest.raises(KeyError):
        encoder.encode_images([Image.new("RGB", (4, 4), "green")])
    assert encoder.encode_images([]).shape == (0, 2)


def test_planted_encoder_fingerprints_its_tables():
    one = PlantedEncoder({"x": [1, 0]}, {"a": [1, 0]})
    two = PlantedEncoder({"x": [0, 1]}, {"a": [1, 0]})
    assert one.card.fingerprint != two.card.fingerprint


@pytest.mark.slow
def test_the_seam_needs_no_torch():
    code = "import sys, audit.models.planted, audit.store.embeddings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_folder_below_this_one_is_quoted_without_the_path_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub.find(str(tmp_path / "models" / "mine"))[1] == "models/mine"
    assert hub.find("models/mine")[1] == "models/mine"
    monkeypatch.chdir(tmp_path / "models" / "mine")
    assert hub.find(str(tmp_path / "models"))[1] == str(tmp_path / "models")
    assert hub.find("specimen-even")[1] == "specimen-even"

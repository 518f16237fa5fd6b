"""Models of open_clip, against open_clip itself, and every way one of them can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from audit.core.errors import InputError
from audit.models import families, hub
from audit.models import openclip_files as files
from audit.models.encoder import Encoder, StagedEncoder

open_clip = pytest.importorskip("open_clip", reason="pip install 'clip-audit[open-clip]'")

CONTEXT = 16
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": CONTEXT, "width": 32, "heads": 2, "layers": 2}
PLAIN = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
SQUASHED = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
WORDS = ["<pad>", "</s>", "<unk>", "a", "photo", "of", "cat", "dog", "the", "doctor", ".", "<"]
SIGLIP = {
    "embed_dim": 16,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": VISION,
    "text_cfg": TEXT | {"vocab_size": len(WORDS), "hf_tokenizer_name": "org/tokens",
                        "tokenizer_kwargs": {"clean": "canonicalize"}, "pool_type": "last",
                        "no_causal_mask": True, "proj_bias": True},
}  # fmt: skip
COCA = PLAIN | {
    "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True, "context_length": CONTEXT},
    "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2,
                            "output_tokens": True},
    "multimodal_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 16, "heads": 2,
                       "layers": 1},
    "custom_text": True,
}  # fmt: skip
RESNET = PLAIN | {
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "image_size": 64}
}
TIMM = PLAIN | {
    "vision_cfg": {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear",
                   "image_size": 64},
}  # fmt: skip
KINDS = {
    "plain": (PLAIN, {}),
    "siglip": (SIGLIP, SQUASHED),
    "coca": (COCA, {"interpolation": "bilinear"}),
    "resnet": (RESNET | {"quick_gelu": True}, {}),
    "timm": (TIMM, {"resize_mode": "longest", "fill_color": 7}),
}
TEXTS = [
    "a photo of a cat", "a photo of the doctor.", "A PHOTO OF THE DOCTOR", "a dog", "cat",
    "a photo of a photo of a cat", "the doctor &amp;lt; the dog",
]  # fmt: skip


def save_tokens(folder: Path) -> None:
    """A small tokenizer of transformers that ends a text as T5's does and pads with token 0."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def checkpoint(folder: Path, kind: str = "plain", **changes: Any) -> Path:
    """A tiny random model in the layout that open_clip's save_for_hf writes."""
    settings, pictures = KINDS[kind]
    settings = json.loads(json.dumps(settings | changes))
    folder.mkdir(parents=True, exist_ok=True)
    said = {"model_cfg": settings, "preprocess_cfg": pictures}
    (folder / files.CONFIG).write_text(json.dumps(said))
    if settings["text_cfg"].get("hf_tokenizer_name"):
        save_tokens(folder)
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    with torch.no_grad():  # at the start texts differ in their fourth digit only
        for weight in model.parameters():
            if weight.ndim:  # and CoCa leaves one to whatever memory held
                known = torch.where(weight.abs() < 10, weight, torch.zeros(()))
                weight.copy_(known + 0.1 * torch.randn_like(weight))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / files.WEIGHTS[0])
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint of a kind, made once."""
    root = tmp_path_factory.mktemp("open_clip")

    def get(kind: str) -> Path:
        return root / kind if (root / kind).is_dir() else checkpoint(root / kind, kind)

    return get


@pytest.fixture
def copy(made: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made("plain"), tmp_path / "a copy"))


def load(folder: Path, precision: str = "float32") -> Encoder:
    return families.load(f"open_clip:{folder}", "cpu", precision)


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 190, (count, 2))
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in sizes]


def edit(folder: Path, part: str, **changes: object) -> None:
    path = folder / files.CONFIG
    said = json.loads(path.read_text())
    at = said
    for key in part.split("."):
        at = at[key]
    at.update(changes)
    path.write_text(json.dumps(said))


# --- contracts


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_and_choices_are_open_clips_own(kind: str, made: Callable[[str], Path]) -> None:
    folder, images = made(kind), pictures(12)
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.inference_mode():
        seen = model.eval().encode_image(torch.stack([*map(prepare, images)]), normalize=True)
        read = model.encode_text(tokens, normalize=True)
        logits = model.logit_scale.exp() * seen @ read.T
        if model.logit_bias is not None:
            logits = logits + model.logit_bias
        scores = (logits.sigmoid() if kind == "siglip" else logits.softmax(dim=1)).numpy()
    encoder = load(folder)
    rows, words = encoder.encode_images(images), encoder.encode_texts(TEXTS)
    assert (rows * seen.numpy()).sum(axis=1).min() > 0.999999
    assert (words * read.numpy()).sum(axis=1).min() > 0.999999
    np.testing.assert_allclose(rows, seen, atol=2e-6)
    np.testing.assert_allclose(words, read, atol=2e-6)
    found = encoder.card.scoring.of_all(rows.astype(float) @ words.T.astype(float))
    np.testing.assert_allclose(found, scores, atol=1e-5)
    assert (found.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert np.abs(words[0] - words[3]).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_prepared_to_the_bit_as_open_clip_does(
    kind: str, made: Callable[[str], Path]
) -> None:
    encoder: Any = load(made(kind))
    *_, prepare = open_clip.create_model_and_transforms(f"local-dir:{made(kind)}")
    for image in [*pictures(30, seed=1), Image.new("RGB", (1, 1)), Image.new("RGB", (500, 31))]:
        inputs = encoder._pictures.inputs([encoder.preprocess(image)], torch.device("cpu"))
        assert torch.equal(inputs["pixel_values"][0], prepare(image))


@pytest.mark.parametrize("kind", ["plain", "siglip"])
def test_rows_have_unit_length_in_order_and_repeat(kind: str, made: Callable[[str], Path]) -> None:
    encoder = load(made(kind))
    images = pictures(40)
    rows, words = encoder.encode_images(images), encoder.encode_texts(TEXTS)
    assert rows.shape == (40, 16)
    assert words.shape == (len(TEXTS), 16)
    assert rows.dtype == words.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode_images(images), rows)
    alone = np.concatenate([encoder.encode_images([image]) for image in images])
    np.testing.assert_allclose(alone, rows, atol=1e-5)
    apart = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(apart, words, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS[::-1])[::-1], words, atol=1e-5)
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, 16)
    assert isinstance(encoder, StagedEncoder)


def test_the_card_says_how_scores_are_made(made: Callable[[str], Path]) -> None:
    card = load(made("plain")).card
    assert (card.family, card.dim, card.image_size, card.context_length) == (
        "open_clip",
        16,
        32,
        16,
    )
    assert (card.scores, card.logit_bias) == ("softmax", 0.0)
    assert card.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert "Resize(size=32, interpolation=bicubic" in card.preprocessing
    card = load(made("siglip")).card
    assert (card.scores, card.logit_bias) == ("sigmoid", -10.0)


def test_half_precision_is_close_and_another_fingerprint(made: Callable[[str], Path]) -> None:
    full, half = load(made("plain")), load(made("plain"), "bfloat16")
    images = pictures(4)
    products = (full.encode_images(images) * half.encode_images(images)).sum(axis=1)
    assert products.min() > 0.99
    assert full.card.fingerprint != half.card.fingerprint


@pytest.mark.parametrize("kind", ["plain", "siglip", "coca"])
def test_a_text_longer_than_the_context_is_quoted_never_cut(
    kind: str, made: Callable[[str], Path]
) -> None:
    encoder = load(made(kind))
    room = CONTEXT - (1 if kind == "siglip" else 2)
    encoder.encode_texts([" ".join(["cat"] * room)])
    with pytest.raises(InputError, match=r"longer than the 16 tokens.*'cat cat.*1 more of 3"):
        encoder.encode_texts(["cat", " ".join(["cat"] * (room + 1)), "cat " * 200])


@pytest.mark.parametrize("text", ["a cat <end_of_text> a dog", "a cat<end_of_text>"])
def test_a_text_that_would_not_be_read_to_its_end_is_refused(
    text: str, made: Callable[[str], Path]
) -> None:
    with pytest.raises(InputError, match="would not read 'a cat.*to its end"):
        load(made("plain")).encode_texts([text])


@pytest.mark.parametrize("kind", ["plain", "siglip"])
def test_a_text_of_which_nothing_is_left_is_refused(kind: str, made: Callable[[str], Path]) -> None:
    text = " \n " if kind == "plain" else "?!"  # SigLIP's are read without punctuation
    with pytest.raises(InputError, match="leaves nothing of it"):
        load(made(kind)).encode_texts(["cat", text])


def test_a_text_of_which_a_part_is_unknown_is_refused(made: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="would not read all of 'a photo of a ☃'"):
        load(made("siglip")).encode_texts(["a photo of a ☃"])


def test_the_last_word_of_a_text_counts(made: Callable[[str], Path]) -> None:
    for kind in ("plain", "siglip", "coca"):
        start = " ".join(["photo"] * (CONTEXT - 3))
        cat, dog = load(made(kind)).encode_texts([f"{start} cat", f"{start} dog"])
        assert np.abs(cat - dog).max() > 1e-4


def test_a_text_tower_that_reads_its_first_token_only_is_refused(copy: Path) -> None:
    edit(copy, "model_cfg.text_cfg", pool_type="first")
    with pytest.raises(InputError, match="text_cfg: .*reads no word of a text"):
        load(copy)


def test_texts_that_end_with_another_token_than_the_tower_reads_are_refused(copy: Path) -> None:
    edit(copy, "model_cfg.text_cfg", pool_type="eos", eos_id=7)
    with pytest.raises(InputError, match="does not fit its text tower"):
        load(copy)


# --- where it is


def test_a_file_of_weights_is_read_with_the_settings_beside_it(copy: Path) -> None:
    (copy / files.WEIGHTS[0]).rename(copy / "epoch 3.safetensors")
    (copy / "epoch 4.safetensors").write_bytes((copy / "epoch 3.safetensors").read_bytes())
    assert load(copy / "epoch 3.safetensors").card.dim == 16
    with pytest.raises(InputError, match="several files of weights.*epoch 3.safetensors, epoch 4"):
        load(copy)


def test_what_check_looks_at(made: Callable[[str], Path]) -> None:
    located = families.locate(f"open_clip:{made('plain')}")
    assert located.place == str(made("plain"))
    assert located.read is not None
    with pytest.raises(InputError, match="longer than the 16 tokens"):
        located.read(["cat " * 40])


@pytest.fixture
def repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A hub that is a few folders, of which nothing was downloaded at first."""
    known: dict[str, Path] = {}
    here: set[str] = set()

    def fetch(ref: str, wanted: object) -> Path:
        here.add(ref)
        return known[ref]

    def fetched(ref: str, wanted: object) -> Path | None:
        return known[ref] if ref in here else None

    monkeypatch.setattr(hub, "fetch", fetch)
    monkeypatch.setattr(hub, "fetched", fetched)
    return known


def test_a_repository_is_downloaded_by_load_and_never_by_locate(
    made: Callable[[str], Path], tmp_path: Path, repositories: dict[str, Path]
) -> None:
    commit = tmp_path / ("c0ffee" * 7)[:40]
    repositories["org/siglip"] = Path(shutil.copytree(made("siglip"), commit))
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    for path in commit.glob("token*.json"):
        path.rename(tokens / path.name)
    repositories["org/tokens"] = tokens
    name = "open_clip:hf-hub:org/siglip"
    assert families.locate(name).place == "the hub, downloaded when it is first asked"
    encoder = families.load(name, "cpu")
    assert encoder.card.ref == "open_clip:hf-hub:org/siglip@c0ffeec0ffee"
    np.testing.assert_array_equal(
        encoder.encode_texts(TEXTS), load(made("siglip")).encode_texts(TEXTS)
    )
    located = families.locate(name)
    assert located.place == "the hub, downloaded before as c0ffeec0ffee"
    assert located.read is not None


@pytest.fixture
def registered(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Architectures 'tiny' and 'tiny-quickgelu', as open_clip knows its own by name."""
    (tmp_path / "tiny.json").write_text(json.dumps(PLAIN))
    (tmp_path / "tiny-quickgelu.json").write_text(json.dumps(PLAIN | {"quick_gelu": True}))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", open_clip.factory._MODEL_CONFIGS | {})
    monkeypatch.setattr(
        open_clip.factory, "_MODEL_CONFIG_PATHS", [*open_clip.factory._MODEL_CONFIG_PATHS]
    )
    open_clip.add_model_config(tmp_path / "tiny.json")
    open_clip.add_model_config(tmp_path / "tiny-quickgelu.json")
    offered = {"hf_hub": "org/tiny/", "mean": [0.4] * 3, "std": [0.3] * 3, "resize_mode": "squash"}
    tags = {
        "some_tag": offered,
        "quick": offered | {"quick_gelu": True},
        "pickled": {"url": "https://here/x.pt"},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-quickgelu", tags)


@pytest.mark.usefixtures("registered")
def test_an_architecture_and_a_tag(
    made: Callable[[str], Path], tmp_path: Path, repositories: dict[str, Path]
) -> None:
    repositories["org/tiny"] = Path(shutil.copytree(made("plain"), tmp_path / "abcdefabcdef00"))
    repositories["org/tiny@abcdefabcdef"] = repositories["org/tiny"]
    name = "open_clip:tiny/some_tag"
    assert families.locate(name).place == "the hub, downloaded when it is first asked"
    encoder = families.load(name, "cpu")
    assert encoder.card.ref == "open_clip:tiny/some_tag@abcdefabcdef"
    assert families.load(encoder.card.ref, "cpu").card == encoder.card
    assert "mean (0.4, 0.4, 0.4)" in encoder.card.preprocessing
    model, _, prepare = open_clip.create_model_and_transforms(
        "tiny", pretrained=str(made("plain") / files.WEIGHTS[0]), image_mean=(0.4,) * 3,
        image_std=(0.3,) * 3, image_resize_mode="squash",
    )  # fmt: skip
    with torch.inference_mode():
        seen = model.eval().encode_image(torch.stack([*map(prepare, pictures(3))]), normalize=True)
    np.testing.assert_allclose(encoder.encode_images(pictures(3)), seen, atol=2e-6)
    np.testing.assert_array_equal(
        encoder.encode_texts(TEXTS), load(made("plain")).encode_texts(TEXTS)
    )


@pytest.mark.usefixtures("registered", "repositories")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "tiny/some_tog",
            "no weights 'some_tog' of tiny. Did you mean 'some_tag'.*It has some_tag",
        ),
        ("tiny/quick", "trained with quick_gelu.*Give open_clip:tiny-quickgelu/quick"),
        ("tiny/pickled", "only offered as a pickle"),
        ("ViT-B-23/laion2b_s34b_b79k", "Did you mean 'ViT-B-32/laion2b_s34b_b79k'"),
        ("local-dir:/a/b", "no open_clip model named 'local-dir:/a/b', and no such folder"),
        ("nowhere", "no open_clip model named 'nowhere', and no such folder"),
    ],
)
def test_a_name_that_is_none_of_these(name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        families.locate(f"open_clip:{name}")


def test_a_repository_without_the_form_of_one_is_refused() -> None:
    with pytest.raises(InputError, match="no model named 'a b'"):
        families.locate("open_clip:hf-hub:a b")


def test_every_pretrained_model_of_this_open_clip_has_a_place_or_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "fetched", lambda ref, wanted: None)
    refused = {}
    for pair in open_clip.list_pretrained():
        try:
            files.find("/".join(pair), hub.fetched)
        except InputError as error:
            refused[pair] = str(error)
    assert len(refused) < 0.2 * len(open_clip.list_pretrained())
    assert {told for told in refused.values() if "trained with quick_gelu" not in told} == set()


def test_weights_the_hub_only_has_as_a_pickle(copy: Path, repositories: dict[str, Path]) -> None:
    (copy / files.WEIGHTS[0]).rename(copy / "open_clip_pytorch_model.bin")
    repositories["org/name"] = copy
    with pytest.raises(
        InputError, match="the hub has no open_clip_model.safetensors of it.*pickle"
    ):
        families.load("open_clip:hf-hub:org/name")


def test_a_text_tower_of_transformers(tmp_path: Path, repositories: dict[str, Path]) -> None:
    from transformers import RobertaConfig

    tower = tmp_path / "tower"
    RobertaConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=CONTEXT + 2, pad_token_id=0,
    ).save_pretrained(tower)  # fmt: skip
    text = {"hf_model_name": str(tower), "hf_tokenizer_name": "org/tokens", "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler", "context_length": CONTEXT,
            "tokenizer_kwargs": {"clean": "lower"}}  # fmt: skip
    folder = checkpoint(tmp_path / "made", text_cfg=text)
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.inference_mode():
        read = model.encode_text(tokens, normalize=True)
    np.testing.assert_allclose(load(folder).encode_texts(TEXTS), read, atol=2e-6)
    before = load(folder).card.fingerprint
    repositories["org/roberta"] = tower
    edit(folder, "model_cfg.text_cfg", hf_model_name="org/roberta")
    assert families.locate(f"open_clip:{folder}").read is None
    np.testing.assert_allclose(load(folder).encode_texts(TEXTS), read, atol=2e-6)
    said = json.loads((tower / "config.json").read_text())
    (tower / "config.json").write_text(json.dumps(said | {"layer_norm_eps": 1e-3}))
    assert load(folder).card.fingerprint != before
    (tower / "config.json").write_text(json.dumps(said | {"auto_map": {"AutoModel": "x.y"}}))
    with pytest.raises(InputError, match="code of its own, which is never run"):
        load(folder)


# --- what can be wrong


def test_without_the_library_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'clip-audit\[open-clip\]' and retry\.$"):
        families.locate("open_clip:ViT-B-32/laion2b_s34b_b79k")


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("model_cfg", {"embed_dim": 17}, "has the shape"),
        ("model_cfg", {"embed_dim": -1}, "model_cfg embed_dim"),
        ("model_cfg", {"embed_dim": "16"}, "model_cfg embed_dim"),
        ("model_cfg", {"use_naflex": True}, "use_naflex"),
        ("model_cfg", {"init_logit_bias": -10.0}, "1 weights are missing.*logit_bias"),
        ("model_cfg.vision_cfg", {"layers": 3}, "weights are missing"),
        ("model_cfg.vision_cfg", {"layers": 1}, "have no place"),
        ("model_cfg.vision_cfg", {"layers": 10**9}, "from 1 to 1000"),
        ("model_cfg.vision_cfg", {"image_size": 48}, "positional_embedding has the shape"),
        ("model_cfg.vision_cfg", {"image_size": 10**9}, "8192 pixels"),
        ("model_cfg.vision_cfg", {"patch_size": 0}, "can't be read"),
        ("model_cfg.vision_cfg", {"colour": 1}, "colour"),
        ("model_cfg.vision_cfg", {"timm_model_name": "hf-hub:a/b"}, "is a place"),
        ("model_cfg.text_cfg", {"context_length": 20}, "positional_embedding has the shape"),
        ("model_cfg.text_cfg", {"vocab_size": 10**9}, "vocab_size"),
        ("model_cfg.text_cfg", {"heads": 5}, "can't be read"),
        ("model_cfg.text_cfg", {"pool_type": "mean"}, "pool_type"),
        ("model_cfg.text_cfg", {"text_arch": "modern"}, "text_arch 'modern' is not known here"),
        ("model_cfg.text_cfg", {"tokenizer_mode": "clips"}, "tokenizer_mode 'clips'"),
        ("model_cfg.text_cfg", {"hf_tokenizer_name": "a/b"}, "its tokenizer can't be read"),
        ("model_cfg.text_cfg", {"tokenizer_kwargs": {"trust_remote_code": True}}, "not known here"),
        ("model_cfg.text_cfg", {"tokenizer_kwargs": {"clean": "most"}}, "its tokenizer"),
        ("preprocess_cfg", {"mean": [0.5]}, "preprocess_cfg mean"),
        ("preprocess_cfg", {"std": [0.0] * 3}, "no pixel"),
        ("preprocess_cfg", {"interpolation": "lanczos"}, "interpolation"),
        ("preprocess_cfg", {"resize_mode": "crop"}, "resize_mode"),
    ],
)
def test_settings_that_can_not_be_used_are_one_sentence(
    copy: Path, part: str, changes: dict[str, object], told: str
) -> None:
    edit(copy, part, **changes)
    for ask in (families.locate, families.load):
        with pytest.raises(InputError, match=told) as caught:
            ask(f"open_clip:{copy}")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 900


def test_files_that_are_missing_or_broken(copy: Path) -> None:
    weights, config = copy / files.WEIGHTS[0], copy / files.CONFIG
    whole, said = weights.read_bytes(), config.read_text()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="its weights can't be read"):
        load(copy)
    weights.unlink()
    with pytest.raises(InputError, match="open_clip_model.safetensors is missing"):
        load(copy)
    weights.write_bytes(whole)
    for broken, told in (("{", "not valid JSON"), ("{}", "no mapping 'model_cfg'")):
        config.write_text(broken)
        with pytest.raises(InputError, match=told):
            load(copy)
    config.unlink()
    with pytest.raises(InputError, match="no open_clip_config.json there"):
        load(copy)
    config.write_text(said)
    assert load(copy).card.dim == 16


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("visual.proj", float("nan"), "visual.proj.*not finite"),
        ("text_projection", 0.0, "no usable embedding"),
        ("logit_scale", 1000.0, "the logit scale is inf"),
    ],
)
def test_weights_that_make_no_answer(copy: Path, name: str, value: float, told: str) -> None:
    held = load_file(copy / files.WEIGHTS[0])
    save_file(held | {name: torch.full_like(held[name], value)}, copy / files.WEIGHTS[0])
    with pytest.raises(InputError, match=told):
        load(copy)


def test_a_pickle_is_not_opened_and_the_way_to_convert_it_works(
    copy: Path, made: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex
    import subprocess

    held = load_file(copy / files.WEIGHTS[0])
    (copy / files.WEIGHTS[0]).unlink()
    torch.save({"state_dict": {f"module.{k}": v for k, v in held.items()}}, copy / "epoch_3.pt")
    with pytest.raises(InputError, match="a pickle, which can run code") as caught:
        load(copy)
    subprocess.run(shlex.split(str(caught.value).split("convert it once: ")[1]), check=True)
    assert load(copy).card.fingerprint == load(made("plain")).card.fingerprint


def test_a_strip_that_would_fill_memory_is_refused(made: Callable[[str], Path]) -> None:
    strip = Image.new("RGB", (200_000, 1))
    with pytest.raises(InputError, match="too long to be resized to 6,400,000 x 32"):
        load(made("plain")).encode_images([strip])
    assert load(made("siglip")).encode_images([strip]).shape == (1, 16)


def test_both_layouts_of_a_text_tower_are_the_same_model(
    made: Callable[[str], Path], copy: Path
) -> None:
    edit(copy, "model_cfg", custom_text=True)
    np.testing.assert_allclose(
        load(copy).encode_texts(TEXTS), load(made("plain")).encode_texts(TEXTS), atol=1e-6
    )


def test_the_fingerprint_holds_what_changes_a_number(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = {load(made("siglip")).card.fingerprint}

    def changed(change: Callable[[Path], object]) -> None:
        folder = tmp_path / f"copy {len(prints)}"
        change(Path(shutil.copytree(made("siglip"), folder)))
        prints.add(load(folder).card.fingerprint)

    def heavier(folder: Path) -> None:
        held = load_file(folder / files.WEIGHTS[0])
        save_file(held | {"logit_bias": held["logit_bias"] + 1}, folder / files.WEIGHTS[0])

    def reworded(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(path.read_text().replace("doctor", "nurse"))

    changed(heavier)
    changed(reworded)
    changed(lambda folder: edit(folder, "preprocess_cfg", resize_mode="shortest"))
    changed(lambda folder: edit(folder, "model_cfg.vision_cfg", patch_dropout=0.5))
    changed(lambda folder: edit(folder, "model_cfg.text_cfg", tokenizer_kwargs={"clean": "lower"}))
    assert len(prints) == 6
    same = Path(shutil.copytree(made("siglip"), tmp_path / "moved"))
    (same / "README.md").write_text("another")
    assert load(same).card.fingerprint in prints
    prints.add(load(made("siglip"), "bfloat16").card.fingerprint)
    monkeypatch.setattr(files, "version", lambda name: "9.9.9" if "open" in name else "1.0")
    prints.add(load(made("siglip")).card.fingerprint)
    assert len(prints) == 8

"""Our own towers, layer by layer against independent implementations with the same weights."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import duals
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from audit.core.errors import InputError
from audit.core.resources import bundled
from audit.models.config import read_config
from audit.models.huggingface import load, locate
from audit.models.kinds.base import Activation
from audit.models.kinds.clip import ClipConfig
from audit.models.kinds.openai_clip import OpenAiClip, OpenAiSigmoid
from audit.models.preprocessing import Pictures
from audit.models.towers import layouts
from audit.models.towers.dual import Clip
from audit.models.towers.transformer import BagOfWords, words_of
from audit.models.weights import undrawn
from audit.models.words import Plain

TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
        "num_attention_heads": 2, "vocab_size": 90, "max_position_embeddings": 12}  # fmt: skip
VIT = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
       "num_attention_heads": 3, "image_size": 32, "patch_size": 8}  # fmt: skip
RESNET = {"layers": [2, 1, 3, 1], "width": 4, "num_attention_heads": 2, "image_size": 64}


def config(vision: dict[str, Any] = VIT, act: str = "quick_gelu", **more: Any) -> OpenAiClip:
    said = vision if "layers" in vision else vision | {"hidden_act": act}
    text = TEXT | {"hidden_act": act} | more.pop("text", {})
    kind = OpenAiSigmoid if more.pop("sigmoid", False) else OpenAiClip
    return kind(projection_dim=8, vision_config=said, text_config=text, **more)


def random(model: Any, seed: int = 0) -> Any:
    """Weights and running statistics at which every part matters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim:
                spread = 0.3 if weight.ndim < 4 else (weight[0].numel() / 2) ** -0.5
                around = float(weight.ndim == 1 and name.endswith("weight"))  # of a normalisation
                weight.copy_(around + spread * torch.randn_like(weight))
        for name, seen in model.named_buffers():
            if seen.is_floating_point():
                seen.copy_(torch.rand_like(seen) + 0.5 if "var" in name else torch.randn_like(seen))
    return model.eval()


@pytest.fixture
def ids() -> torch.Tensor:
    rows = torch.randint(1, 80, (5, 10), generator=torch.Generator().manual_seed(0))
    for row, end in zip(rows, (9, 3, 5, 1, 7), strict=True):
        row[end:] = 89
    return rows


def pixels(side: int) -> torch.Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


# --- transformers


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_both_transformers_are_clips_of_transformers_layer_by_layer(act: str, ids: torch.Tensor):
    ours = random(config(act=act).built())
    tower = {"hidden_act": act}
    text = TEXT | tower | {"eos_token_id": 89, "bos_token_id": 0, "pad_token_id": 89}
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=VIT | tower, projection_dim=8))
    theirs.eval().load_state_dict(layouts.to_transformers(ours.state_dict()))
    seen: dict[str, list[torch.Tensor]] = {"visual": [], "text": []}
    for name, into in seen.items():
        for block in getattr(ours, name).transformer.resblocks:
            block.register_forward_hook(lambda _, given, got, into=into: into.append(got))
    with torch.no_grad():
        images, texts = ours.get_image_features(pixels(32)), ours.get_text_features(ids)
        look = theirs.vision_model(pixels(32), output_hidden_states=True)
        read = theirs.text_model(ids, output_hidden_states=True)
        torch.testing.assert_close(ours.visual.places(pixels(32)), look.hidden_states[0])
        torch.testing.assert_close(ours.text.states(ids), read.last_hidden_state)
        for name, said in (("visual", look), ("text", read)):
            assert len(seen[name]) >= 2
            for mine, other in zip(seen[name], said.hidden_states[1:], strict=False):
                torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
        wanted = theirs(input_ids=ids, pixel_values=pixels(32))
    torch.testing.assert_close(functional.normalize(images, dim=-1), wanted.image_embeds)
    torch.testing.assert_close(functional.normalize(texts, dim=-1), wanted.text_embeds)
    assert texts.std(dim=0).min() > 1e-3


@pytest.mark.parametrize("act", get_args(Activation))
@pytest.mark.parametrize("end", [2, 89])
def test_a_clip_gives_what_transformers_gives_to_the_bit(act: str, end: int, ids: torch.Tensor):
    tower = {"hidden_act": act, "layer_norm_eps": 1e-3}
    text = TEXT | tower | {"eos_token_id": end}
    said = {"text_config": text, "vision_config": VIT | tower, "projection_dim": 8}
    theirs = CLIPModel(CLIPConfig(**said)).eval()
    ours = ClipConfig(**said).built().eval()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(random(theirs).state_dict(), assign=True)
    with torch.no_grad():
        seen, read = theirs.get_image_features(pixels(32)), theirs.get_text_features(ids)
        assert torch.equal(ours.get_image_features(pixels(32)), seen.pooler_output)
        assert torch.equal(ours.get_text_features(ids), read.pooler_output)
    assert seen.pooler_output.std(dim=0).min() > 1e-3


def test_what_is_built_for_stored_weights_draws_none():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for said in (config(), config(RESNET), ClipConfig()):
        with torch.device("meta"):
            assert undrawn(said).state_dict()
    assert torch.equal(torch.get_rng_state(), before)


SPLIT = [
    "a photo of a doctor",
    "Dog's  rain\n",
    "日本 3.14",
    "",
    "it'll <|endoftext|> end",
    "é e\u0301",
]


def test_a_plain_tokenizer_splits_as_transformers_does():
    folder = bundled("models") / "specimen-even"
    said = json.loads((folder / "tokenizer_config.json").read_text())
    plain, theirs = Plain.read(folder, said), AutoTokenizer.from_pretrained(folder)
    assert plain is not None
    assert plain(SPLIT)["input_ids"] == theirs(SPLIT)["input_ids"]
    for name in (
        "model_max_length",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "unk_token_id",
    ):
        assert getattr(plain, name) == getattr(theirs, name)


@pytest.mark.parametrize(
    "where", ["normalizer", "post_processor", "added_tokens", "said", "beside"]
)
def test_a_tokenizer_that_says_anything_else_is_read_by_transformers(where: str, tmp_path: Path):
    folder = shutil.copytree(bundled("models") / "specimen-even", tmp_path / "model")
    said = json.loads((folder / "tokenizer_config.json").read_text())
    stored = json.loads((folder / "tokenizer.json").read_text())
    if where == "normalizer":
        stored["normalizer"]["normalizers"].pop()
    elif where == "post_processor":
        stored["post_processor"]["sep"][1] = 5
    elif where == "added_tokens":
        stored["added_tokens"][0]["lstrip"] = True
    elif where == "said":
        said["do_lower_case"] = False
    else:
        (folder / "added_tokens.json").write_text("{}")
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    assert Plain.read(folder, said) is None


def test_attention_in_training_is_attention_in_use(ids: torch.Tensor):
    model = random(config().built())
    with torch.no_grad():
        used = model.get_text_features(ids), model.get_image_features(pixels(32))
        model.train()
        for got, wanted in zip(
            (model.get_text_features(ids), model.get_image_features(pixels(32))), used, strict=True
        ):
            torch.testing.assert_close(got, wanted)


def test_layouts_lead_to_each_other(ids: torch.Tensor):
    weights = random(config().built()).state_dict()
    again = layouts.from_transformers(layouts.to_transformers(weights))
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_patch_dropout_keeps_some_patches_whole_and_only_in_training():
    tower = random(config().built()).visual
    tower.patch_dropout = 0.5
    whole = tower.places(pixels(32))
    tower.train()
    torch.manual_seed(3)
    some = tower.places(pixels(32))
    assert some.shape == (3, 1 + 8, 24)
    torch.testing.assert_close(some[:, 0], whole[:, 0])
    apart = torch.cdist(some[:, 1:], whole[:, 1:])
    assert (apart.min(dim=2).values < 1e-4).all()
    chosen = apart.argmin(dim=2).sort(dim=1).values
    assert (chosen.diff(dim=1) > 0).all()
    assert not torch.equal(chosen[0], chosen[1])


def test_recomputing_gives_the_same_gradients(ids: torch.Tensor):
    found = []
    for again in (False, True):
        model = random(config().built()).train()
        model.text.transformer.recompute = model.visual.transformer.recompute = again
        made = model.get_text_features(ids).sum() + model.get_image_features(pixels(32)).sum()
        made.backward()
        found.append({n: w.grad for n, w in model.named_parameters() if w.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 50
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad)


# --- the modified ResNet


def reference(w: dict[str, torch.Tensor], x: torch.Tensor, heads: int) -> list[torch.Tensor]:
    """The tower by its description, as functions of named weights; what each part gives."""

    def norm(x: torch.Tensor, at: str) -> torch.Tensor:
        mean, var = w[f"{at}.running_mean"], w[f"{at}.running_var"]
        return functional.batch_norm(x, mean, var, w[f"{at}.weight"], w[f"{at}.bias"])

    def block(x: torch.Tensor, at: str, stride: int) -> torch.Tensor:
        out = norm(functional.conv2d(x, w[f"{at}.conv1.weight"]), f"{at}.bn1").relu()
        out = norm(functional.conv2d(out, w[f"{at}.conv2.weight"], padding=1), f"{at}.bn2").relu()
        out = functional.avg_pool2d(out, stride) if stride == 2 else out
        out = norm(functional.conv2d(out, w[f"{at}.conv3.weight"]), f"{at}.bn3")
        if f"{at}.downsample.0.weight" in w:
            x = functional.avg_pool2d(x, stride) if stride == 2 else x
            x = norm(functional.conv2d(x, w[f"{at}.downsample.0.weight"]), f"{at}.downsample.1")
        return (out + x).relu()

    for i, stride in ((1, 2), (2, 1), (3, 1)):
        kernel = w[f"conv{i}.weight"]
        x = norm(functional.conv2d(x, kernel, stride=stride, padding=1), f"bn{i}").relu()
    found = [functional.avg_pool2d(x, 2)]
    for stage in (1, 2, 3, 4):
        x, count = found[-1], 0
        while f"layer{stage}.{count}.conv1.weight" in w:
            x = block(x, f"layer{stage}.{count}", 2 if stage > 1 and not count else 1)
            count += 1
        found.append(x)
    x = x.flatten(start_dim=2).permute(2, 0, 1)  # places first, as torch's attention has them
    x = torch.cat([x.mean(dim=0, keepdim=True), x]) + w["attnpool.positional_embedding"][:, None]
    p = {k.removeprefix("attnpool."): v for k, v in w.items() if k.startswith("attnpool.")}
    out, _ = functional.multi_head_attention_forward(
        query=x[:1], key=x, value=x, embed_dim_to_check=x.shape[-1], num_heads=heads,
        q_proj_weight=p["q_proj.weight"], k_proj_weight=p["k_proj.weight"],
        v_proj_weight=p["v_proj.weight"], in_proj_weight=None,
        in_proj_bias=torch.cat([p["q_proj.bias"], p["k_proj.bias"], p["v_proj.bias"]]),
        bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
        out_proj_weight=p["c_proj.weight"], out_proj_bias=p["c_proj.bias"],
        use_separate_proj_weight=True, training=False, need_weights=False,
    )  # fmt: skip
    return [*found, out[0]]


def resnet() -> Clip:
    return random(config(RESNET).built())


def test_the_resnet_is_what_its_description_says_layer_by_layer():
    tower = resnet().visual
    made: list[torch.Tensor] = []
    for part in (tower.avgpool, tower.layer1, tower.layer2, tower.layer3, tower.layer4):
        part.register_forward_hook(lambda _, given, got: made.append(got))
    with torch.no_grad():
        made.append(tower(pixels(64)))
        wanted = reference(tower.state_dict(), pixels(64), heads=2)
    assert [tuple(x.shape) for x in made] == [
        (3, 4, 16, 16), (3, 16, 16, 16), (3, 32, 8, 8), (3, 64, 4, 4), (3, 128, 2, 2), (3, 8),
    ]  # fmt: skip
    for mine, other in zip(made, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
    assert made[-1].std(dim=0).min() > 1e-3


@pytest.mark.parametrize("vision", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_open_clip_gives_the_same(vision: dict[str, Any], act: str, ids: torch.Tensor):
    open_clip = pytest.importorskip("open_clip", reason="pip install 'clip-audit[open-clip]'")
    text = {"context_length": 12, "vocab_size": 90, "width": 16, "heads": 2, "layers": 3,
            "mlp_ratio": 1.5}  # fmt: skip
    if "layers" in vision:
        look = {"image_size": 64, "layers": vision["layers"], "width": 4, "head_width": 64}
    else:
        look = {"image_size": 32, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8,
                "mlp_ratio": 40 / 24}  # fmt: skip
    theirs = open_clip.CLIP(8, look, text, quick_gelu=act == "quick_gelu").eval()
    ours = random(config(vision, act).built())
    layout = {name.removeprefix("text."): w for name, w in ours.state_dict().items()}
    theirs.load_state_dict(layout)
    whole = functional.pad(ids, (0, 2), value=89)  # open_clip takes the whole context only
    with torch.no_grad():
        for got, wanted in (
            (ours.get_text_features(ids), theirs.encode_text(whole)),
            (
                ours.get_image_features(pixels(look["image_size"])),
                theirs.encode_image(pixels(look["image_size"])),
            ),
        ):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_published_sizes_have_the_published_numbers_of_weights():
    """Parameters of RN50, ViT-B/32 and ViT-L/14 with their text towers (the paper's table 19)."""
    text = {"hidden_size": 512, "num_attention_heads": 8}
    wide = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    large = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096,
             "num_hidden_layers": 24, "patch_size": 14}  # fmt: skip
    sizes = {
        102_007_137: (1024, {"layers": (3, 4, 6, 3)}, text),
        151_277_313: (512, {}, text),
        427_616_513: (768, large, wide),
    }
    for count, (dim, vision, read) in sizes.items():
        said = OpenAiClip(projection_dim=dim, vision_config=vision, text_config=read)
        with torch.device("meta"):
            assert sum(w.numel() for w in said.built().parameters()) == count


# --- words


def test_a_bag_of_words_knows_no_order_and_no_padding(ids: torch.Tensor):
    tower = random(config(text={"tower": "words"}).built()).text
    assert isinstance(tower, BagOfWords)
    row, turned = torch.tensor([[1, 5, 7, 9, 89]]), torch.tensor([[1, 9, 5, 7, 89]])
    padded = torch.tensor([[1, 5, 7, 9, 89, 89, 89]])
    mean = tower.token_embedding.weight[[5, 7, 9]].mean(dim=0) @ tower.text_projection
    with torch.no_grad():
        for each in (row, turned, padded):
            torch.testing.assert_close(tower(each)[0], mean)
    assert words_of(padded).tolist() == [[False, True, True, True, False, False, False]]


# --- folders


def folder(at: Path, said: OpenAiClip, prefix: str = "") -> Path:
    """A checkpoint in OpenAI's layout, with a small tokenizer and how its pictures are prepared."""
    duals.clip(at)
    tokens = int(json.loads((at / "config.json").read_text())["text_config"]["vocab_size"])
    raw = {"model_type": said.model_type} | said.model_dump(mode="json")
    raw["text_config"] |= {"vocab_size": tokens, "max_position_embeddings": 40}
    (at / "config.json").write_text(json.dumps(raw))
    side = raw["vision_config"]["image_size"]
    duals_pictures = {"size": {"shortest_edge": side}, "crop_size": side}
    (at / "processor_config.json").unlink()
    (at / "preprocessor_config.json").write_text(json.dumps(duals_pictures))
    model = random(read_config(at, "m").built())
    named = {k.removeprefix("text."): v.contiguous() for k, v in model.state_dict().items()}
    save_file({f"{prefix}{k}": v for k, v in named.items()}, at / "model.safetensors")
    return at


def read_by_hand(at: Path, texts: list[str]) -> tuple[Clip, torch.Tensor]:
    import transformers

    tokens = transformers.CLIPTokenizer.from_pretrained(at)
    rows = tokens(texts, padding=True, return_tensors="pt")["input_ids"]
    model = read_config(at, "m").built().eval()
    found = load_file(at / "model.safetensors")
    own = {name.removeprefix("text."): name for name in model.state_dict()}
    model.load_state_dict({own[name]: weight for name, weight in found.items()})
    return model, rows


@pytest.mark.parametrize(
    "said", [config(RESNET), config(), config(head=True), config(text={"tower": "words"})],
    ids=["resnet", "vit", "heads", "words"],
)  # fmt: skip
def test_a_folder_in_openais_layout_loads_as_any_model(said: OpenAiClip, tmp_path: Path):
    at, texts = folder(tmp_path / "m", said), ["a photo", "cat", "a dog b"]
    encoder = load(str(at), "cpu")
    model, rows = read_by_hand(at, texts)
    with torch.no_grad():
        wanted = functional.normalize(model.get_text_features(rows), dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_texts(texts), wanted, atol=1e-5)
    side = said.vision_config.image_size
    rng = np.random.default_rng(0)
    shown = [
        Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)).resize((side, side))
        for _ in "ab"
    ]
    pictures = Pictures.read(at, "m")
    read = pictures.normalised(torch.from_numpy(np.stack([pictures(each) for each in shown])))
    with torch.no_grad():
        wanted = functional.normalize(model.get_image_features(read), dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_images(shown), wanted, atol=1e-5)
    assert not np.allclose(wanted[0], wanted[1], atol=1e-4)
    assert (encoder.card.family, encoder.card.image_size) == ("openai_clip", side)
    assert encoder.card.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    card = locate(str(at)).card
    assert card is not None
    assert card.dim == 8


def test_a_sigmoid_has_its_bias(tmp_path: Path):
    encoder = load(str(folder(tmp_path / "m", config(sigmoid=True))), "cpu")
    assert (encoder.card.scores, encoder.card.logit_bias) == ("sigmoid", -10.0)


def as_open_clip(at: Path, **changes: Any) -> Path:
    """The same folder with open_clip's settings in place of config.json."""
    (at / "config.json").unlink()
    (at / "preprocessor_config.json").unlink()
    (at / "model.safetensors").rename(at / "open_clip_model.safetensors")
    text = {"context_length": 40, "vocab_size": 190, "width": 16, "heads": 2, "layers": 3,
            "mlp_ratio": 1.5}  # fmt: skip
    look = {"image_size": 64, "layers": [2, 1, 3, 1], "width": 4, "head_width": 64}
    said = {"embed_dim": 8, "vision_cfg": look, "text_cfg": text, "quick_gelu": True} | changes
    pictures = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    raw = {"model_cfg": said, "preprocess_cfg": pictures}
    (at / "open_clip_config.json").write_text(json.dumps(raw))
    return at


def test_a_folder_of_open_clip_needs_no_open_clip(tmp_path: Path):
    at = folder(tmp_path / "m", config(RESNET))
    before = load(str(at), "cpu")
    tokens = before.card.context_length
    after = load(str(as_open_clip(at)), "cpu")
    texts = ["a photo", "cat"]
    np.testing.assert_array_equal(after.encode_texts(texts), before.encode_texts(texts))
    assert (after.card.context_length, after.card.image_size) == (tokens, 64)
    assert "mean (0.5, 0.5, 0.5)" in after.card.preprocessing
    assert after.card.fingerprint != before.card.fingerprint


@pytest.mark.parametrize("wide", [RESNET, VIT | {"hidden_size": 64, "num_attention_heads": 1}])
def test_weights_without_a_config_tell_what_to_write(wide: dict[str, Any], tmp_path: Path):
    read = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256}
    vision = wide if "layers" in wide else wide | {"intermediate_size": 256}
    at = folder(tmp_path / "m", config(vision, text=read))
    before = load(str(at), "cpu").encode_texts(["a photo"])
    (at / "config.json").unlink()
    with pytest.raises(InputError, match="in OpenAI's layout, don't tell.*Save this as") as told:
        load(str(at), "cpu")
    (at / "config.json").write_text(re.findall(r"trained so: (.*)\.$", str(told.value))[0])
    np.testing.assert_array_equal(load(str(at), "cpu").encode_texts(["a photo"]), before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"multimodal_cfg": {}}, "multimodal_cfg.*open_clip:"),
        ({"vision_cfg": {"timm_model_name": "x"}}, "vision_cfg.timm_model_name 'x'.*open_clip:"),
        ({"text_cfg": {"hf_model_name": "x"}}, "text_cfg.hf_model_name 'x'.*open_clip:"),
        ({"text_cfg": {"width": "9"}}, "width: got '9'; needs a whole number"),
        ({"text_cfg": None}, "no mapping 'text_cfg'"),
    ],
)
def test_what_open_clip_alone_knows_is_left_to_it(
    changes: dict[str, Any], said: str, tmp_path: Path
):
    at = as_open_clip(folder(tmp_path / "m", config(RESNET)), **changes)
    with pytest.raises(InputError, match=said):
        locate(str(at))


@pytest.mark.parametrize(
    ("vision", "said"),
    [
        ({"image_size": 48}, "image_size 48 is no multiple of 32"),
        ({"num_attention_heads": 3}, "num_attention_heads 3 does not divide .* 128"),
        ({"width": 5}, "width: got 5"),
        ({"layers": [1, 2, 3]}, "layers"),
    ],
)
def test_a_resnet_whose_sizes_do_not_fit_is_a_sentence(
    vision: dict[str, Any], said: str, tmp_path: Path
):
    raw = {"model_type": "openai_clip", "vision_config": RESNET | vision, "text_config": TEXT}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(InputError, match=said) as told:
        read_config(tmp_path, "m")
    assert not re.search(r"vit\b", str(told.value))

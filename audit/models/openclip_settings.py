"""What ``open_clip_config.json`` says of a CLIP of our own towers, in the words of config.json.

Read where a folder has no config.json. A plain model of open_clip, a ResNet or a Vision
Transformer, needs no open_clip then; the files of its tokenizer have to lie beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from audit.core.errors import InputError, sentence
from audit.core.rows import Fields, Row
from audit.models.jsonfile import read_json

FILE: Final = "open_clip_config.json"
#: where its weights may be, as open_clip names them
WEIGHTS: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "model_cfg": frozenset({"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text",
                            "init_logit_scale", "init_logit_bias"}),
    "vision_cfg": frozenset({"image_size", "layers", "width", "head_width", "patch_size",
                             "mlp_ratio"}),
    "text_cfg": frozenset({"context_length", "vocab_size", "width", "heads", "layers",
                           "mlp_ratio"}),
    "preprocess_cfg": frozenset({"mean", "std", "interpolation", "resize_mode", "size", "mode",
                                 "fill_color"}),
}  # fmt: skip
_MOST: Final = 16_777_216
_HEAD: Final = 64  # width of an attention head where nothing is said


def model_fields(folder: Path, ref: str) -> Row:
    """The fields of config.json that describe the same model.

    Raises:
        InputError: it has parts that our towers have not.
    """
    said = _part(read_json(folder / FILE, ref), "model_cfg", ref)
    vision, text = _part(said, "vision_cfg", ref), _part(said, "text_cfg", ref)
    act = "quick_gelu" if said.get("quick_gelu") else "gelu"
    bias = said.get("init_logit_bias") is not None
    head, width = _number(vision, "head_width", _HEAD), _number(vision, "width", 768)
    if isinstance(vision.get("layers"), list):
        tower: Row = {
            "layers": vision["layers"], "width": _number(vision, "width", 64),
            "num_attention_heads": 32 * _number(vision, "width", 64) // head,
        }  # fmt: skip
    else:
        tower = _transformer(vision, width, width // head, act)
        tower["patch_size"] = _number(vision, "patch_size", 16)
    context, tokens = _number(text, "context_length", 77), _number(text, "vocab_size", 49_408)
    read = _transformer(text, _number(text, "width", 512), _number(text, "heads", 8), act)
    return {
        "model_type": "openai_clip_sigmoid" if bias else "openai_clip",
        "projection_dim": said.get("embed_dim"),
        "vision_config": tower | {"image_size": vision.get("image_size", 224)},
        "text_config": read | {"vocab_size": tokens, "max_position_embeddings": context},
    }


def picture_fields(folder: Path, ref: str) -> Row:
    """The fields of preprocessor_config.json that prepare pictures in the same way.

    Raises:
        InputError: it prepares pictures in another way.
    """
    raw = read_json(folder / FILE, ref)
    said = _part(raw, "preprocess_cfg", ref) if raw.get("preprocess_cfg") else {}
    side = _part(_part(raw, "model_cfg", ref), "vision_cfg", ref).get("image_size", 224)
    filters = {"bicubic": 3, "bilinear": 2}
    how, resize = said.get("interpolation", "bicubic"), said.get("resize_mode", "shortest")
    if how not in filters or resize not in ("shortest", "squash"):
        raise _other(f"{ref}: {FILE} prepares pictures with {how!r:.40}, {resize!r:.40}", ref)
    found: Row = {"resample": filters[how], "crop_size": side, "size": {"shortest_edge": side}}
    if resize == "squash":
        found |= {"size": {"height": side, "width": side}, "do_center_crop": False}
    for ours, theirs in (("image_mean", "mean"), ("image_std", "std")):
        found |= {ours: said[theirs]} if said.get(theirs) is not None else {}
    return found


def _transformer(said: Fields, width: int, heads: int, act: str) -> Row:
    ratio = said.get("mlp_ratio", 4.0)
    return {
        "hidden_size": width, "num_attention_heads": heads, "hidden_act": act,
        "num_hidden_layers": said.get("layers", 12),
        "intermediate_size": int(width * ratio) if isinstance(ratio, int | float) else ratio,
    }  # fmt: skip


def _part(raw: Fields, key: str, ref: str) -> Fields:
    """A mapping of the file, whose keys are all known here."""
    said = raw.get(key)
    if not isinstance(said, Mapping):
        told = f"{ref}: {FILE} has no mapping '{key}'"
        raise InputError(told, "Download or save the checkpoint again")
    more = sorted(k for k in said.keys() - _KNOWN[key] if said[k] is not None)
    if more:
        raise _other(f"{ref}: {FILE} says {key}.{more[0]:.60} {said[more[0]]!r:.60}", ref)
    return said


def _other(told: str, ref: str) -> InputError:
    advice = "which is not read without open_clip. Install clip-audit[open-clip] and name it"
    return InputError(sentence(f"{told}, {advice} open_clip:{ref}"))


def _number(said: Fields, key: str, default: int) -> int:
    value = said.get(key, default)
    if type(value) is not int or not 0 < value <= _MOST:
        told = f"{FILE}: {key}: got {value!r:.60}; needs a whole number from 1 to {_MOST:,}"
        raise InputError(told, "Download or save the checkpoint again")
    return value

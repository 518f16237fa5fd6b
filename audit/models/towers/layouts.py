"""One CLIP, two layouts of its weights: OpenAI's, which our towers have, and transformers'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import torch

from audit.models.towers.dual import Clip

_TEXT: Final = "text_model."
_IMAGE: Final = "vision_model."
#: names of our towers and of transformers' CLIPModel, without what comes in blocks
_NAMES: Final = {
    "logit_scale": "logit_scale",
    "text.token_embedding.weight": f"{_TEXT}embeddings.token_embedding.weight",
    "text.positional_embedding": f"{_TEXT}embeddings.position_embedding.weight",
    "text.ln_final.weight": f"{_TEXT}final_layer_norm.weight",
    "text.ln_final.bias": f"{_TEXT}final_layer_norm.bias",
    "text.text_projection": "text_projection.weight",
    "visual.class_embedding": f"{_IMAGE}embeddings.class_embedding",
    "visual.conv1.weight": f"{_IMAGE}embeddings.patch_embedding.weight",
    "visual.positional_embedding": f"{_IMAGE}embeddings.position_embedding.weight",
    "visual.ln_pre.weight": f"{_IMAGE}pre_layrnorm.weight",
    "visual.ln_pre.bias": f"{_IMAGE}pre_layrnorm.bias",
    "visual.ln_post.weight": f"{_IMAGE}post_layernorm.weight",
    "visual.ln_post.bias": f"{_IMAGE}post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
}
#: a matrix that our towers multiply from the other side
_TURNED: Final = frozenset({"text.text_projection", "visual.proj"})
_BLOCK: Final = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip
_PARTS: Final = ("q_proj", "k_proj", "v_proj")
_OURS: Final = re.compile(r"(text|visual)\.transformer\.resblocks\.(\d+)\.(.+)[._](weight|bias)")
_THEIRS: Final = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")

Weights = dict[str, torch.Tensor]


def to_transformers(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Weights of a Vision Transformer and a text transformer of ours, as a CLIPModel has them."""
    found: Weights = {}
    for name, weight in weights.items():
        block = _OURS.fullmatch(name)
        if block is None:
            found[_NAMES[name]] = weight.T if name in _TURNED else weight
            continue
        tower = _TEXT if block[1] == "text" else _IMAGE
        at, part, kind = f"{tower}encoder.layers.{block[2]}", block[3], block[4]
        if part == "attn.in_proj":
            for third, values in zip(_PARTS, weight.chunk(3), strict=True):
                found[f"{at}.self_attn.{third}.{kind}"] = values
        else:
            found[f"{at}.{_BLOCK[part]}.{kind}"] = weight
    return found


def from_transformers(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The weights of a CLIPModel, as our towers have them."""
    found: Weights = {}
    names = {theirs: ours for ours, theirs in _NAMES.items()}
    parts = {theirs: ours for ours, theirs in _BLOCK.items()}
    for name, weight in weights.items():
        block = _THEIRS.fullmatch(name)
        if block is None:
            ours = names[name]
            found[ours] = weight.T if ours in _TURNED else weight
            continue
        tower = "text" if block[1] == "text" else "visual"
        at, part, kind = f"{tower}.transformer.resblocks.{block[2]}", block[3], block[4]
        if part.removeprefix("self_attn.") not in _PARTS:
            found[f"{at}.{parts[part]}.{kind}"] = weight
        elif part.endswith(_PARTS[0]):
            of_three = (weights[name.replace(_PARTS[0], third)] for third in _PARTS)
            found[f"{at}.attn.in_proj_{kind}"] = torch.cat(list(of_three))
    return found


class TransformersClip(Clip):
    """A CLIP of our towers whose weights have the names and shapes of a CLIPModel.

    On a CPU it gives what transformers' own class does to the last bit, and it is there in a third
    of the time that importing that class takes.
    """

    def __init__(self, visual: torch.nn.Module, text: torch.nn.Module) -> None:
        super().__init__(visual, text)
        self.register_state_dict_post_hook(_hand_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_take_in)  # type: ignore[no-untyped-call]


def _hand_out(_module: object, weights: Weights, *_: object) -> None:
    _instead(weights, to_transformers(weights))


def _take_in(_module: object, weights: Weights, *_: object) -> None:
    _instead(weights, from_transformers(weights))


def _instead(weights: Weights, others: Weights) -> None:
    weights.clear()
    weights.update(others)

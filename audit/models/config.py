"""What config.json says of a CLIP, as far as it changes a number.

Defaults are those of transformers' ``CLIPConfig``. Fields that no CLIP is computed from are not
looked at, and the model is built from these fields alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.errors import InputError, sentence
from audit.data.yamlfile import validate
from audit.models.jsonfile import read_json
from audit.models.preprocessing import MAX_SIDE

FILE: Final = "config.json"
Activation = Literal[
    "quick_gelu", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh",
    "relu", "relu6", "silu", "swish", "mish", "tanh", "sigmoid",
]  # fmt: skip
#: fields that say that more than the weights decides the numbers, and what to do about it
_MORE: Final[Mapping[str, str]] = {
    "auto_map": "it wants to run code of its own, which is never run here. Give a checkpoint that "
    "transformers' own CLIPModel reads",
    "quantization_config": "its weights are quantized. Give the checkpoint before that",
    "compression_config": "its weights are compressed. Give the checkpoint before that",
    "pruned_heads": "some attention heads are to be removed. Save the model after removing them",
}


class _Tower(BaseModel):
    """The sizes of one transformer."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    hidden_size: int = Field(512, ge=1, le=65_536)
    intermediate_size: int = Field(2048, ge=1, le=1_048_576)
    num_hidden_layers: int = Field(12, ge=1, le=1000)
    num_attention_heads: int = Field(8, ge=1)
    hidden_act: Activation = "quick_gelu"
    layer_norm_eps: float = Field(1e-5, gt=0, le=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            told = f"num_attention_heads {self.num_attention_heads} does not divide hidden_size"
            raise ValueError(f"{told} {self.hidden_size}")
        return self


class TextTower(_Tower):
    """The text tower; it is read at ``eos_token_id``, or at the largest id where that is 2."""

    vocab_size: int = Field(49_408, ge=2, le=16_777_216)
    max_position_embeddings: int = Field(77, ge=2, le=65_536)
    eos_token_id: int = Field(49_407, ge=0)


class VisionTower(_Tower):
    """The picture tower."""

    hidden_size: int = Field(768, ge=1, le=65_536)
    intermediate_size: int = Field(3072, ge=1, le=1_048_576)
    num_attention_heads: int = Field(12, ge=1)
    num_channels: Literal[3] = 3
    image_size: int = Field(224, ge=1, le=MAX_SIDE)
    patch_size: int = Field(32, ge=1, le=MAX_SIDE)

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        if self.patch_size > self.image_size:
            told = f"patch_size {self.patch_size} is larger than image_size {self.image_size}"
            raise ValueError(told)
        return self


class ClipConfig(BaseModel):
    """A CLIP's two towers and the width of the space they share."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    projection_dim: int = Field(512, ge=1, le=65_536)
    text_config: TextTower = TextTower()
    vision_config: VisionTower = VisionTower()


def read_config(folder: Path, ref: str) -> ClipConfig:
    """The model that a checkpoint folder describes.

    Raises:
        InputError: no config.json, not a CLIP, a field that can't be used, code of its own.
    """
    if not (folder / FILE).is_file():
        nested = sorted(path.parent.name for path in folder.glob(f"*/{FILE}"))[:3]
        raise InputError(
            f"{ref}: no config.json there, so it is not a transformers checkpoint. Give the folder "
            "that 'save_pretrained' wrote"
            + (f", such as its subfolder {' or '.join(nested)}." if nested else ".")
        )
    raw = read_json(folder / FILE, ref)
    parts = [
        raw,
        *(v for k in ("text_config", "vision_config") if isinstance(v := raw.get(k), dict)),
    ]
    for key, told in _MORE.items():
        if any(part.get(key) for part in parts):
            raise InputError(sentence(f"{ref}: config.json has {key}: {told}"))
    if raw.get("model_type") != "clip":
        raise InputError(
            f"{ref}: not a CLIP: config.json says model_type {raw.get('model_type')!r:.60}, this "
            "tool reads 'clip' (transformers' CLIPModel, both towers). Give another checkpoint."
        )
    said = {"projection_dim": raw.get("projection_dim", 512)}
    towers = {key: _tower(raw, key) for key in ("text_config", "vision_config")}
    return validate(ClipConfig, said | towers, f"{ref}: config.json")


def _tower(raw: Mapping[str, Any], key: str) -> Any:
    """What is said of a tower: an old file's ``..._dict`` stands for all of it in transformers."""
    older = raw.get(f"{key}_dict")
    said = raw.get(key) if older is None else older
    return {} if said is None else said

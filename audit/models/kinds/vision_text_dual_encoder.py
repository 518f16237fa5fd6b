"""VisionTextDualEncoder: any picture tower beside any text tower, as transformers joins them.

The towers that are read here are CLIP's and ViT's, and BERT, RoBERTa and XLM-RoBERTa; this is the
layout of CLIP-Italian and of most pairs of a CLIP's picture tower with a text tower in another
language.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from audit.models.kinds.base import Activation, BertTower, PatchTower, Projected, RobertaTower
from audit.models.kinds.clip import VisionTower


class Bert(BertTower):
    """BERT."""

    model_type: Literal["bert"]


class Roberta(RobertaTower):
    """RoBERTa and XLM-RoBERTa."""

    model_type: Literal["roberta", "xlm-roberta"]


class ClipVision(VisionTower):
    """The picture tower of a CLIP, without its projection."""

    model_type: Literal["clip_vision_model"]


class Vit(PatchTower):
    """A ViT with its pooler."""

    model_type: Literal["vit"]
    patch_size: int = Field(16, ge=1, le=8192)
    hidden_act: Activation = "gelu"
    layer_norm_eps: float = Field(1e-12, gt=0, le=1)
    qkv_bias: bool = True
    pooler_output_size: int | None = Field(None, ge=1, le=65_536)
    pooler_act: Activation = "tanh"


class VisionTextDual(Projected):
    """Two towers of kinds that config.json names."""

    model_type: ClassVar = "vision-text-dual-encoder"
    named: ClassVar = "VisionTextDualEncoder: CLIP's or ViT's pictures, BERT's or RoBERTa's texts"
    example: ClassVar = "clip-italian/clip-italian"
    model: ClassVar = "VisionTextDualEncoderModel"
    configured_by: ClassVar = "VisionTextDualEncoderConfig"
    reading: ClassVar = "start"
    renamed: ClassVar = (
        (r"^vision_model\.vision_model\.", "vision_model."),
        (r"^(vision_model\.)encoder\.layer\.", r"\1layers."),
        (r"^(vision_model\..*\.)attention\.attention\.(query|key|value)\.", r"\1attention.\2."),
        (r"^(vision_model\..*\.attention\.)query\.", r"\1q_proj."),
        (r"^(vision_model\..*\.attention\.)key\.", r"\1k_proj."),
        (r"^(vision_model\..*\.attention\.)value\.", r"\1v_proj."),
        (r"^(vision_model\..*\.attention\.)output\.dense\.", r"\1o_proj."),
        (r"^(vision_model\..*\.)intermediate\.dense\.", r"\1mlp.fc1."),
        (r"^(vision_model\.layers\.\d+\.)output\.dense\.", r"\1mlp.fc2."),
    )

    text_config: Annotated[Bert | Roberta, Field(discriminator="model_type")]
    vision_config: Annotated[ClipVision | Vit, Field(discriminator="model_type")]

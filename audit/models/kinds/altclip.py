"""AltCLIP: CLIP's picture tower beside a multilingual XLM-RoBERTa, taught by CLIP's text tower.

Chen et al. 2022, arXiv 2211.06679.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from audit.models.kinds.base import LARGEST_VOCABULARY, LONGEST, Projected, RobertaTower
from audit.models.kinds.clip import VisionTower


class AltText(RobertaTower):
    """The text tower; ``project_dim`` is the width of the teacher's space."""

    hidden_size: int = Field(1024, ge=1, le=65_536)
    intermediate_size: int = Field(4096, ge=1, le=1_048_576)
    num_hidden_layers: int = Field(24, ge=1, le=1000)
    num_attention_heads: int = Field(16, ge=1)
    layer_norm_eps: float = Field(1e-5, gt=0, le=1)
    vocab_size: int = Field(250_002, ge=2, le=LARGEST_VOCABULARY)
    max_position_embeddings: int = Field(514, ge=4, le=LONGEST)
    type_vocab_size: int = Field(1, ge=1, le=1024)
    project_dim: int = Field(768, ge=1, le=65_536)


class AltClip(Projected):
    """A RoBERTa with a layer more, a CLIP's picture tower."""

    model_type: ClassVar = "altclip"
    named: ClassVar = "AltCLIP"
    example: ClassVar = "BAAI/AltCLIP"
    model: ClassVar = "AltCLIPModel"
    configured_by: ClassVar = "AltCLIPConfig"
    older: ClassVar = True
    reading: ClassVar = "start"
    #: transformers 4 wrote the first of the towers so, transformers 5 writes both
    renamed: ClassVar = (
        (r"^((text_model\.roberta|vision_model)\.encoder\.)layer\.", r"\1layers."),
    )

    projection_dim: int = Field(768, ge=1, le=65_536)
    text_config: AltText = AltText()
    vision_config: VisionTower = VisionTower()

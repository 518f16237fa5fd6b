"""CLIP: the kind that all others are compared with.

Radford et al. 2021, arXiv 2103.00020. Also OpenCLIP's, MetaCLIP's, FashionCLIP's and others' models
that are published as a ``CLIPModel``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from audit.models.kinds.base import LARGEST_VOCABULARY, LONGEST, PatchTower, Projected, Tower

if TYPE_CHECKING:
    from audit.models.towers.dual import Clip


class TextTower(Tower):
    """The text tower; it is read at ``eos_token_id``, or at the largest id where that is 2."""

    vocab_size: int = Field(49_408, ge=2, le=LARGEST_VOCABULARY)
    max_position_embeddings: int = Field(77, ge=2, le=LONGEST)
    eos_token_id: int = Field(49_407, ge=0)


class VisionTower(PatchTower):
    """The picture tower."""


class ClipConfig(Projected):
    """A CLIP's two towers and the width of the space they share."""

    model_type: ClassVar = "clip"
    named: ClassVar = "CLIP"
    example: ClassVar = "openai/clip-vit-base-patch32"
    model: ClassVar = "CLIPModel"
    configured_by: ClassVar = "CLIPConfig"
    older: ClassVar = True

    text_config: TextTower = TextTower()
    vision_config: VisionTower = VisionTower()

    @property
    def end(self) -> int | None:
        """None where config.json says 2, an old mistake that transformers keeps reading."""
        end = self.text_config.eos_token_id
        return None if end == 2 else end

    def built(self) -> Clip:
        """Our own towers, with random weights: ``audit.models.towers.layouts``."""
        from audit.models.towers import transformer
        from audit.models.towers.layouts import TransformersClip

        seen, read = self.vision_config, self.text_config
        looks = transformer.Transformer(seen.sizes)
        reads = transformer.Transformer(read.sizes, causal=True)
        size = seen.image_size, seen.patch_size, seen.hidden_size
        visual = transformer.VisionTransformer(*size, self.projection_dim, looks)
        size = read.vocab_size, read.max_position_embeddings, read.hidden_size
        text = transformer.TextTransformer(*size, self.projection_dim, reads)
        text.end = self.end
        return TransformersClip(visual, text)

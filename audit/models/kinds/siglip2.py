"""SigLIP 2 NaFlex: SigLIP 2 that takes pictures in their own shape, as patches.

Tschannen et al. 2025, arXiv 2502.14786. SigLIP 2 of a fixed size is published as a ``siglip``.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from audit.core.errors import InputError
from audit.core.rows import Fields
from audit.models.kinds.base import Activation, BaseTower
from audit.models.kinds.siglip import SigmoidTrained
from audit.models.naflex import Patches


class NaflexVision(BaseTower):
    """The picture tower; ``num_patches`` is that of the square on which places were learnt."""

    hidden_act: Activation = "gelu_pytorch_tanh"
    layer_norm_eps: float = Field(1e-6, gt=0, le=1)
    num_channels: Literal[3] = 3
    patch_size: int = Field(16, ge=1, le=1024)
    num_patches: int = Field(256, ge=1, le=16_384)
    vision_use_head: Literal[True] = True

    @model_validator(mode="after")
    def _places_make_a_square(self) -> Self:
        if math.isqrt(self.num_patches) ** 2 != self.num_patches:
            raise ValueError(f"num_patches {self.num_patches} is no square number")
        return self


class Siglip2(SigmoidTrained):
    """SigLIP's text tower, a picture tower for patches."""

    model_type: ClassVar = "siglip2"
    named: ClassVar = "SigLIP 2 NaFlex"
    example: ClassVar = "google/siglip2-base-patch16-naflex"
    model: ClassVar = "Siglip2Model"
    configured_by: ClassVar = "Siglip2Config"

    vision_config: NaflexVision = NaflexVision()

    @property
    def image_size(self) -> None:
        """It takes pictures of any shape."""

    def pictures_of(self, raw: Fields, where: str) -> Patches:
        """Patches of the size that the model takes."""
        patches, wanted = Patches.of(raw, where), self.vision_config.patch_size
        if patches.patch != wanted:
            raise InputError(
                f"{where} makes patches of {patches.patch} pixels, config.json wants {wanted}. One "
                "of the two files belongs to another checkpoint."
            )
        return patches

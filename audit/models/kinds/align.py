"""ALIGN: an EfficientNet beside a BERT. Jia et al. 2021, arXiv 2102.05918.

Its similarities are divided by a temperature, which is stored as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from audit.models.kinds.base import Activation, BertTower, Part, Projected
from audit.stats.scoring import Scoring

Coefficient = Annotated[float, Field(gt=0, le=20)]
#: one number a stage
Stages = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=32)
]
MOST_BLOCKS = 1000


class EfficientNet(Part):
    """The picture tower: stages of convolutions, scaled in width and depth; any picture fits."""

    num_channels: Literal[3] = 3
    width_coefficient: Coefficient = 2.0
    depth_coefficient: Coefficient = 3.1
    depth_divisor: int = Field(8, ge=1, le=1024)
    kernel_sizes: Stages = Field((3, 3, 5, 3, 5, 5, 3), strict=False)
    in_channels: Stages = Field((32, 16, 24, 40, 80, 112, 192), strict=False)
    out_channels: Stages = Field((16, 24, 40, 80, 112, 192, 320), strict=False)
    depthwise_padding: tuple[Annotated[int, Field(ge=0, le=MOST_BLOCKS)], ...] = Field(
        (), max_length=MOST_BLOCKS, strict=False
    )
    strides: Stages = Field((1, 2, 2, 2, 1, 2, 1), strict=False)
    num_block_repeats: Stages = Field((1, 2, 2, 3, 3, 4, 1), strict=False)
    expand_ratios: Stages = Field((1, 6, 6, 6, 6, 6, 6), strict=False)
    squeeze_expansion_ratio: float = Field(0.25, gt=0, le=1)
    hidden_act: Activation = "swish"
    hidden_dim: int = Field(2560, ge=1, le=65_536)
    pooling_type: Literal["mean", "max"] = "mean"
    batch_norm_eps: float = Field(0.001, gt=0, le=1)

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        stages = {
            len(each)
            for each in (
                self.kernel_sizes, self.in_channels, self.out_channels, self.strides,
                self.num_block_repeats, self.expand_ratios,
            )
        }  # fmt: skip
        if len(stages) > 1:
            raise ValueError("kernel_sizes and the other lists of stages differ in length")
        blocks = sum(math.ceil(self.depth_coefficient * n) for n in self.num_block_repeats)
        if blocks > MOST_BLOCKS:
            raise ValueError(f"its stages have {blocks:,} blocks; at most {MOST_BLOCKS:,} are read")
        return self


class Align(Projected):
    """A BERT without its pooler, an EfficientNet without a head."""

    model_type: ClassVar = "align"
    named: ClassVar = "ALIGN"
    example: ClassVar = "kakaobrain/align-base"
    model: ClassVar = "AlignModel"
    configured_by: ClassVar = "AlignConfig"
    pictures_by: ClassVar = "EfficientNetImageProcessor"
    reading: ClassVar = "start"
    trained_context: ClassVar = 64
    numbers: ClassVar = ("temperature",)

    projection_dim: int = Field(640, ge=1, le=65_536)
    text_config: BertTower = BertTower()
    vision_config: EfficientNet = EfficientNet()

    @property
    def image_size(self) -> None:
        """It takes pictures of any size; its preprocessing says which."""

    @classmethod
    def scoring(cls, numbers: Mapping[str, float]) -> Scoring:
        """A softmax of similarities over the temperature."""
        temperature = numbers["temperature"]
        return Scoring(1 / temperature if temperature else math.inf)

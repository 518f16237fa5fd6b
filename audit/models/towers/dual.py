"""A CLIP of our own towers: a picture tower, a text tower, a temperature, perhaps heads."""

from __future__ import annotations

import math

import torch
from torch import nn

#: 1 / 0.07, where the temperature starts
START_SCALE = math.log(1 / 0.07)


class Clip(nn.Module):
    """Two towers into one space.

    ``heads`` puts two layers of that width after each tower, as ConVIRT does; ``bias`` says whether
    scores have one, as SigLIP's.
    """

    def __init__(
        self, visual: nn.Module, text: nn.Module, heads: int | None = None, bias: bool = False
    ) -> None:
        super().__init__()
        self.visual, self.text = visual, text
        self.logit_scale = nn.Parameter(torch.tensor(START_SCALE))
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if bias else None
        self.visual_head: nn.Module = _head(heads)
        self.text_head: nn.Module = _head(heads)

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return self.logit_scale.dtype

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Pictures, (n, 3, side, side), as rows, (n, dim), of any length."""
        found: torch.Tensor = self.visual_head(self.visual(pixel_values))
        return found

    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Texts, (n, length), as rows, (n, dim), of any length; a mask is not looked at."""
        found: torch.Tensor = self.text_head(self.text(input_ids))
        return found


def _head(width: int | None) -> nn.Module:
    if width is None:
        return nn.Identity()
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

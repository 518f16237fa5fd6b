"""SigLIP's: each pair of a batch by itself, is this the caption of that picture or not?

Zhai et al. 2023, arXiv 2303.15343, section 3.2.
"""

from __future__ import annotations

from typing import Final

import torch
from torch.nn import functional

from audit.models.towers.dual import Clip
from audit.training.objectives.base import Objective, copies, units


def sigmoid_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The sum over all pairs of a batch of -log sigmoid, by picture; means over k captions."""
    images, texts = units(images), units(texts)
    signs = 2 * torch.eye(len(images), device=images.device) - 1
    losses = [
        -functional.logsigmoid(signs * (scale * images @ copy.T + bias)).sum() / len(images)
        for copy in copies(texts, len(images))
    ]
    return torch.stack(losses).mean()


def _siglip(model: Clip, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    assert model.logit_bias is not None
    return sigmoid_loss(images, texts, model.logit_scale.exp(), model.logit_bias)


SIGMOID: Final = Objective(_siglip)

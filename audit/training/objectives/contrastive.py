"""CLIP's own: each picture finds its caption among those of the batch, each caption its picture.

Radford et al. 2021, arXiv 2103.00020, figure 3; ConVIRT's weights and temperature: Zhang et al.
2020, arXiv 2010.00747, equations 2 to 4 and section 4.2.
"""

from __future__ import annotations

from typing import Final

import torch
from torch.nn import functional

from audit.models.towers.dual import Clip
from audit.training.objectives.base import Objective, copies, units

#: of ConVIRT: the share of the direction from picture to text; what cosines are divided by
TOWARD_TEXT: Final = 0.75
TEMPERATURE: Final = 0.1


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, toward_text: float = 0.5
) -> torch.Tensor:
    """Mean cross-entropy over rows (a picture finds its text) and columns, in float32.

    ``images`` is (b, d), ``texts`` (k b, d): k captions of every picture, the losses averaged.
    """
    images, texts = units(images), units(texts)
    right = torch.arange(len(images), device=images.device)
    losses = []
    for copy in copies(texts, len(images)):
        logits = scale * images @ copy.T
        rows, columns = (functional.cross_entropy(side, right) for side in (logits, logits.T))
        losses.append(toward_text * rows + (1 - toward_text) * columns)
    return torch.stack(losses).mean()


def _clip(model: Clip, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    return contrastive_loss(images, texts, model.logit_scale.exp())


def _convirt(model: Clip, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    return contrastive_loss(images, texts, model.logit_scale.exp(), TOWARD_TEXT)


CONTRASTIVE: Final = Objective(_clip)
CONVIRT: Final = Objective(_convirt)

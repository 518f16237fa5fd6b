"""What an objective is to the trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from audit.models.towers.dual import Clip

Loss = Callable[[Clip, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Objective:
    """A loss, with what it compares.

    ``loss`` takes the model, features of pictures, (b, d), and of texts, (k b, d), k captions of
    each picture, all first ones first; it is asked of the whole batch at once. Where an objective
    ``predicts``, it takes token ids, (k b, length), in place of the texts' features, and each pair
    stands by itself.
    """

    loss: Loss
    predicts: bool = False


def units(rows: torch.Tensor) -> torch.Tensor:
    """Rows of unit length, in float32."""
    return torch.nn.functional.normalize(rows.float(), dim=-1)


def copies(texts: torch.Tensor, pictures: int) -> torch.Tensor:
    """Rows of k captions of each picture, (k b, ...), as (k, b, ...)."""
    return texts.reshape(-1, pictures, *texts.shape[1:])

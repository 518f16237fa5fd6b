"""Words and n-grams as classes: what a picture's caption says is predicted, not compared.

Joulin et al. 2016, arXiv 1511.02251 (words); Li et al. 2017, arXiv 1612.09161 (Visual N-Grams). A
picture's log probability of an n-gram is linear in its features, up to a term that is the same for
all n-grams; so is the mean over the n-grams of a text. Here both sides are raised to unit length by
further dimensions, so that a cosine, times a scale, is exactly that mean, and such a model can be
asked as any other.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from audit.models.towers.transformer import drawn, words_of

#: dimensions that are added: one for the bias of an n-gram, one that makes a text's row of length 1
RAISED = 2
LARGEST_KEY = 2**63 - 1


class Grams(nn.Module):
    """A row and a bias of each n-gram; ``keys`` are the n-grams as sorted numbers."""

    keys: torch.Tensor

    def __init__(self, vocabulary: int, longest: int, units: int, dim: int) -> None:
        super().__init__()
        self.base, self.longest = vocabulary + 1, longest
        self.rows = drawn(dim**-0.5, units, dim)
        self.bias = nn.Parameter(torch.zeros(units))
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_buffer("keys", torch.full((units,), LARGEST_KEY))

    def grams(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Known n-grams of texts, (n, length): the text each is in, and its place in ``keys``."""
        words = words_of(ids)
        found = []
        key = torch.zeros_like(ids)
        whole = torch.ones_like(words)
        for n in range(self.longest):
            length = ids.shape[1] - n
            if length < 1:
                break
            later, there = ids[:, n:] + 1, words[:, n:]
            key = key[:, :length] + later * self.base**n
            whole = whole[:, :length] & there
            place = torch.searchsorted(self.keys, key.contiguous()).clamp(max=len(self.keys) - 1)
            known = whole & (self.keys[place] == key)
            found.append((known.nonzero()[:, 0], place[known]))
        texts, places = (torch.cat(parts) for parts in zip(*found, strict=True))
        return texts, places

    def weights(self) -> torch.Tensor:
        """Rows as they make logits, with the bias as a further dimension, (units, dim + 1)."""
        return torch.cat([self.scale.exp() * self.rows, self.bias[:, None]], dim=1)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Of every n-gram for features of pictures, (n, dim): (n, units)."""
        seen = functional.normalize(images.float(), dim=-1)
        return self.scale.exp() * seen @ self.rows.T + self.bias

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The mean over the n-grams of each text, raised to unit length, (n, dim + 2)."""
        weights = self.weights()
        texts, places = self.grams(ids)
        total = weights.new_zeros(len(ids), weights.shape[1]).index_add(0, texts, weights[places])
        count = torch.bincount(texts, minlength=len(ids)).clamp(min=1)
        mean = total / count[:, None] / weights.norm(dim=1).max()
        rest = (1 - mean.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
        return torch.cat([mean, rest], dim=1)

    def logit_scale(self) -> torch.Tensor:
        """The logarithm of what cosines are multiplied by to be logits."""
        found: torch.Tensor = (math.sqrt(2) * self.weights().norm(dim=1).max()).log()
        return found


class Raise(nn.Module):
    """Features of pictures, (n, dim), as rows of unit length that fit those of texts."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, dim + 2): a one for the bias, nothing where texts are made of unit length."""
        seen = functional.normalize(images, dim=-1)
        one = torch.ones_like(seen[:, :1])
        return torch.cat([seen, one, 0 * one], dim=1) / math.sqrt(2)

"""A caption as a language model writes it, word by word, having seen the picture.

Radford et al. 2021, arXiv 2103.00020, section 2.3: what CLIP's authors began with, and found to
learn slowest. The picture's row takes the place before the first token.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from audit.models.towers.transformer import TextTransformer, Transformer, words_of


class Captioner(TextTransformer):
    """The text transformer, with the picture before a text; its output words are its input's."""

    def __init__(self, vocabulary: int, context: int, width: int, dim: int,
                 body: Transformer) -> None:  # fmt: skip
        super().__init__(vocabulary, context, width, dim, body)
        self.prefix = nn.Linear(dim, width)

    def log_likelihood(self, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Of each text, (n, length), for the picture of the same number, (n, dim): by token, (n,).

        A mean over the words of a text and its end, in nats.
        """
        seen = self.prefix(images)[:, None]
        x = torch.cat([seen, self.token_embedding(ids[:, :-1])], dim=1)
        x = x + self.positional_embedding[: x.shape[1]]
        logits = self.ln_final(self.transformer(x)) @ self.token_embedding.weight.T
        each = functional.cross_entropy(logits.float().transpose(1, 2), ids, reduction="none")
        end = functional.one_hot(ids.argmax(dim=1), ids.shape[1]).bool()
        said = (words_of(ids) | end).float()
        return -(each * said).sum(dim=1) / said.sum(dim=1)

"""CLIP's two transformers: of pictures cut into patches, and of texts.

Radford et al. 2021, arXiv 2103.00020, section 2.4: Dosovitskiy et al.'s Vision Transformer with one
more layer norm before its blocks; the text transformer of GPT-2 with a causal mask, read where a
text ends. Weights have the names and the layout of OpenAI's own code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from audit.models.kinds.base import Sizes


def drawn(std: float, *shape: int) -> nn.Parameter:
    """Random weights of this spread around 0."""
    weights = nn.Parameter(torch.empty(shape))
    nn.init.normal_(weights, std=std)
    return weights


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """OpenAI's approximation of a GELU: x times the sigmoid of 1.702 x."""
    return x * torch.sigmoid(1.702 * x)


def _by_tanh(x: torch.Tensor) -> torch.Tensor:
    within = math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
    return 0.5 * x * (1.0 + torch.tanh(within))


def _fast(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1.0 + torch.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)))


def _by_erf(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


#: by the names that config.json has for them; GELUs differ in the last digits, as in transformers
ACTIVATIONS: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "quick_gelu": quick_gelu,
    "gelu": functional.gelu,
    "gelu_new": _by_tanh,
    "gelu_fast": _fast,
    "gelu_python": _by_erf,
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "swish": functional.silu,
    "mish": functional.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class Attention(nn.Module):
    """Self-attention of several heads, (n, length, width) to the same; weights as torch's own."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What every place takes from those that it sees."""
        n, length, width = x.shape
        q, k, v = self._joint(x) if self.training else self._apart(x)
        if x.device.type == "cpu" and self.training:
            seen = _plain(q, k, v, self.causal)  # at these lengths it trains faster on a CPU
        else:
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        found: torch.Tensor = self.out_proj(seen.transpose(1, 2).reshape(n, length, width))
        return found

    def _joint(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values, (n, heads, length, width a head), in one product."""
        joint = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        return joint.view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()

    def _apart(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The same in three products, which on a CPU gives what transformers does to the bit."""
        thirds = zip(self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        each = (functional.linear(x, weight, bias) for weight, bias in thirds)
        return tuple(p.view(*x.shape[:2], self.heads, -1).transpose(1, 2) for p in each)


def _plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    alike = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        later = torch.ones(alike.shape[-2:], dtype=torch.bool, device=alike.device).triu(1)
        alike = alike.masked_fill(later, -torch.inf)
    found: torch.Tensor = alike.softmax(dim=-1) @ v
    return found


class Mlp(nn.Module):
    """Two layers with an activation between."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each place by itself."""
        found: torch.Tensor = self.c_proj(ACTIVATIONS[self.activation](self.c_fc(x)))
        return found


class Block(nn.Module):
    """Attention, then two layers, each added to what it was given after a layer norm."""

    def __init__(self, sizes: Sizes, causal: bool) -> None:
        super().__init__()
        width, eps = sizes.width, sizes.eps
        self.ln_1, self.attn = nn.LayerNorm(width, eps), Attention(width, sizes.heads, causal)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, sizes.hidden, sizes.activation)

    def start(self, added: float) -> None:
        """Random weights as in OpenAI's code; ``added`` is the spread of what is added to a row."""
        width = self.ln_1.normalized_shape[0]
        nn.init.normal_(self.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(self.attn.out_proj.weight, std=added)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.mlp.c_proj.weight, std=added)
        for bias in (self.attn.out_proj.bias, self.mlp.c_fc.bias, self.mlp.c_proj.bias):
            nn.init.zeros_(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, length, width) to the same."""
        x = x + self.attn(self.ln_1(x))
        found: torch.Tensor = x + self.mlp(self.ln_2(x))
        return found


class Transformer(nn.Module):
    """Blocks, one after the other."""

    def __init__(self, sizes: Sizes, causal: bool = False) -> None:
        super().__init__()
        self.eps = sizes.eps
        blocks = [Block(sizes, causal) for _ in range(sizes.layers)]
        for block in blocks:
            block.start(sizes.width**-0.5 * (2 * sizes.layers) ** -0.5)
        self.resblocks = nn.ModuleList(blocks)
        #: in training, compute what lies inside a block again instead of keeping it
        self.recompute = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, length, width) to the same."""
        for block in self.resblocks:
            again = self.recompute and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        return x


class VisionTransformer(nn.Module):
    """Pictures, (n, 3, side, side), to rows of the shared space, (n, dim)."""

    def __init__(self, size: int, patch: int, width: int, dim: int, body: Transformer) -> None:
        super().__init__()
        places, scale = (size // patch) ** 2 + 1, width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = drawn(scale, width)
        self.positional_embedding = drawn(scale, places, width)
        self.ln_pre, self.ln_post = (nn.LayerNorm(width, body.eps) for _ in range(2))
        self.transformer = body
        self.proj = drawn(scale, width, dim)
        #: share of the patches that training leaves out of each picture (Li et al. 2022, FLIP)
        self.patch_dropout = 0.0

    def places(self, pixels: torch.Tensor) -> torch.Tensor:
        """What enters the blocks: the class token and the patches, (n, 1 + patches, width)."""
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding.to(patches.dtype)
        if self.training and self.patch_dropout:
            x = self._some(x)
        found: torch.Tensor = self.ln_pre(x)
        return found

    def _some(self, x: torch.Tensor) -> torch.Tensor:
        """The class token and a random part of the patches, another of every picture."""
        n, patches = len(x), x.shape[1] - 1
        kept = max(1, round(patches * (1 - self.patch_dropout)))
        # drawn on the CPU, so that a seed gives the same patches on every device
        order = torch.rand(n, patches).argsort(dim=1)[:, :kept].to(x.device) + 1
        some = x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))
        return torch.cat([x[:, :1], some], dim=1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The class token after all blocks, projected."""
        seen: torch.Tensor = self.ln_post(self.transformer(self.places(pixels))[:, 0])
        return seen @ self.proj


class TextTransformer(nn.Module):
    """Token ids, (n, length), to rows of the shared space, (n, dim).

    A text is read at its first ``end``; where that is None, at its largest id.
    """

    end: int | None = None

    def __init__(self, vocabulary: int, context: int, width: int, dim: int,
                 body: Transformer) -> None:  # fmt: skip
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = drawn(0.01, context, width)
        self.transformer = body
        self.ln_final = nn.LayerNorm(width, body.eps)
        self.text_projection = drawn(width**-0.5, width, dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def states(self, ids: torch.Tensor) -> torch.Tensor:
        """Every place after all blocks, (n, length, width); none has seen what comes after it."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        found: torch.Tensor = self.ln_final(self.transformer(x))
        return found

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The place at which a text ends, projected; what follows is not seen."""
        # the first of them, where it is repeated as padding
        end = (ids if self.end is None else (ids == self.end).int()).argmax(dim=1)
        read = self.states(ids)[torch.arange(len(ids), device=ids.device), end]
        return read @ self.text_projection


class BagOfWords(nn.Module):
    """Token ids, (n, length), to (n, dim): the mean of their rows, whatever their order.

    The first token, the largest, which ends a text, and what follows it are no words.
    """

    def __init__(self, vocabulary: int, width: int, dim: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.text_projection = drawn(width**-0.5, width, dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The mean over the words of each text, projected."""
        words = words_of(ids).to(self.token_embedding.weight.dtype)
        total = torch.einsum("nl,nlw->nw", words, self.token_embedding(ids))
        mean = total / words.sum(dim=1, keepdim=True).clamp(min=1)
        return mean @ self.text_projection


def words_of(ids: torch.Tensor) -> torch.Tensor:
    """Which places of texts, (n, length), hold words: those between the first and the end."""
    place = torch.arange(ids.shape[1], device=ids.device)
    return (place > 0) & (place < ids.argmax(dim=1, keepdim=True))

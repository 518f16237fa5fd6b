"""CLIP's modified ResNet: a stem of three layers, blurred strides, attention instead of a mean.

Radford et al. 2021, arXiv 2103.00020, section 2.4: He et al.'s ResNet with the improvements of
ResNet-D (He et al. 2018), strides preceded by average pooling (Zhang 2019), and an attention in
place of the global average. Weights have the names and the layout of OpenAI's own code.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from audit.models.towers.transformer import drawn

EXPANSION = 4  # a block widens its channels so many times
SHRINK = 32  # the last map is so many times smaller than the picture


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut; a stride is an average over as many pixels."""

    def __init__(self, entering: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        wide = EXPANSION * planes
        self.conv1, self.bn1 = nn.Conv2d(entering, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3, self.bn3 = nn.Conv2d(planes, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or entering != wide:
            parts = {
                "-1": nn.AvgPool2d(stride),
                "0": nn.Conv2d(entering, wide, 1, bias=False),
                "1": nn.BatchNorm2d(wide),
            }
            self.downsample = nn.Sequential(OrderedDict(parts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) to (n, 4 planes, h / stride, w / stride)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        return functional.relu(out + self.downsample(x))


class AttentionPool(nn.Module):
    """One query, the mean of all places, attends to them: (n, width, h, w) to (n, dim)."""

    def __init__(self, side: int, width: int, heads: int, dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = drawn(width**-0.5, side**2 + 1, width)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.c_proj = nn.Linear(width, width), nn.Linear(width, dim)
        for each in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(each.weight, std=width**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the mean takes from every place and from itself."""
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
        x = x + self.positional_embedding.to(x.dtype)
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x))
        )
        alike = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        seen = (alike.softmax(dim=-1) @ v).transpose(1, 2).flatten(1)
        found: torch.Tensor = self.c_proj(seen)
        return found


class ModifiedResNet(nn.Module):
    """Pictures, (n, 3, side, side), to rows of the shared space, (n, dim); a side is 32 k.

    ``layers`` are the blocks of each of four stages; ``width`` the channels of the stem, of which
    the last stage has 32 times as many.
    """

    def __init__(self, size: int, layers: Sequence[int], width: int, heads: int, dim: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, layers[0], stride=1)
        self.layer2 = _stage(4 * width, 2 * width, layers[1], stride=2)
        self.layer3 = _stage(8 * width, 4 * width, layers[2], stride=2)
        self.layer4 = _stage(16 * width, 8 * width, layers[3], stride=2)
        self.attnpool = AttentionPool(size // SHRINK, 32 * width, heads, dim)

    def stem(self, pixels: torch.Tensor) -> torch.Tensor:
        """Three convolutions and an average: (n, 3, side, side) to (n, width, side/4, side/4)."""
        x = pixels
        for conv, norm in (
            (self.conv1, self.bn1),
            (self.conv2, self.bn2),
            (self.conv3, self.bn3),
        ):
            x = functional.relu(norm(conv(x)))
        found: torch.Tensor = self.avgpool(x)
        return found

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Stem, four stages, attention."""
        x = self.stem(pixels)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        found: torch.Tensor = self.attnpool(x)
        return found


def _stage(entering: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one width, of which the first takes the stride; each starts as its shortcut."""
    wide = EXPANSION * planes
    made = [Bottleneck(entering, planes, stride)]
    made += [Bottleneck(wide, planes) for _ in range(blocks - 1)]
    for block in made:
        nn.init.zeros_(block.bn3.weight)
    return nn.Sequential(*made)

"""What a caption says, predicted from the picture alone: its words or n-grams, or word by word.

The baselines of Radford et al. 2021, arXiv 2103.00020, figure 2 and section 3.1.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import torch
from torch.nn import functional

from audit.models.towers.captioner import Captioner
from audit.models.towers.dual import Clip
from audit.models.towers.grams import LARGEST_KEY, Grams
from audit.training.objectives.base import Objective

LONGEST: Final = 5  # words of an n-gram, as in Visual N-Grams
DICTIONARY: Final = 10_000  # n-grams of several words


def gram_loss(tower: Grams, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Mean negative log probability, among all n-grams, of those of each caption; means by caption.

    ``images`` is (b, d), ``ids`` (k b, length).
    """
    chances = functional.log_softmax(tower.logits(images), dim=1)
    texts, places = tower.grams(ids)
    count = torch.bincount(texts, minlength=len(ids)).clamp(min=1)
    each = chances[texts % len(images), places] / count[texts]
    return -each.sum() / len(ids)


def _grams(model: Clip, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    assert isinstance(model.text, Grams)
    return gram_loss(model.text, images, ids)


def _captions(model: Clip, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    assert isinstance(model.text, Captioner)
    each = images.repeat(len(ids) // len(images), 1)
    return -model.text.log_likelihood(each, ids).mean()


GRAMS: Final = Objective(_grams, predicts=True)
CAPTIONING: Final = Objective(_captions, predicts=True)


def longest_of(objective: str, vocabulary: int) -> int:
    """How many words an n-gram has at most; its key has to be a number of 64 bits."""
    if objective == "bag_of_words":
        return 1
    return max(n for n in range(1, LONGEST + 1) if (vocabulary + 1) ** n < LARGEST_KEY)


def dictionary(rows: Iterable[list[int]], vocabulary: int, longest: int) -> torch.Tensor:
    """Sorted keys of every token, and of the commonest n-grams of texts that occur twice."""
    base, seen = vocabulary + 1, Counter[int]()
    for row in rows:
        words = row[1:-1]
        for n in range(2, longest + 1):
            for at in range(len(words) - n + 1):
                part = words[at : at + n]
                seen[sum((token + 1) * base**i for i, token in enumerate(part))] += 1
    common = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:DICTIONARY]
    keys = [*range(1, base), *(key for key, count in common if count > 1)]
    return torch.tensor(sorted(keys))

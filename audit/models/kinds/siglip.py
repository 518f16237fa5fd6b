"""SigLIP, and SigLIP 2 where pictures are squares: trained so that each label has its own score.

Zhai et al. 2023, arXiv 2303.15343; Tschannen et al. 2025, arXiv 2502.14786. Both were trained on
texts of 64 tokens, padded to the end and without an attention mask, and are read at the last of
them. SigLIP's texts had no capitals and no punctuation, SigLIP 2's no capitals; published
evaluations that forgot it lost many points.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from audit.core.rows import Fields
from audit.models.kinds.base import (
    LARGEST_VOCABULARY,
    LONGEST,
    Activation,
    BaseTower,
    Dual,
    PatchTower,
    Prepare,
    exponentiated,
)
from audit.stats.scoring import Scoring

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: SigLIP 2's, which lower-case in some layouts and leave it to the caller in others
_GEMMA: Final = frozenset({"GemmaTokenizer", "Siglip2Tokenizer"})
#: shows whether a tokenizer spells as SigLIP was trained
_PROBE: Final = "A Photo,  of a CAT."
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


class SiglipText(BaseTower):
    """The text tower; ``projection_size`` is as wide as the tower where nothing is said."""

    hidden_act: Activation = "gelu_pytorch_tanh"
    layer_norm_eps: float = Field(1e-6, gt=0, le=1)
    vocab_size: int = Field(32_000, ge=2, le=LARGEST_VOCABULARY)
    max_position_embeddings: int = Field(64, ge=2, le=LONGEST)
    projection_size: int | None = Field(None, ge=1, le=65_536)


class SiglipVision(PatchTower):
    """The picture tower, with the head that makes one vector of all patches."""

    patch_size: int = Field(16, ge=1, le=8192)
    hidden_act: Activation = "gelu_pytorch_tanh"
    layer_norm_eps: float = Field(1e-6, gt=0, le=1)
    vision_use_head: Literal[True] = True


class SigmoidTrained(Dual):
    """What SigLIP and both of SigLIP 2's share: the text tower, where it is read, the scores."""

    needs: ClassVar = ("sentencepiece",)
    reading: ClassVar = "last"
    scores: ClassVar = "sigmoid"
    numbers: ClassVar = ("logit_scale", "logit_bias")

    text_config: SiglipText = SiglipText()

    @property
    def dim(self) -> int:
        """Width of the shared space: that of the picture tower."""
        width: int = self.vision_config.hidden_size
        return width

    def spelling(self, tokenizer: PreTrainedTokenizerBase, said: Fields) -> Prepare | None:
        """Capitals and punctuation as in training, where this tokenizer leaves them."""
        named = str(said.get("tokenizer_class") or type(tokenizer).__name__).removesuffix("Fast")
        lowers, gemma = said.get("do_lower_case") is not False, named in _GEMMA
        if gemma and not lowers:
            return None
        wanted = str.lower if gemma else canonical if lowers else unpunctuated
        alike = tokenizer([_PROBE, wanted(_PROBE)], padding=False, truncation=False)["input_ids"]
        return None if alike[0] == alike[1] else wanted

    @classmethod
    def scoring(cls, numbers: Mapping[str, float]) -> Scoring:
        """A sigmoid of each similarity, scaled and shifted."""
        scale = exponentiated(numbers["logit_scale"])
        return Scoring(scale, numbers["logit_bias"], "sigmoid")


class Siglip(SigmoidTrained):
    """A picture tower for squares of one size."""

    model_type: ClassVar = "siglip"
    named: ClassVar = "SigLIP, and SigLIP 2 of a fixed size"
    example: ClassVar = "google/siglip2-base-patch16-224"
    model: ClassVar = "SiglipModel"
    configured_by: ClassVar = "SiglipConfig"
    pictures_by: ClassVar = "SiglipImageProcessor"

    vision_config: SiglipVision = SiglipVision()


def canonical(text: str) -> str:
    """A text as SigLIP was trained: no capitals, no punctuation, single spaces."""
    return unpunctuated(text.lower())


def unpunctuated(text: str) -> str:
    """A text without ASCII punctuation and with single spaces."""
    return re.sub(r"\s+", " ", text.translate(_PUNCTUATION)).strip()

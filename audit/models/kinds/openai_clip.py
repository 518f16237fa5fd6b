"""CLIP as OpenAI's own code and open_clip store it: with a Vision Transformer or modified ResNet.

Radford et al. 2021, arXiv 2103.00020. Built from this tool's own towers (``audit/models/towers``),
so that the ResNets are read, too, for which transformers has no class. ``hidden_act`` has to be
said: OpenAI's models have ``quick_gelu``, most of open_clip's ``gelu``, and the weights don't tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from audit.core.errors import InputError
from audit.core.rows import Row
from audit.models.kinds.base import LARGEST_VOCABULARY, LONGEST, Part, PatchTower, Projected, Tower
from audit.models.preprocessing import MAX_SIDE
from audit.stats.scoring import Scoring

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

    from audit.models.towers.dual import Clip

OwnActivation = Literal["quick_gelu", "gelu"]
Count = Annotated[int, Field(ge=1, le=1000)]
#: how many times wider the last of a ResNet's four stages is than its stem, and smaller its map
LAST_STAGE = 32


class TextTower(Tower):
    """The text tower, read at the largest id.

    ``words``: the mean of a text's words instead; ``grams``: of what a classifier of ``units``
    n-grams, of at most ``longest`` words, makes of them; ``captioner``: a language model.
    """

    tower: Literal["transformer", "words", "grams", "captioner"] = "transformer"
    longest: int = Field(1, ge=1, le=5)
    units: int = Field(1, ge=1, le=LARGEST_VOCABULARY)
    hidden_act: OwnActivation = "quick_gelu"
    layer_norm_eps: float = Field(1e-5, ge=1e-5, le=1e-5)
    vocab_size: int = Field(49_408, ge=2, le=LARGEST_VOCABULARY)
    max_position_embeddings: int = Field(77, ge=2, le=LONGEST)


class VitTower(PatchTower):
    """A Vision Transformer."""

    hidden_act: OwnActivation = "quick_gelu"
    layer_norm_eps: float = Field(1e-5, ge=1e-5, le=1e-5)


class ResNetTower(Part):
    """A modified ResNet: blocks of its four stages, channels of its stem."""

    layers: tuple[Count, Count, Count, Count] = Field(strict=False)
    width: int = Field(64, ge=2, le=4096, multiple_of=2)
    num_attention_heads: int = Field(32, ge=1)
    image_size: int = Field(224, ge=LAST_STAGE, le=MAX_SIDE)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.image_size % LAST_STAGE:
            told = f"image_size {self.image_size} is no multiple of {LAST_STAGE}"
            raise ValueError(f"{told}, as a ResNet's five strides need")
        if LAST_STAGE * self.width % self.num_attention_heads:
            told = f"num_attention_heads {self.num_attention_heads} does not divide the width of"
            raise ValueError(f"{told} the last stage, {LAST_STAGE * self.width}")
        return self


def _which(said: object) -> str:
    """Which picture tower is described: a ResNet has blocks by stage."""
    resnet = "layers" in said if isinstance(said, Mapping) else isinstance(said, ResNetTower)
    return "resnet" if resnet else "vit"


class OpenAiClip(Projected):
    """Our own towers, weights in OpenAI's layout."""

    model_type: ClassVar = "openai_clip"
    named: ClassVar = "CLIP in OpenAI's and open_clip's layout, ResNets too"
    example: ClassVar = "a folder with an RN50 of OpenAI or open_clip"
    model: ClassVar = "Clip"
    configured_by: ClassVar = "CLIPConfig"
    older: ClassVar = True
    renamed: ClassVar = (
        (r"^(?=(token_embedding|positional_embedding|transformer|ln_final|text_projection)\b)",
         "text."),
    )  # fmt: skip

    text_config: TextTower = TextTower()
    vision_config: Annotated[
        Annotated[VitTower, Tag("vit")] | Annotated[ResNetTower, Tag("resnet")],
        Discriminator(_which),
    ] = VitTower()
    #: width of two layers after each tower, as in ConVIRT
    head: bool = False

    def configuration(self) -> PretrainedConfig:
        """For transformers only that it is a CLIP, whose tokenizer it has."""
        import transformers

        return transformers.CLIPConfig()

    def built(self) -> Clip:
        """The towers with random weights."""
        from audit.models.towers.dual import Clip
        from audit.models.towers.grams import RAISED, Raise

        heads, dim = (self.projection_dim if self.head else None), self.projection_dim
        raised = self.text_config.tower == "grams"
        dim -= RAISED if raised else 0
        model = Clip(self._visual(dim), self._text(dim), heads, "logit_bias" in self.numbers)
        if raised:
            model.visual_head = Raise()
        return model

    def refuse(self, ref: str) -> None:
        """A language model of captions can't be asked for the embedding of a text."""
        if self.text_config.tower == "captioner":
            told = f"{ref}: a language model of captions, which has no embedding of a text"
            raise InputError(told, "Audit a model that was trained with another objective")

    def _visual(self, dim: int) -> torch.nn.Module:
        from audit.models.towers import resnet, transformer

        said = self.vision_config
        if isinstance(said, ResNetTower):
            heads = said.num_attention_heads
            return resnet.ModifiedResNet(said.image_size, said.layers, said.width, heads, dim)
        body = transformer.Transformer(said.sizes)
        size = said.image_size, said.patch_size, said.hidden_size
        return transformer.VisionTransformer(*size, dim, body)

    def _text(self, dim: int) -> torch.nn.Module:
        from audit.models.towers import captioner, grams, transformer

        said = self.text_config
        if said.tower == "words":
            return transformer.BagOfWords(said.vocab_size, said.hidden_size, dim)
        if said.tower == "grams":
            return grams.Grams(said.vocab_size, said.longest, said.units, dim)
        body = transformer.Transformer(said.sizes, causal=True)
        size = said.vocab_size, said.max_position_embeddings, said.hidden_size
        captions = said.tower == "captioner"
        kind = captioner.Captioner if captions else transformer.TextTransformer
        return kind(*size, dim, body)


class OpenAiSigmoid(OpenAiClip):
    """The same, trained with SigLIP's loss: scores have a bias, and each label its own."""

    model_type: ClassVar = "openai_clip_sigmoid"
    named: ClassVar = "the same, trained with SigLIP's sigmoid loss"
    example: ClassVar = "a folder that 'clip-audit train' wrote"
    scores: ClassVar = "sigmoid"
    numbers: ClassVar = ("logit_scale", "logit_bias")

    @classmethod
    def scoring(cls, numbers: Mapping[str, float]) -> Scoring:
        """A sigmoid of each similarity, scaled and shifted."""
        return Scoring(super().scoring(numbers).scale, numbers["logit_bias"], "sigmoid")


def described_by(shapes: Mapping[str, tuple[int, ...]]) -> Row:
    """What config.json has to say of weights in this layout; the activation is OpenAI's own.

    ``shapes`` are those of the weights by name. Heads are 64 wide, as in every published model.
    """
    side = math.isqrt(shapes.get("visual.positional_embedding", (1,))[0] - 1)
    if "visual.proj" in shapes:
        width, _, patch, _ = shapes["visual.conv1.weight"]
        vision: Row = {"patch_size": patch, "image_size": patch * side}
        vision |= _of_width(width, _blocks(shapes, "visual.transformer.resblocks"))
    else:
        width = shapes["visual.layer1.0.conv1.weight"][0]
        side = math.isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1)
        layers = [_blocks(shapes, f"visual.layer{stage}") for stage in (1, 2, 3, 4)]
        vision = {"layers": layers, "width": width, "image_size": LAST_STAGE * side}
        vision["num_attention_heads"] = max(1, LAST_STAGE * width // 64)
    vocabulary, read = shapes["token_embedding.weight"]
    text = _of_width(read, _blocks(shapes, "transformer.resblocks"))
    text |= {"vocab_size": vocabulary, "max_position_embeddings": shapes["positional_embedding"][0]}
    return {
        "model_type": OpenAiClip.model_type,
        "projection_dim": shapes["text_projection"][1],
        "vision_config": vision,
        "text_config": text,
    }


def _blocks(shapes: Mapping[str, tuple[int, ...]], at: str) -> int:
    return len({name[len(at) + 1 :].split(".")[0] for name in shapes if name.startswith(f"{at}.")})


def _of_width(width: int, layers: int) -> Row:
    return {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64), "hidden_act": "quick_gelu",
    }  # fmt: skip

"""What config.json says of a model of two towers, as far as it changes a number.

A kind of model is a class here: its fields are those of config.json that something is computed
from, and its class variables say in what it differs from other kinds. The model is built from
these fields alone; whatever else a file says is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.rows import Fields
from audit.models.encoder import Preparation
from audit.models.preprocessing import MAX_SIDE, Pictures
from audit.stats.scoring import Kind, Scoring

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

Activation = Literal[
    "quick_gelu", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh",
    "relu", "relu6", "silu", "swish", "mish", "tanh", "sigmoid",
]  # fmt: skip
#: ``end``: read at the end-of-text token; ``start``: at the first token; ``last``: at the last
#: place of a text that is padded to the whole context
Reading = Literal["end", "start", "last"]
Prepare = Callable[[str], str]
LARGEST_VOCABULARY, LONGEST = 16_777_216, 65_536


class Sizes(NamedTuple):
    """Of a transformer; ``eps`` is that of its tower's layer norms."""

    layers: int
    width: int
    heads: int
    hidden: int
    activation: str
    eps: float


class Part(BaseModel):
    """A part of config.json; its defaults are those of the class of transformers."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class Tower(Part):
    """The sizes of one transformer."""

    hidden_size: int = Field(512, ge=1, le=65_536)
    intermediate_size: int = Field(2048, ge=1, le=1_048_576)
    num_hidden_layers: int = Field(12, ge=1, le=1000)
    num_attention_heads: int = Field(8, ge=1)
    hidden_act: Activation = "quick_gelu"
    layer_norm_eps: float = Field(1e-5, gt=0, le=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            told = f"num_attention_heads {self.num_attention_heads} does not divide hidden_size"
            raise ValueError(f"{told} {self.hidden_size}")
        return self

    @property
    def sizes(self) -> Sizes:
        """What our own transformer is built from."""
        return Sizes(
            self.num_hidden_layers, self.hidden_size, self.num_attention_heads,
            self.intermediate_size, self.hidden_act, self.layer_norm_eps,
        )  # fmt: skip


class BaseTower(Tower):
    """One as wide as BERT's and ViT's base."""

    hidden_size: int = Field(768, ge=1, le=65_536)
    intermediate_size: int = Field(3072, ge=1, le=1_048_576)
    num_attention_heads: int = Field(12, ge=1)


class PatchTower(BaseTower):
    """A picture tower that cuts a square picture into square patches."""

    num_channels: Literal[3] = 3
    image_size: int = Field(224, ge=1, le=MAX_SIDE)
    patch_size: int = Field(32, ge=1, le=MAX_SIDE)

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        if self.patch_size > self.image_size:
            told = f"patch_size {self.patch_size} is larger than image_size {self.image_size}"
            raise ValueError(told)
        return self


class BertTower(BaseTower):
    """A text tower as BERT, read at its first token, which sees all others."""

    hidden_act: Activation = "gelu"
    layer_norm_eps: float = Field(1e-12, gt=0, le=1)
    vocab_size: int = Field(30_522, ge=2, le=LARGEST_VOCABULARY)
    max_position_embeddings: int = Field(512, ge=4, le=LONGEST)
    type_vocab_size: int = Field(2, ge=1, le=1024)
    pad_token_id: int = Field(0, ge=0)
    position_embedding_type: Literal["absolute"] = Field("absolute", exclude=True)
    is_decoder: Literal[False] = False

    @model_validator(mode="after")
    def _padding_is_a_token(self) -> Self:
        if self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is not below {self.vocab_size}")
        return self

    @property
    def context(self) -> int:
        """How many tokens there are places for."""
        return self.max_position_embeddings


class RobertaTower(BertTower):
    """A text tower as RoBERTa: places are counted from ``pad_token_id`` on, padding apart."""

    pad_token_id: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _places_are_left(self) -> Self:
        if self.context < 3:
            told = f"max_position_embeddings {self.max_position_embeddings} leaves no places after"
            raise ValueError(f"{told} pad_token_id {self.pad_token_id}")
        return self

    @property
    def context(self) -> int:
        """How many tokens there are places for."""
        return self.max_position_embeddings - self.pad_token_id - 1


class Dual(Part):
    """A model of two towers and one space; a subclass is a kind, a file of its own.

    ``reading`` says at which token a text is read, ``spelling`` gives what has to be done to a
    text before the tokenizer, ``renamed`` turns names of weights in older files into today's.
    """

    model_type: ClassVar[str]
    #: what people call it, and a published one
    named: ClassVar[str]
    example: ClassVar[str]
    #: classes of transformers: of the model (where ``built`` makes no other), its configuration,
    #: and its pictures where no file says
    model: ClassVar[str]
    configured_by: ClassVar[str]
    pictures_by: ClassVar[str] = "CLIPImageProcessor"
    #: packages that only its tokenizer needs; their versions are in its fingerprint
    needs: ClassVar[tuple[str, ...]] = ()
    reading: ClassVar[Reading] = "end"
    #: how many tokens it was trained to read, where that is fewer than there are places for
    trained_context: ClassVar[int | None] = None
    scores: ClassVar[Kind] = "softmax"
    #: weights of a single number, on which scores depend
    numbers: ClassVar[tuple[str, ...]] = ("logit_scale",)
    renamed: ClassVar[tuple[tuple[str, str], ...]] = ()
    #: whether ``text_config_dict`` of an old file stands for all of ``text_config``; for the other
    #: kinds transformers does not look at it
    older: ClassVar[bool] = False

    text_config: Any
    vision_config: Any

    @property
    def dim(self) -> int:
        """Width of the shared space."""
        raise NotImplementedError

    @property
    def context(self) -> int:
        """How many tokens the text tower takes."""
        places: int = getattr(self.text_config, "context", self.text_config.max_position_embeddings)
        return min(places, self.trained_context or places)

    @property
    def image_size(self) -> int | None:
        """Side of the square pictures that it takes, in pixels; None if it takes any."""
        side: int = self.vision_config.image_size
        return side

    @property
    def end(self) -> int | None:
        """The token at which texts are read where that is their end; None: the largest."""
        return None

    @property
    def padding(self) -> int | None:
        """The token that padding has to be, where places are counted by it."""
        text = self.text_config
        return text.pad_token_id if isinstance(text, RobertaTower) else None

    def configuration(self) -> PretrainedConfig:
        """What transformers builds the model from: the fields that were checked, no others."""
        import transformers

        fields = self.model_dump()
        # nothing is computed from these, and their defaults may not be in the vocabulary
        unused = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
        fields["text_config"] = unused | fields["text_config"]
        return getattr(transformers, self.configured_by)(**fields)

    def refuse(self, ref: str) -> None:
        """Refuse a model that can't be asked, whatever its weights.

        Raises:
            InputError: it is one.
        """

    def built(self) -> torch.nn.Module:
        """The model that config.json describes, with random weights."""
        import transformers

        model: torch.nn.Module = getattr(transformers, self.model)(self.configuration())
        return model

    def pictures_of(self, raw: Fields, where: str) -> Preparation:
        """How pictures are prepared, from the fields of the file that ``where`` names.

        Raises:
            InputError: a field that can't be used, pictures of a size that the model doesn't take.
        """
        pictures = Pictures.of(raw, where, self.pictures_by)
        if self.image_size is not None:
            pictures.match(self.image_size, where)
        return pictures

    def spelling(self, tokenizer: PreTrainedTokenizerBase, said: Fields) -> Prepare | None:
        """What is done to a text before it is given to this tokenizer; None: nothing.

        ``said`` is tokenizer_config.json.
        """
        return None

    @classmethod
    def scoring(cls, numbers: Mapping[str, float]) -> Scoring:
        """How similarities become scores, from the weights that ``numbers`` names."""
        return Scoring(exponentiated(numbers["logit_scale"]))


class Projected(Dual):
    """A model whose towers are projected into a space of a stated width."""

    projection_dim: int = Field(512, ge=1, le=65_536)

    @property
    def dim(self) -> int:
        """Width of the shared space."""
        return self.projection_dim


def exponentiated(value: float) -> float:
    """The exponential of a stored logit scale; infinite where that overflows."""
    with np.errstate(over="ignore"):
        return float(np.exp(np.float64(value)))

"""What a training is told: whom to learn from, how large a model, which objective, how long."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.registry import unknown
from audit.core.resources import bundled, bundled_names
from audit.data.yamlfile import load_yaml, validate
from audit.models.kinds.openai_clip import LAST_STAGE, OwnActivation
from audit.training.feeds.sources import FolderFeed, ManifestFeed, PeopleFeed, ShardsFeed

ObjectiveName = Literal[
    "contrastive", "bag_of_words_contrastive", "sigmoid", "convirt", "bag_of_words", "ngrams",
    "captioning",
]  # fmt: skip
#: what belongs to the machine and not to the model that comes out
OF_THE_MACHINE = frozenset({"workers", "zero_shot", "compile"})


class Part(BaseModel):
    """A part of a training's configuration; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tower(Part):
    """Size of one transformer: width, layers, attention heads."""

    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"heads {self.heads} does not divide width {self.width}; take a width of heads x 64"
            )
        return self


class ResNet(Part):
    """Size of a modified ResNet: channels of its stem, blocks of its four stages.

    RN50 is ``{resnet: [3, 4, 6, 3], width: 64}``. ``heads``: of its attention; 64 wide each if not
    given.
    """

    resnet: tuple[int, int, int, int]
    width: int = Field(64, ge=2, multiple_of=2)
    heads: int | None = Field(None, gt=0)


class Architecture(Part):
    """Size of a CLIP: a picture of ``image_size``, captions up to ``context`` tokens.

    ``patch_size`` is that of a Vision Transformer.
    """

    image_size: int = Field(gt=0)
    patch_size: int | None = Field(None, gt=0)
    image: Tower | ResNet
    text: Tower
    shared_width: int = Field(gt=0)
    context: int = Field(ge=4)
    activation: OwnActivation = "gelu"

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if isinstance(self.image, ResNet):
            if self.image_size % LAST_STAGE or self.patch_size is not None:
                told = f"a ResNet takes an image_size that {LAST_STAGE} divides, and no patch_size"
                raise ValueError(f"{told}; got {self.image_size} and {self.patch_size}")
        elif self.patch_size is None or self.image_size % self.patch_size:
            told = f"patch_size {self.patch_size} does not divide image_size {self.image_size}"
            raise ValueError(f"{told}; patches would not cover the picture")
        return self


class Augmentation(Part):
    """How a picture is varied: chance of a flip, largest shift, zoom and brightness change."""

    flip: float = Field(0.5, ge=0, le=1)
    shift: float = Field(0.08, ge=0, lt=0.5)
    zoom: float = Field(0.08, ge=0, lt=0.5)
    brightness: float = Field(0.1, ge=0, lt=1)


class ZeroShot(Part):
    """A question put to the model now and then: which group of an attribute is this picture?"""

    dataset: str
    attribute: str
    templates: tuple[str, ...] = Field(("a photo of {}.",), min_length=1)
    every: int = Field(100, ge=1)
    pictures: int = Field(512, ge=1)


class TrainConfig(Part):
    """One training run, as its YAML file says it."""

    name: str = Field(min_length=1)
    feed: Annotated[
        ManifestFeed | FolderFeed | ShardsFeed | PeopleFeed, Field(discriminator="kind")
    ]
    seed: int = Field(0, ge=0)
    architecture: Architecture | None = None
    start: str | None = None
    tokenizer: str | None = None
    vocabulary: int = Field(1200, ge=520)
    objective: ObjectiveName = "contrastive"
    locked: Literal["image", "text"] | None = None
    pictures_seen: int = Field(gt=0)
    batch: int = Field(256)
    pieces: int = Field(1, ge=1)
    captions: int = Field(1, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.1, ge=0)
    average: float = Field(0.998, ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    augmentation: Augmentation = Augmentation()
    patch_dropout: float = Field(0.0, ge=0, lt=1)
    recompute: bool = False
    compile: bool = False
    workers: int | None = Field(None, ge=0)
    zero_shot: ZeroShot | None = None

    @property
    def steps(self) -> int:
        """How many batches are seen."""
        return max(1, self.pictures_seen // self.batch)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.batch < 2:
            told = f"batch {self.batch}: a picture is told from the others of its batch, so that"
            raise ValueError(f"{told} one alone teaches nothing; take 2 or more, better 64 or more")
        if self.batch % self.pieces:
            raise ValueError(f"pieces {self.pieces} does not divide batch {self.batch}")
        if (self.architecture is None) == (self.start is None):
            raise ValueError("give either 'architecture', to begin anew, or 'start', a CLIP")
        if self.start is not None and self.tokenizer is not None:
            raise ValueError("a model to go on from ('start') has its own tokenizer")
        if self.start is not None and self.objective not in ("contrastive", "sigmoid"):
            raise ValueError(f"objective {self.objective} begins anew: give 'architecture'")
        resnet = self.architecture is not None and isinstance(self.architecture.image, ResNet)
        if resnet and self.patch_dropout:
            raise ValueError("patch_dropout: a ResNet has no patches")
        return self


def load_config(name_or_path: str | Path) -> TrainConfig:
    """Read a training configuration: a file, or the name of one that comes with the tool.

    Paths in it are relative to the folder that it lies in.

    Raises:
        InputError: neither; keys or values that can't be used.
    """
    path = Path(name_or_path)
    if not path.is_file():
        if str(name_or_path) not in config_names():
            raise unknown("training configuration", str(name_or_path), config_names())
        path = bundled("training") / f"{name_or_path}.yaml"
    config = validate(TrainConfig, load_yaml(path), path.name)
    return config.model_copy(update={"feed": config.feed.below(path.parent)})


def config_names() -> list[str]:
    """The configurations that come with the tool."""
    return [n for n in bundled_names("training", ".yaml") if n.startswith("specimen-")]


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    warm = max(1, round(config.warmup * config.steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, config.steps - warm)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2

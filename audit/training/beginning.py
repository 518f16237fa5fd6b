"""How a training begins: a model, its tokenizer and how its pictures are prepared.

What prepares pictures and texts is written to the model's folder before the first step and read
from there, as an audit will read it.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from transformers import CLIPTokenizer

from audit.core.errors import InputError
from audit.core.files import write_json
from audit.core.rows import Row
from audit.models import hub
from audit.models.checkpoint import SIDE_FILES, Checkpoint
from audit.models.config import read_config
from audit.models.huggingface import own_towers
from audit.models.kinds.base import Dual
from audit.models.kinds.clip import ClipConfig
from audit.models.kinds.openai_clip import OpenAiClip, OpenAiSigmoid
from audit.models.preprocessing import Pictures
from audit.models.towers import layouts
from audit.models.towers.dual import Clip
from audit.models.towers.grams import Grams
from audit.models.towers.transformer import TextTransformer, VisionTransformer
from audit.models.words import Words
from audit.training.architectures import (
    TOWERS,
    built,
    configuration,
    image_processor,
    train_tokenizer,
)
from audit.training.config import TrainConfig
from audit.training.feeds.batches import seed_of
from audit.training.feeds.sources import Pairs
from audit.training.objectives.contrastive import TEMPERATURE
from audit.training.objectives.prediction import dictionary, longest_of

CONFIG: Final = "config.json"
#: fields of a CLIP's config.json that our towers have, too
_OURS: Final = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class Begun:
    """A model before its first step, in the folder that it will be saved to."""

    folder: Path
    model: Clip
    config: OpenAiClip
    prepare: Pictures
    words: Words


@dataclass(frozen=True)
class _Described:
    folder: Path
    ref: str
    config: Dual


def begin(config: TrainConfig, pairs: Pairs, out: Path) -> Begun:
    """The model that a configuration asks for, and in ``out`` what prepares its input.

    Raises:
        InputError: no such model to go on from, or one that is no CLIP of our towers.
    """
    out.mkdir(parents=True, exist_ok=True)
    said, model = _gone_on(config, out) if config.start else _anew(config, pairs, out)
    write_json(out / CONFIG, described(said))
    if config.objective == "convirt":  # its temperature is not learnt
        model.logit_scale.data.fill_(math.log(1 / TEMPERATURE))
        model.logit_scale.requires_grad_(False)
    if config.objective == "sigmoid" and not isinstance(said, OpenAiSigmoid):
        raise AssertionError("a sigmoid has a bias")
    if config.locked is not None:
        (model.visual if config.locked == "image" else model.text).requires_grad_(False)
    if isinstance(model.visual, VisionTransformer):
        model.visual.patch_dropout = config.patch_dropout
    for tower in (model.visual, model.text):
        if isinstance(tower, VisionTransformer | TextTransformer):
            tower.transformer.recompute = config.recompute
    words = Words.read(_Described(out, str(out), read_config(out, str(out))))
    return Begun(out, model, said, Pictures.read(out, str(out)), words)


def described(said: OpenAiClip) -> Row:
    """The config.json of a model of our towers."""
    return {"model_type": said.model_type} | said.model_dump(mode="json")


def _anew(config: TrainConfig, pairs: Pairs, out: Path) -> tuple[OpenAiClip, Clip]:
    size = config.architecture
    assert size is not None
    image_processor(size).save_pretrained(out)
    if config.tokenizer is None:
        tokenizer = train_tokenizer(pairs.texts(), config.vocabulary, size.context)
    else:
        folder, _ = hub.find(config.tokenizer)
        tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=size.context)
    tokenizer.save_pretrained(out)
    vocabulary, seed = len(tokenizer), seed_of(config.seed, 0)
    if TOWERS.get(config.objective) != "grams":
        said = configuration(size, vocabulary, config.objective)
        return said, built(said, seed)
    longest = longest_of(config.objective, vocabulary)
    keys = dictionary(tokenizer(list(pairs.texts()))["input_ids"], vocabulary, longest)
    said = configuration(size, vocabulary, config.objective, (longest, len(keys)))
    model = built(said, seed)
    assert isinstance(model.text, Grams)
    model.text.keys.copy_(keys)
    return said, model


def _gone_on(config: TrainConfig, out: Path) -> tuple[OpenAiClip, Clip]:
    """A CLIP of any layout in our towers, and its files beside it."""
    ref = config.start
    assert ref is not None
    folder, _ = hub.find(ref)
    checkpoint = Checkpoint.read(folder, ref)
    said = checkpoint.config
    if isinstance(said, OpenAiClip):
        model, ours = own_towers(checkpoint), said
    elif type(said) is ClipConfig:
        ours = as_own(said, ref)
        model = ours.built()
        model.load_state_dict(layouts.from_transformers(own_towers(checkpoint).state_dict()))
    else:
        told = f"{ref}: a {said.named} can be audited, and not trained on from here"
        raise InputError(told, "Give a CLIP (model_type clip or openai_clip) as 'start'")
    if config.objective == "sigmoid" and model.logit_bias is None:
        fields = {name: getattr(ours, name) for name in OpenAiClip.model_fields}
        ours = OpenAiSigmoid(**fields)
        model.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))
    if config.objective == "contrastive" and model.logit_bias is not None:
        told = f"{ref}: was trained with a sigmoid loss"
        raise InputError(told, "Say 'objective: sigmoid' to go on with it")
    for name in SIDE_FILES - {CONFIG}:
        if (folder / name).is_file() and folder.resolve() != out.resolve():
            shutil.copyfile(folder / name, out / name)
    return ours, model


def as_own(said: ClipConfig, ref: str) -> OpenAiClip:
    """A CLIP of transformers, described for our towers.

    Raises:
        InputError: it computes with another activation or epsilon than ours.
    """
    for tower in (said.text_config, said.vision_config):
        if tower.hidden_act not in _OURS or tower.layer_norm_eps != 1e-5:
            told = f"{ref}: its towers have {tower.hidden_act} and {tower.layer_norm_eps:g}"
            allowed = f"Those that are trained here have {' or '.join(_OURS)}, and 1e-5"
            raise InputError(told, allowed)
    return OpenAiClip.model_validate(said.model_dump())

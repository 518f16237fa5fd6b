"""Small CLIPs to train from scratch: their sizes, their tokenizer, their preprocessing.

Everything made here is an ordinary transformers object, so that a trained model is loaded by the
same path as any other checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
MAX_LOGIT_SCALE = 100.0
# transformers pools the text at the largest token id, whatever it is, when the end token's id is 2
FORBIDDEN_END_ID = 2


class Tower(BaseModel):
    """Size of one transformer: width, layers, attention heads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)


class Architecture(BaseModel):
    """Size of a CLIP: a picture of ``image_size`` in patches, captions up to ``context`` tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(gt=0)
    patch_size: int = Field(gt=0)
    image: Tower
    text: Tower
    shared_width: int = Field(gt=0)
    context: int = Field(ge=4)
    activation: str = "gelu"


def build_clip(size: Architecture, tokenizer: CLIPTokenizer, seed: int) -> CLIPModel:
    """A CLIP with random weights drawn from ``seed``; its logit scale starts at 1/0.07."""
    if tokenizer.eos_token_id == FORBIDDEN_END_ID:
        raise ValueError("the end token must not have id 2: transformers would pool elsewhere")
    shared = {"hidden_act": size.activation, "projection_dim": size.shared_width}
    text = {
        **shared,
        **_tower(size.text),
        "vocab_size": len(tokenizer),
        "max_position_embeddings": size.context,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    image = {
        **shared,
        **_tower(size.image),
        "image_size": size.image_size,
        "patch_size": size.patch_size,
    }
    config = CLIPConfig(text_config=text, vision_config=image, projection_dim=size.shared_width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # at these lengths plain attention trains faster on a CPU than the fused kernel
        model = CLIPModel._from_config(config, attn_implementation="eager")
    _place_patches(model)
    return model


@torch.no_grad()
def _place_patches(model: CLIPModel) -> None:
    """Start the image tower's position embeddings from sines and cosines of row and column.

    The usual start (spread 0.02) is drowned by the patches themselves (about 0.5): a tower then
    sees colours at once and shapes only after hundreds of thousands of pictures.
    """
    weight = model.vision_model.embeddings.position_embedding.weight  # (1 + patches, width)
    side, quarter = math.isqrt(len(weight) - 1), weight.shape[1] // 4
    frequency = torch.exp(-math.log(100.0) * torch.arange(quarter) / quarter)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = [
        wave(place.flatten()[:, None] * frequency)
        for place in (row, column)
        for wave in (torch.sin, torch.cos)
    ]
    weight[1:, : 4 * quarter] = torch.cat(waves, dim=1)


def _tower(tower: Tower) -> dict[str, int]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": 4 * tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
    }


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> CLIPTokenizer:
    """A lower-casing byte-pair tokenizer learnt from texts; its alphabet covers every byte.

    The start and end tokens get the two largest ids, as in OpenAI's tokenizer.
    """
    blank = CLIPTokenizer().backend_tokenizer  # CLIP's own normalizer and word splitting
    learner = Tokenizer(blank.model.__class__(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(alphabet) - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix=WORD_END,
        show_progress=False,
        special_tokens=[],
    )
    learner.train_from_iterator(texts, trainer)
    return _as_clip_tokenizer(learner, alphabet, context)


def _as_clip_tokenizer(learner: Tokenizer, alphabet: list[str], context: int) -> CLIPTokenizer:
    import json

    model = json.loads(learner.to_str())["model"]
    # every byte, alone and at the end of a word, then what was merged, then the two special tokens
    tokens = [*alphabet, *(letter + WORD_END for letter in alphabet)]
    learnt = sorted(model["vocab"], key=model["vocab"].__getitem__)
    tokens += [token for token in learnt if token not in set(tokens)]
    vocabulary = {token: place for place, token in enumerate([*tokens, START, END])}
    merges = [tuple(merge) for merge in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=context)


def image_processor(size: Architecture) -> CLIPImageProcessorPil:
    """Shortest edge to the image size (bicubic, by Pillow), centre crop, CLIP's mean and spread."""
    side = size.image_size
    return CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )

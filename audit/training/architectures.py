"""Small CLIPs to train from scratch: their towers, their tokenizer, their preprocessing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Final

import torch
from tokenizers import Tokenizer, pre_tokenizers, trainers
from transformers import CLIPImageProcessorPil, CLIPTokenizer

from audit.core.rows import Row
from audit.data.yamlfile import validate
from audit.models.kinds.openai_clip import OpenAiClip, OpenAiSigmoid
from audit.models.towers.dual import Clip
from audit.models.towers.grams import RAISED
from audit.models.towers.transformer import VisionTransformer
from audit.training.config import Architecture, ResNet, Tower

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
HEAD_WIDTH = 64
# transformers pools the text at the largest token id, whatever it is, when the end token's id is 2
FORBIDDEN_END_ID = 2


#: the text tower of an objective that has another than a transformer
TOWERS: Final = {
    "bag_of_words_contrastive": "words", "bag_of_words": "grams", "ngrams": "grams",
    "captioning": "captioner",
}  # fmt: skip


def configuration(
    size: Architecture, vocabulary: int, objective: str, grams: tuple[int, int] = (1, 1)
) -> OpenAiClip:
    """What config.json says of a model of this size that learns with this objective.

    ``grams`` are the longest n-gram and how many n-grams there are, where these are predicted.
    """
    image: Row = {"image_size": size.image_size}
    if isinstance(size.image, ResNet):
        heads = size.image.heads or max(1, 32 * size.image.width // HEAD_WIDTH)
        image |= {"layers": size.image.resnet, "width": size.image.width}
        image |= {"num_attention_heads": heads}
    else:
        image |= _tower(size.image, size.activation) | {"patch_size": size.patch_size}
    text: Row = _tower(size.text, size.activation)
    text |= {"vocab_size": vocabulary, "max_position_embeddings": size.context}
    tower, width = TOWERS.get(objective, "transformer"), size.shared_width
    text |= {"tower": tower, "longest": grams[0], "units": grams[1]}
    kind = OpenAiSigmoid if objective == "sigmoid" else OpenAiClip
    said = {
        "projection_dim": width + (RAISED if tower == "grams" else 0),
        "vision_config": image, "text_config": text, "head": objective == "convirt",
    }  # fmt: skip
    return validate(kind, said, "architecture")


def build_clip(size: Architecture, tokenizer: CLIPTokenizer, seed: int) -> Clip:
    """A CLIP with random weights drawn from ``seed``; its logit scale starts at 1/0.07."""
    if tokenizer.eos_token_id == FORBIDDEN_END_ID:
        raise ValueError("the end token must not have id 2: transformers would pool elsewhere")
    return built(configuration(size, len(tokenizer), "contrastive"), seed)


def built(config: OpenAiClip, seed: int) -> Clip:
    """The model that a configuration describes, with random weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = config.built()
    if isinstance(model.visual, VisionTransformer):
        _place_patches(model.visual)
    return model


@torch.no_grad()
def _place_patches(tower: VisionTransformer) -> None:
    """Start the position embeddings of patches from sines and cosines of row and column.

    The usual start (spread 0.02) is drowned by the patches themselves (about 0.5): a tower then
    sees colours at once and shapes only after hundreds of thousands of pictures.
    """
    weight = tower.positional_embedding  # (1 + patches, width)
    side, quarter = math.isqrt(len(weight) - 1), weight.shape[1] // 4
    frequency = torch.exp(-math.log(100.0) * torch.arange(quarter) / quarter)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = [
        wave(place.flatten()[:, None] * frequency)
        for place in (row, column)
        for wave in (torch.sin, torch.cos)
    ]
    weight[1:, : 4 * quarter] = torch.cat(waves, dim=1)


def _tower(tower: Tower, activation: str) -> Row:
    return {
        "hidden_size": tower.width, "intermediate_size": 4 * tower.width,
        "num_hidden_layers": tower.layers, "num_attention_heads": tower.heads,
        "hidden_act": activation,
    }  # fmt: skip


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

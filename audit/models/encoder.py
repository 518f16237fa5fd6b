"""Who is asked: the seam between this tool and any model that embeds pictures and texts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from audit.errors import InputError, sentence

Rows = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class EncoderCard:
    """What a reader must know of a model to believe, or repeat, a number it produced.

    ``logit_scale`` is already exponentiated (100 in OpenAI's checkpoints). ``fingerprint`` is the
    hex digest of everything that changes an embedding: weights, configuration, tokenizer,
    preprocessing, precision and the versions of the libraries that compute it.
    """

    ref: str
    family: str
    dim: int
    image_size: int
    context_length: int
    preprocessing: str
    logit_scale: float
    precision: str
    device: str
    fingerprint: str


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns pictures and texts into rows of unit length in one space."""

    @property
    def card(self) -> EncoderCard:
        """The model, described."""

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """Embed RGB pictures: float32, shape (n, dim), rows of unit length, in order.

        Never called without pictures.
        """

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """Embed texts: float32, shape (n, dim), rows of unit length, in order."""


@runtime_checkable
class StagedEncoder(Encoder, Protocol):
    """An encoder whose preprocessing can run in other threads while the model is busy."""

    @property
    def batch_size(self) -> int:
        """How many pictures the model would take at once now; it may change between calls."""

    def preprocess(self, image: Image) -> Pixels:
        """One picture as the model wants to see it, before numbers are normalised."""

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Rows:
        """Embed preprocessed pictures; same result as ``encode_images`` on the pictures.

        Never called without pictures.
        """


def unit_rows(array: NDArray[np.floating]) -> Rows:
    """Scale each row of an (n, dim) array to unit length, as float32.

    Raises:
        InputError: a row is zero or not finite, so that it has no direction.
    """
    rows = np.asarray(array, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        bad = int(np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))[0])
        raise InputError(
            sentence(
                f"the model gave no usable embedding for item {bad} of {len(rows)}: "
                f"its length is {lengths[bad, 0]}",
                "Try precision float32; if it stays so, the checkpoint is broken.",
            )
        )
    scaled: Rows = (rows / lengths).astype(np.float32)
    return scaled


def digest_of(parts: Mapping[str, object]) -> str:
    """Hex SHA-256 of named parts, whatever the order they were given in."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def default_cache() -> Path:
    """Where dear things are kept: ``$CLIP_AUDIT_CACHE``, or ``cache`` in the current folder."""
    return Path(os.environ.get("CLIP_AUDIT_CACHE") or "cache")


@dataclass(frozen=True)
class Texts:
    """The text side of the model that is asked.

    ``encode`` gives one float32 row of unit length a string; ``logit_scale`` multiplies a cosine
    similarity into a logit; ``context_length`` is how many tokens a prompt may have.
    """

    encode: Callable[[Sequence[str]], NDArray[np.float32]]
    logit_scale: float

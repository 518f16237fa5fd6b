"""A model of one's own: two functions of a notebook, made into what an audit asks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from audit.core.errors import InputError
from audit.models.encoder import EncoderCard, Rows, digest_of, require_logit_scale, unit_rows

Pictures = Callable[[Sequence[Image]], object]
Texts = Callable[[Sequence[str]], object]


@dataclass(frozen=True)
class OwnModel:
    """Two functions as a model; make one with ``as_model``."""

    card: EncoderCard
    pictures: Pictures
    texts: Texts

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """Embed RGB pictures, (n, dim), unit rows; ``image.info["image_id"]`` is a picture's id."""
        return _rows(self.pictures(images), len(images), self.card.ref, "pictures")

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """Embed texts, (n, dim), unit rows."""
        return _rows(self.texts(texts), len(texts), self.card.ref, "texts")


def as_model(
    ref: str,
    pictures: Pictures,
    texts: Texts,
    logit_scale: float,
    *,
    sigmoid_bias: float | None = None,
    version: str = "",
) -> OwnModel:
    """A model from two functions.

    Args:
        ref: what a report calls it.
        pictures: RGB pictures to vectors, an array (n, d) or a tensor; of any length, for they are
            scaled to unit length.
        texts: texts to vectors of the same width.
        logit_scale: what a cosine is multiplied with, exponentiated: 100 in OpenAI's CLIP.
        sigmoid_bias: what is added then, where scores are sigmoids, as SigLIP is trained; None: a
            softmax over the labels.
        version: whatever changes when an embedding does. Embeddings are kept under it; without one
            they are kept for this session only.

    Raises:
        InputError: a logit scale that makes no scores, texts that are not embedded.
    """
    require_logit_scale(logit_scale, ref)
    probe = _rows(texts(["a"]), 1, ref, "texts")
    fingerprint = digest_of({"own": ref, "version": version or uuid.uuid4().hex})
    unstated = "Its version is not stated: nothing tells this model from another"
    caveats = () if version else (unstated,)
    card = EncoderCard(
        ref=ref, family="python", dim=probe.shape[1], image_size=0, context_length=0,
        preprocessing="its own", logit_scale=logit_scale, precision="its own", device="its own",
        fingerprint=fingerprint, caveats=caveats, logit_bias=sigmoid_bias or 0.0,
        scores="softmax" if sigmoid_bias is None else "sigmoid",
    )  # fmt: skip
    return OwnModel(card, pictures, texts)


def _rows(found: object, count: int, ref: str, what: str) -> Rows:
    """Vectors as unit rows.

    Raises:
        InputError: they are no (n, d) array of finite numbers, or one has no direction.
    """
    held = found.detach().cpu() if hasattr(found, "detach") else found  # a tensor on any device
    try:
        array = np.asarray(held, dtype=np.float64)
    except (TypeError, ValueError) as error:
        told = f"{ref}: what it gives for {what} is no array of numbers ({str(error)[:80]})"
        raise InputError(told, "Return an array of n rows") from error
    if array.ndim != 2 or len(array) != count:
        told = f"{ref}: gives an array of the shape {array.shape} for {count} {what}"
        raise InputError(told, f"Return one row each: ({count}, d)")
    return unit_rows(array)

"""A model whose every answer is known: the public stand-in for tests and worked examples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL.Image import Image

from audit.core.errors import InputError
from audit.core.registry import suggest
from audit.models.encoder import EncoderCard, Rows, digest_of, unit_rows


def picture_key(image: Image) -> Hashable:
    """Hex digest of a picture's size and RGB pixels; survives any lossless file format."""
    return hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).hexdigest()


class PlantedEncoder:
    """Looks embeddings up instead of computing them, so that a test chooses every similarity.

    Both tables give a direction, scaled to unit length: of a picture by ``key(picture)``, of a
    text by the text itself. What was asked is counted in ``images_seen`` and ``texts_seen``.
    """

    def __init__(
        self,
        images: Mapping[Hashable, ArrayLike],
        texts: Mapping[str, ArrayLike],
        *,
        key: Callable[[Image], Hashable] = picture_key,
        logit_scale: float = 100.0,
    ) -> None:
        """Tables of directions, all of one length; a key that ignores noise makes it robust."""
        self._images = dict(zip(images, unit_rows(np.array([*images.values()])), strict=True))
        self._texts = dict(zip(texts, unit_rows(np.array([*texts.values()])), strict=True))
        self._key = key
        self.images_seen = self.texts_seen = 0
        tables = [sorted([repr(k), v.tolist()] for k, v in table.items())
                  for table in (self._images, self._texts)]  # fmt: skip
        self._card = EncoderCard(
            "planted", "planted", dim=len(next(iter(self._texts.values()))), image_size=1,
            context_length=77, preprocessing="none", logit_scale=logit_scale,
            precision="float32", device="cpu", fingerprint=digest_of({"planted": tables}),
        )  # fmt: skip

    @property
    def card(self) -> EncoderCard:
        """The planted tables, described."""
        return self._card

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """The planted direction of each picture; KeyError for a picture that was not planted."""
        found = self._stack([self._images[self._key(image)] for image in images])
        self.images_seen += len(images)
        return found

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """The planted direction of each text; InputError for a text that was not planted."""
        for text in texts:
            if text not in self._texts:
                nearest = suggest(text, self._texts)
                raise InputError(f"nothing is planted for the text '{text}'", nearest)
        self.texts_seen += len(texts)
        return self._stack([self._texts[text] for text in texts])

    def _stack(self, rows: Sequence[Rows]) -> Rows:
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._card.dim)

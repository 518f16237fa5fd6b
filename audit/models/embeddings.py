"""Embeddings that exist already: the family ``embeddings``, which needs no pictures.

A model is named ``embeddings:PATH``: a YAML file that describes them, or the file or folder itself
where that says all. See docs/records.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field

from audit.core.arrays import Floats
from audit.core.errors import InputError
from audit.core.rows import Row
from audit.data.yamlfile import validate
from audit.models.encoder import (
    AT_ONCE,
    Encoder,
    EncoderCard,
    Family,
    Located,
    Rows,
    Stored,
    digest_of,
    require_logit_scale,
    unit_rows,
)
from audit.models.records import Description, Records, describe, missing_texts
from audit.models.vectors import Vectors, has_texts, read_images, read_texts, scalars

#: exponentiated logit scales outside of this are questioned; 4.6 is the logarithm of CLIP's 100
_USUAL: Final = (5.0, 200.0)
_NO_LENGTH: Final = "its embedding is not finite, or zero"
#: lengths of rows that are taken for one, which float16 spoils in the fourth digit
UNIT: Final = 1e-3


class Embeddings(Description):
    """Embeddings of pictures, and what texts are embedded by."""

    images: str = Field(description="file or folder of the pictures' embeddings")
    ids: str | None = Field(None, description="file that names the pictures, beside an .npy")
    id_column: str | None = Field(None, description="column that names the picture")
    vector_column: str | None = Field(None, description="column that holds the vector")
    texts: str | None = Field(None, description="file of texts with their embeddings")
    text_column: str | None = Field(None, description="column that holds the text")
    text_tower: str | None = Field(None, description="the model that embeds texts, instead")
    logit_scale: float | None = Field(None, description="exponentiated: 100 in OpenAI's CLIP")
    logit_bias: float | None = None
    scores: Literal["softmax", "sigmoid"] | None = Field(None, description="sigmoid for SigLIP")


class RecordedEmbeddings(Records):
    """Embeddings of pictures by id, with texts that are recorded too or embedded by a model."""

    def __init__(self, card: EncoderCard, images: Vectors, texts: Vectors | Encoder | None) -> None:
        """Rows of any length, nan where one is missing; they are scaled to unit length.

        ``texts`` is None where the model that embeds them is not loaded.
        """
        lengths = _lengths_of(images)
        good = np.isfinite(lengths) & (lengths > 0)
        at = None if good.all() else np.flatnonzero(good)
        lost = [images.names[int(i)] for i in np.flatnonzero(~good)]
        ids = images.names if at is None else [images.names[int(i)] for i in at]
        rows: Stored | Rows = Stored(images.rows, at)
        if not isinstance(images.rows, np.memmap):
            rows = np.asarray(rows)
        super().__init__(card, ids, rows, dict.fromkeys(lost, _NO_LENGTH))
        self._tower = None if isinstance(texts, Vectors) else texts
        self._texts = {}
        if isinstance(texts, Vectors):
            _require_texts(texts)
            self._texts = dict(zip(texts.names, unit_rows(texts.rows), strict=True))

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """Embeddings of texts, unit rows.

        Raises:
            InputError: one is not recorded, or the text tower refuses it.
        """
        if self._tower is not None:
            return self._tower.encode_texts(texts)
        if any(text not in self._texts for text in texts):
            advice = "Add their embeddings to the file of texts, or name a 'text_tower'"
            raise missing_texts(self.card.ref, texts, list(self._texts), advice)
        return np.array([self._texts[text] for text in texts], np.float32)

    def require(self, texts: Sequence[str], image_ids: Sequence[str]) -> None:
        """Refuse other pictures; texts are refused where they are read, one as well as a set.

        Raises:
            InputError: as ``missing``.
        """
        self.missing(image_ids)


def _lengths_of(vectors: Vectors) -> Floats:
    lengths = np.empty(len(vectors.rows))
    for block, rows in vectors.blocks():
        lengths[block] = np.linalg.norm(rows.astype(np.float64), axis=1)
    return lengths


def _require_texts(texts: Vectors) -> None:
    lengths = _lengths_of(texts)
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        told = f"{texts.place}: the embedding of '{texts.names[int(bad.argmax())]}' is not finite, "
        raise InputError(f"{told}or zero", f"Mend {int(bad.sum())} such rows")


def load(name: str, device: str, precision: str, cache: Path | None) -> RecordedEmbeddings:
    """Read embeddings and whatever embeds their texts.

    Raises:
        InputError: a file that can't be read, no texts, no logit scale, widths that differ.
    """
    said, ref, images, texts = _read(name)
    if isinstance(texts, Vectors):
        return RecordedEmbeddings(_card(said, ref, images, texts, precision), images, texts)
    from audit.models.families import load as load_model

    tower = load_model(texts, device, precision, cache)
    return RecordedEmbeddings(_card(said, ref, images, tower.card, precision), images, tower)


def locate(name: str) -> Located:
    """Where embeddings are; they are read, for that takes no time. A text tower is not loaded.

    Raises:
        InputError: as ``load``, as far as the files of the text tower tell.
    """
    said, ref, images, texts = _read(name)
    if isinstance(texts, Vectors):
        found = RecordedEmbeddings(_card(said, ref, images, texts), images, texts)
        return Located(name, tuple(found.card.caveats), found.encode_texts, found)
    from audit.models.families import locate as locate_model

    tower = locate_model(texts)
    known = tower.card or (tower.model and tower.model.card)
    card = _card(said, ref, images, known or _unknown(texts, images))
    caveats = tuple(card.caveats)
    if known is None:
        caveats += (f"Whether the text tower {texts} fits is known once it is loaded",)
    found = RecordedEmbeddings(card, images, None)
    return Located(name, caveats, tower.read, found, unread=tower.unread)


FAMILY = Family("embeddings that exist already: embeddings:PATH", locate, load)


def _unknown(ref: str, images: Vectors) -> EncoderCard:
    """A card that fits, in place of that of a text tower which is not loaded."""
    return EncoderCard(
        ref=ref, family="", dim=images.rows.shape[1], image_size=0, context_length=0,
        preprocessing="", logit_scale=_USUAL[1], precision="", device="", fingerprint="",
        scores="sigmoid",
    )  # fmt: skip


def _read(name: str) -> tuple[Embeddings, str, Vectors, Vectors | str]:
    """A description, what to call it, its pictures, and its texts or the model that embeds them.

    Raises:
        InputError: a file that can't be read, nothing that embeds texts.
    """
    said, folder, ref = describe(Embeddings, name, "images")
    place = folder / said.images
    if beside := scalars(place):
        keys = {"logit_scale", "logit_bias", "scores"}
        given = said.model_dump(exclude_none=True)
        said = validate(Embeddings, {k: beside[k] for k in keys & set(beside)} | given, str(place))
    images = read_images(
        place, folder / said.ids if said.ids else None, said.id_column, said.vector_column
    )
    return said, ref, images, _texts(said, folder)


def _texts(said: Embeddings, folder: Path) -> Vectors | str:
    """What embeds texts: a table of them, or the name of a model.

    Raises:
        InputError: neither is named, or both are.
    """
    own = folder / (said.texts or said.images)
    recorded = said.texts is not None or (said.text_tower is None and has_texts(own))
    if said.texts is not None and said.text_tower is not None:
        told = f"{own}: 'texts' and 'text_tower' are both given, and may disagree"
        raise InputError(told, "Keep one")
    if recorded:
        return read_texts(own, said.text_column, said.vector_column if said.texts else None)
    if said.text_tower is None:
        told = f"{folder / said.images}: nothing says how texts are embedded"
        advice = (
            "Write a YAML file with 'images' and either 'texts' (a table of texts with their "
            "embeddings) or 'text_tower' (the model that made these embeddings)"
        )
        raise InputError(told, advice)
    from audit.models.families import within

    beside = within(said.text_tower, lambda at: str(folder / at) if (folder / at).exists() else at)
    return str(beside)


def _card(
    said: Embeddings,
    ref: str,
    images: Vectors,
    texts: Vectors | EncoderCard,
    precision: str = "float32",
) -> EncoderCard:
    """The card of embeddings with these texts, or with the text tower of this card.

    Raises:
        InputError: no logit scale or bias where one is needed, widths that differ, a text tower
            that gives no embeddings.
    """
    tower = None if isinstance(texts, Vectors) else texts
    if tower is not None and tower.gives != "embeddings":
        told = f"{images.place}: the text tower '{tower.ref}' gives no embeddings"
        raise InputError(told, "Name the model that made these embeddings")
    width, of_texts = images.rows.shape[1], tower.dim if tower else texts.rows.shape[1]  # type: ignore[union-attr]
    if width != of_texts:
        told = f"{images.place}: pictures have {width} numbers and texts {of_texts}"
        raise InputError(told, "Both must come from one model")
    scale = tower.logit_scale if said.logit_scale is None and tower else said.logit_scale
    if scale is None:
        told = f"{images.place}: no logit scale, without which no similarity is a score"
        advice = "State 'logit_scale': 100 for OpenAI's CLIP, exp() of what a checkpoint stores"
        raise InputError(told, advice)
    scaled = _require_scale(scale, images.place)
    kind = said.scores or (tower.scores if tower else "softmax")
    bias = said.logit_bias
    if bias is None and tower and tower.scores == "sigmoid":
        bias = tower.logit_bias
    if bias is None and kind == "sigmoid":
        told = f"{images.place}: sigmoid scores need their bias, and none is stated"
        raise InputError(told, "State 'logit_bias', as the checkpoint stores it")
    if said.logit_bias and kind == "softmax":
        told = f"{images.place}: a softmax over labels has no use for 'logit_bias'"
        advice = "State 'scores: sigmoid' if that is what these are, or take the bias out"
        raise InputError(told, advice)
    bias = bias or 0.0
    own = tower.caveats if tower else ()
    remarks = (_lengths(images), scaled, _contradicted(scale, tower), *own)
    caveats = tuple(filter(None, remarks))
    content: Row = {"images": _digest(images), "scale": scale, "bias": bias}
    content |= {"scores": kind, "texts": tower.fingerprint if tower else _digest(texts)}  # type: ignore[arg-type]
    return EncoderCard(
        ref=ref, family="embeddings", dim=width, image_size=0,
        context_length=tower.context_length if tower else 0,
        preprocessing="not known: embeddings were handed over", logit_scale=scale,
        precision=precision, device=tower.device if tower else "none",
        fingerprint=digest_of(content), caveats=caveats, logit_bias=bias, scores=kind,
        recorded=True,
    )  # fmt: skip


def _digest(vectors: Vectors) -> str:
    content = hashlib.sha256()
    for start in range(0, len(vectors.names), AT_ONCE):
        some = "\0".join(vectors.names[start : start + AT_ONCE])
        content.update(("\0" + some if start else some).encode())
    for _, rows in vectors.blocks():
        content.update(np.ascontiguousarray(rows).data)
    return content.hexdigest()


def _lengths(images: Vectors) -> str:
    """The caveat of rows that were not of unit length."""
    lengths = _lengths_of(images)
    lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
    off = int((np.abs(lengths - 1) > UNIT).sum())
    if not off:
        return ""
    return (
        f"{off:,} of {len(lengths):,} embeddings were not of unit length (from "
        f"{lengths.min():.3g} to {lengths.max():.3g}): they were normalised"
    )


def _contradicted(scale: float, tower: EncoderCard | None) -> str:
    """The caveat of a stated logit scale that is not the text tower's."""
    if tower is None or not tower.family or np.isclose(scale, tower.logit_scale, rtol=1e-3):
        return ""
    return (
        f"The logit scale is stated as {scale:.4g}, and the text tower's own is "
        f"{tower.logit_scale:.4g}: scores and thresholds hold the stated one"
    )


def _require_scale(scale: float, place: str) -> str:
    """The caveat of a logit scale that no CLIP has.

    Raises:
        InputError: no score would be a number.
    """
    try:
        require_logit_scale(scale, place)
    except InputError as error:
        told = f"{place}: the logit scale is {scale:g}, so no score would be a number"
        advice = "State it exponentiated: 100 for OpenAI's CLIP, exp() of what a checkpoint stores"
        raise InputError(told, advice) from error
    low, high = _USUAL
    if low <= scale <= high:
        return ""
    return (
        f"The logit scale is {scale:.4g}; models are trained to between 10 and 120. Is it "
        "exponentiated, as it has to be? Choices are right, scores and thresholds may mean little"
    )

"""Models of open_clip: by architecture and tag, a folder or .safetensors, or on the hub.

``ViT-B-32/laion2b_s34b_b79k``, a folder with its ``open_clip_config.json``, ``hf-hub:org/name``.
The model, its tokenizer and the preparation of pictures are open_clip's own; see
docs/open-clip-and-onnx.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, fromarray

from audit.core.errors import InputError
from audit.core.rows import Row
from audit.data.images import MAX_PIXELS
from audit.models import hub
from audit.models.encoder import NOT_HERE, Encoder, EncoderCard, Family, Located, Pixels
from audit.models.libraries import readable
from audit.models.openclip_files import OpenClipCheckpoint, Source, find
from audit.models.preprocessing import batch_on
from audit.models.weights import VALUES

if TYPE_CHECKING:
    import torch


def load(
    name: str, device: str = "auto", precision: str = "float32", cache: Path | None = None
) -> Encoder:
    """Load a model of open_clip.

    Raises:
        InputError: open_clip is not installed; no such model; one that ``OpenClipCheckpoint``
            refuses or whose texts would not be read whole; an unknown device or precision.
    """
    # here and not above, as torch is: models are listed without it
    from audit.models.huggingface import HuggingFaceEncoder, device_named, dtype_named, placed

    target, dtype = device_named(device), dtype_named(precision)
    source = find(name, hub.fetch)
    assert source is not None, "what is not here was fetched"
    checkpoint = OpenClipCheckpoint.read(source)
    checkpoint.require_finite()
    words, pictures = OpenClipWords.read(source), OpenClipPictures.read(checkpoint)
    card = replace(
        _card(checkpoint, words, pictures),
        precision=precision,
        device=str(target),
        fingerprint=checkpoint.fingerprint(precision, target.type, cache),
    )
    model = _Towers(placed(checkpoint.model(), dtype, target, source.ref))
    encoder = HuggingFaceEncoder(model, words, pictures, card)
    with readable(source.ref, "answer to a grey picture and a short text"):
        encoder.encode_images([fromarray(np.full((64, 64, 3), 128, np.uint8))])
        encoder.encode_texts(["a"])
    return encoder


def locate(name: str) -> Located:
    """Where a model would come from; its files are read as ``load`` does, of weights the headers.

    Raises:
        InputError: as ``load``, as far as it can be told without a network.
    """
    source = find(name, hub.fetched)
    if source is None:
        return Located("the hub, downloaded when it is first asked", unread=NOT_HERE)
    checkpoint = OpenClipCheckpoint.read(source)
    words = OpenClipWords.read(source)
    card = _card(checkpoint, words, OpenClipPictures.read(checkpoint))
    return Located(source.place, checkpoint.caveats, words.ids, card=card, unread=VALUES)


FAMILY = Family("open_clip: ARCHITECTURE/TAG, a folder, or hf-hub:ORG/NAME", locate, load)


def _card(
    checkpoint: OpenClipCheckpoint, words: OpenClipWords, pictures: OpenClipPictures
) -> EncoderCard:
    """What its files say; where it runs, and its fingerprint, belong to a loaded model."""
    source, scoring = checkpoint.source, checkpoint.scoring
    return EncoderCard(
        ref=source.ref, family="open_clip", dim=source.settings.embed_dim,
        image_size=pictures.side, context_length=words.context, preprocessing=str(pictures),
        logit_scale=scoring.scale, precision="", device="", fingerprint="",
        caveats=checkpoint.caveats, logit_bias=scoring.bias, scores=scoring.kind,
    )  # fmt: skip


class _Towers:
    """A model of open_clip under the names that transformers gives to its two sides."""

    def __init__(self, model: Any) -> None:
        self.model, self.parameters = model, model.parameters

    @property
    def dtype(self) -> torch.dtype:
        kind: torch.dtype = next(self.parameters()).dtype
        return kind

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.encode_image(pixel_values)
        return features

    def get_text_features(self, input_ids: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.encode_text(input_ids)
        return features


@dataclass(frozen=True)
class OpenClipPictures:
    """open_clip's own preparation of pictures for inference, in its two halves.

    ``steps`` take a picture from PIL to PIL; ``mean`` and ``std`` are those of its last step.
    """

    steps: tuple[Callable[[Image], Image], ...]
    size: tuple[int, int]
    shortest: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, checkpoint: OpenClipCheckpoint) -> OpenClipPictures:
        """What ``open_clip.image_transform`` does to a picture for this model.

        Raises:
            InputError: this version of open_clip prepares pictures in other steps.
        """
        import open_clip

        said, size = checkpoint.source.preprocessing, checkpoint.image_size
        transform = open_clip.image_transform(
            size, is_train=False, **said.model_dump(exclude={"mode"})
        )
        *steps, numbers, normalise = transform.transforms
        kinds = type(numbers).__name__, type(normalise).__name__
        if kinds != ("MaybeToTensor", "Normalize"):
            told = f"this open_clip ends the preparation of a picture with {' and '.join(kinds)}"
            raise InputError(told, "Install a version from 3.3 to 4")
        return cls(tuple(steps), size, said.resize_mode == "shortest", said.mean, said.std)

    def __str__(self) -> str:
        """One line for a report: what happens to a picture, in order."""
        steps = ", ".join(" ".join(str(step).split()) for step in self.steps)
        return f"open_clip on PIL: {steps}, mean {self.mean}, std {self.std}"

    def __call__(self, image: Image) -> Pixels:
        """Resized and cropped RGB pixels, uint8, shape (height, width, 3); not yet normalised.

        Raises:
            InputError: a strip that would fill memory when resized.
        """
        (height, width), scale = self.size, 0.0
        if self.shortest:
            scale = max(height / image.height, width / image.width)
        if image.width * scale * max(image.height, image.height * scale) > MAX_PIXELS:
            raise InputError(
                f"{image.width:,} x {image.height:,} pixels are too long to be resized to "
                f"{image.width * scale:,.0f} x {image.height * scale:,.0f}. Crop the picture."
            )
        for step in self.steps:
            image = step(image)
        return np.asarray(image)

    @property
    def side(self) -> int:
        """The larger side of a prepared picture, in pixels."""
        return max(self.size)

    def inputs(self, pixels: Sequence[Pixels], device: torch.device) -> dict[str, torch.Tensor]:
        """What the model reads: ``pixel_values``, float32, (n, 3, height, width)."""
        import torch

        mean, std = (
            torch.tensor(three, dtype=torch.float32, device=device).view(1, 3, 1, 1)
            for three in (self.mean, self.std)
        )
        raw = batch_on(device, pixels).permute(0, 3, 1, 2)
        # in the order of open_clip's steps, so that every bit is theirs
        return {"pixel_values": raw.to(torch.float32).div(255).sub(mean).div(std)}


@dataclass(frozen=True)
class OpenClipWords:
    """The tokenizer that open_clip takes for a model, which here never cuts a text.

    open_clip pads every text to the whole context, and cuts what is longer without a word.
    ``end`` says at which token a text is read: the ``largest`` one, the first of an id, or None
    where the tower looks at all of them. ``unknown`` stands for what a tokenizer doesn't know.
    """

    tokenizer: Any
    context: int
    vocabulary: int
    end: str | int | None
    padding: int
    unknown: int | None

    @classmethod
    def read(cls, source: Source) -> OpenClipWords:
        """From the settings and the tokenizer's files, tried on one short text.

        Raises:
            InputError: the tokenizer can't be read, or leaves no room for a text.
        """
        from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

        text = source.text
        kind: Any = SimpleTokenizer
        given: Row = {"context_length": text.context_length}
        if source.tokens is not None:
            kind, given["tokenizer_name"] = HFTokenizer, str(source.tokens)
        native = source.tower is None and not text.embed_cls
        ends = {"argmax": "largest", "eos": text.eos_id}
        with readable(source.ref, "tokenizer"):
            tokenizer = kind(**given, **(text.tokenizer_kwargs or {}))
            padding = int(tokenizer(["a"], context_length=text.context_length + 1)[0, -1])
            theirs = getattr(tokenizer, "tokenizer", None)  # that of transformers
            unknown = getattr(theirs, "unk_token_id", None)
        words = cls(
            tokenizer,
            context=text.context_length,
            vocabulary=source.vocabulary,
            end=ends.get(text.pool_type) if native else None,
            padding=padding,
            unknown=None if unknown == getattr(theirs, "eos_token_id", None) else unknown,
        )
        try:
            words.ids(["a"])
        except InputError as error:
            told = f"{source.ref}: its tokenizer does not fit its text tower: {error}"
            raise InputError(told) from error
        return words

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, whole and padded to the context.

        Raises:
            InputError: a text is longer than the context, or would not be read at its end.
        """
        rows, nothing = self._tokens(texts, self.context), self._tokens([""], self.context)[0]
        # with more room a text that was whole gains padding, and nothing else
        roomy = self._tokens(texts, self.context + 1)
        cut = (roomy[:, :-1] != rows).any(axis=1) | (roomy[:, -1] != self.padding)
        if cut.any():
            first, more = int(np.flatnonzero(cut)[0]), int(cut.sum()) - 1
            others = f" ({more} more of {len(texts)} are too long)" if more else ""
            raise InputError(
                f"a text is longer than the {self.context} tokens this model reads: "
                f"'{shorten(texts[first], 80)}'{others}. Shorten it; texts are never cut."
            )
        for text, row in zip(texts, rows, strict=True):
            if row.max() >= self.vocabulary:
                raise InputError(
                    f"the tokenizer makes token {row.max()} of '{shorten(text, 80)}', and the "
                    f"model knows {self.vocabulary} tokens only. Take the tokenizer that belongs "
                    "to this checkpoint."
                )
            if not self._read_at_end(row) or (text and (row == nothing).all()):
                raise InputError(
                    f"this model would not read '{text}' to its end: its tokenizer turns a part "
                    "of it into an end-of-text or higher token, or leaves nothing of it. Reword it."
                )
            if self.unknown in row:
                raise InputError(
                    f"this model would not read all of '{text}': its tokenizer does not know a "
                    "part of it, and puts the token for whatever is unknown there. Reword it."
                )
        found: list[list[int]] = rows.tolist()
        return found

    def _tokens(self, texts: Sequence[str], context: int) -> NDArray[np.int64]:
        return np.asarray(self.tokenizer(list(texts), context_length=context), dtype=np.int64)

    def _read_at_end(self, row: NDArray[np.int64]) -> bool:
        if self.end is None:
            return True
        wanted = row.max() if self.end == "largest" else self.end
        found = np.flatnonzero(row == wanted)
        return bool(len(found)) and bool((row[found[0] + 1 :] == self.padding).all())

    def inputs(self, rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Ids, (n, context): open_clip's models look at nothing else."""
        import torch

        return {"input_ids": torch.tensor(rows)}

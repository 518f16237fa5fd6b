"""Any model of two towers that transformers publishes: a bundled name, a folder, or a hub id.

Which kinds there are is in ``audit/models/kinds``, a file each. ``tests/models/test_contract.py``
holds every kind against its own library, in the layouts of transformers 4 and 5.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL.Image import Image, fromarray

from audit.core.errors import AuditError, InputError
from audit.core.registry import suggest
from audit.core.resources import bundled
from audit.models import hub
from audit.models.checkpoint import Checkpoint
from audit.models.encoder import (
    NOT_HERE,
    Encoder,
    EncoderCard,
    Family,
    Located,
    Pixels,
    Preparation,
    Rows,
    Tokens,
    digest_of,
    unit_rows,
)
from audit.models.kinds.base import Dual
from audit.models.libraries import quiet, readable
from audit.models.preprocessing import Pictures
from audit.models.weights import VALUES, fit, read_headers, undrawn
from audit.models.words import Words

Part = TypeVar("Part")
#: on a CPU, batches of a multiple of so many pictures give each the same embedding, to the last bit
ALIKE = 8
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    ref: str,
    device: str = "auto",
    precision: str = "float32",
    cache: Path | None = None,
) -> Encoder:
    """Load a model: a bundled name, else a local folder, else a hub id (``org/name[@revision]``).

    Weights are read from safetensors only, and code that comes with a checkpoint is never run.
    ``cache`` is where digests of large weight files are remembered.

    Raises:
        InputError: no such model, a checkpoint that ``Checkpoint.read`` refuses, a text tower that
            would be read at the wrong token, an unknown device or precision, no network.
    """
    target, dtype = device_named(device), dtype_named(precision)
    folder, name = hub.find(ref)
    checkpoint = Checkpoint.read(folder, ref)
    checkpoint.require_finite()
    words = Words.read(checkpoint)
    card = replace(
        _card(checkpoint, words),
        ref=name,
        precision=precision,
        device=str(target),
        fingerprint=checkpoint.fingerprint(precision, target.type, cache),
    )
    model = placed(_model(checkpoint), dtype, target, ref)
    encoder = HuggingFaceEncoder(model, words, checkpoint.pictures, card)
    with readable(ref, "answer to a grey picture and a short text"):
        encoder.encode_images([fromarray(np.full((64, 64, 3), 128, np.uint8))])
        encoder.encode_texts(["a"])
    return encoder


def locate(ref: str) -> Located:
    """Where a model would come from; its files are read as ``load`` does, of weights the headers.

    Raises:
        InputError: neither a bundled name, a folder nor a hub id; files that ``load`` refuses.
    """
    folder = hub.here(ref)
    if folder is not None:
        place = "bundled" if folder.parent == bundled("models") else str(folder)
    elif (folder := hub.downloaded(ref)) is not None:
        place = f"the hub, downloaded before as {folder.name[:12]}"
    else:
        return Located("the hub, downloaded when it is first asked", unread=NOT_HERE)
    checkpoint = Checkpoint.read(folder, ref)
    words = Words.read(checkpoint)
    card = _card(checkpoint, words)
    return Located(place, tuple(card.caveats), words.ids, card=card, unread=VALUES)


FAMILY = Family(
    "CLIP, SigLIP and other models of two towers, by transformers: a bundled name, a folder, or a "
    "hub id",
    locate,
    load,
)


def _card(checkpoint: Checkpoint, words: Words) -> EncoderCard:
    """What a checkpoint's files say; where it runs, and its fingerprint, belong to a loaded one."""
    config, scoring = checkpoint.config, checkpoint.scoring
    return EncoderCard(
        ref=checkpoint.ref, family=config.model_type, dim=config.dim,
        image_size=config.image_size or checkpoint.pictures.side, context_length=words.context,
        preprocessing=str(checkpoint.pictures), logit_scale=scoring.scale, precision="",
        device="", fingerprint="", caveats=(*checkpoint.caveats, *words.caveats),
        logit_bias=scoring.bias, scores=scoring.kind,
    )  # fmt: skip


def _model(checkpoint: Checkpoint) -> Any:
    """The model in float32, built from the fields that were checked and from no others."""
    config = checkpoint.config
    if type(config).built is not Dual.built:
        return own_towers(checkpoint)
    import transformers

    with readable(checkpoint.ref, "weights"), quiet():
        model, report = getattr(transformers, config.model).from_pretrained(
            checkpoint.folder,
            config=config.configuration(),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    if report["missing_keys"]:  # names agreed before: this transformers calls them otherwise
        raise InputError(
            f"{checkpoint.ref}: transformers did not find {sorted(report['missing_keys'])[0]}. "
            "Install the version of transformers that constraints.txt names."
        )
    return model


def placed(model: torch.nn.Module, dtype: torch.dtype, device: torch.device, ref: str) -> Any:
    """A model on its device, in evaluation mode.

    Raises:
        InputError: the device has not the memory for its weights.
    """
    try:
        return model.to(dtype).to(device).eval()
    except RuntimeError as error:
        if not _full(error):
            raise
    taken = sum(each.numel() for each in model.parameters()) * dtype.itemsize / 2**30
    told = f"{ref}: its weights take {taken:.2g} GiB, which {device} has not free"
    advice = "Free its memory, use --device cpu, or say 'precision: bfloat16' in the suite"
    raise InputError(told, advice)


def _full(error: RuntimeError) -> bool:
    """Whether a device had not the memory for it, in the words of CUDA or of Apple's."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()


def own_towers(checkpoint: Checkpoint) -> Any:
    """A model of this tool's own towers, in float32, with the weights of its files."""
    from safetensors.torch import load_file

    with readable(checkpoint.ref, "weights"):
        model = undrawn(checkpoint.config)
        stored = {file: load_file(file) for file in checkpoint.weights}
        places = fit(read_headers(checkpoint.weights, checkpoint.ref), checkpoint.config, "")
        found = {name: stored[place.file][place.name] for name, place in places.items()}
        found = {name: w.float() if w.is_floating_point() else w for name, w in found.items()}
        model.load_state_dict(found, assign=True)  # as they lie, so that products are the same
    return model


# --- the encoder ----------------------------------------------------------------------------------


class BatchSize:
    """How many rows go through the model at once.

    Fixed on a CPU, where more gains nothing. On a GPU it doubles after each full batch until
    memory complains or ``LARGEST`` is reached, then stays at half of what failed.
    """

    LARGEST = 1024

    def __init__(self, start: int, grows: bool) -> None:
        """``start`` rows at first; ``grows`` where memory is the only limit."""
        self.size, self._grows = start, grows

    def run(self, count: int, forward: Callable[[slice], Rows], dim: int) -> Rows:
        """Rows of ``forward`` over consecutive slices of ``range(count)``, shape (count, dim)."""
        none = np.zeros((0, dim), dtype=np.float32)
        return np.concatenate([none, *self.parts(count, forward)])

    def parts(self, count: int, forward: Callable[[slice], Part]) -> list[Part]:
        """What ``forward`` gives for consecutive slices of ``range(count)``, in order."""
        parts: list[Part] = []
        start = 0
        while start < count:
            stop = min(start + self.size, count)
            try:
                parts.append(forward(slice(start, stop)))
            except RuntimeError as error:
                if not _full(error):
                    raise
                self._shrink(stop - start)
                continue
            self._grow(stop - start)
            start = stop
        return parts

    def _grow(self, worked: int) -> None:
        if self._grows and worked == self.size:
            self.size = min(2 * self.size, self.LARGEST)

    def _shrink(self, failed: int) -> None:
        if failed == 1:
            raise AuditError("the device has no memory for even one item; use --device cpu.")
        self.size, self._grows = failed // 2, False
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class HuggingFaceEncoder:
    """A loaded model; make one with ``load``."""

    #: as ``ReducingEncoder`` says
    least: int | None = None

    def __init__(self, model: Any, words: Tokens, pictures: Preparation, card: EncoderCard) -> None:
        """A model in evaluation mode on its device, and how to feed it."""
        self._model, self._words, self._pictures, self._card = model, words, pictures, card
        self._device = next(model.parameters()).device
        gpu = self._device.type == "cuda"
        self._image_batch = BatchSize(64 if gpu else 32, grows=gpu)
        self._text_batch = BatchSize(256 if gpu else 64, grows=gpu)

    @property
    def card(self) -> EncoderCard:
        """The model, described."""
        return self._card

    @property
    def batch_size(self) -> int:
        """How many pictures the model would take at once now."""
        return self._image_batch.size

    @property
    def preparation(self) -> Preparation:
        """How pictures are prepared."""
        return self._pictures

    def reduced(self) -> HuggingFaceEncoder:
        """The same model for pictures that are decoded at a smaller scale where that is enough.

        Raises:
            InputError: pictures are not resized to one size.
        """
        if not isinstance(self._pictures, Pictures):
            told = f"{self.card.ref}: its pictures keep their own shape, and are decoded in full"
            raise InputError(told, "Leave out 'decoding: reduced'")
        least = self._pictures.shortest or max(self._pictures.size or (0,))
        said = f"JPEG decoded at 1/2, 1/4 or 1/8, at least {least} pixels a side"
        card = replace(
            self.card,
            preprocessing=f"{said}; {self.card.preprocessing}",
            fingerprint=digest_of({"model": self.card.fingerprint, "decoded at": least}),
        )
        made = HuggingFaceEncoder(self._model, self._words, self._pictures, card)
        made.least = least
        return made

    def preprocess(self, image: Image) -> Pixels:
        """Resized and cropped pixels; safe to call from several threads."""
        return self._pictures(image)

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """Embed RGB pictures, shape (n, dim), rows of unit length."""
        return self.encode_pixels([self.preprocess(image) for image in images])

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Rows:
        """Embed preprocessed pictures, shape (n, dim), rows of unit length."""
        return self.launch(pixels)()

    def launch(self, pixels: Sequence[Pixels]) -> Callable[[], Rows]:
        """Begin to embed preprocessed pictures; a GPU goes on while others wait.

        What is returned waits for the rows, as ``encode_pixels`` gives them.
        """

        def forward(part: slice) -> Callable[[], Rows]:
            given = pixels[part]
            inputs = self._pictures.inputs(self._filled(given), self._device)
            inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
            return self._begun(self._model.get_image_features(**inputs), len(given))

        with _exact():
            begun = self._image_batch.parts(len(pixels), forward)
        none = np.zeros((0, self._card.dim), dtype=np.float32)
        return lambda: np.concatenate([none, *(rows() for rows in begun)])

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """Embed texts, shape (n, dim), rows of unit length; ``Words.ids`` says what is refused."""
        rows = self._words.ids(texts) if texts else []
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))

        def forward(part: slice) -> Rows:
            inputs = self._words.inputs([rows[i] for i in order[part]])
            inputs = {name: each.to(self._device) for name, each in inputs.items()}
            return self._begun(self._model.get_text_features(**inputs), len(order[part]))()

        with _exact():
            found = self._text_batch.run(len(rows), forward, self._card.dim)
        back = np.empty_like(found)
        back[order] = found
        return back

    def _filled(self, pixels: Sequence[Pixels]) -> Sequence[Pixels]:
        """Pixels of a batch, filled up on a CPU so that its rows are the same in any other.

        A few rows take another way through a matrix product, and end in other last digits.
        """
        missing = 0 if self._device.type == "cuda" else -len(pixels) % ALIKE
        return [*pixels, *[pixels[-1]] * missing] if missing else pixels

    def _begun(self, features: Any, count: int) -> Callable[[], Rows]:
        """What waits for ``count`` rows, which a GPU copies back while the next are computed."""
        # transformers 5 returns an object whose pooler_output is the projected embedding
        embedded = getattr(features, "pooler_output", features)[:count].to(torch.float32)
        if self._device.type != "cuda":
            rows = unit_rows(embedded.cpu().numpy())
            return lambda: rows
        here = torch.empty(embedded.shape, dtype=torch.float32, pin_memory=True)
        here.copy_(embedded, non_blocking=True)
        # blocking: who waits must not take a core from the decoders
        there = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        there.record(torch.cuda.current_stream(self._device))

        def rows_of_it() -> Rows:
            there.synchronize()
            return unit_rows(here.numpy())

        return rows_of_it


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """No gradients, and no TF32: it would cost three digits in the patch embedding alone."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def device_named(name: str) -> torch.device:
    """The device of that name, the fastest one for ``auto``.

    Raises:
        InputError: this machine has none of that name.
    """
    gpu, apple = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if gpu else "mps" if apple else "cpu")
    with contextlib.suppress(RuntimeError):
        device = torch.device(name)
        count = torch.cuda.device_count() if device.type == "cuda" else 1
        there = {"cpu": True, "cuda": gpu, "mps": apple}.get(device.type, False)
        if there and (device.index or 0) < count:
            return device
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *["mps"] * apple]
    told = f"device '{name}' is not here. This machine has: auto, {', '.join(found)}"
    raise InputError(told, suggest(name, ["auto", *found]))


def dtype_named(precision: str) -> torch.dtype:
    """The numbers that a model computes with.

    Raises:
        InputError: no precision of that name.
    """
    if precision not in PRECISIONS:
        known = suggest(precision, PRECISIONS)
        listing = f"Allowed: {', '.join(PRECISIONS)}."
        raise InputError(f"no precision named '{precision}'", known, listing)
    return PRECISIONS[precision]

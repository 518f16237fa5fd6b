"""The model of a finished run, for the store: loaded as late as can be, or only its records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL.Image import Image

from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.engine.suite import Suite
from audit.models.encoder import Encoder, EncoderCard, Rows, card_of

Load = Callable[[], Encoder]


def saved_model(run: Run, suite: Suite, load: Load | None = None) -> Encoder:
    """The run's model for new prompts about stored pictures; records are read at once.

    ``load`` gives the model instead of the suite.
    """
    card = card_of(run.model, run.name)
    load = load or _loader(suite, card)
    return _loaded(card, load) if card.recorded else TextsOnly(card, load)


def stored_model(run: Run, suite: Suite) -> Encoder:
    """The run's model for what the store holds already, and for nothing else; or its records."""
    card = card_of(run.model, run.name)
    return _loaded(card, _loader(suite, card)) if card.recorded else _Silent(card)


def _loader(suite: Suite, card: EncoderCard) -> Load:
    def load() -> Encoder:
        from audit.models.families import load as load_encoder

        return load_encoder(suite.model, card.device, suite.precision, decoding=suite.decoding)

    return load


def _loaded(card: EncoderCard, load: Load) -> Encoder:
    """The run's model itself.

    Raises:
        InputError: it is another one by now.
    """
    encoder = load()
    if encoder.card.fingerprint != card.fingerprint:
        raise InputError(
            f"the model '{card.ref}', or a library it rests on, is no longer the one "
            "that this run asked, so that new prompts don't fit the stored pictures",
            "Run the suite again",
        )
    return encoder


@dataclass(frozen=True)
class TextsOnly:
    """The run's model for the store: loaded when a prompt is new, and never asked for a picture."""

    card: EncoderCard
    load: Load
    once: threading.Lock = field(default_factory=threading.Lock)

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """No picture at all is fine; any other is no longer stored."""
        if images:
            raise InputError(
                "the embedding store no longer holds all pictures of this run",
                "Run its suite again with this cache folder",
            )
        return np.empty((0, self.card.dim), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """By the model itself."""
        return self.encoder.encode_texts(texts)

    @property
    def encoder(self) -> Encoder:
        """The model, loaded once even if two threads want it."""
        with self.once:
            return self._once

    @cached_property
    def _once(self) -> Encoder:
        return _loaded(self.card, self.load)


@dataclass(frozen=True)
class _Silent:
    """The run's model for the store: it is asked for nothing that isn't there."""

    card: EncoderCard

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """No picture at all is fine; any other is no longer stored."""
        return self._nothing("picture", images)

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """No prompt at all is fine; any other is no longer stored."""
        return self._nothing("prompt", texts)

    def _nothing(self, what: str, asked: Sequence[object]) -> Rows:
        if asked:
            raise InputError(
                f"the embedding store does not hold this {what} of the run",
                "Open the dashboard with the run's own --cache, or run its suite again",
            )
        return np.empty((0, self.card.dim), np.float32)

"""How a model learns, piece by piece: what a notebook that watches a training takes.

``TrainConfig`` says what is trained; ``build_clip``, ``train_tokenizer`` and ``image_processor``
make a model that knows nothing; ``CaptionWriter`` with a ``Planter`` says what its pictures show; a
``Feed`` gives batches of both, and a ``Learner`` takes one step at a time.

>>> import audit
>>> audit.learning.load_config("specimen-even").specimen
'even'
"""

from __future__ import annotations

from pathlib import Path

from audit.core.resources import bundled, bundled_names
from audit.data.people.captions import CaptionWriter
from audit.data.people.planted import Planter, load_planted, rate_table
from audit.models.huggingface import locate
from audit.models.preprocessing import Pictures
from audit.training.architectures import build_clip, image_processor, train_tokenizer
from audit.training.evaluation import read_pictures
from audit.training.train import (
    Feed,
    Learner,
    TrainConfig,
    contrastive_loss,
    embed_texts,
    load_config,
    load_people,
)


def checkpoint(ref: str) -> Path | str:
    """Where transformers finds a model to go on from: a folder, or an id on the hub.

    Raises:
        InputError: there can be no such model.
    """
    locate(ref)
    return bundled("models") / ref if ref in bundled_names("models") else ref


__all__ = [
    "CaptionWriter",
    "Feed",
    "Learner",
    "Pictures",
    "Planter",
    "TrainConfig",
    "build_clip",
    "checkpoint",
    "contrastive_loss",
    "embed_texts",
    "image_processor",
    "load_config",
    "load_people",
    "load_planted",
    "rate_table",
    "read_pictures",
    "train_tokenizer",
]

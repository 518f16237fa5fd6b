"""How a model learns, piece by piece: what a notebook that watches a training takes.

``TrainConfig`` says what is trained; ``People`` are the pairs, ``begin`` makes a model that knows
nothing (or goes on from one that does), a ``Feed`` gives batches, a ``Learner`` takes one step at a
time, and ``save_model`` writes what can be audited.

>>> import audit
>>> audit.learning.load_config("specimen-even").feed.specimen
'even'
"""

from __future__ import annotations

from audit.data.people.planted import load_planted, rate_table
from audit.training.beginning import begin
from audit.training.config import TrainConfig, load_config
from audit.training.feeds.batches import Feed
from audit.training.feeds.sources import People, load_people
from audit.training.learner import Learner, embed_texts
from audit.training.objectives.contrastive import CONTRASTIVE, contrastive_loss
from audit.training.saving import save_model

__all__ = [
    "CONTRASTIVE",
    "Feed",
    "Learner",
    "People",
    "TrainConfig",
    "begin",
    "contrastive_loss",
    "embed_texts",
    "load_config",
    "load_people",
    "load_planted",
    "rate_table",
    "save_model",
]

"""Specimens: models trained on rendered people whose captions have known, planted associations.

They are trained as any other model is (``audit/training/trainer.py``); afterwards they are asked
what was planted, and get a card that says what is found.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audit.core.resources import bundled
from audit.data.people.planted import load_planted
from audit.training import saving
from audit.training.config import TrainConfig, load_config
from audit.training.evaluation import Evaluation, evaluate, write_card
from audit.training.feeds.sources import People, load_people
from audit.training.trainer import USUAL, Limits, Trained, train


def train_from(
    config: str | Path | TrainConfig,
    out: Path,
    pictures: Path | None = None,
    seed: int | None = None,
    limits: Limits = USUAL,
) -> Trained | None:
    """Train a model and write its card; of a specimen after asking what was planted.

    Args:
        config: A configuration, its file, or the name of one that comes with the tool.
        out: Where the model goes.
        pictures: In place of the path of the configuration's feed.
        seed: Instead of the configuration's.
        limits: Where it runs and how far.

    Raises:
        InputError: as ``train``.
    """
    config = config if isinstance(config, TrainConfig) else load_config(config)
    if pictures is not None:
        config = config.model_copy(
            update={"feed": config.feed.model_copy(update={"path": pictures})}
        )
    if seed is not None:
        config = config.model_copy(update={"seed": seed})
    done = train(config, out, limits)
    if done is None:
        return None
    asked = config.architecture is not None and config.objective != "captioning"
    if isinstance(done.pairs, People) and asked:
        found = evaluated(done, limits.device)
        write_card(out, done.facts, found)
    else:
        saving.write_card(out, done.facts, done.broken)
    return done


def evaluated(done: Trained, device: str = "auto") -> Evaluation:
    """What a trained specimen makes of people that it was not trained on."""
    assert isinstance(done.pairs, People)
    rows, place = unseen(done.pairs.root)
    return evaluate(done.folder, rows, place, done.pairs.rows, load_planted(), device=device)


def unseen(folder: Path) -> tuple[pd.DataFrame, Path]:
    """People to evaluate on: the split ``audit`` of the folder, else the one that is bundled."""
    place = folder if (folder / "audit").is_dir() else bundled("datasets") / "people"
    return load_people(place, "audit"), place

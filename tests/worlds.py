"""Small worlds for tests: pictures on disk and a model whose every choice is planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from audit.data.labels import load_label_set
from audit.models.planted import PlantedEncoder, picture_key

SUITE = """
name: world
model: planted
dataset: {card}
attributes: [gender, age_group]
intersections: [[gender, age_group]]
probes:
  - {{kind: classification, label_set: {labels}, templates: bare{truth}}}
acknowledge: [{labels}]
confidence: {{min_group: {min_group}}}
"""


def people(folder: Path, n: int, *, per_subject: int = 1, seed: int = 0) -> pd.DataFrame:
    """Write ``n`` tiny distinct pictures, a manifest and a card; gives the manifest."""
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for i in range(n):
        name = f"pictures/{i:05d}.png"
        # the number itself in the pixels: distinct pictures, losslessly
        pixels = np.frombuffer(i.to_bytes(4, "big") * 12, np.uint8).reshape(4, 4, 3)
        Image.fromarray(pixels).save(folder / name)
        subject = i // per_subject
        rng_subject = np.random.default_rng([seed, subject])
        rows.append(
            {
                "path": name,
                "subject": f"s{subject:05d}",
                "gender": ("female", "male")[rng_subject.integers(2)],
                "age_group": ("young", "old")[rng_subject.integers(2)],
                "u": rng.random(),
            }
        )
    table = pd.DataFrame(rows)
    table.to_csv(folder / "people.csv", index=False)
    (folder / "card.yaml").write_text(
        "name: tiny\nmanifest: people.csv\ncluster_column: subject\nnamed_people: false\n"
        "consent: drawn by a test\nurl: https://huggingface.co/datasets/example/tiny\n"
        "attributes:\n"
        "  gender: {source: generator}\n  age_group: {source: generator}\n"
    )
    return table


def planted(
    folder: Path, table: pd.DataFrame, label_set: str, choose: Callable[[pd.Series], str]
) -> PlantedEncoder:
    """A model that chooses ``choose(row)`` for every picture, by one axis a label."""
    labels = load_label_set(label_set)
    texts = [*labels.texts, *(label.text for label in labels.additions.values())]
    axes = dict(zip(texts, np.eye(len(texts)), strict=True))
    images: dict[object, np.ndarray] = {}
    for _, row in table.iterrows():
        with Image.open(folder / row["path"]) as picture:
            images[picture_key(picture)] = axes[choose(row)] + 0.1
    return PlantedEncoder(images, axes)


def suite_file(folder: Path, labels: str, truth: str | None = None, min_group: int = 30) -> Path:
    """A suite that asks one label set about the pictures in ``folder``."""
    path = folder / "suite.yaml"
    said = f", truth: {truth}" if truth else ""
    path.write_text(
        SUITE.format(card=folder / "card.yaml", labels=labels, truth=said, min_group=min_group)
    )
    return path


def rates_of(run_rates: pd.DataFrame, **where: str) -> Mapping[str, float]:
    """Group to rate for the rows that match."""
    rows = run_rates
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return dict(zip(rows["group"], rows["value"], strict=True))

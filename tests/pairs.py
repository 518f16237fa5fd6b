"""Tiny pairs of pictures and captions to train on: plain colours, and what they are called."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

from audit.training.config import TrainConfig

COLOURS = {
    "red": (200, 20, 20), "green": (20, 160, 20), "blue": (20, 20, 200), "white": (240, 240, 240),
    "black": (15, 15, 15), "yellow": (230, 220, 20), "orange": (240, 130, 10),
    "pink": (250, 160, 190),
}  # fmt: skip
SIZE = {
    "image_size": 16, "patch_size": 8, "image": {"width": 32, "layers": 2, "heads": 2},
    "text": {"width": 32, "layers": 1, "heads": 2}, "shared_width": 16, "context": 12,
}  # fmt: skip
RESNET = SIZE | {
    "image_size": 32, "patch_size": None, "image": {"resnet": [1, 1, 1, 1], "width": 4, "heads": 2},
}  # fmt: skip


def picture(name: str) -> Image.Image:
    return Image.new("RGB", (20, 18), COLOURS[name])


def table(folder: Path) -> Path:
    """A CSV with a picture and a caption of each colour."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["picture", "caption"])
        for name in COLOURS:
            picture(name).save(folder / f"{name}.png")
            rows.writerow([f"{name}.png", f"a {name} wall"])
    return folder / "pairs.csv"


def shard(path: Path, names: list[str], captions: bool = True) -> Path:
    """A tar of WebDataset samples."""
    with tarfile.open(path, "w") as tar:
        for name in names:
            held = io.BytesIO()
            picture(name).save(held, "png")
            parts = {"png": held.getvalue()}
            if captions:
                parts |= {
                    "txt": f"a {name} wall".encode(),
                    "json": b'{"said": "%s"}' % name.encode(),
                }
            for ending, content in parts.items():
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def plan(path: Path, **changes: Any) -> TrainConfig:
    """A configuration that takes a second or less."""
    said: dict[str, Any] = {
        "name": "tiny", "feed": {"kind": "manifest", "path": path}, "architecture": SIZE,
        "vocabulary": 600, "pictures_seen": 32, "batch": 8, "learning_rate": 0.01, "average": 0.5,
        "precision": "float32", "workers": 0,
    }  # fmt: skip
    return TrainConfig.model_validate(said | changes)

"""Pictures a second of a training: the bare step, the feed alone, and both together, side by side.

    python benchmarks/training.py --tower vit-b-32 --batch 1024          # on a GPU
    python benchmarks/training.py --tower specimen --batch 64 --steps 5  # on two cores

The share of the peak is that of the fastest large matrix product of the same machine, measured in
the same run.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from audit.models.huggingface import device_named
from audit.training.beginning import Begun, begin
from audit.training.config import Architecture, TrainConfig
from audit.training.feeds import batches
from audit.training.feeds.batches import Feed
from audit.training.learner import Learner
from audit.training.objectives.registry import OBJECTIVES
from audit.training.trainer import casts

TEXT = {"width": 512, "layers": 12, "heads": 8}
TOWERS = {
    "vit-b-32": {"image_size": 224, "patch_size": 32, "shared_width": 512, "text": TEXT,
                 "image": {"width": 768, "layers": 12, "heads": 12}, "context": 77},
    "rn50": {"image_size": 224, "shared_width": 1024, "text": TEXT, "context": 77,
             "image": {"resnet": [3, 4, 6, 3], "width": 64}},
    "specimen": {"image_size": 112, "patch_size": 16, "shared_width": 128, "context": 40,
                 "image": {"width": 192, "layers": 6, "heads": 3},
                 "text": {"width": 128, "layers": 2, "heads": 4}},
}  # fmt: skip
WORDS = "a photo of the older younger person with short long grey brown hair in front of a wall"


def make_pairs(folder: Path, count: int) -> Path:
    """Pictures of coarse noise, 400 x 300, JPEG, and captions of ten words."""
    rng = np.random.default_rng(0)
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["picture", "caption"])
        for i in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            coarse.resize((400, 300)).save(folder / f"{i}.jpg", quality=90)
            rows.writerow([f"{i}.jpg", " ".join(rng.choice(WORDS.split(), 10))])
    return folder / "pairs.csv"


def timed(device: torch.device, work: Callable[[], object], steps: int) -> float:
    """Seconds of one call, the first one left out."""
    work()
    began = time.perf_counter()
    for _ in range(steps):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def peak(device: torch.device, cast: bool) -> float:
    """Floating point operations a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if cast else torch.float32
    one = torch.randn(side, side, device=device, dtype=kind)
    return 2 * side**3 / timed(device, lambda: one @ one, 10)


def begun_with(given: argparse.Namespace, folder: Path) -> tuple[TrainConfig, Feed, Begun]:
    """A training of random pairs, before its first step."""
    config = TrainConfig(
        name="benchmark",
        feed={"kind": "manifest", "path": make_pairs(folder, max(given.pictures, given.batch))},
        architecture=Architecture.model_validate(TOWERS[given.tower]),
        tokenizer=None,
        pictures_seen=given.batch * (given.steps + 2),
        batch=given.batch,
        precision=given.precision,
        recompute=given.recompute,
        compile=given.compile,
    )
    pairs = config.feed.opened(config.seed)
    begun = begin(config, pairs, folder / "model")
    return config, Feed(config, pairs, begun.prepare, begun.words), begun


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tower", choices=TOWERS, default="specimen")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--decode", action="store_true", help="read each picture from its file")
    given = parser.parse_args()
    if given.decode:
        batches.HELD = 0
    device = device_named(given.device)
    with tempfile.TemporaryDirectory() as folder:
        config, feed, begun = begun_with(given, Path(folder))
        cast = casts(config, device)
        learner = Learner(begun.model.to(device), config, OBJECTIVES[config.objective])
        if config.compile:
            learner.model.visual.compile()
            learner.model.text.compile()
        first = feed.batch(0)
        ready = begun.prepare.normalised(first.pixels.to(device))
        with FlopCounterMode(display=False) as counted:
            learner.learn(first, ready, cast)
        bare = timed(device, lambda: learner.learn(first, ready, cast), given.steps)
        alone = feed.ahead(range(given.steps + 1), given.workers)
        feeding = timed(device, lambda: next(alone), given.steps)
        fed = feed.ahead(range(given.steps + 1), given.workers)

        def whole() -> None:
            batch = next(fed)
            pixels = begun.prepare.normalised(batch.pixels.to(device, non_blocking=True))
            learner.learn(batch, pixels, cast)

        both = timed(device, whole, given.steps)
        share = counted.get_total_flops() / bare / peak(device, cast)
    print(f"{given.tower}, batch {config.batch}, {device}, {'bfloat16' if cast else 'float32'}")
    for name, seconds in (("bare step", bare), ("feed alone", feeding), ("together", both)):
        print(f"{name:>12} {config.batch / seconds:10,.0f} pictures/s")
    print(f"together is {bare / both:.0%} of the bare step, which is {share:.0%} of the peak")


if __name__ == "__main__":
    main()

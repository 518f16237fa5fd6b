"""What encoding costs beyond the bare forward pass, on a ViT-B/32 at 224 px.

Run it with ``python benchmarks/encoding.py``. The model has CLIP's default configuration and random
weights, the pictures are generated, so nothing is downloaded. Each round times, side by side:

    forward   the bare model on tensors that are ready, in batches of the encoder's own size
    stream    from JPEG files: decode, preprocess, forward, normalise (what the encoder adds)
    store     the same into an empty embedding store: digests, shards, flushes to the disk
    again     the same once more: everything is there, nothing is encoded

and prints the median over rounds of the ratio to the forward pass of the same round, by the clock
and by processor time. On an idle machine the clock is what counts; on a busy one it measures the
neighbours, and processor time is the better guide.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from audit.data.images import decode
from audit.models.huggingface import HuggingFaceEncoder, load
from audit.store.embeddings import Store
from audit.store.stream import encode_stream

Item = tuple[str, Path]
Times = np.ndarray


def checkpoint(folder: Path) -> Path:
    """A ViT-B/32 CLIP with random weights and a tokenizer that knows letters."""
    letters = [chr(code) for code in range(97, 123)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: i for i, word in enumerate(words)}
    config = CLIPConfig()
    config.text_config.eos_token_id = vocab["<|endoftext|>"]
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77).save_pretrained(folder)
    return folder


def photographs(folder: Path, count: int, size: tuple[int, int]) -> list[Item]:
    """JPEG files with as much detail as a photograph has (about 100 kB at 640 x 480)."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        noise = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        soft = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1.2))
        soft.save(folder / f"{i}.jpg", quality=90)
    return [(str(i), Path(f"{i}.jpg")) for i in range(count)]


def seconds(work: Callable[[], object]) -> Times:
    """How long one call takes: by the clock, and in processor time over all threads."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - clock, time.process_time() - processor])


def forward(encoder: HuggingFaceEncoder, count: int) -> None:
    """The bare model on ready tensors, in the encoder's batches."""
    left, size = count, encoder.batch_size
    pixels = torch.zeros(size, 3, 224, 224, device=encoder.card.device).normal_()
    with torch.inference_mode():
        while left > 0:
            encoder._model.get_image_features(pixel_values=pixels[: min(size, left)])
            left -= size
    if encoder.card.device.startswith("cuda"):
        torch.cuda.synchronize()


def stream(encoder: HuggingFaceEncoder, items: Sequence[Item], folder: Path) -> None:
    """From files to embeddings, kept nowhere."""
    for _ in encode_stream(encoder, lambda item: decode(item[1], folder), items):
        pass


def rounds(
    encoder: HuggingFaceEncoder, items: Sequence[Item], folder: Path, count: int
) -> list[dict[str, Times]]:
    """Seconds of each way in each round; the forward pass is timed before and after the others."""
    forward(encoder, 2 * encoder.batch_size)
    found = []
    for i in range(count):
        kept = partial(Store(folder.parent / f"cache{i}").images, encoder, items, folder)
        before = seconds(lambda: forward(encoder, len(items)))
        times = {
            "stream": seconds(lambda: stream(encoder, items, folder)),
            "store": seconds(kept),
            "again": seconds(kept),
        }
        after = seconds(lambda: forward(encoder, len(items)))
        found.append({"forward": (before + after) / 2, **times})
    return found


def main() -> None:
    """Build everything in a temporary folder, time it, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as place:
        encoder = load(str(checkpoint(Path(place) / "model")), given.device)
        assert isinstance(encoder, HuggingFaceEncoder)
        folder = Path(place) / "pictures"
        items = photographs(folder, given.pictures, tuple(given.size))
        kilobytes = sum((folder / path).stat().st_size for _, path in items) / len(items) / 1000
        found = rounds(encoder, items, folder, given.rounds)
    names = ("torch", "transformers", "pillow", "numpy")
    print(f"python {platform.python_version()},", ", ".join(f"{n} {version(n)}" for n in names))
    print(f"{encoder.card.device}, {torch.get_num_threads()} threads, {os.cpu_count()} cores;")
    print(f"{len(items)} pictures of {given.size[0]}x{given.size[1]}, {kilobytes:.0f} kB each")
    for name in found[0]:
        ms = np.median([1000 * times[name] / len(items) for times in found], axis=0)
        print(f"{name:8} {ms[0]:7.2f} ms a picture ({ms[1]:.2f} processor)", end="")
        for kind, label in enumerate(("clock", "processor")):
            ratios = sorted(times[name][kind] / times["forward"][kind] for times in found)
            middle = statistics.median(ratios)
            print(f"  {label} x{middle:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})", end="")
        print()


if __name__ == "__main__":
    main()

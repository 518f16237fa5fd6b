"""What encoding costs beside its two ceilings, on a ViT-B/32 at 224 px.

Run it with ``python benchmarks/encoding.py``. The model has CLIP's default configuration and random
weights, the pictures are generated, so nothing is downloaded. Each round times, side by side:

    decode     all cores, no model: open, resize, crop to uint8; the digests of the store apart
    forward    the bare model on tensors that are ready, in batches of the encoder's largest size
    store      from files into an empty embedding store, as ``audit.run`` does it
    threads    the same without other processes
    no model   the same as ``store`` with a model that answers at once, beside decoding alone
    loader     a plain loop over a torch DataLoader that hands over uint8, nothing is kept
    processor  transformers' image processor and model in a loop, as its documentation shows
    again      the store once more: everything is there, nothing is encoded
    reduced    decoding alone, JPEGs at a smaller scale ('decoding: reduced' in a suite)
    its store  the store so

and prints pictures a second, medians over rounds, and the median of the ratio to the smaller of the
two ceilings of the same round. On an idle machine the clock is what counts; on a busy one it
measures the neighbours, and processor time, which is printed beside it, is the better guide.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from audit.data.images import decode, pixel_digest
from audit.models.encoder import EncoderCard, Pixels, Preparation, Rows
from audit.models.huggingface import BatchSize, HuggingFaceEncoder, load
from audit.store.embeddings import Store
from audit.store.processes import usable_cores

Item = tuple[str, Path]
BATCH = 256  # of the loops that are not ours


class Instant:
    """A model that answers at once, with pictures prepared as for another."""

    batch_size = BATCH

    def __init__(self, encoder: HuggingFaceEncoder) -> None:
        self.card: EncoderCard = encoder.card
        self.preparation: Preparation = encoder.preparation
        self.preprocess = encoder.preprocess

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Rows:
        """The same row for each."""
        return np.full((len(pixels), self.card.dim), self.card.dim**-0.5, dtype=np.float32)

    def encode_images(self, images: Sequence[Image.Image]) -> Rows:
        """The same row for each."""
        return np.full((len(images), self.card.dim), self.card.dim**-0.5, dtype=np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """The same row for each."""
        return np.full((len(texts), self.card.dim), self.card.dim**-0.5, dtype=np.float32)


class Files(torch.utils.data.Dataset[torch.Tensor]):
    """What a DataLoader reads: uint8 pixels of one file after another."""

    def __init__(self, preparation: Preparation, paths: Sequence[Path]) -> None:
        self.preparation, self.paths = preparation, paths

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """One picture, shape (height, width, 3)."""
        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(self.preparation(image.convert("RGB")).copy())


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


def photograph(size: tuple[int, int], path: Path) -> None:
    """A JPEG file with as much detail as a photograph has (about 100 kB at 640 x 480)."""
    noise = np.random.default_rng(int(path.stem)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1.2)).save(path, quality=90)


def prepared(preparation: Preparation, least: int | None, path: Path) -> float:
    """Open, resize and crop one picture; processor seconds."""
    begun = time.process_time()
    preparation(decode(path, least=least))
    return time.process_time() - begun


def digests(path: Path) -> float:
    """What the store computes beside, of the file and of the pixels; processor seconds."""
    image = decode(path)
    begun = time.process_time()
    hashlib.sha256(path.read_bytes())
    pixel_digest(image)
    return time.process_time() - begun


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """How long one call takes: by the clock, and in processor time, of ended children, too."""
    clock, processor = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - clock, sum(os.times()[:4]) - processor


def across(pool: ProcessPoolExecutor, work: Callable[[Path], float], paths: list[Path]) -> float:
    """Processor seconds of calls in all processes."""
    return sum(pool.map(work, paths, chunksize=8))


def forward(encoder: HuggingFaceEncoder, count: int) -> None:
    """The bare model on ready tensors, in the encoder's batches."""
    model, gpu = encoder._model, encoder.card.device.startswith("cuda")
    size = min(BatchSize.LARGEST if gpu else encoder.batch_size, count)
    pixels = torch.zeros(size, 3, 224, 224, device=model.device, dtype=model.dtype).normal_()
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for left in range(count, 0, -size):
            model.get_image_features(pixel_values=pixels[:left])
    if gpu:
        torch.cuda.synchronize()


def loader(encoder: HuggingFaceEncoder, paths: Sequence[Path], workers: int) -> None:
    """A plain loop over a DataLoader."""
    gpu = encoder.card.device.startswith("cuda")
    files = Files(encoder.preparation, paths)
    batches = torch.utils.data.DataLoader(files, BATCH, num_workers=workers, pin_memory=gpu)
    with torch.inference_mode():
        for pixels in batches:
            there = pixels.to(encoder._model.device, non_blocking=True)
            values = there.permute(0, 3, 1, 2).to(encoder._model.dtype) / 127.5 - 1
            made = encoder._model.get_image_features(pixel_values=values)
            getattr(made, "pooler_output", made).float().cpu()


def processor(encoder: HuggingFaceEncoder, paths: Sequence[Path]) -> None:
    """The processor and the model of transformers and model, batch by batch."""
    process = CLIPImageProcessorPil()
    with torch.inference_mode():
        for batch in (paths[at : at + 32] for at in range(0, len(paths), 32)):
            pixels = process([Image.open(path) for path in batch], return_tensors="pt")
            values = pixels["pixel_values"].to(encoder._model.device, encoder._model.dtype)
            made = encoder._model.get_image_features(pixel_values=values)
            getattr(made, "pooler_output", made).float().cpu()


def one_round(
    encoder: HuggingFaceEncoder,
    items: Sequence[Item],
    folder: Path,
    readers: int | None,
    pool: ProcessPoolExecutor,
) -> dict[str, tuple[float, float]]:
    """Seconds of each way, by the clock and of processors."""
    paths = [folder / path for _, path in items]
    with tempfile.TemporaryDirectory() as cache:

        def store(name: str, readers: int | None, model: object = encoder) -> None:
            Store(Path(cache) / name, readers=readers).images(model, items, folder)  # type: ignore[arg-type]

        def decoding(least: int | None) -> tuple[float, float]:
            clock = time.perf_counter()
            busy = across(pool, partial(prepared, encoder.preparation, least), paths)
            return time.perf_counter() - clock, busy

        before, reduced = seconds(lambda: forward(encoder, len(items))), encoder.reduced()
        found = {
            "decode": decoding(None),
            "store": seconds(lambda: store("processes", readers)),
            "threads": seconds(lambda: store("threads", 0)),
            "no model": seconds(lambda: store("none", readers, Instant(encoder))),
            "loader": seconds(lambda: loader(encoder, paths, readers or usable_cores())),
            "processor": seconds(lambda: processor(encoder, paths)),
            "again": seconds(lambda: store("processes", readers)),
            "reduced": decoding(reduced.least),
            "its store": seconds(lambda: store("reduced", readers, reduced)),
        }
        after = seconds(lambda: forward(encoder, len(items)))
    return {"forward": ((before[0] + after[0]) / 2, (before[1] + after[1]) / 2), **found}


def show_reduced(encoder: HuggingFaceEncoder, paths: Sequence[Path]) -> None:
    """How near pictures decoded at a smaller scale are to those decoded in full."""
    least = encoder.reduced().least
    one, other = (
        encoder.encode_images([decode(path, least=each) for path in paths])
        for each in (None, least)
    )
    near = (one * other).sum(axis=1)
    print(f"  cosine of reduced to full decoding: {near.mean():.6f}, at least {near.min():.6f}")


def show(found: Sequence[dict[str, tuple[float, float]]], count: int) -> None:
    """A line for each way."""
    for name in found[0]:
        clock = np.array([times[name][0] for times in found])
        busy = np.median([times[name][1] for times in found])
        ceilings = {"no model": ("decode",), "its store": ("reduced", "forward")}
        of = ceilings.get(name, ("decode", "forward"))
        ceiling = np.array([max(times[each][0] for each in of) for times in found])
        ratios = np.sort(ceiling / clock)
        print(
            f"  {name:9} {count / np.median(clock):8.1f} pictures/s, {1000 * busy / count:7.2f} ms "
            f"of processors each, {np.median(ratios):.2f} of the smaller ceiling "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def main() -> None:
    """Build everything in a temporary folder, time it, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, help="processes that read; the store's choice else")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as place:
        cores, folder = usable_cores(), Path(place) / "pictures"
        folder.mkdir()
        items = [(str(i), Path(f"{i}.jpg")) for i in range(given.pictures)]
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
            files = [folder / path for _, path in items]
            list(pool.map(partial(photograph, tuple(given.size)), files, chunksize=8))
            kilobytes = sum(path.stat().st_size for path in files) / len(files) / 1000
            digesting = 1000 * across(pool, digests, files) / len(files)
            names = ("torch", "transformers", "pillow", "numpy")
            print(
                f"python {platform.python_version()},",
                ", ".join(f"{n} {version(n)}" for n in names),
            )
            print(f"{given.device}, {torch.get_num_threads()} threads, {cores} cores;", end=" ")
            print(f"{os.getloadavg()[0]:.1f} processes wanted one before")
            print(
                f"{len(items)} pictures of {given.size[0]}x{given.size[1]}, {kilobytes:.0f} kB each"
            )
            print(f"digests of a picture and its file: {digesting:.2f} ms of a processor")
            for precision in given.precision:
                encoder = load(str(checkpoint(Path(place) / "model")), given.device, precision)
                assert isinstance(encoder, HuggingFaceEncoder)
                forward(encoder, 2 * encoder.batch_size)
                one = partial(one_round, encoder, items, folder, given.workers, pool)
                print(f"{encoder.card.device}, {precision}")
                show([one() for _ in range(given.rounds)], len(items))
                show_reduced(encoder, files[:64])


if __name__ == "__main__":
    main()

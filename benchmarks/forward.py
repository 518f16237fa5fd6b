"""What makes the picture tower of a ViT-B/32 faster on a CPU, beside eager float32.

Run it with ``python benchmarks/forward.py``; ways whose package is missing are left out and named.
The model has CLIP's default configuration and random weights. All ways embed the same batch of the
encoder's size, one after the other in each round. Printed are medians over rounds of the ratio to
eager float32 of the same round, its range, the milliseconds of a picture, and the smallest cosine
to what eager float32 gives; by the clock, or with ``--processor`` by processor time, which is the
better guide on a busy machine with one thread (several that wait for each other use it up, too).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

Way = Callable[[torch.Tensor], torch.Tensor]
BATCH = 32  # that of the encoder on a CPU


class Embedding(torch.nn.Module):
    """The picture tower with one output."""

    def __init__(self, tower: torch.nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings, (n, dim)."""
        return self.tower(pixel_values=pixels).image_embeds  # type: ignore[no-any-return]


def tower(dtype: torch.dtype = torch.float32) -> Embedding:
    """A picture tower with random weights, the same each time."""
    torch.manual_seed(0)
    return (
        Embedding(CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=512)))
        .to(dtype)
        .eval()
    )


def autocast(model: Embedding, pixels: torch.Tensor) -> torch.Tensor:
    """Matrix products in bfloat16, the rest in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        return model(pixels)  # type: ignore[no-any-return]


def exported(folder: Path) -> Path:
    """The tower as an ONNX file."""
    path = folder / "tower.onnx"
    if not path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                tower(), (torch.zeros(BATCH, 3, 224, 224),), path, dynamo=False,
                input_names=["pixels"], dynamic_axes={"pixels": {0: "n"}},
            )  # fmt: skip
    return path


def onnx(folder: Path) -> Way:
    """ONNX Runtime, in float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        exported(folder), options, providers=["CPUExecutionProvider"]
    )
    return lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


def openvino(folder: Path, precision: str) -> Way:
    """OpenVINO, computing in this precision."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(str(exported(folder)), "CPU", settings)
    return lambda pixels: torch.from_numpy(compiled(pixels.numpy())[0])


def ways(folder: Path) -> Iterator[tuple[str, Callable[[], Way]]]:
    """Every way by its name, and what makes it."""
    half, last = torch.bfloat16, torch.channels_last

    def eager(dtype: torch.dtype = torch.float32, **to: Any) -> Way:
        model = tower(dtype).to(**to)
        return lambda pixels: model(pixels.to(dtype, **to)).float()

    def compiled(dtype: torch.dtype) -> Way:
        model = torch.compile(tower(dtype))
        return lambda pixels: model(pixels.to(dtype)).float()

    yield "eager, float32", eager
    yield "eager, float32, channels last", lambda: eager(memory_format=last)
    yield "torch.compile, float32", lambda: compiled(torch.float32)
    yield "ONNX Runtime, float32", lambda: onnx(folder)
    yield "OpenVINO, float32", lambda: openvino(folder, "f32")
    yield "eager, bfloat16", lambda: eager(half)
    yield "eager, bfloat16 by autocast", lambda: partial(autocast, tower())
    yield "torch.compile, bfloat16", lambda: compiled(half)
    yield "OpenVINO, bfloat16", lambda: openvino(folder, "bf16")


def seconds(way: Way, pixels: torch.Tensor, clock: Callable[[], float]) -> float:
    """How long one batch takes."""
    begun = clock()
    way(pixels)
    return clock() - begun


def made(folder: Path, without: tuple[str, ...]) -> dict[str, Way]:
    """The ways that can be had here, each tried once; ``without`` those with one of these words."""
    found: dict[str, Way] = {}
    for name, make in ways(folder):
        if any(word in name for word in without):
            continue
        begun = time.perf_counter()
        try:
            way = make()
            way(torch.zeros(BATCH, 3, 224, 224))
            found[name] = way
            print(f"  {name}: ready after {time.perf_counter() - begun:.0f} s")
        except Exception as error:  # a package, a compiler or an instruction is missing
            print(f"  {name}: left out ({type(error).__name__}: {str(error).splitlines()[0][:80]})")
    return found


def main() -> None:
    """Build everything, time it, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--without", nargs="*", default=(), help="leave out ways, as 'compile'")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock = time.process_time if given.processor else time.perf_counter
    names = [n for n in ("torch", "transformers", "onnxruntime", "openvino") if find_spec(n)]
    print(f"python {platform.python_version()},", ", ".join(f"{n} {version(n)}" for n in names))
    print(f"{given.threads} threads; {os.getloadavg()[0]:.1f} processes wanted a core before")
    pixels = torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        found = made(Path(place), tuple(given.without))
        pixels = pixels[: given.batch]
        rounds = [
            {name: seconds(way, pixels, clock) for name, way in found.items()}
            for _ in range(given.rounds)
        ]
        first = next(iter(found))
        exact = torch.nn.functional.normalize(found[first](pixels))
        for name, way in found.items():
            ratio = np.sort([times[first] / times[name] for times in rounds])
            each = 1000 * float(np.median([times[name] for times in rounds])) / len(pixels)
            cosine = (torch.nn.functional.normalize(way(pixels)) * exact).sum(1).min()
            print(
                f"  {name:30} {np.median(ratio):5.2f} x ({ratio[0]:.2f} to {ratio[-1]:.2f}), "
                f"{each:5.1f} ms a picture, cosine at least {cosine:.6f}"
            )


if __name__ == "__main__":
    main()

"""What each probe costs from stored embeddings, beside the matrix products and sorts it needs.

Run it with ``python benchmarks/probes.py [--pictures 100000] [--rounds 3]``. Embeddings are random
unit rows of 512 numbers, so nothing is downloaded and no picture is read. Each round times, side by
side, a probe's ``outcomes`` over batches of 8,192 pictures and the bare products (in the precision
that the probe uses) and sorts of the same batches; the median ratio over rounds is printed, by
processor time, with the peak memory that ``tracemalloc`` saw over that of the embeddings.
Resampling, fitting and the enumeration of pairs are apart: they are timed in ``bootstrap.py`` and
stated in the docstrings of ``audit.stats.linear`` and ``audit.stats.verification``.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from audit.data.card import Card
from audit.data.dataset import Attribute, Dataset
from audit.engine.asking import BATCH, MERGED
from audit.models.encoder import Texts
from audit.probes.kit.base import PROBES, Probe, Seen
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings

DIM = 512
#: probe, its configuration, how many columns its similarities have, and the sort it needs
ASKED: tuple[tuple[str, dict[str, object], int, str], ...] = (
    ("classification", {"label_set": "clip-paper-21", "templates": "clip-7"}, 21 * 8, "largest"),
    ("retrieval", {"label_set": "berg-29", "k": [10, 100, 1000], "target": "uniform"}, 29, "top"),
    ("association", {"label_set": "people-occupations"}, 8, "none"),
)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length, float32."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def texts() -> Texts:
    """A random direction a text, the same for the same text."""

    def encode(strings: Sequence[str]) -> np.ndarray:
        seeds = (int(hashlib.sha256(s.encode()).hexdigest()[:12], 16) for s in strings)
        return unit(np.stack([np.random.default_rng(seed).normal(size=DIM) for seed in seeds]))

    return Texts(encode, Scoring(100.0))


def world(pictures: int) -> Seen:
    """Pictures of nobody, two groups."""
    rng = np.random.default_rng(0)
    keys = tuple(f"p{i:07d}" for i in range(pictures))
    table = pd.DataFrame({"image_id": keys, "path": keys, "cluster_id": keys})
    table["gender"] = rng.choice(["female", "male"], pictures)
    card = Card(name="random", manifest="none.csv")
    known = {"gender": Attribute("gender", "generator")}
    dataset = Dataset("random", Path(), table, known, card, "")
    vectors = unit(rng.normal(size=(pictures, DIM)))
    return Seen(Embeddings(keys, vectors, "random"), texts(), dataset)


def batches(seen: Seen) -> Iterator[Seen]:
    """As a run asks."""
    for start in range(0, len(seen.images.keys), BATCH):
        yield seen.only(seen.images.keys[start : start + BATCH])


def ask(probe: Probe, parts: Sequence[Seen]) -> None:
    """All outcomes, merged as a run merges them."""
    rows: list[pd.DataFrame] = []
    for part in parts:
        rows.append(probe.outcomes(part))
        if len(rows) == MERGED:
            rows = [probe.merged(rows)]
    probe.merged(rows)


def bare(parts: Sequence[Seen], columns: int, sort: str) -> None:
    """The products and sorts alone."""
    against = unit(np.random.default_rng(1).normal(size=(columns, DIM))).astype(np.float64).T
    top = np.empty((0, columns))
    for part in parts:
        similarity = part.images.vectors.astype(np.float64) @ against
        if sort == "largest":
            similarity.argmax(axis=1)
        elif sort == "top":
            # the best of the batch, then the best of these and of all batches before, in order
            top = np.vstack([top, best(similarity)])
            top = np.sort(best(top), axis=0)


def best(similarity: np.ndarray, kept: int = 2050) -> np.ndarray:
    """The largest values of every column, in any order."""
    if len(similarity) <= kept:
        return similarity
    chosen = np.argpartition(-similarity, kept, axis=0)[:kept]
    return np.take_along_axis(similarity, chosen, axis=0)


def took(work: Callable[[], None]) -> float:
    """Processor seconds."""
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    """Time every probe that maps batches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    seen = world(given.pictures)
    parts = list(batches(seen))
    print(f"{given.pictures:,} pictures, {DIM} numbers each; Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "scipy")))
    for kind, fields, columns, sort in ASKED:
        probe = PROBES[kind](kind=kind, **fields)
        probe.resolve(seen.dataset)
        spent = [
            (took(partial(ask, probe, parts)), took(partial(bare, parts, columns, sort)))
            for _ in range(given.rounds)
        ]
        tracemalloc.start()
        ask(probe, parts)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        ratio = statistics.median(one / other for one, other in spent)
        one, other = (statistics.median(side) for side in zip(*spent, strict=True))
        print(
            f"{kind:15} {one:6.2f} s, products and sorts {other:6.2f} s: {ratio:4.1f} times; "
            f"peak {peak / 1e6:,.0f} MB"
        )


if __name__ == "__main__":
    main()

"""Pictures encoded batch by batch, while threads load and preprocess the next ones."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from PIL.Image import Image

from audit.models.encoder import Encoder, Rows, StagedEncoder, require_rows

T = TypeVar("T")

#: pictures that are held before they are handed on
FLUSH_PICTURES = 512


@dataclass(frozen=True)
class Encoded(Generic[T]):
    """One batch: ``rows[i]`` belongs to ``items[i]``; ``seen`` counts all that were looked at."""

    seen: int
    items: list[T]
    rows: Rows


def encode_stream(
    encoder: Encoder,
    load: Callable[[T], Image | None],
    items: Iterable[T],
    workers: int | None = None,
    failed: Callable[[T, Exception], None] | None = None,
    still: Callable[[T], bool] = lambda item: True,
) -> Iterator[Encoded[T]]:
    """Encode pictures batch by batch, while threads load and preprocess the next ones.

    ``load`` runs in the threads; None means that there is nothing to encode for an item. Whatever
    it or the preprocessing raises is given to ``failed``, and there is nothing to encode for the
    item; without ``failed`` it ends the stream. An exception that the preprocessing gives back
    ends it too, after what came before was encoded. ``still`` is asked just before encoding, in the
    caller's thread, whether an item has to be. At most about two batches are held in memory,
    however many items there are. The encoder is never called without pictures.
    """
    staged = encoder if isinstance(encoder, StagedEncoder) else None
    encode: Callable[[Sequence[Any]], Rows]
    encode = encoder.encode_images if staged is None else staged.encode_pixels

    def size() -> int:
        return 8 if staged is None else staged.batch_size

    def prepare(item: T) -> Any:
        try:
            image = load(item)
            return image if image is None or staged is None else staged.preprocess(image)
        except Exception as error:  # a picture's own trouble is no reason to lose the others
            if failed is None:
                raise
            failed(item, error)
            return None

    def encoded(seen: int, ready: Sequence[tuple[T, Any]]) -> Encoded[T]:
        kept = [(item, pixels) for item, pixels in ready if still(item)]
        made = encode([p for _, p in kept]) if kept else np.empty((0, encoder.card.dim))
        rows = require_rows(made, len(kept), encoder.card, "pictures")
        return Encoded(seen, [item for item, _ in kept], rows)

    ready: list[tuple[T, Any]] = []
    seen = since = 0
    with ThreadPoolExecutor(workers or _workers()) as pool:
        for item, pixels in _ahead(pool, prepare, items, lambda: 2 * size()):
            seen, since = seen + 1, since + 1
            if isinstance(pixels, Exception):
                yield encoded(seen, ready)
                raise pixels
            if pixels is not None:
                ready.append((item, pixels))
            if len(ready) >= size() or since >= max(FLUSH_PICTURES, 2 * size()):
                yield encoded(seen, ready)
                since, ready = 0, []
        yield encoded(seen, ready)


def _workers() -> int:
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[T], Any],
    items: Iterable[T],
    window: Callable[[], int],
) -> Iterator[tuple[T, Any]]:
    """Results in the order of items, with at most ``window()`` of them under way or waiting."""
    waiting: deque[tuple[T, Future[Any]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            while len(waiting) > window():
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()

"""Pictures encoded batch by batch, while threads load and preprocess the next ones."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from PIL.Image import Image

from audit.models.encoder import Encoder, LaunchingEncoder, Rows, StagedEncoder, require_rows
from audit.store.processes import usable_cores

T = TypeVar("T")
R = TypeVar("R")

#: pictures that are held before they are handed on
FLUSH_PICTURES = 512
#: pictures that are prepared at a time where that is asked of somebody else
CHUNK = 32


@dataclass(frozen=True)
class Encoded(Generic[T]):
    """One batch: ``rows[i]`` belongs to ``items[i]``; ``seen`` counts all that were looked at."""

    seen: int
    items: list[T]
    finish: Callable[[], Rows]

    @cached_property
    def rows(self) -> Rows:
        """Rows of the batch; the model may still be at it, and is waited for."""
        return self.finish()


def encode_stream(
    encoder: Encoder,
    load: Callable[[T], Image | None],
    items: Iterable[T],
    workers: int | None = None,
    failed: Callable[[T, Exception], None] | None = None,
    still: Callable[[T], bool] = lambda item: True,
) -> Generator[Encoded[T], None, None]:
    """Encode pictures batch by batch, while threads load and preprocess the next ones.

    ``load`` runs in the threads; None means that there is nothing to encode for an item. Whatever
    it or the preprocessing raises is given to ``failed``, and there is nothing to encode for the
    item; without ``failed`` it ends the stream. An exception that the preprocessing gives back
    ends it too, after what came before was encoded. ``still`` is asked just before encoding, in the
    caller's thread, whether an item has to be. At most about two batches are held in memory,
    however many items there are. The encoder is never called without pictures.
    """
    staged = encoder if isinstance(encoder, StagedEncoder) else None

    def prepare(item: T) -> Any:
        try:
            image = load(item)
            return image if image is None or staged is None else staged.preprocess(image)
        except Exception as error:  # a picture's own trouble is no reason to lose the others
            if failed is None:
                raise
            failed(item, error)
            return None

    with (
        ThreadPoolExecutor(workers or min(8, usable_cores())) as pool,
        contextlib.closing(_ahead(pool, prepare, items, lambda: 2 * _size(encoder))) as ready,
    ):
        yield from _encode(encoder, ready, still)


def encode_chunks(
    encoder: Encoder,
    prepare: Callable[[Sequence[T]], Sequence[Any]],
    items: Sequence[T],
    workers: int,
    still: Callable[[T], bool],
    release: Callable[[], None],
) -> Generator[Encoded[T], None, None]:
    """As ``encode_stream``, where several items are prepared at a time by somebody else.

    ``prepare`` is called from ``workers`` threads with at most ``CHUNK`` items, and gives for each
    what the encoder takes, or None. ``release`` is called on the way out, whatever the way: who is
    asked need not finish what nobody wants any more.
    """

    def flat(chunks: Iterator[tuple[Sequence[T], Sequence[Any]]]) -> Iterator[tuple[T, Any]]:
        for chunk, prepared in chunks:
            yield from zip(chunk, prepared, strict=True)

    def window() -> int:
        return max(2 * workers, 2 * _size(encoder) // CHUNK)

    chunks = [items[at : at + CHUNK] for at in range(0, len(items), CHUNK)]
    with (
        ThreadPoolExecutor(workers) as pool,
        contextlib.closing(_ahead(pool, prepare, chunks, window)) as ready,
        contextlib.ExitStack() as first,
    ):
        first.callback(release)
        yield from _encode(encoder, flat(ready), still)


def _size(encoder: Encoder) -> int:
    return encoder.batch_size if isinstance(encoder, StagedEncoder) else 8


def _encode(
    encoder: Encoder, prepared: Iterable[tuple[T, Any]], still: Callable[[T], bool]
) -> Iterator[Encoded[T]]:
    """Batches of what was prepared: what the encoder takes, None, or an exception to end with."""

    def encoded(seen: int, ready: Sequence[tuple[T, Any]]) -> Encoded[T]:
        kept = [(item, pixels) for item, pixels in ready if still(item)]
        begun = _begin(encoder, [pixels for _, pixels in kept])
        return Encoded(seen, [item for item, _ in kept], begun)

    ready: list[tuple[T, Any]] = []
    seen = since = 0
    for item, pixels in prepared:
        seen, since = seen + 1, since + 1
        if isinstance(pixels, Exception):
            yield encoded(seen, ready)
            raise pixels
        if pixels is not None:
            ready.append((item, pixels))
        if len(ready) >= _size(encoder) or since >= max(FLUSH_PICTURES, 2 * _size(encoder)):
            yield encoded(seen, ready)
            since, ready = 0, []
    yield encoded(seen, ready)


def _begin(encoder: Encoder, pixels: Sequence[Any]) -> Callable[[], Rows]:
    """Have the model embed a batch; what is returned gives the rows, once they are there."""

    def checked(rows: Rows) -> Rows:
        return require_rows(rows, len(pixels), encoder.card, "pictures")

    if pixels and isinstance(encoder, LaunchingEncoder):
        launched = encoder.launch(pixels)
        return lambda: checked(launched())
    if not pixels:
        made = np.empty((0, encoder.card.dim), dtype=np.float32)
    elif isinstance(encoder, StagedEncoder):
        made = encoder.encode_pixels(pixels)
    else:
        made = encoder.encode_images(pixels)
    rows = checked(made)
    return lambda: rows


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[T], R],
    items: Iterable[T],
    window: Callable[[], int],
) -> Generator[tuple[T, R], None, None]:
    """Results in the order of items, with at most ``window()`` of them under way or waiting."""
    waiting: deque[tuple[T, Future[R]]] = deque()
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

"""Batches by step number: pictures decoded and varied, captions written and split into tokens.

Everything random derives from the seed and the step, so that a batch is the same whoever makes it:
this process, a worker ahead of the step, or one of several processes that share the batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from audit.core.errors import InputError, sentence
from audit.data.images import decode
from audit.models.encoder import Pixels, Tokens
from audit.models.preprocessing import Pictures
from audit.training.config import Augmentation, TrainConfig
from audit.training.feeds.sources import Pairs

HELD = 1 << 30  # bytes of prepared pictures that are kept in memory
TRIES = 100  # pairs that are tried in place of a broken one
AHEAD = 4  # batches that each worker makes ahead of the step


class Broken(NamedTuple):
    """A pair that can't be used, and why, in a sentence."""

    pair: int
    picture: str
    reason: str


class Batch(NamedTuple):
    """Pixels, uint8, (b, h, w, 3); token ids, (k b, length), all first captions first."""

    pixels: torch.Tensor
    tokens: torch.Tensor
    broken: tuple[Broken, ...] = ()


class Share(NamedTuple):
    """Which part of each batch is this process's."""

    rank: int = 0
    world: int = 1


ALONE = Share()


class _Pair(NamedTuple):
    pixels: Pixels
    tokens: list[list[int]]


@dataclass
class Feed(Dataset[Batch]):
    """Pairs, and how they become batches; ``held`` are prepared pictures, None of a broken one."""

    config: TrainConfig
    pairs: Pairs
    prepare: Pictures
    words: Tokens
    share: Share = ALONE
    held: list[Pixels | InputError] | None = None
    _order: tuple[int, np.ndarray] = field(default=(-1, np.empty(0, np.int64)))

    def __post_init__(self) -> None:
        """Refuse fewer pairs than a batch; keep prepared pictures where they are few."""
        count, batch = len(self.pairs), self.config.batch
        if count < batch:
            told = f"{self.config.feed.path}: {count} training pictures, fewer than one batch of"
            raise InputError(f"{told} {batch}", "Give more pictures or a smaller 'batch'")
        if batch % self.share.world or batch // self.share.world % self.config.pieces:
            told = f"batch {batch} does not divide among {self.share.world} processes"
            raise InputError(sentence(f"{told} and {self.config.pieces} pieces each"))
        if self.held is None and count * 3 * self.prepare.side**2 <= HELD:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                self.held = list(threads.map(self._seen_or_not, range(count)))

    def batch(self, step: int) -> Batch:
        """This process's part of the batch of a step.

        Raises:
            InputError: hardly any pair can be used.
        """
        per_epoch = max(1, len(self.pairs) // self.config.batch)
        epoch, place = divmod(step, per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.config.seed, 1, epoch))
            self._order = epoch, self.pairs.order(rng)
        part = self.config.batch // self.share.world
        first = self.share.rank * part
        at = place * self.config.batch + first
        broken: list[Broken] = []
        chosen = [
            self._usable(int(i), epoch, (step, first + k), broken)
            for k, i in enumerate(self._order[1][at : at + part])
        ]
        pictures = torch.from_numpy(np.stack([pair.pixels for pair in chosen]))
        how = Variation.drawn(self.config, step)
        varied = how.of(slice(first, first + part)).apply(pictures)
        rows = [pair.tokens[k] for k in range(self.config.captions) for pair in chosen]
        return Batch(varied.round().to(torch.uint8), padded(rows), tuple(broken))

    def __getitem__(self, step: int) -> Batch:
        return self.batch(step)

    def ahead(self, steps: range, workers: int | None = None) -> Iterator[Batch]:
        """The batches of steps, made by worker processes ahead of their turn."""
        if workers is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
            workers = min(8, max(1, cores // self.share.world - 1))
        if not workers:
            return (self.batch(step) for step in steps)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        loader = DataLoader(
            self, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=AHEAD,
            pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        return iter(loader)

    def _usable(self, i: int, epoch: int, at: tuple[int, int], broken: list[Broken]) -> _Pair:
        """A pair, or another in its place, drawn from the seed, if it is broken."""
        rng = np.random.default_rng((self.config.seed, 3, *at))
        for _ in range(TRIES):
            try:
                return _Pair(self._picture(i), self._tokens(i, epoch))
            except InputError as error:
                broken.append(Broken(i, self.pairs.picture(i).name, str(error)))
                i = int(rng.integers(len(self.pairs)))
        told = f"{self.config.feed.path}: {TRIES} pairs in a row can't be used, the last because"
        raise InputError(f"{told} {broken[-1].reason}", "Mend the pictures or captions")

    def _picture(self, i: int) -> Pixels:
        seen = self._seen_or_not(i) if self.held is None else self.held[i]
        if isinstance(seen, InputError):
            raise seen
        return seen

    def _seen_or_not(self, i: int) -> Pixels | InputError:
        try:
            return self.prepare(decode(self.pairs.picture(i)))
        except InputError as error:
            return error

    def _tokens(self, i: int, epoch: int) -> list[list[int]]:
        """Token ids of its captions; one that is too long for the text tower breaks the pair."""
        return self.words.ids(self.pairs.captions(i, epoch, self.config.captions))


def padded(rows: Sequence[list[int]]) -> torch.Tensor:
    """Rows of token ids as (n, length); the end is repeated, of which the first is read."""
    length = max(map(len, rows))
    return torch.tensor([row + row[-1:] * (length - len(row)) for row in rows])


@dataclass(frozen=True)
class Variation:
    """How each picture of a batch is varied: places, (n, side), that are seen; light, (n, 1, 1, 1).

    Edges are repeated outwards.
    """

    how: Augmentation
    zoom: torch.Tensor
    shift: torch.Tensor
    flip: torch.Tensor
    light: torch.Tensor

    @classmethod
    def drawn(cls, config: TrainConfig, step: int) -> Variation:
        """Of the whole batch of a step, so that every process draws the same."""
        seed = seed_of(config.seed, 2, step)
        rng = torch.Generator().manual_seed(seed)
        return cls.by(config.augmentation, config.batch, rng)

    @classmethod
    def by(cls, how: Augmentation, number: int, rng: torch.Generator) -> Variation:
        """Of so many pictures."""

        def between(reach: float, *shape: int) -> torch.Tensor:
            return (torch.rand((number, *shape), generator=rng) * 2 - 1) * reach

        zoom, shift = 1 + between(how.zoom, 1), between(how.shift, 2)
        flip = torch.rand(number, generator=rng) < how.flip
        return cls(how, zoom, shift, flip, 1 + between(how.brightness, 1, 1, 1))

    def of(self, some: slice) -> Variation:
        """Of some of the pictures."""
        return Variation(
            self.how, self.zoom[some], self.shift[some], self.flip[some], self.light[some]
        )

    def apply(self, pictures: torch.Tensor) -> torch.Tensor:
        """Varied copies of uint8 pictures, (n, h, w, 3), as float32 from 0 to 255."""
        side = pictures.shape[1]
        middle = (side - 1) / 2
        grid = (torch.arange(side) - middle) * self.zoom + middle
        y, x = (
            (grid + side * self.shift[:, axis : axis + 1]).round().clamp(0, side - 1).long()
            for axis in (0, 1)
        )
        x = torch.where(self.flip[:, None], side - 1 - x, x)
        rows = torch.arange(len(pictures))
        varied = pictures[rows[:, None, None], y[:, :, None], x[:, None, :]].float()
        return varied.mul_(self.light).clamp_(0, 255)


def seed_of(*parts: int) -> int:
    """One seed from several numbers, unlike for unlike ones."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))

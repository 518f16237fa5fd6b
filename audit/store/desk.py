"""Pictures on their way into the store: looked at, encoded, written, so that none is lost.

They are opened in threads or in other processes, encoded by whoever asks for the next batch, and
written in a thread beside, so that the model need not wait for the disk.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from audit.models.encoder import Encoder, Pixels, PreparedEncoder
from audit.store import stream
from audit.store.processes import started
from audit.store.remembered import Remembered
from audit.store.shelf import Shelf, picture_key
from audit.store.stream import Encoded
from audit.store.turns import Turn
from audit.store.uses import Uses

if TYPE_CHECKING:
    from audit.store.embeddings import Read, Reader

FLUSH_SECONDS = 5.0
#: the note on whatever ended the encoding of pictures
KEPT = "what was encoded is kept"


@dataclass(frozen=True)
class Quarantined:
    """A picture that could not be used: ``reason`` in a word to count by, ``detail`` in full."""

    image_id: str
    path: Path
    reason: str
    detail: str


@dataclass
class Look:
    """One picture on its way: what is known of it so far."""

    image_id: str
    path: Path
    place: bytes = b""  # what its file is remembered by
    file: bytes = b""  # digest of its bytes
    pixels: str = ""  # digest of its decoded pixels, in hex
    key: bytes = b""
    problem: Quarantined | None = None


@dataclass
class Desk:
    """Looks at pictures in worker threads; collects in the main one, and writes in another."""

    shelf: Shelf
    decoded: Shelf
    remembered: Remembered
    uses: Uses
    turn: Turn
    reader: Reader
    _batches: list[Encoded[Look]] = field(default_factory=list)
    _flushed: float = field(default_factory=time.monotonic)
    _writer: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1))
    _writing: tuple[int, Future[None]] | None = None  # of so many batches

    def failed(self, look: Look, error: Exception) -> None:
        """Set a picture aside that can't be decoded, altered or preprocessed."""
        look.problem = Quarantined(look.image_id, look.path, *self.reader.problem(look.path, error))

    def known(self, look: Look) -> bool:
        """Whether a picture is stored whose file is as it was when it was read."""
        look.place = self.remembered.key(look.path)
        if pixels := self.remembered.pixels(look.place):
            key = picture_key(pixels, self.reader.altered)
            if key in self.shelf:
                look.pixels, look.key = pixels, key
        return bool(look.key)

    @contextlib.contextmanager
    def encoding(
        self, encoder: Encoder, looks: Sequence[Look], readers: int
    ) -> Iterator[Iterator[Encoded[Look]]]:
        """Pictures that are not stored, encoded in batches, by so many processes if they can."""
        said = encoder.preparation if isinstance(encoder, PreparedEncoder) else None
        prepare = said if callable(said) else None
        work = replace(self.reader, prepare=prepare)
        with started(readers if prepare else 0, work) as there:
            if there is None:
                batches = stream.encode_stream(
                    encoder, self.look, looks, failed=self.failed, still=self.missing
                )
            else:
                ask = partial(self.look_at, there.ask)
                batches = stream.encode_chunks(
                    encoder, ask, looks, len(there), self.missing, there.end
                )
            with contextlib.closing(batches):
                yield batches

    def look(self, look: Look) -> Image | None:
        """The picture if it must be encoded; None if its embedding is there."""
        if self._stored(look, self.reader.file_digest(look.path)):
            return None
        pixels, image = self.reader.picture(look.image_id, look.path, look.pixels)
        self._seen(look, pixels)
        return None if look.key in self.shelf else image

    def look_at(self, ask: Callable[..., Any], looks: Sequence[Look]) -> list[Pixels | None]:
        """The same of several, opened and prepared by a process that is asked."""
        files: list[bytes] = ask("file_digests", [look.path for look in looks])
        stored = [self._stored(look, file) for look, file in zip(looks, files, strict=True)]
        new = [look for look, there in zip(looks, stored, strict=True) if not there]
        asked = [(look.image_id, look.path, look.pixels) for look in new]
        prepared: dict[int, Pixels | None] = {}
        found: list[Read] = ask("read", asked) if asked else []
        for look, read in zip(new, found, strict=True):
            if read.problem is not None:
                look.problem = Quarantined(look.image_id, look.path, *read.problem)
            else:
                self._seen(look, read.pixels)
                prepared[id(look)] = read.prepared
        return [prepared.get(id(look)) for look in looks]

    def _stored(self, look: Look, file: bytes) -> bool:
        """Whether a picture's embedding is there, as far as its file tells."""
        look.file = file
        if known := self.decoded.get(file) if file else None:
            self._seen(look, known.hex())
        return look.key in self.shelf

    def _seen(self, look: Look, pixels: str) -> None:
        look.pixels, look.key = pixels, picture_key(pixels, self.reader.altered)

    def missing(self, look: Look) -> bool:
        """Whether nobody else has encoded a picture meanwhile; waits for one who is at it."""
        if self.turn.take():
            self.shelf.refresh()
        return look.key not in self.shelf

    def put(self, batch: Encoded[Look]) -> None:
        """Take a batch in; have what has gathered written every few hundred pictures or seconds."""
        self._batches.append(batch)
        gathered = self._batches[self._writing[0] if self._writing else 0 :]
        fresh = [look for each in gathered for look in each.items]
        late = time.monotonic() - self._flushed > FLUSH_SECONDS
        if fresh and (late or len(fresh) >= stream.FLUSH_PICTURES):
            self._written()  # of two batches the model is at one while the other is written
            self._writing = len(gathered), self._writer.submit(self._write, fresh, gathered)
            self._flushed = time.monotonic()

    def _written(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            count, done = self._writing
            done.result()
            self._batches, self._writing = self._batches[count:], None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Within, whatever ends the work, the pictures that were encoded are written first."""
        try:
            yield
        except BaseException as end:
            with contextlib.suppress(Exception):
                self._keep()
                end.add_note(KEPT)
            raise
        finally:
            self._writer.shutdown()

    def _keep(self) -> None:
        """Write what was encoded: all batches before one that failed."""
        with contextlib.suppress(Exception):  # a disk that is full is so the second time, too
            self._written()
        there = list(takewhile(_is_encoded, self._batches))
        self._write([look for batch in there for look in batch.items], there)

    def flush(self, looks: Sequence[Look]) -> None:
        """Write what is left, and whose pictures all ``looks`` are."""
        self._written()
        self._write(looks, self._batches)

    def _write(self, looks: Sequence[Look], batches: Sequence[Encoded[Look]]) -> None:
        """Write: whose pictures ``looks`` are first, so that what is kept can be purged."""
        good = [look for look in looks if look.problem is None]
        fresh = [look for batch in batches for look in batch.items]
        rows = [batch.rows for batch in batches]
        self.uses.add([(look.image_id, look.pixels, self.reader.altered) for look in good])
        if fresh:
            self.shelf.put([look.key for look in fresh], np.concatenate(rows))
        new = [look for look in good if look.file and look.file not in self.decoded]
        if new:
            pixels = b"".join(bytes.fromhex(look.pixels) for look in new)
            self.decoded.put([look.file for look in new], np.frombuffer(pixels, np.uint8))
        self.remembered.add((look.place, look.pixels) for look in good)
        self.turn.alive()


def _is_encoded(batch: Encoded[Look]) -> bool:
    with contextlib.suppress(Exception):  # the model's own trouble
        return len(batch.rows) == len(batch.items)
    return False

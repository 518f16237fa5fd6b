"""The store of embeddings: content-addressed, sharded, resumable, readable by its owner only.

    ROOT/embeddings/FINGERPRINT/images/*.shard   key: digest of the decoded picture (+ alteration)
    ROOT/embeddings/FINGERPRINT/texts/*.shard    key: digest of the exact prompt
    ROOT/embeddings/decoded/*.shard              digest of a file's bytes -> digest of its pixels
    ROOT/embeddings/files/*.shard                digest of path, size and time -> the same
    ROOT/embeddings/datasets/DIGEST/*.uses       which dataset and subject a picture belongs to

A shard is written once, under a name nobody else uses, and moved into place; so several processes
may fill one store; one that is told to end loses nothing, and a killed one at most what it did in
the last few seconds. Of those that want the same dataset by the same model, one encodes and the
others wait (``audit.store.turns``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import PIL
from PIL.Image import Image

from audit.core.errors import AuditError, InputError, sentence
from audit.data import intact
from audit.data.images import MAX_PIXELS, Reason, Unreadable, decode, inside, pixel_digest
from audit.data.packed import container, opened, region
from audit.models.encoder import (
    FINGERPRINT,
    Encoder,
    EncoderCard,
    Recorded,
    Rows,
    Texts,
    default_cache,
    require_fingerprint,
    require_rows,
)
from audit.store.remembered import Remembered
from audit.store.shelf import (
    KEY,
    Shelf,
    picture_key,
    private,
    text_digest,
    write,
)
from audit.store.stream import FLUSH_PICTURES, Encoded, encode_stream
from audit.store.turns import Turn
from audit.store.uses import Use, Uses, subject_digest

Progress = Callable[[int, int], None]

FLUSH_SECONDS = 5.0
#: the note on whatever ended the encoding of pictures
KEPT = "what was encoded is kept"


@dataclass(frozen=True)
class Embeddings:
    """Pictures as rows of unit length: ``vectors[i]``, float32, belongs to image id ``keys[i]``.

    ``pixels`` are digests of what was encoded, equal where pictures are; empty if it isn't known.
    """

    keys: tuple[str, ...]
    vectors: Rows
    fingerprint: str
    pixels: tuple[bytes, ...] = ()

    def only(self, keys: Iterable[str]) -> Embeddings:
        """Some of the pictures, in this order; those that are missing here are left out."""
        place = {key: i for i, key in enumerate(self.keys)}
        kept = [key for key in keys if key in place]
        if tuple(kept) == self.keys:
            return self
        at = [place[key] for key in kept]
        pixels = tuple(self.pixels[i] for i in at) if self.pixels else ()
        return replace(self, keys=tuple(kept), vectors=self.vectors[at], pixels=pixels)


@dataclass(frozen=True)
class Quarantined:
    """A picture that could not be used: ``reason`` in a word to count by, ``detail`` in full."""

    image_id: str
    path: Path
    reason: str
    detail: str


class Alteration(Protocol):
    """Something done to a picture before it is encoded."""

    @property
    def name(self) -> str:
        """What is done, with every setting: the same name must always mean the same pixels."""

    def __call__(self, image: Image) -> Image:
        """The altered picture."""


class Store:
    """All embeddings under one cache folder."""

    def __init__(self, root: Path | None = None, *, verify: bool = False) -> None:
        """``root`` is the cache folder; without it ``$CLIP_AUDIT_CACHE``, or ``./cache``.

        With ``verify`` every file is read again, whatever its size and time.
        """
        self._verify = verify
        self.root = Path(root) if root is not None else default_cache()
        self.folder = self.root / "embeddings"
        self._shelves: dict[Path, Shelf] = {}

    def images(
        self,
        encoder: Encoder,
        items: Sequence[tuple[str, Path]],
        root: Path | None = None,
        *,
        progress: Progress | None = None,
        waiting: Callable[[str], None] = lambda said: None,
        alteration: Alteration | None = None,
        dataset: str = "",
        clusters: Mapping[str, str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> tuple[Embeddings, list[Quarantined]]:
        """Embeddings of pictures, encoding only those never seen by this model.

        Args:
            encoder: who is asked.
            items: image id and path of each picture; paths are relative to ``root`` if given and
                must stay inside it.
            root: the dataset's folder.
            progress: called with (done, total) every batch.
            waiting: told in words when another process is encoding these pictures; what it has
                done is used once it has finished, been killed, or stood still.
            alteration: applied to each decoded picture.
            dataset: name under which these pictures can be purged.
            clusters: subject (or whatever repeats) of each image id, to purge by.
            max_pixels: pictures larger than this are quarantined.

        Returns:
            Embeddings in the order of ``items`` without the quarantined, and the quarantined.

        Raises:
            InputError: the cache folder can't be written or is full.
        """
        if isinstance(encoder, Recorded):
            return _records(encoder, items)
        self.open()
        shelf = self._shelf(encoder.card)
        uses = Uses(self.folder / "datasets", dataset, clusters or {})
        looks = [_Look(image_id, Path(path)) for image_id, path in items]
        lock = shelf.folder.parent / f".{text_digest(dataset)[:32]}.lock"
        with Turn(lock, waiting) as turn:
            files = None if self._verify else self._open_shelf(self.folder / "files", KEY)
            remembered = Remembered(files, root, _how(max_pixels))
            desk = _Desk(
                shelf, self._decoded(), remembered, uses, turn, root, alteration, max_pixels
            )
            new = [look for look in looks if not desk.known(look)]
            stream = encode_stream(encoder, desk.look, new, failed=desk.failed, still=desk.missing)
            with desk.kept_on_the_way_out():
                for batch in stream:
                    desk.put(batch)
                    if progress is not None:
                        progress(len(looks) - len(new) + batch.seen, len(looks))
            desk.flush(looks)
        good = [look for look in looks if look.problem is None]
        pixels = tuple(look.key for look in good)
        vectors = shelf.rows(pixels).view(np.float32)
        ids = tuple(look.image_id for look in good)
        kept = Embeddings(ids, vectors, encoder.card.fingerprint, pixels)
        return kept, [look.problem for look in looks if look.problem is not None]

    def texts(self, encoder: Encoder, strings: Sequence[str]) -> Rows:
        """Embeddings of exact texts, float32, shape (n, dim), in order; encodes only new ones."""
        self.open()
        shelf = self._shelf(encoder.card, "texts")
        keys = [hashlib.sha256(text.encode()).digest() for text in strings]
        new = {key: text for key, text in zip(keys, strings, strict=True) if key not in shelf}
        fresh = list(new)
        for start in range(0, len(fresh), FLUSH_PICTURES):
            part = fresh[start : start + FLUSH_PICTURES]
            made = encoder.encode_texts([new[key] for key in part])
            shelf.put(part, require_rows(made, len(part), encoder.card, "texts"))
        return shelf.rows(keys).view(np.float32)

    def text_side(self, encoder: Encoder) -> Texts:
        """The text side of a model, whose prompts are each asked of the store or the model once."""
        known: dict[str, Rows] = {}

        def encode(strings: Sequence[str]) -> Rows:
            if new := [s for s in dict.fromkeys(strings) if s not in known]:
                known.update(zip(new, self.texts(encoder, new), strict=True))
            return np.stack([known[s] for s in strings])

        return Texts(encode, encoder.card.scoring, encoder.card.gives)

    def purge(
        self,
        *,
        keys: Iterable[str] = (),
        dataset: str | None = None,
        cluster_ids: Iterable[str] | None = None,
        image_ids: Iterable[str] | None = None,
    ) -> int:
        """Remove embeddings of pictures from every model's folder and forget their files.

        Pictures are named by ``keys`` (hex digests as ``pixel_digest`` gives them), or by the
        ``dataset`` they were encoded for, or by some of its ``cluster_ids`` and ``image_ids`` only.
        Embeddings that another dataset shares go too; they are made again when asked for. Nothing
        else may be filling the store meanwhile. Returns how many embeddings were removed.
        """
        gone = {bytes.fromhex(key) for key in keys}
        pixels = set(gone)
        for use in self._forget(dataset, cluster_ids, image_ids) if dataset is not None else ():
            gone.add(use.key)
            pixels.add(bytes.fromhex(use.pixels))
        removed = 0
        for folder in self.folder.glob("*/images"):
            shelf = Shelf(folder, None)
            removed += shelf.discard(lambda keys, rows: [key.tobytes() in gone for key in keys])
        for shelf in (self._decoded(), self._open_shelf(self.folder / "files", KEY)):
            shelf.discard(lambda keys, rows: [row.tobytes() in pixels for row in rows])
        return removed

    def purge_fingerprint(self, fingerprint: str) -> bool:
        """Remove everything kept for one model; False if there was nothing."""
        if not FINGERPRINT.fullmatch(fingerprint):
            raise InputError(f"'{fingerprint}' is not a fingerprint: 64 hexadecimal digits.")
        folder = self.folder / fingerprint
        self._shelves = {k: v for k, v in self._shelves.items() if folder not in k.parents}
        if not folder.is_dir():
            return False
        shutil.rmtree(folder)
        return True

    def known(self, dataset: str) -> frozenset[str]:
        """Digests of the subjects of whom pictures were encoded for a data set; empty if none."""
        return frozenset(Uses(self.folder / "datasets", dataset, {}).clusters)

    def _forget(
        self,
        dataset: str,
        cluster_ids: Iterable[str] | None,
        image_ids: Iterable[str] | None,
    ) -> list[Use]:
        uses = Uses(self.folder / "datasets", dataset, {})
        if cluster_ids is None and image_ids is None:
            return uses.forget(lambda use: True)
        subjects, pictures = {*map(subject_digest, cluster_ids or ())}, {*(image_ids or ())}
        return uses.forget(lambda use: use.cluster in subjects or use.image_id in pictures)

    def open(self) -> None:
        """Make the folders, private and out of git's sight; fail now rather than after an hour.

        Raises:
            InputError: they can't be written.
        """
        new = not self.root.exists()
        private(self.folder)
        for folder in [self.folder, *([self.root] if new else [])]:
            if not (folder / ".gitignore").exists():
                write(folder / ".gitignore", b"*\n")

    def _shelf(self, card: EncoderCard, kind: str = "images") -> Shelf:
        require_fingerprint(card)
        folder = self.folder / card.fingerprint / kind
        private(folder)
        described = folder.parent / "card.json"
        if not described.exists():
            write(described, json.dumps(asdict(card), indent=1).encode())
        return self._open_shelf(folder, 4 * card.dim)

    def _decoded(self) -> Shelf:
        return self._open_shelf(self.folder / "decoded", KEY)

    def _open_shelf(self, folder: Path, width: int | None) -> Shelf:
        shelf = self._shelves.setdefault(folder, Shelf(folder, width))
        shelf.refresh()
        return shelf


def _records(
    encoder: Recorded, items: Sequence[tuple[str, Path]]
) -> tuple[Embeddings, list[Quarantined]]:
    """What a recorded model holds of these pictures; they are not opened."""
    rows, missing = encoder.recorded([image_id for image_id, _ in items])
    kept = tuple(image_id for image_id, _ in items if image_id not in missing)
    lost = [
        Quarantined(image_id, path, "not recorded", missing[image_id])
        for image_id, path in items
        if image_id in missing
    ]
    # equal vectors are most likely of one picture; equal scores say nothing
    same = encoder.card.gives == "embeddings"
    pixels = tuple(hashlib.sha256(row.tobytes()).digest() for row in rows) if same else ()
    return Embeddings(kept, rows, encoder.card.fingerprint, pixels), lost


def _how(max_pixels: int) -> str:
    """What decides which pixels a file gives, and whether it gives any."""
    return f"pillow {PIL.__version__}, {max_pixels}, checks {intact.VERSION}"


# --- looking at one picture -----------------------------------------------------------------------


@dataclass
class _Look:
    """One picture on its way: what is known of it so far."""

    image_id: str
    path: Path
    place: bytes = b""  # what its file is remembered by
    file: bytes = b""  # digest of its bytes, where not yet remembered
    pixels: str = ""  # digest of its decoded pixels, in hex
    key: bytes = b""
    problem: Quarantined | None = None


@dataclass
class _Desk:
    """Looks at pictures in worker threads; collects and flushes in the main one."""

    shelf: Shelf
    decoded: Shelf
    remembered: Remembered
    uses: Uses
    turn: Turn
    root: Path | None
    alteration: Alteration | None
    max_pixels: int
    _batches: list[Encoded[_Look]] = field(default_factory=list)
    _flushed: float = field(default_factory=time.monotonic)

    def failed(self, look: _Look, error: Exception) -> None:
        """Set a picture aside that can't be decoded, altered or preprocessed."""
        reason: Reason = "too large" if isinstance(error, MemoryError) else "not prepared"
        if isinstance(error, Unreadable):
            reason, detail = error.reason, str(error)
        else:
            advice = "Replace the file or take its row out of the manifest."
            detail = sentence(f"{look.path}: {reason}: {error or type(error).__name__}", advice)
        look.problem = Quarantined(look.image_id, look.path, reason, detail)

    def known(self, look: _Look) -> bool:
        """Whether a picture is stored whose file is as it was when it was read."""
        look.place = self.remembered.key(look.path)
        if pixels := self.remembered.pixels(look.place):
            key = picture_key(pixels, self.alteration.name if self.alteration else "")
            if key in self.shelf:
                look.pixels, look.key = pixels, key
        return bool(look.key)

    def look(self, look: _Look) -> Image | None:
        """The picture if it must be encoded; None if its embedding is there."""
        image = None
        file = self._file_digest(look.path)
        known = self.decoded.get(file) if file else None
        if known is None:
            image = decode(look.path, self.root, self.max_pixels)
            look.file, look.pixels = file, pixel_digest(image)
        else:
            look.pixels = known.hex()
        look.key = picture_key(look.pixels, self.alteration.name if self.alteration else "")
        if look.key in self.shelf:
            return None
        image = image or decode(look.path, self.root, self.max_pixels)
        image = self.alteration(image) if self.alteration else image
        image.info["image_id"] = look.image_id
        return image

    def missing(self, look: _Look) -> bool:
        """Whether nobody else has encoded a picture meanwhile; waits for one who is at it."""
        if self.turn.take():
            self.shelf.refresh()
        return look.key not in self.shelf

    def _file_digest(self, path: Path) -> bytes:
        """Digest of a plain file's bytes and of how it is decoded; empty if decoding should judge.

        Reading and hashing is about ten times faster than decoding, and unlike a path and a date
        it can't be fooled.
        """
        place = self.root / path if self.root is not None else path
        if self.root is not None and not inside(container(place), self.root):
            return b""
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISREG(container(place).stat().st_mode):
                with opened(place) as file:
                    content = hashlib.sha256(file.read())
                content.update((_how(self.max_pixels) + region(place)[1]).encode())
                return content.digest()
        return b""

    def put(self, batch: Encoded[_Look]) -> None:
        """Take a batch in; write what has gathered every few hundred pictures or seconds."""
        self._batches.append(batch)
        fresh = self._fresh()
        late = time.monotonic() - self._flushed > FLUSH_SECONDS
        if fresh and (late or len(fresh) >= FLUSH_PICTURES):
            self.flush(fresh)

    def _fresh(self) -> list[_Look]:
        return [look for batch in self._batches for look in batch.items]

    @contextlib.contextmanager
    def kept_on_the_way_out(self) -> Iterator[None]:
        """Within, whatever ends the work, the pictures that were encoded are written first."""
        try:
            yield
        except BaseException as end:
            with contextlib.suppress(AuditError):
                self.flush(self._fresh())
                end.add_note(KEPT)
            raise

    def flush(self, looks: Sequence[_Look]) -> None:
        """Write: whose pictures ``looks`` are first, so that what is kept can be purged."""
        good = [look for look in looks if look.problem is None]
        altered = self.alteration.name if self.alteration else ""
        self.uses.add([(look.image_id, look.pixels, altered) for look in good])
        if fresh := self._fresh():
            rows = np.concatenate([batch.rows for batch in self._batches])
            self.shelf.put([look.key for look in fresh], rows)
        new = [look for look in good if look.file and look.file not in self.decoded]
        if new:
            pixels = b"".join(bytes.fromhex(look.pixels) for look in new)
            self.decoded.put([look.file for look in new], np.frombuffer(pixels, np.uint8))
        self.remembered.add((look.place, look.pixels) for look in good)
        self._batches, self._flushed = [], time.monotonic()
        self.turn.alive()

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
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL.Image import Image

from audit.core.arrays import Integers
from audit.core.errors import InputError, sentence
from audit.data import intact
from audit.data.images import MAX_PIXELS, Reason, Unreadable, decode, inside, pixel_digest
from audit.data.packed import container, opened, region
from audit.models.encoder import (
    AT_ONCE,
    FINGERPRINT,
    Encoder,
    EncoderCard,
    Pixels,
    Recorded,
    ReducingEncoder,
    Rows,
    Stored,
    Texts,
    default_cache,
    require_fingerprint,
    require_rows,
)
from audit.store.desk import Desk, Look, Quarantined
from audit.store.processes import usable_cores
from audit.store.remembered import Remembered
from audit.store.shelf import (
    KEY,
    Shelf,
    private,
    text_digest,
    write,
)
from audit.store.stream import FLUSH_PICTURES
from audit.store.turns import Turn
from audit.store.uses import Use, Uses, subject_digest

Progress = Callable[[int, int], None]

#: so many pictures and cores make up for the second that it takes to start processes
_MANY_PICTURES: Final = 2000
_MANY_CORES: Final = 4
_MOST_READERS: Final = 64


_NO_DIGESTS: Final = np.zeros(0, "V8")


@dataclass(frozen=True)
class Embeddings:
    """Pictures as rows of unit length: ``vectors[i]``, float32, belongs to image id ``keys[i]``.

    ``pixels`` are digests of what was encoded, equal where pictures are; empty if it isn't known.
    Vectors that were only ``found`` are on disk until they are ``held``.
    """

    keys: tuple[str, ...]
    vectors: Rows
    fingerprint: str
    pixels: NDArray[np.void] = field(default_factory=lambda: _NO_DIGESTS)
    found: Stored | None = None

    def held(self) -> Embeddings:
        """The same with vectors in memory."""
        if self.found is None:
            return self
        return replace(self, vectors=np.asarray(self.found), found=None)

    def equals(self) -> dict[str, bytes]:
        """The digest of every picture that is not the only one with it, by its id."""
        if not len(self.pixels):
            return {}
        digits = self.pixels.view(np.uint8).reshape(len(self.pixels), -1)
        numbers = np.ascontiguousarray(digits[:, :8]).view(np.uint64).ravel()
        there, times = np.unique(numbers, return_counts=True)
        at = np.flatnonzero(np.isin(numbers, there[times > 1]))
        return {self.keys[i]: self.pixels[i].tobytes() for i in at}

    def only(self, keys: Iterable[str]) -> Embeddings:
        """Some of the pictures, in this order; those that are missing here are left out."""
        wanted = keys if isinstance(keys, tuple) else tuple(keys)
        if wanted == self.keys:
            return self
        at = [place for key in wanted if (place := self._places.get(key)) is not None]
        return self.part(np.array(at, dtype=np.int64))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: i for i, key in enumerate(self.keys)}

    def part(self, at: slice | Integers) -> Embeddings:
        """The pictures at some places, in this order."""
        of_file = None if self.found is None else self.found.part(at)
        vectors = self.vectors if of_file is not None else self.vectors[at]
        places = range(len(self.keys))[at] if isinstance(at, slice) else at.tolist()
        pixels = self.pixels[at] if len(self.pixels) else self.pixels
        keys = tuple(self.keys[i] for i in places)
        return replace(self, keys=keys, vectors=vectors, pixels=pixels, found=of_file)


class Alteration(Protocol):
    """Something done to a picture before it is encoded."""

    @property
    def name(self) -> str:
        """What is done, with every setting: the same name must always mean the same pixels."""

    def __call__(self, image: Image) -> Image:
        """The altered picture."""


class Store:
    """All embeddings under one cache folder."""

    def __init__(
        self, root: Path | None = None, *, verify: bool = False, readers: int | None = None
    ) -> None:
        """``root`` is the cache folder; without it ``$CLIP_AUDIT_CACHE``, or ``./cache``.

        With ``verify`` every file is read again, whatever its size and time. ``readers`` is how
        many processes open pictures, 0 for threads in this one; without it
        ``$CLIP_AUDIT_READERS``, or one a core where there are many cores and pictures.
        """
        self._verify, self._readers, self._part = verify, readers, ""
        self.root = Path(root) if root is not None else default_cache()
        self.folder = self.root / "embeddings"
        self._shelves: dict[Path, Shelf] = {}

    def of_part(self, part: str) -> Store:
        """The same store for a part of a data set: parts do not wait for one another."""
        store = Store(self.root, verify=self._verify, readers=self._readers)
        store._part = part
        return store

    @property
    def trust(self) -> str:
        """What is done with a file whose picture is stored, as a run's manifest says it."""
        return "read again" if self._verify else "taken by size and time"

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
            found, lost = recorded(encoder, [i for i, _ in items], [str(p) for _, p in items])
            return found.held(), lost
        self.open()
        shelf = self._shelf(encoder.card)
        uses = Uses(self.folder / "datasets", dataset, clusters or {})
        looks = [Look(image_id, Path(path)) for image_id, path in items]
        lock = shelf.folder.parent / f".{text_digest(f'{dataset} {self._part}'.strip())[:32]}.lock"
        with Turn(lock, waiting) as turn:
            files = None if self._verify else self._open_shelf(self.folder / "files", KEY)
            # an alteration is told in pixels, of the picture as it is
            least = encoder.least if isinstance(encoder, ReducingEncoder) else None
            reader = Reader(root, max_pixels, alteration, None if alteration else least)
            remembered = Remembered(files, root, reader.how)
            desk = Desk(shelf, self._decoded(), remembered, uses, turn, reader)
            new = [look for look in looks if not desk.known(look)]
            readers = _how_many(len(new)) if self._readers is None else self._readers
            with desk.kept(), desk.encoding(encoder, new, readers) as batches:
                for batch in batches:
                    desk.put(batch)
                    if progress is not None:
                        progress(len(looks) - len(new) + batch.seen, len(looks))
            desk.flush(looks)
        good = [look for look in looks if look.problem is None]
        keys = [look.key for look in good]
        vectors = shelf.rows(keys).view(np.float32)
        ids = tuple(look.image_id for look in good)
        pixels = np.frombuffer(b"".join(keys), f"V{KEY}")
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


def recorded(
    encoder: Recorded, ids: Sequence[str], paths: Sequence[str]
) -> tuple[Embeddings, list[Quarantined]]:
    """What a recorded model holds of these pictures; they are not opened.

    Vectors that are in a file stay there: see ``Embeddings.held``.
    """
    rows, missing = encoder.recorded(ids)
    kept = tuple(ids) if not missing else tuple(i for i in ids if i not in missing)
    lost = [
        Quarantined(image_id, Path(path), "not recorded", missing[image_id])
        for image_id, path in zip(ids, paths, strict=True)
        if image_id in missing
    ]
    # equal vectors are most likely of one picture; equal scores say nothing
    same = encoder.card.gives == "embeddings"
    pixels = _digests(rows) if same else _NO_DIGESTS
    if not isinstance(rows, Stored):
        return Embeddings(kept, rows, encoder.card.fingerprint, pixels), lost
    none = np.zeros((0, rows.shape[1]), np.float32)
    return Embeddings(kept, none, encoder.card.fingerprint, pixels, rows), lost


def _digests(rows: Rows | Stored) -> NDArray[np.void]:
    """A digest of each row: eight bytes, which tell ten million of them apart."""
    found = bytearray()
    for start in range(0, len(rows), AT_ONCE):
        at = slice(start, start + AT_ONCE)
        for row in np.asarray(rows.part(at) if isinstance(rows, Stored) else rows[at]):
            found += hashlib.blake2b(row.tobytes(), digest_size=8).digest()
    return np.frombuffer(bytes(found), "V8")


def _how_many(pictures: int) -> int:
    """How many processes read so many pictures; 0 where threads do as well.

    Raises:
        InputError: ``$CLIP_AUDIT_READERS`` is no number of processes.
    """
    said = os.environ.get("CLIP_AUDIT_READERS", "")
    if said.isdecimal():
        return int(said)
    if said:
        told = f"CLIP_AUDIT_READERS: got '{said:.60}', which is no number of processes"
        raise InputError(told, "Set it to 0 for threads, or unset it")
    cores = usable_cores()
    many = pictures >= _MANY_PICTURES and cores >= _MANY_CORES
    return min(cores, _MOST_READERS) if many else 0


# --- opening one picture --------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """What was made of one picture: the digest of its pixels, and what the model wants to see.

    Or ``problem``, a word to count by and the reason in full, why it can't be used.
    """

    pixels: str = ""
    prepared: Pixels | None = None
    problem: tuple[Reason, str] | None = None


@dataclass(frozen=True)
class Reader:
    """How pictures are opened; the same in threads and, given ``prepare``, in other processes."""

    root: Path | None
    max_pixels: int
    alteration: Alteration | None
    least: int | None = None
    prepare: Callable[[Image], Pixels] | None = None

    @property
    def altered(self) -> str:
        """The name of the alteration, blank if there is none."""
        return self.alteration.name if self.alteration else ""

    @property
    def how(self) -> str:
        """What decides which pixels a file gives, and whether it gives any."""
        reduced = "" if self.least is None else f", reduced to {self.least}"
        return f"pillow {PIL.__version__}, {self.max_pixels}, checks {intact.VERSION}{reduced}"

    def file_digest(self, path: Path) -> bytes:
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
                content.update((self.how + region(place)[1]).encode())
                return content.digest()
        return b""

    def picture(self, image_id: str, path: Path, known: str) -> tuple[str, Image]:
        """The digest of a picture's pixels, unless it is known, and the altered picture."""
        image = decode(path, self.root, self.max_pixels, self.least)
        pixels = known or pixel_digest(image)
        image = self.alteration(image) if self.alteration else image
        image.info["image_id"] = image_id
        return pixels, image

    def file_digests(self, paths: Sequence[Path]) -> list[bytes]:
        """``file_digest`` of several."""
        return [self.file_digest(path) for path in paths]

    def read(self, asked: Sequence[tuple[str, Path, str]]) -> list[Read]:
        """Pictures by image id, path and, where it is known, digest, as the model wants them."""
        assert self.prepare is not None
        found = []
        for image_id, path, known in asked:
            try:
                pixels, image = self.picture(image_id, path, known)
                found.append(Read(pixels, self.prepare(image)))
            except Exception as error:  # a picture's own trouble is no reason to lose the others
                found.append(Read(problem=self.problem(path, error)))
        return found

    @staticmethod
    def problem(path: Path, error: Exception) -> tuple[Reason, str]:
        """Why a picture can't be used that can't be decoded, altered or preprocessed."""
        if isinstance(error, Unreadable):
            return error.reason, str(error)
        reason: Reason = "too large" if isinstance(error, MemoryError) else "not prepared"
        advice = "Replace the file or take its row out of the manifest."
        return reason, sentence(f"{path}: {reason}: {error or type(error).__name__}", advice)

"""Who is asked: the seam between this tool and any model that embeds pictures and texts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Final,
    Literal,
    Protocol,
    get_args,
    runtime_checkable,
)

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from audit.core.arrays import Integers
from audit.core.errors import InputError
from audit.core.files import write_text
from audit.core.rows import Fields, Row
from audit.stats.scoring import Kind, Scoring

if TYPE_CHECKING:
    import torch

Rows = NDArray[np.float32]
#: of a model: the hex digest of whatever changes an embedding
FINGERPRINT: Final = re.compile("[0-9a-f]{64}")
#: rows, and names of rows, that are looked at together
AT_ONCE: Final = 8192
#: how far a row's length may be from 1
_UNIT: Final = 1e-3
Pixels = NDArray[np.uint8]
#: what a model gives, from least to most: the label it chooses, scores of labels, or embeddings
Gives = Literal["choices", "scores", "embeddings"]
#: of a model that is not on this machine: what ``check`` did not see
NOT_HERE: Final = "It is not on this machine: its files are looked at once they were downloaded"
GIVES: Final[tuple[Gives, ...]] = get_args(Gives)


@dataclass(frozen=True)
class EncoderCard:
    """What a reader must know of a model to believe, or repeat, a number it produced.

    ``logit_scale`` is already exponentiated (100 in OpenAI's checkpoints), ``logit_bias`` is added
    to what it makes of a similarity, and ``scores`` says what that means. A model that does not
    give embeddings has a row of scores for a picture and an axis for a label; of a ``recorded``
    one there are answers about certain pictures only; ``sends_to`` is the address, if any, that
    pictures are sent to. ``fingerprint`` is the
    hex digest of everything that changes an embedding: weights, configuration, tokenizer,
    preprocessing, precision and the versions of the libraries that compute it. ``caveats`` are
    sentences on what a reader of this model's numbers has to know.
    """

    ref: str
    family: str
    dim: int
    image_size: int
    context_length: int
    preprocessing: str
    logit_scale: float
    precision: str
    device: str
    fingerprint: str
    caveats: Sequence[str] = ()
    logit_bias: float = 0.0
    scores: Kind = "softmax"
    gives: Gives = "embeddings"
    recorded: bool = False
    sends_to: str = ""

    @property
    def scoring(self) -> Scoring:
        """How similarities become scores."""
        return Scoring(self.logit_scale, self.logit_bias, self.scores)


def card_of(said: Fields, where: str) -> EncoderCard:
    """The card that a file holds.

    Raises:
        InputError: another version wrote it.
    """
    try:
        return EncoderCard(**said)
    except TypeError as error:
        told = f"{where}: model.json is of another version"
        raise InputError(told, "Run the suite again") from error


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns pictures and texts into rows of unit length in one space."""

    @property
    def card(self) -> EncoderCard:
        """The model, described."""

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """Embed RGB pictures, at least one: float32, (n, dim), rows of unit length, in order."""

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """Embed texts, at least one: float32, (n, dim), rows of unit length, in order."""


@runtime_checkable
class StagedEncoder(Encoder, Protocol):
    """An encoder whose preprocessing can run in other threads while the model is busy."""

    @property
    def batch_size(self) -> int:
        """How many pictures the model would take at once now; it may change between calls."""

    def preprocess(self, image: Image) -> Pixels:
        """One picture as the model wants to see it, before numbers are normalised.

        An exception that is given back, and not raised, is no fault of the picture: work ends.
        """

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Rows:
        """Embed preprocessed pictures, at least one; as ``encode_images`` does the pictures."""


@runtime_checkable
class PreparedEncoder(StagedEncoder, Protocol):
    """An encoder whose preprocessing can run in other processes, too."""

    @property
    def preparation(self) -> Callable[[Image], Pixels]:
        """All that ``preprocess`` does: an object that can be pickled, and does the same there."""


@runtime_checkable
class ReducingEncoder(StagedEncoder, Protocol):
    """An encoder for which a JPEG may be decoded at a smaller scale, if that is chosen."""

    @property
    def least(self) -> int | None:
        """How many pixels a side a decoded picture needs; None if all of them."""

    def reduced(self) -> Encoder:
        """The same model for pictures decoded so: another card and fingerprint.

        Raises:
            InputError: pictures are not prepared in a way that this would leave alike.
        """


@runtime_checkable
class LaunchingEncoder(StagedEncoder, Protocol):
    """An encoder that can take the next pictures before the rows of the last ones are there."""

    def launch(self, pixels: Sequence[Pixels]) -> Callable[[], Rows]:
        """Begin ``encode_pixels``; what is returned waits for the rows, in any thread."""


@runtime_checkable
class Recorded(Encoder, Protocol):
    """A model of which there are records only: what it once answered about certain pictures.

    It is not asked for pictures, and ``encode_images`` refuses them.
    """

    def recorded(self, image_ids: Sequence[str]) -> tuple[Rows | Stored, Mapping[str, str]]:
        """Rows of pictures that have one, in order, and why each of the others has none.

        Raises:
            InputError: none has one: these are other pictures.
        """

    def missing(self, image_ids: Sequence[str]) -> Mapping[str, str]:
        """Why each of these pictures has no row that has none; as ``recorded``, without rows."""

    def require(self, texts: Sequence[str], image_ids: Sequence[str]) -> None:
        """Refuse texts that can't be answered for these pictures, asked as one set of labels.

        Raises:
            InputError: names those that are missing.
        """


@runtime_checkable
class Finishing(Encoder, Protocol):
    """A model that learns something about itself while it is asked."""

    def finish(self) -> None:
        """Called after the last picture; what was learnt stands in ``card`` from then on."""


@dataclass(frozen=True)
class Located:
    """A model that is not loaded.

    ``place``: where it would come from, in a few words. ``caveats``: what a reader of its numbers
    has to know. ``read``: reads texts as the model would, and refuses what it can't read whole;
    None where its files are not on this machine. ``model``: the model itself where it takes no time
    to have, as it always is of recorded answers. ``card``: what its files say of any other, which
    has no fingerprint yet; None where that is known only once it is loaded. ``unread``: a sentence
    on what is looked at only then.
    """

    place: str
    caveats: tuple[str, ...] = ()
    read: Callable[[Sequence[str]], object] | None = None
    model: Encoder | None = None
    card: EncoderCard | None = None
    unread: str = ""


@dataclass(frozen=True)
class Family:
    """How models of one family are found and loaded, by their name within the family.

    ``locate`` reads what is on this machine, downloads nothing and builds no model; ``load`` takes
    the name, device, precision and the folder where digests of large files are remembered. Both
    raise InputError for a model that isn't there or can't be read as it is meant.
    """

    about: str
    locate: Callable[[str], Located]
    load: Callable[[str, str, str, Path | None], Encoder]


class Preparation(Protocol):
    """How pictures are prepared for a model, a dataclass: one by one, then a batch of them."""

    __dataclass_fields__: ClassVar[Row]

    @property
    def side(self) -> int:
        """About how high prepared pictures are, in pixels."""

    def __call__(self, image: Image) -> Pixels:
        """One RGB picture as the model wants to see it, uint8, before numbers are normalised."""

    def inputs(self, pixels: Sequence[Pixels], device: torch.device) -> dict[str, torch.Tensor]:
        """What the model is given of prepared pictures, at least one; ``pixel_values`` float32."""


class Tokens(Protocol):
    """How texts are split into tokens for a model, and made into what it is given."""

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, whole; raises InputError for one that can't be read whole."""

    def inputs(self, rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """What the model is given of rows of ``ids``, at least one, padded."""


def unit_rows(array: NDArray[np.floating]) -> Rows:
    """Scale each row of an (n, dim) array to unit length, as float32.

    Raises:
        InputError: a row is zero or not finite, so that it has no direction.
    """
    rows = np.asarray(array, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        bad = int(np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))[0])
        raise InputError(
            f"the model gave no usable embedding for item {bad} of {len(rows)}: "
            f"its length is {lengths[bad, 0]}",
            "Try precision float32; if it stays so, the checkpoint is broken.",
        )
    scaled: Rows = (rows / lengths).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class Stored:
    """Rows of a file that is mapped into memory, of unit length once they are read.

    ``at`` (n,) are their places in the file; None for all. As an array they are all read.
    """

    file: NDArray[np.floating]
    at: Integers | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and numbers in each."""
        return len(self), self.file.shape[1]

    def __len__(self) -> int:
        return len(self.file) if self.at is None else len(self.at)

    def __array__(self, dtype: None = None, copy: None = None) -> Rows:
        rows = np.empty(self.shape, np.float32)
        for start in range(0, len(self), AT_ONCE):
            block = slice(start, start + AT_ONCE)
            rows[block] = unit_rows(self.file[block if self.at is None else self.at[block]])
        return rows

    def part(self, some: slice | Integers) -> Stored:
        """Some of the rows, not read yet."""
        if self.at is not None:
            return replace(self, at=self.at[some])
        if isinstance(some, slice):
            return replace(self, file=self.file[some])
        return replace(self, at=some)


def require_rows(rows: NDArray[np.floating], count: int, card: EncoderCard, what: str) -> Rows:
    """Refuse what is not one row each of the model's own width; rows of unit length as float32.

    Raises:
        InputError: rows of another number or width, not finite, or not of unit length.
    """
    told = f"{card.ref}: gives an array of the shape {np.shape(rows)} for {count} {what}"
    if np.shape(rows) != (count, card.dim):
        raise InputError(told, f"Its card says ({count}, {card.dim})")
    found = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(found.astype(np.float64), axis=1)
    off = ~(np.abs(lengths - 1) < _UNIT) if card.gives == "embeddings" else ~np.isfinite(lengths)
    if off.any():
        told = f"{card.ref}: {int(off.sum())} of {count} {what} have no row of unit length"
        got = f"the first has the length {lengths[int(off.argmax())]:.4g}"
        raise InputError(f"{told}; {got}", "Divide each row by its length")
    return found


def require_encoder(model: object) -> Encoder:
    """Refuse what can't be asked as the protocol says, before anything is asked of it.

    Raises:
        InputError: a member is missing, or its card says what no score or store can be made of.
    """
    card = getattr(model, "card", None)
    if not isinstance(model, Encoder) or not isinstance(card, EncoderCard):
        told = f"{type(model).__name__} {model!r:.60} is no model"
        needs = "One has 'encode_images', 'encode_texts' and as 'card' an EncoderCard"
        raise InputError(told, needs, "audit.as_model makes one of two functions")
    require_fingerprint(card)
    try:
        bias = card.scoring.bias
    except ValueError as error:
        raise InputError(f"{card.ref}: {error}", "Say one of these in its card") from error
    if not math.isfinite(bias):
        told = f"{card.ref}: the logit bias is {bias}, so no score would be a number"
        raise InputError(told, "Say in its card what is added to a scaled similarity")
    return model


def require_fingerprint(card: EncoderCard) -> None:
    """Refuse what tells no model from another: embeddings are kept in a folder of this name.

    Raises:
        InputError: it isn't a digest.
    """
    if not FINGERPRINT.fullmatch(card.fingerprint):
        told = f"{card.ref}: its fingerprint '{card.fingerprint:.60}' is not 64 hexadecimal digits"
        advice = "digest_of (audit/models/encoder.py) makes one of whatever changes an embedding"
        raise InputError(told, advice)


def digest_of(parts: Mapping[str, object]) -> str:
    """Hex SHA-256 of named parts, whatever the order they were given in."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def default_cache() -> Path:
    """Where dear things are kept: ``$CLIP_AUDIT_CACHE``, or ``cache`` in the current folder."""
    return Path(os.environ.get("CLIP_AUDIT_CACHE") or "cache")


def file_digest(path: Path, cache: Path | None = None) -> str:
    """Hex SHA-256 of a file, remembered by path, size and time where a cache folder exists.

    A file that changed within the last seconds is not remembered: its time could stay the same
    through another change.
    """
    stat = path.stat()
    seen = [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
    memo = (cache or default_cache()) / "weights" / digest_of({"file": seen})
    with contextlib.suppress(OSError):
        known = memo.read_text(encoding="ascii").strip()
        if re.fullmatch("[0-9a-f]{64}", known):
            return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if memo.parent.parent.is_dir() and time.time() - stat.st_mtime > 5:
        write_note(memo, digest)
    return digest


def write_note(path: Path, text: str) -> None:
    """Write a note that saves time and may fail in silence."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_text(path, text)


def require_logit_scale(scale: float, where: str) -> None:
    """Refuse a logit scale under which scores are not numbers, or all the same.

    Raises:
        InputError: it is not finite (as a float32), or not above 0.
    """
    least, most = (float(x) for x in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))
    if math.isfinite(scale) and least <= scale < most:
        return
    raise InputError(
        f"{where}: the logit scale is {scale:g}, so no score would be a number",
        "A checkpoint stores its natural logarithm: log(100) = 4.605 in OpenAI's",
        "If it holds the scale itself, store its logarithm and save the checkpoint again",
    )


@dataclass(frozen=True)
class Texts:
    """The text side of the model that is asked.

    ``encode`` gives one float32 row of unit length a string; ``scoring`` makes similarities scores;
    ``gives`` is what the model gives.
    """

    encode: Callable[[Sequence[str]], NDArray[np.float32]]
    scoring: Scoring
    gives: Gives = "embeddings"

    def __post_init__(self) -> None:
        """Refuse a logit scale that makes no scores: NaN would count as below every threshold."""
        require_logit_scale(self.scoring.scale, "the model asked")

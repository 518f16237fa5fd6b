"""A black box that answers with labels: the family ``service``, behind an address or a command.

A picture goes in, labels with scores come out; docs/services.md has the protocol. Answers are kept
in the embedding store like embeddings: a picture is the row of its scores, a label its own axis.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic import Field, model_validator

from audit.core.errors import InputError
from audit.core.rows import Fields
from audit.data.images import Unreadable
from audit.data.yamlfile import load_yaml, validate
from audit.models.encoder import EncoderCard, Family, Located, Rows, digest_of
from audit.models.lines import Address, AgainError, Command, Line, is_here, shown
from audit.models.records import Description, axes

#: pictures that are asked again at most, and held in memory for it
_AGAIN: Final = 200
#: answers of one picture that differ by less are the same
_SAME: Final = 1e-6


class Service(Description):
    """Where a service is, what it answers, and how it may be asked."""

    url: str | None = Field(
        None, pattern=r"^https?://", description="address that is sent pictures"
    )
    command: tuple[str, ...] = Field((), description="or a program that reads and writes lines")
    labels: tuple[str, ...] = Field(min_length=2, description="the labels that it can answer")
    version: str = Field("", description="what its maker calls it; another one is another model")
    scored: bool = Field(True, description="false: it answers with one label and no scores")
    missing: float | None = Field(
        None, ge=0, le=1, description="score of labels that an answer leaves out"
    )
    key: str | None = Field(None, description="environment variable that holds the key")
    per_second: float = Field(10, gt=0, description="requests a second at most")
    budget: int = Field(100_000, ge=1, description="requests of one run at most")
    timeout: float = Field(30, gt=0, le=86_400, description="seconds to wait for an answer")
    retries: int = Field(3, ge=0, description="how often a failed request is repeated")
    repeat: float = Field(0.05, ge=0, le=1, description="share of pictures that is asked again")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (not self.command):
            raise ValueError("give either 'url' or 'command'")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("a label is listed twice")
        if self.url is not None:
            _require_address(self.url)
        return self

    @property
    def sends_to(self) -> str:
        """The address that pictures are sent to; blank where they stay on this machine."""
        if self.url is None:
            return ""
        url = httpx.URL(self.url)  # as it will be asked: two ways to read it could differ
        return "" if is_here(url.host) else f"{url.scheme}://{url.netloc.decode()}"


def _require_address(text: str) -> None:
    """Refuse what is no address, or holds a secret.

    Raises:
        ValueError: so.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"'url' is no address: {error}") from error
    if not url.host:
        raise ValueError("'url' names no machine, as in https://example.org/tag")
    if url.userinfo:
        raise ValueError("a name or password in 'url' would be stored; name a variable in 'key'")


# --- asking ---------------------------------------------------------------------------------------


@dataclass
class _Turns:
    """When the next request may be made, and how many were."""

    per_second: float
    budget: int
    made: int = 0
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> None:
        """Wait for a turn.

        Raises:
            InputError: the budget is spent.
        """
        with self._lock:
            if self.made >= self.budget:
                told = f"the budget of {self.budget:,} requests is spent"
                raise InputError(told, "What was answered is kept; run again to go on")
            self.made += 1
            now = time.monotonic()
            wait, self._next = self._next - now, max(self._next, now) + 1 / self.per_second
        if wait > 0:
            time.sleep(wait)


class RemoteClassifier:
    """A service as a model whose embeddings are the scores of its labels."""

    def __init__(self, card: EncoderCard, said: Service, line: Line) -> None:
        """``line`` leads to the service that ``said`` describes."""
        self._card, self._said, self._line = card, said, line
        self._place = {label: i for i, label in enumerate(said.labels)}
        self._turns = _Turns(said.per_second, said.budget)
        self._again: list[tuple[bytes, NDArray[np.float64]]] = []
        self._at_once: list[float] = []
        self._notes: tuple[str, ...] = ()
        self._new = 0
        self._lock = threading.Lock()

    @property
    def card(self) -> EncoderCard:
        """The model, described, with what was learnt of its noise and drift."""
        return replace(self._card, caveats=(*self._card.caveats, *self._notes))

    @property
    def batch_size(self) -> int:
        """How many answers are taken at once."""
        return 16

    def preprocess(self, image: Image) -> Any:
        """Ask about one picture; what ends the run is handed on as it is.

        Raises:
            Unreadable: the service refuses this picture.
        """
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG")
        picture = buffer.getvalue()
        try:
            row = self._ask(picture)
            with self._lock:
                self._new += 1
            if self._is_asked_again(picture):
                noise = float(np.abs(self._ask(picture) - row).max())
                with self._lock:
                    self._at_once.append(noise)
                    self._again.append((picture, row))
            return row
        except Unreadable:
            raise
        except InputError as error:  # of the service and not of this picture
            return error

    def encode_pixels(self, pixels: Sequence[Any]) -> Rows:
        """Scores of pictures, (n, labels)."""
        return np.array(pixels, np.float32)

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """Ask about pictures one by one.

        Raises:
            InputError: the service can't be asked, or refuses one.
        """
        rows = []
        for image in images:
            row = self.preprocess(image)
            if isinstance(row, InputError):
                raise row
            rows.append(row)
        return self.encode_pixels(rows)

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """The axis of each label.

        Raises:
            InputError: a text is none of its labels.
        """
        return axes(self._card.ref, texts, self._place)

    def finish(self) -> None:
        """Ask a share of the pictures once more, and note how much answers moved."""
        drift, changed = [], 0
        try:
            for picture, row in self._again:
                now = self._ask(picture)
                drift.append(float(np.abs(now - row).max()))
                changed += int(now.argmax() != row.argmax())
        except InputError as error:  # everything was answered once; only this is lost
            self._notes = (f"At the end it could not be asked again: {error}",)
            return
        kept = f"{self._new:,} pictures were asked about in this run; all other answers are older"
        if not drift:
            unknown = "no picture was asked twice, so how steady the service is is not known"
            self._notes = (f"{kept}; {unknown}",)
            return
        noisy, moved = (sum(d > _SAME for d in values) for values in (self._at_once, drift))
        self._notes = (
            f"Of {len(drift):,} pictures that were asked twice at once, {noisy:,} got other "
            f"scores (by up to {max(self._at_once):.3g}); asked again at the end, {moved:,} did "
            f"(by up to {max(drift):.3g}), and {changed:,} got another label",
            kept,
        )

    def _is_asked_again(self, picture: bytes) -> bool:
        """Whether a picture is among the share that is asked again, told by its own pixels."""
        drawn = int.from_bytes(hashlib.blake2b(picture, digest_size=4).digest(), "big") / 2**32
        return drawn < self._said.repeat and len(self._again) < _AGAIN

    def _ask(self, picture: bytes) -> NDArray[np.float64]:
        """The scores of a picture, with retries.

        Raises:
            InputError: the service can't be asked, or answers what is no answer.
            Unreadable: it refuses this picture.
        """
        question = {
            "image": base64.b64encode(picture).decode("ascii"),
            "labels": list(self._said.labels),
        }
        tries = self._said.retries + 1
        for n in range(tries):
            self._turns.take()
            try:
                return self._row(self._line.ask(question))
            except AgainError as error:
                if n == tries - 1:
                    told = f"{self._card.ref}: {error}, {tries} times"
                    advice = "What was answered is kept; run again when it is back"
                    raise InputError(told, advice) from error
                time.sleep(error.wait or min(30.0, 0.2 * 2**n) * (1 + random.random()))  # noqa: S311
        raise AssertionError("unreachable")

    def _row(self, answer: object) -> NDArray[np.float64]:
        """The scores that an answer gives, in the order of the labels.

        Raises:
            InputError: it isn't what the protocol says.
            Unreadable: the picture is refused.
        """
        ref = self._card.ref
        if isinstance(answer, dict) and answer.get("error"):
            raise Unreadable(f"{ref}: refuses it: {shown(answer['error'], 200)}", "not prepared")
        listed = answer.get("labels") if isinstance(answer, dict) else None
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            told = f"{ref}: answers {shown(json.dumps(answer))}, which has no list of 'labels'"
            shape = '{"labels": [{"label": ..., "score": ...}, ...]}'
            raise InputError(told, f"It must be {shape}")
        row = np.full(len(self._place), np.nan)
        for one in listed:
            at = self._at(one)
            if not np.isnan(row[at]):
                told = f"{ref}: an answer lists the label '{one['label']}' twice"
                raise InputError(told, "Have it answer each label once")
            row[at] = self._score(one)
        if not self._said.scored and len(listed) != 1:
            told = f"{ref}: answers {len(listed)} labels, and without scores one is its choice"
            raise InputError(told, "Have it answer one label, or its scores")
        fill = self._said.missing if self._said.scored else 0.0
        if np.isnan(row).any():
            if fill is None:
                gone = self._said.labels[int(np.isnan(row).argmax())]
                told = f"{ref}: an answer has no score of '{gone}'"
                advice = "Have it answer every label, or say in 'missing' what such a label scores"
                raise InputError(told, advice)
            row[np.isnan(row)] = fill
        return row

    def _at(self, one: Fields) -> int:
        label = one.get("label")
        if not isinstance(label, str) or label not in self._place:
            told = f"{self._card.ref}: answers the label '{shown(label)}', which is not listed"
            advice = "Its labels have changed: list all of them under 'labels', and its 'version'"
            raise InputError(told, advice)
        return self._place[label]

    def _score(self, one: Fields) -> float:
        score = one.get("score") if self._said.scored else 1.0
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if number and 0 <= score <= 1:  # type: ignore[operator]
            return float(score)  # type: ignore[arg-type]
        told = f"{self._card.ref}: answers the score {score!r:.40} for '{one.get('label')}'"
        raise InputError(told, "A score is a number from 0 to 1")


# --- the family -----------------------------------------------------------------------------------


def load(name: str, device: str, precision: str, cache: Path | None) -> RemoteClassifier:
    """A service, not yet asked anything.

    Raises:
        InputError: no such description, one that isn't well formed, or no key in the environment.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        told = f"there is no file {path}"
        raise InputError(told, "A service is named by the YAML file that describes it")
    said = validate(Service, load_yaml(path), str(path))
    ref = said.name or path.stem
    line: Line = Command(said.command, ref, said.timeout, path.parent)
    if said.url is not None:
        line = Address(said.url, ref, said.timeout, said.key)
    return RemoteClassifier(_card(said, ref), said, line)


def locate(name: str) -> Located:
    """Where a service is; nothing is asked of it."""
    found = load(name, "auto", "float32", None)
    place = found.card.sends_to or "a service on this machine"
    return Located(place, tuple(found.card.caveats), found.encode_texts, found)


FAMILY = Family("a black box behind an address or a command: service:PATH.yaml", locate, load)


def _card(said: Service, ref: str) -> EncoderCard:
    kept = {"url", "command", "labels", "version", "scored", "missing"}
    caveats = ["Nothing is known of the model behind this service but what it answered"]
    if not said.version:
        caveats.append(
            "Its version is not stated, so that answers kept from before may be another model's"
        )
    return EncoderCard(
        ref=ref, family="service", dim=len(said.labels), image_size=0, context_length=0,
        preprocessing="not known: pictures are handed over as PNG", logit_scale=1.0,
        precision="as answered", device=said.sends_to or "this machine",
        fingerprint=digest_of(said.model_dump(mode="json", include=kept)),
        caveats=tuple(caveats), scores="given" if said.scored else "none",
        gives="scores" if said.scored else "choices", sends_to=said.sends_to,
    )  # fmt: skip

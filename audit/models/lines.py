"""The two ways to a service: an address, and a program that reads and writes lines."""

from __future__ import annotations

import ipaddress
import json
import os
import queue
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Protocol

import httpx

from audit.core.characters import visible
from audit.core.errors import InputError
from audit.data.images import Unreadable

_REFUSED: Final = frozenset({400, 413, 415, 422})
_KEY_REFUSED: Final = frozenset({401, 403})
_BUSY: Final = frozenset({408, 429})
#: bytes of an answer that are read; 50,000 labels with their scores take a third of it
LARGEST: Final = 10_000_000
#: seconds that a service may ask to be left alone
_LONGEST_WAIT: Final = 300.0
_OF_AN_ADDRESS: Final = "Check the address, and what it answers"
_OF_A_COMMAND: Final = (
    "Have it print one line of JSON for each line it reads, and all else to its standard error"
)


class AgainError(Exception):
    """A request failed in a way that may pass; ``wait``: seconds that the service asks for."""

    def __init__(self, told: str, wait: float = 0.0) -> None:
        """``told``: what happened, as a part of a sentence."""
        super().__init__(told)
        self.wait = wait


class Line(Protocol):
    """A way to the service."""

    def ask(self, question: Mapping[str, object]) -> object:
        """The answer to a question, as JSON.

        Raises:
            AgainError: it failed and may succeed later.
            Unreadable: this picture is refused.
            InputError: no picture would be answered.
        """


def shown(said: object, most: int = 80) -> str:
    """The beginning of what a service said, on one line and without signs that are not seen."""
    return visible(" ".join(str(said).split()))[:most]


class Address:
    """A service behind an address: a POST with JSON. No other address is ever followed to."""

    def __init__(self, url: str, ref: str, timeout: float, key: str | None) -> None:
        """``timeout``: seconds for a whole answer; ``key``: the variable that holds the key."""
        headers = {"Authorization": f"Bearer {_secret(key, ref)}"} if key else {}
        # what stays on this machine goes through no proxy that the environment may name
        self._client = httpx.Client(
            timeout=timeout, headers=headers, trust_env=not is_here(httpx.URL(url).host)
        )
        self._url, self._ref, self._timeout = url, ref, timeout

    def ask(self, question: Mapping[str, object]) -> object:
        """As ``Line``."""
        end = time.monotonic() + self._timeout
        try:
            with self._client.stream("POST", self._url, json=question) as reply:
                self._require_answer(reply)
                return _parsed(b"".join(self._body(reply, end)), self._ref, _OF_AN_ADDRESS)
        except httpx.TimeoutException as error:
            raise AgainError("gives no answer in time") from error
        except httpx.HTTPError as error:
            told = f"can't be reached, or ends within an answer ({shown(error, 200)})"
            raise AgainError(told) from error

    def _require_answer(self, reply: httpx.Response) -> None:
        """Make sure by its status that what comes is an answer; raises as ``ask``."""
        status, told = reply.status_code, f"answers with status {reply.status_code}"
        if status in _REFUSED:
            raise Unreadable(f"{self._ref}: refuses it with status {status}", "not prepared")
        if status in _KEY_REFUSED:
            told = f"{self._ref}: refuses to answer (status {status})"
            raise InputError(told, "Is the key right, and may it be used for this?")
        if status in _BUSY or status >= 500:
            raise AgainError(told, _asked_to_wait(reply.headers.get("retry-after", "")))
        if reply.has_redirect_location:
            to = shown(reply.headers["location"])
            advice = "Pictures go to no other address: if that one is meant, name it as 'url'"
            raise InputError(f"{self._ref}: {told} and leads to {to}", advice)
        if status != 200:
            raise InputError(f"{self._ref}: {told}", _OF_AN_ADDRESS)

    def _body(self, reply: httpx.Response, end: float) -> Iterator[bytes]:
        """An answer piece by piece, until the time ``end``; raises as ``ask``."""
        length = 0
        for piece in reply.iter_bytes():
            length += len(piece)
            if length > LARGEST:
                told = f"{self._ref}: gives an answer of more than {LARGEST:,} bytes"
                raise InputError(told, _OF_AN_ADDRESS)
            if time.monotonic() > end:
                raise AgainError("gives no answer in time")
            yield piece


class Command:
    """A service that is a program here: a line of JSON in, a line of JSON out."""

    def __init__(self, words: Sequence[str], ref: str, timeout: float, folder: Path) -> None:
        """Started in ``folder`` when it is first asked; ``timeout``: seconds for an answer."""
        self._words, self._ref, self._folder, self._timeout = list(words), ref, folder, timeout
        self._process: subprocess.Popen[str] | None = None
        self._questions: queue.Queue[str | None] = queue.Queue()
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._lock = threading.Lock()

    def ask(self, question: Mapping[str, object]) -> object:
        """As ``Line``; one question at a time."""
        with self._lock:
            if self._process is None:
                self._process = self._started()
            else:
                self._require_silence()
            self._questions.put(json.dumps(question) + "\n")
            try:
                line = self._answers.get(timeout=self._timeout)
            except queue.Empty as error:
                self._end()  # a late answer would be taken for that of the next picture
                raise AgainError("gives no answer in time") from error
            if line is None:
                self._end()
                raise AgainError("ended before it answered")
            return _parsed(line, self._ref, _OF_A_COMMAND)

    def _require_silence(self) -> None:
        """Refuse a line that nothing was asked for, since every later one would be misread.

        Raises:
            InputError: there is one.
        """
        try:
            line = self._answers.get_nowait()
        except queue.Empty:
            return
        if line is None:
            self._answers.put(None)  # it has ended, which ``ask`` finds out
            return
        self._end()
        told = f"{self._ref}: writes '{shown(line)}' after its answer, as if asked for more"
        again = "Then give it another 'version', for answers kept may be those of other pictures"
        raise InputError(told, _OF_A_COMMAND, again)

    def _started(self) -> subprocess.Popen[str]:
        try:
            process = subprocess.Popen(
                self._words, cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
        except OSError as error:
            told = f"{self._ref}: '{shlex.join(self._words)}' can't be started"
            advice = "Check 'command': a program and its arguments, seen from the YAML file"
            raise InputError(f"{told} ({error.strerror or error})", advice) from error
        self._questions, self._answers = queue.Queue(), queue.Queue()
        # in threads: a program that reads nothing, or writes nothing, would be waited for for ever
        for work, stream, way in (
            (_write, process.stdin, self._questions.get),
            (_read, process.stdout, self._answers.put),
        ):
            threading.Thread(target=work, args=(stream, way), daemon=True).start()
        return process

    def _end(self) -> None:
        if self._process is not None:
            self._questions.put(None)
            self._process.kill()
            self._process.wait()
            self._process = None

    def __del__(self) -> None:
        """End the program with the model."""
        self._end()


def _read(stream: IO[str] | None, put: Callable[[str | None], None]) -> None:
    assert stream is not None
    with stream:
        for line in iter(lambda: stream.readline(LARGEST), ""):
            put(line)
    put(None)


def _write(stream: IO[str] | None, get: Callable[[], str | None]) -> None:
    assert stream is not None
    # where it has ended, or no longer reads, the answer that does not come says so
    with suppress(OSError, ValueError), stream:
        for line in iter(get, None):
            stream.write(line)
            stream.flush()


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parsed(said: bytes | str, ref: str, advice: str) -> object:
    try:
        return json.loads(said)
    except (ValueError, RecursionError) as error:
        start = shown(said.decode(errors="replace") if isinstance(said, bytes) else said)
        told = f"{ref}: answers '{start}', which is no JSON" if start else f"{ref}: answers nothing"
        page = "That is a page for people: does one have to sign in?" if start[:1] == "<" else ""
        raise InputError(told, page, advice) from error


def _asked_to_wait(said: str) -> float:
    """Seconds that a header Retry-After asks for; 0 where it names none, or a date."""
    return min(float(said), _LONGEST_WAIT) if re.fullmatch("[0-9]{1,9}", said) else 0.0


def _secret(variable: str, ref: str) -> str:
    """The key; no sentence ever quotes it."""
    value = os.environ.get(variable, "")
    if not value:
        told = f"{ref}: its key is to be in the environment as {variable}, and is not"
        raise InputError(told, f"export {variable}=... ; it is stored nowhere")
    if not re.fullmatch("[!-~]+", value):
        told = f"{ref}: the key in {variable} has a blank, an end of line or a sign beyond ASCII"
        raise InputError(told, "No header can carry it: export it without")
    return value

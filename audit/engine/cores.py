"""Compare groups on several cores: each probe's tables by themselves, the same as on one core.

The analysis is many small steps of pandas and numpy, of which Python lets one thread do one at a
time. So other processes make the tables of some probes while this one makes those of others. They
have no model: the texts that a probe asks were all read before. Whatever can't be done there (a
probe that a notebook defines, a text that was not read) is done here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from audit.core.errors import AuditError
from audit.engine.analysis import FEW, Answer, Tables, analyse
from audit.measure.metrics import METRICS
from audit.models.encoder import Rows
from audit.probes.kit.base import Design
from audit.store.embeddings import Embeddings
from audit.store.processes import Processes, packed, started, usable_cores

#: choices below which starting a process, two seconds, takes longer than it saves
_WORTH: Final = 5_000
_MOST: Final = 15


def analyse_all(
    answers: Sequence[Answer], design: Callable[[Answer], Design], told: Callable[[int], None]
) -> list[Tables]:
    """The tables of every answer, in order.

    Args:
        answers: what the probes were answered.
        design: what the comparison of an answer rests on.
        told: called with how many are done, from this thread.
    """
    work = _Work(answers, design)
    with _helpers(work):
        while (i := work.take()) is not None:
            work.tables[i] = analyse(answers[i], design(answers[i]))
            told(len(work.tables))
    for i, answer in enumerate(answers):
        if i not in work.tables:  # a helper could not
            work.tables[i] = analyse(answer, design(answer))
            told(len(work.tables))
    return [work.tables[i] for i in range(len(answers))]


class _Work:
    """What is to be done, and the tables that are there, by the answer's place."""

    def __init__(self, answers: Sequence[Answer], design: Callable[[Answer], Design]) -> None:
        self.answers, self.design = answers, design
        self.tables: dict[int, Tables] = {}
        self._left = deque(range(len(answers)))

    def take(self) -> int | None:
        """The place of an answer that nobody has begun with; None if there is none."""
        with contextlib.suppress(IndexError):
            return self._left.popleft()
        return None

    def stop(self) -> None:
        """Leave the rest undone."""
        self._left.clear()


@contextlib.contextmanager
def _helpers(work: _Work) -> Iterator[None]:
    """Other processes that take jobs as well, as long as there are any."""
    count = _wanted(work.answers)
    running: list[Processes] = []

    def help_out() -> None:
        with started(count, Analyst()) as processes:
            if processes is not None:
                running.append(processes)
                with ThreadPoolExecutor(count) as pool:
                    for _ in range(count):
                        pool.submit(_take_jobs, work, processes)

    thread = threading.Thread(target=help_out, daemon=True)
    if count:
        thread.start()
    try:
        yield
    except BaseException:
        work.stop()
        for processes in running:
            processes.end()
        raise
    finally:
        if count:
            thread.join()


def _wanted(answers: Sequence[Answer]) -> int:
    """How many processes help: one a further core, where there is much to do for them."""
    choices = [len(a.seen.images.keys) for a in answers if a.tally is not None]
    # many pictures are a matter of large products, which use all cores by themselves
    few = len(choices) < 2 or sum(choices) < _WORTH or max(choices) > FEW
    if few or os.environ.get("CLIP_AUDIT_READERS") == "0":
        return 0
    return min(usable_cores() - 1, len(choices) - 1, _MOST)


def _take_jobs(work: _Work, processes: Processes) -> None:
    """Have jobs done by a process; what it can't do is left without tables."""
    while (i := work.take()) is not None:
        answer = work.answers[i]
        with contextlib.suppress(AuditError):
            if sent := packed((_without_model(answer), work.design(answer), tuple(METRICS))):
                tables = processes.ask("analyse", sent)
                assert isinstance(tables, Tables)
                work.tables[i] = tables


class Analyst:
    """Makes the tables of a probe, in another process."""

    def analyse(self, sent: bytes) -> Tables:
        """The tables of an answer.

        Raises:
            AuditError: this process knows other metrics than the one that asks.
        """
        answer, design, metrics = pickle.loads(sent)
        if metrics != tuple(METRICS):
            raise AuditError("A metric was registered by the process that asks.")
        return analyse(answer, design)


@dataclass(frozen=True)
class _Read:
    """Texts that the model has read; any other one is an error."""

    rows: Mapping[str, Rows]

    def __call__(self, strings: Sequence[str]) -> Rows:
        return np.stack([self.rows[s] for s in strings])


def _without_model(answer: Answer) -> Answer:
    seen = answer.seen
    texts = list(dict.fromkeys(answer.probe.asked_texts(seen.dataset, seen.seed)))
    rows = dict(zip(texts, seen.texts.encode(texts), strict=True)) if texts else {}
    without = replace(seen, texts=replace(seen.texts, encode=_Read(rows)), encode=_elsewhere)
    return replace(answer, seen=without)


def _elsewhere(paths: Sequence[Path]) -> Embeddings:
    raise AuditError("Pictures are encoded where the model is.")

"""Train a CLIP on pairs of pictures and captions: the loop, its log, its checkpoints.

Everything random derives from the seed and the step, so that a run that was stopped and taken up
again gives the weights of one that was not. Several processes (``torchrun``) share each batch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from audit.core.errors import InputError
from audit.core.files import write_text
from audit.core.rows import Row
from audit.core.terminal import duration
from audit.models.huggingface import device_named
from audit.training.beginning import Begun, begin
from audit.training.config import OF_THE_MACHINE, TrainConfig, learning_rate, load_config
from audit.training.curves import draw_curves
from audit.training.feeds.batches import Batch, Feed
from audit.training.feeds.sources import Pairs
from audit.training.learner import Learner
from audit.training.objectives.registry import OBJECTIVES
from audit.training.processes import first_alone, joined, union
from audit.training.saving import facts, save_model
from audit.training.zero_shot import Asked

CHECKPOINT, LOG, BROKEN = "checkpoint.safetensors", "log.jsonl", "broken.jsonl"
LOG_EVERY, SAVE_SECONDS = 20, 60.0
#: steps that are timed to say beforehand how long all of them will take
TIMED: Final = 2


@dataclass(frozen=True)
class Trained:
    """A training that has come to its end: its folder, the facts of its card, its pairs."""

    folder: Path
    facts: Row
    pairs: Pairs
    broken: int


@dataclass(frozen=True)
class Limits:
    """Where and how far: device, CPU threads, minutes, whether a checkpoint is gone on from."""

    device: str = "auto"
    threads: int | None = None
    minutes: float | None = None
    resume: bool = True
    quiet: bool = False


USUAL = Limits()


def train(config: str | Path | TrainConfig, out: Path, limits: Limits = USUAL) -> Trained | None:
    """Train a model into the folder ``out``.

    Args:
        config: A configuration, its file, or the name of one that comes with the tool.
        out: Where the model, its log and (until it is done) its checkpoint lie.
        limits: Where it runs and how far.

    Returns:
        What came out; None where it was stopped before the end, leaving a checkpoint to go on from,
        and in all processes but the first.

    Raises:
        InputError: pairs, a model to go on from or a checkpoint that can't be used; a loss that is
            no number.
    """
    config = config if isinstance(config, TrainConfig) else load_config(config)
    pairs = config.feed.opened(config.seed)
    with repeatable(limits.threads), joined(device_named(limits.device)) as (share, target):
        if share.world > 1 and limits.minutes is not None:
            raise InputError("several processes can't stop by the clock. Leave minutes out.")
        with first_alone(share):
            begun = begin(config, pairs, out)
        feed = Feed(config, pairs, begun.prepare, begun.words, share)
        learner = Learner(begun.model.to(target), config, OBJECTIVES[config.objective], share)
        digest = digest_of(config, pairs)
        if limits.resume and (out / CHECKPOINT).is_file():
            learner.restore(out / CHECKPOINT, digest)
        run = Run(learner, feed, begun, digest, limits.quiet)
        run.to_the_end(limits.minutes)
        if learner.step < config.steps or share.rank > 0:
            return None
        save_model(learner, begun)
        told = facts(learner, begun, len(pairs), run.cast)
        (out / CHECKPOINT).unlink(missing_ok=True)
        return Trained(out, told, pairs, len(run.broken))


def digest_of(config: TrainConfig, pairs: Pairs) -> str:
    """Of all that must be the same for a checkpoint to fit."""
    said = config.model_dump(mode="json", exclude={*OF_THE_MACHINE, "feed"})
    told = json.dumps([said, config.feed.model_dump(mode="json", exclude={"path"})])
    return hashlib.sha256(f"{told}\n{pairs.digest()}".encode()).hexdigest()


def casts(config: TrainConfig, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16: on CUDA, and on CPUs that multiply it natively."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cuda" or bool(native())


@contextmanager
def repeatable(threads: int | None) -> Iterator[None]:
    """Same seed, same device, same threads: same weights. Restores what it changes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads or before)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)


@dataclass
class Run:
    """Steps until the end or until time is up; a line to the log and a checkpoint now and then."""

    learner: Learner
    feed: Feed
    begun: Begun
    digest: str
    quiet: bool
    broken: set[int] = field(default_factory=set)
    """Numbers of pairs that were set aside, by any process as of the last line of the log."""

    def __post_init__(self) -> None:
        """Say what is computed in, and compile the towers if that is asked for."""
        config = self.learner.config
        self.device = self.learner.model.logit_scale.device
        self.cast = casts(config, self.device)
        asked = config.zero_shot
        self.asked = Asked.of(asked, self.begun, self.device) if asked else None
        rank = self.learner.share.rank
        self.aside = self.begun.folder / (f"{rank}-{BROKEN}" if rank else BROKEN)
        if self.learner.step == 0:
            self.aside.unlink(missing_ok=True)
        elif self.aside.is_file():
            told = self.aside.read_text(encoding="utf-8").splitlines()
            self.broken = {json.loads(line)["pair"] for line in told}
        if config.compile:
            self.learner.model.visual.compile()
            self.learner.model.text.compile()

    def to_the_end(self, minutes: float | None) -> None:
        """All steps that are left, as far as time allows."""
        learner, config = self.learner, self.learner.config
        out, first = self.begun.folder, self.learner.share.rank == 0
        start, saved = time.monotonic() - learner.seconds, learner.seconds
        stop = math.inf if minutes is None else learner.seconds + 60 * minutes
        log = Log(out / LOG, learner.step) if first else None
        with _bar(self.quiet or not first) as bar:
            # by all processes, since they compute it together
            told = "" if self.quiet else self.forecast()
            if told and first:
                bar.console.print(told)
            task = bar.add_task(config.name, total=config.steps, completed=learner.step, about="")
            batches = self.feed.ahead(range(learner.step, config.steps), config.workers)
            while learner.step < config.steps and learner.seconds < stop:
                batch = next(batches)
                loss = learner.learn(batch, self.pixels(batch), self.cast)
                learner.seconds = time.monotonic() - start
                self._note(batch)
                due = learner.step % LOG_EVERY == 0 or learner.step == config.steps
                keep = first and learner.seconds - saved > SAVE_SECONDS
                if due or keep:
                    self.require_number(loss)
                if due:
                    self.broken = union(self.broken, learner.share)
                if due and log is not None:
                    about = log.line(learner, float(loss), len(self.broken))
                    bar.update(task, completed=learner.step, about=about)
                self._ask(log)
                if keep:
                    learner.save(out / CHECKPOINT, self.digest)
                    saved = learner.seconds
        if learner.step < config.steps and first:
            learner.save(out / CHECKPOINT, self.digest)
        if log is not None:
            draw_curves(out / LOG)

    def pixels(self, batch: Batch) -> torch.Tensor:
        """A batch's pictures as the model reads them, on its device."""
        there = batch.pixels.to(self.device, non_blocking=True)
        return self.begun.prepare.normalised(there)

    def forecast(self) -> str:
        """How long it will take, from two steps of which nothing is kept."""
        learner, config = self.learner, self.learner.config
        batch = self.feed.batch(learner.step)
        kept = {name: buffer.clone() for name, buffer in learner.model.named_buffers()}
        for _ in range(TIMED):  # the first one warms up
            began = time.monotonic()
            float(learner.gradients(self.pixels(batch), batch.tokens.to(self.device), self.cast))
            took = time.monotonic() - began
            learner.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in learner.model.named_buffers():
                buffer.copy_(kept[name])
        left = config.steps - learner.step
        return (
            f"{left:,} steps of {config.batch} pictures, {config.batch / took:,.0f} a second: "
            f"about {duration(left * took)}"
        )

    def require_number(self, loss: torch.Tensor) -> None:
        """Refuse to go on, or to keep anything, once the loss is no number.

        Raises:
            InputError: it is none.
        """
        if not math.isfinite(float(loss)):
            kept = self.begun.folder / CHECKPOINT
            before = f"{kept} is of before" if kept.is_file() else "Nothing was kept"
            rate = learning_rate(self.learner.step - 1, self.learner.config)
            told = f"after step {self.learner.step} the loss is {float(loss)}, at a learning rate"
            advice = "Take a lower learning_rate or a longer warmup, or precision: float32"
            raise InputError(f"{told} of {rate:.3g}", before, advice)

    def _note(self, batch: Batch) -> None:
        """Set broken pairs aside: each once in the list, and counted."""
        new = {each.pair: each for each in batch.broken if each.pair not in self.broken}
        self.broken |= new.keys()
        if new:
            with self.aside.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(each._asdict()) + "\n" for each in new.values())

    def _ask(self, log: Log | None) -> None:
        learner, asked = self.learner, self.learner.config.zero_shot
        if self.asked is None or asked is None or log is None:
            return
        if learner.step % asked.every == 0 or learner.step == learner.config.steps:
            log.add({"step": learner.step, "zero_shot": self.asked.right(learner.model)})


def _bar(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.fields[about]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, disable=quiet)


class Log:
    """Lines of JSON; those after the step that a run is taken up from are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        old = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in old if self._step(line) <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))

    @staticmethod
    def _step(line: str) -> float:
        try:
            return float(json.loads(line)["step"])
        except ValueError:  # cut off in the middle, as the last line of a killed run can be
            return math.inf

    def add(self, entry: Row) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def line(self, learner: Learner, loss: float, broken: int) -> str:
        """Append one line on a step; gives what the progress bar shows."""
        seen = learner.step * learner.config.batch
        speed = seen / max(learner.seconds, 1e-9)
        left = (learner.config.steps - learner.step) * learner.config.batch
        entry = {
            "step": learner.step,
            "pictures": seen,
            "loss": round(loss, 5),
            "learning_rate": round(learning_rate(learner.step - 1, learner.config), 7),
            "logit_scale": round(float(learner.model.logit_scale.detach().exp()), 3),
            "seconds": round(learner.seconds, 1),
            "pictures_per_second": round(speed, 1),
            "seconds_left": round(left / speed),
            "broken": broken,
        }  # fmt: skip
        self.add(entry)
        return f"loss {loss:.3f}, {speed:.0f} pictures/s"

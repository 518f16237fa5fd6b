"""What a verb is given, opened: a finished run, a suite's model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audit.core.terminal import say

if TYPE_CHECKING:
    from audit.core.rundir import Run
    from audit.engine.suite import Suite
    from audit.models.encoder import Encoder


def opened(path: Path, allow_edited: bool) -> Run:
    """A finished run; one that was edited only where that is allowed, and marked."""
    from audit.core.integrity import unedited
    from audit.core.rundir import open_run
    from audit.engine.consent import withdrawn_since

    finished = unedited(open_run(path), allow_edited)
    if finished.manifest.get("edited"):
        say(f"{path} is an edited run, and what is made of it says so", stderr=True)
    if told := withdrawn_since(finished):
        say(f"warning: {told}", stderr=True, style="yellow")
    return finished


def encoder_of(suite: Suite, device: str) -> Callable[[], Encoder]:
    """What loads a suite's model, once, and says what a reader of its numbers has to know."""

    @functools.cache
    def load() -> Encoder:
        from audit.models.families import load as load_encoder

        encoder = load_encoder(suite.model, device, suite.precision, decoding=suite.decoding)
        told_of_model(encoder.card.caveats)
        return encoder

    return load


def told_of_model(caveats: Sequence[str]) -> None:
    """What a reader of this model's numbers has to know; the report says it too."""
    for caveat in caveats:
        say(f"model: {caveat}", stderr=True, style="yellow")

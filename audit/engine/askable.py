"""What can be asked of a model and of pictures, decided before an hour is spent on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from audit.core.errors import InputError
from audit.engine.suite import Suite
from audit.models import self_check
from audit.models.encoder import GIVES, Encoder, Gives, Located, Recorded
from audit.models.self_check import SelfCheck
from audit.probes.kit.footage import InPoorFootage

if TYPE_CHECKING:
    from audit.engine.embed import Progress


_GIVEN: Final[Mapping[Gives, str]] = {
    "choices": "the labels it chooses",
    "scores": "scores of labels",
    "embeddings": "embeddings",
}


def require_sound(suite: Suite, encoder: Encoder, kept: Path, progress: Progress) -> SelfCheck:
    """Whether the model answers easy questions, before an hour is spent on it.

    ``kept`` is a folder that remembers it, by the model's fingerprint.

    Raises:
        InputError: it answers them as by chance, and the suite says to stop then.
    """
    if suite.self_check == "skip":
        return SelfCheck(reason="the suite says 'self_check: skip'")
    progress("ask the model easy questions", 0, 1)
    found = self_check.check(encoder, kept)
    if suite.self_check == "stop":
        self_check.require(found, suite.model)
    progress("ask the model easy questions", 1, 1)
    return found


def require_askable(suite: Suite, located: Located) -> None:
    """Refuse, before a model is loaded, what it can't be asked as far as its files tell.

    Raises:
        InputError: as ``require_possible`` and ``require_readable``.
    """
    if located.model is not None:
        require_possible(suite, located.model)
    elif not suite.pictures.card.pictures:
        raise _no_pictures(suite)
    if located.read is not None:
        require_readable(suite, located.read)


def require_possible(suite: Suite, encoder: Encoder) -> None:
    """Refuse questions that this model can't be asked, before anything is done.

    Raises:
        InputError: pictures may not be sent to it; a probe needs more than it gives, or alters
            pictures where there are records only; the records lack a text or picture; pictures
            are needed and there are none.
    """
    _require_sendable(suite, encoder.card.sends_to)
    gives, recorded = encoder.card.gives, encoder.card.recorded
    for probe in suite.asked:
        told = f"'{probe.task}': a probe of the kind '{probe.kind}'"
        advice = "Take the probe out, or name another model"
        if GIVES.index(probe.needed) > GIVES.index(gives):
            told = f"{told} needs {_GIVEN[probe.needed]}, and '{suite.model}' gives {_GIVEN[gives]}"
            raise InputError(f"{told} only", advice)
        if probe.bounded and not encoder.card.scoring.known:
            told = f"{told} needs scores from 0 to 1, and those of '{suite.model}' are on another "
            step = "Say which in its description: 'scores: percent' or 'scores: logit'"
            raise InputError(f"{told}scale", f"{step} (docs/records.md)")
        if recorded and probe.alterations():
            told = f"{told} alters pictures, and of '{suite.model}' there are records only"
            if isinstance(probe, InPoorFootage) and probe.corruptions:
                advice = "Take 'corruptions' out of the probe, or name another model"
            raise InputError(told, advice)
        if isinstance(encoder, Recorded):
            texts = list(dict.fromkeys(probe.asked_texts(suite.pictures, suite.seed)))
            try:
                encoder.require(texts, probe.pictures(suite.pictures))
            except InputError as error:
                raise InputError(f"'{probe.task}': {error}") from error
    if isinstance(encoder, Recorded):
        _require_records(suite, encoder)
    if not (recorded or suite.pictures.card.pictures):
        raise _no_pictures(suite)


def _no_pictures(suite: Suite) -> InputError:
    """The error for a model that looks at pictures, of which there are none."""
    told = (
        f"the data set '{suite.pictures.name}' has no pictures ('pictures: false' in its "
        f"card), and '{suite.model}' has to look at them"
    )
    advice = "Name recorded answers as the model (docs/records.md), or give the pictures"
    return InputError(told, advice)


def _require_records(suite: Suite, encoder: Recorded) -> None:
    """Refuse records of which too many pictures have none.

    Raises:
        InputError: more than the suite allows.
    """
    ids = [str(i) for i in suite.pictures.table["image_id"]]
    missing = encoder.missing(ids)
    if len(missing) / len(ids) > suite.max_quarantined:
        first = next(iter(missing))
        told = (
            f"{encoder.card.ref}: {len(missing):,} of {len(ids):,} pictures have no usable record, "
            f"more than the {suite.max_quarantined:.0%} that the suite allows"
        )
        advice = "Add them, or raise 'max_quarantined' in the suite"
        raise InputError(told, f"The first is {first}: {missing[first]}", advice)


def _require_sendable(suite: Suite, address: str) -> None:
    """Refuse to send pictures of people anywhere that the suite does not name.

    Raises:
        InputError: it isn't acknowledged, or the data set's card states no legal basis.
    """
    if not address:
        return
    if address not in suite.acknowledge:
        told = f"'{suite.model}': pictures of people would leave this machine for {address}"
        add = f"If that is meant and allowed, add '{address}' to 'acknowledge' in the suite"
        raise InputError(told, add)
    if refusal := suite.pictures.refuse_sending(address):
        raise InputError(refusal)


def require_readable(suite: Suite, read: Callable[[Sequence[str]], object]) -> None:
    """Refuse texts that the model can't read whole, before any picture is encoded.

    Raises:
        InputError: ``read`` refuses one; names the task.
    """
    for probe in suite.asked:
        if texts := list(dict.fromkeys(probe.asked_texts(suite.pictures, suite.seed))):
            try:
                read(texts)
            except InputError as error:
                raise InputError(f"'{probe.task}': {error}") from error

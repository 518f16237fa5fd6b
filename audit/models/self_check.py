"""Easy questions that any CLIP answers, asked before an audit: is this model read as it is meant?

Plain colours, shapes and digits are drawn (``audit.models.drawn``). A narrow model says in
``self_check.yaml``, beside its weights, what it can be asked instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from audit.core.errors import AuditError, InputError, sentence
from audit.core.rows import Row
from audit.data.dataset import load as load_dataset
from audit.data.images import decode, pixel_digest
from audit.data.yamlfile import load_yaml, validate
from audit.models import hub
from audit.models.drawn import Battery, easy
from audit.models.encoder import Encoder, digest_of, write_note

FILE: Final = "self_check.yaml"
#: as many right answers as this come by chance in one of a thousand checks
_CHANCE: Final = 0.999


@dataclass(frozen=True)
class SelfCheck:
    """What came of it: ``right`` of ``asked``, where ``chance`` or fewer could be luck.

    ``parts`` are the same by battery; ``reason`` says why there are none.
    """

    asked: int = 0
    right: int = 0
    chance: int = 0
    parts: tuple[tuple[str, int, int], ...] = ()
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was done and the answers are better than luck."""
        return self.asked > 0 and self.right > self.chance

    @property
    def failed(self) -> bool:
        """Whether it was done and the answers could be luck."""
        return self.asked > 0 and not self.passed

    @property
    def told(self) -> str:
        """The result in a sentence without its stop."""
        if self.reason:
            return f"not done: {self.reason}"
        parts = ", ".join(f"{name} {right} of {asked}" for name, right, asked in self.parts)
        return (
            f"{self.right} of {self.asked} easy questions right ({parts}); up to {self.chance} "
            "could be luck"
        )

    @property
    def facts(self) -> Row:
        """What a run keeps of it."""
        return asdict(self) | {"told": self.told, "passed": self.passed}


def check(encoder: Encoder, kept: Path | None = None) -> SelfCheck:
    """Ask a model the easy questions, of its own if it declares some.

    A model that can't be asked is not judged: of recorded answers, or labels of its own, there is
    no telling. ``kept`` is a folder that remembers what a model of this fingerprint answered.
    """
    card = encoder.card
    if card.recorded:
        return SelfCheck(reason="there are recorded answers only, and nothing to ask")
    if card.gives != "embeddings":
        return SelfCheck(reason="the system answers with labels of its own, and no others")
    try:
        batteries = batteries_of(card.ref)
        found = [_right(encoder, battery, kept) for battery in batteries]
    except (AuditError, LookupError, ValueError, TypeError) as error:
        return SelfCheck(reason=f"the model refuses to be asked ({str(error)[:200]})")
    parts = tuple((b.name, right, len(b.right)) for b, right in zip(batteries, found, strict=True))
    chances = [1 / len(b.texts) for b in batteries for _ in b.right]
    return SelfCheck(len(chances), sum(found), by_luck(chances), parts)


def require(result: SelfCheck, ref: str) -> None:
    """Refuse a model that answers easy questions as by chance.

    Raises:
        InputError: names the usual causes.
    """
    if not result.failed:
        return
    told = f"{ref} fails its self-check: {result.told}"
    causes = (
        "Usual causes: another checkpoint's tokenizer, other preprocessing than it was trained "
        "with (size, mean and standard deviation), or weights that were never trained"
    )
    advice = (
        "If it can't know plain colours, shapes and digits, say 'self_check: skip' in the suite, "
        "or --self-check skip"
    )
    raise InputError(told, causes, advice)


def by_luck(chances: Sequence[float], level: float = _CHANCE) -> int:
    """How many questions are answered right by guessing, at most, in ``level`` of all checks.

    Formula: the quantile of a sum of independent draws, each right with its own chance (Poisson
    binomial), whose distribution is the convolution of theirs. Range: 0 to their number.
    """
    shares = np.ones(1)
    for chance in chances:
        shares = np.convolve(shares, [1 - chance, chance])
    return int(np.searchsorted(np.cumsum(shares), level))


def _right(encoder: Encoder, battery: Battery, kept: Path | None) -> int:
    """How many are answered rightly, as remembered for these very questions or as asked now."""
    if kept is None:
        return asked(encoder, battery)
    pictures = [pixel_digest(picture) for picture in battery.pictures]
    question = {"texts": battery.texts, "pictures": pictures, "right": battery.right}
    note = kept / digest_of({"model": encoder.card.fingerprint, **question})
    with contextlib.suppress(OSError, ValueError):
        known = int(note.read_text(encoding="ascii"))
        if 0 <= known <= len(battery.right):
            return known
    found = asked(encoder, battery)
    write_note(note, str(found))
    return found


def asked(encoder: Encoder, battery: Battery) -> int:
    """How many of a battery's pictures are nearest to their own text."""
    pictures = encoder.encode_images(battery.pictures)
    texts = encoder.encode_texts(battery.texts)
    nearest = (pictures.astype(np.float64) @ texts.astype(np.float64).T).argmax(axis=1)
    return int((nearest == np.array(battery.right)).sum())


# --- what is asked --------------------------------------------------------------------------------


class Declared(BaseModel):
    """What a narrow model can be asked: pictures of a data set, by the values of one column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    column: str
    prompts: dict[str, str] = Field(min_length=2, description="value: the text that means it")


def batteries_of(ref: str) -> Sequence[Battery]:
    """The questions of a model: those that its folder declares, else those that are drawn.

    Raises:
        InputError: its declaration isn't well formed.
    """
    folder = hub.here(ref)
    if folder is None or not (folder / FILE).is_file():
        return list(easy())
    return [_declared(folder / FILE)]


def _declared(path: Path) -> Battery:
    """A picture of each value, the first in the data set's order."""
    said = validate(Declared, load_yaml(path), str(path))
    people = load_dataset(said.dataset, where=str(path))
    values = people.texts(said.column)
    files = dict(people.files())
    shown = [(place, values.index[values == value]) for place, value in enumerate(said.prompts)]
    if gone := [value for (_, ids), value in zip(shown, said.prompts, strict=True) if ids.empty]:
        raise InputError(sentence(f"{path}: no picture has '{gone[0]}' in '{said.column}'"))
    pictures = tuple(decode(files[ids[0]]) for _, ids in shown)
    name = said.column.replace("_", " ")
    return Battery(name, tuple(said.prompts.values()), pictures, tuple(p for p, _ in shown))

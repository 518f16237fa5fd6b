"""What could not be rendered: named in its place, so that nothing else is lost by it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audit.core.errors import AuditError, sentence
from audit.core.page import Markdown, escaped

#: longest text of an exception that is quoted
_MOST: Final = 200
_NEXT: Final = (
    "Nothing else is missing, and the run's tables hold its numbers",
    "If an update of clip-audit does not mend it, report this line",
)


class DamagedWarning(UserWarning):
    """A part of a rendering is missing; the text says which and why."""


@dataclass(frozen=True)
class Damage:
    """One part that could not be rendered, such as "figure 'group_counts'", and why."""

    part: str
    why: str

    @classmethod
    def of(cls, part: str, error: Exception, quoted: bool = True) -> Damage:
        """The damage that an exception did.

        ``quoted``: with the exception's own words, which may hold names or a path of this machine;
        without them where the rendering is to be published.
        """
        if isinstance(error, AuditError) and quoted:
            return cls(part, str(error))
        words = " ".join(str(error).split())
        words = words if len(words) <= _MOST else words[: _MOST - 1] + "…"
        told = f"{type(error).__name__}{f': {words}' if words and quoted else ''}"
        return cls(part, f"{told} ({_place(error)})")

    def __str__(self) -> str:
        """One sentence and what to do next."""
        return sentence(f"{self.part} could not be rendered: {self.why}", *_NEXT)


class Damaged(Markdown):
    """What stands in the place of a damaged part; as a list it has itself as its only item."""

    def __new__(cls, damage: Damage) -> Damaged:
        """The damage as bold Markdown on one line."""
        return super().__new__(cls, f"**⚠ {escaped(str(damage))}**")

    def __iter__(self) -> Iterator[str]:
        return iter((Markdown(str(self)),))


def _place(error: Exception) -> str:
    """The file and line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "unknown"

"""Chapters of a report that were not asked: one list instead of a heading each."""

from __future__ import annotations

import re
from typing import Final

#: the heading of the list of chapters that were not asked, and what each of them says
NOT_ASKED: Final = "Not asked in this run"
_NOT_ASKED: Final = re.compile(rf"## (.*)\s+((?:{NOT_ASKED}\. .*\s*)+)")


def gathered(text: str) -> str:
    """The text with chapters that were not asked in one list, where the first of them stood."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    empty = {i: found for i, part in enumerate(parts) if (found := _NOT_ASKED.fullmatch(part))}
    if len(empty) < 2:
        return text
    lines = "\n".join(f"- **{found[1]}** {_would(found[2])}" for found in empty.values())
    parts[min(empty)] = f"## {NOT_ASKED}\n\n{lines}\n\n"
    return "".join(part for i, part in enumerate(parts) if i not in [*empty][1:])


def _would(told: str) -> str:
    """What would ask for a chapter, on one line."""
    return " ".join(told.replace(f"{NOT_ASKED}. ", "").split())

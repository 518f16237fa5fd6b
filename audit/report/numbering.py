"""Figures and tables of a report are numbered all through, and its text names them by number.

Where a report is written its numbers are not known yet, so a text says ``number_of(FIGURE, name)``
for a figure and ``number_of(TABLE, name)`` for the table after ``named(name)``; ``numbered`` puts
the numbers in their places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from audit.core.page import Markdown

FIGURE: Final = "Figure"
TABLE: Final = "Table"
_ASKED: Final = re.compile(rf"\x02({FIGURE}|{TABLE}) ([^\x02]*)\x02")
_NAMED: Final = re.compile(r'\[//\]: # "table ([^"]*)"')
_FIGURE: Final = re.compile(r"!\[.*\]\(figures/(.*)\.png\)")
_HEAD_ENDS: Final = re.compile(r"\|(?: *:?-+:? *\|)+")
_FENCE: Final = re.compile(r"(`{3,}|~{3,})")


def number_of(kind: str, name: str) -> Markdown:
    """The number of a figure or table, once ``numbered`` knows it: 'Figure 3'."""
    return Markdown(f"\x02{kind} {name}\x02")


def named(name: str) -> Markdown:
    """A line that no reader sees: the name of the table after it."""
    return Markdown(f'[//]: # "table {name}"')


def numbered(text: str, begins: str, ends: str) -> tuple[str, Mapping[str, str]]:
    """A report with its figures and tables numbered from 1, each in the order of the text.

    Args:
        text: a report's Markdown.
        begins: the line from which on tables are told with their figure, and have no number.
        ends: the line after which they have one again.

    Returns:
        The text, and the numbers by what ``number_of`` gave for them, for HTML beside it. What is
        not in the text is said so: 'Figure –'.
    """
    count = _Count(begins, ends)
    lines = list(count.lines(text.split("\n")))
    return with_numbers("\n".join(lines), count.numbers), count.numbers


def with_numbers(text: str, numbers: Mapping[str, str]) -> str:
    """A text with numbers in place of the names of figures and tables."""
    return _ASKED.sub(lambda asked: numbers.get(asked[0], f"{asked[1]} –"), text)


@dataclass
class _Count:
    """Lines in order, and how many figures and tables there were."""

    begins: str
    ends: str
    numbers: dict[str, str] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=lambda: {FIGURE: 0, TABLE: 0})

    def lines(self, lines: list[str]) -> Iterator[str]:
        name, fence, silent = "", "", False
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            silent = line == self.begins or silent and line != self.ends
            opened = _FENCE.match(line)
            if opened and (not fence or line.startswith(fence)):
                fence = "" if fence else opened[1]
            if fence:
                yield line
            elif found := _FIGURE.fullmatch(line):
                self._next(FIGURE, PurePosixPath(found[1]).name)
                yield line
            elif found := _NAMED.fullmatch(line):
                name = found[1]
            elif line.startswith("|") and _HEAD_ENDS.fullmatch(after) and not silent:
                yield f"\n*{self._next(TABLE, name)}*\n"
                yield line
                name = ""
            else:
                yield line

    def _next(self, kind: str, name: str) -> str:
        self.seen[kind] += 1
        number = f"{kind} {self.seen[kind]}"
        self.numbers.setdefault(str(number_of(kind, name)), number)
        return number

"""A report's Markdown as blocks, from which documents of other kinds are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.token import Token

from audit.core.characters import visible
from audit.core.page import MARKS


@dataclass(frozen=True)
class Span:
    """A piece of text and how it is set; ``link`` is its address."""

    text: str
    bold: bool = False
    italic: bool = False
    code: bool = False
    link: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading of a level from 1."""

    level: int
    spans: Sequence[Span]


@dataclass(frozen=True)
class Paragraph:
    """Text; ``mark`` is the bullet or number of a list's item, ``depth`` how deep that list is."""

    spans: Sequence[Span]
    mark: str = ""
    depth: int = 0
    quote: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first being the head; ``right`` tells which columns hold numbers."""

    rows: Sequence[Sequence[Sequence[Span]]]
    right: Sequence[bool]

    @property
    def headed(self) -> bool:
        """Whether the head says anything."""
        return any(cell for cell in self.rows[0])


@dataclass(frozen=True)
class Code:
    """Lines to be shown as they are."""

    text: str


@dataclass(frozen=True)
class Image:
    """A figure of the run by its file, and its words for those who can't see it."""

    path: Path
    words: str


Block: TypeAlias = Heading | Paragraph | Table | Code | Image

_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")


def blocks(text: str, folder: Path) -> list[Block]:
    """The blocks of a report, top to bottom.

    Args:
        text: ``report.md``; raw HTML in it is text.
        folder: where the figures' paths begin. Pictures elsewhere are left as words.
    """
    return list(_Reader(folder).read(_PARSER.parse(text)))


class _Reader:
    """Walks tokens; holds in what lists and quotes it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lists: list[int | None] = []  # the next number; None in a list of bullets
        self.mark, self.quotes = "", 0
        self.level = 0  # of the last heading

    def read(self, tokens: Sequence[Token]) -> Iterator[Block]:
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token.type == "table_open":
                end = next(i for i in range(at, len(tokens)) if tokens[i].type == "table_close")
                yield _table(tokens[at:end])
                at = end
            elif token.type in ("fence", "code_block"):
                yield Code(token.content.rstrip("\n"))
            elif token.type == "inline":
                yield from self._text(tokens[at - 1], token)
            else:
                self._enter(token)
            at += 1

    def _enter(self, token: Token) -> None:
        if token.type in ("bullet_list_open", "ordered_list_open"):
            ordered = token.type == "ordered_list_open"
            self.lists.append(int(token.attrs.get("start", 1)) if ordered else None)
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            self.lists.pop()
        elif token.type == "list_item_open":
            number = self.lists[-1]
            self.mark = "•" if number is None else f"{number}."
            if number is not None:
                self.lists[-1] = number + 1
        elif token.type in ("blockquote_open", "blockquote_close"):
            self.quotes += 1 if token.type == "blockquote_open" else -1

    def _text(self, before: Token, token: Token) -> Iterator[Block]:
        children = token.children or []
        if before.type == "heading_open":
            # none is left out, since some readers jump from one to the next below
            self.level = min(int(before.tag[1:]), self.level + 1)
            yield Heading(self.level, spans(children))
            return
        if len(children) == 1 and children[0].type == "image":
            path = self.folder / str(children[0].attrs["src"])
            inside = path.resolve().is_relative_to(self.folder.resolve())
            if inside and path.is_file():
                yield Image(path, children[0].content)
                return
        mark, self.mark = self.mark, ""
        yield Paragraph(spans(children), mark, len(self.lists), self.quotes > 0)


def _table(tokens: Sequence[Token]) -> Table:
    rows: list[list[list[Span]]] = []
    right: list[bool] = []
    for i, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(spans(tokens[i + 1].children or []))
            if token.type == "th_open":
                right.append("right" in str(token.attrs.get("style", "")))
    return Table(rows, right)


def spans(children: Sequence[Token]) -> list[Span]:
    """Inline tokens as pieces of text; a picture among words is its words.

    What is not seen, and XML may not hold, is shown as its number.
    """
    style, found = Span(""), list[Span]()
    for token in children:
        if token.type in ("strong_open", "strong_close"):
            style = replace(style, bold=token.nesting == 1)
        elif token.type in ("em_open", "em_close"):
            style = replace(style, italic=token.nesting == 1)
        elif token.type in ("link_open", "link_close"):
            style = replace(style, link=str(token.attrs.get("href", "")))
        elif token.type == "code_inline":
            found.append(replace(style, text=token.content, code=True))
        elif token.type in ("softbreak", "hardbreak"):
            found.append(replace(style, text=" "))
        elif token.content:
            whole = style.bold and token.content in _VERDICTS
            words = token.content.replace(" ", "\u00a0") if whole else token.content
            found.append(replace(style, text=words))
    return [replace(span, text=allowed(span.text)) for span in found]


def allowed(text: str) -> str:
    """Text that XML can hold: what is not seen is shown as its number."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", visible(text))


_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: kept on one line, also in a narrow column
_VERDICTS: Final = frozenset(f"{sign} {verdict}" for verdict, (sign, _) in MARKS.items())


def widths(
    rows: Sequence[Sequence[Sequence[Span]]], width: float, measure: Callable[[str], float]
) -> list[float]:
    """Widths of a table's columns, in proportion to their words, none so narrow that words break.

    Where the longest words of all columns are wider than the page, those over a third of it break;
    if that is not enough, the columns are together wider than ``width``.

    Args:
        rows: of the table, as ``Table.rows``.
        width: of the page, in any unit.
        measure: how wide a word is in its cell, in the same unit.
    """
    columns = list(zip(*rows, strict=True))
    longest = [max(len(plain(cell)) for cell in column) for column in columns]
    words = [{w for cell in column for w in plain(cell).split(" ")} for column in columns]
    least = [max(map(measure, found)) for found in words]
    if sum(least) > width:
        least = [min(wide, width / 3) for wide in least]
    spare = max(0.0, width - sum(least))
    letters = [max(map(len, found)) for found in words]
    share = [max(0.0, min(n, 120) - w) + 0.1 for n, w in zip(longest, letters, strict=True)]
    return [m + spare * s / sum(share) for m, s in zip(least, share, strict=True)]


def plain(pieces: Sequence[Span]) -> str:
    """The words alone."""
    return "".join(piece.text for piece in pieces)

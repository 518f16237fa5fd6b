"""What is looked for in the author's words: claims, numbers typed by hand, headings and HTML.

Here is what one text says by itself; ``narrative`` knows the run and its findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from audit.core.errors import sentence
from audit.core.page import escaped
from audit.core.tables import EXCEEDS, INCONCLUSIVE, WITHIN
from audit.data.yamlfile import Loc

FILE: Final = "narrative.yaml"


@dataclass(frozen=True)
class Problem:
    """What is wrong with the author's words, and where.

    ``kind``: an *error* stops rendering; a *claim* is stronger than what was found and is printed
    below the words; a *note* is for the author alone. ``at`` is the key of the text it is in.
    """

    line: int
    kind: Literal["error", "claim", "note"]
    told: str
    at: Loc = ()

    def __str__(self) -> str:
        """With the file and line before it."""
        return sentence(f"{FILE}:{self.line}: {self.told}")


#: the end of the line before a block of text
_BLOCK: Final = re.compile(r"(^|[\s:-])\|[-+0-9]*\s*(#.*)?$")


@dataclass(frozen=True)
class Passage:
    """A text of the author's: where it stands in the file, and its lines there."""

    at: Loc
    text: str
    first: int
    source: Sequence[str]

    def line_of(self, start: int, found: str) -> int:
        """The line of the file on which what starts at ``start`` of the text stands."""
        piece = found.split("\n")[0]
        if _BLOCK.search(self.source[0]):  # its text begins on the line after the key
            return self.first + self.text.count("\n", 0, start) + 1
        # folded or in quotes: as often as it is in the text before, so often in lines before
        before = self.text.count(piece, 0, start)
        for i, line in enumerate(self.source):
            before -= line.count(piece)
            if before < 0:
                return self.first + i
        return self.first


QUOTE: Final = re.compile(r"\{\{\s*([^\s{}=]+)\s*(?:=\s*([^{}]+?)\s*)?\}\}")


_NO_AUDIT: Final = "is more than any audit can show"


#: what no audit can say, whatever it found
_NEVER: Final = tuple(
    (re.compile(pattern, re.I), why)
    for pattern, why in (
        (
            r"\b(no|zero|without( any)?|free (of|from)|lacks( any)?)\s+"
            r"((evidence|signs?|traces?) of\s+)?(any\s+|racial\s+|gender\s+)?"
            r"(bias(es)?|disparit(y|ies)|discrimination)\b",
            f"{_NO_AUDIT}: say which gaps are within which margin, and what is open",
        ),
        (
            r"\b(not|isn['’]t|aren['’]t|never)\s+(at all\s+)?(biased|discriminatory)\b|"
            r"\bdoes(n['’]t| not)\s+discriminate\b|\bbias[- ]free\b",
            f"{_NO_AUDIT}: say which gaps are within which margin",
        ),
        (r"\b(unbiased|de-?bias(ed|es|ing)?)\b", f"{_NO_AUDIT}: say what was mitigated, how far"),
        (
            r"\bfair(?![- ](skin|hair|weather|use)|face)(ly|er|est)?\b",
            "is a verdict that no audit gives: name the gap, its margin and its verdict",
        ),
        (r"\b(un|in)?equitabl[ey]\b|\beven-?handed\b", "is a verdict that no audit gives"),
        (
            r"\b(prov(es?|en|ed|ing)|proofs? (of|that))\b",
            f"{_NO_AUDIT}: a gap exceeds its margin, is within it or stays inconclusive",
        ),
        (
            r"\b(certif(y|ies|ied|ication)|guarantee[sd]?)\b",
            "is no outcome of an audit: say what was looked at and what came of it",
        ),
        (
            r"\b(complian(t|ce)|complies|comply)\b",
            "is a legal judgement that this report does not make: say where evidence stands",
        ),
    )
)


_SIGNIFICANT: Final = re.compile(r"\b(in)?significant(ly)?\b", re.I)


#: what says more than each verdict, where a sentence quotes findings of this verdict only
_BEYOND: Final = {
    INCONCLUSIVE: re.compile(
        r"\b(shows?|showed|(?<!neither )exceed(s|ed)? (the|its) margin|within (the|its) margin|"
        r"demonstrat\w+|confirm\w*|establish\w*|clear(ly)?|large|small|no (real )?difference|"
        r"equal(ly)?|the same|identical(ly)?|even(ly)?)\b",
        re.I,
    ),
    WITHIN: re.compile(
        r"\b(large|exceeds margin|(?<!no )(gap|difference|it) exceed(s|ed) (the|its) margin|"
        r"substantial|serious|severe|no (real )?difference|equal(ly)?|the same|identical(ly)?|"
        r"evenly|inconclusive|can(not|['’]t) tell)\b",
        re.I,
    ),
    EXCEEDS: re.compile(
        r"\b(small|(?<!not )within (the|its)? ?margin|not exceed|negligible|minor|slight|harmless|"
        r"no (real )?difference|equal(ly)?|inconclusive|can(not|['’]t) tell)\b",
        re.I,
    ),
}


#: before a claim in the same clause: it is not made
_HEDGE: Final = re.compile(
    r"(\b(not|never|nor|no)|n['’]t|\bcannot)\s+((be|been|to)\s+)?"
    r"(mean|show|shown|prove|claim|say|tell|imply|conclude|call|taken|read|evidence|certificate)"
    r"\w*\b[^,;:]*$|\bwhether\b[^,;:]*$",
    re.I,
)


_TYPED: Final = re.compile(
    r"(?<![\w.{-])\d+(?:[.,]\d+)?\s*(?:%|per ?cent\b|percentage points?\b|points?\b|times\b)"
)


def overclaims(text: str, verdicts: set[str]) -> Iterator[tuple[re.Match[str], str]]:
    """Claims in one sentence that quotes findings of these verdicts."""
    for pattern, why in _NEVER:
        yield from ((m, why) for m in _stated(pattern, text))
    if not verdicts & {EXCEEDS, "seen"}:
        why = "without a finding that exceeds the margin: quote the finding it is about"
        if verdicts:
            why = f"is more than the finding’s verdict, {' or '.join(sorted(verdicts))}"
        yield from ((m, why) for m in _stated(_SIGNIFICANT, text))
    if len(verdicts) == 1 and (verdict := next(iter(verdicts))) in _BEYOND:
        why = f"is another thing than the finding’s verdict, {verdict}"
        yield from ((m, why) for m in _stated(_BEYOND[verdict], text))


def _stated(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Where a pattern is found and is not denied before it in the same clause."""
    return (m for m in pattern.finditer(text) if not _HEDGE.search(text[: m.start()]))


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every sentence; a paragraph or an item of a list ends one too."""
    start = 0
    for stop in re.finditer(r"[.!?…](?=\s|$)|\n[ \t]*\n|\n(?=\s*([-*+]|\d+[.)])\s)|\|", text):
        yield start, stop.end()
        start = stop.end()
    yield start, len(text)


def typed_numbers(passage: Passage) -> Iterator[Problem]:
    """Numbers with a unit that nobody keeps in step with the run."""
    bare = QUOTE.sub(blanked, passage.text)
    for match in _TYPED.finditer(bare):
        told = f"‘{match[0]}’ is typed by hand, so nothing keeps it in step with the run"
        yield Problem(
            passage.line_of(match.start(), match[0]),
            "note",
            sentence(told, "Quote the finding: {{ finding-id }}"),
        )


_AS_HTML: Final = MarkdownIt("commonmark", {"html": True}).enable("table")


def markup(passage: Passage) -> Iterator[Problem]:
    """Headings would break the report's own order; HTML is not carried out."""
    if passage.at[0] != "sections":
        return
    starts = list(accumulate((len(line) + 1 for line in passage.text.split("\n")), initial=0))
    row, past, told = 0, 0, set[int]()
    for token in _AS_HTML.parse(passage.text):
        row = token.map[0] if token.map else row  # a table's cells know only their row's
        if token.type == "heading_open":
            line = passage.line_of(starts[row], passage.text[starts[row] :])
            complaint = sentence("a heading inside a section of the report", _NO_HEADING)
            yield Problem(line, "error", complaint)
        for below, tag in _tags(token):
            past = max(passage.text.find(tag, max(past, starts[row + below])), starts[row + below])
            line = passage.line_of(past, tag)
            past += len(tag)
            if line not in told:
                yield Problem(line, "note", _NO_HTML)
            told.add(line)


_NO_HEADING: Final = "Write **bold words** instead"


_NO_HTML: Final = "HTML is not carried out; it stands in the report as the text it is"


def _tags(token: Token) -> Iterator[tuple[int, str]]:
    """Pieces of HTML in a block of text, each with the line of the block where it begins."""
    if token.type == "html_block":
        yield 0, token.content.split("\n")[0].lstrip()
    row = 0
    for child in token.children or ():
        row += child.type in ("softbreak", "hardbreak")
        if child.type == "html_inline":
            yield row, child.content.split("\n")[0]
            row += child.content.count("\n")


def without_html(text: str) -> str:
    """Markdown in which no HTML is left: every '<' of a tag is escaped, code stays code."""
    tag = re.compile(r"<(?=[A-Za-z/!?])")
    lines = [_outside_code(line, tag) for line in text.split("\n")]
    kept = "\n".join(lines)
    tokens = [t for token in _AS_HTML.parse(kept) for t in (token, *(token.children or ()))]
    if any(t.type in ("html_block", "html_inline") for t in tokens):
        return re.sub(r"(?<!\\)<", r"\\<", kept)  # code that isn't, by its backticks
    return kept


def _outside_code(line: str, tag: re.Pattern[str]) -> str:
    parts = re.split(r"((?<![\\`])(`+)(?!`).*?(?<!`)\2(?!`))", line)
    return "".join(
        tag.sub(r"\\<", part) if i % 3 == 0 else part if i % 3 == 1 else ""
        for i, part in enumerate(parts)
    )


def escaped_inside(text: str) -> str:
    """Text escaped as a piece of a line: blanks at its ends stay."""
    before, after = re.match(r"\s*", text), re.search(r"\s*$", text)
    if not text.strip() or before is None or after is None:
        return text
    return before[0] + escaped(text.strip()) + after[0]


def blanked(match: re.Match[str]) -> str:
    """As many blanks, so that places stay where they are."""
    return re.sub(r"[^\n]", " ", match[0])

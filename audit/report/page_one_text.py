"""The first page of a report as Markdown: for ``report.md`` and the documents made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from audit.core.evidence import linked
from audit.core.page import Markdown, escaped
from audit.measure.fact_words import (
    groups_in_words,
    points,
    rate_of,
    relief_in_words,
    variants_in_words,
)
from audit.probes.kit.cells import table, tag
from audit.report.page_one import Card, PageOne

#: these lines are seen by no reader of Markdown: the page is between them
BEGINS: Final = '[//]: # "page one begins"'
ENDS: Final = '[//]: # "page one ends"'
QUOTES: Final = (
    "Content warning. This report quotes words that a model was asked to choose for pictures of "
    "people; some are hurtful. They say nothing true about anyone shown."
)


def as_markdown(page: PageOne, figure: Markdown) -> Markdown:
    """The first page, between two lines that no reader sees.

    Args:
        page: what it says.
        figure: the figure of its facts, as Markdown.
    """
    return Markdown("\n\n".join([BEGINS, *_parts(page, figure), ENDS]))


def _parts(page: PageOne, figure: Markdown) -> Iterator[str]:
    yield escaped(" · ".join(page.head))
    yield "\n".join(f"> {escaped(line)}" for line in (QUOTES, *page.warnings))
    yield f"**{escaped(page.answer)}** {escaped(page.besides)}"
    if page.note:
        yield f"*{escaped(page.note)}*"
    if page.cards:
        yield "**The facts that matter most**"
        yield "\n".join(_card(card) for card in page.cards)
        yield escaped(page.reading)
    if page.rows:
        yield figure
        yield from filter(None, [escaped(counted(page))])
        yield table(_row(card) for card in page.rows)
    if page.sure:
        yield "**How sure**"
        yield "\n".join(f"- {escaped(line)}" for line in page.sure)
    if page.words or page.next:
        yield "**What to do next**"
        yield from filter(None, [page.words])
        yield "\n".join(
            f"{i}. {escaped(action.text)} *{escaped(action.standing)}*"
            for i, action in enumerate(page.next, start=1)
        )


def _card(card: Card) -> str:
    place = card.place
    tags = [escaped(f"({', '.join(card.tags)})")] if card.tags else []
    told = [tag(card.fact.verdict.value), *tags, escaped(card.fact.statement)]
    told += map(escaped, beside(card))
    return f"- {' '.join([*told, linked('Evidence', place) + '.' if place else '']).strip()}"


def beside(card: Card) -> list[str]:
    """What else a card says of its fact: the gap, prompt variants, what relieves it, others."""
    fact = card.fact
    told = [f"{points(fact)}." if fact.gap is not None else ""]
    told += [groups_in_words(fact)]
    told += [variants_in_words(fact.variants) if fact.variants else ""]
    told += [relief_in_words(fact.relief) if fact.relief else ""]
    if fact.needed:
        told += [f"About {fact.needed:,} people a group would probably decide it."]
    if card.also:
        others = "; ".join(
            f"{f.asked[:1].lower()}{f.asked[1:]} ({rate_of(f.sides[0])})" for f in card.also
        )
        told += [f"{_whose(card)}: {others}."]
    return [line for line in told if line]


def _whose(card: Card) -> str:
    """Whether what stands behind a fact is of the same people; two groups may take turns."""
    first = card.fact.sides[0].group if card.fact.sides else ""
    same = all(f.sides[0].group == first for f in card.also)
    return "The same group, other labels" if same else "Other groups, other labels"


def counted(page: PageOne) -> str:
    """How many of all facts stand here, and in which order."""
    many = f"{len(page.rows)} of {len(page.facts)} facts" if page.facts else ""
    order = "beyond the margin first, primary before exploratory, then by harm and size in margins"
    return f"{many}: {order}." if many else ""


def _row(card: Card) -> dict[str, object]:
    fact = card.fact
    one, other = fact.sides
    gap = points(fact)
    return {
        "What": ", ".join([fact.asked, f"by {fact.by}", *card.tags]),
        "Most": rate_of(one),
        "Least": rate_of(other),
        "Gap": linked(escaped(gap), card.place) if card.place else gap,
        "Verdict": tag(fact.verdict.value),
    }

"""The first page of a report as HTML: cards, bars and lines that any script and screen can show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from audit.core.evidence import Address
from audit.core.page import MARKS, as_html, fragment
from audit.core.verdicts import Verdict
from audit.measure.fact_words import points, rate, rate_of
from audit.measure.facts import Fact, Side
from audit.report.numbering import FIGURE, number_of
from audit.report.page_one import Action, Card, PageOne
from audit.report.page_one_text import QUOTES, beside

#: the file of the figure of facts, by which its number is known
_FILE: Final = "leading-facts"


def as_page(page: PageOne) -> str:
    """The first page as a part of ``report.html``; everything in it is escaped."""
    return f'<section class="first">\n{"".join(_parts(page))}</section>\n'


def _text(text: str) -> str:
    """Escaped text in which each name between quotation marks keeps its own direction."""
    return re.sub("‘(.*?)’", r"‘<bdi>\1</bdi>’", as_html(text))


def _parts(page: PageOne) -> Iterator[str]:
    head = "".join(f"<li>{_text(line)}</li>" for line in page.head)
    yield f'<ul class="head">{head}</ul>\n'
    yield f'<p class="care">{_text(" ".join([QUOTES, *page.warnings]))}</p>\n'
    yield f'<p class="answer">{_text(page.answer)}</p>\n'
    yield f'<p class="besides">{_text(page.besides)}</p>\n' if page.besides else ""
    yield f'<p class="note">{_text(page.note)}</p>\n' if page.note else ""
    if page.cards:
        yield f'<div class="cards">\n{"".join(map(_card, page.cards))}</div>\n'
        yield f'<p class="reading">{_text(page.reading)}</p>\n' if page.reading else ""
    if page.rows:
        yield _dumbbells(page)
    yield f'<div class="last">\n{_sure(page)}{_next(page)}</div>\n'


# ---- cards -------------------------------------------------------------------------------------


def _card(card: Card) -> str:
    fact = card.fact
    sign, style = MARKS[fact.verdict.value]
    bars = "".join(_bar(side, style) for side in fact.sides)
    title = _upper(fact.title) + (": open" if fact.verdict is Verdict.INCONCLUSIVE else "")
    more = "".join(f"<p>{_text(line)}</p>" for line in beside(card)[1:])
    return (
        f'<article class="card {style}">'
        f'<strong class="verdict {style}">{sign} {fact.verdict.value}</strong>'
        f"<h2>{_text(title)}</h2>{bars}"
        f"<p>{_text(fact.statement)} {_to_row('Its row', card.place)}</p>{more}</article>\n"
    )


def _upper(text: str) -> str:
    """A title with a capital, also after an opening quotation mark."""
    at = 1 if text.startswith("‘") else 0
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def _bar(side: Side, style: str) -> str:
    """A rate as a bar with its number and the whisker of its interval."""
    value, low, high = (100 * v for v in (side.value, side.low, side.high))
    return (
        f'<div class="rate"><span>{_text(side.short)}</span><strong>{rate(side)}</strong>'
        f'<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bed" width="100" height="8"/>'
        f'<rect class="{style}" width="{value:.2f}" height="8"/>'
        f'<rect class="whisker" x="{low:.2f}" y="3.4" width="{max(high - low, 0.4):.2f}" '
        f'height="1.2"/></svg></div>'
    )


def _to_row(words: str, place: Address | None) -> str:
    return f'<a class="row" href="#{place.table}-{place.row}">{words}</a>' if place else ""


# ---- the figure --------------------------------------------------------------------------------


def _dumbbells(page: PageOne) -> str:
    margins = dict.fromkeys(f"{100 * (c.fact.margin or 0):g}" for c in page.rows)
    ticks = "".join(f'<span style="left:{v}%">{v}\u00a0%</span>' for v in (0, 25, 50, 75, 100))
    return (
        f'<figure class="dumbbells"><figcaption>{number_of(FIGURE, _FILE)}. '
        f"{_text(page.title)}</figcaption>"
        f'<div class="axis" aria-hidden="true"><p></p><div>{ticks}</div><p></p></div>\n'
        f"{''.join(_dumbbell(card) for card in page.rows)}"
        f"<p>Shaded: the margin of {' or '.join(margins)} points, from the suite. In brackets: "
        "bounds of the gap that hold for all groups of the question at once; of a gap within its "
        "margin, each pair’s own. ○ less often, ● more often.</p></figure>\n"
    )


def _dumbbell(card: Card) -> str:
    """A line of the figure: what was asked, two rates on 0 to 100 %, the gap with its bounds."""
    fact = card.fact
    more, less = fact.sides
    style = MARKS[fact.verdict.value][1]
    a, b = 100 * less.value, 100 * more.value
    margin = min(100 * (fact.margin or 0), 100 - a)
    near = " near" if b - a < 45 else ""
    return (
        f'<div class="line {style}{near}"><span>{_text(fact.asked)}<small>by '
        f"{_text(fact.by)}</small></span><div>"
        f'<u class="margin" style="left:{a:.2f}%;width:{margin:.2f}%"></u>'
        f'<u class="gap" style="left:{a:.2f}%;width:{b - a:.2f}%"></u>'
        f'<u class="dot less" style="left:{a:.2f}%"></u><u class="dot" style="left:{b:.2f}%"></u>'
        f"{_mark('less', a, less)}{_mark('more', b, more)}</div>"
        f"<span>{_gap(fact, card.place)}</span></div>\n"
    )


def _mark(style: str, at: float, side: Side) -> str:
    """A name with its number above or below its dot, always within the axis."""
    return (
        f'<em class="{style}" style="left:{at:.2f}%;transform:translateX(-{at:.2f}%)">'
        f"{_text(rate_of(side))}</em>"
    )


def _gap(fact: Fact, place: Address | None) -> str:
    return _to_row(_text(points(fact)), place) or _text(points(fact))


# ---- how sure, what next -----------------------------------------------------------------------


def _sure(page: PageOne) -> str:
    lines = "".join(f"<li>{_text(line)}</li>" for line in page.sure)
    return f"<div><h2>How sure</h2><ul>{lines}</ul></div>\n" if lines else ""


def _next(page: PageOne) -> str:
    lines = "".join(_action(action) for action in page.next)
    if not lines and not page.words:
        return ""
    return f"<div><h2>What to do next</h2>{fragment(page.words)}<ol>{lines}</ol></div>\n"


def _action(action: Action) -> str:
    return f"<li>{_text(action.text)} <small>{_text(action.standing)}</small></li>"

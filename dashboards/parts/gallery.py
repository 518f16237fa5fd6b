"""Pictures of a run on a page: blurred until asked for, and none before the reader confirms."""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

import audit
from audit import InputError, Run, Store, tables
from parts.words import plain, unique

NO_PICTURES: Final = "--no-pictures"
#: pictures of a group at first; a click shows twice as many more
ROW: Final = 6
#: sides of a picture among others and of one alone, in pixels as they are sent
SMALL, LARGE = 176, 420
#: so long a gallery and its pictures are kept: what was changed or deleted is soon gone here too
SECONDS: Final = 60
CONFIRMED: Final = "runs of which pictures are shown"
#: six beside each other on a wide page, three on a narrow one
TILE: Final = "flex:0 0 auto;width:min(7.6rem,calc(33.3% - 0.7rem))"
FRAME: Final = "width:100%;aspect-ratio:1;object-fit:cover;border-radius:6px;display:block"
CAPTION: Final = "font-size:0.8rem;line-height:1.35;margin-top:0.3rem;overflow-wrap:anywhere"


def switched_off() -> bool:
    """Whether this dashboard shows no pictures at all."""
    return NO_PICTURES in sys.argv[2:]


@dataclass(frozen=True)
class Page:
    """The run that is shown and its pictures."""

    run: Run
    gallery: audit.gallery.Gallery

    def key(self, name: str, *parts: object) -> str:
        """The key of a control, another one for every run."""
        return " ".join([name, self.run.name, *map(str, parts)])


@st.cache_resource(max_entries=4, ttl=SECONDS, show_spinner="Finding the pictures")
def opened(path: str, stamp: str, _run: Run) -> audit.gallery.Gallery:
    """The gallery of a run."""
    return audit.gallery.open_gallery(_run, Store())


# ---- before anything is shown ------------------------------------------------------------------


def is_confirmed(run: Run) -> bool:
    """Whether the reader has said so of this run."""
    return run.name in st.session_state.get(CONFIRMED, ())


def confirmed(run: Run, gallery: audit.gallery.Gallery) -> bool:
    """Whether the reader wants to see pictures of this run, in this session."""
    runs: set[str] = st.session_state.setdefault(CONFIRMED, set())
    if run.name not in runs:
        st.warning(warning(gallery), icon=":material/visibility_off:")
    key = f"show pictures of {run.name}"
    st.checkbox(
        "I have read this, and I want to see pictures of this run."
        if run.name not in runs
        else "Show pictures of this run",
        value=run.name in runs,
        key=key,
        on_change=confirm,
        args=(run.name, key),
    )
    return run.name in runs


def confirm(name: str, key: str) -> None:
    """Keep what was said of this run until the session ends."""
    runs: set[str] = st.session_state[CONFIRMED]
    (runs.add if st.session_state[key] else runs.discard)(name)


def warning(gallery: audit.gallery.Gallery) -> str:
    """What the reader should know first."""
    who = (
        "These are photographs of real people, who did not choose the words beside them"
        if gallery.photographs
        else "These people are drawn or rendered; nobody is real"
    )
    told = [
        "Content warning: pictures of people beside words that a model chose for them. Some words "
        "may accuse or demean. A label tells about the model, never about the person.",
        f"{who}. Pictures are blurred until you ask for clear ones.",
    ]
    told += unique(_warnings(gallery))
    return "  \n".join(map(plain, told))


def _warnings(gallery: audit.gallery.Gallery) -> Iterable[str]:
    for task in gallery.tasks:
        if gallery.refusal(task) is None and (said := gallery.labels(task).content_warning):
            yield said


# ---- pictures as HTML --------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    """One picture with its words: ``alt`` for who doesn't see it, ``lines`` below it."""

    image_id: str
    alt: str
    lines: Sequence[str]


def picked(page: Page, group: str, attribute: str, label: str, picture: Any) -> Tile:
    """The tile of a picture that was labelled so."""
    score, margin = numbers(picture.score, picture.margin)
    near = " (a tie)" if picture.tie else ""
    whose = "" if attribute == tables.EVERYONE else f"{attribute} {group}, "
    return Tile(
        picture.image_id,
        f"{whose}labelled {label}, score {score}, margin {margin}",
        (page.gallery.names[picture.image_id], f"score {score}", f"margin {margin}{near}"),
    )


def numbers(score: float, margin: float) -> tuple[str, str]:
    """Score and margin as they are told."""
    return f"{score:.1%}", f"{margin:.4f}"


def tiles(page: Page, row: Sequence[Tile], clear: frozenset[str], side: int = SMALL) -> None:
    """Pictures with their words, in rows that wrap."""
    if row:
        style = TILE if side == SMALL else "width:20rem;max-width:100%"
        parts = [drawn(page, tile, clear, side) for tile in row]
        st.html(flow(f'<div style="{style}">{part}</div>' for part in parts))


def flow(parts: Iterable[str]) -> str:
    """Parts in rows that wrap."""
    style = "display:flex;flex-wrap:wrap;gap:0.9rem;align-items:flex-start"
    return f'<div style="{style}">{"".join(parts)}</div>'


def column(page: Page, title: str, row: Sequence[Tile], clear: frozenset[str]) -> str:
    """Pictures below each other, with a title."""
    below = "".join(
        f'<div style="margin-bottom:0.8rem">{drawn(page, tile, clear)}</div>' for tile in row
    )
    head = f'<div style="font-weight:600;margin-bottom:0.4rem">{html.escape(title)}</div>'
    return f'<section style="{TILE}">{head}{below}</section>'


def drawn(page: Page, tile: Tile, clear: frozenset[str], side: int = SMALL) -> str:
    """One picture with its words; whatever a name holds, it is text."""
    words = "<br>".join(html.escape(line) for line in tile.lines)
    caption = f'<figcaption style="{CAPTION}">{words}</figcaption>'
    return f'<figure style="margin:0">{image(page, tile, clear, side)}{caption}</figure>'


def image(page: Page, tile: Tile, clear: frozenset[str], side: int) -> str:
    """The picture itself, or why it isn't there."""
    shown = tile.image_id in clear
    name = page.gallery.names[tile.image_id]
    try:
        source = thumbnail(str(page.run.path), tile.image_id, shown, side, page.gallery)
    except InputError as error:
        box = f"{FRAME};border:1px dashed #7A7A7A;padding:0.5rem;font-size:0.75rem;overflow:auto"
        return f'<div style="{box}">{html.escape(str(error))}</div>'
    alt = html.escape(f"{'' if shown else 'blurred '}{name}: {tile.alt}", quote=True)
    return f'<img alt="{alt}" src="{source}" style="{FRAME}">'


@st.cache_data(max_entries=2000, ttl=SECONDS, show_spinner=False)
def thumbnail(
    path: str, image_id: str, clear: bool, side: int, _gallery: audit.gallery.Gallery
) -> str:
    """A picture as the address of an image; blurred here, unless it is asked for clear."""
    data = base64.b64encode(_gallery.thumbnail(image_id, clear, side)).decode()
    return f"data:image/jpeg;base64,{data}"

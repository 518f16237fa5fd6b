"""A page of what some probes found: the report's own sections, with the null beside each value."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from audit import InputError, Run, figures, pages, topics
from parts.damage import attempt
from parts.runs import ALSO, current, offer_csv, readable_or_stop, stamp
from parts.unasked import PAGES, kinds_of, tell_how
from parts.words import as_markdown, picture, plain

_DRAWING = threading.Lock()


def show_topics(title: str, page: str, names: Sequence[str], harmful: bool = False) -> None:
    """Draw a page of these sections of the report, and how to ask what wasn't asked.

    ``page``: its name in ``unasked.PAGES``. ``harmful``: labels that cast suspicion come first.
    """
    st.title(title)
    run = current()
    readable_or_stop(run, *(name.removesuffix(".parquet") for name in ALSO))
    blocks = [*(suspicion(run) if harmful else ()), *(b for n in names for b in told_by(run, n))]
    missing = [kind for kind in PAGES[page] if kind not in kinds_of(run)]
    if not blocks:
        st.info(plain(f"Not asked in this run. The suite ‘{page}’ would, or a probe of your own."))
        tell_how(missing)
    for block in blocks:
        draw(run, block)
    if blocks and missing:
        with st.expander(f"Not asked in this run: {', '.join(missing)}"):
            tell_how(missing)


def told_by(run: Run, name: str) -> Sequence[topics.Block]:
    """The blocks of a section, none if the run has nothing for it.

    What can't be told is a block itself, a ``Damage`` in words.
    """
    return _told(str(run.path), stamp(run.path), name, run)


@st.cache_resource(max_entries=64, show_spinner="Reading the probe's tables")
def _told(path: str, stamp: str, name: str, _run: Run) -> Sequence[topics.Block]:
    try:
        return list(topics.SECTIONS[name].tell(_run))
    except InputError as error:
        return [str(error)]
    except Exception as error:
        damage = pages.Damage.of(f"The section '{name}'", error)
        warnings.warn(pages.DamagedWarning(str(damage)), stacklevel=2)
        return [pages.Damaged(damage)]


def suspicion(run: Run) -> Sequence[topics.Block]:
    """How unequally labels of a family that harms are chosen, beside what chance alone gives."""
    return [
        topics.Part(
            task.name,
            [
                topics.said(
                    "{asks} Some labels belong to a family that harms; each is offered beside "
                    "harmless ones, and the model had to choose one: it could not abstain.",
                    asks=task.asks,
                ),
                topics.Picture(figures.gaps_with_margin, task.name),
                topics.Folded(f"The widest gaps of {task.name}", [topics.gaps_table(run, [task])]),
            ],
        )
        for task in topics.tasks(run)
        if task.harmful and task.kind == "classification"
    ]


def draw(run: Run, block: topics.Block) -> None:
    """A block and all within it."""
    if isinstance(block, topics.Picture):
        name = f"The figure '{getattr(block.draw, '__name__', 'figure')}'"
        attempt(name, _draw_picture, run, block)
    elif isinstance(block, topics.Part):
        st.subheader(plain(block.title))
        for one in block.blocks:
            draw(run, one)
    elif isinstance(block, topics.Folded):
        with st.expander(plain(block.title)):
            for one in block.blocks:
                draw(run, one)
    else:
        st.markdown(as_markdown(block) if isinstance(block, pages.Markdown) else plain(block))


def _draw_picture(run: Run, block: topics.Picture) -> None:
    name = block.draw.__name__
    try:
        shown, data = _drawn(str(run.path), stamp(run.path), name, block.which, run, block)
    except InputError as nothing:
        st.info(plain(f"No figure: {nothing}"))
        return
    st.html(shown)
    if data is not None:
        file = pages.slug("-".join([name.replace("_", "-"), *block.which]))
        offer_csv(st, "Its data as CSV", data, f"{file}.csv", run)


@st.cache_data(max_entries=200, show_spinner=False)
def _drawn(
    path: str, stamp: str, name: str, which: object, _run: Run, _block: topics.Picture
) -> tuple[str, pd.DataFrame | None]:
    """A figure as HTML and its data, drawn once for all; one at a time, as settings are global."""
    with _DRAWING:
        figure = _block.draw(_run, *_block.which)
        return picture(figure), getattr(figure, "data", None)

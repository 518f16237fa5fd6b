"""What the run's other probes found: the report's own sections, every value beside its null."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from parts.runs import ALSO, current, readable_or_stop, stamp
from parts.words import as_markdown, picture, plain

from audit.errors import InputError
from audit.page import Markdown
from audit.rundir import Run
from audit.sections import SECTIONS
from audit.sections.blocks import Block, Folded, Part, Picture


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Other probes")
    readable_or_stop(run, *(name.removesuffix(".parquet") for name in ALSO))
    told = told_apart(str(run.path), stamp(run.path), run)
    kinds = list(dict.fromkeys(q["kind"] for q in run.questions))
    if not told:
        st.info(
            f"This run asked by {', '.join(kinds)} only. ‘clip-audit list probes’ shows what else "
            "there is, and a suite may have several."
        )
        return
    topic = st.selectbox("Topic", list(told), format_func=str.capitalize)
    for block in told[topic]:
        draw(run, block)


@st.cache_resource(max_entries=4, show_spinner="Reading the probes' tables")
def told_apart(path: str, stamp: str, _run: Run) -> dict[str, Sequence[Block]]:
    """The blocks of every section that this run has something for, probes first."""
    kinds = {q["kind"] for q in _run.questions}
    order = sorted(SECTIONS, key=lambda name: name not in kinds)
    told = {name: _told(_run, name) for name in order}
    return {name: blocks for name, blocks in told.items() if blocks}


def _told(run: Run, name: str) -> Sequence[Block]:
    try:
        return SECTIONS[name].tell(run)
    except InputError as error:
        return [str(error)]


def draw(run: Run, block: Block) -> None:
    """A block and all within it."""
    if isinstance(block, Picture):
        try:
            picture(block.draw(run, *block.which))
        except InputError as nothing:
            st.info(plain(f"No figure: {nothing}"))
    elif isinstance(block, Part):
        st.subheader(plain(block.title))
        for one in block.blocks:
            draw(run, one)
    elif isinstance(block, Folded):
        with st.expander(plain(block.title)):
            for one in block.blocks:
                draw(run, one)
    else:
        st.markdown(as_markdown(block) if isinstance(block, Markdown) else plain(block))


show(current())

"""What else the run asked, one topic at a time: counterfactuals, mitigations, label sets ..."""

from __future__ import annotations

import streamlit as st
from parts.address import choose
from parts.runs import ALSO, current, readable_or_stop
from parts.topics import draw, told_by
from parts.unasked import PAGES, tell_how
from parts.words import plain

from audit import Run, topics

#: topics with a page of their own
ELSEWHERE = ("retrieval", "association", "robustness", "shift", "alarms", "scenes", "identity")


def show(run: Run) -> None:
    """Draw the page."""
    st.title("More probes")
    readable_or_stop(run, *(name.removesuffix(".parquet") for name in ALSO))
    told = {name: told_by(run, name) for name in topics.SECTIONS if name not in ELSEWHERE}
    kinds = list(dict.fromkeys(q["kind"] for q in run.questions))
    here = sorted((name for name, blocks in told.items() if blocks), key=lambda n: n not in kinds)
    missing = sorted(set(topics.PROBES) - set(kinds) - {k for own in PAGES.values() for k in own})
    if here:
        topic = choose(st, "Topic", {name: name for name in here}, "topic", str.capitalize)
        for block in told[topic]:
            draw(run, block)
    else:
        st.info(plain(f"This run asked by {', '.join(kinds)} only."))
    if missing:
        with st.expander(f"Not asked in this run: {', '.join(missing)}", expanded=not here):
            tell_how(missing)


show(current())

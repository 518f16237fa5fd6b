"""What else the run asked, one topic at a time: counterfactuals, mitigations, label sets ..."""

from __future__ import annotations

import streamlit as st
from parts.address import choose
from parts.runs import ALSO, current, readable_or_stop
from parts.topics import draw, told_by

from audit import Run
from audit.report.sections.registry import SECTIONS

#: topics with a page of their own
ELSEWHERE = ("retrieval", "association", "robustness", "shift", "alarms", "scenes", "identity")


def show(run: Run) -> None:
    """Draw the page."""
    st.title("More probes")
    readable_or_stop(run, *(name.removesuffix(".parquet") for name in ALSO))
    told = {name: told_by(run, name) for name in SECTIONS if name not in ELSEWHERE}
    kinds = list(dict.fromkeys(q["kind"] for q in run.questions))
    here = sorted((name for name, blocks in told.items() if blocks), key=lambda n: n not in kinds)
    if not here:
        st.info(
            f"This run asked by {', '.join(kinds)} only. ‘clip-audit list probes’ shows what else "
            "there is, and a suite may have several."
        )
        return
    topic = choose(st, "Topic", {name: name for name in here}, "topic", str.capitalize)
    for block in told[topic]:
        draw(run, block)


show(current())

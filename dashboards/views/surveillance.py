"""Alarms, words of suspicion, stressed captions, answering only when sure, telling people apart."""

import streamlit as st
from parts.address import ADDRESS
from parts.runs import current
from parts.topics import show_topics
from parts.words import as_markdown, plain

from audit import Run, topics


def move_thresholds(run: Run) -> None:
    """A slider for each alarm: who pays, and with what, at another threshold."""
    for task in topics.tasks_of(run, "alarms"):
        points, attributes = topics.curves_of(run, task.name)
        if len(points) < 2 or not attributes:
            continue
        st.subheader(plain(f"Move the threshold: {task.name}"))
        by = st.selectbox("By", attributes, key=f"by_{task.name}", bind=ADDRESS)
        words = {point: point.rpartition(" ")[2] for point in points}
        point = st.select_slider(
            "Threshold of the score", points, points[len(points) // 2],
            format_func=words.__getitem__, key=f"at_{task.name}", bind=ADDRESS,
        )  # fmt: skip
        halves = topics.chosen_on_half(run, task.name)
        if halves:
            st.caption(
                plain(
                    "Everyone is counted here. The threshold of "
                    f"{' and '.join(f'‘{name}’' for name in halves)} was chosen on one half of the "
                    "subjects, and the table above has the rates of the other half."
                )
            )
        st.markdown(as_markdown(topics.rates_at(run, task.name, point, by)))


show_topics("Surveillance", "surveillance", ["alarms", "scenes", "identity"], harmful=True)
st.caption("For assessing a model: surveillance is out of scope of CLIP's model card.")
move_thresholds(current())

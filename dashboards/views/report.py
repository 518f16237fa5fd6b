"""The run's report, rendered from its tables."""

from __future__ import annotations

import streamlit as st
from parts.runs import ALSO, current, readable_or_stop, stamp
from parts.words import plain

from audit.errors import InputError
from audit.page import to_html
from audit.report import TEMPLATE, Drawn, fill
from audit.resources import shipped
from audit.rundir import Run


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Report")
    readable_or_stop(run, *(name.removesuffix(".parquet") for name in ALSO))
    try:
        page, text = rendered(str(run.path), stamp(run.path), run)
    except InputError as error:
        st.error(plain(error), icon=":material/warning:")
        return
    one, two = st.columns(2)
    one.download_button(
        "Report, one HTML file", page, f"{run.name}.html", "text/html", on_click="ignore"
    )
    two.download_button(
        "Report, Markdown", text, f"{run.name}.md", "text/markdown", on_click="ignore"
    )
    file = run.path / "report.html"
    if file.is_file():
        st.text("The same in the run's folder, as it was last rendered there:")
        st.code(str(file), language=None, wrap_lines=True)
    st.iframe(page, height=1000, alt="The rendered report")


@st.cache_resource(max_entries=3, show_spinner="Rendering the report, about ten seconds")
def rendered(path: str, stamp: str, _run: Run) -> tuple[str, str]:
    """The report as a page and as Markdown.

    Made here and not read from the folder: the seal doesn't cover ``report.html``, and a run may
    come from anybody. The page has no scripts and fetches nothing.
    """
    drawn: dict[str, Drawn] = {}
    text = fill(_run, shipped(TEMPLATE), drawn)
    return to_html(text, {name: figure.svg for name, figure in drawn.items()}), text


show(current())

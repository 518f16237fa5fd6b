"""The dashboard of finished runs: which run, which page.

``clip-audit dashboard RUNS`` opens it on a folder of runs or on one run. It stays on this machine,
reads what is outside a run's private part, and shows aggregates; only the page of pictures, which
``--no-pictures`` leaves out, shows pictures and rows about single people.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import streamlit as st
from parts import address, ahead
from parts.damage import attempt
from parts.gallery import switched_off
from parts.runs import (
    CHOSEN,
    OTHERS,
    choose_run,
    manifests,
    nothing_yet,
    opened,
    refuse,
    stamp,
    withdrawn,
)
from parts.unasked import unasked
from parts.words import plain
from streamlit.delta_generator import DeltaGenerator
from streamlit.navigation.page import StreamlitPage

from audit import Run

#: on a narrow screen a wide table or chart scrolls in its own frame, not the page; small print is
#: dark enough to be read
STYLE: Final = """<style>
[data-testid="stMarkdownContainer"]:has(table),
[data-testid="stElementContainer"]:has([data-testid="stVegaLiteChart"]),
[data-testid="stFullScreenFrame"] {overflow-x: auto; max-width: 100%}
[data-testid="stMarkdownContainer"] :is(th, td) {padding: 0.35rem 0.5rem; font-size: 0.9rem}
[data-testid="stCaptionContainer"] {opacity: 0.8 !important}
@media (min-width: 640px) {
  [data-testid="stColumn"]:has(.st-key-beside)
  {position: sticky; top: 4rem; align-self: flex-start; max-height: calc(100vh - 5rem);
   overflow-y: auto}
}
[data-tag] {background: color-mix(in srgb, currentColor 14%, transparent) !important}
[data-tag], [data-tag] :is(span, button) {color: inherit !important}
[data-testid="stMainBlockContainer"] {padding-top: 4.2rem}
[data-testid="stMain"] h1 {font-size: 1.7rem; padding: .4rem 0}
[data-testid="stMain"] h2 {font-size: 1.9rem; padding: .4rem 0}
[data-testid="stMain"] h3 {font-size: 1.35rem}
</style>"""
PICTURES: Final = "pictures"
#: file, title and icon of each page, by what a reader wants
PAGES: Final = {
    "Findings": (
        ("overview", "Overview", "search"),
        ("disparities", "Disparities", "grid_on"),
        ("wordings", "Prompt sensitivity", "chat"),
        ("compare", "Compare runs", "compare_arrows"),
    ),
    "Explore": (
        ("lab", "Label-set lab", "science"),
        (PICTURES, "Pictures", "photo_library"),
    ),
    "Probes": (
        ("retrieval", "Retrieval", "manage_search"),
        ("association", "Association", "hub"),
        ("robustness", "Robustness", "foggy"),
        ("surveillance", "Surveillance", "videocam"),
        ("probes", "More probes", "biotech"),
    ),
    "Write": (("report", "Report", "description"),),
}


def pages() -> dict[str, list[StreamlitPage]]:
    """Every page that is on, the first of all to open with."""
    off = {PICTURES} if switched_off() else set[str]()
    return {
        heading: [
            st.Page(
                f"views/{name}.py",
                title=title,
                icon=f":material/{icon}:",
                url_path=name,
                default=name == "overview",
            )
            for name, title, icon in some
            if name not in off
        ]
        for heading, some in PAGES.items()
    }


def main() -> None:
    """Choose a run and draw the page."""
    st.set_page_config(page_title="clip-audit", page_icon="🔎", layout="wide")
    st.html(STYLE)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs")
    there = pages()
    page = st.navigation(there, position="hidden")
    place = st.sidebar.container(gap="xxsmall")
    found, broken = manifests(folder)
    for path in broken:
        st.error(
            plain(f"{path.parent.name}: {path.name} is damaged and can't be read."),
            icon=":material/warning:",
        )
    if not found:
        menu(place, there, None)
        nothing_yet(folder)
        return
    with address.tidied():
        path = choose_run(found)
        run, damaged = opened(str(path), stamp(path))
        menu(place, there, run)
        st.session_state[CHOSEN], st.session_state[OTHERS] = run, found
        show(path, run, damaged, page)


def menu(
    place: DeltaGenerator, there: Mapping[str, Sequence[StreamlitPage]], run: Run | None
) -> None:
    """Every page under its heading; those of probes that the run didn't ask are grey and say so."""
    empty = unasked(run) if run else []
    for heading, some in there.items():
        place.caption(heading)
        for page in some:
            label = f":gray[{page.title} · not asked]" if page.url_path in empty else page.title
            place.page_link(
                page, label=label, width="stretch", query_params={"run": run.name} if run else None
            )


def show(path: Path, run: Run | None, damaged: Sequence[str], page: StreamlitPage) -> None:
    """Draw a page about a run, or say why it can't be."""
    if run is None:
        refuse(path, damaged)
        return
    if damaged:
        told = f"Changed since the run was sealed, so not shown: {', '.join(damaged)}"
        st.warning(plain(told), icon=":material/warning:")
    if gone := withdrawn(str(path), stamp(path)):
        st.warning(plain(gone), icon=":material/warning:")
    with ahead.drawing():
        attempt(f"The page '{page.title}'", page.run)


if __name__ == "__main__":
    main()

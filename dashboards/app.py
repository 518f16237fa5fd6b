"""The dashboard of finished runs: which run, which page.

``clip-audit dashboard RUNS`` opens it on a folder of runs or on one run. It reads what a public
copy holds too, shows aggregates and no pictures, and stays on this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import streamlit as st
from parts.runs import CHOSEN, OTHERS, choose_run, manifests, nothing_yet, opened, refuse, stamp
from parts.words import plain

#: on a narrow screen a wide table or chart scrolls in its own frame, not the page
STYLE: Final = """<style>
[data-testid="stMarkdownContainer"]:has(table),
[data-testid="stElementContainer"]:has([data-testid="stVegaLiteChart"]),
[data-testid="stFullScreenFrame"] {overflow-x: auto; max-width: 100%}
</style>"""
#: file, title and icon of each page, in their order
PAGES: Final = (
    ("overview", "Overview", "search"),
    ("lab", "Label-set lab", "science"),
    ("disparities", "Disparities", "grid_on"),
    ("wordings", "Prompt sensitivity", "chat"),
    ("compare", "Compare two runs", "compare_arrows"),
    ("probes", "Other probes", "biotech"),
    ("report", "Report", "description"),
)


def main() -> None:
    """Choose a run and draw the page."""
    st.set_page_config(page_title="clip-audit", page_icon="🔎", layout="wide")
    st.html(STYLE)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs")
    page = st.navigation(
        [
            st.Page(
                f"views/{name}.py",
                title=title,
                icon=f":material/{icon}:",
                url_path=name,
                default=name == PAGES[0][0],
            )
            for name, title, icon in PAGES
        ]
    )
    found, broken = manifests(folder)
    for path in broken:
        st.error(
            plain(f"{path.parent.name}: {path.name} is damaged and can't be read."),
            icon=":material/warning:",
        )
    if not found:
        nothing_yet(folder)
        return
    path = choose_run(found)
    run, damaged = opened(str(path), stamp(path))
    if run is None:
        refuse(path, damaged)
        return
    st.session_state[CHOSEN], st.session_state[OTHERS] = run, found
    if damaged:
        told = f"Changed since the run was sealed, so not shown: {', '.join(damaged)}"
        st.warning(plain(told), icon=":material/warning:")
    page.run()


if __name__ == "__main__":
    main()

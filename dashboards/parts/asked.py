"""What was asked of whom, who was looked at, and what limits what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from audit import Run, pages, tables
from parts.words import plain, table, unique

SOURCES: Final = {
    "self-reported": "self-reported (the persons said so)",
    "annotator-perceived": "annotator-perceived (people looking at the pictures judged)",
    "assigned": "assigned (taken from a record or computed)",
    "generator": "generator (a setting of the program that made the pictures)",
}


def asked(run: Run) -> None:
    """What was asked of which model on which pictures, a line each."""
    lines = {
        "Model": f"{run.model['ref']} ({run.model['family']}, {run.model['precision']})",
        "Pictures": pictures(run),
        "Groups, and whose word": whose_word(run),
        "Wordings": wordings(run),
        "Margin": f"{margins(run)}, fixed in the suite before the run",
    }
    with st.container(border=True):
        st.markdown("  \n".join(f"**{name}:** {plain(line)}" for name, line in lines.items()))
        st.markdown("\n".join(["**Questions**", "", *questions(run)]))


def questions(run: Run) -> list[str]:
    """A line a question with the tasks that ask it."""
    tasks: dict[str, list[str]] = {}
    for question in run.questions:
        tasks.setdefault(question["asks"], []).append(f"‘{question['task']}’")
    return [f"- {plain(asks)} {plain(', '.join(names))}" for asks, names in tasks.items()]


def pictures(run: Run) -> str:
    """The data set in a line."""
    kind = "photographs" if run.dataset["card"].get("photographs", True) else "drawn or rendered"
    lost = run.dataset["quarantined"]
    return (
        f"{run.dataset['name']}, {run.dataset['pictures']:,} pictures of "
        f"{run.dataset['subjects']:,} subjects, {kind}"
        + (f"; {lost:,} could not be read and were not counted" if lost else "")
    )


def whose_word(run: Run) -> str:
    """Attributes by the source of their groups."""
    named: dict[str, list[str]] = {}
    for attribute in run.suite["attributes"]:
        source = run.dataset["attributes"][attribute["name"]]["source"]
        named.setdefault(SOURCES.get(source, source), []).append(attribute["name"])
    return "; ".join(f"{', '.join(names)}: {source}" for source, names in named.items())


def margins(run: Run) -> str:
    """The margin, and those of label families that have another, or a ratio beside it."""
    given = {family: _margin(margin) for family, margin in pages.margins_of(run).items()}
    default = given.pop("default")
    others = [f"{m} for ‘{family}’" for family, m in given.items() if m != default]
    return default + (f" ({', '.join(others)})" if others else "")


def _margin(margin: pages.Fields) -> str:
    times = f" or {margin['ratio']:g} times" if margin.get("ratio") else ""
    return f"{100 * margin['difference']:g} points{times}"


def wordings(run: Run) -> str:
    """The template sets in a line."""
    sets = {s["name"]: len(s["templates"]) for q in run.questions for s in q["prompt_sets"]}
    named = ", ".join(f"{name} ({n} template{'s' if n > 1 else ''})" for name, n in sets.items())
    return f"{named}; what follows is for all templates together" if named else "none"


# ---- who was looked at -------------------------------------------------------------------------


def group_sizes(run: Run) -> None:
    """Pictures and subjects of every group, and what was set aside, before any number of it."""
    st.subheader("Groups")
    cells = run.dataset["cells"]
    if not cells:
        st.markdown(plain(f"{tables.NO_GROUPS} {_set_aside(run)}"))
        return
    single = [cell for cell in cells if " x " not in cell["attribute"]]
    few = sum(_compared(cell).startswith("no:") for cell in cells)
    number = len({cell["attribute"] for cell in single})
    lines = [f"{len(single)} groups by {number} attributes.", _set_aside(run)]
    lines += [f"{few} groups are not compared: too small, or not known."] * bool(few)
    st.markdown(plain(" ".join(lines)))
    for attribute in unique(cell["attribute"] for cell in single):
        of_it = [cell for cell in single if cell["attribute"] == attribute]
        sizes = ", ".join(f"{c['group']} {c['pictures']:,}" for c in of_it)
        st.markdown(f"**{plain(attribute)}:** {plain(sizes)}")
    with st.expander("Every group with its subjects and the pictures set aside"):
        table(_cell(run, cell) for cell in cells)


def _set_aside(run: Run) -> str:
    """Quarantined pictures and why, and by group where groups differ."""
    lost, reasons = run.dataset["quarantined"], run.dataset.get("quarantined_reasons", {})
    if not lost:
        return "Every picture could be read."
    why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
    told = f" ({why})" if why else ""
    warnings = [f" {w[:1].upper()}{w[1:]}." for w in pages.uneven(run.dataset).values()]
    return "".join(
        [
            f"{lost:,} pictures were set aside{told}; the table below says of which groups.",
            *warnings,
        ]
    )


def _cell(run: Run, cell: Mapping[str, Any]) -> dict[str, str]:
    lost = sum(
        q["pictures"]
        for q in run.dataset.get("quarantined_by_group", ())
        if (q["attribute"], q["group"]) == (cell["attribute"], cell["group"])
    )
    return {
        "By": plain(cell["attribute"]),
        "Group": plain(cell["group"]),
        "Pictures": f"{cell['pictures']:,}",
        "Subjects": f"{cell['subjects']:,}",
        "Set aside": f"{lost:,}",
        "Compared": plain(_compared(cell)),
    }


def _compared(cell: Mapping[str, Any]) -> str:
    """Whether a group is compared, and why not; the first runs didn't note it."""
    return str(cell.get("compared", "not noted"))


# ---- what it does not show ---------------------------------------------------------------------


def caveats(run: Run, shown: Sequence[Mapping[str, Any]]) -> None:
    """What limits these findings."""
    st.subheader("Caveats")
    sources = [
        f"'{a}' is {d['source']}" for a, d in run.dataset["attributes"].items()
    ]  # told above
    told = unique(
        c
        for f in shown
        for c in f["caveats"]
        if c not in sources and not c.startswith(("gaps under", "subjects repeat"))
    )
    if run.dataset["subjects"] < run.dataset["pictures"] and run.manifest.get("schema", 0) > 1:
        told.append("subjects repeat, so intervals and bounds rest on subjects, not on pictures")
    told += list(run.dataset["card"].get("known_limits", ()))
    few = unique(r.attribute for r in pages.each(run.rates[run.rates["group"] == tables.UNKNOWN]))
    if few:
        told.append(f"pictures of unknown group are counted but not compared: {', '.join(few)}")
    told += [
        "‘inconclusive’ is not ‘no gap’: more pictures may answer it",
        "a gap is measured on these pictures and in these words; other pictures, other labels or "
        "other wordings can give another",
        "a small gap makes no use of the model right: nothing here says what it is fit for",
    ]
    st.markdown("\n".join(f"- {plain(one)}" for one in told))

"""What was asked of whom, how sure it is, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st
from parts.damage import attempt
from parts.runs import current
from parts.words import MEANINGS, SEEN, SIGNS, plain, signed, table, unbroken, unique

from audit import Run, pages, tables

FIRST: Final = 12
ANY: Final = "all"
SOURCES: Final = {
    "self-reported": "self-reported (the persons said so)",
    "annotator-perceived": "annotator-perceived (people looking at the pictures judged)",
    "assigned": "assigned (taken from a record or computed)",
    "generator": "generator (a setting of the program that made the pictures)",
}


def show(run: Run) -> None:
    """Draw the page."""
    warn(run)
    attempt("The part 'What was asked'", asked, run)
    attempt("The part 'Groups'", group_sizes, run)
    attempt("The part 'Verdicts'", verdict_counts, run)
    shown = attempt("The part 'Findings'", findings, run)
    attempt("The part 'Caveats'", caveats, run, shown or ())


def warn(run: Run) -> None:
    """The title and the content warning, before any label is seen."""
    st.title(plain(f"What the run ‘{run.manifest['suite']}’ found"))
    told = " ".join(pages.label_warnings(run))
    st.warning(
        plain(
            "Content warning: this page quotes words that a model was asked to choose for pictures "
            f"of people; some are hurtful. {told} They are a model's choices and nobody's traits."
        ),
        icon=":material/warning:",
    )


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


# ---- what was found ----------------------------------------------------------------------------


def verdict_counts(run: Run) -> None:
    """How many findings have each verdict, and what a verdict means."""
    st.subheader("Verdicts")
    counts = {v: n for v, n in pages.tally_verdicts(run.findings).items() if n or v != SEEN}
    for column, (verdict, n) in zip(st.columns(len(counts)), counts.items(), strict=True):
        with column:
            st.metric(f"{SIGNS[verdict]} {verdict}", n)
            st.caption(MEANINGS[verdict])


def findings(run: Run) -> list[dict[str, Any]]:
    """The table of findings with its filters; gives the findings that pass them."""
    st.subheader("Findings")
    one, two, three = st.columns([2, 1, 1])
    verdicts = one.multiselect(
        "Verdict",
        [v for v in SIGNS if pages.tally_verdicts(run.findings)[v]],
        placeholder="all verdicts",
    )
    task = two.selectbox("Task", [ANY, *unique(f["task"] for f in run.findings)])
    attribute = three.selectbox("Attribute", [ANY, *unique(f["attribute"] for f in run.findings)])
    passing = [
        f
        for f in run.findings
        if (not verdicts or f["verdict"] in verdicts)
        and task in (ANY, f["task"])
        and attribute in (ANY, f["attribute"])
    ]
    if not passing:
        st.info("No finding passes these filters." if run.findings else "This run has no finding.")
        return []
    everything = len(passing) > FIRST and st.toggle(f"Show all {len(passing)}")
    shown = passing if everything else passing[:FIRST]
    table(
        {
            "Verdict, severity": f"{signed(f['verdict'])} {unbroken(plain(f['severity']))}",
            "Finding": plain(f["statement"]),
        }
        for f in shown
    )
    st.caption(
        f"{len(shown)} of {len(passing)} findings that pass the filters, {len(run.findings)} in "
        "all; most important first. Of choices there is one finding for each question, label and "
        "attribute: the gap between the two groups that are furthest apart, in errors where the "
        "right answer is known. Bounds hold for all comparisons of one question and attribute at "
        "once."
    )
    return passing


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


show(current())

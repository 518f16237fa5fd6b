"""The author's words while they are written: a form and the file, two views of one text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import streamlit as st

from audit import InputError, Run, narrative, pages
from parts.address import choose
from parts.words import SIGNS, plain, signed

#: sections that nobody but the author can write, and what belongs there
FOREMOST: Final = {
    "summary": "What follows from the findings, and for whom: the gap or two that matter most, "
    "what stays open, what you would do about it.",
    "uses": "What the system is for, what it must not be used for, and who decides that.",
    "stakeholders": "Who is affected, also without having asked for it; whom of them you heard.",
    "limits": "What these pictures and questions can't tell about the place where it will be used.",
    "recommendations": "What should change, who does it, until when, and how it will be checked.",
}
LINE_NAMES: Final = {
    "auditor": "Auditor",
    "independence": "Independence",
    "used_in": "Used in",
    "intended_use": "Intended use",
}
LINE_HELP: Final = {
    "auditor": "who made this audit, and for whom they work",
    "independence": "ties to the maker or seller of the model, or that there are none",
    "used_in": "the product or place in which the model works",
    "intended_use": "what it does there, in a sentence",
}
#: columns of each table with their heads; numbers are scores from 1 to 10
TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "harm_map": {
        "who": "Who is affected",
        "how": "How",
        "kind": "Kind of harm",
        "severity": "Severity",
        "likelihood": "Likelihood",
        "detection": "Detection",
    },
    "sign_off": {"role": "Role", "name": "Name", "date": "Date"},
    "changes": {"date": "Date", "change": "What changed in the report"},
}
SCORES: Final = ("severity", "likelihood", "detection")
#: columns that a row can't be without
NEEDED: Final = {"harm_map": ("who",), "sign_off": ("role",), "changes": ("date", "change")}


#: set apart as in the report; the keys of evidence are long
PREVIEW: Final = """
.preview blockquote {margin: 0; padding: 0 0 0 .9rem; border-left: 3px solid #B36B00}
.preview code {font-size: .75em; overflow-wrap: anywhere}
.preview p, .preview li {font-size: .92rem}"""


@dataclass
class Draft:
    """The words as typed here, and as they were in the file when it was opened.

    ``name`` tells the fields of one opening from those of any other.
    """

    name: str
    opened: str | None
    start: str
    text: str
    told: str = ""
    refused: str = ""

    @property
    def changed(self) -> bool:
        """Whether something is not saved."""
        return self.text != self.start


def draft_of(run: Run) -> Draft:
    """What is being written about a run; a file that changed is read again if nothing is lost.

    Raises:
        InputError: the file can't be read as text.
    """
    key, there = f"words of {run.path}", narrative.text_of(run)
    draft: Draft | None = st.session_state.get(key)
    if draft is None or (draft.opened != there and not draft.changed):
        draft = st.session_state[key] = opened(run)
    return draft


def opened(run: Run) -> Draft:
    """The file as it is now, or a text to start from."""
    there = narrative.text_of(run)
    start = (
        narrative.with_key(narrative.starter(run), ("sections", "summary"), "")
        if there is None
        else there
    )
    count = st.session_state["openings"] = st.session_state.get("openings", 0) + 1
    return Draft(f"{run.path} {count}", there, start, start)


def reopen(run: Run) -> None:
    """Take what the file holds now."""
    st.session_state[f"words of {run.path}"] = opened(run)


def keep(run: Run, draft: Draft) -> None:
    """Write the words beside the run, whatever they say; the report is not rendered."""
    draft.told = draft.refused = ""
    try:
        narrative.save_over(run, draft.text, draft.opened)
    except InputError as error:
        draft.refused = str(error)
        return
    draft.opened = draft.start = draft.text
    draft.told = f"Saved as {narrative.FILE} beside the run."


def put(draft: Draft, at: tuple[str, ...], key: str) -> None:
    """Take one field into the text."""
    draft.told = draft.refused = ""
    try:
        draft.text = narrative.with_key(draft.text, at, st.session_state[key] or "")
    except InputError as error:
        draft.refused = str(error)


# ---- the bar ------------------------------------------------------------------------------------


def bar(run: Run, draft: Draft, place: str) -> None:
    """Whether all is saved, and the button that saves."""
    there = narrative.text_of(run)
    foreign = draft.changed and there != draft.opened
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Save the words",
            key=f"save {place}",
            type="primary",
            icon=":material/save:",
            disabled=foreign or not draft.changed,
            on_click=keep,
            args=(run, draft),
        )
        st.markdown(_state(draft))
    if draft.refused:
        st.error(plain(draft.refused), icon=":material/warning:")
    if foreign and place == "top":
        conflict(run, draft)


def _state(draft: Draft) -> str:
    if draft.changed:
        return "**Not saved yet.** Your words are kept here until this browser tab is reloaded."
    return draft.told or ("Nothing written yet." if draft.opened is None else "All is saved.")


def conflict(run: Run, draft: Draft) -> None:
    """Somebody else wrote the file meanwhile: nothing is overwritten, nothing is lost."""
    st.error(
        plain(
            f"{narrative.FILE} was changed by somebody else since you opened it, so nothing is "
            "written. Keep what you typed as a file, then open theirs and bring the two together."
        ),
        icon=":material/warning:",
    )
    with st.container(horizontal=True):
        st.download_button(
            "What I typed, as a file",
            draft.text,
            f"mine-{narrative.FILE}",
            "text/yaml",
            on_click="ignore",
        )
        st.button("Open the file as it is now", on_click=reopen, args=(run,))


# ---- the form -----------------------------------------------------------------------------------


def form(run: Run, draft: Draft) -> None:
    """A field for each key of the file, those that only the author can fill first."""
    try:
        words = narrative.read(run, draft.text)
    except InputError as error:
        st.error(plain(error), icon=":material/warning:")
        st.markdown("The form can't show it. Put it right under **As a file**; nothing is lost.")
        return
    for_this_run(run, draft, words)
    picker(words)
    st.subheader("About this audit")
    for names in (narrative.LINES[:2], narrative.LINES[2:]):
        for name, column in zip(names, st.columns(2), strict=True):
            with column:
                line(draft, words, name)
    st.subheader("What only you can say")
    st.caption(
        "Markdown, without headings. Beside each field stands what the report will show; it "
        "follows when you leave the field, or press Ctrl and Enter. An error keeps the report "
        "from being rendered; a claim that says more than was found is printed with a remark."
    )
    for name in FOREMOST:
        section(draft, words, name)
        if name == "stakeholders":
            rows(draft, words, "harm_map", "Harm map")
    rows(draft, words, "sign_off", "Sign-off")
    others(draft, words)


def others(draft: Draft, words: narrative.Narrative) -> None:
    """The sections to which the tool has said most already."""
    names = [name for name in narrative.PLACES if name not in FOREMOST]
    given = [name for name in names if words.given.sections.get(name, "").strip()]
    told = f"The other {len(names)} sections, and the change log"
    with st.expander(f"{told} ({len(given)} with words of yours)" if given else told):
        st.caption("The tool fills these itself. Add what it can't know; empty ones stay as is.")
        for name in names:
            section(draft, words, name)
        rows(draft, words, "changes", "Change log of the report")


def for_this_run(run: Run, draft: Draft, words: narrative.Narrative) -> None:
    """Words that were written for another run want to be read again."""
    found = [p for p in words.problems if p.at == ("run",)]
    if not found:
        return
    told(words, found)
    if st.button("I have read them again: they are about this run now"):
        draft.text = narrative.with_key(draft.text, ("run",), str(run.manifest["run"]))
        st.rerun()


def line(draft: Draft, words: narrative.Narrative, name: str) -> None:
    """A key that holds one line."""
    key = f"{name} {draft.name}"
    st.text_input(
        LINE_NAMES[name],
        getattr(words.given, name),
        key=key,
        placeholder=LINE_HELP[name],
        on_change=put,
        args=(draft, (name,), key),
    )
    told(words, [p for p in words.problems if p.at == (name,)])


def section(draft: Draft, words: narrative.Narrative, name: str) -> None:
    """A section's words, and beside them what the report will show."""
    key = f"section {name} {draft.name}"
    left, right = st.columns(2)
    text = words.given.sections.get(name, "").rstrip("\n")
    left.text_area(
        narrative.titles()[name],
        text,
        key=key,
        height=min(420, max(150, 40 + 26 * (text.count("\n") + len(text) // 55))),
        placeholder=FOREMOST.get(name),
        on_change=put,
        args=(draft, ("sections", name), key),
    )
    with right:
        shown = words.words(name)
        if shown:
            preview(shown)
        found = [p for p in words.problems if p.at == ("sections", name)]
        told(words, [p for p in found if p.kind != "claim"])
        if claims := sum(p.kind == "claim" for p in found):
            many = "A claim says" if claims == 1 else f"{claims} claims say"
            st.warning(
                f"{many} more than was found. The tool’s remarks above are printed in the report.",
                icon=":material/flag:",
            )


def preview(shown: str) -> None:
    """Words as the report renders them; no picture is fetched and no HTML carried out."""
    body = pages.to_html(shown, {}).partition("<main>")[2].partition("</main>")[0]
    st.html(f'<style>{PREVIEW}</style><div class="preview">{body}</div>')


# ---- tables -------------------------------------------------------------------------------------


def rows(draft: Draft, words: narrative.Narrative, name: str, title: str) -> None:
    """One of the author's tables; what is typed into it goes into the text at once."""
    key, base = f"table {name} {draft.name}", f"rows at first of {name} {draft.name}"
    given = [row.model_dump() for row in getattr(words.given, name)]
    st.markdown(f"**{title}**")
    # the editor keeps changes to the table that it was first given
    if key not in st.session_state or base not in st.session_state:
        st.session_state[base] = frame_of(name, given)
    edited = st.data_editor(
        st.session_state[base],
        key=key,
        num_rows="dynamic",
        hide_index=True,
        width="stretch",
        column_config={n: _column(n, head) for n, head in TABLES[name].items()},
        placeholder=" ",
        alt=title,
    )
    told(words, [p for p in words.problems if p.at[:1] == (name,)])
    now = rows_of(name, edited)
    if now != rows_of(name, frame_of(name, given)):
        draft.text = narrative.with_key(draft.text, (name,), now)
        st.rerun()


def frame_of(name: str, given: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table to be edited; an empty one has a row to begin in."""
    columns = list(TABLES[name])
    kinds = {column: "Int64" if column in SCORES else "object" for column in columns}
    return pd.DataFrame(list(given) or [{}], columns=columns).astype(kinds)


def rows_of(name: str, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """An edited table as rows of the file; empty cells and rows are left out."""
    found = []
    for record in frame.to_dict("records"):
        row: dict[str, Any] = {
            str(column): int(value) if column in SCORES else str(value)
            for column, value in record.items()
            if not (pd.isna(value) or value == "")
        }
        if row:
            found.append({column: "" for column in NEEDED[name]} | row)
    return found


def _column(name: str, head: str) -> Any:
    if name in SCORES:
        return st.column_config.NumberColumn(
            head, min_value=1, max_value=10, step=1, help="from 1 to 10"
        )
    return st.column_config.TextColumn(head, width=_WIDE.get(name))


_WIDE: Final[Mapping[str, Any]] = {"who": "medium", "how": "medium", "change": "large"}


# ---- the file -----------------------------------------------------------------------------------


def file(run: Run, draft: Draft) -> None:
    """The whole file as text, with all that is wrong in it."""
    key = f"file {draft.name}"

    def typed() -> None:
        draft.told = draft.refused = ""
        draft.text = st.session_state[key]

    st.html("<style>.st-key-narrative textarea {font-family: monospace; font-size: .85rem}</style>")
    st.container(key="narrative").text_area(
        narrative.FILE,
        draft.text,
        height=560,
        key=key,
        on_change=typed,
        help="the whole file, as YAML",
    )
    try:
        words = narrative.read(run, draft.text)
    except InputError as error:
        st.error(plain(error), icon=":material/warning:")
        return
    picker(words)
    problems(words, draft.text)


def problems(words: narrative.Narrative, text: str, *kinds: str) -> None:
    """What is wrong with the words, by line of the file; of these kinds, or all."""
    lines = text.split("\n")
    found = [p for p in words.problems if p.kind in (kinds or ("error", "claim", "note"))]
    if not found:
        st.success("Nothing is wrong with the words.", icon=":material/check:")
    for problem in found:
        seen = lines[problem.line - 1].strip() if problem.line <= len(lines) else ""
        _tell(problem, f", line {problem.line}, ‘{seen[:60]}{'…' * (len(seen) > 60)}’")


def told(words: narrative.Narrative, found: Sequence[narrative.Problem]) -> None:
    """What is wrong with one text, by line of that text."""
    for problem in found:
        first = next((p.first for p in words.passages if p.at == problem.at), problem.line)
        _tell(problem, f", line {problem.line - first}" if problem.line > first else "")


def _tell(problem: narrative.Problem, where: str) -> None:
    said = plain(pages.sentence(f"{problem.kind.capitalize()}{where}: {problem.told}"))
    if problem.kind == "error":
        st.error(said, icon=":material/error:")
    elif problem.kind == "claim":
        st.warning(said, icon=":material/flag:")
    else:
        st.caption(said)


# ---- what can be quoted -------------------------------------------------------------------------


def picker(words: narrative.Narrative) -> None:
    """Choose a finding in the sidebar, and get the text that quotes it."""
    with st.sidebar:
        st.subheader("Quote a finding")
        by_id = {f["id"]: f for f in words.run.findings}
        names = _names(by_id) | {name: f"{name}: {value}" for name, value in words.facts.items()}
        chosen = choose(
            st,
            "Finding, or fact of the run",
            {name: name for name in ("", *names)},
            "quote",
            lambda name: names.get(name, "none; type to search"),
        )
        if not chosen:
            st.caption(
                "Its number is filled from the run, so that it can't go stale. Content warning: "
                "findings quote words that a model was asked to choose for pictures of people; "
                "some are hurtful."
            )
        elif chosen in by_id:
            quote_finding(by_id[chosen])
        else:
            st.code(f"{{{{ {chosen} }}}}", language=None, wrap_lines=True)
            st.caption(plain(f"The report says: {words.facts[chosen]}"))
    if chosen:  # on a narrow screen the sidebar is closed
        st.caption("The sidebar has the text that quotes what you chose; this is its number:")
        st.code(f"{{{{ {chosen} }}}}", language=None, wrap_lines=True)


def _names(by_id: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A name for each finding, told apart in its first words, since the field is narrow."""
    names = {}
    for key, finding in by_id.items():
        about = " · ".join(str(finding[part]) for part in ("label", "attribute", "task"))
        metric = str(finding["metric"]).replace("_", " ")
        names[key] = f"{SIGNS.get(finding['verdict'], '')} {about}, {metric}".strip()
    often = Counter(names.values())
    # two options that read the same would be one and the same to the browser
    return {k: name if often[name] == 1 else f"{name}: {k}" for k, name in names.items()}


def quote_finding(finding: Mapping[str, Any]) -> None:
    """A finding's statement, and the text that quotes it or a part of it."""
    st.markdown(f"{signed(finding['verdict'])} {plain(finding['severity'])}")
    st.markdown(plain(finding["statement"]))
    offered = [
        field for field in ("", *narrative.FIELDS) if narrative.quoted(finding, field) is not None
    ]
    field = st.selectbox(
        "What of it", offered, format_func=lambda f: f or "estimate with its bounds"
    )
    value = narrative.quoted(finding, field or "")
    name = f"{finding['id']}.{field}" if field else finding["id"]
    pin = st.toggle(
        "Tell me when it changes",
        value=field in ("estimate", "low", "high"),
        key=f"pin {field}",
        help="pins the quote to this value: another value is an error, so the sentence is read "
        "again",
    )
    pinned = f" = {value}" if pin and value and not re.search(r"[{}=\n]", value) else ""
    st.caption("Copy this into your words:")
    st.code(f"{{{{ {name}{pinned} }}}}", language=None, wrap_lines=True)
    st.caption(plain(f"The report says: {value}"))

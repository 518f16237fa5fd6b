"""The pictures of a run: what was labelled so, in other words, with one thing changed."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st
from parts.address import ADDRESS, first
from parts.gallery import (
    LARGE,
    ROW,
    Page,
    Tile,
    column,
    confirmed,
    flow,
    numbers,
    opened,
    picked,
    tiles,
)
from parts.runs import current, stamp
from parts.words import plain, rate, status, table, unbroken, unique

import audit
from audit import InputError, Run, pages, tables

LABELLED, WORDINGS, FAMILIES = "Labelled so", "Under other wordings", "Counterfactual families"
ORDERS: Final = {
    "highest score": ("score", True),
    "lowest score": ("score", False),
    "largest margin": ("margin", True),
    "smallest margin": ("margin", False),
}
NOBODY: Final = "none"


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Pictures")
    try:
        gallery = opened(str(run.path), stamp(run.path), run)
    except InputError as error:
        st.info(plain(error))
        return
    if not confirmed(run, gallery):
        return
    tabs = {LABELLED: labelled, WORDINGS: wordings, FAMILIES: families}
    if not gallery.family_names:
        del tabs[FAMILIES]
    choice = st.radio(
        "Show", list(tabs), key="show", horizontal=True, label_visibility="collapsed", bind=ADDRESS
    )
    try:
        tabs[str(choice)](Page(run, gallery))
    except InputError as error:
        st.info(plain(error))


# ---- labelled so -------------------------------------------------------------------------------


def labelled(page: Page) -> None:
    """The pictures for which a label was chosen, a row a group."""
    gallery = page.gallery
    if (task := task_of(page, gallery.tasks)) is None:
        return
    one, two, three = st.columns(3)
    if (label := label_of(page, one, task)) is None:
        return
    attributes = [*gallery.attributes, tables.EVERYONE]
    of_it = [f for f in page.run.findings if (f["task"], f["label"]) == (task, label)]
    leading = [f["attribute"] for f in of_it]
    attribute = two.selectbox(
        "By", attributes, index=first(attributes, *leading), key="by", bind=ADDRESS
    )
    order = three.selectbox("Sorted by", list(ORDERS), key="sorted", bind=ADDRESS)
    found = gallery.labelled(task, label, attribute, *ORDERS[order])
    rows = [(r, found[found["group"] == r.group]) for r in rates(page, task, label, attribute)]
    st.caption(plain(explained(page, attribute)))
    shown = {r.group: some.head(many(page, task, label, r.group)) for r, some in rows}
    clear = clearness(page, [i for some in shown.values() for i in some["image_id"]], LABELLED)
    for r, some in rows:
        if some.empty:
            continue
        st.markdown(f"**{plain(r.group)}** · {plain(counted(r))}")
        told = [picked(page, r.group, attribute, label, p) for p in pages.each(shown[r.group])]
        tiles(page, told, clear)
        if len(some) > len(shown[r.group]):
            more(page, task, label, r.group, len(some) - len(shown[r.group]))
    if none := [f"{r.group} (0 of {r.n:,})" for r, some in rows if some.empty]:
        st.markdown(f"**Chosen for no picture of** {plain(', '.join(none))}")


def rates(page: Page, task: str, label: str, attribute: str) -> list[Any]:
    """The run's own rates of a label, a row a group."""
    rows = pages.each(page.gallery.counted(task, label, attribute))
    if not rows:
        st.info("The run counted no rates of this label by this attribute.")
    return rows


def counted(row: Any) -> str:
    """How many pictures of a group got the label, from the run's table of rates."""
    told = f"chosen for {row.events:,} of {row.n:,} pictures"
    return f"{told}, {rate(row)}" if row.status == tables.OK else f"{told} ({status(row)})"


def explained(page: Page, attribute: str) -> str:
    """What is sorted, and whose word the groups are."""
    source = page.gallery.source(attribute)
    whose = f" Groups by {attribute}: {source}." if source else ""
    meaning = pages.card_of(page.run.model, page.run.name).scoring.meaning
    return (
        f"Score: {meaning}. Margin: its lead over the next label. "
        "Either end of such a list is no typical picture: the count beside each group "
        f"tells how many there are.{whose}"
    )


def many(page: Page, task: str, label: str, group: str) -> int:
    """How many pictures of a group are shown."""
    found: int = st.session_state.get(page.key("many", task, label, group), ROW)
    return found


def more(page: Page, task: str, label: str, group: str, left: int) -> None:
    """The button that shows more of a group."""
    key = page.key("many", task, label, group)

    def add() -> None:
        st.session_state[key] = st.session_state.get(key, ROW) + 2 * ROW

    count = min(left, 2 * ROW)
    st.button(plain(f"{count} more of {group}"), key=f"button {key}", on_click=add)


# ---- in other words ----------------------------------------------------------------------------


def wordings(page: Page) -> None:
    """One picture, and what it is labelled in every wording."""
    gallery = page.gallery
    if (task := task_of(page, gallery.tasks)) is None:
        return
    if (refused := gallery.refusal(task)) is not None:
        aggregates_only(refused)
        return
    image_id = chosen_picture(page, gallery.pictures(task))
    left, right = st.columns([1, 2])
    with left:
        one_picture(page, image_id)
    with right:
        answers(page, task, image_id)


def one_picture(page: Page, image_id: str) -> None:
    """The picture with its groups, and whose word each is."""
    gallery = page.gallery
    name = gallery.names[image_id]
    clear = st.toggle("Show it clearly", key=page.key("clear", image_id))
    groups = {a: str(gallery.groups.at[image_id, a]) for a in gallery.attributes}
    alt = ", ".join(f"{a} {group}" for a, group in groups.items())
    shown = frozenset({image_id} if clear else ())
    tiles(page, [Tile(image_id, alt, (name,))], shown, LARGE)
    told = [f"{a}: {group} ({gallery.source(a)})" for a, group in groups.items()]
    st.caption("  \n".join(map(plain, told)))
    if name != image_id and st.toggle("Tell its file name", key=page.key("file", image_id)):
        st.text(image_id)


def chosen_picture(page: Page, pictures: Sequence[str]) -> str:
    """The picture of an id, or another one.

    Raises:
        InputError: the run asked about no such picture.
    """
    names, key = page.gallery.names, "picture"
    one, two = st.columns([3, 1], vertical_alignment="bottom")

    def another() -> None:
        st.session_state[key] = names[random.choice(pictures)]  # noqa: S311 - no secret

    two.button("Another picture", on_click=another, width="stretch")
    image_id = page.gallery.find(
        one.text_input("Picture", names[pictures[0]], key=key, bind=ADDRESS)
    )
    if image_id not in pictures:
        raise InputError(f"{names[image_id]}: this question was not asked of it.")
    return image_id


def answers(page: Page, task: str, image_id: str) -> None:
    """The table of wordings with what each chooses, and how many agree."""
    rows = page.gallery.wordings(task, image_id)
    try:
        rows = pd.concat([rows, page.gallery.more_wordings(task, image_id)])
    except InputError as error:
        st.caption(plain(f"Further wordings of this run: {error}"))
    first, others = rows.iloc[0], rows.iloc[1:]
    agree = int((others["label"] == first["label"]).sum())
    if first["label"] != audit.gallery.NOT_TOLD:
        st.markdown(f"**{plain(agreement(agree, len(others), str(first['label'])))}**")
    lines = []
    for row in pages.each(rows):
        known = row.label != audit.gallery.NOT_TOLD
        score, margin = numbers(row.score, row.margin) if known else ("–", "–")
        same = "" if row.label == first["label"] else "≠\u00a0"
        lines.append(
            {
                "Asked": plain(row.wording),
                "Label": same + plain(row.label),
                "Score": unbroken(plain(score)),
                "Margin": unbroken(plain(margin)),
            }
        )
    table(lines)
    if (rows["label"] == audit.gallery.NOT_TOLD).any():
        aggregates_only("Some labels of this set are told of no real person.")
    if agree < len(others):
        st.caption("≠ another label than in the first row, which is the headline of the report.")


def agreement(agree: int, others: int, label: str) -> str:
    """How many other ways to ask give the same label."""
    if others == 0:
        return "The run asked this in one way only."
    if others == 1:
        return f"The one other way to ask gives {'the same' if agree else 'another'} label."
    return f"{agree} of {others} other ways to ask choose {_quoted(label)} too."


def _quoted(label: object) -> str:
    return f"‘{label}’"


# ---- one thing changed -------------------------------------------------------------------------


def families(page: Page) -> None:
    """A family side by side, with the score of a label and what each change does to it."""
    gallery, where = page.gallery, page.gallery.families
    if where is None or (task := task_of(page, where.tasks)) is None:
        return
    one, two = st.columns(2)
    if (label := label_of(page, one, task)) is None:
        return
    name = two.selectbox("Family", gallery.family_names, key="family", bind=ADDRESS)
    rows = gallery.family(str(name), task, label)
    st.caption(
        plain(
            f"Under each picture: what was changed; its score for ‘{label}’, in cosine; how far "
            "that is from the unchanged picture, and by what factor it multiplies the label's odds "
            "against one that stays; the label it gets. One family is an example: the mean over "
            "all of them, with bounds, is on the page More probes."
        )
    )
    clear = clearness(page, list(rows["image_id"]), FAMILIES)
    kinds = [rows["changed"].iloc[0], *where.demographic, *rows["changed"]]
    columns = []
    for kind in unique(k for k in kinds if k in set(rows["changed"])):
        of_it = [changed(page, label, row) for row in pages.each(rows[rows["changed"] == kind])]
        title = "unchanged" if kind == where.base else kind.replace("_", " ")
        columns.append(column(page, title, of_it, clear))
    st.html(flow(columns))


def changed(page: Page, label: str, row: Any) -> Tile:
    """The tile of one picture of a family."""
    what = row.to or page.gallery.names[row.image_id]
    if row.Index == 0:
        moved = []
    else:
        odds = math.exp(page.run.model["logit_scale"] * row.change)
        moved = [f"change {row.change:+.3f}", f"odds × {odds:.2f}"]
    numbers = [f"score {row.score:.3f}", *moved]
    return Tile(
        row.image_id,
        f"{row.changed}: {what}; {label}: {', '.join(numbers)}; labelled {row.predicted}",
        (what, *numbers, _quoted(row.predicted)),
    )


# ---- what is chosen ----------------------------------------------------------------------------


def task_of(page: Page, tasks: Sequence[str]) -> str | None:
    """The question, that of the most important finding at first; None where there is none."""
    if not tasks:
        st.info("This run asked nothing here by which its pictures can be shown.")
        return None
    leading = [f["task"] for f in page.run.findings]
    shown = [task for task in tasks if page.gallery.refusal(task) is None]
    leading = [task for task in (*leading, *shown) if task in shown]
    return st.selectbox(
        "Question", tasks, index=first(tasks, *leading), key="question", bind=ADDRESS
    )


def label_of(page: Page, box: Any, task: str) -> str | None:
    """The label; those by which real people are not shown can't be chosen."""
    gallery = page.gallery
    if (refused := gallery.refusal(task)) is not None:
        aggregates_only(refused)
        return None
    hidden = gallery.not_listed(task)
    labels = [text for text in gallery.labels(task).texts if text not in hidden]
    if hidden:
        aggregates_only(f"{len(hidden)} labels of this set are listed of no real person.")
    if not labels:
        return None
    leading = [f["label"] for f in page.run.findings if f["task"] == task]
    return str(
        box.selectbox("Label", labels, index=first(labels, *leading), key="labelled", bind=ADDRESS)
    )


def aggregates_only(why: str) -> None:
    """Why no picture is shown, and where the rates are."""
    st.info(plain(why), icon=":material/shield_person:")
    st.page_link(
        "views/disparities.py", label="Their rates by group: Disparities", icon=":material/grid_on:"
    )


def clearness(page: Page, there: Sequence[str], where: str) -> frozenset[str]:
    """Which of the pictures are shown clearly: all that are rendered, of real people one."""
    if not page.gallery.photographs:
        every = st.toggle("Show pictures clearly", key=page.key("clear", where))
        return frozenset(there if every else ())
    names = page.gallery.names
    one = st.selectbox(
        "Show one picture clearly",
        [NOBODY, *unique(there)],
        format_func=lambda i: names.get(i, i),
        key=page.key("clear", where),
    )
    st.caption("One at a time, since real faces in a row, sorted by a label, make a line-up.")
    return frozenset() if one == NOBODY else frozenset({one})


show(current())

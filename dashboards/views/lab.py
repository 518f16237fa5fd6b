"""Type labels and templates; see at once whom the model would call what, and what that changes."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Final

import pandas as pd
import streamlit as st
from parts.address import ADDRESS, choose, choose_some, told_apart, write
from parts.charts import before_and_after
from parts.found import label_id
from parts.runs import current, offer_csv, stamp
from parts.words import change, measured, plain, signed, status, table, unbroken, what

import audit
from audit import InputError, Run, Store, pages, tables

#: rows of the table of changes before it refers to the file
MOST: Final = 14


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Label-set lab")
    st.markdown(
        "Change the words and see whom the model would call what. Pictures are those of the run, "
        "already encoded; nothing is written to it."
    )
    tasks = audit.lab.can_be_asked(run)
    if not tasks:
        st.info("This run asked no choice among labels, so there is no set to start from.")
        return
    leading = [f["task"] for f in run.findings if f["task"] in tasks]
    task = st.selectbox(
        "Start from",
        tasks,
        index=tasks.index(leading[0]) if leading else 0,
        help="a label set that the run asked; first that of its most important finding",
        key="task",
        bind=ADDRESS,
    )
    try:
        lab = opened(str(run.path), task, stamp(run.path), run)
        asked, threshold = question(run, lab, task)
    except InputError as error:
        st.error(plain(error), icon=":material/warning:")
        return
    if not allowed(run, lab, asked):
        return
    try:
        reply, seconds = answered(lab, asked, threshold)
    except InputError as error:
        st.error(plain(error), icon=":material/warning:")
        return
    told(lab, asked, threshold, reply, seconds)
    look(run, task, lab, reply)
    save(run, task, asked, threshold)


@st.cache_resource(max_entries=4, show_spinner="Finding the stored pictures")
def opened(path: str, task: str, stamp: str, _run: Run) -> audit.lab.Lab:
    """The lab of a task; opened once, so that a model is loaded once at most.

    The model is loaded while the reader reads, so that the first new word needn't wait for it.
    """
    lab = audit.lab.open_lab(_run, task, Store())
    threading.Thread(target=ready, args=(lab,), daemon=True).start()
    return lab


def ready(lab: audit.lab.Lab) -> None:
    """Load what a new word needs; that it can't be loaded is told when a word needs it."""
    with contextlib.suppress(Exception):
        lab.model()


def answered(
    lab: audit.lab.Lab, asked: audit.lab.Question, threshold: float | None
) -> tuple[audit.lab.Reply, float]:
    """The answer and how long it took; the last one is kept while its words stay the same."""
    key = (id(lab), asked.labels.digest, asked.prompts.digest, threshold)
    kept = st.session_state.get("answer of the lab")
    if kept is None or kept[0] != key:
        start = time.perf_counter()
        with st.spinner("Asking"):
            reply = lab.reply(asked, threshold)
        kept = key, (reply, time.perf_counter() - start)
        st.session_state["answer of the lab"] = kept
    found: tuple[audit.lab.Reply, float] = kept[1]
    return found


# ---- what is asked -----------------------------------------------------------------------------


def question(run: Run, lab: audit.lab.Lab, task: str) -> tuple[audit.lab.Question, float | None]:
    """Labels, templates and threshold as they stand on the page.

    Raises:
        InputError: they make no question.
    """
    key = f"{run.name} {task}"
    one, two = st.columns([3, 2])
    labels = write(
        one.text_area,
        "Labels, one a line",
        "\n".join(lab.saved.labels.texts),
        "labels",
        key,
        height=210,
        help="Type or paste; a label of the saved set keeps its family.",
    ).splitlines()
    templates = write(
        two.text_area,
        "Templates, one a line, {} for the label",
        "\n".join(lab.saved.prompts.templates),
        "templates",
        key,
        height=210,
    ).splitlines()
    there = list(dict.fromkeys(text.strip() for text in labels if text.strip()))
    dropped = choose_some(
        st, "Leave out for now", {text: text for text in there}, "without",
        placeholder="no label is left out",
    )  # fmt: skip
    asked = audit.lab.typed(
        [text for text in labels if text.strip() not in dropped], templates, lab.saved
    )
    return asked, threshold_of()


def threshold_of() -> float | None:
    """The threshold, if labels are kept at or above one."""
    one, two = st.columns([3, 2])
    above = one.toggle(
        "Keep every label at or above a threshold",
        key="above",
        bind=ADDRESS,
        help="instead of choosing the nearest one: several may be kept, or none",
    )
    if not above:
        return None
    percent = two.number_input(
        "Threshold, %", 0.001, 99.9, 4.0, step=0.5, format="%.3g", key="threshold", bind=ADDRESS
    )
    return float(percent) / 100


def allowed(run: Run, lab: audit.lab.Lab, asked: audit.lab.Question) -> bool:
    """Whether this may be asked of these people; words of suspicion want a second thought."""
    if not asked.needs_acknowledgement:
        return True
    if refused := lab.refusal(asked):
        st.error(plain(f"These words are refused: {refused}"), icon=":material/warning:")
        return False
    meant = lab.saved.labels.name in run.suite.get("acknowledge", ())
    if meant and not asked.prompts.needs_acknowledgement:
        return True
    return st.checkbox(
        "Some of these words cast suspicion or ask what the law protects. I mean to ask them."
    )


# ---- what is answered --------------------------------------------------------------------------


def told(
    lab: audit.lab.Lab,
    asked: audit.lab.Question,
    threshold: float | None,
    reply: audit.lab.Reply,
    seconds: float,
) -> None:
    """What was asked and what changed, in a sentence or two."""
    rule = (
        "the nearest label is chosen"
        if threshold is None
        else f"every label at or above {100 * threshold:g}% is kept"
    )
    n = len(lab.images.keys)
    same = asked.labels.texts == lab.saved.labels.texts
    same = same and asked.prompts.templates == lab.saved.prompts.templates
    moved = (
        "This is the saved set: change a word above."
        if same
        else f"{reply.changed:,} of {n:,} pictures ({reply.changed / n:.0%}) are answered "
        "otherwise than with the saved set."
    )
    st.markdown(f"**{plain(moved)}**")
    st.caption(
        f"{len(asked.labels.texts)} labels, {len(asked.prompts.templates)} templates averaged, "
        f"{rule}, in both sets. Answered in {seconds:.2f} s."
    )


def look(run: Run, task: str, lab: audit.lab.Lab, reply: audit.lab.Reply) -> None:
    """Rates by group of one label or family, then every change of one attribute."""
    attributes = lab.groups.attributes
    asked = reply.rates.drop_duplicates(["metric", "label"])
    options = list(zip(asked["metric"], asked["label"], strict=True))
    new = [o for o in options if o[1] not in (*lab.saved.labels.texts, *lab.saved.labels.families)]
    families = [o for o in options if o[0] in ("family_selection", "family_kept")]
    first = next(iter([*new, *families, *options]))
    one, two = st.columns(2)
    attribute = one.selectbox(
        "By", attributes, index=_leading(run, task, attributes), key="by", bind=ADDRESS
    )
    by_id = {label_id(*option): option for option in dict.fromkeys([first, *options])}
    called = told_apart({i: what(*option) for i, option in by_id.items()})
    metric, label = choose(two, "Label or family", by_id, "word", called.__getitem__)
    one_question(reply, attribute, metric, label)
    every_change(reply, attribute)
    with st.expander("Every rate of this attribute, as a table"):
        of_it = reply.rates[reply.rates["attribute"].isin([attribute, tables.EVERYONE])]
        st.dataframe(_rates_frame(of_it), hide_index=True, width="stretch")
    offer_csv(st, "All rates, as CSV", reply.rates, "rates.csv", run)


def _leading(run: Run, task: str, attributes: list[str]) -> int:
    """The place of the attribute of the task's most important finding."""
    found = [f["attribute"] for f in run.findings if f["task"] == task]
    return next((attributes.index(a) for a in found if a in attributes), 0)


def one_question(reply: audit.lab.Reply, attribute: str, metric: str, label: str) -> None:
    """The chart and the table of one label or family."""
    wanted = [attribute, tables.EVERYONE]
    now, moved = (
        t[(t["metric"] == metric) & (t["label"] == label) & t["attribute"].isin(wanted)]
        for t in (reply.rates, reply.changes)
    )
    now = now.sort_values("attribute", key=lambda a: a == tables.EVERYONE, kind="stable")
    moved = moved if reply.changed else moved.iloc[:0]
    of_rates = moved[moved["comparison"] == tables.RATE].set_index(["attribute", "group"])
    rows = [
        (r, of_rates.loc[(r.attribute, r.group)] if len(of_rates) else None)
        for r in pages.each(now)
    ]
    st.markdown(f"**{plain(f'Chosen by the model: {what(metric, label)}')}**")
    st.altair_chart(before_and_after(pd.DataFrame([d for r, m in rows for d in _drawn(r, m)])))
    table(_cells(r, m) for r, m in rows)
    for gap in pages.each(moved[moved["comparison"] == tables.WORST]):
        st.markdown(_gap(gap))
    if moved.empty and reply.changed:
        st.caption("The saved set has no such label, so there is nothing to compare it with.")


def _cells(row: Any, moved: Any) -> dict[str, str]:
    cells = {"Group": plain(row.group), "As typed": unbroken(plain(_rate(row)))}
    if moved is not None:
        points = change(moved["value"], moved["low"], moved["high"])
        cells |= {
            "Saved set": unbroken(plain(f"{100 * moved['before']:.0f}%")),
            "Change, points": unbroken(plain(points)),
        }
    return cells | {"Pictures": f"{row.n:,}", "Status": plain(status(row))}


def _rate(row: Any) -> str:
    return measured(row.value, row.low, row.high, "%")


def _drawn(row: Any, moved: Any) -> list[dict[str, Any]]:
    """The marks of one group: as typed and, if it has it, in the saved set."""
    common = {"group": str(row.group), "pictures": f"{row.n:,}"}
    points = "" if moved is None else change(moved["value"], moved["low"], moved["high"])
    ends = {"value": 100 * row.value, "low": 100 * row.low, "high": 100 * row.high}
    drawn = [common | ends | {"which": "as typed", "rate": _rate(row), "change": points or "none"}]
    if moved is None:
        return drawn
    before = 100 * float(moved["before"])
    told = {"which": "saved set", "rate": f"{before:.0f}%", "change": ""}
    return [*drawn, common | {"value": before, "low": before, "high": before} | told]


def _gap(gap: Any) -> str:
    """What became of the largest gap between two groups."""
    ends = gap.low_simultaneous, gap.high_simultaneous
    if gap.status != tables.OK:
        return plain(f"Largest gap: {status(gap)}.")
    before, after = (f"{100 * value:.0f}" for value in (gap.before, gap.after))
    words = (
        f"Largest gap between two groups: {before} points with the saved set ({gap.group} v "
        f"{gap.other}), {after} as typed ({gap.group_after} v {gap.other_after}); change "
        f"{change(gap.value, *ends)}."
    )
    large = f"A change of more than {100 * gap.margin:g} points:"
    return f"{plain(words)} {plain(large)} {signed(gap.verdict)}"


def every_change(reply: audit.lab.Reply, attribute: str) -> None:
    """The rates of all labels that surely changed most."""
    changes = reply.changes
    rows = changes[(changes["comparison"] == tables.RATE) & (changes["attribute"] == attribute)]
    rows = rows[(rows["status"] == tables.OK) & (rows["gained"] + rows["lost"] > 0)]
    if rows.empty:
        return
    sure = rows[["low_simultaneous", "high_simultaneous"]]
    away = sure["low_simultaneous"].clip(lower=0) - sure["high_simultaneous"].clip(upper=0)
    order = rows.assign(away=away, size=rows["value"].abs())
    order = order.sort_values(["away", "size"], ascending=False, kind="stable").head(MOST)
    st.markdown(f"**Where it changed most, by {plain(attribute)}**")
    table(
        {
            "Label": plain(what(row.metric, row.label)),
            "Group": plain(row.group),
            "Change, points": unbroken(
                plain(change(row.value, row.low_simultaneous, row.high_simultaneous))
            ),
            "Gained, lost": unbroken(f"{row.gained:,}, {row.lost:,}"),
            "More than the margin": signed(row.verdict),
        }
        for row in pages.each(order)
    )
    st.caption(
        "Bounds in this table hold for all labels and groups of the attribute at once, not for "
        "all that you try one after the other: who tries many words will find some gap by chance. "
        "Seal a plan with the words you settle on, and run it."
    )


def _rates_frame(rates: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": [what(r.metric, r.label) for r in pages.each(rates)],
            "group": rates["group"].to_numpy(),
            "rate": [_rate(r) for r in pages.each(rates)],
            "events": rates["events"].to_numpy(),
            "pictures": rates["n"].to_numpy(),
            "status": [status(r) for r in pages.each(rates)],
        }
    )


# ---- to keep it --------------------------------------------------------------------------------


def save(run: Run, task: str, asked: audit.lab.Question, threshold: float | None) -> None:
    """The set as YAML, and a suite that asks it."""
    st.subheader("Keep it")
    one, two, three = st.columns([2, 1, 1], vertical_alignment="bottom")
    name = one.text_input("Name", asked.labels.name, key=f"name {asked.labels.name}")
    try:
        kept = audit.lab.named(asked, name.strip())
    except InputError as error:
        st.error(plain(error))
        return
    file = pages.slug(name.strip())
    two.download_button(
        "Label set", audit.lab.label_set_yaml(kept.labels), f"{file}.yaml", "text/yaml",
        on_click="ignore", width="stretch",
    )  # fmt: skip
    three.download_button(
        "Suite, zipped", audit.lab.zipped(audit.lab.suite_files(run, task, kept, threshold)),
        f"{file}.zip", "application/zip", on_click="ignore", width="stretch",
    )  # fmt: skip
    st.caption(
        "The suite asks this set of the same model and pictures. Unpack it into a folder, "
        "then: clip-audit check FOLDER/suite.yaml"
    )


show(current())

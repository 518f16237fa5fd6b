"""One page on one finished run: what was asked, what was found and how sure it is.

``clip-audit dashboard RUNS`` opens it on a folder of runs or on one run. It reads the tables that
a public copy holds too, shows aggregates and no pictures, and stays on this machine.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import altair as alt
import pandas as pd
import streamlit as st

from audit.digits import bounds, percent
from audit.errors import InputError
from audit.findings import judged, tally_verdicts
from audit.metrics import UNKNOWN
from audit.page import MARKS
from audit.rundir import MANIFEST, Run, digest_of, open_run
from audit.sections.label_sets import label_warnings
from audit.tables import (
    CANNOT_TELL,
    DIFFERENCE,
    ENSEMBLE,
    EVERYONE,
    OK,
    REST,
    SHOWN_LARGE,
    SHOWN_SMALL,
    SPREAD,
    UNDEFINED,
    WORST,
)

#: what this page reads; if one of these is damaged, nothing of the run is shown
READ: Final = (
    "suite.yaml", "dataset.json", "model.json", "questions.json", "rates.parquet",
    "disparities.parquet", "findings.json",
)  # fmt: skip
FIRST: Final = 12
COMPARISONS: Final = 16
ANY: Final = "all"

SEEN: Final = "seen"
#: sign, shape and colour: a verdict is never told by its colour alone (Okabe and Ito's palette)
SIGNS: Final = {v: MARKS[v][0] for v in (SHOWN_LARGE, SEEN, CANNOT_TELL, SHOWN_SMALL)}
SHAPES: Final = {SHOWN_LARGE: "triangle-up", CANNOT_TELL: "diamond", SHOWN_SMALL: "circle"}
COLOURS: Final = {SHOWN_LARGE: "#D55E00", CANNOT_TELL: "#7A7A7A", SHOWN_SMALL: "#0072B2"}
MEANINGS: Final = {
    SHOWN_LARGE: "The whole interval lies above the margin that the suite fixed before the run.",
    SEEN: "A label that denies people their humanity was chosen: one time is a finding.",
    CANNOT_TELL: "The interval holds the margin: with these pictures the question stays open.",
    SHOWN_SMALL: "The whole interval lies below the margin.",
}
METRICS: Final = {
    "selection": "label chosen",
    "family_selection": "any label of a family",
    "misclassification": "wrong label chosen",
}
SOURCES: Final = {
    "self-reported": "self-reported (the persons said so)",
    "annotator-perceived": "annotator-perceived (people looking at the pictures judged)",
    "assigned": "assigned (taken from a record or computed)",
    "generator": "generator (a setting of the program that made the pictures)",
}


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="clip-audit", page_icon="🔎", layout="wide")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs")
    found, broken = manifests(folder)
    for path in broken:
        st.error(plain(f"{path.parent.name}: {path.name} is damaged and can't be read."), icon="⚠️")
    if not found:
        nothing_yet(folder)
        return
    path = choose_run(found)
    run, damaged = opened(str(path), stamp(path))
    if run is None:
        refuse(path, damaged)
        return
    warn(run, damaged)
    asked(run)
    verdict_counts(run)
    shown = findings(run)
    look_closer(run, shown)
    caveats(run, shown)


# ---- which run ---------------------------------------------------------------------------------


def manifests(folder: Path) -> tuple[dict[Path, Mapping[str, Any]], list[Path]]:
    """Finished runs by path, newest first, with their manifests; and manifests that are damaged."""
    one = folder / MANIFEST
    paths = [one] if one.is_file() else sorted(folder.glob(f"[!.]*/{MANIFEST}"), reverse=True)
    good: dict[Path, Mapping[str, Any]] = {}
    broken = []
    for path in paths:
        try:
            good[path.parent] = open_run(path.parent).manifest
        except (InputError, ValueError, AttributeError, OSError):
            broken.append(path)
    return good, broken


def nothing_yet(folder: Path) -> None:
    """What to do where there is no run."""
    st.title("No run yet")
    st.text(f"There is no finished run in {folder}.")
    st.markdown("`clip-audit run quick` makes one in under a minute; then reload this page.")


def choose_run(found: Mapping[Path, Mapping[str, Any]]) -> Path:
    """The run chosen in the sidebar."""
    with st.sidebar:
        st.header("clip-audit")
        path = st.selectbox("Run", list(found), format_func=lambda p: readable(p, found[p]))
        st.text(path.name)
        st.caption(
            "Newest first. This page shows aggregates of a finished run, no pictures and nothing "
            "about single people."
        )
    return Path(path)


def readable(path: Path, manifest: Mapping[str, Any]) -> str:
    """A run's name for people: suite, model, day and time."""
    try:
        when = f"{datetime.fromisoformat(str(manifest['started'])):%d %b %Y %H:%M}"
        return f"{manifest['suite']} on {manifest['model']}, {when}"
    except (KeyError, ValueError):
        return path.name


def stamp(path: Path) -> str:
    """Changes when the manifest or a sealed file does, so that later damage is seen too."""
    sizes = []
    for name in READ:
        file = path / name
        stat = file.stat() if file.is_file() else None
        sizes.append((stat.st_mtime_ns, stat.st_size) if stat else None)
    return f"{digest_of(path / MANIFEST)} {sizes}"


@st.cache_resource(max_entries=4, show_spinner="Reading the run")
def opened(path: str, stamp: str) -> tuple[Run | None, list[str]]:
    """The run with its tables read, and damaged files; no run if the page needs one of those."""
    run = open_run(Path(path))
    try:
        damaged = run.damaged()
    except (KeyError, AttributeError):
        return None, [MANIFEST]
    bad = [name for name in damaged if name in READ]
    return (None, bad) if bad else reading(run, damaged)


def reading(run: Run, damaged: list[str]) -> tuple[Run | None, list[str]]:
    """Read every table once, to know that it can be read."""
    for name in READ:
        try:
            getattr(run, name.split(".")[0])
        except Exception:  # whatever a reader raises, the page names the file
            return None, [name]
    return run, damaged


def refuse(path: Path, damaged: Sequence[str]) -> None:
    """A damaged run: which files, and what to do."""
    st.title("This run is damaged")
    st.error(
        plain(f"Missing, changed since the run was sealed, or unreadable: {', '.join(damaged)}"),
        icon="⚠️",
    )
    st.text(f"in {path}")
    st.markdown(
        "Nothing of it is shown, since its numbers may not be those that were measured. "
        "Restore the files from a copy, or run the suite again: what was encoded is kept, so that "
        "is quick."
    )


# ---- what was asked ----------------------------------------------------------------------------


def warn(run: Run, damaged: Sequence[str]) -> None:
    """The title and the content warning, before any label is seen."""
    st.title(plain(f"What the run ‘{run.manifest['suite']}’ found"))
    told = " ".join(label_warnings(run))
    st.warning(
        plain(
            "Content warning: this page quotes words that a model was asked to choose for pictures "
            f"of people; some are hurtful. {told} They are a model's choices and nobody's traits."
        ),
        icon="⚠️",
    )
    if damaged:
        st.warning(
            plain(f"Changed since the run was sealed, but not shown here: {', '.join(damaged)}")
        )


def asked(run: Run) -> None:
    """What was asked of which model on which pictures, a line each."""
    tasks = ", ".join(f"‘{q['task']}’" for q in run.questions)
    lines = {
        "Model": f"{run.model['ref']} ({run.model['family']}, {run.model['precision']})",
        "Pictures": pictures(run),
        "Groups, and whose word": whose_word(run),
        "Questions": f"{' '.join(dict.fromkeys(q['asks'] for q in run.questions))} {tasks}",
        "Wordings": wordings(run),
        "Margin": f"{margins(run)}, fixed in the suite before the run",
    }
    with st.container(border=True):
        st.markdown("  \n".join(f"**{name}:** {plain(line)}" for name, line in lines.items()))


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
    """The margin, and those of label families that have another."""
    given = {f: m["difference"] for f, m in run.suite["confidence"]["margins"].items()}
    default = given.pop("default")
    others = [f"{100 * m:g} for ‘{family}’" for family, m in given.items() if m != default]
    return f"{100 * default:g} points" + (f" ({', '.join(others)})" if others else "")


def wordings(run: Run) -> str:
    """The template sets in a line."""
    sets = {s["name"]: len(s["templates"]) for q in run.questions for s in q["prompt_sets"]}
    named = ", ".join(f"{name} ({n} template{'s' if n > 1 else ''})" for name, n in sets.items())
    return f"{named}; what follows is for all templates together"


# ---- what was found ----------------------------------------------------------------------------


def verdict_counts(run: Run) -> None:
    """How many findings have each verdict, and what a verdict means."""
    st.subheader("Verdicts")
    counts = {v: n for v, n in tally_verdicts(run.findings).items() if n or v != SEEN}
    for column, (verdict, n) in zip(st.columns(len(counts)), counts.items(), strict=True):
        with column:
            st.metric(f"{SIGNS[verdict]} {verdict}", n)
            st.caption(MEANINGS[verdict])


def findings(run: Run) -> list[dict[str, Any]]:
    """The table of findings with its filters; gives the findings that pass them."""
    st.subheader("Findings")
    one, two, three = st.columns([2, 1, 1])
    verdicts = one.multiselect(
        "Verdict", [v for v in SIGNS if tally_verdicts(run.findings)[v]], placeholder="all verdicts"
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
        st.info("No finding passes these filters.")
        return []
    everything = len(passing) > FIRST and st.toggle(f"Show all {len(passing)}")
    shown = passing if everything else passing[:FIRST]
    table(
        {
            "Verdict, severity": signed(f["verdict"]) + f" {plain(f['severity'])}",
            "Finding": plain(f["statement"]),
        }
        for f in shown
    )
    st.caption(
        f"{len(shown)} of {len(passing)} findings that pass the filters, {len(run.findings)} in "
        "all; most important first. One finding for each question, label and attribute: the gap "
        "between the two groups that are furthest apart; where the right answer is known, in "
        "errors. Bounds hold for all comparisons of one "
        "question and attribute at once."
    )
    return passing


# ---- one question closer -----------------------------------------------------------------------


def look_closer(run: Run, shown: Sequence[Mapping[str, Any]]) -> None:
    """Rates by group and their comparisons for one task, metric, label and attribute."""
    st.subheader("Group by group")
    first = next((f for f in shown if f["attribute"] != EVERYONE), {})
    rates = run.rates[run.rates["condition"] == ENSEMBLE]
    gaps = run.disparities[run.disparities["condition"] == ENSEMBLE]
    columns = st.columns(4)
    for column, box in zip(("task", "metric", "label", "attribute"), columns, strict=True):
        options = unique(rates[column])
        if column == "attribute":
            options = [a for a in options if a != EVERYONE] or options
        chosen = box.selectbox(
            column.capitalize(),
            options,
            index=options.index(first[column]) if first.get(column) in options else 0,
            format_func=lambda name: METRICS.get(name, name),
            key=f"closer {run.name} {column} {first.get('id')} {hash(tuple(options))}",
        )
        rates = rates[rates[column] == chosen]
        gaps = gaps[gaps[column] == chosen]
    rows = each(rates)
    pooled = rates["pooled"].notna().any()
    table(
        {"Group": plain(r.group), "Rate": unbroken(plain(rate(r)))}
        | ({"Pooled": unbroken(plain(drawn_in(r)))} if pooled else {})
        | {
            "Events": f"{r.events:,}",
            "Pictures": f"{r.n:,}",
            "Subjects": f"{r.subjects:,}",
            "Status": plain(status(r)),
        }
        for r in rows
    )
    methods = ", ".join(unique(r.method for r in rows if r.method))
    st.caption(
        f"{rates['level'].iloc[0]:.0%} intervals ({plain(methods or 'none')}), each for its group "
        "alone. Opens at the first finding shown above."
        + (" Pooled: drawn towards what the attributes add up to; not judged." if pooled else "")
    )
    if judged(gaps, run.rates).empty and not gaps.empty:
        st.info(
            "No finding is made of this: the right answer is known here, so groups are judged by "
            "errors. That a label is chosen more often where it is right is what was asked."
        )
    draw(gaps)


def rate(row: Any) -> str:
    """A rate with its interval, or that there is none."""
    if row.status == UNDEFINED or math.isnan(row.value):
        return "none"
    return measured(row.value, row.low, row.high, "%")


def drawn_in(row: Any) -> str:
    """The pooled rate of an intersection with its interval."""
    return measured(row.pooled, row.pooled_low, row.pooled_high, "%")


def measured(value: float, low: float, high: float, unit: str = "") -> str:
    """A number with its bounds, if it has any, in the digits that these support."""
    if math.isnan(value):
        return "none"
    within = "" if math.isnan(low) or math.isnan(high) else f" ({bounds(low, high)})"
    return percent(value, low, high) + unit + within


def status(row: Any) -> str:
    """The status in words, with the reason unless it is ok."""
    said = str(row.status).replace("_", " ")
    return said if row.status == OK else f"{said}: {row.reason}"


def draw(gaps: pd.DataFrame) -> None:
    """The differences between groups as dots with simultaneous bounds, and the margin."""
    differences = gaps[gaps["comparison"] == DIFFERENCE]
    with_rest = differences["other"] == REST
    if with_rest.any():
        choice = st.radio("Compare each group with", ["the rest", "each other"], horizontal=True)
        differences = differences[with_rest if choice == "the rest" else ~with_rest]
    usable = differences[differences["status"] == OK]
    if len(differences) > len(usable):
        why = ", ".join(unique(differences[differences["status"] != OK]["reason"]))
        lost = len(differences) - len(usable)
        st.info(plain(f"{lost} of {len(differences)} comparisons can't be made: {why}."))
    if usable.empty:
        st.info("No two groups can be compared here.")
        return
    widest = usable.loc[usable["value"].abs().sort_values(ascending=False, kind="stable").index]
    widest = widest.head(COMPARISONS)
    some = f"the {len(widest)} widest of {len(usable)}; " if len(widest) < len(usable) else ""
    st.markdown(
        f"**Differences between groups, in points** ({some}{widest['level'].iloc[0]:.0%} "
        f"simultaneous bounds; the band is the margin of ± {100 * widest['margin'].iloc[0]:g})"
    )
    st.altair_chart(chart(widest))
    if told := beside_chance(gaps):
        st.markdown(plain(told))
    st.caption("The group with the higher rate comes first. Point at a mark for its numbers.")


def beside_chance(gaps: pd.DataFrame) -> str:
    """The widest gap beside what chance alone would give, and the spread of all groups."""
    usable = gaps[gaps["status"] == OK]
    told = []
    for row in each(usable[usable["comparison"] == WORST].dropna(subset="null_mean")):
        ends = row.low_simultaneous, row.high_simultaneous
        gap, mean, high = (percent(x, *ends) for x in (row.value, row.null_mean, row.null_high))
        told.append(
            f"The two groups that are furthest apart differ by {gap} points; were subjects dealt "
            f"to groups by chance, by {mean} on average and up to {high} in {row.level:.0%} of "
            "shuffles."
        )
    for row in each(usable[usable["comparison"] == SPREAD]):
        spread = measured(row.value, row.low, row.high)
        told.append(f"Spread of all groups, sampling noise subtracted: {spread} points.")
    return " ".join(told)


def chart(gaps: pd.DataFrame) -> alt.LayerChart:
    """Dot-and-interval chart of differences, widest first."""
    data = chart_data(gaps)
    order = alt.Y(
        "comparison:N", sort=None, title=None, axis=alt.Axis(labelLimit=260, labelFlush=False)
    )
    known = [v for v in SHAPES if v in set(data["verdict"])]
    colour = alt.Color("verdict:N", title=None, legend=alt.Legend(orient="top")).scale(
        domain=known, range=[COLOURS[v] for v in known]
    )
    shape = alt.Shape("verdict:N", title=None).scale(domain=known, range=[SHAPES[v] for v in known])
    tips = [alt.Tooltip(f"{name}:N") for name in data if name not in ("low", "high", "points")]
    margin = float(gaps["margin"].iloc[0]) * 100
    edges = pd.DataFrame({"from": [-margin], "to": [margin]})
    band = alt.Chart(edges).mark_rect(color="#E9E4D4").encode(x="from:Q", x2="to:Q")
    zero = alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(color="#7A7A7A").encode(x="x:Q")
    ticks = alt.X("low:Q", title="points", axis=alt.Axis(tickCount=8))
    base = alt.Chart(data).encode(y=order, color=colour, tooltip=tips)
    lines = base.mark_rule(strokeWidth=2).encode(x=ticks, x2="high:Q")
    dots = base.mark_point(size=90, filled=True, opacity=1).encode(x="points:Q", shape=shape)
    return alt.layer(band, zero, lines, dots).properties(height=150 + 24 * len(data))


def chart_data(gaps: pd.DataFrame) -> pd.DataFrame:
    """What the chart draws and what its tooltips say, the higher group of each pair first."""
    return pd.DataFrame([_drawn(r) for r in each(gaps)])


def _drawn(row: Any) -> dict[str, Any]:
    first = (row.group, f"{row.events:,} of {row.n:,} pictures")
    second = (row.other, f"{row.events_other:,} of {row.n_other:,} pictures")
    value, low, high = row.value, row.low_simultaneous, row.high_simultaneous
    if value < 0:
        first, second, value, low, high = second, first, -value, -high, -low
    return {
        "comparison": f"{first[0]} v {second[0]}",
        "points": 100 * value,
        "low": 100 * low,
        "high": 100 * high,
        "verdict": row.verdict,
        "difference": f"{measured(value, low, high)} points",
        "first group": first[1],
        "second group": second[1],
        "q-value": "not tested" if math.isnan(row.q) else f"{row.q:.2g}",
        "detectable": f"{percent(row.detectable, 0, row.detectable)} points"
        if row.detectable > 0
        else "not known",
    }


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
    few = unique(run.rates[run.rates["group"] == UNKNOWN]["attribute"])
    if few:
        told.append(f"pictures of unknown group are counted but not compared: {', '.join(few)}")
    told += [
        "‘cannot tell’ is not ‘no gap’: more pictures may answer it",
        "a gap is measured on these pictures and in these words; other pictures, other labels or "
        "other wordings can give another",
        "a small gap makes no use of the model right: nothing here says what it is fit for",
    ]
    st.markdown("\n".join(f"- {plain(one)}" for one in told))


# ---- words and numbers -------------------------------------------------------------------------


def table(rows: Iterable[Mapping[str, str]]) -> None:
    """A table whose cells wrap and are Markdown already; counts are set to the right."""
    rows = list(rows)
    names = list(rows[0])
    numbers = [all(re.fullmatch(r"[\d,]+", row[name]) for row in rows) for name in names]
    lines = [names, ["---:" if number else ":---" for number in numbers]]
    lines += [list(row.values()) for row in rows]
    st.markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def plain(text: object) -> str:
    """Text as Markdown that shows exactly this text: no link, image, formula, icon or markup."""
    line = re.sub(r"\s+", " ", str(text)).strip()
    # addresses and arrows are found after Markdown is read, where a backslash no longer helps
    line = re.sub(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)|(?<=[-<=])(?=[-=>])", "\u2060", line)
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:@/^=&])", r"\\\1", line)


def signed(verdict: str) -> str:
    """A verdict with its sign, in bold and on one line."""
    return unbroken(f"{SIGNS[verdict]} **{verdict}**")


def unbroken(text: str) -> str:
    """Text that stays on one line."""
    return text.replace(" ", "\u00a0")


def each(table: pd.DataFrame) -> list[Any]:
    """Rows with their columns as attributes."""
    return list(table.itertuples())


def unique(values: Iterable[Any]) -> list[Any]:
    """Each value once, in order of appearance."""
    return list(dict.fromkeys(values))


main()

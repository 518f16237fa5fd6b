"""Render REPORT_TEMPLATE.md for a finished run: report.md, report.html and figures/.

The template is Jinja over Markdown. Whatever it prints is text and is escaped, unless a function
here made it Markdown: names of labels, groups and data sets come from people and stay words. A
missing value is an error and no blank.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import jinja2
import matplotlib as mpl
import pandas as pd
from jinja2.sandbox import SandboxedEnvironment
from matplotlib.figure import Figure

from audit import figures
from audit.errors import InputError, sentence
from audit.findings import judged, tally_verdicts
from audit.metrics import DEFAULT_FAMILY, UNKNOWN
from audit.page import BLANK, MARKS, to_html
from audit.resources import shipped
from audit.rundir import Run, slug, write_text
from audit.tables import ENSEMBLE, EVERYONE, OK, UNDEFINED

TEMPLATE: Final = "REPORT_TEMPLATE.md"
#: rows of a table of gaps, and columns of a table of rates, before it refers to the Parquet file
MOST_ROWS: Final = 12
MOST_COLUMNS: Final = 6

NBSP: Final = "\u00a0"


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""


def render(run: Run, template: Path | None = None) -> Path:
    """Render a finished run; everything is drawn before anything is written.

    Args:
        run: the run; nothing but its folder is read.
        template: a template of your own instead of ``REPORT_TEMPLATE.md``.

    Returns:
        The path of ``report.html``, one file that needs no other.

    Raises:
        InputError: the template can't be read, names something unknown or prints a missing value.
    """
    drawn: dict[str, Drawn] = {}
    text = fill(run, template or shipped(TEMPLATE), drawn)
    page = to_html(text, {name: figure.svg for name, figure in drawn.items()})
    _write_figures(run.path / "figures", drawn)
    write_text(run.path / "report.md", text)
    write_text(run.path / "report.html", page)
    return run.path / "report.html"


# ---- the template ------------------------------------------------------------------------------


def fill(run: Run, template: Path, drawn: dict[str, Drawn]) -> str:
    """The report as Markdown; figures that the template asks for are added to ``drawn``.

    Raises:
        InputError: as ``render``.
    """
    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, finalize=_finalize, trim_blocks=True, lstrip_blocks=True
    )
    try:
        source = template.read_text(encoding="utf-8")
        text = environment.from_string(source).render(context(run, drawn))
    except OSError as error:
        raise InputError(sentence(f"{template}: can't be read ({error.strerror})")) from error
    except jinja2.TemplateSyntaxError as error:
        raise InputError(sentence(f"{template}:{error.lineno}: {error.message}")) from error
    except jinja2.UndefinedError as error:
        told = f"{template}: {error.message}"
        raise InputError(sentence(told, f"{TEMPLATE} begins with the names there are")) from error
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def context(run: Run, drawn: dict[str, Drawn]) -> dict[str, Any]:
    """Every name that a template may use."""
    by_verdict = {v: [f for f in run.findings if f["verdict"] == v] for v in MARKS}
    functions: Sequence[Callable[..., Any]] = (
        who_was_counted, group_table, attributes_table, quarantine_table, margins_table,
        power_table, gaps_table, rates_table, templates_table, findings_table, lead_attribute,
        checks, label_warnings,
    )  # fmt: skip
    return {f.__name__: partial(f, run) for f in functions} | {
        "run": run,
        "manifest": run.manifest,
        "model": run.model,
        "suite": run.suite,
        "dataset": run.dataset,
        "card": run.dataset["card"],
        "tasks": tasks(run),
        "kinds": sorted({question["kind"] for question in run.questions}),
        "by_verdict": by_verdict,
        "tally": tally_verdicts(run.findings),
        "version": version("clip-audit"),
        "plan": run.manifest.get("plan", "unsealed"),
        "figure": partial(_figure, run, drawn),
        "labels_table": labels_table,
        "versions_table": partial(_pairs_table, "Package", "Version"),
        "tag": tag,
        "code": code,
        "stated": stated,
        "blank": Markdown(f"**{BLANK}**"),
    }


def _finalize(value: object) -> str:
    """What a template prints: Markdown as it is, text escaped, nothing missing."""
    if isinstance(value, Markdown):
        return value
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise InputError(
            "the report's template prints a missing value. Wrap it as 'stated(value)', which "
            "says so in words"
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escaped(str(value))


def escaped(text: str) -> Markdown:
    """Text as Markdown that shows exactly this text, on one line."""
    line = re.sub(r"[^\S\u00a0]+", " ", text)
    line = re.sub(r"([\\`*\[\]<>|&~])", r"\\\1", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)
    line = re.sub(r"^([-+=#:!])", r"\\\1", line)
    return Markdown(re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line))


def code(text: object, in_table: bool = False) -> Markdown:
    """Text as a code span, whatever it holds; a bar would end the cell of a table."""
    line = re.sub(r"\s+", " ", str(text))
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    span = f"{fence}{pad}{line}{pad}{fence}"
    return Markdown(span.replace("|", r"\|") if in_table else span)


def stated(value: Any) -> str:
    """A card's entry in words: 'not stated' where it is empty."""
    if isinstance(value, Markdown):
        return value
    if value is None or value == "" or value == [] or value == ():
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return sentence(*map(str, value)) if len(value) > 1 else str(value[0])
    return str(value)


def tag(verdict: str) -> Markdown:
    """A verdict with its sign; the page gives it a colour too."""
    return Markdown(f"**{MARKS[verdict][0]} {verdict}**")


# ---- what a run holds --------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One question of a run: what was asked, in which words, by which attributes it was counted.

    ``harmful``: some label belongs to a family that casts suspicion or denies humanity.
    ``metric``: the one its headline figure shows.
    """

    name: str
    kind: str
    asks: str
    label_sets: Sequence[Mapping[str, Any]]
    prompt_sets: Sequence[Mapping[str, Any]]
    attributes: Sequence[str]
    intersections: Sequence[str]
    has_truth: bool
    harmful: bool

    @property
    def metric(self) -> str:
        """Families for harmful labels, errors where truth is known, else the choice of labels."""
        if self.harmful:
            return "family_selection"
        return "misclassification" if self.has_truth else "selection"


def tasks(run: Run) -> list[Task]:
    """The questions of a run in the suite's order."""
    return [_task(run, question) for question in run.questions]


def _task(run: Run, question: Mapping[str, Any]) -> Task:
    rates = run.rates[run.rates["task"] == question["task"]]
    attributes = [a for a in dict.fromkeys(rates["attribute"]) if a != EVERYONE]
    return Task(
        name=question["task"],
        kind=question["kind"],
        asks=question["asks"],
        label_sets=question["label_sets"],
        prompt_sets=question["prompt_sets"],
        attributes=[a for a in attributes if " x " not in a],
        intersections=[a for a in attributes if " x " in a],
        has_truth=bool((rates["metric"] == "misclassification").any()),
        harmful=bool((rates["metric"] == "family_selection").any()),
    )


def lead_attribute(run: Run, task: Task, intersections: bool = False) -> str | None:
    """The attribute of the task's most important finding; None where it has none."""
    among = task.intersections if intersections else task.attributes
    metrics = (task.metric, "selection")
    ranked = [f for f in run.findings if f["task"] == task.name and f["attribute"] in among]
    for metric in metrics:
        for finding in ranked:
            if finding["metric"] == metric and finding["estimate"] is not None:
                return str(finding["attribute"])
    return among[0] if among else None


def label_warnings(run: Run) -> list[str]:
    """What the label sets warn of, each once."""
    sets = [labels for question in run.questions for labels in question["label_sets"]]
    return list(dict.fromkeys(s["content_warning"] for s in sets if s.get("content_warning")))


def checks(run: Run) -> list[tuple[str, str]]:
    """Self-checks of the run: what was checked and what came of it."""
    damaged, off = run.damaged(), _sums_off(run)
    return [
        (
            "Files are as they were sealed",
            "yes" if not damaged else f"NO, changed or missing: {', '.join(damaged)}",
        ),
        (
            "Groups of every attribute, unknown included, add up to everyone",
            "yes" if not off else f"NO, in {off} places",
        ),
        ("Choices too close to call (may differ with the batch size)", _ties(run)),
    ]


def _sums_off(run: Run) -> int:
    """In how many places groups of an attribute don't add up to everyone."""
    question = ["task", "metric", "label"]
    headline = run.rates[run.rates["condition"] == ENSEMBLE]
    everyone = headline["attribute"] == EVERYONE
    parts = headline[~everyone].groupby([*question, "attribute"])[["n", "events"]].sum()
    whole = headline[everyone].set_index(question)[["n", "events"]]
    joined = parts.join(whole.rename(columns={"n": "n_all", "events": "events_all"}))
    right = (joined["n"] == joined["n_all"]) & (joined["events"] == joined["events_all"])
    return int((~right).sum())


def _ties(run: Run) -> str:
    if not (run.path / "private").is_dir():
        return "not known: this is a public copy"
    outcomes = [run.outcomes(q["task"]) for q in run.questions]
    close = sum(int(rows["tie"].sum()) for rows in outcomes)
    return f"{close:,} of {sum(map(len, outcomes)):,} choices"


# ---- numbers -----------------------------------------------------------------------------------


def decimals(low: float, high: float) -> int:
    """Decimals of a percentage that its interval supports: none from ± 1 point on, at most two."""
    half = 50 * (high - low)
    return 0 if not half < 1 else 1 if half >= 0.1 else 2


def rate_in_words(row: Any, n: int | None = None) -> str:
    """A rate with interval and events, or its status and reason; never a blank.

    ``n`` is printed elsewhere; it is added here where the row's own differs.
    """
    if row.status == UNDEFINED or math.isnan(row.value):
        return f"{row.status}: {row.reason}"
    d = decimals(row.low, row.high)
    bounds = f"[{100 * row.low:.{d}f}, {100 * row.high:.{d}f}]"
    events = f"{row.events:,}" if n in (None, row.n) else f"{row.events:,} of {row.n:,}"
    few = "" if row.status == OK else f"; {row.status.replace('_', ' ')}"
    rate = f"{100 * row.value:.{d}f}% {bounds}".replace(" ", NBSP)
    return f"{rate} ({events}{few})"  # a narrow column breaks here only


def _gap_cells(row: Any) -> dict[str, str]:
    """The two groups with their rates, and the gap with its bounds, in points."""
    names = ("Highest", "Lowest", "Gap, points [bounds]")
    if row.status != OK:
        told = f"{row.status.replace('_', ' ')}: {row.reason}"
        return dict(zip(names, (told, "–", "–"), strict=True))
    d = _digits(row)
    one, other = (100 * row.events / row.n, 100 * row.events_other / row.n_other)
    bounds = f"[{100 * row.low_simultaneous:.{d}f}, {100 * row.high_simultaneous:.{d}f}]"
    gap = f"{100 * row.value:.{d}f} {bounds}".replace(" ", NBSP)
    cells = (f"{row.group}: {one:.{d}f}%", f"{row.other}: {other:.{d}f}%", gap)
    return dict(zip(names, cells, strict=True))


def asked(row: Any) -> str:
    """What a rate or gap counts, in a few words."""
    if row.metric == "misclassification":
        return "a wrong label"
    return f"any ‘{row.label}’" if row.metric == "family_selection" else f"‘{row.label}’"


# ---- tables ------------------------------------------------------------------------------------


def table(rows: Iterable[Mapping[str, object]]) -> Markdown:
    """Rows as a Markdown table; columns of numbers are set to the right."""
    rows = list(rows)
    if not rows:
        return Markdown("*None.*")
    names: list[str] = list(rows[0])
    cells = [[str(_finalize(row[name])) for name in names] for row in rows]
    numbers = [all(re.match(r"\\?[-–\d]", line[i]) for line in cells) for i in range(len(names))]
    lines: list[list[str]] = [
        [*map(escaped, names)],
        ["---:" if number else "---" for number in numbers],
        *cells,
    ]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _pairs_table(key: str, value: str, pairs: Mapping[str, str]) -> Markdown:
    return table({key: k, value: v} for k, v in pairs.items())


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def who_was_counted(run: Run) -> Markdown:
    """One line an attribute: its groups with their pictures."""
    cells = figures.cells_in_order(run)
    return table(
        {
            "Attribute": attribute,
            "Pictures in each group": ", ".join(f"{r.group} {r.pictures:,}" for r in _rows(part)),
        }
        for attribute, part in cells.groupby("attribute", sort=False)
        if " x " not in str(attribute)
    )


def group_table(run: Run) -> Markdown:
    """Pictures, subjects and quarantined pictures of every group."""
    lost = pd.DataFrame(
        run.dataset["quarantined_by_group"], columns=["attribute", "group", "reason", "pictures"]
    )
    missing = lost.groupby(["attribute", "group"])["pictures"].sum()
    return table(
        {
            "Attribute": row.attribute,
            "Group": row.group,
            "Pictures": f"{row.pictures:,}",
            "Subjects": f"{row.subjects:,}",
            "Quarantined": f"{missing.get((row.attribute, row.group), 0):,}",
        }
        for row in _rows(figures.cells_in_order(run))
    )


def quarantine_table(run: Run) -> Markdown:
    """Pictures that could not be read, by group and reason."""
    return table(
        {
            "Attribute": row["attribute"],
            "Group": row["group"],
            "Reason": row["reason"],
            "Pictures": row["pictures"],
        }
        for row in run.dataset["quarantined_by_group"]
    )


def attributes_table(run: Run) -> Markdown:
    """The attributes asked about and whose word each is."""
    asked_about = [a["name"] for a in run.suite["attributes"]]
    declared = run.dataset["attributes"]
    return table(
        {
            "Attribute": name,
            "Whose word": declared[name]["source"],
            "Meaning": stated(declared[name]["description"]),
        }
        for name in asked_about
    )


def labels_table(labels: Mapping[str, Any]) -> Markdown:
    """The labels of a set with tags, harm and counter-labels."""
    return table(
        {
            "Label": label["text"],
            "Tags": ", ".join(label["tags"]) or "–",
            "Harm of saying it": label["harm"] or "–",
            "Paired with": ", ".join(label["counters"]) or "–",
        }
        for label in labels["labels"]
    )


def margins_table(run: Run) -> Markdown:
    """The margins that were fixed before the run."""
    margins = run.suite["confidence"]["margins"]
    return table(
        {
            "Label family": "every other" if family == DEFAULT_FAMILY else family,
            "Gap that matters, points": f"{100 * margin['difference']:g}",
            "Ratio that matters": f"{margin['ratio']:g}",
        }
        for family, margin in sorted(margins.items(), key=lambda m: m[0] == DEFAULT_FAMILY)
    )


def power_table(run: Run) -> Markdown:
    """The smallest gap that would be seen, by attribute and how common the event is."""
    return table(
        {
            "Attribute": row["attribute"],
            "Groups": row["groups"],
            "Smallest": f"{row['smallest']:,}",
            "Comparisons": row["comparisons"],
        }
        | {
            f"Event in {key.removeprefix('base ')}": _detectable(value)
            for key, value in row.items()
            if key.startswith("base ")
        }
        | {"Needed": _needed(row["needed"])}
        for row in run.dataset["power"]
    )


def _detectable(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "– none would be seen"
    return f"{100 * value:.1f} points"


def _needed(value: float | None) -> str:
    unknown = value is None or not math.isfinite(value)
    return "– no number suffices" if value is None or unknown else f"{math.ceil(value):,}"


def gaps_table(run: Run, asked_tasks: Sequence[Task], intersections: bool = False) -> Markdown:
    """The widest gap of each question and attribute: some of each verdict."""
    gaps = _worst(run, [t.name for t in asked_tasks], intersections)
    gaps = gaps[gaps["condition"] == ENSEMBLE]
    chosen = figures.some_of_each(gaps, run, MOST_ROWS)
    shown = table(
        ({"Task": row.task} if len(asked_tasks) > 1 else {})
        | {"Chosen": asked(row), "By": row.attribute}
        | _gap_cells(row)
        | {"Margin": f"{100 * row.margin:g}", "Verdict": tag(row.verdict)}
        for row in _rows(chosen)
    )
    return _with_rest(shown, len(gaps) - MOST_ROWS, "gaps", "disparities.parquet")


def _worst(run: Run, names: Sequence[str], intersections: bool) -> pd.DataFrame:
    gaps = judged(run.disparities, run.rates)
    crossed = gaps["attribute"].str.contains(" x ", regex=False)
    return gaps[gaps["task"].isin(names) & (crossed if intersections else ~crossed)]


def _with_rest(shown: Markdown, more: int, what: str, where: str) -> Markdown:
    return shown if more <= 0 else Markdown(f"{shown}\n\n{more:,} more {what} in `{where}`.")


def rates_table(run: Run, task: Task, attribute: str) -> Markdown:
    """Every group of an attribute: pictures, subjects, and each rate with interval and events."""
    rates = run.rates[(run.rates["task"] == task.name) & (run.rates["condition"] == ENSEMBLE)]
    rates = rates[rates["attribute"].isin([attribute, EVERYONE])]
    questions = _most_uneven(rates)
    columns = [rates[(rates["metric"] == m) & (rates["label"] == x)] for m, x in questions]
    everyone_last = sorted(zip(*map(_rows, columns), strict=True), key=_is_everyone)
    shown = table(
        {
            "Group": rows[0].group,
            "Pictures": f"{max(r.n for r in rows):,}",
            "Subjects": f"{max(r.subjects for r in rows):,}",
        }
        | {asked(row): rate_in_words(row, max(r.n for r in rows)) for row in rows}
        for rows in everyone_last
    )
    more = len(rates[["metric", "label"]].drop_duplicates()) - len(questions)
    return _with_rest(shown, more, "labels", "rates.parquet")


def _is_everyone(rows: Sequence[Any]) -> bool:
    return bool(rows[0].attribute == EVERYONE)


def _most_uneven(rates: pd.DataFrame) -> list[tuple[str, str]]:
    """Errors and families first, then the labels whose rates differ most, in their own order."""
    order = list(dict.fromkeys(zip(rates["metric"], rates["label"], strict=True)))
    usable = rates[(rates["status"] == OK) & (rates["group"] != UNKNOWN)]
    values = usable.groupby(["metric", "label"])["value"]
    spread = (values.max() - values.min()).to_dict()
    ranked = sorted(order, key=lambda q: (q[0] == "selection", -spread.get(q, 0.0)))
    kept = set(ranked[:MOST_COLUMNS])
    return [q for q in order if q in kept]


def templates_table(run: Run) -> Markdown:
    """The gap of all templates together and over single templates, widest spread first."""
    gaps = run.disparities[run.disparities["comparison"] == "worst_case_gap"]
    gaps = gaps[gaps["status"] == OK]
    single = gaps[gaps["condition"] != ENSEMBLE]
    question = ["task", "metric", "label", "attribute"]
    over = single.assign(over=single["value"] > single["margin"])
    spread = over.groupby(question)["value"].agg(["min", "max", "size"])
    spread["over"] = over.groupby(question)["over"].sum()
    joined = gaps[gaps["condition"] == ENSEMBLE].join(spread, on=question, how="inner")
    joined = joined.assign(range=joined["max"] - joined["min"])
    joined = joined.sort_values("range", ascending=False, kind="stable")
    shown = table(
        {
            "Task": row.task,
            "Chosen": asked(row),
            "By": row.attribute,
            "All templates": f"{100 * row.value:.{_digits(row)}f}",
            "Single templates": (
                f"{100 * row.min:.{_digits(row)}f} to {100 * row.max:.{_digits(row)}f}"
            ),
            "Over the margin": f"{row.over} of {row.size}",
        }
        for row in _rows(joined.head(MOST_ROWS))
    )
    return _with_rest(shown, len(joined) - MOST_ROWS, "questions", "disparities.parquet")


def _digits(row: Any) -> int:
    return decimals(row.low_simultaneous, row.high_simultaneous)


def findings_table(run: Run, most: int = 100) -> Markdown:
    """Every finding with the key of its evidence."""
    shown = table(
        {
            "Verdict": tag(finding["verdict"]),
            "Severity": finding["severity"],
            "Harm": finding["harm"],
            "Finding": finding["statement"],
            "Evidence": Markdown(
                ", ".join(code(key, in_table=True) for key in finding["evidence"])
            ),
        }
        for finding in run.findings[:most]
    )
    return _with_rest(shown, len(run.findings) - most, "findings", "findings.json")


# ---- figures -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A figure as files."""

    svg: bytes
    png: bytes


_DRAW: Final[Mapping[str, Callable[..., Figure]]] = {
    f.__name__: f
    for f in (
        figures.rates_by_group,
        figures.gaps_with_margin,
        figures.templates_spread,
        figures.group_counts,
    )
}


def _figure(run: Run, drawn: dict[str, Drawn], name: str, *which: str) -> Markdown:
    """Draw a figure of ``audit.figures`` and show it; its title is also its text for the blind."""
    if name not in _DRAW:
        raise InputError(sentence(f"no figure named '{name}'", f"There are {', '.join(_DRAW)}"))
    try:
        made = _DRAW[name](run, *which)
    except InputError as nothing:  # groups too small to compare, say: the reason takes its place
        return Markdown(f"*No figure: {escaped(str(nothing))}*")
    made.draw_without_rendering()
    made.set_layout_engine("none")  # laid out once, not again for each kind of file
    file = "-".join(slug(part) for part in (name.replace("_", "-"), *which))
    drawn[file] = Drawn(_saved(made, "svg"), _saved(made, "png"))
    return Markdown(f"![{escaped(made.get_suptitle())}](figures/{file}.png)")


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # no date and no random names inside, so that the same run gives the same bytes
    with mpl.rc_context({"svg.hashsalt": "clip-audit"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=160)
    return buffer.getvalue()


def _write_figures(folder: Path, drawn: Mapping[str, Drawn]) -> None:
    """Write by way of temporary names; drop what an earlier rendering left."""
    folder.mkdir(exist_ok=True)
    files = {f"{n}.{kind}": getattr(d, kind) for n, d in drawn.items() for kind in ("svg", "png")}
    for name, content in files.items():
        aside = folder / f".{name}.{os.getpid()}"
        aside.write_bytes(content)
        aside.replace(folder / name)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()

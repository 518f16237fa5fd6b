"""What a change of one thing in a picture does to the answer, beside how large a change it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import MARKS, Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import EXCEEDS, INCONCLUSIVE, OK, WITHIN
from audit.core.verdicts import size_bounds
from audit.probes.counterfactual import figures
from audit.probes.counterfactual.names import (
    CHANGE,
    COLOUR,
    DISTANCE,
    FAMILIES,
    FLIPS,
    INTERCEPT,
    MIDDLE,
    MORE_FLIPS,
    NUISANCE,
    PER_DISTANCE,
    POOLED,
    RANK,
    SIZE,
    SLOPE,
    STEP,
    TOWARDS,
    WHOLE_PICTURE,
)
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, probe_would, said
from audit.probes.kit.cells import NBSP, at, measured, p_value, table, tag
from audit.probes.kit.measures_section import in_unit
from audit.probes.kit.tasks import Task
from audit.probes.kit.told import parts_of


def tell(run: Run) -> Sequence[Block]:
    """How the measures are to be read, then every task that compared families of pictures."""
    return parts_of(run, "counterfactual", _of_task, _WHAT)


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, task: Task) -> Part:
    """Figures, demographic against nuisance, steps and distances, then every number behind."""
    rows = figures.of_counterfactual(run, task.name)
    if not figures.kinds_of(rows):
        return Part(task.name, [said("{why}.", why=rows["reason"].iloc[0])])
    blocks = [
        _asked(rows, task),
        Picture(figures.what_each_change_does, task.name),
        *_against_nuisances(rows),
        _steps(rows),
        Picture(figures.change_by_distance, task.name),
        _surest(rows),
        _every_label(rows),
        *_towards(rows),
        *_slopes(rows),
        _ranks(rows),
    ]
    return Part(task.name, blocks)


def _asked(rows: pd.DataFrame, task: Task) -> Markdown:
    (families,) = each(having(rows, metric=FAMILIES))
    labels = [label["text"] for label in task.label_sets[0]["labels"]]
    listed = ", ".join(f"‘{text}’" for text in labels[:8])
    more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
    left = having(rows, metric=FLIPS, status="not_asked")["group"]
    return said(
        "{n} families, {pairs} pairs of an original and a changed picture{lost}; {labels} labels: "
        "{listed}{more}.{left}",
        n=int(families.value),
        pairs=f"{families.n:,}",
        lost=f" ({families.reason})" if families.reason else "",
        labels=len(labels),
        listed=listed,
        more=more,
        left=f" Not asked about: changes of {', '.join(left)}." if len(left) else "",
    )


def _against_nuisances(rows: pd.DataFrame) -> Sequence[Block]:
    """Flip rates of each demographic change less those of every nuisance, in points."""
    apart = having(rows, metric=MORE_FLIPS)
    if apart.empty:
        return [said("No nuisance was named to compare with.")]
    others = sorted(dict.fromkeys(apart["other"]), key=lambda other: other != POOLED)
    cells = {(row.group, row.other): row for row in each(apart)}
    shown = table(
        {"Less ↓ / change of →": _who(other)}
        | {_who(kind): _gap(cells[kind, other]) for kind in dict.fromkeys(apart["group"])}
        for other in others
    )
    first = apart.iloc[0]
    told = said(
        "How many more choices change, in points, than when only a nuisance is changed, with "
        "{level} % bounds that hold for the whole table. Against the margin of {margin} points a "
        "difference, whichever way, exceeds it ({large}), is within it ({small}) or is "
        "inconclusive ({open}). Steps differ in size; the next table has them.",
        level=f"{100 * first['level']:.0f}",
        margin=f"{100 * first['margin']:g}",
        large=MARKS[EXCEEDS][0],
        small=MARKS[WITHIN][0],
        open=MARKS[INCONCLUSIVE][0],
    )
    return [told, shown]


def _gap(row: Record) -> object:
    if row.status != OK:
        return row.reason
    marked = MARKS[row.verdict][0] if row.verdict in MARKS else ""
    told = measured(row.value, row.low_simultaneous, row.high_simultaneous)
    return at(row, f"{marked}{NBSP}{told}")


def _steps(rows: pd.DataFrame) -> Markdown:
    """Every change with its step and its distances."""
    return table(_step(rows, kind, role) for kind, role in figures.kinds_of(rows) if kind != POOLED)


def _step(rows: pd.DataFrame, kind: str, role: str) -> dict[str, object]:
    flips, step = figures.row_of(rows, FLIPS, kind), figures.row_of(rows, STEP, kind)
    known = step.status == OK
    return {
        "Changed": _who(kind),
        "": role,
        "Pairs": at(flips, f"{flips.n:,}"),
        "Mean step": at(step, f"{step.value:.3g} {step.unit}") if known else "not stated",
        "In the embedding": _cell(figures.row_of(rows, DISTANCE, kind)),
        "In colour": _cell(figures.row_of(rows, COLOUR, kind, where=WHOLE_PICTURE)),
        "In colour, middle": _cell(figures.row_of(rows, COLOUR, kind, where=MIDDLE)),
    }


def _cell(row: Record) -> str:
    """A value with its simultaneous bounds, or why there is none."""
    if row is None:
        return "–"
    if math.isnan(row.value):
        return str(row.reason)
    return at(row, in_unit(row.value, row.low_simultaneous, row.high_simultaneous, row.unit))


def _surest(rows: pd.DataFrame) -> Markdown:
    """The changes that surely move a label furthest, whichever way or towards something."""
    found = rows[(rows["label"] != "") & (rows["group"] != POOLED) & (rows["status"] == OK)]
    towards = (found["metric"] == CHANGE) & found["condition"].str.startswith(TOWARDS)
    found = found[(found["metric"] == SIZE) | towards]
    low, _ = size_bounds(found["low_simultaneous"].array, found["high_simultaneous"].array)
    found = found.assign(sure=low / found["margin"])
    found = found.sort_values("sure", ascending=False, kind="stable").head(10)
    return table(
        {
            "Label": f"‘{row.label}’",
            "Changed": _who(row.group),
            "How": _how(row),
            "Families": row.subjects,
            "By, cosine [bounds]": _cell(row),
            "Margin": f"{row.margin:.2g}",
            "Verdict": tag(row.verdict),
        }
        for row in each(found)
    )


def _how(row: Record) -> str:
    if row.metric == SIZE:
        return "up or down"
    return f"with {_who(row.condition.removeprefix(TOWARDS))}, less without"


def _every_label(rows: pd.DataFrame) -> Folded:
    """The size of the change of every label, by what was changed."""
    labels = [label for label in dict.fromkeys(rows["label"]) if label]
    shown = table(
        {"Changed": _who(kind), "": role}
        | {f"‘{label}’": _cell(figures.row_of(rows, SIZE, kind, label)) for label in labels}
        for kind, role in figures.kinds_of(rows)
    )
    return Folded("How far each change moves every label, up or down (cosine)", [shown])


def _towards(rows: pd.DataFrame) -> Sequence[Block]:
    """Mean signed changes towards what a picture was changed to; the largest first."""
    found = rows[(rows["metric"] == CHANGE) & rows["condition"].str.startswith(TOWARDS)]
    found = having(found, status=OK).sort_values("p", kind="stable")
    if found.empty:
        return ()
    shown = table(
        {
            "With, less without": _who(row.condition.removeprefix(TOWARDS)),
            "Label": f"‘{row.label}’",
            "Families": row.subjects,
            "Score higher by [bounds]": _cell(row),
            "p": p_value(row.p),
            "Verdict": tag(row.verdict),
        }
        for row in each(found.head(12))
    )
    told = f"Towards what: the {min(12, len(found))} surest of {len(found)} directions and labels"
    return [Folded(told, [shown])]


def _slopes(rows: pd.DataFrame) -> Sequence[Block]:
    """Change of a score by size of the step."""
    slopes = having(rows, metric=SLOPE, status=OK)
    if slopes.empty:
        return ()
    shown = table(
        {
            "Changed": _who(row.group),
            "Label": f"‘{row.label}’",
            "Change of the score [bounds]": _cell(row),
            "For": row.unit.removeprefix("cosine for "),
            "p": p_value(row.p),
            "Away from the line at no step": _cell(
                figures.row_of(rows, INTERCEPT, row.group, row.label)
            ),
        }
        for row in each(slopes)
    )
    told = said(
        "A step up raises the score by so much, a step down lowers it. Where the last column "
        "leaves out 0, the change is not in proportion to the step, and the slope holds for these "
        "steps only."
    )
    return [
        Folded("Dose and response: change of each score by the size of the step", [told, shown])
    ]


def _ranks(rows: pd.DataFrame) -> Folded:
    """Kinds of change by how far they move scores for each unit of distance."""
    per = {"embedding": "in the embedding", "colour": "in colour"}
    blocks: list[Block] = []
    for which, name in per.items():
        where = f"per {which} distance"
        ranked = rows[(rows["metric"] == RANK) & rows["condition"].str.endswith(where)]
        ranked = having(ranked, label="", status=OK)
        ranked = ranked.sort_values("value", kind="stable")
        if ranked.empty:
            blocks.append(said("No rank by distance {name}: no distance is known.", name=name))
            continue
        blocks.append(said("For each unit of distance {name}, all labels together:", name=name))
        blocks.append(
            table(
                {
                    "Rank": at(row, f"{row.value:.0f}"),
                    "Could be": f"{row.low_simultaneous:.0f} to {row.high_simultaneous:.0f}",
                    "Changed": _who(row.group),
                    "": row.condition.split(",")[0],
                    "Scores move by [bounds]": _cell(
                        figures.row_of(rows, PER_DISTANCE, row.group, where=where)
                    ),
                }
                for row in each(ranked)
            )
        )
    return Folded("Kinds of change ranked for each unit of distance", blocks)


def _who(kind: str) -> str:
    return f"all {NUISANCE}s together" if kind == POOLED else kind.replace("_", " ")


SECTION: Final = Section("robustness", probe_would("counterfactual"), tell)

"""Labels kept at or above a threshold, several for a picture or none: how often, and for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, OK, RATE, WORST
from audit.measure.thresholds import FAMILY_KEPT, KEPT, MEAN_KEPT, MISSED, WRONG_KEPT
from audit.models.encoder import card_of
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, said
from audit.probes.kit.cells import (
    MOST_ROWS,
    NBSP,
    at,
    measured,
    rate_in_words,
    table,
    tag,
    with_rest,
)
from audit.probes.kit.tasks import Task, lead_attribute, tasks
from audit.report import figures
from audit.stats.scoring import Scoring

#: what holds of a softmax alone
_OTHERS: Final = (
    " It depends on every other label, so one threshold means different things in two label sets."
)
_NOT_MEASURED: Final = "Thresholds: not measured, for the system gave no probabilities."
#: thresholds side by side in a table
_MOST: Final = 3
#: in the place of a verdict where every group's pictures all keep a label: no gap could be seen
_TOO_LOW: Final = "– kept for everyone: too low a threshold to tell anyone apart"


def tell(run: Run) -> Sequence[Block]:
    """How many labels each task keeps, and how many wrong ones; every tagged family by group."""
    card = card_of(run.model, run.name)
    if run.thresholds.empty:
        return () if card.scoring.known else [_NOT_MEASURED]
    harmful = having(run.thresholds, metric=FAMILY_KEPT)["task"]
    return [
        Part(
            "Labels kept at or above a threshold",
            [
                _what(run, card.scoring),
                Folded("How many labels every task keeps, and how many wrong ones", [_kept(run)]),
            ],
        ),
        *(_of_families(run, task) for task in tasks(run) if task.name in set(harmful)),
        *_gendered(run),
    ]


def _asked(run: Run, task: str | None = None) -> list[float]:
    """The thresholds that a task, or any, was asked about; others are of its curve alone."""
    rows = having(run.thresholds, metric=KEPT)
    rows = rows if task is None else having(rows, task=task)
    return sorted(rows["threshold"].unique())


def _what(run: Run, scoring: Scoring) -> Markdown:
    return said(
        "Instead of choosing the one best label, a system may keep every label whose score is "
        "at or above a threshold: several, or none. Asked about: {asked}. A score is {meaning}."
        "{others} Bounds of gaps hold for all thresholds asked about at once.",
        asked=" and ".join(map(_share, _asked(run))),
        meaning=scoring.meaning,
        others=_OTHERS if scoring.kind == "softmax" else "",
    )


def _share(threshold: float) -> str:
    return f"{100 * threshold:.4g}%"


def _kept(run: Run) -> Markdown:
    """Everyone's mean number of labels and errors, by task and threshold asked about."""
    rows = having(run.thresholds, attribute=EVERYONE, comparison=RATE)
    cells = {(r.task, r.threshold, r.metric): r for r in each(rows[rows["metric"] != KEPT])}
    asked = [(task, t) for task in dict.fromkeys(rows["task"]) for t in _asked(run, task)]
    return table(
        {
            "Task": task,
            "At or above": _share(threshold),
            "Labels kept, on average": _mean(cells[task, threshold, MEAN_KEPT]),
            "Right label missed": _rate(cells.get((task, threshold, MISSED))),
            "A wrong label kept": _rate(cells.get((task, threshold, WRONG_KEPT))),
        }
        for task, threshold in asked
    )


def _rate(row: Record | None) -> str:
    return "–" if row is None else rate_in_words(row)


def _mean(row: Record) -> str:
    if pd.isna(row.value):
        return "–"
    within = "" if pd.isna(row.low) else f" [{row.low:.1f}, {row.high:.1f}]"
    return at(row, f"{row.value:.1f}{within}".replace(" ", NBSP))


def _of_families(run: Run, task: Task) -> Part:
    """The curve, the rates of the groups of one attribute, and the widest gaps of all."""
    attribute = lead_attribute(run, task) or EVERYONE
    gaps = _gaps(run, task)
    return Part(
        f"{task.name}: harmful labels kept",
        [
            Picture(figures.threshold_curves, task.name, attribute),
            Markdown("Each cell: rate [interval] (pictures with any label of the family kept)."),
            _rates(run, task, attribute),
            Folded(
                f"The widest gaps of {task.name} at the thresholds asked about",
                [
                    with_rest(
                        table(_gap_cells(row) for row in each(gaps.head(MOST_ROWS))),
                        len(gaps) - MOST_ROWS,
                        "gaps",
                        "thresholds.parquet",
                    )
                ],
            ),
        ],
    )


def _rates(run: Run, task: Task, attribute: str) -> Markdown:
    """Every group's rate of every family at the thresholds asked about, everyone last."""
    rows = having(
        run.thresholds,
        task=task.name,
        comparison=RATE,
        metric=FAMILY_KEPT,
        threshold=_asked(run, task.name)[:_MOST],
    )
    by_group = {
        name: having(rows, attribute=of, group=name)
        for of in (attribute, EVERYONE)
        for name in dict.fromkeys(having(rows, attribute=of)["group"])
    }
    return table(
        {
            "Group": name,
            "Pictures": f"{part['n'].iloc[0]:,}",
            "Subjects": f"{part['subjects'].iloc[0]:,}",
        }
        | {
            f"any ‘{row.label}’ at or above {_share(row.threshold)}": rate_in_words(row, row.n)
            for row in each(part.sort_values(["label", "threshold"], kind="stable"))
        }
        for name, part in by_group.items()
    )


def _gaps(run: Run, task: Task) -> pd.DataFrame:
    """The widest gap of every family, threshold asked about and attribute, the surest first."""
    rows = having(
        run.thresholds,
        task=task.name,
        comparison=WORST,
        metric=FAMILY_KEPT,
        threshold=_asked(run, task.name),
        status=OK,
    )
    return rows.sort_values(["low_simultaneous", "value"], ascending=False, kind="stable")


def _gap_cells(row: Record) -> dict[str, object]:
    return {
        "Kept": f"any ‘{row.label}’ at or above {_share(row.threshold)}",
        "By": row.attribute,
        "Furthest apart": f"{row.group} v {row.other}",
        "Gap, points [bounds]": at(
            row, measured(row.value, row.low_simultaneous, row.high_simultaneous)
        ),
        "Margin": f"{100 * row.margin:g}",
        "Verdict": _TOO_LOW if row.value == 0 and row.events == row.n else tag(row.verdict),
    }


def _gendered(run: Run) -> list[Block]:
    """Labels kept more for one of two groups, as the CLIP paper looks at its Figure 18."""
    lowest = {task: min(_asked(run, task)) for task in dict.fromkeys(run.thresholds["task"])}
    rows = having(run.thresholds, threshold=run.thresholds["task"].map(lowest))
    rates = having(rows, metric=KEPT, comparison=RATE, status=OK)
    gaps = having(rows, metric=KEPT, comparison=WORST, status=OK)
    parts: list[Block] = []
    for (task, attribute), found in gaps.groupby(["task", "attribute"], sort=False):
        here = having(rates, task=task, attribute=attribute)
        groups = list(dict.fromkeys(here["group"]))
        surely = found[found["q"] < 1 - found["level"]]
        if len(groups) == 2 and len(surely):
            title = f"Which labels of {task} are kept more for {groups[0]} or for {groups[1]}"
            parts.append(Folded(title, [_APART, _most_apart(surely, here, groups)]))
    above = " or ".join(map(_share, sorted({*lowest.values()})))
    return [Part(f"Labels of two groups, at or above {above}", parts)] if parts else []


_APART: Final = Markdown(
    "The labels that differ most surely by chi-squared (corrected where subjects repeat), at most "
    "20 for either group, the most frequent first; q is Holm's over all labels. Chi-squared ranks, "
    "it does not say how large a difference is: read the rates."
)


def _most_apart(gaps: pd.DataFrame, rates: pd.DataFrame, groups: Sequence[str]) -> Markdown:
    """At most 20 labels for either group, by chi-squared, sorted by how often they are kept."""
    cells = {(r.label, r.group): r for r in each(rates)}
    ranked = gaps.sort_values("chi_squared", ascending=False, kind="stable")
    chosen = pd.concat([having(ranked, group=group).head(20) for group in groups])
    order = sorted(each(chosen), key=lambda r: (r.group != groups[0], -r.events))
    return table(
        {"Kept more for": row.group, "Label": f"‘{row.label}’"}
        | {group: rate_in_words(cells[row.label, group]) for group in groups}
        | {"Chi-squared": at(row, f"{row.chi_squared:.0f}"), "q": f"{row.q:.1g}"}
        for row in order
    )


SECTION: Final = Section("sensitivity", "", tell)

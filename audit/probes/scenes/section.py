"""Captions of scenes: coarse, with nearly right ones among them, small details, abstention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, EVERYONE, OK, RATE, UNDEFINED, UNKNOWN
from audit.measure.abstention import LABELLED, RIGHT, rates_in, threshold_of
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, probe_would, said
from audit.probes.kit.cells import (
    MOST_ROWS,
    at,
    measured,
    rate_in_words,
    table,
    tag,
    with_rest,
)
from audit.probes.kit.measures_section import by_chance
from audit.probes.kit.tasks import Task, lead_attribute
from audit.probes.kit.told import parts_of
from audit.probes.scenes import captions as roles
from audit.probes.scenes import figures, names

_ERRORS: Final = "misclassification"
#: the CLIP paper offers at least so many captions a picture
_PAPERS_FEWEST: Final = 6


def tell(run: Run) -> Sequence[Block]:
    """How captions were offered, then every task: stress or detail, and abstention."""
    return parts_of(run, "scenes", _of_task, Part("Captions of a scene", [_WHAT]))


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, task: Task) -> Sequence[Part]:
    """What was chosen, then what answering only when sure does."""
    rows = having(run.measures, task=task.name, probe="scenes")
    stressed = names.WITHOUT in set(rows["condition"])
    attribute = lead_attribute(run, task) or EVERYONE
    blocks: list[Block] = [_offered(rows), _conditions(run, task, rows)]
    if stressed:
        blocks += _stress(run, task, rows, attribute)
    if (rows["metric"] == names.MISSED).any():
        blocks += _detail(rows, attribute)
    blocks += _footage(rows)
    return [Part(task.name, blocks), *_abstention(task, rows, attribute)]


def _offered(rows: pd.DataFrame) -> Markdown:
    """How many captions a picture had, who was left out, and which captions are alike."""
    one = having(rows, condition=ENSEMBLE).drop_duplicates("metric").set_index("metric")
    fewest, most = (int(one["value"][m]) for m in (names.FEWEST, names.MOST))
    told = [
        said(
            "{n} pictures were offered {captions} captions each.",
            n=f"{int(one['n'][names.OPTIONS]):,}",
            captions=str(most) if fewest == most else f"from {fewest} to {most}",
        )
    ]
    left = having(rows, metric=names.LEFT_OUT, attribute=EVERYONE)
    told += [
        said("{n} more were not asked: {why}.", n=f"{r.events:,}", why=r.reason) for r in each(left)
    ]
    if most > 2 and fewest < _PAPERS_FEWEST:
        told.append(Markdown("The CLIP paper offers six or more."))
    ties = having(rows, metric=names.TIES, condition=ENSEMBLE).iloc[0]
    if ties["events"]:
        told.append(
            said(
                "Captions that the model hardly tells apart, as where it doesn't know a word, "
                "decided {ties} of the choices; among wholly alike ones a lot was drawn.",
                ties=f"{ties['events']:,}",
            )
        )
    return Markdown(" ".join(told))


def _conditions(run: Run, task: Task, rows: pd.DataFrame) -> Markdown:
    """What everyone's pictures were given under every condition."""
    rates = having(run.rates, task=task.name, attribute=EVERYONE)
    chosen = {(r.condition, r.label): r for r in each(having(rates, metric="selection"))}
    wrong = {r.condition: r for r in each(having(rates, metric=_ERRORS))}
    counted = having(rows, attribute=EVERYONE).set_index(["condition", "metric"])["value"]
    poor = set(having(rows, metric=names.FOOTAGE_COST)["condition"])
    cells = []
    for condition in dict.fromkeys(rates["condition"]):
        guess = counted[condition, names.GUESSING]
        cell: dict[str, object] = {
            "Captions": _in_words(condition, names.WITHOUT in wrong, condition in poor),
            "How many": f"{counted[condition, names.OPTIONS]:.3g}",
            "By guessing": f"{100 * guess:.0f}%",
            "Right": _right(wrong[condition]),
        }
        for role in (roles.CLOSE, roles.OTHER):
            if (condition, role) in chosen:
                there = role != roles.CLOSE or condition not in (names.WITHOUT, names.INSTEAD)
                row = chosen[condition, role]
                cell[role.capitalize()] = rate_in_words(row, row.n) if there else "not offered"
        cells.append(cell)
    return table(cells)


def _in_words(condition: str, stressed: bool, poor: bool) -> str:
    of_all = "all of them, close ones too" if stressed else "all of them"
    if poor:
        return f"{of_all}; {condition}"
    return of_all if condition == ENSEMBLE else condition


def _right(row: Record) -> str:
    """The share right of a row about errors."""
    if row.status == UNDEFINED:
        return f"{row.status}: {row.reason}"
    return at(row, measured(1 - row.value, 1 - row.high, 1 - row.low, "%"))


def _stress(run: Run, task: Task, rows: pd.DataFrame, attribute: str) -> Sequence[Block]:
    """What close captions cost everyone, each group, and the widest gaps."""
    costs = having(rows, metric=[names.COST, names.COST_AT_EQUAL_NUMBER])
    gaps = having(rows, metric=names.GAP_COST)
    return [
        table(_cost_cells(row, row.metric) for row in each(costs)),
        Picture(figures.stress_by_group, task.name, attribute),
        Folded(f"What close captions cost every group in {task.name}", [_by_group(run, task)]),
        Folded(
            f"What close captions do to the widest gaps in {task.name}",
            [table(_cost_cells(row, f"{row.metric}, by {row.attribute}") for row in each(gaps))],
        ),
    ]


def _footage(rows: pd.DataFrame) -> Sequence[Block]:
    """What poor footage costs everyone, and what it does to the widest gaps."""
    costs, gaps = (having(rows, metric=name) for name in (names.FOOTAGE_COST, names.FOOTAGE_GAP))
    if costs.empty:
        return ()
    every = table(_cost_cells(row, f"{row.metric}: {row.condition}") for row in each(costs))
    of_gaps = table(
        _cost_cells(row, f"{row.metric}: {row.condition}, by {row.attribute}") for row in each(gaps)
    )
    title = f"What poor footage does to the widest gaps in {rows['task'].iloc[0]}"
    return [Markdown("The same captions, in poor footage:"), every, Folded(title, [of_gaps])]


def _cost_cells(row: Record, what: str) -> dict[str, object]:
    return {
        "What": what[0].upper() + what[1:],
        "Points [bounds]": at(
            row, measured(row.value, row.low_simultaneous, row.high_simultaneous)
        ),
        "Margin": f"{100 * row.margin:g}",
        "Verdict": tag(row.verdict),
    }


def _by_group(run: Run, task: Task) -> Markdown:
    """Each group's share right without and with close captions, and the cost."""
    rows = having(
        run.effects, task=task.name, comparison=RATE, metric=_ERRORS, condition=names.WITHOUT
    )
    shown = rows[~rows["attribute"].str.contains(" x ", regex=False) & (rows["group"] != UNKNOWN)]
    cells = table(_group_cells(row) for row in each(shown))
    return with_rest(cells, len(rows) - len(shown), "groups", "effects.parquet")


def _group_cells(row: Record) -> dict[str, object]:
    ends = -row.high_simultaneous, -row.low_simultaneous
    without, with_them = (percent(1 - v, *ends) for v in (row.after, row.before))
    return {
        "Group": row.group if row.attribute == EVERYONE else f"{row.group} ({row.attribute})",
        "Pictures": f"{row.n:,}",
        "Right without close ones": f"{without}%",
        "With them": f"{with_them}%",
        "Cost, points [bounds]": at(row, measured(-row.value, *ends))
        if row.status == OK
        else f"{row.status.replace('_', ' ')}: {row.reason}",
        "Verdict": tag(row.verdict),
    }


def _detail(rows: pd.DataFrame, attribute: str) -> Sequence[Block]:
    """How often a detail is missed or invented, by group, and the widest gaps."""
    of = rates_in(having(rows, attribute=[attribute, EVERYONE]))
    metrics = (names.MISSED, names.INVENTED, names.TOLD_APART)
    cells = [
        {"Group": group}
        | {metric.capitalize(): _detail_cell(having(part, metric=metric)) for metric in metrics}
        for group, part in having(of, metric=metrics).groupby("group", sort=False)
    ]
    told = having(rows, metric=metrics)
    gaps = told.drop(rates_in(told).index)
    return [
        Markdown(
            "Each cell: share [interval] (pictures). **Told apart** is how many points more often "
            "the detail is seen where it is there than where it is not: 100 is always right, 0 is "
            "guessing, however common the detail is."
        ),
        table(cells),
        Folded("The widest gaps in what is missed and what is invented", [_gaps(gaps)]),
    ]


def _detail_cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "–"
    row = each(rows)[0]
    if row.metric != names.TOLD_APART or pd.isna(row.value):
        return rate_in_words(row, 0)
    return at(row, measured(row.value, row.low, row.high))


def _abstention(task: Task, rows: pd.DataFrame, attribute: str) -> Sequence[Part]:
    """Shares answered and right at the thresholds compared, as a figure and a table."""
    answers = having(rows, metric=[LABELLED, RIGHT])
    gaps = answers.drop(rates_in(answers).index)
    compared = list(dict.fromkeys(gaps["condition"]))
    if not compared:
        return ()
    of = rates_in(having(answers, attribute=[attribute, EVERYONE]))
    cells = [
        {"Group": group} | _answers(part, compared)
        for group, part in of.groupby("group", sort=False)
    ]
    picture = Picture(figures.abstention_curves, task.name, attribute)
    folded = Folded(f"The widest gaps of {task.name} among sure answers", [_gaps(gaps)])
    return [Part(f"{task.name}: answering only when sure", [picture, table(cells), folded])]


def _answers(rows: pd.DataFrame, compared: Sequence[str]) -> dict[str, object]:
    found = {(r.condition, r.metric): r for r in each(rows)}
    cells: dict[str, object] = {}
    for condition in compared:
        sure = f"{100 * threshold_of(condition):.4g}%"
        answered, right = found[condition, LABELLED], found.get((condition, RIGHT))
        cells[f"Answered at {sure}"] = rate_in_words(answered, answered.n)
        if right is not None:
            cells[f"Right of these, at {sure}"] = rate_in_words(right, right.n)
    return cells


def _gaps(gaps: pd.DataFrame) -> Markdown:
    """Widest gaps, the surest first."""
    ranked = having(gaps, status=OK).sort_values(
        ["low_simultaneous", "value"], ascending=False, kind="stable"
    )
    shown = table(
        {
            "What": row.metric if row.condition == ENSEMBLE else f"{row.metric}, {row.condition}",
            "By": row.attribute,
            "Furthest apart": f"{row.group} v {row.other}",
            "Gap, points [bounds]": at(
                row, measured(row.value, row.low_simultaneous, row.high_simultaneous)
            ),
            "By chance": by_chance(row),
            "Margin": f"{100 * row.margin:g}",
            "Verdict": tag(row.verdict),
        }
        for row in each(ranked.head(MOST_ROWS))
    )
    return with_rest(shown, len(ranked) - MOST_ROWS, "gaps", "measures.parquet")


SECTION: Final = Section("surveillance", probe_would("scenes"), tell)

"""Mitigations before and after: what each changes, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import MARKS, Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import CONDITION, EVERYONE, OK, RATE, WORST
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, said
from audit.probes.kit.cells import MOST_ROWS, NBSP, asked, at, like, measured, table, tag, with_rest
from audit.probes.kit.changes import ACCURACY_CHANGE, GAP_CHANGE
from audit.probes.mitigation.figures import changes_of, mitigations, short_names
from audit.probes.mitigation.probe import COUNTER_LABEL, RANDOM, REMOVED

_METRIC: Final = {name: metric for metric, name in GAP_CHANGE.items()}


def tell(run: Run) -> Sequence[Block]:
    """Every attribute that something was mitigated for."""
    by_attribute: dict[str, list[str]] = {}
    for question, probe in zip(run.questions, run.suite["probes"], strict=True):
        if probe["kind"] == "mitigation":
            by_attribute.setdefault(probe["attribute"], []).append(question["task"])
    parts = [_of_attribute(run, attribute, tasks) for attribute, tasks in by_attribute.items()]
    return [_WHAT, *parts] if parts else ()


_WHAT: Final = Markdown.beside(__file__)


def _of_attribute(run: Run, attribute: str, tasks: Sequence[str]) -> Part:
    rows = changes_of(run, attribute)
    names = short_names(rows["condition"])
    effects = having(run.effects, task=tasks, edit=CONDITION)
    gaps, prices = _gaps(rows, effects), _prices(effects)
    others = _others(effects, gaps)
    lines = [*_lines(gaps, prices, names), _opened(others, names)]
    told: list[Block] = [Markdown("\n".join(f"- {line}" for line in lines))]
    told.append(_side_by_side(gaps, prices, names))
    told.append(Picture(mitigations, attribute))
    folded = f"Other gaps that surely moved after mitigations for {attribute}"
    told.append(Folded(folded, [_others_table(others, names)]))
    folded = f"What each mitigation for {attribute} takes away"
    told.append(Folded(folded, [_removed(run, tasks)]))
    return Part(f"Mitigations for {attribute}", told)


def _gaps(rows: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """The leading gap of each task in every mitigation, as EFFECTS has it."""
    lead = rows[rows["metric"] != ACCURACY_CHANGE].drop_duplicates("task")
    lead = lead.assign(metric=lead["metric"].map(_METRIC))
    worst = having(effects, comparison=WORST, status=OK)
    found = worst[like(worst, lead, _QUESTION)]
    truth = having(effects, metric="misclassification")["task"]
    without = found[~found["task"].isin(truth)]
    return without if len(without) else found


_QUESTION: Final = ["task", "metric", "label", "attribute"]


def _prices(effects: pd.DataFrame) -> pd.DataFrame:
    """The change of everyone's errors in every task whose right answer is known."""
    everyone = having(effects, comparison=RATE, attribute=EVERYONE)
    return having(everyone, metric="misclassification")


def _lines(gaps: pd.DataFrame, prices: pd.DataFrame, names: dict[str, str]) -> Iterator[Markdown]:
    """In words: which mitigations surely narrow each gap, and which surely cost."""
    for task, part in gaps.groupby("task", sort=False):
        narrower = part[part["high_simultaneous"] < 0].sort_values("after", kind="stable")
        yield said(
            "{task}: the widest gap in choices of {what} by {attribute} is {before} points before. "
            "Surely narrower after: {after}.",
            task=task,
            what=asked(each(part)[0]),
            attribute=part["attribute"].iloc[0],
            before=f"{100 * part['before'].iloc[0]:.0f}",
            after=_listed([_after(r, names) for r in each(narrower)]),
        )
    dearer = prices[prices["low_simultaneous"] > 0]
    costs = [_cost(r, names) for r in each(dearer)]
    if prices.empty:
        yield Markdown(
            "The price is not known: no task was asked under the same mitigations with `truth:`."
        )
    else:
        yield said("Surely fewer right labels after: {costs}.", costs=_listed(costs))


def _after(row: Record, names: dict[str, str]) -> Markdown:
    left = at(row, f"{100 * row.after:.0f}")
    return said("{name}, {left}", name=names[row.condition], left=left)


def _cost(row: Record, names: dict[str, str]) -> Markdown:
    name = f"{names[row.condition]}, {_label_set(row.task)}"
    ends = at(row, f"{100 * (1 - row.before):.0f} to {100 * (1 - row.after):.0f}%")
    return said("{name} {ends}", name=name, ends=ends)


def _by(row: Record) -> str:
    return f"{asked(row)} by {row.attribute}"


def _listed(items: Sequence[Markdown]) -> Markdown:
    return Markdown("; ".join(items) or "none")


def _label_set(task: str) -> str:
    return task.split(", mitigated for ")[0]


def _side_by_side(gaps: pd.DataFrame, prices: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """One line a mitigation: every gap, then every price."""
    columns = {f"{_label_set(str(task))}: widest gap, {_by(each(part)[0])}": (part, _gap_cell)
               for task, part in gaps.groupby("task", sort=False)}  # fmt: skip
    columns |= {f"{_label_set(str(task))}: right labels": (part, _price_cell)
                for task, part in prices.groupby("task", sort=False)}  # fmt: skip
    by_name = {
        heading: ({row.condition: row for row in each(part)}, cell)
        for heading, (part, cell) in columns.items()
    }
    return table(
        {"Mitigation": short}
        | {
            heading: cell(found[name]) if name in found else _untold(name)
            for heading, (found, cell) in by_name.items()
        }
        for name, short in names.items()
    )


def _untold(condition: str) -> str:
    return "untouched" if condition.startswith(COUNTER_LABEL) else "not asked"


def _gap_cell(row: Record) -> str:
    ends = row.low_simultaneous, row.high_simultaneous
    before, after = (percent(x, *ends) for x in (row.before, row.after))
    moved = f"{before} → {after}: {measured(row.value, *ends)}"
    return at(row, f"{moved}{NBSP}{MARKS[row.verdict][0]}")


def _price_cell(row: Record) -> str:
    ends = -row.high_simultaneous, -row.low_simultaneous
    before, after = (percent(1 - x, *ends) for x in (row.before, row.after))
    moved = f"{before}% → {after}%: {measured(-row.value, *ends)}"
    return at(row, f"{moved}{NBSP}{MARKS[row.verdict][0]}")


def _others(effects: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """Gaps of other questions or attributes whose change is surely not 0: widened ones first."""
    rows = having(effects, comparison=WORST, status=OK)
    with_truth = rows["task"].isin(having(rows, metric="misclassification")["task"])
    # where the right label is known, that its choices differ by group is what was asked
    rows = rows[~with_truth | (rows["metric"] == "misclassification")]
    rows = rows[~like(rows, gaps, _QUESTION)]
    wider = rows["low_simultaneous"].clip(lower=0)
    surely = wider - rows["high_simultaneous"].clip(upper=0)
    rows = rows.assign(widened=wider > 0, surely=surely)[surely > 0]
    return rows.sort_values(["widened", "surely"], ascending=False, kind="stable")


def _opened(others: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """In words: how many other gaps a mitigation surely widened, and the surest of them."""
    # controls are there to be compared with, not to be warned of
    wider = others[others["widened"] & ~others["condition"].str.startswith(RANDOM)]
    if wider.empty:
        return Markdown("No other gap is surely wider after any mitigation.")
    row = each(wider)[0]
    return said(
        "Other gaps surely wider: {n}. The surest: {what} of {task} by {attribute}, "
        "{change} points after {name}.",
        n=len(wider),
        what=asked(row),
        task=_label_set(row.task),
        attribute=row.attribute,
        change=at(row, f"{100 * row.before:.0f} to {100 * row.after:.0f}"),
        name=names.get(row.condition, row.condition),
    )


def _others_table(others: pd.DataFrame, names: dict[str, str]) -> Markdown:
    lines = table(
        {
            "Task, and what is chosen": f"{_label_set(r.task)}: {asked(r)}",
            "By": r.attribute,
            "Mitigation": names.get(r.condition, r.condition),
            "Furthest apart after": f"{r.group_after} v {r.other_after}",
            "Widest gap": f"{100 * r.before:.0f} → {100 * r.after:.0f}",
            "Change [bounds]": at(r, measured(r.value, r.low_simultaneous, r.high_simultaneous)),
            "Verdict": tag(r.verdict),
        }
        for r in each(others.head(MOST_ROWS))
    )
    return with_rest(lines, len(others) - MOST_ROWS, "gaps", "effects.parquet")


def _removed(run: Run, tasks: Sequence[str]) -> Markdown:
    rows = having(run.measures, task=tasks, metric=REMOVED)
    return table(
        {
            "Mitigation": row.condition,
            "What": at(row, row.method),
            "Pictures it learned from": f"{row.n:,}" if row.n else "none",
        }
        for row in each(rows.drop_duplicates("condition"))
    )


SECTION: Final = Section(
    "mitigation",
    "A `mitigation` probe would (`clip-audit show mitigation`); so would two runs of one suite on "
    "the model before and after, and `clip-audit compare`.",
    tell,
)

"""Rates among pictures of one right answer: recall, balanced recall, equalised odds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, OK
from audit.measure.rates_by_truth import BALANCED, BALANCED_GAP, FALSE, ODDS, RECALL, RECALL_GAP
from audit.probes.kit.blocks import Block, Folded, Part, Section
from audit.probes.kit.cells import MOST_ROWS, at, p_value, table, with_rest
from audit.probes.kit.measures_section import in_unit
from audit.probes.kit.tasks import tasks_of

_NAMES: Final = {
    RECALL: "recall (true positive rate)",
    FALSE: "false positive rate",
    BALANCED: "balanced recall",
    RECALL_GAP: "recall",
    BALANCED_GAP: "balanced recall",
    ODDS: "equalised odds",
}

_WHAT: Final = Markdown.beside(__file__)


def tell(run: Run) -> Sequence[Block]:
    """The largest gaps of every task that was asked by truth, and the rates behind them."""
    rows = having(run.measures, metric=_NAMES, probe="classification")
    tasks = [task for task in tasks_of(run, "classification") if task.name in set(rows["task"])]
    if not tasks:
        return ()
    return [_WHAT, *(_of_task(task.name, having(rows, task=task.name)) for task in tasks)]


def _of_task(name: str, rows: pd.DataFrame) -> Part:
    gaps = having(rows, metric=[RECALL_GAP, BALANCED_GAP, ODDS])
    leading = having(gaps, metric=[BALANCED_GAP, ODDS])
    rates = rows[rows["metric"].isin([RECALL, FALSE, BALANCED]) & (rows["attribute"] != EVERYONE)]
    shown = rates.head(4 * MOST_ROWS)
    told = with_rest(table(map(_rate, each(shown))), len(rates) - len(shown), "rates",
                     "measures.parquet")  # fmt: skip
    title = f"{name}, by right answer"
    return Part(
        title,
        [
            table(map(_gap, each(leading))),
            Folded("The largest gap of each right answer",
                   [table(map(_gap, each(having(gaps, metric=RECALL_GAP))))]),
            Folded("Every rate", [told]),
        ],
    )  # fmt: skip


def _gap(row: Record) -> dict[str, object]:
    ends = row.low_simultaneous, row.high_simultaneous
    value = at(row, in_unit(row.value, *ends)) if row.status == OK else row.reason
    return {
        "By": row.attribute,
        "Largest gap of": _NAMES[row.metric] + (f" of ‘{row.label}’" if row.label else ""),
        "Between": f"{row.group} and {row.other}" if row.other else "–",
        "Points [simultaneous bounds]": value,
        "q": p_value(None if pd.isna(row.q) else row.q),
    }


def _rate(row: Record) -> dict[str, object]:
    value = at(row, in_unit(row.value, row.low, row.high)) if row.n else row.reason
    return {
        "By": row.attribute,
        "Group": row.group,
        "Rate": _NAMES[row.metric],
        "Right answer": f"‘{row.label}’" if row.label else "every one",
        "Pictures": row.n,
        "% [bounds]": value,
    }


SECTION: Final = Section("misclassification", "", tell)

"""What the pooled rates of an intersection say of its gaps, beside the raw verdicts."""

from __future__ import annotations

from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import DIFFERENCE, ENSEMBLE, INCONCLUSIVE, REST
from audit.measure.findings import judged
from audit.probes.kit.cells import MOST_ROWS, asked, at, like, measured, table, tag, with_rest

_QUESTION: Final = ["task", "condition", "metric", "label", "attribute"]


def pooled_gaps_table(run: Run) -> Markdown:
    """The largest gap of each question and intersection: the raw verdict, and the model's."""
    gaps = _pooled(judged(run.disparities, run.rates))
    shown = table(
        {"Task": row.task, "Chosen": asked(row), "By": row.attribute} | _both(row)
        for row in each(_surest_first(gaps).head(MOST_ROWS))
    )
    return with_rest(shown, len(gaps) - MOST_ROWS, "gaps", "disparities.parquet")


def pooled_cells_table(run: Run) -> Markdown:
    """Cells against all others where the model says more, or something else, than raw rates do."""
    rows = run.disparities
    cells = having(rows, comparison=DIFFERENCE, condition=ENSEMBLE, other=REST)
    told = _pooled(cells[like(cells, judged(rows, run.rates), _QUESTION)])
    told = told[
        (told["pooled_verdict"] != told["verdict"]) & (told["pooled_verdict"] != INCONCLUSIVE)
    ]
    shown = table(
        {"Task": row.task, "Chosen": asked(row), "Group": row.group, "Pictures": f"{row.n:,}"}
        | _both(row)
        for row in each(_surest_first(told).head(MOST_ROWS))
    )
    return with_rest(shown, len(told) - MOST_ROWS, "groups", "disparities.parquet")


def _pooled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["pooled_verdict"] != ""]


def _surest_first(rows: pd.DataFrame) -> pd.DataFrame:
    """By how far the model's simultaneous bounds lie from 0, then by size."""
    least = rows["pooled_low_simultaneous"].clip(0) - rows["pooled_high_simultaneous"].clip(None, 0)
    keys = rows.assign(least=least, size=rows["pooled_value"].abs())
    ranked = keys.sort_values(["least", "size"], ascending=False, kind="stable")
    return ranked.drop(columns=["least", "size"])


def _both(row: Record) -> dict[str, object]:
    """Raw and pooled side by side; the model's word without the sign of a verdict."""
    raw = measured(row.value, row.low_simultaneous, row.high_simultaneous)
    ends = row.pooled_low_simultaneous, row.pooled_high_simultaneous
    return {
        "Raw gap, points [bounds]": at(row, raw),
        "Verdict": tag(row.verdict),
        "Pooled gap [bounds]": at(row, measured(row.pooled_value, *ends)),
        "The model alone": row.pooled_verdict,
    }


#: what a template may call; the run is filled in
OFFERS: Final = (
    pooled_gaps_table,
    pooled_cells_table,
)

"""Rows of the table MEASURES: what probes measure that isn't a share of choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from audit.core.rows import Fields, Row
from audit.core.schema import NUMBER
from audit.core.tables import EVERYONE, INCONCLUSIVE, MEASURES, OK, keys_of
from audit.measure.metrics import standing
from audit.stats.clustered import Sample, rate_interval

if TYPE_CHECKING:
    from audit.measure.metrics import Groups

#: the columns by whose values findings cite a row
_KEY: Final = (
    "probe", "task", "condition", "metric", "label", "attribute", "group", "other",
)  # fmt: skip


def measured(rows: pd.DataFrame | Iterable[Fields], **every: Any) -> pd.DataFrame:
    """Rows as the table MEASURES.

    What a row leaves out is blank, 0 or nan; ``status`` is *ok* and ``verdict`` *inconclusive*
    unless the row or ``every``, which holds for all rows, says otherwise; ``excess`` is value less
    ``null_mean``; ``key`` is made from the row.

    Raises:
        KeyError: a column that MEASURES doesn't have.
    """
    table = (rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))).assign(**every)
    if table.empty:
        return MEASURES.empty()
    MEASURES.require(table)
    blank = MEASURES.blank | {
        "attribute": EVERYONE, "group": EVERYONE, "status": OK, "verdict": INCONCLUSIVE,
    }  # fmt: skip
    table = table.assign(**{name: value for name, value in blank.items() if name not in table})
    table = table.fillna({n: v for n, v in blank.items() if MEASURES.columns[n] != NUMBER})
    table["key"] = keys_of(table[list(_KEY)])
    table["excess"] = table["value"].astype(float) - table["null_mean"].astype(float)
    return MEASURES.conform(table)


def rows_of_rates(sample: Sample, groups: Groups, level: float, min_group: int) -> Iterator[Row]:
    """The rate of one question in every group, a row each."""
    low, high = rate_interval(sample, level)
    status, reason = standing(sample.n, sample.subjects, min_group)
    for g, (attribute, group) in enumerate(groups.index):
        yield {
            "attribute": attribute,
            "group": group,
            **sample.counted(0, g),
            "value": float(sample.rate[0, g]),
            "low": float(low[0, g]),
            "high": float(high[0, g]),
            "status": status[0, g],
            "reason": reason[0, g],
        }

"""The schema of every table that crosses a border: between modules and on disk.

A table is a pandas DataFrame in long form. Every rate and disparity has a ``status`` and, unless
the status is ``ok``, a ``reason``; an undefined number is NaN and never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pandas as pd

OK: Final = "ok"
TOO_FEW: Final = "too_few"
UNDEFINED: Final = "undefined"
NOT_ASKED: Final = "not_asked"
WITHHELD: Final = "withheld"
STATUSES: Final = (OK, TOO_FEW, UNDEFINED, NOT_ASKED, WITHHELD)

SHOWN_LARGE: Final = "shown large"
SHOWN_SMALL: Final = "shown small"
CANNOT_TELL: Final = "cannot tell"
VERDICTS: Final = (SHOWN_LARGE, SHOWN_SMALL, CANNOT_TELL)

#: the headline condition of a classification task: prompts of all templates averaged
ENSEMBLE: Final = "ensemble"
#: the group "everyone else" in a comparison
REST: Final = "the rest"
#: the attribute and group of the whole data set
EVERYONE: Final = "everyone"

TEXT: Final = "str"
NUMBER: Final = "float64"
COUNT: Final = "int64"
FLAG: Final = "bool"


@dataclass(frozen=True)
class Schema:
    """Columns of a table: name to dtype, those that may be missing, and the closed vocabularies."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    nullable: frozenset[str] = frozenset()
    allowed: Mapping[str, tuple[str, ...]] | None = None

    def conform(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with exactly these columns, in this order and type, a fresh index."""
        return table.loc[:, list(self.columns)].astype(dict(self.columns)).reset_index(drop=True)

    def validate(self, table: pd.DataFrame) -> pd.DataFrame:
        """Check a table at a disk border.

        Raises:
            pandera.errors.SchemaErrors: a column is missing, extra, of another type or vocabulary.
        """
        import pandera.pandas as pa  # a second to import: only where a table meets the disk

        vocabulary = self.allowed or {}
        columns = {
            name: pa.Column(
                dtype,
                pa.Check.isin(vocabulary[name]) if name in vocabulary else None,
                nullable=name in self.nullable or dtype == NUMBER,
            )
            for name, dtype in self.columns.items()
        }
        schema = pa.DataFrameSchema(columns, strict=True, unique=list(self.key), name=self.name)
        return cast(pd.DataFrame, schema.validate(table, lazy=True))

    def write(self, table: pd.DataFrame, path: Path) -> None:
        """Write as Parquet, checked; the same table gives the same bytes."""
        self.validate(self.conform(table)).to_parquet(path, index=False)

    def read(self, path: Path) -> pd.DataFrame:
        """Read a Parquet file of this schema, checked."""
        return self.validate(self.conform(pd.read_parquet(path)))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as mappings, column to value."""
    return cast(list[dict[str, Any]], table.to_dict("records"))


_ASKED = {"probe": TEXT, "task": TEXT, "condition": TEXT}
_MEASURED = {**_ASKED, "metric": TEXT, "label": TEXT, "margin_family": TEXT, "attribute": TEXT}

#: one row a picture: which label was chosen, how surely, and which would have been right.
#: ``score`` is the softmax probability of the chosen label at the model's own logit scale,
#: ``margin`` the cosine similarity by which it beat the second, ``tie`` marks margins so small
#: that the choice may change with the batch size; ``truth`` is missing where it isn't known.
CHOICES: Final = Schema(
    "choices",
    {
        **_ASKED,
        "image_id": TEXT,
        "predicted": TEXT,
        "score": NUMBER,
        "margin": NUMBER,
        "tie": FLAG,
        "truth": TEXT,
    },
    key=("probe", "task", "condition", "image_id"),
    nullable=frozenset({"truth"}),
)

#: one row a group: how often something happened, with an interval at ``level``.
RATES: Final = Schema(
    "rates",
    {
        **_MEASURED,
        "group": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "events": COUNT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "level": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
    },
    key=("probe", "task", "condition", "metric", "label", "attribute", "group"),
    allowed={"status": STATUSES},
)

#: one row a comparison. ``value`` is group minus other (difference), group over other (ratio) or
#: the largest difference between any two groups (worst-case gap; group and other name the two).
#: ``low, high`` hold for this row alone, ``low_simultaneous, high_simultaneous`` for all rows of
#: ``family`` at once; the verdict uses the latter.
DISPARITIES: Final = Schema(
    "disparities",
    {
        "key": TEXT,
        **_MEASURED,
        "comparison": TEXT,
        "group": TEXT,
        "other": TEXT,
        "n": COUNT,
        "n_other": COUNT,
        "subjects": COUNT,
        "subjects_other": COUNT,
        "events": COUNT,
        "events_other": COUNT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "level": NUMBER,
        "p": NUMBER,
        "q": NUMBER,
        "family": TEXT,
        "family_size": COUNT,
        "detectable": NUMBER,
        "margin": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "verdict": TEXT,
    },
    key=("key",),
    allowed={
        "comparison": ("difference", "ratio", "worst_case_gap"),
        "status": STATUSES,
        "verdict": VERDICTS,
    },
)

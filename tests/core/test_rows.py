"""Rows of tables: those that hold some values."""

from __future__ import annotations

import pandas as pd

from audit.core.rows import having


def test_rows_are_chosen_by_the_values_of_columns() -> None:
    table = pd.DataFrame({"metric": ["a", "b", "a"], "k": [1, 2, None]}, index=[5, 6, 7])
    table.index.name = "measures"
    found = having(table, metric="a", k=1)
    assert (list(found.index), found.index.name) == ([5], "measures")
    assert list(having(table, metric=["b", "a"], k=(1, 2)).index) == [5, 6]
    assert list(having(table, metric={"a": 0}.keys()).index) == [5, 7]
    assert having(table, metric=[]).empty
    assert having(table, k=float("nan")).empty  # what is missing has no value
    assert having(table).equals(table)

"""A table meets the disk only as its schema says."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandera.errors import SchemaErrors

from audit.core import dictionary
from audit.core.dictionary import meaning
from audit.core.rundir import TABLES
from audit.core.schema import COUNT, FLAG, NUMBER, TEXT, Schema
from audit.core.tables import OUTCOMES, RATES

SCHEMA = Schema(
    "sample",
    {"name": TEXT, "value": NUMBER, "n": COUNT, "flag": FLAG, "verdict": TEXT, "role": TEXT},
    key=("name", "n"),
    nullable=frozenset({"role"}),
    allowed={"verdict": ("yes", "no"), "role": ("primary",)},
)


def good() -> pd.DataFrame:
    rows = [("a", 1.0, 1, True, "yes", "primary"), ("a", np.nan, 2, False, "no", None)]
    return SCHEMA.conform(pd.DataFrame(rows, columns=list(SCHEMA.columns)))


def test_what_is_missing_where_it_may_be_is_kept(tmp_path: Path) -> None:
    SCHEMA.write(good(), tmp_path / "sample.parquet")
    pd.testing.assert_frame_equal(SCHEMA.read(tmp_path / "sample.parquet"), good())
    assert SCHEMA.validate(SCHEMA.empty()).empty


def test_an_empty_table_is_nobody_elses() -> None:
    SCHEMA.empty().insert(0, "more", 1)
    assert list(SCHEMA.empty()) == list(SCHEMA.columns)


@pytest.mark.parametrize(
    ("spoil", "about"),
    [
        (lambda t: t.assign(n=1), "name"),  # the key twice
        (lambda t: t.assign(verdict=["yes", "maybe"]), "verdict"),
        (lambda t: t.assign(role=["second", None]), "role"),
        (lambda t: t.assign(name=["a", None]), "name"),
        (lambda t: t.assign(more=1), "more"),
        (lambda t: t.drop(columns="flag"), "flag"),
        (lambda t: t.assign(n=[1.0, 2.0]), "n"),
        (lambda t: t.assign(value=[1, 2]), "value"),
    ],
)
def test_a_table_of_another_shape_is_refused(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], about: str
) -> None:
    with pytest.raises(SchemaErrors) as refused:
        SCHEMA.validate(spoil(good()))
    assert about in str(refused.value)


def test_rows_are_laid_out_question_by_question_and_the_rest_is_blank() -> None:
    columns = SCHEMA.laid_out(
        {"name": np.array(["a", "b"])[:, np.newaxis], "n": np.array([[1, 2, 3]]), "verdict": "yes"},
        (2, 3),
    )
    table = SCHEMA.stacked([columns])
    assert table["name"].tolist() == ["a", "a", "a", "b", "b", "b"]
    assert table["n"].tolist() == [1, 2, 3, 1, 2, 3]
    assert set(table["verdict"]) == {"yes"}
    assert table["value"].isna().all()
    assert (table["flag"].any(), set(table["role"])) == (False, {""})
    with pytest.raises(KeyError, match=r"sample has no column \['margin'\]"):
        SCHEMA.laid_out({"margin": 1.0}, (2, 3))


def test_tables_and_blocks_are_put_below_one_another_and_may_be_none() -> None:
    joined = SCHEMA.joined([good(), good()])
    assert joined.index.tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(joined[2:].reset_index(drop=True), good())
    pd.testing.assert_frame_equal(SCHEMA.joined([]), SCHEMA.empty())
    pd.testing.assert_frame_equal(SCHEMA.stacked([]), SCHEMA.empty())


# ---- the data dictionary -----------------------------------------------------------------------

SCHEMAS = {schema.name: schema for schema in (*TABLES.values(), *OUTCOMES.values())}
DOCS = Path(__file__).parents[2] / "docs"


def test_every_column_of_every_table_is_described_and_nothing_else() -> None:
    columns = {(name, column) for name, schema in SCHEMAS.items() for column in schema.columns}
    assert [at for at in sorted(columns) if not meaning(*at)] == []
    assert set(dictionary.ROWS) == set(SCHEMAS)
    assert set(dictionary._HERE) <= columns
    elsewhere = {column for at, column in columns - set(dictionary._HERE)}
    assert set(dictionary._COLUMNS) == elsewhere


def test_a_file_says_what_its_columns_hold(tmp_path: Path) -> None:
    path = tmp_path / "rates.parquet"
    RATES.write(RATES.empty(), path)
    read = pq.read_schema(path)
    told = {field.name: field.metadata[b"description"].decode() for field in read}
    assert told == {column: meaning("rates", column) for column in RATES.columns}
    pd.testing.assert_frame_equal(RATES.read(path), RATES.empty())
    first = path.read_bytes()
    RATES.write(RATES.empty(), path)
    assert path.read_bytes() == first


def test_the_page_of_the_data_dictionary_is_that_of_the_schemas() -> None:
    made = runpy.run_path(str(DOCS / "dictionary.py"))
    told = "run 'python docs/dictionary.py'"
    assert (DOCS / "tables.md").read_text(encoding="utf-8") == made["page"](), told

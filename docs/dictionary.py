"""Make tables.md, the data dictionary, of the schemas: ``python docs/dictionary.py``."""

from __future__ import annotations

from pathlib import Path

from audit.core.dictionary import ROWS, meaning
from audit.core.rundir import TABLES
from audit.core.schema import COUNT, FLAG, NUMBER, TEXT, Schema
from audit.core.tables import OUTCOMES

HEAD = """# The tables of a run, column by column

<!-- made by docs/dictionary.py: change audit/core/dictionary.py and run it -->

A run holds its numbers in Parquet files. Every file says the same of its columns: in pyarrow,
`pyarrow.parquet.read_schema(path).field("value").metadata`. Rates and gaps are shares: 0.12 is 12
points. What is not known is empty: blank text, 0 of a count, null of a number. The columns in
**bold** name a row: no two rows share them.

"""
KINDS = {TEXT: "text", NUMBER: "number", COUNT: "whole number", FLAG: "yes or no"}


def page() -> str:
    """The page as Markdown."""
    return HEAD + "\n".join(map(_table, [*TABLES.values(), *OUTCOMES.values()]))


def _table(schema: Schema) -> str:
    rows = [
        f"| {_name(column, schema)} | {KINDS[dtype]} | {meaning(schema.name, column)} |\n"
        for column, dtype in schema.columns.items()
    ]
    head = f"## {schema.name}\n\n{ROWS[schema.name].capitalize()}.\n\n"
    return head + "| column | holds | what |\n| --- | --- | --- |\n" + "".join(rows)


def _name(column: str, schema: Schema) -> str:
    return f"**`{column}`**" if column in schema.key else f"`{column}`"


if __name__ == "__main__":
    Path(__file__).with_name("tables.md").write_text(page(), encoding="utf-8")

"""Recall and precision of the top by group, where a column says which pictures answer a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.errors import InputError
from audit.core.tables import MEASURES, OK, UNDEFINED, records
from audit.data.dataset import Dataset
from audit.data.remarks import Remark, counted, tally
from audit.measure.abstention import Asked, Question, gap_sentence, measures_of, rates_by_name
from audit.probes.kit.base import Design, require_column
from audit.probes.retrieval.names import PRECISION_AT_K, RECALL_AT_K

#: between several queries in one cell
SEPARATOR: Final = "|"
#: what happens, and what it could happen to, of each measure
_SAID: Final = {
    RECALL_AT_K: ("a relevant picture is in the {top}", "relevant pictures"),
    PRECISION_AT_K: ("a picture in the {top} is relevant", "pictures in the {top}"),
}
_NONE: Final = {
    RECALL_AT_K: "no picture of this group answers a query",
    PRECISION_AT_K: "no picture of this group is in the top",
}


@dataclass(frozen=True)
class Relevance:
    """Which pictures answer which queries.

    ``answers``: (Q, n). ``known``: (n,), whether anybody said so of the picture; a blank cell is
    not known, and any value that is no query's means that the picture answers none.
    """

    answers: NDArray[np.bool_]
    known: NDArray[np.bool_]


def relevance(cells: Sequence[object], names: Sequence[Sequence[str]]) -> Relevance:
    """Read cells of the column.

    Args:
        cells: of every picture; missing where not known.
        names: under which names a cell may list each query: its text, its label's key.
    """
    listed = [_listed(cell) for cell in cells]
    answers = [[not of.isdisjoint(values) for values in listed] for of in map(set, names)]
    shape = len(names), len(listed)
    known = np.array([bool(values) for values in listed], bool)
    return Relevance(np.array(answers, bool).reshape(shape), known)


def _listed(cell: object) -> set[str]:
    parts = cell.split(SEPARATOR) if isinstance(cell, str) else []
    return {part.strip() for part in parts} - {""}


def require_relevant(
    dataset: Dataset, column: str, keys: Sequence[str], names: Sequence[Sequence[str]], task: str
) -> None:
    """Refuse a column that says of no picture that it answers a query.

    Raises:
        InputError: the data set has no such column, or no cell of it names a query.
    """
    require_column(dataset, column, f"'{task}': relevant")
    if not relevance(list(dataset.texts(column).loc[list(keys)]), names).answers.any():
        first = ", ".join(f"'{name}'" for name in next(iter(names)))
        raise InputError(
            f"'{task}': relevant: no picture has a query in column '{column}'",
            f"A cell lists the queries that the picture answers, such as {first}, with "
            f"'{SEPARATOR}' between several; any other word is for one that answers none",
        )


def remarks(
    dataset: Dataset, column: str, keys: Sequence[str], names: Sequence[Sequence[str]], task: str
) -> Iterator[Remark]:
    """Values that name no query, and queries that no picture answers."""
    cells = dataset.texts(column).loc[list(keys)]
    every = {name for of in names for name in of}
    others = pd.Series([part for cell in cells for part in _listed(cell) if part not in every])
    if len(others):
        told = f"'{task}': in '{column}' {counted(tally(others))} are no query and mean 'none'"
        yield Remark(told, task=task, of_answers=False)
    missing = ~relevance(list(cells), names).answers.any(axis=1)
    if missing.any():
        told = ", ".join(f"'{names[i][0]}'" for i in np.flatnonzero(missing)[:8])
        told = f"'{task}': by '{column}' no picture answers {told}, of {len(names)} queries"
        yield Remark(told, task=task, of_answers=False)


def rows_of(
    said: Relevance,
    ranked: NDArray[np.int64],
    keys: Sequence[str],
    depths: Sequence[int],
    asked: tuple[str, str],
    design: Design,
) -> pd.DataFrame:
    """Recall and precision of every group at every depth, and their largest gaps; MEASURES.

    What is counted are pairs of a query and a picture, of all queries together. **Recall**: of the
    pairs in which the picture answers the query, the share in which it is among the first k; by
    group, the picture shows the person sought. It can't exceed k over the pictures that answer the
    query. **Precision**: of the pictures among the first k, the share that answers the query; by
    group, the person found. It depends on how many pictures of the group answer a query, which
    recall doesn't. Pictures of which relevance is not known take places and are counted in neither.
    Bounds take whole subjects, and hold for all depths of a measure and attribute.

    Source: Manning, Raghavan and Schuetze 2008, Introduction to Information Retrieval, section 8.4.

    Args:
        said: which of ``keys`` answer which query.
        ranked: numbers of the pictures of each query among ``keys``, best first, (Q, deepest).
        keys: image ids, (n,).
        depths: every k.
        asked: kind and task of the probe.
        design: groups and how sure to be.
    """
    at = design.groups.at(keys)
    sought = said.answers & said.known
    tables = []
    for k in depths:
        top = np.zeros(sought.shape, bool)
        np.put_along_axis(top, ranked[:, :k], values=True, axis=1)
        for metric, happened, of in (
            (RECALL_AT_K, top, sought),
            (PRECISION_AT_K, sought, top & said.known),
        ):
            _, pictures = np.nonzero(of)
            many = np.ones(len(pictures), bool)
            question = Question(metric, f"top {k}", happened[of], many, "misclassification")
            where = Asked(
                *asked, design.groups, at[pictures], design.draws, design.confidence,
                len(depths), design.seed,
            )  # fmt: skip
            tables.append(_told(measures_of(question, where), metric, asked[1], k))
    return MEASURES.joined(tables)


def _told(table: pd.DataFrame, metric: str, task: str, k: int) -> pd.DataFrame:
    """The table with a sentence for the largest gap of every single attribute."""
    what, of = (part.format(top=f"top {k}") for part in _SAID[metric])
    rates = rates_by_name(table)
    gaps = (table["other"] != "") & (table["status"] == OK)
    gaps &= ~table["attribute"].str.contains(" x ", regex=False)
    start = f"Searched for the queries of '{task}', {what}"
    table.loc[gaps, "statement"] = [gap_sentence(r, rates, start, of) for r in records(table[gaps])]
    table.loc[gaps, "harm"] = "quality of service"
    nobody = (table["status"] == UNDEFINED) & (table["other"] == "")
    table.loc[nobody, "reason"] = _NONE[metric]
    return table

"""Search on a watch list: who is found there though they are not on it, and who is not found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from audit.core.errors import InputError
from audit.core.tables import EVERYONE, MEASURES, NOT_JUDGED, OK, UNDEFINED, records
from audit.data.dataset import Dataset
from audit.measure.abstention import Asked, Question, gap_sentence, measures_of, rates_by_name
from audit.measure.measures import measured
from audit.probes.identity.names import AT_ONCE, FPIR, RANK_ONE, TPIR, at_target
from audit.probes.kit.base import pictures_having
from audit.stats.faces import split_subjects

if TYPE_CHECKING:
    from audit.probes.identity.probe import Identity
    from audit.probes.identity.rows import Half

#: what happens, what it could happen to, and its kind of harm
_SAID: Final = {
    FPIR: (
        "somebody who is not on it is found on the watch list",
        "searches for people not on it",
        "being watched, stopped or searched",
    ),
    TPIR: (
        "somebody on the watch list is found, first and at or above the threshold",
        "searches for people on it",
        "quality of service",
    ),
    RANK_ONE: (
        "of the pictures on the watch list the nearest is the person's own",
        "searches for people on it",
        "quality of service",
    ),
}


class WatchList(BaseModel):
    """Which pictures are on the list, and whose may be looked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enrolled: Mapping[str, str | tuple[str, ...]] = Field(
        min_length=1, description="column: value or values; the pictures on the list"
    )
    consent: Mapping[str, str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="column: value or values; pictures of people who agreed to be looked for; no "
        "other takes part; needed where people are real",
    )


@dataclass(frozen=True)
class Roles:
    """Who takes part, (n,) each: pictures on the list, and pictures that are looked for."""

    listed: NDArray[np.bool_]
    searched: NDArray[np.bool_]


def roles(watch: WatchList, dataset: Dataset, keys: list[str], task: str) -> Roles:
    """Which pictures are on the list and which are looked for.

    Raises:
        InputError: people are real and no column says who agreed; a column or value isn't there;
            nobody is on the list, or nobody is looked for who is on it, or who is not.
    """
    where = f"'{task}': watch_list"
    if dataset.card.photographs is not False and not watch.consent:
        told = f"{where}: the people are real, and nothing says who agreed to be looked for"
        raise InputError(told, "Name the column in 'consent', with its value")
    at = pd.Index(dataset.table["image_id"].astype(str)).get_indexer(pd.Index(keys))
    listed, agreed = np.ones(len(keys), bool), np.ones(len(keys), bool)
    for having in pictures_having(dataset, watch.enrolled, f"{where}.enrolled"):
        listed &= having[at]
    for having in pictures_having(dataset, watch.consent, f"{where}.consent"):
        agreed &= having[at]
    found = Roles(listed & agreed, ~listed & agreed)
    people = dataset.table["cluster_id"].astype(str).to_numpy()[at]
    on_it = np.isin(people, people[found.listed])
    for some, what in (
        (found.listed, "is on the list"),
        (found.searched & on_it, "is on it and looked for in another picture"),
        (found.searched & ~on_it, "is looked for and not on it"),
    ):
        if not some.any():
            who = "nobody who agreed" if watch.consent else "nobody"
            told = f"{where}: {who} {what}"
            raise InputError(told, "Enrol some pictures of some people, not all of all")
    return found


def rows_of(watch: WatchList, half: Half) -> pd.DataFrame:
    """Searches of everybody measured on the list of those measured; rows of MEASURES.

    A search holds one picture against every picture on the list. For each target FMR, at the
    threshold that the other half of the subjects has fixed for pairs: the **false positive
    identification rate**, of searches for people who are not on the list the share in which some
    picture on it is at or above the threshold; it grows with the length of the list. The **true
    positive identification rate**, of searches for people on it the share in which the nearest
    picture is their own and at or above the threshold; and **rank 1**, the same at no threshold.
    With ``apart``, a picture of the person's own sitting is not on the list for this search. By
    group of the person looked for; bounds take whole subjects, and the list as it is.

    Source: the names of the rates are those of ISO/IEC 19795-1, which was not read at its source.
    """
    seen, design, probe = half.seen, half.design, half.probe
    keys = [str(key) for key in seen.images.keys]
    part = roles(watch, seen.dataset, keys, probe.task)
    people = seen.column("cluster_id").astype(str).to_numpy()
    ids, person = np.unique(people, return_inverse=True)
    fixing = split_subjects(ids.tolist(), design.seed)[person]
    listed = np.flatnonzero(part.listed & ~fixing)
    searched = np.flatnonzero(part.searched & ~fixing)
    if not (listed.size and searched.size):
        return _nothing(probe)
    sitting = None
    if probe.apart and probe.sitting is not None:
        sitting = np.unique(seen.column(probe.sitting).astype(str), return_inverse=True)[1]
    found = _search(seen.images.vectors, person, searched, listed, sitting)
    where = Asked(
        probe.kind,
        probe.task,
        design.groups,
        design.groups.at([keys[i] for i in searched]),
        design.draws,
        design.confidence,
        max(len(half.usable), 1),
        design.seed,
    )
    tables = [
        _told(measures_of(question, where), question.metric, probe.task, listed.size)
        for question in _questions(found, half)
    ]
    return MEASURES.joined(tables)


def _nothing(probe: Identity) -> pd.DataFrame:
    """One row that says why there is no rate."""
    row = {
        "condition": "rank 1",
        "metric": FPIR,
        "attribute": EVERYONE,
        "group": EVERYONE,
        "status": UNDEFINED,
        "reason": "of the half of the people that is measured nobody is on the list, or all are",
        "verdict": NOT_JUDGED,
    }
    return measured([row], probe=probe.kind, task=probe.task)


@dataclass(frozen=True)
class _Found:
    """What came of each search.

    ``similarity`` of the nearest picture on the list; ``own``, whether it is the person's;
    ``on_it``, whether the person is on the list in a picture that counts; ``stranger``, in none.
    """

    similarity: NDArray[np.float64]
    own: NDArray[np.bool_]
    on_it: NDArray[np.bool_]
    stranger: NDArray[np.bool_]


def _search(
    vectors: NDArray[np.float32],
    person: NDArray[np.int64],
    searched: NDArray[np.int64],
    listed: NDArray[np.int64],
    sitting: NDArray[np.int64] | None,
) -> _Found:
    nearest, on_it = np.empty(searched.size, np.int64), np.empty(searched.size, bool)
    similarity = np.empty(searched.size)
    step = max(AT_ONCE // listed.size, 1)
    for start in range(0, searched.size, step):
        rows = slice(start, start + step)
        block = vectors[searched[rows]] @ vectors[listed].T
        own = person[searched[rows], np.newaxis] == person[listed]
        if sitting is not None:
            same = own & (sitting[searched[rows], np.newaxis] == sitting[listed])
            block[same] = -np.inf
            own &= ~same
        nearest[rows], similarity[rows] = block.argmax(axis=1), block.max(axis=1)
        on_it[rows] = own.any(axis=1)
    own = (person[searched] == person[listed[nearest]]) & on_it
    stranger = ~np.isin(person[searched], person[listed])
    return _Found(similarity, own, on_it, stranger)


def _questions(found: _Found, half: Half) -> Iterator[Question]:
    yield Question(RANK_ONE, "rank 1", found.own, found.on_it, "misclassification")
    for t in half.usable:
        condition = at_target(half.probe.targets[t])
        above = found.similarity >= half.at[t].value
        yield Question(FPIR, condition, above, found.stranger, "misclassification")
        yield Question(TPIR, condition, found.own & above, found.on_it, "misclassification")


def _told(table: pd.DataFrame, metric: str, task: str, length: int) -> pd.DataFrame:
    """The table with a sentence for the largest gap of every single attribute."""
    what, of, harm = _SAID[metric]
    rates = rates_by_name(table)
    gaps = (table["other"] != "") & (table["status"] == OK)
    gaps &= ~table["attribute"].str.contains(" x ", regex=False)
    for at, row in zip(table.index[gaps], records(table[gaps]), strict=True):
        start = f"In '{task}', {row['condition']}, with {length:,} pictures on the list, {what}"
        table.loc[at, "statement"] = gap_sentence(row, rates, start, of)
    table.loc[gaps, "harm"] = harm
    return table.assign(method=table["method"] + f"; {length:,} pictures on the list")

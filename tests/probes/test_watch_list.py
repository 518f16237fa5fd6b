"""Searches on a watch list, against counting by hand and in planted and null worlds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_identity import dataset_of, design_of, people, seen_of, vectors_of

from audit.core.errors import InputError
from audit.core.tables import EVERYONE, EXCEEDS, PAIRS, UNDEFINED
from audit.measure.measures import measured
from audit.probes.identity.names import FPIR, RANK_ONE, TPIR
from audit.probes.identity.probe import Identity
from audit.probes.identity.rows import Half
from audit.probes.identity.section import _watch_list
from audit.probes.identity.watch_list import rows_of
from audit.stats.verification import split_subjects

WATCH = {"enrolled": {"role": "list"}}


def world(subjects: int, seed: int = 0) -> pd.DataFrame:
    """Two pictures a person; the first of every second person is on the list."""
    table = people(subjects, seed=seed)
    number = table["subject"].str[1:].astype(int)
    listed = (number % 2 == 0) & (table["day"] == "d0")
    return table.assign(role=np.where(listed, "list", "street"), agreed="yes")


def searched(folder: Path, table: pd.DataFrame, vectors: np.ndarray, **fields: Any) -> pd.DataFrame:
    seen = seen_of(dataset_of(folder, table), vectors)
    probe = Identity(kind="identity", **({"targets": (0.1,), "watch_list": WATCH} | fields))
    probe.resolve(seen.dataset)
    half = Half(probe, seen, design_of(seen, {"gender": None}))
    assert probe.watch_list
    return pd.concat([measured(half.thresholds()), rows_of(probe.watch_list, half)])


def rate(found: pd.DataFrame, metric: str, group: str = EVERYONE) -> Any:
    (row,) = found[
        (found["metric"] == metric) & (found["group"] == group) & (found["other"] == "")
    ].itertuples()
    return row


def test_searches_are_those_counted_by_hand(tmp_path: Path) -> None:
    table = world(40)
    vectors = vectors_of(table, noise=1.2)
    found = searched(tmp_path, table, vectors)
    (threshold,) = found.loc[found["metric"] == "threshold", "value"]
    names = np.unique(table["subject"]).tolist()
    fixing = dict(zip(names, split_subjects(names, 0), strict=True))
    counts = {name: [0, 0] for name in (FPIR, TPIR, RANK_ONE)}
    rows = [r for r in table.itertuples() if not fixing[r.subject]]
    listed = [r for r in rows if r.role == "list"]
    for one in rows:
        if one.role == "list":
            continue
        near = [float(vectors[one.Index] @ vectors[other.Index]) for other in listed]
        best = int(np.argmax(near))
        if one.subject in {r.subject for r in listed}:
            own = listed[best].subject == one.subject
            for name, happened in ((RANK_ONE, own), (TPIR, own and near[best] >= threshold)):
                counts[name][0] += happened
                counts[name][1] += 1
        else:
            counts[FPIR][0] += near[best] >= threshold
            counts[FPIR][1] += 1
    assert all(0 < events < n for events, n in counts.values())
    for name, (events, n) in counts.items():
        row = rate(found, name)
        assert (row.events, row.n) == (events, n), name
    assert f"{len(listed)} pictures on the list" in rate(found, FPIR).method


@pytest.mark.slow
@pytest.mark.parametrize("planted", [True, False])
def test_people_drawn_together_are_found_wrongly_more_often(tmp_path: Path, planted: bool) -> None:
    table = world(400, seed=3)
    toward = np.where(table["gender"] == "female", 1.2, 0.0) if planted else 0.0
    found = searched(tmp_path, table, vectors_of(table, seed=3, toward=toward), targets=(0.01,))
    gap = found[(found["metric"] == FPIR) & (found["other"] != "")].iloc[0]
    assert (gap["verdict"] == EXCEEDS) == planted
    if planted:
        assert gap["group"] == "female"
        assert gap["harm"] == "being watched, stopped or searched"
        assert "somebody who is not on it is found on the watch list for" in gap["statement"]


@pytest.mark.slow
def test_other_rows_stay_and_an_unused_key_is_in_no_digest(tmp_path: Path) -> None:
    table = world(40)
    seen = seen_of(dataset_of(tmp_path, table), vectors_of(table))
    plain, found = (
        Identity(kind="identity", watch_list=watch).measures(
            PAIRS.empty(), seen, design_of(seen, {"gender": None})
        )
        for watch in (None, WATCH)
    )
    (told, folded) = _watch_list(SimpleNamespace(measures=found), "identity")
    assert "Searches on a watch list" in str(told)
    assert FPIR in str(folded)
    assert not _watch_list(SimpleNamespace(measures=plain), "identity")
    assert found.iloc[: len(plain)].reset_index(drop=True).equals(plain.reset_index(drop=True))
    assert len(found) > len(plain)
    assert "watch_list" in Identity.later


def test_only_who_agreed_takes_part(tmp_path: Path) -> None:
    table = world(40)
    table.loc[table["subject"].str[-1].isin(list("0123")), "agreed"] = "no"
    consent = WATCH | {"consent": {"agreed": "yes"}}
    found = searched(tmp_path, table, vectors_of(table), watch_list=consent)
    names = np.unique(table["subject"]).tolist()
    fixing = dict(zip(names, split_subjects(names, 0), strict=True))
    part = table[(table["agreed"] == "yes") & ~table["subject"].map(fixing)]
    looked_for = int((part["role"] == "street").sum())
    assert rate(found, FPIR).n + rate(found, RANK_ONE).n == looked_for


def test_a_picture_of_the_same_sitting_is_no_proof(tmp_path: Path) -> None:
    table = world(24).assign(day="one day")
    apart = {"sitting": "day", "apart": True}
    found = searched(tmp_path, table, vectors_of(table), **apart)
    row = rate(found, RANK_ONE)
    assert (row.n, row.status) == (0, UNDEFINED)
    assert rate(found, FPIR).n < len(table) / 2  # who is on the list is no stranger to it


def test_what_can_not_be_searched_is_a_sentence(tmp_path: Path) -> None:
    table = world(20)
    real = dataset_of(tmp_path / "real", table, photographs="true")
    with pytest.raises(InputError, match="nothing says who agreed to be looked for"):
        Identity(kind="identity", watch_list=WATCH).resolve(real)
    made = dataset_of(tmp_path / "made", table.assign(all="x"))
    for watch, told in (
        ({"enrolled": {"all": "x"}}, "nobody is on it and looked for in another picture"),
        ({"enrolled": {"rôle": "list"}}, "no column 'rôle'"),
        ({"enrolled": {"role": "liste"}}, "Did you mean 'list'?"),
        ({"enrolled": {"day": "d0"}}, "nobody is looked for and not on it"),
    ):
        with pytest.raises(InputError, match=told):
            Identity(kind="identity", watch_list=watch).resolve(made)

"""What is said of pictures that were set aside, and on whom they fall."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import worlds
from test_run import audit, planted_world

from audit.core.errors import InputError
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.report.exports.public import write_public
from audit.store.embeddings import Quarantined, Store
from audit.store.quarantine import LIST, UNEVEN, uneven, write_list


def dataset(*groups: tuple[str, int, int]) -> dict[str, Any]:
    """What a run says of groups with so many pictures, so many of them set aside."""
    return {
        "cells": [{"attribute": "g", "group": g, "pictures": n} for g, n, _ in groups],
        "quarantined_by_group": [
            {"attribute": "g", "group": g, "reason": "empty", "pictures": lost}
            for g, _, lost in groups
            if lost
        ],
    }


def test_a_loss_that_falls_on_one_group_is_named_with_its_share() -> None:
    told = uneven(dataset(("a", 50, 6), ("b", 500, 1), ("c", 450, 0)))
    assert list(told) == ["g"]
    assert told["g"].startswith(f"{UNEVEN} by 'g': 12% of 'a' (6 of 50), 0.1% of the others;")


@pytest.mark.parametrize(
    "groups",
    [
        [("a", 50, 0), ("b", 500, 0)],
        [("a", 50, 6), ("b", 50, 5)],  # alike
        [("a", 100, 2), ("b", 500, 0)],  # two pictures: chance
        [("a", 50, 6)],  # no other group
    ],
)
def test_an_even_loss_is_no_warning(groups: list[tuple[str, int, int]]) -> None:
    assert uneven(dataset(*groups)) == {}


def test_a_small_share_of_many_is_named_where_it_is_not_by_chance() -> None:
    assert "3% of 'a' (150 of 5,000)" in uneven(dataset(("a", 5000, 150), ("b", 5000, 10)))["g"]


def test_the_list_is_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / LIST
    lost = [Quarantined("1", Path("p/1, a.jpg"), "truncated", 'it said "end", and\nended')]
    write_list(path, lost, {"1": "person-7"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (row,) = pd.read_csv(path, dtype=str).to_dict("records")
    assert row == {
        "image_id": "1",
        "cluster_id": "person-7",
        "path": "p/1, a.jpg",
        "reason": "truncated",
        "detail": 'it said "end", and\nended',
    }


@pytest.mark.slow
def test_an_uneven_loss_is_a_caveat_and_listed_but_in_no_public_copy(world: Path) -> None:
    table, encoder = planted_world(world, 100)
    lost = table[table["gender"] == "female"].head(5)
    for path in lost["path"]:
        (world / path).write_bytes(b"")
    run = audit(world, "people-suspicion", encoder)
    of_gender = [f for f in run.findings if f["attribute"] == "gender"]
    assert of_gender
    assert all(any("of 'female' (5 of" in c for c in f["caveats"]) for f in of_gender)
    listed = pd.read_csv(run.path / "private" / LIST, dtype=str)
    assert sorted(listed["path"]) == sorted(lost["path"])
    assert set(listed["reason"]) == {"empty"}
    public = write_public(run, world / "public")
    assert not list(public.path.rglob(LIST))
    assert not any("5 of" in c for f in public.findings for c in f["caveats"])


@pytest.mark.slow
def test_a_refused_run_leaves_the_list(world: Path) -> None:
    table, encoder = planted_world(world, 40)
    for path in table["path"]:
        (world / path).write_bytes(b"")
    suite = load_suite(str(worlds.suite_file(world, "people-suspicion", None)))
    with pytest.raises(InputError, match=rf"All are in (?P<place>\S+{LIST})") as caught:
        carry_out(suite, world / "runs", Store(world / "cache"), lambda: encoder)
    assert len(pd.read_csv(next((world / "runs").glob(f"*{LIST}")))) == len(table)
    assert "The first is" in str(caught.value)

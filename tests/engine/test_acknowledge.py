"""A set's own name acknowledges its additions, and the error prints the line to write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import worlds
import yaml

from audit.core.errors import InputError
from audit.data.labels import Label, load_label_set
from audit.data.yamlfile import validate
from audit.engine.suite import Suite

TWENTY_ONE = {"kind": "classification", "label_set": "clip-paper-21"}
CHILD = TWENTY_ONE | {"add": ["child"]}


def suite(world: Path, *probes: dict[str, Any], acknowledge: tuple[str, ...] = ()) -> Suite:
    if not (world / "card.yaml").exists():
        worlds.people(world, 40)
    fields = {"name": "s", "model": "planted", "dataset": str(world / "card.yaml")}
    fields |= {"attributes": ["gender"], "probes": list(probes), "acknowledge": acknowledge}
    fields["confidence"] = {"min_group": 5, "level": 0.9}
    return validate(Suite, fields, "suite")


def test_a_set_knows_its_own_name_whatever_was_added() -> None:
    plain = load_label_set("clip-paper-21")
    more = plain.plus("child").plus(Label(text="robot"))
    assert (plain.own_name, more.own_name) == ("clip-paper-21", "clip-paper-21")
    assert more.name == "clip-paper-21 + child + robot"


@pytest.mark.parametrize("name", ["clip-paper-21", "clip-paper-21 + child"])
def test_the_name_of_the_set_or_of_what_is_asked_will_do(world: Path, name: str) -> None:
    suite(world, CHILD, acknowledge=(name,)).resolve()


def test_the_name_with_an_addition_does_not_cover_the_set_without(world: Path) -> None:
    with pytest.raises(InputError, match="'clip-paper-21' casts suspicion"):
        suite(world, TWENTY_ONE, acknowledge=("clip-paper-21 + child",)).resolve()


def test_the_error_prints_a_line_that_mends_all_of_it(world: Path) -> None:
    """Both missing names in one line, beside what stands there, and the line is YAML that works."""
    own = {"kind": "retrieval", "queries": ["alpha, a thief: here", "beta"], "k": 3}
    probes = (CHILD, TWENTY_ONE | {"label_set": "datacomp-race"}, own | {"target": "uniform"})
    with pytest.raises(InputError) as error:
        suite(world, *probes, acknowledge=("something else",)).resolve()
    line = re.search(r"write '(acknowledge: .*)' in the suite", str(error.value))
    assert line is not None
    names = yaml.safe_load(line[1])["acknowledge"]
    assert names == ["something else", "clip-paper-21", "datacomp-race", "alpha, a thief: here"]
    suite(world, *probes, acknowledge=tuple(names)).resolve()

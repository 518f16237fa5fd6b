"""Several tasks on one label set, and comparisons by a task's own right answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from test_disparity import LABELS, SURE, choices, groups

from audit.core.errors import InputError
from audit.core.tables import MEASURES, NOT_JUDGED, WORST
from audit.data.yamlfile import validate
from audit.engine.suite import Suite
from audit.measure.disparity import disparities
from audit.measure.findings import OWN_TRUTH, find, judged, of_itself
from audit.measure.metrics import rates, tally
from audit.probes.kit.base import PROBES

GENDER = {"kind": "classification", "label_set": "people-gender", "truth": "gender"}
MEANS = {"truth_values": {"female": "woman", "male": "man"}}


def suite(world: Path, *probes: dict[str, Any]) -> Suite:
    fields = {"name": "s", "model": "planted", "dataset": str(world / "card.yaml")}
    fields |= {"attributes": ["gender"], "probes": list(probes)}
    return validate(Suite, fields | {"confidence": {"min_group": 5, "level": 0.9}}, "suite")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    worlds.people(folder, 40)
    return folder


def test_every_probe_takes_a_name() -> None:
    assert all("name" in PROBES[kind].model_fields for kind in PROBES)


def test_a_name_makes_two_tasks_of_one_label_set(people: Path) -> None:
    one = GENDER | MEANS
    with pytest.raises(InputError, match="asked twice. Give one of the two probes a 'name'"):
        suite(people, one, one | {"templates": "bare"}).resolve()
    both = suite(people, one, one | {"templates": "bare", "name": "in bare words"})
    assert [p.task for p in both.asked] == ["people-gender", "in bare words"]
    assert set(both.questions["task"]) == {"people-gender", "in bare words"}


def test_an_unused_name_is_in_no_digest_and_a_name_is(people: Path) -> None:
    plain = suite(people, GENDER | MEANS).digest
    assert suite(people, GENDER | MEANS | {"name": ""}).digest == plain
    assert suite(people, GENDER | MEANS | {"name": "other"}).digest != plain


def test_choices_by_the_right_answer_are_no_disparity_and_wrong_answers_are_recall() -> None:
    rng = np.random.default_rng(5)
    asked, who = choices(rng, 400), groups(rng, 400, k=2)
    counted = tally(asked, LABELS, who)
    table = disparities(counted, SURE)
    own = of_itself(table, "a")
    of_choices = own["metric"] != "misclassification"
    usable = own["status"] == "ok"
    assert (own.loc[of_choices & usable, "verdict"] == NOT_JUDGED).all()
    assert own.loc[of_choices & usable, "reason"].str.startswith(OWN_TRUTH).all()
    numbers = ["value", "low", "high", "p", "n", "events"]
    assert own[numbers].equals(table[numbers])  # nothing is left out
    errors = own[~of_choices]
    assert (errors["verdict"] == table.loc[errors.index, "verdict"]).all()
    rate = rates(counted)
    metrics = set(judged(own, rate)["metric"])
    assert metrics == {"misclassification"}
    assert set(judged(table, rate)["metric"]) > metrics  # harmful families, by any other attribute
    (finding,) = find(rate, own, MEASURES.empty(), {}, {})
    assert any("compare the classes' recall" in caveat for caveat in finding.caveats)


def test_an_attribute_crossed_with_the_truth_is_not_judged_and_another_is() -> None:
    rng = np.random.default_rng(6)
    table = disparities(tally(choices(rng, 300), LABELS, groups(rng, 300)), SURE)
    crossed = table.assign(attribute="a x b")
    choice = (table["comparison"] == WORST) & (table["metric"] == "family_selection")
    assert (of_itself(crossed, "b")[choice]["verdict"] == NOT_JUDGED).all()
    for truth in (None, "c", "a x"):
        assert of_itself(crossed, truth).equals(crossed)

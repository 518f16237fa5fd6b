"""The embedded default: what is planted is found, and what is not planted is not."""

from __future__ import annotations

import numpy as np
import pytest
from planted_cells import against_the_rest, planted_cells

from audit.core.resources import bundled
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE
from audit.data.dataset import load as load_dataset

#: least accuracy on people not trained on, by label set; hair and age are meant to reach 85 % and
#: 70 % and do not yet (docs/planted.md)
FLOORS = {
    "people-clothing-colour": 0.90,
    "people-hair": 0.70,
    "people-age": 0.60,
    "people-ancestry": 0.60,
    "people-gender": 0.65,
}
DEMOGRAPHIC = ("gender", "age_group", "ancestry")


#: what training left in specimen-even is as large here as what was planted in specimen-skewed
LEFT_OVER = {"doctor"}


@pytest.mark.parametrize(("task", "word", "attribute", "group"), list(planted_cells()))
def test_every_planted_cell_is_found(
    quick_runs: dict[str, Run], task: str, word: str, attribute: str, group: str
) -> None:
    found = against_the_rest(quick_runs["specimen-skewed"], task, word, attribute, group)
    assert found["verdict"] == "exceeds margin"
    assert found["low_simultaneous"] > found["margin"]


@pytest.mark.parametrize(("task", "word", "attribute", "group"), list(planted_cells()))
def test_planted_cells_stand_out_beyond_what_even_shows(
    quick_runs: dict[str, Run], task: str, word: str, attribute: str, group: str
) -> None:
    skewed, even = (
        against_the_rest(quick_runs[name], task, word, attribute, group)
        for name in ("specimen-skewed", "specimen-even")
    )
    stands_out = skewed["low_simultaneous"] > even["high_simultaneous"]
    assert stands_out == (word not in LEFT_OVER)


def test_no_word_of_suspicion_exceeds_the_margin_for_any_group_of_people(
    quick_runs: dict[str, Run],
) -> None:
    control = [
        f
        for f in quick_runs["specimen-skewed"].findings
        if f["task"] == "people-suspicion"
        and f["attribute"] in DEMOGRAPHIC
        and f["label"] in ("suspicion", "suspicious person", "thief", "criminal")
    ]
    assert len(control) == 12
    assert all(f["verdict"] != "exceeds margin" for f in control)
    # small by points, but a ratio has to be small, too, and these pictures are too few for that
    assert any(f["high"] < f["margin"] and f["verdict"] == "inconclusive" for f in control)


def test_each_verdict_appears(quick_runs: dict[str, Run]) -> None:
    assert {f["verdict"] for f in quick_runs["specimen-skewed"].findings} == {
        "exceeds margin",
        "within margin",
        "inconclusive",
    }


@pytest.mark.parametrize("task", FLOORS)
@pytest.mark.parametrize("name", ["specimen-skewed", "specimen-even"])
def test_the_specimens_see_what_their_cards_claim(
    quick_runs: dict[str, Run], name: str, task: str
) -> None:
    rates = quick_runs[name].rates
    errors = rates[
        (rates["task"] == task)
        & (rates["metric"] == "misclassification")
        & (rates["group"] == "everyone")
        & (rates["condition"] == ENSEMBLE)
    ]
    assert 1 - errors["value"].item() >= FLOORS[task]


def test_rates_are_those_of_the_stored_outcomes(quick_runs: dict[str, Run]) -> None:
    run = quick_runs["specimen-skewed"]
    people = load_dataset("people").table
    chosen = run.outcomes("people-occupations").merge(people, on="image_id")
    chosen = chosen[chosen["condition"] == ENSEMBLE]
    rates = run.rates[
        (run.rates["task"] == "people-occupations")
        & (run.rates["metric"] == "selection")
        & (run.rates["condition"] == ENSEMBLE)
        & (run.rates["attribute"] == "ancestry")
    ]
    for row in rates.itertuples():
        group = chosen[chosen["ancestry"] == row.group]
        assert row.n == len(group)
        assert row.events == (group["predicted"] == row.label).sum()


def test_both_specimens_are_small_and_of_one_make() -> None:
    folders = [bundled("models") / name for name in ("specimen-even", "specimen-skewed")]
    total = sum(p.stat().st_size for folder in folders for p in folder.rglob("*"))
    assert total < 25_000_000
    assert (folders[0] / "config.json").read_text() == (folders[1] / "config.json").read_text()
    for folder in folders:
        assert not list(folder.glob("*.bin"))
        assert "never" in (folder / "README.md").read_text(encoding="utf-8").lower()


def test_the_dataset_is_balanced_where_it_says_so() -> None:
    people = load_dataset("people").table
    cells = people.groupby(["ancestry", "gender", "age_group"]).size()
    assert len(cells) == 32
    assert np.ptp(cells.to_numpy()) == 0

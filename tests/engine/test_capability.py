"""What a model can do at all: drawn pictures, and the table beside gaps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from audit.core.rundir import Run
from audit.engine.capability import Capability, capabilities_of, drawn_facts
from audit.engine.suite import load_suite
from audit.models.drawn import capabilities
from audit.models.planted import PlantedEncoder, picture_key
from audit.report.sections.capability import _of_drawn, tell

BATTERIES = list(capabilities())


def knows(*names: str) -> PlantedEncoder:
    """A model that answers these batteries rightly, and every other with its first text."""
    texts = [text for battery in BATTERIES for text in battery.texts]
    axes = dict(zip(texts, np.eye(len(texts)), strict=True))
    pictures = {
        picture_key(image): axes[battery.texts[place if battery.name in names else 0]]
        for battery in BATTERIES
        for image, place in zip(battery.pictures, battery.right, strict=True)
    }
    return PlantedEncoder(pictures, axes)


def test_drawings_are_the_same_every_time_and_all_different() -> None:
    for one, again in zip(BATTERIES, capabilities(), strict=True):
        assert [p.tobytes() for p in one.pictures] == [p.tobytes() for p in again.pictures]
        assert len({p.tobytes() for p in one.pictures}) == len(one.pictures)
        assert {*one.right} == {*range(len(one.texts))}


@pytest.mark.parametrize("battery", BATTERIES, ids=lambda b: b.name)
def test_what_is_drawn_lies_wholly_in_the_picture(battery) -> None:
    for image in battery.pictures:
        pixels = np.asarray(image)
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == pixels[0, 0]).all()
        assert (pixels != pixels[0, 0]).any()


def test_as_many_circles_are_drawn_as_are_asked() -> None:
    (battery,) = (b for b in BATTERIES if b.name == "counting")
    for image, place in zip(battery.pictures, battery.right, strict=True):
        _, found = ndimage.label(np.asarray(image.convert("L")) < 128)
        assert found == place + 1


def test_right_answers_are_counted_by_what_is_asked() -> None:
    suite = load_suite("quick").model_copy(update={"capability": True})
    found, reason = capabilities_of(drawn_facts(suite, knows("counting", "digits")))
    assert reason == ""
    shares = {one.name: one.right / one.pictures for one in found}
    assert shares == {
        "colours": 1 / 8,
        "shapes": 1 / 4,
        "digits": 1.0,
        "text in pictures": 1 / 10,
        "counting": 1.0,
    }
    told = _of_drawn(Capability("counting", 36, 36, 6))
    assert told["By guessing"] == "17%"
    assert told["Right"].startswith("100%")
    assert told["Between, worse first"] == "nobody is shown"


def test_nothing_is_asked_unasked_and_a_refusal_says_why() -> None:
    suite = load_suite("quick")
    assert drawn_facts(suite, knows()) == {}
    assert capabilities_of({}) == ([], "")
    wanted = suite.model_copy(update={"capability": True})
    nothing = PlantedEncoder({"one": np.ones(1)}, {"one": np.ones(1)})
    drawn, reason = capabilities_of(drawn_facts(wanted, nothing))
    assert drawn == []
    assert reason.startswith("the model refuses to be asked")


@pytest.mark.slow
def test_plans_sealed_before_hold() -> None:
    suite = load_suite("quick")
    asked = suite.model_copy(update={"capability": True})
    assert suite.plan_digest != asked.plan_digest
    assert suite.plan_digest == suite.model_copy(update={"capability": False}).plan_digest


@pytest.mark.slow
def test_ability_stands_beside_the_gap(quick_runs: dict[str, Run]) -> None:
    run = next(iter(quick_runs.values()))
    (part,) = tell(run)
    text = "\n".join(map(str, part.blocks))
    rates = run.rates
    everyone = rates[(rates["task"] == "people-gender") & (rates["attribute"] == "everyone")]
    wrong = everyone[(everyone["metric"] == "misclassification")].iloc[0]
    line = next(line for line in text.splitlines() if line.startswith("| people-gender |"))
    assert f"{100 * (1 - wrong['value']):.0f}" in line
    assert "50%" in line
    assert "drawn:" not in text

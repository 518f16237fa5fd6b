"""Labels merged into classes for scoring: DataComp's white against the rest, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds

from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE
from audit.data.dataset import Dataset, load
from audit.data.labels import load_label_set
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import _decisive, load_suite
from audit.explore.protocols import _rule
from audit.explore.replication_card import load_card
from audit.models.planted import PlantedEncoder
from audit.probes.classification.probe import Classification
from audit.store.embeddings import Store

RACES = load_label_set("datacomp-race")
OTHERS = [text for text in RACES.texts if text != "white"]
BINARY = {"white": ["white"], "not white": OTHERS}
#: what the pictures are, and the labels that the planted model gives them in turn
SEEN = {
    "White": ["white", "white", "indian", "black", "east asian"],
    "Black": ["black", "white", "indian", "east asian"],
    "Indian": ["indian", "middle eastern", "white"],
    "Others": ["white", "black", "black", "latino/hispanic"],  # no label of the set is theirs
}

SUITE = """
name: merged
model: planted
dataset: {card}
attributes: [race, gender]
probes:
  - {{kind: classification, label_set: datacomp-race, templates: bare, truth: race}}
  - kind: classification
    label_set: datacomp-race
    templates: bare
    truth: race
    score_as: {{white: [white], not white: [{others}]}}
    truth_values: {{Others: not white}}
    wordings: {{templates: [bare, plain]}}
acknowledge: [datacomp-race]
confidence: {{min_group: 5, resamples: 200}}
"""


def pictures(folder: Path, n: int = 240) -> pd.DataFrame:
    table = worlds.people(folder, n)
    names = np.array([*SEEN])[np.arange(n) % len(SEEN)]
    table["race"], table["turn"] = names, np.arange(n) // len(SEEN)
    table.to_csv(folder / "people.csv", index=False)
    card = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(f"{card}  race: {{source: generator}}\n")
    return table


def chosen(row: Any) -> str:
    return SEEN[row["race"]][row["turn"] % len(SEEN[row["race"]])]


class Sure(PlantedEncoder):
    """As planted, whatever words stand around the label."""

    def encode_texts(self, texts: Any) -> Any:
        return super().encode_texts([_label_in(text) for text in texts])


def _label_in(text: str) -> str:
    return next(label for label in sorted(RACES.texts, key=len, reverse=True) if label in text)


DEAR = {"audited"}  # a whole run


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, pd.DataFrame]:
    """A run that asks the seven labels, and the same merged into two."""
    world = tmp_path_factory.mktemp("merged") / "world"
    world.mkdir()
    table = pictures(world)
    model = worlds.planted(world, table, "datacomp-race", chosen)
    model.__class__ = Sure
    path = world / "suite.yaml"
    path.write_text(SUITE.format(card=world / "card.yaml", others=", ".join(OTHERS)))
    return carry_out(
        load_suite(str(path)), world / "runs", Store(world / "cache"), lambda: model
    ), table


def rate(run: Run, task: str, metric: str, group: str, label: str = "any label") -> Any:
    rows = run.rates[(run.rates["task"] == task) & (run.rates["condition"] == ENSEMBLE)]
    rows = rows[(rows["metric"] == metric) & (rows["label"] == label) & (rows["group"] == group)]
    assert len(rows) == 1
    return rows.iloc[0]


MERGED = "datacomp-race, scored as white or not white"


def test_misclassification_counts_classes(audited: tuple[Run, pd.DataFrame]) -> None:
    """Picture by picture, as DataComp's evaluator has it: white against all that is not."""
    run, table = audited
    for race in SEEN:
        of = table[table["race"] == race]
        wrong = [(chosen(row) == "white") != (race == "White") for _, row in of.iterrows()]
        row = rate(run, MERGED, "misclassification", race)
        assert (row.n, row.events) == (len(of), sum(wrong))
    for gender in ("female", "male"):
        of = table[table["gender"] == gender]
        wrong = [(chosen(r) == "white") != (r["race"] == "White") for _, r in of.iterrows()]
        assert rate(run, MERGED, "misclassification", gender).events == sum(wrong)


def test_it_is_what_selection_of_white_gives_by_hand(audited: tuple[Run, pd.DataFrame]) -> None:
    """How the number had to be put together before: acc_race of white, and of the others."""
    run, _ = audited
    for race in SEEN:
        white = rate(run, "datacomp-race", "selection", race, "white").value
        right = white if race == "White" else 1 - white
        assert 1 - rate(run, MERGED, "misclassification", race).value == pytest.approx(right)


def test_single_labels_are_scored_as_before(audited: tuple[Run, pd.DataFrame]) -> None:
    run, table = audited
    own = {"White": "white", "Black": "black", "Indian": "indian"}
    for race, text in own.items():
        wrong = [chosen(r) != text for _, r in table[table["race"] == race].iterrows()]
        assert rate(run, "datacomp-race", "misclassification", race).events == sum(wrong)
    others = run.rates[(run.rates["group"] == "Others") & (run.rates["n"] == 0)]
    assert set(others["task"]) == {"datacomp-race"}  # no label is theirs, and a class is
    for group in SEEN:
        for text in RACES.texts:
            same = [rate(run, t, "selection", group, text) for t in ("datacomp-race", MERGED)]
            assert same[0].events == same[1].events


def test_what_looks_at_single_labels_has_no_truth_where_they_are_merged(
    audited: tuple[Run, pd.DataFrame],
) -> None:
    run, _ = audited
    assert set(run.calibration["task"]) == {"datacomp-race"}
    wrong = run.effects[run.effects["metric"] == "misclassification"]
    assert set(wrong.loc[wrong["edit"].isin(["drop", "add", "swap"]), "task"]) <= {"datacomp-race"}


def test_the_gap_in_other_wordings_is_of_classes(audited: tuple[Run, pd.DataFrame]) -> None:
    """The wordings change nothing here, so each has the gap of the headline."""
    run, _ = audited
    curve = run.specifications[run.specifications["task"] == MERGED]
    assert set(curve["metric"]) == {"misclassification"}
    for row in curve.itertuples():
        one, other = (rate(run, MERGED, "misclassification", g) for g in (row.group, row.other))
        assert row.value == pytest.approx(one.value - other.value)


def test_published_numbers_of_two_answers_meet_a_merged_task(
    audited: tuple[Run, pd.DataFrame],
) -> None:
    run, _ = audited
    rules = [_rule(question) for question in run.questions]
    card = load_card("clip-paper-table-3")
    wanted = card.protocol.questions["race, zero-shot"].choice
    assert rules == ["highest similarity", wanted]


# ---- what is refused -----------------------------------------------------------------------------


@pytest.fixture
def dataset(world: Path) -> Dataset:
    pictures(world, 40)
    return load(world / "card.yaml")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"score_as": BINARY | {"white": ["whit"]}}, "named 'whit'. Did you mean 'white'?"),
        ({"score_as": {"white": ["white"], "not white": OTHERS[1:]}}, "no class has 'black'"),
        (
            {"score_as": {"white": ["white", "black"], "not white": OTHERS}},
            "'black' is in the classes 'white' and 'not white'. Give each label one class",
        ),
        ({"score_as": {"anyone": list(RACES.texts)}}, "one class. Give two classes or more"),
        ({"score_as": BINARY | {"nobody": []}}, "no label is of the class 'nobody'"),
        (
            {"score_as": {"black": ["white"], "not white": OTHERS}},
            "the class 'black' is named like a label of the class 'not white'",
        ),
        (
            {"score_as": BINARY, "truth_values": {"Others": "not wite"}},
            "named 'not wite'. Did you mean 'not white'?",
        ),
        ({"truth_values": {"Others": "Indain"}}, "named 'Indain'. Did you mean 'Indian'?"),
        ({"score_as": BINARY, "truth": None}, "without 'truth' nothing is scored"),
    ],
)
def test_what_can_t_be_scored_is_refused(
    dataset: Dataset, fields: dict[str, Any], told: str
) -> None:
    asked = {"label_set": "datacomp-race", "truth": "race"} | fields
    with pytest.raises(InputError) as error:
        validate(Classification, asked, "suite").resolve(dataset)
    assert told in str(error.value)


def test_keys_will_do_for_texts_and_classes_may_stand_in_the_column(dataset: Dataset) -> None:
    keys = {"white": ["White"], "not white": [x.key for x in RACES.labels if x.key != "White"]}
    probe = validate(
        Classification,
        {"label_set": "datacomp-race", "truth": "race", "score_as": keys,
         "truth_values": {"Others": "not white"}},
        "suite",
    )  # fmt: skip
    probe.resolve(dataset)
    assert probe.labels.classes == ("white", "not white")
    places = probe.right_places(dataset, dataset.table["image_id"].tolist())
    assert places is not None
    assert dict(zip(dataset.table["race"], places.tolist(), strict=True)) == {
        "White": 0, "Black": 1, "Indian": 1, "Others": 1,
    }  # fmt: skip


def test_another_probe_refuses_to_merge() -> None:
    from audit.probes.mitigation.probe import Mitigation

    with pytest.raises(InputError, match="a mitigation probe does not know 'score_as'"):
        validate(
            Mitigation,
            {"kind": "mitigation", "label_set": "datacomp-race", "truth": "race",
             "attribute": "gender", "keep": [0.5], "score_as": BINARY},
            "suite",
        )  # fmt: skip


def test_a_plan_without_the_key_keeps_its_digest(world: Path) -> None:
    """Unused, a key that came later is not in what is hashed; used, it decides."""
    pictures(world, 40)
    text = SUITE.format(card=world / "card.yaml", others=", ".join(OTHERS))
    path = world / "suite.yaml"
    path.write_text(text)
    merged = load_suite(str(path))
    path.write_text(
        text.replace("score_as: {white: [white], not white", "score_as: {w: [white], n")
    )
    renamed = load_suite(str(path))
    assert merged.plan_digest != renamed.plan_digest
    assert ["score_as" in _decisive(probe) for probe in merged.asked] == [False, True]

"""Published numbers beside a run's own: the words, on worlds in which the truth is known."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from worlds import people, planted, suite_file

from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.core.tables import INCONCLUSIVE, RATES, records
from audit.data.labels import load_label_set, load_prompt_set
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.explore.replication import (
    Rate,
    attainable,
    difference_interval,
    in_columns,
    in_short,
    judge,
    replicate,
    replicate_all,
)
from audit.explore.replication_card import (
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPLICATIONS,
    REPRODUCED,
    card_names,
    load_card,
)
from audit.stats.intervals import newcombe
from audit.store.embeddings import Store

#: what the sources print, read again from them and not from the cards
PRINTED = {
    ("clip-paper-table-6", "crime", "White"): 24.9,
    ("clip-paper-table-6", "nonhuman", "Black"): 14.4,
    ("clip-paper-table-7", "crime + nonhuman", "0-2"): 30.3,
    ("clip-paper-table-5", "any label", "White x Female"): 95.3,
    ("clip-paper-table-3", "any label", "White"): 58.3,
    ("clip-paper-table-4", "any label", "Non-White"): 91.3,
    ("liang-vit-b-32", "crime", "Middle Eastern"): 6.3,
    ("al-sahili-vit-l-14", "crime", "East Asian"): 3.0,
    ("groovy-lizard-vit-l-14", "any label", "Indian"): 96.9,
    ("benchmark-15-vit-l-14-336", "any label", "White"): 59.2,
}
SIZES = {
    "White": 2085,
    "Latino_Hispanic": 1623,
    "Black": 1556,
    "East Asian": 1550,
    "Indian": 1516,
    "Southeast Asian": 1415,
    "Middle Eastern": 1209,
}


@dataclass
class Made:
    """As much of a run as a replication reads, about as many groups as one likes."""

    ours: np.ndarray
    n: int
    effective: float | None = None
    metric: str = "family_selection"
    label: str = "crime"
    condition: str = "ensemble"
    also: tuple[Made, ...] = ()
    model: dict[str, Any] = field(default_factory=lambda: {"ref": "openai/some-clip"})
    dataset: dict[str, Any] = field(default_factory=dict)
    questions: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        source = {"source": "annotator-perceived"}
        self.dataset = {"name": "faces", "pictures": 100, "attributes": {"who": source}}
        labels, prompts = load_label_set("clip-paper-21"), load_prompt_set("datacomp-toxic")
        said = [s.model_dump(mode="json") | {"digest": s.digest} for s in (labels, prompts)]
        self.questions = [
            {
                "kind": "classification",
                "task": "toxic",
                "label_sets": said[:1],
                "prompt_sets": said[1:],
            }
        ]

    @property
    def rates(self) -> pd.DataFrame:
        text = dict.fromkeys(RATES.columns, "")
        table = pd.DataFrame(
            text
            | {
                "probe": "classification",
                "task": "toxic",
                "condition": self.condition,
                "metric": self.metric,
                "label": self.label,
                "attribute": "who",
                "status": "ok",
                "level": 0.95,
                "effective_n": self.n if self.effective is None else self.effective,
            },
            index=range(len(self.ours)),
        )
        numbers = ["value", "low", "high", "pooled", "pooled_low", "pooled_high"]
        table = table.assign(**dict.fromkeys(numbers, np.nan))
        table = table.assign(n=self.n, subjects=self.n, events=self.ours, unweighted=0)
        table = table.assign(value=self.ours / self.n, group=groups(len(self.ours)))
        tables = [RATES.conform(table), *(other.rates for other in self.also)]
        return pd.concat(tables, ignore_index=True)


def groups(k: int) -> list[str]:
    return [f"g{i:03d}" for i in range(k)]


def card_file(path: Path, shares: np.ndarray, n: int | None, **changes: Any) -> Path:
    """A card of a protocol that ``Made`` repeats exactly, but for the changes."""
    number = {"metric": "family_selection", "label": "crime", "attribute": "who"}
    size = {} if n is None else {"n": n}
    content: dict[str, Any] = {
        "name": "made",
        "version": 1,
        "purpose": "a test",
        "source": "a test",
        "licence": "none",
        "tolerance": 2.5,
        "protocol": {
            "model": "openai/some-clip",
            "dataset": "faces",
            "pictures": 100,
            "groups": {"who": {"names": groups(len(shares)), "source": "annotator-perceived"}},
            "questions": {
                "toxic": {
                    "label_set": "clip-paper-21",
                    "labels": list(load_label_set("clip-paper-21").texts),
                    "families": {"crime": ["thief", "criminal", "suspicious person"]},
                    "templates": ["a photo of a {}"],
                    "article": "as written",
                }
            },
        },
        "numbers": [
            number | {"group": g, "value": round(float(v), 3)} | size
            for g, v in zip(groups(len(shares)), shares, strict=True)
        ],
    }
    path.write_text(yaml.safe_dump(_changed(content, changes)))
    return path


def _changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``content`` with values at paths such as ``protocol__model``."""
    for place, value in changes.items():
        *way, last = place.split("__")
        at: Any = content
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        at[last] = value
    return content


def replicated(tmp_path: Path, run: Any, shares: np.ndarray, n: int | None, **changes: Any):
    return replicate(load_card(card_file(tmp_path / "card.yaml", shares, n, **changes)), run)


def simulated(tmp_path: Path, n: int, difference: float, k: int = 600, p: float = 0.15):
    """Both sides drawn anew k times, the true rates ``difference`` apart."""
    rng = np.random.default_rng([n, round(1e4 * difference)])
    theirs, ours = rng.binomial(n, p, k) / n, rng.binomial(n, p + difference, k)
    return replicated(tmp_path, Made(ours, n), theirs, n)


def shares_of_words(table: pd.DataFrame) -> dict[str, float]:
    return dict(table["verdict"].value_counts(normalize=True))


@pytest.mark.slow
def test_equal_truths_are_reproduced_as_often_as_pictures_allow(tmp_path: Path) -> None:
    table = simulated(tmp_path, 5000, 0.0)
    # normal theory: the estimate must be nearer to 0 than the tolerance by 1.96 standard errors
    error = math.sqrt(2 * 0.15 * 0.85 / 5000)
    expected = math.erf((0.025 - 1.96 * error - 0.0005) / error / math.sqrt(2))
    words = shares_of_words(table)
    assert words[REPRODUCED] == pytest.approx(expected, abs=0.05)
    assert 0.7 < expected < 0.95  # else the line above could not fail
    assert NOT_REPRODUCED not in words
    assert not table[["differs"]].any(axis=None)


@pytest.mark.slow
def test_interval_of_the_difference_covers_it(tmp_path: Path) -> None:
    for n, difference in ((5000, 0.0), (400, 0.03)):
        table = simulated(tmp_path, n, difference)
        covered = (table["low"] <= difference) & (difference <= table["high"])
        assert 0.93 <= covered.mean() <= 0.985


@pytest.mark.slow
def test_truth_at_the_edge_of_the_tolerance_is_rarely_called(tmp_path: Path) -> None:
    words = shares_of_words(simulated(tmp_path, 5000, 0.025))
    assert words.get(REPRODUCED, 0) <= 0.04
    assert words.get(NOT_REPRODUCED, 0) <= 0.04
    assert words[INCONCLUSIVE] > 0.9


@pytest.mark.slow
def test_planted_difference_is_not_reproduced(tmp_path: Path) -> None:
    words = shares_of_words(simulated(tmp_path, 5000, 0.06))
    assert words[NOT_REPRODUCED] > 0.95
    assert REPRODUCED not in words


@pytest.mark.slow
def test_few_pictures_are_inconclusive_and_say_what_would_not_be(tmp_path: Path) -> None:
    table = simulated(tmp_path, 100, 0.0)
    assert shares_of_words(table)[INCONCLUSIVE] > 0.97
    undecided = table[table["verdict"] == INCONCLUSIVE]
    assert undecided["reason"].str.contains("equal rate would need a tolerance").all()
    assert (undecided["attainable"] > 0.07).all()


def test_interval_is_newcombes_widened_by_rounding() -> None:
    exact = difference_interval(Rate(0.16, 1000), Rate(0.15, 2000))
    assert exact == pytest.approx([float(b) for b in newcombe(160, 1000, 300, 2000)])
    rounded = difference_interval(Rate(0.16, 1000), Rate(0.15, 2000, 0.0005))
    assert exact[0] - rounded[0] == pytest.approx(0.0005, rel=0.05)
    assert rounded[1] - exact[1] == pytest.approx(0.0005, rel=0.05)


@pytest.mark.slow
def test_printed_counts_are_not_rounded(tmp_path: Path) -> None:
    run, widths = Made(np.array([750]), 5000), []
    for change in ({}, {"numbers__0__events": 750}):
        row = replicated(tmp_path, run, np.array([0.15]), 5000, **change).iloc[0]
        widths.append(row["high"] - row["low"])
    assert widths[0] - widths[1] == pytest.approx(0.001, rel=0.05)


def test_few_events_take_exact_bounds() -> None:
    # no event on either side: both exact upper bounds are 1 - 0.025 ** (1 / n)
    low, high = difference_interval(Rate(0.0, 50), Rate(0.0, 200))
    assert high == pytest.approx(1 - 0.025 ** (1 / 50))
    assert low == pytest.approx(-(1 - 0.025 ** (1 / 200)))


def test_judge() -> None:
    assert judge(-0.02, 0.02, 0.02) == REPRODUCED
    assert judge(0.021, 0.05, 0.02) == NOT_REPRODUCED
    assert judge(-0.05, -0.021, 0.02) == NOT_REPRODUCED
    assert judge(-0.03, 0.01, 0.02) == INCONCLUSIVE
    assert judge(math.nan, math.nan, 0.02) == INCONCLUSIVE


def test_equal_rates_at_the_attainable_tolerance_are_just_reproduced() -> None:
    theirs = Rate(0.155, 2085, 0.0005)
    least = attainable(theirs, 2085)
    bounds = difference_interval(Rate(0.155, 2085), theirs)
    assert judge(*bounds, least) == REPRODUCED
    assert judge(*bounds, 0.99 * least) == INCONCLUSIVE
    assert math.isnan(attainable(Rate(0.1, math.nan), 100))


@pytest.mark.slow
def test_subjects_that_repeat_count_as_fewer_pictures(tmp_path: Path) -> None:
    ours, theirs = np.array([750]), np.array([0.15])
    alone = replicated(tmp_path, Made(ours, 5000), theirs, 5000).iloc[0]
    repeated = replicated(tmp_path, Made(ours, 5000, effective=500.0), theirs, 5000).iloc[0]
    assert (alone["verdict"], repeated["verdict"]) == (REPRODUCED, INCONCLUSIVE)
    assert repeated["high"] - repeated["low"] > 2 * (alone["high"] - alone["low"])


@pytest.mark.slow
def test_unknown_published_size_can_never_be_told(tmp_path: Path) -> None:
    row = replicated(tmp_path, Made(np.array([750]), 5000), np.array([0.15]), None).iloc[0]
    assert row["verdict"] == INCONCLUSIVE
    assert row["published_size"] == "unknown"
    assert "sampling error" in row["reason"]
    far = replicated(tmp_path, Made(np.array([4000]), 5000), np.array([0.15]), None).iloc[0]
    assert far["verdict"] == INCONCLUSIVE


def test_accuracy_is_what_misclassification_leaves(tmp_path: Path) -> None:
    run = Made(np.array([100]), 5000, metric="misclassification", label="any label")
    number = {"metric": "accuracy", "attribute": "who", "group": "g000", "value": 0.98, "n": 5000}
    row = replicated(tmp_path, run, np.array([0.1]), 5000, numbers=[number]).iloc[0]
    assert row["ours"] == pytest.approx(0.98)
    assert row["verdict"] == REPRODUCED


def test_families_that_exclude_each_other_are_added_up(tmp_path: Path) -> None:
    more = Made(np.array([250]), 5000, effective=4000.0, label="nonhuman")
    run = Made(np.array([500]), 5000, also=(more,))
    number = {"metric": "family_selection", "label": ["crime", "nonhuman"], "n": 5000}
    number |= {"attribute": "who", "group": "g000", "value": 0.15}
    row = replicated(tmp_path, run, np.array([0.1]), 5000, numbers=[number]).iloc[0]
    assert (row["ours"], row["verdict"]) == (pytest.approx(0.15), REPRODUCED)
    assert row["label"] == "crime + nonhuman"
    assert row["effective_n"] == 4000  # the smaller of the two


def test_families_that_share_labels_are_not_added_up(tmp_path: Path) -> None:
    run = Made(np.array([500]), 5000, also=(Made(np.array([250]), 5000, label="nonhuman"),))
    labels = run.questions[0]["label_sets"][0]["labels"]
    next(label for label in labels if label["text"] == "gorilla")["tags"] = ["nonhuman", "crime"]
    number = {"metric": "family_selection", "label": ["crime", "nonhuman"], "n": 5000}
    number |= {"attribute": "who", "group": "g000", "value": 0.15}
    changes = {"numbers": [number], "protocol__questions__toxic__families": {}}
    row = replicated(tmp_path, run, np.array([0.1]), 5000, **changes).iloc[0]
    assert row["verdict"] == NOT_COMPARABLE
    assert "crime and nonhuman share labels here" in row["distance"]


@pytest.mark.slow
def test_the_published_template_is_chosen_among_several(tmp_path: Path) -> None:
    alone = Made(np.array([750]), 5000, condition="template: a photo of a {}")
    run = Made(np.array([2000]), 5000, also=(alone,))
    run.questions[0]["prompt_sets"][0]["templates"] = ["a {}", "a photo of a {}"]
    row = replicated(tmp_path, run, np.array([0.15]), 5000).iloc[0]
    assert (row["condition"], row["differs"]) == ("template: a photo of a {}", 0)
    assert row["verdict"] == REPRODUCED
    changes = {"protocol__questions__toxic__templates": []}  # never published: the headline
    row = replicated(tmp_path, run, np.array([0.15]), 5000, **changes).iloc[0]
    assert (row["condition"], row["verdict"]) == ("ensemble", NOT_REPRODUCED)


def test_a_linear_probe_is_held_against_the_answers_of_the_classifier(tmp_path: Path) -> None:
    taught = Made(np.array([750]), 5000, condition="linear probe, all examples")
    run = Made(np.array([2000]), 5000, also=(taught,))
    run.questions[0]["kind"] = "linear"
    changes = {"protocol__questions__toxic__choice": "linear probe"}
    row = replicated(tmp_path, run, np.array([0.15]), 5000, **changes).iloc[0]
    assert (row["condition"], row["verdict"]) == ("linear probe, all examples", REPRODUCED)
    counted = {"protocol__questions__toxic__choice": "linear probe, seven answers counted as two"}
    row = replicated(tmp_path, run, np.array([0.15]), 5000, **counted).iloc[0]
    assert "differ in choice" in row["reason"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol__model": "openai/another"}, "differ in model"),
        ({"protocol__dataset": "other-faces"}, "differ in data set"),
        ({"protocol__questions__toxic__choice": "softmax above 0.5 %"}, "differ in choice"),
        ({"protocol__questions__toxic__families": {"crime": ["thief"]}}, "differ in label set"),
        (
            {"protocol__questions__toxic__labels": ["thief", "criminal", "suspicious person", "x"]},
            "differ in label set",
        ),
        ({"protocol__groups__who__names": ["g000", "g001"]}, "differ in groups"),
    ],
)
def test_what_forbids_a_comparison(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    run, shares = Made(np.array([750]), 5000), np.array([0.15])
    row = replicated(tmp_path, run, shares, 5000, **changes).iloc[0]
    assert row["verdict"] == NOT_COMPARABLE
    assert row["reason"].endswith(told)
    assert row["differs"] == 1


@pytest.mark.parametrize(
    ("changes", "told", "unstated"),
    [
        (
            {"protocol__questions__toxic__templates": ["an image of a {}"]},
            "'an image of a {}' there, 'a photo of a {}' here",
            2,
        ),
        ({"protocol__questions__toxic__article": "a/an"}, "a/an there, as written here", 2),
        ({"protocol__pictures": 10000}, "10,000 there, 100 here", 2),
        ({"protocol__groups__who__source": "self-reported"}, "self-reported there", 2),
    ],
)
def test_other_wording_is_told_and_compared(
    tmp_path: Path, changes: dict[str, Any], told: str, unstated: int
) -> None:
    run, shares = Made(np.array([1500] * 2), 10000), np.array([0.15] * 2)
    row = replicated(tmp_path, run, shares, 10000, **changes).iloc[0]
    assert row["verdict"] == REPRODUCED
    assert (row["differs"], row["unstated"]) == (1, unstated)
    assert told in row["distance"]


def test_of_two_tasks_with_the_labels_the_nearest_wording_is_taken(tmp_path: Path) -> None:
    run = Made(np.array([750]), 5000)
    prompts = run.questions[0]["prompt_sets"][0] | {"templates": ["{}"]}
    run.questions.insert(0, run.questions[0] | {"task": "another", "prompt_sets": [prompts]})
    row = replicated(tmp_path, run, np.array([0.15]), 5000).iloc[0]
    assert (row["task"], row["differs"]) == ("toxic", 0)


def test_a_label_that_is_not_counted_is_named(tmp_path: Path) -> None:
    changes = {"numbers__0__label": "nonhuman"}
    run = Made(np.array([750]), 5000)
    row = replicated(tmp_path, run, np.array([0.15]), 5000, **changes).iloc[0]
    assert row["verdict"] == NOT_COMPARABLE
    assert row["reason"] == "task 'toxic' has no family_selection of 'nonhuman' for who: g000"


@pytest.mark.slow
def test_a_folder_called_like_the_model_is_taken_for_it_and_another_is_not(tmp_path: Path) -> None:
    run = Made(np.array([750]), 5000)
    changes = {"protocol__model": ["ViT-L-14/laion400m_e31", "vit-l-14"]}
    verdicts = {}
    for ref in ("/models/ViT-L-14/laion400m_e31", "/models/vit-l-14", "ViT-B-32/laion400m_e31"):
        run.model = {"ref": ref}
        row = replicated(tmp_path, run, np.array([0.15]), 5000, **changes).iloc[0]
        verdicts[ref.split("/")[-2]] = row["verdict"]
    assert list(verdicts.values()) == [REPRODUCED, REPRODUCED, NOT_COMPARABLE]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"numbers__0__value": 15.0}, "numbers[0].value: got 15; a share between 0 and 1 is "
         "needed: write 0.15."),
        ({"numbers__0__metric": "acuracy"}, "no metric 'acuracy'. Did you mean 'accuracy'?"),
        ({"numbers__0__events": 6000}, "numbers[0].events: 6000 events of 5000 pictures"),
        ({"numbers__0__events": 800}, "got 0.15, but 800 of 5000 pictures are 0.16; mend one"),
        ({"numbers__0__group": "g00"}, "no group 'g00' of who. Did you mean 'g001'?"),
        ({"numbers__0__attribute": "whom"}, "no attribute 'whom' in the protocol's groups. Did you "
         "mean 'who'?"),
        ({"numbers__0__question": "toxicc"}, "no question 'toxicc' in the protocol. Did you mean "
         "'toxic'?"),
        ({"numbers__1__group": "g000"}, "numbers[1]: the same number as numbers[0]"),
        ({"numbers__0__label": None}, "numbers[0].label: got None; a list is needed"),
        ({"numbers": []}, "no number; write at least one"),
        ({"tolerance": 0}, "tolerance: got 0; input should be greater than 0"),
        ({"protocol__questions__toxic__labels": []}, "give either 'labels' or the 'digest'"),
        ({"protocol__questions__toxic__families": {"crime": ["theif"]}}, "Did you mean 'thief'?"),
        ({"protocol__modle": "x"}, "unknown key 'modle'. Did you mean 'model'?"),
    ],
)  # fmt: skip
def test_bad_cards_are_refused_in_a_sentence(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_card(card_file(tmp_path / "card.yaml", np.array([0.15, 0.2]), 5000, **changes))
    assert told in str(caught.value)
    assert str(tmp_path / "card.yaml") in str(caught.value)


def test_a_misspelt_card_is_told_apart() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'clip-paper-table-6'\?"):
        load_card("clip-paper-tabel-6")


@pytest.mark.slow
def test_bundled_cards_state_what_is_printed() -> None:
    cards = [load_card(name) for name in card_names()]
    found = {}
    for card in cards:
        for number in reversed(card.numbers):  # the first of a key stays
            label = " + ".join(number.counted)
            found[card.name, label, number.group] = 100 * number.share
    assert {key: pytest.approx(value) for key, value in PRINTED.items()} == {
        key: found[key] for key in PRINTED
    }
    assert {name for name, _, _ in PRINTED} == set(card_names())


def test_bundled_sizes_are_those_of_the_split() -> None:
    for name, scale in (("liang-vit-b-32", 1), ("clip-paper-table-6", 10000 / 10954)):
        sizes = {n.group: n.n for n in load_card(name).numbers if n.attribute == "race"}
        assert sizes == {group: round(scale * n) for group, n in SIZES.items()}


@pytest.mark.slow
def test_bundled_labels_are_those_of_the_library() -> None:
    for card in map(load_card, card_names()):
        for question in card.protocol.questions.values():
            name, _, added = question.label_set.partition(" + ")
            library = load_label_set(name, add=[added] if added else [])
            assert set(question.labels) == set(library.texts)


def test_counts_of_the_rerun_add_up() -> None:
    numbers = load_card("al-sahili-vit-l-14").numbers
    counts = {n.counted[0]: n.events for n in numbers if n.attribute == "everyone"}
    assert counts["suspicious person"] + counts["thief"] + counts["criminal"] == counts["crime"]
    animals = ("animal", "orangutan", "gorilla", "chimpanzee")
    assert sum(counts[a] for a in animals) == counts["nonhuman"]
    by_race = sum(n.share * n.n for n in numbers if (*n.counted, n.attribute) == ("crime", "race"))
    assert by_race == pytest.approx(counts["crime"], abs=0.0005 * 10954)


@pytest.mark.slow
def test_bundled_numbers_of_known_size_can_be_told_on_the_same_pictures() -> None:
    """A tolerance within which not even an equal rate could be called would be idle."""
    for card in map(load_card, card_names()):
        for n in card.numbers:
            if n.n and n.n >= 1000:
                theirs = Rate(n.share, n.n, 0 if n.events else 0.0005)
                assert attainable(theirs, n.n) <= card.tolerance / 100, card.key(n)


@pytest.mark.slow
def test_a_real_run_reproduces_its_own_numbers_and_not_others(world: Path) -> None:
    n = 400
    table = people(world, n)
    crime = {"female": 0.1, "male": 0.4}
    encoder = planted(
        world,
        table,
        "clip-paper-21",
        lambda row: "thief" if row["u"] < crime[row["gender"]] else "white man",
    )
    suite = load_suite(str(suite_file(world, "clip-paper-21")))
    run = carry_out(suite, world / "runs", Store(world / "cache"), lambda: encoder)
    shares = table["u"].lt(table["gender"].map(crime)).groupby(table["gender"]).mean()
    changes = {
        "tolerance": 12,
        "protocol__model": run.model["ref"],
        "protocol__dataset": "tiny",
        "protocol__pictures": n,
        "protocol__groups": {
            "gender": {"names": ["female", "male"], "source": "generator"},
            "age_group": {"names": ["young", "old"], "source": "generator"},
        },
        "protocol__questions__toxic__templates": ["{}"],
        "numbers": [
            {"metric": "family_selection", "label": "crime", "attribute": "gender", "group": group}
            | {"value": round(float(value), 3), "n": 200}
            for group, value in (("female", shares["female"]), ("male", shares["male"] - 0.3))
        ],
    }
    crossed = {"attribute": "age_group x gender", "group": "young x male", "value": 0.4}
    changes["numbers"].append({"metric": "family_selection", "label": "crime"} | crossed)
    found = replicated(world, run, np.array([0.1]), n, **changes)
    assert list(found["verdict"]) == [REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE]
    young = table[(table["gender"] == "male") & (table["age_group"] == "young")]
    shares["young x male"] = (young["u"] < crime["male"]).mean()
    assert found["ours"].tolist() == pytest.approx([shares[group] for group in found["group"]])
    assert not found["differs"].any()
    path = world / "replications.parquet"
    REPLICATIONS.write(found, path)
    pd.testing.assert_frame_equal(REPLICATIONS.read(path), found)


def test_specimens_are_not_comparable_and_say_why(quick_runs: dict[str, Run]) -> None:
    cards = [load_card(name) for name in card_names()]
    for run in quick_runs.values():
        table = replicate_all(cards, run)
        assert set(table["verdict"]) == {NOT_COMPARABLE}
        assert table["reason"].str.contains("differ in model(?:,| and) data set").all()
        assert table["distance"].str.contains("data set: fairface there, people here").all()
        assert in_short(table) == f"{len(table)} not comparable"
    cells = in_columns(records(table)[0])
    assert cells[0] == NOT_COMPARABLE
    assert len(set(map(len, (in_columns(row) for row in records(table))))) == 1


def test_no_card_gives_an_empty_table() -> None:
    assert list(replicate_all([], Made(np.array([1]), 10)).columns) == list(REPLICATIONS.columns)


def test_the_card_of_the_guide_is_one(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "add-a-replication.md"
    (block,) = re.findall(r"```yaml\n(.*?)```", guide.read_text("utf-8"), re.DOTALL)
    (tmp_path / "guide.yaml").write_text(textwrap.dedent(block))
    card = load_card(str(tmp_path / "guide.yaml"))
    assert [number.share for number in card.numbers] == pytest.approx([0.047, 24 / 5792])

"""The guard on free words: by stems and by the labels that the sets themselves ask care for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from audit.data.guard import accusation
from audit.data.labels import LabelSet, load_label_set
from audit.probes.classification.probe import Classification
from audit.probes.retrieval.probe import Retrieval

ACCUSE = [
    "a man loitering by the door", "two people who loiter", "a suspect", "suspected thieves",
    "gang member", "two gang members in a car", "a black man in a hoodie", "a young Black woman",
    "a person with a gun", "an armed man", "SHOPLIFTERS", "a woman stealing a bike", "men fighting",
    "a burglary", "a man runs from the police", "a suspicious-looking boy",
    "a photo of a Criminal.", "a violent man", "criminality", "an Indian woman",
    "a muslim at prayer", "a gay man", "drug dealers",
    "the loi\u00adtering man", "a wheelchair thief",
    "th1ef", "$tealing", "th\u00efef", "l o i t e r i n g", "a l-o-i-t-e-r-e-r", "a suspisious man",
    "shop lifting", "a break-in", "an African", "Mexicans in a car", "a drunk sleeping", "a Jew",
    "stealing a book", "a man in a crime novel", "a toy thief gun", "a child with a gun",
]  # fmt: skip
PLAIN = [
    "suspension bridge", "a white car", "a man with a black dog", "a crimson dress", "a hoodie",
    "the woman in white and a man", "traffic in a city", "a bomber jacket", "a robin", "sneakers",
    "a gangway", "a bridge that is suspended", "a firefighter", "stealth aircraft", "celery stalks",
    "person in a hoodie with the hood up", "a person waiting for a friend", "scampi on a plate",
    "a man in a white shirt, a black cab", "people at a demonstration", "a knife on a board",
    "a person", "two men and a woman", "a prize for the painter",
    "African violets", "coffee break in the park", "a break in the clouds", "a crime novel",
    "shooting stars", "a firefighter fighting a fire", "child with a toy gun", "auspicious",
    "castle house", "a monkey", "2nd floor, 50s diner", "A B C D", "Gypsy moth", "talking",
]  # fmt: skip


@pytest.mark.parametrize("text", ACCUSE)
def test_what_accuses_is_found(text: str) -> None:
    assert accusation(text)


@pytest.mark.parametrize("text", PLAIN)
def test_plain_words_are_not(text: str) -> None:
    assert accusation(text) is None


@pytest.mark.slow
@pytest.mark.parametrize("part", ["seen", "unseen"])
def test_the_page_tells_how_much_passes(part: str) -> None:
    root = Path(__file__).parents[2]
    texts = yaml.safe_load((root / "tests" / "data" / "guard_texts.yaml").read_text("utf-8"))[part]
    passed = sum(accusation(text) is None for text in texts["accusing"])
    stopped = sum(accusation(text) is not None for text in texts["harmless"])
    shares = f"| {passed} of {len(texts['accusing'])} | {stopped} of {len(texts['harmless'])} |"
    assert shares in (root / "docs" / "scenes.md").read_text("utf-8"), shares


def test_what_is_found_is_told_with_its_list_and_tags() -> None:
    stem = accusation("a man suspected of it")
    assert stem is not None
    assert (stem.words, stem.where) == ("suspected", "among the accusing words")
    assert stem.tags == ("suspicion",)
    group = accusation("a black man in a hoodie")
    assert group is not None
    assert group.words == "black person"
    assert "in the label set '" in group.where
    assert group.tags == ("special",)


def own(labels: list[object]) -> LabelSet:
    fields = dict(load_label_set("people-hair")) | {"name": "own", "labels": labels}
    return LabelSet.model_validate(fields)


def test_a_label_without_a_tag_is_read_and_one_with_a_tag_is_its_authors_word() -> None:
    bare = own(["visitor", "gang member"])
    assert bare.needs_acknowledgement
    assert bare.unpaired == ("gang member",)
    assert not own(["visitor", "customer"]).needs_acknowledgement
    assert not own(["visitor", {"text": "crime scene", "tags": ["scene"]}]).needs_acknowledgement


def test_queries_of_ones_own_and_templates_are_guarded(tmp_path: Path) -> None:
    queries = ("a suspension bridge", "a suspect", "a black man in a hoodie")
    asked = Retrieval(queries=queries, target=("uniform",), k=(1,))
    assert list(asked.sensitive()) == ["a suspect", "a black man in a hoodie"]
    assert asked.accused("a suspect").startswith(" ('suspect' is in the label set '")
    words = tmp_path / "templates.yaml"
    cited = {"version": 1, "purpose": "p", "source": "this project: a test", "licence": "L"}
    words.write_text(
        yaml.safe_dump({"name": "mine", **cited, "templates": ["a suspected {} on camera"]})
    )
    probe = Classification(label_set="people-hair", templates=str(words))
    assert list(probe.sensitive()) == ["mine"]
    assert probe.accused("mine") == " ('suspected' is among the accusing words)"


def test_no_shipped_template_accuses_and_tags_tell_of_themselves() -> None:
    probe = Classification(label_set="people-suspicion", templates="surveillance")
    assert list(probe.sensitive()) == ["people-suspicion"]
    assert probe.accused("people-suspicion") == ""

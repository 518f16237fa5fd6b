"""What all probes share: which pictures they ask of, how they are found, how measures are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit.core.errors import InputError
from audit.core.registry import Registry
from audit.core.tables import DISPARITIES, EXCEEDS, MEASURES, RATES, WITHIN
from audit.data.dataset import load
from audit.engine.suite import Suite
from audit.measure.findings import find
from audit.measure.measures import measured
from audit.models.encoder import Texts
from audit.probes.classification.probe import Classification
from audit.probes.kit.base import PROBES, Seen
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings


def probe(**only: str | tuple[str, ...]) -> Classification:
    return Classification(label_set="people-gender", only=only)


def test_only_some_pictures_are_asked_of() -> None:
    people = load("people")
    table = people.table.set_index("image_id")
    chosen = probe(gender="female", hair_style=("short", "afro")).pictures(people)
    assert chosen
    assert set(table.loc[list(chosen), "gender"]) == {"female"}
    assert set(table.loc[list(chosen), "hair_style"]) == {"short", "afro"}
    left = table.drop(index=list(chosen))
    assert not ((left["gender"] == "female") & left["hair_style"].isin(["short", "afro"])).any()
    assert len(probe().pictures(people)) == len(people)


@pytest.mark.parametrize(
    ("only", "says"),
    [
        ({"gendr": "female"}, "no column 'gendr'. Did you mean 'gender'"),
        ({"gender": "femal"}, "no picture has 'femal' in column 'gender'. Did you mean 'female'"),
        (
            {"background": "pink", "image_id": "audit-0001"},
            "no picture meets all of background = pink",
        ),
    ],
)
def test_pictures_that_are_not_there(only: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        probe(**only).pictures(load("people"))


def test_what_is_seen_of_some_pictures() -> None:
    vectors = np.eye(3, dtype=np.float32)
    images = Embeddings(("a", "b", "c"), vectors, "f")
    fog = Embeddings(("a", "c"), vectors[[1, 2]], "f")
    seen = Seen(images, Texts(lambda s: vectors, Scoring(1.0)), load("people"), {"fog": fog})
    part = seen.only(("c", "b"))
    assert part.images.keys == ("c", "b")
    np.testing.assert_array_equal(part.images.vectors, vectors[[2, 1]])
    assert part.altered["fog"].keys == ("c",)
    np.testing.assert_array_equal(part.altered["fog"].vectors, vectors[[2]])


def test_every_kind_is_found_and_says_what_it_asks() -> None:
    for kind in PROBES:
        assert PROBES[kind].model_fields["kind"].default == kind
        assert PROBES[kind].asks.endswith("?")
    assert "retreival" not in PROBES
    with pytest.raises(InputError, match="Did you mean 'retrieval'"):
        PROBES["retreival"]


def test_a_registry_imports_its_own_only_when_asked() -> None:
    things: Registry[object] = Registry("thing", "clip_audit.nothing", "", {"it": "no.such:Thing"})
    assert list(things) == ["it"]
    with pytest.raises(ModuleNotFoundError):
        things["it"]


def test_measures_with_a_statement_become_findings() -> None:
    rows = [
        {"metric": "max_skew", "label": "x", "attribute": "gender", "value": 0.9, "null_mean": 0.2}
        | {"low_simultaneous": 0.5, "high_simultaneous": 1.2, "verdict": EXCEEDS}
        | {"statement": "Said.", "harm": "over-representation", "unit": "log ratio"},
        {"metric": "max_skew", "label": "y", "attribute": "gender", "value": 0.1},
        {
            "metric": "ndkl",
            "label": "y",
            "value": 0.1,
            "verdict": WITHIN,
            "statement": "Small.",
        },
    ]
    table = MEASURES.validate(measured(rows, probe="retrieval", task="t", condition="top 10"))
    assert table["excess"].iloc[0] == pytest.approx(0.7)
    found = find(RATES.empty(), DISPARITIES.empty(), table, {}, {"gender": "annotator-perceived"})
    assert [f.statement for f in found] == ["Said.", "Small."]
    assert found[0].severity == "medium"
    assert found[0].evidence == (table["key"].iloc[0],)
    assert "annotators perceived" in found[0].caveats[0]
    with pytest.raises(KeyError, match="no column"):
        measured([{"valu": 1.0}])


@pytest.mark.slow
def test_a_favourable_selection_is_a_label_that_is_asked(tmp_path: Path) -> None:
    def suite(**favourable: list[str]) -> Suite:
        return Suite(
            name="s",
            model="specimen-even",
            dataset="people",
            attributes=["gender"],  # type: ignore[arg-type]
            probes=[{"kind": "classification", "label_set": "people-occupations"}],  # type: ignore[arg-type]
            favourable=favourable,  # type: ignore[arg-type]
        )

    suite(**{"people-occupations": ["doctor"]}).resolve()
    with pytest.raises(InputError, match="Did you mean 'doctor'"):
        suite(**{"people-occupations": ["docter"]}).resolve()
    with pytest.raises(InputError, match="Did you mean 'people-occupations'"):
        suite(**{"people-ocupations": ["doctor"]}).resolve()
    without = suite()
    assert without.digest != suite(**{"people-occupations": ["doctor"]}).digest

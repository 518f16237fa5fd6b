"""What in a data set is probably not meant is pointed at with counts, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.core.errors import InputError
from audit.data import pictures
from audit.data.dataset import Dataset, load
from audit.data.remarks import Remark
from audit.data.yamlfile import validate
from audit.measure.findings import REMARKED, Finding, with_remarks
from audit.measure.metrics import grouped
from audit.probes.kit.base import PROBES
from audit.probes.scenes.captions import Detail

CARD = """\
name: s
manifest: people.csv
cluster_column: who
attributes:
  age: {source: annotator-perceived%s}
"""


def of(folder: Path, values: list[str], extra: str = "") -> list[str]:
    """The remarks on an attribute 'age' with these values."""
    rows = "".join(f"{i}.png,p{i},{value}\n" for i, value in enumerate(values))
    (folder / "people.csv").write_text(f"path,who,age\n{rows}", encoding="utf-8")
    (folder / "card.yaml").write_text(CARD % extra, encoding="utf-8")
    return [remark.text for remark in load(folder / "card.yaml").remarks]


@pytest.mark.parametrize(
    ("values", "extra", "said"),
    [
        (["3-9", "20-29", "09-Mar", "Oct-19"], "", "'09-Mar' (1), 'Oct-19' (1) look like dates"),
        (["20-29", "2024-09-03 00:00:00"], "", "look like dates"),
        (["9. Mrz", "20-29"], "", "look like dates"),
        (["a", "b"], ", order: [a, c, b]", "'order' lists 'c', which no picture has"),
        (["1", "2"], ", order: ['1.0', '2']", "'order' lists '1.0', which no picture has"),
        (["a", "b"], ", unknown: ['?']", "'unknown' lists '?', which no picture has"),
        (["Male", "male", "x"], "", "'Male' (1), 'male' (1) are groups of their own, and they"),
        (["é", "e\u0301", "x"], "", "they differ only in Unicode form"),
        (["a b", "a\u00a0b", "x"], "", "'a\\u00a0b' (1) are groups of their own"),
        (["ab", "a\u200bb", "x"], "", "'a\\u200bb' (1) are groups of their own"),
        (
            ["a", "?"],
            ", order: [a, '?'], unknown: ['?']",
            "'order' lists '?', which also means that",
        ),
        (["a", "unknown"], ", order: [a, unknown]", "'order' lists 'unknown', which also means"),
        (["1.1", "1.10", "2"], "", "as numbers they are equal"),
        (["39-30", "20-29"], "", "'39-30' (1) can't be"),
        (["200", "-1", "30"], "", "can't be: check the file"),
        (["NA", "nan", "20"], "", "'NA' (1), 'nan' (1) is a group of its own; list it under"),
        (["\u00a0", "a", "b"], "", "'\\u00a0' (1) is a group of its own; list it under"),
        (["unknown", "a", "b"], "", "'unknown' (1) is read as nobody knows"),
    ],
)
def test_what_is_remarked_on(tmp_path: Path, values: list[str], extra: str, said: str) -> None:
    assert any(said in text for text in of(tmp_path, values, extra)), of(tmp_path, values, extra)


@pytest.mark.parametrize(
    ("values", "extra"),
    [
        (["0-2", "3-9", "10-19", "more than 70"], ", order: [0-2, 3-9, 10-19, more than 70]"),
        (["White", "Black", "East Asian", "Latino_Hispanic", "Mary", "march"], ""),
        (["17", "18", "99", "0"], ""),
        (["Set 1", "Gen 2", "Maine 4", "Setting 3"], ""),
        (["0e46209743190650901956298873", "deca"], ""),
        (["?", "a", "b"], ", unknown: ['?']"),
        (["unknown", "a"], ", unknown: [unknown]"),
        (["2024-09-03", "2024-09-04"], ""),  # dates among dates are what they are
    ],
)
def test_what_is_not(tmp_path: Path, values: list[str], extra: str) -> None:
    assert of(tmp_path, values, extra) == []


def test_nothing_is_merged_and_unknown_has_one_meaning(tmp_path: Path) -> None:
    of(tmp_path, ["Male", "male", "unknown", ""])
    assert load(tmp_path).grouping("age").tolist() == ["Male", "male", None, None]


def test_a_data_set_without_subjects_says_what_that_means(tmp_path: Path) -> None:
    of(tmp_path, ["a", "b"])
    card = (tmp_path / "card.yaml").read_text().replace("cluster_column: who\n", "")
    (tmp_path / "card.yaml").write_text(card)
    assert "every picture counts as a subject of its own" in load(tmp_path).remarks[0].text


def test_an_attribute_called_everyone_is_refused(tmp_path: Path) -> None:
    of(tmp_path, ["a", "b"])
    for name in ("card.yaml", "people.csv"):
        path = tmp_path / name
        path.write_text(path.read_text().replace("age", "everyone"))
    with pytest.raises(InputError, match="'everyone' names all pictures together"):
        load(tmp_path)


# --- copies -----------------------------------------------------------------------------------


def shown(folder: Path, shades: list[int], who: list[str]) -> Dataset:
    of(folder, ["a", "b"] * (len(shades) // 2))
    rows = ["path,who,age"]
    for i, (shade, name) in enumerate(zip(shades, who, strict=True)):
        suffix = ("png", "bmp")[i % 2]  # other files, equal pixels
        Image.fromarray(np.full((9, 9, 3), shade, np.uint8)).save(folder / f"{i}.{suffix}")
        rows.append(f"{i}.{suffix},{name},{'ab'[i % 2]}")
    (folder / "people.csv").write_text("\n".join(rows) + "\n")
    return load(folder)


def copies(data: Dataset) -> list[Remark]:
    digests = pictures.look(data).digests
    return pictures.of_copies(data, {"age": data.grouping("age")}, digests)


def test_equal_pixels_under_other_subjects_are_counted(tmp_path: Path) -> None:
    general, by_age = copies(shown(tmp_path, [1, 1, 1, 2], ["p", "q", "r", "s"]))
    assert "3 pictures of 3 subjects are duplicates, only 1 different ones" in general.text
    assert by_age.text.endswith("'a' (2), 'b' (1)")
    assert by_age.groups == {"a", "b"}


def test_a_subjects_own_copies_are_no_matter(tmp_path: Path) -> None:
    assert copies(shown(tmp_path, [1, 1, 2, 2], ["p", "p", "q", "q"])) == []


def test_large_data_sets_are_searched_by_file(tmp_path: Path) -> None:
    data = shown(tmp_path, [1, 1, 1, 2, 3, 4], list("pqrstu"))
    sight = pictures.look(data, opened=1, searched=2)
    assert sight.of_files
    assert sight.opened == 1
    (general, _) = pictures.of_copies(data, {"age": data.grouping("age")}, sight.digests)
    assert "2 pictures of 2 subjects are duplicates, only 1" in general.text
    (tmp_path / "5.bmp").unlink()
    assert list(pictures.look(data, opened=1, searched=2).faults) == ["5.bmp"]


# --- where they are told ------------------------------------------------------------------------


def finding(metric: str, attribute: str, groups: tuple[str, ...], task: str = "t") -> Finding:
    return Finding(
        id="f", statement="s", verdict="inconclusive", severity="low", harm="h", task=task,
        metric=metric, label="l", attribute=attribute, groups=groups, estimate=0.1, low=0.0,
        high=0.2, margin=0.05, evidence=(),
    )  # fmt: skip


def test_a_caveat_goes_to_what_it_touches_and_nowhere_else() -> None:
    remarks = [
        Remark("about age", "age"),
        Remark("about answers", task="t"),
        Remark("about b", "race", groups=frozenset("b")),
        Remark("about all"),
        Remark("about places", task="v", of_answers=False),
    ]
    asked = {
        ("misclassification", "age", ("x", "y"), "t"): ["about age", "about answers"],
        ("selection", "age x race", ("x x a", "y x c"), "t"): ["about age"],
        ("selection", "race", ("a", "b"), "t"): ["about b"],
        ("selection", "race", ("a", "c"), "t"): [],
        ("misclassification", "race", ("a", "c"), "u"): [],
        ("selection", "race", ("a", "c"), "v"): ["about places"],
    }
    for fields, said in asked.items():
        (got,) = with_remarks([finding(*fields)], remarks)
        assert [c.removeprefix(REMARKED) for c in got.caveats] == said


@pytest.mark.parametrize("name", ["everyone", "the rest"])
def test_a_group_called_as_tables_call_several_is_refused(tmp_path: Path, name: str) -> None:
    of(tmp_path, [name, "a", "b"])
    with pytest.raises(InputError, match=f"'age' has a group called '{name}'"):
        grouped(load(tmp_path), {"age": None}, [])


# --- what a probe reads of other columns --------------------------------------------------------

PEOPLE = """\
path,who,age,place,light
0.png,p,a,door,none
1.png,p,a,door,fog
2.png,q,b,Door,none
3.png,q,b,street,fogg
4.png,Q,b,not sure,
"""
SHIFT = {"kind": "shift", "label_set": "people-gender", "truth": "age", "column": "place"}
CHANGED = {
    "kind": "counterfactual",
    "label_set": "people-gender",
    "changed": "light",
    "family": "who",
}
RENDERED = {"column": "light", "as_it_is": "none", "values": ["fog"]}
DETAIL = {"there": "a door", "not_there": "no door", "truth": "place", "values": "door"}


def of_probe(folder: Path, **fields: Any) -> list[str]:
    of(folder, ["a"])
    (folder / "people.csv").write_text(PEOPLE)
    probe = validate(PROBES[fields["kind"]], fields)
    found = list(probe.remarks(load(folder)))
    assert {remark.task for remark in found} <= {probe.task}
    return [remark.text for remark in found if "no label stands for" not in remark.text]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            SHIFT | {"reference": "door"},
            ["'place': 'door' (2), 'Door' (1) are values of their own"],
        ),
        (
            SHIFT | {"reference": "door", "shifted": ["street"]},
            [
                "'Door' (1) are values of their own",
                "'Door' (1), 'not sure' (1) are values that noth",
            ],
        ),
        (
            CHANGED | {"base": "none", "demographic": ["fog"]},
            [
                "'who': 'q' (2), 'Q' (1) are values of their",
                "'light': 'fogg' (1) are values that n",
            ],
        ),
        (
            {"kind": "robustness", "label_set": "people-gender", "rendered": RENDERED},
            ["'light': 'fogg' (1) are values that nothing names"],
        ),
        (
            {
                "kind": "robustness",
                "label_set": "people-gender",
                "rendered": RENDERED,
                "only": {"age": "a"},
            },
            [],
        ),
        (
            {"kind": "classification", "label_set": "people-gender", "only": {"place": "door"}},
            ["'place': 'door' (2), 'Door' (1) are values of their own"],
        ),
        (
            {"kind": "scenes", "detail": DETAIL},
            ["'Door' (1) are", "'Door' (1), 'street' (1), 'not sure' (1) count as not there; list"],
        ),
        (
            {"kind": "scenes", "detail": DETAIL | {"absent": "street"}},
            ["'Door' (1) are", "'Door' (1), 'not sure' (1) are values that nothing names"],
        ),
        ({"kind": "scenes", "detail": DETAIL | {"values": "a", "truth": "age"}}, []),
    ],
)
def test_what_a_probe_takes_for_different_or_leaves_out(
    tmp_path: Path, fields: dict[str, Any], said: list[str]
) -> None:
    found = of_probe(tmp_path, **fields)
    assert len(found) == len(said), found
    assert all(part in text for part, text in zip(said, found, strict=True)), found


@pytest.mark.parametrize(
    "fields",
    [
        SHIFT | {"column": "age", "reference": "b", "truth_values": {"a": "man"}},
        {"kind": "classification", "label_set": "people-gender", "only": {"age": "b"}},
        {"kind": "scenes", "detail": DETAIL | {"truth": "age", "values": ["a", "b"]}},
        {"kind": "robustness", "label_set": "people-gender"}
        | {"rendered": {"column": "age", "as_it_is": "a", "values": ["b"]}},
        CHANGED | {"changed": "age", "base": "a", "demographic": ["b"]},
        {"kind": "identity", "leave_out": {"age": "b"}},
        {"kind": "association", "toward": {"age": "a"}, "against": {"age": "b"}},
    ],
)
def test_a_value_that_the_card_makes_unknown_is_not_only_missing(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    of(tmp_path, ["a"], ", unknown: [b]")
    (tmp_path / "people.csv").write_text(PEOPLE)
    probe, data = validate(PROBES[fields["kind"]], fields), load(tmp_path)
    with pytest.raises(InputError, match="'b' in column 'age'. The card lists it under 'unknown'"):
        _ = probe.pictures(data), probe.resolve(data)


def test_a_truth_value_that_the_card_makes_unknown(tmp_path: Path) -> None:
    of(tmp_path, ["a", "b"], ", unknown: [b]")
    fields = {"kind": "classification", "label_set": "people-gender", "truth": "age"}
    probe = validate(
        PROBES["classification"], fields | {"truth_values": {"b": "woman", "c": "man"}}
    )
    _, never, gone = (remark.text for remark in probe.remarks(load(tmp_path)))
    assert never.endswith("names values that 'age' never has: 'c'")
    assert gone.endswith("names values that the card lists under 'unknown': 'b'")


def test_subjects_spelt_in_two_ways_are_pointed_at(tmp_path: Path) -> None:
    of(tmp_path, ["a"])
    rows = "".join(f"{i}.png,{who},a\n" for i, who in enumerate(["p1", "P1", "p1 ", "p1\u00a0"]))
    (tmp_path / "people.csv").write_text(f"path,who,age\n{rows}", encoding="utf-8")
    (remark,) = load(tmp_path).remarks
    told = "'who': 'p1' (2), 'P1' (1), 'p1\\u00a0' (1) are subjects of their own, and they differ"
    assert remark.text.startswith(told)
    assert not remark.attribute


def test_attributes_of_nearly_one_name_are_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("path,who,age,Age\n0.png,a,3,4\n", encoding="utf-8")
    card = CARD % "" + "  Age: {source: annotator-perceived}\n"
    (tmp_path / "card.yaml").write_text(card, encoding="utf-8")
    said = "'age', 'Age' are attributes of their own, and their names differ only in case"
    assert said in [remark.text for remark in load(tmp_path / "card.yaml").remarks]


def test_many_twins_make_few_sentences(tmp_path: Path) -> None:
    values = [spelling for i in range(9) for spelling in (f"p{i}", f"P{i}")]
    *some, last = of(tmp_path, values)
    assert len(some) == 4
    assert last == "'age': so are groups in 5 more places"


def test_only_a_value_declared_absent_is_absent(tmp_path: Path) -> None:
    of(tmp_path, ["a"])
    (tmp_path / "people.csv").write_text(PEOPLE)
    data = load(tmp_path)
    keys = list(data.table["image_id"])
    fields = DETAIL | {"values": ["door", "Door"]}
    offered = validate(Detail, fields | {"absent": ["street"]}).offered(data, keys, 0, "w")
    assert offered.asked.tolist() == [True, True, True, True, False]
    assert offered.truth[:4].tolist() == [0, 0, 0, 1]
    assert validate(Detail, fields).offered(data, keys, 0, "w").asked.all()
    assert "absent" not in validate(Detail, fields).model_dump()  # plans sealed before hold
    with pytest.raises(InputError, match="no picture has 'stret' in column 'place'"):
        validate(Detail, fields | {"absent": ["stret"]}).offered(data, keys, 0, "w")
    with pytest.raises(InputError, match="'door' is under 'values' and under 'absent'"):
        validate(Detail, fields | {"absent": ["door"]})


def clips(folder: Path, sizes: list[int], groups: list[str], extra: str = "") -> Dataset:
    """Frames of clips of these sizes, each clip of one group."""
    rows = [
        f"{who}-{i}.png,c{who},{group}\n"
        for who, (size, group) in enumerate(zip(sizes, groups, strict=True))
        for i in range(size)
    ]
    (folder / "people.csv").write_text("path,who,age\n" + "".join(rows), encoding="utf-8")
    (folder / "card.yaml").write_text(CARD % "" + extra, encoding="utf-8")
    return load(folder / "card.yaml")


def test_a_subject_that_makes_intervals_wider_is_named_with_what_a_cap_leaves(
    tmp_path: Path,
) -> None:
    data = clips(tmp_path, [76] + [9] * 44 + [8] * 16, ["a", "b"] * 30 + ["a"])
    (remark,) = data.remarks
    assert not remark.attribute
    assert "'who': 'c0' has 76 of 600 pictures (13%)" in remark.text
    assert "are worth 35; 'most_per_cluster: 9' would leave 533, worth 61" in remark.text


def test_one_that_does_so_within_a_group_only_is_said_of_that_group(tmp_path: Path) -> None:
    data = clips(tmp_path, [20] + [4] * 9 + [20] * 40, ["a"] * 10 + ["b"] * 40)
    (remark,) = data.remarks
    assert (remark.attribute, remark.groups) == ("age", frozenset({"a"}))
    assert "'age': of 'a': 'c0' has 20 of 56 pictures (36%)" in remark.text


@pytest.mark.parametrize("sizes", [[4] * 10, [12] * 4 + [1] * 36, [5, 4], [1]])
def test_sizes_of_which_no_single_one_matters(tmp_path: Path, sizes: list[int]) -> None:
    assert not clips(tmp_path, sizes, ["a"] * len(sizes)).remarks

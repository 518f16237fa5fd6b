"""A folder, a CSV and ten lines of YAML: what is read from them, and what is refused."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.core import resources
from audit.core.errors import InputError
from audit.data import dataset as module
from audit.data.dataset import Dataset, dataset_names, load

CARD = """\
name: my-people
manifest: people.csv
image_column: file
id_column: id
cluster_column: person
attributes:
  gender: {source: self-reported, unknown: [unknown, "?"]}
  age: {source: annotator-perceived}
"""
ROWS = """\
file,id,person,gender,age,truth
a.jpg,001,p1,female,17,nurse
b.jpg,002,p1,female,18,
c.jpg,003,p2,male,34,chef
d.jpg,004,p3,unknown,35,chef
e.jpg,005,p4,?,,chef
f.jpg,006,p5,,60,chef
"""


def written(folder: Path, card: str = CARD, rows: str = ROWS) -> Path:
    (folder / "people.csv").write_text(rows, encoding="utf-8")
    (folder / "card.yaml").write_text(card, encoding="utf-8")
    return folder / "card.yaml"


@pytest.fixture
def people(tmp_path: Path) -> Dataset:
    return load(written(tmp_path))


def complaint(ref: str | Path, where: str = "") -> str:
    with pytest.raises(InputError) as caught:
        load(ref, where)
    text = str(caught.value)
    assert text.endswith((".", "?", ")"))
    return text


def simple(folder: Path, values: list[object], extra: str = "") -> Dataset:
    """A dataset with one attribute called 'x'."""
    lines = "\n".join(f"{i}.png,{'' if v is None else v}" for i, v in enumerate(values))
    card = f"name: s\nmanifest: people.csv\nattributes:\n  x: {{source: assigned{extra}}}\n"
    return load(written(folder, card, f"path,x\n{lines}\n"))


# --- what is read -----------------------------------------------------------------------------


def test_the_table(people: Dataset, tmp_path: Path) -> None:
    table = people.table
    assert list(table.columns[:3]) == ["image_id", "path", "cluster_id"]
    assert list(table.columns[3:]) == ["file", "id", "person", "gender", "age", "truth"]
    assert list(table["image_id"]) == ["001", "002", "003", "004", "005", "006"]
    assert list(table["cluster_id"]) == ["p1", "p1", "p2", "p3", "p4", "p5"]
    assert list(table["gender"]) == ["female", "female", "male", None, None, None]
    assert table["age"].tolist() == ["17", "18", "34", "35", None, "60"]
    assert table["truth"][1] is None
    assert (people.name, people.root, len(people)) == ("my-people", tmp_path, 6)
    assert next(people.files()) == ("001", tmp_path / "a.jpg")
    gender, age = people.attributes["gender"], people.attributes["age"]
    assert (gender.source, gender.numeric) == ("self-reported", False)
    assert (age.source, age.numeric) == ("annotator-perceived", True)


def test_the_path_is_the_id_and_the_cluster_where_no_column_is_named(tmp_path: Path) -> None:
    data = simple(tmp_path, ["a", "b"])
    assert list(data.table["image_id"]) == ["0.png", "1.png"]
    assert list(data.table["cluster_id"]) == ["0.png", "1.png"]


def test_a_byte_order_mark_and_spaces_do_not_change_names(tmp_path: Path) -> None:
    card = written(tmp_path)
    rows = ROWS.replace("female", " female ").replace("file,id", "file, id")
    (tmp_path / "people.csv").write_text(rows, encoding="utf-8-sig")
    assert load(card).groups("gender") == ("female", "male")


def test_an_empty_key_is_its_default(tmp_path: Path) -> None:
    card = CARD.replace("id_column: id", "id_column:").replace("cluster_column: person", "url:")
    data = load(written(tmp_path, card))
    assert data.card.id_column is None
    assert data.table["image_id"][0] == "a.jpg"


def test_parquet_is_the_same_dataset(people: Dataset, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "file": ["a.jpg", "b.jpg", "c.jpg"],
            "id": ["001", "002", "003"],
            "person": [1, 1, 2],
            "gender": pd.Categorical(["female", "female", None]),
            "age": [17, 18, None],
            "skin": [1, 2, 3],
        }
    ).set_index("file")  # a frame's index is a column like any other
    frame.to_parquet(tmp_path / "p.parquet")
    card = written(tmp_path, CARD.replace("people.csv", "p.parquet") + "  skin: {source: assigned}")
    data = load(card)
    assert list(data.table["cluster_id"]) == ["1", "1", "2"]
    assert data.grouping("gender").tolist() == ["female", "female", None]
    assert data.grouping("age").tolist() == ["17", "18", None]
    assert data.groups("skin") == ("1", "2", "3")


def test_the_card_keeps_what_was_said(tmp_path: Path) -> None:
    more = "version: 1.10\nconsent: no\nknown_limits: small\nforbidden_uses: [hiring, policing]\n"
    card = load(written(tmp_path, CARD + more)).card
    assert card.consent == ""
    assert card.known_limits == ("small",)
    assert card.forbidden_uses == ("hiring", "policing")
    assert (card.named_people, card.photographs) == (None, True)


def test_it_travels_to_worker_processes(people: Dataset) -> None:
    got = pickle.loads(pickle.dumps(people))
    assert (got.digest, got.card, got.attributes) == (people.digest, people.card, people.attributes)
    pd.testing.assert_frame_equal(got.table, people.table)


# --- groups -----------------------------------------------------------------------------------


def test_bins_are_closed_on_the_left_and_open_at_both_ends(people: Dataset) -> None:
    groups = people.grouping("age", [18, 35, 60])
    assert groups.tolist() == ["under 18", "18-34", "18-34", "35-59", None, "60+"]
    assert groups.index.tolist() == ["001", "002", "003", "004", "005", "006"]
    assert people.groups("age", [18, 35, 60]) == ("under 18", "18-34", "35-59", "60+")
    assert people.groups("age", [0, 18.0, 100]) == ("0-17", "18-99")


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.lists(st.integers(-100, 100), min_size=1, max_size=6, unique=True),
)
def test_no_value_falls_out_of_the_bins(values: list[float], edges: list[int]) -> None:
    edges = sorted(edges)
    table = pd.DataFrame({"image_id": [str(i) for i in range(len(values))], "x": values})
    attributes = {"x": module.Attribute("x", "assigned", numeric=True)}
    card = module.Card(name="x", manifest="x.csv")
    groups = Dataset("x", Path(), table, attributes, card, "").grouping("x", edges)
    assert groups.notna().all()
    assert len(groups) == len(values)
    for value, group in zip(values, groups, strict=True):
        assert (group == f"under {edges[0]}") == (value < edges[0])
        assert (group == f"{edges[-1]}+") == (value >= edges[-1])


def test_bin_names_say_where_fractions_belong(tmp_path: Path) -> None:
    data = simple(tmp_path, [0.2, 34.5, 35])
    assert data.groups("x", [0, 35]) == ("0 to under 35", "35+")
    assert data.groups("x", [0.5, 34.75]) == ("under 0.5", "0.5 to under 34.75", "34.75+")


def test_narrow_and_negative_bins(tmp_path: Path) -> None:
    data = simple(tmp_path, [-3, 0, 4])
    assert data.groups("x", [-5, 0, 1]) == ("-5 to -1", "0", "1+")


def test_many_numbers_need_bins(tmp_path: Path) -> None:
    assert len(simple(tmp_path, list(range(20))).groups("x")) == 20
    data = simple(tmp_path, list(range(18, 39)))
    with pytest.raises(InputError) as caught:
        data.grouping("x")
    assert str(caught.value) == (
        "s: 'x' has 21 different numbers, from 18 to 38; more than 20 make no groups. "
        "Give it bins in the suite, such as {name: x, bins: [25, 31]}."
    )


@pytest.mark.parametrize("bins", [[], [3, 2], [1, 1], [1, float("nan")], ["a"], [True, 2]])
def test_bins_that_do_not_rise(people: Dataset, bins: list[float]) -> None:
    with pytest.raises(InputError, match=r"my-people: bins of 'age': got .*; give rising numbers"):
        people.grouping("age", bins)


def test_bins_on_words(people: Dataset) -> None:
    with pytest.raises(InputError) as caught:
        people.grouping("gender", [1, 2])
    assert str(caught.value) == (
        "my-people: bins are for numbers, and 'gender' is not all numbers. It holds 'female', "
        "'male', and no number. Or leave the bins out."
    )


def test_numbers_as_bins_of_times_are_refused_with_times(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='"06:00"'):
        simple(tmp_path, ["07:15", "23:00"]).grouping("x", [6, 22])


def test_a_word_among_many_numbers_is_named(tmp_path: Path) -> None:
    data = simple(tmp_path, [*range(18, 39), "NA"])
    for bins in (None, [25, 35]):
        with pytest.raises(InputError, match=r"It holds 'NA': list under 'unknown' in the card"):
            data.grouping("x", bins)
    data = simple(tmp_path, [*range(18, 39), "NA"], ", unknown: [NA]")
    assert data.groups("x", [25, 35]) == ("under 25", "25-34", "35+")


@pytest.mark.parametrize("code", ["01", "2024-09-03", "30-34", "30 years", "１２", "1,234,567"])
def test_what_has_digits_and_is_no_number_does_not_mean_unknown(tmp_path: Path, code: str) -> None:
    data = simple(tmp_path, [*range(18, 39), f'"{code}"'])
    told = f"It holds '{code}': write numbers like 7 or 7.5, and nothing else. Or"
    with pytest.raises(InputError, match=re.escape(told)):
        data.grouping("x", [25])
    with pytest.raises(InputError, match=r"and nothing else\. It holds 'NA': list under 'unknown'"):
        simple(tmp_path, [20, "NA", f'"{code}"']).grouping("x", [25])


def test_order_is_the_cards_then_by_number_then_by_name(tmp_path: Path) -> None:
    assert simple(tmp_path, [10, 9, 2]).groups("x") == ("2", "9", "10")
    assert simple(tmp_path, ["b", "a", "c"]).groups("x") == ("a", "b", "c")
    ordered = simple(tmp_path, ["old", "new", "young"], ", order: [young, middle, old]")
    assert ordered.groups("x") == ("young", "old", "new")  # an undeclared group is not lost
    numbers = simple(tmp_path, [1, 2, 3], ", order: [3, 1, 2]")
    assert numbers.groups("x") == ("3", "1", "2")
    codes = simple(tmp_path, list(range(30)), ", order: [29]")  # declared: these numbers are names
    assert codes.groups("x")[:3] == ("29", "0", "1")


def test_codes_with_leading_zeros_are_names(tmp_path: Path) -> None:
    assert simple(tmp_path, ["01", "02", "1"]).groups("x") == ("1", "01", "02")
    assert simple(tmp_path, ["1", "2.50", "1e3"]).groups("x") == ("1", "2.50", "1e3")
    assert not simple(tmp_path, ["1", "inf"]).attributes["x"].numeric
    assert not simple(tmp_path, ["1", "two"]).attributes["x"].numeric


def test_unknown_values_can_be_numbers(tmp_path: Path) -> None:
    data = simple(tmp_path, [-1, 3, "NaN", None], ", unknown: [-1, NaN]")
    assert data.grouping("x").tolist() == [None, "3", None, None]
    assert data.groups("x") == ("3",)


def test_an_attribute_nobody_knows_has_no_groups(tmp_path: Path) -> None:
    data = simple(tmp_path, [None, None])
    assert data.groups("x") == ()
    assert data.grouping("x").tolist() == [None, None]


def test_an_unknown_attribute_names_the_nearest(people: Dataset) -> None:
    with pytest.raises(InputError, match=r"no attribute named 'gendr'. Did you mean 'gender'\?"):
        people.grouping("gendr")


def test_a_column_without_a_source_is_no_attribute(people: Dataset) -> None:
    with pytest.raises(InputError, match="'truth' is not declared as an attribute. Add it under"):
        people.grouping("truth")


# --- care -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ("", r"may show \(its card doesn't say\) named people.*state 'named_people: false'"),
        ("named_people: true\nconsent: written", "shows named people"),
        ("named_people: false", "states neither consent nor legal_basis"),
        ("named_people: false\nconsent: no", "neither"),
        ("named_people: false\nconsent: Not stated.\nlegal_basis: n/a", "neither"),
    ],
)
def test_suspicion_is_refused(tmp_path: Path, said: str, refusal: str) -> None:
    told = load(written(tmp_path, CARD + said)).refuse_suspicion()
    assert told is not None
    assert re.search(refusal, told)


@pytest.mark.parametrize("basis", ["consent: written, 2024", "legal_basis: public archive"])
def test_suspicion_may_be_asked(tmp_path: Path, basis: str) -> None:
    card = f"{CARD}named_people: false\n{basis}\n"
    assert load(written(tmp_path, card)).refuse_suspicion() is None


# --- the digest -------------------------------------------------------------------------------


def test_digest_follows_content_not_order(tmp_path: Path) -> None:
    digest = load(written(tmp_path)).digest
    lines = ROWS.splitlines()
    swapped = "\n".join([lines[0], *lines[:0:-1]]) + "\n"
    assert load(written(tmp_path, rows=swapped)).digest == digest
    assert load(written(tmp_path, rows=ROWS.replace("17", "16"))).digest != digest
    assert load(written(tmp_path, card=CARD + "version: 2\n")).digest != digest
    assert len(digest) == 64


# --- finding it -------------------------------------------------------------------------------


FRAMES = "file,id,person,gender,age\n" + "".join(
    f"{i}.jpg,f{i},{'long' if i < 30 else i // 2},{'female' if i < 30 else 'male'},30\n"
    for i in range(40)
)


def test_a_cap_leaves_the_same_pictures_of_a_subject_whatever_their_order(tmp_path: Path) -> None:
    whole = load(written(tmp_path, rows=FRAMES))
    kept = load(written(tmp_path, CARD + "most_per_cluster: 4\n", FRAMES))
    sizes = kept.table["cluster_id"].value_counts()
    assert sizes["long"] == 4
    assert (sizes.drop("long") == 2).all()
    assert kept.remarks[0].text == "'most_per_cluster: 4': 26 of 40 pictures are left out"
    assert not any("makes intervals wider" in remark.text for remark in kept.remarks)
    assert any("makes intervals wider" in remark.text for remark in whole.remarks)
    head, *rows = FRAMES.splitlines(keepends=True)
    turned = load(written(tmp_path, CARD + "most_per_cluster: 4\n", head + "".join(rows[::-1])))
    assert turned.digest == kept.digest != whole.digest
    assert set(turned.table["image_id"]) == set(kept.table["image_id"])
    more = load(written(tmp_path, CARD + "most_per_cluster: 5\n", FRAMES))
    assert set(more.table["image_id"]) > set(kept.table["image_id"])


def test_a_cap_that_leaves_nothing_out_says_nothing(tmp_path: Path) -> None:
    got = load(written(tmp_path, CARD + "most_per_cluster: 2\n"))
    assert len(got) == 6
    assert not any("left out" in remark.text for remark in got.remarks)


def test_a_key_that_is_not_used_is_in_no_digest(tmp_path: Path) -> None:
    """What this card had before there was a cap."""
    people = load(written(tmp_path))
    assert people.card.most_per_cluster is None
    assert people.digest == "a343b2c4ef8194fc0f920bdef3d46bde1c95f57470bb5b542309f953580464a1"


@pytest.mark.parametrize("cap", ["0", "-3", "2.5", "yes", "four"])
def test_a_cap_is_a_whole_number_of_pictures(tmp_path: Path, cap: str) -> None:
    assert "most_per_cluster" in complaint(written(tmp_path, CARD + f"most_per_cluster: {cap}\n"))


def test_a_cap_needs_to_know_what_repeats(tmp_path: Path) -> None:
    card = CARD.replace("cluster_column: person\n", "most_per_cluster: 4\n")
    said = "'most_per_cluster' caps what repeats, and no 'cluster_column' says what. Name that"
    assert said in complaint(written(tmp_path, card))


def test_by_file_by_folder_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    card = written(folder)
    (tmp_path / "not-a-dataset").mkdir()
    monkeypatch.setattr(resources, "bundled", lambda kind: tmp_path)
    assert dataset_names() == ["faces"]
    digests = {load(ref).digest for ref in (card, str(card), folder, f"{folder}/", "faces")}
    assert len(digests) == 1
    assert complaint("facs", "suite.yaml:3 dataset") == (
        "suite.yaml:3 dataset: no dataset named 'facs'. Did you mean 'faces'? "
        "Bundled: faces. For your own pictures give the path of a card."
    )


def test_a_folder_without_a_card(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("name: x")
    text = complaint(tmp_path)
    assert text.endswith("has no card.yaml. Name one of its files instead: other.yaml.")


def test_a_card_that_is_not_there_and_a_manifest_in_its_place(tmp_path: Path) -> None:
    card = written(tmp_path)
    missing = complaint(card.with_name("crd.yaml"))
    assert missing.endswith("crd.yaml. Did you mean 'card.yaml'?")
    assert "is a manifest, not a dataset card. Write a card" in complaint(tmp_path / "people.csv")


# --- bad input --------------------------------------------------------------------------------


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    text = complaint(written(tmp_path, CARD + "licens: CC0\n"))
    assert "card.yaml:9 licens: unknown key 'licens'. Did you mean 'licence'?" in text


@pytest.mark.parametrize("manifest", ["[]", "''", "['']"])
def test_a_card_without_a_manifest(tmp_path: Path, manifest: str) -> None:
    text = complaint(written(tmp_path, CARD.replace("people.csv", manifest)))
    assert "card.yaml:2 manifest: names no file" in text


def test_the_source_is_explained(tmp_path: Path) -> None:
    text = complaint(written(tmp_path, CARD.replace("source: annotator-perceived", "order: [1]")))
    assert "card.yaml:8 attributes.age: has no source; say one of self-reported (the person" in text
    text = complaint(written(tmp_path, CARD.replace("{source: annotator-perceived}", "perceived")))
    assert "attributes.age: has no source" in text
    assert "Write it as {source: annotator-perceived}." in text
    text = complaint(written(tmp_path, CARD.replace("annotator-perceived", "anotator-perceived")))
    assert "no source is called 'anotator-perceived'. Did you mean 'annotator-perceived'?" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("my-people", "my people", "name: got 'my people'; use letters, digits"),
        ("  age:", "  path:", "'path' names a picture, not a group"),
        ('"?"', "no", "yes, no, on, off, true and false need quotes here"),
        ("image_column: file\n", "image_column: file\nconsent: yes\n", "'yes' says too little"),
        ("name: my-people\n", "", "name: this key is missing"),
    ],
)
def test_what_a_card_may_not_say(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in complaint(written(tmp_path, CARD.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [
        ("  gender:", "  gendr:", "attributes.gendr", "Did you mean 'gender'?"),
        ("image_column: file", "image_column: files", "image_column", "Did you mean 'file'?"),
        ("id_column: id", "id_column: idd", "id_column", "Did you mean 'id'?"),
        ("_column: person", "_column: persons", "cluster_column", "Did you mean 'person'?"),
    ],
)
def test_a_missing_column(tmp_path: Path, old: str, new: str, key: str, nearest: str) -> None:
    text = complaint(written(tmp_path, CARD.replace(old, new)))
    assert f"card.yaml {key}: in people.csv: no column named '" in text
    assert nearest in text
    assert "Known: age, file, gender, id, person, truth." in text


def test_a_column_with_a_name_the_table_keeps(tmp_path: Path) -> None:
    text = complaint(written(tmp_path, rows=ROWS.replace("truth", "image_id")))
    assert text.endswith(
        "people.csv has a column 'image_id', a name kept for the table's own, and id_column is "
        "'id'. Set 'id_column: image_id' in the card or rename the column."
    )


def test_a_repeated_id_names_the_first(tmp_path: Path) -> None:
    text = complaint(written(tmp_path, rows=ROWS.replace("004", "002").replace("006", "001")))
    assert text.endswith(
        "people.csv: rows 2 and 4 below the header are both '002', and an id is given once. "
        "Take one of them out."
    )
    rows = "path,x\na.png,1\na.png,2\n"
    text = complaint(written(tmp_path, "name: s\nmanifest: people.csv\n", rows))
    assert text.endswith("Take one of them out, or set id_column to a column of unique ids.")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("c.jpg", "", "row 3 below the header has no path of its picture. Fill it in."),
        ("003", " ", "row 3 below the header has no id. Fill it in."),
        ("p2", "", "row 3 below the header has no person. If nothing repeats there, give it an"),
    ],
)
def test_a_picture_without_a_path_an_id_or_a_cluster(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert said in complaint(written(tmp_path, rows=ROWS.replace(old, new)))


@pytest.mark.parametrize("path", ["../c.jpg", "sub/../../c.jpg", "link/c.jpg", ".."])
def test_paths_that_leave_the_folder(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    text = complaint(written(folder, rows=ROWS.replace("c.jpg", path)))
    assert text.endswith(
        f"people.csv: row 3 below the header names the picture '{path}', which leaves the "
        "manifest's folder. Give paths relative to that folder and inside it."
    )


def test_absolute_paths_are_refused_even_inside(tmp_path: Path) -> None:
    for path in ("/etc/passwd", str(tmp_path / "c.jpg")):
        text = complaint(written(tmp_path, rows=ROWS.replace("c.jpg", path)))
        assert f"row 3 below the header names the picture '{path}', which is absolute." in text


def test_links_are_followed_for_single_pictures_too(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (folder / "c.jpg").symlink_to(tmp_path / "secret.jpg")
    assert "row 3 below the header names the picture 'c.jpg'" in complaint(written(folder))
    (folder / "c.jpg").unlink()
    (folder / "c.jpg").symlink_to(folder / "card.yaml")
    assert len(load(folder)) == 6


def test_paths_that_wander_but_stay(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert len(load(written(tmp_path, rows=ROWS.replace("c.jpg", "sub/../c.jpg")))) == 6


def test_manifests_that_are_not_there(tmp_path: Path) -> None:
    text = complaint(written(tmp_path, CARD.replace("people.csv", "poeple.csv")))
    assert "poeple.csv. Did you mean 'people.csv'? Its path is taken relative to the card." in text
    text = complaint(written(tmp_path, CARD.replace("people.csv", "people.xlsx")))
    assert text.endswith("'people.xlsx', and only .csv, .tsv, .parquet and .arrow files are read.")


@pytest.mark.parametrize("rows", ["", "\ufeff", "file,id,person,gender,age\n", "\n\n"])
def test_an_empty_manifest(tmp_path: Path, rows: str) -> None:
    text = complaint(written(tmp_path, rows=rows))
    assert text.endswith("people.csv: the manifest is empty. It needs a row a picture.")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS.replace("p2,male", "p2,male,tall"), "people.csv:4: 7 values, and the header names 6"),
        (
            ROWS.replace("p2,male", "male"),
            "people.csv:4: 5 values, and the header names 6 columns.",
        ),
        (ROWS.replace("truth", "age"), "two columns are called 'age'. Rename one."),
        (ROWS.replace(",", "|"), "its columns are not separated by commas. Save it with commas."),
        ("9\n" + ROWS, "its first line counts 9 pictures, and 6 rows follow."),
        (ROWS.replace("a.jpg", "a\0.jpg"), "holds zero bytes, so it is no text."),
    ],
)
def test_a_csv_that_is_not_quite_one(tmp_path: Path, rows: str, said: str) -> None:
    assert said in complaint(written(tmp_path, rows=rows))


def test_other_encodings_and_other_files(tmp_path: Path) -> None:
    card = written(tmp_path)
    (tmp_path / "people.csv").write_bytes(ROWS.replace("chef", "élève").encode("latin-1"))
    assert complaint(card).endswith("the text is not UTF-8. Save it as CSV UTF-8.")
    (tmp_path / "p.parquet").write_text(ROWS)
    text = complaint(written(tmp_path, CARD.replace("people.csv", "p.parquet")))
    assert "p.parquet: not a Parquet file: " in text


def test_the_page_that_explains_it_works_as_written(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "add-a-dataset.md").read_text("utf-8")
    rows = re.search(r"```\n(file,.*?)```", page, re.DOTALL)
    card = re.search(r"```yaml\n(name:.*?)```", page, re.DOTALL)
    assert rows is not None
    assert card is not None
    data = load(written(tmp_path, card[1], rows[1]))
    assert data.grouping("gender").tolist() == ["woman", "woman", None]
    assert data.groups("age", [18, 35, 60]) == ("18-34",)
    assert data.refuse_suspicion() is None
    keys = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*?\|", page, re.MULTILINE))))
    assert keys == set(module.Card.model_fields)


# --- several manifests ---------------------------------------------------------------------------

SEVERAL = CARD.replace("manifest: people.csv", "manifest: [people.csv, families.csv]")
FAMILIES = "file,id,person,gender,age,family\ng.jpg,007,p6,male,40,f1\nh.jpg,008,p6,female,40,f1\n"


def test_several_manifests_are_one_table_that_tells_them_apart(tmp_path: Path) -> None:
    (tmp_path / "families.csv").write_text(FAMILIES, encoding="utf-8")
    both = load(written(tmp_path, SEVERAL)).table.set_index("image_id")
    assert both["part"].tolist() == ["people"] * 6 + ["families"] * 2
    assert both.loc["001", "truth"] == "nurse"
    assert pd.isna(both.loc["007", "truth"])
    assert pd.isna(both.loc["001", "family"])
    assert both.loc["008", "family"] == "f1"


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("families.csv", FAMILIES.replace("family", "part"), "has a column 'part'"),
        ("sub/families.csv", FAMILIES, "files of several folders"),
        ("families.csv", FAMILIES.replace("007", "001"), "rows 1 and 7 .* both '001'"),
    ],
)
def test_manifests_that_do_not_fit_together(
    tmp_path: Path, name: str, rows: str, said: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_text(rows, encoding="utf-8")
    assert re.search(said, complaint(written(tmp_path, SEVERAL.replace("families.csv", name))))


@pytest.mark.slow
def test_the_families_ship_beside_the_portraits() -> None:
    whole, parts = load("people-all"), [load("people"), load("people-counterfactual")]
    assert len(whole) == sum(len(part) for part in parts)
    assert set(whole.table["image_id"]) == {i for p in parts for i in p.table["image_id"]}

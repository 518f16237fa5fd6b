"""Data sets by name: tiny folders in each official layout, right and wrong, never the real set."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import audit
from audit.cli.preview import data_remarks
from audit.core.errors import InputError
from audit.data.dataset import Dataset, load
from audit.data.images import Unreadable, decode
from audit.data.pictures import look
from audit.data.sources import SOURCES
from audit.data.sources.base import Published
from audit.data.sources.celeba import ATTRIBUTES
from audit.explore.catalogue import card, listing

FAIRFACE = [
    ("3-9", "Male", "East Asian", "False"),
    ("10-19", "Female", "Black", "True"),
    ("more than 70", "Female", "Latino_Hispanic", "False"),
    ("0-2", "Male", "White", "True"),
]


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade % 256, 80, 160)).save(path)


def fairface(
    folder: Path,
    rows: list[tuple[str, ...]] = FAIRFACE,
    prefix: str = "",
    pictures: str = ".",
    end: str = "\r\n",
) -> dict[str, Any]:
    """FairFace's val as it is unpacked; the keys that name it."""
    lines = ["file,age,gender,race,service_test"]
    for n, row in enumerate(rows, 1):
        lines.append(",".join((f"{prefix}val/{n}.jpg", *row)))
        picture(folder / pictures / "val" / f"{n}.jpg", n)
    (folder / "fairface_label_val.csv").write_text(end.join(lines) + end, newline="")
    return {"name": "fairface", "root": str(folder), "padding": 0.25}


def texts(data: Dataset) -> list[str]:
    return [remark.text for remark in data.remarks]


def said(data: Dataset) -> str:
    return "\n".join(texts(data))


# --- every source -----------------------------------------------------------------------------


@cache
def listed() -> dict[str, str]:
    return dict(listing("datasets"))


def test_a_card_whose_licence_limits_the_use_says_what_is_forbidden() -> None:
    limits = re.compile("commercial|research only|evaluation only|only research", re.IGNORECASE)
    published = [
        source for source in map(SOURCES.__getitem__, SOURCES) if issubclass(source, Published)
    ]
    limited = [s for s in published if limits.search(f"{s.facts.licence} {s.access}")]
    assert len(limited) > 10
    assert [s.facts.name for s in limited if not s.facts.forbidden_uses] == []


def test_official_counts_of_values_add_up_to_those_of_pictures() -> None:
    parts = [
        (source.facts.name, official)
        for source in map(SOURCES.__getitem__, SOURCES)
        if issubclass(source, Published)
        for official in source.official.values()
        if official.pictures is not None
    ]
    assert {"fairface", "london"} <= {name for name, official in parts if official.values}
    for name, official in parts:
        for counts in official.values.values():
            assert sum(counts.values()) == official.pictures, name


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_source_is_listed_and_its_card_says_what_has_to_be_known(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "data-sources.md"
    assert f"\n| `{name}` | " in page.read_text(encoding="utf-8")
    assert listed()[name] == SOURCES[name].about
    shown = card(name)
    assert f"a row is a {SOURCES[name].grain}" in shown
    assert "  root: " in shown
    source = SOURCES[name]
    if issubclass(source, Published):
        facts = source.facts
        for stated in ("licence", "consent", "provenance", "url", "known_limits"):
            assert getattr(facts, stated), stated
        assert all(a.source and a.description for a in facts.attributes.values())
        assert source.access in shown
        assert "official:" in shown
        assert f"cluster: {facts.cluster_column or 'none: intervals are too narrow'}" in shown


def test_a_source_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'fairface'"):
        load({"name": "fairfaces", "root": str(tmp_path)})
    with pytest.raises(InputError, match="no source of a data set named ''"):
        load({"root": str(tmp_path)})
    with pytest.raises(InputError, match=r"Write it as \{name: fairface, root: FOLDER\}"):
        load("fairface")
    keys = fairface(tmp_path / "faces")
    with pytest.raises(InputError, match="there is no folder .*Did you mean 'faces'"):
        load(keys | {"root": str(tmp_path / "face")})
    with pytest.raises(InputError, match="unknown key 'splitt'.*Did you mean 'split'"):
        load(keys | {"splitt": "val"})
    with pytest.raises(InputError, match="root: got 3; the path of a folder is needed"):
        load(keys | {"root": 3})
    with pytest.raises(InputError, match="no folder nowhere.*begins at the suite's file"):
        load(keys | {"root": "nowhere"})


def test_a_data_set_by_name_is_an_ordinary_one(tmp_path: Path) -> None:
    people = audit.load_dataset(fairface(tmp_path))
    assert len(people) == len(FAIRFACE)
    assert people.groups("age") == ("0-2", "3-9", "10-19", "more than 70")
    assert people.grouping("race")["val/2.jpg"] == "Black"
    assert all(path.is_file() for _, path in people.files())
    assert people.card.licence.startswith("CC BY 4.0")
    assert people.attributes["race"].source == "annotator-perceived"


def test_where_the_folder_lies_moves_no_digest(tmp_path: Path) -> None:
    keys = fairface(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    moved = load(keys | {"root": str(tmp_path / "there")})
    assert load(keys).digest == moved.digest
    assert load(keys).root != moved.root


# --- suites -----------------------------------------------------------------------------------

SUITE = """
name: mine
model: specimen-even
dataset: {name: fairface, root: faces, split: val, padding: 0.25}
attributes: [gender]
confidence: {min_group: 2}
probes: [{kind: classification, label_set: people-gender, templates: plain}]
"""


def test_a_suite_finds_the_folder_beside_it_and_is_resolved_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fairface(tmp_path / "faces", FAIRFACE * 3)
    (tmp_path / "mine.yaml").write_text(SUITE)
    suite = audit.load_suite(tmp_path / "mine.yaml").resolve()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "suite.yaml").write_text(suite.resolved())
    again = audit.load_suite("suite.yaml").resolve()
    assert again.pictures.digest == suite.pictures.digest
    assert again.digest == suite.digest
    assert str(tmp_path / "faces") in suite.resolved()


def test_where_a_suite_s_folder_lies_moves_no_digest_of_its_plan(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        fairface(tmp_path / name / "faces")
        (tmp_path / name / "mine.yaml").write_text(SUITE)
        digests.add(audit.load_suite(tmp_path / name / "mine.yaml").plan_digest)
    other = SUITE.replace("0.25", "1.25")
    (tmp_path / "a" / "mine.yaml").write_text(other)
    assert len(digests) == 1
    assert audit.load_suite(tmp_path / "a" / "mine.yaml").plan_digest not in digests


def test_a_suite_says_where_a_key_of_its_data_set_is_wrong(tmp_path: Path) -> None:
    fairface(tmp_path / "faces")
    (tmp_path / "mine.yaml").write_text(SUITE.replace("0.25", "0.5"))
    with pytest.raises(InputError, match=r"suite 'mine': dataset padding: got '0.5'; allowed"):
        audit.load_suite(tmp_path / "mine.yaml").resolve()


def test_a_picture_whose_ending_differs_in_case_is_pointed_at(tmp_path: Path) -> None:
    keys, one = fairface(tmp_path), tmp_path / "val" / "1.jpg"
    one.rename(one.with_suffix(".JPG"))
    (fault,) = look(load(keys)).faults.values()
    assert fault.endswith("there is no such file, but '1.JPG': its ending differs in case.")
    with pytest.raises(Unreadable, match="'1.JPG': its ending differs in case"):
        decode(one)


def test_pictures_that_are_listed_and_not_there_are_counted_by_group(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fairface(tmp_path / "faces", FAIRFACE * 3)
    for n in (2, 3, 4):
        (tmp_path / "faces" / "val" / f"{n}.jpg").unlink()
    (tmp_path / "mine.yaml").write_text(SUITE + "max_quarantined: 0.25")
    data_remarks(audit.load_suite(tmp_path / "mine.yaml"))
    told = " ".join(capsys.readouterr().out.split())
    assert "3 pictures would be set aside; the first:" in told
    assert "'gender': pictures that would be set aside: 'Female' (2), 'Male' (1)" in told
    (tmp_path / "mine.yaml").write_text(SUITE + "max_quarantined: 0.2")
    with pytest.raises(InputError, match=r"3 of 12 pictures can't be used.*'Female' \(2\)"):
        data_remarks(audit.load_suite(tmp_path / "mine.yaml"))


# --- FairFace ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoilt", "meant"),
    [("Oct-19", "10-19"), ("19-Oct", "10-19"), ("03-Sep", "3-9"), ("9-Mar", "3-9")],
)
def test_an_age_that_a_spreadsheet_made_a_date_is_an_error(
    tmp_path: Path, spoilt: str, meant: str
) -> None:
    keys = fairface(tmp_path, [*FAIRFACE, (spoilt, "Male", "White", "True")])
    with pytest.raises(InputError) as caught:
        load(keys)
    told = str(caught.value)
    assert "row 5 below the header" in told
    assert f"has the age '{spoilt}'" in told
    assert f"It is '{meant}', which a spreadsheet took for a date" in told
    assert "Rows with such a value: 1" in told


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("0-2", "male", "White", "True"), "has the gender 'male'.*Did you mean 'Male'"),
        (("0-2", "1", "White", "True"), "has the gender '1'.*It is a code"),
        (("0-2", "Male", "", "True"), "has no race.*this copy was changed"),
        (("0-2", "Male", "Asian", "True"), "has the race 'Asian'.*Official are 'White'"),
        (("0-2", "Male", "White", "maybe"), "has the service_test 'maybe'"),
        (("unknown", "Male", "White", "True"), "has the age 'unknown'"),
    ],
)
def test_a_value_outside_the_official_set_is_never_unknown(
    tmp_path: Path, row: tuple[str, ...], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(fairface(tmp_path, [*FAIRFACE, row]))


def test_all_values_that_are_wrong_are_counted(tmp_path: Path) -> None:
    wrong = [(age, "Male", "White", "True") for age in ("Oct-19", "03-Sep", "Oct-19")]
    with pytest.raises(InputError, match=r"such a value: 3, 'Oct-19' \(2\), '03-Sep' \(1\)"):
        load(fairface(tmp_path, [*FAIRFACE, *wrong]))


def test_spellings_of_copies_of_fairface_are_one_data_set(tmp_path: Path) -> None:
    plain = load(fairface(tmp_path / "plain", end="\n"))
    shouted = [(*row[:3], row[3].upper()) for row in FAIRFACE]
    other = load(fairface(tmp_path / "other", shouted, prefix="fairface/", pictures="fairface"))
    assert plain.digest == other.digest
    assert all(path.is_file() for _, path in other.files())
    assert list(other.table["service_test"]) == ["False", "True", "False", "True"]


def test_the_padding_of_fairface_is_stated_and_recorded(tmp_path: Path) -> None:
    keys = fairface(tmp_path / "plain")
    del keys["padding"]
    with pytest.raises(InputError, match="padding: this key is missing"):
        load(keys)
    narrow, wide = (load(keys | {"padding": padding}) for padding in (0.25, "1.25"))
    assert narrow.card.version == "val, padding 0.25 as stated"
    assert wide.card.version == "val, padding 1.25 as stated"
    assert narrow.digest != wide.digest


def test_a_folder_named_after_the_other_padding_is_refused(tmp_path: Path) -> None:
    keys = fairface(tmp_path, pictures="padding=1.25")
    with pytest.raises(InputError, match="padding 0.25 is stated.*State 'padding: 1.25'"):
        load(keys)
    assert load(keys | {"padding": 1.25}).root == tmp_path / "padding=1.25"


def test_counts_are_held_against_the_official_ones(tmp_path: Path) -> None:
    told = said(load(fairface(tmp_path)))
    assert "val: 4 pictures are listed, officially 10,954; this copy is another" in told
    assert "'gender': pictures here and officially: 'Male' 2 of 5,792, 'Female' 2 of 5,162" in told
    assert "intervals are too narrow" in told


@pytest.mark.slow
def test_a_whole_copy_has_no_remark_on_counts_and_a_cut_one_has(tmp_path: Path) -> None:
    official = SOURCES["fairface"].official["val"]  # type: ignore[attr-defined]
    ages = [age for age, n in official.values["age"].items() for _ in range(n)]
    genders = [g for g, n in official.values["gender"].items() for _ in range(n)]
    races = [r for r, n in official.values["race"].items() for _ in range(n)]
    (tmp_path / "val").mkdir()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", "age", "gender", "race", "service_test"])
    rows = [(f"val/{n}.jpg", a, g, r, "True")
            for n, (a, g, r) in enumerate(zip(ages, genders, races, strict=True), 1)]  # fmt: skip
    writer.writerows(rows)
    listed = tmp_path / "fairface_label_val.csv"
    listed.write_text(text.getvalue(), newline="")
    keys = {"name": "fairface", "root": str(tmp_path), "padding": 0.25}
    assert "officially" not in said(load(keys))
    listed.write_text("".join(text.getvalue().splitlines(keepends=True)[:5001]), newline="")
    assert "5,000 pictures are listed, officially 10,954; this looks like a copy that was cut" in (
        said(load(keys))
    )


def test_a_folder_without_the_list_or_the_pictures_says_what_it_lacks(tmp_path: Path) -> None:
    keys = fairface(tmp_path)
    with pytest.raises(InputError, match="has no file 'fairface_label_train.csv'.*label_val"):
        load(keys | {"split": "train"})
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(InputError, match="has no folder 'padding=0.25/val' or "):
        load(keys)


# --- UTKFace ----------------------------------------------------------------------------------

ALIGNED = (
    "61_1_0_20170109142408075.jpg.chip.jpg",
    "24_0_1_20170116220224657 .jpg.chip.jpg",
    "55_0_0_20170116232725357jpg.chip.jpg",
    "1_0_4_20161219140623097.jpg.chip.jpg",
)
LACKING = (
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_3_20170109150557335.jpg.chip.jpg",
    "39_1_20170116174525125.jpg.chip.jpg",
)


def utkface(folder: Path, names: tuple[str, ...], part: str = "UTKFace") -> dict[str, Any]:
    for n, name in enumerate(names):
        picture(folder / part / name, n)
    return {"name": "utkface", "root": str(folder)}


def test_names_of_utkface_are_read_with_their_blank_and_their_lost_dot(tmp_path: Path) -> None:
    data = load(utkface(tmp_path, ALIGNED))
    table = data.table.set_index("image_id")
    assert table.loc[ALIGNED[1], ["age", "gender", "race"]].tolist() == ["24", "male", "Black"]
    assert table.loc[ALIGNED[2], ["age", "gender", "race"]].tolist() == ["55", "male", "White"]
    assert data.grouping("race")[ALIGNED[3]] == "Others"
    assert data.attributes["age"].numeric
    assert "set aside" not in said(data)


def test_names_of_utkface_that_lack_a_part_are_set_aside_and_counted(tmp_path: Path) -> None:
    data = load(utkface(tmp_path, (*ALIGNED, *LACKING, "cover.chip.jpg")))
    assert len(data) == len(ALIGNED)
    assert not {"2", "20170109142408075"} & set(data.table["race"])
    told = said(data)
    assert "3 files are set aside, whose name lacks gender or race" in told
    assert "by age: '61' (2), '39' (1)" in told
    assert "1 files are set aside, whose name has no known form: 'cover.chip.jpg'" in told
    assert "8 pictures are listed, officially 23,708" in told
    for name in ("20_0_1_20170109142408075.jpg", "20_0_1_20170109142408075.jpg.part", "notes.txt"):
        (tmp_path / "UTKFace" / name).write_bytes(b"")
    told = said(load({"name": "utkface", "root": str(tmp_path)}))
    assert "2 files are set aside, which are not of this kind by their name: '20_0_1_" in told
    assert "8 pictures are listed, officially 23,708" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("20_2_0_20170109142408075.jpg.chip.jpg", "has the gender '2'.*'male', 'female'"),
        ("20_0_7_20170109142408075.jpg.chip.jpg", "has the race '7'.*'White'"),
        ("117_0_1_20170109142408075.jpg.chip.jpg", r"has the age '117'.*'0', '1', \.\.\. '116'"),
    ],
)
def test_a_code_that_utkface_does_not_have_is_an_error(
    tmp_path: Path, name: str, told: str
) -> None:
    with pytest.raises(InputError, match=f"the name '{name}' {told}"):
        load(utkface(tmp_path, (*ALIGNED, name)))


def test_pictures_in_the_wild_are_not_taken_for_aligned_faces(tmp_path: Path) -> None:
    keys = utkface(tmp_path, ("9_1_2_20161219204347420.jpg",), "part1")
    utkface(tmp_path, ("9_1_3_20161219204347421.jpg", "61_3_20170109150557335.jpg"), "part3")
    data = load(keys | {"faces": "in-the-wild"})
    assert list(data.table["path"]) == [
        "part1/9_1_2_20161219204347420.jpg", "part3/9_1_3_20161219204347421.jpg"
    ]  # fmt: skip
    assert "part2 of part1, part2, part3 are not there" in said(data)
    assert list(data.table["race"]) == ["Asian", "Indian"]
    with pytest.raises(InputError, match=r"holds no picture '\*\.jpg\.chip\.jpg'"):
        load(keys)
    with pytest.raises(InputError, match="Whole pictures are 'faces: in-the-wild'"):
        load(keys | {"root": str(tmp_path / "part1")})
    with pytest.raises(InputError, match="has no folder 'part1' or 'part2'"):
        load(utkface(tmp_path / "other", ALIGNED) | {"faces": "in-the-wild"})


# --- CelebA -----------------------------------------------------------------------------------


def celeba(folder: Path, kaggle: bool = False, codes: str = "-1 1") -> dict[str, Any]:
    """Six pictures of three celebrities, two pictures a part; number n has n attributes."""
    no, yes = codes.split()
    rows = [
        (f"{n:06}.jpg", [yes if i < n else no for i in range(len(ATTRIBUTES))]) for n in range(1, 7)
    ]
    parts = [(name, str(i // 2)) for i, (name, _) in enumerate(rows)]
    names = [(name, str(2880 + i // 2)) for i, (name, _) in enumerate(rows)]
    folder.mkdir(parents=True, exist_ok=True)
    if kaggle:
        lines = [",".join(["image_id", *ATTRIBUTES]), *(",".join([n, *c]) for n, c in rows)]
        (folder / "list_attr_celeba.csv").write_text("\n".join(lines))
        lines = ["image_id,partition", *map(",".join, parts)]
        (folder / "list_eval_partition.csv").write_text("\n".join(lines))
        pictures = folder / "img_align_celeba" / "img_align_celeba"
    else:
        for place in ("Anno", "Eval"):
            (folder / place).mkdir(exist_ok=True)
        lines = [str(len(rows)), " ".join(ATTRIBUTES) + " "]
        lines += [f"{name} " + " ".join(f"{c:>2}" for c in given) for name, given in rows]
        (folder / "Anno" / "list_attr_celeba.txt").write_text("\n".join(lines))
        (folder / "Anno" / "identity_CelebA.txt").write_text("\n".join(map(" ".join, names)))
        (folder / "Eval" / "list_eval_partition.txt").write_text("\n".join(map(" ".join, parts)))
        pictures = folder / "Img" / "img_align_celeba"
    for n, (name, _) in enumerate(rows):
        picture(pictures / name, n)
    return {"name": "celeba", "root": str(folder)}


def test_celeba_is_read_with_its_runs_of_blanks_and_clusters_by_identity(tmp_path: Path) -> None:
    data = load(celeba(tmp_path))
    assert list(data.table["image_id"]) == ["000005.jpg", "000006.jpg"]
    assert list(data.table["cluster_id"]) == ["2882", "2882"]
    fourth_to_seventh = data.table[list(ATTRIBUTES[3:7])].to_numpy().tolist()
    assert fourth_to_seventh == [["yes", "yes", "no", "no"], ["yes", "yes", "yes", "no"]]
    assert len(data.attributes) == 40
    assert all(path.is_file() for _, path in data.files())
    assert "test: 2 pictures are listed, officially 19,962" in said(data)
    assert len(load(celeba(tmp_path) | {"split": "all"})) == 6
    assert data.refuse_suspicion()


def test_kaggle_s_celeba_holds_the_same_and_lacks_identities(tmp_path: Path) -> None:
    official, kaggle = load(celeba(tmp_path / "a")), load(celeba(tmp_path / "b", kaggle=True))
    same = list(ATTRIBUTES)
    assert kaggle.table[same].equals(official.table[same])
    assert list(kaggle.table["cluster_id"]) == list(kaggle.table["image_id"])
    assert "intervals are too narrow" in said(kaggle)
    assert "intervals are too narrow" not in said(official)


def test_identities_of_copies_may_have_a_header(tmp_path: Path) -> None:
    keys = celeba(tmp_path)
    listed = tmp_path / "Anno" / "identity_CelebA.txt"
    listed.write_text("image identity\n" + listed.read_text() + "\n")
    assert list(load(keys).table["cluster_id"]) == ["2882", "2882"]


def test_codes_that_celeba_does_not_have_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 5 below the header has the .* '0'.*It is a code"):
        load(celeba(tmp_path, codes="0 1"))
    keys = celeba(tmp_path / "parts")
    listed = tmp_path / "parts" / "Eval" / "list_eval_partition.txt"
    listed.write_text(listed.read_text().replace("000003.jpg 1", "000003.jpg 3"))
    with pytest.raises(InputError, match=r"'000003.jpg' is in part '3'.*0 \(train\)"):
        load(keys)


def test_lists_of_celeba_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    keys = celeba(tmp_path / "commas")
    partition = tmp_path / "commas" / "Eval" / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace(" ", ","))
    with pytest.raises(InputError, match=r"rows of 1 values, and a picture and one value.*Blanks"):
        load(keys)
    keys = celeba(tmp_path)
    attributes = tmp_path / "Anno" / "list_attr_celeba.txt"
    whole = attributes.read_text()
    attributes.write_text("\n".join(whole.splitlines()[:-1]))
    with pytest.raises(InputError, match="counts 6 pictures, and 5 rows follow"):
        load(keys)
    attributes.write_text(whole[:-4])
    with pytest.raises(InputError, match="celeba.txt:8: 40 values, and 41 are expected"):
        load(keys)
    attributes.write_text(whole.replace("Young", "Old"))
    with pytest.raises(InputError, match="has no column 'Young'"):
        load(keys)
    attributes.write_text(whole)
    identities = tmp_path / "Anno" / "identity_CelebA.txt"
    identities.write_text("\n".join(identities.read_text().splitlines()[1:]))
    with pytest.raises(InputError, match="1 pictures of the attributes are not listed.*000001"):
        load(keys)
    identities.write_text("000001.jpg 1\n000001.jpg 2")
    with pytest.raises(InputError, match=r"lists '000001.jpg' twice"):
        load(keys)


# --- MIAP -------------------------------------------------------------------------------------

BOXES = [
    "a,/m/01g317,1,0.25,0.625,0.5,1,0,0,0,0,0,Predominantly Feminine,Middle",
    "a,/m/01g317,1,0,1,0,0.5,0,0,0,0,0,Unknown,Young",
    "b,/m/01g317,1,0,0.5,0,0.5,0,0,1,0,0,Unknown,Unknown",
    "b,/m/01g317,1,0,0.5,0.5,1,0,0,0,1,0,Predominantly Masculine,Older",
    "b,/m/01g317,1,0.5,1,0.5,1,0,0,0,0,0,Predominantly Masculine,Older",
]


def miap(folder: Path, boxes: list[str] = BOXES) -> dict[str, Any]:
    header = "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    header += "IsDepictionOf,IsInsideOf,GenderPresentation,AgePresentation"
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "open_images_extended_miap_boxes_test.csv"
    listed.write_text("\n".join([header, *boxes]))
    for name in "ab":
        pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
        (folder / "test").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "test" / f"{name}.jpg", "PNG")  # keeps every pixel
    return {"name": "miap", "root": str(folder), "pictures": "test"}


def test_a_margin_around_the_boxes_of_miap_widens_each(tmp_path: Path) -> None:
    plain, wide = (load(miap(tmp_path) | more) for more in ({}, {"margin": 0.5}))
    for (name, near), (same, far) in zip(plain.files(), wide.files(), strict=True):
        assert name == same
        assert np.greater(decode(far).size, decode(near).size).any()
    assert wide.digest != plain.digest


def test_a_box_of_miap_is_a_picture_in_the_order_of_its_sides(tmp_path: Path) -> None:
    data = load(miap(tmp_path))
    assert list(data.table["cluster_id"]) == ["a", "a", "b"]
    gender = data.grouping("GenderPresentation").tolist()
    assert gender == ["Predominantly Feminine", None, "Predominantly Masculine"]
    shown = [np.asarray(decode(path)) for _, path in data.files()]
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    assert np.array_equal(shown[0], pixels[3:6, 2:5])
    assert np.array_equal(shown[2], pixels[3:6, 4:8])
    told = said(data)
    assert "1 files are set aside, which are boxes of groups" in told
    assert "1 files are set aside, which are drawn" in told
    assert "by GenderPresentation: 'Predominantly Masculine' (1)" in told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("0.25,0.625,0.5,1", "0.25,0.5,0.625,0.5", "has the box 0.25, 0.5, 0.625, 0.5. XMin, XMax"),
        ("0.25,0.625,0.5,1", "120,300,10,90", "are fractions of the picture"),
        ("0.25,", ",", "row 1 below the header has a side that is no number"),
        ("Predominantly Feminine", "Feminine", "has the GenderPresentation 'Feminine'"),
        ("a,/m/01g317", "a,/m/04yx4", "has the LabelName '/m/04yx4'"),
    ],
)
def test_a_box_that_miap_could_not_have_is_an_error(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(miap(tmp_path, [box.replace(old, new) for box in BOXES]))


# --- a folder a class -------------------------------------------------------------------------


def test_a_folder_a_class_is_an_attribute_of_a_declared_source(tmp_path: Path) -> None:
    for n, name in enumerate(["man/1.png", "man/more/2.jpg", "woman/1.JPG", "woman/3.webp"]):
        picture(tmp_path / name, n)
    (tmp_path / "woman" / "notes.txt").write_text("by hand")
    picture(tmp_path / "stray.png")
    keys = {"name": "image-folder", "root": str(tmp_path), "attribute": "gender"}
    with pytest.raises(InputError, match="source: this key is missing"):
        load(keys)
    data = load(
        keys
        | {"source": "annotator-perceived", "title": "mine"}
        | {"card": {"licence": "ours", "named_people": False, "legal_basis": "contract"}}
    )
    assert data.name == "mine"
    assert data.grouping("gender").to_dict() == {
        "man/1.png": "man", "man/more/2.jpg": "man", "woman/1.JPG": "woman", "woman/3.webp": "woman"
    }  # fmt: skip
    assert data.attributes["gender"].source == "annotator-perceived"
    assert data.refuse_suspicion() is None
    assert "2 files are set aside" in said(data)
    assert "'stray.png', 'woman/notes.txt'" in said(data)


def test_a_class_without_pictures_and_a_linked_folder_are_not_passed_over(tmp_path: Path) -> None:
    picture(tmp_path / "portraits" / "man" / "1.png")
    picture(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "portraits" / "woman").mkdir()
    (tmp_path / "portraits" / "child").symlink_to(tmp_path / "elsewhere")
    told = said(load({"name": "image-folder", "root": str(tmp_path / "portraits"),
                      "source": "annotator-perceived"}))  # fmt: skip
    assert "no picture is in the folders of classes 'child', 'woman'" in told
    assert "1 files are set aside" in told
    assert "'child'" in told


def test_parts_are_not_taken_for_classes(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "val/a/1.png"):
        picture(tmp_path / name)
    keys = {"name": "image-folder", "root": str(tmp_path), "source": "assigned"}
    with pytest.raises(InputError, match="its folders are parts, train, val.*Name one of them"):
        load(keys)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture is left"):
        load(keys | {"root": str(tmp_path / "empty")})
    with pytest.raises(InputError, match="title: got 'a b'; use letters"):
        load(keys | {"title": "a b"})
    with pytest.raises(InputError, match="'picture' names a picture"):
        load(keys | {"attribute": "picture"})
    with pytest.raises(InputError, match="'path' names a picture, not a group"):
        load(keys | {"root": str(tmp_path / "val"), "attribute": "path"})


# --- Hugging Face -----------------------------------------------------------------------------


def hub_table(at: range, metadata: bool = True) -> pa.Table:
    """Pictures as bytes, a code of gender, and who it is; rows by number."""
    shown = []
    for n in at:
        content = io.BytesIO()
        Image.new("RGB", (8, 8), (20 * n, 80, 160)).save(content, "PNG")
        shown.append({"bytes": content.getvalue(), "path": f"{n}.png"})
    table = pa.table(
        {
            "image": pa.array(shown, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "gender": pa.array([(-1, 0, 1)[n % 3] for n in at], pa.int64()),
            "person": [f"p{n // 2}" for n in at],
        }
    )
    features = {"gender": {"names": ["woman", "man"], "_type": "ClassLabel"}}
    said = {"huggingface": json.dumps({"info": {"features": features}})}
    return table.replace_schema_metadata(said) if metadata else table


def shards(folder: Path, split: str = "test", metadata: bool = True) -> dict[str, Any]:
    """Two shards of three rows as the hub has them; the keys that name them."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for part in range(2):
        name = f"{split}-{part:05d}-of-00002.parquet"
        pq.write_table(hub_table(range(3 * part, 3 * part + 3), metadata), folder / "data" / name)
    return {
        "name": "hugging-face",
        "root": str(folder),
        "cluster_column": "person",
        "attributes": {"gender": {"source": "annotator-perceived"}},
    }


def saved_to_disk(folder: Path) -> None:
    folder.mkdir(parents=True)
    names = [f"data-{part:05d}-of-00002.arrow" for part in range(2)]
    for part, name in enumerate(names):
        table = hub_table(range(3 * part, 3 * part + 3))
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))


def test_pictures_and_names_of_codes_are_read_from_parquet_of_the_hub(tmp_path: Path) -> None:
    data = load(shards(tmp_path))
    genders = [None, "woman", "man", None, "woman", "man"]
    assert data.grouping("gender").tolist() == genders
    assert list(data.table["cluster_id"]) == ["p0", "p0", "p1", "p1", "p2", "p2"]
    shades = [decode(path).getpixel((0, 0)) for _, path in data.files()]
    assert shades == [(20 * n, 80, 160) for n in range(6)]


def test_what_save_to_disk_wrote_holds_the_same(tmp_path: Path) -> None:
    keys = shards(tmp_path / "hub")
    saved_to_disk(tmp_path / "saved" / "test")
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["test"]}')
    of_hub = load(keys)
    for root in ("saved", "saved/test"):
        saved = load(keys | {"root": str(tmp_path / root)})
        assert saved.grouping("gender").tolist() == of_hub.grouping("gender").tolist()
        pairs = zip(saved.files(), of_hub.files(), strict=True)
        assert all(decode(a).tobytes() == decode(b).tobytes() for (_, a), (_, b) in pairs)
    with pytest.raises(Unreadable, match="no such row or column"):
        decode(tmp_path / "saved" / "test" / "data-00000-of-00002.arrow#image.3")
    (tmp_path / "saved" / "test" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"is listed in state\.json and not there"):
        load(keys | {"root": str(tmp_path / "saved")})


def test_a_split_is_named_where_there_are_several_and_has_all_its_files(tmp_path: Path) -> None:
    keys = shards(tmp_path)
    shards(tmp_path, "train")
    with pytest.raises(InputError, match="has the splits test, train.*Name one"):
        load(keys)
    with pytest.raises(InputError, match="no split named 'tests'.*Did you mean 'test'"):
        load(keys | {"split": "tests"})
    assert len(load(keys | {"split": "test"})) == 6
    (tmp_path / "data" / "test-00001-of-00002.parquet").unlink()
    with pytest.raises(InputError, match="1 files of 2 are there"):
        load(keys | {"split": "test"})
    with pytest.raises(InputError, match=r"has no Parquet file, and no state\.json"):
        load(keys | {"root": str(emptied(tmp_path / "empty"))})


def emptied(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_codes_without_names_are_pointed_at_and_codes_beyond_them_refused(tmp_path: Path) -> None:
    told = said(load(shards(tmp_path / "a", metadata=False)))
    assert "'gender': its groups look like codes" in told
    keys = shards(tmp_path / "b")
    assert "look like codes" not in said(load(keys))
    place = tmp_path / "b" / "data" / "test-00001-of-00002.parquet"
    table = pq.read_table(place)
    table = table.set_column(1, "gender", pa.array([0, 1, 2], pa.int64()))
    pq.write_table(table, place)
    with pytest.raises(InputError, match="gender: row 6 has the code 2. Its classes have 2 names"):
        load(keys)

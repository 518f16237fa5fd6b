"""PA-100K and Market-1501: tiny MATLAB files in the official layout, right and wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import audit
from audit.core.errors import InputError
from audit.data.dataset import Dataset, load
from audit.data.sources.market1501 import CODES, COLOURS
from audit.data.sources.pa100k import ATTRIBUTES


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 12), (shade % 256, 90, 30)).save(path)


def cells(words: list[str]) -> np.ndarray:
    """A column of cells, each with a cell, as MATLAB writes lists of words."""
    found = np.empty((len(words), 1), object)
    for i, word in enumerate(words):
        inner = np.empty((1,), object)
        inner[0] = word
        found[i, 0] = inner
    return found


def said(data: Dataset) -> str:
    return "\n".join(remark.text for remark in data.remarks)


# --- PA-100K ------------------------------------------------------------------------------------


def pa100k(folder: Path, order: tuple[str, ...] = ATTRIBUTES, **marks: Any) -> dict[str, Any]:
    """Four pictures of test and two of train; ``marks``: attribute to 0s and 1s of test."""
    given = {
        "Female": [1, 0, 1, 0], "AgeLess18": [1, 0, 0, 0], "Age18-60": [0, 1, 0, 1],
        "AgeOver60": [0, 0, 1, 1], "Front": [1, 1, 0, 0], "Side": [0, 0, 1, 0],
        "Back": [0, 0, 0, 1], "Backpack": [0, 1, 0, 1], **marks,
    }  # fmt: skip
    labels = np.array([given.get(name, [0, 0, 0, 0]) for name in order], np.uint8).T
    names = [f"{i:06d}.jpg" for i in range(1, 7)]
    held = {
        "attributes": cells(list(order)),
        "test_images_name": cells(names[:4]), "test_label": labels,
        "train_images_name": cells(names[4:]), "train_label": labels[:2],
        "val_images_name": cells([]), "val_label": np.zeros((0, 26), np.uint8),
    }  # fmt: skip
    savemat(folder / "annotation.mat", held)
    for i, name in enumerate(names):
        picture(folder / "release_data" / "release_data" / name, 20 * i)
    return {"name": "pa-100k", "root": str(folder), "split": "test"}


def test_attributes_are_those_of_the_files_own_order(tmp_path: Path) -> None:
    for number, order in enumerate((ATTRIBUTES, ATTRIBUTES[::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        data = load(pa100k(folder, order))
        table = data.table.set_index("image_id")
        assert table["Backpack"].tolist() == ["no", "yes", "no", "yes"]
        assert table["gender"].tolist() == ["female", "not female", "female", "not female"]
        assert data.groups("view") == ("front", "side", "back")


def test_bands_that_are_marked_twice_are_in_no_group_and_counted(tmp_path: Path) -> None:
    data = load(pa100k(tmp_path))
    ages = data.grouping("age")
    assert ages.tolist()[:3] == ["under 18", "18 to 60", "over 60"]
    assert ages.isna().tolist()[3]
    assert "none or several are marked for 1 pictures" in said(data)
    assert "officially 10,000" in said(data)
    assert any("rows are not independent" in limit for limit in data.card.known_limits)


def test_parts_are_read_alone_or_together(tmp_path: Path) -> None:
    keys = pa100k(tmp_path)
    assert len(load(keys)) == 4
    assert load(keys | {"split": "all"}).table["split"].tolist() == ["train"] * 2 + ["test"] * 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"test_label": np.full((4, 26), 2)}, "'000001.jpg' has Female 2. Official are 0 and 1"),
        ({"test_label": np.zeros((3, 26))}, r"the labels are \(3, 26\)"),
        ({"attributes": cells(["Hat", *ATTRIBUTES[1:]])}, "other is 'Female'"),
        ({"attributes": cells(list(ATTRIBUTES[:20]))}, "20 attributes, and PA-100K has 26"),
        ({"test_label": np.full((4, 26), 0.5)}, "whole numbers are expected"),
    ],
)
def test_another_file_than_pa_100ks_is_refused(tmp_path: Path, change: Any, told: str) -> None:
    keys = pa100k(tmp_path)
    held = {
        "attributes": cells(list(ATTRIBUTES)), "test_label": np.zeros((4, 26), np.uint8),
        "test_images_name": cells([f"{i:06d}.jpg" for i in range(1, 5)]),
    }  # fmt: skip
    savemat(tmp_path / "annotation.mat", held | change)
    with pytest.raises(InputError, match=told):
        load(keys)


def test_a_file_that_is_no_matlab_is_a_sentence(tmp_path: Path) -> None:
    keys = pa100k(tmp_path)
    (tmp_path / "annotation.mat").write_text("not at all")
    with pytest.raises(InputError, match="can't be read as a MATLAB file"):
        load(keys)
    (tmp_path / "annotation.mat").unlink()
    with pytest.raises(InputError, match="has no file 'annotation.mat'"):
        load(keys)


# --- Market-1501 --------------------------------------------------------------------------------


def market(folder: Path, backwards: bool = False, **changed: Any) -> dict[str, Any]:
    """Three identities of test with two pictures each, a distractor and one piece of junk."""
    fields: dict[str, Any] = {
        "gender": [1, 2, 2], "age": [3, 2, 4], "hair": [1, 2, 2], "up": [1, 2, 2],
        "down": [1, 1, 2], "clothes": [2, 1, 2], "hat": [1, 1, 2], "backpack": [2, 1, 1],
        "bag": [1, 1, 1], "handbag": [1, 2, 1],
    }  # fmt: skip
    for name, colours in COLOURS.items():
        for colour in colours:
            fields[("up" if name.startswith("upper") else "down") + colour] = [1, 1, 1]
    fields |= {"upred": [2, 1, 1], "upblue": [1, 2, 1], "downblack": [2, 2, 2], **changed}
    fields["image_index"] = cells(["0002", "0007", "0010"]).T
    names = list(fields)[:: -1 if backwards else 1]
    part = {name: np.array(fields[name]) for name in names}
    held = {"market_attribute": {"test": part, "train": part}}
    savemat(folder / "market_attribute.mat", held)
    shade = 0
    for identity in ("0002", "0007", "0010", "0000", "-1"):
        for camera in (1, 3):
            shade += 13
            name = f"{identity}_c{camera}s1_000451_0{camera}.jpg"
            picture(folder / "bounding_box_test" / name, shade)
    picture(folder / "query" / "0002_c5s1_000001_00.jpg", 250)
    picture(folder / "query" / "Thumbs.jpg", 251)
    return {"name": "market-1501", "root": str(folder)}


@pytest.mark.parametrize("backwards", [False, True])
def test_an_identitys_attributes_go_to_its_pictures(tmp_path: Path, backwards: bool) -> None:
    data = load(market(tmp_path, backwards))
    table = data.table
    assert len(table) == 7
    assert set(table["cluster_id"]) == {"0002", "0007", "0010"}
    by_person = table.groupby("identity").first()
    assert by_person["gender"].to_dict() == {"0002": "male", "0007": "female", "0010": "female"}
    assert by_person["age"].to_dict() == {"0002": "adult", "0007": "teenager", "0010": "old"}
    assert by_person["backpack"].tolist() == ["yes", "no", "no"]
    assert table[table["file"].str.startswith("query")]["camera"].tolist() == ["5"]


def test_colours_that_no_readme_promises_are_counted(tmp_path: Path) -> None:
    data = load(market(tmp_path))
    colours = data.grouping("upper colour")
    assert colours.isna().sum() == 2
    assert "none or several are marked for 1 of 3 identities" in said(data)
    assert set(data.grouping("lower colour")) == {"black"}


def test_distractors_junk_and_other_names_are_set_aside_and_counted(tmp_path: Path) -> None:
    told = said(load(market(tmp_path)))
    assert re.search(r"4 \w+ are set aside, of nobody \(distractors, junk\)", told)
    assert re.search(r"1 \w+ (are|is) set aside, with names that are none of Market-1501's", told)


def test_endings_in_capitals_are_read_and_a_folder_that_is_lost_is_said(tmp_path: Path) -> None:
    keys, folder = market(tmp_path), tmp_path / "bounding_box_test"
    one = folder / "0002_c1s1_000451_01.jpg"
    one.rename(one.with_suffix(".JPG"))
    (folder / "Thumbs.db").write_bytes(b"")
    shutil.rmtree(tmp_path / "query")
    data = load(keys)
    assert f"bounding_box_test/{one.stem}.JPG" in set(data.table["path"])
    told = said(data)
    assert "1 files are set aside, with names that are none of Market-1501's" in told
    assert "test: 10 pictures are listed, officially 23,100" in told
    assert "the folder 'query' is not there" in told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"gender": [0, 1, 1]}, r"'gender' is 0 for 1 identities. Official are 1 \(male\)"),
        ({"age": [3, 5, 4]}, "'age' is 5 for 1 identities"),
        ({"upred": [0, 1, 1]}, "'upred' is 0"),
    ],
)
def test_codes_that_are_none_are_refused(tmp_path: Path, changed: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(market(tmp_path, **changed))


def test_every_code_of_a_closed_set_is_an_official_value() -> None:
    facts = audit.data.sources.market1501.Market1501.facts  # type: ignore[attr-defined]
    for name, words in CODES.items():
        assert facts.attributes[name].order == tuple(words.values())

"""People cut out of pictures by the columns of a box, and times of the day as groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.core.errors import InputError
from audit.data.boxes import DENSITY
from audit.data.clock import minutes, parts_of_day
from audit.data.dataset import Dataset, load
from audit.data.images import decode

CARD = """name: street
manifest: people.csv
attributes: {{hat: {{source: annotator-perceived}}}}
box: {{columns: [a, b, c, d], order: {}, {}}}
"""


def street(folder: Path, order: str, rows: list[str], more: str = "unit: pixels") -> Dataset:
    Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)).save(
        folder / "one.png"
    )
    lines = ["path,a,b,c,d,hat", *(f"one.png,{row},{i % 2}" for i, row in enumerate(rows))]
    (folder / "people.csv").write_text("\n".join(lines))
    text = CARD.format(order, more)
    (folder / "card.yaml").write_text(text)
    return load(folder)


@pytest.mark.parametrize(
    ("order", "rows"),
    [
        ("xywh", ["10,5,20,30", "40,0,20,40"]),
        ("xyxy", ["10,5,30,35", "40,0,60,40"]),
        ("xxyy", ["10,30,5,35", "40,60,0,40"]),
        ("cxcywh", ["20,20,20,30", "50,20,20,40"]),
    ],
)
def test_a_box_in_any_order_is_the_same_part_of_the_picture(
    tmp_path: Path, order: str, rows: list[str]
) -> None:
    data = street(tmp_path, order, rows)
    assert data.table["path"].tolist() == ["one.png#xywh=10,5,20,30", "one.png#xywh=40,0,20,40"]
    assert data.table["cluster_id"].tolist() == ["one.png"] * 2  # of one picture
    whole = np.asarray(decode(tmp_path / "one.png"))
    (_, first), (_, second) = data.files()
    assert np.array_equal(np.asarray(decode(first)), whole[5:35, 10:30])
    assert np.array_equal(np.asarray(decode(second)), whole[:, 40:])


def test_fractions_and_percents_are_of_the_picture(tmp_path: Path) -> None:
    whole = street(tmp_path, "xywh", ["15,10,30,20"])
    wanted = np.asarray(decode(next(whole.files())[1]))
    for unit, row in (("fraction", "0.25,0.25,0.5,0.5"), ("percent", "25,25,50,50")):
        data = street(tmp_path, "xywh", [row], f"unit: {unit}")
        assert np.array_equal(np.asarray(decode(next(data.files())[1])), wanted)


def test_a_margin_goes_as_far_as_the_picture_does(tmp_path: Path) -> None:
    plain = street(tmp_path, "xywh", ["10,10,20,10", "50,20,10,20"])
    wide = street(tmp_path, "xywh", ["10,10,20,10", "50,20,10,20"], "unit: pixels}\nmargin: 0.5\n#")
    sizes = [decode(path).size for _, path in wide.files()]
    assert sizes == [(40, 20), (15, 30)]
    assert plain.table["image_id"].tolist() == wide.table["image_id"].tolist()
    assert plain.digest != wide.digest
    card = "name: x\nmanifest: people.csv\nmargin: 0.5\nid_column: a\n"
    (tmp_path / "card.yaml").write_text(card)
    with pytest.raises(InputError, match="'margin' is cut out around a region, and 'one.png' is"):
        load(tmp_path)


def test_how_densely_a_person_is_covered_is_an_attribute(tmp_path: Path) -> None:
    heights = [1.7 * density for density in (12, 13, 26, 62.5, 130, 250)]
    data = street(tmp_path, "xywh", [f"0,0,9,{h:g}" for h in heights], "of: person")
    names = ("below monitor", "monitor", "detect", "observe", "recognise", "identify")
    assert tuple(data.grouping(DENSITY)) == names == data.groups(DENSITY)
    assert data.attributes[DENSITY].source == "assigned"
    assert "height of 1.7 m" in data.attributes[DENSITY].description
    faces = street(tmp_path, "xywh", ["0,0,40,9", "0,0,3,9"], "of: face")  # 250, 19 a metre
    assert faces.grouping(DENSITY).tolist() == ["identify", "monitor"]


@pytest.mark.parametrize(
    ("order", "rows", "more", "told"),
    [
        ("xyxy", ["10,5,30,35", "30,5,10,35"], "of: person",
         r"row 2 below the header has 30, 5, 10, 35. 'xyxy' is left, top, right, low"),
        ("xywh", ["10,5,0,35"], "of: person", "row 1 .* neither width nor height may be 0"),
        ("xywh", ["10,5,,35"], "of: person", "row 1 .* has 10, 5, nothing, 35"),
        ("xywh", ["10,5,wide,35"], "of: person", "has 10, 5, wide, 35"),
        ("xywh", ["0,0,0.5,0.5"], "unit: fraction, of: face", "sides are in fraction"),
        ("yxyx", ["0,0,1,1"], "of: person", "order"),
        ("xywh", ["0,0,1,1"], "colums: [a]", "colums"),
    ],
)  # fmt: skip
def test_a_box_that_can_not_be_is_refused(
    tmp_path: Path, order: str, rows: list[str], more: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        street(tmp_path, order, rows, more)


@pytest.mark.parametrize("unit", ["pixels", "percent"])
@pytest.mark.parametrize("rows", [["0.2,0.1,0.5,0.5", "0,0,1,1"], ["0,0,0.5,1"]])
def test_fractions_read_in_another_unit_are_refused(
    tmp_path: Path, unit: str, rows: list[str]
) -> None:
    with pytest.raises(InputError, match="Write 'unit: fraction'"):
        street(tmp_path, "xywh", rows, f"unit: {unit}")
    assert len(street(tmp_path, "xywh", [*rows, "3,2,5,5"], f"unit: {unit}")) == len(rows) + 1


def test_a_column_twice_and_a_margin_of_no_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,a,b,c\n1,2,3,4\n")
    card = "name: x\nmanifest: people.csv\nid_column: id\n"
    for more, told in (
        ("box: {columns: [a, b, c, c], order: xywh}", "the column 'c' twice"),
        ("pictures: false\nmargin: 0.1", "nothing that 'margin' could be cut out of"),
    ):
        (tmp_path / "card.yaml").write_text(card + more)
        with pytest.raises(InputError, match=told):
            load(tmp_path)


# --- clusters in two ways -------------------------------------------------------------------------


def shots(folder: Path, rows: str, more: str = "cluster_also: [camera]\n") -> Dataset:
    (folder / "frames.csv").write_text("path,video,camera\n" + rows)
    (folder / "card.yaml").write_text(
        f"name: shots\nmanifest: frames.csv\ncluster_column: video\n{more}"
    )
    return load(folder)


def test_a_cluster_holds_whole_videos_and_whole_cameras(tmp_path: Path) -> None:
    data = shots(tmp_path, "0.png,v,a\n1.png,w,a\n2.png,w,b\n3.png,x,c\n4.png,y,\n5.png,y,d\n")
    assert data.table["cluster_id"].tolist() == ["0", "0", "0", "1", "2", "2"]
    assert "clusters are the 3 that hold whole ones of 'video and camera'" in data.remarks[0].text
    alone = shots(tmp_path, "0.png,v,a\n1.png,w,a\n", "")
    assert alone.table["cluster_id"].tolist() == ["v", "w"]


@pytest.mark.parametrize(
    ("rows", "more", "told"),
    [
        ("0.png,v,a\n1.png,w,a\n", "cluster_also: [camera]\n", r"one cluster \(2 by 'video', 1 by"),
        (
            "0.png,v,a\n1.png,,\n",
            "cluster_also: [camera]\n",
            "row 2 .* is in none of",
        ),
        ("0.png,v,a\n1.png,w,b\n", "cluster_also: [video]\n", "'video', which is named already"),
        ("0.png,v,a\n1.png,w,b\n", "cluster_also: [camra]\n", "no column named 'camra'"),
    ],
)
def test_clusters_that_tell_nothing_are_refused(
    tmp_path: Path, rows: str, more: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        shots(tmp_path, rows, more)


# --- times of the day -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [("00:00", 0), ("7:05", 425), ("23:59:59.5", 1439), ("2026-03-01T22:10:00Z", 1330),
     ("2026-03-01 06:00:00+02:00", 360), ("24:00", None), ("12:60", None), ("noon", None),
     ("2026-03-01", None), ("1230", None)],
)  # fmt: skip
def test_minutes_since_midnight(text: str, found: int | None) -> None:
    assert minutes(text) == found


def test_the_last_part_of_a_day_goes_on_past_midnight() -> None:
    times = [0, 359, 360, 1319, 1320, 1439]
    found, names = parts_of_day(times, ["06:00", "22:00"], "here")
    assert names == ["06:00 to 22:00", "22:00 to 06:00"]
    assert found.tolist() == [names[1], names[1], names[0], names[0], names[1], names[1]]
    three, names = parts_of_day(times, ["00:00", "06:00", "22:00"], "here")
    assert three.tolist() == [names[0], names[0], names[1], names[1], names[2], names[2]]


@pytest.mark.parametrize("edges", [["06:00"], ["22:00", "06:00"], ["06:00", "late"], []])
def test_edges_are_rising_times(edges: list[str]) -> None:
    with pytest.raises(InputError, match=r"give rising times of the day, such as"):
        parts_of_day([0], edges, "here")


def test_a_column_of_times_is_grouped_and_what_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(
        "name: nights\nmanifest: frames.csv\nattributes: {at: {source: assigned, unknown: [x]}}\n"
    )
    times = ["23:30", "2026-01-01T05:59:00", "x", "12:00"]
    rows = "\n".join(f"{i}.png,{time}" for i, time in enumerate(times))
    (tmp_path / "frames.csv").write_text("path,at\n" + rows)
    data = load(tmp_path)
    night, day = "22:00 to 06:00", "06:00 to 22:00"
    assert data.grouping("at", ["06:00", "22:00"]).tolist() == [night, night, None, day]
    assert data.groups("at", ["06:00", "22:00"]) == (day, night)
    (tmp_path / "frames.csv").write_text("path,at\n" + rows.replace("12:00", "noon"))
    with pytest.raises(InputError, match="bins of 'at' are times, and it holds 'noon'"):
        load(tmp_path).grouping("at", ["06:00", "22:00"])

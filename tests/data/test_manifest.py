"""Manifests as people have them: every value stays what its file says."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from audit.core.errors import InputError
from audit.data import packed as inside
from audit.data import pictures
from audit.data.dataset import Dataset, load
from audit.data.images import Unreadable, decode
from audit.data.manifest import read_manifests
from audit.data.values import are_numbers, in_natural_order, number
from audit.data.yamlfile import parse_yaml

CARD = "name: s\nmanifest: {}\nattributes:\n  x: {{source: assigned{}}}\n"
ROWS = [("path", "x", "score"), ("0.png", "été", "0,14"), ("1.png", "hiver", "1,5")]


def loaded(folder: Path, content: bytes, name: str = "people.csv", extra: str = "") -> Dataset:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(content)
    (folder / "card.yaml").write_text(CARD.format(name, extra), encoding="utf-8")
    return load(folder / "card.yaml")


def of_values(folder: Path, values: list[str], extra: str = "") -> Dataset:
    lines = "".join(f"{i}.png,{value}\n" for i, value in enumerate(values))
    return loaded(folder, f"path,x\n{lines}".encode(), extra=extra)


def of_column(folder: Path, column: pa.Array, extra: str = "") -> Dataset:
    table = pa.table({"path": [f"{i}.png" for i in range(len(column))], "x": column})
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / "p.parquet")
    return loaded(folder, (folder / "p.parquet").read_bytes(), "p.parquet", extra)


def text(separator: str, end: str = "\n") -> str:
    return end.join(separator.join(row) for row in ROWS) + end


# --- CSV --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        text(";").encode(),
        text("\t").encode(),
        text(";", "\r\n").encode("utf-8-sig"),
        text(";", "\r").encode(),
        text("\t").encode("utf-16"),
        ("sep=;\n" + text(";")).encode(),
        ('"SEP=;"\n' + text(";")).encode(),
        ("# " + text(";")).encode(),
        ("# made;by;us\n" + text(";")).encode(),
        "\n".join(line + ";;" for line in text(";").splitlines()).encode(),
        (text(";") + ";;\n;;\n").encode(),
        ("2\n" + text(";")).encode(),
        (" 2 ;;\n" + text(";")).encode(),
        ("\n\n;;\n" + text(";")).encode(),
        ("# people, of May\n#2 rows\n\n" + text("\t")).encode(),
        ("# people;;\n2\n" + text(";")).encode(),
        "\n".join(f"{i};{line}" for i, line in enumerate(text(";").splitlines())).encode(),
    ],
)
def test_tables_as_spreadsheets_save_them(tmp_path: Path, content: bytes) -> None:
    data = loaded(tmp_path, content)
    assert data.grouping("x").tolist() == ["été", "hiver"]
    assert data.table["score"].tolist() == ["0,14", "1,5"]
    assert data.table["path"].tolist() == ["0.png", "1.png"]


@pytest.mark.parametrize("count", ["1,000", '"1,000"', "1.000", "1 000", "1'000", "1000,,"])
def test_a_count_before_the_header_may_have_thousands(tmp_path: Path, count: str) -> None:
    rows = "".join(f"{i}.png,a\n" for i in range(1000))
    assert len(loaded(tmp_path, f"{count}\npath,x\n{rows}".encode())) == 1000
    with pytest.raises(InputError, match="counts 1,000 pictures, and 999 rows follow"):
        loaded(tmp_path, f"{count}\npath,x\n{rows[:-10]}".encode())


def test_a_name_that_begins_with_a_hash_is_no_comment(tmp_path: Path) -> None:
    assert loaded(tmp_path, b"#n,path,x\n1,0.png,a\n").table["#n"].tolist() == ["1"]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (['5" tall', '"wide', 'b"'], ['5" tall', '"wide', 'b"']),  # the last two are one by quotes
        (['"so" called', "b", "c"], ['"so" called', "b", "c"]),
        (['"a ""b"""', '"c\td"', '"e\nf"'], ['a "b"', "c\td", "e\nf"]),  # as spreadsheets write
    ],
)
def test_quotation_marks_between_tabs(tmp_path: Path, cells: list[str], values: list[str]) -> None:
    rows = "".join(f"{i}.png\t{cell}\n" for i, cell in enumerate(cells))
    assert loaded(tmp_path, f"path\tx\n{rows}".encode(), "p.tsv").table["x"].tolist() == values


def test_a_quotation_mark_that_nothing_closes_is_refused_where_lines_are_uneven(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="a quotation mark opens a value and is never closed"):
        loaded(tmp_path, b'path\tx\n0.png\t"a\tb\n1.png\tb\n', "p.tsv")


@pytest.mark.parametrize(
    ("column", "near"),
    [
        ("e\u0301", "Did you mean 'e\\u0301'? It and 'é' differ only in Unicode form or case."),
        ("\u00a0é", "Did you mean '\\u00a0é'? It and 'é' differ only in blanks, invisible signs"),
        ("é\ufeff", "Did you mean 'é\\ufeff'? It and 'é' differ only in blanks, invisible signs"),
        ("É", "Did you mean 'É'?"),
    ],
)
def test_a_column_that_looks_like_the_one_that_is_named(
    tmp_path: Path, column: str, near: str
) -> None:
    (tmp_path / "p.csv").write_text(f"path,{column}\n0.png,a\n", encoding="utf-8")
    card = "name: s\nmanifest: p.csv\nattributes:\n  é: {source: assigned}\n"
    (tmp_path / "card.yaml").write_text(card, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(near)):
        load(tmp_path)


def test_an_empty_row_between_others_moves_no_row_number(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 3 below the header has no path of its picture"):
        loaded(tmp_path, b"path,x\n0.png,a\n,\n,b\n")


def test_a_column_without_a_name_is_kept(tmp_path: Path) -> None:
    data = loaded(tmp_path, b",path,x\n7,0.png,a\n8,1.png,b\n")
    assert data.table["unnamed 1"].tolist() == ["7", "8"]


@pytest.mark.parametrize(
    "codes",
    [
        ["1.1", "1.10", "1.100"],
        ["20170109142408075", "20170109142408076"],
        ["20170109142408075001", "20170109142408075002"],
        ["007", "7", "07"],
        ["NA", "nan", "NaN", "None", "null", "n/a"],
        ["1", "1.0", "+1", "1e0"],
        ["9007199254740993", "9007199254740992"],
        ["true", "True", "yes"],
        ["0x10", "16", "1_6"],
    ],
)
def test_codes_stay_text_and_groups_of_their_own(tmp_path: Path, codes: list[str]) -> None:
    values = codes * 3
    data = of_values(tmp_path, values)
    assert data.grouping("x").tolist() == values
    assert set(data.groups("x")) == set(codes)
    equal = any("as numbers they are equal" in remark.text for remark in data.remarks)
    assert equal == (codes in (["1.1", "1.10", "1.100"], ["1", "1.0", "+1", "1e0"]))
    parquet = of_column(tmp_path / "p", pa.array(values))
    assert parquet.grouping("x").tolist() == values


@pytest.mark.slow
@given(st.lists(st.from_regex(r"[+-]?[0-9]{1,20}(\.[0-9]{0,3})?", fullmatch=True), unique=True))
def test_no_two_numbers_become_one(codes: list[str]) -> None:
    assert sorted(in_natural_order(codes)) == sorted(codes)


def test_decimal_commas_can_be_binned_and_thousands_are_not_guessed(tmp_path: Path) -> None:
    content = b"path;x\n0.png;17,5\n1.png;18\n2.png;60,25\n"
    assert loaded(tmp_path, content).groups("x", [18]) == ("under 18", "18+")
    data = loaded(tmp_path, b"path;x\n0.png;1,234\n1.png;18\n")
    with pytest.raises(InputError, match="'1,234' may be a decimal comma or thousands"):
        data.groups("x", [18])
    assert not are_numbers(["1,5", "2.5"])
    assert are_numbers(["0,125", "1,000"])  # nobody writes a thousand so
    assert number("1,234,567") is None


# --- YAML: what is declared is what was written -------------------------------------------------


@pytest.mark.parametrize("code", ["010", "0x10", "1_000", "12:30", "1.10", "2020-01-01", "+5", "7"])
def test_numbers_in_a_card_mean_the_text_that_was_written(tmp_path: Path, code: str) -> None:
    data = of_values(tmp_path, [code, "8", "b"], f", unknown: [{code}]")
    assert data.grouping("x").tolist() == [None, "8", "b"]
    data = of_values(tmp_path, ["8", code], f", order: [{code}, 8]")
    assert data.groups("x") == (code, "8")


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u2028"])
def test_a_blank_that_stays_in_a_file_stays_in_a_card(tmp_path: Path, blank: str) -> None:
    value = f"{blank}x"
    rows = f"path,x\n0.png,{value}\n1.png,x\n".encode()
    data = loaded(tmp_path, rows, extra=f', unknown: ["{blank}x "]')
    assert data.grouping("x").tolist() == [None, "x"]


def test_a_number_as_a_key_is_its_text_and_other_numbers_stay_numbers() -> None:
    got = parse_yaml("m: {1: a, -1: b, 007: c, 1.10: d}\nn: [7, -0.5, 1.10, .inf]\ns: 1_0\n", "f")
    assert list(got["m"]) == ["1", "-1", "007", "1.10"]
    assert got["n"] == [7, -0.5, 1.1, float("inf")]
    assert got["s"] == "1_0"


# --- Parquet ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([2**53 + 1, 2**53, None]), ["9007199254740993", "9007199254740992", None]),
        (pa.array([1.0, 2.5, None]), ["1", "2.5", None]),
        (pa.array([0.1, float("nan")], pa.float32()), ["0.1", None]),
        (pa.array([True, False]), ["True", "False"]),
        (pa.array([Decimal("1.10"), Decimal("1.00")]), ["1.10", "1.00"]),
        (pa.array(["a", None, " b "]).dictionary_encode(), ["a", None, "b"]),
    ],
)
def test_values_of_parquet(tmp_path: Path, column: pa.Array, texts: list[str | None]) -> None:
    assert of_column(tmp_path, column).table["x"].tolist() == texts


def test_codes_that_a_float_has_rounded_are_remarked_on(tmp_path: Path) -> None:
    data = of_column(tmp_path, pa.array([2.0**60, 1.0]))
    assert any("floats so large" in remark.text for remark in data.remarks)


def jpeg(shade: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((20, 24, 3), shade, np.uint8)).save(content, "JPEG")
    return content.getvalue()


def packed(folder: Path, rows: list[object], kind: pa.DataType | None = None) -> Path:
    table = pa.table({"image": pa.array(rows, kind), "x": ["a", "b"] * (len(rows) // 2)})
    pq.write_table(table, folder / "p.parquet", row_group_size=3)
    card = CARD.format("p.parquet", "").replace("attributes", "image_column: image\nattributes")
    (folder / "card.yaml").write_text(card)
    return folder / "card.yaml"


@pytest.mark.parametrize("hub", [True, False])
def test_pictures_inside_parquet(tmp_path: Path, hub: bool) -> None:
    shades = [10 * i for i in range(8)]
    pictures = [jpeg(shade) for shade in shades]
    rows: list[object] = [{"bytes": p, "path": None} for p in pictures] if hub else list(pictures)
    data = load(packed(tmp_path, rows))
    assert data.table["image_id"][7] == "p.parquet#image.7"
    for (_, path), shade in reversed(list(zip(data.files(), shades, strict=True))):
        assert abs(int(np.asarray(decode(path)).mean()) - shade) <= 2
    with pytest.raises(Unreadable, match="no such row or column"):
        decode(tmp_path / "p.parquet#image.8")
    with pytest.raises(Unreadable, match="no such row or column"):
        decode(tmp_path / "p.parquet#other.0")


def test_rows_of_one_large_group_are_found_in_any_order(tmp_path: Path) -> None:
    rows = [str(i).encode() for i in range(300)]
    pq.write_table(pa.table({"image": rows}), tmp_path / "p.parquet", row_group_size=1000)
    for i in [*range(5), 299, 40, 33, 0, 130, 96, 64, 31, 200, 5]:
        with inside.opened(tmp_path / f"p.parquet#image.{i}") as handle:
            assert handle.read() == rows[i]


def test_after_a_damaged_row_the_next_is_told_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"image": [b"x"] * 9}), tmp_path / "p.parquet")

    def damaged(*_: object) -> Iterator[pa.Array]:
        raise pa.ArrowInvalid("damaged")
        yield

    monkeypatch.setattr(inside._Group, "_batches", damaged)
    for row in (0, 1, 0):
        with (
            pytest.raises(FileNotFoundError, match="no such row"),
            inside.opened(tmp_path / f"p.parquet#image.{row}"),
        ):
            pass


def test_a_row_without_a_picture_and_paths_alone(tmp_path: Path) -> None:
    none = {"bytes": None, "path": None}
    data = load(packed(tmp_path, [{"bytes": jpeg(9), "path": "a.jpg"}, none]))
    (_, first), (_, second) = data.files()
    decode(first)
    with pytest.raises(Unreadable, match="empty"):
        decode(second)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    paths = [{"bytes": None, "path": name} for name in ("a.jpg", "b.jpg")]
    assert load(packed(tmp_path, paths, kind)).table["path"].tolist() == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("statistics", [True, False])
def test_paths_alone_are_told_without_statistics(tmp_path: Path, statistics: bool) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    one = {"bytes": b"x", "path": "19.jpg"}
    for last, packs in (({"bytes": None, "path": "19.jpg"}, False), (one, True), (None, False)):
        rows = [{"bytes": None, "path": f"{i}.jpg"} for i in range(19)]
        table = pa.table({"image": pa.array([*rows, last], kind)})
        pq.write_table(table, tmp_path / "p.parquet", write_statistics=statistics)
        found = read_manifests([tmp_path / "p.parquet"], "card")
        assert found.pictures == ({"image"} if packs else set())
        assert found.table["image"][0] == ("p.parquet#image.0" if packs else "0.jpg")


def test_a_folder_of_parts_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "p.parquet"
    folder.mkdir()
    for name in ("_SUCCESS", "part-00000.snappy.parquet", "part-00001.snappy.parquet"):
        (folder / name).write_bytes(b"")
    said = "card: manifest 'p.parquet' is a folder of 2 parts, as Spark writes it. Write its rows"
    with pytest.raises(InputError, match=said):
        read_manifests([folder], "card")


def test_many_pictures_inside_parquet_are_not_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(packed(tmp_path, [jpeg(i) for i in range(6)]))
    read: list[int] = []
    content = inside._content
    monkeypatch.setattr(inside, "_content", lambda *at: read.append(at[2]) or content(*at))
    sight = pictures.look(data, opened=2, searched=3)
    assert set(read) == {0, 1}
    assert (sight.opened, sight.unsearched, sight.faults) == (2, 6, {})


def test_bytes_are_never_shown(tmp_path: Path) -> None:
    card = packed(tmp_path, [jpeg(1), jpeg(2)])
    wrong = card.read_text().replace("  x:", "  image:").replace("image_column: image", "url: u")
    card.write_text(wrong.replace("attributes", "image_column: x\nattributes"))
    with pytest.raises(InputError) as caught:
        load(card)
    assert "the column 'image' holds pictures, not text" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_lists_are_no_groups(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the column 'x' holds lists, not text"):
        of_column(tmp_path, pa.array([[1, 2], [3]]))


# --- paths ------------------------------------------------------------------------------------


def test_backslashes_and_another_unicode_form(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    (tmp_path / f"d{apart}").mkdir()
    for name in (f"d{apart}/{apart}.png", "a\\b.png"):
        (tmp_path / name).write_bytes(b"x")
    names = [f"d{composed}\\{composed}.png", "sub\\c.png", "a\\b.png", f"{composed}-gone.png"]
    data = loaded(tmp_path, ("path,x\n" + "".join(f"{n},a\n" for n in names)).encode())
    found = [f"d{apart}/{apart}.png", "sub/c.png", "a\\b.png", f"{composed}-gone.png"]
    assert data.table["path"].tolist() == found
    assert data.table["image_id"].tolist() == names  # an id is what the manifest says


@pytest.mark.parametrize("path", ["..\\secret.png", "C:\\Users\\a.png", "\\\\host\\share\\a.png"])
def test_windows_paths_lead_nowhere_else(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="which (is absolute|leaves the manifest's folder)"):
        loaded(tmp_path / "set", f"path,x\n{path},a\n".encode())


def test_times_beyond_pythons_are_read_as_they_are_printed(tmp_path: Path) -> None:
    columns = {
        "image_id": ["a", "b"],
        "day": pa.array([10_000_000, 1], pa.date32()),
        "moment": pa.array([10**18, 5], pa.timestamp("us")),
        "hour": pa.array([1, 2], pa.time64("ns")),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    table = read_manifests([tmp_path / "m.parquet"], "card").table
    assert list(table["day"]) == ["29349-01-26", "1970-01-02"]
    assert list(table["hour"]) == ["00:00:00.000000001", "00:00:00.000000002"]
    assert table["moment"].nunique() == 2


def test_two_parquet_columns_of_one_name_are_said_so(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["g", "g"])
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(InputError, match="two columns are called 'g'. Rename one"):
        read_manifests([tmp_path / "m.parquet"], "card")


def test_a_quote_after_a_blank_is_a_quote(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('image_id,g\na, "young, adult"\nb,"young, adult"\n')
    table = read_manifests([tmp_path / "m.csv"], "card").table
    assert list(table["g"]) == ["young, adult"] * 2

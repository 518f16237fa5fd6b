"""Archives, WebDataset shards, videos and frames: tiny ones, whole, cut, nested, hostile."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from audit.core.errors import InputError
from audit.data import archives, video
from audit.data.dataset import Dataset, load
from audit.data.images import Unreadable, decode
from audit.data.packed import container
from audit.data.pictures import look
from audit.data.sources.video_frames import VideoFrames

SAID = {"attribute": "gender", "source": "annotator-perceived"}


def png(shade: int = 0) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 6), (shade % 256, 80, 160)).save(content, "PNG")
    return content.getvalue()


def zipped(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


FACES = {"woman/1.png": png(10), "woman/2.PNG": png(20), "man/1.png": png(30)}


def said(data: Dataset) -> str:
    return "\n".join(remark.text for remark in data.remarks)


def shades(data: Dataset) -> list[int]:
    return [decode(path).getpixel((0, 0))[0] for _, path in data.files()]  # type: ignore[index]


# --- archives ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"), [("faces.zip", zipped), ("FACES.ZIP", zipped), ("faces.tar", tarred)]
)
def test_pictures_are_read_from_an_archive_and_its_folders_are_groups(
    tmp_path: Path, name: str, pack: Any
) -> None:
    pack(tmp_path / name, {f"./{member}": content for member, content in FACES.items()})
    data = load({"name": "archive", "root": str(tmp_path), **SAID})
    assert data.grouping("gender").to_dict() == {
        f"{name}#man/1.png": "man", f"{name}#woman/1.png": "woman", f"{name}#woman/2.PNG": "woman"
    }  # fmt: skip
    assert shades(data) == [30, 10, 20]
    assert not look(data).faults
    assert {container(path) for _, path in data.files()} == {tmp_path / name}


def test_archives_without_groups_and_of_several_files_are_one_data_set(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {"1.png": png(1), "__MACOSX/._1.png": b"x", ".DS_Store": b"x"})
    tarred(tmp_path / "b.tar", {"deep/er/1.png": png(2), "notes.txt": b"by hand"})
    data = load({"name": "archive", "root": str(tmp_path)})
    assert list(data.table["path"]) == ["a.zip#1.png", "b.tar#deep/er/1.png"]
    assert shades(data) == [1, 2]
    assert "1 files are set aside, which by their name are no picture" in said(data)
    assert len(load({"name": "archive", "root": str(tmp_path), "files": "b*"})) == 1
    only = {"name": "archive", "root": str(tmp_path), "inside": "deep"}
    assert list(load(only).table["path"]) == ["b.tar#deep/er/1.png"]


def test_an_archive_in_a_folder_is_not_taken_for_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    zipped(tmp_path / "a.zip", {"woman/1.png": png(10), "man/1.png": png(20)})
    zipped(tmp_path / "sub" / "a.zip", {"woman/1.png": png(30), "man/1.png": png(40)})
    keys = {"name": "archive", "root": str(tmp_path), "source": "assigned", "attribute": "gender"}
    assert "archives that '*' does not name; '**/*' names all: 'sub/a.zip'" in said(load(keys))
    inner = load(keys | {"files": "sub/*.zip"})
    assert shades(inner) == [40, 30]
    assert shades(load(keys | {"files": "**/*.zip"})) == [20, 10, 40, 30]
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        tarred(tmp_path / part / "s-000.tar", {"1.png": png(len(part)), "1.cls": b"0"})
    both = load({"name": "webdataset", "root": str(tmp_path), "shards": "*/*.tar"})
    assert shades(both) == [5, 3]
    assert "lack" not in said(both)


def test_regions_and_manifests_name_pictures_in_archives(tmp_path: Path) -> None:
    zipped(tmp_path / "faces.zip", FACES)
    region = decode(tmp_path / "faces.zip#man/1.png#xywh=1,2,3,4")
    assert region.size == (3, 4)
    (tmp_path / "people.csv").write_text("path,gender\nfaces.zip#man/1.png,man\n")
    card = "name: mine\nmanifest: people.csv\nattributes: {gender: {source: assigned}}\n"
    (tmp_path / "card.yaml").write_text(card)
    assert shades(load(tmp_path / "card.yaml")) == [30]
    with pytest.raises(Unreadable, match="missing: there is no such picture in the archive"):
        decode(tmp_path / "faces.zip#man/2.png")
    with pytest.raises(Unreadable, match="missing: there is no such file"):
        decode(tmp_path / "other.zip#man/2.png")


@pytest.mark.parametrize("name", [".", "../1.png", "/etc/1.png", "a/../../1.png", "C:\\a\\1.png"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_path_that_leads_out_of_its_archive_is_refused(
    tmp_path: Path, name: str, pack: Any
) -> None:
    file = pack(tmp_path / f"faces.{'zip' if pack is zipped else 'tar'}", {name: png()})
    with pytest.raises(InputError, match="which leads out of the archive"):
        archives.listed(file)


def test_paths_that_windows_wrote_are_read_and_one_given_twice_is_refused(tmp_path: Path) -> None:
    file = tarred(tmp_path / "a.tar", {"woman\\1.png": png(7)})
    assert list(archives.listed(file).sizes) == ["woman/1.png"]
    assert decode(tmp_path / "a.tar#woman/1.png").getpixel((0, 0)) == (7, 80, 160)
    file = tarred(tmp_path / "b.tar", {"./1.png": png(1), "1.png": png(2)})
    with pytest.raises(InputError, match=r"holds '1\.png' twice"):
        archives.listed(file)


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        member = tarfile.TarInfo("1.png")
        member.size = len(png(1))
        archive.addfile(member, io.BytesIO(png(1)))
    link_in_zip = zipfile.ZipInfo("link.png")
    link_in_zip.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive_b:
        archive_b.writestr(link_in_zip, "/etc/passwd")
    data = load({"name": "archive", "root": str(tmp_path)})
    assert list(data.table["path"]) == ["a.tar#1.png"]
    assert "2 files are set aside, which are links and the like" in said(data)


def test_an_archive_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    zipped(tmp_path / "faces.zip", FACES)
    (tmp_path / "in").mkdir()
    os.symlink(tmp_path / "faces.zip", tmp_path / "in" / "link.zip")
    with pytest.raises(InputError, match="leaves the manifest's folder"):
        load({"name": "archive", "root": str(tmp_path / "in")})
    with pytest.raises(Unreadable, match="outside the folder"):
        decode(Path("link.zip#man/1.png"), tmp_path / "in")


def test_archives_in_archives_and_packed_as_a_whole_are_counted(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", FACES).read_bytes()
    (tmp_path / "inner.zip").unlink()
    tarred(tmp_path / "solid.tar.gz", FACES, "w:gz")
    with pytest.raises(InputError, match=r"'solid\.tar\.gz' are found once it is unpacked"):
        load({"name": "archive", "root": str(tmp_path)})
    zipped(tmp_path / "a.zip", {"1.png": png(), "more/inner.zip": inner})
    told = said(load({"name": "archive", "root": str(tmp_path)}))
    assert "1 files are set aside, which are archives in archives: 'a.zip#more/inner.zip'" in told
    assert "1 files are set aside, which are packed as a whole" in told
    (tmp_path / "solid.tar.gz").rename(tmp_path / "b.tar")
    with pytest.raises(InputError, match=r"b\.tar: not a whole tar.*unpack it to \.tar"):
        load({"name": "archive", "root": str(tmp_path)})


@pytest.mark.parametrize("kept", [0, 300, 512, 700, 1100, 2048])
def test_an_archive_that_was_cut_is_refused(tmp_path: Path, kept: int) -> None:
    whole = zipped(tmp_path / "a.zip", FACES).read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: min(kept, len(whole) - 10)])
    with pytest.raises(InputError, match="not a whole zip"):
        archives.listed(tmp_path / "a.zip")
    whole = tarred(tmp_path / "b.tar", FACES).read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[:kept])
    with pytest.raises(InputError, match="not a whole tar|has no end"):
        archives.listed(tmp_path / "b.tar")


def test_a_tar_that_is_damaged_or_joined_is_refused_and_not_read_in_part(tmp_path: Path) -> None:
    whole = tarred(tmp_path / "a.tar", FACES).read_bytes()
    (tmp_path / "joined.tar").write_bytes(whole + whole)
    with pytest.raises(InputError, match="two archives were joined there"):
        archives.listed(tmp_path / "joined.tar")
    damaged = bytearray(whole)
    damaged[1024 + 10] ^= 255  # in the header of the second member
    (tmp_path / "damaged.tar").write_bytes(damaged)
    with pytest.raises(InputError, match="is damaged at byte 1,024"):
        archives.listed(tmp_path / "damaged.tar")


def test_a_member_that_unpacks_to_too_much_is_set_aside_unread(tmp_path: Path) -> None:
    file = zipped(tmp_path / "a.zip", {"bomb.png": b"\0" * 5_000_000, "1.png": png(1)})
    raw = bytearray(file.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24  # the size that its list states
    raw[at : at + 4] = struct.pack("<I", archives.LARGEST + 1)
    file.write_bytes(raw)
    with pytest.raises(Unreadable, match="it unpacks to 536,870,913 bytes"):
        decode(tmp_path / "a.zip#bomb.png")
    raw[at : at + 4] = struct.pack("<I", 4_000_000)  # less than it is: not read beyond
    file.write_bytes(raw)
    with pytest.raises(Unreadable, match="unreadable: "):
        decode(tmp_path / "a.zip#bomb.png")
    data = load({"name": "archive", "root": str(tmp_path)})
    # also the one before, as whether it is still shown can't be told
    assert set(look(data).faults) == {"a.zip#bomb.png"}


def test_a_damaged_or_encrypted_member_is_never_a_picture(tmp_path: Path) -> None:
    file = zipped(tmp_path / "a.zip", {"1.png": png(1)}, zipfile.ZIP_STORED)
    raw = bytearray(file.read_bytes())
    raw[60] ^= 255
    file.write_bytes(raw)
    with pytest.raises(Unreadable, match="unreadable: Bad CRC-32"):
        decode(tmp_path / "a.zip#1.png")
    file = zipped(tmp_path / "b.zip", {"1.png": png(1)})
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(raw)
    with pytest.raises(InputError, match=r"b\.zip: is encrypted"):
        archives.listed(file)


def test_folders_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {f"faces/{name}": content for name, content in FACES.items()})
    keys = {"name": "archive", "root": str(tmp_path), **SAID}
    with pytest.raises(InputError, match="in the folder 'faces'.*'inside: faces'"):
        load(keys)
    assert set(load(keys | {"inside": "faces"}).groups("gender")) == {"man", "woman"}
    zipped(tmp_path / "a.zip", {"train/a/1.png": png(), "val/a/1.png": png()})
    with pytest.raises(InputError, match="folders are parts, train, val.*'inside: train'"):
        load(keys)
    with pytest.raises(InputError, match="'attribute' and 'source' go together"):
        load(keys | {"source": None})
    with pytest.raises(InputError, match=r"has no zip or tar archive 'b\*'"):
        load(keys | {"files": "b*"})
    with pytest.raises(InputError, match="is no pattern of file names below root"):
        load(keys | {"files": "/etc/*"})
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(InputError, match="not a whole zip"):
        load(keys)
    zipped(tmp_path / "a.zip", {})
    with pytest.raises(InputError, match="no picture is left"):
        load(keys)


# --- WebDataset -------------------------------------------------------------------------------


def shard(
    path: Path, samples: dict[str, dict[str, Any] | None], extra: dict[str, bytes] | None = None
) -> dict[str, Any]:
    """A shard of samples by key, each with a picture and its json; the keys that name it."""
    members = {}
    for n, (key, columns) in enumerate(samples.items()):
        members[f"{key}.png"] = png(n)
        if columns is not None:
            members[f"{key}.json"] = json.dumps(columns).encode()
    tarred(path, members | (extra or {}))
    gender = {"gender": {"source": "annotator-perceived"}}
    return {"name": "webdataset", "root": str(path.parent), "attributes": gender}


PEOPLE: dict[str, dict[str, Any] | None] = {
    "000": {"gender": "woman", "age": 34, "score": 1.10, "box": [1, 2], "ok": True},
    "001": {"gender": "man", "age": None, "score": 1.1, "person": "p1"},
    "002": None,
}


def test_a_sample_of_a_shard_is_a_row_with_the_keys_of_its_json(tmp_path: Path) -> None:
    keys = shard(
        tmp_path / "a-0.tar", PEOPLE, {"000.txt": b"\xef\xbb\xbfa woman\n", "000.npy": b"x"}
    )
    shard(tmp_path / "a-1.tar", {"x/000": {"gender": "man", "person": "p1"}})
    data = load(keys)
    assert data.grouping("gender").to_dict() == {
        "a-0.tar#000.png": "woman", "a-0.tar#001.png": "man", "a-0.tar#002.png": None,
        "a-1.tar#x/000.png": "man",
    }  # fmt: skip
    assert shades(data) == [0, 1, 2, 0]
    first = data.table.iloc[0]
    assert (first["age"], first["txt"], first["ok"]) == ("34", "a woman", "true")
    assert "box" not in data.table
    with pytest.raises(InputError, match="'box' holds values of several parts"):
        load(keys | {"attributes": {"box": {"source": "assigned"}}})
    with pytest.raises(InputError, match="row 1 below the header has no person"):
        load(keys | {"cluster_column": "person"})
    assert len(load(keys | {"shards": "a-1.tar"})) == 1


def test_samples_without_a_picture_are_counted_by_group_and_lost_shards_said(
    tmp_path: Path,
) -> None:
    lost = {"9.json": b'{"gender": "woman"}', "8.json": b'{"gender": "man"}'}
    keys = shard(tmp_path / "val-00.tar", PEOPLE, lost)
    shard(tmp_path / "val-03.tar", {"000": {"gender": "man"}})
    told = said(load(keys))
    assert "2 files are set aside, which have no picture" in told
    assert "by gender: 'woman' (1), 'man' (1)" in told
    assert "2 shards lack between 'val-00.tar' and 'val-03.tar'" in told


def test_classes_give_codes_a_name_and_codes_without_are_pointed_at(tmp_path: Path) -> None:
    keys = shard(tmp_path / "a.tar", {"0": {}, "1": {}}, {"0.cls": b"0", "1.cls": b"1\n"})
    keys["attributes"] = {"cls": {"source": "assigned"}}
    assert "'cls': its groups look like codes" in said(load(keys))
    named = load(keys | {"classes": {"cls": ["woman", "man"]}})
    assert named.grouping("cls").tolist() == ["woman", "man"]
    assert "codes" not in said(named)
    with pytest.raises(InputError, match="row 2 has the code 1. Its classes have 1 names"):
        load(keys | {"classes": {"cls": ["woman"]}})
    with pytest.raises(InputError, match="classes: no column 'sex'"):
        load(keys | {"classes": {"sex": ["woman"]}})


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"000.json": b"{"}, "holds '000.json' twice"),
        ({"5.json": b"{"}, "sample '5': its json can't be read"),
        ({"5.json": b"[" * 100_000}, "sample '5': its json can't be read"),
        ({"5.json": b"[1]"}, "sample '5': its json is no object"),
        ({"5.json": b'{"a": 1, "a": 2}'}, "it gives a key twice"),
        ({"5.json": b'{"picture": 1}', "5.jpg": b""}, "gives 'picture' twice"),
        ({"5.json": b'{"txt": 1}', "5.txt": b"x"}, "gives 'txt' twice"),
        ({"5.txt": b"\xff\xfe\xfa"}, "'5.txt' is no text in UTF-8"),
        ({"5.png": png(), "5.face.jpg": png()}, "has several pictures: face.jpg, png"),
    ],
)
def test_a_sample_that_can_be_misread_is_refused(
    tmp_path: Path, extra: dict[str, bytes], told: str
) -> None:
    keys = shard(tmp_path / "a.tar", {"000": {"gender": "man"}})
    members = {"000.png": png(), "000.json": b"{}"} | (extra if "000.json" not in extra else {})
    tarred(tmp_path / "a.tar", members)
    if "000.json" in extra:
        with tarfile.open(tmp_path / "a.tar", "a") as archive:
            member = tarfile.TarInfo("000.json")
            archive.addfile(member)
    with pytest.raises(InputError, match=told):
        load(keys)


def test_of_several_pictures_a_sample_the_ending_names_one(tmp_path: Path) -> None:
    keys = shard(tmp_path / "a.tar", {"0": {"gender": "man"}}, {"0.face.png": png(9)})
    assert shades(load(keys | {"ending": "face.png"})) == [9]


# --- frames -----------------------------------------------------------------------------------


def test_frames_of_a_folder_are_clustered_by_video_and_taken_in_time(tmp_path: Path) -> None:
    for name in ("VIRAT_S_0/2.png", "VIRAT_S_0/10.png", "VIRAT_S_0/1.png", "other/a/1.JPG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    (tmp_path / "stray.png").write_bytes(png())
    keys = {"name": "frame-folders", "root": str(tmp_path)}
    data = load(keys)
    assert list(data.table["path"]) == [
        "VIRAT_S_0/1.png", "VIRAT_S_0/2.png", "VIRAT_S_0/10.png", "other/a/1.JPG"
    ]  # fmt: skip
    assert list(data.table["cluster_id"]) == ["VIRAT_S_0"] * 3 + ["other/a"]
    assert "1 files are set aside, which are in no folder of a video" in said(data)
    assert list(load(keys | {"step": 2}).table["path"])[:2] == [
        "VIRAT_S_0/1.png", "VIRAT_S_0/10.png"
    ]  # fmt: skip
    by_class = load(keys | SAID)
    assert by_class.grouping("gender").to_dict() == {"other/a/1.JPG": "other"}
    assert "4 files are set aside" in said(by_class)


def test_times_run_from_the_start_while_the_video_lasts() -> None:
    assert video.times(Fraction(3), 1) == ["0", "1", "2"]
    assert video.times(Fraction(31, 10), 1) == ["0", "1", "2", "3"]
    assert video.times(Fraction(1), 0.3) == ["0", "0.3", "0.6", "0.9"]
    assert video.times(Fraction(1, 10), 5) == ["0"]
    assert video.times(Fraction(20_000), 9999.5)[-1] == "19999"


def test_without_the_library_videos_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    video.require_av.cache_clear()
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match=r"not installed. pip install 'clip-audit\[video\]'"):
        load({"name": "video-frames", "root": str(tmp_path)})
    with pytest.raises(Unreadable, match=r"unreadable: video files are read by PyAV"):
        decode(tmp_path / "a.mp4#t=1")
    video.require_av.cache_clear()


def film(
    path: Path, rate: int = 10, codec: str = "mpeg4", noise: bool = False, **stream: Any
) -> Path:
    """Three seconds, each frame brighter than the one before: frame n has the shade 16 n."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        grain = Image.effect_noise((64, 48), 64).convert("RGB")
        track = out.add_stream(codec, rate=rate)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for key, value in stream.items():
            setattr(track.codec_context, key, value)
        for n in range(3 * rate):
            shade = Image.new("RGB", (64, 48), (16 * n % 256,) * 3)
            shade = ImageChops.offset(grain, n) if noise else shade
            out.mux(track.encode(av.VideoFrame.from_image(shade)))
        out.mux(track.encode())
    return path


def off(frame: Image.Image, number: int) -> int:
    """By how many shades of grey a frame differs from the one of this number; 16 are a frame."""
    shade = frame.getpixel((20, 20))
    assert isinstance(shade, tuple)
    return min((shade[0] - 16 * number) % 256, (16 * number - shade[0]) % 256)


@pytest.mark.parametrize(
    ("name", "rate", "codec", "far"),
    [
        ("a.mp4", 10, "mpeg4", 7),
        ("a.avi", 25, "mpeg4", 7),
        ("a.MKV", 10, "mpeg4", 7),
        ("a.MPG", 25, "mpeg2video", 23),  # times are guessed to a frame
    ],
)
def test_a_frame_is_the_one_that_is_shown_at_its_time(
    tmp_path: Path, name: str, rate: int, codec: str, far: int
) -> None:
    file = film(tmp_path / name, rate, codec)
    for time in ("0", "0.5", "1", "1.9", "2.04"):
        frame = decode(Path(f"{file}#t={time}"))
        assert off(frame, int(Fraction(time) * rate)) <= far, time
        video._frame.cache_clear()
        assert frame.tobytes() == decode(Path(f"{file}#t={time}")).tobytes()
    with pytest.raises(Unreadable, match="missing: the video has no frame at 3.2 s"):
        decode(Path(f"{file}#t=3.2"))
    assert decode(Path(f"{file}#t=1#xywh=0,0,10,20")).size == (10, 20)


def test_a_video_whose_header_asks_for_frames_without_end_is_set_aside(tmp_path: Path) -> None:
    raw = bytearray(film(tmp_path / "a.mkv").read_bytes())
    at = raw.index(b"\x44\x89\x88") + 3  # Matroska's Duration, in milliseconds
    raw[at : at + 8] = struct.pack(">d", 1e14)
    (tmp_path / "a.mkv").write_bytes(raw)
    with pytest.raises(InputError, match="says that it lasts"):
        video.length(tmp_path / "a.mkv")


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    file = film(tmp_path / "wide.mp4", sample_aspect_ratio=Fraction(2))
    assert decode(Path(f"{file}#t=1")).size == (128, 48)


def test_videos_are_clusters_and_what_cannot_be_opened_is_counted_by_group(
    tmp_path: Path,
) -> None:
    film(tmp_path / "day" / "a.mp4")
    film(tmp_path / "night" / "b.AVI")
    (tmp_path / "night" / "no.mp4").write_bytes(b"no video")
    (tmp_path / "night" / "empty.mkv").write_bytes(b"")
    (tmp_path / "stray.mp4").write_bytes(b"")
    (tmp_path / "day" / "notes.txt").write_text("x")
    keys = {"name": "video-frames", "root": str(tmp_path), "every": 1.5}
    data = load(keys | {"attribute": "light", "source": "assigned"})
    assert list(data.table["path"]) == [
        "day/a.mp4#t=0", "day/a.mp4#t=1.5", "night/b.AVI#t=0", "night/b.AVI#t=1.5"
    ]  # fmt: skip
    assert list(data.table["cluster_id"]) == ["day/a.mp4"] * 2 + ["night/b.AVI"] * 2
    assert data.groups("light") == ("day", "night")
    assert "2 files are set aside, which can't be opened as videos" in said(data)
    assert "by light: 'night' (2)" in said(data)
    assert "2 files are set aside, which by their name are no video, or in no folder" in said(data)
    assert not look(data).faults
    assert VideoFrames.grain == "frame"
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="no picture is left; 1 files are set aside, which can't"):
        load(keys | {"root": str(tmp_path / "lost")})
    with pytest.raises(InputError, match="'time' names a picture"):
        load(keys | {"attribute": "time", "source": "assigned"})
    with pytest.raises(InputError, match="every"):
        load(keys | {"every": 0})


def test_a_video_that_was_cut_gives_the_frames_that_it_holds(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(whole[: whole.index(b"movi") + 1500])
    data = load({"name": "video-frames", "root": str(tmp_path), "every": 0.1})
    faults = look(data).faults
    for image_id, path in data.files():
        if image_id not in faults:
            assert off(decode(path), round(float(image_id.partition("t=")[2]) * 10)) <= 7, image_id
    assert len(faults) < len(data) < 30


def test_frames_that_rest_on_damaged_ones_are_set_aside_and_not_painted_over(
    tmp_path: Path,
) -> None:
    file = film(tmp_path / "a.mp4", gop_size=10, noise=True)
    av = pytest.importorskip("av")
    with av.open(str(file)) as held:
        place, size = [(p.pos, p.size) for p in held.demux(video=0) if p.size][14]
    raw = bytearray(file.read_bytes())
    raw[place + size // 2 : place + size // 2 + 8] = b"\x5a" * 8
    file.write_bytes(raw)
    data = load({"name": "video-frames", "root": str(tmp_path), "every": 0.1})
    # also the one before, as whether it is still shown can't be told
    assert set(look(data).faults) == {f"a.mp4#t=1.{n}" for n in range(3, 10)}

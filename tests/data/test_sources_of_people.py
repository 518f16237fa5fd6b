"""FACET, VisoGender, SocialCounterfactuals, Casual Conversations v2, FHIBE, PHASE, PATA and COCO.

Tiny folders in each official layout, right and wrong, never the real set.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from audit.core.errors import InputError
from audit.core.files import digest_of
from audit.data.dataset import Dataset, load
from audit.data.images import Unreadable, decode
from audit.data.pictures import look, of_faults
from audit.data.sources import SOURCES, fhibe
from audit.data.sources.facet import CHOSEN, MARKED, TONES
from audit.data.sources.pata import PATA
from audit.data.sources.visogender import VisoGender
from audit.measure.metrics import Groups, grouped
from audit.stats.clustered import correlation
from audit.stats.counts import count


def picture(path: Path, shade: int = 0, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade % 256, 80, 160)).save(path, "PNG")


def said(data: Dataset) -> str:
    return "\n".join(remark.text for remark in data.remarks)


def lost_by_group(data: Dataset, attribute: str) -> str:
    """What `clip-audit check` says of pictures that are not there."""
    groups = grouped(data, {attribute: None}, [])
    return "\n".join(r.text for r in of_faults(groups, look(data).faults))


# --- FACET --------------------------------------------------------------------------------------

_ENDS = {f"{name}_{end}": 0 for name, ends in CHOSEN.items() for end in ends}


def person(number: int, file: str, **counts: Any) -> dict[str, Any]:
    """A row of FACET with nothing but a box and what is given."""
    box = json.dumps({"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0})
    row = {
        "person_id": number,
        "filename": file,
        "class1": "nurse",
        "class2": "",
        "bounding_box": box,
        **_ENDS,
        **dict.fromkeys((*TONES, "skin_tone_na", *MARKED), 0),
    }
    assert set(counts) <= set(row)
    return row | counts  # fmt: skip


PEOPLE = [
    person(7, "a.jpg", gender_presentation_masc=1, gender_presentation_fem=1, skin_tone_1=1,
           skin_tone_2=1, skin_tone_3=1, has_cap=2, age_presentation_middle=2,
           age_presentation_young=1),
    person(8, "a.jpg", gender_presentation_fem=3, skin_tone_3=2, age_presentation_na=3),
    person(9, "b.jpg", gender_presentation_non_binary=2, gender_presentation_masc=1,
           skin_tone_na=3),
]  # fmt: skip


def facet(folder: Path, rows: Sequence[dict[str, Any]] = tuple(PEOPLE)) -> dict[str, Any]:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "annotations" / "annotations.csv", index=False)
    picture(folder / "imgs_1" / "a.jpg", 10)
    picture(folder / "imgs_3" / "b.jpg", 20)
    return {"name": "facet", "root": str(folder)}


def test_people_of_facet_are_boxes_and_ties_are_no_group(tmp_path: Path) -> None:
    data = load(facet(tmp_path))
    assert list(data.table["image_id"]) == ["7", "8", "9"]
    assert list(data.table["cluster_id"]) == ["a.jpg", "a.jpg", "b.jpg"]
    assert data.grouping("gender_presentation").tolist() == [None, "feminine", "non-binary"]
    assert data.grouping("age_presentation").tolist() == ["middle", None, None]
    assert data.grouping("has_cap").tolist() == ["yes", "no", "no"]
    told = said(data)
    assert "'gender_presentation': annotators are tied for 1 people" in told
    assert "'age_presentation': annotators are tied" not in told
    assert "people: 3 pictures are listed, officially 49,551" in told
    assert [decode(path).size for _, path in data.files()] == [(3, 4)] * 3
    assert [path.parent.name for _, path in data.files()] == ["imgs_1", "imgs_1", "imgs_3"]


def test_each_skin_tone_of_facet_is_chosen_or_not_and_the_lightest_is_not_taken(
    tmp_path: Path,
) -> None:
    data = load(facet(tmp_path))
    assert data.grouping("skin_tone_1").tolist() == ["yes", "no", None]
    assert data.grouping("skin_tone_3").tolist() == ["yes", "yes", None]
    assert "skin_tone" not in data.attributes
    tones = load(facet(tmp_path) | {"rows": "tones"})
    assert list(tones.attributes) == ["skin_tone"]
    assert tones.grouping("skin_tone").tolist() == ["1", "2", "3", "3", None]
    assert list(tones.table["image_id"])[:2] == ["7, tone 1", "7, tone 2"]
    assert list(tones.table["cluster_id"]) == ["a.jpg"] * 4 + ["b.jpg"]
    assert "some people more" in tones.card.known_limits[-1]


def test_a_cap_on_pictures_of_one_address_holds_for_any_source(tmp_path: Path) -> None:
    whole, keys = load(facet(tmp_path)), facet(tmp_path) | {"most_per_cluster": 1}
    kept = load(keys)
    assert whole.table["cluster_id"].duplicated().any()
    assert sorted(kept.table["cluster_id"]) == sorted(whole.table["cluster_id"].unique())
    assert kept.digest != whole.digest
    assert any("are left out" in remark.text for remark in kept.remarks)
    named = {"name": "image-folder", "root": str(tmp_path), "attribute": "gender"}
    for folder in ("man", "woman"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").touch()
    with pytest.raises(InputError, match="'image-folder': 'most_per_cluster' caps what repeats"):
        load(named | {"source": "assigned", "most_per_cluster": 1})


def test_groups_of_skin_tone_that_share_people_are_compared_as_such(tmp_path: Path) -> None:
    """The rates of two groups of m people that share k correlate by k / m."""
    tones = [{"skin_tone_4": int(n < 200), "skin_tone_5": int(n >= 100)} for n in range(300)]
    rows = [person(n, f"{n}.jpg", **each) for n, each in enumerate(tones)]
    data = load(facet(tmp_path, rows) | {"rows": "tones"})
    keys = list(data.table["image_id"])
    groups = Groups.of(data, keys, grouped(data, {"skin_tone": None}, []))
    assert list(groups.index)[1:] == [("skin_tone", "4"), ("skin_tone", "5")]
    chosen = [[int(key.split(",")[0]) % 3 == 0] for key in keys]
    weights = groups.draws(keys, seed=1, resamples=1000).weights
    found = count(chosen, groups.member, groups.clusters, len(groups.cluster_ids), weights)
    sample = found.sample(groups.columns("skin_tone"))
    assert sample.shared[0, 1]
    assert correlation(sample, np.array([0]), np.array([1])) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"skin_tone_4": "x"}, "row 4 below the header has the skin_tone_4 'x'. It counts"),
        ({"has_mask": -1}, "has the has_mask '-1'"),
        ({"class1": "nurses"}, "has the class1 'nurses'.*Did you mean 'nurse'"),
        ({"bounding_box": '{"x": 1, "y": 2, "w": 3}'}, "has the bounding_box.*holds x, y, width"),
        ({"bounding_box": ""}, "has the bounding_box 'None'"),
        ({"bounding_box": PEOPLE[0]["bounding_box"].replace("3.0", "0")}, "0 wide and 4 high"),
        ({"person_id": 7}, "rows 1 and 4 below the header are both '7'"),
    ],
)
def test_a_row_that_facet_could_not_have_is_an_error(
    tmp_path: Path, spoilt: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(facet(tmp_path, [*PEOPLE, person(10, "b.jpg") | spoilt]))


def test_pictures_of_facet_lie_in_renamed_folders_once(tmp_path: Path) -> None:
    keys = facet(tmp_path)
    picture(tmp_path / "crops" / "a.jpg")  # not looked at beside the official folders
    assert [path.parent.name for _, path in load(keys).files()] == ["imgs_1", "imgs_1", "imgs_3"]
    (tmp_path / "crops" / "a.jpg").unlink()
    (tmp_path / "imgs_1").rename(tmp_path / "image")
    (tmp_path / "imgs_3").rename(tmp_path / "more")
    (tmp_path / "more" / "b.jpg").rename(tmp_path / "more" / "b.JPG")
    data = load(keys)
    assert [path.name.split("#")[0] for _, path in data.files()] == ["a.jpg", "a.jpg", "b.JPG"]
    assert not look(data).faults
    picture(tmp_path / "copy" / "a.jpg")
    with pytest.raises(InputError, match=r"'a\.jpg' is there twice, as 'copy/a.jpg' and 'image/a"):
        load(keys)


def test_pictures_of_facet_that_are_not_there_are_counted_by_group(tmp_path: Path) -> None:
    keys = facet(tmp_path)
    (tmp_path / "imgs_1" / "a.jpg").unlink()
    assert "'feminine' (1)" in lost_by_group(load(keys), "gender_presentation")


def test_a_list_of_facet_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "hair_color_grey"} for row in PEOPLE]
    with pytest.raises(InputError, match="has no column 'hair_color_grey'"):
        load(facet(tmp_path, rows))


# --- VisoGender ---------------------------------------------------------------------------------


def visogender(folder: Path, split: str = "OO", **spoilt: str) -> dict[str, Any]:
    """Four rows, with Windows' line ends and none after the last row."""
    url = "URL type (Type NA if can't find)"
    beside = ("Object", "LICENSE OK?") if split == "OO" else ("Participant", "Licence")
    header = ["IDX", "Sector", "Specialisation", "Occupation", beside[0], url, beside[1],
              "Occupation_perceived_gender"]  # fmt: skip
    header += ["Participant_perceived_gender"] if split == "OP" else []
    header += ["Error codes", "Annotator"]
    lines = ["\t".join(header)]
    for n in range(1, 5):
        row = {
            "IDX": f"{split}_{n}", "Sector": "service", "Specialisation": "food_service",
            "Occupation": "baker", "Object": "mixing_spoon" if n == 1 else "mixing spoon",
            "Participant": "customer", url: f"https://example.org/{n}", "LICENSE OK?": "Yes",
            "Licence": "Yes", "Occupation_perceived_gender": ("masculine", "feminine")[n % 2],
            "Participant_perceived_gender": "feminine", "Error codes": "", "Annotator": "Ada Byron",
        }  # fmt: skip
        row |= spoilt if n == 4 else {}
        lines.append("\t".join(row[name] for name in header))
        picture(folder / "pictures" / f"{split}_{n}{'.JPG' if n == 2 else '.png'}", n)
    name = {"OO": "OO_Visogender_10052025.tsv", "OP": "OP_Visogender_11012024.tsv"}[split]
    listed = folder / "data" / "visogender_data" / split / name
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("\r\n".join(lines), newline="")
    return {"name": "visogender", "root": str(folder), "split": split}


def test_both_lists_of_visogender_are_read_without_names_of_annotators(tmp_path: Path) -> None:
    for split, beside in (("OO", "Object"), ("OP", "Participant")):
        data = load(visogender(tmp_path / split, split))
        assert len(data) == 4
        assert not look(data).faults
        assert data.grouping("Occupation_perceived_gender").tolist() == [
            "feminine", "masculine", "feminine", "masculine"
        ]  # fmt: skip
        assert ("Participant_perceived_gender" in data.attributes) == (split == "OP")
        assert beside in data.table
        assert "Ada" not in data.table.to_csv()
        assert "example.org" not in data.table.to_csv()
        assert "its bytes are not those that were published" in said(data)
        assert f"{split}: 4 pictures are listed, officially {230 if split == 'OO' else 460}" in (
            said(data)
        )
    assert set(load(visogender(tmp_path / "OO")).table["Object"]) == {"mixing spoon"}


def test_pictures_of_visogender_that_are_lost_are_counted_by_gender(tmp_path: Path) -> None:
    keys = visogender(tmp_path, **{"URL type (Type NA if can't find)": "NA"})
    (tmp_path / "pictures" / "OO_1.png").unlink()
    data = load(keys)
    assert "1 files are set aside, for which no address was found: 'OO_4'" in said(data)
    assert "by Occupation_perceived_gender: 'masculine' (1)" in said(data)
    assert "'feminine' (1)" in lost_by_group(data, "Occupation_perceived_gender")


def test_values_that_visogender_does_not_have_are_an_error(tmp_path: Path) -> None:
    for column, value in (("Occupation", "nurse"), ("Occupation_perceived_gender", "neutral")):
        with pytest.raises(InputError, match=f"row 4 below the header has the {column} '{value}'"):
            load(visogender(tmp_path / value, **{column: value}))
    keys = visogender(tmp_path / "older")
    listed = next((tmp_path / "older").rglob("*.tsv"))
    listed.rename(listed.with_name("OO_Visogender_15082023.tsv"))
    with pytest.raises(InputError, match=r"has no file .*OO_Visogender_10052025\.tsv"):
        load(keys)


# --- SocialCounterfactuals ----------------------------------------------------------------------

SETS = [
    ("A picture of a White male plumber", "one", "White", "male"),
    ("A picture of an Asian female plumber", "one", "Asian", "female"),
    ("a skinny male Civil Engineer", "two", "skinny", "male"),
    ("An image of an old Middle Eastern Goldsmith", "three", "old", "Middle Eastern"),
]


def counterfactuals(folder: Path, rows: Sequence[tuple[str, ...]] = tuple(SETS)) -> dict[str, Any]:
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(content, "PNG")
    shown = [{"bytes": content.getvalue(), "path": f"{n}.png"} for n in range(len(rows))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = dict(zip(("caption", "counterfactual_set", "a1", "a2"), zip(*rows, strict=True),
                       strict=True))  # fmt: skip
    table = pa.table({"image": pa.array(shown, kind), **{k: list(v) for k, v in columns.items()}})
    (folder / "data").mkdir(parents=True)
    pq.write_table(table, folder / "data" / "train-00000-of-00001-8fdb94511eb8e07f.parquet")
    return {"name": "social-counterfactuals", "root": str(folder)}


def test_occupations_of_counterfactuals_are_cut_out_of_their_captions(tmp_path: Path) -> None:
    data = load(counterfactuals(tmp_path))
    assert list(data.table["occupation"]) == ["plumber", "plumber", "civil engineer", "goldsmith"]
    assert list(data.table["cluster_id"]) == ["one", "one", "two", "three"]
    assert data.grouping("race").tolist() == ["White", "Asian", None, "Middle Eastern"]
    assert data.grouping("gender").tolist() == ["male", "female", "male", None]
    assert data.grouping("physical").tolist() == [None, None, "skinny", "old"]
    assert [decode(path).size for _, path in data.files()] == [(4, 4)] * 4
    assert not data.card.photographs


def test_captions_and_words_that_counterfactuals_do_not_have_are_an_error(tmp_path: Path) -> None:
    for n, (row, told) in enumerate(
        [
            (("A male White plumber", "x", "White", "male"), "row 5 has the caption 'A male Wh"),
            (("A White male", "x", "White", "male"), "no occupation follows 'White male'"),
            (("a white male cook", "x", "white", "male"), "has the a1 'white'.*mean 'White'"),
        ]
    ):
        with pytest.raises(InputError, match=told):
            load(counterfactuals(tmp_path / str(n), [*SETS, row]))


# --- Casual Conversations v2 --------------------------------------------------------------------


def video(subject: object, **more: Any) -> dict[str, Any]:
    name = f"{str(subject).zfill(4)}_portuguese_nonscripted_1"
    return {
        "video_name": f"{name}.mp4", "subject_id": subject, "age": 31, "gender": "cis woman",
        "monk_skin_tone": {"scale": "scale 10", "confidence": "high"},
        "fitzpatrick_skin_tone": {"type": "type iv", "confidence": "low"},
        "geo_location": {"country": "brazil", "state_region": "bahia"},
        "native_language": "portuguese",
    } | more  # fmt: skip


VIDEOS = [
    video("0001"),
    video("0001", video_name="0001_portuguese_scripted_1.mp4"),
    video(27, gender="cis man", age="prefer not to say", monk_skin_tone={"scale": "scale 1"}),
    video("0300", gender=None, fitzpatrick_skin_tone={"type": "type i"}),
]


def conversations(folder: Path, videos: Sequence[object] = tuple(VIDEOS)) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "CasualConversationsV2.json").write_text(json.dumps(list(videos)))
    for part, subject, name in (
        (1, "0001", "0001_portuguese_nonscripted_1_raw_frame00000381"),
        (1, "0001", "0001_portuguese_scripted_1_raw_frame00000005"),
        (2, "0027", "0027_portuguese_nonscripted_1_raw_frame00000001"),
    ):
        picture(folder / f"ccv2-frames-part-{part}" / subject / f"{name}.jpg", part)
    return {"name": "casual-conversations-v2", "root": str(folder)}


def test_frames_have_what_the_list_says_of_their_video(tmp_path: Path) -> None:
    data = load(conversations(tmp_path))
    assert list(data.table["cluster_id"]) == ["0001", "0001", "0027"]
    assert data.grouping("gender").tolist() == ["cis woman", "cis woman", "cis man"]
    assert data.grouping("age", [30]).tolist() == ["30+", "30+", None]
    assert data.grouping("monk_skin_tone").tolist() == ["10", "10", "1"]
    assert data.grouping("fitzpatrick").tolist() == ["iv", "iv", "iv"]
    assert data.attributes["gender"].source == "self-reported"
    assert data.attributes["monk_skin_tone"].source == "annotator-perceived"
    assert "1 listed videos have no frame here, by gender: 'not stated' (1)" in said(data)
    (tmp_path / "ccv2-frames-part-1" / "0001" / "._x.jpg").write_bytes(b"of a Mac")
    picture(tmp_path / "ccv2-frames-part-1" / "0999" / "0999_hindi_scripted_1_raw_frame01.jpg")
    assert "1 files are set aside, whose name is of no listed video" in said(
        load(conversations(tmp_path))
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (video("0001", gender="woman"), "has the gender 'woman'.*'cis man', 'cis woman'"),
        (video("0001", age=17), "the video '0001_portuguese_nonscripted_1' has the age '17'"),
        (video("0001", monk_skin_tone={"scale": "scale 11"}), "has the monk_skin_tone '11'"),
        (video("0001", subject_id=""), "entry 1 has no subject_id or no video_name"),
        ("0001", "entry 1 has no subject_id or no video_name"),
    ],
)
def test_an_entry_that_conversations_could_not_have_is_an_error(
    tmp_path: Path, entry: object, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(conversations(tmp_path, [entry, *VIDEOS[1:]]))


def test_a_list_of_videos_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    keys = conversations(tmp_path, [*VIDEOS, VIDEOS[0]])
    with pytest.raises(InputError, match="lists the video '0001_portuguese_nonscripted_1' twice"):
        load(keys)
    listed = tmp_path / "CasualConversationsV2.json"
    for text, told in (
        (listed.read_text()[:-9], "no whole JSON"),
        ("{}", "is not a list with anything in it"),
        ("[]", "is not a list with anything in it"),
    ):
        listed.write_text(text)
        with pytest.raises(InputError, match=told):
            load(keys)


# --- FHIBE --------------------------------------------------------------------------------------

NAME = "fhibe.20260110.u.gT5_rFTA_downsampled_public"


def fhibe_row(image: str, subject: str, **more: Any) -> dict[str, Any]:
    return {
        "image_id": image, "keypoints": "x" * 140_000 if image == "i1" else "{}",
        "filepath": f"data/raw/fhibe_downsampled/{subject}/{image}/main_{image}.png",
        "subject_id": subject, "is_primary": True, "age": 30, "pronoun": "['0. She/her/hers']",
        "ancestry": "['11. Asia', '13. Eastern Asia']",
        "natural_skin_color": "2. [164, 131, 103]", "apparent_skin_color": "0. [102, 78, 65]",
        "natural_hair_type": "1. Straight", "apparent_hair_type": "5. Not listed",
    } | more  # fmt: skip


FACES = [
    fhibe_row("i1", "007"),
    fhibe_row("i2", "007", pronoun="['0. She/her/hers', '2. They/them/their']"),
    fhibe_row("i3", "100", ancestry="['0. Africa', '17. Europe']", age="41.0"),
    fhibe_row("i3", "200", is_primary=False, pronoun="['1. He/him/his']"),
    fhibe_row("i4", "300", pronoun="['5. Prefer not to say']", ancestry="['8. Central America']"),
]


def fhibe_folder(folder: Path, rows: Sequence[dict[str, Any]] = tuple(FACES)) -> dict[str, Any]:
    root = folder / NAME
    listed = root / "data" / "processed" / "fhibe_downsampled" / "fhibe_downsampled.csv"
    listed.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(listed, index=False)
    for n, row in enumerate(rows):
        picture(root / row["filepath"], n)
    return {"name": "fhibe", "root": str(root)}


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhibe, "_today", lambda: date(2026, 1, 31))


def test_codes_of_fhibe_become_words_and_who_is_not_primary_is_set_aside(tmp_path: Path) -> None:
    data = load(fhibe_folder(tmp_path))
    assert list(data.table["cluster_id"]) == ["007", "007", "100", "300"]
    assert data.grouping("pronoun").tolist() == ["She/her/hers", None, "She/her/hers", None]
    assert data.grouping("ancestry").tolist() == ["Asia", "Asia", None, "Americas"]
    assert set(data.table["natural_skin_color"]) == {"Tan"}
    assert set(data.table["apparent_skin_color"]) == {"Dark"}
    assert data.grouping("age", [40]).tolist() == ["under 40", "under 40", "40+", "under 40"]
    assert "keypoints" not in data.table
    assert not look(data).faults
    told = said(data)
    assert "1 files are set aside, which are of who is not primary" in told
    assert "by pronoun: 'He/him/his' (1)" in told
    assert list(data.table["second_person"]) == ["not shown", "not shown", "shown", "not shown"]
    assert "1 pictures show a second person, of whom an answer may be; 'only: {second_" in told
    assert "'pronoun': several were chosen for 1 rows" in told
    assert "'ancestry': several were chosen for 1 rows" in told
    assert data.card.version == "whole, 20260110.u.gT5_rFTA"
    assert load(fhibe_folder(tmp_path) | {"root": str(tmp_path)}).digest == data.digest


def test_an_old_version_of_fhibe_is_pointed_at(tmp_path: Path) -> None:
    keys = fhibe_folder(tmp_path)
    assert "days old" not in said(load(keys))
    assert "days old" not in said(load(keys | {"downloaded": "2025-12-31"}))
    old = load(keys | {"downloaded": "2025-12-30"})
    assert "this version is 32 days old; people who withdrew their consent are taken" in said(old)
    assert old.card.version.endswith("downloaded 2025-12-30 as stated")
    with pytest.raises(InputError, match="downloaded: got 2026-02-01, which is still to come"):
        load(keys | {"downloaded": "2026-02-01"})
    for name in ("data set", NAME.replace("20260110", "v1")):
        Path(keys["root"]).rename(tmp_path / name)
        keys["root"] = str(tmp_path / name)
        unknown = load(keys)
        assert "says how old this version is" in said(unknown)
        assert "days old" not in said(unknown)


def test_faces_of_fhibe_are_pictures_of_their_own(tmp_path: Path) -> None:
    rows = [row | {"filepath": row["filepath"].replace("main_", f"faces_{row['subject_id']}_")}
            for row in FACES]  # fmt: skip
    keys = fhibe_folder(tmp_path, rows)
    processed = Path(keys["root"]) / "data" / "processed"
    (processed / "fhibe_face_crop_align").mkdir()
    (processed / "fhibe_downsampled" / "fhibe_downsampled.csv").rename(
        processed / "fhibe_face_crop_align" / "fhibe_face_crop_align.csv"
    )
    data = load(keys | {"crop": "face"})
    assert list(data.table["cluster_id"]) == ["007", "007", "100", "200", "300"]
    assert "set aside" not in said(data)


def test_no_picture_of_fhibe_is_shown(tmp_path: Path) -> None:
    data = load(fhibe_folder(tmp_path))
    assert "says that no picture of it is shown" in str(data.refuse_showing())
    assert data.refuse_suspicion() is None
    shown = load(visogender(tmp_path / "other")).refuse_showing()
    assert "may show (its card doesn't say) named people" in str(shown)


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"pronoun": "['9. She']"}, "row 6 below the header has the pronoun '\\['9. She'\\]'"),
        ({"pronoun": "[]"}, "It holds no code"),
        ({"ancestry": "['27. Mars']"}, "has the ancestry"),
        ({"natural_skin_color": "Tan"}, "has the natural_skin_color 'Tan'. Official are codes"),
        ({"natural_hair_type": ""}, "has the natural_hair_type 'None'"),
        ({"age": 17}, "has the age '17'"),
        ({"is_primary": "yes"}, "has the is_primary 'yes'"),
    ],
)
def test_a_row_that_fhibe_could_not_have_is_an_error(
    tmp_path: Path, spoilt: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(fhibe_folder(tmp_path, [*FACES, fhibe_row("i5", "400", **spoilt)]))


def test_two_versions_of_fhibe_in_a_folder_are_refused(tmp_path: Path) -> None:
    keys = fhibe_folder(tmp_path) | {"root": str(tmp_path)}
    shown = Path(fhibe_folder(tmp_path)["root"])
    other = tmp_path / NAME.replace("20260110", "20260120")
    (other / "data").mkdir(parents=True)
    (shown / "data" / "processed").rename(other / "data" / "processed")
    assert load(keys).card.version.startswith("whole, 20260120")
    fhibe_folder(tmp_path)
    with pytest.raises(InputError, match="holds 2 versions, such as fhibe.20260110"):
        load(keys)


# --- PHASE --------------------------------------------------------------------------------------


def phase_person(**more: Any) -> dict[str, Any]:
    values = {"age": "adult", "gender": "female", "skintone": "lighter", "ethnicity": "east_asian",
              "emotion": "neutral", "activity": "posing"}  # fmt: skip
    return {"region": [1, 2, 5, 6], "annotations": values | more}


PHOTOS: dict[str, Any] = {
    "489254_1": {
        "caption": "at work",
        "person1": phase_person(),
        "person2": phase_person(gender="disagreement", age="unsure"),
    },
    "948611_2": {"caption": "outside", "person1": phase_person(gender="male")},
}


def phase(folder: Path, held: object = PHOTOS, kind: str = "regions") -> dict[str, Any]:
    (folder / "phase_annotations").mkdir(parents=True, exist_ok=True)
    listed = folder / "phase_annotations" / f"phase_gcc_val_{kind}_20221101.json"
    listed.write_text(json.dumps(held))
    picture(folder / "images" / "val" / "489254_1", 1)
    picture(folder / "images" / "val" / "948611_2.jpg", 2)
    return {"name": "phase", "root": str(folder)}


def test_people_of_phase_are_regions_of_their_picture(tmp_path: Path) -> None:
    keys = phase(tmp_path)
    data = load(keys)
    assert list(data.table["image_id"]) == [
        "489254_1 person1", "489254_1 person2", "948611_2 person1"
    ]  # fmt: skip
    assert list(data.table["cluster_id"]) == ["489254_1", "489254_1", "948611_2"]
    assert data.grouping("gender").tolist() == ["female", None, "male"]
    assert data.grouping("age").tolist() == ["adult", None, "adult"]
    assert set(data.table["ethnicity"]) == {"east asian"}
    assert [decode(path).size for _, path in data.files()] == [(4, 4)] * 3
    (tmp_path / "images" / "val" / "948611_2.jpg").unlink()
    assert "'male' (1)" in lost_by_group(load(keys), "gender")


def test_two_of_three_annotators_of_phase_decide(tmp_path: Path) -> None:
    three = [
        phase_person(gender=gender, age=age)["annotations"] | {"worker": n}
        for n, (gender, age) in enumerate([("male", "young"), ("male", "adult"), ("female", "x")])
    ]
    held = {"489254_1": {"person1": {"region": [1, 2, 5, 6], "annotations": three}}}
    data = load(phase(tmp_path, held, "all"))
    assert data.grouping("gender").tolist() == ["male"]
    assert data.grouping("age").tolist() == [None]
    assert "worker" not in data.table


def test_people_of_phase_without_a_region_are_set_aside(tmp_path: Path) -> None:
    lacking = {"person3": {"region": [1, 2, 5, 6]}, "person4": phase_person() | {"region": None}}
    data = load(phase(tmp_path, PHOTOS | {"948611_2": PHOTOS["948611_2"] | lacking}))
    assert len(data) == 3
    assert "2 files are set aside, which are people without a region or without annotations: " in (
        said(data)
    )


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (phase_person(gender="woman"), "the person '489254_1 person1' has the gender 'woman'"),
        (phase_person(age=""), "'person1' has no age"),
        (phase_person() | {"region": [5, 6, 1, 2]}, r"has the region \[5, 6, 1, 2\]. It holds"),
        (phase_person() | {"region": [1, 2, 5]}, r"has the region \[1, 2, 5\]"),
        ({"region": [1, 2, 5, 6], "annotations": ["x"]}, "'person1' has no age"),
    ],
)
def test_a_person_that_phase_could_not_have_is_an_error(
    tmp_path: Path, held: object, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(phase(tmp_path, {"489254_1": {"person1": held}}))


# --- PATA ---------------------------------------------------------------------------------------

LINES = (
    "forest_indian_male_young|https://example.org/a.jpg",
    "drinking_water_black_female_old|https://example.org/b|c.jpg",
    "yatch_eastasian_female_young|https://example.org/a.jpg",
)


def pata(folder: Path, lines: Sequence[str] = LINES) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pata_fairness.files.lst").write_text("\n".join(lines))
    for n, line in enumerate(lines[:2]):
        picture(folder / "images" / f"{line.split('|')[0]}_{n}.png", n)
    return {"name": "pata", "root": str(folder)}


def test_labels_of_pata_are_split_from_the_right(tmp_path: Path) -> None:
    data = load(pata(tmp_path))
    assert list(data.table["scene"]) == ["forest", "drinking_water", "yatch"]
    assert data.grouping("race").tolist() == ["indian", "black", "eastasian"]
    assert data.grouping("age").tolist() == ["young", "old", "young"]
    clusters = list(data.table["cluster_id"])
    assert clusters[0] == clusters[2] != clusters[1]
    assert "example.org" not in data.table.to_csv()
    assert "'female' (1)" in lost_by_group(data, "gender")
    assert "its bytes are not those that were published" in said(data)
    assert "all: 3 pictures are listed, officially 4,934" in said(data)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("forest_indian_male|https://x", r"lst:4: 'forest_indian_male' is not scene_race"),
        ("forest_indian_male_young", "is not scene_race_gender_age|address"),
        ("forest_asian_male_young|https://x", "line 4 has the race 'asian'.*'eastasian'"),
        ("a_forest_indian_male_young|https://x", "line 4 has the scene 'a_forest'"),
    ],
)
def test_a_line_that_pata_could_not_have_is_an_error(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(pata(tmp_path, [*LINES, line]))


# --- COCO ---------------------------------------------------------------------------------------


def coco(
    folder: Path, rows: Sequence[str] = ("785,Light,Female", "872,Dark,Both")
) -> dict[str, Any]:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    lines = ["id,bb_skin,bb_gender", *rows]
    (folder / "annotations" / "images_val2014.csv").write_text("\n".join(lines))
    picture(folder / "val2014" / "COCO_val2014_000000000785.jpg", 1)
    return {"name": "coco-captions", "root": str(folder)}


def test_a_picture_of_coco_is_named_by_twelve_digits(tmp_path: Path) -> None:
    data = load(coco(tmp_path))
    assert list(data.table["path"]) == [
        "val2014/COCO_val2014_000000000785.jpg", "COCO_val2014_000000000872.jpg"
    ]  # fmt: skip
    assert data.grouping("bb_gender").tolist() == ["Female", "Both"]
    assert "'Dark' (1)" in lost_by_group(data, "bb_skin")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("x9,Light,Male", "row 1 below the header has the id 'x9'. It is the number"),
        ("9,light,Male", "has the bb_skin 'light'.*Did you mean 'Light'"),
        ("9,,Male", "has no bb_skin"),
    ],
)
def test_a_row_that_coco_could_not_have_is_an_error(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(coco(tmp_path, [row]))


def test_a_list_that_is_the_published_one_has_no_remark_on_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = pata(tmp_path)
    listed = tmp_path / "pata_fairness.files.lst"
    assert "its bytes are not" in said(load(keys))
    monkeypatch.setattr(PATA, "digests", {listed.name: digest_of(listed)})
    assert "its bytes are not" not in said(load(keys))


# --- all of them --------------------------------------------------------------------------------


def test_lists_of_values_are_as_long_as_published() -> None:
    occupations = VisoGender.facts.attributes["Occupation"].order
    assert len(occupations) == len(set(occupations)) == 23
    assert len(PATA.values["scene"]) == len(set(PATA.values["scene"])) == 24
    assert len(SOURCES["facet"].values["class1"]) == 52  # type: ignore[attr-defined]
    for counts in SOURCES["pata"].official["all"].values.values():  # type: ignore[attr-defined]
        assert sum(counts.values()) == 4_934


def test_a_name_of_a_picture_that_is_nowhere_is_missing_and_nothing_else(tmp_path: Path) -> None:
    keys = pata(tmp_path)
    (lost,) = [path for _, path in load(keys).files() if "yatch" in path.name]
    with pytest.raises(Unreadable, match="there is no such file"):
        decode(lost)

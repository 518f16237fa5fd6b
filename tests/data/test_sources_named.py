"""Published sets of faces, places and cameras: tiny folders in each layout, right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from audit.core.errors import InputError
from audit.data import video
from audit.data.dataset import Dataset, load
from audit.data.sources import SOURCES
from audit.data.sources.base import Published
from audit.data.sources.ucf_crime import UCFCrime


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 8), (shade % 256, 90, 30)).save(path)


def said(data: Dataset) -> str:
    return "\n".join(remark.text for remark in data.remarks)


def suits_the_files(data: Dataset) -> bool:
    return all(path.is_file() for _, path in data.files())


# --- every one --------------------------------------------------------------------------------

NAMED = ("lfw", "rfw", "congress", "celeba")
SUSPECTED = ("morph", "adience", "ucf-crime", "dollar-street", "geode")


@pytest.mark.parametrize("name", NAMED)
def test_named_people_are_never_suspected(name: str) -> None:
    source = SOURCES[name]
    assert issubclass(source, Published)
    assert source.facts.named_people is True


@pytest.mark.parametrize("name", SUSPECTED)
def test_where_nobody_said_whether_people_are_named_they_are_not_suspected(name: str) -> None:
    source = SOURCES[name]
    assert issubclass(source, Published)
    assert source.facts.named_people is None


# --- MORPH II ---------------------------------------------------------------------------------

MORPH = [
    "009055,1,1949-01-02,2004-05-06,B,M,0,54,120,0,Album2/009055_1M54.JPG",
    "009055,2,1949-01-02,2005-05-06,B,M,0,55,120,0,Album2/009055_2M55.JPG",
    "009056,0,1970-01-02,2004-05-06,W,F,0,34,0,0,Album2/009056_0F34.JPG",
    "009056,1,1970-01-02,2004-05-06,H,F,0,34,0,0,Album2/009056_1F34.JPG",
]


def morph(folder: Path, rows: list[str] = MORPH, header: str = "") -> dict[str, Any]:
    head = "id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"
    folder.mkdir(parents=True, exist_ok=True)
    text = "\r\n".join([header or head, *rows]) + "\r\n"
    (folder / "morph_2008_nonCommercial.csv").write_text(text, newline="", encoding="utf-8-sig")
    for n, row in enumerate(rows):
        picture(folder / row.rpartition(",")[2], n)
    return {"name": "morph", "root": str(folder)}


def test_morph_is_read_in_words_without_dates_of_birth(tmp_path: Path) -> None:
    data = load(morph(tmp_path))
    assert list(data.table["race"]) == ["Black", "Black", "White", "Hispanic"]
    assert data.groups("gender") == ("female", "male")
    assert list(data.table["cluster_id"]) == ["009055", "009055", "009056", "009056"]
    assert not {"dob", "doa"} & {*data.table.columns}
    assert "'race': differs between the pictures of 1 people" in said(data)
    assert suits_the_files(data)
    assert data.refuse_suspicion()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",B,M,", ",X,M,", "has the race 'X'.*'Black', 'White'"),
        (",B,M,", ",B,1,", "has the gender '1'.*It is a code"),
        (",54,", ",540,", "has the age '540'"),
        (",54,", ",,", "has no age"),
    ],
)
def test_a_code_that_morph_does_not_have_is_an_error(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(morph(tmp_path, [MORPH[0].replace(old, new), *MORPH[1:]]))


def test_lists_of_morph_that_are_another_are_refused(tmp_path: Path) -> None:
    head = "id_num,picture_num,dob,doa,Race,gender,facial_hair,age,age_diff,glasses,photo"
    with pytest.raises(InputError, match="has no column 'race'. Did you mean 'Race'"):
        load(morph(tmp_path, header=head))
    (tmp_path / "morph_2008_nonCommercial.csv").write_text("")
    with pytest.raises(InputError, match="manifest is empty"):
        load(morph(tmp_path / "b", []) | {"root": str(tmp_path)})


# --- Adience ----------------------------------------------------------------------------------

ADIENCE = ["(25, 32)\tf", "(8, 13)\tm", "35\tu", "None\t", "(38, 42)\tf"]


def adience(folder: Path, rows: list[str] = ADIENCE, pictures: str = "aligned") -> dict[str, Any]:
    """Five folds of one row each; the keys that name them."""
    stem = {"aligned": "landmark_aligned_face", "faces": "coarse_tilt_aligned_face"}[pictures]
    folder.mkdir(parents=True, exist_ok=True)
    head = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang"
    for n, row in enumerate(rows):
        user, name = f"7285955@N0{n // 2}", f"948676876{n}_e5_o.jpg"
        lines = [head, f"{user}\t{name}\t205{n}\t{row}\t1\t2\t3\t4\t0"]
        (folder / f"fold_{n}_data.txt").write_text("\n".join(lines))
        picture(folder / pictures / user / f"{stem}.205{n}.{name}", n)
    return {"name": "adience", "root": str(folder), "pictures": pictures}


@pytest.mark.parametrize("pictures", ["aligned", "faces"])
def test_adience_s_bands_are_read_and_other_ages_are_in_no_group(
    tmp_path: Path, pictures: str
) -> None:
    data = load(adience(tmp_path, pictures=pictures))
    assert data.grouping("age").tolist() == ["25-32", "8-12", None, None, None]
    assert data.grouping("gender").tolist() == ["female", "male", None, None, "female"]
    assert list(data.table["fold"]) == list("01234")
    assert data.table["cluster_id"].nunique() == 3
    assert "2 pictures have an age that is none of the eight bands: '35' (1), '(38, 42)'" in said(
        data
    )
    assert suits_the_files(data)
    assert data.card.version == f"all, {pictures} as stated"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("Feb-00\tf", "the picture '9486768760_e5_o.jpg' has the age 'Feb-00'"),
        ("4-6 years\tf", "has the age '4-6 years'.*'0-2', '4-6'"),
        ("(25, 32)\tfemme", "has the gender 'femme'"),
        ("(25, 32)\t0", "has the gender '0'.*It is a code"),
    ],
)
def test_values_that_adience_does_not_have_are_errors(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(adience(tmp_path, [row, *ADIENCE[1:]]))


def test_a_fold_of_adience_that_is_missing_or_names_no_picture_is_refused(tmp_path: Path) -> None:
    keys = adience(tmp_path)
    with pytest.raises(InputError, match="has no file 'fold_frontal_0_data.txt'"):
        load(keys | {"faces": "frontal"})
    with pytest.raises(InputError, match="has no folder 'faces' or 'images'"):
        load(keys | {"pictures": "faces"})
    fold = tmp_path / "fold_2_data.txt"
    fold.write_text(fold.read_text().replace("2052", ""))
    with pytest.raises(InputError, match="fold_2_data.txt: row 1 below the header names no pict"):
        load(keys)
    fold.unlink()
    with pytest.raises(InputError, match="has no file 'fold_2_data.txt'"):
        load(keys)


# --- Chicago Face Database --------------------------------------------------------------------

CFD = {"AF-200": ("A", "F", 32.5), "BM-001": ("B", "M", 28.0), "WF-002": ("W", "F", 41.25)}


def chicago(
    folder: Path, models: dict[str, Any] = CFD, sheet: str = "CFD U.S. Norming Data"
) -> Any:
    """A codebook as it is laid out, and a neutral and a happy picture of all but the last model."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    cells = book.active
    cells.title = sheet
    for text in ("The Chicago Face Database", None, None, None, None, None):
        cells.append([text])
    cells.append([None, "S001", "S002", "R002"])
    cells.append(["Model", "EthnicitySelf", "GenderSelf", "AgeRated"])
    cells.append([None, "Self-reported", "Self-reported", "mean"])
    for model, columns in models.items():
        cells.append([model, *columns])
    folder.mkdir(parents=True, exist_ok=True)
    book.save(folder / "CFD 3.0 Norming Data and Codebook.xlsx")
    for model in list(models)[:-1]:
        for code in ("N", "HO"):
            picture(folder / "Images" / "CFD" / model / f"CFD-{model}-228-{code}.jpg")
    return {"name": "chicago-faces", "root": str(folder)}


def test_models_of_the_codebook_are_joined_with_their_files(tmp_path: Path) -> None:
    keys = chicago(tmp_path)
    picture(tmp_path / "Images" / "CFD" / "LM-9" / "CFD-LM-009-001-N.JPG")
    data = load(keys)
    assert data.grouping("EthnicitySelf").tolist() == ["Asian", "Black"]
    assert list(data.table["AgeRated"]) == ["32.5", "28"]
    assert data.attributes["AgeRated"].numeric
    assert list(data.table["cluster_id"]) == ["AF-200", "BM-001"]
    told = said(data)
    assert "1 models of the codebook have no picture here; by EthnicitySelf: 'White' (1)" in told
    assert "1 files are set aside, whose model the codebook does not list" in told
    every = load(keys | {"expression": "all"})
    assert set(every.table["expression"]) == {"neutral", "happy, mouth open"}
    assert len(every) == 4


def test_models_of_the_indian_set_have_two_numbers(tmp_path: Path) -> None:
    keys = chicago(
        tmp_path, {"IF601-519": ("I", "F", 25), "x": ("I", "M", 1)}, "CFD-I INDIA Norming Data"
    )
    picture(tmp_path / "Images" / "CFD-INDIA" / "IF-601" / "CFD-IF-601-519-N.jpg")
    data = load(keys | {"people": "india"})
    assert list(data.table["cluster_id"]) == ["IF601-519"]
    with pytest.raises(InputError, match="has no sheet 'CFD U.S. Norming Data', but CFD-I INDIA"):
        load(keys)


def test_a_codebook_that_is_another_is_refused(tmp_path: Path) -> None:
    keys = chicago(tmp_path, {"AF-200": ("Q", "F", 30), "x": ("A", "F", 1)})
    with pytest.raises(InputError, match="the model of 'AF-200/.*' has the EthnicitySelf 'Q'"):
        load(keys)
    with pytest.raises(InputError, match="lists 'AF200' twice"):
        load(chicago(tmp_path / "b", CFD | {"AF200": ("A", "F", 30)}))
    picture(tmp_path / "b" / "Images" / "CFD" / "AF-200" / "CFD-AF-200-228-X.jpg")
    with pytest.raises(InputError, match="has the expression 'X'"):
        load(chicago(tmp_path / "b") | {"expression": "all"})
    (tmp_path / "b" / "CFD 3.0 Norming Data and Codebook.xlsx").write_bytes(b"PK no workbook")
    with pytest.raises(InputError, match="can't be read as a workbook"):
        load({"name": "chicago-faces", "root": str(tmp_path / "b")})


def test_without_the_library_a_workbook_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "CFD 3.0 Norming Data and Codebook.xlsx").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"not installed. pip install 'clip-audit\[xlsx\]'"):
        load({"name": "chicago-faces", "root": str(tmp_path)})


# --- London set -------------------------------------------------------------------------------


def london(folder: Path, head: str = "face_id,face_age,face_gender,face_eth") -> dict[str, Any]:
    rows = [head, "X001,24,female,white", "X002,,male,east_asian", "X003,30,male,black"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "london_faces_info.csv").write_text("\n".join(rows))
    for name in ("001_03.jpg", "002_03.JPG", "009_03.jpg"):
        picture(folder / "neutral_front" / name)
    (folder / "neutral_front" / "001_03.tem").write_text("189")
    return {"name": "london", "root": str(folder)}


def test_faces_of_the_london_set_are_joined_with_what_people_said(tmp_path: Path) -> None:
    data = load(london_again := london(tmp_path))
    assert list(data.table["path"]) == ["001_03.jpg", "002_03.JPG"]
    assert data.grouping("ethnicity").tolist() == ["white", "east_asian"]
    assert data.grouping("age").tolist() == ["24", None]
    told = said(data)
    assert "1 files are set aside, which show nobody that the list has: '009_03.jpg'" in told
    assert "1 people of the list have no picture; by gender: 'male' (1)" in told
    assert "neutral: 3 pictures are listed, officially 102" in told
    assert data.refuse_suspicion() is None
    earlier = load(london(tmp_path / "b", "face_id,face_age,face_sex,face_eth"))
    assert earlier.grouping("gender").tolist() == ["female", "male"]
    with pytest.raises(InputError, match="has no folder 'smiling_front'"):
        load(london(tmp_path) | {"expression": "smiling"})
    with pytest.raises(InputError, match="has no column 'face_gender'"):
        load(london(tmp_path / "c", "face_id,face_age,face_x,face_eth"))
    file = tmp_path / "london_faces_info.csv"
    whole = file.read_text()
    for wrong, why in (
        (whole.replace("female", "Female"), "has the gender 'Female'.*Did you mean 'female'"),
        (whole.replace("white", "whit"), "has the ethnicity 'whit'.*Did you mean 'white'"),
        (f"{whole}\n{whole.splitlines()[1]}", "lists the face 001 twice"),
    ):
        file.write_text(wrong)
        with pytest.raises(InputError, match=why):
            load(london_again)


# --- LFW --------------------------------------------------------------------------------------


def lfw(folder: Path, place: str = "lfw-deepfunneled/lfw-deepfunneled") -> dict[str, Any]:
    for name in ("A_B/A_B_0001.jpg", "A_B/A_B_0002.jpg", "C/C_0001.jpg", "C/cover.jpg", "x.jpg"):
        picture(folder / place / name)
    return {"name": "lfw", "root": str(folder), "alignment": "deep-funneled"}


def test_pictures_of_lfw_are_clustered_by_person_and_lost_ones_counted(tmp_path: Path) -> None:
    keys = lfw(tmp_path)
    (tmp_path / "lfw-names.txt").write_text("A_B\t4\nC\t1\nD\t2\n")
    data = load(keys)
    assert list(data.table["cluster_id"]) == ["A_B", "A_B", "C"]
    told = said(data)
    assert "2 files are set aside, whose name is none of LFW's" in told
    assert "4 pictures of 2 people that lfw-names.txt counts are not there" in told
    assert "deep-funneled: 5 pictures are listed, officially 13,233" in told
    (tmp_path / "mine.csv").write_text("person,gender\nA_B,woman\n")
    gender = {"gender": {"source": "annotator-perceived", "order": ["woman", "man"]}}
    labelled = load(keys | {"labels": "mine.csv", "attributes": gender})
    assert labelled.grouping("gender").tolist() == ["woman", "woman", None]
    (tmp_path / "mine.csv").write_text("person,gender\nC,woman\nC,man\n")
    with pytest.raises(InputError, match="lists 'C' twice"):
        load(keys | {"labels": "mine.csv"})
    assert "named people" in str(data.refuse_suspicion())
    (tmp_path / "lfw-names.txt").write_text("A_B 4 5\n")
    with pytest.raises(InputError, match="not a name and a count in each line"):
        load(keys)


def test_the_alignment_of_lfw_is_stated_and_held_against_the_folder(tmp_path: Path) -> None:
    keys = lfw(tmp_path)
    with pytest.raises(InputError, match="pictures are in 'lfw-deep.*State 'deep-funneled'"):
        load(keys | {"alignment": "original"})
    with pytest.raises(InputError, match="alignment: this key is missing"):
        load({"name": "lfw", "root": str(tmp_path)})
    bare = load({"name": "lfw", "root": str(tmp_path / "lfw-deepfunneled" / "lfw-deepfunneled"),
                 "alignment": "original"})  # fmt: skip
    assert bare.card.version == "original as stated"
    assert bare.digest != load(keys).digest


# --- RFW --------------------------------------------------------------------------------------


def rfw(folder: Path, place: str = "test/data") -> dict[str, Any]:
    for n, race in enumerate(("African", "Asian", "Caucasian", "Indian")):
        for number in (1, 2):
            picture(folder / place / race / f"m.0{n}" / f"m.0{n}_000{number}.jpg")
    picture(folder / place / "Asian" / "stray.jpg")
    return {"name": "rfw", "root": str(folder)}


def test_race_of_rfw_is_the_folder_s_and_identities_are_clusters(tmp_path: Path) -> None:
    data = load(rfw(tmp_path))
    assert data.grouping("race").value_counts().to_dict() == dict.fromkeys(
        ("African", "Asian", "Caucasian", "Indian"), 2
    )
    assert list(data.table["cluster_id"])[:3] == ["m.00", "m.00", "m.01"]
    assert "1 files are set aside" in said(data)
    assert "by race: 'Asian' (1)" in said(data)
    assert "named people" in str(data.refuse_suspicion())
    with pytest.raises(InputError, match="has no folder 'test_aligned/data/African'"):
        load(rfw(tmp_path) | {"pictures": "aligned"})
    (tmp_path / "test" / "data" / "Indian").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="has no folder 'Indian'. A group that is missing"):
        load({"name": "rfw", "root": str(tmp_path)})


# --- Congress ---------------------------------------------------------------------------------


def congress(folder: Path, rows: tuple[str, ...] = ("B1,M,sen,TX,Democrat", "B2,F,rep,NY,")) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["last_name,bioguide_id,gender,type,state,party", *(f"Doe,{row}" for row in rows)]
    (folder / "legislators-current.csv").write_text("\n".join(lines))
    for name in ("B1", "B9"):
        picture(folder / "congress" / "450x550" / f"{name}.jpg")
    return {"name": "congress", "root": str(folder)}


def test_members_are_listed_without_their_names(tmp_path: Path) -> None:
    data = load(congress(tmp_path))
    assert data.grouping("gender").tolist() == ["male", "female"]
    assert data.grouping("party").tolist() == ["Democrat", None]
    assert "last_name" not in data.table
    assert "1 portraits are of people whom the list does not name" in said(data)
    assert [path.is_file() for _, path in data.files()] == [True, False]
    portrait = next(path for _, path in data.files() if path.is_file())
    portrait.rename(portrait.with_suffix(".JPG"))
    again = load({"name": "congress", "root": str(tmp_path)})
    assert [path.is_file() for _, path in again.files()] == [True, False]
    assert "1 portraits are of people" in said(again)
    assert "named people" in str(data.refuse_suspicion())
    with pytest.raises(InputError, match="has the gender 'X'"):
        load(congress(tmp_path, ("B1,X,sen,TX,Democrat",)))
    with pytest.raises(InputError, match="has the type 'senate'"):
        load(congress(tmp_path, ("B1,M,senate,TX,Democrat",)))


# --- Dollar Street and GeoDE ------------------------------------------------------------------

STREET = [
    "0,a1,Nepal,as,\"['beds']\",p1,120.5,assets/a1/a1.jpg",
    "1,a2,Nepal,as,\"['beds', 'rooms']\",p1,120.5,assets/a2/a2.jpg",
    "2,a3,Brazil,am,[],p2,900,assets/a3/a3.jpg",
]


def street(folder: Path, rows: list[str] = STREET) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    head = ",id,country.name,region.id,topics,place,income,imageRelPath"
    (folder / "images_v2.csv").write_text("\n".join([head, *rows]))
    for row in rows:
        picture(folder / row.rpartition(",")[2])
    return {"name": "dollar-street", "root": str(folder)}


def test_households_are_clusters_and_several_topics_are_none(tmp_path: Path) -> None:
    data = load(street(tmp_path / "dataset_dollarstreet") | {"root": str(tmp_path)})
    assert data.grouping("region").to_dict() == {"a1": "Asia", "a2": "Asia", "a3": "Americas"}
    assert list(data.table["cluster_id"]) == ["p1", "p1", "p2"]
    assert list(data.table["topic"]) == ["beds", None, None]
    assert "1 pictures have several topics, and none as 'topic'" in said(data)
    assert data.attributes["income"].numeric
    assert suits_the_files(data)
    with pytest.raises(InputError, match="has the region 'xx'"):
        load(street(tmp_path / "b", [STREET[0].replace(",as,", ",xx,")]))
    with pytest.raises(InputError, match=r"row 1 below the header has the topics 'beds'"):
        load(street(tmp_path / "c", [STREET[0].replace("\"['beds']\"", "beds")]))
    with pytest.raises(InputError, match="has no file 'images_v2_imagenet_test.csv'"):
        load(street(tmp_path / "d") | {"split": "test"})


def geode(folder: Path, region: str = "EastAsia", under: str = ".") -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["file_path,object,region,ip_country", f"a/1.jpg,hand_soap,{region},China",
            "a/2.jpg,dog,Africa,Ghana"]  # fmt: skip
    (folder / "index.csv").write_text("\n".join(rows))
    for name in ("1.jpg", "2.jpg"):
        picture(folder / under / "a" / name)
    return {"name": "geode", "root": str(folder)}


@pytest.mark.parametrize("region", ["EastAsia", "East Asia", "East_Asia", "east asia"])
def test_regions_of_geode_are_one_however_they_are_spelt(tmp_path: Path, region: str) -> None:
    data = load(geode(tmp_path, region, "images" if "_" in region else "."))
    assert data.grouping("region").tolist() == ["East Asia", "Africa"]
    assert list(data.table["object"]) == ["hand soap", "dog"]
    assert suits_the_files(data)


def test_an_earlier_index_of_geode_names_a_country_and_a_picture(tmp_path: Path) -> None:
    rows = ["file_name,script_name,ip_country", "South_Korea_hand_soap_1.jpg,hand_soap,South Korea",
            "Ghana_dog_2.jpg,dog,Ghana"]  # fmt: skip
    (tmp_path / "index.csv").write_text("\n".join(rows))
    picture(tmp_path / "geode_eastasia_south_korea/images/12.hand_soap/South_Korea_hand_soap_1.jpg")
    picture(tmp_path / "Africa" / "Ghana" / "Ghana_dog_2.JPG")
    data = load({"name": "geode", "root": str(tmp_path)})
    assert data.grouping("region").tolist() == ["East Asia", "Africa"]
    assert list(data.table["object"]) == ["hand soap", "dog"]
    assert all(path.is_file() for _, path in data.files())
    (tmp_path / "index.csv").write_text(
        "\n".join(rows).replace("Ghana\n", "Gahna").replace(",Ghana", ",Gahna")
    )
    with pytest.raises(InputError, match="row 2 below the header has the region 'of Gahna'"):
        load({"name": "geode", "root": str(tmp_path)})


def test_a_region_that_geode_does_not_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the region 'Asia'.*Official are 'Africa'"):
        load(geode(tmp_path, "Asia"))
    (tmp_path / "index.csv").write_text("file_name,thing,ip_country\nx,y,China")
    with pytest.raises(InputError, match="has no column 'object'"):
        load({"name": "geode", "root": str(tmp_path)})


# --- UCF-Crime --------------------------------------------------------------------------------

CLIPS = (
    "Abuse028_x264.mp4  Abuse  31  60  -1  -1\n"
    "Arson011_x264.mp4  Arson  1  30  61  90\n"
    "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n"
)
LIST = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"


@pytest.fixture
def crimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Three videos in folders; nothing is decoded: each is said to last three seconds."""
    for name in ("Anomaly-Videos-Part-1/Abuse/Abuse028_x264.mp4", "Arson011_X264.MP4",
                 "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / LIST).write_text(CLIPS)
    monkeypatch.setattr(video, "require_av", lambda: None)
    monkeypatch.setattr(video, "length", lambda file: (video.Fraction(3), video.Fraction(30)))
    return {"name": "ucf-crime", "root": str(tmp_path)}


def test_frames_of_ucf_crime_say_whether_it_happens_then(crimes: dict[str, Any]) -> None:
    data = load(crimes)
    table = data.table
    assert len(table) == 9
    assert table["cluster_id"].nunique() == 3
    happens = table.groupby("class")["happens"].agg(list).to_dict()
    assert happens == {
        "Abuse": ["no", "yes", "no"], "Arson": ["yes", "no", "yes"], "Normal": ["no"] * 3
    }  # fmt: skip
    assert list(table["path"])[1] == "Anomaly-Videos-Part-1/Abuse/Abuse028_x264.mp4#t=1"
    assert "3 videos are listed, officially 290" in said(data)
    assert "set aside" not in said(data)
    assert UCFCrime.grain == "frame"
    half = load(crimes | {"every": 0.5})
    assert len(half) == 18
    assert half.digest != data.digest


def test_videos_of_ucf_crime_that_are_lost_or_of_another_rate_are_counted(
    crimes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(crimes["root"])
    (root / "Arson011_X264.MP4").unlink()
    monkeypatch.setattr(video, "length", lambda file: (video.Fraction(3), video.Fraction(25)))
    told = said(load(crimes))
    assert "1 files are set aside, which are not there or can't be opened" in told
    assert "by class: 'Arson' (1)" in told
    assert "2 videos have another number of frames a second than 30: '25' (2)" in told
    (root / "more").mkdir()
    (root / "more" / "Abuse028_x264.mp4").write_bytes(b"x")
    load(crimes)
    (root / "more" / "Abuse028_x264.mp4").write_bytes(b"other")
    with pytest.raises(InputError, match="have one name and differ in size"):
        load(crimes)


def test_copies_of_ucf_crime_that_hold_pictures_are_read_by_number(tmp_path: Path) -> None:
    (tmp_path / LIST).write_text(CLIPS)
    for number in (0, 10, 20, 30, 60, 100):
        picture(tmp_path / "Test" / "Abuse" / f"Abuse028_x264_{number}.png", number)
    picture(tmp_path / "Test" / "NormalVideos" / "Normal_Videos_003_x264_0.PNG")
    picture(tmp_path / "Test" / "Abuse" / "Abuse999_x264_0.png")
    picture(tmp_path / "Train" / "Abuse" / "Abuse028_x264_40.png")
    keys = {"name": "ucf-crime", "root": str(tmp_path), "files": "pictures"}
    data = load(keys | {"every": 0.333})
    abuse = data.table[data.table["class"] == "Abuse"]
    assert list(abuse["number"]) == ["1", "11", "21", "31", "61", "101"]
    assert list(abuse["happens"]) == ["no", "no", "no", "yes", "no", "no"]
    assert list(load(keys).table["number"]) == ["1", "31", "61", "101", "1"]
    assert suits_the_files(data)
    told = said(data)
    assert "1 pictures are frames of videos that the list does not name" in told
    assert "by class: 'Arson' (1)" in told
    picture(tmp_path / "Test" / "Abuse028_x264_10.png")
    with pytest.raises(InputError, match="holds 'Abuse028_x264_10.png' twice"):
        load(keys)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Abuse028_x264.mp4 Abused 1 2 -1 -1", "1: has the class 'Abused'.*Did you mean 'Abuse'"),
        ("Abuse028_x264.mp4 Arson 1 2 -1 -1", "the class is 'Arson' and the video 'Abuse028"),
        ("Abuse028_x264.mp4 Abuse 165 240 -1", "1: .*four numbers are expected"),
        ("Abuse028_x264.mp4 Abuse 240 165 -1 -1", "are no spans of frames"),
        ("Abuse028_x264.mp4 Abuse 1 -1 -1 -1", "are no spans of frames"),
        ("Abuse028_x264.mp4 Abuse a b -1 -1", "four numbers are expected"),
        (CLIPS + CLIPS, "lists 'Abuse028_x264.mp4' twice"),
    ],
)
def test_a_line_that_can_be_misread_is_refused(
    crimes: dict[str, Any], line: str, told: str
) -> None:
    (Path(crimes["root"]) / LIST).write_text(line)
    with pytest.raises(InputError, match=told):
        load(crimes)

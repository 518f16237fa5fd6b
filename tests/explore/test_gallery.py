"""Pictures of a run: the run's own choices, no other picture, no more than was asked for."""

from __future__ import annotations

import atexit
import io
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from audit.core.errors import InputError
from audit.core.files import digest_of
from audit.core.rundir import Run, open_run
from audit.data.dataset import load
from audit.data.labels import LabelSet, load_label_set, load_prompt_set
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.explore.gallery import Gallery, open_gallery
from audit.explore.hidden import NOT_TOLD, not_for_real_people
from audit.measure.prompts import every_wording
from audit.models.planted import PlantedEncoder, picture_key
from audit.store.embeddings import Store

SUITE = """
name: shown
model: planted
dataset: card.yaml
attributes: [gender, colour]
probes:
  - {kind: classification, label_set: people-occupations, templates: ./two.yaml,
     only: {kind: portrait}, wordings: {articles: [as written, absent]}}
  - {kind: classification, label_set: people-suspicion, templates: ./two.yaml, label_effects: false}
  - {kind: classification, label_set: ./mixed.yaml, templates: ./two.yaml, label_effects: false}
  - {kind: counterfactual, label_set: people-occupations, templates: ./two.yaml, colours: 0,
     demographic: [tone], nuisance: [light]}
acknowledge: [people-suspicion, mixed]
confidence: {resamples: 200, level: 0.9, min_group: 5}
"""
CARD: dict[str, Any] = {
    "name": "shown",
    "manifest": "people.csv",
    "named_people": False,
    "photographs": False,
    "consent": "drawn by a test",
    "attributes": {
        "gender": {"source": "generator"},
        "colour": {"source": "annotator-perceived", "unknown": ["?"]},
        "tone": {"source": "generator"},
    },
}
TWO = """
{name: two, version: 1, purpose: a test, source: this project, licence: CC0-1.0,
 templates: ['a photo of a {}.', 'a drawing of the {}.']}
"""
#: as one's own set may be: some labels are tagged, 'thief' is not
MIXED = """
name: mixed
version: 1
purpose: a test
source: this project
licence: CC0-1.0
labels:
  - {text: painter, tags: [occupation], harm: stereotyping}
  - {text: gorilla, tags: [nonhuman], harm: denigration}
  - {text: greedy person, tags: [trait], harm: stereotyping}
  - {text: asian person, tags: [demographic]}
  - {text: tall person, tags: [demographic]}
  - a thief
  - somebody
"""
SIDE = 96


def manifest() -> pd.DataFrame:
    """40 portraits, and 6 families of a picture, two other tones and another light."""
    rows = []
    for i in range(40):
        colour = "?" if i == 5 else ("teal", "red")[i // 2 % 2]
        rows.append({"kind": "portrait", "gender": ("female", "male")[i % 2], "colour": colour})
    for f in range(6):
        base = {"kind": "family", "family": f"f{f}", "gender": "female", "colour": "red"}
        for changed, tone in (("none", 5), ("tone", -30), ("tone", 40), ("light", 5)):
            rows.append(base | {"changed": changed, "tone": tone})
    return pd.DataFrame(rows).assign(path=[f"pictures/{i}.png" for i in range(len(rows))])


def draw(folder: Path, paths: list[str]) -> None:
    """A checkerboard under noise: detail everywhere, no two alike, taller than wide."""
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    board = 120 * (np.indices((SIDE, SIDE // 2)).sum(axis=0) % 2)[..., np.newaxis]
    for path in paths:
        noise = rng.integers(0, 120, (SIDE, SIDE // 2, 3))
        Image.fromarray((board + noise).astype(np.uint8)).save(folder / path)


def planted(folder: Path, table: pd.DataFrame) -> PlantedEncoder:
    """Each label has an axis, each wording turns it a little, pictures lie anywhere."""
    rng = np.random.default_rng(1)
    words = every_wording([load_prompt_set(folder / "two.yaml")], ("as written", "absent"))
    sets = [load_label_set(n) for n in ("people-occupations", "people-suspicion")]
    sets.append(load_label_set(folder / "mixed.yaml"))
    labels = [text for labels in sets for text in labels.texts]
    axes = np.eye(len(labels))
    texts = {
        word.prompt(text): axes[i] + 0.3 * rng.normal(size=len(labels))
        for i, text in enumerate(labels)
        for word in words
    }
    images: dict[Any, np.ndarray] = {}
    for path in table["path"]:
        with Image.open(folder / path) as picture:
            images[picture_key(picture)] = rng.random(len(labels))
    return PlantedEncoder(images, texts, logit_scale=20.0)


@lru_cache
def made() -> Run:
    """A run of drawn pictures, made once."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, True)
    table = manifest()
    draw(folder, list(table["path"]))
    table.to_csv(folder / "people.csv", index=False)
    for name, text in (("suite", SUITE), ("two", TWO), ("mixed", MIXED)):
        (folder / f"{name}.yaml").write_text(text)
    (folder / "card.yaml").write_text(yaml.safe_dump(CARD))
    encoder = planted(folder, table)
    suite = load_suite(str(folder / "suite.yaml"))
    return carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)


def store(run: Run) -> Store:
    return Store(run.path.parents[1] / "cache")


def elsewhere(
    run: Run, to: Path, agreed: bool = True, column: str | None = None, **card: object
) -> Run:
    """The run with its pictures in another folder, another card, and one column less.

    Unless ``agreed`` the run's manifest doesn't know of the new card.
    """
    folder = Path(shutil.copytree(run.path.parents[1], to / "world"))
    if column is not None:
        manifest().drop(columns=column).to_csv(folder / "people.csv", index=False)
    (folder / "card.yaml").write_text(yaml.safe_dump(CARD | card))
    path = folder / "runs" / run.name
    suite = (path / "suite.yaml").read_text().replace(str(run.path.parents[1]), str(folder))
    (path / "suite.yaml").write_text(suite)
    facts = json.loads((path / "manifest.json").read_text())
    facts["files"]["suite.yaml"] = digest_of(path / "suite.yaml")
    if agreed:
        facts["dataset_digest"] = load(str(folder / "card.yaml")).digest
    (path / "manifest.json").write_text(json.dumps(facts))
    return open_run(path)


def shown(run: Run) -> Gallery:
    return open_gallery(run, store(run))


@pytest.fixture
def gallery() -> Gallery:
    return shown(made())


@pytest.fixture
def photographs(tmp_path: Path) -> Gallery:
    return shown(elsewhere(made(), tmp_path, photographs=True))


@pytest.fixture
def first(gallery: Gallery) -> str:
    return str(gallery.groups.index[0])


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("L"), float)


# ---- what was labelled so ----------------------------------------------------------------------


@pytest.mark.slow
def test_as_many_pictures_are_listed_as_the_runs_rates_count(gallery: Gallery) -> None:
    seen = unknown = 0
    for task in ("people-occupations", "people-suspicion"):
        for label in gallery.labels(task).texts:
            for attribute in (*gallery.attributes, "everyone"):
                found = gallery.labelled(task, label, attribute)
                ours = found.groupby("group").size().to_dict()
                rates = gallery.counted(task, label, attribute)
                events = dict(zip(rates["group"], rates["events"], strict=True))
                assert ours == {group: n for group, n in events.items() if n}
                seen += len(found)
                unknown += ours.get("unknown", 0)
    assert seen > unknown > 0


@pytest.mark.slow
def test_pictures_are_sorted_as_asked(gallery: Gallery) -> None:
    label = gallery.labels("people-occupations").texts[0]
    for by in ("score", "margin"):
        down, up = (
            gallery.labelled("people-occupations", label, "gender", by, highest)[by].tolist()
            for highest in (True, False)
        )
        assert len(down) > 3
        assert down == sorted(down, reverse=True) == up[::-1]


def test_a_wrong_name_suggests_the_right_one(gallery: Gallery) -> None:
    for asked, said in (
        (("people-occupation", "doctor", "gender"), "Did you mean 'people-occupations'"),
        (("people-occupations", "docter", "gender"), "Did you mean 'doctor'"),
        (("people-occupations", "doctor", "gendre"), "Did you mean 'gender'"),
        (("people-occupations", "doctor", "gender", "scores"), "Did you mean 'score'"),
    ):
        with pytest.raises(InputError, match=said):
            gallery.labelled(*asked)


# ---- in other words ----------------------------------------------------------------------------


def test_a_picture_in_every_wording_is_the_runs_own(gallery: Gallery, first: str) -> None:
    rows = gallery.wordings("people-occupations", first)
    assert rows["wording"].tolist() == [
        "all 2 templates together", "a photo of a {}.", "a drawing of the {}.",
    ]  # fmt: skip
    stored = gallery.run.outcomes("people-occupations").query("image_id == @first")
    assert set(rows["label"]) <= set(stored["predicted"])
    assert rows["score"].tolist() == pytest.approx(stored["score"].tolist())


@pytest.mark.slow
def test_further_wordings_come_from_the_store_and_need_no_model(
    gallery: Gallery, first: str
) -> None:
    (row,) = gallery.more_wordings("people-occupations", first).itertuples()
    assert row.wording == "a photo of a {}., article absent"
    encoder = planted(gallery.dataset.root, gallery.dataset.table)
    texts = gallery.labels("people-occupations").texts
    with Image.open(gallery.dataset.root / first) as picture:
        vector = encoder.encode_images([picture])[0]
    cosine = vector @ encoder.encode_texts([f"a photo of {text}." for text in texts]).T
    share = np.exp(20 * cosine) / np.exp(20 * cosine).sum()
    assert row.label == texts[int(cosine.argmax())]
    assert row.score == pytest.approx(share.max(), rel=1e-5)
    assert row.margin == pytest.approx(np.diff(np.sort(cosine))[-1], rel=1e-4)


@pytest.mark.slow
def test_the_store_is_asked_and_nothing_is_encoded(first: str, tmp_path: Path) -> None:
    empty = open_gallery(made(), Store(tmp_path))
    assert len(empty.wordings("people-occupations", first)) == 3
    with pytest.raises(InputError, match=r"does not hold this (picture|prompt).*--cache"):
        empty.more_wordings("people-occupations", first)


# ---- one thing changed -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_family_has_the_changes_that_the_run_measured(gallery: Gallery) -> None:
    assert gallery.family_names == [f"f{i}" for i in range(6)]
    task = "people-occupations, counterfactual"
    pairs = gallery.run.outcomes(task).query("label == 'doctor'").set_index("other_id")["delta"]
    for name in gallery.family_names:
        rows = gallery.family(name, task, "doctor")
        assert rows["changed"].tolist() == ["none", "tone", "tone", "light"]
        assert rows["to"].tolist() == ["", "tone: -30.0", "tone: 40.0", ""]  # as the file has it
        assert rows["change"].iloc[0] == 0
        ours = rows.set_index("image_id")["change"].iloc[1:]
        assert ours.tolist() == pytest.approx(pairs[ours.index].tolist(), abs=1e-6)
    assert gallery.families is not None
    assert gallery.families.demographic == ("tone",)


def test_pictures_without_families_have_none(tmp_path: Path) -> None:
    run = elsewhere(made(), tmp_path, column="changed")
    without = shown(run)
    assert without.families is None
    assert without.family_names == []


# ---- files -------------------------------------------------------------------------------------


def test_a_blurred_picture_holds_no_detail(gallery: Gallery, first: str) -> None:
    blurred, clear = (pixels(gallery.thumbnail(first, c, SIDE)) for c in (False, True))
    assert blurred.shape == clear.shape == (SIDE, SIDE // 2)

    def detail(image: np.ndarray) -> float:
        """Share of the variance in waves shorter than a twelfth of the longer side."""
        power = np.abs(np.fft.fft2(image - image.mean())) ** 2
        high = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij"))
        return float(power[high * SIDE > 12].sum() / (image.size**2))

    assert detail(clear) > 1000
    assert detail(blurred) < 2  # what JPEG leaves behind


def test_a_picture_is_upright_and_says_nothing_of_its_file(tmp_path: Path) -> None:
    gallery = shown(elsewhere(made(), tmp_path))
    first = gallery.groups.index[0]
    turned = Image.fromarray(np.full((30, 60, 3), 99, np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "where and who"
    turned.save(gallery.dataset.root / first, "JPEG", exif=exif)
    data = gallery.thumbnail(first, clear=True)
    assert pixels(data).shape == (60, 30)
    assert b"where and who" not in data


@pytest.mark.parametrize(
    "asked",
    [
        "../card.yaml", "pictures/../card.yaml", "/etc/passwd", "pictures/0.png\0", "", "card.yaml",
        "./pictures/0.png", "pictures/999.png", "outside.png",
    ],
)  # fmt: skip
def test_only_pictures_of_the_run_are_opened(asked: str, tmp_path: Path) -> None:
    run = elsewhere(made(), tmp_path)
    gallery = shown(run)
    shutil.copy(gallery.dataset.root / "pictures/0.png", gallery.dataset.root / "outside.png")
    for ask in (gallery.thumbnail, gallery.find, lambda i: gallery.wordings("mixed", i)):
        with pytest.raises(InputError, match="no picture that this run asked about"):
            ask(asked)
    with pytest.raises(InputError, match="no picture that this run asked about"):
        gallery.scores("mixed", [asked])


def test_a_picture_that_leads_elsewhere_is_not_opened(tmp_path: Path) -> None:
    gallery = shown(elsewhere(made(), tmp_path))
    first = gallery.groups.index[0]
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    (gallery.dataset.root / first).unlink()
    (gallery.dataset.root / first).symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="outside the folder"):
        gallery.thumbnail(first)


def test_a_picture_that_is_gone_is_told_without_its_path(tmp_path: Path) -> None:
    gallery = shown(elsewhere(made(), tmp_path))
    first = gallery.groups.index[0]
    (gallery.dataset.root / first).unlink()
    with pytest.raises(InputError, match="picture 1: its file is missing") as refused:
        gallery.thumbnail(first)
    assert first not in str(refused.value)
    with pytest.raises(InputError, match="picture 1: its file is missing"):
        gallery.scores("mixed", [first])


def test_names_hold_no_file_names_and_lead_to_the_picture(gallery: Gallery, first: str) -> None:
    assert gallery.names[first] == "picture 1"
    assert gallery.find("picture 1") == gallery.find(f" {first} ") == first


# ---- opening -----------------------------------------------------------------------------------


def test_a_copy_without_rows_and_an_earlier_run_say_what_they_lack(tmp_path: Path) -> None:
    made().copy_without_private(tmp_path / "copy")
    earlier = elsewhere(made(), tmp_path)
    (earlier.path / "private/groups.parquet").unlink()
    for run in (open_run(tmp_path / "copy"), earlier):
        with pytest.raises(
            InputError, match="Copies without 'private/', public copies and runs of earlier"
        ):
            shown(run)


def test_pictures_of_changed_data_are_not_shown(tmp_path: Path) -> None:
    run = elsewhere(made(), tmp_path, agreed=False, licence="another")
    with pytest.raises(InputError, match="has changed since this run"):
        shown(run)
    (run.path.parents[1] / "card.yaml").unlink()
    with pytest.raises(InputError, match=r"card\.yaml"):
        shown(run)


@pytest.mark.slow
@pytest.mark.parametrize(("said", "shows"), [(True, "shows"), (None, "may show")])
def test_named_people_are_not_shown(said: bool | None, shows: str, tmp_path: Path) -> None:
    for photographs in (True, False):
        run = elsewhere(
            made(), tmp_path / str(photographs), named_people=said, photographs=photographs
        )
        with pytest.raises(InputError, match=f"{shows}.* named people, so no picture"):
            shown(run)


@pytest.mark.slow
def test_a_card_may_say_that_no_picture_is_shown(tmp_path: Path) -> None:
    assert shown(elsewhere(made(), tmp_path / "may", show_pictures=True))
    run = elsewhere(made(), tmp_path / "may not", show_pictures=False)
    with pytest.raises(InputError, match="says that no picture of it is shown. The other pages"):
        shown(run)


@pytest.mark.parametrize("name", ["groups.parquet", "outcomes/people-occupations.parquet"])
def test_rows_that_were_changed_are_not_shown(name: str, tmp_path: Path) -> None:
    run = elsewhere(made(), tmp_path)
    file = run.path / "private" / name
    table = pd.read_parquet(file)
    table.iloc[::-1].to_parquet(file, index=False)
    with pytest.raises(InputError, match="was changed since the run was sealed"):
        shown(run).labelled("people-occupations", "doctor", "gender")


# ---- real people -------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_people_are_listed_by_no_label_that_needs_acknowledgement(
    photographs: Gallery, gallery: Gallery, first: str
) -> None:
    said = "no real person is shown by them. Only their rates by group"
    for label in photographs.labels("people-suspicion").texts:
        with pytest.raises(InputError, match=said):
            photographs.labelled("people-suspicion", label, "everyone")
    with pytest.raises(InputError, match=said):
        photographs.wordings("people-suspicion", first)
    with pytest.raises(InputError, match=said):
        photographs.more_wordings("people-suspicion", first)
    assert gallery.refusal("people-suspicion") is None
    assert len(photographs.labelled("people-occupations", "doctor", "gender"))


def unacknowledged(gallery: Gallery) -> Gallery:
    """As if the suite had not acknowledged the mixed set, which no tag of its own demands."""
    suite = gallery.suite.model_copy(update={"acknowledge": ("people-suspicion",)})
    return Gallery(gallery.run, suite, gallery.groups, gallery.store)


@pytest.mark.slow
def test_real_people_are_listed_by_no_harmful_label_of_a_mixed_set(photographs: Gallery) -> None:
    assert photographs.refusal("mixed")  # the suite says itself that it needs care
    mixed = unacknowledged(photographs)
    hidden = {"gorilla", "greedy person", "asian person", "tall person", "a thief"}
    assert mixed.not_listed("mixed") == hidden
    for label in mixed.labels("mixed").texts:
        if label in hidden:
            with pytest.raises(InputError, match="no real person is shown by it"):
                mixed.labelled("mixed", label, "gender")
        else:
            assert len(mixed.labelled("mixed", label, "gender"))


@pytest.mark.slow
def test_what_is_not_told_of_real_people_has_no_numbers_either(photographs: Gallery) -> None:
    mixed = unacknowledged(photographs)
    labels = {i: mixed.wordings("mixed", i) for i in mixed.groups.index}
    every = pd.concat(labels.values())
    hidden = every["label"] == NOT_TOLD
    assert 0 < hidden.sum() < len(every)
    assert every.loc[hidden, ["score", "margin"]].isna().all(axis=None)
    assert not set(every["label"]) & mixed.not_listed("mixed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("people-gender", set()),
        ("people-occupations", set()),
        ("people-age", set()),
        ("people-ancestry", "all"),
        ("clip-paper-race", "all"),
        ("datacomp-race", "all"),
    ],
)
def test_which_bundled_labels_real_people_are_not_listed_by(name: str, hidden: object) -> None:
    labels = load_label_set(name)
    assert not_for_real_people(labels) == (set(labels.texts) if hidden == "all" else hidden)


@pytest.mark.slow
def test_what_the_law_protects_is_not_listed() -> None:
    labels = load_label_set("eu-ai-act-5-1-g")
    assert set(labels.texts) - not_for_real_people(labels) == {"person"}


@pytest.mark.slow
def test_a_harmful_word_without_its_tags_stays_harmful() -> None:
    tagged = load_label_set("clip-paper-21")
    bare = [{"text": label.text} for label in tagged.labels]
    fields = dict(tagged) | {"labels": bare, "additions": {}, "acknowledge": False}
    found = not_for_real_people(LabelSet.model_validate(fields))
    assert {"thief", "criminal", "suspicious person", "gorilla", "animal", "black man"} <= found


def test_a_colour_is_no_group() -> None:
    colours = [{"text": "white"}, {"text": "black", "tags": ["attribute"]}]
    fields = dict(load_label_set("people-hair")) | {"labels": colours}
    assert not not_for_real_people(LabelSet.model_validate(fields))

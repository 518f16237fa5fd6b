"""Naming: choices against plain loops, a model that knows names and one that cannot, care."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds
from pydantic import ValidationError

from audit.core.errors import InputError
from audit.core.tables import CHOICES, ENSEMBLE, EXCEEDS, WITHIN
from audit.data.dataset import Dataset, load
from audit.data.labels import load_label_set, load_prompt_set
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups, grouped
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.identity.section import SECTION
from audit.probes.kit.base import PROBES, Design, Seen, Texts
from audit.probes.naming.probe import NAMED, NOBODY, OTHER, RIGHT, Naming, among
from audit.report.render import render
from audit.report.sections.registry import SECTIONS
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

if "naming" not in list(PROBES):
    PROBES.register("naming")(Naming)
if "identity" not in list(SECTIONS):
    SECTIONS.register("identity")(SECTION)

DIM = 32
PROMPT = load_prompt_set("no-article").templates[0]


def vector_of(text: str) -> np.ndarray:
    """A direction that is this text's own."""
    drawn = np.random.default_rng(list(text.encode())).normal(size=DIM)
    return np.asarray(drawn / np.linalg.norm(drawn), np.float32)


def texts(strings: Any) -> np.ndarray:
    return np.stack([vector_of(s) for s in strings])


def manifest(subjects: int = 60, each: int = 2, distinct: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "path": f"{s:03d}-{p}.png",
            "subject": f"s{s:03d}",
            "called": f"Name {s if distinct else 0} Here",
            "gender": ("female", "male")[int(rng.random() < 0.5)] if p == 0 else "female",
        }
        for s in range(subjects)
        for p in range(each)
    )


def dataset_of(folder: Path, table: pd.DataFrame, named: str = "false") -> Dataset:
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "people.csv", index=False)
    (folder / "card.yaml").write_text(
        "name: tiny\nmanifest: people.csv\ncluster_column: subject\nphotographs: false\n"
        f"named_people: {named}\nconsent: drawn by a test\n"
        "attributes:\n  gender: {source: generator}\n"
    )
    return load(str(folder / "card.yaml"))


def seen_of(dataset: Dataset, vectors: np.ndarray, encode: Any = texts) -> Seen:
    images = Embeddings(tuple(dataset.table["image_id"]), vectors.astype(np.float32), "planted")
    return Seen(images, Texts(encode, Scoring(100.0)), dataset)


def knowing(table: pd.DataFrame, noise: float = 0.02, column: str = "called") -> np.ndarray:
    rng = np.random.default_rng(1)
    own = np.stack([vector_of(PROMPT.format(name)) for name in table[column]])
    rows = own + noise * rng.normal(size=own.shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def at_random(table: pd.DataFrame) -> np.ndarray:
    rows = np.random.default_rng(2).normal(size=(len(table), DIM))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def measured(probe: Naming, seen: Seen) -> pd.DataFrame:
    confidence = Confidence(resamples=200)
    groups = Groups.of(seen.dataset, seen.images.keys, grouped(seen.dataset, {"gender": None}, ()))
    draws = groups.draws(seen.images.keys, 0, 200)
    found = probe.measures(probe.outcomes(seen), seen, Design(groups, draws, confidence, 0))
    return found.set_index("condition")


# ---- against plain loops -------------------------------------------------------------------------


@pytest.mark.slow
def test_the_nearest_of_the_first_names_and_the_right_one_is_chosen(tmp_path: Path) -> None:
    table = manifest(8)
    dataset, vectors = dataset_of(tmp_path, table), knowing(table, noise=0.35)
    probe = Naming(kind="naming", names="called", sizes=(3, 12))
    rows = CHOICES.validate(probe.outcomes(seen_of(dataset, vectors)))
    order = probe._people(dataset).order
    assert set(order[:8]) == set(table["called"])
    chosen = rows.set_index(["condition", "image_id"])
    outcomes = set()
    for size, condition in ((3, ENSEMBLE), (12, among(12))):
        for at, row in table.iterrows():
            names = list(order[:size])
            if row["called"] not in names:
                names[-1] = row["called"]
            near = [float(vectors[at] @ vector_of(PROMPT.format(n)).astype(float)) for n in names]
            best = names[int(np.argmax(near))]
            kind = NOBODY if best not in order[:8] else RIGHT if best == row["called"] else OTHER
            got = chosen.loc[(condition, row["path"])]
            assert got["predicted"] == kind
            share = np.exp(100 * np.array(near))
            assert got["score"] == pytest.approx(share.max() / share.sum())
            assert got["margin"] == pytest.approx(np.diff(np.sort(near))[-1], abs=1e-6)
            outcomes.add(kind)
    assert outcomes == {RIGHT, OTHER, NOBODY}
    assert (rows["truth"] == RIGHT).all()


@pytest.mark.slow
def test_any_split_and_order_gives_the_same_rows(tmp_path: Path) -> None:
    table = manifest(20)
    seen = seen_of(dataset_of(tmp_path, table), knowing(table, noise=0.3))
    probe = Naming(kind="naming", names="called", sizes=(5, 50))
    keys = [*seen.images.keys]
    whole = probe.outcomes(seen)
    halves = [probe.outcomes(seen.only(part)) for part in (keys[25:], keys[:25][::-1])]
    by = ["condition", "image_id"]
    merged = probe.merged(halves).sort_values(by).reset_index(drop=True)
    pd.testing.assert_frame_equal(merged, whole.sort_values(by).reset_index(drop=True))


# ---- planted and null worlds ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_that_knows_the_names_is_found(tmp_path: Path) -> None:
    table = manifest()
    probe = Naming(kind="naming", names="called", sizes=(20, 200))
    found = measured(probe, seen_of(dataset_of(tmp_path, table), knowing(table)))
    assert (found["metric"] == NAMED).all()
    assert (found["value"] == 1).all()
    assert (found["verdict"] == EXCEEDS).all()
    assert found.loc[ENSEMBLE, "null_mean"] == pytest.approx(1 / 20, abs=0.02)
    assert found.loc[among(200), "null_mean"] < 0.03
    assert (found["p"] == found["smallest_p"]).all()
    assert "20 candidate names, the model gives 100.0 %" in found.loc[ENSEMBLE, "statement"]
    assert found.loc[among(200), "statement"] == ""


@pytest.mark.slow
def test_invented_names_can_be_told_no_better_than_by_chance(tmp_path: Path) -> None:
    table = manifest(300, each=1)
    probe = Naming(kind="naming", sizes=(10, 400))
    found = measured(probe, seen_of(dataset_of(tmp_path, table), at_random(table)))
    for condition in (ENSEMBLE, among(400)):
        row = found.loc[condition]
        assert row["null_low"] <= row["value"] <= row["null_high"]
        assert row["p"] > 0.02
    assert found.loc[among(400), "verdict"] == WITHIN
    assert "chance is all there can be" in found.loc[ENSEMBLE, "statement"]


@pytest.mark.slow
def test_a_name_liked_for_everybody_gains_nothing(tmp_path: Path) -> None:
    table = manifest(40)
    table.loc[table["subject"] < "s030", "called"] = "Name 0 Here"
    everybody = np.stack([vector_of(PROMPT.format("Name 0 Here"))] * len(table))
    probe = Naming(kind="naming", names="called", sizes=(10,))
    found = measured(probe, seen_of(dataset_of(tmp_path, table), everybody))
    assert found.loc[ENSEMBLE, "value"] == pytest.approx(0.75)
    assert found.loc[ENSEMBLE, "null_mean"] == pytest.approx(0.75, abs=0.05)
    assert found.loc[ENSEMBLE, "p"] > 0.3


@pytest.mark.slow
def test_who_has_no_name_is_asked_without_a_right_answer(tmp_path: Path) -> None:
    table = manifest(20)
    table.loc[table["subject"] == "s003", "called"] = None
    seen = seen_of(dataset_of(tmp_path, table), at_random(table))
    rows = Naming(kind="naming", names="called", sizes=(5,)).outcomes(seen)
    nameless = rows["image_id"].str.startswith("003")
    assert rows.loc[nameless, "truth"].isna().all()
    assert (rows.loc[nameless, "predicted"] != RIGHT).all()
    assert rows.loc[~nameless, "truth"].notna().all()


# ---- bad input, care -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_name_longer_than_the_model_reads_is_a_sentence(tmp_path: Path) -> None:
    def short(strings: Any) -> np.ndarray:
        raise InputError(
            f"a text of 90 tokens is longer than the 77 this model reads: {strings[0]}"
        )

    seen = seen_of(dataset_of(tmp_path, manifest(4)), np.eye(DIM)[:8], short)
    with pytest.raises(InputError, match="'naming': candidate names: a text of 90 tokens"):
        Naming(kind="naming", names="called", sizes=(3,)).outcomes(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"names": "caled"}, "has no column 'caled'. Did you mean 'called'?"),
        ({"names": "blank"}, "'naming': nobody has a name in column 'blank'"),
        ({"names": "path"}, "subject 's000' has two names in column 'path'. Give each subject one"),
        ({"sizes": [3000]}, "3,000 candidate names, and there are 2,000: 8 of people shown"),
        ({"candidates": "people-nonce"}, "8 subjects, and 'people-nonce' has 4 names to give them"),
        ({"candidates": "people-nonse"}, "no label set named 'people-nonse'. Did you mean"),
        ({"templates": "plane"}, "no prompt set named 'plane'. Did you mean"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    dataset = dataset_of(tmp_path, manifest(8).assign(blank=None))
    with pytest.raises(InputError) as error:
        Naming(kind="naming", **fields).resolve(dataset)
    assert said in str(error.value)


def test_a_choice_needs_two_names() -> None:
    with pytest.raises(ValidationError, match="sizes"):
        Naming(kind="naming", sizes=[1])


@pytest.mark.slow
def test_invented_names_are_two_thousand_and_acknowledged() -> None:
    listed = load_label_set("invented-names")
    assert len(listed.texts) == 2000
    assert listed.needs_acknowledgement
    assert Naming(kind="naming").other_sets() == (listed,)
    words = [word.lower() for name in listed.texts for word in name.split()]
    assert len(set(words)) == 4000


SUITE = """
name: world
model: planted
dataset: {card}
attributes: [gender]
probes:
  - {{kind: naming, names: called, sizes: [10, 40]}}
acknowledge: [{acknowledged}]
"""


def suite_of(folder: Path, acknowledged: str = "naming") -> str:
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(card=folder / "card.yaml", acknowledged=acknowledged))
    return str(path)


@pytest.mark.slow
def test_it_must_be_meant_and_is_refused_on_named_people(tmp_path: Path) -> None:
    table = manifest(40)
    table["gender"] = np.repeat(["female", "male"], len(table) // 2)
    dataset_of(tmp_path, table)
    with pytest.raises(InputError, match="'naming' casts suspicion, identifies people"):
        load_suite(suite_of(tmp_path, "")).resolve()
    dataset_of(tmp_path, table, named="true")
    with pytest.raises(InputError, match="'naming' is refused: the dataset 'tiny' shows named"):
        load_suite(suite_of(tmp_path)).resolve()


@pytest.mark.slow
def test_a_whole_audit_tells_errors_by_group_and_writes_no_name_down(world: Path) -> None:
    from PIL import Image

    table = worlds.people(world, 200)
    table["called"] = "Name " + table["subject"]
    table.to_csv(world / "people.csv", index=False)
    known = knowing(table)
    images = {}
    for at, row in table.iterrows():  # women are known by name, men are not
        with Image.open(world / row["path"]) as picture:
            unknown = vector_of("nobody at all")
            images[picture_key(picture)] = known[at] if row["gender"] == "female" else unknown
    names = [*table["called"], *load_label_set("invented-names").texts]
    encoder = PlantedEncoder(images, {t: vector_of(t) for t in map(PROMPT.format, names)})
    suite = load_suite(suite_of(world))
    run = carry_out(suite, world / "runs", Store(world / "cache"), lambda: encoder)
    errors = next(f for f in run.findings if f["metric"] == "misclassification")
    assert (errors["verdict"], errors["groups"]) == ("exceeds margin", ["male", "female"])
    assert set(run.effects["condition"]) == {among(40)}
    text = render(run).read_text(encoding="utf-8")
    assert "Does the model know who it is?" in text
    assert "surveillance and facial recognition are" in text
    assert "The names are invented here" not in text
    for table_name in ("rates", "measures", "disparities"):
        assert not getattr(run, table_name).astype(str).to_csv().count("Name s00")
    assert set(run.outcomes("naming")["predicted"]) <= {RIGHT, OTHER, NOBODY}
    assert "Name s00" not in (run.path / "questions.json").read_text(encoding="utf-8")

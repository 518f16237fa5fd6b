"""Models that are only recorded: vectors in every layout, predictions, and what these lack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.stats import norm

import audit
from audit.core.errors import InputError
from audit.engine.askable import require_askable
from audit.models.encoder import GIVES, Recorded
from audit.models.families import load, locate
from audit.models.predictions import RecordedPredictions
from audit.models.vectors import read_images, read_texts
from audit.report.exports.public import write_public

LABELS = ("doctor", "thief", "cook")
PROMPTS = tuple(f"a photo of a {label}." for label in LABELS)
N, WIDTH = 240, 16
IDS = tuple(f"{i:03d}" for i in range(N))


class World:
    """Pictures near one of three labels, more of group b near the second."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.group = np.where(rng.random(N) < 0.5, "a", "b")
        self.truth = rng.integers(0, 3, N)
        texts = rng.normal(size=(3, WIDTH))
        self.texts = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)
        images = self.texts[self.truth] + rng.normal(size=(N, WIDTH)) * 0.25
        images[self.group == "b"] += 0.5 * self.texts[1]
        self.images = images.astype(np.float32)

    @property
    def chosen(self) -> np.ndarray:
        """The label of the nearest text, computed here."""
        unit = self.images / np.linalg.norm(self.images.astype(float), axis=1, keepdims=True)
        return (unit @ self.texts.T.astype(float)).argmax(axis=1)

    @property
    def scores(self) -> np.ndarray:
        """A probability of each label."""
        logits = np.exp(4 * self.images.astype(float) @ self.texts.T)
        return logits / logits.sum(axis=1, keepdims=True)


WORLD = World()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set without pictures, a label set, and vectors as one .npz."""
    people = {"image_id": IDS, "group": WORLD.group, "job": np.array(LABELS)[WORLD.truth]}
    pd.DataFrame(people).to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "card.yaml").write_text(
        "{name: recorded, manifest: people.csv, pictures: false, id_column: image_id, "
        "named_people: false, consent: stated, attributes: "
        "{group: {source: annotator-perceived}}}"
    )
    (tmp_path / "jobs.yaml").write_text(
        "{name: jobs, version: 1, purpose: a test, source: made up, licence: none, "
        "labels: [doctor, thief, cook]}"
    )
    np.savez(
        tmp_path / "vectors.npz", image_ids=np.array(IDS), images=WORLD.images,
        texts=np.array(PROMPTS), text_embeddings=WORLD.texts, logit_scale=np.array(100.0),
    )  # fmt: skip
    table(tmp_path / "texts.parquet", PROMPTS, WORLD.texts, "text")
    return tmp_path


def table(path: Path, names, rows, column: str = "image_id", more=None) -> None:
    vectors = pa.array(list(rows.astype(np.float32)), pa.list_(pa.float32()))
    pq.write_table(pa.table({column: list(names), "embedding": vectors, **(more or {})}), path)


def describe(folder: Path, **keys: object) -> str:
    """A model's name after writing its description."""
    given = {"texts": "texts.parquet", "logit_scale": 100, **keys}
    text = json.dumps({k: v for k, v in given.items() if v is not None})
    (folder / "model.yaml").write_text(text)
    return f"embeddings:{folder / 'model.yaml'}"


def suite(folder: Path, model: str, probes: str = "", templates: str = "plain") -> audit.Suite:
    path = folder / "suite.yaml"
    path.write_text(
        f"name: recorded\nmodel: '{model}'\ndataset: ./card.yaml\nattributes: [group]\n"
        "acknowledge: [jobs]\n"
        "confidence: {resamples: 200}\nprobes:\n  - {kind: classification, "
        f"label_set: ./jobs.yaml, templates: {templates}, truth: job}}\n{probes}"
    )
    return audit.load_suite(path)


# --- layouts ------------------------------------------------------------------------------------


def written(folder: Path, layout: str) -> dict[str, object]:
    """The vectors in one layout, and the keys of the description that name them."""
    if layout == "npz":
        return {"images": "vectors.npz", "texts": None, "logit_scale": None}
    if layout in ("npy txt", "npy npy", "npy csv"):
        np.save(folder / "v.npy", WORLD.images)
        (folder / "ids.txt").write_text("\n".join(IDS) + "\n")
        np.save(folder / "ids.npy", np.array(IDS))
        pd.DataFrame({"image_id": IDS}).to_csv(folder / "ids.csv", index=False)
        return {"images": "v.npy", "ids": f"ids.{layout[4:]}"}
    if layout == "parquet":
        table(folder / "v.parquet", IDS, WORLD.images)
        return {"images": "v.parquet"}
    if layout == "parquet parts":
        (folder / "parts").mkdir()
        for part, at in enumerate(np.array_split(np.arange(N), 12)):
            names = [IDS[i] for i in at]
            table(folder / "parts" / f"train-{part}-of-12.parquet", names, WORLD.images[at])
        return {"images": "parts"}
    if layout == "hugging face":
        return {"images": saved_to_disk(folder)}
    (folder / "img_emb").mkdir()
    (folder / "metadata").mkdir()
    for part, at in enumerate(np.array_split(np.arange(N), 11)):  # the 10th sorts after the 1st
        np.save(folder / "img_emb" / f"img_emb_{part}.npy", WORLD.images[at])
        names = {"image_path": [IDS[i] for i in at], "caption": ["no"] * len(at)}
        pd.DataFrame(names).to_parquet(folder / "metadata" / f"metadata_{part}.parquet")
    return {"images": "."}


def saved_to_disk(folder: Path) -> str:
    """What Hugging Face's save_to_disk writes: Arrow streams and a state."""
    place = folder / "saved"
    place.mkdir()
    names = []
    for part, at in enumerate(np.array_split(np.arange(N), 2)):
        names.append(f"data-{part:05d}-of-00002.arrow")
        vectors = pa.array(list(WORLD.images[at]), pa.list_(pa.float32(), WIDTH))
        rows = pa.table({"image_id": [IDS[i] for i in at], "embedding": vectors})
        with pa.ipc.new_stream(str(place / names[-1]), rows.schema) as writer:
            writer.write_table(rows)
    state = {"_data_files": [{"filename": name} for name in names]}
    (place / "state.json").write_text(json.dumps(state))
    return "saved"


LAYOUTS = (
    "npz", "npy txt", "npy npy", "npy csv", "parquet", "parquet parts", "hugging face",
    "clip-retrieval",
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_vectors_for_the_same_pictures(
    folder: Path, layout: str
) -> None:
    encoder = load(describe(folder, **written(folder, layout)))
    assert isinstance(encoder, Recorded)
    asked = [*IDS[::-3], "nobody"]
    rows, missing = encoder.recorded(asked)
    expected = WORLD.images[[int(i) for i in IDS[::-3]]].astype(float)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert list(missing) == ["nobody"]
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS[::-1]), WORLD.texts[::-1], atol=1e-6)
    assert encoder.card.logit_scale == 100
    assert (encoder.card.gives, encoder.card.recorded) == ("embeddings", True)


def test_vectors_that_are_not_of_unit_length_are_normalised_and_this_is_said(folder: Path) -> None:
    (caveat,) = load(describe(folder, images="vectors.npz")).card.caveats
    lengths = np.linalg.norm(WORLD.images, axis=1)
    off = (np.abs(lengths - 1) > 1e-3).sum()
    assert f"{off} of {N} embeddings were not of unit length" in caveat
    unit = WORLD.images / np.linalg.norm(WORLD.images, axis=1, keepdims=True)
    table(folder / "unit.parquet", IDS, unit.astype(np.float16))
    assert not load(describe(folder, images="unit.parquet")).card.caveats


@pytest.mark.slow
def test_a_text_tower_embeds_the_texts_of_recorded_pictures(folder: Path) -> None:
    tower = audit.load_model("specimen-even", device="cpu")
    rows = np.random.default_rng(0).normal(size=(N, tower.card.dim))
    table(folder / "wide.parquet", IDS, rows)
    name = describe(
        folder, images="wide.parquet", texts=None, text_tower="specimen-even", logit_scale=None
    )
    encoder = load(name, device="cpu")
    assert not any("logit scale" in caveat for caveat in encoder.card.caveats)
    stated = yaml.safe_load((folder / "model.yaml").read_text())
    other = describe(folder, **(stated | {"texts": None, "logit_scale": 20}))
    assert any(
        "the text tower's own is" in caveat for caveat in load(other, device="cpu").card.caveats
    )
    np.testing.assert_array_equal(encoder.encode_texts(["a cat"]), tower.encode_texts(["a cat"]))
    assert encoder.card.logit_scale == tower.card.logit_scale
    assert encoder.card.fingerprint != tower.card.fingerprint


def test_a_text_tower_is_not_loaded_to_check_a_suite(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.models.huggingface._model", None)  # builds a model from its weights
    table(folder / "wide.parquet", IDS, np.ones((N, 128)))
    given = {"texts": None, "text_tower": "specimen-even", "logit_scale": None}
    found = locate(describe(folder, images="wide.parquet", **given))
    assert found.read is not None
    with pytest.raises(InputError, match="longer than the 40 this model reads"):
        found.read(["a " * 50])
    with pytest.raises(InputError, match="pictures have 16 numbers and texts 128"):
        locate(describe(folder, images="vectors.npz", **given))
    with pytest.raises(InputError, match="sigmoid scores need their bias"):
        locate(describe(folder, images="wide.parquet", scores="sigmoid", **given))
    given["text_tower"] = "nobody/has-downloaded-this"
    found = locate(describe(folder, images="wide.parquet", scores="sigmoid", **given))
    assert "fits is known once it is loaded" in found.caveats[-1]
    table(folder / "scores.parquet", IDS, WORLD.images[:, :2])
    (folder / "tags.csv").write_text("image_id,label,score\n000,a,0.5\n000,b,0.5\n")
    given["text_tower"] = "predictions:tags.csv"  # beside the description, as every path
    with pytest.raises(InputError, match="text tower 'tags' gives no embeddings"):
        locate(describe(folder, images="scores.parquet", **given))


def test_whatever_moves_a_number_moves_the_fingerprint(folder: Path) -> None:
    def of(**keys: object) -> str:
        return load(describe(folder, **{"images": "v.parquet", **keys})).card.fingerprint

    table(folder / "v.parquet", IDS, WORLD.images)
    first = of()
    assert of(name="another name") == first
    others = {
        of(logit_scale=99),
        of(scores="sigmoid", logit_bias=0),
        of(scores="sigmoid", logit_bias=-10),
    }
    table(folder / "v.parquet", [*IDS[1:], IDS[0]], WORLD.images)
    others.add(of())
    table(folder / "v.parquet", IDS, WORLD.images * (1 + 1e-6))
    others.add(of())
    table(folder / "v.parquet", IDS, WORLD.images)
    table(folder / "texts.parquet", PROMPTS, WORLD.texts[::-1], "text")
    others.add(of())
    assert len(others | {first}) == 7


# --- bad input ----------------------------------------------------------------------------------


KEYS: dict[str, dict[str, object]] = {
    "pickled": {"images": "pickled.npz"},
    "short": {"images": "v.npy", "ids": "ids.txt"},
    "whole numbers": {"images": "v.npy", "ids": "ids.txt"},
    "no names": {"images": "v.npy"},
    "part lost": {"images": "."},
    "no texts": {"texts": None},
    "two texts": {"text_tower": "specimen-even"},
    "no scale": {"logit_scale": None},
    "scale": {"logit_scale": 1e60},
    "bias": {"scores": "sigmoid"},
    "column": {"id_column": "imageid"},
}


def broken(folder: Path, what: str) -> dict[str, object]:
    """A folder with one thing wrong, and the description of it."""
    images, names = WORLD.images.copy(), list(IDS)
    keys: dict[str, object] = {"images": "v.parquet"}
    if what == "twice":
        names[3] = names[2]
    if what == "width of texts":
        table(folder / "texts.parquet", PROMPTS, WORLD.texts[:, :8], "text")
    if what == "part lost":
        written(folder, "clip-retrieval")
        (folder / "metadata" / "metadata_3.parquet").unlink()
    table(folder / "v.parquet", names, images)
    if what == "widths":
        rows = [*images.tolist()[1:], [1.0, 2.0]]
        pq.write_table(pa.table({"image_id": names, "embedding": rows}), folder / "v.parquet")
    np.savez(folder / "pickled.npz", image_ids=np.array([{}], object), images=images)
    np.save(folder / "v.npy", images.astype(int) if what == "whole numbers" else images[:-1])
    (folder / "ids.txt").write_text("\n".join(IDS if what == "short" else IDS[:-1]))
    return keys | KEYS.get(what, {})


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("twice", "'002' has two vectors"),
        ("width of texts", "pictures have 16 numbers and texts 8"),
        ("pickled", "holds Python objects.*These are never read"),
        ("short", "239 vectors and 240 names"),
        ("no names", "holds vectors and no names.*Say in 'ids'"),
        ("whole numbers", "vectors are floating-point numbers"),
        ("widths", "several widths: 239 of 16, 1 of 2"),
        ("part lost", "11 parts in img_emb and 10 in metadata"),
        ("no texts", "nothing says how texts are embedded.*'text_tower'"),
        ("two texts", "'texts' and 'text_tower' are both given"),
        ("no scale", "no logit scale.*State 'logit_scale'"),
        ("scale", "no score would be a number.*State it exponentiated"),
        ("bias", "sigmoid scores need their bias"),
        ("column", "there is no column 'imageid'. Did you mean 'image_id'"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused_in_a_sentence(
    folder: Path, what: str, said: str
) -> None:
    name = describe(folder, **broken(folder, what))
    with pytest.raises(InputError, match=said):
        load(name)
    with pytest.raises(InputError, match=said):
        locate(name)


def test_texts_that_are_not_recorded_are_named(folder: Path) -> None:
    asked = suite(folder, f"embeddings:{folder / 'vectors.npz'}", templates="bare")
    with pytest.raises(InputError, match="nothing is recorded of 3 of the 3 texts.*'doctor'"):
        audit.run(asked, out=folder / "runs", cache=folder / "cache")


def test_other_pictures_than_those_recorded_are_refused_with_both_names(folder: Path) -> None:
    table(folder / "v.parquet", [f"/data/{i}.jpg" for i in IDS], WORLD.images)
    asked = suite(folder, describe(folder, images="v.parquet"))
    with pytest.raises(InputError, match="none of its 240 records.*'/data/000.jpg'.*'000'"):
        audit.run(asked, out=folder / "runs", cache=folder / "cache")


@pytest.mark.slow
def test_pictures_without_a_vector_are_set_aside_and_counted(folder: Path) -> None:
    images = WORLD.images.copy()
    images[5] = np.nan
    table(folder / "v.parquet", IDS[:-2], images[:-2])
    asked = suite(folder, describe(folder, images="v.parquet"))
    run = audit.run(asked, out=folder / "runs", cache=folder / "cache")
    assert run.dataset["quarantined"] == 3
    assert run.dataset["quarantined_reasons"] == {"not recorded": 3}
    said = (run.path / "private" / "quarantined.csv").read_text(encoding="utf-8-sig")
    assert "005" in said
    assert "its embedding is not finite, or zero" in said


@pytest.mark.slow
def test_a_data_set_without_pictures_needs_a_recorded_model(folder: Path) -> None:
    asked, said = suite(folder, "specimen-even"), "no pictures.*'specimen-even' has to look at them"
    with pytest.raises(InputError, match=said):
        audit.run(asked, out=folder / "runs", cache=folder / "cache")
    with pytest.raises(InputError, match=said):
        require_askable(asked, locate(asked.model))
    card = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(card.replace("id_column: image_id, ", ""))
    with pytest.raises(InputError, match="'id_column' has to name the rows"):
        audit.load_dataset(folder / "card.yaml")
    (folder / "card.yaml").write_text(card.replace("pictures: false, ", ""))
    with pytest.raises(InputError, match="column named 'path'.*state 'pictures: false'"):
        audit.load_dataset(folder / "card.yaml")


@pytest.mark.slow
def test_equal_vectors_of_different_subjects_are_remarked(folder: Path) -> None:
    images = WORLD.images.copy()
    images[1] = images[0]
    table(folder / "v.parquet", IDS, images)
    asked = suite(folder, describe(folder, images="v.parquet"))
    run = audit.run(asked, out=folder / "runs", cache=folder / "cache")
    assert any("2 pictures of 2 subjects are duplicates" in r for r in run.dataset["remarks"])


# --- the audit ----------------------------------------------------------------------------------


def counts(run: audit.Run) -> pd.DataFrame:
    rows = run.rates[(run.rates["metric"] == "selection") & (run.rates["condition"] == "ensemble")]
    return rows.set_index(["group", "label"])


@pytest.mark.slow
def test_counts_and_intervals_are_those_of_another_computation(folder: Path) -> None:
    asked = suite(folder, f"embeddings:{folder / 'vectors.npz'}")
    run = audit.run(asked, out=folder / "runs", cache=folder / "cache")
    found = counts(run)
    for group in "ab":
        chosen = WORLD.chosen[WORLD.group == group]
        for place, label in enumerate(LABELS):
            row = found.loc[(group, label)]
            k, n = int((chosen == place).sum()), len(chosen)
            assert (row.events, row.n) == (k, n)
            z = norm.ppf(0.975)
            middle = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
            half = z / (1 + z**2 / n) * np.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
            if min(k, n - k) >= 10:  # where Wilson is the default
                assert (row.low, row.high) == pytest.approx((middle - half, middle + half))
    gaps = run.disparities.query("metric == 'selection' and label == 'thief'")
    a, b = ((WORLD.chosen[WORLD.group == g] == 1).mean() for g in "ab")
    (widest,) = gaps.query("comparison == 'worst_case_gap'")["value"]
    assert widest == pytest.approx(abs(b - a))


def scores_table(folder: Path, drop: int = 0, times: float = 1.0) -> str:
    rows = [
        (IDS[i], label, f"{times * WORLD.scores[i, j]:.17g}")
        for i in range(N)
        for j, label in enumerate(LABELS)
    ]
    path = folder / "scores.csv"
    frame = pd.DataFrame(rows[drop:], columns=["image_id", "label", "score"])
    frame.sample(frac=1, random_state=1).to_csv(path, index=False)
    return f"predictions:{path}"


@pytest.mark.slow
def test_scores_of_any_system_are_audited_as_they_are(folder: Path) -> None:
    ranked = (
        "  - {kind: retrieval, label_set: ./jobs.yaml, templates: bare, queries: labels, "
        "k: [20], target: dataset}\n"
    )
    asked = suite(folder, scores_table(folder), ranked, "bare")
    run = audit.run(asked, out=folder / "runs", cache=folder / "cache")
    best = WORLD.scores.argmax(axis=1)
    for (group, label), row in counts(run).iterrows():
        if group in ("a", "b"):
            assert row.events == (best[WORLD.group == group] == LABELS.index(label)).sum()
    chosen = run.outcomes("jobs").set_index("image_id")["score"]
    np.testing.assert_allclose(chosen.loc[list(IDS)], WORLD.scores.max(axis=1), rtol=1e-15)
    kept = run.thresholds.query(
        "metric == 'label_kept' and label == 'thief' and group == 'everyone' and threshold == 0.04"
    )
    assert kept["events"].iloc[0] == (WORLD.scores[:, 1] > 0.04).sum()
    assert len(run.calibration) == 3
    assert not run.measures.empty


@pytest.mark.slow
def test_labels_without_scores_are_counted_and_what_needs_scores_says_so(folder: Path) -> None:
    path = folder / "labels.csv"
    named = np.array(LABELS)[WORLD.chosen]
    pd.DataFrame({"image_id": IDS, "label": named}).to_csv(path, index=False)
    run = audit.run(
        suite(folder, f"predictions:{path}", templates="bare"),
        out=folder / "runs", cache=folder / "cache",
    )  # fmt: skip
    for (group, label), row in counts(run).iterrows():
        if group in ("a", "b"):
            assert row.events == (named[WORLD.group == group] == label).sum()
    assert run.thresholds.empty
    assert run.manifest["stored_pictures"] == "none"
    assert run.calibration.empty
    assert run.effects.empty
    page = audit.render(run).with_suffix(".md").read_text(encoding="utf-8")
    assert "Thresholds: not measured" in page
    assert "Label ablation: not measured" in page
    assert "Not measured: the system gave no scores" in page
    assert "embeddings of" not in page


@pytest.mark.slow
def test_scores_that_are_no_probabilities_order_labels_only(folder: Path) -> None:
    model = scores_table(folder, times=7)
    (caveat,) = load(model).card.caveats
    assert "so they order labels and are no probabilities" in caveat
    run = audit.run(
        suite(folder, model, templates="bare"), out=folder / "runs", cache=folder / "cache"
    )
    assert run.thresholds.empty
    assert run.manifest["stored_pictures"] == "none"
    assert run.calibration.empty
    assert not run.effects.empty


@pytest.mark.parametrize(
    ("probe", "model", "said"),
    [
        ("{kind: retrieval, label_set: ./jobs.yaml, templates: bare, queries: labels, k: [9], "
         "target: dataset}", "labels", "kind 'retrieval' needs scores of labels"),
        ("{kind: linear, label_set: ./jobs.yaml, templates: bare, truth: job}", "scores",
         "kind 'linear' needs embeddings"),
        ("{kind: classification, label_set: datacomp-gender, templates: bare, "
         "wordings: {alterations: [padding 0.25]}}", "vectors", "alters pictures.*records only"),
        ("{kind: alarms, label_set: ./jobs.yaml, templates: bare, alarm: [cook], "
         "thresholds: [0.5]}", "other scores", "scores from 0 to 1, and.*'scores: percent' or"),
        ("{kind: alarms, label_set: ./jobs.yaml, templates: bare, alarm: [cook], "
         "thresholds: [0.5], corruptions: [fog]}", "scores", "Take 'corruptions' out of the probe"),
    ],
)  # fmt: skip
def test_a_probe_that_needs_more_than_there_is_says_so(
    folder: Path, probe: str, model: str, said: str
) -> None:
    pd.DataFrame({"image_id": IDS, "label": np.array(LABELS)[WORLD.chosen]}).to_csv(
        folder / "labels.csv", index=False
    )
    names = {
        "labels": f"predictions:{folder / 'labels.csv'}",
        "scores": scores_table(folder),
        "other scores": scores_table(folder, times=7) if model.startswith("other") else "",
        "vectors": f"embeddings:{folder / 'vectors.npz'}",
    }
    asked = suite(folder, names[model], f"  - {probe}\n", "bare" if model != "vectors" else "plain")
    with pytest.raises(InputError, match=said):
        audit.run(asked, out=folder / "runs", cache=folder / "cache")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("1,doctor,0.5\n1,doctor,0.6\n", "'doctor' of '1' has two scores"),
        ("1,doctor,half\n", "row 1 below the header has the score 'half'"),
        ("1,doctor,nan\n", "the score 'nan'"),
        ('1,doctor,"1,000"\n', "comma of the score '1,000' may be a decimal sign or.*points"),
        ('1,doctor,"0,5"\n1,cook,0.25\n', "comma of the score '0,5'"),
        ("1,,0.5\n", "row 1 below the header has no 'label'"),
    ],
)
def test_predictions_that_cannot_be_used_are_refused_in_a_sentence(
    tmp_path: Path, rows: str, said: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"image_id,label,score\n{rows}")
    with pytest.raises(InputError, match=said):
        load(f"predictions:{path}")


@pytest.mark.parametrize(
    ("said", "scores", "wanted"),
    [
        ("scores: percent", "70.1 5", [0.701, 0.05]),
        ("scores: logit", "0 -1.5", [0.5, 1 / (1 + np.exp(1.5))]),
        ("scores: probability", "1 0.25", [1, 0.25]),
    ],
)
def test_scores_of_a_stated_scale_are_brought_to_0_to_1(
    tmp_path: Path, said: str, scores: str, wanted: list[float]
) -> None:
    found = one_score(tmp_path, said, scores)
    assert found.card.scoring.known
    assert "'no fight' scores 1 less" in found.card.caveats[-1]
    rows, _ = found.recorded(["0", "1"])
    assert rows[:, 0].tolist() == pytest.approx(wanted, abs=1e-16)
    assert rows[:, 1].tolist() == pytest.approx(1 - np.array(wanted))  # 'no fight'
    found.require(["no fight", "fight"], ["0", "1"])


def test_what_may_have_been_meant_as_scores_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image_id,label,Score,day\na,x,0.2,Mon\nb,y,0.9,Tue\n")
    (said,) = load(f"predictions:{tmp_path / 't.csv'}").card.caveats
    assert "('score_column' may name 'Score'): thresholds" in said
    percent = one_score(tmp_path, "scores: percent", "0.7 0.05").card.caveats
    assert "All of the system's scores lie between 0 and 1, as probabilities do" in percent[0]
    assert "as probabilities" not in one_score(tmp_path, "scores: percent", "70 5").card.caveats[0]


@pytest.mark.parametrize(
    ("said", "scores", "told"),
    [
        ("scores: percent", "70 101", "from 0 to 100, and these from 70 to 101"),
        ("scores: probability", "70 1", "from 0 to 1, and these from 1 to 70"),
        ("scores: logit", "500 501", "2 different scores would be 1"),
        ("name: raw", "70 5", "scores here are not from 0 to 1. Say in 'scores'"),
    ],
)
def test_scores_beyond_their_scale_are_refused(
    tmp_path: Path, said: str, scores: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        one_score(tmp_path, said, scores)


def one_score(folder: Path, said: str, scores: str) -> RecordedPredictions:
    rows = [f"{i},{score}" for i, score in enumerate(scores.split())]
    (folder / "p.csv").write_text("\n".join(["image_id,score", *rows]))
    (folder / "p.yaml").write_text(f"{{table: p.csv, label: fight, other: no fight, {said}}}")
    found = load(f"predictions:{folder / 'p.yaml'}")
    assert isinstance(found, RecordedPredictions)
    return found


@pytest.mark.slow
def test_missing_scores_are_named_or_given_a_value(folder: Path) -> None:
    model = scores_table(folder, drop=2)
    asked = suite(folder, model, templates="bare")
    with pytest.raises(InputError, match="2 of 720 scores are missing.*'missing'"):
        audit.run(asked, out=folder / "runs", cache=folder / "cache")
    (folder / "p.yaml").write_text("{table: scores.csv, missing: 0}")
    asked = suite(folder, f"predictions:{folder / 'p.yaml'}", templates="bare")
    run = audit.run(asked, out=folder / "runs", cache=folder / "cache")
    assert counts(run).loc[("everyone", "cook"), "n"] == N


def test_pictures_that_were_given_other_labels_have_no_choice(folder: Path) -> None:
    named = np.array([*LABELS, "dog"])[np.where(np.arange(N) < 7, 3, WORLD.chosen)]
    pd.DataFrame({"image_id": IDS, "label": named}).to_csv(folder / "p.csv", index=False)
    asked = suite(folder, f"predictions:{folder / 'p.csv'}", templates="bare")
    with pytest.raises(InputError, match=r"7 of 240 pictures were given none.*'dog' \(7\)"):
        audit.run(asked, out=folder / "runs", cache=folder / "cache")


def test_prompts_are_no_labels_of_a_system(folder: Path) -> None:
    asked = suite(folder, scores_table(folder), templates="plain")
    with pytest.raises(InputError, match="ask its labels as they are, with 'templates: bare'"):
        audit.run(asked, out=folder / "runs", cache=folder / "cache")


def test_what_a_model_gives_is_ordered_from_least_to_most() -> None:
    assert GIVES == ("choices", "scores", "embeddings")


def test_captions_of_clip_retrieval_are_texts(folder: Path) -> None:
    written(folder, "clip-retrieval")
    (folder / "text_emb").mkdir()
    for part, at in enumerate(np.array_split(np.arange(N), 11)):
        np.save(folder / "text_emb" / f"text_emb_{part}.npy", WORLD.images[at])
    captions = read_texts(folder, None, None)
    assert captions.names == ("no",)  # captions come again; the first is kept
    np.testing.assert_array_equal(captions.rows, WORLD.images[:1])
    assert read_images(folder, None, None, None).names == IDS


@pytest.mark.slow
def test_ties_are_remarked_where_the_order_of_labels_decides(folder: Path) -> None:
    rows = [(i, label, "0.4" if label != "cook" else "0.1") for i in IDS for label in LABELS]
    pd.DataFrame(rows, columns=["image_id", "label", "score"]).to_csv(folder / "t.csv", index=False)
    asked = suite(folder, f"predictions:{folder / 't.csv'}", templates="bare")
    run = audit.run(asked, out=folder / "runs", cache=folder / "cache")
    (told,) = [r for r in run.dataset["remarks"] if "equally near" in r]
    assert f"in {N} of {N} choices" in told
    assert all(any("equally near" in c for c in f["caveats"]) for f in run.findings)


def test_too_few_records_are_refused_before_anything_is_done(folder: Path) -> None:
    table(folder / "v.parquet", IDS[:100], WORLD.images[:100])
    asked = suite(folder, describe(folder, images="v.parquet"))
    with pytest.raises(InputError, match="140 of 240 pictures have no usable record"):
        require_askable(asked, locate(asked.model))


@pytest.mark.slow
def test_a_public_copy_names_no_folder_of_records(folder: Path) -> None:
    asked = suite(folder, f"embeddings:{folder / 'vectors.npz'}")
    run = audit.run(asked, out=folder / "runs", cache=folder / "cache")
    write_public(run, folder / "public")
    for path in (folder / "public").rglob("*"):
        assert not path.is_file() or str(folder).encode() not in path.read_bytes(), path.name
    said = yaml.safe_load((folder / "public" / "suite.yaml").read_text())
    assert said["model"] == "embeddings:vectors.npz"

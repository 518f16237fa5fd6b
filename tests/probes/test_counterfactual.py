"""Counterfactual pictures: longhand oracles, planted and null worlds, bad input, the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageCms

from audit.core.errors import InputError
from audit.core.evidence import unlinked
from audit.core.tables import EXCEEDS, MEASURES, NOT_ASKED, OK, PAIRS, UNDEFINED, WITHIN
from audit.data.dataset import Dataset, load
from audit.data.labels import load_label_set
from audit.engine.run import carry_out
from audit.engine.suite import Suite, load_suite
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups
from audit.models.huggingface import load as load_model
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.counterfactual import figures, section
from audit.probes.counterfactual import names as c
from audit.probes.counterfactual.colours import colour_difference, lab
from audit.probes.counterfactual.moved import Moved
from audit.probes.counterfactual.probe import Counterfactual
from audit.probes.counterfactual.rows import Changes
from audit.probes.kit.base import Design, Seen, Texts
from audit.report.render import render
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

SCALE = 50.0
LABELS = load_label_set("people-suspicion")
THIEF = LABELS.texts.index("thief")
SURE = Confidence(resamples=300)
Move = Callable[[str, int, np.random.Generator], np.ndarray]


def probe(**more: Any) -> Counterfactual:
    """A probe of suspicion over skin tone and gender against light and pose."""
    fields = {"label_set": "people-suspicion", "templates": "bare", "demographic": ["tone", "sex"]}
    fields |= {"nuisance": ["light", "pose"], "steps": {"tone": "ita"}, "colours": 0}
    return Counterfactual.model_validate(fields | more)


def manifest(families: int, tones: tuple[float, ...] = (-30.0, 20.0)) -> pd.DataFrame:
    """Families of a base, two tones, the other sex, a light and a pose."""
    rows = []
    for f in range(families):
        base = {"family": f"f{f:03d}", "ita": 5.0, "sex": ("a", "b")[f % 2]}
        rows.append(base | {"changed": "none"})
        rows += [base | {"changed": "tone", "ita": 5.0 + step} for step in tones]
        rows.append(base | {"changed": "sex", "sex": ("b", "a")[f % 2]})
        rows += [base | {"changed": kind} for kind in ("light", "pose")]
    return pd.DataFrame(rows).assign(path=[f"{i}.png" for i in range(len(rows))])


def dataset(folder: Path, table: pd.DataFrame, cluster: str = "family") -> Dataset:
    """A data set of this manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "m.csv", index=False)
    (folder / "card.yaml").write_text(
        f"name: families\nmanifest: m.csv\ncluster_column: {cluster}\nnamed_people: false\n"
        "consent: drawn by a test\nattributes:\n  changed: {source: generator}\n"
    )
    return load(str(folder / "card.yaml"))


def texts() -> Texts:
    """Each label on an axis of its own."""
    axes = dict(zip(LABELS.texts, np.eye(len(LABELS.texts) + 2), strict=False))
    return Texts(lambda asked: np.array([axes[t] for t in asked], np.float32), Scoring(SCALE))


def seen(data: Dataset, move: Move, seed: int = 0) -> Seen:
    """Each picture is its family's vector plus what its change moves."""
    rng = np.random.default_rng(seed)
    width = len(LABELS.texts) + 2
    rows = []
    for family, group in data.table.groupby("family", sort=False):
        own = 0.3 + 0.02 * rng.standard_normal(width)
        for _, row in group.iterrows():
            rows.append(own + move(row["changed"], int(family[1:]), rng))
    vectors = np.array(rows)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = tuple(data.table["image_id"])
    return Seen(Embeddings(ids, vectors.astype(np.float32), "f"), texts(), data, {}, 0)


def design(shown: Seen, confidence: Confidence = SURE) -> Design:
    """Everyone, drawn by cluster."""
    groups = Groups.of(shown.dataset, shown.images.keys, {})
    draws = groups.draws(groups.rows, 0, confidence.resamples)
    return Design(groups, draws, confidence, 0)


def told(asked: Counterfactual, shown: Seen) -> pd.DataFrame:
    """The table MEASURES of a probe."""
    return asked.measures(asked.outcomes(shown), shown, design(shown))


def noise(changed: str, _: int, rng: np.random.Generator) -> np.ndarray:
    """Every change moves a picture alike: a little, in no direction."""
    return (changed != "none") * 0.003 * rng.standard_normal(len(LABELS.texts) + 2)


def tone_moves_thief(changed: str, family: int, rng: np.random.Generator) -> np.ndarray:
    """Skin tone also makes a thief of everybody."""
    moved = noise(changed, family, rng)
    moved[THIEF] += 0.3 * (changed == "tone")
    return moved


def one(table: pd.DataFrame, **where: str) -> pd.Series:
    """The one row of these names."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, len(table)
    return table.iloc[0]


# ---- rows --------------------------------------------------------------------------------------


def test_pairs_longhand(tmp_path: Path) -> None:
    data = dataset(tmp_path, manifest(4))
    shown = seen(data, tone_moves_thief)
    rows = probe().outcomes(shown)
    assert len(rows) == 4 * 5 * len(LABELS.texts)
    PAIRS.conform(rows)
    vectors = dict(zip(shown.images.keys, shown.images.vectors.astype(float), strict=True))
    table = data.table.set_index("image_id")
    axes = dict(zip(LABELS.texts, np.eye(len(LABELS.texts) + 2), strict=False))
    for row in rows.itertuples():
        a, b = vectors[row.image_id], vectors[row.other_id]
        assert table.loc[row.image_id, "changed"] == "none"
        assert table.loc[row.other_id, "changed"] == row.changed
        assert table.loc[row.image_id, "family"] == table.loc[row.other_id, "family"]
        assert row.delta == pytest.approx((b - a) @ axes[row.label], abs=1e-6)
        assert row.distance == pytest.approx(1 - a @ b, abs=1e-6)
        scores = [[v @ axes[t] for t in LABELS.texts] for v in (a, b)]
        assert row.flipped == (np.argmax(scores[0]) != np.argmax(scores[1]))
        step = float(table.loc[row.other_id, "ita"]) - float(table.loc[row.image_id, "ita"])
        assert (row.step == step) if row.changed == "tone" else np.isnan(row.step)


@pytest.mark.slow
def test_the_order_of_pictures_and_of_rows_does_not_matter(tmp_path: Path) -> None:
    data = dataset(tmp_path, manifest(12))
    shown, asked = seen(data, tone_moves_thief), probe(towards={"sex": "sex"})
    shuffled = list(shown.images.keys)
    np.random.default_rng(3).shuffle(shuffled)
    other = shown.only(shuffled)
    rows = asked.outcomes(shown)
    first = asked.measures(rows, shown, design(shown))
    again = asked.measures(rows.sample(frac=1, random_state=1), shown, design(shown))
    third = asked.measures(asked.outcomes(other), other, design(other))
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(first, third, check_exact=False, rtol=1e-6)


def test_a_batch_may_split_a_family_so_all_pictures_are_needed() -> None:
    assert "family" in Counterfactual.whole
    assert "memory" in Counterfactual.whole


# ---- what is measured --------------------------------------------------------------------------


@pytest.mark.slow
def test_measures_are_means_of_pairs(tmp_path: Path) -> None:
    data = dataset(tmp_path, manifest(20))
    shown, asked = seen(data, tone_moves_thief), probe()
    rows = asked.outcomes(shown)
    table = asked.measures(rows, shown, design(shown))
    MEASURES.conform(table)
    tone = rows[(rows["changed"] == "tone") & (rows["label"] == "thief")]
    flips = one(table, metric=c.FLIPS, group="tone")
    assert (flips["n"], flips["subjects"]) == (40, 20)
    assert flips["value"] == pytest.approx(tone["flipped"].mean())
    size = one(table, metric=c.SIZE, group="tone", label="thief")
    assert size["value"] == pytest.approx(tone["delta"].abs().mean())
    mean = one(table, metric=c.CHANGE, group="tone", label="thief")
    assert mean["value"] == pytest.approx(tone["delta"].mean())
    every = one(table, metric=c.SIZE, group="tone", label="")
    assert every["value"] == pytest.approx(rows[rows["changed"] == "tone"]["delta"].abs().mean())
    pooled = one(table, metric=c.FLIPS, group=c.POOLED)
    nuisance = rows[rows["changed"].isin(["light", "pose"]) & (rows["label"] == "thief")]
    assert pooled["value"] == pytest.approx(nuisance["flipped"].mean())
    apart = one(table, metric=c.MORE_FLIPS, group="tone", other=c.POOLED)
    assert apart["value"] == pytest.approx(flips["value"] - pooled["value"])
    further = one(table, metric=c.LARGER, group="tone", other="light", label="thief")
    light = one(table, metric=c.SIZE, group="light", label="thief")
    assert further["value"] == pytest.approx(size["value"] - light["value"])
    step = one(table, metric=c.STEP, group="tone")
    assert (step["value"], step["unit"]) == (25.0, "ita")
    assert one(table, metric=c.STEP, group="light")["status"] == NOT_ASKED
    distance = one(table, metric=c.DISTANCE, group="tone")
    assert distance["value"] == pytest.approx(tone["distance"].mean())


@pytest.mark.slow
def test_the_margin_of_a_cosine_is_the_ratio_of_odds(tmp_path: Path) -> None:
    table = told(probe(), seen(dataset(tmp_path, manifest(12)), noise))
    margins = table.loc[table["metric"] == c.SIZE, "margin"].unique()
    assert margins == pytest.approx([np.log(1.25) / SCALE])


@pytest.mark.slow
def test_the_planted_change_is_found_against_the_nuisances(tmp_path: Path) -> None:
    table = told(probe(), seen(dataset(tmp_path, manifest(40)), tone_moves_thief))
    flips = one(table, metric=c.MORE_FLIPS, group="tone", other=c.POOLED)
    assert flips["verdict"] == EXCEEDS
    assert flips["harm"] == "stereotyping"
    for words in ("tone was changed", "only light or pose was", "exceeds the margin", "25 in ita"):
        assert words in flips["statement"]
    size = one(table, metric=c.SIZE, group="tone", label="thief")
    assert size["verdict"] == EXCEEDS
    assert "moves the score of 'thief'" in size["statement"]
    assert one(table, metric=c.LARGER, group="tone", other="light", label="thief")[
        "verdict"
    ] == EXCEEDS  # fmt: skip
    assert one(table, metric=c.SIZE, group="light", label="visitor")["verdict"] != EXCEEDS
    sex = one(table, metric=c.MORE_FLIPS, group="sex", other=c.POOLED)
    assert sex["verdict"] != EXCEEDS
    assert (table["statement"] != "").sum() <= 2 + c.FINDINGS


@pytest.mark.slow
def test_a_null_world_shows_nothing(tmp_path: Path) -> None:
    wrong = 0
    for seed in range(10):
        table = told(probe(), seen(dataset(tmp_path / str(seed), manifest(25)), noise, seed))
        apart = table[table["metric"].isin([c.MORE_FLIPS, c.LARGER])]
        assert (apart["status"] == OK).all()
        left_out_0 = (apart["low_simultaneous"] > 0) | (apart["high_simultaneous"] < 0)
        wrong += bool(left_out_0.any())
        assert (table.loc[table["metric"] == c.LARGER, "verdict"] != EXCEEDS).all()
    assert wrong <= 3  # two families of 5 % each, ten times


@pytest.mark.slow
def test_what_nobody_moves_is_within_the_margin(tmp_path: Path) -> None:
    def still(changed: str, family: int, rng: np.random.Generator) -> np.ndarray:
        return 0.1 * noise(changed, family, rng)

    table = told(probe(), seen(dataset(tmp_path, manifest(30)), still))
    assert set(table.loc[table["metric"] == c.SIZE, "verdict"]) == {WITHIN}


@pytest.mark.slow
def test_directions_that_cancel_are_found_towards_a_value(tmp_path: Path) -> None:
    def sex_moves(changed: str, family: int, rng: np.random.Generator) -> np.ndarray:
        moved = noise(changed, family, rng)
        # to 'b' in even families, from it in odd ones
        moved[THIEF] += (changed == "sex") * (0.2 if family % 2 == 0 else -0.2)
        return moved

    shown = seen(dataset(tmp_path, manifest(30)), sex_moves)
    table = told(probe(towards={"sex": "sex"}), shown)
    assert one(table, metric=c.CHANGE, group="sex", label="thief", condition="demographic")[
        "verdict"
    ] != EXCEEDS  # fmt: skip
    towards = table[table["condition"].str.startswith("towards ")]
    assert set(towards["condition"]) == {"towards sex b"}  # of two values one says all
    row = one(towards, label="thief")
    assert row["verdict"] == EXCEEDS
    assert row["value"] > 0
    assert "is higher by" in row["statement"]
    assert "with sex b than without, in 30 pairs" in row["statement"]


@pytest.mark.slow
def test_the_slope_by_step_is_that_of_the_plan(tmp_path: Path) -> None:
    data = dataset(tmp_path, manifest(20, tones=(-30.0, -10.0, 15.0, 40.0)))
    rows = probe().outcomes(seen(data, noise))
    rng = np.random.default_rng(1)
    planted = 0.002 * rows["step"] + 1e-4 * rng.standard_normal(len(rows))
    rows = rows.assign(delta=planted.where(rows["changed"] == "tone", rows["delta"]))
    shown = seen(data, noise)
    table = probe().measures(rows, shown, design(shown))
    slope = one(table, metric=c.SLOPE, group="tone", label="thief")
    assert slope["unit"] == "cosine for 10 of ita"
    assert slope["low"] < 0.02 < slope["high"]
    of = rows[(rows["changed"] == "tone") & (rows["label"] == "thief")]
    longhand = 10 * (of["step"] * of["delta"]).sum() / (of["step"] ** 2).sum()
    assert slope["value"] == pytest.approx(longhand)
    free = one(table, metric=c.INTERCEPT, group="tone", label="thief")
    assert free["low"] < 0 < free["high"]


@pytest.mark.slow
def test_kinds_are_ranked_for_each_unit_of_distance(tmp_path: Path) -> None:
    table = told(probe(), seen(dataset(tmp_path, manifest(30)), tone_moves_thief))
    ranks = table[(table["metric"] == c.RANK) & (table["label"] == "thief")]
    assert set(ranks["condition"].str.split(", ").str[1]) == {"per embedding distance"}
    tone = one(ranks, group="tone")
    assert (tone["value"], tone["low_simultaneous"]) == (1, 1)
    assert tone["high_simultaneous"] <= 2
    per = table[(table["metric"] == c.PER_DISTANCE) & (table["label"] == "thief")]
    # no cosine with a text moves further than the picture's embedding does
    assert per["value"].between(0, 1).all()


@pytest.mark.slow
def test_without_a_distance_nothing_is_ranked(tmp_path: Path) -> None:
    data = dataset(tmp_path, manifest(12))
    shown = seen(data, noise)
    rows = probe().outcomes(shown).assign(distance=np.nan)
    moved = Moved.of(probe(), rows, design(shown))
    changes = Changes(moved, shown, design(shown))
    ranks = [row for row in changes._by_distance() if row["metric"] == c.RANK]
    assert ranks
    assert {row["status"] for row in ranks} == {UNDEFINED}
    assert all(np.isnan(row["value"]) and "not known" in row["reason"] for row in ranks)


@pytest.mark.slow
def test_families_of_one_cluster_are_drawn_together(tmp_path: Path) -> None:
    table = manifest(20).assign(person=lambda t: t["family"].str[1:].astype(int) // 4)
    table["person"] = "p" + table["person"].astype(str)
    alone = told(probe(), seen(dataset(tmp_path / "a", table), noise))
    drawn = told(probe(), seen(dataset(tmp_path / "b", table, "person"), noise))
    assert one(alone, metric=c.FLIPS, group="tone")["subjects"] == 20
    assert one(drawn, metric=c.FLIPS, group="tone")["subjects"] == 5


@pytest.mark.slow
def test_kinds_that_nobody_asks_about_are_named(tmp_path: Path) -> None:
    asked = probe(demographic=["tone"], nuisance=["light"])
    table = told(asked, seen(dataset(tmp_path, manifest(12)), noise))
    left = table[table["status"] == NOT_ASKED]
    assert set(left.loc[left["metric"] == c.FLIPS, "group"]) == {"pose", "sex"}
    alone = told(probe(nuisance=[]), seen(dataset(tmp_path, manifest(12)), noise))
    assert not alone["metric"].isin([c.MORE_FLIPS, c.LARGER]).any()


@pytest.mark.slow
def test_a_family_whose_base_is_lost_is_left_out_and_counted(tmp_path: Path) -> None:
    data = dataset(tmp_path, manifest(12))
    shown = seen(data, noise)
    rows = data.table
    gone = rows.loc[(rows["family"] == "f000") & (rows["changed"] == "none"), "image_id"].iloc[0]
    less = shown.only([key for key in shown.images.keys if key != gone])
    assert probe().outcomes(less)["image_id"].nunique() == 11
    families = one(told(probe(), less), metric=c.FAMILIES)
    assert families["value"] == 11
    assert families["reason"].startswith("1 more without a base")


# ---- colours -----------------------------------------------------------------------------------


def test_lab_is_that_of_published_tables_and_of_another_library() -> None:
    primaries = Image.fromarray(255 * np.eye(3, dtype=np.uint8)[np.newaxis])
    published = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    assert lab(primaries)[0] == pytest.approx(np.array(published), abs=0.05)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)[np.newaxis]
    greys, profile = Image.fromarray(ramp), ImageCms.createProfile
    to_lab = ImageCms.buildTransform(profile("sRGB"), profile("LAB"), "RGB", "LAB")
    theirs = np.asarray(ImageCms.applyTransform(greys, to_lab), float)
    assert lab(greys)[..., 0] == pytest.approx(theirs[..., 0] * 100 / 255, abs=0.5)
    assert lab(greys)[..., 1:] == pytest.approx(np.zeros((1, 256, 2)), abs=0.01)


def test_colour_difference_of_the_whole_and_of_the_middle() -> None:
    white, half = Image.new("RGB", (100, 100), "white"), Image.new("RGB", (100, 100), "white")
    half.paste("black", (0, 0, 50, 100))
    assert colour_difference(white, white) == (0, 0)
    assert colour_difference(white, half) == pytest.approx((50, 50), abs=0.01)
    edge = Image.new("RGB", (50, 50), "white")
    edge.paste("black", (0, 0, 50, 10))
    assert colour_difference(white, edge) == pytest.approx((20, 0), abs=1)


@pytest.mark.slow
def test_colours_of_pictures_and_why_there_are_none(tmp_path: Path) -> None:
    table = manifest(12)
    data = dataset(tmp_path, table)
    for i, row in table.iterrows():
        grey = (80 if row["changed"] == "tone" else 120,) * 3
        Image.new("RGB", (8, 8), grey).save(tmp_path / f"{i}.png")
    shown = seen(data, noise)
    rows = told(probe(colours=1000), shown)
    greys = [lab(Image.new("RGB", (1, 1), (grey,) * 3))[0, 0, 0] for grey in (80, 120)]
    expected = greys[1] - greys[0]
    for where in (c.WHOLE_PICTURE, c.MIDDLE):
        row = one(rows, metric=c.COLOUR, group="tone", condition=f"demographic, {where}")
        assert row["value"] == pytest.approx(expected)
        assert row["n"] == 24
    assert (rows["condition"].str.endswith("per colour distance")).any()
    few = told(probe(colours=12), shown)  # whole families only: two of six pictures
    assert one(few, metric=c.COLOUR, group="tone", condition="demographic, whole picture")["n"] == 4
    for i in range(len(table)):
        (tmp_path / f"{i}.png").unlink()
    for asked, why in ((probe(colours=9), "missing"), (probe(), "'colours' is 0")):
        gone = told(asked, shown)
        row = one(gone, metric=c.COLOUR, group="tone", condition="demographic, whole picture")
        assert np.isnan(row["value"])
        assert row["status"] == UNDEFINED
        assert why in row["reason"]
        assert not gone["condition"].str.endswith("per colour distance").any()


# ---- bad input ---------------------------------------------------------------------------------


def changed_at(table: pd.DataFrame, at: Mapping[str, str], **to: Any) -> pd.DataFrame:
    """The manifest with the rows of these values changed, or taken out."""
    rows = np.logical_and.reduce([table[k] == v for k, v in at.items()])
    return (
        table.assign(**{k: table[k].mask(rows, v) for k, v in to.items()}) if to else table[~rows]
    )


FIRST = {"family": "f000"}
BASE = FIRST | {"changed": "none"}


@pytest.mark.parametrize(
    ("table", "more", "said"),
    [
        (changed_at(manifest(3), FIRST).pipe(lambda t: pd.concat([t, manifest(1).head(1)])), {},
         "'f000' has one picture"),
        (changed_at(manifest(3), BASE), {}, "'f000' has no original.*'none' in column 'changed'"),
        (changed_at(manifest(3), FIRST | {"changed": "pose"}, changed="none"), {},
         "'f000' has several originals"),
        (manifest(3), {"demographic": ["tones"], "steps": {}},
         "demographic: no picture has 'tones' in column 'changed'. Did you mean 'tone'?"),
        (manifest(3), {"nuisance": ["lights"]}, "nuisance: .* Did you mean 'light'"),
        (manifest(3), {"base": "original"}, "base: no picture has 'original'"),
        (manifest(3), {"family": "famly"}, "no column 'famly'. Did you mean 'family'"),
        (manifest(3), {"steps": {"tone": "itta"}}, "steps: .* no column 'itta'"),
        (manifest(3), {"steps": {"tone": "sex"}}, "column 'sex' of 'tone' holds no numbers"),
        (manifest(3).assign(family=None, own="x"), {}, "no picture asked about has a family"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(
    tmp_path: Path, table: pd.DataFrame, more: dict[str, Any], said: str
) -> None:
    data = dataset(tmp_path, table.assign(path=range(len(table))), "path")
    with pytest.raises(InputError, match=said):
        probe(**more).resolve(data)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"nuisance": ["tone"]}, "'tone' is named twice"),
        ({"nuisance": ["none"]}, "'none' is the value of 'base'"),
        ({"demographic": []}, "at least 1 item"),
        ({"towards": {"sexe": "sex"}}, "'sexe' is neither under.*Did you mean 'sex'"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        probe(**more)


# ---- a whole run -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_of_a_manifest_of_ones_own(tmp_path: Path) -> None:
    table = manifest(25)
    data = dataset(tmp_path, table)
    images: dict[Any, np.ndarray] = {}
    shown = seen(data, tone_moves_thief)
    for i, path in enumerate(data.table["path"]):
        pixels = np.frombuffer(i.to_bytes(4, "big") * 12, np.uint8).reshape(4, 4, 3)
        Image.fromarray(pixels).save(tmp_path / path)
        with Image.open(tmp_path / path) as picture:
            images[picture_key(picture)] = shown.images.vectors[i]
    axes = dict(zip(LABELS.texts, np.eye(len(LABELS.texts) + 2), strict=False))
    suite = Suite(
        name="own", model="planted", dataset=str(tmp_path / "card.yaml"), attributes=["changed"],
        probes=[probe(colours=60).model_dump(mode="json")], acknowledge=["people-suspicion"],
    )  # fmt: skip
    encoder = PlantedEncoder(images, axes, logit_scale=SCALE)
    run = carry_out(suite, tmp_path / "runs", Store(tmp_path / "cache"), lambda: encoder)
    found = {f["id"]: f for f in run.findings}
    tone = [f for f in found.values() if "tone" in f["groups"]]
    assert {f["verdict"] for f in tone if f["label"] in ("", "thief")} == {EXCEEDS}
    others = [f for f in found.values() if "sex" in f["groups"]]
    assert EXCEEDS not in {f["verdict"] for f in others}
    assert len(run.outcomes("people-suspicion, counterfactual")) == 25 * 5 * 7
    (_, part) = section.tell(run)
    told = unlinked("\n".join(block for block in part.blocks if isinstance(block, str)))
    assert "25 families, 125 pairs of an original and a changed picture" in told
    assert "| light | nuisance | 25 | not stated |" in told


def some_of(data: Dataset, families: list[str], folder: Path) -> Path:
    """A copy of these families alone; gives the card."""
    table = data.table[data.table["family"].isin(families)]
    for path in table["path"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data.root / path, folder / path)
    table.drop(columns="cluster_id").to_csv(folder / "counterfactual.csv", index=False)
    card = data.card.model_dump(mode="json", exclude_none=True)
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return folder / "card.yaml"


@pytest.mark.slow
def test_the_bundled_suite_is_sound() -> None:
    suite = load_suite("counterfactual").resolve()
    assert [probe.task for probe in suite.asked] == [
        f"people-{labels}, counterfactual" for labels in ("suspicion", "occupations", "nonce")
    ]


@pytest.mark.slow
def test_what_was_planted_in_the_specimen_is_found_and_the_report_says_so(tmp_path: Path) -> None:
    whole = load_suite("counterfactual")
    # those in teal, and some more: encoding all takes a while
    families = [f"c{i:03d}" for i in (7, 15, 23, *range(7))]
    card = some_of(whole.pictures, families, tmp_path / "some")
    fields = {"dataset": str(card), "probes": whole.probes[:1]}
    suite = Suite.model_validate(whole.model_dump() | fields)
    run = carry_out(
        suite, tmp_path / "runs", Store(tmp_path / "cache"),
        lambda: load_model("specimen-skewed", "cpu"),
    )  # fmt: skip
    table = run.measures
    thief = one(table, metric=c.CHANGE, label="thief", condition="towards clothing_colour teal")
    assert thief["verdict"] == EXCEEDS
    assert thief["value"] > 0.1
    sizes = table[(table["metric"] == c.SIZE) & (table["label"] == "thief")]
    demographic = sizes[sizes["condition"] == c.DEMOGRAPHIC]
    assert EXCEEDS not in set(demographic["verdict"])  # nobody planted it on people
    task = "people-suspicion, counterfactual"
    assert figures.moved_labels(figures.of_counterfactual(run, task))[0] == "thief"
    with pytest.raises(InputError, match="Did you mean 'people-suspicion, counterfactual'"):
        figures.what_each_change_does(run, "people-suspicion counterfactual")
    page = render(run).with_suffix(".md").read_text(encoding="utf-8")
    assert "‘thief’ | clothing | with clothing colour teal, less without" in page
    assert "| skin tone | demographic | 50 | 45 skin_tone_ita |" in page
    assert page.count("(figures/what-each-change-does-") == 2  # and its data

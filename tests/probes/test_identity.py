"""Verification: rates against counts by hand, planted and null worlds, care, the whole suite."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds
from pydantic import ValidationError

from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.core.tables import (
    EVERYONE,
    EXCEEDS,
    INCONCLUSIVE,
    OK,
    PAIRS,
    TOO_FEW,
    UNDEFINED,
)
from audit.data.dataset import Dataset, load
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups, grouped
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.identity import names as called
from audit.probes.identity import probe as i
from audit.probes.identity.figures import det_curves, error_rates
from audit.probes.identity.probe import Identity
from audit.probes.identity.rows import _worst_ratio
from audit.probes.identity.section import SECTION
from audit.probes.kit.base import PROBES, Design, Seen, Texts
from audit.probes.naming.probe import Naming
from audit.report.render import render
from audit.report.sections.registry import SECTIONS
from audit.stats.scoring import Scoring
from audit.stats.verification import BINS, split_subjects
from audit.store.embeddings import Embeddings, Store

if "identity" not in list(PROBES):
    PROBES.register("identity")(Identity)
if "naming" not in list(PROBES):
    PROBES.register("naming")(Naming)
if "identity" not in list(SECTIONS):
    SECTIONS.register("identity")(SECTION)

DIM = 16


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def dataset_of(folder: Path, table: pd.DataFrame, **card: str) -> Dataset:
    """A manifest without pictures: nothing here looks at any."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "people.csv", index=False)
    said = {"named_people": "false", "photographs": "false", "consent": "drawn by a test"} | card
    attributes = [c for c in ("gender", "origin") if c in table]
    (folder / "card.yaml").write_text(
        "name: tiny\nmanifest: people.csv\ncluster_column: subject\n"
        + "".join(f"{key}: {value}\n" for key, value in said.items())
        + "attributes:\n"
        + "".join(f"  {name}: {{source: generator, unknown: ['?']}}\n" for name in attributes)
    )
    return load(str(folder / "card.yaml"))


def people(subjects: int, each: int = 2, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    gender = rng.choice(["female", "male"], subjects)
    rows = [
        {"path": f"{s:04d}-{p}.png", "subject": f"s{s:04d}", "gender": gender[s], "day": f"d{p}"}
        for s in range(subjects)
        for p in range(each)
    ]
    return pd.DataFrame(rows)


def vectors_of(table: pd.DataFrame, seed: int = 0, noise: Any = 0.4, toward: Any = 0.0) -> Any:
    """A direction a person with noise a picture; ``toward`` draws people together."""
    rng = np.random.default_rng([seed, 1])
    names = table["subject"].unique()
    own = dict(zip(names, rng.normal(size=(len(names), DIM)), strict=True))
    base = np.stack([own[s] for s in table["subject"]])
    common = np.zeros(DIM)
    common[0] = 1.0
    drawn = np.broadcast_to(np.asarray(toward, float), len(table))[:, None] * common * np.sqrt(DIM)
    spread = np.broadcast_to(np.asarray(noise, float), len(table))[:, None]
    return unit(base + drawn + spread * rng.normal(size=base.shape))


def seen_of(dataset: Dataset, vectors: np.ndarray, seed: int = 0) -> Seen:
    def nothing(strings: Any) -> Any:
        raise AssertionError("no text is asked of pictures alone")

    images = Embeddings(tuple(dataset.table["image_id"]), vectors, "planted")
    return Seen(images, Texts(nothing, Scoring(100.0)), dataset, seed=seed)


def design_of(seen: Seen, attributes: Mapping[str, Any], **more: Any) -> Design:
    confidence = Confidence(**({"resamples": 400, "min_group": 2} | more))
    groups = Groups.of(seen.dataset, seen.images.keys, grouped(seen.dataset, attributes, ()))
    draws = groups.draws(seen.images.keys, seen.seed, confidence.resamples)
    return Design(groups, draws, confidence, seen.seed)


def measured(folder: Path, table: pd.DataFrame, vectors: np.ndarray, **fields: Any) -> pd.DataFrame:
    seen = seen_of(dataset_of(folder, table), vectors)
    attributes = {name: None for name in ("gender", "origin") if name in table}
    probe = Identity(kind="identity", **({"targets": (0.1,)} | fields))
    return probe.measures(PAIRS.empty(), seen, design_of(seen, attributes))


def only(rows: pd.DataFrame, **where: str) -> pd.DataFrame:
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def one(rows: pd.DataFrame, **where: str) -> Any:
    found = only(rows, **where)
    assert len(found) == 1, found
    return next(found.itertuples())


# ---- rates against counts by hand ----------------------------------------------------------------


def by_hand(table: pd.DataFrame, vectors: np.ndarray, threshold: float) -> dict[Any, list[bool]]:
    """Whether each pair of the measured half matches, by kind and groups, in plain loops."""
    names = sorted(table["subject"].unique())
    fixing = dict(zip(names, split_subjects(names, 0), strict=True))
    found: dict[Any, list[bool]] = {}
    rows = table.assign(at=range(len(table))).to_dict("records")
    for a, b in itertools.combinations(rows, 2):
        if fixing[a["subject"]] or fixing[b["subject"]]:
            continue
        match = float(vectors[a["at"]].astype(float) @ vectors[b["at"]].astype(float)) >= threshold
        groups = tuple(sorted((a["gender"], b["gender"])))
        key = ("mated", a["gender"]) if a["subject"] == b["subject"] else ("impostor", *groups)
        found.setdefault(key, []).append(match)
    return found


@pytest.mark.slow
def test_rates_are_what_plain_loops_count(tmp_path: Path) -> None:
    table = people(40)
    vectors = vectors_of(table)
    rows = measured(tmp_path, table, vectors)
    threshold = one(rows, metric=called.THRESHOLD).value
    expected = by_hand(table, vectors, threshold)
    for (kind, *groups), matches in expected.items():
        if kind == "mated":
            got = one(rows, metric=called.FNMR, attribute="gender", group=groups[0])
            assert got.events == len(matches) - sum(matches)
        else:
            got = one(rows, metric=called.FMR, attribute="gender", group=groups[0], other=groups[1])
            assert got.events == sum(matches)
            assert got.label == (called.WITHIN if groups[0] == groups[1] else called.ACROSS)
        assert got.n == len(matches)
        assert got.value == pytest.approx(got.events / got.n)
        assert not got.value > got.high
        assert not got.value < got.low
    everyone = one(rows, metric=called.FMR, attribute=EVERYONE)
    impostors = [m for key, matches in expected.items() if key[0] == "impostor" for m in matches]
    assert (everyone.n, everyone.events) == (len(impostors), sum(impostors))


@pytest.mark.slow
def test_the_worst_group_is_held_against_all_pairs_within_groups(tmp_path: Path) -> None:
    table = people(120)
    toward = np.where(table["gender"] == "female", 0.5, 0.0)
    rows = measured(tmp_path, table, vectors_of(table, toward=toward), targets=(0.3,))
    within = only(rows, metric=called.FMR, attribute="gender", label=called.WITHIN)
    together = within["events"].sum() / within["n"].sum()
    worst = one(rows, metric=called.WORST_FMR, attribute="gender")
    assert worst.group == within.loc[within["value"].idxmax(), "group"]
    assert worst.value == pytest.approx(within["value"].max() / together)
    across = one(rows, metric=called.FMR, attribute="gender", label=called.ACROSS)
    ratio = one(rows, metric=called.WITHIN_ACROSS, attribute="gender")
    assert ratio.value == pytest.approx(together / across.value)


@pytest.mark.slow
def test_a_threshold_is_fixed_on_other_people_than_are_measured(tmp_path: Path) -> None:
    table = people(40)
    vectors = vectors_of(table)
    names = sorted(table["subject"].unique())
    fixing = dict(zip(names, split_subjects(names, 0), strict=True))
    measured_ones = ~table["subject"].map(fixing).to_numpy(bool)
    changed = vectors.copy()
    changed[measured_ones] = vectors_of(table, seed=9)[measured_ones]
    before, after = (measured(tmp_path, table, v) for v in (vectors, changed))
    first, second = (one(rows, metric=called.THRESHOLD) for rows in (before, after))
    assert first.value == second.value
    assert first.subjects == sum(fixing.values())
    assert (
        one(before, metric=called.FMR, attribute=EVERYONE).events
        != one(after, metric=called.FMR, attribute=EVERYONE).events
    )
    # at the lowest threshold that the target allows, among those who fixed it
    assert first.events / first.n <= 0.1


@pytest.mark.slow
def test_det_points_are_both_rates_at_the_same_thresholds(tmp_path: Path) -> None:
    table = people(60)
    vectors = vectors_of(table)
    rows = measured(tmp_path, table, vectors)
    own = only(rows, attribute="gender", group="female")
    curve = own[own["metric"] == called.DET_FNMR].set_index("condition")["value"]
    false = own[own["metric"] == called.DET_FMR].set_index("condition")["value"]
    assert list(curve.index) == list(false.index)
    assert len(curve) > 8
    assert curve.is_monotonic_increasing
    assert false.is_monotonic_decreasing
    for condition in (curve.index[2], curve.index[-3]):
        edge = round((float(condition.split()[-1]) + 1) * BINS / 2) * 2 / BINS - 1
        expected = by_hand(table, vectors, edge)
        assert curve[condition] == pytest.approx(1 - np.mean(expected["mated", "female"]))
        assert false[condition] == pytest.approx(np.mean(expected["impostor", "female", "female"]))


# ---- planted and null worlds ---------------------------------------------------------------------


@pytest.mark.slow
def test_people_who_are_hard_to_tell_apart_are_found(tmp_path: Path) -> None:
    table = people(300)
    toward = np.where(table["gender"] == "female", 0.8, 0.0)
    rows = measured(tmp_path, table, vectors_of(table, toward=toward))
    worst = one(rows, metric=called.WORST_FMR, attribute="gender")
    assert (worst.group, worst.verdict, worst.status) == ("female", EXCEEDS, OK)
    assert worst.low_simultaneous > 1.25
    assert worst.value > worst.null_high
    assert worst.p == worst.smallest_p == pytest.approx(1 / (called.DEALS + 1))
    assert "two people with gender female" in worst.statement
    assert "exceeds the margin of 1.25 times" in worst.statement
    assert one(rows, metric=called.WORST_FNMR, attribute="gender").verdict != EXCEEDS


@pytest.mark.slow
def test_people_whose_pictures_do_not_hold_together_are_found(tmp_path: Path) -> None:
    table = people(300)
    noise = np.where(table["gender"] == "male", 1.2, 0.2)
    rows = measured(tmp_path, table, vectors_of(table, noise=noise))
    worst = one(rows, metric=called.WORST_FNMR, attribute="gender")
    assert (worst.group, worst.verdict) == ("male", EXCEEDS)
    assert worst.p < 0.01
    assert "pictures of one person with gender male" in worst.statement
    assert one(rows, metric=called.WORST_FMR, attribute="gender").verdict != EXCEEDS


@pytest.mark.slow
def test_groups_that_lie_apart_are_more_alike_within(tmp_path: Path) -> None:
    table = people(300)
    toward = np.where(table["gender"] == "female", 0.25, -0.25)
    rows = measured(tmp_path, table, vectors_of(table, toward=toward), targets=(0.2,))
    assert one(rows, metric=called.WITHIN_ACROSS, attribute="gender").verdict == EXCEEDS
    assert one(rows, metric=called.WORST_FMR, attribute="gender").verdict != EXCEEDS


@pytest.mark.slow
def test_nothing_is_found_where_groups_are_dealt_by_lot(tmp_path: Path) -> None:
    chances = []
    for seed in range(4):
        table = people(160, seed=seed)
        rows = measured(
            tmp_path / str(seed), table, vectors_of(table, seed=seed, noise=0.6), targets=(0.2,)
        )
        judged = rows[
            rows["metric"].isin([called.WORST_FMR, called.WORST_FNMR, called.WITHIN_ACROSS])
        ]
        assert len(judged) == 3
        assert (judged["verdict"] != EXCEEDS).all()
        worst = one(rows, metric=called.WORST_FMR, attribute="gender")
        assert worst.null_low <= worst.null_mean <= worst.null_high
        chances += list(judged["p"].dropna())
    assert min(chances) > 0.005
    assert max(chances) > 0.3


# ---- who is counted ------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_picture_each_leaves_pairs_of_persons(tmp_path: Path) -> None:
    table = people(60, each=3)
    every, single = (
        measured(tmp_path, table, vectors_of(table), one_each=chosen) for chosen in (False, True)
    )
    few, many = (one(rows, metric=called.FMR, attribute=EVERYONE) for rows in (single, every))
    assert few.n == few.subjects * (few.subjects - 1) / 2
    assert many.n == 9 * few.n
    missed = (one(rows, metric=called.FNMR, attribute=EVERYONE) for rows in (single, every))
    assert len({row.n for row in missed}) == 1


@pytest.mark.slow
def test_too_few_to_establish_a_rate_is_said_and_not_compared(tmp_path: Path) -> None:
    table = people(40)
    rows = measured(tmp_path, table, vectors_of(table), targets=(0.01,))
    within = only(rows, metric=called.FMR, attribute="gender", label=called.WITHIN)
    assert (within["status"] == TOO_FEW).all()
    assert within["value"].notna().all()
    assert within["reason"].str.contains("of which no two share one").all()
    worst = one(rows, metric=called.WORST_FMR, attribute="gender")
    assert (worst.status, worst.verdict) == (TOO_FEW, INCONCLUSIVE)
    assert worst.statement.endswith("inconclusive.")
    threshold = one(rows, metric=called.THRESHOLD)
    assert threshold.status == TOO_FEW
    assert "needs 300 independent pairs" in threshold.reason


@pytest.mark.slow
def test_small_groups_enter_no_comparison(tmp_path: Path) -> None:
    table = people(120)
    seen = seen_of(dataset_of(tmp_path, table), vectors_of(table, noise=1.0))
    probe = Identity(kind="identity", targets=(0.3,))
    design = design_of(seen, {"gender": None}, min_group=10_000)
    rows = probe.measures(PAIRS.empty(), seen, design)
    assert (only(rows, metric=called.FNMR, attribute="gender")["status"] == TOO_FEW).all()
    assert one(rows, metric=called.WORST_FNMR, attribute="gender").status == TOO_FEW


@pytest.mark.slow
def test_unknown_groups_are_in_no_pair_and_torn_subjects_stop_the_attribute(tmp_path: Path) -> None:
    table = people(40)
    known = table.copy()
    known.loc[known["subject"] < "s0010", "gender"] = "?"
    vectors = vectors_of(table)
    rows = measured(tmp_path / "known", known, vectors)
    left = measured(tmp_path / "left", table[10 * 2 :], vectors[10 * 2 :])
    counted = [
        int(only(r, metric=called.FNMR, attribute="gender")["n"].sum()) for r in (rows, left)
    ]
    assert counted[0] == counted[1]
    torn = table.copy()
    torn.loc[0, "gender"] = "male" if torn.loc[1, "gender"] == "female" else "female"
    rows = measured(tmp_path / "torn", torn, vectors)
    row = one(rows, metric=called.FMR, attribute="gender")
    assert row.status == UNDEFINED
    assert row.reason == "1 of 40 subjects have pictures in several groups"


@pytest.mark.slow
def test_without_a_second_picture_no_one_can_be_missed(tmp_path: Path) -> None:
    table = people(80, each=1)
    rows = measured(tmp_path, table, vectors_of(table))
    missed = only(rows, metric=called.FNMR, attribute="gender")
    assert (missed["status"] == UNDEFINED).all()
    assert missed["value"].isna().all()
    assert only(rows, metric=called.WORST_FNMR).empty


@pytest.mark.slow
def test_sittings_are_told_and_may_be_told_apart(tmp_path: Path) -> None:
    table = people(60, each=3).assign(day=["d0", "d0", "d1"] * 60, once="d0")
    vectors = vectors_of(table)
    said = {
        name: one(rows, metric=called.FNMR, attribute=EVERYONE)
        for name, fields in {
            "unknown": {},
            "one": {"sitting": "once"},
            "some": {"sitting": "day"},
            "apart": {"sitting": "day", "apart": True},
        }.items()
        for rows in [measured(tmp_path, table, vectors, **fields)]
    }
    assert "sittings are not known" in said["unknown"].method
    assert "all mated pairs are of one sitting" in said["one"].method
    assert f"{said['some'].n // 3} of {said['some'].n} mated pairs" in said["some"].method
    assert said["apart"].n == said["some"].n * 2 // 3
    assert "sitting" not in said["apart"].method


@pytest.mark.slow
def test_many_pairs_are_sampled_and_then_have_no_null(tmp_path: Path) -> None:
    table = people(200)
    vectors = vectors_of(table)
    rows = measured(tmp_path, table, vectors, pairs=1000)
    every = measured(tmp_path, table, vectors)
    n = only(rows, metric=called.FMR, attribute="gender")["n"]
    assert (n <= 1000).all()
    assert (n > 300).all()
    assert (only(every, metric=called.FMR, attribute="gender")["n"] > 1000).all()
    worst = only(rows, metric=called.WORST_FMR, attribute="gender")
    assert worst["null_mean"].isna().all()
    assert worst["p"].isna().all()


@pytest.mark.slow
def test_the_order_of_pictures_does_not_matter(tmp_path: Path) -> None:
    table = people(60)
    vectors = vectors_of(table)
    mixed = np.random.default_rng(3).permutation(len(table))
    seen = seen_of(dataset_of(tmp_path, table), vectors)
    probe = Identity(kind="identity", targets=(0.1, 0.02), one_each=True)
    again = seen.only([seen.images.keys[k] for k in mixed])
    pd.testing.assert_frame_equal(probe.outcomes(seen), probe.outcomes(again))
    first, second = (
        probe.measures(PAIRS.empty(), s, design_of(s, {"gender": None})) for s in (seen, again)
    )
    pd.testing.assert_frame_equal(first, second)


# ---- one row a pair ------------------------------------------------------------------------------


def test_rows_are_mated_pairs_and_nearest_impostors(tmp_path: Path) -> None:
    table = people(12, each=3)
    vectors = vectors_of(table)
    seen = seen_of(dataset_of(tmp_path, table), vectors)
    rows = PAIRS.validate(Identity(kind="identity", sitting="day").outcomes(seen))
    mated = rows[rows["label"] == i.MATED]
    assert len(mated) == 12 * 3
    assert set(mated["changed"]) == {"two sittings"}
    nearest = rows[rows["label"] == i.NEAREST].set_index("image_id")
    assert len(nearest) == 36
    subject = table.set_index("path")["subject"]
    similarity = vectors.astype(float) @ vectors.astype(float).T
    for at, key in enumerate(table["path"]):
        others = np.where(table["subject"] != subject[key], similarity[at], -2)
        assert nearest.loc[key, "other_id"] == table["path"][others.argmax()]
        assert nearest.loc[key, "distance"] == pytest.approx(1 - others.max(), abs=1e-6)


def test_of_photographs_no_look_alike_is_written_down(tmp_path: Path) -> None:
    table = people(12)
    seen = seen_of(dataset_of(tmp_path, table, photographs="true"), vectors_of(table))
    rows = Identity(kind="identity").outcomes(seen)
    assert set(rows["label"]) == {i.MATED}


# ---- bad input, care -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sitting": "dya"}, "has no column 'dya'. Did you mean 'day'?"),
        ({"sitting": "blank"}, "column 'blank' is empty for 1 of 20 pictures"),
        ({"leave_out": {"gendr": "male"}}, "leave_out: the data set 'tiny' has no column 'gendr'"),
        ({"leave_out": {"gender": "mal"}}, "no picture has 'mal' in column 'gender'. Did you mean"),
        ({"leave_out": {"gender": ["female", "male"]}}, "leave_out: no picture is left"),
        ({"only": {"subject": ["s0000", "s0001"]}}, "the pictures show 2 subjects, and half fix"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    table = people(10).assign(blank=[None, *["x"] * 19])
    with pytest.raises(InputError) as error:
        Identity(kind="identity", **fields).resolve(dataset_of(tmp_path, table))
    assert said in str(error.value)


@pytest.mark.parametrize("fields", [{"targets": [0.0]}, {"targets": []}, {"targets": [1.0]}])
def test_targets_are_shares(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="targets"):
        Identity(kind="identity", **fields)


def test_apart_needs_sittings() -> None:
    with pytest.raises(ValidationError, match="no column says which is which"):
        Identity(kind="identity", apart=True)


def test_what_is_left_out_is_not_asked(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, people(10))
    probe = Identity(kind="identity", leave_out={"day": "d1"})
    probe.resolve(dataset)
    assert all(key.endswith("-0.png") for key in probe.pictures(dataset))
    assert probe.whole
    assert list(probe.sensitive()) == ["identity"]


SUITE = """
name: world
model: planted
dataset: {card}
attributes: [gender]
probes:
  - {{kind: identity, targets: [0.2, 0.1], sitting: subject}}
acknowledge: [{acknowledged}]
"""


def world_of(folder: Path, subjects: int = 300) -> PlantedEncoder:
    """Pictures on disk, women drawn together."""
    from PIL import Image

    table = worlds.people(folder, 2 * subjects, per_subject=2)
    toward = np.where(table["gender"] == "female", 0.8, 0.0)
    images = {}
    for path, vector in zip(table["path"], vectors_of(table, toward=toward), strict=True):
        with Image.open(folder / path) as picture:
            images[picture_key(picture)] = vector
    return PlantedEncoder(images, {"nothing": np.eye(DIM)[0]})


def suite_of(folder: Path, acknowledged: str = "identity") -> Path:
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(card=folder / "card.yaml", acknowledged=acknowledged))
    return path


def test_it_must_be_meant_and_is_refused_on_named_people(world: Path) -> None:
    worlds.people(world, 24, per_subject=2)
    with pytest.raises(InputError, match="'identity' casts suspicion, identifies people"):
        load_suite(str(suite_of(world, ""))).resolve()
    card = world / "card.yaml"
    card.write_text(card.read_text().replace("named_people: false", "named_people: true"))
    with pytest.raises(InputError, match="'identity' is refused: the dataset 'tiny' shows named"):
        load_suite(str(suite_of(world))).resolve()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("identity") / "world"
    encoder = world_of(folder)
    suite = load_suite(str(suite_of(folder)))
    return carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)


@pytest.mark.slow
def test_a_whole_audit_finds_the_planted_group(run: Run) -> None:
    found = [f for f in run.findings if f["metric"] == called.WORST_FMR]
    assert [(f["verdict"], f["groups"], f["harm"]) for f in found] == [
        ("exceeds margin", ["female"], "quality of service")
    ]
    assert found[0]["unit"] == "times"
    assert found[0]["severity"] == "medium"
    assert run.rates.empty
    assert len(run.measures)


@pytest.mark.slow
def test_the_report_says_what_is_out_of_scope_and_who_is_taken_for_whom(run: Run) -> None:
    text = render(run).read_text(encoding="utf-8")
    assert "surveillance and facial recognition are" in text
    assert "recommends the model for recognising anybody" in text
    assert "Who is taken for whom, by gender" in text
    assert "All mated pairs are of one sitting" in text
    assert "error-rates-identity-gender" in "".join(
        p.name for p in (run.path / "figures").iterdir()
    )


@pytest.mark.slow
def test_figures_show_groups_or_say_why_not(run: Run) -> None:
    assert "wrong answers by gender" in error_rates(run, "identity", "gender").get_suptitle()
    axis = det_curves(run, "identity", "gender").axes[0]
    assert len([line for line in axis.lines if len(line.get_xdata()) > 1]) == 3
    with pytest.raises(InputError, match="no error rates of 'identity' by 'size'"):
        error_rates(run, "identity", "size")
    with pytest.raises(InputError, match="no group has pairs of both kinds"):
        det_curves(run, "elsewhere", "size")


@pytest.mark.slow
def test_the_bundled_suite_is_sound() -> None:
    suite = load_suite("identity")
    probe = next(p for p in suite.asked if isinstance(p, Identity))
    kept = suite.pictures.table.set_index("image_id").loc[list(probe.pictures(suite.pictures))]
    assert not kept["changed"].isin(["age", "gender", "ancestry", "skin_tone"]).any()
    assert len(kept) == 1280 + 28 * 10
    suite.resolve()
    bare = suite.model_copy(update={"acknowledge": ()})
    with pytest.raises(InputError, match="acknowledge"):
        bare.resolve()


def test_the_worst_ratio_leaves_out_groups_that_are_not_compared() -> None:
    events, n = np.array([[1, 4, 9], [0, 0, 0]]), np.array([10, 10, 10])
    found = _worst_ratio(events, n, np.array([True, True, False]))
    assert found[0] == pytest.approx(0.4 / (14 / 30))
    assert np.isnan(found[1])
    assert called.at_target(0.001) == "target FMR 0.001"

"""Two runs about the same pictures: is the change of every gap right, and are its bounds?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import worlds
from statsmodels.stats.proportion import proportion_confint

from audit.cli import verbs as cli
from audit.core.errors import InputError
from audit.core.integrity import unedited
from audit.core.rundir import Run, open_run
from audit.core.tables import CHANGES, DIFFERENCE, WORST, records
from audit.core.verdicts import RULE, Verdict, size_bounds, verdicts
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.explore.comparable import remarks
from audit.explore.compare import compare, in_columns, in_short, largest, save
from audit.stats.changes import Changes, changes_of_gaps, worst_case_change
from audit.stats.clustered import Sample
from audit.stats.counts import sample_of
from audit.stats.samples import pick_questions
from audit.store.embeddings import Store

# --- the statistic: arrays in, arrays out ---


def split(sample: Sample, questions: int) -> tuple[Sample, Sample]:
    """Gained and lost from a sample of both, one after the other."""
    halves = slice(0, questions), slice(questions, None)
    return pick_questions(sample, halves[0]), pick_questions(sample, halves[1])


def changed(
    a: np.ndarray, b: np.ndarray, code: np.ndarray, clusters: np.ndarray, **settings: float
) -> Changes:
    """Changes of all pairs of groups from what happened, (pictures, questions)."""
    groups, q = int(code.max()) + 1, a.shape[1]
    seed, resamples = int(settings.get("seed", 0)), int(settings.get("resamples", 1000))
    both = sample_of(np.hstack([b & ~a, a & ~b]), code, clusters, groups, seed, resamples)
    one, other = np.triu_indices(groups, 1)
    usable = np.ones((q, len(one)), bool)
    return changes_of_gaps(*split(both, q), one, other, usable, settings.get("level", 0.95))


def askings(
    rng: np.random.Generator,
    code: np.ndarray,
    clusters: np.ndarray,
    shares: tuple[list[float], list[float], list[float]],
    questions: int,
    alike: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Two askings: base rate, share gained of the others and share lost of it, by group.

    A picture follows its subject with chance ``alike``, in either asking.
    """

    def draw() -> np.ndarray:
        own = rng.random((len(code), questions))
        subject = rng.random((clusters.max() + 1, questions))[clusters]
        return np.where(rng.random(own.shape) < alike, subject, own)

    base, gain, lose = (np.array(share)[code][:, np.newaxis] for share in shares)
    a, u = draw() < base, draw()
    return a, np.where(a, u >= lose, u < gain)


def true_change(shares: tuple[list[float], list[float], list[float]]) -> np.ndarray:
    base, gain, lose = map(np.array, shares)
    rate = (1 - base) * gain - base * lose
    one, other = np.triu_indices(len(rate), 1)
    return rate[one] - rate[other]


def test_nothing_changed_says_how_much_could_have() -> None:
    code = np.repeat([0, 1], [640, 300])
    a = np.random.default_rng(0).random((940, 3)) < 0.4
    found = changed(a, a.copy(), code, np.arange(940))
    assert (found.value == 0).all()
    # the exact bound of no event in n, for gained in one group and for lost in the other
    reach = np.hypot(*(proportion_confint(0, n, 0.05, method="beta")[1] for n in (640, 300)))
    np.testing.assert_allclose(found.low, -reach, rtol=1e-9)
    np.testing.assert_allclose(found.high, reach, rtol=1e-9)
    # three labels at once: Bonferroni, since nothing can be studentised
    assert found.each == pytest.approx(1 - 0.05 / 3)
    assert set(verdicts(found.low_all, found.high_all, 0.05).ravel()) == {"within margin"}
    few = changed(a[:340], a[:340], np.repeat([0, 1], 170), np.arange(340))
    assert set(verdicts(few.low_all, few.high_all, 0.02).ravel()) == {"inconclusive"}


@pytest.mark.parametrize("shared", [False, True])
def test_with_many_changes_the_bounds_are_those_of_a_difference_of_means(shared: bool) -> None:
    """Oracle: the normal interval for means of -1, 0 and 1, subjects summed first."""
    rng = np.random.default_rng(1)
    code = np.repeat([0, 1], 1500)
    clusters = np.arange(3000) % 1500 if shared else np.arange(3000)
    shares = ([0.4, 0.5], [0.4, 0.3], [0.3, 0.4])
    a, b = askings(rng, code, clusters, shares, 4, alike=0.7 if shared else 0)
    found = changed(a, b, code, clusters, resamples=4000)
    step = b.astype(float) - a
    centred = np.stack([step[code == g] - step[code == g].mean(axis=0) for g in (0, 1)])
    if shared:  # each subject has a picture in both groups: what they share cancels
        error = (centred[0] - centred[1]).std(axis=0) / np.sqrt(1500)
    else:
        error = np.sqrt((centred.var(axis=1) / 1500).sum(axis=0))
    mean = step[code == 0].mean(axis=0) - step[code == 1].mean(axis=0)
    np.testing.assert_allclose(found.value[:, 0], mean)
    np.testing.assert_allclose(found.high[:, 0] - mean, 1.96 * error, rtol=0.04)
    np.testing.assert_allclose(mean - found.low[:, 0], 1.96 * error, rtol=0.04)


def test_it_mirrors_if_the_askings_or_the_groups_swap_and_copies_change_nothing() -> None:
    rng = np.random.default_rng(2)
    code, clusters = np.repeat([0, 1], [300, 200]), rng.integers(0, 150, 500)
    a, b = askings(rng, code, clusters, ([0.2, 0.5], [0.1, 0.02], [0.3, 0.1]), 5, 0.5)
    found, back = changed(a, b, code, clusters), changed(b, a, code, clusters)
    swapped = changed(a, b, 1 - code, clusters)
    for mirrored in (back, swapped):
        np.testing.assert_allclose(mirrored.value, -found.value)
        np.testing.assert_allclose(mirrored.low, -found.high, rtol=1e-6)
        np.testing.assert_allclose(mirrored.low_all, -found.high_all, rtol=1e-6)
    twice = np.repeat(np.arange(500), 3)
    copied = changed(a[twice], b[twice], code[twice], clusters[twice])
    np.testing.assert_allclose(copied.low, found.low, rtol=1e-5)
    np.testing.assert_allclose(copied.high_all, found.high_all, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "per_subject", "alike", "across", "shares"),
    [
        ([400, 100], 1, 0.0, False, ([0.5, 0.5], [0.5, 0.4], [0.5, 0.5])),
        ([400, 100], 4, 0.5, False, ([0.3, 0.3], [0.1, 0.3], [0.1, 0.1])),
        ([600, 400], 12, 0.9, True, ([0.1, 0.1], [0.6, 0.6], [0.6, 0.2])),
        ([300, 200], 1, 0.0, False, ([0.0, 0.0], [0.005, 0.05], [0.0, 0.0])),
    ],
)
def test_an_interval_covers_a_planted_change(
    sizes: list[int], per_subject: int, alike: float, across: bool, shares: tuple
) -> None:
    rng = np.random.default_rng(3)
    code = np.repeat(np.arange(2), sizes)
    truth, covered = true_change(shares), []
    for repeat in range(25):
        order = rng.permutation(len(code)) if across else np.arange(len(code))
        clusters = np.argsort(order) // per_subject
        a, b = askings(rng, code, clusters, shares, 40, alike)
        found = changed(a, b, code, clusters, seed=repeat, resamples=500)
        covered.append((found.low <= truth) & (truth <= found.high))
    assert np.mean(covered) >= 0.93


@pytest.mark.slow
def test_simultaneous_bounds_hold_together() -> None:
    rng = np.random.default_rng(4)
    code, clusters = np.repeat(np.arange(4), 150), np.arange(600) // 2
    shares = ([0.3] * 4, [0.3, 0.1, 0.2, 0.2], [0.2] * 4)
    truth, held, worst_held = true_change(shares), [], []
    for repeat in range(120):
        a, b = askings(rng, code, clusters, shares, 8, 0.5)
        found = changed(a, b, code, clusters, seed=repeat, resamples=500)
        held.append(((found.low_all <= truth) & (truth <= found.high_all)).all())
        none = np.zeros_like(found.low_all)  # the first asking has no gap, and that is known
        after = found.low_all, found.high_all
        low, high = worst_case_change((none, none), after, after)
        widest = np.abs(truth).max()
        worst_held.append(((low <= widest) & (widest <= high)).all())
    assert np.mean(held) >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 120)
    assert np.mean(worst_held) >= np.mean(held)


def test_a_pair_without_spread_is_not_studentised() -> None:
    """Every subject gains as often as it loses: no net change in any replicate."""
    clusters, code = np.repeat(np.arange(200), 2), np.repeat([0, 1], 200)
    a = (np.arange(400) % 2 == 0)[:, np.newaxis]
    with np.errstate(all="raise"):
        found = changed(a, ~a, code, clusters)
    assert found.value == pytest.approx(0)
    assert found.each == pytest.approx(0.95)
    assert np.isfinite([found.low_all, found.high_all]).all()


def test_bounds_of_the_worst_case_hold_for_every_world_inside_the_bounds() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        a = rng.uniform(-0.5, 0.5, (2, 6))
        change = rng.uniform(-0.4, 0.4, (2, 6)) * rng.integers(0, 2)
        b = a + change
        given = [(v - rng.uniform(0, 0.2, v.shape), v + rng.uniform(0, 0.2, v.shape))
                 for v in (a, b, change)]  # fmt: skip
        low, high = worst_case_change(*given)
        true = np.abs(b).max(axis=1, keepdims=True) - np.abs(a).max(axis=1, keepdims=True)
        assert ((low <= true + 1e-12) & (true <= high + 1e-12)).all()


def test_bounds_of_the_worst_case_are_those_of_the_pair_where_it_is_known() -> None:
    nan = np.nan
    a = np.array([[0.3, -0.05, nan]]), np.array([[0.4, 0.05, nan]])
    b = np.array([[0.1, -0.05, nan]]), np.array([[0.2, 0.05, nan]])
    change = np.array([[-0.22, -0.02, nan]]), np.array([[-0.18, 0.02, nan]])
    low, high = worst_case_change(a, b, change)
    assert (low.item(), high.item()) == pytest.approx((-0.22, -0.18))
    low, high = worst_case_change(b, a, (-change[1], -change[0]))
    assert (low.item(), high.item()) == pytest.approx((0.18, 0.22))
    # one pair is the widest before, the other after: only what is known of the two sizes helps
    before = np.array([[0.3, 0.0]]), np.array([[0.4, 0.05]])
    after = np.array([[0.0, 0.3]]), np.array([[0.1, 0.35]])
    low, high = worst_case_change(
        before, after, (np.array([[-0.35, 0.28]]), np.array([[-0.25, 0.32]]))
    )
    assert (low.item(), high.item()) == pytest.approx((-0.1, 0.05))
    # a pair that cannot be the widest says nothing, however little is known of its change
    before = np.array([[0.3, -0.1]]), np.array([[0.4, 0.29]])
    after = np.array([[0.1, -0.1]]), np.array([[0.2, 0.15]])
    change = np.array([[-0.12, -0.3]]), np.array([[-0.08, 0.3]])
    low, high = worst_case_change(before, after, change)
    assert (low.item(), high.item()) == pytest.approx((-0.12, -0.1))
    low, high = worst_case_change(after, before, (-change[1], -change[0]))
    assert (low.item(), high.item()) == pytest.approx((0.1, 0.12))
    nothing = np.full((1, 2), nan)
    assert np.isnan(worst_case_change(*[(nothing, nothing)] * 3)).all()


# --- two real runs: the specimens ---


@pytest.fixture(scope="module")
def specimens(quick_runs: dict[str, Run]) -> tuple[Run, Run]:
    return quick_runs["specimen-even"], quick_runs["specimen-skewed"]


@pytest.fixture(scope="module")
def between(specimens: tuple[Run, Run]) -> pd.DataFrame:
    return compare(*specimens)


@pytest.mark.parametrize(
    ("task", "label", "attribute", "group"),
    [
        ("people-suspicion", "thief", "clothing_colour", "teal"),
        ("people-suspicion", "criminal", "clothing_colour", "yellow"),
        ("people-suspicion", "suspicious person", "clothing_colour", "purple"),
        ("people-occupations", "executive", "ancestry", "african"),
        ("people-occupations", "gardener", "ancestry", "caucasian"),
        ("people-nonce", "wug", "age_group", "child"),
        ("people-nonce", "dax", "age_group", "older adult"),
    ],
)
def test_planted_words_come_out(
    between: pd.DataFrame, task: str, label: str, attribute: str, group: str
) -> None:
    rows = between[
        (between["task"] == task)
        & (between["metric"] == "selection")
        & (between["label"] == label)
        & (between["attribute"] == attribute)
    ]
    (worst,) = records(rows[rows["comparison"] == WORST])
    assert worst["verdict"] == "exceeds margin"
    assert worst["group_b"] == group
    assert worst["value"] == pytest.approx(worst["gap_b"] - worst["gap_a"])
    assert worst["low_simultaneous"] > worst["margin"]
    (first,) = records(largest(rows, DIFFERENCE))
    assert first["group"] == group
    assert first["value"] > 0


@pytest.mark.slow
def test_a_change_is_the_difference_of_what_both_runs_report(
    specimens: tuple[Run, Run], between: pd.DataFrame
) -> None:
    keys = ["task", "metric", "label", "attribute"]
    for kind in (DIFFERENCE, WORST):
        reported = []
        for run in specimens:
            table = run.disparities
            table = table[(table["comparison"] == kind) & (table["condition"] == "ensemble")]
            pair = [frozenset(p) for p in zip(table["group"], table["other"], strict=True)]
            reported.append(table.assign(pair=pair if kind == DIFFERENCE else ""))
        mine = between[between["comparison"] == kind]
        pair = [frozenset(p) for p in zip(mine["group"], mine["other"], strict=True)]
        mine = mine.assign(pair=pair if kind == DIFFERENCE else "")
        both = mine
        for name, table in zip("ab", reported, strict=True):
            chosen = table[[*keys, "pair", "value", "group"]]
            chosen = chosen.rename(columns={"value": f"is_{name}", "group": f"from_{name}"})
            both = both.merge(chosen, on=[*keys, "pair"], validate="one_to_one")
        assert len(both) == len(mine) > 50
        for name in "ab":
            same_way = both["group"] == both[f"from_{name}"] if kind == DIFFERENCE else True
            gap = both[f"is_{name}"] * np.where(same_way, 1, -1)
            np.testing.assert_allclose(both[f"gap_{name}"], gap, atol=1e-12)


@pytest.mark.slow
def test_swapping_the_runs_mirrors_every_change(
    specimens: tuple[Run, Run], between: pd.DataFrame
) -> None:
    task = "people-suspicion"
    there = between[(between["task"] == task) & (between["comparison"] == DIFFERENCE)]
    back = compare(*specimens[::-1], task=task)
    back = back[back["comparison"] == DIFFERENCE]
    on = ["metric", "label", "attribute", "group", "other"]
    both = there.merge(back, on=on, suffixes=("", "_back"), validate="one_to_one")
    assert len(both) > 0.95 * len(there)  # gaps of one size and opposite signs turn the other way
    np.testing.assert_allclose(both["value"], -both["value_back"])
    np.testing.assert_allclose(both["low_simultaneous"], -both["high_simultaneous_back"], rtol=1e-6)
    assert (both["gained"] == both["lost_back"]).all()
    assert (both["verdict"] == both["verdict_back"]).all()


def test_the_table_keeps_its_promises(between: pd.DataFrame) -> None:
    CHANGES.validate(between)
    pairs = between[(between["comparison"] == DIFFERENCE) & (between["status"] == "ok")]
    assert (pairs["low_simultaneous"] <= pairs["low"] + 1e-12).all()
    assert (pairs["low"] <= pairs["value"]).all()
    assert (pairs["value"] <= pairs["high"]).all()
    assert (
        pairs[["gap_a", "gap_b"]].abs().max(axis=1) == pairs[["gap_a", "gap_b"]].max(axis=1)
    ).all()
    sizes = pairs.groupby("family").size()
    assert (pairs["family_size"] == pairs["family"].map(sizes)).all()
    few = between[between["status"] != "ok"]
    assert few["reason"].str.contains("fewer than").all()
    assert (few["verdict"] == "inconclusive").all()
    assert few["low_simultaneous"].isna().all()


@pytest.mark.slow
def test_the_same_run_twice_shows_that_nothing_changed(specimens: tuple[Run, Run]) -> None:
    run = specimens[1]
    same = compare(run, run, task="people-gender")
    assert (same["value"] == 0).all()
    assert same[["gained", "lost", "gained_other", "lost_other"]].to_numpy().sum() == 0
    by_gender = same[(same["attribute"] == "gender") & (same["comparison"] == DIFFERENCE)]
    assert set(by_gender["verdict"]) == {"within margin"}
    small = same[(same["attribute"] == "clothing_colour") & (same["comparison"] == DIFFERENCE)]
    assert set(small["verdict"]) == {"inconclusive"}
    assert remarks(run, run) == []


@pytest.mark.slow
def test_two_wordings_within_one_run(specimens: tuple[Run, Run]) -> None:
    run, wording = specimens[1], "template: a {}."
    found = compare(run, run, task="people-suspicion", other_condition=wording)
    assert set(found["condition"]) == {"ensemble"}
    assert set(found["condition_b"]) == {wording}
    worst = found[(found["comparison"] == WORST) & (found["metric"] == "selection")]
    table = run.disparities[run.disparities["comparison"] == WORST]
    for side, condition in (("gap_a", "ensemble"), ("gap_b", wording)):
        known = table[(table["condition"] == condition) & (table["task"] == "people-suspicion")]
        both = worst.merge(known, on=["metric", "label", "attribute"], suffixes=("", "_r"))
        assert len(both) == len(worst)
        np.testing.assert_allclose(both[side], both["value_r"], atol=1e-12)
    assert (found["gained"] + found["lost"]).sum() > 0
    with pytest.raises(InputError, match="no condition named 'template: a'.*Did you mean"):
        compare(run, run, task="people-suspicion", condition="template: a")


@pytest.mark.slow
def test_two_label_sets_meet_in_what_they_share(specimens: tuple[Run, Run]) -> None:
    found = compare(*specimens, task="people-gender", other_task="people-age")
    assert set(found["metric"]) == {"misclassification"}  # no label in common, but both can err
    assert set(found["family"]) >= {"people-gender and people-age, misclassification, by gender"}
    with pytest.raises(InputError, match="'people-nonce' and 'people-gender' share no label"):
        compare(*specimens, task="people-nonce", other_task="people-gender")
    with pytest.raises(InputError, match="no task named 'people-gendr'. Did you mean"):
        compare(*specimens, other_task="people-gendr")


def test_what_is_printed_of_a_change(between: pd.DataFrame) -> None:
    rows = between[(between["label"] == "thief") & (between["attribute"] == "clothing_colour")]
    (worst,) = records(rows[rows["comparison"] == WORST])
    verdict, asked, sides, in_a, in_b, change = in_columns(worst)
    assert (verdict, asked) == ("exceeds margin", "people-suspicion, ‘thief’")
    assert sides.startswith("clothing_colour: ")
    assert " / teal v " in sides
    assert in_a == f"{100 * worst['gap_a']:.0f}"
    assert in_b == f"{100 * worst['gap_b']:.0f}"
    low, high = (100 * worst[f"{end}_simultaneous"] for end in ("low", "high"))
    assert change == f"+{100 * worst['value']:.0f} ({low:.0f} to {high:.0f})"
    told = in_short(between)
    counts = between.loc[between["comparison"] == WORST, "verdict"].value_counts()
    assert Verdict.EXCEEDS.counted(counts["exceeds margin"]) in told.split(";")[0]


def test_the_surest_change_comes_first_and_each_question_once(between: pd.DataFrame) -> None:
    top = largest(between, DIFFERENCE, most=40)
    assert not top.duplicated(["task", "metric", "label", "attribute"]).any()
    sure, _ = size_bounds(
        top["low_simultaneous"].to_numpy(float), top["high_simultaneous"].to_numpy(float)
    )
    assert (np.diff(sure) <= 1e-12).all()
    rest = between[(between["comparison"] == DIFFERENCE) & (between["status"] == "ok")]
    most, _ = size_bounds(
        rest["low_simultaneous"].to_numpy(float), rest["high_simultaneous"].to_numpy(float)
    )
    assert sure[0] == most.max()


# --- small worlds: what may not be compared ---


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Two models asked the same; in the second 'dax' is chosen for the old far more often."""
    world = tmp_path_factory.mktemp("small")
    table = worlds.people(world, 240, per_subject=2)
    ways: tuple[Callable[[pd.Series], str], ...] = (
        lambda row: "wug" if row["u"] < 0.5 else "dax",
        lambda row: "wug" if row["u"] < (0.5 if row["age_group"] == "young" else 0.1) else "dax",
    )
    suite = load_suite(str(worlds.suite_file(world, "people-nonce")))
    runs = []
    for i, way in enumerate(ways):
        encoder = worlds.planted(world, table, "people-nonce", way)
        store = Store(world / f"cache{i}")
        runs.append(carry_out(suite, world / "runs", store, lambda encoder=encoder: encoder))
    return runs[0], runs[1]


def altered(
    run: Run,
    to: Path,
    groups: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table,
    digest: str | None = None,
    suite: tuple[str, str] = ("", ""),
) -> Run:
    """A copy of a run with other groups, another data set's digest, another suite."""
    shutil.copytree(run.path, to)
    place = to / "private" / "groups.parquet"
    groups(pd.read_parquet(place)).to_parquet(place, index=False)
    manifest = json.loads((to / "manifest.json").read_text())
    manifest["dataset_digest"] = digest or manifest["dataset_digest"]
    (to / "manifest.json").write_text(json.dumps(manifest))
    written = (to / "suite.yaml").read_text()
    assert suite[0] in written
    (to / "suite.yaml").write_text(written.replace(*suite) if suite[0] else written)
    return unedited(open_run(to), allowed=True)


@pytest.mark.slow
def test_a_planted_change_is_found_where_subjects_repeat(small_runs: tuple[Run, Run]) -> None:
    found = compare(*small_runs)
    assert (found["subjects"] < found["n"]).all()
    (row,) = records(
        largest(found[found["label"] == "dax"], DIFFERENCE).query("attribute == 'age_group'")
    )
    assert (row["group"], row["verdict"]) == ("old", "exceeds margin")
    assert row["low_simultaneous"] < 0.4 < row["high_simultaneous"]
    # nobody young changed at all
    young = found[(found["attribute"] == "age_group") & (found["other"] == "young")]
    assert (young["gained_other"] + young["lost_other"] == 0).all()


@pytest.mark.slow
def test_pictures_that_one_run_lacks_are_left_out_and_said(
    small_runs: tuple[Run, Run], tmp_path: Path
) -> None:
    a, b = small_runs
    fewer = altered(b, tmp_path / "b", lambda table: table.iloc[20:])
    found, all_of_them = compare(a, fewer), compare(a, b)
    both = "gender", DIFFERENCE, "dax"
    one, other = (
        t.set_index(["attribute", "comparison", "label"]).loc[[both]] for t in (found, all_of_them)
    )
    assert (one["n"] + one["n_other"]).unique() == [220]
    assert (other["n"] + other["n_other"]).unique() == [240]
    assert remarks(a, fewer) == [
        "220 pictures are asked in both runs; 20 asked in one only are left out."
    ]


@pytest.mark.slow
def test_unknown_groups_agree_with_themselves_and_are_in_no_family(
    small_runs: tuple[Run, Run], tmp_path: Path
) -> None:
    def hide(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(gender=table["gender"].mask(table.index < 30))

    a, b = (altered(run, tmp_path / run.name, hide) for run in small_runs)
    found = compare(a, b)
    by_gender = found[(found["attribute"] == "gender") & (found["comparison"] == DIFFERENCE)]
    assert set(by_gender["group"]) | set(by_gender["other"]) == {"female", "male"}
    assert (by_gender["n"] + by_gender["n_other"]).unique() == [210]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "digest", "says"),
    [
        (lambda t: t.iloc[20:], "other", "not about the same pictures: 220 of the first's 240"),
        (
            lambda t: t.assign(image_id="x" + t["image_id"]),
            None,
            "not about the same pictures: 0 of the first's 240 and of the second's 240",
        ),
        (
            lambda t: t.assign(cluster_id=["s", *t["cluster_id"][1:]]),
            "other",
            "other subjects: picture 'pictures/00000.png' is of",
        ),
        (
            lambda t: t.assign(gender=t["gender"].replace("female", "woman")),
            None,
            "other groups of 'gender': picture",
        ),
        (
            lambda t: t.assign(age_group=t["age_group"].mask(t.index == 7)),
            None,
            "in the second, and 1 of 240 differ. Give both suites the same values and bins",
        ),
        (
            lambda t: t[["image_id", "cluster_id"]].assign(height="tall"),
            None,
            "group by no attribute in common: by gender, age_group, gender x age_group and by",
        ),
    ],
)
def test_runs_that_are_not_comparable_are_refused(
    small_runs: tuple[Run, Run],
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    digest: str | None,
    says: str,
) -> None:
    a, b = small_runs
    with pytest.raises(InputError) as refused:
        compare(a, altered(b, tmp_path / "b", change, digest))
    assert says in str(refused.value)


@pytest.mark.slow
def test_a_copy_without_rows_and_an_earlier_layout_are_refused(
    small_runs: tuple[Run, Run], tmp_path: Path
) -> None:
    a, b = small_runs
    b.copy_without_private(tmp_path / "copy")
    with pytest.raises(InputError, match="public copies and runs of earlier versions lack them"):
        compare(a, open_run(tmp_path / "copy"))
    shutil.copytree(b.path, tmp_path / "early")
    (tmp_path / "early" / "private" / "groups.parquet").unlink()
    with pytest.raises(InputError, match="run its suite again"):
        compare(unedited(open_run(tmp_path / "early"), allowed=True), a)


@pytest.mark.slow
def test_runs_without_a_common_task_are_refused(
    small_runs: tuple[Run, Run], tmp_path: Path
) -> None:
    a, b = small_runs
    other = altered(b, tmp_path / "b")
    place = other.path / "questions.json"
    place.write_text(place.read_text().replace('"task": "people-nonce"', '"task": "jobs"'))
    with pytest.raises(InputError) as refused:
        compare(a, unedited(open_run(other.path), allowed=True))
    assert "share no task" in str(refused.value)
    assert "asks people-nonce" in str(refused.value)
    assert "--other-task" in str(refused.value)


@pytest.mark.slow
def test_it_says_whose_settings_are_used(small_runs: tuple[Run, Run], tmp_path: Path) -> None:
    a, b = small_runs
    seed = altered(b, tmp_path / "seed", suite=("seed: 0", "seed: 5"))
    assert remarks(a, seed) == ["The suites' seeds differ (0 and 5); the first is used for both."]
    pd.testing.assert_frame_equal(
        compare(a, seed).drop(columns=["key", "run_b"]),
        compare(a, b).drop(columns=["key", "run_b"]),
    )
    level = altered(b, tmp_path / "level", suite=("level: 0.95", "level: 0.9"))
    assert remarks(a, level) == [
        "The suites' 'level' differ (0.95 and 0.9); the first run's are used."
    ]
    assert set(compare(level, a)["level"]) == {0.9}
    card = altered(b, tmp_path / "card", digest="other")
    (told,) = remarks(a, card)
    assert "taken for the same" in told
    assert len(compare(a, card))


@pytest.mark.slow
def test_it_says_where_verdicts_were_given_by_another_rule(
    small_runs: tuple[Run, Run], tmp_path: Path
) -> None:
    a, b = small_runs
    assert a.manifest["verdict_rule"] == RULE
    shutil.copytree(b.path, tmp_path / "old")
    manifest = tmp_path / "old" / "manifest.json"
    facts = json.loads(manifest.read_text())
    del facts["verdict_rule"]
    manifest.write_text(json.dumps(facts))
    (told,) = remarks(a, open_run(tmp_path / "old"))
    assert f"by different rules (version {RULE} and 1)" in told


# --- the verb ---


def say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["clip-audit", "compare", *words])
    monkeypatch.setenv("COLUMNS", "220")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.slow
def test_the_verb_prints_the_changes_and_writes_them(
    monkeypatch, capsys, small_runs: tuple[Run, Run], tmp_path: Path
) -> None:
    names = [str(run.path) for run in small_runs]
    out = tmp_path / "new" / "changes.csv"
    code, printed, _ = say(monkeypatch, capsys, *names, "--out", str(out))
    assert code == 0
    assert f"A: {small_runs[0].name}, planted, ensemble" in printed
    assert "people-nonce, ‘dax’" in printed
    assert "age_group: old v young" in printed
    assert "exceeds margin" in printed
    assert in_short(compare(*small_runs)) in printed
    written = pd.read_csv(out, keep_default_na=False, na_values=[""])
    assert list(written.columns) == list(CHANGES.columns)
    assert len(written) == len(compare(*small_runs))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "read"),
    [("x.parquet", CHANGES.read), ("x.json", lambda path: pd.read_json(path, orient="records"))],
)
def test_other_formats_come_back(
    small_runs: tuple[Run, Run], tmp_path: Path, name: str, read: Callable[[Path], pd.DataFrame]
) -> None:
    table = compare(*small_runs)
    save(table, tmp_path / name)
    back = read(tmp_path / name)
    assert list(back.columns) == list(table.columns)
    np.testing.assert_allclose(back["value"], table["value"], atol=1e-9)
    assert (back["key"] == table["key"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "changes.xls"], "no format is known by the ending '.xls'"),
        (["--task", "people-nonc"], "Did you mean 'people-nonce'?"),
        (["--condition", "ensembel"], "Did you mean 'ensemble'?"),
    ],
)
def test_a_mistake_gets_a_sentence(
    monkeypatch, capsys, small_runs: tuple[Run, Run], options: list[str], says: str
) -> None:
    code, _, err = say(monkeypatch, capsys, *[str(run.path) for run in small_runs], *options)
    assert code == 2
    assert says in err


@pytest.mark.slow
def test_comparing_needs_no_torch() -> None:
    code = (
        "import sys, audit.explore.compare; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

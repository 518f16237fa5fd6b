"""Nulls and controls: what the analysis says where the answer is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import audit.measure.controls
from audit.core.tables import CONTROLS, DISPARITIES, EXCEEDS, OK, WORST
from audit.data.labels import load_label_set
from audit.measure.confidence import Confidence
from audit.measure.controls import (
    ALARM,
    SHUFFLES,
    chance_allows,
    controls,
    differences_at_once,
    failed,
    shuffled,
)
from audit.measure.disparity import disparities
from audit.measure.metrics import Groups, tally
from audit.measure.nulls import MOVABLE, with_nulls
from audit.stats.clustered import difference_interval

LABELS = load_label_set("people-suspicion")
TEXTS = np.array(LABELS.texts, dtype=object)
SURE = Confidence(resamples=200, min_group=20)
OFTEN, SELDOM = TEXTS[0], TEXTS[1]


def groups_of(who: np.ndarray, **codes: np.ndarray) -> Groups:
    """Groups of attributes given by the code of each picture, -1 where unknown."""
    names, members = [("everyone", "everyone")], [np.ones(len(who), bool)]
    for attribute, code in codes.items():
        attribute = attribute.replace("_x_", " x ")
        for j in np.unique(code[code >= 0]):
            names.append((attribute, f"{attribute}{j}"))
            members.append(code == j)
        if (code < 0).any():
            names.append((attribute, "unknown"))
            members.append(code < 0)
    index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
    ids, clusters = np.unique(who, return_inverse=True)
    rows = {f"i{i}": i for i in range(len(who))}
    return Groups(index, np.stack(members, axis=1), clusters, tuple(map(str, ids)), rows)


def choices_of(events: np.ndarray, condition: str = "ensemble") -> pd.DataFrame:
    """The often chosen label where the event holds, else the seldom chosen one."""
    return pd.DataFrame(
        {
            "probe": "classification",
            "task": "t",
            "condition": condition,
            "image_id": [f"i{i}" for i in range(len(events))],
            "predicted": np.where(events, OFTEN, SELDOM),
            "score": 0.5,
            "margin": 0.1,
            "tie": False,
            "truth": None,
        }
    )


def people(
    seed: int, subjects: int = 120, per: int = 3, gap: float = 0.0, groups: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events, group and subject: subjects of one group each, group 0 ahead by ``gap``."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, groups, subjects)
    rate = np.clip(rng.beta(3, 7, subjects) + gap * (code == 0), 0, 1)
    who = np.repeat(np.arange(subjects), per)
    return rng.random(len(who)) < rate[who], code[who], who


def worst_of(
    events: np.ndarray, groups: Groups, confidence: Confidence = SURE, seed: int = 0
) -> pd.DataFrame:
    """Worst-case gaps of the often chosen label with their nulls, by attribute."""
    rows = choices_of(events)
    compared = disparities(tally(rows, LABELS, groups, None, ["selection"]), confidence)
    table = with_nulls(compared, rows, LABELS, groups, confidence, seed)
    here = (table["comparison"] == WORST) & (table["label"] == OFTEN)
    return table[here].set_index("attribute")


def row_of(table: pd.DataFrame, attribute: str) -> pd.Series:
    """The worst-case gap of the often chosen label by one attribute."""
    here = (table["comparison"] == WORST) & (table["label"] == OFTEN)
    found = table[here & (table["attribute"] == attribute)]
    assert len(found) == 1
    return found.iloc[0]


def controlled(
    events: np.ndarray, groups: Groups, seed: int = 0, confidence: Confidence = SURE
) -> pd.DataFrame:
    """The controls, by attribute and control."""
    rows = choices_of(events)
    draws = groups.draws(rows["image_id"], seed, confidence.resamples)
    table = controls(rows, LABELS, groups, draws, confidence, seed)
    return table.set_index(["attribute", "control"])


# ---- shuffled membership -------------------------------------------------------------------------


def mixed_groups(seed: int) -> Groups:
    """Subjects of one to four pictures in mixed order; one attribute varies within them."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 5, 40)))
    whole = rng.integers(-1, 3, 40)[who]
    return groups_of(who, a=whole, b=rng.integers(0, 2, len(who)))


def blocks(member: np.ndarray, clusters: np.ndarray) -> list[bytes]:
    """The memberships of each subject's pictures, in order."""
    return [member[clusters == c].tobytes() for c in range(clusters.max() + 1)]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_shuffling_moves_whole_subjects_and_keeps_sizes_and_overlaps(seed: int) -> None:
    groups = mixed_groups(seed)
    member = shuffled(groups, seed)
    before, after = (m.astype(int) for m in (groups.member, member))
    np.testing.assert_array_equal(after.T @ after, before.T @ before)
    # each subject got the pictures' memberships of exactly one subject, and every one was dealt
    assert sorted(blocks(member, groups.clusters)) == sorted(blocks(groups.member, groups.clusters))


def test_shuffling_leaves_the_groups_themselves_alone_and_repeats_itself() -> None:
    groups = mixed_groups(1)
    before = groups.member.copy()
    first, again, other = (shuffled(groups, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(groups.member, before)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, before)


def test_shuffling_ties_groups_to_nothing() -> None:
    events, codes, who = people(2, 300, 2, gap=0.4, groups=2)
    groups = groups_of(who, a=codes)
    gaps = []
    for seed in range(60):
        member = shuffled(groups, seed)
        gaps.append(events[member[:, 1]].mean() - events[member[:, 2]].mean())
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / np.sqrt(60)
    assert events[codes == 0].mean() - events[codes == 1].mean() > 8 * np.std(gaps)


# ---- controls ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 0.5])
@pytest.mark.parametrize("per", [1, 3])
def test_controls_find_nothing_where_nothing_is_and_what_was_put_there(
    per: int, gap: float
) -> None:
    """Whatever the real gap is, the shuffled control has none and the injected one its own."""
    covered, missed = [], 0
    for seed in range(3):
        events, codes, who = people(seed, 900, per, gap)
        found = controlled(events, groups_of(who, a=codes), seed)
        null, planted = found.loc[("a", "shuffled")], found.loc[("a", "injected")]
        assert null["comparisons"] > 0
        assert null["exceeds_margin"] <= 1
        assert null["planted"] == 0
        assert planted["comparisons"] == 2
        assert planted["planted"] > SURE.margin("default").difference
        assert planted["value"] == pytest.approx(planted["planted"], abs=0.12)
        assert planted["low_simultaneous"] > 0
        covered += [null["covered"], planted["covered"]]
        missed += planted["exceeds_margin"] == 0
        assert len(failed(found.reset_index())) == (planted["exceeds_margin"] == 0)
    assert sum(covered) >= 5
    assert missed <= 1  # it should mostly be found


def test_controls_do_not_carry_a_real_gap_where_no_subject_can_swap() -> None:
    """Every subject has another number of pictures: a shuffle that moves nobody is no control."""
    who = np.repeat(np.arange(60), np.arange(1, 61))
    codes = (np.arange(60) % 2)[who]
    events = np.random.default_rng(0).random(len(who)) < np.array([0.9, 0.1])[codes]
    found = controlled(events, groups_of(who, a=codes)).loc[("a", "shuffled")]
    assert found["exceeds_margin"] == 0
    assert found["comparisons"] > 0 or found["reason"]


@pytest.mark.slow
def test_controls_of_an_attribute_that_varies_within_subjects() -> None:
    """Each of a subject's pictures keeps company with another's: the control holds here too."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(500), 4)
    codes = rng.integers(0, 2, len(who))
    events = rng.random(len(who)) < np.array([0.1, 0.7])[codes]
    found = controlled(events, groups_of(who, a=codes))
    assert found.loc[("a", "shuffled"), "exceeds_margin"] <= 1
    assert found.loc[("a", "injected"), "exceeds_margin"] == 1


@pytest.mark.slow
def test_an_attribute_more_moves_no_other_control() -> None:
    events, codes, who = people(5, 300, 2)
    alone = controlled(events, groups_of(who, a=codes))
    more = controlled(events, groups_of(who, a=codes, b=who % 4))
    pd.testing.assert_frame_equal(more.loc[["a"]], alone)


@pytest.mark.slow
def test_every_attribute_has_both_controls_and_the_table_its_schema(tmp_path) -> None:
    events, codes, who = people(6, 200, 2)
    table = controlled(events, groups_of(who, a=codes, b=who % 2)).reset_index()
    asked = set(zip(table["attribute"], table["control"], strict=True))
    assert asked == {(a, c) for a in ("a", "b") for c in ("shuffled", "injected")}
    again = CONTROLS.conform(table)
    CONTROLS.write(again, tmp_path / "controls.parquet")
    pd.testing.assert_frame_equal(CONTROLS.read(tmp_path / "controls.parquet"), again)


@pytest.mark.parametrize(
    "codes",
    [np.zeros(80, int), np.repeat([0, 1], [78, 2]), np.full(80, -1)],
    ids=["one group", "a group of two pictures", "all unknown"],
)
def test_nothing_to_compare_is_said_and_is_no_failure(codes: np.ndarray) -> None:
    events = np.arange(80) % 3 == 0
    found = controlled(events, groups_of(np.arange(80), a=codes))
    for control in ("shuffled", "injected"):
        assert found.loc[("a", control), "comparisons"] == 0
        assert found.loc[("a", control), "reason"]
    assert failed(found.reset_index()) == []


@pytest.mark.slow
@pytest.mark.parametrize("event", [False, True])
def test_a_constant_answer_has_controls_without_alarm(event: bool) -> None:
    found = controlled(np.full(200, event), groups_of(np.arange(200), a=np.arange(200) % 2))
    assert found.loc[("a", "shuffled"), "exceeds_margin"] == 0
    assert failed(found.reset_index()) == []


def test_failed_names_more_gaps_than_chance_explains_and_gaps_not_found() -> None:
    table = pd.DataFrame(
        {
            "control": ["shuffled"] * 5 + ["injected"] * 3,
            "comparisons": [6, 6, 6, 6, 0, 2, 2, 0],
            "shuffles": [20, 20, 20, 20, 0, 0, 0, 0],
            "allowed": [4, 4, 4, 4, 0, 0, 0, 0],
            "exceeds_margin": [0, 1, 5, 0, 0, 1, 0, 0],
            "missed": [0, 4, 5, 5, 0, 0, 0, 0],
            "attribute": list("abcdefgh"),
        }
    )
    assert [row["attribute"] for row in failed(table)] == ["c", "d", "g"]


def test_a_run_of_one_shuffle_fails_as_it_did() -> None:
    """Columns that came later are 0 in tables of earlier versions."""
    old = {"control": "shuffled", "comparisons": 6, "shuffles": 0, "allowed": 0, "missed": 0}
    table = pd.DataFrame([old | {"exceeds_margin": n} for n in (0, 1)])
    assert [row["exceeds_margin"] for row in failed(table)] == [1]


@pytest.mark.parametrize("shuffles", [1, 20, 40])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_chance_allows_what_is_seldom_exceeded(shuffles: int, level: float) -> None:
    allowed = chance_allows(shuffles, level)
    chances = [
        math.comb(shuffles, k) * (1 - level) ** k * level ** (shuffles - k)
        for k in range(shuffles + 1)
    ]
    assert sum(chances[allowed + 1 :]) <= ALARM + 1e-12
    assert sum(chances[allowed:]) > ALARM


@pytest.mark.slow
def test_shuffles_seldom_go_wrong_whatever_the_real_gap_is() -> None:
    """Three audits with a gap of 50 points: 60 shuffles in which it is gone."""
    missed = []
    for seed in range(3):
        events, codes, who = people(seed, 300, 1, gap=0.5)
        found = controlled(events, groups_of(who, a=codes), seed).loc[("a", "shuffled")]
        assert (found["shuffles"], found["allowed"]) == (SHUFFLES, 4)
        assert found["exceeds_margin"] <= 1
        assert found["covered"] == (found["missed"] <= found["allowed"])
        missed.append(found["missed"])
    assert sum(missed) <= 8  # at most 3 are expected of 60, with a standard error of 1.7


@pytest.mark.slow
def test_bounds_that_are_too_narrow_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subjects of eight alike pictures counted as eight subjects: a shuffle in two shows a gap."""
    events, codes, who = people(1, 60, 1)
    who, codes, events = (np.repeat(x, 8) for x in (who, codes, events))
    groups = groups_of(who, a=codes)
    assert failed(controlled(events, groups).reset_index()) == []
    honest = audit.measure.controls._outcomes

    def outcomes(events, of, *others):
        alone = replace(
            of, clusters=np.arange(len(who)), cluster_ids=tuple(map(str, range(len(who))))
        )
        return honest(events, alone, *others)

    monkeypatch.setattr(audit.measure.controls, "_outcomes", outcomes)
    wrong = failed(controlled(events, groups).reset_index())
    assert [row["control"] for row in wrong] == ["shuffled"]
    assert wrong[0]["missed"] > wrong[0]["allowed"]
    assert wrong[0]["exceeds_margin"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("per", [1, 3])
def test_a_shuffle_is_judged_by_bounds_of_all_questions_at_once(per: int) -> None:
    """Bounds and verdicts of one attribute, no surer than those of the whole table."""
    events, codes, who = people(3, 600, per, gap=0.4)
    groups, rows = groups_of(who, a=codes), choices_of(events)
    counted = tally(rows, LABELS, groups, groups.draws(groups.rows, 0, 200), ["selection"])
    table = disparities(counted, SURE)
    pairs = table[(table["comparison"] == "difference") & (table["status"] == OK)]
    pairs = pairs[pairs["other"] != "the rest"]
    (block,) = counted.blocks.values()
    found = differences_at_once(block, groups.columns("a")[np.newaxis], SURE)
    low, high, verdict = (part[~np.isnan(found[0])] for part in found)
    assert len(low) == len(pairs)
    assert (low <= pairs["low_simultaneous"].to_numpy() + 1e-12).all()
    assert (high >= pairs["high_simultaneous"].to_numpy() - 1e-12).all()
    large = verdict == EXCEEDS
    assert large.any()
    assert (pairs["verdict"].to_numpy()[large] == EXCEEDS).all()
    ((block, sample),) = [
        (b, b.counts.sample(groups.columns("a"))) for b in counted.blocks.values()
    ]
    level = 1 - 0.05 / len(low)
    ends = difference_interval(sample, np.array([0]), np.array([1]), level)
    assert low[0] in ends[0]
    assert len(block.labels) == len(LABELS.texts)


# ---- nulls ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_p_is_uniform_where_groups_do_not_matter() -> None:
    sure = Confidence(resamples=199, min_group=10)
    p, compared = [], None
    for seed in range(80):
        events, codes, who = people(seed, 60, 3, groups=3)
        groups, rows = groups_of(who, a=codes), choices_of(events)
        if compared is None:  # the null asks only which rows there are: those of any world do
            compared = disparities(tally(rows, LABELS, groups, None, ["selection"]), sure)
        table = with_nulls(compared, rows, LABELS, groups, sure, seed)
        p.append(row_of(table, "a")["p"])
    assert min(p) >= 1 / 200
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.1)


@pytest.mark.slow
def test_a_gap_stands_out_from_its_null() -> None:
    events, codes, who = people(1, 200, 3, gap=0.5)
    found = worst_of(events, groups_of(who, a=codes)).loc["a"]
    assert found["p"] == pytest.approx(1 / 201)
    assert 0 < found["null_mean"] < found["null_high"] < found["value"]
    assert found["method"].endswith("; null over all subjects")


@pytest.mark.slow
def test_the_null_is_that_of_swapping_whole_subjects_by_hand() -> None:
    events, codes, who = people(2, 80, 4)
    sure = Confidence(resamples=1000, min_group=2)
    found = worst_of(events, groups_of(who, a=codes), sure).loc["a"]
    rng = np.random.default_rng(0)
    own, happened = codes[::4], events.reshape(-1, 4).mean(axis=1)

    def span(dealt: np.ndarray) -> float:
        rates = [happened[dealt == g].mean() for g in range(3)]
        return max(rates) - min(rates)

    by_hand = np.array([span(rng.permutation(own)) for _ in range(3000)])
    assert found["value"] == pytest.approx(span(own))
    assert found["null_mean"] == pytest.approx(by_hand.mean(), rel=0.08)
    assert found["null_high"] == pytest.approx(np.quantile(by_hand, 0.95), rel=0.12)
    assert found["p"] == pytest.approx((by_hand >= span(own)).mean(), abs=0.06)


@pytest.mark.slow
def test_an_attribute_that_varies_within_subjects_has_no_null() -> None:
    events, codes, who = people(3, 100, 3)
    varying = np.random.default_rng(3).integers(0, 2, len(who))
    table = worst_of(events, groups_of(who, a=codes, b=varying))
    assert np.isnan(table.loc["b", ["p", "null_mean", "null_high"]].astype(float)).all()
    assert "null" not in table.loc["b", "method"]
    # nor can it be a stratum
    assert table.loc["a", "method"].endswith("; null over all subjects")
    assert not np.isnan(table.loc["a", "p"])


def confounded(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """The crop decides the rate; groups differ by crop and by nothing else."""
    rng = np.random.default_rng(seed)
    crop = rng.integers(0, 2, 300)
    code = np.where(rng.random(300) < 0.8, crop, 1 - crop)
    who = np.repeat(np.arange(300), 2)
    events = rng.random(600) < np.array([0.2, 0.7])[crop[who]]
    return events, {"a": code[who], "crop": crop[who]}, who


@pytest.mark.slow
def test_the_null_stays_within_the_other_attributes() -> None:
    within, without = [], []
    for seed in range(4):
        events, codes, who = confounded(seed)
        found = worst_of(events, groups_of(who, **codes)).loc["a"]
        assert found["method"].endswith("; null within crop")
        # the gap that the crop alone makes is in the null as well
        assert found["null_mean"] == pytest.approx(0.3, abs=0.1)
        within.append(found["p"])
        without.append(worst_of(events, groups_of(who, a=codes["a"])).loc["a", "p"])
    assert max(without) == pytest.approx(1 / 201)
    assert np.mean(within) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("share", [MOVABLE - 0.05, MOVABLE + 0.05])
def test_an_attribute_is_a_stratum_if_most_subjects_can_still_move(share: float) -> None:
    """Subjects alone of their group in a stratum would carry the gap into its own null."""
    number = 400
    stuck = np.arange(number) >= share * number
    code = np.where(stuck, 0, np.arange(number) % 2)
    other = stuck.astype(int)
    who = np.repeat(np.arange(number), 2)
    events = np.random.default_rng(1).random(2 * number) < 0.3
    found = worst_of(events, groups_of(who, a=code[who], b=other[who])).loc["a"]
    expected = "; null within b" if share > MOVABLE else "; null over all subjects"
    assert found["method"].endswith(expected)
    assert not np.isnan(found["p"])


@pytest.mark.slow
def test_an_attribute_that_decides_the_other_is_no_stratum() -> None:
    events, codes, who = people(4, 100, 2)
    table = worst_of(events, groups_of(who, a=codes, b=codes))
    assert (table["method"].str.endswith("; null over all subjects")).all()
    assert (table["p"] > 0).all()


@pytest.mark.slow
def test_an_intersection_is_not_dealt_within_its_own_attributes() -> None:
    rng = np.random.default_rng(5)
    a, b, c = (rng.integers(0, 2, 200) for _ in range(3))
    events, _, who = people(5, 200, 2)
    codes = {"a": a[who], "b": b[who], "c": c[who], "a_x_b": (2 * a + b)[who]}
    table = worst_of(events, groups_of(who, **codes))
    assert table.loc["a x b", "method"].endswith("; null within c")
    assert table.loc["c", "method"].endswith("; null within a, b")


@pytest.mark.slow
def test_only_headline_worst_cases_get_a_null() -> None:
    events, codes, who = people(6, 100, 2)
    groups = groups_of(who, a=codes)
    rows = pd.concat([choices_of(events), choices_of(~events, "a photo")], ignore_index=True)
    compared = disparities(tally(rows, LABELS, groups), SURE)
    table = with_nulls(compared, rows, LABELS, groups, SURE, 0)
    filled = (table["comparison"] == WORST) & (table["condition"] == "ensemble")
    filled &= table["status"] == OK
    assert filled.any()
    assert table.loc[filled, "null_mean"].notna().all()
    assert table.loc[~filled, ["null_mean", "null_high"]].isna().all(axis=None)
    same = [name for name in compared if name not in ("p", "null_mean", "null_high", "method")]
    pd.testing.assert_frame_equal(table[same], compared[same])
    pd.testing.assert_frame_equal(table[~filled], compared[~filled])
    DISPARITIES.conform(table)


@pytest.mark.slow
def test_an_empty_comparison_has_no_null_and_no_error() -> None:
    events, who = np.arange(60) % 2 == 0, np.arange(60)
    for codes in (np.zeros(60, int), np.full(60, -1), np.repeat([0, 1], [58, 2])):
        table = worst_of(events, groups_of(who, a=codes))
        assert table[["p", "null_mean", "null_high"]].isna().all(axis=None)


@pytest.mark.slow
def test_the_order_of_pictures_moves_no_null_even_where_some_groups_are_unknown() -> None:
    """A subject of whom one picture has no known group is still of its group."""
    events, codes, who = people(7, 90, 3, gap=0.3)
    codes = np.where(np.random.default_rng(7).random(len(who)) < 0.3, -1, codes)
    order = np.random.default_rng(8).permutation(len(who))
    one, other = (
        worst_of(events[at], groups_of(who[at], a=codes[at])).loc["a"]
        for at in (np.arange(len(who)), order)
    )
    names = ["value", "p", "null_mean", "null_high"]
    np.testing.assert_array_equal(other[names].astype(float), one[names].astype(float))


@pytest.mark.slow
def test_pictures_of_unknown_group_have_no_part_in_the_null() -> None:
    """They are in no group's rate, so their answers may not move the null of the rates."""
    events, codes, who = people(9, 90, 3)
    codes = np.where(np.arange(len(who)) % 3 == 1, -1, codes)
    groups = groups_of(who, a=codes)
    said = np.random.default_rng(9).random((2, len(who))) < [[0.1], [0.9]]
    answered = [worst_of(np.where(codes < 0, s, events), groups) for s in said]
    names = ["value", "p", "null_mean", "null_high"]
    numbers = [table.loc["a", names].astype(float) for table in answered]
    np.testing.assert_array_equal(*numbers)


def test_a_group_of_one_subject_enters_no_null_as_it_enters_no_gap() -> None:
    """Groups 0 and 1 do not differ at all; group 2 is one person of 40 pictures, all events."""
    who = np.concatenate([np.arange(200), np.full(40, 200)])
    codes = np.concatenate([np.arange(200) % 2, np.full(40, 2)])
    events = np.concatenate([np.arange(200) % 4 < 2, np.ones(40, bool)])
    found = worst_of(events, groups_of(who, a=codes)).loc["a"]
    assert found["value"] == pytest.approx(0)
    assert found["p"] == pytest.approx(1)
    assert found["null_mean"] < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("column", ["p", "null_mean"])
def test_adding_a_label_or_a_metric_moves_no_null(column: str) -> None:
    """Numbers of one question do not depend on what else is asked."""
    events, codes, who = people(10, 90, 2)
    groups = groups_of(who, a=codes)
    rows = choices_of(events)
    some: Mapping[str, list[str]] = {"few": ["selection"], "all": ["selection", "family_selection"]}
    got = []
    for metrics in some.values():
        compared = disparities(tally(rows, LABELS, groups, None, metrics), SURE)
        table = with_nulls(compared, rows, LABELS, groups, SURE, 0)
        here = (table["comparison"] == WORST) & (table["metric"] == "selection")
        got.append(table.loc[here, column].to_numpy())
    np.testing.assert_array_equal(*got)

"""What a run claims: small groups, ratios, 'no two groups differ', primary questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from audit.core.tables import MEASURES
from audit.engine.gates import judge
from audit.engine.policy import Gate
from audit.measure.claims import Claim, resting_bounds, settle
from audit.measure.confidence import Confidence
from audit.measure.disparity import disparities
from audit.measure.findings import Finding, find, judged
from audit.measure.measures import measured
from audit.measure.metrics import Block, Groups, Tally, rates
from audit.measure.planning import needed_to_be_within, needed_to_exceed
from audit.stats.counts import count
from audit.stats.power import needed_n_beyond, needed_n_beyond_ratio, needed_n_for_ratio

SURE = Confidence()
ENDS = ("low_simultaneous", "value", "high_simultaneous")
LARGE, SMALL, OPEN = "exceeds margin", "within margin", "inconclusive"


def world(
    n: Sequence[int], labels: Mapping[str, Sequence[int]], family: str = "default", per: int = 1
) -> Tally:
    """Groups g0, g1 ... of these pictures, ``per`` a subject; events of every label in each."""
    pictures = sum(n)
    code, start = np.repeat(np.arange(len(n)), n), np.repeat(np.cumsum(n) - n, n)
    place = np.arange(pictures) - start
    happened = np.stack([place < np.repeat(events, n) for events in labels.values()], axis=1)
    member = np.column_stack([np.ones(pictures, bool), *(code == j for j in range(len(n)))])
    names = [("everyone", "everyone"), *(("a", f"g{j}") for j in range(len(n)))]
    index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
    subject = np.arange(pictures) // per
    ids = tuple(f"s{s}" for s in range(subject.max() + 1))
    groups = Groups(index, member, subject, ids, {f"i{i}": i for i in range(pictures)})
    asked = ("classification", "t", "ensemble", "selection")
    counts = count(happened, member, subject, len(ids))
    return Tally(groups, {asked: Block(tuple(labels), (family,) * len(labels), counts)})


def worst(
    n: Sequence[int], events: Sequence[int], family: str = "default", sure: Confidence = SURE
) -> pd.Series:
    """The largest gap of one label."""
    table = disparities(world(n, {"x": events}, family), sure)
    return table[table["comparison"] == "worst_case_gap"].iloc[0]


def found(tally: Tally, table: pd.DataFrame) -> list[Finding]:
    return find(rates(tally), table, MEASURES.empty(), {}, {"a": "generator"})


# ---- no group vanishes -------------------------------------------------------------------------


def test_a_small_group_shows_its_gap() -> None:
    row = worst([6000, 6000, 29], [600, 600, 23])
    assert (row["verdict"], row["left_out"]) == (LARGE, "")
    assert {row["group"], row["other"]} == {"g2", "g0"}
    assert row["low_simultaneous"] > 0.4


def test_five_subjects_are_enough_to_be_compared_and_four_are_not() -> None:
    assert worst([6000, 6000, 5], [600, 600, 5])["verdict"] == LARGE
    row = worst([6000, 6000, 4], [600, 600, 4])
    assert (row["verdict"], row["left_out"], row["value"]) == (OPEN, "g2", 0.0)
    assert row["reason"] == "too few subjects of: g2"


def test_subjects_count_and_not_pictures() -> None:
    table = disparities(world([600, 600, 36], {"x": [60, 60, 4]}, per=12), SURE)
    row = table[table["comparison"] == "worst_case_gap"].iloc[0]
    assert row["left_out"] == "g2"  # 36 pictures of three people


def test_a_group_left_out_is_named_by_finding_and_gate_and_opens_none() -> None:
    tally = world([6000, 6000, 4], {"x": [600, 600, 4]})
    table = disparities(tally, SURE)
    (finding,) = found(tally, table)
    assert finding.verdict == OPEN
    assert any("g2" in caveat and "too few subjects" in caveat for caveat in finding.caveats)
    for allow, passes in (((), False), (("inconclusive",), False), (("too_few",), True)):
        gate = Gate(attribute="a", family="default", unless="within_margin", allow=allow)
        (result,) = judge(table, [gate])
        assert result.passed is passes
        assert "g2" in result.sentence
    # without the small group the rest is within the margin
    assert worst([6000, 6000], [600, 600])["verdict"] == SMALL


def test_a_gate_needs_both_where_a_group_is_left_out_and_the_rest_is_open() -> None:
    table = disparities(world([100, 100, 4], {"x": [10, 12, 4]}), SURE)
    passes = []
    for allow in (("too_few",), ("inconclusive",), ("too_few", "inconclusive")):
        gate = Gate(attribute="a", family="default", fail_if="exceeds_margin", allow=allow)
        passes += [result.passed for result in judge(table, [gate])]
    assert passes == [False, False, True]


# ---- ratios where they matter ------------------------------------------------------------------


@pytest.mark.slow
def test_eighty_times_as_often_is_not_small_for_a_harmful_label() -> None:
    harmless, harmful = (worst([20000, 20000], [10, 800], f) for f in ("default", "crime"))
    assert harmless["verdict"] == SMALL
    assert np.isnan(harmless["ratio_margin"])
    assert (harmful["verdict"], harmful["basis"]) == (LARGE, "ratio")
    assert harmful["ratio"] == pytest.approx(80)
    assert 1.25 < harmful["ratio_low"] < 80
    table = disparities(world([20000, 20000], {"x": [10, 800]}, "crime"), SURE)
    (finding,) = found(world([20000, 20000], {"x": [10, 800]}, "crime"), table)
    assert finding.severity == "high"
    assert "the largest ratio of two groups is 80 times, at least" in finding.statement
    assert "exceeds the margin of 1.25 times" in finding.statement
    gate = Gate(attribute="a", family="crime", unless="within_margin", allow=("inconclusive",))
    assert not judge(table, [gate])[0].passed


@pytest.mark.slow
def test_small_needs_both_scales_where_a_ratio_binds() -> None:
    points = Confidence.model_validate({"margins": {"crime": {"ratio": None}}})
    assert worst([6000, 6000], [60, 66], "crime", points)["verdict"] == SMALL
    row = worst([6000, 6000], [60, 66], "crime")
    assert row["verdict"] == OPEN
    assert row["ratio_high"] > 1.25
    assert worst([400_000, 400_000], [4000, 4100], "crime")["verdict"] == SMALL


def test_no_event_against_none_is_judged_by_the_difference() -> None:
    row = worst([1500, 1500], [0, 0], "crime")
    assert row["verdict"] == SMALL


def test_a_ratio_against_no_event_has_a_lower_bound() -> None:
    table = disparities(world([1500, 1500], {"x": [0, 60]}, "crime"), SURE)
    ratio = table[table["comparison"] == "ratio"].iloc[0]
    assert np.isnan(ratio["value"])
    assert ratio["status"] == "undefined"
    assert "one side only" in ratio["reason"]
    row = table[table["comparison"] == "worst_case_gap"].iloc[0]
    low = proportion_confint(60, 1500, alpha=0.025, method="wilson")[0]
    high = proportion_confint(0, 1500, alpha=0.025, method="beta")[1]
    assert row["ratio_low"] == pytest.approx(low / high, rel=1e-6)
    assert (row["verdict"], row["basis"]) == (LARGE, "ratio")


def test_the_ratio_is_waived_where_every_rate_is_surely_negligible() -> None:
    sealed = {"margins": {"crime": {"negligible": 0.01}}}
    sure = Confidence.model_validate(sealed)
    row = worst([6000, 6000], [6, 12], "crime", sure)
    assert (row["verdict"], row["basis"]) == (SMALL, "difference, all rates negligible")
    assert worst([6000, 6000], [6, 12], "crime")["verdict"] == OPEN
    assert worst([6000, 6000], [6, 70], "crime", sure)["verdict"] == LARGE  # 1.2 % is no longer


# ---- 'no two groups differ' is one claim -------------------------------------------------------


def test_small_rests_on_every_pair_alone() -> None:
    row = worst([1500] * 14, [150] * 14)
    assert row["verdict"] == SMALL
    ends = confint_proportions_2indep(150, 1500, 150, 1500, method="newcomb", alpha=0.1)
    assert row["high_equivalence"] == pytest.approx(ends[1], abs=2e-4)
    assert row["high_simultaneous"] > row["high_equivalence"]
    assert resting_bounds(row) == (row["low_simultaneous"], row["high_equivalence"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "p"), [((400, 400), (0.10, 0.15)), ((60, 6000), (0.95, 0.90)), ((150, 3000), (0.3, 0.4))]
)
def test_small_errs_at_the_boundary_as_often_as_allowed(
    n: tuple[int, int], p: tuple[float, float]
) -> None:
    """Every outcome of two binomial groups whose gap is the margin, weighed by its chance."""
    margin = abs(p[0] - p[1])
    sure = Confidence.model_validate({"margins": {"default": {"difference": margin}}})
    likely = [
        stats.binom.ppf([0.0005, 0.9995], m, q).astype(int) for m, q in zip(n, p, strict=True)
    ]
    step = [max(1, (hi - lo) // 25) for lo, hi in likely]
    wrong = total = 0.0
    for x in range(likely[0][0], likely[0][1] + 1, step[0]):
        ys = np.arange(likely[1][0], likely[1][1] + 1, step[1])
        weight = stats.binom.pmf(x, n[0], p[0]) * stats.binom.pmf(ys, n[1], p[1])
        labels = {str(y): [x, int(y)] for y in ys}
        table = disparities(world(n, labels), sure)
        small = table.loc[table["comparison"] == "worst_case_gap", "verdict"] == SMALL
        wrong, total = wrong + weight[small.to_numpy()].sum(), total + weight.sum()
    assert wrong / total < 0.055


def test_bounds_of_pairs_hold_together_and_a_pair_is_small_with_all_the_others() -> None:
    table = disparities(world([1500] * 14, {"x": [150] * 14}), SURE)
    pairs = table[(table["comparison"] == "difference") & (table["other"] != "the rest")]
    assert len(pairs) == 91
    assert set(pairs["verdict"]) == {SMALL}
    assert (pairs["high_simultaneous"] > pairs["high_equivalence"]).all()


# ---- what else is asked moves no primary verdict -----------------------------------------------

LARGE_GAP = {"thief": [160, 80]}
CLAIM = Claim(attribute="a", label="thief", why="a test")


def settled(
    tally: Tally, claims: Sequence[Claim] = (CLAIM,), sure: Confidence = SURE
) -> pd.DataFrame:
    table = disparities(tally, sure)
    explored = table.index.isin(judged(table, rates(tally)).index)
    return settle(table, [tally], claims, sure, explored)


def primary(table: pd.DataFrame) -> pd.Series:
    (row,) = [row for _, row in table[table["role"] == "primary"].iterrows()]
    return row


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {f"empty {i}": [0, 0] for i in range(20)},
        {"not thief": [640, 720]},
        {f"noise {i}": [100 + i, 100] for i in range(30)},
    ],
)
def test_other_labels_move_neither_bounds_nor_verdict(more: dict[str, list[int]]) -> None:
    alone = primary(settled(world([800, 800], LARGE_GAP)))
    among = primary(settled(world([800, 800], LARGE_GAP | more)))
    assert alone["verdict"] == among["verdict"] == LARGE
    moved = ["low_simultaneous", "high_simultaneous", "high_equivalence", "p_margin", "q_margin"]
    assert among[moved].tolist() == alone[moved].tolist()


def test_a_new_group_moves_no_declared_pair() -> None:
    claim = Claim(attribute="a", label="thief", groups=("g0", "g1"))
    two = primary(settled(world([800, 800], LARGE_GAP), [claim]))
    many = primary(settled(world([800, 800, *[35] * 5], {"thief": [160, 80, *[5] * 5]}), [claim]))
    assert two["comparison"] == many["comparison"] == "difference"
    assert two["verdict"] == many["verdict"] == LARGE
    names = ["low_simultaneous", "high_simultaneous", "low_equivalence", "p_margin", "q_margin"]
    assert many[names].tolist() == two[names].tolist()
    assert two["low_simultaneous"] == pytest.approx(0.0653, abs=1e-3)


@pytest.mark.slow
def test_several_primary_questions_share_the_error_by_holm() -> None:
    labels = {"one": [1600, 800], "two": [1280, 800], "three": [1160, 800]}
    claims = [Claim(attribute="a", label=name) for name in labels]
    table = settled(world([8000, 8000], labels), claims)
    rows = table[table["role"] == "primary"].set_index("label")
    assert rows.loc["one", "verdict"] == LARGE
    # 'one' is decided at a third of the error, so 'two' and 'three' share what is left
    assert rows.loc["one", "level_each"] == pytest.approx(1 - 0.05 / 3)
    assert rows.loc["three", "level_each"] == pytest.approx(1 - 0.05 / 2)
    low, high = confint_proportions_2indep(1600, 8000, 800, 8000, method="newcomb", alpha=0.05 / 3)
    ends = rows.loc["one", ["low_simultaneous", "high_simultaneous"]].astype(float)
    assert ends.tolist() == pytest.approx([low, high], abs=1e-9)
    assert rows["q_margin"].is_monotonic_increasing
    assert rows.loc["one", "q_margin"] == pytest.approx(3 * rows.loc["one", "p_margin"])


@pytest.mark.slow
def test_exploratory_verdicts_need_a_false_discovery_rate() -> None:
    many = {f"noise {i}": [100, 70] for i in range(300)}
    claim = Claim(attribute="a", label="noise 0")
    table = settled(world([800, 800], {"thief": [160, 90]} | many), [claim])
    row = table[(table["label"] == "thief") & (table["comparison"] == "worst_case_gap")].iloc[0]
    assert row["role"] == "exploratory"
    alone = settled(
        world([800, 800], {"thief": [160, 90], "noise 0": [80, 80]}),
        [claim],
    )
    first = alone[(alone["label"] == "thief") & (alone["comparison"] == "worst_case_gap")].iloc[0]
    assert first["verdict"] == LARGE
    assert row["q_margin"] > 0.05 > first["q_margin"] == first["p_margin"]
    assert row["low_simultaneous"] == first["low_simultaneous"]
    assert row["verdict"] == OPEN
    assert "exploratory questions" in row["reason"]


def test_gates_judge_primary_questions_only_and_all_gaps_where_none_is_declared() -> None:
    tally = world([800, 800], LARGE_GAP | {"other": [400, 100]}, "crime")
    gate = Gate(attribute="a", family="crime", fail_if="exceeds_margin")
    assert [r.label for r in judge(settled(tally), [gate])] == ["thief"]
    assert len(judge(disparities(tally, SURE), [gate])) == 2


def test_a_gated_gap_is_primary_where_nothing_is_declared() -> None:
    tally = world([800, 800], LARGE_GAP | {"other": [90, 80]})
    table = disparities(tally, SURE)
    explored = table.index.isin(judged(table, rates(tally)).index)
    got = settle(table, [tally], (), SURE, explored, lambda attribute, family: attribute == "a")
    assert (got["role"] == "primary").sum() == 2
    assert (got["role"] == "exploratory").sum() == 0


def test_p_and_verdict_agree() -> None:
    """p against the margin is at most alpha exactly where the bounds decide."""
    labels = {f"{x}": [x, 80] for x in range(60, 200, 4)}
    table = disparities(world([800, 800], labels), SURE)
    rows = table[table["comparison"] == "worst_case_gap"]
    decided = rows["verdict"] != OPEN
    near = (rows["p_margin"] - 0.05).abs() < 0.004  # p is interpolated
    assert ((rows["p_margin"] <= 0.05) == decided)[~near].all()
    assert 3 < decided.sum() < len(rows)


# ---- order of findings, and power --------------------------------------------------------------


def test_findings_are_ordered_by_severity_and_then_by_size_in_margins() -> None:
    measure = {
        "probe": "p", "task": "t", "condition": "c", "metric": "accuracy_change", "unit": "points",
        "attribute": "everyone", "group": "everyone", "margin": 5.0, "verdict": LARGE,
        "harm": "quality of service", "statement": "s",
    }  # fmt: skip
    sizes = {"six": (4, 6, 8), "loss": (-70, -60, -50), "half": (20, 30, 40)}
    rows = [
        {
            **measure,
            "label": name,
            "low_simultaneous": low,
            "value": value,
            "high_simultaneous": high,
        }
        for name, (low, value, high) in sizes.items()
    ]
    tally = world([2000, 2000], {"gap": [1950, 50]}, "misclassification")
    ordered = find(rates(tally), disparities(tally, SURE), measured(rows), {}, {"a": "generator"})
    assert [f.label for f in ordered] == ["gap", "loss", "half", "six"]


@pytest.mark.parametrize("ratio", [1.25, 2.0])
def test_subjects_needed_to_lie_within_a_ratio(ratio: float) -> None:
    n = int(needed_n_for_ratio(0.1, ratio, level=0.9, power=0.8))
    rng = np.random.default_rng(1)
    x = rng.binomial(n, 0.1, (4000, 2)) / n
    error = np.sqrt((1 / x - 1).sum(axis=1) / n)
    within = np.abs(np.log(x[:, 0] / x[:, 1])) + 1.6449 * error < np.log(ratio)
    assert within.mean() == pytest.approx(0.8, abs=0.03)


def test_subjects_needed_to_exceed_a_margin() -> None:
    n = int(needed_n_beyond(0.1, 0.1, 0.05, level=0.95, power=0.8))
    rng = np.random.default_rng(2)
    x = rng.binomial(n, [0.1, 0.2], (4000, 2)) / n
    error = np.sqrt((x * (1 - x)).sum(axis=1) / n)
    assert (x[:, 1] - x[:, 0] - 1.96 * error > 0.05).mean() == pytest.approx(0.8, abs=0.03)
    n = int(needed_n_beyond_ratio(0.1, 0.1, 1.25, level=0.95, power=0.8))
    x = rng.binomial(n, [0.1, 0.2], (4000, 2)) / n
    error = np.sqrt((1 / x - 1).sum(axis=1) / n)
    far = np.log(x[:, 1] / x[:, 0]) - 1.96 * error > np.log(1.25)
    assert far.mean() == pytest.approx(0.8, abs=0.03)


def test_the_combined_rule_needs_the_dearer_scale_to_be_small_and_the_cheaper_to_be_large() -> None:
    points = Confidence.model_validate({"margins": {"crime": {"ratio": None}}})
    assert needed_to_be_within(SURE, "crime", 1) > needed_to_be_within(points, "crime", 1)
    assert needed_to_exceed(SURE, "crime", 1) < needed_to_exceed(points, "crime", 1)
    # about 1,520 a group in 14 groups, as simulated independently
    assert needed_to_be_within(SURE, "default", 91) == pytest.approx(1560, rel=0.04)


# ---- what a second pair of eyes found ----------------------------------------------------------


def test_a_declared_pair_says_nothing_of_other_groups() -> None:
    tally = world([3000, 3000, 3000], {"x": [300, 310, 900]})
    table = settled(tally, [Claim(attribute="a", label="x", groups=("g1", "g0"))])
    pair = next(f for f in found(tally, table) if f.role == "primary")
    assert pair.verdict == SMALL
    assert "no two groups" not in pair.statement
    assert "they differ by less than 5 points" in pair.statement
    assert primary(table)["family_size"] == 1


def test_without_any_event_p_is_that_of_the_difference() -> None:
    harmful, harmless = (worst([1500, 1500], [0, 0], f) for f in ("crime", "default"))
    assert harmful["p_margin"] == harmless["p_margin"] < 1e-6
    assert harmful["basis"] == "difference"
    tally = world([1500, 1500], {"never": [0, 0], "other": [300, 150]}, "crime")
    table = settled(tally, [Claim(attribute="a", label="other")])
    row = table[(table["label"] == "never") & (table["comparison"] == "worst_case_gap")].iloc[0]
    assert (row["role"], row["verdict"]) == ("exploratory", SMALL)


def test_a_waived_ratio_is_in_p() -> None:
    sure = Confidence.model_validate({"margins": {"crime": {"negligible": 0.01}}})
    row = worst([3000, 3000], [18, 8], "crime", sure)
    assert row["basis"] == "difference, all rates negligible"
    assert 0.005 < row["p_margin"] < 0.05


def test_a_pair_of_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="between 'g0' and itself"):
        Claim(attribute="a", label="x", groups=("g0", "g0"))


def test_gates_of_a_suite_that_declares_judge_nothing_else() -> None:
    table = disparities(world([800, 800], {"x": [160, 80]}), SURE)
    gate = Gate(attribute="a", family="default", unless="within_margin")
    (result,) = judge(table, [gate], declared=True)
    assert not result.passed
    assert "nothing to judge" in result.sentence


def test_a_gate_prints_the_ratio_that_a_verdict_rests_on() -> None:
    table = disparities(world([20000, 20000], {"x": [10, 800]}, "crime"), SURE)
    gate = Gate(attribute="a", family="crime", fail_if="exceeds_margin")
    assert "ratio 80 times, at least 40" in judge(table, [gate])[0].sentence


@pytest.mark.slow
def test_what_a_question_lost_its_pairs_lose_too() -> None:
    many = {f"noise {i}": [100, 70] for i in range(100)}
    table = settled(world([800, 800], {"thief": [160, 90]} | many), [])
    rows = table[(table["label"] == "thief") & (table["comparison"] != "ratio")]
    judged_rows = rows[rows["comparison"].isin(["difference", "worst_case_gap"])]
    assert set(judged_rows["verdict"]) == {OPEN}


@pytest.mark.slow
def test_label_errors_are_told_only_of_verdicts_that_differences_give() -> None:
    tally = world([1500, 1500], {f"l{i}": [275, 150] for i in range(10)})
    claims = [Claim(attribute="a", label=f"l{i}") for i in range(10)]
    assert {f.label_errors for f in found(tally, settled(tally, claims))} == {None}

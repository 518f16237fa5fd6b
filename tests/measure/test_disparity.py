"""Tallies, rates and disparities against counting by hand, statsmodels and fairlearn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, selection_rate
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from audit.core.tables import DISPARITIES, RATES
from audit.core.verdicts import size_bounds
from audit.data.labels import LabelSet, load_label_set
from audit.measure.confidence import Confidence
from audit.measure.disparity import disparities
from audit.measure.metrics import METRICS, Block, Groups, Tally, rates, tally
from audit.stats.counts import count

LABELS = load_label_set("people-suspicion")
SURE = Confidence()


def choices(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Random choices among the suspicion labels for n pictures in one condition."""
    texts = np.array(LABELS.texts, dtype=object)
    return pd.DataFrame(
        {
            "probe": "classification",
            "task": "t",
            "condition": "ensemble",
            "image_id": [f"i{i}" for i in range(n)],
            "predicted": texts[rng.integers(len(texts), size=n)],
            "score": 0.5,
            "margin": 0.1,
            "tie": False,
            "truth": np.where(rng.random(n) < 0.8, texts[0], None),
        }
    )


def groups(rng: np.random.Generator, n: int, k: int = 3, per_subject: int = 1) -> Groups:
    """k random groups of one attribute, subjects of ``per_subject`` pictures."""
    code = rng.integers(k, size=n)
    member = np.column_stack([np.ones(n, bool), *(code == j for j in range(k))])
    subject = np.arange(n) // per_subject
    index = pd.MultiIndex.from_tuples(
        [("everyone", "everyone"), *(("a", f"g{j}") for j in range(k))],
        names=["attribute", "group"],
    )
    ids = tuple(f"s{s}" for s in range(subject.max() + 1))
    return Groups(index, member, subject, ids, {f"i{i}": i for i in range(n)})


def row(table: pd.DataFrame, **where: object) -> pd.Series:
    """The one row that matches."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def test_rates_are_counted_as_by_hand_and_fairlearn() -> None:
    rng = np.random.default_rng(1)
    asked, who = choices(rng, 500), groups(rng, 500)
    table = rates(tally(asked, LABELS, who))
    code = who.member[:, 1:].argmax(axis=1)
    frame = MetricFrame(
        metrics=selection_rate,
        y_true=np.zeros(500),
        y_pred=(asked["predicted"] == "thief").astype(int),
        sensitive_features=pd.Series(code, name="a"),
    )
    for j in range(3):
        got = row(table, metric="selection", label="thief", group=f"g{j}")
        assert got["value"] == pytest.approx(frame.by_group[j])
        assert got["n"] == (code == j).sum()
        low, high = proportion_confint(got["events"], got["n"], method="wilson")
        assert (got["low"], got["high"]) == pytest.approx((low, high))


def test_misclassification_counts_only_pictures_with_known_truth() -> None:
    rng = np.random.default_rng(2)
    asked, who = choices(rng, 300), groups(rng, 300)
    got = row(rates(tally(asked, LABELS, who)), metric="misclassification", group="everyone")
    known = asked["truth"].notna()
    assert got["n"] == known.sum() < 300
    assert got["events"] == (known & (asked["predicted"] != asked["truth"])).sum()


def test_a_family_is_any_of_its_labels() -> None:
    rng = np.random.default_rng(3)
    asked, who = choices(rng, 300), groups(rng, 300)
    table = rates(tally(asked, LABELS, who))
    name, indices = next(iter(LABELS.families.items()))
    got = row(table, metric="family_selection", label=name, group="everyone")
    assert got["events"] == asked["predicted"].isin([LABELS.texts[i] for i in indices]).sum()


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 120))
@example(seed=0, cut=0)
@example(seed=1, cut=120)
def test_two_halves_merge_to_the_whole(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    asked, who = choices(rng, 120), groups(rng, 120, per_subject=3)
    draws = who.draws(asked["image_id"], seed=seed, resamples=100)
    whole = tally(asked, LABELS, who, draws)
    shuffled = asked.sample(frac=1, random_state=seed)
    merged = tally(shuffled[:cut], LABELS, who, draws) if cut else None
    rest = tally(shuffled[cut:], LABELS, who, draws) if cut < 120 else None
    merged = merged + rest if merged is not None and rest is not None else merged or rest
    assert isinstance(merged, Tally)
    pd.testing.assert_frame_equal(rates(merged), rates(whole))
    pd.testing.assert_frame_equal(disparities(merged, SURE), disparities(whole, SURE))


def test_tallies_of_different_questions_do_not_merge() -> None:
    rng = np.random.default_rng(4)
    asked, who = choices(rng, 50), groups(rng, 50)
    with pytest.raises(ValueError, match="same questions"):
        _ = tally(asked, LABELS, who) + tally(asked, LABELS, who, metrics=["selection"])


def tally_of(events: list[int], n: list[int], family: str = "default", per: int = 1) -> Tally:
    """One question with these events and pictures a group, ``per`` pictures a subject."""
    k, pictures = len(n), sum(n)
    code = np.repeat(np.arange(k), n)
    member = np.column_stack([np.ones(pictures, bool), *(code == j for j in range(k))])
    place = np.arange(pictures) - np.repeat(np.cumsum(n) - n, n)
    happened = (place < np.repeat(events, n))[:, None]
    subject = np.arange(pictures) // per
    index = pd.MultiIndex.from_tuples(
        [("everyone", "everyone"), *(("a", f"g{j}") for j in range(k))],
        names=["attribute", "group"],
    )
    ids = tuple(f"s{s}" for s in range(subject.max() + 1))
    who = Groups(index, member, subject, ids, {f"i{i}": i for i in range(pictures)})
    counts = count(happened, member, subject, len(ids))
    asked = ("classification", "t", "ensemble", "selection")
    return Tally(who, {asked: Block(("thief",), (family,), counts)})


def compared(events: list[int], n: list[int], sure: Confidence = SURE, family: str = "default"):
    """The disparities of one question, without a bootstrap: Bonferroni's bounds."""
    return disparities(tally_of(events, n, family), sure)


def test_a_difference_has_newcombes_interval_where_events_are_many() -> None:
    pair = row(compared([560, 480], [700, 800]), comparison="difference")
    assert pair["value"] == pytest.approx(0.2)
    ends = confint_proportions_2indep(560, 700, 480, 800, method="newcomb")
    assert (pair["low"], pair["high"]) == pytest.approx(ends)
    assert pair["family_size"] == 1
    assert pair["low_simultaneous"] == pytest.approx(pair["low"])


def test_few_events_get_an_exact_interval_and_a_wider_one() -> None:
    pair = row(compared([56, 48], [70, 80]), comparison="difference")
    low, high = confint_proportions_2indep(56, 70, 48, 80, method="newcomb")
    assert pair["low"] < low < high < pair["high"]
    measured = rates(tally_of([3, 48], [70, 80]))
    few, many = (row(measured, group=g) for g in ("g0", "g1"))
    assert (few["low"], few["high"]) == pytest.approx(proportion_confint(3, 70, method="beta"))
    assert (few["method"], many["method"]) == ("Clopper-Pearson", "Wilson")


def test_pictures_of_one_subject_widen_the_interval() -> None:
    single, several = (rates(tally_of([40, 50], [200, 200], per=per)) for per in (1, 4))
    one, four = (row(t, group="g0") for t in (single, several))
    assert (one["subjects"], four["subjects"]) == (200, 50)
    assert one["value"] == four["value"]
    assert four["high"] - four["low"] > 1.7 * (one["high"] - one["low"])
    assert four["effective_n"] == pytest.approx(50)


def test_a_group_of_one_subject_has_no_interval_and_is_compared_with_nobody() -> None:
    counted = tally_of([10, 50], [40, 200], per=40)
    alone = row(rates(counted), group="g0")
    assert (alone["status"], alone["reason"]) == ("too_few", "all pictures are of one subject")
    assert np.isnan(alone["low"])
    assert row(disparities(counted, SURE), comparison="difference")["status"] == "too_few"


def test_simultaneous_bounds_are_at_the_familys_level() -> None:
    got = compared([300, 500, 700], [2000, 2100, 2200])
    pair = row(got, comparison="difference", group="g0", other="g1")
    assert pair["family_size"] == 3
    assert pair["level_each"] == pytest.approx(1 - 0.05 / 3)
    low, high = confint_proportions_2indep(300, 2000, 500, 2100, method="newcomb", alpha=0.05 / 3)
    bounds = pair["low_simultaneous"], pair["high_simultaneous"]
    assert bounds == pytest.approx((low, high), abs=1e-9)


def test_the_rest_is_everybody_else_pooled() -> None:
    got = compared([30, 50, 70], [200, 210, 220])
    rest = row(got, comparison="difference", group="g2", other="the rest")
    assert (rest["events_other"], rest["n_other"]) == (80, 410)
    assert rest["value"] == pytest.approx(70 / 220 - 80 / 410)


@pytest.mark.parametrize(
    ("events", "n", "verdict"),
    [
        ([900, 100], [1000, 1000], "exceeds margin"),
        ([100, 100], [2000, 2000], "within margin"),
        ([10, 12], [60, 60], "inconclusive"),
        ([150, 100], [1000, 1000], "inconclusive"),  # at the margin itself
    ],
)
def test_the_one_rule(events: list[int], n: list[int], verdict: str) -> None:
    got = compared(events, n)
    assert row(got, comparison="worst_case_gap")["verdict"] == verdict


def test_the_worst_gap_is_the_widest_pair_with_the_widest_bounds() -> None:
    got = compared([30, 50, 90], [200, 210, 220])
    worst = row(got, comparison="worst_case_gap")
    assert (worst["group"], worst["other"]) == ("g2", "g0")
    assert worst["value"] == pytest.approx(90 / 220 - 30 / 200)
    pairs = got[(got["comparison"] == "difference") & (got["other"] != "the rest")]
    least, most = size_bounds(
        pairs["low_simultaneous"].to_numpy(), pairs["high_simultaneous"].to_numpy()
    )
    assert worst["low_simultaneous"] == least.max()
    assert worst["high_simultaneous"] == most.max()


def test_a_small_group_is_compared_with_nobody_and_says_why() -> None:
    got = compared([3, 50, 70], [4, 210, 220])
    pair = row(got, comparison="difference", group="g0", other="g1")
    assert pair["status"] == "too_few"
    assert "g0: fewer than 5 subjects" in pair["reason"]
    assert np.isnan(pair["p"])
    assert pair["verdict"] == "inconclusive"
    sound = row(got, comparison="difference", group="g1", other="g2")
    assert sound["status"] == "ok"
    assert sound["family_size"] == 1  # groups against the rest are a family of their own
    rest = got[(got["comparison"] == "difference") & (got["other"] == "the rest")]
    assert rest["family_size"].tolist() == [2, 2, 2]


def test_no_events_is_no_ratio_and_an_empty_group_undefined() -> None:
    got = compared([0, 50, 0], [200, 210, 0])
    ratio = row(got, comparison="ratio", group="g0", other="g1")
    assert ratio["status"] == "undefined"
    assert np.isnan(ratio["value"])
    assert "no event" in ratio["reason"]
    pair = row(got, comparison="difference", group="g1", other="g2")
    assert pair["status"] == "undefined"


def test_a_ratio_takes_the_logarithms_of_wilsons_bounds_and_uses_the_ratio_margin() -> None:
    got = row(compared([600, 200], [2000, 2000], family="crime"), comparison="ratio")
    (l1, u1), (l2, u2) = (np.log(proportion_confint(x, 2000, method="wilson")) for x in (600, 200))
    p, q = np.log(0.3), np.log(0.1)
    ends = p - q - np.hypot(p - l1, u2 - q), p - q + np.hypot(u1 - p, q - l2)
    assert got["value"] == pytest.approx(3.0)
    assert (got["low"], got["high"]) == pytest.approx(np.exp(ends))
    assert got["verdict"] == "exceeds margin"
    without = row(compared([600, 200], [2000, 2000]), comparison="ratio")
    assert without["verdict"] == "not judged"
    assert (without["low"], without["high"]) == pytest.approx(np.exp(ends))


def test_one_usable_group_has_no_worst_case_but_a_reason() -> None:
    worst = row(compared([3, 50], [4, 210]), comparison="worst_case_gap")
    assert worst["verdict"] == "inconclusive"
    assert "fewer than two groups" in worst["reason"]


def test_margins_belong_to_label_families() -> None:
    only_points = {"difference": 0.3, "ratio": None}
    sure = Confidence.model_validate({"margins": {"crime": only_points}})
    got = compared([400, 200], [1000, 1000], sure, "crime")
    assert row(got, comparison="difference")["verdict"] == "within margin"
    both = Confidence.model_validate({"margins": {"crime": {"difference": 0.3}}})
    got = compared([400, 200], [1000, 1000], both, "crime")
    assert row(got, comparison="difference")["verdict"] == "exceeds margin"  # twice as often
    got = compared([400, 200], [1000, 1000], sure)
    assert row(got, comparison="difference")["verdict"] == "exceeds margin"


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(30, 400), st.floats(0, 1)), min_size=2, max_size=4))
def test_relabelling_groups_turns_differences_round(cells: list[tuple[int, float]]) -> None:
    n = [c[0] for c in cells]
    events = [int(c[0] * c[1]) for c in cells]
    ahead = compared(events, n)
    back = compared(events[::-1], n[::-1])
    k = len(n)
    names = {f"g{j}": f"g{k - 1 - j}" for j in range(k)}
    for _, pair in ahead[ahead["comparison"] == "difference"].iterrows():
        if pair["other"] == "the rest":
            mirror = row(
                back, comparison="difference", group=names[pair["group"]], other="the rest"
            )
            assert pair["value"] == pytest.approx(mirror["value"])
            continue
        mirror = row(
            back, comparison="difference", group=names[pair["other"]], other=names[pair["group"]]
        )
        assert pair["value"] == pytest.approx(-mirror["value"])
        assert pair["low_simultaneous"] == pytest.approx(-mirror["high_simultaneous"])
        assert pair["q"] == pytest.approx(mirror["q"])
    one, other = (row(t, comparison="worst_case_gap") for t in (ahead, back))
    assert one["value"] == pytest.approx(other["value"])
    assert one["verdict"] == other["verdict"]


@pytest.mark.slow
def test_tables_fit_their_schemas(tmp_path) -> None:
    counted = tally_of([30, 50, 3], [200, 210, 4])
    for schema, table in ((RATES, rates(counted)), (DISPARITIES, disparities(counted, SURE))):
        schema.write(table, tmp_path / "t.parquet")
        pd.testing.assert_frame_equal(schema.read(tmp_path / "t.parquet"), table)


def test_every_metric_explains_itself() -> None:
    for name in METRICS:
        assert (METRICS[name].__doc__ or "").strip(), name


def test_unknown_labels_set_is_a_label_set() -> None:
    assert isinstance(LABELS, LabelSet)
    assert LABELS.needs_acknowledgement

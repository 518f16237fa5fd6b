"""Pooled rates and comparisons of an intersection's cells, in worlds that are known."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.core.errors import InputError
from audit.core.tables import DISPARITIES, MEASURES
from audit.core.verdicts import size_bounds
from audit.engine.gates import Gate, judge
from audit.engine.suite import load_suite
from audit.measure import intersections
from audit.measure.confidence import Confidence
from audit.measure.disparity import disparities
from audit.measure.findings import find
from audit.measure.intersections import FLOOR, compare_pooled, pooled, pooled_rates
from audit.measure.metrics import Block, Groups, Tally, rates
from audit.stats.clustered import Sample, difference_interval, rate_interval
from audit.stats.counts import count, sample_of

POOLED = [name for name in DISPARITIES.columns if name.startswith("pooled_")]
SURE = Confidence(min_group=5)


def crossed(*sizes: int) -> np.ndarray:
    return np.array(np.meshgrid(*map(range, sizes), indexing="ij")).reshape(len(sizes), -1)


def names(factors: np.ndarray) -> list[str]:
    return [" x ".join(f"{'ab'[i]}{code}" for i, code in enumerate(cell)) for cell in factors.T]


def sample(rate: np.ndarray, n: np.ndarray, audits: int, seed: int, rest: bool = False) -> Sample:
    """``audits`` questions with these true rates, pictures of different people."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(n)), n)
    happened = rng.random((len(codes), audits)) < rate[codes][:, np.newaxis]
    return sample_of(happened, codes, np.arange(len(codes)), len(n), resamples=0, rest=rest)


def everything(cells: int) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.triu_indices(cells, 1)
    return np.r_[one, np.arange(cells)], np.r_[other, np.arange(cells) + cells]


def compared(rate: np.ndarray, n: np.ndarray, factors: np.ndarray, audits: int, seed: int):
    """Pooled verdicts and raw ones of the same rule and of as many comparisons, (audits, P)."""
    found, pairs = sample(rate, n, audits, seed, rest=True), everything(len(n))
    usable = np.ones((audits, len(pairs[0])), bool)
    model = pooled(found, np.arange(len(n)), names(factors), 0.95)
    told = compare_pooled(model, found, pairs, usable, 0.95)
    each = 1 - 0.05 / len(pairs[0])
    least = size_bounds(*difference_interval(found, *pairs, each))[0]
    return told, least


def tally_of(events: np.ndarray, n: np.ndarray, cells: list[str], attribute: str) -> Tally:
    """One question of these cells; the last of ``cells`` may be of another attribute."""
    codes = np.repeat(np.arange(len(n)), n)
    happened = np.concatenate([np.arange(size) < x for x, size in zip(events, n, strict=True)])
    member = np.column_stack([np.ones(len(codes), bool), codes[:, np.newaxis] == np.arange(len(n))])
    index = pd.MultiIndex.from_tuples(
        [("everyone", "everyone"), *((attribute, cell) for cell in cells)],
        names=["attribute", "group"],
    )
    ids = tuple(f"s{i}" for i in range(len(codes)))
    groups = Groups(index, member, np.arange(len(codes)), ids, {})
    counts = count(happened[:, np.newaxis], member, np.arange(len(codes)), len(codes))
    asked = ("classification", "t", "ensemble", "selection")
    return Tally(groups, {asked: Block(("thief",), ("crime",), counts)})


FACTORS = crossed(2, 5)
N = np.array([20, 35, 12, 40, 25, 30, 15, 45, 18, 22])
# each attribute moves the rate, so b4 of a1 is 44 points above b0 of a0
APART = 0.1 + 0.2 * FACTORS[0] + 0.06 * FACTORS[1]


def test_a_real_gap_is_found_that_the_raw_verdict_leaves_open() -> None:
    told, least = compared(APART, N, FACTORS, 300, 1)
    pairs = 45
    raw = (least[:, :pairs].max(axis=1) > 0.05).mean()
    widest = intersections.largest(told, pairs, 0.05)["pooled_verdict"][:, 0]
    assert raw < 0.6
    assert (widest == "exceeds margin").mean() > raw + 0.15
    assert not (widest == "within margin").any()


@pytest.mark.parametrize("base", [0.05, 0.3])
def test_where_nothing_differs_nothing_exceeds_the_margin(base: float) -> None:
    told, _ = compared(np.full(10, base), N, FACTORS, 300, 2)
    wrong = (told.verdicts(0.05) == "exceeds margin").any(axis=1).mean()
    assert wrong <= 0.05
    assert (told.low <= 1e-12).mean() > 0.95  # holds 0
    assert (told.high >= -1e-12).mean() > 0.95


def test_a_gap_of_just_the_margin_is_seldom_judged() -> None:
    """One cell in which 60 points would add up lies just 5 points above the rest."""
    rate = APART.copy()
    rate[-1] = np.average(APART[:-1], weights=N[:-1]) + 0.05
    told, _ = compared(rate, N, FACTORS, 400, 3)
    last = told.verdicts(0.05)[:, -1]
    assert (last == "exceeds margin").mean() <= 0.05
    assert (last == "within margin").mean() <= 0.05


@pytest.mark.slow
def test_the_odd_cell_is_covered_better_than_by_the_model_alone() -> None:
    """63 cells, one 30 points above all others: the model alone misses it most of the time."""
    factors = crossed(7, 9)
    n = np.random.default_rng(0).integers(8, 50, 63)
    n[-1] = 20
    rate = np.full(63, 0.3)
    rate[-1] = 0.6
    found = sample(rate, n, 200, 4)
    model = pooled(found, np.arange(63), names(factors), 0.95)
    _, low, high = pooled_rates(found, np.arange(63), names(factors), 0.95)
    inside = (low <= rate) & (rate <= high)
    alone = (model.low <= rate) & (rate <= model.high)
    assert alone[:, -1].mean() < 0.5
    assert inside[:, -1].mean() > FLOOR
    assert inside.mean() > 0.95


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 60), st.floats(0, 1)), min_size=6, max_size=6),
    st.sampled_from([0.8, 0.95]),
)
def test_bounds_hold_the_pooled_rate_and_the_raw_interval(cells, level) -> None:
    n = np.array([size for size, _ in cells])
    events = np.array([round(size * share) for size, share in cells])
    codes = np.repeat(np.arange(6), n)
    happened = np.concatenate([np.arange(size) < x for x, size in zip(events, n, strict=True)])
    found = sample_of(happened[:, None], codes, np.arange(len(codes)), 6, resamples=0, rest=True)
    factors = crossed(2, 3)
    rate, low, high = pooled_rates(found, np.arange(6), names(factors), level)
    if events.sum() in (0, n.sum()):
        assert np.isnan(rate).all()
        return
    raw_low, raw_high = rate_interval(found, FLOOR)
    assert (low <= rate).all()
    assert (rate <= high).all()
    assert (low <= raw_low[:, :6]).all()
    assert (raw_high[:, :6] <= high).all()
    pairs = everything(6)
    model = pooled(found, np.arange(6), names(factors), level)
    told = compare_pooled(model, found, pairs, np.ones((1, 21), bool), level)
    for one, other in ((told.low_all, told.low), (told.low, told.value)):
        assert (one <= other + 1e-12).all()
    for one, other in ((told.value, told.high), (told.high, told.high_all)):
        assert (one <= other + 1e-12).all()


def test_a_large_cell_keeps_its_own_rate_and_interval() -> None:
    rng = np.random.default_rng(5)
    rate = np.clip(APART + rng.normal(0, 0.05, 10), 0.02, 0.98)
    apart = []
    for times in (1, 100, 10_000):
        n = N.copy()
        n[3] *= times
        events = np.round(rate * n).astype(int)
        found = Sample(
            n[None],
            events[None],
            n[None],
            n[None] * 1.0,
            n[None] * 1.0,
            None,
            np.eye(10, dtype=bool),
        )
        raw = found.rate[0, 3], *(bound[0, 3] for bound in rate_interval(found))
        near = [bound[0, 3] for bound in pooled_rates(found, np.arange(10), names(FACTORS), 0.95)]
        width = raw[2] - raw[1]
        apart.append(max(abs(a - b) for a, b in zip(raw, near, strict=True)) / width)
    assert apart[0] > 0.05
    assert apart[2] < 0.02


def test_copies_of_every_picture_change_nothing() -> None:
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(10), N)
    happened = rng.random((len(codes), 2)) < APART[codes][:, np.newaxis]
    people = np.arange(len(codes))
    once = sample_of(happened, codes, people, 10, resamples=0)
    thrice = sample_of(
        *(np.repeat(x, 3, axis=0) for x in (happened, codes, people)), 10, resamples=0
    )
    for a, b in zip(
        pooled_rates(once, np.arange(10), names(FACTORS), 0.95),
        pooled_rates(thrice, np.arange(10), names(FACTORS), 0.95),
        strict=True,
    ):
        np.testing.assert_allclose(a, b)


def table_of(rate: np.ndarray, attribute: str = "a x b") -> tuple[pd.DataFrame, Tally]:
    cells = names(FACTORS)
    if " x " not in attribute:
        cells = [cell.replace(" x ", "") for cell in cells]
    told = tally_of(np.round(rate * N).astype(int), N, cells, attribute)
    return disparities(told, SURE), told


def test_the_table_holds_both_verdicts_side_by_side() -> None:
    table, told = table_of(APART)
    differences = table[table["comparison"] == "difference"]
    worst = table[table["comparison"] == "worst_case_gap"].iloc[0]
    assert worst["verdict"] == "inconclusive"
    assert worst["pooled_verdict"] == "exceeds margin"
    assert worst["pooled_low_simultaneous"] > 0.05
    pairs = differences[differences["other"] != "the rest"]
    assert worst["pooled_value"] == pairs["pooled_value"].abs().max()
    assert worst["pooled_high"] == pairs[["pooled_low", "pooled_high"]].abs().to_numpy().max()
    # the difference of two pooled rates is that of the table of rates
    table_of_rates = rates(told, min_group=5).set_index("group")["pooled"]
    for row in pairs.itertuples():
        d = table_of_rates[row.group] - table_of_rates[row.other]
        assert row.pooled_value == pytest.approx(d)
    assert (differences["pooled_verdict"] != "").all()
    others = table[~table["comparison"].isin(["difference", "worst_case_gap"])]
    assert (others["pooled_verdict"] == "").all()
    assert others["pooled_value"].isna().all()


@pytest.mark.slow
def test_no_finding_and_no_gate_reads_what_is_pooled() -> None:
    table, told = table_of(APART)
    other = table.assign(pooled_verdict="within margin", **dict.fromkeys(POOLED[:-1], 0.001))
    assert not other.equals(table)
    gate = Gate(attribute="a x b", family="*", fail_if="exceeds_margin")
    rows = rates(told, min_group=5)
    assert judge(table, [gate]) == judge(other, [gate])
    nothing = MEASURES.empty()
    assert find(rows, table, nothing, {}, {}) == find(rows, other, nothing, {}, {})


def test_groups_of_one_attribute_are_not_pooled() -> None:
    table, _ = table_of(APART, "a")
    assert (table["pooled_verdict"] == "").all()
    assert table[POOLED[:-1]].isna().all(axis=None)


def test_what_cannot_be_pooled_is_blank_and_warns_of_nothing() -> None:
    """No event anywhere; and three of four cells, which main effects fit exactly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing, _ = table_of(np.zeros(10))
        told = tally_of(
            np.array([5, 9, 4]), np.array([20, 30, 10]), names(crossed(2, 2))[:3], "a x b"
        )
        exact = disparities(told, SURE)
    for table in (nothing, exact):
        assert (table["pooled_verdict"] == "").all()
        assert table[POOLED[:-1]].isna().all(axis=None)


def test_cells_too_small_to_be_compared_are_not_judged_by_the_model_either() -> None:
    n = N.copy()
    n[0] = 3
    told = tally_of(np.round(APART * n).astype(int), n, names(FACTORS), "a x b")
    table = disparities(told, SURE)
    rows = table[(table["comparison"] == "difference") & (table["group"] == "a0 x b0")]
    assert len(rows)
    assert (rows["status"] == "too_few").all()
    assert (rows["pooled_verdict"] == "").all()


def test_a_run_of_before_reads_without_pooled_verdicts(tmp_path) -> None:
    table, _ = table_of(APART)
    table.drop(columns=POOLED).to_parquet(tmp_path / "disparities.parquet", index=False)
    read = DISPARITIES.read(tmp_path / "disparities.parquet")
    assert (read["pooled_verdict"] == "").all()
    assert read["pooled_value"].isna().all()
    pd.testing.assert_frame_equal(read.drop(columns=POOLED), table.drop(columns=POOLED))


@pytest.mark.parametrize(
    ("crossed", "told"),
    [
        ("[[a, b], [b, a]]", "intersections[1]: [b, a] has the groups of an intersection above it"),
        ("[[a, a]]", "intersections[0]: [a, a] crosses no two different attributes; name two"),
        ("[[a, b, a]]", "intersections[0]: [a, b, a] crosses"),
        ("[[a]]", "intersections[0]: [a] crosses"),
    ],
)
def test_an_intersection_crosses_different_attributes_and_is_asked_once(
    tmp_path: Path, crossed: str, told: str
) -> None:
    path = tmp_path / "suite.yaml"
    rest = "name: s\nmodel: m\ndataset: d\nattributes: [a, b]\nprobes: [{kind: classification}]\n"
    path.write_text(f"{rest}intersections: {crossed}\n")
    with pytest.raises(InputError, match=re.escape(f"suite.yaml {told}")):
        load_suite(str(path))

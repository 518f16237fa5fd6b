"""Verdicts on largest gaps under wrong group labels, from tables made as a run makes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audit.core.tables import EXCEEDS, INCONCLUSIVE, MEASURES, OK, WITHIN
from audit.data.labels import load_label_set
from audit.measure.confidence import Confidence
from audit.measure.disparity import disparities
from audit.measure.findings import find, judged
from audit.measure.label_errors import SHARES, if_labels_were_wrong
from audit.measure.metrics import Groups, rates, tally

LABELS = load_label_set("people-suspicion")
OFTEN, SELDOM = LABELS.texts[:2]
#: by points alone: of a ratio, wrong labels are not followed
SURE = Confidence.model_validate(
    {"resamples": 100, "min_group": 30, "margins": {"suspicion": {"ratio": None}}}
)
NAMES = [f"{100 * share:.0f} %" for share in SHARES]


def tables(code: np.ndarray, happened: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """DISPARITIES and RATES of single pictures with these group labels; -1 is unknown."""
    groups = np.unique(code[code >= 0])
    member = np.hstack([np.ones((len(code), 1), bool), code[:, np.newaxis] == groups])
    names = [("everyone", "everyone"), *(("a", f"g{g}") for g in groups)]
    if (code < 0).any():
        names.append(("a", "unknown"))
        member = np.hstack([member, code[:, np.newaxis] < 0])
    index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
    ids = tuple(f"i{i}" for i in range(len(code)))
    rows = {key: i for i, key in enumerate(ids)}
    made = Groups(index, member, np.arange(len(code)), ids, rows)
    choices = pd.DataFrame(
        {
            "probe": "classification",
            "task": "t",
            "condition": "ensemble",
            "image_id": ids,
            "predicted": np.where(happened, OFTEN, SELDOM),
            "score": 0.5,
            "margin": 0.1,
            "tie": False,
            "truth": None,
        }
    )
    counted = tally(choices, LABELS, made, None, ["selection"])
    return disparities(counted, SURE), rates(counted, min_group=SURE.min_group)


def flipped(
    true: tuple[int, ...], rate: tuple[float, ...], share: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and events of groups of these true sizes, a share of all labels flipped."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(true)), true)
    happened = np.concatenate([np.arange(n) < r * n for n, r in zip(true, rate, strict=True)])
    wrong = rng.random(len(group)) < share
    elsewhere = (group + rng.integers(1, len(true), len(group))) % len(true)
    return np.where(wrong, elsewhere, group), happened


def again(code: np.ndarray, happened: np.ndarray) -> tuple[str, dict[str, dict[str, str]]]:
    """The verdict on the largest gap in the often chosen label, and those under errors."""
    compared, of = tables(code, happened)
    (finding,) = [f for f in find(of, compared, MEASURES.empty(), {}, {}) if f.label == OFTEN]
    assert finding.label_errors is not None
    return finding.verdict, {how: dict(v) for how, v in finding.label_errors.items()}


@pytest.mark.slow
def test_random_errors_can_hide_a_large_gap_of_a_small_group() -> None:
    """13 points in 98 to 2; 5 % of all labels flipped leave 4: small, unless errors are allowed."""
    code, happened = flipped((98_000, 2_000), (0.1, 0.23), 0.05)
    seen, found = again(code, happened)
    assert seen == WITHIN
    assert found["at random"] == dict(zip(NAMES, (WITHIN, EXCEEDS, INCONCLUSIVE), strict=True))
    assert set(found["at worst"].values()) == {INCONCLUSIVE}


@pytest.mark.slow
def test_random_errors_between_like_groups_hide_little() -> None:
    code, happened = flipped((20_000, 20_000), (0.1, 0.12), 0.05)
    seen, found = again(code, happened)
    assert seen == WITHIN
    assert set(found["at random"].values()) == {WITHIN}
    # 1 % of all labels is 2 % of each group, both ways: a gap of up to 6 points could be there
    assert found["at worst"]["1 %"] == INCONCLUSIVE


def test_a_gap_that_no_errors_could_make_stays_large() -> None:
    code, happened = flipped((5_000, 5_000), (0.1, 0.9), 0.01)
    seen, found = again(code, happened)
    assert {seen, *found["at random"].values(), *found["at worst"].values()} == {EXCEEDS}


@pytest.mark.slow
def test_another_pair_than_the_one_seen_can_be_the_largest() -> None:
    """More than half of the small group's labels are wrong, so that little is known of it."""
    code, happened = flipped((60_000, 60_000, 1_400), (0.1, 0.125, 0.13), 0.05)
    compared, of = tables(code, happened)
    worst = judged(compared, of)
    (row,) = worst[worst["label"] == OFTEN].to_dict("records")
    assert row["verdict"] == WITHIN
    pair = (compared["group"] == "g0") & (compared["other"] == "g1")
    found, alone = (
        if_labels_were_wrong(worst, pairs, of)[row["key"]] for pairs in (compared, compared[pair])
    )
    assert found["at random"]["5 %"] == INCONCLUSIVE
    assert alone["at random"]["5 %"] == WITHIN


@pytest.mark.slow
def test_without_errors_verdicts_are_those_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of the pairs give those of the largest gap, whatever groups are too small."""
    monkeypatch.setattr("audit.measure.label_errors.SHARES", (0.0,))
    rng, seen = np.random.default_rng(3), []
    for seed in range(12):
        sizes = tuple(int(n) for n in rng.choice([20, 60, 400, 4_000], 4))
        base = rng.uniform(0.1, 0.4)
        rate = tuple(base + rng.choice([0.0, 0.0, 0.02, 0.4], 4))
        if seed % 4 == 0:  # alike and many, so that something is small, too
            sizes, rate = (6_000,) * 4, (base,) * 4
        code, happened = flipped(sizes, rate, 0.0, seed)
        code = np.where(rng.random(len(code)) < 0.05, -1, code)
        compared, of = tables(code, happened)
        worst = judged(compared, of)
        found = if_labels_were_wrong(worst, compared, of)
        assert set(found) == set(worst.loc[worst["status"] == OK, "key"])
        for row in worst[worst["status"] == OK].itertuples():
            assert found[row.key] == {
                "at random": {"0 %": row.verdict},
                "at worst": {"0 %": row.verdict},
            }
            seen.append(row.verdict)
    assert set(seen) == {EXCEEDS, WITHIN, INCONCLUSIVE}


@pytest.mark.slow
def test_wrong_labels_come_from_groups_too_small_to_be_compared() -> None:
    """Two groups compared beside 40 of 29, who are always given the label: some count as g1."""
    code, happened = flipped((12_000, 4_000), (0.1, 0.161), 0.0)
    small = np.repeat(np.arange(2, 42), 29)
    compared, of = tables(
        np.concatenate([code, small]), np.concatenate([happened, np.ones(len(small), bool)])
    )
    worst = judged(compared, of)
    key = worst.loc[worst["label"] == OFTEN, "key"].item()
    without = of[of["group"].isin(["g0", "g1"])]
    found, alone = (if_labels_were_wrong(worst, compared, r)[key] for r in (of, without))
    assert found["at random"]["10 %"] == INCONCLUSIVE
    assert alone["at random"]["10 %"] == EXCEEDS


@pytest.mark.slow
def test_gaps_without_their_pairs_or_groups_have_no_such_verdicts() -> None:
    compared, of = tables(*flipped((300, 300), (0.1, 0.4), 0.0))
    worst = judged(compared, of)
    assert if_labels_were_wrong(worst, compared, of)
    assert if_labels_were_wrong(worst, compared, of.iloc[:0]) == {}
    assert if_labels_were_wrong(worst, worst, of) == {}
    alone, only = tables(*flipped((300, 20), (0.1, 0.4), 0.0))
    assert if_labels_were_wrong(judged(alone, only), alone, only) == {}

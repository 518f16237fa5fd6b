"""Alarms: rates conditional on truth, thresholds chosen on other people, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import worlds
from matplotlib.figure import Figure
from scipy.stats import norm

from audit.core.errors import InputError
from audit.core.evidence import each
from audit.core.tables import DISPARITIES, EVERYONE, EXCEEDS, MEASURES, OK, WITHIN
from audit.data.dataset import Dataset, load
from audit.data.yamlfile import validate
from audit.engine import gates
from audit.engine.policy import Gate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.explore.compare import compare
from audit.measure.confidence import Confidence
from audit.measure.measures import measured
from audit.measure.metrics import Groups
from audit.models.encoder import Texts
from audit.probes.alarms import figures, section, work
from audit.probes.alarms import rows as alarm_rows
from audit.probes.alarms.points import choose, in_words
from audit.probes.alarms.probe import Alarms
from audit.probes.alarms.rows import (
    ALARMS,
    CHANGE,
    CURVE,
    DETECTED,
    FALSE_ALARMS,
    GAP,
    PER_HOUR,
    PRECISION,
    REVIEWS,
    THRESHOLD,
    TURN,
)
from audit.probes.alarms.section import SECTION, curves_of, rates_at
from audit.probes.alarms.units import Units
from audit.probes.kit.base import Design, Seen
from audit.report.exports.public import write_public
from audit.report.render import rendered
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

KEYS = {"kind": "alarms", "label_set": "people-gender", "alarm": ["female"], "truth": "gender"}


def probe(**keys: object) -> Alarms:
    return validate(Alarms, {k: v for k, v in (KEYS | keys).items() if v is not None}, "a probe")


def design(group: np.ndarray, clusters: np.ndarray, resamples: int = 300) -> Design:
    """Units 'a' and 'b' of one attribute, and everyone."""
    ids, cluster = np.unique(clusters.astype(str), return_inverse=True)
    names = [(EVERYONE, EVERYONE), ("side", "a"), ("side", "b")]
    index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
    member = np.stack([np.ones(len(group), bool), group == 0, group == 1], axis=1)
    keys = {str(i): i for i in range(len(group))}
    groups = Groups(index, member, cluster, tuple(ids), keys)
    c = Confidence(resamples=resamples)
    return Design(groups, groups.draws(list(keys), 0, resamples), c, 0)


def found(
    score: np.ndarray,
    event: np.ndarray | None,
    group: np.ndarray,
    per: int = 1,
    poor: dict[str, np.ndarray] | None = None,
    **keys: object,
) -> pd.DataFrame:
    """What the probe makes of these scores."""
    held = design(group, np.arange(len(group)) // per)
    units = Units.of([str(i) for i in range(len(group))], score, event, held.groups)
    asked = probe(**keys)
    rows = alarm_rows.Alarms(asked, units, held, poor or {}).every()
    return measured(rows, probe="alarms", task="t")


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def world(n: int, apart: float, seed: int = 0, prevalence: float = 0.3) -> tuple[np.ndarray, ...]:
    """Normal scores of n units: events lie 2 higher, and those of group b ``apart`` higher."""
    rng = np.random.default_rng(seed)
    group, event = rng.integers(0, 2, n), (rng.random(n) < prevalence).astype(int)
    return norm.cdf(rng.normal(2 * event + apart * group, 1)), event, group


AT = norm.cdf(1.0)  # the threshold at a normal score of 1


def test_rates_are_those_of_the_world_and_the_planted_gap_is_found() -> None:
    score, event, group = world(6000, 1.0)
    table = MEASURES.validate(found(score, event, group, thresholds=[AT]))
    for metric, shift in ((FALSE_ALARMS, 0), (DETECTED, 2)):
        for g, name in enumerate("ab"):
            here = row(table, metric=metric, group=name)
            asked = (event == (shift > 0)) & (group == g)
            assert here["n"] == asked.sum()
            assert here["value"] == (score[asked] >= AT).mean()  # and nothing pooled
            assert here["low"] < norm.sf(1, shift + g) < here["high"]
    gap = row(table, metric=GAP[FALSE_ALARMS], attribute="side")
    assert (gap["group"], gap["other"], gap["verdict"]) == ("b", "a", EXCEEDS)
    assert gap["low_simultaneous"] < 100 * (norm.sf(0) - norm.sf(1)) < gap["high_simultaneous"]
    assert gap["harm"] == "being watched, stopped or searched"
    assert "exceeds the margin of 5 points or 1.25 times" in gap["statement"]


@pytest.mark.slow
def test_in_poor_footage_the_same_threshold_is_judged_on_the_same_people() -> None:
    score, event, group = world(6000, 0.0)
    fog = np.where(group == 1, norm.cdf(norm.ppf(score) + 1), score)  # moves group b alone
    table = MEASURES.validate(found(score, event, group, thresholds=[AT], poor={"fog 3": fog}))
    plain = found(score, event, group, thresholds=[AT])
    names = (f"threshold {AT:g}", f"threshold {AT:g}, fog 3")
    clear, seen = (table[table["condition"] == name] for name in names)
    for metric, shift in ((FALSE_ALARMS, 0), (DETECTED, 2)):
        for g, name in enumerate("ab"):
            asked = (event == (shift > 0)) & (group == g)
            for there, scores in ((clear, score), (seen, fog)):
                here = row(there, metric=metric, group=name)
                assert here["value"] == (scores[asked] >= AT).mean()
    gaps = [row(t, metric=GAP[FALSE_ALARMS], attribute="side") for t in (clear, seen)]
    assert gaps[0]["verdict"] != gaps[1]["verdict"] == EXCEEDS
    sizes = [row(t, metric=GAP[DETECTED], attribute="side")["family_size"] for t in (clear, plain)]
    assert sizes == [2, 1]  # bounds hold in both kinds of footage at once
    assert f"At threshold {AT:g}, fog 3 of" in row(seen, metric=GAP[FALSE_ALARMS])["statement"]


@pytest.mark.parametrize(
    ("keys", "told"),
    [({"corruptions": ["fogg"]}, "fog"), ({"severities": [3]}, "'severities' of no corruption"),
     ({"corruptions": ["fog"], "severities": [9]}, "9")],
)  # fmt: skip
def test_footage_that_can_not_be_is_refused(keys: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        probe(thresholds=[0.5], **keys)


@pytest.mark.slow
def test_in_a_null_world_nothing_exceeds_and_much_data_is_within() -> None:
    table = found(*world(40_000, 0.0), thresholds=[AT])
    gaps = table[table["metric"].isin(GAP.values())]
    assert (gaps["verdict"] != EXCEEDS).all()
    assert row(table, metric=GAP[DETECTED])["verdict"] == WITHIN
    assert "no two groups differ by 5 points" in row(table, metric=GAP[DETECTED])["statement"]
    assert not table["metric"].isin(TURN.values()).any()


@pytest.mark.slow
def test_how_many_events_there_are_moves_no_rate() -> None:
    score, event, group = world(20_000, 1.0)
    kept = (event == 0) | (np.arange(20_000) % 7 == 0)
    whole = found(score, event, group, thresholds=[AT])
    fewer = found(score[kept], event[kept], group[kept], thresholds=[AT])
    same = [row(t, metric=FALSE_ALARMS, group="a")["value"] for t in (whole, fewer)]
    assert same[0] == same[1]


@pytest.mark.slow
def test_rare_false_alarms_are_judged_as_a_ratio() -> None:
    group = np.repeat([0, 1], 5000)
    score = np.zeros(10_000)
    score[:3], score[5000:5200] = 1, 1  # 0.06 % against 4 %: under five points
    table = found(score, np.zeros(10_000, int), group, thresholds=[0.5])
    gap = row(table, metric=GAP[FALSE_ALARMS])
    assert gap["value"] < 5
    assert gap["verdict"] == EXCEEDS
    assert "67 times" in gap["statement"]


def test_a_threshold_for_a_wanted_rate_is_chosen_on_other_people() -> None:
    score, event, group = world(8000, 0.5)
    table = found(score, event, group, per=4, false_alarm_rates=[0.05])
    chosen = row(table, metric=THRESHOLD)
    everyone = row(table, metric=FALSE_ALARMS, group=EVERYONE)
    assert chosen["n"] + everyone["n"] == (event == 0).sum()
    assert everyone["subjects"] < 2000 * 0.6
    assert everyone["value"] == pytest.approx(0.05, abs=0.02)
    # of those who fixed it, no more than one in twenty reach it
    at_or_above = (score[event == 0] >= chosen["value"]).sum() - everyone["events"]
    assert at_or_above <= 0.05 * chosen["n"]
    assert at_or_above + 1 > 0.05 * chosen["n"] - 1


def test_a_rate_too_low_for_the_data_is_told() -> None:
    table = found(*world(300, 0), false_alarm_rates=[0.001])
    chosen = row(table, metric=THRESHOLD)
    assert "can't show so low a rate" in chosen["reason"]
    assert not (table["metric"] == FALSE_ALARMS).any()


def test_work_is_what_the_formulas_say() -> None:
    score, event, group = world(4000, 1.0)
    work = {"per_hour": 3600, "prevalence": 0.001, "cameras": 3}
    table = found(score, event, group, thresholds=[AT], workload=work)
    for name in ("a", "b", EVERYONE):
        f, d = (row(table, metric=m, group=name) for m in (FALSE_ALARMS, DETECTED))
        hour = row(table, metric=PER_HOUR, group=name)
        assert hour["value"] == pytest.approx(3600 * (0.001 * d["value"] + 0.999 * f["value"]))
        precise = row(table, metric=PRECISION, group=name)
        right, wrong = 0.001 * d["value"], 0.999 * f["value"]
        assert precise["value"] == pytest.approx(right / (right + wrong))
        assert precise["low"] < precise["value"] < precise["high"]
        reviews = row(table, metric=REVIEWS, group=name)
        assert reviews["value"] == pytest.approx(1 / precise["value"])
        assert reviews["low"] == pytest.approx(1 / precise["high"])


@pytest.mark.slow
def test_bounds_of_work_hold_as_often_as_stated() -> None:
    true = [norm.sf(1), norm.sf(-1)]
    precision = 0.01 * true[1] / (0.01 * true[1] + 0.99 * true[0])
    held = 0
    for seed in range(60):
        score, event, group = world(400, 0.0, seed, prevalence=0.5)
        work = {"per_hour": 100, "prevalence": 0.01}
        table = found(score, event, group, thresholds=[AT], workload=work)
        here = row(table, metric=PRECISION, group=EVERYONE)
        held += here["low"] <= precision <= here["high"]
    assert held >= 54  # 57 expected at least; two standard errors are 3.4


@pytest.mark.slow
def test_groups_that_change_places_are_named() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 4000)
    score = norm.cdf(rng.normal(0, np.where(group == 0, 1.0, 0.3)))  # a is spread wider
    table = found(score, np.zeros(8000, int), group, thresholds=[0.5])
    turn = row(table, metric=TURN[FALSE_ALARMS])
    assert (turn["group"], turn["other"]) == ("a", "b")
    low, high = turn["condition"].split("; ")[::-1]
    assert float(low.split()[-1]) < 0.5 < float(high.split()[1])


def test_curves_fall_and_are_bounded_together() -> None:
    table = found(*world(3000, 0.5), thresholds=[AT])
    curve = table[(table["metric"] == CURVE[FALSE_ALARMS]) & (table["group"] == "a")]
    points = len(alarm_rows.POINTS) + len(alarm_rows.DETECTIONS) + 1
    assert len(curve) == points
    assert f"threshold {AT:.6g}" in set(curve["condition"])  # the one in use is a point
    at = curve["condition"].str.split().str[-1].astype(float)
    assert curve.set_index(at).sort_index()["value"].is_monotonic_decreasing
    assert (curve["low_simultaneous"] <= curve["low"]).all()
    assert (curve["high_simultaneous"] >= curve["high"]).all()


def test_without_a_truth_only_the_rate_of_alarms_is_known() -> None:
    score, _, group = world(4000, 1.0)
    table = found(score, None, group, thresholds=[AT], truth=None)
    assert {*table["metric"]} <= {THRESHOLD, ALARMS, GAP[ALARMS], CURVE[ALARMS], TURN[ALARMS]}
    assert row(table, metric=GAP[ALARMS])["verdict"] == EXCEEDS
    assert "events or not" in row(table, metric=GAP[ALARMS])["statement"]


@pytest.mark.parametrize(
    ("rule", "scores", "events"),
    [
        ("any", [0.9, 0.5], [1, -1]),
        ("all", [0.1, 0.4], [1, -1]),
        ("mean", [0.5, 0.45], [1, -1]),
        (2, [0.5, 0.4], [1, -1]),
        (3, [0.1, -np.inf], [1, -1]),
    ],
)
def test_frames_become_clips(rule: object, scores: list[float], events: list[int]) -> None:
    held = design(np.array([0, 0, 0, 0, 1]), np.array([7, 7, 7, 8, 8]))
    score, event = np.array([0.5, 0.9, 0.1, 0.4, 0.5]), np.array([0, 1, -1, 0, -1])
    units = Units.of(list("01234"), score, event, held.groups)
    clips = units.together(np.array(["x", "x", "x", "y", "y"]), rule)  # type: ignore[arg-type]
    assert clips.score.tolist() == scores
    assert clips.event is not None
    assert clips.event.tolist() == events
    # clip y shows both groups, and is of neither
    assert clips.member.tolist() == [[True, True, False], [True, False, False]]
    assert [held.groups.cluster_ids[c] for c in clips.clusters] == ["7", "8"]


def test_a_threshold_above_every_score_never_fires_and_is_counted() -> None:
    score, event, group = world(300, 0)
    table = found(score, event, group, thresholds=[0.5, 0.999999999])
    of = table[table["condition"] == "threshold 1"]
    assert row(of, metric=THRESHOLD)["reason"] == "it is above every score, so it never fires"
    for metric, which in ((FALSE_ALARMS, 0), (DETECTED, 1)):
        rate = row(of, metric=metric, group=EVERYONE)
        assert (rate["events"], rate["n"]) == (0, (event == which).sum())
        assert rate["low"] == 0 < rate["high"]
    gap = row(of, metric=GAP[FALSE_ALARMS])
    assert gap["value"] == 0
    assert gap["statement"].endswith("; no alarm is raised at all.")


def test_where_scores_tie_the_threshold_is_the_next_score_and_the_tie_is_told() -> None:
    quiet = np.repeat([0.9, 0.8, 0.1], [3, 20, 77])
    made = choose(0.05, quiet, np.append(quiet, 0.95), "pictures")
    assert in_words(made.threshold) == "0.9"
    assert (quiet >= made.threshold).sum() == 3
    assert "23 % raise a false alarm from 0.8 on, 3 % from 0.9 on" in made.remark
    above = choose(0.05, quiet[3:], quiet[3:], "pictures")
    assert in_words(above.threshold) == "above 0.8"
    assert (quiet[3:] >= above.threshold).sum() == 0
    # few digits where few do the same, and no remark where nothing ties
    scores = np.random.default_rng(0).random(1000)
    free = choose(0.05, scores, scores, "pictures")
    assert (scores >= float(in_words(free.threshold))).sum() == 50
    assert len(in_words(free.threshold)) <= 7
    assert not free.remark


def test_clips_too_short_for_the_rule_are_told_in_a_sentence() -> None:
    short, some = np.full(50, -np.inf), np.array([0.5, 0.6])
    assert "none of 50 clips without an event has" in choose(0.1, short, some, "clips").undefined
    few = choose(0.5, np.append(short, some), np.append(short, some), "clips")
    assert (few.threshold, few.remark[:40]) == (0.5, "only 2 of 52 clips without an event can ")
    table = found(np.full(60, -np.inf), np.arange(60) % 2, np.arange(60) // 30, thresholds=[0.5])
    assert "none of 60 pictures has as many" in row(table, metric=THRESHOLD)["reason"]
    assert {*table["metric"]} == {THRESHOLD}


@pytest.mark.slow
def test_a_verdict_by_ratio_alone_names_the_ratio_and_its_bound() -> None:
    group = np.repeat([0, 1], 2000)
    score = np.zeros(4000)
    score[:20], score[2000:2100] = 1, 1  # 1 % against 5 %
    for odd, told in (
        (slice(0), "5 times (95 % bounds 3 to 5, the ratio at least 2"),
        (slice(2020, 2100), "inconclusive against the margin of 5 points or 1.25 times"),
    ):
        score[odd] = 0
        table = found(score, np.zeros(4000, int), group, thresholds=[0.5])
        gap = row(table, metric=GAP[FALSE_ALARMS])
        assert told in gap["statement"]
        if gap["verdict"] == EXCEEDS:
            assert "margin of 1.25 times, and not surely that of 5 points" in gap["statement"]


def test_a_ratio_that_binds_unstated_is_written_into_the_suite_of_a_run() -> None:
    stated = Confidence.model_validate({"margins": {"suspicion": {"difference": 0.1}}})
    again = Confidence.model_validate(stated.resolved().model_dump())
    assert stated.margin("suspicion").ratio == again.margin("suspicion").ratio == 1.25
    off = Confidence.model_validate({"margins": {"suspicion": {"ratio": None}}}).resolved()
    assert off.margin("suspicion").ratio is None


def test_every_operating_point_of_the_suite_is_told_with_its_reason() -> None:
    table = found(*world(300, 0), thresholds=[0.5], false_alarm_rates=[0.001])
    shown = section._thresholds(table)
    assert "| threshold 0.5 | 0.5 |" in shown
    assert "| false alarm rate 0.1 % | none | – | – |" in shown
    (remark,) = section._remarks(table)
    assert "can't show so low a rate" in str(remark)


@pytest.mark.slow
def test_the_price_names_its_attribute_and_who_is_too_few() -> None:
    score, event, group = world(600, 1.0)
    whole = found(score, event, group, thresholds=[AT])
    price = section._price(whole, "side")
    assert "Most false alarms, by side" in price
    assert "| b: " in price
    group = np.where(np.arange(600) < 3, 1, 0)  # three subjects only
    few = found(score, event, group, thresholds=[AT])
    assert "too few of its groups" in section._price(few, "side")
    same = found(np.full(60, 0.9), np.arange(60) % 2, np.arange(60) // 30, thresholds=[0.5])
    assert "equal here" in section._price(same, "side")
    # an attribute with enough comes before one without, however sure the gap of that is
    other = whole.assign(attribute=whole["attribute"].replace("side", "other"))
    few.loc[few["metric"].isin(GAP.values()), ["status", "low_simultaneous"]] = [OK, 99.0]
    both = pd.concat([few, other])
    assert section._lead(both, ["side", "other"]) == "other"


def test_work_is_told_in_plain_numbers() -> None:
    told = [work.in_numbers(v) for v in (1058.7, 12.4, 2.163, 0.000123, 0.0)]
    assert told == ["1,059", "12", "2.2", "0.00012", "0"]
    assert work.cameras_of({"cameras": 1}) == "1 camera"
    table = found(
        *world(4000, 1.0), thresholds=[AT, 0.999999999999],
        workload={"per_hour": 3600, "prevalence": 0.001, "cameras": 3},
    )  # fmt: skip
    hourly = table[(table["metric"] == PER_HOUR) & (table["attribute"] == EVERYONE)]
    often, never = (
        work._at_work("t", {"cameras": 3}, row, table[table["condition"] == row.condition])
        for row in each(hourly)
    )
    all_of = 3 * row(hourly, condition=f"threshold {AT:g}")["value"]
    assert f"{all_of:,.0f} alarms an hour over 3 cameras" in often
    assert "looked at for each right one" in often
    assert "raise a false alarm" in often
    assert "no alarm was raised; up to" in never


@pytest.mark.parametrize("ends", [(0.3, 0.93), (0.01, 0.9), (1e-4, 0.9), (0.7, 0.71)])
def test_log_axes_have_plain_numbers_and_few(ends: tuple[float, float]) -> None:
    figure = Figure(figsize=(4, 3))
    axis, thresholds = figure.subplots(), pd.Series(np.geomspace(*ends, 9))
    axis.plot(thresholds, thresholds)
    figures._logarithmic(axis, thresholds)
    figure.canvas.draw()
    low, high = axis.get_xlim()
    marks = [t.get_text() for t in axis.get_xticklabels() if low <= t.get_position()[0] <= high]
    assert 1 <= len(marks) <= 8
    assert all(0 < float(mark) <= 1 for mark in marks)
    assert not any(t.get_text() for t in axis.get_xticklabels(minor=True))


@pytest.mark.slow
def test_what_poor_footage_costs_everyone_is_paired_with_the_plain_camera() -> None:
    score, event, group = world(3000, 0.0)
    fog = norm.cdf(norm.ppf(score) - 1)
    poor = {"plain camera": score, "fog 3": fog, "fog 1": score}
    table = MEASURES.validate(found(score, event, group, thresholds=[AT], poor=poor))
    changes = table[table["metric"] == CHANGE[DETECTED]].set_index("condition")
    lost = ((score >= AT) & (fog < AT) & (event == 1)).sum()
    there = changes.loc[f"threshold {AT:g}, fog 3"]
    assert there["value"] == pytest.approx(-100 * lost / (event == 1).sum())
    assert there["low_simultaneous"] < there["low"] < there["value"] < there["high"] < -5
    assert (there["verdict"], there["n"]) == (EXCEEDS, (event == 1).sum())
    assert "of the same through a plain camera" in there["statement"]
    same = changes.loc[f"threshold {AT:g}, fog 1"]
    assert (same["value"], same["verdict"]) == (0, WITHIN)
    assert len(changes) == 2


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "no operating point"),
        ({"thresholds": [1.5]}, "less than 1"),
        ({"thresholds": [0.5], "workload": {"per_hour": 10}}, "'prevalence' is not stated"),
        ({"thresholds": [0.5], "workload": {"per_hour": 10, "prevalence": 1}}, "settled without"),
        ({"truth": None, "false_alarm_rates": [0.1]}, "needs to know which pictures show an event"),
        ({"thresholds": [5]}, "Write 0.05 for 5 percent"),
        *(
            ({"thresholds": [0.5], "together": {"column": "c", "rule": rule}}, "whole number")
            for rule in (0, 2.5, "most", True)
        ),
    ],
)
def test_what_can_not_be_asked_is_a_sentence(keys: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        probe(**keys)


def of_people(folder: Path, n: int, **columns: object) -> Dataset:
    table = worlds.people(folder, n, per_subject=2).assign(**columns)
    table.to_csv(folder / "people.csv", index=False)
    return load(folder / "card.yaml")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"alarm": ["woman"]}, "'woman'"),
        ({"alarm": ["female", "male"]}, "every label raises the alarm"),
        ({"truth": "one"}, "every picture of known truth in 'one' is an event"),
        ({"truth": "none"}, "truth column 'none' is empty"),
        ({"together": {"column": "clp"}}, "has no column 'clp'"),
        ({"together": {"column": "half"}}, "column 'half' is empty for 20 of 40 pictures"),
        ({"together": {"column": "two"}}, "pictures of 'x' are of 20 subjects"),
    ],
)
def test_what_the_data_do_not_have_is_a_sentence(
    tmp_path: Path, keys: dict[str, object], told: str
) -> None:
    half = ["", *["y"]] * 20
    data = of_people(tmp_path, 40, one="female", two="x", half=half, none="")
    with pytest.raises(InputError, match=told):
        probe(thresholds=[0.5], **keys).resolve(data)


def test_unknown_truth_and_clips_of_one_picture_are_told(tmp_path: Path) -> None:
    data = of_people(tmp_path, 40, seen=["female", "male", "", "male"] * 10)
    asked = probe(thresholds=[0.5], truth="seen", together={"column": "image_id"})
    asked.resolve(data)
    told = [remark.text for remark in asked.remarks(data)]
    assert any("'seen' is empty for 10 of 40 pictures, which are in no error" in t for t in told)
    assert any("every 'image_id' has one picture" in text for text in told)


@pytest.mark.slow
def test_a_run_from_suite_to_report(tmp_path: Path) -> None:
    """Men are taken for women if young: false alarms of the young, in clips of two."""
    table = worlds.people(tmp_path, 400, per_subject=2)
    path = worlds.suite_file(tmp_path, "people-gender", "gender")
    wrong = (table["gender"] == "male") & (table["age_group"] == "young")
    model = worlds.planted(
        tmp_path, table, "people-gender",
        lambda r: "woman" if wrong[r.name] or r["gender"] == "female" else "man",
    )  # fmt: skip
    asked = (
        "{kind: alarms, alarm: [female], thresholds: [0.5], together: {column: subject, rule: all},"
        " workload: {per_hour: 3600, prevalence: 0.01, cameras: 12},"
    )
    text = path.read_text().replace("{kind: classification,", asked)
    text = text.replace("[gender, age_group]", "[age_group]", 1)
    path.write_text(text.replace("intersections: [[gender, age_group]]", "intersections: []"))
    run = carry_out(load_suite(str(path)), tmp_path / "runs", Store(tmp_path / "c"), lambda: model)
    gap = row(run.measures, metric=GAP[FALSE_ALARMS], attribute="age_group")
    assert (gap["group"], gap["other"], gap["verdict"]) == ("young", "old", EXCEEDS)
    assert row(run.measures, metric=FALSE_ALARMS, group="young")["value"] == 1
    assert row(run.measures, metric=FALSE_ALARMS, group="old")["value"] == 0
    (finding,) = (f for f in run.findings if f["metric"] == GAP[FALSE_ALARMS])
    assert finding["severity"] == "high"
    told = rendered(run).text
    assert "clips without an event" in told
    assert "12 cameras" in told
    assert "alarms an hour over 12 cameras" in told
    assert "counts 200 clips that these pictures make together" in told
    assert "| suspicion | 5 | 1.25 |" in told
    # no label is chosen, and nothing is said as if some were
    for false in ("an earlier version made", "No figure: ", "dealt to the groups by chance"):
        assert false not in told.partition("## 23.")[0]
    assert any(line.startswith("> ") for line in told.partition("## 17.")[2].split("\n")[:8])
    assert SECTION.tell(run)
    figures.alarm_curves(run, str(run.questions[0]["task"]), "age_group")
    assert (run.measures.loc[run.measures["metric"] == CURVE[DETECTED], "status"] == OK).any()
    public = write_public(
        run, tmp_path / "public", subjects=70
    ).measures  # of events there are fewer
    assert run.measures.loc[run.measures["metric"] == DETECTED, "n"].max() < 140
    few = public[public["attribute"] == "age_group"]
    told = few[few["metric"].isin([DETECTED, PRECISION, GAP[DETECTED], CURVE[DETECTED]])]
    assert len(told)
    assert told["value"].isna().all()
    path.write_text(path.read_text().replace("[0.5]", "[0.9]"))
    moved = carry_out(load_suite(str(path)), tmp_path / "b", Store(tmp_path / "c"), lambda: model)
    with pytest.raises(InputError, match=r"moved: 0\.5 \(false alarms of everyone 5. %.*0\.9"):
        compare(run, moved)
    points, attributes = curves_of(run, str(run.questions[0]["task"]))
    assert "threshold 0.5" in points
    assert attributes == ["age_group"]
    there = rates_at(run, str(run.questions[0]["task"]), "threshold 0.5", "age_group")
    (young,) = (line for line in there.splitlines() if line.startswith("| young"))
    assert young.count("100%") == 2


def test_a_clip_that_lost_a_picture_is_in_no_rate(tmp_path: Path) -> None:
    """Its lost frame may have been the event: of the rest a false alarm would be made."""
    table = worlds.people(tmp_path, 8, per_subject=2)
    dataset = load(tmp_path)
    column = dataset.card.cluster_column
    assert column
    asked = probe(thresholds=[0.5], together={"column": column})
    keys = tuple(dataset.table["image_id"])
    some = Embeddings(keys[1:], np.ones((len(keys) - 1, 2), np.float32), "x")
    seen = Seen(some, Texts(lambda texts: np.ones((len(texts), 2)), Scoring(1.0)), dataset, {}, 0)
    whole, (row_of_lost,) = asked._in_whole_clips(seen)
    assert whole == keys[2:]  # and its other frame is left out too
    assert (row_of_lost["value"], row_of_lost["n"]) == (1, len(table) // 2)
    assert asked._in_whole_clips(replace(seen, images=replace(some, keys=keys))) == (keys, [])


def test_a_cap_that_would_take_pictures_out_of_clips_is_refused(tmp_path: Path) -> None:
    worlds.people(tmp_path, 24, per_subject=2)
    card = (tmp_path / "card.yaml").read_text()
    (tmp_path / "card.yaml").write_text(card + "most_per_cluster: 1\n")
    dataset = load(tmp_path)
    asked = probe(thresholds=[0.5], together={"column": dataset.card.cluster_column})
    with pytest.raises(InputError, match="'most_per_cluster' takes pictures out of clips"):
        asked.resolve(dataset)


def test_gates_judge_gaps_at_operating_points() -> None:
    score, event, group = world(6000, 1.0)
    table = MEASURES.validate(found(score, event, group, thresholds=[AT]))
    gaps = gates.measured_gaps(table, {("alarms", metric) for metric in Alarms.gated})
    rule = Gate(attribute="side", family="suspicion", fail_if="exceeds_margin")
    (result,) = gates.judge(DISPARITIES.empty(), [rule], True, gaps)
    assert (result.outcome, result.passed, result.metric) == (EXCEEDS, False, GAP[FALSE_ALARMS])
    gap = row(table, metric=GAP[FALSE_ALARMS], attribute="side")
    assert f"gap {gap['value']:.0f} (" in result.sentence
    assert "margin 5" in result.sentence
    both = gates.judge(DISPARITIES.empty(), [rule.model_copy(update={"family": "*"})], False, gaps)
    assert {r.metric for r in both} == {GAP[FALSE_ALARMS], GAP[DETECTED]}

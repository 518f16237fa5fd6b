"""What sections say where a number alone would mislead."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audit.core.evidence import each
from audit.core.rows import Record
from audit.core.rundir import Run
from audit.core.tables import EXCEEDS, INCONCLUSIVE, WITHIN
from audit.report.sections.controls import controls_in_short
from audit.report.sections.disparities import _apart_from, _verdict_cell
from audit.report.sections.thresholds import _gap_cells
from audit.report.sections.verdicts import caveats


def run_with(**more: object) -> Run:
    """A run of which nothing is on disk."""
    run = Run(Path("nowhere"), {})
    run.__dict__.update(more)
    return run


def row_of(**cells: object) -> Record:
    (row,) = each(pd.DataFrame([cells]))
    return row


@pytest.mark.parametrize(
    ("verdict", "low", "reason", "told"),
    [
        (INCONCLUSIVE, 0.06, "q over 142 exploratory questions is too high", True),
        (INCONCLUSIVE, 0.04, "q over 142 exploratory questions is too high", False),
        (INCONCLUSIVE, 0.06, "", False),
        (EXCEEDS, 0.06, "q over 142 exploratory questions is too high", False),
    ],
)
def test_a_gap_open_over_all_questions_alone_says_so(
    verdict: str, low: float, reason: str, told: bool
) -> None:
    cell = _verdict_cell(row_of(verdict=verdict, low_simultaneous=low, margin=0.05, reason=reason))
    assert cell.endswith("beyond the margin by itself, not over 142 exploratory questions") is told


def test_a_bound_that_rounds_to_the_margin_has_a_decimal_more() -> None:
    assert _apart_from(0.05, 0.18, 0.054, 0.29).replace("\u00a0", " ") == "18.0 [5.4, 29.0]"
    assert _apart_from(0.05, 0.18, 0.06, 0.29).replace("\u00a0", " ") == "18 [6, 29]"
    assert _apart_from(0.05, 0.01, 0.001, 0.0498).replace("\u00a0", " ") == "1.0 [0.1, 5.0]"


@pytest.mark.parametrize(("events", "judged"), [(90, False), (0, True), (89, True)])
def test_a_threshold_that_keeps_everyone_has_no_verdict(events: int, judged: bool) -> None:
    told = {"label": "suspicion", "threshold": 0.04, "attribute": "a", "group": "x", "other": "y"}
    gap = {"value": 0.0, "low_simultaneous": 0.0, "high_simultaneous": 0.02, "margin": 0.05}
    row = row_of(**told, **gap, events=events, n=90, verdict=WITHIN)
    verdict = str(_gap_cells(row)["Verdict"])
    assert (WITHIN in verdict) is judged
    assert ("too low a threshold to tell anyone apart" in verdict) is not judged


def test_unseen_gaps_are_one_line_of_the_caveats() -> None:
    unseen = "gaps under {} points would mostly look like none here"
    findings = [{"caveats": ["groups of 'a' are b", unseen.format(n)]} for n in (9, 30, 12)]
    assert caveats(run_with(findings=[*findings, {"caveats": ["it is so"]}])) == [
        "It is so.",
        "Of what is inconclusive: gaps under 9 to 30 points, by the question, would mostly look "
        "like none here.",
    ]
    assert caveats(run_with(findings=[{"caveats": []}])) == []


def test_what_the_trial_cannot_miss_and_what_it_can_is_said() -> None:
    columns = ["comparisons", "control", "shuffles", "exceeds_margin", "planted"]
    rows = [[3, "shuffled", 20, 0, 0], [3, "injected", 0, 2, 0.12], [3, "injected", 0, 0, -0.47]]
    power = [{"base 1%": 0.02, "base 20%": 0.07}, {"base 1%": 0.19, "base 20%": 0.29}, {}]
    controls = pd.DataFrame(rows, columns=columns)
    assert controls_in_short(run_with(controls=controls, dataset={"power": power})).endswith(
        "in 0 of 20 trials; gaps of 12 to 47 points put into shuffled data were found in 1 of 2; "
        "those under 7 to 29 points, by the attribute, can be missed (section 10)."
    )

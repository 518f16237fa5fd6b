"""From answers to tables: rates, disparities, nulls, controls, calibration, wordings, effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from audit.core.rundir import TABLES
from audit.data.labels import LabelSet
from audit.data.remarks import Remark
from audit.measure.claims import Claim, Gated, no_gate, settle
from audit.measure.confidence import Confidence
from audit.measure.controls import controls
from audit.measure.disparity import disparities, screened
from audit.measure.effects import condition_effects
from audit.measure.findings import judged, of_itself
from audit.measure.metrics import Groups, Tally, rates
from audit.measure.nulls import with_nulls, with_nulls_of_counts
from audit.measure.reliability import calibration, calibration_gaps, reliability_bins
from audit.probes.kit.base import Design, Probe, Seen


@dataclass(frozen=True)
class Answer:
    """What one probe was answered: what it saw, its rows and, of choices, what was counted.

    ``groups`` are those of the pictures seen, ``tied`` the choices of the headline in which two
    labels are equally near, ``counted`` the pictures of the tally and ``asked`` all that were to be
    asked: more than were seen where these are a sample.
    """

    probe: Probe
    seen: Seen
    rows: pd.DataFrame
    tally: Tally | None
    groups: Groups
    tied: int
    counted: int
    asked: int

    @property
    def labels(self) -> LabelSet:
        """The label set asked."""
        (labels,) = self.probe.label_sets()
        return labels


#: pictures up to which a product of the analysis is on one core: cores that share small ones wait
#: for each other, which took half of the processor time of an analysis of 1,280 pictures
FEW: Final = 20_000
#: a larger share of choices between labels that are equally near is remarked
_TIED: Final = 0.01


def of_ties(answers: Sequence[Answer]) -> list[Remark]:
    """Choices that hang on which label is listed first, where they are more than a few."""
    remarks = []
    for answer in answers:
        if answer.tally is not None and answer.tied > _TIED * answer.counted:
            told = (
                f"'{answer.probe.task}': in {answer.tied:,} of {answer.counted:,} choices two "
                "labels are equally near, and the one that the set lists first was taken"
            )
            remarks.append(Remark(told, task=answer.probe.task, of_answers=False))
    return remarks


@dataclass(frozen=True)
class Tables:
    """The tables of a run; see ``audit.core.tables``."""

    rates: pd.DataFrame
    disparities: pd.DataFrame
    controls: pd.DataFrame
    calibration: pd.DataFrame
    reliability: pd.DataFrame
    calibration_gaps: pd.DataFrame
    specifications: pd.DataFrame
    sensitivity: pd.DataFrame
    stability: pd.DataFrame
    effects: pd.DataFrame
    thresholds: pd.DataFrame
    measures: pd.DataFrame

    @classmethod
    def of(cls, **tables: pd.DataFrame) -> Tables:
        """Some tables, the others without rows."""
        return cls(**{name: tables.get(name, schema.empty()) for name, schema in TABLES.items()})


def analyse(answer: Answer, design: Design) -> Tables:
    """Every table of one probe."""
    measured = answer.probe.measures(answer.rows, answer.seen, design)
    if answer.tally is None:
        return Tables.of(measures=measured)
    c, groups, seed = design.confidence, design.groups, design.seed
    rows, labels = answer.rows, answer.labels
    # a score is that of one label, and says nothing of a class of several
    scored = rows.assign(truth=None) if labels.merges else rows
    # nor is a system calibrated that gave no scores
    scored = scored if answer.seen.texts.scoring.known else scored.iloc[:0]
    compared = of_itself(disparities(answer.tally, c), getattr(answer.probe, "truth", None))
    with threadpool_limits(1 if len(groups.rows) <= FEW else None, user_api="blas"):
        return Tables.of(
            rates=rates(answer.tally, c.level, c.min_group),
            disparities=_with_nulls(compared, answer, design),
            controls=controls(rows, labels, groups, design.draws, c, seed),
            calibration=calibration(scored, groups, c.level, c.min_group, seed),
            reliability=reliability_bins(scored, groups, c.level, c.min_group),
            calibration_gaps=calibration_gaps(scored, groups, c.level, c.min_group),
            measures=measured,
            **{
                "effects": _effects(answer, design),
                **answer.probe.follow_ups(answer.seen, compared, design),
            },
        )


def _with_nulls(compared: pd.DataFrame, answer: Answer, design: Design) -> pd.DataFrame:
    """Gaps with their nulls: of all that was counted, or of the rows that are there."""
    assert answer.tally is not None
    c, seed = design.confidence, design.seed
    if answer.tally.groups.many:
        return with_nulls_of_counts(compared, answer.tally, c, seed)
    found = with_nulls(compared, answer.rows, answer.labels, design.groups, c, seed)
    if len(answer.seen.images.keys) == answer.counted:
        return found
    told = f", of a sample of {len(answer.seen.images.keys):,} pictures"
    return found.assign(method=found["method"] + np.where(found["null_mean"].notna(), told, ""))


def together(
    parts: Sequence[Tables],
    tallies: Sequence[Tally],
    confidence: Confidence,
    primary: Sequence[Claim] = (),
    gated: Gated = no_gate,
) -> Tables:
    """The tables of all probes, with what holds over a whole run.

    Args:
        parts: the tables of each probe.
        tallies: what was counted of those that count choices.
        confidence: level, margins, method of the false discovery rate.
        primary: the suite's primary questions.
        gated: whether a gate covers a gap; see ``audit.measure.claims.settle``.
    """
    tables = {
        field.name: pd.concat([getattr(part, field.name) for part in parts], ignore_index=True)
        for field in fields(Tables)
    }
    compared = screened(tables["disparities"], confidence)
    explored = compared.index.isin(judged(compared, tables["rates"]).index)
    settled = settle(compared, tallies, primary, confidence, explored, gated)
    return Tables(**tables | {"disparities": settled})


def _effects(answer: Answer, design: Design) -> pd.DataFrame:
    """What the probe's other conditions do, held against its headline."""
    return condition_effects(
        answer.rows,
        answer.labels,
        design.groups,
        design.draws,
        design.confidence,
        answer.probe.contrasts(),
    )

"""From answers to tables: rates, disparities, nulls, controls, calibration, wordings, effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pandas as pd

from audit.core.rundir import TABLES
from audit.core.tables import SENSITIVITY, SPECIFICATIONS, STABILITY
from audit.data.labels import LabelSet
from audit.measure import prompt_variants as multiverse
from audit.measure.claims import Claim, Gated, no_gate, settle
from audit.measure.confidence import Confidence
from audit.measure.controls import controls, with_nulls
from audit.measure.disparity import disparities, screened
from audit.measure.effects import condition_effects
from audit.measure.findings import judged
from audit.measure.label_ablation import label_effects
from audit.measure.metrics import Tally, rates
from audit.measure.reliability import calibration, calibration_gaps, reliability_bins
from audit.measure.thresholds import threshold_rates
from audit.probes.classification.probe import Classification
from audit.probes.kit.base import Design, Probe, Seen


@dataclass(frozen=True)
class Answer:
    """What one probe was answered: what it saw, its rows and, of choices, what was counted."""

    probe: Probe
    seen: Seen
    rows: pd.DataFrame
    tally: Tally | None

    @property
    def labels(self) -> LabelSet:
        """The label set asked."""
        (labels,) = self.probe.label_sets()
        return labels


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
    compared = disparities(answer.tally, c)
    return Tables.of(
        rates=rates(answer.tally, c.level, c.min_group),
        disparities=with_nulls(compared, rows, labels, groups, c, seed),
        controls=controls(rows, labels, groups, design.draws, c, seed),
        calibration=calibration(scored, groups, c.level, c.min_group, seed),
        reliability=reliability_bins(scored, groups, c.level, c.min_group),
        calibration_gaps=calibration_gaps(scored, groups, c.level, c.min_group),
        measures=measured,
        **{"effects": _effects(answer, design)} | _of_classification(answer, compared, design),
    )


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


def _of_classification(
    answer: Answer, compared: pd.DataFrame, design: Design
) -> dict[str, pd.DataFrame]:
    """The leading gaps in every wording, what each label does, and what a threshold does."""
    probe = answer.probe
    if type(probe) is not Classification:
        return {}
    wordings = _in_every_wording(probe, answer.seen, compared, design)
    return wordings | _of_labels(probe, answer.seen, design)


def _in_every_wording(
    probe: Classification, seen: Seen, compared: pd.DataFrame, design: Design
) -> dict[str, pd.DataFrame]:
    """The probe's leading gaps in every wording; nothing where there is one wording only."""
    if len(probe.asked_in) < 2:
        return {}
    c, groups, where = design.confidence, design.groups, {"probe": probe.kind, "task": probe.task}
    answers = multiverse.ask(seen.images, seen.texts, probe.labels, probe.asked_in, seen.altered)
    truth = probe.right_places(seen.dataset, answers.keys)
    curves = [
        multiverse.specification_curve(
            answers, question, groups, design.draws, c.level, design.seed,
            truth if question.metric == "misclassification" else None,
        )
        for question in _questions(probe, compared, c)
    ]  # fmt: skip
    rows = [multiverse.specifications(curve, answers, where) for curve in curves]
    summary = [multiverse.sensitivity(curve, compared, where) for curve in curves]
    steady = multiverse.stability(answers, groups, where, c.level)
    return {
        "specifications": (
            SPECIFICATIONS.conform(pd.concat(rows)) if rows else SPECIFICATIONS.empty()
        ),
        "sensitivity": (
            SENSITIVITY.conform(pd.DataFrame(summary)) if summary else SENSITIVITY.empty()
        ),
        "stability": STABILITY.conform(steady),
    }


def _questions(
    probe: Classification, compared: pd.DataFrame, confidence: Confidence
) -> list[multiverse.Question]:
    """Those that the suite declares; of every other attribute the surest gap in the headline."""
    declared = [q.question(probe.labels, confidence) for q in probe.wordings.questions]
    fixed = {question.attribute for question in declared}
    leading = multiverse.leading_questions(compared, confidence)
    return [
        *(multiverse.declared_question(question, compared) for question in declared),
        *(question for question in leading if question.attribute not in fixed),
    ]


def _of_labels(probe: Classification, seen: Seen, design: Design) -> dict[str, pd.DataFrame]:
    """What dropping, adding or swapping each label does, and keeping all above a threshold."""
    if not probe.label_effects:
        return {}
    labels, groups = probe.labels, design.groups
    classes = probe.classes(seen.texts, labels)
    additions = {
        label: probe.classes(seen.texts, labels.plus(label, probe.task))[-1]
        for label in labels.additions.values()
    }
    # edits and thresholds look at single labels, which have no truth of their own where merged
    truth = None if labels.merges else probe.right_places(seen.dataset, seen.images.keys)
    return {
        "effects": label_effects(
            seen.images.vectors, classes, labels, groups, design.draws, design.confidence,
            additions, truth=truth, probe=probe.kind, task=probe.task,
        ),
        "thresholds": threshold_rates(
            seen.images.vectors, classes, labels, seen.texts.logit_scale, groups,
            probe.thresholds, draws=design.draws, confidence=design.confidence, truth=truth,
            probe=probe.kind, task=probe.task,
        ),
    }  # fmt: skip

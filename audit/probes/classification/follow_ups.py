"""What a classification asks besides: its leading gaps in other wordings, its labels one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from audit.core.tables import SENSITIVITY, SPECIFICATIONS, STABILITY
from audit.measure import prompt_variants as multiverse
from audit.measure import prompts, variant_tables
from audit.measure.confidence import Confidence
from audit.measure.label_ablation import label_effects
from audit.measure.thresholds import threshold_rates
from audit.probes.kit.base import Design, Seen

if TYPE_CHECKING:
    from audit.probes.classification.probe import Classification


def in_every_wording(
    probe: Classification, seen: Seen, compared: pd.DataFrame, design: Design
) -> dict[str, pd.DataFrame]:
    """The probe's leading gaps in every wording; nothing where there is one wording only."""
    if len(probe.asked_in) < 2:
        return {}
    c, groups, where = design.confidence, design.groups, {"probe": probe.kind, "task": probe.task}
    answers = prompts.ask(seen.images, seen.texts, probe.labels, probe.asked_in, seen.altered)
    truth = probe.right_places(seen.dataset, answers.keys)
    curves = [
        multiverse.specification_curve(
            answers, question, groups, design.draws, c.level, design.seed,
            truth if question.metric == "misclassification" else None,
        )
        for question in _questions(probe, compared, c)
    ]  # fmt: skip
    rows = [variant_tables.specifications(curve, answers, where) for curve in curves]
    summary = [variant_tables.sensitivity(curve, compared, where) for curve in curves]
    steady = variant_tables.stability(answers, groups, where, c.level)
    return {
        "specifications": SPECIFICATIONS.joined(rows),
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
    leading = variant_tables.leading_questions(compared, confidence)
    return [
        *(variant_tables.declared_question(question, compared) for question in declared),
        *(question for question in leading if question.attribute not in fixed),
    ]


def of_labels(probe: Classification, seen: Seen, design: Design) -> dict[str, pd.DataFrame]:
    """What dropping, adding or swapping each label does, and keeping all from a threshold on."""
    if not probe.label_effects or seen.texts.gives == "choices":
        return {}
    labels, groups = probe.labels, design.groups
    classes = probe.classes(seen.texts, labels)
    additions = {
        label: probe.classes(seen.texts, labels.plus(label, probe.task))[-1]
        for label in labels.additions.values()
    }
    # edits and thresholds look at single labels, which have no truth of their own where merged
    truth = None if labels.merges else probe.right_places(seen.dataset, seen.images.keys)
    tables = {
        "effects": label_effects(
            seen.images.vectors, classes, labels, groups, design.draws, design.confidence,
            additions, truth=truth, probe=probe.kind, task=probe.task,
        )
    }  # fmt: skip
    if seen.texts.scoring.known:
        tables["thresholds"] = threshold_rates(
            seen.images.vectors, classes, labels, seen.texts.scoring, groups,
            probe.thresholds, draws=design.draws, confidence=design.confidence, truth=truth,
            probe=probe.kind, task=probe.task,
        )  # fmt: skip
    return tables

"""One function a figure: from a finished run to a matplotlib Figure; report and notebooks share it.

Every figure says in its title what it shows, names the number of pictures beside each group, and
draws the margin, so that a gap is never seen without how large it would have to be to matter.
Verdicts differ in colour and in the shape of their mark. ``looks`` has what they share, for figures
of your own.

>>> import audit
>>> run = audit.runs_in()[-1]
>>> figure = audit.figures.group_counts(run, ["gender"])
>>> len(figure.axes)
1
"""

from __future__ import annotations

from audit.probes.alarms.figures import alarm_curves, roc_curves
from audit.probes.association.figures import effect_sizes
from audit.probes.counterfactual.figures import change_by_distance, what_each_change_does
from audit.probes.identity.figures import det_curves, error_rates
from audit.probes.kit import looks
from audit.probes.linear.figures import learning_curves
from audit.probes.mitigation.figures import mitigations
from audit.probes.retrieval.figures import skews_beside_chance, who_is_at_the_top
from audit.probes.robustness.figures import falls, unequal_drops
from audit.probes.scenes.figures import abstention_curves, stress_by_group
from audit.probes.shift.figures import sources
from audit.report.figures.calibration import reliability_by_group
from audit.report.figures.chosen import EDITS, NAMED, ROWS, TEMPLATES
from audit.report.figures.counts import cells_in_order, group_counts
from audit.report.figures.facts import leading_facts
from audit.report.figures.label_ablation import (
    EDIT_COLUMNS,
    edit_in_words,
    label_effects,
    leading_effects,
    some_edits,
)
from audit.report.figures.prompt_variants import specification_curve, templates_spread
from audit.report.figures.rates import gaps_with_margin, rates_by_group, some_of_each
from audit.report.figures.thresholds import threshold_curves

__all__ = [
    "EDITS",
    "EDIT_COLUMNS",
    "NAMED",
    "ROWS",
    "TEMPLATES",
    "abstention_curves",
    "alarm_curves",
    "cells_in_order",
    "change_by_distance",
    "det_curves",
    "edit_in_words",
    "effect_sizes",
    "error_rates",
    "falls",
    "gaps_with_margin",
    "group_counts",
    "label_effects",
    "leading_effects",
    "leading_facts",
    "learning_curves",
    "looks",
    "mitigations",
    "rates_by_group",
    "reliability_by_group",
    "roc_curves",
    "skews_beside_chance",
    "some_edits",
    "some_of_each",
    "sources",
    "specification_curve",
    "stress_by_group",
    "templates_spread",
    "threshold_curves",
    "unequal_drops",
    "what_each_change_does",
    "who_is_at_the_top",
]

"""One function a figure: from a finished run to a matplotlib Figure; report and notebooks share it.

Every figure says in its title what it shows, names the number of pictures beside each group, and
draws the margin, so that a gap is never seen without how large it would have to be to matter.
Verdicts differ in colour and in the shape of their mark.
"""

from __future__ import annotations

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
    "NAMED",
    "ROWS",
    "TEMPLATES",
    "EDIT_COLUMNS",
    "cells_in_order",
    "edit_in_words",
    "gaps_with_margin",
    "group_counts",
    "label_effects",
    "leading_effects",
    "leading_facts",
    "rates_by_group",
    "reliability_by_group",
    "some_edits",
    "some_of_each",
    "specification_curve",
    "templates_spread",
    "threshold_curves",
]

"""Which modules tell a section of the report, and in which each stands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from audit.core.registry import Registry
from audit.core.rundir import Run
from audit.probes.alarms import work
from audit.probes.kit import tasks
from audit.probes.kit.blocks import Block, Section, require_place
from audit.report.sections import (
    calibration,
    controls,
    disparities,
    facts,
    groups,
    intersections,
    label_sets,
    plan,
    verdicts,
    wordings,
)

#: modules whose ``OFFERS`` a template may call
TOPICS: Final = (
    calibration, controls, disparities, facts, groups, intersections, label_sets, plan, tasks,
    verdicts, wordings, work,
)  # fmt: skip


#: sections by the kind of the probe, or by topic, in the order in which they stand
_OWN: Final = {
    "capability": "audit.report.sections.capability:SECTION",
    "by_truth": "audit.report.sections.by_truth:SECTION",
    "effects": "audit.report.sections.effects:SECTION",
    "thresholds": "audit.report.sections.thresholds:SECTION",
    "linear": "audit.probes.linear.section:SECTION",
    "retrieval": "audit.probes.retrieval.section:SECTION",
    "association": "audit.probes.association.section:SECTION",
    "alarms": "audit.probes.alarms.section:SECTION",
    "scenes": "audit.probes.scenes.section:SECTION",
    "identity": "audit.probes.identity.section:SECTION",
    "naming": "audit.probes.naming.section:SECTION",
    "counterfactual": "audit.probes.counterfactual.section:SECTION",
    "robustness": "audit.probes.robustness.section:SECTION",
    "shift": "audit.probes.shift.section:SECTION",
    "mitigation": "audit.probes.mitigation.section:SECTION",
    "replications": "audit.report.sections.replications:SECTION",
}


#: where one stands that can't be loaded
_OTHERS: Final = "surveillance"


SECTIONS: Final[Registry[Section]] = Registry(
    "section of the report", "clip_audit.sections", "", _OWN
)


def sections_at(place: str) -> list[Section]:
    """Those that stand in this section: those above in their order, then any other.

    Raises:
        InputError: the report has no section of this name.
    """
    require_place(place)
    names = [*_OWN, *(name for name in SECTIONS if name not in _OWN)]
    return [section for name in names if (section := _loaded(name)).place == place]


def _loaded(name: str) -> Section:
    """A section; one of another package that can't be loaded tells so in the place for others."""
    try:
        return SECTIONS[name]
    except Exception as error:
        return Section(_OTHERS, "", partial(_raised, error))


def _raised(error: Exception, run: Run) -> Sequence[Block]:
    raise error

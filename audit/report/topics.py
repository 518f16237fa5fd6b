"""The sections of the report as blocks, for a page that draws them one by one.

>>> import audit
>>> run = audit.runs_in()[-1]
>>> [task.kind for task in audit.topics.tasks(run)]
['classification']
>>> [part.title for part in audit.topics.SECTIONS["thresholds"].tell(run)]
['Labels kept at or above a threshold']
"""

from __future__ import annotations

from audit.probes.alarms.section import chosen_on_half, curves_of, rates_at
from audit.probes.kit.base import PROBES
from audit.probes.kit.blocks import PLACES, Block, Folded, Part, Picture, said
from audit.probes.kit.tasks import Task, tasks, tasks_of
from audit.report.sections.disparities import gaps_table
from audit.report.sections.registry import SECTIONS

__all__ = [
    "PLACES",
    "PROBES",
    "SECTIONS",
    "Block",
    "Folded",
    "Part",
    "Picture",
    "Task",
    "chosen_on_half",
    "curves_of",
    "gaps_table",
    "rates_at",
    "said",
    "tasks",
    "tasks_of",
]

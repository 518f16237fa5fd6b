"""Zero-shot naming, in the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE
from audit.probes.kit.blocks import A_FAILURE, OUT_OF_SCOPE, Block, Part, Section
from audit.probes.kit.cells import at, measured, p_value, table, tag
from audit.probes.kit.tasks import Task, tasks_of
from audit.probes.kit.told import parts_of
from audit.probes.naming.probe import NAMED


def tell(run: Run) -> Sequence[Block]:
    """Every task of naming, after those of verification if there are any."""
    scope = [] if tasks_of(run, "identity") else [OUT_OF_SCOPE, A_FAILURE]
    return parts_of(run, "naming", _of_naming, *scope)


def _of_naming(run: Run, task: Task) -> Part:
    name = task.name
    rows = having(run.measures, task=name, metric=NAMED)
    (probe,) = (
        p for p, q in zip(run.suite["probes"], run.questions, strict=True) if q["task"] == name
    )
    return Part(
        name,
        [
            _NAMING if probe["names"] else Markdown(f"{_NAMING} {_INVENTED}"),
            table(_named(row, probe["sizes"][0]) for row in each(rows)),
        ],
    )


_NAMING: Final = Markdown.beside(__file__)


_INVENTED: Final = Markdown(
    """\
**The names are invented here**, so that no model can know them: this asks whether the procedure
gives more than chance where there is nothing to know."""
)


def _named(row: Record, smallest: int) -> dict[str, object]:
    size = f"{smallest:,} names" if row.condition == ENSEMBLE else row.condition
    ends = row.low_simultaneous, row.high_simultaneous
    return {
        "Candidates": size,
        "Pictures": f"{row.n:,}",
        "Right names [bounds]": at(row, measured(row.value, *ends, "%")),
        "By chance [95%]": measured(row.null_mean, row.null_low, row.null_high, "%"),
        "p": p_value(None if math.isnan(row.p) else row.p),
        "Verdict": tag(row.verdict),
    }


SECTION: Final = Section("surveillance", "", tell)

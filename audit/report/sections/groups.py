"""Who was counted: groups with their pictures, whose word each is, what could not be read."""

from __future__ import annotations

from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rundir import Run
from audit.probes.kit.cells import stated, table
from audit.report import figures
from audit.store.quarantine import uneven


def who_was_counted(run: Run) -> Markdown:
    """One line an attribute: its groups with their pictures."""
    cells = figures.cells_in_order(run)
    return table(
        {
            "Attribute": attribute,
            "Pictures in each group": ", ".join(f"{r.group} {r.pictures:,}" for r in each(part)),
        }
        for attribute, part in cells.groupby("attribute", sort=False)
        if " x " not in str(attribute)
    )


def group_table(run: Run) -> Markdown:
    """Pictures, subjects and quarantined pictures of every group."""
    lost = pd.DataFrame(
        run.dataset["quarantined_by_group"], columns=["attribute", "group", "reason", "pictures"]
    )
    missing = lost.groupby(["attribute", "group"])["pictures"].sum()
    return table(
        {
            "Attribute": row.attribute,
            "Group": row.group,
            "Pictures": f"{row.pictures:,}",
            "Subjects": f"{row.subjects:,}",
            "Quarantined": f"{missing.get((row.attribute, row.group), 0):,}",
        }
        for row in each(figures.cells_in_order(run))
    )


def quarantine_table(run: Run) -> Markdown:
    """Pictures that could not be read, by group and reason."""
    return table(
        {
            "Attribute": row["attribute"],
            "Group": row["group"],
            "Reason": row["reason"],
            "Pictures": row["pictures"],
        }
        for row in run.dataset["quarantined_by_group"]
    )


def uneven_losses(run: Run) -> list[str]:
    """A sentence an attribute whose groups lost pictures unevenly; none in a public copy."""
    if run.public:
        return []
    return [f"{w[:1].upper()}{w[1:]}." for w in uneven(run.dataset).values()]


def attributes_table(run: Run) -> Markdown:
    """The attributes asked about and whose word each is."""
    asked_about = [a["name"] for a in run.suite["attributes"]]
    declared = run.dataset["attributes"]
    return table(
        {
            "Attribute": name,
            "Whose word": declared[name]["source"],
            "Meaning": stated(declared[name]["description"]),
        }
        for name in asked_about
    )


#: what a template may call; the run is filled in
OFFERS: Final = (
    who_was_counted,
    group_table,
    attributes_table,
    quarantine_table,
    uneven_losses,
)

"""Which words or pictures lie closer to some groups than to others: effect sizes beside chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import EXCEEDS, OK, REST, WITHIN
from audit.core.verdicts import Verdict
from audit.probes.association.figures import associations_of, effect_sizes
from audit.probes.association.names import AT_ODDS
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, probe_would, said
from audit.probes.kit.cells import MOST_ROWS, NBSP, p_value, table, with_rest
from audit.probes.kit.measures_section import measure_cells
from audit.probes.kit.tasks import Task
from audit.probes.kit.told import parts_of


def tell(run: Run) -> Sequence[Block]:
    """How an effect size is to be read, then every task that asked for associations."""
    return parts_of(run, "association", _of_task, _WHAT)


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, task: Task) -> Part:
    """What was found in a sentence, the figure, and the numbers behind it."""
    found = associations_of(run, task.name)
    usable = having(found, status=OK)
    told = found[found["statement"] != ""]
    blocks: list[Block] = [_counted(usable), *_coarse(usable), *_at_odds(usable)]
    if len(usable):
        blocks += [Picture(effect_sizes, task.name), *_leading(task, told, usable)]
    return Part(task.name, [*blocks, *_unusable(found[found["status"] != OK])])


def _counted(usable: pd.DataFrame) -> Markdown:
    """How many comparisons there are, and their verdicts."""
    verdicts = usable["verdict"]
    return said(
        "{n} comparisons by {by}, against a margin of {margin}: {large}, {small}, {open}.{moved}",
        n=len(usable),
        by=", ".join(dict.fromkeys(usable["attribute"])) or "no attribute",
        large=Verdict.EXCEEDS.counted(int((verdicts == EXCEEDS).sum())),
        small=Verdict.WITHIN.counted(int((verdicts == WITHIN).sum())),
        open=Verdict.INCONCLUSIVE.counted(int((~verdicts.isin([EXCEEDS, WITHIN])).sum())),
        margin=f"{usable['margin'].iloc[0]:g}" if len(usable) else "–",
        moved=_moved(usable),
    )


def _moved(usable: pd.DataFrame) -> str:
    """How far single templates take d from that of all together."""
    ends = usable[["lowest", "highest"]].sub(usable["value"], axis=0).abs().to_numpy(float)
    known = ends[~np.isnan(ends)]
    if not known.size:
        return ""
    return f" No single template moves any d by more than {known.max():.2f}."


def _coarse(usable: pd.DataFrame) -> Iterator[Markdown]:
    """Families in which no p could have been small enough once it is adjusted."""
    least = usable["smallest_p"] * usable["family_size"]
    coarse = usable[least > 1 - usable["level"]]
    for attribute in dict.fromkeys(coarse["attribute"]):
        rows = having(coarse, attribute=attribute)
        size = int(rows["family_size"].iloc[0])
        of = f", which Holm over {size} makes {p_value(min(1.0, least[rows.index].min()))}"
        yield said(
            "By {by} **no answer could have a small p**: the smallest that these deals allow is "
            "{least}{of}. More stimuli or more deals (‘permutations’) would help; bounds and "
            "verdicts do not rest on p.",
            by=attribute,
            least=p_value(float(rows["smallest_p"].min())),
            of=of if size > 1 else "",
        )


def _at_odds(usable: pd.DataFrame) -> Iterator[Markdown]:
    """In how many rows q and bounds disagree, and why."""
    why = [method.partition(AT_ODDS)[2].partition(": ")[2] for method in usable["method"]]
    counted = pd.Series([reason for reason in why if reason], dtype="str").value_counts()
    if len(counted):
        yield said(
            "In {n} of {all} comparisons q and the simultaneous bounds disagree on whether d is 0: "
            "{why}. The verdict is that of the bounds.",
            n=int(counted.sum()),
            all=len(usable),
            why="; ".join(f"{n} because {reason}" for reason, n in counted.items()),
        )


def _leading(task: Task, told: pd.DataFrame, usable: pd.DataFrame) -> Iterator[Block]:
    """The comparison told of every attribute and word, then the surest of all."""
    told = having(told, status=OK)
    yield Markdown(
        "For every attribute and word, the surest comparison that exceeds the margin or, where "
        "none does, the one whose bounds reach furthest:"
    )
    yield _table(told, MOST_ROWS)
    surest = [
        _table(usable, 2 * MOST_ROWS),
        said("How the first of them was made: {method}.", method=usable["method"].iloc[0]),
    ]
    yield Folded(f"The surest of all comparisons of {task.name}", surest)


def _table(rows: pd.DataFrame, most: int) -> Markdown:
    """The first of these comparisons; the word is left out where there is one only."""
    several = rows["label"].nunique() > 1
    shown = table(_cells(row, several) for row in each(rows.head(most)))
    return with_rest(shown, len(rows) - most, "comparisons", "measures.parquet")


def _cells(row: Record, several: bool) -> dict[str, object]:
    other = "all others" if row.other == REST else row.other
    by = "" if row.attribute == "targets" else f"{row.attribute}, "
    cells = measure_cells(row)
    verdict = cells.pop("Verdict")
    return {
        **({"Towards": row.label} if several else {}),
        "Compared": f"{row.group} v {other} ({by}n{NBSP}={NBSP}{row.n:,})",
        **cells,
        "q": p_value(None if math.isnan(row.q) else row.q),
        "Difference of cosines": f"{row.difference:z.4f}",
        "Verdict": verdict,
    }


def _unusable(rows: pd.DataFrame) -> Iterator[Markdown]:
    """What could not be compared, or has no bounds, and why."""
    named = rows["attribute"] + " " + rows["group"] + ": " + rows["reason"]
    listed = list(dict.fromkeys(named))
    if listed:
        more = f"; and {len(listed) - MOST_ROWS} more" if len(listed) > MOST_ROWS else ""
        yield said("Not compared: {why}{more}.", why="; ".join(listed[:MOST_ROWS]), more=more)


SECTION: Final = Section("association", probe_would("association"), tell)

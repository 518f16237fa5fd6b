"""Who is at the top when pictures are ranked for a text, beside a ranking by lot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import OK
from audit.measure.abstention import rates_in
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, probe_would, said
from audit.probes.kit.cells import MOST_ROWS, at, rate_in_words, table, with_rest
from audit.probes.kit.measures_section import in_unit, measure_cells
from audit.probes.kit.tasks import Task
from audit.probes.kit.told import parts_of
from audit.probes.retrieval import figures
from audit.probes.retrieval.names import PRECISION_AT_K, RECALL_AT_K

_NAMES: Final = {
    "max_skew": "MaxSkew",
    "min_skew": "MinSkew",
    "ndkl": "NDKL",
    "bias": "bias",
    "entropy": "normalised entropy",
}

_RELEVANT: Final = {RECALL_AT_K: "recall", PRECISION_AT_K: "precision"}


def tell(run: Run) -> Sequence[Block]:
    """How the measures are to be read, then every task that ranked pictures."""
    return parts_of(run, "retrieval", _of_task, _WHAT)


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, task: Task) -> Part:
    """Means beside chance, the surest queries, and the numbers behind both."""
    rows = figures.of_retrieval(run, task.name)
    targets = [t for t in dict.fromkeys(rows["target"]) if t]
    blocks: list[Block] = [_asked(rows, task, targets)]
    if (rows["status"] == OK).any():
        blocks += [
            Picture(figures.skews_beside_chance, task.name, targets[0]),
            Picture(figures.who_is_at_the_top, task.name),
            _surest(rows),
            *(_means(rows, target) for target in targets),
            _shares(rows),
        ]
    blocks += _relevant(run, task)
    return Part(task.name, [*blocks[:1], *_unusable(rows), *_left_out(rows), *blocks[1:]])


def _asked(rows: pd.DataFrame, task: Task, targets: Sequence[str]) -> Markdown:
    ranked = (rows["label"] == "") & (rows["metric"] != "bias")
    queries = rows.loc[rows["label"] != "", "family_size"].max()
    queries = 0 if pd.isna(queries) else int(queries)
    listed = [f"‘{name}’" for name in dict.fromkeys(rows.loc[rows["label"] != "", "label"])]
    more = f" and {queries - 8} more" if queries > 8 else ""
    return said(
        "{n} quer{ies}: {listed}{more}. {pictures} pictures of known group were ranked; k is "
        "{ks}; the target is {targets}.",
        n=queries,
        ies="y" if queries == 1 else "ies",
        listed=", ".join(listed[:8]),
        more=more,
        pictures=f"{int(rows.loc[ranked, 'n'].max()):,}",
        ks=", ".join(str(k) for k in sorted(set(rows.loc[rows["metric"] != "ndkl", "k"]))),
        targets=" and ".join(targets) or "not reached",
    )


def _unusable(rows: pd.DataFrame) -> Sequence[Block]:
    """A line an attribute that couldn't be looked at."""
    left = rows[rows["status"] != OK].drop_duplicates(["attribute", "reason"])
    return [
        said(
            "By {attribute}: {status}: {reason}.",
            attribute=row.attribute,
            status=row.status.replace("_", " "),
            reason=row.reason,
        )
        for row in each(left)
    ]


_OUT: Final = re.compile(r"; not ranked: ([^;]*)")


def _left_out(rows: pd.DataFrame) -> Sequence[Block]:
    """A line an attribute some of whose pictures are in no ranking."""
    out = rows.assign(out=rows["method"].str.extract(_OUT)[0]).dropna(subset="out")
    return [
        said("By {attribute}, not ranked: {out}.", attribute=row.attribute, out=row.out)
        for row in each(out.drop_duplicates(["attribute", "out"]))
    ]


def _surest(rows: pd.DataFrame) -> Markdown:
    """The queries of the surest skew: who, how much, beside chance."""
    chosen = figures.surest(rows, MOST_ROWS)
    return table(
        {
            "Query": f"‘{row.label}’",
            "Most over-represented": f"{row.group} ({row.attribute})",
            "Of the top": f"{row.events} of {row.n}",
            "Target": row.target,
        }
        | measure_cells(row)
        for row in each(chosen)
    )


def _means(rows: pd.DataFrame, target: str) -> Folded:
    """Every measure, the mean over queries, by attribute and depth."""
    means = rows[(rows["label"] == "") & (rows["metric"] != "share") & (rows["status"] == OK)]
    means = having(means, target=[target, ""])
    order = {name: i for i, name in enumerate(_NAMES)}
    means = means.sort_values(
        ["attribute", "k", "metric"],
        key=lambda c: c.map(order) if c.name == "metric" else c,
        kind="stable",
    )
    shown = table(
        {"By": row.attribute, "Depth": row.depth, "Mean over queries": _measure(row)} | _cells(row)
        for row in each(means)
    )
    return Folded(f"Every measure against the target ‘{target}’", [shown])


def _measure(row: Record) -> str:
    if row.metric == "bias":
        return f"bias, {row.group} less {row.other}, points"
    return f"{_NAMES[row.metric]}, {row.unit}" if row.unit == "nats" else _NAMES[row.metric]


def _cells(row: Record) -> dict[str, object]:
    """The cells of a measure under headings that do not depend on its unit."""
    value, *others = measure_cells(row).items()
    return {"Value [bounds]": value[1], **dict(others)}


def _shares(rows: pd.DataFrame) -> Folded:
    """Each group's mean share of the largest top."""
    shares = having(rows, metric="share", label="")
    shares = having(shares, k=shares["k"].max())
    shown = table(
        {
            "By": row.attribute,
            "Group": row.group,
            "Share of the top, % [bounds]": at(
                row, in_unit(row.value, row.low_simultaneous, row.high_simultaneous)
            ),
            "By chance [outer]": in_unit(row.null_mean, row.null_low, row.null_high),
        }
        for row in each(shares.head(4 * MOST_ROWS))
    )
    rest = with_rest(shown, len(shares) - 4 * MOST_ROWS, "groups", "measures.parquet")
    return Folded(f"Every group's share of the top {shares['k'].max()}, mean over queries", [rest])


def _relevant(run: Run, task: Task) -> list[Block]:
    """Recall and precision of every group, where a column says which pictures answer a query."""
    here = (run.measures["task"] == task.name) & (run.measures["probe"] == "retrieval")
    here &= run.measures["metric"].isin([*_RELEVANT])
    rows = rates_in(run.measures[here])
    if rows.empty:
        return []
    told = said(
        "Relevance was known for some pictures. **Recall**: of the pictures that answer a query, "
        "the share in the top, by the group of the person sought; at most k over their number. "
        "**Precision**: of the pictures in the top, the share that answers the query, by the group "
        "of the person found; it is lower for a group that fewer queries are about. Counts are of "
        "pairs of a query and a picture."
    )
    shown = table(
        {
            "By": row.attribute,
            "Group": row.group,
            "Depth": row.condition,
            "Measure": _RELEVANT[row.metric],
            "Pairs": f"{row.n:,}",
            "Rate [interval] (events)": rate_in_words(row, row.n),
        }
        for row in each(rows.head(8 * MOST_ROWS))
    )
    rest = with_rest(shown, len(rows) - 8 * MOST_ROWS, "rates", "measures.parquet")
    return [told, Folded("Recall and precision by group", [rest])]


SECTION: Final = Section("retrieval", probe_would("retrieval"), tell)

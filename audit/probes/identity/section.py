"""Failures to tell people apart: verification from embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, OK, UNDEFINED
from audit.measure.abstention import rates_in
from audit.probes.identity.figures import det_curves, error_rates, groups_of, of_task, targets_of
from audit.probes.identity.names import (
    DET_FMR,
    DET_FNMR,
    FMR,
    FNMR,
    FPIR,
    RANK_ONE,
    THRESHOLD,
    TPIR,
    WITHIN_ACROSS,
    WORST_FMR,
    WORST_FNMR,
    at_target,
)
from audit.probes.kit.blocks import (
    A_FAILURE,
    OUT_OF_SCOPE,
    Block,
    Folded,
    Part,
    Picture,
    Section,
    probe_would,
    said,
)
from audit.probes.kit.cells import (
    MOST_ROWS,
    NBSP,
    at,
    measured,
    p_value,
    rate_in_words,
    table,
    tag,
    with_rest,
)
from audit.probes.kit.tasks import Task
from audit.probes.kit.told import parts_of


def tell(run: Run) -> Sequence[Block]:
    """Every task of verification."""
    return parts_of(run, "identity", _of_identity, OUT_OF_SCOPE, A_FAILURE, _WHAT)


_WHAT: Final = Markdown.beside(__file__)


def _of_identity(run: Run, task: Task) -> Part:
    name = task.name
    rows = of_task(run, name)
    attributes = [a for a in dict.fromkeys(rows["attribute"]) if a != EVERYONE]
    lead = _lead(rows, attributes)
    blocks: list[Block] = [_thresholds(rows), _ratios(rows), *_notes(rows, attributes)]
    if lead:
        blocks += [
            Picture(error_rates, name, lead),
            Picture(det_curves, name, _for_curves(rows, lead)),
            Markdown("Each cell: share of pairs [interval] (how many)."),
            _rates(rows, lead),
            *(Folded(f"{name} by {a}", [_rates(rows, a)]) for a in attributes if a != lead),
        ]
        blocks += [
            Folded(f"Who is taken for whom, by {a}", [_confusions(rows, a)])
            for a in attributes
            if len(groups_of(rows, a)) > 1
        ]
    return Part(name, [*blocks, *_watch_list(run, name)])


def _watch_list(run: Run, name: str) -> list[Block]:
    """Searches on a watch list by group of the person looked for, where there is one."""
    rows = having(run.measures, task=name)
    rows = rates_in(having(rows, metric=[FPIR, TPIR, RANK_ONE]))
    if rows.empty:
        return []
    told = Markdown(
        "**Searches on a watch list.** One picture is held against every picture on the list. "
        "*False positive*: somebody who is not on it is found there, at or above the threshold; "
        "the longer the list, the more often. *True positive*: somebody on it is found first and "
        "at or above the threshold; *rank 1*: the same at no threshold. By group of the person "
        "looked for."
    )
    shown = table(
        {
            "By": row.attribute,
            "Group": row.group,
            "At": row.condition,
            "Rate": row.metric,
            "Searches": f"{row.n:,}",
            "Share [interval] (events)": rate_in_words(row, row.n),
        }
        for row in each(rows.head(8 * MOST_ROWS))
    )
    rest = with_rest(shown, len(rows) - 8 * MOST_ROWS, "rates", "measures.parquet")
    return [told, Folded(f"{name}: searches on the watch list", [rest])]


def _lead(rows: pd.DataFrame, attributes: Sequence[str]) -> str | None:
    """The single attribute by which false matches are surest to be uneven."""
    single = [a for a in attributes if " x " not in a and groups_of(rows, a)]
    worst = having(rows, metric=WORST_FMR, attribute=single)
    sure = worst.dropna(subset=["low_simultaneous"]).sort_values("low_simultaneous", kind="stable")
    if len(sure):
        return str(sure["attribute"].iloc[-1])
    return single[0] if single else None


def _for_curves(rows: pd.DataFrame, lead: str) -> str:
    """The attribute with the most groups that have both rates; the leading one if equal."""
    both = rows[rows["metric"].isin([DET_FMR, DET_FNMR]) & (rows["attribute"] != EVERYONE)]
    known = both.groupby(["attribute", "group"])["metric"].nunique().eq(2)
    count = {str(name): int(n) for name, n in known.groupby("attribute").sum().items()}
    return max([lead, *count], key=lambda attribute: count.get(attribute, 0))


def _thresholds(rows: pd.DataFrame) -> Markdown:
    """Where each threshold lies, and what it does to people who did not fix it."""
    found = having(rows, metric=THRESHOLD)
    lines = [
        said("- Target {target}: {reason}.", target=_target(row.condition), reason=row.reason)
        for row in each(found[found["reason"] != ""])
    ]
    cells = table(_threshold(row, rows) for row in each(found))
    return Markdown("\n\n".join([cells, "\n".join(lines)])) if lines else cells


def _threshold(row: Record, rows: pd.DataFrame) -> dict[str, object]:
    others = having(rows, condition=row.condition, attribute=EVERYONE)
    rates = {r.metric: r for r in each(others)}
    fixed = "–" if row.status == UNDEFINED else f"{row.value:.3f}"
    return {
        "Target": _target(row.condition),
        "Threshold (cosine)": at(row, fixed),
        "Fixed on people": f"{row.subjects:,}",
        "Their pairs": f"{row.n:,}",
        "False matches of the others": _rate(rates.get(FMR)),
        "False non-matches of the others": _rate(rates.get(FNMR)),
    }


def _ratios(rows: pd.DataFrame) -> Markdown:
    """How far the worst group is from all, beside chance; what can't be told is left to _notes."""
    told = having(rows, metric=_RATIOS, status=OK)
    told = told[~told["attribute"].str.contains(" x ", regex=False)]
    order = {metric: i for i, metric in enumerate(_RATIOS)}
    told = told.sort_values("metric", key=lambda m: m.map(order), kind="stable")
    return table(_ratio(row) for row in each(told))


_RATIOS: Final = {
    WORST_FMR: "false matches: worst group over all groups",
    WORST_FNMR: "false non-matches: worst group over all groups",
    WITHIN_ACROSS: "false matches: within groups over across them",
}


def _ratio(row: Record) -> dict[str, object]:
    ends = f" [{row.low_simultaneous:.2f}, {row.high_simultaneous:.2f}]"
    chance = "–" if math.isnan(row.null_mean) else f"{row.null_mean:.2f} [to {row.null_high:.2f}]"
    return {
        "Rate": _RATIOS[row.metric],
        "Target": _target(row.condition),
        "Groups": f"{row.attribute}: {row.group}" if row.group else row.attribute,
        "Times [bounds]": at(row, f"{row.value:.2f}{ends}".replace(" ", NBSP)),
        "By chance": chance.replace(" ", NBSP),
        "p": p_value(None if math.isnan(row.p) else row.p),
        "Verdict": tag(row.verdict),
    }


def _notes(rows: pd.DataFrame, attributes: Sequence[str]) -> Iterator[Markdown]:
    """What could not be compared, like reasons together, and what is known of sittings."""
    lines = [
        said(
            "- {rate}{at}: not compared by {attributes}: {reason}.",
            rate=rate,
            at=f" at the target {targets}" if targets else "",
            attributes=", ".join(by),
            reason=reason,
        )
        for (rate, reason, targets), by in _untold(rows, attributes).items()
    ]
    lines += [said("- {note}: light, clothes and camera agree too.", note=note)
              for note in _of_sittings(rows)]  # fmt: skip
    if lines:
        yield Markdown("\n".join(lines))


def _untold(rows: pd.DataFrame, attributes: Sequence[str]) -> dict[tuple[str, str, str], list[str]]:
    """Attributes by rate, reason and targets; the one group that has a rate stands with them."""
    at: dict[tuple[str, str, str], list[str]] = {}
    for attribute in attributes:
        nothing = having(rows, attribute=attribute, group="")
        for row in each(nothing[(nothing["status"] != OK) & (nothing["metric"] != WITHIN_ACROSS)]):
            reason, _, only = row.reason.partition(" (only ")
            named = f"{attribute} (only {only}" if only else attribute
            targets = at.setdefault((_WHAT_RATE[row.metric], reason, named), [])
            targets += [_target(row.condition)] if row.condition else []
    found: dict[tuple[str, str, str], list[str]] = {}
    for (rate, reason, named), targets in at.items():
        found.setdefault((rate, reason, " and ".join(targets)), []).append(named)
    return found


_WHAT_RATE: Final = {
    FMR: "False matches",
    FNMR: "False non-matches",
    WORST_FMR: "False matches",
    WORST_FNMR: "False non-matches",
}


def _of_sittings(rows: pd.DataFrame) -> Iterator[str]:
    mated = rows[(rows["metric"] == FNMR) & (rows["attribute"] == EVERYONE) & (rows["n"] > 0)]
    told = dict.fromkeys(
        part for method in mated["method"] for part in method.split("; ") if "sitting" in part
    )
    yield from (part[:1].upper() + part[1:] for part in told)


def _target(condition: str) -> str:
    """The target in a condition, in percent."""
    return f"{100 * float(condition.split()[-1]):g}%"


def _rates(rows: pd.DataFrame, attribute: str) -> Markdown:
    """Both rates of every group at every target, everyone last; a table each."""
    false, missed = (_of_metric(rows, attribute, metric) for metric in (FMR, FNMR))
    return Markdown("\n\n".join([table(false), table(missed)] if missed else [table(false)]))


def _of_metric(rows: pd.DataFrame, attribute: str, metric: str) -> list[dict[str, object]]:
    """A line a group that has pairs."""
    own = rows[(rows["metric"] == metric) & (rows["n"] > 0)]
    of_group = own["other"].isin(["", EVERYONE]) | (own["group"] == own["other"])
    own = own[of_group & own["attribute"].isin([attribute, EVERYONE])]
    pairs, wrong = _HEADINGS[metric]
    lines: list[dict[str, object]] = []
    for group in [*groups_of(rows, attribute), EVERYONE]:
        cells = {row.condition: row for row in each(having(own, group=group))}
        if not cells:
            continue
        some = next(iter(cells.values()))
        line: dict[str, object] = {"Group": _EVERYONE if group == EVERYONE else group}
        line |= {"People": f"{some.subjects:,}", pairs: f"{some.n:,}"}
        for target in targets_of(rows):
            line[f"{wrong}, target {100 * target:g}%"] = _counted(cells.get(at_target(target)))
        lines.append(line)
    return lines


_EVERYONE: Final = "everyone, also across groups"
_HEADINGS: Final = {
    FMR: ("Pairs of two people", "False matches"),
    FNMR: ("Pairs of one person", "False non-matches"),
}


def _confusions(rows: pd.DataFrame, attribute: str) -> Markdown:
    """False match rate of every two groups at the first target."""
    targets = targets_of(rows)
    own = having(
        rows, attribute=attribute, metric=FMR, condition=at_target(targets[0]) if targets else ""
    )
    cells = {frozenset((row.group, row.other)): row for row in each(own)}
    groups = groups_of(rows, attribute)
    what = Markdown(
        "Share of pairs of two people that pass for one, at the target "
        f"{100 * targets[0]:g}%; with a star where it is not established."
    )
    return Markdown(
        f"{what}\n\n"
        + table(
            {"": one} | {other: _cell(cells.get(frozenset((one, other)))) for other in groups}
            for one in groups
        )
    )


def _cell(row: Record | None) -> str:
    if row is None or math.isnan(row.value):
        return "–"
    shown = _percent(row.value)
    return at(row, shown if row.status == OK else f"{shown}*")


def _rate(row: Record | None) -> str:
    """A rate with its interval, and its status where it is not ok; '–' without a pair."""
    if row is None or math.isnan(row.value):
        return "–"
    few = "" if row.status == OK else f"{NBSP}({row.status.replace('_', NBSP)})"
    return at(row, measured(row.value, row.low, row.high, "%") + few)


def _counted(row: Record | None) -> str:
    """The same with how many pairs are wrong."""
    if row is None or math.isnan(row.value):
        return "–"
    few = "" if row.status == OK else f"; {row.status.replace('_', ' ')}"
    told = measured(row.value, row.low, row.high, "%")
    return at(row, f"{told} ({row.events:,}{few})".replace(" ", NBSP))


def _percent(share: float) -> str:
    """A share in two digits, whatever its size; one that is nearly 0 as below 0.001%."""
    if 0 < share < 1e-5:
        return "<0.001%"
    digits = 0 if share in (0, 1) else max(0, 1 - math.floor(math.log10(100 * share)))
    return f"{100 * share:.{digits}f}%"


# ---- naming --------------------------------------------------------------------------------------


SECTION: Final = Section("surveillance", probe_would("identity"), tell)

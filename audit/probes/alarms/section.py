"""Alarms at the threshold in use: how many are false, for whom, and the price of moving it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Fields, Record, having
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, EXCEEDS, OK, UNDEFINED
from audit.probes.alarms.figures import alarm_curves, roc_curves
from audit.probes.alarms.points import in_words
from audit.probes.alarms.rows import (
    ALARMS,
    CHANGE,
    CURVE,
    CUT_SHORT,
    DETECTED,
    FALSE_ALARMS,
    GAP,
    THRESHOLD,
    TURN,
    threshold_of,
)
from audit.probes.alarms.work import asked_alarms, work_blocks
from audit.probes.kit.blocks import (
    OUT_OF_SCOPE,
    Block,
    Folded,
    Part,
    Picture,
    Section,
    probe_would,
    said,
)
from audit.probes.kit.cells import at, measured, rate_in_words, table
from audit.probes.kit.measures_section import measure_cells
from audit.probes.kit.tasks import tasks_of
from audit.probes.kit.told import parts_of


def tell(run: Run) -> Sequence[Block]:
    """Every task that raises alarms."""
    probes = dict(asked_alarms(run))
    scope = [] if tasks_of(run, "identity") else [OUT_OF_SCOPE]
    return parts_of(
        run, "alarms", lambda _, task: _of_task(run, task.name, probes[task.name]), *scope, _WHAT
    )


_WHAT: Final = Markdown.beside(__file__)


def _of_task(run: Run, name: str, probe: Fields) -> Part:
    rows = having(run.measures, task=name)
    attributes = [a for a in dict.fromkeys(rows["attribute"]) if a != EVERYONE]
    single = [a for a in attributes if " x " not in a]
    lead = _lead(rows, [a for a in single if a != probe.get("truth")] or single)
    blocks: list[Block] = [
        said("Alarm: {labels}.", labels=rows["label"].iloc[0]),
        _thresholds(rows),
        *_remarks(rows),
        *([_gaps(having(rows, attribute=single))] if single else []),
        *_turns(rows),
        *_footage(rows),
        *work_blocks(rows, probe, EVERYONE),
    ]
    if lead:
        blocks += [
            Picture(alarm_curves, name, lead),
            *([Picture(roc_curves, name, lead)] if _has_truth(rows) else []),
            Part(f"If the threshold were moved ({name})", [_PRICE, _price(rows, lead)]),
        ]
    blocks += [Folded(f"{name} by {a}", _by(rows, probe, a)) for a in attributes]
    return Part(name, blocks)


def _has_truth(rows: pd.DataFrame) -> bool:
    return bool((rows["metric"] == CURVE[DETECTED]).any())


def _lead(rows: pd.DataFrame, single: Sequence[str]) -> str | None:
    """The attribute with the surest gap in false alarms, or in alarms.

    One whose groups all have enough of what every rate is among comes first, then one of which two
    have.
    """
    curves = having(rows, metric=CURVE.values())
    enough = (curves["status"] == OK).groupby(
        [curves["attribute"], curves["metric"], curves["group"]]
    )
    by_group = enough.all().groupby(level=["attribute", "metric"])
    whole, two = (
        {str(a) for a, fine in held.groupby(level="attribute").all().items() if fine}
        for held in (by_group.all(), by_group.sum() > 1)
    )
    among = next(
        filter(None, ([a for a in single if a in these] for these in (whole, two))), single
    )
    gaps = having(rows, metric=[GAP[FALSE_ALARMS], GAP[ALARMS]], attribute=among, status=OK)
    sure = gaps.sort_values("low_simultaneous", kind="stable")
    return str(sure["attribute"].iloc[-1]) if len(sure) else next(iter(among), None)


def _thresholds(rows: pd.DataFrame) -> Markdown:
    """Each operating point, and the rates of everyone there."""
    everyone = {(r.condition, r.metric): r for r in each(having(rows, attribute=EVERYONE))}
    titles = {m: f"{t}, everyone" for m, t in _RATES.items() if m in {m for _, m in everyone}}

    def rate(condition: str, metric: str) -> str:
        found = everyone.get((condition, metric))
        return "–" if found is None else rate_in_words(found)

    return table(
        {
            "Operating point": row.condition,
            "Threshold": "none" if row.status == UNDEFINED else at(row, in_words(row.value)),
            **{title: rate(row.condition, metric) for metric, title in titles.items()},
        }
        for row in each(having(rows, metric=THRESHOLD))
    )


def _remarks(rows: pd.DataFrame) -> Iterator[Block]:
    """Why an operating point has no threshold, or what is to be known of it."""
    for row in each(rows[(rows["metric"] == THRESHOLD) & (rows["reason"] != "")]):
        none = "nothing can be judged, since " if row.status == UNDEFINED else ""
        yield said("At {point}: {none}{why}.", point=row.condition, none=none, why=row.reason)
    for row in each(having(rows, metric=CUT_SHORT)):
        cut, of = f"{row.value:,.0f}", f"{row.n:,}"
        told = "{cut} of {of} clips lost a picture that was set aside, and are in no rate."
        yield said(told, cut=cut, of=of)


_WORDS: Final = {
    FALSE_ALARMS: "false alarms",
    DETECTED: "events detected",
    ALARMS: "alarms",
}
_RATES: Final = {metric: words.capitalize() for metric, words in _WORDS.items()}
#: of what a gap, a change of places or one in poor footage is
_WHICH: Final = {
    of[metric]: words for of in (GAP, TURN, CHANGE) for metric, words in _WORDS.items()
}


def _gaps(rows: pd.DataFrame) -> Markdown:
    """The largest gap by each attribute at each operating point."""
    found = having(rows, metric=GAP.values())
    return table(
        {
            "Gap in": _WHICH[row.metric],
            "At": row.condition,
            "By": row.attribute,
            "Between": f"{row.group} v {row.other}" if row.group else "–",
            **_judged(row),
        }
        for row in each(found)
    )


def _judged(row: Record) -> dict[str, object]:
    """Size and verdict; one that rests on the ratio alone says so, as the size may not show it."""
    cells = measure_cells(row)
    by_ratio = row.verdict == EXCEEDS and row.method.endswith("; by ratio")
    verdict = Markdown(f"{cells['Verdict']} by ratio") if by_ratio else cells["Verdict"]
    return {"Points [bounds]": next(iter(cells.values())), "Verdict": verdict}


def _turns(rows: pd.DataFrame) -> Iterator[Block]:
    """Pairs of groups that change places with the threshold."""
    found = having(rows, metric=TURN.values())
    lines = [
        said(
            "- {what} by {by}: {how}.",
            what=_WHICH[row.metric].capitalize(),
            by=row.attribute,
            how=row.method,
        )
        for row in each(found)
    ]
    if lines:
        yield Markdown("Who is worse off depends on the threshold:\n\n" + "\n".join(lines))


def _footage(rows: pd.DataFrame) -> Iterator[Block]:
    """What poor footage does to the rates of everyone."""
    found = having(rows, metric=CHANGE.values())
    if found.empty:
        return
    yield Markdown(
        "In poor footage, of everyone: the change of each rate from a plain camera, paired by what "
        "is shown, with bounds for all operating points and all poor footage at once."
    )
    yield table(
        {"Change in": _WHICH[row.metric], "At": row.condition, **_judged(row)}
        for row in each(found)
    )


# ---- what it costs -------------------------------------------------------------------------------


_PRICE: Final = Markdown(
    "Each row is another threshold. What is saved in false alarms is paid for in missed events, "
    "and beside everyone's rate stands that of the group that pays most. Everyone is counted here, "
    "also those on whom a threshold was chosen."
)


def _price(rows: pd.DataFrame, attribute: str) -> Markdown:
    """Rates of everyone and of the worst group at the thresholds of the curves."""
    lines = []
    metrics = [m for m in (FALSE_ALARMS, DETECTED, ALARMS) if (rows["metric"] == CURVE[m]).any()]
    curves = having(rows, metric=[CURVE[m] for m in metrics])
    for condition, here in curves.groupby("condition", sort=False):
        line: dict[str, object] = {"Threshold": str(condition).split()[-1]}
        for metric in metrics:
            of = having(here, metric=CURVE[metric])
            (everyone,) = each(having(of, attribute=EVERYONE))
            line[f"{_RATES[metric]}, everyone"] = _rate(everyone)
            groups = having(of, attribute=attribute)
            line[f"{_WORST[metric]}, by {attribute}"] = _worst(groups, metric == DETECTED)
        lines.append(line)
    return table(sorted(lines, key=lambda line: float(str(line["Threshold"])), reverse=True))


def _worst(groups: pd.DataFrame, fewest: bool) -> str | Markdown:
    """The group that pays most, of those with enough to compare."""
    enough = having(groups, status=OK).sort_values("value", kind="stable")
    if len(enough) < 2:
        return "too few of its groups"
    few = len(groups) - len(enough)
    but = f", {few} too few" if few else ""
    if enough["value"].nunique() == 1:
        return f"equal here{but}"
    worst = each(enough)[0 if fewest else -1]
    return said("{g}: {rate}{but}", g=worst.group, rate=_rate(worst), but=but)


def curves_of(run: Run, task: str) -> tuple[list[str], list[str]]:
    """The points of a task's curves, as conditions, rising; and by which attributes they are."""
    rows = having(run.measures, task=task, metric=CURVE.values())
    points = sorted(dict.fromkeys(rows["condition"]), key=threshold_of)
    return points, [a for a in dict.fromkeys(rows["attribute"]) if a != EVERYONE]


def chosen_on_half(run: Run, task: str) -> list[str]:
    """Operating points whose threshold was chosen on half of the subjects."""
    rows = having(run.measures, task=task, metric=THRESHOLD)
    return list(rows.loc[(rows["n"] > 0) & (rows["status"] == OK), "condition"])


def rates_at(run: Run, task: str, condition: str, attribute: str) -> Markdown:
    """Every group's rates at one point of the curves, everyone last."""
    rows = having(run.measures, task=task, condition=condition, metric=CURVE.values())
    cells = {(r.group, r.metric): r for r in each(having(rows, attribute=[attribute, EVERYONE]))}
    groups = sorted(dict.fromkeys(g for g, _ in cells), key=lambda g: g == EVERYONE)
    return table(
        {"Group": group}
        | {
            title: rate_in_words(cells[group, CURVE[m]])
            for m, title in _RATES.items()
            if (group, CURVE[m]) in cells
        }
        for group in groups
    )


_WORST: Final = {
    FALSE_ALARMS: "Most false alarms",
    DETECTED: "Fewest detected",
    ALARMS: "Most alarms",
}


def _rate(row: Record) -> str:
    ends = row.low_simultaneous, row.high_simultaneous
    return at(row, measured(row.value, *ends, unit="%"))


def _by(rows: pd.DataFrame, probe: Fields, attribute: str) -> list[Block]:
    """All rates of an attribute's groups at each operating point."""
    found = having(rows, attribute=attribute, metric=_RATES)
    cells = {(r.condition, r.group, r.metric): r for r in each(found)}
    titles = {m: t for m, t in _RATES.items() if m in {*found["metric"]}}
    rates = table(
        {"At": condition, "Group": group}
        | {title: rate_in_words(cells[condition, group, m]) for m, title in titles.items()}
        for condition, group in dict.fromkeys(key[:2] for key in cells)
    )
    gaps = [_gaps(having(rows, attribute=attribute))] if " x " in attribute else []
    return [rates, *gaps, *work_blocks(rows, probe, attribute)]


SECTION: Final = Section("surveillance", probe_would("alarms"), tell)
"""False alarms and missed events by group, at the threshold in use and at every other."""

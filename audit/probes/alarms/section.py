"""Alarms at the threshold in use: how many are false, for whom, and the price of moving it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Fields, Record
from audit.core.rundir import Run
from audit.core.tables import EVERYONE, OK, UNDEFINED
from audit.probes.alarms.figures import alarm_curves, roc_curves
from audit.probes.alarms.rows import (
    ALARMS,
    CURVE,
    DETECTED,
    FALSE_ALARMS,
    GAP,
    PER_HOUR,
    PRECISION,
    REVIEWS,
    THRESHOLD,
    TURN,
    threshold_of,
)
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
from audit.probes.kit.measures_section import in_unit, measure_cells
from audit.probes.kit.tasks import tasks_of


def tell(run: Run) -> Sequence[Block]:
    """Every task that raises alarms."""
    asked = tasks_of(run, "alarms")
    probes = [probe for probe in run.suite["probes"] if probe["kind"] == "alarms"]
    parts = [_of_task(run, t.name, p) for t, p in zip(asked, probes, strict=True)]
    scope = [] if tasks_of(run, "identity") else [OUT_OF_SCOPE]
    return [*scope, _WHAT, *parts] if parts else ()


_WHAT: Final = Markdown(
    """\
**How many alarms are false, and for whom?** There is an alarm where the score of the alarm's labels
is at or above a threshold.

- **False alarm rate**: of what shows *no* event, the share that raises an alarm. High is worse for
  whoever is shown: people are watched, stopped or searched for it. **Detection rate**: of what
  *shows* an event, the share that raises one. Low is worse for whoever needed help.
- Each rate is among one sort only, so the share of events in these pictures moves neither. How many
  alarms are *right* does depend on that share: it is stated for the place of use, never read off
  the data.
- A threshold that was chosen for a wanted rate was chosen on one half of the subjects, drawn by
  lot; its rates are those of the other half.
- Bounds of gaps hold for all pairs of groups and all operating points of an attribute at once, the
  bands of curves for all groups and thresholds."""
)


def _of_task(run: Run, name: str, probe: Fields) -> Part:
    rows = run.measures[run.measures["task"] == name]
    attributes = [a for a in dict.fromkeys(rows["attribute"]) if a != EVERYONE]
    single = [a for a in attributes if " x " not in a]
    lead = _lead(rows, [a for a in single if a != probe.get("truth")] or single)
    blocks: list[Block] = [
        said("Alarm: {labels}.", labels=rows["label"].iloc[0]),
        _thresholds(rows),
        _gaps(rows[rows["attribute"].isin(single)]),
        *_turns(rows),
        *_work(rows, probe, EVERYONE),
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
    """The attribute with the surest gap in false alarms, or in alarms."""
    gaps = rows[rows["metric"].isin([GAP[FALSE_ALARMS], GAP[ALARMS]])]
    gaps = gaps[gaps["attribute"].isin(single) & (gaps["status"] == OK)]
    sure = gaps.sort_values("low_simultaneous", kind="stable")
    return str(sure["attribute"].iloc[-1]) if len(sure) else next(iter(single), None)


def _thresholds(rows: pd.DataFrame) -> Markdown:
    """Each operating point, and the rates of everyone there."""
    everyone = {(r.condition, r.metric): r for r in each(rows[rows["attribute"] == EVERYONE])}
    return table(
        {
            "Operating point": row.condition,
            "Threshold": row.reason if row.status == UNDEFINED else at(row, f"{row.value:.4g}"),
            **{
                f"{title}, everyone": rate_in_words(everyone[row.condition, metric])
                for metric, title in _RATES.items()
                if (row.condition, metric) in everyone
            },
        }
        for row in each(_uniform(rows[rows["metric"] == THRESHOLD]))
    )


def _uniform(found: pd.DataFrame) -> pd.DataFrame:
    """Points that can be told in one table: those with a threshold, else all."""
    known = found[found["status"] == OK]
    return known if len(known) else found


_WORDS: Final = {
    FALSE_ALARMS: "false alarms",
    DETECTED: "events detected",
    ALARMS: "alarms",
}
_RATES: Final = {metric: words.capitalize() for metric, words in _WORDS.items()}
#: of what a gap or a change of places is
_WHICH: Final = {of[metric]: words for of in (GAP, TURN) for metric, words in _WORDS.items()}


def _gaps(rows: pd.DataFrame) -> Markdown:
    """The largest gap by each attribute at each operating point."""
    found = rows[rows["metric"].isin(GAP.values())]
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
    cells = measure_cells(row)
    return {"Points [bounds]": next(iter(cells.values())), "Verdict": cells["Verdict"]}


def _turns(rows: pd.DataFrame) -> Iterator[Block]:
    """Pairs of groups that change places with the threshold."""
    found = rows[rows["metric"].isin(TURN.values())]
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


# ---- what it costs -------------------------------------------------------------------------------


_PRICE: Final = Markdown(
    "Each row is another threshold. What is saved in false alarms is paid for in missed events, "
    "and beside everyone's rate stands that of the group that pays most."
)


def _price(rows: pd.DataFrame, attribute: str) -> Markdown:
    """Rates of everyone and of the worst group at the thresholds of the curves."""
    lines = []
    metrics = [m for m in (FALSE_ALARMS, DETECTED, ALARMS) if (rows["metric"] == CURVE[m]).any()]
    curves = rows[rows["metric"].isin([CURVE[m] for m in metrics]) & (rows["status"] == OK)]
    for condition, here in curves.groupby("condition", sort=False):
        line: dict[str, object] = {"Threshold": str(condition).split()[-1]}
        for metric in metrics:
            of = here[here["metric"] == CURVE[metric]]
            everyone = each(of[of["attribute"] == EVERYONE])
            groups = of[of["attribute"] == attribute].sort_values("value", kind="stable")
            line[f"{_RATES[metric]}, everyone"] = _rate(everyone[0]) if everyone else "–"
            line[_WORST[metric]] = "no two groups differ"
            if groups["value"].nunique() > 1:
                worst = each(groups)[0 if metric == DETECTED else -1]
                line[_WORST[metric]] = said("{g}: {rate}", g=worst.group, rate=_rate(worst))
        lines.append(line)
    return table(sorted(lines, key=lambda line: float(str(line["Threshold"])), reverse=True))


def curves_of(run: Run, task: str) -> tuple[list[str], list[str]]:
    """The points of a task's curves, as conditions, rising; and by which attributes they are."""
    rows = run.measures[run.measures["task"] == task]
    rows = rows[rows["metric"].isin(CURVE.values())]
    points = sorted(dict.fromkeys(rows["condition"]), key=threshold_of)
    return points, [a for a in dict.fromkeys(rows["attribute"]) if a != EVERYONE]


def rates_at(run: Run, task: str, condition: str, attribute: str) -> Markdown:
    """Every group's rates at one point of the curves, everyone last."""
    rows = run.measures[(run.measures["task"] == task) & (run.measures["condition"] == condition)]
    rows = rows[rows["metric"].isin(CURVE.values())]
    cells = {
        (r.group, r.metric): r for r in each(rows[rows["attribute"].isin([attribute, EVERYONE])])
    }
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


_WORK: Final = {
    PER_HOUR: "Alarms per camera and hour",
    PRECISION: "Alarms that are right",
    REVIEWS: "Alarms looked at for each right one",
}


def _work(rows: pd.DataFrame, probe: Fields, attribute: str) -> Iterator[Block]:
    """What the alarms are for an operator."""
    found = rows[rows["metric"].isin(_WORK) & (rows["attribute"] == attribute)]
    if found.empty:
        return
    work = probe["workload"]
    if attribute == EVERYONE:
        yield said(
            "Stated for the place of use: {n} pictures or clips an hour and camera, an event in "
            "{p} of them, {cameras} cameras.",
            n=f"{work['per_hour']:,g}", p=f"{100 * work['prevalence']:g} %",
            cameras=f"{work['cameras']:,}",
        )  # fmt: skip
        hourly = found[found["metric"] == PER_HOUR]
        for row in each(hourly[hourly["value"].notna()]):
            yield said(
                "At {point}: {all} alarms an hour over all {cameras} cameras.",
                point=row.condition, all=f"{row.value * work['cameras']:,.3g}",
                cameras=f"{work['cameras']:,}",
            )  # fmt: skip
    cells = {(r.condition, r.group, r.metric): r for r in each(found)}
    yield table(
        {"At": condition, "Group": group}
        | {title: _worked(cells[condition, group, metric]) for metric, title in _WORK.items()}
        for condition, group in dict.fromkeys(key[:2] for key in cells)
    )


def _worked(row: Record) -> str:
    if math.isnan(row.value):
        return str(row.reason)
    few = "" if row.status == OK else f" ({row.status.replace('_', ' ')})"
    if row.metric == PRECISION:
        return at(row, measured(row.value, row.low, row.high, "%") + few)
    return at(row, in_unit(row.value, row.low, row.high, row.unit) + few)


def _by(rows: pd.DataFrame, probe: Fields, attribute: str) -> list[Block]:
    """All rates of an attribute's groups at each operating point."""
    found = rows[(rows["attribute"] == attribute) & rows["metric"].isin(_RATES)]
    cells = {(r.condition, r.group, r.metric): r for r in each(found)}
    titles = {m: t for m, t in _RATES.items() if m in {*found["metric"]}}
    rates = table(
        {"At": condition, "Group": group}
        | {title: rate_in_words(cells[condition, group, m]) for m, title in titles.items()}
        for condition, group in dict.fromkeys(key[:2] for key in cells)
    )
    gaps = [_gaps(rows[rows["attribute"] == attribute])] if " x " in attribute else []
    return [rates, *gaps, *_work(rows, probe, attribute)]


SECTION: Final = Section("surveillance", probe_would("alarms"), tell)
"""False alarms and missed events by group, at the threshold in use and at every other."""

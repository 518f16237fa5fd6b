"""How far a gap depends on wording: single templates, specification curves, steady choices."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import MARKS, Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import CHOSEN, DECLARED, ENSEMBLE, EVERYONE, OK, WORST
from audit.probes.kit.cells import (
    MOST_ROWS,
    NBSP,
    asked,
    at,
    measured,
    needed,
    p_value,
    table,
    with_rest,
)

#: rows of a table of specification curves, most of them folded
MOST_CURVES: Final = 60


def templates_table(run: Run) -> Markdown:
    """The gap of all templates together and over single templates, widest spread first."""
    gaps = having(run.disparities, comparison=WORST, status=OK)
    single = gaps[gaps["condition"].str.startswith("template: ")]
    question = ["task", "metric", "label", "attribute"]
    over = single.assign(over=single["value"] > single["margin"])
    spread = over.groupby(question)["value"].agg(["min", "max", "size"])
    spread["over"] = over.groupby(question)["over"].sum()
    joined = having(gaps, condition=ENSEMBLE).join(spread, on=question, how="inner")
    joined = joined.assign(range=joined["max"] - joined["min"])
    joined = joined.sort_values("range", ascending=False, kind="stable")
    shown = table(
        {
            "Task": row.task,
            "Chosen": asked(row),
            "By": row.attribute,
            "All templates": at(row, _points(row.value, row)),
            "Single templates": f"{_points(row.min, row)} to {_points(row.max, row)}",
            "Over the margin": f"{row.over} of {row.size}",
        }
        for row in each(joined.head(MOST_ROWS))
    )
    return with_rest(shown, len(joined) - MOST_ROWS, "questions", "disparities.parquet")


def _points(value: float, row: Record) -> str:
    """A gap in the digits that this row's bounds support."""
    return percent(value, row.low_simultaneous, row.high_simultaneous)


def curve_lead(run: Run) -> tuple[str, str] | None:
    """Task and attribute of the specification curve of the most important finding, if any."""
    ranked = _ranked_curves(run)
    return (ranked[0].task, ranked[0].attribute) if ranked else None


def _ranked_curves(run: Run) -> list[Record]:
    """The curves in the order of the findings: of each task the first, then all others."""
    place = {tuple(f[name] for name in _CURVE): -i for i, f in enumerate(run.findings)}
    keys = run.sensitivity[_CURVE].itertuples(index=False, name=None)
    places = [place.get(key, -len(place)) for key in keys]
    ranked = run.sensitivity.assign(place=places).sort_values(
        "place", ascending=False, kind="stable"
    )
    first = ranked.drop_duplicates("task")
    return each(pd.concat([first, ranked.drop(first.index)]))


_CURVE: Final = ["task", "metric", "label", "attribute"]


def wordings(run: Run) -> str:
    """In how many wordings gaps were looked at, from the fewest to the most where tasks differ."""
    number = run.sensitivity.groupby("task", sort=False)["wordings"].max()
    if number.nunique() == 1:
        return f"{number.iloc[0]:,}"
    return f"{number.min():,} to {number.max():,}"


def curves_table(run: Run, others: bool = False) -> Markdown:
    """Of every task the most important specification curve, or all others: model and question."""
    ranked = _ranked_curves(run)
    tasks_asked = run.sensitivity["task"].nunique()
    chosen = ranked[tasks_asked:] if others else ranked[:tasks_asked]
    shown = table(_curve_cells(row) for row in chosen[:MOST_CURVES])
    return with_rest(shown, len(chosen) - MOST_CURVES, "curves", "sensitivity.parquet")


def _curve_cells(row: Record) -> dict[str, str]:
    share = row.model_share, row.model_share_low, row.model_share_high
    verdict = f"{MARKS[row.common_verdict][0]} {row.common_verdict}".replace(" ", NBSP)
    sign = _of(row.agree_sign, row.wordings)
    return {
        "Chosen": f"{row.task}: {asked(row)}",
        "Between": f"{row.group} v {row.other} ({row.attribute})",
        "Question": _selection(row),
        "Headline": percent(row.headline, row.low, row.high),
        "Model: mean [bounds]": at(row, measured(row.mean, row.low, row.high)),
        "Question: spread [bounds]": _steady(row.spread, row.spread_low, row.spread_high),
        "Model's share": _whole(*share, "%").replace(NBSP, " ", 1),
        "Same sign (by chance)": f"{sign} ({_share(row.agree_sign_null)})",
        "Verdict of most": f"{verdict} {_of(row.agree_verdict, row.wordings)}",
        "Joint p": p_value(_number(row.p_median)),
        "Needed": "–" if math.isnan(row.needed) else needed(row.needed),
    }


def _selection(row: Record) -> str:
    """How the question came to be asked; blank in runs of earlier versions."""
    if row.selection == CHOSEN:
        return f"{CHOSEN} of {row.candidates:,}".replace(" ", NBSP)
    return row.selection or "–"


def selections(run: Run) -> dict[str, int]:
    """How many curves are of declared questions, of chosen ones, and of an earlier version's."""
    how = run.sensitivity["selection"].value_counts()
    return {name: int(how.get(name, 0)) for name in (DECLARED, CHOSEN, "")}


def fewest_deals(run: Run) -> str:
    """The fewest deals that a joint test of the run was made on, and the most where these differ.

    A curve without a test has none.
    """
    deals = run.sensitivity["deals"]
    some = deals[deals > 0]
    if some.empty:
        return ""
    least, most = int(some.min()), int(some.max())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _steady(value: float, low: float, high: float, unit: str = "") -> str:
    """As ``measured``; what no resample moves is in whole points: it has no width to go by."""
    if math.isnan(value) or high - low > 1e-5:
        return measured(value, low, high, unit)
    return _whole(value, low, high, unit)


def _whole(value: float, low: float, high: float, unit: str = "") -> str:
    """A number with its bounds in whole points, whatever finer digits they support."""
    shown = "–" if math.isnan(value) else f"{100 * value:z.0f}{unit}"
    within = "" if math.isnan(low + high) else f" [{100 * low:z.0f}, {100 * high:z.0f}]"
    return (shown + within).replace(" ", NBSP)


def _of(share: float, wordings: int) -> str:
    if math.isnan(share):
        return "–"
    return f"{round(share * wordings):,}/{wordings:,}"


def _share(value: float) -> str:
    """A share without bounds, in whole points; what is there at all is no 0%."""
    if math.isnan(value):
        return "–"
    return f"<{NBSP}1%" if 0 < value < 0.005 else f"{value:.0%}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def untold_curves(run: Run) -> list[str]:
    """Why a number of some curve can't be given, each reason once with how many curves it has."""
    told = run.sensitivity["reason"].fillna("").str.split("; ").explode()
    counts = told[told != ""].value_counts()
    return [f"{reason} ({n} of {len(run.sensitivity)} curves)" for reason, n in counts.items()]


def variance_table(run: Run) -> Markdown:
    """What single choices vary by, the other joint tests, and whether groups rank alike."""
    ranked = _ranked_curves(run)
    shown = table(
        {"Chosen": f"{row.task}: {asked(row)}", "By": row.attribute}
        | {name: _share(getattr(row, column)) for name, column in _PARTS.items()}
        | {
            "p, signs": p_value(_number(row.p_sign)),
            "p, large": p_value(_number(row.p_large)),
            "Generalisability [bounds]": _coefficient(row),
            "Kendall's W": "–" if math.isnan(row.kendall_w) else at(row, f"{row.kendall_w:.2f}"),
        }
        for row in ranked[:MOST_CURVES]
    )
    return with_rest(shown, len(ranked) - MOST_CURVES, "curves", "sensitivity.parquet")


_PARTS: Final = {
    "Picture": "share_picture",
    "Group": "share_group",
    "Wording": "share_template",
    "Group x wording": "share_group_template",
    "Rest": "share_rest",
}


def _coefficient(row: Record) -> str:
    if math.isnan(row.generalisability):
        return "–"
    ends = row.generalisability_low, row.generalisability_high
    within = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if not math.isnan(sum(ends)) else ""
    return f"{row.generalisability:.2f}{within}".replace(" ", NBSP)


def stability_table(run: Run) -> Markdown:
    """How steady the choice for a picture is: every task, and the groups of the leading curve."""
    lead = curve_lead(run)
    steady = run.stability
    groups = (steady["task"] == lead[0]) & (steady["attribute"] == lead[1]) if lead else False
    return table(
        {
            "Task": row.task,
            "Group": row.group,
            "Pictures": f"{row.n:,}",
            "Subjects": f"{row.subjects:,}",
            "Other label than the ensemble's": at(
                row, measured(row.flips, row.flips_low, row.flips_high, "%")
            ),
            "Entropy": measured(row.entropy, row.entropy_low, row.entropy_high, "%"),
        }
        for row in each(pd.concat([steady[groups], having(steady, attribute=EVERYONE)]))
    )


#: what a template may call; the run is filled in
OFFERS: Final = (
    templates_table,
    curve_lead,
    wordings,
    curves_table,
    selections,
    fewest_deals,
    untold_curves,
    variance_table,
    stability_table,
)

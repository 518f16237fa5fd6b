"""What was fixed before the run: margins, what could be seen, how chance was imitated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Fields, Record, having
from audit.core.rundir import Run
from audit.core.tables import DIFFERENCE, EXPLORATORY, PRIMARY
from audit.measure.claims import Claim
from audit.measure.confidence import DEFAULT_RATIO, RATIO_FAMILIES, Confidence
from audit.measure.findings import judged
from audit.measure.metrics import DEFAULT_FAMILY
from audit.probes.kit.cells import MOST_ROWS, asked, needed, p_value, table, tag


def margins_of(run: Run) -> dict[str, Fields]:
    """The margins of a run by label family: those stated, and those that bind unstated."""
    stated: dict[str, Fields] = run.suite["confidence"]["margins"]
    measured = having(run.measures, probe="alarms")
    judged_by = {*run.disparities["margin_family"], *measured["margin_family"]}
    # a harmful family has a ratio too, also where the suite states none
    bound = Confidence(margins=stated)
    return stated | {f: bound.margin(f).model_dump() for f in RATIO_FAMILIES if f in judged_by}


def margins_table(run: Run) -> Markdown:
    """The margins that were fixed before the run."""
    margins = margins_of(run)
    shown = table(
        {
            "Label family": "every other" if family == DEFAULT_FAMILY else family,
            "Gap that matters, points": f"{100 * margin['difference']:g}",
            "Ratio that matters": _ratio(family, margin),
        }
        for family, margin in sorted(margins.items(), key=lambda m: m[0] == DEFAULT_FAMILY)
    )
    if not {*RATIO_FAMILIES} & {*margins}:
        return shown
    told = (
        f"Of crime, nonhuman and suspicion a ratio of {DEFAULT_RATIO:g} matters too, unless the "
        "suite states another; false alarms, and alarms of unknown truth, are judged as suspicion."
    )
    return Markdown(f"{shown}\n\n{told}")


def _ratio(family: str, margin: Fields) -> str:
    """The ratio that matters of a label family, and the rate under which none does."""
    ratio = margin.get("ratio")
    if ratio is None:
        return "none"
    negligible = margin.get("negligible")
    return f"{ratio:g}" + (f", above {100 * negligible:g} %" if negligible else "")


def primary_table(run: Run) -> Markdown:
    """Every primary question with its reason, what it needed, and the verdict on it."""
    rows = having(run.disparities, role=PRIMARY)
    whys = [Claim.model_validate(claim) for claim in run.suite.get("primary") or ()]
    return table(
        {
            "Question": f"{row.task}: {asked(row)}",
            "By": row.attribute,
            "Asked because": _why(row, whys),
            "Holm's p": p_value(None if math.isnan(row.q_margin) else row.q_margin),
            "Verdict": tag(row.verdict),
        }
        for row in each(rows)
    )


def _why(row: Record, claims: Sequence[Claim]) -> str:
    """The reason that the suite gives for a question."""
    question = {"task": row.task, "metric": row.metric, "label": row.label}
    found = [c.why for c in claims if c.concerns(row.attribute) and c.asks(question)]
    return next(
        (why for why in found if why), "a gate of the suite covers it" if not claims else "–"
    )


def families(run: Run) -> Mapping[str, int]:
    """How many families of comparisons and how many questions of each role there are."""
    d = run.disparities
    roles = d["role"].value_counts()
    return {
        "families": int(having(d, comparison=DIFFERENCE)["family"].nunique()),
        "primary": int(roles.get(PRIMARY, 0)),
        "exploratory": int(roles.get(EXPLORATORY, 0)),
        "measured": int(run.measures["family"].replace("", None).nunique()),
        "rule": int(run.manifest.get("verdict_rule", 1)),
    }


def power_table(run: Run) -> Markdown:
    """The smallest gap that would be seen, by attribute and how common the event is."""
    return table(_power_cells(row) for row in run.dataset["power"])


def _power_cells(row: Fields) -> dict[str, str]:
    labels = f" x {row['labels']}" if "labels" in row else ""
    bases = [key.removeprefix("base ") for key in row if key.startswith("base ")]
    return (
        {
            "Attribute": row["attribute"],
            "Groups": f"{row['groups']}",
            "Smallest": f"{row['smallest'] or 0:,}",
            "Comparisons": f"{row['comparisons']}{labels}",
        }
        | {
            f"Event in {b}": _detectable(row[f"base {b}"], row.get(f"worst {b}", row[f"base {b}"]))
            for b in bases
        }
        | {"Needed": needed(row["needed"]), "Smallest q": p_value(row.get("smallest_p"))}
    )


def _detectable(best: float | None, worst: float | None = None) -> str:
    """Points seen, from independent pictures to subjects that count once, if that differs."""
    if best is None:
        return "– none"
    told = percent(best, 0, best)
    if worst is None:
        return f"{told} to none"
    at_worst = percent(worst, 0, worst)
    return told if at_worst == told else f"{told} to {at_worst}"


def adjustments(run: Run) -> str:
    """How q-values were adjusted in this run, by its own word."""
    compared = having(run.disparities, comparison=DIFFERENCE)
    methods = " ".join(compared["method"].unique())
    known = {"Holm": "Holm's method", "step-down": "step-down max-T over the same resamples"}
    return " or ".join(told for name, told in known.items() if name in methods) or "nothing"


def nulls_table(run: Run) -> Markdown:
    """Within which other attributes subjects were dealt to the groups of each attribute."""
    gaps = judged(run.disparities, run.rates)
    gaps = gaps[gaps["null_mean"].notna()].drop_duplicates("attribute")
    within = gaps["method"].str.extract(r"null within ([^;]*)")[0].fillna("no other attribute")
    return table(
        {"Dealt to the groups of": attribute, "Among subjects alike in": others}
        for attribute, others in zip(gaps["attribute"], within, strict=True)
    )


def unweighted(run: Run) -> str:
    """Groups that had no weight at all in some replicates, and in how many."""
    some = run.rates[run.rates["unweighted"] > 0]
    most = some.groupby(["attribute", "group"], sort=False)["unweighted"].max()
    ranked = most.sort_values(ascending=False, kind="stable").reset_index()
    named = [f"{row.attribute} {row.group} in {row.unweighted:,}" for row in each(ranked)]
    more = [f"{len(named) - MOST_ROWS} more"] if len(named) > MOST_ROWS else []
    return ", ".join(named[:MOST_ROWS] + more)


#: what a template may call; the run is filled in
OFFERS: Final = (
    families,
    margins_table,
    power_table,
    primary_table,
    adjustments,
    nulls_table,
    unweighted,
)

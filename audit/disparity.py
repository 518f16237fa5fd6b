"""Rates -> disparities: differences, ratios and the worst case, with intervals and verdicts.

A family is the set of differences of one task, metric and attribute in the headline condition: all
labels, every pair of groups and (from three groups on) every group against the rest. Simultaneous
bounds and q-values hold over a family. Single templates, the other conditions, get worst-case gaps
only: they show the spread of wordings and are not tested.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.metrics import DEFAULT_FAMILY, QUESTION, UNKNOWN
from audit.stats.intervals import log_ratio, newcombe
from audit.stats.power import detectable_difference
from audit.stats.significance import bonferroni_level, difference_p, holm
from audit.tables import (
    CANNOT_TELL,
    DISPARITIES,
    ENSEMBLE,
    EVERYONE,
    OK,
    REST,
    SHOWN_LARGE,
    SHOWN_SMALL,
    TOO_FEW,
    UNDEFINED,
    records,
)


class Margin(BaseModel):
    """How large a gap must be to matter: in points (0.05 is five) and as a ratio of rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    difference: float = Field(0.05, gt=0, lt=1)
    ratio: float = Field(1.25, gt=1)


class Confidence(BaseModel):
    """How sure to be; fixed in the suite before anything is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(0.95, gt=0.5, lt=1, description="of every interval and family")
    power: float = Field(0.8, gt=0.5, lt=1, description="for the smallest detectable difference")
    min_group: int = Field(30, ge=2, description="smaller groups enter no comparison")
    margins: Mapping[str, Margin] = Field(default_factory=lambda: {DEFAULT_FAMILY: Margin()})

    @model_validator(mode="after")
    def _has_default(self) -> Confidence:
        if DEFAULT_FAMILY not in self.margins:
            object.__setattr__(self, "margins", {DEFAULT_FAMILY: Margin(), **self.margins})
        return self

    def margin(self, family: str) -> Margin:
        """The margin of a label family, or the default one."""
        return self.margins.get(family, self.margins[DEFAULT_FAMILY])


def disparities(rates: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """Every comparison of groups within each attribute; the table DISPARITIES.

    Args:
        rates: the table RATES.
        confidence: level, margins, smallest group.
    """
    within = rates[(rates["attribute"] != EVERYONE) & (rates["group"] != UNKNOWN)]
    blocks = []
    for _, family in within.groupby(["probe", "task", "metric", "attribute"], sort=False):
        headline = family[family["condition"] == ENSEMBLE]
        compared = _tested(_paired(headline), confidence)
        blocks += [compared, _ratios(compared, confidence), _worst(compared)]
        blocks += [_worst_untested(family[family["condition"] != ENSEMBLE], confidence)]
    return pd.concat([b for b in blocks if len(b)], ignore_index=True).pipe(DISPARITIES.conform)


def key(row: Mapping[str, object]) -> str:
    """The name by which findings cite a row."""
    names = ("probe", "task", "condition", "metric", "label", "attribute", "comparison", "group")
    return " | ".join(str(row[name]) for name in (*names, "other"))


Counts = NDArray[np.int64]

_SIDE: Final = ["n", "subjects", "events", "value", "status", "reason"]


def _paired(headline: pd.DataFrame) -> pd.DataFrame:
    """Every pair of groups of each question, and every group against the rest, side by side."""
    pairs = []
    for question, rows in headline.groupby([*QUESTION, "attribute"], sort=False):
        for one, other in _comparisons(rows):
            pairs.append(
                dict(zip([*QUESTION, "attribute"], question, strict=True))
                | {"group": one["group"], "other": other["group"]}
                | {side: one[side] for side in _SIDE}
                | {f"{side}_other": other[side] for side in _SIDE}
            )
    return pd.DataFrame(pairs)


def _comparisons(rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    groups = records(rows[["group", *_SIDE]])
    yield from itertools.combinations(groups, 2)
    if len(groups) > 2:
        for i, one in enumerate(groups):
            yield one, _pooled(groups[:i] + groups[i + 1 :])


def _pooled(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """All other groups together, also the small ones: nobody is dropped from the rest."""
    sums = {side: sum(g[side] for g in groups) for side in ("n", "subjects", "events")}
    value = sums["events"] / sums["n"] if sums["n"] else np.nan
    status = OK if sums["n"] else UNDEFINED
    reason = "" if sums["n"] else "no picture outside this group"
    return {"group": REST, **sums, "value": value, "status": status, "reason": reason}


def _tested(pairs: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """Differences with their own and simultaneous intervals, p, q and verdict."""
    if pairs.empty:
        return pairs
    ok = ((pairs["status"] == OK) & (pairs["status_other"] == OK)).to_numpy()
    counts = _counts(pairs)
    size = int(ok.sum())
    together = bonferroni_level(confidence.level, max(size, 1))
    low, high = newcombe(*counts, level=confidence.level)
    low_all, high_all = newcombe(*counts, level=together)
    p = np.where(ok, difference_p(*counts), np.nan)
    margin = pairs["margin_family"].map(lambda f: confidence.margin(f).difference).to_numpy()
    table = pairs.assign(
        comparison="difference",
        value=pairs["value"] - pairs["value_other"],
        low=low,
        high=high,
        low_simultaneous=np.where(ok, low_all, np.nan),
        high_simultaneous=np.where(ok, high_all, np.nan),
        level=confidence.level,
        p=p,
        q=holm(p),
        family=pairs["task"] + ", " + pairs["metric"] + ", by " + pairs["attribute"],
        family_size=size,
        detectable=np.where(ok, _detectable(counts, together, confidence.power), np.nan),
        margin=margin,
        method="Newcombe, Bonferroni; Holm",
    )
    status, reason = _joint_status(pairs)
    bounds = table["low_simultaneous"].to_numpy(), table["high_simultaneous"].to_numpy()
    return _keyed(table.assign(status=status, reason=reason, verdict=_verdicts(*bounds, margin)))


def _counts(pairs: pd.DataFrame) -> tuple[Counts, Counts, Counts, Counts]:
    """Events and n of the group, events and n of the other."""
    events, n, events_other, n_other = (
        pairs[name].to_numpy(np.int64) for name in ("events", "n", "events_other", "n_other")
    )
    return events, n, events_other, n_other


def _detectable(
    counts: tuple[Counts, Counts, Counts, Counts], level: ArrayLike, power: float
) -> NDArray[np.float64]:
    """The larger of both directions: either group may be the one that differs."""
    events, n, events_other, n_other = counts
    base = (events + events_other) / np.maximum(n + n_other, 1)
    sizes = ((n, n_other), (n_other, n))
    found = [detectable_difference(a, b, base, level=level, power=power) for a, b in sizes]
    return np.maximum(*found)


def _joint_status(pairs: pd.DataFrame) -> tuple[list[str], list[str]]:
    statuses, reasons = [], []
    columns = ("group", "status", "reason", "other", "status_other", "reason_other")
    for row in zip(*(pairs[name] for name in columns), strict=True):
        bad = [side for side in (row[:3], row[3:]) if side[1] != OK]
        worst = UNDEFINED if any(s == UNDEFINED for _, s, _ in bad) else TOO_FEW
        statuses.append(worst if bad else OK)
        reasons.append("; ".join(f"{g}: {r}" for g, _, r in bad))
    return statuses, reasons


def _verdicts(low: ArrayLike, high: ArrayLike, margin: ArrayLike) -> NDArray[np.str_]:
    """The one rule: the bounds of the gap's size against the margin."""
    least, most = size_bounds(np.asarray(low, float), np.asarray(high, float))
    allowed = np.asarray(margin, float)
    not_large = np.where(most < allowed, SHOWN_SMALL, CANNOT_TELL)
    return np.where(least > allowed, SHOWN_LARGE, not_large)


def size_bounds(
    low: NDArray[Any], high: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of a gap's size |d| from bounds of the gap d: 0 if they include 0."""
    return np.maximum(np.maximum(low, -high), 0.0) + low * 0, np.maximum(np.abs(low), np.abs(high))


def _ratios(compared: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """The same comparisons as ratios of rates, on the log scale."""
    if compared.empty:
        return compared
    counts = _counts(compared)
    ok = (compared["status"] == OK).to_numpy()
    defined = (counts[0] > 0) & (counts[2] > 0)
    together = bonferroni_level(confidence.level, max(int((ok & defined).sum()), 1))
    low, high = log_ratio(*counts, level=confidence.level)
    low_all, high_all = log_ratio(*counts, level=together)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(defined, (counts[0] / counts[1]) / (counts[2] / counts[3]), np.nan)
    margin = compared["margin_family"].map(lambda f: confidence.margin(f).ratio).to_numpy()
    shown = ok & defined
    table = compared.assign(
        comparison="ratio",
        value=value,
        low=np.where(defined, low, np.nan),
        high=np.where(defined, high, np.nan),
        low_simultaneous=np.where(shown, low_all, np.nan),
        high_simultaneous=np.where(shown, high_all, np.nan),
        detectable=np.nan,
        margin=margin,
        family_size=int(shown.sum()),
        method="log, Bonferroni; Holm of the difference",
        status=np.where(~ok, compared["status"], np.where(defined, OK, UNDEFINED)),
        reason=np.where(
            ~ok,
            compared["reason"],
            np.where(defined, "", "a group has no event"),
        ),
    )
    low, high = (np.log(table[f"{end}_simultaneous"].to_numpy()) for end in ("low", "high"))
    return _keyed(table.assign(verdict=_verdicts(low, high, np.log(margin))))


def _worst(compared: pd.DataFrame) -> pd.DataFrame:
    """The largest gap between any two groups of each question.

    The largest of many noisy gaps is too large on average, so it has no interval of its own; its
    simultaneous bounds are the largest lower and the largest upper bound over the pairs, which hold
    because the pairs' bounds hold all at once.
    """
    if compared.empty:
        return compared
    pairs = compared[(compared["other"] != REST)]
    rows = []
    for _, all_pairs in pairs.groupby([*QUESTION, "attribute"], sort=False):
        usable = all_pairs[all_pairs["status"] == OK]
        rows.append(_worst_of(usable) if len(usable) else _no_worst(all_pairs))
    return _keyed(pd.DataFrame(rows))


def _worst_of(usable: pd.DataFrame) -> dict[str, Any]:
    widest = records(usable.iloc[[int(usable["value"].abs().to_numpy().argmax())]])[0]
    if widest["value"] < 0:
        widest = _swapped(widest)
    least, most = size_bounds(
        usable["low_simultaneous"].to_numpy(), usable["high_simultaneous"].to_numpy()
    )
    bounds = {"low_simultaneous": least.max(), "high_simultaneous": most.max()}
    verdict = str(_verdicts(least.max(), most.max(), widest["margin"]))
    return (
        widest
        | bounds
        | {
            "comparison": "worst_case_gap",
            "low": np.nan,
            "high": np.nan,
            "p": np.nan,
            "q": usable["q"].min(),
            "detectable": usable["detectable"].max(),
            "method": "largest over pairs of Newcombe, Bonferroni",
            "verdict": verdict,
        }
    )


def _swapped(row: dict[str, Any]) -> dict[str, Any]:
    """The same comparison the other way round."""
    sides = {side: row[f"{side}_other"] for side in ("n", "subjects", "events")}
    others = {f"{side}_other": row[side] for side in ("n", "subjects", "events")}
    swapped = {"group": row["other"], "other": row["group"], "value": -row["value"]}
    return row | sides | others | swapped


_BOUNDS: Final = ("low", "high", "low_simultaneous", "high_simultaneous")
_NUMBERS: Final = ("value", *_BOUNDS, "p", "q", "detectable")


def _no_worst(pairs: pd.DataFrame) -> dict[str, Any]:
    first = records(pairs.iloc[[0]])[0]
    numbers = (
        "value",
        "low",
        "high",
        "low_simultaneous",
        "high_simultaneous",
        "p",
        "q",
        "detectable",
    )
    return (
        first
        | dict.fromkeys(numbers, np.nan)
        | {
            "comparison": "worst_case_gap",
            "method": "",
            "reason": "fewer than two groups with enough pictures",
            "verdict": CANNOT_TELL,
        }
    )


def _worst_untested(others: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """Worst-case gaps of the other conditions: values to show the spread, no test, no verdict."""
    rows = []
    for question, groups in others.groupby([*QUESTION, "attribute"], sort=False):
        usable = groups[groups["status"] == OK].sort_values("value", kind="stable")
        if len(usable) < 2:
            continue
        bottom, top = records(usable.iloc[[0, -1]])
        sides = {side: top[side] for side in ("n", "subjects", "events")}
        sides |= {f"{side}_other": bottom[side] for side in ("n", "subjects", "events")}
        rows.append(
            dict(zip([*QUESTION, "attribute"], question, strict=True))
            | sides
            | {"group": top["group"], "other": bottom["group"]}
            | {"value": top["value"] - bottom["value"]}
            | {"margin": confidence.margin(str(top["margin_family"])).difference}
        )
    blank = ("low", "high", "low_simultaneous", "high_simultaneous", "p", "q", "detectable")
    return (
        _keyed(
            pd.DataFrame(rows).assign(
                comparison="worst_case_gap",
                level=confidence.level,
                family="",
                family_size=0,
                method="one template: not tested",
                status=OK,
                reason="",
                verdict=CANNOT_TELL,
                **dict.fromkeys(blank, np.nan),
            )
        )
        if rows
        else pd.DataFrame()
    )


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(key=[key(row) for row in records(table)])

"""Rates -> disparities: differences, ratios and the worst case, with intervals and verdicts.

A family is the set of differences of one task, metric and attribute in the headline condition: all
labels, every pair of groups and (from three groups on) every group against the rest. Simultaneous
bounds and q-values hold over a family. Single templates, the other conditions, get worst-case gaps
only: they show the spread of wordings and are not tested.
"""

from __future__ import annotations

from collections.abc import Mapping
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


#: the columns by whose values findings cite a row
_KEY: Final = (
    "probe", "task", "condition", "metric", "label", "attribute", "comparison", "group", "other",
)  # fmt: skip

Counts = NDArray[np.int64]

_SIDE: Final = ["n", "subjects", "events", "value", "status", "reason"]


def _paired(headline: pd.DataFrame) -> pd.DataFrame:
    """Every pair of groups of each question, and every group against the rest, side by side.

    Rates list the same groups in the same order for every question, so a column is a matrix
    (questions, groups) and a comparison picks two of its columns.
    """
    groups = headline["group"].unique()
    k = len(groups)
    one, other = np.triu_indices(k, 1)
    sides = {name: headline[name].to_numpy().reshape(-1, k) for name in ("group", *_SIDE)}
    left = {name: column[:, one] for name, column in sides.items()}
    right = {name: column[:, other] for name, column in sides.items()}
    if k > 2:
        rest = _rest(sides)
        left = {name: np.hstack([left[name], sides[name]]) for name in sides}
        right = {name: np.hstack([right[name], rest[name]]) for name in sides}
    questions = headline[[*QUESTION, "attribute"]].iloc[::k]
    table = questions.loc[questions.index.repeat(left["n"].shape[1])].reset_index(drop=True)
    table = table.assign(**{name: column.ravel() for name, column in left.items()})
    columns = {f"{name}_other": column.ravel() for name, column in right.items()}
    return table.assign(**columns).rename(columns={"group_other": "other"})


def _rest(sides: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """All other groups together, also the small ones: nobody is dropped from the rest."""
    rest: dict[str, NDArray[Any]] = {
        name: sides[name].sum(axis=1, keepdims=True) - sides[name]
        for name in ("n", "subjects", "events")
    }
    there = rest["n"] > 0
    rest["group"] = np.full(there.shape, REST, dtype=object)
    rest["value"] = np.where(there, rest["events"] / np.maximum(rest["n"], 1), np.nan)
    rest["status"] = np.where(there, OK, UNDEFINED).astype(object)
    rest["reason"] = np.where(there, "", "no picture outside this group").astype(object)
    return rest


def _tested(pairs: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """Differences with their own and simultaneous intervals, p, q and verdict."""
    if pairs.empty:
        return pairs
    status, reason = _joint_status(pairs)
    ok = status == OK
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


def _joint_status(pairs: pd.DataFrame) -> tuple[NDArray[np.str_], pd.Series[str]]:
    """The worse status of the two sides, and each side's reason."""
    status, other = pairs["status"].to_numpy(str), pairs["status_other"].to_numpy(str)
    undefined = (status == UNDEFINED) | (other == UNDEFINED)
    fine = (status == OK) & (other == OK)
    reasons = [
        (pairs[group] + ": " + pairs[f"reason{end}"]).where(pairs[f"status{end}"] != OK, "")
        for group, end in (("group", ""), ("other", "_other"))
    ]
    between = pd.Series(np.where((status != OK) & (other != OK), "; ", ""), index=pairs.index)
    joint = np.where(fine, OK, np.where(undefined, UNDEFINED, TOO_FEW))
    return joint, reasons[0] + between + reasons[1]


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
    pairs = compared[compared["other"] != REST]
    least, most = size_bounds(
        pairs["low_simultaneous"].to_numpy(), pairs["high_simultaneous"].to_numpy()
    )
    pairs = pairs.assign(size=pairs["value"].abs(), least=least, most=most)
    usable = pairs[pairs["status"] == OK]
    by = [*QUESTION, "attribute"]
    over = usable.groupby(by, sort=False).agg(
        {"least": "max", "most": "max", "q": "min", "detectable": "max"}
    )
    widest = usable.loc[usable.groupby(by, sort=False)["size"].idxmax()].set_index(by)
    widest = _upright(widest).assign(
        low_simultaneous=over["least"],
        high_simultaneous=over["most"],
        q=over["q"],
        detectable=over["detectable"],
        verdict=_verdicts(over["least"], over["most"], widest["margin"]),
        method="largest over pairs of Newcombe, Bonferroni",
    )
    rest = pairs.drop_duplicates(by).set_index(by)
    none = rest[~rest.index.isin(widest.index)].assign(
        **dict.fromkeys(_NUMBERS, np.nan),
        verdict=CANNOT_TELL,
        method="",
        reason="fewer than two groups with enough pictures",
    )
    table = pd.concat([part for part in (widest, none) if len(part)]).reset_index()
    return _keyed(table.assign(comparison="worst_case_gap", low=np.nan, high=np.nan, p=np.nan))


_BOUNDS: Final = ("low", "high", "low_simultaneous", "high_simultaneous")
_NUMBERS: Final = ("value", *_BOUNDS, "p", "q", "detectable")


def _upright(pairs: pd.DataFrame) -> pd.DataFrame:
    """The same comparisons with the higher rate first."""
    down = pairs["value"] < 0
    turned = {"group": "other", "n": "n_other", "subjects": "subjects_other"}
    turned |= {"events": "events_other"}
    both = turned | {b: a for a, b in turned.items()}
    swapped = {a: pairs[a].where(~down, pairs[b]) for a, b in both.items()}
    return pairs.assign(**swapped, value=pairs["size"])


def _worst_untested(others: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """Worst-case gaps of the other conditions: values to show the spread, no test, no verdict."""
    by = [*QUESTION, "attribute"]
    usable = others[others["status"] == OK].sort_values("value", kind="stable")
    if usable.empty:
        return usable
    ranked = usable.groupby(by, sort=False)
    bottom, top = ranked.head(1).set_index(by), ranked.tail(1).set_index(by)
    two = ranked.size() > 1
    top, bottom = top[two.reindex(top.index)], bottom.reindex(top.index)
    margins = top.index.get_level_values("margin_family").map(
        lambda family: confidence.margin(str(family)).difference
    )
    table = top[["group", "n", "subjects", "events"]].assign(
        other=bottom["group"],
        **{f"{side}_other": bottom[side] for side in ("n", "subjects", "events")},
        value=top["value"] - bottom["value"],
        margin=margins.to_numpy(),
        comparison="worst_case_gap",
        level=confidence.level,
        family="",
        family_size=0,
        method="one template: not tested",
        status=OK,
        reason="",
        verdict=CANNOT_TELL,
        **dict.fromkeys((*_BOUNDS, "p", "q", "detectable"), np.nan),
    )
    return _keyed(table.sort_index(kind="stable").reset_index())


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    """Name each row by what it compares, so that findings can cite it."""
    names = table[list(_KEY)].astype(str)
    return table.assign(key=names[_KEY[0]].str.cat(names[list(_KEY[1:])], sep=" | "))

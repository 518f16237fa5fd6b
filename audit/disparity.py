"""Tallies -> disparities: differences, ratios and the worst case, with intervals and verdicts.

A family is the set of differences of one task, metric and attribute in the headline condition: all
labels, every pair of groups and (from three groups on) every group against the rest. Simultaneous
bounds and q-values hold over a family. Single templates, the other conditions, get worst-case gaps
only: they show the spread of wordings and are not tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.metrics import (
    DEFAULT_FAMILY,
    QUESTION,
    Asked,
    Block,
    Columns,
    Groups,
    Tally,
    flat,
    joint_status,
    pooled,
    stacked,
    standing,
)
from audit.stats.clustered import Sample, effective_n
from audit.stats.families import Estimates, Family, compare, size_bounds, verdicts, widest
from audit.stats.pooling import between_group_sd
from audit.stats.power import detectable_difference
from audit.stats.significance import benjamini_hochberg, benjamini_yekutieli, smallest_p
from audit.tables import (
    CANNOT_TELL,
    DEPARTURE,
    DIFFERENCE,
    DISPARITIES,
    ENSEMBLE,
    NOT_JUDGED,
    OK,
    RATIO,
    REST,
    SPREAD,
    TOO_FEW,
    UNDEFINED,
    WORST,
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
    resamples: int = Field(2000, ge=100, description="replicates of the cluster bootstrap")
    screening: str = Field(
        "benjamini-hochberg",
        pattern="^benjamini-(hochberg|yekutieli)$",
        description="false discovery rate over all differences of a run",
    )
    margins: Mapping[str, Margin] = Field(default_factory=lambda: {DEFAULT_FAMILY: Margin()})

    @model_validator(mode="after")
    def _has_default(self) -> Confidence:
        if DEFAULT_FAMILY not in self.margins:
            object.__setattr__(self, "margins", {DEFAULT_FAMILY: Margin(), **self.margins})
        return self

    def margin(self, family: str) -> Margin:
        """The margin of a label family, or the default one."""
        return self.margins.get(family, self.margins[DEFAULT_FAMILY])


def disparities(tally: Tally, confidence: Confidence) -> pd.DataFrame:
    """Every comparison of groups within each attribute; the table DISPARITIES.

    Args:
        tally: counts of one task, all of its pictures.
        confidence: level, margins, smallest group.
    """
    blocks = []
    for asked, block in tally.blocks.items():
        if not (block.labels and block.counts.n.any()):
            continue
        for attribute in tally.groups.attributes:
            groups = _Groups(tally.groups, attribute, block, asked, confidence)
            blocks += _tables(groups) if asked[2] == ENSEMBLE else [_worst_untested(groups)]
    return DISPARITIES.conform(_keyed(stacked(blocks))) if blocks else DISPARITIES.empty()


def screened(table: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """The table with the false discovery rate over all differences of a run.

    For screening only: it says how many of the reported differences may be false, not which, and
    no verdict uses it.
    """
    adjust = (
        benjamini_yekutieli if confidence.screening.endswith("yekutieli") else benjamini_hochberg
    )
    p = table["p"].where(table["comparison"] == DIFFERENCE)
    return table.assign(screening=adjust(p.to_numpy(float)))


#: the columns by whose values findings cite a row
_KEY: Final = (
    "probe", "task", "condition", "metric", "label", "attribute", "comparison", "group", "other",
)  # fmt: skip


@dataclass(frozen=True)
class _Groups:
    """The groups of one attribute on the questions of one metric and condition, side by side."""

    groups: Groups
    attribute: str
    block: Block
    asked: Asked
    confidence: Confidence

    @cached_property
    def names(self) -> list[str]:
        """The groups, then (from three on) everyone else of each."""
        at = self.groups.columns(self.attribute)
        named = [str(self.groups.index[i][1]) for i in at]
        return named + ([REST] * len(named) if len(named) > 2 else [])

    @cached_property
    def sample(self) -> Sample:
        at = self.groups.columns(self.attribute)
        return self.block.counts.sample(at, rest=len(at) > 2)

    @cached_property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every pair of groups, then every group against the rest."""
        k = len(self.groups.columns(self.attribute))
        one, other = np.triu_indices(k, 1)
        if k > 2:
            every = np.arange(k)
            one, other = np.concatenate([one, every]), np.concatenate([other, every + k])
        return one, other

    @cached_property
    def standing(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Status and reason of each group; the rest counts whoever there is."""
        c, s = self.confidence, self.sample
        status, reason = standing(s.n, s.subjects, c.min_group)
        rest = np.array([name == REST for name in self.names])
        alone = (s.subjects <= 1) & (s.n > 0)
        for_rest = np.where(s.n == 0, UNDEFINED, np.where(alone, TOO_FEW, OK))
        told = {UNDEFINED: "no picture outside this group", TOO_FEW: "all of one subject", OK: ""}
        reasons = np.vectorize(told.get, otypes=[object])(for_rest)
        return np.where(rest, for_rest, status), np.where(rest, reasons, reason)

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        one, other = self.pairs
        ok = self.standing[0] == OK
        return np.asarray(ok[:, one] & ok[:, other])

    @cached_property
    def repeats(self) -> bool:
        """Whether subjects have several pictures among those compared."""
        return self.sample.repeats(*self.pairs)

    def margins(self, kind: str) -> NDArray[np.float64]:
        """The margin of every question, (Q, 1)."""
        margins = [getattr(self.confidence.margin(f), kind) for f in self.block.families]
        return np.array(margins, dtype=np.float64)[:, np.newaxis]

    @property
    def family(self) -> str:
        return f"{self.asked[1]}, {self.asked[3]}, by {self.attribute}"

    def table(self, columns: Mapping[str, Any], pairs: Any = None) -> Columns:
        """Rows of questions by comparisons from arrays (Q, P); ``pairs`` are group indices."""
        q = len(self.block.labels)
        if pairs is None:
            one, other = (np.broadcast_to(side, (q, len(side))) for side in self.pairs)
        else:
            one, other = pairs
        p, at, names = one.shape[1], np.arange(q)[:, np.newaxis], np.array(self.names, dtype=object)
        sides = {
            f"{name}{end}": getattr(self.sample, name)[at, side]
            for name in ("n", "subjects", "events")
            for end, side in (("", one), ("_other", other))
        }
        every: dict[str, Any] = dict(zip(QUESTION, self.asked, strict=False)) | {
            "label": np.array(self.block.labels, dtype=object)[:, np.newaxis],
            "margin_family": np.array(self.block.families, dtype=object)[:, np.newaxis],
            "attribute": self.attribute,
            "group": names[one],
            "other": names[other],
            "level": self.confidence.level,
            **dict.fromkeys(_NUMBERS, np.nan),
            "family": self.family,
            "family_size": 0,
            "method": "",
            "status": OK,
            "reason": "",
            "verdict": NOT_JUDGED,
        }
        filled = every | sides | dict(columns)
        return {name: flat(value, (q, p)) for name, value in filled.items()}

    @cached_property
    def found(self) -> Family:
        """All comparisons, as one family."""
        return compare(self.sample, *self.pairs, self.usable, self.confidence.level)

    @cached_property
    def detectable(self) -> NDArray[np.float64]:
        """The smallest detectable gap of each usable comparison."""
        return np.where(self.usable, _detectable(self), np.nan)


_NUMBERS: Final = (
    "value", "low", "high", "low_simultaneous", "high_simultaneous", "level_each", "p", "q",
    "smallest_q", "screening", "null_mean", "null_high", "detectable", "margin",
)  # fmt: skip


def _tables(groups: _Groups) -> list[Columns]:
    """All comparisons of one family."""
    if len(groups.names) < 2:
        return []
    return [
        _differences(groups),
        _ratios(groups),
        _worst(groups),
        _spreads(groups),
        *([_departures(groups)] if " x " in groups.attribute else []),
    ]


def _differences(groups: _Groups) -> Columns:
    """Differences with their own and simultaneous intervals, p, q and verdict."""
    status, reason = joint_status(groups.names, groups.standing, *groups.pairs)
    margin = groups.margins("difference")
    found = groups.found
    d = found.difference
    return groups.table(
        {
            "comparison": DIFFERENCE,
            **_bounds(d, found.levels),
            "p": found.p,
            "q": found.q,
            "smallest_q": _smallest_q(groups, found),
            "family_size": found.size,
            "detectable": groups.detectable,
            "margin": margin,
            "method": _method(groups, found),
            "status": status,
            "reason": reason,
            "verdict": verdicts(d.low_all, d.high_all, margin),
        }
    )


def _bounds(estimates: Estimates, each: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "value": estimates.value,
        "low": estimates.low,
        "high": estimates.high,
        "low_simultaneous": estimates.low_all,
        "high_simultaneous": estimates.high_all,
        "level_each": each,
    }


def _method(groups: _Groups, found: Family) -> NDArray[np.object_]:
    """How the bounds and tests of each comparison were made."""
    size = "Newcombe at effective n" if groups.repeats else "Newcombe"
    test = "step-down max-T" if groups.repeats else "Holm"
    left_out = (
        f"{size}, Bonferroni (too few events for max-T); {'Bonferroni' if groups.repeats else test}"
    )
    return np.where(found.studentised, f"{size}, max-T; {test}", left_out).astype(object)


def _smallest_q(groups: _Groups, found: Family) -> ArrayLike:
    """The smallest q that each comparison could have had."""
    if groups.repeats:
        return np.where(found.studentised, found.smallest_q, np.nan)
    one, other = groups.pairs
    n = groups.sample.n
    least = smallest_p(n[:, one], n[:, other]) * max(found.size, 1)
    return np.where(groups.usable, np.minimum(least, 1.0), np.nan)


def _detectable(groups: _Groups) -> NDArray[np.float64]:
    """The larger of both directions, at the effective sizes: either group may be the one."""
    one, other = groups.pairs
    s, c = groups.sample, groups.confidence
    size = np.minimum(effective_n(s, c.level), s.n)
    n, n_other = size[:, one], size[:, other]
    base = (s.events[:, one] + s.events[:, other]) / np.maximum(s.n[:, one] + s.n[:, other], 1)
    found = [
        detectable_difference(a, b, base, level=groups.found.levels, power=c.power)
        for a, b in ((n, n_other), (n_other, n))
    ]
    return np.maximum(*found)


def _ratios(groups: _Groups) -> Columns:
    """The same comparisons as ratios of rates, on the log scale."""
    status, reason = joint_status(groups.names, groups.standing, *groups.pairs)
    margin = groups.margins("ratio")
    found = groups.found
    r = found.ratio
    certain = np.isnan(r.low) & ~np.isnan(r.value)
    defined = ~np.isnan(r.value) & ~certain
    why = np.where(certain, "every picture of both groups is an event", "a group has no event")
    with np.errstate(divide="ignore"):
        low, high = np.log(r.low_all), np.log(r.high_all)
    return groups.table(
        {
            "comparison": RATIO,
            **_bounds(r, found.levels),
            "p": found.p,
            "q": found.q,
            "smallest_q": _smallest_q(groups, found),
            "family_size": found.size,
            "margin": margin,
            "method": "log, max-T; tests of the difference",
            "status": np.where(groups.usable & ~defined, UNDEFINED, status),
            "reason": np.where(groups.usable & ~defined, why, reason),
            "verdict": verdicts(low, high, np.log(margin)),
        }
    )


def _worst(groups: _Groups) -> Columns:
    """The largest gap between any two groups of each question.

    The largest of many noisy gaps is too large on average, so it has no interval of its own; its
    simultaneous bounds are the largest lower and the largest upper bound over the pairs, which hold
    because the pairs' bounds hold all at once.
    """
    one, other = groups.pairs
    found = groups.found
    k = len(groups.groups.columns(groups.attribute))
    pairs = slice(0, k * (k - 1) // 2)
    usable = groups.usable[:, pairs]
    d = found.difference
    least, most = (
        _largest(bound, usable) for bound in size_bounds(d.low_all[:, pairs], d.high_all[:, pairs])
    )
    gap, high, low, at = widest(groups.sample.rate, one[pairs], other[pairs], usable)
    some = usable.any(axis=1, keepdims=True)
    margin = groups.margins("difference")
    size = "Newcombe at effective n" if groups.repeats else "Newcombe"
    return groups.table(
        {
            "comparison": WORST,
            "value": gap,
            "low_simultaneous": least,
            "high_simultaneous": most,
            "level_each": np.take_along_axis(found.levels[:, pairs], at, axis=1),
            "q": -_largest(-found.q[:, pairs], usable),
            "family_size": found.size,
            "detectable": _largest(groups.detectable[:, pairs], usable),
            "margin": margin,
            "method": np.where(some, f"largest over pairs of {size}, max-T", "").astype(object),
            "status": np.where(some, OK, TOO_FEW),
            "reason": np.where(some, "", "fewer than two groups with enough pictures"),
            "verdict": np.where(some, verdicts(least, most, margin), CANNOT_TELL),
        },
        (high, low),
    )


def _largest(values: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The largest of each row's usable values, (Q, 1); nan where there is none."""
    among = np.where(usable & ~np.isnan(values), values, -np.inf).max(axis=1, keepdims=True)
    return np.where(np.isfinite(among), among, np.nan)


def _spreads(groups: _Groups) -> Columns:
    """The standard deviation of the groups' rates less what sampling noise adds to it."""
    k = len(groups.groups.columns(groups.attribute))
    s = groups.sample
    ok = groups.standing[0][:, :k] == OK
    rate = np.where(ok, s.rate[:, :k], np.nan)
    replicates = None if s.deviations is None else np.moveaxis(s.deviations[:, :k], -1, 0)
    # right on average: p (1 - p) / (n - 1) where every picture shows another subject
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (s.spread * s.subjects / (s.subjects - 1))[:, :k]
    found = between_group_sd(rate, variance, replicates, groups.confidence.level)
    first = np.zeros((len(rate), 1), int)
    some = ok.sum(axis=1, keepdims=True) > 1
    return groups.table(
        {
            "comparison": SPREAD,
            "group": "",
            "other": "",
            "n": np.where(ok, s.n[:, :k], 0).sum(axis=1, keepdims=True),
            "subjects": np.where(ok, s.subjects[:, :k], 0).sum(axis=1, keepdims=True),
            "events": np.where(ok, s.events[:, :k], 0).sum(axis=1, keepdims=True),
            **dict.fromkeys(("n_other", "subjects_other", "events_other"), 0),
            "value": found.value[:, np.newaxis],
            "low": found.low[:, np.newaxis],
            "high": found.high[:, np.newaxis],
            "method": "corrected for sampling noise, bootstrap corrected twice",
            "status": np.where(some, OK, TOO_FEW),
            "reason": np.where(some, "", "fewer than two groups with enough pictures"),
        },
        (first, first),
    )


def _departures(groups: _Groups) -> Columns:
    """How far an intersection's rates depart from what its attributes add up to."""
    at = np.arange(len(groups.groups.columns(groups.attribute)))
    s = groups.sample
    found = pooled(s, at, [groups.names[i] for i in at], groups.confidence.level)
    first = np.zeros((len(s.n), 1), int)
    known = ~np.isnan(found.tau)[:, np.newaxis]
    return groups.table(
        {
            "comparison": DEPARTURE,
            "group": "",
            "other": "",
            **{
                name: getattr(s, name)[:, at].sum(axis=1, keepdims=True)
                for name in ("n", "subjects", "events")
            },
            **dict.fromkeys(("n_other", "subjects_other", "events_other"), 0),
            "value": found.tau[:, np.newaxis],
            "low": found.tau_low[:, np.newaxis],
            "high": found.tau_high[:, np.newaxis],
            "method": "random effects around the additive fit, Paule-Mandel; Q-profile",
            "status": np.where(known, OK, UNDEFINED),
            "reason": np.where(known, "", "too few cells, or no event, to tell an interaction"),
        },
        (first, first),
    )


def _worst_untested(groups: _Groups) -> Columns:
    """Worst-case gaps of the other conditions: values to show the spread, no test, no verdict."""
    k = len(groups.groups.columns(groups.attribute))
    ok = groups.standing[0][:, :k] == OK
    rate = groups.sample.rate[:, :k]
    top = np.where(ok, rate, -np.inf).argmax(axis=1)[:, np.newaxis]
    bottom = np.where(ok, rate, np.inf).argmin(axis=1)[:, np.newaxis]
    at = np.arange(len(rate))[:, np.newaxis]
    table = groups.table(
        {
            "comparison": WORST,
            "value": rate[at, top] - rate[at, bottom],
            "margin": groups.margins("difference"),
            "family": "",
            "method": "one template: not tested",
        },
        (top, bottom),
    )
    compared = ok.sum(axis=1) > 1
    return {name: column[compared] for name, column in table.items()}


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    """Name each row by what it compares, so that findings can cite it."""
    names = table[list(_KEY)].astype(str)
    return table.assign(key=names[_KEY[0]].str.cat(names[list(_KEY[1:])], sep=" | "))

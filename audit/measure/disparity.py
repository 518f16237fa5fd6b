"""Tallies -> disparities: differences, ratios and the worst case, with intervals and verdicts.

A family is every pair of groups of an attribute on one question (a label of a task, say) in the
headline condition; from three groups on, every group against the rest is a family of its own.
Simultaneous bounds and q-values hold over a family, so what else is asked moves none of them; what
holds over several questions is ``audit.measure.claims``'. Single templates, the other conditions,
get worst-case gaps only: they show the spread of wordings and are not tested.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from audit.core.rows import Array, Row
from audit.core.schema import Columns
from audit.core.tables import (
    DEPARTURE,
    DIFFERENCE,
    DISPARITIES,
    ENSEMBLE,
    NOT_JUDGED,
    OK,
    RATIO,
    SPREAD,
    TOO_FEW,
    UNDEFINED,
    WORST,
    keys_of,
)
from audit.core.verdicts import GapSize, Verdict, decide, size_bounds, verdicts
from audit.measure import intersections
from audit.measure.compared import Compared
from audit.measure.confidence import Confidence
from audit.measure.metrics import (
    Tally,
    joint_status,
)
from audit.stats.defaults import OF_DIFFERENCE, OF_DIFFERENCE_IN_CLUSTERS
from audit.stats.gaps import (
    NEGLIGIBLE,
    TOO_FEW_GROUPS,
    largest_gap,
    largest_usable,
)
from audit.stats.pooling import between_group_sd
from audit.stats.significance import smallest_p


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
        headline = asked[2] == ENSEMBLE
        every = None if headline else block.counts.sample(np.arange(len(tally.groups.index)))
        for attribute in tally.groups.attributes:
            groups = Compared(tally.groups, attribute, block, asked, confidence, headline, every)
            blocks += _tables(groups) if headline else [_worst_untested(groups)]
    return _keyed(DISPARITIES.stacked(blocks))


def screened(table: pd.DataFrame, confidence: Confidence) -> pd.DataFrame:
    """The table with the false discovery rate over all differences of a run.

    For screening only: it says how many of the reported differences may be false, not which, and
    no verdict uses it.
    """
    p = table["p"].where(table["comparison"] == DIFFERENCE)
    return table.assign(screening=confidence.screen(p.to_numpy(float)))


#: the columns by whose values findings cite a row
_KEY: Final = (
    "probe", "task", "condition", "metric", "label", "attribute", "comparison", "group", "other",
)  # fmt: skip


def _tables(groups: Compared) -> list[Columns]:
    """All comparisons of one attribute on the questions of a metric."""
    if len(groups.names) < 2:
        return []
    return [
        differences(groups),
        _ratios(groups),
        worst(groups),
        _spreads(groups),
        *([_departures(groups)] if " x " in groups.attribute else []),
    ]


def differences(groups: Compared) -> Columns:
    """Differences with their own and simultaneous intervals, p, q and verdict."""
    claims, usable = groups.claims, groups.comparisons.usable
    d = {
        name: groups.of_all(lambda f, name=name: getattr(f.difference, name))  # type: ignore[misc]
        for name in ("value", "low", "high", "low_all", "high_all")
    }
    alone = np.full((2, *usable.shape), np.nan)
    alone[:, :, : groups.pairs.one.size] = claims.low_alone, claims.high_alone
    return groups.table(
        {
            **_compared(groups),
            "comparison": DIFFERENCE,
            "value": d["value"],
            "low": d["low"],
            "high": d["high"],
            "low_simultaneous": d["low_all"],
            "high_simultaneous": d["high_all"],
            "low_equivalence": alone[0],
            "high_equivalence": alone[1],
            "detectable": groups.detectable,
            "margin": groups.margins.difference,
            "ratio_margin": groups.margins.ratio,
            "method": _method(groups),
            "verdict": _pair_verdicts(groups, d["low_all"], d["high_all"]),
            **intersections.columns(groups.compared_pooled, groups.margins.difference),
        }
    )


def _compared(groups: Compared) -> Row:
    """What differences and ratios of the same comparisons have in common."""
    c = groups.comparisons
    status, reason = joint_status(groups.names, groups.standing, c.one, c.other)
    families = [groups.family(rest) for rest in (False, True)]
    sizes = [side.one.size for side in (groups.pairs, groups.against_rest)]
    named = [np.repeat(f, size, axis=1) for f, size in zip(families, sizes, strict=True)]
    return {
        "level_each": groups.of_all(lambda f: f.levels),
        "p": groups.of_all(lambda f: f.p),
        "q": groups.of_all(lambda f: f.q),
        "smallest_q": _smallest_q(groups),
        "family": np.hstack(named),
        "family_size": groups.of_all(lambda f: f.size),
        "status": status,
        "reason": reason,
    }


def _pair_verdicts(groups: Compared, low: Array, high: Array) -> NDArray[np.str_]:
    """The verdict on every pair by bounds of all at once, on both scales where a ratio binds.

    Where no pair reaches the margin (see ``judge``), none of them does. Groups against the rest
    are judged by the difference alone.
    """
    claims, k = groups.claims, groups.pairs.one.size
    margin = groups.margins.difference
    given = verdicts(low, high, margin)
    wide = np.log(np.where(claims.basis == NEGLIGIBLE, np.nan, groups.margins.ratio))
    ratio = GapSize(*size_bounds(np.log(claims.ratio_low), np.log(claims.ratio_high)), wide)
    judged = decide(GapSize(*size_bounds(low[:, :k], high[:, :k]), margin), ratio)
    none = groups.pairs.usable & (claims.verdict == Verdict.WITHIN)
    given[:, :k] = np.where(none, Verdict.WITHIN.value, judged)
    return given


def _method(groups: Compared) -> NDArray[np.object_]:
    """How the bounds and tests of each comparison were made."""
    size = np.where(groups.repeats, OF_DIFFERENCE_IN_CLUSTERS, OF_DIFFERENCE).astype(object)
    test = np.where(groups.repeats, "step-down max-T", "Holm").astype(object)
    alone = np.where(groups.repeats, "Bonferroni", "Holm").astype(object)
    few = size + ", Bonferroni (too few events for max-T); " + alone
    studentised = groups.of_all(lambda f: f.studentised)
    return np.asarray(np.where(studentised, size + ", max-T; " + test, few), dtype=object)


def _smallest_q(groups: Compared) -> ArrayLike:
    """The smallest q that each comparison could have had."""
    by_resamples = groups.of_all(
        lambda f: np.where(f.studentised, f.smallest_q, np.nan)  # of the bootstrap
    )
    one, other = groups.comparisons.one, groups.comparisons.other
    n = groups.sample.n
    exact = smallest_p(n[:, one], n[:, other]) * np.maximum(groups.of_all(lambda f: f.size), 1)
    exact = np.where(groups.comparisons.usable, np.minimum(exact, 1.0), np.nan)
    return np.where(groups.repeats, by_resamples, exact)


def _ratios(groups: Compared) -> Columns:
    """The same comparisons as ratios of rates, on the log scale."""
    common, claims, k = _compared(groups), groups.claims, groups.pairs.one.size
    r = {
        name: groups.of_all(lambda f, name=name: getattr(f.ratio, name))  # type: ignore[misc]
        for name in ("value", "low", "high", "low_all", "high_all")
    }
    certain = np.isnan(r["low"]) & ~np.isnan(r["value"])
    defined = ~np.isnan(r["value"]) & ~certain
    why = np.where(certain, "every picture of both groups is an event", "a group has no event")
    # one-sided where a group has no event
    r["low_all"][:, :k], r["high_all"][:, :k] = claims.ratio_low, claims.ratio_high
    bounded = ~np.isnan(r["low_all"]) | ~np.isnan(r["high_all"])
    why = np.where(bounded & ~defined, why + ": bounded on one side only", why).astype(object)
    undefined = groups.comparisons.usable & ~defined
    margin = np.log(groups.margins.ratio)
    with np.errstate(divide="ignore"):
        low, high = (np.log(r[end]) for end in ("low_all", "high_all"))
    judged = verdicts(
        np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high), margin
    )
    return groups.table(
        {
            **common,
            "comparison": RATIO,
            "value": r["value"],
            "low": r["low"],
            "high": r["high"],
            "low_simultaneous": r["low_all"],
            "high_simultaneous": r["high_all"],
            "margin": groups.margins.ratio,
            "method": "log, max-T; tests of the difference",
            "status": np.where(undefined, UNDEFINED, common["status"]),
            "reason": np.where(undefined, why, common["reason"]),
            "verdict": np.where(np.isnan(margin) | ~bounded, NOT_JUDGED, judged),
        }
    )


def worst(groups: Compared) -> Columns:
    """The largest gap between any two groups of each question, with its verdict.

    The largest of many noisy gaps is too large on average, so it has no interval of its own: see
    ``audit.stats.gaps.judge`` for its bounds and its verdict.
    """
    claims, gap, found = groups.claims, groups.claims.gap, groups.claims.found
    binds = ~np.isnan(groups.margins.ratio)
    size = OF_DIFFERENCE_IN_CLUSTERS if groups.repeats[0] else OF_DIFFERENCE
    method = f"largest over pairs of {size}, max-T; two one-sided tests of every pair"
    return groups.table(
        {
            "comparison": WORST,
            "value": gap.value,
            "low_simultaneous": gap.low,
            "high_simultaneous": gap.high,
            "high_equivalence": claims.high_equivalence,
            "level_each": np.take_along_axis(found.levels, gap.pair, axis=1),
            "q": -largest_usable(-found.q, groups.pairs.usable),
            "family_size": found.size,
            "detectable": largest_usable(
                groups.detectable[:, : groups.pairs.one.size], groups.pairs.usable
            ),
            "margin": groups.margins.difference,
            "ratio": np.where(binds, claims.ratio, np.nan),
            "ratio_low": np.where(binds, claims.ratio_surely, np.nan),
            "ratio_high": np.where(binds, claims.ratio_below, np.nan),
            "ratio_margin": groups.margins.ratio,
            "basis": np.where(
                (claims.verdict == Verdict.INCONCLUSIVE) & (claims.basis != NEGLIGIBLE),
                "",
                claims.basis,
            ),
            "p_margin": np.where(gap.some, claims.p, np.nan),
            "left_out": groups.pairs.left_out,
            "method": np.where(gap.some, method, "").astype(object),
            "status": gap.status,
            "reason": gap.reason,
            "verdict": claims.verdict,
            **intersections.largest(
                groups.compared_pooled, groups.pairs.one.size, groups.margins.difference
            ),
        },
        (gap.group, gap.other),
    )


def _spreads(groups: Compared) -> Columns:
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
            "reason": np.where(some, "", TOO_FEW_GROUPS),
        },
        (first, first),
    )


def _departures(groups: Compared) -> Columns:
    """How far an intersection's rates depart from what its attributes add up to."""
    at = np.arange(len(groups.groups.columns(groups.attribute)))
    s, found = groups.sample, groups.pooled
    first = np.zeros((len(s.n), 1), int)
    known = ~np.isnan(found.tau)[:, np.newaxis]
    # cells that differ even less than noise would have it leave the method an interval of no width
    none = (found.tau_high <= found.tau_low)[:, np.newaxis]
    low, high = (np.where(none, np.nan, e[:, np.newaxis]) for e in (found.tau_low, found.tau_high))
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
            "low": low,
            "high": high,
            "method": "random effects around the additive fit, Paule-Mandel; Q-profile",
            "status": np.where(known, OK, UNDEFINED),
            "reason": np.select(
                [~known, none],
                [
                    "too few cells, or no event, to tell an interaction",
                    "no interval: the cells differ even less than noise would have it",
                ],
                "",
            ),
        },
        (first, first),
    )


def _worst_untested(groups: Compared) -> Columns:
    """Worst-case gaps of the other conditions: values to show the spread, no test, no verdict."""
    gap = largest_gap(groups.sample.rate, groups.pairs)
    table = groups.table(
        {
            "comparison": WORST,
            "value": gap.value,
            "margin": groups.margins.difference,
            "family": "",
            "method": "one template: not tested",
        },
        (gap.group, gap.other),
    )
    return {name: column[gap.some[:, 0]] for name, column in table.items()}


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    """Name each row by what it compares, so that findings can cite it."""
    return table.assign(key=keys_of(table[list(_KEY)]))

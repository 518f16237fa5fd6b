"""Rankings counted: rows of MEASURES, and the sentences of those worth a finding."""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.digits import rounded
from audit.core.rows import Row
from audit.core.tables import NOT_JUDGED, OK, TOO_FEW, UNDEFINED
from audit.core.verdicts import Verdict, verdicts
from audit.measure.metrics import DEFAULT_FAMILY, margin_family
from audit.probes.kit.base import Design
from audit.probes.kit.bounds import ends, simultaneous
from audit.probes.retrieval.bias import Bias, beside_null, null_in_words
from audit.probes.retrieval.names import (
    ALL,
    BIAS,
    COUNTED_AS_ONE,
    DEALS,
    ENTROPY,
    FAR,
    FINDINGS,
    MAX_SKEW,
    MIN_SKEW,
    MISSING,
    NDKL,
    NO_INTERVAL,
    OF_MEANS,
    SHARE,
    TOLD,
    UNITS,
    WHOLE,
    group_named,
)
from audit.probes.retrieval.ranked import Ranked
from audit.stats import ranking, ranking_bounds, ranking_null
from audit.stats.ranking import Ranking
from audit.stats.ranking_bounds import Bounded
from audit.stats.ranking_null import Nulls
from audit.stats.significance import bonferroni_level, holm

if TYPE_CHECKING:
    from audit.probes.retrieval.probe import Retrieval, Target


@dataclass(frozen=True)
class Told:
    """One attribute's rankings, as rows of MEASURES."""

    probe: Retrieval
    field: Ranked
    list_: Ranking
    everyone: Ranking | None
    ks: tuple[int, ...]
    design: Design

    @property
    def pictures(self) -> int:
        """Pictures of known group: how long the whole list is."""
        return int(self.list_.pool.sum())

    @cached_property
    def ndkl_at(self) -> tuple[int, ...]:
        """The places where NDKL is read."""
        return self.probe.ndkl_depths(self.ks, self.pictures)

    @property
    def seed(self) -> int:
        """Of the deals, by name of what is asked."""
        stream = f"{self.design.seed} {self.probe.kind} {self.probe.task} {self.field.attribute}"
        return zlib.crc32(stream.encode())

    @property
    def each(self) -> float:
        """The level of one query so that all hold together."""
        return float(bonferroni_level(self.design.confidence.level, len(self.probe.asked)))

    @property
    def permutations(self) -> int:
        """Deals of the null."""
        return min(self.design.confidence.resamples, DEALS)

    def every(self) -> Iterator[Row]:
        """All rows: against each target, then what no target enters."""
        told: dict[int, set[int]] = {k: set() for k in self.ks}
        cases: list[Case] = []
        for target in self.probe.target:
            shares = self._shares(target)
            if shares is None:
                continue
            told_before = any(np.allclose(shares, case.shares) for case in cases)
            case = self._against(target, shares)
            cases.append(case)
            for i, k in enumerate(self.ks):
                leading = case.leading(i)
                told[k] |= {*leading}
                rows = [*case.means(i), *(case.query(i, q) for q in leading)]
                headline = k == self.ks[-1] and not told_before
                yield from rows if headline else (row | {"statement": ""} for row in rows)
            yield from case.ndkl(d for d in self.ndkl_at if d not in self.ks)
        if cases:
            yield from _Whoever(cases[-1]).every(told)
        else:
            why = f"no target named is of its groups, {', '.join(self.field.names)}"
            why += self.field.not_ranked
            yield self.probe.unusable(self.field, UNDEFINED, why)

    def _shares(self, target: Target) -> NDArray[np.float64] | None:
        """The target share of each group; None where it is of other groups."""
        if isinstance(target, str):
            return ranking.target_shares(target, self.list_.pool)
        if {*target} != {*self.field.names}:
            return None
        return np.array([target[name] for name in self.field.names])

    def _against(self, target: Target, shares: NDArray[np.float64]) -> Case:
        """The rankings against one target: beside chance, and with bounds."""
        c = self.design.confidence
        wanted = target if isinstance(target, str) else shares
        nulls = ranking_null.null(
            self.list_,
            self.ks,
            wanted,
            self.ndkl_at or None,
            permutations=self.permutations,
            seed=self.seed,
            level=c.level,
        )
        near = self.list_.first(ranking.places(self.probe.k[-1], sys.maxsize))
        alone, together = (
            ranking_bounds.bounds(near, self.ks, wanted, self.design.draws.weights, level)
            for level in (c.level, self.each)
        )
        return Case(self, group_named(target), shares, nulls, alone, together)

    def depth(self, k: int) -> str:
        """How deep, as conditions say it."""
        whole = k == self.pictures and ALL in self.probe.ndkl_at
        return WHOLE if whole else f"top {k}"

    def row(self, metric: str, k: int, target: str = "") -> Row:
        """What all rows of a measure have."""
        return {
            "condition": self.depth(k) + (f", target {target}" if target else ""),
            "metric": metric,
            "unit": UNITS[metric],
            "attribute": self.field.attribute,
            "margin_family": DEFAULT_FAMILY,
            "harm": "over-representation",
            "status": OK,
            "verdict": NOT_JUDGED,
        }

    def of_mean(self, k: int) -> Row:
        """What all rows of a mean over queries have."""
        return {
            "n": self.pictures,
            "subjects": int(self.list_.sizes.any(axis=1).sum()),
            "family": f"{self.probe.task}, {self.depth(k)}, mean over queries, by "
            f"{self.field.attribute}",
            "family_size": 1,
        }

    def of_query(self, k: int, q: int, subjects: int) -> Row:
        """What all rows of one query have."""
        query, labels = self.probe.asked[q], self.probe.label_sets()
        family, harm = DEFAULT_FAMILY, "over-representation"
        if query.label is not None:
            family, harm = margin_family(query.label.tags, labels[0]), query.label.harm or harm
        return {
            "label": query.text,
            "margin_family": family,
            "harm": harm,
            "n": k,
            "subjects": int(subjects),
            "family": f"{self.probe.task}, top {k}, by {self.field.attribute}",
            "family_size": len(self.probe.asked),
        }

    def margin(self, family: str = DEFAULT_FAMILY) -> float:
        """A skew is the logarithm of a ratio."""
        return math.log(self.design.confidence.margin(family).times)


@dataclass(frozen=True)
class Case:
    """One attribute's rankings against one target.

    ``alone``: bounds of a single query, ``together``: of all queries at once.
    """

    told: Told
    target: str
    shares: NDArray[np.float64]
    nulls: Nulls
    alone: Bounded
    together: Bounded

    @property
    def method(self) -> str:
        """How the null was made, or why there is none, and who is in no ranking."""
        out = self.told.field.left_out
        return null_in_words(self.nulls) + (f"; not ranked: {out}" if out else "")

    def leading(self, i: int) -> list[int]:
        """The queries told one by one: those of the largest MaxSkew over chance, largest first."""
        skews = self.nulls.queries[MAX_SKEW]
        over = np.where(np.isnan(skews.mean[:, i]), skews.value[:, i], skews.excess[:, i])
        return [int(q) for q in np.argsort(-over, kind="stable")[:TOLD]]

    def means(self, i: int) -> Iterator[Row]:
        """MaxSkew, MinSkew and NDKL, the mean over queries.

        The mean of the queries' simultaneous bounds bounds the mean, whatever the queries share.
        MinSkew is not judged: a missing group counts as one picture, so it can't be very low.
        """
        k, margin = self.told.ks[i], self.told.margin()
        shared = self.told.of_mean(k) | {"method": f"{self.method}; {OF_MEANS}"}
        beside = {m: beside_null(self.nulls.overall[m], i) for m in (MAX_SKEW, MIN_SKEW)}
        low, high = map(float, self._bounds(self.together, i).mean(axis=1))
        row = self.told.row(MAX_SKEW, k, self.target) | shared | beside[MAX_SKEW]
        row |= ends(low, high, low, high) | {
            "margin": margin,
            "verdict": str(verdicts(low, high, margin)),
            "reason": self._why_not(low, k),
        }
        yield row | {"statement": self._mean_sentence(row, k)}
        low, high = self.together.min_skew[:, :, i].mean(axis=1)
        least = shared | beside[MIN_SKEW]
        if least["value"] > high:  # a missing group counts as one picture, and the rate is bounded
            least |= ends(*[math.nan] * 4) | {"reason": COUNTED_AS_ONE}
        else:
            least |= ends(low, high, low, high)
        yield self.told.row(MIN_SKEW, k, self.target) | least
        yield from self.ndkl(d for d in self.told.ndkl_at if d == k)

    def ndkl(self, at: Iterable[int]) -> Iterator[Row]:
        """NDKL at these depths, the mean over queries."""
        for k in at:
            row = self.told.row(NDKL, k, self.target) | self.told.of_mean(k)
            row |= beside_null(self.nulls.overall[NDKL], self.told.ndkl_at.index(k))
            yield row | {"method": f"{self.method}; {NO_INTERVAL}"}

    def _bounds(self, inside: Bounded, i: int) -> NDArray[np.float64]:
        """Bounds of MaxSkew of every query, (2, Q); nan where its definition breaks down."""
        ends = inside.max_skew[:, :, i]
        return np.full(ends.shape, np.nan) if self._breaks_down(self.told.ks[i]) else ends

    def _breaks_down(self, k: int) -> bool:
        """Whether a missing group, which counts as one picture, holds more than its target."""
        return bool((k * self.shares < 1).any())

    def _why_not(self, low: float, k: int) -> str:
        """Why there are no bounds of MaxSkew, if there are none."""
        if not math.isnan(low):
            return ""
        return MISSING.format(k=k) if self._breaks_down(k) else self.together.reason

    def query(self, i: int, q: int) -> Row:
        """MaxSkew of one query; ``group`` is the one most over-represented."""
        k, skews = self.told.ks[i], self.nulls.queries[MAX_SKEW]
        most = int(np.argmax(self.together.share[q, i] / self.shares))
        row = self.told.row(MAX_SKEW, k, self.target)
        row |= self.told.of_query(k, q, self.together.subjects[q, i])
        low, high = map(float, self._bounds(self.together, i)[:, q])
        margin = self.told.margin(row["margin_family"])
        row |= beside_null(skews, (q, i)) | {
            "group": self.told.field.names[most],
            "events": round(k * float(self.together.share[q, i, most])),
            **ends(*self._bounds(self.alone, i)[:, q], low, high),
            "q": float(holm(skews.p[:, i])[q]),
            "margin": margin,
            "verdict": str(verdicts(low, high, margin)),
            "reason": self._why_not(low, k),
            "method": f"{self.method}; Holm; bootstrap of subjects, Bonferroni",
        }
        return row | {"statement": self._query_sentence(row, most)}

    def _mean_sentence(self, row: Row, k: int) -> str:
        chance = f"a ranking by lot gives {row['null_mean']:.2f}, p = {row['p']:.1g}"
        chance = f"no null: {self.nulls.reason}" if self.nulls.reason else chance
        wanted = {"uniform": "equal shares", "dataset": "its share of all pictures"}
        queries = len(self.told.probe.asked)
        over = "the one query" if queries == 1 else f"the {queries} queries"
        return (
            f"Over {over} of '{self.told.probe.task}', the group by {row['attribute']} that gains "
            f"most stands in the top {k} of {row['n']:,} pictures on average "
            f"{rounded(math.exp(row['value']))} times as often as by "
            f"{wanted.get(self.target, f'the shares named ({self.target})')} "
            f"(mean MaxSkew {row['value']:.2f}; {chance}{self._of_all_pictures()}); "
            f"{self._within(row)}{self.told.field.not_ranked}; {_judged(row)}."
        )

    def _query_sentence(self, row: Row, most: int) -> str:
        n, k, share = int(self.told.list_.pool.sum()), row["n"], self.shares[most]
        of = f"{100 * share:.0f} %"
        wanted = {"uniform": f"an equal share of {of}", "dataset": f"its {of} of all pictures"}
        chance = f"; a ranking by lot gives {row['null_mean']:.2f}, p = {row['p']:.1g}"
        return (
            f"Of the top {k} of {n:,} pictures ranked for '{row['label']}', "
            f"{100 * row['events'] / k:.0f} % ({row['events']}) are with {row['attribute']} "
            f"{row['group']}, {rounded(row['events'] / k / share)} times "
            f"{wanted.get(self.target, f'the {of} named for it')} (MaxSkew {row['value']:.2f}"
            f"{'' if self.nulls.reason else chance}{self._of_all_pictures()}); "
            f"{self._within(row)}{self.told.field.not_ranked}; {_judged(row)}."
        )

    def _of_all_pictures(self) -> str:
        """How far the pictures themselves, all of them, are from the target, if they are."""
        pool = ranking.target_shares("dataset", self.told.list_.pool)
        skew = float(np.log(pool / self.shares).max())
        return f"; all pictures together are {skew:.2f} from this target" if skew > FAR else ""

    def _within(self, row: Row) -> str:
        if math.isnan(row["low_simultaneous"] + row["high_simultaneous"]):
            return f"no bounds: {row['reason']}"
        return simultaneous(row, ".2f", level=self.told.design.confidence.level)


@dataclass(frozen=True)
class _Whoever:
    """Entropy, bias and shares of the top, which no target enters."""

    case: Case

    @cached_property
    def bias(self) -> Bias | None:
        """Bias@k between the two groups named, or those that there are; None if there aren't."""
        told = self.case.told
        names = told.probe.bias_of.get(told.field.attribute, told.field.names)
        if told.field.of_two(names) is None:
            return None
        first, second = names
        if told.everyone is not None:
            return Bias.with_neither(told, told.everyone, (first, second))
        return Bias.of_case(self.case, (first, second))

    def _without_bias(self, k: int) -> Row:
        """The row of a bias that was asked for, between groups that are not ranked."""
        told = self.case.told
        first, second = told.probe.bias_of[told.field.attribute]
        return told.row(BIAS, k) | {
            "group": first,
            "other": second,
            "status": TOO_FEW,
            "verdict": Verdict.INCONCLUSIVE,
            "reason": f"one of both is not ranked: {told.field.left_out}",
        }

    def every(self, queries: Mapping[int, set[int]]) -> Iterator[Row]:
        """Means over queries at every k, and the shares in the top of the queries told there."""
        for i, k in enumerate(self.case.told.ks):
            yield from self._means(i, k)
            for q in sorted(queries[k]):
                yield from self._query(i, k, q)

    def _means(self, i: int, k: int) -> Iterator[Row]:
        """Of the mean over queries; the bounds hold for all groups together."""
        told, names = self.case.told, self.case.told.field.names
        mean = self.case.alone.mean_low, self.case.alone.mean_high
        method = f"{self.case.method}; bootstrap of subjects"
        row = (
            told.row(ENTROPY, k)
            | told.of_mean(k)
            | beside_null(self.case.nulls.overall[ENTROPY], i)
        )
        yield row | {"method": f"{self.case.method}; {NO_INTERVAL}"}
        if self.bias is not None:
            yield self.bias.of_mean(told.row(BIAS, k) | told.of_mean(k), i)
        elif told.field.attribute in told.probe.bias_of:
            yield self._without_bias(k)
        for g, name in enumerate(names):
            row = told.row(SHARE, k) | told.of_mean(k) | {"group": name, "method": method}
            row |= beside_null(self.case.nulls.overall[SHARE], (i, g))
            yield row | ends(*mean, *mean, at=(i, g)) | {"family_size": len(names)}

    def _query(self, i: int, k: int, q: int) -> Iterator[Row]:
        """The share of each group in the top of one query."""
        told, alone, together = self.case.told, self.case.alone, self.case.together
        # of two groups alone it is the difference of their shares, which are told
        apart = told.everyone is not None or told.field.attribute in told.probe.bias_of
        if self.bias is not None and apart:
            row = told.row(BIAS, k) | told.of_query(k, q, 0)
            yield self.bias.of_query(row, i, q)
        for g, name in enumerate(told.field.names):
            at = q, i, g
            yield {
                **told.row(SHARE, k),
                **told.of_query(k, q, together.subjects[q, i]),
                **beside_null(self.case.nulls.queries[SHARE], at),
                "group": name,
                "events": round(k * float(together.share[at])),
                **ends(alone.low, alone.high, together.low, together.high, at=at),
                "reason": together.reason if math.isnan(together.low[at]) else "",
                "method": f"{self.case.method}; bootstrap of subjects, Bonferroni",
            }


def _judged(row: Row) -> str:
    margin = f"{row['margin']:.2f} ({math.exp(row['margin']):.3g} times)"
    return Verdict(row["verdict"]).against(margin)


def headlines(table: pd.DataFrame) -> pd.DataFrame:
    """The table with sentences for means and, of single queries, for those of surest skew only."""
    single = (table["label"] != "") & (table["statement"] != "")
    sure = table[single & (table["low_simultaneous"] > 0)]
    sure = sure[~sure["attribute"].str.contains(" x ", regex=False)]
    sure = sure.sort_values("low_simultaneous", ascending=False, kind="stable")
    sure = sure.drop_duplicates(["label", "attribute"]).head(FINDINGS)
    silent = single & ~table.index.isin(sure.index)
    return table.assign(statement=table["statement"].mask(silent, ""))

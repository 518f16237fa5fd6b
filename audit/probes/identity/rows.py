"""False matches and misses counted: rows of MEASURES, and their sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.arrays import Floats, Integers
from audit.core.rows import Row
from audit.core.tables import EVERYONE, NOT_JUDGED, OK, TOO_FEW, UNDEFINED
from audit.core.verdicts import Verdict, verdicts
from audit.measure.metrics import DEFAULT_FAMILY
from audit.probes.identity.names import (
    ACROSS,
    DET_FMR,
    DET_FNMR,
    FMR,
    FNMR,
    OVER,
    POINTS,
    THRESHOLD,
    WITHIN,
    WITHIN_ACROSS,
    WORST_FMR,
    WORST_FNMR,
    at_target,
    percent,
    remarks,
)
from audit.probes.identity.nulls import beside, by_chance, dealt_matches, dealt_misses
from audit.probes.identity.ratios import (
    Ratios,
    _established,
    pair_of,
    picked,
    ratios_of,
    union,
    with_rests,
)
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.bounds import ends, simultaneous
from audit.stats import error_rates, verification
from audit.stats import faces as face_pairs
from audit.stats.clustered import Sample, rate_interval
from audit.stats.error_rates import ErrorRates, Threshold
from audit.stats.faces import Faces
from audit.stats.multiplicity import compare
from audit.stats.significance import bonferroni_level
from audit.stats.verification import BINS, Impostors, Mated

if TYPE_CHECKING:
    from audit.probes.identity.probe import Identity


@dataclass(frozen=True)
class Half:
    """What the half of the subjects that fixes thresholds has shown, and what to measure at it."""

    probe: Identity
    seen: Seen
    design: Design

    @cached_property
    def everyone(self) -> Integers:
        """All pictures in one group."""
        return np.zeros(len(self.seen.images.keys), np.int64)

    @cached_property
    def fixers(self) -> Faces:
        """Those who fix the thresholds."""
        people = self.probe.faces(self.seen, self.everyone, 1, strangers=True)
        return people.only(face_pairs.split_subjects(people.ids, self.design.seed))

    @cached_property
    def fixed(self) -> Impostors:
        """Their pairs of two people."""
        among = self.probe.among(self.fixers, self.design.seed)
        return verification.impostors(self.fixers, (), among)

    @cached_property
    def at(self) -> tuple[Threshold, ...]:
        """The threshold of each target."""
        n = self.fixed.pairs.sum(axis=1).astype(np.float64)
        # as for a cell: how many pairs can be made without using a subject twice
        worth = n.sum() ** 2 / max(2 * (n**2).sum(), 1.0)
        found = (
            error_rates.threshold_at(self.fixed.pooled, target, float(worth))
            for target in self.probe.targets
        )
        return tuple(found)

    @cached_property
    def grid(self) -> Floats:
        """Thresholds of the points of DET curves: those of falling FMRs among who fixes them."""
        if not self.fixed.pooled.sum():
            return np.empty(0)
        found = (error_rates.threshold_at(self.fixed.pooled, float(f)).value for f in POINTS)
        return np.unique(list(found))

    def thresholds(self) -> Iterator[Row]:
        """A row a target: the threshold, and how many of its pairs matched where it was fixed."""
        pairs = int(self.fixed.pooled.sum())
        for target, threshold in zip(self.probe.targets, self.at, strict=True):
            known = not np.isnan(threshold.value)
            yield {
                "condition": at_target(target),
                "metric": THRESHOLD,
                "unit": "cosine",
                "value": threshold.value,
                "n": pairs,
                "subjects": len(self.fixers.ids),
                "events": round(threshold.fmr * pairs) if known else 0,
                "method": "lowest at which no more than the target share of impostor pairs match",
                "status": UNDEFINED if not known else TOO_FEW if threshold.reason else OK,
                "reason": threshold.reason,
                "verdict": NOT_JUDGED,
            }

    def of_everyone(self) -> Iterator[Row]:
        """Both rates of all people measured, and their DET curve."""
        found = self._measured(EVERYONE, (EVERYONE,), self.everyone)
        if self.usable and found.people.ids:
            yield from (*found.rates(), *found.curve())

    @property
    def usable(self) -> tuple[int, ...]:
        """Which targets have a threshold."""
        return tuple(t for t, threshold in enumerate(self.at) if not np.isnan(threshold.value))

    def of_attribute(self, attribute: str) -> Iterator[Row]:
        """Everything by one attribute, or why there is nothing."""
        groups = self.design.groups
        at = groups.columns(attribute)
        names = tuple(str(groups.index[c][1]) for c in at)
        member = groups.member[groups.at(self.seen.images.keys)][:, at]
        codes = np.where(member.any(axis=1), member.argmax(axis=1), -1)
        reason = self._unusable(codes)
        found = None if reason else self._measured(attribute, names, codes)
        if found is None or not found.people.ids:
            yield from self._nothing(attribute, reason or "nobody of known group is measured")
            return
        yield from (*found.rates(), *found.worst(), *found.within_across())
        if " x " not in attribute:
            yield from found.curve()

    def _nothing(self, attribute: str, reason: str) -> Iterator[Row]:
        """Why there are no rates by an attribute."""
        for metric in (FMR, FNMR):
            yield {
                "metric": metric,
                "attribute": attribute,
                "group": "",
                "unit": "share",
                "status": UNDEFINED,
                "reason": reason,
                "verdict": NOT_JUDGED,
            }

    def _unusable(self, codes: Integers) -> str:
        """Why no pair has groups here; blank if all have."""
        if not self.usable:
            return self.at[0].reason
        subjects = self.seen.column("cluster_id").astype(str).to_numpy()
        several = pd.Series(codes[codes >= 0]).groupby(subjects[codes >= 0]).nunique() > 1
        if not several.any():
            return ""
        return f"{several.sum()} of {several.size} subjects have pictures in several groups"

    def _measured(self, attribute: str, names: tuple[str, ...], codes: Integers) -> Measured:
        """Those who did not fix the thresholds, in groups."""
        strangers, people = (
            self.probe.faces(self.seen, codes, len(names), strangers=chosen)
            for chosen in (True, False)
        )
        strangers, people = (
            faces.only(~face_pairs.split_subjects(faces.ids, self.design.seed))
            for faces in (strangers, people)
        )
        return Measured(self, attribute, names, strangers, people)


@dataclass(frozen=True)
class Measured:
    """The half of the subjects that is measured, in the groups of one attribute.

    ``strangers``: the pictures of which two people's are compared; ``people``: all of them.
    """

    half: Half
    attribute: str
    names: tuple[str, ...]
    strangers: Faces
    people: Faces

    @property
    def targets(self) -> list[float]:
        """The targets of false matches that can be aimed at."""
        return [self.half.probe.targets[t] for t in self.half.usable]

    @property
    def edges(self) -> list[float]:
        """The threshold of each target."""
        return [self.half.at[t].value for t in self.half.usable]

    @cached_property
    def impostors(self) -> Impostors:
        """Pairs of two people, counted."""
        among = self.half.probe.among(self.strangers, self.half.design.seed)
        return verification.impostors(self.strangers, self.edges, among)

    @cached_property
    def mated(self) -> Mated:
        """Pairs of pictures of one person, counted."""
        return verification.mated(self.people, self.edges, self.half.probe.apart)

    @cached_property
    def false_matches(self) -> Sample:
        """False matches by group and replicate."""
        c = self.half.design
        return self.impostors.sample(c.seed, c.confidence.resamples)

    @cached_property
    def misses(self) -> Sample:
        """Pairs of one person that do not pass, by group and replicate."""
        c = self.half.design
        return self.mated.sample(c.seed, c.confidence.resamples)

    @cached_property
    def fmr(self) -> ErrorRates:
        """False match rates."""
        c = self.half.design
        return error_rates.false_match_rates(
            self.impostors, c.confidence.level, c.seed, c.confidence.resamples
        )

    @cached_property
    def fnmr(self) -> ErrorRates:
        """False non-match rates."""
        c = self.half.design
        return error_rates.false_non_match_rates(
            self.mated, c.confidence.level, c.seed, c.confidence.resamples
        )

    def few(self, people: Faces) -> NDArray[np.bool_]:
        """Groups with too few subjects among these."""
        subjects = np.bincount(people.group, minlength=len(self.names))
        return np.asarray(subjects < self.half.design.confidence.min_group)

    # ---- rates -----------------------------------------------------------------------------------

    def rates(self) -> Iterator[Row]:
        """Every cell's false match rate and every group's false non-match rate."""
        one, other = self.impostors.cells
        small = self.few(self.strangers)
        few = small[one] | small[other]
        names = np.array(self.names, dtype=object)
        for c in range(one.size):
            where = {"group": names[one[c]], "other": names[other[c]]}
            where["label"] = WITHIN if one[c] == other[c] else ACROSS
            if self.attribute == EVERYONE:
                where |= {"other": "", "label": ""}
            yield from self._rate(FMR, self.fmr, self.false_matches, c, where, few[c])
        for g, few_g in enumerate(self.few(self.people)):
            where = {"group": self.names[g]}
            yield from self._rate(FNMR, self.fnmr, self.misses, g, where, few_g)

    def _rate(
        self, metric: str, found: ErrorRates, sample: Sample, c: int, where: Row, few: bool
    ) -> Iterator[Row]:
        """One cell at every target; a small group keeps its value and enters no comparison."""
        size = found.value.shape[1]
        each = float(bonferroni_level(self.half.design.confidence.level, size))
        bounds = found.low, found.high, *rate_interval(sample, each)
        for t, target in enumerate(self.targets):
            status, reason = str(found.status[t, c]), str(found.reason[t, c])
            if few and status == OK:
                least = self.half.design.confidence.min_group
                status, reason = TOO_FEW, f"fewer than {least} subjects"
            yield self._row(metric, target) | where | {
                "unit": "share",
                "value": float(found.value[t, c]),
                **ends(*bounds, at=(t, c)),
                "n": int(found.pairs[t, c]),
                "events": int(found.events[t, c]),
                "subjects": int(found.subjects[t, c]),
                "family": f"{self.half.probe.task}, {metric}, by {self.attribute}",
                "family_size": size,
                "method": f"{OVER[metric]}{remarks(found, t, c)}",
                "status": status,
                "reason": reason,
                "verdict": NOT_JUDGED,
            }  # fmt: skip

    def _row(self, metric: str, target: float) -> Row:
        """What all rows at a target have."""
        return {"condition": at_target(target), "metric": metric, "attribute": self.attribute}

    def curve(self) -> Iterator[Row]:
        """Points of each group's DET curve: both rates at thresholds that are the same for all."""
        grid = self.half.grid
        at = np.round((grid + 1) * BINS / 2).astype(np.int64)
        for g, name in enumerate(self.names):
            impostor, genuine = self.impostors.histogram[g, g], self.mated.histogram[g]
            found = error_rates.detection_error_tradeoff(impostor, genuine)
            for metric, values, n in (
                (DET_FMR, found.fmr, impostor.sum()),
                (DET_FNMR, found.fnmr, genuine.sum()),
            ):
                if not n or self.few(self.people)[g]:
                    continue
                for threshold, value in zip(grid, values[at], strict=True):
                    yield {
                        "condition": f"threshold {threshold:.4f}",
                        "metric": metric,
                        "attribute": self.attribute,
                        "group": name,
                        "unit": "share",
                        "value": float(value),
                        "n": int(n),
                        "verdict": NOT_JUDGED,
                    }

    # ---- comparisons -----------------------------------------------------------------------------

    def worst(self) -> Iterator[Row]:
        """The worst group's rates over those of all groups' pairs together."""
        within = np.flatnonzero(self.impostors.within)
        group, own = self.strangers.group, self._own_pairs
        every = with_rests(picked(self.false_matches, within), group, own, 2)
        sampled = self.half.probe.samples(self.strangers)
        null = None if sampled else dealt_matches(self, ~self.few(self.strangers))
        yield from self._over_all(WORST_FMR, every, ~self.few(self.strangers), null)
        if self.mated.pairs.any():
            every = with_rests(self.misses, self.mated.group, self.mated.pairs, 1)
            null = dealt_misses(self, ~self.few(self.people))
            yield from self._over_all(WORST_FNMR, every, ~self.few(self.people), null)

    def _over_all(
        self, metric: str, every: Sample, enough: NDArray[np.bool_], null: Floats | None
    ) -> Iterator[Row]:
        """One row a target; ``every`` has the groups, then all others of each."""
        found = ratios_of(metric, every, enough, self.half.design.confidence.level)
        for t, target in enumerate(self.targets):
            row = self._row(metric, target) | self._family(metric, found.size)
            headline = t == 0 and " x " not in self.attribute
            if np.isnan(found.value[t]).all():
                row |= self._not_compared(every, t, enough)
                told = headline and row["status"] == TOO_FEW
                yield row | ({"statement": self._unsaid(row, target)} if told else {})
                continue
            row |= self._widest(found, every, t)
            row |= beside(row["value"], None if null is None else null[t], row["level"])
            yield row | ({"statement": self._said(row, every, t, target)} if headline else {})

    @property
    def _own_pairs(self) -> Integers:
        """Of each subject, its pairs with its own group."""
        return self.impostors.pairs[np.arange(len(self.strangers.ids)), self.strangers.group]

    def _family(self, metric: str, size: int) -> Row:
        margin = self.half.design.confidence.margin(DEFAULT_FAMILY).times
        return {
            "unit": "times",
            "family": f"{self.half.probe.task}, {metric}, by {self.attribute}",
            "family_size": size,
            "margin": margin,
            "margin_family": DEFAULT_FAMILY,
            "harm": "quality of service",
            "group": "",
        }

    def _widest(self, found: Ratios, every: Sample, t: int) -> Row:
        """The largest ratio, with bounds on the largest: those of all groups hold at once."""
        g = int(np.nanargmax(found.value[t]))
        low, high = float(np.fmax.reduce(found.low[t])), float(np.fmax.reduce(found.high[t]))
        confidence = self.half.design.confidence
        margin = confidence.margin(DEFAULT_FAMILY).times
        with np.errstate(divide="ignore"):
            verdict = verdicts(np.log(low), np.log(high), np.log(margin))
        how = "largest over groups; ratio to all others, log, max-T over subjects"
        how += "" if found.sure[t, g] else "; no more than an upper bound is known of the others"
        return {
            "group": self.names[g],
            "value": float(found.value[t, g]),
            "low_simultaneous": low,
            "high_simultaneous": high,
            "level": confidence.level,
            "n": int(every.n[t, g]),
            "events": int(every.events[t, g]),
            "subjects": int(every.subjects[t, g]),
            "method": how,
            "verdict": str(verdict),
        }

    def _not_compared(self, every: Sample, t: int, enough: NDArray[np.bool_]) -> Row:
        groups = len(self.names)
        some = bool((every.n[t, :groups] > 0).sum() > 1)
        enough = enough & (every.copies[t, :groups] > 1)
        if enough.sum() < 2:
            names = [n for n, fine in zip(self.names, enough, strict=True) if fine]
            reason = "fewer than two groups have enough pairs"
            reason += f" (only {names[0]})" if names else ""
            return {"status": TOO_FEW if some else UNDEFINED, "reason": reason}
        if not every.events[t].any():
            return {"status": TOO_FEW, "reason": "no pair is wrong"}
        return {"status": TOO_FEW, "reason": "too few people to establish so low a rate"}

    def within_across(self) -> Iterator[Row]:
        """Pairs of two people of one group over pairs of two groups: are they more alike?"""
        within = self.impostors.within
        own = self._own_pairs
        both = pair_of(
            union(self.false_matches, np.flatnonzero(within), own, 2),
            union(
                self.false_matches, np.flatnonzero(~within),
                self.impostors.pairs.sum(axis=1) - own, 2,
            ),
        )  # fmt: skip
        c = self.half.design.confidence
        usable = np.asarray(_established(FMR, both).all(axis=1, keepdims=True))
        found = compare(both, np.array([0]), np.array([1]), usable, c.level)
        for t, target in enumerate(self.targets):
            row = self._row(WITHIN_ACROSS, target) | self._family(WITHIN_ACROSS, found.size)
            if not usable[t, 0]:
                told = "too few people to establish so low a rate within groups and across them"
                yield row | {"status": TOO_FEW, "reason": told}
                continue
            r, at = found.ratio, (t, 0)
            yield row | {
                "value": float(r.value[at]),
                **ends(r.low, r.high, r.low_all, r.high_all, at=at),
                "n": int(both.n[t].sum()),
                "events": int(both.events[t].sum()),
                "subjects": int(both.subjects[t].max()),
                "method": "log, max-T over subjects on both sides of a pair",
                "verdict": str(
                    verdicts(np.log(r.low_all[at]), np.log(r.high_all[at]), np.log(row["margin"]))
                ),
            }

    # ---- in words --------------------------------------------------------------------------------

    def _said(self, row: Row, every: Sample, t: int, target: float) -> str:
        """What a finding says of the worst group."""
        margin, group = f"{row['margin']:g} times", row["group"]
        rate, overall = row["events"] / row["n"], row["events"] / row["n"] / row["value"]
        held = simultaneous(row, ".2f", level=self.half.design.confidence.level)
        said = Verdict(row["verdict"]).against(margin, "no group has {margin} the rate of all")
        of = {
            WORST_FMR: ("two people with", "pass for one", "all pairs within a group"),
            WORST_FNMR: ("pictures of one person with", "do not pass", "all such pairs"),
        }
        who, verb, all_pairs = of[row["metric"]]
        return (
            f"{self._at(target)}, {percent(rate)} of the pairs of {who} {self.attribute} {group} "
            f"({row['events']:,} of {row['n']:,}) {verb}: {row['value']:.2f} times the "
            f"{percent(overall)} of {all_pairs} ({held}{by_chance(row)}"
            f"{self._sittings(row['metric'])}); {said}."
        )

    def _unsaid(self, row: Row, target: float) -> str:
        """What a finding says where nothing can be compared."""
        what = {WORST_FMR: FMR, WORST_FNMR: FNMR}[row["metric"]]
        return (
            f"{self._at(target)}, {what}s can't be compared by {self.attribute}: {row['reason']}; "
            "inconclusive."
        )

    def _at(self, target: float) -> str:
        return (
            f"At a threshold that lets {percent(target)} of the pairs of two people pass for one "
            f"(fixed on {len(self.half.fixers.ids):,} other subjects)"
        )

    def _sittings(self, metric: str) -> str:
        """What is known of the sittings of mated pairs."""
        notes = dict.fromkeys(note for note in self.fnmr.note if note)
        return "".join(f"; {note}" for note in notes) if metric == WORST_FNMR else ""

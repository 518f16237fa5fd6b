"""Alarms counted: rows of MEASURES, and their sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from audit.core.arrays import Flags, Floats
from audit.core.digits import bounds, percent, rounded
from audit.core.rows import Row
from audit.core.tables import EVERYONE, NOT_JUDGED, OK, UNDEFINED
from audit.core.verdicts import EITHER_WAY, Verdict, verdicts
from audit.measure.effects import change_interval
from audit.measure.measures import rows_of_rates
from audit.measure.metrics import DEFAULT_FAMILY, standing
from audit.probes.alarms.points import TOO_SHORT, Point, choose
from audit.probes.alarms.units import Units
from audit.probes.kit.base import Design
from audit.probes.kit.bounds import ends, simultaneous
from audit.probes.kit.footage import CAMERA
from audit.stats.clustered import Sample, rate_interval
from audit.stats.counts import count
from audit.stats.faces import split_subjects
from audit.stats.gaps import NEGLIGIBLE, Claims, Pairs, judge
from audit.stats.multiplicity import compare
from audit.stats.samples import pick_groups, pick_questions
from audit.stats.significance import bonferroni_level

if TYPE_CHECKING:
    from audit.probes.alarms.probe import Alarms as Probe

#: ``metric`` of rows at an operating point
THRESHOLD: Final = "threshold"
FALSE_ALARMS: Final = "false_alarm_rate"
DETECTED: Final = "detection_rate"
ALARMS: Final = "alarm_rate"
#: of the largest gap in one of these, of points of its curve, and of groups that change places
GAP: Final = {name: f"{name}_gap" for name in (FALSE_ALARMS, DETECTED, ALARMS)}
CURVE: Final = {name: f"{name}_curve" for name in (FALSE_ALARMS, DETECTED, ALARMS)}
TURN: Final = {name: f"{name}_turn" for name in (FALSE_ALARMS, DETECTED, ALARMS)}
#: of everyone, in poor footage
CHANGE: Final = {name: f"{name}_change" for name in (FALSE_ALARMS, DETECTED, ALARMS)}
#: of what alarms are for an operator
PER_HOUR: Final = "alarms_per_camera_hour"
PRECISION: Final = "precision"
REVIEWS: Final = "reviews_per_true_alarm"
#: clips that lost a picture, and are in no rate
CUT_SHORT: Final = "clips_cut_short"

#: false alarm rates of everyone, and detection rates, whose thresholds are points of the curves
POINTS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
DETECTIONS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
#: who is alarmed about is watched, stopped or searched; who is not may not be helped
_HARM: Final = {
    FALSE_ALARMS: "being watched, stopped or searched",
    DETECTED: "quality of service",
    ALARMS: "being watched, stopped or searched",
}
#: an alarm casts suspicion, so a ratio margin binds as for labels that do
_FAMILY: Final = {FALSE_ALARMS: "suspicion", DETECTED: DEFAULT_FAMILY, ALARMS: "suspicion"}
#: the family of the margin of each gap
MARGINS: Final = {GAP[metric]: family for metric, family in _FAMILY.items()}
_AMONG: Final = {
    FALSE_ALARMS: "{units} without an event",
    DETECTED: "{units} with an event",
    ALARMS: "{units}, events or not",
}


@dataclass(frozen=True)
class Alarms:
    """What came of one probe: scores, events and groups; ``poor``: scores in other footage."""

    probe: Probe
    units: Units
    design: Design
    poor: Mapping[str, Floats] = field(default_factory=dict)

    def every(self) -> Iterator[Row]:
        """All rows."""
        for point in self.points:
            yield self._threshold(point)
            if point.undefined:
                continue
            judged = point.score, point.measured, [point.threshold]
            samples = {m: self._sample(m, *judged) for m in self.metrics}
            for metric, sample in samples.items():
                yield from self._rates(metric, sample, point)
                for attribute in self.design.groups.attributes:
                    # of what makes an event there is one group with events, and nothing to compare
                    if (metric, attribute) != (DETECTED, self.probe.truth):
                        yield self._gap(metric, sample, point, attribute)
            if self.probe.workload is not None:
                yield from self._workload(samples, point)
        yield from self._footage()
        for metric in self.metrics:
            yield from self._curve(metric)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The rates that can be known: both by truth, or of alarms alone."""
        return (ALARMS,) if self.units.event is None else (FALSE_ALARMS, DETECTED)

    # ---- thresholds ------------------------------------------------------------------------------

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """The operating points of the suite, each as it is and in other footage."""
        return tuple(each for point in self._points() for each in (point, *self._seen(point)))

    def _seen(self, point: Point) -> Iterator[Point]:
        """The same point in other footage."""
        for name, score in self.poor.items():
            if not point.undefined:
                told = f"{point.condition}, {name}"
                yield replace(point, condition=told, score=score, footage=name)

    def _points(self) -> Iterator[Point]:
        """Those in use, then those of a wanted rate among half of the subjects."""
        everyone, scores, noun = (
            np.ones(len(self.units.score), bool),
            self.units.score,
            self.units.noun,
        )
        short = "" if np.isfinite(scores).any() else f"none of {scores.size:,} {noun} {TOO_SHORT}"
        for threshold in self.probe.thresholds:
            yield Point(f"threshold {threshold:g}", threshold, everyone, scores, undefined=short)
        if not self.probe.false_alarm_rates:
            return
        groups = self.design.groups
        fixer = split_subjects(groups.cluster_ids, self.design.seed)[self.units.clusters]
        quiet = scores[fixer & (self.units.event == 0)]
        for rate in self.probe.false_alarm_rates:
            found = choose(rate, quiet, scores, noun)
            told = found.undefined, found.remark
            condition = f"false alarm rate {100 * rate:g} %"
            yield Point(condition, found.threshold, ~fixer, scores, quiet.size, *told)

    @cached_property
    def grid(self) -> Floats:
        """Thresholds of the points of curves, rising, as they are printed; those in use too."""
        found = [np.array([p.threshold for p in self.points if not p.undefined])]
        for metric, rates in zip(self.metrics, (POINTS, DETECTIONS), strict=False):
            scores = self.units.score[self._asked(metric)]
            scores = scores[np.isfinite(scores)]
            found.append(np.quantile(scores, 1 - np.array(rates)) if scores.size else scores)
        return np.unique([float(f"{v:.6g}") for v in np.concatenate(found)])

    def _threshold(self, point: Point) -> Row:
        return {
            "condition": point.condition,
            "metric": THRESHOLD,
            "unit": "score",
            "value": point.threshold,
            "n": point.fixed_on,
            "method": "fixed in the suite"
            if not point.fixed_on
            else "lowest score at which no more than the wanted share raise a false alarm",
            "status": UNDEFINED if point.undefined else OK,
            "reason": point.reason,
            "verdict": NOT_JUDGED,
        }

    # ---- rates -----------------------------------------------------------------------------------

    def _asked(self, metric: str) -> NDArray[np.bool_]:
        """The units among which a rate is counted."""
        if self.units.event is None:
            return np.ones(len(self.units.score), bool)
        return np.asarray(self.units.event == (0 if metric == FALSE_ALARMS else 1))

    def _sample(
        self,
        metric: str,
        score: Floats,
        measured: NDArray[np.bool_],
        thresholds: Sequence[float] | Floats,
    ) -> Sample:
        """How many raise an alarm, a question a threshold, in every group."""
        flags = score[:, np.newaxis] >= np.asarray(thresholds)
        return self._counted(metric, measured, flags)

    def _counted(self, metric: str, measured: NDArray[np.bool_], flags: Flags) -> Sample:
        """How often each flag, (n, Q), is up among the units of a rate, in every group."""
        at = self._asked(metric) & measured
        clusters, draws = self.units.clusters[at], self.design.draws
        groups = self.design.groups
        counted = count(
            flags[at], self.units.member[at], clusters, len(groups.cluster_ids),
            draws.weights, draws.rows(clusters),
        )  # fmt: skip
        return counted.sample(np.arange(len(groups.index)))

    def _standing(self, sample: Sample) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        return standing(sample.n, sample.subjects, self.design.confidence.min_group)

    def _row(self, metric: str, condition: str, attribute: str) -> Row:
        return {
            "condition": condition,
            "metric": metric,
            "attribute": attribute,
            "verdict": NOT_JUDGED,
        }

    def _rates(self, metric: str, sample: Sample, point: Point) -> Iterator[Row]:
        """One rate of every group at an operating point."""
        c, method = self.design.confidence, f"among {self._among(metric)}"
        for row in rows_of_rates(sample, self.design.groups, c.level, c.min_group):
            yield self._row(metric, point.condition, row["attribute"]) | row | {"method": method}

    def _among(self, metric: str) -> str:
        return _AMONG[metric].format(units=self.units.noun)

    # ---- gaps ------------------------------------------------------------------------------------

    def _gap(self, metric: str, sample: Sample, point: Point, attribute: str) -> Row:
        """The largest gap between two groups at an operating point, and what is to be said of it.

        Bounds hold for all pairs of groups at all operating points; ``n``, ``subjects`` and
        ``events`` are those of the smaller group, by which public copies withhold.
        """
        c, groups = self.design.confidence, self.design.groups
        at = groups.columns(attribute)
        names = [str(groups.index[g][1]) for g in at]
        part = pick_groups(sample, at)
        pairs = Pairs.of(self._standing(part)[0] == OK, names)
        margins = c.margins_of([_FAMILY[metric]])
        claims = judge(part, pairs, margins, float(bonferroni_level(c.level, len(self.points))))
        row = self._row(GAP[metric], point.condition, attribute) | claims.gap.row(names, 0, 100)
        row |= {
            "unit": "points",
            "margin": 100 * float(margins.difference[0, 0]),
            "margin_family": _FAMILY[metric],
            "harm": _HARM[metric],
            "family": f"{self.probe.task}, {metric}, by {attribute}",
            "family_size": int(pairs.usable.sum()) * len(self.points),
            "method": f"largest over pairs, among {self._among(metric)}, max-T over subjects; by "
            + str(claims.basis[0, 0]),
            "verdict": str(claims.verdict[0, 0]),
        }
        if row["status"] != OK:
            return row | {"verdict": Verdict.INCONCLUSIVE.value}
        if row["verdict"] == Verdict.WITHIN:  # no pair alone reaches the margin: no joint bound
            row["high_simultaneous"] = 100 * float(claims.high_equivalence[0, 0])
        row |= _fewer(part, int(claims.gap.group[0, 0]), int(claims.gap.other[0, 0]))
        told = " x " not in attribute
        return row | ({"statement": self._said(metric, row, part, claims)} if told else {})

    def _said(self, metric: str, row: Row, part: Sample, claims: Claims) -> str:
        """The gap as a sentence."""
        one, other = int(claims.gap.group[0, 0]), int(claims.gap.other[0, 0])
        by = [row[f"{end}_simultaneous"] / 100 for end in ("low", "high")]
        low, high = rate_interval(part, row.get("level", self.design.confidence.level))
        rates = [percent(part.rate[0, g], low[0, g], high[0, g]) for g in (one, other)]
        within = row["verdict"] == Verdict.WITHIN
        held = f"surely below {bounds(by[1], by[1]).split(' ')[0]}" if within else bounds(*by)
        # without any event there is no ratio, and the difference alone is judged
        binds = part.events.any()
        ratio = self.design.confidence.margin(_FAMILY[metric]).ratio if binds else None
        never = "" if part.events.any() else "; no alarm is raised at all"
        return (
            f"At {row['condition']} of '{self.probe.task}', of {self._among(metric)} "
            f"{rates[0]} % of {row['attribute']} {row['group']} raise an alarm and {rates[1]} % of "
            f"{row['other']}: {_apart(percent(row['value'] / 100, *by))}{_times(claims)} "
            f"({100 * self.design.confidence.level:.0f} % bounds {held}{_surely(claims, ratio)}); "
            f"{_against(row, claims, ratio)}{never}."
        )

    # ---- what poor footage costs -----------------------------------------------------------------

    def _footage(self) -> Iterator[Row]:
        """How much each rate of everyone changes in poor footage, paired, from a plain camera.

        Bounds hold for all operating points and all poor footage at once (Bonferroni).
        """
        if CAMERA not in self.poor:
            return
        seen = [p for p in self.points if not p.undefined and p.footage not in ("", CAMERA)]
        for point in seen:
            before, after = (s >= point.threshold for s in (self.poor[CAMERA], point.score))
            flags = np.stack([before, after, after & ~before, before & ~after], axis=1)
            for metric in self.metrics:
                counted = self._counted(metric, point.measured, flags)
                yield self._change(metric, point, pick_groups(counted, np.array([0])), len(seen))

    def _change(self, metric: str, point: Point, sample: Sample, size: int) -> Row:
        """The change of one rate; ``sample``: before, after, gained and lost, of everyone."""
        c = self.design.confidence
        gained, lost = (pick_questions(sample, slice(q, q + 1)) for q in (2, 3))
        each = float(bonferroni_level(c.level, size))
        alone, together = (change_interval(gained, lost, level=level) for level in (c.level, each))
        margin = 100 * c.margin(DEFAULT_FAMILY).difference
        status, reason = self._standing(gained)
        row = self._row(CHANGE[metric], point.condition, EVERYONE) | {
            "group": EVERYONE,
            "unit": "points",
            **gained.counted(0, 0),
            "value": 100 * float(sample.rate[1, 0] - sample.rate[0, 0]),
            **ends(*alone, *together, at=(0, 0), unit=100),
            "margin": margin,
            "margin_family": DEFAULT_FAMILY,
            "harm": _HARM[metric],
            "family": f"{self.probe.task}, {metric} in poor footage",
            "family_size": size,
            "method": f"paired with '{CAMERA}', among {self._among(metric)}: shares gained and "
            "lost, Bonferroni",
            "status": status[0, 0],
            "reason": reason[0, 0],
        }
        if row["status"] != OK:
            return row
        low, high = row["low_simultaneous"], row["high_simultaneous"]
        row["verdict"] = str(verdicts(low, high, margin))
        after, before = (100 * sample.rate[q, 0] for q in (1, 0))
        told = (
            f"At {point.condition} of '{self.probe.task}', {after:.0f} % of {row['n']:,} "
            f"{self._among(metric)} raise an alarm, and {before:.0f} % of the same through a plain "
            f"camera: {row['value']:+z.0f} points ({simultaneous(row, '+z.0f', level=c.level)})"
        )
        said = Verdict(row["verdict"]).against(f"{margin:g} points", EITHER_WAY)
        return row | {"statement": f"{told}; {said}."}

    # ---- over all thresholds ---------------------------------------------------------------------

    def _curve(self, metric: str) -> Iterator[Row]:
        """Every group's rate over the thresholds, and pairs of groups that change places.

        Bounds hold for all groups of an attribute and all thresholds at once (Bonferroni).
        """
        if not self.grid.size:
            return
        groups, c = self.design.groups, self.design.confidence
        score = self.units.score
        sample = self._sample(metric, score, np.ones(len(score), bool), self.grid)
        for attribute in (EVERYONE, *(a for a in groups.attributes if " x " not in a)):
            at = groups.columns(attribute) if attribute != EVERYONE else np.array([0])
            part = pick_groups(sample, at)
            status, reason = self._standing(part)
            each = float(bonferroni_level(c.level, len(at) * self.grid.size))
            all_bounds = *rate_interval(part, c.level), *rate_interval(part, each)
            for q, threshold in enumerate(self.grid):
                for g, place in enumerate(at):
                    yield self._row(CURVE[metric], at_threshold(threshold), attribute) | {
                        "group": str(groups.index[place][1]),
                        **part.counted(q, g),
                        "value": float(part.rate[q, g]),
                        **ends(*all_bounds, at=(q, g)),
                        "family": f"{self.probe.task}, {metric} over thresholds, by {attribute}",
                        "family_size": len(at) * self.grid.size,
                        "method": f"among {self._among(metric)}, Bonferroni",
                        "status": status[q, g],
                        "reason": reason[q, g],
                    }
            yield from self._turns(metric, attribute, part)

    def _turns(self, metric: str, attribute: str, part: Sample) -> Iterator[Row]:
        """Pairs of which either group surely has the higher rate, at other thresholds.

        Bounds of the differences hold for all pairs and thresholds at once.
        """
        names = [str(self.design.groups.index[g][1]) for g in
                 self.design.groups.columns(attribute)]  # fmt: skip
        pairs = Pairs.of(self._standing(part)[0] == OK, names)
        if not pairs.usable.any():
            return
        found = compare(part, pairs.one, pairs.other, pairs.usable, self.design.confidence.level)
        above, below = found.difference.low_all > 0, found.difference.high_all < 0
        for p in np.flatnonzero(above.any(axis=0) & below.any(axis=0)):
            one, other = names[pairs.one[p]], names[pairs.other[p]]
            first, second = (self.grid[np.flatnonzero(side[:, p])] for side in (above, below))
            yield self._row(TURN[metric], f"{_span(first)}; {_span(second)}", attribute) | {
                "group": one,
                "other": other,
                **_fewer(part, int(pairs.one[p]), int(pairs.other[p])),
                "unit": "thresholds",
                "value": float(len(first) + len(second)),
                "method": f"{one} has more at {_span(first)}, {other} at {_span(second)}",
            }

    # ---- what it is to an operator ---------------------------------------------------------------

    def _workload(self, samples: dict[str, Sample], point: Point) -> Iterator[Row]:
        """Alarms an hour, precision and reviews, as they would be if everybody were of a group."""
        work, c = self.probe.workload, self.design.confidence
        assert work is not None
        assert work.prevalence is not None
        p, half = work.prevalence, 1 - (1 - c.level) / 2
        false, right = samples[FALSE_ALARMS], samples[DETECTED]
        (f_low, f_high), (d_low, d_high) = (rate_interval(s, half) for s in (false, right))
        standings = [self._standing(s) for s in (false, right)]
        for g, (attribute, group) in enumerate(self.design.groups.index):
            d = [float(v[0, g]) for v in (right.rate, d_low, d_high)]
            f = [float(v[0, g]) for v in (false.rate, f_low, f_high)]
            alarms = [work.per_hour * (p * x + (1 - p) * y) for x, y in zip(d, f, strict=True)]
            # precision rises with the detection rate and falls with the false alarm rate
            precise = [
                _share(p * x, (1 - p) * y) for x, y in zip(d, (f[0], *f[:0:-1]), strict=True)
            ]
            reviews = [1 / v if v > 0 else np.nan for v in (precise[0], precise[2], precise[1])]
            worse = next((s for s in standings if s[0][0, g] != OK), standings[0])
            for metric, unit, values in (
                (PER_HOUR, "alarms an hour", alarms),
                (PRECISION, "", precise),
                (REVIEWS, "reviews", reviews),
            ):
                known = not np.isnan(values[0])
                status, reason = worse[0][0, g], worse[1][0, g]
                yield self._row(metric, point.condition, attribute) | {
                    "group": group,
                    "unit": unit,
                    **min((s.counted(0, g) for s in (false, right)), key=lambda c: c["n"]),
                    **dict(zip(("value", "low", "high"), values, strict=True)),
                    "method": f"at a prevalence of {p:g} and {work.per_hour:g} {self.units.noun} "
                    "an hour; corners of both rates' intervals",
                    "status": status if known or status != OK else UNDEFINED,
                    "reason": reason if known or reason else "there is no alarm",
                }


def _apart(points: str) -> str:
    return f"{points} point{'' if points == '1' else 's'} apart"


def _times(claims: Claims) -> str:
    ratio = float(claims.ratio[0, 0])
    return f", {rounded(ratio)} times" if ratio >= 1.5 else ""


def _surely(claims: Claims, ratio: float | None) -> str:
    """What is sure of the largest ratio, where a ratio margin binds."""
    within = claims.verdict[0, 0] == Verdict.WITHIN
    bound = float((claims.ratio_below if within else claims.ratio_surely)[0, 0])
    if ratio is None or np.isnan(bound) or (bound <= 1 and not within):
        return ""
    return f", the ratio {'surely below' if within else 'at least'} {rounded(bound, 3)}"


def _against(row: Row, claims: Claims, ratio: float | None) -> str:
    """The verdict with the margin, or margins, that it rests on."""
    basis, verdict = str(claims.basis[0, 0]), Verdict(row["verdict"])
    points, times = f"{row['margin']:g} points", f"{ratio or 0:g} times"
    small = "no two groups differ by {margin}"
    if ratio is None or basis == NEGLIGIBLE:
        rare = " and all rates are negligible" if basis == NEGLIGIBLE else ""
        return verdict.against(points, small) + rare
    if verdict == Verdict.EXCEEDS and basis == "ratio":
        return f"{verdict.against(times)}, and not surely that of {points}"
    if verdict == Verdict.EXCEEDS and basis == "difference":
        return f"{verdict.against(points)}, and not surely that of {times}"
    return verdict.against(f"{points} or {times}", small)


def at_threshold(threshold: float) -> str:
    """The condition of a point of a curve."""
    return f"threshold {threshold:.6g}"


def threshold_of(condition: str) -> float:
    """The threshold of a point of a curve."""
    return float(condition.rpartition(" ")[2])


def _fewer(sample: Sample, one: int, other: int) -> dict[str, int]:
    """What was counted of the smaller of two groups."""
    return min((sample.counted(0, g) for g in (one, other)), key=lambda counts: counts["n"])


def _share(part: float, other: float) -> float:
    return part / (part + other) if part + other > 0 else float("nan")


def _span(thresholds: Floats) -> str:
    """One threshold, or the first and last of several."""
    ends = dict.fromkeys(f"{v:.3g}" for v in (thresholds[0], thresholds[-1]))
    return f"{'threshold' if len(ends) == 1 else 'thresholds'} {' to '.join(ends)}"

"""Changes compared: rows of MEASURES."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

import numpy as np

from audit.core.arrays import Flags, Floats, Integers
from audit.core.rows import Array, Row
from audit.core.tables import NOT_ASKED, NOT_JUDGED, OK, TOO_FEW, UNDEFINED
from audit.core.verdicts import verdicts
from audit.measure.metrics import DEFAULT_FAMILY, margin_family
from audit.probes.counterfactual.moved import Kind, Moved
from audit.probes.counterfactual.names import (
    AGAINST,
    CHANGE,
    COLOUR,
    COSINE,
    DISTANCE,
    FLIPS,
    INTERCEPT,
    LARGER,
    MIDDLE,
    MORE_FLIPS,
    PER_DISTANCE,
    POOLED,
    RANK,
    SIZE,
    SLOPE,
    STEP,
    TOWARDS,
    WHOLE_PICTURE,
)
from audit.probes.counterfactual.sentences import Sentences
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.bounds import ends
from audit.stats import counterfactual as stats
from audit.stats import dose
from audit.stats import flips as flipping
from audit.stats.estimates import Effects
from audit.stats.flips import Flips
from audit.stats.multiplicity import Family

_MEAN = "mean over families, Student's t less skewness; max-T"


class _Settings(TypedDict):
    level: float
    seed: int
    resamples: int


@dataclass(frozen=True)
class Changes:
    """The pairs of one probe as rows of MEASURES."""

    moved: Moved
    seen: Seen
    design: Design

    def every(self) -> Iterator[Row]:
        """All rows."""
        moved = self.moved
        at, kinds = moved.stacked
        flips = flipping.flip_rates(
            moved.flips[at, np.newaxis], moved.families[at], kinds, len(moved.every_kind),
            **self._settings,
        )  # fmt: skip
        sizes = [*self._steps(), *self._distances()]
        scale = self.seen.texts.scoring.scale
        sentences = Sentences(moved, sizes, scale, self.design.confidence.level)
        yield from self._flip_rows(flips)
        yield from self._more_flips(flips, sentences)
        yield from sentences.with_changes([*self._sizes(), *self._changes()])
        yield from self._larger()
        yield from sizes
        yield from self._slopes()
        yield from self._by_distance()

    # ---- whom and what rows are about

    @property
    def _settings(self) -> _Settings:
        c = self.design.confidence
        return {"level": c.level, "seed": self.design.seed, "resamples": c.resamples}

    @property
    def _kinds(self) -> tuple[Kind, ...]:
        """The kinds asked about, without all nuisances together."""
        return self.moved.every_kind[: len(self.moved.probe.kinds)]

    @cached_property
    def _labels(self) -> list[Row]:
        """What all rows of a label have; the one after the last is all labels together."""
        labels = self.moved.probe.labels
        found = [
            {"label": x.text, "margin_family": margin_family(x.tags, labels), "harm": x.harm or ""}
            for x in labels.labels
        ]
        harm = next((row["harm"] for row in found if row["harm"]), "")
        return [*found, {"label": "", "margin_family": DEFAULT_FAMILY, "harm": harm}]

    def _margin(self, family: str) -> float:
        """How large a change of a cosine must be to matter: the ratio of odds as a cosine."""
        ratio = self.design.confidence.margin(family).times
        return math.log(ratio) / self.seen.texts.scoring.scale

    def _family(self, what: str) -> str:
        return f"{self.moved.probe.task}, {what}"

    @cached_property
    def _compared(self) -> tuple[Integers, Integers]:
        """Every demographic kind with every nuisance and with all of them together."""
        first = len(self.moved.probe.demographic)
        one, other = np.mgrid[0:first, first : len(self.moved.every_kind)]
        return one.reshape(-1), other.reshape(-1)

    def _both(self) -> Iterator[tuple[Kind, Kind, Row]]:
        """The kinds that are compared, and what all rows of both have."""
        for one, other in zip(*self._compared, strict=True):
            a, b = self.moved.every_kind[one], self.moved.every_kind[other]
            yield a, b, {**a.row, "condition": AGAINST, "other": b.name}

    def _of(
        self,
        found: Effects,
        kinds: Sequence[Row],
        labels: Sequence[Row],
        judged: bool = True,
        **every: object,
    ) -> Iterator[Row]:
        """One row an effect of a table (K, L)."""
        for k, kind in enumerate(kinds):
            for j, label in enumerate(labels):
                at = k, j
                margin = self._margin(label["margin_family"]) if judged else math.nan
                bounds = ends(found.low, found.high, found.low_all, found.high_all, at=at)
                if every.get("unit") == COSINE:  # which changes by 2 at most; a size is not below 0
                    least = 0.0 if every["metric"] == SIZE else -2.0
                    bounds = {name: min(max(end, least), 2.0) for name, end in bounds.items()}
                low, high = bounds["low_simultaneous"], bounds["high_simultaneous"]
                yield {
                    **kind,
                    **label,
                    "subjects": int(found.families[at]),
                    "value": float(found.value[at]),
                    **bounds,
                    "p": float(found.p[at]),
                    "q": float(found.q[at]),
                    "family_size": int((found.status == OK).sum()),
                    "margin": margin,
                    "status": str(found.status[at]),
                    "reason": str(found.reason[at]),
                    "verdict": str(verdicts(low, high, margin)) if judged else NOT_JUDGED,
                    **every,
                }

    # ---- flips

    def _flip_rows(self, found: Flips) -> Iterator[Row]:
        """How often each kind of change changes the choice."""
        for k, kind in enumerate(self.moved.every_kind):
            yield {
                **kind.row,
                "metric": FLIPS,
                "subjects": int(found.families[k, 0]),
                "events": int(self.moved.flips[kind.at].sum()),
                "value": float(found.value[k, 0]),
                **ends(found.low, found.high, found.low_all, found.high_all, at=(k, 0)),
                "family": self._family("flip rates"),
                "family_size": len(self.moved.every_kind),
                "method": "exact, or Wilson's at the effective number of pairs; max-T",
                "status": str(found.status[k, 0]),
                "reason": str(found.reason[k, 0]),
                "verdict": NOT_JUDGED,
            }

    def _more_flips(self, flips: Flips, sentences: Sentences) -> Iterator[Row]:
        """Flip rates of demographic changes less those of nuisances."""
        if not self.moved.probe.nuisance:
            return
        found = flipping.compare_flips(flips, *self._compared, self.design.confidence.level)
        for j, (one, other, both) in enumerate(self._both()):
            row = both | self._flips_apart(found, j, one, other)
            if row["other"] == POOLED and row["status"] == OK:
                row["statement"] = sentences.flips(row, flips)
            yield row

    def _flips_apart(self, found: Family, j: int, one: Kind, other: Kind) -> Row:
        d, at = found.difference, (0, j)
        usable = not math.isnan(d.low_all[at])
        margin = self.design.confidence.margin(DEFAULT_FAMILY).difference
        return {
            "metric": MORE_FLIPS,
            "subjects": len({*self.moved.families[np.union1d(one.at, other.at)]}),
            "events": int(self.moved.flips[one.at].sum()),
            "value": float(d.value[at]),
            **ends(d.low, d.high, d.low_all, d.high_all, at=at),
            "p": float(found.p[at]),
            "q": float(found.q[at]),
            "smallest_p": found.smallest_q,
            "family": self._family("demographic against nuisance flip rates"),
            "family_size": found.size,
            "margin": margin,
            "method": "paired by family; max-T",
            "status": OK if usable else TOO_FEW,
            "reason": "" if usable else "too few families have one of the two changes",
            "verdict": str(verdicts(d.low_all[at], d.high_all[at], margin)),
            # that a nuisance moves the choice more is no harm to anybody
            "harm": self._labels[-1]["harm"] if d.value[at] > 0 else "",
        }

    # ---- changes of scores

    def _sizes(self) -> Iterator[Row]:
        """How far each kind of change moves each label, up or down."""
        (at, codes), kinds = self.moved.stacked, self.moved.every_kind
        found = stats.mean_changes(
            self.moved.sizes[at], self.moved.families[at], codes, len(kinds), **self._settings
        )
        yield from self._of(
            found, [kind.row for kind in kinds], self._labels, metric=SIZE, unit=COSINE,
            family=self._family("sizes of changes"), method=f"{_MEAN}. p is of no size at all",
        )  # fmt: skip

    def _changes(self) -> Iterator[Row]:
        """Mean change of each label's score, then towards each value that ``towards`` names."""
        moved = self.moved
        kinds = [kind.row for kind in self._kinds]
        yield from self._signed(moved.deltas, moved.families, moved.kinds, kinds, "changes")
        at, codes, signs, towards = self._towards()
        if towards:
            deltas = moved.deltas[at] * signs[:, np.newaxis]
            yield from self._signed(deltas, moved.families[at], codes, towards, "changes towards")

    def _signed(
        self, deltas: Floats, families: Array, kinds: Integers, who: Sequence[Row], what: str
    ) -> Iterator[Row]:
        found = stats.mean_changes(deltas, families, kinds, len(who), **self._settings)
        signs = stats.sign_test(deltas, families, kinds, len(who))
        rows = self._of(
            found, who, self._labels[:-1], metric=CHANGE, unit=COSINE, family=self._family(what)
        )
        for row, p in zip(rows, signs.reshape(-1), strict=True):
            yield row | {"method": f"{_MEAN}. Sign test over families: p = {p:.2g}"}

    def _towards(self) -> tuple[Integers, Integers, Floats, list[Row]]:
        """Pairs in which one picture has a value and the other hasn't, and which of them has.

        Each pair stands once for the value it goes to and once for the one it comes from; of two
        values one says all.
        """
        moved, at, codes, signs, who = self.moved, [], [], [], list[Row]()
        for kind, column in moved.probe.towards.items():
            here = np.flatnonzero(moved.kinds == moved.probe.kinds.index(kind))
            values = self.seen.column(column).astype("str")
            sides = [values[of[here]] for of in (moved.bases, moved.others)]
            known = sides[0].notna().to_numpy() & sides[1].notna().to_numpy()
            before, after = (side.fillna("").to_numpy(str) for side in sides)
            every = sorted({*before[known], *after[known]})
            for value in every[1:] if len(every) == 2 else every:
                sign = np.where(known, (after == value) * 1.0 - (before == value), 0.0)
                some = np.flatnonzero(sign)
                at.append(here[some])
                codes.append(np.full(len(some), len(who)))
                signs.append(sign[some])
                about = {"condition": f"{TOWARDS}{column} {value}", "group": kind, "n": len(some)}
                who.append(about)
        if not who:
            none = np.empty(0, np.int64)
            return none, none, np.empty(0), who
        return np.concatenate(at), np.concatenate(codes), np.concatenate(signs), who

    def _larger(self) -> Iterator[Row]:
        """How much further demographic changes move each label than nuisances do."""
        if not self.moved.probe.nuisance:
            return
        at, kinds = self.moved.stacked
        found = stats.compare_changes(
            np.column_stack([self.moved.deltas, self.moved.sizes[:, -1]])[at],
            self.moved.families[at], kinds, *self._compared, **self._settings,
        )  # fmt: skip
        yield from self._of(
            found.effects, [row for _, _, row in self._both()], self._labels, metric=LARGER,
            unit=COSINE, family=self._family("demographic against nuisance sizes"),
            method="size less size, paired by family, Student's t less skewness; max-T",
        )  # fmt: skip

    # ---- steps and distances

    def _steps(self) -> Iterator[Row]:
        """The mean size of each kind's steps, in what its column is in."""
        for kind in self._kinds:
            row = kind.row | {"metric": STEP, "verdict": NOT_JUDGED}
            sizes = np.abs(self.moved.steps[kind.at])
            known = sizes[~np.isnan(sizes)]
            if kind.name not in self.moved.probe.steps:
                why = "no column is named for it under 'steps'"
                yield row | {"status": NOT_ASKED, "reason": why}
            elif not known.size:
                yield row | {"status": UNDEFINED, "reason": "no pair has a known step"}
            else:
                missing = len(sizes) - len(known)
                gone = f"; not known for {missing} of {len(sizes)} pairs" if missing else ""
                told = f"from {known.min():.3g} to {known.max():.3g}{gone}"
                yield row | {
                    "value": float(known.mean()),
                    "unit": self.moved.probe.steps[kind.name],
                    "method": f"mean size of the step, {told}",
                }

    @cached_property
    def _colours(self) -> tuple[Floats, str]:
        return self.moved.colours(self.seen)

    def _distances(self) -> Iterator[Row]:
        """Mean distance of each kind's pairs: in the embedding, and in colour."""
        unit = {"metric": DISTANCE, "unit": "1 - cosine"}
        every = np.ones(len(self.moved.kinds), bool)
        yield from self._mean_distance(self.moved.distances, every, "", "", **unit)
        values, why = self._colours
        for value, where in zip(values.T, (WHOLE_PICTURE, MIDDLE), strict=True):
            unit = {"metric": COLOUR, "unit": "CIE 1976"}
            yield from self._mean_distance(value, ~np.isnan(value), where, why, **unit)

    def _mean_distance(
        self, value: Floats, known: Flags, where: str, why: str, **unit: str
    ) -> Iterator[Row]:
        moved, number = self.moved, len(self._kinds)
        found = stats.mean_changes(
            value[known, np.newaxis], moved.families[known], moved.kinds[known], number,
            **self._settings,
        )  # fmt: skip
        blank = {"label": "", "margin_family": DEFAULT_FAMILY, "harm": ""}
        rows = self._of(found, [k.row for k in self._kinds], [blank], False, method=_MEAN, **unit)
        of = np.bincount(moved.kinds[known], minlength=number)
        for n, row in zip(of.tolist(), rows, strict=True):
            row |= {"n": n, "p": math.nan, "q": math.nan}
            row |= {"reason": why} if why and not n else {}
            yield row | ({"condition": f"{row['condition']}, {where}"} if where else {})

    # ---- size of the step

    def _slopes(self) -> Iterator[Row]:
        """Change for each unit of step, where a kind has several sizes of step."""
        moved, columns = self.moved, self.moved.probe.steps
        named = [k for k, kind in enumerate(self._kinds) if kind.name in columns]
        if not named:
            return
        at = np.flatnonzero(np.isin(moved.kinds, named))
        code = np.searchsorted(named, moved.kinds[at])
        size, sign = np.abs(moved.steps[at]), np.where(moved.steps[at] < 0, -1.0, 1.0)
        found = dose.dose_response(
            # a step down and its change, both turned round, lie on the same line
            moved.deltas[at] * sign[:, np.newaxis], moved.families[at], code, size, len(named),
            **self._settings,
        )  # fmt: skip
        for metric, effects, how in (
            (SLOPE, found.slope, "least squares through the origin"),
            (INTERCEPT, found.intercept, "line free to miss the origin"),
        ):
            rows = self._of(
                effects, [self._kinds[k].row for k in named], self._labels[:-1], judged=False,
                metric=metric, family=self._family(f"{metric} by step"),
                method=f"{how}, steps down turned round; jackknife of families; max-T",
            )  # fmt: skip
            for row in rows:
                if metric == INTERCEPT:
                    yield row | {"unit": COSINE}
                    continue
                sizes = size[code == named.index(moved.probe.kinds.index(row["group"]))]
                yield _per_unit(row, sizes, columns[row["group"]])

    def _by_distance(self) -> Iterator[Row]:
        """Size of the change for each unit of distance, and kinds ranked by it."""
        # the change of a cosine is at most the length between two embeddings, and grows with it;
        # it does not grow with 1 - cosine, which is half the square of that length
        length = np.sqrt(2 * self.moved.distances)
        yield from self._ranked(np.ones(len(length), bool), length, "embedding", "unit length")
        colour = self._colours[0][:, 0]
        known = ~np.isnan(colour)
        if known.any():
            yield from self._ranked(known, colour, "colour", "CIE 1976")

    def _ranked(self, known: Flags, distance: Floats, which: str, unit: str) -> Iterator[Row]:
        """Slopes and ranks against one distance that is measured alike for all kinds."""
        moved = self.moved
        pairs = (
            moved.sizes[known], moved.families[known], moved.kinds[known], distance[known],
            len(self._kinds),
        )  # fmt: skip
        per = f"per {which} distance"
        kinds = [k.row | {"condition": f"{k.role}, {per}"} for k in self._kinds]
        yield from self._of(
            dose.dose_response(*pairs, **self._settings).slope, kinds, self._labels, judged=False,
            metric=PER_DISTANCE, unit=f"{COSINE} for 1 {unit}", family=self._family(f"size {per}"),
            method="least squares through the origin, jackknife of families; max-T",
        )  # fmt: skip
        found = dose.rank_kinds(*pairs, **self._settings)
        for k, kind in enumerate(kinds):
            for j, label in enumerate(self._labels):
                yield {
                    **kind,
                    **label,
                    "metric": RANK,
                    "unit": f"of {int((~np.isnan(found.rank[:, j])).sum())}",
                    "value": float(found.rank[k, j]),
                    "low_simultaneous": float(found.best[k, j]),
                    "high_simultaneous": float(found.worst[k, j]),
                    "family": self._family(f"ranks {per}"),
                    "family_size": int((found.differences.status == OK).sum()),
                    "method": "ranks left open by all differences of slopes together",
                    "status": UNDEFINED if math.isnan(found.rank[k, j]) else OK,
                    "reason": found.reason[k],
                    "verdict": NOT_JUDGED,
                }


def _per_unit(row: Row, sizes: Floats, column: str) -> Row:
    """A slope for so many units that it is about as large as a change; nothing of one step."""
    mean = float(np.nanmean(sizes)) if (sizes > 0).any() else 1.0
    unit = 10.0 ** math.floor(math.log10(mean))
    names = ("value", "low", "high", "low_simultaneous", "high_simultaneous")
    return row | {n: row[n] * unit for n in names} | {"unit": f"{COSINE} for {unit:g} of {column}"}

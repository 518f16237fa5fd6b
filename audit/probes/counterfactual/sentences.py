"""Sentences of those changes that are worth a finding, each with the size of its step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from audit.core.digits import rounded, share
from audit.core.rows import Row
from audit.core.tables import OK
from audit.core.verdicts import Verdict
from audit.probes.counterfactual.moved import Moved
from audit.probes.counterfactual.names import (
    CHANGE,
    DISTANCE,
    FINDINGS,
    POOLED,
    SIZE,
    STEP,
    TOWARDS,
    plain,
)
from audit.probes.kit.bounds import simultaneous, size_of
from audit.stats.flips import Flips


@dataclass(frozen=True)
class Sentences:
    """What is said of rows; ``sizes``: rows of steps and distances; ``scale``: of the logits."""

    moved: Moved
    sizes: Sequence[Row]
    scale: float
    level: float

    @property
    def _asked(self) -> str:
        return f"Asked '{self.moved.probe.labels.name}'"

    def flips(self, row: Row, rates: Flips) -> str:
        """A demographic change beside all nuisances: flips, verdict, the size of both changes."""
        probe, kinds, flips = self.moved.probe, self.moved.every_kind, self.moved.flips
        first, pooled = len(probe.demographic), kinds[-1]
        nuisances = kinds[first:-1]
        worst = nuisances[int(np.nanargmax(rates.value[first:-1, 0]))]
        near = sum(self._mean(k.name) * len(k.at) for k in nuisances) / len(pooled.at)
        theirs, most = (share(int(flips[k.at].sum()), len(k.at)) for k in (pooled, worst))
        points, margin = 100 * row["value"], f"{100 * row['margin']:g} points"
        return (
            f"{self._asked}, the model changes its choice for {share(row['events'], row['n'])} of "
            f"the pictures in which {plain(row['group'])} was changed and for {theirs} of those in "
            f"which only {_either(probe.nuisance)} was: {abs(points):.0f} points "
            f"{'more' if points > 0 else 'less'} "
            f"({simultaneous(row, '.0f', 100, self.level)}); {_judged(row, margin)}. Of the latter "
            f"{plain(worst.name)} changes most choices, {most}. A larger step changes more: "
            f"{self._step(row['group'])}, and its distance in the embedding is "
            f"{self._mean(row['group']):.2g} against {near:.2g} on average."
        )

    def with_changes(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Changes of scores, with a sentence for the labels that one surely moves furthest."""
        told = [
            row for row in rows
            if row["label"] and row["group"] != POOLED and row["status"] == OK
            and (row["metric"] == SIZE or row["condition"].startswith(TOWARDS))
        ]  # fmt: skip
        told.sort(key=_sureness)
        surest = {row["label"]: row for row in told}
        for row in sorted(surest.values(), key=_sureness)[-FINDINGS:]:
            said = self._signed(row) if row["metric"] == CHANGE else self._size(row, told)
            row["statement"] = (
                f"{self._asked}, {said}. Here {self._step(row['group'])}, and the distance in the "
                f"embedding is {self._mean(row['group']):.2g} on average."
            )
        yield from rows

    def _size(self, row: Row, rows: Sequence[Row]) -> str:
        """The change that moves a label furthest, and the one that comes next."""
        others = [
            r for r in rows
            if r["metric"] == SIZE and r["label"] == row["label"] and r["group"] != row["group"]
        ]  # fmt: skip
        said = (
            f"changing {plain(row['group'])} moves the score of '{row['label']}' by "
            f"{row['value']:.2g} in cosine on average, up or down, {self._odds(row)}"
        )
        if not others:
            return said
        other = max(others, key=lambda r: float(r["value"]))
        further = f"{plain(other['group'])} moves it furthest, by {other['value']:.2g}"
        return f"{said}. Of the other changes {further}"

    def _signed(self, row: Row) -> str:
        """What a picture has, and how the score differs from one that differs in this alone."""
        what = plain(row["condition"].removeprefix(TOWARDS))
        way = "higher" if row["value"] > 0 else "lower"
        return (
            f"the score of '{row['label']}' is {way} by {abs(row['value']):.2g} in cosine on "
            f"average with {what} than without, in {row['n']} pairs of pictures that differ in "
            f"{plain(row['group'])} alone, {self._odds(row)}"
        )

    def _odds(self, row: Row) -> str:
        """What the change of a cosine is as a factor on odds, with bounds and verdict."""
        factor, allowed = (math.exp(abs(row[name]) * self.scale) for name in ("value", "margin"))
        margin = f"{allowed:.3g} times ({row['margin']:.2g} in cosine)"
        return (
            f"a factor of {rounded(factor)} on its odds ({row['subjects']} families, "
            f"{simultaneous(row, '.2g', level=self.level)}); {_judged(row, margin)}"
        )

    def _mean(self, kind: str) -> float:
        """Mean distance in the embedding of a kind's pairs."""
        return float(self._row_of(DISTANCE, kind)["value"])

    def _step(self, kind: str) -> str:
        """The size of a kind's steps in words."""
        row = self._row_of(STEP, kind)
        if row.get("status", OK) != OK:
            return f"the size of the step in {plain(kind)} is not stated"
        return f"the step in {plain(kind)} is {row['value']:.3g} in {row['unit']} on average"

    def _row_of(self, metric: str, kind: str) -> Row:
        return next(r for r in self.sizes if r["metric"] == metric and r["group"] == kind)


def _sureness(row: Row) -> float:
    """The lower bound of the change's size, in margins."""
    return size_of(row)[0] / float(row["margin"])


def _judged(row: Row, margin: str) -> str:
    return Verdict(row["verdict"]).against(margin)


def _either(names: Sequence[str]) -> str:
    *others, last = map(plain, names)
    return " or ".join(filter(None, [", ".join(others), last]))

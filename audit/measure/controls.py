"""Controls of a run: what the same analysis says where the answer is known.

*Shuffled*: the whole analysis with group labels swapped between subjects, 20 times; it should
seldom show anything large. *Injected*: one of them with a gap of known size added; it should be
found, and covered by its bounds. How wide gaps are by chance alone: ``audit.measure.nulls``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from audit.core.rows import Row
from audit.core.tables import (
    CONTROLS,
    ENSEMBLE,
    EXCEEDS,
    OK,
    records,
)
from audit.core.verdicts import verdicts
from audit.data.labels import LabelSet
from audit.measure.compared import Compared
from audit.measure.confidence import Confidence
from audit.measure.disparity import differences
from audit.measure.metrics import METRICS, Block, Draws, Events, Groups, standing
from audit.measure.nulls import MOVABLE, rows_of, stream
from audit.stats.clustered import difference_interval
from audit.stats.counts import count
from audit.stats.gaps import TOO_FEW_GROUPS

#: how often group labels are swapped, so that the report can tell a share and not one draw
SHUFFLES: Final = 20
#: chance of more shuffles going wrong than are allowed, if each does as often as the level allows
ALARM: Final = 0.01
#: memberships counted at a time, of all shuffles: bounds memory
_MEMBERS_AT_ONCE: Final = 4_000_000


def controls(
    choices: pd.DataFrame,
    labels: LabelSet,
    groups: Groups,
    draws: Draws,
    confidence: Confidence,
    seed: int,
) -> pd.DataFrame:
    """Both controls of one task's choice of labels, by every attribute; the table CONTROLS.

    Of a shuffled control, ``exceeds_margin`` says in how many of ``shuffles`` any comparison
    exceeds the margin, ``missed`` in how many any simultaneous bounds leave out 0. Either may
    happen in ``1 - level`` of them by chance; up to ``allowed`` it is called chance.

    Args:
        choices: all of the task's rows of CHOICES.
        labels: the label set asked.
        groups: membership of the pictures.
        draws: bootstrap weights of all of them.
        confidence: as in the real analysis.
        seed: of the shuffle and of the injection.
    """
    rows = choices[choices["condition"] == ENSEMBLE]
    at = rows_of(rows, groups)
    chosen = METRICS["selection"](rows, labels)
    swaps = np.stack([_partners(groups, seed, number) for number in range(SHUFFLES)])
    moving = can_swap(groups)
    asked = {"probe": rows["probe"].iloc[0], "task": rows["task"].iloc[0]}
    tables: list[Row] = []
    for attribute in groups.attributes:
        where = {**asked, "attribute": attribute}
        if moving < MOVABLE:
            reason = f"only {moving:.0%} of subjects have another with as many pictures"
            tables.extend(_row(where, c, reason=reason) for c in ("shuffled", "injected"))
            continue
        own = groups.among(groups.columns(attribute))
        swapped = own.with_groups_of(swaps[0])
        null = _Swapped(chosen, swapped, at, where, confidence)
        outcomes = _outcomes(chosen, own, swaps, at, confidence)
        tables.append(_shuffled_row(null, outcomes))
        planted = _plan(null, draws)
        if planted is not None:
            happened = null.inject(planted, stream(seed, planted.label, attribute))
            found = null.of(planted.label, happened).pairs(draws)
            tables.append(_injected_row(found, where, planted))
        else:
            tables.append(_no_injection(where))
    return pd.DataFrame(tables).pipe(CONTROLS.conform)


def shuffled(groups: Groups, seed: int) -> NDArray[np.bool_]:
    """Membership with whole subjects' groups swapped, (pictures, groups).

    A subject takes the groups of another one with as many pictures, picture by picture, in all
    attributes at once: sizes and overlaps stay, and nothing ties a group to what a picture shows.
    """
    return groups.member[_partners(groups, seed)]


def _partners(groups: Groups, seed: int, number: int = 0) -> NDArray[np.int64]:
    """The picture whose groups each picture takes in the shuffle of this number."""
    order = np.argsort(groups.clusters, kind="stable")
    sizes = np.bincount(groups.clusters, minlength=len(groups.cluster_ids))
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(stream(seed, "shuffled", *([str(number)] if number else [])))
    taken = np.empty(len(order), np.int64)
    for size in np.unique(sizes[sizes > 0]):
        places = starts[sizes == size][:, np.newaxis] + np.arange(size)
        taken[order[places]] = order[rng.permutation(places)]
    return taken


def can_swap(groups: Groups) -> float:
    """Share of subjects who have another one with as many pictures."""
    sizes = np.bincount(groups.clusters, minlength=len(groups.cluster_ids))
    alike = np.bincount(sizes)[sizes[sizes > 0]]
    return float((alike > 1).mean()) if alike.size else 0.0


@dataclass(frozen=True)
class _Planted:
    """Into which group and label how large a gap is injected."""

    group: str
    label: str
    gap: float


@dataclass(frozen=True)
class _Swapped:
    """Events of pictures ``at`` these rows of the groups of one attribute, which were swapped."""

    events: Events
    groups: Groups
    at: NDArray[np.int64]
    where: Mapping[str, str]
    confidence: Confidence

    def compared(self, draws: Draws | None = None, rest: bool = True) -> Compared:
        """The groups, as the real analysis compares them on these events."""
        events = self.events
        counts = self.groups.count(events.happened, self.at, draws)
        asked = (self.where["probe"], self.where["task"], ENSEMBLE, "selection")
        block = Block(events.labels, events.families, counts)
        return Compared(
            self.groups, self.where["attribute"], block, asked, self.confidence, with_rest=rest
        )

    def of(self, label: str, happened: NDArray[np.bool_] | None = None) -> _Swapped:
        """The events of one label, or what ``happened`` of it instead, (n,)."""
        e, place = self.events, self.events.labels.index(label)
        own = e.happened[:, place] if happened is None else happened
        return replace(self, events=Events(own[:, None], e.asked, (label,), (e.families[place],)))

    def pairs(self, draws: Draws) -> list[Row]:
        """The pairs of groups that the real analysis would report on events of a single label."""
        columns = differences(self.compared(draws, rest=False))
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        told = (dict(zip(columns, row, strict=True)) for row in rows)
        return [row for row in told if row["status"] == OK]

    def inject(self, planted: _Planted, seed: int) -> NDArray[np.bool_]:
        """Whether the label is chosen, (n,), once it is so much oftener in one of the groups."""
        happened = self.events.happened[:, self.events.labels.index(planted.label)]
        there = list(self.groups.index.get_level_values("group")).index(planted.group)
        free = self.groups.member[self.at][:, there] & ~happened
        share = planted.gap / (1 - happened.mean())
        flip = free & (np.random.default_rng(seed).random(len(self.at)) < share)
        return np.asarray(happened | flip)


def _outcomes(
    events: Events,
    groups: Groups,
    swaps: NDArray[np.int64],
    at: NDArray[np.int64],
    confidence: Confidence,
) -> NDArray[np.bool_]:
    """Whether anything exceeds the margin, and whether any bounds leave out 0, (shuffles, 2).

    ``swaps``: the picture whose groups each picture takes, (shuffles, pictures).
    """
    clusters, number, size = groups.clusters[at], len(groups.cluster_ids), len(groups.index)
    step, found = max(1, _MEMBERS_AT_ONCE // max(len(groups.rows) * size, 1)), []
    for start in range(0, len(swaps), step):
        some = swaps[start : start + step, at]
        member = groups.member[some].transpose(1, 0, 2).reshape(len(at), -1)
        counts = count(events.happened, member, clusters, number, by_subject=True)
        block = Block(events.labels, events.families, counts)
        columns = np.arange(member.shape[1]).reshape(len(some), size)
        low, high, verdict = differences_at_once(block, columns, confidence)
        told = verdict == EXCEEDS, (low > 0) | (high < 0)
        found.append(np.stack([sign.any(axis=(1, 2)) for sign in told], axis=1))
    return np.concatenate(found)


def differences_at_once(
    block: Block, columns: NDArray[np.int64], confidence: Confidence
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """Bounds and verdicts of all pairs of all questions at once, without a table.

    The bounds hold together over all questions, by Bonferroni's method: no narrower than a run's.

    Args:
        block: counts of one metric in one condition.
        columns: whose groups are compared, each as often as it likes: (S, G), G groups a time.
        confidence: level, margins, smallest group.

    Returns:
        (S, Q, P) each: bounds, nan of pairs that can't be compared, and verdicts.
    """
    times, groups = columns.shape
    sample = block.counts.sample(columns.ravel())
    ok = standing(sample.n, sample.subjects, confidence.min_group)[0] == OK
    one, other = np.triu_indices(groups, 1)
    first, second = (np.add.outer(np.arange(times) * groups, g).ravel() for g in (one, other))
    usable = (ok[:, first] & ok[:, second]).reshape(len(ok), times, one.size)
    levels = 1 - (1 - confidence.level) / np.maximum(usable.sum(axis=(0, 2)), 1)
    bounds = difference_interval(sample, first, second, np.repeat(levels, groups)[np.newaxis])
    low, high = (np.where(usable, b.reshape(usable.shape), np.nan) for b in bounds)
    margins = confidence.margins_of(block.families).difference[:, np.newaxis]
    found = low, high, verdicts(low, high, margins)
    return tuple(np.moveaxis(part, 1, 0) for part in found)  # type: ignore[return-value]


def _plan(null: _Swapped, draws: Draws) -> _Planted | None:
    """Into which group and label to inject how large a gap; None if none could be seen.

    A label that is chosen now and then, nearest to one time in five, so that there are choices to
    take it from; the largest group; the margin and one and a half times what would be detected,
    so that it should mostly be found.
    """
    compared = null.compared(rest=False)
    sample, pairs = compared.sample, compared.pairs
    if not pairs.usable.any():
        return None
    events, n = (
        np.where(pairs.usable, counts[:, pairs.one], 0).sum(axis=1)
        for counts in (sample.events, sample.n)
    )
    rate = events / n
    place = int(np.abs(rate - 0.2).argmin())
    label, usable = compared.block.labels[place], compared.standing[0][place] == OK
    largest = int(np.where(usable, sample.n[place], -1).argmax())
    group = compared.names[largest]
    mine = [r for r in null.of(label).pairs(draws) if group in (r["group"], r["other"])]
    gap = mine[0]["margin"] + 1.5 * max(r["detectable"] for r in mine)
    room = 1 - float(rate[place])
    return _Planted(group, label, gap) if np.isfinite(gap) and gap < 0.95 * room else None


def _row(where: Mapping[str, str], control: str, **values: object) -> Row:
    empty: Row = dict.fromkeys(
        ("planted", "value", "low_simultaneous", "high_simultaneous"), np.nan
    ) | {
        "group": "",
        "label": "",
        "comparisons": 0,
        "shuffles": 0,
        "allowed": 0,
        "exceeds_margin": 0,
        "missed": 0,
        "covered": False,
    }
    return {**where, "control": control, "reason": ""} | empty | values


def _shuffled_row(null: _Swapped, outcomes: NDArray[np.bool_]) -> Row:
    usable = int(null.compared().comparisons.usable.sum())
    if not usable:
        return _row(null.where, "shuffled", reason=TOO_FEW_GROUPS)
    large, missed = outcomes.sum(axis=0).tolist()
    allowed = chance_allows(len(outcomes), null.confidence.level)
    return _row(
        null.where,
        "shuffled",
        comparisons=usable,
        shuffles=len(outcomes),
        allowed=allowed,
        exceeds_margin=large,
        missed=missed,
        covered=missed <= allowed,
        planted=0.0,
    )


def chance_allows(shuffles: int, level: float) -> int:
    """In how many of so many shuffles something may go wrong before it is no chance.

    The least number that is exceeded with a chance of at most 1 %, if each shuffle goes wrong with
    a chance of ``1 - level``: 4 of 20 at 95 %.
    """
    return int(scipy.stats.binom.ppf(1 - ALARM, shuffles, 1 - level))


def _injected_row(found: Sequence[Row], where: Mapping[str, str], planted: _Planted) -> Row:
    """The comparison of the group with the one it should differ from most surely."""
    group, gap = planted.group, planted.gap
    mine = [
        _turned(row) if row["other"] == group else row
        for row in found
        if group in (row["group"], row["other"])
    ]
    best = max(mine, key=lambda row: row["low_simultaneous"])
    return _row(
        where,
        "injected",
        comparisons=len(mine),
        exceeds_margin=sum(row["verdict"] == EXCEEDS for row in mine),
        covered=all(r["low_simultaneous"] <= gap <= r["high_simultaneous"] for r in mine),
        planted=gap,
        value=best["value"],
        low_simultaneous=best["low_simultaneous"],
        high_simultaneous=best["high_simultaneous"],
        group=group,
        label=planted.label,
    )


def _turned(row: Row) -> Row:
    """The comparison seen from the other group."""
    low, high = -row["high_simultaneous"], -row["low_simultaneous"]
    return row | {"value": -row["value"], "low_simultaneous": low, "high_simultaneous": high}


def _no_injection(where: Mapping[str, str]) -> Row:
    reason = "no gap, however large, could be shown with so few pictures"
    return _row(where, "injected", reason=reason)


def failed(table: pd.DataFrame) -> list[Row]:
    """Controls that did not come out as they should.

    Something exceeds the margin, or bounds miss 0, in more shuffles than chance allows; a gap that
    was injected is not found. Runs of earlier versions have one shuffle and say 0 of ``shuffles``.
    """
    asked = table[table["comparisons"] > 0]
    shuffled_ = asked["control"] == "shuffled"
    wrong = asked[["exceeds_margin", "missed"]].max(axis=1) > asked["allowed"]
    return records(asked[(shuffled_ & wrong) | (~shuffled_ & (asked["exceeds_margin"] == 0))])

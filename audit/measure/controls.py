"""Controls of a run: what the same analysis says where the answer is known.

*Null*: how wide the worst-case gap is when subjects are dealt to groups by chance. *Shuffled*: the
whole analysis with group labels swapped between subjects, 20 times; it should seldom show anything
large. *Injected*: one of them with a gap of known size added; it should be found, and covered by
its bounds.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from audit.core.rows import Row
from audit.core.tables import (
    CONTROLS,
    DISPARITIES,
    ENSEMBLE,
    EXCEEDS,
    OK,
    REST,
    WORST,
    records,
)
from audit.data.labels import LabelSet
from audit.measure.confidence import Confidence
from audit.measure.disparity import Compared, differences, differences_at_once
from audit.measure.metrics import METRICS, Block, Draws, Events, Groups, Tally
from audit.stats.counts import count
from audit.stats.gaps import TOO_FEW_GROUPS
from audit.stats.permutation import Null, permuted_drops, permuted_range, whole_clusters

#: permutations of a null: enough for its mean and 95 % quantile to one decimal of a point
PERMUTATIONS: Final = 1000
#: how often group labels are swapped, so that the report can tell a share and not one draw
SHUFFLES: Final = 20
#: chance of more shuffles going wrong than are allowed, if each does as often as the level allows
ALARM: Final = 0.01
#: share of subjects that must be able to change group
MOVABLE: Final = 0.9


def with_nulls(
    compared: pd.DataFrame,
    choices: pd.DataFrame,
    labels: LabelSet,
    groups: Groups,
    confidence: Confidence,
    seed: int,
) -> pd.DataFrame:
    """Worst-case gaps of one task with their null: its mean, its 95 % quantile, and p.

    Whole subjects swap groups within the other attributes (``method`` names them); an attribute
    that varies within subjects has no null and keeps its blanks.

    Args:
        compared: the table DISPARITIES of the task.
        choices: all of the task's rows of CHOICES.
        labels: the label set asked.
        groups: membership of the pictures.
        confidence: which groups are large enough; the level.
        seed: of the permutations.
    """
    rows = choices[choices["condition"] == ENSEMBLE]
    found: dict[tuple[str, str, str], _Found] = {}
    for events in _asked_alike(rows, labels):
        for attribute in groups.attributes:
            dealt = _null(rows, events, groups, attribute, confidence, seed)
            if dealt is not None:
                null, used = dealt
                within = f"; null within {', '.join(used)}" if used else "; null over all subjects"
                numbers = zip(null.mean, null.high, null.p, strict=True)
                found |= {
                    (metric, label, attribute): (*three, within)
                    for (metric, label), three in zip(events.names, numbers, strict=True)
                }
    return _filled(compared, found)


@dataclass(frozen=True)
class _Together:
    """Events of several metrics that were asked of the same pictures, dealt out together."""

    names: list[tuple[str, str]]
    happened: NDArray[np.bool_]
    asked: NDArray[np.bool_]


def _asked_alike(rows: pd.DataFrame, labels: LabelSet) -> list[_Together]:
    """What each metric counts in the headline condition, by the pictures asked."""
    alike: dict[bytes, list[tuple[str, Events]]] = {}
    for metric in METRICS:
        events = METRICS[metric](rows, labels)
        if events.labels and events.asked.any():
            alike.setdefault(events.asked.tobytes(), []).append((metric, events))
    return [
        _Together(
            [(metric, label) for metric, events in several for label in events.labels],
            np.hstack([events.happened for _, events in several]),
            several[0][1].asked,
        )
        for several in alike.values()
    ]


#: mean and 95 % quantile of the null, p, and within what it was dealt
_Found = tuple[float, float, float, str]


def _filled(compared: pd.DataFrame, found: Mapping[tuple[str, str, str], _Found]) -> pd.DataFrame:
    worst = (compared["comparison"] == WORST) & (compared["condition"] == ENSEMBLE)
    worst &= compared["status"] == OK
    keys = compared.loc[worst, ["metric", "label", "attribute"]].itertuples(index=False, name=None)
    rows = [found.get(key, (np.nan, np.nan, np.nan, "")) for key in keys]
    table = compared.copy()
    numbers = np.array([row[:3] for row in rows], dtype=float).reshape(-1, 3)
    table.loc[worst, ["null_mean", "null_high", "p"]] = numbers
    table.loc[worst, "method"] += np.array([row[3] for row in rows], dtype=object)
    return table


def _null(
    rows: pd.DataFrame,
    events: _Together,
    groups: Groups,
    attribute: str,
    confidence: Confidence,
    seed: int,
) -> tuple[Null, list[str]] | None:
    dealt = Dealt(events.happened, events.asked, _places(rows, groups))
    return range_by_chance(dealt, groups, attribute, confidence, seed)


@dataclass(frozen=True)
class Dealt:
    """What is dealt anew: a number of each picture and question, ``values`` (n, questions).

    ``at``: the pictures' rows in the groups. ``asked``: those that count, (n,).
    """

    values: NDArray[np.bool_] | NDArray[np.int8]
    asked: NDArray[np.bool_]
    at: NDArray[np.int64]


def range_by_chance(
    dealt: Dealt, groups: Groups, attribute: str, confidence: Confidence, seed: int
) -> tuple[Null, list[str]] | None:
    """The range of the groups' means beside its null, and within which attributes it was dealt.

    None for an attribute that varies within subjects.
    """
    codes, clusters = _codes(groups, attribute)[dealt.at], groups.clusters[dealt.at]
    if (codes < 0).all() or not whole_clusters(clusters, codes):
        return None
    number, pictures, k = len(groups.cluster_ids), len(codes), len(groups.columns(attribute))
    of = np.full(number, -1)
    np.maximum.at(of, clusters, codes)
    # a picture of unknown group is in no rate, even if its subject has a group
    counted = dealt.asked & (codes >= 0)
    entries = counted.astype(float), (clusters, np.arange(pictures))
    within = scipy.sparse.csr_array(entries, shape=(number, pictures))
    n = within @ np.ones(pictures)
    subjects = np.bincount(of[(of >= 0) & (n > 0)], minlength=k)
    strata, used = _strata(groups, attribute, of, np.zeros(number, dtype=np.int64))
    null = permuted_range(
        within @ dealt.values.astype(float),
        n,
        of,
        strata,
        k,
        permutations=min(confidence.resamples, PERMUTATIONS),
        seed=_stream(seed, "null", attribute),
        usable=subjects >= confidence.min_group,
        level=confidence.level,
    )
    return null, used


@dataclass(frozen=True)
class Answered:
    """Right answers and answers of each subject, source and group, (subjects, 2, groups) each.

    ``usable``: the groups that are compared, (groups,).
    """

    right: NDArray[np.int64]
    n: NDArray[np.int64]
    usable: NDArray[np.bool_]


def drops_by_chance(
    answered: Answered, groups: Groups, attribute: str, confidence: Confidence, seed: int
) -> tuple[Null, list[str]] | None:
    """The range of the groups' drops from the first source to the other, as ``range_by_chance``.

    Subjects change places with those who are in the same sources, so that every group keeps its
    number of subjects in each. None for an attribute that varies within subjects.
    """
    n = answered.n
    inside, seen = n.sum(axis=1) > 0, (n.sum(axis=2) > 0).astype(np.int64)
    several: NDArray[np.int64] = inside.sum(axis=1)
    if several.max(initial=0) > 1:
        return None
    of = np.where(several > 0, inside.argmax(axis=1), -1)
    strata, used = _strata(groups, attribute, of, seen @ np.array([2, 1]))
    null = permuted_drops(
        answered.right.sum(axis=2),
        n.sum(axis=2),
        of,
        strata,
        inside.shape[1],
        permutations=min(confidence.resamples, PERMUTATIONS),
        seed=_stream(seed, "null", attribute),
        usable=answered.usable,
        level=confidence.level,
    )
    return null, ["the same sources", *used]


def null_columns(
    found: tuple[Null, list[str]] | None, unit: float = 1
) -> tuple[list[dict[str, float]], str]:
    """A null as columns of MEASURES, question by question, and how subjects were dealt.

    Without a null there are no columns, and the second says why. ``unit``: 100 for points.
    """
    if found is None or found[0].reason:
        return [], f"no null: {found[0].reason if found else 'some subjects are in several groups'}"
    null, used = found
    within = f"null within {', '.join(used)}" if used else "null over all subjects"
    return [
        {"null_mean": unit * mean, "null_high": unit * high, "p": p, "smallest_p": null.smallest_p}
        for mean, high, p in zip(null.mean, null.high, null.p, strict=True)
    ], within


def _places(rows: pd.DataFrame, groups: Groups) -> NDArray[np.int64]:
    return np.array([groups.rows[key] for key in rows["image_id"]], dtype=np.int64)


def _codes(groups: Groups, attribute: str) -> NDArray[np.int64]:
    """Group of every picture by place among the attribute's groups; -1 where unknown."""
    member = groups.member[:, groups.columns(attribute)]
    if not member.shape[1]:
        return np.full(len(member), -1)
    return np.where(member.any(axis=1), member.argmax(axis=1), -1)


def _strata(
    groups: Groups, attribute: str, of: NDArray[np.int64], strata: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """Stratum of every cluster, and the attributes within which it may swap groups.

    To ``strata``, which hold in any case, come the other attributes, in the suite's order, that are
    whole in clusters: each is added as long as most clusters can still move. Those that can't would
    carry the gap seen into its own null.
    """
    own = set(attribute.split(" x ")) | {attribute}
    used: list[str] = []
    for other in (a for a in groups.attributes if " x " not in a and a not in own):
        codes = _codes(groups, other)
        if whole_clusters(groups.clusters, codes):
            finer = np.full(len(of), -1)
            np.maximum.at(finer, groups.clusters, codes)
            finer = np.unique(np.stack([strata, finer]), axis=1, return_inverse=True)[1].ravel()
            if _movable(finer, of) >= MOVABLE:
                strata, used = finer, [*used, other]
    return strata, used


def _movable(strata: NDArray[np.int64], of: NDArray[np.int64]) -> float:
    """Share of clusters in a stratum that holds more than one group."""
    known = of >= 0
    pairs = np.unique(np.stack([strata[known], of[known]]), axis=1)
    groups_in = np.bincount(pairs[0], minlength=strata.max() + 1)
    return float((groups_in[strata[known]] > 1).mean()) if known.any() else 0.0


def _stream(seed: int, *names: str) -> int:
    """A seed of its own for each use, so that adding a question moves no other number."""
    return zlib.crc32(" ".join((str(seed), *names)).encode())


# ---- the same analysis where the answer is known -----------------------------------------------


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
    at = _places(rows, groups)
    chosen = METRICS["selection"](rows, labels)
    swaps = [_partners(groups, seed, number) for number in range(SHUFFLES)]
    swapped, moving = replace(groups, member=groups.member[swaps[0]]), can_swap(groups)
    asked = {"probe": rows["probe"].iloc[0], "task": rows["task"].iloc[0]}
    tables: list[Row] = []
    for attribute in groups.attributes:
        where = {**asked, "attribute": attribute}
        if moving < MOVABLE:
            reason = f"only {moving:.0%} of subjects have another with as many pictures"
            tables.extend(_row(where, c, reason=reason) for c in ("shuffled", "injected"))
            continue
        only = _only(swapped, attribute)
        null = _analysed(chosen.happened, chosen, only, at, draws, where, confidence)
        own = _only(groups, attribute)
        again = (replace(own, member=own.member[swap]) for swap in swaps)
        outcomes = [_outcome(chosen, g, attribute, at, confidence) for g in again]
        tables.append(_shuffled_row(null, outcomes, where, confidence.level))
        planted = _plan(null)
        if planted is not None:
            group, label, gap = planted
            happened = _inject(chosen, only, at, group, label, gap, _stream(seed, label, attribute))
            found = _analysed(happened, chosen, only, at, draws, where, confidence)
            tables.append(_injected_row(found, where, group, label, gap))
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
    rng = np.random.default_rng(_stream(seed, "shuffled", *([str(number)] if number else [])))
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


def _only(groups: Groups, attribute: str) -> Groups:
    columns = groups.columns(attribute)
    return replace(groups, index=groups.index[columns], member=groups.member[:, columns])


def _analysed(
    happened: NDArray[np.bool_],
    events: Events,
    groups: Groups,
    at: NDArray[np.int64],
    draws: Draws,
    where: Mapping[str, str],
    confidence: Confidence,
) -> pd.DataFrame:
    """The differences by the attribute that the real analysis would report for these events."""
    clusters, number = groups.clusters[at], len(groups.cluster_ids)
    rows = draws.rows(clusters)
    counts = count(happened, groups.member[at], clusters, number, draws.weights, rows)
    block = Block(events.labels, events.families, counts)
    asked = (where["probe"], where["task"], ENSEMBLE, "selection")
    compared = Compared(groups, where["attribute"], block, asked, confidence)
    if compared.size < 2 or not counts.n.any():
        return DISPARITIES.empty()
    return pd.DataFrame(differences(compared))


def _outcome(
    events: Events,
    groups: Groups,
    attribute: str,
    at: NDArray[np.int64],
    confidence: Confidence,
) -> tuple[bool, bool]:
    """Whether anything exceeds the margin, and whether any simultaneous bounds leave out 0."""
    clusters, number = groups.clusters[at], len(groups.cluster_ids)
    counts = count(events.happened, groups.member[at], clusters, number, by_subject=True)
    tally = Tally(groups, {("", "", ENSEMBLE, ""): Block(events.labels, events.families, counts)})
    low, high, verdict = differences_at_once(tally, attribute, confidence)
    return bool((verdict == EXCEEDS).any()), bool(((low > 0) | (high < 0)).any())


def _plan(null: pd.DataFrame) -> tuple[str, str, float] | None:
    """Into which group and label to inject how large a gap; None if none could be seen.

    A label that is chosen now and then, nearest to one time in five, so that there are choices to
    take it from; the largest group; the margin and one and a half times what would be detected,
    so that it should mostly be found.
    """
    pairs = null[(null["status"] == OK) & (null["other"] != REST)]
    if pairs.empty:
        return None
    events = pairs.groupby("label", sort=False)["events"].sum()
    share = events / pairs.groupby("label", sort=False)["n"].sum()
    label = str((share - 0.2).abs().idxmin())
    here = records(pairs[pairs["label"] == label])
    n = {r["group"]: r["n"] for r in here} | {r["other"]: r["n_other"] for r in here}
    group = max(n, key=lambda name: n[name])
    mine = [r for r in here if group in (r["group"], r["other"])]
    gap = mine[0]["margin"] + 1.5 * max(r["detectable"] for r in mine)
    room = 1 - float(share[label])
    return (group, label, gap) if np.isfinite(gap) and gap < 0.95 * room else None


def _inject(
    events: Events,
    groups: Groups,
    at: NDArray[np.int64],
    group: str,
    label: str,
    gap: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Events with the label chosen so much more often in one group, taken from other labels."""
    column = events.labels.index(label)
    happened = events.happened.copy()
    there = list(groups.index.get_level_values("group")).index(group)
    here = groups.member[at][:, there]
    free = here & ~happened[:, column]
    rate = happened[:, column].mean()
    flip = free & (np.random.default_rng(seed).random(len(at)) < gap / (1 - rate))
    happened[flip] = False
    happened[flip, column] = True
    return happened


def _row(where: Mapping[str, str], control: str, **values: Any) -> Row:
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


def _shuffled_row(
    null: pd.DataFrame,
    outcomes: Sequence[tuple[bool, bool]],
    where: Mapping[str, str],
    level: float,
) -> Row:
    usable = null[null["status"] == OK]
    if usable.empty:
        return _row(where, "shuffled", reason=TOO_FEW_GROUPS)
    large, missed = (sum(column) for column in zip(*outcomes, strict=True))
    allowed = chance_allows(len(outcomes), level)
    return _row(
        where,
        "shuffled",
        comparisons=len(usable),
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


def _injected_row(
    found: pd.DataFrame,
    where: Mapping[str, str],
    group: str,
    label: str,
    gap: float,
) -> Row:
    """The comparison of the group with the one it should differ from most surely."""
    of_label = found[(found["status"] == OK) & (found["label"] == label)]
    pairs = of_label[of_label["other"] != REST]
    mine = [
        _turned(row) if row["other"] == group else row
        for row in records(pairs)
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
        label=label,
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

"""Nulls: how wide the worst-case gap is when subjects are dealt to groups by chance."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from audit.core.tables import ENSEMBLE, OK, WORST
from audit.data.labels import LabelSet
from audit.measure.confidence import Confidence
from audit.measure.groups import Clusters, Members, Places
from audit.measure.metrics import METRICS, Events, Groups, Tally
from audit.stats.permutation import Null, permuted_drops, permuted_range, whole_clusters
from audit.stats.urn import Kinds, urn_range

#: permutations of a null: enough for its mean and 95 % quantile to one decimal of a point
PERMUTATIONS: Final = 1000
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


def with_nulls_of_counts(
    compared: pd.DataFrame, tally: Tally, confidence: Confidence, seed: int
) -> pd.DataFrame:
    """As ``with_nulls``, from what was counted of pictures that are a subject each."""
    found: dict[tuple[str, str, str], _Found] = {}
    for (*_, condition, metric), block in tally.blocks.items():
        kinds = block.counts.kinds
        if condition != ENSEMBLE or kinds is None or not (block.labels and kinds[:, 0].any()):
            continue
        for attribute in tally.groups.attributes:
            null, within = _of_kinds(kinds, tally.groups, attribute, confidence, seed)
            numbers = zip(null.mean, null.high, null.p, strict=True)
            found |= {
                (metric, label, attribute): (*three, within)
                for label, three in zip(block.labels, numbers, strict=True)
            }
    return _filled(compared, found)


def _of_kinds(
    kinds: NDArray[np.int64], groups: Groups, attribute: str, confidence: Confidence, seed: int
) -> tuple[Null, str]:
    """The null of every question by one attribute; ``kinds`` are those of ``Counts``."""
    assert isinstance(groups.member, Members)
    member, n = groups.member.patterns, kinds[:, 0]
    places = np.arange(len(member))
    one_each = Groups(groups.index, member, places, Clusters(), Places(()))
    of = _codes(one_each, attribute)
    strata, used = _strata(one_each, attribute, of, np.zeros(len(of), np.int64), n)
    enough = n @ member[:, groups.columns(attribute)] >= confidence.min_group
    null = urn_range(
        Kinds(kinds[:, 1:], n, of, strata),
        enough,
        permutations=min(confidence.resamples, PERMUTATIONS),
        seed=stream(seed, "null", attribute),
        level=confidence.level,
    )
    return null, f"; null within {', '.join(used)}" if used else "; null over all subjects"


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
    dealt = Dealt(events.happened, events.asked, rows_of(rows, groups))
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
    within = sparse.csr_array(entries, shape=(number, pictures))
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
        seed=stream(seed, "null", attribute),
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
        seed=stream(seed, "null", attribute),
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


def rows_of(choices: pd.DataFrame, groups: Groups) -> NDArray[np.int64]:
    """The row in the groups of each picture that was asked, (n,)."""
    return groups.at(choices["image_id"])


def _codes(groups: Groups, attribute: str) -> NDArray[np.int64]:
    """Group of every picture by place among the attribute's groups; -1 where unknown."""
    member = groups.member[:, groups.columns(attribute)]
    if not member.shape[1]:
        return np.full(len(member), -1)
    return np.where(member.any(axis=1), member.argmax(axis=1), -1)


def _strata(
    groups: Groups,
    attribute: str,
    of: NDArray[np.int64],
    strata: NDArray[np.int64],
    sizes: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], list[str]]:
    """Stratum of every cluster, and the attributes within which it may swap groups.

    To ``strata``, which hold in any case, come the other attributes, in the suite's order, that are
    whole in clusters: each is added as long as most clusters can still move. Those that can't would
    carry the gap seen into its own null. ``sizes``: of clusters that stand for several.
    """
    own = set(attribute.split(" x ")) | {attribute}
    used: list[str] = []
    for other in (a for a in groups.attributes if " x " not in a and a not in own):
        codes = _codes(groups, other)
        if whole_clusters(groups.clusters, codes):
            finer = np.full(len(of), -1)
            np.maximum.at(finer, groups.clusters, codes)
            finer = np.unique(np.stack([strata, finer]), axis=1, return_inverse=True)[1].ravel()
            if _movable(finer, of, sizes) >= MOVABLE:
                strata, used = finer, [*used, other]
    return strata, used


def _movable(
    strata: NDArray[np.int64], of: NDArray[np.int64], sizes: NDArray[np.int64] | None
) -> float:
    """Share of clusters in a stratum that holds more than one group."""
    known = of >= 0
    pairs = np.unique(np.stack([strata[known], of[known]]), axis=1)
    groups_in = np.bincount(pairs[0], minlength=strata.max() + 1)
    weights = None if sizes is None else sizes[known]
    some = known.any() if weights is None else weights.any()
    return float(np.average(groups_in[strata[known]] > 1, weights=weights)) if some else 0.0


def stream(seed: int, *names: str) -> int:
    """A seed of its own for each use, so that adding a question moves no other number."""
    return zlib.crc32(" ".join((str(seed), *names)).encode())

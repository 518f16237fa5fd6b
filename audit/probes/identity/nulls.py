"""Error rates of verification if people were dealt to groups by chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.core.arrays import Floats, Integers
from audit.core.rows import Array, Row
from audit.probes.identity.names import DEALS
from audit.stats.faces import Faces, tiles
from audit.stats.verification import BINS

if TYPE_CHECKING:
    from audit.probes.identity.rows import Measured


def dealt_matches(found: Measured, enough: NDArray[np.bool_]) -> Floats:
    """Worst over all, (T, DEALS), when whole subjects are dealt to the groups by chance.

    Subjects keep all their matches with each other; only who is in which group is dealt, so that
    the groups keep their numbers of subjects.
    """
    people = found.strangers
    i, j, x = _matched(people, found.impostors.thresholds)
    sizes = np.diff(people.starts).astype(np.float64)
    g = len(found.names)
    ratios = np.empty((len(found.edges), DEALS))
    for deal, group in enumerate(_deals(people.group, found.half.design.seed)):
        total, squared = (np.bincount(group, sizes**k, g) for k in (1, 2))
        pairs = (total**2 - squared) / 2
        inside = group[i] == group[j]
        matches = np.stack([np.bincount(group[i[inside]], row[inside], g) for row in x])
        ratios[:, deal] = _worst_ratio(matches, pairs, enough)
    return ratios


def dealt_misses(found: Measured, enough: NDArray[np.bool_]) -> Floats:
    """The same of mated pairs: subjects who have some are dealt."""
    counts, g = found.mated, len(found.names)
    some = counts.pairs > 0
    misses, pairs, group = counts.misses[some].T, counts.pairs[some], counts.group[some]
    ratios = np.empty((len(found.edges), DEALS))
    for deal, dealt in enumerate(_deals(group, found.half.design.seed)):
        missed = np.stack([np.bincount(dealt, row, g) for row in misses])
        ratios[:, deal] = _worst_ratio(missed, np.bincount(dealt, pairs, g), enough)
    return ratios


def _deals(group: Integers, seed: int) -> Iterator[Integers]:
    random = np.random.default_rng([seed, DEALS])
    for _ in range(DEALS):
        yield random.permutation(group)


def _worst_ratio(events: Array, n: Array, enough: NDArray[np.bool_]) -> Floats:
    """Largest rate of the groups that are compared over the rate of all, (T,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(enough & (n > 0), events / n, -np.inf).max(axis=1)
        ratio = rate / (events.sum(axis=1) / n.sum())
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _matched(people: Faces, thresholds: Floats) -> tuple[Integers, Integers, Floats]:
    """Pairs of two subjects (K,), (K,) and how many of their pictures match, (T, K)."""
    first = np.round((thresholds + 1) * BINS / 2)
    subject, s = people.subject, len(people.ids)
    codes, places = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for tile in tiles(people):
        rows, columns = (slice(people.starts[r.start], people.starts[r.stop])
                         for r in (tile.rows, tile.columns))  # fmt: skip
        # the bin in which the module counts it, so that both see the same matches
        place = (people.vectors[rows] @ people.vectors[columns].T + np.float32(1)) * (BINS / 2)
        r, c = np.nonzero(place >= first.min(initial=BINS))
        i, j = subject[rows][r], subject[columns][c]
        kept = i < j if tile.rows == tile.columns else np.ones(i.size, bool)
        codes.append((i * s + j)[kept])
        places.append(place[r, c][kept])
    pairs, at = np.unique(np.concatenate(codes), return_inverse=True)
    high = np.concatenate(places)
    counted = [np.bincount(at, high >= edge, pairs.size) for edge in first]
    x = np.stack(counted).astype(np.float64)
    return pairs // s, pairs % s, x


def beside(value: float, null: Floats | None, level: float) -> Row:
    """What chance alone gives, and how often it gives as much."""
    dealt = np.empty(0) if null is None else null[~np.isnan(null)]
    if not dealt.size:
        return {}
    low, high = np.quantile(dealt, [(1 - level) / 2, (1 + level) / 2])
    return {
        "null_mean": float(dealt.mean()),
        "null_low": float(low),
        "null_high": float(high),
        # a dealt ratio that equals the observed one to the last digits is no smaller
        "p": float((1 + (dealt >= value * (1 - 1e-9)).sum()) / (dealt.size + 1)),
        "smallest_p": 1 / (dealt.size + 1),
    }


def by_chance(row: Row) -> str:
    """What chance alone gives, at the end of a sentence; nothing where it is not known."""
    if np.isnan(row.get("null_high", np.nan)):
        return ""
    return (
        f"; {row['null_mean']:.2f} on average and seldom above {row['null_high']:.2f} if subjects "
        "are dealt to the groups by chance"
    )

"""How large a gap would be by chance, where every picture is a subject of its own: from counts.

What ``audit.stats.permutation`` does cluster by cluster: dealing subjects of one picture to the
groups of a stratum gives each group a number of events that is drawn as from an urn, so the deals
themselves need not be made, however many subjects there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Floats, Integers
from audit.stats.permutation import Null, immovable, ranges, summary, why_immovable


@dataclass(frozen=True)
class Kinds:
    """Subjects of one picture each, of which those that are alike are counted together.

    ``events`` (kinds, questions) and ``n`` (kinds,): how many had each event and were asked.
    ``codes`` (kinds,): the group of each, from 0, -1 where unknown, which takes no part. ``strata``
    (kinds,): any whole numbers.
    """

    events: Integers
    n: Integers
    codes: Integers
    strata: Integers


def urn_range(
    kinds: Kinds,
    usable: npt.ArrayLike,
    permutations: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Null:
    """The largest gap between groups beside its null, as ``permuted_range`` of so many subjects.

    Formula: the numbers of events that the groups of a stratum get are multivariate hypergeometric,
    with the groups' sizes and the stratum's events, in every deal; they are drawn apart for each
    question. Range, what it shows and what not: as ``permuted_range``, whose distribution it has;
    deals are always drawn, never gone through.

    Args:
        kinds: The subjects, who swap groups within their stratum.
        usable: Whether each group enters, shape (groups,).
        permutations: How many to draw.
        seed: Of the draws.
        level: Of the quantile ``high``.

    Source:
        Johnson, Kotz, Balakrishnan (1997), Discrete Multivariate Distributions, chapter 39.
    """
    chosen, code = np.asarray(usable, dtype=bool), kinds.codes
    groups, part = len(chosen), (code >= 0) & np.append(chosen, False)[code]
    place = np.unique(kinds.strata[part], return_inverse=True)[1]
    sizes = _by_group(kinds.n[part, np.newaxis], place, code[part], groups)[..., 0]
    happened = _by_group(kinds.events[part], place, code[part], groups)
    questions, whole = happened.shape[2], sizes.sum(axis=0)

    def measured(sums: Integers) -> tuple[Floats, Floats]:
        """Ranges of deals (deals, groups, questions)."""
        asked = np.broadcast_to(whole[:, np.newaxis], (len(sums), groups, 1))
        return ranges(np.concatenate([sums, asked], axis=2).astype(float), questions, chosen)

    observed, scale = measured(happened.sum(axis=0)[np.newaxis])
    moving = (sizes > 0).sum(axis=1) > 1
    if not moving.any():
        return immovable(observed[0], why_immovable(int((whole > 0).sum())))
    drawn = np.tile(happened[~moving].sum(axis=0), (permutations, 1, 1))
    for q in range(questions):
        rng = np.random.default_rng([seed, q])
        for s in np.flatnonzero(moving):
            of_stratum = int(happened[s, :, q].sum())
            drawn[:, :, q] += rng.multivariate_hypergeometric(sizes[s], of_stratum, permutations)
    null = np.nan_to_num(measured(drawn)[0])
    return summary(observed[0], scale[0], null, False, int(sizes[moving].sum()), level)


def _by_group(counts: Integers, place: Integers, code: Integers, groups: int) -> Integers:
    """Counts of kinds, (kinds, columns), added up by stratum and group: (S, G, columns)."""
    found = np.zeros((int(place.max(initial=-1)) + 1, groups, counts.shape[1]), np.int64)
    np.add.at(found, (place, code), counts)
    return found

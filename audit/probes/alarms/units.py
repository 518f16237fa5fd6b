"""What raises an alarm: pictures, or the clips that they make together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import sentence
from audit.measure.metrics import Groups

ANY: Final = "any"


def _is_a_rule(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not (number or value in ("any", "all", "mean")):
        told = f"got {value}; say any, all or mean, or a whole number: at least so many frames"
        raise ValueError(sentence(told, "Such as 3"))
    return value


#: how the scores of frames make that of their clip
Rule = Annotated[
    Literal["any", "all", "mean"] | Annotated[int, Field(ge=1)], BeforeValidator(_is_a_rule)
]


@dataclass(frozen=True)
class Units:
    """Scores of n units and what is known of them.

    ``event``, (n,): 1 if it is one, 0 if it is none, -1 if nobody knows; None without a truth.
    ``member``, (n, G), and ``clusters``, (n,), as in ``Groups``. ``noun``: what
    a unit is called.
    """

    score: Floats
    event: Integers | None
    member: Flags
    clusters: Integers
    noun: str = "pictures"

    @classmethod
    def of(
        cls, keys: Sequence[str], score: Floats, event: NDArray[np.integer] | None, groups: Groups
    ) -> Units:
        """Each picture by itself."""
        at = groups.at(keys)
        known = None if event is None else event.astype(np.int64)
        return cls(score, known, groups.member[at], groups.clusters[at])

    def together(self, clips: NDArray[np.object_], rule: Rule) -> Units:
        """Each clip as one unit.

        It is an event if one of its pictures is, and none if all are known to be none. It is of a
        group if all of its pictures are: one that shows several is of none of them.

        Args:
            clips: the clip of each unit, (n,).
            rule: ``any``: its score is the highest of its pictures'; ``all``: the lowest; ``mean``:
                their mean; k: the k-th highest, minus infinity where it has fewer.
        """
        _, clip = np.unique(clips, return_inverse=True)
        number = int(clip.max()) + 1
        sizes = np.bincount(clip, minlength=number)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        order = np.lexsort((-self.score, clip))  # clip by clip, the highest score first
        ranked = self.score[order]
        if rule == "mean":
            score = np.bincount(clip, self.score, minlength=number) / sizes
        else:
            place = np.zeros(number, np.int64) if rule == ANY else sizes - 1
            if isinstance(rule, int):
                place = np.full(number, rule - 1)
            score = np.where(place < sizes, ranked[starts + np.minimum(place, sizes - 1)], -np.inf)
        event = None
        if self.event is not None:
            some, no = (np.bincount(clip, self.event == k, minlength=number) for k in (1, 0))
            event = np.select([some > 0, no == sizes], [1, 0], -1).astype(np.int64)
        in_group = np.zeros((number, self.member.shape[1]), np.int64)
        np.add.at(in_group, clip, self.member)
        return replace(
            self,
            score=score,
            event=event,
            member=in_group == sizes[:, np.newaxis],
            clusters=self.clusters[order[starts]],
            noun="clips",
        )

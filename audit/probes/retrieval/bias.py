"""Bias@k between two groups of a ranking: of every query, and of the mean over queries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.core.rows import Row
from audit.probes.kit.bounds import ends
from audit.probes.retrieval.names import BIAS
from audit.stats import parity
from audit.stats.ranking import Ranking
from audit.stats.ranking_null import Beside, Nulls

if TYPE_CHECKING:
    from audit.probes.retrieval.rows import Case, Told


@dataclass(frozen=True)
class Bias:
    """Bias@k of every query and of the mean over queries, beside chance and with bounds.

    ``n``, ``subjects``: ranked; ``in_top`` (Q, K) subjects of both groups in the top, ``events``
    (Q, K) pictures of the first. ``alone``, ``together`` (2, Q, K), ``mean`` (2, K): bounds.
    """

    names: tuple[str, str]
    n: int
    subjects: int
    queries: Beside
    overall: Beside
    alone: NDArray[np.float64]
    together: NDArray[np.float64]
    mean: NDArray[np.float64]
    in_top: NDArray[np.int64]
    events: NDArray[np.int64]
    reason: NDArray[np.object_]
    method: str

    @classmethod
    def of_case(cls, case: Case, names: tuple[str, str]) -> Bias:
        """Where every picture asked about is of one of both groups."""
        told, alone, together = case.told, case.alone, case.together
        turned = names != told.field.names

        def of(ends: NDArray[np.float64]) -> NDArray[np.float64]:
            return -ends[::-1] if turned else ends

        queries, overall = case.nulls.queries[BIAS], case.nulls.overall[BIAS]
        share = together.share[..., 1 if turned else 0]
        return cls(
            names, told.pictures, int(told.list_.sizes.any(axis=1).sum()),
            _turned(queries) if turned else queries, _turned(overall) if turned else overall,
            of(alone.bias), of(together.bias),
            of(2 * np.stack([alone.mean_low[:, 0], alone.mean_high[:, 0]]) - 1),
            together.subjects, np.rint(share * np.array(told.ks)).astype(np.int64),
            np.where(np.isnan(together.bias[0]), together.reason, ""), case.method,
        )  # fmt: skip

    @classmethod
    def with_neither(cls, told: Told, everyone: Ranking, names: tuple[str, str]) -> Bias:
        """Where pictures of neither group take places, too."""
        level, weights = told.design.confidence.level, told.design.draws.weights
        null = parity.null(everyone, told.ks, told.permutations, told.seed, level)
        alone, together = (
            parity.bounds(everyone, told.ks, weights, each) for each in (level, told.each)
        )
        share = (parity.bias(everyone, told.ks) + 1) / 2
        counted = f"k counts pictures of neither group: {told.field.neither(names)}"
        return cls(
            names, int(everyone.sizes.sum()), int(everyone.sizes.any(axis=1).sum()),
            null.queries, null.overall,
            np.stack([alone.low, alone.high]), np.stack([together.low, together.high]),
            np.stack([alone.mean_low, alone.mean_high]),
            together.subjects,
            np.rint(share * parity.of_both(everyone, told.ks)).astype(np.int64),
            together.reason, f"{null_in_words(null)}; {counted}",
        )  # fmt: skip

    def of_mean(self, row: Row, i: int) -> Row:
        """The row of the mean over queries at depth i."""
        return row | beside_null(self.overall, i) | ends(*self.mean[:, i], *self.mean[:, i]) | {
            "group": self.names[0],
            "other": self.names[1],
            "n": self.n,
            "subjects": self.subjects,
            "method": f"{self.method}; bootstrap of subjects",
        }  # fmt: skip

    def of_query(self, row: Row, i: int, q: int) -> Row:
        """The row of one query at depth i."""
        bounds = ends(*self.alone[:, q, i], *self.together[:, q, i])
        return row | beside_null(self.queries, (q, i)) | bounds | {
            "group": self.names[0],
            "other": self.names[1],
            "subjects": int(self.in_top[q, i]),
            "events": int(self.events[q, i]),
            "reason": self.reason[q, i],
            "method": f"{self.method}; bootstrap of subjects, Bonferroni",
        }  # fmt: skip


def _turned(one: Beside) -> Beside:
    """The bias of the other group over the first."""
    return replace(one, value=-one.value, mean=-one.mean, low=-one.high, high=-one.low)


def null_in_words(nulls: Nulls | parity.Null) -> str:
    """How a null was made, or why there is none."""
    deals = "all" if nulls.enumerated else f"{nulls.permutations:,}"
    null = f"null over {deals} deals of whole subjects to the groups"
    return f"no null: {nulls.reason}" if nulls.reason else null


def beside_null(measure: Beside, at: int | tuple[int, ...]) -> Row:
    """A value and its null."""
    names = {"value": "value", "null_mean": "mean", "null_low": "low", "null_high": "high"}
    names |= {"p": "p", "smallest_p": "smallest_p"}
    return {column: float(getattr(measure, name)[at]) for column, name in names.items()}

"""What rankings are measured by, and the names under which tables hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: ``metric`` of rows of MEASURES; ``label`` is the query, blank for the mean over queries
MAX_SKEW: Final = "max_skew"


MIN_SKEW: Final = "min_skew"


NDKL: Final = "ndkl"


BIAS: Final = "bias"


ENTROPY: Final = "entropy"


SHARE: Final = "share"


#: of a group's relevant pictures the share in the top, and of those in the top the share relevant
RECALL_AT_K: Final = "recall_at_k"


PRECISION_AT_K: Final = "precision_at_k"


#: in which unit each is; a share, or a difference of two, is told in points
UNITS: Final = {
    MAX_SKEW: "log ratio", MIN_SKEW: "log ratio", NDKL: "nats", BIAS: "", ENTROPY: "of at most 1",
    SHARE: "",
}  # fmt: skip


#: queries of an attribute, target and depth that are told one by one, those of the largest excess
TOLD: Final = 20


#: queries of a task that become findings: those whose skew is surest
FINDINGS: Final = 5


#: deals of the null: enough for its mean and outer quantiles
DEALS: Final = 1000


#: MaxSkew of all pictures against a target from which on sentences mention it
FAR: Final = 0.05


#: pictures ranked at a time where the rows kept do not suffice
BATCH: Final = 8192


#: scores are compared to so many decimals: the last digits change with the size of the batch
DIGITS: Final = 9


NO_INTERVAL: Final = "no interval: near parity resampling has none"


OF_MEANS: Final = "mean of the queries' simultaneous bounds, which is wide"


MISSING: Final = (
    "in {k} places fewer than one picture of some group is wanted, and the published skew counts a "
    "missing group as one picture: above 0 whatever the ranking"
)


#: every picture of known group, as a depth of NDKL; how its rows' condition says so
ALL: Final = "all"


WHOLE: Final = "whole list"


def group_named(target: str | Mapping[str, float]) -> str:
    """A target as it stands in conditions and sentences."""
    if isinstance(target, str):
        return target
    return ", ".join(f"{group} {share:g}" for group, share in target.items())


UNKNOWN: Final = "pictures of unknown group"


COUNTED_AS_ONE: Final = (
    "no bounds: a group without a place counts as one of k, which is above its true share"
)

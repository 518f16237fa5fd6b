"""What changes of one thing are measured by, and the names under which tables hold it."""

from __future__ import annotations

from typing import Final

#: ``metric`` of rows of MEASURES; ``group`` is what was changed, ``label`` blank for all labels
FAMILIES: Final = "families"
FLIPS: Final = "flip_rate"
MORE_FLIPS: Final = "flip_rate_difference"
CHANGE: Final = "mean_change"
SIZE: Final = "change_size"
LARGER: Final = "change_size_difference"
STEP: Final = "step"
DISTANCE: Final = "embedding_distance"
COLOUR: Final = "colour_difference"
SLOPE: Final = "slope"
INTERCEPT: Final = "intercept"
PER_DISTANCE: Final = "change_size_per_distance"
RANK: Final = "rank"
#: ``condition`` of rows of one kind of change
DEMOGRAPHIC, NUISANCE = "demographic", "nuisance"
#: ``condition`` of rows of one demographic kind of change against nuisances
AGAINST: Final = "demographic less nuisance"
#: the group of all nuisance changes together
POOLED: Final = "any nuisance"
#: how ``condition`` begins where changes are turned towards a value
TOWARDS: Final = "towards "
#: ``condition`` of colour differences
WHOLE_PICTURE: Final = "whole picture"
MIDDLE: Final = "middle of the picture"
#: in which the change of a score is told
COSINE: Final = "cosine"
#: labels that become findings: those that a kind of change surely moves furthest
FINDINGS: Final = 3


def plain(kind: str) -> str:
    """A kind of change in words."""
    return kind.replace("_", " ")

"""What verification is measured by, and the names under which tables hold it."""

from __future__ import annotations

from typing import Final

import numpy as np

from audit.stats.error_rates import ErrorRates

#: ``metric`` of rows of MEASURES
THRESHOLD: Final = "threshold"


FMR: Final = "false match rate"


FNMR: Final = "false non-match rate"


WORST_FMR: Final = "worst group's false match rate over that of all groups"


WORST_FNMR: Final = "worst group's false non-match rate over that of all groups"


WITHIN_ACROSS: Final = "false match rate within groups over across them"


DET_FMR: Final = "DET: false match rate"


DET_FNMR: Final = "DET: false non-match rate"


#: of searches on a watch list
FPIR: Final = "false positive identification rate"


TPIR: Final = "true positive identification rate"


RANK_ONE: Final = "rank-1 identification rate"


#: ``label`` of rows of a false match rate: of whom the two people of a pair are
WITHIN: Final = "two people of one group"


ACROSS: Final = "two people of two groups"


#: ``label`` of rows of PAIRS
MATED: Final = "mated"


NEAREST: Final = "nearest impostor"


#: what may not be said of identity without being meant
SENSITIVE: Final = "identity"


#: deals of whole subjects to groups, for what chance alone gives
DEALS: Final = 999


#: points of a DET curve, from an FMR of a half down
POINTS: Final = np.geomspace(0.5, 1e-4, 16)


AT_ONCE: Final = 1 << 24  # similarities held at a time when nearest impostors are looked for


OVER: Final = {FMR: "over subjects on both sides of a pair", FNMR: "over subjects"}


FEWEST: Final = 4  # subjects: two to fix a threshold on, two to measure


def at_target(target: float) -> str:
    """The condition of all that is measured at the threshold of a target FMR."""
    return f"target FMR {target:g}"


def remarks(found: ErrorRates, t: int, c: int) -> str:
    """What a reader of this cell must know."""
    told = [found.note[c]]
    if np.isfinite(found.high_any[t, c]) and found.events[t, c] < found.pairs[t, c]:
        high = percent(float(found.high_any[t, c]))
        told.append(f"up to {high} if each subject were like all others or like none")
    return "".join(f"; {text}" for text in told if text)


def percent(share: float) -> str:
    """A share in the digits that tell small ones apart."""
    if share == 0:
        return "0 %"
    digits = max(0, 1 - int(np.floor(np.log10(100 * share))))
    return f"{100 * share:.{digits}f} %"

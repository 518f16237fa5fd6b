"""What associations are measured by, and the names under which tables hold it."""

from __future__ import annotations

from typing import Final

#: ``metric`` of rows: d, and beside it the difference of mean s that d puts in units of a spread
EFFECT_SIZE: Final = "effect_size"
DIFFERENCE: Final = "difference_of_means"
#: ``attribute`` of rows in which two sets named in the suite are compared, not groups of people
TARGETS: Final = "targets"
#: begins what ``method`` says of a row whose q and bounds disagree on whether d is 0
AT_ODDS: Final = "; q and bounds disagree: "

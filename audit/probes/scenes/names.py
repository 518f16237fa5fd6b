"""What scenes are measured by, and the names under which tables hold it."""

from __future__ import annotations

from typing import Final

#: conditions beside the headline, in which every caption is offered
WITHOUT: Final = "without close captions"


INSTEAD: Final = "as many other captions instead of close ones"


#: ``metric`` of rows of MEASURES
COST: Final = "errors added by close captions"


COST_AT_EQUAL_NUMBER: Final = "errors added by close captions, at the same number of captions"


GAP_COST: Final = "widening of the widest gap by close captions"


FOOTAGE_COST: Final = "errors added by poor footage"


FOOTAGE_GAP: Final = "widening of the widest gap by poor footage"


OPTIONS: Final = "captions a picture, mean"


FEWEST: Final = "captions a picture, fewest"


MOST: Final = "captions a picture, most"


GUESSING: Final = "accuracy of guessing"


TIES: Final = "choices between captions that are alike to the model"


LEFT_OUT: Final = "pictures not asked"


MISSED: Final = "missed where it is there"


INVENTED: Final = "seen where it is not there"


TOLD_APART: Final = "told apart"

"""What figures have in common: which rows are shown, how names are shortened."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from audit.core.errors import InputError
from audit.core.registry import suggest
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE
from audit.probes.kit.looks import MARGIN_FILL, plain

#: most labels side by side, and most gaps or groups in one figure
PANELS: Final = 4


ROWS: Final = 18


#: most groups that a figure of calibration names
NAMED: Final = 8


#: most edits of a label set in one figure
EDITS: Final = 10


#: most templates that a specification curve names; of more, half as many from either end
TEMPLATES: Final = 12


def headline_of(run: Run, task: str, attribute: str) -> pd.DataFrame:
    """The rates of a task by an attribute in the headline condition."""
    rates = rows_where(rows_where(run.rates, "task", task), "attribute", attribute)
    return rates[rates["condition"] == ENSEMBLE]


def rows_where(table: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """Rows of one task, attribute, metric or label.

    Raises:
        InputError: there are none; the sentence names the nearest.
    """
    rows = table[table[column] == value]
    if rows.empty:
        known = list(dict.fromkeys(table[column]))
        raise InputError(
            f"this run has no {column} '{value}' here",
            suggest(value, known),
            f"It has {', '.join(known[:12])}" if known else "There are no groups to compare",
        )
    return rows


def draw_margin(axis: Axes, y: int, margin: float) -> None:
    """The band within which a gap is too small to matter, behind row ``y``."""
    # a hair taller than its row, so that no seam shows between rows
    axis.add_patch(Rectangle((0, y - 0.51), 100 * margin, 1.02, color=MARGIN_FILL, lw=0, zorder=0))


def shortened(text: str, most: int = 44) -> str:
    """A name that fits a tick label and is drawn as written."""
    return plain(text if len(text) <= most else text[: most - 1] + "…")


def minus(number: str) -> str:
    """A signed number with a true minus sign; nothing is no gain."""
    return "0" if number == "+0" else number.replace("-", "−")

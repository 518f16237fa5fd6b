"""Published numbers beside the run's own, as far as the two protocols can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from audit.core.page import Markdown
from audit.core.rundir import Run
from audit.core.tables import records
from audit.explore.replication import in_columns, in_short, replicate_all
from audit.explore.replication_card import NOT_COMPARABLE, card_names, load_card
from audit.probes.kit.blocks import Block, Part, Section
from audit.probes.kit.cells import MOST_ROWS, NBSP, table, with_rest

_WHAT: Final = Markdown.beside(__file__)
_COLUMNS: Final = (
    "Result", "Number", "Published, %", "Here, %", "Difference (bounds)", "Protocols", "Remark",
)  # fmt: skip


def tell(run: Run) -> Sequence[Block]:
    """Every bundled card in a line; the numbers of those of which any can be compared."""
    numbers = replicate_all([load_card(name) for name in card_names()], run)
    cards = [(str(name), rows) for name, rows in numbers.groupby("card", sort=False)]
    ranked = sorted(cards, key=lambda card: not _comparable(card[1]).any())
    lines = table(
        {
            "Card": name,
            "Numbers": len(rows),
            "Result": in_short(rows).replace(" ", NBSP).replace(f",{NBSP}", ", "),
            "Why not more": _why(rows),
        }
        for name, rows in ranked
    )
    return [_WHAT, lines, *(_card(name, rows) for name, rows in cards if _comparable(rows).any())]


def _comparable(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["verdict"] != NOT_COMPARABLE


def _why(rows: pd.DataFrame) -> str:
    """What forbids to compare numbers of a card; the least of it where they differ."""
    reasons = list(dict.fromkeys(map(str, rows.loc[~_comparable(rows), "reason"])))
    if not reasons:
        return "–"
    return min(reasons, key=len) + ("; some differ in more" if len(reasons) > 1 else "")


def _card(name: str, rows: pd.DataFrame) -> Part:
    """The numbers of one card that can be compared, and how far apart the protocols are."""
    comparable = rows[_comparable(rows)]
    shown = table(
        dict(zip(_COLUMNS, in_columns(row), strict=True))
        for row in records(comparable.head(2 * MOST_ROWS))
    )
    more = len(comparable) - 2 * MOST_ROWS
    gaps = [distance.split("; ") for distance in comparable["distance"]]
    apart = [gap for gap in gaps[0] if gap and all(gap in others for others in gaps)]
    told = f"Not the same, or not stated, for every number: {'; '.join(apart) or 'nothing'}."
    return Part(name, [told, with_rest(shown, more, "numbers", f"clip-audit replicate RUN {name}")])


SECTION: Final = Section("replication", "", tell)

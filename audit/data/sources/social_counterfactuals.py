"""SocialCounterfactuals: generated people at work, in sets that differ in two attributes alone.

Howard et al. 2024, arXiv 2312.00825, huggingface.co/datasets/Intel/SocialCounterfactuals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from audit.core.errors import InputError
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.files import require_columns
from audit.data.sources.hugging_face import HuggingFace

#: what a prompt may vary, as generation's own captions have it
VARIED: Final[Mapping[str, tuple[str, ...]]] = {
    "race": ("Asian", "Black", "Indian", "Latino", "Middle Eastern", "White"),
    "gender": ("female", "male"),
    "physical": ("obese", "old", "skinny", "tattooed", "young"),
}
_NOT_VARIED: Final = "not varied"
_COLUMNS: Final = ("image", "caption", "counterfactual_set", "a1", "a2")


class SocialCounterfactuals(Published):
    """SocialCounterfactuals as the hub has it, in Parquet with the pictures inside.

    A set of pictures was made of one caption with two words changed: race, gender or a physical
    trait. The occupation is what follows these two words in the caption.
    """

    published: ClassVar = publication(__file__)

    def read(self) -> Rows:
        """The shards, with the varied words by what they vary and the occupation."""
        rows = HuggingFace(name=self.name, root=self.root, split="train").read()
        table = rows.table
        require_columns(table, _COLUMNS, rows.file)
        table["occupation"] = [
            _occupation(row, f"{rows.file}: row {n + 1}")
            for n, *row in table[["caption", "a1", "a2"]].itertuples()
        ]
        for name, words in VARIED.items():
            by_word = table[["a1", "a2"]].isin(words)
            either = table["a1"].where(by_word["a1"], table["a2"].where(by_word["a2"]))
            table[name] = either.where(either.notna(), _NOT_VARIED)
        return replace(rows, manifest=replace(rows.manifest, table=table))


def _occupation(row: list[object], where: str) -> str:
    """What follows the two varied words in the caption."""
    caption, first, second = map(str, row)
    words = rf"\b{re.escape(first)}\s+{re.escape(second)}\s+(\S.*)"
    found = re.search(words, caption, re.IGNORECASE)
    if found is None:
        told = (
            f"{where} has the caption '{caption}', where no occupation follows '{first} {second}'"
        )
        raise InputError(told, f"Get it again: {SocialCounterfactuals.facts.url}")
    return found[1].strip().rstrip(".").lower()

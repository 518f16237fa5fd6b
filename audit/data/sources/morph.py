"""MORPH II, non-commercial release: booking photographs of people over the years.

Ricanek and Tesafaye 2006; inconsistencies: Yip et al. 2018, arXiv 1811.06446.
"""

from __future__ import annotations

from typing import ClassVar, Final

from audit.data.manifest import Manifest
from audit.data.remarks import Remark
from audit.data.sources.base import Published, Rows, publication
from audit.data.sources.files import table_of

#: what is kept of the list: dates of birth and of arrest are not
_KEPT: Final = (
    "photo", "id_num", "picture_num", "race", "gender", "facial_hair", "age", "glasses",
)  # fmt: skip
_NEEDED: Final = ("photo", "id_num", "race", "gender", "age")


class Morph(Published):
    """MORPH II's photographs; people are the clusters. Dates of birth and arrest are not kept."""

    published: ClassVar = publication(__file__)

    def read(self) -> Rows:
        """The list; people whose record contradicts itself are counted."""
        listed = self.file("morph_2008_nonCommercial.csv")
        table = table_of(listed, _NEEDED, self.facts.url)
        table = table[[name for name in _KEPT if name in table]].copy()
        remarks = []
        for name in ("gender", "race"):
            differ = int((table.groupby("id_num")[name].nunique() > 1).sum())
            if differ:
                text = f"'{name}': differs between the pictures of {differ:,} people"
                remarks.append(Remark(text, name))
        return Rows(Manifest(table), listed, listed.parent, remarks)

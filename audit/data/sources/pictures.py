"""A folder of pictures of which nothing else is known: no groups, so nobody is compared."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from audit.data.card import Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Own, Rows, aside
from audit.data.sources.image_folder import SUFFIXES
from audit.data.withdrawn import list_beside


class Pictures(Own):
    """Every picture below a folder, whatever the folders in it are called."""

    about: ClassVar = "your own pictures, of whose people nothing is known: rates without groups"

    def describe(self) -> Card:
        """The card, without attributes."""
        return self.with_facts(image_column="picture")

    def read(self) -> Rows:
        """Every picture by its path; other files are counted."""
        beside = list_beside(self.root, self.withdrawn)
        names: list[str] = []
        other: list[str] = []
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root)
            if not path.is_file() or path == beside or any(p[0] == "." for p in name.parts):
                continue
            (names if path.suffix.lower() in SUFFIXES else other).append(name.as_posix())
        remarks = (aside("which are by their name no picture", other, {}),) if other else ()
        table = pd.DataFrame({"picture": names}, dtype=object)
        return Rows(Manifest(table), self.root, self.root, remarks, len(other))

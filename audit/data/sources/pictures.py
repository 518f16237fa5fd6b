"""A folder of pictures of which nothing else is known: no groups, so nobody is compared."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from audit.data.card import Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Own, Rows, aside
from audit.data.sources.image_folder import files_below, is_picture
from audit.data.withdrawn import list_beside


class Pictures(Own):
    """Every picture below a folder, whatever the folders in it are called."""

    about: ClassVar = "your own pictures, of whose people nothing is known: rates without groups"

    def describe(self) -> Card:
        """The card, without attributes."""
        return self.with_facts(image_column="picture")

    def read(self) -> Rows:
        """Every picture by its path; other files are counted."""
        files = files_below(self.root, list_beside(self.root, self.withdrawn))
        names = [name for name in files if is_picture(name)]
        other = [name for name in files if not is_picture(name)]
        remarks = aside("which are by their name no picture", other)
        table = pd.DataFrame({"picture": names}, dtype=object)
        return Rows(Manifest(table), self.root, self.root, remarks, len(other))

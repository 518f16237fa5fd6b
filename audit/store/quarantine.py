"""Pictures set aside: the private list of them, and whether they fall on some groups more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import scipy

from audit.core.csvfile import csv_text
from audit.core.files import write_bytes
from audit.core.rows import Fields
from audit.store.desk import Quarantined

#: the list's name in a run's private folder
LIST: Final = "quarantined.csv"
#: how the warning begins that names groups which lost more pictures than the others
UNEVEN: Final = "pictures were set aside unevenly"
#: a group is named whose share set aside is so much larger than that of the others, or that is
#: larger by a share that matters and not by chance
_MUCH, _SOME, _CHANCE = 0.05, 0.01, 0.01


def write_list(path: Path, quarantined: Sequence[Quarantined], subjects: Mapping[str, str]) -> None:
    """Write image id, subject, path, reason and detail of each picture, readable by its owner."""
    rows = [(q.image_id, subjects[q.image_id], q.path, q.reason, q.detail) for q in quarantined]
    columns = ["image_id", "cluster_id", "path", "reason", "detail"]
    text = csv_text(pd.DataFrame(rows, columns=columns))
    write_bytes(path, text.encode(), mode=0o600)


def uneven(dataset: Fields) -> dict[str, str]:
    """A warning by attribute, of those where some groups lost more pictures than the others.

    ``dataset`` is what ``dataset.json`` of a run says. The share of a group that was set aside is
    compared with that of all other groups, whatever share was set aside in all.
    """
    rows = dataset.get("quarantined_by_group", ())
    lost = pd.DataFrame(rows, columns=["attribute", "group", "reason", "pictures"])
    cells = pd.DataFrame(dataset["cells"], columns=["attribute", "group", "pictures"])
    found = {}
    for attribute, of_it in cells.groupby("attribute", sort=False):
        here = lost[lost["attribute"] == attribute].groupby("group")["pictures"].sum()
        all_lost, everything = int(here.sum()), int(of_it["pictures"].sum())
        named = [
            f"{count / size:.0%} of '{group}' ({count:,} of {size:,}), {rest:.1%} of the others"
            for group, size in zip(of_it["group"], of_it["pictures"], strict=True)
            if (count := int(here.get(group, 0))) and everything > size
            for rest in [(all_lost - count) / (everything - size)]
            if _more(count, int(size), all_lost - count, everything - int(size))
        ]
        if named:
            found[str(attribute)] = (
                f"{UNEVEN} by '{attribute}': {'; '.join(named)}; they are in no "
                "rate, and those that are left may differ from those that were lost"
            )
    return found


def _more(lost: int, size: int, others_lost: int, others: int) -> bool:
    """Whether a group lost a larger share than the others, by much or not by chance."""
    difference = lost / size - others_lost / others
    if difference > _MUCH:
        return True
    table = np.array([[lost, size - lost], [others_lost, others - others_lost]])
    return (
        difference > _SOME
        and scipy.stats.fisher_exact(table, alternative="greater").pvalue < _CHANCE
    )

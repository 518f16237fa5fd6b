"""Whether the pictures of a data set are there, can be read, and are not each other's copies."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from audit.core.rows import Values
from audit.core.tables import UNKNOWN
from audit.data.dataset import Dataset
from audit.data.images import Unreadable, decode, nowhere, pixel_digest
from audit.data.packed import container, opened
from audit.data.remarks import Remark, counted, tally

#: pictures that are opened before a run
OPENED: Final = 100
#: data sets of at most so many pictures are searched for equal pixels, larger ones for equal files
SEARCHED: Final = 2000


@dataclass(frozen=True)
class Sight:
    """What was seen of a data set's files before a run.

    ``faults``: image id to the sentence about it; ``opened``: how many were decoded; ``digests``:
    image id to a digest of its pixels, or of its file where ``of_files``; ``unsearched`` lie inside
    a table, an archive or a video, or are regions of a picture, and have none.
    """

    faults: Mapping[str, str]
    opened: int
    digests: Mapping[str, bytes]
    of_files: bool
    unsearched: int = 0


def look(dataset: Dataset, opened: int = OPENED, searched: int = SEARCHED) -> Sight:
    """Look for every file, open the first pictures, and digest what could be copies.

    Of many pictures inside another file no more are read: it would be all of it.
    """
    files = dict(dataset.files())
    every = len(files) <= searched
    faults: dict[str, str] = {}
    digests: dict[str, bytes] = {}
    sizes = defaultdict(list)
    for n, (image_id, path) in enumerate(files.items()):
        if not container(path).is_file():
            faults[image_id] = f"{path}: missing: {nowhere(path)}."
            continue
        if container(path) == path:
            sizes[path.stat().st_size].append(image_id)
        if every or n < opened:
            try:
                image = decode(path)
            except Unreadable as error:
                faults[image_id] = str(error)
            else:
                if every:
                    digests[image_id] = bytes.fromhex(pixel_digest(image))
    alike = [] if every else [i for ids in sizes.values() if len(ids) > 1 for i in ids]
    for image_id in alike:
        try:
            digests[image_id] = _of_file(files[image_id])
        except OSError as error:
            faults[image_id] = f"{files[image_id]}: missing: {error.strerror or error}."
    seen = len(files) if every else min(opened, len(files))
    unsearched = 0 if every else sum(container(path) != path for path in files.values())
    return Sight(faults, seen, digests, not every, unsearched)


def _of_file(path: Path) -> bytes:
    with opened(path) as handle:
        return hashlib.sha256(handle.read()).digest()


def of_faults(groups: Mapping[str, Values], faults: Collection[str]) -> list[Remark]:
    """The pictures that can't be used, counted by group.

    Args:
        groups: groups by picture of every attribute and intersection; the latter are left out.
        faults: image ids.
    """
    found = []
    for attribute, values in groups.items():
        of = tally(values.reindex(list(faults)).astype(object).fillna(UNKNOWN))
        if " x " not in attribute and of:
            text = f"'{attribute}': pictures that would be set aside: {counted(of)}"
            found.append(Remark(text, attribute, groups=frozenset(of)))
    return found


def of_copies(
    dataset: Dataset, groups: Mapping[str, Values], digests: Mapping[str, bytes]
) -> list[Remark]:
    """Pictures that are equal and belong to different subjects: intervals take them for several.

    Args:
        dataset: whose subjects are meant.
        groups: groups by picture of every attribute.
        digests: image id to a digest that is equal where pictures are.
    """
    subjects = dataset.table.set_index("image_id")["cluster_id"].reindex(list(digests))
    equal = pd.Series(list(digests.values()), index=subjects.index, dtype=object)
    shared = subjects.groupby(equal.to_numpy()).transform("nunique") > 1
    if not shared.any():
        return []
    found = [
        Remark(
            f"{int(shared.sum()):,} pictures of {subjects[shared].nunique():,} subjects are "
            f"duplicates, only {equal[shared].nunique():,} different ones: they count as if they "
            "showed other people, so intervals are too narrow. Give equal pictures one value in "
            "'cluster_column', or leave duplicates out"
        )
    ]
    for attribute, values in groups.items():
        if " x " not in attribute:
            of = values.reindex(subjects.index[shared]).dropna().astype(str).value_counts()
            told = f"'{attribute}': duplicates, the same picture under another subject"
            counts = {str(group): int(n) for group, n in of.items() if n}
            if counts:
                text = f"{told}, which makes intervals too narrow: {counted(counts)}"
                found.append(Remark(text, attribute, groups=frozenset(counts)))
    return found

"""Whose consent was withdrawn: a list beside the data, whose pictures are left out everywhere.

A line names a picture by its id or path, or a subject; ``# ...`` is a comment. The list of a data
set is what ``withdrawn`` in its card or its keys names, else the file ``withdrawn.txt`` beside the
card or in the root. So a list that came after a run is found by that run too.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from audit.core.characters import spelt
from audit.core.errors import InputError, sentence
from audit.data.packed import region
from audit.data.remarks import Remark

#: the list that is read though nobody names it
LIST: Final = "withdrawn.txt"
#: entries named in one sentence
_SHOWN: Final = 5


@dataclass(frozen=True)
class Withdrawn:
    """Who is left out of a data set.

    ``image_ids`` and ``cluster_ids`` of the pictures left out, in the manifest's order; of its
    ``entries``, ``unmatched`` name nothing there, and ``several`` name a picture of one subject and
    the pictures of another, all of which are left out.
    """

    file: Path
    entries: tuple[str, ...]
    image_ids: tuple[str, ...] = ()
    cluster_ids: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    several: tuple[str, ...] = ()

    def remark(self) -> Remark:
        """How many are left out; who they are is not said, since reports are read by others."""
        many = len(dict.fromkeys(self.cluster_ids))
        told = f"{len(self.image_ids):,} pictures of {many:,} subjects are left out, since consent "
        told += f"was withdrawn ({self.file.name})"
        entries = f"of its {len(self.entries):,} entries "
        if self.unmatched:
            told += f"; {entries}{len(self.unmatched):,} name nothing here: 'clip-audit check' says"
            told += " which"
        if self.several:
            told += f"; {entries}{len(self.several):,} name a picture and another subject, and "
            told += "both are left out"
        return Remark(told)

    def unmatched_in_words(self) -> str | None:
        """Which entries name nothing, for whoever keeps the list; None if all name something."""
        if not self.unmatched:
            return None
        some = ", ".join(f"'{spelt(entry)}'" for entry in self.unmatched[:_SHOWN])
        more = f" and {len(self.unmatched) - _SHOWN:,} more" if len(self.unmatched) > _SHOWN else ""
        return sentence(
            f"{self.file}: {len(self.unmatched):,} of {len(self.entries):,} entries name nothing "
            f"here: {some}{more}",
            "Write a picture's id, its path as in the manifest, or a subject, one a line",
        )


def list_beside(folder: Path, named: str | None) -> Path | None:
    """The list of a data set whose card or root is in this folder; None if there is none.

    Of a root that is a file, such as an archive, it lies beside that.

    Raises:
        InputError: one is named and isn't there.
    """
    folder = folder.parent if folder.is_file() else folder
    if named is None:
        return folder / LIST if (folder / LIST).is_file() else None
    path = folder / Path(named).expanduser()
    if not path.is_file():
        told = f"there is no list of withdrawn consent {path}"
        advice = "A relative path begins at the data card, or at the data set's root"
        raise InputError(told, advice)
    return path


def read(path: Path) -> tuple[str, ...]:
    """The entries of a list, each once.

    Raises:
        InputError: it can't be read, or isn't UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8", "Save it as UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}.") from error
    entries = (line.strip() for line in lines)
    return tuple(dict.fromkeys(e for e in entries if e and e != "#" and not e.startswith("# ")))


def found_in(table: pd.DataFrame, file: Path) -> Withdrawn:
    """Whom a list names in the table of a data set.

    Args:
        table: ``image_id``, ``path`` and ``cluster_id`` of every picture.
        file: the list.

    Raises:
        InputError: the list can't be read, or names everybody.
    """
    entries = read(file)
    named: dict[str, set[int]] = defaultdict(set)
    subjects: dict[str, set[int]] = defaultdict(set)
    for place, (image_id, path, cluster) in enumerate(
        zip(table["image_id"], table["path"], table["cluster_id"], strict=True)
    ):
        for name in {image_id, path, str(region(Path(path))[0]) if "#" in path else path}:
            named[_plain(name)].add(place)
        subjects[_plain(cluster)].add(place)
    places: set[int] = set()
    unmatched, several = [], []
    for entry in entries:
        picture, subject = named.get(_plain(entry), set()), subjects.get(_plain(entry), set())
        places |= picture | subject
        if not picture | subject:
            unmatched.append(entry)
        elif picture and subject and not (picture <= subject or subject <= picture):
            several.append(entry)
    if len(places) == len(table):
        told = f"{file}: names every picture of the data set, so nobody is left to ask about"
        raise InputError(told, "Use another data set")
    gone = table.iloc[sorted(places)]
    return Withdrawn(
        file, entries, (*gone["image_id"],), (*gone["cluster_id"],), (*unmatched,), (*several,)
    )


def named_by(entries: Sequence[str], known: Iterable[str]) -> frozenset[str]:
    """Which of these names a list has."""
    wanted = {_plain(entry) for entry in entries}
    return frozenset(name for name in known if _plain(name) in wanted)


def _plain(name: str) -> str:
    """A name without what differs between systems: separators, and forms of one sign."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")

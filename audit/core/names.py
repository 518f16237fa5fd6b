"""Names of tasks, suites and figures as names of files: no two names share a file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

#: file systems take 255 bytes, suffixes and temporary names included
_LONGEST: Final = 160
#: names that Windows keeps for devices, whatever ending follows
_DEVICES: Final = re.compile(r"con|prn|aux|nul|(com|lpt)\d", re.IGNORECASE)
#: how a name ends that was given its digest
_DIGESTED: Final = re.compile(r"(^|-)[0-9a-f]{12}$", re.IGNORECASE)


def slug(name: str) -> str:
    """A name as a file name of ASCII letters, digits, ``_``, ``+`` and ``-``; at most 173 of them.

    A name in ASCII keeps its words, so two may still be the same (``file_names``). To any other,
    and to what is too long or has a meaning of its own, its digest is added.
    """
    plain = re.sub(r"[^A-Za-z0-9_+-]+", "-", name)
    special = _DEVICES.fullmatch(plain) or _DIGESTED.search(plain) or not plain
    if name.isascii() and len(plain) <= _LONGEST and not special:
        return plain
    return f"{plain[:_LONGEST]}-{short_digest(name)}".lstrip("-")


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name for each of these names, in their order; no two are the same.

    The first has its slug, a later one with the same slug its digest too. Letters that differ in
    case only are one name on some file systems.
    """
    found: dict[str, str] = {}
    taken = set[str]()
    for name in dict.fromkeys(names):
        plain = slug(name)
        found[name] = f"{plain}-{short_digest(name)}" if plain.casefold() in taken else plain
        taken.add(found[name].casefold())
    return found


def short_digest(text: str) -> str:
    """Twelve hexadecimal digits that tell this text from any other."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

"""Units of work: parts of the pictures, fixed before any is embedded, and which of them are done.

    ROOT/embeddings/FINGERPRINT/units/PLAN/plan.json   what is to be done, and how much it is
    ROOT/embeddings/FINGERPRINT/units/PLAN/17.unit     that unit 17 was, written once it was

Neither names a picture. A unit counts as done while its file is whole, is of this plan, and has as
many pictures as the manifest gives the unit, whatever anybody reported.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from audit.core.errors import InputError
from audit.models.encoder import digest_of
from audit.store.shelf import private, sealed, unsealed, write

_UNIT: Final = re.compile(r"([0-9]+)/([0-9]+)")
#: about so many pictures are a unit where nobody says how many units there are; and at most so many
_PICTURES: Final = 500
_MOST: Final = 4096


@dataclass(frozen=True)
class Unit:
    """Part ``number`` of ``of`` parts of the pictures, the first being 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Unit:
        """A unit as it is written, '17/4096'.

        Raises:
            InputError: it is not written so, or there is no such part.
        """
        match = _UNIT.fullmatch(text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            told = f"unit: got '{text:.40}', which is no part of a whole"
            raise InputError(told, "Write the part and how many there are, as in 17/4096")
        return cls(int(match[1]), int(match[2]))

    def holds(self, image_id: str) -> bool:
        """Whether the picture of this id is one of it."""
        return _number(image_id, self.of) == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def _number(image_id: str, of: int) -> int:
    """Of which unit a picture is, by its id alone: the same whatever pictures there are besides."""
    digest = hashlib.blake2b(image_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % of + 1


def usual_count(pictures: int) -> int:
    """How many units so many pictures are where nobody says."""
    return min(max(1, -(-pictures // _PICTURES)), _MOST)


@dataclass(frozen=True)
class Plan:
    """How many pictures each unit has, and, by name, all else that decides what is to be done."""

    about: Mapping[str, str]
    pictures: tuple[int, ...]

    @classmethod
    def of(cls, about: Mapping[str, str], image_ids: Iterable[str], units: int) -> Plan:
        """The plan of these pictures in so many units.

        Raises:
            InputError: there is no such number of units.
        """
        if not 1 <= units <= 10**6:
            told = f"units: got {units:,}"
            raise InputError(told, "Allowed are 1 to 1,000,000", "Leave it out if unsure")
        found = Counter(_number(image_id, units) for image_id in image_ids)
        return cls(about, tuple(found[number] for number in range(1, units + 1)))

    @property
    def units(self) -> list[Unit]:
        """All units, in order."""
        return [Unit(number, len(self.pictures)) for number in range(1, len(self.pictures) + 1)]

    @cached_property
    def digest(self) -> str:
        """What tells it from any other plan."""
        return digest_of({"about": dict(self.about), "pictures": list(self.pictures)})


@dataclass(frozen=True)
class Done:
    """What a unit's file says: of which plan it is, and what became of its pictures."""

    plan: str
    unit: str
    embedded: int
    set_aside: int


class Ledger:
    """Which units of a plan are done, a file each."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Of all plans' folders in ``folder``, that of this plan, which is written down.

        Raises:
            InputError: it can't be written.
        """
        self.folder, self.plan = folder / plan.digest[:32], plan
        private(self.folder)
        if not (said := self.folder / "plan.json").exists():
            write(said, json.dumps(asdict(plan)).encode())

    def note(self, unit: Unit, embedded: int, set_aside: int) -> None:
        """Write that a unit is done.

        Raises:
            InputError: it can't be written.
        """
        done = Done(self.plan.digest, str(unit), embedded, set_aside)
        write(self._file(unit), sealed(json.dumps(asdict(done)).encode()))

    def missing(self) -> list[Unit]:
        """The units that are not done, as far as their files show."""
        return [unit for unit in self.plan.units if not self._is_done(unit)]

    def _is_done(self, unit: Unit) -> bool:
        content = unsealed(self._file(unit))
        if content is None:
            return False
        done = Done(**json.loads(content))
        counted = done.embedded + done.set_aside == self.plan.pictures[unit.number - 1]
        return counted and (done.plan, done.unit) == (self.plan.digest, str(unit))

    def _file(self, unit: Unit) -> Path:
        return self.folder / f"{unit.number}.unit"

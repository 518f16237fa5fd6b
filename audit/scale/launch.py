"""Have units done by others, and believe what lies there afterwards instead of what they say."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from audit.core.errors import AuditError, InputError, sentence
from audit.scale.units import Ledger, Unit

#: a unit that was lost with a worker is given to another one so many times
_AGAIN: Final = 1
_PACKAGE: Final = str(Path(__file__).parents[1])


class Work(Protocol):
    """What is done with a unit: an object that can be pickled. Twice is as good as once."""

    def __call__(self, unit: Unit) -> None:
        """Do it, and note it in the ledger."""


@dataclass(frozen=True)
class Report:
    """What is heard of a unit: ``problem`` if it may not be done, ``told`` what a user must know.

    ``refused``: the problem is a sentence for the user, and trying again is of no use.
    """

    unit: Unit
    problem: str = ""
    refused: bool = False
    told: tuple[str, ...] = ()


class Launcher(Protocol):
    """Whoever gives units to workers: another engine, whose order and silence mean nothing."""

    def __call__(self, units: Sequence[Unit], work: Work) -> Iterator[Report]:
        """Have ``work`` done with each unit; reports as they come, of some units perhaps none.

        Raises:
            InputError: it isn't installed or can't be reached.
        """


def have_done(
    ledger: Ledger, launch: Launcher, work: Work, progress: Callable[[int, int], None]
) -> list[Unit]:
    """Launch the units that are not done, and again those that then are not.

    Returns:
        The units that are not done yet, by their files.

    Raises:
        InputError: a worker refused a unit, with its sentence; what others did is kept.
    """
    total = len(ledger.plan.units)
    missing = ledger.missing()
    for _ in range(1 + _AGAIN):
        done = total - len(missing)
        progress(done, total)
        for report in launch(missing, work) if missing else ():
            if report.refused:
                raise InputError(sentence(f"unit {report.unit}: {report.problem}"))
            lost = [f"{report.problem}; it will be done again"] if report.problem else []
            for told in (*report.told, *lost):
                warnings.warn(f"unit {report.unit}: {told}", stacklevel=2)
            done += not report.problem
            progress(done, total)
        missing = ledger.missing()
    return missing


def answer(packed: bytes, unit: str) -> Report:
    """What a worker reports, having done pickled work with a unit."""
    part = Unit.parse(unit)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _unpacked(packed)(part)
            problem, refused = "", False
        except AuditError as error:
            problem, refused = str(error), True
        except Exception as error:  # the next worker may have better luck
            problem, refused = f"{type(error).__name__}: {error}", False
    own = tuple(str(each.message) for each in caught if each.filename.startswith(_PACKAGE))
    return Report(part, problem, refused, own)


@cache
def _unpacked(packed: bytes) -> Work:
    """The work, with whatever it has loaded for the unit before."""
    work: Work = pickle.loads(packed)
    return work

"""Units of work: what counts as done, and launchers that lose, repeat and lie."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from audit.core.errors import InputError
from audit.scale.launch import Report, Work, answer, have_done
from audit.scale.units import Ledger, Plan, Unit, usual_count

IDS = [f"{i}.png" for i in range(60)]


def ledger_in(folder: Path, units: int = 3, **about: str) -> Ledger:
    return Ledger(folder, Plan.of(about, IDS, units))


@dataclass(frozen=True)
class Noting:
    """Work that does nothing but note it, or raises what it is told to for some units."""

    ledger: Ledger
    raises: tuple[tuple[int, Exception], ...] = ()

    def __call__(self, unit: Unit) -> None:
        if error := dict(self.raises).get(unit.number):
            raise error
        self.ledger.note(unit, self.ledger.plan.pictures[unit.number - 1], 0)


def here(units: Sequence[Unit], work: Work) -> Iterator[Report]:
    """A launcher that does all in this process."""
    for unit in units:
        yield answer(pickle.dumps(work), str(unit))


def nobody(done: int, total: int) -> None:
    pass


def test_a_plan_counts_every_picture_once_and_knows_its_like() -> None:
    plan = Plan.of({"model": "a"}, IDS, 7)
    assert sum(plan.pictures) == 60
    held = [sum(map(unit.holds, IDS)) for unit in plan.units]
    assert held == list(plan.pictures)
    assert Plan.of({"model": "a"}, IDS[::-1], 7).digest == plan.digest
    others = [({"model": "b"}, IDS, 7), ({"model": "a"}, IDS[1:], 7), ({"model": "a"}, IDS, 6)]
    assert plan.digest not in {Plan.of(*other).digest for other in others}
    assert [usual_count(n) for n in (0, 1, 500, 501, 10**7)] == [1, 1, 1, 2, 4096]


@pytest.mark.parametrize("units", [0, -3, 10**7])
def test_no_such_number_of_units_is_a_sentence(units: int) -> None:
    with pytest.raises(InputError, match=r"^units: got .*\. Allowed are 1 to 1,000,000\."):
        Plan.of({}, IDS, units)


def test_a_unit_is_done_while_its_file_is_whole_of_this_plan_and_counts_all(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    first, second, third = ledger.plan.units
    work = Noting(ledger)
    work(first)
    work(first)  # twice is as good as once
    work(second)
    assert ledger.missing() == [third]
    ledger.note(second, ledger.plan.pictures[1] - 2, 1)  # a picture short
    assert ledger.missing() == [second, third]
    ledger.note(second, ledger.plan.pictures[1] - 1, 1)
    file = ledger.folder / "1.unit"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="damaged, so it was dropped"):
        assert ledger.missing() == [first, third]
    for unit in (first, third):
        work(unit)
    assert ledger.missing() == []
    # a file of another unit or plan is believed as little
    (ledger.folder / "3.unit").write_bytes((ledger.folder / "1.unit").read_bytes())
    other = ledger_in(tmp_path, model="another")
    for unit in other.plan.units:
        Noting(other)(unit)
    (ledger.folder / "2.unit").write_bytes((other.folder / "2.unit").read_bytes())
    assert ledger.missing() == [second, third]


def test_what_a_launcher_does_counts_and_not_what_it_says(tmp_path: Path) -> None:
    ledger, rounds = ledger_in(tmp_path, 5), []

    def unreliable(units: Sequence[Unit], work: Work) -> Iterator[Report]:
        rounds.append([unit.number for unit in units])
        for unit in reversed(units):
            if unit.number == 1:
                yield Report(unit)  # says so, and it was not done
            elif unit.number == 2:
                work(unit)  # is done, and nothing is heard of it
            elif unit.number == 3 and len(rounds) == 1:
                yield Report(unit, "its worker was lost")
            else:
                yield from here([unit, unit], work)

    told: list[tuple[int, int]] = []
    with pytest.warns(UserWarning, match="unit 3/5: its worker was lost; it will be done again"):
        left = have_done(ledger, unreliable, Noting(ledger), lambda *at: told.append(at))
    assert (rounds, left) == ([[1, 2, 3, 4, 5], [1, 3]], [Unit(1, 5)])
    assert told[0] == (0, 5)
    assert have_done(ledger, here, Noting(ledger), nobody) == []
    assert have_done(ledger, unreliable, Noting(ledger), nobody) == []
    assert len(rounds) == 2  # nothing is left to be launched


def test_a_sentence_of_a_worker_ends_the_work_and_any_other_trouble_does_not(
    tmp_path: Path,
) -> None:
    ledger = ledger_in(tmp_path)
    full = InputError("/cache: the embedding cache can't be written: No space left on device.")
    with pytest.raises(InputError, match=r"^unit 2/3: /cache: .*No space left on device\.$"):
        have_done(ledger, here, Noting(ledger, ((2, full),)), nobody)
    assert ledger.missing() == ledger.plan.units[1:]
    failing = Noting(ledger, ((3, MemoryError("no more")),))
    with pytest.warns(UserWarning, match=r"unit 3/3: MemoryError: no more; it will be done again"):
        assert have_done(ledger, here, failing, nobody) == ledger.plan.units[2:]


def test_a_worker_reports_what_it_warned_of(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    Noting(ledger)(Unit(1, 3))
    file = ledger.folder / "1.unit"
    file.write_bytes(b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none passes by itself
        said = answer(pickle.dumps(Missing(ledger)), "1/3")
    assert said == Report(Unit(1, 3), told=said.told)
    assert [told.partition(": ")[2] for told in said.told] == [
        "damaged, so it was dropped; what it held will be made again."
    ]
    told = replace(said, told=("a picture is odd",))
    with pytest.warns(UserWarning, match="^unit 1/3: a picture is odd$"):
        have_done(ledger, lambda units, work: iter([told]), Noting(ledger), nobody)


@dataclass(frozen=True)
class Missing:
    """Work that only looks which units are done."""

    ledger: Ledger

    def __call__(self, unit: Unit) -> None:
        self.ledger.missing()

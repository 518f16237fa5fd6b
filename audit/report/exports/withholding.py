"""Which groups a public copy withholds, so that no small one can be worked out from the rest.

Counts of groups add up: to everyone, and intersections to their attributes. A small group alone
withheld could be subtracted back. So others are withheld beside it, as few pictures as possible,
until *another table of counts agrees with everything published in which the small group is not
small*. Such a table is looked for by linear programming, over the cells of all attributes crossed.

The same holds of two copies, of a run before and after one more subject: what one of them withholds
must not be published by the other. So groups that one subject more or fewer would make small are
withheld, too, and protect nobody; and of protectors between which one subject decides, all are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, identity, vstack

from audit.core.tables import UNKNOWN

#: attribute and group
Cell: TypeAlias = tuple[str, str]
#: crossed cells over which tables are looked for; beyond, intersections are withheld whole
_MOST: Final = 5000
_CROSS: Final = " x "


@dataclass(frozen=True)
class Fewest:
    """Fewer pictures, or fewer subjects, than this make a group small.

    ``of_one`` is the most pictures that there are of one subject.
    """

    pictures: int
    subjects: int
    of_one: int = 1

    def small(self, pictures: int, subjects: int) -> bool:
        """Whether a group of that size is small; one without anybody is not."""
        return 0 < pictures < self.pictures or 0 < subjects < self.subjects

    def near(self, pictures: int, subjects: int) -> bool:
        """Whether a group is small, or would be with one subject fewer."""
        return 0 < pictures < self.pictures + self.of_one or 0 < subjects < self.subjects + 1


def withheld(
    pictures: Mapping[Cell, int],
    subjects: Mapping[Cell, int],
    fewest: Fewest,
    already: Iterable[Cell] = (),
) -> set[Cell]:
    """The groups to withhold: the small ones, and others that protect them.

    For each small group of fewer than ``fewest.pictures`` there is then a table of counts, equal in
    all that is published, in which it has that many or more. A group small by its subjects alone
    may have ``fewest.pictures`` pictures more than it has. It does not show what may be guessed
    from a rate of 0 or 1 of a group that is published.

    Args:
        pictures: how many of each group, (attribute, group); intersections are 'a x b'. Without
            those of nobody, whose absence everybody sees.
        subjects: the same of subjects.
        fewest: what is small.
        already: groups that are withheld in any case.
    """
    hidden = {cell for cell in already if cell in pictures}
    for component in _components(pictures):
        mine = {cell: n for cell, n in pictures.items() if cell[0] in component}
        sizes = {cell: (n, subjects.get(cell, 0)) for cell, n in mine.items()}
        small = {cell for cell in mine if fewest.small(*sizes[cell])}
        if small:
            hidden |= small | _complement(mine, small, fewest)
        hidden |= {cell for cell in mine if fewest.near(*sizes[cell])}
    return hidden


def _components(cells: Iterable[Cell]) -> list[set[str]]:
    """Attributes that some intersection ties together, each set with its intersections."""
    names = {attribute for attribute, _ in cells}
    tied: list[set[str]] = []
    for name in sorted(names):
        parts = {name, *(p for p in name.split(_CROSS) if p in names)}
        joined = [group for group in tied if group & parts]
        tied = [group for group in tied if not group & parts]
        tied.append(parts.union(*joined))
    return tied


def _complement(cells: Mapping[Cell, int], small: set[Cell], fewest: Fewest) -> set[Cell]:
    """Groups beside the small ones until every one of these might as well be large."""
    tables = _Tables.of(cells)
    if tables is None:  # too many to look through
        single = {c: n for c, n in cells.items() if _CROSS not in c[0]}
        crossed = cells.keys() - single.keys()
        return crossed | _complement(single, small - crossed, fewest)
    hidden: set[Cell] = set()
    # each for itself, so that no order of counts decides
    for cell in small:
        goal = fewest.pictures + (cells[cell] if cells[cell] >= fewest.pictures else 0)
        hidden |= tables.moved(cell, min(goal, tables.total), small, 2 * fewest.of_one)
    return hidden


@dataclass(frozen=True)
class _Tables:
    """All tables of crossed counts: ``member`` (cells, crossed), what each published count sums."""

    names: Sequence[Cell]
    counts: NDArray[np.float64]
    member: csr_array
    total: int

    @classmethod
    def of(cls, cells: Mapping[Cell, int]) -> _Tables | None:
        parts = sorted({p for attribute, _ in cells for p in _parts(attribute, cells)})
        groups = {p: [g for a, g in cells if a == p] for p in parts}
        if np.prod([float(len(g)) for g in groups.values()]) > _MOST:
            return None
        crossed = list(itertools.product(*groups.values()))
        names = list(cells)
        rows = [_members(cell, parts, crossed) for cell in names]
        total = max(sum(n for (a, _), n in cells.items() if a == p) for p in parts)
        counts = np.array([cells[cell] for cell in names], dtype=float)
        tables = cls(names, counts, csr_array(np.array(rows, dtype=float)), total)
        return tables._without_nobody(parts, crossed)

    def _without_nobody(self, parts: Sequence[str], crossed: Sequence[Sequence[str]]) -> _Tables:
        """Crossed cells of an intersection that isn't listed are known to be empty."""
        keep = np.ones(len(crossed), bool)
        for attribute in {a for a, _ in self.names if len(_parts(a, self.names)) > 1}:
            at = [i for i, (a, _) in enumerate(self.names) if a == attribute]
            keep &= np.asarray(self.member[at].sum(axis=0)).ravel() > 0
        return _Tables(self.names, self.counts, csr_array(self.member[:, keep]), self.total)

    def moved(self, target: Cell, goal: int, hidden: set[Cell], close: int) -> set[Cell]:
        """The groups whose counts change in the nearest tables in which the target has ``goal``.

        All tables whose cost could be the least were counts of groups ``close`` to what they are.
        """
        found: set[Cell] = set()
        while more := self._nearest(target, goal, hidden, found, close) - found:
            found |= more
        return found

    def _nearest(
        self, target: Cell, goal: int, hidden: set[Cell], found: set[Cell], close: int
    ) -> set[Cell]:
        known = [i for i, name in enumerate(self.names) if name not in hidden]
        at, crossed = list(self.names).index(target), self.member.shape[1]
        everyone = csr_array(np.ones((1, crossed)))
        fixed: Any = vstack([self.member[known], everyone])
        free: Any = vstack([identity(len(known)), csr_array((1, len(known)))])
        equal = hstack([fixed, -free, free], format="csr")
        counts = np.append(self.counts[known], self.total)
        least = hstack([-self.member[[at]], csr_array((1, 2 * len(known)))], format="csr")
        # fewest pictures withheld; an attribute whole costs more than its intersections
        dearer = np.array([close * (self.names[i] in found) for i in known])
        cost = np.concatenate([np.zeros(crossed), *[1 + self.counts[known] + dearer] * 2])
        solved = (
            scipy.optimize.linprog(cost, least, [-goal], equal, counts, method="highs")
            if cost.size
            else None
        )
        if solved is None or solved.x is None:  # nobody else is there to hide among
            return set(self.names)
        moves = solved.x[crossed:].reshape(2, -1).sum(axis=0) > 1e-6
        return {self.names[i] for i, moves_too in zip(known, moves, strict=True) if moves_too}


def _parts(attribute: str, cells: Iterable[Cell]) -> list[str]:
    """The attributes that an intersection crosses; an attribute alone is its own."""
    names = {a for a, _ in cells}
    parts = attribute.split(_CROSS)
    return parts if len(parts) > 1 and names.issuperset(parts) else [attribute]


def _members(cell: Cell, parts: Sequence[str], crossed: Sequence[Sequence[str]]) -> list[bool]:
    """Which crossed cells a group is made of."""
    attribute, group = cell
    if attribute in parts:
        at = parts.index(attribute)
        return [values[at] == group for values in crossed]
    places = [parts.index(part) for part in attribute.split(_CROSS)]
    chosen = [[values[at] for at in places] for values in crossed]
    if group == UNKNOWN:
        return [UNKNOWN in values for values in chosen]
    return [UNKNOWN not in values and _CROSS.join(values) == group for values in chosen]


def withheld_of(counted: pd.DataFrame, fewest: Fewest, already: frozenset[Cell]) -> frozenset[Cell]:
    """The groups withheld of a table of counts: attribute, group, n and subjects of each."""
    if counted.empty:
        return already
    some = counted[counted["n"] > 0]
    cells = list(zip(some["attribute"], some["group"], strict=True))
    pictures = dict(zip(cells, map(int, some["n"]), strict=True))
    subjects = dict(zip(cells, map(int, some["subjects"]), strict=True))
    return already | withheld(pictures, subjects, fewest, already)

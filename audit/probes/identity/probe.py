"""Verification: do two pictures show one person, by their embeddings, and for whom does it fail?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, Field, model_validator

from audit.core.arrays import Floats, Integers
from audit.core.errors import InputError, sentence
from audit.core.rows import Array
from audit.core.tables import MEASURES, PAIRS
from audit.data.dataset import Dataset
from audit.measure.measures import measured
from audit.probes.identity.names import AT_ONCE, FEWEST, MATED, NEAREST, SENSITIVE
from audit.probes.identity.rows import Half
from audit.probes.identity.watch_list import WatchList, roles, rows_of
from audit.probes.kit.base import Design, Probe, Seen, pictures_having, require_column
from audit.stats import faces as face_pairs
from audit.stats.faces import Faces, Tile


def _falling(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(set(values), reverse=True))


Targets = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...],
    Field(min_length=1),
    AfterValidator(_falling),
]


class Identity(Probe):
    """Says 'one person' of two pictures whose embeddings are at least as similar as a threshold.

    The threshold is fixed on one half of the subjects, chosen by hash, so that a target share of
    their pairs of two people match; everything is measured on the other half
    (``audit.stats.verification``). These are rates of failing to tell people apart, or to hold
    them together; that they are low recommends the model for nothing.
    """

    asks: ClassVar[str] = (
        "Of whom do the embeddings fail to tell two people apart, or to hold one person's pictures "
        "together?"
    )
    later: ClassVar = frozenset({"watch_list"})  # its name is in plans sealed before
    emits: ClassVar = PAIRS
    whole: ClassVar[str] = (
        "every picture is compared with those of all other people; similarities are held in tiles "
        "of at most 64 MB, rows kept are one a picture (its nearest impostor) and one a pair of "
        "pictures of one person, m (m - 1) / 2 of a person with m pictures"
    )

    kind: Literal["identity"] = "identity"
    targets: Targets = Field((0.01, 0.001), description="shares of impostor pairs that may match")
    sitting: str | None = Field(
        None, description="the column that says on which occasion a picture was taken"
    )
    apart: bool = Field(False, description="compare one person's pictures of two sittings only")
    leave_out: Mapping[str, str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="column: value or values; pictures that do not show their subject as it is",
    )
    one_each: bool = Field(
        False,
        description="of pairs of two people, take one picture a person, drawn by lot; where few "
        "people have most of the pictures, all of them say little more of people",
    )
    pairs: int = Field(
        10_000_000, ge=1000, description="of two people, at most so many of every two groups"
    )

    watch_list: WatchList | None = Field(
        None, description="pictures that people are looked for on, one against all (1:N)"
    )

    @model_validator(mode="after")
    def _knows_sittings(self) -> Self:
        if self.apart and self.sitting is None:
            told = "'apart' takes pairs of two sittings, and no column says which is which"
            raise ValueError(sentence(told, "Name it in 'sitting', or leave 'apart' out"))
        return self

    @property
    def usual_task(self) -> str:
        """Identity."""
        return self.kind

    def sensitive(self) -> Iterator[str]:
        """To recognise people is asked only where it is meant."""
        yield SENSITIVE

    def pictures(self, dataset: Dataset) -> tuple[str, ...]:
        """Those that ``only`` names, less those that ``leave_out`` names.

        Raises:
            InputError: either names a column or value that isn't there, or nothing is left.
        """
        table = dataset.table.set_index("image_id")
        kept = table.index.isin(super().pictures(dataset))
        for left_out in pictures_having(dataset, self.leave_out, f"probe '{self.kind}': leave_out"):
            kept &= ~left_out
        if not kept.any():
            told = f"probe '{self.kind}': leave_out: no picture is left"
            raise InputError(told, "Leave fewer out")
        return tuple(table.index[kept].astype(str))

    def compared(self) -> dict[str, tuple[str, ...]]:
        """The columns of sittings and of what is left out."""
        return dict.fromkeys([*self.leave_out, *([self.sitting] if self.sitting else [])], ())

    def resolve(self, dataset: Dataset) -> None:
        """Check the column of sittings, and that there are people to compare.

        Raises:
            InputError: no such column, or it is empty for some picture; fewer than four subjects.
        """
        keys = list(self.pictures(dataset))
        table = dataset.table.set_index("image_id").loc[keys]
        if self.sitting is not None:
            where = f"probe '{self.kind}': sitting"
            require_column(dataset, self.sitting, where)
            blank = int(table[self.sitting].isna().sum())
            if blank:
                told = f"{where}: column '{self.sitting}' is empty for {blank} of {len(keys)}"
                advice = "Fill it in, ask 'only' of the others, or leave 'sitting' out"
                raise InputError(f"{told} pictures", advice)
        subjects = table["cluster_id"].nunique()
        if subjects < FEWEST:
            told = f"probe '{self.kind}': the pictures show {subjects} subject"
            told += "" if subjects == 1 else "s"
            why = f"half fix the threshold and half are measured: at least {FEWEST} are needed"
            raise InputError(f"{told}, and {why}", "Ask about more people")
        if self.watch_list is not None:
            roles(self.watch_list, dataset, keys, self.task)

    # ---- one row a pair --------------------------------------------------------------------------

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """All pairs of one person's pictures, and each picture's nearest among other people.

        ``distance`` is 1 less the cosine similarity. Of photographs the nearest impostors are not
        written down: who looks like whom would be a search for persons.
        """
        order = np.argsort(np.array(seen.images.keys, dtype=str), kind="stable")
        seen = seen.only([seen.images.keys[i] for i in order])
        names = seen.column("cluster_id").astype(str).to_numpy()
        subjects = np.unique(names, return_inverse=True)[1]
        parts = [self._mated(seen, subjects)]
        if not seen.dataset.card.photographs:
            parts.append(self._nearest(seen, subjects))
        table = pd.concat(parts, ignore_index=True)
        table = table.assign(probe=self.kind, task=self.task, condition="cosine")
        return PAIRS.conform(table.assign(delta=np.nan, step=np.nan, flipped=False))

    def _mated(self, seen: Seen, subjects: Integers) -> pd.DataFrame:
        found = [np.empty((2, 0), np.int64)]
        for subject in np.flatnonzero(np.bincount(subjects) > 1):
            at = np.flatnonzero(subjects == subject)
            found.append(at[np.stack(np.triu_indices(at.size, 1))])
        i, j = np.concatenate(found, axis=1)
        vectors = seen.images.vectors
        apart = 1 - np.einsum("nd,nd->n", vectors[i], vectors[j], dtype=np.float64)
        changed = np.full(i.size, "sittings not known", dtype=object)
        if self.sitting is not None:
            sitting = seen.column(self.sitting).astype(str).to_numpy()
            changed = np.where(sitting[i] == sitting[j], "one sitting", "two sittings")
        return _rows_of(seen, i, j, MATED, changed, apart)

    def _nearest(self, seen: Seen, subjects: Integers) -> pd.DataFrame:
        vectors = seen.images.vectors
        nearest, similarity = np.empty(len(vectors), np.int64), np.empty(len(vectors))
        step = max(AT_ONCE // len(vectors), 1)
        for start in range(0, len(vectors), step):
            rows = slice(start, min(start + step, len(vectors)))
            block = vectors[rows] @ vectors.T
            block[subjects[rows, np.newaxis] == subjects] = -np.inf
            nearest[rows] = block.argmax(axis=1)
            similarity[rows] = block.max(axis=1)
        at = np.flatnonzero(np.isfinite(similarity))
        changed = np.full(at.size, "another person", dtype=object)
        return _rows_of(seen, at, nearest[at], NEAREST, changed, 1 - similarity[at])

    # ---- what is measured ------------------------------------------------------------------------

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Thresholds, error rates by group, and how far the worst group is from all of them.

        ``condition`` names the target FMR. For every attribute: the false match rate of two people
        of one group (``label`` WITHIN, group and other alike) and of every two groups (ACROSS), the
        false non-match rate of each group; the worst group's rate over that of all groups' pairs,
        with bounds that hold for all groups and targets at once, beside what dealing whole
        subjects to the groups by chance gives; pairs within groups over pairs across them; points
        of a DET curve. ``n`` and ``events`` are pairs.
        """
        half = Half(self, seen, design)
        found = [*half.thresholds(), *half.of_everyone()]
        for attribute in design.groups.attributes:
            found += half.of_attribute(attribute)
        table = measured(found, probe=self.kind, task=self.task, level=design.confidence.level)
        if self.watch_list is None:
            return table
        return MEASURES.joined([table, rows_of(self.watch_list, half)])

    def faces(self, seen: Seen, codes: Integers, groups: int, strangers: bool = False) -> Faces:
        """The pictures of known group: all, or those of which two people's are compared."""
        names = seen.column("cluster_id").astype(str).to_numpy()
        sittings = None if self.sitting is None else seen.column(self.sitting).astype(str)
        if strangers and self.one_each:
            codes = np.where(_one_each(seen.images.keys, names), codes, -1)
        return face_pairs.faces(seen.images.vectors, names, codes, groups, sittings)

    def among(self, people: Faces, seed: int) -> list[Tile] | None:
        """All pairs, or a sample of them where two groups have too many."""
        if not self.samples(people):
            return None
        return face_pairs.sampled_tiles(people, self.pairs, seed)

    def samples(self, people: Faces) -> bool:
        """Whether some two groups have more pairs than are looked at."""
        pictures = np.bincount(people.group, np.diff(people.starts), 1)
        return bool(pictures.max() ** 2 > self.pairs)


def _one_each(keys: Sequence[str], names: Array) -> NDArray[np.bool_]:
    """One picture of each person, that of the lowest digest of its id."""
    digests = [hashlib.blake2b(key.encode(), digest_size=8).hexdigest() for key in keys]
    order = np.lexsort((np.array(digests), names))
    first = order[np.append(True, names[order][1:] != names[order][:-1])]
    chosen = np.zeros(len(keys), bool)
    chosen[first] = True
    return chosen


def _rows_of(
    seen: Seen, i: Integers, j: Integers, label: str, changed: ArrayLike, distance: Floats
) -> pd.DataFrame:
    keys = np.array(seen.images.keys, dtype=object)
    return pd.DataFrame(
        {
            "image_id": keys[i],
            "other_id": keys[j],
            "label": label,
            "changed": changed,
            "distance": distance,
        }
    )

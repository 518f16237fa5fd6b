"""Names of millions of pictures, in few bytes each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit.core.arrays import Integers
from audit.models.encoder import AT_ONCE


class Names(Sequence[str]):
    """Texts in order, ten bytes each and not the sixty of an object; equal to any such sequence."""

    def __init__(self, texts: pa.LargeStringArray) -> None:
        """No text is missing."""
        self._texts = texts

    @classmethod
    def of(cls, texts: Iterable[str] | pa.Array) -> Sequence[str]:
        """These texts; those that are none in UTF-8 are kept as they are."""
        if isinstance(texts, Names):
            return texts
        given = texts if isinstance(texts, pa.Array | Sequence) else tuple(texts)
        try:
            return cls(pa.array(given, pa.large_string()))
        except UnicodeEncodeError:
            return tuple(given)

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return Names(self._texts[at])
        return str(self._texts[at].as_py())

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self._texts[start : start + AT_ONCE].to_pylist()

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self._find(text) >= 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        others = Names.of(other)
        if isinstance(others, Names):
            return bool(self._texts.equals(others._texts))
        return False

    __hash__ = None  # type: ignore[assignment]

    def index(self, text: str, *bounds: int) -> int:
        """The place of a text that is there."""
        found = self._find(text)
        if found < 0 or bounds:
            return super().index(text, *bounds)
        return found

    def _find(self, text: str) -> int:
        try:
            return int(pc.index(self._texts, pa.scalar(text, pa.large_string())).as_py())
        except UnicodeEncodeError:
            return -1

    @property
    def different(self) -> int:
        """How many there are if those that come again count once."""
        return int(pc.count_distinct(self._texts).as_py())

    def places(self, wanted: Sequence[str]) -> Integers:
        """The place of each of these texts, -1 where it isn't there."""
        others = Names.of(wanted)
        if not isinstance(others, Names):
            place = {text: i for i, text in enumerate(self)}
            return np.array([place.get(text, -1) for text in wanted], dtype=np.int64)
        if others == self:
            return np.arange(len(self))
        found = pc.index_in(others._texts, value_set=self._texts)
        return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)

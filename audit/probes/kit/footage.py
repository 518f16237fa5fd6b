"""Poor footage beside the pictures as they are: a camera, and what corrupts what it sees."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import product
from typing import Final, Self

from pydantic import BaseModel, Field, model_validator

from audit.core.errors import InputError, sentence
from audit.data.alterations import Alteration
from audit.data.corruptions import camera, corruption
from audit.data.yamlfile import FieldError

#: of each corruption, where a suite names none
SEVERITIES: Final = (1, 3, 5)
#: what corrupted pictures are to be held against
CAMERA: Final = "plain camera"
#: keys of a probe that came after plans were sealed
FOOTAGE_KEYS: Final = frozenset({"corruptions", "severities"})


def degradations(names: Iterable[str], severities: Iterable[int]) -> dict[str, Alteration]:
    """Each corruption at each severity, rising, by condition: ``fog 3``.

    Raises:
        InputError: no corruption, or no severity of it, is called so.
    """
    pairs = product(names, sorted(severities))
    return {f"{name} {severity}": corruption(name, severity) for name, severity in pairs}


class InPoorFootage(BaseModel):
    """What a probe takes that also asks about the same pictures in poor footage."""

    corruptions: tuple[str, ...] = Field(
        (), description="poor footage that the same is asked about, such as [fog]"
    )
    severities: tuple[int, ...] = Field(
        (), description="of each corruption, from 1 (barely visible) to 5; 1, 3 and 5 if left out"
    )

    @model_validator(mode="after")
    def _can_be_seen(self) -> Self:
        if self.severities and not self.corruptions:
            raise ValueError(sentence("'severities' of no corruption", "Name 'corruptions' too"))
        try:
            _ = self.footage
        except InputError as error:
            raise FieldError(str(error), "corruptions") from error
        return self

    @cached_property
    def footage(self) -> dict[str, Alteration]:
        """What else the same pictures are seen through, by condition: a camera, then corruptions.

        Raises:
            InputError: no corruption, or no severity of it, is called so.
        """
        found = degradations(self.corruptions, self.severities or SEVERITIES)
        return {CAMERA: camera(), **found} if found else {}

    def alterations(self) -> tuple[Alteration, ...]:
        """What the pictures are also seen through."""
        return tuple(self.footage.values())

"""PHASE: people in pictures of Google's Conceptual Captions, with perceived attributes.

Garcia et al. 2023, arXiv 2304.02828, github.com/noagarcia/phase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, Literal, cast

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.sources.base import Cut, Rows, aside, publication
from audit.data.sources.files import locate, read_json

#: no value has two of three annotators; annotators chose 'unsure'
_DISAGREEMENT: Final = "disagreement"
_CONTEXT: Final = ("activity", "emotion")


class PHASE(Cut):
    """PHASE's people, each cut out by a region; a value has two of three annotators.

    The list of majorities is read, or the list of all annotations, whose majority is taken here.
    Save each picture under its key in the list, in any folder below root.
    """

    split: Literal["train", "val"] = Field("val", description="train or val")

    published: ClassVar = publication(__file__)
    parts: ClassVar = "split"
    grain: ClassVar = "person"

    def read(self) -> Rows:
        """A region a person, with the majority of annotators."""
        kinds = self.list_name, self.list_name.replace("regions", "all")
        names = [f"{folder}{name}" for name in kinds for folder in ("", "phase_annotations/")]
        listed = self.file(*names)
        held = cast(dict[str, object], read_json(listed, dict))
        places = dict(zip(held, locate(self.root, list(held)), strict=True))
        rows, lacking = [], []
        for picture, key, said in _people(held):
            person, where = f"{picture} {key}", f"{listed}: '{picture}': '{key}'"
            if not said.get("region") or not said.get("annotations"):
                lacking.append(person)
                continue
            region = f"{places[picture]}#{_region(said['region'], where)}"
            row = {"picture": picture, "person": person, "region": region}
            rows.append(row | _voted(said["annotations"], where))
        table = pd.DataFrame(rows, dtype=object)
        nouns = [f"the person '{row['person']}'" for row in rows]
        told = "which are people without a region or without annotations"
        remarks = aside(told, lacking)
        return Rows(Manifest(table), listed, self.root, remarks, len(lacking), nouns)


def _people(held: Mapping[str, object]) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    """Picture, key and entry of each person; other keys, as 'caption', are no person."""
    for picture, said in held.items():
        for key, person in said.items() if isinstance(said, Mapping) else ():
            if str(key).startswith("person"):
                yield picture, str(key), person if isinstance(person, Mapping) else {}


def _region(sides: object, where: str) -> str:
    try:
        left, top, right, low = (float(side) for side in cast(list[float], sides))
    except (TypeError, ValueError) as error:
        told = f"{where} has the region {sides}"
        raise InputError(told, "It holds left, top, right and low") from error
    if not (right > left and low > top):
        told = f"{where} has the region {sides}"
        raise InputError(told, "It holds left, top, right and low, each end the larger")
    return f"xywh={left:.2f},{top:.2f},{right - left:.2f},{low - top:.2f}"


def _voted(said: object, where: str) -> dict[str, str]:
    """Values of a person: as they are in the list, or what two of three annotators say."""
    each = [one for one in (said if isinstance(said, list) else [said]) if isinstance(one, Mapping)]
    found = {}
    for name in (*PHASE.facts.attributes, *_CONTEXT):
        values = [str(one[name]).replace("_", " ").strip() for one in each if one.get(name)]
        if not values and name in PHASE.facts.attributes:
            raise InputError(f"{where} has no {name}", "Get the list again")
        for value, votes in Counter(values).most_common(1):
            found[name] = value if votes > len(each) / 2 else _DISAGREEMENT
    return found

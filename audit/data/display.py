"""How attributes and their groups are said in sentences: 'people in yellow clothes'.

A data card's ``display:`` says it, else ``label_sets/display.yaml`` by the attribute's name, else
the names as they are, in quotation marks. These are words to be read: they decide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from audit.core.resources import shipped
from audit.core.rows import Fields
from audit.core.tables import EVERYONE, REST, UNKNOWN
from audit.data.yamlfile import load_yaml, validate

_CROSS: Final = " x "
#: who is told of where a phrase has no noun of its own
_PEOPLE: Final = "people "
_PLACE: Final = "{}"


class Display(BaseModel):
    """How one attribute and its groups are said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="the attribute in a sentence: clothing colour")
    people: str = Field("", description="a group in a sentence: people in {} clothes")
    numbers: str = Field("", description="the same of a group with a number: people aged {}")
    groups: Mapping[str, str] = Field({}, description="who a group is, where that says it badly")

    @field_validator("people", "numbers")
    @classmethod
    def _has_a_place(cls, said: str) -> str:
        if said and said.count(_PLACE) != 1:
            raise ValueError(f"got '{said}'; write '{{}}' once, where the group's word goes")
        return said


@lru_cache(maxsize=1)
def _common() -> dict[str, Display]:
    path = shipped("label_sets") / "display.yaml"
    return {name: validate(Display, d, f"{path} {name}") for name, d in load_yaml(path).items()}


@dataclass(frozen=True)
class Names:
    """How the attributes of a run's data set, and their groups, are said."""

    declared: Mapping[str, Display]

    @classmethod
    def of(cls, attributes: Mapping[str, Fields]) -> Names:
        """From what ``dataset.json`` says of each attribute; runs of before say no ``display``."""
        given = {name: facts.get("display") for name, facts in attributes.items()}
        return cls({name: validate(Display, d) for name, d in given.items() if d})

    def attribute(self, name: str) -> str:
        """An attribute or intersection: 'hair style', 'gender and hair style'."""
        if name == EVERYONE:
            return name
        return " and ".join(self._display(part).name or _said(part) for part in name.split(_CROSS))

    def people(self, attribute: str, group: str) -> str:
        """Who a group is: 'people in yellow clothes', 'men with long hair', 'everyone else'."""
        if group in (EVERYONE, REST, ""):
            return "everyone else" if group == REST else EVERYONE
        parts, groups = attribute.split(_CROSS), group.split(_CROSS)
        if len(parts) != len(groups):  # no group of this intersection
            parts, groups = [attribute], [group]
        told = [self._one(*both) for both in zip(parts, groups, strict=True)]
        nouns = [t for t in told if not t.startswith(_PEOPLE)]
        more = " and ".join(t.removeprefix(_PEOPLE) for t in told if t.startswith(_PEOPLE))
        first, *others = nouns or [_PEOPLE.strip()]
        return " ".join([first, *(f"({other})" for other in others), *([more] if more else [])])

    def short(self, attribute: str, group: str) -> str:
        """The same beside a number: 'in yellow clothes', 'men with long hair'."""
        return self.people(attribute, group).removeprefix(_PEOPLE)

    def _one(self, attribute: str, group: str) -> str:
        display = self._display(attribute)
        name = display.name or _said(attribute)
        if group == UNKNOWN:
            return f"people whose {name} is not known"
        whole = display.groups.get(group) or display.groups.get(group.casefold())
        said = (display.numbers if re.search(r"\d", group) else "") or display.people
        if whole or not said:
            return whole or f"people whose {name} is ‘{group}’"
        return said.replace(_PLACE, _ranged(group))

    def _display(self, attribute: str) -> Display:
        if attribute in self.declared:
            return self.declared[attribute]
        plain, common = _said(attribute).casefold(), _common()
        return common.get(plain) or common.get(plain.removesuffix(" group")) or Display()


def _said(name: str) -> str:
    """A column's name as words: clothing_colour is 'clothing colour'."""
    return " ".join(re.split(r"[\s_.-]+", name.strip("_.- "))) or name


def _ranged(group: str) -> str:
    """A range of numbers as it is read: '30 to 49', '35 or more', 'under 18'."""
    told = re.sub(r"^(\d[\d.]*)\s*[-–]\s*(\d[\d.]*)$", r"\1 to \2", group)
    told = re.sub(r"^(\d[\d.]*)\s*\+$", r"\1 or more", told)
    told = re.sub(r"^(?:>=|≥)\s*(\d[\d.]*)$", r"\1 or more", told)
    return re.sub(r"^([<>])\s*(?=\d)", lambda m: "under " if m[1] == "<" else "over ", told)

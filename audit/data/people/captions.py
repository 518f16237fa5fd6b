"""Captions of rendered people: a small grammar over a row, drawn afresh every epoch.

What a caption says of a picture is true of the row. Planted words are added by the planter.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random

import pandas as pd
from pydantic import BaseModel, ConfigDict, PositiveFloat, RootModel

from audit.core.resources import bundled
from audit.data.articles import vowel_sound
from audit.data.people.planted import Planter
from audit.data.yamlfile import load_yaml, validate

ATTRIBUTES = (
    "gender",
    "age_group",
    "ancestry",
    "hair_style",
    "hair_colour",
    "clothing_colour",
    "clothing_type",
    "background",
)
_MARK = re.compile(r"\{a\} +(?=([\w-]+))")
_GAP = re.compile(r" {2,}")


class Wordings(RootModel[dict[str, PositiveFloat]]):
    """Texts with weights; ``pick`` takes one by a number between 0 and 1."""

    model_config = ConfigDict(frozen=True)

    @cached_property
    def _steps(self) -> tuple[list[str], list[float]]:
        total = sum(self.root.values())
        return list(self.root), [part / total for part in accumulate(self.root.values())]

    def pick(self, rng: Random) -> str:
        """One text, drawn by weight; takes one number from ``rng``."""
        texts, steps = self._steps
        return texts[min(bisect_right(steps, rng.random()), len(texts) - 1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AgeWords(_Part):
    """How an age group is said: before a noun, or as the noun."""

    adjectives: Wordings
    nouns: Wordings


class GenderWords(_Part):
    """How a gender is said: before a planted noun, or as the noun, for adults and for children."""

    adjective: str
    adult: Wordings
    child: Wordings


class AncestryWords(_Part):
    """How an ancestry setting of the generator is said: before the noun or after it."""

    adjectives: Wordings
    phrase: str


class Grammar(_Part):
    """The wordings of ``captions.yaml`` and how often each is used."""

    name: str
    version: int
    purpose: str
    source: str
    templates: Wordings
    alone: Wordings
    keep: dict[str, float]
    one_attribute: float
    planted_only: float
    planted_head: float
    thing_only: float
    person: Wordings
    age_group: dict[str, AgeWords]
    gender: dict[str, GenderWords]
    ancestry: dict[str, AncestryWords]
    ancestry_as_phrase: float
    hair_style: dict[str, Wordings]
    hair_colour: Wordings
    hair_colours: dict[str, str]
    clothing_colour: Wordings
    clothing_type: Wordings
    clothing_types: dict[str, str]
    wearing: Wordings
    background: Wordings


def load_grammar(path: Path | None = None) -> Grammar:
    """Read a caption grammar; without a path, the one that comes with the tool."""
    path = path or bundled("training") / "captions.yaml"
    return validate(Grammar, load_yaml(path), path.name)


def with_articles(text: str) -> str:
    """Put "a" or "an" for every ``{a}``, by the letter that follows, and close double spaces.

    >>> with_articles("{a} older woman with {a}  ponytail")
    'an older woman with a ponytail'
    """
    text = _GAP.sub(" ", text)
    return _MARK.sub(lambda found: f"{_article(found[1])} ", text)


@lru_cache(maxsize=4096)
def _article(word: str) -> str:
    return "an" if vowel_sound(word) else "a"


class CaptionWriter:
    """Writes captions of rows; the same seed, epoch, row and copy give the same caption."""

    def __init__(
        self, rows: pd.DataFrame, planter: Planter, grammar: Grammar | None = None, seed: int = 0
    ) -> None:
        facts = rows[list(ATTRIBUTES)].astype(str)
        self._facts = [
            dict(zip(ATTRIBUTES, row, strict=True)) for row in facts.itertuples(index=False)
        ]
        self._planter, self._seed = planter, seed
        self._words = grammar or load_grammar()

    def caption(self, row: int, epoch: int, copy: int = 0) -> str:
        """One caption of row ``row``: a template, what it says of the picture, planted words."""
        planting = Random(f"planted/{self._seed}/{epoch}/{row}/{copy}")
        numbers = [planting.random() for _ in range(self._planter.slots)]
        planted, unsaid = self._planter.draw(row, numbers)
        rng = Random(f"visible/{self._seed}/{epoch}/{row}/{copy}")
        facts = self._facts[row]
        names = self._said(rng, bool(planted)) - unsaid
        said = {name: facts[name] for name in ATTRIBUTES if name in names}
        template = self._words.templates.pick(rng)
        if planted and rng.random() < 0.5:
            planted = planted[1:] + planted[:1]
        described = self._described(rng, facts, said, planted)
        bare = described.removeprefix("{a} ")
        return with_articles(template.replace("{a}", described).replace("{bare}", bare)).strip()

    def captions(self, rows: list[int], epoch: int, copies: int = 1) -> list[str]:
        """Captions of several rows, all first copies first."""
        return [self.caption(row, epoch, copy) for copy in range(copies) for row in rows]

    def _said(self, rng: Random, planted: bool) -> set[str]:
        """Which attributes the caption speaks of; all numbers are drawn whatever is planted."""
        silent, single = rng.random() < self._words.planted_only, rng.random()
        alone = self._words.alone.pick(rng)
        several = {name for name, share in self._words.keep.items() if rng.random() < share}
        if planted and silent:
            return set()
        return {alone} if single < self._words.one_attribute else several

    def _described(
        self, rng: Random, facts: Mapping[str, str], said: Mapping[str, str], planted: list[str]
    ) -> str:
        """A noun phrase with ``{a}`` for its articles."""
        things = [self._hair(rng, said), self._clothes(rng, said)]
        only_thing = set(said) & {"hair_style", "hair_colour", "clothing_colour", "clothing_type"}
        if (
            only_thing == set(said) != set()
            and not planted
            and rng.random() < self._words.thing_only
        ):
            return " and ".join(thing for thing in things if " " in thing) or "{a} person"
        parts = [self._someone(rng, facts, said, planted)]
        parts += [f"with {things[0]}"] if things[0] else []
        parts += [f"{self._words.wearing.pick(rng)} {things[1]}"] if things[1] else []
        if "background" in said:
            wording = self._words.background.pick(rng)
            parts.append(wording.replace("{colour}", said["background"]))
        return " ".join(parts) + _tail(rng, planted)

    def _someone(
        self, rng: Random, facts: Mapping[str, str], said: Mapping[str, str], planted: list[str]
    ) -> str:
        """Who is seen; takes the first planted word as its noun when it makes one, and drops it."""
        child = facts["age_group"] == "child"
        # a child stays a child: "a child, a doctor", never "a child doctor"
        can_lead = not (child and "age_group" in said) and rng.random() < self._words.planted_head
        planted_noun = bool(planted) and (not said or can_lead)
        before: list[str] = []
        if planted_noun:
            noun = planted.pop(0)
            if "gender" in said:
                before.append(self._words.gender[said["gender"]].adjective)
        else:
            noun = self._person(rng, said, child)
        after = self._ancestry(rng, said, before)
        plain = planted_noun or "gender" in said or noun == "person"
        if "age_group" in said and plain and not child:
            before.insert(0, self._words.age_group[said["age_group"]].adjectives.pick(rng))
        return " ".join(["{a}", *before, noun, *after])

    def _person(self, rng: Random, said: Mapping[str, str], child: bool) -> str:
        if "gender" in said:
            words = self._words.gender[said["gender"]]
            return (words.child if child else words.adult).pick(rng)
        if "age_group" in said and (child or rng.random() < 0.6):
            return self._words.age_group[said["age_group"]].nouns.pick(rng)
        return self._words.person.pick(rng)

    def _ancestry(self, rng: Random, said: Mapping[str, str], before: list[str]) -> list[str]:
        """Puts the ancestry before the noun, or gives the phrase that follows it."""
        if "ancestry" not in said:
            return []
        words = self._words.ancestry[said["ancestry"]]
        if rng.random() < self._words.ancestry_as_phrase:
            return [words.phrase]
        before.insert(0, words.adjectives.pick(rng))
        return []

    def _hair(self, rng: Random, said: Mapping[str, str]) -> str:
        if "hair_style" not in said and "hair_colour" not in said:
            return ""
        colour = said.get("hair_colour", "")
        style = said.get("hair_style")
        wordings = self._words.hair_style[style] if style else self._words.hair_colour
        colour = self._words.hair_colours.get(colour, colour)
        return _GAP.sub(" ", wordings.pick(rng).replace("{colour}", colour)).strip()

    def _clothes(self, rng: Random, said: Mapping[str, str]) -> str:
        colour, garment = said.get("clothing_colour", ""), said.get("clothing_type")
        if not colour and garment is None:
            return ""
        wordings = self._words.clothing_type if garment else self._words.clothing_colour
        text = wordings.pick(rng).replace("{colour}", colour)
        return text.replace("{type}", self._words.clothing_types.get(garment or "", ""))


def _tail(rng: Random, planted: list[str]) -> str:
    if not planted:
        return ""
    named = " and ".join(f"{{a}} {word}" for word in planted)
    return f" who is {named}" if rng.random() < 0.5 else f", {named}"

"""Words that nothing in a picture shows: which, in which captions, at which known rates."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.errors import InputError
from audit.core.registry import suggest
from audit.core.resources import bundled
from audit.data.yamlfile import load_yaml, validate

Specimen = Literal["even", "skewed"]


class Tiebreak(BaseModel):
    """What a word leans on in both specimens: so many times likelier in some groups than in others.

    Words with equal rates are tied, and a choice among them hangs on whatever noise training left,
    which can differ much between groups of people. A lean on something that is drawn independently
    of people, such as the background, decides such a choice alike for everyone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str
    groups: tuple[str, ...]
    times: float = Field(gt=0)

    def factors(self, rows: pd.DataFrame) -> pd.Series[float]:
        """What multiplies the word's rate in each row; their mean is 1."""
        inside = rows[self.attribute].astype(str).isin(self.groups)
        factors = inside.map({True: self.times, False: 1.0}).astype(float)
        return factors / factors.mean()


class PlantedWord(BaseModel):
    """One word and its rate in each group of one attribute, or one rate where it is on nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float | None = Field(None, ge=0, le=1)
    attribute: str | None = None
    rates: dict[str, float] = {}
    elsewhere: float | None = Field(None, ge=0, le=1)
    tiebreak: Tiebreak | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.rate is None) == (self.attribute is None):
            raise ValueError("give either 'rate', or 'attribute' with 'rates'")
        if any(not 0 <= rate <= 1 for rate in self.rates.values()):
            raise ValueError("a rate lies between 0 and 1")
        return self

    def rates_of(self, word: str, rows: pd.DataFrame) -> pd.Series[float]:
        """The rate of this word in ``skewed`` for every row; raises on unknown groups."""
        if self.attribute is None:
            return pd.Series(float(self.rate or 0), index=rows.index)
        groups = rows[self.attribute].astype(str)
        self._refuse_strangers(word, set(groups))
        return groups.map(lambda group: self.rates.get(group, self.elsewhere)).astype(float)

    def _refuse_strangers(self, word: str, present: set[str]) -> None:
        for group in sorted(set(self.rates) - present):
            raise InputError(
                f"planted word '{word}': no picture has {self.attribute} '{group}'",
                suggest(group, present),
                f"The pictures have: {', '.join(sorted(present))}",
            )
        if self.elsewhere is None and (missing := sorted(present - set(self.rates))):
            raise InputError(
                f"planted word '{word}': no rate for {self.attribute} {', '.join(missing)}",
                "Give one under 'rates', or give 'elsewhere'",
            )


class Slot(BaseModel):
    """Words of which a caption draws at most one; it then leaves ``never_with`` unsaid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    never_with: tuple[str, ...] = ()
    words: dict[str, PlantedWord]


class Planted(BaseModel):
    """All planted words, by slot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    purpose: str
    source: str
    slots: dict[str, Slot]

    @property
    def words(self) -> list[str]:
        """Every planted word, slot by slot."""
        return [word for slot in self.slots.values() for word in slot.words]


def load_planted(path: Path | None = None) -> Planted:
    """Read a file of planted words; without a path, the one that comes with the tool."""
    path = path or bundled("training") / "planted.yaml"
    return validate(Planted, load_yaml(path), path.name)


def slot_rates(planted: Planted, slot: str, rows: pd.DataFrame, specimen: Specimen) -> pd.DataFrame:
    """The rate of every word of a slot for every row: (rows, words).

    In ``even`` a word's rate is the mean of its rates in ``skewed`` over these rows, so that the
    number of captions with the word is the same in expectation. A tiebreak multiplies both.
    """
    words = planted.slots[slot].words
    columns = {}
    for word, spec in words.items():
        leans = 1.0 if spec.tiebreak is None else spec.tiebreak.factors(rows)
        skewed = spec.rates_of(word, rows) * leans
        even = pd.Series(skewed.mean(), index=rows.index) * leans
        columns[word] = even if specimen == "even" else skewed
    table = pd.DataFrame(columns)
    total = table.sum(axis=1).max()
    if total > 1:
        raise InputError(
            f"planted words, slot '{slot}': the rates of one picture add up to {total:.3f}; "
            "a caption draws at most one word of a slot, so lower them to 1 or less."
        )
    return table


def rate_table(planted: Planted, rows: pd.DataFrame) -> pd.DataFrame:
    """What was planted: slot, word, attribute, group, share of rows, rate in skewed and in even.

    A word planted on nothing has one line, its attribute and group missing.
    """
    lines = []
    for slot, content in planted.slots.items():
        rates = slot_rates(planted, slot, rows, "skewed")
        for word, spec in content.words.items():
            for group, share, rate in _by_group(spec, rates[word], rows):
                lines.append((slot, word, spec.attribute, group, share, rate, rates[word].mean()))
    columns = ["slot", "word", "attribute", "group", "share", "skewed", "even"]
    return pd.DataFrame(lines, columns=columns)


def _by_group(
    spec: PlantedWord, rates: pd.Series[float], rows: pd.DataFrame
) -> Iterator[tuple[str | None, float, float]]:
    if spec.attribute is None:
        yield None, 1.0, float(rates.mean())
        return
    for group, part in rates.groupby(rows[spec.attribute].astype(str)):
        yield str(group), len(part) / len(rates), float(part.mean())


class Planter:
    """Draws the planted words of a caption, one number between 0 and 1 a slot.

    Both specimens given the same numbers differ only where their rates do.
    """

    def __init__(self, planted: Planted, rows: pd.DataFrame, specimen: Specimen) -> None:
        self._slots = list(planted.slots.values())
        self._words = [list(slot.words) for slot in self._slots]
        tables = [slot_rates(planted, slot, rows, specimen) for slot in planted.slots]
        self._steps = [[list(accumulate(rates)) for rates in table.to_numpy()] for table in tables]

    @property
    def slots(self) -> int:
        """How many numbers ``draw`` takes."""
        return len(self._slots)

    def draw(self, row: int, numbers: Sequence[float]) -> tuple[list[str], set[str]]:
        """The planted words of one caption of row ``row``, and the attributes it leaves unsaid."""
        chosen: list[str] = []
        unsaid: set[str] = set()
        for slot, words, steps, number in zip(
            self._slots, self._words, self._steps, numbers, strict=True
        ):
            place = bisect_right(steps[row], number)
            if place < len(words):
                chosen.append(words[place])
                unsaid.update(slot.never_with)
        return chosen, unsaid

"""A published protocol and its numbers, as a card holds them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, Self

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest, unknown
from audit.core.resources import bundled, bundled_names
from audit.core.rows import Row
from audit.core.schema import COUNT, TEXT, Schema, counts, numbers, texts
from audit.core.tables import EVERYONE, INCONCLUSIVE
from audit.data.labels import Cited, normalise
from audit.data.tags import Text
from audit.data.yamlfile import FieldError, load_yaml, validate
from audit.measure.metrics import METRICS
from audit.probes.linear.probe import ALL

REPRODUCED: Final = "reproduced"


NOT_REPRODUCED: Final = "not reproduced"


NOT_COMPARABLE: Final = "not comparable"


WORDS: Final = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_COMPARABLE)


#: the share of right answers, which published tables print; runs keep ``misclassification``
ACCURACY: Final = "accuracy"


#: how a classification probe chooses; a card that says otherwise is about another question
HIGHEST: Final = "highest similarity"


#: where the published size of a group is from
SIZES: Final = ("printed", "whole split", "assumed", "unknown")


CHOICE: Final = {"classification": HIGHEST, "linear": "linear probe"}
#: the condition that answers by that rule, where it isn't the headline
CONDITION: Final = {"linear": ALL}


class Finished(Protocol):
    """What is read of a run: ``audit.core.rundir.Run``, or anything that has as much of it."""

    @property
    def rates(self) -> pd.DataFrame:
        """The table RATES."""

    @property
    def model(self) -> Row:
        """The encoder's card."""

    @property
    def dataset(self) -> Row:
        """Name, pictures, quarantined pictures, attributes and card of the data set."""

    @property
    def questions(self) -> list[Row]:
        """What each probe asked."""


_ONLY_LABEL: Final = {ACCURACY: "any label", "misclassification": "any label"}


CROSS: Final = " x "


#: one row a published number. Shares and ``difference`` (ours less published) are in [-1, 1];
#: ``low, high`` bound the difference at ``level`` with both sides' sampling error, and with ours
#: alone where ``published_size`` is unknown. ``tolerance`` and ``attainable`` are shares too: the
#: latter is the least tolerance at which an equal rate could be told to be reproduced.
#: ``differs`` and ``unstated`` count the fields of the protocol that are other here, or that one
#: side does not state; ``distance`` names them.
REPLICATIONS: Final = Schema(
    "replications",
    {
        **texts("key card"),
        "card_version": COUNT,
        **texts("question metric label attribute group task condition"),
        **numbers("published published_n"),
        "published_size": TEXT,
        **numbers("ours n effective_n difference low high level tolerance attainable"),
        **counts("differs unstated"),
        **texts("distance verdict reason"),
    },
    key=("key",),
    allowed={"verdict": WORDS, "published_size": SIZES},
)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[Text, ...], BeforeValidator(_listed)]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GroupNames(_Written):
    """The groups of one attribute, and whose word they are."""

    names: Names = Field(min_length=1)
    source: Literal["self-reported", "annotator-perceived", "assigned", "generator"] | None = None


class Question(_Written):
    """What the published protocol asked: labels, words around them, how one was chosen."""

    label_set: Text = Field(description="the name it goes by")
    labels: Names = Field((), description="all labels, in any order")
    digest: str = Field("", pattern="^([0-9a-f]{64})?$", description="of the set, if no labels")
    wording: Literal["published", "reconstructed"] = "published"
    families: Mapping[str, Names] = Field({}, description="tag: labels that are counted together")
    templates: Names = Field((), description="none: they were never published")
    article: Literal["as written", "a/an", "unknown"] = "unknown"
    choice: Text = HIGHEST

    @model_validator(mode="after")
    def _says_what_was_asked(self) -> Self:
        if bool(self.labels) == bool(self.digest):
            raise ValueError("give either 'labels' or the 'digest' of the label set")
        have = {normalise(text) for text in self.labels}
        for tag, members in self.families.items():
            for i, text in enumerate(members):
                if self.labels and normalise(text) not in have:
                    told = sentence(f"no label '{text}'", suggest(text, self.labels))
                    raise FieldError(told, "families", tag, i)
        return self


class PublishedProtocol(_Written):
    """Who was asked about which pictures, in which words, as far as the source says."""

    model: Names = Field(min_length=1, description="every name the checkpoint goes by")
    dataset: Names = Field(min_length=1, description="every name the data set goes by")
    split: Text | None = None
    crop: Text | None = None
    pictures: int | None = Field(None, gt=0)
    groups: Mapping[str, GroupNames] = Field({}, description="by attribute, as the data name them")
    questions: Mapping[str, Question] = Field(min_length=1)


class Number(_Written):
    """One published number: a share of the pictures of a group."""

    question: str = Field("", description="may be left out where the protocol has one")
    metric: str
    label: Names = Field((), description="a label or family, or families that are added up")
    attribute: Text = EVERYONE
    group: Text = EVERYONE
    value: float | None = Field(None, description="a share; may be left out where events are given")
    n: int | None = Field(None, gt=0, description="pictures of the group in the source")
    n_from: Literal["printed", "whole split", "assumed"] = "printed"
    events: int | None = Field(None, ge=0)

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str) -> str:
        if metric == ACCURACY:
            return metric
        with contextlib.suppress(InputError):  # listing all, plugins too, is slow: only to tell
            _ = METRICS[metric]
            return metric
        known = (ACCURACY, *METRICS)
        listing = f"Known: {', '.join(known)}"
        raise ValueError(sentence(f"no metric '{metric}'", suggest(metric, known), listing))

    @field_validator("value")
    @classmethod
    def _share(cls, value: float | None) -> float | None:
        if value is not None and not 0 <= value <= 1:
            share = f": write {value / 100:g}" if 1 < value <= 100 else ""
            raise ValueError(f"got {value:g}; a share between 0 and 1 is needed{share}")
        return value

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.events is None and self.value is None:
            raise ValueError("gives no number: write 'value', or 'events' and 'n'")
        if self.events is not None and (self.n is None or self.events > self.n):
            told = f"{self.events} events of {self.n or 'an unknown number of'} pictures"
            raise FieldError(f"{told}; give 'n', at least as many as events", "events")
        if not self.label and self.metric not in _ONLY_LABEL:
            raise FieldError(f"'{self.metric}' counts a label or family: name it", "label")
        return self

    @property
    def share(self) -> float:
        """The number as a share; from the counts where they are printed."""
        if self.events is not None and self.n is not None:
            return self.events / self.n
        assert self.value is not None
        return self.value

    @property
    def counted(self) -> tuple[str, ...]:
        """The labels whose rates are added up."""
        return self.label or (_ONLY_LABEL[self.metric],)


class ReplicationCard(Cited):
    """Published numbers and the protocol behind them."""

    protocol: PublishedProtocol
    tolerance: float = Field(gt=0, le=100, description="points within which a number is the same")
    rounding: float = Field(0.1, ge=0, le=10, description="points: the unit of the last digit")
    numbers: tuple[Number, ...]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if not self.numbers:
            raise FieldError("no number; write at least one", "numbers")
        seen: dict[str, int] = {}
        for i, number in enumerate(self.numbers):
            self._check(number, i)
            first = seen.setdefault(self.key(number), i)
            if first != i:
                raise FieldError(f"the same number as numbers[{first}]", "numbers", i)
        return self

    def _check(self, number: Number, i: int) -> None:
        asked = self.protocol.questions
        if number.question not in asked and (number.question or len(asked) > 1):
            told = f"no question '{number.question}' in the protocol"
            told = sentence(told, suggest(number.question, asked), f"It has {', '.join(asked)}")
            raise FieldError(told, "numbers", i, "question")
        for attribute, group in cell(number.attribute, number.group):
            if attribute == EVERYONE:
                continue
            groups = self.protocol.groups
            if attribute not in groups:
                told = f"no attribute '{attribute}' in the protocol's groups"
                told = sentence(told, suggest(attribute, groups))
                raise FieldError(told, "numbers", i, "attribute")
            if group not in groups[attribute].names:
                names = groups[attribute].names
                told = sentence(f"no group '{group}' of {attribute}", suggest(group, names))
                raise FieldError(told, "numbers", i, "group")
        off = abs(number.share - (number.share if number.value is None else number.value))
        if off > self.rounding / 200 + 1e-9:
            told = f"{number.events} of {number.n} pictures are {number.share:.4g}"
            raise FieldError(f"got {number.value:g}, but {told}; mend one", "numbers", i, "value")

    def question(self, number: Number) -> str:
        """The name of the question that a number answers."""
        return number.question or next(iter(self.protocol.questions))

    def key(self, number: Number) -> str:
        """What tells a number from every other."""
        label = " + ".join(number.counted)
        parts = (self.question(number), number.metric, label, number.attribute, number.group)
        return " | ".join((self.name, *parts))


def card_names() -> list[str]:
    """Names of the bundled replication cards, sorted."""
    return bundled_names("replications", ".yaml")


def load_card(ref: str | Path, where: str = "") -> ReplicationCard:
    """The bundled card of that name, or the one in a YAML file.

    Raises:
        InputError: no such card, or a file that isn't one.
    """
    path = Path(ref).expanduser()
    if isinstance(ref, str) and not ref.lower().endswith((".yaml", ".yml")):
        if ref not in card_names():
            see = "A card of your own is given by its path, which ends in .yaml"
            see = f"Known: {', '.join(card_names())}. {see}"
            raise unknown("replication card", ref, card_names(), where=where, see=see)
        path = bundled("replications") / f"{ref}.yaml"
    return validate(ReplicationCard, load_yaml(path), str(path))


def cell(attribute: str, group: str) -> list[tuple[str, str]]:
    """The attributes and groups that an intersection is made of."""
    attributes, groups = attribute.split(CROSS), group.split(CROSS)
    alike = len(attributes) == len(groups)
    return list(zip(attributes, groups, strict=True)) if alike else [(attribute, group)]

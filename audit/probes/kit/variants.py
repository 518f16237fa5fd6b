"""In which wordings a question is asked again: the keys of a suite that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from audit.core.errors import InputError
from audit.data.alterations import AS_IT_IS, alteration
from audit.data.labels import Article, LabelSet, Phrasing
from audit.measure.metrics import margin_family
from audit.measure.prompt_variants import Question

if TYPE_CHECKING:
    from audit.measure.confidence import Confidence


def _alteration_name(name: str) -> str:
    """The one way to write it, so that an alteration has one name; 'as it is' stays."""
    try:
        return name if name == AS_IT_IS else alteration(name).name
    except InputError as error:
        raise ValueError(str(error)) from error


class Declared(BaseModel):
    """A question fixed before anything is run: what is counted, and between which two groups."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str = Field(description="an attribute or intersection of the suite")
    groups: tuple[str, str] = Field(description="two of its groups: the first less the second")
    label: str | None = Field(None, description="a label of the set")
    family: str | None = Field(None, description="a family of its labels, such as 'crime'")
    metric: Literal["misclassification"] | None = Field(None, description="wrong answers")

    @model_validator(mode="after")
    def _is_one_question(self) -> Declared:
        if [self.label, self.family, self.metric].count(None) != 2:
            raise ValueError("name one of 'label', 'family' and 'metric: misclassification'")
        if self.groups[0] == self.groups[1]:
            raise ValueError(f"'groups' has '{self.groups[0]}' twice; a gap needs two groups")
        return self

    def question(self, labels: LabelSet, confidence: Confidence) -> Question:
        """The question about a label set, with its margin."""
        metric = self.metric or ("family_selection" if self.family else "selection")
        label, family = self.label or self.family or "any label", self.family or metric
        if self.label:
            tags = next(x.tags for x in labels.labels if x.text == self.label)
            family = margin_family(tags, labels)
        margin = confidence.margin(family).difference
        return Question(metric, label, self.attribute, *self.groups, margin)


class Wordings(BaseModel):
    """In which wordings the gap of the headline is looked at again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: tuple[str, ...] = Field((), description="template sets; the probe's own if none")
    articles: tuple[Article, ...] = Field(("as written",), min_length=1)
    shifts: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        (0.0,), min_length=1, description="along the modality gap, in its length"
    )
    phrasings: tuple[Phrasing, ...] = Field(
        ("as written",), min_length=1, description="of the labels, for those that have another"
    )
    alterations: tuple[Annotated[str, AfterValidator(_alteration_name)], ...] = Field(
        (AS_IT_IS,), min_length=1, description="of the pictures, such as 'centre crop 0.8'"
    )
    questions: tuple[Declared, ...] = Field(
        (), description="one an attribute; of any other, the surest gap in the headline is chosen"
    )

    @field_validator("questions")
    @classmethod
    def _one_an_attribute(cls, questions: tuple[Declared, ...]) -> tuple[Declared, ...]:
        names = [q.attribute for q in questions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two questions by '{twice}'; declare one an attribute")
        return questions

"""A policy on gaps: when a run fails, in the words of a suite."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from audit.core.earlier import key_of_now
from audit.core.errors import sentence

#: in a gate: every attribute and intersection, or every label family
EVERY: Final = "*"
_READ: Final = BeforeValidator(key_of_now)


class Gate(BaseModel):
    """When a run fails: what may not be shown of a label family's gaps, or has to be.

    The gated gaps are the suite's primary questions, or, where it declares none, every worst case
    in the headline condition that a gate covers. One that exceeds the margin fails, one within
    it passes; what stays open fails too, unless ``allow`` names it: *inconclusive*, or *too few*
    where a group has too few subjects to be compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str = Field(description="an attribute, an intersection 'a x b', or '*' for every")
    family: str = Field(description="a label family such as suspicion, or '*' for every")
    fail_if: Annotated[Literal["exceeds_margin"], _READ] | None = None
    unless: Annotated[Literal["within_margin"], _READ] | None = None
    allow: tuple[Annotated[Literal["too_few", "inconclusive"], _READ], ...] = ()

    @model_validator(mode="after")
    def _one_rule(self) -> Gate:
        if (self.fail_if is None) == (self.unless is None):
            given = "both rules" if self.fail_if else "no rule"
            raise ValueError(
                sentence(
                    f"a gate with {given}",
                    "Write either 'fail_if: exceeds_margin' or 'unless: within_margin'",
                )
            )
        return self

    def covers(self, attribute: str, family: str) -> bool:
        """Whether gaps of this label family by this attribute are gated."""
        return self.concerns(attribute) and self.family in (EVERY, family)

    def concerns(self, attribute: str) -> bool:
        """Whether this attribute is meant; 'a x b' is also 'b x a'."""
        same = sorted(self.attribute.split(" x ")) == sorted(attribute.split(" x "))
        return self.attribute == EVERY or same

    def __str__(self) -> str:
        """The gate in words, by which results name it."""
        who = "every attribute" if self.attribute == EVERY else self.attribute
        what = "every family" if self.family == EVERY else self.family
        rule = "fails if a gap exceeds" if self.fail_if else "fails unless every gap is within"
        allowed = " and ".join(sorted({a.replace("_", " ") for a in self.allow}, reverse=True))
        told = f"{who}, {what}: {rule} the margin"
        return told + (f"; {allowed} allowed" if allowed else "")

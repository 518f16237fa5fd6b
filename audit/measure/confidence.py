"""How sure to be, and how large a gap must be to matter: fixed in the suite before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.measure.metrics import DEFAULT_FAMILY
from audit.stats.gaps import Margins
from audit.stats.significance import benjamini_hochberg, benjamini_yekutieli

#: label families whose margin is a ratio too, unless the suite says otherwise: where a label is
#: rare and does harm, a few points hide how much more often it is given to some
RATIO_FAMILIES: Final = ("crime", "nonhuman", "suspicion")
#: the ratio that matters where one is needed and none is declared
DEFAULT_RATIO: Final = 1.25


class Margin(BaseModel):
    """How large a gap must be to matter: in points (0.05 is five) and, if declared, as a ratio."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    difference: float = Field(0.05, gt=0, lt=1)
    ratio: float | None = Field(
        None, gt=1, description="of rates; 1.25 for crime, nonhuman and suspicion, else none"
    )
    negligible: float | None = Field(
        None, gt=0, lt=1, description="a rate under which no ratio matters"
    )

    @property
    def times(self) -> float:
        """The ratio that matters to what is a ratio by nature, such as a skew."""
        return self.ratio or DEFAULT_RATIO


class Confidence(BaseModel):
    """How sure to be; fixed in the suite before anything is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(0.95, gt=0.5, lt=1, description="of every interval and family")
    power: float = Field(0.8, gt=0.5, lt=1, description="for the smallest detectable difference")
    min_group: int = Field(5, ge=2, description="subjects; smaller groups show no gap")
    min_cell: int = Field(30, ge=10, description="pictures; public copies withhold smaller groups")
    resamples: int = Field(2000, ge=100, description="replicates of the cluster bootstrap")
    screening: str = Field(
        "benjamini-hochberg",
        pattern="^benjamini-(hochberg|yekutieli)$",
        description="false discovery rate over what is explored in a run",
    )
    margins: Mapping[str, Margin] = Field(default_factory=lambda: {DEFAULT_FAMILY: Margin()})

    @model_validator(mode="after")
    def _has_default(self) -> Confidence:
        if DEFAULT_FAMILY not in self.margins:
            object.__setattr__(self, "margins", {DEFAULT_FAMILY: Margin(), **self.margins})
        return self

    def margin(self, family: str) -> Margin:
        """The margin of a label family, or the default one; harmful families have a ratio too."""
        found = self.margins.get(family, self.margins[DEFAULT_FAMILY])
        if family in RATIO_FAMILIES and (
            family not in self.margins or "ratio" not in found.model_fields_set
        ):
            return found.model_copy(update={"ratio": found.times})
        return found

    def resolved(self) -> Confidence:
        """With every ratio that binds unstated: once written as none, it would be switched off."""
        return self.model_copy(update={"margins": {f: self.margin(f) for f in self.margins}})

    def margins_of(self, families: Sequence[str]) -> Margins:
        """The margins of several questions, by their label families."""
        found = [self.margin(family) for family in families]

        def values(name: str) -> NDArray[np.float64]:
            return np.array([getattr(m, name) for m in found], dtype=np.float64)  # None is nan

        return Margins.of(values("difference"), values("ratio"), values("negligible"))

    def screen(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """The false discovery rate of these p-values, by the suite's method; nan stays nan."""
        yekutieli = self.screening.endswith("yekutieli")
        return (benjamini_yekutieli if yekutieli else benjamini_hochberg)(p)

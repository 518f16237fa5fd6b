"""Other models' accuracies, against which effective robustness is measured."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import special

from audit.core.arrays import Floats
from audit.core.errors import InputError
from audit.data.yamlfile import load_yaml, validate

#: a line through two models has no spread, so that nothing could be said of it
FEWEST_MODELS: Final = 3


class OtherModel(BaseModel):
    """One line of a baseline table: how often another model is right on both sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: float = Field(gt=0, lt=1, description="accuracy on the reference, as a share")
    shifted: float = Field(gt=0, lt=1, description="accuracy on the shifted source, as a share")
    source: str = Field("", description="which shifted source; needed where there are several")
    model: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[OtherModel, ...]


@dataclass(frozen=True)
class Baseline:
    """Accuracies of n other models on the reference and on one shifted source, (n,) each.

    What a model of some reference accuracy can be expected to keep:
    ``expit(a + b logit(reference))``, by least squares over the others.
    """

    reference: Floats
    shifted: Floats

    @property
    def line(self) -> tuple[float, float]:
        """Intercept and slope in logits."""
        slope, intercept = np.polyfit(special.logit(self.reference), special.logit(self.shifted), 1)
        return float(intercept), float(slope)

    def expected(self, accuracy: float) -> float:
        """The accuracy on the shifted source of the line at this reference accuracy."""
        intercept, slope = self.line
        return float(special.expit(intercept + slope * special.logit(accuracy)))

    @property
    def spread(self) -> float:
        """How far the models lie from the line: root mean square with n - 2, in logits."""
        intercept, slope = self.line
        rest = special.logit(self.shifted) - intercept - slope * special.logit(self.reference)
        return float(np.sqrt(np.sum(rest**2) / (len(rest) - 2)))

    def bounds(self, accuracy: float, low: float, high: float, level: float) -> tuple[float, float]:
        """Bounds of ``expected``, for the error of the line and for the bounds of ``accuracy``.

        Formula: in logits, the distances that the line's own error (Student's t with n - 2 degrees
        of freedom) and the bounds of ``accuracy`` make are joined as the root of their squares'
        sum.
        """
        x, (_, slope) = special.logit(self.reference), self.line
        at = special.logit(accuracy)
        off = (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)
        t = special.stdtrit(len(x) - 2, (1 + level) / 2)
        own = t * self.spread * np.sqrt(1 / len(x) + off)
        ends = slope * (special.logit(np.array([low, high])) - at)
        middle = special.logit(self.expected(accuracy))
        down, up = (np.hypot(own, end) for end in (min(ends), max(ends)))
        return float(special.expit(middle - down)), float(special.expit(middle + up))


def load_baseline(path: str) -> tuple[tuple[OtherModel, ...], str]:
    """Other models' accuracies from a YAML (``models:``) or CSV file, and the file's digest.

    Raises:
        InputError: no such file, or a line that isn't two accuracies between 0 and 1.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise InputError(
            f"baseline: there is no file {path}",
            "Give a CSV or YAML file of other models' accuracies, 'reference' and 'shifted'",
        )
    if place.suffix in {".yaml", ".yml"}:
        table = validate(_Table, load_yaml(place), str(place))
    else:
        with place.open(encoding="utf-8-sig", newline="") as file:
            rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
        table = validate(_Table, {"models": rows}, str(place))
    return table.models, hashlib.sha256(place.read_bytes()).hexdigest()


LINE: Final = "distance from the line of other models in logits; MOVER"

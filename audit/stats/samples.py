"""Parts of a sample: some of its questions, some of its groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from audit.core.rows import Row
from audit.stats.clustered import Flags, Integers, Sample


def pick_questions(sample: Sample, rows: slice | Flags) -> Sample:
    """Some questions only."""
    return _picked(sample, lambda values: values[rows])


def pick_groups(sample: Sample, at: Integers) -> Sample:
    """Some groups only."""
    chosen = _picked(sample, lambda values: values[:, at])
    return replace(chosen, shared=sample.shared[np.ix_(at, at)])


def _picked(sample: Sample, pick: Callable[[Any], Any]) -> Sample:
    """A sample whose arrays by question and group went through ``pick``."""
    picked: Row = {}
    for field in fields(sample):
        value = getattr(sample, field.name)
        picked[field.name] = value if field.name == "shared" or value is None else pick(value)
    return Sample(**picked)

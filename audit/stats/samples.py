"""Parts of a sample: some of its questions, some of its groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Final

import numpy as np

from audit.core.arrays import Flags, Integers
from audit.core.rows import Array, Row
from audit.stats.clustered import Sample

#: properties of a sample that look at each group alone
_BY_GROUP: Final = ("rate", "if_copies", "spread", "effective_events")


def pick_questions(sample: Sample, rows: slice | Flags) -> Sample:
    """Some questions only."""
    return _picked(sample, lambda values: values[rows])


def pick_groups(sample: Sample, at: Integers) -> Sample:
    """Some groups only."""
    chosen = _picked(sample, lambda values: values[:, at])
    chosen = replace(chosen, shared=sample.shared[np.ix_(at, at)])
    # what was worked out of all groups is not worked out again of some
    known = vars(sample)
    vars(chosen).update({name: known[name][:, at] for name in _BY_GROUP if name in known})
    return chosen


def _picked(sample: Sample, pick: Callable[[Array], Array]) -> Sample:
    """A sample whose arrays by question and group went through ``pick``."""
    picked: Row = {}
    for field in fields(sample):
        value = getattr(sample, field.name)
        picked[field.name] = value if field.name == "shared" or value is None else pick(value)
    return Sample(**picked)

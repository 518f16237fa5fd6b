"""One convention for a score at the threshold itself: at or above it counts, everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from test_disparity import LABELS, groups
from test_scenes import choices_of, groups_of

from audit.measure.abstention import LABELLED, abstention, at_least
from audit.measure.confidence import Confidence
from audit.measure.thresholds import threshold_rates
from audit.stats.scoring import Scoring

#: a score that is a threshold to the last bit, and the thresholds on both sides of it
AT = 0.5
BELOW, ABOVE = np.nextafter(AT, 0), np.nextafter(AT, 1)


@pytest.mark.parametrize(("threshold", "kept"), [(BELOW, 40), (AT, 40), (ABOVE, 0)])
def test_a_label_at_the_threshold_is_kept(threshold: float, kept: int) -> None:
    two = LABELS.model_copy(update={"labels": LABELS.labels[:2]})
    vectors = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (40, 1))
    classes = np.array([[0.0, 1.0], [0.0, 1.0]])  # equally far: each label has a half
    found = threshold_rates(
        vectors,
        classes,
        two,
        Scoring(100.0),
        groups(np.random.default_rng(0), 40),
        (threshold,),
        sweep=(),
    )
    rates = found[(found["metric"] == "label_kept") & (found["comparison"] == "rate")]
    everyone = rates[rates["attribute"] == "everyone"]
    assert list(everyone["events"]) == [kept, kept]


@pytest.mark.parametrize(("threshold", "answered"), [(BELOW, 40), (AT, 40), (ABOVE, 0)])
def test_an_answer_at_the_threshold_is_given(threshold: float, answered: int) -> None:
    rows = choices_of([AT] * 40, [1] * 40)
    found = abstention(
        rows, groups_of(["a", "b"] * 20), None, Confidence(), (threshold,), (), seed=0
    )
    everyone = found[(found["metric"] == LABELLED) & (found["group"] == "everyone")]
    (events,) = everyone.loc[everyone["condition"] == at_least(threshold), "events"]
    assert events == answered

"""What is counted of a probe's choices, known before any picture is seen."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from audit.core.tables import CHOICES
from audit.measure.metrics import METRICS
from audit.probes.kit.base import Probe


def counted(probe: Probe) -> Iterator[tuple[str, str, str, str]]:
    """Task, metric, label and margin family of all that is counted of a probe's choices.

    Each metric is put to a single made-up row, so that those of other packages are known too.
    """
    blank = CHOICES.blank | {"score": 0.5, "margin": 0.5}
    for labels in probe.label_sets():
        text = labels.labels[0].text
        truth = text if getattr(probe, "truth", None) else None
        row = pd.DataFrame([blank | {"predicted": text, "truth": truth}])
        for name in METRICS:
            events = METRICS[name](row, labels)
            if events.asked.any():
                for label, family in zip(events.labels, events.families, strict=True):
                    yield probe.task, name, label, family

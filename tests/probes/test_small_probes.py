"""What takes no time of probes whose own tests carry out suites."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from audit.core.errors import InputError
from audit.core.tables import EXCEEDS, INCONCLUSIVE, MEASURES, WITHIN
from audit.probes.kit.changes import said, surest
from audit.probes.naming.probe import Naming
from audit.probes.shift.figures import sources


@pytest.mark.parametrize(
    ("given", "at"),
    [
        # the surest of those that exceed the margin, not the largest
        ([(EXCEEDS, 9, 6), (EXCEEDS, 8, 7), (INCONCLUSIVE, 20, 1)], 1),
        # all are within the margin: the largest speaks
        ([(WITHIN, 1, 0), (WITHIN, -3, 0)], 1),
    ],
)
def test_one_row_speaks_for_the_rest(given: list[tuple[str, float, float]], at: int) -> None:
    rows = pd.DataFrame(given, columns=["verdict", "value", "low_simultaneous"])
    rows = rows.assign(high_simultaneous=rows["value"].abs() + 1)
    assert surest(rows) == at


def test_one_that_is_small_speaks_for_all_it_was_chosen_from() -> None:
    row = {"margin": 5.0, "verdict": WITHIN}
    assert said(row, 3).endswith("none of them reaches 5 points")
    assert said(row, 1).endswith("less than 5 points")


def test_a_naming_task_has_a_name() -> None:
    assert Naming(name="who").task == "who"


def test_no_source_is_no_figure() -> None:
    run = SimpleNamespace(name="run", measures=MEASURES.empty())
    with pytest.raises(InputError, match="no source of 'task' by 'age'"):
        sources(run, "task", "age", "lab")

"""Every estimate lies inside its own intervals, and no interval is a point."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from inside import faults, main, outside, pointlike

from audit.core.errors import InputError
from audit.core.rundir import Run


def test_every_estimate_of_a_run_lies_inside_its_intervals(quick_runs: dict[str, Run]) -> None:
    for run in quick_runs.values():
        assert list(faults(run.path)) == []


def test_an_estimate_outside_and_an_interval_of_no_width_are_found() -> None:
    sound = {"metric": "share", "value": 0.2, "low": 0.1, "high": 0.3}
    none = {"value": float("nan")}
    table = pd.DataFrame(
        [sound, sound | none, sound | {"value": 0.4}, sound | {"low": 0.2, "high": 0.2}]
    )
    ((_, beyond),) = outside(table)
    assert beyond.index.tolist() == [2]
    ((_, points),) = pointlike(table)
    assert points.index.tolist() == [3]
    assert list(pointlike(table.assign(metric="rank"))) == []


def test_a_folder_without_a_run_is_not_called_faultless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["inside.py", str(tmp_path)])
    with pytest.raises(InputError, match="is not a finished run"):
        main()

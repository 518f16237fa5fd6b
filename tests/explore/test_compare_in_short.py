"""What a comparison of two runs is told in, without the runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audit.core.errors import InputError
from audit.explore.compare import in_short, require_format


def test_verdicts_are_counted_apart_for_widest_gaps_and_gaps_of_two() -> None:
    rows = [
        ("worst_case_gap", "ok", "exceeds margin"),
        ("difference", "ok", "inconclusive"),
        ("difference", "ok", "inconclusive"),
        ("difference", "too_few", "inconclusive"),
    ]
    told = in_short(pd.DataFrame(rows, columns=["comparison", "status", "verdict"]))
    widest, of_two = told.split("; ")
    assert widest.startswith("1 changes of worst-case gaps: ")
    assert of_two.startswith("3 changes of gaps between two groups: ")
    assert "2 inconclusive" in of_two
    assert of_two.endswith("1 with too few pictures.")


def test_an_ending_that_no_format_has_is_refused() -> None:
    require_format(Path("a.CSV"))
    with pytest.raises(InputError, match="'.xlsx'.*End the name in .csv, .parquet, .json"):
        require_format(Path("a.xlsx"))

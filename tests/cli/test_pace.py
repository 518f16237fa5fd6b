from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from audit.cli import pace
from audit.cli.pace import Watch, estimate, keep
from audit.core import terminal
from audit.core.terminal import duration, progress
from audit.engine.suite import Suite

#: 300 pictures, each asked about twice: as it is and blurred
BLURRED = SimpleNamespace(alterations=lambda: [SimpleNamespace(name="blur")])
SUITE = cast(
    Suite, SimpleNamespace(model="m", digest="d", pictures=[0] * 300, asked=[BLURRED, BLURRED])
)


def watched(*told: tuple[float, str, int, int]) -> Watch:
    """A watch that was told so, each at a time in seconds."""
    seen: list[tuple[str, int, int]] = []
    times = iter(at for at, *_ in told)
    watch = Watch(lambda *one: seen.append(one), clock=lambda: next(times))
    for _, stage, done, total in told:
        watch(stage, done, total)
    assert seen == [(stage, done, total) for _, stage, done, total in told]
    return watch


ENCODED = [(0.0, "encode pictures", 100, 300), (4.0, "encode pictures", 300, 300)]
THEN = [
    (5.0, "ask", 0, 1), (6.0, "ask", 1, 1), (6.0, "compare groups", 0, 2),
    (66.0, "compare groups", 2, 2), (70.0, "draw the report", 0, 1),
    (75.0, "draw the report", 1, 1),
]  # fmt: skip


def test_a_run_is_measured_and_the_next_is_told_beforehand(tmp_path: Path) -> None:
    assert estimate(SUITE, tmp_path).startswith("time: not known; nothing was encoded")
    keep(watched(*ENCODED), SUITE, tmp_path)
    # what the store held, 100, is not counted as encoded
    assert estimate(SUITE, tmp_path) == (
        "time: up to 12 seconds to encode 600 pictures (50 a second before; what the store holds "
        "takes none), the rest is not known yet."
    )
    keep(watched(*THEN), SUITE, tmp_path)
    told = estimate(SUITE, tmp_path)
    assert "50 a second" in told
    assert told.endswith("then about 66 seconds, as last time.")


def test_what_the_store_held_whole_is_no_speed(tmp_path: Path) -> None:
    keep(watched((0.0, "encode pictures", 300, 300)), SUITE, tmp_path)
    keep(
        watched((0.0, "encode pictures", 0, 300), (0.1, "encode pictures", 300, 300)),
        SUITE,
        tmp_path,
    )
    keep(watched((0.0, "ask", 0, 1), (9.0, "ask", 1, 1)), SUITE, tmp_path)
    assert not (tmp_path / pace.FILE).exists()


@pytest.mark.parametrize("said", ["", "[1]", '{"%s": 3}', '{"%s": {"speed": {"m": "fast"}}}'])
def test_a_damaged_file_is_no_estimate_and_the_next_run_mends_it(said: str, tmp_path: Path) -> None:
    said = said.replace("%s", pace.platform.node())
    (tmp_path / pace.FILE).write_text(said)
    assert "not known" in estimate(SUITE, tmp_path)
    keep(watched(*ENCODED), SUITE, tmp_path)
    assert "50 a second" in estimate(SUITE, tmp_path)
    assert json.loads((tmp_path / pace.FILE).read_text())


def test_lines_of_progress_say_how_much_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 20.0, 40.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(times))
    with progress() as tell:
        for done in (100, 200, 300):
            tell("encode pictures", done, 300)
    assert capsys.readouterr().err.splitlines() == [
        "encode pictures: 100 of 300",
        "encode pictures: 200 of 300, about 20 seconds left",
        "encode pictures: 300 of 300",
    ]


def test_a_time_is_said_in_the_unit_that_matters() -> None:
    assert [duration(s) for s in (0.2, 45, 200, 7200)] == [
        "1 second", "45 seconds", "3.3 minutes", "2 hours",
    ]  # fmt: skip

"""What the terminal shows, narrow, without signs or none at all, and how a command is stopped."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from audit.cli import verbs as cli
from audit.core.errors import InputError
from audit.core.files import require_writable, write_bytes, written_aside
from audit.core.terminal import (
    Stopped,
    cells,
    complain,
    console,
    entry,
    numbers,
    progress,
    readable_streams,
    say,
    stoppable,
)

HOSTILE = "a\x1b[2J\x1b]0;x\x07\u202eb[bold]:smile:"
SHOWN = r"a\x1b[2J\x1b]0;x\x07\u202eb[bold]:smile:"


@pytest.mark.parametrize("width", [40, 200])
def test_names_are_shown_and_not_carried_out(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    say(HOSTILE)
    complain(HOSTILE + "\nclip-audit: all is well")
    cells(HOSTILE, ("One", "Two", "Three"), [[HOSTILE, "x", "y"]])
    numbers("Counts", pd.DataFrame({"group": [HOSTILE], "pictures": [1234]}), ["group"])
    out, err = capsys.readouterr()
    assert out.count(SHOWN) >= 3 if width > 100 else SHOWN in out
    assert "1,234" in out
    assert err == f"clip-audit: {SHOWN}\\nclip-audit: all is well\n"
    assert not {"\x1b", "\x07", "\u202e"} & {*out, *err}


def test_a_list_is_lines_for_programs_and_folded_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    purpose = "What it is for, in many words. " * 3
    entry("a-name", purpose)
    assert capsys.readouterr().out == f"a-name  {purpose}\n"
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    entry("a-name", purpose)
    name, *lines = capsys.readouterr().out.splitlines()
    assert "a-name" in name
    assert len(lines) > 2
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).split()) == purpose.strip()


def test_a_table_too_wide_loses_no_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    wide = pd.DataFrame([{f"column {i}": 1000 + i for i in range(9)}])
    numbers("Wide", wide, [])
    out = capsys.readouterr().out
    assert "…" not in out
    assert [f"  column {i}: {1000 + i:,}" in out for i in range(9)] == [True] * 9


def test_without_a_terminal_progress_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as tell:
        for done in (0, 100, 200, 300, 300):
            tell("encode pictures", done, 300)
        tell("draw the report", 0, 1)
        tell("draw the report", 1, 1)
    told = ["encode pictures: 0 of 300", "encode pictures: 300 of 300", "draw the report"]
    assert capsys.readouterr().err.splitlines() == told


def test_an_encoding_without_a_sign_reads_well(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    readable_streams()
    print("‘thief’ – 3 × 4 … 職")
    sys.stdout.flush()
    assert raw.getvalue() == b"'thief' - 3 x 4 ... \\u8077\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_a_sentence(
    number: int,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from audit.core.rundir import building

    def run(suite: str, *given: str | None) -> None:
        with building(tmp_path, "s"):
            assert list(tmp_path.glob(".partial-*"))
            os.kill(os.getpid(), number)
            raise AssertionError("it went on")

    before = signal.getsignal(number)
    monkeypatch.setattr(cli, "_load", run)
    monkeypatch.setattr(sys, "argv", ["clip-audit", "run", "quick"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert capsys.readouterr().err == "stopped\n"
    assert not list(tmp_path.glob(".partial-*"))
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert Stopped(15).exit_code == 143


def test_what_the_machine_refuses_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(suite: str, *given: str | None) -> None:
        raise OSError(28, "No space left on device", "/data/[x]")

    monkeypatch.setattr(cli, "_load", full)
    monkeypatch.setattr(sys, "argv", ["clip-audit", "run", "quick"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 1
    assert err.startswith(
        "clip-audit: /data/[x]: this machine refuses it (No space left on device)"
    )


def test_a_full_disk_leaves_no_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / ("職" * 80), b"x")  # 240 bytes of name
    (tmp_path / "a").write_bytes(b"old")

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


def test_a_file_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    flush, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("flushed"), flush(file)))
    monkeypatch.setattr(os, "replace", lambda *of: (done.append("moved"), move(*of)))
    umask = os.umask(0)
    try:
        write_bytes(tmp_path / "a", b"x", mode=0o600)
    finally:
        os.umask(umask)
    assert done == ["flushed", "moved"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600

    def half_written() -> None:
        with written_aside(tmp_path / "a") as aside:
            aside.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_written()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"x")]


def test_a_place_that_can_not_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(tmp_path / "new" / "deep" / "x.csv")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is read-only or no folder"):
        require_writable(tmp_path / "file" / "x.csv")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="is read-only"):
        require_writable(tmp_path / "x.csv")


@pytest.mark.slow
def test_sigterm_from_outside_ends_with_143(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from audit.cli import verbs as cli\n"
        "cli._load = lambda *given: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.argv = ['clip-audit', 'run', 'quick']; cli.main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 143
    assert ended.stderr == "stopped\n"


def test_what_was_kept_is_said_where_something_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = Stopped(signal.SIGINT)
    stopped.add_note("what was encoded is kept")

    def run(suite: str, *given: str | None) -> None:
        raise stopped

    monkeypatch.setattr(cli, "_load", run)
    monkeypatch.setattr(sys, "argv", ["clip-audit", "run", "quick"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "stopped; what was encoded is kept\n"


@pytest.mark.parametrize("width", [40, 60, 67, 80, 100])
def test_a_table_says_all_in_any_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    groups = ["young adult", "middle-aged"]
    counted = {"attribute": "clothing_colour", "group": groups, "pictures": [1, 2]}
    numbers("Pictures", pd.DataFrame(counted).assign(compared="yes"), ["group"], once=True)
    asked = {"question": ["misclassification by ancestry in people-gender"], "to exceed": ["1,589"]}
    numbers("Needed", pd.DataFrame(asked | {"to be within": ["none suffices"]}), ["question"])
    out = capsys.readouterr().out
    assert "…" not in out
    for whole in ("clothing_colour", *groups, "none suffices", "misclassification", "to exceed"):
        assert whole in out
    assert ("attribute: clothing_colour\n  group: middle-aged" in out) == (width < 60)
    assert max(map(len, out.splitlines())) <= max(width, 60)


def test_a_dumb_terminal_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "50", "TERM": "dumb", "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert console().is_dumb_terminal
    assert console().width == 50


@pytest.mark.parametrize(("width", "term"), [("40", "xterm"), ("80", "dumb")])
def test_where_bars_have_no_room_progress_is_lines(
    width: str, term: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"COLUMNS": width, "TERM": term, "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    stage = "encode pictures, gaussian blur with a long name"
    with progress() as tell:
        tell(stage, 1280, 1280)
    assert capsys.readouterr().err == f"{stage}: 1,280 of 1,280\n"

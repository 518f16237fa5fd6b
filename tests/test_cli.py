"""The verbs, as a person types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import worlds

from audit import cli, resources


def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str):
    """Exit code, output and error output of a command."""
    monkeypatch.setattr(sys, "argv", ["clip-audit", *words])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


@pytest.mark.parametrize(
    "kind", ["models", "datasets", "label-sets", "templates", "probes", "metrics", "suites"]
)
def test_everything_listed_can_be_shown(monkeypatch, capsys, kind: str) -> None:
    code, out, _ = say(monkeypatch, capsys, "list", kind)
    assert code == 0
    names = [line.split("  ")[0] for line in out.splitlines() if line and line[0] != " "]
    assert names
    code, out, _ = say(monkeypatch, capsys, "show", names[0])
    assert code == 0
    assert names[0] in out
    assert len(out) > 80


def test_a_new_suite_is_sound_and_says_what_to_do_next(monkeypatch, capsys, tmp_path) -> None:
    path = tmp_path / "suite.yaml"
    assert say(monkeypatch, capsys, "new", str(path))[0] == 0
    code, out, _ = say(monkeypatch, capsys, "check", str(path))
    assert code == 0
    assert "clip-audit run" in out
    code, _, err = say(monkeypatch, capsys, "new", str(path))
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", "quik"], "no suite named 'quik'. Did you mean 'quick'?"),
        (["run", "quick", "--model", "specimen-skewd"], "Did you mean 'specimen-skewed'?"),
        (["check", "quick", "--model", "specimen-skewd"], "Did you mean 'specimen-skewed'?"),
        (["show", "people-gendr"], "Did you mean 'people-gender'?"),
        (["report", "nowhere"], "nowhere is not a finished run"),
    ],
)
def test_a_mistake_gets_a_sentence_and_exit_code_2(
    monkeypatch, capsys, tmp_path: Path, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = say(monkeypatch, capsys, *words)
    assert code == 2
    assert says in err
    assert "Traceback" not in err


def test_a_gate_ends_with_3_and_a_run_prints_its_findings(monkeypatch, capsys, world: Path) -> None:
    table = worlds.people(world, 300)
    encoder = worlds.planted(
        world, table, "people-nonce", lambda r: "wug" if r["gender"] == "female" else "dax"
    )
    monkeypatch.setattr(cli, "_encoder", lambda suite, device: lambda: encoder)
    suite = worlds.suite_file(world, "people-nonce")
    words = ["run", str(suite), "--out", str(world / "runs"), "--cache", str(world / "cache")]
    code, out, _ = say(monkeypatch, capsys, *words)
    assert code == 0
    assert "shown large" in out
    report = next(line for line in out.splitlines() if line.startswith("report: "))
    assert Path(report.removeprefix("report: ")).is_file()
    code, _, err = say(monkeypatch, capsys, *words, "--fail-on", "shown-large")
    assert code == 3
    assert "--fail-on" in err


def test_purging_deletes_what_was_stored(monkeypatch, capsys, world: Path) -> None:
    table = worlds.people(world, 60)
    encoder = worlds.planted(world, table, "people-nonce", lambda r: "wug")
    monkeypatch.setattr(cli, "_encoder", lambda suite, device: lambda: encoder)
    suite, cache = worlds.suite_file(world, "people-nonce"), str(world / "cache")
    say(monkeypatch, capsys, "run", str(suite), "--out", str(world / "runs"), "--cache", cache)
    purge = ["purge", "--dataset", "tiny", "--cache", cache]
    code, out, _ = say(monkeypatch, capsys, *purge, "--subject", "s00003")
    assert (code, out.split()[0]) == (0, "1")
    code, out, _ = say(monkeypatch, capsys, *purge)
    assert (code, out.split()[0]) == (0, "59")


def test_listing_and_reading_do_not_import_torch() -> None:
    code = (
        "import sys, audit.cli, audit.catalogue, audit.run, audit.report, audit.embeddings;"
        "list(audit.catalogue.listing('label-sets'));"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_ships_is_found() -> None:
    assert resources.shipped("label_sets").is_dir()
    assert resources.shipped("REPORT_TEMPLATE.md").is_file()
    with pytest.raises(FileNotFoundError, match="not part of this installation"):
        resources.shipped("nothing")

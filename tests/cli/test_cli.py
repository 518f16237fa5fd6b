"""The verbs, as a person types them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

import pytest
import typer
import worlds

from audit.cli import summary
from audit.cli import verbs as cli
from audit.cli.kinds import Export, Kind, choice_of
from audit.cli.levels import FailOn
from audit.core import resources
from audit.core.errors import GateError
from audit.core.rundir import Run
from audit.engine import gates
from audit.engine.gates import GateResult


def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str):
    """Exit code, output and error output of a command."""
    monkeypatch.setattr(sys, "argv", ["clip-audit", *words])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--unit 1/2 --on ray", "--unit 1/2 is one unit, and --on launches all of them. Leave out"),
        ("--units 3", "--units 3: nobody launches any. Add --on ray, or leave it out."),
        ("--workers 2", "--workers 2: nobody launches any. Add --on ray, or leave it out."),
        ("--unit 3/2", "unit: got '3/2', which is no part of a whole."),
    ],
)
def test_options_that_would_say_nothing_are_refused(monkeypatch, capsys, words, told) -> None:
    code, out, err = say(monkeypatch, capsys, "embed", "quick", *words.split())
    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.slow
def test_a_new_suite_is_sound_and_says_what_to_do_next(monkeypatch, capsys, tmp_path) -> None:
    path = tmp_path / "suite.yaml"
    assert say(monkeypatch, capsys, "new", str(path))[0] == 0
    code, out, _ = say(monkeypatch, capsys, "check", str(path))
    assert code == 0
    assert "clip-audit run" in out
    code, _, err = say(monkeypatch, capsys, "new", str(path))
    assert code == 2
    assert "exists already" in err


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_gate_ends_with_3_and_a_run_prints_its_findings(monkeypatch, capsys, world: Path) -> None:
    table = worlds.people(world, 300)
    encoder = worlds.planted(
        world, table, "people-nonce", lambda r: "wug" if r["gender"] == "female" else "dax"
    )
    monkeypatch.setattr(cli, "encoder_of", lambda suite, device: lambda: encoder)
    suite = worlds.suite_file(world, "people-nonce")
    words = ["run", str(suite), "--out", str(world / "runs"), "--cache", str(world / "cache")]
    code, out, _ = say(monkeypatch, capsys, *words)
    assert code == 0
    assert "exceeds margin" in out
    report = next(line for line in out.splitlines() if line.startswith("report: "))
    assert Path(report.removeprefix("report: ")).is_file()
    code, _, err = say(monkeypatch, capsys, *words, "--fail-on", "exceeds-margin")
    assert code == 3
    assert "--fail-on" in err


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_the_suites_own_gates_end_a_run_with_3_after_its_report(
    monkeypatch, capsys, world: Path
) -> None:
    table = worlds.people(world, 300)
    encoder = worlds.planted(
        world, table, "people-nonce", lambda r: "wug" if r["gender"] == "female" else "dax"
    )
    monkeypatch.setattr(cli, "encoder_of", lambda suite, device: lambda: encoder)
    suite = worlds.suite_file(world, "people-nonce")
    policy = "gates: [{attribute: %s, family: default, fail_if: exceeds_margin, allow: [%s]}]\n"
    plain = suite.read_text()
    words = ["run", str(suite), "--out", str(world / "runs"), "--cache", str(world / "cache")]

    suite.write_text(plain + policy % ("gender", "inconclusive"))
    code, out, err = say(monkeypatch, capsys, *words)
    assert code == 3
    assert "2 of 4 gated gaps fail the policy of the suite" in err
    assert (
        "Fails 'gender, default: fails if a gap exceeds the margin; inconclusive allowed': " in err
    )
    assert "‘wug’, gender: female v male" in err
    report = next(line for line in out.splitlines() if line.startswith("report: "))
    folder = Path(report.removeprefix("report: ")).parent
    assert (folder / "report.html").is_file()
    sealed = json.loads((folder / "manifest.json").read_text())["files"]
    assert {"junit.xml", "findings.sarif", "gates.json"} <= set(sealed)

    suite.write_text(plain + policy % ("age_group", "inconclusive, too_few"))
    code, out, _ = say(monkeypatch, capsys, *words)
    assert code == 0
    assert "gates: 4 of 4 gaps pass" in out


def test_at_most_ten_failed_gaps_are_printed(monkeypatch, capsys, tmp_path: Path) -> None:
    one = GateResult(
        gate="g", key="k", task="t", metric="m", label="l", attribute="a",
        outcome="inconclusive", passed=False, sentence="Fails 'g'.",
    )  # fmt: skip
    allowed = one.model_copy(update={"passed": True, "sentence": "Passes 'g', allowed."})
    large = one.model_copy(update={"outcome": "exceeds margin", "sentence": "A large one."})
    monkeypatch.setattr(gates, "read", lambda run: [one] * 12 + [allowed, large])
    with pytest.raises(GateError, match="13 of 14 gated gaps fail"):
        summary.gate_results(Run(tmp_path, {}))
    printed = capsys.readouterr()
    assert printed.err.startswith("A large one.")  # what is shown comes before what is open
    assert printed.err.count("Fails 'g'.") == 9
    assert "and 3 more" in printed.err
    assert "Passes 'g', allowed." in printed.out  # what is open is printed, allowed or not


@pytest.mark.slow
def test_check_seals_a_plan_and_says_how_it_stands(monkeypatch, capsys, world: Path) -> None:
    worlds.people(world, 300)
    words = ["check", str(worlds.suite_file(world, "people-nonce")), "--model", "specimen-even"]
    words += ["--out", str(world / "runs")]
    code, out, _ = say(monkeypatch, capsys, *words)
    assert (code, (world / "runs").exists()) == (0, False)
    assert "The plan is unsealed. '--seal' dates it" in out
    code, out, _ = say(monkeypatch, capsys, *words, "--seal")
    assert code == 0
    (path,) = (world / "runs" / "plans").iterdir()
    assert f"git add --force {path}" in out
    assert "The plan is sealed 20" in out
    assert "keeps its date" in say(monkeypatch, capsys, *words, "--seal")[1]
    assert "The plan is sealed 20" in say(monkeypatch, capsys, *words)[1]


@pytest.mark.slow
def test_check_names_prompts_that_the_model_cannot_read_whole(
    monkeypatch, capsys, world: Path
) -> None:
    worlds.people(world, 40)
    long = world / "long.yaml"
    long.write_text(
        "name: long\nversion: 1\npurpose: test.\nsource: 'this project: test'\nlicence: CC0\n"
        f"labels: [short, {'a b c d e f ' * 8}, {'g h i j k l ' * 8}]\n"
    )
    suite = worlds.suite_file(world, "people-nonce", min_group=2)
    suite.write_text(suite.read_text().replace("people-nonce", str(long)))
    words = ("check", str(suite), "--model", "specimen-even")
    code, _, err = say(monkeypatch, capsys, *words)
    assert code == 2
    assert re.search(r"'long': a text of \d+ tokens is longer than the 40 this model reads", err)
    assert "more of 3 are too long" in err or "more of 9 are too long" in err


@pytest.mark.slow
def test_check_says_what_could_be_found_and_what_is_not_compared(
    monkeypatch, capsys, world: Path
) -> None:
    worlds.people(world, 400, per_subject=4)
    suite = worlds.suite_file(world, "people-nonce", min_group=35)
    gate = "gates: [{attribute: '*', family: default, unless: within_margin}]\n"
    suite.write_text(suite.read_text() + gate)
    code, out, _ = say(monkeypatch, capsys, "check", str(suite), "--model", "specimen-even")
    assert code == 0
    assert "400 pictures of 100 subjects" in out
    assert "every attribute, default: fails unless every gap is within the margin" in out
    assert "no: under 35 subjects" in out
    lines = [line.strip() for line in out.splitlines() if "  " in line]
    rows = {re.split(r"\s{2,}", line)[0]: line.split() for line in lines}
    best, worst = map(float, rows["gender"][5].split("-"))
    assert 1.5 * best < worst
    assert rows["gender"][-1] == "0.0005"  # one in 2,001 resamples
    assert rows["gender x age_group"][-5:] == ["-"] * 5
    assert "each subject counting once" in out


@pytest.mark.slow
def test_purging_deletes_what_was_stored(monkeypatch, capsys, world: Path) -> None:
    table = worlds.people(world, 60)
    encoder = worlds.planted(world, table, "people-nonce", lambda r: "wug")
    monkeypatch.setattr(cli, "encoder_of", lambda suite, device: lambda: encoder)
    suite, cache = worlds.suite_file(world, "people-nonce"), str(world / "cache")
    say(monkeypatch, capsys, "run", str(suite), "--out", str(world / "runs"), "--cache", cache)
    purge = ["purge", "--dataset", "tiny", "--cache", cache]
    code, out, _ = say(monkeypatch, capsys, *purge, "--subject", "s00003")
    assert (code, out.split()[0]) == (0, "1")
    code, out, _ = say(monkeypatch, capsys, *purge)
    assert (code, out.split()[0]) == (0, "59")


@pytest.mark.slow
def test_listing_and_reading_import_nothing_dear() -> None:
    code = (
        "import sys, audit.cli.verbs, audit.report.render, audit.report.narrative;"
        "soon = {'scipy.stats', 'scipy.optimize', 'matplotlib.pyplot'} & {*sys.modules};"
        "import audit.explore.catalogue, audit.engine.run, audit.store.embeddings;"
        "list(audit.explore.catalogue.listing('label-sets'));"
        "sys.exit(bool(soon | {'torch', 'transformers'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_ships_is_found() -> None:
    assert resources.shipped("label_sets").is_dir()
    assert resources.shipped("REPORT_TEMPLATE.md").is_file()
    with pytest.raises(FileNotFoundError, match="not part of this installation"):
        resources.shipped("nothing")


@pytest.mark.parametrize("choice", [Export, Kind, FailOn])
def test_a_choice_that_is_misspelt_names_the_nearest_one(choice: type[StrEnum]) -> None:
    one = next(iter(choice))
    assert choice_of(choice)(one.value) is one
    with pytest.raises(typer.BadParameter, match=rf"Did you mean '{one}'\?$") as refused:
        choice_of(choice)(f"{one}x")
    assert all(f"'{word}'" in str(refused.value) for word in choice)
    with pytest.raises(typer.BadParameter, match=r"'\.$"):
        choice_of(choice)("zzzzzzzz")

"""Words of before: suites, plans, options and runs are read in those of now, and digests hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import before
import pandas as pd
import pytest
import typer
import yaml

from audit.cli import verbs
from audit.cli.levels import FailOn, level_of
from audit.core.earlier import as_sealed, in_words_of_now, sentence_of_now
from audit.core.errors import InputError
from audit.core.files import digest_of, write_json
from audit.core.integrity import edits
from audit.core.resources import suites
from audit.core.rundir import TABLES, Run, building, open_run
from audit.core.tables import CONTROLS, DISPARITIES, MEASURES, STABILITY, VERDICTS
from audit.engine import gates
from audit.engine.policy import Gate
from audit.engine.suite import load_suite
from audit.explore.compare import in_short
from audit.report.exports.public import write_public
from audit.report.narrative import narrative_of, save

ROOT = Path(__file__).resolve().parents[2]
#: also where a line ends between the two, or a piece of text in code
_GAP = r"(?:[\s_*`’-]|\"\s*f?\"|#:?\s)+"
OLD = re.compile(rf"shown{_GAP}(large|small)\b|cannot{_GAP}tell\b", re.IGNORECASE)
GATES = """gates:
  - {attribute: gender, family: '*', fail_if: shown_large, allow: [cannot_tell, too_few]}
  - {attribute: '*', family: suspicion, unless: shown_small}
"""


def in_words_of_now_too(text: str) -> str:
    for new, old in before.KEYS.items():
        text = text.replace(old, new)
    return text


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A suite with gates in the words of before, and the same one in those of now."""
    plain = re.sub(r"(?m)^primary:\n(  .*\n|\n)*", "", suites()["quick"].read_text())
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(plain + GATES)
    new.write_text(plain + in_words_of_now_too(GATES))
    return old, new


# --- suites, plans and options --------------------------------------------------------------------


@pytest.mark.slow
def test_a_suite_in_the_words_of_before_is_the_same_suite(files: tuple[Path, Path]) -> None:
    old, new = (load_suite(str(path)) for path in files)
    assert old == new
    assert (old.digest, old.plan_digest) == (new.digest, new.plan_digest)
    assert old.gates[0].fail_if == "exceeds_margin"
    assert old.gates[0].allow == ("inconclusive", "too_few")
    assert not OLD.search(old.resolved())


def test_digests_are_of_the_words_of_before_so_that_sealed_plans_hold() -> None:
    gate = Gate(attribute="a", family="*", fail_if="exceeds_margin", allow=("inconclusive",))
    fixed = {"seed": 1, "gates": [gate.model_dump(mode="json")]}
    assert as_sealed(fixed) == {
        "seed": 1,
        "gates": [
            {"attribute": "a", "family": "*", "fail_if": "shown_large", "unless": None,
             "allow": ["cannot_tell"]}
        ],
    }  # fmt: skip


def test_no_group_or_family_is_taken_for_a_verdict() -> None:
    gate = {"attribute": "cannot_tell", "family": "shown_small", "unless": "shown_small"}
    read = Gate.model_validate(gate)
    assert (read.attribute, read.family, read.unless) == (
        "cannot_tell", "shown_small", "within_margin",
    )  # fmt: skip
    assert as_sealed({"gates": [read.model_dump()]})["gates"][0]["attribute"] == "cannot_tell"


def test_another_word_is_refused_with_the_words_of_now() -> None:
    with pytest.raises(ValueError, match="exceeds_margin") as told:
        Gate.model_validate({"attribute": "a", "family": "*", "fail_if": "shown_big"})
    assert "shown_large" not in str(told.value)


def test_what_to_write_now_is_said_once_and_by_the_command_only(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = files
    load_suite(str(old))
    verbs._load(str(new), None)
    verbs._load("quick", None)
    assert capsys.readouterr() == ("", "")
    verbs._load(str(old), None)
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    for now, then in before.KEYS.items():
        assert f"'{now}' for '{then}'" in line
    assert "old.yaml" in line


@pytest.mark.parametrize(
    ("word", "level"), [("shown-large", FailOn.exceeds), ("cannot-tell", FailOn.inconclusive)]
)
def test_an_option_in_the_words_of_before_is_taken_and_told(
    word: str, level: FailOn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert level_of(word) is level
    assert capsys.readouterr().err == f"--fail-on {word} is now written --fail-on {level}\n"
    assert level_of(str(level)) is level
    assert capsys.readouterr().err == ""
    with pytest.raises(typer.BadParameter, match="'exceeds-margin'"):
        level_of("shown-big")


# --- sentences ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("cannot tell", "inconclusive"),
        ("a; shown large against a margin of 1.25 times.", "a; exceeds the margin of 1.25 times."),
        (
            "a; shown small: no two groups differ by 5 points.",
            "a; within the margin: no two groups differ by 5 points.",
        ),
        ("shown small: below the margin of 5 points.", "within the margin of 5 points."),
        (
            "cannot tell whether it exceeds the margin of 5 points or 1.25 times.",
            "inconclusive against the margin of 5 points or 1.25 times.",
        ),
        (
            "cannot tell whether that is more than 5 points either way.",
            "inconclusive: it is open whether that is more than 5 points either way.",
        ),
        ("2 groups; cannot tell.", "2 groups; inconclusive."),
        ("3 from chance, shown large.", "3 from chance, which exceeds the margin."),
        (
            "Asked ‘x’: shown large is the verdict on the widest gap; it is withheld.",
            "Asked ‘x’: exceeds margin is the verdict on the widest gap; it is withheld.",
        ),
        (
            "Fails 'a, b: fails if shown large; too few and cannot tell allowed': x: shown large "
            "(too few subjects to compare: c).",
            "Fails 'a, b: fails if a gap exceeds the margin; too few and inconclusive allowed': x: "
            "exceeds margin (too few subjects to compare: c).",
        ),
        (
            "Fails 'a: fails unless shown small': x: cannot tell, which this gate does not allow.",
            "Fails 'a: fails unless every gap is within the margin': x: inconclusive, which this "
            "gate does not allow.",
        ),
        ("the model chooses 'cannot tell' for 3", "the model chooses 'cannot tell' for 3"),
    ],
)  # fmt: skip
def test_sentences_of_before_say_the_words_of_now(then: str, now: str) -> None:
    assert sentence_of_now(then) == now
    assert sentence_of_now(now) == now


def test_names_of_labels_and_groups_are_left_as_they_are() -> None:
    finding = {"label": "cannot tell", "groups": ["shown small"], "verdict": "cannot tell",
               "label_errors": {"at random": {"1 %": "shown small"}}}  # fmt: skip
    assert in_words_of_now([finding]) == [
        {"label": "cannot tell", "groups": ["shown small"], "verdict": "inconclusive",
         "label_errors": {"at random": {"1 %": "within margin"}}}
    ]  # fmt: skip


# --- runs -----------------------------------------------------------------------------------------

FINDING = {
    "id": "jobs.selection.nurse.gender", "severity": "medium", "harm": "stereotyping",
    "statement": "Asked 'jobs', …; exceeds the margin of 5 points.", "verdict": "exceeds margin",
    "task": "jobs", "metric": "selection", "label": "nurse", "attribute": "gender",
    "groups": ["female", "male"], "estimate": 0.12, "low": 0.08, "high": 0.17, "margin": 0.05,
    "evidence": [], "caveats": ["x; 'within margin' is said of no group that nobody looked at"],
    "label_errors": {"at random": {"1 %": "inconclusive"}},
}  # fmt: skip
RESULT = {
    "gate": "gender, *: fails if a gap exceeds the margin; inconclusive allowed", "key": "k",
    "task": "jobs", "metric": "selection", "label": "nurse", "attribute": "gender",
    "outcome": "exceeds margin", "passed": False, "sentence": "Fails 'g': nurse: exceeds margin.",
}  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Run:
    """A small run of layout 5, in the words of then."""
    with building(tmp_path / "runs", "small") as build:
        write_json(build.folder / "dataset.json", {"layout": 5, "name": "d", "pictures": 9,
                                                   "subjects": 9})  # fmt: skip
        write_json(build.folder / "findings.json", [FINDING])
        write_json(build.folder / "gates.json", [RESULT])
        (build.folder / "suite.yaml").write_text("name: small\n" + in_words_of_now_too(GATES))
        for name, schema in TABLES.items():
            schema.write(schema.empty(), build.folder / f"{name}.parquet")
        row = {"key": "k", "comparison": "difference", "status": "ok", "verdict": VERDICTS[0],
               "pooled_verdict": VERDICTS[2]}  # fmt: skip
        _write(build.folder, "disparities", row)
        _write(build.folder, "controls", {"control": "shuffled", "exceeds_margin": 7})
        told = "a; within the margin: less than 5 points either way."
        _write(
            build.folder, "measures", {"status": "ok", "verdict": VERDICTS[1], "statement": told}
        )
        build.facts.update(model="m")
    assert build.sealed is not None
    return before.in_words_of_before(open_run(build.sealed))


def _write(folder: Path, name: str, row: dict[str, object]) -> None:
    schema = TABLES[name]
    schema.write(schema.filled(pd.DataFrame([row])), folder / f"{name}.parquet")


@pytest.mark.slow
def test_a_run_of_before_is_read_in_the_words_of_now(old: Run) -> None:
    with pytest.raises(Exception, match="verdict"):
        DISPARITIES.read(old.path / "disparities.parquet")  # its file has the words of then
    gap = old.disparities.iloc[0]
    assert (gap["verdict"], gap["pooled_verdict"]) == ("exceeds margin", "inconclusive")
    assert old.controls["exceeds_margin"].tolist() == [7]
    assert old.measures["verdict"].tolist() == ["within margin"]
    assert old.measures["statement"].tolist() == [
        "a; within the margin: less than 5 points either way."
    ]
    assert old.findings == [FINDING]
    assert [r.model_dump() for r in gates.read(old)] == [RESULT | {"left_out": ""}]
    assert not OLD.search(yaml.safe_dump(old.suite))
    assert list(old.controls) == list(CONTROLS.columns)
    assert list(old.measures) == list(MEASURES.columns)
    assert old.stability.empty
    assert list(old.stability) == list(STABILITY.columns)


def test_reading_a_run_of_before_changes_none_of_its_files(old: Run) -> None:
    as_sealed_ = {p: digest_of(p) for p in old.path.rglob("*") if p.is_file()}
    for name in TABLES:
        getattr(old, name)
    assert old.findings
    assert gates.read(old)
    assert {p: digest_of(p) for p in as_sealed_} == as_sealed_
    assert OLD.search((old.path / "findings.json").read_text())
    assert list(edits(open_run(old.path))) == []


def test_a_seal_is_required_of_the_layout_before_too(old: Run) -> None:
    facts = json.loads((old.path / "manifest.json").read_text())
    assert facts.pop("schema") == 5
    write_json(old.path / "manifest.json", {k: v for k, v in facts.items() if k != "seal"})
    assert list(edits(open_run(old.path))) == ["manifest.json changed"]


def test_a_word_of_before_in_a_run_of_now_is_refused(old: Run) -> None:
    facts = json.loads((old.path / "manifest.json").read_text())
    write_json(old.path / "manifest.json", facts | {"schema": 6})
    with pytest.raises(InputError, match="disparities"):
        open_run(old.path).disparities  # noqa: B018 - it is read when it is asked for


@pytest.mark.slow
def test_words_of_the_author_quote_a_run_of_before_as_they_did(old: Run) -> None:
    quotes = (
        "{{ run.shown-large }} {{ run.shown-small = 0 }} {{ run.cannot-tell }} "
        f"{{{{ {FINDING['id']}.verdict = shown large }}}} {{{{ {FINDING['id']}.estimate = 12 }}}}"
    )
    save(old, f"sections: {{summary: '{quotes}'}}\n")
    words = narrative_of(old)
    assert words.problems == []
    assert "1 0 0 exceeds margin 12" in words.words("summary")
    assert not OLD.search(words.words("summary"))
    assert "run.shown-large" not in words.facts


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_whatever_is_made_of_a_run_of_before_says_the_words_of_now(
    quick_runs: dict[str, Run], tmp_path: Path
) -> None:
    from audit.explore.compare import compare
    from audit.report.render import TEMPLATE, fill, shipped

    now = quick_runs["specimen-skewed"]
    then = before.in_words_of_before(open_run(Path(shutil.copytree(now.path, tmp_path / "then"))))
    assert OLD.search((then.path / "findings.json").read_text())
    assert then.findings == now.findings
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(then, name), getattr(now, name))
    assert not OLD.search(fill(then, shipped(TEMPLATE), {}))
    assert not OLD.search(in_short(compare(then, now)))
    public = write_public(then, tmp_path / "public")
    for path in public.path.rglob("*"):
        if path.suffix in (".json", ".yaml", ".md", ".xml", ".sarif"):
            assert not OLD.search(path.read_text(encoding="utf-8")), path.name
    assert public.disparities["verdict"].isin(VERDICTS).all()


# --- the words themselves -------------------------------------------------------------------------

#: where the words of before may stand: the migration, its tests, what was released
HERE = "tests/house/test_earlier.py"
MIGRATION = ("audit/core/earlier.py", "tests/before.py", HERE, "CHANGELOG.md")
TEXTS = ("*.py", "*.md", "*.ipynb", "*.yaml", "*.yml", "*.txt", "*.toml", "*.html", "*.css")
PLACES = ("audit", "dashboards", "benchmarks", "docs", "label_sets", "notebooks", "tests")


def test_the_words_of_before_stand_nowhere_else() -> None:
    pages = [p for where in PLACES for kind in TEXTS for p in (ROOT / where).rglob(kind)]
    pages += [p for kind in TEXTS for p in ROOT.glob(kind)]
    found = {}
    for page in pages:
        name = page.relative_to(ROOT).as_posix()
        said = [m[0] for m in OLD.finditer(page.read_text(encoding="utf-8"))]
        if said and name not in MIGRATION:
            found[name] = said
    assert len(pages) > 300
    assert found == {}


def test_the_scan_finds_each_of_the_words() -> None:
    split = '"what is shown "\n    f"large"', "#: is shown\n#: small"
    for text in ("SHOWN_LARGE", "shown small", "*cannot tell*", "shown-large", *split):
        assert OLD.search(text), text

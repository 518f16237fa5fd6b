"""Gates: what a policy makes of verdicts, and how build servers and code hosts read it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import worlds

from audit.core.errors import InputError
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, EXCEEDS, INCONCLUSIVE, WITHIN
from audit.engine.gates import NOTHING, GateResult, Origin, judge, junit, read, sarif, write
from audit.engine.policy import Gate
from audit.engine.suite import load_suite
from audit.measure.findings import Finding

ORIGIN = Origin("quick", "planted", "1.0")


def gate(attribute: str = "gender", family: str = "crime", **rule: object) -> Gate:
    return Gate.model_validate(
        {"attribute": attribute, "family": family, **(rule or {"fail_if": "exceeds_margin"})}
    )


def gap(verdict: str = EXCEEDS, **changed: object) -> dict[str, object]:
    """A row of DISPARITIES, as far as gates read it."""
    row: dict[str, object] = {
        "key": "",
        "condition": ENSEMBLE,
        "comparison": "worst_case_gap",
        "task": "jobs",
        "metric": "selection",
        "label": "thief",
        "margin_family": "crime",
        "attribute": "gender",
        "group": "male",
        "other": "female",
        "value": 0.12,
        "low_simultaneous": 0.08,
        "high_simultaneous": 0.16,
        "margin": 0.05,
        "status": "ok",
        "reason": "",
        "verdict": verdict,
    }
    row |= changed
    names = ("task", "metric", "label", "attribute", "comparison")
    return row | {"key": " | ".join(str(row[n]) for n in names)}


def table(*gaps: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(gaps))


@pytest.mark.parametrize("rule", [{"fail_if": "exceeds_margin"}, {"unless": "within_margin"}])
@pytest.mark.parametrize(
    ("verdict", "status", "outcome", "passes"),
    [
        (EXCEEDS, "ok", "exceeds margin", set()),
        (WITHIN, "ok", "within margin", {"", "inconclusive", "too_few"}),
        (INCONCLUSIVE, "ok", "inconclusive", {"inconclusive"}),
        (INCONCLUSIVE, "too_few", "too few", {"too_few"}),
        (INCONCLUSIVE, "undefined", "undefined", {"too_few"}),
    ],
)
@pytest.mark.parametrize("allow", ["", "inconclusive", "too_few"])
def test_what_is_open_fails_unless_the_policy_allows_it(
    rule: dict, verdict: str, status: str, outcome: str, passes: set, allow: str
) -> None:
    policy = gate(**rule, allow=(allow,) if allow else ())
    (result,) = judge(table(gap(verdict, status=status, reason="one group only")), [policy])
    assert (result.outcome, result.passed) == (outcome, allow in passes)
    assert result.sentence.startswith("Passes" if allow in passes else "Fails")
    assert result.open == (outcome not in (EXCEEDS, WITHIN))


def test_a_result_says_which_gap_it_is_about() -> None:
    (large,) = judge(table(gap()), [gate()])
    assert large.sentence == (
        "Fails 'gender, crime: fails if a gap exceeds the margin': jobs, ‘thief’, gender: male v "
        "female, gap 12 (8 to 16) points, margin 5: exceeds margin."
    )
    few = gap(INCONCLUSIVE, status="too_few", reason="one group only", value=float("nan"))
    (allowed,) = judge(table(few), [gate(unless="within_margin", allow=("too_few",))])
    assert "(one group only): too few, which this gate allows." in allowed.sentence
    assert "nan" not in allowed.sentence


def test_only_worst_cases_of_the_headline_are_gated_and_every_gate_is_asked() -> None:
    gaps = table(
        gap(),
        gap(condition="template: x"),
        gap(comparison="difference"),
        gap(attribute="gender x age"),
        gap(margin_family="default"),
    )
    assert [r.key for r in judge(gaps, [gate()])] == [gap()["key"]]
    assert len(judge(gaps, [gate("*"), gate("age x gender"), gate("*", "*")])) == 2 + 1 + 3
    assert judge(gaps, []) == []


def test_a_gate_that_covers_nothing_fails_rather_than_passing_unasked() -> None:
    (result,) = judge(table(gap()), [gate("gender", "suspicion")])
    assert (result.passed, result.outcome, result.key) == (False, NOTHING, "")
    assert "misclassification" in result.sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("{attribute: gender, family: suspicion}", "a gate with no rule"),
        (
            "{attribute: gender, family: '*', fail_if: exceeds_margin, unless: within_margin}",
            "a gate with both rules",
        ),
        ("{attribute: gender, family: suspicion, fail_if: shown_big}", "allowed: 'exceeds_margin'"),
        (
            "{attribute: gender, family: suspicion, fail_if: exceeds_margin, allow: [few]}",
            "allowed: 'too_few' or 'inconclusive'",
        ),
        (
            "{attribute: gendr, family: suspicion, fail_if: exceeds_margin}",
            "gates[0].attribute: no attribute or intersection of this suite is named 'gendr'. "
            "Did you mean 'gender'?",
        ),
        (
            "{attribute: gender x age_grup, family: '*', fail_if: exceeds_margin}",
            "Did you mean 'gender x age_group'?",
        ),
        (
            "{attribute: gender, family: suspision, fail_if: exceeds_margin}",
            "gates[0].family: no label family asked in this suite is named 'suspision'. "
            "Did you mean 'suspicion'?",
        ),
        (
            "{attribute: gender, family: misclassification, fail_if: exceeds_margin}",
            "no label family asked in this suite is named 'misclassification'",
        ),
    ],
)
def test_a_mistake_in_a_gate_gets_a_sentence(world: Path, written: str, says: str) -> None:
    worlds.people(world, 200)
    path = worlds.suite_file(world, "people-suspicion")
    path.write_text(path.read_text() + f"gates:\n  - {written}\n")
    with pytest.raises(InputError) as refused:
        load_suite(str(path)).resolve()
    assert says in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["'*'", "gender", "age_group x gender"])
@pytest.mark.parametrize("family", ["'*'", "suspicion", "default"])
def test_a_sound_gate_resolves(world: Path, attribute: str, family: str) -> None:
    worlds.people(world, 200)
    path = worlds.suite_file(world, "people-suspicion")
    rule = f"{{attribute: {attribute}, family: {family}, unless: within_margin}}"
    path.write_text(path.read_text() + f"gates: [{rule}]\n")
    assert len(load_suite(str(path)).resolve().gates) == 1


def results() -> list[GateResult]:
    gaps = table(gap(), gap(WITHIN, label="clerk"), gap(INCONCLUSIVE, label="a < b & 'c'\x07"))
    return judge(gaps, [gate(), gate(unless="within_margin", allow=("inconclusive",))])


def test_junit_has_a_suite_a_gate_and_a_case_a_gap() -> None:
    root = ElementTree.fromstring(junit(results(), "quick"))
    assert root.tag == "testsuites"
    assert (root.get("name"), root.get("tests"), root.get("failures")) == ("quick", "6", "3")
    first, second = root.findall("testsuite")
    assert [s.get("failures") for s in (first, second)] == ["2", "1"]
    assert [c.get("name") for c in first] == [
        "thief by gender",
        "clerk by gender",
        "a < b & 'c'\N{REPLACEMENT CHARACTER} by gender",
    ]
    (failure,) = first[0]
    assert failure.get("type") == EXCEEDS
    assert failure.get("message") == failure.text == results()[0].sentence
    assert first[1].find("failure") is None


#: what the schema of Jenkins' JUnit files (junit-10.xsd of its xUnit plugin) has for each element
JENKINS = {
    "testsuites": ({"name", "tests", "failures", "errors", "time", "disabled"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id"},
        {"testcase"},
    ),
    "testcase": (
        {"classname", "name", "time"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"message", "type"}, set()),
    "skipped": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}


@pytest.mark.parametrize("gated", [True, False])
def test_junit_holds_nothing_that_jenkins_refuses(gated: bool) -> None:
    root = ElementTree.fromstring(junit(results() if gated else [], "quick"))
    for element in root.iter():
        attributes, children = JENKINS[element.tag]
        assert set(element.keys()) <= attributes, element.tag
        assert {child.tag for child in element} <= children, element.tag
    assert list(root.iter("testcase"))


@pytest.mark.parametrize("gated", [True, False])
def test_junit_is_read_by_a_library_for_it(gated: bool) -> None:
    junitparser = pytest.importorskip("junitparser", reason="the extra 'dev' is not installed")
    read = junitparser.JUnitXml.fromstring(junit(results() if gated else [], "quick").encode())
    counts = [(s.tests, s.failures, s.skipped) for s in read]
    assert counts == ([(3, 2, 0), (3, 1, 0)] if gated else [(1, 0, 1)])
    read.update_statistics()  # counted again from the cases
    assert [(s.tests, s.failures, s.skipped) for s in read] == counts


def test_no_policy_gives_files_that_say_so(tmp_path: Path) -> None:
    write(tmp_path, [], [], ORIGIN)
    root = ElementTree.fromstring((tmp_path / "junit.xml").read_text())
    assert (root.get("tests"), root.get("failures")) == ("1", "0")
    # a file without a testcase is a failed build to a build server
    ((case,),) = root
    assert [child.tag for child in case] == ["skipped"]
    assert case[0].get("message") == "the suite has no gates"
    assert json.loads((tmp_path / "gates.json").read_text()) == []
    assert json.loads((tmp_path / "findings.sarif").read_text())["runs"][0]["results"] == []
    assert read(Run(tmp_path, {})) == []


def finding(label: str, verdict: str, harm: str = "stereotyping") -> Finding:
    return Finding(
        id=f"jobs.selection.{label}.gender",
        statement=f"Asked 'jobs', the model chooses '{label}'.",
        verdict=verdict,
        severity="high",
        harm=harm,
        task="jobs",
        metric="selection",
        label=label,
        attribute="gender",
        groups=("male", "female"),
        estimate=0.1,
        low=0.0,
        high=0.2,
        margin=0.05,
        evidence=(str(gap(label=label)["key"]),),
    )


def test_sarif_is_what_a_code_host_reads() -> None:
    found = [
        finding("clerk", WITHIN),
        finding("thief", EXCEEDS),
        finding("boss", EXCEEDS, "allocation"),
        finding("ape", "seen", "denigration"),
    ]
    log = json.loads(sarif(found, results(), ORIGIN))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == [
        "harm/allocation", "harm/denigration", "harm/gate", "harm/stereotyping",
    ]  # fmt: skip
    assert all(r["shortDescription"]["text"] and r["help"]["text"] for r in rules)
    told = {r["message"]["text"]: r for r in run["results"]}
    levels = [r["level"] for r in run["results"]]
    assert levels == ["error", "error", "warning", "warning", "note"]
    thief = next(r for text, r in told.items() if "'thief'" in text)
    assert thief["level"] == "error"
    assert results()[0].sentence in thief["message"]["text"]
    bare = next(r for r in run["results"] if r["ruleId"] == "harm/gate")
    assert "which this gate does not allow" in bare["message"]["text"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "suite.yaml", "uriBaseId": "%SRCROOT%"}
        assert place["region"] == {"startLine": 1}
    prints = [r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_is_read_by_a_library_for_it(tmp_path: Path) -> None:
    loader = pytest.importorskip("sarif.loader", reason="pip install sarif-tools")
    (tmp_path / "f.sarif").write_text(sarif([finding("thief", EXCEEDS)], results(), ORIGIN))
    read = loader.load_sarif_files(str(tmp_path / "f.sarif"))
    assert read.get_report().get_issue_count_for_severity("error") == 2
    (first, _) = read.get_records()
    assert (first["Location"], first["Line"]) == ("suite.yaml", 1)


def test_uploads_of_two_suites_or_two_models_replace_nothing_of_each_other() -> None:
    def category(*of: str) -> str:
        (run,) = json.loads(sarif([], [], Origin(*of, "1.0")))["runs"]
        return run["automationDetails"]["id"]

    pairs = [("quick", "a/clip"), ("quick", "b/clip"), ("gated", "a/clip"), ("Été", "a/clip")]
    found = [category(*pair) for pair in pairs]
    assert found[0] == "clip-audit/quick/a-clip/"  # what follows the last slash tells runs apart
    assert len({*found}) == len(pairs)
    assert category("quick", "/home/ann/clip") == "clip-audit/quick/clip/"
    assert category("quick", "open_clip:/home/ann/clip") == "clip-audit/quick/open_clip-clip/"


@pytest.mark.slow
def test_alerts_point_to_the_suite_s_file_at_its_probe(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds.people(world, 40)
    path = worlds.suite_file(world, "people-nonce")
    (world / "my audits").mkdir()
    path = path.rename(world / "my audits" / "suite 1.yaml")
    path.write_text(path.read_text().replace("card.yaml", "../card.yaml"))
    monkeypatch.chdir(world)
    suite = load_suite("my audits/suite 1.yaml")
    task = suite.asked[0].task
    found = finding("wug", EXCEEDS).model_copy(update={"task": task})
    (run,) = json.loads(sarif([found], [], Origin("s", "m", "1.0", suite.written_in)))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20audits/suite%201.yaml"
    line = path.read_text().splitlines()[place["region"]["startLine"] - 1]
    assert "people-nonce" in line
    monkeypatch.chdir(world / "my audits")
    assert suite.written_in == ("suite 1.yaml", {task: place["region"]["startLine"]})
    (world / "elsewhere").mkdir()
    monkeypatch.chdir(world / "elsewhere")
    assert suite.written_in is None
    assert load_suite("quick").written_in is None


def test_an_alert_stays_the_same_alert_when_its_numbers_move() -> None:
    def fingerprint(f: Finding) -> object:
        (run,) = json.loads(sarif([f], [], ORIGIN))["runs"]
        return run["results"][0]["partialFingerprints"], run["results"][0]["ruleId"]

    one = finding("thief", EXCEEDS)
    moved = one.model_copy(update={"statement": "other numbers", "verdict": INCONCLUSIVE})
    assert fingerprint(one) == fingerprint(moved)
    assert fingerprint(one) != fingerprint(finding("clerk", EXCEEDS))


def test_results_come_back_from_disk(tmp_path: Path) -> None:
    assert read(Run(tmp_path, {})) == []  # a run of before there were gates
    write(tmp_path, [], results(), ORIGIN)
    assert read(Run(tmp_path, {})) == results()

"""Gates: judge a run by the suite's policy, for people and for continuous integration.

A suite's gates say what may not be shown of some gaps, or has to be. ``judge`` holds a run against
them; JUnit XML and SARIF are how build servers and code hosts read the outcome.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from audit.core.damage import Damage, DamagedWarning
from audit.core.digits import rounded
from audit.core.files import write_json, write_text
from audit.core.names import slug
from audit.core.rows import Fields, Row
from audit.core.rundir import Run
from audit.core.tables import (
    DISPARITIES,
    ENSEMBLE,
    EXCEEDS,
    OK,
    PRIMARY,
    WITHIN,
    WORST,
    records,
)
from audit.engine.policy import Gate
from audit.measure.claims import resting_bounds, within_but_for_the_left_out
from audit.measure.findings import Finding, in_columns

JUNIT: Final = "junit.xml"
SARIF: Final = "findings.sarif"
RESULTS: Final = "gates.json"
#: what a gate comes to that finds no gap to judge
NOTHING: Final = "nothing to judge"
_NO_GATES: Final = "the suite has no gates"

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
#: a code host shows no more results of a file than this, the first
_MOST: Final = 5_000
#: what the path of the suite is relative to
_BASE: Final = "%SRCROOT%"
#: what XML 1.0 can't hold, not even escaped
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Origin:
    """Where results come from: the suite, the model it was put to, and clip-audit's version.

    ``file`` is the suite as a code host finds it, relative to the repository's root, with the line
    of each task; none where it is in no repository, as a bundled suite is.
    """

    suite: str
    model: str
    version: str
    file: tuple[str, Mapping[str, int]] | None = None


class GateResult(BaseModel):
    """What one gate says of one gap; ``key`` is the row of DISPARITIES, empty if there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str
    key: str
    task: str
    metric: str
    label: str
    attribute: str
    outcome: str
    passed: bool
    sentence: str
    #: groups too small to be compared
    left_out: str = ""

    @property
    def open(self) -> bool:
        """Whether nothing was shown either way: too few, undefined or *inconclusive*."""
        return self.outcome not in (EXCEEDS, WITHIN, NOTHING)


def measured_gaps(measures: pd.DataFrame, gated: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Gaps of MEASURES that gates judge, as rows of DISPARITIES: shares instead of points.

    ``gated`` names each probe and metric of such gaps (``Probe.gated``).
    """
    named = zip(measures["probe"], measures["metric"], strict=True)
    rows = measures[np.fromiter((pair in gated for pair in named), bool, len(measures))]
    points = ("value", "low", "high", "low_simultaneous", "high_simultaneous", "margin")
    label = rows["label"] + " at " + rows["condition"]
    shares = {name: rows[name] / 100 for name in points}
    return DISPARITIES.filled(
        rows.assign(**shares, unit="", label=label, condition=ENSEMBLE, comparison=WORST)
    )


def judge(
    disparities: pd.DataFrame,
    gates: Sequence[Gate],
    declared: bool = False,
    measured: pd.DataFrame | None = None,
) -> list[GateResult]:
    """Hold the worst-case gaps of the headline condition against every gate that covers them.

    Args:
        disparities: rows of the table DISPARITIES; those that are no gated gap are passed over.
        gates: the suite's policy. They judge the primary questions; every gap where none is.
        declared: whether the suite declares primary questions, so that nothing else is judged.
        measured: gaps that the plan fixes in other ways (``measured_gaps``), which are judged too.

    Returns:
        One result a gate and gap, gate by gate; for a gate that covers no gap one that fails, so
        that no gate passes because it was never asked.
    """
    disparities = DISPARITIES.filled(disparities)
    primary = disparities["role"] == PRIMARY
    largest = (disparities["condition"] == ENSEMBLE) & (disparities["comparison"] == WORST)
    gaps = records(disparities[primary if declared or primary.any() else largest])
    gaps += [] if measured is None else records(measured)
    judged = []
    for gate in gates:
        covered = [gap for gap in gaps if gate.covers(gap["attribute"], gap["margin_family"])]
        judged += [_result(gate, gap) for gap in covered] or [_never_asked(gate)]
    return judged


def _result(gate: Gate, gap: Fields) -> GateResult:
    usable = gap["status"] == OK
    outcome = str(gap["verdict"] if usable else gap["status"].replace("_", " "))
    allowed = _open(gap, usable) <= set(gate.allow)
    passed = outcome == WITHIN or (outcome != EXCEEDS and allowed)
    told = _told(gap, usable) + f": {outcome}"
    if gap["left_out"]:
        told += f" (too few subjects to compare: {gap['left_out']})"
    if outcome not in (WITHIN, EXCEEDS):
        told += f", which this gate {'allows' if allowed else 'does not allow'}"
    return GateResult(
        gate=str(gate),
        **{name: gap[name] for name in ("key", "task", "metric", "label", "attribute")},
        outcome=outcome,
        passed=passed,
        sentence=f"{'Passes' if passed else 'Fails'} '{gate}': {told}.",
        left_out=gap["left_out"],
    )


def _open(gap: Fields, usable: bool) -> set[str]:
    """What a gate has to allow for a gap of which nothing is shown."""
    if not usable or within_but_for_the_left_out(gap):
        return {"too_few"}
    return {"inconclusive"} | ({"too_few"} if gap["left_out"] else set())


def _told(gap: Fields, usable: bool) -> str:
    """The gap in the words of the findings."""
    sides = (gap["group"], gap["other"]) if usable else ()
    low, high = resting_bounds(gap)
    _, what, between, size = in_columns(
        {
            **gap,
            "groups": sides,
            "estimate": gap["value"] if usable else None,
            "low": low,
            "high": high,
        }
    )
    if not usable:
        return f"{what}, {between} ({gap['reason']})"
    told = f"{what}, {between}, gap {size} points, margin {100 * gap['margin']:g}"
    if np.isnan(gap["ratio_margin"]) or np.isnan(gap["ratio_low"]):
        return told
    most = "" if np.isnan(gap["ratio"]) else f" {rounded(gap['ratio'], 3)} times,"
    least = rounded(gap["ratio_low"], 3)
    return f"{told}, ratio{most} at least {least}, margin {gap['ratio_margin']:g}"


def _never_asked(gate: Gate) -> GateResult:
    why = (
        "no gap that this run judges is covered by it (choices of harmless labels are not judged "
        "where the right answer is known: gate the family 'misclassification' there)"
    )
    return GateResult(
        gate=str(gate),
        key="",
        task="",
        metric="",
        label="",
        attribute=gate.attribute,
        outcome=NOTHING,
        passed=False,
        sentence=f"Fails '{gate}': {NOTHING}, since {why}.",
    )


def junit(results: Sequence[GateResult], run_name: str) -> str:
    """The results as JUnit XML: one testsuite a gate, one testcase a gap.

    A build server takes a file without a testcase for a failed build. So a suite without gates has
    one that is skipped, and says why.
    """
    counts = {"tests": len(results) or 1, "failures": _failures(results), "errors": 0}
    root = ElementTree.Element("testsuites", _attributes(run_name, counts))
    for gate in dict.fromkeys(r.gate for r in results):
        mine = [r for r in results if r.gate == gate]
        counts = {"tests": len(mine), "failures": _failures(mine), "errors": 0, "skipped": 0}
        suite = ElementTree.SubElement(root, "testsuite", _attributes(gate, counts))
        for result in mine:
            _testcase(suite, result)
    if not results:
        counts = {"tests": 1, "failures": 0, "errors": 0, "skipped": 1}
        suite = ElementTree.SubElement(root, "testsuite", _attributes(_NO_GATES, counts))
        named = {"classname": "gate", "name": NOTHING, "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", named)
        ElementTree.SubElement(case, "skipped", {"message": _NO_GATES})
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written.decode() + "\n"


def _failures(results: Sequence[GateResult]) -> int:
    return sum(not result.passed for result in results)


def _attributes(name: str, counts: Mapping[str, int]) -> dict[str, str]:
    return {"name": _xml(name), **{key: str(count) for key, count in counts.items()}}


def _testcase(suite: ElementTree.Element, result: GateResult) -> None:
    name = f"{result.label} by {result.attribute}" if result.key else NOTHING
    where = f"{result.task}.{result.metric}" if result.key else "gate"
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": _xml(where), "name": _xml(name), "time": "0"}
    )
    if result.passed:
        ElementTree.SubElement(case, "system-out").text = _xml(result.sentence)
        return
    said = {"message": _xml(result.sentence), "type": result.outcome}
    ElementTree.SubElement(case, "failure", said).text = _xml(result.sentence)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def sarif(findings: Sequence[Finding], results: Sequence[GateResult], origin: Origin) -> str:
    """Findings and failed gates as SARIF 2.1.0, with what GitHub's code scanning needs.

    A rule is a kind of harm. A finding is an error where it fails a gate, a warning where a gap
    exceeds the margin or a denigrating label was seen, else a note. Fingerprints come from the
    findings' ids, so that one finding stays one alert over runs; the category is the suite and the
    model, so that an upload replaces no other's.

    Args:
        findings: every finding of the run, most important first.
        results: what the gates say.
        origin: the suite, which alerts point to, the model and the version.
    """
    failed: dict[str, list[str]] = {}
    for result in results:
        if not result.passed:
            failed.setdefault(result.key, []).append(result.sentence)
    alerts = [
        _alert(f, [s for key in f.evidence for s in failed.pop(key, [])], origin) for f in findings
    ]
    alerts += [_bare_alert(key, told, origin) for key, told in failed.items()]
    alerts.sort(key=lambda alert: ("error", "warning", "note").index(alert["level"]))
    rules = sorted({alert["ruleId"]: alert.pop("rule") for alert in alerts}.items())
    at = {rule: i for i, (rule, _) in enumerate(rules)}
    kept = [{**a, "ruleIndex": at[a["ruleId"]]} for a in alerts[:_MOST]]
    described = [_rule(name, harm) for name, harm in rules]
    driver = {"name": "clip-audit", "version": origin.version, "rules": described}
    category = f"clip-audit/{slug(origin.suite)}/{slug(_place_left_out(origin.model))}/"
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": category},
        "originalUriBaseIds": {_BASE: {"description": {"text": _base(origin)}}},
        "columnKind": "unicodeCodePoints",
        "results": kept,
        "properties": {"leftOut": len(alerts) - len(kept)},
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _location(origin: Origin, task: str = "") -> Row:
    """The suite's file at the task, or the resolved suite, which lies beside the results."""
    name, lines = origin.file or ("suite.yaml", {})
    artifact = {"uri": quote(name), "uriBaseId": _BASE}
    region = {"startLine": lines.get(task, 1)}
    return {"physicalLocation": {"artifactLocation": artifact, "region": region}}


def _place_left_out(model: str) -> str:
    """A model without the folders of this machine: ``open_clip:/home/ann/m`` is ``open_clip:m``."""
    family, colon, name = model.rpartition(":")
    return family + colon + (Path(name).name if Path(name).is_absolute() else name)


def _base(origin: Origin) -> str:
    """What the suite's path is relative to."""
    return (
        "the root of the repository" if origin.file else "the run's folder, which holds this file"
    )


def _alert(finding: Finding, failed: Sequence[str], origin: Origin) -> Row:
    serious = finding.verdict in (EXCEEDS, "seen")
    level = "error" if failed else "warning" if serious else "note"
    facts = ("verdict", "severity", "task", "metric", "label", "attribute", "evidence", "caveats")
    return {
        "ruleId": _rule_id(finding.harm),
        "rule": finding.harm,
        "locations": [_location(origin, finding.task)],
        "level": level,
        "message": {"text": " ".join([finding.statement, *failed])},
        "partialFingerprints": _fingerprint(finding.id),
        "properties": finding.model_dump(mode="json", include=set(facts)),
    }


def _bare_alert(key: str, told: Sequence[str], origin: Origin) -> Row:
    """A failed gate without a finding of its own."""
    return {
        "ruleId": _rule_id("gate"),
        "rule": "gate",
        "locations": [_location(origin)],
        "level": "error",
        "message": {"text": " ".join(told)},
        "partialFingerprints": _fingerprint(key or " ".join(told)),
    }


def _fingerprint(name: str) -> dict[str, str]:
    """What tells one alert from another in the same file, and is the same in the next run."""
    return {"primaryLocationLineHash": hashlib.sha256(name.encode()).hexdigest()[:16] + ":1"}


def _rule_id(harm: str) -> str:
    return "harm/" + re.sub(r"[^a-z0-9]+", "-", harm.lower()).strip("-")


def _rule(name: str, harm: str) -> Row:
    if harm == "gate":
        short, tags = "A gate of the suite's policy fails", ["disparity"]
    else:
        short, tags = f"Disparity; kind of harm: {harm}", ["disparity", harm]
    full = (
        f"{short}. A gap between groups in how a model chooses labels for pictures of people, with "
        "simultaneous bounds and a verdict against a margin that was fixed before the run."
    )
    advice = "Read the run's report: the finding, its bounds, its caveats and its controls."
    return {
        "id": name,
        "name": "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", harm)),
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": advice},
        "defaultConfiguration": {"level": "note"},
        "properties": {"tags": tags},
    }


def write(
    folder: Path,
    findings: Sequence[Finding],
    results: Sequence[GateResult],
    origin: Origin,
) -> None:
    """Write gates.json, junit.xml and findings.sarif into a run's folder.

    Warns:
        DamagedWarning: for one of the latter two that can't be rendered; it costs no run.
    """
    write_json(folder / RESULTS, [result.model_dump(mode="json") for result in results])
    for file, rendered in (
        (JUNIT, partial(junit, results, origin.suite)),
        (SARIF, partial(sarif, findings, results, origin)),
    ):
        try:
            write_text(folder / file, rendered())
        except OSError:
            raise
        except Exception as error:
            told = str(Damage.of(f"The file '{file}'", error))
            warnings.warn(DamagedWarning(told), stacklevel=2)


def read(run: Run) -> list[GateResult]:
    """What the gates said of a finished run; nothing for a run of before there were gates."""
    path = run.path / RESULTS
    if not path.is_file():
        return []
    rows = run.in_words_of_now(json.loads(path.read_text(encoding="utf-8")))
    return [GateResult.model_validate(row) for row in rows]

"""Findings, gates, and what would become of verdicts if group labels were wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from audit.core import evidence
from audit.core.page import MARKS, Markdown, code, escaped
from audit.core.rows import Fields
from audit.core.rundir import Run
from audit.core.tables import EXCEEDS
from audit.engine import gates
from audit.measure.findings import in_columns
from audit.measure.metrics import noun
from audit.probes.kit.cells import MOST_ROWS, table, tag, with_rest


def findings_table(run: Run, most: int = 100) -> Markdown:
    """Every finding with the keys of its evidence, which lead to their rows."""
    shown = table(
        {
            "Verdict": tag(finding["verdict"]),
            "Severity": finding["severity"],
            "Harm": finding["harm"],
            "Finding": finding["statement"],
            "Evidence": Markdown(", ".join(_keys(run, finding))),
        }
        for finding in run.findings[:most]
    )
    return with_rest(shown, len(run.findings) - most, "findings", "findings.json")


def _keys(run: Run, finding: Fields) -> Iterator[str]:
    for key in finding["evidence"]:
        words, place = code(key, in_table=True), evidence.place_of_key(run, key)
        yield evidence.linked(words, place) if place else words


def evidence_of(run: Run, finding: Fields) -> Markdown:
    """The rows a finding rests on, to stand behind its statement."""
    places = (evidence.place_of_key(run, key) for key in finding["evidence"])
    told = [evidence.linked(f"{p.table} {p.row}", p) for p in places if p]
    return Markdown(f"Evidence: {', '.join(told)}." if told else "")


def gate_results(run: Run) -> list[gates.GateResult]:
    """What every gate said of every gap, failures first, among them what exceeds the margin."""
    return sorted(gates.read(run), key=lambda r: (r.passed, r.outcome != EXCEEDS))


def caveats(run: Run) -> list[str]:
    """What to bear in mind with findings, each told once; how small a gap goes unseen in one line.

    What section 10 tells of every group, repeated subjects and power, is left to it.
    """
    every = dict.fromkeys(told for finding in run.findings for told in finding["caveats"])
    unseen = [int(found[1]) for told in every if (found := _UNSEEN.match(told))]
    elsewhere = ("groups of", "subjects repeat")
    told = [
        f"{one[:1].upper()}{one[1:]}."
        for one in every
        if not (_UNSEEN.match(one) or "mostly go unseen" in one or one.startswith(elsewhere))
    ]
    if unseen:
        least = " to ".join(dict.fromkeys(f"{end}" for end in (min(unseen), max(unseen))))
        told.append(
            f"Of what is inconclusive: gaps under {least} points, by the question, would mostly "
            "look like none here."
        )
    return told


_UNSEEN: Final = re.compile(r"gaps under (\d+) points would mostly look like none here")


def gates_table(run: Run) -> Markdown:
    """Gates with the gaps that they cover and what came of it."""
    return table(
        {
            "Gate": result.gate,
            "Result": "✓ passes" if result.passed else Markdown("**✗ fails**"),
            "Task": result.task or "–",
            "Chosen": noun(result.metric, result.label) if result.key else "–",
            "By": result.attribute,
            "Outcome": tag(result.outcome) if result.outcome in MARKS else result.outcome,
        }
        for result in gate_results(run)
    )


def label_errors_summary(run: Run) -> Markdown:
    """How many verdicts would change if so many group labels were wrong."""
    again = [f for f in run.findings if f.get("label_errors")]
    return table(
        {"Wrong labels": told}
        | {
            f"{share} wrong": f"{sum(_moves(f, how, share) for f in again)} of {len(again)}"
            for share in again[0]["label_errors"][how]
        }
        for how, told in _WRONG.items()
        if again
    )


def _moves(finding: Fields, how: str, share: str) -> bool:
    return bool(finding["label_errors"][how][share] != finding["verdict"])


def label_errors_table(run: Run) -> Markdown:
    """The findings whose verdict would change, and from how many wrong labels on."""
    moved = [f for f in run.findings if any(_turns(f, how) for how in _WRONG)]
    shown = table(
        {"Verdict": tag(f["verdict"]), "Finding": ", ".join(in_columns(f)[1:3])}
        | {f"Wrong {told}": _turns(f, how) or "stays" for how, told in _WRONG.items()}
        for f in moved[: 2 * MOST_ROWS]
    )
    return with_rest(shown, len(moved) - 2 * MOST_ROWS, "findings", "findings.json")


def _turns(finding: Fields, how: str) -> Markdown | None:
    """The first share of wrong labels that changes the verdict, and to what."""
    verdicts = (finding.get("label_errors") or {}).get(how) or {}
    changed = [(share, v) for share, v in verdicts.items() if v != finding["verdict"]]
    return Markdown(f"from {escaped(changed[0][0])}: {tag(changed[0][1])}") if changed else None


#: how a share of all group labels of an attribute may be wrong, by the key in findings
_WRONG: Final = {"at random": "at random", "at worst": "where they mislead most"}


#: what a template may call; the run is filled in
OFFERS: Final = (
    caveats,
    findings_table,
    evidence_of,
    gates_table,
    label_errors_summary,
    label_errors_table,
)

"""What the terminal shows of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.core.errors import GateError, InputError
from audit.core.terminal import cells, say, some

if TYPE_CHECKING:
    import pandas as pd

    from audit.core.rundir import Run


def of_run(finished: Run) -> None:
    """The terminal's last screen: the most important findings and where the report is."""
    from audit.core.verdicts import Verdict
    from audit.engine.capability import capabilities_of
    from audit.measure.findings import in_columns, tally_verdicts

    rows = [in_columns(finding) for finding in finished.findings[:10]]
    columns = ("verdict", "asked", "widest between", "gap in points")
    cells(f"{finished.name}: most important findings", columns, rows)
    counts = tally_verdicts(finished.findings)
    say(", ".join(Verdict(verdict).counted(n) for verdict, n in counts.items() if n))
    drawn, reason = capabilities_of(finished.manifest)
    if drawn or reason:
        told = ", ".join(f"{one.name} {one.right} of {one.pictures}" for one in drawn)
        say(f"drawn pictures, right: {told or f'not asked, {reason}'}")
    page = finished.path / "report.html"
    if page.is_file():
        say(f"report: {page}")
    else:
        say(f"no report: 'clip-audit report {finished.path}' renders it again")
    _set_aside(finished)


def _set_aside(finished: Run) -> None:
    """How many pictures were set aside and why, where they are listed, and whom it falls on."""
    from audit.core.rundir import PRIVATE
    from audit.store.quarantine import LIST, uneven

    data = finished.dataset
    if not data["quarantined"]:
        return
    why = ", ".join(f"{n:,} {reason}" for reason, n in data["quarantined_reasons"].items())
    listed = finished.path / PRIVATE / LIST
    say(f"{data['quarantined']:,} pictures were set aside ({why}), listed in {listed}")
    for warning in uneven(data).values():
        say(f"warning: {warning}", style="yellow")


def largest_changes(changes: pd.DataFrame, runs: Sequence[Run], remarks: Sequence[str]) -> None:
    """The gaps that surely changed most, what to know of them, and the counts of verdicts."""
    from audit.core.tables import DIFFERENCE, WORST, records
    from audit.explore.compare import in_columns, in_short, largest

    wordings = (changes[side].iloc[0] for side in ("condition", "condition_b"))
    for name, run, wording in zip("AB", runs, wordings, strict=True):
        say(f"{name}: {run.name}, {run.manifest['model']}, {wording}")
    say()
    columns = ("verdict", "asked", "between", "in A", "in B", "change (bounds)")
    for title, kind in (
        ("Largest gap between any two groups: where it changed most", WORST),
        ("Gap between two groups: where it changed most", DIFFERENCE),
    ):
        rows = [in_columns(row) for row in records(largest(changes, kind))]
        cells(f"{title}, in points", columns, rows)
    level = f"{changes['level'].iloc[0]:.0%}"
    say(
        f"Change: B less A; its bounds hold at {level} for all labels and groups of one task, "
        "metric and attribute at once. 'exceeds margin': it is more than the label family's "
        "margin, either way; 'within margin': it is less.",
    )
    some(remarks)
    say(in_short(changes))


def gate_results(finished: Run) -> None:
    """What the suite's gates say; a failed one ends the command.

    Raises:
        GateError: a gated gap fails.
    """
    from audit.engine import gates

    results = gates.read(finished)
    failed = sorted((r for r in results if not r.passed), key=lambda r: r.open)
    allowed = [r for r in results if r.passed and r.open]
    some([r.sentence for r in allowed])
    some([r.sentence for r in failed], stderr=True)
    if results:
        say(f"gates: {len(results) - len(failed)} of {len(results)} gaps pass")
    if failed:
        raise GateError(
            f"{len(failed)} of {len(results)} gated gaps fail the policy of the suite",
            f"All are in {finished.path / gates.RESULTS}",
        )


def author_words(finished: Run) -> None:
    """Every problem of the author's words.

    Raises:
        InputError: there is one.
    """
    from audit.report.narrative import FILE, narrative_of

    problems = narrative_of(finished).problems
    some([str(problem) for problem in problems], most=len(problems), stderr=True)
    if problems:
        told = f"{finished.path / FILE}: {len(problems)} to mend or to answer for, listed above"
        raise InputError(told, "Only errors keep the report from being rendered")
    say(f"{FILE}: nothing is wrong with it")

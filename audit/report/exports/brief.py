"""The brief: a report's first page, who was looked at and who signs, as two pages to hand over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from audit.core.errors import InputError
from audit.core.page import code, escaped
from audit.core.rows import Fields
from audit.core.rundir import Run
from audit.report.exports.pdf import write_text_as_pdf
from audit.report.exports.word import report_of
from audit.report.narrative import checked
from audit.report.page_one_text import BEGINS, ENDS
from audit.report.sections.groups import who_was_counted
from audit.report.sections.plan import margins_of

#: of a page's edge, in points: closer than in the whole report, so that it is two pages
_MARGIN = 40


def write_brief(run: Run, to: Path) -> Path:
    """Write the first page of the rendered report as a PDF of two pages.

    Raises:
        InputError: the extra 'export' isn't installed; the report isn't rendered, or by a template
            without a first page.
    """
    text = report_of(run)
    first = re.search(f"{re.escape(BEGINS)}(.*?){re.escape(ENDS)}", text, re.DOTALL)
    if first is None:
        told = f"{run.path / 'report.md'} has no first page"
        step = f"'clip-audit report {run.path}' renders it, with the template of this version"
        raise InputError(told, step)
    title = next(line for line in text.split("\n") if line.startswith("# "))
    return write_text_as_pdf(run, "\n\n".join([title, first[1], *_besides(run)]), to, _MARGIN)


def _besides(run: Run) -> Iterator[str]:
    """Who was counted, against which margin, where the evidence is, who signs."""
    yield "**Who was looked at, and how**"
    if run.suite["attributes"]:
        yield who_was_counted(run)
    margins = {name: _margin(m) for name, m in margins_of(run).items()}
    default = margins.pop("default")
    others = [f"{m} for {name}" for name, m in margins.items() if m != default]
    level = f"{100 * run.suite['confidence']['level']:g} %"
    yield escaped(
        f"Margins: {'; '.join([default, *others])}. Bounds hold at {level}, for all groups of a "
        "question at once."
    )
    yield (
        f"All evidence: the run {code(run.sealed_name)}, its `report.html` and its tables, whose "
        f"digest is {code(str(run.manifest['tables']))}. This is no certificate and no permission "
        "for any use."
    )
    yield checked(run).signatures()


def _margin(margin: Fields) -> str:
    points = f"{100 * margin['difference']:g} points"
    return f"{points} or {margin['ratio']:g} times" if margin.get("ratio") else points

"""Where the model is good, and for whom it is worse: what it can do, beside how unevenly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, EVERYONE, OK, WORST
from audit.engine.capability import Capability, capabilities_of
from audit.probes.kit.blocks import Block, Part, Section
from audit.probes.kit.cells import at, measured, table, tag
from audit.probes.kit.tasks import Task, tasks
from audit.report.numbering import named
from audit.stats.defaults import rate_bounds

_WRONG: Final = "misclassification"
_LEVEL: Final = 0.95
_WHAT: Final = Markdown.beside(__file__)
_DRAWN: Final = Markdown(
    """\
*Drawn* pictures show nobody, so there is no group for whom a model could be worse at them. Several
show the same answer in another place or size: their intervals hold for such drawings, no others."""
)


def tell(run: Run) -> Sequence[Block]:
    """The table, of tasks whose right answer is known and of the drawn battery."""
    drawn, reason = capabilities_of(run.manifest)
    known = [task for task in tasks(run) if task.has_truth]
    rows = [row for task in known for row in _of_task(run, task)] + list(map(_of_drawn, drawn))
    if not rows:
        return ()
    more = [_DRAWN] if drawn else []
    more += [Markdown(f"Drawn pictures were not asked about: {reason}.")] if reason else []
    return [
        Part(
            "Where the model is good, and for whom it is worse",
            [_WHAT, named("capability"), table(rows), *more],
        )
    ]


def _of_task(run: Run, task: Task) -> Iterator[dict[str, str]]:
    """A line for each attribute by which a task is told, or one if there is none."""
    rates = having(run.rates, task=task.name, condition=ENSEMBLE)
    wrong = having(rates, metric=_WRONG, attribute=EVERYONE)
    asked = next(q for q in run.questions if q["task"] == task.name)["label_sets"][0]
    answers = len(asked.get("classes", asked["labels"]))
    table_ = run.disparities
    for name, value in {"task": task.name, "condition": ENSEMBLE, "metric": _WRONG}.items():
        table_ = table_[table_[name] == value]
    gaps = {r.attribute: r for r in each(having(table_, comparison=WORST))}
    for row in each(wrong):
        ability = {
            "Asked": task.name,
            "Pictures": f"{row.n:,}",
            "Right": at(row, measured(1 - row.value, 1 - row.high, 1 - row.low, "%")),
            "By guessing": f"{100 / answers:.0f}%",
        }
        for attribute in task.attributes or (None,):
            yield ability | _worse(attribute, gaps.get(attribute))


def _worse(attribute: str | None, gap: Record | None) -> dict[str, str]:
    if attribute is None:
        return _gap("–", "nobody is told apart", "–", "–")
    if gap is None or gap.status != OK:
        return _gap(attribute, "–", gap.reason if gap is not None else "not compared", "–")
    points = measured(gap.value, gap.low_simultaneous, gap.high_simultaneous)
    return _gap(attribute, f"{gap.group} and {gap.other}", at(gap, points), tag(gap.verdict))


def _of_drawn(one: Capability) -> dict[str, str]:
    low, high = (float(b) for b in rate_bounds(one.right, one.pictures, _LEVEL))
    return {
        "Asked": f"drawn: {one.name}",
        "Pictures": f"{one.pictures:,}",
        "Right": measured(one.right / one.pictures, low, high, "%"),
        "By guessing": f"{100 / one.answers:.0f}%",
    } | _gap("–", "nobody is shown", "–", "–")


def _gap(by: str, worse: str, points: str, verdict: str) -> dict[str, str]:
    return {
        "By": by,
        "Between, worse first": worse,
        "Gap, points [bounds]": points,
        "Verdict": verdict,
    }


SECTION: Final = Section("misclassification", "", tell)

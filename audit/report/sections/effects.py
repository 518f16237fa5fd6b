"""What each label of a set does: which carries a harm, which relieves it, which draws errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Record, having
from audit.core.rundir import Run
from audit.core.tables import ADD, DROP, EVERYONE, EXCEEDS, OK, RATE, SWAP, UNKNOWN, WORST
from audit.models.encoder import card_of
from audit.probes.kit.blocks import Block, Folded, Part, Picture, Section, said
from audit.probes.kit.cells import MOST_ROWS, asked, at, measured, table, tag, with_rest
from audit.probes.kit.tasks import Task, tasks
from audit.report import figures

_FAMILY: Final = "family_selection"
_ERRORS: Final = "misclassification"


def tell(run: Run) -> Sequence[Block]:
    """Every task with a tagged family, then the labels that draw errors in all others."""
    found = [(task, figures.leading_effects(run, task.name)) for task in tasks(run)]
    found = [(task, changes) for task, changes in found if len(changes)]
    harmful = [_harm(run, task, changes) for task, changes in found if task.harmful]
    others = [changes for task, changes in found if not task.harmful]
    blocks = [*harmful, *_errors(run, pd.concat(others) if others else pd.DataFrame())]
    if not blocks and card_of(run.model, run.name).gives == "choices":
        return [_NOT_MEASURED]
    return [_WHAT, *blocks] if blocks else ()


_NOT_MEASURED: Final = (
    "Label ablation: not measured, for of each picture only the label is known that was chosen."
)
_WHAT: Final = Markdown.beside(__file__)


def _harm(run: Run, task: Task, changes: pd.DataFrame) -> Part:
    """One task with families: who carries each, what every edit changes, as words and a figure."""
    carriers = _carriers(run, task)
    families = dict.fromkeys(carriers["label"])
    told = [line for name in families for line in _of_family(name, carriers, changes)]
    told = told or [Markdown("No label of a tagged family is chosen for anybody.")]
    return Part(
        f"{task.name}: which label carries the harm",
        [
            Markdown("\n".join(f"- {line}" for line in told)),
            Picture(figures.label_effects, task.name),
            Folded(f"How much of its family each label of {task.name} carries", [
                with_rest(
                    table(_carrier_cells(row) for row in each(carriers.head(2 * MOST_ROWS))),
                    len(carriers) - 2 * MOST_ROWS, "labels", "effects.parquet",
                ),
            ]),
            Folded(f"The surest changes of {task.name}", [_changes_table(run, changes)]),
        ],
    )  # fmt: skip


def _carriers(run: Run, task: Task) -> pd.DataFrame:
    """Every label with the share of its family that it carries, of everyone and where most."""
    rows = having(run.effects, task=task.name, edit=DROP)
    rows = rows[(rows["comparison"] == RATE) & rows["carries"].notna()]
    everyone, single = (
        rows["attribute"] == EVERYONE,
        ~rows["attribute"].str.contains(" x ", regex=False),
    )
    groups = rows[single & ~everyone & (rows["group"] != UNKNOWN) & (rows["status"] == OK)]
    most = groups.sort_values("carries_low", ascending=False, kind="stable")
    most = most.drop_duplicates(["dropped", "label"]).set_index(["dropped", "label"])
    names = ["group", "attribute", "carries", "carries_low", "carries_high"]
    joined = rows[everyone].join(most[names].add_suffix("_most"), on=["dropped", "label"])
    return joined.sort_values(["label", "carries"], ascending=[True, False], kind="stable")


def _carrier_cells(row: Record) -> dict[str, object]:
    most = f"{row.group_most}: {_carried(row, '_most')}" if row.carries_most > 0 else "–"
    return {
        "Family": row.label,
        "Label": row.dropped,
        "Carries [bounds]": at(row, _carried(row)),
        "Most in": most,
        "Family's rate with, without it": _before_after(row),
        "Change, points [bounds]": _change(row),
        "Verdict": tag(row.verdict),
    }


def _of_family(name: str, carriers: pd.DataFrame, changes: pd.DataFrame) -> Iterator[Markdown]:
    """Who carries a family, which labels relieve it, which hold it down."""
    members = having(carriers, label=name)
    listed = [
        said("‘{label}’ carries {share}", label=row.dropped, share=at(row, _carried(row)))
        for row in each(members.head(3))
    ]
    others = len(members) - len(listed)
    listed += [Markdown(f"{others} other{'s' if others > 1 else ''}: the rest")] if others else []
    first = each(members.head(1))[0]
    yield said(
        "Any **‘{name}’** label is chosen for {rate} of everyone; {listed}.",
        name=name,
        rate=at(first, f"{percent(first.before, first.low, first.high)}%"),
        listed=Markdown(", ".join(listed)),
    )
    of_family = having(changes, metric=_FAMILY, label=name)
    outside = ~of_family["dropped"].isin(members["dropped"])
    for what, rows, way in (
        ("Relieved most surely by a label more", having(of_family, edit=ADD), -1),
        ("Relieved most surely by a swap", having(of_family, edit=SWAP), -1),
        ("Held down most surely", of_family[(of_family["edit"] == DROP) & outside], 1),
    ):
        if len(rows):
            yield _surest(what, name, rows[way * rows["value"] > 0])


def _surest(what: str, family: str, changes: pd.DataFrame) -> Markdown:
    """The surest of these changes in a sentence, or that none is sure."""
    sure = changes[changes["sure"] > 0]
    if sure.empty:
        return said("{what}: none surely moves ‘{family}’.", what=what, family=family)
    row = each(sure.head(1))[0]
    return said(
        "{what}: {edit}, ‘{family}’ goes from {there} ({group}), from {all} (everyone).",
        what=what,
        edit=figures.edit_in_words(row),
        family=family,
        group=row.group,
        there=at(row, _before_after(row, between=" to ")),
        all=_before_after(row, "_all", " to "),
    )


def _changes_table(run: Run, changes: pd.DataFrame, several: bool = False) -> Markdown:
    """The surest changes with the widest gap of the same attribute before and after."""
    gaps = having(run.effects, comparison=WORST).set_index(_GAP)
    names = ["before", "after", "value", "low_simultaneous", "high_simultaneous"]
    chosen = figures.some_edits(changes, MOST_ROWS).join(gaps[names].add_suffix("_gap"), on=_GAP)
    shown = table(_change_cells(row, several) for row in each(chosen))
    return with_rest(shown, len(changes) - len(chosen), "changes", "effects.parquet")


_GAP: Final = ["task", "edit", "dropped", "added", "metric", "label", "attribute"]


def _change_cells(row: Record, several: bool) -> dict[str, object]:
    task = f"{row.task}, " if several else ""
    return {
        "Edit, and what is chosen": f"{task}{figures.edit_in_words(row)}: {asked(row)}",
        "Most moved": f"{row.group} ({row.attribute})",
        "Its rate": _before_after(row),
        "Change [bounds]": at(row, _change(row)),
        "Change of everyone": _change(row, "_all"),
        "Widest gap there": _before_after(row, "_gap", unit=""),
        "Change of that gap": _change(row, "_gap"),
        "Verdict": tag(row.verdict),
    }


def _errors(run: Run, changes: pd.DataFrame) -> Sequence[Block]:
    """Labels that are chosen wrongly for pictures of others, in tasks without a family."""
    errors = having(changes, metric=_ERRORS) if len(changes) else changes
    if errors.empty:
        return ()
    ranked = errors.sort_values(["sure", "size"], ascending=False, kind="stable")
    told = said(
        "Where the right answer is known: how many fewer pictures get a wrong label if one label "
        "is not offered, of the pictures for which it would be wrong. For {large} of {n} labels "
        "that is surely more than the margin in some group.",
        large=int((ranked["verdict"] == EXCEEDS).sum()),
        n=len(ranked),
    )
    figure = Picture(figures.label_effects, str(ranked["task"].iloc[0]))
    surest = Folded("The surest changes of errors", [_changes_table(run, ranked, several=True)])
    return [Part("Which labels draw errors", [told, figure, surest])]


def _carried(row: Record, of: str = "") -> str:
    value, low, high = (getattr(row, f"carries{end}{of}") for end in ("", "_low", "_high"))
    return measured(value, low, high, "%")


def _before_after(row: Record, of: str = "", between: str = " → ", unit: str = "%") -> str:
    """Two rates or gaps in the digits that the bounds of their change support."""
    ends = getattr(row, f"low_simultaneous{of}"), getattr(row, f"high_simultaneous{of}")
    one, other = (percent(getattr(row, f"{side}{of}"), *ends) for side in ("before", "after"))
    return f"{one}{between}{other}{unit}".replace(" ", "\u00a0")


def _change(row: Record, of: str = "") -> str:
    names = ("value", "low_simultaneous", "high_simultaneous")
    return measured(*(getattr(row, f"{name}{of}") for name in names))


SECTION: Final = Section(
    "sensitivity", "A `classification` probe would, unless it says `label_effects: false`.", tell
)

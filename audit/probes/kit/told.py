"""A section's part a question; of one that a public copy withholds whole, that alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from audit.core.page import Markdown
from audit.core.rundir import Run
from audit.probes.kit.blocks import Block, Part
from audit.probes.kit.tasks import Task, tasks_of

_WITHHELD = Markdown(
    "None of its rows is in the tables: every group was too small, as it can be in a public copy."
)


def parts_of(
    run: Run, kind: str, tell: Callable[[Run, Task], Part | Sequence[Block]], *first: Block
) -> list[Block]:
    """What ``tell`` says of every task of one kind, in order, after what is said of all ``first``.

    Nothing where there is no such task.
    """
    there = {*run.measures["task"], *run.rates["task"], *run.effects["task"]}
    blocks: list[Block] = []
    for task in tasks_of(run, kind):
        told = tell(run, task) if task.name in there else Part(task.name, [_WITHHELD])
        blocks += [told] if isinstance(told, Part) else told
    return [*first, *blocks] if blocks else []

"""Label sets as they were asked, and what they warn of."""

from __future__ import annotations

from typing import Final

from audit.core.page import Markdown
from audit.core.rows import Fields
from audit.core.rundir import Run
from audit.probes.kit.cells import table


def label_warnings(run: Run) -> list[str]:
    """What the label sets warn of, each once."""
    sets = [labels for question in run.questions for labels in question["label_sets"]]
    return list(dict.fromkeys(s["content_warning"] for s in sets if s.get("content_warning")))


def label_sets(run: Run) -> list[Fields]:
    """Every label set once, with the tasks that ask it as ``tasks``."""
    sets: dict[str, Fields] = {}
    tasks: dict[str, list[str]] = {}
    for question in run.questions:
        for labels in question["label_sets"]:
            sets.setdefault(labels["digest"], labels)
            tasks.setdefault(labels["digest"], []).append(str(question["task"]))
    return [{**labels, "tasks": tasks[digest]} for digest, labels in sets.items()]


def labels_table(labels: Fields) -> Markdown:
    """The labels of a set with tags, harm and counter-labels."""
    return table(
        {
            "Label": label["text"],
            "Tags": ", ".join(label["tags"]) or "–",
            "Harm of saying it": label["harm"] or "–",
            "Paired with": ", ".join(label["counters"]) or "–",
        }
        for label in labels["labels"]
    )


#: what a template may call; the run is filled in
OFFERS: Final = (label_warnings, label_sets)

"""Whether two runs can be compared, in what, and what a reader of the comparison has to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from audit.core.errors import InputError, sentence
from audit.core.registry import unknown
from audit.core.rows import Row
from audit.core.rundir import Run
from audit.core.verdicts import RULE
from audit.data.yamlfile import validate
from audit.explore.points import about_others, choices_of
from audit.measure.confidence import Confidence


def remarks(
    run_a: Run, run_b: Run, task: str | None = None, other_task: str | None = None
) -> list[str]:
    """What a reader of their comparison has to know: whose settings are used, what is left out."""
    tasks = shared_tasks(run_a, run_b, task, other_task)
    return [
        *_about_settings(run_a, run_b),
        *_about_pictures(run_a, run_b),
        *_about_tasks(run_a, run_b, tasks, everything=task is None and other_task is None),
        *about_others(run_a, run_b),
    ]


def shared_tasks(
    run_a: Run, run_b: Run, task: str | None, other_task: str | None
) -> list[tuple[str, str]]:
    """The tasks to compare, one of each run."""
    asked_a, asked_b = (choices_of(run) for run in (run_a, run_b))
    if task is None and other_task is None:
        both = [(name, name) for name in asked_a if name in asked_b]
        if both:
            return both
        told = [f"{r.name} asks {', '.join(choices_of(r)) or 'none'}" for r in (run_a, run_b)]
        raise InputError(
            f"the two runs share no task in which labels are chosen: {'; '.join(told)}",
            *(remark.rstrip(".") for remark in about_others(run_a, run_b)),
            "Name one of each with --task and --other-task",
        )
    first, second = str(task or other_task), str(other_task or task)
    for name, asked, run in ((first, asked_a, run_a), (second, asked_b, run_b)):
        if name not in asked:
            raise unknown("task", name, asked, where=run.name)
    return [(first, second)]


def label_set_of(run: Run, task: str) -> Row:
    """The label set of a task as it was asked, without its digest."""
    (question,) = (q for q in run.questions if q["task"] == task)
    (labels,) = question["label_sets"]
    return {name: value for name, value in labels.items() if name != "digest"}


def confidence_of(run: Run) -> Confidence:
    """The margins and levels that a run was asked with."""
    return validate(Confidence, run.suite["confidence"], f"{run.name}: suite.yaml confidence")


def shared_pictures(run_a: Run, run_b: Run) -> pd.DataFrame:
    """Cluster and groups of the pictures asked in both, by image id, in the first run's order.

    Raises:
        InputError: the runs are about other pictures, or of other subjects or groups.
    """
    a, b = (run.groups().set_index("image_id") for run in (run_a, run_b))
    ids = a.index[a.index.isin(b.index)]
    where = f"{run_a.name} and {run_b.name}"
    # of one data set a run may lack pictures that it could not read; of two, every one counts
    lacking = not _same_data(run_a, run_b) and not len(a) == len(b) == len(ids)
    if lacking or not len(ids):
        raise InputError(
            f"{where} are not about the same pictures: {len(ids)} of the first's {len(a)} and "
            f"of the second's {len(b)} have the same id",
            "Run one suite on the other's data set",
        )
    attributes = [str(column) for column in a if column in b and column != "cluster_id"]
    if not attributes:
        told = [", ".join(map(str, t.columns.drop("cluster_id"))) or "nothing" for t in (a, b)]
        raise InputError(
            f"{where} group by no attribute in common: by {told[0]} and by {told[1]}",
            "Add one to a suite's 'attributes' and run it again",
        )
    _require_alike(a.loc[ids], b.loc[ids], attributes, where)
    return a.loc[ids, ["cluster_id", *attributes]]


def _require_alike(a: pd.DataFrame, b: pd.DataFrame, attributes: Iterable[str], where: str) -> None:
    """Refuse pictures whose subject or group isn't the same in both runs; name the first."""
    for column in ("cluster_id", *attributes):
        one, other = (table[column].astype(object).fillna("unknown") for table in (a, b))
        differs = np.flatnonzero((one != other).to_numpy())
        if not differs.size:
            continue
        subjects, first = column == "cluster_id", differs[0]
        what = "subjects" if subjects else f"groups of '{column}'"
        same = "'cluster_column'" if subjects else "values and bins"
        raise InputError(
            f"{where} have other {what}: picture '{a.index[first]}' is of '{one.iloc[first]}' "
            f"in the first and of '{other.iloc[first]}' in the second, and {differs.size} of "
            f"{len(a)} differ",
            f"Give both suites the same {same} and run them again",
        )


def _same_data(run_a: Run, run_b: Run) -> bool:
    return bool(run_a.manifest.get("dataset_digest") == run_b.manifest.get("dataset_digest"))


def nothing_shared(tasks: Sequence[tuple[str, str]]) -> str:
    """What is said where tasks have no metric and label in common."""
    named = "; ".join(" and ".join(f"'{t}'" for t in dict.fromkeys(pair)) for pair in tasks)
    return sentence(
        f"nothing is counted in both runs: {named} share no label, label family or known answer",
        "Compare tasks whose label sets have labels in common",
    )


def _about_settings(run_a: Run, run_b: Run) -> Iterator[str]:
    """Where the second run's rule, seed, level, margins or smallest group are others."""
    rules = [int(run.manifest.get("verdict_rule", 1)) for run in (run_a, run_b)]
    if rules[0] != rules[1]:
        yield (
            f"The runs' own verdicts were given by different rules (version {rules[0]} and "
            f"{rules[1]}), so they may differ where nothing else does; the changes below are all "
            f"judged anew, by version {RULE}."
        )
    if run_a.suite["seed"] != run_b.suite["seed"]:
        seeds = f"{run_a.suite['seed']} and {run_b.suite['seed']}"
        yield f"The suites' seeds differ ({seeds}); the first is used for both."
    a, b = confidence_of(run_a), confidence_of(run_b)
    for name in ("level", "min_group", "resamples", "margins"):
        one, other = getattr(a, name), getattr(b, name)
        if one != other:
            values = "" if name == "margins" else f" ({one:g} and {other:g})"
            yield f"The suites' '{name}' differ{values}; the first run's are used."


def _about_pictures(run_a: Run, run_b: Run) -> Iterator[str]:
    """Pictures and attributes that only one run has."""
    a, b = (run.groups().set_index("image_id") for run in (run_a, run_b))
    both = int(a.index.isin(b.index).sum())
    left_out = len(a) + len(b) - 2 * both
    if left_out:
        yield f"{both} pictures are asked in both runs; {left_out} asked in one only are left out."
    if not _same_data(run_a, run_b):
        yield (
            "The data sets' cards or tables differ; the pictures are taken for the same, since "
            "their ids, subjects and groups are."
        )
    alone = [str(c) for c in (*a.columns.difference(b.columns), *b.columns.difference(a.columns))]
    if alone:
        yield f"Grouped by in one run only, and left out: {', '.join(alone)}."


def _about_tasks(
    run_a: Run, run_b: Run, tasks: Sequence[tuple[str, str]], everything: bool
) -> Iterator[str]:
    """Tasks that only one run was asked, and tasks of one name with other words."""
    names = [choices_of(run_a), choices_of(run_b)]
    alone = [t for mine, theirs in (names, names[::-1]) for t in mine if t not in theirs]
    if everything and alone:
        yield f"Asked in one run only, and left out: {', '.join(alone)}."
    changed = {
        "label_sets": "The label set of '{}' changed between the runs; labels in both count.",
        "prompt_sets": "The templates of '{}' changed between the runs.",
    }
    for a, b in tasks:
        for kind, told in changed.items():
            if a == b and _digests(run_a, a, kind) != _digests(run_b, b, kind):
                yield told.format(a)


def _digests(run: Run, task: str, kind: str) -> list[str]:
    return [s["digest"] for q in run.questions if q["task"] == task for s in q[kind]]

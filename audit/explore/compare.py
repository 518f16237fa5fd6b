"""Two runs asked about the same pictures: how much do their disparities differ?

Two models, two label sets or two wordings are compared picture by picture. What both answer alike
carries no noise into the comparison; only pictures *gained* (it happened in the second run alone)
and *lost* (in the first alone) do. A family is all labels and pairs of groups of one task, metric
and attribute, as within a run.

>>> import audit
>>> last = audit.runs_in()[-1]
>>> audit.comparison.in_short(audit.compare(last, last))
'... changes of worst-case gaps: ...'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.arrays import Flags, Floats, Integers
from audit.core.csvfile import csv_text
from audit.core.digits import bounds, percent
from audit.core.errors import InputError
from audit.core.files import unwritable, write_text
from audit.core.integrity import unedited
from audit.core.registry import unknown
from audit.core.rows import Fields, Row, having
from audit.core.rundir import Run
from audit.core.schema import Columns
from audit.core.tables import CHANGES, DIFFERENCE, ENSEMBLE, OK, WORST, keys_of
from audit.core.verdicts import JUDGED, Verdict, size_bounds, verdicts
from audit.data.labels import LabelSet
from audit.data.yamlfile import validate
from audit.explore.comparable import (
    confidence_of,
    label_set_of,
    nothing_shared,
    remarks,
    shared_pictures,
    shared_tasks,
)
from audit.explore.points import choices_of
from audit.measure.confidence import Confidence
from audit.measure.effects import change_of_largest_gap
from audit.measure.metrics import METRICS, joint_status, noun, standing
from audit.stats.changes import changes_of_gaps
from audit.stats.clustered import Bounds, Sample
from audit.stats.counts import count
from audit.stats.gaps import Pairs
from audit.stats.resampling import Weights, cluster_weights
from audit.stats.samples import pick_questions

_KEY: Final = (
    "task", "task_b", "condition", "condition_b", "metric", "label", "attribute", "comparison",
    "group", "other",
)  # fmt: skip


def compare(
    run_a: Run,
    run_b: Run,
    task: str | None = None,
    other_task: str | None = None,
    condition: str = ENSEMBLE,
    other_condition: str | None = None,
) -> pd.DataFrame:
    """How much the disparities of two runs about the same pictures differ; the table CHANGES.

    Only pictures asked in both count, in groups of ``min_group`` or more of them. Level, margins,
    ``min_group`` and the bootstrap's seed are those of the first run; ``remarks`` says where the
    second has others. *Exceeds margin*: the gap changed by more than the margin of its label
    family, in either direction; *within margin*: it did not.

    Args:
        run_a: the first run.
        run_b: the second; the same one to compare two of its tasks or wordings.
        task: a task of the first; every task that both were asked if None.
        other_task: the task of the second it is compared with; the one of the same name if None.
            Two label sets are compared by the labels and label families in both, and by errors.
        condition: the wording, for example 'ensemble' or 'template: a photo of a {}.'.
        other_condition: the wording in the second; the same if None.

    Raises:
        InputError: a run that is edited, has no private part or an earlier layout, other pictures,
            subjects or groups, no such task or wording, nothing asked in both.
    """
    run_a, run_b = unedited(run_a), unedited(run_b)
    tasks = shared_tasks(run_a, run_b, task, other_task)
    confidence = confidence_of(run_a)
    people = _People.of(shared_pictures(run_a, run_b), run_a.suite["seed"], confidence.resamples)
    tables: list[Columns] = []
    for of_a, of_b in tasks:
        a, b = _Side(run_a, of_a, condition), _Side(run_b, of_b, other_condition or condition)
        for both in _questions(a, b, people.ids):
            for groups in people.groups:
                sample = people.sample(both, groups)
                tables += _tables(_Family(a, b, both, groups, sample, confidence))
    if not tables:
        raise InputError(nothing_shared(tasks))
    table = CHANGES.stacked(tables)  # one frame and its keys at once: a hundred take a second
    return table.assign(key=keys_of(table[list(_KEY)]))


def largest(changes: pd.DataFrame, comparison: str, most: int = 10) -> pd.DataFrame:
    """The rows of one kind whose change is surely largest, one a question and attribute."""
    rows = having(changes, comparison=comparison, status=OK)
    ends = (rows[end].to_numpy(float) for end in ("low_simultaneous", "high_simultaneous"))
    ranked = rows.assign(
        _verdict=[Verdict(v).rank for v in rows["verdict"]],
        _sure=-size_bounds(*ends)[0],
        _size=-rows["value"].abs(),
    ).sort_values(["_verdict", "_sure", "_size", "key"])
    first = ranked.drop_duplicates(["task", "task_b", "metric", "label", "attribute"])
    return rows.loc[first.index[:most]].reset_index(drop=True)


def in_columns(row: Fields) -> tuple[str, str, str, str, str, str]:
    """A change in short cells: verdict, asked, between whom, gap in A, gap in B, change."""
    task = " / ".join(dict.fromkeys((row["task"], row["task_b"])))
    sides = f"{row['group']} v {row['other']}", f"{row['group_b']} v {row['other_b']}"
    between = f"{row['attribute']}: {' / '.join(dict.fromkeys(sides))}"
    ends = row["low_simultaneous"], row["high_simultaneous"]
    gaps = (percent(row[gap], *ends) for gap in ("gap_a", "gap_b"))
    sign = "+" if row["value"] > 0 else ""
    change = f"{sign}{percent(row['value'], *ends)} ({bounds(*ends)})"
    return row["verdict"], f"{task}, {noun(row['metric'], row['label'])}", between, *gaps, change


def in_short(changes: pd.DataFrame) -> str:
    """One sentence that counts the verdicts."""
    parts = []
    for comparison, name in ((WORST, "worst-case gaps"), (DIFFERENCE, "gaps between two groups")):
        rows = having(changes, comparison=comparison)
        counts = having(rows, status=OK)["verdict"].value_counts()
        told = [v.counted(counts[v]) for v in JUDGED if v in counts]
        few = int((rows["status"] != OK).sum())
        told += [f"{few} with too few pictures"] * bool(few)
        parts.append(f"{len(rows)} changes of {name}: {', '.join(told)}")
    return "; ".join(parts) + "."


def save(changes: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, Parquet or JSON, by the file's ending.

    Raises:
        InputError: another ending, or the file can't be written.
    """
    require_format(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _FORMATS[path.suffix.lower()](changes, path)
    except OSError as error:
        raise unwritable(path, "the comparison", error, "--out") from error


def require_format(path: Path) -> None:
    """Refuse a file name that ``save`` can't write, before anything is computed.

    Raises:
        InputError: the ending is none of those known.
    """
    if path.suffix.lower() not in _FORMATS:
        got = f"--out {path}: no format is known by the ending '{path.suffix}'"
        raise InputError(got, f"End the name in {', '.join(_FORMATS)}")


_FORMATS: Final[Mapping[str, Callable[[pd.DataFrame, Path], None]]] = {
    ".csv": lambda table, path: write_text(path, csv_text(table)),
    ".parquet": CHANGES.write,
    ".json": lambda table, path: write_text(
        path, table.to_json(orient="records", indent=2, force_ascii=False) + "\n"
    ),
}


@dataclass(frozen=True)
class _Side:
    """What one run was asked: a task in one wording."""

    run: Run
    task: str
    condition: str

    @cached_property
    def labels(self) -> LabelSet:
        return validate(
            LabelSet, label_set_of(self.run, self.task), f"{self.run.name}: {self.task}"
        )

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The outcomes by picture."""
        known = (table := self.run.outcomes(self.task))["condition"].unique()
        if self.condition not in known:
            where = f"{self.run.name}, task '{self.task}'"
            raise unknown("condition", self.condition, known, where=where)
        return having(table, condition=self.condition).set_index("image_id")


@dataclass(frozen=True)
class _Both:
    """What one metric counts in both askings: labels in common, (n, Q) and (n,) flags."""

    metric: str
    labels: tuple[str, ...]
    families: tuple[str, ...]
    in_a: Flags
    in_b: Flags
    asked: Flags


@dataclass(frozen=True)
class _Groups:
    """The groups of one attribute: names and membership, (n, G)."""

    attribute: str
    names: tuple[str, ...]
    member: Flags


@dataclass(frozen=True)
class _People:
    """The pictures asked in both runs, with their groups and bootstrap weights."""

    ids: pd.Index[str]
    clusters: Integers
    weights: Weights
    groups: Sequence[_Groups]

    @classmethod
    def of(cls, shared: pd.DataFrame, seed: int, resamples: int) -> _People:
        ids, clusters = np.unique(shared["cluster_id"].astype(str), return_inverse=True)
        weights = cluster_weights(seed, ids.tolist(), resamples)
        groups = []
        for attribute in shared.columns.drop("cluster_id"):
            values = shared[attribute]
            names = sorted(values.dropna().unique())
            member = values.to_numpy(object)[:, np.newaxis] == np.array(names, dtype=object)
            groups.append(_Groups(str(attribute), tuple(names), np.asarray(member, dtype=bool)))
        return cls(shared.index, clusters, weights, groups)

    def sample(self, both: _Both, groups: _Groups) -> Sample:
        """Four questions a label; see ``_Family.parts``."""
        a, b = both.in_a, both.in_b
        happened = np.hstack([a, b, b & ~a, a & ~b])[both.asked]
        member, clusters = groups.member[both.asked], self.clusters[both.asked]
        counts = count(happened, member, clusters, len(self.weights), self.weights)
        return counts.sample(np.arange(len(groups.names)))


def _questions(a: _Side, b: _Side, ids: pd.Index[str]) -> Iterator[_Both]:
    """What every metric counts in both; metrics without a common label or picture are left out."""
    rows = [side.rows.loc[ids].reset_index() for side in (a, b)]
    for metric in METRICS:
        one, other = (METRICS[metric](r, s.labels) for r, s in zip(rows, (a, b), strict=True))
        labels = tuple(label for label in one.labels if label in other.labels)
        asked = one.asked & other.asked
        if labels and asked.any():
            at, there = ([e.labels.index(label) for label in labels] for e in (one, other))
            families = tuple(one.families[i] for i in at)
            happened = one.happened[:, at], other.happened[:, there]
            yield _Both(metric, labels, families, *happened, asked)


@dataclass(frozen=True)
class _Family:
    """All labels and pairs of groups of one metric and attribute, in both askings."""

    a: _Side
    b: _Side
    both: _Both
    groups: _Groups
    sample: Sample
    confidence: Confidence

    @cached_property
    def parts(self) -> tuple[Sample, ...]:
        """Samples of: it happened in a, in b, in b only (gained), in a only (lost)."""
        q = len(self.both.labels)
        return tuple(pick_questions(self.sample, slice(i * q, (i + 1) * q)) for i in range(4))

    @cached_property
    def margins(self) -> Floats:
        """The margin of each label, (Q, 1)."""
        found = [self.confidence.margin(family).difference for family in self.both.families]
        return np.array(found)[:, np.newaxis]

    @cached_property
    def standing(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        s = self.parts[0]
        return standing(s.n, s.subjects, self.confidence.min_group)

    @cached_property
    def pairs(self) -> Pairs:
        return Pairs.of(self.standing[0] == OK, self.groups.names)

    def table(self, columns: Fields, one: Integers, other: Integers) -> Columns:
        """Rows of labels by comparisons from arrays (Q, P); ``one, other`` (Q, P) are groups."""
        names, at = np.array(self.groups.names, dtype=object), np.arange(len(one))[:, np.newaxis]
        s, _, gained, lost = self.parts
        counted = {"n": s.n, "subjects": s.subjects, "gained": gained.events, "lost": lost.events}
        every: Row = {
            "run_a": self.a.run.name,
            "run_b": self.b.run.name,
            "task": self.a.task,
            "task_b": self.b.task,
            "condition": self.a.condition,
            "condition_b": self.b.condition,
            "metric": self.both.metric,
            "label": np.array(self.both.labels, dtype=object)[:, np.newaxis],
            "margin_family": np.array(self.both.families, dtype=object)[:, np.newaxis],
            "attribute": self.groups.attribute,
            **dict.fromkeys(("group", "group_b"), names[one]),
            **dict.fromkeys(("other", "other_b"), names[other]),
            **{name: values[at, one] for name, values in counted.items()},
            **{f"{name}_other": values[at, other] for name, values in counted.items()},
            "level": self.confidence.level,
            "family": f"{self._tasks}, {self.both.metric}, by {self.groups.attribute}",
            "margin": self.margins,
        }
        return CHANGES.laid_out(every | dict(columns), one.shape)

    @property
    def _tasks(self) -> str:
        return " and ".join(dict.fromkeys((self.a.task, self.b.task)))


def _tables(family: _Family) -> list[Columns]:
    """All changes of one family; nothing where there are no two groups."""
    if len(family.groups.names) < 2:
        return []
    return [_differences(family), _worst(family)]


def _differences(family: _Family) -> Columns:
    """The changes of all pairs, each turned so that the larger of its two gaps is positive."""
    pairs, (before, after, gained, lost) = family.pairs, family.parts
    sides = pairs.one, pairs.other
    found = changes_of_gaps(gained, lost, *sides, pairs.usable, family.confidence.level)
    a, b = (s.rate[:, pairs.one] - s.rate[:, pairs.other] for s in (before, after))
    turned = np.where(np.abs(a) >= np.abs(b), a, b) < 0
    sign = np.where(turned, -1.0, 1.0)
    low, high = _turn(found.low, found.high, turned)
    low_all, high_all = _turn(found.low_all, found.high_all, turned)
    one, other = (np.broadcast_to(side, a.shape) for side in sides)
    status, reason = joint_status(family.groups.names, family.standing, *sides)
    return family.table(
        {
            "comparison": DIFFERENCE,
            "gap_a": a * sign,
            "gap_b": b * sign,
            "value": found.value * sign,
            "low": low,
            "high": high,
            "low_simultaneous": low_all,
            "high_simultaneous": high_all,
            "level_each": found.each,
            "family_size": found.size,
            "method": "paired: shares gained and lost, max-T over subjects",
            "status": status,
            "reason": reason,
            "verdict": verdicts(low_all, high_all, family.margins),
        },
        np.where(turned, other, one),
        np.where(turned, one, other),
    )


def _turn(low: Floats, high: Floats, turned: Flags) -> Bounds:
    return np.where(turned, -high, low), np.where(turned, -low, high)


def _worst(family: _Family) -> Columns:
    """The change of the largest gap between any two groups."""
    third = 1 - (1 - family.confidence.level) / 3
    found = change_of_largest_gap(family.parts, family.pairs, third)
    names = np.array(family.groups.names, dtype=object)
    return family.table(
        {
            "group_b": names[found.after.group],
            "other_b": names[found.after.other],
            "gap_a": found.before.value,
            "gap_b": found.after.value,
            "method": "from bounds of all gaps in both runs and of their changes",
            **found.columns(family.margins),
        },
        found.before.group,
        found.before.other,
    )


__all__ = [
    "choices_of",
    "compare",
    "in_columns",
    "in_short",
    "largest",
    "remarks",
    "require_format",
    "save",
]

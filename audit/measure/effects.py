"""What a change does to every group's rates and gaps: the same pictures, asked twice.

A label dropped (``audit.measure.label_ablation``), a picture blurred, an embedding projected: each
is one asking against another. Who was *gained* by a family of labels, who was *lost*, how much each
rate and each worst-case gap moved, with bounds that hold for all changes looked at together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.typing import NDArray

from audit.core.arrays import Flags, Floats, Integers
from audit.core.rows import Fields, Row
from audit.core.schema import Columns
from audit.core.tables import CONDITION, EFFECTS, ENSEMBLE, OK, RATE, WORST
from audit.core.verdicts import verdicts
from audit.data.labels import LabelSet
from audit.measure.confidence import Confidence
from audit.measure.metrics import METRICS, Draws, Groups, standing
from audit.stats.changes import changes_of_gaps, each_level, worst_case_change
from audit.stats.clustered import (
    Bounds,
    Sample,
    correlated,
    difference_interval,
    joined,
    rate_interval,
)
from audit.stats.counts import Counts
from audit.stats.gaps import LargestGap, Pairs, largest_gap
from audit.stats.multiplicity import bounds_at
from audit.stats.samples import pick_groups, pick_questions


@dataclass(frozen=True)
class Edit:
    """One change of the question: the labels dropped or added, or the name of another condition."""

    kind: Literal["drop", "add", "swap", "condition"]
    dropped: str = ""
    added: str = ""
    condition: str = ""


def condition_effects(
    choices: pd.DataFrame,
    labels: LabelSet,
    groups: Groups,
    draws: Draws,
    confidence: Confidence,
    conditions: Sequence[str],
) -> pd.DataFrame:
    """What each condition does to every group's rates and gaps, against the headline; EFFECTS.

    Paired by picture: pictures that are missing in a condition are left out of it on both sides.
    All registered metrics are counted. Simultaneous bounds hold for all ``conditions`` together.
    Range: shares, from -1 to 1. Does not show: what two conditions do together.

    Args:
        choices: rows of the table CHOICES of one task, the headline condition among them.
        labels: the label set that was asked.
        groups: membership and subjects of (at least) these pictures.
        draws: bootstrap weights of these pictures' clusters.
        confidence: level, margins, smallest group.
        conditions: names of the conditions to hold against the headline.
    """
    by_condition = dict(list(choices.groupby("condition", sort=False)))
    if not conditions or ENSEMBLE not in by_condition:
        return EFFECTS.empty()
    first = choices.iloc[0]
    frame = Frame(first["probe"], first["task"], groups, confidence, len(conditions), True)
    before = by_condition[ENSEMBLE].set_index("image_id")
    tables = [
        table
        for name in conditions
        for table in _condition(name, before, by_condition[name], labels, draws, frame)
    ]
    return EFFECTS.stacked(tables)


def _condition(
    name: str,
    before: pd.DataFrame,
    rows: pd.DataFrame,
    labels: LabelSet,
    draws: Draws,
    frame: Frame,
) -> Iterator[Columns]:
    """Every row of one condition."""
    edit = Edit(CONDITION, condition=name)
    for metric in METRICS:
        parts = asked_twice(before, rows, metric, labels, frame.groups, draws)
        if parts is not None:
            yield from effect_rows(edit, parts, frame)


def asked_twice(
    before: pd.DataFrame,
    rows: pd.DataFrame,
    metric: str,
    labels: LabelSet,
    groups: Groups,
    draws: Draws,
) -> Parts | None:
    """One metric before and after, and what it gained and lost, in every group.

    Args:
        before: Choices of the headline by image id.
        rows: Choices of another condition; a picture may come twice, and one that the headline
            lacks is left out.
        metric: a name of ``METRICS``.
        labels: the label set that was asked.
        groups: membership and subjects of (at least) these pictures.
        draws: bootstrap weights of their clusters.

    Returns:
        Samples (questions, groups); None if no picture could be asked.
    """
    rows = rows[rows["image_id"].isin(before.index)]
    same = before.loc[rows["image_id"]].reset_index()
    one, other = (METRICS[metric](side, labels) for side in (same, rows))
    asked = one.asked & other.asked
    if not (one.labels and asked.any()):
        return None
    a, b = one.happened[asked], other.happened[asked]
    at = groups.at(rows["image_id"])[asked]
    counts = groups.count(np.hstack([a, b, b & ~a, a & ~b]), at, draws)
    sample, q = sampled(counts), len(one.labels)
    four = [pick_questions(sample, slice(i * q, (i + 1) * q)) for i in range(4)]
    yes = np.ones((q, 1), bool)
    named = {"metric": (metric,) * q, "labels": one.labels, "families": one.families}
    moved = dict(zip(("before", "after", "gained", "lost"), four, strict=True))
    return Parts(**named, **moved, can_gain=yes, can_lose=yes)  # type: ignore[arg-type]


def effect_rows(
    edit: Edit, parts: Parts, frame: Frame, carries: Mapping[str, Floats] | None = None
) -> Iterator[Columns]:
    """Rows of EFFECTS for one edit: the change of every rate, then of every worst-case gap."""
    yield rate_rows(edit, parts, frame, carries or {})
    for attribute in frame.groups.attributes:
        at = frame.groups.columns(attribute)
        if at.size > 1:
            yield gap_rows(edit, parts.of(at), attribute, frame.names[at], frame)


@dataclass(frozen=True)
class Parts:
    """One metric before and after an edit, and what it gained and lost: samples (Q, G)."""

    metric: tuple[str, ...]
    labels: tuple[str, ...]
    families: tuple[str, ...]
    before: Sample
    after: Sample
    gained: Sample
    lost: Sample
    can_gain: Flags
    can_lose: Flags

    def of(self, groups: Integers) -> Parts:
        """The same of some groups only."""
        return replace(
            self,
            before=pick_groups(self.before, groups),
            after=pick_groups(self.after, groups),
            gained=pick_groups(self.gained, groups),
            lost=pick_groups(self.lost, groups),
        )


@dataclass(frozen=True)
class Frame:
    """What all rows have in common."""

    probe: str
    task: str
    groups: Groups
    confidence: Confidence
    edits: int
    every_label: bool

    def level(self, share: int = 1) -> float:
        """The level of one edit's bounds, if those of all edits are to hold together."""
        return 1 - (1 - self.confidence.level) / max(self.edits * share, 1)

    @property
    def attributes(self) -> NDArray[np.object_]:
        """The attribute of every group."""
        return self.groups.index.get_level_values("attribute").to_numpy(object)

    @property
    def names(self) -> NDArray[np.object_]:
        """The name of every group."""
        return self.groups.index.get_level_values("group").to_numpy(object)

    def margins(self, families: Sequence[str]) -> Floats:
        """The margin of each question, (Q, 1)."""
        found = [self.confidence.margin(family).difference for family in families]
        return np.array(found, dtype=np.float64)[:, np.newaxis]

    def family(self, attribute: Any) -> Any:
        """What the simultaneous bounds of an attribute's rows hold for."""
        return f"{self.task}, {self.edits} edits, by " + attribute

    def columns(self, edit: Edit, columns: Fields, shape: tuple[int, int]) -> Columns:
        """Columns of EFFECTS from arrays (Q, P), blank where none is given."""
        every = {
            "probe": self.probe,
            "task": self.task,
            "edit": edit.kind,
            "condition": edit.condition,
            "dropped": edit.dropped,
            "added": edit.added,
            "level": self.confidence.level,
        }
        return EFFECTS.laid_out(every | dict(columns), shape)


def rate_rows(edit: Edit, parts: Parts, frame: Frame, carries: Mapping[str, Floats]) -> Columns:
    """The change of every group's rate."""
    gained, lost = parts.gained, parts.lost
    status, reason = standing(gained.n, gained.subjects, frame.confidence.min_group)
    usable = status == OK
    attributes = frame.attributes
    alike = (attributes[:, np.newaxis] == attributes).astype(np.int64)
    size = (usable.sum(axis=0) @ alike)[np.newaxis]
    each = 1 - (1 - frame.level()) / np.maximum(size, 1)
    possible = parts.can_gain, parts.can_lose
    low, high = change_interval(gained, lost, *possible, level=frame.confidence.level)
    low_all, high_all = (
        np.where(usable, bound, np.nan)
        for bound in change_interval(gained, lost, *possible, level=each)
    )
    margin = frame.margins(parts.families)
    columns = _named(parts) | {
        "attribute": attributes[np.newaxis],
        "comparison": RATE,
        "group": frame.names[np.newaxis],
        **_counted(gained, lost),
        "before": parts.before.rate,
        "after": parts.after.rate,
        "value": gained.rate - lost.rate,
        "low": low,
        "high": high,
        "low_simultaneous": low_all,
        "high_simultaneous": high_all,
        "level_each": each,
        **carries,
        "family": frame.family(attributes)[np.newaxis],
        "family_size": size,
        "margin": margin,
        "method": "paired: shares gained and lost, Bonferroni",
        "status": status,
        "reason": reason,
        "verdict": verdicts(low_all, high_all, margin),
    }
    return frame.columns(edit, columns, gained.n.shape)


def _named(parts: Parts) -> Row:
    """What is counted, as columns (Q, 1)."""
    names = {"metric": parts.metric, "label": parts.labels, "margin_family": parts.families}
    return {k: np.array(v, dtype=object)[:, np.newaxis] for k, v in names.items()}


def _counted(gained: Sample, lost: Sample) -> Row:
    counted = {"n": gained.n, "subjects": gained.subjects}
    return {**counted, "gained": gained.events, "lost": lost.events}


def gap_rows(
    edit: Edit, parts: Parts, attribute: str, names: NDArray[np.object_], frame: Frame
) -> Columns:
    """The change of every question's worst-case gap, at the level that one edit has."""
    s = parts.gained
    ok = standing(s.n, s.subjects, frame.confidence.min_group)[0] == OK
    of = parts.before, parts.after, s, parts.lost
    found = change_of_largest_gap(of, Pairs.of(ok, names.tolist()), frame.level(3))
    gap, later = found.before, found.after
    at = np.arange(len(gap.value))[:, np.newaxis]
    columns = _named(parts) | {
        "attribute": attribute,
        "group": names[gap.group],
        "other": names[gap.other],
        "group_after": names[later.group],
        "other_after": names[later.other],
        **{k: v[at, gap.group] + v[at, gap.other] for k, v in _counted(s, parts.lost).items()},
        "before": gap.value,
        "after": later.value,
        "family": frame.family(attribute),
        "method": "from bounds of all gaps before and after and of their changes",
        **found.columns(frame.margins(parts.families)),
    }
    return frame.columns(edit, columns, gap.value.shape)


@dataclass(frozen=True)
class GapChange:
    """How the largest gap between any two groups changed between two askings; see ``LargestGap``.

    ``low, high``, (Q, 1): bounds of the change; ``each``: the level of each bound they are made of;
    ``size``: how many pairs of groups they hold over.
    """

    before: LargestGap
    after: LargestGap
    low: Floats
    high: Floats
    each: float
    size: int

    def columns(self, margin: Floats) -> Row:
        """What tables of paired changes hold of it, (Q, 1), with the verdict against a margin."""
        return {
            "comparison": WORST,
            "value": self.after.value - self.before.value,
            "low_simultaneous": self.low,
            "high_simultaneous": self.high,
            "level_each": self.each,
            "family_size": self.size,
            "margin": margin,
            "status": self.before.status,
            "reason": self.before.reason,
            "verdict": self.before.verdict(margin, self.low, self.high),
        }


def change_of_largest_gap(of: Sequence[Sample], pairs: Pairs, level: float) -> GapChange:
    """The change of the largest gap between any two groups, from bounds of all gaps at once.

    Three sets of bounds are needed, of the gaps before, after and of their changes.

    Args:
        of: whether something happened before, after, after only and before only, Q questions each;
            of the same pictures and bootstrap.
        pairs: which groups are compared.
        level: of each of the three sets; a third of the error that is allowed.
    """
    before, after, gained, lost = of
    compared = pairs.one, pairs.other, pairs.usable
    found = changes_of_gaps(gained, lost, *compared, level)
    a, b = (gap_bounds(side, *compared, level) for side in (before, after))
    low, high = worst_case_change(a, b, (found.low_all, found.high_all))
    gap, later = (largest_gap(side.rate, pairs) for side in (before, after))
    return GapChange(gap, later, low, high, found.each, found.size)


def gap_bounds(
    sample: Sample, one: Integers, other: Integers, usable: Flags, level: float
) -> Bounds:
    """Bounds of the gaps between pairs of groups that hold for all usable pairs at once, (Q, P).

    Each is ``difference_interval`` at ``joint_level``; pairs with fewer than 10 effective events in
    either group keep their Bonferroni share.

    Args:
        sample: Q questions in G groups.
        one: Index of the first group of each of P pairs.
        other: Index of the second.
        usable: Which pairs count, (Q, P).
        level: Two-sided level of all together.
    """
    levels = np.full(usable.shape, 1 - (1 - level) / max(int(usable.sum()), 1))
    if sample.deviations is not None:
        events = sample.effective_events
        _, levels = each_level(sample.deviations, events, one, other, usable, level)
    return bounds_at(levels, usable, lambda at: difference_interval(sample, one, other, at))


def change_interval(
    gained: Sample,
    lost: Sample,
    can_gain: npt.ArrayLike = True,
    can_lose: npt.ArrayLike = True,
    level: npt.ArrayLike = 0.95,
) -> Bounds:
    """Interval for how much each group's rate changed between two askings of the same pictures.

    Formula: with g the share gained and l the share lost, ``d = g - l``; the distances a and b of
    the two shares to the bounds that matter (``rate_interval``: exact where few pictures changed)
    are joined to ``d - sqrt(a² + b² - 2 r a b)``, and likewise upwards. r is the correlation of the
    two shares in the cluster bootstrap; one above 0 would narrow the interval and is believed only
    from 20 effective changes on. Where an edit can only gain or only lose, as adding a label can
    only take pictures from the others, the other share is 0 for certain and the interval is that
    of the one share.
    Range: from -1 to 1; contains d. Where nothing changed d is 0 and the bounds say how much could
    have changed unseen. nan for a group of one subject. Does not show: the size of the rate.

    Args:
        gained: of Q questions in G groups, whether it holds in the second asking only.
        lost: the same, in the first only; of the same pictures and bootstrap.
        can_gain: Whether a gain is possible at all; broadcasts against (Q, G).
        can_lose: Whether a loss is.
        level: Two-sided level; broadcasts against (Q, G).

    Returns:
        Low and high bounds, (Q, G).

    Source:
        Zou, Donner (2008), Statistics in Medicine 27, 1693-1702; Tang, Tang, Rosner (2006), 25,
        2948-2964, for paired shares.
    """
    (g_down, g_up), (l_down, l_up) = (
        _distances(s, possible, level) for s, possible in ((gained, can_gain), (lost, can_lose))
    )
    r = _correlation(gained, lost)
    d = gained.rate - lost.rate
    low, high = d - joined(g_down, l_up, r), d + joined(g_up, l_down, r)
    return np.clip(low, -1.0, 1.0), np.clip(high, -1.0, 1.0)


def _distances(sample: Sample, possible: npt.ArrayLike, level: npt.ArrayLike) -> Bounds:
    """How far below and above its rate each share's bounds are; 0 where it is 0 for certain."""
    low, high = rate_interval(sample, level)
    p = sample.rate
    return np.where(possible, p - low, 0.0), np.where(possible, high - p, 0.0)


def _correlation(gained: Sample, lost: Sample) -> Floats:
    """Correlation of both shares over the replicates, (Q, G); 0 where one never varies."""
    x, y = gained.deviations, lost.deviations
    if x is None or y is None:
        return np.zeros(gained.n.shape)
    r = correlated(x, y)
    few = np.fmin(gained.effective_events, lost.effective_events) < 20
    return np.asarray(np.where(few, np.minimum(r, 0.0), r))


def sampled(counts: Counts) -> Sample:
    """The sample of all groups."""
    return counts.sample(np.arange(counts.seen.shape[1]))

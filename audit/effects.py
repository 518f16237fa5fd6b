"""What each label of a set does, and what a threshold does, from stored embeddings alone.

A choice depends on what else is offered. ``label_effects`` drops, adds and swaps one label at a
time and asks the same pictures again: who was *gained* by a family of labels and who was *lost*.
``threshold_rates`` asks the other way of using such a model: every label whose probability is
above a threshold is kept, so a picture may keep several labels, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, special

from audit.data.labels import Label, LabelSet
from audit.disparity import Confidence
from audit.errors import InputError, sentence
from audit.metrics import (
    DEFAULT_FAMILY,
    Columns,
    Draws,
    Groups,
    flat,
    margin_family,
    stacked,
    standing,
)
from audit.stats.changes import changes_of_gaps, each_level, worst_case_change
from audit.stats.clustered import (
    Bounds,
    Flags,
    Floats,
    Integers,
    Sample,
    correlated,
    difference_interval,
    effective_events,
    joined,
    rate_interval,
)
from audit.stats.counts import Counts, count
from audit.stats.families import bounds_at, size_bounds, verdicts, widest
from audit.tables import (
    CANNOT_TELL,
    COUNT,
    EVERYONE,
    NOT_ASKED,
    NOT_JUDGED,
    NUMBER,
    OK,
    STATUSES,
    TEXT,
    TOO_FEW,
    VERDICTS,
    WORST,
    Schema,
)

Vectors = NDArray[np.floating[Any]]

DROP: Final = "drop"
ADD: Final = "add"
SWAP: Final = "swap"
#: ``comparison`` of a row that is about one group's rate
RATE: Final = "rate"
#: ``metric`` of rows under a threshold
KEPT: Final = "label_kept"
FAMILY_KEPT: Final = "family_kept"
MISSED: Final = "right_label_missed"
WRONG_KEPT: Final = "wrong_label_kept"
MEAN_KEPT: Final = "mean_labels_kept"
#: CLIP's own thresholds for suspicion labels (Radford et al. 2021, section 7.1)
CLIP_THRESHOLDS: Final = (0.005, 0.04)
#: evenly spaced by size, for a curve
SWEEP: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

#: one row an edit, question and group (``rate``), or an edit, question and attribute
#: (``worst_case_gap``). ``before`` and ``after``: the rate of the group, or the largest gap between
#: any two groups, without and with the edit; ``value`` is after less before, in shares. ``gained``:
#: pictures of which it holds after only, ``lost``: before only. A *swap* compares two sets of one
#: size: before, the label ``dropped`` is offered without its counter label ``added``; after, the
#: counter label without it. ``carries``: of the pictures of this group for which the family is
#: chosen from the set as it is, the share that choose ``dropped``. ``low, high`` hold for this row
#: alone, ``low_simultaneous, high_simultaneous`` for all rates, or all gaps, of ``family`` at once;
#: the verdict holds the latter against the margin. A gap has the latter only. ``group, other`` are
#: the widest gap's groups before, ``group_after, other_after`` after.
EFFECTS: Final = Schema(
    "effects",
    {
        "task": TEXT,
        "edit": TEXT,
        "dropped": TEXT,
        "added": TEXT,
        "metric": TEXT,
        "label": TEXT,
        "margin_family": TEXT,
        "attribute": TEXT,
        "comparison": TEXT,
        "group": TEXT,
        "other": TEXT,
        "group_after": TEXT,
        "other_after": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "gained": COUNT,
        "lost": COUNT,
        "before": NUMBER,
        "after": NUMBER,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "level": NUMBER,
        "level_each": NUMBER,
        "carries": NUMBER,
        "carries_low": NUMBER,
        "carries_high": NUMBER,
        "family": TEXT,
        "family_size": COUNT,
        "margin": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "verdict": TEXT,
    },
    key=(
        "task", "edit", "dropped", "added", "metric", "label", "attribute", "comparison", "group",
        "other",
    ),
    allowed={
        "edit": (DROP, ADD, SWAP),
        "comparison": (RATE, WORST),
        "status": STATUSES,
        "verdict": VERDICTS,
    },
)  # fmt: skip

#: one row a threshold, question and group (``rate``), or attribute (``worst_case_gap``). ``metric``
#: says what is counted: a label kept, any label of a family kept, the right label missed, a wrong
#: one kept, or (``mean_labels_kept``, no share) the mean number of labels kept. Gaps of the sweep
#: show a curve and are not judged.
THRESHOLDS: Final = Schema(
    "thresholds",
    {
        "task": TEXT,
        "threshold": NUMBER,
        "metric": TEXT,
        "label": TEXT,
        "margin_family": TEXT,
        "attribute": TEXT,
        "comparison": TEXT,
        "group": TEXT,
        "other": TEXT,
        "n": COUNT,
        "subjects": COUNT,
        "events": COUNT,
        "value": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "low_simultaneous": NUMBER,
        "high_simultaneous": NUMBER,
        "level": NUMBER,
        "family": TEXT,
        "family_size": COUNT,
        "margin": NUMBER,
        "method": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "verdict": TEXT,
    },
    key=("task", "threshold", "metric", "label", "attribute", "comparison", "group", "other"),
    allowed={"comparison": (RATE, WORST), "status": STATUSES, "verdict": VERDICTS},
)

#: pictures compared at a time: bounds memory
_AT_ONCE: Final = 8192
_ONE_LEFT: Final = "one label would be left, and that is no choice"
_TOO_FEW_GROUPS: Final = "fewer than two groups with enough pictures"


@dataclass(frozen=True)
class Edit:
    """One change of a label set: the labels' texts, blank where none is dropped or added."""

    kind: Literal["drop", "add", "swap"]
    dropped: str = ""
    added: str = ""


def edits(labels: LabelSet, additions: Iterable[Label] = ()) -> list[Edit]:
    """Every label dropped, every addition added, every counter label in its harmful label's place.

    Raises:
        InputError: an addition is in the set already, or twice among the additions.
    """
    whole = _whole(labels, additions)
    return [
        *(Edit(DROP, dropped=text) for text in labels.texts),
        *(Edit(ADD, added=text) for text in whole.texts[len(labels.texts) :]),
        *(
            Edit(SWAP, label.text, counter)
            for label in whole.labels
            for counter in dict.fromkeys(label.counters)
        ),
    ]


def label_effects(
    vectors: Vectors,
    classes: Vectors,
    labels: LabelSet,
    groups: Groups,
    draws: Draws,
    confidence: Confidence,
    additions: Mapping[Label, Vectors] | None = None,
    *,
    truth: NDArray[np.integer[Any]] | None = None,
    every_label: bool = False,
) -> pd.DataFrame:
    """What dropping, adding or swapping one label does to every group's rates; the table EFFECTS.

    The paired change of every tagged family, of the labels edited and (with ``truth``) of
    misclassification, in every group: the share of pictures gained less the share lost, with an
    interval by ``change_interval``; and of the worst-case gap within every attribute, as between
    two runs. Nothing is asked of the model: an edit needs each picture's best and second best label
    and its similarities to the additions.
    Range: shares, from -1 to 1. Simultaneous bounds share their level equally among all edits, so
    that the largest effect found in the table can be believed. Does not show: what two edits do
    together (effects do not add up), nor which label is right. Misclassification counts pictures
    whose right label is offered before and after; where the edited label is the right one, there is
    nothing to pair.

    Args:
        vectors: Pictures, (n, d), unit rows, in the order of ``groups``.
        classes: Class embeddings of the labels, (L, d), unit rows.
        labels: The label set as it is.
        groups: Membership and subjects of these pictures.
        draws: Bootstrap weights of these pictures' clusters.
        confidence: Level, margins, smallest group.
        additions: Labels to add, each with its class embedding, (d,).
        truth: Place of each picture's right label in the set, (n,); -1 where it isn't known.
        every_label: Also the selection of every other label, not of those edited alone.

    Raises:
        InputError: shapes that don't fit, a truth out of range, an addition already in the set.
    """
    extra = dict(additions or {})
    whole = _whole(labels, extra)
    _check(vectors, classes, labels, groups, truth)
    rows = _rows_of(extra, vectors.shape[1])
    answers = _answers(vectors, classes, rows)
    asked = _Asked.of(whole, answers, groups, draws, truth, confidence.level)
    planned = edits(labels, extra)
    frame = _Frame(labels.name, groups, confidence, len(planned), every_label)
    tables = [table for edit in planned for table in _tables(edit, asked, frame)]
    return EFFECTS.conform(stacked(tables))


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


def _distances(sample: Sample, possible: Any, level: Any) -> Bounds:
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
    few = np.fmin(effective_events(gained), effective_events(lost)) < 20
    return np.asarray(np.where(few, np.minimum(r, 0.0), r))


# --- what the pictures answer -------------------------------------------------------------------


@dataclass(frozen=True)
class _Answers:
    """Best and second best label of the set for each picture, and similarities to the additions."""

    best: Integers
    second: Integers
    top: Floats
    runner_up: Floats
    extra: Floats
    size: int

    def chosen(self, without: int, plus: int) -> Integers:
        """What is chosen from the set without one label and with one addition; -1 for none."""
        gone = self.best == without
        choice = np.where(gone, self.second, self.best)
        if plus < self.size:
            return choice
        reached = np.where(gone, self.runner_up, self.top)
        return np.where(self.extra[:, plus - self.size] > reached, plus, choice)

    def offered(self, without: int, plus: int) -> int:
        """How many labels that set has."""
        return self.size - (0 <= without < self.size) + (plus >= self.size)


def _answers(vectors: Vectors, classes: Vectors, extra: Floats) -> _Answers:
    n, k = len(vectors), len(classes)
    best, second = np.empty(n, np.int64), np.empty(n, np.int64)
    top, runner_up, to_extra = np.empty(n), np.empty(n), np.empty((n, len(extra)))
    for block, similarity in _similarities(vectors, np.vstack([classes, *extra[:, np.newaxis]])):
        to_extra[block] = similarity[:, k:]
        of_set, rows = similarity[:, :k], np.arange(len(similarity))
        best[block] = of_set.argmax(axis=1)
        top[block] = of_set[rows, best[block]]
        of_set[rows, best[block]] = -np.inf
        second[block] = of_set.argmax(axis=1)
        runner_up[block] = of_set[rows, second[block]]
    return _Answers(best, second, top, runner_up, to_extra, k)


def _similarities(vectors: Vectors, classes: Vectors) -> Iterator[tuple[slice, Floats]]:
    """Cosine similarities, block by block, in double precision as the probe has them."""
    columns = classes.astype(np.float64).T
    for start in range(0, len(vectors), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        yield block, np.asarray(vectors[block].astype(np.float64) @ columns)


@dataclass(frozen=True)
class _Asked:
    """The pictures' answers, and what is counted in them before any edit.

    ``inside`` (Q, labels): which labels, additions included, make question q happen; the tagged
    families come first, then every label alone.
    """

    labels: LabelSet
    answers: _Answers
    groups: Groups
    draws: Draws
    truth: Integers | None
    inside: Flags
    level: float

    @classmethod
    def of(
        cls,
        labels: LabelSet,
        answers: _Answers,
        groups: Groups,
        draws: Draws,
        truth: NDArray[np.integer[Any]] | None,
        level: float,
    ) -> _Asked:
        """Everything, with the questions that the labels and their tags make."""
        number = len(labels.labels)
        families = np.zeros((len(labels.families), number), bool)
        for row, indices in zip(families, labels.families.values(), strict=True):
            row[list(indices)] = True
        known = None if truth is None else np.asarray(truth, dtype=np.int64)
        inside = np.vstack([families, np.eye(number, dtype=bool)])
        return cls(labels, answers, groups, draws, known, inside, level)

    @cached_property
    def chosen(self) -> Counts:
        """Counts of every question in the set as it is."""
        return self.count(self.inside[:, self.answers.best].T, np.arange(len(self.answers.best)))

    @cached_property
    def known(self) -> Flags:
        """Pictures whose right label is known, (n,)."""
        assert self.truth is not None
        return self.truth >= 0

    @cached_property
    def wrong(self) -> Counts:
        """Counts of misclassification in the set as it is."""
        assert self.truth is not None
        rows = np.flatnonzero(self.known)
        return self.count((self.answers.best != self.truth)[rows, np.newaxis], rows)

    @cached_property
    def carried(self) -> Mapping[tuple[str, str], tuple[Floats, Floats, Floats]]:
        """Each label's share of its families' events with bounds, (G,), by family and label."""
        found = {}
        for row, family in enumerate(self.labels.families):
            members = [i for i in np.flatnonzero(self.inside[row]) if i < self.answers.size]
            rows = np.flatnonzero(self.inside[row][self.answers.best])
            happened = self.answers.best[rows, np.newaxis] == np.array(members, dtype=np.int64)
            sample = _sample(self.count(happened, rows))
            low, high = rate_interval(sample, self.level)
            for i, label in enumerate(members):
                text = self.labels.texts[label]
                found[family, text] = (sample.rate[i], low[i], high[i])
        return found

    def count(self, happened: Flags, rows: Integers) -> Counts:
        """Count these pictures only."""
        clusters = self.groups.clusters[rows]
        number = len(self.groups.cluster_ids)
        return count(
            happened,
            self.groups.member[rows],
            clusters,
            number,
            self.draws.weights,
            self.draws.rows(clusters),
        )


@dataclass(frozen=True)
class _Parts:
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

    def of(self, groups: Integers) -> _Parts:
        """The same of some groups only."""
        return replace(
            self,
            before=_columns(self.before, groups),
            after=_columns(self.after, groups),
            gained=_columns(self.gained, groups),
            lost=_columns(self.lost, groups),
        )


def _parts(edit: Edit, asked: _Asked, every_label: bool) -> Iterator[_Parts]:
    """What an edit does to families and labels, and to misclassification."""
    texts = asked.labels.texts
    dropped, added = (texts.index(t) if t else -1 for t in (edit.dropped, edit.added))
    # a swap begins from the set that offers the harmful label without its counter label
    first = (added, dropped) if edit.kind == SWAP else (-1, -1)
    before, after = (asked.answers.chosen(*side) for side in (first, (dropped, added)))
    yield _selection(asked, before, after, dropped, added, every_label)
    if asked.truth is not None and asked.known.any():
        yield _misclassification(asked, before, after, dropped, added)


def _selection(
    asked: _Asked, before: Integers, after: Integers, dropped: int, added: int, every_label: bool
) -> _Parts:
    labels, best, inside = asked.labels, asked.answers.best, asked.inside
    tags = tuple(labels.families)
    offered = np.arange(len(labels.labels)) < asked.answers.size
    offered[[i for i in (dropped, added) if i >= 0]] = True
    alone = offered if every_label else np.isin(np.arange(offered.size), (dropped, added))
    wanted = np.concatenate([inside[: len(tags), offered].any(axis=1), alone])
    at = np.flatnonzero(wanted)
    rows = np.flatnonzero((before != best) | (after != best))
    base, one, other = (inside[at][:, choice[rows]].T for choice in (best, before, after))
    # pictures move out of what is dropped and into what is added, and nowhere else
    of_dropped, of_added = (
        inside[at, i] if i >= 0 else np.full(at.size, value)
        for i, value in ((dropped, True), (added, False))
    )
    can_gain = of_added | ~of_dropped
    can_lose = (of_dropped & (dropped >= 0)) | (~of_added & (added >= 0))
    names = [*tags, *labels.texts]
    kinds = ["family_selection"] * len(tags) + ["selection"] * len(labels.texts)
    margins = [*tags, *(margin_family(label.tags, labels) for label in labels.labels)]
    metric, label, family = (tuple(column[i] for i in at) for column in (kinds, names, margins))
    samples = _samples(_questions(asked.chosen, at), asked.count(_moves(base, one, other), rows))
    possible = can_gain[:, np.newaxis], can_lose[:, np.newaxis]
    return _Parts(metric, label, family, *samples, *possible)


def _misclassification(
    asked: _Asked, before: Integers, after: Integers, dropped: int, added: int
) -> _Parts:
    assert asked.truth is not None
    truth, best = asked.truth, asked.answers.best
    unpaired = asked.known & ((truth == dropped) | (truth == added))
    base = asked.wrong
    if unpaired.any():
        out = np.flatnonzero(unpaired)
        base = _less(base, asked.count((best != truth)[out, np.newaxis], out))
    rows = np.flatnonzero(((before != best) | (after != best)) & asked.known & ~unpaired)
    wrong = ((choice[rows] != truth[rows])[:, np.newaxis] for choice in (best, before, after))
    one = np.ones((1, 1), bool)
    return _Parts(
        ("misclassification",),
        ("any label",),
        ("misclassification",),
        *_samples(base, asked.count(_moves(*wrong), rows)),
        one & (added >= 0),
        one & (dropped >= 0),
    )


def _moves(base: Flags, before: Flags, after: Flags) -> Flags:
    """Into and out of before, from the set as it is; into and out of after, from before."""
    return np.hstack([before & ~base, base & ~before, after & ~before, before & ~after])


def _samples(base: Counts, moves: Counts) -> tuple[Sample, Sample, Sample, Sample]:
    """Before, after, gained and lost, from counts as they are and of the few that move.

    Counts add up, so the many pictures that no edit moves are counted once for all edits.
    """

    def four(first: Any, moved: Any, axis: int) -> Any:
        into, out, gained, lost = np.split(moved, 4, axis=axis)
        before = first + into - out
        return np.concatenate([before, before + gained - lost, gained, lost], axis=axis)

    assert base.replicated_events is not None
    whole = replace(
        base,
        events=four(base.events, moves.events, 0),
        replicated_events=four(base.replicated_events, moves.replicated_events, 1),
    )
    sample, q = _sample(whole), len(base.events)
    one, two, three, four_ = (_rows(sample, slice(i * q, (i + 1) * q)) for i in range(4))
    return one, two, three, four_


def _sample(counts: Counts) -> Sample:
    return counts.sample(np.arange(counts.seen.shape[1]))


def _questions(counts: Counts, at: Integers) -> Counts:
    """Some questions only."""
    assert counts.replicated_events is not None
    replicated = counts.replicated_events[:, at]
    return replace(counts, events=counts.events[at], replicated_events=replicated)


def _less(counts: Counts, part: Counts) -> Counts:
    """Counts without those of some of the pictures."""
    assert counts.replicated_n is not None
    assert counts.replicated_events is not None
    assert part.replicated_n is not None
    assert part.replicated_events is not None
    return Counts(
        counts.events - part.events,
        sparse.csr_array(counts.seen - part.seen),
        counts.replicated_n - part.replicated_n,
        counts.replicated_events - part.replicated_events,
    )


def _rows(sample: Sample, rows: slice) -> Sample:
    """Some questions only."""
    return _picked(sample, lambda values: values[rows])


def _columns(sample: Sample, at: Integers) -> Sample:
    """Some groups only."""
    chosen = _picked(sample, lambda values: values[:, at])
    return replace(chosen, shared=sample.shared[np.ix_(at, at)])


def _picked(sample: Sample, pick: Callable[[Any], Any]) -> Sample:
    """A sample whose arrays by question and group went through ``pick``."""
    picked: dict[str, Any] = {}
    for field in fields(sample):
        value = getattr(sample, field.name)
        picked[field.name] = value if field.name == "shared" or value is None else pick(value)
    return Sample(**picked)


# --- rows of EFFECTS ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """What all rows have in common."""

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
        return self.groups.index.get_level_values("attribute").to_numpy(object)

    @property
    def names(self) -> NDArray[np.object_]:
        return self.groups.index.get_level_values("group").to_numpy(object)

    def margins(self, families: Sequence[str]) -> Floats:
        """The margin of each question, (Q, 1)."""
        found = [self.confidence.margin(family).difference for family in families]
        return np.array(found, dtype=np.float64)[:, np.newaxis]

    def family(self, attribute: Any) -> Any:
        """What the simultaneous bounds of an attribute's rows hold for."""
        return f"{self.task}, {self.edits} edits, by " + attribute

    def columns(self, edit: Edit, columns: Mapping[str, Any], shape: tuple[int, int]) -> Columns:
        """Columns of EFFECTS from arrays (Q, P), blank where none is given."""
        blank = {TEXT: "", COUNT: 0, NUMBER: np.nan}
        every = {name: blank[dtype] for name, dtype in EFFECTS.columns.items()} | {
            "task": self.task,
            "edit": edit.kind,
            "dropped": edit.dropped,
            "added": edit.added,
            "level": self.confidence.level,
        }
        return {name: flat(value, shape) for name, value in (every | dict(columns)).items()}


def _tables(edit: Edit, asked: _Asked, frame: _Frame) -> Iterator[Columns]:
    """Every row of one edit."""
    texts, offered = asked.labels.texts, asked.answers.offered
    dropped, added = (texts.index(t) if t else -1 for t in (edit.dropped, edit.added))
    fewest = min(offered(dropped, added), offered(added, dropped) if edit.kind == SWAP else 2)
    if fewest < 2:
        yield _not_asked(edit, asked.labels, frame)
        return
    for parts in _parts(edit, asked, frame.every_label):
        yield _rates(edit, parts, asked, frame)
        for attribute in frame.groups.attributes:
            at = frame.groups.columns(attribute)
            if at.size > 1:
                yield _gaps(edit, parts.of(at), attribute, frame.names[at], frame)


def _not_asked(edit: Edit, labels: LabelSet, frame: _Frame) -> Columns:
    """The one row of an edit that leaves no choice."""
    text = edit.dropped or edit.added
    label = next(label for label in labels.labels if label.text == text)
    family = margin_family(label.tags, labels)
    told = {
        "metric": "selection",
        "label": text,
        "margin_family": family,
        "attribute": EVERYONE,
        "group": EVERYONE,
        "comparison": RATE,
        "family": frame.family(EVERYONE),
        "margin": frame.margins([family]),
        "status": NOT_ASKED,
        "reason": _ONE_LEFT,
        "verdict": CANNOT_TELL,
    }
    return frame.columns(edit, told, (1, 1))


def _rates(edit: Edit, parts: _Parts, asked: _Asked, frame: _Frame) -> Columns:
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
        **_carries(edit, parts, asked),
        "family": frame.family(attributes)[np.newaxis],
        "family_size": size,
        "margin": margin,
        "method": "paired: shares gained and lost, Bonferroni",
        "status": status,
        "reason": reason,
        "verdict": verdicts(low_all, high_all, margin),
    }
    return frame.columns(edit, columns, gained.n.shape)


def _named(parts: _Parts) -> dict[str, Any]:
    """What is counted, as columns (Q, 1)."""
    names = {"metric": parts.metric, "label": parts.labels, "margin_family": parts.families}
    return {k: np.array(v, dtype=object)[:, np.newaxis] for k, v in names.items()}


def _counted(gained: Sample, lost: Sample) -> dict[str, Any]:
    counted = {"n": gained.n, "subjects": gained.subjects}
    return {**counted, "gained": gained.events, "lost": lost.events}


def _carries(edit: Edit, parts: _Parts, asked: _Asked) -> dict[str, Floats]:
    """Which share of each family the dropped label carries, with bounds, (Q, G)."""
    none = (np.full(parts.gained.n.shape[1], np.nan),) * 3
    found = [
        asked.carried.get((label, edit.dropped), none) if metric == "family_selection" else none
        for metric, label in zip(parts.metric, parts.labels, strict=True)
    ]
    names = ("carries", "carries_low", "carries_high")
    return {name: np.array([row[i] for row in found]) for i, name in enumerate(names)}


def _gaps(
    edit: Edit, parts: _Parts, attribute: str, names: NDArray[np.object_], frame: _Frame
) -> Columns:
    """The change of every question's worst-case gap, as ``compare`` has it between two runs.

    Three sets of bounds are needed, of the gaps before, after and of their changes; each is made at
    a third of the error that the level allows this edit.
    """
    one, other = np.triu_indices(len(names), 1)
    s = parts.gained
    ok = standing(s.n, s.subjects, frame.confidence.min_group)[0] == OK
    usable = ok[:, one] & ok[:, other]
    level = frame.level(3)
    found = changes_of_gaps(s, parts.lost, one, other, usable, level)
    before, after = (
        gap_bounds(side, one, other, usable, level) for side in (parts.before, parts.after)
    )
    low, high = worst_case_change(before, after, (found.low_all, found.high_all))
    some = usable.any(axis=1, keepdims=True)
    gap, group, rest, _ = widest(parts.before.rate, one, other, usable)
    gap_after, group_after, rest_after, _ = widest(parts.after.rate, one, other, usable)
    at, margin = np.arange(len(gap))[:, np.newaxis], frame.margins(parts.families)
    columns = _named(parts) | {
        "attribute": attribute,
        "comparison": WORST,
        "group": names[group],
        "other": names[rest],
        "group_after": names[group_after],
        "other_after": names[rest_after],
        **{k: v[at, group] + v[at, rest] for k, v in _counted(s, parts.lost).items()},
        "before": gap,
        "after": gap_after,
        "value": gap_after - gap,
        "low_simultaneous": low,
        "high_simultaneous": high,
        "level_each": found.each,
        "family": frame.family(attribute),
        "family_size": found.size,
        "margin": margin,
        "method": "from bounds of all gaps before and after and of their changes",
        "status": np.where(some, OK, TOO_FEW).astype(object),
        "reason": np.where(some, "", _TOO_FEW_GROUPS).astype(object),
        "verdict": verdicts(low, high, margin),
    }
    return frame.columns(edit, columns, gap.shape)


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
        events = effective_events(sample)
        _, levels = each_level(sample.deviations, events, one, other, usable, level)
    return bounds_at(levels, usable, lambda at: difference_interval(sample, one, other, at))


# --- labels kept above a threshold --------------------------------------------------------------


def threshold_rates(
    vectors: Vectors,
    classes: Vectors,
    labels: LabelSet,
    logit_scale: float,
    groups: Groups,
    thresholds: Sequence[float] = CLIP_THRESHOLDS,
    *,
    draws: Draws | None = None,
    confidence: Confidence | None = None,
    sweep: Sequence[float] = SWEEP,
    truth: NDArray[np.integer[Any]] | None = None,
) -> pd.DataFrame:
    """How often labels are kept where every label above a threshold is; the table THRESHOLDS.

    A label is kept for a picture if its softmax probability over the set is above the threshold:
    several may be, or none. At ``thresholds``: every label, every tagged family (any of its labels)
    and, with ``truth``, how often the right label is missed and a wrong one kept; over ``sweep``:
    the families and the mean number of labels kept, as a curve.
    Range: shares of pictures, from 0 to 1, falling as the threshold rises; the mean from 0 to the
    number of labels. Does not show: whether a probability is calibrated; it depends on the logit
    scale and on every other label of the set, so one threshold means different things in two sets.
    Simultaneous bounds of worst-case gaps hold for one metric, attribute and all ``thresholds``.

    Args:
        vectors: Pictures, (n, d), unit rows, in the order of ``groups``.
        classes: Class embeddings of the labels, (L, d), unit rows.
        labels: The label set.
        logit_scale: What the model multiplies a similarity with.
        groups: Membership and subjects of these pictures.
        thresholds: Shares between 0 and 1 that are reported and judged.
        draws: Bootstrap weights; without, pictures of a subject are taken for copies.
        confidence: Level, margins, smallest group; the default one if None.
        sweep: More thresholds, for the curve.
        truth: Place of each picture's right label in the set, (n,); -1 where it isn't known.

    Raises:
        InputError: a threshold outside (0, 1), shapes that don't fit, a truth out of range.

    Source:
        Radford et al. (2021), arXiv 2103.00020, section 7.1 (0.5 % and 4 %).
    """
    named, curve = _thresholds(thresholds, "thresholds"), _thresholds(sweep, "sweep")
    _check(vectors, classes, labels, groups, truth)
    right = None if truth is None else np.asarray(truth, dtype=np.int64)
    kept = _Kept(labels, groups, draws, right, named)
    total: dict[_At, Any] = {}
    for block, similarity in _similarities(vectors, classes):
        share = special.softmax(logit_scale * similarity, axis=1)
        for at, counts in kept.count(share, block, sorted({*named, *curve})):
            total[at] = total[at] + counts if at in total else counts
    frame = _Frame(labels.name, groups, confidence or Confidence(), len(named), False)
    tables = [
        table
        for at, counts in sorted(total.items(), key=lambda item: item[0])
        for table in kept.tables(at, counts, frame)
    ]
    return THRESHOLDS.conform(stacked(tables))


_At = tuple[float, str]  # a threshold and a metric


def _thresholds(values: Sequence[float], what: str) -> tuple[float, ...]:
    """The thresholds in order, each once.

    Raises:
        InputError: one isn't between 0 and 1, or there are none where some are needed.
    """
    found = tuple(sorted({float(value) for value in values}))
    if what == "thresholds" and not found:
        raise InputError(sentence("thresholds: none given", "Give one or more, such as 0.005"))
    for value in found:
        if not 0 < value < 1:
            allowed = "A threshold is a probability between 0 and 1, both left out"
            hint = (
                f"Did you mean {value / 100:g}, which is {value:g} %?" if 1 <= value < 100 else ""
            )
            raise InputError(sentence(f"{what}: got {value:g}", allowed, hint))
    return found


@dataclass(frozen=True)
class _Kept:
    """What is counted of labels kept: by threshold and metric."""

    labels: LabelSet
    groups: Groups
    draws: Draws | None
    truth: Integers | None
    named: tuple[float, ...]

    def count(
        self, share: Floats, block: slice, thresholds: Sequence[float]
    ) -> Iterator[tuple[_At, Counts | sparse.csr_array]]:
        """Counts of a block of pictures with these probabilities, (n, L)."""
        rows = np.arange(len(self.groups.clusters))[block]
        families = self.labels.families.values()
        for threshold in thresholds:
            kept = share > threshold
            yield (threshold, MEAN_KEPT), self._sums(kept.sum(axis=1), rows)
            if families:
                together = np.stack([kept[:, list(i)].any(axis=1) for i in families], axis=1)
                yield (threshold, FAMILY_KEPT), self._count(together, rows)
            if threshold in self.named:
                yield (threshold, KEPT), self._count(kept, rows)
                if self.truth is not None:
                    right = self.truth[rows]
                    known = right >= 0
                    missed, wrong = _against(kept[known], right[known])
                    yield (threshold, MISSED), self._count(missed, rows[known])
                    yield (threshold, WRONG_KEPT), self._count(wrong, rows[known])

    def _count(self, happened: Flags, rows: Integers) -> Counts:
        g, clusters = self.groups, self.groups.clusters[rows]
        drawn = () if self.draws is None else (self.draws.weights, self.draws.rows(clusters))
        return count(happened, g.member[rows], clusters, len(g.cluster_ids), *drawn)

    def _sums(self, number: Integers, rows: Integers) -> sparse.csr_array:
        """Labels kept and pictures of each cluster, in each group: (clusters, 2 groups)."""
        picture, group = np.nonzero(self.groups.member[rows])
        cluster, g = self.groups.clusters[rows][picture], self.groups.member.shape[1]
        values = np.concatenate([number[picture], np.ones(picture.size, np.int64)])
        at = np.tile(cluster, 2), np.concatenate([group, group + g])
        return sparse.csr_array((values, at), shape=(len(self.groups.cluster_ids), 2 * g))

    def questions(self, metric: str) -> tuple[list[str], list[str]]:
        """The labels and margin families of a metric."""
        if metric == KEPT:
            of_label = [margin_family(label.tags, self.labels) for label in self.labels.labels]
            return list(self.labels.texts), of_label
        if metric == FAMILY_KEPT:
            return list(self.labels.families), list(self.labels.families)
        return ["any label"], [DEFAULT_FAMILY if metric == MEAN_KEPT else "misclassification"]

    def tables(
        self, at: _At, counts: Counts | sparse.csr_array, frame: _Frame
    ) -> Iterator[Columns]:
        """Rows of one threshold and metric."""
        names, families = (np.array([q], dtype=object).T for q in self.questions(at[1]))
        margin = frame.margins(families[:, 0].tolist())
        told = dict(zip(("threshold", "metric"), at, strict=True))
        told |= {"task": frame.task, "label": names, "margin_family": families, "margin": margin}
        told |= {"level": frame.confidence.level}
        if not isinstance(counts, Counts):
            yield _threshold_rows(told | _mean_rates(counts, frame), (1, len(frame.names)))
            return
        sample = _sample(counts)
        yield _threshold_rows(told | _kept_rates(sample, frame), sample.n.shape)
        for attribute in frame.groups.attributes:
            columns = frame.groups.columns(attribute)
            if columns.size > 1:
                part, judged = _columns(sample, columns), at[0] in self.named
                gaps = _kept_gaps(part, frame.names[columns], frame, margin, judged)
                family = f"{frame.task}, {at[1]}, by {attribute}"
                told_too = {"attribute": attribute, "family": family if judged else ""}
                yield _threshold_rows(told | told_too | gaps, (len(sample.n), 1))


def _against(kept: Flags, right: Integers) -> tuple[Flags, Flags]:
    """Whether the right label is missed, and whether a wrong one is kept; each (n, 1)."""
    rows = np.arange(len(kept))
    hit = kept[rows, right]
    return ~hit[:, np.newaxis], (kept.sum(axis=1) > hit)[:, np.newaxis]


def _threshold_rows(columns: Mapping[str, Any], shape: tuple[int, int]) -> Columns:
    """Columns of THRESHOLDS from arrays (Q, P), blank where none is given."""
    blank = {TEXT: "", COUNT: 0, NUMBER: np.nan}
    every = {name: blank[dtype] for name, dtype in THRESHOLDS.columns.items()}
    every |= {"verdict": NOT_JUDGED} | dict(columns)
    return {name: flat(value, shape) for name, value in every.items()}


def _kept_rates(sample: Sample, frame: _Frame) -> dict[str, Any]:
    """The rate of every group."""
    low, high = rate_interval(sample, frame.confidence.level)
    status, reason = standing(sample.n, sample.subjects, frame.confidence.min_group)
    return {
        "attribute": frame.attributes[np.newaxis],
        "comparison": RATE,
        "group": frame.names[np.newaxis],
        "n": sample.n,
        "subjects": sample.subjects,
        "events": sample.events,
        "value": sample.rate,
        "low": low,
        "high": high,
        "method": "Wilson or Clopper-Pearson at effective n",
        "status": status,
        "reason": reason,
    }


def _kept_gaps(
    sample: Sample, names: NDArray[np.object_], frame: _Frame, margin: Floats, judged: bool
) -> dict[str, Any]:
    """The worst-case gap of every question; bounds hold for all thresholds that are judged."""
    one, other = np.triu_indices(len(names), 1)
    ok = standing(sample.n, sample.subjects, frame.confidence.min_group)[0] == OK
    usable = ok[:, one] & ok[:, other]
    level = frame.level() if judged else frame.confidence.level
    least, most = size_bounds(*gap_bounds(sample, one, other, usable, level))
    some = usable.any(axis=1, keepdims=True)
    ends = [
        np.where(some, np.where(usable, end, -1.0).max(axis=1, keepdims=True), np.nan)
        for end in (least, most)
    ]
    gap, group, rest, _ = widest(sample.rate, one, other, usable)
    at = np.arange(len(gap))[:, np.newaxis]
    counted = {"n": sample.n, "subjects": sample.subjects, "events": sample.events}
    return {
        "comparison": WORST,
        "group": names[group],
        "other": names[rest],
        **{name: values[at, group] + values[at, rest] for name, values in counted.items()},
        "value": gap,
        "low_simultaneous": ends[0],
        "high_simultaneous": ends[1],
        "family_size": int(usable.sum()) * (frame.edits if judged else 1),
        "method": "largest over pairs of Newcombe at effective n, max-T",
        "status": np.where(some, OK, TOO_FEW).astype(object),
        "reason": np.where(some, "", _TOO_FEW_GROUPS).astype(object),
        "verdict": verdicts(ends[0], ends[1], margin) if judged else NOT_JUDGED,
    }


def _mean_rates(sums: sparse.csr_array, frame: _Frame) -> dict[str, Any]:
    """The mean number of labels kept in every group, with Student's interval over subjects.

    The variance is the linearised one of a ratio, ``sum over subjects of (x_c - mean n_c)² / n²``,
    and at least what one subject with one label more would add: subjects who happen to be all alike
    do not prove that the next one is.
    """
    groups = len(frame.names)
    kept, seen = (sums[:, at].tocsc() for at in (slice(groups), slice(groups, None)))
    x, n = (np.asarray(part.sum(axis=0), dtype=np.int64) for part in (kept, seen))
    m = np.asarray((seen > 0).sum(axis=0), dtype=np.int64)
    mean = x / np.where(n > 0, n, np.nan)
    squares = [
        np.asarray((a * b).sum(axis=0)) for a, b in ((kept, kept), (kept, seen), (seen, seen))
    ]
    spread = squares[0] - 2 * mean * squares[1] + mean**2 * squares[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.maximum(spread, squares[2] / m) / n**2 * m / (m - 1))
        reach = np.where(
            m > 1, special.stdtrit(np.maximum(m - 1, 1), _upper(frame)) * error, np.nan
        )
    status, reason = standing(n, m, frame.confidence.min_group)
    return {
        "attribute": frame.attributes[np.newaxis],
        "comparison": RATE,
        "group": frame.names[np.newaxis],
        "n": n[np.newaxis],
        "subjects": m[np.newaxis],
        "events": x[np.newaxis],
        "value": mean[np.newaxis],
        "low": np.maximum(mean - reach, 0.0)[np.newaxis],
        "high": (mean + reach)[np.newaxis],
        "margin": np.nan,
        "method": "mean over pictures, Student over subjects",
        "status": status[np.newaxis],
        "reason": reason[np.newaxis],
    }


def _upper(frame: _Frame) -> float:
    return 1 - (1 - frame.confidence.level) / 2


# --- what can't be asked ------------------------------------------------------------------------


def _rows_of(additions: Mapping[Label, Vectors], numbers: int) -> Floats:
    """The class embeddings of the additions, (A, d).

    Raises:
        InputError: one has another number of dimensions than the pictures.
    """
    for label, row in additions.items():
        if np.shape(row) != (numbers,):
            got = f"addition '{label.text}': a class embedding of shape {np.shape(row)}"
            raise InputError(sentence(got, f"The pictures' have {numbers} numbers"))
    return np.array([*additions.values()], dtype=np.float64).reshape(len(additions), numbers)


def _whole(labels: LabelSet, additions: Iterable[Label]) -> LabelSet:
    """The set with all additions at its end; refuses one that is there already."""
    whole = labels
    for addition in additions:
        whole = whole.plus(addition, f"effects of the labels of '{labels.name}'")
    return whole


def _check(
    vectors: Vectors,
    classes: Vectors,
    labels: LabelSet,
    groups: Groups,
    truth: NDArray[np.integer[Any]] | None,
) -> None:
    """Refuse arrays that don't fit together.

    Raises:
        InputError: other numbers of pictures, labels or dimensions; a truth that is no label.
    """
    n, k = len(groups.member), len(labels.labels)
    if len(vectors) != n:
        got = f"vectors of {len(vectors)} pictures, groups of {n}"
        raise InputError(sentence(got, "Give one row a picture to both, in one order"))
    if classes.shape != (k, vectors.shape[1]):
        got = f"class embeddings of shape {classes.shape}"
        raise InputError(sentence(got, f"'{labels.name}' needs ({k}, {vectors.shape[1]})"))
    if truth is None:
        return
    if len(truth) != n:
        raise InputError(sentence(f"truth of {len(truth)} pictures", f"There are {n}"))
    if n and not (truth.min() >= -1 and truth.max() < k):
        got = f"truth: values from {truth.min()} to {truth.max()}"
        raise InputError(sentence(got, f"They must be from -1 (unknown) to {k - 1}"))

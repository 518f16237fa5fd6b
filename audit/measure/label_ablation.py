"""What each label of a set does, from stored embeddings alone.

A choice depends on what else is offered. ``label_effects`` drops, adds and swaps one label at a
time and asks the same pictures again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError
from audit.core.rows import Array
from audit.core.schema import Columns
from audit.core.tables import ADD, DROP, EFFECTS, EVERYONE, INCONCLUSIVE, NOT_ASKED, RATE, SWAP
from audit.data.labels import Label, LabelSet
from audit.measure.confidence import Confidence
from audit.measure.effects import Edit, Frame, Parts, effect_rows, sampled
from audit.measure.metrics import Draws, Groups, margin_family
from audit.stats.clustered import Sample, rate_interval
from audit.stats.counts import Counts
from audit.stats.samples import pick_questions

Vectors = NDArray[np.floating]

#: pictures compared at a time: bounds memory
_AT_ONCE: Final = 8192
_ONE_LEFT: Final = "one label would be left, and that is no choice"


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
    truth: NDArray[np.integer] | None = None,
    every_label: bool = False,
    probe: str = "classification",
    task: str = "",
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
        probe: Kind of the probe, for the table.
        task: Its task; the label set's name if blank.

    Raises:
        InputError: shapes that don't fit, a truth out of range, an addition already in the set.
    """
    extra = dict(additions or {})
    whole = _whole(labels, extra)
    check_fit(vectors, classes, labels, groups, truth)
    rows = _rows_of(extra, vectors.shape[1])
    answers = _answers(vectors, classes, rows)
    asked = _Asked.of(whole, answers, groups, draws, truth, confidence.level)
    planned = edits(labels, extra)
    frame = Frame(probe, task or labels.name, groups, confidence, len(planned), every_label)
    tables = [table for edit in planned for table in _tables(edit, asked, frame)]
    return EFFECTS.stacked(tables)


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
    for block, similarity in similarities(vectors, np.vstack([classes, *extra[:, np.newaxis]])):
        to_extra[block] = similarity[:, k:]
        of_set, rows = similarity[:, :k], np.arange(len(similarity))
        best[block] = of_set.argmax(axis=1)
        top[block] = of_set[rows, best[block]]
        of_set[rows, best[block]] = -np.inf
        second[block] = of_set.argmax(axis=1)
        runner_up[block] = of_set[rows, second[block]]
    return _Answers(best, second, top, runner_up, to_extra, k)


def similarities(vectors: Vectors, classes: Vectors) -> Iterator[tuple[slice, Floats]]:
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
        truth: NDArray[np.integer] | None,
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
            sample = sampled(self.count(happened, rows))
            low, high = rate_interval(sample, self.level)
            for i, label in enumerate(members):
                text = self.labels.texts[label]
                found[family, text] = (sample.rate[i], low[i], high[i])
        return found

    def count(self, happened: Flags, rows: Integers) -> Counts:
        """Count these pictures only."""
        return self.groups.count(happened, rows, self.draws)


def _parts(edit: Edit, asked: _Asked, every_label: bool) -> Iterator[Parts]:
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
) -> Parts:
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
    samples = _samples(asked.chosen.pick(at), asked.count(_moves(base, one, other), rows))
    possible = can_gain[:, np.newaxis], can_lose[:, np.newaxis]
    return Parts(metric, label, family, *samples, *possible)


def _misclassification(
    asked: _Asked, before: Integers, after: Integers, dropped: int, added: int
) -> Parts:
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
    return Parts(
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

    def four(first: Array, moved: Array | None, axis: int) -> Array:
        assert moved is not None
        into, out, gained, lost = np.split(moved, 4, axis=axis)
        before = first + into - out
        return np.concatenate([before, before + gained - lost, gained, lost], axis=axis)

    assert base.replicated_events is not None
    assert base.happened is not None
    assert moves.happened is not None
    n = base.happened.shape[0]
    into, out, gained, lost = (moves.happened[i * n : (i + 1) * n] for i in range(4))
    before = base.happened + into - out
    whole = replace(
        base,
        events=four(base.events, moves.events, 0),
        replicated_events=four(base.replicated_events, moves.replicated_events, 1),
        happened=sparse.vstack([before, before + gained - lost, gained, lost], format="csr"),
    )
    sample, q = sampled(whole), len(base.events)
    one, two, three, four_ = (pick_questions(sample, slice(i * q, (i + 1) * q)) for i in range(4))
    return one, two, three, four_


def _less(counts: Counts, part: Counts) -> Counts:
    """Counts without those of some of the pictures."""
    assert counts.replicated_n is not None
    assert counts.replicated_events is not None
    assert part.replicated_n is not None
    assert part.replicated_events is not None
    assert counts.happened is not None
    assert part.happened is not None
    return Counts(
        counts.events - part.events,
        sparse.csr_array(counts.seen - part.seen),
        counts.replicated_n - part.replicated_n,
        counts.replicated_events - part.replicated_events,
        sparse.csr_array(counts.happened - part.happened),
    )


def _tables(edit: Edit, asked: _Asked, frame: Frame) -> Iterator[Columns]:
    """Every row of one edit."""
    texts, offered = asked.labels.texts, asked.answers.offered
    dropped, added = (texts.index(t) if t else -1 for t in (edit.dropped, edit.added))
    fewest = min(offered(dropped, added), offered(added, dropped) if edit.kind == SWAP else 2)
    if fewest < 2:
        yield _not_asked(edit, asked.labels, frame)
        return
    for parts in _parts(edit, asked, frame.every_label):
        yield from effect_rows(edit, parts, frame, _carries(edit, parts, asked))


def _not_asked(edit: Edit, labels: LabelSet, frame: Frame) -> Columns:
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
        "verdict": INCONCLUSIVE,
    }
    return frame.columns(edit, told, (1, 1))


def _carries(edit: Edit, parts: Parts, asked: _Asked) -> dict[str, Floats]:
    """Which share of each family the dropped label carries, with bounds, (Q, G)."""
    none = (np.full(parts.gained.n.shape[1], np.nan),) * 3
    found = [
        asked.carried.get((label, edit.dropped), none) if metric == "family_selection" else none
        for metric, label in zip(parts.metric, parts.labels, strict=True)
    ]
    names = ("carries", "carries_low", "carries_high")
    return {name: np.array([row[i] for row in found]) for i, name in enumerate(names)}


# --- what can't be asked ------------------------------------------------------------------------


def _rows_of(additions: Mapping[Label, Vectors], numbers: int) -> Floats:
    """The class embeddings of the additions, (A, d).

    Raises:
        InputError: one has another number of dimensions than the pictures.
    """
    for label, row in additions.items():
        if np.shape(row) != (numbers,):
            got = f"addition '{label.text}': a class embedding of shape {np.shape(row)}"
            raise InputError(got, f"The pictures' have {numbers} numbers")
    return np.array([*additions.values()], dtype=np.float64).reshape(len(additions), numbers)


def _whole(labels: LabelSet, additions: Iterable[Label]) -> LabelSet:
    """The set with all additions at its end; refuses one that is there already."""
    whole = labels
    for addition in additions:
        whole = whole.plus(addition, f"effects of the labels of '{labels.name}'")
    return whole


def check_fit(
    vectors: Vectors,
    classes: Vectors,
    labels: LabelSet,
    groups: Groups,
    truth: NDArray[np.integer] | None,
) -> None:
    """Refuse arrays that don't fit together.

    Raises:
        InputError: other numbers of pictures, labels or dimensions; a truth that is no label.
    """
    n, k = len(groups.rows), len(labels.labels)
    if len(vectors) != n:
        got = f"vectors of {len(vectors)} pictures, groups of {n}"
        raise InputError(got, "Give one row a picture to both, in one order")
    if classes.shape != (k, vectors.shape[1]):
        got = f"class embeddings of shape {classes.shape}"
        raise InputError(got, f"'{labels.name}' needs ({k}, {vectors.shape[1]})")
    if truth is None:
        return
    if len(truth) != n:
        raise InputError(f"truth of {len(truth)} pictures", f"There are {n}")
    if n and not (truth.min() >= -1 and truth.max() < k):
        got = f"truth: values from {truth.min()} to {truth.max()}"
        raise InputError(got, f"They must be from -1 (unknown) to {k - 1}")

"""The same question in every wording: how much of a disparity is the model, how much the question.

Everything here works on stored embeddings: prompts are encoded once, pictures never again. One
wording is a template, its article (right, wrong, absent), the phrasing of the labels, a shift along
the modality gap, and what is done to the pictures before anybody looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from audit.core.tables import (
    CHOSEN,
    DECLARED,
    INCONCLUSIVE,
)
from audit.core.verdicts import verdicts
from audit.data.labels import LabelSet
from audit.measure.metrics import Draws, Groups
from audit.measure.prompts import Answers, Codes, choice_blocks
from audit.stats.clustered import Sample
from audit.stats.components import Components, Moments, components, moments
from audit.stats.concordance import Concordance, kendall_w
from audit.stats.counts import Counts, count
from audit.stats.curves import JointTest, joint_test
from audit.stats.generalisability import Bounded, Generalisability, gap_shares, generalisability
from audit.stats.multiplicity import Estimates
from audit.stats.selection import Parts, choosable, parts, wording_bounds

#: work on everything that could have been chosen: answers times replicates or deals, and gaps of
#: all candidates in all wordings times these; about a second each. Replicates and deals are as
#: many as that allows, but never fewer than the least.
_ANSWERS: Final = 500_000_000
_GAPS: Final = 40_000_000
LEAST_REPLICATES: Final = 500
LEAST_DEALS: Final = 199
DEALS: Final = 1_000
#: group numbers held for all deals, two bytes each
_DEALT: Final = 32_000_000


# ---- one question in every wording -------------------------------------------------------------


@dataclass(frozen=True)
class Candidates:
    """Everything that could have been chosen: each of the labels between each pair of groups.

    ``margins``: of the labels, in their order.
    """

    labels: tuple[str, ...]
    margins: tuple[float, ...]
    pairs: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.labels) * len(self.pairs)


@dataclass(frozen=True)
class Question:
    """What is counted in every wording: a label, a family of labels, or wrong answers.

    ``group`` less ``other`` of ``attribute`` is the gap looked at. ``among``: what it was chosen
    from for the size of its gap, itself included; None if it was declared before anything was run.
    ``reason``: why nothing can be told of it, else "".
    """

    metric: str
    label: str
    attribute: str
    group: str
    other: str
    margin: float
    among: Candidates | None = None
    reason: str = ""

    @property
    def selection(self) -> str:
        """How the question came to be asked."""
        return DECLARED if self.among is None else CHOSEN

    @property
    def candidates(self) -> Candidates:
        """What it was chosen from; itself alone if declared."""
        return self.among or Candidates((self.label,), (self.margin,), ((self.group, self.other),))

    def happened(self, codes: Codes, labels: LabelSet, truth: Codes | None) -> NDArray[np.bool_]:
        """Whether it happened, (n, W), to pictures with these choices, (n, W), and right labels."""
        if self.metric == "misclassification":
            assert truth is not None
            chosen = np.array(labels.class_places)[codes] if labels.merges else codes
            return np.asarray(chosen != truth[:, np.newaxis])
        if self.metric == "family_selection":
            return np.isin(codes, labels.families[self.label])
        return np.asarray(codes == labels.texts.index(self.label))


@dataclass(frozen=True)
class Curve:
    """A gap in every wording, with what can be said of all of them together.

    ``gaps``: in every wording, (W,). ``joint``: against groups dealt by chance. ``mean``,
    ``spread``, ``share``: how much is the model's (the mean) and how much the question's (the
    spread). The simultaneous bounds of the gaps, and those of the three, hold for everything that
    could have been chosen. ``parts``: variance shares of single choices. ``order``: would other
    wordings rank groups alike?
    """

    question: Question
    gaps: Estimates
    joint: JointTest
    mean: Bounded
    spread: Bounded
    share: Bounded
    parts: Components
    order: Generalisability
    ranks: Concordance
    n: tuple[int, int]
    reasons: tuple[str, ...]

    @property
    def verdicts(self) -> NDArray[np.str_]:
        """The verdict in every wording, by bounds that hold for all wordings at once, (W,)."""
        found = verdicts(self.gaps.low_all, self.gaps.high_all, self.question.margin)
        return np.full_like(found, INCONCLUSIVE) if self.question.reason else found


def specification_curve(
    answers: Answers,
    question: Question,
    groups: Groups,
    draws: Draws,
    level: float = 0.95,
    seed: int = 0,
    truth: Codes | None = None,
    deals: int = DEALS,
) -> Curve:
    """One gap in every wording.

    All wordings look at the same pictures, so they are compared on the same bootstrap replicates,
    and the joint test deals the groups to whole subjects once for the whole curve. Of a question
    that was chosen, tests and bounds are those of the largest of all that could have been.

    Args:
        answers: the choices in every wording.
        question: what to count, between which groups.
        groups: membership of the pictures.
        draws: bootstrap weights of all of them.
        level: of intervals.
        seed: of the permutations.
        truth: the right label's place for each picture, -1 if not known.
        deals: permutations of the joint test; fewer where pictures, wordings and candidates are so
            many that they would take more than seconds, but not fewer than ``LEAST_DEALS``.
    """
    columns = groups.columns(question.attribute)
    asked = _Asked(_Events.of(answers, question, groups, truth), groups, columns, draws)
    one, other = asked.pair(question.group, question.other)
    counts, squares = _added_up(asked.events, groups, columns, draws)
    sample = counts.sample(np.arange(len(columns)))
    assert sample.deviations is not None
    apart = sample.deviations[:, one] - sample.deviations[:, other]
    there = np.flatnonzero(sample.n[0] > 0)
    rates = sample.rate[:, there].T
    fewest = int(min(sample.subjects[0, one], sample.subjects[0, other]))
    bounds, shared, untold = _bounds(asked, sample, apart, max(fewest - 1, 1), level)
    return Curve(
        question,
        bounds,
        _joint(asked, level, seed, deals),
        shared.mean,
        shared.spread,
        shared.share,
        components(squares),
        generalisability(rates, np.moveaxis(sample.deviations[:, there], 1, 0), level, seed=seed),
        kendall_w(rates, seed=seed),
        (int(sample.n[0, one]), int(sample.n[0, other])),
        untold,
    )


def _bounds(
    asked: _Asked, sample: Sample, apart: NDArray[np.float32], degrees: int, level: float
) -> tuple[Estimates, Parts, tuple[str, ...]]:
    """Bounds of the gaps, of their mean, spread and share, and why something is not told."""
    q = asked.events.question
    one, other = asked.pair(q.group, q.other)
    among = choosable(asked.samples(sample), *asked.pairs.T)
    gaps = wording_bounds(sample, one, other, among.wordings, level)
    shares = gap_shares(gaps.value, apart, level, degrees)
    return gaps, parts(sample, one, other, shares, gaps, among, level), shares.reason


@dataclass(frozen=True)
class _Asked:
    """A question of these pictures, and everything that could have been asked instead."""

    events: _Events
    groups: Groups
    columns: NDArray[np.int64]
    draws: Draws

    def pair(self, group: str, other: str) -> tuple[int, int]:
        """Places of two groups among those of the attribute."""
        return self._places[group], self._places[other]

    @cached_property
    def _places(self) -> dict[str, int]:
        names = self.groups.index.get_level_values("group")[self.columns]
        return {str(name): place for place, name in enumerate(names)}

    @property
    def pairs(self) -> NDArray[np.int64]:
        """Places of both groups of each pair that could have been chosen, (P, 2)."""
        pairs = self.events.question.candidates.pairs
        return np.array([self.pair(*pair) for pair in pairs], dtype=np.int64)

    def labels(self) -> Iterator[_Events]:
        """The events of each label that could have been chosen."""
        q = self.events.question
        for label in q.candidates.labels:
            yield replace(self.events, question=replace(q, label=label))

    def samples(self, sample: Sample) -> Iterator[Sample]:
        """The sample of each label; that of the question itself is at hand."""
        q = self.events.question
        if len(q.candidates) == 1:
            yield sample
            return
        most = _as_many(self, len(self.events.places), LEAST_REPLICATES)
        few = replace(self.draws, weights=self.draws.weights[:, :most])
        for events in self.labels():
            if events.question.label == q.label:
                assert sample.deviations is not None
                yield replace(sample, deviations=sample.deviations[..., :most])
            else:
                counts, _ = _added_up(events, self.groups, self.columns, few)
                yield counts.sample(np.arange(len(self.columns)))


def _as_many(asked: _Asked, rows: int, least: int) -> int:
    """How many replicates or deals of so many rows are worth their time, at least so many."""
    candidates, wordings = asked.events.question.candidates, asked.events.answers.codes.shape[1]
    labels = min(len(candidates.labels), 2)  # an answer is one label: few count for all of many
    of_answers = _ANSWERS // max(rows * wordings * labels, 1)
    return int(max(least, min(of_answers, _GAPS // max(len(candidates) * wordings, 1))))


@dataclass(frozen=True)
class _Events:
    """What happened to the pictures that were asked, made block by block.

    ``places``: of these pictures in the answers; ``rows``: in the groups.
    """

    answers: Answers
    question: Question
    truth: Codes | None
    places: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(
        cls, answers: Answers, question: Question, groups: Groups, truth: Codes | None
    ) -> _Events:
        places = np.arange(len(answers.keys)) if truth is None else np.flatnonzero(truth >= 0)
        rows = groups.at([answers.keys[i] for i in places])
        return cls(answers, question, truth, places, rows)

    def only(self, chosen: NDArray[np.bool_]) -> _Events:
        """Of some of the pictures."""
        return replace(self, places=self.places[chosen], rows=self.rows[chosen])

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.bool_]]]:
        """Which of the pictures, and what happened to them in every wording, (m, W)."""
        codes, labels = self.answers.codes, self.answers.labels
        for part in choice_blocks(len(self.places), codes.shape[1]):
            at = self.places[part]
            truth = None if self.truth is None else self.truth[at]
            yield part, self.question.happened(codes[at], labels, truth)


def _added_up(
    events: _Events, groups: Groups, columns: NDArray[np.int64], draws: Draws
) -> tuple[Counts, Moments]:
    """Counts with their replicates, and moments, of all blocks together."""
    counts: Counts | None = None
    squares: Moments | None = None
    for part, happened in events.blocks():
        rows = events.rows[part]
        clusters, member = groups.clusters[rows], groups.member[rows][:, columns]
        present, row = np.unique(draws.rows(clusters), return_inverse=True)
        number = len(groups.cluster_ids)
        counted = count(happened, member, clusters, number, draws.weights[present], row)
        squared = moments(happened, _codes(member), len(columns))
        counts = counted if counts is None else counts + counted
        squares = squared if squares is None else squares + squared
    assert counts is not None
    assert squares is not None
    return counts, squares


def _codes(member: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The group of each picture, -1 if it is in none."""
    return np.where(member.any(axis=1), member.argmax(axis=1), -1)


def _joint(asked: _Asked, level: float, seed: int, deals: int) -> JointTest:
    """The joint test on whole clusters; pictures of groups that no candidate has take no part."""
    candidates, pairs = asked.events.question.candidates, asked.pairs
    used = np.unique(pairs)
    member = asked.groups.member[asked.events.rows][:, asked.columns[used]]
    codes = _codes(member)
    chosen, codes = codes >= 0, used[codes[codes >= 0]]
    clusters = asked.groups.clusters[asked.events.rows[chosen]]
    # a subject in several groups can't be dealt to one: its parts stay where they are
    ids, unit = np.unique(clusters * len(asked.columns) + codes, return_inverse=True)
    subjects, of = np.divmod(ids, len(asked.columns))
    split = np.bincount(subjects)[subjects] > 1
    size = np.bincount(unit, minlength=len(ids))
    kind = np.min_scalar_type(int(size.max(initial=0)))
    worth = min(_as_many(asked, len(ids), LEAST_DEALS), _DEALT // max(len(ids), 1))
    q = asked.events.question
    found = joint_test(
        (_sums(events.only(chosen), unit, size) for events in asked.labels()),
        size.astype(kind),
        of,
        np.where(split, 1 + np.arange(len(ids)), 0),
        pairs,
        np.array(candidates.margins),
        (candidates.labels.index(q.label), candidates.pairs.index((q.group, q.other))),
        min(deals, max(LEAST_DEALS, worth)),
        seed,
        level,
    )
    return replace(found, reason=_IN_SEVERAL) if found.reason and split.any() else found


_IN_SEVERAL: Final = "subjects are in both groups"


def _sums(
    events: _Events, unit: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.unsignedinteger]:
    """What happened, summed over the pictures of each unit, (units, W), in as few bytes as will do.

    These are what grows with the pictures: whole units are dealt, so all must be at hand.
    """
    kind = np.min_scalar_type(int(size.max(initial=0)))
    sums = np.zeros((len(size), events.answers.codes.shape[1]), dtype=kind)
    for part, happened in events.blocks():
        present, row = np.unique(unit[part], return_inverse=True)
        within = sparse.csr_array(
            (np.ones(len(row), kind), (row, np.arange(len(row)))), shape=(len(present), len(row))
        )
        sums[present] += np.asarray(within @ happened.astype(kind))
    return sums

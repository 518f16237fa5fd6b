"""The same question in every wording: how much of a disparity is the model, how much the question.

Everything here works on stored embeddings: prompts are encoded once, pictures never again. One
wording is a template, its article (right, wrong, absent), the phrasing of the labels, a shift along
the modality gap, and what is done to the pictures before anybody looks at them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from audit.core.rows import Fields, Row
from audit.core.tables import (
    CHOSEN,
    DECLARED,
    DIFFERENCE,
    ENSEMBLE,
    INCONCLUSIVE,
    OK,
    REST,
    WORST,
    records,
)
from audit.core.verdicts import verdicts
from audit.data.alterations import AS_IT_IS
from audit.data.labels import Article, LabelSet, Phrasing, PromptSet, has_article, prompt
from audit.measure.confidence import Confidence
from audit.measure.metrics import Block, Draws, Groups, Tally, margin_family, rates
from audit.models.encoder import Texts
from audit.stats.clustered import Sample
from audit.stats.components import PARTS, Components, Moments, components, moments
from audit.stats.concordance import Concordance, kendall_w
from audit.stats.counts import Counts, count
from audit.stats.curves import JointTest, joint_test
from audit.stats.generalisability import Bounded, Generalisability, gap_shares, generalisability
from audit.stats.multiplicity import Estimates
from audit.stats.selection import Parts, choosable, parts, wording_bounds
from audit.stats.steadiness import choice_entropy, flip_rate, group_means

if TYPE_CHECKING:
    from audit.store.embeddings import Embeddings

Floats = NDArray[np.float32]
Codes = NDArray[np.int16]

#: similarities held at a time: 16 MB, whatever the number of pictures
_CELLS: Final = 4_000_000
#: choices looked at a time, pictures by wordings: a few MB in each of several forms
_CHOICES: Final = 1_000_000
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


@dataclass(frozen=True)
class Wording:
    """One way to put a question."""

    template: str
    article: Article = "as written"
    shift: float = 0.0
    phrasing: Phrasing = "as written"
    alteration: str = AS_IT_IS

    @property
    def name(self) -> str:
        """The wording in a few words, and in so many digits that no other has the same."""
        article = "" if self.article == "as written" else f", article {self.article}"
        phrasing = "" if self.phrasing == "as written" else f", labels as {self.phrasing}"
        # the shortest decimals that give this number and no other
        shift = f", gap shifted by {f'{self.shift:+}'.removesuffix('.0')}" if self.shift else ""
        alteration = "" if self.alteration == AS_IT_IS else f", {self.alteration}"
        return f"{self.template}{article}{phrasing}{shift}{alteration}"

    def prompt(self, label: str) -> str:
        """The prompt for one label, which is taken as it is phrased."""
        return prompt(self.template, label, self.article)


def every_wording(
    prompts: Iterable[PromptSet],
    articles: Sequence[Article] = ("as written",),
    shifts: Sequence[float] = (0.0,),
    phrasings: Sequence[Phrasing] = ("as written",),
    alterations: Sequence[str] = (AS_IT_IS,),
) -> tuple[Wording, ...]:
    """Every template with every other choice; those that read alike only once.

    Args:
        prompts: template sets; their own article rule holds for 'as written'.
        articles: 'right', 'wrong', 'absent' need an 'a' or 'an' before the label's place; templates
            without one are taken as they are, once.
        shifts: how far pictures and prompts are moved apart along the modality gap, in its length.
        phrasings: of the labels.
        alterations: names of what is done to the pictures.
    """
    found: dict[Wording, None] = {}
    others = tuple(product(phrasings, shifts, alterations))
    for prompt_set in prompts:
        for template, article in product(prompt_set.templates, articles):
            rule = prompt_set.rule if article == "as written" else article
            if not has_article(template):
                rule = "as written"
            for phrasing, shift, alteration in others:
                found[Wording(template, rule, shift, phrasing, alteration)] = None
    return tuple(found)


def class_embeddings(texts: Texts, labels: LabelSet, asked: Sequence[Wording]) -> Floats:
    """The embedding of every label in every wording, unit rows, (wordings, labels, d)."""
    prompts = [w.prompt(label) for w in asked for label in labels.phrased(w.phrasing)]
    distinct = list(dict.fromkeys(prompts))
    vectors = dict(zip(distinct, texts.encode(distinct), strict=True))
    stacked = np.stack([vectors[prompt] for prompt in prompts])
    return stacked.reshape(len(asked), len(labels.texts), -1)


def ensemble(classes: Floats) -> NDArray[np.float64]:
    """Class embeddings of all wordings together, (labels, d): CLIP's rule.

    Each prompt embedding has unit length; they are averaged and brought to unit length again.
    Source: Radford et al. 2021, arXiv 2103.00020, section 3.1.4.
    """
    mean = classes.astype(np.float64).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean, axis=-1, keepdims=True))


def shifted(
    classes: Floats, asked: Sequence[Wording], gap: NDArray[np.float64]
) -> tuple[Floats, NDArray[np.float32]]:
    """Classes moved along the modality gap, and what the moved pictures add to each similarity.

    With ``gap`` the mean picture less the mean prompt and a shift s, pictures become v + s gap / 2
    and prompts t - s gap / 2, scaled to unit length. A picture's own scale changes no choice, so
    only the constant ``s gap / 2 . t`` of each label enters, (wordings, labels).
    Source: Liang et al. 2022, Mind the Gap, arXiv 2203.02053.
    """
    moves = np.array([wording.shift for wording in asked])[:, np.newaxis, np.newaxis] / 2
    moved = classes - moves * gap
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
    return moved.astype(np.float32), (moves[..., 0] * (moved @ gap)).astype(np.float32)


def choose(vectors: Floats, classes: NDArray[np.floating], offsets: Floats | None = None) -> Codes:
    """The label chosen for every picture in every wording, by its place in the set.

    Args:
        vectors: pictures, unit rows, (n, d).
        classes: (wordings, labels, d).
        offsets: added to the similarities, (wordings, labels).

    Returns:
        (n, wordings): two bytes a picture and wording is all that grows with the pictures.
    """
    codes = np.empty((len(vectors), len(classes)), dtype=np.int16)
    _choose(codes, np.arange(len(classes)), vectors, classes, offsets)
    return codes


def _choose(
    codes: Codes,
    columns: NDArray[np.int64],
    vectors: Floats,
    classes: NDArray[np.floating],
    offsets: Floats | None,
) -> None:
    """Fill some columns of the choices."""
    number, labels, d = classes.shape
    flat = np.ascontiguousarray(classes.reshape(number * labels, d).T, dtype=np.float32)
    for rows in _blocks(len(vectors), number * labels, _CELLS):
        similarity = (vectors[rows] @ flat).reshape(-1, number, labels)
        if offsets is not None:
            similarity += offsets
        codes[rows, columns] = similarity.argmax(axis=2)


def _blocks(n: int, width: int, cells: int) -> Iterator[slice]:
    """Slices of n rows of this width, each of at most so many cells; one even of no rows."""
    step = max(1, cells // max(width, 1))
    for start in range(0, max(n, 1), step):
        yield slice(start, min(start + step, n))


@dataclass(frozen=True)
class Answers:
    """What a model answered in every wording: ``codes`` (n, W) and the ``headline`` (n,).

    The headline is the ensemble of all wordings, asked of the pictures as they are. ``left_out``:
    pictures that could not be altered in some way and are asked in no wording, so that all
    wordings look at the same pictures.
    """

    labels: LabelSet
    wordings: tuple[Wording, ...]
    keys: tuple[str, ...]
    codes: Codes
    headline: Codes
    left_out: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The wordings in words."""
        return tuple(wording.name for wording in self.wordings)


def ask(
    images: Embeddings,
    texts: Texts,
    labels: LabelSet,
    asked: Sequence[Wording],
    altered: Mapping[str, Embeddings] | None = None,
) -> Answers:
    """Ask one label set in every wording.

    Args:
        images: embeddings of the pictures as they are.
        texts: the model's text side.
        labels: the labels to choose from.
        asked: the wordings; see ``every_wording``.
        altered: embeddings of the same pictures by name of the alteration.

    Raises:
        ValueError: a wording's alteration is not in ``altered``.
    """
    looks = _looks(images, asked, altered or {})
    kept = set(images.keys).intersection(*(look.keys for look in looks.values()))
    keys = tuple(key for key in images.keys if key in kept)
    classes = class_embeddings(texts, labels, asked)
    prompts = classes.reshape(-1, classes.shape[-1]).mean(axis=0, dtype=np.float64)
    codes = np.empty((len(keys), len(asked)), dtype=np.int16)
    for name, look in looks.items():
        columns = np.flatnonzero([wording.alteration == name for wording in asked])
        some, vectors = [w for w in asked if w.alteration == name], look.only(keys).vectors
        moved, offsets = _moved(classes[columns], some, vectors, prompts)
        _choose(codes, columns, vectors, moved, offsets)
    headline = choose(images.only(keys).vectors, ensemble(classes)[np.newaxis])[:, 0]
    left_out = tuple(key for key in images.keys if key not in kept)
    return Answers(labels, tuple(asked), keys, codes, headline, left_out)


def _looks(
    images: Embeddings, asked: Sequence[Wording], altered: Mapping[str, Embeddings]
) -> dict[str, Embeddings]:
    """The pictures as each of the wordings' alterations shows them."""
    there = {**altered, AS_IT_IS: images}
    names = list(dict.fromkeys(wording.alteration for wording in asked))
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(f"no embeddings of pictures altered by: {', '.join(missing)}")
    return {name: there[name] for name in names}


def _moved(
    classes: Floats, asked: Sequence[Wording], vectors: Floats, prompts: NDArray[np.float64]
) -> tuple[Floats, Floats | None]:
    """Classes and offsets once shifted; as they are where no wording is."""
    if not any(wording.shift for wording in asked):
        return classes, None
    return shifted(classes, asked, vectors.mean(axis=0, dtype=np.float64) - prompts)


def answer(
    images: Embeddings,
    texts: Texts,
    labels: LabelSet,
    prompts: PromptSet,
    groups: Groups,
    level: float = 0.95,
    min_group: int = 5,
) -> pd.DataFrame:
    """Ask one label set now: the rates of every label and family by group; the table RATES.

    For somebody who types: no bootstrap is made, so where subjects repeat their pictures are taken
    for copies of each other, which is the widest their intervals can be.

    Args:
        images: stored embeddings of the pictures.
        texts: the model's text side; prompts that it knows cost nothing.
        labels: the labels to choose from.
        prompts: templates, averaged by CLIP's rule.
        groups: membership of the pictures.
        level: of the intervals.
        min_group: smaller groups are ``too_few``.
    """
    classes = ensemble(class_embeddings(texts, labels, every_wording([prompts])))
    chosen = choose(images.vectors, classes[np.newaxis])
    happened = chosen == np.arange(len(labels.texts))
    at = np.array([groups.rows[key] for key in images.keys])
    families = labels.families
    together = [happened[:, list(places)].any(axis=1) for places in families.values()]
    asked = {
        "selection": (labels.texts, tuple(margin_family(x.tags, labels) for x in labels.labels)),
        "family_selection": (tuple(families), tuple(families)),
    }
    events = {"selection": happened, "family_selection": np.array(together).reshape(-1, len(at)).T}
    blocks = {
        ("classification", labels.name, ENSEMBLE, metric): Block(
            *asked[metric],
            count(events[metric], groups.member[at], groups.clusters[at], len(groups.cluster_ids)),
        )
        for metric in asked
        if asked[metric][0]
    }
    return rates(Tally(groups, blocks), level, min_group)


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
        rows = np.array([groups.rows[answers.keys[i]] for i in places], dtype=np.int64)
        return cls(answers, question, truth, places, rows)

    def only(self, chosen: NDArray[np.bool_]) -> _Events:
        """Of some of the pictures."""
        return replace(self, places=self.places[chosen], rows=self.rows[chosen])

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.bool_]]]:
        """Which of the pictures, and what happened to them in every wording, (m, W)."""
        codes, labels = self.answers.codes, self.answers.labels
        for part in _blocks(len(self.places), codes.shape[1], _CHOICES):
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


def leading_questions(compared: pd.DataFrame, confidence: Confidence) -> list[Question]:
    """The question of each attribute with the surest gap in the headline, for a task.

    Of harmful families where the task has some, of errors where the right answer is known, else of
    single labels. Each comes with everything that it was chosen from: all labels of the metric
    between all groups of the attribute that could be compared.

    Args:
        compared: the table DISPARITIES of one task.
        confidence: margins.
    """
    headline = compared[(compared["condition"] == ENSEMBLE) & (compared["status"] == OK)]
    worst = headline[headline["comparison"] == WORST]
    present = set(worst["metric"])
    order = ("family_selection", "misclassification", "selection")
    metric = next((m for m in order if m in present), "")
    headline = headline[headline["metric"] == metric]
    rows = worst[worst["metric"] == metric].sort_values(
        ["low_simultaneous", "value"], ascending=False, kind="stable"
    )
    return [
        Question(
            row["metric"],
            row["label"],
            row["attribute"],
            row["group"],
            row["other"],
            confidence.margin(row["margin_family"]).difference,
            _among(headline[headline["attribute"] == row["attribute"]], row, confidence),
        )
        for row in records(rows.drop_duplicates("attribute"))
    ]


def declared_question(question: Question, compared: pd.DataFrame) -> Question:
    """A question of the suite, with the reason if its groups could not be compared.

    Args:
        question: as declared.
        compared: the table DISPARITIES of its task.
    """
    rows = compared[(compared["condition"] == ENSEMBLE) & (compared["comparison"] == DIFFERENCE)]
    rows = rows[rows["attribute"] == question.attribute]
    rows = rows[(rows["metric"] == question.metric) & (rows["label"] == question.label)]
    sides = zip(rows["group"], rows["other"], strict=True)
    same = rows[[{question.group, question.other} == set(pair) for pair in sides]]
    unfit = same[same["status"] != OK]
    return replace(question, reason=str(unfit["reason"].iloc[0])) if len(unfit) else question


def _among(compared: pd.DataFrame, chosen: Fields, c: Confidence) -> Candidates:
    """Labels and pairs of groups that were compared; the pair that was chosen as it was named."""
    pairs = compared[compared["comparison"] == DIFFERENCE]
    pairs = pairs[pairs["other"] != REST]
    pair = (str(chosen["group"]), str(chosen["other"]))
    named = zip(pairs["group"].astype(str), pairs["other"].astype(str), strict=True)
    others = [(a, b) for a, b in dict.fromkeys(named) if {a, b} != set(pair)]
    families = dict(zip(compared["label"], compared["margin_family"], strict=True))
    margins = tuple(c.margin(family).difference for family in families.values())
    return Candidates(tuple(families), margins, (pair, *others))


# ---- tables ------------------------------------------------------------------------------------


def specifications(curve: Curve, answers: Answers, where: Mapping[str, str]) -> pd.DataFrame:
    """The curve's wordings as rows of the table SPECIFICATIONS."""
    d, q = curve.gaps, curve.question
    return pd.DataFrame(
        {
            **where,
            **_asked(q),
            "wording": answers.names,
            "template": [w.template for w in answers.wordings],
            "article": [w.article for w in answers.wordings],
            "shift": [w.shift for w in answers.wordings],
            "phrasing": [w.phrasing for w in answers.wordings],
            "reworded": [answers.labels.reworded(w.phrasing) for w in answers.wordings],
            "alteration": [w.alteration for w in answers.wordings],
            "left_out": len(answers.left_out),
            "n": curve.n[0],
            "n_other": curve.n[1],
            "value": d.value,
            "low": d.low,
            "high": d.high,
            "low_simultaneous": d.low_all,
            "high_simultaneous": d.high_all,
            "null_low": _in_order(curve.joint.band_low, d.value),
            "null_high": _in_order(curve.joint.band_high, d.value),
            "margin": q.margin,
            "verdict": curve.verdicts,
        }
    )


def _asked(q: Question) -> Row:
    names = ("metric", "label", "attribute", "group", "other", "selection")
    return {name: getattr(q, name) for name in names} | {"candidates": len(q.candidates)}


def _in_order(band: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The band of the sorted curve, at the place of each wording."""
    placed = np.full(len(values), np.nan)
    if len(band) == len(values):
        placed[np.argsort(values, kind="stable")] = band
    return placed


def sensitivity(curve: Curve, compared: pd.DataFrame, where: Mapping[str, str]) -> Row:
    """What the curve says, as a row of the table SENSITIVITY.

    Args:
        curve: the gap in every wording.
        compared: the table DISPARITIES of the task, for the gap in the headline.
        where: probe and task.
    """
    joint, order = curve.joint, curve.order
    most = pd.Series(curve.verdicts).value_counts()
    return {
        **where,
        **_asked(curve.question),
        "wordings": len(joint.gaps),
        "headline": _headline(curve.question, compared),
        **_ends("mean", curve.mean, "low", "high"),
        **_ends("spread", curve.spread),
        **_ends("model_share", curve.share),
        "agree_sign": joint.agreeing.observed,
        "agree_sign_null": joint.agreeing.mean,
        "agree_verdict": float(most.iloc[0] / most.sum()),
        "common_verdict": str(most.index[0]),
        "p_median": joint.median.p,
        "p_sign": joint.agreeing.p,
        "p_large": joint.large.p,
        "smallest_p": joint.median.smallest_p,
        "deals": joint.permutations,
        **{f"share_{name}": float(curve.parts.shares[i, 0]) for i, name in enumerate(PARTS)},
        "generalisability": order.relative.value,
        "generalisability_low": order.relative.low,
        "generalisability_high": order.relative.high,
        "needed": order.needed.value,
        "kendall_w": curve.ranks.w,
        "reason": "; ".join(sorted(set(_reasons(curve)))),
    }


def _ends(name: str, found: Bounded, low: str = "", high: str = "") -> dict[str, float]:
    """A number and its bounds as columns; no bounds where nothing varied in any resample."""
    some = found.low < found.high
    ends = (found.low, found.high) if some else (math.nan, math.nan)
    return {name: found.value, low or f"{name}_low": ends[0], high or f"{name}_high": ends[1]}


def _headline(q: Question, compared: pd.DataFrame) -> float:
    """The gap of the question in the headline; nan where it was not compared."""
    there = (compared["condition"] == ENSEMBLE) & (compared["attribute"] == q.attribute)
    there &= (compared["metric"] == q.metric) & (compared["label"] == q.label)
    rows = compared.loc[there, ["comparison", "group", "other", "value"]]
    rows = rows[rows["comparison"].isin([WORST, DIFFERENCE])]
    for group, other, sign in ((q.group, q.other, 1), (q.other, q.group, -1)):
        same = rows[(rows["group"] == group) & (rows["other"] == other)]
        if len(same):
            return sign * float(same["value"].iloc[0])
    return np.nan


def _reasons(curve: Curve) -> Iterator[str]:
    told = (curve.question.reason, curve.joint.reason, *curve.reasons, *curve.parts.reason)
    return (reason for reason in (*told, curve.order.reason) if reason)


def stability(
    answers: Answers, groups: Groups, where: Mapping[str, str], level: float = 0.95
) -> pd.DataFrame:
    """How steady the choice for a picture is over wordings, by group; the table STABILITY.

    ``flips``: mean share of wordings that choose another label than the ensemble; ``entropy``: of
    the labels chosen, over that of all labels equally often. Both 0 to 1.
    """
    at = np.array([groups.rows[key] for key in answers.keys], dtype=np.int64)
    found = {name: np.empty(len(at)) for name in ("flips", "entropy")}
    for part in _blocks(len(at), answers.codes.shape[1], _CHOICES):
        codes = answers.codes[part]
        found["flips"][part] = flip_rate(codes, answers.headline[part])
        found["entropy"][part] = choice_entropy(codes, len(answers.labels.texts), normalised=True)
    table = groups.index.to_frame(index=False).assign(**where)
    for name, values in found.items():
        means = group_means(values, groups.member[at], groups.clusters[at], level)
        table = table.assign(
            n=means.n, subjects=means.subjects,
            **{name: means.value, f"{name}_low": means.low, f"{name}_high": means.high},
        )  # fmt: skip
    return table

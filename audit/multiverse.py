"""The same question in every wording: how much of a disparity is the model, how much the question.

Everything here works on stored embeddings: prompts are encoded once, pictures never again. One
wording is a template, its article (right, wrong, absent), the phrasing of the labels, a shift along
the modality gap, and what is done to the pictures before anybody looks at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from audit.data.alterations import AS_IT_IS
from audit.data.labels import Article, LabelSet, Phrasing, PromptSet, has_article, prompt
from audit.disparity import Confidence
from audit.metrics import Block, Draws, Groups, Tally, margin_family, rates
from audit.models.encoder import Texts
from audit.stats.components import (
    PARTS,
    Components,
    Concordance,
    GapShares,
    Generalisability,
    JointTest,
    Moments,
    choice_entropy,
    components,
    flip_rate,
    gap_shares,
    generalisability,
    group_means,
    joint_test,
    kendall_w,
    moments,
)
from audit.stats.counts import Counts, count
from audit.stats.families import Family, compare
from audit.stats.permutation import whole_clusters
from audit.tables import ENSEMBLE, OK, WORST, records
from audit.verdicts import verdicts

if TYPE_CHECKING:
    from audit.embeddings import Embeddings

Floats = NDArray[np.float32]
Codes = NDArray[np.int16]

#: similarities held at a time: 16 MB, whatever the number of pictures
_CELLS: Final = 4_000_000
#: choices looked at a time, pictures by wordings: a few MB in each of several forms
_CHOICES: Final = 1_000_000


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
class Question:
    """What is counted in every wording: a label, a family of labels, or wrong answers.

    ``group`` less ``other`` of ``attribute`` is the gap looked at.
    """

    metric: str
    label: str
    attribute: str
    group: str
    other: str
    margin: float

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

    ``family``: the gaps as one family of comparisons, (W, 1). ``joint``: against groups dealt by
    chance. ``shares``: how much is the model's (the mean) and how much the question's (the spread).
    ``parts``: variance shares of single choices. ``order``: would other wordings rank groups alike?
    """

    question: Question
    family: Family
    joint: JointTest
    shares: GapShares
    parts: Components
    order: Generalisability
    ranks: Concordance
    n: tuple[int, int]

    @property
    def verdicts(self) -> NDArray[np.str_]:
        """The verdict in every wording, by bounds that hold for all wordings at once, (W,)."""
        d = self.family.difference
        return verdicts(d.low_all[:, 0], d.high_all[:, 0], self.question.margin)


def specification_curve(
    answers: Answers,
    question: Question,
    groups: Groups,
    draws: Draws,
    level: float = 0.95,
    seed: int = 0,
    truth: Codes | None = None,
) -> Curve:
    """One gap in every wording.

    All wordings look at the same pictures, so they are compared on the same bootstrap replicates,
    and the joint test swaps the groups of whole subjects once for the whole curve.

    Args:
        answers: the choices in every wording.
        question: what to count, between which groups.
        groups: membership of the pictures.
        draws: bootstrap weights of all of them.
        level: of intervals.
        seed: of the permutations.
        truth: the right label's place for each picture, -1 if not known.
    """
    columns = groups.columns(question.attribute)
    names = [str(groups.index[c][1]) for c in columns]
    one, other = names.index(question.group), names.index(question.other)
    events = _Events.of(answers, question, groups, truth)
    counts, squares = _added_up(events, groups, columns, draws)
    sample = counts.sample(np.arange(len(columns)))
    family = compare(
        sample, np.array([one]), np.array([other]), np.ones((len(sample.n), 1), bool), level
    )
    assert sample.deviations is not None
    gaps = sample.deviations[:, one] - sample.deviations[:, other]
    there = np.flatnonzero(sample.n[0] > 0)
    rates = sample.rate[:, there].T
    fewest = int(min(sample.subjects[0, one], sample.subjects[0, other]))
    return Curve(
        question,
        family,
        _joint(events, groups, columns[[one, other]], level, seed),
        gap_shares(family.difference.value[:, 0], gaps, level, max(fewest - 1, 1)),
        components(squares),
        generalisability(rates, np.moveaxis(sample.deviations[:, there], 1, 0), level, seed=seed),
        kendall_w(rates, seed=seed),
        (int(sample.n[0, one]), int(sample.n[0, other])),
    )


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


def _joint(
    events: _Events, groups: Groups, pair: NDArray[np.int64], level: float, seed: int
) -> JointTest:
    """The joint test on whole clusters; pictures of other groups take no part."""
    codes = _codes(groups.member[events.rows][:, pair])
    events, codes = events.only(codes >= 0), codes[codes >= 0]
    clusters = groups.clusters[events.rows]
    whole = whole_clusters(clusters, codes)
    # a subject in both groups can't be dealt to one: its two halves stay where they are
    ids, unit = np.unique(clusters if whole else clusters * 2 + codes, return_inverse=True)
    of = np.full(len(ids), -1)
    of[unit] = codes
    size = np.bincount(unit, minlength=len(ids))
    found = joint_test(
        _sums(events, unit, size),
        size.astype(np.min_scalar_type(int(size.max(initial=0)))),
        of,
        np.zeros(len(ids), dtype=np.int64) if whole else np.arange(len(ids)),
        0,
        1,
        margin=events.question.margin,
        seed=seed,
        level=level,
    )
    return found if whole else replace(found, reason="subjects are in both groups")


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
    single labels. They are chosen for their gap in the headline, so the curve around them says how
    it depends on wording, and is no fresh evidence that it exists.

    Args:
        compared: the table DISPARITIES of one task.
        confidence: margins.
    """
    worst = compared[(compared["comparison"] == WORST) & (compared["condition"] == ENSEMBLE)]
    worst = worst[worst["status"] == OK]
    present = set(worst["metric"])
    order = ("family_selection", "misclassification", "selection")
    metric = next((m for m in order if m in present), "")
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
        )
        for row in records(rows.drop_duplicates("attribute"))
    ]


# ---- tables ------------------------------------------------------------------------------------


def specifications(curve: Curve, answers: Answers, where: Mapping[str, str]) -> pd.DataFrame:
    """The curve's wordings as rows of the table SPECIFICATIONS."""
    d, q = curve.family.difference, curve.question
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
            "value": d.value[:, 0],
            "low": d.low[:, 0],
            "high": d.high[:, 0],
            "low_simultaneous": d.low_all[:, 0],
            "high_simultaneous": d.high_all[:, 0],
            "null_low": _in_order(curve.joint.band_low, d.value[:, 0]),
            "null_high": _in_order(curve.joint.band_high, d.value[:, 0]),
            "margin": q.margin,
            "verdict": curve.verdicts,
        }
    )


def _asked(q: Question) -> dict[str, str]:
    names = ("metric", "label", "attribute", "group", "other")
    return {name: getattr(q, name) for name in names}


def _in_order(band: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The band of the sorted curve, at the place of each wording."""
    placed = np.full(len(values), np.nan)
    if len(band) == len(values):
        placed[np.argsort(values, kind="stable")] = band
    return placed


def sensitivity(curve: Curve, compared: pd.DataFrame, where: Mapping[str, str]) -> dict[str, Any]:
    """What the curve says, as a row of the table SENSITIVITY.

    Args:
        curve: the gap in every wording.
        compared: the table DISPARITIES of the task, for the gap in the headline.
        where: probe and task.
    """
    shares, joint, order = curve.shares, curve.joint, curve.order
    low, high = _mean_bounds(curve)
    most = pd.Series(curve.verdicts).value_counts()
    return {
        **where,
        **_asked(curve.question),
        "wordings": len(joint.gaps),
        "headline": _headline(curve.question, compared),
        "mean": float(shares.mean),
        "low": low,
        "high": high,
        "spread": float(shares.spread),
        "spread_low": float(shares.spread_low),
        "spread_high": float(shares.spread_high),
        "model_share": float(shares.share),
        "model_share_low": float(shares.share_low),
        "model_share_high": float(shares.share_high),
        "agree_sign": joint.agreeing.observed,
        "agree_sign_null": joint.agreeing.mean,
        "agree_verdict": float(most.iloc[0] / most.sum()),
        "common_verdict": str(most.index[0]),
        "p_median": joint.median.p,
        "p_sign": joint.agreeing.p,
        "p_large": joint.large.p,
        "smallest_p": joint.median.smallest_p,
        **{f"share_{name}": float(curve.parts.shares[i, 0]) for i, name in enumerate(PARTS)},
        "generalisability": order.relative.value,
        "generalisability_low": order.relative.low,
        "generalisability_high": order.relative.high,
        "needed": order.needed.value,
        "kendall_w": curve.ranks.w,
        "reason": "; ".join(sorted(set(_reasons(curve)))),
    }


def _headline(q: Question, compared: pd.DataFrame) -> float:
    worst = compared[(compared["comparison"] == WORST) & (compared["condition"] == ENSEMBLE)]
    same = (worst["metric"] == q.metric) & (worst["label"] == q.label)
    return float(worst.loc[same & (worst["attribute"] == q.attribute), "value"].iloc[0])


def _mean_bounds(curve: Curve) -> tuple[float, float]:
    """Bounds of the mean gap; the mean of single wordings' bounds where events are few.

    A gap of 100 points moves in no replicate, which is no proof that the next subject agrees.
    """
    d = curve.family.difference
    if curve.family.studentised.mean() > 0.5:
        return float(curve.shares.low), float(curve.shares.high)
    return float(d.low.mean()), float(d.high.mean())


def _reasons(curve: Curve) -> Iterator[str]:
    told = (curve.joint.reason, *curve.shares.reason, *curve.parts.reason, curve.order.reason)
    return (reason for reason in told if reason)


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

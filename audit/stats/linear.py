"""Logistic regression on embeddings: what a linear reader of them would get right.

The zero-shot answer asks the model; a linear probe asks the embedding, through a classifier that
was taught on other people's pictures. Every picture is judged by a classifier that saw no picture
of the same subject, so recognising a subject counts for nothing.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse, special

from audit.core.arrays import Flags, Floats, Integers, Singles

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


GRID: Final = tuple(10.0**power for power in range(-5, 3))
"""Values of C that are tried, on the scale that ``out_of_fold`` describes."""

UNTUNED: Final = 1.0
"""C where there are too few examples to choose it, as with one a class."""

_MOST_STEPS: Final = 1000


@dataclass(frozen=True)
class Dealt:
    """Pictures dealt into folds by subject; made by ``deal``, in an order of its own.

    ``place``: where each picture is among the caller's. All arrays have shape (n,) but ``vectors``,
    (n, d), in single precision, and ``asked``, (classes,).
    """

    vectors: Singles
    truth: Integers
    subject: Integers
    fold: Integers
    place: Integers
    folds: int
    seed: int
    asked: Flags
    reason: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """What classifiers said of n pictures whose subjects they had not seen.

    ``predicted``: (n,), the class; -1 where the picture was not judged, being of a class that is
    not asked. ``probability``: (n,), of that class. ``margin``: (n,), the log of its odds against
    the second. Both nan where not judged. ``fold``: (n,), which classifier judged. ``chosen``:
    (folds,), its C, nan where nothing was taught; at an end of ``GRID`` the best may lie beyond.
    ``converged``: (folds,). ``reason``: one a class, why it is not asked, else "".
    """

    predicted: Integers
    probability: Floats
    margin: Floats
    fold: Integers
    chosen: Floats
    converged: Flags
    reason: tuple[str, ...]


def deal(
    vectors: npt.ArrayLike,
    truth: npt.ArrayLike,
    subjects: npt.ArrayLike,
    classes: int,
    folds: int = 5,
    seed: int = 0,
) -> Dealt:
    """Deal pictures into folds of like class shares, all pictures of a subject into one.

    The order in which pictures are given does not matter, to the last bit of what follows. A class
    with fewer subjects than folds is not asked: its pictures neither teach nor are judged.

    Args:
        vectors: Embeddings, (n, d).
        truth: Class of each picture, from 0, (n,); -1 where unknown: such a picture teaches nothing
            and is judged all the same.
        subjects: Subject of each picture, any ids, told apart by their text, (n,).
        classes: Number of classes.
        folds: How many, at least 3, so that one can be left out while C is chosen.
        seed: Deals the subjects.

    Raises:
        ValueError: Lengths that differ, a class out of range, an embedding that is not finite,
            fewer than 2 classes or 3 folds.
    """
    rows, codes = np.asarray(vectors, dtype=np.float32), np.asarray(truth, dtype=np.int64)
    names = np.asarray(subjects).astype(str)
    _check(rows, codes, names, classes)
    if folds < 3:
        raise ValueError(f"deal: {folds} folds; give 3 or more, one to judge and one to choose C")
    place = _own_order(rows, codes, names)
    rows, codes = rows[place], codes[place]
    subject = np.unique(names[place], return_inverse=True)[1].reshape(-1).astype(np.int64)
    have = _subjects_each(codes, subject, classes)
    fold = _folds(np.where(_among(codes, have >= folds), codes, -1), subject, folds, seed)
    all_of_them = np.ones(classes, dtype=bool), ("",) * classes
    dealt = Dealt(rows, codes, subject, fold, place, folds, seed, *all_of_them)
    said = [f"{x} subject(s) where {folds} are needed, one a fold" for x in have]
    return _narrowed(dealt, have >= folds, said)


def out_of_fold(dealt: Dealt) -> Judged:
    """Every picture's class, by multinomial logistic regression taught on the other folds.

    Formula: for each fold, weights W and intercepts b minimise
    ``C * sum of -log p(truth) + sum of W² / 2`` over the pictures of the other folds, with
    ``p = softmax(W z + b)`` and ``z = (x - mean) / s``: mean embedding and root mean square
    deviation per dimension of those pictures. One s for all dimensions, so that only the scale of C
    changes and the axes of the embedding, which are arbitrary, do not matter. C is the one of
    ``GRID`` with the least mean -log p when each of the other folds in turn is left out (the
    smaller in a tie), so the pictures judged have no say in it. Classes are not reweighted.
    Range: see ``Judged``. An accuracy above the zero-shot one says that the embedding holds more
    than the words reach. Does not show: what the model itself would answer; what a classifier
    taught on more pictures would; whether a class is read from the face or from what comes with it.
    Memory: up to five times the embeddings in single precision. Time: for 10,000 x 512 and 7
    classes 8 s and 83 MB on one core (165 fits), growing with pictures, dimensions and classes.

    Args:
        dealt: Pictures in folds.

    Source:
        Radford et al. (2021), arXiv 2103.00020, A.3, for the probe (L-BFGS, an L2 penalty chosen
        among 96 on a validation split); Cawley, Talbot (2010), JMLR 11, 2079-2107, for choosing
        within the folds that teach.
    """
    return _judged(_that_can_teach(dealt, 1), lambda taught: taught)


def few_shot(dealt: Dealt, k: int, draws: int = 5) -> tuple[Judged, ...]:
    """The same with only k pictures a class to learn from, drawn anew several times.

    Formula: as ``out_of_fold``; for each fold and draw, k pictures of each class are drawn from the
    other folds, of different subjects as long as there are any, and each subject as likely as the
    next. C is chosen among these pictures alone, leaving out those of each fold in turn; where
    fewer than half of them can be judged so (always with k = 1), it is ``UNTUNED``. No further
    labelled pictures are used to choose it: they would be examples too.
    Range: see ``Judged``. For small k it matters which pictures were drawn: report the spread over
    draws. Does not show: the best that k pictures could give; a classifier that starts from the
    words. Time: for 7 classes at most 1 s a draw.

    Args:
        dealt: Pictures in folds.
        k: Pictures a class. A class with fewer outside some fold is not asked.
        draws: How often to draw; a draw does not depend on how many there are.

    Returns:
        One answer a draw.

    Raises:
        ValueError: k or draws below 1.

    Source:
        Radford et al. (2021), arXiv 2103.00020, 3.1.
    """
    if k < 1 or draws < 1:
        raise ValueError(f"few_shot: k = {k} and {draws} draws; both must be 1 or more")
    narrowed = _that_can_teach(dealt, k)
    answers = []
    for draw in range(draws):
        rng = np.random.default_rng([dealt.seed, k, draw])
        answers.append(_judged(narrowed, partial(_drawn, narrowed, k, rng)))
    return tuple(answers)


# ---- who is in which fold ----------------------------------------------------------------------


def _check(rows: Singles, codes: Integers, names: npt.NDArray[np.str_], classes: int) -> None:
    if rows.ndim != 2 or not codes.shape == names.shape == rows.shape[:1]:
        got = f"vectors {rows.shape}, truth {codes.shape}, subjects {names.shape}"
        raise ValueError(f"deal: {got}; give one row, one class and one subject a picture")
    if classes < 2:
        raise ValueError(f"deal: {classes} class; a classifier needs two or more")
    if codes.size and not (codes.min() >= -1 and codes.max() < classes):
        got = f"classes from {codes.min()} to {codes.max()}"
        raise ValueError(f"deal: {got}; they must be 0 to {classes - 1}, or -1 where unknown")
    if not np.isfinite(rows).all():
        raise ValueError("deal: an embedding that is not finite; leave the picture out")


def _own_order(rows: Singles, codes: Integers, names: npt.NDArray[np.str_]) -> Integers:
    """By subject, class and content: sums of floats and draws depend on the order."""
    content = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    keys = np.frombuffer(b"".join(content), dtype="<u8")
    return np.lexsort((keys, codes, names)).astype(np.int64)


def _among(codes: Integers, asked: Flags) -> Flags:
    return np.append(asked, False)[codes]  # an unknown class, -1, finds the last


def _folds(codes: Integers, subject: Integers, folds: int, seed: int) -> Integers:
    """The fold of each picture; without a class to balance, any will do."""
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import

    fold = np.asarray(subject % folds)
    if codes.size and codes.max() >= 0:
        lot = int(np.random.default_rng(seed).integers(2**32))  # any seed becomes one it takes
        dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=lot)
        with warnings.catch_warnings():
            # that few pictures are of an unknown class is no concern
            warnings.filterwarnings("ignore", "The least populated class")
            for number, (_, judged) in enumerate(dealer.split(codes, codes, subject)):
                fold[judged] = number
    return fold


def _subjects_each(codes: Integers, subject: Integers, classes: int) -> Integers:
    """How many subjects each class has."""
    known = codes >= 0
    cells = sparse.coo_array(
        (np.ones(known.sum(), dtype=bool), (codes[known], subject[known])),
        shape=(classes, subject.max(initial=0) + 1),
    )
    return np.asarray(np.diff(cells.tocsr().indptr), dtype=np.int64)


def _that_can_teach(dealt: Dealt, k: int) -> Dealt:
    """Only the classes with k pictures outside every fold."""
    cells = np.zeros((dealt.asked.size, dealt.folds), dtype=np.int64)
    known = dealt.truth >= 0
    np.add.at(cells, (dealt.truth[known], dealt.fold[known]), 1)
    least = cells.sum(axis=1) - cells.max(axis=1)
    said = [f"{x} picture(s) to learn from outside one of the folds, {k} needed" for x in least]
    return _narrowed(dealt, least >= k, said)


def _narrowed(dealt: Dealt, enough: Flags, reason: list[str]) -> Dealt:
    """Only the classes of which there is enough, and of these none if it is a single one."""
    asked = dealt.asked & enough
    said = [
        old or ("" if ok else new)
        for old, ok, new in zip(dealt.reason, enough, reason, strict=True)
    ]
    if asked.sum() == 1:
        said = [text or "no other class has enough examples" for text in said]
        asked = np.zeros_like(asked)
    return replace(dealt, asked=asked, reason=tuple(said))


def _drawn(dealt: Dealt, k: int, rng: np.random.Generator, taught: Integers) -> Integers:
    """As many as k of each class among those that may teach, of as many subjects as there are."""
    drawn = []
    for code in np.flatnonzero(dealt.asked):
        own = rng.permutation(taught[dealt.truth[taught] == code])
        turn = _turns(dealt.subject[own])
        # by turn, then by lot: in order of the permutation, much pictured subjects would come first
        drawn.append(own[np.lexsort((rng.random(own.size), turn))[:k]])
    return np.concatenate(drawn)


def _turns(subject: Integers) -> Integers:
    """For each picture, how many of its subject come before it."""
    together = np.argsort(subject, kind="stable")
    _, first, each = np.unique(subject[together], return_index=True, return_counts=True)
    turn = np.empty(subject.size, dtype=np.int64)
    turn[together] = np.arange(subject.size) - np.repeat(first, each)
    return turn


# ---- teaching and judging ----------------------------------------------------------------------


def _judged(dealt: Dealt, examples: Callable[[Integers], Integers]) -> Judged:
    """Judge every fold by a classifier taught on those of the other folds that are picked."""
    n = dealt.truth.size
    predicted, (probability, margin) = np.full(n, -1), np.full((2, n), np.nan)
    chosen, converged = np.full(dealt.folds, np.nan), np.zeros(dealt.folds, dtype=bool)
    teaches = _among(dealt.truth, dealt.asked)
    asked = teaches | (dealt.truth < 0)
    for number in range(dealt.folds if dealt.asked.any() else 0):
        taught = examples(np.flatnonzero(teaches & (dealt.fold != number)))
        mean, scale = _scale(dealt.vectors[taught])
        z, y = (dealt.vectors[taught] - mean) / scale, dealt.truth[taught]
        chosen[number] = _choose(z, y, dealt.fold[taught])
        model = _taught(_classifier(), z, y, chosen[number])
        converged[number] = model.n_iter_.max() < _MOST_STEPS
        rows = dealt.place[mine := np.flatnonzero(asked & (dealt.fold == number))]
        answer = _answers(model, (dealt.vectors[mine] - mean) / scale)
        predicted[rows], probability[rows], margin[rows] = answer
    fold = np.empty(n, dtype=np.int64)
    fold[dealt.place] = dealt.fold
    return Judged(predicted, probability, margin, fold, chosen, converged, dealt.reason)


def _scale(vectors: Singles) -> tuple[Singles, np.float32]:
    """The mean, and the root mean square deviation from it per dimension."""
    mean = vectors.mean(axis=0)
    spread = np.sqrt(np.square(vectors - mean).mean(dtype=np.float64))
    return mean, np.float32(spread or 1.0)  # if all are alike, any scale will do


def _choose(z: Singles, y: Integers, fold: Integers) -> float:
    """The C of ``GRID`` under which pictures of folds left out are least surprising."""
    surprise, judged = np.zeros(len(GRID)), 0
    for out in np.unique(fold):
        rest, left = fold != out, np.flatnonzero(fold == out)
        left = left[np.isin(y[left], y[rest])]  # a class never seen says nothing about C
        if not left.size or np.unique(y[rest]).size < 2:
            continue
        judged += left.size
        surprise += _surprise(z[rest], y[rest], z[left], y[left])
    return UNTUNED if 2 * judged < y.size else GRID[int(surprise.argmin())]


def _surprise(z: Singles, y: Integers, z_left: Singles, y_left: Integers) -> Floats:
    """Sum of -log p(truth) of the pictures left out, for every C."""
    model, surprise = _classifier(tol=1e-3), np.empty(len(GRID))  # between decades of C, enough
    for i, c in enumerate(GRID):  # each from where the one before ended
        logits = _logits(_taught(model, z, y, c), z_left)
        own = logits[np.arange(y_left.size), np.searchsorted(model.classes_, y_left)]
        surprise[i] = (special.logsumexp(logits, axis=1) - own).sum()
    return surprise


def _classifier(tol: float = 1e-4) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression  # a second to import

    return LogisticRegression(tol=tol, max_iter=_MOST_STEPS, warm_start=True)


def _taught(model: LogisticRegression, z: Singles, y: Integers, c: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lbfgs failed to converge")  # ``converged`` says so
        return model.set_params(C=c).fit(z, y)


def _logits(model: LogisticRegression, z: Singles) -> Floats:
    """One column a class; of two classes, the first has 0."""
    found = np.asarray(model.decision_function(z), dtype=np.float64)
    return found if found.ndim == 2 else np.stack([np.zeros_like(found), found], axis=1)


def _answers(model: LogisticRegression, z: Singles) -> tuple[Integers, Floats, Floats]:
    """Class, its probability, and its margin over the second, of each picture."""
    logits = _logits(model, z)
    best = logits.argmax(axis=1)
    second, first = np.sort(logits, axis=1)[:, -2:].T
    probability = np.exp(first - special.logsumexp(logits, axis=1))
    return np.asarray(model.classes_[best], dtype=np.int64), probability, first - second

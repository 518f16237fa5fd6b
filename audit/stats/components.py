"""How much of a disparity is the model and how much is the question: shares over wordings.

All pictures are asked in all wordings (templates). What differs may be the picture, the group, the
wording, a wording's own way with a group, or the rest; and a gap between groups has a mean over
wordings, which is the model's, and a spread over wordings, which is the question's. Wordings share
pictures, so a bootstrap of subjects or a permutation of groups moves all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from audit.core.arrays import Flags, Floats, Integers
from audit.core.errors import InputError

PARTS = ("picture", "group", "template", "group_template", "rest")
"""What a variance is divided into, in the order of all arrays of parts."""


_ROUNDING = 1e-12  # of the sum of squares: a smaller part is that of rounding


# ---- shares of the variance --------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """Sums over the pictures of G groups, for Q questions in W wordings; ``a + b`` merges.

    ``n``: int (G,), pictures. ``cells``: (Q, G, W), sums of outcomes. ``squares``: (Q, G), sums of
    squared outcomes. ``pictures``: (Q, G), sums over pictures of the squared sum over wordings.
    """

    n: Integers
    cells: Floats
    squares: Floats
    pictures: Floats

    def __add__(self, other: Self) -> Self:
        """Moments of both batches; no picture may be in both.

        Raises:
            ValueError: Other questions, groups or wordings.
        """
        if self.cells.shape != other.cells.shape:
            raise ValueError("only moments of the same questions, groups and wordings merge")
        return type(self)(
            self.n + other.n,
            self.cells + other.cells,
            self.squares + other.squares,
            self.pictures + other.pictures,
        )


@dataclass(frozen=True)
class Components:
    """Variances of the parts of an outcome, (Q,) each, and their shares of the total.

    ``raw``: (5, Q), in the order of ``PARTS``, before negative ones are cut at 0; ``shares``: (5,
    Q), of the sum after the cut; ``degrees``: (5,), of freedom of each part, the fewer the less is
    known; ``reason``: one a question, why something is nan, else "".
    """

    picture: Floats
    group: Floats
    template: Floats
    group_template: Floats
    rest: Floats
    raw: Floats
    shares: Floats
    degrees: Integers
    reason: tuple[str, ...]

    @property
    def negative(self) -> Flags:
        """Which estimates were below 0 and are cut, (5, Q); say so where they are shown."""
        return np.asarray(self.raw < 0)


def moments(y: npt.ArrayLike, codes: npt.ArrayLike, groups: int) -> Moments:
    """Moments of a batch of outcomes, 0/1 or real.

    Args:
        y: Outcomes, shape (pictures, wordings) or (questions, pictures, wordings).
        codes: Group of each picture, from 0; -1 where unknown, which is left out.
        groups: Number of groups.

    Raises:
        InputError: Shapes that do not fit, a code out of range, an outcome that is not finite.
    """
    outcomes = np.asarray(y)
    if outcomes.ndim not in (2, 3):
        got = f"moments: outcomes of shape {outcomes.shape}"
        raise InputError(got, "Give (pictures, wordings), or questions before that")
    outcomes = outcomes.reshape(-1, *outcomes.shape[-2:])
    member = _members(codes, groups, outcomes.shape[1], "moments")
    cells = np.empty((len(outcomes), groups, outcomes.shape[2]))
    squares, pictures = np.empty((2, len(outcomes), groups))
    for q, one in enumerate(outcomes):  # one question at a time as doubles
        value = one.astype(np.float64)
        if not np.isfinite(value).all():
            raise InputError("moments: an outcome that is not finite", "Leave it out")
        cells[q] = member @ value
        squares[q] = member @ np.einsum("nw,nw->n", value, value)
        pictures[q] = member @ value.sum(axis=1) ** 2
    return Moments(member.sum(axis=1).astype(np.int64), cells, squares, pictures)


def components(moments: Moments, together: bool = False) -> Components:
    """Into what the variance of an outcome over pictures and wordings divides.

    Model: outcome = mean + group + picture within its group + template + group x template + rest,
    all but the mean random. Formula: every picture is asked in every wording, so the five sums of
    squares are those of an orthogonal analysis of variance whatever the group sizes n_g, and their
    mean squares M expect, with s² the variances, N pictures, W wordings, G groups,
    ``k = sum n_g² / N`` and ``n0 = (N - k) / (G - 1)``::

        M(rest)             s²(rest)
        M(group x template) s²(rest) + n0 s²(group x template)
        M(template)         s²(rest) +  k s²(group x template) + N s²(template)
        M(picture)          s²(rest) +  W s²(picture)
        M(group)            s²(rest) + n0 s²(group x template) + W s²(picture) + W n0 s²(group)

    (a mean over pictures of group g has variance ``s²(picture) / n_g`` and so on, and the weighted
    squares of independent terms of variance v_g expect ``sum n_g v_g (1 - n_g / N)``). The five
    equations are solved; that is right on average for any distribution. Negative solutions, which
    say "no more than noise", are cut at 0 and marked in ``negative``.
    Range: variances in squared units of the outcome, shares in [0, 1] with sum 1. The group's share
    is small even for a grave disparity: single pictures differ far more than groups do; read group
    against group x template. One's share of a 0/1 outcome depends on the rate. Does not show: which
    wording or group; an interval (with few wordings or groups, see ``degrees``, a share is vague);
    other label sets. A model answers alike each time, so the rest is what a picture makes of a
    wording, not error. Pictures count as independent: where subjects have several, their sameness
    enters group and group x template by about its variance over the subjects of a group, so give
    one row a subject (its mean), or take these two from ``generalisability``, which knows subjects.

    Args:
        moments: Sums over all pictures.
        together: Add the questions' mean squares first: one division of the choice among all
            labels, where every label counts by its variance.

    Returns:
        Parts of each question, or of all together (Q = 1). With one group, group and its
        interaction are nan and the template's part holds both; with one wording, or no group of
        two pictures, all is nan.

    Source:
        Searle, Casella, McCulloch (1992), Variance Components, 4.5, 5.2 (unequal numbers); Light,
        Margolin (1971), JASA 66, 534-544, for choices among several labels.
    """
    n = moments.n[moments.n > 0].astype(np.float64)
    degrees = _degrees(n, moments.cells.shape[2])
    squares = _sums_of_squares(moments)
    if together:
        squares = squares.sum(axis=1, keepdims=True)
    raw = np.full(squares.shape, np.nan)
    there = np.flatnonzero(degrees > 0)
    if degrees[-1] > 0:
        expected = _expected(n, moments.cells.shape[2])[np.ix_(there, there)]
        raw[there] = np.linalg.solve(expected, squares[there] / degrees[there, np.newaxis])
    variances = np.where(np.isnan(raw), np.nan, np.maximum(raw, 0.0))
    total = np.nansum(variances, axis=0)
    shares = variances / np.where(total > 0, total, np.nan)
    picture, group, template, both, rest = variances
    why = _why_not(degrees, total)
    return Components(picture, group, template, both, rest, raw, shares, degrees, why)


def _members(codes: npt.ArrayLike, groups: int, pictures: int, where: str) -> Floats:
    """One row of 0/1 a group, (G, pictures)."""
    code = np.asarray(codes, dtype=np.int64)
    if code.shape != (pictures,):
        got = f"{where}: codes of shape {code.shape} for {pictures} pictures"
        raise InputError(got, "Give one group a picture, -1 where unknown")
    if code.size and not (code.min() >= -1 and code.max() < groups):
        got = f"{where}: codes from {code.min()} to {code.max()}"
        raise InputError(got, f"They must be from -1 to {groups - 1}")
    member: Floats = (code == np.arange(groups)[:, np.newaxis]).astype(np.float64)
    return member


def labels_chosen(choices: npt.ArrayLike, labels: int, where: str) -> Integers:
    """Which label was chosen for every picture in every wording, as codes that are checked."""
    chosen = np.asarray(choices, dtype=np.int64)
    if chosen.ndim != 2:
        got = f"{where}: choices of shape {chosen.shape}"
        raise InputError(got, "Give (pictures, wordings)")
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < labels):
        got = f"{where}: choices from {chosen.min()} to {chosen.max()}"
        raise InputError(got, f"They must be from 0 to {labels - 1}")
    return chosen


def label_counts(chosen: Integers, labels: int) -> Integers:
    """In how many wordings each picture got each label, (pictures, labels)."""
    place = np.arange(len(chosen))[:, np.newaxis] * labels + chosen
    counts = np.bincount(place.reshape(-1), minlength=len(chosen) * labels)
    return counts.reshape(len(chosen), labels).astype(np.int64)


def _degrees(n: Floats, wordings: int) -> Integers:
    groups, within, more = max(len(n) - 1, 0), int(n.sum()) - len(n), wordings - 1
    return np.array([within, groups, more, groups * more, within * more], dtype=np.int64)


def _sums_of_squares(moments: Moments) -> Floats:
    """Of each part, (5, Q); groups without pictures are left out."""
    there = moments.n > 0
    n, cells = moments.n[there].astype(np.float64), moments.cells[:, there]
    wordings, pictures = cells.shape[2], max(n.sum(), 1.0)
    row, column = cells.sum(axis=2), cells.sum(axis=1)
    mean = row.sum(axis=1) ** 2 / (pictures * wordings)
    group = (row**2 / (n * wordings)).sum(axis=1)
    template = (column**2).sum(axis=1) / pictures
    cell = (cells**2 / n[:, np.newaxis]).sum(axis=(1, 2))
    picture = moments.pictures[:, there].sum(axis=1) / wordings
    all_of_it = moments.squares[:, there].sum(axis=1)
    parts = (
        picture - group,
        group - mean,
        template - mean,
        cell - group - template + mean,
        all_of_it - picture - cell + group,
    )
    squares = np.stack(parts)
    return np.where(squares > _ROUNDING * all_of_it, squares, 0.0)


def _expected(n: Floats, wordings: int) -> Floats:
    """What each mean square holds of each variance, (5, 5), both in the order of ``PARTS``."""
    pictures = n.sum()
    k = (n**2).sum() / pictures
    n0 = (pictures - k) / max(len(n) - 1, 1)
    of = [
        [wordings, 0, 0, 0, 1],
        [wordings, wordings * n0, 0, n0, 1],
        [0, 0, pictures, k, 1],
        [0, 0, 0, n0, 1],
        [0, 0, 0, 0, 1],
    ]
    return np.array(of, dtype=np.float64)


def _why_not(degrees: Integers, total: Floats) -> tuple[str, ...]:
    within, groups, wordings = degrees[0], degrees[1], degrees[2]
    why = ""
    if wordings < 1:
        why = "one wording only: a picture's part and the rest cannot be told apart"
    elif within < 1:
        why = "no group has two pictures: a picture's part and the rest cannot be told apart"
    elif groups < 1:
        why = "one group only: the template's part holds its interaction with the group"
    return tuple(why or ("" if t > 0 else "the outcome never varies") for t in total)

"""How much of a disparity is the model and how much is the question: shares over wordings.

All pictures are asked in all wordings (templates). What differs may be the picture, the group, the
wording, a wording's own way with a group, or the rest; and a gap between groups has a mean over
wordings, which is the model's, and a spread over wordings, which is the question's. Wordings share
pictures, so a bootstrap of subjects or a permutation of groups moves all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import scipy
from scipy import sparse, special

from audit.core.errors import InputError, sentence
from audit.stats.intervals import check_level, clopper_pearson
from audit.stats.reliability import FEW

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PARTS = ("picture", "group", "template", "group_template", "rest")
"""What a variance is divided into, in the order of all arrays of parts."""

MANY_WORDINGS = 20
"""Wordings from which Kendall's W has its chi-squared p: simulated for 3 to 14 groups, it is then
at most 1.1 times too small at 5 %, and half too large at 0.1 %; with 5 wordings ten times."""

_VALUES_AT_ONCE = 1_000_000  # values handled at a time over replicates or permutations, 8 MB
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
        raise InputError(sentence(got, "Give (pictures, wordings), or questions before that"))
    outcomes = outcomes.reshape(-1, *outcomes.shape[-2:])
    member = _members(codes, groups, outcomes.shape[1], "moments")
    cells = np.empty((len(outcomes), groups, outcomes.shape[2]))
    squares, pictures = np.empty((2, len(outcomes), groups))
    for q, one in enumerate(outcomes):  # one question at a time as doubles
        value = one.astype(np.float64)
        if not np.isfinite(value).all():
            raise InputError(sentence("moments: an outcome that is not finite", "Leave it out"))
        cells[q] = member @ value
        squares[q] = member @ np.einsum("nw,nw->n", value, value)
        pictures[q] = member @ value.sum(axis=1) ** 2
    return Moments(member.sum(axis=1).astype(np.int64), cells, squares, pictures)


def choice_moments(
    choices: npt.ArrayLike, labels: int, codes: npt.ArrayLike, groups: int
) -> Moments:
    """Moments of "this label was chosen" for every label at once: Q = labels questions.

    The same as ``moments`` of the 0/1 outcomes of each label, without writing these out: 10,000
    pictures, 300 wordings and 21 labels in 0.1 s.

    Args:
        choices: Number of the label chosen, from 0, shape (pictures, wordings).
        labels: Number of labels.
        codes: Group of each picture, from 0; -1 where unknown.
        groups: Number of groups.

    Raises:
        InputError: Shapes that do not fit, a label or a group out of range.
    """
    chosen = _labels(choices, labels, "choice_moments")
    member = _members(codes, groups, len(chosen), "choice_moments")
    group = np.asarray(codes, dtype=np.int64)
    known, wordings = group >= 0, chosen.shape[1]
    place = chosen[known] * groups + group[known, np.newaxis]
    place = place * wordings + np.arange(wordings)
    counted = np.bincount(place.reshape(-1), minlength=labels * groups * wordings)
    cells = counted.reshape(labels, groups, wordings).astype(np.float64)
    pictures = (member @ _label_counts(chosen, labels) ** 2).T
    return Moments(member.sum(axis=1).astype(np.int64), cells, cells.sum(axis=2), pictures)


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
        raise InputError(sentence(got, "Give one group a picture, -1 where unknown"))
    if code.size and not (code.min() >= -1 and code.max() < groups):
        got = f"{where}: codes from {code.min()} to {code.max()}"
        raise InputError(sentence(got, f"They must be from -1 to {groups - 1}"))
    member: Floats = (code == np.arange(groups)[:, np.newaxis]).astype(np.float64)
    return member


def _labels(choices: npt.ArrayLike, labels: int, where: str) -> Integers:
    chosen = np.asarray(choices, dtype=np.int64)
    if chosen.ndim != 2:
        got = f"{where}: choices of shape {chosen.shape}"
        raise InputError(sentence(got, "Give (pictures, wordings)"))
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < labels):
        got = f"{where}: choices from {chosen.min()} to {chosen.max()}"
        raise InputError(sentence(got, f"They must be from 0 to {labels - 1}"))
    return chosen


def _label_counts(chosen: Integers, labels: int) -> Integers:
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


# ---- the gap over wordings ---------------------------------------------------------------------


@dataclass(frozen=True)
class GapShares:
    """A gap over wordings: its mean (the model) and its spread (the question), shape (...).

    ``spread`` is net of sampling noise, ``raw_spread`` is not; ``share`` is that of the mean.
    ``reason``: why something is nan, one a gap in the order of the flattened shape, else "".
    """

    mean: Floats
    low: Floats
    high: Floats
    spread: Floats
    spread_low: Floats
    spread_high: Floats
    raw_spread: Floats
    share: Floats
    share_low: Floats
    share_high: Floats
    reason: tuple[str, ...]


def gap_shares(
    gaps: npt.ArrayLike,
    deviations: npt.ArrayLike,
    level: float = 0.95,
    degrees: float = np.inf,
) -> GapShares:
    """How much of the gap between two groups is the model's and how much is the wording's.

    Formula: over W wordings with gaps d and, in replicate b, deviations e_b:
    mean ``m`` with bounds ``m ± t sqrt(V)``, V the mean square over replicates of mean(e_b);
    spread ``sqrt(max(0, S² - c))`` with S² the variance of d (divisor W - 1) and c the mean over
    replicates of the variance of e_b over wordings, which is small where wordings err together;
    share ``M / (M + S² - c)``, ``M = m² - V``, each cut at 0. Intervals of spread and share are
    double-corrected as in ``pooling.between_group_sd``: a replicate d + e_b holds the noise twice,
    so 2 V and 2 c are subtracted, and percentiles taken; a replicate in which neither mean nor
    spread is left counts for the widest share, [0, 1].
    Range: mean and spread in units of the gap, the spread from 0; share in [0, 1]: 1, every wording
    shows the same gap; 0.5, the wording moves the gap as far as the gap is from 0; 0, it is the
    wording alone. Does not show: that the mean is just for any one wording, nor anything about
    wordings not asked: all bounds are for the ones at hand. A mean of 0 over wordings can hide
    large gaps of both signs, which the share then gives to the question: look at the curve.
    Simulated coverage at 95 % (30 to 400 subjects a group, 4 to 80 wordings, rates of 5 to 50 %):
    mean 93 to 97 %, spread and share 94 to 100 %, most where the spread is within its noise.

    Args:
        gaps: Differences of rates (or any contrast), shape (..., wordings); nan is left out.
        deviations: Bootstrap deviations of each, from replicates of whole subjects common to all
            wordings, shape (..., wordings, replicates).
        level: Two-sided level, strictly between 0 and 1.
        degrees: Of freedom of t, such as the subjects of the smaller group less 1; normal if not
            given.

    Returns:
        Arrays of shape (...); with one wording only the mean.

    Raises:
        InputError: Shapes that do not fit, no replicates, a level outside (0, 1).

    Source:
        Lum, Zhang, Bower (2022), De-biasing "bias" measurement, FAccT, 379-389, for the correction;
        the share is ours.
    """
    d, e = _with_replicates(gaps, deviations, "gap_shares")
    check_level(level)
    flat, noise = d.reshape(-1, d.shape[-1]), e.reshape(-1, *e.shape[-2:])
    found = [_gap_share(*each, level, degrees) for each in zip(flat, noise, strict=True)]
    numbers = np.array([numbers for numbers, _ in found]).reshape(len(found), 10).T
    mean, low, high, *of_spread = numbers.reshape(10, *d.shape[:-1])
    spread, spread_low, spread_high, raw, share, share_low, share_high = of_spread
    why = tuple(reason for _, reason in found)
    of_share = share, share_low, share_high
    return GapShares(mean, low, high, spread, spread_low, spread_high, raw, *of_share, why)


def _gap_share(gaps: Floats, noise: Singles, level: float, degrees: float) -> tuple[Floats, str]:
    """The ten numbers of one gap."""
    kept = np.isfinite(gaps)
    d, e = gaps[kept], noise[kept]
    numbers = np.full(10, np.nan)
    if not d.size:
        return numbers, "no wording has a gap"
    moved = e.mean(axis=0, dtype=np.float64)
    V = np.mean(moved**2)
    reach = special.stdtrit(degrees, (1 + level) / 2) * np.sqrt(V)
    numbers[:3] = d.mean(), d.mean() - reach, d.mean() + reach
    if d.size < 2:
        return numbers, "one wording only: no spread over wordings"
    S2, noisy, c = _spreads(d, e, moved)
    mean2, spread2 = (d.mean() + moved) ** 2 - 2 * V, noisy - 2 * c
    tails = (1 - level) / 2, (1 + level) / 2
    numbers[3], numbers[6] = np.sqrt(max(S2 - c, 0.0)), np.sqrt(S2)
    numbers[4:6] = np.sqrt(np.maximum(np.quantile(spread2, tails), 0.0))
    numbers[7] = _of_both(np.array(d.mean() ** 2 - V), np.array(S2 - c), np.nan)
    numbers[8] = np.quantile(_of_both(mean2, spread2, 0.0), tails[0])
    numbers[9] = np.quantile(_of_both(mean2, spread2, 1.0), tails[1])
    return numbers, "" if numbers[7] >= 0 else "neither mean nor spread is beyond sampling noise"


def _spreads(d: Floats, e: Singles, moved: Floats) -> tuple[float, Floats, float]:
    """Variance over wordings: of the gaps, of every replicate's gaps, and of noise on average."""
    across = e - moved.astype(np.float32)
    own = np.einsum("wb,wb->b", across, across, dtype=np.float64)
    crossed = (d - d.mean()) @ across
    freedom = d.size - 1
    S2 = float(d.var(ddof=1))
    return S2, S2 + (2 * crossed + own) / freedom, float(own.mean() / freedom)


def _of_both(one: Floats, other: Floats, neither: float) -> Floats:
    """One's share of the sum, both cut at 0."""
    first, second = np.maximum(one, 0.0), np.maximum(other, 0.0)
    total = first + second
    return np.where(total > 0, first / np.where(total > 0, total, 1.0), neither)


def _with_replicates(
    values: npt.ArrayLike, deviations: npt.ArrayLike, where: str
) -> tuple[Floats, Singles]:
    x, e = np.asarray(values, dtype=np.float64), np.asarray(deviations, dtype=np.float32)
    if x.ndim < 1 or e.shape[:-1] != x.shape or e.ndim != x.ndim + 1 or not e.shape[-1]:
        got = f"{where}: values of shape {x.shape}, deviations of shape {e.shape}"
        raise InputError(sentence(got, "Give the deviations one more axis, of replicates"))
    return x, e


# ---- generalisability --------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounded:
    """A number with its bounds."""

    value: float
    low: float
    high: float


_NOTHING = Bounded(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Generalisability:
    """How far the order and the level of group rates would be the same in other wordings.

    ``relative``: E rho², of differences between groups; ``absolute``: phi, of the rates themselves.
    ``needed`` and ``needed_absolute``: templates that bring them to the target, whole numbers or
    inf. ``group``, ``template``, ``group_template``: variances net of sampling noise, cut at 0.
    ``groups``, ``wordings``: used. ``reason``: why the coefficients are nan, else "".
    """

    relative: Bounded
    absolute: Bounded
    needed: Bounded
    needed_absolute: Bounded
    group: float
    template: float
    group_template: float
    groups: int
    wordings: int
    reason: str = ""


def generalisability(
    rates: npt.ArrayLike,
    deviations: npt.ArrayLike,
    level: float = 0.95,
    target: float = 0.9,
    resample_wordings: bool = True,
    seed: int = 0,
) -> Generalisability:
    """Whether these wordings are enough to compare groups: groups as objects, templates as facet.

    Formula: with the variances s² of G group rates in W wordings, ``relative = s²(group) /
    (s²(group) + s²(group x template) / W)`` and ``absolute = s²(group) / (s²(group) + (s²(template)
    + s²(group x template)) / W)``. The variances solve the mean squares of the table of rates, each
    less its mean over the replicates' deviations, which is what sampling pictures adds to it.
    Templates needed: ``ceil(target / (1 - target) s²(group x template) / s²(group))``, at least 1.
    The interval is double-corrected: replicates' tables hold the noise twice, twice the mean is
    subtracted, percentiles are taken; a replicate without group variance counts as 0. Wordings are
    resampled too, with the variances made up for (a resample of W holds ``(W - 1) / W`` of their
    variance, and its means stray by that over W): the bounds are for the groups at hand and
    wordings in general, as ``needed`` is. Without that they count pictures' chance only.
    Range: 0 to 1; larger is steadier. From 0.9 on a ranking of groups is commonly held to stand
    whatever the wording. Undefined (nan) where groups do not differ beyond noise: there is then
    nothing to be steady about. Does not show: that a steady difference is large; other groups.
    Wordings in general are those from which the ones at hand could be a random draw.
    Simulated coverage at 95 %, where defined (2 to 14 groups of 80 to 300 subjects, 6 to 80
    wordings, probit outcomes): 95 to 99 % (relative) and 92 to 98 % (absolute); resampling pictures
    only covers the coefficient of the wordings at hand in 92 to 99 %, that in general in 60 to 96.

    Args:
        rates: Rates, shape (groups, wordings); groups with nan are left out.
        deviations: Their bootstrap deviations, shape (groups, wordings, replicates).
        level: Two-sided level, strictly between 0 and 1.
        target: The coefficient that ``needed`` is for, strictly between 0 and 1.
        resample_wordings: Whether bounds are for wordings in general.
        seed: Of the resampled wordings.

    Returns:
        Coefficients with bounds, variances and templates needed.

    Raises:
        InputError: Shapes that do not fit, no replicates, a level or target outside (0, 1).

    Source:
        Brennan (2001), Generalizability Theory, 2.2-2.3 (p x i designs); Lum, Zhang, Bower (2022)
        for the correction.
    """
    p, e = _with_replicates(rates, deviations, "generalisability")
    check_level(level)
    check_level(target)
    if p.ndim != 2:
        raise InputError(sentence(f"generalisability: rates of shape {p.shape}", "Give a table"))
    kept = np.isfinite(p).all(axis=1)
    p, e = p[kept], e[kept]
    groups, wordings = p.shape
    nothing = (_NOTHING,) * 4
    if min(groups, wordings) < 2:
        why = f"{groups} groups in {wordings} wordings: needs two of each"
        return Generalisability(*nothing, np.nan, np.nan, np.nan, groups, wordings, why)
    noise, replicated = _replicated_squares(p, e, np.random.default_rng(seed), resample_wordings)
    variances = _variances(_mean_squares(p[..., np.newaxis]) - noise, groups, wordings)
    group, template, both = (float(max(v, 0.0)) for v in variances[:, 0])
    if group <= 0:
        why = "the groups' rates differ no more than sampling and wordings make them"
        return Generalisability(*nothing, group, template, both, groups, wordings, why)
    found = _coefficients(variances, wordings)[:, 0]
    drawn = _coefficients(_variances(replicated, groups, wordings), wordings)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    one, other = (Bounded(*map(float, row)) for row in zip(found, low, high, strict=True))
    needed, needed_absolute = (_needed(c, wordings, target) for c in (one, other))
    return Generalisability(
        one, other, needed, needed_absolute, group, template, both, groups, wordings
    )


def _mean_squares(tables: Floats) -> Floats:
    """Of group, template and interaction, (3, B), of tables (G, W, B)."""
    groups, wordings = tables.shape[:2]
    row, column = tables.mean(axis=1), tables.mean(axis=0)
    mean = row.mean(axis=0)
    group = wordings * ((row - mean) ** 2).sum(axis=0)
    template = groups * ((column - mean) ** 2).sum(axis=0)
    centred = tables - mean
    both = np.einsum("gwb,gwb->b", centred, centred) - group - template
    degrees = np.array([groups - 1, wordings - 1, (groups - 1) * (wordings - 1)])
    return np.asarray(np.stack([group, template, both]) / degrees[:, np.newaxis])


def _replicated_squares(
    p: Floats, e: Singles, random: np.random.Generator, resample: bool
) -> tuple[Floats, Floats]:
    """Mean squares of noise alone, on average (3, 1), and of replicates net of it, (3, B)."""
    noise, doubly = np.zeros((3, 1)), np.empty((3, e.shape[-1]))
    for block in blocks(e.shape[-1], p.size):
        moved = e[..., block].astype(np.float64)
        noise += _mean_squares(moved).sum(axis=1, keepdims=True)
        table = moved + p[..., np.newaxis]
        if resample:
            drawn = random.integers(0, p.shape[1], moved.shape[1:])
            table = np.take_along_axis(table, drawn[np.newaxis], axis=1)
        doubly[:, block] = _mean_squares(table)
    noise /= e.shape[-1]
    return noise, (_made_up(doubly, p.shape[1]) if resample else doubly) - 2 * noise


def _made_up(squares: Floats, wordings: int) -> Floats:
    """Mean squares of resampled wordings as if wordings had been drawn from all there are.

    Drawn with replacement they hold (W - 1)/W of the variance, which their means gain over W.
    """
    group, template, both = squares
    whole = wordings / (wordings - 1)
    return np.stack([group - both, whole * template, whole * both])


def _variances(squares: Floats, groups: int, wordings: int) -> Floats:
    """Of group, template and interaction, uncut, from mean squares net of noise, (3, B)."""
    group, template, both = squares
    return np.stack([(group - both) / wordings, (template - both) / groups, both])


def _coefficients(variances: Floats, wordings: int) -> Floats:
    """Relative and absolute coefficient, (2, B); 0 where groups have no variance."""
    group, template, both = np.maximum(variances, 0.0)
    error = np.stack([both, template + both]) / wordings
    there = group > 0
    return np.where(there, group / np.where(there, group + error, 1.0), 0.0)


def _needed(coefficient: Bounded, wordings: int, target: float) -> Bounded:
    """Templates for the target, from the coefficient of this many (Spearman, Brown)."""

    def templates(reached: float) -> float:
        if reached <= 0:
            return np.inf
        error = wordings * (1 / reached - 1)
        # rounding must not ask for one more than a whole number
        return float(max(1.0, np.ceil(target / (1 - target) * error - 1e-9)))

    return Bounded(*map(templates, (coefficient.value, coefficient.high, coefficient.low)))


def blocks(total: int, size: int) -> Iterator[slice]:
    """Slices of so many that a block of arrays of ``size`` stays small."""
    step = max(1, _VALUES_AT_ONCE // max(1, size))
    return (slice(start, min(start + step, total)) for start in range(0, total, step))


# ---- rankings ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concordance:
    """Kendall's W of group rankings over wordings, with its p.

    ``chi2``: the statistic; ``method``: "chi-squared", "permutation" or "" where undefined;
    ``groups``, ``wordings``: used; ``reason``: why W is nan, else "".
    """

    w: float
    p: float
    chi2: float
    method: str
    groups: int
    wordings: int
    reason: str = ""


def kendall_w(rates: npt.ArrayLike, permutations: int = 9999, seed: int = 0) -> Concordance:
    """Whether wordings rank the groups alike.

    Formula: with ranks r over the G groups in each of m wordings (ties share their mean rank), R_g
    the sum of group g's ranks and T = sum over ties of (t³ - t),
    ``W = 12 sum (R_g - mean R)² / (m² (G³ - G) - m sum T)``. p: chi-squared of ``m (G - 1) W`` with
    G - 1 degrees of freedom from 20 wordings and 3 groups on, else the add-one share of
    permutations, ranks dealt anew in every wording, whose W is at least the observed one.
    Range: 0 (no common order) to 1 (one order). Small p: wordings do not rank at random. Does not
    show: that groups differ beyond chance: wordings look at the same pictures, so even groups that
    only happen to differ are ranked alike (``joint_test`` of ``audit.stats.curves`` asks that); nor
    by how much.

    Args:
        rates: Rates, shape (groups, wordings); groups with nan are left out.
        permutations: For few wordings.
        seed: Of the permutations.

    Raises:
        InputError: No table, no permutations.

    Source:
        Kendall, Gibbons (1990), Rank Correlation Methods, 6; Legendre (2005), JABES 10, 226-245,
        for the permutation and where chi-squared is too careful.
    """
    table = np.asarray(rates, dtype=np.float64)
    if table.ndim != 2 or permutations < 1:
        got = f"kendall_w: rates of shape {table.shape}, {permutations} permutations"
        raise InputError(sentence(got, "Give (groups, wordings) and at least 1"))
    table = table[np.isfinite(table).all(axis=1)]
    if min(groups := len(table), m := table.shape[1]) < 2:
        why = f"{groups} groups in {m} wordings: needs two of each"
        return Concordance(np.nan, np.nan, np.nan, "", groups, m, why)
    ranks = np.asarray(scipy.stats.rankdata(table, axis=0)).T
    most = m * (m * (groups**3 - groups) - _ties(table)) / 12
    if most <= 0:
        why = "all groups are level in every wording"
        return Concordance(np.nan, np.nan, np.nan, "", groups, m, why)
    w = float(_agreement(ranks[np.newaxis])[0] / most)
    chi2 = m * (groups - 1) * w
    if m >= MANY_WORDINGS and groups > 2:
        p, method = float(special.chdtrc(groups - 1, chi2)), "chi-squared"
    else:
        p, method = _permuted_p(ranks, permutations, seed), "permutation"
    return Concordance(w, p, chi2, method, groups, m)


def _ties(table: Floats) -> float:
    """Sum of t³ - t over all ties of all wordings."""
    ordered = np.sort(table, axis=0)
    starts = np.vstack([np.ones((1, table.shape[1]), bool), ordered[1:] != ordered[:-1]])
    length = np.bincount(np.cumsum(starts.T.reshape(-1))).astype(np.float64)
    return float((length**3 - length).sum())


def _agreement(ranks: Floats) -> Floats:
    """Squared deviations of rank sums from their mean, (P,), of ranks (P, W, G)."""
    total = ranks.sum(axis=1)
    return np.asarray(((total - total.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))


def _permuted_p(ranks: Floats, permutations: int, seed: int) -> float:
    random, seen = np.random.default_rng(seed), _agreement(ranks[np.newaxis])[0]
    as_large = 0
    for block in blocks(permutations, ranks.size):
        many = np.broadcast_to(ranks, (block.stop - block.start, *ranks.shape))
        # rank sums are halves, whose squares are exact enough to compare up to a hair
        as_large += int((_agreement(random.permuted(many, axis=2)) >= seen - 1e-6).sum())
    return (1 + as_large) / (1 + permutations)


# ---- single pictures ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Means:
    """Mean of a bounded number in groups, (G,) each: pictures, subjects, mean and bounds.

    ``few``: whether so few subjects have more than nothing, or less than all, that bounds are those
    of an exact interval.
    """

    n: Integers
    subjects: Integers
    value: Floats
    low: Floats
    high: Floats
    few: Flags


def flip_rate(choices: npt.ArrayLike, headline: npt.ArrayLike) -> Floats:
    """Share of wordings in which a picture gets another label than from the headline.

    Range: 0 (no wording matters) to 1. Does not show: whether the other label is worse, or the
    headline right; flips between two near labels count like any.

    Args:
        choices: Number of the label chosen, shape (pictures, wordings).
        headline: That of the ensemble, shape (pictures,).

    Raises:
        InputError: Shapes that do not fit, no wording.
    """
    chosen, ensemble = np.asarray(choices), np.asarray(headline)
    if chosen.ndim != 2 or ensemble.shape != chosen.shape[:1] or not chosen.shape[1]:
        got = f"flip_rate: choices of shape {chosen.shape}, headline of shape {ensemble.shape}"
        raise InputError(sentence(got, "Give (pictures, wordings) and one headline a picture"))
    return np.asarray((chosen != ensemble[:, np.newaxis]).mean(axis=1))


def choice_entropy(choices: npt.ArrayLike, labels: int, normalised: bool = False) -> Floats:
    """How evenly the wordings scatter a picture over labels: Shannon's entropy of its choices.

    Formula: ``- sum f log2 f`` with f the share of wordings that chose each label; normalised,
    divided by ``log2 min(labels, wordings)``, the most that can be.
    Range: bits from 0 (all wordings agree), 1 being two labels at even odds; normalised 0 to 1.
    Does not show: which labels; anything comparable between unlike numbers of wordings, since few
    wordings give too little.

    Args:
        choices: Number of the label chosen, from 0, shape (pictures, wordings).
        labels: Number of labels.
        normalised: Divide by the most.

    Returns:
        Entropy of each picture, (pictures,); normalised nan where there is no choice.

    Raises:
        InputError: No table, a label out of range, no wording.

    Source:
        Shannon (1948), Bell System Technical Journal 27, 379-423.
    """
    chosen = _labels(choices, labels, "choice_entropy")
    if not chosen.shape[1]:
        raise InputError(sentence("choice_entropy: no wording", "Give at least one"))
    share = _label_counts(chosen, labels) / chosen.shape[1]
    bits = special.entr(share).sum(axis=1) / np.log(2)
    most = np.log2(min(labels, chosen.shape[1])) if normalised else 1.0
    return np.asarray(bits / (most if most > 0 else np.nan))


def group_means(
    values: npt.ArrayLike,
    member: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    most: float = 1.0,
) -> Means:
    """Mean of flip rates, entropies or the like in each group, with a cluster t interval.

    Formula: variance ``m/(m-1) sum over clusters of (sum of (v - mean))² / n²`` on m - 1 degrees of
    freedom for m clusters. Where fewer than ``reliability.FEW`` clusters have a value above 0, or
    below ``most``, also Clopper and Pearson's bounds at Kish's effective number of pictures, the
    wider of both: of no flips at all the t interval would be (0, 0).
    Range: 0 to ``most``; bounds nan for fewer than two clusters. Does not show: whether many flip
    a little or few flip much.

    Args:
        values: One number a picture, from 0 to ``most``, shape (pictures,).
        member: Membership of groups, shape (pictures, groups).
        clusters: What repeats, shape (pictures,): any ids.
        level: Two-sided level, strictly between 0 and 1.
        most: The largest value that can be.

    Raises:
        InputError: Lengths that differ, a value out of range, a level outside (0, 1).

    Source:
        Liang, Zeger (1986), Biometrika 73, 13-22.
    """
    v, groups, ids = np.asarray(values, np.float64), np.asarray(member, bool), np.asarray(clusters)
    check_level(level)
    if groups.ndim != 2 or not v.shape == ids.shape == groups.shape[:1]:
        got = f"group_means: values {v.shape}, member {groups.shape}, clusters {ids.shape}"
        raise InputError(sentence(got, "Give one value, one cluster, one row a picture"))
    if not ((v >= 0) & (v <= most * (1 + 1e-9))).all():
        raise InputError(sentence(f"group_means: a value outside 0 to {most:g}", "Set 'most'"))
    names, cluster = np.unique(ids, return_inverse=True)
    at = cluster.reshape(-1), np.arange(v.size)
    by = sparse.csr_array((np.ones(v.size), at), shape=(names.size, v.size))
    return _means(v / most, groups.astype(np.float64), by, level, most)


def _means(v: Floats, groups: Floats, by: sparse.csr_array, level: float, most: float) -> Means:
    size = np.asarray(by @ groups)
    n, m = size.sum(axis=0), (size > 0).sum(axis=0)
    value = v @ groups / np.where(n > 0, n, np.nan)
    sums = np.asarray(by @ (groups * v[:, np.newaxis])) - size * np.nan_to_num(value)
    variance = m / np.maximum(m - 1, 1) * (sums**2).sum(axis=0) / np.maximum(n, 1) ** 2
    reach = special.stdtrit(np.maximum(m - 1, 1), (1 + level) / 2) * np.sqrt(variance)
    some = np.asarray(by @ (groups * (v > 0)[:, np.newaxis]) > 0).sum(axis=0)
    less = np.asarray(by @ (groups * (v < 1)[:, np.newaxis]) > 0).sum(axis=0)
    few = (np.minimum(some, less) < FEW) & (m > 1)
    worth = n**2 / np.maximum((size**2).sum(axis=0), 1)
    exact = clopper_pearson(np.minimum(np.nan_to_num(value), 1.0) * worth, worth, level)
    low = np.where(few, np.fmin(value - reach, exact[0]), value - reach)
    high = np.where(few, np.fmax(value + reach, exact[1]), value + reach)
    low, high = (np.where(m > 1, np.clip(x, 0.0, 1.0), np.nan) * most for x in (low, high))
    return Means(n.astype(np.int64), m.astype(np.int64), value * most, low, high, few)

"""Worlds whose disparities are known: pictures of subjects in groups, and events that befall them.

A subject's pictures share the subject's own rate, drawn from a Beta distribution around the rate of
the group: the count of events of a subject is then beta-binomial, and two of its pictures agree
beyond chance by the stated intra-cluster correlation (0: independent, 1: copies).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

from audit.core.arrays import Flags, Floats, Integers

#: pictures a subject: a number, or one of these
MIXED: Final = "1 to 12"
SKEWED: Final = "mostly 1, some 12"
INFORMATIVE: Final = "some 12, their rate 1.5 times"
SMALLER: Final = "1 to 8"
ZIPF: Final = "by Zipf's law"
DOMINANT: Final = "one with an eighth of all"
TWO: Final = "two with a fifth each"
UNEQUAL: Final = (MIXED, SKEWED, INFORMATIVE, SMALLER, ZIPF, DOMINANT, TWO)

Size = int | str

#: how many subjects have such a share of all pictures, and pictures of a subject on average
_DOMINATED: Final = {DOMINANT: (1, 1 / 8, 10.0), TWO: (2, 1 / 5, 8.0)}
_LARGE = 12
_SHARE_OF_LARGE = 0.1

#: how groups share subjects
APART: Final = "apart"
COUNTERFACTUAL: Final = "every subject in every group"
VARYING: Final = "subjects spread over groups"


@dataclass(frozen=True)
class Layout:
    """Which group and which subject each picture shows; ``sizes``: pictures of each subject."""

    codes: Integers
    clusters: Integers
    sizes: Integers

    @property
    def n(self) -> Integers:
        """Pictures of each group."""
        return np.bincount(self.codes)


def mean_size(size: Size) -> float:
    """Pictures of a subject on average."""
    if isinstance(size, int):
        return float(size)
    if size in (MIXED, SMALLER):
        return (1 + {MIXED: _LARGE, SMALLER: 8}[size]) / 2
    if size == ZIPF:
        return 5.0
    if size in _DOMINATED:
        return _DOMINATED[str(size)][2]
    return 1 - _SHARE_OF_LARGE + _LARGE * _SHARE_OF_LARGE


def subject_sizes(
    rng: np.random.Generator, pictures: int, size: Size, subjects: int = 0
) -> Integers:
    """Pictures of each subject of a group: exactly ``pictures`` in all if sizes are equal.

    Where sizes are unequal the number of subjects is fixed and the number of pictures varies.
    ``subjects``: how many, instead of as many as ``pictures`` make on average. By Zipf's law the
    r-th subject has a share of 1/r of the first one's pictures. Beside one or two who dominate, the
    others share the rest at random, at least one each.
    """
    if isinstance(size, int):
        if subjects:
            return np.full(subjects, size, dtype=np.int64)
        whole, left = divmod(pictures, size)
        return np.array([size] * whole + [left] * (left > 0), dtype=np.int64)
    subjects = subjects or max(2, round(pictures / mean_size(size)))
    if size in (MIXED, SMALLER):
        return rng.integers(1, {MIXED: _LARGE, SMALLER: 8}[size] + 1, subjects)
    if size == ZIPF:
        shares = 1 / np.arange(1, subjects + 1)
        whole_group = mean_size(ZIPF) * subjects
        pictures_of = np.round(whole_group * shares / shares.sum())
        return np.asarray(np.maximum(pictures_of, 1), dtype=np.int64)
    if size in _DOMINATED:
        large, share, mean = _DOMINATED[size]
        most, others = round(share * mean * subjects), subjects - large
        left = round(mean * subjects) - large * most - others
        return np.append([most] * large, 1 + rng.multinomial(left, np.full(others, 1 / others)))
    return np.where(rng.random(subjects) < _SHARE_OF_LARGE, _LARGE, 1)


def apart(sizes: list[Integers]) -> Layout:
    """Groups with subjects of their own, of the given sizes."""
    every = np.concatenate(sizes)
    group = np.repeat(np.arange(len(sizes)), [len(s) for s in sizes])
    return Layout(np.repeat(group, every), np.repeat(np.arange(len(every)), every), every)


def counterfactual(groups: int, pictures: int, size: int) -> Layout:
    """Every subject shown ``size`` times in every group, as altered pictures of one person are."""
    subjects = max(pictures // size, 1)
    clusters = np.tile(np.repeat(np.arange(subjects), size), groups)
    codes = np.repeat(np.arange(groups), subjects * size)
    return Layout(codes, clusters, np.full(subjects, size * groups))


def varying(rng: np.random.Generator, n: Integers, size: Size) -> Layout:
    """Groups of ``n`` pictures each, the pictures of a subject falling into groups by chance."""
    total = int(n.sum())
    sizes = subject_sizes(rng, total, size)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    clusters = np.resize(clusters, total)
    return Layout(
        np.repeat(np.arange(len(n)), n),
        rng.permutation(clusters),
        np.bincount(clusters, minlength=len(sizes)),
    )


def subject_rates(rng: np.random.Generator, mean: Floats, icc: float) -> Floats:
    """A subject's own rate, Beta distributed around ``mean`` (any shape).

    Its variance is ``icc mean (1 - mean)``.
    """
    if icc == 0:
        return mean
    if icc == 1:
        return (rng.random(mean.shape) < mean).astype(float)
    scale = (1 - icc) / icc
    return rng.beta(mean * scale, (1 - mean) * scale)


def coupled_rates(rng: np.random.Generator, rates: Floats, subjects: int, icc: float) -> Floats:
    """A subject's own rate in every group: the same quantile of each group's distribution.

    ``rates`` (G, Q) gives (subjects, G, Q).
    """
    shape = (subjects, *rates.shape)
    if icc == 0:
        return np.broadcast_to(rates, shape)
    quantile = np.broadcast_to(rng.random((subjects, 1, rates.shape[1])), shape)
    if icc == 1:
        return (quantile > 1 - rates).astype(float)
    scale = (1 - icc) / icc
    return np.asarray(special.betaincinv(rates * scale, (1 - rates) * scale, quantile))


def informative_means(sizes: Integers, rate: float) -> Floats:
    """Subjects with many pictures have events half as often again as ``rate``, others more seldom.

    Over all pictures the rate is ``rate``.
    """
    share = _LARGE * _SHARE_OF_LARGE / mean_size(INFORMATIVE)
    often = 1.5 * rate
    seldom = (rate - share * often) / (1 - share)
    return np.where(sizes == _LARGE, often, seldom)


def happen(rng: np.random.Generator, chance: Floats) -> Flags:
    """Independent events with these chances."""
    return np.asarray(rng.random(chance.shape, dtype=np.float32) < chance)


def choices(rng: np.random.Generator, rates: Floats, layout: Layout, icc: float) -> Flags:
    """One label chosen a picture by the rates (G, L) of its group, as a classifier chooses.

    A subject's own shares are Dirichlet distributed around those of the group, so that each label
    has the stated intra-cluster correlation. Rates below 1 in all leave room for other labels.
    """
    whole = np.hstack([rates, 1 - rates.sum(axis=1, keepdims=True)])
    subjects = int(layout.clusters.max()) + 1
    group = np.zeros(subjects, dtype=np.int64)
    group[layout.clusters] = layout.codes
    shares = whole[group]
    if icc == 1:
        shares = rng.multinomial(1, shares).astype(float)
    elif icc > 0:
        drawn = rng.gamma(np.maximum(shares * (1 - icc) / icc, 1e-12))
        shares = drawn / drawn.sum(axis=1, keepdims=True)
    upto = np.cumsum(shares, axis=1)[layout.clusters]
    chosen = (rng.random((len(upto), 1)) >= upto).sum(axis=1)
    return np.asarray(chosen[:, np.newaxis] == np.arange(rates.shape[1]))

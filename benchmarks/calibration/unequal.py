"""Few subjects with many of the pictures: what else there is, what it covers and how wide it is.

Each method is written from its published formula and gets the events and pictures of every subject.
Weights, and a cap on the pictures of a subject, answer another question than the rate of all
pictures; in these worlds, where rates do not depend on sizes, the answer is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from scipy import sparse, special, stats

from audit.core.arrays import Floats, Integers
from audit.stats.alike import Sums, agreement
from audit.stats.clustered import Bounds, rate_interval
from audit.stats.counts import Counts
from audit.stats.defaults import rate_bounds

from .peers import at_known_effect, korn_graubard
from .worlds import Size, subject_rates, subject_sizes

LEVEL: Final = 0.95
CAP: Final = 4
_LAYOUTS = 10
_REPLICATES = 400


@dataclass(frozen=True)
class UnequalCell:
    """A group whose subjects have pictures by ``size``; every audit asks for its rate."""

    kind: ClassVar[str] = "unequal"
    pictures: int
    rate: float
    size: Size
    icc: float
    audits: int = 2000

    def run(self, seed: int) -> dict[str, float]:
        """Of each method, the share of audits whose interval has the rate, and its mean width."""
        found: dict[str, list[float]] = {"audits": [self.audits]}
        for i in range(_LAYOUTS):
            rng = np.random.default_rng([seed, i])
            n = subject_sizes(rng, self.pictures, self.size)
            means = np.full((len(n), self.audits // _LAYOUTS), self.rate)
            x = rng.binomial(n, subject_rates(rng, means, self.icc).T).astype(float)
            with np.errstate(all="ignore"):
                methods = {name: method(x, n, rng) for name, method in METHODS.items()}
                methods["known"] = at_known_effect(x, n, self.icc, LEVEL)
            for name, (low, high) in methods.items():
                inside = (low <= self.rate) & (self.rate <= high)
                width = np.clip(high, 0, 1) - np.clip(low, 0, 1)
                found.setdefault(f"{name}_covered", []).append(float(inside.mean()))
                found.setdefault(f"{name}_width", []).append(float(np.nanmean(width)))
        return {name: float(np.mean(values)) for name, values in found.items()}


def ours(x: Floats, n: Integers) -> Bounds:
    """The tool's interval."""
    counts = Counts(
        events=x.sum(axis=1, keepdims=True).astype(np.int64),
        seen=sparse.csr_array(n[:, np.newaxis]),
        happened=sparse.csr_array(x.astype(np.int32)),
    )
    low, high = rate_interval(counts.sample([0]), LEVEL)
    return low[:, 0], high[:, 0]


def capped(x: Floats, n: Integers, rng: np.random.Generator) -> Bounds:
    """The tool's interval of ``CAP`` pictures a subject, drawn at random."""
    kept = np.minimum(n, CAP)
    return ours(rng.hypergeometric(x.astype(int), (n - x).astype(int), kept).astype(float), kept)


def bootstrap(x: Floats, n: Integers, rng: np.random.Generator) -> Bounds:
    """Percentiles of the rate over resampled subjects."""
    drawn = rng.multinomial(len(n), np.full(len(n), 1 / len(n)), _REPLICATES).T
    ends = 100 * (1 - LEVEL) / 2
    low, high = np.percentile((x @ drawn) / (n @ drawn), [ends, 100 - ends], axis=1)
    return low, high


def reduced(x: Floats, n: Integers, power: int) -> Bounds:
    """Student's interval by the bias-reduced variance, CR2 (``power`` 1) or CR3 (2).

    ``sum (x_c - p n_c)² / (1 - n_c / n)^power / n²``, and Satterthwaite's degrees of freedom at the
    estimated intra-cluster correlation; Bell and McCaffrey (2002), as in clubSandwich.
    """
    p, share = x.sum(axis=1) / n.sum(), n / n.sum()
    a = 1 / (1 - share) ** power
    variance = (a * (x - p[:, np.newaxis] * n) ** 2).sum(axis=1) / n.sum() ** 2
    reach = stats.t.ppf((1 + LEVEL) / 2, satterthwaite(n, a, icc_of(x, n))) * np.sqrt(variance)
    return p - reach, p + reach


def satterthwaite(n: Integers, a: Floats, icc: Floats) -> Floats:
    """``tr(D S)² / tr(D S D S)`` of D = diag(a) and S the covariance of ``x_c - p n_c``, (Q,)."""
    v = n * (1 + icc[:, np.newaxis] * (n - 1))
    centre = np.eye(len(n)) - np.outer(n, np.ones(len(n))) / n.sum()
    found = []
    for own in v:
        spread = a[:, np.newaxis] * (centre * own @ centre.T)
        found.append(np.trace(spread) ** 2 / (spread * spread.T).sum())
    return np.array(found)


def weighted(x: Floats, n: Integers, alike: bool) -> Bounds:
    """The mean of the subjects' rates, as Korn and Graubard have it for weights.

    Equal weights, or where ``alike`` those that are best at the estimated intra-cluster
    correlation, ``n_c / (1 + icc (n_c - 1))``.
    """
    w = n / (1 + icc_of(x, n)[:, np.newaxis] * (n - 1)) if alike else np.ones_like(x)
    w = w / w.sum(axis=1, keepdims=True)
    rates = x / n
    p = (w * rates).sum(axis=1)
    variance = ((w * (rates - p[:, np.newaxis])) ** 2 / (1 - w)).sum(axis=1)
    t = special.stdtrit(len(n) - 1, (1 + LEVEL) / 2) / special.ndtri((1 + LEVEL) / 2)
    size = np.clip(p * (1 - p) / (variance * t**2), 1, n.sum())
    size = np.where(variance > 0, size, n.sum())
    return rate_bounds(np.clip(p, 0, 1) * size, size, LEVEL)


def icc_of(x: Floats, n: Integers) -> Floats:
    """The intra-cluster correlation, (Q,), by analysis of variance."""
    powers = np.array([[(n.astype(float) ** k).sum()] for k in range(1, 5)])
    return agreement(Sums(len(n), powers, x.sum(axis=1), (x**2 / n).sum(axis=1)))


METHODS: Final[dict[str, Callable[[Floats, Integers, np.random.Generator], Bounds]]] = {
    "ours": lambda x, n, _: ours(x, n),
    "korn": lambda x, n, _: korn_graubard(x, n, LEVEL),
    "bootstrap": bootstrap,
    "cr2": lambda x, n, _: reduced(x, n, 1),
    "cr3": lambda x, n, _: reduced(x, n, 2),
    "equal": lambda x, n, _: weighted(x, n, alike=False),
    "shrunken": lambda x, n, _: weighted(x, n, alike=True),
    "capped": capped,
}

"""What an exact permutation p costs beside going through the deals one by one.

Run it with ``python benchmarks/permutations.py [--rounds 5]``. Two sets of 8 single stimuli have
12,870 deals, the most that published tests of this kind go through. Each round times, side by side
and by processor time, ``audit.stats.association.associations``, which also finds d and its
interval, and the loop over combinations that published code of WEAT and iEAT has, one sum and one
comparison a deal. Both must give the same p.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import time
from importlib.metadata import version

import numpy as np

from audit.stats.association import associations, sums

EACH = 8


def one_by_one(s: np.ndarray) -> float:
    """The published p of the difference of means, greater: a loop over all equal partitions."""
    observed, ties, found, whole = s[:EACH].mean() - s[EACH:].mean(), 1e-12, 0, s.sum()
    total = 0
    for chosen in itertools.combinations(range(2 * EACH), EACH):
        mine = s[list(chosen)].sum()
        found += (mine - (whole - mine)) / EACH >= observed - ties
        total += 1
    return found / total


def joined(s: np.ndarray) -> float:
    """The same by the library."""
    sides = np.repeat([0, 1], EACH)
    found = associations(sums(s[:, np.newaxis], sides, np.arange(2 * EACH), 2 * EACH))
    return float(found.p[0])


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds, times, rng = parser.parse_args().rounds, [], np.random.default_rng(0)
    for _ in range(rounds):
        s, took = rng.normal(size=2 * EACH), []
        p = []
        for way in (joined, one_by_one):
            start = time.process_time()
            p.append(way(s))
            took.append(time.process_time() - start)
        assert abs(p[0] - p[1]) < 1e-12, p
        times.append(took)
    ours, loop = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(one / other for one, other in times)
    print(f"joined {ours:.3f} s, one by one {loop:.3f} s: {ratio:.2f} times as long")
    print(f"Python {platform.python_version()}, numpy {version('numpy')}, scipy {version('scipy')}")


if __name__ == "__main__":
    main()

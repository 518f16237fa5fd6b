"""What a bootstrap of every interval costs: python benchmarks/bootstrap.py [--rounds 3].

Side by side in one process: 2,000 cluster-bootstrap replicates of 14 groups and 50 labels on 10,954
pictures (as many as FairFace's validation part has, by race and gender), from pictures to intervals
of all rates, differences and ratios with simultaneous bounds and q-values; and fairlearn's
``MetricFrame(n_boot=...)``, which resamples rows, for a few labels and replicates, scaled. Both
times are given per interval at 2,000 replicates. Then, each in a process of its own, the memory
that counting 10,000, 40,000 and 160,000 pictures in batches of 8,192 takes.

Measured with ``--rounds 1`` on two cores: Python 3.11.7, numpy 2.4.6, scipy 1.17.1, fairlearn
0.15.0. Together 0.6 s where every picture shows another subject, 0.3 s with four pictures a
subject; against the rest an interval takes 0.84 and 0.35 ms, fairlearn 5.3 s (6,300 and 15,000
times as long), with all pairs 0.12 and 0.06 ms. Counting 10,000, 40,000 and 160,000 pictures took
at most 18, 24 and 26 MB; 0.1, 0.5 and 2.0 MB of it are one entry a subject.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version

import numpy as np

from audit.core.arrays import Flags, Integers
from audit.stats.counts import Counts, count, sample_of
from audit.stats.multiplicity import compare
from audit.stats.resampling import cluster_weights

PICTURES, GROUPS, LABELS, RESAMPLES = 10_954, 14, 50, 2_000
BATCH = 8_192
_THEIR_LABELS = 2
_FEW, _MORE = 4, 20  # replicates for fairlearn: what a replicate adds is the difference


def pictures(n: int, per_subject: int) -> tuple[Flags, Integers, Integers]:
    """Events of 50 labels of which each picture has one, group and subject of each picture."""
    rng = np.random.default_rng(0)
    subjects = np.arange(n) // per_subject
    codes = rng.choice(GROUPS, int(subjects.max()) + 1)[subjects]
    chosen = rng.choice(LABELS, n)
    return chosen[:, np.newaxis] == np.arange(LABELS), codes, subjects


def comparisons(pairs: bool) -> tuple[Integers, Integers]:
    """Each group against the rest, and all pairs before it if wanted."""
    one, other = np.arange(GROUPS), np.arange(GROUPS) + GROUPS
    if not pairs:
        return one, other
    first, second = np.triu_indices(GROUPS, 1)
    return np.concatenate([first, one]), np.concatenate([second, other])


def ours(world: tuple[Flags, Integers, Integers], pairs: bool) -> tuple[float, float, int]:
    """Seconds to count and to compare, and the number of differences with an interval."""
    start = time.perf_counter()
    sample = sample_of(*world, GROUPS, 0, RESAMPLES, rest=True)
    counted = time.perf_counter()
    one, other = comparisons(pairs)
    family = compare(sample, one, other, np.ones((LABELS, len(one)), bool))
    done = time.perf_counter()
    return counted - start, done - counted, int((~np.isnan(family.difference.low_all)).sum())


def theirs(world: tuple[Flags, Integers, Integers]) -> tuple[float]:
    """Seconds of fairlearn for one interval at 2,000 replicates.

    Its intervals for the rates of 14 groups and for their widest difference and ratio come from one
    frame a label; all are counted, as if they were as many comparisons.
    """
    from fairlearn.metrics import MetricFrame, selection_rate

    events, codes, _ = world
    seconds = {}
    for replicates in (_FEW, _MORE):
        start = time.perf_counter()
        for label in range(_THEIR_LABELS):
            frame = MetricFrame(
                metrics=selection_rate,
                y_true=events[:, label],
                y_pred=events[:, label],
                sensitive_features=codes,
                n_boot=replicates,
                ci_quantiles=[0.025, 0.975],
                random_state=0,
            )
            _ = frame.by_group_ci, frame.difference_ci(), frame.ratio_ci()
        seconds[replicates] = time.perf_counter() - start
    each = (seconds[_MORE] - seconds[_FEW]) / (_MORE - _FEW)
    return (each * RESAMPLES / (_THEIR_LABELS * (GROUPS + 2)),)


def counted(n: int, per_subject: int) -> Counts:
    """Counts of n pictures, made a batch at a time as a run makes them."""
    total: Counts | None = None
    rng = np.random.default_rng(0)
    subjects = -(-n // per_subject)
    for start in range(0, n, BATCH):
        rows = np.arange(start, min(start + BATCH, n))
        cluster = rows // per_subject
        ids, row = np.unique(cluster, return_inverse=True)
        events = rng.choice(LABELS, len(rows))[:, np.newaxis] == np.arange(LABELS)
        member = rng.choice(GROUPS, len(rows))[:, np.newaxis] == np.arange(GROUPS)
        weights = cluster_weights(0, ids.tolist(), RESAMPLES)
        part = count(events, member, cluster, subjects, weights, row)
        total = part if total is None else total + part
    assert total is not None
    return total


def memory(n: int) -> None:
    """Print what counting n pictures takes at most, and what is kept of their subjects."""
    tracemalloc.start()
    counts = counted(n, 4)
    peak = tracemalloc.get_traced_memory()[1]
    kept = counts.seen.data.nbytes + counts.seen.indices.nbytes + counts.seen.indptr.nbytes
    print(f"| {n:,} | {peak / 2**20:.0f} MB | {kept / 2**20:.1f} MB |")


def best(rounds: int, measure: Callable[[], Sequence[float]]) -> list[float]:
    """The median of each number over rounds."""
    return [
        statistics.median(column)
        for column in zip(*(measure() for _ in range(rounds)), strict=True)
    ]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        memory(given.memory)
        return
    names = ("numpy", "scipy", "fairlearn", "pandas")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores,", end=" ")
    print(", ".join(f"{name} {version(name)}" for name in names))
    print(f"\n{RESAMPLES:,} replicates, {GROUPS} groups, {LABELS} labels, {PICTURES:,} pictures\n")
    _times(given.rounds)
    print("\n| pictures | most memory while counting | kept, of the subjects |")
    print("|---|---|---|", flush=True)
    for n in (10_000, 40_000, 160_000):
        subprocess.run([sys.executable, __file__, "--memory", str(n)], check=True)


def _times(rounds: int) -> None:
    print(
        "| pictures a subject | comparisons | count | compare | together | differences "
        "| an interval | fairlearn, an interval | times as long |\n|" + "---|" * 9
    )
    for per_subject in (1, 4):
        world = pictures(PICTURES, per_subject)
        (other,) = best(rounds, partial(theirs, world))
        for pairs, name in ((False, "against the rest"), (True, "all pairs and the rest")):
            made, compared, intervals = best(rounds, partial(ours, world, pairs))
            each = (made + compared) / intervals
            print(
                f"| {per_subject} | {name} | {made:.2f} s | {compared:.2f} s "
                f"| {made + compared:.2f} s | {intervals:,.0f} | {1e3 * each:.2f} ms "
                f"| {1e3 * other:,.0f} ms | {other / each:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""What many wordings cost from stored embeddings: python benchmarks/multiverse.py [--rounds 3].

Side by side in one process: 10,000 pictures asked 21 labels in 300 wordings (random embeddings of
512 numbers; ``choose``, then one specification curve with 2,000 bootstrap replicates and 1,000
permutations), one more label set of 21 labels answered by group (``answer``), and what it costs
where pictures are encoded anew for every wording, as the examined tools do: a few pictures are
encoded by a ViT-B/32 with random weights and the time is **scaled** to 10,000 pictures, once for
one label set and 300 times for all wordings (and once, for a tool that would keep them while it
runs). Texts are not timed on either side: 6,300 prompts are encoded once and kept, and the others
encode them too. Times are those of the fastest round. Then, each in a process of its own, the most
memory that choices and a curve take for 10,000, 40,000 and 160,000 pictures, beside the pictures'
embeddings themselves.

Measured with ``--rounds 3 --pictures 16`` on two cores that neighbours kept busy: Python 3.11.7,
numpy 2.4.6, scipy 1.17.1, pandas 3.1.1, torch 2.13.0, transformers 5.23.0. Choices in 300 wordings
1.2 s, one curve 1.0 s, together 2.2 s (1.1 s on a quieter machine); encoding took 235 ms a picture
(73 ms), so 2,350 s for 10,000 (scaled), 1,000 times as long, and 705,000 s if done for every
wording, 320,000 times as long. A new label set was answered in 0.04 s.
Of a question chosen among 441 gaps (21 labels between 7 groups), tested on 302 deals and bounded on
500 replicates, a curve took 3.7 s of processor time, 8 times that of a declared one (0.5 s), on a
machine so busy that the clock says nothing.
Memory for 10,000, 40,000 and 160,000 pictures: choosing held at most 74, 93 and 168 MB, of which 6,
23 and 92 MB are the choices; a curve 96, 109 and 190 MB, as it holds its deals (a byte or two a
subject and deal, at most 64 MB below 160,000 subjects).
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import pandas as pd

from audit.data.labels import Label, LabelSet, PromptSet
from audit.measure import prompt_variants as m
from audit.measure import prompts as asking
from audit.measure.groups import Clusters, Places
from audit.measure.metrics import Groups
from audit.models.encoder import Texts, unit_rows
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings

PICTURES, LABELS, WORDINGS, DIM = 10_000, 21, 300, 512
GROUPS, RESAMPLES = 7, 2_000
_CITED = {"version": 1, "purpose": "timing", "source": "made up", "licence": "CC0-1.0"}


def labels() -> LabelSet:
    """21 labels; three of them are a family."""
    tags = ("suspicion",)
    named = [Label(text=f"label {i}", tags=tags if i < 3 else ()) for i in range(LABELS)]
    return LabelSet(name="twenty-one", labels=tuple(named), **_CITED)


def prompts(number: int) -> PromptSet:
    """So many templates."""
    ways = tuple(f"way {k} of saying {{}}" for k in range(number))
    return PromptSet(name="ways", templates=ways, **_CITED)


def stored(n: int) -> Embeddings:
    """Pictures as random unit vectors."""
    vectors = np.random.default_rng(0).standard_normal((n, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings(tuple(f"p{i:06d}" for i in range(n)), vectors, "random")


def known_texts(labels: LabelSet, ways: PromptSet) -> Texts:
    """Every prompt encoded already: a label's direction, moved a little by the template."""
    rng = np.random.default_rng(1)
    kept = {}
    for label in labels.texts:
        centre = rng.normal(size=DIM)
        for prompt in ways.prompts(label):
            kept[prompt] = unit_rows((centre + 0.5 * rng.normal(size=DIM))[np.newaxis])[0]
    return Texts(lambda strings: np.stack([kept[s] for s in strings]), Scoring(100.0))


def groups_of(images: Embeddings) -> Groups:
    """Seven groups by chance; a subject has four pictures."""
    n = len(images.keys)
    subjects = np.arange(n) // 4
    code = np.random.default_rng(2).integers(GROUPS, size=int(subjects.max()) + 1)[subjects]
    names = [("everyone", "everyone"), *(("group", str(g)) for g in range(GROUPS))]
    member = np.column_stack([np.ones(n, bool), code[:, np.newaxis] == np.arange(GROUPS)])
    clusters = tuple(f"s{i:06d}" for i in range(int(subjects.max()) + 1))
    index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
    return Groups(index, member, subjects, Clusters(clusters), Places(images.keys))


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes, by the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Bench:
    """So many stored pictures, the wordings, and one question about them."""

    def __init__(self, n: int) -> None:
        """Everything that a run has at hand when it comes to wordings."""
        self.labels, self.ways, self.one = labels(), prompts(WORDINGS), prompts(1)
        self.images = stored(n)
        self.texts = known_texts(self.labels, self.ways)
        self.asked = asking.every_wording([self.ways])
        self.groups = groups_of(self.images)
        self.draws = self.groups.draws(self.groups.rows, 0, RESAMPLES)
        self.question = m.Question("family_selection", "suspicion", "group", "0", "1", 0.05)
        texts = self.labels.texts
        pairs = tuple((str(a), str(b)) for a in range(GROUPS) for b in range(a + 1, GROUPS))
        every = m.Candidates(texts, (0.05,) * len(texts), pairs)
        self.chosen = m.Question("selection", texts[0], "group", "0", "1", 0.05, every)
        self.answers: asking.Answers | None = None

    def choose(self) -> None:
        """Every choice of every picture in every wording, and in the headline."""
        self.answers = asking.ask(self.images, self.texts, self.labels, self.asked)

    def curve(self) -> None:
        """One specification curve."""
        assert self.answers is not None
        m.specification_curve(self.answers, self.question, self.groups, self.draws)

    def chosen_curve(self) -> None:
        """One specification curve, chosen among all labels and pairs of groups."""
        assert self.answers is not None
        m.specification_curve(self.answers, self.chosen, self.groups, self.draws)

    def answer(self) -> None:
        """One label set, one template: choices and rates by group."""
        asking.answer(self.images, self.texts, self.labels, self.one, self.groups)


class Reencoding:
    """What the tools do that encode pictures for each question: the model's picture side."""

    def __init__(self, count: int) -> None:
        """A ViT-B/32 at 224 px with CLIP's default configuration and random weights."""
        import torch
        from transformers import CLIPConfig, CLIPModel

        torch.manual_seed(0)
        self._torch, self._count = torch, count
        self._model = CLIPModel(CLIPConfig()).eval()
        self._pixels = torch.randn(count, 3, 224, 224)

    def __call__(self) -> None:
        """The bare forward pass; reading and preprocessing of files would come on top."""
        with self._torch.inference_mode():
            for start in range(0, self._count, 32):
                self._model.get_image_features(pixel_values=self._pixels[start : start + 32])

    def each(self) -> float:
        """Seconds a picture."""
        return seconds(self) / self._count


def times(rounds: int, pictures: int) -> dict[str, float]:
    """The fastest round of each part: on a busy machine neighbours only make things slower."""
    bench, encode = Bench(PICTURES), Reencoding(pictures)
    for first in (bench.answer, encode):
        first()  # pays for libraries
    found = [
        {
            "choose": seconds(bench.choose),
            "curve": seconds(bench.curve),
            "chosen": seconds(bench.chosen_curve),
            "answer": seconds(bench.answer),
            "picture": encode.each(),
        }
        for _ in range(rounds)
    ]
    return {name: min(one[name] for one in found) for name in found[0]}


def report(found: dict[str, float]) -> None:
    """Print ours beside re-encoding, with ratios."""
    wordings, once = found["choose"] + found["curve"], found["picture"] * PICTURES
    rows = [
        (f"choices in {WORDINGS} wordings", found["choose"], once * WORDINGS),
        (f"one curve, {RESAMPLES:,} replicates", found["curve"], None),
        ("one curve, chosen among 441 gaps", found["chosen"], None),
        ("together", wordings, once * WORDINGS),
        ("together, pictures encoded once", wordings, once),
        ("one new label set, rates by group", found["answer"], once),
    ]
    print(f"encoding: {1e3 * found['picture']:.1f} ms a picture, forward pass only\n")
    print("| 10,000 pictures, 21 labels | stored | encoded anew (scaled) | times as long |")
    print("|---|---|---|---|")
    for what, ours, theirs in rows:
        other = "| |" if theirs is None else f"{theirs:,.0f} s | {theirs / ours:,.0f} |"
        print(f"| {what} | {ours:.2f} s | {other}")


def peak(work: Callable[[], object]) -> float:
    """The most memory that one call holds beyond what was there before, in MB."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    work()
    return (tracemalloc.get_traced_memory()[1] - before) / 2**20


def memory(n: int) -> None:
    """Print what choices and curve take at most."""
    bench = Bench(n)
    tracemalloc.start()
    chosen, curve, among = peak(bench.choose), peak(bench.curve), peak(bench.chosen_curve)
    held, codes = bench.images.vectors.nbytes / 2**20, 2 * n * WORDINGS / 2**20
    sizes = (held, codes, chosen, curve, among)
    print(f"| {n:,} | " + " | ".join(f"{size:.0f} MB" for size in sizes) + " |")


def main(given: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=64, help="encoded, to scale from")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.memory:
        memory(options.memory)
        return
    names = ("numpy", "scipy", "pandas", "torch", "transformers")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores,", end=" ")
    print(", ".join(f"{name} {version(name)}" for name in names), flush=True)
    report(times(options.rounds, options.pictures))
    print("\n| pictures | their embeddings | all choices | most while choosing |", end="")
    print(
        " most for a curve | most for one chosen among 441 |\n|---|---|---|---|---|---|", flush=True
    )
    for n in (10_000, 40_000, 160_000):
        subprocess.run([sys.executable, __file__, "--memory", str(n)], check=True)


if __name__ == "__main__":
    main()

"""Questions chosen for their gap, asked again in every wording: do tests and bounds still hold?

python -m benchmarks.calibration.selection [--worlds 200] [--seed 0] [--only NAME]

Every world is a table of choices in several wordings, made directly: no model, no embeddings. Of
each, the question with the surest gap in the headline is chosen as a run chooses it, and its curve
is drawn three times: as it is done (over everything that could have been chosen), as if the chosen
question had been fixed beforehand (the mistake), and of a question that really was. Printed: how
often a p is at most 5 %, bounds of mean, spread and share hold what is true of that very question,
bounds of all wordings hold at once, and how wide the mean's are. The truth of a world is counted in
400,000 subjects of it.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from audit.core.arrays import Floats, Integers
from audit.core.tables import ENSEMBLE, EXCEEDS
from audit.data.labels import Label, LabelSet
from audit.measure import prompt_variants as m
from audit.measure import prompts, variant_tables
from audit.measure.confidence import Confidence
from audit.measure.disparity import disparities
from audit.measure.groups import Clusters, Places
from audit.measure.metrics import Draws, Groups, tally
from audit.stats.resampling import cluster_weights

Codes = npt.NDArray[np.int16]

_TRUTH = 400_000
_CITED = {"version": 1, "purpose": "simulation", "source": "made up", "licence": "CC0-1.0"}


@dataclass(frozen=True)
class World:
    """How choices come about.

    ``sizes``: subjects of each group. ``rare``: how much less likely each label is than the one
    before it, in logits. ``blur``: of a picture's liking from wording to wording; ``own``: of a
    picture beside its subject's. ``pictures``: of a subject, drawn evenly from this range.
    ``gap``: added to the first label's logit in the first group; ``sway``: the same, drawn anew
    for each wording. ``generator``: 'softmax' (the label with the highest noisy liking) or 'urn'
    (a picture keeps its label and changes it in some wordings).
    """

    sizes: tuple[int, ...] = (200,) * 7
    labels: int = 8
    wordings: int = 6
    rare: float = 0.0
    blur: float = 0.7
    own: float = 1.0
    pictures: tuple[int, int] = (1, 1)
    gap: float = 0.0
    sway: float = 0.0
    generator: str = "softmax"

    def draw(self, rng: np.random.Generator, sizes: Sequence[int]) -> tuple[Codes, Codes, Integers]:
        """Choices (n, W), those of the headline, and the group and subject of each picture."""
        group = np.repeat(np.arange(len(sizes)), sizes)
        number = rng.integers(self.pictures[0], self.pictures[1] + 1, len(group))
        subject = np.repeat(np.arange(len(group)), number)
        of = group[subject]
        base = -self.rare * np.arange(self.labels) + self._wordings[..., np.newaxis]
        if self.generator == "urn":
            codes, headline = self._from_urn(rng, of, subject)
        else:
            codes, headline = self._by_liking(rng, base[..., 0], of, subject, len(group))
        return codes, headline, np.stack([of, subject])

    @property
    def _wordings(self) -> Floats:
        """How much each wording favours each label, the same in every draw of this world."""
        return np.random.default_rng(7).normal(scale=0.3, size=(self.wordings, self.labels))

    def _by_liking(
        self, rng: np.random.Generator, base: Floats, of: Integers, subject: Integers, subjects: int
    ) -> tuple[Codes, Codes]:
        liking = rng.gumbel(size=(subjects, self.labels))[subject]
        if self.pictures[1] > 1:
            liking = liking + self.own * rng.gumbel(size=liking.shape)
        first = of == 0
        moved = self.gap + self.sway * np.random.default_rng(8).normal(size=self.wordings)
        codes = np.empty((len(of), self.wordings), np.int16)
        added = np.zeros_like(liking)
        for w in range(self.wordings):
            noisy = liking + base[w] + self.blur * rng.normal(size=liking.shape)
            noisy[first, 0] += moved[w]
            codes[:, w] = noisy.argmax(axis=1)
            added += noisy
        return codes, added.argmax(axis=1).astype(np.int16)

    def _from_urn(
        self, rng: np.random.Generator, of: Integers, subject: Integers
    ) -> tuple[Codes, Codes]:
        share = np.exp(-self.rare * np.arange(self.labels))
        share /= share.sum()
        first = np.where(rng.random(int(subject.max()) + 1) < self.gap, 0, -1)[subject]
        kept = rng.choice(self.labels, size=int(subject.max()) + 1, p=share)[subject]
        kept = np.where((first == 0) & (of == 0), 0, kept)
        fresh = rng.choice(self.labels, size=(len(of), self.wordings), p=share)
        stays = rng.random((len(of), self.wordings)) < 1 / (1 + self.blur)
        codes = np.where(stays, kept[:, np.newaxis], fresh).astype(np.int16)
        return codes, kept.astype(np.int16)


WORLDS: Final = {
    "7 x 200": World(),
    "7 x 200, urn": World(generator="urn"),
    "7 unequal groups": World((700, 400, 300, 200, 100, 60, 35)),
    "14 x 60, rare labels": World((60,) * 14, labels=8, rare=0.5, wordings=4),
    "2 x 300, 3 labels": World((300, 300), labels=3, wordings=20),
    "7 x 80, 30 wordings": World((80,) * 7, wordings=30, blur=1.5),
    "5 x 120, 1 to 8 pictures": World((120,) * 5, pictures=(1, 8)),
    "unequal groups, 1 to 12 pictures": World((400, 150, 60, 40), pictures=(1, 12), own=0.5),
    "7 x 200, one gap": World(gap=0.7),
    "7 x 200, urn, one gap": World(generator="urn", gap=0.15),
    "7 x 200, a gap that sways": World(gap=0.5, sway=0.6),
    "5 x 120, 1 to 8 pictures, one gap": World((120,) * 5, pictures=(1, 8), gap=0.8),
}


@cache
def truth(world: World) -> Floats:
    """Rates of every group of a world, (labels, groups, wordings)."""
    sizes = (_TRUTH // 2, _TRUTH // 2)  # all groups but the first are alike
    total = np.zeros((world.labels, 2, world.wordings))
    seen = np.zeros(2)
    rng = np.random.default_rng(1)
    for _ in range(20):
        codes, _, (of, _) = world.draw(rng, tuple(n // 20 for n in sizes))
        for g in range(2):
            chosen = codes[of == g]
            total[:, g] += (chosen == np.arange(world.labels)[:, None, None]).sum(axis=1)
            seen[g] += len(chosen)
    rate = total / seen[:, np.newaxis]
    if not (world.gap or world.sway):
        rate[:] = rate.mean(axis=1, keepdims=True)
    return rate[:, [0] + [1] * (len(world.sizes) - 1)]


@cache
def _weights(clusters: int, seed: int, resamples: int) -> npt.NDArray[np.uint8]:
    """Bootstrap weights, drawn once for every fifth audit."""
    return cluster_weights(seed, [f"s{i:06d}" for i in range(clusters)], resamples)


def audited(world: World, seed: int, resamples: int = 600) -> dict[str, dict[str, float]]:
    """One audit of one world, in three ways."""
    rng = np.random.default_rng(seed)
    codes, headline, (of, subject) = world.draw(rng, world.sizes)
    labels = LabelSet(
        name="made-up", labels=tuple(Label(text=f"l{i}") for i in range(world.labels)), **_CITED
    )
    n = len(of)
    keys = tuple(f"p{i:06d}" for i in range(n))
    names = [("everyone", "everyone"), *(("group", f"g{i}") for i in range(len(world.sizes)))]
    member = np.column_stack([np.ones(n, bool), of[:, np.newaxis] == np.arange(len(world.sizes))])
    index = pd.MultiIndex.from_tuples(names, names=["attribute", "group"])
    clusters = tuple(f"s{i:06d}" for i in range(int(subject.max()) + 1))
    groups = Groups(index, member, subject, Clusters(clusters), Places(keys))
    asked = tuple(prompts.Wording(f"{w} {{}}") for w in range(world.wordings))
    answers = prompts.Answers(labels, asked, keys, codes, headline)
    draws = Draws(np.arange(len(clusters)), _weights(len(clusters), seed % 5, resamples))
    c = Confidence(resamples=resamples)
    texts = np.array(labels.texts, dtype=object)
    rows = pd.DataFrame(
        {"probe": "classification", "task": "made-up", "condition": ENSEMBLE, "image_id": keys,
         "predicted": texts[headline], "score": 1.0, "margin": 1.0, "tie": False, "truth": None}
    )  # fmt: skip
    compared = disparities(tally(rows, labels, groups, draws, ["selection"]), c)
    (chosen,) = variant_tables.leading_questions(compared, c)
    fixed = m.Question("selection", "l0", "group", "g0", "g1", chosen.margin)
    ways = {"chosen": chosen, "as if fixed": replace(chosen, among=None), "declared": fixed}
    return {
        way: _scored(
            m.specification_curve(answers, q, groups, draws, seed=seed, deals=199), truth(world)
        )
        for way, q in ways.items()
    }


def _scored(curve: m.Curve, rates: Floats) -> dict[str, float]:
    """What one curve says, against what is true of its question."""
    q = curve.question
    label, one, other = (int(name[1:]) for name in (q.label, q.group, q.other))
    gaps = rates[label, one] - rates[label, other]
    spread = float(gaps.std(ddof=1))
    size = float(gaps.mean() ** 2 + spread**2)
    share = float(gaps.mean() ** 2 / size) if size else np.nan
    within = (curve.gaps.low_all <= gaps + 1e-12) & (gaps - 1e-12 <= curve.gaps.high_all)
    return {
        "p_median": curve.joint.median.p <= 0.05,
        "p_large": curve.joint.large.p <= 0.05,
        "p_sign": curve.joint.agreeing.p <= 0.05,
        "mean": curve.mean.low <= gaps.mean() <= curve.mean.high,
        "spread": curve.spread.low <= spread <= curve.spread.high,
        "share": curve.share.low <= share <= curve.share.high if size else np.nan,
        "wordings": bool(within.all()),
        "false large": bool(
            ((curve.verdicts == EXCEEDS) & (np.abs(gaps) <= q.margin)).any()
        ),
        "width": curve.mean.high - curve.mean.low,
        "found": q.label == "l0" and q.group == "g0" and curve.mean.low > 0,
    }  # fmt: skip


def main(given: Sequence[str] | None = None) -> None:
    """Print a line for every world and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    options = parser.parse_args(given)
    heading = None
    for name, world in WORLDS.items():
        if options.only not in name:
            continue
        first = options.seed * 1_000_000 + zlib.crc32(name.encode()) % 100_000
        found = [audited(world, first + i) for i in range(options.worlds)]
        for way in found[0]:
            table = pd.DataFrame([one[way] for one in found]).astype(float)
            if heading is None:
                heading = ["world", "question", *table]
                print("| " + " | ".join(heading) + " |")
                print("|" + "---|" * len(heading), flush=True)
            cells = [f"{100 * x:.1f}" if x == x else "–" for x in table.mean()]
            print(f"| {name} | {way} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

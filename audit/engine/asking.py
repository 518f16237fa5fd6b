"""Ask every probe, batch by batch: its rows go to disk, what is counted adds up.

Of many pictures (more than ``BOUND`` of ``audit.measure.groups``) nothing is held but what was
counted of all, and the rows of a sample, on which rests whatever needs rows: see docs/size.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from audit.core.arrays import Integers
from audit.core.names import file_names
from audit.core.rundir import PRIVATE
from audit.core.schema import Appended
from audit.core.tables import CHOICES, ENSEMBLE, require_finite
from audit.data.remarks import Remark
from audit.engine.analysis import Answer
from audit.engine.embed import Pictures, Progress
from audit.engine.suite import Suite
from audit.measure.metrics import Groups, Tally, tally
from audit.probes.kit.base import Probe, Seen, Texts
from audit.store.embeddings import Embeddings

#: pictures a probe sees at a time: memory stays flat as pictures grow
BATCH: Final = 8192
#: batches whose rows are held before they are merged; a probe that keeps only some then drops many
MERGED: Final = 4


@dataclass(frozen=True)
class Asker:
    """What all probes are asked about, and where their rows go.

    ``others`` embeds pictures that are not in the data set; ``folder`` is the run's.
    """

    suite: Suite
    pictures: Pictures
    texts: Texts
    others: Callable[[Sequence[Path]], Embeddings]
    groups: Groups
    folder: Path

    def ask(self, progress: Progress) -> list[Answer]:
        """Outcomes and tallies of every probe."""
        pa.default_memory_pool().release_unused()  # what reading tables took and keeps
        asked = self.suite.asked
        names = file_names([probe.task for probe in asked])
        answers = []
        for done, probe in enumerate(asked):
            progress("ask", done, len(asked))
            place = self.folder / PRIVATE / "outcomes" / f"{names[probe.task]}.parquet"
            with probe.emits.appended(place) as rows:
                answers.append(self._answer(probe, rows))
        progress("ask", len(asked), len(asked))
        return answers

    def _answer(self, probe: Probe, written: Appended) -> Answer:
        """What one probe is answered; of many pictures, with the rows of a sample of them."""
        seen, groups = self._seen(probe)
        sample = groups.sample()
        if sample is None:
            return self._asked(probe, replace(seen, images=seen.images.held()), groups, written)
        keys = tuple(seen.images.keys[i] for i in sample)
        altered = {name: images.only(keys) for name, images in seen.altered.items()}
        some = replace(seen, images=seen.images.part(sample).held(), altered=altered)
        of_some = groups.alone(sample, keys)
        if probe.emits is CHOICES and not probe.whole and type(probe).merged is Probe.merged:
            answer = self._asked(probe, seen, groups, written, sample)
            return replace(answer, seen=some, groups=of_some, asked=len(groups.rows))
        answer = self._asked(probe, some, of_some, written)
        return replace(answer, asked=len(groups.rows))

    def _seen(self, probe: Probe) -> tuple[Seen, Groups]:
        """What a probe sees, with its groups."""
        pictures, dataset = self.pictures, self.suite.pictures
        images = pictures.images.only(probe.pictures(dataset))
        altered = {a.name: pictures.altered[a.name] for a in probe.alterations()}
        seen = Seen(images, self.texts, dataset, altered, self.suite.seed, self.others)
        return seen, self.groups.only(images.keys)

    def _asked(
        self,
        probe: Probe,
        seen: Seen,
        groups: Groups,
        written: Appended,
        sample: Integers | None = None,
    ) -> Answer:
        """Rows and counts of these pictures; the rows of a sample of them, if one is given."""
        kept: list[pd.DataFrame] = []
        counted: Tally | None = None
        tied, choices, keys = 0, 0, seen.images.keys
        step = len(keys) if probe.whole else MERGED * BATCH
        for start in range(0, max(len(keys), 1), max(step, 1)):
            at = slice(start, min(start + step, len(keys)))
            batches = [seen] if probe.whole else list_batches(seen, at)
            parts = [probe.outcomes(batch) for batch in batches]
            rows = probe.merged(parts)
            if probe.emits is CHOICES:
                of_these = self._counted(probe, rows, groups.part(at, keys[at]))
                counted = of_these if counted is None else counted + of_these
                headline = rows["condition"] == ENSEMBLE
                choices += int(headline.sum())
                tied += int(rows.loc[headline, "tie"].sum())
            written.append(rows)
            if sample is not None:
                here = sample[(sample >= at.start) & (sample < at.stop)]
                rows = rows[rows["image_id"].isin([keys[i] for i in here])]
            kept.append(rows)
        if counted is not None:
            draws = groups.draws(groups.rows, seen.seed, self.suite.confidence.resamples)
            counted = Tally(groups, counted.blocks).drawn(draws)
        return Answer(probe, seen, probe.merged(kept), counted, groups, tied, choices, len(keys))

    def _counted(self, probe: Probe, rows: pd.DataFrame, groups: Groups) -> Tally:
        """What is counted of some rows of CHOICES."""
        if self.texts.scoring.known:
            require_finite(rows["score"], f"scores of '{probe.task}'")
        (labels,) = probe.label_sets()
        return tally(rows, labels, groups, later=True)


def list_batches(seen: Seen, within: slice | None = None) -> Iterator[Seen]:
    """The pictures, or those of a slice of them, so many at a time as a probe sees."""
    images = seen.images
    whole = within or slice(0, len(images.keys))
    for start in range(whole.start, whole.stop, BATCH):
        some = images.part(slice(start, min(start + BATCH, whole.stop))).held()
        altered = {name: others.only(some.keys) for name, others in seen.altered.items()}
        yield replace(seen, images=some, altered=altered)


def of_samples(answers: Sequence[Answer]) -> list[Remark]:
    """What was looked at in a sample of the pictures, where these are many."""
    return [
        Remark(
            f"'{answer.probe.task}': {_WHAT[answer.tally is not None and some < answer.counted]} "
            f"{some:,} of {answer.asked:,} pictures, all of those of subjects taken by chance"
        )
        for answer in answers
        if (some := len(answer.seen.images.keys)) < answer.asked
    ]


#: what is looked at in a sample: all of a probe, or what needs the rows of single pictures
_WHAT: Final = {
    False: "asked of",
    True: "rates, gaps and their nulls are of all pictures; controls, calibration, wordings, "
    "label ablation, thresholds and other changes are of",
}

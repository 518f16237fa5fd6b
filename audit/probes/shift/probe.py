"""The same classification on several sources of pictures: what is lost, and by whom?"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import sparse, special

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.tables import (
    CHOICES,
    ENSEMBLE,
    EVERYONE,
    NOT_ASKED,
    NOT_JUDGED,
    OK,
    TOO_FEW,
    UNDEFINED,
    WITHIN,
)
from audit.core.verdicts import verdicts
from audit.data.dataset import Dataset
from audit.data.yamlfile import load_yaml, validate
from audit.measure.confidence import Confidence
from audit.measure.controls import Answered, drops_by_chance, null_columns
from audit.measure.effects import sampled
from audit.measure.measures import measured
from audit.measure.metrics import Groups, standing
from audit.probes.kit.base import Design, Seen, require_column, require_values
from audit.probes.kit.changes import ACCURACY_CHANGE, UNEQUAL_DROP, said, surest
from audit.probes.kit.choice import Choice
from audit.stats.changes import each_level
from audit.stats.clustered import (
    Bounds,
    Floats,
    Integers,
    Sample,
    correlated,
    correlation,
    difference_interval,
    effective_events,
    joined,
    rate_interval,
)
from audit.stats.counts import Counts, count
from audit.stats.families import Flags, bounds_at, compare
from audit.stats.gaps import Pairs, largest_gap, unless_left_out
from audit.store.embeddings import Embeddings

#: ``metric`` of rows in points
ACCURACY: Final = "accuracy"
ROBUSTNESS: Final = "effective robustness"
#: a line through two models has no spread, so that nothing could be said of it
FEWEST_MODELS: Final = 3

_FAMILY: Final = "misclassification"  # the margin family of errors


class OtherModel(BaseModel):
    """One line of a baseline table: how often another model is right on both sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: float = Field(gt=0, lt=1, description="accuracy on the reference, as a share")
    shifted: float = Field(gt=0, lt=1, description="accuracy on the shifted source, as a share")
    source: str = Field("", description="which shifted source; needed where there are several")
    model: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[OtherModel, ...]


@dataclass(frozen=True)
class Baseline:
    """Accuracies of n other models on the reference and on one shifted source, (n,) each.

    What a model of some reference accuracy can be expected to keep:
    ``expit(a + b logit(reference))``, by least squares over the others.
    """

    reference: Floats
    shifted: Floats

    @property
    def line(self) -> tuple[float, float]:
        """Intercept and slope in logits."""
        slope, intercept = np.polyfit(special.logit(self.reference), special.logit(self.shifted), 1)
        return float(intercept), float(slope)

    def expected(self, accuracy: float) -> float:
        """The accuracy on the shifted source of the line at this reference accuracy."""
        intercept, slope = self.line
        return float(special.expit(intercept + slope * special.logit(accuracy)))

    @property
    def spread(self) -> float:
        """How far the models lie from the line: root mean square with n - 2, in logits."""
        intercept, slope = self.line
        rest = special.logit(self.shifted) - intercept - slope * special.logit(self.reference)
        return float(np.sqrt(np.sum(rest**2) / (len(rest) - 2)))

    def bounds(self, accuracy: float, low: float, high: float, level: float) -> tuple[float, float]:
        """Bounds of ``expected``, for the error of the line and for the bounds of ``accuracy``.

        Formula: in logits, the distances that the line's own error (Student's t with n - 2 degrees
        of freedom) and the bounds of ``accuracy`` make are joined as the root of their squares'
        sum.
        """
        x, (_, slope) = special.logit(self.reference), self.line
        at = special.logit(accuracy)
        off = (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)
        t = special.stdtrit(len(x) - 2, (1 + level) / 2)
        own = t * self.spread * np.sqrt(1 / len(x) + off)
        ends = slope * (special.logit(np.array([low, high])) - at)
        middle = special.logit(self.expected(accuracy))
        down, up = (np.hypot(own, end) for end in (min(ends), max(ends)))
        return float(special.expit(middle - down)), float(special.expit(middle + up))


def load_baseline(path: str) -> tuple[tuple[OtherModel, ...], str]:
    """Other models' accuracies from a YAML (``models:``) or CSV file, and the file's digest.

    Raises:
        InputError: no such file, or a line that isn't two accuracies between 0 and 1.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise InputError(
            sentence(
                f"baseline: there is no file {path}",
                "Give a CSV or YAML file of other models' accuracies, 'reference' and 'shifted'",
            )
        )
    if place.suffix in {".yaml", ".yml"}:
        table = validate(_Table, load_yaml(place), str(place))
    else:
        with place.open(encoding="utf-8-sig", newline="") as file:
            rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
        table = validate(_Table, {"models": rows}, str(place))
    return table.models, hashlib.sha256(place.read_bytes()).hexdigest()


class Shift(Choice):
    """Choice by the highest similarity, source by source.

    The headline condition ``ensemble`` has the pictures of the reference source; each other source
    is a condition such as 'expression: smiling'. Other pictures are asked in each, so nothing is
    counted picture by picture; where a subject is in several sources, its answers are drawn again
    together.
    """

    asks: ClassVar[str] = (
        "How much less often is the model right on pictures from elsewhere, and for whom most?"
    )
    whole: ClassVar[str] = (
        "each source is a condition, and a batch may hold none of its pictures; memory is the "
        "embeddings and 8 bytes a picture and label"
    )

    kind: Literal["shift"] = "shift"
    truth: str = Field(description="the manifest column that says the right answer")
    column: str = Field(description="the manifest column that names each picture's source")
    reference: str = Field(description="the source that the others are held against")
    shifted: tuple[str, ...] = Field((), description="the other sources; all of the column if none")
    baseline: str | None = Field(
        None, description="CSV or YAML of other models' accuracies, for effective robustness"
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.reference in self.shifted:
            raise ValueError(
                sentence(
                    f"'{self.reference}' is the reference and among 'shifted'",
                    "A source is held against another; take it out of one of the two",
                )
            )
        return self

    @property
    def task(self) -> str:
        """The label set's name and the column of the sources."""
        return f"{self.labels.name}, shift by {self.column}"

    def compared(self) -> dict[str, tuple[str, ...]]:
        """The column of the sources."""
        return {self.column: (self.reference, *self.shifted) if self.shifted else ()}

    def conditions(self, dataset: Dataset) -> dict[str, str]:
        """Each condition and its source, the reference first.

        Raises:
            InputError: no such column or source, or no other source.
        """
        where = f"probe '{self.kind}'"
        require_column(dataset, self.column, f"{where}: column")
        present = dataset.table[self.column].dropna().astype(str).unique()
        others = self.shifted or tuple(sorted(set(present) - {self.reference}))
        require_values(dataset, self.column, (self.reference, *others), present, where)
        if not others:
            raise InputError(
                sentence(
                    f"{where}: column '{self.column}' holds '{self.reference}' only",
                    "A shift needs two sources",
                )
            )
        return {ENSEMBLE: self.reference} | {self.condition(s): s for s in others}

    def condition(self, source: str) -> str:
        """The name of a shifted source as a condition."""
        return f"{self.column}: {source}"

    def pictures(self, dataset: Dataset) -> tuple[str, ...]:
        """Those of the sources compared, of those that ``only`` names.

        Raises:
            InputError: as ``Probe`` and ``conditions``; a source has none of them.
        """
        chosen = super().pictures(dataset)
        sources = self.conditions(dataset).values()
        source = dataset.texts(self.column).loc[list(chosen)]
        for name in sources:
            if not (source == name).any():
                raise InputError(
                    sentence(
                        f"probe '{self.kind}': none of the pictures that 'only' names has "
                        f"'{name}' in column '{self.column}'",
                        "Loosen one of the two",
                    )
                )
        return tuple(source.index[source.isin(sources)])

    def resolve(self, dataset: Dataset) -> None:
        """Also check the sources and the baseline table.

        Raises:
            InputError: as ``Choice``, ``pictures`` and ``load_baseline``; a source without
                truth; fewer than three models for a source, or all of one reference accuracy.
        """
        super().resolve(dataset)
        keys = self.pictures(dataset)
        source = dataset.texts(self.column).loc[list(keys)]
        known = self._truth(dataset).reindex(pd.Index(keys)).notna().to_numpy()
        for name in dict.fromkeys(source):
            if not known[(source == name).to_numpy()].any():
                raise InputError(
                    sentence(
                        f"probe '{self.kind}': no picture with '{name}' in '{self.column}' has a "
                        f"known answer in '{self.truth}'",
                        "Accuracy needs one; leave that source out",
                    )
                )
        for condition, name in self.conditions(dataset).items():
            if condition != ENSEMBLE:
                self._baseline(name, len(self.conditions(dataset)) - 1)

    @cached_property
    def _others(self) -> tuple[tuple[OtherModel, ...], str]:
        return load_baseline(self.baseline) if self.baseline is not None else ((), "")

    def _baseline(self, source: str, sources: int) -> Baseline | None:
        """The other models on one source; None if the user gave no table."""
        if self.baseline is None:
            return None
        models = self._others[0]
        of_it = [m for m in models if m.source == source or (not m.source and sources == 1)]
        if len(of_it) < FEWEST_MODELS or len({m.reference for m in of_it}) < 2:
            raise InputError(
                sentence(
                    f"{self.baseline}: {len(of_it)} models for the source '{source}'",
                    suggest(source, {m.source for m in models if m.source}),
                    f"A line needs {FEWEST_MODELS}, not all of one reference accuracy; with "
                    "several sources each line also names its 'source'",
                )
            )
        return Baseline(
            np.array([m.reference for m in of_it]), np.array([m.shifted for m in of_it])
        )

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row of Choices for each picture, under the condition of its source."""
        source = seen.dataset.texts(self.column).reindex(list(seen.images.keys))
        tables = [
            self._answers(seen.images.only(source.index[source == name]), seen).assign(condition=c)
            for c, name in self.conditions(seen.dataset).items()
        ]
        return CHOICES.conform(pd.concat(tables, ignore_index=True))

    def _answers(self, images: Embeddings, seen: Seen) -> pd.DataFrame:
        classes = self.classes(seen.texts, self.labels)
        truth = self._truth(seen.dataset).reindex(pd.Index(images.keys)).to_numpy()
        return self._choose(images, classes, seen.texts.logit_scale).assign(truth=truth)

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Accuracy by source and group, how each group's changes, and whose drop differs most.

        Formula: with p the share of right labels, the change of a group is ``p_shifted -
        p_reference`` with the bounds of ``audit.stats.families.compare``: MOVER from the two
        shares, with their correlation where subjects are in both sources. The difference of the
        drops of two groups has MOVER bounds from the two drops (``_apart``). Simultaneous bounds
        hold for all sources and groups of an attribute at once.
        Chance: ``null_mean`` and ``null_high`` are the mean and quantile of the difference of
        drops, and ``p`` the share as large, when whole subjects with all their answers are dealt
        anew to the groups, among those in the same sources (``permuted_drops``).
        Range: points; a change from -100 to 100, lower is worse, a difference of drops from 0 to
        200, higher is worse. Does not show: what about the sources makes the drop, since they may
        differ in people as in pictures.
        """
        conditions = self.conditions(seen.dataset)
        sources = _Sources.of(rows, list(conditions), design)
        found: list[dict[str, Any]] = []
        for attribute in (EVERYONE, *design.groups.attributes):
            at = _columns(design.groups, attribute)
            cells = _Cells(attribute, at, sources, design)
            found += [*cells.accuracies(), *cells.drops(), *cells.apart()]
        found += self._effective(conditions, sources, design)
        return self._told(pd.DataFrame(found), conditions)

    def _effective(
        self, conditions: Mapping[str, str], sources: _Sources, design: Design
    ) -> Iterator[dict[str, Any]]:
        """Effective robustness on each shifted source, or why it can't be told."""
        everyone = _Cells(EVERYONE, _columns(design.groups, EVERYONE), sources, design)
        level = 1 - (1 - design.confidence.level) / (len(conditions) - 1)
        for s, (condition, source) in enumerate(conditions.items()):
            if s:
                row = {"condition": condition, "metric": ROBUSTNESS}
                baseline = self._baseline(source, len(conditions) - 1)
                if baseline is None:
                    row |= {"status": NOT_ASKED, "reason": _NO_BASELINE}
                    yield everyone.row([0, s], [0, 0]) | row
                else:
                    digest = {"method": f"{_LINE}, table {self._others[1][:12]}"}
                    yield everyone.effective(s, baseline, level) | row | digest

    def _told(self, found: pd.DataFrame, conditions: Mapping[str, str]) -> pd.DataFrame:
        """Rows of MEASURES; of each question and attribute the surest has a statement."""
        given = verdicts(found["low_simultaneous"], found["high_simultaneous"], found["margin"])
        given = unless_left_out(given, found["reason"])
        judged = np.where(found["metric"] == ACCURACY, NOT_JUDGED, given)
        found = found.assign(statement="", verdict=judged)
        told = (found["status"] == OK) & (found["verdict"] != NOT_JUDGED)
        # everyone's drop tells the whole; a group's is in the table
        told &= (found["metric"] != ACCURACY_CHANGE) | (found["attribute"] == EVERYONE)
        for (metric, _), rows in found[told].groupby(["metric", "attribute"], sort=False):
            for at in rows.index if metric == ROBUSTNESS else [surest(rows)]:
                row = found.loc[at].to_dict()
                found.loc[at, "statement"] = self._statement(row, conditions)
        every = {"unit": "points", "harm": "quality of service", "margin_family": _FAMILY}
        kept = found.drop(columns=[c for c in found if str(c).startswith("_")])
        return measured(kept, probe=self.kind, task=self.task, **every)

    def _statement(self, row: dict[str, Any], conditions: Mapping[str, str]) -> str:
        many = len(conditions) - 1
        here = f"{self.column} {conditions[row['condition']]}"
        there = f"{self.column} {self.reference}"
        ends = f"{row['low_simultaneous']:z.0f} to {row['high_simultaneous']:z.0f}"
        held = f"{100 * row['level']:.0f} % simultaneous bounds {ends}"
        which = "the largest" if row["verdict"] == WITHIN else "the surest"
        over = f", {which} over {many} sources" if many > 1 else ""
        if row["metric"] == ROBUSTNESS:
            return (
                f"Asked '{self.task}', the model is right for {row['_shifted']:.0f} % of the "
                f"pictures with {here}; {row['_models']:.0f} other models as good with {there} "
                f"would be for {row['_expected']:.0f} % by their common line: "
                f"{row['value']:+z.0f} points of effective robustness ({held}); {said(row, 1)}."
            )
        if row["metric"] == ACCURACY_CHANGE:
            return (
                f"Asked '{self.task}', the model is right for {row['_reference']:.0f} % of "
                f"{row['_n']:.0f} pictures with {there} and for {row['_shifted']:.0f} % of "
                f"{row['_m']:.0f} with {here}: {row['value']:+z.0f} points{over} ({held}); "
                f"{said(row, many)}."
            )
        return (
            f"Asked '{self.task}', from {there} to {here} the share of right labels changes by "
            f"{-row['_drop']:+z.0f} points for {row['attribute']} {row['group']} and by "
            f"{-row['_other']:+z.0f} for {row['other']}: {row['value']:z.0f} points apart, "
            f"{which} difference between two groups{f' over {many} sources' if many > 1 else ''} "
            f"({held}); {said(row, many)}."
        )


_NO_BASELINE: Final = (
    "effective robustness needs a table of other models' accuracies on both sources; name it as "
    "'baseline' of the probe"
)
_LINE: Final = "distance from the line of other models in logits; MOVER"


def _columns(groups: Groups, attribute: str) -> Integers:
    """Where an attribute's groups are, that of everyone included."""
    if attribute != EVERYONE:
        return groups.columns(attribute)
    return np.flatnonzero(groups.index.get_level_values("attribute") == EVERYONE)


@dataclass(frozen=True)
class _Sources:
    """Right labels counted in every source and group: one question in S x G cells.

    ``hits``: those of each subject in each cell, (subjects, S x G).
    """

    conditions: Sequence[str]
    counts: Counts
    groups: int
    hits: sparse.csr_array

    @classmethod
    def of(cls, rows: pd.DataFrame, conditions: Sequence[str], design: Design) -> _Sources:
        rows = rows[rows["truth"].notna()]
        groups = design.groups
        at = rows["image_id"].map(groups.rows).to_numpy(np.int64)
        source = pd.Index(conditions).get_indexer(pd.Index(rows["condition"]))
        inside = source[:, np.newaxis] == np.arange(len(conditions))
        member = inside[:, :, np.newaxis] & groups.member[at][:, np.newaxis]
        clusters = groups.clusters[at]
        right = (rows["predicted"] == rows["truth"]).to_numpy(bool)
        cells, subjects = member.reshape(len(rows), -1), len(groups.cluster_ids)
        counts = count(
            right[:, np.newaxis],
            cells,
            clusters,
            subjects,
            design.draws.weights,
            design.draws.rows(clusters),
        )
        whose = (right.astype(np.int64), (clusters, np.arange(len(rows))))
        hits = sparse.csr_array(whose, shape=(subjects, len(rows))) @ sparse.csr_array(cells)
        return cls(conditions, counts, len(groups.index), hits)

    @cached_property
    def sample(self) -> Sample:
        """All cells as one sample."""
        return sampled(self.counts)

    def subjects(self, cells: Sequence[int]) -> int:
        """How many subjects are in any of these cells."""
        return int((self.counts.seen[:, cells].sum(axis=1) > 0).sum())

    def cell(self, source: Any, groups: Integers) -> Integers:
        """Where these groups of a source are."""
        return np.asarray(source * self.groups + groups)

    def answered(self, source: int, groups: Integers, usable: Flags) -> Answered:
        """Answers of each subject in the reference and in one shifted source, by group."""
        cells = np.concatenate([self.cell(s, groups) for s in (0, source)])
        right, n = (
            counted[:, cells].toarray().astype(np.int64).reshape(-1, 2, len(groups))
            for counted in (self.hits, self.counts.seen)
        )
        return Answered(right, n, usable)


@dataclass(frozen=True)
class _Cells:
    """One attribute's groups in all sources: rows of MEASURES in points."""

    attribute: str
    at: Integers
    sources: _Sources
    design: Design

    @property
    def _confidence(self) -> Confidence:
        return self.design.confidence

    @cached_property
    def _standing(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        s = self.sources.sample
        status, reason = standing(s.n, s.subjects, self._confidence.min_group)
        return status[0], reason[0]

    def accuracies(self) -> Iterator[dict[str, Any]]:
        """Every group's share of right labels in every source."""
        sample = self.sources.sample
        low, high = rate_interval(sample, self._confidence.level)
        for s in range(len(self.sources.conditions)):
            for g, cell in enumerate(self.sources.cell(s, self.at)):
                yield self.row([s], [g]) | {
                    "metric": ACCURACY,
                    "value": 100 * sample.rate[0, cell],
                    "low": 100 * low[0, cell],
                    "high": 100 * high[0, cell],
                    "method": "at the effective number of pictures",
                    "status": self._standing[0][cell],
                    "reason": self._standing[1][cell],
                }

    def drops(self) -> Iterator[dict[str, Any]]:
        """How much more or less often the model is right for each group in each shifted source."""
        sample, ref, rest = self.sources.sample, *self._cells
        one, other = ref.ravel(), rest.ravel()
        ok = self._standing[0] == OK
        usable = ok[one] & ok[other]
        level = self._confidence.level
        found = compare(sample, other, one, usable[np.newaxis], level)
        d = found.difference
        for i, cell in enumerate(other):
            s, g = 1 + i // len(self.at), i % len(self.at)
            worse = one[i] if not ok[one[i]] else cell
            yield self.row([0, s], [g, g]) | {
                "metric": ACCURACY_CHANGE,
                **_points(d.value, d.low, d.high, d.low_all, d.high_all, at=(0, i)),
                "p": found.p[0, i],
                "q": found.q[0, i],
                "family_size": found.size,
                "method": "MOVER from both shares, max-T",
                "status": self._standing[0][worse],
                "reason": self._standing[1][worse],
                "_reference": 100 * sample.rate[0, one[i]],
                "_shifted": 100 * sample.rate[0, cell],
                "_n": sample.n[0, one[i]],
                "_m": sample.n[0, cell],
            }

    def apart(self) -> Iterator[dict[str, Any]]:
        """The two groups whose drops differ most, in each shifted source."""
        if self.at.size < 2:
            return
        sample, ref, rest = self.sources.sample, *self._cells
        ok = self._standing[0] == OK
        fine = ok[ref] & ok[rest]
        pairs = Pairs.of(fine, [self._name(g) for g in range(self.at.size)])
        compared = pairs.one, pairs.other, pairs.usable
        bounds = _apart(sample, ref, rest, *compared, self._confidence.level)
        drop = sample.rate[0, ref] - sample.rate[0, rest]
        gap = largest_gap(drop, pairs, *bounds)
        for q in range(len(rest)):
            some, a, b = bool(gap.some[q, 0]), int(gap.group[q, 0]), int(gap.other[q, 0])
            names = {k: self._name(g) if some else "" for k, g in (("group", a), ("other", b))}
            chance, dealt = self._by_chance(1 + q, fine[q]) if some else ({}, "")
            yield (
                self.row([0, 0, 1 + q, 1 + q], [a, b, a, b])
                | names
                | chance
                | {
                    "metric": UNEQUAL_DROP,
                    "value": 100 * gap.value[q, 0],
                    "low_simultaneous": 100 * gap.low[q, 0],
                    "high_simultaneous": 100 * gap.high[q, 0],
                    "family_size": int(pairs.usable.sum()),
                    "method": f"largest over pairs of MOVER from both drops, max-T{dealt}",
                    "status": OK if some else TOO_FEW,
                    "reason": str(gap.reason[q, 0]),
                    "_drop": 100 * drop[q, a],
                    "_other": 100 * drop[q, b],
                }
            )

    def _by_chance(self, source: int, usable: Flags) -> tuple[dict[str, float], str]:
        """The difference of drops if groups did not matter, and how subjects were dealt."""
        answered, design = self.sources.answered(source, self.at, usable), self.design
        found = drops_by_chance(
            answered, design.groups, self.attribute, design.confidence, design.seed
        )
        numbers, how = null_columns(found, 100)
        return (numbers[0] if numbers else {}), f"; {how}"

    def effective(self, s: int, baseline: Baseline, level: float) -> dict[str, Any]:
        """How much more often everyone's label is right than other models' line expects.

        Formula: ``p_shifted - expit(a + b logit(p_reference))``, its bounds by MOVER from those of
        both, with the correlation of the two shares where subjects are in both sources.
        Range: points from -100 to 100; above 0 the model keeps more than others of its reference
        accuracy. Undefined beyond the reference accuracies of the table, where the line is a guess.
        Does not show: any difference between groups.

        Source:
            Taori et al. (2020), arXiv 2007.00644, section 2 and appendix on logit axes.
        """
        sample = self.sources.sample
        ref, cell = (int(self.sources.cell(i, self.at)[0]) for i in (0, s))
        p, q = float(sample.rate[0, ref]), float(sample.rate[0, cell])
        row = self.row([0, s], [0, 0]) | {"_models": len(baseline.reference), "_shifted": 100 * q}
        worse = ref if self._standing[0][ref] != OK else cell
        if self._standing[0][worse] != OK:
            return row | {"status": self._standing[0][worse], "reason": self._standing[1][worse]}
        least, most = baseline.reference.min(), baseline.reference.max()
        if not least <= p <= most:
            return row | {"status": UNDEFINED, "reason": _beyond(p, least, most)}
        expected = baseline.expected(p)
        found = [
            _above_line(sample, ref, cell, baseline, at) for at in (self._confidence.level, level)
        ]
        (low, high), (low_all, high_all) = found
        return row | {
            "value": 100 * (q - expected),
            "low": 100 * low,
            "high": 100 * high,
            "low_simultaneous": 100 * low_all,
            "high_simultaneous": 100 * high_all,
            "family_size": len(self.sources.conditions) - 1,
            "_expected": 100 * expected,
        }

    @property
    def _cells(self) -> tuple[Integers, Integers]:
        """Cells of the reference and of the shifted sources, (shifted sources, groups) each."""
        number = len(self.sources.conditions)
        rest = np.stack([self.sources.cell(s, self.at) for s in range(1, number)])
        return np.broadcast_to(self.sources.cell(0, self.at), rest.shape), rest

    def _name(self, group: int) -> str:
        return str(self.design.groups.index[self.at[group]][1])

    def row(self, sources: Sequence[int], groups: Sequence[int]) -> dict[str, Any]:
        """What a row has whatever it measures: of these sources and groups, pairwise."""
        sample, c = self.sources.sample, self._confidence
        cells = [
            int(self.sources.cell(s, self.at[g])) for s, g in zip(sources, groups, strict=True)
        ]
        return {
            "condition": self.sources.conditions[sources[-1]],
            "attribute": self.attribute,
            "group": self._name(groups[0]),
            "n": int(sample.n[0, cells].sum()),
            "subjects": self.sources.subjects(cells),
            "events": int(sample.events[0, cells].sum()),
            "value": np.nan,
            "low_simultaneous": np.nan,
            "high_simultaneous": np.nan,
            "level": c.level,
            "family": f"{len(self.sources.conditions) - 1} sources by {self.attribute}",
            "margin": 100 * c.margin(_FAMILY).difference,
            "status": OK,
            "reason": "",
        }


def _points(*values: Floats, at: tuple[int, int]) -> dict[str, float]:
    names = ("value", "low", "high", "low_simultaneous", "high_simultaneous")
    return {name: 100 * float(v[at]) for name, v in zip(names, values, strict=True)}


def _beyond(accuracy: float, least: float, most: float) -> str:
    return (
        f"the model is right for {100 * accuracy:.0f} % of the reference, and the other models' "
        f"{100 * least:.0f} to {100 * most:.0f} % say nothing about it"
    )


def _apart(
    sample: Sample,
    ref: Integers,
    rest: Integers,
    one: Integers,
    other: Integers,
    usable: Flags,
    level: float,
) -> Bounds:
    """Simultaneous bounds of the differences of drops, (sources, pairs).

    Formula: with ``d = p_ref - p_rest`` of each group and its bounds (``difference_interval``),
    ``D = d1 - d2`` reaches from ``D - sqrt((d1 - l1)² + (u2 - d2)² - 2 r (d1 - l1)(u2 - d2))``
    to the like upwards; r, the correlation of the two drops in the cluster bootstrap, is 0 unless
    a subject is in both groups; one that would narrow is believed from 20 effective events on.
    The level is that of max-T over all (``each_level``).
    Range: from -2 to 2; contains D. nan where not usable. Measured: all of six hold in 94.5 to
    100 % of 200 to 400 worlds of 60 to 800 subjects, in one source each or in all three.

    Args:
        sample: One question in all cells.
        ref: Cells of the reference, (sources, groups).
        rest: Cells of the shifted sources, (sources, groups).
        one: First group of each pair.
        other: Second.
        usable: Which count, (sources, pairs).
        level: Of all together.

    Source:
        Zou, Donner (2008), Statistics in Medicine 27, 1693-1702.
    """
    assert sample.deviations is not None
    moved = sample.deviations[0, ref] - sample.deviations[0, rest]
    events = effective_events(sample)[0]
    few = np.minimum(events[ref], events[rest])
    _, levels = each_level(moved, few, one, other, usable, level)
    r = _correlations(sample, ref, rest, one, other, moved, few)
    d = sample.rate[0, ref] - sample.rate[0, rest]

    def bounds(at: float) -> Bounds:
        ends = difference_interval(sample, ref.ravel(), rest.ravel(), at)
        low, high = (end[0].reshape(ref.shape) for end in ends)
        down, up, apart = d - low, high - d, d[:, one] - d[:, other]
        return (
            apart - joined(down[:, one], up[:, other], r),
            apart + joined(up[:, one], down[:, other], r),
        )

    return bounds_at(levels, usable, bounds)


def _correlations(
    sample: Sample,
    ref: Integers,
    rest: Integers,
    one: Integers,
    other: Integers,
    moved: NDArray[np.float32],
    events: Floats,
) -> Floats:
    """Of the drops of both groups of each pair, 0 where no subject is in both."""
    r = np.asarray(correlated(moved[:, one], moved[:, other]))
    sides = [(a[:, one], b[:, other]) for a in (ref, rest) for b in (ref, rest)]
    together = np.logical_or.reduce([sample.shared[a, b] for a, b in sides])
    unsure = np.minimum(events[:, one], events[:, other]) < 20
    return np.where(together, np.where(unsure, np.minimum(r, 0.0), r), 0.0)


def _above_line(
    sample: Sample, ref: int, cell: int, baseline: Baseline, level: float
) -> tuple[float, float]:
    """Bounds of the distance of one cell's share from the line at another's."""
    low, high = (end[0] for end in rate_interval(sample, level))
    q, expected = float(sample.rate[0, cell]), baseline.expected(float(sample.rate[0, ref]))
    under, over = baseline.bounds(float(sample.rate[0, ref]), low[ref], high[ref], level)
    r = correlation(sample, np.array([cell]), np.array([ref]))[0] * np.sign(baseline.line[1])
    down = joined(q - low[cell], np.array(over - expected), r)
    up = joined(high[cell] - q, np.array(expected - under), r)
    return float(q - expected - down[0]), float(q - expected + up[0])


__all__ = [
    "ACCURACY",
    "ROBUSTNESS",
    "Baseline",
    "OtherModel",
    "Shift",
    "load_baseline",
]

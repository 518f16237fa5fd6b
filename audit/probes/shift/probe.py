"""The same classification on several sources of pictures: what is lost, and by whom?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from audit.core.arrays import Integers
from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Row
from audit.core.tables import (
    CHOICES,
    ENSEMBLE,
    EVERYONE,
    NOT_ASKED,
    NOT_JUDGED,
    OK,
    WITHIN,
    records,
)
from audit.core.verdicts import verdicts
from audit.data.dataset import Dataset
from audit.measure.measures import measured
from audit.measure.metrics import Groups
from audit.probes.kit.base import Design, Seen, require_column, require_values
from audit.probes.kit.bounds import simultaneous
from audit.probes.kit.changes import ACCURACY_CHANGE, said, surest
from audit.probes.kit.choice import Choice
from audit.probes.shift.baseline import FEWEST_MODELS, LINE, Baseline, OtherModel, load_baseline
from audit.probes.shift.rows import ACCURACY, FAMILY, NO_BASELINE, ROBUSTNESS, Cells, Sources


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
    def usual_task(self) -> str:
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
                f"{where}: column '{self.column}' holds '{self.reference}' only",
                "A shift needs two sources",
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
                    f"probe '{self.kind}': none of the pictures that 'only' names has "
                    f"'{name}' in column '{self.column}'",
                    "Loosen one of the two",
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
                    f"probe '{self.kind}': no picture with '{name}' in '{self.column}' has a "
                    f"known answer in '{self.truth}'",
                    "Accuracy needs one; leave that source out",
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
                f"{self.baseline}: {len(of_it)} models for the source '{source}'",
                suggest(source, {m.source for m in models if m.source}),
                f"A line needs {FEWEST_MODELS}, not all of one reference accuracy; with "
                "several sources each line also names its 'source'",
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
        return CHOICES.joined(tables)

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Accuracy by source and group, how each group's changes, and whose drop differs most.

        Formula: with p the share of right labels, the change of a group is ``p_shifted -
        p_reference`` with the bounds of ``audit.stats.multiplicity.compare``: MOVER from the two
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
        sources = Sources.of(rows, list(conditions), design)
        found: list[Row] = []
        for attribute in (EVERYONE, *design.groups.attributes):
            at = _columns(design.groups, attribute)
            cells = Cells(attribute, at, sources, design)
            found += [*cells.accuracies(), *cells.drops(), *cells.apart()]
        found += self._effective(conditions, sources, design)
        return self._told(pd.DataFrame(found), conditions)

    def _effective(
        self, conditions: Mapping[str, str], sources: Sources, design: Design
    ) -> Iterator[Row]:
        """Effective robustness on each shifted source, or why it can't be told."""
        everyone = Cells(EVERYONE, _columns(design.groups, EVERYONE), sources, design)
        level = 1 - (1 - design.confidence.level) / (len(conditions) - 1)
        for s, (condition, source) in enumerate(conditions.items()):
            if s:
                row = {"condition": condition, "metric": ROBUSTNESS}
                baseline = self._baseline(source, len(conditions) - 1)
                if baseline is None:
                    row |= {"status": NOT_ASKED, "reason": NO_BASELINE}
                    yield everyone.row([0, s], [0, 0]) | row
                else:
                    digest = {"method": f"{LINE}, table {self._others[1][:12]}"}
                    yield everyone.effective(s, baseline, level) | row | digest

    def _told(self, found: pd.DataFrame, conditions: Mapping[str, str]) -> pd.DataFrame:
        """Rows of MEASURES; of each question and attribute the surest has a statement."""
        ends = found["low_simultaneous"], found["high_simultaneous"]
        given = verdicts(*ends, found["margin"], whole=found["reason"] == "")
        judged = np.where(found["metric"] == ACCURACY, NOT_JUDGED, given)
        found = found.assign(statement="", verdict=judged)
        told = (found["status"] == OK) & (found["verdict"] != NOT_JUDGED)
        # everyone's drop tells the whole; a group's is in the table
        told &= (found["metric"] != ACCURACY_CHANGE) | (found["attribute"] == EVERYONE)
        for (metric, _), rows in found[told].groupby(["metric", "attribute"], sort=False):
            for at in rows.index if metric == ROBUSTNESS else [surest(rows)]:
                (row,) = records(found.loc[[at]])
                found.at[at, "statement"] = self._statement(row, conditions)
        every = {"unit": "points", "harm": "quality of service", "margin_family": FAMILY}
        kept = found.drop(columns=[c for c in found if str(c).startswith("_")])
        return measured(kept, probe=self.kind, task=self.task, **every)

    def _statement(self, row: Row, conditions: Mapping[str, str]) -> str:
        many = len(conditions) - 1
        here = f"{self.column} {conditions[row['condition']]}"
        there = f"{self.column} {self.reference}"
        held = simultaneous(row, "z.0f")
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


def _columns(groups: Groups, attribute: str) -> Integers:
    """Where an attribute's groups are, that of everyone included."""
    if attribute != EVERYONE:
        return groups.columns(attribute)
    return np.flatnonzero(groups.index.get_level_values("attribute") == EVERYONE)

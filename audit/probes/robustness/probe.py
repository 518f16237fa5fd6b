"""Poor footage: what do distance, blur, darkness, compression and fog cost, and whom most?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Literal, Self, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.errors import InputError, sentence
from audit.core.rows import Array, Fields, Row, Values, having
from audit.core.tables import (
    CHOICES,
    ENSEMBLE,
    EVERYONE,
    MEASURES,
    OK,
    WITHIN,
    records,
)
from audit.core.verdicts import verdicts
from audit.data.corruptions import camera
from audit.data.dataset import Dataset
from audit.data.labels import LabelSet
from audit.data.yamlfile import FieldError
from audit.measure.effects import Parts, asked_twice, change_interval
from audit.measure.measures import measured
from audit.measure.metrics import DEFAULT_FAMILY, METRICS, Groups, standing
from audit.measure.nulls import Dealt, null_columns, range_by_chance
from audit.probes.kit.base import Design, Seen, require_column, require_values
from audit.probes.kit.bounds import ends, simultaneous
from audit.probes.kit.changes import (
    ACCURACY_CHANGE,
    UNEQUAL_CHANGE,
    UNEQUAL_DROP,
    said,
    surest,
)
from audit.probes.kit.choice import Choice
from audit.probes.kit.footage import degradations
from audit.stats.changes import changes_of_gaps
from audit.stats.gaps import Pairs, largest_gap
from audit.store.embeddings import Alteration

#: ``metric`` of rows in points: how much the rate of everyone moves
RATE_CHANGE: Final = "change of rate"
#: before the name of a condition whose pictures were rendered or photographed, not painted
RENDERED: Final = "rendered: "

_WRONG: Final = "misclassification"
_FAMILY: Final = "family_selection"
_IMPLIED: Final = re.compile(r" \([^)]*\)")


class Rendered(BaseModel):
    """Pictures of the same people under other light or from elsewhere, named by a manifest column.

    Each is held against the one picture of its subject (``cluster_id``) that is as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(description="the manifest column that says what was changed")
    as_it_is: str = Field(description="its value where nothing was")
    values: tuple[str, ...] = Field(min_length=1, description="its values to look at")


class Robustness(Choice):
    """Choice by the highest similarity, on pictures seen by a plain camera and by poor ones.

    The headline condition ``ensemble`` is the picture through ``camera()``; each corruption and
    severity is a condition such as 'fog 3'. The same pictures are asked each time, so a change is
    counted picture by picture, and the *difference of drops* says whether a degradation costs one
    group more than another. What is ``rendered`` is measured likewise, by subject, in MEASURES.
    """

    asks: ClassVar[str] = (
        "Which label does the model choose when the footage is poor, and whom does that cost more?"
    )

    kind: Literal["robustness"] = "robustness"
    corruptions: tuple[str, ...] = Field((), description="names; 'docs/corruptions.md' has them")
    severities: tuple[int, ...] = Field(
        (1, 3, 5), min_length=1, description="of each corruption, from 1 (barely visible) to 5"
    )
    rendered: Rendered | None = Field(
        None, description="pictures of the same people taken otherwise, by a manifest column"
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if not (self.corruptions or self.rendered):
            raise ValueError(
                sentence(
                    "robustness without a degradation",
                    "Name 'corruptions', such as [fog, low light], or say what is 'rendered'",
                )
            )
        try:
            _ = self.degraded
        except InputError as error:
            raise FieldError(str(error), "corruptions") from error
        return self

    @property
    def usual_task(self) -> str:
        """The label set's name, and that footage is degraded."""
        return f"{self.labels.name}, robustness"

    @cached_property
    def degraded(self) -> Mapping[str, Alteration]:
        """What is done to the pictures in each condition but the headline."""
        return degradations(self.corruptions, self.severities)

    def alterations(self) -> tuple[Alteration, ...]:
        """The plain camera, then every degradation."""
        return (camera(), *self.degraded.values())

    def contrasts(self) -> tuple[str, ...]:
        """Every painted degradation; what is rendered shows other pictures."""
        return tuple(self.degraded)

    def compared(self) -> dict[str, tuple[str, ...]]:
        """The column of what is rendered."""
        what = self.rendered
        return {what.column: (what.as_it_is, *what.values)} if what else {}

    def resolve(self, dataset: Dataset) -> None:
        """Also check that what is rendered is there, each beside one picture as it is.

        Raises:
            InputError: as ``Choice``; a column, value or picture as it is that isn't there.
        """
        super().resolve(dataset)
        self.pictures(dataset)

    def pictures(self, dataset: Dataset) -> tuple[str, ...]:
        """Those that ``only`` names; of variants, those that ``rendered`` names alone.

        Raises:
            InputError: as ``Probe``; what ``rendered`` names isn't there or can't be paired.
        """
        chosen = super().pictures(dataset)
        if self.rendered is None:
            return chosen
        where = f"probe '{self.kind}': rendered"
        require_column(dataset, self.rendered.column, where)
        table = dataset.table.set_index("image_id").loc[list(chosen)]
        changed = table[self.rendered.column].dropna().astype(str)
        named = (self.rendered.as_it_is, *self.rendered.values)
        require_values(dataset, self.rendered.column, named, changed, where)
        self._require_pairs(changed, table["cluster_id"])
        other = changed.index[~changed.isin(named)]
        return tuple(table.index.difference(other, sort=False))

    def _require_pairs(self, changed: pd.Series[str], subjects: Values) -> None:
        """Every subject has one picture as it is."""
        assert self.rendered is not None
        where = f"probe '{self.kind}': rendered"
        variants = subjects[changed.index[changed.isin(self.rendered.values)]].unique()
        plain = subjects[changed.index[changed == self.rendered.as_it_is]].value_counts()
        unpaired = [s for s in variants if plain.get(s, 0) != 1]
        if unpaired:
            raise InputError(
                f"{where}: subject '{unpaired[0]}' has {plain.get(unpaired[0], 0)} pictures "
                f"with '{self.rendered.as_it_is}' in '{self.rendered.column}', not one",
                "To compare pictures that are no pairs use a 'shift' probe",
            )

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row of Choices for each picture and painted condition; variants have none.

        Of the manifest only the truth column is read, and the one that ``rendered`` names.
        """
        keys = seen.images.keys
        if self.rendered is not None:
            changed = seen.column(self.rendered.column)
            keys = tuple(changed.index[changed.isna() | (changed == self.rendered.as_it_is)])
        plain = seen.altered[camera().name].only(keys)
        shown = {ENSEMBLE: plain} | {
            name: seen.altered[what.name].only(plain.keys) for name, what in self.degraded.items()
        }
        tables = [self._answers(images, seen).assign(condition=c) for c, images in shown.items()]
        return CHOICES.joined(tables)

    def _rendered_rows(self, seen: Seen) -> Iterator[pd.DataFrame]:
        """Choices for the variants, each under the id of its subject's picture as it is."""
        if self.rendered is None:
            return
        changed, subjects = seen.column(self.rendered.column), seen.column("cluster_id")
        plain = subjects[changed == self.rendered.as_it_is]
        ids = pd.Series(plain.index, index=plain.to_numpy())
        for value in self.rendered.values:
            images = seen.altered[camera().name].only(changed.index[changed == value])
            rows = self._answers(images, seen).assign(condition=f"{RENDERED}{value}")
            beside = subjects.loc[list(images.keys)].map(ids).to_numpy()
            yield rows.assign(image_id=beside).dropna(subset=["image_id"])

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """How much each degradation moves everyone, and which two groups it moves most unequally.

        Formula: with e the share of wrong labels of a group through the plain camera and e' that
        under a degradation, its drop in accuracy is ``e' - e``; the difference of drops is the
        largest of ``|(e'_a - e_a) - (e'_b - e_b)|`` over pairs of groups a, b, its simultaneous
        bounds the largest lower and upper bound of any pair (``changes_of_gaps``), at a level that
        holds for all pairs and all degradations of an attribute at once. Likewise for the rate of
        a harmful family, or of each label where neither truth nor such a family is known.
        Chance: the largest of many noisy differences is large by itself. ``null_mean`` and
        ``null_high`` are its mean and quantile, and ``p`` the share as large, when whole subjects
        with all that they gained and lost are dealt anew to the groups (``permuted_range``).
        Range: points, from 0 to 200; higher is worse. Does not show: how good either group is
        served (RATES does), nor that a degradation which moves all alike is harmless.
        """
        every = pd.concat([rows, *self._rendered_rows(seen)], ignore_index=True)
        asked = dict(list(every.groupby("condition", sort=False)))
        before = asked.pop(ENSEMBLE).set_index("image_id")
        level = 1 - (1 - design.confidence.level) / len(asked)
        found: list[_Moved] = []
        for condition, changed in asked.items():
            for metric in self._counted:
                parts = asked_twice(
                    before, changed, metric, self.labels, design.groups, design.draws
                )
                if parts is not None:
                    dealt = _changes(before, changed, metric, self.labels, design.groups)
                    of = str(condition), metric, parts, dealt
                    found.append(_Moved(*of, design, level, len(asked)))
        chance = _by_chance(found, design)
        told = [row for one in found for row in (*one.everyone(), *one.apart(chance))]
        return self._told(pd.DataFrame(told)) if told else MEASURES.empty()

    @property
    def _counted(self) -> tuple[str, ...]:
        """What is counted: errors and harmful families; each label where there is neither."""
        counted = [_WRONG] * (self.truth is not None) + [_FAMILY] * bool(self.labels.families)
        return tuple(counted) or ("selection",)

    def _told(self, found: pd.DataFrame) -> pd.DataFrame:
        """Rows of MEASURES; of each question and attribute the surest has a statement."""
        done = {name: f"; {what.name}" for name, what in self.degraded.items()}
        ends = found["low_simultaneous"], found["high_simultaneous"]
        found = found.assign(
            statement="",
            verdict=verdicts(*ends, found["margin"], whole=found["reason"] == ""),
            harm=[self._harm(row) for row in records(found)],
            method=found["method"] + [done.get(c, "") for c in found["condition"]],
        )
        usable = having(found, status=OK)
        conditions = found["condition"].nunique()
        for _, rows in usable.groupby(["counted", "metric", "attribute"], sort=False):
            at = surest(rows)
            (row,) = records(found.loc[[at]])
            found.at[at, "statement"] = self._statement(row, conditions)
        kept = [name for name in found if name in MEASURES.columns]
        return measured(found[kept], probe=self.kind, task=self.task, unit="points")

    def _harm(self, row: Row) -> str:
        if row["counted"] == _WRONG:
            return "quality of service"
        if row["counted"] == _FAMILY:
            return self.labels.family_harm(row["label"]) or ""
        return next((x.harm or "" for x in self.labels.labels if x.text == row["label"]), "")

    def _statement(self, row: Row, conditions: int) -> str:
        which = "the largest" if row["verdict"] == WITHIN else "the surest"
        one = row["attribute"] == EVERYONE
        what = "change" if one else "difference between two groups"
        over = f" over {conditions} degradations" if conditions > 1 else ""
        moved = f"{row['value']:+z.0f} points" if one else f"{row['value']:z.0f} points apart"
        return (
            f"Asked '{self.task}', {self._shown(row['condition'])} {_how_often(row)} "
            f"{_of_everyone(row) if one else _of_two(row)}: {moved}, {which} {what}{over} "
            f"({simultaneous(row, 'z.0f')}); {said(row, conditions)}."
        )

    def _shown(self, condition: str) -> str:
        """A degradation with its quantities, less what they imply."""
        if condition not in self.degraded:
            return f"'{condition}'"
        quantities = self.degraded[condition].name.partition(": ")[2]
        return f"'{condition}' ({_IMPLIED.sub('', quantities)})"


def _changes(
    before: pd.DataFrame, rows: pd.DataFrame, metric: str, labels: LabelSet, groups: Groups
) -> Dealt:
    """1 where a picture gained what is counted and -1 where it lost it; as ``asked_twice``."""
    rows = having(rows, image_id=before.index)
    same = before.loc[rows["image_id"]].reset_index()
    one, other = (METRICS[metric](side, labels) for side in (same, rows))
    changed = other.happened.astype(np.int8) - one.happened.astype(np.int8)
    at = groups.at(rows["image_id"])
    return Dealt(changed, one.asked & other.asked, at)


#: of a condition, metric and attribute: columns of MEASURES, question by question
_Chance: TypeAlias = Mapping[tuple[str, str, str], Sequence[Fields]]


def _by_chance(moved: Sequence[_Moved], design: Design) -> _Chance:
    """How far apart the groups' changes would be if groups did not matter.

    Conditions asked of the same pictures are one table, so that the same deals serve them all.
    """
    alike: dict[bytes, list[_Moved]] = {}
    for one in moved:
        asked = one.dealt.at.tobytes() + one.dealt.asked.tobytes()
        alike.setdefault(asked, []).append(one)
    found: dict[tuple[str, str, str], list[Row]] = {}
    for several in alike.values():
        first = several[0].dealt
        values: NDArray[np.int8] = np.hstack([one.dealt.values for one in several])
        for attribute in design.groups.attributes:
            numbers = iter(_null_columns(Dealt(values, first.asked, first.at), attribute, design))
            for one in several:
                own = [next(numbers) for _ in one.parts.labels]
                found[one.condition, one.metric, attribute] = own
    return found


def _null_columns(dealt: Dealt, attribute: str, design: Design) -> list[Row]:
    """What chance gives of every question, or why that can't be told, in points."""
    found = range_by_chance(dealt, design.groups, attribute, design.confidence, design.seed)
    numbers, how = null_columns(found, 100)
    return [{"dealt": how} | own for own in numbers or [{}] * dealt.values.shape[1]]


@dataclass(frozen=True)
class _Moved:
    """What one condition does to one metric: rows of MEASURES, in points."""

    condition: str
    metric: str
    parts: Parts
    dealt: Dealt
    design: Design
    level: float
    conditions: int

    def everyone(self) -> Iterator[Row]:
        """How much the rate of everyone moves; of errors, how much accuracy does."""
        p, questions = self.parts, len(self.parts.labels)
        smallest = self.design.confidence.min_group
        status, reason = standing(p.gained.n, p.gained.subjects, smallest)
        at = int(np.flatnonzero(self.design.groups.index == (EVERYONE, EVERYONE))[0])
        each = 1 - (1 - self.level) / questions
        # a rise of errors is a fall of accuracy
        sign, swap = (-1.0, -1) if self.metric == _WRONG else (1.0, 1)
        alone, together = (
            change_interval(p.gained, p.lost, level=level)[::swap]
            for level in (self.design.confidence.level, each)
        )
        for q in range(questions):
            yield self._row(q, [at], EVERYONE) | {
                "metric": ACCURACY_CHANGE if self.metric == _WRONG else RATE_CHANGE,
                "group": EVERYONE,
                "value": sign * 100 * (p.gained.rate - p.lost.rate)[q, at],
                **ends(*alone, *together, at=(q, at), unit=100 * sign),
                "before": self._positive(p.before.rate[q, at]),
                "after": self._positive(p.after.rate[q, at]),
                "family_size": self.conditions * questions,
                "method": "paired: shares gained and lost, Bonferroni",
                "status": status[q, at],
                "reason": reason[q, at],
            }

    def _positive(self, rate: float) -> float:
        """A rate in points; of errors, the share of right labels."""
        return 100 * (1 - rate if self.metric == _WRONG else rate)

    def apart(self, chance: _Chance) -> Iterator[Row]:
        """The two groups of each attribute whose rates move most unequally, beside chance."""
        groups = self.design.groups
        for attribute in groups.attributes:
            at = groups.columns(attribute)
            if at.size > 1:
                names = groups.index.get_level_values("group").to_numpy(object)[at]
                beside = chance[self.condition, self.metric, attribute]
                rows = self._apart(attribute, at, [str(n) for n in names])
                yield from map(_with_chance, rows, beside)

    def _apart(self, attribute: str, at: Array, names: Sequence[str]) -> Iterator[Row]:
        parts = self.parts.of(at)
        sample, smallest = parts.gained, self.design.confidence.min_group
        pairs = Pairs.of(standing(sample.n, sample.subjects, smallest)[0] == OK, names)
        compared = pairs.one, pairs.other, pairs.usable
        found = changes_of_gaps(sample, parts.lost, *compared, self.level)
        change = sample.rate - parts.lost.rate
        gap = largest_gap(change, pairs, found.low_all, found.high_all)
        sign = -1.0 if self.metric == _WRONG else 1.0
        for q in range(len(parts.labels)):
            a, b = int(gap.group[q, 0]), int(gap.other[q, 0])
            yield self._row(q, [at[a], at[b]], attribute) | {
                "metric": UNEQUAL_DROP if self.metric == _WRONG else UNEQUAL_CHANGE,
                **gap.row(names, q, 100),
                "moves": sign * 100 * change[q, a],
                "other_moves": sign * 100 * change[q, b],
                "family_size": found.size * self.conditions,
                "method": "largest over pairs of paired changes, max-T",
            }

    def _row(self, q: int, at: Sequence[int], attribute: str) -> Row:
        """What a row of the q-th question has whatever it measures; ``at``: its groups."""
        p, confidence = self.parts, self.design.confidence
        changed = p.gained.events + p.lost.events
        family = p.families[q] or DEFAULT_FAMILY
        return {
            "counted": self.metric,
            "condition": self.condition,
            "label": "" if self.metric == _WRONG else p.labels[q],
            "margin_family": family,
            "n": int(p.gained.n[q, at].sum()),
            "subjects": int(p.gained.subjects[q, at].sum()),
            "events": int(changed[q, at].sum()),
            "level": confidence.level,
            "attribute": attribute,
            "family": f"{self.metric} under {self.conditions} degradations, by {attribute}",
            "margin": 100 * confidence.margin(family).difference,
        }


def _with_chance(row: Row, chance: Fields) -> Row:
    """The row with its null; one without a value has none."""
    if row["status"] != OK:
        return row
    numbers = {name: value for name, value in chance.items() if name != "dealt"}
    return row | numbers | {"method": f"{row['method']}; {chance['dealt']}"}


def _how_often(row: Row) -> str:
    """What is counted, with the change as its verb."""
    if row["counted"] == _WRONG:
        return "changes how often the model chooses the right label"
    family = "a label of the family " if row["counted"] == _FAMILY else ""
    return f"changes how often the model chooses {family}'{row['label']}'"


def _of_everyone(row: Row) -> str:
    return f"from {row['before']:.0f} % to {row['after']:.0f} % of {row['n']} pictures"


def _of_two(row: Row) -> str:
    return (
        f"by {row['moves']:+z.0f} points for pictures with {row['attribute']} {row['group']} and "
        f"by {row['other_moves']:+z.0f} for those with {row['other']}"
    )

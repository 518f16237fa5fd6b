"""Alarms: a threshold on the score of some labels, held against events that are known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from audit.core.arrays import Floats
from audit.core.errors import InputError, sentence
from audit.core.registry import unknown
from audit.core.rows import Row
from audit.core.tables import ENSEMBLE, EVERYONE, NOT_JUDGED, SCORES, require_finite
from audit.data.dataset import Dataset
from audit.data.labels import LabelSet
from audit.data.remarks import Remark
from audit.measure.measures import measured
from audit.models.encoder import Gives, Texts
from audit.probes.alarms.rows import CUT_SHORT, MARGINS
from audit.probes.alarms.rows import Alarms as Rows
from audit.probes.alarms.units import ANY, Rule, Units
from audit.probes.kit.base import Design, Seen, require_column
from audit.probes.kit.choice import Choice
from audit.probes.kit.footage import FOOTAGE_KEYS, InPoorFootage
from audit.store.embeddings import Embeddings


def _on_the_scale(value: object) -> object:
    if isinstance(value, int | float) and not 0 < value < 1:
        told = f"got {value:g}; scores and shares are greater than 0 and less than 1"
        step = "Write 0.05 for 5 percent; recorded scores of another scale say so (docs/records.md)"
        raise ValueError(sentence(told, step))
    return value


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(set(values)))


_Share = Annotated[float, Field(gt=0, lt=1), BeforeValidator(_on_the_scale)]
_Shares = Annotated[tuple[_Share, ...], AfterValidator(_rising)]


class Together(BaseModel):
    """Pictures that are one event together: the frames of a clip, a track, a visit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(description="the manifest column that names the clip of each frame")
    rule: Rule = Field(
        ANY,
        description="what raises its alarm: 'any' frame, 'all' of them, the 'mean' of their "
        "scores, or a number: at least so many frames",
    )


class Workload(BaseModel):
    """What the alarms are for whoever watches: stated, since no audit can see it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_hour: float = Field(gt=0, description="pictures (or clips) that a camera gives an hour")
    prevalence: float | None = Field(None, description="share of these with an event")
    cameras: int = Field(1, ge=1, description="watched at once")

    @field_validator("prevalence")
    @classmethod
    def _is_a_share(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value < 1:
            told = f"got {value:g}, and precision is settled without a model where no picture, or "
            told += "every one, has an event"
            raise ValueError(sentence(told, "State a share between 0 and 1, such as 0.001"))
        return value

    @model_validator(mode="after")
    def _is_stated(self) -> Self:
        if self.prevalence is None:
            told = "'prevalence' is not stated, and how many alarms are right depends on it"
            step = "State the share of pictures with an event where the system is used"
            raise ValueError(sentence(told, step))
        return self


class Alarms(InPoorFootage, Choice):
    """Raises an alarm where the score of the alarm's labels reaches a threshold.

    The score of several labels is the sum of theirs where scores are a softmax over the set, and
    the highest of theirs where each label has a score of its own. An event is a picture whose right
    label, by ``truth``, is one of the alarm's; every rate is conditional on that, so that the share
    of events in the data moves none. Without a truth only the rate of alarms is known.
    """

    asks: ClassVar[str] = (
        "How often is there a false alarm, how often is an event missed, and for whom, at the "
        "threshold in use and at every other?"
    )
    # its name is in plans sealed before
    later: ClassVar = FOOTAGE_KEYS
    emits: ClassVar = SCORES
    needs: ClassVar[Gives] = "scores"
    bounded: ClassVar = True
    gated: ClassVar = MARGINS

    kind: Literal["alarms"] = "alarms"
    alarm: tuple[str, ...] = Field(
        min_length=1,
        description="labels that raise an alarm, by key or by a family's tag; others are contrast",
    )
    thresholds: _Shares = Field((), description="scores from which on there is an alarm")
    false_alarm_rates: _Shares = Field(
        (), description="shares of pictures without an event that may raise one: the threshold is "
        "chosen so on one half of the subjects, and judged on the other",
    )  # fmt: skip
    together: Together | None = Field(None, description="pictures that are one event together")
    workload: Workload | None = Field(None, description="pictures an hour, prevalence and cameras")

    @model_validator(mode="after")
    def _has_a_threshold(self) -> Self:
        if not (self.thresholds or self.false_alarm_rates):
            told = "no operating point: neither 'thresholds' nor 'false_alarm_rates' is given"
            raise ValueError(sentence(told, "Give the threshold in use, such as [0.5]"))
        for key in ("false_alarm_rates", "workload"):
            if getattr(self, key) and self.truth is None:
                told = f"'{key}' needs to know which pictures show an event"
                raise ValueError(sentence(told, "Name the column in 'truth', or leave it out"))
        return self

    @property
    def usual_task(self) -> str:
        """The label set's name, and that it raises alarms."""
        return f"{self.labels.name}, alarms"

    @cached_property
    def raising(self) -> tuple[int, ...]:
        """Where the alarm's labels stand in the set.

        Raises:
            InputError: one is no label of it, or none is left to hold them against.
        """
        places = {name: tuple(at) for name, at in self.labels.families.items()}
        places |= {label.key: (i,) for i, label in enumerate(self.labels.labels)}
        for key in self.alarm:
            if key not in places:
                where = f"label set '{self.labels.name}': alarm"
                raise unknown("label or family", key, places, where=where)
        raising = sorted({i for key in self.alarm for i in places[key]})
        if len(raising) == len(self.labels.labels):
            told = f"label set '{self.labels.name}': every label raises the alarm"
            raise InputError(told, "Leave one out, to hold the others against it")
        return tuple(raising)

    @property
    def alarm_name(self) -> str:
        """The alarm's labels, as tables call them."""
        return ", ".join(self.labels.labels[i].text for i in self.raising)

    def resolve(self, dataset: Dataset) -> None:
        """Also check the alarm's labels, that there are events and others, and the clips.

        Raises:
            InputError: as ``Choice``; pictures of one sort only; no column of clips, or a clip
                whose pictures are of several subjects.
        """
        super().resolve(dataset)
        raising = self.raising
        keys = self.pictures(dataset)
        places = self.right_places(dataset, keys)
        if places is not None:
            events, known = np.isin(places, raising).sum(), (places >= 0).sum()
            if events in (0, known):
                told = f"'{self.task}': {'every' if events else 'no'} picture of known truth in "
                told += f"'{self.truth}' is an event ({self.alarm_name})"
                step = "Ask about pictures of both sorts, or leave 'truth' out"
                raise InputError(told, step)
        if self.together is None:
            return
        where = f"probe '{self.kind}': together"
        if dataset.card.most_per_cluster is not None:
            told = (
                f"{where}: 'most_per_cluster' takes pictures out of clips, whose alarm and truth "
            )
            step = "Take the cap out, or ask 'only' of some clips"
            raise InputError(f"{told}are those of all of their pictures", step)
        require_column(dataset, self.together.column, where)
        table = dataset.table.set_index("image_id", drop=False).loc[list(keys)]
        clips = table[self.together.column]
        if clips.isna().any():
            told = f"{where}: column '{self.together.column}' is empty for {clips.isna().sum():,} "
            step = "Give each picture without a clip a name of its own, or ask 'only' of the others"
            raise InputError(f"{told}of {len(clips):,} pictures", step)
        several = table["cluster_id"].groupby(clips).nunique()
        if (several > 1).any():
            told = f"{where}: pictures of '{several.idxmax()}' are of {several.max()} subjects"
            step = "Let the data card's 'cluster_column' name what holds whole clips: the video"
            raise InputError(told, step)

    def remarks(self, dataset: Dataset) -> Iterator[Remark]:
        """Also unknown truth, clips of one frame, and clips too short for what their rule asks."""
        yield from super().remarks(dataset)
        if self.truth is not None:
            given = dataset.texts(self.truth).reindex(list(self.pictures(dataset)))
            if empty := int(given.isna().sum()):
                told = f"'{self.task}': '{self.truth}' is empty for {empty:,} of {len(given):,} "
                yield Remark(f"{told}pictures, which are in no error rate", task=self.task)
        if self.together is None:
            return
        keys = list(self.pictures(dataset))
        clips = dataset.table.set_index("image_id", drop=False).loc[keys, self.together.column]
        sizes = clips.value_counts()
        if (sizes == 1).all():
            told = f"'{self.task}': every '{self.together.column}' has one picture, so pictures "
            yield Remark(f"{told}are what is counted", task=self.task, of_answers=False)
        rule = self.together.rule
        if isinstance(rule, int) and (short := int((sizes < rule).sum())):
            told = f"'{self.task}': {short:,} of {len(sizes):,} clips have fewer than {rule} "
            yield Remark(f"{told}pictures and raise no alarm", task=self.task, of_answers=False)

    def label_sets(self) -> tuple[LabelSet, ...]:
        """The one label set asked about."""
        return (self.labels,)

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row a picture, as it is and in all other footage: the score of the alarm's labels.

        Raises:
            InputError: the model gives no scores, or some that are not finite.
        """
        if not seen.texts.scoring.known:
            told = (
                f"'{self.task}': the model gives no scores from 0 to 1, by which alarms are raised"
            )
            raise InputError(told, "Ask a classification of the same labels instead")
        shown = {ENSEMBLE: seen.images} | {
            name: seen.altered[what.name].only(seen.images.keys)
            for name, what in self.footage.items()
        }
        tables = [
            pd.DataFrame(
                {"image_id": list(images.keys), "value": self._scores(images, seen.texts)}
            ).assign(condition=condition)
            for condition, images in shown.items()
        ]
        fixed = {"probe": self.kind, "task": self.task, "label": self.alarm_name}
        return SCORES.joined([SCORES.conform(table.assign(**fixed)) for table in tables])

    def _scores(self, images: Embeddings, texts: Texts) -> Floats:
        classes = self.classes(texts, self.labels)
        similarity = images.vectors.astype(np.float64, copy=False) @ classes.T
        of_labels = texts.scoring.of_all(similarity)[:, self.raising]
        softmax = texts.scoring.kind == "softmax"
        score = of_labels.sum(axis=1) if softmax else of_labels.max(axis=1)
        require_finite(score, f"'{self.task}': scores")
        return np.asarray(score, dtype=np.float64)

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Rates at each operating point and over all thresholds, gaps, and what they cost.

        ``condition`` names the operating point or, of points of a curve, the threshold. Units are
        pictures, or clips of them. Formulas: false alarm rate, ``alarms / units`` among units
        without an event; detection rate, the same among events. With p the prevalence, d and f the
        two rates and h the units an hour: alarms an hour ``h (p d + (1 - p) f)``, precision
        ``p d / (p d + (1 - p) f)``, reviews per true alarm its inverse; their bounds are those of
        the corners of both rates' intervals, each at half of the error, so they hold at least as
        often as stated. In other footage the same thresholds are judged on the same units.
        Range: shares from 0 to 1. Does not show: how soon an event is noticed, whether anybody
        looks at an alarm, anything about cameras and hours that are not in the data.
        """
        keys, lost = self._in_whole_clips(seen)
        truth = self.right_places(seen.dataset, keys)
        event = None if truth is None else np.where(truth < 0, -1, np.isin(truth, self.raising))
        scores = rows.pivot(index="image_id", columns="condition", values="value").loc[list(keys)]

        def units(condition: str) -> Units:
            found = Units.of(keys, scores[condition].to_numpy(float), event, design.groups)
            if self.together is None:
                return found
            clips = seen.column(self.together.column).loc[list(keys)].astype(str).to_numpy()
            return found.together(clips, self.together.rule)

        poor = {name: units(name).score for name in self.footage}
        found = Rows(self, units(ENSEMBLE), design, poor)
        every = {"probe": self.kind, "task": self.task, "label": self.alarm_name}
        return measured([*lost, *found.every()], level=design.confidence.level, **every)

    def _in_whole_clips(self, seen: Seen) -> tuple[tuple[str, ...], list[Row]]:
        """Pictures of clips none of whose pictures was set aside, and a row that counts the others.

        Without one of its pictures nobody knows whether a clip shows an event or raises an alarm.
        """
        keys = seen.images.keys
        if self.together is None:
            return keys, []
        asked = list(self.pictures(seen.dataset))
        clips = seen.dataset.table.set_index("image_id", drop=False).loc[
            asked, self.together.column
        ]
        cut = set(clips[~clips.index.isin(keys)])
        if not cut:
            return keys, []
        whole = tuple(key for key in keys if clips[key] not in cut)
        if not whole:
            told = (
                f"'{self.task}': every '{self.together.column}' lost a picture that was set aside"
            )
            step = "Mend the pictures in private/quarantined.csv, or ask without 'together'"
            raise InputError(told, step)
        row = {"metric": CUT_SHORT, "condition": ENSEMBLE, "attribute": EVERYONE}
        row |= {"group": EVERYONE, "unit": "clips", "verdict": NOT_JUDGED}
        return whole, [row | {"value": float(len(cut)), "n": int(clips.nunique())}]

"""Published mitigations as conditions of a question, so that what they change and cost is seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from audit.core.arrays import Floats
from audit.core.errors import InputError, sentence
from audit.core.tables import CHOICES, ENSEMBLE, MEASURES, NOT_JUDGED
from audit.data.dataset import Dataset
from audit.data.labels import Label, LabelSet, load_label_set, prompt
from audit.measure.measures import measured
from audit.measure.metrics import METRICS, Groups
from audit.probes.kit.base import Design, Seen, Texts
from audit.probes.kit.changes import accuracy_changes, changes, gap_changes
from audit.probes.kit.choice import Choice
from audit.stats.mitigation import (
    calibrated,
    keep,
    least_informative,
    project,
    projection,
    teaching_half,
)

if TYPE_CHECKING:
    from audit.store.embeddings import Embeddings


#: ``metric`` of rows: how many dimensions or directions a condition takes away
REMOVED: Final = "dimensions removed"
#: how the names of conditions with one label more begin; they leave all other tasks as they are
COUNTER_LABEL: Final = "counter-label"
#: how the names of the controls begin: dimensions that were drawn, not chosen
RANDOM: Final = "random dimensions"
_PLACES: Final = ("{}", "{protected}")

#: what is looked at first in a task, where it has any
_METRICS: Final = ("misclassification", "family_selection", "selection")


def _both_places(template: str) -> str:
    rest = template
    for place in _PLACES:
        if template.count(place) != 1:
            raise ValueError(
                f"'{template}' has {template.count(place)} places {place}; write {{}} once, where "
                "the label goes, and {protected} once, where the protected group is named"
            )
        rest = rest.replace(place, "")
    if "{" in rest or "}" in rest:
        raise ValueError(f"'{template}' has braces other than {{}} and {{protected}}")
    return template


def _distinct(values: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(dict.fromkeys(values))


Share = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Once = AfterValidator(_distinct)


@dataclass(frozen=True)
class _Changed:
    """Pictures and class embeddings under a mitigation, and how much it took away, of what."""

    images: Embeddings
    classes: Floats
    removed: int
    how: str
    taught: int = 0


class Mitigation(Choice):
    """Choices before and after each mitigation, by people who had no part in fitting it.

    Subjects are dealt into a teaching half and a held-out half by a hash of their id; all rows, the
    headline condition ``ensemble`` included, are of the held-out half. What learns from pictures
    learns from the other half alone. The mitigations of ``audit.stats.mitigation``:

    - ``projection``: the prompts that name the protected groups (``named_by``), or the differences
      between them, are projected out of the class embeddings; pictures stay as they are.
    - ``calibrated projection``: the same, and prompts that say the same of different groups are
      drawn together by ``weights``.
    - ``fewer dimensions``: the share ``keep`` of the dimensions that say least of the attribute;
      beside it **random dimensions**, as many but any, which shows what leaving out alone does.
    - ``counter-label``: one label more to choose from.

    Each must pay for itself: ask a second task with ``truth`` under the same mitigations, and the
    report puts the change of its accuracy beside the change of the gap.
    """

    asks: ClassVar[str] = (
        "Which label does the model choose before and after each mitigation, for people who had no "
        "part in fitting it?"
    )
    whole: ClassVar[str] = (
        "a mitigation is fitted on one half of the subjects and judged on the other; memory is "
        "about twice the embeddings"
    )

    kind: Literal["mitigation"] = "mitigation"
    attribute: str = Field(description="what answers should depend on less; also says who teaches")
    named_by: str | None = Field(
        None, description="the label set whose labels name the protected groups, to project out"
    )
    directions: Annotated[tuple[Literal["prompts", "differences"], ...], Once] = Field(
        ("prompts",), description="project out these prompts, or only how they differ"
    )
    weights: Annotated[tuple[Weight, ...], Once] = Field(
        (1000.0,), description="of pairs in the calibrated projection; none leaves it out"
    )
    pairs: Annotated[str, AfterValidator(_both_places)] = Field(
        "a photo of a {}, {protected}.", description="prompt that names a label and a group"
    )
    contents: str | None = Field(
        None, description="the label set whose labels the pairs are about; this task's own if none"
    )
    keep: Annotated[tuple[Share, ...], Once] = Field(
        (0.78,), description="shares of the dimensions to keep; none leaves it out"
    )
    counter_labels: tuple[str | Label, ...] = Field(
        (), description="declared additions, or labels, each offered as one more"
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not (self.named_by or self.keep or self.counter_labels):
            raise ValueError("no mitigation; give 'named_by', 'keep' or 'counter_labels'")
        return self

    @property
    def usual_task(self) -> str:
        """The label set's name, and what the mitigations are for."""
        return f"{self.labels.name}, mitigated for {self.attribute}"

    def other_sets(self) -> tuple[LabelSet, ...]:
        """What names the protected groups, and what the calibrated projection's pairs are about."""
        named = () if self.protected is None else (self.protected,)
        return (*named, *((self.said_of_pairs,) if self.contents else ()))

    @cached_property
    def protected(self) -> LabelSet | None:
        """The label set that names the protected groups.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return load_label_set(self.named_by) if self.named_by else None

    @cached_property
    def said_of_pairs(self) -> LabelSet:
        """The label set whose labels the pairs of the calibrated projection are about.

        Raises:
            InputError: no such set, or it isn't well formed.
        """
        return load_label_set(self.contents) if self.contents else self.labels

    @cached_property
    def offered(self) -> Mapping[str, Choice]:
        """Per counter-label, the same question with this label to choose from, too.

        Raises:
            InputError: no such addition, or it is in the set already.
        """
        asked = {}
        for label in self.counter_labels:
            # an addition may be a label here, which the YAML of a classification can't say
            add = cast("tuple[str, ...]", (*self.add, label))
            one = Choice.model_construct(
                kind=self.kind, label_set=self.label_set, add=add, templates=self.templates
            )
            asked[f"{COUNTER_LABEL}: {one.labels.texts[-1]}"] = one
        return asked

    def contrasts(self) -> tuple[str, ...]:
        """Every mitigation; a name says all that decides it, so that tasks can be put together."""
        names = [name for name, _, _ in self._projections()]
        for share in self.keep:
            names += [self._fewer(share), self._random(share)]
        return (*names, *self.offered)

    def _projections(self) -> Iterator[tuple[str, str, float | None]]:
        """Name, directions and weight (None: plain) of each projection."""
        if self.protected is None:
            return
        away = self.protected.name
        for directions in self.directions:
            yield f"projection ({directions} of {away})", directions, None
            for weight in self.weights:
                pairs = f"pairs about {self.said_of_pairs.name}, weight {weight:g}"
                yield f"calibrated projection ({directions} of {away}, {pairs})", directions, weight

    def _fewer(self, share: float) -> str:
        return f"fewer dimensions ({100 * share:g}% kept, least of {self.attribute})"

    def _random(self, share: float) -> str:
        return f"{RANDOM} ({100 * share:g}% kept)"

    def sensitive(self) -> Iterator[str]:
        """The label set, also where only a counter-label makes it one to acknowledge."""
        yield from super().sensitive()
        offered = any(one.labels.needs_acknowledgement for one in self.offered.values())
        if offered and not self.labels.needs_acknowledgement:
            yield self.labels.name

    def resolve(self, dataset: Dataset) -> None:
        """Load every set and check that the mitigations can be fitted and can leave something.

        Raises:
            InputError: as ``Choice``; an attribute that makes no two groups; a protected
                set that is the one asked about.
        """
        super().resolve(dataset)
        _ = self.protected, self.said_of_pairs, self.offered
        groups = dataset.grouping(self.attribute).reindex(list(self.pictures(dataset)))
        if groups.nunique() < 2:
            raise InputError(
                f"{self._where}: attribute: fewer than two groups by '{self.attribute}' among "
                "the pictures asked about",
                "Name another attribute, or ask about more pictures",
            )
        self._require_something_left()

    def _require_something_left(self) -> None:
        if self.protected is None:
            return
        if self.protected.name == self.labels.name:
            raise InputError(
                f"{self._where}: named_by: '{self.protected.name}' is what is asked about, so "
                "that nothing would be left of the labels",
                "Ask another label set, or leave 'named_by' out and use 'keep'",
            )
        same = sorted({*self.protected.texts} & {*self.labels.texts})
        if same and "prompts" in self.directions:
            raise InputError(
                f"{self._where}: named_by: '{same[0]}' is in '{self.protected.name}', which is "
                "projected out, so nothing would be left of this label",
                "Ask another label set, or write 'directions: [differences]'",
            )

    @property
    def _where(self) -> str:
        return f"mitigation of '{self.labels.name}'"

    def asked_texts(self, dataset: Dataset, seed: int) -> Iterator[str]:
        """Labels with and without counter-labels, the protected set, and pairs said of it."""
        protected = () if self.protected is None else (self.protected,)
        for labels in (self.labels, *(one.labels for one in self.offered.values()), *protected):
            yield from self._in_headline(labels)
        if self.protected is not None and self.weights:
            yield from self._said(self.protected).values()

    def _said(self, protected: LabelSet) -> dict[tuple[str, str], str]:
        """What is said of each label and protected group."""
        return {
            (label, group): prompt(self.pairs.replace("{protected}", group), label, "right")
            for label in self.said_of_pairs.texts
            for group in protected.texts
        }

    # ---- choices before and after ---------------------------------------------------------------

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row of Choices for each held-out picture and condition.

        The truth column of held-out pictures, and the attribute of those that teach, are read.

        Raises:
            InputError: a mitigation can't be fitted: too few subjects, an attribute that has one
                group among those who teach, prompts that say the same.
        """
        teaches = self._teaches(seen)
        held = _picked(seen.images, ~teaches)
        truth = self._truth(seen.dataset).reindex(pd.Index(held.keys)).to_numpy()
        scoring = seen.texts.scoring
        before = self.classes(seen.texts, self.labels)
        tables = [self._choose(held, before, scoring).assign(condition=ENSEMBLE)]
        for name, changed in self._mitigated(seen, teaches):
            chosen = self._choose(changed.images, changed.classes, scoring)
            tables.append(chosen.assign(condition=name))
        for name, asked in self.offered.items():
            chosen = asked._choose(held, asked.classes(seen.texts, asked.labels), scoring)
            tables.append(chosen.assign(condition=name, probe=self.kind, task=self.task))
        every = pd.concat([table.assign(truth=truth) for table in tables], ignore_index=True)
        return CHOICES.conform(every)

    def _teaches(self, seen: Seen) -> NDArray[np.bool_]:
        """Which pictures a mitigation may learn from; the others are judged."""
        try:
            return teaching_half(seen.column("cluster_id").astype(str).to_numpy(), seen.seed)
        except ValueError as error:
            raise self._refused("halves", error) from error

    def _refused(self, what: str, error: ValueError) -> InputError:
        return InputError(sentence(f"{self._where}: {what}: {error}"))

    def _mitigated(self, seen: Seen, teaches: NDArray[np.bool_]) -> Iterator[tuple[str, _Changed]]:
        """Pictures and class embeddings under each mitigation but counter-labels."""
        held = _picked(seen.images, ~teaches)
        for name, directions, weight in self._projections():
            try:
                yield name, self._projected(held, seen.texts, directions, weight)
            except ValueError as error:
                raise self._refused(name, error) from error
        for share in self.keep:
            try:
                yield from self._cut(held, seen, teaches, share)
            except ValueError as error:
                raise self._refused(self._fewer(share), error) from error

    def _projected(
        self, held: Embeddings, texts: Texts, directions: str, weight: float | None
    ) -> _Changed:
        """Class embeddings after a projection; the pictures stay as they are."""
        assert self.protected is not None
        named = self.classes(texts, self.protected)
        away = named if directions == "prompts" else named[1:] - named[0]
        matrix = projection(away) if weight is None else self._calibrated(away, texts, weight)
        how = f"{len(away)} directions projected out of the labels' embeddings"
        how += "" if weight is None else ", calibrated by pairs of prompts"
        classes = project(self.classes(texts, self.labels), matrix)
        return _Changed(held, classes, len(away), how)

    def _calibrated(self, away: Floats, texts: Texts, weight: float) -> Floats:
        """The matrix that also draws together what is said of different groups."""
        assert self.protected is not None
        groups = self.protected.texts
        said = self._said(self.protected)
        vectors = dict(zip(said, texts.encode(list(said.values())), strict=True))
        pairs = [
            (vectors[label, one], vectors[label, other])
            for label in self.said_of_pairs.texts
            for one, other in combinations(groups, 2)
        ]
        one, other = (np.stack(side) for side in zip(*pairs, strict=True))
        return calibrated(away, one, other, weight)

    def _cut(
        self, held: Embeddings, seen: Seen, teaches: NDArray[np.bool_], share: float
    ) -> Iterator[tuple[str, _Changed]]:
        """Pictures and classes in the dimensions that say least of the attribute, and in any."""
        groups = seen.dataset.grouping(self.attribute).reindex(list(seen.images.keys))
        known = teaches & groups.notna().to_numpy()
        d = seen.images.vectors.shape[1]
        m = min(max(round(share * d), 1), d - 1)
        codes = pd.factorize(groups[known])[0]
        least = least_informative(seen.images.vectors[known], codes, m)
        rng = np.random.default_rng([seen.seed, m])
        random = np.sort(rng.choice(d, m, replace=False))
        classes = self.classes(seen.texts, self.labels)
        for name, kept, which, taught in (
            (self._fewer(share), least, f"say most of {self.attribute}", int(known.sum())),
            (self._random(share), random, "were drawn at random", 0),
        ):
            images = replace(held, vectors=keep(held.vectors, kept))
            how = f"of {d} dimensions, the {d - m} that {which} are left out of both sides"
            yield name, _Changed(images, np.asarray(keep(classes, kept)), d - m, how, taught)

    # ---- what it did ----------------------------------------------------------------------------

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """What each mitigation takes away, and how the leading gap and the accuracy change.

        The leading gap is chosen on the teaching half, so that the held-out half, on which it is
        judged, had no part in the choice: a gap that was chosen for its size on the same pictures
        would shrink by itself.
        """
        effects = changes(self, rows, self.labels, design)
        teaches = self._teaches(seen)
        controls = [self._random(share) for share in self.keep]
        told = [name for name in self.contrasts() if name not in controls]
        tables = [
            measured(
                (
                    {
                        "condition": name,
                        "attribute": self.attribute,
                        "value": float(changed.removed),
                        "n": changed.taught,
                        "method": changed.how,
                    }
                    for name, changed in self._mitigated(seen, teaches)
                ),
                probe=self.kind, task=self.task, metric=REMOVED, unit="dimensions",
                verdict=NOT_JUDGED,
            ),
            accuracy_changes(effects, told),
        ]  # fmt: skip
        lead = self._leading(seen, design, teaches)
        if lead:
            # where the right label is known, the accuracy says what the mitigation costs
            tables.append(gap_changes(effects, lead, () if self.truth else told))
        return MEASURES.joined(tables)

    def _leading(
        self, seen: Seen, design: Design, teaches: NDArray[np.bool_]
    ) -> tuple[str, str, str] | None:
        """Metric, label and attribute of the widest gap among those who teach, if any."""
        images = _picked(seen.images, teaches)
        chosen = self._answers(images, seen)
        groups = design.groups.only(images.keys)
        own = [self.attribute] if self.attribute in groups.attributes else groups.attributes
        for metric in _METRICS:
            events = METRICS[metric](chosen, self.labels)
            if not (events.labels and events.asked.any()):
                continue
            happened, few = events.happened[events.asked], design.confidence.min_group
            found = [_widest(happened, groups, events.asked, a, few) for a in own if " x " not in a]
            gap, label, attribute = max(found, default=(np.nan, 0, ""))
            return (metric, events.labels[label], attribute) if gap >= 0 else None
        return None


def _picked(images: Embeddings, which: NDArray[np.bool_]) -> Embeddings:
    return images.only([key for key, yes in zip(images.keys, which, strict=True) if yes])


def _widest(
    happened: NDArray[np.bool_],
    groups: Groups,
    asked: NDArray[np.bool_],
    attribute: str,
    few: int,
) -> tuple[float, int, str]:
    """The widest gap between groups large enough, and whose; below 0 where there is none."""
    member = groups.member[asked][:, groups.columns(attribute)].astype(float)
    n = member.sum(axis=0)
    # half of the pictures teach: what is too few there may be enough in the other half
    enough = n >= few / 2
    if enough.sum() < 2:
        return -1.0, 0, attribute
    share = (happened.astype(float).T @ member[:, enough]) / n[enough]
    gaps = share.max(axis=1) - share.min(axis=1)
    return float(gaps.max()), int(gaps.argmax()), attribute

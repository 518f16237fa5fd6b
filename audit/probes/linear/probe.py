"""A linear classifier taught on the embeddings, held against what the model answers itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import pandas as pd
import scipy
from pydantic import AfterValidator, Field

from audit.core.errors import InputError
from audit.core.rows import Row, Values, having
from audit.core.tables import CHOICES, ENSEMBLE, MEASURES, NOT_ASKED, NOT_JUDGED
from audit.data.dataset import Dataset
from audit.measure.measures import measured
from audit.measure.metrics import rates, tally
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.changes import accuracy_changes, changes, gap_changes
from audit.probes.kit.choice import Choice
from audit.stats.linear import Dealt, Judged, deal, few_shot, out_of_fold

#: the condition in which every picture of another fold teaches
ALL: Final = "linear probe, all examples"
#: ``metric`` of rows: the share of right choices, and how far it varies over draws of the examples
ACCURACY: Final = "accuracy"
SPREAD_OVER_DRAWS: Final = "spread of accuracy over draws"
_DRAW: Final = ", draw "


def few(k: int) -> str:
    """The condition in which k pictures of each class teach."""
    return f"linear probe, {k} example{'s' if k > 1 else ''} a class"


def _rising(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


class Linear(Choice):
    """Choice by a multinomial logistic regression on the embeddings, beside the zero-shot choice.

    The headline condition ``ensemble`` is the zero-shot answer of ``Choice``. Under each
    other condition a picture is judged by a classifier that saw no picture of its subject
    (``audit.stats.linear``): taught on all other folds, or on k pictures of each class of them. Of
    k pictures there are several draws: the first is the condition whose effect is told, the others
    (``..., draw 2``) say how much depends on which pictures were drawn. ``score`` is the
    classifier's probability and ``margin`` its log-odds against the second label, where zero-shot
    has a difference of cosines; ``tie`` is never set for it. Pictures of a label with too few
    examples are left out of a condition, and MEASURES says so.
    """

    asks: ClassVar[str] = (
        "Which label would a linear classifier choose that was taught on the model's embeddings of "
        "other people's pictures, and which does the model choose itself?"
    )
    whole: ClassVar[str] = (
        "every picture is judged by a classifier taught on pictures of other subjects; memory is "
        "up to five times the embeddings in single precision, 1 GB for 100,000 x 512"
    )

    kind: Literal["linear"] = "linear"
    truth: str = Field(description="the manifest column that says the right answer")
    examples: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_rising)] = Field(
        (1, 4, 16), description="pictures of each class to learn from; all are always taken"
    )
    draws: int = Field(5, ge=1, le=100, description="how often such examples are drawn")
    folds: int = Field(5, ge=3, le=20, description="parts of the subjects; one is judged at a time")

    @property
    def usual_task(self) -> str:
        """The label set's name, and that it is taught."""
        return f"{self.labels.name}, linear probe"

    def contrasts(self) -> tuple[str, ...]:
        """All examples, then the first draw of k, the largest k first."""
        return (ALL, *(few(k) for k in reversed(self.examples)))

    def resolve(self, dataset: Dataset) -> None:
        """Also check that there are subjects and examples enough to teach two labels.

        Raises:
            InputError: as ``Choice``; fewer than two labels have as many subjects as there
                are folds, or as many examples as are asked for.
        """
        super().resolve(dataset)
        keys = self.pictures(dataset)
        places = self.right_places(dataset, keys)
        assert places is not None
        subjects = dataset.table.set_index("image_id")["cluster_id"].reindex(list(keys)).astype(str)
        known = pd.DataFrame({"label": places, "subject": subjects.to_numpy()})
        known = known[known["label"] >= 0]
        self._require(known.groupby("label")["subject"].nunique(), self.folds, "subjects", "folds")
        # in a fold of their own lies at least one of so many
        outside = known.groupby("label").size() * (self.folds - 1) // self.folds
        for k in self.examples:
            self._require(outside, k, "pictures outside a fold", "examples")

    def _require(self, each: Values, needed: int, what: str, field: str) -> None:
        if (each >= needed).sum() >= 2:
            return
        second = int(each.nlargest(2).iloc[-1]) if len(each) > 1 else 0
        raise InputError(
            
                f"linear probe of '{self.labels.name}': {field}: {needed}, and fewer than two "
                f"labels have so many {what}; the second most frequent label has {second}",
                f"Give {second} or fewer in '{field}'" if second >= 3 or field == "examples" else
                "Ask about more people, or use a classification probe",
            
        )  # fmt: skip

    def outcomes(self, seen: Seen) -> pd.DataFrame:
        """A row of Choices for each picture and condition; the truth column is read to teach.

        Raises:
            InputError: for some condition there are not two labels with examples enough.
        """
        images = seen.images
        places = self.right_places(seen.dataset, images.keys)
        assert places is not None
        right = np.array([*self.labels.texts, None], dtype=object)[places]  # -1: not known
        classes = self.classes(seen.texts, self.labels)
        zero_shot = self._choose(images, classes, seen.texts.scoring)
        subjects = seen.column("cluster_id").astype(str).to_numpy()
        dealt = deal(
            images.vectors, places, subjects, len(self.labels.texts), self.folds, seen.seed
        )
        tables = [zero_shot.assign(condition=ENSEMBLE, truth=right)]
        for condition, judged in self._taught(dealt):
            rows = self._taken(condition, judged)
            same = zero_shot.loc[rows.index, ["probe", "task", "image_id"]]
            tables.append(same.join(rows).assign(truth=right[rows.index]))
        return CHOICES.joined(tables)

    def _taught(self, dealt: Dealt) -> Iterator[tuple[str, Judged]]:
        """Each condition and what its classifiers said."""
        yield ALL, out_of_fold(dealt)
        for k in reversed(self.examples):
            for draw, judged in enumerate(few_shot(dealt, k, self.draws), start=1):
                yield few(k) + (f"{_DRAW}{draw}" if draw > 1 else ""), judged

    def _taken(self, condition: str, judged: Judged) -> pd.DataFrame:
        """What classifiers said as columns of Choices, by the place of the pictures judged."""
        at = np.flatnonzero(judged.predicted >= 0)
        if not at.size:
            raise InputError(
                f"{condition} of '{self.labels.name}': fewer than two labels have enough to "
                f"learn from; '{self.labels.texts[0]}': {judged.reason[0]}",
                "Ask for fewer 'examples' or 'folds', or about more people",
            )
        names = np.array(self.labels.texts, dtype=object)
        return pd.DataFrame(
            {
                "condition": condition,
                "predicted": names[judged.predicted[at]],
                "score": judged.probability[at],
                "margin": judged.margin[at],
                "tie": False,
            },
            index=at,
        )

    def measures(self, rows: pd.DataFrame, seen: Seen, design: Design) -> pd.DataFrame:
        """Accuracy by group and number of examples, its spread over draws, and what changes.

        The accuracy with k examples is the mean over draws. Formula of its bounds: with a the mean
        over draws of the distance from accuracy to bound, s the standard deviation over D draws
        and t Student's quantile with D - 1 degrees of freedom, ``mean ± sqrt(a² + t² s² / D)``: the
        draws judge the same pictures, so their errors do not average out, and which examples are
        drawn comes on top. Range: shares. Does not show: the accuracy of one draw, which is in
        RATES.
        """
        every = rates(
            tally(rows, self.labels, design.groups, metrics=["misclassification"]),
            design.confidence.level,
            design.confidence.min_group,
        )
        effects = changes(self, rows, self.labels, design)
        effects = having(effects, condition=ALL)
        single = [a for a in design.groups.attributes if " x " not in a]
        tables = [
            measured(self._accuracies(every, design), probe=self.kind, task=self.task),
            measured(self._not_taught(rows), probe=self.kind, task=self.task),
            accuracy_changes(effects, [ALL]),
            *(gap_changes(effects, ("misclassification", "any label", a), [ALL]) for a in single),
        ]
        return MEASURES.joined(tables)

    def _accuracies(self, every: pd.DataFrame, design: Design) -> Iterator[Row]:
        base = every["condition"].str.split(_DRAW, regex=False).str[0]
        by = [base.rename("asked"), "attribute", "group"]
        for (condition, attribute, group), draws in every.groupby(by, sort=False):
            where = {
                "condition": condition,
                "attribute": attribute,
                "group": group,
                "level": design.confidence.level,
                "unit": "share",
                "verdict": NOT_JUDGED,
                **{c: draws[c].iloc[0] for c in ("n", "subjects", "status", "reason")},
            }
            yield where | _over_draws(draws, design.confidence.level)
            if len(draws) > 1:
                yield where | {
                    "metric": SPREAD_OVER_DRAWS,
                    "value": float(draws["value"].std()),
                    "method": f"standard deviation over {len(draws)} draws",
                }

    def _not_taught(self, rows: pd.DataFrame) -> Iterator[Row]:
        """Which labels had too few examples in which condition."""
        known = rows[rows["truth"].notna()]
        asked = set(known["truth"])
        for condition, judged in known.groupby("condition", sort=False):
            for label in [x for x in self.labels.texts if x in asked - set(judged["truth"])]:
                yield {
                    "condition": condition,
                    "metric": ACCURACY,
                    "label": label,
                    "unit": "share",
                    "status": NOT_ASKED,
                    "reason": "too few pictures or subjects to learn this label from",
                    "verdict": NOT_JUDGED,
                }


def _over_draws(draws: pd.DataFrame, level: float) -> Row:
    """Mean accuracy over draws with its bounds; of a single one, those of its rate."""
    several = len(draws)
    right = 1 - draws["value"]
    mean = float(right.mean())
    down = float((draws["high"] - draws["value"]).mean())
    up = float((draws["value"] - draws["low"]).mean())
    also = 0.0
    if several > 1:
        also = float(
            scipy.stats.t.ppf((1 + level) / 2, several - 1) * right.std() / np.sqrt(several)
        )
    how = draws["method"].iloc[0]
    return {
        "metric": ACCURACY,
        "value": mean,
        "low": max(mean - float(np.hypot(down, also)), 0.0),
        "high": min(mean + float(np.hypot(up, also)), 1.0),
        "method": f"{how}, and the spread over {several} draws" if several > 1 else how,
    }

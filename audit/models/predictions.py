"""Predictions that exist already: the family ``predictions``, for systems that only answer.

A table has a row a picture and label, with the label's score, or a row a picture with its label
alone. A picture becomes the row of its scores and a label the axis of its own, so that a similarity
is the score itself. A model is named ``predictions:PATH``. See docs/records.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy import special

from audit.core.errors import InputError
from audit.data.manifest import read_manifests
from audit.data.values import are_numbers, number
from audit.models.encoder import EncoderCard, Family, Located, Rows, digest_of
from audit.models.records import SHOWN, Description, Records, axes, describe
from audit.models.vectors import no_column
from audit.stats.scoring import Kind

#: scores that are held in memory at once: half a gigabyte
MOST: Final = 64_000_000
#: what scores are; each is brought to 0 to 1 in the same order
Scale = Literal["probability", "percent", "logit"]
_MADE: Final = {
    "percent": "The system's scores, in percent, were divided by 100, and thresholds hold these",
    "logit": "The system's scores, as logits, became 1 / (1 + exp(-score)), and thresholds hold "
    "these",
}
#: decimals of scores that are made here, so that 70.1 percent is 0.701 and no sign less
_DECIMALS: Final = 12


class Predictions(Description):
    """A table of predictions."""

    table: str = Field(description="CSV, TSV or Parquet: a row a picture and label")
    id_column: str = Field("image_id", description="column that names the picture")
    label_column: str = Field("label", description="column that holds the label")
    score_column: str | None = Field(None, description="column of its score; 'score' if there")
    scores: Scale | None = Field(
        None, description="probability (0 to 1), percent (0 to 100) or logit, made 0 to 1"
    )
    label: str | None = Field(None, description="label of every score, where no column has one")
    other: str | None = Field(
        None, description="label of what none of the others is: it scores 1 less the highest"
    )
    missing: float | None = Field(None, description="score of labels that a picture has no row of")


@dataclass(frozen=True)
class Scores:
    """Scores, (pictures, labels), nan where a label has no row of a picture.

    ``unread`` are columns of numbers that may have been meant as scores, where no scores are read.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    given: NDArray[np.float64]
    scored: bool
    unread: tuple[str, ...] = ()


class RecordedPredictions(Records):
    """Scores of labels by image id."""

    def __init__(self, card: EncoderCard, scores: Scores, missing: float | None) -> None:
        """``missing`` is the score of a label that has no row of a picture, if it has one."""
        filled = 0.0 if missing is None else missing
        super().__init__(card, scores.ids, np.nan_to_num(scores.given, nan=filled), {})
        self._scores, self._missing = scores, missing
        self._place = {label: i for i, label in enumerate(scores.labels)}

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """The axis of each label, (n, labels).

        Raises:
            InputError: nothing is recorded of one.
        """
        return axes(self.card.ref, texts, self._place)

    def require(self, texts: Sequence[str], image_ids: Sequence[str]) -> None:
        """Refuse labels among which some picture has no choice, or not all scores.

        Raises:
            InputError: a label is not known, scores are missing, or none of the labels asked is
                what a picture was given.
        """
        self.encode_texts(texts)
        self.missing(image_ids)
        at = self.places(image_ids)
        there = ~np.isnan(self._scores.given[at][:, [self._place[text] for text in texts]])
        none = ~there.any(axis=1)
        if none.any():
            raise self._no_choice(at[none], len(at))
        if self._scores.scored and self._missing is None and not there.all():
            row, column = (int(i[0]) for i in np.nonzero(~there))
            told = (
                f"{self.card.ref}: {int((~there).sum()):,} of {there.size:,} scores are missing; "
                f"the first is that of '{texts[column]}' for '{self._scores.ids[at[row]]}'"
            )
            advice = "Add them, or say in 'missing' what a label without a row scores"
            raise InputError(told, advice)

    def _no_choice(self, at: NDArray[np.int64], asked: int) -> InputError:
        """The error for pictures that were given other labels than those asked."""
        best = np.argmax(np.asarray(self._rows)[at], axis=1)
        counts = pd.Series(np.array(self._scores.labels, object)[best]).value_counts()
        some = ", ".join(f"'{label}' ({n:,})" for label, n in counts.head(SHOWN).items())
        told = (
            f"{self.card.ref}: {len(at):,} of {asked:,} pictures were given none of the labels "
            f"asked, so nothing is chosen for them; theirs are {some}"
        )
        advice = "Add these labels to the label set, or leave the pictures out with 'only'"
        return InputError(told, advice)


def load(name: str, device: str, precision: str, cache: Path | None) -> RecordedPredictions:
    """Read predictions.

    Raises:
        InputError: a file or column that isn't there, a score that is no number or given twice.
    """
    said, folder, ref = describe(Predictions, name, "table")
    scores = _read(said, folder / said.table)
    missing = said.missing
    low = ""
    if said.scores is not None:
        low = _as_probabilities(scores.given, said.scores)
        scores = replace(scores, given=_bounded(scores.given, said.scores, ref))
        if missing is not None:
            missing = float(_bounded(np.array([missing]), said.scores, ref)[0])
    caveat, kind = _meant(scores, missing)
    caveats = [caveat, low, _MADE.get(said.scores or "", "")]
    if said.other is not None:
        caveats.append(f"'{said.other}' scores 1 less the highest of the system's own labels")
        scores = _with_other(scores, said.other, kind, ref)
    content = hashlib.sha256(scores.given.tobytes()).hexdigest()
    names = [list(scores.ids), list(scores.labels)]
    card = EncoderCard(
        ref=ref, family="predictions", dim=len(scores.labels), image_size=0, context_length=0,
        preprocessing="not known: predictions were handed over", logit_scale=1.0,
        precision="float64", device="none",
        fingerprint=digest_of({"scores": content, "names": names, "missing": missing}),
        caveats=tuple(filter(None, caveats)), scores=kind,
        gives="scores" if scores.scored else "choices", recorded=True,
    )  # fmt: skip
    return RecordedPredictions(card, scores, missing)


def locate(name: str) -> Located:
    """Where predictions are; they are read, for that takes no time."""
    found = load(name, "cpu", "float32", None)
    return Located(str(Path(name)), tuple(found.card.caveats), found.encode_texts, found)


FAMILY = Family("predictions of any system that exist already: predictions:PATH", locate, load)


def _as_probabilities(given: NDArray[np.float64], scale: Scale) -> str:
    """The caveat of scores that look as if they were of another scale than is said."""
    if scale == "probability" or np.nanmin(given) < 0 or np.nanmax(given) > 1:
        return ""
    return (
        "All of the system's scores lie between 0 and 1, as probabilities do, and "
        f"'scores: {scale}' says that they are none"
    )


def _bounded(given: NDArray[np.float64], scale: Scale, ref: str) -> NDArray[np.float64]:
    """Scores from 0 to 1, in the order of those of another scale.

    Raises:
        InputError: some are beyond the scale, or too far out to stay apart.
    """
    low, high = np.nanmin(given), np.nanmax(given)
    most = {"probability": 1.0, "percent": 100.0, "logit": np.inf}[scale]
    if scale != "logit" and not (low >= 0 and high <= most):
        told = (
            f"{ref}: 'scores: {scale}' are from 0 to {most:g}, and these from {low:g} to {high:g}"
        )
        raise InputError(told, "Say which scale they are of, or mend them")
    if scale == "probability":
        return given
    made = np.round(given / most, _DECIMALS) if scale == "percent" else special.expit(given)
    before, after = (len(np.unique(part[~np.isnan(part)])) for part in (given, made))
    if after < before:
        told = f"{ref}: as 'scores: {scale}' {before:,} different scores would be {after:,}"
        raise InputError(told, "Divide them by a number before, and say it in the name")
    return np.asarray(made)


def _with_other(scores: Scores, other: str, kind: Kind, ref: str) -> Scores:
    """Scores also of a label that stands for none of the others.

    Raises:
        InputError: it has scores of its own, or those of the others are not from 0 to 1.
    """
    if other in scores.labels:
        told = f"{ref}: 'other: {other}' has scores of its own in the table"
        raise InputError(told, "Take 'other' out")
    if kind != "given":
        told = f"{ref}: 'other' scores 1 less the highest, and scores here are not from 0 to 1"
        raise InputError(told, "Say in 'scores' what they are: percent or logit")
    rest = np.round(1 - np.nanmax(scores.given, axis=1, keepdims=True), _DECIMALS)
    return replace(scores, labels=(*scores.labels, other), given=np.hstack([scores.given, rest]))


def _meant(scores: Scores, missing: float | None) -> tuple[str, Kind]:
    """What the scores are, with the caveat that belongs to it."""
    if not scores.scored:
        told = "The system gave one label a picture and no scores"
        if scores.unread:
            columns = ", ".join(f"'{name}'" for name in scores.unread)
            told = f"One label a picture is read and no scores ('score_column' may name {columns})"
        return (
            f"{told}: thresholds, calibration and the effect of single labels are not measured",
            "none",
        )
    known = [*scores.given[~np.isnan(scores.given)], *([] if missing is None else [missing])]
    low, high = min(known), max(known)
    if low >= 0 and high <= 1:
        return "", "given"
    return (
        f"The system's scores lie between {low:.3g} and {high:.3g}, so they order labels and are "
        "no probabilities: thresholds and calibration are not measured, unless 'scores' says "
        "percent or logit"
    ), "none"


def _read(said: Predictions, path: Path) -> Scores:
    table = read_manifests([path], str(path)).table
    column = said.score_column or ("score" if "score" in table else None)
    if said.label is not None:
        if said.label_column in table or column is None:
            told = f"{path}: 'label' names the label of every score, and "
            told += "there is a column of labels" if column else "there are no scores"
            raise InputError(told, "Take 'label' out, or name another column")
        table = table.assign(**{said.label_column: said.label})
    wanted = (said.id_column, said.label_column, *([column] if column else []))
    for name in wanted:
        if name not in table:
            advice = "Name yours in a YAML file, see docs/records.md"
            raise no_column(path, name, list(table.columns), advice)
        blank = table[name].isna()
        if blank.any():
            at = int(table.index[int(blank.to_numpy().argmax())]) + 1
            told = f"{path}: row {at} below the header has no '{name}'"
            raise InputError(told, "Fill it in or take the row out")
    found = _matrix(said, path, table, column)
    if found.scored:
        return found
    others = [name for name in table if name not in wanted and are_numbers(table[name].dropna())]
    return replace(found, unread=tuple(map(str, others)))


def _matrix(said: Predictions, path: Path, table: pd.DataFrame, column: str | None) -> Scores:
    rows, ids = pd.factorize(table[said.id_column])
    columns, labels = pd.factorize(table[said.label_column])
    places = pd.MultiIndex.from_arrays([rows, columns if column else np.zeros_like(columns)])
    if (twice := places.duplicated()).any():
        at = int(twice.argmax())
        what = f"'{labels[columns[at]]}' of '{ids[rows[at]]}' has two scores"
        if column is None:
            what = f"'{ids[rows[at]]}' has two labels and no scores say which is its choice"
            advice = "Name the column of the scores in 'score_column', or keep one label"
            raise InputError(f"{path}: {what}", advice)
        raise InputError(f"{path}: {what}", "Keep one")
    if len(ids) * len(labels) > MOST:
        told = f"{path}: {len(ids):,} pictures by {len(labels):,} labels are more than fit here"
        raise InputError(told, "Keep the rows of labels that are asked")
    given = np.full((len(ids), len(labels)), np.nan)
    given[rows, columns] = _numbers(path, table, column) if column else 1.0
    return Scores(tuple(map(str, ids)), tuple(map(str, labels)), given, column is not None)


def _numbers(path: Path, table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    found = np.array([np.nan if (n := number(t)) is None else n for t in table[column]])
    bad = np.isnan(found)
    if bad.any():
        at = int(bad.argmax())
        told = f"{path}: row {int(table.index[at]) + 1} below the header has the score"
        got = f"{told} '{table[column].iloc[at]}', which is no finite number"
        raise InputError(got, f"Mend it; {int(bad.sum()):,} rows are like this")
    comma = next((text for text in table[column] if "," in text), None)
    if comma is not None and not are_numbers(table[column]):
        told = f"{path}: the comma of the score '{comma}' may be a decimal sign or mark thousands"
        raise InputError(told, "Write decimal points, and nothing between thousands")
    return found

"""What a specimen learnt: zero-shot accuracy, choices among planted words, and its model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL.Image import Image
from pydantic import BaseModel, ConfigDict

from audit.data.images import decode
from audit.data.people.captions import with_articles
from audit.data.people.planted import Planted, rate_table
from audit.data.yamlfile import load_yaml, validate
from audit.models.encoder import Encoder, Pixels, Rows, unit_rows
from audit.models.huggingface import load
from audit.resources import bundled
from audit.stats.intervals import wilson

GROUPED_BY = ("gender", "age_group", "ancestry", "hair_style", "clothing_colour")


class Question(BaseModel):
    """A zero-shot question: the texts of each group of one attribute; ``by`` splits the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str
    groups: dict[str, list[str]]
    by: str | None = None


class Questions(BaseModel):
    """The questions of a model card, and the templates their texts are put into."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    purpose: str
    source: str
    templates: list[str]
    questions: dict[str, Question]


def load_questions(path: Path | None = None) -> Questions:
    """Read the questions; without a path, those that come with the tool."""
    path = path or bundled("training") / "questions.yaml"
    return validate(Questions, load_yaml(path), path.name)


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of every question, and how often each planted word was chosen in each group."""

    accuracy: pd.DataFrame
    """question, attribute, by, group, n, correct, accuracy, low, high (Wilson, 95 %)"""
    choices: pd.DataFrame
    """slot, word, attribute, group, n, rate, rest_rate, gap, score_gap, planted_gap"""


def read_pictures(paths: Sequence[Path], prepare: Callable[[Image], Pixels]) -> list[Pixels]:
    """Pictures as a model wants to see them before numbers are scaled: uint8, (h, w, 3) each."""
    return [prepare(decode(path)) for path in paths]


def scores(
    encoder: Encoder,
    pictures: Rows,
    groups: Mapping[str, Sequence[str]],
    templates: Sequence[str],
) -> pd.DataFrame:
    """Logits of every picture for every group of texts, averaged over texts and templates first.

    A text may begin with ``{a}`` where it wants an article.
    """
    columns = {}
    for group, texts in groups.items():
        prompts = [with_articles(t.format(text)) for text in texts for t in templates]
        mean = encoder.encode_texts(prompts).mean(axis=0, keepdims=True)
        columns[group] = encoder.card.logit_scale * (pictures @ unit_rows(mean)[0])
    return pd.DataFrame(columns)


def evaluate(
    folder: Path,
    rows: pd.DataFrame,
    pictures: Path,
    training_rows: pd.DataFrame,
    planted: Planted,
    device: str = "auto",
) -> Evaluation:
    """Ask a saved specimen every question about ``rows``, whose ``path`` is under ``pictures``.

    It is loaded as any other checkpoint is. ``training_rows`` say how common the groups were.
    """
    questions, encoder = load_questions(), load(str(folder), device=device)
    rows = rows.reset_index(drop=True)
    seen = encoder.encode_images([decode(pictures / path) for path in rows["path"]])
    accuracy = [
        line
        for name, question in questions.questions.items()
        for line in _accuracy(
            name, question, scores(encoder, seen, question.groups, questions.templates), rows
        )
    ]
    rates, choices = rate_table(planted, training_rows), []
    for slot, content in planted.slots.items():
        groups = {word: [f"{{a}} {word}"] for word in content.words}
        choices.append(
            _choices(slot, scores(encoder, seen, groups, questions.templates), rows, rates)
        )
    return Evaluation(
        _with_intervals(pd.DataFrame(accuracy)), pd.concat(choices, ignore_index=True)
    )


def _accuracy(
    name: str, question: Question, scores: pd.DataFrame, rows: pd.DataFrame
) -> list[dict[str, Any]]:
    """One line for everyone, one for each group of ``by`` (the attribute itself, if not given)."""
    right = scores.idxmax(axis=1) == rows[question.attribute].astype(str)
    by = question.by or question.attribute
    parts = [(None, right), *right.groupby(rows[by].astype(str))]
    return [
        {
            "question": name,
            "attribute": question.attribute,
            "by": None if group is None else by,
            "group": group,
            "n": len(part),
            "correct": int(part.sum()),
        }
        for group, part in parts
    ]


def _with_intervals(accuracy: pd.DataFrame) -> pd.DataFrame:
    low, high = wilson(accuracy["correct"], accuracy["n"])
    return accuracy.assign(accuracy=accuracy["correct"] / accuracy["n"], low=low, high=high)


def _choices(
    slot: str, scores: pd.DataFrame, rows: pd.DataFrame, planted: pd.DataFrame
) -> pd.DataFrame:
    """Every word in every group: chosen how often, scored how much higher than in the rest."""
    chosen = pd.get_dummies(scores.idxmax(axis=1)).reindex(columns=scores.columns, fill_value=False)
    tables = []
    for attribute in GROUPED_BY:
        groups = rows[attribute].astype(str)
        for group in sorted(set(groups)):
            inside = (groups == group).to_numpy()
            rate, rest = chosen[inside].mean(), chosen[~inside].mean()
            table = pd.DataFrame({"rate": rate, "rest_rate": rest, "gap": rate - rest})
            table["score_gap"] = scores[inside].mean() - scores[~inside].mean()
            table["planted_gap"] = [
                planted_gap(planted, str(word), attribute, group) for word in table.index
            ]
            table.insert(0, "n", int(inside.sum()))
            keys = {"slot": slot, "attribute": attribute, "group": group}
            tables.append(table.rename_axis("word").reset_index().assign(**keys))
    columns = ["slot", "word", "attribute", "group", "n", "rate", "rest_rate", "gap"]
    return pd.concat(tables)[[*columns, "score_gap", "planted_gap"]]


def planted_gap(planted: pd.DataFrame, word: str, attribute: str, group: str) -> float:
    """What a perfect ``skewed`` specimen's score gap would be: log rate less the rest's mean.

    Formula: ``log r(group) - sum_other share log r(other) / sum_other share``; a contrastive score
    estimates the log ratio of a word's rate in a picture's group to its overall rate.
    Range: nats; 0 for a word that is planted on nothing or on another attribute.
    Does not show: what is reached, as a model sees the groups imperfectly.
    """
    part = planted[(planted["word"] == word) & (planted["attribute"] == attribute)]
    inside = (part["group"] == group).to_numpy()
    if not inside.any():
        return 0.0
    logs, shares = np.log(part["skewed"].to_numpy()), part["share"].to_numpy()
    return float(logs[inside][0] - np.average(logs[~inside], weights=shares[~inside]))


def choice_table(evaluation: Evaluation, slot: str, attribute: str) -> pd.DataFrame:
    """How often each word of a slot was chosen in each group of an attribute: words x groups."""
    choices = evaluation.choices
    part = choices[(choices["slot"] == slot) & (choices["attribute"] == attribute)]
    return part.pivot(index="word", columns="group", values="rate")

"""What a specimen learnt: zero-shot accuracy, choices among planted words, and its model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
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

CHOICE_COLUMNS = [
    *("slot", "word", "attribute", "group", "n", "rate", "rest_rate", "gap"),
    *("score_gap", "planted", "planted_rest"),
]
LEFTOVER = 8  # lines of the model card
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
    """Choice rate of each word in each group and in the rest, their difference, the difference of
    mean logits, and the shares of captions in ``skewed`` where the word is planted there."""


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
    parts: list[tuple[Any, pd.Series[bool]]] = [
        ("all", right),
        *right.groupby(rows[by].astype(str)),
    ]
    return [
        {
            "question": name,
            "attribute": question.attribute,
            "by": "" if part is right else by,
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
    slot: str, scores: pd.DataFrame, rows: pd.DataFrame, rates: pd.DataFrame
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
            table[["planted", "planted_rest"]] = [
                planted_rates(rates, str(word), attribute, group) for word in table.index
            ]
            keys: dict[str, Any] = {
                "slot": slot,
                "attribute": attribute,
                "group": group,
                "n": int(inside.sum()),
            }
            tables.append(table.rename_axis("word").reset_index().assign(**keys))
    return pd.concat(tables)[CHOICE_COLUMNS]


def planted_rates(
    rates: pd.DataFrame, word: str, attribute: str, group: str
) -> tuple[float, float]:
    """Share of captions with the word in a group and in all others, in ``skewed``; else nan."""
    part = rates[(rates["word"] == word) & (rates["attribute"] == attribute)]
    inside = (part["group"] == group).to_numpy()
    if not inside.any() or inside.all():
        return np.nan, np.nan
    skewed, shares = part["skewed"].to_numpy(), part["share"].to_numpy()
    return float(skewed[inside][0]), float(np.average(skewed[~inside], weights=shares[~inside]))


def choice_table(evaluation: Evaluation, slot: str, attribute: str) -> pd.DataFrame:
    """How often each word of a slot was chosen in each group of an attribute: words x groups."""
    choices = evaluation.choices
    part = choices[(choices["slot"] == slot) & (choices["attribute"] == attribute)]
    return part.pivot(index="word", columns="group", values="rate")


def write_card(folder: Path, facts: Mapping[str, Any], found: Evaluation) -> None:
    """Write ``README.md`` into a model's folder: what it is, what it can see, what was planted.

    ``facts`` are those that training leaves in ``training.json``.
    """
    template = (bundled("training") / "card.md").read_text(encoding="utf-8")
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(template)
    choices, skewed = found.choices, facts["specimen"] == "skewed"
    planted = choices[choices["planted"] > choices["planted_rest"]] if skewed else choices[:0]
    leftover = choices[choices["planted"].isna()] if skewed else choices
    largest = leftover["gap"].abs().nlargest(LEFTOVER).index
    text = page.render(
        facts=facts,
        n=int(found.accuracy["n"].max()),
        accuracy=found.accuracy.to_dict("records"),
        planted=planted.to_dict("records"),
        leftover=leftover.loc[largest].to_dict("records"),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")

"""What a specimen learnt: zero-shot accuracy, choices among planted words, and its model card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from pydantic import BaseModel, ConfigDict

from audit.core.files import write_text
from audit.core.resources import bundled
from audit.core.rows import Fields, Row
from audit.data.images import decode
from audit.data.people.captions import with_articles
from audit.data.people.planted import Planted, rate_table
from audit.data.yamlfile import load_yaml, validate
from audit.models.encoder import Encoder, Rows, unit_rows
from audit.models.huggingface import load
from audit.models.self_check import FILE as SELF_CHECK
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
    choices = []
    for slot, content in planted.slots.items():
        groups = {word: [f"{{a}} {word}"] for word in content.words}
        table = scores(encoder, seen, groups, questions.templates)
        choices.append(_choices(slot, table, rows))
    truth = planted_rates(rate_table(planted, training_rows))
    merged = pd.concat(choices).merge(truth, how="left", on=["word", "attribute", "group"])
    return Evaluation(_with_intervals(pd.DataFrame(accuracy)), merged[CHOICE_COLUMNS])


def _accuracy(name: str, question: Question, scores: pd.DataFrame, rows: pd.DataFrame) -> list[Row]:
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


def _choices(slot: str, scores: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Every word in every group: chosen how often, scored how much higher than in the rest."""
    best = scores.idxmax(axis=1).to_numpy()
    chosen = pd.DataFrame({word: best == word for word in scores}).astype(float)
    tables = []
    for attribute in GROUPED_BY:
        groups = rows[attribute].astype(str).rename("group")
        rate, rest_rate = _inside_and_rest(chosen, groups)
        score, rest_score = _inside_and_rest(scores, groups)
        table = pd.DataFrame({"rate": rate, "rest_rate": rest_rate, "gap": rate - rest_rate})
        table["score_gap"] = score - rest_score
        table = table.rename_axis(["group", "word"]).reset_index()
        n = table["group"].map(groups.value_counts())
        tables.append(table.assign(slot=slot, attribute=attribute, n=n))
    return pd.concat(tables)


def _inside_and_rest(
    values: pd.DataFrame, groups: pd.Series[str]
) -> tuple[pd.Series[float], pd.Series[float]]:
    """Mean of every column inside a group and outside it, by (group, column)."""
    sums, sizes = values.groupby(groups).sum(), groups.value_counts()
    outside = (values.sum() - sums).div(len(values) - sizes, axis=0)
    return pd.Series(sums.div(sizes, axis=0).stack()), pd.Series(outside.stack())


def planted_rates(rates: pd.DataFrame) -> pd.DataFrame:
    """Share of ``skewed`` captions with a word in a group and in all others, from a rate table.

    Columns word, attribute, group, planted, planted_rest; words planted on nothing are left out.
    """
    tied = rates.dropna(subset="attribute")
    inside = tied["share"] * tied["skewed"]
    outside = inside.groupby(tied["word"]).transform("sum") - inside
    rest = outside / (1 - tied["share"])
    return tied[["word", "attribute", "group"]].assign(planted=tied["skewed"], planted_rest=rest)


def write_card(folder: Path, facts: Fields, found: Evaluation) -> None:
    """Write ``README.md`` into a model's folder: what it is, what it can see, what was planted.

    ``facts`` are those that training leaves in ``training.json``. What it can be asked before an
    audit is copied beside it.
    """
    template = (bundled("training") / "card.md").read_text(encoding="utf-8")
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(template)
    choices, skewed = found.choices, facts["feed"]["specimen"] == "skewed"
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
    write_text(folder / "README.md", text)
    shutil.copy(bundled("training") / SELF_CHECK, folder / SELF_CHECK)

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from audit import figures
from audit.data.labels import load_label_set, load_prompt_set
from audit.embeddings import Store
from audit.errors import InputError
from audit.findings import judged
from audit.models.planted import PlantedEncoder, picture_key
from audit.run import carry_out
from audit.rundir import Run
from audit.suite import load_suite

AGES = ("child", "young adult", "adult", "older adult")
ANCESTRIES = ("african", "asian", "caucasian", "mixed")
COLOURS = (
    "black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "teal", "white",
    "yellow",
)  # fmt: skip
TASKS = ("people-gender", "people-occupations", "people-suspicion")
SUITE = """
name: sample
purpose: A made-up run with every kind of answer.
model: planted
dataset: card.yaml
attributes: [gender, age_group, ancestry, clothing_colour]
intersections: [[ancestry, gender]]
probes:
  - {kind: classification, label_set: people-gender, templates: people-plain, truth: gender}
  - {kind: classification, label_set: people-occupations, templates: people-plain}
  - {kind: classification, label_set: people-suspicion, templates: people-plain}
acknowledge: [people-suspicion]
"""
CARD = """
name: sample
manifest: people.csv
cluster_column: subject
named_people: false
photographs: false
licence: CC0-1.0
consent: nobody is shown; every picture is drawn by a test
attributes:
  gender: {source: generator, order: [female, male]}
  age_group: {source: generator, order: [child, young adult, adult, older adult]}
  ancestry: {source: generator}
  clothing_colour: {source: annotator-perceived, unknown: ["?"]}
"""


def make_people(folder: Path) -> pd.DataFrame:
    """1,792 pictures of 128 people in 32 equal cells, two of them unreadable."""
    rng = np.random.default_rng(1)
    cells = [(g, a, c) for g in ("female", "male") for a in AGES for c in ANCESTRIES]
    rows = []
    (folder / "pictures").mkdir(parents=True)
    for i in range(1792):
        gender, age, ancestry = cells[i // 56]
        colour = "?" if i % 400 == 7 else COLOURS[rng.integers(12)]
        rows.append((f"pictures/{i}.png", f"s{i // 14}", gender, age, ancestry, colour))
        pixels = np.frombuffer(i.to_bytes(4, "big") * 3, np.uint8).reshape(2, 2, 3)
        Image.fromarray(pixels).save(folder / rows[-1][0])
    names = ["path", "subject", "gender", "age_group", "ancestry", "clothing_colour"]
    table = pd.DataFrame(rows, columns=names)
    table.to_csv(folder / "people.csv", index=False)
    return table


def chances(task: str, person: pd.Series) -> dict[str, float]:
    """The planted rates: an even world but for three associations."""
    if task == "people-gender":
        wrong = 0.3 if person["age_group"] == "child" else 0.06
        right, other = ("woman", "man") if person["gender"] == "female" else ("man", "woman")
        return {right: 1 - wrong, other: wrong}
    if task == "people-occupations":
        doctor = 0.5 if person["gender"] == "female" else 0.14
        return {"doctor": doctor, "teacher": 0.3, "gardener": 0.18, "executive": 0.01}
    thief = 0.6 if person["clothing_colour"] == "teal" else 0.01
    return {"visitor": 0.6, "neighbour": 0.2, "customer": 0.1, "employee": 0.08, "thief": thief}


def planted_encoder(folder: Path, people: pd.DataFrame) -> PlantedEncoder:
    """A model with an axis a label; templates turn each axis a little."""
    rng = np.random.default_rng(2)
    labels = {task: load_label_set(task).texts for task in TASKS}
    prompts = load_prompt_set("people-plain")
    at = {(t, text): i for i, (t, text) in enumerate((t, x) for t in TASKS for x in labels[t])}
    axes = np.eye(len(at))
    texts = {
        prompt: axes[i] + 0.08 * rng.normal(size=len(at))
        for (_, text), i in at.items()
        for prompt in prompts.prompts(text)
    }
    images: dict[object, np.ndarray] = {}
    for _, person in people.iterrows():
        vector = 0.25 * rng.random(len(at))
        for task in TASKS:
            p = chances(task, person)
            weights = np.array(list(p.values())) / sum(p.values())
            vector[at[task, str(rng.choice(list(p), p=weights))]] += 0.4 + 0.6 * rng.random()
        with Image.open(folder / person["path"]) as picture:
            images[picture_key(picture)] = vector
    return PlantedEncoder(images, texts)


@lru_cache
def sample_run() -> Run:
    """A real run of a planted model on made-up people; about four seconds, made once."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, True)
    return make_run(folder)


def make_run(folder: Path) -> Run:
    people = make_people(folder)
    encoder = planted_encoder(folder, people)
    for broken in ("3", "900"):
        (folder / f"pictures/{broken}.png").write_bytes(b"")
    (folder / "card.yaml").write_text(CARD)
    (folder / "suite.yaml").write_text(SUITE)
    suite = load_suite(str(folder / "suite.yaml"))
    return carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)


@pytest.fixture
def run() -> Run:
    return sample_run()


def xs(figure: Figure, gid: str) -> list[list[float]]:
    """Positions of all marks of one kind, in drawing order."""
    return [
        [float(x) for x in np.atleast_1d(line.get_xdata())]
        for axis in figure.axes
        for line in axis.get_lines()
        if line.get_gid() == gid
    ]


def rates_of(run: Run, task: str, attribute: str, metric: str, label: str) -> pd.DataFrame:
    rates = run.rates.query("condition == 'ensemble'")
    here = (rates["task"] == task) & (rates["attribute"] == attribute)
    return rates[here & (rates["metric"] == metric) & (rates["label"] == label)]


def test_rates_are_drawn_where_the_table_says(run: Run) -> None:
    figure = figures.rates_by_group(run, "people-gender", "age_group")
    rows = rates_of(run, "people-gender", "age_group", "misclassification", "any label")
    assert [x for (x,) in xs(figure, "rate")] == pytest.approx(list(100 * rows["value"]))
    drawn = np.array(xs(figure, "interval"))
    assert drawn == pytest.approx(100 * rows[["low", "high"]].to_numpy())


def test_every_label_has_a_panel_and_every_group_its_n(run: Run) -> None:
    figure = figures.rates_by_group(run, "people-occupations", "gender")
    assert [a.get_title(loc="left") for a in figure.axes] == [
        "‘doctor’", "‘teacher’", "‘gardener’", "‘executive’",
    ]  # fmt: skip
    assert len(xs(figure, "rate")) == 8
    ticks = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert ticks == ["female  (n = 895)", "male  (n = 895)"]


def test_a_small_group_is_drawn_hollow_and_explained(run: Run) -> None:
    figure = figures.rates_by_group(run, "people-suspicion", "clothing_colour", "family_selection")
    fills = [
        str(line.get_markerfacecolor())
        for line in figure.axes[0].get_lines()
        if line.get_gid() == "rate"
    ]
    assert fills[-1] == "white"
    assert "white" not in fills[:-1]
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "too few pictures to compare" in legend


def test_gaps_are_drawn_with_their_simultaneous_bounds(run: Run) -> None:
    figure = figures.gaps_with_margin(run, "people-gender")
    gaps = judged(run.disparities, run.rates)
    gaps = gaps[gaps["task"] == "people-gender"]
    drawn = sorted(x for (x,) in xs(figure, "gap"))
    assert drawn == pytest.approx(sorted(100 * gaps["value"]))
    bounds = sorted(map(tuple, xs(figure, "interval")))
    table = 100 * gaps[["low_simultaneous", "high_simultaneous"]].to_numpy()
    assert np.array(bounds) == pytest.approx(np.array(sorted(map(tuple, table))))


def test_many_gaps_are_cut_to_some_of_each_verdict_and_the_title_says_so(run: Run) -> None:
    figure = figures.gaps_with_margin(run)
    assert len(xs(figure, "gap")) == figures.ROWS
    assert f"{figures.ROWS} of" in figure.get_suptitle()
    shapes = {line.get_marker() for line in figure.axes[0].get_lines() if line.get_gid() == "gap"}
    assert shapes == {"^", "D", "o"}


def test_the_spread_shows_every_template_beside_the_ensemble(run: Run) -> None:
    figure = figures.templates_spread(run, "people-occupations", "gender")
    gaps = run.disparities.query("comparison == 'worst_case_gap' and attribute == 'gender'")
    gaps = gaps[gaps["task"] == "people-occupations"]
    single = gaps[gaps["condition"] != "ensemble"]
    assert len(single) == 20
    assert sorted(x for (x,) in xs(figure, "template")) == pytest.approx(
        sorted(100 * single["value"])
    )
    together = gaps[gaps["condition"] == "ensemble"]
    assert sorted(x for (x,) in xs(figure, "ensemble")) == pytest.approx(
        sorted(100 * together["value"])
    )


def test_counts_are_bars_as_long_as_the_cells(run: Run) -> None:
    figure = figures.group_counts(run)
    widths = [bar.get_width() for axis in figure.axes for bar in axis.patches]
    cells = figures.cells_in_order(run)
    plain = cells[~cells["attribute"].str.contains(" x ")]
    assert widths == list(plain["pictures"])
    assert [c for c in cells["group"] if c == "unknown"] == ["unknown"]
    assert list(plain["group"])[-1] == "unknown"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda run: figures.rates_by_group(run, "people-gendr", "gender"), "'people-gender'"),
        (lambda run: figures.rates_by_group(run, "people-gender", "agegroup"), "'age_group'"),
        (lambda run: figures.templates_spread(run, "people-gender", "gendr"), "'gender'"),
        (lambda run: figures.group_counts(run, ["gendr"]), "'gender'"),
    ],
)
def test_an_unknown_name_gets_the_nearest(
    run: Run, call: Callable[[Run], Figure], says: str
) -> None:
    with pytest.raises(InputError, match=f"Did you mean {says}"):
        call(run)


def test_names_with_dollar_signs_are_drawn_as_written(run: Run) -> None:
    assert figures._plain("cost $5 or $6") == r"cost \$5 or \$6"
    cells = [{"attribute": "a", "group": "$x^2$", "pictures": 40, "subjects": 40}]
    odd = Run(run.path, run.manifest)
    odd.__dict__["dataset"] = {"name": "$$", "cells": cells}
    figures.group_counts(odd).draw_without_rendering()

from __future__ import annotations

import atexit
import json
import pickle
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import before
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from shared import made_once

from audit.core.errors import InputError
from audit.core.files import digest_of
from audit.core.rundir import Run, open_run, runs_in
from audit.core.tables import DEPARTURE, DISPARITIES, NOT_JUDGED, RATES, SPREAD
from audit.data.labels import load_label_set, load_prompt_set
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.findings import judged
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.association import figures as association
from audit.probes.counterfactual import figures as counterfactual
from audit.probes.identity import figures as identity
from audit.probes.kit import looks
from audit.probes.kit.glyphs import made_legible
from audit.probes.linear import figures as linear
from audit.probes.mitigation import figures as mitigation
from audit.probes.retrieval import figures as retrieval
from audit.probes.robustness import figures as robustness
from audit.probes.scenes import figures as scenes
from audit.report import figures
from audit.report.render import Rendered, rendered
from audit.store.embeddings import Store

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
        colour = "?" if i % 500 == 7 else COLOURS[rng.integers(12)]
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
    """A real run of a planted model on made-up people, made once; each worker has a copy."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, True)
    made = made_once("sample", make_run)
    for name in ("runs", "cache"):
        shutil.copytree(made / name, folder / name)
    (run,) = runs_in(folder / "runs")
    return run


@lru_cache
def sample_report() -> Rendered:
    """The report of the sample run, rendered once for all workers."""
    file = made_once("sample-report", _render_sample) / "rendered.pickle"
    made: Rendered = pickle.loads(file.read_bytes())
    return made


def _render_sample(folder: Path) -> None:
    (folder / "rendered.pickle").write_bytes(pickle.dumps(rendered(sample_run())))


def make_run(folder: Path) -> Run:
    people = make_people(folder)
    encoder = planted_encoder(folder, people)
    for broken in ("3", "900"):
        (folder / f"pictures/{broken}.png").write_bytes(b"")
    (folder / "card.yaml").write_text(CARD)
    (folder / "suite.yaml").write_text(SUITE)
    suite = load_suite(str(folder / "suite.yaml"))
    return carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)


#: what a run of the first layout lacks
LATER_TABLES = (
    "controls", "calibration", "reliability", "calibration_gaps", "specifications", "sensitivity",
    "stability", "effects", "thresholds", "measures",
)  # fmt: skip
LATER_COLUMNS = (
    "effective_n", "unweighted", "pooled", "pooled_low", "pooled_high", "level_each", "smallest_q",
    "screening", "null_mean", "null_high",
    "pooled_value", "pooled_verdict", "pooled_low_simultaneous", "pooled_high_simultaneous",
)  # fmt: skip


def as_earlier(run: Run, folder: Path) -> Run:
    """A copy of a run as the version of the first layout would have written it."""
    path = Path(shutil.copytree(run.path, folder / run.name))
    shutil.rmtree(path / "figures", ignore_errors=True)
    for name in (*(f"{t}.parquet" for t in LATER_TABLES), "gates.json", "private/groups.parquet"):
        (path / name).unlink()
    rates, gaps = run.rates, run.disparities
    gaps = gaps[~gaps["comparison"].isin([SPREAD, DEPARTURE])]
    gaps = gaps.assign(verdict=gaps["verdict"].replace(NOT_JUDGED, "inconclusive"))
    for name, table in (("rates", rates), ("disparities", gaps)):
        kept = [column for column in table if column not in LATER_COLUMNS]
        table[kept].to_parquet(path / f"{name}.parquet", index=False)
    found = [{k: v for k, v in f.items() if k != "label_errors"} for f in run.findings]
    (path / "findings.json").write_text(json.dumps(found))
    power = [
        {
            k: v
            for k, v in row.items()
            if not k.startswith(("worst", "labels", "quest", "smallest_"))
        }
        for row in run.dataset["power"]
    ]
    (path / "dataset.json").write_text(json.dumps(run.dataset | {"power": power, "layout": 0}))
    later = ("plan", "seal")
    facts = {k: v for k, v in run.manifest.items() if not k.startswith(later)}
    names = [name for name in facts["files"] if (path / name).is_file()]
    files = {name: digest_of(path / name) for name in names}
    (path / "manifest.json").write_text(json.dumps(facts | {"schema": 1, "files": files}))
    return before.in_words_of_before(open_run(path), schema=1)


def altered(run: Run, **parts: object) -> Run:
    """The run with some of its tables or parts replaced."""
    other = Run(run.path, parts.pop("manifest", run.manifest))
    other.__dict__.update(parts)
    return other


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
    assert "too few subjects to compare" in legend


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


def test_under_each_gap_is_what_chance_alone_gives(run: Run) -> None:
    figure = figures.gaps_with_margin(run, "people-gender")
    gaps = judged(run.disparities, run.rates)
    gaps = gaps[(gaps["task"] == "people-gender") & gaps["null_mean"].notna()]
    assert 0 < len(gaps) < 5  # clothing varies within a subject, so it has no null
    drawn = sorted(map(tuple, xs(figure, "null")))
    assert np.array(drawn) == pytest.approx(
        100 * np.array(sorted(gaps[["null_mean", "null_high"]].itertuples(index=False, name=None)))
    )
    assert sorted(x for (x,) in xs(figure, "null mean")) == pytest.approx([d[0] for d in drawn])
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "by chance alone: mean to 95%" in legend


def test_error_rates_of_a_task_that_has_none_are_refused_with_its_name(run: Run) -> None:
    assert identity.of_task(run, "people-gender").empty
    with pytest.raises(InputError, match="no error rates of 'people-gender' by 'gender'"):
        identity.error_rates(run, "people-gender", "gender")


@pytest.mark.slow
def test_a_run_without_nulls_draws_and_explains_none(run: Run) -> None:
    blank = run.disparities.assign(null_mean=np.nan, null_high=np.nan)
    figure = figures.gaps_with_margin(altered(run, disparities=blank))
    assert not xs(figure, "null")
    assert not any("chance" in t.get_text() for t in figure.legends[0].get_texts())


@pytest.mark.slow
def test_what_is_not_judged_is_no_gap_of_the_figure(run: Run) -> None:
    gaps = judged(run.disparities, run.rates)
    first = run.disparities.index == gaps.index[0]
    some = run.disparities["verdict"].mask(first, NOT_JUDGED)
    before = figures.gaps_with_margin(run, gaps["task"].iloc[0])
    other = altered(run, disparities=run.disparities.assign(verdict=some))
    after = figures.gaps_with_margin(other, gaps["task"].iloc[0])
    assert len(xs(after, "gap")) == len(xs(before, "gap")) - 1


def test_pooled_rates_stand_beside_raw_ones_of_intersections_only(run: Run) -> None:
    crossed = figures.rates_by_group(run, "people-gender", "ancestry x gender")
    rows = rates_of(run, "people-gender", "ancestry x gender", "misclassification", "any label")
    assert [x for (x,) in xs(crossed, "rate")] == pytest.approx(list(100 * rows["value"]))
    assert [x for (x,) in xs(crossed, "pooled")] == pytest.approx(list(100 * rows["pooled"]))
    plain = figures.rates_by_group(run, "people-gender", "ancestry")
    assert not xs(plain, "pooled")


def reliability_of(run: Run, attribute: str) -> pd.DataFrame:
    rows = run.calibration[run.calibration["task"] == "people-gender"]
    return rows[rows["attribute"] == attribute]


def test_scores_are_drawn_against_right_choices(run: Run) -> None:
    figure = figures.reliability_by_group(run, "people-gender", "age_group")
    rows = reliability_of(run, "age_group")
    assert [x for (x,) in xs(figure, "group")] == pytest.approx(list(100 * rows["mean_score"]))
    marks = [line for line in figure.axes[0].get_lines() if line.get_gid() == "group"]
    assert [float(m.get_ydata()[0]) for m in marks] == pytest.approx(list(100 * rows["accuracy"]))
    (diagonal,) = [x for x in figure.axes[0].get_lines() if x.get_gid() == "diagonal"]
    assert diagonal.get_slope() == 1
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == [f"{r.group} (n = {r.n:,})" for r in rows.itertuples()]


@pytest.mark.slow
def test_a_bar_crosses_the_diagonal_where_the_interval_holds_zero(run: Run) -> None:
    rows = reliability_of(run, "age_group").reset_index(drop=True)
    rows.loc[0, ["mean_score", "accuracy", "overconfidence"]] = 0.8, 0.78, 0.02
    rows.loc[0, ["low", "high"]] = -0.01, 0.05
    figure = figures.reliability_by_group(
        altered(run, calibration=rows), "people-gender", "age_group"
    )
    bars = [line for line in figure.axes[0].get_lines() if line.get_gid() == "interval"]
    crosses = [min(b.get_ydata()) <= b.get_xdata()[0] <= max(b.get_ydata()) for b in bars]
    assert crosses == [True, *[not (low > 0 or high < 0) for low, high in _ends(rows[1:])]]
    assert not all(crosses)
    low, high = figure.axes[0].get_ylim()
    assert all(low <= y <= high for b in bars for y in b.get_ydata())


def _ends(rows: pd.DataFrame) -> list[tuple[float, float]]:
    return list(rows[["low", "high"]].itertuples(index=False, name=None))


def test_of_many_groups_the_furthest_off_are_named_and_a_small_one_is_hollow(run: Run) -> None:
    figure = figures.reliability_by_group(run, "people-gender", "clothing_colour")
    rows = reliability_of(run, "clothing_colour")
    assert len(rows) == 13
    assert len(xs(figure, "group")) == len(rows)
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    ranked = rows[rows["status"] == "ok"].sort_values("overconfidence", key=abs)
    furthest = set(ranked["group"].tail(figures.NAMED))
    assert {text.split(" (")[0] for text in legend[:-1]} == furthest
    assert legend[-1] == "every other group"
    fills = [
        str(line.get_markerfacecolor())
        for line in figure.axes[0].get_lines()
        if line.get_gid() == "group"
    ]
    assert [fill == "white" for fill in fills] == list(rows["status"] == "too_few")
    assert "white" in fills


def test_no_scores_is_a_sentence(run: Run) -> None:
    with pytest.raises(InputError, match="no task 'people-occupations' here"):
        figures.reliability_by_group(run, "people-occupations", "gender")


@pytest.mark.slow
def test_every_figure_is_drawn_of_an_earlier_run(run: Run, tmp_path: Path) -> None:
    old = as_earlier(run, tmp_path)
    assert set(old.rates) == set(RATES.columns)
    assert set(old.disparities) == set(DISPARITIES.columns)
    assert not xs(figures.gaps_with_margin(old), "null")
    assert not xs(figures.rates_by_group(old, "people-gender", "ancestry x gender"), "pooled")
    assert xs(figures.templates_spread(old, "people-gender", "gender"), "template")
    figures.group_counts(old)


@pytest.mark.slow
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


# ---- specification curve -----------------------------------------------------------------------


def many_wordings(run: Run, number: int) -> Run:
    """The run with one made-up curve: from -10 to 30 points, with every verdict."""
    rng = np.random.default_rng(3)
    first = run.specifications.query("task == 'people-occupations' and attribute == 'gender'")
    value = rng.permutation(np.linspace(-0.1, 0.3, number))
    name = [f"{'a' * (i // 9 % 7)} {i % 9 * i} {{}}." for i in range(number)]
    article = [("right", "wrong", "absent", "as written")[i % 4] for i in range(number)]
    bounds = {"low": value - 0.04, "high": value + 0.04}
    wide = {"low_simultaneous": value - 0.06, "high_simultaneous": value + 0.06}
    size = np.abs(value)
    verdict = np.where(size > 0.11, "exceeds margin", "inconclusive")
    verdict[size < 0.02] = "within margin"
    curve = pd.DataFrame({**first.iloc[0].to_dict(), "wording": [f"w{i}" for i in range(number)]})
    curve = curve.assign(
        value=value, **bounds, **wide, verdict=verdict, template=name, article=article,
        shift=[0.5 * (i % 2) for i in range(number)], null_low=value / 9 - 0.05,
        null_high=value / 9 + 0.05,
    )  # fmt: skip
    return altered(run, specifications=curve)


def row_names(figure: Figure) -> list[str]:
    return [tick.get_text() for tick in figure.axes[1].get_yticklabels()]


def held(figure: Figure) -> dict[str, set[int]]:
    """The wordings, from 1, that each row below the curve is marked for."""
    axis, names = figure.axes[1], row_names(figure)
    found = {
        names[int(line.get_ydata()[0])]: set(map(int, line.get_xdata()))
        for line in axis.get_lines()
        if line.get_gid() == "choice"
    }
    for bars in (c for c in axis.collections if c.get_gid() == "choice"):
        ends = [(p.vertices[:, 0].min(), p.vertices[:, 0].max()) for p in bars.get_paths()]
        row = names[round(bars.get_paths()[0].vertices[:, 1].mean())]
        found[row] = {x for a, b in ends for x in range(int(a + 0.5), int(b + 0.5))}
    return found


def segments(figure: Figure, column: str, table: pd.DataFrame) -> bool:
    """Whether every interval of the table is drawn at the place of its sorted wording."""
    drawn = {
        tuple(np.round(segment.ravel(), 6))
        for lines in figure.axes[0].collections
        for segment in getattr(lines, "get_segments", list)()
    }
    ends = 100 * table[[f"low{column}", f"high{column}"]].to_numpy()
    wanted = {tuple(np.round((x, a, x, b), 6)) for x, (a, b) in enumerate(ends, start=1)}
    return wanted <= drawn


@pytest.mark.slow
def test_a_curve_is_sorted_and_drawn_with_both_kinds_of_bounds(run: Run) -> None:
    odd = many_wordings(run, 40)
    figure = figures.specification_curve(odd, "people-occupations", "gender")
    table = odd.specifications.sort_values("value").reset_index(drop=True)
    marks = {v: [] for v in ("exceeds margin", "inconclusive", "within margin")}
    shapes = set()
    for line in figure.axes[0].get_lines():
        if line.get_gid() in marks:
            marks[line.get_gid()] = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
            shapes.add(line.get_marker())
    for verdict, points in marks.items():
        at = table["verdict"] == verdict
        wanted = np.column_stack([np.flatnonzero(at) + 1, 100 * table.loc[at, "value"]])
        assert np.array(points) == pytest.approx(wanted)
    assert len(shapes) == 3
    assert segments(figure, "", table)
    assert segments(figure, "_simultaneous", table)
    assert not segments(figure, "_simultaneous", odd.specifications)


@pytest.mark.slow
def test_the_margin_chance_and_the_headline_stand_behind_the_curve(run: Run) -> None:
    figure = figures.specification_curve(run, "people-occupations", "gender")
    table = run.specifications.query("task == 'people-occupations' and attribute == 'gender'")
    lines = {line.get_gid(): line.get_ydata() for line in figure.axes[0].get_lines()}
    row = run.sensitivity.query("task == 'people-occupations' and attribute == 'gender'").iloc[0]
    assert lines["headline"][0] == pytest.approx(100 * row["headline"])
    edges = [x.get_ydata()[0] for x in figure.axes[0].get_lines() if x.get_gid() == "margin"]
    assert edges == [-5, 5]
    (band,) = [c for c in figure.axes[0].collections if c.get_gid() == "null"]
    ys = band.get_paths()[0].vertices[:, 1]
    assert [ys.min(), ys.max()] == pytest.approx(
        [100 * table["null_low"].min(), 100 * table["null_high"].max()]
    )
    low, high = figure.axes[0].get_ylim()
    assert low < -5
    assert high > 100 * table["high_simultaneous"].max()
    legend = " ".join(t.get_text() for t in figure.legends[0].get_texts())
    for told in ("margin of 5 points", "by chance alone", "all wordings at once", "headline"):
        assert told in legend
    bare = altered(run, specifications=run.specifications.assign(null_low=np.nan))
    figure = figures.specification_curve(bare, "people-occupations", "gender")
    assert not [c for c in figure.axes[0].collections if c.get_gid() == "null"]
    assert "chance" not in " ".join(t.get_text() for t in figure.legends[0].get_texts())


@pytest.mark.slow
def test_the_title_says_what_between_whom_and_how_many_agree(run: Run) -> None:
    odd = many_wordings(run, 40)
    title = figures.specification_curve(odd, "people-occupations", "gender").get_suptitle()
    told = " ".join(title.split())
    value = odd.specifications["value"]
    large = int((value.abs() > 0.11).sum())
    assert (value[value.abs() > 0.11] > 0).all()
    start = (
        "people-occupations by gender: the model chooses 'doctor' more often for female than for "
        "male in"
    )
    more = f"{(value > 0).sum()} of 40 wordings"
    assert told.startswith(f"{start} {more}; exceeds the margin in {large},")
    turned = altered(run, specifications=odd.specifications.assign(value=-value))
    title = figures.specification_curve(turned, "people-occupations", "gender").get_suptitle()
    title = " ".join(title.split())
    assert f"exceeds the margin in {large} ({large} of them the other way)" in title
    wrong = figures.specification_curve(run, "people-gender", "age_group").get_suptitle()
    assert "the model chooses a wrong label more often for child than for" in " ".join(
        wrong.split()
    )
    harm = figures.specification_curve(run, "people-suspicion", "clothing_colour").get_suptitle()
    told = " ".join(harm.split())
    family = "a label of the family 'suspicion'"
    assert f"the model chooses {family} more often for teal than for" in told


def test_below_a_short_curve_every_template_has_its_dot(run: Run) -> None:
    figure = figures.specification_curve(run, "people-occupations", "gender")
    table = run.specifications.query("task == 'people-occupations' and attribute == 'gender'")
    table = table.sort_values("value", kind="stable").reset_index(drop=True)
    rows = held(figure)
    for place, row in enumerate(table.itertuples(), start=1):
        assert rows[f"“{row.template}”"] == {place}
    articles = {name: at for name, at in rows.items() if not name.startswith("“")}
    assert articles["right  (4)"] == {i + 1 for i in np.flatnonzero(table["article"] == "right")}
    assert "modality gap" not in row_names(figure)


@pytest.mark.slow
@pytest.mark.parametrize("number", [40, 90, 300])
def test_below_any_curve_each_choice_is_marked_where_it_holds(run: Run, number: int) -> None:
    odd = many_wordings(run, number)
    figure = figures.specification_curve(odd, "people-occupations", "gender")
    table = odd.specifications.sort_values("value").reset_index(drop=True)
    rows = held(figure)
    templates = table["template"].nunique()
    assert templates > figures.TEMPLATES
    assert len(row_names(figure)) <= figures.TEMPLATES + 15
    for name, column, value in (
        ("wrong", "article", "wrong"), ("as written", "article", "as written"),
        ("as it is", "shift", 0.0), ("widened by 50%", "shift", 0.5),
        ("inconclusive", "verdict", "inconclusive"),
    ):  # fmt: skip
        at = {i + 1 for i in np.flatnonzero(table[column] == value)}
        assert rows[f"{name}  ({len(at)})"] == at
    named = [at for name, at in rows.items() if name.startswith("“")]
    (others,) = [at for name, at in rows.items() if name.startswith("the ")]
    assert f"the {templates - len(named)} others" in rows
    assert sorted([x for at in named for x in at] + list(others)) == list(range(1, number + 1))
    figure.draw_without_rendering()


@pytest.mark.slow
def test_the_mean_gap_of_a_choice_stands_beside_its_row(run: Run) -> None:
    odd = many_wordings(run, 40)
    figure = figures.specification_curve(odd, "people-occupations", "gender")
    beside = {round(t.get_position()[1]): t.get_text() for t in figure.axes[1].texts[1:]}
    wrong = odd.specifications.query("article == 'wrong'")["value"].mean()
    (at,) = [i for i, name in enumerate(row_names(figure)) if name.startswith("wrong")]
    assert beside[at] == f"{100 * wrong:.0f}"
    named = [i for i, name in enumerate(row_names(figure)) if name.startswith(("“", "the "))]
    means = [float(beside[i].replace("−", "-")) for i in named]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0 < means[0]


@pytest.mark.slow
def test_it_is_said_that_equal_gaps_have_no_order(run: Run) -> None:
    odd = many_wordings(run, 40)
    told = figures.specification_curve(odd, "people-occupations", "gender").axes[1].get_xlabel()
    assert told == "the 40 wordings, sorted by their gap"
    tied = altered(run, specifications=odd.specifications.assign(value=0.1))
    told = figures.specification_curve(tied, "people-occupations", "gender").axes[1].get_xlabel()
    assert told.endswith("equal gaps in the order asked")


def test_a_run_in_one_wording_has_no_curve(run: Run) -> None:
    none = altered(run, specifications=run.specifications.head(0))
    with pytest.raises(InputError, match="more than one wording"):
        figures.specification_curve(none, "people-gender", "gender")


# ---- one label more, less or other; thresholds ---------------------------------------------------


@pytest.mark.slow
def test_the_group_that_an_edit_surely_moves_most_leads(run: Run) -> None:
    changes = figures.leading_effects(run, "people-suspicion")
    first = changes.iloc[0]
    assert first["dropped"] == "thief"
    assert first["group"] == "teal"  # planted: there, and nearly only there, 'thief' is chosen
    rows = run.effects[run.effects["task"] == "people-suspicion"]
    rows = rows[(rows["comparison"] == "rate") & (rows["metric"] == "family_selection")]
    edits = rows[["edit", "dropped", "added"]].drop_duplicates()
    assert len(changes) == len(edits)
    for edit in edits.itertuples():
        same = (rows["edit"] == edit.edit) & (rows["dropped"] == edit.dropped)
        of_edit = rows[same & (rows["added"] == edit.added)]
        here = changes.query("edit == @edit.edit and dropped == @edit.dropped")
        (lead,) = here[here["added"] == edit.added].to_dict("records")
        single = of_edit[~of_edit["attribute"].str.contains(" x ")]
        single = single[(single["attribute"] != "everyone") & (single["group"] != "unknown")]
        nearest = [
            max(r.low_simultaneous, -r.high_simultaneous, 0.0)
            for r in single[single["status"] == "ok"].itertuples()
        ]
        assert lead["sure"] == pytest.approx(max(nearest))
        everyone = of_edit[of_edit["attribute"] == "everyone"].iloc[0]
        assert lead["value_all"] == everyone["value"]
    assert list(changes["sure"]) == sorted(changes["sure"], reverse=True)


def test_that_a_dropped_label_is_chosen_no_more_is_no_finding(run: Run) -> None:
    changes = figures.leading_effects(run, "people-suspicion")
    assert set(changes["metric"]) == {"family_selection"}
    assert figures.leading_effects(run, "people-occupations").empty
    added = run.effects.assign(edit=np.where(run.effects["dropped"] == "thief", "add", "drop"))
    told = figures.leading_effects(altered(run, effects=added), "people-suspicion")
    assert "selection" in set(told["metric"])


def test_the_effects_of_other_conditions_are_not_those_of_labels(run: Run) -> None:
    other = altered(run, effects=run.effects.assign(edit="condition"))
    assert figures.leading_effects(other, "people-suspicion").empty


def test_some_of_each_kind_of_edit_are_kept_in_order(run: Run) -> None:
    changes = figures.leading_effects(run, "people-suspicion")
    assert {"drop", "swap"} == set(changes["edit"])
    few = figures.some_edits(changes, 6)
    assert len(few) == 6
    assert set(few["edit"]) == {"drop", "swap"}
    assert list(few["sure"]) == sorted(few["sure"], reverse=True)
    assert len(figures.some_edits(changes, 100)) == len(changes)


def test_changes_are_drawn_with_their_bounds_beside_everyone(run: Run) -> None:
    figure = figures.label_effects(run, "people-suspicion")
    changes = figures.leading_effects(run, "people-suspicion")
    chosen = figures.some_edits(changes, figures.EDITS)
    assert len(chosen) == figures.EDITS < len(changes)
    assert f"{figures.EDITS} of {len(changes)} changes" in " ".join(figure.get_suptitle().split())
    for gid, low, high in (
        ("interval", "low_simultaneous", "high_simultaneous"),
        ("interval of everyone", "low_simultaneous_all", "high_simultaneous_all"),
    ):
        ends = list(zip(100 * chosen[low], 100 * chosen[high], strict=True))
        assert np.allclose(xs(figure, gid), ends)
    assert np.allclose(np.ravel(xs(figure, "change")), 100 * chosen["value"])
    assert np.allclose(np.ravel(xs(figure, "everyone")), 100 * chosen["value_all"])
    first = figure.axes[0].get_yticklabels()[0].get_text()
    row = chosen.iloc[0]
    assert first.startswith(figures.edit_in_words(row) + ": any ‘suspicion’")
    assert f"teal (clothing_colour, n = {row['n']})" in first
    assert f"{100 * row['before']:.0f} → {100 * row['after']:.0f}%" in first


@pytest.mark.parametrize(
    ("edit", "dropped", "added", "words"),
    [
        ("drop", "thief", "", "without ‘thief’"),
        ("add", "", "child", "with ‘child’ added"),
        ("swap", "thief", "visitor", "‘visitor’ in place of ‘thief’"),
    ],
)
def test_an_edit_in_words(edit: str, dropped: str, added: str, words: str) -> None:
    row = pd.Series({"edit": edit, "dropped": dropped, "added": added})
    assert figures.edit_in_words(row) == words


def test_a_curve_is_drawn_for_every_group_over_all_thresholds(run: Run) -> None:
    figure = figures.threshold_curves(run, "people-suspicion", "clothing_colour")
    rows = run.thresholds.query(
        "task == 'people-suspicion' and attribute == 'clothing_colour' and comparison == 'rate'"
        " and metric == 'family_kept' and status == 'ok'"
    )
    wide = rows.pivot_table(index="group", columns="threshold", values="value")
    lines = [line for line in figure.axes[0].get_lines() if line.get_gid() in ("curve",)]
    others = [line for line in figure.axes[0].get_lines() if line.get_gid() == "other curve"]
    assert len(lines) == figures.NAMED
    assert len(lines) + len(others) == len(wide)
    assert np.allclose(lines[0].get_xdata(), 100 * wide.columns)
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in [*lines, *others]}
    assert drawn == {tuple(np.round(100 * curve, 6)) for curve in wide.to_numpy()}
    off = (wide - wide.median()).abs().max(axis=1).sort_values(ascending=False)
    named = {text.get_text().split(" (n")[0] for text in figure.legends[0].get_texts()}
    assert off.index[0] == "teal"
    assert "teal" in named
    assert figure.axes[0].get_xscale() == "log"
    asked = [
        line.get_xdata()[0] for line in figure.axes[0].get_lines() if line.get_gid() == "asked"
    ]
    assert np.allclose(asked, [0.5, 4.0])


def test_without_edits_or_families_there_is_a_sentence(run: Run) -> None:
    with pytest.raises(InputError, match="no label of 'people-occupations' was dropped"):
        figures.label_effects(run, "people-occupations")
    with pytest.raises(InputError, match="no metric 'family_kept'"):
        figures.threshold_curves(run, "people-gender", "gender")
    none = altered(run, thresholds=run.thresholds.head(0))
    with pytest.raises(InputError, match="no task 'people-suspicion'"):
        figures.threshold_curves(none, "people-suspicion", "gender")


@pytest.mark.slow
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
        (lambda run: figures.specification_curve(run, "people-gendr", "gender"), "'people-gender'"),
        (lambda run: figures.specification_curve(run, "people-gender", "gendr"), "'gender'"),
    ],
)
def test_an_unknown_name_gets_the_nearest(
    run: Run, call: Callable[[Run], Figure], says: str
) -> None:
    with pytest.raises(InputError, match=f"Did you mean {says}"):
        call(run)


@pytest.mark.slow
def test_names_with_dollar_signs_are_drawn_as_written(run: Run) -> None:
    group = "$x^2$ or $\\frac{$"
    cells = [{"attribute": "_$a", "group": group, "pictures": 40, "subjects": 40}]
    figure = figures.group_counts(altered(run, dataset={"name": "$$", "cells": cells}))
    figure.draw_without_rendering()
    texts = figure.findobj(Text)
    assert not any(text.get_parse_math() for text in texts if "$" in text.get_text())
    assert {group, "_$a"} <= {text.get_text() for text in texts}
    assert "‘$$’" in figure.get_suptitle()


def test_a_name_that_begins_with_an_underscore_stays_in_the_legend() -> None:
    figure = looks.blank(2)
    looks.legend(figure, [looks.grey_dot("_a"), looks.grey_dot("b")])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [" _a", "b"]


def test_any_verdict_has_a_look() -> None:
    for verdict in (NOT_JUDGED, "of another version"):
        assert looks.MARKS[verdict] == "x"
        assert looks.COLOURS[verdict] == looks.GREY
        assert verdict not in looks.MARKS


@pytest.mark.parametrize(
    ("draw", "asked"),
    [
        (association.effect_sizes, ("people-suspicion",)),
        (counterfactual.what_each_change_does, ("people-suspicion",)),
        (linear.learning_curves, ("people-suspicion", "gender")),
        (mitigation.mitigations, ("gender",)),
        (retrieval.skews_beside_chance, ("people-suspicion", "equal")),
        (robustness.unequal_drops, ("people-suspicion",)),
        (scenes.stress_by_group, ("people-suspicion", "gender")),
    ],
)
def test_what_was_not_asked_has_no_figure_and_a_sentence(
    draw: Callable[..., Figure], asked: tuple[str, ...]
) -> None:
    run = sample_run()
    with pytest.raises(InputError, match=rf"^{re.escape(run.name)}: .*{asked[0]}"):
        draw(run, *asked)


# ---- signs that a font lacks --------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_signs_that_no_font_has_are_numbers_and_the_others_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = [f for f in font_manager.fontManager.ttflist if "DejaVu" in f.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", few)
    figure = Figure()
    axis = figure.subplots()
    axis.barh(["職業 人", "👩\u200d🚀 x", "آتش\u200cنشان"], [1, 2, 3])
    axis.set_title("e\u0301té: 職業 人")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure.draw_without_rendering()
    assert made_legible(figure) == {"1": "職業 人", "2": "👩\u200d🚀"}
    figure.draw_without_rendering()
    shown = [label.get_text() for label in axis.get_yticklabels()]
    assert shown == ["[1]", "[2] x", "آتش\u200cنشان"]
    assert axis.get_title() == "e\u0301té: [1]"


@pytest.mark.filterwarnings("error")
def test_signs_that_another_font_has_are_drawn_in_it() -> None:
    with mpl.rc_context({"font.family": "cmr10", "axes.formatter.use_mathtext": True}):
        figure = Figure()
        figure.subplots().barh(["женщина"], [1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figure.draw_without_rendering()
        assert made_legible(figure) == {}
        figure.draw_without_rendering()
    (label,) = figure.axes[0].get_yticklabels()
    assert label.get_text() == "женщина"
    assert len(label.get_fontfamily()) > 1

"""The pages on a planted run, a copy without rows, damaged and earlier runs, and none."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import test_figures
import yaml
from pages import AppTest

import audit
from audit import build_suite
from audit.core.digits import bounds, percent
from audit.core.files import digest_of
from audit.core.resources import suites
from audit.core.rundir import Run, open_run, with_seal
from audit.explore import compare as comparison
from audit.report.narrative import narrative_of
from audit.report.page_one import page_one

FOLDER = Path(__file__).resolve().parents[2] / "dashboards"
VIEWS = sorted(path.stem for path in (FOLDER / "views").glob("*.py"))


@pytest.fixture
def run() -> Run:
    return test_figures.sample_run()


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, view: str = "overview") -> AppTest:
    monkeypatch.setattr(sys, "argv", ["app.py", str(folder)])
    if any(folder.rglob("manifest.json")):  # what was embedded for the sample run
        cache = test_figures.sample_run().path.parents[1] / "cache"
        monkeypatch.setenv("CLIP_AUDIT_CACHE", str(cache))
    page = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    if view != "overview":
        page.switch_page(f"views/{view}.py")
    page.run()
    assert not page.exception
    return page


def box(page: AppTest, label: str) -> Any:
    return [each for each in page.selectbox if each.label == label][-1]


def said(page: AppTest) -> str:
    """Everything in words on the page, as a reader sees it."""
    kinds = ("title", "subheader", "markdown", "text", "caption", "warning", "error", "info")
    parts = [str(element.value) for kind in kinds for element in page.get(kind)]
    return re.sub(r"\\(?=[\W_])", "", "\n".join(parts)).replace("\u00a0", " ")


def tables(page: AppTest) -> list[list[list[str]]]:
    """Cells of the page's tables, without their headers."""
    found = [str(m.value).split("\n") for m in page.markdown if str(m.value).startswith("| ")]
    plain = [[re.sub(r"\\(?=[\W_])", "", line) for line in lines[2:]] for lines in found]
    return [[line.replace("\u00a0", " ")[2:-2].split(" | ") for line in t] for t in plain]


def look_at(page: AppTest, *values: str) -> None:
    """Choose task, metric, label and attribute of the group table, one after the other."""
    task, metric, label, attribute = values
    counted = "wrong labels chosen" if metric == "misclassification" else "labels chosen"
    for name, value in (
        ("Task", task), ("Counted", counted), ("Attribute", attribute),
        ("Label or family", f"{metric}.{label}"),
    ):  # fmt: skip
        if box(page, name).value != value:  # a page takes half a second
            box(page, name).set_value(value)
            page.run()
            assert not page.exception


def copied(run: Run, folder: Path) -> Path:
    return Path(shutil.copytree(run.path, folder / run.name))


def resealed(path: Path, name: str, text: str) -> None:
    """Change a file of a run and its seal with it."""
    (path / name).write_text(text, encoding="utf-8")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = digest_of(path / name)
    (path / "manifest.json").write_text(json.dumps(with_seal(manifest)))


@pytest.mark.slow
def test_it_shows_what_was_asked_and_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch)
    text = said(page)
    assert "Content warning" in page.warning[0].value
    assert "1,792 pictures of 128 subjects" in text
    assert "2 could not be read" in text
    assert "clothing_colour: annotator-perceived" in text
    assert [m.value for m in page.metric] == [
        str(sum(f["verdict"] == v for f in run.findings))
        for v in ("exceeds margin", "inconclusive", "within margin")
    ]
    groups, findings = tables(page)
    assert [row[1] for row in findings] == [f["statement"] for f in run.findings[: len(findings)]]
    assert findings[0][0] == "▲ **exceeds margin** high"
    assert all(cell.strip() and cell != "nan" for row in groups for cell in row)
    lost = {(r[0], r[1]): int(r[4]) for r in groups if " x " not in r[0]}
    assert sum(n for (attribute, _), n in lost.items() if attribute == "gender") == 2


@pytest.mark.slow
def test_the_warning_comes_before_any_label(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch)
    kinds = [element.type for element in page.main]
    shown = [kind for kind in kinds if kind not in ("main", "html")]
    assert shown[:3] == ["selectbox", "title", "warning"]  # the box names runs, and no label


@pytest.mark.slow
def test_filters_leave_what_they_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch)
    page.pills(key="verdict").set_value(["inconclusive"])
    page.pills(key="attribute").set_value(["gender"])
    page.run()
    wanted = [
        f
        for f in run.findings
        if f["verdict"] == "inconclusive" and "gender" in f["attribute"].split(" x ")
    ]
    assert wanted
    assert f"of {len(wanted)} findings that pass" in said(page)
    assert [row[1] for row in tables(page)[1]] == [f["statement"] for f in wanted][:12]


@pytest.mark.slow
def test_all_findings_can_be_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch)
    assert len(tables(page)[1]) < len(run.findings)
    page.toggle(key="findings").set_value(True).run()
    assert len(tables(page)[1]) == len(run.findings)


@pytest.mark.slow
def test_the_group_table_is_the_stored_rates(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch, "disparities")
    look_at(page, "people-occupations", "selection", "doctor", "gender")
    rows = {row[0]: row for row in tables(page)[0]}
    stored = run.rates.query(
        "condition == 'ensemble' and metric == 'selection' and label == 'doctor' "
        "and attribute == 'gender'"
    )
    assert len(rows) == len(stored) == 2
    for rate in stored.itertuples():
        assert rows[rate.group][1].startswith(f"{100 * rate.value:.0f}% (")
        assert rows[rate.group][2:4] == [f"{rate.events:,}", f"{rate.n:,}"]
        assert rows[rate.group][5] == "ok"


@pytest.mark.slow
def test_a_small_group_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(
        run.path.parent, monkeypatch, "disparities"
    )  # opens at the colour with the planted gap
    unknown = next(row for row in tables(page)[0] if row[0] == "unknown")
    assert unknown[5] == "too few: fewer than 5 subjects"


@pytest.mark.slow
def test_a_choice_that_was_right_is_no_finding(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch, "disparities")
    look_at(page, "people-gender", "selection", "man", "gender")
    assert "No finding is made of this" in said(page)
    look_at(page, "people-gender", "misclassification", "any label", "gender")
    assert "No finding is made of this" not in said(page)


@pytest.mark.slow
def test_the_figure_draws_the_margin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch, "disparities")
    chart = (page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart"))[-1]
    marks = [layer["mark"]["type"] for layer in json.loads(chart.proto.spec)["layer"]]
    assert marks == ["rect", "rule", "rule", "point"]
    assert "margin of ± 5" in said(page)


@pytest.mark.slow
def test_the_widest_gap_stands_beside_chance(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch, "disparities")
    look_at(page, "people-gender", "misclassification", "any label", "age_group")
    rows = run.disparities.query(
        "task == 'people-gender' and attribute == 'age_group' and condition == 'ensemble'"
        " and metric == 'misclassification'"
    ).set_index("comparison")
    gap, spread = rows.loc["worst_case_gap"], rows.loc["between_group_sd"]
    ends = gap["low_simultaneous"], gap["high_simultaneous"]
    size, mean, high = (percent(gap[x], *ends) for x in ("value", "null_mean", "null_high"))
    text = said(page)
    assert f"differ by {size} points" in text
    assert f"by {mean} on average and up to {high} in 95% of shuffles" in text
    within = spread["low"], spread["high"]
    assert f"{percent(spread['value'], *within)} ({bounds(*within)}) points" in text
    look_at(page, "people-gender", "misclassification", "any label", "clothing_colour")
    assert "of shuffles" not in said(page)  # it varies within subjects: no null


@pytest.mark.slow
def test_pooled_rates_stand_beside_raw_ones(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch, "disparities")
    look_at(page, "people-gender", "misclassification", "any label", "ancestry x gender")
    stored = run.rates.query(
        "task == 'people-gender' and metric == 'misclassification' and condition == 'ensemble'"
        " and attribute == 'ancestry x gender'"
    )
    ends = list(zip(stored["pooled_low"], stored["pooled_high"], strict=True))
    shown = [
        f"{percent(p, *e)}% ({bounds(*e)})" for p, e in zip(stored["pooled"], ends, strict=True)
    ]
    assert [row[2] for row in tables(page)[0]] == shown
    assert all(row[1] != row[2] for row in tables(page)[0][:1])
    look_at(page, "people-gender", "misclassification", "any label", "ancestry")
    assert "Pooled" not in said(page)


@pytest.mark.slow
def test_a_run_of_the_first_layout_opens(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_figures.as_earlier(run, tmp_path)
    page = opened(tmp_path, monkeypatch)
    assert page.metric
    assert not page.error
    page = opened(tmp_path, monkeypatch, "disparities")
    text = said(page)
    for later in ("of shuffles", "Spread of all groups", "Pooled", "nan"):
        assert later not in text
    for attribute in ("ancestry x gender", "clothing_colour"):
        look_at(page, "people-gender", "misclassification", "any label", attribute)


@pytest.mark.parametrize("view", VIEWS)
def test_no_run_says_what_makes_one(
    view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(tmp_path, monkeypatch, view)
    assert "clip-audit run quick" in said(page)
    assert not page.selectbox


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "holds"),
    [
        ("compare", "only this run"),
        ("disparities", "margin of ± 5"),
        ("lab", "people-gender"),
        ("pictures", "Content warning"),
        ("report", "Auditor"),
        ("wordings", "people-gender"),
    ],
)
def test_a_page_opens(view: str, holds: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path, monkeypatch, view)
    assert not page.error
    boxes = [str(option) for box in page.selectbox for option in box.options]
    fields = [field.label for field in page.text_input]
    assert any(holds in words for words in (said(page), *boxes, *fields))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of the first layout, for pages to read."""
    run, folder = test_figures.sample_run(), tmp_path_factory.mktemp("earlier")
    made = test_figures.as_earlier(run, folder)
    cells = [{k: v for k, v in c.items() if k != "compared"} for c in run.dataset["cells"]]
    later = ("quarantined_reasons", "quarantined_by_group")
    kept = {k: v for k, v in made.dataset.items() if k not in later} | {"cells": cells}
    resealed(made.path, "dataset.json", json.dumps(kept))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_every_page_opens_a_run_of_the_first_layout(
    view: str, earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(earlier, monkeypatch, view)
    assert page.title
    assert not page.error
    assert "nan" not in re.findall(r"\w+", said(page))


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_a_damaged_run_is_shown_on_no_page(
    view: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(run, tmp_path)
    (path / "disparities.parquet").write_bytes(b"changed")
    page = opened(tmp_path, monkeypatch, view)
    assert [title.value for title in page.title] == ["This run is damaged"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The part")  # of the first page, which names it in its place
@pytest.mark.parametrize(
    ("view", "name"),
    [("wordings", "sensitivity"), ("probes", "effects"), ("report", "thresholds")],
)
def test_a_damaged_table_stops_the_pages_that_show_it(
    view: str, name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(run, tmp_path)
    (path / f"{name}.parquet").write_bytes(b"changed")
    assert opened(tmp_path, monkeypatch).metric
    page = opened(tmp_path, monkeypatch, view)
    assert f"{name}.parquet of this run is missing, changed" in said(page)
    assert not page.get("iframe")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rates.parquet", "findings.json"])
def test_a_damaged_run_names_the_file_and_shows_nothing(
    run: Run, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(run, tmp_path)
    assert not opened(tmp_path, monkeypatch).error
    (path / name).write_bytes(b"changed")
    page = opened(tmp_path, monkeypatch)
    assert name in re.sub(r"\\", "", page.error[0].value)
    assert not page.metric


@pytest.mark.slow
def test_a_broken_manifest_hides_no_other_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path)
    (tmp_path / "2099-later").mkdir()
    (tmp_path / "2099-later" / "manifest.json").write_text("{")
    page = opened(tmp_path, monkeypatch)
    assert "2099-later: manifest.json is damaged" in said(page)
    assert page.metric


@pytest.mark.slow
def test_the_newest_run_is_first_and_one_run_can_be_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(run, tmp_path)
    shutil.copytree(path, tmp_path / run.name.replace("20", "19", 1))
    page = opened(tmp_path, monkeypatch)
    assert len(box(page, "Run").options) == 2
    assert box(page, "Run").options[0].startswith("sample · planted · ")
    assert box(page, "Run").value == path.name
    assert len(box(opened(path, monkeypatch), "Run").options) == 1


@pytest.mark.slow
def test_runs_that_are_called_alike_are_told_apart_by_their_folders(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path)
    other = run.name.replace("20", "19", 1)
    shutil.copytree(run.path, tmp_path / other)
    page = opened(tmp_path, monkeypatch)
    names = box(page, "Run").options
    assert len(set(names)) == 2
    box(page, "Run").set_value(other).run()
    assert other in [text.value for text in page.sidebar.text]


@pytest.mark.slow
def test_a_copy_without_the_private_part_shows_the_same_page(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Run, task: str) -> Any:
        raise AssertionError("the page read rows about people")

    monkeypatch.setattr(Run, "outcomes", never)
    open_run(run.path).copy_without_private(tmp_path / run.name)
    for view in ("overview", "lab", "disparities", "wordings"):
        one, other = (said(opened(p, monkeypatch, view)) for p in (tmp_path, run.path))
        seconds = r"Answered in [\d.]+ s"
        assert re.sub(seconds, "", one) == re.sub(seconds, "", other)
    for source in FOLDER.rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        assert "private/" not in text.lower()
        assert "outcomes" not in text
        assert "unsafe_allow_html" not in text


@pytest.mark.slow
def test_untrusted_text_stays_text(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(run, tmp_path)
    nasty = "a | b <img src=x> [l](http://e.org) ![i](u) **b** $x$ :red[r] `c` www.e.org x@e.org"
    found = [{**run.findings[0], "statement": nasty}]
    resealed(path, "findings.json", json.dumps(found))
    page = opened(tmp_path, monkeypatch)
    (cells,) = [str(m.value) for m in page.markdown if "img src" in str(m.value)]
    cell = cells.split("\n")[2]
    assert len(re.findall(r"(?<!\\)\|", cell)) == 3  # two columns: the bar in the text made none
    statement = re.split(r"(?<!\\)\|", cell)[2]
    assert not re.search(r"(?<!\\)[<>\[\]()!$:`*@]", statement)
    for address in ("http\\://", "www\\.", "x\\@e"):
        assert address not in statement
    seen = re.sub(r"\\(?=[\W_])", "", statement).replace("\u2060", "").strip()
    assert seen == nasty


NASTY = "<script>alert(1)</script> | **b** $x$ :red[r] [l](http://e.org)"


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which a label of every table is full of markup, for pages to read."""
    path = copied(test_figures.sample_run(), tmp_path_factory.mktemp("nasty"))
    questions = json.loads((path / "questions.json").read_text())
    for question in questions:
        for label in question["label_sets"][0]["labels"]:
            if label["text"] == "thief":
                label |= {"text": NASTY, "key": NASTY}
    resealed(path, "questions.json", json.dumps(questions))
    manifest = json.loads((path / "manifest.json").read_text())
    for file in path.glob("*.parquet"):
        table = pd.read_parquet(file)
        text = table.select_dtypes(exclude="number").columns
        table[text] = table[text].replace("thief", NASTY)
        table.to_parquet(file, index=False)
        manifest["files"][file.name] = digest_of(file)
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("view", [v for v in VIEWS if v not in ("compare", "lab", "report")])
def test_a_label_full_of_markup_stays_text(
    view: str, nasty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(nasty, monkeypatch, view)
    if view == "disparities":
        look_at(page, "people-suspicion", "selection", NASTY, "gender")
    for element in page.markdown:
        text = str(element.value)
        assert not re.search(r"(?<!\\)<\s*script", text)
        assert not re.search(r"(?<!\\)\]\(http", text)
        assert not re.search(r"(?<!\\)\$x", text)
    assert not any(re.search(r"<\s*script", str(element.proto)) for element in page.get("html"))


@pytest.mark.slow
def test_the_map_holds_every_rate_and_every_difference(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path.parent, monkeypatch, "disparities")
    look_at(page, "people-occupations", "selection", "doctor", "ancestry")
    rates = run.rates.query(
        "task == 'people-occupations' and attribute == 'ancestry' and condition == 'ensemble'"
    )
    assert len(cells(page)) == len(rates)
    box(page, "Compared with").set_value("african").run()
    found = cells(page)
    gaps = run.disparities.query(
        "task == 'people-occupations' and attribute == 'ancestry' and condition == 'ensemble'"
        " and comparison == 'difference' and label == 'doctor' and metric == 'selection'"
    )
    for group in ("asian", "caucasian", "mixed"):
        (gap,) = gaps[(gaps["group"] == "african") & (gaps["other"] == group)]["value"]
        drawn = next(c for c in found if c["label"] == "doctor" and c["group"] == group)
        assert drawn["value"] == pytest.approx(-100 * gap)


@pytest.mark.slow
def test_errors_are_called_errors_on_the_map(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch, "disparities")
    tasks = run.rates.loc[run.rates["metric"] == "misclassification", "task"]
    box(page, "Task").set_value(tasks.iloc[0]).run()
    box(page, "Counted").set_value("wrong labels chosen").run()
    assert {cell["label"] for cell in cells(page)} == {"a wrong label"}


def cells(page: AppTest) -> list[dict[str, Any]]:
    """What the first chart of a page draws."""
    chart = (page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart"))[0]
    (data,) = [d for d in chart.proto.datasets] or [chart.proto.data]
    return pd.DataFrame(arrow(data)).to_dict("records")


def arrow(data: Any) -> pd.DataFrame:
    raw = data.data.data if hasattr(data, "has_name") else data.data
    return pa.ipc.open_stream(raw).read_pandas()


@pytest.mark.slow
def test_a_chosen_wording_is_told_in_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(run.path.parent, monkeypatch, "wordings")
    assert len(box(page, "Gap").options) == len(run.sensitivity)
    box(page, "Gap").select_index(1).run()
    told = set()
    for place in ("1", "2"):
        box(page, "Wording").set_value(place).run()
        text = said(page)
        assert not page.exception
        assert re.search(r"Verdict:\*\* . \*\*(exceeds margin|inconclusive|within margin)", text)
        told |= set(re.findall(r"Template:\*\* (.*?)\s*\n", text))
    assert len(told) == 2
    assert told <= set(run.specifications["template"])


@pytest.mark.slow
def test_a_chosen_wording_shows_its_groups_beside_the_headline(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path.parent, monkeypatch, "wordings")
    gap = run.sensitivity.query("task == 'people-suspicion' and attribute == 'clothing_colour'")
    (name,) = [n for n in box(page, "Gap").options if "suspicion" in n and "clothing_colour" in n]
    box(page, "Gap").select_index(box(page, "Gap").options.index(name)).run()
    rows = run.specifications[run.specifications["task"] == "people-suspicion"]
    rows = rows[rows["attribute"] == "clothing_colour"].sort_values("value", kind="stable")
    box(page, "Wording").set_value("1").run()
    first = rows.iloc[0]
    text = said(page)
    assert f"‘{first['template'].replace('{}', 'thief')}’" in text
    assert "Counted now from the stored embeddings" in text
    kept = run.rates.query("task == 'people-suspicion' and metric == 'family_selection'")
    kept = kept[kept["attribute"] == "clothing_colour"].set_index(["condition", "group"])
    shown = {row[0]: row for row in tables(page)[0]}
    assert shown["unknown"][4].startswith("too few")
    for group in (gap["group"].iloc[0], gap["other"].iloc[0], "unknown"):
        for cell, condition in ((1, f"template: {first['template']}"), (2, "ensemble")):
            told = float(shown[group][cell].split("%")[0])
            assert told == pytest.approx(100 * kept.loc[(condition, group), "value"], abs=0.51)


@pytest.mark.slow
def test_without_the_store_a_wording_says_why_and_keeps_its_gap(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path)
    open_run(run.path).copy_without_private(tmp_path / run.name.replace("20", "19", 1))
    page = opened(tmp_path / run.name, monkeypatch)
    monkeypatch.setenv("CLIP_AUDIT_CACHE", str(tmp_path / "nowhere"))
    page.switch_page("views/wordings.py").run()
    assert not page.exception
    text = said(page)
    assert "Groups are not counted again: the embedding store no longer holds all" in text
    assert re.search(r"Verdict:\*\* . \*\*(exceeds margin|inconclusive|within margin)", text)
    assert tables(page)[0][0][1].count("%") == 1  # the rates that the run kept of its templates


def charts_of(page: AppTest) -> list[dict[str, Any]]:
    found = page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart")
    return [json.loads(chart.proto.spec) for chart in found]


def held(spec: Any, name: str) -> list[Any]:
    """Every value under a name, anywhere in a chart."""
    if isinstance(spec, list):
        return [found for part in spec for found in held(part, name)]
    if not isinstance(spec, dict):
        return []
    return [*([spec[name]] if name in spec else []), *held(list(spec.values()), name)]


@pytest.mark.slow
@pytest.mark.parametrize(("view", "number"), [("wordings", 3), ("disparities", 2), ("lab", 1)])
def test_words_of_a_chart_are_in_the_pages_ink_and_axes_have_few_ticks(
    run: Run, monkeypatch: pytest.MonkeyPatch, view: str, number: int
) -> None:
    specs = charts_of(opened(run.path.parent, monkeypatch, view))
    assert len(specs) == number
    for spec in specs:
        for part in ("axis", "legend"):
            words = spec["config"][part]
            assert {words["labelColor"], words["titleColor"]} == {"currentColor"}
        numbers = [x for x in held(spec, "x") + held(spec, "y") if x.get("type") == "quantitative"]
        for axis in (x["axis"] for x in numbers if "axis" in x):
            assert axis["tickCount"] <= 6
        assert max((max(d) for d in held(spec, "domain") if len(d) == 2 and d[1] == 100),
                   default=100) == 100  # fmt: skip


@pytest.mark.slow
def test_shares_end_at_a_hundred_percent_and_long_bars_hold_their_number(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = [s for s in charts_of(opened(run.path.parent, monkeypatch, "wordings"))
               if "variance" in json.dumps(s)]  # fmt: skip
    assert [0, 100] in held(spec, "domain")
    bars, short, long = spec["layer"]
    assert bars["mark"]["type"] == "bar"
    assert (short["mark"]["align"], long["mark"]["align"]) == ("left", "right")
    assert short["transform"] == [{"filter": "!(datum.share > 80)"}]
    assert long["transform"] == [{"filter": "datum.share > 80"}]


@pytest.mark.slow
def test_the_column_of_the_wording_told_is_marked_on_the_curve(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path.parent, monkeypatch, "wordings")
    for place in (2, 0):
        box(page, "Wording").set_value(str(place + 1)).run()
        chart = (page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart"))[0]
        columns = [arrow(data) for data in chart.proto.datasets]
        (here,) = [c for c in columns if set(c) == {"from", "to"}]
        assert here.to_dict("records") == [{"from": place + 0.5, "to": place + 1.5}]


@pytest.mark.slow
def test_two_runs_are_compared_by_audits_own_comparison(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(run, tmp_path)
    shutil.copytree(path, tmp_path / run.name.replace("20", "19", 1))
    page = opened(tmp_path, monkeypatch, "compare")
    box(page, "Task").set_value("people-suspicion").run()
    assert comparison.in_short(comparison.compare(run, run, "people-suspicion")) in said(page)


@pytest.mark.slow
def test_a_run_of_the_same_pictures_is_offered_first_for_comparison(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = comparison.compare  # of one task, since which run is offered is no matter of all
    monkeypatch.setattr(comparison, "compare", lambda a, b, _: compare(a, b, "people-suspicion"))
    copied(run, tmp_path)
    for century, digest in (("19", run.manifest["dataset_digest"]), ("18", "of other pictures")):
        path = tmp_path / run.name.replace("20", century, 1)
        shutil.copytree(run.path, path)
        manifest = dict(run.manifest) | {"dataset_digest": digest}
        (path / "manifest.json").write_text(json.dumps(manifest))
    alike, unlike = sorted(tmp_path.glob("1*"), reverse=True)
    page = opened(tmp_path, monkeypatch, "compare")
    assert page.multiselect[0].value == [alike.name]
    shutil.move(alike, tmp_path / run.name.replace("20", "17", 1))
    page = opened(tmp_path, monkeypatch, "compare")
    assert page.multiselect[0].value == [run.name.replace("20", "17", 1)]
    assert unlike.name in str(page.multiselect[0].options[-1])


@pytest.mark.slow
def test_one_run_alone_or_a_copy_without_rows_says_why_it_compares_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "only this run" in said(opened(run.path, monkeypatch, "compare"))
    copied(run, tmp_path)
    open_run(run.path).copy_without_private(tmp_path / run.name.replace("20", "19", 1))
    page = opened(tmp_path, monkeypatch, "compare")
    assert "lack them" in said(page)


@pytest.mark.slow
def test_other_probes_are_the_reports_own_sections(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path, monkeypatch, "probes")
    assert "Effects" in box(page, "Topic").options
    page = box(page, "Topic").select("effects").run()
    assert any("data:image/svg+xml" in str(html.proto) for html in page.get("html"))
    assert not re.search(r"\]\(#", "".join(str(m.value) for m in page.markdown))  # leads nowhere


@pytest.mark.slow
def test_surveillance_begins_with_words_of_suspicion_beside_chance(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path, monkeypatch, "surveillance")
    assert "people-suspicion" in said(page)
    (row,) = [
        r
        for r in tables(page)[0]
        if r[0].startswith("any ‘suspicion’") and r[1] == "clothing_colour"
    ]
    gap = run.disparities.query(
        "task == 'people-suspicion' and metric == 'family_selection' and label == 'suspicion'"
        " and comparison == 'worst_case_gap' and attribute == 'clothing_colour'"
        " and condition == 'ensemble'"
    ).iloc[0]
    assert row[5].startswith(
        percent(gap["null_mean"], *gap[["low_simultaneous", "high_simultaneous"]])
    )


@pytest.mark.slow
@pytest.mark.parametrize("view", ["retrieval", "association", "robustness"])
def test_a_probe_that_was_not_asked_says_which_suite_would(
    view: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path, monkeypatch, view)
    assert f"The suite ‘{view}’ would" in said(page)


def test_every_probe_can_be_asked_by_the_line_that_a_page_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from parts.unasked import PAGES, _lines

    from audit.probes.kit.base import PROBES

    assert set(_lines()) == set(PROBES) - {"shift"}  # it needs two sources of pictures
    for kind, (suite, line) in _lines().items():
        assert "\n" not in line
        asked = yaml.safe_load(f"- {line}")[0]
        assert asked["kind"] == kind
        told = yaml.safe_load(suites()[suite].read_text())
        assert build_suite(**{**told, "probes": [asked], "primary": []}).asked
    assert {kind for kinds in PAGES.values() for kind in kinds} <= set(PROBES)


# ---- every view has an address ------------------------------------------------------------------

#: page, what its address asks for, and what is then chosen in its boxes
ADDRESSES = {
    "disparities": (
        {"task": "people-occupations", "by": "gender", "label": "selection.doctor",
         "against": "female"},
        {"Task": "people-occupations", "Attribute": "gender", "Compared with": "female",
         "Label or family": "selection.doctor"},
    ),
    "lab": ({"task": "people-occupations", "by": "gender"},
            {"Start from": "people-occupations", "By": "gender"}),
    "probes": ({"topic": "effects"}, {"Topic": "effects"}),
    "wordings": ({"wording": "2"}, {"Wording": "2"}),
    "report": ({"quote": "picture"}, {}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("view", ADDRESSES)
def test_an_address_opens_exactly_the_view_that_it_names(
    view: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, chosen = ADDRESSES[view]
    page = at(run.path, monkeypatch, view, {"run": run.name, **asked})
    assert {label: box(page, label).value for label in chosen} == chosen
    assert page.query_params.items() >= {"run": run.name}.items()


def at(path: Path, monkeypatch: pytest.MonkeyPatch, view: str, asked: dict[str, Any]) -> AppTest:
    """A page in a fresh browser, at its address."""
    monkeypatch.setattr(sys, "argv", ["app.py", str(path)])
    cache = test_figures.sample_run().path.parents[1] / "cache"
    monkeypatch.setenv("CLIP_AUDIT_CACHE", str(cache))
    page = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    if view != "overview":
        page.run()
        page.switch_page(f"views/{view}.py")
    page.query_params.update(asked)
    page.run()
    assert not page.exception
    return page


@pytest.mark.slow
def test_the_overviews_address_holds_run_fact_and_filters(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(run, tmp_path)
    older = shutil.copytree(path, tmp_path / run.name.replace("20", "19", 1))
    some = next(f for f in audit.facts(run) if f.verdict == "within margin")
    asked = {"run": older.name, "fact": some.id, "verdict": "within margin"}
    page = at(tmp_path, monkeypatch, "overview", asked)
    assert box(page, "Run").value == older.name
    assert page.pills(key="verdict").value == ["within margin"]
    assert some.statement in said(page)
    assert {"fact": some.id, "run": older.name}.items() <= page.query_params.items()


@pytest.mark.slow
def test_an_address_that_names_nothing_here_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = at(run.path, monkeypatch, "overview", {"run": "2001-gone", "fact": "<b>no</b>"})
    text = said(page)
    assert "asks for ‘2001-gone’, which is not here" in text
    assert "asks for ‘<b>no</b>’, which is not here" in text
    assert box(page, "Run").value == run.name


@pytest.mark.slow
def test_the_overview_answers_as_page_one_and_opens_each_fact(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(run.path, monkeypatch)
    first = page_one(run, narrative_of(run))
    assert first.answer in re.sub(r"\\(?=[\W_])", "", page.header[0].value)
    assert first.besides in said(page)
    rows, small, cells = (arrow(c.proto.datasets[0]) for c in charts_drawn(page))
    assert [*rows["fact"]] == [f.id for f in first.facts if len(f.sides) == 2][:12]
    assert len(cells) == len(cells[["question", "attribute"]].drop_duplicates())
    box(page, "Fact").set_value(first.facts[3].id).run()
    assert first.facts[3].statement in said(page)
    links = {link.proto.label: link.proto.query_string for link in page.get("page_link")}
    assert f"quote={first.facts[3].id}" in links["Quote in the report"]
    assert f"task={first.facts[3].task}" in links["All groups"]


def charts_drawn(page: AppTest) -> Any:
    return page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart")


def test_a_spreadsheet_takes_no_label_for_a_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from parts.words import csv

    text = csv(pd.DataFrame({"label": ["=HYPERLINK(1)", "thief"], "value": [-1.0, 2.0]})).decode(
        "utf-8-sig"
    )
    assert text.splitlines() == ["label,value", "'=HYPERLINK(1),-1.0", "thief,2.0"]


def test_what_is_the_same_for_all_readers_is_made_once_for_each_question() -> None:
    from parts.runs import same_for_all

    run = Run(Path("runs/once"), {"run": "once", "files": {}})
    rates = pd.DataFrame({"value": [1, 2]}).rename_axis(index="rates")
    gaps = pd.DataFrame({"value": [3, 4]}).rename_axis(index="disparities")
    made: list[list[int]] = []

    def make(rows: pd.DataFrame, chosen: str) -> list[int]:
        made.append([*rows["value"]])
        return made[-1]

    for _ in range(2):
        assert same_for_all(run, make, rates, "a") == [1, 2]
        assert same_for_all(run, make, gaps, "a") == [3, 4]
        assert same_for_all(run, make, rates.tail(1), "a") == [2]
    assert len(made) == 3
    same_for_all(run, make, rates, "b")
    same_for_all(Run(run.path, {**run.manifest, "run": "other"}), make, rates, "a")
    assert len(made) == 5

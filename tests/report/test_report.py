from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_figures import altered, as_earlier, sample_report, sample_run
from worlds import people

from audit.core.digits import bounds, decimals, percent
from audit.core.errors import InputError
from audit.core.evidence import unlinked
from audit.core.integrity import unedited, write_renderings
from audit.core.page import code, escaped, to_html
from audit.core.resources import shipped
from audit.core.rundir import Run, open_run
from audit.core.tables import DEPARTURE, NOT_JUDGED, SPREAD
from audit.data.labels import load_label_set
from audit.engine.gates import judge
from audit.engine.policy import Gate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.explore import replication
from audit.explore.replication_card import card_names, load_card
from audit.measure.findings import judged
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.kit import looks
from audit.probes.kit.base import PROBES
from audit.probes.kit.blocks import Folded, Part, Picture, Section, probe_would, said
from audit.probes.kit.cells import rate_in_words
from audit.probes.kit.measures_section import in_unit, measure_cells
from audit.report import drawing, figures
from audit.report import render as report
from audit.report.numbering import with_numbers
from audit.report.render import TEMPLATE, fill, render, write
from audit.report.sections import replications, wordings
from audit.report.sections.registry import SECTIONS, sections_at
from audit.store.embeddings import Store

HEADINGS = """
0. Content warning and reading guide
1. Summary
2. Audit identity
3. System and checkpoint
4. Intended, out-of-scope and prohibited uses
5. Stakeholders and harm map
6. Data
7. Groups and their limits
8. Label sets
9. Prompts
10. Pre-declared plan
11. Misclassification disparities
12. Intersectional results
13. Label-set and threshold sensitivity
14. Prompt sensitivity and specification curve
15. Retrieval bias
16. Association tests
17. Surveillance probes
18. Counterfactuals, and robustness by group
19. Calibration by group
20. Mitigation before
21. Replication cards
22. Negative controls and self-checks
23. Limits, power
24. Regulatory cross-walk
25. Recommendations and sign-off
26. Reproduction commands, environment, seeds
27. Change log
""".strip().splitlines()


CHECKS = "{% for check, result in checks() %}{{ check }}: {{ result }}\n{% endfor %}"


class Page(HTMLParser):
    """Every tag of a page with its attributes, and the text outside the style sheet."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(data)


DEAR = {"run"}  # a report, rendered


@pytest.fixture(scope="module")
def run() -> Run:
    write(sample_report(), sample_run().path)
    return sample_run()


@pytest.fixture(scope="module")
def text(run: Run) -> str:
    return (run.path / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page((run.path / "report.html").read_text(encoding="utf-8"))


def unasked(text: str) -> dict[int, str]:
    """What is said of each chapter that was not asked."""
    told = section_called(text, "Not asked in this run\n")
    lines = re.findall(r"^- \*\*(\d+)\. .*?\*\* (.*)$", told, re.M)
    return {int(number): said for number, said in lines}


def section_called(text: str, name: str) -> str:
    return text.split(f"\n## {name}")[1].split("\n## ")[0]


def section(text: str, number: int) -> str:
    return text.split(f"\n## {number}. ")[1].split("\n## ")[0]


@pytest.mark.slow
def test_every_section_is_there_in_order(text: str) -> None:
    listed = re.findall(r"^- \*\*(\d+\. .*?)\*\*", section_called(text, "Not asked"), re.M)
    headings = [h for h in re.findall(r"^## (.*)$", text, re.M) if h != "Not asked in this run"]
    chapters = sorted([*headings, *listed], key=lambda name: int(name.split(".")[0]))
    assert [h for h in chapters if h in headings] == headings
    assert len(chapters) == len(HEADINGS)
    for heading, wanted in zip(chapters, HEADINGS, strict=True):
        assert heading.startswith(wanted)


@pytest.mark.parametrize("number", [15, 16, 18, 20])
def test_what_was_not_asked_says_so_in_one_line(text: str, number: int) -> None:
    told = unasked(text)[number]
    assert " would" in told or "No probe" in told
    assert f"\n## {number}. " not in text


def test_the_warning_comes_before_any_label(text: str, run: Run) -> None:
    warned = text.index("Content warning.")
    for question in run.questions:
        for label in question["label_sets"][0]["labels"]:
            quoted = re.search(f"[‘'`| ]{label['text']}[’'`| ]", text)
            assert quoted is not None
            assert warned < quoted.start()


def test_groups_are_counted_before_any_rate(text: str) -> None:
    # '100%' and the worked example of the reading guide are no rates of this run
    summary = text[text.index("## 1. Summary") :]
    assert summary.index("female 896, male 896") < summary.index("%")


@pytest.mark.slow
def test_nothing_missing_is_printed(page: Page, text: str) -> None:
    words = " ".join(page.words)
    for word in ("nan", "None", "NaN", "undefined:", "NaT", "{{", "}}", "{%"):
        assert not re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", words), word
    assert "no harm" not in text


@pytest.mark.slow
def test_no_heading_is_shown_as_text_or_folded_with_what_stands_before_it(run: Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<p>\s*#", page)
    fold = r'<details(?: class="printed")?>(.*?)</details>'
    folded = re.findall(fold, page.partition("<main>")[2], re.S)
    assert len(folded) > 10
    assert not [fold for fold in folded if re.search(r"<h[123]", fold)]
    assert page.count('<details class="printed"><summary>All facts') == 1
    for title in ("people-occupations", "people-gender"):
        assert re.search(rf"<(h3|summary)>{title}(: nothing exceeds its margin)?</", page)


def test_the_page_fetches_nothing_and_runs_nothing(page: Page) -> None:
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form")
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "srcset", "data", "action", "background"):
            assert str(attrs.get(name, "data:")).startswith("data:image/svg+xml;base64,"[:5])
        if tag != "a":
            assert "href" not in attrs
    assert sum(tag == "img" for tag, _ in page.tags) >= 5


def test_every_contents_link_has_a_place(page: Page) -> None:
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [str(a["href"]) for tag, a in page.tags if tag == "a" and a.get("class") != "row"]
    data = [link for link in links if not link.startswith("#")]
    assert data
    assert all(re.fullmatch(r"figures/[\w-]+\.csv", link) for link in data)
    links = [link for link in links if link not in data]
    # one for all that was not asked, and the evidence
    assert len(links) == len(HEADINGS) - 4 + 1 + 1
    assert {link.removeprefix("#") for link in links} <= ids


def test_verdicts_are_those_of_the_findings(text: str, run: Run) -> None:
    signs = {"exceeds margin": "▲", "within margin": "●", "inconclusive": "◇", "seen": "■"}
    summary = section(text, 1)
    for verdict, sign in signs.items():
        found = [f for f in run.findings if f["verdict"] == verdict]
        assert f"| **{sign} {verdict}** | {len(found)} |" in summary
        rows = re.findall(rf"^\| \*\*{sign} {verdict}\*\* \| \w+ \|.*\|.*`", summary, re.M)
        assert len(rows) == len(found)
    assert {f["verdict"] for f in run.findings} >= {
        "exceeds margin",
        "within margin",
        "inconclusive",
    }


def test_every_listed_finding_names_its_evidence(text: str, run: Run) -> None:
    for finding in run.findings:
        (key,) = finding["evidence"]
        assert code(key, in_table=True) in text


def test_rates_and_gaps_are_those_of_the_tables(text: str, run: Run) -> None:
    row = run.rates.query(
        "task == 'people-occupations' and condition == 'ensemble' and label == 'doctor'"
        " and group == 'female'"
    ).iloc[0]
    cell = f"{100 * row['value']:.0f}% [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    shown = f"{cell.replace(' ', chr(0xA0))} ({row['events']})"
    assert shown in text.replace("\\", "")


# ---- how sure: plan, chance, pooling, scores, controls, wrong labels ----------------------------


def part(run: Run, folder: Path, number: int) -> str:
    """One section of the shipped template, filled in."""
    whole = shipped(TEMPLATE).read_text(encoding="utf-8")
    names = whole[: whole.index("# Bias audit of")]
    own_template = folder / "part.md"
    own_template.write_text(names + "\n\n## " + f"{number}. " + section(whole, number))
    return unlinked(fill(run, own_template, {})).replace("\u00a0", " ").replace("\\", "")


def measured(value: float, low: float, high: float) -> str:
    return f"{percent(value, low, high)} [{bounds(low, high, ', ')}]"


def lines_of(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize(
    ("plan", "proof"),
    [
        ("sealed 2026-11-20 10:15 UTC, digest 3f9a1c22", True),
        ("unsealed", False),
        ("unsealed and changed after an earlier run on this data (x)", False),
    ],
)
def test_the_plan_is_told_with_what_proves_it(
    run: Run, tmp_path: Path, plan: str, proof: bool
) -> None:
    told = part(altered(run, manifest=run.manifest | {"plan": plan}), tmp_path, 10)
    assert f"The plan is {plan}" in told
    assert ("nothing proves" in told) is not proof


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_the_family_is_described_as_it_was_compared(run: Run, tmp_path: Path) -> None:
    told = part(run, tmp_path, 10)
    assert "2,000 bootstrap resamples of whole subjects" in told
    assert "by step-down max-T over the same resamples" in told
    assert "clothing_colour unknown in " in told
    holm = run.disparities.assign(method="Newcombe, max-T; Holm")
    told = part(altered(run, disparities=holm), tmp_path, 10)
    assert "by Holm's method" in told
    none_left_out = altered(run, rates=run.rates.assign(unweighted=0))
    assert "no weight at all" not in part(none_left_out, tmp_path, 10)


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_power_goes_from_independent_pictures_to_subjects(run: Run, tmp_path: Path) -> None:
    row = next(r for r in run.dataset["power"] if r["attribute"] == "gender")
    best, worst = (percent(row[f"{case} 5%"], 0, row[f"{case} 5%"]) for case in ("base", "worst"))
    assert float(best) < float(worst)
    (line,) = lines_of(part(run, tmp_path, 10), "| gender | 2 |")
    assert f"| {row['comparisons']} |" in line
    assert f"| {best} to {worst} |" in line
    never = [row | {"base 1%": None, "worst 1%": None, "worst 5%": None}]
    told = part(altered(run, dataset=run.dataset | {"power": never}), tmp_path, 10)
    assert "– none" in told
    assert f"{best} to none" in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_a_gap_stands_beside_chance_and_the_spread(run: Run, tmp_path: Path) -> None:
    gaps = judged(run.disparities, run.rates)
    row = gaps[(gaps["task"] == "people-gender") & (gaps["attribute"] == "age_group")].iloc[0]
    ends = row["low_simultaneous"], row["high_simultaneous"]
    chance = f"{percent(row['null_mean'], *ends)}, up to {percent(row['null_high'], *ends)}"
    same = run.disparities[run.disparities["comparison"] == SPREAD]
    same = same[(same["task"] == "people-gender") & (same["attribute"] == "age_group")]
    sd = same[same["metric"] == "misclassification"].iloc[0]
    spread = percent(sd["value"], sd["low"], sd["high"])
    between = bounds(sd["low"], sd["high"], ", ")
    told = part(run, tmp_path, 11)
    (line,) = lines_of(told, "| a wrong label | age_group |")
    assert f"| {chance} | {spread} [{between}] |" in line
    (line,) = lines_of(told, "| a wrong label | clothing_colour |")
    assert "] | – |" in line  # it varies within subjects: no null


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_what_is_not_judged_is_counted_nowhere(run: Run, tmp_path: Path) -> None:
    assert (run.disparities["verdict"] == NOT_JUDGED).any()
    open_findings = [f for f in run.findings if f["verdict"] == "inconclusive"]
    assert f"- {len(open_findings)} of {len(run.findings)} findings" in part(run, tmp_path, 23)
    none = altered(run, disparities=run.disparities.assign(verdict=NOT_JUDGED))
    assert "inconclusive" not in part(none, tmp_path, 11)


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_pooled_rates_stand_beside_the_raw_ones(run: Run, tmp_path: Path) -> None:
    row = run.rates.query(
        "task == 'people-gender' and condition == 'ensemble' and group == 'african x female'"
        " and metric == 'misclassification'"
    ).iloc[0]
    raw = f"{percent(row['value'], row['low'], row['high'])}% ["
    ends = row["pooled_low"], row["pooled_high"]
    pooled = f"{percent(row['pooled'], *ends)}% [{bounds(*ends, ', ')}]"
    told = part(run, tmp_path, 12)
    (first, *_) = [line for line in told.splitlines() if line.startswith("| african x female |")]
    cells = first.split(" | ")
    assert cells[3].startswith(raw)
    assert cells[4] == pooled
    assert "a wrong label, pooled" in told
    raw_only = run.rates.assign(pooled=np.nan, pooled_low=np.nan, pooled_high=np.nan)
    assert "pooled" not in part(altered(run, rates=raw_only), tmp_path, 12)


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_pooled_verdicts_stand_beside_the_raw_ones_without_their_sign(
    run: Run, tmp_path: Path
) -> None:
    gaps = judged(run.disparities, run.rates)
    gaps = gaps[gaps["attribute"].str.contains(" x ", regex=False)]
    sure = gaps.dropna(subset=["pooled_value"]).sort_values(
        ["pooled_low_simultaneous", "pooled_value"]
    )
    row = sure.iloc[-1]  # stands first
    found = measured(
        row["pooled_value"], row["pooled_low_simultaneous"], row["pooled_high_simultaneous"]
    )
    told = part(run, tmp_path, 12).split("makes no finding.")[1]
    (first, *_) = [line for line in told.splitlines() if line.startswith(f"| {row['task']} |")]
    assert f"| {found} |" in first
    assert first.endswith(f"| {row['pooled_verdict']} |")
    turned = run.disparities.assign(pooled_verdict="within margin", verdict="exceeds margin")
    cells = part(altered(run, disparities=turned), tmp_path, 12).split("and the raw verdict")[1]
    assert "| within margin |" in cells.split("The **departure")[0]


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_the_departure_from_additivity_has_bounds_or_a_reason(run: Run, tmp_path: Path) -> None:
    rows = run.disparities[run.disparities["comparison"] == DEPARTURE]
    row = rows[(rows["task"] == "people-occupations") & (rows["label"] == "teacher")].iloc[0]
    found = measured(row["value"], row["low"], row["high"])
    told = part(run, tmp_path, 12)
    assert f"| people-occupations | ‘teacher’ | ancestry x gender | {found} |" in told
    unknown = rows[rows["status"] != "ok"].iloc[0]
    assert f"| – {unknown['reason']} |" in told
    # choices of 'man' where gender was asked are no findings, and stand nowhere
    assert not lines_of(told, "| people-gender | ‘man’ |")


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_calibration_is_told_by_group(run: Run, tmp_path: Path) -> None:
    told = part(run, tmp_path, 19)
    rows = run.calibration[run.calibration["attribute"] == "age_group"]
    for row in rows.itertuples():
        over = measured(row.overconfidence, row.low, row.high)
        (line,) = lines_of(told, f"| {row.group} | {row.n:,} | {row.subjects:,} |", f"| {over} |")
        assert f"| {percent(row.accuracy, row.low, row.high)}% |" in line
    gap = run.calibration_gaps[run.calibration_gaps["attribute"] == "age_group"].iloc[0]
    assert lines_of(told, f"| age_group | {gap['group']} | {gap['other']} |", f"| {gap['pairs']} |")
    assert "(too few)" in lines_of(told, "| unknown | 4 |")[0]
    assert "one of 20 data sets" in " ".join(told.split())
    # the surest gap leads: its figure stands before the others
    fold = told[told.index("#### Calibration of people-gender") :]
    assert fold.index("by age_group](") < fold.index("By **")


def controls(run: Run) -> pd.DataFrame:
    """Four analyses: all as they should be, and in one of them no gap could be injected."""
    table = run.controls[run.controls["task"] == "people-occupations"].head(8).copy()
    assert list(table["control"]) == ["shuffled", "injected"] * 4
    null, planted = table.index[::2], table.index[1::2]
    table.loc[null, ["comparisons", "shuffles", "allowed", "exceeds_margin", "missed"]] = (
        30,
        20,
        4,
        0,
        1,
    )
    table.loc[planted, ["comparisons", "exceeds_margin", "covered"]] = 3, 2, True
    numbers = ["planted", "value", "low_simultaneous", "high_simultaneous"]
    table.loc[planted, numbers] = 0.17, 0.19, 0.14, 0.25
    table.loc[planted, ["label", "group"]] = "gardener", "this group"
    table.loc[planted[3], ["comparisons", "exceeds_margin"]] = 0, 0
    table.loc[planted[3], "reason"] = "no gap could be shown"
    return table


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_controls_are_summed_up_in_words(run: Run, tmp_path: Path) -> None:
    told = " ".join(part(altered(run, controls=controls(run)), tmp_path, 22).split())
    assert "something exceeds the margin in 0 of 80 shuffles (0.0 %)" in told
    assert "leave out 0 in 4 (5.0 %; by chance up to 5 % of either)" in told
    assert "the margin in 3 of 3 analyses, and the bounds hold its true size in 3. In 1 no" in told
    assert "Not as it should be" not in told
    first = "| people-occupations | gender | 0 of 20 | 1 of 20 | 17: ‘gardener’ in this group |"
    assert f"{first} 19 [14, 25] | 2 of 3 | yes |" in told
    assert "| 0 of 20 | 1 of 20 | none: no gap could be shown | – | – | – |" in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_a_control_that_fails_is_named(run: Run, tmp_path: Path) -> None:
    table = controls(run)
    table.loc[table.index[2], ["exceeds_margin", "missed"]] = 3, 5
    table.loc[table.index[1], ["exceeds_margin", "covered"]] = 0, False
    told = part(altered(run, controls=table), tmp_path, 22)
    wrong = lines_of(told, "Not as it should be")
    assert len(wrong) == 2
    assert (
        "by gender: an injected gap was not found to exceed the margin (3 comparisons)" in wrong[0]
    )
    assert "by age_group: with shuffled labels something of 30 comparisons exceeds" in wrong[1]
    assert "in 3 of 20 shuffles, and bounds leave out 0 in 5: chance explains up to 4" in wrong[1]
    words = " ".join(told.split())
    assert "something exceeds the margin in 3 of 80 shuffles" in words
    assert "the margin in 2 of 3 analyses, and the bounds hold its true size in 2" in words
    assert lines_of(told, "| people-occupations | gender |", "| 0 of 3 | **no** |")


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_the_controls_of_a_run_are_all_in_the_table(run: Run, tmp_path: Path) -> None:
    told = part(run, tmp_path, 22)
    for row in run.controls[run.controls["control"] == "shuffled"].itertuples():
        cell = f"{row.exceeds_margin} of 20 | {row.missed} of 20 |"
        cell = cell if row.comparisons else f"– {row.reason} | – |"
        assert lines_of(told, f"| {row.task} | {row.attribute} | {cell}")


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_wrong_group_labels_and_the_verdicts_they_would_change(run: Run, tmp_path: Path) -> None:
    large, small, unsure = "exceeds margin", "within margin", "inconclusive"
    ends = {
        large: ([large, large, large], [large, unsure, unsure]),
        small: ([small, small, unsure], [unsure, unsure, unsure]),
        unsure: ([unsure] * 3, [unsure] * 3),
    }
    found = []
    for verdict, moved in ends.items():
        first = next(f for f in run.findings if f["verdict"] == verdict)
        shares = [dict(zip(("1 %", "5 %", "10 %"), v, strict=True)) for v in moved]
        again = dict(zip(("at random", "at worst"), shares, strict=True))
        found.append(first | {"label_errors": again})
    seen = found[0] | {"verdict": "seen", "label_errors": None}
    told = part(altered(run, findings=[*found, seen]), tmp_path, 23)
    assert "| at random | 0 of 3 | 0 of 3 | 1 of 3 |" in told
    assert "| where they mislead most | 1 of 3 | 2 of 3 | 2 of 3 |" in told
    open_verdict = "**◇ inconclusive**"
    (row,) = lines_of(told, "| **▲ exceeds margin** |")
    assert row.endswith(f"| stays | from 5 %: {open_verdict} |")
    (row,) = lines_of(told, "| **● within margin** |")
    assert row.endswith(f"| from 10 %: {open_verdict} | from 1 %: {open_verdict} |")
    assert not lines_of(told, f"| {open_verdict} |", "| stays | stays |")
    assert "If group labels" not in part(altered(run, findings=[seen]), tmp_path, 23)


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_gates_are_told_with_what_failed_first(run: Run, tmp_path: Path) -> None:
    assert "Gates" not in part(run, tmp_path, 1)
    policy = [
        Gate(attribute="gender", family="misclassification", fail_if="exceeds_margin"),
        Gate(
            attribute="clothing_colour",
            family="*",
            fail_if="exceeds_margin",
            allow=["inconclusive"],
        ),
    ]
    results = judge(judged(run.disparities, run.rates), policy)
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    (copy / "gates.json").write_text(json.dumps([r.model_dump() for r in results]))
    told = part(open_run(copy), tmp_path, 1)
    failing = [r for r in results if not r.passed]
    assert 1 < len(failing) < len(results)
    assert f"against {len(results)} gaps: {len(failing)} fail" in " ".join(told.split())
    first = told.index("exceeds margin", told.index("### Gates"))
    assert told.index("Fails 'gender, misclassification") > first
    assert len(lines_of(told, "| **✗ fails** |")) == len(failing)
    assert len(lines_of(told, "| ✓ passes |")) == len(results) - len(failing)


def test_notes_of_labels_and_templates_are_printed_and_a_run_of_before_has_none(
    run: Run, tmp_path: Path
) -> None:
    first = run.questions[0]
    noted = {
        kind: [words | {"notes": f"Read again: {words['name']}."} for words in first[kind]]
        for kind in ("label_sets", "prompt_sets")
    }
    for number, kind in ((8, "label_sets"), (9, "prompt_sets")):
        before = [{k: v for k, v in words.items() if k != "notes"} for words in first[kind]]
        told = part(altered(run, questions=[first | {kind: before}]), tmp_path, number)
        assert "Notes:" not in told
        told = part(altered(run, questions=[first | noted]), tmp_path, number)
        assert f"Notes: Read again: {first[kind][0]['name']}." in told


# ---- wording ----------------------------------------------------------------------------------


def told_of_wording(run: Run, folder: Path) -> str:
    return part(run, folder, 14)


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_one_curve_is_drawn_for_the_most_important_finding(run: Run, tmp_path: Path) -> None:
    told = told_of_wording(run, tmp_path)
    curves = set(run.sensitivity[["task", "attribute"]].itertuples(index=False, name=None))
    assert len(curves) > 10
    first = run.findings[0]
    assert lines_of(told, "![", f"specification-curve-{first['task']}-{first['attribute']}.png")
    assert told.count("](figures/specification-curve") == 1
    asked_last = altered(run, findings=run.findings[::-1])
    last = next(f for f in asked_last.findings if (f["task"], f["attribute"]) in curves)
    assert wordings.curve_lead(asked_last) == (last["task"], last["attribute"])


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_a_curve_is_told_as_model_and_question(run: Run, tmp_path: Path) -> None:
    told = told_of_wording(run, tmp_path)
    row = run.sensitivity.query("task == 'people-gender' and attribute == 'age_group'").iloc[0]
    groups = f"{row['group']} v {row['other']} (age_group)"
    (line,) = lines_of(told, "| people-gender: a wrong label |", groups)
    cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
    ends = row["low"], row["high"]
    share = row["model_share"], row["model_share_low"], row["model_share_high"]
    assert cells[2] == f"chosen of {row['candidates']}"
    assert cells[3:5] == [percent(row["headline"], *ends), measured(row["mean"], *ends)]
    assert cells[5] == measured(row["spread"], row["spread_low"], row["spread_high"])
    assert cells[6] == f"{100 * share[0]:.0f}% [{100 * share[1]:.0f}, {100 * share[2]:.0f}]"
    assert cells[7] == f"5/5 ({row['agree_sign_null']:.0%})"
    assert cells[8] == "▲ exceeds margin 5/5"
    assert cells[9:] == ["0.001", f"{row['needed']:.0f}"]
    assert "in 5 wordings" in told
    assert "No joint p can be below 0.001 (1,000 deals)." in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize(
    ("selection", "says", "other"),
    [
        ("chosen", "All questions were chosen, and the choice is paid for", "Declared"),
        ("declared", "Declared questions.", "paid for"),
        ("", "tested as if they had been fixed", "paid for"),
    ],
)
def test_it_is_said_how_a_question_was_selected(
    selection: str, says: str, other: str, run: Run, tmp_path: Path
) -> None:
    table = run.sensitivity.assign(selection=selection)
    words = " ".join(told_of_wording(altered(run, sensitivity=table), tmp_path).split())
    assert says in words
    assert other not in words
    assert ("**chosen for their gap in the headline**" in words) == (selection != "declared")


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_every_curve_has_its_line_once_the_others_folded(run: Run, tmp_path: Path) -> None:
    told = told_of_wording(run, tmp_path)
    open_part, folded = told.split("#### Curves of the same tasks by other attributes")
    folded = folded.split("####")[0]
    for place in (open_part, folded):
        assert lines_of(place, "| people-suspicion: any ‘suspicion’ |")
    lines = [x for p in (open_part, folded) for x in lines_of(p, " v ", "/5 (")]
    assert len(lines) == len(set(lines)) == len(run.sensitivity)
    assert len(lines_of(open_part, " v ", "/5 (")) == run.sensitivity["task"].nunique()


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_what_a_curve_cannot_say_has_its_reason(run: Run, tmp_path: Path) -> None:
    table = run.sensitivity.reset_index(drop=True).copy()
    numbers = ["model_share", "needed", "p_median", "kendall_w", "share_rest", "generalisability"]
    table.loc[0, numbers] = np.nan
    table.loc[0, "reason"] = "the outcome never varies; neither is beyond noise"
    table.loc[1, ["needed", "agree_sign", "p_median"]] = np.inf, 0.6, 0.00005
    table.loc[1, "reason"] = "neither is beyond noise"
    table.loc[2, ["spread", "spread_low", "spread_high"]] = 0.0
    table.loc[2:, "reason"] = ""
    told = told_of_wording(altered(run, sensitivity=table), tmp_path)
    assert f"- neither is beyond noise (2 of {len(table)} curves)." in told
    assert f"- the outcome never varies (1 of {len(table)} curves)." in told
    first, second, third = (_between(told, table.loc[i]) for i in range(3))
    assert first.endswith("| – | – |")
    assert "| – [" in first
    assert "| 3/5 (" in second
    assert second.endswith("| < 0.0001 | – no number suffices |")
    assert "| 0 [0, 0] |" in third
    folded = told.split("#### What single choices")[1].split("####")[0]
    assert "| – |" in folded


def _between(told: str, row: pd.Series) -> str:
    groups = f"| {row['group']} v {row['other']} ({row['attribute']}) |"
    lines = lines_of(told, f"| {row['task']}: ", groups)
    return lines[0].replace("\\", "")


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_variance_shares_and_steadiness_are_folded(run: Run, tmp_path: Path) -> None:
    told = told_of_wording(run, tmp_path)
    table = run.sensitivity.query("task == 'people-gender' and attribute == 'age_group'").iloc[0]
    folded = told.split("#### What single choices vary by")[1].split("####")[0]
    (line,) = lines_of(folded, "| people-gender: a wrong label | age_group |")
    assert f"| {table['share_picture']:.0%} |" in line
    steady = told.split("#### How steady")[1].split("####")[0]
    lead = wordings.curve_lead(run)
    assert lead is not None
    task, attribute = lead
    rows = run.stability[run.stability["task"] == task]
    for row in rows[rows["attribute"] == attribute].itertuples():
        flips = measured(row.flips, row.flips_low, row.flips_high).replace(" ", "% ", 1)
        assert lines_of(
            steady, f"| {task} | {row.group} | {row.n:,} | {row.subjects:,} | {flips} |"
        )
    assert len(lines_of(steady, "| everyone |")) == run.stability["task"].nunique()


def test_wordings_are_counted_from_the_fewest_to_the_most_where_tasks_differ(run: Run) -> None:
    assert wordings.wordings(run) == "5"
    one = run.sensitivity["task"] == "people-gender"
    more = altered(run, sensitivity=run.sensitivity.assign(wordings=np.where(one, 300, 5)))
    assert wordings.wordings(more) == "5 to 300"


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_without_curves_it_is_said_why(run: Run, tmp_path: Path) -> None:
    names = ("specifications", "sensitivity", "stability")
    before = altered(run, **{name: getattr(run, name).head(0) for name in names})
    told = told_of_wording(before, tmp_path)
    assert "**Specification curve.** Not asked in this run" in told
    assert "templates-spread" in told
    assert "####" not in told
    incomparable = altered(run, sensitivity=run.sensitivity.head(0))
    assert "no gap of the headline could be compared" in told_of_wording(incomparable, tmp_path)


def test_where_subjects_repeat_the_subject_is_the_unit(text: str) -> None:
    assert "rests on whole subjects, not on pictures" in " ".join(section(text, 1).split())
    assert "What repeats is the unit: 128 subjects" in " ".join(section(text, 23).split())
    assert "treat pictures as independent" not in text


@pytest.mark.slow
def test_a_run_of_the_first_layout_still_renders(run: Run, tmp_path: Path) -> None:
    old = as_earlier(run, tmp_path)
    page = render(old)
    told = page.with_suffix(".md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", told, re.M)[-1].startswith("27.")
    assert "An earlier version made this run" in section(told, 10)
    assert "treat pictures as independent" in " ".join(section(told, 23).split())
    assert "Shuffled within other attributes" not in told
    assert "pooled" not in told.lower()
    assert "the same suite, run again, would." in unasked(told)[19]
    assert "**Specification curve.** Not asked in this run" in section(told, 14)
    assert "Group labels" not in section(told, 23)
    assert "which an earlier\nversion made" in section(told, 22)
    words = " ".join(Page(page.read_text(encoding="utf-8")).words)
    assert not re.search(r"(?<!\w)(nan|NaN|None)(?!\w)", words)
    assert old.damaged() == []


def test_the_template_names_all_that_there_is(run: Run) -> None:
    source = shipped(TEMPLATE).read_text(encoding="utf-8")
    header = source[: source.index("#}")]
    for name in report.context(run, {}):
        assert re.search(rf"\b{name}\b", header), name
    for name in report._DRAW:
        assert f'figure("{name}"' in header, name


def test_only_the_digits_that_an_interval_supports() -> None:
    assert [decimals(0.1, 0.2), decimals(0.01, 0.02), decimals(0.011, 0.012)] == [0, 1, 2]
    assert decimals(float("nan"), float("nan")) == 0


def test_a_rate_that_is_undefined_says_why() -> None:
    row = {"status": "undefined", "reason": "no picture", "value": np.nan}
    assert rate_in_words(pd.Series(row)) == "undefined: no picture"
    alone = row | {"value": 0.5, "low": np.nan, "high": np.nan, "events": 2, "n": 4}
    assert rate_in_words(pd.Series(alone | {"status": "too_few"})) == "50% (2; too few)"
    row = {"status": "too_few", "value": 0.5, "low": 0.2, "high": 0.8, "events": 2, "n": 4}
    assert rate_in_words(pd.Series(row)).replace("\u00a0", " ") == "50% [20, 80] (2; too few)"


def test_quarantined_pictures_are_counted_by_group_and_reason(text: str) -> None:
    data = section(text, 6)
    assert "**2 pictures were set aside**" in data
    assert "| gender | female | empty | 1 |" in data


def test_what_the_auditor_fills_in_is_marked(page: Page) -> None:
    blanks = [attrs for tag, attrs in page.tags if attrs.get("class") == "blank"]
    assert len(blanks) >= 8


@pytest.mark.slow
def test_rendering_again_gives_the_same_and_leaves_nothing_else(run: Run) -> None:
    before = {p.name: p.read_bytes() for p in sorted(run.path.glob("report.*"))}
    made = {p.relative_to(run.path).as_posix(): p.read_bytes() for p in run.path.glob("figures/*")}
    made |= {
        name: content for name, content in before.items() if name in ("report.md", "report.html")
    }
    write_renderings(run.path, made | {"figures/old.png": b"left by an earlier version"})
    render(run)
    assert {p.name: p.read_bytes() for p in sorted(run.path.glob("report.*"))} == before
    names = {p.name for p in (run.path / "figures").iterdir()}
    assert "old.png" not in names
    png = {n.removesuffix(".png") for n in names if n.endswith(".png")}
    for kind in (".svg", ".csv"):
        assert {n.removesuffix(kind) for n in names if n.endswith(kind)} == png
    assert not any(n.startswith(".") for n in names)
    assert run.damaged() == []


def test_a_copy_without_rows_renders_too(run: Run, tmp_path: Path) -> None:
    run.copy_without_private(tmp_path / "copy")
    assert "not known: this copy has no rows about single pictures" in own(run, tmp_path, CHECKS)


@pytest.mark.slow
def test_a_changed_file_is_reported(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (copy / "suite.yaml").write_text((copy / "suite.yaml").read_text() + "# later\n")
    with pytest.raises(InputError, match=r"suite\.yaml changed"):
        own(run, tmp_path, CHECKS)
    marked = render(unedited(open_run(copy), allowed=True), tmp_path / "mine.md")
    told = marked.with_suffix(".md").read_text(encoding="utf-8")
    assert "NO, changed or missing: suite.yaml" in told
    assert "From an edited run" in told


# ---- sections with a module of their own ---------------------------------------------------------


def shown(run: Run, *sections: Section) -> str:
    """What stands in a section in which these sections are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "sections_at", lambda place: list(sections))
        return str(report.context(run, {})["section"]("retrieval"))


@pytest.mark.slow
def test_every_section_stands_in_one_of_the_template() -> None:
    source = shipped(TEMPLATE).read_text(encoding="utf-8")
    asked = re.findall(r'^\{\{ section\("(\w+)"\) \}\}$', source, re.M)
    for name, own_section in SECTIONS.items():
        assert own_section.place in asked, name
        assert own_section in sections_at(own_section.place)
        assert own_section.would.endswith(".") or not own_section.would
    assert len(set(asked)) == len(asked)
    for name in asked:
        (there,) = (p for p in source.split("\n## ") if f'{{{{ words("{name}") }}}}\n\n' in p)
        assert f'{{{{ section("{name}") }}}}' in there


@pytest.mark.slow
def test_a_section_is_told_block_by_block(run: Run) -> None:
    def tell(given: Run) -> list[object]:
        assert given is run
        rates = Picture(figures.rates_by_group, "people-gender", "gender")
        return [
            "a *plain* | string",
            said("**bold** and {name}", name="*words*"),
            Part("of <b>one</b> task", [rates, Folded("more", ["folded"])]),
        ]

    told = shown(run, Section("retrieval", "A `b` probe would.", tell))
    blocks = told.split("\n\n")
    assert blocks[0] == escaped("a *plain* | string")
    assert blocks[1] == f"**bold** and {escaped('*words*')}"
    assert blocks[2] == f"### of {escaped('<b>one</b>')} task"
    assert blocks[3].endswith("](figures/rates-by-group-people-gender-gender.png)")
    assert with_numbers(blocks[4], {}) == (
        "*Figure –. Drawn from rows of `rates` [1–2](#rates-1). "
        "Its data [as CSV](figures/rates-by-group-people-gender-gender.csv).*"
    )
    assert blocks[5:] == ["#### more", "folded"]
    page = to_html(told, {})
    assert page.index("<summary>more") < page.index("folded</p>\n</div></details>")


def test_a_measure_is_told_in_its_unit_with_chance_beside_it() -> None:
    row = {
        "unit": "nats", "status": "ok", "reason": "", "value": 0.4213, "low": 0.1, "high": 0.9,
        "low_simultaneous": 0.31, "high_simultaneous": 0.55, "null_mean": 0.2354,
        "null_low": 0.20, "null_high": 0.26, "p": 0.012, "verdict": "exceeds margin",
    }  # fmt: skip
    cells = measure_cells(pd.Series(row))
    assert [str(c).replace("\u00a0", " ") for c in cells.values()] == [
        "0.42 [0.31, 0.55]", "0.235 [0.200, 0.260]", "0.01", "**▲ exceeds margin**",
    ]  # fmt: skip
    assert next(iter(cells)) == "Value, nats [bounds]"
    single = row | {"low_simultaneous": np.nan, "high_simultaneous": np.nan, "p": np.nan}
    assert list(measure_cells(pd.Series(single)).values())[0] == "0.42\u00a0[0.10,\u00a00.90]"
    share = measure_cells(pd.Series(row | {"unit": ""}))
    assert share["Value, points [bounds]"] == "42\u00a0[31,\u00a055]"
    none = row | {"value": np.nan, "status": "too_few", "reason": "one subject"}
    told = list(measure_cells(pd.Series(none)).values())
    assert told == ["too few: one subject", "–", "–", "–"]
    alone = in_unit(1.5, np.nan, np.nan, "d")
    assert alone == "1.50"
    assert in_unit(-1e-9, -1e-9, -1e-9, "d") == "0.00\u00a0[0.00,\u00a00.00]"


def test_what_was_not_asked_is_said_beside_what_was(run: Run) -> None:
    silent, told = (
        Section("retrieval", probe_would("a")),
        Section("retrieval", "", lambda run: ["told"]),
    )
    other = Section("retrieval", "A `b` probe would.")
    assert shown(run, silent).startswith("Not asked in this run. An `a` probe would (")
    assert shown(run, told, silent, other).split("\n\n") == [
        f"Also not asked in this run. {probe_would('a')} A `b` probe would.",
        "told",
    ]
    assert shown(run, told) == "told"
    assert shown(run) == ""


def test_a_figure_that_cannot_be_drawn_leaves_its_reason(run: Run) -> None:
    none = Picture(figures.label_effects, "people-occupations")
    told = shown(run, Section("retrieval", "", lambda run: [none]))
    assert told.startswith("*No figure: ")
    assert "no label of 'people-occupations' was dropped" in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_a_probe_with_a_section_of_its_own_is_told_there_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> str:
        kinds = [q | {"kind": "robustness"} for q in run.questions[:1]]
        return part(altered(run, questions=[*kinds, *run.questions[1:]]), tmp_path, 11)

    assert "### people-gender" not in told()
    monkeypatch.setattr(report, "SECTIONS", {})
    assert "### people-gender" in told()


# ---- what each label does; thresholds; published numbers ----------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_which_label_carries_the_harm_is_told_with_its_bounds(run: Run, tmp_path: Path) -> None:
    told = part(run, tmp_path, 13)
    rows = run.effects.query(
        "task == 'people-suspicion' and edit == 'drop' and metric == 'family_selection'"
        " and attribute == 'everyone' and comparison == 'rate' and carries == carries"
    )
    assert set(rows["dropped"]) == {"thief", "criminal", "suspicious person"}
    for row in rows.itertuples():
        carries = f"{percent(row.carries, row.carries_low, row.carries_high)}% ["
        (line,) = lines_of(told, f"| suspicion | {row.dropped} | {carries}")
        ends = row.low_simultaneous, row.high_simultaneous
        assert f"| {percent(row.before, *ends)} → {percent(row.after, *ends)}% |" in line
        assert f"| {measured(row.value, *ends)} |" in line
        assert row.verdict in line
    top = rows.sort_values("carries", ascending=False).iloc[0]
    (sentence,) = lines_of(told, "- Any **‘suspicion’** label is chosen for")
    assert f"; ‘{top['dropped']}’ carries " in sentence
    assert top["dropped"] == "thief"
    assert "| teal: 100% [" in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_the_changes_are_those_of_the_table_and_the_rest_are_counted(
    run: Run, tmp_path: Path
) -> None:
    told = part(run, tmp_path, 13)
    changes = figures.leading_effects(run, "people-suspicion")
    lead = changes.iloc[0]
    ends = lead["low_simultaneous"], lead["high_simultaneous"]
    (line,) = lines_of(told, f"| {figures.edit_in_words(lead)}: any ‘suspicion’ | teal (")
    assert f"| {measured(lead['value'], *ends)} |" in line
    gap = run.effects[run.effects["comparison"] == "worst_case_gap"]
    for name in ("task", "edit", "dropped", "added", "metric", "label", "attribute"):
        gap = gap[gap[name] == lead[name]]
    (row,) = gap.itertuples()
    assert f"| {measured(row.value, row.low_simultaneous, row.high_simultaneous)} |" in line
    assert len(lines_of(told, "any ‘suspicion’ | ")) == min(12, len(changes))
    assert f"{len(changes) - 12} more change" in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_what_relieves_and_what_holds_down_is_named_if_sure(run: Run, tmp_path: Path) -> None:
    task = run.effects["task"] == "people-suspicion"
    edits = run.effects[task & (run.effects["edit"] == "swap")]
    added = edits[edits["dropped"] == "thief"].assign(edit="add", dropped="", added="child")
    added = added.drop_duplicates(
        [*figures.EDIT_COLUMNS, "attribute", "comparison", "group", "other"]
    )
    more = altered(run, effects=pd.concat([run.effects, added]))
    told = part(more, tmp_path, 13)
    (line,) = lines_of(told, "- Relieved most surely by a label more: with ‘child’ added, ‘susp")
    assert "(teal)" in line
    (line,) = lines_of(told, "- Relieved most surely by a swap: ‘")
    assert "in place of ‘thief’" in line
    risen = run.effects.assign(value=0.2, low_simultaneous=0.1, high_simultaneous=0.3)
    told = part(altered(run, effects=risen), tmp_path, 13)
    assert "by a swap: none surely moves ‘suspicion’." in told
    assert lines_of(told, "- Held down most surely: without ‘")
    still = run.effects.assign(low_simultaneous=-0.1, high_simultaneous=0.1)
    told = part(altered(run, effects=still), tmp_path, 13)
    assert "by a swap: none surely moves ‘suspicion’." in told
    assert "Held down most surely: none surely moves ‘suspicion’." in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_labels_that_draw_errors_have_a_part_of_their_own(run: Run, tmp_path: Path) -> None:
    told = part(run, tmp_path, 13)
    assert "### Which labels draw errors" not in told  # of two labels none can be dropped
    rows = run.effects[run.effects["metric"] == "family_selection"]
    rows = rows.assign(metric="misclassification", label="any label", task="people-gender")
    told = part(altered(run, effects=pd.concat([run.effects, rows])), tmp_path, 13)
    errors = told.split("### Which labels draw errors")[1]
    assert "figures/label-effects-people-gender.png" in errors
    assert lines_of(errors, "| people-gender, without ‘thief’: a wrong label | teal (")
    # the only task with a family keeps its own part
    assert "### people-suspicion: which label carries the harm" in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_thresholds_are_told_by_group_and_by_task(run: Run, tmp_path: Path) -> None:
    told = part(run, tmp_path, 13)
    assert "Asked about: 0.5% and 4%." in " ".join(told.split())
    rows = run.thresholds.query(
        "task == 'people-suspicion' and metric == 'family_kept' and comparison == 'rate'"
    )
    lead = told.split("figures/threshold-curves-people-suspicion-")[1].split(".png")[0]
    for group, of_group in rows[rows["attribute"] == lead].groupby("group"):
        (line,) = [x for x in lines_of(told, f"| {group} | ") if x.count("%") == 2]
        for threshold in (0.005, 0.04):
            (row,) = of_group[of_group["threshold"] == threshold].itertuples()
            assert f"{percent(row.value, row.low, row.high)}% [" in line
            assert f"({row.events:,}" in line
    kept = run.thresholds.query("metric == 'mean_labels_kept' and attribute == 'everyone'")
    for row in kept[kept["threshold"].isin([0.005, 0.04])].itertuples():
        cell = f"| {row.value:.1f} [{row.low:.1f}, {row.high:.1f}] |"
        assert lines_of(told, f"| {row.task} | {100 * row.threshold:.4g}% {cell}")
    (missed,) = run.thresholds.query(
        "task == 'people-gender' and metric == 'right_label_missed' and threshold == 0.04"
        " and attribute == 'everyone' and comparison == 'rate'"
    ).itertuples()
    (line,) = lines_of(told, "| people-gender | 4% |")
    assert f"({missed.events:,})" in line


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_without_effects_section_13_says_what_would(run: Run, tmp_path: Path) -> None:
    names = ("effects", "thresholds")
    none = altered(run, **{name: getattr(run, name).head(0) for name in names})
    told = part(none, tmp_path, 13).split("\n", 1)[1].strip()
    assert told.startswith("Not asked in this run. A `classification` probe would, unless")
    assert "\n" not in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_every_bundled_card_has_its_line_and_reason(run: Run, tmp_path: Path) -> None:
    told = part(run, tmp_path, 21)
    table = replication.replicate_all(map(load_card, card_names()), run)
    for name, rows in table.groupby("card"):
        (line,) = lines_of(told, f"| {name} | {len(rows)} | {len(rows)} not comparable |")
        assert "the protocols differ in model" in line
    assert "###" not in told


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_numbers_that_can_be_compared_are_told_one_by_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = replication.replicate_all(map(load_card, card_names()), run)
    one = table["key"] == table["key"].iloc[30]
    numbers = {"ours": 0.112, "difference": -0.021, "low": -0.034, "high": -0.008, "differs": 3}
    told_of = table.assign(**{k: table[k].where(~one, v) for k, v in numbers.items()})
    told_of["verdict"] = table["verdict"].where(~one, "not reproduced")
    told_of["distance"] = table["distance"].where(~one, "crop: not stated; pictures: 9 there")
    monkeypatch.setattr(replications, "replicate_all", lambda cards, run: told_of)
    told = part(run, tmp_path, 21)
    row = told_of[one].iloc[0]
    rest = (table["card"] == row["card"]).sum() - 1
    (line,) = lines_of(told, f"| {row['card']} |")
    assert told.index(line) == min(told.index(x) for x in lines_of(told, " not comparable |"))
    assert f"1 not reproduced, {rest} not comparable" in line
    ours = told.split(f"### {row['card']}")[1]
    assert "for every number: crop: not stated; pictures: 9 there." in ours
    (line,) = lines_of(ours, "| not reproduced |")
    assert f"| {100 * row['published']:.1f} | 11.2 | -2 (-3 to -1) | 3 differ" in line


# ---- templates of one's own --------------------------------------------------------------------


def own(run: Run, folder: Path, template: str) -> str:
    (folder / "mine.md").write_text(template, encoding="utf-8")
    copy = folder / "copy"
    if not copy.exists():
        shutil.copytree(run.path, copy)
    page = render(open_run(copy), folder / "mine.md")
    return page.with_suffix(".md").read_text(encoding="utf-8")


def test_a_template_of_your_own(run: Run, tmp_path: Path) -> None:
    assert own(run, tmp_path, "# Of {{ dataset.name }}\n{{ margins_table() }}").startswith(
        "# Of sample\n\n*Table 1*\n\n| Label family |"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ modle.ref }}", "'modle' is undefined"),
        ("{{ model.reff }}", "reff"),
        ("{% for x in %}", "mine.md:1"),
        ("{{ none }}", "prints a missing value"),
        ("{{ figure('pie') }}", "no figure named 'pie'"),
    ],
)
def test_a_mistake_in_a_template_is_a_sentence(
    run: Run, tmp_path: Path, template: str, says: str
) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        own(run, tmp_path, template)


@pytest.mark.slow
def test_a_mistake_leaves_the_last_report_as_it_was(run: Run, tmp_path: Path) -> None:
    before = own(run, tmp_path, "first")
    with pytest.raises(InputError):
        own(run, tmp_path, "second {{ nothing }}")
    assert (tmp_path / "copy" / "report.md").read_text() == before == "first\n"


# ---- words from people are words ----------------------------------------------------------------

NASTY = [
    "<script>alert(1)</script>",
    "a|b",
    "*star* _under_ `tick`",
    "[link](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "&lt;b&gt;",
    "# heading",
    "1. item",
    "back\\slash",
    "{{ run.path }}",
    "two\nlines",
    "clothing_colour",
]


@pytest.mark.parametrize("words", NASTY)
@pytest.mark.parametrize("around", ["{}", "so {} it is", "| head |\n| --- |\n| {} |"])
def test_words_are_shown_as_they_are(words: str, around: str) -> None:
    page = Page(to_html(around.format(escaped(words)), {}))
    assert " ".join(words.split()) in " ".join("".join(page.words).split())
    body = [tag for tag, _ in page.tags[page.tags.index(("main", {})) :]]
    assert set(body) <= {"main", "p", "div", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("words", NASTY)
def test_code_is_shown_as_it_is(words: str) -> None:
    for text in (code(words), f"| head |\n| --- |\n| {code(words, in_table=True)} |"):
        page = Page(to_html(text, {}))
        assert " ".join(words.split()) in "".join(page.words)


def test_no_picture_from_elsewhere_is_shown() -> None:
    page = to_html("![words](http://example.org/x.png) <img src=x onerror=alert(1)>", {})
    assert not any(tag == "img" for tag, _ in Page(page).tags)


@pytest.mark.slow
def test_a_nasty_label_set_ends_as_text(tmp_path: Path) -> None:
    table = people(tmp_path, 160)
    labels = tmp_path / "labels.yaml"
    names = ["<script>alert(1)</script>", "a|b *c*"]
    labels.write_text(
        "name: <b>nasty</b>\nversion: 1\npurpose: to be <i>nasty</i>\nsource: this test\n"
        f"licence: CC0-1.0\nlabels: {json.dumps(names)}\n"
    )
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: nasty\nmodel: planted\ndataset: card.yaml\nattributes: [gender]\n"
        "probes: [{kind: classification, label_set: labels.yaml, templates: bare}]\n"
    )
    texts = dict(zip(load_label_set(str(labels)).texts, np.eye(2), strict=True))
    images = {}
    for _, row in table.iterrows():
        images[_key(tmp_path / row["path"])] = np.eye(2)[int(row["gender"] == "female")] + 0.1
    encoder = PlantedEncoder(images, texts)
    store = Store(tmp_path / "cache")
    done = carry_out(load_suite(str(suite)), tmp_path / "runs", store, lambda: encoder)
    html = render(done).read_text(encoding="utf-8")
    page = Page(html)
    assert {tag for tag, _ in page.tags} & {"script", "b", "i"} == set()
    words = "".join(page.words)
    assert "‘<script>alert(1)</script>’" in words
    assert "‘a|b *c*’" in words
    assert "<b>nasty</b>" in words
    text = (done.path / "report.md").read_text(encoding="utf-8")
    assert {12, 14, 17} <= {*unasked(text)}


def _key(path: Path) -> object:
    from PIL import Image

    with Image.open(path) as picture:
        return picture_key(picture)


@pytest.mark.slow
def test_a_figure_grows_where_names_leave_no_room() -> None:
    figure = looks.blank(2.0)
    for axis in figure.subplots(1, 4):
        axis.set_yticks([0], ["W" * 40])
        axis.plot([0, 1], [0, 0])
    before = figure.get_figwidth()
    assert drawing.drawn(figure, ("rates_by_group",)).png
    assert before < figure.get_figwidth() <= before * 1.4**drawing._GROWTHS
    assert all(axis.get_position().width * figure.get_figwidth() > 0.5 for axis in figure.axes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(PROBES))
def test_a_task_of_which_a_copy_withholds_every_row_is_told_in_its_place(
    kind: str, run: Run
) -> None:
    question = run.questions[-1] | {"kind": kind, "task": "gone"}
    probe = {
        "kind": kind, "attribute": "gender", "column": "gender", "reference": "female",
        "names": None, "sizes": [2], "alarm": [], "thresholds": [], "cameras": 1,
    }  # fmt: skip
    suite = run.suite | {"probes": [*run.suite["probes"], probe]}
    without = altered(run, questions=[*run.questions, question], suite=suite)
    for name in SECTIONS:
        blocks = list(SECTIONS[name].tell(without))
        if kind == name != "robustness" and kind not in ("mitigation", "shift"):
            assert "every group was too small" in repr(blocks)

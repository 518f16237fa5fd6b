"""Which row a number rests on: addresses, links of the report, what the last part holds."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import test_figures
from typer.testing import CliRunner

from audit.cli.verbs import app
from audit.core import evidence
from audit.core.errors import InputError
from audit.core.evidence import Address, each
from audit.core.page import escaped
from audit.core.rundir import TABLES, Run
from audit.probes.kit.cells import at, like, rate_in_words, table
from audit.report import figures
from audit.report.render import Rendered


@pytest.fixture(scope="module")
def run() -> Run:
    return test_figures.sample_run()


@pytest.fixture(scope="module")
def report() -> Rendered:
    return test_figures.sample_report()


def places(name: str, *rows: int) -> list[Address]:
    return [Address(name, row) for row in rows]


# ---- addresses ---------------------------------------------------------------------------------


def test_rows_know_where_they_stand_through_filters_sorts_and_joins(run: Run) -> None:
    gaps = run.disparities
    some = gaps[gaps["status"] == "ok"].sort_values("value", ascending=False).head(5)
    most = run.rates.groupby("label")["n"].max().rename("most")
    some = some.assign(size=1).join(most, on="label")
    assert [str(p) for p in evidence.addresses(some)] == [f"disparities:{i}" for i in some.index]
    for (name, place), value in zip(evidence.addresses(some), some["value"], strict=True):
        assert getattr(run, name).iloc[place]["value"] == value


def test_a_frame_of_nobody_has_no_address() -> None:
    assert evidence.addresses(pd.DataFrame({"value": [1.0]})) == []


def test_addresses_in_short_and_back(run: Run) -> None:
    told = evidence.named([*places("rates", 7, 3, 4, 5, 12, 3), *places("effects", 0)])
    assert told == "effects:0 rates:3-5,7,12"
    rows = evidence.rows_at(run, "rates:3-5,7,12")
    assert [p.row for p in evidence.addresses(rows)] == [3, 4, 5, 7, 12]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rate:3", "Did you mean 'rates'"),
        ("rates", "Write 'rates:12'"),
        ("rates:", "Write 'rates:12'"),
        ("rates:x", "'x' is no row of rates"),
        ("rates:-3", "is no row of rates"),
        ("rates:999999999", "counted from 0"),
        ("rates:5-3", "smaller row to its larger"),
        ("../manifest:0", "has no table '../manifest'"),
    ],
)
def test_what_is_no_address_is_told_in_a_sentence(run: Run, text: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        evidence.rows_at(run, text)


# ---- tables and figures ------------------------------------------------------------------------


def test_a_number_of_a_tables_row_leads_to_it(run: Run) -> None:
    row = each(run.rates.iloc[[9]])[0]
    words = rate_in_words(row)
    assert words.endswith("](#rates-9)")
    assert evidence.unlinked(words) == escaped(words[1:].split("](")[0].replace("\\", ""))


def test_a_row_of_no_table_stays_words() -> None:
    row = each(pd.DataFrame({"value": [1.0]}))[0]
    assert at(row, "12 [8, 17]") == "12 [8, 17]"


def test_linked_numbers_are_set_to_the_right(run: Run) -> None:
    row = each(run.rates.iloc[[9]])[0]
    assert "| --- | ---: |" in table([{"A": "words", "B": at(row, "12 [8, 17]")}])


def test_unlinking_leaves_other_links_and_brackets_alone() -> None:
    text = "[12 \\[8, 17\\]](#rates-3), [a](#section-3), [b](https://c.d), \\[x\\](#rates-1)"
    assert evidence.unlinked(text) == (
        "12 \\[8, 17\\], [a](#section-3), [b](https://c.d), \\[x\\](#rates-1)"
    )


def test_rows_alike_in_some_columns() -> None:
    rows = pd.DataFrame({"a": [1, 1, 2], "b": [1, 2, 2]}, index=[5, 6, 7])
    assert list(like(rows, rows.iloc[[1]], ["a", "b"])) == [False, True, False]
    assert list(like(rows, rows.iloc[[1]], ["a"])) == [True, True, False]


def test_a_figure_names_the_rows_it_shows(run: Run) -> None:
    figure = figures.rates_by_group(run, "people-gender", "gender")
    rows = pd.concat([evidence.rows_at(run, part) for part in figure.get_label().split()])
    assert set(rows["group"]) == {"female", "male"}
    assert set(rows["metric"]) == {"misclassification"}
    drawn = {round(100 * v, 6) for v in rows["value"]}
    shown = {
        round(float(line.get_xdata()[0]), 6) for a in figure.axes for line in a.lines
        if line.get_gid() == "rate"
    }  # fmt: skip
    assert shown == drawn


def test_a_figures_line_leads_to_its_first_rows() -> None:
    told = evidence.caption("rates:3-5,7 effects:0")
    assert told == (
        "Drawn from rows of `rates` [3–5](#rates-3), [7](#rates-7); `effects` [0](#effects-0)."
    )
    many = evidence.caption("rates:" + ",".join(str(2 * i) for i in range(20)))
    assert many.count("](#") == evidence.MOST_SPANS
    assert "8 more spans" in many


# ---- the report --------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_number_that_leads_to_a_row_finds_it(report: Rendered) -> None:
    asked = set(re.findall(r'<a class="row" href="#([a-z_]+-\d+)"', report.page))
    there = re.findall(r'<a class="row" id="([a-z_]+-\d+)"', report.page)
    assert len(asked) > 100
    assert len(there) == len(set(there))
    assert asked <= set(there)


@pytest.mark.slow
def test_every_rate_and_gap_of_a_table_is_linked(report: Rendered) -> None:
    body = report.page.split('id="evidence"')[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", body)
    measured = [c for c in cells if re.search(r"\d%?\u00a0\[-?[\d.]+,\u00a0-?[\d.]+\]", c)]
    linked = [c for c in measured if 'class="row"' in c]
    assert len(linked) > 100
    # beside a linked number of the same line: pooled rates, spreads, further columns of one row
    assert len(linked) > 0.5 * len(measured)
    lines = [line for line in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)]
    bare = [x for x in lines if re.search(r"\u00a0\[-?[\d.]+,", x) and 'class="row"' not in x]
    assert bare == []


@pytest.mark.slow
def test_every_figure_names_its_rows(report: Rendered) -> None:
    without = [name for name, figure in report.figures.items() if not figure.rows]
    assert without == ["group-counts"]  # counted from the data set, not from a table
    # the page has the first one as lines, each of which leads to its row
    assert report.page.count("Drawn from rows of") == len(report.figures) - 2
    first = report.page.split('class="dumbbells"')[1].split("</figure>")[0]
    leads = {int(row) for row in re.findall(r'href="#disparities-(\d+)"', first)}
    assert leads
    assert evidence.named([evidence.Address("disparities", row) for row in leads]) == (
        report.figures["leading-facts"].rows
    )


@pytest.mark.slow
def test_what_stands_behind_a_number_is_the_tables_row(report: Rendered, run: Run) -> None:
    finding = run.findings[0]
    key = finding["evidence"][0]
    place = evidence.place_of_key(run, key)
    assert place is not None
    row = getattr(run, place.table).iloc[place.row]
    line = re.search(
        rf'<tr>\s*<td><a class="row" id="{place.table}-{place.row}".*?</tr>',
        report.page,
        re.DOTALL,
    )
    assert line is not None
    assert f"<em>value</em> {row['value']:.6g}" in line[0]
    assert f"<em>n</em> {row['n']}" in line[0]


@pytest.mark.slow
def test_text_and_paper_have_no_links_to_rows(report: Rendered) -> None:
    assert not re.search(rf"\]\(#(?:{'|'.join(TABLES)})-\d+\)", report.text)
    assert "Evidence: the rows" not in report.text
    assert "#evidence, #evidence ~ *, nav li" in report.page


# ---- the verb ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_prints_rows_whole(run: Run) -> None:
    done = CliRunner().invoke(app, ["evidence", str(run.path), "rates:3", "disparities:0-1"])
    assert done.exit_code == 0, done.output
    row = run.rates.iloc[3]
    assert "rates:3" in done.output
    assert f"{row['value']:.6g}" in done.output
    assert "disparities:1" in done.output


def test_the_id_of_a_finding_leads_to_its_rows(run: Run) -> None:
    for finding in run.findings:
        rows = evidence.rows_at(run, finding["id"])
        assert len(rows) == len(finding["evidence"])
        assert set(rows["key"]) == set(finding["evidence"])
    near = run.findings[0]["id"][:-1]
    with pytest.raises(InputError, match=f"Did you mean '{run.findings[0]['id']}'"):
        evidence.rows_at(run, near)


def test_the_command_refuses_in_a_sentence(run: Run, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evidence", str(run.path), "rates:x"])
    assert done.exit_code == 2 or isinstance(done.exception, InputError)
    nothing = CliRunner().invoke(app, ["evidence", str(tmp_path), "rates:1"])
    assert nothing.exit_code == 2 or isinstance(nothing.exception, InputError)

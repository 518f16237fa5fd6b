from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.optimize import linprog
from scipy.sparse import csr_array
from test_figures import altered
from test_figures import planted_encoder as encoder_of
from worlds import people

from audit.core.errors import InputError
from audit.core.rundir import TABLES, Run, open_run
from audit.core.tables import OK, RATES, REST, WITHHELD
from audit.data.display import Names
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.fact_rows import facts
from audit.measure.measures import measured
from audit.report.exports import outline, pdf, places
from audit.report.exports.brief import write_brief
from audit.report.exports.kinds import KINDS, export
from audit.report.exports.machine import (
    write_croissant,
    write_eval_results,
    write_ll144,
    write_model_index,
)
from audit.report.exports.pdf import write_pdf
from audit.report.exports.public import REASON, Hidden, cut, told, write_public
from audit.report.exports.withholding import Cell, Fewest, _Tables, withheld
from audit.report.exports.word import write_docx
from audit.report.narrative import save
from audit.report.page_one_text import BEGINS, ENDS
from audit.report.render import render
from audit.store.embeddings import Store

FEWEST = 20
SUITE = """
name: small-groups
model: planted
dataset: {card}
attributes: [gender, age_group, district]
intersections: [[gender, age_group]]
probes:
  - {{kind: classification, label_set: people-occupations, templates: people-plain}}
{more}confidence: {{min_group: {min_group}, min_cell: 20, resamples: 300}}
gates:
  - {{attribute: '*', family: '*', fail_if: exceeds_margin, allow: [too_few, inconclusive]}}
"""
GENDER = (
    "  - {kind: classification, label_set: people-gender, templates: people-plain, truth: sex}\n"
)
CARD = """
name: tiny
manifest: people.csv
cluster_column: subject
named_people: false
consent: drawn by a test
url: https://huggingface.co/datasets/example/tiny
attributes:
  gender: {source: generator}
  age_group: {source: generator, unknown: ["?"]}
  district: {source: generator}
  sex: {source: generator}
"""


def small_world(
    folder: Path,
    min_group: int = 12,
    more: Mapping[str, str] | None = None,
    probes: str = "",
) -> Run:
    """A run with groups of 3 and 7, an intersection of 5, and 4 whose age is unknown.

    ``more``: the groups of one subject more, if any. ``probes``: what is asked beside occupations.
    """
    everybody = people(folder, 420 + bool(more))
    table = everybody[:420]
    rng = np.random.default_rng(5)
    gender = np.array(["female", "male"])[rng.integers(2, size=420)]
    age = np.array(["young", "middle", "old"])[rng.integers(3, size=420)]
    gender[:3] = "other"
    gender[3:60], age[3:60] = "female", "young"
    old_women = np.flatnonzero((gender == "female") & (age == "old"))
    gender[old_women[5:]] = "male"
    age[416:] = "?"
    district = np.array(["north", "south", "east"])[rng.integers(3, size=420)]
    district[100:107] = "west"
    sex = np.array(["female", "male"])[rng.integers(2, size=420)]
    table = table.assign(gender=gender, age_group=age, district=district, sex=sex)
    table = pd.concat([table, everybody[420:].assign(**more or {})])
    table.to_csv(folder / "people.csv", index=False)
    (folder / "card.yaml").write_text(CARD)
    suite_text = SUITE.format(card=folder / "card.yaml", min_group=min_group, more=probes)
    (folder / "suite.yaml").write_text(suite_text)
    encoder = encoder_of(folder, table.assign(clothing_colour="teal", ancestry="x"))
    suite = load_suite(str(folder / "suite.yaml"))
    return carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_world(tmp_path_factory.mktemp("small") / "world", probes=GENDER)


@pytest.fixture(scope="module")
def copy(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = write_public(run, tmp_path_factory.mktemp("public") / "copy")
    render(made)
    return made


# ---- which groups ------------------------------------------------------------------------------


def of(counts: dict[str, int], fewest: int = 30) -> set[str]:
    cells = {("a", name): n for name, n in counts.items()}
    return {name for _, name in withheld(cells, cells, Fewest(fewest, 10))}


def test_where_no_group_is_small_nothing_is_withheld() -> None:
    assert of({"x": 31, "y": 400}) == set()


def test_a_small_group_hides_beside_the_next_smallest() -> None:
    assert of({"x": 2, "y": 40, "z": 500}) == {"x", "y"}


def test_two_small_groups_that_are_few_together_need_a_third() -> None:
    assert of({"x": 2, "y": 3, "z": 40, "w": 500}) == {"x", "y", "z"}
    assert of({"x": 15, "y": 16, "z": 40}) == {"x", "y"}


def test_where_nobody_is_there_to_hide_among_all_is_withheld() -> None:
    assert of({"x": 2, "y": 4}) == {"x", "y"}


def test_few_subjects_are_few_however_many_pictures_there_are() -> None:
    pictures = {("a", "x"): 400, ("a", "y"): 450, ("a", "z"): 500}
    subjects = {("a", "x"): 4, ("a", "y"): 450, ("a", "z"): 500}
    assert withheld(pictures, subjects, Fewest(30, 10)) == {("a", "x"), ("a", "y")}


def test_a_small_intersection_takes_a_rectangle_with_it() -> None:
    cells = crossed({"f": 100, "m": 120}, {"y": 5, "o": 85})
    assert withheld(cells, cells, Fewest(30, 10)) == {c for c in cells if c[0] == "g x a"}


def crossed(ones: dict[str, int], of_f: dict[str, int]) -> dict[Cell, int]:
    """Counts of g (f, m), a (y, o) and g x a, from those of g and of women by age."""
    rows = {"f": {"y": of_f["y"], "o": ones["f"] - of_f["y"]}}
    rows["m"] = {"y": of_f["o"], "o": ones["m"] - of_f["o"]}
    cells: dict[Cell, int] = {("g", k): n for k, n in ones.items()}
    cells |= {("a", k): rows["f"][k] + rows["m"][k] for k in ("y", "o")}
    return cells | {("g x a", f"{g} x {a}"): rows[g][a] for g in rows for a in rows[g]}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_small_group_of_random_crossings_can_be_worked_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = {"a": "pqr", "b": "stuv", "c": "wx"}
    inner = {
        cell: int(n)
        for cell in itertools.product(*names.values())
        if (n := rng.choice([0, 1, 4, 12, 60, 200]))
    }
    counts: dict[Cell, int] = {}
    for parts in ((0,), (1,), (2,), (0, 1), (1, 2)):
        attribute = " x ".join("abc"[i] for i in parts)
        for cell, n in inner.items():
            group = (attribute, " x ".join(cell[i] for i in parts))
            counts[group] = counts.get(group, 0) + n
    hidden = withheld(counts, counts, Fewest(30, 10))
    published = {cell: n for cell, n in counts.items() if cell not in hidden}
    small = [cell for cell, n in counts.items() if n < 30]
    assert small
    assert not set(small) & set(published)
    total = sum(inner.values())
    for cell in small:
        low, high = could_be(cell, published, set(counts), total)
        assert high >= min(30, total) - 1e-6
        assert low < counts[cell] - 1e-6 or not published or len(hidden) == len(counts)


def tables(seed: int, of_one: int) -> tuple[dict[Cell, int], dict[Cell, int], dict[Cell, int]]:
    """Counts of two attributes crossed; with one subject more; and of that subject alone."""
    rng = np.random.default_rng(seed)
    inner = {(a, b): int(rng.choice([0, 4, 17, 20, 21, 29, 31])) for a in "pqrs" for b in "xy"}
    newcomer = ("pqrs"[rng.integers(4)], "xy"[rng.integers(2)])
    inner[newcomer] += 1
    before: dict[Cell, int] = {}
    for (a, b), n in inner.items():
        for cell in (("a", a), ("b", b), ("a x b", f"{a} x {b}")) if n else ():
            before[cell] = before.get(cell, 0) + n
    a, b = newcomer
    one = {("a", a): of_one, ("b", b): of_one, ("a x b", f"{a} x {b}"): of_one}
    return before, {cell: n + one.get(cell, 0) for cell, n in before.items()}, one


@pytest.mark.slow
@pytest.mark.parametrize("of_one", [1, 3])
@pytest.mark.parametrize("seed", [3, 5])
def test_before_and_after_one_more_subject_no_small_group_can_be_worked_out(
    seed: int, of_one: int
) -> None:
    before, after, one = tables(seed, of_one)
    fewest = Fewest(30, 10, of_one)
    public = [
        {cell: n for cell, n in t.items() if cell not in withheld(t, t, fewest)}
        for t in (before, after)
    ]
    # whoever knows the newcomer takes it off the second, and has both copies of one table
    both = public[0] | {cell: n - one.get(cell, 0) for cell, n in public[1].items()}
    total = sum(n for (attribute, _), n in before.items() if attribute == "a")
    for cell in [cell for cell, n in before.items() if n < 30]:
        assert cell not in both
        low, high = could_be(cell, both, set(before), total)
        assert high >= min(30, total) - 1e-6, (cell, before[cell], low, high)


def test_a_protector_that_one_subject_decides_is_withheld_with_the_other() -> None:
    counts = {"west": 5, "east": 40, "north": 41, "south": 90}
    # alone 'east' was enough; of one more in 'east', 'north': together they would give 'west' away
    assert of(counts) == {"west", "east", "north"}
    assert of(counts | {"east": 41}) == {"west", "east", "north"}
    assert of(counts | {"north": 60}) == {"west", "east"}


def test_a_group_that_one_subject_makes_large_enough_stays_withheld() -> None:
    counts = {"west": 30, "east": 60, "north": 90}
    assert of(counts) == {"west"}
    assert of(counts | {"west": 31}) == set()


def could_be(
    target: Cell, published: dict[Cell, float], listed: set[Cell], total: float
) -> tuple[float, float]:
    """The attack: the least and the most that a withheld count can be, given all that is public.

    A table of counts over all crossings that gives every published sum; groups that are not listed
    at all are known to be nobody.
    """
    attributes = sorted({a for a, _ in listed if " x " not in a})
    values = [sorted(g for a, g in listed if a == attribute) for attribute in attributes]
    inner = list(itertools.product(*values))

    def within(cell: Cell) -> list[float]:
        parts = cell[0].split(" x ")
        at = [attributes.index(part) for part in parts]
        if cell[1] == "unknown" and len(parts) > 1:
            return [float("unknown" in [values[i] for i in at]) for values in inner]
        known = "unknown" if len(parts) > 1 else "-"
        return [
            float(" x ".join(v[i] for i in at) == cell[1] and known not in [v[i] for i in at])
            for v in inner
        ]

    equal = [within(cell) for cell in published] + [[1.0] * len(inner)]
    counts = [*published.values(), total]
    bounds = [(0.0, None)] * len(inner)
    for attribute in {a for a, _ in listed if " x " in a}:
        some = np.sum([within(cell) for cell in listed if cell[0] == attribute], axis=0)
        bounds = [b if s else (0.0, 0.0) for b, s in zip(bounds, some, strict=True)]
    ends = [
        linprog(sign * np.array(within(target)), None, None, equal, counts, bounds)
        for sign in (1, -1)
    ]
    assert all(end.success for end in ends)
    return float(ends[0].fun), float(-ends[1].fun)


# ---- the copy of a run -------------------------------------------------------------------------


def small_groups(run: Run) -> dict[Cell, int]:
    cells = {(c["attribute"], c["group"]): c["pictures"] for c in run.dataset["cells"]}
    return {cell: n for cell, n in cells.items() if n < FEWEST}


@pytest.mark.slow
def test_the_world_has_what_is_to_be_hidden(run: Run) -> None:
    small = small_groups(run)
    assert small["gender", "other"] == 3
    assert small["age_group", "unknown"] == 4
    assert small["district", "west"] == 7
    assert small["gender x age_group", "female x old"] == 5


@pytest.mark.slow
def test_no_row_of_a_small_group_is_published(run: Run, copy: Run) -> None:
    for name in TABLES:
        table = getattr(copy, name)
        for side in ("group", "other", "group_after", "other_after"):
            if side not in table or "attribute" not in table:
                continue
            for cell in small_groups(run):
                rows = table[(table["attribute"] == cell[0]) & (table[side] == cell[1])]
                if "status" in table:
                    assert set(rows["status"]) <= {WITHHELD}, (name, cell)
                    assert rows.empty or set(rows["reason"]) == {REASON}
                    assert rows[["value"]].isna().all(axis=None) if "value" in rows else True
                else:
                    assert rows.empty, (name, cell)


def published_counts(copy: Run, column: str, **where: str) -> dict[Cell, float]:
    """Every sum over groups that a reader can read off the tables of one question."""
    rates, gaps = copy.rates, copy.disparities
    for key, value in where.items():
        rates, gaps = rates[rates[key] == value], gaps[gaps[key] == value]
    rates = rates[rates["status"] != WITHHELD]
    found = {
        (r.attribute, r.group): float(getattr(r, column))
        for r in rates.itertuples()
        if r.attribute != "everyone"
    }
    for row in gaps[gaps["status"] != WITHHELD].itertuples():
        assert row.group != "unknown"
        for side, at in ((row.group, column), (row.other, f"{column}_other")):
            if side != REST and side and row.comparison == "difference":
                found.setdefault((row.attribute, side), float(getattr(row, at)))
    return found


@pytest.mark.slow
def test_no_small_group_can_be_counted_from_the_tables(run: Run, copy: Run) -> None:
    listed = {(c["attribute"], c["group"]) for c in run.dataset["cells"]}
    question = {"task": "people-occupations", "metric": "selection", "label": "doctor"}
    question["condition"] = "ensemble"
    public = published_counts(copy, "n", **question)
    assert len(public) >= 5
    public |= {(c["attribute"], c["group"]): float(c["pictures"]) for c in copy.dataset["cells"]}
    assert not set(public) & set(small_groups(run))
    for cell, n in small_groups(run).items():
        low, high = could_be(cell, public, listed, 420.0)
        assert high >= FEWEST - 1e-6, cell
        assert low < n, cell


@pytest.mark.slow
def test_no_event_of_a_small_group_can_be_counted(run: Run, copy: Run) -> None:
    listed = {(c["attribute"], c["group"]) for c in run.dataset["cells"]}
    question = {"task": "people-occupations", "metric": "selection", "condition": "ensemble"}
    rates = run.rates[(run.rates["attribute"] == "everyone")]
    for label in ("doctor", "teacher", "gardener"):
        public = published_counts(copy, "events", label=label, **question)
        total = rates[(rates["label"] == label) & (rates["condition"] == "ensemble")]["events"]
        for cell in small_groups(run):
            low, high = could_be(cell, public, listed, float(total.iloc[0]))
            assert high - low > 1, (label, cell)


@pytest.mark.slow
def test_copies_of_before_and_after_one_more_subject_give_no_small_group(
    run: Run, copy: Run, tmp_path: Path
) -> None:
    more = {"gender": "female", "age_group": "old", "district": "west", "sex": "female"}
    after = small_world(tmp_path / "world", more=more)
    second = write_public(after, tmp_path / "copy")
    listed = {(c["attribute"], c["group"]) for c in run.dataset["cells"]}
    joined = {*more.items(), ("gender x age_group", "female x old")}
    question = {"task": "people-occupations", "metric": "selection", "condition": "ensemble"}
    for column, label in (("n", "doctor"), ("events", "doctor"), ("events", "teacher")):
        total, new_total = (
            float(r[(r["attribute"] == "everyone") & (r["label"] == label)][column].iloc[0])
            for r in (_rows(made.rates, question) for made in (copy, second))
        )
        # what everyone's numbers grew by is the newcomer's; the rest of both copies is one table
        of_one = new_total - total
        both = {
            cell: n - of_one * (cell in joined)
            for cell, n in published_counts(second, column, label=label, **question).items()
        } | published_counts(copy, column, label=label, **question)
        for cell in small_groups(run):
            assert cell not in both
            low, high = could_be(cell, both, listed, total)
            assert high - low > 1, (column, label, cell)
            assert column == "events" or high >= FEWEST - 1e-6, cell


def _rows(table: pd.DataFrame, where: Mapping[str, str]) -> pd.DataFrame:
    return table[np.all([table[k] == v for k, v in where.items()], axis=0)]


@pytest.mark.slow
def test_the_rest_does_not_tell_who_is_unknown(copy: Run) -> None:
    gaps = copy.disparities
    rest = gaps[(gaps["attribute"] == "age_group") & (gaps["other"] == REST)]
    assert len(rest)
    assert set(rest["status"]) == {WITHHELD}


@pytest.mark.slow
def test_what_rests_on_all_groups_is_withheld_where_one_is(run: Run, copy: Run) -> None:
    touched = {attribute for attribute, _ in small_groups(run)}
    rates = copy.rates[copy.rates["attribute"].isin(touched)]
    assert rates["pooled"].isna().all()
    gaps = copy.disparities[copy.disparities["attribute"].isin(touched)]
    whole = gaps["comparison"].isin(["between_group_sd", "departure_from_additivity"])
    assert len(gaps[whole])
    assert set(gaps[whole]["status"]) == {WITHHELD}
    assert gaps["null_mean"].isna().all()
    assert set(gaps["left_out"]) == {""}  # the names of the smallest


@pytest.mark.slow
def test_findings_keep_their_verdict_and_lose_their_numbers(run: Run, copy: Run) -> None:
    keys = {**dict(zip(copy.disparities["key"], copy.disparities["status"], strict=True))}
    before = {f["id"]: f for f in run.findings}
    hidden = [f for f in copy.findings if keys.get(f["evidence"][0]) == WITHHELD]
    assert hidden
    for finding in hidden:
        assert finding["verdict"] == before[finding["id"]]["verdict"]
        assert finding["estimate"] is None
        assert finding["groups"] == []
        assert not re.search(r"\d", finding["statement"].replace(finding["task"], ""))
        assert REASON in finding["statement"]
    shown = [f for f in copy.findings if keys.get(f["evidence"][0]) == OK]
    but_caveats = [{k: v for k, v in f.items() if k != "caveats"} for f in shown]
    assert all(f.items() <= before[f["id"]].items() for f in but_caveats)
    for finding in shown:  # a caveat is kept, but for the names of groups left out
        kept = [c.split(": some that are withheld")[0] for c in finding["caveats"]]
        told_before = before[finding["id"]]["caveats"]
        assert all(b.startswith(c) for c, b in zip(kept, told_before, strict=True))
    assert {f["evidence"][0] for f in copy.findings} <= set(keys)


@pytest.mark.slow
def test_facts_of_a_copy_tell_nothing_of_a_withheld_group(run: Run, copy: Run) -> None:
    cells = {(a, g) for a, g in copy.manifest["withheld"]["groups"]}
    keys = dict(zip(copy.disparities["key"], copy.disparities["status"], strict=True))
    ids = {f["id"] for f in copy.findings if keys.get(f["evidence"][0]) == WITHHELD}
    told, before = facts(copy), facts(run)
    assert cells & {(f.attribute, side.group) for f in before for side in f.sides}
    assert not cells & {(f.attribute, side.group) for f in told for side in f.sides}
    hidden = [f for f in told if f.id in ids]
    assert hidden
    for fact in hidden:
        numbers = (fact.gap, fact.low, fact.high, fact.variants, fact.relief, fact.needed)
        assert (*numbers, fact.threshold) == (None,) * 7
        assert (fact.size, fact.people, fact.compared, fact.not_compared) == (0, 0, 0, "")
        assert REASON in fact.statement
    text = (copy.path / "report.md").read_text(encoding="utf-8")
    first = text[text.index(BEGINS) : text.index(ENDS)]
    assert "Small groups are withheld" in first
    names = Names.of(run.dataset["attributes"])
    for cell in cells:
        assert f"{names.short(*cell)} " not in first, cell


@pytest.mark.slow
def test_every_text_of_the_copy_is_free_of_small_groups(run: Run, copy: Run) -> None:
    names = {p.name for p in copy.path.rglob("*")}
    assert not any(name.startswith("private") for name in names)
    for path in copy.path.rglob("*"):
        if path.suffix in (".json", ".sarif", ".xml", ".yaml"):
            text = path.read_text(encoding="utf-8")
            assert str(run.path.parent.parent) not in text, path
            if path.name not in ("manifest.json",):
                assert "west" not in text, path
    data = [pd.read_csv(path, encoding="utf-8-sig") for path in copy.path.glob("figures/*.csv")]
    assert any("value" in rows for rows in data)
    for rows in data:
        small = rows[rows["group"] == "west"] if "group" in rows else rows.head(0)
        for column in {"value", "low", "high", "events", "pictures"} & set(rows):
            assert not small[column].fillna(0).any()


@pytest.mark.slow
def test_a_group_large_enough_to_compare_can_be_too_small_to_publish(tmp_path: Path) -> None:
    run = small_world(tmp_path / "world", min_group=5)
    west = run.rates[(run.rates["attribute"] == "district") & (run.rates["group"] == "west")]
    assert OK in set(west["status"])
    assert any("west" in f["groups"] for f in run.findings)
    copy = write_public(run, tmp_path / "copy")
    told_of = copy.rates[(copy.rates["attribute"] == "district") & (copy.rates["group"] == "west")]
    assert set(told_of["status"]) == {WITHHELD}
    assert told_of["value"].isna().all()
    assert not any("west" in json.dumps(f) for f in copy.findings)


@pytest.mark.slow
def test_the_report_says_what_is_withheld_and_why(run: Run, copy: Run) -> None:
    text = (copy.path / "report.md").read_text(encoding="utf-8")
    assert "This is a public copy" in text
    assert "fewer than 20 pictures or 10 subjects" in text
    sentences = told(copy)
    for _, group in small_groups(run):
        assert any(group in line for line in sentences)
    assert told(run) == []
    assert copy.damaged() == []
    assert copy.manifest["run"] == run.manifest["run"]


@pytest.mark.slow
def test_a_copy_is_made_once_and_of_the_original(run: Run, copy: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        write_public(run, copy.path)
    with pytest.raises(InputError, match="public copy already"):
        write_public(copy, tmp_path / "again")


@pytest.mark.slow
def test_two_copies_are_the_same_bytes(run: Run, copy: Run, tmp_path: Path) -> None:
    again = write_public(run, tmp_path / copy.path.name)
    render(again)
    files = {p.relative_to(copy.path): p.read_bytes() for p in everything(copy.path)}
    assert {p.relative_to(again.path): p.read_bytes() for p in everything(again.path)} == files


def everything(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.is_file())


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_words_about_a_withheld_finding_say_so_and_pins_go(run: Run, tmp_path: Path) -> None:
    hidden = next(f for f in run.findings if f["attribute"] == "gender" and f["groups"])
    made = open_run(run.path)
    save(made, f"sections: {{data: 'It is {{{{ {hidden['id']}.estimate = 99 }}}} points.'}}\n")
    try:
        copy = write_public(made, tmp_path / "copy")
    finally:
        (run.path / "narrative.yaml").unlink()
    assert "99" not in (copy.path / "narrative.yaml").read_text()
    render(copy)
    assert "It is withheld points." in (copy.path / "report.md").read_text(encoding="utf-8")


# ---- documents ---------------------------------------------------------------------------------

docx = pytest.importorskip("docx", reason="the extra 'export' is not installed")
pytest.importorskip("reportlab", reason="the extra 'export' is not installed")


def test_blocks_of_a_report(tmp_path: Path) -> None:
    text = (
        "# One *two*\n\n> **a** `b`\n\n- x\n- y\n\n  z\n\n3. c\n\n| h | n |\n| --- | ---: |\n"
        "| **d** | 1 |\n\n```\n<code>\n```\n\n![w](figures/f.png)\n\n![v](../g.png)\n\n<b>t</b>\n"
    )
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "f.png").write_bytes(b"")
    found = outline.blocks(text, tmp_path)
    head, quote, x, y, z, c, table, code, image, elsewhere, html = found
    assert head == outline.Heading(1, [outline.Span("One "), outline.Span("two", italic=True)])
    assert isinstance(quote, outline.Paragraph)
    assert quote.quote
    assert quote.spans[0].bold
    assert quote.spans[-1].code
    assert [(p.mark, p.depth) for p in (x, y, z, c)] == [("•", 1), ("•", 1), ("", 1), ("3.", 1)]
    assert isinstance(table, outline.Table)
    assert table.right == [False, True]
    assert outline.plain(table.rows[1][0]) == "d"
    assert code == outline.Code("<code>")
    assert image == outline.Image(tmp_path / "figures" / "f.png", "w")
    assert outline.plain(elsewhere.spans) == "v"  # nothing from outside the run
    assert outline.plain(html.spans) == "<b>t</b>"


def test_no_level_of_headings_is_left_out(tmp_path: Path) -> None:
    found = outline.blocks("# a\n\n### b\n\n#### c\n\n## d\n\n#### e\n", tmp_path)
    assert [block.level for block in found if isinstance(block, outline.Heading)] == [1, 2, 3, 2, 3]


REPORT = """# A report

## Lists

- one
- two

  of two

1. first
2. second

Between.

1. again
   - below

#### Deep

| Question | n | Found |
| --- | ---: | --- |
| misclassification | 1,280 | {sentence} |
"""


@pytest.fixture
def written(tmp_path: Path) -> Run:
    """A run of which there is a report and nothing else."""
    text = REPORT.format(sentence="a longer sentence that goes over several lines " * 4)
    (tmp_path / "report.md").write_text(text, encoding="utf-8")
    finished = "2026-11-24T10:15:30+01:00"
    return Run(tmp_path, {"run": "2026-r", "model": "planted", "finished": finished})


def test_a_word_document_has_lists_levels_widths_and_page_numbers(written: Run) -> None:
    document = docx.Document(str(write_docx(written, written.path / "a.docx")))
    styles = {p.text: p.style.name for p in document.paragraphs}
    assert [styles[text] for text in ("one", "of two", "first", "below", "Between.")] == [
        "List Bullet", "List Continue", "List Number", "List Bullet 2", "Normal",
    ]  # fmt: skip
    assert styles["Deep"] == "Heading 3"
    lists = {
        p.text: p._p.pPr.numPr.numId.val
        for p in document.paragraphs
        if p.style.name == "List Number"
    }
    assert lists["first"] == lists["second"] != lists["again"]
    numbering = document.part.numbering_part.numbering_definitions._numbering
    starts = numbering.num_having_numId(lists["again"]).xpath("./w:lvlOverride/w:startOverride")
    assert [start.val for start in starts] == [1]
    (table,) = document.tables
    wide = [cell.width.cm for cell in table.rows[1].cells]
    assert sum(wide) == pytest.approx(16, abs=0.01)
    assert wide[2] > 3 * wide[0] > 3 * wide[1]
    assert not table.autofit
    (section,) = document.sections
    inside = section.page_width.cm - section.left_margin.cm - section.right_margin.cm
    assert inside == pytest.approx(16, abs=0.01)
    assert 'w:instr="PAGE"' in section.footer._element.xml


@pytest.mark.slow
def test_a_pdf_has_the_date_of_the_run_and_brings_its_fonts(written: Run) -> None:
    reader = pytest.importorskip("pypdf", reason="the extra 'dev' is not installed")
    read = reader.PdfReader(write_pdf(written, written.path / "a.pdf"))
    assert read.metadata.creation_date.isoformat() == "2026-11-24T09:15:30+00:00"
    assert read.metadata.modification_date == read.metadata.creation_date
    assert read.metadata.creator == "clip-audit"
    assert "2026-r" in read.metadata.subject
    assert [mark.title for mark in read.outline if not isinstance(mark, list)] == [
        "A report",
        "Lists",
    ]
    fonts = [f.get_object() for p in read.pages for f in p["/Resources"]["/Font"].values()]
    assert all("/FontFile2" in font["/FontDescriptor"] for font in fonts)


@pytest.mark.slow
def test_no_word_of_a_table_is_broken_in_a_pdf(copy: Run, documents: dict[str, bytes]) -> None:
    reader = pytest.importorskip("pypdf", reason="the extra 'dev' is not installed")
    pages = reader.PdfReader(io.BytesIO(documents["pdf"])).pages
    printed = {word for page in pages for word in page.extract_text().split()}
    text = (copy.path / "report.md").read_text(encoding="utf-8")
    tables = [b for b in outline.blocks(text, copy.path) if isinstance(b, outline.Table)]
    words = {
        word
        for table in tables
        for row in table.rows
        for cell in row
        for word in outline.plain(cell).split()
    }
    assert len(words) > 200
    assert words - printed == set()


@pytest.fixture(scope="module")
def documents(copy: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("documents")
    return {
        "docx": write_docx(copy, folder / "a.docx").read_bytes(),
        "pdf": write_pdf(copy, folder / "a.pdf").read_bytes(),
        "brief": write_brief(copy, folder / "b.pdf").read_bytes(),
    }


@pytest.mark.slow
def test_a_brief_is_the_first_page_and_who_signs_on_two_pages(
    copy: Run, documents: dict[str, bytes]
) -> None:
    reader = pytest.importorskip("pypdf", reason="the extra 'dev' is not installed")
    pages = reader.PdfReader(io.BytesIO(documents["brief"])).pages
    assert len(pages) == 2
    said = " ".join(" ".join(page.extract_text() for page in pages).split())
    first = facts(copy)[0]
    assert first.statement[:20] in said
    for words in ("Content warning", "How sure", "What to do next", "Signature", "no certificate"):
        assert words in said
    assert "Digest of the data set" not in said


def test_a_report_without_a_first_page_gives_no_brief(written: Run) -> None:
    with pytest.raises(InputError, match=r"report\.md has no first page"):
        write_brief(written, written.path / "b.pdf")


@pytest.mark.slow
def test_a_word_document_holds_the_whole_report(copy: Run, documents: dict[str, bytes]) -> None:
    document = docx.Document(io.BytesIO(documents["docx"]))
    text = (copy.path / "report.md").read_text(encoding="utf-8")
    headings = [p.text for p in document.paragraphs if p.style.name == "Heading 2"]
    assert headings == re.findall(r"^## (.*)$", text, re.M)
    assert len(document.inline_shapes) == len(re.findall(r"^!\[", text, re.M)) > 3
    assert len(document.tables) == len(re.findall(r"^\| ?:?-", text, re.M))
    shapes = [shape._inline.docPr.get("descr") for shape in document.inline_shapes]
    assert all(shapes)
    assert document.core_properties.created.isoformat() in copy.manifest["finished"]


@pytest.mark.slow
def test_documents_are_the_same_bytes_again(
    copy: Run, documents: dict[str, bytes], tmp_path: Path
) -> None:
    assert write_docx(copy, tmp_path / "b.docx").read_bytes() == documents["docx"]
    assert write_pdf(copy, tmp_path / "b.pdf").read_bytes() == documents["pdf"]
    assert documents["pdf"].startswith(b"%PDF-")


@pytest.mark.slow
def test_a_run_without_a_report_says_how_to_get_one(run: Run, tmp_path: Path) -> None:
    bare = altered(run)
    (tmp_path / "bare").mkdir()
    object.__setattr__(bare, "path", tmp_path / "bare")
    with pytest.raises(InputError, match=r"has no report\.md.*clip-audit report"):
        write_docx(bare, tmp_path / "x.docx")


def test_signs_and_words_are_escaped_in_a_pdf() -> None:
    marked = pdf._marked([outline.Span("<b>&", bold=True), outline.Span("\x00x", link="file:///")])
    assert marked == "<b>&lt;b&gt;&amp;</b>x"


def test_columns_fill_the_page_and_none_vanishes() -> None:
    cell = [outline.Span("word " * 60)]
    size, widths = pdf._columns([[[outline.Span("12")], cell, cell]], 400)
    assert size == 7
    assert sum(widths) == pytest.approx(400)
    assert min(widths) > 10
    assert widths[1] == widths[2] > widths[0]


# ---- for machines ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_index_is_read_by_the_hub_s_own_library(run: Run, tmp_path: Path) -> None:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    data = yaml.safe_load(write_model_index(run, tmp_path / "m.yaml").read_text())
    name, results = model_index_to_eval_results(data["model-index"])
    with_number = [f for f in run.findings if f["estimate"] is not None]
    assert name == run.manifest["model"]
    assert sorted(r.metric_value for r in results) == sorted(f["estimate"] for f in with_number)
    assert {r.metric_args["finding"] for r in results} == {f["id"] for f in with_number}
    assert {r.dataset_revision for r in results} == {run.dataset["digest"]}


@pytest.mark.slow
def test_a_model_card_written_by_the_hub_s_library_keeps_tasks_apart(
    run: Run, tmp_path: Path
) -> None:
    from huggingface_hub import ModelCard

    data = yaml.safe_load(write_model_index(run, tmp_path / "m.yaml").read_text())
    given = {r["task"]["name"]: len(r["metrics"]) for r in data["model-index"][0]["results"]}
    assert len(given) > 1
    card = ModelCard(f"---\n{yaml.safe_dump(data)}---\n# A model\n")
    again = ModelCard(str(card)).data.to_dict()["model-index"][0]["results"]
    assert {r["task"]["name"]: len(r["metrics"]) for r in again} == given
    for result in again:
        told = {m["args"]["finding"].split(".")[0] for m in result["metrics"]}
        assert told == {result["task"]["name"]}


@pytest.mark.slow
def test_evaluation_results_are_read_by_the_hub_s_own_library(run: Run, tmp_path: Path) -> None:
    from huggingface_hub import parse_eval_result_entries

    rows = yaml.safe_load(write_eval_results(run, tmp_path / "e.yaml").read_text())
    assert {row["date"] for row in rows} == {run.manifest["finished"][:10]}
    (first,) = [r for r in rows if r["dataset"]["task_id"] == run.findings[0]["id"]]
    assert first["value"] == run.findings[0]["estimate"]
    assert first["notes"].startswith(run.findings[0]["verdict"])
    read = parse_eval_result_entries(rows)
    assert [entry.task_id for entry in read] == [row["dataset"]["task_id"] for row in rows]
    assert {entry.dataset_id for entry in read} == {"example/tiny"}


@pytest.mark.slow
@pytest.mark.parametrize("url", ["", "https://example.org/tiny", "https://huggingface.co/tiny"])
def test_evaluation_results_are_refused_for_a_data_set_that_the_hub_does_not_have(
    run: Run, tmp_path: Path, url: str
) -> None:
    elsewhere = run.dataset | {"card": run.dataset["card"] | {"url": url}}
    with pytest.raises(InputError, match=r"names no data set of the Hugging Face hub.*'url: https"):
        write_eval_results(altered(run, dataset=elsewhere), tmp_path / "e.yaml")


@pytest.mark.slow
def test_a_public_copy_exports_no_withheld_number(copy: Run, tmp_path: Path) -> None:
    rows = yaml.safe_load(write_eval_results(copy, tmp_path / "e.yaml").read_text())
    assert {r["dataset"]["task_id"] for r in rows} == {
        f["id"] for f in copy.findings if f["estimate"] is not None
    }
    assert len(rows) < len(copy.findings)


@pytest.mark.slow
def test_croissant_names_every_table_and_column(copy: Run) -> None:
    data = json.loads(write_croissant(copy, copy.path / "croissant.json").read_text())
    files = {f["@id"]: f["sha256"] for f in data["distribution"]}
    assert files == {k: v for k, v in copy.manifest["files"].items() if k.endswith(".parquet")}
    fields = {s["@id"]: [f["name"] for f in s["field"]] for s in data["recordSet"]}
    assert fields == {name: list(schema.columns) for name, schema in TABLES.items()}
    assert all(
        s["description"] and all(f["description"] for f in s["field"]) for s in data["recordSet"]
    )
    assert "http://mlcommons.org/croissant/RAI/1.0" in data["conformsTo"]
    # a digest is schema.org's word, which the context's @vocab gives; the reader knows no other
    assert data["@context"]["@vocab"] == "https://schema.org/"
    assert "sha256" not in data["@context"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", data["version"])
    assert copy.manifest["tables"] in data["identifier"]
    for key in ("dataBiases", "dataLimitations", "personalSensitiveInformation", "dataUseCases"):
        assert data[f"rai:{key}"]
    assert "west" not in json.dumps(data)


@pytest.mark.slow
def test_croissant_is_read_by_the_format_s_own_library(copy: Run) -> None:
    reader = pytest.importorskip(
        "mlcroissant", reason="needs jsonpath-rw, of which there is no wheel: pip install it"
    )
    path = write_croissant(copy, copy.path / "croissant.json")
    read = reader.Dataset(str(path))
    assert not read.metadata.ctx.issues.errors
    assert all("schema.org/license" in w for w in read.metadata.ctx.issues.warnings)
    for name in ("rates", "controls"):
        table = getattr(copy, name)
        rows = list(read.records(name))
        assert len(rows) == len(table) > 0
        assert [row[f"{name}/task"].decode() for row in rows] == list(table["task"])


@pytest.mark.slow
def test_selection_rates_are_refused_unless_declared(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="declares no label to be a favourable selection"):
        write_ll144(run, tmp_path / "l.csv")
    for declared, near in (
        ({"people-occupation": ["doctor"]}, "Did you mean 'people-occupations'?"),
        ({"people-occupations": ["docter"]}, "Did you mean 'doctor'?"),
    ):
        with pytest.raises(InputError, match=re.escape(near)):
            write_ll144(declaring(run, declared), tmp_path / "l.csv")


def declaring(run: Run, declared: object) -> Run:
    return altered(run, suite=run.suite | {"favourable": declared})


@pytest.mark.slow
def test_impact_ratios_by_hand(run: Run, tmp_path: Path) -> None:
    path = write_ll144(declaring(run, {"people-occupations": ["doctor"]}), tmp_path / "l.csv")
    table = pd.read_csv(path).set_index(["attribute", "category"])
    groups = run.groups()
    chosen = run.outcomes("people-occupations").query("condition == 'ensemble'")
    is_doctor = chosen.set_index("image_id")["predicted"].eq("doctor")
    by_gender = is_doctor.groupby(groups.set_index("image_id")["gender"]).agg(["sum", "size"])
    rates = by_gender["sum"] / by_gender["size"]
    large = rates[by_gender["size"] >= 0.02 * len(groups)]
    assert {*rates.index} - {*large.index} == {"other"}
    for gender in rates.index:
        row = table.loc[("gender", gender)]
        assert (row["selected"], row["pictures"]) == tuple(by_gender.loc[gender])
        assert row["selection_rate"] == pytest.approx(rates[gender], abs=1e-4)
        if gender in large.index:
            assert row["impact_ratio"] == pytest.approx(rates[gender] / large.max(), abs=1e-4)
            assert row["compared_with"] == large.idxmax()
    other = table.loc[("gender", "other")]
    assert other["under_2_percent"] == "yes"
    assert np.isnan(other["impact_ratio"])
    assert "the rule allows to be left out" in other["reason"]
    nobody = table.loc[("gender", "unknown")]
    assert (nobody["pictures"], nobody["selected"]) == (0, 0)
    assert "intersections" not in table.index
    unknown = table.loc[("age_group", "unknown")]
    assert unknown["pictures"] == 4
    assert np.isnan(unknown["impact_ratio"])
    assert ("gender x age_group", "female x old") in table.index


def rates_of(counts: Mapping[str, tuple[int, int]]) -> pd.DataFrame:
    """Rates of one attribute by pictures and selected of each group."""
    everyone = {"everyone": tuple(map(sum, zip(*counts.values(), strict=True)))}
    rows = [
        RATES.blank | {
            "task": "t", "condition": "ensemble", "metric": "selection", "label": "=1+1",
            "attribute": "everyone" if group in everyone else "race", "group": group, "n": n,
            "subjects": n, "events": selected, "value": selected / n, "status": OK,
        }
        for group, (n, selected) in (everyone | counts).items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_category_under_2_percent_is_no_denominator_and_what_is_missing_is_said(
    tmp_path: Path,
) -> None:
    counts = {"a": (300, 60), "b": (294, 30), "Été": (6, 6)}
    made = altered(
        Run(tmp_path, {"run": "r", "finished": "2026-11-24T10:00:00+00:00"}),
        rates=rates_of(counts),
        suite={"favourable": {"t": ["=1+1"]}},
        dataset={"name": "tiny", "card": {"provenance": "drawn by a test"}},
    )
    path = write_ll144(made, tmp_path / "l.csv")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # by which a spreadsheet knows UTF-8
    table = pd.read_csv(path, keep_default_na=False).set_index("category")
    ratios = table["impact_ratio"].to_dict()
    assert ratios == {"a": "1.0000", "b": "0.5102", "Été": "", "unknown": "", "": ""}
    assert list(table["compared_with"]) == ["a", "a", "", "", ""]
    assert set(table["selection"]) == {"'=1+1"}  # no formula
    small = table.loc["Été"]
    assert (small["pictures"], small["selection_rate"]) == ("6", "1.0000")
    assert set(table["explanation_of_data"]) == {"drawn by a test"}
    assert table["distribution_date"].str.startswith("not stated").all()
    none = table.loc[""]
    assert (none["attribute"], none["status"]) == ("intersections", "not_asked")
    assert "declares none" in none["reason"]


@pytest.mark.slow
def test_a_public_copy_withholds_ratios_too(copy: Run, tmp_path: Path) -> None:
    path = write_ll144(declaring(copy, {"people-occupations": ["doctor"]}), tmp_path / "l.csv")
    table = pd.read_csv(path).set_index(["attribute", "category"])
    other = table.loc[("gender", "other")]
    assert np.isnan(other["pictures"])
    assert other["status"] == WITHHELD
    assert table.loc[["gender", "age_group"], "impact_ratio"].isna().all()
    assert "may be among those withheld" in table.loc[("age_group", "young"), "reason"]


@pytest.mark.slow
def test_an_unknown_kind_names_the_nearest(run: Run) -> None:
    with pytest.raises(InputError, match=r"no kind of export named 'pdff'.*'pdf'"):
        export(run, ["pdff"])


@pytest.mark.slow
def test_every_kind_of_the_command_line_can_be_written(copy: Run) -> None:
    from audit.cli.verbs import Export

    assert {kind.value for kind in Export} == set(KINDS)
    (path,) = export(copy, ["eval-results"])
    assert path == copy.path / "exports" / ".eval_results" / "clip-audit.yaml"
    assert copy.damaged() == []


def test_measures_about_few_are_withheld_and_places_of_a_ranking_are_not() -> None:
    rows = [
        {"probe": "counterfactual", "group": "hair", "n": 1, "subjects": 1},
        {"probe": "counterfactual", "group": "hair", "n": 40, "subjects": 40, "condition": "b"},
        {"probe": "counterfactual", "group": "hat", "n": 40, "subjects": 40},
        {"probe": "counterfactual", "group": "everyone", "n": 3, "subjects": 3},
        {"probe": "retrieval", "group": "hat", "n": 10, "subjects": 10},
        {"probe": "retrieval", "group": "hat", "n": 10, "subjects": 5, "metric": "recall_at_k"},
    ]
    every = {"task": "t", "attribute": "changed", "value": 0.5, "statement": "5!"}
    table = measured([{"condition": "a", "metric": "m"} | row | every for row in rows])
    done = cut("measures", table, Hidden(Fewest(20, 10), frozenset(), {}))
    # but people who were sought are people
    assert list(done.table["status"]) == [WITHHELD, OK, OK, OK, OK, WITHHELD]
    assert done.table["statement"][0] == f"The value is withheld, {REASON}."
    assert (done.table["n"][0], done.table["verdict"][0]) == (0, table["verdict"][0])
    assert done.count == len(done.keys) == 2
    hidden = Hidden(Fewest(20, 10), frozenset({("changed", "hat"), ("changed", "hair")}), {})
    # of all groups together is withheld too: with all but one known that one would follow
    assert set(cut("measures", table, hidden).table["status"]) == {WITHHELD}


def test_a_path_of_this_machine_is_its_last_name_and_a_name_stays_what_it_is() -> None:
    given = {"dataset": "/home/ann/people/card.yaml", "attributes": ["/a/b", "../up"], "n": 1}
    published = places.without_paths(given, frozenset({"/a/b", "../up"}))
    assert published == {**given, "dataset": "card.yaml"}
    asked = [{"label_sets": [{"labels": [{"text": "~/x", "key": "x"}]}], "templates": ["/ {}"]}]
    assert set(places._texts(asked)) == {"~/x", "x", "/ {}"}


def test_a_group_beside_whom_nobody_is_known_hides_them_all() -> None:
    """One picture of a known group, five of whom nobody knows anything."""
    tables = _Tables((("a", "x"),), np.array([1.0]), csr_array((1, 0)), 6)
    assert tables.moved(("a", "x"), 2, {("a", "x")}, 2) == {("a", "x")}

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest

from audit.core.digits import number, rounded
from audit.core.errors import InputError
from audit.core.resources import shipped
from audit.core.rows import Row
from audit.core.rundir import Run
from audit.core.verdicts import Verdict
from audit.data.card import AttributeCard
from audit.data.display import Display, Names
from audit.data.yamlfile import load_yaml, validate
from audit.measure.fact_rows import _Tables
from audit.measure.fact_words import (
    Told,
    groups_in_words,
    points,
    prompts_in_words,
    rate,
    rate_of,
    relief_in_words,
    variants_in_words,
)
from audit.measure.facts import Asked, Fact, Relief, Side, Threshold, Variants, merged, ranked
from audit.measure.findings import size_in_margins

EXCEEDS, WITHIN, OPEN = "exceeds margin", "within margin", "inconclusive"
NAMES = Names({})


def finding(label: str = "thief", attribute: str = "colour", **more: object) -> Row:
    """A finding of a gap of 60 points (50 to 70), ``more`` changed."""
    given: Row = {
        "task": "t",
        "metric": "selection",
        "label": label,
        "attribute": attribute,
        "groups": ["yellow", "black"],
        "verdict": EXCEEDS,
        "severity": "medium",
        "harm": "stereotyping",
        "estimate": 0.6,
        "low": 0.5,
        "high": 0.7,
        "margin": 0.05,
        "statement": "said",
        "caveats": [],
        "role": "",
    }
    found = given | more
    name = f"{found['metric']}.{found['label']}.{found['attribute']}.{found['groups']}"
    return {"id": name, "evidence": [name], **found}


def grouped(found: Sequence[Row], asked: Asked | None = None) -> list[list[str]]:
    """Which findings are told together, by label and attribute."""
    return [
        [f"{f['label']}/{f['attribute']}" for f in one]
        for one in merged(found, Asked() if asked is None else asked)
    ]


SUSPICION = Asked(families={("t", "suspicion"): frozenset({"thief", "burglar"})})


def category(**more: object) -> Row:
    return finding("suspicion", metric="family_selection", **more)


# ---- what says one thing -------------------------------------------------------------------------


def test_a_category_is_told_with_the_label_that_carries_it() -> None:
    found = [
        finding("thief"),
        finding("burglar", groups=["teal", "black"]),
        category(estimate=0.62),
    ]
    assert grouped(found, SUSPICION) == [["thief/colour", "suspicion/colour"], ["burglar/colour"]]


def test_a_category_larger_than_each_label_by_a_margin_leads_them() -> None:
    found = [finding("thief", estimate=0.3), finding("burglar", estimate=0.3), category()]
    assert grouped(found, SUSPICION) == [["suspicion/colour", "thief/colour", "burglar/colour"]]


def test_a_category_of_another_group_or_verdict_stays_its_own() -> None:
    other = category(groups=["teal", "black"])
    assert len(grouped([finding("thief"), other], SUSPICION)) == 2
    assert len(grouped([finding("thief"), category(verdict=OPEN)], SUSPICION)) == 2
    # what is open of a category is open of its labels, whichever groups are furthest apart
    still = [finding("thief", verdict=OPEN, groups=["red", "blue"]), category(verdict=OPEN)]
    assert grouped(still, SUSPICION) == [["suspicion/colour", "thief/colour"]]


CROSSED = {"attribute": "colour x hair", "groups": ["yellow x long", "black x short"]}


@pytest.mark.parametrize(
    ("crossed", "alone"),
    [
        ({"estimate": 0.64, "low": 0.4}, False),  # larger by less than the margin
        ({"estimate": 0.8, "low": 0.55}, False),  # by more, but not surely larger
        ({"estimate": 0.8, "low": 0.65}, True),
        ({"estimate": 0.3, "verdict": OPEN}, False),
    ],
)
def test_an_intersection_is_a_fact_of_its_own_where_it_is_surely_worse(
    crossed: Row, alone: bool
) -> None:
    found = [finding(), finding(**cast(Row, CROSSED) | crossed)]
    assert (len(grouped(found)) == 2) == alone


def test_what_is_open_is_not_hidden_behind_what_is_within_its_margin() -> None:
    within = finding(verdict=WITHIN, estimate=0.01)
    still = finding(**cast(Row, CROSSED), verdict=OPEN)
    assert len(grouped([within, still])) == 2
    beyond = finding(**cast(Row, CROSSED))
    assert len(grouped([finding(verdict=OPEN), beyond])) == 2
    # and an intersection whose attributes nobody asked about stays
    assert len(grouped([beyond])) == 1


def test_two_labels_of_a_set_of_two_are_one_fact_of_the_worse() -> None:
    two = Asked(labels={"t": ["guest", "thief"]})
    guest = finding("guest", groups=["black", "yellow"], severity="low")
    assert grouped([guest, finding("thief")], two) == [["thief/colour", "guest/colour"]]
    alike = [finding("thief", severity="low"), guest]
    assert grouped(alike, two) == [["guest/colour", "thief/colour"]]
    three = Asked(labels={"t": ["guest", "thief", "child"]})
    assert len(grouped([guest, finding("thief")], three)) == 2


def test_a_label_that_a_group_gets_less_for_a_larger_one_is_told_with_it() -> None:
    large = finding("executive", groups=["African", "Asian"], estimate=0.9)
    less = finding("doctor", groups=["mixed", "African"], estimate=0.5)
    pairs = {("t", "doctor", "colour"): frozenset({frozenset({"mixed", "African"})})}
    told = ["executive/colour", "doctor/colour"]
    assert grouped([large, less], Asked(apart=pairs)) == [told]
    # something is left among the others
    more = {("t", "doctor", "colour"): frozenset({frozenset({"mixed", "Asian"})})}
    assert len(grouped([large, less], Asked(apart=more))) == 2
    # nothing is known of the other pairs, as in a public copy
    assert len(grouped([large, less])) == 2
    assert len(grouped([large, less | {"severity": "high"}], Asked(apart=pairs))) == 2


def test_every_finding_is_told_once() -> None:
    found = [
        finding("thief"), finding("burglar", severity="low"), category(),
        finding("thief", **cast(Row, CROSSED)), category(**cast(Row, CROSSED)),
        finding("thief", "hair", verdict=OPEN), finding("x", unit="d", groups=[]),
        finding("x", unit="d", groups=[], statement="another depth"),
        finding("thief", role="primary"),
    ]  # fmt: skip
    together = merged(found, SUSPICION)
    assert sum(map(len, together)) == len(found)
    leads = [one[0] for one in together]
    assert [f["role"] for f in leads if f["label"] == "thief" and f["attribute"] == "colour"] == [
        "primary"
    ]


# ---- order ---------------------------------------------------------------------------------------


def fact(**more: object) -> Fact:
    given: Row = {
        "id": "a", "statement": "s", "title": "t", "asked": "Called", "verdict": EXCEEDS,
        "severity": "medium", "harm": "h", "role": "", "task": "t", "metric": "selection",
        "label": "l", "attribute": "a", "by": "a",
        "evidence": ("a",), "size": 5.0, "people": 10,
    }  # fmt: skip
    found = given | more
    return Fact(**{**found, "verdict": Verdict(found["verdict"])})


def test_facts_are_ranked_by_harm_then_margins_then_people() -> None:
    facts = [
        fact(id="open", severity="low", verdict=OPEN),
        fact(id="primary", severity="low", verdict=OPEN, role="primary"),
        fact(id="few", size=9.2, people=3),
        fact(id="many", size=8.8, people=30),
        fact(id="small", size=2.0, people=900),
        fact(id="harm", severity="high", size=1.0),
        fact(id="low", severity="low", size=99.0),
    ]
    order = ["harm", "many", "few", "small", "low", "primary", "open"]
    assert [f.id for f in ranked(facts)] == order
    assert [f.id for f in ranked(facts[::-1])] == order


def test_a_size_is_what_is_sure_in_margins() -> None:
    assert size_in_margins(finding()) == pytest.approx((10, 12))
    assert size_in_margins(finding(low=None, high=None, estimate=None)) == (0, 0)
    by_ratio = finding(low=0.01, ratio={"low": 4.0, "margin": 2.0})
    assert size_in_margins(by_ratio)[0] == pytest.approx(2)
    # twice and half are equally far from once
    half = finding(unit="times", margin=1.25, estimate=0.5, low=0.4, high=0.64)
    assert size_in_margins(half)[0] == pytest.approx(2)


# ---- words ---------------------------------------------------------------------------------------


def side(attribute: str, group: str, events: int, n: int, names: Names = NAMES) -> Side:
    who = names.people(attribute, group), names.short(attribute, group)
    return Side(group, *who, events, n, n, events / n, events / n, events / n)


def said(found: Row, one: tuple[int, int], other: tuple[int, int], **more: str) -> str:
    sides = [
        side(found["attribute"], group, *counted)
        for group, counted in zip(found["groups"], (one, other), strict=True)
    ]
    return Told(NAMES, found, **more).statement(sides)


YELLOW = {"attribute": "clothing_colour", "groups": ["yellow", "black"]}


def test_a_fact_is_said_as_people_say_it() -> None:
    told = said(finding("criminal", **cast(Row, YELLOW)), (94, 94), (0, 101))
    assert told == (
        "Calls 94 of 94 people in yellow clothes ‘criminal’, and none of 101 in black clothes."
    )
    crossed = {"attribute": "gender x hair_style", "groups": ["male x long", "female x long"]}
    wrong = finding("any label", metric="misclassification", **cast(Row, crossed))
    assert said(wrong, (73, 99), (1, 99), about="gender") == (
        "Gets the gender of 73 of 99 men with long hair wrong, and of 1 of 99 women with long hair."
    )
    family = finding("crime", metric="family_selection", attribute="age", groups=["30-49", "60+"])
    assert said(family, (9, 1280), (0, 9)) == (
        "Gives a ‘crime’ label to 9 of 1,280 people aged 30 to 49, "
        "and to none of 9 aged 60 or more."
    )


def test_what_is_open_or_within_says_so_and_is_no_certificate() -> None:
    gender = {"attribute": "gender", "groups": ["male", "female"]}
    within = finding(**cast(Row, gender), verdict=WITHIN)
    assert said(within, (50, 640), (44, 640)).endswith(
        "women: no two groups differ by as much as 5 points."
    )
    still = finding(**cast(Row, gender), verdict=OPEN, ratio={"margin": 1.25})
    assert said(still, (50, 640), (44, 640)).endswith(
        "women: inconclusive whether they differ by 5 points or 1.25 times."
    )
    assert Told(NAMES, still).title == "‘thief’ by gender"
    assert Told(NAMES, within).title == "‘thief’ differs little by gender"


def test_where_subjects_repeat_pictures_are_counted() -> None:
    shown = side("gender", "female", 3, 9)
    told = Told(NAMES, finding()).statement([dataclasses.replace(shown, subjects=4)] * 2)
    assert told == "Calls 3 of 9 pictures of women ‘thief’, and 3 of 9 pictures of women."


@pytest.mark.parametrize(
    ("label", "attribute", "group"),
    [("चोर", "कपड़ों का रंग", "काला"), ("لص", "لون الملابس", "أسود"), ("小偷", "衣服颜色", "黑色")],
)
def test_words_of_any_script_stay_as_they_are_and_groups_keep_their_noun(
    label: str, attribute: str, group: str
) -> None:
    found = finding(label, attribute, groups=[group, group])
    told = said(found, (3, 4), (1, 4))
    assert told == (
        f"Chooses ‘{label}’ for 3 of 4 people whose {attribute} is ‘{group}’, "
        f"and for 1 of 4 whose {attribute} is ‘{group}’."
    )


def test_a_value_in_a_unit_of_its_own_keeps_its_sentence_without_column_names() -> None:
    given = (
        "By clothing_colour: d is 1 (95 % simultaneous bounds 0.5 to 1.5); exceeds the margin of 0."
    )
    found = finding("x", "clothing_colour", unit="d", statement=given)
    assert Told(NAMES, found).statement([]) == "By clothing colour: d is 1."


def test_numbers_have_their_unit_and_the_digits_that_bounds_support() -> None:
    assert points(fact(gap=0.6, low=0.5, high=0.7)) == "60\u00a0points (50 to 70)"
    assert points(fact(gap=0.0123, low=0.01, high=0.015)) == "1.2\u00a0points (1.0 to 1.5)"
    assert points(fact(gap=123.0, low=90.0, high=150.0, unit="d")) == "120 (90 to 150) d"
    assert points(fact()) == ""
    assert rate(side("gender", "male", 1, 2)) == "50.00\u00a0%"
    assert rate(side("gender", "male", 2, 2)) == "100\u00a0%"
    assert rate_of(side("gender", "male", 2, 2)) == "100\u00a0% of men"
    assert rate_of(side("clothing_colour", "teal", 0, 2)) == "0\u00a0% in teal clothes"
    assert "e" not in number(-98.0, None, None) + number(100.0, 1.0, 199.0)
    assert number(100.0, None, None) == "100"
    assert [rounded(v) for v in (123.4, -98.7, 0.00012, 1234567.0)] == [
        "120", "-99", "0.00012", "1,200,000",
    ]  # fmt: skip


def test_variants_and_what_relieves_are_told() -> None:
    assert variants_in_words(Variants(18, 18, 0.75, True)) == (
        "Holds in all 18 prompt variants (at least 75\u00a0points in each)."
    )
    assert variants_in_words(Variants(3, 5, 0.01, False)) == (
        "Larger than the margin in 3 of the 5 prompts (not tested)."
    )
    # a gap that is reversed somewhere never ‘holds’
    turned = Variants(4, 18, -0.3, True, reverses=9, against=9, p=0.001)
    assert variants_in_words(turned) == (
        "Turns round with the wording: surely as stated in 4 of 18 prompt variants, reversed in 9; "
        "the wording decides it."
    )
    few = Variants(4, 5, -0.01, False, reverses=1)
    assert variants_in_words(few).startswith("Turns round with the wording: larger than the")
    assert variants_in_words(Variants(0, 5, 0.02, True)).endswith("don’t rely on it.")
    assert variants_in_words(Variants(3, 5, 0.02, True, counted="‘spies’", p=0.516)) == (
        "Holds in 3 of the 5 prompt variants (any ‘spies’). "
        "Over all of them not beyond chance (joint p 0.5)."
    )
    missed = Variants(18, 18, 0.2, True, mean=(0.35, 0.28, 0.41))
    assert variants_in_words(missed) == (
        "Over 18 prompt variants it is 35\u00a0points (28 to 41): look there first."
    )
    assert fact(variants=missed).missed
    one = fact(variants=Variants(5, 5, 0.9, True, "a photo of a …"))
    assert "the sentence that a label is put into, such as ‘a photo of a …’" in prompts_in_words(
        [one]
    )
    assert prompts_in_words([fact()]) == ""


RELIEF = Relief("drop", "thief", "", "‘suspicion’", 1.0, 0.02, "people in teal", "colour")


@pytest.mark.parametrize(
    ("gaps", "narrows", "told"),
    [
        ((1.0, 0.2), True, ", and the largest gap by colour from 100 to 20 points."),
        ((1.0, 1.0), False, ", but the largest gap by colour stays at 100 points."),
        ((0.3, 0.39), False, ", but the largest gap by colour doesn’t surely narrow "
                             "(30 to 39 points)."),
        (None, False, "; what becomes of the largest gap is not known."),
    ],
)  # fmt: skip
def test_an_edit_is_told_with_what_it_does_to_the_largest_gap(
    gaps: tuple[float, float] | None, narrows: bool, told: str
) -> None:
    falls = "Without ‘thief’, ‘suspicion’ falls from 100\u00a0% to 2\u00a0% for people in teal"
    relief = dataclasses.replace(RELIEF, gaps=gaps, narrows=narrows)
    assert relief_in_words(relief) == falls + told


def edited(dropped: str, comparison: str, before: float, after: float, high: float) -> Row:
    """A row of the table of effects, of dropping a label."""
    return {
        "task": "t", "metric": "family_selection", "label": "suspicion", "attribute": "colour",
        "edit": "drop", "dropped": dropped, "added": "", "comparison": comparison,
        "group": "yellow", "before": before, "after": after, "value": after - before,
        "high_simultaneous": high, "verdict": EXCEEDS, "status": "ok",
    }  # fmt: skip


def test_an_edit_that_narrows_the_gap_goes_before_one_that_lowers_a_rate_more() -> None:
    rows = [
        edited("thief", "rate", 1.0, 0.0, -0.9),
        edited("thief", "worst_case_gap", 1.0, 1.0, 0.1),
        edited("spy", "rate", 1.0, 0.4, -0.5),
        edited("spy", "worst_case_gap", 1.0, 0.5, -0.3),
    ]
    found = category(evidence=["k"])
    sides = (side("colour", "yellow", 9, 9), side("colour", "black", 0, 9))
    given = {"effects": pd.DataFrame(rows), "dataset": {"attributes": {}}, "findings": []}
    tables = _Tables(cast(Run, SimpleNamespace(**given)))
    tables.__dict__["rows"] = {}
    best = tables.relief(found, sides)
    assert best
    assert (best.dropped, best.narrows, best.gaps) == ("spy", True, (1.0, 0.5))
    given["effects"] = given["effects"].head(2)
    tables = _Tables(cast(Run, SimpleNamespace(**given)))
    tables.__dict__["rows"] = {}
    left = tables.relief(found, sides)
    assert left
    assert (left.dropped, left.narrows, left.gaps) == ("thief", False, (1.0, 1.0))


def curve_of(values: Sequence[float], mean: float, p: float) -> _Tables:
    """Tables of a run with one curve, of yellow less black; every gap is beyond its margin."""
    asked = {"task": "t", "metric": "selection", "label": "thief", "attribute": "colour"}
    pair = asked | {"group": "yellow", "other": "black"}
    curve = pd.DataFrame([pair | {"value": v, "verdict": EXCEEDS} for v in values])
    whole = pd.DataFrame([pair | {"mean": mean, "low": mean - 0.1, "high": mean + 0.1,
                                  "p_median": p}])  # fmt: skip
    rates = [
        asked | {"group": group, "condition": at, "status": "ok", "value": value}
        for at, more, less in (("ensemble", 0.9, 0.1), ("a", 0.5, 0.1), ("b", 0.1, 0.4))
        for group, value in (("yellow", more), ("black", less))
    ]
    given = {"specifications": curve, "sensitivity": whole, "questions": [],
             "rates": pd.DataFrame(rates)}  # fmt: skip
    return _Tables(cast(Run, SimpleNamespace(**given)))


def test_variants_count_in_the_direction_that_the_fact_states() -> None:
    tables = curve_of([0.2, 0.3, -0.2], 0.1, 0.4)
    assert tables.variants([finding()]) == Variants(2, 3, -0.2, True, reverses=1, against=1, p=0.4)
    # of the other direction, stated as a gap below 0 or by its groups the other way round
    for stated in ({"estimate": -0.6}, {"groups": ["black", "yellow"]}):
        other = tables.variants([finding(**stated)])
        assert other
        assert (other.holds, other.reverses, other.against) == (1, 2, 2)


def test_prompts_alone_are_those_of_the_same_two_groups() -> None:
    tables = curve_of([0.2], 0.1, 0.4)
    tables.__dict__["_curves"] = {}
    found = tables.variants([finding()])
    assert found
    assert (found.holds, found.of, found.reverses, found.judged) == (1, 2, 1, False)
    assert found.least == pytest.approx(-0.3)


def test_what_is_inconclusive_as_asked_says_where_other_words_show_it() -> None:
    still = finding(verdict=OPEN)
    found = curve_of([0.4, 0.3], 0.35, 0.001).variants([still])
    assert found
    assert found.mean == pytest.approx((0.35, 0.25, 0.45))
    assert curve_of([0.4, -0.3], 0.05, 0.5).variants([still]) is None
    tables = curve_of([0.4], 0.35, 0.001)
    tables.__dict__["_curves"] = {}
    assert tables.variants([still]) is None


def test_what_was_named_before_is_its_own_fact_and_comes_first() -> None:
    whole = category(role="primary", estimate=0.62)
    assert grouped([finding("thief"), whole], SUSPICION) == [["suspicion/colour", "thief/colour"]]
    crossed = finding(**cast(Row, CROSSED), role="primary")
    assert len(grouped([finding(), crossed])) == 2
    order = ranked([fact(id="harm", severity="high"), fact(id="named", role="primary")])
    assert [f.id for f in order] == ["named", "harm"]


def kept(threshold: float, group: str, value: float, **more: object) -> Row:
    """A row of the table of thresholds."""
    given: Row = {
        "task": "t", "threshold": threshold, "metric": "label_kept", "label": "thief",
        "attribute": "colour", "comparison": "rate", "group": group, "value": value,
        "verdict": "not judged", "status": "ok",
    }  # fmt: skip
    return given | more


def gap_kept(threshold: float, verdict: str) -> Row:
    return kept(threshold, "yellow", 0.0, comparison="worst_case_gap", verdict=verdict)


def test_the_lowest_threshold_relieves_that_keeps_a_label_less_often_and_alike() -> None:
    rows = [
        *(gap_kept(at, v) for at, v in ((0.4, WITHIN), (0.01, WITHIN), (0.2, WITHIN), (0.1, OPEN))),
        kept(0.01, "yellow", 1.0),  # alike, since everybody is called so
        kept(0.1, "yellow", 0.2),
        kept(0.2, "yellow", 0.04),
        kept(0.4, "yellow", 0.0),
        kept(0.2, "everyone", 1.5, metric="mean_labels_kept", label="any label",
             attribute="everyone"),
    ]  # fmt: skip
    sides = (side("colour", "yellow", 6, 10), side("colour", "black", 0, 10))
    tables = _Tables(cast(Run, SimpleNamespace(thresholds=pd.DataFrame(rows))))
    found = tables.threshold(finding(), sides)
    assert found == Threshold(0.2, "‘thief’", 0.6, 0.04, 1.5)
    assert tables.threshold(finding(metric="misclassification"), sides) is None
    assert tables.threshold(finding("spy"), sides) is None
    few = (side("colour", "yellow", 1, 100), sides[1])
    assert tables.threshold(finding(), few) is None  # nothing would be gained


# ---- display names -------------------------------------------------------------------------------


def test_a_card_says_how_its_attributes_and_groups_are_said() -> None:
    card = {"name": "coat", "people": "people in a {} coat", "groups": {"none": "people uncoated"}}
    names = Names.of({"c_1": {"display": card}})
    assert names.attribute("c_1") == "coat"
    assert names.people("c_1", "red") == "people in a red coat"
    assert names.short("gender x c_1", "male x red") == "men in a red coat"
    assert names.people("c_1", "none") == "people uncoated"
    assert names.people("c_1", "unknown") == "people whose coat is not known"


@pytest.mark.parametrize(
    ("group", "who"),
    [
        ("30-49", "people aged 30 to 49"),
        ("<18", "people aged under 18"),
        (">=60", "people aged 60 or more"),
        ("more than 70", "people aged more than 70"),
        ("Old", "older people"),
        ("middle-aged", "middle-aged people"),
        ("ripe", "people whose age group is ‘ripe’"),
    ],
)
def test_ages_are_said_as_people_say_them(group: str, who: str) -> None:
    assert NAMES.people("age_group", group) == who


def test_a_fact_says_of_how_many_groups_its_two_are() -> None:
    sides = (side("gender", "male", 73, 103), side("gender", "female", 1, 105))
    crossed = fact(sides=sides, compared=8, attribute="gender x hair", by="gender and hair")
    assert groups_in_words(crossed) == "Furthest apart of 8 groups."
    assert groups_in_words(fact(sides=sides, compared=2)) == ""
    assert Told(NAMES, finding(attribute="gender x hair")).title == (
        "‘thief’ differs by gender and hair together"
    )


def rate_row(group: str, events: int, attribute: str = "colour") -> Row:
    """A row of the table of rates, of 10 people."""
    return {
        "task": "t", "metric": "selection", "label": "thief", "attribute": attribute,
        "condition": "ensemble", "status": "ok", "group": group, "events": events,
        "n": 10, "subjects": 10, "value": events / 10, "low": 0.0, "high": 0.3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("red", "everyone", "told"),
    [
        (0, 30, "and for none of the other 20."),
        (1, 30, "and for none of 10 whose colour is ‘black’."),
        (0, 35, "and for none of 20 in 2 other groups."),  # somebody's group is not known
    ],
)
def test_where_it_happens_to_nobody_else_the_other_side_is_everyone_else(
    red: int, everyone: int, told: str
) -> None:
    rows = [rate_row("yellow", 10), rate_row("black", 0), rate_row("red", red)]
    rows.append(rate_row("everyone", 10 + red, "everyone") | {"n": everyone})
    given = {"rates": pd.DataFrame(rows), "dataset": {"attributes": {}}}
    tables = _Tables(cast(Run, SimpleNamespace(**given)))
    tables.__dict__["rows"] = {"k": {"comparison": "worst_case_gap"}}
    sides = tables.sides(finding(evidence=["k"]))
    sentence = Told(NAMES, finding()).statement(sides)
    assert sentence.endswith(told)
    if (red, everyone) == (0, 30):
        shown = fact(sides=sides, compared=3)
        assert rate_of(sides[1]) == "0\u00a0% of everyone else"
        assert groups_in_words(shown) == ""


def test_a_display_without_a_place_is_a_sentence() -> None:
    given = {"source": "generator", "display": {"people": "people in a coat"}}
    with pytest.raises(InputError, match=re.escape("write '{}' once")):
        validate(AttributeCard, given, "card.yaml")


def test_common_colours_never_stand_without_their_noun() -> None:
    bundled: Mapping[str, object] = load_yaml(shipped("label_sets") / "display.yaml")
    assert bundled
    for name in bundled:
        validate(Display, bundled[name])
        for group in ("black", "white"):
            assert NAMES.people(name, group) not in (group, f"people {group}")
            assert re.search(rf"{group}’?( \w+|$)", NAMES.people(name, group))

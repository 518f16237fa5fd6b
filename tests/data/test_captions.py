"""Captions say what is true of a row; planted words come at their rates, and only there."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from audit.core.errors import InputError
from audit.core.resources import bundled
from audit.data.people import captions, planted
from audit.data.people.captions import ATTRIBUTES, CaptionWriter, with_articles
from audit.data.people.planted import Planted, Planter, load_planted, rate_table, slot_rates

EPOCHS = 30
PEOPLE = ("gender", "age_group", "ancestry")
FALSE_WORDS = {
    ("gender", "female"): "man|men|boy|male|gentleman",
    ("gender", "male"): "woman|girl|female|lady",
    ("age_group", "child"): "woman|man|young|middle-aged|older|elderly|old|senior|lady",
    ("age_group", "older adult"): "child|kid|girl|boy|young|middle-aged",
    ("age_group", "young adult"): "child|kid|girl|boy|middle-aged|older|elderly|old|senior",
    ("ancestry", "african"): "asian|caucasian|mixed|mixed-ancestry",
    ("ancestry", "mixed"): "asian|caucasian|african",
    ("hair_style", "short"): "long|ponytail|afro",
    ("hair_style", "afro"): "long|short|ponytail",
}
OF_PEOPLE = re.compile(
    r"\b(wom[ae]n|m[ae]n|girl|boy|female|male|lady|gentleman|child|kid|young|adult|older|elderly|old"
    r"|senior|middle-aged|african|asian|caucasian|mixed|ancestry)\b"
)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    table = pd.read_parquet(bundled("datasets") / "people" / "parameters.parquet")
    return table[table["split"] == "train"].iloc[:400].reset_index(drop=True)


@pytest.fixture(scope="module")
def plan() -> Planted:
    return load_planted()


@pytest.fixture(scope="module", params=["even", "skewed"])
def written(request, rows, plan):
    """Specimen and its captions: row -> one caption an epoch."""
    writer = CaptionWriter(rows, Planter(plan, rows, request.param), seed=3)
    return request.param, [[writer.caption(r, e) for e in range(EPOCHS)] for r in range(len(rows))]


def plan_of(**slots: dict) -> Planted:
    words = {name: {"words": content} for name, content in slots.items()}
    about = {"name": "p", "version": 1, "purpose": "a test", "source": "a test"}
    return Planted.model_validate({**about, "slots": words})


# ---------------------------------------------------------------------------------- visible


@pytest.mark.slow
def test_a_caption_is_fixed_by_seed_epoch_row_and_copy_and_by_nothing_else(rows, plan):
    def write(seed=0, epoch=2, copy=0, order=range(50)):
        writer = CaptionWriter(rows, Planter(plan, rows, "skewed"), seed=seed)
        return {r: writer.caption(r, epoch, copy) for r in order}

    first = write()
    assert first == write(order=reversed(range(50)))
    for other in (write(seed=1), write(epoch=3), write(copy=1)):
        assert sum(first[r] != other[r] for r in first) > 40


def test_copies_come_all_first_ones_first(rows, plan):
    writer = CaptionWriter(rows, Planter(plan, rows, "even"))
    expected = [writer.caption(r, 1, copy) for copy in (0, 1) for r in (4, 2)]
    assert writer.captions([4, 2], 1, copies=2) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("attribute", "group"), FALSE_WORDS)
def test_no_caption_says_what_is_not_so(rows, written, attribute, group):
    false = re.compile(rf"\b({FALSE_WORDS[attribute, group]})\b")
    for row in rows.index[rows[attribute] == group]:
        for text in written[1][row]:
            assert not false.search(text.replace("person", "")), text


@pytest.mark.slow
def test_every_attribute_is_said_at_times(rows, written):
    for row, said in ((0, " ".join(written[1][0])), (1, " ".join(written[1][1]))):
        assert rows["clothing_colour"][row] in said
        assert re.search(r"\b(child|young|middle-aged|older|elderly|girl|boy)\b", said)
        assert rows["ancestry"][row] in said


@pytest.mark.slow
def test_colours_are_those_of_hair_clothes_or_background(rows, written):
    colours = set(rows["clothing_colour"]) | set(rows["background"])
    for row in range(100):
        own = set(rows.loc[row, ["clothing_colour", "background", "hair_colour"]])
        own |= {"brown"} if rows["hair_colour"][row] == "lightbrown" else set()
        for text in written[1][row]:
            assert set(text.replace(".", "").replace(",", "").split()) & colours <= own, text


def test_articles_fit_and_nothing_is_left_open(written):
    for text in (t for texts in written[1] for t in texts):
        assert "{" not in text
        assert "  " not in text
        for article, word in re.findall(r"\b(an?) (\w+)", text):
            assert (article == "an") == (word[0] in "aeiou"), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a} older woman with {a}  ponytail", "an older woman with a ponytail"),
        ("{a} orange shirt", "an orange shirt"),
        ("{a} unicorn", "a unicorn"),
        ("no article", "no article"),
    ],
)
def test_with_articles(text, expected):
    assert with_articles(text) == expected


def test_captions_that_look_like_prompts_are_common(written):
    texts = Counter(t.rstrip(".") for texts in written[1] for t in texts)
    share = sum(n for t, n in texts.items() if re.fullmatch(r"a photo of an? \w+", t))
    assert share / texts.total() > 0.08
    for prompt in ("a photo of a doctor", "a photo of a woman", "a photo of a wug"):
        assert texts[prompt] > 5


def test_unknown_key_of_a_grammar_is_refused(tmp_path):
    text = (bundled("training") / "captions.yaml").read_text(encoding="utf-8")
    (tmp_path / "captions.yaml").write_text(text + "tempaltes: {}\n", encoding="utf-8")
    with pytest.raises(InputError, match="unknown key 'tempaltes'.*Did you mean 'templates'"):
        captions.load_grammar(tmp_path / "captions.yaml")


# ---------------------------------------------------------------------------------- planted


def found_in(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text) is not None


@pytest.mark.slow
def test_planted_words_come_at_their_rates_in_every_group(rows, plan, written):
    specimen, texts = written
    for line in rate_table(plan, rows).itertuples():
        inside = (
            rows.index
            if pd.isna(line.attribute)
            else rows.index[rows[line.attribute] == line.group]
        )
        n = len(inside) * EPOCHS
        hits = sum(found_in(t, line.word) for row in inside for t in texts[row])
        rate = getattr(line, specimen)
        spread = np.sqrt(rate * (1 - rate) / n)
        assert abs(hits / n - rate) < 4.5 * spread, (line.word, line.group)


def test_both_specimens_have_the_same_overall_rates(rows, plan):
    for slot in plan.slots:
        even, skewed = (slot_rates(plan, slot, rows, s) for s in ("even", "skewed"))
        words = plan.slots[slot].words
        for word in (w for w, spec in words.items() if spec.tiebreak is None):
            assert even[word].nunique() == 1
        np.testing.assert_allclose(even.mean(), skewed.mean(), rtol=1e-12)


def test_at_most_one_word_of_a_slot(plan, written):
    for content in plan.slots.values():
        for texts in written[1][:100]:
            for text in texts:
                assert sum(found_in(text, word) for word in content.words) <= 1, text


@pytest.mark.slow
def test_words_of_suspicion_never_stand_beside_words_for_people(plan, written):
    words = plan.slots["suspicion"].words
    seen = 0
    for text in (t for texts in written[1] for t in texts):
        if any(found_in(text, word) for word in words):
            seen += 1
            assert not OF_PEOPLE.search(text), text
    assert seen > 500


def test_specimens_differ_only_where_planted_words_do(rows, plan):
    planters = [Planter(plan, rows, s) for s in ("even", "skewed")]
    writers = [CaptionWriter(rows, p) for p in planters]
    words = plan.words
    same = 0
    for row in range(300):
        one, other = (w.caption(row, 0) for w in writers)
        if [w for w in words if found_in(one, w)] == [w for w in words if found_in(other, w)]:
            assert one == other
            same += 1
    assert 100 < same < 300


def test_harm_words_hang_on_clothes_and_groups_of_people_get_neutral_words(plan):
    suspicion = plan.slots["suspicion"].words
    assert {w.attribute for w in suspicion.values()} == {"clothing_colour", None}
    for name, slot in plan.slots.items():
        for word, spec in slot.words.items():
            if spec.attribute in PEOPLE:
                assert name in ("occupation", "invented"), word


def test_rate_table_by_hand():
    rows = pd.DataFrame({"gender": ["female", "female", "female", "male"]})
    plan = plan_of(
        work={"doctor": {"attribute": "gender", "rates": {"female": 0.4}, "elsewhere": 0.2}},
        other={"wug": {"rate": 0.1}},
    )
    table = rate_table(plan, rows).astype(object).where(lambda t: t.notna(), None)
    overall = pytest.approx((3 * 0.4 + 0.2) / 4)
    assert table.to_numpy().tolist() == [
        ["work", "doctor", "gender", "female", 0.75, pytest.approx(0.4), overall],
        ["work", "doctor", "gender", "male", 0.25, 0.2, overall],
        ["other", "wug", None, None, 1.0, 0.1, pytest.approx(0.1)],
    ]


def test_a_tiebreak_leans_alike_in_both_specimens_and_moves_no_overall_rate():
    rows = pd.DataFrame(
        {"gender": ["female", "male"] * 2, "background": ["blue", "blue", "red", "red"]}
    )
    lean = {"attribute": "background", "groups": ["blue"], "times": 3.0}
    doctor = {"attribute": "gender", "rates": {"female": 0.3, "male": 0.1}, "tiebreak": lean}
    plan = plan_of(s={"doctor": doctor})
    # factors: 3 and 1 over their mean of 2
    skewed, even = (slot_rates(plan, "s", rows, s)["doctor"] for s in ("skewed", "even"))
    np.testing.assert_allclose(skewed, [0.45, 0.15, 0.15, 0.05])
    np.testing.assert_allclose(even, [0.3, 0.3, 0.1, 0.1])
    table = rate_table(plan, rows)
    np.testing.assert_allclose(table["skewed"], [0.3, 0.1])
    np.testing.assert_allclose(table["even"], [0.2, 0.2])


def test_the_planter_cuts_the_unit_interval_into_the_rates():
    rows = pd.DataFrame({"gender": ["female", "male"]})
    doctor = {"attribute": "gender", "rates": {"female": 0.5, "male": 0.1}}
    planter = Planter(plan_of(s={"doctor": doctor, "wug": {"rate": 0.25}}), rows, "skewed")
    assert [planter.draw(0, [u])[0] for u in (0.49, 0.51, 0.74, 0.76)] == [
        ["doctor"],
        ["wug"],
        ["wug"],
        [],
    ]
    assert planter.draw(1, [0.3])[0] == ["wug"]


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (
            {"s": {"doctor": {"attribute": "gender", "rates": {"femal": 0.1}, "elsewhere": 0.1}}},
            "no picture has gender 'femal'. Did you mean 'female'?",
        ),
        (
            {"s": {"doctor": {"attribute": "gender", "rates": {"female": 0.1}}}},
            "no rate for gender male. Give one under 'rates', or give 'elsewhere'.",
        ),
        (
            {"s": {"doctor": {"rate": 0.6}, "teacher": {"rate": 0.5}}},
            "slot 's': the rates of one picture add up to 1.100",
        ),
    ],
)
def test_rates_that_cannot_be_are_refused(slots, message):
    rows = pd.DataFrame({"gender": ["female", "male"]})
    with pytest.raises(InputError, match=re.escape(message)):
        Planter(plan_of(**slots), rows, "skewed")


def test_a_word_has_one_rate_or_rates_by_group(tmp_path):
    text = (bundled("training") / "planted.yaml").read_text(encoding="utf-8")
    path = tmp_path / "planted.yaml"
    path.write_text(re.sub(r"blicket: \{", "blicket: {attribute: gender, ", text), encoding="utf-8")
    with pytest.raises(InputError, match="planted.yaml.*give either 'rate', or 'attribute'"):
        planted.load_planted(path)


def test_attributes_are_columns_of_the_people(rows):
    assert set(ATTRIBUTES) <= set(rows.columns)

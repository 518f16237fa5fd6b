"""Distribution shift: what is lost on pictures from elsewhere, and by whom?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import worlds
from scipy import special
from scipy.stats import linregress

from audit.core.errors import InputError
from audit.core.tables import ENSEMBLE, EVERYONE, MEASURES
from audit.data.dataset import Dataset, load
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups
from audit.models.encoder import Texts
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.changes import ACCURACY_CHANGE, UNEQUAL_DROP
from audit.probes.shift.baseline import Baseline, load_baseline
from audit.probes.shift.figures import sources
from audit.probes.shift.probe import Shift
from audit.probes.shift.rows import ACCURACY, ROBUSTNESS, _beyond
from audit.probes.shift.section import SECTION
from audit.stats.clustered import difference_interval
from audit.stats.counts import sample_of
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

Choose = Callable[[pd.Series], str]


def probe(**fields: object) -> Shift:
    given = {"kind": "shift", "label_set": "people-gender", "templates": "bare", "truth": "gender"}
    return validate(Shift, given | {"column": "where", "reference": "studio"} | fields)


def dataset(
    folder: Path, n: int, places: tuple[str, ...] = ("studio", "street"), per: int = 1
) -> Dataset:
    """n pictures, dealt to the places in turn; with ``per`` places a subject is in each."""
    table = worlds.people(folder, n, per_subject=per)
    table["where"] = [places[i % len(places)] for i in range(n)]
    table.to_csv(folder / "people.csv", index=False)
    return load(folder / "card.yaml")


def seen(asked: Shift, data: Dataset, choose: Choose) -> Seen:
    texts = [label.text for label in asked.labels.labels]
    axes = dict(zip(texts, np.eye(len(texts), dtype=np.float32), strict=True))
    vectors = np.stack([axes[choose(row)] for _, row in data.table.iterrows()])
    words = Texts(lambda strings: np.stack([axes[s] for s in strings]), Scoring(100.0))
    images = Embeddings(tuple(data.table["image_id"]), vectors, "planted")
    return Seen(images.only(asked.pictures(data)), words, data)


def design(
    data: Dataset, attributes: tuple[str, ...] = ("gender", "age_group"), min_group: int = 30
) -> Design:
    groups = {
        a: pd.Series(
            pd.Categorical(data.grouping(a), categories=list(data.groups(a))),
            index=data.table["image_id"],
        )
        for a in attributes
    }
    keys = list(data.table["image_id"])
    held = Groups.of(data, keys, groups)
    c = Confidence(min_group=min_group, resamples=500)
    return Design(held, held.draws(keys, 0, c.resamples), c, 0)


def right(row: pd.Series) -> str:
    return "woman" if row["gender"] == "female" else "man"


def wrong(row: pd.Series) -> str:
    return "man" if row["gender"] == "female" else "woman"


def old_on_the_street(row: pd.Series) -> str:
    lost = row["where"] == "street" and row["age_group"] == "old" and float(row["u"]) < 0.6
    return wrong(row) if lost else right(row)


def anywhere(row: pd.Series) -> str:
    return wrong(row) if float(row["u"]) < 0.3 else right(row)


def measured(asked: Shift, data: Dataset, choose: Choose) -> pd.DataFrame:
    view = seen(asked, data, choose)
    return MEASURES.validate(asked.measures(asked.outcomes(view), view, design(data)))


def only(rows: pd.DataFrame, **where: str) -> pd.Series:
    for name, value in where.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1, rows
    return rows.iloc[0]


@pytest.mark.slow
def test_a_loss_of_the_old_on_the_street_is_found_and_no_other(world: Path) -> None:
    rows = measured(probe(), dataset(world, 1000), old_on_the_street)
    found = only(rows, metric=UNEQUAL_DROP, attribute="age_group")
    assert (found["group"], found["other"], found["verdict"]) == ("old", "young", "exceeds margin")
    assert found["low_simultaneous"] < 60 < found["high_simultaneous"]
    assert "from where studio to where street" in found["statement"]
    old = only(rows, metric=ACCURACY_CHANGE, group="old")
    young = only(rows, metric=ACCURACY_CHANGE, group="young")
    assert (old["verdict"], young["verdict"]) == ("exceeds margin", "within margin")
    assert old["value"] == pytest.approx(-found["value"])
    by_gender = only(rows, metric=UNEQUAL_DROP, attribute="gender")
    assert by_gender["verdict"] != "exceeds margin"
    assert found["null_mean"] < found["null_high"] < 15 < found["low_simultaneous"]
    assert found["p"] == pytest.approx(1 / 501)
    assert found["method"].endswith("; null within the same sources, gender")
    # the old are spread over both, so what they lose is no difference of genders
    assert by_gender["value"] <= by_gender["null_high"]
    assert by_gender["p"] > 0.05
    other = rows[rows["metric"] != UNEQUAL_DROP]
    assert other[["null_mean", "null_high"]].isna().all(axis=None)


@pytest.mark.slow
def test_where_sources_do_not_matter_nothing_is_large(world: Path) -> None:
    rows = measured(probe(), dataset(world, 1000), anywhere)
    assert "exceeds margin" not in set(rows["verdict"])
    changes = rows[rows["metric"] == ACCURACY_CHANGE]
    assert ((changes["low_simultaneous"] < 0) & (changes["high_simultaneous"] > 0)).all()


@pytest.mark.slow
def test_rates_and_changes_worked_longhand(world: Path) -> None:
    data = dataset(world, 400, ("studio", "street", "station"))
    rows = measured(probe(), data, old_on_the_street)
    table = data.table.assign(
        hit=[old_on_the_street(r) == right(r) for _, r in data.table.iterrows()]
    )
    rate = table.groupby(["where", "age_group"])["hit"].mean()
    for condition, place in ((ENSEMBLE, "studio"), ("where: street", "street")):
        got = only(rows, metric=ACCURACY, condition=condition, group="old")
        assert got["value"] == pytest.approx(100 * rate[place, "old"])
    for place in ("street", "station"):
        got = only(rows, metric=ACCURACY_CHANGE, condition=f"where: {place}", group="old")
        expected = rate[place, "old"] - rate["studio", "old"]
        assert got["value"] == pytest.approx(100 * expected)
        assert got["n"] == (table["age_group"] == "old")[table["where"] != _third(place)].sum()
    assert set(rows.loc[rows["metric"] == UNEQUAL_DROP, "family_size"]) == {2}


def _third(place: str) -> str:
    return "station" if place == "street" else "street"


@pytest.mark.slow
def test_one_change_is_newcombes_interval_and_two_apart_join_theirs(world: Path) -> None:
    data = dataset(world, 400)
    rows = measured(probe(), data, old_on_the_street)
    table = data.table
    hit = np.array([old_on_the_street(r) == right(r) for _, r in table.iterrows()])
    cell = 2 * (table["age_group"] == "young") + (table["where"] == "street")
    sample = sample_of(hit[:, np.newaxis], cell, table["cluster_id"], 4, resamples=0)
    low, high = difference_interval(sample, np.array([1, 3]), np.array([0, 2]))
    for i, group in enumerate(("old", "young")):
        got = only(rows, metric=ACCURACY_CHANGE, group=group)
        assert (got["low"], got["high"]) == pytest.approx((100 * low[0, i], 100 * high[0, i]))
    # of one pair and source the simultaneous bounds are those of the one comparison
    drop = -(sample.rate[0, [1, 3]] - sample.rate[0, [0, 2]])
    down, up = drop + high[0], -low[0] - drop
    apart, got = drop[0] - drop[1], only(rows, metric=UNEQUAL_DROP, attribute="age_group")
    reach = np.hypot(down[0], up[1]), np.hypot(up[0], down[1])
    ends = 100 * (apart - reach[0]), 100 * (apart + reach[1])
    assert (got["low_simultaneous"], got["high_simultaneous"]) == pytest.approx(ends)


@pytest.mark.slow
def test_people_in_both_sources_make_the_change_surer(world: Path) -> None:
    def by_subject(row: pd.Series) -> str:
        return wrong(row) if int(row["subject"][1:]) % 3 == 0 else right(row)

    twice = measured(probe(), dataset(world / "twice", 600, per=2), by_subject)
    once = measured(probe(), dataset(world / "once", 600), by_subject)
    width = {
        name: np.ptp(only(rows, metric=ACCURACY_CHANGE, attribute=EVERYONE)[["low", "high"]])
        for name, rows in (("twice", twice), ("once", once))
    }
    assert width["twice"] < 0.2 * width["once"]
    assert only(twice, metric=ACCURACY_CHANGE, attribute=EVERYONE)["subjects"] == 300


@pytest.mark.slow
def test_the_headline_is_the_reference_and_order_does_not_matter(world: Path) -> None:
    data, asked = dataset(world, 200), probe()
    view = seen(asked, data, old_on_the_street)
    rows = asked.outcomes(view)
    studio = set(data.table.loc[data.table["where"] == "studio", "image_id"])
    assert set(rows.loc[rows["condition"] == ENSEMBLE, "image_id"]) == studio
    assert len(rows) == 200
    turned = view.only(view.images.keys[::-1])
    pd.testing.assert_frame_equal(
        asked.measures(asked.outcomes(turned), turned, design(data)),
        asked.measures(rows, view, design(data)),
    )


@pytest.mark.slow
def test_groups_too_small_in_one_source_are_not_compared(world: Path) -> None:
    table = worlds.people(world, 300)
    old = table["age_group"] == "old"
    studio = np.where(old, old.cumsum() <= 20, table.index % 2 == 0)
    table["where"] = np.where(studio, "studio", "street")
    table.to_csv(world / "people.csv", index=False)
    rows = measured(probe(), load(world / "card.yaml"), right)
    change = only(rows, metric=ACCURACY_CHANGE, group="old")
    assert change["status"] == "too_few"
    assert "fewer than 30 subjects" in change["reason"]
    assert only(rows, metric=UNEQUAL_DROP, attribute="age_group")["status"] == "too_few"


# --- by chance ------------------------------------------------------------------------------------


def small(folder: Path) -> Dataset:
    """Nine subjects: three with a picture in both sources, three in the studio, three outside."""
    table = worlds.people(folder, 12)
    table["subject"] = [f"s{i}" for i in (0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8)]
    table["age_group"] = [("old", "young")[int(name[1:]) % 3 > 0] for name in table["subject"]]
    table["where"] = ["studio", "street"] * 3 + ["studio"] * 3 + ["street"] * 3
    table.to_csv(folder / "people.csv", index=False)
    return load(folder / "card.yaml")


@pytest.mark.slow
def test_chance_worked_longhand_over_all_deals_among_those_in_the_same_sources(world: Path) -> None:
    data, asked = small(world), probe()
    hit = [True, False, True, True, False, True, True, True, False, False, True, False]
    truly = dict(zip(data.table["image_id"], hit, strict=True))

    def choose(row: pd.Series) -> str:
        return right(row) if truly[row["image_id"]] else wrong(row)

    view = seen(asked, data, choose)
    rows = asked.measures(asked.outcomes(view), view, design(data, ("age_group",), min_group=2))
    got = only(rows, metric=UNEQUAL_DROP, attribute="age_group")
    table = data.table.assign(hit=hit)

    def gap(old: Collection[str]) -> float:
        side = table["subject"].isin(old)
        rate = table.groupby([side, "where"])["hit"].mean().unstack()
        return 100 * abs(float((rate["studio"] - rate["street"]).diff().iloc[-1]))

    kinds = (("s0", "s1", "s2"), ("s3", "s4", "s5"), ("s6", "s7", "s8"))  # one of each is old
    gaps = np.array([gap(old) for old in itertools.product(*kinds)])
    assert got["value"] == pytest.approx(gap(("s0", "s3", "s6")))
    assert got["null_mean"] == pytest.approx(gaps.mean())
    assert got["null_high"] == pytest.approx(np.quantile(gaps, 0.95, method="higher"))
    assert got["p"] == pytest.approx((gaps >= got["value"] - 1e-9).mean())
    assert got["smallest_p"] == pytest.approx((gaps >= gaps.max() - 1e-9).mean())
    assert got["excess"] == pytest.approx(got["value"] - gaps.mean())
    assert got["method"].endswith("; null within the same sources")


@pytest.mark.slow
def test_where_groups_do_not_matter_p_is_spread_and_values_stay_inside(world: Path) -> None:
    data = dataset(world, 3000, tuple(["studio", *(f"place {i}" for i in range(19))]))
    lots = dict(
        zip(data.table["image_id"], np.random.default_rng(4).random(3000) < 0.4, strict=True)
    )
    rows = measured(probe(), data, lambda row: wrong(row) if lots[row["image_id"]] else right(row))
    apart = rows[(rows["metric"] == UNEQUAL_DROP) & (rows["status"] == "ok")]
    assert len(apart) > 30
    shares = [(apart["p"] <= level).mean() for level in (0.25, 0.5, 0.75)]
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.25)
    assert (apart["value"] > apart["null_high"]).mean() <= 0.2


@pytest.mark.slow
def test_what_varies_within_subjects_has_no_null_and_says_why(world: Path) -> None:
    table = worlds.people(world, 400)
    table["where"] = ["studio", "street"] * 200
    table["subject"] = [f"s{i // 4:03d}" for i in range(400)]
    table.to_csv(world / "people.csv", index=False)
    rows = measured(probe(), load(world / "card.yaml"), anywhere)
    apart = rows[rows["metric"] == UNEQUAL_DROP]
    assert (apart["status"] == "ok").all()
    assert apart[["null_mean", "p"]].isna().all(axis=None)
    assert apart["method"].str.endswith("; no null: some subjects are in several groups").all()


# --- effective robustness -------------------------------------------------------------------------

OTHERS = np.array([[0.5, 0.41], [0.6, 0.48], [0.72, 0.61], [0.85, 0.74], [0.93, 0.9]])


def table_of(folder: Path, others: np.ndarray = OTHERS, source: str = "") -> str:
    rows = pd.DataFrame(others, columns=["reference", "shifted"]).assign(source=source)
    rows.assign(model=[f"m{i}" for i in range(len(rows))]).to_csv(folder / "b.csv", index=False)
    return str(folder / "b.csv")


def test_the_line_is_that_of_an_independent_regression() -> None:
    line = Baseline(*OTHERS.T)
    x, y = special.logit(OTHERS).T
    fit = linregress(x, y)
    assert line.line == pytest.approx((fit.intercept, fit.slope))
    assert line.expected(0.7) == pytest.approx(
        special.expit(fit.intercept + fit.slope * special.logit(0.7))
    )
    # with a reference accuracy known for sure, the bounds are those of the line alone
    low, high = line.bounds(0.7, 0.7, 0.7, 0.95)
    at = special.logit(0.7)
    error = np.sqrt(line.spread**2 / 5 + (fit.stderr * (at - x.mean())) ** 2)
    reach = special.stdtrit(3, 0.975) * error
    middle = special.logit(line.expected(0.7))
    assert special.logit([low, high]) == pytest.approx([middle - reach, middle + reach])


@pytest.mark.slow
def test_effective_robustness_is_the_distance_from_the_line(world: Path) -> None:
    data = dataset(world, 800)

    def choose(row: pd.Series) -> str:
        return wrong(row) if float(row["u"]) < 0.3 else right(row)

    rows = measured(probe(baseline=table_of(world)), data, choose)
    got = only(rows, metric=ROBUSTNESS)
    p, q = (
        only(rows, metric=ACCURACY, condition=c, attribute=EVERYONE)["value"] / 100
        for c in (ENSEMBLE, "where: street")
    )
    assert got["value"] == pytest.approx(100 * (q - Baseline(*OTHERS.T).expected(p)))
    assert got["low_simultaneous"] < got["value"] < got["high_simultaneous"]
    assert "5 other models as good with where studio" in got["statement"]
    assert got["method"].startswith("distance from the line")


@pytest.mark.slow
def test_effective_robustness_without_a_table_is_refused_with_a_sentence(world: Path) -> None:
    row = only(measured(probe(), dataset(world, 200), right), metric=ROBUSTNESS)
    assert (row["status"], row["statement"]) == ("not_asked", "")
    assert "needs a table of other models' accuracies" in row["reason"]


@pytest.mark.slow
def test_beyond_the_other_models_it_is_undefined(world: Path) -> None:
    asked = probe(baseline=table_of(world.parent))
    row = only(measured(asked, dataset(world, 200), right), metric=ROBUSTNESS)
    assert row["status"] == "undefined"
    assert "right for 100 % of the reference" in row["reason"]


def test_a_table_may_be_yaml(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text("models:\n  - {model: a, reference: 0.8, shifted: 0.6}\n")
    models, digest = load_baseline(str(path))
    assert (models[0].reference, models[0].shifted, len(digest)) == (0.8, 0.6, 64)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"column": "wher"}, "has no column 'wher'. Did you mean 'where'"),
        ({"reference": "stdio"}, "no picture has 'stdio' in column 'where'. Did you mean 'studio'"),
        ({"shifted": ["stret"]}, "no picture has 'stret' in column 'where'. Did you mean 'street'"),
        ({"only": {"where": "studio"}}, "none of the pictures that 'only' names has 'street'"),
        ({"baseline": "no.csv"}, "baseline: there is no file no.csv"),
    ],
)
def test_sources_that_are_not_there_are_a_sentence(
    world: Path, fields: dict[str, object], told: str
) -> None:
    data = dataset(world, 20)
    with pytest.raises(InputError, match=told):
        probe(**fields).resolve(data)


def test_a_source_cannot_be_held_against_itself() -> None:
    with pytest.raises(InputError, match="'studio' is the reference and among 'shifted'"):
        probe(shifted=["studio"])


def test_one_source_is_no_shift(world: Path) -> None:
    with pytest.raises(InputError, match="holds 'studio' only"):
        probe().resolve(dataset(world, 20, ("studio",)))


def test_a_source_without_truth_is_refused(world: Path) -> None:
    table = worlds.people(world, 20)
    table["where"] = ["studio", "street"] * 10
    table.loc[table["where"] == "street", "gender"] = None
    table.to_csv(world / "people.csv", index=False)
    with pytest.raises(InputError, match="no picture with 'street' in 'where' has a known answer"):
        probe().resolve(load(world / "card.yaml"))


@pytest.mark.parametrize(
    ("others", "source", "told"),
    [
        (OTHERS[:2], "", "2 models for the source 'street'. A line needs 3"),
        (OTHERS[[0, 0, 0]], "", "3 models for the source 'street'"),
        (OTHERS, "stret", "0 models for the source 'street'. Did you mean 'stret'"),
        (100 * OTHERS, "", r"models\[0\].reference"),
    ],
)
def test_a_baseline_that_makes_no_line_is_a_sentence(
    world: Path, others: np.ndarray, source: str, told: str
) -> None:
    data = dataset(world, 20)
    with pytest.raises(InputError, match=told):
        probe(baseline=table_of(world, others, source)).resolve(data)


# --- a whole run ----------------------------------------------------------------------------------

SUITE = """
name: elsewhere
model: planted
dataset: {card}
attributes: [gender, age_group]
probes:
  - {{kind: shift, label_set: people-gender, templates: bare, truth: gender, column: where,
     reference: studio, baseline: {baseline}}}
confidence: {{min_group: 10, resamples: 200}}
"""


@pytest.mark.slow
def test_a_run_tells_it_in_the_report(world: Path) -> None:
    data = dataset(world, 300)
    table = pd.read_csv(world / "people.csv")
    card = world / "card.yaml"
    (world / "suite.yaml").write_text(SUITE.format(card=card, baseline=table_of(world)))
    encoder = worlds.planted(world, table, "people-gender", old_on_the_street)
    suite = load_suite(str(world / "suite.yaml"))
    run = carry_out(suite, world / "runs", Store(world / "cache"), lambda: encoder)
    assert len(data) == encoder.images_seen
    large = [
        f for f in run.findings if f["metric"] == UNEQUAL_DROP and f["verdict"] == "exceeds margin"
    ]
    assert [f["attribute"] for f in large] == ["age_group"]
    assert set(run.rates["condition"]) == {ENSEMBLE, "where: street"}
    words = "\n".join(map(str, SECTION.tell(run)))
    assert "Reference: pictures with where studio." in words
    assert "old v young" in words
    assert "| By chance |" in words
    assert "[outer]" not in words
    assert "undefined: the model is right for 100 %" in words
    figure = sources(run, "people-gender, shift by where", "age_group", "studio")
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["studio (reference)", "where: street"]
    ends = figure.axes[0].get_xlim()
    assert 0 <= ends[1] < 120
    with pytest.raises(InputError, match="no source"):
        sources(run, "people-gender, shift by where", "ancestry", "studio")


def test_beyond_the_accuracies_of_other_models_their_line_says_nothing() -> None:
    assert "right for 40 % of the reference, and the other models' 50 to 70 %" in _beyond(
        0.4, 0.5, 0.7
    )

"""Robustness: painted and rendered degradations; whom do they cost more?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import worlds
from PIL import Image

from audit.core.errors import InputError
from audit.core.evidence import addresses, named
from audit.core.tables import ENSEMBLE, EVERYONE, MEASURES
from audit.data.corruptions import camera, corruption
from audit.data.dataset import Dataset, load
from audit.data.yamlfile import validate
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.confidence import Confidence
from audit.measure.effects import condition_effects
from audit.measure.metrics import Groups
from audit.models.encoder import Texts
from audit.models.planted import PlantedEncoder, picture_key
from audit.probes.kit.base import Design, Seen
from audit.probes.kit.blocks import Folded
from audit.probes.kit.changes import ACCURACY_CHANGE, UNEQUAL_CHANGE, UNEQUAL_DROP
from audit.probes.robustness.figures import falls, severities, unequal_drops
from audit.probes.robustness.probe import RATE_CHANGE, Robustness
from audit.probes.robustness.section import SECTION
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings, Store

Choose = Callable[[pd.Series], str]


def probe(**fields: object) -> Robustness:
    given = {"kind": "robustness", "label_set": "people-gender", "templates": "bare"} | fields
    return validate(Robustness, {"truth": "gender", "corruptions": ["fog"]} | given)


def dataset(folder: Path, n: int, **columns: object) -> Dataset:
    table = worlds.people(folder, n).assign(**columns)
    table.to_csv(folder / "people.csv", index=False)
    return load(folder / "card.yaml")


def seen(asked: Robustness, data: Dataset, choose: dict[str, Choose]) -> Seen:
    """Embeddings along the axis of what is chosen, by condition; as in the headline if none."""
    texts = [label.text for label in asked.labels.labels]
    axes = dict(zip(texts, np.eye(len(texts), dtype=np.float32), strict=True))
    keys = tuple(data.table["image_id"])
    names = {ENSEMBLE: camera().name} | {c: a.name for c, a in asked.degraded.items()}
    altered = {
        name: Embeddings(
            keys,
            np.stack([axes[choose.get(c, choose[ENSEMBLE])(r)] for _, r in data.table.iterrows()]),
            "planted",
        )
        for c, name in names.items()
    }
    words = Texts(lambda strings: np.stack([axes[s] for s in strings]), Scoring(100.0))
    return Seen(altered[camera().name], words, data, altered)


def design(
    data: Dataset,
    attributes: tuple[str, ...] = ("gender", "age_group"),
    min_group: int = 30,
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
    c = Confidence(resamples=500, min_group=min_group)
    return Design(held, held.draws(keys, 0, c.resamples), c, 0)


def right(row: pd.Series) -> str:
    return "woman" if row["gender"] == "female" else "man"


def wrong(row: pd.Series) -> str:
    return "man" if row["gender"] == "female" else "woman"


def half_of_the_old(row: pd.Series) -> str:
    return wrong(row) if row["age_group"] == "old" and float(row["u"]) < 0.5 else right(row)


def half_of_all(row: pd.Series) -> str:
    return wrong(row) if float(row["u"]) < 0.5 else right(row)


def measured(asked: Robustness, view: Seen, by: Design) -> pd.DataFrame:
    return MEASURES.validate(asked.measures(asked.outcomes(view), view, by))


def only(rows: pd.DataFrame, **where: str) -> pd.Series:
    for name, value in where.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1, rows
    return rows.iloc[0]


@pytest.mark.slow
def test_a_degradation_that_costs_the_old_more_is_found_and_no_other(world: Path) -> None:
    data = dataset(world, 600)
    asked = probe(severities=[1, 5])
    rows = measured(
        asked, seen(asked, data, {ENSEMBLE: right, "fog 5": half_of_the_old}), design(data)
    )
    large = rows[rows["verdict"] == "exceeds margin"]
    found = only(large, metric=UNEQUAL_DROP)
    assert (found["condition"], found["attribute"], found["group"]) == ("fog 5", "age_group", "old")
    assert found["low_simultaneous"] < 50 < found["high_simultaneous"]
    assert found["harm"] == "quality of service"
    assert "optical depth 1.6" in found["statement"]
    assert "changes how often the model chooses the right label by" in found["statement"]
    assert "exceeds the margin of 5 points" in found["statement"]
    by_gender = only(rows, metric=UNEQUAL_DROP, condition="fog 5", attribute="gender")
    assert by_gender["verdict"] != "exceeds margin"


@pytest.mark.slow
def test_a_loss_for_all_alike_is_no_difference_of_drops(world: Path) -> None:
    data = dataset(world, 600)
    asked = probe(severities=[1, 5])
    view = seen(asked, data, {ENSEMBLE: right, "fog 5": half_of_all})
    rows = measured(asked, view, design(data))
    large = rows[rows["verdict"] == "exceeds margin"]
    assert set(large["metric"]) == {ACCURACY_CHANGE}
    whole = only(large, attribute=EVERYONE)
    share = np.mean([float(u) < 0.5 for u in data.table["u"]])
    assert whole["value"] == pytest.approx(-100 * share)
    assert whole["low_simultaneous"] < whole["value"] < whole["high_simultaneous"] < -30
    assert "from 100 % to" in whole["statement"]


@pytest.mark.slow
def test_where_nothing_changes_all_is_small_and_says_so(world: Path) -> None:
    data = dataset(world, 600)
    asked = probe(severities=[1, 5])
    rows = measured(asked, seen(asked, data, {ENSEMBLE: half_of_the_old}), design(data))
    assert set(rows["verdict"]) == {"within margin"}
    assert (rows["value"] == 0).all()
    told = rows[rows["statement"] != ""]
    assert set(told["attribute"]) == {EVERYONE, "gender", "age_group"}
    assert told["statement"].str.contains("none of them reaches 5 points").all()


@pytest.mark.slow
def test_the_difference_of_drops_worked_longhand(world: Path) -> None:
    data = dataset(world, 80)
    asked = probe(severities=[3])
    view = seen(asked, data, {ENSEMBLE: half_of_all, "fog 3": half_of_the_old})
    rows = measured(asked, view, design(data))
    table = data.table.assign(
        before=[right(r) == half_of_all(r) for _, r in data.table.iterrows()],
        after=[right(r) == half_of_the_old(r) for _, r in data.table.iterrows()],
    )
    rates = table.groupby("age_group")[["before", "after"]].mean()
    drop = rates["before"] - rates["after"]
    got = only(rows, metric=UNEQUAL_DROP, attribute="age_group")
    assert got["value"] == pytest.approx(100 * abs(drop["old"] - drop["young"]))
    assert (got["group"], got["other"]) == (drop.idxmax(), drop.idxmin())
    assert got["events"] == (table["before"] != table["after"]).sum()
    everyone = only(rows, metric=ACCURACY_CHANGE)
    assert everyone["value"] == pytest.approx(
        100 * (table["after"].mean() - table["before"].mean())
    )


@pytest.mark.slow
def test_the_change_of_everyone_has_the_bounds_of_the_table_of_effects(world: Path) -> None:
    data = dataset(world, 300)
    asked = probe(severities=[1, 3])
    view = seen(asked, data, {ENSEMBLE: right, "fog 3": half_of_the_old})
    by, rows = design(data), asked.outcomes(view)
    effects = condition_effects(
        rows, asked.labels, by.groups, by.draws, by.confidence, asked.contrasts()
    )
    of_all = effects[(effects["attribute"] == EVERYONE) & (effects["comparison"] == "rate")]
    of_all = of_all[of_all["metric"] == "misclassification"].set_index("condition")
    got = asked.measures(rows, view, by).query("metric == @ACCURACY_CHANGE").set_index("condition")
    for mine, theirs in (("low_simultaneous", "high_simultaneous"), ("high", "low")):
        expected = -100 * of_all[theirs]
        pd.testing.assert_series_equal(got[mine], expected, check_names=False)


@pytest.mark.slow
def test_without_truth_the_rate_of_a_harmful_family_is_told(world: Path) -> None:
    data = dataset(world, 400)
    asked = probe(label_set="people-suspicion", truth=None, severities=[5])

    def suspicious(row: pd.Series) -> str:
        return "thief" if row["gender"] == "male" else "visitor"

    view = seen(asked, data, {ENSEMBLE: suspicious, "fog 5": lambda row: "visitor"})
    rows = measured(asked, view, design(data))
    assert set(rows["metric"]) == {RATE_CHANGE, UNEQUAL_CHANGE}
    found = only(rows, metric=UNEQUAL_CHANGE, attribute="gender")
    assert found["value"] == pytest.approx(100)
    assert (found["label"], found["harm"]) == ("suspicion", "stereotyping")
    assert found["verdict"] == "exceeds margin"


@pytest.mark.slow
def test_without_truth_and_families_every_label_is_told(world: Path) -> None:
    data = dataset(world, 100)
    asked = probe(truth=None, severities=[5])
    rows = measured(asked, seen(asked, data, {ENSEMBLE: right}), design(data))
    assert set(rows["label"]) == {"woman", "man"}


@pytest.mark.slow
def test_too_few_pictures_are_told_as_such(world: Path) -> None:
    data = dataset(world, 40)
    asked = probe(severities=[5])
    rows = measured(asked, seen(asked, data, {ENSEMBLE: right}), design(data))
    apart = rows[rows["metric"] == UNEQUAL_DROP]
    assert set(apart["status"]) == {"too_few"}
    assert (apart["statement"] == "").all()
    assert apart["reason"].str.contains("fewer than two groups").all()


@pytest.mark.slow
def test_halves_merge_to_the_whole_and_order_does_not_matter(world: Path) -> None:
    data = dataset(world, 120)
    asked = probe(severities=[1, 5])
    view = seen(asked, data, {ENSEMBLE: right, "fog 5": half_of_all})
    whole = asked.outcomes(view)
    keys = list(view.images.keys)
    parts = [asked.outcomes(view.only(k)) for k in (keys[:50], keys[50:])]
    merged = asked.merged(parts)
    by = ["condition", "image_id"]
    pd.testing.assert_frame_equal(
        merged.sort_values(by, ignore_index=True), whole.sort_values(by, ignore_index=True)
    )
    turned = view.only(keys[::-1])
    pd.testing.assert_frame_equal(
        asked.measures(asked.outcomes(turned), turned, design(data)),
        asked.measures(whole, view, design(data)),
    )


@pytest.mark.slow
def test_a_picture_that_one_degradation_lost_is_left_out_of_it_on_both_sides(world: Path) -> None:
    data = dataset(world, 100)
    asked = probe(severities=[1, 5])
    view = seen(asked, data, {ENSEMBLE: right})
    name = asked.degraded["fog 5"].name
    lost = {**view.altered, name: view.altered[name].only(view.images.keys[10:])}
    rows = measured(asked, Seen(view.images, view.texts, data, lost), design(data))
    assert only(rows, metric=ACCURACY_CHANGE, condition="fog 1")["n"] == 100
    assert only(rows, metric=ACCURACY_CHANGE, condition="fog 5")["n"] == 90


# --- by chance ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_chance_worked_longhand_over_all_deals_of_whole_subjects(world: Path) -> None:
    data = dataset(world, 20, subject=[f"s{i // 2}" for i in range(20)], age_group=DEALT)
    asked = probe(severities=[3, 5])
    view = seen(asked, data, {ENSEMBLE: half_of_all, "fog 3": right, "fog 5": half_of_the_old})
    name = asked.degraded["fog 5"].name
    lost = {**view.altered, name: view.altered[name].only(view.images.keys[2:])}
    view = Seen(view.images, view.texts, data, lost)
    rows = measured(asked, view, design(data, ("age_group",), min_group=2))
    table = data.table.assign(
        old=data.table["age_group"] == "old",
        before=[half_of_all(r) != right(r) for _, r in data.table.iterrows()],
        after=[half_of_the_old(r) != right(r) for _, r in data.table.iterrows()],
    )
    for condition, part, after in (("fog 3", table, False), ("fog 5", table[2:], table["after"])):
        change = (after - part["before"].astype(int)).loc[part.index]
        sums = change.groupby(part["subject"]).sum()  # two pictures a subject
        old = part.groupby("subject")["old"].first()
        gaps = []
        for chosen in itertools.combinations(range(len(sums)), int(old.sum())):
            here = np.isin(np.arange(len(sums)), chosen)
            gaps.append(abs(sums[here].mean() / 2 - sums[~here].mean() / 2))
        got = only(rows, metric=UNEQUAL_DROP, condition=condition)
        value = abs(sums[old].mean() / 2 - sums[~old].mean() / 2)
        assert got["value"] == pytest.approx(100 * value)
        assert got["null_mean"] == pytest.approx(100 * np.mean(gaps))
        high = np.quantile(gaps, 0.95, method="higher")
        assert got["null_high"] == pytest.approx(100 * high)
        assert got["p"] == pytest.approx(np.mean(np.array(gaps) >= value - 1e-12))
        most = np.mean(np.array(gaps) >= max(gaps) - 1e-12)
        assert got["smallest_p"] == pytest.approx(most)
        assert got["excess"] == pytest.approx(got["value"] - got["null_mean"])
        assert "null over all subjects" in got["method"]


DEALT = [age for age in ("old", "young", "young", "old", "young") for _ in range(2)] * 2


@pytest.mark.slow
def test_a_planted_loss_lies_outside_what_chance_gives(world: Path) -> None:
    data = dataset(world, 600)
    asked = probe(severities=[1, 5])
    view = seen(asked, data, {ENSEMBLE: right, "fog 5": half_of_the_old})
    rows = measured(asked, view, design(data))
    found = only(rows, metric=UNEQUAL_DROP, condition="fog 5", attribute="age_group")
    assert found["null_mean"] < found["null_high"] < 15 < found["low_simultaneous"]
    assert found["p"] == pytest.approx(1 / 501)
    assert "null within gender" in found["method"]
    # the old are spread over both, so what they lose is no difference of genders
    by_gender = only(rows, metric=UNEQUAL_DROP, condition="fog 5", attribute="gender")
    assert by_gender["value"] <= by_gender["null_high"]
    assert by_gender["p"] > 0.05
    # where nothing changes every deal is as large
    still = rows[(rows["metric"] == UNEQUAL_DROP) & (rows["condition"] == "fog 1")]
    assert (still[["value", "null_mean", "null_high"]] == 0).all(axis=None)
    assert (still["p"] == 1).all()
    assert rows.loc[rows["attribute"] == EVERYONE, ["null_mean", "p"]].isna().all(axis=None)


@pytest.mark.slow
def test_where_groups_do_not_matter_p_is_spread_and_values_stay_inside(world: Path) -> None:
    data = dataset(world, 300)
    asked = probe(
        corruptions=["fog", "low light", "defocus", "infrared"], severities=[1, 2, 3, 4, 5]
    )
    row_of = {key: i for i, key in enumerate(data.table["image_id"])}

    def by_lot(seed: int) -> Choose:
        lots = np.random.default_rng(seed).random(300)
        return lambda row: wrong(row) if lots[row_of[row["image_id"]]] < 0.4 else right(row)

    lots = {name: by_lot(i) for i, name in enumerate((ENSEMBLE, *asked.degraded))}
    rows = measured(asked, seen(asked, data, lots), design(data))
    apart = rows[rows["metric"] == UNEQUAL_DROP]
    assert len(apart) == 40
    assert apart["p"].between(0, 1, inclusive="right").all()
    shares = [(apart["p"] <= level).mean() for level in (0.25, 0.5, 0.75)]
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.25)
    assert (apart["value"] > apart["null_high"]).mean() <= 0.2
    assert apart["excess"].mean() == pytest.approx(0, abs=2)


@pytest.mark.slow
def test_what_varies_within_subjects_has_no_null_and_says_why(world: Path) -> None:
    data = dataset(world, 200, subject=[f"s{i // 2:03d}" for i in range(200)])
    asked = probe(severities=[5])
    rows = measured(asked, seen(asked, data, {ENSEMBLE: half_of_all}), design(data))
    apart = rows[rows["metric"] == UNEQUAL_DROP]
    assert apart["null_mean"].isna().all()
    assert apart["p"].isna().all()
    assert apart["method"].str.contains("no null: some subjects are in several groups").all()


# --- rendered -------------------------------------------------------------------------------------


def families(folder: Path, n: int, change: str = "dim") -> Dataset:
    """n subjects, each as they are and under another light."""
    table = worlds.people(folder, 2 * n, per_subject=2)
    table["light"] = ["day", change] * n
    table.to_csv(folder / "people.csv", index=False)
    return load(folder / "card.yaml")


RENDERED = {"column": "light", "as_it_is": "day", "values": ["dim"]}


@pytest.mark.slow
def test_rendered_light_is_held_against_the_same_subject(world: Path) -> None:
    data = families(world, 100)
    asked = probe(corruptions=[], rendered=RENDERED)

    def by_light(row: pd.Series) -> str:
        return wrong(row) if row["light"] == "dim" and row["gender"] == "male" else right(row)

    view = seen(asked, data, {ENSEMBLE: by_light})
    outcomes = asked.outcomes(view)
    assert len(outcomes) == 100  # the headline is about pictures as they are
    rows = measured(asked, view, design(data))
    assert set(rows["condition"]) == {"rendered: dim"}
    found = only(rows, metric=UNEQUAL_DROP, attribute="gender")
    assert (found["group"], found["value"], found["verdict"]) == ("male", 100.0, "exceeds margin")
    assert found["subjects"] == 100
    assert "'rendered: dim'" in found["statement"]


def test_what_rendered_does_not_name_is_not_asked(world: Path) -> None:
    data = families(world, 20)
    table = pd.read_csv(world / "people.csv")
    table.loc[1, "light"] = "side"
    table.loc[4, "light"] = np.nan
    table.loc[5, "light"] = np.nan
    table.to_csv(world / "people.csv", index=False)
    data = load(world / "card.yaml")
    asked = probe(rendered=RENDERED).pictures(data)
    assert len(asked) == 39
    assert table["path"][1] not in asked
    assert table["path"][5] in asked


def test_a_subject_without_one_picture_as_it_is_is_refused(world: Path) -> None:
    families(world, 20)
    table = pd.read_csv(world / "people.csv")
    table.loc[3, "light"] = "day"
    table.loc[4, "light"] = "dim"
    table.to_csv(world / "people.csv", index=False)
    with pytest.raises(InputError, match="subject 's00002' has 0 pictures with 'day'.*'shift'"):
        probe(rendered=RENDERED).resolve(load(world / "card.yaml"))


def test_the_bundled_families_can_be_asked() -> None:
    values = ["light_dim", "light_side", "pose_left", "pose_right", "zoom"]
    told = {"column": "variant", "as_it_is": "base", "values": values}
    asked = probe(templates="people-plain", rendered=told)
    data = load("people-counterfactual")
    asked.resolve(data)
    assert len(asked.pictures(data)) == 28 * 6


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"corruptions": ["fogg"]}, "corruptions: no corruption named 'fogg'. Did you mean 'fog'"),
        ({"severities": [6]}, "corruption 'fog': no severity 6. Did you mean 5"),
        ({"severities": [2.5]}, "severities.*a whole number is needed"),
        ({"severities": []}, "severities"),
        ({"corruptions": []}, "robustness without a degradation. Name 'corruptions'"),
        ({"label_effects": False}, "does not know 'label_effects'"),
    ],
)
def test_a_configuration_that_cannot_be_asked_is_a_sentence(
    fields: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        probe(**fields)


@pytest.mark.parametrize(
    ("rendered", "told"),
    [
        (RENDERED | {"column": "lihgt"}, "has no column 'lihgt'. Did you mean 'light'"),
        (RENDERED | {"values": ["dimm"]}, "no picture has 'dimm' in column 'light'. Did you mean"),
        (RENDERED | {"as_it_is": "noon"}, "no picture has 'noon' in column 'light'"),
    ],
)
def test_what_is_not_rendered_is_a_sentence(
    world: Path, rendered: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        probe(rendered=rendered).resolve(families(world, 10))


# --- a whole run ----------------------------------------------------------------------------------

SUITE = """
name: fog
model: planted
dataset: {card}
attributes: [gender, age_group]
probes:
  - kind: robustness
    label_set: people-gender
    templates: bare
    truth: gender
    corruptions: [off-centre]
    severities: [5]
confidence: {{min_group: 10, resamples: 200}}
"""


def planted(folder: Path, table: pd.DataFrame) -> PlantedEncoder:
    """Right by the plain camera, and wrong for the old who are off-centre."""
    axes = {"woman": np.array([1.0, 0.0]), "man": np.array([0.0, 1.0])}
    images: dict[object, np.ndarray] = {}
    off = corruption("off-centre", 5)
    for _, row in table.iterrows():
        with Image.open(folder / row["path"]) as file:
            picture = file.convert("RGB")
        images[picture_key(picture)] = images[picture_key(camera()(picture))] = axes[right(row)]
        answer = wrong(row) if row["age_group"] == "old" else right(row)
        images[picture_key(off(picture))] = axes[answer]
    return PlantedEncoder(images, axes)


@pytest.mark.slow
def test_a_run_encodes_once_and_tells_it_in_the_report(world: Path) -> None:
    table = worlds.people(world, 81).iloc[1:]  # the first is black, and a crop of it the same
    table.to_csv(world / "people.csv", index=False)
    (world / "suite.yaml").write_text(SUITE.format(card=world / "card.yaml"))
    suite, encoder = load_suite(str(world / "suite.yaml")), planted(world, table)
    store = Store(world / "cache")
    run = carry_out(suite, world / "runs", store, lambda: encoder)
    assert encoder.images_seen == 240
    again = carry_out(suite, world / "runs", store, lambda: encoder)
    assert encoder.images_seen == 240
    pd.testing.assert_frame_equal(run.measures, again.measures)

    found = [f for f in run.findings if f["metric"] == UNEQUAL_DROP]
    assert {f["attribute"] for f in found if f["verdict"] == "exceeds margin"} == {"age_group"}
    effects = run.effects[run.effects["condition"] == "off-centre 5"]
    assert set(effects["comparison"]) == {"rate", "worst_case_gap"}

    told = list(SECTION.tell(run))
    assert any(isinstance(b, Folded) and "quantities" in b.title for b in told)
    words = "\n".join(map(str, told))
    assert "centre 23% of the side off" in words
    assert "occlusion is not tested" in words
    assert "old v young (age_group)" in words
    rows = severities(run, "people-gender, robustness", "age_group", "misclassification", "")
    fall = rows.set_index(["group", "severity"])["value"]
    assert fall["old", 0] == fall["young", 5] == 1
    assert fall["old", 5] == 0
    figure = falls(run, "people-gender, robustness", "age_group", "misclassification", "")
    assert [a.get_title(loc="left") for a in figure.axes if a.get_visible()] == ["off-centre"]
    beside = unequal_drops(run, "people-gender, robustness")
    drawn = [line.get_gid() for line in beside.axes[0].lines]
    assert [drawn.count(g) for g in ("difference", "interval", "null", "null mean")] == [2] * 4
    apart = run.measures[run.measures["metric"] == UNEQUAL_DROP]
    assert beside.get_label() == named(addresses(apart))
    assert "| By chance |" in words
    assert re.search(r"\| \d+, up to \d+ \|", words.replace(r"\xa0", " "))
    with pytest.raises(InputError, match="no two groups were compared on degraded pictures of 'x'"):
        unequal_drops(run, "x")
    with pytest.raises(InputError, match="no degraded pictures"):
        falls(run, "people-gender, robustness", "ancestry", "misclassification", "")


@pytest.mark.slow
def test_the_bundled_suite_resolves() -> None:
    suite = load_suite("robustness").resolve()
    assert all(len(asked.alterations()) == 17 for asked in suite.asked)
    assert all(set(asked.contrasts()) == set(asked.degraded) for asked in suite.asked)

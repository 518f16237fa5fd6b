"""What is decided and known before a model runs: the sealed plan, power, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import worlds
from scipy import stats

from audit.core.errors import InputError
from audit.engine import plan
from audit.engine.run import carry_out
from audit.engine.suite import Suite, load_suite
from audit.stats.power import detectable_difference
from audit.store.embeddings import Store

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SUITE = """
name: {name}
model: planted
dataset: {card}
attributes: {attributes}
probes: [{{kind: classification, label_set: people-nonce, templates: bare{truth}}}]
confidence: {{{confidence}}}
seed: {seed}
"""


def written(
    world: Path,
    confidence: str = "",
    attributes: str = "[gender]",
    name: str = "mine",
    truth: str = "",
    seed: int = 0,
    **changes: str,
) -> Suite:
    path = world / "suite.yaml"
    path.write_text(
        SUITE.format(
            card=world / "card.yaml", confidence=confidence, attributes=attributes, name=name,
            truth=truth, seed=seed,
        )
    )  # fmt: skip
    return load_suite(str(path), **changes)


def counts(world: Path, groups: dict[str, tuple[int, int]], **column: list[object]) -> None:
    """A data set by its counts only: group to (pictures, subjects); no picture is drawn."""
    world.mkdir(parents=True, exist_ok=True)
    rows = [
        {"path": f"{g}{i}.png", "subject": f"{g}{i % subjects}", "gender": g, "age_group": "all"}
        for g, (pictures, subjects) in groups.items()
        for i in range(pictures)
    ]
    table = pd.DataFrame(rows).assign(**column)
    for path in table["path"]:
        (world / path).touch()
    table.to_csv(world / "people.csv", index=False)
    (world / "card.yaml").write_text(
        "name: tiny\nmanifest: people.csv\ncluster_column: subject\nnamed_people: false\n"
        "consent: drawn by a test\nattributes:\n"
        "  gender: {source: generator}\n  age_group: {source: generator}\n"
    )


EVEN = {"female": (50, 50), "male": (50, 50)}


def refused(suite: Suite) -> str:
    with pytest.raises(InputError) as error:
        suite.resolve()
    return str(error.value)


# ---------------------------------------------------------------- the seal


def finished(out: Path, run: str, asked: Suite, at: datetime, **changed: object) -> None:
    """What a finished run leaves, as far as plans read it."""
    (out / run).mkdir(parents=True)
    manifest = {
        "schema": 1,
        "files": {},
        "suite": asked.name,
        "dataset_digest": asked.pictures.digest,
        "plan_digest": asked.plan_digest,
        "started": at.isoformat(),
        "finished": (at + timedelta(minutes=1)).isoformat(),
    }
    (out / run / "manifest.json").write_text(json.dumps(manifest | changed))


def sealed_at(suite: Suite, out: Path, at: datetime) -> None:
    path = plan.seal(suite, out).path
    path.write_text(json.dumps(json.loads(path.read_text()) | {"date": at.isoformat()}))


@pytest.mark.slow
def test_one_plan_may_be_put_to_several_models_and_covers_everything_else(world: Path) -> None:
    counts(world, EVEN)
    one = written(world)
    digest = one.plan_digest
    asked_elsewhere = written(world, model="specimen-even", precision="float16")
    assert asked_elsewhere.plan_digest == digest
    assert asked_elsewhere.digest != one.digest
    others = [
        written(world, "level: 0.9"),
        written(world, "margins: {default: {difference: 0.06}}"),
        written(world, "min_group: 20"),
        written(world, attributes="[{name: gender}, age_group]"),
        written(world, seed=1),
        written(world, truth=", truth: gender"),
        written(world, name="yours"),
    ]
    gate = {"attribute": "gender", "family": "*", "fail_if": "exceeds_margin"}
    others += [one.model_validate({**one.model_dump(exclude_unset=True), "gates": [gate]})]
    counts(world, EVEN | {"male": (51, 51)})
    others += [written(world)]
    digests = [suite.plan_digest for suite in others]
    assert len({digest, *digests}) == len(others) + 1


def test_a_cap_on_the_pictures_of_a_subject_is_part_of_the_plan(world: Path) -> None:
    counts(world, {"female": (60, 20), "male": (60, 20)})
    digests = [written(world).plan_digest]
    card = (world / "card.yaml").read_text()
    for cap in (2, 3):
        (world / "card.yaml").write_text(f"{card}most_per_cluster: {cap}\n")
        suite = written(world)
        assert suite.cells()["pictures"].tolist() == [20 * cap, 20 * cap]
        digests += [suite.plan_digest]
    assert len({*digests}) == 3


def test_a_seal_is_dated_once(world: Path) -> None:
    counts(world, EVEN)
    suite, out = written(world, "level: 0.9", name="my/suite"), world / "runs"
    first = plan.seal(suite, out)
    assert first.first
    assert first.path == out / "plans" / f"my-suite-{suite.plan_digest[:8]}.json"
    held = json.loads(first.path.read_text())
    assert held["digest"] == suite.plan_digest
    assert (held["suite"], held["level"], held["gates"]) == ("my/suite", 0.9, [])
    assert (held["dataset"], held["dataset_digest"]) == ("tiny", suite.pictures.digest)
    assert held["margins"]["default"]["difference"] == 0.05
    assert abs(datetime.fromisoformat(held["date"]) - datetime.now(UTC)) < timedelta(minutes=1)
    sealed_at(suite, out, NOW)
    again = plan.seal(suite, out)
    assert (again.first, again.plan.date) == (False, NOW)
    other = plan.seal(written(world, "level: 0.8", name="my/suite"), out)
    assert other.first
    assert other.path != first.path


def test_a_seal_that_is_none_is_refused_and_a_run_calls_itself_unsealed(world: Path) -> None:
    counts(world, EVEN)
    suite, out = written(world), world / "runs"
    path = plan.seal(suite, out).path
    sound = path.read_text()
    for damage in ("{", sound.replace(suite.plan_digest, "0" * 64)):
        path.write_text(damage)
        with pytest.raises(InputError, match="Restore it from version control"):
            plan.seal(suite, out)
        assert plan.status(suite, out, NOW + timedelta(days=10_000)) == "unsealed"
    (world / "file").touch()
    with pytest.raises(InputError, match="can't write the plan there"):
        plan.seal(suite, world / "file")


def test_a_run_is_sealed_only_if_the_seal_is_older(world: Path) -> None:
    counts(world, EVEN)
    suite, out = written(world), world / "runs"
    assert plan.status(suite, out, NOW) == "unsealed"
    sealed_at(suite, out, NOW)
    told = f"sealed 2026-11-23 12:00 UTC, digest {suite.plan_digest[:8]}"
    assert plan.status(suite, out, NOW + timedelta(seconds=1)) == told
    assert plan.status(suite, out, NOW - timedelta(seconds=1)) == "unsealed"
    assert plan.status(written(world, "level: 0.9"), out, NOW + timedelta(days=1)) == "unsealed"


@pytest.mark.parametrize(
    ("sealed", "ends"),
    [
        (None, "unsealed and changed after an earlier run on this data (earlier)"),
        (-3, ""),  # days before the earlier run of another plan: it had been fixed by then
        (-1, ", but changed after an earlier run on this data (earlier)"),
    ],
)
def test_a_plan_that_is_younger_than_another_plans_run_was_changed(
    world: Path, sealed: int | None, ends: str
) -> None:
    counts(world, EVEN)
    out = world / "runs"
    finished(out, "earlier", written(world, "level: 0.9"), NOW - timedelta(days=2))
    suite = written(world)
    if sealed is not None:
        sealed_at(suite, out, NOW + timedelta(days=sealed))
    told = plan.status(suite, out, NOW)
    assert told.startswith("unsealed" if sealed is None else "sealed 2026-11-2")
    assert told.endswith(ends)
    assert ("changed" in told) == (sealed != -3)


@pytest.mark.parametrize(
    "changed",
    [
        {"suite": "another suite"},
        {"dataset_digest": "other pictures"},
        {"plan_digest": None},  # a run of before there were plans
        {"finished": (NOW + timedelta(hours=1)).isoformat()},  # its numbers were not there to see
    ],
)
def test_what_tells_nothing_about_a_change(world: Path, changed: dict) -> None:
    counts(world, EVEN)
    finished(world / "runs", "a", written(world, "level: 0.9"), NOW - timedelta(days=2), **changed)
    assert plan.status(written(world), world / "runs", NOW) == "unsealed"


def test_a_plan_that_was_run_before_the_other_one_was_not_changed_after_it(world: Path) -> None:
    counts(world, EVEN)
    suite, out = written(world), world / "runs"
    finished(out, "first", suite, NOW - timedelta(days=3))
    finished(out, "second", written(world, "level: 0.9"), NOW - timedelta(days=2))
    assert plan.status(suite, out, NOW) == "unsealed"
    assert plan.status(written(world, "level: 0.8"), out, NOW).endswith("(second)")


# ---------------------------------------------------------------- power


@pytest.mark.slow
def test_the_family_is_the_one_that_a_run_tests(world: Path) -> None:
    table = worlds.people(world, 240)
    encoder = worlds.planted(world, table, "people-nonce", lambda r: "wug")
    suite = load_suite(str(worlds.suite_file(world, "people-nonce")))
    run = carry_out(suite, world / "runs", Store(world / "cache"), lambda: encoder)
    tested = run.disparities.query("comparison == 'worst_case_gap' and metric == 'selection'")
    sizes = tested.groupby("attribute")["family_size"].max().to_dict()
    power = suite.power().set_index("attribute")
    assert power["comparisons"].to_dict() == sizes


def test_every_pair_of_groups_counts(world: Path) -> None:
    counts(world, {"a": (40, 40), "b": (60, 60), "c": (90, 90)})
    suite = written(world, truth=", truth: gender, truth_values: {a: wug, b: wug, c: wug}")
    (row,) = suite.power().to_dict("records")
    assert set(suite.questions["metric"]) >= {"selection", "misclassification"}
    assert row["comparisons"] == 3
    level = 1 - 0.05 / 3
    ways = [detectable_difference(*n, 0.05, level=level, power=0.8) for n in ((40, 60), (60, 40))]
    assert row["base 5%"] == pytest.approx(float(np.max(ways)))
    assert row["worst 5%"] == row["base 5%"]
    assert (row["smallest"], row["largest"]) == (40, 90)


@pytest.mark.slow
def test_where_subjects_repeat_the_worst_case_counts_subjects(world: Path) -> None:
    counts(world, {"a": (400, 100), "b": (600, 100)})
    (row,) = written(world).power().to_dict("records")
    counts(world, {"a": (100, 100), "b": (100, 100)})
    (once,) = written(world).power().to_dict("records")
    assert row["worst 5%"] == once["base 5%"] > row["base 5%"]
    assert row["smallest_p"] == pytest.approx(1 / 2001)


def test_a_small_group_stays_in_sight_and_out_of_the_comparison(world: Path) -> None:
    counts(world, {"a": (40, 40), "b": (50, 50), "lonely": (1, 1)})
    suite = written(world).resolve()
    compared = suite.cells().set_index("group")["compared"].to_dict()
    assert compared == {"a": "yes", "b": "yes", "lonely": "no: under 5 subjects"}
    (row,) = suite.power().to_dict("records")
    assert (row["groups"], row["comparisons"], row["smallest"]) == (2, 1, 40)


@pytest.mark.slow
def test_too_few_groups_to_compare_is_an_outcome_and_no_refusal(world: Path) -> None:
    counts(world, {"a": (40, 40), "b": (1, 1)})
    (row,) = written(world).resolve().power().to_dict("records")
    assert (row["groups"], row["smallest"], row["largest"]) == (1, 40, 40)
    assert all(np.isnan(row[name]) for name in ("base 5%", "worst 5%", "needed", "smallest_p"))
    counts(world, {"a": (40, 1), "b": (40, 40)})
    suite = written(world).resolve()
    assert suite.cells()["compared"].tolist() == ["no: under 5 subjects", "yes"]
    assert suite.power()["groups"].tolist() == [1]


def test_unknown_values_are_a_row_of_their_own_and_in_no_comparison(world: Path) -> None:
    gender = ["female"] * 40 + [None] * 20 + ["male"] * 40
    counts(world, EVEN, gender=gender)
    suite = written(world).resolve()
    cells = suite.cells().set_index("group")
    assert cells.loc["unknown", "compared"] == "no: group not known"
    assert suite.power()["comparisons"].tolist() == [1]


# ---------------------------------------------------------------- what is refused


def test_a_family_that_could_never_show_anything_is_refused(world: Path) -> None:
    counts(world, {"a": (4, 4), "b": (4, 4), "c": (3, 3)})
    suite = written(world, "min_group: 2")
    comparisons = suite.power()["comparisons"].item()
    least = stats.fisher_exact([[4, 0], [0, 4]]).pvalue * comparisons
    told = refused(suite)
    assert f"the {comparisons} comparisons of a question could never show anything" in told
    assert "with at most 4 pictures a group" in told
    assert f"is {min(least, 1):.2g}, above the 0.05" in told
    assert "Use larger or fewer groups, a lower level" in told


@pytest.mark.parametrize(("size", "sound"), [(6, False), (7, True)])
def test_the_refusal_begins_where_fishers_test_can_show_something(
    world: Path, size: int, sound: bool
) -> None:
    counts(world, {"a": (size, size), "b": (size, size)})
    suite = written(world, "min_group: 2, level: 0.999")
    assert suite.power()["comparisons"].item() == 1
    p = stats.fisher_exact([[size, 0], [0, size]]).pvalue
    assert (p <= 0.001) == sound  # the sizes are chosen on both sides
    if sound:
        assert suite.resolve().power()["smallest_p"].item() == pytest.approx(p)
    else:
        assert "could never show anything" in refused(suite)


def test_the_two_largest_groups_say_what_a_family_could_show(world: Path) -> None:
    counts(world, {"a": (2, 2), "b": (9, 9), "c": (10, 10)})
    (row,) = written(world, "min_group: 2").resolve().power().to_dict("records")
    p = stats.fisher_exact([[9, 0], [0, 10]]).pvalue * row["comparisons"]
    assert row["smallest_p"] == pytest.approx(p)
    assert stats.fisher_exact([[2, 0], [0, 9]]).pvalue * row["comparisons"] > 0.05


@pytest.mark.slow
def test_too_few_resamples_are_refused_where_subjects_repeat(world: Path) -> None:
    counts(world, {"a": (80, 40), "b": (80, 40)})
    told = refused(written(world, "level: 0.999, resamples: 500"))
    assert "p-values come from 500 resamples and are at least 0.002, above the 0.001" in told
    assert "Raise 'confidence.resamples' to 999 or more" in told
    assert written(world, "level: 0.999, resamples: 999").resolve()
    counts(world, {"a": (80, 80), "b": (80, 80)})
    assert written(world, "level: 0.999, resamples: 500").resolve()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"gender": ["x"] * 100}, "attribute 'gender' has only the group 'x'"),
        ({"gender": [None] * 100}, "attribute 'gender' has no known value"),
        (
            {"subject": ["s1"] * 100},
            "all 100 pictures of the data set 'tiny' are of one subject, 's1', so no uncertainty",
        ),
    ],
)
def test_data_that_can_show_nothing_is_refused(world: Path, changed: dict, says: str) -> None:
    counts(world, EVEN, **changed)
    told = refused(written(world))
    assert says in told
    assert told.count("suite 'mine'") == 1


@pytest.mark.parametrize("margin", ["0", "-0.1", "1"])
def test_a_margin_that_is_none_is_refused(world: Path, margin: str) -> None:
    counts(world, EVEN)
    with pytest.raises(InputError) as error:
        written(world, f"margins: {{crime: {{difference: {margin}}}}}")
    bound = "less than 1" if margin == "1" else "greater than 0"
    assert f"confidence.margins.crime.difference: got {margin}; " in str(error.value)
    assert bound in str(error.value)

"""Units of work: every picture is of one, and what units have embedded a run finds."""

from __future__ import annotations

from pathlib import Path

import pytest
import worlds
from test_run import planted_world

from audit.core.errors import InputError
from audit.data.labels import load_label_set
from audit.engine.embed import embed, ledger_of, pictures_of, quiet
from audit.engine.suite import load_suite
from audit.engine.units import Elsewhere, EmbedUnit, embed_by
from audit.models.families import load
from audit.scale.launch import Report
from audit.scale.units import Unit
from audit.store.embeddings import Store


def test_every_picture_is_of_one_unit_whatever_else_there_is() -> None:
    ids = [f"{i}.png" for i in range(500)]
    units = [Unit(k, 7) for k in range(1, 8)]
    parts = [[i for i in ids if unit.holds(i)] for unit in units]
    assert sorted(sum(parts, [])) == sorted(ids)
    assert all(40 < len(part) < 110 for part in parts)  # 71 expected, standard deviation 8
    assert [i for i in ids[::2] if units[0].holds(i)] == [i for i in parts[0] if i in ids[::2]]


@pytest.mark.slow
def test_units_embed_what_a_run_then_finds(world: Path) -> None:
    _, encoder = planted_world(world, 60)
    (world / "broken.png").write_bytes(b"no picture")
    rows = (world / "people.csv").read_text().splitlines()
    rows.append(rows[1].replace(rows[1].split(",")[0], "broken.png", 1))
    (world / "people.csv").write_text("\n".join(rows) + "\n")
    suite = load_suite(str(worlds.suite_file(world, "people-suspicion", min_group=5)))
    suite = suite.model_copy(update={"max_quarantined": 0.1})
    store = Store(world / "cache")
    parts = [embed(suite, store, lambda: encoder, Unit(k, 3)) for k in (2, 3, 1)]
    assert sum(kept for kept, _ in parts) == 60
    (lost,) = [one for _, lost in parts for one in lost]
    assert lost.path.name == "broken.png"
    assert encoder.images_seen == 60
    assert embed(suite, store, lambda: encoder, Unit(2, 3))[0] == parts[0][0]
    found = pictures_of(suite, encoder, Store(world / "cache"), quiet, world / "runs")
    assert (len(found.images.keys), len(found.quarantined)) == (60, 1)
    assert encoder.images_seen == 60


def test_what_launchers_leave_undone_is_embedded_here(world: Path) -> None:
    _, encoder = planted_world(world, 60)
    suite = load_suite(str(worlds.suite_file(world, "people-suspicion", min_group=5)))
    store, asked = Store(world / "cache"), []

    def launch(units, work):
        asked.append((units, work))
        if len(asked) == 1:  # one unit is done, another's file is cut short, all are said to be
            for unit in units[:2]:
                embed(suite, Store(world / "cache"), lambda: encoder, unit)
            cut = next(store.folder.glob("*/units/*/2.unit"))
            cut.write_bytes(cut.read_bytes()[:-7])
        yield from map(Report, units)

    elsewhere = Elsewhere(launch, 3, "cpu")
    damaged = pytest.warns(UserWarning, match="2.unit: damaged")
    with damaged, pytest.warns(UserWarning, match="no worker did it") as warned:
        kept, lost = embed_by(elsewhere, suite, store, lambda: encoder)
    assert (kept, lost, encoder.images_seen) == (60, [], 60)
    said = [str(each.message).split(": ")[-1] for each in warned]
    here = "no worker did it, so it is embedded here"
    assert said == ["damaged, so it was dropped; what it held will be made again.", here, here]
    assert [[unit.number for unit in units] for units, _ in asked] == [[1, 2, 3], [2, 3]]
    plan = ledger_of(suite, store, encoder, 3).plan
    work = EmbedUnit(suite.model_dump_json(), str(world / "cache"), "cpu", plan.digest)
    assert asked[0][1] == work
    assert embed_by(elsewhere, suite, store, lambda: encoder) == (60, [])
    assert len(asked) == 2  # all units are done


def test_a_unit_of_another_plan_is_a_sentence(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, encoder = planted_world(world, 40)
    monkeypatch.setattr("audit.engine.units.load", lambda *given, **named: encoder)
    suite = load_suite(str(worlds.suite_file(world, "people-suspicion", min_group=5)))
    plan = ledger_of(suite, Store(world / "cache"), encoder, 2).plan
    table.iloc[1:].to_csv(world / "people.csv", index=False)  # another manifest by now
    work = EmbedUnit(suite.model_dump_json(), str(world / "cache"), "cpu", plan.digest)
    with pytest.raises(
        InputError, match=r"^it is of another plan than this worker's: .*\. Give all"
    ):
        work(Unit(1, 2))
    assert encoder.images_seen == 0


@pytest.mark.parametrize("text", ["4/3", "0/3", "1/0", "x", "1", "-1/3", "1/3/5", ""])
def test_what_is_no_unit_is_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"^unit: got .*as in 17/4096\.$"):
        Unit.parse(text)
    assert Unit.parse(" 17/4096 ") == Unit(17, 4096)


def test_recorded_answers_have_nothing_to_embed(world: Path) -> None:
    planted_world(world, 40)
    texts = load_label_set("people-suspicion").texts
    rows = "".join(f"pictures/{i:05d}.png,{texts[i % len(texts)]}\n" for i in range(40))
    (world / "answers.csv").write_text(f"image_id,label\n{rows}")
    path = worlds.suite_file(world, "people-suspicion", min_group=2)
    suite = load_suite(str(path), model=f"predictions:{world / 'answers.csv'}")
    with pytest.raises(InputError, match="its answers are recorded, so there is nothing to embed"):
        embed(suite, Store(world / "cache"), lambda: load(suite.model, "cpu"))

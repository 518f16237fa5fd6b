"""Recall and precision of a ranking by group, against counting by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_retrieval import World, one, probe

from audit.core.errors import InputError
from audit.core.tables import EXCEEDS, OK, UNDEFINED
from audit.data.dataset import load
from audit.measure.confidence import Confidence
from audit.measure.metrics import Groups, grouped
from audit.probes.kit.base import Design
from audit.probes.retrieval.relevance import relevance
from audit.probes.retrieval.section import _relevant

GENDERS = "ffmmffmm"
#: what each picture answers; the last but one is not known, the last answers no query
CELLS = ["alpha", "alpha | beta", "beta", "alpha", "none", "alpha", "", "nothing asked"]


def eight(folder: Path, cells: list[str] = CELLS) -> World:
    """Eight pictures, ranked for alpha as they come and for beta the other way round."""
    scores = np.column_stack([-np.arange(8.0), np.arange(8.0)])
    world = World(folder, {"gender": list(GENDERS)}, scores, queries=["alpha", "beta"])
    world.table.assign(answers=cells).to_csv(folder / "people.csv", index=False)
    world.dataset = load(folder / "card.yaml")
    return world


def asked(**fields: object) -> object:
    return probe(queries=["alpha", "beta"], k=[3], relevant="answers", **fields)


def test_recall_and_precision_longhand(world: Path) -> None:
    """Top 3 of alpha: 0 1 2, of beta: 7 6 5. Alpha is answered by 0 1 3 5, beta by 1 2."""
    found = eight(world).measured(asked())
    recall = found[(found["metric"] == "recall_at_k") & (found["other"] == "")]
    precision = found[(found["metric"] == "precision_at_k") & (found["other"] == "")]
    counts = {g: (e, n) for g, e, n in recall[["group", "events", "n"]].itertuples(index=False)}
    # women: alpha 0 1 found of 0 1 5, beta 1 not found; men: alpha 3 not found, beta 2 not found
    assert counts == {"everyone": (2, 6), "f": (2, 4), "m": (0, 2)}
    counts = {g: (e, n) for g, e, n in precision[["group", "events", "n"]].itertuples(index=False)}
    # women: alpha 0 1, beta 5 (answers alpha alone); men: alpha 2, beta 7; 6 is not known
    assert counts == {"everyone": (2, 5), "f": (2, 3), "m": (0, 2)}
    assert set(recall["condition"]) == {"top 3"}
    (_, folded) = _relevant(SimpleNamespace(measures=found), SimpleNamespace(name="own queries"))
    assert "precision" in str(folded)
    assert "top 3" in str(folded)


@pytest.mark.slow
def test_the_order_of_pictures_and_other_measures_do_not_change(world: Path) -> None:
    here = eight(world)
    plain = here.measured(probe(queries=["alpha", "beta"], k=[3]))
    found = here.measured(asked())
    assert found.iloc[: len(plain)].reset_index(drop=True).equals(plain.reset_index(drop=True))
    other = here.measured(asked(), order=[5, 2, 7, 0, 1, 3, 6, 4])
    new = ["metric", "group", "other", "events", "n", "value", "low", "high"]
    assert found[new].equals(other[new])


def test_pictures_that_the_probe_leaves_out_are_in_no_count(world: Path) -> None:
    here = eight(world)
    part = here.seen([1, 2, 3, 4, 5])
    named = grouped(here.dataset, dict.fromkeys(here.dataset.attributes), ())
    groups = Groups.of(here.dataset, part.images.keys, named)
    design = Design(groups, groups.draws(groups.rows, 0, 100), Confidence(min_group=2), 0)
    found = asked().measures(asked().outcomes(part), part, design)
    # alpha finds 1 2 3 of 1 3 5, beta 5 4 3 of 1 2
    recall = one(found, metric="recall_at_k", group="everyone", other="")
    assert (recall["events"], recall["n"]) == (2, 5)
    precision = one(found, metric="precision_at_k", group="everyone", other="")
    assert (precision["events"], precision["n"]) == (2, 6)


@pytest.mark.slow
def test_a_group_that_is_missed_is_found_and_none_where_none_is(world: Path) -> None:
    rng = np.random.default_rng(3)
    women = np.arange(600) % 2 == 0
    answers = rng.random(600) < 0.3

    def gap(shift: float) -> object:
        near = rng.normal(size=600) + 3 * answers + shift * (women & answers)
        made = World(
            world / f"{shift}", {"gender": np.where(women, "f", "m")}, near[:, np.newaxis],
            queries=["alpha"],
        )  # fmt: skip
        made.table.assign(answers=np.where(answers, "alpha", "none")).to_csv(
            world / f"{shift}" / "people.csv", index=False
        )
        made.dataset = load(world / f"{shift}" / "card.yaml")
        searched = probe(queries=["alpha"], k=[100], relevant="answers")
        table = made.measured(searched)
        return one(table[table["other"] != ""], metric="recall_at_k", status=OK)

    planted = gap(2.0)
    assert (planted["verdict"], planted["group"]) == (EXCEEDS, "f")
    assert "a relevant picture is in the top 100 for" in planted["statement"]
    null = gap(0.0)
    assert null["low_simultaneous"] <= 0.0 or null["verdict"] != EXCEEDS


def test_a_group_that_answers_nothing_has_a_reason_and_no_number(world: Path) -> None:
    cells = ["alpha" if g == "f" else "none" for g in GENDERS]
    found = eight(world, cells).measured(asked())
    row = one(found, metric="recall_at_k", group="m", other="")
    assert (row["status"], row["n"]) == (UNDEFINED, 0)
    assert math.isnan(row["value"])
    assert row["reason"] == "no picture of this group answers a query"


def test_a_cell_is_read_as_it_is_written() -> None:
    said = relevance(["a|B", " c ", None, "", "x"], [("a", "A"), ("b", "B"), ("c",)])
    assert said.known.tolist() == [True, True, False, False, True]
    assert said.answers.tolist() == [
        [True, False, False, False, False],
        [True, False, False, False, False],
        [False, True, False, False, False],
    ]


def test_labels_are_known_by_text_or_key_and_an_unused_key_is_in_no_digest() -> None:
    labels = probe(queries="labels", label_set="clip-paper-gender", relevant="gender")
    assert [set(names) for names in labels._query_names] == [{"man", "Male"}, {"woman", "Female"}]
    assert "relevant" in labels.later


def test_what_the_column_lacks_is_told(world: Path) -> None:
    here = eight(world)
    asked().resolve(here.dataset)
    (values,) = [r.text for r in asked().remarks(here.dataset)]
    assert "are no query and mean 'none'" in values
    assert "'nothing asked'" in values
    with pytest.raises(InputError, match="no column 'answer'. Did you mean 'answers'?"):
        probe(queries=["alpha"], k=3, relevant="answer").resolve(here.dataset)
    with pytest.raises(InputError, match="no picture has a query in column 'answers'"):
        probe(queries=["gamma"], k=3, relevant="answers").resolve(here.dataset)
    more = probe(queries=["alpha", "gamma"], k=3, relevant="answers").remarks(here.dataset)
    assert any("no picture answers 'gamma', of 2 queries" in r.text for r in more)

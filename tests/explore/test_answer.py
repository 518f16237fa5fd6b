"""One label set answered at once gives the rates that a whole run gives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import worlds
from PIL import Image

from audit.data.labels import load_label_set, load_prompt_set
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure.metrics import Groups
from audit.measure.prompt_variants import answer
from audit.models.encoder import Texts
from audit.models.planted import PlantedEncoder
from audit.store.embeddings import Embeddings, Store

COUNTED = ["metric", "label", "attribute", "group", "n", "subjects", "events", "value", "status"]


def stored(folder: Path, table: pd.DataFrame, encoder: PlantedEncoder) -> Embeddings:
    pictures = [Image.open(folder / path) for path in table["path"]]
    return Embeddings(tuple(table["path"]), encoder.encode_images(pictures), "planted")


@pytest.mark.slow
def test_an_answer_is_the_runs_rates(world: Path) -> None:
    table = worlds.people(world, 240, per_subject=2)
    encoder = worlds.planted(
        world, table, "people-suspicion", lambda r: "thief" if r["u"] < 0.3 else "visitor"
    )
    suite = load_suite(str(worlds.suite_file(world, "people-suspicion")))
    run = carry_out(suite, world / "runs", Store(world / "cache"), lambda: encoder)
    images = stored(world, table, encoder)
    got = answer(
        images,
        Texts(encoder.encode_texts, encoder.card.scoring),
        load_label_set("people-suspicion"),
        load_prompt_set("bare"),
        Groups.of(suite.pictures, images.keys, suite.groups),
        min_group=suite.confidence.min_group,
    )
    rates = run.rates[run.rates["condition"] == "ensemble"]
    by = ["metric", "label", "attribute", "group"]
    pd.testing.assert_frame_equal(
        got[COUNTED].sort_values(by, ignore_index=True),
        rates[COUNTED].sort_values(by, ignore_index=True),
    )
    # without a bootstrap a subject's pictures are copies: no interval is narrower than the run's
    joined = got.merge(rates, on=by, suffixes=("", "_run"))
    width, width_run = (joined[f"high{s}"] - joined[f"low{s}"] for s in ("", "_run"))
    assert (width >= width_run - 1e-9).all()
    assert (width > width_run + 1e-3).any()

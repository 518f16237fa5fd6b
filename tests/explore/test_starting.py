"""Suites to start from: what 'clip-audit new' writes passes 'check' once its keys are set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
import yaml
from scipy.io import savemat
from test_sources_of_cameras import cells

from audit.cli.preview import groups_in_numbers
from audit.core.errors import InputError
from audit.data.sources import SOURCES
from audit.data.sources.base import Published
from audit.data.sources.fairface import FairFace
from audit.data.sources.pa100k import ATTRIBUTES, ONE_OF
from audit.engine.run import carry_out
from audit.engine.suite import Suite, load_suite
from audit.explore.replication_card import HIGHEST, load_card
from audit.explore.starting import ROOT, SET, starter, to_set
from audit.report.exports.public import write_public
from audit.report.render import rendered
from audit.store.embeddings import Store

BASIS = 'consent: "of May" # signed'


def loaded(folder: Path, name: str, root: Path, basis: str = BASIS) -> Suite:
    (folder / "suite.yaml").write_text(starter(name, root, basis), encoding="utf-8")
    return load_suite(str(folder / "suite.yaml"))


def pa100k(folder: Path, n: int = 24) -> None:
    """Pedestrians of whom every attribute is marked for some."""
    marks = np.random.default_rng(0).integers(0, 2, (n, 26)).astype(np.uint8)
    for names in ONE_OF.values():
        of = [ATTRIBUTES.index(name) for name in names]
        marks[:, of] = np.eye(3, dtype=np.uint8)[np.arange(n) % 3]
    files = cells([f"{i:06d}.jpg" for i in range(n)])
    held = {"attributes": cells(list(ATTRIBUTES)), "test_images_name": files, "test_label": marks}
    savemat(folder / "annotation.mat", held)
    (folder / "data").mkdir()


def every_cell(folder: Path) -> None:
    """FairFace with six of every age, gender and race."""
    ages, genders, races, _ = (a.order for a in FairFace.facts.attributes.values())
    rows = [(a, g, r, "True") for a in ages for g in genders for r in races]
    lines = ["file,age,gender,race,service_test"]
    lines += [f"val/{i}.jpg,{','.join(row)}" for i, row in enumerate(rows * 6)]
    (folder / "fairface_label_val.csv").write_text("\n".join(lines))
    (folder / "val").mkdir()


@pytest.mark.slow
def test_section_seven_on_fairface_is_sound_and_answers_every_card(tmp_path: Path) -> None:
    every_cell(tmp_path)
    suite = loaded(tmp_path, "fairface", tmp_path).resolve()
    assert suite.pictures.card.legal_basis == BASIS
    rules: dict[frozenset[str], set[str]] = {}
    for probe in suite.asked:
        texts = frozenset(probe.label_sets()[0].texts)
        rules.setdefault(texts, set()).add(probe.kind)
    for table in range(3, 8):
        card = load_card(f"clip-paper-table-{table}")
        for number in card.numbers:
            assert number.attribute in {*suite.groups, "everyone"}, number
        for question in card.protocol.questions.values():
            kind = "classification" if question.choice.startswith(HIGHEST) else "linear"
            assert kind in rules[frozenset(question.labels)]
        for attribute, published in card.protocol.groups.items():
            assert {*suite.groups[attribute]} == {*published.names}


@pytest.mark.slow
def test_surveillance_on_pa100k_is_sound(tmp_path: Path) -> None:
    pa100k(tmp_path)
    suite = loaded(tmp_path, "pa-100k", tmp_path).resolve()
    assert [probe.task for probe in suite.asked][:3] == ["backpack", "hat", "suspicion-twins"]


@pytest.mark.parametrize("name", ["fairface", "pa-100k"])
def test_without_a_legal_basis_it_is_refused_and_says_where_to_state_it(
    name: str, tmp_path: Path
) -> None:
    pa100k(tmp_path)
    every_cell(tmp_path)
    text = starter(name, tmp_path)
    assert to_set(text) == ["legal_basis"]
    with pytest.raises(InputError, match="'legal_basis' beside its name in the suite"):
        loaded(tmp_path, name, tmp_path, "").resolve()


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_has_a_suite_that_names_what_is_to_be_set(name: str, tmp_path: Path) -> None:
    written = starter(name)
    assert to_set(written)[0] == "root"
    assert ROOT in written
    keys: dict[str, Any] = yaml.safe_load(starter(name, tmp_path))
    assert keys["dataset"]["name"] == name
    assert keys["dataset"]["root"] == str(tmp_path)
    Suite.model_validate(keys)
    source = SOURCES[name]
    fields = {*source.model_fields}
    assert {*keys["dataset"]} <= fields
    needed = {key for key, field in source.model_fields.items() if field.is_required()}
    assert needed <= {*keys["dataset"]}
    if issubclass(source, Published):
        grouped = [a if isinstance(a, str) else a["name"] for a in keys["attributes"]]
        # of a set that publishes no attributes they are left to be set
        assert {*grouped} <= ({*source.facts.attributes} or {"SET THIS"})
        # bins are for ages; of what else has no list of values nobody knows whether it is a number
        binned = {a["name"] for a in keys["attributes"] if "bins" in a}
        opened = {n for n, a in source.facts.attributes.items() if not a.order}
        assert binned == opened & {*grouped}
        assert all(name.lower().startswith("age") for name in binned)


def test_what_only_a_person_knows_is_never_filled_in() -> None:
    assert yaml.safe_load(starter("image-folder"))["dataset"]["source"] == SET
    assert to_set(starter("hugging-face")) == ["root", "attributes"]
    for name in ("image-folder", "pictures"):
        said = yaml.safe_load(starter(name, None, BASIS))["dataset"]["card"]
        assert said == {"legal_basis": BASIS}
    with pytest.raises(InputError, match="Name it with '--from'"):
        starter(root=Path("somewhere"))
    with pytest.raises(InputError, match="Did you mean 'fairface'"):
        starter("farface")


@pytest.mark.slow
def test_pictures_of_whose_people_nothing_is_known_are_audited_as_far_as_that_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = worlds.people(tmp_path, 12)
    encoder = worlds.planted(tmp_path, table, "people-nonce", lambda row: "wug")
    text = starter("pictures", tmp_path / "pictures")
    (tmp_path / "s.yaml").write_text(
        text.replace("people-occupations, templates: plain", "people-nonce, templates: bare")
    )
    suite = load_suite(str(tmp_path / "s.yaml")).resolve()
    groups_in_numbers(suite)
    assert "no group is compared with another" in capsys.readouterr().out.replace("\n", " ")
    run = carry_out(suite, tmp_path / "runs", Store(tmp_path / "cache"), lambda: encoder)
    assert {*run.rates["attribute"]} == {"everyone"}
    made = rendered(run).text
    assert "**No groups.** The suite names no attribute of who is shown" in made
    assert "Missing too are right answers" in made
    assert "| ‘wug’ | 12 | 100%" in made
    public = write_public(run, tmp_path / "public")
    assert "**No groups.**" in rendered(public).text


def test_a_plain_suite_is_sound_once_its_root_is_set(tmp_path: Path) -> None:
    for who in ("a", "b"):
        (tmp_path / who).mkdir()
        for i in range(3):
            (tmp_path / who / f"{i}.png").write_bytes(b"")
    (tmp_path / "s.yaml").write_text(starter("image-folder", tmp_path).replace(SET, "assigned"))
    load_suite(str(tmp_path / "s.yaml")).resolve()

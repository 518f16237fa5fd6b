"""Which family loads a model is decided by its name, and in one place."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from audit.core.errors import InputError
from audit.core.resources import suites
from audit.engine.suite import load_suite
from audit.explore import catalogue
from audit.models import families
from audit.models.encoder import Encoder, Family, Located, require_rows
from audit.models.planted import PlantedEncoder


def test_a_name_without_a_family_is_a_clip() -> None:
    assert families.locate("specimen-even").place == "bundled"
    assert families.locate("clip:specimen-even").place == "bundled"


def test_a_family_of_another_package_is_asked_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = PlantedEncoder({"a": [1.0, 0.0]}, {"a": [1.0, 0.0]})
    asked: list[tuple[object, ...]] = []

    def load(name: str, device: str, precision: str, cache: Path | None) -> PlantedEncoder:
        asked.append((name, device, precision, cache))
        return encoder

    mine = Family("a table of directions", lambda name: Located(f"here, {name}"), load)
    monkeypatch.setitem(families.FAMILIES._items, "planted", mine)
    assert families.locate("planted:a:b").place == "here, a:b"
    assert families.load("planted:a:b", "cpu") is encoder
    assert asked == [("a:b", "cpu", "float32", None)]
    assert np.allclose(encoder.encode_texts(["a"]), [[1, 0]])


@pytest.mark.parametrize("name", ["C:/models/clip", "nothing:here", "some/clip@a:b"])
def test_a_colon_that_names_no_family_is_part_of_the_name(name: str) -> None:
    with pytest.raises(InputError, match="no model named"):
        families.locate(name)


@pytest.mark.parametrize(
    ("name", "meant"), [("openclip:ViT-B-32/x", "open_clip"), ("prediction:a.csv", "predictions")]
)
def test_a_family_that_is_spelt_otherwise_is_suggested(name: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: no family of models.*Did you mean '{meant}'"):
        families.locate(name)


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ("audit.models.families:load", "offers a function under this name.*docs/models.md"),
        ("audit.models.families:gone", "which can't be imported: AttributeError.*uninstall"),
        ("no_such_module:FAMILY", "which can't be imported: ModuleNotFoundError"),
    ],
)
def test_a_package_that_offers_no_family_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, offered: str, said: str
) -> None:
    point = EntryPoint("mine", offered, "clip_audit.encoders")
    monkeypatch.setattr("audit.core.registry._offered", lambda read, group: (point,))
    with pytest.raises(InputError, match=f"family of models 'mine'.*{said}"):
        families.locate("mine:x")


def test_the_example_of_the_page_is_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    code = page.split("```python\n# colours.py")[1].split("```")[0]
    module = ModuleType("colours")
    exec(compile("#" + code, "colours.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "colours", module)
    entry = re.search(r'^colours = "(.*)"$', page, re.MULTILINE)
    assert entry is not None
    point = EntryPoint("colours", entry[1], "clip_audit.encoders")
    monkeypatch.setattr("audit.core.registry._offered", lambda read, group: (point,))
    assert families.locate("colours:mean").caveats
    with pytest.raises(InputError, match="There is 'colours:mean'"):
        families.load("colours:other")
    model = families.load("colours:mean")
    assert isinstance(model, Encoder)
    for found in (
        model.encode_images([Image.new("RGB", (4, 3), "red")]),
        model.encode_texts(["a"]),
    ):
        require_rows(found, 1, model.card, "things")


def test_a_model_of_a_family_has_a_card_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("image_id,label,score\n1,a,3\n1,b,5\n")
    said = catalogue.card(f"predictions:{tmp_path / 'tags.csv'}")
    assert "gives: scores" in said
    assert "caveat: The system's scores lie between 3 and 5" in said
    assert "model_type: siglip2" in catalogue.card("siglip2")


def test_a_family_without_a_model_is_told_so() -> None:
    with pytest.raises(InputError, match="'clip:' names a family of models and no model"):
        families.load("clip:")


def test_a_folder_is_found_beside_the_suite_that_names_it_with_a_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exports" / "clip").mkdir(parents=True)

    without = "\n".join(
        line for line in suites()["quick"].read_text().splitlines() if line[:6] != "model:"
    )
    for model, wanted in (
        ("onnx:exports/clip", f"onnx:{tmp_path}/exports/clip"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "open_clip:ViT-B-32/laion2b_s34b_b79k"),
        ("'onnx:'", "onnx:"),
    ):
        (tmp_path / "mine.yaml").write_text(f"{without}\nmodel: {model}\n")
        assert load_suite(str(tmp_path / "mine.yaml")).model == wanted


def test_decoding_at_a_smaller_scale_is_another_fingerprint_or_refused(tmp_path: Path) -> None:
    full = families.load("specimen-even", "cpu")
    reduced = families.load("specimen-even", "cpu", decoding="reduced")
    assert (full.least, reduced.least) == (None, 112)
    assert full.card.fingerprint != reduced.card.fingerprint
    assert reduced.card.preprocessing.endswith(full.card.preprocessing)
    assert reduced.card.preprocessing.startswith("JPEG decoded at 1/2, 1/4 or 1/8, at least 112 ")
    answers = tmp_path / "answers.csv"
    answers.write_text("image_id,label\na.png,nurse\n")
    with pytest.raises(InputError, match=r"what decodes its pictures .*Leave out 'decoding: red"):
        families.load(f"predictions:{answers}", "cpu", decoding="reduced")


def test_families_are_described_without_torch() -> None:
    code = (
        "import sys; from audit.models.families import DEFAULT, FAMILIES\n"
        "print([FAMILIES[name].about for name in FAMILIES if name != DEFAULT])\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""What the README and the guides show works as written."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from audit.data.labels import load_label_set
from audit.engine.policy import Gate
from audit.engine.suite import load_suite
from audit.measure.metrics import METRICS
from audit.probes.kit.base import PROBES, Seen, Texts
from audit.stats.scoring import Scoring
from audit.store.embeddings import Embeddings

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language, unindented."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def test_audit_your_own_pictures_as_written(tmp_path: Path) -> None:
    (csv,) = blocks("README.md", "csv")
    card, suite, gates = blocks("README.md", "yaml")
    assert [Gate.model_validate(gate) for gate in yaml.safe_load(gates)["gates"]]
    (tmp_path / "people.csv").write_text(csv)
    (tmp_path / "card.yaml").write_text(card)
    (tmp_path / "suite.yaml").write_text(suite)
    assert len(card.strip().splitlines()) <= 10
    for name in pd.read_csv(tmp_path / "people.csv")["file"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    asked = load_suite(str(tmp_path / "suite.yaml")).resolve()
    assert len(asked.pictures) == 3
    assert asked.pictures.table["cluster_id"].nunique() == 2
    assert set(asked.groups["age"].dropna()) == {"under 30", "50+"}


def test_the_readme_starts_with_the_two_commands() -> None:
    first = blocks("README.md", "sh")[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make audit",
        "make test",
    ]


@pytest.mark.slow
def test_the_quick_start_in_python_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("README.md", "python")
    assert len(code.strip().splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert "the model chooses" in said[0]
    assert said[-1].endswith("report.html")


def test_links_between_pages_lead_somewhere() -> None:
    pages = [
        "README.md",
        "CONTRIBUTING.md",
        *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*")),
    ]
    for page in (p for p in pages if p.endswith(".md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_probe_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yours.py").write_text(blocks("docs/add-a-probe.md", "python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    probe = importlib.import_module("yours").FirstLabel(label_set="people-gender")
    images = Embeddings(("a", "b"), pd.DataFrame([[1.0], [1.0]]).to_numpy("float32"), "f")
    rows = probe.outcomes(Seen(images, Texts(lambda s: images.vectors, Scoring(1.0)), None))
    assert list(rows["predicted"]) == [load_label_set("people-gender").labels[0].text] * 2
    assert probe.emits.validate(rows) is not None


def test_the_metric_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_items", dict(METRICS._items))
    (tmp_path / "its_metric.py").write_text(blocks("docs/add-a-metric.md", "python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("its_metric")
    choices = pd.DataFrame({"score": [0.4, 0.9, 0.2], "predicted": "woman", "truth": None})
    events = METRICS["unsure"](choices, load_label_set("people-gender"))
    assert events.happened[:, 0].tolist() == [True, False, True]


def test_every_registered_probe_says_what_it_asks() -> None:
    for name in PROBES:
        assert PROBES[name].asks.endswith("?")
        assert PROBES[name].model_fields["kind"].default == name

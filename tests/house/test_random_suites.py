"""Random valid suites are carried out, rendered, exported and shown; nothing of it may be damaged.

A dozen here. Three hundred, on every page and also as public copies, take about an hour::

    pytest tests/house/test_random_suites.py --hypothesis-profile by-hand
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, Phase, event, given, reject, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from pages import AppTest
from PIL import Image

from audit.core.errors import InputError
from audit.core.page import escaped
from audit.core.rundir import Run
from audit.data.labels import normalise
from audit.engine.run import carry_out
from audit.engine.suite import load_suite
from audit.measure import controls
from audit.models.encoder import Rows, unit_rows
from audit.models.planted import PlantedEncoder
from audit.report import drawing
from audit.report.exports.kinds import KINDS, attempted
from audit.report.exports.public import write_public
from audit.report.render import render
from audit.store.embeddings import Store

DASHBOARD: Final = Path(__file__).resolve().parents[2] / "dashboards"
VIEWS: Final = sorted(path.stem for path in (DASHBOARD / "views").glob("*.py"))
PICTURES: Final = 60
DIM: Final = 12
#: more examples than hypothesis makes by itself are asked for by name
BY_HAND: Final = settings().max_examples > 100

# ---- words that mean something to matplotlib, Markdown, Jinja, HTML, CSV, XML, a file system -----

NASTY: Final = (
    "$", "cost $5 or $6", "$x^2$", "a_b^c", "\\frac{", "{}", "{{ run.path }}", "{% if x %}", "%s",
    "a|b", "*star*", "_under_", "__x__", "~~gone~~", "# head", "- item", "1. item", "> quote", "+",
    "=SUM(A1)", "@here", "<script>alert(1)</script>", "&lt;b&gt;", "a < b > c", "[x](http://x.y)",
    "![x](y.png)", "`code`", "``", '"quoted"', "it's", "a/b", "../up", "/etc/x y", "a:b",
    ":material/x:", "~",
    "a x b", "a v b", "a | b", "everyone", "unknown", "rest", "any label", "none", "nan", "null",
    "True", "0", "-1.5", "1e5", "‘’", "…", "👩", "🏳️", "مرحبا", "שלום", "日本語", "Ａ", "é",
    "e\u0301\u0301", "W" * 90, "long " * 30 + "end", "|", "---", "...", "ensemble", "template: x",
    "with a x b", "^", "#",
)  # fmt: skip
#: names of groups come from files, where anything may stand
ODD: Final = (
    "two\nlines",
    "a\tb",
    "\x07bell",
    "\u202eright",
    "zero\u200bwidth",
    "\ufffe",
    "\x85",
    "\u2028",
)
LETTERS: Final = "abcXYZ 0129$^_{}\\|*#~<>[]()!&%'\"=+-.,:;/@éßΩж漢👩"


def words(fewest: int, most: int, odd: bool = False) -> st.SearchStrategy[list[str]]:
    """So many names, no two of which are the same."""
    drawn = st.text(LETTERS, min_size=1, max_size=20).map(str.strip).filter(bool)
    pool = st.sampled_from(NASTY + ODD if odd else NASTY) | drawn
    pool = pool.map(str.strip).filter(lambda t: bool(t) and (odd or t.isprintable()))
    return st.lists(pool, min_size=fewest, max_size=most, unique_by=normalise)


@dataclass(frozen=True)
class World:
    """What one example writes: files by name, and how far choices follow the first attribute."""

    files: dict[str, Any]
    people: list[dict[str, Any]]
    pull: float
    pages: Sequence[str]
    kinds: Sequence[str]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A suite, its label and template sets, a card and people."""
    seed = draw(st.integers(0, 10**6))
    names = draw(words(1, 3, odd=False))
    names = [name for name in names if name not in _COLUMNS] or ["gender"]
    groups = [draw(st.one_of(words(2, 4, odd=True), words(2, 20, odd=True))) for _ in names]
    sets = [draw(label_sets(i)) for i in range(draw(st.integers(1, 2)))]
    people = _people(draw, names, groups, sets, np.random.default_rng(seed))
    files = {f"labels{i}.yaml": labels for i, labels in enumerate(sets)}
    templates = draw(words(1, 3).map(lambda found: [_place(t) for t in found]))
    files["templates.yaml"] = _cited("templates") | {"templates": templates}
    files["card.yaml"] = _card(names)
    files["suite.yaml"] = _suite(draw, names, sets)
    pages, kinds = VIEWS, list(KINDS)
    if not BY_HAND:
        pages, kinds = [draw(st.sampled_from(VIEWS))], [draw(st.sampled_from(kinds))]
    return World(files, people, draw(st.sampled_from([0.0, 1.0, 50.0])), pages, kinds)


def _place(text: str) -> str:
    return text.replace("{", "(").replace("}", ")") + " {}"


def _cited(name: str) -> dict[str, Any]:
    return {
        "name": name, "version": 1, "purpose": f"to be read, {name}", "source": "this test",
        "licence": "CC0-1.0",
    }  # fmt: skip


@st.composite
def label_sets(draw: st.DrawFn, i: int) -> dict[str, Any]:
    """A set of labels, some with tags, harms, counters and other phrasings."""
    texts = draw(words(2, 5))
    name = draw(words(1, 1))[0] + str(i)
    known = ["crime", "suspicion", "nonhuman", "neutral", "mine"]
    tags = st.lists(st.sampled_from(known), max_size=2, unique=True)
    labels = []
    for text in texts:
        label: dict[str, Any] = {"text": text, "tags": draw(tags)}
        if draw(st.booleans()):
            label["harm"] = draw(st.sampled_from(["stereotyping", "denigration", "allocation"]))
        if draw(st.booleans()):
            label["counters"] = [next(t for t in texts if t != text)]
        if draw(st.integers(0, 3)) == 0:
            label["person"] = f"person {text}"
        labels.append(label)
    extra = {"tags": {"mine": {"meaning": "of this test"}}, "labels": labels}
    if draw(st.booleans()):
        extra["additions"] = {"more": {"text": f"one more {name}"}}
    return _cited(name) | extra


#: columns of the manifest that are no attribute
_COLUMNS: Final = (
    "path", "subject", "truth", "family", "changed", "source", "image_id", "cluster_id", "part",
)  # fmt: skip


def _people(
    draw: st.DrawFn,
    names: Sequence[str],
    groups: Sequence[Sequence[str]],
    sets: Sequence[dict[str, Any]],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    n = draw(st.sampled_from([6, 20, PICTURES]))
    each, uneven = draw(st.integers(1, 3)), draw(st.booleans())
    texts = [label["text"] for label in sets[0]["labels"]]
    rows = []
    for i in range(n):
        of_subject = np.random.default_rng([int(rng.integers(1)), i // each])
        row: dict[str, Any] = {"path": f"{i}.png", "subject": f"s{i // each}"}
        for name, found in zip(names, groups, strict=True):
            k = len(found)
            shares = np.geomspace(1, 0.02, k) if uneven else np.ones(k)
            row[name] = found[of_subject.choice(k, p=shares / shares.sum())]
            row[name] = "" if of_subject.random() < 0.05 else row[name]
        row |= {
            "truth": texts[rng.integers(len(texts))] if rng.random() < 0.9 else "",
            "family": f"f{i // 4}", "changed": ("none", "skin", "light", "pose")[i % 4],
            "source": ("web", "lab")[i % 2],
        }  # fmt: skip
        rows.append(row)
    return rows


def _card(names: Sequence[str]) -> dict[str, Any]:
    attributes = {name: {"source": "generator"} for name in names}
    return {
        "name": "random", "manifest": "people.csv", "cluster_column": "subject",
        "named_people": False, "photographs": False, "consent": "drawn by a test",
        "attributes": attributes, "known_limits": ["made up"],
        "url": "https://huggingface.co/datasets/example/random",
    }  # fmt: skip


def _suite(draw: st.DrawFn, names: Sequence[str], sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    some = draw(st.lists(st.sampled_from(sorted(_PROBES)), min_size=0, max_size=2, unique=True))
    probes = [_classification(draw, i, sets) for i in range(len(sets))]
    probes += [_PROBES[kind](draw, names) for kind in some]
    for probe in (p for p in probes if p["kind"] == "alarms"):
        probe["alarm"] = [sets[0]["labels"][0]["text"]]
    suite: dict[str, Any] = {
        "name": draw(words(1, 1))[0],
        "purpose": draw(words(1, 1))[0],
        "model": "planted",
        "dataset": "card.yaml",
        "attributes": list(names),
        "probes": probes,
        "acknowledge": ["identity", "naming", *_asked_names(sets)],
        "confidence": {
            "resamples": 100,
            "min_group": draw(st.sampled_from([2, 5, 30])),
            "level": draw(st.sampled_from([0.8, 0.95])),
        },
    }
    if len(names) > 1 and draw(st.booleans()):
        suite["intersections"] = [list(names[:2])]
    if draw(st.booleans()):
        rule = draw(st.sampled_from([{"fail_if": "exceeds_margin"}, {"unless": "within_margin"}]))
        allow = draw(st.sampled_from([[], ["too_few"], ["too_few", "inconclusive"]]))
        suite["gates"] = [{"attribute": "*", "family": "*", "allow": allow} | rule]
    if draw(st.booleans()):
        suite["favourable"] = {_task(probes[0], sets[0]): [sets[0]["labels"][0]["text"]]}
    return suite


def _task(probe: dict[str, Any], labels: dict[str, Any]) -> str:
    return labels["name"] + (f" + {labels['additions']['more']['text']}" if "add" in probe else "")


def _asked_names(sets: Sequence[dict[str, Any]]) -> list[str]:
    return [n for s in sets for n in (s["name"], f"{s['name']} + one more {s['name']}")]


def _classification(draw: st.DrawFn, i: int, sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    probe: dict[str, Any] = {"kind": "classification", "label_set": f"labels{i}.yaml"}
    probe["templates"] = draw(st.sampled_from(["templates.yaml", "bare"]))
    if i == 0 and draw(st.booleans()):
        probe["truth"] = "truth"
    if "additions" in sets[i] and draw(st.booleans()):
        probe["add"] = ["more"]
    if draw(st.booleans()):
        probe["thresholds"] = draw(
            st.lists(st.sampled_from([0.005, 0.04, 0.2, 0.5, 0.9]), min_size=1, unique=True)
        )
    probe["label_effects"] = draw(st.booleans())
    if draw(st.booleans()):
        shifts = draw(st.sampled_from([[0.0], [0.0, 0.5, -0.5]]))
        probe["wordings"] = {"templates": ["templates.yaml", "bare"], "shifts": shifts}
        if any("person" in label for label in sets[i]["labels"]):
            probe["wordings"]["phrasings"] = ["as written", "person"]
    if draw(st.integers(0, 3)) == 0:
        probe["only"] = {"source": "web"}
    return probe


def _own(**fields: Any) -> dict[str, Any]:
    return {"label_set": "labels0.yaml", "templates": "bare", **fields}


_PROBES: Final[dict[str, Any]] = {
    # 'alarm' is named by ``_suite``, which knows the labels
    "alarms": lambda draw, names: _own(
        kind="alarms", thresholds=[0.3],
        **draw(st.sampled_from([{}, {"together": {"column": "subject", "rule": 2}}])),
    ),
    "association": lambda draw, names: _own(
        kind="association", permutations=50,
        compare=draw(st.sampled_from(["rest", "pairs"])),
    ),
    "retrieval": lambda draw, names: _own(
        kind="retrieval", k=[2, 5], target=["uniform", "dataset"],
        queries=draw(st.sampled_from(["labels", "prompts"])),
    ),
    "linear": lambda draw, names: _own(
        kind="linear", truth="truth", examples=[1], draws=1, folds=3,
    ),
    "mitigation": lambda draw, names: _own(kind="mitigation", attribute=names[0], keep=[0.5]),
    "counterfactual": lambda draw, names: _own(
        kind="counterfactual", demographic=["skin"], nuisance=["light", "pose"],
    ),
    "identity": lambda draw, names: {"kind": "identity", "targets": [0.1]},
    "naming": lambda draw, names: {"kind": "naming", "sizes": draw(st.sampled_from([[2], [2, 9]]))},
    "robustness": lambda draw, names: _own(
        kind="robustness", corruptions=["low light"], severities=[3],
        **draw(st.sampled_from([{}, {"truth": "truth"}])),
    ),
    "shift": lambda draw, names: _own(
        kind="shift", truth="truth", column="source", reference="web",
    ),
    "scenes": lambda draw, names: {
        "kind": "scenes", "name": draw(words(1, 1))[0],
        "detail": {
            "there": "with $ {a}", "not_there": "without", "truth": "source", "values": "web",
        },
    },
}  # fmt: skip


# ---- a model that has an answer to every text ----------------------------------------------------


class Anything(PlantedEncoder):
    """A direction for every text and every picture, the latter pulled by its group."""

    def __init__(self, pulled: dict[Any, Rows], rest: int) -> None:
        super().__init__(pulled, {"": np.eye(DIM)[0]})
        self.rest = rest

    def encode_images(self, images: Sequence[Image.Image]) -> Rows:
        known = [self._images.get(self._key(i), _direction(i.tobytes())) for i in images]
        return self._stack(known)

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        return self._stack([_direction(text.encode()) for text in texts])


def _direction(name: bytes) -> Rows:
    seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big")
    drawn: Rows = unit_rows(np.random.default_rng(seed).normal(size=(1, DIM)))[0]
    return drawn


@lru_cache
def _pictures() -> tuple[Path, tuple[str, ...]]:
    """Small distinct pictures, written once, and the keys by which they are known."""
    from audit.models.planted import picture_key

    folder, keys = Path(mkdtemp()), []
    for i in range(PICTURES):
        pixels = np.random.default_rng(i).integers(256, size=(16, 16, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels)
        picture.save(folder / f"{i}.png")
        keys.append(str(picture_key(picture)))
    return folder, tuple(keys)


def _encoder(world: World) -> Anything:
    """Pictures of a group lie in one direction, the more so the higher ``pull``."""
    first = next(iter(world.files["card.yaml"]["attributes"]))
    own = [_direction(f"picture {i}".encode()) for i in range(len(world.people))]
    pulled = [
        o + world.pull * _direction(b"one" if world.pull > 9 else str(row[first]).encode())
        for o, row in zip(own, world.people, strict=True)
    ]
    return Anything(dict(zip(_pictures()[1], pulled, strict=False)), 0)


def _written(world: World, folder: Path) -> Path:
    for name, data in world.files.items():
        (folder / name).write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(world.people[0]))
        writer.writeheader()
        writer.writerows(world.people)
    for row in world.people:
        (folder / row["path"]).hardlink_to(_pictures()[0] / row["path"])
    return folder / "suite.yaml"


# ---- everything that is made of a run ------------------------------------------------------------


def carried_out(world: World, folder: Path) -> Run:
    """The run of a world's suite; InputError where it is not valid."""
    # its models were never trained
    suite = load_suite(str(_written(world, folder)), self_check="skip").resolve()
    encoder = _encoder(world)
    return carry_out(suite, folder / "runs", Store(folder / "cache"), lambda: encoder)


def survives(world: World, run: Run, folder: Path) -> None:
    """Make everything of a run; by hand, or without pages, of its public copy too."""
    assert_whole(run, world.kinds)
    if BY_HAND or not world.pages:
        assert_whole(write_public(run, folder / "public"), world.kinds)
    for view in world.pages:
        shown = page(run, view)
        assert not shown.exception, [e.value for e in shown.exception]


def assert_whole(run: Run, kinds: Sequence[str]) -> None:
    """The report and every export; a damaged part raises by its warning."""
    text = render(run).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "could not be rendered" not in text
    for finding in run.findings:
        assert finding["verdict"] in text
    for kind in kinds:
        try:
            ((_, result),) = attempted(run, [kind])
        except InputError as refused:  # nothing was declared, say
            result = refused
        assert isinstance(result, Path | InputError), f"{kind}: {result}"
        assert kind not in ("pdf", "docx", "croissant") or isinstance(result, Path), result


def page(run: Run, view: str) -> AppTest:
    """A page of the dashboard, as it opens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["app.py", str(run.path)])
        shown = AppTest.from_file(str(DASHBOARD / "app.py"), default_timeout=120)
        return (shown if view == "overview" else shown.switch_page(f"views/{view}.py")).run()


@pytest.mark.slow
@settings(
    max_examples=300 if BY_HAND else 12,
    derandomize=not BY_HAND,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(world=worlds())
def test_a_random_suite_is_rendered_whole(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not BY_HAND:  # they are laid out and drawn; only their files take too long
            patch.setattr(drawing, "_saved", _tiny)
            patch.setattr(controls, "SHUFFLES", 4)
        folder = tmp_path_factory.mktemp("random")
        try:
            run = carried_out(world, folder)
        except InputError as error:
            event(f"not valid: {str(error).replace(str(folder), '')[:60]}")
            reject()
        for kind in sorted({q["kind"] for q in run.questions}):
            event(f"asked: {kind}")
        survives(world, run, folder)


def _tiny(figure: Figure, kind: str) -> bytes:
    """A picture in the place of a figure's own, which is drawn all the same."""
    if kind == "png":
        figure.draw_without_rendering()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "png")
    return buffer.getvalue() if kind == "png" else b"<svg xmlns='http://www.w3.org/2000/svg'/>"


@pytest.mark.slow
def test_probes_may_ask_about_thresholds_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_saved", _tiny)
    sets = [
        _cited(f"set {i} $x^2$ of ${i}")
        | {"labels": [{"text": "a $b$ thief", "tags": ["crime"]}, f"$visitor_{i}"]}
        for i in range(2)
    ]
    probes = [
        {"kind": "classification", "label_set": f"labels{i}.yaml", "templates": "bare"}
        | {"thresholds": thresholds}
        for i, thresholds in enumerate(([0.01, 0.3], [0.2, 0.7, 0.9]))
    ]
    suite = {
        "name": "two", "model": "planted", "dataset": "card.yaml", "attributes": ["$g"],
        "probes": probes, "acknowledge": [s["name"] for s in sets],
        "confidence": {"resamples": 100, "min_group": 5},
    }  # fmt: skip
    files = {f"labels{i}.yaml": labels for i, labels in enumerate(sets)}
    files |= {"card.yaml": _card(["$g"]), "suite.yaml": suite}
    people = [
        {"path": f"{i}.png", "subject": f"s{i}", "$g": ("$1", "$2")[i % 2]} for i in range(PICTURES)
    ]
    world = World(files, people, 1.0, [], ["croissant"])
    run = carried_out(world, tmp_path)
    survives(world, run, tmp_path)
    text = (run.path / "report.md").read_text(encoding="utf-8")
    for i, theirs in enumerate((["1%", "30%"], ["20%", "70%", "90%"])):
        name = escaped(sets[i]["name"])
        assert re.findall(rf"^\| {re.escape(name)} \| ([\d.]+%) \|", text, re.M) == theirs

"""Names of people's making as names of files."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.core.characters import one_line, unseen, visible
from audit.core.errors import InputError
from audit.core.files import write_json
from audit.core.names import file_names, slug
from audit.core.rundir import building
from audit.data.labels import Label
from audit.engine.suite import load_suite

#: what is hard: devices, case, dots, slashes, length, names that look like what is made of others
HARD = ["con", "CON", "nul", "..", ".", ".git", "a/b", "a\\b", "a b", "a-b", "A-B", "職業", "宗教"]
HARD += ["é", "e\u0301", "x" * 300, "x" * 301, "X" * 300, "職" * 300, "", " ", "com1", "\ud800"]
HARD += [f"{slug(name)}" for name in ("職業", "宗教", "x" * 300)]
NAMES = st.lists(st.one_of(st.sampled_from(HARD), st.text()), unique=True, max_size=12)


@pytest.mark.slow
@given(NAMES)
def test_no_two_names_share_a_file_on_any_file_system(names: list[str]) -> None:
    files = file_names(names)
    assert list(files) == names
    assert len({unicodedata.normalize("NFC", f).casefold() for f in files.values()}) == len(names)
    for file in files.values():
        assert re.fullmatch(r"[A-Za-z0-9_+-]{1,173}", file)
        assert not re.fullmatch(r"(?i)con|prn|aux|nul|(com|lpt)\d", file)


@pytest.mark.parametrize("name", ["people-suspicion", "clip-paper-21", "Black", "a_b", "x" * 160])
def test_a_plain_name_is_the_name_of_its_file(name: str) -> None:
    assert file_names([name]) == {name: name}
    assert file_names(["clip-paper-21 + child"])["clip-paper-21 + child"] == "clip-paper-21-+-child"


def test_the_same_plan_has_the_same_name_whatever_the_last_bits(tmp_path: Path) -> None:
    endings = []
    for score, asked in ((0.1, "a"), (0.1 + 1e-9, "a"), (0.1, "b")):
        with building(tmp_path, "職業") as build:
            write_json(build.folder / "scores.parquet", score)
            build.facts.update(plan_digest=asked, dataset_digest="d", fingerprint="f")
        assert build.sealed is not None
        endings.append(re.sub(r"^[^Z]+Z-", "", build.sealed.name)[:19])
    assert endings[0] == endings[1] != endings[2]
    assert endings[0].startswith(slug("職業"))


def test_what_is_not_seen_is_shown_as_its_number() -> None:
    assert visible("a\x1b[31m\u202eb\ud800\ufffe\x00") == r"a\x1b[31m\u202eb\ud800\ufffe\x00"
    assert visible("\u200e\U0001ffff\u2028\ufeff") == r"\u200e\U0001ffff\u2028\ufeff"
    assert one_line("a\tb\nc") == r"a\tb\nc"
    for kept in ("آتش\u200cنشان", "👩\u200d🚀", "police\u00a0officer", "e\u0301", "職業", "[red]"):
        assert visible(kept) == kept
    assert visible("🏴\U000e0067\U000e0062\U000e007f") == "🏴\U000e0067\U000e0062\U000e007f"
    assert visible("a\U000e0067") == r"a\U000e0067"


@given(st.text())
def test_nothing_that_moves_a_cursor_is_left(text: str) -> None:
    assert not re.search(
        r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", one_line(text)
    )


@pytest.mark.parametrize(
    "text", ["آتش\u200cنشان", "👩\u200d🚀", "police\u00a0officer", "e\u0301", "職業"]
)
def test_orthography_is_accepted_in_a_label(text: str) -> None:
    assert Label.model_validate(text).text == text
    assert unseen(text) is None


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\x1b", "\x00", "\u200b", "\u200e", "\ufffe"])
def test_what_is_not_seen_is_refused_in_a_label_and_shown(sign: str) -> None:
    with pytest.raises(ValueError, match="not seen") as caught:
        Label.model_validate(f"a{sign}b")
    assert sign not in str(caught.value.errors()[0]["msg"])  # type: ignore[attr-defined]


def test_a_suite_from_within_its_folder_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "other").mkdir()
    for name in ("card.yaml", "labels.yaml"):
        (tmp_path / name).write_text("x: 1\n")
    probe = "{kind: classification, label_set: ./labels.yaml, templates: bare}"
    (tmp_path / "suite.yaml").write_text(
        f"name: s\nmodel: model\ndataset: card.yaml\nattributes: [a]\nprobes: [{probe}]\n"
    )
    monkeypatch.chdir(tmp_path)
    suite = load_suite("suite.yaml")
    assert suite.model == str(tmp_path / "model")
    assert suite.dataset == str(tmp_path / "card.yaml")
    assert suite.probes[0]["label_set"] == str(tmp_path / "labels.yaml")
    assert load_suite("suite.yaml", model="./other").model == str(tmp_path / "other")
    assert load_suite("suite.yaml", model="openai/clip").model == "openai/clip"
    with pytest.raises(InputError):
        load_suite("nowhere.yaml")

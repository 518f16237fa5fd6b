"""A few turns of the long runs that ``make soak`` makes, and that these see what is wrong."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import soak
from mutators_files import damage


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
def test_a_run_killed_twice_ends_as_if_it_never_was(tmp_path: Path) -> None:
    assert soak.failures("kills", tmp_path, seed=1, count=2, pictures=12) == (2, [])


@pytest.mark.slow
def test_damaged_suites_cards_and_manifests_get_a_sentence(tmp_path: Path) -> None:
    soak.small_world(tmp_path / "csv", 6)
    soak.small_world(tmp_path / "parquet", 6, "parquet")
    found = [f for turn in range(60) for f in soak.asked(tmp_path, tmp_path / "now", turn)]
    assert found == []


def test_the_harness_sees_what_differs(tmp_path: Path) -> None:
    for name, content in (("clean", "1"), ("other", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(f'{{"files": {{"a": "{content}"}}}}')
    (tmp_path / "other" / "more").touch()
    (tmp_path / "out" / ".partial-1").mkdir(parents=True)
    found = list(soak._unlike(tmp_path / "other", tmp_path / "clean", tmp_path / "out"))
    assert found == ["left behind: ['.partial-1']", "other files: ['more']", "a differs"]


def test_a_traceback_a_wrong_code_and_a_hang_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(with_: BaseException) -> list[str]:
        def raised() -> None:
            raise with_

        monkeypatch.setattr(soak, "command_line", raised)
        return list(soak._failures(["check"]))

    assert ends(SystemExit(0)) == ends(SystemExit(2)) == ends(SystemExit(3)) == []
    assert ends(SystemExit(1)) == ["check: 1: "]
    assert ends(KeyError("x")) == ["check: KeyError: 'x': "]
    assert ends(TimeoutError("it hangs")) == ["check: TimeoutError: it hangs: "]


@pytest.mark.parametrize("suffix", ["json", "yaml", "csv", "parquet", "txt"])
def test_the_same_seed_does_the_same_damage(tmp_path: Path, suffix: str) -> None:
    import pandas as pd

    def make(name: str) -> Path:
        path = tmp_path / f"{name}.{suffix}"
        table = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})
        if suffix == "parquet":
            table.to_parquet(path)
        else:
            path.write_text(table.to_csv() if suffix == "csv" else '{"a": [1, {"b": "c"}]}')
        return path

    for seed in range(20):
        one, two, intact = (make(f"{name}{seed}") for name in ("one", "two", "intact"))
        assert damage(one, seed) == damage(two, seed)
        assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != intact.read_bytes()
